"""The files of a region: which raw files there are, and the tables and rasters made of them."""

import re
import shlex
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from osgeo import gdal

from lsm.inputs.factor.definition import KINDS, Factor, read_factors, write_factors
from lsm.inputs.layers import read_rows
from lsm.inputs.rasters import Grid, centres
from lsm.inputs.tables.text_tables import plain
from lsm.region.sample_tables import as_table
from lsm.run.artifacts import artifact, discard, write_csv, wrote
from lsm.run.paths import Paths, edit, root, shown
from lsm.run.progress import Progress
from lsm.run.settings import InputError
from lsm.run.writing import write_table
from lsm.sources.files import TABLES, files_of_data_set, full_path, is_beside, is_sidecar, path_of

ASCENDING, DESCENDING = {"asc", "ascending", "a"}, {"desc", "des", "dsc", "descending", "d"}  # in names of InSAR files
ALONE = (".json", ".dbf")  # data where no other file of the name is, else they belong to it
MAKER = "prepare_region.py"
MAKERS = (MAKER, "augment_inventory.py")  # stage 0 works on the maker's tables: what it wrote is replaced too


class InputConstants(Protocol):
    """The constants of prepare_region.py that name a file; where they are empty, dem.*, inventory.*, ..."""

    DEM: str
    INVENTORY: str
    STABLE: str
    LAND_USE: str
    LITHOLOGY: str
    NDVI: str
    ROADS: str
    RIVERS: str
    FAULTS: str
    CATCHMENTS: str
    MASK: str
    INSAR: str


INPUTS = tuple(InputConstants.__annotations__)


def find_inputs(folder: Path, c: InputConstants) -> tuple[dict[str, str], list[str]]:
    """The raw files there are, with options behind their names: by the name of their constant, and the files of InSAR
    points, of which there may be several.

    folder  where files lie that the constants do not name. A file's name tells what it is, whatever its case and
            format: NDVI.TIF, land-use.zip; so does the name of a folder of Shapefiles, or one that is a grid of ArcInfo
    Raises InputError where a file that is named or needed is missing.
    """
    there = [p for p in sorted(folder.iterdir()) if not p.name.startswith(".")] if folder.is_dir() else []
    there = [p for p in there if p.suffix != ".json" or not Path(p.stem).suffix]  # records of a stage: dem.tif.json
    found = {}
    for name in INPUTS:
        if given := getattr(c, name):
            found[name] = _files_named(name, given, folder) if given != "none" else []
            continue
        mine = _without_pages([p for p in there if "insar" in words_of_name(p)]) if name == "INSAR" else there
        tracks = [_data([p for p in mine if track & words_of_name(p)]) for track in (ASCENDING, DESCENDING)
                  if name == "INSAR"]
        of_tracks = list(dict.fromkeys(p for track in tracks for p in track))
        files = _data([p for p in mine if _stem(p) == plain(name) and p not in of_tracks])
        if len(files) > 1 or any(len(track) > 1 for track in tracks) or (files and of_tracks):
            several = bool(of_tracks)
            raise InputError(f"{shown(folder)}: expected one file for {name}{' and track' * several}, found "
                             f"{', '.join(p.name for p in (*files, *of_tracks))}; name "
                             f"{'those to take' if several else 'one'}: {name}=<file>{',<file>' * several}")
        found[name] = [str(p) for p in (*files, *of_tracks)]
    for name in ("DEM", "INVENTORY"):
        if not found[name]:
            others = [p.name for p in there if not is_sidecar(p.name)]
            raise InputError(f"{shown(folder)}: expected {name.lower()}.*, found {', '.join(others[:6]) or 'none'}"
                             f"{', ...' * (len(others) > 6)}; give the file a name like this, or {name}=<file>, or "
                             "another RAW=<folder>")
    insar = found.pop("INSAR")
    return {name: files[0] for name, files in found.items() if files}, insar


def _files_named(constant: str, given: str, folder: Path) -> list[str]:
    """The files that a constant names, in the folder or the root; several of INSAR, separated by commas. Raises
    InputError where one is missing, or named twice."""
    names = [given] if constant != "INSAR" or ("," in str(path_of(given)) and _there(given, folder)) else [
        name.strip() for name in given.split(",") if name.strip()] or [given]
    files = [_there(name, folder, f"{constant}={name}") for name in names]
    for i, file in enumerate(files):
        if Path(file).resolve() in [Path(other).resolve() for other in files[:i]]:
            raise InputError(f"{constant}={given}: expected different files, found {names[i]} twice; name it once")
    return files


def _there(name: str, folder: Path, where: str = "") -> str:
    """A file in the folder or the root, with the options behind its name. Where there is none: "", or an InputError
    that begins with `where`."""
    places = (folder / name, root() / name)
    found = next((str(p) for p in places if path_of(p).exists()), "")
    if where and not found:
        looked = " and ".join(dict.fromkeys(str(path_of(p).absolute()) for p in places))
        raise InputError(f"{where}: missing; looked for {looked}; {full_path(name)}")
    return found


def _data(files: list[Path]) -> list[Path]:
    """The files of one name that hold data: none that belong to another of them or explain it."""
    files = [p for p in files if p.is_file() or p.suffix.lower() == ".gdb"] or files  # a folder may be data too
    files = [p for p in files if not is_sidecar(p.name)] or [p for p in files if p.suffix.lower() in ALONE]
    files = _without_pages(files)
    of = {p: {part.name for part in files_of_data_set(p)} - {p.name} for p in files if len(files) > 1}
    return [p for p in files if not any(p.name in of[q] and q.name not in of[p] for q in of)]


def _without_pages(files: list[Path]) -> list[Path]:
    """The files without pages and pictures that explain them; all where there are no others."""
    return [p for p in files if p.suffix.lower() in TABLES or not is_beside(p.name)] or files


def words_of_name(path: Path) -> set[str]:
    """The words of a file's name: insar and asc of insar_asc.tif."""
    return set(re.split(r"[ _.-]+", path.stem.lower()))


def find_own(folder: Path, more: tuple, known: tuple[Factor, ...]) -> dict[Factor, str]:
    """The files of further factors, by factor, with options behind their names.

    more    FACTORS_MORE of prepare_region.py; folder  where files are looked for first, before the root
    known   the factors whose names are taken
    Raises InputError for an entry that cannot be used.
    """
    found, taken = {}, {plain(n) for f in known for n in (f.name, *f.aliases)} | set(map(plain, ("X", "Y", "label")))
    for entry in more:
        if not (isinstance(entry, tuple) and len(entry) == 4 and all(isinstance(part, str) for part in entry)):
            raise InputError(f"FACTORS_MORE: expected (name, file, kind, unit), found {entry!r}; write it like "
                             "((\"rainfall\", \"rain.tif\", \"continuous\", \"mm\"),)")
        name, file, kind, unit = entry
        unit = unit.strip() or "-"
        if kind not in KINDS:
            raise InputError(f"FACTORS_MORE: {name}: expected a kind of {', '.join(KINDS)}, found {kind!r}; correct it")
        if not re.fullmatch(r"\w[\w -]*", name) or plain(name) in taken:
            raise InputError(f"FACTORS_MORE: expected a name of letters, digits, blanks and - that no other factor "
                             f"has, found {name!r}; take another")
        if kind == "distance" and unit != "m":
            raise InputError(f"FACTORS_MORE: {name}: expected the unit m of a distance, found {unit!r}; write m, and "
                             "the unit of the values into the raster: "
                             + edit(path_of(folder / file), f"-units {shlex.quote(unit)}"))
        taken.add(plain(name))
        found[Factor(name, kind, unit)] = _there(file, folder, f"FACTORS_MORE: {name}: {file}")
    return found


def unused_files(folder: Path, used: list[str]) -> list[str]:
    """A note that names the files of a folder that are neither used nor belong to a used one, [] where there are none;
    of a folder within it that holds such files, the others."""
    paths = [path_of(name).resolve() for name in used]
    parts = {part.resolve() for path in paths for part in files_of_data_set(path)}
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    holding = {part.parent for part in (*paths, *parts)}
    there = [q for p in there for q in (sorted(p.iterdir()) if p.is_dir() and p.resolve() in holding else [p])]
    rest = [str(p.relative_to(folder)) for p in there if p.resolve() not in paths
            and p.resolve() not in parts and not p.name.startswith(".")
            and not (is_sidecar(p.name) and any(_stem(p) == _stem(q) for q in paths if q.parent == p.parent.resolve()))]
    if not rest:
        return []
    return [f"not used in {shown(folder)}: {', '.join(rest[:20])}{', ...' * (len(rest) > 20)}; to use one, say "
            "what it is: LITHOLOGY=<file>, LAND_USE=<file>, ROADS=<file> and the like, or FACTORS_MORE"]


def without_layer(c, given: set[str]) -> list[str]:
    """Lines on constants c of layers that are not among the inputs `given`, by constant. Raises InputError for
    MASK_KEEPS without a mask: the map would not be of the area that a person means."""
    if c.MASK_KEEPS and "MASK" not in given:
        raise InputError("MASK_KEEPS=True: expected a mask, found none; put mask.* into RAW, or give MASK=<file>")
    default, of = {f.name: f.default for f in fields(c)}, {
        "LAND_USE_FIELD": "LAND_USE", "LITHOLOGY_FIELD": "LITHOLOGY", "NDVI_SCALE": "NDVI", "INSAR_POSITIVE": "INSAR",
        "INSAR_UNIT": "INSAR", "INSAR_FORM": "INSAR"}
    return [f"{name}={getattr(c, name)} is not used: there is no {layer.lower()}.*; put it into RAW, or give "
            f"{layer}=<file>" for name, layer in of.items() if layer not in given and getattr(c, name) != default[name]]


def _stem(path: Path) -> str:
    return plain(path.name.partition(".")[0])


def codes_of_region(region: str) -> dict[str, dict[str, int]]:
    """The class codes of another region, by factor; {} where no region is named. Raises InputError where the region has
    none."""
    if not region:
        return {}
    given = Paths(region).factors
    if not given.is_file():
        raise InputError(f"CODES_OF={region}: {shown(given)}: missing; prepare that region first, or name another")
    return read_factors(given)[1]


def refuse_to_replace(paths: Paths, overwrite: bool) -> None:
    """Raises InputError where a folder is in the way of a region's files, or, unless `overwrite`, files that another
    maker, or a person, wrote."""
    outputs = (paths.samples, paths.samples_without_insar, paths.insar_points, paths.insar_table, paths.grid,
               paths.grid_parquet, paths.composite)
    folder = next((path for path in (*outputs, paths.factors, paths.factor_stack, paths.samples_dates, paths.strategies)
                   if path.is_dir()), None)
    if folder:
        raise InputError(f"{shown(folder)}: expected a file or nothing, found a folder; move it away")
    if overwrite:
        return
    foreign = [path for path in outputs if path.is_file() and not wrote(path, MAKERS)]
    if foreign:
        raise InputError(f"{shown(foreign[0])}: expected none, or a file that {MAKER} wrote, found another; "
                         "choose another REGION, or replace it with OVERWRITE=True")


def write_region(paths: Paths, c, inputs: list[Path], folder: Path, grid: Grid, factors: tuple[Factor, ...],
                 classes: dict, tables: dict[Path, pd.DataFrame], as_csv: bool, as_stack: bool) -> list[Path]:
    """Writes the files of a region, each whole with its record; removes files of an earlier run in another form.

    c        the constants of the run, for the records; inputs  the files it read
    folder   with the layers composite, stack and valid
    tables   those to write, by path
    as_csv   writes the grid as a table; as_stack  as factors.tif
    Returns the files written, in order.
    """
    made, written = (MAKER, c, inputs), []

    def write(path: Path, content) -> None:
        with artifact(path, *made) as temporary:
            content(temporary)
        written.append(path)

    write(paths.composite, lambda path: shutil.copyfile(folder / "composite.tif", path))
    write(paths.factors, lambda path: write_factors(path, factors, classes))
    for path, table in tables.items():
        write_csv(path, table, *made)
        written.append(path)
    if as_csv:
        write(paths.grid, lambda path: write_grid(folder, [f.name for f in factors], grid, path))
    if as_stack:
        write(paths.factor_stack, lambda path: shutil.copyfile(folder / "stack.tif", path))
    tables = (paths.grid, paths.grid_parquet)  # what is there of another maker, OVERWRITE replaces
    for path in (*tables, paths.factor_stack, paths.insar_points, paths.insar_table, paths.samples,
                 paths.samples_origin, paths.samples_dates):
        if path not in written and (path in tables or wrote(path, MAKERS)):
            # of other constants: a stage would take it for this run's
            discard(path)
    return written


def write_grid(folder: Path, names: list[str], grid: Grid, path: Path) -> None:
    """Writes the grid table window by window, a row for each cell of the layer valid; names of the bands of stack."""
    stack, valid = (gdal.Open(str(folder / f"{name}.tif")) for name in ("stack", "valid"))
    with open(path, "w", encoding="utf-8", newline="") as file:
        for row, rows in Progress(list(grid.windows()), desc="grid table", unit="window", delay=2):
            r, c = np.nonzero(read_rows(valid, row, rows))
            values = np.stack([read_rows(stack, row, rows, i)[r, c] for i in range(1, len(names) + 1)], axis=1)
            x, y = centres(grid.geotransform, r + row, c)
            write_table(as_table(names, values, np.column_stack([x, y])), file, header=row == 0)
