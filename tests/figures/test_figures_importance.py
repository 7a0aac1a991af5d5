"""Figures of importance and of the factors, as a user runs them, on small made inputs; their numbers."""

import itertools
import json
import re
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from osgeo import gdal
from small_region import crs_of

import figure
from lsm.explanation import ranking
from lsm.figures import area_maps, factors, importance, styles
from lsm.inputs import rasters
from lsm.inputs.factor.definition import Factor, write_factors
from lsm.insar.origins import origins
from lsm.learner import prediction
from lsm.learner.encoder import Encoder
from lsm.learner.members import Kind
from lsm.maps import cartography, gis
from lsm.run import artifacts
from lsm.run.paths import Paths
from lsm.run.settings import InputError, constants

CONSTANTS = SimpleNamespace(REGION="small", SEED=1)
OF_EXPLANATION = SimpleNamespace(**vars(CONSTANTS), EXPLAINED=9, BACKGROUND=20, BACKGROUND_FROM="block")
FACTORS = (Factor("cover", "categorical", "class"), Factor("slope", "continuous", "degree"),
           Factor("aspect", "circular", "degree"), Factor("dis2road", "distance", "m"),
           Factor("DV", "continuous", "mm/yr", zero_is_missing=True))
NAMES = [f.name for f in FACTORS]
DRAWN = ("shap_territory", "shap_blocks", "leading_factor", "factor_maps", "learned_factors")
LEADERS = (1, 1, 3, 4, 0)     # number of each block's leading factor
EXPLAINED = (6, 9, 9, 9, 4)   # samples of each block
SAMPLES = (40, 30, 50, 20, 60)
ROWS, COLS, CELL = 30, 50, 100.0


def values_of(n: int, rng) -> np.ndarray:
    return np.column_stack([rng.integers(1, 4, n), rng.uniform(0, 60, n), rng.uniform(-1, 360, n).round(),
                            rng.exponential(300, n), np.where(rng.random(n) < 0.4, 0, rng.normal(0, 5, n))])


@pytest.fixture
def paths(tmp_path, monkeypatch):
    """A region of five blocks as upright strips, a sixth without a model, under LSM_ROOT."""
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    paths, c, rng = Paths("small"), CONSTANTS, np.random.default_rng(0)
    row, col = np.mgrid[:ROWS, :COLS]
    dem = np.where(row > 1, row + col, -9999).astype(np.float32)
    like = rasters.Raster(dem[None], dem > 0, (0, CELL, 0, ROWS * CELL, 0, -CELL), crs_of(2326).ExportToWkt())
    rasters.write_band(paths.composite, dem, like, -9999, "DEM", "maker", c, [])
    artifacts.record_path(paths.composite).unlink()
    write_factors(paths.factors, FACTORS, {"cover": {"rock": 1, "wood": 2, "town": 3}})
    cells = np.flatnonzero(dem.ravel() > 0)
    x, y = rasters.centres(like.geotransform, row.ravel()[cells], col.ravel()[cells])
    grid = pd.DataFrame(values_of(len(cells), rng), columns=NAMES).assign(X=x, Y=y)
    grid.to_csv(paths.grid, index=False, float_format="%.9g")

    sampling = "scene_sampling.py"
    block = np.where(dem > 0, np.minimum(col // 8, 5), -1).astype(np.int32)
    rasters.write_band(paths.blocks, block, like, -1, "block", sampling, c, [])
    number = np.repeat(np.arange(5), SAMPLES)
    label = rng.integers(0, 2, len(number))
    tasks = {"block": number, "row": np.arange(len(number)), "factors": values_of(len(number), rng).astype(np.float32),
             "xy": np.column_stack([number * 800 + 400.0, np.arange(len(number))]), "label": label,
             "factor_names": np.array(NAMES)}
    artifacts.write_npz(paths.tasks, tasks, sampling, c, [])
    table = pd.DataFrame({"block": np.arange(6), "cells": np.bincount(block[block >= 0]), "samples": [*SAMPLES, 0],
                          "landslides": np.bincount(number, label, 6).astype(int),
                          "centre_x": np.arange(6) * 800 + 400.0, "centre_y": 1500.0})
    artifacts.write_csv(paths.blocks_table, table, sampling, c, [])
    write_importance(paths, like, block, tasks, rng)
    write_model(paths, tasks, rng)
    insar = pd.DataFrame({"X": tasks["xy"][:60, 0], "Y": tasks["xy"][:60, 1]})
    insar.to_csv(paths.insar_points, index=False)
    return paths


def write_importance(paths, like, block, tasks, rng):
    """What feature_permutation.py writes: SHAP values, largest for the leader of each block."""
    stage, c = "feature_permutation.py", OF_EXPLANATION
    first = np.concatenate([[0], np.cumsum(SAMPLES)])
    rows = np.concatenate([first[b] + np.arange(n) for b, n in enumerate(EXPLAINED)])
    of = tasks["block"][rows]
    values = rng.normal(0, 1, (len(rows), 5)) * np.where(np.array(LEADERS)[of][:, None] == np.arange(5), 9, 1)
    state = np.array([0, 0, 0, 0, 0, 1], np.int8)
    artifacts.write_npz(paths.shap_values, {
        "block": of.astype(np.int32), "row": rows, "factors": tasks["factors"][rows], "shap": values.astype(np.float32),
        "state": state, "factor_names": np.array(NAMES)}, stage, c, [])
    tables = []
    for b in range(5):
        size = np.abs(values[of == b]).mean(axis=0)
        tables.append(pd.DataFrame({
            "block": b, "factor": NAMES, "mean_abs_shap": size, "sign": [np.nan, 1, np.nan, -1, 0],
            "permutation": rng.uniform(-0.02, 0.3, 5), "sd": 0.01, "rank": 1 + np.argsort(np.argsort(-size)),
            "explained": EXPLAINED[b], "state": 0}))
    tables.append(pd.DataFrame({"block": 5, "factor": NAMES, "explained": 0, "state": 1}))
    table = pd.concat(tables, ignore_index=True).astype({"rank": "Int64", "sign": "Int64"})
    over_territory = ranking.territory(table, np.full(6, 200))
    artifacts.write_csv(paths.importance, table, stage, c, [])
    artifacts.write_csv(paths.importance_territory, over_territory, stage, c, [])
    leader = np.append(1 + np.array(LEADERS), [0, 0]).astype(np.uint8)[block]
    grid = rasters.Grid(*leader.shape, like.geotransform, like.crs)
    gis.write_classes(paths.leading_factor, [(0, 0, leader)], grid, "leading factor", ["none explained", *NAMES],
                      ["#e69f00"] * 5, (stage, c, []))


def some_kind(name: str) -> Kind:
    """Two members; of their sizes the figures read nothing."""
    return Kind(name, 2, 8, 4, 4, 1, False, name == "regional", True, 0, 1, 0, 0.0)


def write_model(paths, tasks, rng):
    """Writes two intermediate networks of each kind, and a split in which the last two blocks are held out."""
    stage, encoder = "meta_learner.py", Encoder.fit(tasks["factors"], FACTORS, "recommended", tasks["xy"])
    kinds = [asdict(some_kind("local")), asdict(some_kind("regional"))]
    model = {"encoder": np.array(encoder.to_json()), "kinds": np.array(json.dumps(kinds))}
    for kind, inputs, last in (("local", len(encoder.columns), 4), ("regional", len(encoder.columns) + 2, 5)):
        shapes = [s for a, b in itertools.pairwise([inputs, 8, 6, last, 2]) for s in ((a, b), (b,))] + [(inputs, 2)]
        model |= {f"{kind}_pooled_{i}": rng.normal(size=(2, *s)).astype(np.float32) for i, s in enumerate(shapes)}
    artifacts.write_npz(paths.model, model, stage, CONSTANTS, [])
    role = np.where(tasks["block"] >= 3, "query", "meta-train")
    artifacts.write_csv(paths.split, pd.DataFrame({"block": tasks["block"], "row": tasks["row"], "role": role}), stage,
                        CONSTANTS, [])


def draw(paths, name, *settings):
    figure.main(constants(figure.Constants, ["REGION=small", "DPI=40", f"ONLY={name}", *settings]))
    assert paths.figure(name, "png").read_bytes().startswith(b"\x89PNG")
    assert paths.figure(name, "pdf").read_bytes().startswith(b"%PDF")
    return pd.read_csv(paths.figure(name, "csv"))


def test_territory_draws_the_saved_ranking_and_values(paths):
    shown, ranking = draw(paths, "shap_territory"), pd.read_csv(paths.importance_territory)
    bars = shown[shown["part"] == "bar"].reset_index(drop=True)
    pd.testing.assert_frame_equal(bars[ranking.columns], ranking, check_dtype=False)
    points = shown[shown["part"] == "point"]
    saved = artifacts.read_npz(paths.shap_values, "feature_permutation.py", CONSTANTS)
    for j, name in enumerate(NAMES):
        of = points[points["factor"] == name].sort_values("sample")
        order = np.argsort(saved["row"])
        np.testing.assert_array_equal(of["sample"], saved["row"][order])
        np.testing.assert_allclose(of["shap"], saved["shap"][order, j], rtol=1e-6)
        np.testing.assert_allclose(of["value"], saved["factors"][order, j], rtol=1e-6)


def test_no_more_samples_are_drawn_than_asked_the_same_each_time(paths):
    first = draw(paths, "shap_territory", "SWARM=7")
    files = [paths.figure("shap_territory", s).read_bytes() for s in ("png", "pdf", "csv")]
    assert (first[first["part"] == "point"].groupby("factor")["sample"].nunique() == 7).all()
    draw(paths, "shap_territory", "SWARM=7")
    assert [paths.figure("shap_territory", s).read_bytes() for s in ("png", "pdf", "csv")] == files


def test_blocks_are_the_best_explained_of_different_leaders(paths):
    shown = draw(paths, "shap_blocks", "SHAP_ROWS=3")
    assert list(dict.fromkeys(shown["block"])) == [2, 1, 3]  # nine explained each, of 50, 30 and 20 samples
    bars, points = shown[shown["part"] == "bar"], shown[shown["part"] == "point"]
    saved = pd.concat([pd.read_csv(paths.importance).query(f"block == {b}") for b in (2, 1, 3)])
    np.testing.assert_allclose(bars["mean_abs_shap"], saved["mean_abs_shap"])
    assert (points.groupby("block")["factor"].nunique() == 3).all()
    own = points[points["block"] == 2].groupby("factor")["shap"].agg(lambda v: v.abs().mean())
    saved = saved.query("block == 2 and rank <= 3").set_index("factor")["mean_abs_shap"]
    np.testing.assert_allclose(own[saved.index], saved, rtol=1e-5)


def test_negative_permutation_importance_stays_right_of_the_names(paths):
    table = pd.read_csv(paths.importance).astype({"rank": "Int64", "sign": "Int64"})
    table.loc[table["block"] == 2, "permutation"] = np.linspace(-0.09, 0.05, 5)
    table.loc[table["block"] == 1, "permutation"] = -0.04  # nothing above 0
    artifacts.write_csv(paths.importance, table, "feature_permutation.py", OF_EXPLANATION, [])
    drawn, _ = importance.shap_blocks(constants(figure.Constants, ["REGION=small"]))
    for bar, other, block in zip(drawn.axes[0:9:3], drawn.axes[2:9:3], (2, 1, 3), strict=True):
        of = table[table["block"] == block]
        (low, high), (left, right) = other.get_xlim(), bar.get_xlim()
        assert low <= (of["permutation"] - of["sd"]).min()
        assert high >= (of["permutation"] + of["sd"]).max()
        assert low / high == pytest.approx(left / right)  # both axes share their 0
        assert right >= of["mean_abs_shap"].max()
        assert min(bar.get_xticks()) == 0


def test_a_block_without_samples_is_not_counted_as_explained(paths):
    saved = artifacts.read_npz(paths.shap_values, "feature_permutation.py", CONSTANTS)
    saved["state"] = np.zeros(6, np.int8)  # the sixth adapted on samples of others
    artifacts.write_npz(paths.shap_values, saved, "feature_permutation.py", OF_EXPLANATION, [])
    drawn, _ = importance.shap_territory(constants(figure.Constants, ["REGION=small"]))
    assert "37 samples of 5 blocks explained" in drawn.texts[-1].get_text()


def test_blocks_can_be_named_and_one_without_a_model_is_refused(paths):
    assert list(dict.fromkeys(draw(paths, "shap_blocks", "SHAP_BLOCKS=(4,0)")["block"])) == [4, 0]
    with pytest.raises(InputError, match=re.escape("SHAP_BLOCKS=(0, 5): expected numbers of explained blocks")):
        draw(paths, "shap_blocks", "SHAP_BLOCKS=(0,5)")


def test_leading_factors_are_those_of_the_table(paths):
    shown = draw(paths, "leading_factor").set_index("block")
    assert list(shown["factor"]) == [NAMES[i] for i in LEADERS]
    table = pd.read_csv(paths.importance).query("state == 0")
    share = table.groupby("block")["mean_abs_shap"].agg(lambda v: v.max() / v.sum())
    np.testing.assert_allclose(shown["share_of_shap"], share)
    assert shown.loc[0, "number"] == shown.loc[1, "number"] == 1  # slope leads two blocks: the largest share of area


def test_the_sea_beside_leading_factors_has_the_colour_of_none(paths):
    fig, _ = area_maps.leading_factor(constants(figure.Constants, ["REGION=small"]))
    drawn = fig.axes[0].get_images()[-1].get_array()
    known = gdal.Open(str(paths.leading_factor)).ReadAsArray() > 0
    assert drawn.shape[:2] == known.shape
    land = gdal.Open(str(paths.blocks)).ReadAsArray() >= 0
    assert (~land).any()
    assert (drawn[~land] == 1).all()  # white; some factors are pale blue
    assert np.allclose(drawn[land & ~known], to_rgb(styles.PALE))


def test_leaders_of_another_run_are_refused(paths):
    table = pd.read_csv(paths.importance).replace({"factor": {"slope": "steepness"}})
    artifacts.write_csv(paths.importance, table, "feature_permutation.py", OF_EXPLANATION, [])
    with pytest.raises(InputError, match=re.escape("run feature_permutation.py again")):
        draw(paths, "leading_factor")
    assert not paths.figure("leading_factor", "png").exists()


def test_factor_maps_count_classes_and_ranges_of_the_grid(paths):
    shown, grid = draw(paths, "factor_maps"), pd.read_csv(paths.grid)
    cover = shown[shown["factor"] == "cover"].set_index("class")["share"]
    expected = grid["cover"].map({1: "rock", 2: "wood", 3: "town"}).value_counts(normalize=True)
    np.testing.assert_allclose(cover[expected.index], expected, rtol=1e-8)
    facing = shown[shown["factor"] == "aspect"].set_index("class")["share"]
    assert facing["E"] == pytest.approx(((grid["aspect"] >= 45) & (grid["aspect"] < 135)).mean())
    north = (grid["aspect"] >= 315) | ((grid["aspect"] >= 0) & (grid["aspect"] < 45))
    assert facing["N"] == pytest.approx(north.mean())
    speed = shown[shown["factor"] == "DV"].iloc[0]
    assert speed["share"] == pytest.approx((grid["DV"] != 0).mean())
    known = grid.loc[grid["DV"] != 0, "DV"]
    np.testing.assert_allclose(speed[["low", "high"]].astype(float), np.percentile(known, (2, 98)), rtol=1e-5)


@pytest.mark.parametrize(("name", "two_sided"), [("curvature", True), ("TPI", True), ("DEM", False)])
def test_what_lies_around_0_is_pale_there(name, two_sided):
    fig = Figure(figsize=(styles.WIDTH, 3))
    ax, layer = fig.add_subplot(), np.linspace(-1, 4, 400).reshape(20, 20)
    row = factors.draw_ramp(fig, ax, (1, 1, 2), (0, 20, 0, 20), layer, Factor(name, "continuous", "m"))
    image, = ax.get_images()
    low, high = np.percentile(layer, (2, 98))
    assert (row["low"], row["high"]) == (low, high)
    assert image.get_clim() == ((-high, high) if two_sided else (low, high))
    if two_sided:
        np.testing.assert_allclose(image.cmap(image.norm(0.0))[:3], to_rgb(styles.DEFORMATION[2]), atol=0.01)


@pytest.mark.parametrize(("first", "last", "ticks"), [
    (0, 350, [0, 20, 100, 200]), (0, 502, [0, 50, 200, 500]), (38.2, 2290, [100, 500, 1000, 2000]),
    (0, 0.5, [0, 0.05, 0.2, 0.5]), (0, 47_000, [0, 5000, 20_000]), (1000, 1010, [1000, 1002.5, 1005, 1007.5, 1010])])
def test_ticks_of_distances_are_round_and_apart_along_their_bar(first, last, ticks):
    found = np.array(factors.root_ticks(first, last))
    np.testing.assert_allclose(found, ticks)
    places = ((found - first) / (last - first)) ** 0.5  # as PowerNorm has them
    assert np.diff(places).min() > 0.13


def test_ndvi_is_named_as_the_manual_names_it():
    assert factors.title_of(Factor("NDVI", "continuous", "1e-4"), unnamed=False) == "NDVI × 10,000"
    assert factors.title_of(Factor("slope", "continuous", "degree"), unnamed=False) == "slope (°)"
    assert factors.title_of(Factor("cover", "categorical", "class"), unnamed=True) == "cover (codes)"


def test_code_0_beside_named_classes_is_called_no_class():
    """Where no class has a name, 0 may be a class as well as any other code."""
    cells, cover = {0.0: 5, 1.0: 3}, SimpleNamespace(kind="categorical")
    assert factors.classes_of_factor(cells, cover, {1: "rock"})[0] == {0.0: "no class", 1.0: "rock"}
    assert factors.classes_of_factor(cells, cover, {0: "sea", 1: "rock"})[0] == {0.0: "sea", 1.0: "rock"}
    assert factors.classes_of_factor(cells, cover, {})[0] == {0.0: "0", 1.0: "1"}


@pytest.mark.parametrize(("words", "columns", "last"), [
    (["1", "2", "30"], 5, "30"), (["N", "E", "S", "W", "flat"], 5, "flat"),
    (["Quaternary alluvium"] * 10, 1, "Quaternary alluvium"), (["Makarwal Group and Mansehra Orthogneiss"], 1,
                                                               "Makarwal Group and Mansehra\nOrthogneiss"),
    ([str(i) for i in range(40)], 3, "28 more"), ([f"c{i}" for i in range(13)], 5, "c12"), ([], 5, "")])
def test_a_legend_fits_below_its_map(words, columns, last):
    labels, found = factors.legend_of(words, 1.755)
    assert found == columns
    assert (labels or [""])[-1] == last
    assert len(labels) <= factors.MOST_KEYS + 1
    widths = [factors.KEY + factors.LETTER * len(line) for label in labels for line in label.split("\n")]
    assert found * max(widths, default=0) <= 1.755 or (found == len(labels) and sum(widths) <= 1.755)


def test_no_two_classes_of_a_legend_share_a_tone():
    cells = {code: code + 1 for code in np.arange(30.0)}
    words, tones = factors.classes_of_factor(cells, SimpleNamespace(kind="categorical"), {})
    own = [value for value in words if tones[value] != styles.PALE]
    assert own == list(range(18, 30))  # the largest
    assert len({tones[value] for value in own}) == factors.MOST_KEYS


def test_a_legend_has_the_largest_classes_first_and_room_for_its_own_lines():
    words = {1.0: "a rare class with a very long name", 2.0: "b", 3.0: "c"}
    colours, names = factors.legend_order(words, {1.0: styles.PALE, 2.0: "#000000", 3.0: "#111111"})
    assert (colours, names) == (["#000000", "#111111", styles.PALE], ["b", "c", "a rare class with a very long name"])


def test_thirteen_classes_are_all_named(paths):
    grid = pd.read_csv(paths.grid)
    grid["cover"] = np.arange(len(grid)) % 13 + 1
    grid.to_csv(paths.grid, index=False)
    write_factors(paths.factors, FACTORS, {"cover": {f"class {i}": i for i in range(1, 14)}})
    drawn, _ = factors.factor_maps(constants(figure.Constants, ["REGION=small"]))
    named = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert sorted(named) == sorted(f"class {i}" for i in range(1, 14))


def test_classes_between_the_drawn_cells_are_in_the_legend_and_counted(paths):
    """Of 1,400 cells some tens are drawn: one cell of a class of its own, and one of flat ground, are not among them.
    """
    grid = pd.read_csv(paths.grid).assign(cover=1, aspect=90)
    grid.loc[0, ["cover", "aspect"]] = 2, -1
    grid.to_csv(paths.grid, index=False)
    drawn, table = factors.factor_maps(constants(figure.Constants, ["REGION=small", "FACTOR_CELLS=16"]))
    assert [[text.get_text() for text in legend.get_texts()] for legend in drawn.legends] == [["rock", "wood"],
                                                                                              ["E", "flat"]]
    assert table.set_index("class").loc[["rock", "wood", "flat"], "share"].tolist() == pytest.approx(
        [1 - 1 / len(grid), 1 / len(grid), 1 / len(grid)])
    assert "classes too small to be drawn: 2" in drawn.texts[-1].get_text()


def test_long_names_of_classes_stay_below_their_map(paths):
    names = {"Makarwal Group (Hangu)": 1, "Mansehra Orthogneiss": 2, "Samana Suk Formation": 3}
    write_factors(paths.factors, FACTORS, {"cover": names})
    drawn, table = factors.factor_maps(constants(figure.Constants, ["REGION=small"]))
    assert set(names) <= set(table["class"])
    renderer = FigureCanvasAgg(drawn).get_renderer()
    for legend in drawn.legends:
        assert legend.get_window_extent(renderer).width <= 1.02 * 1.755 * drawn.dpi


def test_layers_hold_a_cell_of_each_place_and_nothing_elsewhere(paths):
    shape, size = (ROWS // 2, COLS // 2), (ROWS, COLS)
    place = (0, CELL, 0, ROWS * CELL, 0, -CELL)
    full, n, counts = cartography.grid_layers(paths.grid, FACTORS, place, size, size)
    assert n == (ROWS - 2) * COLS
    assert np.isnan(full[:, :2]).all()
    np.testing.assert_allclose(full[1, 2:].ravel(), pd.read_csv(paths.grid)["slope"], rtol=1e-6)
    half, _, same = cartography.grid_layers(paths.grid, FACTORS, place, size, shape)
    assert all(half[1, i, j] in full[1, 2 * i:2 * i + 2, 2 * j:2 * j + 2] for i in (1, 7, 14) for j in (0, 12, 24))
    cover = pd.read_csv(paths.grid)["cover"].value_counts().to_dict()
    assert (counts[0], counts[1], same) == (cover, {}, counts)


def test_learned_factors_are_the_layer_before_the_networks_log_odds(paths):
    model = artifacts.read_npz(paths.model, "meta_learner.py", CONSTANTS)
    weights = [model[f"local_pooled_{i}"][0] for i in range(9)]
    x = np.random.default_rng(1).normal(size=(20, len(weights[0]))).astype(np.float32)
    learned = factors.hidden(weights, x)
    assert learned.shape == (20, 4)
    np.testing.assert_array_equal(factors.hidden(weights[:8], x), learned)  # without a direct path
    head, direct = (w[:, 1] - w[:, 0] for w in (weights[6], weights[8]))
    np.testing.assert_allclose(learned @ head + weights[7][1] - weights[7][0] + x @ direct,
                               prediction.log_odds(weights, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["local", "regional"])
def test_learned_factors_are_of_the_first_kind_of_member(paths, monkeypatch, kind):
    """A regional member reads X and Y too."""
    model = artifacts.read_npz(paths.model, "meta_learner.py", CONSTANTS)
    model["kinds"] = np.array(json.dumps([asdict(some_kind(kind))]))
    artifacts.write_npz(paths.model, model, "meta_learner.py", CONSTANTS, [])
    given = []
    monkeypatch.setattr(factors, "hidden", lambda weights, x: given.append((weights, x)) or x)
    draw(paths, "learned_factors", "EMBEDDED=50", "NEIGHBOURS=8", "PERPLEXITY=10.0")
    (weights, x), = given
    assert x.shape == (50, len(model[f"{kind}_pooled_0"][0]))
    assert len(weights) == 9
    for i, w in enumerate(weights):
        np.testing.assert_array_equal(w, model[f"{kind}_pooled_{i}"][0])
    tasks = artifacts.read_npz(paths.tasks, "scene_sampling.py", CONSTANTS)
    every = Encoder.from_json(str(model["encoder"])).transform(tasks["factors"], tasks["xy"])[:, :x.shape[1]]
    assert {row.tobytes() for row in x} <= {row.tobytes() for row in np.ascontiguousarray(every)}


def test_held_out_samples_in_two_dimensions(paths):
    settings = ("EMBEDDED=50", "NEIGHBOURS=8", "PERPLEXITY=10.0")
    shown = draw(paths, "learned_factors", *settings)
    assert len(shown) == 2 * 3 * 50
    assert (shown["sample"] >= sum(SAMPLES[:3])).all()  # of the blocks held out
    assert shown[["x", "y"]].notna().all().all()
    again = draw(paths, "learned_factors", *settings)
    pd.testing.assert_frame_equal(shown, again)


def test_origins_are_told_by_place_or_by_origin(paths):
    tasks = artifacts.read_npz(paths.tasks, "scene_sampling.py", CONSTANTS)
    rows = np.arange(0, 120, 3)

    def kinds() -> list[str]:
        return [styles.KINDS[v] for v in origins(paths, tasks, CONSTANTS)[0][rows]]

    expected = np.where(tasks["label"][rows] == 0, "non-landslide", np.where(rows < 60, "InSAR", "landslide"))
    assert kinds() == list(expected)
    seen = np.arange(len(tasks["label"])) < 90
    origin = np.where(tasks["label"] == 0, "absence", np.where(seen, "insar", "inventory"))
    artifacts.write_csv(paths.samples_origin, pd.DataFrame({"origin": origin, "weight": 1.0}), "augment_inventory.py",
                        CONSTANTS, [])
    expected = np.where(tasks["label"][rows] == 0, "non-landslide", np.where(rows < 90, "InSAR", "landslide"))
    assert kinds() == list(expected)


def test_neighbours_alike():
    x = np.array([[0.0], [1], [2], [10], [11], [12]])
    assert factors.alike(x, np.array([0, 0, 0, 1, 1, 1]), 2) == 1
    assert factors.alike(x, np.array([0, 0, 1, 1, 1, 1]), 2) == pytest.approx((1 + 1 + 0 + 2 + 2 + 2) / 12)


def test_points_lie_inside_their_violin():
    ax = Figure().subplots()
    effect = np.random.default_rng(2).normal(size=500)
    across = importance.draw_violin(effect, 0.4, ax, 3)
    assert np.abs(across).max() <= 0.4
    assert np.abs(across[np.abs(effect) > 2]).max() < 0.15 < np.abs(across[np.abs(effect) < 0.5]).max()
    assert abs(across.mean()) < 0.02
    assert len(ax.collections) == 1
    assert (importance.draw_violin(np.ones(5), 0.4, ax, 0) == 0).all()


def test_the_name_of_a_violin_stands_beside_it():
    ax = Figure().subplots()
    for effect in ([0.5, 2.0], [-2.0, -1.0], []):  # of the second, right of the line at 0; the third has no violin
        importance.beside(ax, np.array(effect), 3, "rock")
    assert [text.xy for text in ax.texts] == [(2, 3), (0, 3)]


@pytest.mark.parametrize("named", [True, False])
def test_classes_are_named_beside_their_violins_within_the_page(paths, named):
    """Without names their codes stand there, and the legend says so."""
    if named:
        write_factors(paths.factors, FACTORS, {"cover": {"rock": 1, "evergreen broadleaf forest": 2, "town": 3}})
    else:
        paths.factors.unlink()
        write_factors(paths.factors, FACTORS, {})
    drawn, _ = importance.shap_territory(constants(figure.Constants, ["REGION=small"]))
    renderer = FigureCanvasAgg(drawn).get_renderer()
    beside = [text for ax in drawn.axes for text in ax.texts if text.get_text() in (
        ("rock", "evergreen broadleaf…", "town") if named else ("1", "2", "3"))]
    assert len(beside) == 3
    assert all(text.get_window_extent(renderer).x1 <= drawn.bbox.x1 for text in beside)
    legend = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert legend[0] == ("class or direction, which has no low or high; beside it: the "
                         + ("name of the class" if named else "code of the class"))
    assert drawn.legends[0].get_window_extent(renderer).x1 <= drawn.bbox.x1


def test_a_name_at_the_edge_makes_room():
    ax = Figure(figsize=(5, 2)).add_axes((0.1, 0.1, 0.8, 0.8))  # 4 inches
    ax.set_xlim(0, 10)
    importance.beside(ax, np.array([10.0]), 0, "n" * 20)
    importance.make_room(ax)
    low, high = ax.get_xlim()
    assert low == 0
    assert 4 * 10 / high + 20 * importance.LETTER == pytest.approx(4 + importance.MARGIN)
    importance.make_room(ax)
    assert ax.get_xlim() == pytest.approx((low, high))


def test_what_is_not_there_is_named_with_the_command_that_makes_it(paths, capsys):
    for path in (paths.importance, paths.importance_territory, paths.grid, paths.model):
        path.unlink()
    figure.main(constants(figure.Constants, ["REGION=small", "DPI=40"]))
    lines = capsys.readouterr().out.partition("left out:\n")[2].splitlines()
    for name, end in (("shap_territory", "importance_territory.csv: missing; make explain REGION=small makes it"),
                      ("factor_maps", "grid_samples_small.csv: missing; put the table there, or run "
                       "src_data/make_demo.py for the demo area"),
                      ("learned_factors", "model.npz: missing; make map REGION=small makes it")):
        line, = (line for line in lines if name in line.partition(":")[0])
        assert line.endswith(end)
        assert not paths.figure(name, "png").exists()


def test_tones_differ_in_lightness():
    def shades(colours):
        return [np.dot([int(colour[i:i + 2], 16) for i in (1, 3, 5)], (0.299, 0.587, 0.114)) for colour in colours]

    ramp = shades(styles.RAMP)
    assert ramp == sorted(ramp, reverse=True)
    assert min(np.diff(sorted(shades(styles.ASPECT_TONES)))) > 15
    assert min(np.diff(sorted(shades(styles.CLASS_TONES[:5])))) > 15
    assert len({*styles.CLASS_TONES, styles.PALE}) == len(styles.CLASS_TONES) + 1


def test_no_two_classes_share_a_tone_and_the_smallest_are_pale():
    cover = next(factor for factor in FACTORS if factor.kind == "categorical")
    words, tones = factors.classes_of_factor({code: code for code in np.arange(1.0, 21)}, cover, {})  # 20: the largest
    assert list(words) == [*range(1, 21)]
    assert [v for v in words if tones[v] == styles.PALE] == [*range(1, 9)]
    assert len({tones[v] for v in range(9, 21)}) == 12
