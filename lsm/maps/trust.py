"""Where to trust a map: the spread of probability over an ensemble, and the area of applicability."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist
from tqdm import tqdm

from lsm.learner.boosting import Boosting, mixed
from lsm.learner.encoder import Encoder
from lsm.learner.prediction import probability_of_members, unnamed


@dataclass(frozen=True)
class Ensemble:
    """Members of a map: each one's networks, weights with (members, blocks) as first axes, and its boosting, if any."""

    networks: list[np.ndarray]
    boosting: list[Boosting]

    @classmethod
    def of_map(cls, models: dict, samples: dict, resampled: bool, seed: int) -> "Ensemble":
        """The networks of the map and, where resampled and the map has boosting, one boosting a member, fitted again
        to samples drawn with replacement within every block.

        models, samples  arrays of models_of_blocks/<REGION>_models.npz and metatask_sampling/<REGION>_tasks.npz
        """
        networks = unnamed(models)
        boosting, members = [], len(networks[0])
        if resampled and members > 1 and len(models["boosted"]):
            rng = np.random.default_rng([seed, 8])
            for _ in tqdm(range(members), desc="boosting again", unit="member", disable=None):
                times = drawn_again(samples["block"], models["boosted"], rng)
                boosting.append(Boosting(*(samples[name] for name in ("factors", "xy", "block", "label")), times > 0,
                                         len(models["state"]), seed, samples["weight"] * times))
        return cls(networks, boosting)

    def spread(self, block: np.ndarray, x: np.ndarray, factors: np.ndarray, xy: np.ndarray) -> np.ndarray:
        """Standard deviation (rows,) over the members' landslide probabilities of rows in blocks (rows,).

        x  encoded factors (rows, inputs); factors (rows, factors) and xy (rows, 2) are for the boosting
        """
        each = probability_of_members(self.networks, block, x)
        for p, boosting in zip(each, self.boosting, strict=False):
            p[:] = mixed(p, boosting.probabilities(factors, xy, block))
        return each.std(axis=0, ddof=1)


def drawn_again(block: np.ndarray, known: np.ndarray, rng) -> np.ndarray:
    """How often each sample (samples,) is among as many of the known ones of its block (samples,), drawn with
    replacement."""
    times = np.zeros(len(block), np.int64)
    for b in np.unique(block[known]):
        own = np.flatnonzero(known & (block == b))
        times += np.bincount(rng.choice(own, len(own)), minlength=len(block))
    return times


@dataclass(frozen=True)
class Applicability:
    """The dissimilarity index of Meyer and Pebesma (2021, Methods in Ecology and Evolution 12, 1620).

    scale (inputs,) of network inputs; tree of the samples so scaled; mean distance between them; threshold of the index
    """

    scale: np.ndarray
    tree: cKDTree
    mean: float
    threshold: float

    @classmethod
    def of(cls, encoder: Encoder, factors: np.ndarray, fold: np.ndarray, weight: np.ndarray, paired: int, rng
           ) -> "Applicability":
        """Of samples' factors (samples, factors) in folds (samples,) of two or more, with the factors' weight
        (factors,); the mean is that of `paired` samples. Mean 0: all samples are alike."""
        x = encoder.transform(factors)
        scale = scales(encoder, x, weight)
        x = x * scale
        mean = float(pdist(x[rng.permutation(len(x))[:paired]]).mean())
        return cls(scale, cKDTree(x), mean, largest_but_outliers(training_index(x, fold) / mean) if mean else 0.0)

    def index(self, x: np.ndarray) -> np.ndarray:
        """The index (rows,) of network inputs x (rows, inputs)."""
        distance, _ = self.tree.query(x * self.scale)
        return (distance / self.mean).astype(np.float32)


def scales(encoder: Encoder, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """What to multiply network inputs (samples, inputs) with, so that a factor has variance weight^2 (factors,).

    The columns of one factor are standardised together: a factor counts once, however many columns it has, and a rare
    class does not lie farther off than others because it is rare.
    """
    factor = np.array([j for j, _ in encoder.columns])
    variance = np.bincount(factor, x.var(axis=0, dtype=np.float64))
    return (weight / np.sqrt(np.where(variance > 0, variance, 1)))[factor]


def training_index(x: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """The distance (samples,) from each of x (samples, inputs) to the nearest one of another fold (samples,)."""
    out = np.empty(len(x))
    for f in np.unique(fold):
        out[fold == f], _ = cKDTree(x[fold != f]).query(x[fold == f])
    return out


def largest_but_outliers(index: np.ndarray) -> float:
    """The largest value that is no more than 1.5 interquartile ranges above the third quartile."""
    low, high = np.quantile(index, (0.25, 0.75))
    return float(index[index <= high + 1.5 * (high - low)].max())
