"""Measures of a susceptibility score against labels. Landslide (1) is the positive class everywhere."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from sklearn import metrics

THRESHOLD = 0.5
MEASURES = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "kappa", "mcc", "auroc", "pr_auc", "brier",
            "ece", "log_loss")
LOWER_IS_BETTER = ("brier", "ece", "log_loss")
BINS = 10            # of the reliability diagram and of the calibration error
AT_ONCE = 1000       # draws of the bootstrap in memory, at most
DRAWN = 20_000_000   # numbers of draws times points (or units) in memory, at most
PAIRS = 4_000_000    # pairs of units, up to which these are counted instead of points
SURELY = 1e-6        # log loss moves probabilities this far from 0 and 1: one landslide at 0 would make it infinite


def all_measures(label: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """MEASURES of probabilities (n,) against labels (n,) of 0 and 1.

    Their formulas are written out: scikit-learn's functions, which the tests compare with, take fifteen times as long,
    nearly all of it for looking at their arguments, and there are thousands of blocks.
    The first seven count a landslide as predicted where probability >= THRESHOLD. Balanced accuracy, MCC, AUROC and
    PR-AUC are nan where only one class is present, and kappa where labels and predictions are all of one class: their
    formulas give 0 / 0 there.
    """
    label, probability = np.asarray(label), np.asarray(probability, float)
    if not len(label) or not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("probabilities: expected one or more from 0 to 1, found others or none")
    predicted, landslide, nan = probability >= THRESHOLD, label == 1, float("nan")
    (hits, misses), (alarms, rejected) = ([int((of & p).sum()) for p in (predicted, ~predicted)]
                                          for of in (landslide, ~landslide))
    both, mixed = len(np.unique(label)) == 2, len(np.unique([landslide, predicted])) == 2
    found = {name: float(value[0]) for name, value in weighted(label, probability, np.ones((1, len(label)))).items()}
    spread = math.sqrt((hits + alarms) * (hits + misses) * (rejected + alarms) * (rejected + misses))
    true = np.where(landslide, probability, 1 - probability)  # probability of the class that a point has
    found |= {
        "balanced_accuracy": (hits / (hits + misses) + rejected / (rejected + alarms)) / 2 if both else nan,
        "precision": hits / max(hits + alarms, 1),
        "recall": hits / max(hits + misses, 1),
        "f1": 2 * hits / max(2 * hits + alarms + misses, 1),
        "kappa": found["kappa"] if both else 0.0 if mixed else nan,
        "mcc": ((hits * rejected - alarms * misses) / spread if spread else 0.0) if both else nan,
        "pr_auc": metrics.average_precision_score(label, probability) if both else nan,
        "ece": calibration_error(label, probability),
        "log_loss": -float(np.log(np.clip(true, SURELY, 1 - SURELY)).mean()),
    }
    return {name: found[name] for name in MEASURES}


def reliability_bins(label: np.ndarray, probability: np.ndarray, bins: int = BINS) -> tuple[np.ndarray, ...]:
    """Samples, mean probability and share of landslides in equal bins of probability, each (bins,); nan where empty."""
    place = np.clip((np.asarray(probability) * bins).astype(int), 0, bins - 1)
    n = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        return n, np.bincount(place, probability, bins) / n, np.bincount(place, label, bins) / n


def calibration_error(label: np.ndarray, probability: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error: the mean over bins of |mean probability - share of landslides|, weighted by their
    samples (Naeini et al. 2015, AAAI 29, 2901)."""
    n, mean, share = reliability_bins(label, probability, bins)
    return float(np.nansum(n * np.abs(mean - share)) / n.sum())


def rate_curve(landslides: np.ndarray, area: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The share of landslides on the most susceptible `shares` of the area (Chung and Fabbri 2003, Natural Hazards 30,
    451): the success-rate curve for landslides a model learned from, the prediction-rate curve for others.

    landslides  (n,) their scores; area (cells,) the scores of cells of equal size; shares (k,) of the area, 0 .. 1
    Where cells tie at the limit of a share, their landslides count in proportion. The whole area holds all landslides,
    also landslides that score below every cell.
    """
    order = np.unique(area)[::-1]  # limits, from the most susceptible
    covered = 1 - np.searchsorted(np.sort(area), order) / len(area)  # share of area at or above each limit
    caught = 1 - np.searchsorted(np.sort(landslides), order) / len(landslides)
    caught[-1] = 1
    return np.interp(shares, [0, *covered], [0, *caught])


# ------------------------------------------------------------------------------------- differences, with their interval
@dataclass(frozen=True)
class Scored:
    """Query points of one seed, scored by some methods: unit (n,), label (n,), scores (methods, n)."""

    unit: np.ndarray
    label: np.ndarray
    scores: np.ndarray

    @cached_property
    def level(self) -> np.ndarray:
        """(methods, n) int32: the rank of every score among the scores of its method; equal scores have the same."""
        return np.stack([level_of(p) for p in self.scores])


def level_of(probability: np.ndarray) -> np.ndarray:
    """The rank (n,) int32 of each probability (n,); equal ones have the same."""
    return np.unique(probability, return_inverse=True)[1].astype(np.int32)


def bootstrap(seeds: list[Scored], resamples: int, rng: np.random.Generator, by_points: bool = False
              ) -> dict[str, np.ndarray]:
    """kappa, auroc, brier and accuracy of every method under resampled units, each (resamples, methods).

    Units (blocks, or squares) are drawn with replacement, the same ones for every method and seed: points of a unit are
    not independent, and a unit may be held out under several seeds. A measure is the mean over the seeds that have it:
    a seed (or fold) with none of the drawn units, or with one class among them, has no AUROC and no kappa. `by_points`:
    each seed counts as many times as it has points, for folds that differ much in size. With
    resamples = 0 every unit counts once: one row, the measures themselves. However many points there are, DRAWN bounds
    the memory.
    """
    units = np.unique(np.concatenate([s.unit for s in seeds]))
    n = len(units)
    if not resamples:
        return _under(np.ones((1, n)), units, seeds, by_points)
    at_once = max(1, min(AT_ONCE, DRAWN // max(n, *(len(s.unit) for s in seeds))))
    some = [_under(rng.multinomial(n, np.full(n, 1 / n), size=min(at_once, resamples - done)), units, seeds,
                   by_points)
            for done in range(0, resamples, at_once)]
    return {name: np.concatenate([values[name] for values in some]) for name in some[0]}


def _under(times: np.ndarray, units: np.ndarray, seeds: list[Scored], by_points: bool) -> dict[str, np.ndarray]:
    """The measures, each (resamples, methods), when every unit counts so often: times (resamples, units)."""
    sums, counts = (dict.fromkeys(("kappa", "auroc", "brier", "accuracy"), 0.0) for _ in range(2))
    for s in seeds:
        own, of_unit = np.unique(np.searchsorted(units, s.unit), return_inverse=True)
        if len(own) ** 2 <= PAIRS:
            each = [_by_units(s.label, p, of_unit, times[:, own]) for p in s.scores]
        else:
            weight = times[:, own[of_unit]].astype(np.float32)  # (resamples, n)
            each = [weighted(s.label, p, weight, level) for p, level in zip(s.scores, s.level, strict=True)]
        points = (times[:, own] @ np.bincount(of_unit))[:, None] if by_points else 1
        for name in sums:
            values = np.stack([m[name] for m in each], axis=1)
            sums[name] = sums[name] + np.nan_to_num(values) * points
            counts[name] = counts[name] + np.isfinite(values) * points
    with np.errstate(invalid="ignore"):
        return {name: sums[name] / counts[name] for name in sums}


def _by_units(label: np.ndarray, probability: np.ndarray, unit: np.ndarray, times: np.ndarray) -> dict[str, np.ndarray]:
    """As `weighted`, where all points of a unit count alike: times (resamples, units), unit (n,) from 0 on.

    A draw then costs units squared, however many points there are: how often a landslide of one unit scores above a
    non-landslide of another is counted once.
    """
    units, predicted = times.shape[1], probability >= THRESHOLD
    cell = {(t, p): times @ np.bincount(unit[(label == t) & (predicted == p)], minlength=units)
            for t in (0, 1) for p in (False, True)}
    pairs, landslide = np.empty((units, units)), label == 1
    for u in range(units):
        lower = np.sort(probability[~landslide & (unit == u)])
        below = sum(np.searchsorted(lower, probability[landslide], side) for side in ("left", "right")) / 2
        pairs[:, u] = np.bincount(unit[landslide], below, units)
    errors = times @ np.bincount(unit, (probability - label) ** 2, units)
    return _of_sums(cell, errors, ((times @ pairs) * times).sum(axis=1))


def weighted(label: np.ndarray, probability: np.ndarray, weight: np.ndarray, level: np.ndarray | None = None
             ) -> dict[str, np.ndarray]:
    """kappa, AUROC, Brier score and accuracy under many weightings of the points at once.

    label, probability (n,); weight (resamples, n); level as of `level_of`, where it is known already. Each measure
    (resamples,) equals scikit-learn's with this sample_weight, and is nan for kappa and AUROC where one class has all
    the weight; scikit-learn would sort the points again for every weighting.
    """
    predicted = probability >= THRESHOLD
    cell = {(t, p): weight @ ((label == t) & (predicted == p)) for t in (0, 1) for p in (False, True)}
    level = level_of(probability) if level is None else level
    positive, negative = (np.stack([np.bincount(level, w * (label == t)) for w in weight]) for t in (1, 0))
    below = np.cumsum(negative, axis=1) - negative / 2
    return _of_sums(cell, weight @ (probability - label) ** 2, (positive * below).sum(axis=1))


def _of_sums(cell: dict, errors: np.ndarray, above: np.ndarray) -> dict[str, np.ndarray]:
    """The measures of sums of weights, each (resamples,): by label and prediction, of squared errors, and of the pairs
    in which a landslide scores above a non-landslide, ties half."""
    landslides, others = cell[1, False] + cell[1, True], cell[0, False] + cell[0, True]
    total = landslides + others
    with np.errstate(invalid="ignore", divide="ignore"):  # of one class, or weighted 0 throughout
        agree = (cell[0, False] + cell[1, True]) / total
        truly, said = landslides / total, (cell[0, True] + cell[1, True]) / total
        chance = truly * said + (1 - truly) * (1 - said)
        kappa = np.where((truly > 0) & (truly < 1), (agree - chance) / (1 - chance), np.nan)
        return {"kappa": kappa, "auroc": above / (landslides * others), "brier": errors / total, "accuracy": agree}


def before_and_after(held_out: pd.DataFrame) -> pd.DataFrame:
    """Measures before and after adaptation, over all of stage 3's held-out query points and of every block."""
    rows = []
    for name, part in [("all", held_out), *held_out.groupby("block")]:
        for adapted in ("before", "after"):
            rows.append({"block": name, "adapted": adapted, "samples": len(part), "landslides": part.label.sum()}
                        | all_measures(part.label, part[f"score_{adapted}"]))
    return pd.DataFrame(rows)
