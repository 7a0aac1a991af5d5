"""Layers of the surface around a cell of a DEM: slope, aspect, curvatures, averaged heights, relief."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from osgeo import gdal
from scipy.ndimage import maximum_filter, minimum_filter, uniform_filter
from sklearn.metrics import roc_auc_score

from lsm.inputs.bands import known
from lsm.inputs.layers import change_layer, read_rows, write_layer
from lsm.inputs.rasters import Grid, inside

SMOOTH = 2  # cells that averaged heights look to each side
ROUGH, JUDGED = 0.05, 30  # AUROC of curvature and polygons, at least, by which the highest cells are humps

FORMULAS = ("Horn", "ZevenbergenThorne")
# Further factors of the DEM, off by default, with their units. TPI: a cell's height less the mean of its 8 neighbours
# (Weiss 2001); TRI: the root of the sum of the squared differences to them (Riley and others 1999, Intermountain
# Journal of Sciences 5); relief: highest less lowest height around; HAND: height above the nearest stream down the
# flow.
MORE = {
    "profile curvature": "1/100 m", "plan curvature": "1/100 m", "TPI": "m", "TRI": "m", "relief": "m", "HAND": "m"}


def slope_and_aspect(dem: Path, grid: Grid, slope: Path, aspect: Path, formula: str) -> None:
    """Writes slope (degrees) and aspect (degrees clockwise from north, the way down; -1 = flat) of a DEM layer.

    formula  "Horn" (1981, Proceedings of the IEEE 69) or "ZevenbergenThorne" (1987, Earth Surface Processes and
             Landforms 12). Beside missing cells as `_neighbours` has them.
    """
    options = {"computeEdges": True, "creationOptions": ["BIGTIFF=IF_SAFER"]}
    gdal.DEMProcessing(str(slope), str(dem), "slope", alg=formula, slopeFormat="degree", **options)
    gdal.DEMProcessing(str(aspect), str(dem), "aspect", alg=formula, **options)
    heights = gdal.Open(str(dem))

    def with_flat_ground(row: int, way: np.ndarray) -> np.ndarray:  # GDAL gives it nodata
        return np.where(known(read_rows(heights, row, len(way))) & ~known(way), -1, way)

    change_layer(aspect, grid, with_flat_ground)
    _beside_gaps(dem, grid, slope, lambda near: np.degrees(np.arctan(np.hypot(*_rise(near, grid.cell, formula)))))
    _beside_gaps(dem, grid, aspect, lambda near: _way_down(*_rise(near, grid.cell, formula)))


def _rise(near: dict, cell: float, formula: str) -> tuple[np.ndarray, np.ndarray]:
    """The rise to the east and to the north, of neighbours as `_neighbours` gives them."""
    along = {-1: 1, 0: 2, 1: 1} if formula == "Horn" else {0: 1}  # weights of the rows, or columns, side by side
    east = sum(weight * (near[i, 1] - near[i, -1]) for i, weight in along.items())
    north = sum(weight * (near[-1, j] - near[1, j]) for j, weight in along.items())
    return east / (2 * cell * sum(along.values())), north / (2 * cell * sum(along.values()))


def _way_down(east: np.ndarray, north: np.ndarray) -> np.ndarray:
    """The way down (degrees clockwise from north, -1 = flat) where the ground rises so much to the east and north."""
    return np.where((east == 0) & (north == 0), -1, np.degrees(np.arctan2(-east, -north)) % 360)


def _beside_gaps(dem: Path, grid: Grid, path: Path, values_of: Callable[[dict], np.ndarray]) -> None:
    """Writes values_of(neighbours) into the cells of a layer that lack a neighbour within the raster, which GDAL takes
    for level with the cell, and into its corners."""
    heights = gdal.Open(str(dem))

    def window(row: int, values: np.ndarray) -> np.ndarray:
        z = _heights(heights, grid, row, len(values), 1)
        rows, cols = np.ix_(np.arange(row - 1, row + len(values) + 1), np.arange(-1, grid.cols + 1))
        lacking = maximum_filter(np.isnan(z) & inside((grid.rows, grid.cols), rows, cols), 3)[1:-1, 1:-1]
        lacking |= (np.isin(rows, (0, grid.rows - 1)) & np.isin(cols, (0, grid.cols - 1)))[1:-1, 1:-1]
        lacking &= ~np.isnan(z[1:-1, 1:-1])
        return np.where(lacking, values_of(_neighbours(z)), values) if lacking.any() else values

    change_layer(path, grid, window)


def curvature(heights: np.ndarray, cell: float) -> np.ndarray:
    """Curvature (1/100 m, convex > 0) of heights (rows, cols) in m with nan for nodata; shape (rows - 2, cols - 2).

    -100 times the Laplacian: the total curvature -2(D + E) * 100 of Zevenbergen and Thorne (1987, Earth Surface
    Processes and Landforms 12). Missing neighbours as in `_neighbours`.
    """
    near = _neighbours(heights)
    return -100 * sum(near[place] - near[0, 0] for place in ((-1, 0), (1, 0), (0, -1), (0, 1))) / cell**2


def curvatures(heights: np.ndarray, cell: float) -> tuple[np.ndarray, np.ndarray]:
    """Profile and plan curvature (1/100 m, convex > 0) of heights as `curvature` takes them, 0 on level ground;
    Zevenbergen and Thorne (1987), with the sign of the plan curvature turned: both add up to `curvature`."""
    near = _neighbours(heights)
    z, north, south, west, east = near[0, 0], near[-1, 0], near[1, 0], near[0, -1], near[0, 1]
    d, e = ((west + east) / 2 - z) / cell**2, ((north + south) / 2 - z) / cell**2
    f = (near[-1, 1] + near[1, -1] - near[-1, -1] - near[1, 1]) / (4 * cell**2)
    g, h = (east - west) / (2 * cell), (north - south) / (2 * cell)
    steep = g**2 + h**2
    level = steep < 1e-12
    steep = np.where(level, 1, steep)
    profile = -200 * (d * g**2 + e * h**2 + f * g * h) / steep
    plan = -200 * (d * h**2 + e * g**2 - f * g * h) / steep
    return np.where(level, 0, profile), np.where(level, 0, plan)


def _neighbours(heights: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """The heights of all cells but those at the rim, and of their neighbours, by offset (row, col). A neighbour without
    height continues the line from the opposite one, as in SAGA: a plane stays one. Without both it is level, or at a
    corner of the cell in the plane of the sides."""
    rows, cols = heights.shape
    near = {(i, j): heights[1 + i:rows - 1 + i, 1 + j:cols - 1 + j] for i in (-1, 0, 1) for j in (-1, 0, 1)}
    z = near[0, 0]
    out = {(i, j): np.where(np.isnan(v), 2 * z - near[-i, -j], v) for (i, j), v in near.items()}
    out |= {(i, j): np.where(np.isnan(out[i, j]), z, out[i, j]) for i, j in ((-1, 0), (1, 0), (0, -1), (0, 1))}
    return out | {(i, j): np.where(np.isnan(out[i, j]), out[i, 0] + out[0, j] - z, out[i, j])
                  for i in (-1, 1) for j in (-1, 1)}


def smoothed(heights: np.ndarray, reach: int) -> np.ndarray:
    """Mean height (m) of the cells up to `reach` cells away in rows and columns, of those there are; heights (rows,
    cols) with nan for nodata, where the result is nan too."""
    there, size = ~np.isnan(heights), 2 * reach + 1
    total, share = (uniform_filter(np.where(there, v, 0).astype(np.float64), size, mode="constant")
                    for v in (heights, np.ones_like(heights)))
    return np.where(there, total / np.where(there, share, 1), np.nan)


def humps(first: np.ndarray, by_height: np.ndarray, by_smooth: np.ndarray) -> str:
    """A line where the highest cells of polygons are convex for the roughness of the DEM; "" where they are not.

    first  (cells,) bool: the first cell of each polygon; by_height, by_smooth  (cells,) the curvature of the cells, in
           each polygon from the highest down, by height and by averaged height
    """
    if first.sum() < JUDGED:
        return ""
    told, smooth = (roc_auc_score(first, np.nan_to_num(v)) for v in (by_height, by_smooth))
    return "" if told - smooth <= ROUGH else (
        f"the highest cells of the polygons are humps of a rough DEM: their curvature tells them from the polygons' "
        f"other cells at AUROC {told:.2f}, {smooth:.2f} by averaged heights; take POLYGON_CELLS=scarp or centroid")


def relief(heights: np.ndarray, reach: int) -> np.ndarray:
    """Highest less lowest height (m) among the cells up to `reach` cells away in rows and columns; heights (rows, cols)
    with nan for nodata, the result `reach` cells smaller on each side."""
    side = 2 * reach + 1
    low = minimum_filter(np.where(np.isnan(heights), np.inf, heights), side)
    high = maximum_filter(np.where(np.isnan(heights), -np.inf, heights), side)
    return (high - low)[reach:-reach, reach:-reach]


def write_more(folder: Path, grid: Grid, names: tuple[str, ...], reach: int) -> None:
    """Writes those layers of MORE that are in `names`, except HAND, from the layer DEM; reach  of the relief, in cells.
    """
    dem = folder / "DEM.tif"
    around = {"relief": (reach, lambda z: relief(z, reach)),
              "profile curvature": (1, lambda z: curvatures(z, grid.cell)[0]),
              "plan curvature": (1, lambda z: curvatures(z, grid.cell)[1])}
    of_neighbours = {"TPI": lambda near: near[0, 0] - sum(z for place, z in near.items() if place != (0, 0)) / 8,
                     "TRI": lambda near: np.sqrt(sum((z - near[0, 0])**2 for z in near.values()))}
    for name in names:
        path = folder / f"{name}.tif"
        if name in around:
            _write_around(dem, grid, path, *around[name])
        elif name != "HAND":
            gdal.DEMProcessing(str(path), str(dem), name, computeEdges=True, creationOptions=["BIGTIFF=IF_SAFER"],
                               **{"alg": "Riley"} if name == "TRI" else {})
            _beside_gaps(dem, grid, path, of_neighbours[name])


def write_curvature(dem: Path, grid: Grid, path: Path) -> None:
    """Writes the curvature of a DEM layer."""
    _write_around(dem, grid, path, 1, lambda z: curvature(z, grid.cell))


def _write_around(dem: Path, grid: Grid, path: Path, reach: int, values_of) -> None:
    """Writes a layer of values_of(heights), whose result is `reach` cells smaller on each side, on the cells of a DEM
    layer."""
    heights = gdal.Open(str(dem))

    def window(row: int, rows: int) -> np.ndarray:
        z = _heights(heights, grid, row, rows, reach)
        here = z[reach:-reach, reach:-reach]
        return np.where(np.isnan(here), np.nan, values_of(z))

    write_layer(path, grid, window)


def _heights(dem: gdal.Dataset, grid: Grid, row: int, rows: int, reach: int) -> np.ndarray:
    """The heights of some rows, and of `reach` cells on each side of them: nan for nodata and outside the raster."""
    first, last = max(row - reach, 0), min(row + rows + reach, grid.rows)
    z = read_rows(dem, first, last - first)
    return np.pad(np.where(known(z), z, np.nan), ((first - row + reach, row + rows + reach - last), (reach, reach)),
                  constant_values=np.nan)
