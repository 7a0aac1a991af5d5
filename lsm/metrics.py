"""Measures of a susceptibility score against labels; landslide (1) is the positive class throughout."""

import numpy as np
from sklearn import metrics

THRESHOLD = 0.5
MEASURES = ("accuracy", "precision", "recall", "f1", "kappa", "auroc")


def scores(label: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """MEASURES of probabilities (n,) against labels (n,) of 0 and 1.

    The first five take a landslide where probability >= THRESHOLD. AUROC is nan where only one class is present, and
    so is kappa where labels and predictions are all of one class (0 / 0 by its formula).
    """
    label, predicted = np.asarray(label), (np.asarray(probability) >= THRESHOLD).astype(int)
    both, mixed = len(np.unique(label)) == 2, len(np.unique([label, predicted])) == 2
    return {
        "accuracy": metrics.accuracy_score(label, predicted),
        "precision": metrics.precision_score(label, predicted, zero_division=0),
        "recall": metrics.recall_score(label, predicted, zero_division=0),
        "f1": metrics.f1_score(label, predicted, zero_division=0),
        "kappa": metrics.cohen_kappa_score(label, predicted) if mixed else float("nan"),
        "auroc": metrics.roc_auc_score(label, probability) if both else float("nan"),
    }
