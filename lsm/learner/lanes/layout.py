"""How tasks lie in lanes: LANES tasks side by side, one a lane of a vector register, each array (rows, LANES).

    net       (sizes, at, path_rows, normalise): widths of the inputs and the hidden layers, multiples of TILE; the
              first row of each array of weights; rows of the direct path, 0 for none; whether layers are normalised
    samples   (x (tasks, samples, inputs), what the direct path multiplies (no columns: x itself), label and mask
              (tasks, samples))

Padding is zero and stays zero.
"""

from pathlib import Path

import numpy as np
from numba import config, njit

from lsm.learner.additive.direct_path import inputs_of_path
from lsm.learner.lanes.products import LANES, TILE
from lsm.run.code import sha256
from lsm.run.settings import InputError


@njit(nogil=True)
def aligned(count, rows, kind):
    """Zeros (count, rows, LANES) that begin where a vector does: a load across two lines of the cache takes twice as
    long."""
    a = np.zeros((count * rows + 1) * LANES, kind)
    begin = -(a.ctypes.data // a.itemsize) % LANES
    return a[begin:begin + count * rows * LANES].reshape(count, rows, LANES)


@njit(nogil=True)
def lay_out(samples, first, begin, net, h, path, sign):
    """Puts the samples of LANES tasks, from number `first` on, into h, path and sign, from sample `begin` on; as many
    as sign has room for. These are zero before, but for sign."""
    x, path_x, label, _ = samples
    sizes, _, path_rows, _ = net
    count, width = min(x.shape[1], len(sign) - begin), sizes[0]
    for t in range(min(LANES, len(x) - first)):  # the other lanes count nothing
        for s in range(count):
            sign[begin + s, t] = 1 - 2 * label[first + t, s]
            for j in range(x.shape[2]):
                h[(begin + s) * width + j, t] = x[first + t, s, j]
            for j in range(path_x.shape[2]):
                path[(begin + s) * path_rows + j, t] = path_x[first + t, s, j]
            if not path_x.shape[2]:
                for j in range(path_rows):
                    path[(begin + s) * path_rows + j, t] = h[(begin + s) * width + j, t]


@njit(nogil=True)
def weigh(mask, first, counts):
    """Sets counts (samples, LANES) to what each sample counts among those of its task; mask (tasks, samples)."""
    counts[:] = 0
    for t in range(min(LANES, len(mask) - first)):
        total = mask[first + t].sum()
        for s in range(min(mask.shape[1], len(counts))):
            counts[s, t] = mask[first + t, s] / total


@njit(nogil=True)
def widen(counts, wide):
    """Repeats counts (samples, LANES) once for each unit of the widest layer: wide (samples, widest * LANES)."""
    for s in range(len(counts)):
        for k in range(wide.shape[1]):
            wide[s, k] = counts[s, k % LANES]


@njit(nogil=True)
def take_step(w, rates, g, to):
    """Sets `to` to the weights w (weights, LANES) after an inner step along the gradient g; to may be w."""
    for p in range(len(w)):
        rate = rates[p if len(rates) > 1 else 0]
        for t in range(LANES):
            to[p, t] = w[p, t] - rate * g[p, t]


@njit(nogil=True)
def add_lanes(a):
    """Sets the first lane of a (rows, LANES) to the sum of all; the others are lost."""
    for p in range(len(a)):
        for t in range(8):
            a[p, t] += a[p, t + 8]
        for t in range(4):
            a[p, t] += a[p, t + 4]
        a[p, 0] = a[p, 0] + a[p, 2] + (a[p, 1] + a[p, 3])


def code_of_lanes() -> str:
    """What the compiled loops are made of besides their own file: numba keeps what it compiles for this text, and
    compiles anew where these files have changed."""
    return "".join(sha256(Path(__file__).with_name(name)) for name in ("layout.py", "passes.py", "products.py"))


def padded(count: int) -> int:
    """The next multiple of TILE."""
    return -(-count // TILE) * TILE


def shapes_and_net(weights: list[np.ndarray], normalise: bool) -> tuple[list[tuple], tuple]:
    """The padded shapes of a network's arrays, and its `net`.

    Raises InputError where numba is told not to compile.
    """
    if config.DISABLE_JIT:
        raise InputError("NUMBA_DISABLE_JIT: expected 0, since training and adaptation are compiled, found 1; unset it")
    layers, direct = len(weights) // 2 - 1, len(weights) % 2
    shapes = [tuple(map(padded, w.shape)) if i < 2 * layers else (*map(padded, w.shape[:-1]), 2)
              for i, w in enumerate(weights)]
    sizes = np.array([shapes[0][0], *(shape[0] for shape in shapes[1:2 * layers:2])])
    return shapes, (sizes, np.cumsum([0, *map(np.prod, shapes)]), shapes[-1][0] if direct else 0, normalise)


def flat(arrays: list[np.ndarray], shapes: list[tuple]) -> np.ndarray:
    """The arrays one after the other, each padded with zeros to its shape; an inner rate for all stays one number."""
    if arrays[0].ndim == 0:
        return np.reshape(arrays[0], 1).copy()
    return np.concatenate([np.pad(a, [(0, to - now) for to, now in zip(shape, a.shape, strict=True)]).ravel()
                           for a, shape in zip(arrays, shapes, strict=True)])


def unflat(joined: np.ndarray, like: list[np.ndarray], shapes: list[tuple]) -> list[np.ndarray]:
    """The arrays that `flat` joined, without their padding; leading axes of joined are kept."""
    if like[0].ndim == 0:
        return [joined[0]]
    ends, lead = np.cumsum([np.prod(shape) for shape in shapes]), joined.shape[:-1]
    return [part.reshape(*lead, *shape)[(..., *map(slice, a.shape))].copy()
            for part, shape, a in zip(np.split(joined, ends[:-1], axis=-1), shapes, like, strict=True)]


def direct_inputs(weights: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """What the direct path multiplies, of x (..., inputs); no columns where it is x itself, or there is no path."""
    bends = len(weights) % 2 and weights[-1].shape[0] > x.shape[-1]
    return np.ascontiguousarray(inputs_of_path(x, weights[-1].shape[0]) if bends else x[..., :0])
