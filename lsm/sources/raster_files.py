"""Rasters as people bring them: what a file says of its values is applied, undeclared gaps are noticed.

`write_plain` makes of any raster a float GeoTIFF without scale, unit, mask or vertical CRS, of the part around the
area; all further work takes this copy.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from osgeo import gdal, osr

from lsm.inputs.bands import ENDLESS, HEIGHTS, MARKS, Band, alpha_of, refuse_damaged
from lsm.inputs.crs import horizontal
from lsm.inputs.layers import flush, write_rows
from lsm.inputs.rasters import MAX_CELLS, Grid, create, reason
from lsm.run.paths import shown
from lsm.run.settings import InputError
from lsm.sources.files import File

gdal.UseExceptions()
osr.UseExceptions()

METRES = {"m": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001, "km": 1000.0, "ft": 0.3048, "us-ft": 1200 / 3937}  # of a unit
_SPELT = {"metre": "m", "meter": "m", "decimetre": "dm", "decimeter": "dm", "centimetre": "cm", "centimeter": "cm",
          "millimetre": "mm", "millimeter": "mm", "kilometre": "km", "kilometer": "km", "foot": "ft", "feet": "ft"}
SAMPLE = 1 << 20  # values that the bulk of a raster is judged by


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
    """Whether GDAL opens a file as a raster. Raises InputError where the file is missing."""
    file = File.of(name, what)
    if "layername" in file.options:
        return False
    try:
        return gdal.OpenEx(file.opened, gdal.OF_RASTER).RasterCount > 0
    except (RuntimeError, UnicodeDecodeError):  # the latter by GDAL's bindings, of a message that quotes damaged text
        return False


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
    except RuntimeError:
        found, remedy = "none", "export it again as GeoTIFF"
        if file.path.is_dir():
            tiles = f"gdalbuildvrt {shown(file.path)}.vrt {shown(file.path)}/*.tif"
            found, remedy = "a folder", f"join its tiles ({tiles}), or name a file: {file.constant}=<file>"
        raise InputError(f"{where}: expected a raster that GDAL opens, found {found}; {remedy}") from None
    refuse_damaged(dataset, where)
    if not dataset.RasterCount and dataset.GetSubDatasets():
        inner = dataset.GetSubDatasets()[0][0].replace(str(file.path), shown(file.path))
        raise InputError(f"{where}: expected one raster, found {len(dataset.GetSubDatasets())} data sets; export the "
                         f"right one: gdal_translate '{inner}' <name>.tif")
    if dataset.GetGCPCount() and dataset.GetGeoTransform(can_return_null=True) is None:
        raise InputError(f"{where}: expected a geotransform, found ground control points; warp it (gdalwarp -t_srs "
                         "EPSG:<code>)")
    number, bands = file.number("band"), dataset.RasterCount - (alpha_of(dataset) > 0)
    if bands != 1 and not 1 <= number <= bands:
        colours = dataset.GetRasterBand(1).GetColorInterpretation() == gdal.GCI_RedBand
        picture = " (red, green, blue?); of a picture take the data it was made of, else" * colours
        raise InputError(f"{where}: expected one band, found {bands}{picture or ';'} pick one: "
                         f"{file.remedy('band=<number>')}")
    band = Band.of(dataset, number or 1)
    if gdal.DataTypeIsComplex(band.band.DataType):
        raise InputError(f"{where}: expected real numbers, found complex ones; export their real part")
    crs = file.crs or dataset.GetSpatialRef()
    if crs is None or crs.IsLocal():
        raise InputError(f"{where}: CRS: expected one, found none; set it: {file.remedy('epsg=<code>')}, or in the "
                         "file (gdal_edit.py -a_srs EPSG:<code>)")
    if dataset.GetGeoTransform(can_return_null=True) is None:
        raise InputError(f"{where}: expected a geotransform, found none; georeference it (gdal_edit.py -a_ullr <west> "
                         "<north> <east> <south>)")
    if not band.is_plain:
        notes.append(f"{where}: scale {band.scale:g} and offset {band.offset:g} of its band are applied")
    if band.mask is not None:
        notes.append(f"{where}: its mask or alpha band marks gaps")
    metres = 1.0 if unit is None else _metres(file, band.band.GetUnitType(), crs, unit, notes)
    return RasterFile(file, band, horizontal(crs), metres)


def _metres(file: File, stated: str, crs: osr.SpatialReference, unit: str, notes: list[str]) -> float:
    """The metres of the unit of lengths: the given one, else what the band and the vertical CRS state."""
    if unit:
        return METRES[unit]
    if crs.GetAttrValue("VERT_CS|AXIS", 1) == "DOWN":
        raise InputError(f"{file.where}: expected heights, found depths by its vertical CRS ({crs.GetName()}); turn "
                         "their sign and give a CRS of heights")
    found = {}
    if stated:
        found["its band"] = _named(stated)
        if found["its band"] is None:
            raise InputError(f"{file.where}: unit of the band: expected one of {', '.join(METRES)}, found {stated!r}; "
                             f"{_say_unit(file)}")
    if file.what == "DEM" and crs.GetAttrValue("VERT_CS|UNIT", 1):
        found["its vertical CRS"] = float(crs.GetAttrValue("VERT_CS|UNIT", 1))
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
    return "say which it is: DEM_UNIT=<unit>" if file.what == "DEM" else "set it (gdal_edit.py -units m)"


def _named(text: str) -> float | None:
    """The metres of a unit as files spell it, None for another: "US survey foot", "metre", "ft"."""
    words = re.findall(r"[a-z]+", text.lower().replace("_", " "))
    if {"us", "survey", "ftus", "sft", "usft"} & set(words):
        return METRES["us-ft"]
    spelt = [_SPELT.get(word, _SPELT.get(word.removesuffix("s"), word)) for word in words]
    return next((METRES[word] for word in spelt if word in METRES), None)


def write_plain(raster: RasterFile, path: Path, notes: list[str], grid: Grid | None = None,
                categorical: bool = False) -> gdal.Dataset:
    """Writes the part of a raster around the grid (all of it for None) as float values with nodata -9999: float64
    where the file holds more digits than float32, else float32. Returns it open. Raises InputError.
    """
    col, row, cols, rows = _window_around(raster, grid) if grid else (0, 0, raster.grid.cols, raster.grid.rows)
    where = raster.file.where
    if cols * rows > MAX_CELLS:
        raise InputError(f"{where}: expected at most {MAX_CELLS:,} cells around the DEM, found {rows} x {cols}; take "
                         "larger cells (gdalwarp -tr)")
    a, b, c, d, e, f = raster.grid.geotransform
    west = a + col * b + row * c
    if raster.crs.IsGeographic() and west + cols * b / 2 > 180:  # longitudes from 0 to 360
        west -= 360
    part = Grid(rows, cols, (west, b, c, d + col * e + row * f, e, f), raster.grid.crs)

    def windows() -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        for first, count in part.windows():
            try:
                yield first, *raster.band.read(col, row + first, cols, count)
            except RuntimeError as error:
                raise InputError(f"{where}: expected a whole raster, found: {reason(error, raster.file.path)}; copy or "
                                 "export it again") from None

    gaps = _gaps(raster, windows(), notes, categorical)
    double = gdal.GetDataTypeSize(raster.band.band.DataType) > 32 or not raster.band.is_plain or raster.metres != 1 or (
        raster.band.band.DataType in (gdal.GDT_Int32, gdal.GDT_UInt32))
    plain = create(path, part, gdal.GDT_Float64 if double else gdal.GDT_Float32)
    for first, numbers, good in windows():
        good &= ~np.isin(numbers, gaps) & ~(np.abs(numbers.astype(np.float64)) >= ENDLESS)
        values = raster.band.values(numbers)
        values = values if raster.metres == 1 else values * raster.metres
        if categorical and (raster.is_float or not raster.band.is_plain):  # what arithmetic leaves behind
            values = np.where(np.abs(values - np.round(values)) < 1e-5, np.round(values), values)
        write_rows(plain, first, np.where(good, values, np.nan))
    flush(plain)
    return plain


def _gaps(raster: RasterFile, windows, notes: list[str], categorical: bool) -> list[float]:
    """The stored numbers that mark gaps although the file does not declare them; each is said. Raises InputError for
    a DEM that has any, or heights that no ground has."""
    counts, sample, low, high, endless, total, zeros = {}, [], np.inf, -np.inf, 0, 0, 0
    step = max(1, raster.grid.rows * raster.grid.cols // SAMPLE)
    for _, numbers, good in windows:
        v = numbers[good]
        total, zeros = total + v.size, zeros + int((v == 0).sum())
        huge = np.abs(v.astype(np.float64)) >= ENDLESS
        endless, v = endless + int(huge.sum()), v[~huge]
        for mark in MARKS if v.size else ():
            if v.min() <= mark <= v.max() and (n := int((v == mark).sum())):
                counts[mark] = counts.get(mark, 0) + n
        v = v[~np.isin(v, list(counts))]
        if v.size:
            low, high = min(low, float(v.min())), max(high, float(v.max()))
            sample.append(v[::step].astype(np.float64))
    where = raster.file.where
    if not total:
        raise InputError(f"{where}: expected values, found nodata alone; check its nodata value and its extent")
    left, right = np.quantile(np.concatenate(sample), (0.01, 0.99)) if sample else (0.0, 0.0)
    width = right - left
    if raster.file.what == "DEM":
        _check_heights(raster, [low, high, *counts], notes)
    gaps = []
    for mark, n in counts.items():
        below = mark < 0 and (low >= 0 or low - mark >= 0.1 * width)
        above = mark > 0 and mark - high >= width > 0 and not categorical
        if below or above:
            gaps.append(mark)
            if raster.file.what == "DEM":
                raise InputError(f"{where}: expected heights near its others ({left:.5g} to {right:.5g}), found {mark} "
                                 f"in {n:,} cells; if it marks gaps, declare it ({_declared(raster.file, mark)})")
            notes.append(f"{where}: {mark} in {n:,} cells lies far from all other values ({left:.5g} to {right:.5g}); "
                         "taken for gaps that the file does not declare")
    if endless:
        notes.append(f"{where}: {endless:,} cells of endless size; taken for gaps that the file does not declare")
    others = np.concatenate([s[s != 0] for s in sample]) if sample else np.zeros(0)
    if zeros > 0.05 * total and len(others) and raster.is_float and raster.file.what != "DEM" and not categorical and (
            np.quantile(others, 0.01) > 0 or np.quantile(others, 0.99) < 0):
        notes.append(f"{where}: exactly 0 in {zeros:,} of {total:,} cells is kept as a value; if it marks gaps, "
                     f"declare it ({_declared(raster.file, 0)})")
    largest = {gdal.GDT_Byte: 255, gdal.GDT_UInt16: 65535, gdal.GDT_Int16: 32767}.get(raster.band.band.DataType)
    if categorical and (high == largest or largest in counts):
        notes.append(f"{where}: code {largest} is kept as a class; if it marks gaps, declare it "
                     f"({_declared(raster.file, largest)})")
    return gaps


def _declared(file: File, number: float) -> str:
    """How a person declares a number as nodata; of text files GDAL edits nothing."""
    text = Path(file.opened).suffix.lower() == ".asc"
    return f"a line NODATA_value {number:.9g} in its header" if text else f"gdal_edit.py -a_nodata {number:.9g}"


def _check_heights(raster: RasterFile, extremes: list[float], notes: list[str]) -> None:
    """Raises InputError for heights that no ground has, or that 8 bits could not hold; notes  gets a line on others of
    8 bits."""
    if raster.band.band.DataType == gdal.GDT_Byte and 255 in extremes:
        raise InputError(f"{raster.file.where}: expected heights, found numbers of 8 bits that reach 255, so that "
                         "higher ground is clipped or counted from 0 again; export it in float32 or int16")
    if raster.band.band.DataType == gdal.GDT_Byte:
        notes.append(f"{raster.file.where}: heights of 8 bits, in whole numbers; if it is a picture (a hillshade), "
                     "take the elevations it was made of")
    finite = np.array([v for v in extremes if np.isfinite(v)])
    metres = raster.band.values(finite) * raster.metres
    odd = np.flatnonzero((metres < HEIGHTS[0]) | (metres > HEIGHTS[1]))
    if len(odd):
        wild = finite[odd[np.argmax(np.abs(metres[odd]))]]
        sea = ", if of the sea floor, cut it off" * bool(wild < HEIGHTS[0] and wild not in MARKS)
        raise InputError(f"{raster.file.where}: expected heights from {HEIGHTS[0]} to {HEIGHTS[1]} m, found "
                         f"{wild:.9g}; if it marks gaps, declare it ({_declared(raster.file, wild)}), if it is of "
                         f"another unit, say which: DEM_UNIT=<unit>{sea}")


def _window_around(raster: RasterFile, grid: Grid) -> tuple[int, int, int, int]:
    """First column and row, columns and rows of the part of a raster that lies around a grid, some cells wider; all of
    it where the CRS do not tell. Raises InputError where the raster lies elsewhere."""
    west, south, east, north = grid.bounds
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(west, east, 21), np.linspace(south, north, 21)))
    source = osr.SpatialReference(wkt=grid.crs)
    source.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    whole = (0, 0, raster.grid.cols, raster.grid.rows)
    try:
        there = osr.CoordinateTransformation(source, raster.crs)
        xy = np.array(there.TransformPoints(np.column_stack([x, y]).tolist()))
    except RuntimeError:
        return whole
    if raster.crs.IsGeographic() and raster.grid.bounds[2] > 180:  # longitudes from 0 to 360
        least = raster.grid.bounds[0] - 1
        xy[:, 0] = least + (xy[:, 0] - least) % 360
    back = gdal.InvGeoTransform(raster.grid.geotransform)
    cols = back[0] + xy[:, 0] * back[1] + xy[:, 1] * back[2]
    rows = back[3] + xy[:, 0] * back[4] + xy[:, 1] * back[5]
    if not (np.isfinite(cols).all() and np.isfinite(rows).all()):
        return whole
    margin = 4 + 0.05 * max(np.ptp(cols), np.ptp(rows))
    first = np.floor([cols.min() - margin, rows.min() - margin]).clip(0, whole[2:]).astype(int)
    last = np.ceil([cols.max() + margin, rows.max() + margin]).clip(0, whole[2:]).astype(int)
    if (last <= first).any():
        raise InputError(f"{raster.file.where}: expected values on the grid ({grid.extent}), found none; check its "
                         "CRS, extent and nodata value")
    return *first.tolist(), *(last - first).tolist()
