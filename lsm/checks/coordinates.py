"""Whether the decimals of coordinates tell landslides from non-landslides: then the two were digitised differently."""

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from threadpoolctl import threadpool_limits

from lsm.checks.finding import Finding

LIMIT = 0.65   # AUROC above which the decimals are named
SQUARES = 5    # a side of the area: whole squares are predicted from the others
FEWEST = 50    # points of each class, below which chance alone may reach LIMIT
TREES = 60


def of_decimals(table: pd.DataFrame, file: str) -> list[Finding]:
    """A finding where X mod 1 and Y mod 1 alone predict the labels of whole squares; table has X, Y (m) and label."""
    xy, label = table[["X", "Y"]].to_numpy(float), table["label"].to_numpy(int)
    auroc = told_by_decimals(xy, label)
    if not auroc > LIMIT:
        return []
    return [Finding("coordinates", file, "warning",
                    f"the decimals of X and Y alone tell landslides from non-landslides in whole squares at AUROC "
                    f"{auroc:.2f}: the two were digitised differently",
                    "a model that is given X and Y may learn this; round X and Y of all points alike, for instance to "
                    "whole metres or to centres of cells")]


def told_by_decimals(xy: np.ndarray, label: np.ndarray) -> float:
    """AUROC of boosting on xy mod 1 (points, 2), label (points,), each fold whole squares; nan where there is too
    little to say."""
    decimals = np.column_stack([xy % 1, np.round(xy % 1, 6) == 0])
    span = np.maximum(np.ptp(xy, axis=0), 1)
    square = np.floor((xy - xy.min(axis=0)) / span * SQUARES).clip(0, SQUARES - 1) @ [SQUARES, 1]
    if min(np.bincount(label, minlength=2)) < FEWEST or len(np.unique(square)) < SQUARES:
        return np.nan
    folds = list(GroupKFold(SQUARES).split(decimals, label, square))
    if not all(0 < label[known].mean() < 1 for known, _ in folds):
        return np.nan
    model = HistGradientBoostingClassifier(max_iter=TREES, early_stopping=False, random_state=0)
    with threadpool_limits(1):  # on so few points threads wait for each other
        p = cross_val_predict(model, decimals, label, cv=folds, method="predict_proba")
    return float(roc_auc_score(label, p[:, 1]))
