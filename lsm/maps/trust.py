"""Where to trust a map: the spread of probability over the members of the model, and the area of applicability."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from osgeo import gdal
from scipy.spatial.distance import pdist

from lsm.blocks.grid_parts import Part
from lsm.learner.encoder import Encoder
from lsm.learner.prediction import (
    Networks,
    log_odds_of_block,
    over_tiles,
    probability,
    release_memory,
    weights_of_members,
)
from lsm.maps.nearest import Nearest
from lsm.run.paths import shown
from lsm.run.progress import Progress
from lsm.run.settings import InputError


def spread_of_members(each: np.ndarray) -> np.ndarray:
    """Standard deviation (rows,) of landslide probability of log-odds `each` (members, rows), two members or more."""
    p = probability(each)
    mean = sum(p) / np.float32(len(p))  # not p.mean(axis=0), which sums the members of a row alone in another order
    return np.sqrt(sum((p - mean) ** 2) / np.float32(len(p) - 1))


@dataclass(frozen=True)
class Applicability:
    """The dissimilarity index of Meyer and Pebesma (2021, Methods in Ecology and Evolution 12, 1620).

    It compares factors, not places: its inputs are the encoded factors without X and Y.

    scale      multipliers (inputs,) of these inputs
    nearest    of the scaled samples
    mean       distance between two samples
    threshold  of the index; a cell with a larger index is outside the area of applicability
    """

    scale: np.ndarray
    nearest: Nearest
    mean: float
    threshold: float

    @classmethod
    def of(cls, encoder: Encoder, factors: np.ndarray, fold: np.ndarray, weight: np.ndarray, paired: int, rng
           ) -> "Applicability":
        """The index of samples with factors (samples, factors) in folds (samples,), two folds or more.

        weight  of each factor (factors,)
        paired  samples whose mutual distances are averaged. Where all samples are alike the mean is 0
        """
        x = encoder.transform(factors)
        scale = scales(encoder, x, weight)
        x = x * scale
        mean = float(pdist(x[rng.permutation(len(x))[:paired]]).mean())
        return cls(scale, Nearest(x), mean, largest_but_outliers(training_index(x, fold) / mean) if mean else 0.0)

    def index(self, x: np.ndarray) -> np.ndarray:
        """The index (rows,) of encoded rows x (rows, inputs or more): the distance to the nearest sample, over the
        mean. Columns after the factors, X and Y, are not read."""
        distance = self.nearest.distance(x[:, :len(self.scale)] * self.scale)
        return (distance / self.mean).astype(np.float32)


def scales(encoder: Encoder, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Multipliers (inputs,) of encoded factors x (samples, inputs), by which each factor gets the variance weight^2.

    The columns of one factor are standardised together. So a factor counts once, however many columns it has, and a
    rare class does not lie farther away because it is rare.
    """
    factor = np.array([j for j, _ in encoder.columns])
    variance = np.bincount(factor, x.var(axis=0, dtype=np.float64))
    return (weight / np.sqrt(np.where(variance > 0, variance, 1)))[factor]


def training_index(x: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """The distance (samples,) from each sample x (samples, inputs) to the nearest sample of another fold (samples,)."""
    out = np.empty(len(x))
    for f in np.unique(fold):
        out[fold == f] = Nearest(x[fold != f]).distance(x[fold == f])
    return out


def largest_but_outliers(index: np.ndarray) -> float:
    """The largest value up to the third quartile plus 1.5 interquartile ranges."""
    low, high = np.quantile(index, (0.25, 0.75))
    return float(index[index <= high + 1.5 * (high - low)].max())


def applicability_of(encoder: Encoder, samples: dict, weight: np.ndarray, blocks: int, folds: int, paired: int,
                     seed: int, tasks: Path) -> Applicability:
    """The index of all samples, its threshold from `folds` folds of whole blocks.

    samples  arrays of metatask_sampling/<REGION>_tasks.npz, which lie at `tasks`; weight (factors,). Raises InputError.
    """
    rng = np.random.default_rng(seed)
    fold = (rng.permutation(blocks) % folds)[samples["block"]]
    if len(np.unique(fold)) < 2:
        raise InputError(f"{shown(tasks)}: expected samples in two folds of blocks or more, found them in one; raise "
                         "FOLDS, or cut more blocks (K of scene_sampling.py)")
    found = Applicability.of(encoder, samples["factors"], fold, weight, paired, rng)
    if not found.mean:
        raise InputError(f"{shown(tasks)}: expected samples that differ in their factors, found none; check the table "
                         "of samples")
    return found


def fill_rasters(parts: Iterable[Part], cells: int, encoder: Encoder, networks: Networks, applicable: Applicability,
                 uncertainty: gdal.Dataset | None, applicability: gdal.Dataset) -> None:
    """Fills both rasters part by part of a grid with `cells` cells; uncertainty may be None. A cell outside every block
    takes the nearest block, and one at a border the mean of several, as in the map."""
    members = list(weights_of_members(networks))

    def of_tile(b: int, x: np.ndarray) -> np.ndarray:
        index = applicable.index(x)
        return np.stack([index, spread_of_members(log_odds_of_block(members, b, x))]) if uncertainty else index[None]

    bar = Progress(total=cells, desc="grid", unit="cell", unit_scale=True, delay=1)
    for part, values in over_tiles(parts, encoder, len(members[0][0]), of_tile, 2 if uncertainty else 1):
        for dataset, v in zip((applicability, uncertainty), values, strict=False):
            part.write(dataset, v)
        release_memory(networks)
        bar.update(len(part.block))
    bar.close()
