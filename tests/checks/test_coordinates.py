import numpy as np
import pandas as pd

from lsm.checks import coordinates
from lsm.inputs.rasters import Raster


def made(seed: int = 0, n: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Places on half metres over 10 km, and labels that have nothing to do with them."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 20_000, (n, 2)) / 2 + 800_000, rng.integers(0, 2, n)


def findings(xy, label, raster=None) -> list:
    table = pd.DataFrame({"X": xy[:, 0], "Y": xy[:, 1], "label": label})
    return coordinates.of_decimals(table, "samples.csv", raster)


def test_decimals_that_tell_labels_are_named():
    xy, label = made()
    xy[label == 0] = np.floor(xy[label == 0])  # drawn on whole metres, the landslides on half metres too
    found, = findings(xy, label)
    assert found.level == "warning"
    assert found.topic == "coordinates"
    assert "decimals of X and Y alone tell landslides from non-landslides" in found.found
    assert "round X and Y of all points alike" in found.remedy
    assert findings(np.floor(xy), label) == []


def test_points_drawn_at_centres_of_cells_are_in_order():
    xy, label = made()
    there = np.ones((400, 400), bool)
    raster = Raster(np.zeros((4, 400, 400), np.float32), there, (800_000, 25, 0, 810_000, 0, -25), "")
    xy[label == 0] = np.floor(xy[label == 0] / 25) * 25 + 12.5
    found, = findings(xy, label, raster)
    assert (found.level, found.remedy) == ("ok", "")
    assert "non-landslides lie at centres of cells" in found.found
    assert findings(xy, label)[0].level == "warning"
    xy[label == 0] += 3.0  # on a grid, but not on that of the raster
    assert findings(xy, label, raster)[0].level == "warning"


def test_decimals_of_one_kind_of_points_are_in_order():
    xy, label = made()
    assert abs(coordinates.told_by_decimals(xy, label) - 0.5) < 0.1
    assert findings(xy, label) == []


def test_few_points_say_nothing():
    xy, label = made(n=40)
    xy[label == 0] = np.floor(xy[label == 0])
    assert np.isnan(coordinates.told_by_decimals(xy, label))
    assert findings(xy, label) == []


def test_labels_that_follow_places_are_no_fault_of_the_decimals():
    xy, _ = made()
    label = (xy[:, 0] > xy[:, 0].mean()).astype(int)
    assert findings(xy, label) == []
