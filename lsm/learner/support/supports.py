"""The samples that each block adapts on, the places where it is to be predicted, how far apart they are, and how far a
block adapts."""

import numpy as np
from osgeo import gdal
from scipy.spatial import cKDTree

from lsm.inputs.layers import thinned
from lsm.inputs.rasters import centres as cell_centres
from lsm.learner.tasks import EncodedSamples, rows_by_block

ADAPTED, NO_SAMPLES, ONE_CLASS = 0, 1, 2  # state of a block
FORECAST = 3       # state of all blocks of a map whose FORECAST=True left places out: none adapts (support/dates.py)
PARTLY = 4         # some kinds of members adapted; the samples of the others are none, or of one class
MOVED = (ADAPTED, PARTLY)  # states of a block whose model is not the intermediate one
CELLS = 2_000_000  # of a raster that are looked at for the samples nearest to each block
PLACES = 200       # of a block that its distance is the median of


class Supports:
    """The samples blocks adapt on: their own known ones, and the nearest known ones of other blocks.

    xy (samples, 2) and block (samples,) of all; known (samples,) bool: those to learn from
    """

    def __init__(self, xy: np.ndarray, block: np.ndarray, known: np.ndarray):
        self.rows = np.flatnonzero(known)
        self.xy, self.block = xy[self.rows], block[self.rows]
        self.own = dict(zip(*rows_by_block(block, known), strict=True))
        self.tree = cKDTree(self.xy)

    def of(self, block: int, places: np.ndarray, borrow: int) -> np.ndarray:
        """Rows of the block's own samples, then of the `borrow` samples of other blocks nearest to any of its places.

        places (n, 2): where the block is to be predicted
        """
        own = self.own.get(block, self.rows[:0])
        borrow = min(borrow, len(self.rows) - len(own))
        if not borrow:
            return own
        centre, among = places.mean(axis=0), 4 * borrow + len(own)
        radius, tree = np.hypot(*(places - centre).T).max(), cKDTree(places)
        while True:  # take the samples nearest to the centre, until no sample left out can be nearer to the block
            from_centre, near = self.tree.query(centre, k=np.arange(1, min(among, len(self.rows)) + 1))
            near = near[self.block[near] != block]
            distance, _ = tree.query(self.xy[near])
            order = np.argsort(distance, kind="stable")[:borrow]
            if among >= len(self.rows) or (len(order) == borrow and distance[order[-1]] <= from_centre[-1] - radius):
                return np.concatenate([own, self.rows[near[order]]])
            among *= 2


def places_of_blocks(blocks: gdal.Dataset, centres: np.ndarray) -> list[np.ndarray]:
    """Centres of each block's cells, (cells, 2) in map coordinates; blocks: their raster; centres (blocks, 2) row, col.

    Of a large raster only every second (third, ...) row and column is looked at, about CELLS cells in all. A block
    that has no cell there is represented by its centre alone.
    """
    labels, step = thinned(blocks, CELLS)
    row, col = np.nonzero(labels >= 0)
    block = labels[row, col]
    order = np.argsort(block, kind="stable")
    xy = np.column_stack(cell_centres(blocks.GetGeoTransform(), row[order] * step, col[order] * step))
    alone = np.column_stack(cell_centres(blocks.GetGeoTransform(), *centres.T))[:, None]  # (blocks, 1, 2)
    places = np.split(xy, np.searchsorted(block[order], np.arange(1, len(centres))))
    return [p if len(p) else a for p, a in zip(places, alone, strict=True)]


def places_of_samples(samples: EncodedSamples, asked: np.ndarray, blocks: int = 0) -> list[np.ndarray | None]:
    """The places (n, 2) of each block's asked samples, None of a block without one.

    asked   (samples,) bool
    blocks  the least length of the list
    """
    places = [None] * max(blocks, int(samples.block.max()) + 1)
    for b, rows in zip(*rows_by_block(samples.block, asked), strict=True):
        places[b] = samples.xy[rows]
    return places


def distance_to(support: np.ndarray, places: np.ndarray) -> float:
    """How far a block is from its support: the median distance in m of its places (n, 2) from the nearest sample of the
    support (samples, 2). Of many places PLACES are looked at, drawn at random but always the same."""
    if len(places) > PLACES:
        places = np.random.default_rng(0).choice(places, PLACES, replace=False)
    return float(np.median(cKDTree(support).query(places)[0]))


def share_of_adapted(distance: float, reach: float) -> float:
    """How much the adapted network counts, 0 to 1, where the support lies `distance` m away: exp(-distance / reach); 0
    for a reach of 0. reach in m"""
    return float(np.exp(-distance / reach)) if reach else 0.0


def network_between(pooled: list[np.ndarray], adapted: list[np.ndarray], distance: float, reach: float
                    ) -> list[np.ndarray]:
    """The network between the intermediate model `pooled` and `adapted`, which counts `share_of_adapted`."""
    share = np.float32(share_of_adapted(distance, reach))
    return [(1 - share) * p + share * a for p, a in zip(pooled, adapted, strict=True)]
