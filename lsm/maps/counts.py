"""Numbers counted over every cell of a map, strip by strip: areas of classes, shares above a limit, seams."""

from pathlib import Path

import numpy as np
import pandas as pd
from osgeo import gdal

from lsm.inputs.bands import known
from lsm.inputs.rasters import Grid, known_strips
from lsm.run.paths import shown
from lsm.run.settings import InputError

_BINS = 10_000  # of differences in probability, from 0 to 1


def class_areas(path: Path, breaks: list[float], names: list[str]) -> pd.DataFrame:
    """Cells, area and share of every class of a probability raster.

    breaks  between the classes; a cell on a break belongs to the class above. Raises InputError.
    """
    dataset = gdal.Open(str(path))
    _, width, _, _, _, height = dataset.GetGeoTransform()
    cells = np.zeros(len(breaks) + 1, np.int64)
    for values in known_strips(dataset):
        cells += np.bincount(np.digitize(values, breaks), minlength=len(cells))
    if not cells.any():
        raise InputError(f"{shown(path)}: expected cells with a probability, found none; run predict_LSM.py again")
    edges = (0, *breaks, 1)
    return pd.DataFrame({"class": names, "from": edges[:-1], "to": edges[1:], "cells": cells,
                         "area_km2": cells * abs(width * height) / 1e6, "share": cells / cells.sum()})


def classify(source: gdal.Dataset, target: gdal.Dataset, breaks: list[float]) -> np.ndarray:
    """Writes the class of every probability to `target`: 1, 2, ..., and 0 for nodata. Returns the cells of each class
    (classes,)."""
    band, counts = source.GetRasterBand(1), np.zeros(len(breaks) + 1, np.int64)
    for row, rows in Grid.of(source).windows():
        p = band.ReadAsArray(0, row, source.RasterXSize, rows)
        value = np.where(known(p, band.GetNoDataValue()), 1 + np.digitize(p, breaks), 0)
        counts += np.bincount(value.ravel(), minlength=len(counts) + 1)[1:]
        target.GetRasterBand(1).WriteArray(value.astype(np.uint8), 0, row)
    return counts


def above(dataset: gdal.Dataset, limits: tuple[float, ...]) -> tuple[float, list[float]]:
    """The mean of a raster, and the share of its cells above each limit."""
    total, cells, counts = 0.0, 0, np.zeros(len(limits), np.int64)
    for values in known_strips(dataset):
        total, cells = total + values.sum(dtype=np.float64), cells + len(values)
        counts += [(values > limit).sum() for limit in limits]
    return total / max(cells, 1), list(counts / max(cells, 1))


def seams(source: gdal.Dataset, blocks: gdal.Dataset) -> pd.DataFrame:
    """Differences of probability between neighbouring cells, inside blocks and across their borders.

    Returns the number of pairs, the mean, the median and the 90th percentile; both quantiles to 1 / _BINS.
    """
    band, total, histogram = source.GetRasterBand(1), np.zeros(2), np.zeros((2, _BINS), np.int64)
    for row, rows in Grid.of(source).windows():
        window = (0, row, source.RasterXSize, min(rows + 1, source.RasterYSize - row))  # and the next strip's first row
        p, block = band.ReadAsArray(*window), blocks.GetRasterBand(1).ReadAsArray(*window)
        there = known(p, band.GetNoDataValue()) & (block >= 0)
        right = (np.s_[:rows, :-1], np.s_[:rows, 1:])  # without the next strip's row
        down = (np.s_[:-1], np.s_[1:])
        for a, b in (right, down):
            pair = there[a] & there[b]
            jump, across = np.abs(p[a] - p[b])[pair].astype(float), (block[a] != block[b])[pair]
            total += np.bincount(across, jump, 2)
            place = np.minimum((jump * _BINS).astype(int), _BINS - 1)
            histogram += np.bincount(across * _BINS + place, minlength=2 * _BINS).reshape(2, _BINS)
    pairs = histogram.sum(axis=1)
    table = pd.DataFrame({"pairs": pairs, "mean": total / np.maximum(pairs, 1)}, index=["inside", "across"])
    for name, share in (("median", 0.5), ("p90", 0.9)):
        table[name] = [(np.searchsorted(h.cumsum(), share * n) + 0.5) / _BINS
                       for h, n in zip(histogram, pairs, strict=True)]
    return table.where(table["pairs"] > 0)
