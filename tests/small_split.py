"""A small split for the tests of the methods: blocks in rows of squares, some held out, and cells among the points."""

import numpy as np
from scipy.optimize import linprog

from lsm.comparison.splits import QUERY, SUPPORT, TRAIN, UNUSED, Split
from lsm.inputs.factor.definition import Factor

DESCRIBED = (Factor("slope", "continuous", "degree"), Factor("DEM", "continuous", "m"),
             Factor("land use", "categorical", "class"), Factor("aspect", "circular", "degree"),
             Factor("dis2road", "distance", "m"), Factor("DV", "continuous", "mm/yr", zero_is_missing=True))
BLOCKS, SAMPLES, CELLS = 24, 40, 6  # samples and cells a block
MIXED, NO_LANDSLIDE, ONLY_LANDSLIDES, BARE, THIN = 19, 20, 21, 22, 23
# held-out blocks: a usual one; supports of one class; no labelled point; two labelled points


def made_split(seed: int = 0, form: str = "recommended") -> Split:
    """Landslides follow slope and DV; what DEM says turns round from one block to the next."""
    rng = np.random.default_rng(seed)
    block = np.repeat(np.arange(BLOCKS), SAMPLES + CELLS)
    n = len(block)
    xy = 1000 * np.column_stack([block % 6, block // 6]) + rng.uniform(0, 1000, (n, 2))
    factors = np.column_stack([rng.uniform(0, 45, n), rng.uniform(0, 500, n) + 20 * block, rng.integers(1, 4, n),
                               np.where(rng.random(n) < 0.1, -1, rng.uniform(0, 360, n)), rng.exponential(200, n),
                               np.where(rng.random(n) < 0.5, 0, rng.normal(-3, 2, n))]).astype(np.float32)
    turned = np.where(block % 2, 1, -1) * (factors[:, 1] - 20 * block - 250) / 150
    margin = (factors[:, 0] - 22) / 8 - factors[:, 5] / 3 - 0.5 + turned
    label = (rng.random(n) < 1 / (1 + np.exp(-2 * margin))).astype(np.int32)
    role = np.full(n, TRAIN, np.int8)
    held_out = block >= MIXED
    halves = rng.permuted(np.tile(np.arange(SAMPLES) < SAMPLES // 2, (BLOCKS - MIXED, 1)), axis=1)
    halves = np.concatenate([halves, np.zeros((len(halves), CELLS), bool)], axis=1).ravel()
    role[held_out] = np.where(halves, SUPPORT, QUERY)
    role[block == BARE] = QUERY
    role[block == THIN] = QUERY
    role[np.flatnonzero(block == THIN)[:2]] = SUPPORT
    label[(block == THIN) & (role == SUPPORT)] = 1
    label[(block == NO_LANDSLIDE) & (role == SUPPORT)] = 0
    label[(block == ONLY_LANDSLIDES) & (role == SUPPORT)] = 1
    cell = np.tile(np.arange(SAMPLES + CELLS) >= SAMPLES, BLOCKS)
    label[cell] = -1
    role[cell] = np.where(held_out[cell], QUERY, UNUSED)
    return Split(factors, DESCRIBED, xy, label, block, role, form)


def parted_by_a_line(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether some line has all of `one` on one side and all of `other` on the other; each (n, 2)."""
    rows = np.concatenate([np.column_stack([one, np.ones(len(one))]), -np.column_stack([other, np.ones(len(other))])])
    return linprog(np.zeros(3), rows, -np.ones(len(rows)), bounds=(None, None)).status == 0
