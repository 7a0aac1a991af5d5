import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal
from small_region import CELL, COLS, NORTH, PLACE, ROWS, WEST, crs_of, heights, square, write_raster, write_vector

from lsm.inputs import layers, rasters
from lsm.inputs.crs import moved
from lsm.inputs.rasters import Grid, create_raster
from lsm.region.points import inventory
from lsm.region.points.inventory import on_grid
from lsm.region.sample_tables import Places, table_of_dates
from lsm.region.warp import transform
from lsm.run.settings import InputError

GRID = Grid(ROWS, COLS, PLACE, crs_of(32650).ExportToWkt())


@pytest.fixture
def dem(tmp_path):
    write_raster(tmp_path / "dem.tif", heights())
    return gdal.Open(str(tmp_path / "dem.tif"))


def read(path, dem, folder, how="highest"):
    return inventory.read_inventory(path, "inventory", GRID, dem, 0, how, 5, folder)


NO = ["0", "FALSE", "no", "stable", "Non-Landslide", "non_landslides", "0.0", "absent", " F ", "n", "Nein",
      "estable", "非滑坡"]
YES = ["1", "TRUE", "yes", "landslide", "Landslides", "unstable", "1.0", "present", "T", "y",
       "Ja", "deslizamiento", "滑坡"]


@pytest.mark.parametrize(("yes", "no"), list(zip(YES, NO, strict=True)))
@pytest.mark.parametrize("kind", ["csv", "gpkg"])
def test_labels_tell_landslides_from_other_places(tmp_path, dem, kind, yes, no):
    path = tmp_path / f"i.{kind}"
    xy = [(WEST + 45 + 30 * i, NORTH - 45) for i in range(4)]
    if kind == "csv":
        path.write_text("X,Y,Label,note\n" + "".join(f"{x},{y},{label},a\n" for (x, y), label in
                                                     zip(xy, [yes, no, no, yes], strict=True)))
    else:
        write_vector(path, [f"POINT ({x} {y})" for x, y in xy], {"Label": [yes, no, no, yes]})
    found = read(path, dem, tmp_path)
    assert found.slid.tolist() == [True, False, False, True]
    np.testing.assert_allclose(found.xy, xy)
    assert "column 'Label' tells 2 landslides from 2 places that did not slide; these serve as non-l" in found.notes[0]


@pytest.mark.parametrize(("header", "labels", "slid"), [
    ("class", "1 0 0 1", [1, 0, 0, 1]), ("water", "present absent present absent", [1] * 4),
    ("anything", "stable landslide landslide stable", [0, 1, 1, 0]),
    ("injured", "1 0 0 1", [1, 1, 1, 1]), ("landslide_active", "yes no no yes", [1] * 4),
    ("is_landslide", "1 0", [1, 0]),
    ("Landslide_Dam", "1 0 0 1", [1] * 4), ("lsfatal", "TRUE FALSE", [1, 1]), ("state", "1 0 1", [1] * 3),
    ("landslide_type", "slide stable", [1, 0]), ("label", "1 1 1 1", [1, 1, 1, 1]),
    ("type", "fall slide flow fall", [1] * 4),
    ("landslide", "17 4 12 3", [1] * 4), ("label", "1  0 1", [1, 0, 1]), ("Slide", "Y N N Y", [1, 0, 0, 1]),
    ("label", "slide non-slides no_slide slides", [1, 0, 0, 1]), ("lslpts", "1 0 0 1", [1, 0, 0, 1]),
    ("Landslide (1/0)", "1 0 0 1", [1, 0, 0, 1]), ("clase", "estable deslizamiento estable", [0, 1, 0]),
    ("type", "rock_fall no_landslide debris_flow", [1, 0, 1]), ("type", "fall not_a_landslide flow", [1, 0, 1]),
    *[("type", f"fall {word} flow", [1, 0, 1]) for word in (
        "Non-landslide-point", "non_landslide_areas", "No_landslide.", "No_Landslide_(verified)", "非滑坡点")],
    ("label", "landslide Non-landslide_Point landslide", [1, 0, 1]), ("remarks", "fall no_landslide_damage x", [1] * 3),
    ("type", "fall stable no_landslide", [1, 0, 0]), ("remarks", "no no_landslide flow", [1, 0, 1]),
    ("landslide", "1 1 1 1 1 ", [1] * 5)])
def test_which_columns_are_labels(tmp_path, dem, header, labels, slid):
    path = tmp_path / "i.csv"
    rows = [f"{WEST + 45 + 30 * i};{NORTH - 45};{label}" for i, label in enumerate(labels.split(" "))]
    path.write_text("\n".join([f"X;Y;{header}", *rows]))
    assert read(path, dem, tmp_path).slid.tolist() == [bool(s) for s in slid]


@pytest.mark.parametrize("other", ["value", "class"])
def test_a_column_called_label_counts_more_than_one_like_labels(tmp_path, dem, other):
    path = tmp_path / "i.csv"
    rows = [f"{WEST + 45 + 30 * i},{NORTH - 45},{row}" for i, row in enumerate(["1,no", "1,yes", "0,no"])]
    path.write_text("\n".join([f"X,Y,label,{other}", *rows]))
    found = read(path, dem, tmp_path)
    assert found.slid.tolist() == [True, True, False]
    assert f"column {other!r} is not read as labels beside 'label'" in " ".join(found.notes)


@pytest.mark.parametrize(("header", "rows", "words"), [
    ("label", ["1", "0", "maybe"], "column 'label': expected 0 and 1, or words such as landslide and stable, found"),
    ("label", ["0", "0", "0"], "found only labels of places that did not slide"),
    ("landslide", ["1", "", "1", ""], "found 2 of 4 that have no label"),
    ("Landslide", ["1", "2", "1"], "column 'Landslide': expected 0 and 1, .* found 1 and 2; correct it, or rename"),
    ("label,landslide", ["1,0", "0,1", "1,1"], "expected one column of labels, found 'label' and 'landslide', which")])
def test_labels_that_cannot_be_understood(tmp_path, dem, header, rows, words):
    path = tmp_path / "i.csv"
    path.write_text("\n".join([f"X,Y,{header}", *(f"{WEST + 45},{NORTH - 45},{row}" for row in rows)]))
    with pytest.raises(InputError, match=words):
        read(path, dem, tmp_path)


@pytest.mark.parametrize(("header", "values", "note"), [
    ("class", "12", "column 'class' (1 and 2) is not read as labels; if it marks places that did not slide"),
    ("injured", "01", "column 'injured' (0 and 1) is not read as labels"),
    ("landslide_confirmed", ["no", "yes"], "column 'landslide_confirmed' (no and yes) is not read as labels; if it"),
    ("kind", ["fell", "sank"], "column 'kind' (fell and sank) is not read as labels"),
    ("type", ["flow", "stable", "fall"], "'type' (stable in 1 row) is not read as labels: these rows are landslides "),
    ("landslide_type", ["flow", "no", "fall", "no"], "(no in 2 rows) is not read as labels: these rows are landslides"),
    ("TYPE", ["flow", "none", "fall"], "'TYPE' (none in 1 row) is not read as labels: these rows are landslides like"),
    ("movement", ["flow", "Absent", "fall"], "(Absent in 1 row) is not read as labels: these rows are landslides like"),
    ("landslide", ["flow", "none", "fall"], "(none in 1 row) is not read as labels: these rows are landslides like "),
    *[(name, ["flow", word, "fall"], f"({word} in 1 row) is not read as labels: these rows are") for name, word in (
        ("type", "stable area"), ("type", "Stable slope"), ("type", "no movement"), ("label", "no failure"),
        ("type", "No evidence of landslide"), ("type", "unfailed"), ("type", "NLS"), ("type", "pseudo-absence"),
        ("type", "random point"), ("type", "keine Rutschung"), ("type", "pas de glissement"), ("type", "无滑坡"),
        ("type", "sin deslizamiento"), ("type", "nessuna frana"), ("type", "нет"), ("type", "no event"),
        ("type", "no landslide damage"), ("type", "control"))],
    ("date", ["2010-2014"], "no value holds one year of four digits, like 2010-2014"),
    ("date", ["7/1/98", "41836"], "field 'date': no value holds one year of four digits, like 7/1/98; the lan")])
def test_what_is_passed_over_is_said(tmp_path, dem, header, values, note):
    path = tmp_path / "i.csv"
    path.write_text("\n".join([f"X,Y,{header}", *(f"{WEST + 45},{NORTH - 45},{value}" for value in values)]))
    found = read(path, dem, tmp_path)
    assert found.slid.all()
    assert np.isnan(found.year).all()
    assert note in " ".join(found.notes)


@pytest.mark.parametrize(("header", "rows", "slid"), [
    ("slide,fall,flow", ["1,0,0", "0,1,0", "0,0,1"], [1, 1, 1]), ("Slide,Flow", ["yes,no", "no,yes"], [1, 1]),
    ("slide,stable", ["1,0", "0,1"], [1, 0]), ("class,flow", ["slide,no", "stable,yes"], [1, 0]),
    *[(f"landslide,{other}", ["1,0", "0,1"], [1, 0]) for other in (
        "NoSlide", "slide_absent", "landslide_free", "rainfall", "waterfall", "no_flow", "forest")],
    ("landslide,neg_1,neg_2", ["1,0,0", "0,1,0", "0,0,1"], [1, 0, 0]), ("slide,control", ["1,0", "0,1"], [1, 0]),
    ("label,fall", ["1,0", "0,1"], [1, 0]), ("slide,forest,road", ["1,0,1", "0,1,1", "0,1,0"], [1, 0, 0])])
def test_columns_of_types_are_no_labels(tmp_path, dem, header, rows, slid):
    path = tmp_path / "i.csv"
    path.write_text("\n".join([f"X,Y,{header}", *(f"{WEST + 45 + 30 * i},{NORTH - 45},{row}"
                                                  for i, row in enumerate(rows))]))
    found = read(path, dem, tmp_path)
    assert found.slid.tolist() == [bool(s) for s in slid]
    assert ("it tells types of landslides, one a row" in " ".join(found.notes)) == all(slid)


def test_doubtful_values_beside_clear_ones_are_said(tmp_path, dem):
    rows = [f"{WEST + 45 + 30 * i},{NORTH - 45},{value}" for i, value in enumerate(["fall", "no slide", "no movement"])]
    (tmp_path / "i.csv").write_text("\n".join(["X,Y,type", *rows]))
    found = read(tmp_path / "i.csv", dem, tmp_path)
    assert found.slid.tolist() == [True, False, True]
    assert "column 'type' (no movement in 1 row) is not read as labels: these rows are landsl" in " ".join(found.notes)


@pytest.mark.parametrize(("header", "values"), [
    ("type", ["f", "n", "t"]), ("type", ["none", "none", ""]), ("water", ["none", "much", "some"]), ("type", "012"),
    *[("type", ["flow", word, "fall"]) for word in ("no data", "not assigned", "unstable slope", "sin datos")],
    ("damage", ["house", "no slope failure", "road"])])
def test_values_that_hardly_deny_are_not_said(tmp_path, dem, header, values):
    path = tmp_path / "i.csv"
    path.write_text("\n".join([f"X,Y,{header}", *(f"{WEST + 45},{NORTH - 45},{value}" for value in values)]))
    found = read(path, dem, tmp_path)
    assert found.slid.all()
    assert "read as labels" not in " ".join(found.notes)


@pytest.mark.parametrize("how", inventory.POLYGON_CELLS)
def test_polygons_of_both_labels(tmp_path, dem, how):
    shapes = [square(10, 10, 4, 5), square(40, 60, 2, 2), square(20, 20, 3, 3)]
    write_vector(tmp_path / "p.gpkg", shapes, {"label": ["landslide", "stable", "landslide"]})
    found = read(tmp_path / "p.gpkg", dem, tmp_path, how)
    assert (found.burned.ReadAsArray() > 0).sum() == 29  # stable polygons are free ground
    row = (NORTH - found.xy[:, 1]) // CELL
    assert (row[~found.slid] >= 40).all()
    assert (row[found.slid] < 40).all()
    assert (~found.slid).sum() == 1  # of four cells


def test_stable_places_may_say_so_in_their_labels(tmp_path, dem):
    (tmp_path / "s.csv").write_text(f"X,Y,label\n{WEST + 45},{NORTH - 45},0\n{WEST + 75},{NORTH - 45},0\n")
    found = inventory.read_inventory(tmp_path / "s.csv", "stable places", GRID, dem, 0, "highest", 5, tmp_path)
    assert found.slid.tolist() == [False, False]


def test_rounded_coordinates_are_said(tmp_path, dem):
    rows = "".join(f"{WEST + 40 + 10 * (i % 3):.3E},{NORTH - 300:.3E}\n" for i in range(12))
    (tmp_path / "t.csv").write_text("X,Y\n" + rows)
    assert "only 2 different places among 12 points: are" in " ".join(read(tmp_path / "t.csv", dem, tmp_path).notes)


@pytest.mark.parametrize("column", ["WKT", "geometry"])
def test_shapes_as_text(tmp_path, dem, column):
    path, shapes = tmp_path / "t.csv", [square(10, 10, 4, 5), square(40, 60, 2, 2)]
    path.write_text(f"id,{column},label\n" + "".join(f'{i},"{s}",{1 - i}\n' for i, s in enumerate(shapes)))
    with pytest.raises(InputError, match=r"CRS: expected one, found none; set it: INVENTORY=.*epsg=<code>"):
        read(path, dem, tmp_path)
    found = read(f"{path}|epsg=32650", dem, tmp_path)
    assert found.slid.tolist() == [False, True]  # of polygons those that did not slide come first
    assert ((NORTH - found.xy[:, 1]) // CELL // 10).tolist() == [4, 1]


@pytest.mark.parametrize(("noise", "rough"), [(0.0, False), (6.0, True)])
def test_highest_cells_that_are_humps_are_said_and_scarps_are_none(tmp_path, noise, rough):
    row, col = np.mgrid[:ROWS, :COLS]
    z = 900 - 6.0 * row + 10 * np.sin(col / 5) + np.random.default_rng(0).normal(0, 1, (ROWS, COLS)) * noise
    write_raster(tmp_path / "dem.tif", z.astype(np.float32))
    dem, corners = gdal.Open(str(tmp_path / "dem.tif")), [(r, c) for r in range(4, 50, 9) for c in range(3, 72, 8)]
    write_vector(tmp_path / "p.gpkg", [square(r, c, 7, 5) for r, c in corners])
    above, said = {}, {}
    for how in ("highest", "scarp"):
        found = read(tmp_path / "p.gpkg", dem, tmp_path, how)
        r, c = ((NORTH - found.xy[:, 1]) // CELL).astype(int), ((found.xy[:, 0] - WEST) // CELL).astype(int)
        np.testing.assert_array_less(r - np.array(corners)[:, 0], 3)  # the upper end of each
        above[how] = np.median(z[r, c] - (z[r - 1, c] + z[r + 1, c] + z[r, c - 1] + z[r, c + 1]) / 4)
        said[how] = " ".join(found.notes)
    assert ("humps of a rough DEM" in said["highest"]) == rough
    assert "humps" not in said["scarp"]
    assert (above["highest"] > 3) == rough
    assert above["scarp"] < 3
    if rough:
        assert re.search(r"at AUROC 0\.\d\d, 0\.\d\d by averaged heights; take POLYGON_CELLS=scarp", said["highest"])


@pytest.mark.parametrize(("how", "each"), [("highest", [1, 1]), ("scarp", [1, 1]), ("every", [4, 1]),
                                           ("centroid", [1, 1])])
def test_points_of_polygons(tmp_path, dem, how, each):
    path, shapes = tmp_path / "p.gpkg", [square(10, 10, 4, 5), square(40, 60, 2, 2)]
    write_vector(path, shapes, {"Year_obs": ["2004", "2011-03-02"]})
    found = read(path, dem, tmp_path, how)
    xy, years, burned = found.xy, found.year, found.burned
    assert found.slid.all()
    assert (burned.ReadAsArray() > 0).sum() == 24
    row, col = (NORTH - xy[:, 1]) // CELL, (xy[:, 0] - WEST) // CELL
    first = (row >= 10) & (row < 14) & (col >= 10) & (col < 15)
    second = (row >= 40) & (row < 42) & (col >= 60) & (col < 62)
    assert [first.sum(), second.sum()] == each
    assert (first | second).all()
    np.testing.assert_array_equal(years, np.where(first, 2004, 2011))
    said = "polygons with several points: 1; in random halves and folds such a polygon both teaches and is scored"
    assert (said in " ".join(found.notes)) == (how == "every")
    if how != "centroid":
        z = heights()[row.astype(int), col.astype(int)]
        assert z[first].max() == heights()[10:14, 10:15].max()


def test_years_of_a_table_of_points(tmp_path, dem):
    (tmp_path / "t.csv").write_text(f"X,Y,date\n{WEST + 45},{NORTH - 45},2003-05-01\n{WEST + 75},{NORTH - 45},\n")
    years = read(tmp_path / "t.csv", dem, tmp_path).year
    np.testing.assert_array_equal(years, [2003, np.nan])
    dates = table_of_dates(Places.of(np.array([[1.23456, 2], [3, 4]]), years, GRID))
    assert dates.to_dict("list") == {"X": [1.235], "Y": [2.0], "year": [2003]}


@pytest.mark.parametrize("years", [("2010", ""), ("", "2010"), ("2010", "2014"), ("2014", "2010")])
def test_of_two_drawings_of_a_polygon_the_first_known_year_counts(tmp_path, dem, years):
    write_vector(tmp_path / "i.gpkg", [square(2, 2, 3, 3)] * 2, {"date": list(years)})
    found = read(tmp_path / "i.gpkg", dem, tmp_path)
    assert found.year.tolist() == [2010]
    assert "left out: another has the same shape and label; of their years the first counts" in " ".join(found.notes)


def test_memory_for_polygons_is_that_of_their_cells(tmp_path, monkeypatch):
    monkeypatch.setattr(rasters, "WINDOW", 4000)
    grid = Grid(400, 400, PLACE, GRID.crs)
    dem = layers.write_layer(tmp_path / "dem.tif", grid, lambda row, rows: np.add.outer(
        np.arange(row, row + rows) * 3.0, np.arange(400) % 17.0))
    write_vector(tmp_path / "i.gpkg", [square(row, col, 18, 18) for row in range(0, 400, 20)
                                       for col in range(0, 400, 40)])
    tracemalloc.start()
    found = inventory.read_inventory(tmp_path / "i.gpkg", "inventory", grid, dem, 0, "scarp", 5, tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.xy) == 200
    assert peak < 120 * 200 * 18**2  # bytes; 230 a cell of polygons it was


def test_a_polygon_smaller_than_a_cell_still_counts(tmp_path, dem):
    x, y = WEST + 300.0, NORTH - 300.0  # on a corner of four cells
    write_vector(tmp_path / "p.gpkg", [f"POLYGON (({x} {y}, {x + 3} {y}, {x + 3} {y + 3}, {x} {y}))"])
    found = read(tmp_path / "p.gpkg", dem, tmp_path)
    xy, burned = found.xy, found.burned
    assert burned.ReadAsArray().sum() == 0
    assert len(xy) == 1
    assert np.abs(xy - (x, y)).max() < 3


def test_points_and_polygons_in_one_layer_and_empty_ones(tmp_path, dem):
    write_vector(tmp_path / "p.gpkg", [f"POINT ({WEST + 45} {NORTH - 45})", square(10, 10, 4, 5), "POINT EMPTY"])
    found = read(tmp_path / "p.gpkg", dem, tmp_path)
    xy, notes = found.xy, found.notes
    assert len(xy) == 2
    assert xy[0].tolist() == [WEST + 45, NORTH - 45]
    assert "left out: 1 feature without points and areas" in notes[0]


def test_parts_of_a_feature_count_each_and_are_said(tmp_path, dem):
    areas = [square(10, 5 + 10 * i, 2, 2) for i in range(3)]
    parts = [area.removeprefix("POLYGON ") for area in areas]
    write_vector(tmp_path / "i.gpkg", [f"MULTIPOLYGON ({parts[0]}, {parts[1]})", f"MULTIPOLYGON ({parts[2]})"])
    found = read(tmp_path / "i.gpkg", dem, tmp_path)
    assert len(found.xy) == 3
    assert any("i.gpkg: inventory: 2 features of 3 parts; each part counts as one" in note for note in found.notes)
    write_vector(tmp_path / "j.gpkg", areas)
    assert not any(" parts; " in note for note in read(tmp_path / "j.gpkg", dem, tmp_path).notes)


def test_points_off_the_grid(dem):
    xy = np.array([[WEST + 5, NORTH - 5], [WEST + 50, NORTH - 50], [WEST - 5, NORTH]])
    assert inventory.on_grid(xy, dem, GRID, "points").tolist() == [True, True, False]
    with pytest.raises(InputError, match="2 of 3 outside"):
        inventory.on_grid(xy - (40, 0), dem, GRID, "points")


@pytest.mark.parametrize(("kind", "nodata", "outside"), [(gdal.GDT_Byte, None, 0), (gdal.GDT_Float32, -9999, -9999)])
def test_a_raster_of_landslides(tmp_path, dem, kind, nodata, outside):
    marks = np.full((2 * ROWS, 2 * COLS), outside)  # of cells half as wide
    marks[20:28, 20:30], marks[80:81, 90:91] = 1, 2  # the second smaller than a cell
    write_raster(tmp_path / "i.tif", marks, nodata=nodata, kind=kind, place=(WEST, CELL / 2, 0, NORTH, 0, -CELL / 2))
    found = read(tmp_path / "i.tif", dem, tmp_path)
    assert found.slid.tolist() == [True, True]
    assert (found.burned.ReadAsArray() > 0).sum() == 21  # the second ends in the centre of its cell
    assert "landslides are 2 connected areas of one number other than 0" in found.notes[0]
    write_raster(tmp_path / "i.tif", marks * 0.3)
    with pytest.raises(InputError, match="expected whole numbers, 0 or nodata beside landslides, found"):
        read(tmp_path / "i.tif", dem, tmp_path)


def test_points_beyond_the_dem_count_where_their_crs_is_stated(dem):
    xy = np.array([[WEST + 50, NORTH - 50], *[[WEST - 50000, NORTH]] * 5])
    assert inventory.on_grid(xy, dem, GRID, "points", placed=True).tolist() == [True] + [False] * 5
    with pytest.raises(InputError, match=r"found 5 of 6 outside .*; check the CRS of both; if it is right: \|epsg="):
        inventory.on_grid(xy, dem, GRID, "points")
    with pytest.raises(InputError, match="found 5 of 5 outside"):
        inventory.on_grid(xy[1:], dem, GRID, "points", placed=True)


@pytest.mark.parametrize(("header", "option", "placed"), [("X,Y", "", False), ("X,Y", "|epsg=32650", True)])
def test_whether_a_crs_is_stated(tmp_path, dem, header, option, placed):
    (tmp_path / "t.csv").write_text(f"{header}\n{WEST + 45},{NORTH - 45}\n")
    assert read(f"{tmp_path / 't.csv'}{option}", dem, tmp_path).placed == placed


def test_a_column_called_y_beside_longitude_and_latitude_is_not_passed_over(tmp_path, dem):
    (tmp_path / "t.csv").write_text("lon,lat,Y\n117.0004,22.6069,1\n117.0008,22.6065,0\n")
    found = read(tmp_path / "t.csv", dem, tmp_path)
    assert found.placed
    assert "column 'Y (column)' (1 and 0) is not read as labels; if it marks places" in " ".join(found.notes)


SLIDES = np.zeros((ROWS, COLS), int)  # 20 of 2 x 2 cells
SLIDES[np.add.outer(np.arange(20) // 5 * 12 + 5, [0, 1])[:, :, None],
       np.add.outer(np.arange(20) % 5 * 14 + 5, [0, 1])[:, None]] = 1
PART = np.where(np.arange(COLS) < 50, 0, 1)  # 1 in a study area smaller than the raster
CORNER = np.zeros((ROWS, COLS), int)  # and smaller than a tenth of it
CORNER[:20, :22] = 1


@pytest.mark.parametrize(("marks", "nodata", "value"), [
    (SLIDES + 1, None, "2"), (1 - SLIDES, None, "0"), (PART * (SLIDES + 1), None, "2"),
    (np.where(PART, 1 - SLIDES, 9), 9, "0"), (np.where(PART, SLIDES + 1, 9), 9, "2"), (2 + 3 * SLIDES, 0, "5"),
    (CORNER * (SLIDES + 1), None, "2"), (CORNER * (SLIDES + 1), 0, "2")])
def test_a_background_is_no_landslide(tmp_path, dem, monkeypatch, marks, nodata, value):
    monkeypatch.chdir(tmp_path)
    path = Path("i.tif")  # a long path would shorten the message
    write_raster(path, marks, nodata=nodata, kind=gdal.GDT_Byte)
    with pytest.raises(InputError, match=r"inventory: expected landslides, found . in \d+% of the cells, like a "
                                         r'background; say which of .* marks landslides: INVENTORY=".*value=<number>"'):
        read(path, dem, tmp_path)
    there = SLIDES * (CORNER if marks[30, 70] == 0 else PART if marks[0, 0] in (0, 9) else 1)
    assert (read(f"{path}|value={value}", dem, tmp_path).burned.ReadAsArray() != 0).tolist() == (there == 1).tolist()


@pytest.mark.parametrize("marks", [SLIDES, SLIDES * 255, SLIDES * np.arange(1, COLS + 1), SLIDES + 4 * (
    (np.mgrid[:ROWS, :COLS][1] < 40) & (np.mgrid[:ROWS, :COLS][0] < 12))])
def test_landslides_of_any_numbers_and_large_ones_are_none(tmp_path, dem, marks):
    write_raster(tmp_path / "i.tif", marks, nodata=None, kind=gdal.GDT_Int32)
    assert ((read(tmp_path / "i.tif", dem, tmp_path).burned.ReadAsArray() != 0) == (marks != 0)).all()


@pytest.mark.parametrize(("area", "found"), [
    (square(-5, -5, ROWS + 9, COLS + 9), "found a polygon as large as 128% of the DEM .* if it is the study area"),
    (square(0, 0, 30, COLS), r"as large as 50% of the DEM .*with 30 of 30 other landslides in it"), ("", "")])
@pytest.mark.parametrize("first", [True, False])
def test_a_study_area_among_landslides_is_refused(tmp_path, dem, monkeypatch, area, found, first):
    monkeypatch.chdir(tmp_path)  # a long path would shorten the message
    slides = [square(r, c, 2, 2) for r in range(1, 20, 4) for c in range(1, 60, 10)]
    some = [area, *slides] if first else [*slides, area]
    write_vector(Path("i.gpkg"), [shape for shape in some if shape])
    if found:
        with pytest.raises(InputError, match=found):
            read(Path("i.gpkg"), dem, tmp_path)
    else:
        assert len(read(Path("i.gpkg"), dem, tmp_path).xy) == 30


def test_kilometres_are_told(dem):
    xy = np.array([[WEST + 100, NORTH - 100]])
    with pytest.raises(InputError, match="they look like kilometres: write metres"):
        inventory.on_grid(xy / 1000, dem, GRID, "i.csv")


@pytest.mark.parametrize("epsg", [32651, 4326])
def test_a_crs_that_puts_points_on_the_dem_is_told(dem, epsg):
    xy = moved(np.array([[WEST + 100, NORTH - 100]]), GRID.crs, crs_of(epsg))
    with pytest.raises(InputError, match=rf"; in EPSG:{epsg} they lie on it: if it is right, \|epsg={epsg} behind"):
        inventory.on_grid(xy, dem, GRID, "i.csv")


@pytest.mark.parametrize(("stated", "theirs"), [(32651, 32650), (3857, 32650), (32650, 32651)])
def test_a_file_that_states_a_wrong_crs_is_told_the_right_one(tmp_path, dem, stated, theirs):
    x, y = moved(np.array([[WEST + 100, NORTH - 100]]), GRID.crs, crs_of(theirs))[0]
    write_vector(tmp_path / "i.gpkg", [f"POINT ({x + i} {y})" for i in range(4)], epsg=stated)
    found = read(tmp_path / "i.gpkg", dem, tmp_path)
    with pytest.raises(InputError, match=rf"; in EPSG:{theirs} they lie on it: .* \|epsg={theirs} behind the file"):
        inventory.on_grid(found.xy, dem, GRID, "i.gpkg", found.placed, found.source)


def test_landslides_of_two_kinds_that_cover_much_are_no_background(tmp_path, dem):
    row, col = np.mgrid[:ROWS, :COLS]
    marks = ((row % 6 < 3) & (col % 8 < 4)) * (1 + (row < 6))  # a quarter of the area
    write_raster(tmp_path / "i.tif", marks, nodata=None, kind=gdal.GDT_Byte)
    assert len(read(tmp_path / "i.tif", dem, tmp_path).xy) == 100
    with pytest.raises(InputError, match=r"expected cells of the number 7, found 0, 1, 2; take another file, or say"):
        read(f"{tmp_path / 'i.tif'}|value=7", dem, tmp_path)
    with pytest.raises(InputError, match=r"value=x: expected whole numbers like 1,2; correct it"):
        read(f"{tmp_path / 'i.tif'}|value=x", dem, tmp_path)


def test_landslides_may_cover_most_where_a_person_says_so(tmp_path, dem, monkeypatch):
    monkeypatch.chdir(tmp_path)
    marks = np.ones((ROWS, COLS), int)
    marks[:20] = 0
    write_raster(Path("i.tif"), marks, nodata=None, kind=gdal.GDT_Byte)
    with pytest.raises(InputError, match=r'"i.tif\|value=<number>" \(value=1 if they do cover so much\)'):
        read("i.tif", dem, tmp_path)
    assert (read("i.tif|value=1", dem, tmp_path).burned.ReadAsArray() != 0).sum() == 40 * COLS


@pytest.mark.parametrize(("name", "words"), [
    ("p.gpkg|value=1", r"a layer of shapes: expected \|<option>=<value> of layername, epsg, file, found \|value; it is "
                       "of rasters: give a column label"),
    ("p.csv|value=1", r"a table: expected .* of epsg, file, found \|value; it is of rasters"),
    ("p.gpkg|band=1", r"a layer of shapes: .* found \|band; leave it out"),
    ("p.gpkg|field=x", r"found \|field; leave it out"), ("p.csv|layername=p", r"a table: .* found \|layername; leave")])
def test_options_that_the_form_of_a_file_cannot_have(tmp_path, dem, monkeypatch, name, words):
    monkeypatch.chdir(tmp_path)
    write_vector(Path("p.gpkg"), [square(3, 3, 4, 4)])
    Path("p.csv").write_text(f"X,Y\n{WEST + 45},{NORTH - 45}\n")
    with pytest.raises(InputError, match=words):
        read(name, dem, tmp_path)


def test_stable_places_may_cover_most_and_a_partition_is_said(tmp_path, dem):
    write_raster(tmp_path / "s.tif", 1 - SLIDES, nodata=None, kind=gdal.GDT_Byte)
    found = inventory.read_inventory(tmp_path / "s.tif", "stable places", GRID, dem, 0, "every", 5, tmp_path)
    assert len(found.xy) > 500
    assert "stable places: places are 1 connected area of one number other than 0" in found.notes[0]
    write_vector(tmp_path / "u.gpkg", [square(r, c, 5, 5) for r in range(0, ROWS, 6) for c in range(0, COLS, 6)])
    assert any("landslides cover 70% of the DEM; if these are units of a partition" in note
               for note in read(tmp_path / "u.gpkg", dem, tmp_path).notes)


def test_longitude_and_latitude_that_are_swapped_are_named(tmp_path):
    grid = Grid(300, 300, (660000.0, 30.0, 0.0, 5100000.0, 0.0, -30.0), crs_of(32632).ExportToWkt())  # 11 E, 46 N
    ground = create_raster(tmp_path / "ground.tif", grid)
    ground.GetRasterBand(1).Fill(500)
    right = np.array([[11.1, 45.99], [11.12, 46.0]])
    assert on_grid(transform(right, 4326, grid, ""), ground, grid, "i.csv").all()
    far = np.array([[11.1, 49.0], [9.0, 46.0], [12.0, 44.0]])  # most of a country lies off the area
    for places, of in ((right, "45.99 to 46"), (np.concatenate([right, far]), "44 to 49")):
        with pytest.raises(InputError, match=f"longitude and latitude seem to be swapped .{of} is the latitude.: exch"):
            on_grid(transform(places[:, ::-1], 4326, grid, ""), ground, grid, "i.csv", placed=True)
    with pytest.raises(InputError, match="; check the CRS of both: "):
        on_grid(transform(far, 4326, grid, ""), ground, grid, "i.csv", placed=True)
