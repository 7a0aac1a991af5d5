"""The outer loop of maml.py on processor cores: the same formulas, derived by hand, for LANES tasks in lockstep.

TensorFlow's form is what a GPU runs, and what this one is tested against. The meta-gradient goes backwards through the
inner loop (Finn et al. 2017, arXiv 1703.03400, section 2.2):

    g = dL_query / dw_K, and for every inner step from the last to the first:
    d inner_lr -= g * dL_support / dw_k,   g -= (d2 L_support / dw_k2) (inner_lr * g)
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
from numba import config, njit

from lsm.learner.lanes.passes import add_lanes, aligned, backward, forward, hessian_product, losses_of
from lsm.learner.lanes.products import LANES, TILE
from lsm.learner.network import EPSILON, parts_of_curves
from lsm.run.code import compiled, sha256
from lsm.run.settings import InputError

BETA_1, BETA_2, TINY = 0.9, 0.999, 1e-7  # of Adam, as in maml.py


@njit(nogil=True)
def _lay_out(i, task, support, query, net, n, h, path, share, counts, sign, wide, wide_of_both):
    """Puts LANES tasks of the outer step i, from number `task` on, into lanes: the samples of the support, `n` with
    padding, then those of the query."""
    sizes, _, path_rows, _ = net
    lanes = min(LANES, support[0].shape[1] - task)  # the others count nothing
    h[:len(counts) * sizes[0]] = 0
    path[:], counts[:], sign[:] = 0, 0, 1
    for begin, (x, path_x, label, mask) in ((0, support), (n, query)):
        for t in range(lanes):
            total = mask[i, task + t].sum()
            for s in range(x.shape[2]):
                sign[begin + s, t] = 1 - 2 * label[i, task + t, s]
                counts[begin + s, t] = mask[i, task + t, s] / total
        for s in range(x.shape[2]):
            for j in range(x.shape[3]):
                for t in range(lanes):
                    h[(begin + s) * sizes[0] + j, t] = x[i, task + t, s, j]
            for j in range(path_x.shape[3]):
                for t in range(lanes):
                    path[(begin + s) * path_rows + j, t] = path_x[i, task + t, s, j]
    if path_rows and not support[1].shape[3]:
        path[:] = h[:len(counts) * path_rows]
    share[:] = counts[:n]  # the query is normalised by the support, and the support counts in no loss of the query
    counts[:n] = 0
    for s in range(n):
        for k in range(wide.shape[1]):
            wide[s, k] = share[s, k % LANES]
    wide_of_both[:n] = wide


@njit(nogil=True)
def _take_step(w, rates, g, to):
    """Sets `to` to the weights w (weights, LANES) after an inner step along the gradient g."""
    for p in range(len(w)):
        rate = rates[p if len(rates) > 1 else 0]
        for t in range(LANES):
            to[p, t] = w[p, t] - rate * g[p, t]


@njit(nogil=True)
def _through_step(along, rates, g, of_rates, direction):
    """What the inner rates of a step get, of the derivatives `along` by the weights after it; sets the direction along
    which the step's gradient moves them."""
    for p in range(len(along)):
        rate = rates[p if len(rates) > 1 else 0]
        for t in range(LANES):
            of_rates[p, t] -= along[p, t] * g[p, t]
            direction[p, t] = rate * along[p, t]


@njit(nogil=True)
def _adam(values, first, m, v, gradient, shrinks, rate):
    """A step of Adam on values, whose moments begin at `first` of m and v; gradient (values,). shrinks (values,) is
    what of a value is kept before, or empty."""
    kind = values.dtype.type
    for p in range(len(values)):
        q = first + p
        m[q] = kind(BETA_1) * m[q] + kind(1 - BETA_1) * gradient[p]
        v[q] = kind(BETA_2) * v[q] + kind(1 - BETA_2) * gradient[p] * gradient[p]
        kept = values[p] * shrinks[p] if len(shrinks) else values[p]
        values[p] = kept - rate * m[q] / (np.sqrt(v[q]) + kind(TINY))


@lru_cache
def _loop() -> Callable:
    """The compiled outer loop of one member."""
    if config.DISABLE_JIT:
        raise InputError("NUMBA_DISABLE_JIT: expected 0, since meta-training is compiled, found 1; unset it")
    code = "".join(sha256(Path(__file__).with_name(name)) for name in ("passes.py", "products.py")) + f" {EPSILON}"

    @compiled
    def loop(weights, rates, m, v, shrinks, net, inner_steps, first_order, outer_lr, step, support, query, losses):
        """Outer steps from number `step` on, one for each batch; changes weights (weights,), rates (weights,) or (1,),
        m and v (both,), and sets losses (steps, 2): of the query before and after the inner loop.

        shrinks         (weights,) what of a weight a step keeps
        support, query  x (steps, tasks, samples, inputs), what the direct path multiplies (no columns: x itself), label
                        and mask (steps, tasks, samples)
        """
        code  # noqa: B018  numba keeps what it compiles for this text: anew, where the passes have changed
        sizes, _, path_rows, _ = net
        kind, size, tasks = weights.dtype, len(weights), support[0].shape[1]
        n = -(-support[0].shape[2] // TILE) * TILE
        both = n + -(-query[0].shape[2] // TILE) * TILE
        widest, units, rows, rows_of_both = sizes.max(), sizes[1:].sum(), n * sizes.sum(), both * sizes.sum()

        # of each inner step, for the way back
        w, g = aligned(inner_steps + 1, size, kind), aligned(inner_steps, size, kind)
        h, zh, da, dz = (aligned(inner_steps, rows, kind), aligned(inner_steps, rows, kind),
                         aligned(inner_steps, rows, kind), aligned(inner_steps, rows, kind))
        r, tied = aligned(inner_steps, units, kind), aligned(inner_steps, units, kind)
        do, bend = aligned(inner_steps, 2 * n, kind), aligned(inner_steps, n, kind)
        scratch = (aligned(1, rows, kind)[0], aligned(1, rows, kind)[0], aligned(1, rows, kind)[0],
                   aligned(1, units, kind)[0])
        # the support and the query together
        qh, qz, qa, qd = (aligned(1, rows_of_both, kind)[0], aligned(1, rows_of_both, kind)[0],
                          aligned(1, rows_of_both, kind)[0], aligned(1, rows_of_both, kind)[0])
        qr, qt, qo, qb = (aligned(1, units, kind)[0], aligned(1, units, kind)[0], aligned(1, 2 * both, kind)[0],
                          aligned(1, both, kind)[0])
        path = aligned(1, both * path_rows, kind)[0]
        share, counts, sign = aligned(1, n, kind)[0], aligned(1, both, kind)[0], aligned(1, both, kind)[0]
        wide, qwide = aligned(n, widest, kind).reshape(n, -1), aligned(both, widest, kind).reshape(both, -1)
        along, direction, of_weights, of_rates = (aligned(1, size, kind)[0], aligned(1, size, kind)[0],
                                                  aligned(1, size, kind)[0], aligned(1, size, kind)[0])
        sums, unused = aligned(1, 2, kind)[0], aligned(1, 1, kind)[0, 0]

        for i in range(len(losses)):
            of_weights[:], of_rates[:], sums[:] = 0, 0, 0
            for task in range(0, tasks, LANES):
                _lay_out(i, task, support, query, net, n, qh, path, share, counts, sign, wide, qwide)
                for p in range(size):
                    for t in range(LANES):
                        w[0, p, t] = weights[p]
                losses_of(forward(w[0], net, qh, qz, qr, qwide, path, both), sign, counts, sums[0], qo, qb, True)
                for k in range(inner_steps):
                    h[k, :n * sizes[0]] = qh[:n * sizes[0]]
                    o = forward(w[k], net, h[k], zh[k], r[k], wide, path, n)
                    losses_of(o, sign[:n], share, unused, do[k], bend[k], False)
                    backward(w[k], net, h[k], zh[k], r[k], wide, path, do[k], n, g[k], da[k], dz[k], tied[k])
                    _take_step(w[k], rates, g[k], w[k + 1])
                o = forward(w[inner_steps], net, qh, qz, qr, qwide, path, both)
                losses_of(o, sign, counts, sums[1], qo, qb, True)
                backward(w[inner_steps], net, qh, qz, qr, qwide, path, qo, both, along, qa, qd, qt)
                for k in range(inner_steps - 1, -1, -1):
                    _through_step(along, rates, g[k], of_rates, direction)
                    if not first_order:
                        hessian_product(w[k], direction, net, h[k], zh[k], r[k], wide, path, do[k], bend[k], da[k],
                                        dz[k], tied[k], n, w[k + 1], *scratch)  # w[k + 1] is free again
                        along -= w[k + 1]
                of_weights += along

            add_lanes(of_weights)
            add_lanes(of_rates)
            of_all = of_rates[:, 0] if len(rates) > 1 else of_rates[:, 0].sum() * np.ones(1, kind)
            t = step + i + 1
            rate = kind.type(outer_lr * np.sqrt(1 - BETA_2 ** t) / (1 - BETA_1 ** t))
            _adam(weights, 0, m, v, of_weights[:, 0] / kind.type(tasks), shrinks, rate)
            _adam(rates, size, m, v, of_all / kind.type(tasks), shrinks[:0], rate)
            losses[i] = sums[0].sum() / kind.type(tasks), sums[1].sum() / kind.type(tasks)

    return loop


def _padded(count: int) -> int:
    return -(-count // TILE) * TILE


def _flat(arrays: list[np.ndarray], shapes: list[tuple]) -> np.ndarray:
    """The arrays one after the other, each padded with zeros to its shape; an inner rate for all stays one number."""
    if arrays[0].ndim == 0:
        return np.reshape(arrays[0], 1).copy()
    return np.concatenate([np.pad(a, [(0, to - now) for to, now in zip(shape, a.shape, strict=True)]).ravel()
                           for a, shape in zip(arrays, shapes, strict=True)])


def _unflat(flat: np.ndarray, like: list[np.ndarray], shapes: list[tuple]) -> list[np.ndarray]:
    """The arrays that `_flat` joined, without their padding."""
    if like[0].ndim == 0:
        return [flat[0]]
    ends = np.cumsum([np.prod(shape) for shape in shapes])
    return [part.reshape(shape)[tuple(map(slice, a.shape))].copy()
            for part, shape, a in zip(np.split(flat, ends[:-1]), shapes, like, strict=True)]


def outer_steps(state: dict, step: int, batches: list[np.ndarray], inner_steps: int, outer_lr: float, normalise: bool,
                first_order: bool, decay: float) -> tuple[dict, np.ndarray, np.ndarray]:
    """Outer steps of one member, as many as the batches have, starting with number `step` (from 0).

    state    as maml.initial_state makes it; it is not changed
    batches  [x, label, mask] of the support, then of the query: (steps, tasks, samples, ...)
    Returns the new state and the query losses before and after the inner loop, means over the steps.
    """
    arrays = state["weights"]
    layers, direct = len(arrays) // 2 - 1, len(arrays) % 2
    shapes = [tuple(map(_padded, w.shape)) if i < 2 * layers else (*map(_padded, w.shape[:-1]), 2)
              for i, w in enumerate(arrays)]
    sizes = np.array([shapes[0][0], *(shape[0] for shape in shapes[1:2 * layers:2])])
    net = sizes, np.cumsum([0, *map(np.prod, shapes)]), shapes[-1][0] if direct else 0, normalise
    kind = arrays[0].dtype
    weights, rates = _flat(arrays, shapes), _flat(state["inner_lr"], shapes)
    n = len(arrays)
    m, v = (np.concatenate([_flat(state[key][:n], shapes), _flat(state[key][n:], shapes)]) for key in "mv")
    shrinks = _flat([np.full(w.shape, 1 - outer_lr * decay if w.ndim == 2 else 1, kind) for w in arrays], shapes)
    parts = []
    for x, label, mask in (batches[:3], batches[3:]):
        x = np.ascontiguousarray(x, kind)
        bends = direct and arrays[-1].shape[0] > x.shape[-1]
        path = parts_of_curves(x, arrays[-1].shape[0]).numpy() if bends else x[..., :0]
        parts.append((x, np.ascontiguousarray(path), np.ascontiguousarray(label), np.ascontiguousarray(mask, kind)))
    losses = np.zeros((len(batches[0]), 2), kind)
    _loop()(weights, rates, m, v, shrinks, net, inner_steps, first_order, outer_lr, step, *parts, losses)
    size = len(weights)
    moments = {key: _unflat(a[:size], arrays, shapes) + _unflat(a[size:], state["inner_lr"], shapes)
               for key, a in (("m", m), ("v", v))}
    new = {"weights": _unflat(weights, arrays, shapes), "inner_lr": _unflat(rates, state["inner_lr"], shapes)} | moments
    return new, *losses.mean(axis=0)
