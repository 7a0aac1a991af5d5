"""The factor DV: one velocity for each cell out of the InSAR points in it."""

from pathlib import Path

import numpy as np
from osgeo import gdal

from lsm.inputs.bands import known
from lsm.inputs.crs import moved, off_north
from lsm.inputs.layers import read_rows, values_at, write_layer
from lsm.inputs.rasters import Grid, centres, locate
from lsm.insar.moving_slopes import slope_cosine, slope_velocity
from lsm.insar.rules import RuleConstants
from lsm.insar.tracks import joined
from lsm.insar.velocities import InsarPoints

MOST_COLUMNS = 1 << 31  # of a raster


def of_looks(cell: np.ndarray, velocity: np.ndarray, look: np.ndarray) -> tuple[np.ndarray, ...]:
    """The velocity of each cell in each look: cells, velocities, and the group of each point, -1 where it does not
    count.

    cell, velocity, look  (points,); look  a whole number
    Points of one look are averaged, but never across signs: the sign with the larger sum counts, of equal ones the way
    away from the satellite.
    """
    looks_at = look.max(initial=0) + 1
    group, of_point = np.unique(cell * looks_at + look, return_inverse=True)
    of_point = of_point.ravel()
    up, down = (np.bincount(of_point, np.maximum(sign * velocity, 0), len(group)) for sign in (1, -1))
    counts = np.sign(velocity) * np.where(up > down, 1, -1)[of_point] >= 0
    mean = np.bincount(of_point[counts], velocity[counts], len(group)) / np.maximum(
        np.bincount(of_point[counts], minlength=len(group)), 1)
    return group // looks_at, mean, np.where(counts, of_point, -1)


class Placed:
    """The points of a file on the cells with a slope."""

    def __init__(self, points: InsarPoints, slope: gdal.Dataset, grid: Grid):
        row, col, on = locate(grid.geotransform, (grid.rows, grid.cols), points.xy)
        on[on] = known(values_at(slope, row[on], col[on])[:, 0])
        self.raster, self.of_cell = points.raster, None
        if self.raster and self.side(points.xy, grid) > grid.cell * (1 + 1e-6):
            on[:] = False  # where cells are turned, a point may lie in one whose centre lies in the next of the raster
        self.at = np.flatnonzero(on)  # the points, and the cell of each
        self.row, self.col = row[self.at], col[self.at]
        if self.raster:  # the point of each of its cells, sorted by cell
            self.of_cell = np.unique(self.cell_of_raster(points.xy, grid), return_index=True)

    def side(self, xy: np.ndarray, grid: Grid) -> float:
        """The shorter side of the raster's cells in the middle of points (points, 2), m in the CRS of the grid."""
        place, crs = self.raster
        corner = moved(np.median(xy, axis=0)[None], grid.crs, crs)
        corners = moved(corner + np.array([[0, 0], place[1:5:3], place[2:6:3]]), crs, grid.crs)
        return np.hypot(*(corners[1:] - corners[0]).T).min()

    def cell_of_raster(self, xy: np.ndarray, grid: Grid) -> np.ndarray:
        """The cell (points,) of the raster, a whole number, in which points (points, 2) lie."""
        place, crs = self.raster
        x, y = moved(xy, grid.crs, crs).T
        zero, of_x, of_y, first, down_x, down_y = gdal.InvGeoTransform(place)
        col, row = np.floor(zero + of_x * x + of_y * y), np.floor(first + down_x * x + down_y * y)
        return row.astype(np.int64) * MOST_COLUMNS + col.astype(np.int64)

    def cells(self, slope: gdal.Dataset, grid: Grid, first: int, rows: int) -> tuple[np.ndarray, ...]:
        """Rows and columns of the cells with a velocity among `rows` rows from `first` on, and the point that each is
        of, (points and more,) each. Of a raster, these are all cells with a slope whose centres lie in one of its own.
        """
        here = (self.row >= first) & (self.row < first + rows)
        row, col, at = self.row[here], self.col[here], self.at[here]
        if not self.raster:
            return row, col, at
        empty = known(read_rows(slope, first, rows))
        empty[row - first, col] = False
        r, c = np.nonzero(empty)
        r += first
        cells, point = self.of_cell
        wanted = self.cell_of_raster(np.column_stack(centres(grid.geotransform, r, c)), grid)
        place = np.minimum(np.searchsorted(cells, wanted), len(cells) - 1)
        within = cells[place] == wanted
        return tuple(map(np.concatenate, ((row, r[within]), (col, c[within]), (at, point[place[within]]))))


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
    points, look, before = joined(files), looks(files), np.cumsum([0, *(len(file.xy) for file in files)])
    placed = [Placed(file, slope, grid) for file in files]
    told = points.heading is not None and points.incidence is not None
    turned = off_north(grid.crs, *np.median(points.xy, axis=0)) if told else 0.0  # headings count from true north

    def window(top: int, rows: int) -> np.ndarray:
        found = [each.cells(slope, grid, top, rows) for each in placed]
        row, col, at = (np.concatenate(parts) for parts in zip(*((row, col, at + n) for (row, col, at), n in zip(
            found, before[:-1], strict=True)), strict=True))  # the cells, and the points of all files
        cell, velocity, of_point = of_looks(row * grid.cols + col, points.velocity[at], look[at])
        strength, row, col = np.abs(velocity), cell // grid.cols, cell % grid.cols
        if told:
            first = np.zeros(len(cell), int)  # a point of each group stands for its geometry
            first[of_point[of_point >= 0]] = at[of_point >= 0]
            s, a = (values_at(layer, row, col)[:, 0] for layer in (slope, aspect))
            cosine = slope_cosine(s, a + turned, points.heading[first], points.incidence[first], c.LOOK)
            strength = np.abs(slope_velocity(velocity, cosine, c.MIN_COSINE))
        order = np.lexsort((-strength, cell))
        _, strongest = np.unique(cell[order], return_index=True)
        chosen, out = order[strongest], np.zeros((rows, grid.cols), np.float32)
        out[row[chosen] - top, col[chosen]] = np.where(velocity == 0, 0.001, velocity)[chosen]  # 0: nothing measured
        return out

    write_layer(folder / "DV.tif", grid, window)
