"""Rivals as their users would run them: logistic regression, additive models, and trees whose settings are chosen
inside the labelled points.

Each is a function (split, rng) -> predict, as in baselines.py. Settings are chosen by validation: the labelled points
are cut into folds in the way in which the query was cut off, each fold is predicted by a model of the others, and the
settings with the lowest log loss over all these predictions are taken. No query point takes part.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import product

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, SplineTransformer, StandardScaler

from lsm.comparison.rivals import boosting as trees
from lsm.comparison.rivals.baselines import TREES, features_of, fitted
from lsm.comparison.splits import Split, along_a_line, partition, squares
from lsm.learner.support.dates import NEWER, newest

FOLDS = 3                        # of the validation by random folds; 2 where blocks are cut by a line
PENALTIES = (0.003, 0.03, 0.3, 3.0)  # C of logistic regression: small is strong
KNOTS = np.linspace(-3, 3, 7)    # of splines, in standard deviations
MEMBERS = 6                      # of a mean of boosting models, as many as networks make the map
LEAVES = (1, 5, 20)              # least samples of a leaf, of random forests; scikit-learn's own is the first
TRIED = 50                       # trees of a forest that is only tried
RATES = (0.03, 0.1)              # learning rates of boosting
NUMBERS = (25, 50, 100, 200, 350, 500)  # of trees of boosting
SURELY = 1e-4                    # log loss moves probabilities this far from 0 and 1: one leaf must not decide alone


def logistic(*parts: str) -> Callable:
    """Logistic regression without a penalty on standardised factors, classes one-hot; "xy" adds X and Y.

    Without a penalty, scaling changes no prediction: this is R's glm(family = binomial) on the raw factors, classes
    given as factor(). Aspect stays in degrees, as the field has it.
    """
    def method(split: Split, rng) -> Callable:
        features, kinds = features_of(parts, split), [f.kind for f in split.described]
        classes = [j for j, kind in enumerate(kinds) if kind == "categorical"]
        numbers = [j for j in range(len(kinds) + 2 * len(parts)) if j not in classes]  # X, Y follow the factors
        inputs = ColumnTransformer([("numbers", StandardScaler(), numbers),
                                    ("classes", OneHotEncoder(handle_unknown="ignore"), classes)])
        return fitted(make_pipeline(inputs, LogisticRegression(C=np.inf, max_iter=1000)), features, split)

    return method


def penalised(splines: bool = False) -> Callable:
    """Logistic regression on the encoded factors (sine and cosine of aspect, classes one-hot); the validation chooses
    the penalty. With splines, cubic ones of every number: an additive model, as R's mgcv fits them."""
    def method(split: Split, rng) -> Callable:
        x = split.x[split.labelled]
        many = np.array([len(np.unique(column)) > len(KNOTS) for column in x.T])
        knots = np.repeat(KNOTS[:, None], many.sum(), axis=1)
        bent = ColumnTransformer([("numbers", SplineTransformer(knots=knots, extrapolation="constant"), many)],
                                 remainder="passthrough")

        def model(penalty: float):
            return make_pipeline(*[bent] * bool(splines and many.any()), LogisticRegression(C=penalty, max_iter=1000))

        def tried(x, y, asked) -> Callable:
            return lambda penalty: model(penalty).fit(x, y).predict_proba(asked)[:, 1]

        penalty = best([PENALTIES], split, lambda known: split.encoded, tried, rng)
        return fitted(model(penalty), split.encoded, split)

    return method


def folds_like_the_query(split: Split, rng) -> np.ndarray:
    """The fold (labelled points,) of each labelled point: cut at random, by a line through each block, by k-means of
    places or by squares, as split.cut says; places and squares into as many folds as the query's, since fewer and
    larger ones would lie farther from their training points than the query does. Cut by years, the newest landslides
    are the only fold, with as large a share of the other points; -1: older, in no fold."""
    rows = np.flatnonzero(split.labelled)
    if split.cut == "years":
        year, absent = split.year[rows], split.label[rows] == 0
        newer = year >= newest(year, NEWER)
        newer[absent] = rng.random(absent.sum()) < newer[~absent].mean()
        return np.where(newer, 0, -1)
    if split.cut == "random":
        return rng.permutation(len(rows)) % FOLDS
    if split.cut == "places":
        return partition(split.xy[rows], min(split.folds, len(rows)), rng)
    if split.cut == "squares":
        return squares(split.xy[rows], np.ones(len(rows), bool), split.side, split.folds, rng)
    fold = np.zeros(len(rows), int)
    for block in np.unique(split.block[rows]):
        own = np.flatnonzero(split.block[rows] == block)
        fold[own[along_a_line(split.xy[rows[own]], rng)[len(own) // 2:]]] = 1
    return fold


def validation(split: Split, features_by: Callable, rng) -> Iterator[tuple]:
    """Features and labels of the training points, then of the points to predict, of every fold in turn. A fold whose
    training points hold one class, or none, is left out.

    features_by  (training points, (points,) bool) -> (rows) -> features
    """
    rows, fold = np.flatnonzero(split.labelled), folds_like_the_query(split, rng)
    for k in range(fold.max() + 1):
        known, asked = (np.isin(np.arange(len(split.role)), rows[of]) for of in (fold != k, fold == k))
        if known.any() and 0 < split.label[known].mean() < 1:
            x = features_by(known)(split)
            yield x[known], split.label[known], x[asked], split.label[asked]


def best(paths: Sequence[Sequence], split: Split, features_by: Callable, tried: Callable, rng):
    """The setting with the lowest log loss over all folds; the middle one of the middle path where no fold can be
    predicted. A path lists settings that grow; its search ends where the loss rises.

    features_by  as of `validation`
    tried        (features, label, features of the asked) -> a function (setting) -> probabilities of the asked, which
                 is called with the settings of a path in their order
    """
    folds = list(validation(split, features_by, rng))
    if not folds:
        path = paths[len(paths) // 2]
        return path[len(path) // 2]
    truth, losses = np.concatenate([label for *_, label in folds]), {}
    for path in paths:
        models, lowest = [tried(*fold) for *fold, _ in folds], np.inf
        for setting in path:
            p = np.clip(np.concatenate([predict(setting) for predict in models]), SURELY, 1 - SURELY)
            losses[setting] = log_loss(truth, p, labels=[0, 1])
            if losses[setting] > lowest:
                break
            lowest = losses[setting]
    return min(losses, key=losses.get)


def tuned_forest(*parts: str) -> Callable:
    """A random forest of 200 trees as scikit-learn grows it, and one whose least number of samples of a leaf the
    validation chooses: (split, rng) -> (predict by the first, predict by the second)."""
    def method(split: Split, rng) -> tuple[Callable, Callable]:
        state = int(rng.integers(1 << 31))

        def tried(x, y, asked) -> Callable:
            return lambda leaf: RandomForestClassifier(TRIED, min_samples_leaf=leaf, random_state=state).fit(
                x, y).predict_proba(asked)[:, 1]

        @cache
        def forest(leaf: int) -> Callable:
            model = RandomForestClassifier(TREES, min_samples_leaf=leaf, random_state=state)
            return fitted(model, features_of(parts, split), split)

        leaf = best([[leaf] for leaf in LEAVES], split, partial(features_of, parts, split), tried, rng)
        return lambda rows: forest(LEAVES[0])(rows), forest(leaf)

    return method


def tuned_boosting(*parts: str, members: int = MEMBERS) -> Callable:
    """Gradient boosting whose learning rate and number of trees the validation chooses, and the mean of several such
    models: (split, rng) -> (predict by the first, predict by the mean). They see half of the features at each split and
    have an L2 penalty, as models to be averaged have."""
    more = {"max_features": 0.5, "l2_regularization": 1.0}

    def method(split: Split, rng) -> tuple[Callable, Callable]:
        state = int(rng.integers(1 << 31))

        def tried(x, y, asked) -> Callable:
            @cache
            def model(rate: float):
                return trees.unfitted(state, rate, warm_start=True, **more)

            def grown(setting: tuple[float, int]) -> np.ndarray:
                rate, number = setting
                return trees.fit_on_one_thread(model(rate).set_params(max_iter=number), x, y).predict_proba(asked)[:, 1]

            return grown

        features = features_of(parts, split)
        paths = [list(product([rate], NUMBERS)) for rate in RATES]
        rate, number = best(paths, split, partial(features_of, parts, split), tried, rng)
        x, y = features(split)[split.labelled], split.label[split.labelled]
        models = [trees.boosted(x, y, state + m, rate=rate, trees=number, **more) for m in range(members)]

        def mean_of(some: list, rows) -> np.ndarray:
            return np.mean([model.predict_proba(features(rows))[:, 1] for model in some], axis=0)

        return partial(mean_of, models[:1]), partial(mean_of, models)

    return method
