from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from small_split import BARE, MIXED, NO_LANDSLIDE, ONLY_LANDSLIDES, THIN, made_split

from lsm.comparison.splits import TRAIN
from lsm.learner import maml
from lsm.learner.prediction import probability
from lsm.learner.meta_training import (
    Supports,
    adapted_scores,
    flat,
    mean_probability,
    meta_train,
    pooled_members,
    rows_by_block,
    start_states,
    unflat,
)
from lsm.learner.network import use_one_thread
from lsm.run.settings import InputError

use_one_thread()  # before any test runs an operator


def settings(**values) -> SimpleNamespace:
    return SimpleNamespace(**{
        "MEMBERS": 2, "INNER_LR": 0.1, "RATE_PER_WEIGHT": True, "INNER_STEPS": 2, "META_LR": 1e-2, "NORMALISE": False,
        "FIRST_ORDER": True, "ITERATIONS": 40, "LOG_EVERY": 10, "SAVE_EVERY": 20, "META_BATCH": 4, "SUPPORT": 8,
        "QUERY": 8, "LINE_SHARE": 0.5, "SEED": 3, "ADAPT_STEPS": 3, "ADAPT_BATCH": 0, "BORROW": 0} | values)


def started(split, c) -> list[dict]:
    return start_states(split.x.shape[1], (8, 8, 4), None, c, np.random.default_rng(c.SEED))


def tasks_of(split) -> maml.Tasks:
    return maml.Tasks.of(rows_by_block(split.block, split.role == TRAIN)[1])


def trained(split, c, states=None, done=0, history=None, save=None):
    history = np.empty((0, 4)) if history is None else history
    return meta_train(states or started(split, c), done, history, split.x, split.label, split.xy, tasks_of(split), c,
                      save)


def equal(one: list[dict], other: list[dict]) -> bool:
    one, other = flat(one), flat(other)
    return list(one) == list(other) and all(np.array_equal(one[name], other[name]) for name in one)


# blocks and members ---------------------------------------------------------------------------------------------

def test_rows_by_block():
    blocks, rows = rows_by_block(np.array([7, 3, 7, 5, 3, 7]), np.array([True, True, False, False, True, True]))
    np.testing.assert_array_equal(blocks, [3, 7])
    assert [r.tolist() for r in rows] == [[1, 4], [0, 5]]


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


def test_mean_probability_is_that_of_the_members():
    split, c = made_split(), settings(MEMBERS=3)
    states = started(split, c)
    pooled = pooled_members(states, split.x, c)
    each = [probability(maml.pooled_network(state, split.x, False), split.x) for state in states]
    np.testing.assert_allclose(mean_probability(pooled, split.x), np.mean(each, axis=0), rtol=1e-6)


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


def test_members_do_not_hang_on_each_other():
    split = made_split()
    two, _ = trained(split, settings())
    one, _ = trained(split, settings(MEMBERS=1), started(split, settings())[:1])
    assert equal(one, two[:1])


def test_only_points_of_the_tasks_are_read():
    split, c = made_split(), settings()
    outside = split.role != TRAIN
    other = replace(split, label=np.where(outside, 1 - split.label, split.label))
    x = np.where(outside[:, None], 9, split.x).astype(np.float32)
    found = meta_train(started(split, c), 0, np.empty((0, 4)), x, other.label, np.where(outside[:, None], 0, split.xy),
                       tasks_of(split), c)
    assert equal(found[0], trained(split, c)[0])


def test_divergence_is_told():
    split = made_split()
    with pytest.raises(InputError, match=r"^outer step \d+: expected a finite query loss, .*lower META_LR"):
        trained(split, settings(META_LR=1e30, ITERATIONS=100))


# borrowing ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("borrow", [0, 1, 25, 300, 10_000])
def test_borrowed_points_are_the_nearest_of_other_blocks(borrow):
    split = made_split()
    supports = Supports(split.xy, split.block, split.label, split.labelled)
    for block in (MIXED, BARE, THIN, 3):
        places = split.xy[split.block == block]
        rows = supports.of(block, places, borrow)
        own = np.flatnonzero((split.block == block) & split.labelled)
        others = np.flatnonzero((split.block != block) & split.labelled)
        np.testing.assert_array_equal(rows[:len(own)], own)
        assert len(set(rows)) == len(rows) == len(own) + min(borrow, len(others))
        distance = np.array([np.hypot(*(places - split.xy[i]).T).min() for i in others])
        assert set(rows[len(own):]) == set(others[np.argsort(distance)[:borrow]])


def test_borrowed_points_where_samples_are_far_and_clustered():
    rng = np.random.default_rng(0)
    xy = np.concatenate([rng.normal(0, 1, (50, 2)), rng.normal(5000, 1, (300, 2)), [[-40, 0], [60, 0]]])
    block = np.repeat([0, 1, 2], [50, 300, 2])
    supports = Supports(xy, block, np.zeros(352), np.ones(352, bool))
    assert set(supports.of(0, np.array([[0.0, 0], [30, 0]]), 2)) == {*range(50), 350, 351}
    assert set(supports.of(0, np.array([[0.0, 0], [30, 0]]), 1)) == {*range(50), 351}  # 30 m off against 40


def test_mixed_supports():
    supports = Supports(np.zeros((4, 2)), np.zeros(4), np.array([0, 0, 1, 1]), np.ones(4, bool))
    assert supports.mixed(np.array([1, 2]))
    assert not supports.mixed(np.array([0, 1]))
    assert not supports.mixed(np.array([3]))
    assert not supports.mixed(np.array([], int))


# scores ---------------------------------------------------------------------------------------------------------

def scored(split, c, states=None, known=None, label=None, one_class=False):
    states = states or started(split, c)
    known = split.labelled if known is None else known
    label = split.label if label is None else label
    return adapted_scores(states, pooled_members(states, split.x, c), split.x, label, split.xy, split.block, known,
                          split.asked, c, one_class)


def test_blocks_without_both_classes_keep_the_intermediate_models():
    split, c = made_split(), settings(ADAPT_STEPS=5)
    states = started(split, c)
    p, unadapted = scored(split, c, states)
    np.testing.assert_array_equal(unadapted, [NO_LANDSLIDE, ONLY_LANDSLIDES, BARE, THIN])
    np.testing.assert_array_equal(np.isnan(p), ~split.asked)
    before = mean_probability(pooled_members(states, split.x, c), split.x)
    kept = split.asked & np.isin(split.block, unadapted)
    np.testing.assert_allclose(p[kept], before[kept], atol=1e-6)
    adapted = split.asked & (split.block == MIXED)
    assert np.abs(p[adapted] - before[adapted]).max() > 0.01
    _, left = scored(split, c, states, one_class=True)
    np.testing.assert_array_equal(left, [BARE])
    _, left = scored(split, settings(BORROW=20), states)
    assert len(left) == 0  # what is borrowed has both classes


def test_scores_are_the_mean_of_members_adapted_apart():
    split, c = made_split(), settings()
    states = started(split, c)
    p, _ = scored(split, c, states)
    rows = np.flatnonzero((split.block == MIXED) & split.labelled)
    asked = split.asked & (split.block == MIXED)
    each = [probability([w[0] for w in maml.adapt_blocks(state, split.x, split.label, maml.Tasks.of([rows]), 3, 0,
                                                         False, np.random.default_rng(0))], split.x[asked])
            for state in states]
    np.testing.assert_allclose(p[asked], np.mean(each, axis=0), atol=1e-6)


@pytest.mark.parametrize("borrow", [0, 30])
@pytest.mark.parametrize("batch", [0, 4])
def test_labels_of_asked_points_are_not_read(borrow, batch):
    split, c = made_split(), settings(BORROW=borrow, ADAPT_BATCH=batch)
    label = np.where(split.labelled, split.label, np.random.default_rng(1).integers(-5, 99, len(split.label)))
    for one, other in zip(scored(split, c), scored(split, c, label=label), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("steps", "known"), [(0, True), (5, False), (0, False)])
def test_no_step_or_no_known_point_gives_the_intermediate_models(steps, known):
    split, c = made_split(), settings(ADAPT_STEPS=steps)
    states = started(split, c)
    p, unadapted = scored(split, c, states, known=split.labelled & known, one_class=True)
    before = mean_probability(pooled_members(states, split.x, c), split.x)
    np.testing.assert_allclose(p[split.asked], before[split.asked], atol=1e-6)
    assert len(unadapted) == (1 if known else 5)
