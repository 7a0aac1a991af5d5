import numpy as np
import pytest
from scipy.spatial.distance import cdist

from lsm.maps.nearest import LEAF, Nearest


@pytest.mark.parametrize(("samples", "inputs"), [(1, 3), (2, 1), (LEAF + 1, 9), (1500, 2), (3000, 23)])
def test_the_distance_is_that_to_the_nearest_of_all(samples, inputs):
    rng = np.random.default_rng(samples)
    shape = rng.normal(size=(inputs, inputs))  # inputs that depend on each other
    x, cells = (rng.normal(size=(n, inputs)) @ shape + 5 for n in (samples, 400))
    x[:, 0] = np.round(x[:, 0])  # ties
    np.testing.assert_allclose(Nearest(x).distance(cells), cdist(cells, x).min(axis=1), rtol=1e-6)


def test_a_cell_like_a_sample_is_at_distance_0_and_one_far_away_is_found():
    x = np.random.default_rng(1).normal(size=(700, 12))
    nearest = Nearest(x)
    np.testing.assert_array_equal(nearest.distance(x[::7]), 0)
    far = np.full((1, 12), 1e4)
    assert nearest.distance(far) == pytest.approx(cdist(far, x).min())


def test_samples_that_are_all_alike():
    np.testing.assert_allclose(Nearest(np.ones((200, 4))).distance(np.zeros((3, 4))), 2)


def test_no_distance_depends_on_the_other_cells():
    rng = np.random.default_rng(2)
    nearest, cells = Nearest(rng.normal(size=(900, 10))), rng.normal(size=(300, 10))
    np.testing.assert_array_equal(nearest.distance(cells[::-1])[::-1], nearest.distance(cells))


def test_of_samples_as_near_as_float32_tells_the_same_is_taken_whatever_cell_came_before():
    nearest = Nearest(np.array([[-1], [1 + 1e-9]]))
    alone, = nearest.distance(np.zeros((1, 1)))
    for before in (-1.0, 1.0):
        assert nearest.distance(np.array([[before], [0]]))[1] == alone
