"""Blocks: superpixels of the terrain by SLIC with weighted terrain factors, and the block nearest to a cell.

Achanta et al. 2012, SLIC superpixels compared to state-of-the-art superpixel methods, IEEE TPAMI 34(11), 2274-2282,
with the colour distance replaced by a weighted distance of terrain factors:

    D^2 = (Dc / M)^2 + (Ds / S)^2,    Dc^2 = sum over DEM, aspect, curvature, slope of weight * difference^2

Ds is the distance in cells, S = floor(sqrt(N / K)) the step between seeds, N the number of all cells of the raster.
The difference of two aspects is the smaller angle between them; flat ground (aspect -1) has no aspect and adds no
aspect distance. A block may have several parts: no step of the method connects them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import ceil, floor, sqrt

import numpy as np
from numba import njit
from scipy.spatial import cKDTree

from lsm.inputs.rasters import TERRAIN, inside
from lsm.run.settings import InputError

SEED_REACH = 5  # cells a seed may move along rows and along columns to find the lowest gradient
NO_ASPECT = -1.0
ASPECT = TERRAIN.index("aspect")


def compiled(function: Callable) -> Callable:
    """The function compiled by numba; the compiled code is kept for the next run where its folder can be written."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # neither __pycache__ nor the user's own cache folder can be written
        return njit(nogil=True)(function)


@dataclass(frozen=True)
class Terrain:
    """The terrain as distances and means need it, float32.

    features       (4, rows, cols): DEM, curvature and slope times sqrt(weight) / M, and aspect in degrees; 0 where not
                   valid, aspect -1 there
    facing         (2, rows, cols): sine and cosine of aspect, both 0 on flat ground and where not valid
    aspect_weight  weight / M^2
    """

    features: np.ndarray
    facing: np.ndarray
    aspect_weight: np.float32

    @classmethod
    def of(cls, bands: np.ndarray, valid: np.ndarray, weights: tuple[float, ...], compactness: float) -> "Terrain":
        """Of bands (bands, rows, cols) in the order of `lsm.inputs.rasters.TERRAIN`."""
        features = np.zeros((len(TERRAIN), *valid.shape), np.float32)
        others = [i for i in range(len(TERRAIN)) if i != ASPECT]
        for plane, i in zip(features, others, strict=False):
            np.multiply(bands[i], np.float32(sqrt(weights[i]) / compactness), out=plane, where=valid)
        aspect = features[-1]
        aspect[:] = np.where(valid, bands[ASPECT], np.float32(NO_ASPECT))
        facing = np.empty((2, *valid.shape), np.float32)
        angle = np.deg2rad(aspect)
        np.sin(angle, out=facing[0])
        np.cos(angle, out=facing[1])
        facing *= aspect >= 0
        return cls(features, facing, np.float32(weights[ASPECT] / compactness**2))

    def distance2(self, a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """(Dc / M)^2 between the cells a and b, each (row, col) index arrays."""
        *straight, aspect = self.features
        turn = np.abs(aspect[a] - aspect[b])
        turn = np.minimum(turn, 360 - turn)
        weight = self.aspect_weight * ((aspect[a] >= 0) & (aspect[b] >= 0))
        return sum((plane[a] - plane[b]) ** 2 for plane in straight) + turn * turn * weight


def slic(bands: np.ndarray, valid: np.ndarray, weights: tuple[float, ...], compactness: float, clusters: int,
         loops: int, progress: Callable[[range], Iterable] = iter) -> tuple[np.ndarray, np.ndarray]:
    """Cuts the valid cells of a terrain raster into blocks.

    bands        (4, rows, cols) float32: DEM m, aspect degrees (-1 = flat), curvature, slope degrees
    valid        (rows, cols) bool: the cells to cut up
    weights      of the four bands in Dc^2, same order
    compactness  M: the terrain distance that counts as much as S cells; the larger, the squarer the blocks
    clusters     K: the number of seeds if all cells of the raster were valid
    loops        of assigning cells to clusters and taking the clusters' means
    progress     wraps the range of loops: a progress bar
    Returns labels (rows, cols) int32, 0 .. blocks - 1 and -1 where not valid, and the mean row and column of each
    block's cells, (blocks, 2) float32. Every valid cell has exactly one block: a cell that lies in no cluster's window
    (+-S cells around its centre) joins the block nearest to it. Of equally near clusters the lowest wins.
    Raises InputError.
    """
    step = _step(valid, weights, compactness, clusters, loops)
    terrain = Terrain.of(bands, valid, weights, compactness)
    row, col = _seeds(terrain, valid, step)
    if len(row) == 0:
        raise InputError(f"K={clusters}: expected seeds on valid cells, found none of a grid of {step} cells; raise K")
    centres = np.stack([row, col, *terrain.features[:, row, col]], axis=1, dtype=np.float32)  # (clusters, 6)
    labels, nearest = np.empty(valid.shape, np.int32), np.empty(valid.shape, np.float32)
    for _ in progress(range(loops)):
        # Distances are computed anew in each loop: the clusters have moved since the last one.
        _assign(labels, nearest, valid, terrain.features, terrain.aspect_weight, centres, step)
        centres, cells = _means(labels, terrain, centres)
    kept = np.flatnonzero(cells)
    number = np.full(len(cells) + 1, -1, np.int32)  # the last entry is what label -1 becomes
    number[kept] = np.arange(len(kept))
    labels = number[labels]
    unreached = np.nonzero(valid & (labels < 0))
    labels[unreached] = nearest_block(*unreached, centres[kept, :2])
    return labels, _means(labels, terrain, centres[kept])[0][:, :2]


def nearest_block(rows: np.ndarray, cols: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The block (int32) whose centre lies nearest to each cell, the lowest of equally near ones.

    rows, cols  of the cells, (cells,); they may be fractions and may lie outside the raster
    centres     (blocks, 2) row and column of the blocks' centres, as `slic` gives them
    """
    blocks = len(centres)
    places = np.arange(1, min(4, blocks) + 1)  # on a grid no more than four centres are equally near
    distance, block = cKDTree(centres).query(np.column_stack([rows, cols]), k=places)  # (cells, places)
    block[distance > distance[:, :1]] = blocks
    return block.min(axis=1).astype(np.int32)


def block_of_cells(labels: np.ndarray, row: np.ndarray, col: np.ndarray,
                   centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each cell's block (int64), and whether it lies outside every block (then the nearest one).

    labels    (rows, cols), -1 outside every block
    row, col  of the cells, (cells,); they may lie outside the raster
    centres   (blocks, 2), as `nearest_block` takes them
    """
    there = inside(labels.shape, row, col)
    block = np.full(len(row), -1, np.int64)
    block[there] = labels[row[there], col[there]]
    return block, or_nearest(block, row, col, centres)


def or_nearest(block: np.ndarray, row: np.ndarray, col: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Gives the cells (cells,) whose block is -1 the nearest block, in place; returns which they are, (cells,) bool."""
    outside = block < 0
    if outside.any():
        block[outside] = nearest_block(row[outside], col[outside], centres)
    return outside


def _step(valid: np.ndarray, weights: tuple[float, ...], compactness: float, clusters: int, loops: int) -> int:
    """S, after checking the settings and that there is something to cut."""
    if len(weights) != len(TERRAIN) or min(weights) < 0 or max(weights) <= 0:
        raise InputError(f"WEIGHTS={weights}: expected {len(TERRAIN)} weights of 0 or more ({', '.join(TERRAIN)}), not "
                         "all 0")
    for name, value, least in (("K", clusters, 1), ("LOOPS", loops, 1)):
        if value < least:
            raise InputError(f"{name}={value}: expected {least} or more")
    if not 0 < compactness < np.inf:
        raise InputError(f"M={compactness}: expected a number above 0")
    if not valid.any():
        raise InputError("terrain: expected cells with a value in every band, found none; check the nodata value")
    step = floor(sqrt(valid.size / clusters))
    if step < 2:
        raise InputError(f"K={clusters}: expected blocks of 2 x 2 cells or more, found {valid.size} cells in all; set "
                         f"K to {valid.size // 4} or less")
    return step


def _seeds(terrain: Terrain, valid: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the seeds: a grid of `step` cells from step // 2, those on valid cells.

    Each moves to the cell of lowest gradient, the squared terrain distance across the cell along rows and columns,
    among those within SEED_REACH rows and columns (less where seeds are so close that two could meet), the nearest
    of equals. Cells beside nodata or the raster's edge have no gradient; a seed among none but these stays.
    """
    rows, cols = valid.shape
    row, col = (a.ravel() for a in np.mgrid[step // 2 : rows : step, step // 2 : cols : step])
    row, col = row[valid[row, col]], col[valid[row, col]]
    reach = min(SEED_REACH, (step - 1) // 2)
    move = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
    move = move[:, np.argsort((move**2).sum(axis=0), kind="stable")]  # nearest first: argmin takes the first
    r, c = row[:, None] + move[0], col[:, None] + move[1]  # (seeds, moves)
    inside = (r > 0) & (r < rows - 1) & (c > 0) & (c < cols - 1)
    gradient = np.full(r.shape, np.inf, np.float32)
    r_in, c_in = r[inside], c[inside]
    up, down, left, right = (r_in - 1, c_in), (r_in + 1, c_in), (r_in, c_in - 1), (r_in, c_in + 1)
    whole = valid[r_in, c_in] & valid[up] & valid[down] & valid[left] & valid[right]
    gradient[inside] = np.where(whole, terrain.distance2(up, down) + terrain.distance2(left, right), np.inf)
    best = np.arange(len(row)), gradient.argmin(axis=1)
    return r[best], c[best]


@compiled
def _assign(labels, nearest, valid, features, aspect_weight, centres, step):
    """Gives each valid cell the cluster of least D^2 whose window it lies in, -1 where there is none.

    Overwrites labels (rows, cols) int32 and nearest (rows, cols) float32, the D^2. D^2 is float32, each operation in
    the order written. The innermost loop runs over slices from 0 and has no branch, so that the compiler makes vector
    instructions of it.
    """
    rows, cols = labels.shape
    zero, infinite, full_turn, size = np.float32(0), np.float32(np.inf), np.float32(360), np.float32(step)
    for r in range(rows):
        for c in range(cols):
            labels[r, c] = -1
            nearest[r, c] = infinite if valid[r, c] else -infinite  # nothing is nearer to a cell not valid
    for cluster in range(len(centres)):
        row, col, dem, curvature, slope, aspect = centres[cluster]
        top, bottom = max(ceil(row - step), 0), min(floor(row + step) + 1, rows)
        left, right = max(ceil(col - step), 0), min(floor(col + step) + 1, cols)
        across = (np.arange(left, right).astype(np.float32) - col) / size
        weight = aspect_weight if aspect >= 0 else zero  # a cluster without aspect adds no aspect distance
        for r in range(top, bottom):
            down = (np.float32(r) - row) / size
            dems, curvatures = features[0, r, left:right], features[1, r, left:right]
            slopes, aspects = features[2, r, left:right], features[3, r, left:right]
            near, label = nearest[r, left:right], labels[r, left:right]
            for i in range(right - left):
                d2 = down * down + across[i] * across[i]
                d2 += (dems[i] - dem) * (dems[i] - dem)
                d2 += (curvatures[i] - curvature) * (curvatures[i] - curvature)
                d2 += (slopes[i] - slope) * (slopes[i] - slope)
                turn = abs(aspects[i] - aspect)
                turn = min(turn, full_turn - turn)
                d2 += turn * turn * (weight if aspects[i] >= 0 else zero)
                closer = d2 < near[i]
                near[i] = d2 if closer else near[i]
                label[i] = cluster if closer else label[i]


@compiled
def _sums(labels, features, facing, clusters):
    """Sums (clusters, 8) float64 over each cluster's cells: 1, row, col, the three features, sine and cosine of aspect.

    In the order of the raster, so that they are the same each time.
    """
    sums = np.zeros((clusters, 8))
    for r in range(labels.shape[0]):
        for c in range(labels.shape[1]):
            if labels[r, c] >= 0:
                total = sums[labels[r, c]]
                total[0] += 1
                total[1] += r
                total[2] += c
                total[3] += features[0, r, c]
                total[4] += features[1, r, c]
                total[5] += features[2, r, c]
                total[6] += facing[0, r, c]
                total[7] += facing[1, r, c]
    return sums


def _means(labels: np.ndarray, terrain: Terrain, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The clusters' mean row, column, features and aspect, (clusters, 6) float32, and their numbers of cells.

    labels (rows, cols): -1 where no cluster. Aspects are averaged as directions; a cluster of flat cells, or one whose
    aspects cancel, has none. A cluster without cells keeps the centre it had.
    """
    sums = _sums(labels, terrain.features, terrain.facing, len(centres))
    cells = sums[:, 0].astype(np.int64)
    *means, sine, cosine = (sums[:, 1:] / np.maximum(cells, 1)[:, None]).T
    aspect = np.where(np.hypot(sine, cosine) > 1e-6, np.rad2deg(np.arctan2(sine, cosine)) % 360, NO_ASPECT)
    means = np.stack([*means, aspect], axis=1).astype(np.float32)
    return np.where(cells[:, None] > 0, means, centres), cells
