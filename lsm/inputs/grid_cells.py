"""The cells to predict, from a table or from a stack of rasters.

The table, csv or Parquet, has one row a cell (lsm/inputs/samples.py). A region without a table has a stack: a raster
on the grid of composite.tif with a float band for each factor, described by the factor's name, with declared nodata.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from osgeo import gdal

from lsm.inputs import samples
from lsm.inputs.bands import Band, refuse_impossible
from lsm.inputs.factor.definition import Factor
from lsm.inputs.rasters import Grid, centres, open_raster, reason
from lsm.run.paths import Paths, edit, shown
from lsm.run.settings import InputError


def grid_of(paths: Paths) -> Path:
    """The grid table of a region, csv or Parquet, or its stack where there is a stack and no table. Raises InputError
    where there are two tables."""
    tables = [path for path in (paths.grid, paths.grid_parquet) if path.is_file()]
    if len(tables) > 1:
        raise InputError(f"{shown(tables[1])}: expected one grid table, found {shown(tables[0])} beside it; remove one")
    return tables[0] if tables else paths.factor_stack if paths.factor_stack.is_file() else paths.grid


def count(path: Path) -> int:
    """Rows of the table, or cells of the stack, for progress bars. Raises InputError where there is neither."""
    if path.suffix != ".tif":
        return samples.count_rows(path)
    dataset = open_raster(path, "run prepare_region.py again")
    return dataset.RasterXSize * dataset.RasterYSize


def chunks(path: Path, factors: tuple[Factor, ...], rows: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The cells that have a value of every factor, about `rows` cells of the table or stack at a time.

    Yields factors (cells, factors) float32 and xy (cells, 2) float64, m. Raises InputError for a stack that lacks a
    factor's band or its nodata value, lies elsewhere, is damaged, or holds values that a factor cannot have.
    """
    if path.suffix != ".tif":
        yield from samples.grid_chunks(path, factors, rows)
        return
    stack = Stack.of(path, factors)
    step = max(1, rows // stack.grid.cols)
    for top in range(0, stack.grid.rows, step):
        values, row, col = stack.read(top, 0, min(step, stack.grid.rows - top), stack.grid.cols)
        yield values, stack.places(row, col)


@dataclass(frozen=True)
class Stack:
    """The open stack of a region: its path, its grid, its factors and their bands."""

    path: Path
    grid: Grid
    factors: tuple[Factor, ...]
    bands: list[Band]

    @classmethod
    def of(cls, path: Path, factors: tuple[Factor, ...]) -> "Stack":
        """Opens the stack at `path`; raises InputError as `chunks` says."""
        dataset = open_raster(path, "run prepare_region.py again")
        bands = _band_numbers(dataset, factors, path)
        _refuse_elsewhere(dataset, path)
        return cls(path, Grid.of(dataset), factors, [Band.of(dataset, b) for b in bands])

    def read(self, top: int, left: int, rows: int, cols: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The cells of a window that have a value of every factor: factors (cells, factors) float32, each factor's
        values side by side in memory, and the cells' rows and columns in the stack."""
        values, valid = np.empty((len(self.bands), rows, cols), np.float32), True
        for i, band in enumerate(self.bands):
            try:
                numbers, good = band.read(left, top, cols, rows)
            except RuntimeError as error:
                raise InputError(f"{shown(self.path)}: expected a whole raster, found: {reason(error, self.path)}; "
                                 "copy it again, or run prepare_region.py again") from None
            values[i], valid = band.values(numbers), valid & good
        row, col = np.nonzero(valid)
        values = values.reshape(len(values), -1)
        if len(row) < valid.size:
            values = np.take(values, np.flatnonzero(valid), axis=1)
        for factor, band, v in zip(self.factors, self.bands, values, strict=True):
            refuse_impossible(v, factor.name, factor.kind, f"{shown(self.path)}: band {band.number} ({factor.name})",
                              edit(self.path, "-a_nodata <number>"), lambda band=band: band.gaps)
        return values.T, row + top, col + left

    def places(self, row: np.ndarray, col: np.ndarray) -> np.ndarray:
        """Coordinates (cells, 2) of cells, m."""
        return np.column_stack(centres(self.grid.geotransform, row, col))


def _refuse_elsewhere(dataset: gdal.Dataset, path: Path) -> None:
    """Raises InputError for a stack on another grid than composite.tif beside it: its cells would lie elsewhere."""
    beside = path.with_name("composite.tif")
    if not beside.is_file():
        return
    composite = open_raster(beside, "run prepare_region.py again")
    own, of_composite = Grid.of(dataset), Grid.of(composite)
    same = ((own.rows, own.cols) == (of_composite.rows, of_composite.cols) and np.allclose(
        own.geotransform, of_composite.geotransform, rtol=0, atol=1e-3 * own.cell))
    if not same:
        raise InputError(f"{shown(path)}: expected the grid of {shown(beside)} ({of_composite.rows} x "
                         f"{of_composite.cols} cells, {of_composite.extent}), found {own.rows} x {own.cols} "
                         f"({own.extent}); warp it to that grid, or run prepare_region.py again")


def _band_numbers(dataset, factors: tuple[Factor, ...], path: Path) -> list[int]:
    """The number (from 1) of each factor's band."""
    found = {dataset.GetRasterBand(b).GetDescription().strip().lower(): b for b in range(1, dataset.RasterCount + 1)}
    out = []
    for factor in factors:
        if factor.words:
            raise InputError(f"{shown(path)}: {factor.name}: expected class codes in the samples too, found words like "
                             f"{factor.words[0]!r}; write the codes of this raster there")
        band = samples.find_name(found, factor.name, factor.aliases)
        if band is None:
            raise InputError(f"{shown(path)}: expected a band {factor.name!r}, found {', '.join(found)}; "
                             "give a band this description, or run prepare_region.py again")
        if dataset.GetRasterBand(band).GetNoDataValue() is None and Band.of(dataset, band).mask is None:
            raise InputError(f"{shown(path)}: band {band} ({factor.name}): nodata: expected a declared value, found "
                             f"none; declare one ({edit(path, '-a_nodata <number>')}), or run prepare_region.py again")
        out.append(band)
    return out
