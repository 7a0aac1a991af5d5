"""Gradient boosting for all blocks at once. The adapted networks are averaged with it; alone it is a rival."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

TREES = 500    # not published
SURELY = 1e-4  # no probability counts as nearer to 0 or 1 than this in the mean of log-odds


def boosted(features: np.ndarray, label: np.ndarray, seed: int, weight: np.ndarray | None = None, rate: float = 0.1,
            trees: int | None = None) -> HistGradientBoostingClassifier:
    """The fitted model of features (samples, columns), label and weight (samples,); the same seed, the same model.

    rate   learning rate
    trees  how many; None: TREES. All are grown: by itself scikit-learn would hold 10 % of the samples back above
           10,000 and stop where they no longer gain
    """
    model = HistGradientBoostingClassifier(max_iter=trees or TREES, learning_rate=rate, early_stopping=False,
                                           random_state=seed)
    with threadpool_limits(1):  # several threads add up gradients in a varying order, which changes the last digits
        return model.fit(features, label, weight)


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


class Boosting:
    """Two models of all known samples. One has the factors, X and Y as features, the other also the factors within the
    block, see `BlockScale`."""

    def __init__(self, factors: np.ndarray, xy: np.ndarray, block: np.ndarray, label: np.ndarray, known: np.ndarray,
                 blocks: int, seed: int, weight: np.ndarray | None = None):
        self.scale = BlockScale.of(factors, block, known, blocks)
        weight = None if weight is None else weight[known]
        self.models = [boosted(x[known], label[known], seed, weight) for x in self._features(factors, xy, block)]

    @classmethod
    def of_map(cls, models: dict, samples: dict, seed: int) -> "Boosting | None":
        """The boosting of the map, fitted again; None where the map has none.

        models   arrays of models_of_blocks/<REGION>_models.npz
        samples  arrays of metatask_sampling/<REGION>_tasks.npz
        seed     of the map
        """
        if not len(known := models["boosted"]):
            return None
        return cls(*(samples[name] for name in ("factors", "xy", "block", "label")), known, len(models["state"]), seed,
                   samples["weight"])

    def probabilities(self, factors: np.ndarray, xy: np.ndarray, block: np.ndarray) -> list[np.ndarray]:
        """The landslide probabilities (rows,) by each model of rows in blocks (rows,)."""
        return [self.anywhere(factors, xy), self.within(factors, xy, block)]

    def anywhere(self, factors: np.ndarray, xy: np.ndarray) -> np.ndarray:
        """The first model's probabilities (rows,), the same in every block."""
        return self.models[0].predict_proba(np.column_stack([factors, xy]))[:, 1]

    def within(self, factors: np.ndarray, xy: np.ndarray, block: np.ndarray) -> np.ndarray:
        """The second model's probabilities (rows,) of rows in blocks (rows,)."""
        return self.models[1].predict_proba(self._features(factors, xy, block)[1])[:, 1]

    def log_odds(self, factors: np.ndarray, xy: np.ndarray, block: np.ndarray) -> list[np.ndarray]:
        """The log-odds of landslide (rows,) by each model, unclipped, of rows in blocks (rows,)."""
        return [model.decision_function(x) for model, x in
                zip(self.models, self._features(factors, xy, block), strict=True)]

    def _features(self, factors, xy, block) -> tuple[np.ndarray, np.ndarray]:
        return (np.column_stack([factors, xy]),
                np.column_stack([factors, self.scale.transform(factors, block), xy]))


def mixed(networks: np.ndarray, boosting: list[np.ndarray]) -> np.ndarray:
    """Ours: the probability (rows,) whose log-odds are the `mean_log_odds` of the networks and the boosting models."""
    log_odds = [logit(np.clip(np.asarray(p, float), SURELY, 1 - SURELY)) for p in (networks, *boosting)]
    return expit(mean_log_odds(log_odds[0], log_odds[1:]))


def mean_log_odds(networks: np.ndarray, boosting: list[np.ndarray]) -> np.ndarray:
    """Half the log-odds (rows,) of the networks plus half the mean of the log-odds of the boosting models."""
    return (networks + np.mean(boosting, axis=0)) / 2
