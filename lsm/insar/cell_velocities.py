"""The factor DV: one velocity for each cell out of the InSAR points in it."""

from pathlib import Path

import numpy as np
from osgeo import gdal
from scipy.spatial import cKDTree

from lsm.inputs.bands import known
from lsm.inputs.crs import off_north
from lsm.inputs.layers import read_rows, values_at, write_cells
from lsm.inputs.rasters import Grid, centres, locate
from lsm.insar.moving_slopes import slope_cosine, slope_velocity
from lsm.insar.rules import RuleConstants
from lsm.insar.tracks import joined
from lsm.insar.velocities import InsarPoints


def of_looks(cell: np.ndarray, velocity: np.ndarray, look: np.ndarray) -> tuple[np.ndarray, ...]:
    """The velocity of each cell in each look: cells, velocities, and the group of each point, -1 where it does not
    count.

    cell, velocity, look  (points,); look  a whole number
    Points of one look are averaged, but never across signs: the sign with the larger sum counts, of equal ones the way
    away from the satellite.
    """
    group, of_point = np.unique(np.column_stack([cell, look]), axis=0, return_inverse=True)
    of_point = of_point.ravel()
    up, down = (np.bincount(of_point, np.maximum(sign * velocity, 0), len(group)) for sign in (1, -1))
    counts = np.sign(velocity) * np.where(up > down, 1, -1)[of_point] >= 0
    mean = np.bincount(of_point[counts], velocity[counts], len(group)) / np.maximum(
        np.bincount(of_point[counts], minlength=len(group)), 1)
    return group[:, 0], mean, np.where(counts, of_point, -1)


def within_cells(points: InsarPoints, slope: gdal.Dataset, grid: Grid, row: np.ndarray, col: np.ndarray
                 ) -> tuple[np.ndarray, ...]:
    """The cells with a slope and without a point in them that lie within a raster's cell: rows, columns, and the point
    of that raster's cell. row, col (points,) of the cells with a point."""
    tree, found = cKDTree(points.xy / points.spacing), [np.zeros((3, 0), np.int64)]
    order = np.argsort(row, kind="stable")
    row, col = row[order], col[order]
    for first, rows in grid.windows():
        empty = known(read_rows(slope, first, rows))
        here = slice(*np.searchsorted(row, (first, first + rows)))
        empty[row[here] - first, col[here]] = False
        cells = np.argwhere(empty) + np.array([first, 0])
        xy = np.column_stack(centres(grid.geotransform, *cells.T))
        apart, point = tree.query(xy / points.spacing, p=np.inf, distance_upper_bound=0.5 + 1e-6)
        found.append(np.column_stack([cells, point])[np.isfinite(apart)].T)
    return tuple(np.concatenate(found, axis=1))


def cells_with(points: InsarPoints, slope: gdal.Dataset, grid: Grid) -> tuple[np.ndarray, ...]:
    """Rows and columns of the cells with a velocity, and the point that each is of, (points and more,) each."""
    row, col, inside = locate(grid.geotransform, (grid.rows, grid.cols), points.xy)
    inside[inside] = known(values_at(slope, row[inside], col[inside])[:, 0])
    at = np.flatnonzero(inside)
    row, col = row[at], col[at]
    if points.spacing:
        of = within_cells(points, slope, grid, row, col)
        row, col, at = (np.concatenate(both) for both in zip((row, col, at), of, strict=True))
    return row, col, at


def looks(files: list[InsarPoints]) -> np.ndarray:
    """A number (points of all files,) for each direction from which motion is seen: ascending and descending tracks,
    and either of level 3, whose incidence is exactly 0 or 90. Where nothing says it, each file has one of its own."""
    found = [np.full(len(points.xy), i) if points.heading is None else np.cos(np.radians(points.heading)) > 0
             for i, points in enumerate(files)]
    level_3 = [np.zeros(len(points.xy)) if points.incidence is None else np.isin(points.incidence, (0, 90))
               for points in files]
    return np.concatenate(found).astype(int) * 2 + np.concatenate(level_3).astype(int)


def write_velocity_layer(files: list[InsarPoints], grid: Grid, folder: Path, c: RuleConstants) -> None:
    """Writes the layer DV into the folder: the velocity of each cell, 0 in cells without a point. No layer where there
    are no files.

    files  the points of each file
    Ascending and descending tracks are kept apart, since the same motion may come towards one and go away from the
    other. Where a cell has both, it takes the velocity of the track that shows the faster motion along the slope; where
    the geometry is not known, along the line of sight.
    Points where the layer slope holds no value are left out. Of a raster coarser than the grid, all cells within one of
    its cells take that one's velocity.
    """
    if not files:
        return
    slope, aspect = (gdal.Open(str(folder / f"{name}.tif")) for name in ("slope", "aspect"))
    points, before = joined(files), np.cumsum([0, *(len(file.xy) for file in files)])
    of_files = [np.column_stack(cells_with(file, slope, grid)) + np.array([0, 0, n])
                for file, n in zip(files, before[:-1], strict=True)]
    row, col, at = np.concatenate(of_files).T  # the cells, and the points of all files
    cell, velocity, of_point = of_looks(row * grid.cols + col, points.velocity[at], looks(files)[at])
    strength, row, col = np.abs(velocity), cell // grid.cols, cell % grid.cols
    if points.heading is not None and points.incidence is not None:
        first = np.zeros(len(cell), int)  # a point of each group stands for its geometry
        first[of_point[of_point >= 0]] = np.flatnonzero(of_point >= 0)
        s, a = (values_at(layer, row, col)[:, 0] for layer in (slope, aspect))
        a = a + off_north(grid.crs, *np.median(points.xy, axis=0))  # headings count from true north
        cosine = slope_cosine(s, a, points.heading[at][first], points.incidence[at][first], c.LOOK)
        strength = np.abs(slope_velocity(velocity, cosine, c.MIN_COSINE))
    order = np.lexsort((-strength, cell))
    _, strongest = np.unique(cell[order], return_index=True)
    chosen = order[strongest]
    velocity = np.where(velocity == 0, 0.001, velocity)  # 0 would say that nothing was measured
    write_cells(folder / "DV.tif", grid, row[chosen], col[chosen], velocity[chosen])
