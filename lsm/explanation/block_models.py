"""How the model of a block uses each factor: SHAP values and permutation importance, in log-odds of landslide."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import shap
from scipy.special import expit, logit

from lsm.explanation.boosted_trees import BoostedTrees
from lsm.learner import prediction
from lsm.learner.boosting import Boosting, mean_log_odds
from lsm.learner.encoder import Encoder


@dataclass(frozen=True)
class BlockModel:
    """The model that maps one block: the mean of its networks and of the boosting, where the map has boosting.

    weights  of the networks, layer by layer, (members, ...) each
    trees    the boosting again, as SHAP values need it

    The map limits both parts to boosting.SURELY; here they are not limited, so that SHAP values add up.
    """

    block: int
    weights: list[np.ndarray]
    encoder: Encoder
    boosting: Boosting | None = None
    trees: BoostedTrees | None = None

    def of_networks(self, factors: np.ndarray) -> np.ndarray:
        """Log-odds (rows,) of factors (rows, factors), by the networks alone."""
        x = self.encoder.transform(factors)
        members = range(len(self.weights[0]))
        return _mean_of_members([prediction.log_odds([w[m] for w in self.weights], x) for m in members])

    def log_odds(self, factors: np.ndarray, xy: np.ndarray) -> np.ndarray:
        """Log-odds (rows,) of factors (rows, factors) at xy (rows, 2)."""
        if not self.boosting:
            return self.of_networks(factors)
        boosted = self.boosting.log_odds(factors, xy, np.full(len(xy), self.block))
        return mean_log_odds(self.of_networks(factors), boosted)

    def shap_values(self, factors, xy, background, background_xy, orders: int, seed: int) -> np.ndarray:
        """SHAP values (samples, factors + 2) of factors (samples, factors) at xy (samples, 2); the last two: X and Y.

        background (rows, factors) at background_xy (rows, 2) replaces absent factors. The SHAP values of a mean of
        log-odds are the mean of the SHAP values (linearity, Lundberg and Lee 2017).
        """
        values = np.array([permuted_orders(exchanged, factors.shape[1], orders, seed + i)
                           for i, exchanged in enumerate(self._exchanges(factors, background))])
        values = np.column_stack([values, np.zeros((len(values), 2))])
        if self.trees:
            values = mean_log_odds(values, [self.trees.shap_values(
                self.block, np.column_stack([factors, xy]), np.column_stack([background, background_xy]))])
        return values

    def _exchanges(self, factors: np.ndarray, background: np.ndarray) -> Iterator[Callable]:
        """Yields a function for each of factors (samples, factors): own (rows, factors) bool -> log-odds (rows,).

        Where `own` is True a factor has the sample's value, elsewhere the values of background (rows, factors); the
        log-odds of the networks are averaged over the background. The first layer is linear, so each factor's part in
        it is computed once for each value, not for each exchange, and exchanged rows are never encoded. This halves the
        time.
        """
        first, bias, *others = self.weights  # first (members, inputs, units)
        members, _, units = first.shape
        columns = np.array([j for j, _ in self.encoder.columns])

        def parts(rows: np.ndarray) -> np.ndarray:  # (factors, rows, members * units)
            x, w = self.encoder.transform(rows), first.transpose(1, 0, 2).reshape(len(columns), -1)
            return np.stack([x[:, columns == j] @ w[columns == j] for j in range(rows.shape[1])])

        absent = parts(background)
        start = absent.sum(axis=0).reshape(-1, members, units) + bias
        for own_part in parts(factors).swapaxes(0, 1):
            change = (own_part[:, None] - absent).reshape(len(absent), -1)

            def log_odds(own: np.ndarray, change=change) -> np.ndarray:
                h = (own.astype(np.float32) @ change).reshape(len(own), *start.shape) + start
                np.maximum(h, 0, out=h)
                margins = [prediction.log_odds([w[m] for w in others], h[:, :, m].reshape(-1, units))
                           for m in range(members)]
                return _mean_of_members(margins).reshape(len(own), -1).mean(axis=1)

            yield log_odds


def _mean_of_members(margins: list[np.ndarray]) -> np.ndarray:
    """Log-odds (rows,) of the mean probability over members; margins are the members' log-odds, (rows,) each."""
    # In float64 1 - p is exact up to log-odds of 30.
    return logit(expit(np.clip(np.array(margins, float), -30, 30)).mean(axis=0))


def permuted_orders(log_odds: Callable, factors: int, orders: int, seed: int) -> np.ndarray:
    """SHAP values (factors,) of one sample, from `orders` orders of the factors, each run forwards and backwards.

    log_odds(own (rows, factors) bool) gives (rows,): the mean over the background with the sample's own values where
    `own` is True. The result is exact where no more than two factors interact (Mitchell et al. 2022, Sampling
    permutations for Shapley value estimation, JMLR 23).
    """
    masker = shap.maskers.Independent(np.zeros((1, factors)))
    explainer = shap.PermutationExplainer(lambda own: log_odds(own > 0), masker, seed=seed)
    return explainer(np.ones((1, factors)), max_evals=orders * (2 * factors + 1), silent=True).values[0]


def permutation(log_odds, x: np.ndarray, xy: np.ndarray, label: np.ndarray, repeats: int, rng
                ) -> tuple[np.ndarray, np.ndarray]:
    """The rise of the log loss when one factor is shuffled among the samples: mean and sd (factors,) over repeats.

    log_odds(x, xy) gives (rows,) for factors x (samples, factors) at xy (samples, 2); label (samples,). The same as
    scikit-learn's permutation_importance, but all repeats of a factor are one call, which the boosting does faster.
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
