"""The dates of landslides: the year of each, which are the newest, and whether older ones predict their places.

Newer landslides need not lie near older ones: another earthquake or another storm makes them elsewhere. What networks
have learned of places, from X and Y and by adapting to blocks, then misleads, and factors alone forecast better. The
older and newer landslides of the inventory show whether this is so (prediction in time: Chung and Fabbri 2003, Natural
Hazards 30, 451).
"""

from typing import Protocol

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from lsm.inputs.tables.text_tables import Table, frame_of, one_column
from lsm.learner.tasks import EncodedSamples
from lsm.run.artifacts import check, record_path
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError

NEWER = 0.3   # of the landslides: the newest, which older ones are to predict
FEWEST = 20   # landslides, older and newer each; fewer tell nothing
TREES = 200
COLUMNS = ("X", "Y", "year")  # of the table of dates


class Constants(Protocol):
    """What a record is compared with."""

    REGION: str
    SEED: int


class ForecastConstants(Constants, Protocol):
    """And of meta_learner.py: whether the map is for landslides to come."""

    FORECAST: bool


def years(paths: Paths, samples: dict, c: Constants) -> np.ndarray:
    """The year (samples,) of every landslide by its place in the table of dates; nan where it has none. Raises
    InputError.

    By place, not by row: stage 0 writes the samples table in another order than prepare_region.py.
    """
    if not paths.samples_dates.is_file():
        return np.full(len(samples["label"]), np.nan)
    dated = _dates_table(paths, c).round({"X": 2, "Y": 2}).drop_duplicates(["X", "Y"])
    places = pd.DataFrame(samples["xy"].round(2), columns=["X", "Y"])
    found = places.merge(dated, how="left", on=["X", "Y"])["year"].to_numpy(float)
    return np.where(samples["label"] == 1, found, np.nan)


def _dates_table(paths: Paths, c: Constants) -> pd.DataFrame:
    """The table of dates: X, Y and year, nan where it is not known. Raises InputError."""
    path = paths.samples_dates
    if record_path(path).is_file():
        check(path, "prepare_region.py", c)
    table = Table(path)
    places = [one_column(table, (name,), repr(name)) for name in COLUMNS]
    if None in places:
        raise InputError(f"{shown(path)}: header: expected {', '.join(COLUMNS)}, found {', '.join(table.header)}; run "
                         "prepare_region.py again, or remove the file")
    frame = frame_of(table, places).set_axis(list(COLUMNS), axis=1)
    return frame.apply(pd.to_numeric, errors="coerce").astype(float).dropna(subset=["X", "Y"])


def check_dates(paths: Paths, c: Constants) -> None:
    """Refuses FORECAST=True where the region's landslides have no dates. Raises InputError."""
    _need_two(paths, _dates_table(paths, c)["year"].to_numpy() if paths.samples_dates.is_file() else np.empty(0))


def _need_two(paths: Paths, year: np.ndarray) -> None:
    """Refuses years (landslides,), nan where not known, without two different ones. Raises InputError."""
    found = len(np.unique(year[np.isfinite(year)]))
    if found < 2:
        raise InputError(f"FORECAST=True: {shown(paths.samples_dates)}: expected landslides of two years or more, "
                         f"found {found}; run prepare_region.py with an inventory that has dates (DATE_FIELD), or "
                         "leave FORECAST out")


def newest(year: np.ndarray, newer: float) -> float:
    """The first year of the newest landslides; year (landslides,), nan where it is not known.

    newer  below 1: the share of dated landslides that should be the newest; else the year itself
    A year's landslides stay together, so the share is met as nearly as whole years allow. nan where fewer than two
    years are known. Raises InputError for a year that is not among them.
    """
    years, counts = np.unique(year[np.isfinite(year)], return_counts=True)
    if len(years) < 2:
        return np.nan
    if newer >= 1:
        if not years[0] < newer <= years[-1]:
            raise InputError(f"NEWER={newer:g}: expected a share below 1, or a year after {years[0]:.0f} and not after "
                             f"{years[-1]:.0f}, the first and the last year of the landslides")
        return float(newer)
    share = counts[::-1].cumsum()[::-1] / counts.sum()  # of landslides in or after each year
    return float(years[1:][np.abs(share[1:] - newer).argmin()])


def place_counts(paths: Paths, table: dict, samples: EncodedSamples, known: np.ndarray, c: ForecastConstants) -> bool:
    """Whether the map of stage 3's constants may know places; False only where c.FORECAST and `place_tells` say so.

    table  the arrays of the tasks, the same samples as `samples`. Raises InputError where there are no dates
    """
    if not c.FORECAST:
        return True
    year = years(paths, table, c)
    _need_two(paths, year)
    found = aurocs(samples, known, year, c.SEED)
    if not found:
        print(f"FORECAST: fewer than {FEWEST} older or newer landslides with a year: the map is made as without it")
        return True
    print(f"FORECAST: older landslides predict the landslides of {newest(year[known], NEWER):.0f} and later with AUROC "
          f"{found[0]:.3f} where X and Y are known, with {found[1]:.3f} where they are not: "
          + ("the map is made as without FORECAST" if found[0] >= found[1] else
             "X and Y are left out, and all blocks keep the intermediate model"))
    return found[0] >= found[1]


def place_tells(samples: EncodedSamples, known: np.ndarray, year: np.ndarray, seed: int) -> bool:
    """Whether a model that knows the places of older landslides predicts newer ones at least as well as a model of the
    factors alone; True where this cannot be measured. Arguments as of `aurocs`."""
    found = aurocs(samples, known, year, seed)
    return not found or found[0] >= found[1]


def aurocs(samples: EncodedSamples, known: np.ndarray, year: np.ndarray, seed: int) -> tuple[float, float] | None:
    """How well older landslides predict the newest: AUROC with X and Y, and without. None with too few of them dated.

    known  (samples,) bool: the samples to look at; no other label is read
    year   (samples,) of a landslide, nan where it is not known

    A random forest stands for the networks, once with and once without X and Y (the last two inputs). It learns from
    the older landslides and is asked for the newest; the other samples are split at random in the same proportion.
    """
    dated = known & (samples.label == 1) & np.isfinite(year)
    newer = dated & (year >= newest(year[dated], NEWER))
    older, absent = dated & ~newer, np.flatnonzero(known & (samples.label == 0))
    if min(newer.sum(), older.sum(), len(absent)) < FEWEST:
        return None
    asked = np.random.default_rng([seed, 9]).permutation(len(absent)) < len(absent) * newer.sum() / dated.sum()
    teach, ask = (np.append(np.flatnonzero(of), absent[part]) for of, part in ((older, ~asked), (newer, asked)))

    def auroc(x: np.ndarray) -> float:
        forest = RandomForestClassifier(TREES, random_state=seed).fit(x[teach], samples.label[teach])
        return roc_auc_score(samples.label[ask], forest.predict_proba(x[ask])[:, 1])

    return auroc(samples.x), auroc(samples.x[:, :-2])
