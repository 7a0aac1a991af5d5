"""The points and tables of a prepared region, and the folder for layers on the way.

c holds the constants of prepare_region.py; folder the layers made there (<name>.tif, DEM among them).
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from osgeo import gdal
from scipy.spatial import cKDTree
from tqdm import tqdm

from lsm.inputs.layers import read_rows, values_at
from lsm.inputs.rasters import Grid, cell_of, centres
from lsm.region import absences, inventory
from lsm.region.factor_layers import distance_to
from lsm.run.paths import shown
from lsm.run.settings import InputError

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


# points ----------------------------------------------------------------------------------------------------------

def weak_landslides(points: pd.DataFrame, folder: Path, grid: Grid, c):
    """Writes DV, the mean velocity of each cell's points, 0 where there are none; returns rows and columns of cells
    that move: at MIN_VELOCITY and MIN_SLOPE or more, the fastest cell in each square of SPACING."""
    row, col = cell_of(grid.geotransform, points[["X", "Y"]].to_numpy())
    ground = gdal.Open(str(folder / "slope.tif"))
    inside = inventory.on_grid(points[["X", "Y"]].to_numpy(), ground, grid, "InSAR points")
    row, col, velocity = inventory.mean_by_cell(row[inside], col[inside], points["velocity"].to_numpy()[inside],
                                                grid.cols)
    velocity = np.where(velocity == 0, 0.001, velocity)  # 0 would say that nothing was measured
    inventory.write_cells(folder / "DV.tif", grid, row, col, velocity)
    moving = (np.abs(velocity) >= c.MIN_VELOCITY) & (values_at(ground, row, col)[:, 0] >= c.MIN_SLOPE)
    row, col, speed = row[moving], col[moving], np.abs(velocity[moving])
    side = max(1, round(c.SPACING / grid.cell))
    fastest = np.argsort(-speed, kind="stable")
    _, first = np.unique((row // side * grid.cols + col // side)[fastest], return_index=True)
    kept = np.sort(fastest[first])
    return row[kept], col[kept]


def cells_of(file: str, what: str, grid: Grid, folder: Path, c):
    """The points of an inventory, one a cell: xy (points, 2), rows, columns, polygons as burned, and notes. Raises
    InputError."""
    xy, burned, notes = inventory.read_inventory(file, what, grid, gdal.Open(str(folder / "DEM.tif")), c.POINTS_EPSG,
                                                 c.POLYGON_CELLS, c.EVERY, folder)
    inside = inventory.on_grid(xy, gdal.Open(str(folder / "DEM.tif")), grid, f"{shown(Path(file))}: {what}")
    row, col = cell_of(grid.geotransform, xy[inside])
    complete = values_at(gdal.Open(str(folder / "valid.tif")), row, col)[:, 0] == 1
    xy, row, col = xy[inside][complete], row[complete], col[complete]
    _, first = np.unique(row * grid.cols + col, return_index=True)
    first.sort()
    notes += [f"{n} points of the {what} dropped {why}" for n, why in (
        ((~inside).sum(), "off the DEM"), ((~complete).sum(), "where a factor is missing"),
        (len(xy) - len(first), "in the cell of another")) if n]
    if not len(first):
        raise InputError(f"{shown(Path(file))}: {what}: expected points where every factor is known, found none; take "
                         "layers that cover them")
    return xy[first], row[first], col[first], burned, notes


def place_points(inputs: dict, moving, grid: Grid, folder: Path, c):
    """The landslides and the stable places (None where none are given), each as xy, rows, columns; the moving cells
    (rows, columns) that are no landslide's; notes. Writes the layers occupied and away, the distance (m) to occupied
    cells. Raises InputError."""
    *landslides, burned, notes = cells_of(inputs["INVENTORY"], "inventory", grid, folder, c)
    stable = None
    if "STABLE" in inputs:
        *stable, _, more = cells_of(inputs["STABLE"], "stable places", grid, folder, c)
        other = ~np.isin(stable[1] * grid.cols + stable[2], landslides[1] * grid.cols + landslides[2])
        stable = [part[other] for part in stable]
        if not other.any():
            raise InputError(f"{shown(Path(inputs['STABLE']))}: stable places: expected places apart from landslides, "
                             "found each in the cell of one; is it the inventory again?")
        notes += [*more, *[f"{(~other).sum()} stable places dropped in the cell of a landslide"] * (not other.all())]
    places = np.column_stack(centres(grid.geotransform, *moving))
    free = cKDTree(landslides[0]).query(places)[0] > max(c.SPACING, grid.cell)
    free &= values_at(gdal.Open(str(folder / "valid.tif")), *moving)[:, 0] == 1
    moving = [m[free] for m in moving]
    row, col = np.r_[landslides[1], moving[0]], np.r_[landslides[2], moving[1]]
    occupied = inventory.write_cells(folder / "occupied.tif", grid, row, col, 1, burned, kind=gdal.GDT_Byte,
                                     nodata=None)
    distance_to(occupied, grid, folder / "away.tif", "inventory: expected landslides on the grid, found none")
    return landslides, stable, moving, notes


# tables ----------------------------------------------------------------------------------------------------------

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
            r, c = np.nonzero(read_rows(valid, row, rows))
            values = np.stack([read_rows(stack, row, rows, i)[r, c] for i in range(1, len(names) + 1)], axis=1)
            x, y = centres(grid.geotransform, r + row, c)
            as_table(names, values, np.column_stack([x, y])).to_csv(file, header=row == 0, index=False,
                                                                     float_format="%.9g")


def published_form(points: pd.DataFrame) -> pd.DataFrame:
    """InSAR rows the way they are published: other names, velocity positive away from the satellite, and once more as
    label."""
    names = {name: name.replace("dis2", "D2") for name in points} | {"land use": "landuse", "DV": "DV_InSAR"}
    return points.assign(DV=-points["DV"], label=-points["DV"]).rename(columns=names)


def sample_tables(rng, landslides, stable, moving, names: list[str], grid: Grid, folder: Path, c):
    """The tables of landslides and non-landslides, of weak landslides, and of scores by strategy.

    landslides  xy, rows, columns; stable  the same of places known to be stable, or None; moving  rows, columns of weak
    landslides. Raises InputError where no cell is left to draw non-landslides from.
    """
    stack, chosen = gdal.Open(str(folder / "stack.tif")), "given" if stable else c.STRATEGY

    def table(row, col, label: int, xy=None) -> pd.DataFrame:
        xy = np.column_stack(centres(grid.geotransform, row, col)) if xy is None else xy
        return as_table(names, values_at(stack, row, col), xy).assign(label=label)

    xy, row, col = landslides
    slides = table(row, col, 1, xy)
    by_strategy = {"given": table(stable[1], stable[2], 0, stable[0])} if stable else {}
    for strategy, own_rng in zip(absences.STRATEGIES, rng.spawn(len(absences.STRATEGIES)), strict=True):
        by_strategy[strategy] = table(*absences.draw_non_landslides(
            own_rng, strategy, slides["slope"].to_numpy(), folder, grid, c.RATIO, c.SLOPE_CLASSES, c.BUFFER), 0)
    if not len(by_strategy[chosen]):
        raise InputError(f"STRATEGY={chosen}: expected free cells to draw non-landslides from, found none; take "
                         "another strategy or a smaller BUFFER")
    scores = []
    for strategy, others in by_strategy.items():
        both = pd.concat([slides, others], ignore_index=True)
        auroc = absences.quick_score(both[names].to_numpy(), both["label"].to_numpy(), both[["X", "Y"]].to_numpy(),
                                     grid, c.FOLD, c.SEED)
        scores.append({"strategy": strategy, "landslides": len(slides), "non_landslides": len(others), "auroc": auroc,
                       "chosen": strategy == chosen})
    samples = pd.concat([slides, by_strategy[chosen]], ignore_index=True)
    samples = samples.sample(frac=1, random_state=rng).reset_index(drop=True)
    return samples, table(*moving, 1), pd.DataFrame(scores)
