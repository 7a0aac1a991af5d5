"""From the networks of blocks to landslide probabilities, in NumPy. No TensorFlow: prediction needs no gradient.

A folded network is a list of weights [w1, b1, ..., w4, b4] without normalisation, as network.folded leaves them, with
w5 where it has a direct path. The networks of all blocks are `Networks`: for each kind of member such a list, whose
arrays have (members, blocks) as first axes. The map's log-odds are the mean over all members of all kinds.
"""

import re
from collections.abc import Iterator

import numpy as np
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from lsm.blocks.blending import blended

Networks = dict[str, list[np.ndarray]]  # by kind of member


def log_odds(weights: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """Log-odds of landslide (n,) float32 of encoded cells x (n, inputs) by one folded network.

    A network that does not know the place reads the columns before X and Y. The number of one cell does not depend on
    the other cells.
    """
    x = x[:, :len(weights[0])]
    h, layers = x, len(weights) // 2 - 1
    for w, b in zip(weights[:2 * layers:2], weights[1:2 * layers:2], strict=True):
        h = h @ w
        h += b
        np.maximum(h, 0, out=h)
    w, b = weights[2 * layers:2 * layers + 2]
    z = h @ (w[:, 1] - w[:, 0]) + (b[1] - b[0])
    if len(weights) % 2:
        z += x @ (weights[-1][:, 1] - weights[-1][:, 0])
    return z


def probability(log_odds: np.ndarray) -> np.ndarray:
    """Landslide probability of log-odds, in their float type."""
    return 1 / (1 + np.exp(np.minimum(-log_odds, 80)))


def members_of(networks: Networks) -> Iterator[list[np.ndarray]]:
    """Every member's weights, with (blocks) as first axis, kind by kind."""
    for weights in networks.values():
        for m in range(len(weights[0])):
            yield [w[m] for w in weights]


def mean_log_odds(networks: Networks, x: np.ndarray) -> np.ndarray:
    """Log-odds (n,) of encoded rows x (n, inputs) by the intermediate models: `networks` without the axis of blocks."""
    each = [log_odds(weights, x) for weights in members_of(networks)]
    return sum(each) / np.float32(len(each))


def log_odds_of_members(networks: Networks, block: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Log-odds (members, rows) float32 of encoded rows x (rows, inputs) in blocks (rows,), members kind by kind.

    Every network runs once, over all rows of its block: one matrix product for each layer and block. One BLAS thread
    only: on slices this small the threads wait for each other longer than they work.
    """
    members = list(members_of(networks))
    blocks = len(members[0][0])
    order = np.argsort(block.astype(np.min_scalar_type(blocks)), kind="stable")  # small whole numbers: a radix sort
    x, out = x[order], np.empty((len(members), len(x)), np.float32)
    ends = np.bincount(block, minlength=blocks).cumsum()
    with threadpool_limits(1, "blas"):
        for b in np.flatnonzero(np.diff(ends, prepend=0)):
            rows = slice(ends[b - 1] if b else 0, ends[b])
            for m, weights in enumerate(members):
                out[m, order[rows]] = log_odds([w[b] for w in weights], x[rows])
    return out


def predict(networks: Networks, block: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Landslide probability (rows,) float32 of encoded rows x (rows, inputs), each by the networks of its block
    (rows,): that of the mean log-odds of all members."""
    each = log_odds_of_members(networks, block, x)
    return probability(sum(each) / np.float32(len(each)))


def probability_of_rows(networks: Networks, x: np.ndarray, block: np.ndarray, cell: np.ndarray,
                        weights: csr_array | None) -> np.ndarray:
    """The map's landslide probability (rows,) of rows of the grid, each by the models of its block (rows,).

    x        the encoded rows (rows, inputs)
    cell     (rows,) the place of each row in `weights`; see `lsm.blocks.blending.blended`
    weights  of neighbouring blocks; None: each block ends at its border
    """
    def by(block, rows=np.s_[:]):
        return predict(networks, block, x[rows])

    return by(block) if weights is None else blended(by(block), cell, weights, by)


def named(networks: Networks) -> dict[str, np.ndarray]:
    """The networks as models_of_blocks/<REGION>_models.npz names them: local_w1, local_b1, ..., regional_w1, ..."""
    return {f"{kind}_{'wb'[i % 2]}{i // 2 + 1}": w for kind, weights in networks.items() for i, w in enumerate(weights)}


def unnamed(models: dict) -> Networks:
    """The networks among the arrays of that file."""
    out = {}
    for name, array in models.items():  # in the order written: w1, b1, w2, ... of each kind
        if found := re.fullmatch(r"(\w+)_[wb]\d", name):
            out.setdefault(found[1], []).append(array)
    return out
