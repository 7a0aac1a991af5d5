"""The years of landslides, the newest of them, and whether older ones tell where newer ones are."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lsm.learner.support import dates
from lsm.learner.tasks import EncodedSamples
from lsm.run import pipeline
from lsm.run.artifacts import write_csv, write_npz
from lsm.run.paths import Paths
from lsm.run.settings import InputError, of_stage

SIDE, N = 10_000.0, 800  # m, samples
CONSTANTS = SimpleNamespace(REGION="isle", SEED=1, FORECAST=True)


@pytest.fixture
def paths(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    (tmp_path / "src_data" / "isle").mkdir(parents=True)
    return Paths("isle")


def dated(moves: bool) -> tuple[EncodedSamples, np.ndarray]:
    """Half of the samples are landslides: those of 2001 and 2002 in the west, those of 2009 there too or, where the
    cause `moves`, in the east. All have a somewhat higher factor than the absences, which lie anywhere."""
    rng = np.random.default_rng(5)
    label = (np.arange(N) % 2).astype(np.int32)
    year = np.where(label, rng.choice([2001.0, 2002.0, 2009.0], N), np.nan)
    xy = rng.uniform(0, SIDE, (N, 2))
    xy[label == 1, 0] /= 2
    xy[(year == 2009) & moves, 0] += SIDE / 2
    factor = rng.normal(size=(N, 1)) + 0.7 * label[:, None]
    x = np.column_stack([factor, xy / SIDE]).astype(np.float32)
    return EncodedSamples(x, label, xy, np.zeros(N, int), np.ones(N, np.float32)), year


def table_of(paths: Paths, xy: np.ndarray, year: np.ndarray) -> pd.DataFrame:
    table = pd.DataFrame({"X": xy[:, 0], "Y": xy[:, 1], "year": year}).dropna()
    table.to_csv(paths.samples_dates, index=False)
    return table


@pytest.mark.parametrize("moves", [False, True])
def test_older_landslides_tell_newer_ones_where_these_lie_near(moves):
    samples, year = dated(moves)
    assert dates.place_tells(samples, np.ones(N, bool), year, 1) is not moves


def test_known_samples_alone_are_read():
    (samples, year), (other, other_year) = dated(True), dated(False)
    known = np.arange(N) < 500
    mixed = replace(samples, label=np.where(known, samples.label, 1 - samples.label),
                    x=np.where(known[:, None], samples.x, other.x))
    assert dates.place_tells(mixed, known, np.where(known, year, other_year), 1) is False


@pytest.mark.parametrize("content", ["", 'X,Y,year\n"1,2,3\n'])
def test_a_table_of_dates_that_cannot_be_read_is_refused(paths, content):
    paths.samples_dates.write_text(content)
    with pytest.raises(InputError, match=f"{paths.samples_dates.name}.*: expected"):
        dates.years(paths, {"xy": np.zeros((1, 2)), "label": np.ones(1)}, CONSTANTS)


def test_places_of_dates_that_are_no_numbers_count_for_nothing(paths):
    paths.samples_dates.write_text("X,Y,year\nwest,0,1999\n0,0,2001\n")
    assert dates.years(paths, {"xy": np.zeros((1, 2)), "label": np.ones(1)}, CONSTANTS).tolist() == [2001]


@pytest.mark.parametrize("older", [0, dates.FEWEST - 1])
def test_few_dated_landslides_change_nothing(older):
    samples, year = dated(True)
    known = (samples.label == 0) | (year == 2009)
    known[np.flatnonzero(year == 2001)[:older]] = True
    assert dates.place_tells(samples, known, year, 1) is True


def test_the_newest_years_hold_about_the_share_asked_for():
    year = np.repeat([2000, 2004, 2009, 2014], [50, 20, 25, 5]).astype(float)
    assert dates.newest(year, 0.3) == 2009
    assert dates.newest(year, 0.05) == 2014
    assert dates.newest(year, 0.99) == 2004  # one year must be left to learn from
    assert dates.newest(year, 2004) == 2004
    for none in (2000, 2050):
        with pytest.raises(InputError, match=f"NEWER={none}: expected a share below 1, or a year after 2000 and not "
                                             "after 2014"):
            dates.newest(year, none)
    assert np.isnan(dates.newest(np.full(9, 2000.0), 0.3))
    assert np.isnan(dates.newest(np.full(9, np.nan), 0.3))


def test_years_are_found_by_place(paths):
    samples, _ = dated(False)
    tasks = {"xy": samples.xy.round(2) + 0.004, "label": samples.label}  # places are the same to a centimetre
    rows = [81, 83, 0, 85, 81]
    table = pd.DataFrame({"X": samples.xy[rows, 0].round(2) + 0.001, "Y": samples.xy[rows, 1].round(2),
                          "year": ["2003", "unknown", "1999", "2011", "1950"]})
    expected = np.full(N, np.nan)
    expected[[81, 85]] = 2003, 2011  # row 0 is no landslide; of two rows at a place the first counts
    table.to_csv(paths.samples_dates, index=False)
    np.testing.assert_array_equal(dates.years(paths, tasks, CONSTANTS), expected)
    write_csv(paths.samples_dates, table, "prepare_region.py", CONSTANTS, [])
    np.testing.assert_array_equal(dates.years(paths, tasks, CONSTANTS), expected)
    paths.samples_dates.write_text(paths.samples_dates.read_text() + "1,2,3\n")  # no longer what its record describes
    with pytest.raises(InputError, match="not the file its record describes"):
        dates.years(paths, tasks, CONSTANTS)


def test_a_table_of_dates_without_years_is_refused(paths):
    pd.DataFrame({"X": [1], "Y": [2], "date": [3]}).to_csv(paths.samples_dates, index=False)
    with pytest.raises(InputError, match="expected X, Y, year, found X, Y, date"):
        dates.years(paths, {"xy": np.zeros((1, 2)), "label": np.ones(1)}, CONSTANTS)


def test_a_forecast_needs_landslides_of_two_years(paths):
    samples, year = dated(True)
    tasks, known = {"xy": samples.xy, "label": samples.label}, np.ones(N, bool)
    assert dates.place_counts(paths, tasks, samples, known, SimpleNamespace(FORECAST=False)) is True
    for of, found in ((np.full(N, np.nan), 0), (np.where(year > 2000, 2001, np.nan), 1)):
        table_of(paths, samples.xy, of)
        with pytest.raises(InputError, match=f"expected landslides of two years or more, found {found}; run prepare"):
            dates.place_counts(paths, tasks, samples, known, CONSTANTS)
        with pytest.raises(InputError, match=f"expected landslides of two years or more, found {found}; run prepare"):
            dates.check_dates(paths, CONSTANTS)  # before any stage
    table_of(paths, samples.xy, year)
    assert dates.place_counts(paths, tasks, samples, known, CONSTANTS) is False


def test_later_commands_keep_a_forecast(paths):
    c = of_stage("meta_learner.py", REGION="isle", FORECAST=True)
    write_npz(paths.model, {"reach": np.array(0.0)}, "meta_learner.py", c, [])
    assert pipeline.arguments_of("meta_learner.py", "isle", []) == ["REGION=isle", "FORECAST=True"]
    assert pipeline.arguments_of("meta_learner.py", "isle", ["FORECAST=False"]) == ["REGION=isle", "FORECAST=False"]
    assert pipeline.arguments_of("predict_LSM.py", "isle", []) == ["REGION=isle"]
