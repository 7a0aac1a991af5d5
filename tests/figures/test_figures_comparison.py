"""The figures of the comparison as a user runs them, on made tables of a few methods; their numbers."""

import hashlib
import itertools
import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from scipy.special import expit
from sklearn.metrics import auc, precision_recall_curve, roc_auc_score

import compare_methods
import figure
from lsm.comparison import measures, splits
from lsm.comparison.methods import FAMILIES
from lsm.comparison.tables import score_tables
from lsm.figures import styles
from lsm.figures.comparison import block_kinds, curves, measure_bars, method_panels
from lsm.inputs.factor.definition import Factor
from lsm.run import artifacts
from lsm.run.paths import PROJECT, Paths
from lsm.run.settings import InputError, constants

CONSTANTS = SimpleNamespace(REGION="small", SEED=1)
STAGE = "compare_methods.py"
NAMES = ["ours", "ours, published recipe", "SVM", "RF", "boosting + XY", "a method of tomorrow", "slope alone"]
PROTOCOLS = {"augmentation": 1, "published": 2, "spatial": 2, "blocked 5 km": 2, "blocked 10 km": 2}  # repeats
SHOTS, STEPS = ("0", "3", "16", "1/12", "6/12"), (0, 1, 20)
DRAWN = ("method_roc", "method_precision_recall", "method_rates", "differences", "gap", "distance", "subsets",
         "weak_label_worth", "block_kinds", "few_shot", "few_shot_blocks", "measures_published",
         "reliability_published", "measures_spatial", "reliability_spatial", "measures_blocked", "reliability_blocked",
         "measures_augmentation", "reliability_augmentation")


def make_tables():
    """The tables of compare_methods.py under LSM_ROOT, of made scores: methods grow worse in the order of NAMES."""
    paths, rng = Paths("small"), np.random.default_rng(0)
    n, block = 240, np.repeat(np.arange(8), 30)
    scores, seeds, blocks, rates, gains = [], [], [], [], []
    for protocol, repeats in PROTOCOLS.items():
        for seed in range(1, repeats + 1):
            label = (rng.random(n) < 0.5).astype(int)
            for i, name in enumerate(NAMES):
                key = {"protocol": protocol, "seed": seed, "with_dv": True, "method": name, "k": "", "steps": ""}
                p = expit(rng.normal((2 - 0.08 * i) * (2 * label - 1), 1.5))
                scores.append(pd.DataFrame(key | {"point": np.arange(n), "block": block, "label": label,
                                                  "origin": "inventory", "score": p}))
                scores.append(scores[-1].assign(with_dv=False, score=1 - p))  # must not be drawn
                found = measures.all_measures(label, p) | {"top_tenth": 0.3}
                seeds += [key | {"subset": s, "with_dv": dv, "measure": m, "value": v - 0.01 * (not dv), "n": n}
                          for s in (*measure_bars.SUBSETS, *measure_bars.QUARTERS) for dv in (True, False)
                          for m, v in found.items()]
                if not protocol.startswith("blocked"):
                    blocks += [key | {"block": b, "n": 30, "accuracy": ((p > 0.5) == label)[block == b].mean()}
                               for b in range(8)]
                rates += [key | {"kind": kind, "area": a, "landslides": a ** (0.2 + 0.03 * i)}
                          for kind in ("success", "prediction") for a in score_tables.SHARES
                          if kind == "prediction" or not protocol.startswith("blocked")]
        gains += [{"protocol": protocol, "with_dv": True, "rival": name, "measure": m, "difference": sign * 0.01 * i,
                   "low": sign * 0.01 * i - 0.02, "high": sign * 0.01 * i + 0.02}
                  for i, name in enumerate(NAMES[1:]) for m, sign in (("kappa", 1), ("auroc", 1), ("brier", -1))]
    for seed in (1, 2):
        for k in SHOTS:
            for steps in STEPS:
                key = {"protocol": "k-shot", "seed": seed, "with_dv": True, "method": "ours, networks", "k": k,
                       "steps": steps}
                own = 0.6 + 0.1 * (steps > 0) + 0.2 * rng.random(8)
                blocks += [key | {"block": b, "n": 20 + b, "accuracy": own[b]} for b in range(8)]
                seeds.append(key | {"subset": "all", "measure": "accuracy", "value": own.mean(), "n": 188})
    for path, table in ((paths.scores, pd.concat(scores)), (paths.rates, pd.DataFrame(rates)),
                        (paths.method_metrics, score_tables.over_seeds(pd.DataFrame(seeds))),
                        (paths.block_metrics, pd.DataFrame(blocks)), (paths.method_differences, pd.DataFrame(gains))):
        artifacts.write_csv(path, table, STAGE, CONSTANTS, [])
    factors = rng.normal(size=(n, 3)) + np.array([[0, 0, 0], [4, 0, 0], [0, 4, 0], [0, 0, -4]])[block % 4]
    artifacts.write_npz(paths.tasks, {"block": block.astype(np.int32), "factors": factors.astype(np.float32),
                                      "factor_names": np.array(["slope", "dis2road", "DEM"])}, "scene_sampling.py",
                        CONSTANTS, [])
    return paths


def draw(root, *arguments):
    command = [sys.executable, "figure.py", "REGION=small", "DPI=40", *arguments]
    return subprocess.run(command, cwd=PROJECT, env=os.environ | {"LSM_ROOT": str(root)}, capture_output=True,
                          text=True, timeout=120)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A folder in which figure.py has run once on the tables: root, paths, the finished process."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("comparison")
        patch.setenv("LSM_ROOT", str(root))
        paths = make_tables()
        yield root, paths, draw(root)


def numbers(paths, name):
    return pd.read_csv(paths.figure(name, "csv"), dtype={"k": str, "repeat": str})


def test_every_figure_of_the_comparison_is_drawn(drawn):
    _, paths, process = drawn
    assert process.returncode == 0, process.stderr
    assert "Traceback" not in process.stderr
    assert not any(f"figure {name}" in process.stdout for name in DRAWN)
    for name in DRAWN:
        for suffix, start in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("csv", b"")):
            content = paths.figure(name, suffix).read_bytes()
            assert content.startswith(start)
            assert len(content) > 400


def boxes(fig, texts) -> list:
    """Where texts lie on a figure, inches, from left to right; those without letters left out."""
    renderer = FigureCanvasAgg(fig).get_renderer()
    fig.draw(renderer)
    found = [text.get_window_extent(renderer).transformed(fig.dpi_scale_trans.inverted()) for text in texts
             if text.get_text().strip()]
    return sorted(found, key=lambda box: box.x0)


def test_headings_stand_off_the_edge_and_ticks_off_each_other(drawn):
    c = constants(figure.Constants, ["REGION=small"])
    with matplotlib.rc_context(styles.STYLE):
        fig, _ = measure_bars.bars(c, "published")
        headings = boxes(fig, [ax.title for ax in fig.axes])
        fig_of_kinds, _ = block_kinds.block_kinds(c)
        ticks = boxes(fig_of_kinds, [text for ax in fig_of_kinds.axes[-4:] for text in ax.get_xticklabels()
                                     if np.clip(text.get_position()[0], *ax.get_xlim()) == text.get_position()[0]])
    assert all(0.08 < box.x0 < box.x1 < styles.WIDTH - 0.08 for box in headings)
    assert min(right.x0 - left.x1 for left, right in itertools.pairwise(ticks)) > 0.06


def test_one_repeat_has_no_standard_deviation(drawn):
    c = constants(figure.Constants, ["REGION=small"])
    (one, _), (two, _) = (measure_bars.bars(c, protocol) for protocol in ("augmentation", "published"))
    assert "mean of 1 repeat, 240 points" in one.texts[-1].get_text()
    assert "mean and sd of 2 repeats, 480 points" in two.texts[-1].get_text()


@pytest.mark.parametrize(("numbers", "protocols", "words"), [
    (5, ["blocked 5 km", "partitions"], "5 folds"), (1, ["published"], "1 repeat"),
    ([3, 5], ["published", "blocked 2 km"], "3 to 5 repeats or folds"), (20, ["random folds"], "20 folds")])
def test_folds_are_not_called_repeats(numbers, protocols, words):
    assert method_panels.repeats_in_words(numbers, protocols) == words


@pytest.mark.slow
def test_a_figure_again_is_the_same_bytes(drawn):
    root, paths, _ = drawn

    def digest():
        return [hashlib.sha256(paths.figure("block_kinds", s).read_bytes()).hexdigest() for s in ("png", "pdf", "csv")]

    first = digest()
    assert draw(root, "ONLY=block_kinds").returncode == 0
    assert digest() == first


def test_roc_encloses_the_auroc_of_each_repeat(drawn):
    _, paths, _ = drawn
    scores = pd.read_csv(paths.scores).query("with_dv")
    table = numbers(paths, "method_roc")
    assert set(table["method"]) == set(NAMES)
    for method in ("ours", "slope alone"):
        for seed in ("1", "2"):
            curve = table[(table["method"] == method) & (table["protocol"] == "spatial") & (table["repeat"] == seed)]
            own = scores[(scores["method"] == method) & (scores["protocol"] == "spatial")
                         & (scores["seed"] == int(seed))]
            assert auc(curve["x"], curve["y"]) == pytest.approx(roc_auc_score(own["label"], own["score"]), abs=3e-3)
    one = table[(table["method"] == "ours") & (table["protocol"] == "spatial")].pivot(index="x", columns="repeat",
                                                                                      values="y")
    np.testing.assert_allclose(one["mean"], one[["1", "2"]].mean(axis=1), atol=2e-6)


def test_precision_is_that_of_the_threshold_that_first_reaches_the_recall():
    rng = np.random.default_rng(2)
    label = (rng.random(300) < 0.4).astype(int)
    score = np.round(label + rng.normal(size=300), 1)  # with ties
    on_grid, _ = curves.precision_on_grid(label, score)
    precision, recall, _ = precision_recall_curve(label, score)
    for at in (3, 60, 150, 280):
        reached = recall[:-1] >= curves.GRID[at]
        lowest = recall[:-1][reached].min()
        assert on_grid[at] == precision[:-1][reached & (recall[:-1] == lowest)].max()
    assert on_grid[-1] == precision[recall == 1].max()


def test_reliability_counts_every_point_once(drawn):
    _, paths, _ = drawn
    table = numbers(paths, "reliability_blocked")
    assert set(table["protocol"]) == {"blocked 5 km", "blocked 10 km"}
    assert (table.groupby(["protocol", "method"])["points"].sum() == 480).all()
    filled = table[table["points"] > 0]
    assert (np.abs(filled["predicted"] - (filled["bin"] + 0.5) / measures.BINS) <= 0.5 / measures.BINS + 1e-6).all()


def test_measures_gap_distance_and_subsets_are_those_saved(drawn):
    _, paths, _ = drawn
    saved = pd.read_csv(paths.method_metrics, dtype={"k": str})
    saved = saved.set_index(["protocol", "subset", "with_dv", "method", "measure"])["mean"]
    for row in numbers(paths, "measures_blocked").itertuples():
        assert row.mean == pytest.approx(saved[row.protocol, "all", True, row.method, row.measure])
    table = numbers(paths, "gap")
    assert len(table) == 3 * len(NAMES)
    for row in table.itertuples():
        both = [saved[cut, "all", True, row.method, row.measure] for cut in ("published", "spatial")]
        assert row.gap == pytest.approx(both[0] - both[1], abs=1e-8)
    for row in numbers(paths, "distance").itertuples():
        assert row.mean == pytest.approx(saved[row.protocol, row.subset, True, row.method, "auroc"])
    table = numbers(paths, "subsets")
    assert len(table) == 2 * 3 * 2 * len(NAMES)
    for row in table.itertuples():
        assert row.mean == pytest.approx(saved[row.protocol, row.subset, row.with_dv, row.method, "auroc"])


def test_whiskers_of_distance_end_at_one_and_lie_apart(drawn, monkeypatch):
    table, *others = method_panels.measured(SimpleNamespace(**vars(CONSTANTS)))
    monkeypatch.setattr(method_panels, "measured", lambda c: (table.assign(mean=0.9, sd=0.3), *others))
    fig, _ = measure_bars.distance(constants(figure.Constants, ["REGION=small"]))
    first, second = fig.axes[0].containers[:2]
    for drawn_bars in (first, second):
        for (_, low), (_, high) in drawn_bars.lines[2][0].get_segments():
            assert (low, high) == pytest.approx((0.6, 1))
    assert (np.diff([bars.lines[0].get_xdata() for bars in (first, second)], axis=0) > 0.1).all()


def test_every_mark_is_seen_on_its_line():
    for method in styles.METHODS:
        filled = MarkerStyle(method_panels.style_of(method)["marker"]).is_filled()
        assert (curves.marked(method)["markeredgecolor"] == "white") == filled, method


def test_worth_of_weak_labels_is_that_of_landslides_of_either_kind(drawn):
    _, paths, _ = drawn
    keys = ["protocol", "subset", "with_dv", "method", "measure"]
    table = numbers(paths, "weak_label_worth")
    saved = pd.read_csv(paths.method_metrics, dtype={"k": str}).query("protocol != 'k-shot'")
    assert len(table) == 2 * 2 * 2 * 2 * len(NAMES)  # protocols, kinds of landslides, factors, measures
    assert set(table["protocol"]) == {"published", "augmentation"}
    assert set(table["subset"]) == {"insar", "inventory"}
    pd.testing.assert_series_equal(table.set_index(keys)["mean"], saved.set_index(keys)["mean"].reindex(
        pd.MultiIndex.from_frame(table[keys])))


def test_differences_and_rates_are_those_saved(drawn):
    _, paths, _ = drawn
    saved = pd.read_csv(paths.method_differences).drop(columns="with_dv").query("protocol != 'augmentation'")
    pd.testing.assert_frame_equal(numbers(paths, "differences"), saved.reset_index(drop=True))
    assert len(numbers(paths, "method_rates")) == (pd.read_csv(paths.rates)["protocol"] != "augmentation").sum()


def test_candles_are_those_of_the_blocks_of_a_kind(drawn):
    _, paths, _ = drawn
    table = numbers(paths, "block_kinds")
    assert table["kind"].nunique() == 4
    saved = pd.read_csv(paths.block_metrics).query("protocol == 'spatial' and method == 'RF'")
    by_kind = saved.groupby(saved["block"] % 4)["accuracy"].agg(["mean", "std", "min", "max"])
    shown = table[(table["protocol"] == "spatial") & (table["method"] == "RF")]
    np.testing.assert_allclose(np.sort(shown["mean"]), np.sort(by_kind["mean"]))
    order, expected = shown.sort_values("mean"), by_kind.sort_values("mean")
    np.testing.assert_allclose(order[["sd", "min", "max"]], expected[["std", "min", "max"]])
    assert (shown["blocks"] == 4).all()  # two blocks of each kind, two repeats
    assert sum("steep" in kind for kind in set(table["kind"])) == 1


def test_few_shot_draws_what_was_saved(drawn):
    _, paths, _ = drawn
    saved = pd.read_csv(paths.method_metrics, dtype={"k": str}).query("protocol == 'k-shot'")
    table = numbers(paths, "few_shot")
    assert list(zip(table["k"], table["steps"], strict=True)) == [(k, s) for k in SHOTS for s in STEPS]
    np.testing.assert_allclose(table["mean"], saved["mean"])
    blocks = pd.read_csv(paths.block_metrics, dtype={"k": str}).query("protocol == 'k-shot' and k == '6/12'")
    points = numbers(paths, "few_shot_blocks").query("part == 'point'")
    assert (points["k"] == "6/12").all()
    for step, column in ((0, "before"), (20, "after")):
        expected = blocks[blocks["steps"] == step].set_index(["seed", "block"])["accuracy"]
        np.testing.assert_allclose(points.set_index(["seed", "block"])[column].sort_index(), expected.sort_index())


def test_what_is_not_there_is_named_with_the_stage_to_run(drawn, tmp_path, monkeypatch, capsys):
    root, paths, _ = drawn
    shutil.copytree(root, tmp_path / "root")
    monkeypatch.setenv("LSM_ROOT", str(tmp_path / "root"))
    table = pd.read_csv(paths.method_metrics, dtype={"k": str})
    artifacts.write_csv(paths.method_metrics, table[table["protocol"] == "spatial"], STAGE, CONSTANTS, [])
    artifacts.write_csv(paths.method_differences, pd.DataFrame(), STAGE, CONSTANTS, [])
    artifacts.write_csv(paths.block_metrics, pd.read_csv(paths.block_metrics)[:0], STAGE, CONSTANTS, [])
    figure.main(constants(figure.Constants, ["REGION=small", "DPI=40"]))
    said = capsys.readouterr().out  # what was not asked for is no fault, and gets no line for each file
    said, earlier = (said.partition("figures of an earlier run, still in the folder: ")[i] for i in (0, 2))
    assert "few_shot" in earlier.partition("\n")[0].split(", ")
    assert "among PROTOCOLS" not in said
    assert "block_kinds" not in said  # its table has no rows
    assert said.count("make compare REGION=small") == 1
    for only, message in (("few_shot", "expected k-shot, found spatial; run compare_methods.py with it among"),
                          ("gap", "expected published, found spatial; run compare_methods.py"),
                          ("differences", "expected a table, found: No columns to parse from file; run "
                           "compare_methods.py with all METHODS again")):
        with pytest.raises(InputError, match=re.escape(message)):
            figure.main(constants(figure.Constants, ["REGION=small", f"ONLY={only}"]))


def test_tables_of_the_comparison_have_the_columns_that_figures_need():
    rng, n = np.random.default_rng(1), 120
    points = SimpleNamespace(label=np.append(rng.integers(0, 2, 100), np.full(20, -1)), block=np.arange(n) % 4,
                             xy=rng.random((n, 2)), sample=np.arange(n),
                             origin=np.append(np.full(100, "absence", "<U9"), np.full(20, "cell")),
                             telling=np.zeros(n, bool))
    points.origin[:100][points.label[:100] == 1] = "inventory"
    role = np.where(np.arange(n) % 3 == 0, splits.SUPPORT, splits.QUERY)
    asked = np.isin(role, (splits.SUPPORT, splits.QUERY)).sum()
    made = {("published", 1, True): {name: rng.random(asked) for name in ("ours", "RF")},
            ("k-shot", 1, True): {"3|20": rng.random((role == splits.QUERY).sum())}}
    tables = score_tables.measure(made, points, {("published", 1): role})
    over = score_tables.over_seeds(tables["seeds"])
    assert set(method_panels.COLUMNS) | {"k", "steps"} <= set(over)
    assert {"all", "inventory", *measure_bars.QUARTERS} <= set(over["subset"])
    assert {"protocol", "seed", "with_dv", "method", "label", "score"} <= set(tables["scores"])
    assert {"protocol", "seed", "with_dv", "method", "k", "steps", "block", "n", "accuracy"} <= set(tables["blocks"])
    assert {"kind", "area", "landslides", "method", "seed", "with_dv", "protocol"} <= set(tables["rates"])


def test_every_method_has_a_style_of_its_own():
    assert {"ours", *(name for family in FAMILIES.values() for name in family.names)} <= set(
        styles.METHODS)
    assert set(compare_methods.Constants.MAPPED) <= set(styles.METHODS)
    assert len({colour for colour, _, _ in styles.METHODS.values()}) == len(styles.METHODS)
    assert len({style[1:] for style in styles.METHODS.values()}) > len(styles.METHODS) / 2
    assert method_panels.ordered_methods(["new", "RF", "ours"]) == ["ours", "RF", "new"]
    assert method_panels.style_of("new")["color"] == styles.OTHER[0]
    for name in styles.METHODS:
        shade = np.dot(method_panels.dark_of(name), (0.3, 0.59, 0.11))
        assert shade <= 0.4501


@pytest.mark.parametrize(("methods", "across"), [(1, 1), (2, 2), (5, 5), (6, 3), (7, 4), (34, 5)])
def test_few_methods_leave_no_empty_panels(methods, across):
    fig, axes = method_panels.panel_each([f"m {i}" for i in range(methods)], 1.3, 0.9, 0.07, 0.8, 0.3)
    assert len(axes) == methods
    assert axes[0].get_subplotspec().get_gridspec().ncols == across
    assert len(fig.axes) - methods < -(-methods // across)  # at most one a row
    _, alone = curves.panels_of(1)
    assert alone[0].get_subplotspec().get_gridspec().ncols == 1


def test_ours_is_in_colour_wherever_it_stands():
    score = pd.Series({"a": 0.9, "b": 0.8, "c": 0.7, "ours": 0.1})
    assert method_panels.in_colour(score, 3) == ["a", "b", "ours"]


def test_kinds_are_the_planted_ones_and_named_by_what_leads_them():
    factors = (Factor("land use", "categorical", "class"), Factor("slope", "continuous", "degree"),
               Factor("aspect", "circular", "degree"), Factor("DV", "continuous", "mm/yr", zero_is_missing=True))
    block = np.repeat(np.arange(6), 20)
    steep, north = (block < 2).astype(float), (block % 3 == 0).astype(float)
    table = np.stack([block, 40 * steep, np.where(north, 0, 180), np.where(block == 5, 0, -block - 1)], axis=1)
    tasks = {"block": np.append(block, 9), "factors": np.vstack([table, [0, 0, 0, 0]]).astype(np.float32),
             "factor_names": np.array(["land use", "slope", "aspect", "DV"])}
    numbers, statistics = block_kinds.block_statistics(tasks, factors, thin=16)
    assert list(numbers) == [0, 1, 2, 3, 4, 5]
    assert list(statistics) == ["slope", "facing north", "DV"]  # east: all alike; classes have no mean
    np.testing.assert_allclose(statistics["slope"], [2**0.5] * 2 + [-(2**-0.5)] * 4)
    speed = np.array([1, 2, 3, 4, 5.0])  # block 5 has none measured, and takes the mean of the others
    np.testing.assert_allclose(statistics["DV"], [*(speed - 3) / speed.std(), 0])
    planted = pd.DataFrame({"slope": [3, 3.1, -1, -1, -1, -1], "dis2road": [1, 1, 1.1, 1, -2, -2.1],
                            "new": [0, 0.1, 0, 0, 0, 0]})
    found, names = block_kinds.kinds_of_blocks(planted, 3, seed=1)
    assert len(set(found[:2])) == len(set(found[2:4])) == len(set(found[4:])) == 1
    assert {names[k] for k in found[:2]} == {"steep, far from roads"}
    assert {names[k] for k in found[4:]} == {"near roads, gentle"}
    assert block_kinds.end_of("new", True) == "high new"


def test_root_axis_keeps_ticks_apart_and_inside():
    with matplotlib.rc_context(styles.STYLE):
        ax = Figure().subplots()
        measure_bars.root_axis(ax, -0.01, 0.6)
    ticks, (low, high) = np.array(sorted(ax.get_xticks())), ax.get_xlim()
    assert 0 in ticks
    assert low < ticks.min()
    assert ticks.max() < high
    roots = np.sign(ticks) * np.sqrt(np.abs(ticks))
    assert np.diff(roots).min() >= 0.15 * np.sqrt(0.6)
