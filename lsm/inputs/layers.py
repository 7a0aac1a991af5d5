"""Layers: single-band GeoTIFFs on one grid, on the way to a region's inputs, read and written window by window; and
single cells of any raster, read and written the same way.

Layers are float32 with nodata -9999 unless said otherwise, and uncompressed: GDAL goes over some of them up and down.
A window is some whole rows; no function here holds more of a raster than that.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, sqrt
from pathlib import Path

import numpy as np
from osgeo import gdal, gdal_array

from lsm.inputs import rasters
from lsm.inputs.bands import NODATA, known
from lsm.inputs.rasters import TILE, Composite, Grid, create_raster, locate


def read_rows(dataset: gdal.Dataset, row: int, rows: int, band: int = 1) -> np.ndarray:
    """Rows row .. row + rows - 1 of a band, (rows, cols)."""
    return dataset.GetRasterBand(band).ReadAsArray(0, row, dataset.RasterXSize, rows)


def write_layer(path: Path, grid: Grid, values_of: Callable[[int, int], np.ndarray], kind: int = gdal.GDT_Float32,
                nodata: float | None = NODATA) -> gdal.Dataset:
    """Writes a layer and returns it, open.

    values_of  (row, rows) -> values of these rows (rows, cols); nan where a cell has no value
    kind       as GDAL numbers types; nodata None: every cell of the layer has a value
    """
    target = create_raster(path, grid, kind, nodata)
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


def write_cells(path: Path, grid: Grid, row: np.ndarray, col: np.ndarray, values, below=None,
                **options) -> gdal.Dataset:
    """Writes a layer with values (one for all cells, or one a cell) at the cells row, col; the other cells are 0, or 1
    where the layer `below` is not 0. options: kind and nodata of `write_layer`."""
    values = np.broadcast_to(values, row.shape)

    def window(first: int, rows: int) -> np.ndarray:
        out = np.zeros((rows, grid.cols), np.float32)
        if below is not None:
            out[read_rows(below, first, rows) != 0] = 1
        here = (row >= first) & (row < first + rows)
        out[row[here] - first, col[here]] = values[here]
        return out

    return write_layer(path, grid, window, **options)


@dataclass(frozen=True)
class RasterRows:
    """The first band of an open raster, of which slices of rows are read and written as in an array."""

    dataset: gdal.Dataset

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.dataset.RasterYSize, self.dataset.RasterXSize

    def __getitem__(self, rows: slice) -> np.ndarray:
        first, end, _ = rows.indices(self.shape[0])
        return read_rows(self.dataset, first, end - first)

    def __setitem__(self, rows: slice, values: np.ndarray) -> None:
        self.dataset.GetRasterBand(1).WriteArray(values, 0, rows.indices(self.shape[0])[0])


def flush(dataset: gdal.Dataset) -> None:
    """Writes to disk what GDAL still holds, so that others can open the file while this dataset is open.

    Closing the dataset would do the same, but nobody can tell when it closes: numba can hold an exception whose frames
    keep datasets open.
    """
    for _ in range(2):  # GDAL 3.6 writes where a new GeoTIFF's strips lie with the second; before, all reads as nodata
        dataset.FlushCache()


def values_at(dataset: gdal.Dataset, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """Values (points, bands) float32 of a raster at cells; only windows that hold any of the cells are read."""
    bands = range(1, dataset.RasterCount + 1)
    return np.stack([take(dataset, row, col, band) for band in bands], axis=1, dtype=np.float32)


def terrain_at(composite: Composite, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bands of TERRAIN (4, points) float32 in the cells of points (points, 2), nan where one of them has no number,
    and which points lie on the raster (points,); only windows that hold any of them are read. Raises InputError as
    `Composite.read` does."""
    grid = composite.grid
    row, col, on = locate(grid.geotransform, (grid.rows, grid.cols), xy)
    out = np.full((len(composite.bands), len(xy)), np.nan, np.float32)
    for first, rows in grid.windows():
        here = np.flatnonzero(on & (row >= first) & (row < first + rows))
        if len(here):
            values, valid = composite.read(first, rows)
            at = row[here] - first, col[here]
            out[:, here] = np.where(valid[at], values[:, *at], np.nan)
    return out, on


def take(dataset: gdal.Dataset, row: np.ndarray, col: np.ndarray, band: int = 1) -> np.ndarray:
    """The values of cells (cells,) of a band, in the band's type; only windows that hold any of them are read."""
    out = np.empty(len(row), gdal_array.GDALTypeCodeToNumericTypeCode(dataset.GetRasterBand(band).DataType))
    for first, rows, here in row_windows(dataset, row):
        out[here] = read_rows(dataset, first, rows, band)[row[here] - first, col[here]]
    return out


def put(dataset: gdal.Dataset, row: np.ndarray, col: np.ndarray, values: np.ndarray) -> None:
    """Writes values (cells,) into cells of the first band, of which it reads and writes windows that hold any."""
    for first, rows, here in row_windows(dataset, row):
        window = read_rows(dataset, first, rows)
        window[row[here] - first, col[here]] = values[here]
        dataset.GetRasterBand(1).WriteArray(window, 0, first)


def row_windows(dataset: gdal.Dataset, row: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """First row and number of rows of windows that hold any of these rows (cells,), and which cells (cells,) bool."""
    step = _whole_tiles(dataset)
    number = row // step
    for n in np.unique(number):
        yield int(n * step), min(step, dataset.RasterYSize - int(n * step)), number == n


def thinned(dataset: gdal.Dataset, cells: int) -> tuple[np.ndarray, int]:
    """Every step-th row and column of the first band, about `cells` cells in all, and the step."""
    step, tall, parts = ceil(sqrt(dataset.RasterYSize * dataset.RasterXSize / cells)), _whole_tiles(dataset), []
    for row in range(0, dataset.RasterYSize, tall):
        window = read_rows(dataset, row, min(tall, dataset.RasterYSize - row))
        parts.append(window[-row % step::step, ::step].copy())  # a slice would keep its whole window in memory
        dataset.FlushCache()  # drops the tiles, which no later window needs
    return np.concatenate(parts), step


def _whole_tiles(dataset: gdal.Dataset) -> int:
    """Rows of a window of about WINDOW cells that ends where tiles end."""
    return max(1, rasters.WINDOW // dataset.RasterXSize // TILE) * TILE


def stack_layers(layers: dict[str, Path], units: dict[str, str], grid: Grid, mask: Path, path: Path) -> None:
    """Writes layers as the bands of one compressed GeoTIFF; nodata in all bands where the layer `mask` has nodata."""
    options = ("COMPRESS=DEFLATE", "PREDICTOR=3", "TILED=YES", "INTERLEAVE=BAND", "ZLEVEL=1")
    target = create_raster(path, grid, options=options, names=layers)
    for i, name in enumerate(layers, start=1):
        target.GetRasterBand(i).SetUnitType(units[name])
    masking = gdal.Open(str(mask))
    for i, layer in enumerate(layers.values(), start=1):  # band by band: the tiles of one band fit GDAL's cache
        source = gdal.Open(str(layer))
        for row, rows in grid.windows():
            ground = known(read_rows(masking, row, rows))
            write_rows(target, row, np.where(ground, read_rows(source, row, rows), NODATA), i)
    flush(target)
