"""check_region.py as a user runs it, by its own name and by prepare_region.py CHECK=True."""

import pandas as pd
import pytest
import small_region as area
from conftest import contents, run_stage, succeed

import prepare_region
from lsm.checks.finding import counts_in_words
from lsm.checks.inspection import write_checks
from lsm.run.artifacts import check, write_csv
from lsm.run.paths import Paths
from lsm.run.settings import InputError, of_stage

PATHS, STAGE = Paths("own"), "check_region.py"


@pytest.fixture
def region(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    area.write_area(PATHS.raw)
    area.prepare(prepare_region)
    return tmp_path


def test_what_it_prints_and_writes(region):
    said = succeed(region, STAGE, "REGION=own")
    found = pd.read_csv(PATHS.checks, keep_default_na=False)
    assert list(found) == ["topic", "file", "level", "found", "remedy"]
    for row in found.itertuples():
        printed = f"{row.level:8}{row.topic:13}{row.file}: {row.found}" in said
        assert printed == (row.level != "ok")
    assert {"ok", "warning"} <= set(found["level"])
    assert counts_in_words(found) in said
    assert not (found["level"] == "error").any()
    table = pd.read_csv(PATHS.correlation)
    assert list(table) == ["factor", *table["factor"], "VIF"]
    c = of_stage(STAGE, REGION="own")
    for path in (PATHS.checks, PATHS.correlation):
        assert f"wrote tmp/{path.name}" in said
        assert check(path, STAGE, c)["stage"] == STAGE


def test_prepare_region_does_the_same_and_says_so(region):
    said = succeed(region, STAGE, "REGION=own").splitlines()
    first = contents(region)
    again = succeed(region, "prepare_region.py", "REGION=own", "CHECK=True").splitlines()
    assert again[0] == "check_region.py does this: python check_region.py REGION=own"
    assert again[1:-1] == said[:-1]  # the last line is the time that it took
    assert contents(region) == first


def test_a_region_without_inputs_is_a_table_of_errors(tmp_path):
    (tmp_path / "src_data/nowhere/raw").mkdir(parents=True)
    done = run_stage(tmp_path, STAGE, "REGION=nowhere")
    assert done.returncode == 2
    assert "3 errors, 0 warnings, 0 in order" in done.stdout
    assert done.stderr.endswith("src_data/samples_nowhere.csv: missing, and so are all inputs of region nowhere; make "
                                "them of your layers: make run REGION=nowhere RAW=<folder>\n")
    assert sorted(contents(tmp_path)) == ["tmp/nowhere_checks.csv", "tmp/nowhere_checks.csv.json"]


def test_errors_stop_make_before_stage_1(region):
    grid = pd.read_csv(PATHS.grid)
    grid.assign(DEM=3.28 * grid["DEM"]).to_csv(PATHS.grid, index=False)
    done = run_stage(region, "tools/pipeline.py", "run", "REGION=own")
    assert done.returncode == 2
    assert "own_checks.csv: expected no error, found 1; correct" in done.stderr
    assert not (region / "unsupervised_pretraining").exists()


def test_statistics_are_of_the_first_rows_of_a_grid(region):
    grid = pd.read_csv(PATHS.grid)
    grid.assign(DEM=grid["DEM"].mask(grid.index >= 50, 3 * grid["DEM"])).to_csv(PATHS.grid, index=False)
    words = "grid_samples_own.csv: DEM is 3 times as large as in composite.tif"
    assert words not in run_stage(region, STAGE, "REGION=own", "SAMPLE_ROWS=50").stdout
    assert words in run_stage(region, STAGE, "REGION=own").stdout
    done = run_stage(region, STAGE, "REGION=own", "SAMPLE_ROWS=0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("SAMPLE_ROWS=0: expected 1 or more\n")


def test_a_table_of_correlations_that_these_checks_do_not_make_is_removed(tmp_path, monkeypatch, capsys):
    """Else the checks would be out of date for ever."""
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    c = of_stage(STAGE, REGION="own")
    write_csv(PATHS.correlation, pd.DataFrame({"factor": ["slope"], "VIF": [1.0]}), STAGE, c, [])
    with pytest.raises(InputError, match="missing, and so are all inputs"):
        write_checks(c, stop=False)
    assert sorted(path.name for path in (tmp_path / "tmp").iterdir()) == ["own_checks.csv", "own_checks.csv.json"]
    assert "tmp/own_correlation.csv: of earlier inputs; removed\n" in capsys.readouterr().out
