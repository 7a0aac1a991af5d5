"""Tables of samples and of the grid: what they keep of the layers."""

from types import SimpleNamespace

import numpy as np
import pytest
from osgeo import gdal
from small_region import CELL, COLS, NORTH, PLACE, ROWS, WEST, crs_of, heights, square, write_raster, write_vector

from lsm.inputs.rasters import Grid
from lsm.region.points.inventory import POLYGON_CELLS, read_inventories
from lsm.region.sample_tables import as_table, place_points, published_form
from lsm.region.surface import smoothed
from lsm.run.settings import InputError

GRID = Grid(ROWS, COLS, PLACE, crs_of(32650).ExportToWkt())


def placed(folder, how="highest", valid=None, strategy="random", **files):
    """Rows and columns of landslides and of stable places (places, 2), and the notes in one text."""
    write_raster(folder / "DEM.tif", heights())
    write_raster(folder / "valid.tif", np.ones((ROWS, COLS)) if valid is None else valid, None, kind=gdal.GDT_Byte)
    c = SimpleNamespace(DATE_FIELD="", POINTS_EPSG=0, POLYGON_CELLS=how, EVERY=5, RATIO=99.0,
                        STRATEGY=strategy)
    inputs = {name: str(folder / file) for name, file in files.items()}
    landslides, stable, burned, notes = place_points(read_inventories(inputs, GRID, folder, c), inputs, GRID, folder, c)
    cells = [np.column_stack([p.row, p.col]).tolist() if p else [] for p in (landslides, stable)]
    return *cells, burned.ReadAsArray() != 0, " ".join(notes)


def point(row: int, col: int) -> str:
    return f"POINT ({WEST + (col + 0.5) * CELL} {NORTH - (row + 0.5) * CELL})"


SLIDES = [square(10, 10, 5, 5), square(30, 30, 5, 5)]


def test_stable_places_inside_polygons_of_landslides_are_dropped(tmp_path):
    inside, apart = [point(14, 11), point(32, 32)], [point(50, 50), point(3, 70)]
    write_vector(tmp_path / "i.gpkg", SLIDES)
    write_vector(tmp_path / "s.gpkg", inside + apart)
    write_vector(tmp_path / "both.gpkg", SLIDES + inside + apart, {"label": ["1"] * 2 + ["0"] * 4})
    for files in ({"INVENTORY": "i.gpkg", "STABLE": "s.gpkg"}, {"INVENTORY": "both.gpkg"}):
        landslides, stable, _, notes = placed(tmp_path, **files)
        assert len(landslides) == 2
        assert stable == [[50, 50], [3, 70]]
        assert "2 stable places dropped inside polygons of landslides" in notes
    write_vector(tmp_path / "s.gpkg", inside)
    with pytest.raises(InputError, match="expected places apart from landslides, found each in the cell or the polygo"):
        placed(tmp_path, INVENTORY="i.gpkg", STABLE="s.gpkg")


def test_a_strategy_by_which_places_tell_labels_is_said(tmp_path):
    write_vector(tmp_path / "i.gpkg", SLIDES)
    write_vector(tmp_path / "s.gpkg", [point(50, 50)])
    said = "STRATEGY=buffer: no non-landslide lies near any landslide, so X and Y alone tell"
    assert said in placed(tmp_path, strategy="buffer", INVENTORY="i.gpkg")[-1]
    assert said not in placed(tmp_path, strategy="slope", INVENTORY="i.gpkg")[-1]
    assert said not in placed(tmp_path, strategy="buffer", INVENTORY="i.gpkg", STABLE="s.gpkg")[-1]  # none are drawn


@pytest.mark.parametrize("labels", [["1", "0"], ["0", "1"]])
def test_landslides_lie_over_polygons_that_did_not_slide(tmp_path, labels):
    shapes = [square(10, 10, 10, 10), square(15, 15, 10, 10)]
    write_vector(tmp_path / "i.gpkg", shapes, {"label": labels})
    landslides, stable, burned, _ = placed(tmp_path, INVENTORY="i.gpkg")
    first = 10 if labels[0] == "1" else 15
    expected = np.zeros((ROWS, COLS), bool)
    expected[first:first + 10, first:first + 10] = True
    np.testing.assert_array_equal(burned, expected)
    highest = np.where(expected, heights(), -1).argmax()
    assert landslides == [list(map(int, np.unravel_index(highest, expected.shape)))]
    assert len(stable) == 15  # each fifth of the 75 cells that are left
    assert not burned[tuple(np.array(stable).T)].any()


@pytest.mark.parametrize("how", POLYGON_CELLS)
def test_a_polygon_that_is_given_twice_is_one_landslide(tmp_path, how):
    small = f"POLYGON (({WEST} {NORTH}, {WEST + 3} {NORTH}, {WEST} {NORTH - 3}, {WEST} {NORTH}))"  # of no cell
    turned = f"POLYGON (({', '.join((ring := SLIDES[1][10:-2].split(', '))[2:4] + ring[:3])}))"  # begins elsewhere
    write_vector(tmp_path / "once.gpkg", [*SLIDES, small])
    write_vector(tmp_path / "twice.gpkg", [*SLIDES, small, SLIDES[0], turned, small])
    landslides, _, burned, notes = placed(tmp_path, how, INVENTORY="twice.gpkg")
    assert "3 polygons left out: another has the same shape" in notes
    assert "dropped" not in notes
    once = placed(tmp_path, how, INVENTORY="once.gpkg")
    assert landslides == once[0]
    np.testing.assert_array_equal(burned, once[2])


@pytest.mark.parametrize("how", POLYGON_CELLS)
def test_a_polygon_whose_cell_cannot_be_used_gives_another_one(tmp_path, how):
    write_vector(tmp_path / "i.gpkg", [*SLIDES, point(55, 5)])
    before, valid = placed(tmp_path, how, INVENTORY="i.gpkg")[0], np.ones((ROWS, COLS))
    lost = [cell for cell in before if cell[0] < 20]  # all cells of the first polygon that give points
    valid[tuple(np.array(lost).T)] = valid[55, 5] = 0
    after, _, _, notes = placed(tmp_path, how, valid, INVENTORY="i.gpkg")
    assert "of 1 polygon the" in notes
    assert "with every factor is taken: POLYGON_CELLS = " + how in notes
    first, second = ([cell for cell in cells if 30 <= cell[0] < 40] for cells in (before, after))
    assert first == second
    (row, col), = (cell for cell in after if cell[0] < 20)
    assert valid[row, col] == 1
    free = np.zeros((ROWS, COLS), bool)
    free[10:15, 10:15] = valid[10:15, 10:15] == 1
    if how in ("highest", "every"):
        assert heights()[row, col] == heights()[free].max()
    elif how == "scarp":
        assert smoothed(heights(), 2)[row, col] == smoothed(heights(), 2)[free].max()
    else:
        assert abs(row - lost[0][0]) + abs(col - lost[0][1]) == 1
    assert len(after) == len(first) + 1  # a point of the file is dropped as it was


def test_layers_of_both_files_are_kept_apart(tmp_path):
    write_vector(tmp_path / "i.gpkg", SLIDES)
    write_vector(tmp_path / "s.gpkg", [square(45, 45, 9, 9)])
    *_, burned, _ = placed(tmp_path, INVENTORY="i.gpkg", STABLE="s.gpkg")
    made = gdal.Open(str(tmp_path / "inventory.polygons.tif")).ReadAsArray() != 0
    assert made.sum() == 50
    np.testing.assert_array_equal(burned, made)


def test_a_factor_that_a_person_adds_keeps_its_digits():
    values = np.array([[12.345678, 2.4986516e-06], [-0.0, 5.1e-05]], np.float32)
    table = as_table(["slope", "conductivity"], values, np.array([[1.23456, 2.0], [3.0, 4.0]]))
    assert table["slope"].tolist() == [12.3457, 0.0]
    np.testing.assert_array_equal(table["conductivity"].to_numpy(np.float32), values[:, 1])
    assert table["X"].tolist() == [1.235, 3.0]


def test_the_published_form_renames_published_factors_alone():
    table = as_table(["dis2road", "dis2well", "DV"], np.array([[1.0, 2.0, -3.0]]), np.array([[5.0, 6.0]]))
    assert list(published_form(table)) == ["D2road", "dis2well", "DV_InSAR", "X", "Y", "label"]
