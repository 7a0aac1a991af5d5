"""Rivals as their users would run them: logistic regression, and trees whose settings are chosen inside the labelled
points.

Each is a function (split, rng) -> predict, as in baselines.py. The settings of trees are chosen by spatial validation:
the labelled points are cut into FOLDS parts by k-means of their places, each part is predicted by a model of the
others, and the settings with the lowest log loss over all these predictions are taken. No query point takes part.
"""

from collections.abc import Callable, Iterator

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from lsm.comparison.rivals import boosting as trees
from lsm.comparison.rivals.baselines import TREES, features_of, fitted
from lsm.comparison.splits import Split, partition

FOLDS = 3                        # of the validation
LEAVES = (1, 5, 20)              # least samples of a leaf, of random forests
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


def validation(split: Split, parts: tuple[str, ...], rng) -> Iterator[tuple]:
    """Features and labels of the points that teach, then of those that are predicted, of every fold in turn. A fold
    whose teaching points hold one class is left out."""
    rows = np.flatnonzero(split.labelled)
    fold = partition(split.xy[rows], min(FOLDS, len(rows)), rng)
    for k in range(fold.max() + 1):
        known, asked = (np.isin(np.arange(len(split.role)), rows[of]) for of in (fold != k, fold == k))
        if 0 < split.label[known].mean() < 1:
            x = features_of(parts, split, known)(split)
            yield x[known], split.label[known], x[asked], split.label[asked]


def best(settings: list, split: Split, parts: tuple[str, ...], predicted: Callable, rng):
    """The setting with the lowest log loss; the middle one where no fold can be predicted.

    predicted  (features, label, features of the asked) -> {setting: probabilities of the asked}
    """
    label, found = [], {setting: [] for setting in settings}
    for x, y, asked, truth in validation(split, parts, rng):
        label.append(truth)
        for setting, p in predicted(x, y, asked).items():
            found[setting].append(p)
    if not label:
        return settings[len(settings) // 2]
    label = np.concatenate(label)
    losses = [log_loss(label, np.clip(np.concatenate(p), SURELY, 1 - SURELY), labels=[0, 1]) for p in found.values()]
    return settings[int(np.argmin(losses))]


def random_forest(*parts: str) -> Callable:
    """A random forest of 200 trees; the validation chooses the least number of samples of a leaf."""
    def method(split: Split, rng) -> Callable:
        state = int(rng.integers(1 << 31))

        def predicted(x, y, asked) -> dict:
            return {leaf: RandomForestClassifier(TRIED, min_samples_leaf=leaf, random_state=state).fit(
                x, y).predict_proba(asked)[:, 1] for leaf in LEAVES}

        leaf = best(list(LEAVES), split, parts, predicted, rng)
        model = RandomForestClassifier(TREES, min_samples_leaf=leaf, random_state=state)
        return fitted(model, features_of(parts, split), split)

    return method


def boosting(*parts: str) -> Callable:
    """Gradient boosting whose learning rate and number of trees the validation chooses."""
    def method(split: Split, rng) -> Callable:
        state = int(rng.integers(1 << 31))

        def predicted(x, y, asked) -> dict:
            out = {}
            for rate in RATES:
                model = trees.boosted(x, y, state, rate=rate, trees=max(NUMBERS))
                for number, p in enumerate(model.staged_predict_proba(asked), start=1):
                    if number in NUMBERS:
                        out[rate, number] = p[:, 1]
            return out

        rate, number = best([(r, n) for r in RATES for n in NUMBERS], split, parts, predicted, rng)
        features = features_of(parts, split)
        model = trees.boosted(features(split)[split.labelled], split.label[split.labelled], state, rate=rate,
                              trees=number)
        return lambda rows: model.predict_proba(features(rows))[:, 1]

    return method
