"""How the model of a block uses each factor: SHAP values and permutation importance, in log-odds of landslide.

The model of a block is the mean of its members in log-odds. A factor is one player: its whole value is exchanged, all
its inputs of the network at once. X and Y together are one more player, the place, the last one.

Networks here belong to one block: `Networks` without the axis of blocks.
"""

import numpy as np

from lsm.learner.additive.direct_path import curves
from lsm.learner.encoder import Encoder
from lsm.learner.prediction import Networks, log_odds, mean_log_odds, weights_of_members

ROWS_AT_ONCE = 4_000  # of a network in one call: they stay in the processor's cache


def players_of(encoder: Encoder) -> np.ndarray:
    """The player of each network input (inputs,): the number of its factor; for X and Y the number of factors."""
    return np.array([j for j, _ in encoder.columns] + [len(encoder.factors)] * 2)


def shap_values(networks: Networks, x: np.ndarray, background: np.ndarray, player: np.ndarray, orders: int,
                rng: np.random.Generator) -> np.ndarray:
    """SHAP values (samples, players), in log-odds, of encoded samples x (samples, inputs).

    background  encoded rows (rows, inputs) whose values replace the values of absent players
    player      of each input (inputs,)
    orders      the least number of orders in which players are exchanged, for each member; every row of the background
                has its own order
    The SHAP values of a mean are the mean of the SHAP values (linearity, Lundberg and Lee 2017).
    """
    each = [_of_member(weights, x, background, player, orders, rng) for weights in weights_of_members(networks)]
    return sum(each) / len(each)


def _of_member(weights: list[np.ndarray], x, background, player, orders: int, rng) -> np.ndarray:
    """SHAP values (samples, players) by one network. A player that the network does not read gets 0.

    Each order of the players is run forwards and backwards, from a row of the background to the sample. The values add
    up exactly, and they are exact where no more than two players interact (Mitchell et al. 2022, Sampling permutations
    for Shapley value estimation, JMLR 23).

    The first layer is linear. Each player's part in it is computed once for each value, not for each exchange, and the
    parts of a set and of its complement add up to the parts of the sample and of the row of the background. A direct
    path is a sum of curves, one an input, so its SHAP values need no order.
    """
    inputs, players = len(weights[0]), player.max() + 1
    x, background, player = x[:, :inputs], background[:, :inputs], player[:inputs]
    first, bias, *others = weights[:len(weights) // 2 * 2]
    read = np.unique(player)
    own, absent = (np.stack([rows[:, player == j] @ first[player == j] for j in read])  # (read, rows, units)
                   for rows in (x, background))

    def after_first(h: np.ndarray) -> np.ndarray:
        """Log-odds (...) from what the first layer gives before its ReLU (..., units)."""
        return log_odds(others, np.maximum(h, 0).reshape(-1, h.shape[-1])).reshape(h.shape[:-1])

    of_samples, of_background = own.sum(axis=0) + bias, absent.sum(axis=0) + bias
    ends = after_first(of_samples), after_first(of_background)
    row = np.tile(np.arange(len(background)), -(-orders // len(background)))
    order = rng.permuted(np.tile(np.arange(len(read)), (len(row), 1)), axis=1)
    values = np.zeros((len(x), players))
    for some in np.array_split(np.arange(len(row)), -(-len(row) * len(x) // ROWS_AT_ONCE)):
        start = of_background[row[some], None]
        both, h = start + of_samples, start + np.zeros_like(of_samples)  # (orders, samples, units)
        forth, back = ends[1][row[some], None], ends[0]
        for place, j in enumerate(order[some].T):
            before = forth - back
            if place + 1 < len(read):
                h += own[j] - absent[j, row[some]][:, None]
                forth, back = after_first(h), after_first(both - h)
            else:
                forth, back = ends[0], ends[1][row[some], None]
            values[:, read] += (forth - back - before).T @ (j[:, None] == np.arange(len(read)))
    values /= 2 * len(row)
    if len(weights) % 2:
        part, mean = (curves(rows, weights[-1][:, 1] - weights[-1][:, 0]) for rows in (x, background))
        values += (part - mean.mean(axis=0)) @ (player[:, None] == np.arange(players))
    return values


def permutation(networks: Networks, x: np.ndarray, label: np.ndarray, player: np.ndarray, repeats: int,
                rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The rise of the log loss when one factor is shuffled among the samples: mean and sd (factors,) over repeats.

    x (samples, inputs) encoded, label (samples,), player (inputs,) of each input. X and Y are not shuffled. The same as
    scikit-learn's permutation_importance, but all repeats of a factor are one call of each network.
    """
    def loss(x: np.ndarray) -> np.ndarray:  # (repeats,)
        signed = np.where(label == 1, -1, 1) * mean_log_odds(networks, x).reshape(-1, len(label))
        return np.logaddexp(0, signed).mean(axis=1, dtype=np.float64)

    before, every = loss(x), np.tile(np.arange(len(x)), (repeats, 1))
    rise = np.empty((player.max(), repeats))
    for j in range(len(rise)):
        shuffled = np.tile(x, (repeats, 1))
        shuffled[:, player == j] = x[rng.permuted(every, axis=1).ravel()][:, player == j]
        rise[j] = loss(shuffled) - before
    return rise.mean(axis=1), rise.std(axis=1)
