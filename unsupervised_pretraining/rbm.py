"""Restricted Boltzmann machine trained by one step of contrastive divergence (CD-1).

Two kinds of units:

bernoulli  binary visible and hidden units. E(v, h) = -b.v - c.h - h.Wv. Hidden and visible states are sampled,
           hidden statistics enter as probabilities (Hinton 2002, Neural Computation 14, 1771).
relu       real-valued visible units of unit variance and rectified hidden ones, h >= 0:
           E(v, h) = |v - b|^2 / 2 + |h|^2 / 2 - c.h - h.Wv (the rectified Gaussian of Socci, Lee and Seung 1998,
           NIPS 10). Every state has the lowest energy given the other layer, h = max(0, c + Wv) and
           v = b + W'h: mean-field contrastive divergence (Welling and Hinton 2002, ICANN), which draws nothing.

These are not the noisy rectified units of Nair and Hinton (2010, ICML): the variance of their noise reaches one,
however small the variance of the inputs is. On Hong Kong's factors scaled to 0..1 a second machine of such units
reconstructed its inputs worse than their mean does (in 3 of 3 seeds, with samples or rates in the statistics: squared
error .006-.012, variance of the inputs .004-.006).
"""

import numpy as np
from scipy.special import expit

UNITS = ("relu", "bernoulli")


class RBM:
    """weights (hidden, visible), hidden_bias (hidden,), visible_bias (visible,), all float32.

    learning_rate  of the mean gradient of a batch
    rng            draws the start, the order of samples and the states
    units          "relu" or "bernoulli", see above
    initial_sd     of the normal draws the weights start from; biases start at zero
    """

    def __init__(self, visible: int, hidden: int, learning_rate: float, rng: np.random.Generator,
                 units: str = "relu", initial_sd: float = 0.1):
        if units not in UNITS:
            raise ValueError(f"units {units!r}: expected one of {UNITS}")
        self.learning_rate, self.rng, self.units = learning_rate, rng, units
        self.weights = np.float32(initial_sd) * rng.standard_normal((hidden, visible), np.float32)
        self.hidden_bias = np.zeros(hidden, np.float32)
        self.visible_bias = np.zeros(visible, np.float32)

    def transform(self, v: np.ndarray) -> np.ndarray:
        """Hidden activation (samples, hidden) of v (samples, visible): probabilities, or rectified values."""
        x = v @ self.weights.T + self.hidden_bias
        return np.maximum(x, 0) if self.units == "relu" else expit(x)

    def reconstruct(self, h: np.ndarray) -> np.ndarray:
        """Visible means (samples, visible) of h (samples, hidden)."""
        x = h @ self.weights + self.visible_bias
        return x if self.units == "relu" else expit(x)

    def cd1(self, v0: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The ascent direction of a batch v0 (samples, visible) for weights, hidden_bias, visible_bias.

        The mean of dF(v1) - dF(v0), with v1 the reconstruction of v0, held fixed; the free energy F(v) is
        -log sum_h exp(-E(v, h)) of binary units, min_h E(v, h) of rectified ones.
        """
        h0 = self.transform(v0)                    # (samples, hidden)
        v1 = self._state(self.reconstruct(self._state(h0)))
        h1 = self.transform(v1)
        n = len(v0)
        return (h0.T @ v0 - h1.T @ v1) / n, (h0 - h1).sum(axis=0) / n, (v0 - v1).sum(axis=0) / n

    def fit_epoch(self, values: np.ndarray, batch: int) -> float:
        """Passes once over values (samples, visible) in a new order; returns the reconstruction error after it."""
        shuffled = values[self.rng.permutation(len(values))]
        for start in range(0, len(shuffled), batch):
            weights, hidden_bias, visible_bias = self.cd1(shuffled[start:start + batch])
            self.weights += self.learning_rate * weights
            self.hidden_bias += self.learning_rate * hidden_bias
            self.visible_bias += self.learning_rate * visible_bias
        return self.reconstruction_error(values)

    def fit(self, values: np.ndarray, epochs: int, batch: int) -> list[float]:
        """Trains for some epochs; returns the reconstruction error after each."""
        return [self.fit_epoch(values, batch) for _ in range(epochs)]

    def reconstruction_error(self, values: np.ndarray) -> float:
        """Mean squared error per visible unit of going up and down once, without sampling."""
        return float(np.mean((self.reconstruct(self.transform(values)) - values) ** 2))

    def _state(self, mean: np.ndarray) -> np.ndarray:
        """A state of units with these means: drawn for binary units, the mean itself for rectified and linear ones."""
        if self.units == "relu":
            return mean
        return (self.rng.random(mean.shape, np.float32) < mean).astype(np.float32)
