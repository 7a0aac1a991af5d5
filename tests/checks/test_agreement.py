"""Samples and grid at the same places: what was compared, what was not, and what differs."""

import re

import numpy as np
import pytest

from lsm.checks.agreement import of_agreement, of_rows, values_of_cells
from lsm.inputs.factor.definition import Factor
from lsm.inputs.rasters import Raster

ROCK, HEIGHT, WET, ROAD, WAY = FACTORS = (
    Factor("rock", "categorical", "class"), Factor("height", "continuous", "m"), Factor("wet", "continuous", "-"),
    Factor("road", "distance", "m"), Factor("way", "circular", "degree"))
SPEED = Factor("DV", "continuous", "mm/yr", zero_is_missing=True)
RASTER = Raster(np.zeros((4, 20, 30), np.float32), np.ones((20, 30), bool), (0, 10, 0, 200, 0, -10), "")


def values(n: int = 400) -> np.ndarray:
    rng = np.random.default_rng(2)
    return np.column_stack([rng.integers(1, 6, n), rng.normal(500, 100, n), rng.normal(8, 2, n), rng.gamma(2, 300, n),
                            rng.uniform(0, 360, n)])


def found(samples, grid, factors=FACTORS) -> list[tuple[str, str]]:
    return [(f.level, f.found) for f in of_agreement(samples, grid, factors, "s.csv") if f.level != "ok"]


def changed(column: int, change, rows=slice(None)) -> np.ndarray:
    out = values()
    out[rows, column] = change(out[rows, column])
    return out


def test_equal_tables_say_what_was_compared():
    last = of_agreement(values(), values(), FACTORS, "s.csv")[-1]
    assert (last.level, last.found) == ("ok", "400 samples compared with the grid at their places in 5 factors; 0 "
                                              "differ; lowest rank correlation 1.00 (height)")


@pytest.mark.parametrize(("grid", "words"), [
    (changed(2, lambda v: v + 0.1), "wet: 100% of the samples differ from the grid at their places"),
    (changed(1, lambda v: v + np.sin(v)), "height: .*% of the samples differ"),
    (changed(3, np.flip, slice(100)), "road: 25% of the samples differ"),
    (changed(4, lambda v: (v + 3) % 360), "way: 100% of the samples differ"),
    (changed(0, lambda v: np.select([v == 1, v == 2], [2, 1], v)), r"rock: .* \(1 is 2 there, 2 is 1 there\)"),
    (changed(1, np.negative), r"height falls in the samples where .* \(rank correlation -1.00\)"),
    (changed(0, lambda v: v % 5 + 1, slice(60)), "rock: 15% of the samples differ")])
def test_a_wrong_column_is_named(grid, words):
    (level, text), = found(values(), grid)
    assert re.match(words, text)
    assert level == ("error" if "there" in text.partition("(")[2] or "-1.00" in text else "warning")


def test_classes_in_words_are_named_by_their_words():
    rock = Factor("rock", "categorical", "class", words=("Granite", "tuff"))
    codes = np.random.default_rng(2).integers(1, 3, (400, 1)).astype(float)
    (level, text), = found(codes, 3 - codes, (rock,))
    assert level == "error"
    assert text.endswith("('Granite' is 'tuff' there, 'tuff' is 'Granite' there)")
    (_, text), = found(codes, np.where(codes == 1, 0, codes), (rock,))
    assert text.endswith("('Granite' is a word of the grid alone there)")


def test_velocities_of_another_sign_in_part():
    velocity = np.random.default_rng(4).normal(0, 5, (400, 1))
    grid = np.where(np.arange(400)[:, None] < 260, -velocity, velocity)
    (level, text), = found(velocity, grid, (SPEED,))
    assert level == "error"
    assert text.startswith("DV: samples and grid run against each other (rank correlation -0.")
    assert found(velocity, velocity + np.random.default_rng(5).normal(0, 5, (400, 1)), (SPEED,)) == []


@pytest.mark.parametrize(("factor", "said"), [
    (-1, "DV falls in the samples where"), (0.1, "DV of the samples is 0.1 times"), (1, None)])
def test_velocities_of_another_sign_or_unit_where_most_points_hardly_move(factor, said):
    rng = np.random.default_rng(6)
    grid = np.where(np.arange(400) < 40, rng.normal(-8, 1, 400), rng.normal(0, 0.05, 400))[:, None]
    assert [(level, text[:len(said)]) for level, text in found(factor * grid, grid, (SPEED,))] == (
        [("error", said)] if said else [])


def test_samples_of_finer_layers_are_no_fault():
    rng = np.random.default_rng(3)
    grid = values()
    grid[:, 1:4] += rng.normal(0, 0.1, (400, 3)) * np.ptp(grid[:, 1:4], axis=0)
    grid[:, 4] = (grid[:, 4] + rng.normal(0, 10, 400)) % 360
    grid[::7, 0] = 1
    assert found(values(), np.abs(grid)) == []


def test_what_was_not_compared_is_said():
    few = values()
    few[20:] = np.nan
    (level, text), = found(values(), few)
    assert level == "warning"
    assert text == "20 of 400 samples lie in a cell of the grid: samples and grid were not compared"
    (level, text), = found(values(20), values(20))
    assert text == "20 samples are too few to compare with the grid, 30 are needed"
    few = values()
    few[10:, 2] = np.nan
    assert found(values(), few) == [("warning", "wet: fewer than 30 samples have a value in both samples and grid; not "
                                                "compared")]
    few[:40] = np.nan
    assert found(values(), few)[0][1] == "360 of 400 samples lie in a cell of the grid"
    still = np.c_[values(), np.r_[np.ones(12), np.zeros(388)]]
    said = of_agreement(still, still, (*FACTORS, SPEED), "s.csv")
    assert [(f.level, f.found[:3]) for f in said] == [("ok", "DV:"), ("ok", "400")]


def test_cells_with_several_rows_or_none(tmp_path):
    path = tmp_path / "grid.csv"
    rows = [f"{10 * c + 5},{195 - 10 * r},{r}" for r in range(20) for c in range(30)]
    path.write_text("\n".join(["X,Y,height", *rows, *rows[:7], *rows[:2]]))
    of_cells, seen = values_of_cells(path, (HEIGHT,), RASTER, np.array([[5.0, 195], [295, 5], [999, 0]]), 64)
    np.testing.assert_array_equal(of_cells[:, 0], [0, 19, np.nan])
    assert [(f.level, f.found) for f in of_rows(seen, RASTER, "g.csv")] == [
        ("warning", "7 cells hold several rows"), ("ok", "0.0% of the cells with terrain have no row")]
    seen[:3] = 0
    assert of_rows(seen, RASTER, "g.csv")[1].found == "15.0% of the cells with terrain have no row"
