"""One grid for everything: rasters and points of any CRS and cell size are brought onto it by GDAL."""

import math
from pathlib import Path

import numpy as np
from osgeo import gdal, osr

from lsm.inputs.layers import change_layer, read_rows, write_layer
from lsm.inputs.rasters import NODATA, Grid, create, crs_of, known, open_raster, other_unit, reason
from lsm.inputs.vectors import check_file
from lsm.run.paths import shown
from lsm.run.settings import InputError

gdal.UseExceptions()

WARP_MEMORY = 128  # MB
MAX_CELLS = 2_000_000_000
HEIGHTS = (-500, 9000)  # m: the Dead Sea's shore and the Himalayas lie between them


def open_source(path: Path, what: str) -> gdal.Dataset:
    """A raster of one band that says where it lies. `what` it is, for the message. Raises InputError."""
    check_file(path, what)
    dataset = open_raster(path, "export it again as GeoTIFF", what)
    if dataset.RasterCount != 1:
        raise InputError(f"{shown(path)}: {what}: expected one band, found {dataset.RasterCount}; pick one "
                         "(gdal_translate -b <band>)")
    if gdal.DataTypeIsComplex(dataset.GetRasterBand(1).DataType):
        raise InputError(f"{shown(path)}: {what}: expected real numbers, found complex ones; export their real part")
    if dataset.GetSpatialRef() is None:
        raise InputError(f"{shown(path)}: {what}: CRS: expected one, found none; set it (gdal_edit.py -a_srs "
                         "EPSG:<code>)")
    if dataset.GetGeoTransform(can_return_null=True) is None:
        raise InputError(f"{shown(path)}: {what}: expected a geotransform, found none; georeference it "
                         "(gdal_edit.py -a_ullr <west> <north> <east> <south>)")
    return dataset


def grid_of(path: Path, epsg: int, cell: float) -> tuple[Grid, bool]:
    """The grid that a DEM defines: square cells of a projected CRS in metres, north up. Also whether it is the DEM's
    own grid, so that no cell has to be resampled.

    epsg  of the grid, 0: that of the DEM; cell  its side in m, 0: about that of the DEM. Raises InputError.
    """
    dataset = open_source(path, "DEM")
    own, place = dataset.GetSpatialRef(), dataset.GetGeoTransform()
    crs = crs_of(epsg) if epsg else own
    if other_unit(crs):
        where, what = (f"EPSG={epsg}", "CRS") if epsg else (f"{shown(path)}: DEM: CRS", "one")
        raise InputError(f"{where}: expected a projected {what} in metres, found {other_unit(crs)}; name one "
                         f"to warp to, like EPSG={_utm(dataset)}")
    if not 0 <= cell < math.inf:
        raise InputError(f"CELL={cell:g}: expected metres, or 0 for the cells of the DEM")
    check_heights(dataset, path)
    aligned = (own.IsSame(crs) and place[1] > 0 > place[5] and not place[2] and not place[4]
               and abs(place[1] + place[5]) <= 1e-6 * place[1] and cell in (0, place[1]))
    if aligned:
        return _sized(Grid(dataset.RasterYSize, dataset.RasterXSize, place, crs.ExportToWkt()), path), True
    options = {"format": "VRT", "dstSRS": crs.ExportToWkt()}
    try:
        warped = gdal.Warp("", dataset, **options)
        _, width, _, _, _, height = warped.GetGeoTransform()
        side = cell or math.sqrt(abs(width * height))
        warped = gdal.Warp("", dataset, **options, xRes=side, yRes=side)
    except RuntimeError as error:
        raise InputError(f"{shown(path)}: DEM: expected a raster that warps to {crs.GetName()}, found: "
                         f"{reason(error, path)}; check EPSG, CELL and the CRS of the DEM") from None
    grid = Grid(warped.RasterYSize, warped.RasterXSize, warped.GetGeoTransform(), crs.ExportToWkt())
    return _sized(grid, path), False


def check_heights(dataset: gdal.Dataset, path: Path) -> None:
    """Refuses heights (m) that no ground has: undeclared nodata, or another unit. Raises InputError."""
    try:
        low, high = dataset.GetRasterBand(1).ComputeRasterMinMax(False)
    except RuntimeError as error:
        raise InputError(f"{shown(path)}: DEM: expected heights in m, found: {reason(error, path)}; check its nodata "
                         "value, or copy or export it again") from None
    wild = low if low < HEIGHTS[0] else high
    if not HEIGHTS[0] <= wild <= HEIGHTS[1]:
        raise InputError(f"{shown(path)}: DEM: expected heights from {HEIGHTS[0]} to {HEIGHTS[1]} m, found {wild:.9g}; "
                         f"if it marks gaps, declare it (gdal_edit.py -a_nodata {wild:.9g}), if it is of another unit, "
                         "convert")


def to_grid(source: Path, what: str, grid: Grid, path: Path, categorical: bool = False) -> None:
    """Writes a raster as a layer on the grid: by the nearest cell for categories, bilinear for the rest; gaps become
    nodata. `what` it is, for the message. Raises InputError where the raster cannot be warped or lies elsewhere.
    """
    dataset = open_source(source, what)
    band = dataset.GetRasterBand(1)
    nodata, floats = band.GetNoDataValue(), band.DataType in (gdal.GDT_Float32, gdal.GDT_Float64)
    same = (dataset.GetGeoTransform() == grid.geotransform and (dataset.RasterYSize, dataset.RasterXSize) ==
            (grid.rows, grid.cols) and dataset.GetSpatialRef().IsSame(osr.SpatialReference(wkt=grid.crs)))
    if not same:
        try:
            dataset = gdal.Warp(
                str(path.with_suffix(".warped.tif")), dataset, format="GTiff", dstSRS=grid.crs,
                outputBounds=grid.bounds, width=grid.cols, height=grid.rows,
                resampleAlg="near" if categorical else "bilinear", outputType=gdal.GDT_Float32, dstNodata=NODATA,
                srcNodata="nan" if nodata is None and floats else None, warpMemoryLimit=WARP_MEMORY,
                creationOptions=["BIGTIFF=IF_SAFER"])
        except RuntimeError as error:
            raise InputError(f"{shown(source)}: {what}: expected a raster that warps to the grid of the DEM, found: "
                             f"{reason(error, source)}; check its CRS and extent, or export it again") from None
        nodata = NODATA
    found = False

    def window(row: int, rows: int) -> np.ndarray:
        nonlocal found
        try:
            values = read_rows(dataset, row, rows)
        except RuntimeError as error:
            raise InputError(f"{shown(source)}: {what}: expected a whole raster, found: {reason(error, source)}; copy "
                             "or export it again") from None
        good = known(values, nodata)
        found |= bool(good.any())
        return np.where(good, values, np.nan)

    write_layer(path, grid, window)
    if not found:
        raise InputError(f"{shown(source)}: {what}: expected values on the grid ({grid.extent}), found none; check its "
                         "CRS, extent and nodata value")


def fill_holes(path: Path, grid: Grid, largest: int) -> int:
    """Fills holes of at most `largest` cells in a layer, from their rims; larger ones stay. Returns cells filled."""
    dataset = gdal.Open(str(path))
    mask = write_layer(path.with_suffix(".mask.tif"), grid, lambda *window: known(read_rows(dataset, *window)),
                       gdal.GDT_Byte, None)
    if largest < 1 or all(read_rows(mask, *window).all() for window in grid.windows()):
        return 0
    sieved = create(path.with_suffix(".sieved.tif"), grid, gdal.GDT_Byte, None)
    gdal.SieveFilter(mask.GetRasterBand(1), None, sieved.GetRasterBand(1), largest + 1, 4)

    def hole(row: int, rows: int) -> np.ndarray:
        return read_rows(sieved, row, rows) > read_rows(mask, row, rows)

    small = sum(int(hole(*window).sum()) for window in grid.windows())
    if small:
        copy = gdal.GetDriverByName("GTiff").CreateCopy(str(path.with_suffix(".copy.tif")), dataset)
        gdal.FillNodata(copy.GetRasterBand(1), None, largest, 0)
        change_layer(path, grid, lambda row, v: np.where(hole(row, len(v)), read_rows(copy, row, len(v)), v))
    return small


def transform(xy: np.ndarray, epsg: int, grid: Grid, name: str) -> np.ndarray:
    """Points (points, 2) of the CRS `epsg` in the CRS of the grid; `name` is the constant that gave epsg."""
    source, target = crs_of(epsg, name), osr.SpatialReference(wkt=grid.crs)
    target.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    if source.IsSame(target):
        return xy
    done = osr.CoordinateTransformation(source, target).TransformPoints(xy.tolist())
    return np.array(done, np.float64).reshape(-1, 3)[:, :2]


def _utm(dataset: gdal.Dataset) -> int:
    """The EPSG code of the UTM zone around a raster's centre."""
    a, b, c, d, e, f = dataset.GetGeoTransform()
    col, row = dataset.RasterXSize / 2, dataset.RasterYSize / 2
    source, target = dataset.GetSpatialRef().Clone(), crs_of(4326)
    source.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    x, y = a + col * b + row * c, d + col * e + row * f
    lon, lat, _ = osr.CoordinateTransformation(source, target).TransformPoint(x, y)
    return (32600 if lat >= 0 else 32700) + int((lon + 180) // 6) % 60 + 1


def _sized(grid: Grid, path: Path) -> Grid:
    """Returns the grid. Raises InputError where it has too few cells for a slope, or too many to work with."""
    if min(grid.rows, grid.cols) < 3 or grid.rows * grid.cols > MAX_CELLS:
        raise InputError(f"{shown(path)}: DEM: expected a grid of 3 x 3 to {MAX_CELLS:,} cells, found {grid.rows} x "
                         f"{grid.cols} of {grid.cell:g} m; take another CELL, or another DEM")
    return grid
