"""Where the direct path starts: an additive model, fitted to the labelled points before the first outer step.

Few outer steps cannot find, say, that landslides lie between two heights; a convex fit finds it at once. Its weights
have normal priors: one variance for the classes and flags together, one for the slopes of all numbers, and one for the
bends of each number, so that a curve that the points do not ask for stays straight. The variances make the labels
most likely; they are found by expectation and maximisation with a normal approximation of the posterior (MacKay 1992,
Neural Computation 4, 720; for additive models Wood 2011, Journal of the Royal Statistical Society B 73, 3).

Points near each other tell much the same, and the likelihood takes each for a witness of its own. Only a share of them
should be counted: the log-likelihood is multiplied by it (a power likelihood: Holmes and Walker 2017, Biometrika 104,
497). Which share is best shows where whole places are held out (spatial validation: Roberts et al. 2017, Ecography 40,
913), but roughly, by a few folds. The fit is therefore the mean of the fits by all shares, each counted as often
as it would be the best one if the folds were drawn anew (bootstrapped weights: Yao et al. 2018, Bayesian Analysis 13,
917). A mean of curves is a curve.
"""

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from lsm.learner.additive.direct_path import BENDS, KNOTS, bending, inputs_of_path
from lsm.learner.members import PLACE
from lsm.learner.prediction import log_odds
from lsm.learner.tasks import EncodedSamples
from lsm.run.settings import InputError

ROUNDS = 20                  # of expectation and maximisation, at most
SETTLED = 0.02               # of the logarithm of a variance: less change ends them
FIRST, LEAST, MOST = 0.3, 1e-4, 10.0  # variances: at the start, and their bounds
POINTS = 20_000              # to fit to, drawn at random where there are more: memory stays bounded
SHARES = (1.0, 0.5, 0.25, 0.1, 0.05)  # of the points that may count
FOLDS = 5                    # of places, which the shares are judged by
DRAWS = 2_000                # of the folds
FEWEST = 50                  # points that count; a share that leaves fewer is not tried


def start_paths(kinds: list, states: list, samples: EncodedSamples, known: np.ndarray, rng: np.random.Generator
                ) -> float:
    """Changes the direct paths, and the biases of the logits, in the `states` of all members whose kind bends: the mean
    log-odds of a kind's members then equal the log-odds of the fitted model. "fitted" of a state keeps these weights.

    known  (samples,) bool: the samples to fit to; no other sample is read
    Returns the share of them that counts, the mean over fits; 0 where nothing is fitted. Raises InputError where the
    members give, or the fit ends with, no finite numbers.
    """
    rows = np.flatnonzero(known)
    rows, trust = np.sort(rng.permutation(rows)[:POINTS]), None
    for kind, members in zip(kinds, states, strict=True):
        if not kind.bends:
            continue
        weights = [state["weights"] for state in members]
        x = samples.x[rows, :len(weights[0][0])]
        # What the members already know is kept. Before their first step normalised ones know nothing.
        with np.errstate(over="ignore", invalid="ignore"):  # reported below, in one line
            offset = np.zeros(len(x)) if kind.normalise else np.mean([log_odds(w, x) for w in weights], axis=0)
        if not np.isfinite(offset).all():
            raise InputError(f"{kind.name} members, before the first outer step: expected finite log-odds, found "
                             "others; start from another model (START_FROM), or from none")
        given = len(weights[0][-1]), PLACE * kind.place, samples.label[rows], samples.weight[rows], offset
        if trust is None:  # of the first kind, and then of all
            trust = trust_in_shares(x, samples.xy[rows], *given)
        fits = [(of, fitted_curves(x, *given, share)) for share, of in zip(SHARES, trust, strict=True) if of]
        curves, bias = (sum(np.float32(of) * fit[i] for of, fit in fits) for i in (0, 1))
        for state, w in zip(members, weights, strict=True):
            w[-1] = w[-1] + curves[:, None] * np.float32([-0.5, 0.5])
            w[-2] = w[-2] + bias * np.float32([-0.5, 0.5])
            state["fitted"] = list(w)
    return 0.0 if trust is None else float(trust @ SHARES)


@threadpool_limits.wrap(1)  # the same sums in the same order, whatever the number of threads
def trust_in_shares(x: np.ndarray, xy: np.ndarray, rows: int, place: int, label: np.ndarray, weight: np.ndarray,
                    offset: np.ndarray) -> np.ndarray:
    """How often (shares,) each of SHARES has the lowest log loss on places (folds by k-means) that are held out, if the
    folds are drawn anew (Rubin 1981, The Bayesian Bootstrap, Annals of Statistics 9, 130); all for a share of 1 where
    there are too few places for folds. xy (n, 2); other arguments as of `fitted_curves`."""
    tried = [share for share in SHARES if share == 1 or share * len(x) >= FEWEST]
    loss = np.zeros((FOLDS, len(tried)))
    if len(np.unique(xy, axis=0)) >= FOLDS:
        fold = KMeans(FOLDS, n_init=10, random_state=0).fit_predict(xy)
        for k in range(FOLDS):
            teach, ask = fold != k, fold == k
            if len(np.unique(label[teach])) < 2:
                continue
            parts, sign = inputs_of_path(x[ask], rows), np.where(label[ask] == 1, 1, -1)
            for i, share in enumerate(tried):
                curves, bias = fitted_curves(x[teach], rows, place, label[teach], weight[teach], offset[teach], share)
                loss[k, i] = weight[ask] @ np.logaddexp(0, -sign * (offset[ask] + parts @ curves + bias))
    drawn = np.random.default_rng(0).dirichlet(np.ones(FOLDS), DRAWS) @ loss
    return np.bincount(drawn.argmin(axis=1), minlength=len(SHARES)) / DRAWS


def fitted_curves(x: np.ndarray, rows: int, place: int, label: np.ndarray, weight: np.ndarray, offset: np.ndarray,
                  share: float = 1.0) -> tuple[np.ndarray, np.float32]:
    """The curves (rows,) float32, as rows of w5, and the bias that fit labels (n,) best after log-odds `offset` (n,).

    x       (n, inputs) float32; its last `place` columns get no curve
    weight  (n,) of each point in the likelihood
    share   of the points that counts
    Raises InputError where the fit ends with no finite numbers.
    """
    inputs = x.shape[1]
    bends = np.tile(np.arange(bending(inputs, rows)), BENDS)
    of_input = np.concatenate([np.arange(inputs), bends])
    number = np.array([len(np.unique(column)) > len(KNOTS) for column in x.T])  # not a class, not a flag
    group = np.where(number[of_input], 1, 0)
    group[inputs:] = 2 + bends
    parts = inputs_of_path(x, rows)
    used = (of_input < inputs - place) & (np.ptp(parts, axis=0) > 0) & (number[of_input] | (np.arange(rows) < inputs))
    curves = np.zeros(rows, np.float32)
    _, group = np.unique(group[used], return_inverse=True)
    parts = np.column_stack([parts[:, used], np.ones(len(x))])  # float64; 300 classes have 2,100 rows, few used
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # reported below, in one line
            found = _most_likely(parts, group, np.where(label == 1, 1.0, -1.0),
                                 share * weight.astype(np.float64), offset.astype(np.float64))
    except (np.linalg.LinAlgError, ValueError):  # a curvature without an inverse; one that is no number
        found = np.array([np.nan])
    if not np.isfinite(found).all():
        raise InputError("the fit of curves, before the first outer step: expected finite weights, found others; look "
                         "for extreme values among factors and weights of the samples")
    curves[used] = found[:-1]
    return curves, np.float32(found[-1])


def _most_likely(parts: np.ndarray, group: np.ndarray, sign: np.ndarray, weight: np.ndarray, offset: np.ndarray
                 ) -> np.ndarray:
    """Weights (columns,) of `parts` (n, columns), the last of which is the bias and has no prior.

    group  (columns - 1,) of each other weight: weights of a group share a variance
    """
    size = np.maximum(np.bincount(group, minlength=1), 1)
    variance, w, bias = np.full(len(size), FIRST), np.zeros(parts.shape[1]), np.zeros(1)

    def loss(w, precision):
        return weight @ np.logaddexp(0, -sign * (offset + parts @ w)) + precision @ (w * w) / 2

    def slope(w, precision):
        return precision * w - (weight * sign * expit(-sign * (offset + parts @ w))) @ parts

    def curvature(w, precision):
        p = expit(offset + parts @ w)
        return (parts * (weight * p * (1 - p))[:, None]).T @ parts + np.diag(precision)

    with threadpool_limits(1, "blas"):  # the last digit does not depend on the number of threads
        for _ in range(ROUNDS):
            precision = np.append(1 / variance[group], bias)
            w = minimize(loss, w, precision, "trust-exact", slope, curvature).x
            spread = np.diag(np.linalg.inv(curvature(w, precision)))[:-1]
            before = variance
            variance = np.clip(np.bincount(group, w[:-1] ** 2 + spread, len(size)) / size, LEAST, MOST)
            if np.abs(np.log(variance / before)).max() < SETTLED:
                break
    return w
