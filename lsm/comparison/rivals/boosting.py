"""Gradient boosting, a rival, and the factors within the block, which help it."""

from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

TREES = 500    # not published


def boosted(features: np.ndarray, label: np.ndarray, seed: int, rate: float = 0.1, trees: int | None = None
            ) -> HistGradientBoostingClassifier:
    """The fitted model of features (samples, columns) and label (samples,); the same seed gives the same model.

    rate   learning rate
    trees  how many; None: TREES. All are grown: unless told, scikit-learn holds back 10 % of more than 10,000 samples
           and stops where these no longer gain
    """
    model = HistGradientBoostingClassifier(max_iter=trees or TREES, learning_rate=rate, early_stopping=False,
                                           random_state=seed)
    with threadpool_limits(1):  # several threads add up gradients in a varying order, which changes the last digits
        return model.fit(features, label)


@dataclass(frozen=True)
class BlockScale:
    """Mean and standard deviation of every factor over the known samples of each block, (blocks, factors).

    A block without known samples has the mean and standard deviation of all known samples.
    """

    mean: np.ndarray
    sd: np.ndarray

    @classmethod
    def of(cls, factors: np.ndarray, block: np.ndarray, known: np.ndarray, blocks: int) -> "BlockScale":
        """From factors (samples, factors), block (samples,) and known (samples,) bool."""
        mean = np.tile(factors[known].mean(axis=0), (blocks, 1))
        sd = np.tile(factors[known].std(axis=0), (blocks, 1))
        for b in np.unique(block[known]):
            own = factors[known & (block == b)]
            mean[b], sd[b] = own.mean(axis=0), own.std(axis=0)
        return cls(mean, np.where(sd > 0, sd, 1))

    def transform(self, factors: np.ndarray, block: np.ndarray) -> np.ndarray:
        """Factors (rows, factors) minus the mean of their block (rows,), divided by its standard deviation."""
        return (factors - self.mean[block]) / self.sd[block]
