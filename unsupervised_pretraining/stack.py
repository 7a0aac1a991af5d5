"""The stack that gives the network its first weights: RBM, RBM, denoising autoencoder, trained one after the other."""

import numpy as np
import pandas as pd
from tqdm import tqdm

from lsm.run.settings import InputError
from unsupervised_pretraining.denoising_autoencoder import DenoisingAutoencoder
from unsupervised_pretraining.rbm import RBM


def machines(inputs: int, c, rng: np.random.Generator) -> list[tuple]:
    """The three layers from `inputs` inputs up: (model, epochs, batch) of each; c holds stage 1's constants."""
    sizes = (inputs, *c.HIDDEN)
    rbms = [RBM(*sizes[i:i + 2], c.RBM_LEARNING_RATE, rng, "relu", c.RBM_INITIAL_SD) for i in (0, 1)]
    autoencoder = DenoisingAutoencoder(*sizes[2:], c.DAE_LEARNING_RATE, c.DAE_NOISE, rng)
    return [(rbm, c.RBM_EPOCHS, c.RBM_BATCH) for rbm in rbms] + [(autoencoder, c.DAE_EPOCHS, c.DAE_BATCH)]


def pretrain(values: np.ndarray, layers: list, bar: tqdm) -> tuple[list, pd.DataFrame, list]:
    """Trains the layers one after the other, each on the activation of the one below.

    values  (samples, inputs)
    layers  of each: model, epochs, batch
    Returns the weights w1, b1, ..., the errors of every epoch, and of each layer the units that no sample activates.
    Raises InputError when a layer diverges.
    """
    weights, history, silent = [], [], []
    for layer, (model, epochs, batch) in enumerate(layers, start=1):
        history.append((layer, 0, model.reconstruction_error(values)))
        for epoch in range(1, epochs + 1):
            with np.errstate(over="ignore", invalid="ignore"):  # told below, in one line
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
