import numpy as np
import pytest
from osgeo import gdal
from small_region import CELL, COLS, NORTH, PLACE, ROWS, WEST, crs_of, heights, square, write_raster, write_vector

from lsm.inputs.rasters import Grid
from lsm.region import inventory
from lsm.run.settings import InputError

GRID = Grid(ROWS, COLS, PLACE, crs_of(32650).ExportToWkt())


@pytest.fixture
def dem(tmp_path):
    write_raster(tmp_path / "dem.tif", heights())
    return gdal.Open(str(tmp_path / "dem.tif"))


@pytest.mark.parametrize("text", ["X,Y,v\n1.5,2,-3\n", "X;Y;v\n1,5;2;-3\n", "X\tY\tv\n1,5\t2\t-3\n",
                                  '"X","Y","v"\n"1,5","2","-3"\n',
                                  "\ufeffX,Y,v\r\n1.5,2,-3\r\n\r\n"])
def test_tables_as_people_export_them(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode())
    table, notes = inventory.read_table(path, "inventory")
    assert table.to_numpy().tolist() == [[1.5, 2, -3]]
    assert list(table) == ["X", "Y", "v"]
    assert notes == []


def test_latin_1_is_read_and_said(tmp_path):
    (tmp_path / "t.csv").write_bytes("Ort,X,Y\nHöhe,1,2\n".encode("latin-1"))
    table, notes = inventory.read_table(tmp_path / "t.csv", "inventory")
    assert table["Ort"].tolist() == ["Höhe"]
    assert "Latin-1" in notes[0]


def test_text_stays_text(tmp_path):
    (tmp_path / "t.csv").write_text("X,Y,name\n1,2,3\n4,5,b\n")
    assert inventory.read_table(tmp_path / "t.csv", "inventory")[0]["name"].tolist() == ["3", "b"]


def test_longitude_and_latitude_are_transformed(tmp_path):
    (tmp_path / "t.csv").write_text("Longitude,Latitude\n117.0,22.606\n")
    table, _ = inventory.points_of(tmp_path / "t.csv", "inventory", GRID, 0)
    assert table["X"][0] == pytest.approx(500000, abs=0.1)  # the zone's central meridian
    assert table["Y"][0] == pytest.approx(2500000, abs=300)


@pytest.mark.parametrize(("how", "each"), [("highest", [1, 1]), ("every", [4, 1]), ("centroid", [1, 1])])
def test_points_of_polygons(tmp_path, dem, how, each):
    path, shapes = tmp_path / "p.gpkg", [square(10, 10, 4, 5), square(40, 60, 2, 2)]
    write_vector(path, shapes, {"Year_obs": ["2004", "2011-03-02"]})
    xy, years, burned, _ = inventory.read_inventory(path, "inventory", GRID, dem, 0, how, 5, tmp_path)
    assert (burned.ReadAsArray() > 0).sum() == 24
    row, col = (NORTH - xy[:, 1]) // CELL, (xy[:, 0] - WEST) // CELL
    first = (row >= 10) & (row < 14) & (col >= 10) & (col < 15)
    second = (row >= 40) & (row < 42) & (col >= 60) & (col < 62)
    assert [first.sum(), second.sum()] == each
    assert (first | second).all()
    np.testing.assert_array_equal(years, np.where(first, 2004, 2011))
    if how != "centroid":
        z = heights()[row.astype(int), col.astype(int)]
        assert z[first].max() == heights()[10:14, 10:15].max()


@pytest.mark.parametrize(("value", "year"), [
    ("2014", 2014), (2014, 2014), (2014.0, 2014), ("16.07.1998", 1998), ("2008/05/12 00:00:00", 2008),
    ("20100727", 2010), ("before 1973", 1973), (None, np.nan), ("", np.nan), ("unknown", np.nan), ("120145", np.nan)])
def test_years_in_dates_as_people_write_them(value, year):
    np.testing.assert_equal(inventory.year_of(value), year)


def test_the_field_of_dates(tmp_path):
    assert inventory.date_field(["name", "Date", "Year_obs"], "", tmp_path) == "Date"
    assert inventory.date_field(["name", "OCCURRED"], "occurred", tmp_path) == "OCCURRED"
    assert inventory.date_field(["name"], "", tmp_path) is None
    with pytest.raises(InputError, match=r"expected the field 'when' \(DATE_FIELD\), found name; name one of these"):
        inventory.date_field(["name"], "when", tmp_path)


def test_years_of_a_table_of_points(tmp_path, dem):
    (tmp_path / "t.csv").write_text(f"X,Y,date\n{WEST + 45},{NORTH - 45},2003-05-01\n{WEST + 75},{NORTH - 45},\n")
    _, years, _, _ = inventory.read_inventory(tmp_path / "t.csv", "inventory", GRID, dem, 0, "highest", 5, tmp_path)
    np.testing.assert_array_equal(years, [2003, np.nan])
    dates = inventory.table_of_dates((np.array([[1.23456, 2], [3, 4]]), None, None, years))
    assert dates.to_dict("list") == {"X": [1.235], "Y": [2.0], "year": [2003]}


def test_a_polygon_smaller_than_a_cell_still_counts(tmp_path, dem):
    x, y = WEST + 300.0, NORTH - 300.0  # on a corner of four cells
    write_vector(tmp_path / "p.gpkg", [f"POLYGON (({x} {y}, {x + 3} {y}, {x + 3} {y + 3}, {x} {y}))"])
    xy, _, burned, _ = inventory.read_inventory(tmp_path / "p.gpkg", "inventory", GRID, dem, 0, "highest", 5, tmp_path)
    assert burned.ReadAsArray().sum() == 0
    assert len(xy) == 1
    assert np.abs(xy - (x, y)).max() < 3


def test_points_and_polygons_in_one_layer_and_empty_ones(tmp_path, dem):
    write_vector(tmp_path / "p.gpkg", [f"POINT ({WEST + 45} {NORTH - 45})", square(10, 10, 4, 5), "POINT EMPTY"])
    xy, _, _, notes = inventory.read_inventory(tmp_path / "p.gpkg", "inventory", GRID, dem, 0, "highest", 5, tmp_path)
    assert len(xy) == 2
    assert xy[0].tolist() == [WEST + 45, NORTH - 45]
    assert "1 features of the inventory are empty or lines" in notes[0]


def test_points_off_the_grid(dem):
    xy = np.array([[WEST + 5, NORTH - 5], [WEST + 50, NORTH - 50], [WEST - 5, NORTH]])
    assert inventory.on_grid(xy, dem, GRID, "points").tolist() == [True, True, False]
    with pytest.raises(InputError, match="2 of 3 outside"):
        inventory.on_grid(xy - (40, 0), dem, GRID, "points")
