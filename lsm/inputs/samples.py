"""Sample and grid tables: one reader for each; it checks every value before it returns any.

A table has one column a factor, then X and Y (m, in the CRS of composite.tif) and, for samples, label (1 landslide,
0 non-landslide). Published tables store an exact zero as 0.000001; the readers return zero.
"""

import contextlib
import difflib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lsm.run.paths import shown
from lsm.run.settings import InputError

STORED_ZERO = 0.000001
KINDS = ("continuous", "distance", "circular", "categorical")


@dataclass(frozen=True)
class Factor:
    """A landslide-inducing factor.

    kind             continuous; distance (m, from 0 up); circular (degrees clockwise from north, -1 = flat);
                     categorical (whole-number codes)
    zero_is_missing  a stored zero means "not measured" (InSAR velocity where there is no InSAR point)
    """

    name: str
    kind: str
    unit: str
    aliases: tuple[str, ...] = ()
    zero_is_missing: bool = False

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"factor {self.name}: kind {self.kind!r} is none of {KINDS}")


@dataclass(frozen=True)
class Samples:
    """Labelled points: factors (samples, factors) float32, xy (samples, 2) float64 m, label (samples,) int8."""

    factors: np.ndarray
    xy: np.ndarray
    label: np.ndarray


def write_factors(path: Path, factors: tuple[Factor, ...], classes: dict[str, dict[str, int]]) -> None:
    """Writes a region's own list of factors to `path`, in the order of its tables.

    classes  the meaning of a categorical factor's codes: {"lithology": {"granite": 1, "tuff": 2}}
    """
    text = json.dumps({"factors": [asdict(f) for f in factors], "classes": classes}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def read_factors(path: Path) -> tuple[tuple[Factor, ...], dict[str, dict[str, int]]]:
    """The factors and classes that `write_factors` wrote. Raises InputError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        factors = tuple(Factor(**{**f, "aliases": tuple(f.get("aliases", ()))}) for f in data["factors"])
        classes = {name: {str(k): int(v) for k, v in codes.items()} for name, codes in data.get("classes", {}).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{shown(path)}: expected a list of factors (name, kind, unit), found {error!r}; run "
                         "prepare_region.py again") from None
    if not factors or len({f.name for f in factors}) < len(factors):
        raise InputError(f"{shown(path)}: expected factors of different names, found {[f.name for f in factors]}; run "
                         "prepare_region.py again")
    return factors, classes


def read_samples(path: Path, factors: tuple[Factor, ...], stage: str = "src_data/make_demo.py") -> Samples:
    """Reads a sample table. `stage` is the command that would make it, for the message. Raises InputError."""
    table = _read(path, stage)
    values, xy = _checked(table, path, factors, first_row=0)
    column = _column(table, path, "label")
    label = pd.to_numeric(table[column], errors="coerce").to_numpy(float)
    _refuse(~np.isin(label, (0, 1)), path, table, column, "0 or 1 (1 = landslide)", 0)
    for missing, name in ((0, "non-landslides"), (1, "landslides")):
        if not (label == missing).any():
            raise InputError(f"{shown(path)}: column label: expected both 0 and 1, found no {missing}; add {name}")
    return Samples(values, xy, label.astype(np.int8))


def grid_chunks(path: Path, factors: tuple[Factor, ...], rows: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Reads a grid table `rows` rows at a time: factors (rows, factors) float32 and xy (rows, 2) float64."""
    first = 0
    with _parsing(path):
        for table in _read(path, "src_data/make_demo.py", chunksize=rows):
            if len(table):
                yield _checked(table, path, factors, first)
            first += len(table)
    if first == 0:
        raise InputError(f"{shown(path)}: expected one row a grid cell, found none; write the grid table again")


def count_rows(path: Path) -> int:
    """Lines of a table below its header, for progress bars. Raises InputError where there is no table."""
    _present(path, "src_data/make_demo.py")
    with open(path, "rb") as file:
        return max(sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 24), b"")) - 1, 0)


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


def _read(path: Path, stage: str, **options):
    _present(path, stage)
    with _parsing(path):
        return pd.read_csv(path, encoding="utf-8-sig", **options)


def _present(path: Path, stage: str) -> None:
    if not path.is_file():
        of_demo = " for the demo area" if stage == "src_data/make_demo.py" else ""
        raise InputError(f"{shown(path)}: missing; put the table there, or run {stage}{of_demo}")


@contextlib.contextmanager
def _parsing(path: Path):
    """Turns errors of pandas into InputError. It must be around the whole reading: later chunks may break too."""
    try:
        yield
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{shown(path)}: expected a comma-separated UTF-8 table, found: {reason}; write "
                         "it again") from None


def find_name(names: dict, name: str, aliases: tuple[str, ...] = ()):
    """The entry of a dict with lower-case keys for a name or, failing that, an alias; None where there is none."""
    return next((names[n.lower()] for n in (name, *aliases) if n.lower() in names), None)


def _column(table: pd.DataFrame, path: Path, name: str, aliases: tuple[str, ...] = ()) -> str:
    """The table's column of a name or alias; blanks around it and upper case do not matter. Raises InputError."""
    columns = {str(c).strip().lower(): c for c in table.columns}
    column = find_name(columns, name, aliases)
    if column is not None:
        return column
    near = difflib.get_close_matches(name.lower(), columns, n=1, cutoff=0.5)
    found = f"the nearest is {columns[near[0]]!r}" if near else f"found {', '.join(map(str, table.columns))}"
    raise InputError(f"{shown(path)}: header: expected a column {name!r}; {found}; rename it, or add an alias to "
                     "FACTORS in study_area.py")


def _numbers(table: pd.DataFrame, path: Path, column: str, expected: str, first_row: int) -> np.ndarray:
    """A column as finite numbers (rows,). Raises InputError."""
    values = pd.to_numeric(table[column], errors="coerce").to_numpy(float)
    _refuse(~np.isfinite(values), path, table, column, expected, first_row)
    return values


def _refuse(bad: np.ndarray, path: Path, table: pd.DataFrame, column: str, expected: str, first_row: int) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        more = f" ({int(bad.sum())} such rows)" if bad.sum() > 1 else ""
        raise InputError(f"{shown(path)}: line {first_row + row + 2}, column {column!r}: expected {expected}, "
                         f"found {str(table[column].iloc[row])!r}{more}; correct or remove the row")


def _checked(table: pd.DataFrame, path: Path, factors: tuple[Factor, ...], first_row: int):
    """Factors (rows, factors) float32 and coordinates (rows, 2) of a table, every value finite and as its kind asks.

    first_row  of this part of the table in the file, for messages. Raises InputError.
    """
    values = np.empty((len(table), len(factors)), np.float32)
    for j, factor in enumerate(factors):
        column = _column(table, path, factor.name, factor.aliases)
        v = _numbers(table, path, column, "a number", first_row)
        v = np.where(v == STORED_ZERO, 0.0, v)
        if factor.kind == "categorical":
            _refuse(v != np.round(v), path, table, column, "a whole-number class code", first_row)
        elif factor.kind == "distance":
            _refuse(v < 0, path, table, column, "a distance of 0 m or more", first_row)
        elif factor.kind == "circular":
            outside = ((v < 0) & (v != -1)) | (v > 360)
            _refuse(outside, path, table, column, "0 to 360 degrees, or -1 for flat", first_row)
        values[:, j] = v
    columns = [_column(table, path, name) for name in ("X", "Y")]
    return values, np.column_stack([_numbers(table, path, c, "a coordinate in metres", first_row) for c in columns])
