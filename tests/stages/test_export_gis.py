import json
import re
import shutil
import sys
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from conftest import contents, run_stage, succeed
from osgeo import gdal
from osgeo_utils.samples.validate_cloud_optimized_geotiff import validate

from lsm.run.paths import PROJECT
from lsm.run.settings import InputError, constants

sys.path.insert(0, str(PROJECT))
import export_gis as stage

PRODUCTS = ("probability", "class", "applicability", "uncertainty", "leading")


# the stage, as a user runs it ------------------------------------------------------------------------------------

def opened(root, product):
    return gdal.Open(str(root / f"figs/demo_{product}.tif"))


@pytest.mark.parametrize("product", PRODUCTS)
def test_rasters_are_cloud_optimised_and_styled(exported, product):
    root, printed = exported
    path = root / f"figs/demo_{product}.tif"
    assert validate(str(path), full_check=True)[:2] == ([], [])
    dataset, like = gdal.Open(str(path)), gdal.Open(str(root / "figs/LSM_demo.tif"))
    assert dataset.GetGeoTransform() == like.GetGeoTransform()
    assert dataset.GetSpatialRef().IsSame(like.GetSpatialRef())
    band = dataset.GetRasterBand(1)
    assert band.GetDescription()
    assert band.GetNoDataValue() == (0 if product in ("class", "leading") else -9999)
    assert float(band.GetMetadataItem("STATISTICS_MAXIMUM")) > 0
    style = ElementTree.fromstring(path.with_suffix(".qml").read_text(encoding="utf-8"))
    assert style.find(".//rasterrenderer").get("type") == (
        "paletted" if product in ("class", "leading") else "singlebandpseudocolor")
    assert json.loads((root / f"figs/demo_{product}.tif.json").read_text())["stage"] == "export_gis.py"
    assert f"wrote figs/demo_{product}.tif" in printed


def test_probability_and_classes_are_those_of_the_map(exported):
    root, _ = exported
    p = gdal.Open(str(root / "figs/LSM_demo.tif")).ReadAsArray()
    np.testing.assert_array_equal(opened(root, "probability").ReadAsArray(), p)
    expected = np.where(p >= 0, 1 + np.digitize(p, (0.2, 0.4, 0.6, 0.8)), 0)
    np.testing.assert_array_equal(opened(root, "class").ReadAsArray(), expected)
    labels = [e.get("label") for e in ElementTree.parse(root / "figs/demo_class.qml").iter("paletteEntry")]
    assert labels[0] == "very low (0 to 0.2)"
    assert labels[-1] == "very high (0.8 to 1)"
    table = pd.read_csv(root / "tmp/demo_gis.csv").set_index(["product", "measure"])["value"]
    cell = abs(np.prod([opened(root, "class").GetGeoTransform()[i] for i in (1, 5)])) / 1e6
    assert table["class", "high, km2"] == pytest.approx((expected == 4).sum() * cell)


def test_leading_factors_are_copied_with_their_names(exported):
    root, _ = exported
    before, after = gdal.Open(str(root / "figs/demo_leading_factor.tif")), opened(root, "leading")
    np.testing.assert_array_equal(after.ReadAsArray(), before.ReadAsArray())
    before.GetFileList(), after.GetFileList()  # GDAL then looks into the files beside them, where the names are
    names = before.GetRasterBand(1).GetCategoryNames()
    assert after.GetRasterBand(1).GetCategoryNames() == names
    entries = {int(e.get("value")): e.get("label")
               for e in ElementTree.parse(root / "figs/demo_leading.qml").iter("paletteEntry")}
    assert set(entries) == set(np.unique(after.ReadAsArray())) - {0}
    assert all(names[value] == label for value, label in entries.items())


def test_uncertainty_and_applicability_stand_wherever_the_map_does(exported):
    root, printed = exported
    known = opened(root, "probability").ReadAsArray() >= 0
    for product in ("uncertainty", "applicability"):
        values = opened(root, product).ReadAsArray()
        np.testing.assert_array_equal(values >= 0, known)
    dataset = opened(root, "applicability")
    threshold = float(dataset.GetRasterBand(1).GetMetadataItem("THRESHOLD"))
    outside = (dataset.ReadAsArray()[known] > threshold).mean()
    assert f"{outside:.1%} of cells outside the area of applicability" in printed
    assert 0 < opened(root, "uncertainty").ReadAsArray()[known].max() <= 0.58
    record = json.loads((root / "figs" / "demo_uncertainty.tif.json").read_text())
    assert "figs/LSM_demo.tif" in record["inputs"]  # blended as this map is
    assert "deviation of 6 members' probabilities" in printed
    assert not (root / "tmp/demo_gis").exists()


def test_layers_say_of_blocks_and_samples_what_the_stages_said(exported):
    root, _ = exported
    dataset = gdal.OpenEx(str(root / "figs/demo_blocks.gpkg"))
    blocks, samples = dataset.GetLayer("blocks"), dataset.GetLayer("samples")
    assert blocks.GetSpatialRef().IsSame(opened(root, "class").GetSpatialRef())
    table = pd.read_csv(root / "metatask_sampling/demo_blocks.csv")
    metrics = pd.read_csv(root / "checkpoint_dir/demo_metrics.csv").query("adapted == 'after' and block != 'all'")
    auroc = metrics.set_index(metrics["block"].astype(int))["auroc"].dropna()
    leads = pd.read_csv(root / "tmp/demo_importance.csv").query("rank == 1 and state == 0").set_index("block")["factor"]
    assert blocks.GetFeatureCount() == len(table)
    with np.load(root / "models_of_blocks/demo_models.npz") as models:
        state, share = models["state"], models["adapted_share"]
    assert 0 < share[state == 0].min() <= share.max() <= 1
    assert not share[state != 0].any()
    for feature, row in zip(blocks, table.itertuples(), strict=True):
        assert (feature["block"], feature["samples"], feature["landslides"]) == (row.block, row.samples, row.landslides)
        assert feature["model_row"] == row.block
        assert feature.GetGeometryRef().GetArea() == pytest.approx(feature["area_km2"] * 1e6)
        assert bool(feature["fallback"]) == bool(state[row.block])
        assert feature["adapted_share"] == share[row.block]
        assert feature["heldout_auroc"] == (pytest.approx(auroc[row.block]) if row.block in auroc.index else None)
        assert feature["leading_1"] == leads.get(row.block)
    assert len(auroc)
    assert samples.GetFeatureCount() == table["samples"].sum()
    styles = {f["f_table_name"]: f["styleQML"] for f in dataset.GetLayer("layer_styles")}
    assert ElementTree.fromstring(styles["blocks"]).find("renderer-v2").get("attr") == "state"
    assert [e.get("label") for e in ElementTree.fromstring(styles["samples"]).iter("category")] == [
        "landslide", "non-landslide"]


def test_the_same_seed_gives_the_same_bytes_and_breaks_are_kept(exported, tmp_path):
    """Whatever parts the grid is read in."""
    root = tmp_path / "root"
    shutil.copytree(exported[0], root)
    before = contents(root)
    assert "fixed breaks, kept from earlier figures and layers" in succeed(root, "export_gis.py", "GRID_ROWS=1777")
    after = {name: data.replace(b'"GRID_ROWS": 1777', b'"GRID_ROWS": 100000') if name.endswith(".json") else data
             for name, data in contents(root).items()}
    assert set(after) == set(before)
    assert [name for name in before if before[name] != after[name]] == []


def test_a_raster_of_an_earlier_run_is_named(exported, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(exported[0], root)
    (root / "figs/demo_leading_factor.tif").unlink()
    with open(root / "figs/demo_leading.tif", "ab") as file:
        file.write(b"edited")
    printed = succeed(root, "export_gis.py")
    assert "figs/demo_leading.tif: of an earlier run, not of this map; remove it" in printed
    assert (root / "figs/demo_leading.qml").is_file()


def test_natural_breaks_replace_those_of_another_method(exported, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(exported[0], root)
    assert "classes, natural breaks:" in succeed(root, "export_gis.py", "BREAKS=natural")
    kept = json.loads((root / "tmp/demo_breaks.json").read_text())
    assert kept["method"] == "natural"
    assert kept["breaks"] == sorted(set(kept["breaks"]))
    assert kept["breaks"] != [0.2, 0.4, 0.6, 0.8]
    p = opened(root, "probability").ReadAsArray()
    np.testing.assert_array_equal(opened(root, "class").ReadAsArray(),
                                  np.where(p >= 0, 1 + np.digitize(p, kept["breaks"]), 0))


def test_without_what_is_optional_it_says_which_stage_to_run(copy_of_demo):
    (copy_of_demo / "checkpoint_dir/demo_metrics.csv").unlink()
    printed = succeed(copy_of_demo, "export_gis.py")
    lines = printed.partition("left out:\n")[2].splitlines()
    assert lines[0].startswith("  held-out AUROC of blocks: checkpoint_dir/demo_metrics.csv: missing; make map")
    assert re.fullmatch("  make explain REGION=demo .*adds leading factors", lines[1])  # one line for all of them
    assert re.fullmatch("  make gis REGION=demo .*then writes rasters and layers with them", lines[2])
    assert "feature_permutation.py" not in printed
    assert ", all factors weighing the same)" in printed
    assert not (copy_of_demo / "figs/demo_leading.tif").exists()
    dataset = gdal.OpenEx(str(copy_of_demo / "figs/demo_blocks.gpkg"))
    first = dataset.GetLayer("blocks").GetNextFeature()
    assert (first["heldout_auroc"], first["leading_1"]) == (None, None)
    record = json.loads((copy_of_demo / "tmp/demo_gis.csv.json").read_text())
    assert record["without"] == dict.fromkeys((
        "tmp/demo_importance_territory.csv", "tmp/demo_importance.csv", "figs/demo_leading_factor.tif",
        "checkpoint_dir/demo_metrics.csv"))
    of_raster = json.loads((copy_of_demo / "figs/demo_applicability.tif.json").read_text())
    assert of_raster["without"] == {"tmp/demo_importance_territory.csv": None}  # an explanation brings other weights


def test_with_what_is_optional_its_record_says_so(exported):
    record = json.loads((exported[0] / "tmp/demo_gis.csv.json").read_text())
    assert "without" not in record
    assert {"tmp/demo_importance.csv", "figs/demo_leading_factor.tif"} < set(record["inputs"])


@pytest.mark.parametrize(("setting", "message"), [
    ("BREAKS=jenks", "BREAKS=jenks: expected one of fixed, quantile, equal, natural"),
    ("CLASS_BREAKS=(0.4,0.2,0.6,0.8)", "expected 4 rising probabilities"), ("FOLDS=1", "FOLDS=1: expected 2 or more")])
def test_settings_that_cannot_be_used(setting, message):
    with pytest.raises(InputError, match=re.escape(message)):
        stage.check_constants(constants(stage.Constants, [setting]))


def test_without_a_map_it_names_the_stage_to_run(copy_of_demo):
    (copy_of_demo / "figs/LSM_demo.tif").unlink()
    done = run_stage(copy_of_demo, "export_gis.py")
    assert done.returncode == 2
    assert "figs/LSM_demo.tif: missing; run predict_LSM.py first" in done.stderr
    assert not (copy_of_demo / "figs/demo_class.tif").exists()
