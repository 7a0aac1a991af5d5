"""Layers of the water on a DEM: where it flows, how much ground drains through a cell, what follows; flat water."""

from pathlib import Path

import numpy as np
import pyflwdir
from osgeo import gdal

from lsm.inputs.bands import NODATA, known
from lsm.inputs.layers import read_rows, write_layer
from lsm.inputs.rasters import Grid
from lsm.run.code import compiled


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


def write_upstream_area(dem: Path, grid: Grid, path: Path, coarser: int, hand: tuple[Path, int] | None = None) -> None:
    """Writes the area (m2) that drains through each cell of a DEM layer.

    coarser  1, or the side, in cells, of the coarser cells on which the flow is computed. The area of a cell is then
             the area of the coarse cell it lies in, less the coarse cell's own area, plus the cell's own.
    hand     None, or (path, cells): the layer to write with each cell's height (m) above the stream cell that it drains
             to, and how many cells drain through a stream cell. A cell that drains to no stream is measured from where
             its water leaves the area (Nobre and others 2011, Journal of Hydrology 404).
    """
    source = gdal.Open(str(dem))
    rows, cols = -(-grid.rows // coarser), -(-grid.cols // coarser)
    west, side, _, north, _, _ = grid.geotransform
    if coarser > 1:
        bounds = (west, north - rows * coarser * side, west + cols * coarser * side, north)
        source = gdal.Warp("", source, format="MEM", outputBounds=bounds, width=cols, height=rows,
                           resampleAlg="average", srcNodata=NODATA, dstNodata=NODATA)
    elevation = source.ReadAsArray()
    flow = flow_of(elevation)
    cells = flow.upstream_area("cell")
    stream = elevation - flow.hand((cells - 1) * coarser**2 + 1 >= hand[1], elevation) if hand else None
    del flow, elevation
    size, heights, across = (coarser * side) ** 2, gdal.Open(str(dem)), np.arange(grid.cols) // coarser

    def window(row: int, count: int) -> np.ndarray:
        here = cells[np.arange(row, row + count) // coarser][:, across]
        area = np.where(here > 0, (here - 1) * size + side**2, side**2)
        return np.where(known(read_rows(heights, row, count)), area, np.nan)

    write_layer(path, grid, window)
    if hand:
        def above(row: int, count: int) -> np.ndarray:
            z = read_rows(heights, row, count)
            here = stream[np.arange(row, row + count) // coarser][:, across]
            return np.where(known(z) & known(here), np.maximum(z - here, 0), np.nan)

        write_layer(hand[0], grid, above)


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


def flat_water(heights: np.ndarray, least: int, stepped: bool, terraced: bool = False
               ) -> tuple[np.ndarray, np.ndarray]:
    """Which cells are flat, that is, lie in a connected area of exactly one height with at least `least` cells, and
    which of these are water; both (rows, cols) bool. Water does not stand above its rim: an area with more than a third
    of its rim below it is a hilltop, or a band between two contours of rounded heights; less is an outlet, or a dam.

    heights  (rows, cols), nodata -9999
    stepped  whether they are of a file of rounded heights, where level land is common: then ten times as many cells,
             except at height 0
    terraced  whether the ground is such bands: at the edge and beside nodata they go on down, except at height 0
    """
    there = known(heights)
    area, raised = _areas(heights, there, terraced)
    flat = there & (area >= least) & ((area >= 10 * least) | (heights == 0) | (not stepped))
    return flat, flat & ~raised


@compiled
def _areas(heights: np.ndarray, there: np.ndarray, terraced: bool) -> tuple[np.ndarray, np.ndarray]:
    """Of the area of equal height that each cell lies in: the number of its cells, and whether more than a third of its
    rim is lower; cells touch along an edge. Areas are joined in one pass (union-find), each known by its first cell.
    terraced: what is not there counts as lower, but beside 0.
    """
    rows, cols = heights.shape
    parent = np.arange(rows * cols, dtype=np.int32)  # MAX_CELLS fits
    for cell in range(rows * cols):
        row, col = cell // cols, cell % cols
        for near_row, near_col in ((row - 1, col), (row, col - 1)):
            if near_row < 0 or near_col < 0 or not there[row, col] or not there[near_row, near_col]:
                continue
            if heights[row, col] != heights[near_row, near_col]:
                continue
            a, b = cell, near_row * cols + near_col
            while parent[a] != a:
                parent[a] = parent[parent[a]]
                a = parent[a]
            while parent[b] != b:
                parent[b] = parent[parent[b]]
                b = parent[b]
            parent[max(a, b)] = min(a, b)
    size, balance = np.zeros(rows * cols, np.int32), np.zeros(rows * cols, np.int32)
    for cell in range(rows * cols):  # a parent comes before its cells
        parent[cell] = parent[parent[cell]]
        size[parent[cell]] += 1
        row, col = cell // cols, cell % cols
        for near_row, near_col in ((row - 1, col), (row, col - 1), (row + 1, col), (row, col + 1)):
            if 0 <= near_row < rows and 0 <= near_col < cols and there[row, col] and there[near_row, near_col]:
                rise = heights[near_row, near_col] - heights[row, col]
                balance[parent[cell]] += 2 * (rise < 0) - (rise > 0)  # above 0: more than a third is lower
            elif terraced and heights[row, col] != 0:
                balance[parent[cell]] += 2
    for cell in range(rows * cols):  # in place: of 100 million cells another array is 0.4 GB
        size[cell], balance[cell] = size[parent[cell]], balance[parent[cell]]
    return size.reshape(rows, cols), balance.reshape(rows, cols) > 0


def flow_layers(folder: Path, grid: Grid, coarser: int, channel: int, hand: bool = False) -> None:
    """Writes the layers SPI, TWI, streams (uint8) and, for `hand`, HAND from the layers DEM and slope.

    coarser  as `write_upstream_area` takes it
    channel  cells that must drain through a cell before it is a stream
    """
    write_upstream_area(folder / "DEM.tif", grid, folder / "area.tif", coarser,
                        (folder / "HAND.tif", channel) if hand else None)
    areas, slopes = gdal.Open(str(folder / "area.tif")), gdal.Open(str(folder / "slope.tif"))
    for name, index in (("SPI", stream_power), ("TWI", wetness)):
        def window(row: int, rows: int, index=index) -> np.ndarray:
            area, slope = read_rows(areas, row, rows), read_rows(slopes, row, rows)
            ground = known(area) & known(slope)
            return np.where(ground, index(np.where(ground, area, 1), np.where(ground, slope, 0), grid.cell), np.nan)

        write_layer(folder / f"{name}.tif", grid, window)
    write_layer(folder / "streams.tif", grid,
                lambda *window: read_rows(areas, *window) >= channel * grid.cell**2, gdal.GDT_Byte, None)
