"""Rasters as people bring them: opened, with what the file says of place and values.

Their values: lsm/sources/plain_rasters.py.
"""

import re
import shlex
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path

from osgeo import gdal, ogr, osr

from lsm.inputs.bands import UNREADABLE, Band, alpha_of, refuse_damaged
from lsm.inputs.crs import horizontal
from lsm.inputs.rasters import Grid, known_strips
from lsm.run.paths import edit, shown
from lsm.run.settings import InputError
from lsm.sources.files import File, is_beside, is_sidecar

METRES = {"m": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001, "km": 1000.0, "ft": 0.3048, "us-ft": 1200 / 3937}  # of a unit
_SPELT = {"metre": "m", "meter": "m", "decimetre": "dm", "decimeter": "dm", "centimetre": "cm", "centimeter": "cm",
          "millimetre": "mm", "millimeter": "mm", "kilometre": "km", "kilometer": "km", "metro": "m", "metri": "m",
          "foot": "ft", "feet": "ft"}
_US_FOOT = {"ftus", "sft", "usft"}
# words beside a unit that leave it as it is: "metres above mean sea level (EGM96)"
_DATUM = re.compile(r"\b(egm|navd|ngvd|evrf|wgs|epsg)[ :]?\d+")
_BESIDE = {"above", "over", "mean", "sea", "level", "msl", "asl", "amsl", "a", "s", "l", "the", "of", "in", "geoid",
           "ellipsoid", "ellipsoidal", "orthometric", "vertical", "datum", "height", "heights", "elevation",
           "international", "unit", "units"}
_NO_UNIT = ("unspecified", "unknown", "undefined", "none", "n/a", "-", "1")
# "heights [ft]", "distance_km", "dem_ft"; not the "10_m" of a cell
_UNIT_OF_NAME = re.compile(rf"[(\[]\s*({'|'.join([*METRES, *_SPELT])})s?\s*[)\]]|[^\W\d]{{2,}}[ _-]+(ft|feet)$|"
                           r"(?:dis[a-z]*|heights?|elev[a-z]*|alt[a-z]*)[ _-]+(km|dm|cm|mm)$", re.I)
_OR_COUNTRY = re.compile(r"[^\W\d]{2,}[ _-]+(km|dm|cm|mm)$", re.I)  # Comoros, Dominica, Cameroon, Myanmar
_BOTH = ("GPKG", "PDF", "netCDF")  # formats whose files may hold rasters and layers of shapes


@dataclass(frozen=True)
class RasterFile:
    """One band of a raster file, where it lies (crs: horizontal, X before Y), and the metres of its unit: 1 for values
    that are no lengths."""

    file: File
    band: Band
    crs: osr.SpatialReference
    metres: float

    @property
    def grid(self) -> Grid:
        """All cells of the raster; it need not point north."""
        dataset = self.band.dataset
        return Grid(dataset.RasterYSize, dataset.RasterXSize, dataset.GetGeoTransform(), self.crs.ExportToWkt())

    @property
    def is_float(self) -> bool:
        """Whether the file stores fractions."""
        return self.band.band.DataType in (gdal.GDT_Float32, gdal.GDT_Float64)


def is_raster(name: str, what: str) -> bool:
    """Whether GDAL opens a file as a raster. Raises InputError where the file is missing, or holds a raster and a layer
    and its name's options do not say which is meant."""
    file = File.of(name, what)
    if "layername" in file.options:
        return False
    gdal.PushErrorHandler("CPLQuietErrorHandler")  # GDAL warns of tables that may be rasters of X, Y, Z
    try:
        found = gdal.OpenEx(file.opened, gdal.OF_RASTER)
    except UNREADABLE:
        return False
    finally:
        gdal.PopErrorHandler()
    if found.GetDriver().ShortName in _BOTH and "band" not in file.options and (layers := _layers(file)):
        raise InputError(f"{file.where}: expected one raster or layer, found a raster and {', '.join(layers)}; say "
                         f"which: {file.remedy(f'layername={layers[0]}')} or |band=1")
    return found.RasterCount > 0 or bool(found.GetSubDatasets())


def turning(name: str, what: str, kind: str, layer: Path) -> str:
    """What to do about the directions of a raster, which are not from 0 to 360 degrees; "" for layers, archives and
    factors of another kind. layer: a raster of its values. Raises InputError as `is_raster` does."""
    file = File.of(name, what)
    if kind != "circular" or not is_raster(name, what) or file.member:
        return ""
    band = f" --A_band={file.number('band')}" * bool(file.number("band"))
    values = known_strips(gdal.Open(str(layer)))
    below = any(((v >= -720) & (v < -1)).any() for v in values)  # these are from -180 to 180, as a rule
    of_one, turned = ("is 359 degrees, since there are numbers below it", "A%360") if below else (
        "stays flat", "numpy.where(A==-1,-1,A%360)")
    return (f"bring them into this range (-1 {of_one}): python -m osgeo_utils.gdal_calc -A "
            f'{shlex.quote(shown(file.path))}{band} --outfile=<new> --calc="{turned}"')


def _layers(file: File) -> list[str]:
    """The layers of shapes in a file."""
    try:
        source = gdal.OpenEx(file.opened, gdal.OF_VECTOR)
    except UNREADABLE:
        return []
    layers = map(source.GetLayer, range(source.GetLayerCount()))
    return [layer.GetName() for layer in layers if layer.GetGeomType() != ogr.wkbNone and layer.GetFeatureCount()]


def open_raster_file(name: str, what: str, notes: list[str], unit: str | None = None) -> RasterFile:
    """Opens a raster of one band that says where it lies; what is applied or guessed is added to notes.

    what  it is, for the message
    unit  None: the values are no lengths; "": lengths in the unit that the file says, else in metres; else the unit's
          name in METRES. Raises InputError.
    """
    file = File.of(name, what)
    where = file.where
    try:
        dataset = gdal.OpenEx(file.opened, gdal.OF_RASTER)
    except UNREADABLE:
        found, remedy = "none", "export it again as GeoTIFF"
        if file.path.is_dir():
            found, remedy = "a folder", f"join its tiles: {_joining(file.path)}; or name a file: {file.constant}=<file>"
        elif file.path.suffix.lower() == ".hgt":
            remedy = f"GDAL reads .hgt by its own name: call it like N46E015.hgt, and {file.constant}=N46E015.hgt"
        raise InputError(f"{where}: expected a raster that GDAL opens, found {found}; {remedy}") from None
    file.only("a raster", "band", "field", "value", "nodata")
    refuse_damaged(dataset, where)
    if not dataset.RasterCount and dataset.GetSubDatasets():
        inner = dataset.GetSubDatasets()[0][0].replace(str(file.path), shown(file.path)).replace('"', "")
        raise InputError(f"{where}: expected one raster, found {len(dataset.GetSubDatasets())} data sets; export the "
                         f"right one: python -c 'from osgeo import gdal; gdal.Translate(\"new.tif\", \"{inner}\")'")
    if dataset.GetGCPCount() and dataset.GetGeoTransform(can_return_null=True) is None:
        raise InputError(f"{where}: expected a geotransform, found ground control points; warp it (QGIS: "
                         "Georeferencer, or Warp)")
    number, bands = file.number("band"), dataset.RasterCount - (alpha_of(dataset) > 0)
    names = [dataset.GetRasterBand(b).GetDescription().strip().lower() for b in range(1, bands + 1)]
    named = [b for b, name in enumerate(names, start=1) if name == what.lower()]
    if not number and bands > 1 and len(named) == 1:
        number = named[0]
        notes.append(f"{where}: band {number} of {bands} has this name and is read")
    number = number or int(bands == 1)
    if not 1 <= number <= bands:
        colours = dataset.GetRasterBand(1).GetColorInterpretation() == gdal.GCI_RedBand
        picture = " (red, green, blue?); of a picture take the data it was made of, else" * colours
        raise InputError(f"{where}: expected one band, found {bands}{picture or ';'} pick one: "
                         f"{file.remedy('band=<number>')}")
    band = Band.of(dataset, number)
    band = replace(band, said=file.nodata)
    if gdal.DataTypeIsComplex(band.band.DataType):
        raise InputError(f"{where}: expected real numbers, found complex ones; export their real part")
    crs = file.crs or dataset.GetSpatialRef()
    if crs is None or crs.IsLocal():
        raise InputError(f"{where}: CRS: expected one, found none; set it: {file.remedy('epsg=<code>')}")
    if dataset.GetGeoTransform(can_return_null=True) is None:
        raise InputError(f"{where}: expected a geotransform, found none; georeference it: "
                         + edit(file.path, "-a_ullr <west> <north> <east> <south>"))
    if not band.is_plain:
        notes.append(f"{where}: scale {band.scale:g} and offset {band.offset:g} of its band are applied")
    if band.mask is not None:
        notes.append(f"{where}: its mask or alpha band marks gaps")
    metres = 1.0 if unit is None else _metres(file, band.band, crs, unit, notes)
    return RasterFile(file, band, horizontal(crs), metres)


def _joining(folder: Path) -> str:
    """The command that joins the tiles in a folder to one virtual raster beside it."""
    kinds = [p.suffix for p in folder.iterdir() if p.suffix and not (is_sidecar(p.name) or is_beside(p.name))]
    kind, name = max(sorted(kinds), key=kinds.count, default=".tif"), shown(folder)
    return ("python -c 'from glob import glob; from osgeo import gdal; "
            f'gdal.BuildVRT("{name}.vrt", glob("{name}/*{kind}"))\'')


def _metres(file: File, band: gdal.Band, crs: osr.SpatialReference, unit: str, notes: list[str]) -> float:
    """The metres of the unit of lengths: the given one, else what the band and the vertical CRS state, else what stands
    behind a name, like "distance (km)" or dem_ft.tif."""
    stated = "" if band.GetUnitType().strip().lower() in _NO_UNIT else band.GetUnitType()
    if unit:
        return METRES[unit]
    if crs.GetAttrValue("VERT_CS|AXIS", 1) == "DOWN":
        raise InputError(f"{file.where}: expected heights, found depths by its vertical CRS ({crs.GetName()}); turn "
                         "their sign and give a CRS of heights")
    found = {}
    if stated:
        found["its band"] = _metres_of_unit(stated)
        if found["its band"] is None:
            raise InputError(f"{file.where}: unit of the band: expected one of {', '.join(METRES)}, found {stated!r}; "
                             f"convert the values to metres, or, if they are of one of these, {_say_unit(file)}")
    if file.what == "DEM" and crs.GetAttrValue("VERT_CS|UNIT", 1):
        found["its vertical CRS"] = float(crs.GetAttrValue("VERT_CS|UNIT", 1))
    names = {"the name of its band": band.GetDescription(), "its name": Path(file.member or file.path.name).stem}
    for who, name in names.items():
        if not found and (unit_of_name := _UNIT_OF_NAME.search(name)):
            found[who] = _metres_of_unit(next(filter(None, unit_of_name.groups())))
        elif not found and (unclear := _OR_COUNTRY.search(name)):
            raise InputError(f"{file.where}: expected the unit of its values, found none but the end of {who}, "
                             f"{unclear[1]}, which may be a country; {_say_unit(file)}")
    if not found and file.what == "DEM" and crs.IsProjected() and abs(crs.GetLinearUnits() - 1) > 1e-6:
        raise InputError(f"{file.where}: expected the unit of heights, found none and a CRS in "
                         f"{crs.GetLinearUnitsName()} ({crs.GetName()}); say it: DEM_UNIT=<one of {', '.join(METRES)}>")
    if not found:
        notes.append(f"{file.where}: names no unit, taken for metres{' (DEM_UNIT)' * (file.what == 'DEM')}")
        return 1.0
    if max(found.values()) > 1.00001 * min(found.values()):
        both = " and ".join(f"{metres:.7g} m by {who}" for who, metres in found.items())
        raise InputError(f"{file.where}: expected one unit of heights, found {both}; say which it is: DEM_UNIT=<unit>")
    metres = next(iter(found.values()))
    if metres != 1:
        notes.append(f"{file.where}: in units of {metres:.7g} m by {next(iter(found))}; turned into metres")
    return metres


def _say_unit(file: File) -> str:
    """How a person says the unit of a raster of lengths."""
    return "say which it is: DEM_UNIT=<unit>" if file.what == "DEM" else f"set it: {edit(file.path, '-units m')}"


def _metres_of_unit(text: str) -> float | None:
    """The metres of a unit as files spell it: "US survey foot", "metre", "ft". None for another, and where a number or
    a word stands beside it that may change it: "0.1 m", "tenths of metres"."""
    bare = unicodedata.normalize("NFKD", text.lower()).encode("ascii", "ignore").decode().replace("_", " ")
    bare = _DATUM.sub("", bare)
    words = set(re.findall(r"[a-z]+", bare)) - _BESIDE
    spelt = {_SPELT.get(word, _SPELT.get(word.removesuffix("s"), word))
             for word in words - {"us", "survey"} - _US_FOOT}
    if re.search(r"[^a-z .,()\[\]-]", bare) or not spelt <= set(METRES):
        return None
    if (words & _US_FOOT and not spelt) or (words & {"us", "survey"} and spelt == {"ft"}):
        return METRES["us-ft"]
    return METRES[spelt.pop()] if len(spelt) == 1 and not words & {"us", "survey"} else None
