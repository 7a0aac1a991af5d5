from pathlib import Path

import numpy as np
import pytest
import small_region
from osgeo import gdal, ogr
from scipy.ndimage import distance_transform_edt
from small_region import CELL, COLS, NORTH, PLACE, ROWS, WEST, crs_of, heights, square, write_raster, write_vector

from lsm.inputs import bands, layers, rasters, vectors
from lsm.inputs.factor.definition import Factor
from lsm.inputs.rasters import Grid
from lsm.region import factor_layers, sample_tables
from lsm.run.settings import InputError
from lsm.sources.vector_files import open_vector

GRID = Grid(ROWS, COLS, PLACE, crs_of(32650).ExportToWkt())
SPOT = np.zeros((ROWS, COLS), np.uint8)
SPOT[20:30, 20:30] = 1


def test_distance_is_close_to_the_exact_one(tmp_path):
    marked = np.random.default_rng(1).random((ROWS, COLS)) < 0.005
    marks = layers.write_layer(tmp_path / "marks.tif", GRID, lambda row, rows: marked[row:row + rows],
                               gdal.GDT_Byte, None)
    factor_layers.write_distance(marks, GRID, tmp_path / "distance.tif", "roads")
    apart = np.abs(gdal.Open(str(tmp_path / "distance.tif")).ReadAsArray() - CELL * distance_transform_edt(~marked))
    assert apart.max() < 0.5 * CELL
    assert np.quantile(apart, 0.98) < 0.02 * CELL


def test_borders_lie_between_polygons(tmp_path, monkeypatch):
    monkeypatch.setattr(rasters, "WINDOW", COLS * 7)
    write_vector(tmp_path / "c.gpkg", [square(0, 0, 28, COLS), square(28, 0, 20, COLS)])
    vector = open_vector(tmp_path / "c.gpkg", "catchments", GRID)
    assert vectors.is_areal(vector)
    numbers = vectors.burn(vector, GRID, tmp_path / "n.tif", vectors.number_features(vector))
    found = factor_layers.write_borders(numbers, GRID, tmp_path / "borders.tif").ReadAsArray()
    expected = np.zeros((ROWS, COLS))
    expected[27] = 1  # its lower neighbour is another catchment; below row 47 there is none
    np.testing.assert_array_equal(found, expected)


def test_catchments_may_be_a_raster_and_narrow_polygons_have_no_gaps(tmp_path):
    write_raster(tmp_path / "c.tif", np.repeat([3, 9], [28, ROWS - 28])[:, None] * np.ones(COLS))
    factor_layers.distance_layer("dis2catchment", tmp_path / "c.tif", GRID, tmp_path, 0, [])
    found = gdal.Open(str(tmp_path / "dis2catchment.tif")).ReadAsArray()
    np.testing.assert_allclose(found, CELL * np.abs(np.arange(ROWS) - 27)[:, None] * np.ones(COLS))
    for nodata, edge in ((-1, 19), (None, 39)):  # with gaps marked otherwise, 0 is a catchment
        strips = np.repeat([0, 1, 2], [20, 20, ROWS - 40])[:, None] * np.ones(COLS)
        write_raster(tmp_path / "z.tif", strips, nodata=nodata)
        factor_layers.distance_layer("dis2catchment", tmp_path / "z.tif", GRID, tmp_path, 0, [])
        found = gdal.Open(str(tmp_path / "dis2catchment.tif")).ReadAsArray()
        assert found[0, 0] == CELL * edge
    y = NORTH - 20.9 * CELL  # a road 3 m wide, beside the centres of its cells
    write_vector(tmp_path / "r.gpkg", [f"POLYGON (({WEST} {y}, {WEST + COLS * CELL} {y}, {WEST + COLS * CELL} {y - 3}, "
                                       f"{WEST} {y - 3}, {WEST} {y}))"])
    factor_layers.distance_layer("dis2road", tmp_path / "r.gpkg", GRID, tmp_path, 0, [])
    found = gdal.Open(str(tmp_path / "dis2road.tif")).ReadAsArray()
    np.testing.assert_allclose(found, CELL * np.abs(np.arange(ROWS) - 20)[:, None] * np.ones(COLS), atol=CELL / 2)


def test_points_among_roads_are_said(tmp_path):
    line, spot = f"LINESTRING ({WEST} {NORTH - 40}, {WEST + 900} {NORTH - 900})", f"POINT ({WEST + 60} {NORTH - 600})"
    for shapes, said in (([line], []), ([line, spot], ["1 of 2 features are"]), ([spot], ["1 of 1 feature are"])):
        write_vector(tmp_path / "r.gpkg", shapes)
        notes = []
        factor_layers.distance_layer("dis2road", tmp_path / "r.gpkg", GRID, tmp_path, 0, notes)
        assert [words in note for words, note in zip(said, notes, strict=True)] == [True] * len(said)
    factor_layers.distance_layer("to well", tmp_path / "r.gpkg", GRID, tmp_path, 0, said := [])
    assert said == []  # points are what an own factor may be measured from


def test_a_mask_or_classes_are_no_ndvi(tmp_path):
    for values in (SPOT, 3 * SPOT):
        write_raster(tmp_path / "n.tif", values, nodata=None, kind=gdal.GDT_Byte)
        with pytest.raises(InputError, match=r"expected an index from -1 to 1, found 0, [13] alone, like a mask"):
            factor_layers.ndvi_layer(tmp_path / "n.tif", 0, GRID, tmp_path / "NDVI.tif", [])
    write_raster(tmp_path / "n.tif", SPOT.astype(float))
    factor_layers.ndvi_layer(tmp_path / "n.tif", 10_000, GRID, tmp_path / "NDVI.tif", [])  # as a person says


def test_an_ndvi_that_times_10000_is_the_mark_of_gaps_is_a_value(tmp_path):
    values = np.linspace(-1, 0.9, ROWS * COLS).reshape(ROWS, COLS)
    values[3, 4] = -0.9999
    write_raster(tmp_path / "n.tif", values)
    factor_layers.ndvi_layer(tmp_path / "n.tif", 0, GRID, tmp_path / "NDVI.tif", [])
    found = gdal.Open(str(tmp_path / "NDVI.tif")).ReadAsArray()
    assert bands.known(found).all()
    np.testing.assert_allclose(found, values * 10_000, atol=0.002)


@pytest.mark.parametrize("scale", [1, 10_000])
@pytest.mark.parametrize("filler", [99.99, 999])
def test_what_no_ndvi_has_is_a_gap_and_said(tmp_path, filler, scale):
    """Of the whole numbers of NDVI x 10,000 these are small values; they stay and are said, with what makes gaps."""
    values = np.random.default_rng(0).uniform(0.2, 0.9, (ROWS, COLS)) * scale
    values[:4] = filler
    write_raster(tmp_path / "n.tif", values, nodata=None)
    factor_layers.ndvi_layer(tmp_path / "n.tif", 0, GRID, tmp_path / "NDVI.tif", notes := [])
    gaps = gdal.Open(str(tmp_path / "NDVI.tif")).ReadAsArray() == bands.NODATA
    assert gaps[:4].all() == (scale == 1)
    assert not gaps[4:].any()
    said = f"320 cells hold values that no NDVI has, like {filler:g}; taken for gaps" if scale == 1 else (
        f"{filler} in 6.7% of the cells occurs far more often than others and is kept; if it marks gaps, declare it")
    assert any(said in note for note in notes)
    factor_layers.ndvi_layer(f"{tmp_path}/n.tif|nodata={filler}", 0, GRID, tmp_path / "NDVI.tif", notes := [])
    np.testing.assert_array_equal(gdal.Open(str(tmp_path / "NDVI.tif")).ReadAsArray()[:4], bands.NODATA)
    assert notes == [f"NDVI multiplied by {10_000 // scale}"]


def ground_of(folder, mask: str | None, keeps: bool = False) -> tuple[np.ndarray, list[str]]:
    """Cells that are left (rows, cols) bool, and notes."""
    notes = []
    write_raster(folder / "DEM.tif", heights())
    factor_layers.write_ground(mask, keeps, 0, False, GRID, folder, notes)
    return bands.known(gdal.Open(str(folder / "ground.tif")).ReadAsArray()), notes


def test_the_number_of_a_mask_is_asked_for_where_numbers_cover_all(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_raster(Path("m.tif"), 1 + SPOT, nodata=None, kind=gdal.GDT_Byte)
    with pytest.raises(InputError, match=r"m.tif: MASK: expected 0 or nodata where the mask is not, found 1, 2 in all "
                                         r'cells; say which is the mask: MASK="m.tif\|value=<number>"'):
        ground_of(tmp_path, "m.tif")
    found, notes = ground_of(tmp_path, "m.tif|value=2")
    np.testing.assert_array_equal(found, SPOT == 0)
    assert notes[-2:] == ["m.tif: MASK: its cells of 2 are the mask",
                          "MASK: 100 of 4,800 cells of the DEM left out of map and points"]
    assert (ground_of(tmp_path, "m.tif|value=2", keeps=True)[0] == (SPOT == 1)).all()


def test_polygons_of_a_mask_marked_0_do_not_mask(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shapes = [square(0, 0, 10, COLS), square(20, 20, 10, 10), square(40, 0, 10, COLS)]
    first, spot, last = np.arange(ROWS)[:, None] < 10, SPOT == 1, np.arange(ROWS)[:, None] // 10 == 4
    every = "m.gpkg: MASK: all its polygons mask"
    for fields, masked, line in (
            ({"name": ["a", "b", "c"], "masked": ["0", "1", "0"]}, spot,
             "m.gpkg: MASK: of 3 polygons 2 with 0 in the field masked do not mask"),
            ({"masked": ["No", "Yes", "No"]}, spot,
             "m.gpkg: MASK: of 3 polygons 2 with no in the field masked do not mask"),
            ({"masked": ["1", "1", "1"]}, first | spot | last, every), ({}, first | spot | last, every),
            *[({name: ["0", "1", "1"]}, first | spot | last, every) for name in (
                "id", "ORIG_FID", "FID_", "FID_lake", "ORIG_SEQ", "BUFF_DIST", "ET_ID", "FEATUREID", "path")],
            ({"kind": ["0", "1", "2"]}, first | spot | last, every),
            ({"lake": ["0", "1", "0"], "ice": ["1", "0", "1"]}, first | spot | last,
             f"{every}, whatever the fields lake, ice hold")):
        write_vector(Path("m.gpkg"), shapes, fields)
        for keeps in (False, True):
            found, notes = ground_of(tmp_path, "m.gpkg", keeps)
            np.testing.assert_array_equal(found, masked if keeps else ~masked)
            assert line in notes


def test_a_mask_with_numbers_0_and_1_of_any_type(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind in (ogr.OFTInteger, ogr.OFTInteger64, ogr.OFTReal):
        write_vector(Path("m.gpkg"), [square(0, 0, 10, COLS), square(20, 20, 10, 10)])
        mask = gdal.OpenEx("m.gpkg", gdal.OF_UPDATE)
        mask.GetLayer(0).CreateField(ogr.FieldDefn("water", kind))
        for i, feature in enumerate(mask.GetLayer(0)):
            feature.SetField("water", i)
            mask.GetLayer(0).SetFeature(feature)
        del feature, mask
        np.testing.assert_array_equal(ground_of(tmp_path, "m.gpkg")[0], SPOT == 0)


def test_polygons_that_overlap_are_said_and_the_last_counts(tmp_path):
    ground_of(tmp_path, None)
    notes, shapes = [], [square(0, 0, ROWS, 50), square(0, 40, ROWS, 40)]
    write_vector(tmp_path / "l.gpkg", shapes, {"rock": ["tuff", "granite"]})
    codes = factor_layers.category_layer("lithology", str(tmp_path / "l.gpkg"), "", {}, "", GRID, tmp_path, notes)
    found = gdal.Open(str(tmp_path / "lithology.tif")).ReadAsArray()
    assert (found[:, 40:50] == codes["granite"]).all()
    assert any("polygons overlap and differ in 600 cells; the last one in the file counts" in note for note in notes)
    write_vector(tmp_path / "same.gpkg", [*shapes, square(0, 0, 2, 2)], {"rock": ["tuff", "tuff", "tuff"]})
    notes = []
    factor_layers.category_layer("lithology", str(tmp_path / "same.gpkg"), "", {}, "", GRID, tmp_path, notes)
    assert not any("overlap and differ" in note for note in notes)


@pytest.mark.parametrize(("gap", "option"), [(-999, ""), (0.7, "|nodata=0.7")])
@pytest.mark.parametrize("field", ["depth", 'depth "cm"'])
def test_numbers_of_polygons_that_mark_gaps_make_no_cells(tmp_path, gap, option, field):
    shapes = [square(0, 0, ROWS, 20), square(0, 20, ROWS, 20), square(0, 40, ROWS, 40)]
    write_vector(tmp_path / "soil.gpkg", shapes)
    soil = gdal.OpenEx(str(tmp_path / "soil.gpkg"), gdal.OF_UPDATE)
    soil.GetLayer(0).CreateField(ogr.FieldDefn(field, ogr.OFTReal))
    for feature, depth in zip(soil.GetLayer(0), (1.5, gap, None), strict=True):
        if depth:
            feature.SetField(field, depth)
            soil.GetLayer(0).SetFeature(feature)
    del feature, soil
    notes, factor = [], Factor("soil depth", "continuous", "m")
    factor_layers.own_layer(factor, f"{tmp_path}/soil.gpkg|field={field}{option}", GRID, tmp_path, {}, "", notes)
    np.testing.assert_array_equal(gdal.Open(str(tmp_path / "soil depth.tif")).ReadAsArray(),
                                  np.repeat([1.5, -9999, -9999], [20, 20, 40]) * np.ones((ROWS, 1)))
    taken = any("-999 at 1 feature is taken for a gap that the file does not declare" in note for note in notes)
    assert taken == (not option)


def test_a_number_of_a_raster_marks_a_gap_by_all_its_values(tmp_path, monkeypatch):
    monkeypatch.setattr(rasters, "WINDOW", COLS * 7)
    values = np.linspace(-1500, 500, ROWS * COLS).reshape(ROWS, COLS)
    values[-3, 5] = -999  # alone below 0 in its window
    write_raster(tmp_path / "given.tif", values)
    factor_layers.own_layer(Factor("balance", "continuous", "mm"), f"{tmp_path}/given.tif", GRID, tmp_path, {}, "", [])
    assert gdal.Open(str(tmp_path / "balance.tif")).ReadAsArray()[-3, 5] == -999


@pytest.mark.parametrize(("shift", "of_one", "words"), [
    (360, -1, r"\(-1 stays flat\)"), (-180, 359, r"\(-1 is 359 degrees, since there are numbers below it\)")])
def test_directions_beyond_one_turn_are_brought_into_it_by_the_command_of_the_message(tmp_path, monkeypatch, shift,
                                                                                      of_one, words):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    values = (np.arange(ROWS * COLS) * 0.25 % 360 + shift).reshape(ROWS, COLS)
    values[5, 5], values[6] = -1, -9999  # the latter: gaps that the file declares
    write_raster(tmp_path / "in.tif", values)
    factor = Factor("wind", "circular", "degree")
    with pytest.raises(InputError, match=rf"expected 0 to 360 degrees, .* into this range {words}: ") as at:
        factor_layers.own_layer(factor, f"{tmp_path}/in.tif", GRID, tmp_path, {}, "", [])
    small_region.obeyed(str(at.value).rpartition("): ")[2].replace("<new>", "new.tif"), tmp_path)
    factor_layers.own_layer(factor, f"{tmp_path}/new.tif", GRID, tmp_path, {}, "", [])
    np.testing.assert_allclose(gdal.Open(str(tmp_path / "wind.tif")).ReadAsArray(),
                               np.select([values == -9999, values == -1], [-9999, of_one], values % 360))


def test_the_streams_of_a_dem_are_said(tmp_path):
    notes = []
    layers.write_layer(tmp_path / "streams.tif", GRID, lambda row, rows: SPOT[row:row + rows], gdal.GDT_Byte, None)
    factor_layers.distance_layer("dis2drainage", None, GRID, tmp_path, 40, notes)
    assert notes == ["dis2drainage: no rivers given: a stream is where 40 cells (0.036 km2) or more drain through "
                     "(CHANNEL)"]


@pytest.mark.parametrize(("value", "said"), [(7.0, "7"), (-0.0, "0")])
def test_a_factor_that_is_the_same_everywhere_is_said(tmp_path, value, said):
    ground_of(tmp_path, None)
    write_raster(tmp_path / "rain.tif", np.full((ROWS, COLS), value))
    complete, ground, notes = sample_tables.valid_cells(["DEM", "rain"], 0.5, GRID, tmp_path)
    assert (complete, ground) == (ROWS * COLS, ROWS * COLS)
    assert notes == [f"rain is {said} everywhere: it tells no place from another; leave it out"]


@pytest.mark.parametrize("mark", [1, 255])
def test_a_raster_that_marks_features_holds_no_distances(tmp_path, monkeypatch, mark):
    monkeypatch.chdir(tmp_path)
    write_raster(Path("coast.tif"), SPOT * mark)
    with pytest.raises(InputError, match=rf"^coast.tif: to coast: expected distances in m, found (0, {mark}|{mark}, 0) "
                                         r"alone; gdal_proximity.py coast.tif <new file> -distunits GEO makes"):
        factor_layers.own_layer(Factor("to coast", "distance", "m"), "coast.tif", GRID, tmp_path, {}, "", [])
