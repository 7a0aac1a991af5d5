"""Cells at the borders of blocks: which other blocks adjoin them, and how much the models of these count there.

Two neighbouring blocks have a model each, so a map in which every cell takes its own block's model steps at the border.
Where the eight cells around a cell lie in several blocks, the map takes the mean of their models instead, each counted
by how many of the nine cells lie in its block.
"""

from dataclasses import dataclass

import numpy as np
from osgeo import gdal

from lsm.inputs.layers import row_windows
from lsm.inputs.rasters import inside

AROUND = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]  # rows and columns from a cell to its neighbours


@dataclass(frozen=True)
class Borders:
    """Pairs of a cell and another block that adjoins it.

    cell   (pairs,) rows of a table of cells, ascending
    block  (pairs,) ascending for each cell
    share  (pairs,) float64: how many of the cell and its eight neighbours lie in this block, over how many of these
           lie in any block
    """

    cell: np.ndarray
    block: np.ndarray
    share: np.ndarray

    @classmethod
    def none(cls) -> "Borders":
        """No pairs: each cell takes its own block's model."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))

    @classmethod
    def of(cls, own: np.ndarray, around: np.ndarray) -> "Borders":
        """The pairs of cells in blocks `own` (cells,) with the blocks of their neighbours, around (8, cells); -1 is
        outside every block, where a cell has no pair."""
        beside = np.flatnonzero((own >= 0) & ((around >= 0) & (around != own)).any(axis=0))
        nine = np.column_stack([own[beside], *around[:, beside]]).astype(np.int64)
        known, blocks = nine >= 0, nine.max(initial=0) + 1
        pairs, cells = np.unique((np.arange(len(nine))[:, None] * blocks + nine)[known], return_counts=True)
        row, block = np.divmod(pairs, blocks)
        other = block != own[beside][row]
        return cls(beside[row[other]], block[other], (cells / known.sum(axis=1)[row])[other])

    def blend(self, values: np.ndarray, of_pairs: np.ndarray) -> None:
        """Takes the mean in place: values (outputs, cells) by the cells' own blocks, of_pairs (outputs, pairs) by the
        others. Which other cells the table has does not change a digit."""
        for own, others in zip(values, of_pairs, strict=True):
            own += np.bincount(self.cell, self.share * (others - own[self.cell]), len(own))


def blocks_around(block_raster: gdal.Dataset, window: tuple[int, int, int, int]) -> np.ndarray:
    """The blocks (rows + 2, cols + 2) of a window of the block raster (first row and column, rows and columns) and of
    the cells around it, -1 beyond the raster."""
    top, left, rows, cols = window
    out = np.full((rows + 2, cols + 2), -1, np.int32)
    up, west = min(top, 1), min(left, 1)
    right, down = min(left + cols + 1, block_raster.RasterXSize), min(top + rows + 1, block_raster.RasterYSize)
    found = block_raster.GetRasterBand(1).ReadAsArray(left - west, top - up, right - left + west, down - top + up)
    out[1 - up:1 - up + found.shape[0], 1 - west:1 - west + found.shape[1]] = found
    return out


def around_in(blocks: np.ndarray, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """The blocks of the neighbours (8, cells) of cells at rows and columns (cells,) of a window; blocks: of
    `blocks_around`."""
    return np.stack([blocks[row + 1 + i, col + 1 + j] for i, j in AROUND])


def around_cells(block_raster: gdal.Dataset, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """The same of cells anywhere, -1 for those that are not on the raster; only windows that hold any are read."""
    out = np.full((len(AROUND), len(row)), -1, np.int32)
    on = np.flatnonzero(inside((block_raster.RasterYSize, block_raster.RasterXSize), row, col))
    for first, rows, here in row_windows(block_raster, row[on]):
        some = on[here]
        blocks = blocks_around(block_raster, (first, 0, rows, block_raster.RasterXSize))
        out[:, some] = around_in(blocks, row[some] - first, col[some])
    return out
