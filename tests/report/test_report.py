import base64
import html
import io
import json
import os
import re
import shutil
import time
import tomllib
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from conftest import contents, run_stage, succeed
from osgeo import gdal
from PIL import Image
from sklearn.metrics import roc_auc_score
from small_region import crs_of

import figure
from lsm.checks.finding import Finding
from lsm.comparison import measures
from lsm.inputs.factor.definition import Factor
from lsm.inputs.samples import Samples
from lsm.maps import gis, layer_tables, styles_qgis
from lsm.maps.cartography import SAMPLES, read_decimated
from lsm.report import facts, findings, map_layers, page, pictures, tables
from lsm.report.left_out import LeftOut
from lsm.run.artifacts import artifact, read_record, record_path, write_csv, write_npz
from lsm.run.paths import PROJECT, Paths, root
from lsm.run.settings import of_stage

MADE_SO = "REGION=demo K=64 LOCAL_ITERATIONS=60 REGIONAL_ITERATIONS=40 LOG_EVERY=20"  # of conftest.py
HOSTILE = "</script><img src=x onerror=alert(1)>"


def data_of(text: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def unpacked(grid: dict, frame: dict) -> np.ndarray:
    """The numbers of the page as its script reads them, nan where there is no number."""
    steps = np.frombuffer(zlib.decompress(base64.b64decode(grid["data"])), f"<u{grid['bits'] // 8}")
    steps = steps.reshape(frame["rows"], frame["cols"])
    return np.where(steps == 2**grid["bits"] - 1, np.nan, grid["low"] + grid["scale"] * steps)


# the parts -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("values", "error"), [
    (np.linspace(0, 1, 3000, dtype=np.float32), 1e-5), (np.linspace(-7, 90000, 3000), 0.7), (np.arange(3000), 0),
    (np.full(3000, 0.25, np.float32), 0), (np.arange(3000) * 34 + 7, 0), (np.arange(3000, dtype=np.int32) * 7000, 0)])
def test_packed_numbers_come_back(values, error):
    values, known = values.reshape(60, 50), np.random.default_rng(1).random((60, 50)) < 0.7
    found = unpacked(map_layers.packed(values, known), {"rows": 60, "cols": 50})
    assert (np.isnan(found) == ~known).all()
    assert np.abs(found - values)[known].max() <= error


def test_a_picture_shows_the_colours_it_is_given():
    index = np.arange(12).reshape(3, 4) % 4
    uri = map_layers.picture(index, ["#102030", "#ff0000", "#00ff80"])
    found = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGBA"))
    assert (found[..., 3] == np.where(index > 0, 255, 0)).all()
    assert [tuple(found[index == i][0][:3]) for i in (1, 2, 3)] == [(16, 32, 48), (255, 0, 0), (0, 255, 128)]


def test_the_highest_class_comes_first_in_legends_as_in_the_figures():
    c, p = of_stage("report.py"), np.array([[0.1, 0.9]])
    layer, index = map_layers.class_layer(p, p > 0, list(c.CLASS_BREAKS), c)
    assert [colour for colour, _ in layer.legend] == list(c.CLASS_COLOURS)[::-1]
    assert layer.legend[0][1].startswith("very high, 0.8 to 1 (50.0 %")
    assert index.tolist() == [[1, 5]]
    assert map_layers.probability_layer(p, p > 0, "", c).legend[0][1] == "1"


def test_samples_have_one_colour_in_the_report_and_in_qgis():
    root = ElementTree.fromstring(styles_qgis.sample_style())
    fills = [option.get("value") for option in root.iter("Option") if option.get("name") == "color"]
    assert fills == [",".join(map(str, bytes.fromhex(colour[1:]))) + ",255" for colour in SAMPLES.values()]


def test_steps_include_their_upper_limit():
    values = np.array([[0.05, 0.06, 0.1, 0.3]])
    steps = [(0.05, "#000001", "a"), (0.1, "#000002", "b"), (np.inf, "#000003", "c")]
    layer = map_layers.stepped("u", "U", values, values < 0.2, steps, "")
    image = Image.open(io.BytesIO(base64.b64decode(layer.picture.partition(",")[2])))
    assert np.asarray(image.convert("RGBA"))[0, :, 2].tolist()[:3] == [1, 2, 2]
    assert np.asarray(image.convert("RGBA"))[0, 3, 3] == 0


def leaky(values: np.ndarray, label: np.ndarray, **described) -> list:
    origin = np.where(label == 1, "inventory", "absence")
    factors = (Factor("f", unit="-", **described),)
    return findings.leaky({"factors": values[:, None].astype(np.float32)}, origin, factors, 0.9, "t")


def test_leaky_factors_are_named_and_noise_is_not():
    label, rng = np.repeat([0, 1], 200), np.random.default_rng(2)
    both_ways = np.where(label, rng.choice([-9, 9], 400), rng.normal(0, 1, 400))
    found, = leaky(both_ways, label, kind="continuous", zero_is_missing=True)  # a velocity counts without its sign too
    assert "f alone separates inventory landslides from non-landslides at AUROC" in found.found
    assert leaky(-label + rng.normal(0, 1e-3, 400), label, kind="continuous")
    assert leaky(np.where(label, 3, rng.choice([1, 2], 400)), label, kind="categorical")
    assert leaky(np.where(label, rng.choice([350, 10], 400), 180), label, kind="circular")
    assert not leaky(rng.random(400), label, kind="distance")
    noise = rng.integers(0, 60, 400)  # classes that mean nothing: the share of landslides in each would score .7
    share = (np.bincount(noise, label) / np.bincount(noise))[noise]
    assert roc_auc_score(label, share) > 0.65
    assert not findings.leaky({"factors": noise[:, None].astype(np.float32)},
                              np.where(label == 1, "inventory", "absence"),
                              (Factor("f", "categorical", "class"),), 0.6, "t")


def test_repeats_conflicts_and_thin_blocks_are_counted():
    xy = np.array([[0, 0], [0, 0], [1, 1], [1, 1], [2, 2.0]])
    samples = Samples(np.array([[1], [2], [3], [4], [4.0]]), xy, np.array([1, 0, 1, 1, 0], np.int8))
    assert [f.found for f in findings.doubtful_labels(samples, "s")] == [
        "2 rows repeat a place", "1 place holds both labels", "1 row repeats another row's factors",
        "landslides lie within 25% of the extent of all points", "60.0% landslides: 3, and 2 non-landslides"]
    blocks = pd.DataFrame({"block": [0, 1, 2], "cells": [10, 30, 60], "samples": [16, 17, 40],
                           "landslides": [8, 17, 20]})
    few, one = (f.found for f in findings.thin_blocks(blocks, 16, "b"))
    assert few == "1 of 3 blocks, 10.0 % of the area, have 16 samples or fewer: 0"
    assert one == "1 of 3 blocks, 30.0 % of the area, have samples of one class only: 1"
    blocks.loc[3], blocks.loc[4] = [3, 0, 0, 0], [4, 0, 5, 0]  # without samples; few, and of one class
    few, one = (f.found for f in findings.thin_blocks(blocks, 16, "b"))
    assert few == "3 of 5 blocks, 10.0 % of the area, have 16 samples or fewer: 0, 3, 4"
    assert one.startswith("2 of 5 blocks, 30.0 % of the area, have samples of one class only (1 of them also "
                          "16 samples or fewer): 1, 4")
    kept, = findings.fallen_back(np.array([0, 2, 0]), np.array([10, 30, 60]), "m")
    assert kept.found.startswith("1 of 3 blocks, 30.0 % of the area, keep the intermediate model")


def test_leading_factors_are_told_with_what_raises_the_susceptibility():
    blocks = pd.DataFrame({"samples": [3], "landslides": [1]})
    found = pd.DataFrame({"block": 0, "state": 0, "factor": ["DV", "slope", "aspect"], "rank": [1, 2, 3],
                          "sign": pd.array([-1, 1, None], "Int64"), "mean_abs_shap": [2.0, 1.0, 1.0]})
    block, = map_layers.block_popups(blocks, None, None, found, 5)
    assert block["leaders"] == [["DV", "motion away from the satellite raises it", 0.5],
                                ["slope", "larger values raise it", 0.25], ["aspect", "", 0.25]]


def test_own_units_are_named():
    blocks = pd.DataFrame({"samples": [3, 40], "landslides": [1, 9], "unit": ["Kaghan", "Swat"]})
    assert [one["unit"] for one in map_layers.block_popups(blocks, None, None, None, 5)] == ["Kaghan", "Swat"]
    inputs = [{"file": "maps/units.shp", "sha256": "0123456789abcdef"}]
    for given, words in (("maps/units.shp|field=cat", "own units: maps/units.shp|field=cat, sha256 0123456789ab"),
                         ("", "superpixels of the terrain (SLIC)")):
        found = {"constants": {"scene_sampling.py": {"BLOCKS": given}}, "inputs": inputs}
        assert tables.blocks_words(found) == words


@pytest.mark.parametrize("blocks", [2, tables.FEW + 1])
def test_few_blocks_are_shown_one_by_one_and_many_by_what_a_share_reaches(blocks):
    one = dict.fromkeys(tables.MEASURES, 0.5)
    rows = [{"block": "all", "adapted": when, "samples": 10 * blocks, "landslides": blocks} | one
            for when in ("before", "after")]
    rows += [{"block": str(b), "adapted": when, "samples": 10, "landslides": 1} | one
             | dict.fromkeys(("auroc", "brier"), b / 10) for b in range(blocks) for when in ("before", "after")]
    found = tables.held_out(pd.DataFrame(rows), None, True)
    assert (found["blocks"], found["samples"], found["landslides"]) == (blocks, 10 * blocks, blocks)
    brier = 1 + list(tables.MEASURES).index("brier")
    shown = {row[0]: (row[1], row[brier]) for row in found["rows"][2:]}  # AUROC comes first
    assert [row[0] for row in found["rows"][:2]] == ["all points, before adaptation", "all points, after adaptation"]
    few = {"block 0 (10 points), after": ("0.000", "0.000"), "block 1 (10 points), after": ("0.100", "0.100")}
    many = {f"{what} of the blocks are as good or better, after": values for what, values in (
        ("a quarter", ("0.450", "0.150")), ("half", ("0.300", "0.300")), ("three quarters", ("0.150", "0.450")))}
    assert shown == (few if blocks == 2 else many)
    forecast = tables.held_out(pd.DataFrame(rows), None, False)
    assert not forecast["adapts"]
    assert not any("adaptation" in row[0] or "after" in row[0] for row in forecast["rows"])


@pytest.mark.parametrize(("how", "samples", "adapts", "words"), [
    ("all", 4999, True, " learned from these points and adapt on them too."),
    ("half", 4999, True, " learned from these points and adapt on some of them too."),
    ("all", 4999, False, " learned from these points too."), ("all", 5000, True, " adapt on these points too."),
    ("half", 5000, True, " adapt on some of these points too."), ("half", 5000, False, "")])
def test_what_the_map_knows_of_the_held_out_points_is_said(how, samples, adapts, words):
    constants = {"predict_LSM.py": {"ADAPT_WITH": how}, "meta_learner.py": {"TRAIN_ON_ALL": "5000"}}
    assert tables.words_of_map(constants, samples, adapts) == "The models of the map" * bool(words) + words
    assert tables.words_of_map({}, samples, adapts) == ""


@pytest.mark.parametrize(("blocks", "drawn"), [(2, "points"), (40, "blocks")])
def test_the_auroc_has_an_interval_of_blocks_or_of_points_where_blocks_are_few(blocks, drawn, monkeypatch):
    monkeypatch.setattr(measures, "DRAWN", 150_000)  # resamples come in several parts
    rng = np.random.default_rng(3)
    label = np.tile([0, 1], 200)
    score = np.clip(0.4 + 0.2 * label + rng.normal(0, 0.2, 400), 0, 1)
    points = pd.DataFrame({"block": np.arange(400) % blocks, "label": label, "score_after": score})
    low, high, found = tables.interval_of(points)
    auroc = roc_auc_score(label, score)
    assert found == drawn
    assert 0.02 < auroc - low < 0.08  # 1.96 standard errors of Hanley and McNeil (1982) are 0.047
    assert 0.02 < high - auroc < 0.08
    assert tables.interval_of(points) == (low, high, found)
    low, high, _ = tables.interval_of(points.assign(label=1))
    assert np.isnan([low, high]).all()


def test_scores_of_few_blocks_or_points_are_called_rough():
    one = dict.fromkeys(tables.MEASURES, 0.5)

    def held(blocks: int, landslides: int) -> dict:
        rows = [{"block": name, "adapted": when, "samples": 200, "landslides": landslides} | one
                for name in ("all", *map(str, range(blocks))) for when in ("before", "after")]
        return tables.held_out(pd.DataFrame(rows), None, True)

    assert [held(*given)["few"] for given in ((10, 100), (9, 100), (10, 49), (10, 151))] == [False, True, True, True]
    few, = findings.few_held_out(held(2, 41), "andes", "m.csv")
    assert "AUROC 0.500 from 2 held-out blocks with 41 landslides and 159 non-landslides" in few.found


def test_scores_of_guesses_are_called_so():
    rng = np.random.default_rng(3)
    label = np.tile([0, 1], 200)
    rows = [{"block": "all", "adapted": when, "samples": 400, "landslides": 200} | dict.fromkeys(tables.MEASURES, 0.5)
            for when in ("before", "after")]

    def held(score: np.ndarray) -> dict:
        points = pd.DataFrame({"block": np.arange(400) % 20, "label": label, "score_after": score})
        return tables.held_out(pd.DataFrame(rows), points, True)

    assert not held(0.4 + 0.2 * label + rng.normal(0, 0.2, 400))["chance"]
    guessed = held(rng.uniform(size=400))
    assert guessed["chance"]
    found, = findings.no_better_than_chance(guessed, "m.csv")
    assert f"95 % interval {guessed['interval']}: guessing has 0.5" in found.found


def test_a_map_that_hardly_adapts_is_named():
    state, cells = np.array([0, 0, 1]), np.array([30, 10, 50])
    found, = findings.little_adapted(state, np.array([0.2, 0.6, 0.0]), cells, "m")
    assert found.found.startswith("2 blocks adapted, but by a share of 0.30 only")
    assert not findings.little_adapted(state, np.array([0.6, 0.3, 0.0]), cells, "m")
    assert not findings.little_adapted(np.array([1, 2, 3]), np.zeros(3), cells, "m")


@pytest.mark.parametrize(("label", "what"), [(0, "non-landslides"), (1, "landslides")])
def test_held_out_points_of_one_class_are_named(label, what):
    rows = [{"block": b, "adapted": when, "samples": n, "landslides": n * label, **dict.fromkeys(tables.MEASURES, 0.5),
             "auroc": np.nan} for b, n in (("all", 9), ("3", 4), ("5", 5)) for when in ("before", "after")]
    points = pd.DataFrame({"block": [3, 5], "label": label, "score_after": [0.2, 0.3]})
    held = tables.held_out(pd.DataFrame(rows), points, True)
    assert (held["one_class"], held["interval"], held["auroc"], held["chance"]) == (what, "", "–", False)
    found, = findings.of_one_class(held, "m")
    assert found.found.startswith(f"the 9 held-out points in 2 blocks are all {what}: no score tells")


def test_blocks_that_adapted_in_part_are_named():
    state, support = np.array([0, 4, 2, 4, 1]), np.array([[9, 30], [5, 30], [0, 0], [0, 30], [0, 0]])
    found, = findings.in_part(state, np.array([30, 10, 30, 10, 20]), "m")
    assert found.found.startswith("2 of 5 blocks, 20.0 % of the area, adapted in part: 1, 3; some members keep the")
    assert not findings.in_part(np.array([0, 2]), np.ones(2), "m")
    line, *_ = layer_tables.how_adapted(state, support, np.array([1, 0.5, 0, 0.5, 0]), np.inf)
    assert line == ("5 blocks: 3 adapted, 1 of them on samples of other blocks alone; 2 of the adapted in part, "
                    "since some members find no samples near, or samples of one class; not adapted, since no samples "
                    "are near: 1; not adapted, since their samples are of one class: 1")
    assert styles_qgis.block_style().count("adapted in part") == 1  # a style for each state


def test_every_figure_there_is_has_a_caption():
    assert set(pictures.FIGURES) == set(figure.figures())
    paths = Paths("demo")
    for attribute, stage, _ in pictures.FIGURES.values():
        assert getattr(paths, attribute)
        assert (PROJECT / stage.split()[0]).is_file()


@pytest.mark.parametrize(("change", "more"), [
    ({}, None), ({"BREAKS": "quantile"}, "BREAKS=quantile"), ({"CLASS_NAMES": ("a", "b", "c", "d", "none")}, "'CLASS_"),
    ({"CLASS_BREAKS": (0.1, 0.4, 0.6, 0.8)}, "'CLASS_BREAKS=(0.1, 0.4, 0.6, 0.8)'")])
def test_a_map_in_other_classes_is_not_shown(change, more, tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    monkeypatch.setattr(pictures, "reason_against", lambda *_: "")
    drawn, c, paths = of_stage("report.py"), replace(of_stage("report.py"), **change), Paths("demo")
    paths.map_raster.parent.mkdir()
    paths.map_raster.touch()
    with artifact(paths.figure("lsm_map", "png"), "figure.py", drawn, [paths.map_raster]) as temporary:
        Image.new("RGB", (8, 8)).save(temporary, "png")
    edges = (0, *drawn.CLASS_BREAKS, 1)
    pd.DataFrame({"class": drawn.CLASS_NAMES, "from": edges[:-1], "to": edges[1:], "cells": 1}).to_csv(
        paths.figure("lsm_map", "csv"), index=False)
    left_out, breaks = LeftOut("demo"), [0.1, 0.2, 0.3, 0.9] if "BREAKS" in change else list(c.CLASS_BREAKS)
    found = pictures.gather(paths, breaks, c, left_out)
    reason = " ".join(left_out.lines())
    assert [figure["name"] for figure in found] == ["lsm_map"] * (more is None)
    assert ("lsm_map: drawn in other classes than this page" in reason) == (more is not None)
    assert more is None or f"make figures REGION=demo {more}" in reason


def test_a_figure_counts_by_the_contents_of_its_numbers(tmp_path, monkeypatch):
    """Another region's run makes stage 1 anew: the same history once more, newer than the figure."""
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    paths, c, stage = Paths("isle"), of_stage("report.py", REGION="isle"), pictures.FIGURES["pretraining"][1]
    path = paths.figure("pretraining", "png")

    def shown_figures() -> list[str]:
        return [figure["name"] for figure in pictures.gather(paths, [], c, LeftOut("isle"))]

    def write_history(error: float) -> None:
        write_csv(paths.pretraining_history, pd.DataFrame({"layer": [1], "epoch": 1, "error": error}), stage, c, [])

    write_history(0.5)
    with artifact(path, "figure.py", c, [paths.pretraining_history]) as temporary:
        Image.new("RGB", (8, 8)).save(temporary, "png")
    os.utime(path, (0, 0))
    write_history(0.5)
    assert shown_figures() == ["pretraining"]
    write_history(0.4)
    assert shown_figures() == []


def test_a_figure_of_an_earlier_run_gets_no_remedy_that_draws_nothing(tmp_path, monkeypatch):
    """figure.py removes the record of a figure that the numbers of now do not make."""
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    monkeypatch.setattr(pictures, "reason_against", lambda *_: "")
    path, left_out = Paths("isle").figure("measures_random", "png"), LeftOut("isle")
    path.parent.mkdir()
    path.touch()
    assert pictures.gather(Paths("isle"), [], of_stage("report.py", REGION="isle"), left_out) == []
    assert not [line for line in left_out.lines() if "measures_random" in line]


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """Records and scores of prepare_region.py for an area, as of a run with STRATEGY=buffer."""
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    paths, layer = Paths("isle"), tmp_path / "layers" / "dem.tif"
    layer.parent.mkdir()
    layer.write_text("heights")
    c = SimpleNamespace(**vars(of_stage("prepare_region.py", REGION="isle", STRATEGY="buffer", BUFFER=450.0)))
    with artifact(paths.composite, "prepare_region.py", c, [layer]) as temporary:
        temporary.write_text("terrain")
    table = pd.DataFrame({"strategy": ["random", "slope", "buffer"], "landslides": 20, "non_landslides": [20, 19, 9],
                          "auroc": [0.8, np.nan, 0.9712], "chosen": [False, False, True]})
    write_csv(paths.strategies, table, "prepare_region.py", c, [layer])
    return paths


def test_how_an_area_was_prepared_is_told(prepared, tmp_path):
    found = tables.preparation(prepared)
    assert found["words"] == "cells 450.0 m and more from landslides (STRATEGY=buffer), seed 1"
    assert found["chosen"] == "0.971"
    assert found["rows"] == [["random", "20", "0.800"], ["slope", "19", "–"], ["buffer (of this map)", "9", "0.971"]]
    (tmp_path / "layers" / "dem.tif").write_text("other heights")  # the area is as it was
    made = tables.provenance(prepared, SimpleNamespace(REGION="isle", RECIPE="recommended", SEED=3))
    assert made["constants"]["prepare_region.py"]["BUFFER"] == "450.0"
    assert [row["file"] for row in made["inputs"]] == ["layers/dem.tif"]
    assert [row["verdict"] for row in made["files"]] == [""]


def test_scores_of_another_preparation_and_an_edited_area_are_not_told(prepared):
    c = SimpleNamespace(**vars(of_stage("prepare_region.py", REGION="isle", STRATEGY="slope")))
    write_csv(prepared.strategies, pd.read_csv(prepared.strategies), "prepare_region.py", c, [])
    found = tables.preparation(prepared)
    assert (found["rows"], found["chosen"]) == ([], "–")
    assert found["words"].startswith("cells 450.0 m and more from landslides (STRATEGY=buffer), seed 1, or places that")
    prepared.composite.write_text("another terrain")
    assert tables.preparation(prepared) == {"words": "", "chosen": "–", "rows": []}
    record_path(prepared.composite).unlink()  # a person's own
    made = tables.provenance(prepared, SimpleNamespace(REGION="isle", RECIPE="recommended", SEED=3))
    assert made["files"] == []


def test_factors_and_preparation_stand_in_the_table_of_the_run():
    raster = gdal.GetDriverByName("MEM").Create("", 2, 2)
    raster.SetSpatialRef(crs_of(32650))
    c = SimpleNamespace(REGION="isle", BREAKS="fixed", factors=(Factor("rain", "continuous", "mm"),))
    run = dict(facts.of_run({"recipe": "recommended", "seed": 1}, raster, "", [0.5], {"constants": {}, "versions": {}},
                            {"model": None, "models": None}, {"words": "cells as steep"}, c))
    assert run["Factors"] == "rain (continuous, mm)"
    assert run["Non-landslides"] == "cells as steep"


def test_leaflet_comes_without_its_neighbours():
    assert "url(" not in page.library("leaflet.css")
    assert "sourceMappingURL" not in page.library("leaflet.js")
    assert "Leaflet 1" in page.library("leaflet.js")


def test_the_package_ships_what_the_page_is_made_of():
    listed = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {p.name for p in (PROJECT / "lsm/report").iterdir() if p.is_file() and p.suffix != ".py"}
    assert set(listed["package-data"]["lsm.report"]) == found
    assert "lsm*" in listed["packages"]["find"]["include"]


# the stage, as a user runs it ------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def reported(exported, tmp_path_factory):
    """The root of the demo area after stages 6 to 9 (two figures), and what the report printed."""
    root = tmp_path_factory.mktemp("reported") / "root"
    shutil.copytree(exported[0], root)
    for name in ("lsm_map", "roc"):
        succeed(root, "figure.py", f"ONLY={name}")
    return root, succeed(root, "report.py")


def html_of(root) -> str:
    return (root / "figs/report_demo.html").read_text(encoding="utf-8")


class References(HTMLParser):
    """Every attribute that makes a browser fetch or go somewhere."""

    def __init__(self):
        super().__init__()
        self.found, self.without_alt = set(), 0

    def handle_starttag(self, tag, attrs):
        self.found |= {value for name, value in attrs if name in ("src", "href", "srcset", "action", "data", "poster")}
        self.without_alt += tag == "img" and "alt" not in dict(attrs)


def test_all_is_inside_one_small_file(reported):
    text, parser = html_of(reported[0]), References()
    parser.feed(text)
    assert {value for value in parser.found if not value.startswith(("data:", "#"))} == set()
    assert parser.without_alt == 0
    assert len(text) < 4e6
    assert str(reported[0]) not in text
    assert f"\n  make compare {MADE_SO} adds other methods, with their figures\n" in reported[1]


def test_numbers_of_the_page_are_those_of_the_rasters(reported):
    root, _ = reported
    data = data_of(html_of(root))
    for name, file in (("probability", "LSM_demo"), ("uncertainty", "demo_uncertainty"),
                       ("applicability", "demo_applicability")):
        band = gdal.Open(str(root / f"figs/{file}.tif")).ReadAsArray().astype(float)
        band[band == -9999] = np.nan
        np.testing.assert_allclose(unpacked(data["grids"][name], data["frame"]), band, atol=1e-4)
    classed = gdal.Open(str(root / "figs/demo_class.tif")).ReadAsArray()
    assert (np.nan_to_num(unpacked(data["grids"]["class"], data["frame"])) == classed).all()
    importance = pd.read_csv(root / "tmp/demo_importance.csv")
    first = importance[(importance["rank"] == 1) & (importance["state"] == 0)].set_index("block")["factor"]
    assert {b: block["leaders"][0][0] for b, block in enumerate(data["blocks"]) if "leaders" in block} == dict(first)


def test_scores_figures_and_constants_are_in(reported):
    root, _ = reported
    text = html_of(root)
    metrics = pd.read_csv(root / "checkpoint_dir/demo_metrics.csv")
    after = metrics[(metrics["block"] == "all") & (metrics["adapted"] == "after")]
    assert f"<td>{after['auroc'].iloc[0]:.3f}</td>" in text
    assert text.count("<figure>") == 2
    record = json.loads((root / "figs/report_demo.html.json").read_text())
    assert {"figs/demo_roc.png", "tmp/demo_gis.csv"} < set(record["inputs"])
    for name, value in (("LOCAL_ITERATIONS", 60), ("K", 64), ("EXPLAINED", 6)):
        assert f'<code>{name}</code></th><td><code>{value}</code>' in text
    assert "land use (categorical, class), lithology (categorical, class), DEM (continuous, m)" in text
    assert "The points that a held-out block adapts on lie among the points it is scored on" in text
    assert "The encoder and the pretraining saw the factors of these points. The models of the map " in text
    assert "A quick model on whole squares" not in text  # prepare_region.py did not make the demo


def test_stages_1_to_4_are_enough_and_the_same_bytes_come_again(copy_of_demo):
    printed = succeed(copy_of_demo, "report.py")
    lines = re.findall("^  (.*)$", printed, re.MULTILINE)
    assert lines[-5:] == [f"make compare {MADE_SO} adds other methods, with their figures",
                          f"make explain {MADE_SO} adds leading factors, with their figures",
                          f"make gis {MADE_SO} adds applicability and uncertainty",
                          "python check_region.py REGION=demo adds checks of the inputs, with their figures",
                          f"make report {MADE_SO} then writes the report with them"]
    assert "augment" not in printed  # the demo's stage 0 and preparation are no part of its graph
    assert "prepare_region" not in printed
    first = html_of(copy_of_demo)
    for line in lines:
        assert html.escape(line, quote=True).replace("&#x27;", "&#39;") in first
    succeed(copy_of_demo, "report.py")
    assert html_of(copy_of_demo) == first
    record = json.loads((copy_of_demo / "figs/report_demo.html.json").read_text())
    assert record["stage"] == "report.py"
    assert "figs/LSM_demo.tif" in record["inputs"]
    assert {"tmp/demo_importance.csv", "tmp/demo_checks.csv", "figs/demo_roc.png"} < set(record["without"])


@pytest.mark.slow
def test_a_map_for_which_places_do_not_count_says_so(copy_of_demo):
    """As FORECAST=True makes it where older landslides do not tell newer ones: a reach of 0."""
    paths = Paths("demo")
    record = read_record(paths.model, "meta_learner.py")
    made = record["constants"] | {"REGION": "demo", "RECIPE": record["recipe"], "SEED": record["seed"],
                                  "FORECAST": True}
    with np.load(paths.model) as file:
        model = dict(file) | {"reach": np.array(0.0)}
    inputs = [root() / name for name in record["inputs"]]
    write_npz(paths.model, model, "meta_learner.py", SimpleNamespace(**made), inputs)
    for other in (paths.metrics, paths.held_out, paths.split):  # of the same run
        of_other = json.loads(record_path(other).read_text())
        of_other["constants"]["FORECAST"] = True
        record_path(other).write_text(json.dumps(of_other))
    said = succeed(copy_of_demo, "predict_LSM.py")
    assert "blocks: all keep the intermediate model (FORECAST" in said
    assert ": 0 by adapted blocks, " in said
    assert set(np.load(paths.models)["state"]) == {3}
    assert gis.forecast_of(gdal.Open(str(paths.map_raster))) == gis.LEFT_OUT
    succeed(copy_of_demo, "report.py")
    text = re.sub(r"<[^>]+>", "", html_of(copy_of_demo))
    for true in ("from one model for all blocks: a forecast of newer landslides", "by one model for all blocks",
                 "No block adapted, as in the map.", "FORECASTTrue: X, Y and adaptation left out",
                 "true, but FORECAST left X and Y out", "held-out scores are of landslides of all years"):
        assert true in text
    for untrue in ("one for each block", "by the models of its block", "each block adapted", "after adaptation",
                   "keep the intermediate model, not adapted"):
        assert untrue not in text


def test_without_a_map_there_is_no_report(copy_of_demo):
    (copy_of_demo / "figs/LSM_demo.tif").unlink()
    before = contents(copy_of_demo)
    done = run_stage(copy_of_demo, "report.py")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("figs/LSM_demo.tif: missing; run predict_LSM.py first")
    assert contents(copy_of_demo) == before


def test_files_of_another_run_are_said_so_and_not_used(reported, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(reported[0], root)
    with open(root / "tmp/demo_importance.csv", "a") as file:
        file.write("0,slope,9,1,9,9,1,1,0\n")
    (root / "figs/demo_roc.png.json").unlink()
    record = root / "figs/demo_uncertainty.tif.json"
    record.write_text(record.read_text().replace('"recommended"', '"published"'))
    printed, text = succeed(root, "report.py"), html_of(root)
    said = f"demo_importance.csv: is not the file its record describes; make explain {MADE_SO} makes it again"
    assert said in printed
    assert f"expected recipe recommended, found published; make gis {MADE_SO} makes it again\n" in printed
    assert "roc: missing, or of an earlier run; make figures" in printed
    assert f"of another run, not used: tmp/{said}" in text
    data = data_of(text)
    assert not any("leaders" in block for block in data["blocks"])
    assert "uncertainty" not in data["grids"]
    assert "Figure roc" not in text


def test_a_large_map_is_decimated_and_says_so(copy_of_demo):
    succeed(copy_of_demo, "report.py", "LARGEST=50", "POINTS=30")
    text = html_of(copy_of_demo)
    data = data_of(text)
    expected, known, _, _ = read_decimated(copy_of_demo / "figs/LSM_demo.tif", 50, average=False)
    found = unpacked(data["grids"]["probability"], data["frame"])
    np.testing.assert_allclose(found, np.where(known, expected, np.nan), atol=1e-5)
    assert "The raster is decimated" in text
    assert len(zlib.decompress(base64.b64decode(data["samples"]))) == 30 * 3 * 8


def test_what_tables_say_is_escaped(copy_of_demo):
    constants = SimpleNamespace(REGION="demo", RECIPE=None, SEED=1)
    table = pd.DataFrame([vars(Finding(HOSTILE, "a.csv", "error", HOSTILE, HOSTILE))])
    write_csv(Paths("demo").checks, table, "check_region.py", constants, [])
    rows = [{"block": 0, "factor": HOSTILE, "mean_abs_shap": 1.0, "sign": None, "rank": 1, "state": 0}]
    write_csv(Paths("demo").importance, pd.DataFrame(rows), "feature_permutation.py", constants, [])
    succeed(copy_of_demo, "report.py", f"NOTES=(('demo', {HOSTILE!r}),)")
    text = html_of(copy_of_demo)
    assert HOSTILE not in text
    assert text.count("&lt;/script&gt;&lt;img") >= 4
    assert data_of(text)["blocks"][0]["leaders"][0][0] == HOSTILE


# in a browser, from the disk -------------------------------------------------------------------------------------

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync")


@pytest.fixture(scope="module")
def browser(reported, tmp_path_factory):
    """Chromium with the report open."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("no chromium and chromedriver: the report was not opened in a browser (apt-get install chromium "
                    "chromium-driver)")
    from selenium import webdriver
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}", "--window-size=1300,900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options, webdriver.ChromeService(driver))
    opened.get((reported[0] / "figs/report_demo.html").as_uri())
    wait(lambda: opened.execute_script("return document.body.dataset.ready"))
    yield opened
    opened.quit()


def wait(until, seconds=20):
    end = time.monotonic() + seconds
    while not (found := until()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found


def answer(browser) -> dict[str, str]:
    """The page's answer to the last click."""
    return browser.execute_script("return Object.fromEntries([...document.querySelectorAll('#answer dl div')].map("
                                  "line => [...line.children].map(cell => cell.textContent)))")


def go_to(browser, x, y) -> dict[str, str]:
    browser.execute_script("const form = document.getElementById('goto'); form.elements.x.value = arguments[0];"
                           "form.elements.y.value = arguments[1]; form.requestSubmit()", f"{x:.3f}", f"{y:.3f}")
    return answer(browser)


def test_places_are_answered_with_the_numbers_of_the_rasters(browser, reported):
    figs = reported[0] / "figs"
    maps = {name: gdal.Open(str(figs / f"{file}.tif")) for name, file in (
        ("Probability", "LSM_demo"), ("Uncertainty", "demo_uncertainty"), ("Applicability", "demo_applicability"))}
    blocks = gdal.Open(str(reported[0] / "metatask_sampling/demo_blocks.tif")).ReadAsArray()
    classed = gdal.Open(str(figs / "demo_class.tif")).ReadAsArray()
    names = ("very low", "low", "moderate", "high", "very high")
    west, width, _, north, _, height = maps["Probability"].GetGeoTransform()
    known = np.argwhere(maps["Probability"].ReadAsArray() >= 0)
    for row, col in known[np.random.default_rng(5).choice(len(known), 12)]:
        found = go_to(browser, west + (col + 0.9) * width, north + (row + 0.1) * height)
        for name, dataset in maps.items():
            expected = dataset.ReadAsArray()[row, col]
            assert float(found[name].split(",")[0]) == pytest.approx(expected, abs=6e-4 if name[0] == "A" else 7e-5)
        assert found["Class"] == names[classed[row, col] - 1]
        assert found["Block"] == str(blocks[row, col])
    assert go_to(browser, west - 1e5, north)[""] == "outside the map"


def test_a_click_asks_for_the_place_under_it(browser, reported):
    from selenium.webdriver.common.action_chains import ActionChains
    target = browser.find_element("id", "map")
    assert target.is_displayed()
    assert target.size["width"] > 500
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", target)
    map_raster = gdal.Open(str(reported[0] / "figs/LSM_demo.tif"))
    west, width, _, north, _, height = map_raster.GetGeoTransform()
    p, seen = map_raster.ReadAsArray(), set()
    go_to(browser, west + p.shape[1] / 2 * width, north + p.shape[0] / 2 * height)
    time.sleep(0.6)  # the map glides there
    for right, down in ((-90, -40), (60, 50), (10, 90)):
        ActionChains(browser).move_to_element_with_offset(target, right, down).click().perform()
        found = answer(browser)
        x, y = (float(found[name].removesuffix(" m").replace(",", "")) for name in ("Easting", "Northing"))
        # The page rounds to metres: near a border the cell may be the next one.
        near = {p[int((y + dy - north) // height), int((x + dx - west) // width)] for dx in (-1, 1) for dy in (-1, 1)}
        said = found["Probability"]
        assert any(f"{v:.4f}"[:5] == said[:5] if v >= 0 else said.startswith("none") for v in near)
        seen.add((x, y))
    assert len(seen) == 3


def test_keys_are_enough(browser):
    from selenium.webdriver.common.keys import Keys
    target = browser.find_element("id", "map")
    browser.execute_script("document.getElementById('answer').replaceChildren()")
    target.send_keys(Keys.ENTER)
    first = wait(lambda: answer(browser))
    target.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    time.sleep(0.6)  # the map glides
    target.send_keys(Keys.ENTER)
    assert answer(browser)["Easting"] != first["Easting"]
    browser.find_element("css selector", "#themes input[value=class]").send_keys(Keys.ARROW_RIGHT)
    assert browser.find_element("id", "key-name").text == "Probability"
    figure = browser.find_element("css selector", "figure button")
    figure.send_keys(Keys.ENTER)
    dialog = browser.find_element("id", "large")
    assert dialog.is_displayed()
    assert browser.execute_script("return document.querySelector('#large img').naturalWidth") > 500
    dialog.find_element("css selector", "button").send_keys(Keys.ESCAPE)
    wait(lambda: not dialog.is_displayed())


@pytest.mark.parametrize("theme", ["class", "probability", "uncertainty", "applicability", "leading"])
def test_every_layer_draws(browser, theme):
    browser.find_element("css selector", f"#themes input[value={theme}]").click()
    assert browser.find_elements("css selector", "#key li")
    width = wait(lambda: browser.execute_script("return document.querySelector('#map img.theme').naturalWidth"))
    assert width == 160


def test_it_fits_a_phone(browser, reported):
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        wide, beyond, of_map = browser.execute_script(
            "const links = document.querySelector('nav ol'), map = document.getElementById('map');"
            "return [document.documentElement.scrollWidth, links.scrollWidth - links.clientWidth,"
            "map.offsetWidth / map.offsetHeight]")
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert wide <= 390
    assert beyond == 0
    top, bottom, left, right = data_of(html_of(reported[0]))["frame"]["box"]
    assert of_map == pytest.approx((right - left) / (bottom - top), rel=0.02)  # no empty strips beside the map


def test_nothing_leaves_the_file_and_nothing_is_complained_about(browser, reported):
    """Runs last: it looks at everything that the tests above did."""
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = {m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"}
    own = (reported[0] / "figs/report_demo.html").as_uri()
    assert own in urls
    # chrome: are pages of the browser itself, such as the new tab it starts with.
    assert {url for url in urls if not url.startswith(("data:", "chrome:"))} == {own}
    assert browser.get_log("browser") == []
    assert browser.execute_script("return performance.getEntriesByType('resource').filter("
                                  "e => !e.name.startsWith('data:')).length") == 0


def test_best_values_of_a_comparison_are_those_that_read_alike():
    rows = [("squares", "all", True, np.nan, method, measure, value, 9)
            for method, values in (("ours", (.8504, .1)), ("RF", (.8501, np.nan)), ("SVM", (.7, .2)))
            for measure, value in zip(("auroc", "brier"), values, strict=True)]
    table = pd.DataFrame(rows, columns=["protocol", "subset", "with_dv", "k", "method", "measure", "mean", "n"])
    found, = tables.comparison(table, None)
    auroc, brier = (1 + list(tables.MEASURES).index(name) for name in ("auroc", "brier"))
    assert [(row[0], row[auroc], row[brier]) for row in found["rows"]] == [
        ("ours", ("0.850", True), ("0.100", True)), ("RF", ("0.850", True), (tables.UNDEFINED, False)),
        ("SVM", ("0.700", False), ("0.200", False))]
    assert found["rows"][0][1 + list(tables.MEASURES).index("kappa")] == (tables.UNDEFINED, False)
