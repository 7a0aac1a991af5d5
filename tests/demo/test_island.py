import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from lsm.demo import island


@pytest.mark.parametrize(("east", "north", "aspect"), [(-1, 0, 90), (1, 0, 270), (0, -1, 0), (0, 1, 180), (-1, 1, 135)])
def test_aspect_is_the_way_down(east, north, aspect):
    row, col = np.mgrid[:5, :5]
    slope, direction, curvature = island.surface(50.0 * (east * col - north * row), 50.0)
    np.testing.assert_allclose(slope, np.degrees(np.arctan(np.hypot(east, north))))
    np.testing.assert_allclose(direction, aspect)
    np.testing.assert_allclose(curvature[1:-1, 1:-1], 0)


def test_flat_ground_has_no_aspect():
    _, aspect, _ = island.surface(np.full((4, 4), 4.0), 50.0)
    assert (aspect == -1).all()


def test_water_runs_down_the_valley_and_out_of_pits():
    land = np.zeros((7, 9), bool)
    land[1:-1, 1:] = True
    row, col = np.indices(land.shape)
    elevation = np.where(land, 5.0 * np.abs(row - 3) + col, -10.0)  # a valley along row 3, down to the west
    elevation[3, 5] = 0.5  # with a pit
    area, catchment = island.drain(elevation, land)
    coast = land & ~binary_erosion(land, np.ones((3, 3)))
    outlets = np.unique(catchment[coast])
    assert area[3, 1] == area.max() == 1 + 3 * 6  # its own cell and all that lies inland
    assert area[coast].sum() == land.sum()
    assert len(outlets) == coast.sum()
    assert (catchment[2:5, 2:8] == catchment[3, 1]).all()
