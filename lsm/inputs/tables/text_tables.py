"""Text tables (csv) as people and programs write them: one reader for every table that a person gives.

Each line is checked on its way to pandas, which takes many rows with more or fewer columns without a word.
"""

import codecs
import csv
import itertools
import re
import unicodedata
from collections import defaultdict, deque
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from lsm.inputs.tables.lines import (
    DECIMAL,
    POINT,
    SEPARATORS,
    THOUSANDS,
    are_numbers,
    is_open,
    is_title,
    text_in_quotes,
    with_commas,
)
from lsm.inputs.tables.unpacking import DAMAGED, decoded, open_table
from lsm.run.paths import shown
from lsm.run.settings import InputError

MOST_COLUMNS = 10_000  # of a table; products of InSAR have one for every date
LONGEST_LINE = BLOCK = 1 << 20  # bytes; bytes read at once
CHUNK = 5_000_000  # values in memory as text at once
_SEP_LINE = re.compile(r'"?sep=(.)"?')     # spreadsheets write it above the header
_FORMS = (THOUSANDS, DECIMAL, POINT)


def plain(name) -> str:
    """A column's name without what people write in different ways: upper case, blanks, - and _."""
    return re.sub(r"[\s_-]+", "", unicodedata.normalize("NFC", str(name))).lower()


class Table:
    """A text table, open at its first row.

    header  the names of its columns, without blanks around them; notes, for a person, grow while rows are read

    UTF-8 with or without BOM, UTF-16 with one, else Windows-1252; separated by commas, semicolons, tabs, |, or else by
    blanks. Lines of # (unless they have all columns), sep=; and empty rows are passed over. Quotes may hold lines.
    """

    __iter__ = None  # pandas asks whether a file has it
    unit = "line"    # what `line_of` counts

    def __init__(self, path: Path, what: str = "", member: str = ""):
        """`what` the table is, for messages; member  as `open_table` takes it. Raises InputError without a header."""
        self.path, self.where, self.notes = path, f"{shown(path)}: {what}" if what else shown(path), []
        self._member = member
        self._rest, self._pending, self._line, self._passed_over, self._by_blanks = b"", deque(), 0, [], False
        if not path.is_file():
            raise InputError(f"{self.where}: missing; put it there, or name another file")
        try:
            self._file = open_table(path, member)
        except DAMAGED as error:
            raise self._damaged(error) from None
        except OSError as error:
            raise InputError(f"{shown(path)}: expected a file that can be read, found: {error.strerror}; change its "
                             "permissions") from None
        self.header, self.separator = self._read_header()
        self.first, self._passed_over = self._line + 1, []  # line of the first row

    def line_of(self, row: int) -> int:
        """The line of the file, from 1 up, that holds a row, from 0 up."""
        line = self.first + row
        for passed_over in self._passed_over:
            line += passed_over <= line
        return line

    def frames(self, columns: list[int], rows: int | None = None, text: bool | list[int] = False
               ) -> Iterator[pd.DataFrame]:
        """The columns at these places, `rows` rows at a time, all where None; may be called once. text  True: all
        values stay text; places: the values of these columns do. Raises InputError."""
        self._columns, names = columns, range(len(self.header))
        parts = pd.read_csv(self, sep=self.separator, header=None, names=names, usecols=columns, index_col=False,
                            low_memory=False, dtype=str if text is True else dict.fromkeys(text or (), str),
                            chunksize=rows)
        for part in parts if rows else [parts]:
            yield part[columns].set_axis([self.header[i] for i in columns], axis=1)

    @cached_property
    def commas(self) -> set[str]:
        """The columns that `frames` reads and whose commas are decimal, by all rows: the file is read again.
        `1,234` may mean 1234. Its comma is decimal beside `12,5` in its column, or in a table that separates columns by
        another sign and writes no decimal points; never beside `12.5` in its column."""
        again, found = Table(self.path, member=self._member), defaultdict(set)
        for frame in again.frames(self._columns, max(1000, CHUNK // len(self.header)), text=True):
            for column, values in frame.items():
                text = values.dropna().str.strip()
                found[column] |= set(np.select([text.str.fullmatch(form) for form in _FORMS], _FORMS, "").tolist())
        points = self.separator == "," or any(POINT in forms for forms in found.values())
        return {column for column, forms in found.items()
                if POINT not in forms and (DECIMAL in forms or (THOUSANDS in forms and not points))}

    def read(self, size: int = -1) -> str:
        """The next lines, checked; "" at the end. pandas calls it. Raises InputError."""
        kept = []
        while not kept:
            if not self._pending and not self._fetch():
                return ""
            commas, blank = len(self.header) - 1, ("", self.separator)
            while self._pending:
                line = self._pending.popleft()
                self._line += 1
                is_row = line.count(self.separator) == commas and '"' not in line and line.strip()[:1] not in blank
                kept += [line] if is_row else self._checked(line)
        return "\n".join(kept) + "\n"

    def _checked(self, line: str) -> list[str]:
        """A line that is not plainly a row: [] where it is to be passed over. Raises InputError."""
        columns = len(self.header)
        if not line.strip(self.separator + " \t\r"):
            self._passed_over.append(self._line)
            return []
        line = self._whole(self._quoted(line), self.separator)
        values = self._split(line)
        more = len(values) - columns  # spreadsheets end lines with the separators of empty columns
        if more > 0 and line.endswith(self.separator * more):
            return [line[:-more]]
        if len(values) == columns:
            return [line]
        if line.startswith("#"):
            self._passed_over.append(self._line)
            return []
        hint = ("name every column in the header, or correct the row" if len(values) == columns + 1 else
                "decimal commas? write points, or separate columns by semicolons"
                if self.separator == "," and len(values) > columns else "correct the row")
        raise InputError(f"{shown(self.path)}: line {self._line}: expected {columns} columns as in the header, found "
                         f"{len(values)}; {hint}")

    def _quoted(self, line: str) -> str:
        """A line between tabs as quotes would have it, where its own are signs of the text."""
        tabs = len(self.header) - 1
        if self.separator != "\t" or '"' not in line or line.count("\t") != tabs:
            return line
        if not self._pending:
            self._fetch()
        return text_in_quotes(line, self._pending[0] if self._pending else "")

    def _whole(self, line: str, separator: str) -> str:
        """A line with those below it where a value in quotes goes on. Raises InputError for one that does not end."""
        parts, size, goes_on = [line], 0, '"' in line and is_open(line, separator)
        while goes_on:
            if size > LONGEST_LINE or not (self._pending or self._fetch()):
                raise InputError(f"{shown(self.path)}: line {self._line - len(parts) + 1}: expected quotes in pairs "
                                 "around a value, found one that does not end; correct the row")
            parts.append(self._pending.popleft())
            self._line += 1
            self._passed_over.append(self._line)
            size, goes_on = size + len(parts[-1]), parts[-1].count('"') % 2 == 0  # two quotes stand for one
        return "\n".join(parts)

    def _split(self, line: str, separator: str = "") -> list[str]:
        """The values of a line. Raises InputError."""
        try:
            values = next(csv.reader([line], delimiter=separator or self.separator, strict=True), [])
        except csv.Error as error:
            raise InputError(f"{shown(self.path)}: line {self._line}: expected quotes in pairs around a "
                             f"value, found: {error}; correct the row") from None
        if len(values) > MOST_COLUMNS:
            raise InputError(f"{shown(self.path)}: line {self._line}: expected {MOST_COLUMNS:,} columns at most, found "
                             f"{len(values):,}; is it a table with one row a point?")
        return values

    def _fetch(self) -> bool:
        """Reads the next whole lines, about a block of them; False at the end of the file. Raises InputError."""
        try:
            block = b"" if self._file.closed else self._file.read(BLOCK)
        except DAMAGED as error:
            raise self._damaged(error) from None
        if not block and not self._rest:
            self._file.close()
            return False
        data = (self._rest + block).removeprefix(b"" if self._line else codecs.BOM_UTF8)
        ends = (data.rfind(b"\n") + 1 or data[:-1].rfind(b"\r") + 1) if block else len(data)  # \r alone: old files
        data, self._rest = data[:ends], data[ends:]
        if b"\0" in data or b"\0" in self._rest:
            raise InputError(f"{shown(self.path)}: expected a text table, found zero bytes (UTF-16 or binary); save it "
                             "as CSV in UTF-8")
        if len(self._rest) > LONGEST_LINE:
            raise InputError(f"{shown(self.path)}: expected lines of {LONGEST_LINE:,} bytes at most, found a longer "
                             "one; is it a table with one row a point?")
        text, is_utf8 = decoded(data)
        note = f"{shown(self.path)}: lines that are not UTF-8 are read as Windows-1252"
        self.notes += [note] * (not is_utf8 and note not in self.notes)
        lines = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n") if text else []
        self._pending.extend(map(with_commas, lines) if self._by_blanks else lines)
        return bool(self._pending) or self._fetch()

    def _damaged(self, error: Exception) -> InputError:
        """The refusal of an archive, or of text in UTF-16, that cannot be read to its end."""
        return InputError(f"{self.where}: expected a whole table, found: {' '.join(str(error).split())[:100]}; copy it "
                          "again, or unpack it and save it as CSV in UTF-8")

    def _read_header(self) -> tuple[list[str], str]:
        """The names of the columns, and what separates them. Leaves the file at the first row. Raises InputError."""
        comment, separator, lines = "", "", self._pending
        while True:
            if not (lines or self._fetch()):
                raise InputError(f"{self.where}: expected a table, found {self.path.stat().st_size} bytes and no "
                                 "header; copy or export it again")
            line = lines.popleft().lstrip("\ufeff")  # some programs write a second one
            self._line += 1
            if line.startswith("#"):
                comment = line
            elif told := _SEP_LINE.fullmatch(line.strip(" ")):
                separator = told[1]
            elif line.strip(SEPARATORS + " ") and not self._title(line):
                break
        if not lines:
            self._fetch()
        below = next((row for row in lines if row.strip() and not row.startswith("#")), line)
        if not separator and not {*line, *below} & {*SEPARATORS, '"'} and len(line.split()) == len(below.split()) > 1:
            self._by_blanks, line, comment = True, with_commas(line), with_commas(comment.lstrip("# "))
            self._pending = lines = deque(map(with_commas, lines))
        separator = separator or max(SEPARATORS, key=line.count)
        names = [" ".join(name.split()) for name in self._split(self._whole(line, separator), separator)]
        if comment and are_numbers(names):  # some programs write their header as a comment
            above = [name.strip() for name in self._split(comment.lstrip("# "), separator)]
            if len(above) == len(names) and not are_numbers(above):
                names, self._line = above, self._line - 1
                lines.appendleft(line)
        while len(names) > 1 and not names[-1]:  # of lines that end with a separator
            names.pop()
        if are_numbers(names):
            raise InputError(f"{shown(self.path)}: line {self._line}: expected the names of the columns, found "
                             "numbers; write a header like X,Y above them")
        return names, separator

    def _title(self, line: str) -> bool:
        """Whether a line above the header is a title of the table; that is noted."""
        title = is_title(line, list(itertools.islice(self._pending, 20)))
        self.notes += [f"{shown(self.path)}: line {self._line} is taken for a title"] * title
        return title


def find_columns(header: list[str], names: tuple[str, ...]) -> list[int]:
    """The places in a header of all columns with one of these names; upper case, blanks, - and _ do not count."""
    wanted = {plain(name) for name in names}
    return [i for i, name in enumerate(header) if plain(name) in wanted]


def one_column(table: Table, names: tuple[str, ...], what: str) -> int | None:
    """The place of the column with one of these names, None without; `what` it holds. Raises InputError for two."""
    found = find_columns(table.header, names)
    if len(found) > 1:
        raise InputError(f"{shown(table.path)}: header: expected one column for {what}, found "
                         f"{' and '.join(repr(table.header[i]) for i in found)}; remove or rename one")
    return found[0] if found else None


def numeric(frame: pd.DataFrame, table: Table) -> pd.DataFrame:
    """The columns of rows of a table as numbers, nan where a value is no number; `commas` of the table count."""
    out = {}
    for column, values in frame.items():
        if values.dtype.kind in "biuf":
            out[column] = values.astype(np.float64).where(values.notna() & (values.dtype.kind != "b"))
            continue
        text = values.fillna("").astype(str).str.strip()
        if (like := text.str.fullmatch(DECIMAL)).any() and column in table.commas:
            text = text.where(~like, text.str.replace(",", "."))
        out[column] = pd.to_numeric(text, errors="coerce").astype(np.float64)
    return pd.DataFrame(out, columns=frame.columns, index=frame.index)


def frame_of(table: Table, columns: list[int], rows: int | None = None) -> pd.DataFrame:
    """The columns at these places, `rows` rows, all where None: numbers as numbers, else text. Raises InputError."""
    chunk = rows or max(1000, CHUNK // len(table.header))  # of all columns: pandas holds them before it chooses
    parts = table.frames(columns, chunk)
    parts = list(parts) if rows is None else [part for part in [next(parts, None)] if part is not None]
    frame = pd.concat(parts or [pd.DataFrame(columns=[table.header[i] for i in columns], dtype=float)])
    as_numbers = numeric(frame, table)
    right = as_numbers.notna().any() & (as_numbers.notna() | frame.isna()).all()
    return pd.DataFrame({name: (as_numbers if good else frame)[name] for name, good in right.items()}, frame.index)
