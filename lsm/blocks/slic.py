"""Blocks: superpixels of the terrain by SLIC with weighted terrain factors, and the block nearest to a cell.

Achanta et al. 2012, SLIC superpixels compared to state-of-the-art superpixel methods, IEEE TPAMI 34(11), 2274-2282,
with the colour distance replaced by a weighted distance of terrain factors:

    D^2 = (Dc / M)^2 + (Ds / S)^2,    Dc^2 = sum over DEM, aspect, curvature, slope of weight * difference^2

Ds is the distance in cells, S = floor(sqrt(N / K)) the step between seeds, N the number of all cells of the raster.
The difference of two aspects is the smaller angle between them; flat ground (aspect -1) has no aspect and adds no
aspect distance. A block may have several parts: no step of the method connects them.

The raster is gone over in strips of whole rows. Beside its cells a strip needs the clusters, no other strip.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import ceil, floor, sqrt

import numpy as np
from scipy.spatial import cKDTree

from lsm.inputs.rasters import TERRAIN
from lsm.run.code import compiled
from lsm.run.settings import InputError

SEED_REACH = 5  # cells a seed may move along rows and along columns to find the lowest gradient
NO_ASPECT = -1.0
ASPECT = TERRAIN.index("aspect")
STRIP = 1 << 20  # cells of a strip, or one row


@dataclass(frozen=True)
class Terrain:
    """Rows of the terrain as distances and means need them, float32.

    features       (4, rows, cols): DEM, curvature and slope times sqrt(weight) / M, and aspect in degrees; 0 where not
                   valid, aspect -1 there
    aspect_weight  weight / M^2
    """

    features: np.ndarray
    aspect_weight: np.float32

    @classmethod
    def of(cls, bands: np.ndarray, valid: np.ndarray, weights: tuple[float, ...], compactness: float) -> "Terrain":
        """Of bands (bands, rows, cols) in the order of `lsm.inputs.rasters.TERRAIN`."""
        features = np.zeros((len(TERRAIN), *valid.shape), np.float32)
        others = [i for i in range(len(TERRAIN)) if i != ASPECT]
        for plane, i in zip(features, others, strict=False):
            np.multiply(bands[i], np.float32(sqrt(weights[i]) / compactness), out=plane, where=valid)
        features[-1] = np.where(valid, bands[ASPECT], np.float32(NO_ASPECT))
        return cls(features, np.float32(weights[ASPECT] / compactness**2))

    def facing(self) -> np.ndarray:
        """Sine and cosine of aspect (2, rows, cols), both 0 on flat ground and where not valid."""
        aspect = self.features[-1]
        angle = np.deg2rad(aspect)
        return np.stack([np.sin(angle), np.cos(angle)]) * (aspect >= 0)

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
    labels = np.empty(valid.shape, np.int32)
    places = slic_in_strips(lambda row, rows: (bands[:, row:row + rows], valid[row:row + rows]), labels, weights,
                            compactness, clusters, loops, progress)
    return labels, places


def slic_in_strips(read: Callable[[int, int], tuple[np.ndarray, np.ndarray]], labels: np.ndarray,
                   weights: tuple[float, ...], compactness: float, clusters: int, loops: int,
                   progress: Callable[[range], Iterable] = iter) -> np.ndarray:
    """As `slic`, of a raster that need not be in memory; returns the blocks' mean rows and columns (blocks, 2).

    read    (row, rows) -> bands (4, rows, cols) and valid (rows, cols) of these rows; each is read loops + 2 times
    labels  (rows, cols) int32, to be filled: an array, or what has a shape and takes and gives slices of rows
    """
    rows, cols = labels.shape
    height = max(1, STRIP // cols)
    strips = [(row, min(height, rows - row)) for row in range(0, rows, height)]

    def terrain_of(row: int, n: int) -> tuple[Terrain, np.ndarray]:
        bands, valid = read(row, n)
        return Terrain.of(bands, valid, weights, compactness), valid

    step = _step(labels.shape, clusters)
    centres = _seeds(terrain_of, labels.shape, step)
    if len(centres) == 0:
        raise InputError(f"K={clusters}: expected seeds on valid cells, found none of those {step} cells apart; raise "
                         f"K, to {labels.shape[0] * labels.shape[1] // 4} at most")
    for loop in progress(range(loops)):
        sums = np.zeros((len(centres), 8))
        # Distances are computed anew in each loop: the clusters have moved since the last one.
        for row, n in strips:
            terrain, valid = terrain_of(row, n)
            here, nearest = np.empty((n, cols), np.int32), np.empty((n, cols), np.float32)
            _assign(here, nearest, valid, terrain.features, terrain.aspect_weight, centres, step, row)
            _add_cells(sums, here, terrain.features, terrain.facing(), row)
            if loop == loops - 1:
                labels[row:row + n] = here
        centres, cells = _means(sums, centres)
    kept = np.flatnonzero(cells)
    number = np.full(len(cells) + 1, -1, np.int32)  # the last entry is what label -1 becomes
    number[kept] = np.arange(len(kept))
    sums = np.zeros((len(kept), 8))
    for row, n in strips:
        terrain, valid = terrain_of(row, n)
        here = number[labels[row:row + n]]
        unreached = np.nonzero(valid & (here < 0))
        here[unreached] = nearest_block(unreached[0] + row, unreached[1], centres[kept, :2])
        labels[row:row + n] = here
        _add_cells(sums, here, terrain.features, terrain.facing(), row)
    return _means(sums, centres[kept])[0][:, :2]


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


def fill_with_nearest(block: np.ndarray, row: np.ndarray, col: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Gives the cells (cells,) whose block is -1 the nearest block, in place; returns which they are, (cells,) bool."""
    outside = block < 0
    if outside.any():
        block[outside] = nearest_block(row[outside], col[outside], centres)
    return outside


def _step(shape: tuple[int, int], clusters: int) -> int:
    """S; shape (rows, cols) of the raster. Raises InputError for a K that makes no blocks."""
    if clusters < 1:
        raise InputError(f"K={clusters}: expected 1 or more")
    size = shape[0] * shape[1]
    step = floor(sqrt(size / clusters))
    if step < 2:
        raise InputError(f"K={clusters}: expected blocks of 2 x 2 cells or more, found {size} cells in all; set K to "
                         f"{size // 4} or less")
    return step


def _seeds(terrain_of: Callable, shape: tuple[int, int], step: int) -> np.ndarray:
    """Row, column and features (seeds, 6) float32 of the seeds: a grid of `step` cells from step // 2, those on valid
    cells. A raster that is narrower than that has them along its middle.

    Each moves to the cell of lowest gradient, the squared terrain distance across the cell along rows and columns,
    among those within SEED_REACH rows and columns (less where seeds are so close that two could meet), the nearest
    of equals. Cells beside nodata or the raster's edge have no gradient; a seed among none but these stays.
    """
    rows, cols = shape
    row_0, col_0 = (step // 2 if step // 2 < n else n // 2 for n in shape)
    reach = min(SEED_REACH, (step - 1) // 2)
    move = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
    move = move[:, np.argsort((move**2).sum(axis=0), kind="stable")]  # nearest first: argmin takes the first
    seeds = [np.empty((0, 6), np.float32)]
    for row in range(row_0, rows, step):
        first = max(row - reach - 1, 0)
        terrain, valid = terrain_of(first, min(row + reach + 2, rows) - first)
        col = np.arange(col_0, cols, step)
        col = col[valid[row - first, col]]
        r, c = np.broadcast_to(row + move[0], (len(col), len(move[0]))), col[:, None] + move[1]  # (seeds, moves)
        inner = (r > 0) & (r < rows - 1) & (c > 0) & (c < cols - 1)
        gradient = np.full(r.shape, np.inf, np.float32)
        r_in, c_in = r[inner] - first, c[inner]
        up, down, left, right = (r_in - 1, c_in), (r_in + 1, c_in), (r_in, c_in - 1), (r_in, c_in + 1)
        whole = valid[r_in, c_in] & valid[up] & valid[down] & valid[left] & valid[right]
        gradient[inner] = np.where(whole, terrain.distance2(up, down) + terrain.distance2(left, right), np.inf)
        best = np.arange(len(col)), gradient.argmin(axis=1)
        r, c = r[best], c[best]
        seeds.append(np.stack([r, c, *terrain.features[:, r - first, c]], axis=1, dtype=np.float32))
    return np.concatenate(seeds)


@compiled
def _assign(labels, nearest, valid, features, aspect_weight, centres, step, first):
    """Gives each valid cell the cluster of least D^2 whose window it lies in, -1 where there is none.

    All arrays but `centres` hold the raster's rows from `first` on. Overwrites labels (rows, cols) int32 and nearest
    (rows, cols) float32, the D^2. D^2 is float32, each operation in the order written. The innermost loop runs over
    slices from 0 and has no branch, so that the compiler makes vector instructions of it.
    """
    rows, cols = labels.shape
    zero, infinite, full_turn, size = np.float32(0), np.float32(np.inf), np.float32(360), np.float32(step)
    for r in range(rows):
        for c in range(cols):
            labels[r, c] = -1
            nearest[r, c] = infinite if valid[r, c] else -infinite  # nothing is nearer to a cell not valid
    for cluster in range(len(centres)):
        row, col, dem, curvature, slope, aspect = centres[cluster]
        top, bottom = max(ceil(row - step) - first, 0), min(floor(row + step) + 1 - first, rows)
        if top >= bottom:  # all of its window lies in other strips
            continue
        left, right = max(ceil(col - step), 0), min(floor(col + step) + 1, cols)
        across = (np.arange(left, right).astype(np.float32) - col) / size
        weight = aspect_weight if aspect >= 0 else zero  # a cluster without aspect adds no aspect distance
        for r in range(top, bottom):
            down = (np.float32(first + r) - row) / size
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
def _add_cells(sums, labels, features, facing, first):
    """Adds each cluster's cells to its sums (clusters, 8) float64: 1, row, col, the three features, sine and cosine of
    aspect; in the order of the raster, so that they are the same each time. The arrays hold its rows from `first` on.
    """
    for r in range(labels.shape[0]):
        for c in range(labels.shape[1]):
            if labels[r, c] >= 0:
                total = sums[labels[r, c]]
                total[0] += 1
                total[1] += first + r
                total[2] += c
                total[3] += features[0, r, c]
                total[4] += features[1, r, c]
                total[5] += features[2, r, c]
                total[6] += facing[0, r, c]
                total[7] += facing[1, r, c]


def _means(sums: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The clusters' mean row, column, features and aspect, (clusters, 6) float32, and their numbers of cells, of the
    sums that `_add_cells` makes.

    Aspects are averaged as directions; a cluster of flat cells, or one whose aspects cancel, has none. A cluster
    without cells keeps the centre it had.
    """
    cells = sums[:, 0].astype(np.int64)
    *means, sine, cosine = (sums[:, 1:] / np.maximum(cells, 1)[:, None]).T
    aspect = np.where(np.hypot(sine, cosine) > 1e-6, np.rad2deg(np.arctan2(sine, cosine)) % 360, NO_ASPECT)
    means = np.stack([*means, aspect], axis=1).astype(np.float32)
    return np.where(cells[:, None] > 0, means, centres), cells
