"""Layers made from a DEM alone: slope, aspect and curvature of the surface, and the area that drains through a cell.
"""

from pathlib import Path

import numpy as np
import pyflwdir
from osgeo import gdal

from lsm.inputs.layers import change_layer, read_rows, write_layer
from lsm.inputs.rasters import NODATA, Grid, known

gdal.UseExceptions()

FORMULAS = ("Horn", "ZevenbergenThorne")


def slope_and_aspect(dem: Path, grid: Grid, slope: Path, aspect: Path, formula: str) -> None:
    """Writes slope (degrees) and aspect (degrees clockwise from north, the way down; -1 = flat) of a DEM layer.

    formula  "Horn" (1981, Proceedings of the IEEE 69) or "ZevenbergenThorne" (1987, Earth Surface Processes and
             Landforms 12). At edges and beside nodata GDAL makes up the missing neighbours from the cell itself.
    """
    options = {"computeEdges": True, "creationOptions": ["BIGTIFF=IF_SAFER"]}
    gdal.DEMProcessing(str(slope), str(dem), "slope", alg=formula, slopeFormat="degree", **options)
    gdal.DEMProcessing(str(aspect), str(dem), "aspect", alg=formula, **options)
    heights = gdal.Open(str(dem))

    def with_flat_ground(row: int, way: np.ndarray) -> np.ndarray:  # GDAL gives it nodata
        return np.where(known(read_rows(heights, row, len(way))) & ~known(way), -1, way)

    change_layer(aspect, grid, with_flat_ground)


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
    heights = gdal.Open(str(dem))

    def window(row: int, rows: int) -> np.ndarray:
        first, last = max(row - 1, 0), min(row + rows + 1, grid.rows)  # one row more on both sides
        z = read_rows(heights, first, last - first)
        z = np.pad(np.where(known(z), z, np.nan), ((first - row + 1, row + rows + 1 - last), (1, 1)),
                   constant_values=np.nan)
        return curvature(z, grid.cell)

    write_layer(path, grid, window)


def flow_of(heights: np.ndarray, outlets: np.ndarray | None = None) -> pyflwdir.FlwdirRaster:
    """Which neighbour each cell drains to, by pyflwdir; its `upstream_area("cell")` counts the cells that drain through
    each cell, itself included (rows, cols) int32, -9999 where there is no height.

    heights  (rows, cols), nodata -9999
    outlets  (outlets,) numbers of cells (row * cols + col) where water leaves; None: the cells at the edges that no
             lower edge cell drains
    Depressions are filled and flow directions found in one flood from the outlets (Wang and Liu 2006, International
    Journal of Geographical Information Science 20).
    """
    _, directions = pyflwdir.dem.fill_depressions(heights, nodata=NODATA, idxs_pit=outlets)
    if outlets is not None:
        directions.flat[outlets] = 0  # of two outlets side by side pyflwdir drains one into the other
    flow = pyflwdir.from_array(directions, ftype="d8", check_ftype=False)
    del directions
    flow.order_cells(method="sort")  # "walk" is faster and needs 32 bytes a cell
    return flow


def write_upstream_area(dem: Path, grid: Grid, path: Path, coarser: int) -> None:
    """Writes the area (m2) that drains through each cell of a DEM layer.

    coarser  1, or the side, in cells, of the coarser cells on which the flow is computed. The area of a cell is then
             the area of the coarse cell it lies in, less the coarse cell's own area, plus the cell's own.
    """
    source = gdal.Open(str(dem))
    rows, cols = -(-grid.rows // coarser), -(-grid.cols // coarser)
    west, side, _, north, _, _ = grid.geotransform
    if coarser > 1:
        bounds = (west, north - rows * coarser * side, west + cols * coarser * side, north)
        source = gdal.Warp("", source, format="MEM", outputBounds=bounds, width=cols, height=rows,
                           resampleAlg="average", srcNodata=NODATA, dstNodata=NODATA)
    cells = flow_of(source.ReadAsArray()).upstream_area("cell")
    size, heights, across = (coarser * side) ** 2, gdal.Open(str(dem)), np.arange(grid.cols) // coarser

    def window(row: int, count: int) -> np.ndarray:
        here = cells[np.arange(row, row + count) // coarser][:, across]
        area = np.where(here > 0, (here - 1) * size + side**2, side**2)
        return np.where(known(read_rows(heights, row, count)), area, np.nan)

    write_layer(path, grid, window)


def stream_power(area: np.ndarray, slope: np.ndarray, cell: float) -> np.ndarray:
    """SPI = ln(1 + n tan(slope)), where n = area / cell2 is the number of cells that drain through; area in m2, slope
    in degrees.

    The stream power index (Moore, Grayson and Ladson 1991, Hydrological Processes 5), counted in cells, as a logarithm.
    """
    return np.log1p(area / cell**2 * np.tan(np.radians(slope)))


def wetness(area: np.ndarray, slope: np.ndarray, cell: float) -> np.ndarray:
    """TWI = ln(a / tan(slope)), where a = area / cell is the area drained per metre of contour; tan(slope) counts as
    0.01 at least.

    The topographic wetness index (Beven and Kirkby 1979, Hydrological Sciences Bulletin 24); area in m2, slope in
    degrees.
    """
    return np.log(area / cell / np.maximum(np.tan(np.radians(slope)), 0.01))
