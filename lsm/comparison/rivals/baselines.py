"""The published baselines and simple methods, each fitted on the labelled points of a split.

Each method is a function (split, rng) -> predict, and predict is a function (splits.PredictedRows) -> landslide
probabilities. The same fitted model scores the asked points of the split and predicts the cells of a map. SVM, MLP and
RF have the published settings. Scalers, block statistics, calibration and hyper-parameters come from labelled points
alone.
"""

import warnings
from collections.abc import Callable
from functools import cache

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, make_scorer
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from lsm.comparison.rivals.boosting import boosted, within_block
from lsm.comparison.splits import PredictedRows, Split

TREES = 200          # of the random forests; published 200
EPOCHS = 60          # of networks trained by scikit-learn, at most; not published
NEIGHBOURS = (1, 3, 5, 10, 20, 40)  # cross-validation chooses k of the k nearest neighbours among these


def fitted(model, features: Callable, split: Split) -> Callable:
    """The fitted method of a scikit-learn model; features: (rows or split) -> (rows, features)."""
    model.fit(features(split)[split.labelled], split.label[split.labelled])
    return lambda rows: model.predict_proba(features(rows))[:, 1]


def fitted_network(model, features: Callable, split: Split) -> Callable:
    """`fitted` of a network, without scikit-learn's warning that EPOCHS ended first: their number is fixed on purpose.
    """
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        return fitted(model, features, split)


def _drawn_seed(rng) -> int:
    return int(rng.integers(1 << 31))


def features_of(parts: tuple[str, ...], split: Split, known: np.ndarray | None = None) -> Callable:
    """The function (rows) -> (rows, features): the factors and, of the parts named, "xy" and "block".

    "block" stands for the factors within the block, scaled by the points `known` (points,) bool; None: the labelled.
    """
    if "block" in parts:
        scaled = within_block(split.factors, split.block, split.labelled if known is None else known, split.block_count)

    def features(rows: PredictedRows | Split) -> np.ndarray:
        more = {"xy": lambda: rows.xy, "block": lambda: scaled(rows.factors, rows.block)}
        return np.column_stack([rows.factors, *(more[part]() for part in parts)])

    return features


def svm(split: Split, rng) -> Callable:
    """RBF kernel, C = 1, gamma = 1 / (2 var X), as published.

    Platt's sigmoid turns decision values into probabilities. It is fitted by cross-validation on two random halves.
    Halves in the order of the points would lie in different blocks; a machine of one half that ranks the other half
    the wrong way round would invert the sigmoid, and with it every score.
    """
    machine = SVC(C=1, gamma=1 / (2 * split.x[split.labelled].var()), cache_size=1000, random_state=_drawn_seed(rng))
    halves = StratifiedKFold(2, shuffle=True, random_state=_drawn_seed(rng))
    return fitted(CalibratedClassifierCV(machine, cv=halves, ensemble=False), split.encoded, split)


def mlp(split: Split, rng) -> Callable:
    """32-32-16, ReLU, Adam, alpha .01, batches of 32, as published."""
    network = MLPClassifier((32, 32, 16), alpha=0.01, batch_size=32, max_iter=EPOCHS, random_state=_drawn_seed(rng))
    return fitted_network(network, split.encoded, split)


def random_forest(split: Split, rng) -> Callable:
    """200 trees, as published."""
    return fitted(RandomForestClassifier(TREES, random_state=_drawn_seed(rng)), features_of((), split), split)


def boosting(*parts: str) -> Callable:
    """Gradient boosting on the factors and, of the parts named, "xy" and "block" (factors within the block)."""
    def method(split: Split, rng) -> Callable:
        features = features_of(parts, split)
        model = boosted(features(split)[split.labelled], split.label[split.labelled], _drawn_seed(rng))
        return lambda rows: model.predict_proba(features(rows))[:, 1]

    return method


def random_forest_of_block(split: Split, rng) -> Callable:
    """A random forest for each block, fitted on the block's own labelled points when the block is first asked for. A
    block whose points hold one class gets that class everywhere."""
    everywhere = split.label[split.labelled].mean()  # for blocks without any labelled point

    @cache
    def of_block(b: int):
        own = (split.block == b) & split.labelled
        if not own.any():
            return None
        return RandomForestClassifier(TREES, random_state=_drawn_seed(rng)).fit(split.factors[own], split.label[own])

    def predict(rows) -> np.ndarray:
        out = np.full(len(rows.block), everywhere)
        for b in np.unique(rows.block):
            asked, model = rows.block == b, of_block(int(b))
            if model:
                p = model.predict_proba(rows.factors[asked])
                out[asked] = p[:, -1] if len(model.classes_) == 2 else float(model.classes_[0])
        return out

    return predict


def nearest_neighbours(split: Split, rng) -> Callable:
    """k nearest labelled points by X and Y alone, weighted by distance; k by cross-validation."""
    folds = StratifiedKFold(5, shuffle=True, random_state=_drawn_seed(rng))
    score = make_scorer(log_loss, greater_is_better=False, response_method="predict_proba", labels=[0, 1])
    search = GridSearchCV(KNeighborsClassifier(weights="distance"), {"n_neighbors": NEIGHBOURS}, cv=folds,
                          scoring=score)
    return fitted(search, lambda rows: rows.xy, split)


def block_rate(split: Split, rng) -> Callable:
    """The share of landslides among the labelled points of the block and one added point, which counts as the share of
    all."""
    everywhere = split.label[split.labelled].mean()
    n = np.bincount(split.block, split.labelled, split.block_count)
    landslides = np.bincount(split.block, split.labelled * split.label, split.block_count)
    rate = (landslides + everywhere) / (n + 1)
    return lambda rows: rate[rows.block]


def slope_alone(split: Split, rng) -> Callable:
    """Logistic regression on slope."""
    column = [factor.name for factor in split.described].index("slope")
    model = make_pipeline(StandardScaler(), LogisticRegression())
    return fitted(model, lambda rows: rows.factors[:, [column]], split)
