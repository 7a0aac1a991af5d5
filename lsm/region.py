"""The tables of a prepared region, and the folder for layers on the way."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from osgeo import gdal
from tqdm import tqdm

from lsm.gridding import Grid, read
from lsm.raster import centres

gdal.UseExceptions()


@contextlib.contextmanager
def work_folder(path: Path) -> Iterator[Path]:
    """An empty folder for layers on the way, removed at the end."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def as_table(names: list[str], values: np.ndarray, xy: np.ndarray) -> pd.DataFrame:
    """Factors (points, factors) and X, Y (points, 2) as a table with four decimals; -0 is 0."""
    table = pd.DataFrame(values.astype(np.float64).round(4) + 0.0, columns=names)
    return table.assign(X=xy[:, 0].round(3), Y=xy[:, 1].round(3))


def write_grid(stack: gdal.Dataset, valid: gdal.Dataset, names: list[str], grid: Grid, path: Path) -> None:
    """Writes the grid table, a row a cell of `valid` (uint8), window by window.

    stack  the factors as bands, in the order of `names`
    """
    with open(path, "w", encoding="utf-8", newline="") as file:
        for row, rows in tqdm(list(grid.windows()), desc="grid table", unit="window", disable=None, delay=2):
            r, c = np.nonzero(read(valid, row, rows))
            values = np.stack([read(stack, row, rows, i)[r, c] for i in range(1, len(names) + 1)], axis=1)
            x, y = centres(grid.geotransform, r + row, c)
            as_table(names, values, np.column_stack([x, y])).to_csv(file, header=row == 0, index=False,
                                                                     float_format="%.9g")


def published_form(points: pd.DataFrame) -> pd.DataFrame:
    """InSAR rows the way they are published: other names, velocity positive away from the satellite, and once more as
    label."""
    names = {name: name.replace("dis2", "D2") for name in points} | {"land use": "landuse", "DV": "DV_InSAR"}
    return points.assign(DV=-points["DV"], label=-points["DV"]).rename(columns=names)
