"""The direct path of a network: log-odds as a sum of curves, one an input, beside what the hidden layers add.

A sum of curves is an additive model (Hastie and Tibshirani 1986, Statistical Science 1, 297). A curve is linear between
the knots and beyond them. The weights w5 of a path with n inputs, of which the first m bend, have n + BENDS * m rows: a
row for each input, the slope everywhere; then, for each pair of neighbouring knots, a row for each input that bends,
what its slope between these knots has more. X and Y do not bend: kinks of theirs would be straight lines on the map.
"""

import itertools

import numpy as np

from lsm.run.code import compiled

KNOTS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)  # in standard deviations of an input
BENDS = len(KNOTS) - 1


def rows_of_path(inputs: int, bending: int) -> int:
    """Rows of w5 where the first `bending` of the inputs bend."""
    return inputs + BENDS * bending


def bending(inputs: int, rows: int) -> int:
    """How many of the inputs bend, by the rows of w5; none where all curves are straight lines."""
    return (rows - inputs) // BENDS


def nearest_to_zero(a: float, b: float) -> float:
    """Where the part of a curve between the knots a and b is zero: an input of 0, its mean, adds nothing."""
    return min(max(0.0, a), b)


def inputs_of_path(x: np.ndarray, rows: int) -> np.ndarray:
    """What the rows of w5 are multiplied with, (..., rows) in x's float type, of x (..., inputs)."""
    bends = x[..., :bending(x.shape[-1], rows)]
    return np.concatenate([x] + [np.clip(bends, a, b) - x.dtype.type(nearest_to_zero(a, b))
                                 for a, b in itertools.pairwise(KNOTS)], axis=-1)


# What each bend counts at each knot, (knots, BENDS)
_AT_KNOTS = np.array([[np.clip(knot, a, b) - nearest_to_zero(a, b) for a, b in itertools.pairwise(KNOTS)]
                      for knot in KNOTS])


def curves(x: np.ndarray, path: np.ndarray) -> np.ndarray:
    """What each input adds to the log-odds, (n, inputs) float32; x and path as of `add_curves`."""
    levels, slopes = _levels_and_slopes(path, x.shape[1])
    piece = np.searchsorted(KNOTS, x, side="right")
    return np.take_along_axis(levels, piece, axis=0) + np.take_along_axis(slopes, piece, axis=0) * x


def add_curves(z: np.ndarray, x: np.ndarray, path: np.ndarray) -> None:
    """Adds the curves of x (n, inputs) float32 to the log-odds z (n,) float32.

    path  (rows,) float32: the landslide's column of w5 less the other one
    """
    _add_curves(z, x, *_levels_and_slopes(path, x.shape[1]))


def _levels_and_slopes(path: np.ndarray, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Each curve as level + slope * x: (BENDS + 2, inputs) float32 each; below the first knot, between knots, above."""
    many = bending(inputs, len(path))
    bent = np.asarray(path[inputs:], np.float64).reshape(BENDS, many)
    at_knots = _AT_KNOTS @ bent
    levels, slopes = np.zeros((BENDS + 2, inputs)), np.zeros((BENDS + 2, inputs))
    slopes[1:-1, :many] = bent
    levels[0, :many], levels[-1, :many] = at_knots[0], at_knots[-1]
    levels[1:-1, :many] = at_knots[:-1] - bent * np.array(KNOTS[:-1])[:, None]
    return levels.astype(np.float32), (slopes + path[:inputs]).astype(np.float32)


@compiled
def _add_curves(z, x, levels, slopes):
    """z + the sum over inputs of levels + slopes * x, each of its piece of the curve. Knots lie 1 apart."""
    last = levels.shape[0] - 1
    for i in range(x.shape[0]):
        added = np.float32(0)
        for j in range(x.shape[1]):
            from_first = x[i, j] - np.float32(KNOTS[0])
            piece = 0  # below the first knot; of nan too, which stays nan
            if from_first >= 0:
                piece = int(from_first) + 1 if from_first < last - 1 else last
            added += levels[piece, j] + slopes[piece, j] * x[i, j]
        z[i] += added
