"""A real Dask cluster of two workers on this machine gives the bytes of this process, though one of them is killed."""

import os
import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from conftest import contents
from dask_cluster import cluster, die, map_and_die_once, start, work

import compare_methods
import feature_permutation
import predict_LSM
import study_area
from lsm.inputs.bands import NODATA
from lsm.inputs.rasters import Grid, create_raster, locate, open_raster
from lsm.run import jobs, pipeline
from lsm.run.paths import Paths
from lsm.run.settings import InputError, run

WITHOUT = ("src_data", "checkpoint_dir", "metatask_sampling", "unsupervised_pretraining")  # not written here
CHEAP = ("METHODS=knn,block_rate", "PROTOCOLS=published", "SEEDS=2", "RESAMPLES=20", "AREA_CELLS=500", "WORKERS=1",
         "MAPPED=('nearest neighbours in XY',)")
QUICK = ("EXPLAINED=3", "BACKGROUND=4", "ORDERS=1", "REPEATS=2", "WORKERS=1")


@dataclass(frozen=True)
class Constants:
    DASK_SCHEDULER: str
    REGION: str = "demo"


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """The scheduler's file of two workers, without nannies: a killed one stays dead."""
    with cluster(tmp_path_factory.mktemp("dask")) as file:
        yield file


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path / "root"))
    return tmp_path / "root"


def test_results_come_in_the_order_of_the_items_from_other_processes(scheduler, root):
    with jobs.cluster_of(Constants(scheduler)) as found:
        for factor in (3, 5):  # the second time the workers start anew
            numbers, processes, roots = zip(*found.each(iter(range(9)), work, start, (factor,)), strict=True)
            assert list(numbers) == [factor * i for i in range(9)]
            assert os.getpid() not in processes
            assert set(roots) == {str(root)}
        with pytest.raises(InputError, match="item -1: expected 0 or more"):
            list(found.each([1, -1, 2], work, start, (1,)))
    assert list(root.rglob("*")) == [root / "tmp"]


def stack_of_table(paths: Paths) -> None:
    """Gives the demo its grid as a stack of rasters instead of a table."""
    factors, table = study_area.factors("demo"), pd.read_csv(paths.grid)
    grid = Grid.of(open_raster(paths.composite, ""))
    row, col, _ = locate(grid.geotransform, (grid.rows, grid.cols), table[["X", "Y"]].to_numpy())
    stack = create_raster(paths.factor_stack, grid, names=[factor.name for factor in factors])
    for band, factor in enumerate(factors, start=1):
        values = np.full((grid.rows, grid.cols), NODATA, np.float32)
        values[row, col] = table[factor.name]
        stack.GetRasterBand(band).WriteArray(values)
    stack.FlushCache()
    paths.grid.unlink()


def stage(monkeypatch, module, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [f"{module.__name__}.py", *arguments])
    run(module.main, module.Constants)


def test_stages_write_the_bytes_of_this_process_though_a_worker_is_killed(scheduler, copy_of_demo, monkeypatch):
    stack_of_table(Paths("demo"))
    written = {}
    monkeypatch.setattr(predict_LSM, "map_window", map_and_die_once)
    for where in ("", scheduler):
        for file in (*copy_of_demo.glob("models_of_blocks/*"), *copy_of_demo.glob("figs/*"),
                     *copy_of_demo.glob("tmp/demo_comparison/*")):
            file.unlink()
        stage(monkeypatch, compare_methods, *CHEAP, f"DASK_SCHEDULER={where}")
        stage(monkeypatch, predict_LSM, "GRID_ROWS=800", f"DASK_SCHEDULER={where}")
        stage(monkeypatch, feature_permutation, *QUICK, f"DASK_SCHEDULER={where}")
        written[where] = {name: data for name, data in contents(copy_of_demo).items()
                          if not name.startswith(WITHOUT) and not name.endswith(".json")}
    here, there = written.values()
    assert there.pop("killed") == b""
    assert here == there
    assert {"figs/LSM_demo.tif", "tmp/demo_shap.npz", "tmp/demo_scores.csv.gz"} <= set(here)


def test_no_worker_left_is_one_line(scheduler, root, monkeypatch):
    monkeypatch.setattr(jobs, "PATIENCE", 1)
    with jobs.cluster_of(Constants(scheduler)) as found, pytest.raises(InputError, match=r"the last one is gone; .*"):
        list(found.each(range(4), die, start, (1,)))
    with pytest.raises(InputError, match=r"expected workers, found none; start some \(dask worker"), \
            jobs.cluster_of(Constants(scheduler)):
        pass


def test_no_scheduler_is_one_line_and_exit_code_2(copy_of_demo, monkeypatch, capsys):
    monkeypatch.setattr(jobs, "REACH", 1)
    before = contents(copy_of_demo)
    for scheduler, expected in (("tcp://127.0.0.1:9", "expected a Dask scheduler, found none that answers; start it"),
                                ("no/such/file", "expected an address like tcp://host:8786, or the file that dask")):
        with pytest.raises(SystemExit) as stopped:
            stage(monkeypatch, predict_LSM, f"DASK_SCHEDULER={scheduler}")
        assert stopped.value.code == 2
        error = capsys.readouterr().err
        assert f"DASK_SCHEDULER={scheduler}: {expected}" in error
        assert error.count("\n") == 1
    assert contents(copy_of_demo) == before


def test_workers_that_would_give_other_bytes_are_refused(root, tmp_path):
    probe = tmp_path / "probe"
    probe.write_text("this run")
    expected = jobs._found(probe, "predict_LSM.py")
    jobs._refuse_other(dict(expected), expected, "worker")
    for found, words in ((jobs._found(tmp_path / "elsewhere", "predict_LSM.py"), f"expected that it sees {root}"),
                         (jobs._found(probe, "report.py"), "expected the code of this project, found other code"),
                         (expected | {"numpy": "1.0"}, f"expected numpy {np.__version__}, found 1.0; install"),
                         (ModuleNotFoundError("No module named 'lsm'"), "PYTHONPATH set to the project's folder")):
        with pytest.raises(InputError, match=words):
            jobs._refuse_other(found, expected, "worker")


def test_where_it_runs_is_no_constant_of_an_artifact():
    for one in pipeline.STAGES:
        known = "DASK_SCHEDULER" in pipeline.defaults(pipeline.constants_class(one.script))
        assert known == ("DASK_SCHEDULER" in one.free), one.script
    assert "DASK_SCHEDULER" in compare_methods.fits.FREE
