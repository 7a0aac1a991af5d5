"""Gradient boosting, a rival, and the factors within the block, which help it."""

from collections.abc import Callable

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

TREES = 500    # not published


def unfitted(seed: int, rate: float = 0.1, trees: int | None = None, **more) -> HistGradientBoostingClassifier:
    """A model to fit.

    rate   learning rate
    trees  how many; None: TREES. All are grown: unless told, scikit-learn holds back 10 % of more than 10,000 samples
           and stops where these no longer gain
    more   other arguments of HistGradientBoostingClassifier
    """
    return HistGradientBoostingClassifier(max_iter=trees or TREES, learning_rate=rate, early_stopping=False,
                                          random_state=seed, **more)


def fit_on_one_thread(model: HistGradientBoostingClassifier, features: np.ndarray, label: np.ndarray
        ) -> HistGradientBoostingClassifier:
    """The model, fitted to features (samples, columns) and label (samples,); the same seed gives the same model."""
    with threadpool_limits(1):  # several threads add up gradients in a varying order, which changes the last digits
        return model.fit(features, label)


def boosted(features: np.ndarray, label: np.ndarray, seed: int, **more) -> HistGradientBoostingClassifier:
    """The model `unfitted` with these arguments, after `fit_on_one_thread`."""
    return fit_on_one_thread(unfitted(seed, **more), features, label)


def within_block(factors: np.ndarray, block: np.ndarray, known: np.ndarray, blocks: int) -> Callable:
    """The function (factors, block) -> factors minus their block's mean, divided by its standard deviation.

    Both are of the known samples of each of the `blocks` blocks; a block without any takes mean and deviation of all.
    factors (samples, factors), block (samples,), known (samples,) bool
    """
    mean = np.tile(factors[known].mean(axis=0), (blocks, 1))
    sd = np.tile(factors[known].std(axis=0), (blocks, 1))
    for b in np.unique(block[known]):
        own = factors[known & (block == b)]
        mean[b], sd[b] = own.mean(axis=0), own.std(axis=0)
    sd = np.where(sd > 0, sd, 1)
    return lambda factors, block: (factors - mean[block]) / sd[block]
