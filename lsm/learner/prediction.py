"""From the networks of blocks to landslide probabilities, in NumPy. No TensorFlow: prediction needs no gradient.

A folded network is a list of weights [w1, b1, ..., w4, b4] without normalisation, as network.folded leaves them. The
networks of all blocks are such a list whose arrays have (members, blocks) as first axes.
"""

import numpy as np
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from lsm.blocks.blending import blended
from lsm.learner.boosting import Boosting, mixed


def log_odds(weights: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """Log-odds of landslide (n,) float32 of encoded cells x (n, inputs) by one folded network.

    The number of one cell does not depend on the other cells.
    """
    h = x
    for w, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        h = h @ w
        h += b
        np.maximum(h, 0, out=h)
    return h @ (weights[-2][:, 1] - weights[-2][:, 0]) + (weights[-1][1] - weights[-1][0])


def probability(weights: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """Landslide probability (n,) float32 of encoded cells x (n, inputs) by one folded network."""
    margin = -log_odds(weights, x)
    np.exp(np.minimum(margin, 80, out=margin), out=margin)  # softmax of two logits: 1 / (1 + exp(l0 - l1))
    return 1 / (1 + margin)


def mean_probability(weights: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """Landslide probability (n,) of encoded rows x (n, inputs): the mean of the members, the weights' first axis."""
    members = len(weights[0])
    return sum(probability([w[m] for w in weights], x) for m in range(members)) / np.float32(members)


def probability_of_members(networks: list[np.ndarray], block: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Landslide probability (members, rows) float32 of encoded rows x (rows, inputs) in blocks (rows,).

    Every network runs once, over all rows of its block: one matrix product for each layer and block. One BLAS thread
    only: on slices this small the threads wait for each other longer than they work.
    """
    members, blocks = networks[0].shape[:2]
    order = np.argsort(block.astype(np.min_scalar_type(blocks)), kind="stable")  # small whole numbers: a radix sort
    x, out = x[order], np.empty((members, len(x)), np.float32)
    ends = np.bincount(block, minlength=blocks).cumsum()
    with threadpool_limits(1, "blas"):
        for b in np.flatnonzero(np.diff(ends, prepend=0)):
            rows = slice(ends[b - 1] if b else 0, ends[b])
            for m in range(members):
                out[m, order[rows]] = probability([w[m, b] for w in networks], x[rows])
    return out


def predict(networks: list[np.ndarray], block: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Landslide probability (rows,) float32 of encoded rows x (rows, inputs), each by the networks of its block
    (rows,): the mean of the members."""
    return sum(probability_of_members(networks, block, x)) / np.float32(len(networks[0]))


def probability_of_rows(networks: list[np.ndarray], boosting: Boosting | None, x: np.ndarray, factors: np.ndarray,
                        xy: np.ndarray, block: np.ndarray, cell: np.ndarray, weights: csr_array | None) -> np.ndarray:
    """The map's landslide probability (rows,) of rows of the grid, each by the models of its block (rows,).

    boosting  the global models that the networks are averaged with, or None
    x         the encoded factors (rows, inputs); factors (rows, factors) and xy (rows, 2) are for the boosting
    cell      (rows,) the place of each row in `weights`; see `lsm.blocks.blending.blended`
    weights   of neighbouring blocks; None: each block ends at its border
    """
    anywhere = boosting.anywhere(factors, xy) if boosting else None

    def by(block, rows=np.s_[:]):
        p = predict(networks, block, x[rows])
        if boosting:
            p = mixed(p, [anywhere[rows], boosting.within(factors[rows], xy[rows], block)]).astype(np.float32)
        return p

    return by(block) if weights is None else blended(by(block), cell, weights, by)


def named(networks: list[np.ndarray]) -> dict[str, np.ndarray]:
    """The networks as models_of_blocks/<REGION>_models.npz names them: w1, b1, w2, ..."""
    return {f"{'wb'[i % 2]}{i // 2 + 1}": w for i, w in enumerate(networks)}


def unnamed(models: dict) -> list[np.ndarray]:
    """The networks among the arrays of that file."""
    layers = sum(name[0] == "w" and name[1:].isdigit() for name in models)
    return [models[f"{kind}{layer}"] for layer in range(1, layers + 1) for kind in "wb"]
