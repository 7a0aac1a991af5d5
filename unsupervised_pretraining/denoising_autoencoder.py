"""Denoising autoencoder: a softplus code of the noisy inputs, and a linear decoder back to the clean inputs.

code = softplus(W1 (x + noise) + b1), output = W2 code + b2, loss = mean over the batch of |output - x|^2 / 2
(Vincent et al. 2010, Journal of Machine Learning Research 11, 3371). Only W1 and b1 are handed on.
"""

import numpy as np

from lsm.learner.network import tf

CPU = "/CPU:0"  # a network this small gains nothing from a GPU, and the same seed gives the same bytes with or without


class DenoisingAutoencoder:
    """Encoder `weights` (code, inputs) and `hidden_bias` (code,), and a decoder of its own, trained by Adam.

    noise  standard deviation of the normal noise added to the inputs, in their units
    rng    draws the start, the order of samples and the noise
    """

    def __init__(self, inputs: int, code: int, learning_rate: float, noise: float, rng: np.random.Generator):
        from keras.optimizers import Adam  # here, since it takes a second and stage 3 does without

        self.noise, self.rng = noise, rng
        limit = np.sqrt(6 / (inputs + code))  # Glorot and Bengio 2010; the decoder starts at zero: nothing to unlearn
        with tf.device(CPU):
            self.variables = [
                tf.Variable(rng.uniform(-limit, limit, (inputs, code)).astype(np.float32)),
                tf.Variable(tf.zeros(code)),
                tf.Variable(tf.zeros((code, inputs))),
                tf.Variable(tf.zeros(inputs)),
            ]
            self.optimizer = Adam(learning_rate)
            self.optimizer.build(self.variables)

    @property
    def weights(self) -> np.ndarray:
        """Encoder weights (code, inputs)."""
        return self.variables[0].numpy().T

    @property
    def hidden_bias(self) -> np.ndarray:
        """Encoder bias (code,)."""
        return self.variables[1].numpy()

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Code (samples, code) of values (samples, inputs), without noise."""
        return np.logaddexp(0, values @ self.weights.T + self.hidden_bias)

    def fit_epoch(self, values: np.ndarray, batch: int) -> float:
        """Passes once over values (samples, inputs) in a new order; returns the reconstruction error after it."""
        clean = values[self.rng.permutation(len(values))]
        noisy = clean + np.float32(self.noise) * self.rng.standard_normal(clean.shape, np.float32)
        with tf.device(CPU):
            self._steps(tf.constant(noisy), tf.constant(clean), tf.constant(batch))
        return self.reconstruction_error(values)

    def reconstruction_error(self, values: np.ndarray) -> float:
        """Mean squared error per input of the output for clean inputs."""
        weights, bias = (v.numpy() for v in self.variables[2:])
        return float(np.mean((self.transform(values) @ weights + bias - values) ** 2))

    def loss(self, noisy: tf.Tensor, clean: tf.Tensor) -> tf.Tensor:
        """Half the squared error of a batch, summed over inputs, mean over samples."""
        w1, b1, w2, b2 = self.variables
        output = tf.nn.softplus(noisy @ w1 + b1) @ w2 + b2  # (samples, inputs)
        return 0.5 * tf.reduce_mean(tf.reduce_sum(tf.square(output - clean), axis=1))

    @tf.function
    def _steps(self, noisy, clean, batch):
        for start in tf.range(0, tf.shape(clean)[0], batch):
            with tf.GradientTape() as tape:
                loss = self.loss(noisy[start:start + batch], clean[start:start + batch])
            self.optimizer.apply_gradients(zip(tape.gradient(loss, self.variables), self.variables, strict=True))
