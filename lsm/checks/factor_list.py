"""Which factors an area has: those of the project's list that its tables hold, and further columns that a person asks
for. Only headers and first rows are read, so that every stage can ask anew and gets the same answer.
"""

import contextlib
import difflib
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pandas as pd

from lsm.inputs.factor.class_words import NO_CLASS, class_word
from lsm.inputs.factor.definition import KINDS, Factor
from lsm.inputs.rasters import open_raster
from lsm.inputs.samples import DEGREES, OTHER_NAMES, first_rows
from lsm.inputs.tables.parquet_tables import text_or_parquet
from lsm.inputs.tables.text_tables import find_columns, plain
from lsm.run.paths import shown
from lsm.run.settings import InputError, one_line

LOOKED_AT = 1000  # rows of a table that say whether a column holds numbers
MOST_WORDS = 1000  # classes of a factor
MOST_CLASSES = 50  # different words of a column in these rows; more are remarks
SLIPS = 0.01  # of the rows of a column of class codes, that may hold something else by mistake
_NO_UNIT = re.compile(r"(?!)")  # matches nothing
# How people write a factor's unit behind its name, by unit.
_UNITS = {unit: re.compile(rf"[\s_]*[(\[]\s*(?:{words})\s*[)\]]$|[\s_]+(?:{words})$", re.I) for unit, words in (
    ("m", "m|met(?:er|re)s?"), ("degree", "°|deg|degrees?"), ("class", "codes?|class|classes|id"))}
_OTHER_UNIT = re.compile(r"[\s_]*[(\[][^)\]]*[)\]]$|[\s_]+(?:km|ft|feet|cm|mm|%|percent|rad|radians?)$", re.I)
NUMBERS_OF_ROWS = ("", "id", "fid", "oid", "objectid", "gid", "pid", "index", "row", "col", "unnamed: 0", "weight",
                   "pointid", "cellid", "rowid", "sampleid", "targetfid", "origfid", "joincount", "cat")


def factors_of(known: tuple[Factor, ...], common: dict[str, tuple[str, ...]], tables: list[Path],
               further: str = "none") -> tuple[tuple[Factor, ...], list[str]]:
    """The factors of an area, and notes for a person.

    known    the project's factors
    common   by factor, other names that people give its column; they count where the table has no column of the
             factor's own name or aliases
    tables   the samples and the grid (a table or a stack of rasters), those there are
    further  columns of all tables to take as factors too: "none", "all", or names separated by commas; name:categorical
             for class codes
    A factor that is in neither of two tables is left out. A factor that only one of them lacks stays, and the reader of
    that table refuses it. Raises InputError.
    """
    headers = {}
    for path in tables:
        with contextlib.suppress(InputError):  # the reader of a damaged table says what is wrong with it
            headers[path] = header_of(path)
    factors, left_out, renamed = [], [], []
    for factor in known:
        columns = {_column_of(path, header, factor, common.get(factor.name, ())) for path, header in headers.items()}
        columns.discard(None)
        if columns or len(headers) < 2:  # one table alone does not say what the area has
            own = {plain(name) for name in (factor.name, *factor.aliases)}
            aliases = sorted(name for name in columns if plain(name) not in own)
            factors.append(replace(factor, aliases=(*factor.aliases, *aliases)))
            renamed += [f"{name!r} is {factor.name}" for name in aliases]
        else:
            left_out.append(factor.name)
    if not (headers and factors):  # these are no tables of factors; their reader says so
        return known, []
    offered, words = [], []
    with contextlib.suppress(InputError) if further in ("none", "") else contextlib.nullcontext():
        offered, words = _offered(headers, factors)  # reads rows; the reader of a damaged table says what is wrong
    taken = _asked_factors(offered, words, further, headers)
    names = ", ".join(map(shown, headers))
    notes = [f"left out, since no column of {names} holds them: {', '.join(left_out)}"] if left_out else []
    notes += [f"taken for factors by their names: {', '.join(renamed)}"] * bool(renamed)
    notes += _in_other_units([f for f in known if f.name in left_out], common, headers)
    if taken:
        notes.append(f"further factors: {', '.join(f'{factor.name} ({factor.kind})' for factor in taken)}")
    found = tuple(_with_words(tables[0], factor) for factor in (*factors, *taken))
    notes += [f"{f.name}: its classes are the words in {shown(tables[0])} ({one_line('; '.join(f.words))}); any other "
              "word counts as one more class" for f in found if f.words]
    names_taken = {factor.name for factor in taken}
    if words := [name for name in words if name not in names_taken]:
        notes.append(f"columns of words that may be further factors: {', '.join(words)} "
                     f"({shlex.quote(f'FURTHER={words[0]}')} takes one, its words as classes)")
    rest = [name for name in offered if name not in names_taken]
    if rest:
        notes.append(f"columns of {names} that may be further factors: {', '.join(rest)} (FURTHER=all takes them, "
                     f"{shlex.quote(f'FURTHER={rest[0]}')} one, {rest[0]}:categorical as class codes)")
    return found, notes


def _with_words(samples: Path, factor: Factor) -> Factor:
    """A categorical factor with the classes of its column in the samples, where they are words."""
    if factor.kind != "categorical" or samples.suffix == ".tif":
        return factor
    with contextlib.suppress(InputError):  # the reader of a damaged table says what is wrong with it
        names = (factor.name, *factor.aliases)
        if not find_columns(list(first := first_rows(samples, LOOKED_AT)), names) or not _are_words(first, names):
            return factor
        table = text_or_parquet(samples)
        place = find_columns(table.header, names)[:1]
        found = {" ".join(text.split()) for part in table.frames(place, LOOKED_AT ** 2, text=True)
                 for text in part.iloc[:, 0].dropna().unique()}
        words = {class_word(text): text for text in sorted(found, reverse=True)}
        words = {word: text for word, text in words.items() if word not in NO_CLASS}
        if len(words) <= MOST_WORDS:
            return replace(factor, words=tuple(words[word] for word in sorted(words)))
    return factor


def _are_words(rows: pd.DataFrame, names: tuple[str, ...]) -> bool:
    """Whether a column, the first one of these names, holds classes in words: most values are no numbers, or more than
    a slip of the pen have letters, as Q1 beside 1 and 2."""
    column = rows.iloc[:, find_columns(list(rows), names)[0]].dropna().astype(str)
    no_numbers = column[pd.to_numeric(column, errors="coerce").isna() & ~column.map(class_word).isin(NO_CLASS)]
    lettered = no_numbers.str.contains(r"[^\W\d_]").sum()
    return bool(len(no_numbers) > 0.5 * len(column) or lettered > SLIPS * len(column))


def _in_other_units(factors: list[Factor], common: dict[str, tuple[str, ...]], headers: dict) -> list[str]:
    """A note for each factor that a table has in another unit than the factor's own, by the column's name."""
    notes = []
    for factor in factors:
        names = {plain(name) for name in (factor.name, *factor.aliases, *common.get(factor.name, ()))}
        found = [name for header in headers.values() for name in header
                 if _OTHER_UNIT.search(name) and plain(_OTHER_UNIT.sub("", name)) in names]
        if found:
            notes.append(f"column {found[0]!r} is not {factor.name}, whose unit is {factor.unit}: convert it, and call "
                         f"it {factor.name}")
    return notes


def header_of(path: Path) -> list[str]:
    """The names of a table's columns, or of a stack's bands. Raises InputError."""
    if path.suffix != ".tif":
        return text_or_parquet(path).header
    dataset = open_raster(path, "run prepare_region.py again")
    return [dataset.GetRasterBand(i).GetDescription().strip() for i in range(1, dataset.RasterCount + 1)]


def _column_of(path: Path, header: list[str], factor: Factor, common: tuple[str, ...]) -> str | None:
    """The name of the column that holds a factor, None where there is none. A unit behind a common name does not count
    if it is the factor's own: "Slope (°)" is the slope, "Slope (%)" is not."""
    found = find_columns(header, (factor.name, *factor.aliases))  # two of them: their reader refuses the table
    if not found:
        own = (factor.name, *factor.aliases, *common)
        bare = [_UNITS.get(factor.unit, _NO_UNIT).sub("", name).replace(".", " ") for name in header]
        found = find_columns(bare, own)
        if len(found) > 1:
            raise InputError(f"{shown(path)}: header: expected one column for {factor.name!r}, found "
                             f"{' and '.join(repr(header[i]) for i in found)}; rename the right one {factor.name!r}")
    return header[found[0]] if found else None


def _offered(headers: dict[Path, list[str]], factors: list[Factor]) -> tuple[list[str], list[str]]:
    """The columns of numbers that all tables have and no factor uses, without columns that count the rows of a table;
    and columns of words, in all tables too, that may be classes."""
    if len(headers) < 2:
        return [], []
    used = {plain(n) for n in (*DEGREES, *NUMBERS_OF_ROWS, *OTHER_NAMES, *sum(OTHER_NAMES.values(), ()))}
    used |= {plain(n) for factor in factors for n in (factor.name, *factor.aliases)}
    first, *others = headers.values()
    names = [name for name in first if plain(name) not in used and all(find_columns(h, (name,)) for h in others)]
    numbers, words = list(names), None
    for path, header in headers.items() if names else ():
        if path.suffix != ".tif":
            rows = first_rows(path, LOOKED_AT)
            columns = {name: rows[header[find_columns(header, (name,))[0]]] for name in names}
            names = [name for name, column in columns.items() if not _counts(column)
                     and (column.dtype.kind in "iuf" or column.nunique() <= MOST_CLASSES)]
            numbers = [name for name in numbers if name in names and columns[name].dtype.kind in "iuf"]
            if words is None:  # of the samples; the first rows of a grid may lie in one class
                words = [name for name in names if name not in numbers and columns[name].nunique() > 1]
    return numbers, [name for name in words or () if name in names]


def _counts(column: pd.Series) -> bool:
    """Whether a column numbers the rows: whole numbers that rise by 1 from row to row."""
    return len(column) > 2 and column.dtype.kind in "iuf" and bool((column.diff().iloc[1:] == 1).all())


def _asked_factors(offered: list[str], words: list[str], further: str, headers: dict[Path, list[str]]) -> list[Factor]:
    """The further factors that a person asks for; a column of words is one of classes. Raises InputError for a name
    that is not offered."""
    if further in ("none", ""):
        return []
    out, columns, of_words = [], {plain(name): name for name in (*offered, *words)}, set(map(plain, words))
    asked = offered if further == "all" else _parts(further, columns)
    for name in asked:
        name, _, kind = name.rpartition(":") if ":" in name and plain(name) not in columns else (name, "", "")
        if plain(name) in of_words and kind in KINDS and kind != "categorical":
            raise InputError(f"FURTHER={further}: column {name!r}: expected numbers, found words; leave :{kind} out")
        if plain(name) not in columns or (kind or "continuous") not in KINDS:
            if plain(name) not in columns and all(find_columns(header, (name,)) for header in headers.values()):
                raise InputError(f"FURTHER={further}: column {name!r}: expected numbers with decimal points, or words "
                                 "that repeat as classes do, found neither (remarks, numbers of rows, 1,234); correct "
                                 "it, or leave it out")
            near = difflib.get_close_matches(name, columns.values(), n=1)
            raise InputError(f"FURTHER={further}: expected none, all, or columns that samples and grid have "
                             f"({', '.join(columns.values()) or 'there are none'}), found {name!r}"
                             + (f" of kind {kind}; kinds: {', '.join(KINDS)}" if kind else
                                f"; did you mean {near[0]}?" if near else "; correct the name, or give FURTHER=none"))
        kind = kind or ("categorical" if plain(name) in of_words else "continuous")
        out.append(Factor(columns[plain(name)], kind, "class" if plain(name) in of_words else "-"))
        if out[-1].name in [factor.name for factor in out[:-1]]:
            raise InputError(f"FURTHER={further}: expected each column once, found {name!r} again; remove it")
    return out


def _parts(further: str, columns: dict[str, str]) -> list[str]:
    """The names in a list with commas; a name of `columns` may hold commas itself, and the longest such name counts."""
    pieces, out = further.split(","), []

    def is_column(text: str) -> bool:
        name, _, kind = text.rpartition(":")
        return plain(text) in columns or (kind.strip() in KINDS and plain(name) in columns)

    while pieces:
        n = next((n for n in range(len(pieces), 0, -1) if is_column(",".join(pieces[:n]))), 1)
        out.append(",".join(pieces[:n]).strip())
        pieces = pieces[n:]
    return out
