import sys

import numpy as np
import pytest
import tensorflow as tf

from lsm.learner import maml, members, network
from lsm.run.paths import PROJECT

sys.path.append(str(PROJECT / "benchmarks"))
import reference_maml

network.use_one_thread()  # before any test runs an operator

SIZES, TASKS = [4, 6, 5, 3], 3


def start(per_weight: bool, dtype=np.float32, seed: int = 0, direct: bool = False) -> tuple[list, list]:
    """Weights far from zero and inner rates large enough that the inner loop matters."""
    rng = np.random.default_rng(seed)
    weights = [rng.normal(0, 0.7, w.shape).astype(dtype) for w in members.initial_weights(SIZES, None, rng, direct,
                                                                                         SIZES[0] - 1)]
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
    """Of the query loss of one member after adaptation, by its weights and then by its inner rates."""
    weights, rates = [tf.constant(w) for w in weights], [tf.constant(r) for r in rates]
    with tf.GradientTape() as tape:
        tape.watch([weights, rates])
        post = meta_loss(weights, rates, support, query, steps, normalise, first_order)[1]
    return tape.gradient(post, weights + rates)


def meta_loss(weights, rates, *given) -> list:
    """Of one member: its query losses before and after the inner loop."""
    return [loss[0] for loss in maml.meta_loss([w[None] for w in weights], [r[None] for r in rates], *given)]


def directional(weights, rates, support, query, steps, normalise, direction) -> tuple[float, float]:
    """The derivative of the query loss along `direction` (over weights and rates), by the tape and by central
    differences."""
    n = len(weights)
    gradients = meta_gradients(weights, rates, support, query, steps, normalise, False)
    taped = sum(float(np.sum(np.asarray(g) * d)) for g, d in zip(gradients, direction, strict=True))

    def loss(shift):
        moved = [tf.constant(p + shift * d) for p, d in zip([*weights, *rates], direction, strict=True)]
        return float(meta_loss(moved[:n], moved[n:], support, query, steps, normalise, False)[1])

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
@pytest.mark.parametrize(("steps", "direct"), [(1, False), (2, False), (3, False), (2, True)])
def test_meta_gradient_equals_finite_differences(steps, normalise, per_weight, direct):
    weights, rates = start(per_weight, np.float64, direct=direct)
    support, query = made_batch(1, dtype=np.float64), made_batch(2, dtype=np.float64)
    along = directions(weights, rates)
    if direct:  # along the direct path alone, too: second order through the inner loop
        along.append([*(0 * d for d in along[2][:8]), along[2][8], *(0 * np.asarray(r) for r in rates)])
    for direction in along:
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
@pytest.mark.parametrize("direct", [False, True])
def test_inner_step_of_many_tasks_equals_each_alone(normalise, per_weight, direct):
    rng = np.random.default_rng(5)
    weights, rates = start(per_weight, direct=direct)
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


# outer loop -----------------------------------------------------------------------------------------------------

STEPS, OUTER_LR = 5, 0.01


def made_batches(steps: int = STEPS) -> list:
    """Batches whose first axis is the outer step."""
    parts = [made_batch(10 + i) + made_batch(20 + i) for i in range(steps)]
    return [np.stack(arrays) for arrays in zip(*parts, strict=True)]


def begin(per_weight: bool = False) -> dict:
    weights, _ = start(False)
    return members.initial_state(weights, 0.1, per_weight)


@pytest.fixture(scope="module")
def plain():
    return one_member(2, True, xla=False)


def one_member(inner_steps: int, normalise: bool, xla: bool):
    """maml.outer_loop for the state of one member."""
    loop = maml.outer_loop(inner_steps, OUTER_LR, normalise, False, xla)

    def run(state, step, steps, batches):
        state, pre, post = loop(maml.stacked([state]), step, steps, batches)
        return maml.unstacked(state, 1)[0], pre[0], post[0]

    return run


def assert_same_state(a: dict, b: dict, atol: float):
    assert a.keys() == b.keys() == {"weights", "inner_lr", "m", "v"}
    for key in a:
        for p, q in zip(a[key], b[key], strict=True):
            np.testing.assert_allclose(p, q, atol=atol, err_msg=key)


@pytest.mark.slow
def test_xla_equals_no_xla(plain):
    compiled = one_member(2, True, xla=True)
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
        losses.append([float(l) for l in meta_loss(parameters[:n], parameters[n:], support, query, 2, True, False)])
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
    loop = one_member(1, False, xla=False)
    state, _, _ = loop(begin(per_weight=True), tf.constant(0), tf.constant(3), made_batches())
    assert [r.shape for r in state["inner_lr"]] == [w.shape for w in state["weights"]]
    assert all(np.abs(r - 0.1).max() > 1e-3 for r in state["inner_lr"])
    assert all(np.ptp(r) > 1e-3 for r in state["inner_lr"][:-2])  # and each its own way


@pytest.mark.parametrize("per_weight", [False, True])
def test_members_of_one_program_are_trained_apart(plain, per_weight):
    others = [10 * b if b.dtype == np.float32 else 1 - b for b in made_batches()]  # masks weigh ten times: no change
    states = [begin(per_weight), members.initial_state([w + 0.1 for w in start(False)[0]], 0.05, per_weight)]
    alone = [plain(state, tf.constant(0), tf.constant(STEPS), batches)
             for state, batches in zip(states, (made_batches(), others), strict=True)]
    both = [np.concatenate(pair, axis=1) for pair in zip(made_batches(), others, strict=True)]
    found, pre, post = maml.outer_loop(2, OUTER_LR, True, False, False)(
        maml.stacked(states), tf.constant(0), tf.constant(STEPS), both)
    for member, (state, own_pre, own_post) in enumerate(alone):
        assert_same_state(state, maml.unstacked(found, 2)[member], 1e-4)
        assert [float(pre[member]), float(post[member])] == pytest.approx([float(own_pre), float(own_post)], abs=1e-5)


def test_decay_shrinks_weights_alone():
    loop = maml.outer_loop(1, OUTER_LR, False, False, False)
    given = (maml.stacked([begin(True)]), tf.constant(0), tf.constant(1), made_batches())
    (free, *_), (decayed, *_) = (loop(*given, tf.constant(d)) for d in (0.0, 5.0))
    for before, a, b in zip(begin()["weights"], free["weights"], decayed["weights"], strict=True):
        np.testing.assert_allclose(a[0] - b[0], 0.05 * before * (before.ndim == 2), atol=1e-6)
    for a, b in zip(free["inner_lr"], decayed["inner_lr"], strict=True):
        np.testing.assert_array_equal(a, b)
