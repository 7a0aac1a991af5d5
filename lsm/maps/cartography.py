"""Rasters as maps show them: read no larger than a page needs, shaded by the terrain, with outlines and colours."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from osgeo import gdal
from scipy.ndimage import distance_transform_edt

from lsm.inputs import grid_cells
from lsm.inputs.bands import known
from lsm.inputs.factor.definition import Factor
from lsm.inputs.rasters import locate, open_raster
from lsm.run.paths import shown
from lsm.run.progress import Progress
from lsm.run.settings import InputError

CHUNK = 500_000  # rows of the grid at a time
# Fill of samples on a map in colours, in the report and in QGIS: both show on every colour of a class. Figures draw
# samples on pale terrain, where red stands out (lsm/figures/styles.py).
SAMPLES = {"landslide": "#000000", "non-landslide": "#ffffff"}
DARKEST = 0.85   # of a colour on the darkest slope: darker ones look like the colour of another class


def read_decimated(path: Path, largest: int, average: bool,
                   band: int = 1) -> tuple[np.ndarray, np.ndarray, tuple, gdal.Dataset]:
    """A band of a raster, read with at most `largest` cells a side.

    average  True: means of the raster's cells (heights); False: the nearest cell (classes, block numbers)
    band     its number, from 1
    Returns the values (rows, cols), where they are known (rows, cols), the extent (west, east, south, north) in the
    units of the CRS, and the dataset. Raises InputError.
    """
    dataset = open_raster(path, "make it again")
    cols, rows = dataset.RasterXSize, dataset.RasterYSize
    step = max(1, cols / largest, rows / largest)
    band = dataset.GetRasterBand(band)
    values = band.ReadAsArray(buf_xsize=max(1, round(cols / step)), buf_ysize=max(1, round(rows / step)),
                              resample_alg=gdal.GRIORA_Average if average else gdal.GRIORA_NearestNeighbour)
    west, width, _, north, _, height = dataset.GetGeoTransform()
    extent = (west, west + cols * width, north + rows * height, north)
    return values, known(values, band.GetNoDataValue()), extent, dataset


def grid_layers(source, factors, geotransform: tuple, size: tuple, shape: tuple
                ) -> tuple[np.ndarray, int, list[dict[float, int]]]:
    """Every factor of the grid `source` on a raster of `shape` (rows, cols) that covers a raster of `size`.

    geotransform  of the raster of `size`
    Returns (factors, rows, cols) float32, nan where no grid cell lies, one of them where several do; the number of
    grid cells; and by factor the number of grid cells in each of its `classes_of`, by rising code, also in classes
    that no cell of the smaller raster shows. Reads the grid a chunk at a time.
    """
    out, n, parts = np.full((len(factors), *shape), np.nan, np.float32), 0, grid_cells.chunks(source, factors, CHUNK)
    counts = [Counter() for _ in factors]
    for values, xy in Progress(parts, total=-(-grid_cells.count(source) // CHUNK), desc="grid", unit="chunk", delay=2):
        row, col, inside = locate(geotransform, size, xy)
        at = row[inside] * shape[0] // size[0], col[inside] * shape[1] // size[1]
        out[:, *at] = values[inside].T
        n += len(values)
        for counted, factor, of_factor in zip(counts, factors, values.T, strict=True):
            counted.update(pd.Series(classes_of(of_factor, factor)).value_counts().to_dict())
    return out, n, [dict(sorted(counted.items())) for counted in counts]


def classes_of(values: np.ndarray, factor: Factor) -> np.ndarray:
    """The class of each value of a factor, as float of the same shape, nan without one: the code of a class; of a
    direction its quarter, 0 to 3 from north to west, and 4 for flat; of a number nan."""
    if factor.kind == "circular":
        return np.where(values < 0, 4, np.where(np.isfinite(values), np.floor((values + 45) % 360 / 90), np.nan))
    return values if factor.kind == "categorical" else np.full_like(values, np.nan)


def hill_shade(dem: np.ndarray, width: float, height: float) -> np.ndarray:
    """Brightness (rows, cols), 0 to 1, of heights in m on cells of `width` x `height` m; flat ground has 1.

    Light comes from the north-west, 45 degrees high. Brightness is the cosine of the angle between light and normal,
    divided by the same cosine on flat ground, and no more than 1.
    """
    southward, eastward = np.gradient(dem, height, width)
    shade = (1 + (eastward + southward) / np.sqrt(2)) / np.sqrt(1 + eastward**2 + southward**2)
    return np.clip(shade, 0, 1)


def dimmed(shade: np.ndarray) -> np.ndarray:
    """What a `hill_shade` leaves of the colour of a class, DARKEST to 1."""
    return DARKEST + (1 - DARKEST) * shade


def shaded(path: Path, largest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple, gdal.Dataset]:
    """Heights and their `hill_shade`, from the first band of a terrain raster, with at most `largest` cells a side.

    Returns heights, shade and where heights are known (all (rows, cols)), the extent and the dataset, as
    `read_decimated` does. Nodata takes the height of the nearest known cell, so that coasts cast no shade. Raises
    InputError where no height is known.
    """
    heights, valid, extent, dataset = read_decimated(path, largest, average=True)
    if not valid.any():
        raise InputError(f"{shown(path)}: expected cells with a height, found all nodata; check the nodata value")
    row, col = distance_transform_edt(~valid, return_distances=False, return_indices=True)
    heights = heights[row, col].astype(float)
    rows, cols = heights.shape
    west, east, south, north = extent
    return heights, hill_shade(heights, (east - west) / cols, (north - south) / rows), valid, extent, dataset


def named_classes(dataset: gdal.Dataset, path: Path) -> tuple[list[str], list[str]]:
    """Names of the classes 0 (nodata), 1, ... of a raster's first band, and colours ("#rrggbb") from class 1 on.

    Raises InputError where the raster has none.
    """
    band = dataset.GetRasterBand(1)
    band.GetMetadata()  # else GDAL does not read the file beside the raster, which holds the names
    names, palette = band.GetCategoryNames(), band.GetColorTable()
    if not names or palette is None:
        raise InputError(f"{shown(path)}: expected names and colours of its classes, found none; make it again")
    return names, ["#{:02x}{:02x}{:02x}".format(*palette.GetColorEntry(i)[:3]) for i in range(1, len(names))]


def outlines(block: np.ndarray, extent: tuple) -> np.ndarray:
    """The borders between different numbers of `block` (rows, cols), as straight lines (lines, 2 ends, x and y)."""
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
    """x and y (2, 3 lines) of `outlines` as one line with gaps (nan), which is drawn faster than many lines."""
    return np.concatenate([lines, np.full((len(lines), 1, 2), np.nan)], axis=1).reshape(-1, 2).T
