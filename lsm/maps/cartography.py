"""Numbers behind maps: rasters read no larger than a page shows, hill shading, outlines of blocks, areas of classes."""

from pathlib import Path

import numpy as np
import pandas as pd
from osgeo import gdal
from tqdm import tqdm

from lsm.inputs import grid_cells
from lsm.inputs.rasters import known, known_strips, locate
from lsm.run.paths import shown
from lsm.run.settings import InputError

gdal.UseExceptions()

CHUNK = 500_000  # rows of the grid at a time


def read_decimated(path: Path, largest: int, average: bool,
                   band: int = 1) -> tuple[np.ndarray, np.ndarray, tuple, gdal.Dataset]:
    """A band of a raster (from 1, the first unless told) with at most `largest` cells a side.

    average  cells are means of the raster's cells (heights); otherwise the nearest one (classes, block numbers)
    Returns the band (rows, cols), valid (rows, cols), its extent (west, east, south, north) in the units of the CRS,
    and the dataset. Raises InputError.
    """
    try:
        dataset = gdal.Open(str(path))
    except RuntimeError:
        raise InputError(f"{shown(path)}: expected a raster that GDAL opens, found none; make it again") from None
    cols, rows = dataset.RasterXSize, dataset.RasterYSize
    step = max(1, cols / largest, rows / largest)
    band = dataset.GetRasterBand(band)
    values = band.ReadAsArray(buf_xsize=max(1, round(cols / step)), buf_ysize=max(1, round(rows / step)),
                              resample_alg=gdal.GRIORA_Average if average else gdal.GRIORA_NearestNeighbour)
    west, width, _, north, _, height = dataset.GetGeoTransform()
    extent = (west, west + cols * width, north + rows * height, north)
    return values, known(values, band.GetNoDataValue()), extent, dataset


def grid_layers(source, factors, geotransform: tuple, size: tuple, shape: tuple) -> tuple[np.ndarray, int]:
    """Every factor on a raster of `shape` (rows, cols) over one of `size`: (factors, rows, cols) float32, nan where no
    cell lies, one of its cells where many do; and the number of cells. Reads the grid a chunk at a time."""
    out, n, names = np.full((len(factors), *shape), np.nan, np.float32), 0, grid_cells.chunks(source, factors, CHUNK)
    for values, xy in tqdm(names, total=-(-grid_cells.count(source) // CHUNK), desc="grid", unit="chunk", delay=2,
                           disable=None):
        row, col, inside = locate(geotransform, size, xy)
        at = row[inside] * shape[0] // size[0], col[inside] * shape[1] // size[1]
        out[:, *at] = values[inside].T
        n += len(values)
    return out, n


def hill_shade(dem: np.ndarray, width: float, height: float) -> np.ndarray:
    """Brightness (rows, cols) of heights in m on cells of `width` x `height` m: 1 on flat ground and brighter slopes.

    Light comes from the north-west, 45 degrees high: the cosine of its angle with the normal over that of flat ground.
    """
    southward, eastward = np.gradient(dem, height, width)
    shade = (1 + (eastward + southward) / np.sqrt(2)) / np.sqrt(1 + eastward**2 + southward**2)
    return np.clip(shade, 0, 1)


def outlines(block: np.ndarray, extent: tuple) -> np.ndarray:
    """The borders between different numbers of `block` (rows, cols) as straight lines (lines, 2 ends, x and y)."""
    x = np.linspace(extent[0], extent[1], block.shape[1] + 1)
    y = np.linspace(extent[3], extent[2], block.shape[0] + 1)
    lines = []
    for ids, across, along, upright in ((block, y, x, False), (block.T, x, y, True)):
        border = np.pad(ids[1:] != ids[:-1], ((0, 0), (1, 1)))  # between line i and i + 1, with a frame of False
        line, start = np.nonzero(~border[:, :-1] & border[:, 1:])
        _, end = np.nonzero(border[:, :-1] & ~border[:, 1:])
        ends = np.stack([along[start], across[line + 1], along[end], across[line + 1]], axis=1).reshape(-1, 2, 2)
        lines.append(ends[:, :, ::-1] if upright else ends)
    return np.concatenate(lines)


def as_one_line(lines: np.ndarray) -> np.ndarray:
    """x and y (2, 3 lines) of `outlines` as one line that nan breaks: drawn at once, not line by line."""
    return np.concatenate([lines, np.full((len(lines), 1, 2), np.nan)], axis=1).reshape(-1, 2).T


def class_areas(path: Path, breaks: tuple[float, ...], names: list[str]) -> pd.DataFrame:
    """Cells, area and share of every class of a probability raster, counted over all its cells strip by strip.

    breaks  between the classes; a cell on a break belongs to the class above. Raises InputError.
    """
    dataset = gdal.Open(str(path))
    _, width, _, _, _, height = dataset.GetGeoTransform()
    cells = np.zeros(len(breaks) + 1, np.int64)
    for values in known_strips(dataset):
        cells += np.bincount(np.digitize(values, breaks), minlength=len(cells))
    if not grid_cells.any():
        raise InputError(f"{shown(path)}: expected cells with a probability, found none; run predict_LSM.py again")
    edges = (0, *breaks, 1)
    return pd.DataFrame({"class": names, "from": edges[:-1], "to": edges[1:], "cells": cells,
                         "area_km2": cells * abs(width * height) / 1e6, "share": cells / grid_cells.sum()})
