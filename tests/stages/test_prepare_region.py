"""prepare_region.py on the demo's raw form: its factors again, then the pipeline; and what its constants do."""

import json

import numpy as np
import pandas as pd
import pytest
import small_region as area
from conftest import AREA, TRAINING, contents, succeed
from osgeo import gdal
from scipy.ndimage import binary_erosion
from small_region import CELL, NORTH, WEST, square, write_raster, write_vector

import augment_inventory
import meta_learner
import predict_LSM
import prepare_region
import scene_sampling
import study_area
from lsm.inputs.factor.definition import Factor, read_factors, write_factors
from lsm.inputs.rasters import cell_of, read_band, read_composite
from lsm.inputs.samples import grid_chunks, read_samples
from lsm.learner.network import use_one_thread
from lsm.run import pipeline
from lsm.run.artifacts import read_record
from lsm.run.paths import Paths
from lsm.run.settings import InputError, constants
from unsupervised_pretraining import DAS_pretraining

use_one_thread()
FROM_RAW = ("REGION=demo_raw", "RAW=src_data/demo/raw", "HOLES=0", "GRID_FORM=both")
PATHS, OWN = Paths("demo_raw"), Paths("own")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small demo area and the region made of its raw form; what was printed."""
    root = tmp_path_factory.mktemp("raw")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LSM_ROOT", str(root))
        succeed(root, "src_data/make_demo.py", *AREA)
        yield root, succeed(root, "prepare_region.py", *FROM_RAW)


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    area.write_area(OWN.raw)
    return OWN.raw


def table(path) -> pd.DataFrame:
    return pd.read_csv(path, encoding="utf-8-sig").replace(1e-6, 0.0)


# the demo's raw form --------------------------------------------------------------------------------------------

def test_factors_are_the_demos(made):
    demo, raw = table(Paths("demo").grid), table(PATHS.grid)
    assert list(raw) == list(demo)
    both = demo.merge(raw, on=["X", "Y"], suffixes=("", " raw"))
    assert len(both) == len(demo) == len(raw)
    apart = {name: (both[f"{name} raw"] - both[name]).abs() for name in demo.columns[:-2]}
    apart["aspect"] = np.minimum(apart["aspect"], 360 - apart["aspect"])
    for name in ("land use", "lithology", "DEM", "DV"):
        assert apart[name].max() == 0, name
    assert apart["NDVI"].max() < 0.01
    raster = read_composite(PATHS.composite)
    inland = binary_erosion(raster.valid, np.ones((3, 3)))[cell_of(raster.geotransform, both[["X", "Y"]].to_numpy())]
    for name, bound in (("slope", 0.002), ("curvature", 0.002)):  # the demo's sea is level land, here it is nodata
        assert apart[name][inland].max() < bound, name
    assert apart["aspect"][inland & (both["slope"] > 1)].max() < 0.1
    for name in ("dis2road", "dis2drainage", "dis2faults"):
        assert apart[name].quantile(0.99) < 1, name  # m, of cells of 50 m
        assert apart[name].max() < 25, name
    assert apart["dis2catchment"].max() < 75  # borders along the coast are cut otherwise, by a cell
    level = both["DEM"] == both["DEM"].min()  # water has no one way over level ground
    for name in ("SPI", "TWI"):
        assert (apart[name][inland & ~level] < 0.01).mean() > 0.97, name


def test_tables_belong_together(made):
    read = read_samples(PATHS.samples, study_area.factors("demo_raw"))
    without, weak, samples = (table(p) for p in (PATHS.samples_without_insar, PATHS.insar_points, PATHS.samples))
    assert list(weak)[-4:] == ["DV_InSAR", "X", "Y", "label"]
    assert (weak["label"] == weak["DV_InSAR"]).all()
    assert (weak["slope"] >= 5).all()
    names = {n: n.replace("D2", "dis2") for n in weak} | {"landuse": "land use", "DV_InSAR": "DV"}
    back = weak.rename(columns=names).assign(DV=-weak["DV_InSAR"], label=1)
    again = pd.concat([without, back]).sort_values(["X", "Y"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(again, samples.sort_values(["X", "Y"]).reset_index(drop=True), check_dtype=False)
    assert len(read.label) == len(samples)
    assert not samples.duplicated(["X", "Y"]).any()
    slides = without.loc[without["label"] == 1, ["X", "Y"]].to_numpy()
    gap = np.hypot(*(weak[["X", "Y"]].to_numpy()[:, None] - slides).T).min()
    assert gap >= 80
    for path in (PATHS.samples, PATHS.composite, PATHS.factors, PATHS.grid, PATHS.factor_stack):
        assert read_record(path, "prepare_region.py")["region"] == "demo_raw"


def test_stack_and_table_are_the_same(made):
    raster = read_composite(PATHS.composite)
    (factors, xy), = grid_chunks(PATHS.grid, study_area.factors("demo_raw"), 10**6)
    stack = gdal.Open(str(PATHS.factor_stack))
    bands = [stack.GetRasterBand(i) for i in range(1, stack.RasterCount + 1)]
    assert [b.GetDescription() for b in bands] == [f.name for f in study_area.factors("demo_raw")]
    assert {b.GetNoDataValue() for b in bands} == {-9999}
    assert stack.GetGeoTransform() == raster.geotransform
    values = stack.ReadAsArray()
    complete = (values != -9999).all(axis=0)
    np.testing.assert_allclose(values[:, complete].T, factors, atol=1e-4)
    np.testing.assert_array_equal(complete, raster.valid)
    assert complete.sum() == len(xy)


def test_what_it_says(made):
    text = made[1]
    for part in ("120 x 160 cells of 50 m, WGS 84 / UTM zone 50N (EPSG:32650): the cells of the DEM", "14 factors",
                 "NDVI multiplied by 10000", "AUROC of a quick model", "given", "random", "slope", "buffer", "(chosen)",
                 "wrote src_data/samples_demo_raw.csv"):
        assert part in text
    scores = pd.read_csv(PATHS.strategies)
    assert scores["strategy"].tolist() == ["given", "random", "slope", "buffer"]
    assert scores["chosen"].tolist() == [True, False, False, False]
    assert scores["auroc"].between(0.4, 1).all()


def test_checks_find_nothing_wrong(made):
    assert "0 errors" in succeed(made[0], "prepare_region.py", "REGION=demo_raw", "CHECK=True")
    found = pd.read_csv(PATHS.checks, keep_default_na=False)
    assert list(found) == ["topic", "file", "level", "found", "remedy"]
    assert (found.loc[found["level"] != "ok", "remedy"] != "").all()
    assert "VIF" in pd.read_csv(PATHS.correlation)


def test_the_pipeline_follows(made):
    one = ("LOCAL_MEMBERS=1", "REGIONAL_MEMBERS=0")  # of two kinds twice as much would be compiled
    for stage, given in ((DAS_pretraining, ()), (scene_sampling, ("K=64",)), (meta_learner, (*TRAINING, *one)),
                         (predict_LSM, ())):
        stage.main(constants(stage.Constants, ["REGION=demo_raw", *given]))
    p, valid = read_band(PATHS.map_raster), read_composite(PATHS.composite).valid
    assert ((p >= 0) & (p <= 1))[valid].all()
    assert (p[~valid] == -9999).all()
    stack = gdal.Open(str(PATHS.factor_stack), gdal.GA_Update)
    stack.WriteArray(stack.ReadAsArray().astype(float).round(4).astype(np.float32))  # as the table has them
    stack = None
    PATHS.grid.unlink()  # the stack is read where there is no table
    assert PATHS.map_table.exists()
    predict_LSM.main(constants(predict_LSM.Constants, ["REGION=demo_raw"]))
    assert not PATHS.map_table.exists()  # of the map before
    np.testing.assert_allclose(read_band(PATHS.map_raster), p, rtol=0, atol=1e-6)


# what the constants do ------------------------------------------------------------------------------------------

def test_a_region_with_fewer_factors(own):
    area.prepare(prepare_region)
    factors = study_area.factors("own")
    expected = [f for f in study_area.FACTORS if f.name in {
        "lithology", "DEM", "slope", "curvature", "aspect", "NDVI", "SPI", "TWI", "dis2road", "dis2drainage"}]
    assert list(factors) == expected
    assert study_area.factors("another") == study_area.FACTORS
    assert read_factors(OWN.factors)[1] == {"lithology": {"granite": 1, "tuff": 2}}
    assert read_samples(OWN.samples, factors).factors.shape == (240, 10)
    assert not OWN.insar_points.exists()


def test_same_seed_same_bytes(own, tmp_path):
    area.prepare(prepare_region)
    first = contents(tmp_path)
    area.prepare(prepare_region)
    assert contents(tmp_path) == first
    area.prepare(prepare_region, "SEED=2")
    assert contents(tmp_path)["src_data/samples_own.csv"] != first["src_data/samples_own.csv"]


def test_a_layer_that_comes_later_is_seen(own, monkeypatch):
    area.prepare(prepare_region)
    now = [f"{k}={v}" for k, v in read_record(OWN.composite, pipeline.PREPARE)["constants"].items() if k == "HOLES"]
    assert pipeline.states_of("own", now)[pipeline.PREPARE] == "fresh"
    (own / "faults.gpkg").write_bytes((own / "roads.gpkg").read_bytes())
    assert pipeline.states_of("own", now)[pipeline.PREPARE] == "stale: other files in src_data/own/raw"


def test_codes_of_another_region(own, capsys):
    area.prepare(prepare_region)
    Paths("far").raw.mkdir(parents=True)
    for path in own.glob("*.*"):
        if path.stem != "lithology":
            (Paths("far").raw / path.name).write_bytes(path.read_bytes())
    write_vector(Paths("far").raw / "lithology.gpkg", [square(0, 0, 60, 20), square(0, 20, 60, 60)],
                 {"rock": ["basalt", "tuff"]})
    prepare_region.main(constants(prepare_region.Constants, ["REGION=far", "CODES_OF=own"]))
    assert read_factors(Paths("far").factors)[1] == {"lithology": {"basalt": 3, "tuff": 2}}
    assert "classes of lithology that own does not have: basalt" in capsys.readouterr().out


@pytest.mark.parametrize(("how", "points"), [("highest", 2), ("every", 6), ("centroid", 2)])
def test_cells_of_polygons(own, how, points):
    (own / "inventory.csv").unlink()
    write_vector(own / "inventory.gpkg", [square(10, 10, 3, 5), square(40, 60, 3, 5)])
    area.prepare(prepare_region, f"POLYGON_CELLS={how}", "EVERY=5")
    found = pd.read_csv(OWN.samples)
    slides, others = found.query("label == 1"), found.query("label == 0")
    assert len(slides) == points
    inside = [((x - WEST) // CELL, (NORTH - y) // CELL) for x, y in others[["X", "Y"]].to_numpy()]
    assert not any((10 <= c < 15 and 10 <= r < 13) or (60 <= c < 65 and 40 <= r < 43) for c, r in inside)


def test_strategies(own):
    area.prepare(prepare_region, "STRATEGY=buffer", "BUFFER=60.", "RATIO=0.5")
    found = pd.read_csv(OWN.samples)
    slides, others = (found.loc[found["label"] == k, ["X", "Y"]].to_numpy() for k in (1, 0))
    assert len(others) == 60
    assert np.hypot(*(others[:, None] - slides).T).min() > 60 - CELL
    area.prepare(prepare_region, "STRATEGY=slope", "SLOPE_CLASSES=4")
    found = pd.read_csv(OWN.samples)
    edges = found.query("label == 1")["slope"].quantile([0.25, 0.5, 0.75]).to_numpy()
    each = np.bincount(np.digitize(found.query("label == 0")["slope"], edges))
    np.testing.assert_allclose(each, 30, atol=2)


def write_insar(path, **columns) -> pd.DataFrame:
    """Points all over the area, two a cell in places, in m/yr and positive away from the satellite."""
    rng, n = np.random.default_rng(4), 3000
    table = pd.DataFrame({"X": WEST + rng.uniform(-60, 80 * CELL, n).round(2),
                          "Y": NORTH - rng.uniform(0, 60 * CELL + 60, n).round(2),
                          "velocity": (rng.normal(0, 1e-3, n) + rng.choice((0, 0, 0, 0.02, -0.02), n)).round(6),
                          **columns})
    table.to_csv(path, index=False)
    return table


GEOMETRY = {"heading": -13.0, "incidence": np.linspace(30, 45, 3000).round(2)}
QUALITY = {"coherence": np.linspace(0.5, 1, 3000).round(3), "velocity_error": np.linspace(0, 3e-3, 3000).round(6)}


@pytest.mark.parametrize("columns", [{}, GEOMETRY | QUALITY], ids=["velocity alone", "all"])
def test_both_forms_of_insar_follow_the_rules_of_stage_0(own, columns, capsys):
    given = write_insar(own / "insar.csv", **columns)
    unit = ("INSAR_UNIT=m/yr", "INSAR_POSITIVE=away")
    area.prepare(prepare_region, *unit, "INSAR_FORM=insar")
    points = pd.read_csv(OWN.insar_table)
    np.testing.assert_allclose(points["velocity"], -1000 * given["velocity"])
    assert set(points) == set(given)
    assert not OWN.samples.exists()  # stage 0 makes it
    assert not OWN.insar_points.exists()
    without = OWN.samples_without_insar.read_bytes()
    augment_inventory.main(constants(augment_inventory.Constants, ["REGION=own"]))
    inventory = pd.read_csv(OWN.samples_without_insar)
    by_stage_0, rules = pd.read_csv(OWN.samples)[len(inventory):], pd.read_csv(OWN.augmentation)

    capsys.readouterr()
    area.prepare(prepare_region, *unit)
    assert OWN.samples_without_insar.read_bytes() == without
    assert not OWN.insar_table.exists()  # stage 0 takes one of the two
    assert not OWN.samples_origin.exists()
    weak = pd.read_csv(OWN.insar_points)
    assert 20 < len(weak) == len(by_stage_0)
    names = {name: name.replace("D2", "dis2") for name in weak} | {"DV_InSAR": "DV"}
    back = weak.rename(columns=names).assign(label=1, DV=-weak["DV_InSAR"])
    pd.testing.assert_frame_equal(back, by_stage_0.reset_index(drop=True)[list(back)], check_dtype=False, rtol=0,
                                  atol=1e-3)  # a table of four decimals against float32
    assert len(pd.read_csv(OWN.samples)) == len(inventory) + len(weak)
    rest = inventory.merge(given, on=["X", "Y"])  # non-landslides where InSAR sees no motion
    assert 20 < len(rest) == len(inventory) - 240 <= len(weak)
    assert not rest["label"].any()
    assert rest["velocity"].abs().max() < 2e-3
    apart = np.hypot(*(rest[["X", "Y"]].to_numpy()[:, None] - weak[["X", "Y"]].to_numpy()).transpose(2, 0, 1))
    assert apart.min() >= 80
    said = capsys.readouterr().out
    for rule, dropped, _ in rules.to_numpy()[1:]:
        assert f"{dropped:,} {rule}" in said or not dropped
    record = read_record(OWN.insar_points, "prepare_region.py")["constants"]
    assert record["MIN_SLOPE"] == augment_inventory.Constants().MIN_SLOPE  # the rules that decided are in the record


def test_stage_0_gives_the_same_from_either_form_of_the_grid(own):
    write_insar(own / "insar.csv", **GEOMETRY)
    augmented = []
    for form in ("table", "stack"):
        area.prepare(prepare_region, "INSAR_UNIT=m/yr", "INSAR_FORM=insar", f"GRID_FORM={form}")
        assert not OWN.samples.exists()  # stage 0's of the run before would be read as this run's
        assert not OWN.samples_origin.exists()
        augment_inventory.main(constants(augment_inventory.Constants, ["REGION=own", "SPACING=20"]))
        augmented.append(pd.read_csv(OWN.samples))
    assert len(augmented[0]) > 300
    pd.testing.assert_frame_equal(*augmented, rtol=0, atol=1e-4)


def test_two_tracks_in_raw_are_as_one_table_of_both(own, capsys):
    both = write_insar(own / "insar.csv", **GEOMETRY | {"heading": np.where(np.arange(3000) < 1500, -13.0, 193.0)})
    area.prepare(prepare_region, "INSAR_UNIT=m/yr")
    one = [path.read_bytes() for path in (OWN.samples, OWN.insar_points, OWN.grid)]
    (own / "insar.csv").unlink()
    both[:1500].to_csv(own / "insar_asc.csv", index=False)
    both[1500:].drop(columns="heading").to_csv(own / "insar_desc.csv", index=False)
    named = ("INSAR_UNIT=m/yr", "INSAR=insar_asc.csv,insar_desc.csv|heading=193")
    capsys.readouterr()
    area.prepare(prepare_region, *named)
    assert [path.read_bytes() for path in (OWN.samples, OWN.insar_points, OWN.grid)] == one
    assert "insar_desc.csv, 1,500 points, descending" in capsys.readouterr().out
    assert {"insar_asc.csv", "insar_desc.csv"} <= {name.rpartition("/")[2] for name in read_record(
        OWN.insar_points, "prepare_region.py")["inputs"]}  # a change of either makes the region stale


def test_wrong_insar_is_refused_before_the_work(own, monkeypatch):
    write_insar(own / "insar.csv", incidence=39.0)
    monkeypatch.setattr(prepare_region.factor_layers, "make_layers", lambda *_: pytest.fail("work has begun"))
    for settings, words in (((), "give INSAR_UNIT"), (("INSAR_UNIT=m/yr",), "found no heading")):
        with pytest.raises(InputError, match=words):
            area.prepare(prepare_region, *settings)


def test_known_stable_places_leave_points_at_rest_out(own):
    write_insar(own / "insar.csv", **GEOMETRY)
    pd.DataFrame({"X": WEST + CELL * np.arange(5.5, 75, 3), "Y": NORTH - 20.5 * CELL}).to_csv(own / "stable.csv")
    area.prepare(prepare_region, "INSAR_UNIT=m/yr")
    found = pd.read_csv(OWN.samples_without_insar)
    assert set(found.loc[found["label"] == 0, "Y"]) == {NORTH - 20.5 * CELL}


def test_no_weak_landslide(own, capsys):
    write_insar(own / "insar.csv", velocity_error=1.0)
    area.prepare(prepare_region, "INSAR_UNIT=m/yr")
    assert "0 of 3,000 InSAR points are weak landslides" in capsys.readouterr().out
    assert len(pd.read_csv(OWN.samples)) == 240
    assert not OWN.insar_points.exists()


def test_large_grids_become_a_stack(own):
    area.prepare(prepare_region)
    assert OWN.grid.exists()
    area.prepare(prepare_region, "TABLE_CELLS=1000")
    assert OWN.factor_stack.exists()
    assert not OWN.grid.exists()  # an old table would be read as this run's


def test_cells_are_made_square(own):
    write_raster(own / "dem.tif", area.heights(), place=(WEST, 31.0, 0, NORTH, 0, -29.0))
    area.prepare(prepare_region)
    _, width, _, _, _, height = read_composite(OWN.composite).geotransform
    assert width == pytest.approx(-height)
    assert 29 < width < 31


# the list of factors --------------------------------------------------------------------------------------------

def test_factors_survive_the_file(tmp_path):
    factors = (Factor("lithology", "categorical", "class"), Factor("DV", "continuous", "mm/yr", ("v",), True))
    write_factors(tmp_path / "f.json", factors, {"lithology": {"Löß": 1}})
    assert read_factors(tmp_path / "f.json") == (factors, {"lithology": {"Löß": 1}})


@pytest.mark.parametrize("text", ["", "[]", '{"factors": []}', '{"factors": [{"name": "a"}]}',
                                  '{"factors": [{"name": "a", "kind": "odd", "unit": "m"}]}'])
def test_a_broken_list_of_factors(tmp_path, text):
    (tmp_path / "f.json").write_text(text)
    with pytest.raises(InputError, match=r"f.json: expected .*; run prepare_region.py again"):
        read_factors(tmp_path / "f.json")


def test_a_list_that_repeats_a_factor(tmp_path):
    one = {"name": "DEM", "kind": "continuous", "unit": "m"}
    (tmp_path / "f.json").write_text(json.dumps({"factors": [one, one]}))
    with pytest.raises(InputError, match="factors of different names"):
        read_factors(tmp_path / "f.json")
