import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from osgeo import gdal
from sklearn.metrics import roc_auc_score

from lsm.demo import landslides
from lsm.inputs import rasters, samples
from lsm.inputs.crs import crs_name
from lsm.run.artifacts import read_record
from lsm.run.paths import PROJECT, Paths
from study_area import FACTORS

SMALL = ("ROWS=120", "COLS=160", "INVENTORY=600", "ABSENCE=660", "INSAR=180")
NAMES = [factor.name for factor in FACTORS]
STAGE = "src_data/make_demo.py"


def make(root, *arguments) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, STAGE, *arguments], cwd=PROJECT, env={**os.environ, "LSM_ROOT": str(root)},
                          capture_output=True, text=True)


def files(root) -> dict:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    done = make(folder, *SMALL)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder


@pytest.fixture
def paths(root, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(root))
    return Paths("demo")


@pytest.fixture
def composite(paths):
    return rasters.read_composite(paths.composite)


@pytest.fixture
def grid(paths):
    ((factors, xy),) = samples.grid_chunks(paths.grid, FACTORS, 10**6)
    return factors, xy


def table(path) -> pd.DataFrame:
    return pd.read_csv(path, encoding="utf-8-sig")


def truth_at(paths, composite, name: str, xy: np.ndarray) -> np.ndarray:
    return gdal.Open(str(paths.truth / name)).ReadAsArray()[rasters.cell_of(composite.geotransform, xy)]


def by_value(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sort_values(list(frame.columns)).reset_index(drop=True)


def test_the_inputs_pass_the_readers(paths, composite, grid):
    assert composite.bands.shape == (4, 120, 160)
    assert crs_name(composite.crs) == "WGS 84 / UTM zone 50N (EPSG:32650)"
    assert 0.6 < composite.valid.mean() < 0.7
    read = samples.read_samples(paths.samples, FACTORS)
    assert len(read.label) == 600 + 660 + 180
    assert read.label.sum() == 600 + 180
    for path in (paths.samples, paths.samples_without_insar, paths.insar_points, paths.grid, paths.composite,
                 paths.truth / "probability.tif", paths.truth / "environment.tif", paths.truth / "leading_factor.csv"):
        assert read_record(path, STAGE)["region"] == "demo"


def test_the_grid_table_is_the_composite(composite, grid):
    factors, xy = grid
    row, col = rasters.cell_of(composite.geotransform, xy)
    assert len(xy) == composite.valid.sum()
    assert composite.valid[row, col].all()
    np.testing.assert_array_equal(np.stack(rasters.centres(composite.geotransform, row, col), axis=1), xy)
    for band, name in zip(composite.bands, rasters.TERRAIN, strict=True):
        np.testing.assert_array_equal(band[row, col], factors[:, NAMES.index(name)])


def test_the_tables_have_the_habits_of_published_ones(paths):
    for path in (paths.samples, paths.samples_without_insar, paths.insar_points, paths.grid):
        assert path.read_bytes().startswith(b"\xef\xbb\xbf")
        columns = table(path).iloc[:, :len(FACTORS)]
        assert not (columns == 0).any(axis=None)
        assert (columns == samples.STORED_ZERO).any(axis=None)
    assert list(table(paths.samples)) == [*NAMES, "X", "Y", "label"]
    assert list(table(paths.grid)) == [*NAMES, "X", "Y"]
    assert list(table(paths.insar_points)) == [
        "landuse", "lithology", "DEM", "slope", "curvature", "aspect", "NDVI", "SPI", "TWI", "D2road", "D2drainage",
        "D2catchment", "D2faults", "DV_InSAR", "X", "Y", "label"]
    assert (table(paths.grid)["DV"] == samples.STORED_ZERO).mean() == pytest.approx(0.4, abs=0.01)


def test_samples_are_the_inventory_and_the_insar_points_with_dv_negated(paths):
    insar = table(paths.insar_points)
    assert (insar["label"] == insar["DV_InSAR"]).all()
    assert (insar["DV_InSAR"].abs() >= 2).all()
    insar = insar.set_axis([*NAMES, "X", "Y", "label"], axis=1).assign(DV=-insar["DV_InSAR"], label=1)
    together = pd.concat([table(paths.samples_without_insar), insar])
    pd.testing.assert_frame_equal(by_value(together), by_value(table(paths.samples)))


def test_the_inventory_misses_what_moves(paths):
    inventory = table(paths.samples_without_insar)
    assert (inventory["DV"][inventory["label"] == 1].abs() < 2).all()


def test_a_sample_has_the_factors_of_its_cell(paths, composite, grid):
    factors, xy = grid
    number = np.full(composite.valid.shape, -1)
    number[rasters.cell_of(composite.geotransform, xy)] = np.arange(len(xy))
    read = samples.read_samples(paths.samples, FACTORS)
    cell = number[rasters.cell_of(composite.geotransform, read.xy)]
    assert (cell >= 0).all()
    np.testing.assert_array_equal(read.factors, factors[cell])
    assert (read.xy != xy[cell]).any(axis=1).mean() > 0.99


def test_places_and_factors_repeat_and_labels_conflict(paths):
    read = samples.read_samples(paths.samples, FACTORS)
    _, dropped, conflicts = samples.unique_places(read)
    assert 0.005 < dropped / len(read.label) < 0.02
    assert 1 <= conflicts < dropped
    assert pd.DataFrame(read.factors).duplicated().sum() > dropped


def test_the_truth_separates_the_labels_and_is_calibrated(paths, composite):
    read = samples.read_samples(paths.samples, FACTORS)
    probability = truth_at(paths, composite, "probability.tif", read.xy)
    environment = truth_at(paths, composite, "environment.tif", read.xy)
    for number in (1, 2, 3, 4):
        here = environment == number
        assert here.mean() > 0.1
        assert roc_auc_score(read.label[here], probability[here]) > 0.85
    low, high = probability < 0.3, probability > 0.7
    assert read.label[low].mean() == pytest.approx(probability[low].mean(), abs=0.05)
    assert read.label[high].mean() == pytest.approx(probability[high].mean(), abs=0.05)


def test_environments_have_different_leaders_and_signs_flip(paths, composite, grid):
    planted = table(paths.truth / "leading_factor.csv").set_index("environment")
    assert planted["factor"].is_unique
    weights = planted.drop(columns=["factor", "offset"])
    factors = pd.DataFrame(grid[0], columns=NAMES)
    environment = truth_at(paths, composite, "environment.tif", grid[1])
    terms = pd.DataFrame({term: landslides.term_values(term, factors) for term in weights})
    for number, row in weights.iterrows():
        strength = (row.abs() * terms[environment == number].std()).sort_values(ascending=False)
        leader = strength.index[0]
        assert landslides.factor_of(leader) == planted["factor"][number]
        assert strength.iloc[0] > 1.5 * strength.iloc[1]
        assert (np.sign(weights[leader]) == -np.sign(row[leader])).any(), f"{leader} has one sign everywhere"
        # The planted table gives the probability back.
        score = terms[environment == number] @ row + planted["offset"][number]
        probability = truth_at(paths, composite, "probability.tif", grid[1][environment == number])
        np.testing.assert_allclose(1 / (1 + np.exp(-score)), probability, atol=1e-4)


def test_same_seed_same_bytes(root, tmp_path):
    again, other = tmp_path / "again", tmp_path / "other"
    assert make(again, *SMALL).returncode == 0
    assert files(again) == files(root)
    assert make(other, *SMALL, "SEED=2").returncode == 0
    assert files(other)["src_data/samples_demo.csv"] != files(root)["src_data/samples_demo.csv"]


@pytest.mark.parametrize(("size", "over"), [(("ROWS=60", "COLS=80"), "INVENTORY=5000, ABSENCE=5500, INSAR=1500"),
                                            (("ROWS=120", "COLS=160"), "INSAR=1500")])
def test_more_points_than_cells_is_refused_with_numbers_that_fit(tmp_path, size, over):
    done = make(tmp_path, *size)
    assert done.returncode == 2
    assert f"{over}: expected at most" in done.stderr
    assert "Traceback" not in done.stderr
    assert files(tmp_path) == {}
    remedy = done.stderr.strip().partition("take fewer: ")[2].split()
    assert len(remedy) == 3
    assert make(tmp_path, *size, *remedy).returncode == 0
