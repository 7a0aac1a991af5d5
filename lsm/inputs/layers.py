"""Layers: single-band GeoTIFFs on one grid, on the way to a region's inputs, read and written window by window.

They are float32 with nodata -9999 unless said otherwise, and uncompressed: GDAL goes over some of them up and down.
A window is some whole rows; no function here holds more of a layer than that.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from osgeo import gdal

from lsm.inputs import rasters
from lsm.inputs.rasters import NODATA, Grid, create, known


def read_rows(dataset: gdal.Dataset, row: int, rows: int, band: int = 1) -> np.ndarray:
    """Rows row .. row + rows - 1 of a band, (rows, cols)."""
    return dataset.GetRasterBand(band).ReadAsArray(0, row, dataset.RasterXSize, rows)


def write_layer(path: Path, grid: Grid, values_of: Callable[[int, int], np.ndarray], kind: int = gdal.GDT_Float32,
                nodata: float | None = NODATA) -> gdal.Dataset:
    """Writes a layer and returns it, open.

    values_of  (row, rows) -> values of these rows (rows, cols); nan where a cell has no value
    kind       as GDAL numbers types; nodata None: every cell of the layer has a value
    """
    target = create(path, grid, kind, nodata)
    for row, rows in grid.windows():
        write_rows(target, row, values_of(row, rows))
    flush(target)
    return target


def change_layer(path: Path, grid: Grid, values_of: Callable[[int, np.ndarray], np.ndarray]) -> None:
    """Replaces the values of a layer. values_of: (row, values from this row on) -> new values, (rows, cols) both."""
    dataset = gdal.Open(str(path), gdal.GA_Update)
    for row, rows in grid.windows():
        write_rows(dataset, row, values_of(row, read_rows(dataset, row, rows)))
    flush(dataset)


def write_rows(dataset: gdal.Dataset, row: int, values: np.ndarray, band: int = 1) -> None:
    """Writes values (rows, cols) into a band from `row` on; nan becomes NODATA."""
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), NODATA, values)
    elif values.dtype.kind == "b":
        values = values.astype(np.uint8)
    dataset.GetRasterBand(band).WriteArray(values, 0, row)


def flush(dataset: gdal.Dataset) -> None:
    """Writes to disk what GDAL still holds, so that others can open the file while this dataset is open.

    Closing the dataset would do the same, but nobody can tell when it closes: numba can hold an exception whose frames
    keep datasets open.
    """
    for _ in range(2):  # GDAL 3.6 writes where a new GeoTIFF's strips lie with the second; before, all reads as nodata
        dataset.FlushCache()


def values_at(dataset: gdal.Dataset, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """Values (points, bands) float32 of a raster at cells; only windows that hold any of the cells are read."""
    out = np.full((len(row), dataset.RasterCount), NODATA, np.float32)
    step = max(1, rasters.WINDOW // dataset.RasterXSize // 256) * 256  # tiles are 256 high
    for number in np.unique(row // step):
        here = row // step == number
        first = int(number * step)
        rows = min(step, dataset.RasterYSize - first)
        for band in range(dataset.RasterCount):
            out[here, band] = read_rows(dataset, first, rows, band + 1)[row[here] - first, col[here]]
    return out


def stack_layers(layers: dict[str, Path], units: dict[str, str], grid: Grid, mask: Path, path: Path) -> None:
    """Writes layers as the bands of one compressed GeoTIFF; nodata in all bands where the layer `mask` has nodata."""
    target = create(path, grid, options=("COMPRESS=DEFLATE", "PREDICTOR=3", "TILED=YES", "INTERLEAVE=BAND", "ZLEVEL=1"),
                    names=layers)
    for i, name in enumerate(layers, start=1):
        target.GetRasterBand(i).SetUnitType(units[name])
    masking = gdal.Open(str(mask))
    for i, layer in enumerate(layers.values(), start=1):  # band by band: the tiles of one band fit GDAL's cache
        source = gdal.Open(str(layer))
        for row, rows in grid.windows():
            ground = known(read_rows(masking, row, rows))
            write_rows(target, row, np.where(ground, read_rows(source, row, rows), NODATA), i)
    flush(target)
