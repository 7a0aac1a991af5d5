import numpy as np
from osgeo import gdal
from scipy.ndimage import distance_transform_edt
from small_region import CELL, COLS, NORTH, PLACE, ROWS, WEST, crs_of, square, write_raster, write_vector

from lsm.inputs import layers, rasters, vectors
from lsm.inputs.rasters import Grid
from lsm.region import factor_layers
from lsm.sources.vector_files import open_vector

GRID = Grid(ROWS, COLS, PLACE, crs_of(32650).ExportToWkt())


def test_distance_is_close_to_the_exact_one(tmp_path):
    marked = np.random.default_rng(1).random((ROWS, COLS)) < 0.005
    marks = layers.write_layer(tmp_path / "marks.tif", GRID, lambda row, rows: marked[row:row + rows],
                               gdal.GDT_Byte, None)
    factor_layers.distance_to(marks, GRID, tmp_path / "distance.tif", "roads")
    apart = np.abs(gdal.Open(str(tmp_path / "distance.tif")).ReadAsArray() - CELL * distance_transform_edt(~marked))
    assert apart.max() < 0.5 * CELL
    assert np.quantile(apart, 0.98) < 0.02 * CELL


def test_borders_lie_between_polygons(tmp_path, monkeypatch):
    monkeypatch.setattr(rasters, "WINDOW", COLS * 7)
    write_vector(tmp_path / "c.gpkg", [square(0, 0, 28, COLS), square(28, 0, 20, COLS)])
    vector = open_vector(tmp_path / "c.gpkg", "catchments", GRID)
    assert vectors.is_areal(vector)
    numbers = vectors.burn(vector, GRID, tmp_path / "n.tif", vectors.number_features(vector))
    found = factor_layers.borders(numbers, GRID, tmp_path / "borders.tif").ReadAsArray()
    expected = np.zeros((ROWS, COLS))
    expected[27] = 1  # its lower neighbour is another catchment; below row 47 there is none
    np.testing.assert_array_equal(found, expected)


def test_catchments_may_be_a_raster_and_narrow_polygons_have_no_gaps(tmp_path):
    write_raster(tmp_path / "c.tif", np.repeat([3, 9], [28, ROWS - 28])[:, None] * np.ones(COLS))
    factor_layers.distance_layer("dis2catchment", tmp_path / "c.tif", GRID, tmp_path, 0, [])
    found = gdal.Open(str(tmp_path / "dis2catchment.tif")).ReadAsArray()
    np.testing.assert_allclose(found, CELL * np.abs(np.arange(ROWS) - 27)[:, None] * np.ones(COLS))
    y = NORTH - 20.9 * CELL  # a road 3 m wide, beside the centres of its cells
    write_vector(tmp_path / "r.gpkg", [f"POLYGON (({WEST} {y}, {WEST + COLS * CELL} {y}, {WEST + COLS * CELL} {y - 3}, "
                                       f"{WEST} {y - 3}, {WEST} {y}))"])
    factor_layers.distance_layer("dis2road", tmp_path / "r.gpkg", GRID, tmp_path, 0, [])
    found = gdal.Open(str(tmp_path / "dis2road.tif")).ReadAsArray()
    np.testing.assert_allclose(found, CELL * np.abs(np.arange(ROWS) - 20)[:, None] * np.ones(COLS), atol=CELL / 2)
