"""Deep belief network: binary RBMs stacked, a logistic head, then all of it fine-tuned (Hinton, Osindero and Teh 2006,
Neural Computation 18, 1527). A baseline of the comparison.

The RBM is handed in, since lsm imports no stage: stage 1 owns it, as unsupervised_pretraining/rbm.py.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from scipy.special import expit

from lsm.learner.network import tf
from lsm.run.settings import InputError

STEPS_A_CALL = 1000  # of fine-tuning in one compiled call


class DBNConstants(Protocol):
    """The constants that a DBN needs. compare_methods.py has and explains them."""

    DBN_HIDDEN: tuple[int, ...]
    DBN_RBM_LEARNING_RATE: float
    DBN_RBM_EPOCHS: int
    DBN_LEARNING_RATE: float
    DBN_EPOCHS: int
    DBN_BATCH: int
    DBN_DROPOUT: float


def fit(x: np.ndarray, y: np.ndarray, c: DBNConstants, rbm: Callable, rng: np.random.Generator) -> list[np.ndarray]:
    """Weights w1, b1, ..., the head's last, from x (samples, inputs) scaled to 0 .. 1 and y (samples,) of 0 and 1.

    rbm  the class unsupervised_pretraining.rbm.RBM
    Raises InputError where weights are no finite numbers any more.
    """
    values, weights = x, []
    for layer, units in enumerate(c.DBN_HIDDEN, start=1):
        machine = rbm(values.shape[1], units, c.DBN_RBM_LEARNING_RATE, rng, "bernoulli", 0.01)
        with np.errstate(over="ignore", invalid="ignore"):  # reported below, in one line
            machine.fit(values, c.DBN_RBM_EPOCHS, c.DBN_BATCH)
        _refuse_others([machine.weights, machine.hidden_bias], f"RBM {layer}", "DBN_RBM_LEARNING_RATE")
        values = machine.transform(values)
        weights += [machine.weights.T.copy(), machine.hidden_bias]
    weights += [np.zeros((values.shape[1], 1), np.float32), np.zeros(1, np.float32)]
    return fine_tuned(weights, x, y, c, rng)


def fine_tuned(weights: list, x: np.ndarray, y: np.ndarray, c: DBNConstants, rng: np.random.Generator
               ) -> list[np.ndarray]:
    """The weights after plain gradient descent on the cross-entropy; hidden units drop out at random. Raises InputError
    where they are no finite numbers any more."""
    batch = min(c.DBN_BATCH, len(x))
    steps = c.DBN_EPOCHS * (len(x) // batch)
    order = np.concatenate([rng.permutation(len(x))[:len(x) // batch * batch] for _ in range(c.DBN_EPOCHS)])
    for first in range(0, steps, STEPS_A_CALL):
        # Always the same shape, so that one compilation serves; the last call leaves what is too much.
        rows = np.take(order, np.arange(first * batch, (first + STEPS_A_CALL) * batch), mode="wrap")
        weights = _descend(weights, x[rows].reshape(STEPS_A_CALL, batch, -1),
                           y[rows].reshape(STEPS_A_CALL, batch).astype(np.float32),
                           tf.constant(rng.integers(1 << 31), tf.int32), c.DBN_LEARNING_RATE, c.DBN_DROPOUT,
                           tf.constant(min(STEPS_A_CALL, steps - first)))
        _refuse_others(weights, f"fine-tuning, by step {min(first + STEPS_A_CALL, steps):,}", "DBN_LEARNING_RATE")
    return [np.asarray(w) for w in weights]


def _refuse_others(weights: list, where: str, rate: str) -> None:
    """Raises InputError where weights are no finite numbers; rate: the constant to blame."""
    if not all(np.isfinite(w).all() for w in weights):
        raise InputError(f"DBN, {where}: expected finite weights, found others; lower {rate}")


@tf.function(jit_compile=True)
def _descend(weights, x, y, seed, rate, dropout, steps):
    """One step a batch, of the first `steps`: x (batches, batch, inputs), y (batches, batch)."""
    for i in tf.range(steps):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            h = x[i]
            for layer in range(len(weights) // 2 - 1):
                h = tf.sigmoid(h @ weights[2 * layer] + weights[2 * layer + 1])
                kept = tf.random.stateless_uniform(tf.shape(h), [seed, layer * STEPS_A_CALL + i]) >= dropout
                h = h * tf.cast(kept, h.dtype) / (1 - dropout)
            logit = (h @ weights[-2] + weights[-1])[:, 0]
            loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(y[i], logit))
        weights = [w - rate * g for w, g in zip(weights, tape.gradient(loss, weights), strict=True)]
    return weights


def landslide_probability(weights: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """Landslide probability (samples,) of x (samples, inputs)."""
    for w, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        x = expit(x @ w + b)
    return expit(x @ weights[-2] + weights[-1])[:, 0]
