"""Gradient boosting on the factors with X and Y: the global model that ours is averaged with, and a rival alone."""

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

TREES = 500  # not published


def boosted(features: np.ndarray, label: np.ndarray, seed: int,
            weight: np.ndarray | None = None) -> HistGradientBoostingClassifier:
    """The fitted model of features (samples, columns), label and weight (samples,); the same seed, the same model."""
    return HistGradientBoostingClassifier(max_iter=TREES, random_state=seed).fit(features, label, weight)


def with_place(factors: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Features (samples, factors + 2): the raw factors, then X and Y."""
    return np.column_stack([factors, xy])
