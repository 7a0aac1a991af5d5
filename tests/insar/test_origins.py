from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from small_region import CELL, NORTH, WEST, heights, write_raster

from lsm.insar import origins
from lsm.run import artifacts
from lsm.run.paths import Paths
from lsm.run.settings import InputError

PATHS = Paths("own")
C = SimpleNamespace(REGION="own", SEED=1)
XY = np.array([[10.0, 10], [40, 10], [70, 10], [100, 10]]) * (1, -1) + (WEST, NORTH)
SAMPLES = {"row": np.array([3, 0, 2, 1]), "xy": XY, "label": np.array([1, 1, 0, 1])}


@pytest.fixture(autouse=True)
def region(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    PATHS.composite.parent.mkdir(parents=True)
    write_raster(PATHS.composite, np.abs(heights()) % 40, bands=4)


def put_points(xy) -> None:
    pd.DataFrame(xy, columns=["X", "Y"]).to_csv(PATHS.insar_points, index=False)


def test_landslides_within_a_cell_of_an_insar_point_are_insar_and_the_rest_is_counted():
    # beside the first; at the absence, whose nearest landslide is a cell away; far from all
    put_points([XY[0] + (0.004, 0), XY[2] + (0, -3), XY[3] + (5 * CELL, 0)])
    found, notes = origins.origins(PATHS, SAMPLES, C)
    assert found.tolist() == ["insar", "inventory", "absence", "inventory"]
    assert notes == ["2 of 3 rows of src_data/Ts_own.csv have no landslide within a cell and are not used"]
    put_points([XY[0], XY[1] + (0, -CELL / 2)])
    found, notes = origins.origins(PATHS, SAMPLES, C)
    assert found.tolist() == ["insar", "insar", "absence", "inventory"]
    assert notes == []


def test_without_any_table_every_landslide_counts_as_inventory():
    found, (note,) = origins.origins(PATHS, SAMPLES, C)
    assert found.tolist() == ["inventory", "inventory", "absence", "inventory"]
    assert note == "no InSAR points (src_data/Ts_own.csv): every landslide counts as inventory"


def test_a_table_without_coordinates_is_refused():
    pd.DataFrame({"east": [1], "DV": [2]}).to_csv(PATHS.insar_points, index=False)
    with pytest.raises(InputError, match=r"Ts_own\.csv: header: expected X, Y, found no X, Y; rename"):
        origins.origins(PATHS, SAMPLES, C)


def put_origins(origin: list) -> None:
    table = pd.DataFrame({"row": range(len(origin)), "origin": origin, "weight": np.arange(1, len(origin) + 1) / 4})
    artifacts.write_csv(PATHS.samples_origin, table, origins.STAGE, C, [])


def test_the_table_of_origins_comes_first():
    put_points(XY)
    put_origins(["insar", "inventory", "absence", "inventory"])  # of rows 0 to 3; the samples are rows 3, 0, 2, 1
    assert origins.origins(PATHS, SAMPLES, C)[0].tolist() == ["inventory", "insar", "absence", "inventory"]
    np.testing.assert_array_equal(origins.weights(PATHS, np.array([1, 1, 0, 1]), C), [0.25, 0.5, 0.75, 1])


@pytest.mark.parametrize("origin", [["insar", "inventory", "absence"], ["insar", "absence", "absence", "inventory"]])
def test_a_table_of_other_samples_is_refused(origin):
    put_origins(origin)
    with pytest.raises(InputError, match=r"found rows of another table; remove it, or run augment_inventory\.py again"):
        origins.origins(PATHS, SAMPLES, C)
    with pytest.raises(InputError, match=r"for each of the 4 rows of .*found rows of another table"):
        origins.weights(PATHS, np.array([1, 1, 0, 1]), C)


def test_weights_are_1_without_a_table():
    np.testing.assert_array_equal(origins.weights(PATHS, np.array([1, 0]), C), [1, 1])


def test_places_of_any_table_of_points(tmp_path):
    path = tmp_path / "Ts_own.csv"
    for text in ("DV,X,Y\n1,10.5,20\n2,30,40\n", "\ufeffx;y;DV\n10,5;20,0;1\n30,0;40,0;2\n",
                 "# points\nX\tY\n10.5\t20\n30\t40\n"):
        path.write_text(text)
        np.testing.assert_array_equal(origins.places_of(path), [[10.5, 20], [30, 40]])
    for text in ("X,Y\n1,2\n3\n", "X,Y\n1,a\n", "X,Y\n1,\n", "X,X,Y\n1,1,2\n"):
        path.write_text(text)
        with pytest.raises(InputError):
            origins.places_of(path)
