import itertools

import numpy as np
import pytest
import tensorflow as tf

from lsm.learner import members, network, prediction
from lsm.learner.lanes.adaptation_steps import adaptation_steps

network.use_one_thread()  # before any test runs an operator

SIZES, TASKS, ROWS = [5, 8, 7, 4], 3, 11


def random_network(seed: int, scale: float = 1.0, direct: bool = False) -> list[np.ndarray]:
    """Weights with a leading axis of tasks, every bias far from zero; with a direct path where asked for."""
    rng = np.random.default_rng(seed)
    widths = [*SIZES, 2]
    out = []
    for a, b in itertools.pairwise(widths):
        out += [scale * rng.standard_normal((TASKS, a, b)), scale * rng.standard_normal((TASKS, b))]
    out += [scale * rng.standard_normal((TASKS, SIZES[0], 2))] * direct
    return [w.astype(np.float32) for w in out]


def probability(weights: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """Of one folded network."""
    return prediction.probability(prediction.log_odds(weights, x))


def rows_and_mask(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """x (TASKS, ROWS, inputs) and a ragged mask of 11, 6 and 4 rows."""
    x = np.random.default_rng(seed).standard_normal((TASKS, ROWS, SIZES[0])).astype(np.float32)
    return x, (np.arange(ROWS) < np.array([11, 6, 4])[:, None]).astype(np.float32)


def test_masked_moments_are_those_of_the_masked_rows():
    x, mask = rows_and_mask(0)
    mean, variance = network.masked_moments(tf.constant(x), tf.constant(mask))
    assert mean.shape == variance.shape == (TASKS, 1, SIZES[0])
    for i in range(TASKS):
        real = x[i, mask[i] == 1].astype(np.float64)
        np.testing.assert_allclose(mean[i, 0], real.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(variance[i, 0], real.var(axis=0), atol=1e-6)


def plain_logits(weights: list, x: np.ndarray, statistics: list) -> np.ndarray:
    """Of one task, in float64."""
    h = x.astype(np.float64)
    for layer in range(3):
        h = h @ weights[2 * layer]
        if statistics:
            mean, variance = statistics[layer]
            h = (h - mean) / np.sqrt(variance + 1e-3)
        h = np.maximum(h + weights[2 * layer + 1], 0)
    z = h @ weights[6] + weights[7]
    return z + x.astype(np.float64) @ weights[8] if len(weights) == 9 else z


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("normalise", [False, True])
def test_logits_equal_numpy_task_by_task(normalise, direct):
    weights, (x, mask) = random_network(1, direct=direct), rows_and_mask(2)
    statistics = network.batch_statistics(weights, tf.constant(x), tf.constant(mask)) if normalise else []
    found = network.logits(weights, tf.constant(x), statistics)
    for i in range(TASKS):
        own = [w[i].astype(np.float64) for w in weights]
        moments, h = [], x[i, mask[i] == 1].astype(np.float64)
        for layer in range(3 * normalise):
            z = h @ own[2 * layer]
            moments.append((z.mean(axis=0), z.var(axis=0)))
            h = np.maximum((z - moments[-1][0]) / np.sqrt(moments[-1][1] + 1e-3) + own[2 * layer + 1], 0)
        np.testing.assert_allclose(found[i], plain_logits(own, x[i], moments), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("normalise", [False, True])
def test_folded_probability_is_the_softmax_of_the_logits(normalise, direct):
    """Folded by no step of adaptation; what it is given stays as it was."""
    weights, (x, mask) = random_network(3, direct=direct), rows_and_mask(4)
    statistics = network.batch_statistics(weights, tf.constant(x), tf.constant(mask)) if normalise else []
    expected = tf.nn.softmax(network.logits(weights, tf.constant(x), statistics))[..., 1].numpy()
    assert expected.std() > 0.2
    copies = [a.copy() for a in (*weights, x)]
    for i in range(TASKS):
        state, task = {"weights": [w[i] for w in weights], "inner_lr": [np.float32(0.1)]}, slice(i, i + 1)
        folded = adaptation_steps(state, x[task], np.zeros((1, ROWS)), mask[task], [ROWS], 0, normalise)
        found = probability([w[0] for w in folded], x[i])
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected[i], atol=1e-5 if normalise else 1e-6)
    for a, b in zip([*weights, x], copies, strict=True):
        np.testing.assert_array_equal(a, b)


def test_probability_at_the_extremes_is_finite():
    weights = [w[0] for w in random_network(7, scale=50.0)]
    x = 1e4 * np.random.default_rng(8).standard_normal((400, SIZES[0])).astype(np.float32)
    p = probability(weights, x)
    assert np.isfinite(p).all()
    assert 0 <= p.min() < 1e-30
    assert p.max() == 1
    flipped = [*weights[:-2], weights[-2][:, ::-1], weights[-1][::-1]]
    np.testing.assert_allclose(probability(flipped, x) + p, 1, atol=1e-6)


def test_truncated_normal_bounds_and_spread():
    draws = members.truncated_normal(np.random.default_rng(0), (300, 400), 0.5)
    assert draws.shape == (300, 400)
    assert 0.99 < np.abs(draws).max() <= 1  # two standard deviations
    # a normal cut at two standard deviations: variance 1 - 4 phi(2) / (2 Phi(2) - 1) = 0.77374
    assert draws.std() == pytest.approx(0.5 * np.sqrt(0.77374), rel=0.01)
    assert abs(draws.mean()) < 0.005


def test_initial_weights_at_random():
    weights = members.initial_weights([14, 320, 32, 16], None, np.random.default_rng(0))
    assert [w.shape for w in weights] == [(14, 320), (320,), (320, 32), (32,), (32, 16), (16,), (16, 2), (2,)]
    assert all(w.dtype == np.float32 and w.flags.c_contiguous for w in weights)
    assert not any(b.any() for b in weights[1::2])
    for w in weights[:-2:2]:
        assert w.std() == pytest.approx(np.sqrt(0.77374 * 2 / len(w)), rel=0.1)
        assert np.abs(w).max() <= 2 * np.sqrt(2 / len(w)) * (1 + 1e-6)
    assert np.abs(weights[6]).max() <= 2 * members.HEAD_SD * (1 + 1e-6)
    again = members.initial_weights([14, 320, 32, 16], None, np.random.default_rng(0))
    assert all(np.array_equal(a, b) for a, b in zip(weights, again, strict=True))


def saved_arrays() -> dict:
    """Hidden layers as the pretraining saves them: w as (out, in)."""
    rng = np.random.default_rng(1)
    return {f"arr_{i}": rng.standard_normal(shape)
            for i, shape in enumerate([(8, 5), (8,), (7, 8), (7,), (4, 7), (4,)])}


def test_initial_weights_from_saved_layers():
    saved = saved_arrays()
    weights = members.initial_weights(SIZES, saved, np.random.default_rng(0))
    for layer in range(3):
        np.testing.assert_array_equal(weights[2 * layer], saved[f"arr_{2 * layer}"].T.astype(np.float32))
        np.testing.assert_array_equal(weights[2 * layer + 1], saved[f"arr_{2 * layer + 1}"].astype(np.float32))
    assert weights[6].shape == (4, 2)
    assert weights[6].any()
    assert not weights[7].any()


def test_a_direct_path_starts_at_zero_and_changes_nothing():
    plain, direct = (members.initial_weights(SIZES, None, np.random.default_rng(0), on) for on in (False, True))
    assert [w.shape for w in direct[8:]] == [(SIZES[0], 2)]
    assert direct[8].dtype == np.float32
    assert not direct[8].any()
    assert all(np.array_equal(a, b) for a, b in zip(plain, direct[:8], strict=True))
    x, mask = rows_and_mask(1)
    for normalise in (False, True):
        found = []
        for weights in (plain, direct):
            tasks = [np.repeat(w[None], TASKS, axis=0) for w in weights]
            statistics = network.batch_statistics(tasks, tf.constant(x), tf.constant(mask)) if normalise else []
            found.append(network.logits(tasks, tf.constant(x), statistics))
        np.testing.assert_array_equal(*found)
    np.testing.assert_array_equal(prediction.log_odds(plain, x[0]), prediction.log_odds(direct, x[0]))


def test_regional_weights_have_two_more_rows_than_the_pretrained_ones():
    saved = saved_arrays()
    inputs = SIZES[0] + members.PLACE
    weights = members.initial_weights([inputs, *SIZES[1:]], saved, np.random.default_rng(0), True)
    assert [w.shape for w in weights] == [(inputs, 8), (8,), (8, 7), (7,), (7, 4), (4,), (4, 2), (2,),
                                          (inputs, 2)]
    np.testing.assert_array_equal(weights[0][:-2], saved["arr_0"].T.astype(np.float32))
    place = weights[0][-2:]
    assert (place != 0).all()
    assert np.abs(place).max() <= 2 * np.sqrt(2 / inputs) * (1 + 1e-6)
    many = members.initial_weights([6, 4000, 8], {f"arr_{i}": np.zeros(shape) for i, shape in enumerate(
        [(4000, 4), (4000,), (8, 4000), (8,)])}, np.random.default_rng(0))
    assert many[0][-2:].std() == pytest.approx(np.sqrt(0.77374 * 2 / 6), rel=0.05)
    for layer in (1, 2):
        np.testing.assert_array_equal(weights[2 * layer], saved[f"arr_{2 * layer}"].T.astype(np.float32))


def test_initial_weights_refuse_other_shapes():
    saved = saved_arrays()
    saved["arr_2"] = saved["arr_2"].T
    with pytest.raises(ValueError, match=r"layer 2: expected w \(7, 8\), found \(8, 7\)"):
        members.initial_weights(SIZES, saved, np.random.default_rng(0))
    with pytest.raises(ValueError, match="layer 1"):
        members.initial_weights([6, 8, 7, 4], saved_arrays(), np.random.default_rng(0))
    saved = saved_arrays()
    saved["arr_5"] = np.zeros(3)
    with pytest.raises(ValueError, match="layer 3"):
        members.initial_weights(SIZES, saved, np.random.default_rng(0))
