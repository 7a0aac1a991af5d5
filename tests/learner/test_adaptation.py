import sys
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from osgeo import gdal
from small_split import BARE, MIXED, NO_LANDSLIDE, ONLY_LANDSLIDES, THIN, made_split

from lsm.comparison.ours.networks import samples_of
from lsm.inputs import rasters
from lsm.learner import adaptation, members, network
from lsm.learner.adaptation import (
    adapt_blocks,
    adapted_scores,
    models_of_blocks,
    pooled_members,
)
from lsm.learner.lanes.adaptation_steps import LARGEST, keep_better
from lsm.learner.lanes.products import LANES
from lsm.learner.members import HISTORY, Kind, Training
from lsm.learner.prediction import log_odds, mean_log_odds, release_memory
from lsm.learner.prediction import probability as of_log_odds
from lsm.learner.support import supports
from lsm.learner.support.supports import Supports, places_of_blocks, places_of_samples
from lsm.learner.tasks import EncodedSamples, Tasks
from lsm.run.paths import PROJECT
from lsm.run.settings import InputError

sys.path.append(str(PROJECT / "benchmarks"))
import reference_maml

network.use_one_thread()  # before any test runs an operator

SIZES = [4, 6, 5, 3]


def kind_of(steps=3, batch=0, borrow=0, normalise=False, name="local", place=False) -> Kind:
    """A kind of two members that adapts so; how it was trained does not matter here."""
    return Kind(name, 2, 0, 0, 0, 0, normalise, place, False, borrow, steps, batch, 0.0)


def training_of(*kinds_and_states: tuple[Kind, list[dict]]) -> Training:
    kinds, states = zip(*kinds_and_states, strict=True)
    return Training(list(kinds), list(states), 0, np.empty((0, len(HISTORY))))


def probability(weights: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """Of one folded network."""
    return of_log_odds(log_odds(weights, x))


def adapted(state, x, y, tasks, steps, batch, normalise=False, seed=0, weight=None) -> list[np.ndarray]:
    """`adapt_blocks` of samples without places, all of weight 1 unless weights are given."""
    n = len(x)
    samples = EncodedSamples(x, y, np.zeros((n, 2)), np.zeros(n, int), np.ones(n, np.float32) if weight is None
                             else weight)
    return adapt_blocks(state, samples, tasks, kind_of(steps, batch, 0, normalise), np.random.default_rng(seed))


# the inner loop -------------------------------------------------------------------------------------------------

def ragged_blocks(seed: int = 0, sizes=(5, 40, 17, 9, 33, 1, 16)) -> tuple:
    """Samples of blocks in a mixed order, each with a rule of its own."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((sum(sizes), SIZES[0])).astype(np.float32)
    y = rng.integers(0, 2, sum(sizes))
    return x, y, np.split(rng.permutation(sum(sizes)), np.cumsum(sizes)[:-1])


def state_of(per_weight: bool = False, direct: bool = False) -> dict:
    rng = np.random.default_rng(0)
    weights = [rng.normal(0, 0.7, w.shape).astype(np.float32)
               for w in members.initial_weights(SIZES, None, rng, direct, SIZES[0] - 1)]
    rates = [rng.uniform(0.05, 0.15, w.shape).astype(np.float32) for w in weights] if per_weight else [np.float32(0.1)]
    return {"weights": weights, "inner_lr": rates}


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("direct", [False, True])
def test_adapted_blocks_equal_each_alone(normalise, direct):
    x, y, rows = ragged_blocks()
    state = state_of(per_weight=True, direct=direct)
    found = adapted(state, x, y, Tasks.of(rows), 4, 0, normalise)
    for i, own in enumerate(rows):
        alone = reference_maml.adapt([tf.constant(w) for w in state["weights"]], state["inner_lr"], x[own],
                                     y[own].astype(np.int32), 4, normalise)
        statistics = reference_maml.moments(alone, x[own]) if normalise else None
        expected = tf.nn.softmax(reference_maml.forward(alone, tf.constant(x), statistics))[:, 1]
        np.testing.assert_allclose(probability([w[i] for w in found], x), expected, atol=1e-5)
        if not normalise:
            for a, b in zip(found, alone, strict=True):
                np.testing.assert_allclose(a[i], b, atol=1e-5)


@pytest.mark.parametrize("rate", [3.0, 1e20])
def test_a_block_ends_with_the_step_that_fits_its_support_best(rate):
    x, y, rows = ragged_blocks(3)
    y = y.astype(np.int32)
    state = state_of() | {"inner_lr": [np.float32(rate)]}
    found = adapted(state, x, y, Tasks.of(rows), 6, 0)
    weights, kept = [tf.constant(w) for w in state["weights"]], set()
    for i, own in enumerate(rows):
        paths = [reference_maml.adapt(weights, state["inner_lr"], x[own], y[own], steps, False) for steps in range(7)]
        largest = [max(float(tf.reduce_max(abs(w))) for w in weights) for weights in paths]
        losses = [float(reference_maml.loss_of(w, x[own], y[own], None)) if size < LARGEST else np.nan
                  for w, size in zip(paths, largest, strict=True)]
        reached = float(reference_maml.loss_of([w[i] for w in found], x[own], y[own], None))
        assert reached == pytest.approx(np.nanmin(losses), rel=1e-3, abs=1e-5)
        assert all(np.isfinite(w[i]).all() for w in found)
        kept.add(int(np.nanargmin(losses)))
    assert min(kept) < 6  # else the test shows nothing


def test_a_step_that_fits_better_is_kept():
    """Not one that fits as well, nor one that diverged: a loss of nan, weights of LARGEST or more."""
    loss, lowest = [0.4, 0.5, np.nan, 0.0, 0.0, 0.1], [0.5, 0.5, 0.5, 0.5, 0.5, np.inf]
    largest = [1, 1, 1, LARGEST, -2 * LARGEST, 0.99 * LARGEST]
    w, losses, reached = np.zeros((7, LANES), np.float32), np.ones(LANES, np.float32), np.zeros(LANES, np.float32)
    w[3, :6], losses[:6], reached[:6] = largest, loss, lowest
    best = w - 7
    keep_better(best, reached, w, losses)
    kept = np.isin(np.arange(LANES), (0, 5))
    np.testing.assert_array_equal(best, np.where(kept, w, w - 7))
    np.testing.assert_array_equal(reached[:6], np.where(kept[:6], loss, lowest).astype(np.float32))


def test_a_step_counts_though_the_loss_is_tiny():
    """A loss near 1e-8 is compared as it is: beside 1 it would be lost in float32."""
    x, y = np.ones((1, SIZES[0]), np.float32), np.array([1])
    weights = [np.zeros_like(w) for w in state_of()["weights"]]
    weights[-1][:] = -9, 9
    found = adapted({"weights": weights, "inner_lr": [np.float32(1e5)]}, x, y, Tasks.of([np.array([0])]), 3, 0)
    assert found[-1][0, 1] > 9 + 1e-4


@pytest.mark.parametrize("batch", [0, 4])
def test_samples_that_weigh_nothing_are_refused(batch):
    x, y, rows = ragged_blocks()
    with pytest.raises(InputError, match="expected samples that weigh more than 0"):
        adapted(state_of(), x, y, Tasks.of(rows), 3, batch, weight=np.zeros(len(x), np.float32))


def test_a_single_sample_gives_numbers_everywhere_at_any_rate():
    x, y, _ = ragged_blocks(4)
    tasks, kept = Tasks.of([np.array([i]) for i in range(len(x))]), []
    for rate in (0.1, 1e3, 1e6, 1e12):
        found = adapted(state_of() | {"inner_lr": [np.float32(rate)]}, x, y, tasks, 6, 0)
        p = np.array([probability([w[i] for w in found], x) for i in range(len(x))])
        assert np.isfinite(p).all(), rate
        kept.append(np.abs(p - probability(state_of()["weights"], x)).max())
    assert min(kept[:2]) > 0.1  # a step that did not diverge is kept


def test_steps_on_batches_end_with_the_last_one():
    x, y, rows = ragged_blocks(3)
    y, state, steps = y.astype(np.int32), state_of() | {"inner_lr": [np.float32(3.0)]}, 6
    found = adapted(state, x, y, Tasks.of(rows), steps, 8)
    seeds = np.random.default_rng(0).integers(1 << 63, size=len(rows))
    for i, own in enumerate(rows):
        weights = [tf.constant(w) for w in state["weights"]]
        for mask in adaptation._batches(seeds[i], len(own), len(own), steps, 8) == 1:
            weights = reference_maml.adapt(weights, state["inner_lr"], x[own][mask], y[own][mask], 1, False)
        for a, b in zip(found, weights, strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-3, atol=1e-3)


def test_steps_on_batches_that_diverge_are_refused():
    x, y, rows = ragged_blocks(3)
    with pytest.raises(InputError, match=r"7 blocks that diverged; lower INNER_LR"):
        adapted(state_of() | {"inner_lr": [np.float32(1e30)]}, x, y, Tasks.of(rows), 6, 8)


@pytest.mark.parametrize("batch", [0, 8])
@pytest.mark.parametrize("normalise", [False, True])
def test_adapted_blocks_do_not_depend_on_the_grouping(normalise, batch, monkeypatch):
    x, y, rows = ragged_blocks()

    def found():
        return adapted(state_of(), x, y, Tasks.of(rows), 3, batch, normalise, seed=4)

    together = found()
    monkeypatch.setattr(adaptation, "LANES", 1)
    for at_once in (1, 70):  # block by block; a few at a time
        monkeypatch.setattr(adaptation, "ROWS_AT_ONCE", at_once)
        for a, b in zip(together, found(), strict=True):
            np.testing.assert_array_equal(a, b)
    assert np.ptp(together[0], axis=0).max() > 1e-2  # blocks do differ


def test_threads_give_the_same_bytes(monkeypatch):
    monkeypatch.setattr(adaptation, "ROWS_AT_ONCE", 20)  # more groups than threads
    monkeypatch.setattr(adaptation, "LANES", 1)
    x, y, rows = ragged_blocks()
    samples = EncodedSamples(x, y, np.zeros((len(x), 2)), np.zeros(len(x), int), np.ones(len(x), np.float32))
    one, three = (adapt_blocks(state_of(), samples, Tasks.of(rows), kind_of(4, 0, 0, True),
                               np.random.default_rng(0), threads=threads) for threads in (1, 3))
    assert all(np.array_equal(a, b) for a, b in zip(one, three, strict=True))


def test_groups_hold_no_more_rows_than_fit(monkeypatch):
    """The largest blocks first; whole registers of lanes, one at least."""
    x, y, rows = ragged_blocks()
    state, shapes = state_of(), []
    monkeypatch.setattr(adaptation, "ROWS_AT_ONCE", 70)
    monkeypatch.setattr(adaptation, "LANES", 2)
    monkeypatch.setattr(adaptation, "adapt_group", lambda given: (
        shapes.append(given[1].shape[:2]), [np.zeros((len(given[1]), *w.shape)) for w in state["weights"]])[1])
    adapted(state, x, y, Tasks.of(rows), 2, 0)
    assert shapes == [(2, 40), (4, 17), (1, 1)]


def test_few_groups_are_in_memory_at_a_time():
    begun, most = [], 0
    for i, result in enumerate(adaptation._side_by_side(lambda i: 10 * i, (begun.append(i) or i for i in range(9)), 2)):
        assert result == 10 * i
        most = max(most, len(begun) - i)
    assert (len(begun), most) == (9, 3)


def test_padding_of_blocks_never_matters():
    x, y, rows = ragged_blocks()
    x = np.vstack([x, np.full((1, SIZES[0]), 1e3, np.float32)])  # a row of no block, for the padding to name
    y = np.append(y, 1)
    clean = Tasks.of(rows)
    dirty = Tasks(np.where(clean.mask() == 1, clean.members, len(x) - 1), clean.sizes)
    for batch in (0, 8):
        a, b = (adapted(state_of(), x, y, tasks, 2, batch, True) for tasks in (clean, dirty))
        for p, q in zip(a, b, strict=True):
            np.testing.assert_allclose(p, q, atol=1e-6)


@pytest.mark.parametrize("batch", [0, 8])
def test_a_sample_of_no_block_changes_no_bit(batch):
    x, y, rows = ragged_blocks()
    tasks = Tasks.of([own + 1 for own in rows])
    calm, absurd = (adapted(state_of(), np.vstack([np.full((1, SIZES[0]), value, np.float32), x]), np.append(1, y),
                            tasks, 2, batch, True) for value in (0, 3e38))
    for p, q in zip(calm, absurd, strict=True):
        np.testing.assert_array_equal(p, q)


def test_batches_depend_only_on_the_seed_of_the_task():
    short, long = adaptation._batches(7, 33, 33, 6, 8), adaptation._batches(7, 33, 90, 6, 8)
    np.testing.assert_array_equal(short, long[:, :33])
    assert not long[:, 33:].any()
    assert (short.sum(axis=1) == 8).all()
    assert len(np.unique(short, axis=0)) > 1  # drawn anew for each step
    assert not np.array_equal(short, adaptation._batches(8, 33, 33, 6, 8))
    # no more than two batches: half of the block
    assert [adaptation._batches(0, n, 40, 1, 8).sum() for n in (1, 2, 3, 9, 16, 17, 40)] == [1, 1, 1, 4, 8, 8, 8]


def test_a_batch_adapts_on_a_part_of_the_block():
    x, y, rows = ragged_blocks()
    whole, part, again = (adapted(state_of(), x, y, Tasks.of(rows), 2, batch, seed=1) for batch in (0, 8, 8))
    assert all(np.array_equal(a, b) for a, b in zip(part, again, strict=True))
    moved = [np.abs(whole[0][i] - part[0][i]).max() for i in range(len(rows))]
    assert moved.pop(5) == 0  # the block with one sample
    assert min(moved) > 1e-4


def test_pooled_network_is_the_start_with_the_statistics_of_all_rows():
    x, _, _ = ragged_blocks()
    state = state_of()
    for normalise in (False, True):
        weights = [tf.constant(w) for w in state["weights"]]
        statistics = reference_maml.moments(weights, x) if normalise else None
        expected = tf.nn.softmax(reference_maml.forward(weights, tf.constant(x), statistics))[:, 1]
        pooled = pooled_members(training_of((kind_of(normalise=normalise), [state])), x)
        assert {kind: [w.shape for w in weights] for kind, weights in pooled.items()} == {
            "local": [(1, *w.shape) for w in state["weights"]]}
        np.testing.assert_allclose(of_log_odds(mean_log_odds(pooled, x)), expected, atol=1e-5)


# borrowing ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("borrow", [0, 1, 25, 300, 10_000])
def test_borrowed_points_are_the_nearest_of_other_blocks(borrow):
    split = made_split()
    supports = Supports(split.xy, split.block, split.labelled)
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
    supports = Supports(xy, block, np.ones(352, bool))
    assert set(supports.of(0, np.array([[0.0, 0], [30, 0]]), 2)) == {*range(50), 350, 351}
    assert set(supports.of(0, np.array([[0.0, 0], [30, 0]]), 1)) == {*range(50), 351}  # 30 m off against 40


# scores ---------------------------------------------------------------------------------------------------------

def started(split, local: Kind | None = None, regional: Kind | None = None) -> Training:
    """Two members of each kind, not trained; by default three steps on the whole support, nothing borrowed."""
    rng = np.random.default_rng(3)
    kinds = [local or kind_of(), *[regional] * bool(regional)]
    return training_of(*[(kind, [members.initial_state(members.initial_weights(
        [split.x.shape[1] + members.PLACE * kind.place, 8, 8, 4], None, rng, kind.place), 0.1, True) for _ in range(2)])
        for kind in kinds])


def scored(split, training=None, known=None, label=None, one_class=False):
    training = training or started(split)
    known = split.labelled if known is None else known
    samples = samples_of(split)
    pooled = pooled_members(training, samples.x)
    samples = samples if label is None else replace(samples, label=label)
    return adapted_scores(training, pooled, samples, known, split.asked, np.random.default_rng([3, 1]), one_class)


def unadapted_scores(split, training) -> np.ndarray:
    x = samples_of(split).x
    return of_log_odds(mean_log_odds(pooled_members(training, x), x))


def test_blocks_without_both_classes_keep_the_intermediate_models():
    split = made_split()
    training = started(split, kind_of(5))
    p, unadapted = scored(split, training)
    np.testing.assert_array_equal(unadapted, [NO_LANDSLIDE, ONLY_LANDSLIDES, BARE, THIN])
    np.testing.assert_array_equal(np.isnan(p), ~split.asked)
    before = unadapted_scores(split, training)
    kept = split.asked & np.isin(split.block, unadapted)
    np.testing.assert_allclose(p[kept], before[kept], atol=1e-6)
    adapted = split.asked & (split.block == MIXED)
    assert np.abs(p[adapted] - before[adapted]).max() > 0.01
    _, left = scored(split, training, one_class=True)
    np.testing.assert_array_equal(left, [BARE])
    _, left = scored(split, started(split, kind_of(borrow=20)))
    assert len(left) == 0  # what is borrowed has both classes
    regional = kind_of(borrow=20, name="regional", place=True)
    _, left = scored(split, started(split, kind_of(), regional))
    assert len(left) == 0  # one kind that adapts is enough


def test_scores_are_the_mean_of_members_adapted_apart():
    """In log-odds, over both kinds, each on its own and borrowed samples and on the inputs it knows."""
    split = made_split()
    regional = kind_of(4, borrow=25, name="regional", place=True)
    training, samples = started(split, kind_of(), regional), samples_of(split)
    p, _ = scored(split, training)
    asked = split.asked & (split.block == MIXED)
    supports, each = Supports(split.xy, split.block, split.labelled), []
    for kind, states in zip(training.kinds, training.states, strict=True):
        rows = supports.of(MIXED, split.xy[asked], kind.borrow)
        assert len(rows) == ((split.block == MIXED) & split.labelled).sum() + kind.borrow
        x = samples.x if kind.place else split.x
        each += [log_odds([w[0] for w in adapted(state, x, split.label, Tasks.of([rows]), kind.steps, 0)], x[asked])
                 for state in states]
    assert np.std(each, axis=0).max() > 1e-3
    np.testing.assert_allclose(p[asked], of_log_odds(np.mean(each, axis=0)), atol=1e-6)


@pytest.mark.parametrize("borrow", [0, 30])
@pytest.mark.parametrize("batch", [0, 4])
def test_labels_of_asked_points_are_not_read(borrow, batch):
    split = made_split()
    training = started(split, kind_of(batch=batch, borrow=borrow),
                       kind_of(batch=batch, borrow=2 * borrow, name="regional", place=True))
    label = np.where(split.labelled, split.label, np.random.default_rng(1).integers(-5, 99, len(split.label)))
    for one, other in zip(scored(split, training), scored(split, training, label=label), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("steps", "known"), [(0, True), (5, False), (0, False)])
def test_no_step_or_no_known_point_gives_the_intermediate_models(steps, known):
    split = made_split()
    training = started(split, kind_of(steps), kind_of(steps, name="regional", place=True))
    p, unadapted = scored(split, training, known=split.labelled & known, one_class=True)
    before = unadapted_scores(split, training)
    np.testing.assert_allclose(p[split.asked], before[split.asked], atol=1e-6)
    assert len(unadapted) == (1 if known else 5)


# models_of_blocks -----------------------------------------------------------------------------------------------

def made_blocks(seed: int = 5, kind: Kind | None = None):
    """Two members of a kind, their pooled networks, encoded samples of blocks 0, 2, 3 and 4 of five, and the places of
    all five."""
    rng = np.random.default_rng(seed)
    block = np.repeat([0, 2, 3, 4], [20, 10, 10, 20])
    label = rng.integers(0, 2, 60)
    label[block == 2], label[block == 3] = 0, 1
    x = rng.standard_normal((60, SIZES[0])).astype(np.float32)
    states = [{"weights": [rng.normal(0, 0.7, w.shape).astype(np.float32) for w in
                           members.initial_weights(SIZES, None, rng)], "inner_lr": [np.float32(0.1)]} for _ in range(2)]
    centres = np.column_stack([np.arange(5) * 100.0, np.zeros(5)])
    samples = EncodedSamples(x, label.astype(np.int32), centres[block] + rng.uniform(-20, 20, (60, 2)), block,
                             np.ones(60, np.float32))
    training = training_of((kind or kind_of(), states))
    return training, pooled_members(training, x), samples, [p[None] for p in centres], rng


@pytest.mark.parametrize("normalise", [False, True])
def test_blocks_without_both_classes_keep_the_pooled_models(normalise):
    training, pooled, samples, places, rng = made_blocks(kind=kind_of(normalise=normalise))
    networks, state, support, _ = models_of_blocks(training, pooled, samples, np.ones(60, bool), places, rng)
    assert list(networks) == ["local"]
    networks, pooled = networks["local"], pooled["local"]
    np.testing.assert_array_equal(state, [0, 1, 2, 2, 0])
    assert support.tolist() == [[20, 0], [0, 0], [0, 0], [0, 0], [20, 0]]
    for member, one in enumerate(training.states[0]):
        alone = [adapted(one, samples.x, samples.label, Tasks.of([np.flatnonzero(samples.block == b)]), 3, 0, normalise)
                 for b in (0, 4)]
        for i, (w, start) in enumerate(zip(networks, pooled, strict=True)):
            for b in (1, 2, 3):
                np.testing.assert_array_equal(w[member, b], start[member])
            for b, own in zip((0, 4), alone, strict=True):
                np.testing.assert_allclose(w[member, b], own[i][0], atol=1e-4)
    assert np.abs(networks[0][0, 0] - pooled[0][0]).max() > 1e-3
    assert np.abs(networks[0][0, 0] - networks[0][0, 4]).max() > 1e-3


def test_a_block_borrows_the_nearest_samples_of_others():
    training, pooled, samples, places, rng = made_blocks(kind=kind_of(borrow=15))
    networks, state, support, _ = models_of_blocks(training, pooled, samples, np.ones(60, bool), places, rng)
    assert support.tolist() == [[20, 15], [0, 15], [10, 15], [10, 15], [20, 15]]
    distance = np.hypot(*(samples.xy - places[2]).T)
    others = np.flatnonzero(samples.block != 2)
    rows = np.append(np.flatnonzero(samples.block == 2), others[np.argsort(distance[others])[:15]])
    assert state[2] == (0 if 0 < samples.label[rows].mean() < 1 else 2)
    own = adapted(training.states[0][1], samples.x, samples.label, Tasks.of([rows]), 3, 0)
    for w, expected in zip(networks["local"], own, strict=True):
        np.testing.assert_allclose(w[1, 2], expected[0], atol=1e-4)


def test_no_block_adapts_where_none_can():
    training, pooled, samples, places, rng = made_blocks(6)
    samples.label[:] = 1
    networks, state, *_ = models_of_blocks(training, pooled, samples, np.ones(60, bool), places, rng)
    np.testing.assert_array_equal(state, [2, 1, 2, 2, 2])
    for w, start in zip(networks["local"], pooled["local"], strict=True):
        for b in range(5):
            np.testing.assert_array_equal(w[:, b], start)


def test_places_are_the_centres_of_the_blocks_cells(monkeypatch):
    labels = np.array([[1, 0, -1], [1, 1, 2]], np.int32)
    blocks = gdal.GetDriverByName("MEM").Create("", 3, 2, 1, gdal.GDT_Int32)
    blocks.SetGeoTransform((100.0, 10.0, 0.0, 50.0, 0.0, -5.0))
    blocks.GetRasterBand(1).WriteArray(labels)
    centres = np.array([[0, 1], [2 / 3, 1 / 3], [1, 2]])
    monkeypatch.setattr(rasters, "WINDOW", 3)  # a row at a time
    places = places_of_blocks(blocks, centres)
    assert [p.tolist() for p in places] == [[[115, 47.5]], [[105, 47.5], [105, 42.5], [115, 42.5]], [[125, 42.5]]]
    monkeypatch.setattr(supports, "CELLS", 2)  # every second row and column: blocks 0 and 2 are missed
    places = places_of_blocks(blocks, centres)
    assert [p.tolist() for p in places] == [[[115, 47.5]], [[105, 47.5]], [[125, 42.5]]]


def test_places_of_the_asked_samples_of_each_block():
    samples = EncodedSamples(np.zeros((4, 1)), np.zeros(4), np.array([[1.0, 2], [3, 4], [5, 6], [7, 8]]),
                             np.array([2, 0, 2, 3]), np.ones(4))
    asked = np.array([True, False, True, True])
    found = places_of_samples(samples, asked, 6)
    assert [p if p is None else p.tolist() for p in found] == [None, None, [[1, 2], [5, 6]], [[7, 8]], None, None]
    assert len(places_of_samples(samples, asked)) == 4


def test_a_block_that_is_not_asked_for_keeps_the_pooled_models():
    training, pooled, samples, places, rng = made_blocks()
    places[0] = None
    networks, state, support, _ = models_of_blocks(training, pooled, samples, np.ones(60, bool), places, rng)
    assert state.tolist() == [1, 1, 2, 2, 0]
    assert support.tolist() == [[0, 0], [0, 0], [0, 0], [0, 0], [20, 0]]
    for w, start in zip(networks["local"], pooled["local"], strict=True):
        np.testing.assert_array_equal(w[:, 0], start)


def test_each_kind_adapts_in_its_own_way():
    """A block of which one kind alone adapts has adapted in part; its support is that kind's."""
    _, _, samples, places, rng = made_blocks()
    rng = np.random.default_rng(0)
    samples = replace(samples, x=np.concatenate([samples.x, rng.standard_normal((60, 2)).astype(np.float32)], axis=1))
    regional = kind_of(5, borrow=45, name="regional", place=True)
    states = {kind.name: [{"weights": [rng.normal(0, 0.7, w.shape).astype(np.float32) for w in members.initial_weights(
        [SIZES[0] + 2 * kind.place, *SIZES[1:]], None, rng, kind.place)], "inner_lr": [np.float32(0.1)]}
        for _ in range(2)] for kind in (kind_of(), regional)}
    training = training_of((kind_of(), states["local"]), (regional, states["regional"]))
    pooled = pooled_members(training, samples.x)
    networks, state, support, _ = models_of_blocks(training, pooled, samples, np.ones(60, bool), places, rng)
    assert state.tolist() == [0, 4, 4, 4, 0]  # local members of blocks 1, 2 and 3 have not both classes
    assert support.tolist() == [[20, 40], [0, 45], [10, 45], [10, 45], [20, 40]]
    assert networks["local"][0].shape == (2, 5, 4, 6)
    assert networks["regional"][0].shape == (2, 5, 6, 6)
    assert networks["regional"][8].shape == (2, 5, 6, 2)
    for b in (1, 2, 3):
        np.testing.assert_array_equal(networks["local"][0][:, b], pooled["local"][0])
        assert np.abs(networks["regional"][0][:, b] - pooled["regional"][0]).max() > 1e-3
    rows = Supports(samples.xy, samples.block, np.ones(60, bool)).of(2, places[2], 45)
    alone = adapt_blocks(states["regional"][1], samples, Tasks.of([rows]), regional, rng)
    for w, expected in zip(networks["regional"], alone, strict=True):
        np.testing.assert_allclose(w[1, 2], expected[0], atol=1e-4)


def test_some_blocks_at_a_time_and_networks_in_files_are_the_same(monkeypatch, tmp_path):
    training, pooled, samples, places, _ = made_blocks()
    found = []
    for at_once, padded, folder in ((5, 10**6, None), (1, 10**6, tmp_path), (5, 25, None)):
        monkeypatch.setattr(adaptation, "BLOCKS_AT_ONCE", at_once)
        monkeypatch.setattr(adaptation, "PADDED", padded)
        found.append(models_of_blocks(training, pooled, samples, np.ones(60, bool), places, np.random.default_rng(0),
                                      folder=folder))
    (whole, *_), (in_files, *_), _ = found
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f"local_{i}.npy" for i in range(len(whole["local"])))
    for networks, *others in found[1:]:
        for w, expected in zip(networks["local"], whole["local"], strict=True):
            np.testing.assert_allclose(w, expected, atol=1e-5)  # padding adds zeros in another order
        for a, b in zip(others, found[0][1:], strict=True):
            np.testing.assert_array_equal(a, b)
    before = in_files["local"][0].copy()
    release_memory(in_files)
    np.testing.assert_array_equal(in_files["local"][0], before)


def test_a_local_network_reads_the_columns_before_the_place():
    x, y, rows = ragged_blocks()
    wide = np.concatenate([x, np.full((len(x), 2), np.nan, np.float32)], axis=1)
    for a, b in zip(*(adapted(state_of(), rows_of, y, Tasks.of(rows), 3, 0, True) for rows_of in (x, wide)),
                    strict=True):
        np.testing.assert_array_equal(a, b)
    training = training_of((kind_of(normalise=True), [state_of()]))
    for a, b in zip(pooled_members(training, x)["local"], pooled_members(training, wide)["local"], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("batch", [0, 8])
def test_a_sample_of_weight_0_changes_nothing(batch):
    x, y, rows = ragged_blocks()
    weight = np.ones(len(x), np.float32)
    weight[rows[1][:7]] = 0
    found = adapted(state_of(), x, y, Tasks.of(rows), 3, batch, weight=weight)
    y[rows[1][:7]] = 1 - y[rows[1][:7]]
    for a, b in zip(found, adapted(state_of(), x, y, Tasks.of(rows), 3, batch, weight=weight), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
