"""The inner loop of adaptation on processor cores: LANES blocks in lockstep, by the passes of passes.py."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numba import njit

from lsm.learner.lanes.layout import (
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
from lsm.learner.lanes.passes import backward, forward, losses_of
from lsm.learner.lanes.products import LANES, TILE
from lsm.run.code import compiled

LARGEST = 1e6  # weight of a step that is kept; products of larger ones through four layers overflow float32


@njit(nogil=True)
def keep_better(best, lowest, w, losses):
    """Where the loss of a lane is lower than ever before (one of nan never is) and no weight is LARGEST, best (weights,
    LANES) and lowest (LANES,) become those of w and losses."""
    for t in range(LANES):
        largest = w.dtype.type(0)
        for p in range(len(w)):
            largest = max(largest, abs(w[p, t]))
        if losses[t] < lowest[t] and largest < LARGEST:
            lowest[t] = losses[t]
            best[:, t] = w[:, t]


@njit(nogil=True)
def lose_diverged(w):
    """Makes all weights of a lane nan where one is LARGEST or more: of larger ones rows of padding overflow, too, and
    what becomes of the task would depend on how many it has."""
    for t in range(LANES):
        lost = False
        for p in range(len(w)):
            lost |= not abs(w[p, t]) < LARGEST
        if lost:
            w[:, t] = np.nan


@njit(nogil=True)
def _fold(w, net, h, r, counts):
    """Takes the normalisation into the weights w, after `forward` by them: its scale, r, into w, its shift into b."""
    sizes, at, _, _ = net
    here, unit, samples = 0, 0, len(counts)
    for layer in range(len(sizes) - 1):
        inputs, units = sizes[layer], sizes[layer + 1]
        mean = np.zeros((inputs, LANES), w.dtype)
        for s in range(samples):
            for j in range(inputs):
                for t in range(LANES):
                    mean[j, t] += counts[s, t] * h[here + s * inputs + j, t]
        for u in range(units):
            for j in range(inputs):
                p = at[2 * layer] + j * units + u
                for t in range(LANES):
                    w[p, t] *= r[unit + u, t]
                    w[at[2 * layer + 1] + u, t] -= mean[j, t] * w[p, t]
        here, unit = here + samples * inputs, unit + units


@lru_cache
def _loop() -> Callable:
    """The compiled inner loop of one member."""
    code = code_of_lanes()

    @compiled
    def loop(weights, rates, net, steps, given, chosen, sizes, out):
        """Sets out (tasks, weights) to the folded networks after inner steps from weights (weights,).

        given   the samples of all tasks, as `samples` of layout.py
        chosen  (steps, tasks, samples) masks of the samples of each step, the last of which stays; without any, every
                step takes all samples, and the best of all steps stays
        sizes   (tasks,) samples of each task, falling: no more are looked at
        """
        code  # noqa: B018  see code_of_lanes
        widths, _, path_rows, normalise = net
        kind, batches, most = weights.dtype, len(chosen) > 0, -(-sizes[0] // TILE) * TILE
        rows, units, widest = most * widths.sum(), widths[1:].sum(), widths.max()
        h, zh, da, dz = (aligned(1, rows, kind)[0], aligned(1, rows, kind)[0], aligned(1, rows, kind)[0],
                         aligned(1, rows, kind)[0])
        r, tied = aligned(1, units, kind)[0], aligned(1, units, kind)[0]
        do, bend = aligned(1, 2 * most, kind)[0], aligned(1, most, kind)[0]
        path, wide = aligned(1, most * path_rows, kind)[0], aligned(most, widest, kind).reshape(most, -1)
        counts, sign = aligned(1, most, kind)[0], aligned(1, most, kind)[0]
        w, g, best = (aligned(1, len(weights), kind)[0], aligned(1, len(weights), kind)[0],
                      aligned(1, len(weights), kind)[0])
        losses, lowest = np.empty(LANES, kind), np.empty(LANES, kind)

        for first in range(0, len(out), LANES):
            n = -(-sizes[first] // TILE) * TILE
            h[:n * widths[0]], path[:], sign[:n] = 0, 0, 1
            lay_out(given, first, 0, net, h, path, sign[:n])
            for p in range(len(weights)):
                w[p], best[p] = weights[p], weights[p]
            lowest[:] = np.inf
            for step in range(steps + 1):
                if batches or not step:
                    weigh(chosen[step] if step < len(chosen) else given[3], first, counts[:n])
                    widen(counts[:n], wide[:n])
                if batches and step == steps:
                    break
                o = forward(w, net, h, zh, r, wide[:n], path, n)
                losses[:] = 0
                losses_of(o, sign[:n], counts[:n], losses, do[:2 * n], bend[:n], True)
                if not batches:
                    keep_better(best, lowest, w, losses)
                if step < steps:
                    backward(w, net, h, zh, r, wide[:n], path, do[:2 * n], n, g, da, dz, tied)
                    take_step(w, rates, g, w)
                if batches:
                    lose_diverged(w)
            if not batches:
                w[:] = best
            if normalise:
                forward(w, net, h, zh, r, wide[:n], path, n)
                _fold(w, net, h, r, counts[:n])
            for t in range(min(LANES, len(out) - first)):
                for p in range(len(weights)):
                    out[first + t, p] = w[p, t]

    return loop


def adaptation_steps(state: dict, x: np.ndarray, label: np.ndarray, mask: np.ndarray, sizes: np.ndarray,
                     steps: int | np.ndarray, normalise: bool) -> list[np.ndarray]:
    """The networks (tasks, ...) of tasks after inner steps from a member's state, without normalisation (its scale is
    in w, its shift in b), in the float type of the state.

    x      (tasks, samples, inputs), label and mask (tasks, samples); a sample counts by its mask
    sizes  (tasks,) samples of each task, falling; those beyond have a mask of 0
    steps  how many, each on the whole task: of all steps a task keeps the weights that fit it best, since rates that
           were learned for a few steps can overshoot in a block unlike the others. A step that diverged is not kept,
           even if its loss is 0: weights of 1e12 can fit a single sample, and give no number for others.
           Or masks (steps, tasks, samples) of the samples of each step: the last weights stay, nan where they diverged
    The networks of a task do not depend on the other tasks, to the last bit. Raises ValueError where sizes rise.
    """
    if (np.diff(sizes) > 0).any():
        raise ValueError(f"sizes: expected none larger than the one before, found {list(sizes)}")
    arrays = state["weights"]
    shapes, net = shapes_and_net(arrays, normalise)
    kind = arrays[0].dtype
    x, by_masks = np.ascontiguousarray(x, kind), np.ndim(steps) > 0
    given = x, direct_inputs(arrays, x), np.ascontiguousarray(label, np.int32), np.ascontiguousarray(mask, kind)
    chosen = np.ascontiguousarray(steps, kind) if by_masks else np.empty((0, *mask.shape), kind)
    out = np.empty((len(x), int(net[1][-1])), kind)
    _loop()(flat(arrays, shapes), flat(state["inner_lr"], shapes), net, len(chosen) if by_masks else int(steps), given,
            chosen, np.ascontiguousarray(sizes, np.int64), out)
    return unflat(out, arrays, shapes)
