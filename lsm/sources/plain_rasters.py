"""The values of rasters as people bring them: what a file says of them is applied, undeclared gaps are noticed.

`write_plain` makes of any raster a float GeoTIFF without scale, unit, mask or vertical CRS, of the part around the
area; all further work takes this copy.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from osgeo import gdal

from lsm.inputs.bands import ENDLESS, HEIGHTS, MARKS, digits, fillers, heaped
from lsm.inputs.crs import moved
from lsm.inputs.layers import flush, write_rows
from lsm.inputs.rasters import MAX_CELLS, Grid, create_raster, reason
from lsm.run.paths import edit, shown
from lsm.run.settings import InputError
from lsm.sources.files import File
from lsm.sources.raster_files import RasterFile

SAMPLE = 1 << 20  # values that the bulk of a raster is judged by
SHORE = 20.0      # of heights: nothing lower beside the sea
_LARGEST = {gdal.GDT_Byte: 255, gdal.GDT_UInt16: 65535, gdal.GDT_Int16: 32767}


def write_plain(raster: RasterFile, path: Path, notes: list[str], grid: Grid | None = None,
                categorical: bool = False, possible: Callable | None = None) -> gdal.Dataset:
    """Writes the part of a raster around the grid (all of it for None) as float values with nodata -9999: float64
    where the file holds more digits than float32, else float32. Returns it open.

    possible  (a sample of the values) -> the least and the largest that there can be; others become gaps, which a note
              counts. Raises InputError.
    """
    col, row, cols, rows = _window_around(raster, grid) if grid else (0, 0, raster.grid.cols, raster.grid.rows)
    where = raster.file.where
    if cols * rows > MAX_CELLS:
        raise InputError(f"{where}: expected at most {MAX_CELLS:,} cells around the DEM, found {rows} x {cols}; take "
                         "larger cells (QGIS: Warp)")
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

    gaps, sample = _gaps(raster, windows(), cols * rows, notes, categorical)
    least, most = possible(sample) if possible else (-np.inf, np.inf)
    _note_apart(raster, sample[(sample >= least) & (sample <= most)], notes, categorical)
    impossible, like = 0, None
    double = gdal.GetDataTypeSize(raster.band.band.DataType) > 32 or not raster.band.is_plain or raster.metres != 1 or (
        raster.band.band.DataType in (gdal.GDT_Int32, gdal.GDT_UInt32))
    plain = create_raster(path, part, gdal.GDT_Float64 if double else gdal.GDT_Float32)
    for first, numbers, good in windows():
        good &= ~np.isin(numbers, gaps) & ~(np.abs(numbers.astype(np.float64)) >= ENDLESS)
        values = raster.band.values(numbers)
        values = values if raster.metres == 1 else values * raster.metres
        wild = good & ((values < least) | (values > most))
        impossible, good, like = impossible + int(wild.sum()), good & ~wild, values[wild][0] if wild.any() else like
        if categorical and (raster.is_float or not raster.band.is_plain):  # what arithmetic leaves behind
            values = np.where(np.abs(values - np.round(values)) < 1e-5, np.round(values), values)
        write_rows(plain, first, np.where(good, values, np.nan))
    if impossible:
        notes.append(f"{where}: {impossible:,} cells hold values that no {raster.file.what} has, like {like:g}; taken "
                     "for gaps")
    flush(plain)
    return plain


def _gaps(raster: RasterFile, windows, cells: int, notes: list[str], categorical: bool
          ) -> tuple[list[float], np.ndarray]:
    """The stored numbers that mark gaps although the file does not declare them, each of which is said; and a sample
    of the other values (values,) of so many cells. Raises InputError for a DEM that has any, or heights that no ground
    has."""
    counts, sample, low, high, endless, total, zeros = {}, [], np.inf, -np.inf, 0, 0, 0
    step = max(1, cells // SAMPLE)
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
        notes.append(f"{where}: {endless:,} cells with numbers too large for values; taken for gaps that the "
                         "file does not declare")
    if sample and raster.file.what != "DEM" and not categorical and heaped(np.concatenate(sample)):
        notes.append(f"{where}: exactly 0 in {zeros:,} of {total:,} cells is kept as a value; if it marks gaps, "
                     f"declare it ({_declared(raster.file, 0)})")
    largest = _LARGEST.get(raster.band.band.DataType)
    for code in (largest,) * (high == largest or largest in counts) + (low,) * (low < 0) if categorical else ():
        notes.append(f"{where}: code {code:.9g} is kept as a class; if it marks gaps, declare it "
                     f"({_declared(raster.file, code)})")
    return gaps, raster.band.values(np.concatenate(sample)) if sample else np.zeros(0)


def _note_apart(raster: RasterFile, sample: np.ndarray, notes: list[str], categorical: bool) -> None:
    """Says which numbers of many cells may mark gaps, as `fillers` finds them. 0 counts among heights alone: the sea
    has a shore."""
    if categorical or not sample.size:
        return
    full, heights = _LARGEST.get(raster.band.band.DataType, np.nan), raster.file.what == "DEM"
    for number, share, why in fillers(sample, raster.band.values(np.array(full, np.float64)), SHORE if heights else 0):
        stored = number
        if not raster.band.is_plain:  # without the last digits, which arithmetic made
            stored, number = (float(f"{v:.9g}") for v in ((number - raster.band.offset) / raster.band.scale, number))
        notes.append(f"{raster.file.where}: {digits(number)} in {share:.1%} of the cells {why} and is kept"
                     f"{' as a height' * heights}; if it marks gaps, declare it ({_declared(raster.file, stored)})")


def _declared(file: File, number: float) -> str:
    """How a person says that a stored number marks gaps."""
    return file.remedy(f"nodata={digits(number)}")


def _check_heights(raster: RasterFile, extremes: list[float], notes: list[str]) -> None:
    """Raises InputError for heights that no ground has, or that 8 bits could not hold; notes  gets a line on others of
    8 bits."""
    if raster.band.band.DataType == gdal.GDT_Byte and 255 in extremes:
        raise InputError(f"{raster.file.where}: expected heights, found numbers of 8 bits that reach 255, so that "
                         "higher ground is clipped or counted from 0 again; export it in float32 or int16")
    if raster.band.band.DataType == gdal.GDT_Byte:
        notes.append(f"{raster.file.where}: heights of 8 bits, in whole numbers; if it is a picture (a hillshade), "
                     "take the elevations it was made of")
    if -ENDLESS < raster.band.values(np.float64(extremes[1])) < 0:
        notes.append(f"{raster.file.where}: all heights lie below 0; if they are depths, turn their sign")
    finite = np.array([v for v in extremes if np.isfinite(v)])
    metres = raster.band.values(finite) * raster.metres
    odd = np.flatnonzero((metres < HEIGHTS[0]) | (metres > HEIGHTS[1]))
    if len(odd):
        worst = odd[np.argmax(np.abs(metres[odd]))]
        wild = finite[worst]
        if raster.band.scale < 0:
            raise InputError(f"{raster.file.where}: expected heights from {HEIGHTS[0]} to {HEIGHTS[1]} m, found "
                             f"{metres[worst]:.9g} by the scale {raster.band.scale:g} of its band; if that is wrong, "
                             f"set it: {edit(raster.file.path, f'-scale {-raster.band.scale:g}')}")
        sea = ", if of the sea floor, cut it off" * bool(wild < HEIGHTS[0] and wild not in MARKS)
        raise InputError(f"{raster.file.where}: expected heights from {HEIGHTS[0]} to {HEIGHTS[1]} m, found "
                         f"{wild:.9g}; if it marks gaps, declare it ({_declared(raster.file, wild)}), if it is of "
                         f"another unit, say which: DEM_UNIT=<unit>{sea}")


def _window_around(raster: RasterFile, grid: Grid) -> tuple[int, int, int, int]:
    """First column and row, columns and rows of the part of a raster that lies around a grid, some cells wider; all of
    it where the CRS do not tell. Raises InputError where the raster lies elsewhere."""
    west, south, east, north = grid.bounds
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(west, east, 21), np.linspace(south, north, 21)))
    whole = (0, 0, raster.grid.cols, raster.grid.rows)
    try:
        xy = moved(np.column_stack([x, y]), grid.crs, raster.crs)
    except RuntimeError:
        return whole
    if raster.crs.IsGeographic() and raster.grid.bounds[2] > 180:  # longitudes from 0 to 360
        least, around = raster.grid.bounds[0], raster.grid.bounds[2] - raster.grid.bounds[0] > 359
        least -= not around  # an area may reach beyond a raster of a part of the earth
        xy[:, 0] = least + (xy[:, 0] - least) % 360
        if np.ptp(xy[:, 0]) > 180:
            path = shown(raster.file.path)
            new = f"{Path(path).stem}_180.tif"
            raise InputError(
                f"{raster.file.where}: longitudes: the area lies at both ends of it; turn it: python -c \"from osgeo "
                f"import gdal; gdal.SetConfigOption('CENTER_LONG','0'); gdal.Warp('{new}','{path}',dstSRS='EPSG:4326',"
                'outputBounds=(-180,-90,180,90))"')
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
