"""Layers made from a DEM alone: slope, aspect and curvatures of the surface, relief, the flow of water, flat water."""

from pathlib import Path

import numpy as np
import pyflwdir
from osgeo import gdal
from scipy.ndimage import maximum_filter, minimum_filter, uniform_filter
from sklearn.metrics import roc_auc_score

from lsm.inputs.bands import NODATA, known
from lsm.inputs.layers import change_layer, read_rows, write_layer
from lsm.inputs.rasters import Grid
from lsm.run.code import compiled

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
             Landforms 12). At edges and beside nodata GDAL makes up the missing neighbours from the cell itself.
    """
    options = {"computeEdges": True, "creationOptions": ["BIGTIFF=IF_SAFER"]}
    gdal.DEMProcessing(str(slope), str(dem), "slope", alg=formula, slopeFormat="degree", **options)
    gdal.DEMProcessing(str(aspect), str(dem), "aspect", alg=formula, **options)
    heights = gdal.Open(str(dem))

    def with_flat_ground(row: int, way: np.ndarray) -> np.ndarray:  # GDAL gives it nodata
        return np.where(known(read_rows(heights, row, len(way))) & ~known(way), -1, way)

    change_layer(aspect, grid, with_flat_ground)


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
    height continues the line from the opposite one, as in SAGA: a plane stays one. Without both it is level."""
    rows, cols = heights.shape
    near = {(i, j): heights[1 + i:rows - 1 + i, 1 + j:cols - 1 + j] for i in (-1, 0, 1) for j in (-1, 0, 1)}
    z = near[0, 0]
    near = {(i, j): np.where(np.isnan(v), 2 * z - near[-i, -j], v) for (i, j), v in near.items()}
    return {place: np.where(np.isnan(v), z, v) for place, v in near.items()}


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
    for name in names:
        path = folder / f"{name}.tif"
        if name in around:
            _write_around(dem, grid, path, *around[name])
        elif name != "HAND":
            gdal.DEMProcessing(str(path), str(dem), name, computeEdges=True, creationOptions=["BIGTIFF=IF_SAFER"],
                               **{"alg": "Riley"} if name == "TRI" else {})


def write_curvature(dem: Path, grid: Grid, path: Path) -> None:
    """Writes the curvature of a DEM layer."""
    _write_around(dem, grid, path, 1, lambda z: curvature(z, grid.cell))


def _write_around(dem: Path, grid: Grid, path: Path, reach: int, values_of) -> None:
    """Writes a layer of values_of(heights), whose result is `reach` cells smaller on each side, on the cells of a DEM
    layer."""
    heights = gdal.Open(str(dem))

    def window(row: int, rows: int) -> np.ndarray:
        first, last = max(row - reach, 0), min(row + rows + reach, grid.rows)
        z = read_rows(heights, first, last - first)
        z = np.pad(np.where(known(z), z, np.nan), ((first - row + reach, row + rows + reach - last), (reach, reach)),
                   constant_values=np.nan)
        here = z[reach:-reach, reach:-reach]
        return np.where(np.isnan(here), np.nan, values_of(z))

    write_layer(path, grid, window)


def flow_of(heights: np.ndarray, outlets: np.ndarray | None = None) -> pyflwdir.FlwdirRaster:
    """Which neighbour each cell drains to, by pyflwdir; its `upstream_area("cell")` counts the cells that drain through
    each cell, itself included (rows, cols) int32, -9999 where there is no height.

    heights  (rows, cols), nodata -9999
    outlets  (outlets,) numbers of cells (row * cols + col) where water leaves; None: the cells at the edges that no
             lower edge cell drains
    Depressions are filled and flow directions found in one flood from the outlets (Wang and Liu 2006, International
    Journal of Geographical Information Science 20).
    """
    _, directions = pyflwdir.dem.fill_depressions(heights, nodata=NODATA, idxs_pit=outlets)
    if outlets is not None:
        directions.flat[outlets] = 0  # of two outlets side by side pyflwdir drains one into the other
    flow = pyflwdir.from_array(directions, ftype="d8", check_ftype=False)
    del directions
    flow.order_cells(method="sort")  # "walk" is faster and needs 32 bytes a cell
    return flow


def write_upstream_area(dem: Path, grid: Grid, path: Path, coarser: int, hand: tuple[Path, int] | None = None) -> None:
    """Writes the area (m2) that drains through each cell of a DEM layer.

    coarser  1, or the side, in cells, of the coarser cells on which the flow is computed. The area of a cell is then
             the area of the coarse cell it lies in, less the coarse cell's own area, plus the cell's own.
    hand     None, or (path, cells): the layer to write with each cell's height (m) above the stream cell that it drains
             to, and how many cells drain through a stream cell. A cell that drains to no stream is measured from where
             its water leaves the area (Nobre and others 2011, Journal of Hydrology 404).
    """
    source = gdal.Open(str(dem))
    rows, cols = -(-grid.rows // coarser), -(-grid.cols // coarser)
    west, side, _, north, _, _ = grid.geotransform
    if coarser > 1:
        bounds = (west, north - rows * coarser * side, west + cols * coarser * side, north)
        source = gdal.Warp("", source, format="MEM", outputBounds=bounds, width=cols, height=rows,
                           resampleAlg="average", srcNodata=NODATA, dstNodata=NODATA)
    elevation = source.ReadAsArray()
    flow = flow_of(elevation)
    cells = flow.upstream_area("cell")
    stream = elevation - flow.hand((cells - 1) * coarser**2 + 1 >= hand[1], elevation) if hand else None
    del flow, elevation
    size, heights, across = (coarser * side) ** 2, gdal.Open(str(dem)), np.arange(grid.cols) // coarser

    def window(row: int, count: int) -> np.ndarray:
        here = cells[np.arange(row, row + count) // coarser][:, across]
        area = np.where(here > 0, (here - 1) * size + side**2, side**2)
        return np.where(known(read_rows(heights, row, count)), area, np.nan)

    write_layer(path, grid, window)
    if hand:
        def above(row: int, count: int) -> np.ndarray:
            z = read_rows(heights, row, count)
            here = stream[np.arange(row, row + count) // coarser][:, across]
            return np.where(known(z) & known(here), np.maximum(z - here, 0), np.nan)

        write_layer(hand[0], grid, above)


def stream_power(area: np.ndarray, slope: np.ndarray, cell: float) -> np.ndarray:
    """SPI = ln(1 + n tan(slope)), where n = area / cell2 is the number of cells that drain through; area in m2, slope
    in degrees.

    The stream power index (Moore, Grayson and Ladson 1991, Hydrological Processes 5), counted in cells, as a logarithm.
    """
    return np.log1p(area / cell**2 * np.tan(np.radians(slope)))


def wetness(area: np.ndarray, slope: np.ndarray, cell: float) -> np.ndarray:
    """TWI = ln(a / tan(slope)), where a = area / cell is the area drained per metre of contour; tan(slope) counts as
    0.01 at least.

    The topographic wetness index (Beven and Kirkby 1979, Hydrological Sciences Bulletin 24); area in m2, slope in
    degrees.
    """
    return np.log(area / cell / np.maximum(np.tan(np.radians(slope)), 0.01))


def flat_water(heights: np.ndarray, least: int, stepped: bool, terraced: bool = False
               ) -> tuple[np.ndarray, np.ndarray]:
    """Which cells are flat, that is, lie in a connected area of exactly one height with at least `least` cells, and
    which of these are water; both (rows, cols) bool. Water does not stand above its rim: an area with more than a third
    of its rim below it is a hilltop, or a band between two contours of rounded heights; less is an outlet, or a dam.

    heights  (rows, cols), nodata -9999
    stepped  whether they are of a file of rounded heights, where level land is common: then ten times as many cells,
             except at height 0
    terraced  whether the ground is such bands: at the edge and beside nodata they go on down, except at height 0
    """
    there = known(heights)
    area, raised = _areas(heights, there, terraced)
    flat = there & (area >= least) & ((area >= 10 * least) | (heights == 0) | (not stepped))
    return flat, flat & ~raised


@compiled
def _areas(heights: np.ndarray, there: np.ndarray, terraced: bool) -> tuple[np.ndarray, np.ndarray]:
    """Of the area of equal height that each cell lies in: the number of its cells, and whether more than a third of its
    rim is lower; cells touch along an edge. Areas are joined in one pass (union-find), each known by its first cell.
    terraced: what is not there counts as lower, but beside 0.
    """
    rows, cols = heights.shape
    parent = np.arange(rows * cols, dtype=np.int32)  # MAX_CELLS fits
    for cell in range(rows * cols):
        row, col = cell // cols, cell % cols
        for near_row, near_col in ((row - 1, col), (row, col - 1)):
            if near_row < 0 or near_col < 0 or not there[row, col] or not there[near_row, near_col]:
                continue
            if heights[row, col] != heights[near_row, near_col]:
                continue
            a, b = cell, near_row * cols + near_col
            while parent[a] != a:
                parent[a] = parent[parent[a]]
                a = parent[a]
            while parent[b] != b:
                parent[b] = parent[parent[b]]
                b = parent[b]
            parent[max(a, b)] = min(a, b)
    size, balance = np.zeros(rows * cols, np.int32), np.zeros(rows * cols, np.int32)
    for cell in range(rows * cols):  # a parent comes before its cells
        parent[cell] = parent[parent[cell]]
        size[parent[cell]] += 1
        row, col = cell // cols, cell % cols
        for near_row, near_col in ((row - 1, col), (row, col - 1), (row + 1, col), (row, col + 1)):
            if 0 <= near_row < rows and 0 <= near_col < cols and there[row, col] and there[near_row, near_col]:
                rise = heights[near_row, near_col] - heights[row, col]
                balance[parent[cell]] += 2 * (rise < 0) - (rise > 0)  # above 0: more than a third is lower
            elif terraced and heights[row, col] != 0:
                balance[parent[cell]] += 2
    for cell in range(rows * cols):  # in place: of 100 million cells another array is 0.4 GB
        size[cell], balance[cell] = size[parent[cell]], balance[parent[cell]]
    return size.reshape(rows, cols), balance.reshape(rows, cols) > 0


def flow_layers(folder: Path, grid: Grid, coarser: int, channel: int, hand: bool = False) -> None:
    """Writes the layers SPI, TWI, streams (uint8) and, for `hand`, HAND from the layers DEM and slope.

    coarser  as `write_upstream_area` takes it
    channel  cells that must drain through a cell before it is a stream
    """
    write_upstream_area(folder / "DEM.tif", grid, folder / "area.tif", coarser,
                        (folder / "HAND.tif", channel) if hand else None)
    areas, slopes = gdal.Open(str(folder / "area.tif")), gdal.Open(str(folder / "slope.tif"))
    for name, index in (("SPI", stream_power), ("TWI", wetness)):
        def window(row: int, rows: int, index=index) -> np.ndarray:
            area, slope = read_rows(areas, row, rows), read_rows(slopes, row, rows)
            ground = known(area) & known(slope)
            return np.where(ground, index(np.where(ground, area, 1), np.where(ground, slope, 0), grid.cell), np.nan)

        write_layer(folder / f"{name}.tif", grid, window)
    write_layer(folder / "streams.tif", grid,
                lambda *window: read_rows(areas, *window) >= channel * grid.cell**2, gdal.GDT_Byte, None)
