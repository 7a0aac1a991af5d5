"""Benchmarks refuse in one line what they cannot compare."""

import re
import runpy
import sys

import numpy as np
import pytest
from small_region import write_raster

from lsm.run.paths import PROJECT


@pytest.mark.parametrize(("region", "words"), [
    ("", "src_data/demo/truth/probability.tif: missing; make the demo area: python src_data/make_demo.py"),
    ("none", "REGION=none: expected inputs in .*, found inputs of other; python prepare_region.py REGION=none"),
    ("other", "src_data/other/composite.tif: missing; put it there")])
def test_a_region_that_is_not_there(tmp_path, monkeypatch, capsys, region, words):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["demo_truth.py", *filter(None, [region])])
    if region:
        (tmp_path / "src_data/demo/truth").mkdir(parents=True)
        write_raster(tmp_path / "src_data/demo/truth/probability.tif", np.full((4, 5), 0.5, np.float32))
        (tmp_path / "src_data/samples_other.csv").touch()
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(PROJECT / "benchmarks/demo_truth.py"), run_name="__main__")
    said = capsys.readouterr().err
    assert caught.value.code == 2
    assert said.count("\n") == 1
    assert re.search(f"demo_truth.py: {words}", said)


@pytest.mark.parametrize(("script", "region", "words"), [
    ("importance.py", "", "tmp/demo_importance.csv: missing; make explain"),
    ("seams.py", "demo", "models_of_blocks/demo_models.npz: missing; make map REGION=demo")])
def test_what_a_benchmark_reads_is_missing(tmp_path, monkeypatch, capsys, script, region, words):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [script, *filter(None, [region])])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(PROJECT / "benchmarks" / script), run_name="__main__")
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.endswith(f"{script}: {words}\n")
