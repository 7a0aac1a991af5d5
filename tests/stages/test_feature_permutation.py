import hashlib
import json
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import QUICK_EXPLANATION, run_stage
from osgeo import gdal
from scipy.special import expit

from lsm.blocks.borders import around_cells
from lsm.inputs.rasters import cell_of, read_composite
from lsm.run.paths import PROJECT
from lsm.run.settings import InputError, constants

sys.path.insert(0, str(PROJECT))
import feature_permutation as stage

# the stage as a user runs it --------------------------------------------------------------------------------------

def test_every_block_has_every_factor_once_and_ranks_in_order(explained):
    root, _ = explained
    table = pd.read_csv(root / "tmp/demo_importance.csv")
    models, tasks = (np.load(root / name) for name in ("models_of_blocks/demo_models.npz",
                                                       "metatask_sampling/demo_tasks.npz"))
    names, blocks = list(tasks["factor_names"]), len(models["state"])
    assert list(table["block"]) == list(np.repeat(np.arange(blocks), len(names)))
    assert list(table["factor"]) == names * blocks
    np.testing.assert_array_equal(table["state"], models["state"][table["block"]])
    samples = np.bincount(tasks["block"], minlength=blocks)
    np.testing.assert_array_equal(table["explained"], np.minimum(samples, 6)[table["block"]])
    for _, of in table[table["explained"] > 0].groupby("block"):
        assert sorted(of["rank"]) == list(range(1, len(names) + 1))
        assert (np.diff(of.sort_values("rank")["mean_abs_shap"]) <= 0).all()
    assert table.loc[table["explained"] == 0, ["mean_abs_shap", "permutation", "rank"]].isna().all(axis=None)
    ranking = pd.read_csv(root / "tmp/demo_importance_territory.csv")
    assert sorted(ranking["factor"]) == sorted(names)
    assert ranking["blocks_led"].sum() == (models["state"] == 0).sum()
    assert ranking["area_led"].sum() == pytest.approx(1)


def test_the_saved_shap_values_add_up_and_give_the_table(explained):
    root, _ = explained
    saved, tasks = np.load(root / "tmp/demo_shap.npz"), np.load(root / "metatask_sampling/demo_tasks.npz")
    block = saved["block"]
    np.testing.assert_array_equal(tasks["block"][saved["row"]], block)
    np.testing.assert_array_equal(tasks["factors"][saved["row"]], saved["factors"])
    assert len(set(saved["row"])) == len(saved["row"])
    total = saved["base"][block] + saved["shap"].sum(axis=1) + saved["place"]
    np.testing.assert_allclose(total, saved["log_odds"], rtol=1e-3, atol=1e-3)
    p = gdal.Open(str(root / "figs/LSM_demo.tif")).ReadAsArray()
    row, col = cell_of(read_composite(root / "src_data/demo/composite.tif").geotransform, tasks["xy"][saved["row"]])
    # What is explained is the map: a sample and its cell hold the same factors, up to the table's digits. At borders
    # the map has the models of other blocks, too.
    around = around_cells(gdal.Open(str(root / "metatask_sampling/demo_blocks.tif")), row, col)
    inner = ((around == block) | (around < 0)).all(axis=0)
    assert inner.mean() > 0.3
    assert np.quantile(np.abs(expit(saved["log_odds"]) - p[row, col])[inner], 0.9) < 1e-4
    table = pd.read_csv(root / "tmp/demo_importance.csv")
    size = pd.DataFrame(np.abs(saved["shap"])).groupby(block).mean()
    np.testing.assert_allclose(table[table["explained"] > 0]["mean_abs_shap"], size.to_numpy().ravel(), atol=1e-5)
    assert np.nanmax(np.abs(saved["agreement"])) <= 1


def test_the_raster_shows_the_leader_of_each_block_by_name_and_colour(explained):
    root, _ = explained
    dataset = gdal.Open(str(root / "figs/demo_leading_factor.tif"))
    composite = gdal.Open(str(root / "src_data/demo/composite.tif"))
    band = dataset.GetRasterBand(1)
    assert band.DataType == gdal.GDT_Byte
    assert band.GetNoDataValue() == 0
    assert dataset.GetGeoTransform() == composite.GetGeoTransform()
    assert dataset.GetSpatialRef().IsSame(composite.GetSpatialRef())
    labels = gdal.Open(str(root / "metatask_sampling/demo_blocks.tif")).ReadAsArray()
    table = pd.read_csv(root / "tmp/demo_importance.csv")
    names = list(dict.fromkeys(table["factor"]))
    assert band.GetCategoryNames() == ["none explained", *names]
    colours = [band.GetColorTable().GetColorEntry(1 + i) for i in range(len(names))]
    assert len(set(colours)) == len(names)
    assert colours[0] == (0xe6, 0x9f, 0x00, 255)
    leaders = table[(table["rank"] == 1) & (table["state"] == 0)].set_index("block")["factor"]
    values = band.ReadAsArray()
    for block in range(labels.max() + 1):
        expected = 1 + names.index(leaders[block]) if block in leaders.index else 0
        assert (values[labels == block] == expected).all()
    assert not values[labels < 0].any()


def test_records_and_what_is_printed(explained):
    root, printed = explained
    for name in ("tmp/demo_importance.csv", "tmp/demo_importance_territory.csv", "tmp/demo_shap.npz",
                 "figs/demo_leading_factor.tif"):
        record = json.loads((root / f"{name}.json").read_text())
        assert record["stage"] == "feature_permutation.py"
        assert record["sha256"] == hashlib.sha256((root / name).read_bytes()).hexdigest()
        assert set(record["inputs"]) == {"models_of_blocks/demo_models.npz", "metatask_sampling/demo_tasks.npz",
                                         "metatask_sampling/demo_blocks.tif", "metatask_sampling/demo_blocks.csv"}
        assert f"wrote {name}" in printed
    assert "rank correlation of |SHAP| and permutation in a block: median" in printed


def test_a_block_is_the_same_alone_and_again(explained, monkeypatch):
    root, _ = explained
    monkeypatch.setenv("LSM_ROOT", str(root))
    saved = np.load(root / "tmp/demo_shap.npz")
    samples = dict(np.load(root / "metatask_sampling/demo_tasks.npz"))
    c = constants(stage.Constants, [*QUICK_EXPLANATION])
    stage.start_explaining(root / "models_of_blocks/demo_models.npz", samples, c)
    for block in (11, 3):
        _, rows, values, place, log_odds, base = stage.explain_block(block)
        own = saved["block"] == block
        np.testing.assert_array_equal(rows, saved["row"][own])
        for found, name in ((values, "shap"), (place, "place"), (log_odds, "log_odds")):
            np.testing.assert_array_equal(found.astype(np.float32), saved[name][own])
        assert base == saved["base"][block]
    first = int(np.searchsorted(samples["block"], 11))
    alone = {name: v[first:first + 1] if len(v) == len(samples["block"]) else v for name, v in samples.items()}
    stage.start_explaining(root / "models_of_blocks/demo_models.npz", alone, c)
    table = stage.explain_block(11)[0]  # one sample is its own background
    assert (table["mean_abs_shap"] == 0).all()
    assert table["rank"].isna().all()


@pytest.mark.parametrize(("setting", "message"), [
    ("BACKGROUND_FROM=cell", "BACKGROUND_FROM=cell: expected block or region"),
    ("ORDERS=0", "ORDERS=0: expected 1")])
def test_settings_that_cannot_be_used(demo, monkeypatch, setting, message):
    monkeypatch.setenv("LSM_ROOT", str(demo))
    with pytest.raises(InputError, match=message):
        stage.main(constants(stage.Constants, [setting]))


def test_without_models_it_names_the_stage_to_run(tmp_path):
    done = run_stage(tmp_path, "feature_permutation.py")
    assert done.returncode == 2
    assert "models_of_blocks/demo_models.npz: missing; run predict_LSM.py first" in done.stderr
