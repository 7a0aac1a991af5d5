"""A grid in Parquet gives the cells of the same grid in csv."""

import duckdb
import numpy as np
import pandas as pd
import pytest

from lsm.checks.factor_list import factors_of
from lsm.inputs import grid_cells
from lsm.inputs.factor.definition import Factor
from lsm.inputs.samples import first_rows
from lsm.inputs.tables.parquet_tables import ParquetTable
from lsm.run.paths import Paths
from lsm.run.settings import InputError

ROWS = 5000  # more than two of the parts that are read at once
FACTORS = (Factor("rock", "categorical", "class"), Factor("slope", "continuous", "degree"),
           Factor("dis2road", "distance", "m"))
_RNG = np.random.default_rng(0)
CELLS = pd.DataFrame({"rock": _RNG.integers(0, 4, ROWS), "slope": _RNG.uniform(0, 60, ROWS).astype(np.float32),
                      "dis2road": _RNG.uniform(0, 900, ROWS), "X": 5e5 + np.arange(ROWS) * 30.5,
                      "Y": 4e6 - np.arange(ROWS)})


@pytest.fixture
def paths(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path / "year=2020 [a]"))  # a reader of many files would take it apart
    paths = Paths("isle")
    paths.grid.parent.mkdir(parents=True)
    return paths


def write(path, cells=CELLS, options="ROW_GROUP_SIZE 2048"):
    with duckdb.connect() as database:
        database.register("cells", cells)
        database.execute(f"COPY cells TO '{path}' (FORMAT parquet, {options})")
    return path


def read(path, rows=700, factors=FACTORS):
    parts = list(grid_cells.chunks(path, factors, rows))
    assert {len(xy) for _, xy in parts[:-1]} <= {rows}
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


@pytest.mark.parametrize("options", ["ROW_GROUP_SIZE 2048", "COMPRESSION zstd", "PARQUET_VERSION v2, COMPRESSION lz4"])
def test_the_cells_are_those_of_the_csv_table(paths, options):
    CELLS.to_csv(paths.grid, index=False)
    expected = read(paths.grid)
    paths.grid.unlink()
    write(paths.grid_parquet, options=options)
    assert grid_cells.grid_of(paths) == paths.grid_parquet
    assert grid_cells.count(paths.grid_parquet) == ROWS
    for rows in (700, 4096, 10 ** 6):
        for values, known in zip(read(paths.grid_parquet, rows), expected, strict=True):
            np.testing.assert_array_equal(values, known)


def test_classes_in_words_and_columns_by_other_names(paths):
    words = np.array(["granite, old", "schist", "gneiss", "marl"])[CELLS["rock"]]
    write(paths.grid_parquet, CELLS.assign(rock=words, note=None, seen=True).rename(columns={"slope": "Slope (°)"}))
    samples = pd.DataFrame({"rock": sorted(set(words)), "slope": 1.0, "dis2road": 2.0, "X": 0, "Y": 0})
    samples.assign(label=[0, 1] * 2).to_csv(paths.samples, index=False)
    found, _ = factors_of(FACTORS, {}, [paths.samples, paths.grid_parquet], "none")
    assert found[0].words == ("gneiss", "granite, old", "marl", "schist")
    values, _ = read(paths.grid_parquet, factors=found)
    assert [found[0].words[int(code) - 1] for code in values[:, 0]] == words.tolist()
    np.testing.assert_array_equal(values[:, 1], CELLS["slope"])


@pytest.mark.parametrize(("column", "value", "said"), [
    ("slope", None, "expected a number, found nothing"), ("slope", 95.0, "expected slopes from 0 to 90 degrees"),
    ("dis2road", float("inf"), "expected a number, found 'inf'"), ("X", float("nan"), "expected a coordinate"),
    ("rock", 1.5, "expected a whole-number class code, found '1.5'")])
def test_a_value_that_cannot_be_is_named_by_its_row(paths, column, value, said):
    cells = CELLS.astype({column: float})
    cells.loc[3000, column] = value
    with pytest.raises(InputError, match=rf"grid_samples_isle\.parquet: row 3001, column '{column}': {said}"):
        read(write(paths.grid_parquet, cells))


def test_gaps_in_whole_numbers_are_gaps(paths):
    cells = CELLS.astype({"rock": "Int64"})
    cells.loc[10, "rock"] = pd.NA
    with pytest.raises(InputError, match="row 11, column 'rock': expected a number, found nothing"):
        read(write(paths.grid_parquet, cells))


def test_text_columns_stay_text_and_no_row_is_no_grid(paths):
    table = ParquetTable(write(paths.grid_parquet, CELLS.assign(code="007", day=pd.Timestamp("2020-05-01"))))
    part = next(table.frames([table.header.index("code"), table.header.index("day"), 0], 4, text=[0]))
    assert part.iloc[0].tolist() == ["007", "2020-05-01 00:00:00", str(CELLS["rock"][0])]
    assert len(first_rows(paths.grid_parquet, 30)) == 30
    with pytest.raises(InputError, match="expected one row a grid cell, found none"):
        read(write(paths.grid_parquet, CELLS[:0]))


@pytest.mark.parametrize("damage", [lambda data: data[:1000], lambda data: b"X,Y\n1,2\n", lambda data: b"",
                                    lambda data: data[:-300] + b"\xff" * 200 + data[-100:]])
def test_a_damaged_file_is_one_line(paths, damage):
    write(paths.grid_parquet)
    paths.grid_parquet.write_bytes(damage(paths.grid_parquet.read_bytes()))
    with pytest.raises(InputError, match=r"isle\.parquet: expected a whole Parquet table, found: .*; write it again, "
                                         "or as csv$"):
        read(paths.grid_parquet)


def test_two_tables_of_one_grid_are_refused(paths):
    write(paths.grid_parquet)
    CELLS.to_csv(paths.grid, index=False)
    with pytest.raises(InputError, match=r"isle\.parquet: expected one grid table, found .*isle\.csv beside it"):
        grid_cells.grid_of(paths)
