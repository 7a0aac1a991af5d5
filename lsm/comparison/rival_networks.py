"""Networks that blocks adapt from one state: ours, and the rivals that differ from it in that state alone.

Fitted methods are functions (rows of splits.Rows) -> landslide probabilities, as in lsm/comparison/rivals.py.
"""

import warnings
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from lsm.comparison import rivals
from lsm.comparison.splits import Split
from lsm.learner import maml
from lsm.learner.meta_training import adapted_blocks, mean_probability, pooled_members, scores_of_blocks
from lsm.learner.network import initial_weights


def on_own_points(states: list[dict], pooled: list, split: Split, c) -> Callable:
    """What predicts each block by networks adapted on its own labelled points and, where c says so, its neighbours'.

    c  ADAPT_STEPS, ADAPT_BATCH, NORMALISE, BORROW and SEED of meta_learner.py
    """
    def adapted(asked: np.ndarray) -> dict:
        return adapted_blocks(states, split.x, split.label, split.xy, split.block, split.labelled, asked, c)

    held_out = adapted(split.asked)

    @cache
    def others() -> dict:  # apart from those above, so that what a map asks for changes no score
        return adapted(~np.isin(split.block, list(held_out)))

    def predict(rows) -> np.ndarray:
        networks = held_out if np.isin(rows.block, list(held_out)).all() else held_out | others()
        return scores_of_blocks(networks, pooled, split.encoded(rows), rows.block)

    return predict


def not_adapted(pooled: list, split: Split) -> Callable:
    """What predicts by the intermediate networks as they are."""
    return lambda rows: mean_probability(pooled, split.encoded(rows))


def from_one_network(state: dict, split: Split, steps: int) -> Callable:
    """What predicts each block by a network that adapted from one state by plain gradient descent for `steps` steps."""
    c = SimpleNamespace(ADAPT_STEPS=steps, ADAPT_BATCH=0, NORMALISE=False, BORROW=0, SEED=0)
    return on_own_points([state], pooled_members([state], split.x[split.labelled], c), split, c)


def block_alone(split: Split, hidden: tuple[int, ...], steps: int, rate: float, seed: int) -> Callable:
    """Every block trained from a random start on its own labelled points."""
    weights = initial_weights([split.x.shape[1], *hidden], None, np.random.default_rng(seed))
    return from_one_network(maml.initial_state(weights, rate, False), split, steps)


def fine_tuned(split: Split, hidden: tuple[int, ...], steps: int, rate: float, seed: int) -> tuple[Callable, Callable]:
    """One network for all blocks, fitted to all labelled points; and the same fine-tuned to each block."""
    network = MLPClassifier(hidden, batch_size=128, max_iter=rivals.EPOCHS, random_state=seed)
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):  # a fixed number of epochs is meant
        one = rivals.fitted(network, split.encoded, split)
    weights = [a for pair in zip(network.coefs_, network.intercepts_, strict=True) for a in pair]
    weights[-2:] = [np.stack([-w / 2, w / 2], axis=-1).reshape(*w.shape[:-1], 2) for w in weights[-2:]]  # two logits
    weights = [w.astype(np.float32) for w in weights]
    return one, from_one_network(maml.initial_state(weights, rate, False), split, steps)
