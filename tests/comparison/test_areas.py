"""One table out of the comparisons of several areas."""

import sys

import numpy as np
import pandas as pd
import pytest

from lsm.comparison.tables.score_tables import COLUMNS
from lsm.run.paths import PROJECT

sys.path.append(str(PROJECT / "benchmarks"))
import areas


def write_intervals(root, region: str, protocols: dict[str, dict[str, float]]) -> None:
    (root / "tmp").mkdir(parents=True, exist_ok=True)
    rows = [{"protocol": protocol, "with_dv": with_dv, "method": method, "measure": measure, "value": value,
             "low": value - 0.02, "high": value + 0.02, "units": 40}
            for protocol, methods in protocols.items() for method, value in methods.items()
            for measure in ("auroc", "brier", "kappa", "accuracy") for with_dv in (True, False)]
    pd.DataFrame(rows, columns=COLUMNS["intervals"]).to_csv(root / "tmp" / f"{region}_intervals.csv", index=False)


@pytest.fixture
def roots(tmp_path):
    write_intervals(tmp_path / "a", "HK", {"partitions": {"ours": 0.9, "RF": 0.8}, "blocked 5 km": {"RF": 0.7},
                                           "blocked 10 km": {"RF": 0.6}})
    write_intervals(tmp_path / "b", "small", {"partitions": {"RF": 0.75, "logistic regression": 0.77}})
    write_intervals(tmp_path / "b", "other", {"published": {"RF": 0.75}})
    return [tmp_path / "a", tmp_path / "b"]


def test_areas_stand_beside_each_other(roots, capsys):
    areas.main(*map(str, roots))
    said = capsys.readouterr().out
    header, _, *rows = [line for line in said.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in header.split("|")[2:-1]] == ["HK", "small"]
    cells = {row.split("|")[1].strip(): [cell.strip() for cell in row.split("|")[2:-1]] for row in rows}
    assert cells["RF"][0] == ".800 [.780, .820] / .800 [.780, .820] / .800 [.780, .820]"
    assert cells["ours"][1] == ""
    assert cells["logistic regression"][0] == ""
    assert "- HK: best other method RF, AUROC 0.800, ours 0.900; 40 blocks or squares drawn" in said
    assert "- small: best other method logistic regression, AUROC 0.770, ours not scored" in said


def test_the_largest_squares_stand_for_blocked(roots):
    found = areas.read_areas(roots, "blocked")
    assert list(found) == ["HK"]
    assert set(found["HK"].protocol) == {"blocked 10 km"}
    assert areas.read_areas(roots, "block") == {}


def test_a_region_in_two_roots_is_refused(roots):
    write_intervals(roots[1], "HK", {"partitions": {"RF": 0.7}})
    with pytest.raises(ValueError, match="found HK in two"):
        areas.read_areas(roots, "partitions")


def test_a_half_is_scored_alone(roots, capsys):
    """East of the median X ours is perfect and the rival blind; in the west it is the other way round."""
    n, rng = 400, np.random.default_rng(0)
    x, label = rng.permutation(n) * 10.0, rng.integers(0, 2, n)
    good, blind, east = 0.1 + 0.8 * label, np.full(n, 0.5), x >= np.median(x)
    pd.DataFrame({"sample": np.arange(n), "x": x, "y": 0}).to_csv(roots[0] / "tmp" / "HK_splits.csv.gz", index=False)
    scores = [pd.DataFrame({"protocol": "partitions", "seed": 1, "with_dv": with_dv, "method": method, "k": "",
                            "steps": "",
                            "point": np.arange(n), "block": 0, "unit": np.arange(n) // 10, "label": label,
                            "origin": "inventory", "score": score})
              for with_dv in (True, False)
              for method, score in (("ours", np.where(east, good, blind)), ("RF", np.where(east, blind, good)))]
    pd.concat(scores)[list(COLUMNS["scores"])].to_csv(roots[0] / "tmp" / "HK_scores.csv.gz", index=False)
    areas.main(str(roots[0]), "EAST=HK")
    said = capsys.readouterr().out
    assert "- HK: best other method RF, AUROC 0.500, ours 1.000" in said
    assert "Ours minus each other method, HK, east of its median X" in said
    assert "+0.5000 [+0.5000, +0.5000]" in said


def test_nothing_to_show_is_said(tmp_path):
    with pytest.raises(SystemExit, match=r"run compare_methods\.py there"):
        areas.main(str(tmp_path))
