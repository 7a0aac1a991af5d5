"""Forward, backward and second-order passes of a network (network.py) for LANES tasks in lockstep.

    net       as layout.py has it
    w, v      (weights, LANES) weights; a direction in their space
    h         (samples * all widths, LANES) the inputs, then what each layer gives
    zh, r     what each layer normalises, as h; (units, LANES) 1 / standard deviation
    share     (samples, widest layer * LANES) what a sample counts in the normalisation's mean and variance
    counts    (samples, LANES) what a sample counts in the loss
    sign      (samples, LANES) 1 for label 0, -1 for label 1
    path_x    (samples * path_rows, LANES) what the direct path multiplies
    da, dz    derivatives of the loss behind and before the normalisation, as h
    do, bend  (samples * 2, LANES) derivatives by the logits; (samples, LANES) second ones by the margin

Padding is zero and stays zero. These functions are compiled as parts of the loops of adaptation_steps.py and
outer_steps.py, which keep the compiled code: numba would not see that another file has changed.
"""

import numpy as np
from numba import njit

from lsm.learner.lanes.products import LANES, add_backward, add_forward, add_gradient

EPSILON = 1e-3  # of batch normalisation; published


@njit(nogil=True)
def _matrix(a, first, samples, units):
    """The matrix (samples, units * LANES) that begins at a row of a (rows, LANES): a view."""
    return a[first:first + samples * units].reshape(samples, units * LANES)


@njit(nogil=True)
def _row(a, first, units):
    """(units * LANES,), a view of a (rows, LANES)."""
    return a[first:first + units].reshape(units * LANES)


@njit(nogil=True)
def _normalise(z, share, r):
    """z (samples, width) less its mean, times r (width,), which is set to 1 / sqrt(variance + EPSILON)."""
    mean = np.zeros_like(r)
    for s in range(len(z)):
        for k in range(len(r)):
            mean[k] += share[s, k] * z[s, k]
    r[:] = 0
    for s in range(len(z)):
        for k in range(len(r)):
            z[s, k] -= mean[k]
            r[k] += share[s, k] * z[s, k] * z[s, k]
    for k in range(len(r)):
        r[k] = 1 / np.sqrt(r[k] + r.dtype.type(EPSILON))
    for s in range(len(z)):
        for k in range(len(r)):
            z[s, k] *= r[k]


@njit(nogil=True)
def forward(w, net, h, zh, r, share, path_x, samples):
    """The logits (samples * 2, LANES) of the inputs in the first rows of h.

    Fills h with what each layer gives, zh with what it normalises, r (units, LANES) with 1 / sd. share (samples, widest
    layer * LANES).
    """
    sizes, at, _, normalise = net
    layers, here, unit = len(sizes) - 1, 0, 0
    for layer in range(layers):
        inputs, units = sizes[layer], sizes[layer + 1]
        there = here + samples * inputs
        z = _matrix(zh, there, samples, units)
        z[:] = 0
        add_forward(zh, there, h, here, w, at[2 * layer], samples, inputs, units)
        if normalise:
            _normalise(z, share, _row(r, unit, units))
        b, out = _row(w, at[2 * layer + 1], units), _matrix(h, there, samples, units)
        for s in range(samples):
            for k in range(len(b)):
                a = z[s, k] + b[k]
                out[s, k] = a if not a < 0 else 0  # what is no number stays none
        here, unit = there, unit + units
    o = np.empty((2 * samples, LANES), w.dtype)
    _logits(o, w, net, h, here, path_x, samples)
    return o


@njit(nogil=True)
def _logits(o, w, net, h, here, path_x, samples):
    """o (samples * 2, LANES) is set to what the head with weights w gives for the last layer, at row `here` of h."""
    sizes, at, path_rows, _ = net
    head = 2 * (len(sizes) - 1)
    for s in range(samples):
        o[2 * s:2 * s + 2] = w[at[head + 1]:at[head + 1] + 2]
    add_forward(o, 0, h, here, w, at[head], samples, sizes[-1], 2)
    if path_rows:
        add_forward(o, 0, path_x, 0, w, at[head + 2], samples, path_rows, 2)


@njit(nogil=True)
def losses_of(o, sign, counts, losses, do, bend, wanted):
    """do (samples * 2, LANES) is set to the derivatives of each task's loss by the logits, bend (samples, LANES) to the
    second one by the margin; where it is wanted, the loss is added to losses (LANES,)."""
    zero, one = o.dtype.type(0), o.dtype.type(1)
    for s in range(len(sign)):
        for t in range(LANES):
            margin = sign[s, t] * (o[2 * s + 1, t] - o[2 * s, t])
            e = np.exp(-abs(margin))
            if wanted:
                losses[t] += counts[s, t] * (max(margin, zero) + np.log1p(e))
            share = (one if margin >= 0 else e) / (one + e)  # the logistic function of the margin
            do[2 * s + 1, t] = counts[s, t] * sign[s, t] * share
            do[2 * s, t] = -do[2 * s + 1, t]
            bend[s, t] = counts[s, t] * share * (one - share)


@njit(nogil=True)
def _through_relu(d, out, total):
    """Keeps of the derivatives d (samples, width) those of units that gave something (out > 0); adds them up in total
    (width,), which are the derivatives by the bias."""
    for s in range(len(d)):
        for k in range(len(total)):
            d[s, k] = d[s, k] if out[s, k] > 0 else 0
            total[k] += d[s, k]


@njit(nogil=True)
def backward(w, net, h, zh, r, share, path_x, do, samples, g, da, dz, tied):
    """Sets g (weights, LANES) to the gradient of the losses whose derivatives by the logits are do.

    Fills da with the derivatives behind the normalisation, dz before it, tied (units, LANES) with what a unit's
    variance passes on.
    """
    sizes, at, _, normalise = net
    layers = len(sizes) - 1
    here, unit = samples * sizes[:-1].sum(), sizes[1:].sum()
    g[:] = 0
    _head_gradient(g, net, h, here, path_x, do, samples)
    d = _matrix(da, here, samples, sizes[-1])
    d[:] = 0
    add_backward(da, here, do, 0, w, at[2 * layers], samples, sizes[-1], 2)
    for layer in range(layers - 1, -1, -1):
        inputs, units = sizes[layer], sizes[layer + 1]
        unit -= units
        below = here - samples * inputs
        d, out = _matrix(da, here, samples, units), _matrix(h, here, samples, units)
        x, z = _matrix(zh, here, samples, units), _matrix(dz, here, samples, units)
        total, both, scale = _row(g, at[2 * layer + 1], units), _row(tied, unit, units), _row(r, unit, units)
        both[:] = 0
        _through_relu(d, out, total)
        if normalise:
            for s in range(samples):
                for k in range(len(total)):
                    both[k] += d[s, k] * x[s, k]
            for s in range(samples):
                for k in range(len(total)):
                    z[s, k] = scale[k] * (d[s, k] - share[s, k] * (total[k] + x[s, k] * both[k]))
        else:
            z[:] = d
        add_gradient(g, at[2 * layer], h, below, dz, here, samples, inputs, units)
        if layer:
            _matrix(da, below, samples, inputs)[:] = 0
            add_backward(da, below, dz, here, w, at[2 * layer], samples, inputs, units)
        here = below


@njit(nogil=True)
def _head_gradient(g, net, h, here, path_x, do, samples):
    """Adds to g what the head and the direct path get."""
    sizes, at, path_rows, _ = net
    head = 2 * (len(sizes) - 1)
    add_gradient(g, at[head], h, here, do, 0, samples, sizes[-1], 2)
    for s in range(samples):
        for c in range(2):
            for t in range(LANES):
                g[at[head + 1] + c, t] += do[2 * s + c, t]
    if path_rows:
        add_gradient(g, at[head + 2], path_x, 0, do, 0, samples, path_rows, 2)


@njit(nogil=True)
def hessian_product(w, v, net, h, zh, r, share, path_x, do, bend, da, dz, tied, samples, out, rh, rz, rd, rq):
    """Sets out (weights, LANES) to the Hessian of the losses times the direction v, after `forward` and `backward`.

    The derivatives of all they computed along v, once forwards and once backwards (Pearlmutter 1994, Neural Computation
    6, 147): rh of h, rz of zh and then of dz, rd of da; rq (units, LANES) is what moves r.
    """
    sizes, at, _, normalise = net
    layers, here, unit = len(sizes) - 1, 0, 0
    for layer in range(layers):
        inputs, units = sizes[layer], sizes[layer + 1]
        there = here + samples * inputs
        z, x = _matrix(rz, there, samples, units), _matrix(zh, there, samples, units)
        q, scale = _row(rq, unit, units), _row(r, unit, units)
        z[:] = 0
        if layer:
            add_forward(rz, there, rh, here, w, at[2 * layer], samples, inputs, units)
        add_forward(rz, there, h, here, v, at[2 * layer], samples, inputs, units)
        if normalise:
            mean = np.zeros_like(scale)
            q[:] = 0
            for s in range(samples):
                for k in range(len(q)):
                    mean[k] += share[s, k] * z[s, k]
                    q[k] += share[s, k] * z[s, k] * x[s, k]
            for s in range(samples):
                for k in range(len(q)):
                    z[s, k] = scale[k] * (z[s, k] - mean[k] - x[s, k] * q[k])
        a, ra = _matrix(h, there, samples, units), _matrix(rh, there, samples, units)
        b = _row(v, at[2 * layer + 1], units)
        for s in range(samples):
            for k in range(len(b)):
                ra[s, k] = z[s, k] + b[k] if a[s, k] > 0 else 0
        here, unit = there, unit + units
    o = np.empty((2 * samples, LANES), w.dtype)
    _logits(o, v, net, h, here, path_x, samples)
    add_forward(o, 0, rh, here, w, at[2 * layers], samples, sizes[-1], 2)
    for s in range(samples):
        for t in range(LANES):
            o[2 * s + 1, t] = bend[s, t] * (o[2 * s + 1, t] - o[2 * s, t])
            o[2 * s, t] = -o[2 * s + 1, t]
    out[:] = 0
    _head_gradient(out, net, h, here, path_x, o, samples)
    add_gradient(out, at[2 * layers], rh, here, do, 0, samples, sizes[-1], 2)
    _matrix(rd, here, samples, sizes[-1])[:] = 0
    add_backward(rd, here, o, 0, w, at[2 * layers], samples, sizes[-1], 2)
    add_backward(rd, here, do, 0, v, at[2 * layers], samples, sizes[-1], 2)
    for layer in range(layers - 1, -1, -1):
        inputs, units = sizes[layer], sizes[layer + 1]
        unit -= units
        below = here - samples * inputs
        a, d, rda = _matrix(h, here, samples, units), _matrix(da, here, samples, units), _matrix(
            rd, here, samples, units)
        x, z, rx = _matrix(zh, here, samples, units), _matrix(dz, here, samples, units), _matrix(
            rz, here, samples, units)
        total, moved = _row(out, at[2 * layer + 1], units), np.zeros(units * LANES, w.dtype)
        both, q, scale = _row(tied, unit, units), _row(rq, unit, units), _row(r, unit, units)
        _through_relu(rda, a, total)
        if normalise:
            for s in range(samples):
                for k in range(len(total)):
                    moved[k] += rda[s, k] * x[s, k] + d[s, k] * rx[s, k]
            for s in range(samples):
                for k in range(len(total)):
                    rx[s, k] = rda[s, k] - share[s, k] * (total[k] + rx[s, k] * both[k] + x[s, k] * moved[k])
                for k in range(len(total)):
                    rx[s, k] = scale[k] * (rx[s, k] - q[k] * z[s, k])
        else:
            rx[:] = rda
        add_gradient(out, at[2 * layer], h, below, rz, here, samples, inputs, units)
        if layer:
            add_gradient(out, at[2 * layer], rh, below, dz, here, samples, inputs, units)
            _matrix(rd, below, samples, inputs)[:] = 0
            add_backward(rd, below, rz, here, w, at[2 * layer], samples, inputs, units)
            add_backward(rd, below, dz, here, v, at[2 * layer], samples, inputs, units)
        here = below
