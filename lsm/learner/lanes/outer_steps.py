"""The outer loop of maml.py on processor cores: the same formulas, derived by hand, for LANES tasks in lockstep.

TensorFlow's form is what a GPU runs, and what this one is tested against. The meta-gradient goes backwards through the
inner loop (Finn et al. 2017, arXiv 1703.03400, section 2.2):

    g = dL_query / dw_K, and for every inner step from the last to the first:
    d inner_lr -= g * dL_support / dw_k,   g -= (d2 L_support / dw_k2) (inner_lr * g)
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numba import njit

from lsm.learner.lanes.layout import (
    add_lanes,
    aligned,
    code_of_lanes,
    direct_inputs,
    flat,
    lay_out,
    shapes_and_net,
    take_step,
    unflat,
    weigh,
    widen,
)
from lsm.learner.lanes.passes import backward, forward, hessian_product, losses_of
from lsm.learner.lanes.products import LANES, TILE
from lsm.run.code import compiled

BETA_1, BETA_2, TINY = 0.9, 0.999, 1e-7  # of Adam, as in maml.py


@njit(nogil=True)
def _lay_out(task, support, query, net, n, h, path, share, counts, sign, wide, wide_of_both):
    """Puts LANES tasks of an outer step, from number `task` on, into lanes: the samples of the support, `n` with
    padding, then those of the query."""
    sizes, _, _, _ = net
    h[:len(counts) * sizes[0]] = 0
    path[:], counts[:], sign[:] = 0, 0, 1
    lay_out(support, task, 0, net, h, path, sign[:n])
    lay_out(query, task, n, net, h, path, sign)
    weigh(support[3], task, share)  # the query is normalised by the support, too
    weigh(query[3], task, counts[n:])  # the support counts in no loss of the query
    widen(share, wide)
    wide_of_both[:n] = wide


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
    code = code_of_lanes()

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
            support_now = support[0][i], support[1][i], support[2][i], support[3][i]
            query_now = query[0][i], query[1][i], query[2][i], query[3][i]
            for task in range(0, tasks, LANES):
                _lay_out(task, support_now, query_now, net, n, qh, path, share, counts, sign, wide, qwide)
                for p in range(size):
                    for t in range(LANES):
                        w[0, p, t] = weights[p]
                losses_of(forward(w[0], net, qh, qz, qr, qwide, path, both), sign, counts, sums[0], qo, qb, True)
                for k in range(inner_steps):
                    h[k, :n * sizes[0]] = qh[:n * sizes[0]]
                    o = forward(w[k], net, h[k], zh[k], r[k], wide, path, n)
                    losses_of(o, sign[:n], share, unused, do[k], bend[k], False)
                    backward(w[k], net, h[k], zh[k], r[k], wide, path, do[k], n, g[k], da[k], dz[k], tied[k])
                    take_step(w[k], rates, g[k], w[k + 1])
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


def outer_steps(state: dict, step: int, batches: list[np.ndarray], inner_steps: int, outer_lr: float, normalise: bool,
                first_order: bool, decay: float) -> tuple[dict, np.ndarray, np.ndarray]:
    """Outer steps of one member, as many as the batches have, starting with number `step` (from 0).

    state    as members.initial_state makes it; it is not changed
    batches  [x, label, mask] of the support, then of the query: (steps, tasks, samples, ...)
    Returns the new state and the query losses before and after the inner loop, means over the steps.
    """
    arrays = state["weights"]
    shapes, net = shapes_and_net(arrays, normalise)
    kind, n = arrays[0].dtype, len(arrays)
    weights, rates = flat(arrays, shapes), flat(state["inner_lr"], shapes)
    m, v = (np.concatenate([flat(state[key][:n], shapes), flat(state[key][n:], shapes)]) for key in "mv")
    shrinks = flat([np.full(w.shape, 1 - outer_lr * decay if w.ndim == 2 else 1, kind) for w in arrays], shapes)
    parts = []
    for x, label, mask in (batches[:3], batches[3:]):
        x = np.ascontiguousarray(x, kind)
        parts.append((x, direct_inputs(arrays, x), np.ascontiguousarray(label), np.ascontiguousarray(mask, kind)))
    losses = np.zeros((len(batches[0]), 2), kind)
    _loop()(weights, rates, m, v, shrinks, net, inner_steps, first_order, outer_lr, step, *parts, losses)
    size = len(weights)
    moments = {key: unflat(a[:size], arrays, shapes) + unflat(a[size:], state["inner_lr"], shapes)
               for key, a in (("m", m), ("v", v))}
    new = {"weights": unflat(weights, arrays, shapes), "inner_lr": unflat(rates, state["inner_lr"], shapes)} | moments
    return new, *losses.mean(axis=0)
