"""The methods ours is compared with, each fitted on the labelled points of a split and scoring its asked points.

Each is a function (split, rng) -> landslide probability of the asked points, in their order. SVM, MLP and RF have the
published settings; scikit-learn does the work. Scalers, block statistics, calibration and hyper-parameters come from
labelled points alone.
"""

import warnings

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from lsm.boosting import boosted
from lsm.splits import Split

TREES = 200          # of the random forests; published 200
EPOCHS = 60          # of networks trained by scikit-learn, at most; not published
NEIGHBOURS = (1, 3, 5, 10, 20, 40)  # of which k nearest neighbours takes the best in cross-validation


def fitted(model, x: np.ndarray, split: Split) -> np.ndarray:
    """The asked points' probabilities under a scikit-learn model of the labelled points; x (points, features)."""
    return model.fit(x[split.labelled], split.label[split.labelled]).predict_proba(x[split.asked])[:, 1]


def _state(rng) -> int:
    return int(rng.integers(1 << 31))


def svm(split: Split, rng) -> np.ndarray:
    """RBF kernel, C = 1, gamma = 1 / (2 var X), as published; probabilities by Platt's sigmoid, fitted on the decision
    values of the other one of two random halves. Halves in the order of the points would lie in different blocks: a
    machine that orders the other half's points wrongly turns the sigmoid, and with it every score, round."""
    x = split.x
    machine = SVC(C=1, gamma=1 / (2 * x[split.labelled].var()), cache_size=1000, random_state=_state(rng))
    halves = StratifiedKFold(2, shuffle=True, random_state=_state(rng))
    return fitted(CalibratedClassifierCV(machine, cv=halves, ensemble=False), x, split)


def mlp(split: Split, rng) -> np.ndarray:
    """32-32-16, ReLU, Adam, alpha .01, batches of 32, as published."""
    network = MLPClassifier((32, 32, 16), alpha=0.01, batch_size=32, max_iter=EPOCHS, random_state=_state(rng))
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):  # a fixed number of epochs is meant
        return fitted(network, split.x, split)


def random_forest(split: Split, rng) -> np.ndarray:
    """200 trees, as published."""
    return fitted(RandomForestClassifier(TREES, random_state=_state(rng)), split.factors, split)


def boosting(*parts: str):
    """Gradient boosting on the factors and, of the parts named, "xy" and "block" (factors within the block)."""
    def method(split: Split, rng) -> np.ndarray:
        more = {"xy": split.xy, "block": split.within_block} if "block" in parts else {"xy": split.xy}
        x = np.column_stack([split.factors, *(more[part] for part in parts)])
        model = boosted(x[split.labelled], split.label[split.labelled], _state(rng))
        return model.predict_proba(x[split.asked])[:, 1]

    return method


def random_forest_of_block(split: Split, rng) -> np.ndarray:
    """A random forest a block, on its own labelled points; a block of one class has that class for all."""
    out = np.full(len(split.label), split.label[split.labelled].mean())  # blocks without any: the share of all
    for b in np.unique(split.block[split.asked]):
        own, asked = (split.block == b) & split.labelled, (split.block == b) & split.asked
        if own.any():
            model = RandomForestClassifier(TREES, random_state=_state(rng)).fit(split.factors[own], split.label[own])
            p = model.predict_proba(split.factors[asked])
            out[asked] = p[:, -1] if len(model.classes_) == 2 else float(model.classes_[0])
    return out[split.asked]


def nearest_neighbours(split: Split, rng) -> np.ndarray:
    """k nearest labelled points by X and Y alone, weighted by distance; k by cross-validation."""
    folds = StratifiedKFold(5, shuffle=True, random_state=_state(rng))
    search = GridSearchCV(KNeighborsClassifier(weights="distance"), {"n_neighbors": NEIGHBOURS}, cv=folds,
                          scoring="neg_log_loss")
    return fitted(search, split.xy, split)


def block_rate(split: Split, rng) -> np.ndarray:
    """The share of landslides among the block's labelled points, one more point of the share of all added."""
    everywhere = split.label[split.labelled].mean()
    blocks, place = np.unique(split.block, return_inverse=True)
    n = np.bincount(place, split.labelled, len(blocks))
    landslides = np.bincount(place, split.labelled * split.label, len(blocks))
    return ((landslides + everywhere) / (n + 1))[place][split.asked]


def slope_alone(split: Split, rng) -> np.ndarray:
    """Logistic regression on slope."""
    column = [factor.name for factor in split.described].index("slope")
    model = make_pipeline(StandardScaler(), LogisticRegression())
    return fitted(model, split.factors[:, [column]], split)
