"""Sample and grid tables: one reader for each; it checks every value before it returns any.

A table has one column a factor, then X and Y (m, in the CRS of composite.tif) and, for samples, label (1 landslide,
0 non-landslide; words such as FALSE and stable too). Published tables store an exact zero as 0.000001; the readers
return zero.
"""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd

from lsm.inputs.bands import LOOKED_AT, SURE, gaps_among, impossible, limits_of, marks_gap, ndvi_scale
from lsm.inputs.factor.class_words import NO_CLASS, class_word, codes_of_words
from lsm.inputs.factor.definition import Factor
from lsm.inputs.tables.parquet_tables import ParquetTable, text_or_parquet
from lsm.inputs.tables.text_tables import Table, find_columns, frame_of, numeric, one_column, plain
from lsm.run.paths import shown
from lsm.run.settings import InputError

LARGEST = float(np.finfo(np.float32).max)  # the stages hold factors as float32
STORED_ZERO = 0.000001  # 9.99999997e-07 where a program stored it as float32
OTHER_NAMES = {  # of the columns that are no factors
    "X": ("point_x", "easting", "east"), "Y": ("point_y", "northing", "north"),
    "label": ("landslide", "landslides", "is landslide", "landslide occurrence", "landslide presence", "target",
              "lslpts", "deslizamiento", "frana", "glissement", "rutschung", "滑坡")}
DEGREES = ("longitude", "latitude", "lon", "lat", "long", "decimallongitude", "decimallatitude")
LANDSLIDE = ("1", "true", "t", "yes", "y", "landslide", "slide", "unstable", "present", "presence", "positive",
             "si", "sí", "sim", "oui", "ja", "verdadero", "verdadeiro", "vero", "vrai", "wahr",
             "occurred", "deslizamiento", "frana", "glissement", "rutschung", "滑坡", "是")
DENIED = ("non landslide", "no landslide", "not landslide", "non slide", "no slide", "not slide", "no deslizamiento",
          "non frana", "not occurred", "非滑坡")  # words that mean nothing but a place that did not slide
STABLE = ("0", "-1", "false", "f", "no", "n", "stable", *DENIED, "absent", "absence", "negative",
          "não", "nao", "non", "nein", "falso", "faux", "falsch", "estable", "estável", "stabile",
          "stabil", "稳定", "否")  # -1 beside 1
# what may stand behind these words and leaves their meaning: "non-landslide point", "No landslide. (verified)"
_DENIED_MORE = (rf"^({'|'.join(DENIED)})s?( ?(areas?|points?|places?|locations?|sites?|zones?|cells?|samples?|"
                r"polygons?|slopes?|units?|点|区|区域|样本|样点))?[.]?( ?\([^()]*\))?[.]?$")
_ALIKE = "write the classes alike in samples and grid: words in both, or whole numbers in both"
_CONVERT = {  # what to do with a column of a factor in another unit
    "DEM": "convert the column to metres, in all tables",
    "slope": "if percent, write degrees(atan(percent / 100)) in all tables, or name the column slope_percent there and "
             "add FURTHER=slope_percent",
    "aspect": "if from -180 to 180, add 360 to those below 0, in all tables; -1 is flat ground"}


@dataclass(frozen=True)
class Samples:
    """Labelled points: factors (samples, factors) float32, xy (samples, 2) float64 m, label (samples,) int8."""

    factors: np.ndarray
    xy: np.ndarray
    label: np.ndarray


def read_samples(path: Path, factors: tuple[Factor, ...], stage: str = "src_data/make_demo.py") -> Samples:
    """Reads a sample table. `stage` is the command that would make it, for the message. Raises InputError."""
    table = _present(path, stage)
    _, places = columns_of(table, factors, ("X", "Y", "label"))
    frame = next(table.frames(places, text=_in_words(places, factors)))
    values, xy = _checked_rows(table, frame, factors, first_row=0)
    for j in (j for j, factor in enumerate(factors) if factor.name == "NDVI" and ndvi_scale(values[:, j]) != 1):
        wild = np.abs(values[:, j]) > 10  # the bulk is -1 to 1, or standardised
        _refuse(wild, table, frame.iloc[:, j], "NDVI from -1 to 1, as in the other rows", 0)
    label = labels_of(frame.iloc[:, -1])
    few = np.isnan(label).sum() < max(10, 0.1 * len(label))
    _refuse(np.isnan(label), table, frame.iloc[:, -1], "0 or 1 (1 = landslide)", 0,
            "correct or remove the row" if few else "write 1 for landslides and 0 for the others")
    for missing, name in ((0, "non-landslides"), (1, "landslides")):
        if not (label == missing).any():
            raise InputError(f"{shown(path)}: column label: expected both 0 and 1, found no {missing}; add {name}")
    return Samples(values, xy, label.astype(np.int8))


def labels_of(column: pd.Series) -> np.ndarray:
    """Labels (rows,) as people write them: 1 landslide, 0 non-landslide, nan for anything else."""
    if column.dtype.kind in "iuf":
        return np.select([column == 1, column.isin((0, -1))], [1.0, 0.0], np.nan)
    words = words_of(column)
    return np.select([words.isin(LANDSLIDE), words.isin(STABLE)], [1.0, 0.0], np.nan)


def words_of(column: pd.Series) -> pd.Series:
    """The values of a column as LANDSLIDE and STABLE write them: "Non-Landslides" and "non-landslide point" as "non
    landslide", "not a slide" as "not slide"."""
    number, different = pd.factorize(column.astype(str), use_na_sentinel=False)  # few, as a rule
    words = pd.Series(different, dtype=object).str.normalize("NFC").str.strip().str.lower()
    words = words.str.replace(r"(?<=\w)[\s_-]+", " ", regex=True)
    for given, known in ((r"[.,]0+$", ""), ("^non(?=l|s)", "non "), ("^not an? ", "not "), (_DENIED_MORE, r"\1"),
                         ("(?<=slide)s$", "")):
        words = words.str.replace(given, known, regex=True)
    return words.take(number).set_axis(column.index)


def grid_chunks(path: Path, factors: tuple[Factor, ...], rows: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Reads a grid table `rows` rows at a time: factors (rows, factors) float32 and xy (rows, 2) float64."""
    table, first = _present(path, "src_data/make_demo.py"), 0
    _, places = columns_of(table, factors, ("X", "Y"))

    @cache
    def gaps(j: int) -> tuple[float, ...]:  # in a column, by all rows: some of them cannot tell
        parts = (numeric(part, table).iloc[:, 0].to_numpy() for part in text_or_parquet(path).frames([places[j]], rows))
        return gaps_among(parts, 1 + count_rows(path) // LOOKED_AT)

    for frame in table.frames(places, rows, _in_words(places, factors)):
        if len(frame):
            yield _checked_rows(table, frame, factors, first, gaps)
        first += len(frame)
    if first == 0:
        raise InputError(f"{shown(path)}: expected one row a grid cell, found none; write the grid table again")


def count_rows(path: Path) -> int:
    """Rows of a table below its header, about: a value in quotes may take several lines. Raises InputError where there
    is no table."""
    table = _present(path, "src_data/make_demo.py")
    if isinstance(table, ParquetTable):
        return table.count
    lines, last = 0, b""
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 24), b""):
            lines, last = lines + max(block.count(b"\n"), block.count(b"\r")), block[-1:]
    return max(lines - (last in (b"\n", b"\r")), 0)


def unique_places(samples: Samples) -> tuple[np.ndarray, int, int]:
    """The rows to keep so that no place (X, Y) is repeated; the number of rows dropped; the number of places with both
    labels.

    The first row of a place is kept. Of a place with both labels, the first landslide is kept: the landslide was
    observed, the non-landslide was only drawn.
    """
    _, place = np.unique(samples.xy, axis=0, return_inverse=True)
    place = place.ravel()
    order = np.lexsort((np.arange(len(place)), -samples.label, place))  # by place, landslides first, then file order
    _, first = np.unique(place[order], return_index=True)
    keep = np.sort(order[first])
    sums = np.bincount(place, weights=samples.label)
    conflicts = int(((sums > 0) & (sums < np.bincount(place))).sum())
    return keep, len(place) - len(keep), conflicts


def _present(path: Path, stage: str) -> Table | ParquetTable:
    if not path.is_file():
        if (other := path.with_suffix(".parquet")).is_file():
            write = f"import pandas; pandas.read_parquet('{shown(other)}').to_csv('{shown(path)}', index=False)"
            raise InputError(f"{shown(other)}: expected a csv table, found Parquet; write it: python -c \"{write}\"")
        of_demo = " for the demo area" if stage == "src_data/make_demo.py" else ""
        raise InputError(f"{shown(path)}: missing; put the table there, or run {stage}{of_demo}")
    return text_or_parquet(path)


def find_name(names: dict, name: str, aliases: tuple[str, ...] = ()):
    """The entry of a dict by name for a name or, failing that, an alias, as `plain` has them; None where there is
    none."""
    known = {plain(key): value for key, value in names.items()}
    return next((known[plain(n)] for n in (name, *aliases) if plain(n) in known), None)


def place_of(table: Table, name: str, aliases: tuple[str, ...] = ()) -> int:
    """The place of the column with a name or one of its aliases. Raises InputError where there is none, or several."""
    place = one_column(table, (name, *aliases), repr(name))
    if place is None:
        alias = "" if name in OTHER_NAMES else ", or add an alias to FACTORS in study_area.py"
        raise InputError(f"{shown(table.path)}: header: expected a column {name!r}; {_nearest(table, name)}; rename "
                         f"it{alias}")
    return place


def _nearest(table: Table, name: str) -> str:
    """What to say of a table that lacks a column."""
    names = {column.lower(): column for column in table.header}
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    return f"the nearest is {names[near[0]]!r}" if near else f"found {', '.join(table.header)}"


def columns_of(table: Table, factors: tuple[Factor, ...], ending: tuple[str, ...]) -> tuple[list[str], list[int]]:
    """Names and places of the columns of factors and of `ending`: X, Y and perhaps label. Raises InputError."""
    places = [place_of(table, factor.name, factor.aliases) for factor in factors]
    for name in ending:
        others = () if find_columns(table.header, (name,)) else OTHER_NAMES[name]
        if name in "XY" and find_columns(table.header, DEGREES) and not find_columns(table.header, (name, *others)):
            raise InputError(f"{shown(table.path)}: header: expected columns X and Y in metres, in the CRS of "
                             "composite.tif, found longitude and latitude; transform them to that CRS as X and Y")
        places.append(place_of(table, name, others))
    return [*(factor.name for factor in factors), *ending], places


def first_rows(path: Path, rows: int | None) -> pd.DataFrame:
    """The first rows of a table, all where None, for a look at them; of columns of the same name the first. Raises
    InputError."""
    table = text_or_parquet(path)
    return frame_of(table, [i for i, name in enumerate(table.header) if table.header.index(name) == i], rows)


def named_rows(path: Path, rows: int | None = None) -> pd.DataFrame:
    """The first rows of a table, all where None, for a look at them: X, Y and label under these names, labels 1 and 0,
    nan where they are neither. Raises InputError."""
    table = first_rows(path, rows)
    for name, others in OTHER_NAMES.items():
        place = next(iter(find_columns(list(table), (name,)) or find_columns(list(table), others)), None)
        if place is not None:
            table = table.rename(columns={table.columns[place]: name})
    return table.assign(label=labels_of(table["label"])) if "label" in table else table


def is_stored_zero(values: np.ndarray | pd.Series) -> np.ndarray | pd.Series:
    """Which values stand for zero."""
    return np.abs(values - STORED_ZERO) < 1e-13


def _refuse(bad: np.ndarray, table: Table, column: pd.Series, expected: str, first_row: int,
            remedy: str = "correct or remove the row") -> None:
    if bad.any():
        row = int(np.argmax(bad))
        more = f" ({int(bad.sum())} such rows)" if bad.sum() > 1 else ""
        value = column.iloc[row]
        found = "nothing, or a word that stands for it like NA and None" if pd.isna(value) else repr(str(value)[:60])
        raise InputError(f"{shown(table.path)}: {table.unit} {table.line_of(first_row + row)}, column "
                         f"{column.name!r}: "
                         f"expected {expected}, found {found}{more}; {remedy}")


def _in_words(places: list[int], factors: tuple[Factor, ...]) -> list[int]:
    """The places of the columns whose classes are words: some of these may look like numbers, as 01 and 3E2 do."""
    return [place for place, factor in zip(places, factors, strict=False) if factor.words]


def _checked_rows(table: Table, frame: pd.DataFrame, factors: tuple[Factor, ...], first_row: int, gaps=None):
    """Factors (rows, factors) float32 and coordinates (rows, 2), every value finite and as its kind asks.

    frame      columns of the factors, then X and Y, of a part of the table
    first_row  of this part in the table, for messages
    gaps       (number of a column) -> the numbers that mark gaps in it; None: by these rows. Raises InputError.
    """
    values, checked = np.empty((len(frame), len(factors)), np.float32), numeric(frame, table)
    for j, factor in enumerate(factors):
        of_all = partial(gaps, j) if gaps else None
        v, column = checked.iloc[:, j].to_numpy(), frame.iloc[:, j]
        if factor.words:
            v = codes_of_words(column, factor.words)
            none = np.isnan(v) & column.where(np.isnan(v), "").map(class_word).isin(NO_CLASS[1:]).to_numpy()
            _refuse(none, table, column, "a class", first_row, "it marks gaps: remove these rows, or fill them")
            _refuse(np.isnan(v), table, column, f"a class in words, like {factor.words[0]!r}", first_row, _ALIKE)
        elif factor.kind == "categorical" and column.dtype.kind not in "iuf":
            _refuse(~(np.abs(v) <= LARGEST), table, column, "a whole-number class code", first_row, _ALIKE)
        _refuse(~(np.abs(v) <= LARGEST), table, column, "a number", first_row)
        missing = np.isin(v, SURE) if factor.kind == "categorical" else marks_gap(v, of_all)
        _refuse(missing, table, column, "a number", first_row, "it marks gaps: remove these rows, or fill them")
        v = np.where(is_stored_zero(v), 0.0, v)
        if factor.kind == "categorical":
            _refuse((v != np.round(v)) | (np.abs(v) > 2**24), table, column, "a whole-number class code", first_row)
        else:
            bad = impossible(v, factor.name, factor.kind, of_all)
            few = bad.sum() < max(10, 0.1 * len(bad))
            _refuse(bad, table, column, limits_of(factor.name, factor.kind)[2], first_row,
                    "correct or remove the row" if few else _CONVERT.get(factor.name, "convert the column, in all "
                                                                                      "tables"))
        values[:, j] = v
    xy = checked.iloc[:, len(factors):len(factors) + 2].to_numpy()
    for i in range(2):
        _refuse(~(np.abs(xy[:, i]) < 1e9), table, frame.iloc[:, len(factors) + i], "a coordinate in metres", first_row)
    return values, xy
