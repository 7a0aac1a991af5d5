"""One table out of the comparisons of several areas."""

import sys

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


def test_nothing_to_show_is_said(tmp_path):
    with pytest.raises(SystemExit, match=r"run compare_methods\.py there"):
        areas.main(str(tmp_path))
