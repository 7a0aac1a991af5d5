"""Blocks blended at their borders: a neighbouring block's model counts the less the farther off the block lies.

    p = sum_b w_b p_b / sum_b w_b,    w_b = max(0, 1 - d_b / reach)

p_b is the probability that block b's model gives for the cell's own factors. d_b is the distance (m) from the cell's
centre to the nearest cell centre of block b, 0 in the cell's own block. A weight grows from 0 where its block comes
into reach, so there is no new edge. A cell farther than `reach` from every other block keeps its number.
"""

from collections.abc import Callable
from math import sqrt

import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects
from scipy.sparse import csc_array, csr_array

from lsm.run.settings import InputError


def check_reach(reach: float, labels: np.ndarray, geotransform: tuple[float, ...]) -> None:
    """Refuses a reach (m) that cannot be of use. Raises InputError.

    0 is no blending. A reach of a cell's side or less meets no other cell. With a reach of more than a block's side,
    even the cells in the middle of a block would be averaged over many blocks, and memory would grow with the square
    of the reach.
    """
    sides = geotransform[1], -geotransform[5]
    block = sqrt((labels >= 0).sum() / max(labels.max() + 1, 1) * sides[0] * sides[1])
    if reach != 0 and not min(sides) < reach <= block:
        raise InputError(f"BLEND={reach:g}: expected 0 (no blending) or metres, more than a cell's side "
                         f"({min(sides):.4g}), no more than that of a mean block ({block:.0f}); change it")


def neighbour_weights(labels: np.ndarray, geotransform: tuple[float, ...], reach: float) -> csr_array:
    """w_b of every cell and every other block within `reach` (m) of it, (cells, blocks) float32. The cell's own block,
    whose weight is 1, is not stored.

    labels  (rows, cols) the block of every cell, -1 outside every block: such cells have no weights; cells are counted
            along rows
    Distances are computed one block at a time, in its bounding box widened by `reach`. Memory: 8 bytes for each pair
    of a cell and another block within reach, three times as much while they are computed, and 4 bytes for each cell of
    the raster. The number of pairs grows with the length of borders times `reach`, while `reach` is small against a
    block.
    """
    sides = -geotransform[5], geotransform[1]
    index = np.int32 if labels.size < 2**31 else np.int64  # as the sparse array wants it: it copies nothing then
    cells, weights = [np.empty(0, index)], [np.empty(0, np.float32)]
    boxes = find_objects(labels + 1)
    for b, box in enumerate(boxes):
        cell, weight = _around(labels, b, box, sides, reach) if box else ([], [])
        cells.append(np.asarray(cell, index))
        weights.append(np.asarray(weight, np.float32))
    ends = np.cumsum([len(w) for w in weights])
    ends = ends.astype(index) if ends[-1] < 2**31 else ends
    return csc_array((np.concatenate(weights), np.concatenate(cells), ends), shape=(labels.size, len(boxes))).tocsr()


def _around(labels, b: int, box: tuple[slice, slice], sides: tuple[float, float], reach: float):
    """Place (cells,) and weight (cells,) of the cells of other blocks within `reach` of block b, which fills `box`."""
    top, left = (max(s.start - int(reach / side), 0) for s, side in zip(box, sides, strict=True))
    bottom, right = (s.stop + int(reach / side) for s, side in zip(box, sides, strict=True))
    here = labels[top:bottom, left:right]
    distance = distance_transform_edt(here != b, sampling=sides)
    row, col = np.nonzero((distance < reach) & (here != b) & (here >= 0))
    return (row + top) * labels.shape[1] + col + left, 1 - distance[row, col] / reach


def blended(p: np.ndarray, cell: np.ndarray, weights: csr_array, by: Callable) -> np.ndarray:
    """The rows' probabilities p (rows,) by their own blocks' models, blended with models of blocks within reach.

    cell     (rows,) the row of `weights` of each row's cell; -1 outside every block, where p stays
    weights  as `neighbour_weights` gives them
    by       by(block, rows) gives the probabilities of some rows, each by the model of a block (rows,)
    One neighbour of every row at a time, the lowest block first: memory stays proportional to the rows, and a row's sum
    is formed in an order that does not depend on the other rows.
    """
    first = weights.indptr[cell]
    count = np.where(cell >= 0, weights.indptr[cell + 1] - first, 0)
    total, whole = p.astype(np.float64), np.ones(len(p))
    for k in range(count.max(initial=0)):
        rows = np.flatnonzero(count > k)
        w = weights.data[first[rows] + k]
        total[rows] += w * by(weights.indices[first[rows] + k], rows)
        whole[rows] += w
    return (total / whole).astype(p.dtype)
