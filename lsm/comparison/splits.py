"""Which points a method may learn from and which it is scored on: the protocols of the comparison.

A split gives every point a role:

train    labelled points of blocks that are not held out
support  labelled points of held-out blocks, for every method to learn from
query    the points whose scores are quoted
unused   in no set
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from lsm.inputs.factor.definition import Factor
from lsm.learner.encoder import Encoder

UNUSED, TRAIN, SUPPORT, QUERY = range(4)
ROLES = ("unused", "train", "support", "query")


def repeated_rows(factors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Those of `rows` whose factors all equal the factors of an earlier row; factors (samples, factors).

    A model that saw the earlier row knows the repeated one, so they must not stand on both sides of a split.
    """
    _, first = np.unique(factors[rows], axis=0, return_index=True)
    return np.setdiff1d(rows, rows[first])


def eligible_blocks(block: np.ndarray, min_samples: int) -> np.ndarray:
    """Blocks with more than `min_samples` samples, ascending; block (samples,)."""
    blocks, counts = np.unique(block, return_counts=True)
    return blocks[counts > min_samples]


def few_shot_roles(block: np.ndarray, xy: np.ndarray, min_samples: int, candidates: np.ndarray, held_out: int, cut: str,
                   rng: np.random.Generator) -> np.ndarray:
    """Roles (samples,) int8: some blocks held out, one half of each their support and the other half the query.

    block       (samples,) of every sample, xy (samples, 2) its place
    candidates  the blocks that may be held out; `held_out` of them are drawn
    cut         "random": halves that interleave; "line": the two sides of a line in a random direction through the
                block's median
    """
    eligible = eligible_blocks(block, min_samples)
    drawn = np.sort(rng.permutation(candidates)[:held_out])
    role = np.where(np.isin(block, np.setdiff1d(eligible, drawn)), TRAIN, UNUSED).astype(np.int8)
    for b in drawn:
        rows = np.flatnonzero(block == b)
        order = along_a_line(xy[rows], rng) if cut == "line" else rng.permutation(len(rows))
        role[rows[order[:len(rows) // 2]]] = SUPPORT
        role[rows[order[len(rows) // 2:]]] = QUERY
    return role


def along_a_line(xy: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The order of places (n, 2) along a direction drawn at random."""
    angle = rng.uniform(0, 2 * np.pi)
    return np.argsort(xy @ [np.cos(angle), np.sin(angle)], kind="stable")


def squares(xy: np.ndarray, counted: np.ndarray, size: float, folds: int, rng: np.random.Generator) -> np.ndarray:
    """The fold (points,) of every place, whole squares of `size` metres at a time.

    xy (points, 2); counted (points,) bool: the points that are to be spread evenly over the folds. The squares come in
    random order; each goes to the fold that has the fewest counted points so far.
    """
    _, square = np.unique(np.floor(xy / size).astype(np.int64), axis=0, return_inverse=True)
    square = square.ravel()
    counts, filled = np.bincount(square, counted).astype(np.int64), np.zeros(folds, np.int64)
    fold = np.empty(len(counts), np.int64)
    for s in rng.permutation(len(counts)):
        fold[s] = filled.argmin()
        filled[fold[s]] += counts[s]
    return fold[square]


def partition(xy: np.ndarray, folds: int, rng: np.random.Generator, of: np.ndarray | None = None) -> np.ndarray:
    """The fold (points,) of every place by k-means of the places, from random starts: the spatial cross-validation of
    R's sperrorest (partition_kmeans) and mlr3 (Brenning 2012, IGARSS, 5372).

    xy (points, 2) m; of (points,) bool: the points that make the folds, None for all; each other joins the fold whose
    mean place is nearest
    """
    centred = xy - xy.mean(axis=0)  # squared distances of large coordinates would lose digits
    means = KMeans(folds, init="random", n_init=1, random_state=int(rng.integers(1 << 31)))
    with threadpool_limits(1):  # the same sums in the same order, whatever the number of threads
        return means.fit(centred if of is None else centred[of]).predict(centred)


def without_strip(role: np.ndarray, xy: np.ndarray, buffer: float, sample: np.ndarray) -> np.ndarray:
    """Roles (points,) in which no labelled point lies nearer than `buffer` m to a query sample: those are unused.

    sample (points,) bool: points with a label; cells of a held-out block, which lie in its support half too, do not
    count
    """
    query, taught = (role == QUERY) & sample, np.flatnonzero((role == TRAIN) | (role == SUPPORT))
    if not buffer or not query.any():
        return role
    distance, _ = cKDTree(xy[query]).query(xy[taught])
    out = role.copy()
    out[taught[distance < buffer]] = UNUSED
    return out


def without_twins(role: np.ndarray, factors: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """Roles (points,) in which no labelled point has the very factors (points, factors) of a query sample: those are
    unused. `repeated_rows` finds none where all factors count, but points may differ in a factor that a run leaves out.

    sample (points,) bool: points with a label; a sample may have the factors of its own cell
    """
    query, taught = (role == QUERY) & sample, np.flatnonzero((role == TRAIN) | (role == SUPPORT))
    _, group = np.unique(factors, axis=0, return_inverse=True)
    out = role.copy()
    out[taught[np.isin(group.ravel()[taught], group.ravel()[query])]] = UNUSED
    return out


@dataclass(frozen=True)
class PredictedRows:
    """What a fitted method predicts: factors (rows, factors) float32, xy (rows, 2) m, block (rows,)."""

    factors: np.ndarray
    xy: np.ndarray
    block: np.ndarray


@dataclass(frozen=True)
class Split:
    """What every method is given. The first axis of every array is the points; labels of query points are not read.

    factors  (points, factors) float32, described by `described`
    xy       (points, 2) m; label (points,) int32; block (points,); role (points,): UNUSED, TRAIN, SUPPORT or QUERY
    form     of the encoder
    blocks   how many there are, also those without any point; 0: the highest block of the points and all below it
    cut      how the query was cut off: at "random", by a "line" through each block, by k-means of "places", by
             "squares", or by "years", the newest; methods that validate do it in the same way
    side     of these squares, m
    folds    of places or squares
    year     (points,) of a landslide, nan where it is not known; None where the cut is not by years
    """

    factors: np.ndarray
    described: tuple[Factor, ...]
    xy: np.ndarray
    label: np.ndarray
    block: np.ndarray
    role: np.ndarray
    form: str
    blocks: int = 0
    cut: str = "places"
    side: float = 0.0
    folds: int = 5
    year: np.ndarray | None = None

    @property
    def block_count(self) -> int:
        """How many blocks there are, also those without any point."""
        return max(self.blocks, int(self.block.max()) + 1)

    @cached_property
    def labelled(self) -> np.ndarray:
        """(points,) bool: points with a label to learn from."""
        return (self.role == TRAIN) | (self.role == SUPPORT)

    @cached_property
    def asked(self) -> np.ndarray:
        """(points,) bool: points to score: the query, and the support for the success-rate curve."""
        return (self.role == QUERY) | (self.role == SUPPORT)

    @cached_property
    def seen(self) -> np.ndarray:
        """(points,) bool: points whose factors the encoder and the pretraining see, the labelled ones."""
        return self.labelled

    @cached_property
    def encoder(self) -> Encoder:
        """Fitted on the points `seen`."""
        return Encoder.fit(self.factors[self.seen], self.described, self.form, self.xy[self.seen])

    @cached_property
    def x(self) -> np.ndarray:
        """(points, inputs) float32: the encoded factors."""
        return self.encoder.transform(self.factors)

    def encoded(self, rows: "PredictedRows | Split") -> np.ndarray:
        """The encoded factors (rows, inputs) float32 of any rows."""
        return self.encoder.transform(rows.factors)

    def rows(self, chosen: np.ndarray) -> PredictedRows:
        """The chosen points, (points,) bool."""
        return PredictedRows(self.factors[chosen], self.xy[chosen], self.block[chosen])
