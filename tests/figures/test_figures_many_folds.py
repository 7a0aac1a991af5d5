"""Figures of the comparison at print size: many folds in one panel, numbers beside whiskers, seeds in the foot."""

import itertools
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import figure
from lsm.figures import styles
from lsm.figures.common import caption
from lsm.figures.comparison import curves, measure_bars, method_panels
from lsm.run import artifacts
from lsm.run.paths import Paths
from lsm.run.settings import constants

MADE_BY = SimpleNamespace(REGION="small", SEED=1, SEEDS=2)
STAGE = "compare_methods.py"
NAMES = ["ours", "SVM", "RF"]


def curves_of(repeats: int) -> pd.DataFrame:
    """A rising curve of each method under each of so many folds."""
    x = np.linspace(0, 1, 11)
    return pd.concat([pd.DataFrame({"protocol": "partitions", "method": method, "repeat": str(fold), "x": x,
                                    "y": x ** (0.2 + 0.1 * fold)}) for method in NAMES for fold in range(repeats)])


@pytest.mark.parametrize(("repeats", "thin", "bands", "words"), [
    (1, 0, 0, "lines: mean"), (5, 15, 0, "lines: mean; thin lines: each repeat or fold"),
    (6, 0, 1, "lines: mean; band: ours, from 10 to 90 % of its repeats or folds")])
def test_many_folds_are_one_band(repeats, thin, bands, words):
    ax, table = Figure().subplots(), curves_of(repeats)
    curves.lines_of_repeats(ax, table, NAMES)
    assert len(ax.lines) == len(NAMES) + thin
    assert len(ax.collections) == bands
    assert curves.words_of_lines(table) == words


def test_the_band_holds_the_middle_of_the_folds():
    ax, table = Figure().subplots(), curves_of(30)
    curves.lines_of_repeats(ax, table, NAMES)
    corners = ax.collections[0].get_paths()[0].vertices
    of_ours = table[(table["method"] == "ours") & (table["x"] == 0.5)]["y"]
    drawn = corners[np.isclose(corners[:, 0], 0.5), 1]
    np.testing.assert_allclose([drawn.min(), drawn.max()], of_ours.quantile([0.1, 0.9]))


def boxes(fig, texts) -> list:
    """Where texts with letters lie on a drawn figure, in pixels."""
    renderer = FigureCanvasAgg(fig).get_renderer()
    fig.draw(renderer)
    return [text.get_window_extent(renderer) for text in texts if text.get_text().strip()]


@pytest.fixture
def paths(tmp_path, monkeypatch):
    """Under LSM_ROOT: measures with long whiskers, and differences whose last ticks lie at the ends of the axes."""
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    paths = Paths("small")
    table = pd.DataFrame([{"protocol": protocol, "subset": "all", "with_dv": True, "method": method, "k": "",
                           "steps": "", "measure": measure, "mean": 0.3, "sd": 0.1 + 0.05 * i, "n": 100, "seeds": 2}
                          for protocol in ("published", "partitions") for i, method in enumerate(NAMES)
                          for measure in styles.MEASURES])
    artifacts.write_csv(paths.method_metrics, table, STAGE, MADE_BY, [])
    table = pd.DataFrame([{"protocol": protocol, "with_dv": True, "rival": rival, "measure": measure,
                           "difference": 0.0, "low": -0.11, "high": 0.088}
                          for protocol in ("published", "partitions") for rival in NAMES[1:]
                          for measure in ("kappa", "auroc", "brier")])
    artifacts.write_csv(paths.method_differences, table, STAGE, MADE_BY, [])
    return paths


def test_numbers_stand_after_the_longest_whisker_within_their_column(paths):
    with matplotlib.rc_context(styles.STYLE):
        fig, _ = measure_bars.bars(constants(figure.Constants, ["REGION=small"]), "published")
        for ax in fig.axes:
            found = boxes(fig, ax.texts[:len(NAMES)])
            whiskers = ax.transData.transform([(0.3 + 0.2, 0)])[0][0]
            assert min(box.x0 for box in found) > whiskers + 2 * fig.dpi / 72  # two points: the cap and a gap
            assert max(box.x1 for box in found) <= ax.bbox.x1 + 1


def test_ticks_of_neighbouring_axes_are_no_one_number(paths):
    with matplotlib.rc_context(styles.STYLE):
        fig, _ = measure_bars.differences(constants(figure.Constants, ["REGION=small"]))
        columns = [boxes(fig, ax.get_xticklabels()) for ax in fig.axes]
    for left, right in itertools.pairwise(columns):
        assert min(box.x0 for box in right) - max(box.x1 for box in left) > 0.1 * fig.dpi


def test_the_foot_names_the_seeds_of_repeats_and_one_seed_of_folds(paths):
    c = constants(figure.Constants, ["REGION=small"])
    feet = [fig.texts[-1].get_text() for fig, _ in (measure_bars.bars(c, "published"),
                                                    measure_bars.bars(c, "partitions"), measure_bars.differences(c))]
    assert [foot.replace("\n", " · ").split(" · ")[1] for foot in feet] == ["seeds 1 and 2", "seed 1", "seeds 1 and 2"]


@pytest.mark.parametrize(("seed", "repeats", "words"), [
    (1, 1, "seed 1"), (3, 1, "seed 3"), (1, 5, "seeds 1 to 5"), (3, 2, "seeds 1 and 2 of SEED=3")])
def test_seeds_in_words(seed, repeats, words):
    fig = Figure()
    caption(fig, SimpleNamespace(REGION="small"), {"seed": seed}, "numbers", repeats)
    assert fig.texts[-1].get_text() == f"small · {words} · numbers"


def test_folds_have_no_seeds_of_their_own():
    numbers = pd.Series({"published": 5, "partitions": 30, "random folds": 30, "blocked 5 km": 9})
    assert method_panels.seeds_of(numbers) == 5
    assert method_panels.seeds_of(numbers.drop("published")) == 1
