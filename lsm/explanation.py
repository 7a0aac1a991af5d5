"""What the model of a block makes of each factor: SHAP values and permutation importance, in log-odds of landslide."""

from dataclasses import dataclass

import numpy as np
import shap
from scipy.special import expit, logit

from lsm import folded_network
from lsm.boosting import Boosting, mean_log_odds
from lsm.encoder import Encoder
from lsm.forest import Forest


@dataclass(frozen=True)
class BlockModel:
    """What maps one block: its networks, weights (members, ...) layer by layer, and the boosting that they are averaged
    with, where there is one.

    The map takes neither part as surer than lsm.boosting.SURELY; here they are as they are, so that they add up.
    """

    block: int
    weights: list[np.ndarray]
    encoder: Encoder
    boosting: Boosting | None = None
    forest: Forest | None = None

    def of_networks(self, factors: np.ndarray) -> np.ndarray:
        """Log-odds (rows,) by the networks alone of factors (rows, factors)."""
        x = self.encoder.transform(factors)
        margins = np.array([folded_network.log_odds([w[m] for w in self.weights], x)
                            for m in range(len(self.weights[0]))], float)
        # The members' probabilities are averaged; in float64, where 1 - p is exact up to log-odds of 30.
        return logit(expit(np.clip(margins, -30, 30)).mean(axis=0))

    def log_odds(self, factors: np.ndarray, xy: np.ndarray) -> np.ndarray:
        """Log-odds (rows,) of factors (rows, factors) at xy (rows, 2)."""
        if not self.boosting:
            return self.of_networks(factors)
        trees = self.boosting.log_odds(factors, xy, np.full(len(xy), self.block))
        return mean_log_odds(self.of_networks(factors), trees)

    def shap_values(self, factors, xy, background, background_xy, orders: int, seed: int) -> np.ndarray:
        """SHAP values (samples, factors + 2), the last two of X and Y, of factors (samples, factors) at xy (samples, 2)
        against background (rows, factors) at background_xy (rows, 2).

        SHAP values of a mean of log-odds are the mean of SHAP values (linearity, Lundberg and Lee 2017).
        """
        values = permuted_orders(self.of_networks, factors, background, orders, seed)
        values = np.column_stack([values, np.zeros((len(values), 2))])
        if self.forest:
            values = mean_log_odds(values, [self.forest.shap_values(
                self.block, np.column_stack([factors, xy]), np.column_stack([background, background_xy]))])
        return values


def permuted_orders(log_odds, x: np.ndarray, background: np.ndarray, orders: int, seed: int) -> np.ndarray:
    """SHAP values (samples, factors) of log_odds(values (rows, factors)) at x against background (rows, factors).

    Orders of the factors run forwards and backwards: exact where no more than two factors interact (Mitchell et al.
    2022, Sampling permutations for Shapley value estimation, JMLR 23).
    """
    masker = shap.maskers.Independent(background.astype(np.float64), max_samples=len(background))
    explainer = shap.PermutationExplainer(log_odds, masker, seed=seed)
    return explainer(x.astype(np.float64), max_evals=orders * (2 * x.shape[1] + 1), silent=True).values


def permutation(log_odds, x: np.ndarray, xy: np.ndarray, label: np.ndarray, repeats: int, rng
                ) -> tuple[np.ndarray, np.ndarray]:
    """How much the log loss of log_odds(x, xy) over x (samples, factors) at xy (samples, 2) rises when a factor is
    shuffled among them: means and sd (factors,) over repeats.

    Like scikit-learn's permutation_importance, but with all repeats of a factor in one call: a call of the boosting
    costs more than its rows.
    """
    def loss(x, xy):
        signed = np.where(label == 1, -1, 1) * log_odds(x, xy).reshape(-1, len(label))
        return np.logaddexp(0, signed).mean(axis=1, dtype=np.float64)  # (repeats,)

    before, places = loss(x, xy), np.tile(xy, (repeats, 1))
    rise = np.empty((x.shape[1], repeats))
    for j in range(x.shape[1]):
        shuffled = np.tile(x, (repeats, 1))
        shuffled[:, j] = rng.permuted(np.tile(x[:, j], (repeats, 1)), axis=1).ravel()
        rise[j] = loss(shuffled, places) - before
    return rise.mean(axis=1), rise.std(axis=1)
