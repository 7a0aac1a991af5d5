from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from small_split import made_split

from lsm.comparison.ours.networks import samples_of
from lsm.comparison.splits import TRAIN
from lsm.learner.meta_training import flat, meta_train, start_states, unflat
from lsm.learner.network import use_one_thread
from lsm.learner.tasks import Tasks, rows_by_block
from lsm.run.settings import InputError

use_one_thread()  # before any test runs an operator


def settings(**values) -> SimpleNamespace:
    return SimpleNamespace(**{
        "MEMBERS": 2, "INNER_LR": 0.1, "RATE_PER_WEIGHT": True, "INNER_STEPS": 2, "META_LR": 1e-2, "NORMALISE": False,
        "FIRST_ORDER": True, "ITERATIONS": 40, "LOG_EVERY": 10, "SAVE_EVERY": 20, "META_BATCH": 4, "SUPPORT": 8,
        "QUERY": 8, "LINE_SHARE": 0.5, "SEED": 3} | values)


def started(split, c) -> list[dict]:
    return start_states(split.x.shape[1], (8, 8, 4), None, c, np.random.default_rng(c.SEED))


def tasks_of(split) -> Tasks:
    return Tasks.of(rows_by_block(split.block, split.role == TRAIN)[1])


def trained(split, c, states=None, done=0, history=None, save=None):
    history = np.empty((0, 4)) if history is None else history
    return meta_train(states or started(split, c), done, history, samples_of(split), tasks_of(split), c, save)


def equal(one: list[dict], other: list[dict]) -> bool:
    one, other = flat(one), flat(other)
    return list(one) == list(other) and all(np.array_equal(one[name], other[name]) for name in one)


# members --------------------------------------------------------------------------------------------------------

def test_members_start_apart_and_share_what_was_pretrained():
    split, c = made_split(), settings(MEMBERS=3)
    states = started(split, c)
    assert len({s["weights"][0].tobytes() for s in states}) == 3
    n = split.x.shape[1]
    saved = {f"arr_{i}": np.full(shape, i + 0.5, np.float32)
             for i, shape in enumerate(((8, n), (8,), (8, 8), (8,), (4, 8), (4,)))}
    states = start_states(n, (8, 8, 4), saved, c, np.random.default_rng(0))
    for state in states:
        np.testing.assert_array_equal(state["weights"][0], saved["arr_0"].T)
    assert len({s["weights"][6].tobytes() for s in states}) == 3
    assert all(float(np.mean(rate)) == pytest.approx(0.1) for s in states for rate in s["inner_lr"])


def test_flat_and_back():
    split = made_split()
    for per_weight in (True, False):
        states = started(split, settings(RATE_PER_WEIGHT=per_weight))
        assert equal(unflat(flat(states)), states)


# training -------------------------------------------------------------------------------------------------------

def test_training_lowers_the_loss_of_every_member():
    split, c = made_split(), settings(ITERATIONS=150, LOG_EVERY=50)
    states, history = trained(split, c)
    assert history[:, 0].tolist() == [50, 100, 150]
    assert history[-1, 2] < history[0, 2]
    assert history[-1, 2] < history[-1, 1]  # adaptation helps
    assert (history[:, 3] > 0).all()
    assert len({np.asarray(s["weights"][0]).tobytes() for s in states}) == 2
    assert not equal(states, started(split, c))


def test_training_that_goes_on_equals_training_at_once():
    split, c, saved = made_split(), settings(), {}
    states, history = trained(split, c, save=lambda step, states, history: saved.update({step: (
        unflat(flat(states)), history.copy())}))
    assert list(saved) == [20, 40]
    again, history_again = trained(split, c, saved[20][0], 20, saved[20][1])
    assert equal(again, states)
    np.testing.assert_array_equal(history_again, history)
    assert not equal(trained(split, settings(SEED=4), started(split, c))[0], states)


def test_steps_that_no_interval_divides():
    split, steps = made_split(), []
    _, history = trained(split, settings(ITERATIONS=25), save=lambda step, *_: steps.append(step))
    assert history[:, 0].tolist() == [10, 20, 25]
    assert steps == [20, 25]


def test_members_do_not_depend_on_each_other():
    split = made_split()
    two, _ = trained(split, settings())
    one, _ = trained(split, settings(MEMBERS=1), started(split, settings())[:1])
    assert equal(one, two[:1])


def test_only_points_of_the_tasks_are_read():
    split, c = made_split(), settings()
    outside = split.role != TRAIN
    other = replace(samples_of(split), label=np.where(outside, 1 - split.label, split.label),
                    x=np.where(outside[:, None], 9, split.x).astype(np.float32),
                    xy=np.where(outside[:, None], 0, split.xy), weight=np.where(outside, 5, 1).astype(np.float32))
    found = meta_train(started(split, c), 0, np.empty((0, 4)), other, tasks_of(split), c)
    assert equal(found[0], trained(split, c)[0])


def test_divergence_is_told():
    split = made_split()
    with pytest.raises(InputError, match=r"^outer step \d+: expected a finite query loss, .*lower META_LR"):
        trained(split, settings(META_LR=1e30, ITERATIONS=100))
