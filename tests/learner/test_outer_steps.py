"""The outer loop for processor cores against TensorFlow's, which test_maml.py tests against finite differences."""

import numpy as np
import pytest

from lsm.learner import maml, members, network
from lsm.learner.lanes import adaptation_steps
from lsm.learner.lanes import outer_steps as outer_loops
from lsm.learner.lanes.outer_steps import outer_steps
from lsm.learner.network import tf
from lsm.run.code import sha256
from lsm.run.paths import PROJECT

network.use_one_thread()  # before any test runs an operator

STEPS, OUTER_LR = 3, 1e-3


def begin(sizes: list, per_weight: bool, direct: bool, bend: int, rng) -> dict:
    """Weights far from zero, the direct path's too, and inner rates large enough that the inner loop matters."""
    weights = [(w + 0.3 * rng.standard_normal(w.shape)).astype(np.float32)
               for w in members.initial_weights(sizes, None, rng, direct, bend)]
    return members.initial_state(weights, 0.1, per_weight)


def made_batches(inputs: int, tasks: int, support: int, query: int, rng, steps: int = STEPS) -> list:
    """Batches of ragged tasks whose samples weigh 1, .5 or, where there is none, 0."""
    out = []
    for samples in (support, query):
        mask = rng.choice([0, 0.5, 1], (steps, tasks, samples), p=[0.2, 0.3, 0.5]).astype(np.float32)
        mask[..., 0] = 1
        x = np.where(mask[..., None], rng.standard_normal((*mask.shape, inputs)), 1e3).astype(np.float32)
        out += [x, rng.integers(0, 2, mask.shape).astype(np.int32), mask]
    return out


def largest_gap(a: dict, b: dict) -> dict:
    """By part of the state, the largest difference over the largest number."""
    return {key: max(np.abs(p - q).max() for p, q in zip(a[key], b[key], strict=True))
            / max(np.abs(p).max() for p in a[key]) for key in a}


FORMS = {
    "published: one inner rate, normalised, of 8 and 8 samples": {"sizes": [14, 32, 32, 16], "support": 8, "query": 8},
    "local: a rate a weight, a direct path, decay": {
        "sizes": [23, 32, 32, 16], "support": 16, "query": 16, "per_weight": True, "direct": True, "decay": 0.03},
    "regional: not normalised, more tasks than lanes": {
        "sizes": [9, 12, 8], "support": 16, "query": 16, "normalise": False, "per_weight": True, "direct": True,
        "tasks": 19},
    "curves, odd sizes, few tasks": {
        "sizes": [7, 10, 6], "support": 7, "query": 5, "per_weight": True, "direct": True, "bend": 5, "tasks": 5},
    "first order, one inner step": {
        "sizes": [7, 10, 6], "support": 7, "query": 5, "first_order": True, "inner_steps": 1},
}


@pytest.mark.parametrize("form", FORMS)
def test_it_equals_the_outer_loop_of_tensorflow(form):
    f = {"normalise": True, "per_weight": False, "direct": False, "bend": 0, "tasks": 16, "decay": 0.0,
         "first_order": False, "inner_steps": 3} | FORMS[form]
    rng = np.random.default_rng(1)
    state = begin(f["sizes"], f["per_weight"], f["direct"], f["bend"], rng)
    batches = made_batches(f["sizes"][0], f["tasks"], f["support"], f["query"], rng)
    how = f["inner_steps"], OUTER_LR, f["normalise"], f["first_order"]
    expected, *losses = maml.outer_loop(*how, False)(maml.stacked([state]), tf.constant(0), tf.constant(STEPS), batches,
                                                    tf.constant(f["decay"]))
    found, *own = outer_steps(state, 0, batches, *how, f["decay"])
    assert max(largest_gap(maml.unstacked(expected, 1)[0], found).values()) < 5e-6
    np.testing.assert_allclose(own, [loss[0] for loss in losses], rtol=1e-5)


def test_second_order_counts():
    rng = np.random.default_rng(2)
    state, batches = begin([7, 10, 6], True, True, 0, rng), made_batches(7, 16, 7, 5, rng, steps=1)
    first, second = (outer_steps(state, 0, batches, 3, OUTER_LR, True, order, 0.0)[0] for order in (True, False))
    assert largest_gap(first, second)["m"] > 0.01


def test_the_state_and_the_batches_stay_as_they_were():
    rng = np.random.default_rng(3)
    state, batches = begin([7, 10, 6], False, False, 0, rng), made_batches(7, 5, 7, 5, rng)
    before = [w.copy() for part in state.values() for w in part] + [b.copy() for b in batches]
    outer_steps(state, 0, batches, 2, OUTER_LR, True, False, 0.5)
    for a, b in zip(before, [w for part in state.values() for w in part] + batches, strict=True):
        np.testing.assert_array_equal(a, b)


def test_two_calls_equal_one():
    rng = np.random.default_rng(4)
    state, batches = begin([7, 10, 6], True, True, 5, rng), made_batches(7, 5, 7, 5, rng, steps=4)
    how = 2, OUTER_LR, True, False, 0.01
    whole, *_ = outer_steps(state, 10, batches, *how)
    half, *_ = outer_steps(state, 10, [b[:3] for b in batches], *how)
    both, *_ = outer_steps(half, 13, [b[3:] for b in batches], *how)
    for key in whole:
        for a, b in zip(whole[key], both[key], strict=True):
            np.testing.assert_array_equal(a, b)


def test_what_is_no_number_comes_out_as_none():
    rng = np.random.default_rng(5)
    state, batches = begin([7, 10, 6], False, False, 0, rng), made_batches(7, 5, 7, 5, rng)
    batches[0][0, 2, 0] = np.nan
    new, _, post = outer_steps(state, 0, batches, 2, OUTER_LR, True, False, 0.0)
    assert np.isnan(post)
    assert np.isnan(new["weights"][0]).any()


@pytest.mark.parametrize("loop", [outer_loops._loop, adaptation_steps._loop])
def test_numba_keeps_a_loop_by_the_text_of_all_its_files(loop):
    """So that a change of one of them is never missed."""
    of_files = [cell.cell_contents for cell in loop().py_func.__closure__]
    assert of_files == ["".join(sha256(PROJECT / f"lsm/learner/lanes/{name}.py")
                                for name in ("layout", "passes", "products"))]
