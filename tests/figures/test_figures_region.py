"""Figures of stage 0 and of prepare_region.py as a user runs them, on small made inputs."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from small_region import crs_of

import figure
from lsm.figures import region_checks
from lsm.inputs import rasters
from lsm.run import artifacts
from lsm.run.paths import Paths
from lsm.run.settings import InputError, constants

CONSTANTS = SimpleNamespace(REGION="small", SEED=1)
FATES = {"flat ground, slope below 5 degrees": 30, "below 2 mm/yr along the slope": 20, "weak label": 50}


@pytest.fixture
def paths(tmp_path, monkeypatch):
    """Tables of stage 0 and of prepare_region.py over a slope, under LSM_ROOT."""
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    paths, rng = Paths("small"), np.random.default_rng(0)
    dem = np.add.outer(np.arange(40), np.arange(60)).astype(np.float32)
    like = rasters.Raster(dem[None], np.ones(dem.shape, bool), (0, 100, 0, 4000, 0, -100), crs_of(2326).ExportToWkt())
    rasters.write_band(paths.composite, dem, like, -9999, "DEM", "maker", CONSTANTS, [])

    def write(path, table, stage):
        artifacts.write_csv(path, pd.DataFrame(table), stage, CONSTANTS, [])

    stage, x, y = "augment_inventory.py", rng.uniform(0, 6000, 100), rng.uniform(0, 4000, 100)
    fate = np.repeat(list(FATES), list(FATES.values()))
    speed = rng.normal(0, 8, 100)
    write(paths.augmentation_points, {"X": x, "Y": y, "velocity": speed / 2, "cosine": 0.5, "slope_velocity": speed,
                                      "fate": fate}, stage)
    write(paths.augmentation, {"rule": ["InSAR points", "on nodata", *list(FATES)[:2]], "dropped": [0, 0, 30, 20],
                               "kept": [100, 100, 70, 50]}, stage)
    kinds = np.repeat(["inventory", "absence", "insar"], [20, 30, 50])
    write(paths.samples, {"X": x, "Y": y, "label": (kinds != "absence").astype(int)}, stage)
    write(paths.samples_origin, {"row": np.arange(100), "origin": kinds, "weight": 1.0,
                                 "velocity": np.where(kinds == "insar", speed, np.nan)}, stage)
    stage = "prepare_region.py"
    write(paths.correlation, {"factor": ["slope", "TWI", "NDVI"], "slope": [1, -0.9, 0.1], "TWI": [-0.9, 1, 0],
                              "NDVI": [0.1, 0, 1], "VIF": [12.5, 3, 1]}, stage)
    levels = ["error", *["warning"] * 40, "ok", "ok"]
    write(paths.checks, {"topic": [f"topic {i}" for i in range(43)], "file": "src_data/samples_small.csv",
                         "level": levels, "found": "a finding " * 8, "remedy": ""}, stage)
    write(paths.strategies, {"strategy": ["random", "slope", "buffer"], "landslides": 20, "non_landslides": [20, 19, 9],
                             "auroc": [0.8, 0.7, np.nan], "chosen": [False, True, False]}, stage)
    return paths


def draw(paths, name):
    figure.main(constants(figure.Constants, ["REGION=small", "DPI=40", f"ONLY={name}"]))
    assert paths.figure(name, "png").read_bytes().startswith(b"\x89PNG")
    assert paths.figure(name, "pdf").read_bytes().startswith(b"%PDF")
    return pd.read_csv(paths.figure(name, "csv"))


def test_augmentation_shows_every_point_with_its_fate(paths):
    shown, saved = draw(paths, "augmentation"), pd.read_csv(paths.augmentation_points)
    assert shown["fate"].value_counts().to_dict() == FATES
    np.testing.assert_allclose(shown["slope_velocity"], saved["slope_velocity"])


def test_published_points_without_a_slope_velocity_take_their_own(paths):
    table = pd.read_csv(paths.augmentation_points).query("fate == 'weak label'").assign(cosine=np.nan,
                                                                                        slope_velocity=np.nan)
    artifacts.write_csv(paths.augmentation_points, table, "augment_inventory.py", CONSTANTS, [])
    rules = pd.DataFrame({"rule": ["InSAR points"], "dropped": [0], "kept": [50]})
    artifacts.write_csv(paths.augmentation, rules, "augment_inventory.py", CONSTANTS, [])
    shown = draw(paths, "augmentation")
    assert shown["slope_velocity"].isna().all()
    assert (shown["fate"] == "weak label").sum() == 50


def test_rules_and_points_of_two_runs_are_refused(paths):
    rules = pd.read_csv(paths.augmentation).assign(dropped=[0, 0, 29, 21])
    artifacts.write_csv(paths.augmentation, rules, "augment_inventory.py", CONSTANTS, [])
    with pytest.raises(InputError, match=re.escape("run augment_inventory.py again")):
        draw(paths, "augmentation")
    assert not paths.figure("augmentation", "png").exists()


def test_inventory_takes_origin_and_velocity_from_stage_0(paths):
    shown, origin = draw(paths, "inventory"), pd.read_csv(paths.samples_origin)
    assert shown["kind"].value_counts().to_dict() == {"landslide": 20, "non-landslide": 30, "InSAR": 50}
    np.testing.assert_allclose(shown["velocity"], origin["velocity"], atol=6e-4)
    artifacts.write_csv(paths.samples, pd.read_csv(paths.samples).iloc[:-1], "augment_inventory.py", CONSTANTS, [])
    with pytest.raises(InputError, match="expected the 99 rows"):
        draw(paths, "inventory")


def test_correlation_shows_matrix_and_findings(paths):
    shown = draw(paths, "correlation")
    matrix = shown[shown["part"] == "correlation"]
    assert list(matrix["factor"]) == ["slope", "TWI", "NDVI"]
    assert list(matrix["VIF"]) == [12.5, 3, 1]
    assert (shown["part"] == "finding").sum() == 43


def test_findings_that_do_not_fit_are_counted(paths):
    findings = pd.read_csv(paths.checks)
    lines = region_checks.lines_of(findings)
    assert len(lines) <= region_checks.LINES
    assert lines[0][0] == "error"
    shown = sum(level in ("error", "warning") for level, _ in lines)
    rest, = (int(re.search(r"and (\d+) more", text)[1]) for _, text in lines if text.startswith("and "))
    assert shown + rest == 41
    assert [level for level, _ in lines[-2:]] == ["ok", "ok"]


def test_non_landslides_are_those_saved(paths):
    shown = draw(paths, "non_landslides")
    pd.testing.assert_frame_equal(shown, pd.read_csv(paths.strategies))


def test_the_words_of_a_chosen_way_are_read_beyond_its_bar_too(paths):
    """Of a low AUROC the bar ends within the words: they are black, and all bars as pale as the page, or nearly so."""
    fig, _ = region_checks.non_landslides(constants(figure.Constants, ["REGION=small"]))
    words = [text for text in fig.axes[0].texts if "points" in text.get_text()]
    assert len(words) == 3
    assert {text.get_color() for text in words} == {"black"}
    faces = {tuple(bar.get_facecolor()) for bar in fig.axes[0].patches}
    assert len(faces) == 2  # the chosen one is another
    assert all(np.dot(face[:3], (0.2126, 0.7152, 0.0722)) > 0.7 for face in faces)  # relative luminance
