"""The names by which people give files, and what GDAL opens by them.

A name is a path, and after it options, each behind a "|":

    area.gpkg|layername=roads    one of several layers
    stack.tif|band=2             one of several bands
    roads.shp|epsg=32650         the CRS that the file lacks, or has wrongly
    soil.gpkg|field=depth        the attribute field to take
    layers.zip|file=roads.shp    one of several files in an archive
    inventory.tif|value=2        the number of a raster that marks landslides, or a mask, or several: value=2,3
    rain.tif|nodata=99.99        the number in which a raster stores gaps that it does not declare
    v.tif|heading=-13|incidence=39   of InSAR points without them: the flight, clockwise from north, and the angle of
                                 the line of sight off the vertical, in degrees

An option that a file of its kind cannot have is refused.
"""

import contextlib
import glob
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from osgeo import gdal, osr

from lsm.inputs.bands import UNREADABLE
from lsm.inputs.crs import crs_of
from lsm.inputs.tables.unpacking import SHEETS
from lsm.run.paths import root, shown
from lsm.run.settings import InputError

ANGLES = ("heading", "incidence")  # of InSAR points
OPTIONS = ("layername", "band", "epsg", "field", "file", "value", "nodata", *ANGLES)
# Files that belong to a file of the same name, by the end of theirs: GDAL finds them by itself.
SIDECARS = (".aux.xml", ".ovr", ".msk", ".prj", ".dbf", ".shx", ".cpg", ".qpj", ".qix", ".sbn", ".sbx", ".tfw", ".tifw",
            ".wld", ".jgw", ".hdr", ".xml", ".qml", ".qmd", ".sld", ".lyr", ".lyrx", ".rrd", ".ige", ".csvt", ".gfs",
            ".xsd", ".stx", ".clr", ".gpkg-wal", ".gpkg-shm", ".json")
PARTS = (".dbf", ".shx", ".prj", ".cpg")  # of a Shapefile
BESIDE = (".txt", ".md", ".pdf", ".htm", ".html", ".rtf", ".doc", ".docx", ".jpg", ".jpeg", ".png")
ARCHIVES = {".zip": "/vsizip/", ".tar": "/vsitar/", ".tgz": "/vsitar/"}
VALUED = ("inventory", "stable places", "MASK")  # whose rasters may say by |value= which numbers count
FIELDLESS = (*VALUED, "InSAR points", "DEM", "NDVI", "dis2road", "dis2drainage", "dis2catchment", "dis2faults")
TABLES = (".csv", ".txt", ".tsv", *SHEETS)  # files that are read as tables of points; GDAL opens all others
SHAPES = ("geometry", "wkt", "geom", "thegeom", "shape", ".geo")  # columns in which programs write shapes as text
# The constant of a stage that names a file, by what the file is in messages.
CONSTANTS = {"DEM": "DEM", "NDVI": "NDVI", "MASK": "MASK", "inventory": "INVENTORY", "stable places": "STABLE",
             "land use": "LAND_USE", "lithology": "LITHOLOGY", "dis2road": "ROADS", "dis2drainage": "RIVERS",
             "dis2catchment": "CATCHMENTS", "dis2faults": "FAULTS", "InSAR points": "INSAR", "units": "BLOCKS"}
# Warnings of GDAL that say nothing about the values read: a newer version of GeoPackage, and text that
# lsm/sources/vector_files.py looks at itself.
_HARMLESS = re.compile(r"GeoPackage user_version|GPKG.*version|only partially supported|converted correctly from")


@dataclass(frozen=True)
class File:
    """A file that a person gives, for `what`, with the options behind its name."""

    path: Path
    what: str
    options: dict[str, str]

    @classmethod
    def of(cls, name: str | Path, what: str) -> "File":
        """The file of a name. Raises InputError where the file is missing or empty, or an option is none."""
        text, *rest = str(name).split("|")
        options = dict(part.partition("=")[::2] for part in rest)
        file = cls(Path(text), what, options)
        unknown = [option for option in options if option not in OPTIONS]
        if unknown:
            raise InputError(f"{file.where}: expected |<option>=<value> of {', '.join(OPTIONS)}, found |{unknown[0]}; "
                             + ("correct it" if options[unknown[0]] else f"a layer is |layername={unknown[0]}"))
        if not file.path.exists():
            raise InputError(f"{file.where}: missing; put it there, or name another file")
        if file.path.is_file() and not file.path.stat().st_size:
            raise InputError(f"{file.where}: expected a file with content, found 0 bytes; copy or export it again")
        return file

    @property
    def where(self) -> str:
        """The start of a message about the file."""
        return f"{shown(self.path)}: {self.what}"

    @property
    def constant(self) -> str:
        """The constant of a stage that names the file."""
        return CONSTANTS.get(self.what, "FACTORS_MORE")

    def remedy(self, option: str) -> str:
        """What to type to give an option: ROADS="roads.shp|epsg=<code>"."""
        name = f'"{shown(self.path)}|{option}"'
        own = self.constant == "FACTORS_MORE"
        return f"in FACTORS_MORE ({json.dumps(self.what)}, {name}, ...)" if own else f"{self.constant}={name}"

    def number(self, option: str) -> int:
        """The whole number of an option, 0 where it is not given. Raises InputError."""
        text = self.options.get(option, "0")
        if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
            raise InputError(f"{self.where}: |{option}={text}: expected a whole number; correct it")
        return int(text)

    @property
    def nodata(self) -> float | None:
        """The number in which a raster stores gaps, as |nodata= says; None without it. Raises InputError."""
        text = self.options.get("nodata")
        try:
            return None if text is None else float(text)
        except ValueError:
            raise InputError(f"{self.where}: |nodata={text}: expected a number; correct it") from None

    def only(self, form: str, *able: str) -> None:
        """Raises InputError for an option that a file of this form, in words, cannot have: |field= where no field is
        taken, |value= of anything but rasters, or one that is not `able`."""
        able = [option for option in (*able, "epsg", "file", *(ANGLES if self.constant == "INSAR" else ()))
                if (option != "field" or self.what not in FIELDLESS) and (option != "value" or self.what in VALUED)]
        odd = next((option for option in self.options if option not in able), None)
        if odd:
            remedy = "leave it out" if odd != "value" or self.what == "MASK" else (
                "it is of rasters: give a column label, 0 where nothing slid and 1 elsewhere, or remove the others")
            raise InputError(f"{self.where}: {form}: expected |<option>=<value> of {', '.join(able)}, found |{odd}; "
                             f"{remedy}")

    def numbers(self, option: str) -> list[int]:
        """The whole numbers of an option, separated by commas; [] where it is not given. Raises InputError."""
        text = self.options.get(option, "")
        if not re.fullmatch(r"(-?\d+(,-?\d+)*)?", text, re.ASCII):
            raise InputError(f"{self.where}: |{option}={text}: expected whole numbers like 1,2; correct it")
        return [int(number) for number in text.split(",") if number]

    @property
    def crs(self) -> osr.SpatialReference | None:
        """The CRS given behind the name. Raises InputError where there is none of that number."""
        code = self.number("epsg")
        return crs_of(code, f"{self.where}: |epsg") if code else None

    @property
    def opened(self) -> str:
        """What GDAL opens: the path, or the file within an archive. Raises InputError where several files could be
        meant, or none."""
        if self.path.suffix.lower() == ".gz" and not self._archive:
            return f"/vsigzip/{self.path}"
        return f"{self._archive}{{{self.path}}}/{self.member}" if self._archive else str(self.path)

    @property
    def is_table(self) -> bool:
        """Whether it is a table of points, in an archive or not. Raises InputError as `member` does."""
        name = self.member if self._archive else self.path.name.lower().removesuffix(".gz")
        return Path(name).suffix.lower() in TABLES

    @property
    def _archive(self) -> str:
        """How GDAL opens the archive that the path is; "" for a file that is none."""
        if [s.lower() for s in self.path.suffixes[-2:]] == [".tar", ".gz"]:
            return "/vsitar/"
        return ARCHIVES.get(self.path.suffix.lower(), "")

    @property
    def member(self) -> str:
        """The file within an archive, or a spreadsheet's sheet that a person names; else "". A geodatabase's folder
        counts as one file. Raises InputError where several files could be meant, or none."""
        if not self._archive:
            return self.options.get("layername", "") if self.path.suffix.lower() in SHEETS else ""
        try:
            held = [m for m in gdal.ReadDirRecursive(f"{self._archive}{{{self.path}}}") or [] if not m.endswith("/")]
        except RuntimeError:
            held = []
        held = list(dict.fromkeys(re.sub(r"(\.gdb)/.*", r"\1", m, flags=re.I) for m in held))
        data = [m for m in held if not is_sidecar(m) and "__MACOSX" not in m]
        wanted = self.options.get("file")
        if wanted:
            data = [m for m in held if wanted in (m, Path(m).name)]
        elif any(is_beside(m) for m in data) and not all(is_beside(m) for m in data):
            data = [m for m in data if not is_beside(m)]
        if len(data) == 1 and Path(data[0]).suffix.lower() in (*ARCHIVES, ".7z", ".rar"):
            raise InputError(f"{self.where}: expected data in the archive, found another archive, {data[0]}; unpack it")
        if len(data) != 1:
            found = ", ".join(data or held) or "none"
            raise InputError(f"{self.where}: expected one file in the archive, found {found}; name it: "
                             f"{self.remedy('file=<name>')}")
        return data[0]


def files_of_data_set(path: Path) -> list[Path]:
    """The files that GDAL reads as one data set by the name of one of them: of a virtual raster, its sources too, and
    theirs where these are virtual rasters."""
    if path.suffix.lower() in TABLES:
        return []
    found, ahead = {}, [path]  # found: by the full path, so that virtual rasters of each other come to an end
    with library_notes([]):
        while ahead:
            with contextlib.suppress(*UNREADABLE):
                parts = map(Path, gdal.OpenEx(str(ahead.pop())).GetFileList() or [])
                new = {part.resolve(): part for part in parts if part.resolve() not in found}
                found |= new
                ahead += [part for part in new.values() if part.suffix.lower() == ".vrt"]
    return list(found.values())


def is_sidecar(name: str) -> bool:
    """Whether a file belongs to another of the same name, by the end of its own name."""
    return name.lower().endswith(SIDECARS)


def is_beside(name: str) -> bool:
    """Whether a file of an archive is likely to explain the data beside it: a text, a page, a picture."""
    return name.lower().endswith(BESIDE)


def path_of(name: str) -> Path:
    """The file on disk of a name with options."""
    return Path(str(name).partition("|")[0])


def below_root(constant: str, given: str) -> Path:
    """The path of what a constant names, with its options: below the root, unless it is a full path. Raises InputError
    where it is not there, and where RAW is no folder."""
    path = root() / given
    if not path_of(path).exists():
        raise InputError(f"{constant}={given}: missing; looked for {path_of(path)}; {full_path(given)}")
    if constant == "RAW" and path_of(path).is_file():
        raise InputError(f"{constant}={given}: expected a folder, found a file: {path_of(path)}; give the folder that "
                         "holds it")
    if constant == "RAW" and str(path) != str(path_of(path)):  # a folder holds files, and these hold layers
        layer = str(path).partition("|")[2].removeprefix("layername=")
        raise InputError(f"{constant}={given}: expected a folder alone, found |{layer} behind it; name a layer behind "
                         f'its file: ROADS="<file>|layername={layer}"')
    return path


def full_path(given: str) -> str:
    """What to do about a name that is missing where it was looked for. Nothing is taken from the current folder
    unasked: another file of this name may lie there."""
    bare = next((part for part in str(given).split("|")[1:] if "=" not in part), "")
    layer = f" (and a layer as |layername={bare})" * bool(bare)
    if path_of(given).is_absolute():
        return f"put it there, or name another{layer}"
    here = Path.cwd() / given
    return (f"give the full path: {here}" if path_of(here).exists() else "put it there, or give the full path") + layer


def read_files(names: list[str]) -> list[Path]:
    """The files on disk of names with options, and the parts of a Shapefile; of a folder that is a data set, the files
    in it."""
    out = []
    for path in map(path_of, names):
        beside = sorted(path.parent.glob(f"{glob.escape(path.stem)}.*")) if path.suffix.lower() == ".shp" else []
        within = sorted(path.rglob("*")) if path.is_dir() else []
        out += [path, *(p for p in beside if p.suffix.lower() in PARTS), *within]
        out += [p for p in files_of_data_set(path) if p != path] if path.suffix.lower() == ".vrt" else []
    return [path for path in out if path.is_file()]


@contextlib.contextmanager
def library_notes(notes: list[str]) -> Iterator[None]:
    """Turns GDAL's warnings into lines of `notes`, each once. Its errors are raised by what it is asked to do. Where an
    input is refused meanwhile, the lines so far are printed: they may say why."""
    def note(kind: int, _, message: str) -> None:
        line = f"GDAL: {' '.join(message.split())[:200]}"
        if kind == gdal.CE_Warning and line not in notes and not _HARMLESS.search(line):
            notes.append(line)

    gdal.PushErrorHandler(note)
    try:
        yield
    except InputError:
        print(*notes, sep="\n", end="\n" * bool(notes))
        raise
    finally:
        gdal.PopErrorHandler()
