"""What the report and the figures were made without, and the commands they name."""

from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest

import report
from lsm.report.left_out import LeftOut
from lsm.report.sources import Collector
from lsm.run import pipeline
from lsm.run.artifacts import artifact, check, record_of, write_csv
from lsm.run.paths import Paths
from lsm.run.settings import InputError, of_stage


def test_commands_have_the_python_that_make_has(monkeypatch, tmp_path):
    monkeypatch.setenv("PY", "python")
    left_out = LeftOut("alps")
    left_out.note("figure gap", tmp_path / "none", pipeline.COMPARE, "missing")
    assert left_out.lines() == ["make compare REGION=alps PY=python adds other methods, with their figures",
                                "make report REGION=alps PY=python then writes the report with them"]


@pytest.mark.parametrize(("constants", "lines"), [
    ({"PROTOCOLS": "partitions", "METHODS": ""}, [
        "make compare REGION=alps adds methods and protocols that the last comparison left out, with their figures",
        "make report REGION=alps then writes the report with them"]),
    ({}, [])])  # what all methods and protocols lack, the area cannot have
def test_after_a_comparison_only_what_it_left_out_is_offered(monkeypatch, tmp_path, constants, lines):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    monkeypatch.delenv("PY", raising=False)
    path, c = Paths("alps").method_metrics, of_stage(pipeline.COMPARE)
    write_csv(path, pd.DataFrame({"protocol": ["partitions"]}), pipeline.COMPARE, replace(c, **constants), [])
    left_out = LeftOut("alps")
    for name in ("gap", "subsets"):
        left_out.note(f"figure {name}", path, pipeline.COMPARE, "expected published", asked=False)
    assert left_out.lines() == lines


def test_one_command_is_not_named_twice_nor_where_the_report_names_it(monkeypatch, tmp_path):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    monkeypatch.delenv("PY", raising=False)
    left_out, path = LeftOut("alps"), tmp_path / "differences.csv"
    path.write_text("")
    left_out.note("figure differences", path, pipeline.COMPARE, "empty; run compare_methods.py again")
    left_out.note("figure method_maps", tmp_path / "none", pipeline.COMPARE, "missing")
    reason = "figure differences: empty; make compare REGION=alps makes it again"
    assert left_out.lines() == [reason, "make report REGION=alps then writes the report with them"]
    assert left_out.lines(commands_too=False) == [reason]


@pytest.mark.parametrize(("state", "command"), [
    ("stale: K = 0, now 64", "make gis REGION=isle K=64 SEED=2 PY=python"),
    ("fresh", "python export_gis.py REGION=isle SEED=2")])  # make would do nothing
def test_a_raster_of_an_earlier_map_is_given_a_command_that_makes_it(monkeypatch, tmp_path, state, command):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    monkeypatch.setenv("PY", "python")
    monkeypatch.setattr(pipeline, "made_so", lambda region: ["K=64", "SEED=2"])
    monkeypatch.setattr(pipeline, "states_of", lambda *_: {pipeline.GIS: state})
    paths, c = Paths("isle"), SimpleNamespace(REGION="isle", RECIPE="recommended", SEED=2)
    path = paths.gis_raster("uncertainty")
    paths.models.parent.mkdir(parents=True)
    paths.models.write_text("models")
    with artifact(path, pipeline.GIS, c, [paths.models]) as temporary:
        temporary.write_text("raster")
    paths.models.write_text("models of a newer map")
    left_out = LeftOut("isle")
    with pytest.raises(InputError, match=r"run export_gis\.py again") as caught:
        check(path, pipeline.GIS, c)
    left_out.note("uncertainty", path, pipeline.GIS, str(caught.value))
    assert left_out.lines() == [
        "uncertainty: figs/isle_uncertainty.tif: was made from another models_of_blocks/isle_models.npz than is there "
        f"now; {command} makes it again",
        "make report REGION=isle K=64 SEED=2 PY=python then writes the report with them"]


def test_of_a_model_with_one_member_no_command_makes_uncertainty(monkeypatch, tmp_path):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    paths, got = Paths("isle"), Collector("isle")
    paths.gis_raster("uncertainty").parent.mkdir()
    paths.gis_raster("uncertainty").write_text("of six members")
    c = SimpleNamespace(REGION="isle", LARGEST=100)
    layers, grids, _ = report.layers_of_stages(paths, got, None, True, c)
    assert (layers, grids) == ([], {})
    assert got.left_out.lines()[0] == (
        "uncertainty: the model has one member, and uncertainty is how far members disagree; "
        "figs/isle_uncertainty.tif is of an earlier run: remove it")


def test_scores_of_another_run_than_the_model_of_the_map_are_left_out(copy_of_demo):
    """As a run of meta_learner.py with other constants leaves them that was killed before it wrote the model."""
    paths, got, c = Paths("demo"), Collector("demo"), report.Constants(REGION="demo")
    model = record_of(paths.model)
    of_map = SimpleNamespace(**{**model["constants"], "REGION": "demo", "RECIPE": model["recipe"], "SEED": 1})
    of_map.LOCAL_MEMBERS += 2
    write_csv(paths.metrics, pd.read_csv(paths.metrics), pipeline.LEARN, of_map,
              [copy_of_demo / name for name in model["inputs"]])
    assert got.sources(paths, c)["metrics"] is None
    words = " are of two runs of meta_learner.py (LOCAL_MEMBERS = "
    assert f"held-out scores: checkpoint_dir/demo_model.npz and checkpoint_dir/demo_metrics.csv{words}" in "".join(
        got.left_out.lines())


def test_what_one_command_makes_again_has_one_line(monkeypatch, tmp_path):
    """With the methods and protocols of the last comparison; many figures are counted."""
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    monkeypatch.delenv("PY", raising=False)
    path, c = Paths("alps").method_metrics, of_stage(pipeline.COMPARE)
    write_csv(path, pd.DataFrame({"protocol": ["partitions"]}), pipeline.COMPARE, replace(c, METHODS="rf"), [])
    left_out = LeftOut("alps")
    left_out.note("other methods", path, pipeline.COMPARE, "tmp/a.csv: was made from another b than is there now; run "
                  "compare_methods.py again")
    for name in ("gap", "subsets", "roc", "rates"):
        left_out.note(f"figure {name}", path, pipeline.COMPARE, "tmp/d.csv: was made from another b than is there now; "
                      "run compare_methods.py again")
    assert left_out.lines(commands_too=False) == [
        "other methods, 4 figures: of an earlier run than the map; make compare REGION=alps METHODS=rf makes them "
        "again"]


def test_a_lost_table_of_the_comparison_is_named_with_what_was_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    monkeypatch.delenv("PY", raising=False)
    paths, c = Paths("alps"), replace(of_stage(pipeline.COMPARE), PROTOCOLS="partitions")
    write_csv(paths.method_metrics, pd.DataFrame({"protocol": ["partitions"]}), pipeline.COMPARE, c, [])
    left_out = LeftOut("alps")
    with pytest.raises(InputError) as missing:
        check(paths.method_differences, pipeline.COMPARE, c)
    left_out.note("standing", paths.method_differences, pipeline.COMPARE, str(missing.value))
    assert left_out.lines() == ["standing: tmp/alps_differences.csv: missing; make compare REGION=alps "
                                "PROTOCOLS=partitions makes it",
                                "make report REGION=alps then writes the report with them"]
