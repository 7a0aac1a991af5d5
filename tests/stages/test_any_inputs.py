"""What people bring to prepare_region.py: units, masks, water, formats and own factors, from files to tables."""

import json
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest
import small_region as area
from osgeo import gdal, ogr, osr
from scipy.ndimage import distance_transform_edt
from small_region import CELL, COLS, NODATA, NORTH, PLACE, ROWS, WEST, crs_of, square, write_raster, write_vector

import prepare_region
from lsm.inputs.factor.definition import read_factors
from lsm.inputs.rasters import Grid, read_composite
from lsm.region.factor_layers import ndvi_layer
from lsm.run.paths import Paths
from lsm.run.settings import InputError, constants

PATHS = Paths("own")


@pytest.fixture
def raw(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    area.write_area(PATHS.raw)
    return PATHS.raw


def grid_of(*settings: str) -> pd.DataFrame:
    area.prepare(prepare_region, *settings)
    return pd.read_csv(PATHS.grid)


def set_crs(path, crs: str) -> None:
    reference, dataset = osr.SpatialReference(), gdal.Open(str(path), gdal.GA_Update)
    reference.SetFromUserInput(crs)
    dataset.SetProjection(reference.ExportToWkt())
    dataset.FlushCache()


# heights --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("settings", [(), ("EPSG=32650",)])
def test_no_value_changes_by_a_geoid(raw, settings):
    plain = grid_of()
    for name in ("dem.tif", "ndvi.tif"):
        set_crs(raw / name, "EPSG:32650+5773")
    pd.testing.assert_frame_equal(grid_of(*settings), plain)


def same(table: pd.DataFrame, plain: pd.DataFrame) -> None:
    """Two grids are equal but for float32's last digits of the heights."""
    assert list(table) == list(plain)
    for name, within in (("DEM", 1e-3), ("slope", 2e-3), ("curvature", 0.01), ("NDVI", 0), ("X", 0), ("Y", 0)):
        np.testing.assert_allclose(table[name], plain[name], rtol=0, atol=within, err_msg=name)


def test_decimetres_and_feet_give_the_same_area(raw, capsys):
    whole = area.heights().astype(float).round(1)
    write_raster(raw / "dem.tif", whole)
    plain = grid_of()
    write_raster(raw / "dem.tif", (whole * 10).round(), kind=gdal.GDT_Int16)
    dataset = gdal.Open(str(raw / "dem.tif"), gdal.GA_Update)
    dataset.GetRasterBand(1).SetScale(0.1)
    dataset = None
    same(grid_of(), plain)
    write_raster(raw / "dem.tif", whole / 0.3048)
    same(grid_of("DEM_UNIT=ft"), plain)
    capsys.readouterr()
    set_crs(raw / "dem.tif", "EPSG:32650+8228")  # NAVD88 height (ft)
    same(grid_of(), plain)
    assert "in units of 0.3048 m by its" in capsys.readouterr().out


def test_a_map_whose_metres_are_none_is_refused(raw, tmp_path):
    x, y = 2_000_000, 8_400_000
    for name in ("ndvi.tif", "lithology.gpkg", "roads.gpkg"):
        (raw / name).unlink()
    write_raster(raw / "dem.tif", area.heights(), epsg=3857, place=(x, CELL, 0, y, 0, -CELL))
    points = [f"{x + (c + 0.5) * CELL},{y - (r + 0.5) * CELL}" for r in range(10, 50, 4) for c in range(10, 70, 5)]
    (raw / "inventory.csv").write_text("\n".join(["X,Y", *points]))
    with pytest.raises(InputError, match=r"dem.tif: DEM: CRS: expected a CRS whose metres are metres on the ground .*"
                                         r"Pseudo-Mercator: there 1.99\d m stand for 1 m; .*EPSG=32633"):
        area.prepare(prepare_region)
    table = grid_of("EPSG=32633", "POINTS_EPSG=3857")
    assert table["dis2drainage"].max() < COLS * CELL / 2
    assert read_composite(PATHS.composite).geotransform[1] == pytest.approx(CELL / 2, rel=0.1)


# ground ---------------------------------------------------------------------------------------------------------

def sea(raw) -> np.ndarray:
    heights = np.maximum(area.heights() - 260, 0)
    write_raster(raw / "dem.tif", heights, nodata=None)
    return heights == 0


def test_flat_water_is_left_out_and_said(raw, capsys):
    water = sea(raw)
    assert water.sum() > 1000
    table = grid_of()
    assert len(table) == (~water).sum()
    assert (table["DEM"] > 0).all()
    assert (pd.read_csv(PATHS.samples)["DEM"] > 0).all()
    np.testing.assert_array_equal(read_composite(PATHS.composite).valid, ~water)
    said = capsys.readouterr().out
    assert f"water: {water.sum():,} of 4,800 cells of the DEM lie in large areas of exactly one height (0 m)" in said
    assert "where a factor is missing, on water or under MASK" in said
    assert len(grid_of("WATER_CELLS=0")) == ROWS * COLS


def test_stable_areas_give_as_many_places_as_there_are_landslides(raw, capsys):
    write_vector(raw / "stable.gpkg", [square(0, 0, ROWS, 30)])
    area.prepare(prepare_region)
    samples = pd.read_csv(PATHS.samples)
    assert (samples["label"] == 0).sum() == (samples["label"] == 1).sum() == 120
    assert (samples.loc[samples["label"] == 0, "X"] < WEST + 30 * CELL).all()
    assert "stable cells are taken, RATIO for each landslide" in capsys.readouterr().out


def test_a_mask_that_marks_nothing(raw):
    write_raster(raw / "mask.tif", np.zeros((ROWS, COLS)))
    with pytest.raises(InputError, match=r"expected a mask on the DEM .*, found none there; its cells hold num"):
        area.prepare(prepare_region)


@pytest.mark.parametrize("form", ["polygons", "raster"])
def test_a_mask_is_left_out_or_kept(raw, form, capsys):
    inside = np.zeros((ROWS, COLS), bool)
    inside[20:50, 30:70] = True
    if form == "polygons":
        write_vector(raw / "mask.gpkg", [square(20, 30, 30, 40)])
    else:
        write_raster(raw / "mask.tif", inside.astype(int), nodata=None, kind=gdal.GDT_Byte)
    table = grid_of()
    assert len(table) == (~inside).sum()
    assert "MASK: 1,200 of 4,800 cells of the DEM left out" in capsys.readouterr().out
    samples = pd.read_csv(PATHS.samples)
    row, col = ((NORTH - samples["Y"]) // CELL).astype(int), ((samples["X"] - WEST) // CELL).astype(int)
    assert not inside[row, col].any()
    assert len(grid_of("MASK_KEEPS=True")) == inside.sum()
    write_vector(raw / "all.gpkg", [square(0, 0, ROWS, COLS)])
    with pytest.raises(InputError, match="MASK, WATER_CELLS: expected ground that neither leaves out, found none"):
        grid_of("MASK=src_data/own/raw/all.gpkg")
    write_vector(raw / "banks.gpkg", [f"LINESTRING ({WEST} {NORTH}, {WEST + 900} {NORTH - 900})"])
    with pytest.raises(InputError, match="MASK: expected polygons, found lines or points"):
        grid_of("MASK=src_data/own/raw/banks.gpkg")


# files ----------------------------------------------------------------------------------------------------------

def test_files_are_found_whatever_their_case_and_format(raw, capsys):
    plain = grid_of()
    (raw / "ndvi.tif").rename(raw / "NDVI.TIF")
    (raw / "dem.tif").rename(raw / "in.tif")
    gdal.Translate(str(raw / "Dem.img"), str(raw / "in.tif"), format="HFA")
    (raw / "in.tif").unlink()
    gdal.VectorTranslate(str(raw / "Roads.KML"), str(raw / "roads.gpkg"), format="KML", dstSRS="EPSG:4326",
                         reproject=True)
    (raw / "roads.gpkg").unlink()
    with zipfile.ZipFile(raw / "Lithology.zip", "w") as archive:
        archive.write(raw / "lithology.gpkg", "rocks.gpkg")
    (raw / "lithology.gpkg").unlink()
    (raw / "readme.txt").write_text("words")
    (raw / "geology.gpkg").write_text("words")
    capsys.readouterr()
    pd.testing.assert_frame_equal(grid_of(), plain, atol=0.01)
    said = capsys.readouterr().out
    assert "not used in src_data/own/raw: geology.gpkg, readme.txt; to use one, say what it is: LITHOLOGY=" in said
    assert "Dem" not in said.split("not used", 1)[1].splitlines()[0]


def test_two_files_of_one_name_are_asked_about(raw):
    shutil.copy(raw / "ndvi.tif", raw / "NDVI.img")
    with pytest.raises(InputError, match=r"expected one file for NDVI, found NDVI.img, ndvi.tif; name one: NDVI="):
        area.prepare(prepare_region)


def test_classes_beyond_float32_survive(raw):
    codes = 2_000_000_001 + np.arange(ROWS * COLS).reshape(ROWS, COLS) // 1200
    write_raster(raw / "land_use.tif", codes, nodata=0, kind=gdal.GDT_Int32)
    table = grid_of()
    assert np.bincount(table["land use"].astype(int)).tolist() == [0, 1200, 1200, 1200, 1200]
    assert read_factors(PATHS.factors)[1]["land use"] == {str(2_000_000_001 + i): i + 1 for i in range(4)}


def test_raster_codes_never_stand_for_the_names_of_another_region(raw):
    area.prepare(prepare_region)  # granite 1, tuff 2
    write_raster(raw / "lithology.tif", np.tile([1, 2], (ROWS, COLS // 2)), nodata=0, kind=gdal.GDT_Byte)
    (raw / "lithology.gpkg").unlink()
    before = sorted(PATHS.composite.parent.parent.rglob("*"))
    with pytest.raises(InputError, match=r"lithology.tif: lithology: expected class names as CODES_OF=own has"):
        prepare_region.main(constants(prepare_region.Constants, ["REGION=far", "RAW=src_data/own/raw", "CODES_OF=own"]))
    assert sorted(PATHS.composite.parent.parent.rglob("*")) == before
    dataset = gdal.Open(str(raw / "lithology.tif"), gdal.GA_Update)
    dataset.GetRasterBand(1).SetCategoryNames(["", "tuff", "granite"])
    dataset = None
    prepare_region.main(constants(prepare_region.Constants, ["REGION=far", "RAW=src_data/own/raw", "CODES_OF=own"]))
    assert json.loads(Paths("far").factors.read_text())["classes"]["lithology"] == {"granite": 1, "tuff": 2}
    first = pd.read_csv(Paths("far").grid).sort_values(["Y", "X"], ascending=[False, True])["lithology"].iloc[:2]
    assert first.tolist() == [2, 1]


def test_ndvi_is_scaled_by_the_bulk_of_its_values(raw, capsys):
    values = np.linspace(-0.1, 0.8, ROWS * COLS).reshape(ROWS, COLS)
    values[0, :5] = 17.0  # not a mark of gaps, and no NDVI
    write_raster(raw / "ndvi.tif", values)
    table = grid_of()
    assert len(table) == ROWS * COLS - 5
    assert table["NDVI"].max() == pytest.approx(8000)
    assert "5 cells hold values that no NDVI has, like 17; taken for gaps" in capsys.readouterr().out


@pytest.mark.parametrize("mark", [10_000, 255, 2, -10_000, 1e10])
@pytest.mark.parametrize("share", [0.02, 0.6])
def test_undeclared_gaps_change_no_scale_of_ndvi_and_mix_with_no_neighbour(tmp_path, mark, share):
    grid = Grid(ROWS, COLS - 1, (PLACE[0] + 7, *PLACE[1:]), crs_of(32650).ExportToWkt())  # bilinear between cells
    values = np.linspace(0.1, 0.8, ROWS * COLS).reshape(ROWS, COLS)
    values[:, :int(share * COLS) + 1] = mark
    write_raster(tmp_path / "n.tif", values, nodata=None)
    ndvi_layer(tmp_path / "n.tif", 0, grid, tmp_path / "NDVI.tif", notes := [])
    found = gdal.Open(str(tmp_path / "NDVI.tif")).ReadAsArray()
    assert found[found != NODATA].min() >= 1000
    assert found.max() <= 8000
    assert (found == NODATA).mean() == pytest.approx(share, abs=0.03)
    assert any("taken for gaps" in note for note in notes)


@pytest.mark.parametrize(("largest", "kind", "remedy"), [
    (1000, gdal.GDT_Int16, "set NDVI_SCALE to the number that turns an NDVI of 1 into 10,000"),
    (250, gdal.GDT_Byte, "grey values need scale and offset: python -m osgeo_utils.gdal_edit -scale <s> -offset <o>")])
def test_an_ndvi_of_an_unknown_scale_is_refused(tmp_path, monkeypatch, largest, kind, remedy):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    grid = Grid(ROWS, COLS, PLACE, crs_of(32650).ExportToWkt())
    write_raster(tmp_path / "n.tif", np.linspace(1, largest, ROWS * COLS).reshape(ROWS, COLS), kind=kind)
    with pytest.raises(InputError) as caught:
        ndvi_layer(tmp_path / "n.tif", 0, grid, tmp_path / "NDVI.tif", [])
    assert remedy in str(caught.value)


# own factors ----------------------------------------------------------------------------------------------------

def test_own_factors_of_every_kind(raw):
    row, col = np.mgrid[:ROWS, :COLS]
    write_raster(raw / "rain.tif", 1000.0 + row)
    write_raster(raw / "far.tif", col / 10.0)
    dataset = gdal.Open(str(raw / "far.tif"), gdal.GA_Update)
    dataset.GetRasterBand(1).SetUnitType("km")
    dataset = None
    write_vector(raw / "soil.gpkg", [square(0, 0, ROWS, 40), square(0, 40, ROWS, 40)], {"kind": ["clay", "sand"]})
    dataset = gdal.OpenEx(str(raw / "soil.gpkg"), gdal.OF_UPDATE)
    layer = dataset.GetLayer(0)
    layer.CreateField(ogr.FieldDefn("depth", ogr.OFTReal))
    for value, feature in zip((1.5, 2.5), list(layer), strict=True):
        feature.SetField("depth", value)
        layer.SetFeature(feature)
    del feature, layer, dataset
    table = grid_of('FACTORS_MORE=(("rainfall", "rain.tif", "continuous", "mm"), '
                    '("to coast", "far.tif", "distance", "m"), '
                    '("soil", "soil.gpkg|field=kind", "categorical", "class"), '
                    '("depth", "soil.gpkg|field=depth", "continuous", "m"), '
                    '("to road", "roads.gpkg", "distance", "m"))', "TERRAIN_MORE=('TPI', 'relief')")
    factors, classes = read_factors(PATHS.factors)
    assert [f.name for f in factors[-7:]] == ["TPI", "relief", "rainfall", "to coast", "soil", "depth", "to road"]
    assert [(f.kind, f.unit) for f in factors[-5:-3]] == [("continuous", "mm"), ("distance", "m")]
    assert classes["soil"] == {"clay": 1, "sand": 2}
    r, c = ((NORTH - table["Y"]) // CELL).astype(int), ((table["X"] - WEST) // CELL).astype(int)
    np.testing.assert_allclose(table["rainfall"], 1000 + r)
    np.testing.assert_allclose(table["to coast"], 100 * c, atol=0.01)
    np.testing.assert_array_equal(table["soil"], np.where(c < 40, 1, 2))
    np.testing.assert_array_equal(table["depth"], np.where(c < 40, 1.5, 2.5))
    np.testing.assert_array_equal(table["to road"], table["dis2road"])


@pytest.mark.parametrize(("entry", "expected"), [
    ("('rain',)", r"FACTORS_MORE: expected \(name, file, kind, unit\), found 'rain'"),
    ("(('rain', 'no.tif', 'continuous', 'mm'),)", "FACTORS_MORE: rain: no.tif: missing; looked for .*raw/no.tif and"),
    ("(('rain', 'dem.tif', 'odd', 'mm'),)", "FACTORS_MORE: rain: expected a kind of continuous, .*found 'odd'"),
    ("(('slope', 'dem.tif', 'continuous', 'm'),)", "expected a name of .* that no other factor has, found 'slope'"),
    ("(('../a', 'dem.tif', 'continuous', 'm'),)", "expected a name of letters, .*found '../a'"),
    ("(('a', 'lithology.gpkg', 'continuous', 'm'),)", r"number field, found none; name one \(lithology.gpkg\|field="),
    ("(('a', 'below.tif', 'distance', 'km'),)", "a: expected the unit m of a distance, found 'km'; write m, and the u"),
    ("(('a', 'below.tif', 'distance', 'm'),)", "below.tif: a: expected distances of 0 m or more, found -5")])
def test_own_factors_that_cannot_be(raw, entry, expected):
    write_raster(raw / "below.tif", np.full((ROWS, COLS), -5.0))
    with pytest.raises(InputError, match=expected):
        area.prepare(prepare_region, f"FACTORS_MORE={entry}")


def test_a_terrain_factor_that_is_none(raw):
    with pytest.raises(InputError, match=r"TERRAIN_MORE=\('TWI',\): expected one of profile curvature, "):
        area.prepare(prepare_region, "TERRAIN_MORE=('TWI',)")


def test_distances_are_those_of_the_exact_transform(raw):
    marked = np.zeros((ROWS, COLS), bool)
    marked[20, 30] = True
    write_vector(raw / "well.gpkg", [f"POINT ({WEST + 30.5 * CELL} {NORTH - 20.5 * CELL})"])
    table = grid_of("FACTORS_MORE=(('to well', 'well.gpkg', 'distance', 'm'),)")
    exact = CELL * distance_transform_edt(~marked)
    assert np.abs(table["to well"].to_numpy() - exact.ravel()).max() < 0.5 * CELL
    assert PLACE[0] == WEST
    assert crs_of(32650).IsProjected()
    assert NODATA not in table.to_numpy()
