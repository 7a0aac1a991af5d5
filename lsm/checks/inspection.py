"""All checks of a region's inputs, and the tables they leave."""

from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from lsm.checks.agreement import of_agreement, of_rows, values_of_cells
from lsm.checks.coordinates import of_decimals
from lsm.checks.finding import Finding, counts_in_words, of_refusal
from lsm.checks.one_sided import of_one_sided
from lsm.checks.raster_checks import of_composite, of_places, of_stack, of_terrain, terrain_of_places
from lsm.checks.table_checks import factor_columns, of_collinearity, of_labels, of_missing, of_nodata, of_units
from lsm.inputs.factor.definition import Factor
from lsm.inputs.grid_cells import chunks, grid_of
from lsm.inputs.rasters import Raster, read_composite
from lsm.inputs.samples import named_rows, read_samples
from lsm.inputs.tables.text_tables import find_columns, plain
from lsm.run.artifacts import discard, made_by, write_csv
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError

STAGE = "check_region.py"


class CheckConstants(Protocol):
    """The constants of the checks, as check_region.py explains them."""

    REGION: str
    SAMPLE_ROWS: int
    factors: tuple[Factor, ...]


def write_checks(c: CheckConstants, stop: bool) -> None:
    """Checks the inputs of a region, writes all findings and prints warnings and errors.

    Raises InputError at the end where there are errors and `stop` is True.
    """
    paths = Paths(c.REGION)
    findings, correlation = check_inputs(paths, c.factors, c.SAMPLE_ROWS)
    table, inputs = pd.DataFrame(findings), [paths.samples, paths.samples_without_insar, paths.composite, paths.grid,
                                             paths.grid_parquet, paths.factor_stack]
    written = {paths.checks: table} | ({paths.correlation: correlation} if len(correlation) else {})
    for path, content in written.items():
        write_csv(path, content, STAGE, c, [p for p in inputs if p.is_file()], inputs)
    if paths.correlation not in written and made_by(paths.correlation) == STAGE:  # of inputs that were there then
        discard(paths.correlation)
        print(f"{shown(paths.correlation)}: of earlier inputs; removed")
    for level in ("warning", "error"):  # people look at the end; what is in order stands in the table
        for f in (f for f in findings if f.level == level):
            print(f"{f.level:8}{f.topic:13}{f.file}: {f.found}{'; ' + f.remedy if f.remedy else ''}")
    for path in written:
        print(f"wrote {shown(path)}")
    print(counts_in_words(table))
    if not any(path.is_file() for path in inputs):
        raise InputError(f"{shown(paths.samples)}: missing, and so are all inputs of region {c.REGION}; make them of "
                         f"your layers: make run REGION={c.REGION} RAW=<folder>")
    if stop and (errors := int((table["level"] == "error").sum())):
        raise InputError(f"{shown(paths.checks)}: expected no error, found {errors}; correct the inputs as the lines "
                         "above say; if they are right as they are, add STOP_AT_ERRORS=False")


def check_inputs(paths: Paths, factors: tuple[Factor, ...], rows: int) -> tuple[list[Finding], pd.DataFrame]:
    """All findings about a region's inputs, and its table of correlations (empty where samples cannot be read).

    rows  of a grid table that statistics are made of; its reader sees every row
    """
    findings, correlation, raster, samples = [], pd.DataFrame(), None, _readable_rows(paths.samples)
    try:
        raster = read_composite(paths.composite)
        findings += of_composite(raster, shown(paths.composite))
    except InputError as error:
        findings.append(of_refusal("raster", paths.composite, error))
    maker = "augment_inventory.py" if paths.insar_table.is_file() else "prepare_region.py"
    for path in (paths.samples, paths.samples_without_insar):
        if path != paths.samples and not path.is_file():  # it is optional
            continue
        table = samples if path == paths.samples else _readable_rows(path)
        if path != paths.samples and len(table) and table.equals(samples):
            findings.append(Finding("table", shown(path), "ok", f"the same rows as {shown(paths.samples)}, see there"))
            continue
        findings += _refusal(path, lambda path=path: read_samples(path, factors, maker))
        values = factor_columns(table, factors)
        findings += _of_columns(table, values, factors, raster, path, is_grid=False)
        if len(values) and {"X", "Y", "label"} <= set(table):
            of_table = of_labels(table, values, shown(path))
            if path == paths.samples or not len(samples):
                findings += of_table + of_missing(values, table["label"], factors, shown(path))
            elif _stands_in(table, samples):
                findings.append(Finding("table", shown(path), "ok", "its places and labels stand in "
                                        f"{shown(paths.samples)}, see there"))
            else:  # with the weak landslides its labels are balanced
                findings += [finding for finding in of_table if finding.topic != "balance"]
            if path == paths.samples:
                findings += of_decimals(table, shown(path), raster)
                findings += of_one_sided(values, table["label"], factors, shown(path))
                correlation, lines = of_collinearity(values, factors, shown(path))
                findings += lines
    try:
        grid = grid_of(paths)
    except InputError as error:
        return [*findings, of_refusal("table", paths.grid_parquet, error)], correlation
    if grid.is_file():
        findings += _refusal(grid, lambda: findings.extend(
            _against_grid(samples, shown(paths.samples), grid, factors, raster, rows)))
    else:
        findings.append(Finding("table", shown(grid), "error", "missing, and no factors.tif either",
                                "run prepare_region.py, or put the grid table there"))
    if grid.is_file() and grid.suffix != ".tif":
        table = _readable_rows(grid, rows)
        findings += _of_columns(table, factor_columns(table, factors), factors, raster, grid, is_grid=True)
    if paths.factor_stack.is_file() and raster is not None:
        findings += _refusal(paths.factor_stack,
                             lambda: findings.extend(of_stack(paths.factor_stack, raster, factors)))
    return list(dict.fromkeys(findings)), correlation  # the stack may be refused twice


def _against_grid(samples: pd.DataFrame, file: str, grid: Path, factors: tuple[Factor, ...], raster: Raster | None,
                  rows: int) -> list[Finding]:
    """Reads every row of the grid, table or stack, and compares the samples of `file` with it. Raises InputError as its
    reader does."""
    values = factor_columns(samples, factors)
    there = tuple(factor for factor in factors if factor.name in values)
    columns = {f.name: samples.columns[find_columns(list(samples), (f.name, *f.aliases))[0]] for f in there}
    if raster is None or not there or not len(samples) or not {"X", "Y"} <= set(samples):
        for _ in chunks(grid, factors, rows):
            pass
        return [Finding("alignment", shown(grid), "warning", "samples and grid were not compared: composite.tif or the "
                        "samples cannot be read", "mend them first")]
    of_grid, seen = values_of_cells(grid, factors, raster, samples[["X", "Y"]].to_numpy(float), rows)
    of_grid = of_grid[:, [factors.index(factor) for factor in there]]
    named = tuple(f if plain(columns[f.name]) == plain(f.name) else replace(
        f, name=f"{f.name} (column {columns[f.name]!r})") for f in there)  # as people find it in their tables
    return of_rows(seen, raster, shown(grid)) + of_agreement(
        values[[f.name for f in there]].to_numpy(float), of_grid, named, file)


def _stands_in(table: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether every place of a table stands with its label in the other."""
    columns = ["X", "Y", "label"]
    return set(columns) <= set(other) and len(table[columns].drop_duplicates().merge(
        other[columns].drop_duplicates())) == len(table[columns].drop_duplicates())


def _refusal(path: Path, read) -> list[Finding]:
    """What the stages' own reader, read(), says against a table."""
    try:
        read()
    except InputError as error:
        return [of_refusal("table", path, error)]
    return []


def _readable_rows(path: Path, rows: int | None = None) -> pd.DataFrame:
    """The first rows of a table, None: all; empty where it cannot be read. In X, Y and label, what is no finite number
    is nan. `_refusal` says what is wrong with such a table."""
    try:
        table = named_rows(path, rows)
    except InputError:
        return pd.DataFrame()
    numbers = table[table.columns.intersection(["X", "Y", "label"])].apply(pd.to_numeric, errors="coerce")
    return table.assign(**numbers.replace([np.inf, -np.inf], np.nan))


def _of_columns(table: pd.DataFrame, values: pd.DataFrame, factors: tuple[Factor, ...], raster: Raster | None,
                path: Path, is_grid: bool) -> list[Finding]:
    """Findings about factors and places of a table; values holds its factors."""
    if not len(values):
        return []
    terrain = terrain_of_places(table[["X", "Y"]], raster) if {"X", "Y"} <= set(table) and raster is not None else None
    findings = of_units(values, factors, shown(path), terrain) + of_nodata(values, factors, shown(path))
    if terrain is not None:
        findings += of_places(table[["X", "Y"]], raster, shown(path), is_grid)
        findings += of_terrain(values, terrain, shown(path))
    return findings
