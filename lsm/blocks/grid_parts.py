"""The grid of a region in parts, each cell with its block; no raster is in memory as a whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from osgeo import gdal

from lsm.blocks.borders import Borders, around_cells, around_in, blocks_around
from lsm.blocks.slic import fill_with_nearest
from lsm.inputs import grid_cells
from lsm.inputs.bands import NODATA
from lsm.inputs.factor.definition import Factor
from lsm.inputs.layers import put, take
from lsm.inputs.rasters import Grid, locate


@dataclass(frozen=True)
class Part:
    """Some cells of a grid that have a value of every factor.

    factors   (cells, factors) float32
    xy        (cells, 2) float64, m
    row, col  (cells,) in the block raster
    block     (cells,) the cell's block; outside every block, the nearest one
    outside   (cells,) bool: which lie outside every block
    on_map    (cells,) bool: which lie on the block raster; all cells of a stack do
    window    first row and column, rows and columns of the window they come from; None of a table, whose cells may lie
              anywhere
    borders   other blocks whose models count in cells beside a border; none, where the map is not blended
    """

    factors: np.ndarray
    xy: np.ndarray
    row: np.ndarray
    col: np.ndarray
    block: np.ndarray
    outside: np.ndarray
    on_map: np.ndarray
    window: tuple[int, int, int, int] | None
    borders: Borders

    def on_window(self, values: np.ndarray) -> tuple[int, int, np.ndarray]:
        """First row and column of the window, and values (cells,) in their places on it, (rows, cols), else NODATA."""
        top, left, rows, cols = self.window
        out = np.full((rows, cols), NODATA, np.float32)
        out[self.row - top, self.col - left] = values
        return top, left, out

    def write(self, dataset: gdal.Dataset, values: np.ndarray) -> None:
        """Writes values (cells,) into a raster on the grid of the blocks."""
        if self.window:
            top, left, out = self.on_window(values)
            dataset.GetRasterBand(1).WriteArray(out, left, top)
        else:
            put(dataset, self.row[self.on_map], self.col[self.on_map], values[self.on_map])


def parts_of(source: Path, factors: tuple[Factor, ...], rows: int, block_raster: gdal.Dataset, centres: np.ndarray,
             blend: bool = False) -> Iterator[Part]:
    """The grid `source`, a table or a stack, about `rows` cells at a time.

    centres  rows and columns of the blocks (blocks, 2)
    blend    whether the parts have borders
    Raises InputError as `grid_cells.chunks` does.
    """
    if source.suffix != ".tif":
        for values, xy in grid_cells.chunks(source, factors, rows):
            row, col, block, outside, on_map = cells_of(xy, block_raster, centres)
            own = np.where(outside, -1, block)
            borders = Borders.of(own, around_cells(block_raster, row, col)) if blend else Borders.none()
            yield Part(values, xy, row, col, block, outside, on_map, None, borders)
        return
    stack = grid_cells.Stack.of(source, factors)
    for window in Grid.of(block_raster).tiles(rows):
        yield part_of(stack, window, block_raster, centres, blend)


def cells_of(xy: np.ndarray, block_raster: gdal.Dataset, centres: np.ndarray
             ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Row, column, block, outside and on_map, as of a `Part`, of the cells at places xy (cells, 2), m, in any order.

    Only windows of the block raster that hold any of them are read. Other arguments as of `parts_of`.
    """
    row, col, on_map = locate(block_raster.GetGeoTransform(), (block_raster.RasterYSize, block_raster.RasterXSize), xy)
    block = np.full(len(xy), -1, np.int64)
    block[on_map] = take(block_raster, row[on_map], col[on_map])
    outside = fill_with_nearest(block, row, col, centres)
    return row, col, block, outside, on_map


def part_of(stack: grid_cells.Stack, window: tuple[int, int, int, int], block_raster: gdal.Dataset, centres: np.ndarray,
            blend: bool = False) -> Part:
    """One window of a stack, as `Grid.tiles` gives them; other arguments as of `parts_of`."""
    values, row, col = stack.read(*window)
    around, inner = blocks_around(block_raster, window), (row - window[0], col - window[1])
    block = around[1:-1, 1:-1][inner].astype(np.int64)
    borders = Borders.of(block, around_in(around, *inner)) if blend else Borders.none()
    for dataset in (stack.bands[0].dataset, block_raster):
        _forget(dataset, window)
    outside = fill_with_nearest(block, row, col, centres)
    return Part(values, stack.places(row, col), row, col, block, outside, np.ones(len(row), bool), window, borders)


def _forget(dataset: gdal.Dataset, window: tuple[int, int, int, int]) -> None:
    """Empties GDAL's cache of a raster after a window if no later window of `Grid.tiles` needs what was read: where
    whole tiles were read, or where a row of windows and its tiles or strips end.

    Left in the cache, tiles lie between the arrays of the parts. Where one is dropped for another it leaves a gap that
    no tile fits, and the gaps grow from part to part.
    """
    top, left, rows, cols = window
    width, height = dataset.GetRasterBand(1).GetBlockSize()
    row_ends, tile_ends = left + cols == dataset.RasterXSize, (left + cols) % width == 0
    if ((top + rows) % height == 0 or top + rows == dataset.RasterYSize) and (
            row_ends or (tile_ends and top % height == 0)):
        dataset.FlushCache()
