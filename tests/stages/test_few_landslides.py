"""Sixty landslides, a block with hardly more than ten samples each, and the constants as they are: a map, scores and a
report."""

import numpy as np
import pandas as pd
import pytest
import small_region as area
from conftest import succeed

import meta_learner
import predict_LSM
import prepare_region
import scene_sampling
from lsm.inputs.rasters import read_band
from lsm.learner.network import use_one_thread
from lsm.run.artifacts import read_csv
from lsm.run.paths import Paths
from lsm.run.settings import constants
from unsupervised_pretraining import DAS_pretraining

use_one_thread()  # before any test runs an operator; the stages ask for the same


@pytest.mark.slow
def test_sixty_landslides_give_a_map_scores_and_a_report(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    paths = Paths("own")
    paths.raw.mkdir(parents=True)
    area.write_raster(paths.raw / "dem.tif", area.heights())
    area.write_points(paths.raw / "inventory.csv", area.landslides()[:60])
    area.prepare(prepare_region)
    for stage, settings in ((DAS_pretraining, ()), (scene_sampling, ()),
                            (meta_learner, ("LOCAL_MEMBERS=1", "REGIONAL_MEMBERS=1")), (predict_LSM, ())):
        stage.main(constants(stage.Constants, ["REGION=own", *settings]))
    blocks = read_csv(paths.blocks_table, "scene_sampling.py", constants(scene_sampling.Constants, ["REGION=own"]))
    assert blocks["samples"].max() <= 16  # no block is a task of its own
    assert "120 samples" in capsys.readouterr().out
    probability = read_band(paths.map_raster)
    assert ((probability >= 0) & (probability <= 1)).all()
    assert np.ptp(probability) > 0.1
    succeed(tmp_path, "compare_methods.py", "REGION=own", "PROTOCOLS=partitions", "METHODS=ours,logistic", "REPEATS=1")
    auroc = pd.read_csv(paths.method_metrics).query("measure == 'auroc' and subset == 'all'")
    assert set(auroc["protocol"]) == {"partitions", "random folds"}
    assert {"ours", "logistic regression"} <= set(auroc["method"])
    assert auroc["mean"].between(0, 1).all()
    succeed(tmp_path, "report.py", "REGION=own")
    page = paths.report.read_text(encoding="utf-8")
    assert "logistic regression" in page
