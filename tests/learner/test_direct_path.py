import numpy as np
import pytest

from lsm.learner import network
from lsm.learner.additive.direct_path import BENDS, KNOTS, add_curves, bending, curves, rows_of_path
from lsm.learner.network import tf

network.use_one_thread()  # before any test runs an operator


def path_and_inputs(place: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Weights of a direct path of 5 inputs, and inputs that reach beyond the knots and lie on each of them."""
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(400, 5)) * 3).astype(np.float32)
    x[:len(KNOTS)] = np.float32(KNOTS)[:, None]
    return rng.normal(size=rows_of_path(5, 5 - place)).astype(np.float32), x


@pytest.mark.parametrize("place", [0, 2])
def test_curves_are_those_that_training_learns(place):
    path, x = path_and_inputs(place)
    learned = network.parts_of_curves(tf.constant(x), len(path)).numpy() @ path
    z = np.ones(len(x), np.float32)
    add_curves(z, x, path)
    np.testing.assert_allclose(z, learned + 1, atol=2e-5)
    np.testing.assert_allclose(curves(x, path).sum(axis=1), learned, atol=2e-5)


@pytest.mark.parametrize("place", [0, 2])
def test_a_curve_is_zero_at_zero_and_has_a_slope_between_each_two_knots(place):
    path, _ = path_and_inputs(place)
    edges = np.array([-5.0, *KNOTS, 5.0])
    found = curves(np.repeat(np.float32(edges)[:, None], 5, axis=1), path)
    slopes = np.diff(found, axis=0) / np.diff(edges)[:, None]
    bends = np.zeros((BENDS + 2, 5))
    bends[1:-1, :5 - place] = path[5:].reshape(BENDS, 5 - place)
    np.testing.assert_allclose(slopes, path[:5] + bends, atol=1e-5)
    np.testing.assert_array_equal(curves(np.zeros((1, 5), np.float32), path), 0)


def test_a_path_without_bends_is_linear():
    path, x = path_and_inputs(0)
    assert bending(5, 5) == 0
    z = np.zeros(len(x), np.float32)
    add_curves(z, x, path[:5])
    np.testing.assert_allclose(z, x @ path[:5], atol=1e-5)


def test_a_cell_depends_on_itself_alone_and_no_number_stays_none():
    path, x = path_and_inputs(0)
    together, alone = np.zeros(len(x), np.float32), np.zeros(1, np.float32)
    add_curves(together, x, path)
    add_curves(alone, x[7:8], path)
    assert alone[0] == together[7]
    x[3, 2], x[4, 1] = np.nan, np.inf
    z = np.zeros(len(x), np.float32)
    add_curves(z, x, path)
    assert np.isnan(z[3])
    assert not np.isfinite(z[4])
    np.testing.assert_array_equal(np.delete(z, [3, 4]), np.delete(together, [3, 4]))
