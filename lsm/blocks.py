"""Blocks: superpixels of the terrain by SLIC, the terrain's factors weighted, and the block nearest to a cell.

Achanta et al. 2012, SLIC superpixels compared to state-of-the-art superpixel methods, IEEE TPAMI 34(11), 2274-2282,
with the colour distance replaced by a weighted distance of terrain factors:

    D^2 = (Dc / M)^2 + (Ds / S)^2,    Dc^2 = sum over DEM, aspect, curvature, slope of weight * difference^2

Ds is the distance in cells, S = floor(sqrt(N / K)) the step between seeds, N all cells of the raster. Aspects differ
by the smaller angle between them; flat ground (aspect -1) has no aspect and adds no aspect distance. Blocks need not
be connected: no step of the method joins their parts.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import ceil, floor, sqrt

import numpy as np
from scipy.sparse import csc_array
from scipy.spatial import cKDTree

from lsm.raster import TERRAIN
from lsm.settings import InputError

SEED_REACH = 5  # cells a seed may move along rows and along columns to find the lowest gradient
SUM_CHUNK = 1 << 14  # cells summed at once, in float64
NO_ASPECT = -1.0
ASPECT = TERRAIN.index("aspect")


@dataclass(frozen=True)
class Terrain:
    """What the distances and the means need, float32.

    features       (4, rows, cols): DEM, curvature and slope times sqrt(weight) / M, and aspect in degrees; 0 where not
                   valid, aspect -1 there
    aspect_weight  (rows, cols): weight / M^2, 0 on flat ground and where not valid
    averaged       (valid cells, 8), in the order of the raster: 1, row, col, the three, sine and cosine of aspect
                   (both 0 on flat ground)
    """

    features: np.ndarray
    aspect_weight: np.ndarray
    averaged: np.ndarray

    @classmethod
    def of(cls, bands: np.ndarray, valid: np.ndarray, weights: tuple[float, ...], compactness: float) -> "Terrain":
        """Of bands (bands, rows, cols) in the order of `lsm.raster.TERRAIN`."""
        features = np.zeros((len(TERRAIN), *valid.shape), np.float32)
        others = [i for i in range(len(TERRAIN)) if i != ASPECT]
        for plane, i in zip(features, others, strict=False):
            np.multiply(bands[i], np.float32(sqrt(weights[i]) / compactness), out=plane, where=valid)
        features[-1] = np.where(valid, bands[ASPECT], np.float32(NO_ASPECT))
        aspect_weight = (features[-1] >= 0) * np.float32(weights[ASPECT] / compactness**2)
        averaged = np.ones((np.count_nonzero(valid), 8), np.float32)
        averaged[:, 1], averaged[:, 2] = np.nonzero(valid)
        for j in range(3):
            averaged[:, 3 + j] = features[j][valid]
        aspect = features[-1][valid]
        angle, sloping = np.deg2rad(aspect), aspect >= 0
        averaged[:, 6], averaged[:, 7] = np.sin(angle) * sloping, np.cos(angle) * sloping
        return cls(features, aspect_weight, averaged)

    def distance2(self, a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """(Dc / M)^2 between the cells a and b, each (row, col) index arrays."""
        *straight, aspect = self.features
        turn = np.abs(aspect[a] - aspect[b])
        turn = np.minimum(turn, 360 - turn)
        weight = np.minimum(self.aspect_weight[a], self.aspect_weight[b])
        return sum((plane[a] - plane[b]) ** 2 for plane in straight) + turn * turn * weight


def slic(bands: np.ndarray, valid: np.ndarray, weights: tuple[float, ...], compactness: float, clusters: int,
         loops: int, progress: Callable[[range], Iterable] = iter) -> tuple[np.ndarray, np.ndarray]:
    """Cuts the valid cells of a terrain raster into blocks.

    bands        (4, rows, cols) float32: DEM m, aspect degrees (-1 = flat), curvature, slope degrees
    valid        (rows, cols) bool: the cells to cut up
    weights      of the four bands in Dc^2, same order
    compactness  M: the terrain distance that counts as much as S cells; the larger, the squarer the blocks
    clusters     K: seeds the whole raster would get
    loops        of assigning cells to clusters and taking the clusters' means
    progress     wraps the range of loops: a progress bar
    Returns labels (rows, cols) int32, 0 .. blocks - 1 and -1 where not valid, and the mean row and column of each
    block's cells, (blocks, 2) float32. Every valid cell has exactly one block: one that no window of a cluster
    (+-S cells about its centre) reaches joins the block nearest to it. Of equally near clusters the lowest wins.
    Raises InputError.
    """
    step = _step(valid, weights, compactness, clusters, loops)
    terrain = Terrain.of(bands, valid, weights, compactness)
    row, col = _seeds(terrain, valid, step)
    if len(row) == 0:
        raise InputError(f"K={clusters}: expected seeds on valid cells, found none of a grid of {step} cells; raise K")
    centres = np.stack([row, col, *terrain.features[:, row, col]], axis=1, dtype=np.float32)  # (clusters, 6)
    labels = np.empty(valid.shape, np.int32)
    none_yet = np.where(valid, np.float32(np.inf), np.float32(-np.inf))  # nothing is nearer to a cell not valid
    nearest = np.empty(valid.shape, np.float32)  # D^2 to the cluster a cell has now
    for _ in progress(range(loops)):
        # Distances are those of this loop: kept ones would be to clusters that have moved since.
        nearest[:] = none_yet
        labels.fill(-1)
        _assign(labels, nearest, terrain, centres, step)
        centres, cells = _means(labels[valid], terrain, centres)
    kept = np.flatnonzero(cells)
    number = np.full(len(cells) + 1, -1, np.int32)  # the last entry is what label -1 becomes
    number[kept] = np.arange(len(kept))
    labels = number[labels]
    unreached = np.nonzero(valid & (labels < 0))
    labels[unreached] = nearest_block(*unreached, centres[kept, :2])
    return labels, _means(labels[valid], terrain, centres[kept])[0][:, :2]


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


def _assign(labels: np.ndarray, nearest: np.ndarray, terrain: Terrain, centres: np.ndarray, step: int) -> None:
    """Gives each cell (in place) the cluster of least D^2 among those whose window it lies in.

    Each cluster is compared with all cells of its window at once, in scratch memory that stays in the cache.
    """
    rows, cols = labels.shape
    scratch = np.empty((6, (2 * step + 1) ** 2), np.float32)
    closer = np.empty(scratch.shape[1], bool)
    for cluster, (row, col, *_, aspect) in enumerate(centres.tolist()):
        top, bottom = max(ceil(row - step), 0), min(floor(row + step) + 1, rows)
        left, right = max(ceil(col - step), 0), min(floor(col + step) + 1, cols)
        shape = (bottom - top, right - left)
        window, size = np.s_[..., top:bottom, left:right], shape[0] * shape[1]
        parts = scratch.ravel()[: 6 * size].reshape(6, *shape)  # D^2 from space, three features, aspect; and D^2
        space, turn, d2 = parts[0], parts[4], parts[5]
        down = (np.arange(top, bottom, dtype=np.float32) - row) / step
        across = (np.arange(left, right, dtype=np.float32) - col) / step
        np.add.outer(down * down, across * across, out=space)
        used = 5 if aspect >= 0 else 4  # a cluster without aspect adds no aspect distance
        differences = parts[1:used]
        np.subtract(terrain.features[: used - 1][window], centres[cluster, 2 : used + 1, None, None], out=differences)
        if aspect >= 0:
            np.absolute(turn, out=turn)
            np.subtract(360, turn, out=d2)
            np.minimum(turn, d2, out=turn)
        np.multiply(differences, differences, out=differences)
        if aspect >= 0:
            np.multiply(turn, terrain.aspect_weight[window], out=turn)
        np.add.reduce(parts[:used], axis=0, out=d2)
        is_closer = closer[:size].reshape(shape)
        np.less(d2, nearest[window], out=is_closer)
        np.copyto(nearest[window], d2, where=is_closer)
        np.copyto(labels[window], np.int32(cluster), where=is_closer)


def _means(cluster: np.ndarray, terrain: Terrain, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The clusters' mean row, column, features and aspect, (clusters, 6) float32, and their numbers of cells.

    cluster (valid cells,): -1 where none. Aspects are averaged as directions; a cluster of flat cells, or one whose
    aspects cancel, has none. A cluster without cells keeps the centre it had.
    """
    sums = np.zeros((len(centres) + 1, terrain.averaged.shape[1]))
    ones, chunk = np.ones(SUM_CHUNK), np.arange(SUM_CHUNK + 1)
    for start in range(0, len(cluster), SUM_CHUNK):
        part = cluster[start : start + SUM_CHUNK] + 1  # row 0 of the sums collects the cells of no cluster
        n = len(part)
        member = csc_array((ones[:n], part, chunk[: n + 1]), shape=(len(sums), n))  # (clusters, cells)
        sums += member @ terrain.averaged[start : start + n].astype(np.float64)
    cells = sums[1:, 0].astype(np.int64)
    *means, sine, cosine = (sums[1:, 1:] / np.maximum(cells, 1)[:, None]).T
    aspect = np.where(np.hypot(sine, cosine) > 1e-6, np.rad2deg(np.arctan2(sine, cosine)) % 360, NO_ASPECT)
    means = np.stack([*means, aspect], axis=1).astype(np.float32)
    return np.where(cells[:, None] > 0, means, centres), cells
