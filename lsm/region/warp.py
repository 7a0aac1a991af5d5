"""One grid for everything: rasters and points of any CRS and cell size are brought onto it by GDAL."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from osgeo import gdal, osr

from lsm.inputs.bands import NODATA, heaped, known
from lsm.inputs.crs import SIDEWAYS, crs_of, ground_scale, moved, off_north, other_unit, utm_zone
from lsm.inputs.layers import change_layer, flush, read_rows, write_layer, write_rows
from lsm.inputs.rasters import MAX_CELLS, Grid, create_raster, known_strips, reason
from lsm.inputs.vectors import burn, fields_of
from lsm.run.settings import InputError
from lsm.sources.class_codes import NO_FIELD
from lsm.sources.files import File
from lsm.sources.plain_rasters import write_plain
from lsm.sources.raster_files import RasterFile, is_raster, open_raster_file
from lsm.sources.vector_files import only_areas, open_vector

WARP_MEMORY = 128  # MB
NO_AND_YES = (("0", "1"), ("no", "yes"), ("n", "y"), ("false", "true"), ("f", "t"))  # in alphabetical order
SCALE_OFF = 0.01  # largest error of a map's scale


def grid_for(dem: RasterFile, epsg: int, cell: float) -> tuple[Grid, bool]:
    """The grid that a DEM defines: square cells of a projected CRS in metres, north up. Also whether it is the DEM's
    own grid, so that no cell has to be resampled.

    epsg  of the grid, 0: the DEM's; cell  its side in m, 0: about the side of the DEM's cells. Raises InputError.
    """
    own, place = dem.crs, dem.grid.geotransform
    crs = crs_of(epsg) if epsg else own
    where = f"EPSG={epsg}" if epsg else f"{dem.file.where}: CRS"
    if other_unit(crs):
        raise InputError(f"{where}: expected a projected {'CRS' if epsg else 'one'} in metres, found "
                         f"{other_unit(crs)}; name one to warp to, like EPSG={_utm(dem)}")
    if not 0 <= cell < math.inf:
        raise InputError(f"CELL={cell:g}: expected metres, or 0 for the cells of the DEM")
    aligned = (own.IsSame(crs) and place[1] > 0 > place[5] and not place[2] and not place[4]
               and abs(place[1] + place[5]) <= 1e-6 * place[1] and cell in (0, place[1]))
    if aligned:  # GDAL warns of cells that are not square to the last digit
        place = (*place[:5], -place[1])
        return _checked_grid(Grid(dem.grid.rows, dem.grid.cols, place, crs.ExportToWkt()), crs, where, dem), True
    options = {"format": "VRT", "srcSRS": own.ExportToWkt(), "dstSRS": crs.ExportToWkt()}
    try:
        warped = gdal.Warp("", dem.band.dataset, **options)
        _, width, _, _, _, height = warped.GetGeoTransform()
        side = cell or math.sqrt(abs(width * height))
        warped = gdal.Warp("", dem.band.dataset, **options, xRes=side, yRes=side)
    except RuntimeError as error:
        raise InputError(f"{dem.file.where}: expected a raster that warps to {crs.GetName()}, found: "
                         f"{reason(error, dem.file.path)}; check EPSG, CELL and the CRS of the DEM") from None
    grid = Grid(warped.RasterYSize, warped.RasterXSize, warped.GetGeoTransform(), crs.ExportToWkt(),
                "" if own.IsSame(crs) else own.ExportToWkt())
    return _checked_grid(grid, crs, where, dem), False


def _checked_grid(grid: Grid, crs: osr.SpatialReference, where: str, dem: RasterFile) -> Grid:
    """Returns the grid. Raises InputError where it has too few cells for a slope, or too many to work with, or where
    its metres are no metres on the ground or its Y does not run north: slopes, distances or aspects would be wrong."""
    if min(grid.rows, grid.cols) < 3 or grid.rows * grid.cols > MAX_CELLS:
        raise InputError(f"{dem.file.where}: expected a grid of 3 x 3 to {MAX_CELLS:,} cells, found {grid.rows} x "
                         f"{grid.cols} of {grid.cell:g} m; take another CELL, or another DEM")
    west, south, east, north = grid.bounds
    middle = (west + east) / 2, (south + north) / 2
    try:
        scale, turned = ground_scale(crs, *middle), off_north(crs, *middle)
    except RuntimeError:
        raise InputError(f"{where}: expected coordinates of {crs.GetName()}, found {grid.extent}; check the CRS "
                         "of the DEM") from None
    if abs(math.log(scale)) > SCALE_OFF:
        raise InputError(f"{where}: expected a CRS whose metres are metres on the ground within {SCALE_OFF:.0%}, found "
                         f"{crs.GetName()}: there {scale:.3f} m stand for 1 m; warp to another: EPSG={_utm(dem)}")
    if abs(turned) > SIDEWAYS:
        raise InputError(f"{where}: expected a CRS whose Y runs north, found {crs.GetName()}: there the way up on the "
                         f"map is {turned:.0f} degrees off north, and aspects with it; warp to another: "
                         f"EPSG={_utm(dem)}")
    return grid


def to_grid(name: str, what: str, grid: Grid, path: Path, notes: list[str], categorical: bool = False,
            unit: str | None = None, nearest: bool = False, possible: Callable | None = None) -> RasterFile:
    """Writes a raster file as a layer on the grid: by the nearest cell for categories and where `nearest` is set,
    bilinear for the rest; gaps become nodata. Of a heap of zeros, which may be gaps, each stays in the cells that it is
    nearest to. Classes that float32 would change are written as float64.

    what  it is, for the message; notes  gets lines on what was applied or guessed; unit  as `open_raster_file` takes
          it; possible  as `write_plain` takes it
    Returns the file. Raises InputError where the raster cannot be warped or lies elsewhere.
    """
    source = open_raster_file(name, what, notes, unit)
    where, on_grid = source.file.where, _is_on(source, grid)
    plain = write_plain(source, path.with_suffix(".plain.tif"), notes, None if on_grid else grid, categorical,
                        possible)
    kind, zeros = plain.GetRasterBand(1).DataType if categorical else gdal.GDT_Float32, None

    def warped(suffix: str, how: str) -> gdal.Dataset:
        return gdal.Warp(str(path.with_suffix(suffix)), plain, format="GTiff", dstSRS=grid.crs,
                         outputBounds=grid.bounds, width=grid.cols, height=grid.rows, resampleAlg=how, outputType=kind,
                         dstNodata=NODATA, warpMemoryLimit=WARP_MEMORY, creationOptions=["BIGTIFF=IF_SAFER"])

    try:
        if not on_grid and not categorical and not nearest and what != "DEM" and _heap_of_zeros(plain):
            zeros = warped(".zeros.tif", "near")  # a 0 that marks a gap must not mix with its neighbours
            for row, rows in Grid.of(plain).windows():
                values = read_rows(plain, row, rows)
                write_rows(plain, row, np.where(values == 0, NODATA, values))
            flush(plain)
        plain = plain if on_grid else warped(".warped.tif", "near" if categorical or nearest else "bilinear")
    except RuntimeError as error:
        raise InputError(f"{where}: expected a raster that warps to the grid of the DEM, found: "
                         f"{reason(error, source.file.path)}; check its CRS and extent, or export it again") from None
    found = False

    def window(row: int, rows: int) -> np.ndarray:
        nonlocal found
        values = read_rows(plain, row, rows)
        if zeros:
            values = np.where(read_rows(zeros, row, rows) == 0, 0, values)
        good = known(values)
        found |= bool(good.any())
        return np.where(good, values, np.nan)

    write_layer(path, grid, window, kind)
    if not found:
        raise InputError(f"{where}: expected values on the grid ({grid.extent}), found none; check its CRS, extent and "
                         "nodata value")
    return source


def _heap_of_zeros(dataset: gdal.Dataset) -> bool:
    """Whether 0 is `heaped` in a raster."""
    grid = Grid.of(dataset)
    step = 1 + (grid.rows * grid.cols >> 20)
    return heaped(np.concatenate([v[::step] for v in known_strips(dataset)]))


def _is_on(source: RasterFile, grid: Grid) -> bool:
    """Whether a raster has the same cells as the grid."""
    own = source.grid
    return ((own.rows, own.cols) == (grid.rows, grid.cols)
            and np.allclose(own.geotransform, grid.geotransform, rtol=0, atol=1e-6 * grid.cell)
            and bool(source.crs.IsSame(osr.SpatialReference(wkt=grid.crs))))


def masked(mask: str, grid: Grid, folder: Path, notes: list[str]) -> np.ndarray:
    """(rows, cols) bool: the cells of a mask: the cells inside its polygons, or the cells of a raster whose number is
    not 0, or is one of |value=. Where one field alone holds 0 and 1, or no and yes, polygons of 0 or no do not mask.
    Raises InputError where numbers cover all and do not tell what is the mask."""
    file = File.of(mask, "MASK")
    if not is_raster(mask, "MASK"):
        vector = open_vector(mask, "MASK", grid, notes)
        only_areas(vector, file.where, notes)
        layer = vector.GetLayer(0)
        marks = {name: [str(feature.GetField(name)).strip().lower().removesuffix(".0") for feature in layer]
                 for name in fields_of(layer) if not NO_FIELD.fullmatch(name)}
        marks = {name: values for name, values in marks.items() if tuple(sorted(set(values))) in NO_AND_YES}
        if len(marks) == 1:
            (name, values), = marks.items()
            no = min(values)
            for fid in [feature.GetFID() for feature, value in zip(layer, values, strict=True) if value == no]:
                layer.DeleteFeature(fid)
            notes.append(f"{file.where}: of {len(values):,} polygons {values.count(no):,} with {no} in the field "
                         f"{name} do not mask")
        else:
            notes.append(f"{file.where}: all its polygons mask"
                         + f", whatever the fields {', '.join(marks)} hold" * bool(marks))
        return burn(vector, grid, folder / "mask.tif").ReadAsArray() != 0
    to_grid(mask, "MASK", grid, folder / "mask.tif", notes, categorical=True)
    v, chosen = gdal.Open(str(folder / "mask.tif")).ReadAsArray(), file.numbers("value")
    numbers = [f"{n:g}" for n in np.unique(v[known(v)])]
    if not chosen and len(numbers) > 1 and (known(v) & (v != 0)).all():
        raise InputError(f"{file.where}: expected 0 or nodata where the mask is not, found {', '.join(numbers[:6])}"
                         f"{', ...' * (len(numbers) > 6)} in all cells; say which is the mask: "
                         f"{file.remedy('value=<number>')}")
    if chosen or len(numbers) > 2:
        notes.append(f"{file.where}: its cells of {', '.join(map(str, chosen)) or 'all numbers but 0'} are the mask")
    return known(v) & (np.isin(v, chosen) if chosen else v != 0)


def fill_holes(path: Path, grid: Grid, largest: int) -> int:
    """Fills holes of at most `largest` cells in a layer, from their rims; larger ones stay. Returns cells filled."""
    dataset = gdal.Open(str(path))
    mask = write_layer(path.with_suffix(".mask.tif"), grid, lambda *window: known(read_rows(dataset, *window)),
                       gdal.GDT_Byte, None)
    if largest < 1 or all(read_rows(mask, *window).all() for window in grid.windows()):
        return 0
    sieved = create_raster(path.with_suffix(".sieved.tif"), grid, gdal.GDT_Byte, None)
    gdal.SieveFilter(mask.GetRasterBand(1), None, sieved.GetRasterBand(1), largest + 1, 4)

    def hole(row: int, rows: int) -> np.ndarray:
        return read_rows(sieved, row, rows) > read_rows(mask, row, rows)

    small = sum(int(hole(*window).sum()) for window in grid.windows())
    if small:
        copy = gdal.GetDriverByName("GTiff").CreateCopy(str(path.with_suffix(".copy.tif")), dataset)
        before = gdal.GetConfigOption("CPL_TMPDIR")
        gdal.SetConfigOption("CPL_TMPDIR", str(path.parent))  # else GDAL's own files lie in the current folder
        gdal.FillNodata(copy.GetRasterBand(1), None, largest, 0)
        gdal.SetConfigOption("CPL_TMPDIR", before)
        change_layer(path, grid, lambda row, v: np.where(hole(row, len(v)), read_rows(copy, row, len(v)), v))
    return small


def transform(xy: np.ndarray, epsg: int | str, grid: Grid, name: str) -> np.ndarray:
    """Points (points, 2) of the CRS `epsg`, a code or WKT, in the CRS of the grid; `name` is the constant that gave the
    code."""
    return moved(xy, epsg if isinstance(epsg, str) else crs_of(epsg, name), grid.crs)


def _utm(dem: RasterFile) -> int:
    """The EPSG code of the UTM zone around a raster's centre."""
    a, b, c, d, e, f = dem.grid.geotransform
    col, row = dem.grid.cols / 2, dem.grid.rows / 2
    return utm_zone(a + col * b + row * c, d + col * e + row * f, dem.crs)
