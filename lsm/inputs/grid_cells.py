"""The cells to predict, from a table or from a stack of rasters.

The table has one row a cell (lsm/inputs/samples.py). A region without a table has a stack: a raster on the grid of
composite.tif with a float band for each factor, described by the factor's name, with declared nodata.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from osgeo import gdal

from lsm.inputs import samples
from lsm.inputs.bands import Band, refuse_impossible
from lsm.inputs.rasters import Grid, centres, open_raster, reason
from lsm.inputs.samples import Factor
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError


def grid_of(paths: Paths) -> Path:
    """The grid table of a region, or its stack where there is a stack and no table."""
    return paths.factor_stack if paths.factor_stack.is_file() and not paths.grid.is_file() else paths.grid


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
    dataset = open_raster(path, "run prepare_region.py again")
    bands = _bands(dataset, factors, path)
    _refuse_elsewhere(dataset, path)
    read = [Band.of(dataset, b) for b in bands]
    step = max(1, rows // dataset.RasterXSize)
    for top in range(0, dataset.RasterYSize, step):
        height = min(step, dataset.RasterYSize - top)
        values, valid = np.empty((len(bands), height, dataset.RasterXSize), np.float32), True
        for i, band in enumerate(read):
            try:
                numbers, good = band.read(0, top, dataset.RasterXSize, height)
            except RuntimeError as error:
                raise InputError(f"{shown(path)}: expected a whole raster, found: {reason(error, path)}; copy it "
                                 "again, or run prepare_region.py again") from None
            values[i], valid = band.values(numbers), valid & good
        row, col = np.nonzero(valid)
        for factor, band, v in zip(factors, read, values, strict=True):
            where = f"{shown(path)}: band {band.number} ({factor.name})"
            refuse_impossible(v[row, col], factor.name, factor.kind, where)
        yield values[:, row, col].T, np.column_stack(centres(dataset.GetGeoTransform(), row + top, col))


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
                         f"({own.extent}); run prepare_region.py again")


def _bands(dataset, factors: tuple[Factor, ...], path: Path) -> list[int]:
    """The number (from 1) of each factor's band."""
    found = {dataset.GetRasterBand(b).GetDescription().strip().lower(): b for b in range(1, dataset.RasterCount + 1)}
    out = []
    for factor in factors:
        band = samples.find_name(found, factor.name, factor.aliases)
        if band is None:
            raise InputError(f"{shown(path)}: expected a band {factor.name!r}, found {', '.join(found)}; run "
                             "prepare_region.py again")
        if dataset.GetRasterBand(band).GetNoDataValue() is None and Band.of(dataset, band).mask is None:
            raise InputError(f"{shown(path)}: band {band} ({factor.name}): nodata: expected a declared value, found "
                             "none; run prepare_region.py again")
        out.append(band)
    return out
