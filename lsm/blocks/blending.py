"""Blocks blended at their borders: a neighbouring block's model counts the less the farther off the block lies.

    p = sum_b w_b p_b / sum_b w_b,    w_b = max(0, 1 - d_b / reach)

p_b is what block b's model says of the cell's own factors, d_b the distance (m) from the cell's centre to the nearest
cell centre of block b, 0 in the cell's own block. A partition of unity: a weight is 0 where its block comes into reach,
so there is no new edge, and a cell farther than `reach` from every other block keeps its number.
"""

from collections.abc import Callable
from math import sqrt

import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects
from scipy.sparse import csc_array, csr_array

from lsm.run.settings import InputError


def check_reach(reach: float, labels: np.ndarray, geotransform: tuple[float, ...]) -> None:
    """Refuses a reach (m) that can be of no use. Raises InputError.

    0 is no blending. Within a cell's side lies no other cell. Beyond a block's side even the cells in its middle would
    be averaged over many blocks, and memory would grow with the square of the reach.
    """
    sides = geotransform[1], -geotransform[5]
    block = sqrt((labels >= 0).sum() / max(labels.max() + 1, 1) * sides[0] * sides[1])
    if reach != 0 and not min(sides) < reach <= block:
        raise InputError(f"BLEND={reach:g}: expected 0 (no blending) or metres, more than a cell's side "
                         f"({min(sides):.4g}), no more than that of a mean block ({block:.0f}); change it")


def neighbour_weights(labels: np.ndarray, geotransform: tuple[float, ...], reach: float) -> csr_array:
    """w_b of every cell and every other block within `reach` (m) of it, (cells, blocks) float32; its own has 1.

    labels  (rows, cols) the block of every cell, -1 outside every block: such cells have no weights; cells are counted
            along rows
    Distances are taken block by block, in the box around it grown by `reach`. Memory: 8 bytes a pair of a cell and
    another block within its reach, three times that while they are made, and 4 bytes a cell of the raster. Pairs grow
    with the length of borders times `reach`, as long as that is small against a block.
    """
    sides = -geotransform[5], geotransform[1]
    index = np.int32 if labels.size < 2**31 else np.int64  # that of the sparse array, which then copies nothing
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
    """Rows' probabilities p (rows,), each by its own block's model, blended with those of the blocks within reach.

    cell     (rows,) place of each row's cell in `weights`, -1 where it lies outside every block: p stays
    weights  as `neighbour_weights` gives them
    by       by(block, rows) gives the probabilities of some rows, each by the model of a block (rows,)
    One neighbour of every row at a time, the lowest block first: memory stays that of the rows, and the order of a
    row's sum hangs on no other row.
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
