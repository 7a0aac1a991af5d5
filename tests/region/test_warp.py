import numpy as np
import pytest
from osgeo import gdal
from scipy.ndimage import distance_transform_edt
from small_region import CELL, COLS, NODATA, NORTH, PLACE, ROWS, WEST, crs_of, square, write_raster, write_vector

from lsm.region import warp
from lsm.region.warp import Grid
from lsm.run.settings import InputError

GRID = Grid(ROWS, COLS, PLACE, crs_of(32650).ExportToWkt())


def values_of(path) -> np.ndarray:
    return gdal.Open(str(path)).ReadAsArray()


def test_windows_cover_the_grid_once(monkeypatch):
    monkeypatch.setattr(warp, "WINDOW", COLS * 7)
    rows = np.concatenate([np.arange(row, row + n) for row, n in GRID.windows()])
    np.testing.assert_array_equal(rows, np.arange(ROWS))
    assert max(n for _, n in GRID.windows()) == 7
    assert GRID.bounds == (WEST, NORTH - ROWS * CELL, WEST + COLS * CELL, NORTH)


def test_a_layer_on_the_grid_is_copied_exactly(tmp_path):
    values = np.random.default_rng(0).random((ROWS, COLS)).astype(np.float32)
    values[3, 4], values[5, 6] = np.nan, NODATA
    write_raster(tmp_path / "in.tif", values)
    warp.to_grid(tmp_path / "in.tif", "NDVI", GRID, tmp_path / "out.tif")
    expected = np.where(np.isnan(values), NODATA, values).astype(np.float32)
    np.testing.assert_array_equal(values_of(tmp_path / "out.tif"), expected)


def test_bilinear_is_exact_on_a_plane_and_nearest_keeps_classes(tmp_path):
    row, col = np.mgrid[:ROWS + 8, :COLS + 8]
    place = (WEST - 4.3 * CELL, CELL, 0, NORTH + 4.3 * CELL, 0, -CELL)
    write_raster(tmp_path / "plane.tif", 2.0 * col - 3.0 * row, place=place)
    warp.to_grid(tmp_path / "plane.tif", "NDVI", GRID, tmp_path / "out.tif")
    r, c = np.mgrid[:ROWS, :COLS] + 4.3
    np.testing.assert_allclose(values_of(tmp_path / "out.tif"), 2 * c - 3 * r, atol=1e-3)
    write_raster(tmp_path / "classes.tif", 1 + (col // 9 + row // 7) % 5, place=place, kind=gdal.GDT_Byte, nodata=0)
    warp.to_grid(tmp_path / "classes.tif", "land use", GRID, tmp_path / "classes_out.tif", categorical=True)
    assert set(np.unique(values_of(tmp_path / "classes_out.tif"))) == {1, 2, 3, 4, 5}


def test_holes_up_to_a_size_are_filled(tmp_path):
    values = (np.mgrid[:ROWS, :COLS][1] * 2.0).astype(np.float32)
    values[10:12, 10:12] = values[30:40, 30:40] = NODATA
    write_raster(tmp_path / "dem.tif", values)
    assert warp.fill_holes(tmp_path / "dem.tif", GRID, 4) == 4
    filled = values_of(tmp_path / "dem.tif")
    np.testing.assert_allclose(filled[10:12, 10:12], [[20, 22], [20, 22]], atol=2)
    assert (filled == NODATA).sum() == 100
    assert warp.fill_holes(tmp_path / "dem.tif", GRID, 4) == 0


def test_distance_is_close_to_the_exact_one(tmp_path):
    marked = np.random.default_rng(1).random((ROWS, COLS)) < 0.005
    marks = warp.create(tmp_path / "marks.tif", GRID, gdal.GDT_Byte, None)
    marks.GetRasterBand(1).WriteArray(marked.astype(np.uint8))
    warp.distance_to(marks, GRID, tmp_path / "distance.tif", "roads")
    apart = np.abs(values_of(tmp_path / "distance.tif") - CELL * distance_transform_edt(~marked))
    assert apart.max() < 0.5 * CELL
    assert np.quantile(apart, 0.98) < 0.02 * CELL


def test_lines_burn_the_cells_they_cross_and_borders_lie_between_polygons(tmp_path, monkeypatch):
    monkeypatch.setattr(warp, "WINDOW", COLS * 7)
    y = NORTH - 20.5 * CELL
    write_vector(tmp_path / "road.gpkg", [f"LINESTRING ({WEST} {y}, {WEST + COLS * CELL} {y})"])
    burned = warp.burn(warp.open_vector(tmp_path / "road.gpkg", "roads", GRID), GRID, tmp_path / "b.tif")
    np.testing.assert_array_equal(np.flatnonzero(burned.ReadAsArray().any(axis=1)), [20])
    write_vector(tmp_path / "c.gpkg", [square(0, 0, 28, COLS), square(28, 0, 20, COLS)])
    vector = warp.open_vector(tmp_path / "c.gpkg", "catchments", GRID)
    assert warp.is_areal(vector)
    numbers = warp.burn(vector, GRID, tmp_path / "n.tif", warp.number_features(vector))
    found = warp.borders(numbers, GRID, tmp_path / "borders.tif").ReadAsArray()
    expected = np.zeros((ROWS, COLS))
    expected[27] = 1  # its lower neighbour is another catchment; below row 47 there is none
    np.testing.assert_array_equal(found, expected)


def test_classes_keep_given_codes(tmp_path):
    write_vector(tmp_path / "l.gpkg", [square(0, 0, 5, 5)] * 3, {"rock": ["tuff", "basalt", "marl"]})
    vector = warp.open_vector(tmp_path / "l.gpkg", "lithology", GRID)
    assert warp.number_classes(vector, "", "FIELD", {"tuff": 4, "gneiss": 9}, "l") == {
        "tuff": 4, "basalt": 10, "marl": 11}


def test_values_at_cells(tmp_path, monkeypatch):
    values = np.arange(ROWS * COLS, dtype=np.float32).reshape(ROWS, COLS)
    write_raster(tmp_path / "v.tif", values)
    row, col = np.array([59, 0, 20, 20]), np.array([79, 0, 7, 8])
    dataset = gdal.Open(str(tmp_path / "v.tif"))
    np.testing.assert_array_equal(warp.values_at(dataset, row, col)[:, 0], values[row, col])
    monkeypatch.setattr(warp, "WINDOW", 1)
    np.testing.assert_array_equal(warp.values_at(dataset, row, col)[:, 0], values[row, col])


def test_the_grid_of_a_dem(tmp_path):
    write_raster(tmp_path / "dem.tif", np.ones((ROWS, COLS)))
    grid, own = warp.grid_of(tmp_path / "dem.tif", 0, 0.0)
    assert own
    assert (grid.rows, grid.cols, grid.geotransform) == (ROWS, COLS, PLACE)
    coarse, own = warp.grid_of(tmp_path / "dem.tif", 0, 60.0)
    assert not own
    assert (coarse.rows, coarse.cols, coarse.cell) == (ROWS // 2, COLS // 2, 60)
    with pytest.raises(InputError, match="CELL=-5"):
        warp.grid_of(tmp_path / "dem.tif", 0, -5.0)
