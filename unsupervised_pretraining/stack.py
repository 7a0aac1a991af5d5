"""The stack that gives the network its first weights: RBM, RBM, denoising autoencoder, trained one after the other."""

from typing import Protocol

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from lsm.run.settings import InputError
from unsupervised_pretraining.denoising_autoencoder import DenoisingAutoencoder
from unsupervised_pretraining.rbm import RBM


class StackConstants(Protocol):
    """The constants that the stack needs. DAS_pretraining.py has and explains them."""

    HIDDEN: tuple[int, ...]
    RBM_LEARNING_RATE: float
    RBM_EPOCHS: int
    RBM_BATCH: int
    RBM_INITIAL_SD: float
    DAE_LEARNING_RATE: float
    DAE_EPOCHS: int
    DAE_BATCH: int
    DAE_NOISE: float


def machines(inputs: int, c: StackConstants, rng: np.random.Generator) -> list[tuple]:
    """The three layers, (model, epochs, batch) each; the first has `inputs` inputs."""
    sizes = (inputs, *c.HIDDEN)
    rbms = [RBM(*sizes[i:i + 2], c.RBM_LEARNING_RATE, rng, "relu", c.RBM_INITIAL_SD) for i in (0, 1)]
    autoencoder = DenoisingAutoencoder(*sizes[2:], c.DAE_LEARNING_RATE, c.DAE_NOISE, rng)
    return [(rbm, c.RBM_EPOCHS, c.RBM_BATCH) for rbm in rbms] + [(autoencoder, c.DAE_EPOCHS, c.DAE_BATCH)]


@threadpool_limits.wrap(1, "blas")  # several threads share a product out, and round by its shares
def pretrain(values: np.ndarray, layers: list, bar: tqdm) -> tuple[list, pd.DataFrame, list]:
    """Trains the layers one after the other, each on the activation of the layer below.

    values  (samples, inputs)
    layers  as `machines` gives them
    Returns the weights w1, b1, ..., the table of errors by layer and epoch, and for each layer the number of units that
    no sample activates. Raises InputError when a layer diverges, or the values are no numbers.
    """
    weights, history, silent = [], [], []
    for layer, (model, epochs, batch) in enumerate(layers, start=1):
        history.append((layer, 0, model.reconstruction_error(values)))
        if not np.isfinite(history[-1][2]):
            raise InputError(f"layer {layer}, before training: expected a finite reconstruction error, found "
                             f"{history[-1][2]}; look for extreme values among the factors of the samples")
        for epoch in range(1, epochs + 1):
            with np.errstate(over="ignore", invalid="ignore"):  # reported below, in one line
                error = model.fit_epoch(values, batch)
            if not np.isfinite(error):
                raise InputError(f"layer {layer}, epoch {epoch}: expected a finite reconstruction error, found {error}"
                                 "; lower RBM_LEARNING_RATE or DAE_LEARNING_RATE")
            history.append((layer, epoch, error))
            bar.set_postfix_str(f"layer {layer}, error {error:.4f}", refresh=False)
            bar.update()
        values = model.transform(values)
        weights += [np.ascontiguousarray(model.weights), model.hidden_bias]
        silent.append(int((values == 0).all(axis=0).sum()))
    return weights, pd.DataFrame(history, columns=["layer", "epoch", "error"]), silent
