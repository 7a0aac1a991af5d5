import sys

import numpy as np
import pytest
import tensorflow as tf
from small_split import parted_by_a_line

from lsm.learner import folded_network, maml, network
from lsm.run.paths import PROJECT
from lsm.run.settings import InputError

sys.path.append(str(PROJECT / "benchmarks"))
import reference_maml

network.use_one_thread()  # before any test runs an operator

SIZES, TASKS = [4, 6, 5, 3], 3


def start(per_weight: bool, dtype=np.float32, seed: int = 0) -> tuple[list, list]:
    """Weights far from zero and inner rates large enough that the inner loop matters."""
    rng = np.random.default_rng(seed)
    weights = [rng.normal(0, 0.7, w.shape).astype(dtype) for w in network.initial_weights(SIZES, None, rng)]
    rates = [rng.uniform(0.05, 0.15, w.shape).astype(dtype) for w in weights] if per_weight else [dtype(0.1)]
    return weights, rates


def made_batch(seed: int, samples: int = 6, dtype=np.float32, ragged: bool = True) -> tuple:
    """x (TASKS, samples, inputs), y and a mask that leaves samples out of the second and third task."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((TASKS, samples, SIZES[0])).astype(dtype)
    y = rng.integers(0, 2, (TASKS, samples)).astype(np.int32)
    sizes = np.array([samples, samples - 1, samples - 3]) if ragged else np.full(TASKS, samples)
    return x, y, (np.arange(samples) < sizes[:, None]).astype(dtype)


def meta_gradients(weights, rates, support, query, steps, normalise, first_order) -> list:
    """Of the query loss after adaptation, by the weights and then by the inner rates."""
    weights, rates = [tf.constant(w) for w in weights], [tf.constant(r) for r in rates]
    with tf.GradientTape() as tape:
        tape.watch([weights, rates])
        post = maml.meta_loss(weights, rates, support, query, steps, normalise, first_order)[1]
    return tape.gradient(post, weights + rates)


def directional(weights, rates, support, query, steps, normalise, direction) -> tuple[float, float]:
    """The derivative of the query loss along `direction` (over weights and rates), by the tape and by central
    differences."""
    n = len(weights)
    gradients = meta_gradients(weights, rates, support, query, steps, normalise, False)
    taped = sum(float(np.sum(np.asarray(g) * d)) for g, d in zip(gradients, direction, strict=True))

    def loss(shift):
        moved = [tf.constant(p + shift * d) for p, d in zip([*weights, *rates], direction, strict=True)]
        return float(maml.meta_loss(moved[:n], moved[n:], support, query, steps, normalise, False)[1])

    eps = 1e-6  # small: the path meets no kink of a ReLU
    return taped, (loss(eps) - loss(-eps)) / (2 * eps)


def directions(weights, rates) -> list[list]:
    """Random directions: along the weights, along the inner rates, along both."""
    rng = np.random.default_rng(9)
    w, r = ([rng.standard_normal(np.shape(p)) for p in part] for part in (weights, rates))
    return [[*w, *(0 * p for p in r)], [*(0 * p for p in w), *r], [*w, *r]]


# meta-gradient --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("per_weight", [False, True])
@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_meta_gradient_equals_finite_differences(steps, normalise, per_weight):
    weights, rates = start(per_weight, np.float64)
    support, query = made_batch(1, dtype=np.float64), made_batch(2, dtype=np.float64)
    for direction in directions(weights, rates):
        taped, differences = directional(weights, rates, support, query, steps, normalise, direction)
        assert abs(differences) > 1e-3
        assert taped == pytest.approx(differences, rel=1e-6, abs=1e-8)


def test_finite_differences_find_the_stopped_gradient_of_tf_moments(monkeypatch):
    weights, rates = start(False, np.float64)
    support = made_batch(1, dtype=np.float64, ragged=False)
    query = made_batch(2, dtype=np.float64, ragged=False)
    direction = directions(weights, rates)[0]
    right, differences = directional(weights, rates, support, query, 2, True, direction)
    monkeypatch.setattr(network, "masked_moments", lambda z, mask: tf.nn.moments(z, axes=[1], keepdims=True))
    wrong, same = directional(weights, rates, support, query, 2, True, direction)
    assert same == pytest.approx(differences, rel=1e-6)  # the loss itself is right
    assert right == pytest.approx(differences, rel=1e-6)
    assert abs(wrong - differences) > 1e-3 * abs(differences)


@pytest.mark.parametrize("normalise", [False, True])
def test_first_order_is_the_gradient_at_the_adapted_weights(normalise):
    weights, rates = start(False)
    support, query = made_batch(3), made_batch(4)
    *first, _ = meta_gradients(weights, rates, support, query, 3, normalise, True)
    *second, _ = meta_gradients(weights, rates, support, query, 3, normalise, False)

    adapted = [tf.tile(w[None], [TASKS] + [1] * w.ndim) for w in weights]
    for _ in range(3):
        adapted, _ = maml.inner_step(adapted, rates, *support, normalise, True)
    with tf.GradientTape() as tape:
        tape.watch(adapted)
        statistics = maml.statistics_of(adapted, support[0], support[2], normalise)
        loss = tf.reduce_mean(maml.task_losses(adapted, *query, statistics))
    by_hand = [tf.reduce_sum(g, axis=0) for g in tape.gradient(loss, adapted)]
    for a, b in zip(first, by_hand, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    largest = max(float(tf.reduce_max(abs(g))) for g in second)
    assert max(float(tf.reduce_max(abs(a - b))) for a, b in zip(first, second, strict=True)) > 0.01 * largest


def test_first_order_still_learns_the_inner_rate():
    # post = L(w - lr * g) with g held fixed: its derivative by lr is -g . L'
    weights, rates = start(False)
    *_, rate = meta_gradients(weights, rates, made_batch(3), made_batch(4), 1, False, True)
    *_, full = meta_gradients(weights, rates, made_batch(3), made_batch(4), 1, False, False)
    assert float(rate) == pytest.approx(float(full), rel=1e-5)  # one step: the rate meets no second derivative
    assert abs(float(rate)) > 1e-4


# batched equals one at a time -----------------------------------------------------------------------------------

@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("per_weight", [False, True])
def test_inner_step_of_many_tasks_equals_each_alone(normalise, per_weight):
    rng = np.random.default_rng(5)
    weights, rates = start(per_weight)
    many = [(w + 0.1 * rng.standard_normal((TASKS, *w.shape))).astype(np.float32) for w in weights]
    x, y, mask = made_batch(6)
    found, losses = maml.inner_step([tf.constant(w) for w in many], rates, x, y, mask, normalise, False)
    for i in range(TASKS):
        real = mask[i] == 1
        own = reference_maml.adapt([tf.constant(w[i]) for w in many], rates, x[i, real], y[i, real], 1, normalise)
        for a, b in zip(found, own, strict=True):
            np.testing.assert_allclose(a[i], b, atol=1e-5)
        own = [tf.constant(w[i]) for w in many]
        statistics = reference_maml.moments(own, x[i, real]) if normalise else None
        assert float(losses[i]) == pytest.approx(
            float(reference_maml.loss_of(own, x[i, real], y[i, real], statistics)), abs=1e-5)


@pytest.mark.parametrize("normalise", [False, True])
def test_padding_never_matters(normalise):
    weights, rates = start(False)
    support, query = made_batch(7), made_batch(8)
    garbage = []
    for x, y, mask in (support, query):
        out = mask == 0
        x, y = x.copy(), y.copy()
        x[out], y[out] = 1e3 * np.random.default_rng(0).standard_normal((out.sum(), SIZES[0])), 1 - y[out]
        garbage.append((x, y, mask))
    clean = meta_gradients(weights, rates, support, query, 2, normalise, False)
    dirty = meta_gradients(weights, rates, *garbage, 2, normalise, False)
    for a, b in zip(clean, dirty, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def ragged_blocks(seed: int = 0, sizes=(5, 40, 17, 9, 33, 1, 16)) -> tuple:
    """Samples of blocks in a mixed order, each with a rule of its own."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((sum(sizes), SIZES[0])).astype(np.float32)
    y = rng.integers(0, 2, sum(sizes))
    return x, y, np.split(rng.permutation(sum(sizes)), np.cumsum(sizes)[:-1])


def state_of(per_weight: bool = False) -> dict:
    weights, rates = start(per_weight)
    return {"weights": weights, "inner_lr": rates}


@pytest.mark.parametrize("normalise", [False, True])
def test_adapted_blocks_equal_each_alone(normalise):
    x, y, rows = ragged_blocks()
    state = state_of(per_weight=True)
    found = maml.adapt_blocks(state, x, y, maml.Tasks.of(rows), 4, 0, normalise, np.random.default_rng(0))
    for i, own in enumerate(rows):
        adapted = reference_maml.adapt([tf.constant(w) for w in state["weights"]], state["inner_lr"], x[own],
                                       y[own].astype(np.int32), 4, normalise)
        statistics = reference_maml.moments(adapted, x[own]) if normalise else None
        expected = tf.nn.softmax(reference_maml.forward(adapted, tf.constant(x), statistics))[:, 1]
        np.testing.assert_allclose(folded_network.probability([w[i] for w in found], x), expected, atol=1e-5)
        if not normalise:
            for a, b in zip(found, adapted, strict=True):
                np.testing.assert_allclose(a[i], b, atol=1e-5)


@pytest.mark.parametrize("rate", [3.0, 1e20])
def test_a_block_ends_with_the_step_that_fits_its_support_best(rate):
    x, y, rows = ragged_blocks(3)
    y = y.astype(np.int32)
    state = state_of() | {"inner_lr": [np.float32(rate)]}
    found = maml.adapt_blocks(state, x, y, maml.Tasks.of(rows), 6, 0, False, np.random.default_rng(0))
    weights, kept = [tf.constant(w) for w in state["weights"]], set()
    for i, own in enumerate(rows):
        paths = [reference_maml.adapt(weights, state["inner_lr"], x[own], y[own], steps, False) for steps in range(7)]
        losses = [float(reference_maml.loss_of(w, x[own], y[own], None)) for w in paths]
        reached = float(reference_maml.loss_of([w[i] for w in found], x[own], y[own], None))
        assert reached == pytest.approx(np.nanmin(losses), rel=1e-3, abs=1e-5)
        assert all(np.isfinite(w[i]).all() for w in found)
        kept.add(int(np.nanargmin(losses)))
    assert min(kept) < 6  # else the test shows nothing


def test_steps_on_batches_end_with_the_last_one():
    x, y, rows = ragged_blocks(3)
    y, state, steps = y.astype(np.int32), state_of() | {"inner_lr": [np.float32(3.0)]}, 6
    found = maml.adapt_blocks(state, x, y, maml.Tasks.of(rows), steps, 8, False, np.random.default_rng(0))
    seeds = np.random.default_rng(0).integers(1 << 63, size=len(rows))
    for i, own in enumerate(rows):
        weights = [tf.constant(w) for w in state["weights"]]
        for mask in maml._batches(seeds[i], len(own), len(own), steps, 8) == 1:
            weights = reference_maml.adapt(weights, state["inner_lr"], x[own][mask], y[own][mask], 1, False)
        for a, b in zip(found, weights, strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-3, atol=1e-3)


def test_steps_on_batches_that_diverge_are_refused():
    x, y, rows = ragged_blocks(3)
    with pytest.raises(InputError, match=r"[1-6] blocks that diverged; lower INNER_LR"):
        maml.adapt_blocks(state_of() | {"inner_lr": [np.float32(1e30)]}, x, y, maml.Tasks.of(rows), 6, 8, False,
                          np.random.default_rng(0))


@pytest.mark.parametrize("batch", [0, 8])
@pytest.mark.parametrize("normalise", [False, True])
def test_adapted_blocks_do_not_hang_on_the_grouping(normalise, batch, monkeypatch):
    x, y, rows = ragged_blocks()

    def adapted():
        return maml.adapt_blocks(state_of(), x, y, maml.Tasks.of(rows), 3, batch, normalise, np.random.default_rng(4))

    together = adapted()
    for at_once in (1, 70):  # block by block; a few at a time
        monkeypatch.setattr(maml, "ROWS_AT_ONCE", at_once)
        for a, b in zip(together, adapted(), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
    assert np.ptp(together[0], axis=0).max() > 1e-2  # blocks do differ


def test_padding_of_blocks_never_matters():
    x, y, rows = ragged_blocks()
    x = np.vstack([x, np.full((1, SIZES[0]), 1e3, np.float32)])  # a row of no block, for the padding to name
    y = np.append(y, 1)
    clean = maml.Tasks.of(rows)
    dirty = maml.Tasks(np.where(clean.mask() == 1, clean.members, len(x) - 1), clean.sizes)
    for batch in (0, 8):
        a, b = (maml.adapt_blocks(state_of(), x, y, tasks, 2, batch, True, np.random.default_rng(0))
                for tasks in (clean, dirty))
        for p, q in zip(a, b, strict=True):
            np.testing.assert_allclose(p, q, atol=1e-6)


def test_batches_hang_on_the_seed_of_the_task_alone():
    short, long = maml._batches(7, 33, 33, 6, 8), maml._batches(7, 33, 90, 6, 8)
    np.testing.assert_array_equal(short, long[:, :33])
    assert not long[:, 33:].any()
    assert (short.sum(axis=1) == 8).all()
    assert len(np.unique(short, axis=0)) > 1  # drawn anew for each step
    assert not np.array_equal(short, maml._batches(8, 33, 33, 6, 8))
    # no more than two batches: half of the block
    assert [maml._batches(0, n, 40, 1, 8).sum() for n in (1, 2, 3, 9, 16, 17, 40)] == [1, 1, 1, 4, 8, 8, 8]


def test_a_batch_adapts_on_a_part_of_the_block():
    x, y, rows = ragged_blocks()
    whole, part, again = (maml.adapt_blocks(state_of(), x, y, maml.Tasks.of(rows), 2, batch, False,
                                            np.random.default_rng(1)) for batch in (0, 8, 8))
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
        found = folded_network.probability(maml.pooled_network(state, x, normalise), x)
        np.testing.assert_allclose(found, expected, atol=1e-5)


# drawing --------------------------------------------------------------------------------------------------------

def test_draw_gives_disjoint_samples_of_the_task():
    rng = np.random.default_rng(0)
    sizes = [17, 40, 24, 100, 33, 18]
    rows = np.split(rng.permutation(1000)[:sum(sizes)], np.cumsum(sizes)[:-1])
    owner = np.full(1000, -1)
    for i, own in enumerate(rows):
        owner[own] = i
    tasks = maml.Tasks.of(rows)
    np.testing.assert_array_equal(tasks.mask().sum(axis=1), sizes)
    s_rows, s_mask, q_rows, q_mask = maml.draw(tasks, rng, 300, 4, 16, 16)
    assert s_rows.shape == s_mask.shape == q_rows.shape == q_mask.shape == (300, 4, 16)
    for step in range(300):
        owners = []
        for task in range(4):
            s, q = s_rows[step, task][s_mask[step, task] == 1], q_rows[step, task][q_mask[step, task] == 1]
            both = [*s, *q]
            assert len(set(both)) == len(both)
            (own,) = set(owner[both])
            owners.append(own)
            size = sizes[own]
            assert len(s) == min(16, size // 2)
            assert len(q) == min(16, size - len(s))
            assert owner[s_rows[step, task]].tolist() == [own] * 16  # padding too holds rows of the task
            assert owner[q_rows[step, task]].tolist() == [own] * 16
        assert -1 not in owners
        assert len(set(owners)) == 4  # no task twice in a meta-batch


@pytest.mark.parametrize(("size", "expected"), [(17, (8, 9)), (32, (16, 16)), (31, (15, 16)), (500, (16, 16)),
                                                (2, (1, 1)), (16, (8, 8))])
def test_draw_from_small_tasks_halves_them(size, expected):
    tasks = maml.Tasks.of([np.arange(size) + 5])
    s_rows, s_mask, q_rows, q_mask = maml.draw(tasks, np.random.default_rng(0), 50, 1, 16, 16)
    assert set(s_mask.sum(axis=2).ravel()) == {expected[0]}
    assert set(q_mask.sum(axis=2).ravel()) == {expected[1]}
    if size <= 32:  # every sample is used
        for s, sm, q, qm in zip(s_rows[:, 0], s_mask[:, 0], q_rows[:, 0], q_mask[:, 0], strict=True):
            assert sorted([*s[sm == 1], *q[qm == 1]]) == list(range(5, 5 + size))


@pytest.mark.parametrize("size", [40, 24, 17])
def test_draw_is_unbiased_in_the_order_of_the_file(size):
    draws = 4000
    s_rows, s_mask, q_rows, q_mask = maml.draw(maml.Tasks.of([np.arange(size)]), np.random.default_rng(2), draws, 1, 8,
                                               8)
    for rows, mask in ((s_rows, s_mask), (q_rows, q_mask)):
        assert mask.all()
        counts = np.bincount(rows.ravel(), minlength=size)
        share = 8 / size
        deviation = (counts - draws * share) / np.sqrt(draws * share * (1 - share))
        assert np.abs(deviation).max() < 4
        # each place of the draw, too: the mean row is the middle of the file
        middle = rows.reshape(draws, 8).mean(axis=0)
        assert np.abs(middle - (size - 1) / 2).max() < 4.5 * size / np.sqrt(12 * draws)


def test_draw_takes_tasks_evenly_and_is_deterministic():
    tasks = maml.Tasks.of([np.arange(i, i + 20) for i in range(0, 200, 20)])
    first = maml.draw(tasks, np.random.default_rng(3), 2000, 4, 8, 8)
    again = maml.draw(tasks, np.random.default_rng(3), 2000, 4, 8, 8)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    counts = np.bincount((first[0][:, :, 0] // 20).ravel(), minlength=10)
    assert np.abs(counts - 800).max() < 4 * np.sqrt(2000 * 0.4 * 0.6)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_draw_parts_a_share_of_the_tasks_by_a_line(share):
    rng = np.random.default_rng(0)
    xy = rng.uniform(-1, 1, (600, 2))
    tasks = maml.Tasks.of(np.split(rng.permutation(600), [40, 57, 157, 190, 250, 400]))
    owner = np.empty(600, np.int64)
    for i, (members, size) in enumerate(zip(tasks.members, tasks.sizes, strict=True)):
        owner[members[:size]] = i
    drawn = maml.draw(tasks, rng, 40, 4, 16, 16, xy, share)
    parted = []
    for s, sm, q, qm in zip(*(a.reshape(160, 16) for a in drawn), strict=True):
        s, q = s[sm == 1], q[qm == 1]
        (own,) = set(owner[[*s, *q]])
        assert len({*s, *q}) == len(s) + len(q)
        assert len(s) == min(16, tasks.sizes[own] // 2)
        assert len(q) == min(16, tasks.sizes[own] - len(s))
        parted.append(parted_by_a_line(xy[s], xy[q]))
    assert abs(np.mean(parted) - share) < 4 * np.sqrt(share * (1 - share) / 160) + 1e-9


@pytest.mark.parametrize(("support", "query"), [(8, 32), (3, 100), (32, 8)])
def test_draw_across_a_line_takes_no_more_than_a_half_holds(support, query):
    xy = np.random.default_rng(0).random((400, 2))
    tasks = maml.Tasks.of([np.arange(100, 140), np.arange(200, 300), np.arange(300, 305)])
    drawn = maml.draw(tasks, np.random.default_rng(1), 20, 3, support, query, xy, 1.0)
    for s, sm, q, qm in zip(*(a.reshape(60, -1) for a in drawn), strict=True):
        s, q = s[sm == 1], q[qm == 1]
        size = {1: 40, 2: 100, 3: 5}[s[0] // 100]
        assert (set(s // 100), set(q // 100)) == ({s[0] // 100},) * 2  # no row of another task
        assert (len(set(s)), len(set(q))) == (min(support, size // 2), min(query, size - size // 2))
        assert parted_by_a_line(xy[s], xy[q])


def test_draw_turns_the_line_and_either_half_is_the_support():
    xy = np.random.default_rng(3).normal(size=(200, 2))
    s, _, q, _ = maml.draw(maml.Tasks.of([np.arange(200)]), np.random.default_rng(4), 400, 1, 100, 100, xy, 1.0)
    towards = (xy[q[:, 0]].mean(axis=1) - xy[s[:, 0]].mean(axis=1)) @ [1, 1j]
    quarters = np.histogram(np.angle(towards), 4, (-np.pi, np.pi))[0]
    assert np.abs(quarters - 100).max() < 4 * np.sqrt(400 * 0.25 * 0.75)


# outer loop -----------------------------------------------------------------------------------------------------

STEPS, OUTER_LR = 5, 0.01


def made_batches(steps: int = STEPS) -> list:
    """Batches whose first axis is the outer step."""
    parts = [made_batch(10 + i) + made_batch(20 + i) for i in range(steps)]
    return [np.stack(arrays) for arrays in zip(*parts, strict=True)]


def begin(per_weight: bool = False) -> dict:
    weights, _ = start(False)
    return maml.initial_state(weights, 0.1, per_weight)


@pytest.fixture(scope="module")
def plain():
    return maml.outer_loop(2, OUTER_LR, True, False, xla=False)


def assert_same_state(a: dict, b: dict, atol: float):
    assert a.keys() == b.keys() == {"weights", "inner_lr", "m", "v"}
    for key in a:
        for p, q in zip(a[key], b[key], strict=True):
            np.testing.assert_allclose(p, q, atol=atol, err_msg=key)


@pytest.mark.slow
def test_xla_equals_no_xla(plain):
    compiled = maml.outer_loop(2, OUTER_LR, True, False, xla=True)
    results = [loop(begin(), tf.constant(0), tf.constant(STEPS), made_batches()) for loop in (plain, compiled)]
    (expected, *losses), (found, *xla_losses) = results
    assert_same_state(expected, found, 1e-4)
    np.testing.assert_allclose(losses, xla_losses, atol=1e-4)
    assert max(np.abs(a - b).max() for a, b in zip(expected["weights"], begin()["weights"], strict=True)) > 0.02
    assert abs(float(expected["inner_lr"][0]) - 0.1) > 0.005


def test_outer_steps_are_adam_on_the_meta_gradient(plain):
    batches, state = made_batches(), begin()
    n = len(state["weights"])
    moved = [np.float64(p) for p in state["weights"] + state["inner_lr"]]
    m, v, losses = [0 * p for p in moved], [0 * p for p in moved], []
    for i in range(STEPS):
        parameters = [tf.constant(p, tf.float32) for p in moved]
        support, query = ([b[i] for b in part] for part in (batches[:3], batches[3:]))
        losses.append([float(l) for l in maml.meta_loss(parameters[:n], parameters[n:], support, query, 2, True,
                                                        False)])
        gradients = meta_gradients(parameters[:n], parameters[n:], support, query, 2, True, False)
        for j, g in enumerate(np.asarray(g, np.float64) for g in gradients):
            m[j], v[j] = 0.9 * m[j] + 0.1 * g, 0.999 * v[j] + 0.001 * g * g
            rate = OUTER_LR * np.sqrt(1 - 0.999 ** (i + 1)) / (1 - 0.9 ** (i + 1))
            moved[j] = moved[j] - rate * m[j] / (np.sqrt(v[j]) + 1e-7)
    found, pre, post = plain(state, tf.constant(0), tf.constant(STEPS), batches)
    for a, b in zip(found["weights"] + found["inner_lr"], moved, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    np.testing.assert_allclose([pre, post], np.mean(losses, axis=0), atol=1e-5)


def test_adam_equals_keras(plain):
    batches = made_batches()
    batches[2][:], batches[5][:] = 1, 1  # the plain form knows no masks
    found, _, post = plain(begin(), tf.constant(0), tf.constant(STEPS), batches)
    step, variables = reference_maml.trainer(begin()["weights"], begin()["inner_lr"], OUTER_LR, 2, True)
    losses = [float(step(tuple(tf.constant(batches[j][i]) for j in (0, 1, 3, 4)))[1]) for i in range(STEPS)]
    assert float(post) == pytest.approx(np.mean(losses), abs=1e-5)
    for a, b in zip(found["weights"] + found["inner_lr"], variables, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_two_calls_equal_one(plain):
    batches = made_batches()
    whole, pre, post = plain(begin(), tf.constant(0), tf.constant(4), batches)  # fewer steps than batches
    half, pre_1, post_1 = plain(begin(), tf.constant(0), tf.constant(2), batches)
    both, pre_2, post_2 = plain(half, tf.constant(2), tf.constant(2), [b[2:] for b in batches])
    assert_same_state(whole, both, 1e-6)
    assert float(pre) == pytest.approx(float(pre_1 + pre_2) / 2, rel=1e-5)
    assert float(post) == pytest.approx(float(post_1 + post_2) / 2, rel=1e-5)


def test_fewer_steps_than_batches_read_only_these(plain):
    batches = made_batches()
    expected = plain(begin(), tf.constant(0), tf.constant(2), batches)
    for b in batches[:1]:
        b[2:] = np.nan
    found = plain(begin(), tf.constant(0), tf.constant(2), batches)
    assert_same_state(expected[0], found[0], 0)
    assert np.isfinite(float(found[2]))


def test_meta_training_lowers_the_loss_after_adaptation(plain):
    batches = [np.repeat(b[:1], 60, axis=0) for b in made_batches()]
    state, _, first = plain(begin(), tf.constant(0), tf.constant(1), batches)
    _, _, later = plain(state, tf.constant(1), tf.constant(60), batches)
    assert float(later) < 0.7 * float(first)


def test_a_rate_a_weight_trains_every_rate():
    loop = maml.outer_loop(1, OUTER_LR, False, False, xla=False)
    state, _, _ = loop(begin(per_weight=True), tf.constant(0), tf.constant(3), made_batches())
    assert [r.shape for r in state["inner_lr"]] == [w.shape for w in state["weights"]]
    assert all(np.abs(r - 0.1).max() > 1e-3 for r in state["inner_lr"])
    assert all(np.ptp(r) > 1e-3 for r in state["inner_lr"][:-2])  # and each its own way
