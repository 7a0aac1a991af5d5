"""What a DEM tells: slope, aspect and curvature of its surface, and where its water goes."""

from pathlib import Path

import numpy as np
import pyflwdir
from osgeo import gdal

from lsm.inputs.rasters import NODATA
from lsm.region.warp import Grid, create, flush, known, read

gdal.UseExceptions()

FORMULAS = ("Horn", "ZevenbergenThorne")


def slope_and_aspect(dem: Path, grid: Grid, slope: Path, aspect: Path, formula: str) -> None:
    """Writes slope (degrees) and aspect (degrees clockwise from north, the way down; -1 = flat) of a DEM layer.

    formula  "Horn" (1981, Proceedings of the IEEE 69) or "ZevenbergenThorne" (1987, Earth Surface Processes and
             Landforms 12). At edges and beside nodata GDAL fills in from the cell itself.
    """
    options = {"computeEdges": True, "creationOptions": ["BIGTIFF=IF_SAFER"]}
    gdal.DEMProcessing(str(slope), str(dem), "slope", alg=formula, slopeFormat="degree", **options)
    gdal.DEMProcessing(str(aspect), str(dem), "aspect", alg=formula, **options)
    heights, ways = gdal.Open(str(dem)), gdal.Open(str(aspect), gdal.GA_Update)
    for row, rows in grid.windows():
        way, ground = read(ways, row, rows), known(read(heights, row, rows))
        way = np.where(ground & ~known(way), -1, way)  # flat ground is nodata to GDAL
        ways.GetRasterBand(1).WriteArray(way.astype(np.float32), 0, row)
    flush(ways)


def curvature(heights: np.ndarray, cell: float) -> np.ndarray:
    """Curvature (1/100 m, convex > 0) of heights (rows, cols) in m with nan for nodata; shape (rows - 2, cols - 2).

    -100 times the Laplacian: the total curvature -2(D + E) * 100 of Zevenbergen and Thorne (1987, Earth Surface
    Processes and Landforms 12). A neighbour without height counts as level with the cell.
    """
    z = heights[1:-1, 1:-1]
    total = np.zeros_like(z)
    for near in (heights[:-2, 1:-1], heights[2:, 1:-1], heights[1:-1, :-2], heights[1:-1, 2:]):
        total += np.where(np.isnan(near), 0, near - z)
    return -100 * total / cell**2


def write_curvature(dem: Path, grid: Grid, path: Path) -> None:
    """Writes the curvature of a DEM layer."""
    heights, target = gdal.Open(str(dem)), create(path, grid)
    for row, rows in grid.windows():
        first, last = max(row - 1, 0), min(row + rows + 1, grid.rows)
        z = read(heights, first, last - first)
        z = np.pad(np.where(known(z), z, np.nan),
                   ((first - row + 1, row + rows + 1 - last), (1, 1)), constant_values=np.nan)  # a halo of one cell
        values = curvature(z, grid.cell)
        target.GetRasterBand(1).WriteArray(np.where(np.isnan(values), NODATA, values).astype(np.float32), 0, row)
    flush(target)


def upstream_cells(heights: np.ndarray) -> np.ndarray:
    """Cells that drain through each cell, itself included (rows, cols) int32; -9999 where there is no height.

    heights (rows, cols) float32, nodata -9999. Depressions are filled and flow directions found in one flood from the
    edges (Wang and Liu 2006, International Journal of Geographical Information Science 20), by pyflwdir.
    """
    _, directions = pyflwdir.dem.fill_depressions(heights, nodata=NODATA)
    flow = pyflwdir.from_array(directions, ftype="d8", check_ftype=False)
    del directions
    flow.order_cells(method="sort")  # "walk" is faster and needs 32 bytes a cell
    return flow.upstream_area("cell")


def write_upstream_area(dem: Path, grid: Grid, path: Path, coarser: int) -> None:
    """Writes the area (m2) that drains through each cell of a DEM layer.

    coarser  1, or how many cells a side go into one of the coarser cells on which the flow is computed; every cell
             then has the area of the coarse one it lies in, less the coarse cell's own area, plus its own.
    """
    source = gdal.Open(str(dem))
    rows, cols = -(-grid.rows // coarser), -(-grid.cols // coarser)
    west, side, _, north, _, _ = grid.geotransform
    if coarser > 1:
        bounds = (west, north - rows * coarser * side, west + cols * coarser * side, north)
        source = gdal.Warp("", source, format="MEM", outputBounds=bounds, width=cols, height=rows,
                           resampleAlg="average", srcNodata=NODATA, dstNodata=NODATA)
    cells = upstream_cells(source.ReadAsArray())
    size, target, heights = (coarser * side) ** 2, create(path, grid), gdal.Open(str(dem))
    across = np.arange(grid.cols) // coarser
    for row, count in grid.windows():
        here = cells[np.arange(row, row + count) // coarser][:, across]
        area = np.where(here > 0, (here - 1) * size + side**2, side**2)
        area = np.where(known(read(heights, row, count)), area, NODATA)
        target.GetRasterBand(1).WriteArray(area.astype(np.float32), 0, row)
    flush(target)


def stream_power(area: np.ndarray, slope: np.ndarray, cell: float) -> np.ndarray:
    """SPI = ln(1 + n tan(slope)), n = area / cell2, the cells that drain through; area in m2, slope in degrees.

    The stream power index (Moore, Grayson and Ladson 1991, Hydrological Processes 5), counted in cells, as a logarithm.
    """
    return np.log1p(area / cell**2 * np.tan(np.radians(slope)))


def wetness(area: np.ndarray, slope: np.ndarray, cell: float) -> np.ndarray:
    """TWI = ln(a / tan(slope)), a = area / cell, the area drained per metre of contour; tan(slope) at least 0.01.

    The topographic wetness index (Beven and Kirkby 1979, Hydrological Sciences Bulletin 24); area in m2, slope in
    degrees.
    """
    return np.log(area / cell / np.maximum(np.tan(np.radians(slope)), 0.01))
