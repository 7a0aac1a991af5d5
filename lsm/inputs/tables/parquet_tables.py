"""Parquet tables, read part by part; they give what a text table gives."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from lsm.inputs.tables.text_tables import Table
from lsm.run.paths import shown
from lsm.run.settings import InputError

VECTORS = 100  # of 2,048 rows, read at once
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
            "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL")


@cache
def _database() -> tuple[Any, type[Exception]]:
    """DuckDB, which reads a file as a stream (pyarrow's memory grows with the rows), and what it raises."""
    import duckdb  # whoever reads no Parquet need not wait for it

    return duckdb.connect(config={"threads": 1, "autoinstall_known_extensions": False}), duckdb.Error


class ParquetTable:
    """A Parquet table, as readers use `Table`: path, where, header, notes, commas, `line_of`, `frames`.

    count  its rows
    """

    unit, commas = "row", frozenset()  # what `line_of` counts; its numbers are numbers

    def __init__(self, path: Path):
        """Raises InputError where it cannot be read."""
        database, self._error = _database()
        self.path, self.where, self.notes, self._source = path, shown(path), [], database.cursor()
        columns = [(name, kind.partition("(")[0]) for name, kind, *_ in self._ask("DESCRIBE SELECT *").fetchall()]
        self._names, self._kinds = zip(*columns, strict=True)
        self.header = [" ".join(name.split()) for name in self._names]
        self.count = self._ask("SELECT count(*)").fetchone()[0]

    def line_of(self, row: int) -> int:
        """The number, from 1 up, of a row, from 0 up."""
        return row + 1

    def frames(self, columns: list[int], rows: int | None = None, text: bool | list[int] = False
               ) -> Iterator[pd.DataFrame]:
        """The columns at these places, as `Table.frames` gives them: numbers, everything else as text. Raises
        InputError."""
        as_text = range(len(self.header)) if text is True else text or ()
        wanted = (self._column(place, place in as_text) for place in columns)
        result = self._ask(f"SELECT {', '.join(wanted)}")
        names, waiting = [self.header[place] for place in columns], []
        while len(part := self._told(lambda: result.fetch_df_chunk(VECTORS))):
            waiting.append(part)
            if rows is not None and sum(map(len, waiting)) >= rows:
                there = pd.concat(waiting)
                ends = range(rows, len(there) + 1, rows)
                yield from (there[end - rows:end].set_axis(names, axis=1).reset_index(drop=True) for end in ends)
                waiting = [there[ends[-1]:]]
        rest = pd.concat([*waiting, part])  # the last part has no row, and all columns
        if rows is None or len(rest):
            yield rest.set_axis(names, axis=1).reset_index(drop=True)

    def _column(self, place: int, as_text: bool) -> str:
        """A column in SQL, as a number or text."""
        name = self._names[place].replace('"', '""')
        return f'CAST("{name}" AS {"DOUBLE" if self._kinds[place] in _NUMBERS and not as_text else "VARCHAR"})'

    def _ask(self, select: str) -> Any:
        """What the file answers. Raises InputError."""
        query = f"{select} FROM read_parquet(?, hive_partitioning = false)"  # names of folders are no columns
        return self._told(lambda: self._source.execute(query, [str(self.path)]))

    def _told(self, answer: Callable[[], Any]) -> Any:
        try:
            return answer()
        except self._error as error:
            raise InputError(f"{self.where}: expected a whole Parquet table, found: "
                             f"{' '.join(str(error).split())[:100]}; write it again, or as csv") from None


def text_or_parquet(path: Path) -> Table | ParquetTable:
    """The table at `path`, open: Parquet by its name, else text. Raises InputError where it cannot be read."""
    return ParquetTable(path) if path.suffix == ".parquet" else Table(path)
