from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from osgeo import gdal
from small_region import CELL, COLS, NORTH, PLACE, ROWS, WEST, crs_of, write_raster, write_vector

from lsm.inputs import vectors
from lsm.inputs.rasters import Grid
from lsm.sources.vector_files import open_vector

GRID = Grid(ROWS, COLS, PLACE, crs_of(32650).ExportToWkt())
MADE = ("export_gis.py", SimpleNamespace(REGION="demo", SEED=1), [])


def test_lines_burn_the_cells_they_cross(tmp_path):
    y = NORTH - 20.5 * CELL
    write_vector(tmp_path / "road.gpkg", [f"LINESTRING ({WEST} {y}, {WEST + COLS * CELL} {y})"])
    burned = vectors.burn(open_vector(tmp_path / "road.gpkg", "roads", GRID), GRID, tmp_path / "b.tif")
    np.testing.assert_array_equal(np.flatnonzero(burned.ReadAsArray().any(axis=1)), [20])


def test_polygons_are_the_areas_of_equal_numbers(tmp_path):
    numbers = np.zeros((ROWS, COLS), np.int32)
    numbers[2:5, 3:7], numbers[10:12, 10:12], numbers[10:12, 12:14] = 4, 4, 9
    write_raster(tmp_path / "n.tif", numbers, nodata=None, kind=gdal.GDT_Int32)
    dataset = gdal.Open(str(tmp_path / "n.tif"))
    found = vectors.polygons(dataset.GetRasterBand(1), dataset.GetRasterBand(1))
    assert sorted((number, shape.GetArea() / CELL**2) for number, shape in found) == pytest.approx(
        [(4, 4), (4, 12), (9, 4)])


def test_layers_keep_types_missing_values_and_styles(tmp_path):
    table = pd.DataFrame({"n": [1, 2], "x": [0.5, np.nan], "word": ["ä", None], "yes": [True, False],
                          "some": pd.array([None, 7], "Int64")})
    for name in ("a.gpkg", "b.gpkg"):
        vectors.write_layers(tmp_path / name, crs_of(32650), {
            "places": (vectors.points(np.array([[1.0, 2.0], [3.5, 4.0]])), table, "<qgis/>")}, MADE)
    assert (tmp_path / "a.gpkg").read_bytes() == (tmp_path / "b.gpkg").read_bytes()
    dataset = gdal.OpenEx(str(tmp_path / "a.gpkg"))
    layer = dataset.GetLayer("places")
    assert layer.GetSpatialRef().IsSame(crs_of(32650))
    first, second = layer
    assert [first.GetField(i) for i in range(5)] == [1, 0.5, "ä", True, None]
    assert [second.GetField(i) for i in range(5)] == [2, None, None, False, 7]
    assert (second.GetGeometryRef().GetX(), second.GetGeometryRef().GetY()) == (3.5, 4)
    style, = dataset.GetLayer("layer_styles")
    assert (style["f_table_name"], style["f_geometry_column"], style["styleQML"]) == ("places", "geom", "<qgis/>")
    assert style["useAsDefault"]
    assert style["update_time"]  # QGIS asks for this column, and takes no style without it
