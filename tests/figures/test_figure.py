"""figure.py as a user runs it, on small made inputs: files, numbers, skipping, ONLY, same bytes."""

import ast
import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from osgeo import gdal
from sklearn.metrics import auc, roc_auc_score
from small_region import crs_of

import figure
from lsm.figures import area_maps, common, map_page, training
from lsm.figures.common import NothingToDraw
from lsm.inputs import rasters
from lsm.learner.members import Kind
from lsm.maps import cartography, gis
from lsm.report import pictures
from lsm.run import artifacts, settings
from lsm.run.paths import PROJECT, Paths

FIGURES = ("inventory", "deformation", "blocks", "pretraining", "meta_training", "adaptation", "roc", "lsm_map")
CONSTANTS = SimpleNamespace(REGION="small", RECIPE="recommended", SEED=1)
PRETRAINING, SAMPLING = "unsupervised_pretraining/DAS_pretraining.py", "scene_sampling.py"
LEARNER, PREDICTION = "meta_learner.py", "predict_LSM.py"
SIZE, CELL, WEST, NORTH = 60, 50.0, 800_000.0, 840_000.0


def make_inputs():
    """Everything figure.py reads, under LSM_ROOT: a round hill in the sea, 16 square blocks, 500 samples."""
    paths, c, rng = Paths("small"), CONSTANTS, np.random.default_rng(0)
    row, col = np.mgrid[:SIZE, :SIZE]
    dem = (300 - 10 * np.hypot(row - 30, col - 30)).astype(np.float32)
    valid = dem > 0
    like = rasters.Raster(dem[None], valid, (WEST, CELL, 0, NORTH, 0, -CELL), crs_of(2326).ExportToWkt())
    rasters.write_band(paths.composite, np.where(valid, dem, np.float32(-9999)), like, -9999, "DEM", "maker", c, [])
    artifacts.record_path(paths.composite).unlink()

    block = np.where(valid, row // 15 * 4 + col // 15, -1).astype(np.int32)
    chosen = rng.permutation(np.argwhere(valid))[:500]
    x, y = rasters.centres(like.geotransform, chosen[:, 0], chosen[:, 1])
    label = (rng.random(500) < 0.5).astype(int)
    pd.DataFrame({"X": x[:400], "Y": y[:400], "label": label[:400]}).to_csv(paths.samples_without_insar, index=False)
    velocity = rng.normal(0, 5, 100)
    pd.DataFrame({"DV_InSAR": velocity, "X": x[400:], "Y": y[400:], "label": velocity}).to_csv(
        paths.insar_points, index=False, encoding="utf-8-sig")

    number = block[chosen[:, 0], chosen[:, 1]]
    rasters.write_band(paths.blocks, block, like, -1, "block", SAMPLING, c, [paths.composite])
    artifacts.write_npz(paths.tasks, {"block": number, "xy": np.stack([x, y], 1), "label": label}, SAMPLING, c, [])
    counts = pd.DataFrame({"block": np.arange(16), "cells": np.bincount(block[valid], minlength=16),
                           "samples": np.bincount(number, minlength=16),
                           "landslides": np.bincount(number, label, minlength=16).astype(int)})
    artifacts.write_csv(paths.blocks_table, counts, SAMPLING, c, [])

    layers = [{"layer": k, "epoch": e, "error": 1 / (k * e)} for k in (1, 2, 3) for e in (1, 2, 3)]
    artifacts.write_csv(paths.pretraining_history, pd.DataFrame(layers), PRETRAINING, c, [])
    history = pd.DataFrame({"iteration": [10, 10, 20, 15, 30], "kind": ["local", "regional"] * 2 + ["local"],
                            "pre_loss": [0.7, 0.7, 0.6, 0.6, 0.6], "post_loss": [0.7, 0.5, 0.3, 0.4, 0.2],
                            "inner_lr": [0.01, 0.02, 0.03, -0.01, 0.04]})
    artifacts.write_csv(paths.history, history, LEARNER, c, [])
    held_out = pd.DataFrame({"sample": np.arange(500), "block": number, "x": x, "y": y, "label": label,
                             "score_before": rng.random(500), "score_after": 0.4 * label + 0.6 * rng.random(500)})
    artifacts.write_csv(paths.held_out, held_out, LEARNER, c, [])
    metrics = [{"block": name, "adapted": when, "samples": len(rows), "landslides": rows["label"].sum(),
                "accuracy": ((rows[f"score_{when}"] > 0.5) == rows["label"]).mean()}
               for name, rows in [("all", held_out), *held_out.groupby("block")] for when in ("before", "after")]
    artifacts.write_csv(paths.metrics, pd.DataFrame(metrics), LEARNER, c, [])
    artifacts.write_npz(paths.model, model(900.0), LEARNER, c, [])

    probability = np.where(valid, rng.random(valid.shape), -9999).astype(np.float32)
    probability[30, 30] = 0.8  # on a break: the class above
    rasters.write_band(paths.map_raster, probability, like, -9999, "probability", PREDICTION, c, [paths.composite])
    return paths


def model(reach: float, bends: bool = False) -> dict:
    """The arrays of an intermediate model that figures read."""
    kind = Kind("local", 1, 8, 4, 4, 1, False, False, True, 0, 1, 0, 0.0, bends)
    return {"reach": np.array(reach), "kinds": np.array(json.dumps([asdict(kind)]))}


def draw(root, *arguments, hash_seed="0"):
    environment = os.environ | {"LSM_ROOT": str(root), "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "figure.py", "REGION=small", "DPI=80", *arguments]
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A folder in which figure.py has run once: root, paths, the finished process."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("figures")
        patch.setenv("LSM_ROOT", str(root))
        paths = make_inputs()
        yield root, paths, draw(root)


def numbers(paths, name):
    return pd.read_csv(paths.figure(name, "csv"))


def digests(paths, names, suffixes=("png", "pdf", "csv")):
    return {(n, s): hashlib.sha256(paths.figure(n, s).read_bytes()).hexdigest() for n in names for s in suffixes}


def left_out(printed: str) -> list[str]:
    """The lines on what figure.py left out."""
    return re.findall("^  (.*)$", printed.partition("left out:\n")[2].partition("class")[0], re.MULTILINE)


def test_every_figure_is_written_and_listed(drawn):
    _, paths, process = drawn
    assert process.returncode == 0, process.stderr
    assert not {f"figure {name}" for name in FIGURES} & {what for line in left_out(process.stdout)
                                                         for what in line.partition(":")[0].split(", ")}
    for name in FIGURES:
        for suffix, start in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("csv", b"")):
            content = paths.figure(name, suffix).read_bytes()
            assert content.startswith(start)
            assert len(content) > {"png": 4_000, "pdf": 4_000, "csv": 50}[suffix]
        assert f"wrote figs/small_{name}.png, .pdf, .csv\n" in process.stdout
    assert re.search(r"\nvery high +0\.8 +1 +\d+ +\d+\.\d\d +\d+\.\d%\n", process.stdout)  # km2, percent of the area
    assert not list(paths.map_raster.parent.glob(".*")), "temporary files left"


def test_class_shares_equal_a_count_of_the_raster(drawn):
    _, paths, _ = drawn
    dataset = gdal.Open(str(paths.map_raster))
    table, values = numbers(paths, "lsm_map"), dataset.ReadAsArray()
    known = values[values != -9999]
    edges = (0, 0.2, 0.4, 0.6, 0.8, 1.01)
    expected = [int(((known >= low) & (known < high)).sum()) for low, high in itertools.pairwise(edges)]
    assert list(table["class"]) == ["very low", "low", "moderate", "high", "very high"]
    assert list(table["cells"]) == expected
    assert table["share"].sum() == pytest.approx(1)
    np.testing.assert_allclose(table["share"], np.array(expected) / known.size, rtol=1e-8)
    np.testing.assert_allclose(table["area_km2"], np.array(expected) * CELL**2 / 1e6, rtol=1e-8)


def test_roc_encloses_the_auroc_of_the_saved_scores(drawn):
    _, paths, _ = drawn
    scores = pd.read_csv(paths.held_out)
    for when, curve in numbers(paths, "roc").groupby("adapted"):
        expected = roc_auc_score(scores["label"], scores[f"score_{when}"])
        assert auc(curve["false_positive_rate"], curve["true_positive_rate"]) == pytest.approx(expected, abs=1e-5)


def test_numbers_of_the_other_figures_are_those_saved(drawn):
    _, paths, _ = drawn
    assert numbers(paths, "inventory")["kind"].value_counts()["InSAR"] == 100
    given = pd.read_csv(paths.insar_points, encoding="utf-8-sig")
    insar = numbers(paths, "inventory").query("kind == 'InSAR'")
    np.testing.assert_allclose(insar["velocity"], -given["DV_InSAR"], atol=6e-4)  # towards the satellite, as DV
    np.testing.assert_allclose(insar[["X", "Y"]], given[["X", "Y"]], atol=6e-3)
    pd.testing.assert_frame_equal(numbers(paths, "deformation"), insar.reset_index(drop=True))
    blocks = numbers(paths, "blocks")
    assert (blocks["thin"] == (blocks["samples"] <= 16)).all()
    assert blocks["thin"].any()
    pd.testing.assert_frame_equal(numbers(paths, "pretraining"), pd.read_csv(paths.pretraining_history))
    pd.testing.assert_frame_equal(numbers(paths, "meta_training"), pd.read_csv(paths.history))
    metrics = pd.read_csv(paths.metrics, dtype={"block": str})
    shown = numbers(paths, "adaptation").astype({"block": str})
    assert set(shown["block"]) == set(metrics["block"])
    for when in ("before", "after"):
        saved = metrics[metrics["adapted"] == when].set_index("block")["accuracy"]
        np.testing.assert_allclose(shown.set_index("block")[when], saved[shown["block"]])


def test_meta_training_draws_every_kind_of_member(drawn, monkeypatch):
    root, paths, _ = drawn
    monkeypatch.setenv("LSM_ROOT", str(root))
    table = pd.read_csv(paths.history)
    fig, _ = training.meta_training(settings.constants(figure.Constants, ["REGION=small"]))
    losses, rates = fig.axes[:2], fig.axes[2:]
    assert [ax.get_title() for ax in losses] == ["local members", "regional members"]
    for kind, loss, rate in zip(("local", "regional"), losses, rates, strict=True):
        rows = table[table["kind"] == kind]
        *curves, chance = loss.get_lines()
        assert set(chance.get_ydata()) == {np.log(2)}
        drawn_lines = [*curves, rate.get_lines()[0]]
        for line, column in zip(drawn_lines, ("pre_loss", "post_loss", "inner_lr"), strict=True):
            np.testing.assert_array_equal(line.get_xydata(), rows[["iteration", column]])
    assert rates[0].get_ylim()[0] < 0  # of all kinds: inner rates may be negative


def caption(fig) -> str:
    return fig.texts[-1].get_text()


def test_legends_and_captions_of_points_agree(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    paths, c = make_inputs(), settings.constants(figure.Constants, ["REGION=small", "DPI=50"])

    def words(fig) -> list[str]:
        return [text.get_text() for text in fig.axes[1].get_legend().get_texts()]

    def after_seed(fig) -> str:
        return caption(fig).rpartition("seed 1")[2].strip(" ·\n")

    weak = area_maps.blocks(c)[0]
    assert after_seed(weak) == ("16 blocks, 500 samples: places, each counted once; weak landslides (InSAR) among the "
                                "landslides")
    paths.insar_points.unlink()
    inventory, blocks = area_maps.inventory(c)[0], area_maps.blocks(c)[0]
    assert after_seed(blocks) == "16 blocks, 500 samples: places, each counted once"
    assert all(re.search(r": [\d,]+$", text) for text in words(inventory) + words(blocks))
    assert caption(inventory).endswith("400 samples")
    table = pd.read_csv(paths.samples_without_insar)
    pd.concat([table, table[:1]]).to_csv(paths.samples_without_insar, index=False)
    assert "401 rows at 400 places: rows that repeat a place are drawn" in caption(area_maps.inventory(c)[0])


@pytest.mark.parametrize(("sizes", "expected"), [
    ((29, 31, 62), ["block, 29 samples", "block, 62 samples"]), ((29, 31, 30), ["block, 29 to 31 samples"]),
    ((29, 29, 29), ["block, 29 samples"])])
def test_the_legend_shows_the_smallest_and_the_largest_block(tmp_path, monkeypatch, sizes, expected):
    """One circle alone where both would look the same."""
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    paths, c = make_inputs(), settings.constants(figure.Constants, ["REGION=small"])
    table = pd.read_csv(paths.metrics, dtype={"block": str})
    samples = dict(zip(("5", "6", "9"), sizes, strict=True)) | {"all": sum(sizes)}
    table = table[table["block"].isin(list(samples))]
    artifacts.write_csv(paths.metrics, table.assign(samples=table["block"].map(samples)), LEARNER, CONSTANTS, [])
    labels = [text.get_text() for text in training.adaptation(c)[0].axes[0].get_legend().get_texts()]
    assert labels == [*expected, "all samples", "no change"]


def test_the_caption_says_why_a_fitted_start_may_lose_by_adapting(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    paths, c = make_inputs(), settings.constants(figure.Constants, ["REGION=small", "DPI=50"])
    for bends in (False, True):
        artifacts.write_npz(paths.model, model(900.0, bends), LEARNER, CONSTANTS, [])
        said = caption(training.meta_training(c)[0]).replace("\n", " ")
        assert "Losses are of training tasks, not of held-out samples." in said
        assert ("start from a fit" in said) == bends
        assert ("The loss after adaptation should fall; the loss before it may rise" in said) != bends


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB (n, 3) of sRGB colours (n, 3), white D65 (CIE 15:2004), where distances are those that people see."""
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = linear @ np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]])
    f = np.cbrt(xyz / [0.9505, 1, 1.089])
    f = np.where(f > 6 / 29, f, (f**3 * 841 / 108) + 4 / 29)
    return np.column_stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])])


def test_shaded_classes_keep_their_colours():
    """On the darkest slope a class is less than half as far from its own colour as from another's."""
    tones = np.array([to_rgb(colour) for colour in settings.constants(figure.Constants, []).CLASS_COLOURS])
    apart = np.linalg.norm(lab(tones * cartography.dimmed(np.zeros(1)))[:, None] - lab(tones), axis=2)
    changed = np.diag(apart).copy()
    np.fill_diagonal(apart, np.inf)
    assert (2 * changed < apart.min(axis=1)).all()


def test_figures_of_a_forecast_show_no_adaptation(tmp_path, monkeypatch):
    """FORECAST leaves X, Y and adaptation out: the reach of the model is 0, and the map says so."""
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    paths, c = make_inputs(), settings.constants(figure.Constants, ["REGION=small", "DPI=50"])
    artifacts.write_npz(paths.model, model(0.0), LEARNER, CONSTANTS, [])
    found = gdal.Open(str(paths.map_raster))
    windows = [(0, 0, found.ReadAsArray())]
    with artifacts.artifact(paths.map_raster, PREDICTION, CONSTANTS, [paths.composite]) as temporary:
        rasters.write_windows(temporary, windows, rasters.Grid.of(found), "p", metadata=gis.forecast(False))

    fig, curve = training.roc(c)
    assert set(curve["adapted"]) == {"before"}
    assert "of all years (FORECAST=True)" in caption(fig)
    assert "The map uses the model before adaptation (FORECAST)." in caption(training.meta_training(c)[0]).replace(
        "\n", " ")
    assert "FORECAST=True: X, Y and adaptation left out" in caption(area_maps.lsm_map(c)[0])
    left = paths.figure("adaptation", "png")
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"of an earlier run")
    with pytest.raises(NothingToDraw):
        figure.main(replace(c, ONLY="adaptation"))
    assert not left.exists()


def test_all_files_that_figures_read_are_known_to_make():
    """By the properties of Paths in the code of the figures."""
    known = {name for name, value in vars(Paths).items() if isinstance(value, property)}
    nodes = [node for path in (PROJECT / "lsm/figures").rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))]
    asked = {node.attr for node in nodes
             if isinstance(node, ast.Attribute) and ast.unparse(node.value).lower().startswith("paths")}
    assert {"composite", "history", "scores"} < asked & known
    assert asked & known <= {*common.READ, "breaks"}
    assert set(common.READ) <= known
    assert {source for source, *_ in pictures.FIGURES.values()} <= set(common.READ)


def test_a_figure_has_a_record_until_it_cannot_be_drawn(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    paths, c = make_inputs(), settings.constants(figure.Constants, ["REGION=small", "DPI=50"])
    monkeypatch.setattr(figure, "figures", lambda: {"roc": training.roc, "lsm_map": area_maps.lsm_map})
    figure.main(c)
    record = artifacts.read_record(paths.figure("roc", "png"), "figure.py")
    assert (record["region"], record["constants"]["DPI"]) == ("small", 50)
    assert {"checkpoint_dir/small_heldout.csv", "figs/LSM_small.tif"} < set(record["inputs"])
    assert "tmp/small_breaks.json" not in record["inputs"]
    assert "tmp/small_breaks.json" in artifacts.read_record(paths.figure("lsm_map", "png"), "figure.py")["inputs"]
    paths.held_out.unlink()
    figure.main(c)
    assert not artifacts.record_path(paths.figure("roc", "png")).exists()  # of an earlier run, and no more
    assert artifacts.record_path(paths.figure("lsm_map", "png")).exists()


def test_second_run_writes_the_same_bytes(drawn):
    root, paths, _ = drawn
    first = digests(paths, FIGURES)
    assert draw(root, hash_seed="7").returncode == 0
    assert digests(paths, FIGURES) == first


def test_missing_input_skips_one_figure_and_names_the_stage(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    paths = make_inputs()
    paths.map_raster.unlink()
    paths.held_out.unlink()
    artifacts.write_csv(paths.history, pd.read_csv(paths.history), LEARNER, another_recipe(), [])
    process = draw(tmp_path)
    named = left_out(process.stdout)
    why = {name: line for line in named for name in line.partition(": ")[0].removeprefix("figure ").split(", figure ")}
    assert process.returncode == 0, process.stderr
    assert set(FIGURES) & set(why) == {"meta_training", "roc", "lsm_map"}
    assert why["meta_training"].endswith("found published; make map REGION=small makes it again")
    assert why["roc"].endswith("small_heldout.csv: missing; make map REGION=small makes it")
    assert why["lsm_map"].endswith("LSM_small.tif: missing; make map REGION=small makes it")
    others = [line for line in named if line not in [why[name] for name in FIGURES if name in why]]
    assert len(others) == len(set(others)) < 14  # one line for each reason, however many figures it concerns
    assert any(line.endswith("augmentation.csv: missing; python augment_inventory.py REGION=small makes it")
               for line in others)
    assert not any("non_landslides" in line for line in others)  # the area was not prepared from raw layers
    assert others[-4:] == ["make compare REGION=small adds other methods, with their figures",
                           "make explain REGION=small adds leading factors, with their figures",
                           "python check_region.py REGION=small adds checks of the inputs, with their figures",
                           "make report REGION=small then writes the report with them"]
    assert paths.figure("blocks", "png").is_file()
    assert not paths.figure("roc", "png").exists()


def test_only_draws_one_and_refuses_what_it_cannot(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    paths = make_inputs()
    paths.map_raster.unlink()
    assert draw(tmp_path, "ONLY=roc").returncode == 0
    assert sorted(p.name for p in paths.map_raster.parent.glob("small_*")) == [
        "small_roc.csv", "small_roc.pdf", "small_roc.png", "small_roc.png.json"]
    for only, message in (("lsm_map", "run predict_LSM.py first"), ("lsm_mapp", "did you mean lsm_map?"),
                          ("xyz", "--help lists them")):
        process = draw(tmp_path, f"ONLY={only}")
        assert process.returncode == 2
        assert message in process.stderr
        assert "Traceback" not in process.stderr


@pytest.mark.parametrize(("north", "expected"), [(9_561_000, "9560000"), (9_600_000, "9580")])
def test_northings_stand_in_full(north, expected):
    """In metres on a small map and in kilometres on a large one."""
    extent = (712_000, 716_000, 9_557_000, north)
    ground = map_page.MapTerrain(np.zeros((2, 2, 3)), np.ones((2, 2)), extent, ("CRS", "cells"))
    _, ax, _ = map_page.map_page(ground)
    ax.figure.canvas.draw()
    assert expected in [label.get_text() for label in ax.get_yticklabels()]


def test_outlines_separate_every_pair_of_neighbours():
    block = np.random.default_rng(1).integers(0, 3, (7, 9))
    lines = cartography.outlines(block, (0, 9, 0, 7))
    length = np.abs(lines[:, 1] - lines[:, 0]).sum()
    assert length == (block[1:] != block[:-1]).sum() + (block[:, 1:] != block[:, :-1]).sum()
    halves = cartography.outlines(np.repeat([[0], [1]], 4, axis=1), (10, 14, 20, 22))  # one border along y = 21
    assert halves.tolist() == [[[10, 21], [14, 21]]]


def test_shade_is_one_on_flat_ground_and_darker_to_the_south_east():
    row, col = np.mgrid[:5, :5]
    assert (cartography.hill_shade(np.zeros((5, 5)), 10, 10) == 1).all()
    facing_light, turned_away = (row + col) * 5.0, -(row + col) * 5.0  # rows run south, columns east
    assert (cartography.hill_shade(facing_light, 10, 10) == 1).all()
    assert (cartography.hill_shade(turned_away, 10, 10) < 0.7).all()


def another_recipe():
    return SimpleNamespace(**vars(CONSTANTS) | {"RECIPE": "published"})
