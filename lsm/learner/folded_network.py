"""The folded network in NumPy: for prediction and explanation, which need no gradient and so no TensorFlow.

Weights are a list [w1, b1, ..., w4, b4] of one network without normalisation, as network.folded leaves them.
"""

import numpy as np


def log_odds(weights: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """Log-odds of landslide (n,) float32 of encoded cells x (n, inputs) under one folded network, in NumPy: no tracing,
    and the number of one cell does not hang on the others."""
    h = x
    for w, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        h = h @ w
        h += b
        np.maximum(h, 0, out=h)
    return h @ (weights[-2][:, 1] - weights[-2][:, 0]) + (weights[-1][1] - weights[-1][0])


def probability(weights: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """Landslide probability (n,) float32 of encoded cells x (n, inputs) under one folded network."""
    margin = -log_odds(weights, x)
    np.exp(np.minimum(margin, 80, out=margin), out=margin)  # softmax of two logits: 1 / (1 + exp(l0 - l1))
    return 1 / (1 + margin)
