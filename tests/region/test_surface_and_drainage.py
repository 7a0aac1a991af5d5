import numpy as np
import pytest
from osgeo import gdal
from small_region import CELL, PLACE, crs_of, heights

from lsm.inputs import layers, rasters
from lsm.inputs.bands import NODATA
from lsm.inputs.layers import read_rows
from lsm.inputs.rasters import Grid, create_raster
from lsm.region import drainage, surface
from lsm.sources import dem_oddities

PLANE = 3.0 * np.arange(12)[None, :] - 2.0 * np.arange(10)[:, None] + 100  # m; rises to the east and the north


def grid_of(values) -> Grid:
    return Grid(*values.shape, PLACE, crs_of(32650).ExportToWkt())


def layer(folder, values):
    grid = grid_of(values)
    dataset = create_raster(folder / "DEM.tif", grid)
    dataset.GetRasterBand(1).WriteArray(values.astype(np.float32))
    dataset.FlushCache()
    return folder / "DEM.tif", grid


def values_of(path) -> np.ndarray:
    return gdal.Open(str(path)).ReadAsArray()


@pytest.mark.parametrize("formula", surface.FORMULAS)
def test_slope_and_aspect_of_a_plane(tmp_path, formula):
    dem, grid = layer(tmp_path, PLANE)
    surface.slope_and_aspect(dem, grid, tmp_path / "slope.tif", tmp_path / "aspect.tif", formula)
    slope, aspect = values_of(tmp_path / "slope.tif"), values_of(tmp_path / "aspect.tif")
    np.testing.assert_allclose(slope[1:-1, 1:-1], np.degrees(np.arctan(np.hypot(3, 2) / CELL)), rtol=1e-5)
    down = 180 + np.degrees(np.arctan2(3, 2))  # to the south-west
    np.testing.assert_allclose(aspect[1:-1, 1:-1], down, rtol=1e-5)


def test_flat_ground_has_aspect_minus_one_and_nodata_stays(tmp_path):
    values = np.full((6, 7), 50.0)
    values[0, 0] = NODATA
    dem, grid = layer(tmp_path, values)
    surface.slope_and_aspect(dem, grid, tmp_path / "slope.tif", tmp_path / "aspect.tif", "Horn")
    surface.write_curvature(dem, grid, tmp_path / "curvature.tif")
    expected = np.where(values == NODATA, NODATA, -1)
    np.testing.assert_array_equal(values_of(tmp_path / "aspect.tif"), expected)
    for name in ("slope", "curvature"):
        np.testing.assert_array_equal(values_of(tmp_path / f"{name}.tif"), np.where(values == NODATA, NODATA, 0))


@pytest.mark.parametrize("formula", surface.FORMULAS)
def test_a_plane_stays_one_beside_missing_cells(tmp_path, monkeypatch, formula):
    """Slope, aspect, TPI and TRI there are those of the plane; GDAL's own take a missing neighbour for level."""
    monkeypatch.setattr("lsm.inputs.rasters.WINDOW", PLANE.shape[1] * 2)
    holed = PLANE.copy()
    holed[2:4, 3:5] = holed[0, 5] = NODATA
    dem, grid = layer(tmp_path, holed)
    there, paths = holed != NODATA, {name: tmp_path / f"{name}.tif" for name in ("slope", "aspect", "TPI", "TRI")}
    surface.slope_and_aspect(dem, grid, paths["slope"], paths["aspect"], formula)
    surface.write_more(tmp_path, grid, ("TPI", "TRI"), 1)
    step = np.hypot(3, 2) / CELL
    expected = {"slope": np.degrees(np.arctan(step)), "aspect": 180 + np.degrees(np.arctan2(3, 2)), "TPI": 0,
                "TRI": np.sqrt(sum((2 * i + 3 * j)**2 for i in (-1, 0, 1) for j in (-1, 0, 1)))}
    for name, path in paths.items():
        found = values_of(path)
        np.testing.assert_allclose(found[there], expected[name], rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(found[~there], NODATA)


def test_curvature_of_a_bowl_and_over_windows(tmp_path, monkeypatch):
    y, x = np.mgrid[:9, :8] * CELL
    bowl = 0.001 * (x**2 + y**2)
    np.testing.assert_allclose(surface.curvature(bowl, CELL), -0.4, rtol=1e-6)  # -100 times the Laplacian, 0.004
    dem, grid = layer(tmp_path, bowl)
    surface.write_curvature(dem, grid, tmp_path / "one.tif")
    monkeypatch.setattr("lsm.inputs.rasters.WINDOW", 8 * 2)
    assert len(list(grid.windows())) == 5
    surface.write_curvature(dem, grid, tmp_path / "many.tif")
    np.testing.assert_array_equal(values_of(tmp_path / "one.tif"), values_of(tmp_path / "many.tif"))
    np.testing.assert_allclose(values_of(tmp_path / "one.tif")[1:-1, 1:-1], -0.4, rtol=1e-3)


def brute_force(heights, outlets=()) -> np.ndarray:
    """Upstream cells by plain flooding from the edge, the lowest cell first: a cell drains to the cell that reached it;
    an edge cell that nothing reached before its turn is an outlet. Of equal levels inner cells come first, by row.
    With outlets (row, col) the flood starts there, and none of them drains into another."""
    rows, cols = heights.shape
    rim = {(r, c) for r in range(rows) for c in range(cols) if r in (0, rows - 1) or c in (0, cols - 1)}
    edge = set(outlets) or rim
    level = {p: heights[p] for p in edge}
    receiver, order, waiting = dict.fromkeys(outlets), [], set(level)
    while waiting:
        p = min(waiting, key=lambda q: (level[q], q in edge, q))
        waiting.remove(p)
        order.append(p)
        receiver.setdefault(p, None)
        for dr in (-1, 0, 1):
            for dc in (-1, 0, 1):
                q = (p[0] + dr, p[1] + dc)
                if 0 <= q[0] < rows and 0 <= q[1] < cols and q not in receiver:
                    receiver[q] = p
                    if q not in level:
                        level[q] = max(level[p], heights[q])
                        waiting.add(q)
    area = np.ones(heights.shape, int)
    for p in reversed(order):
        if receiver[p]:
            area[receiver[p]] += area[p]
    return area


def test_upstream_cells_against_brute_force():
    heights = np.random.default_rng(0).permutation(143).reshape(11, 13).astype(np.float32)  # many pits, exact numbers
    np.testing.assert_array_equal(drainage.flow_of(heights).upstream_area("cell"), brute_force(heights))


def test_water_leaves_at_given_outlets_and_nowhere_else():
    heights = np.random.default_rng(1).permutation(143).reshape(11, 13).astype(np.float64)
    outlets = [(0, 0), (0, 1), (4, 5), (5, 5), (10, 3)]  # two pairs side by side
    places = np.array([r * 13 + c for r, c in outlets])
    flow = drainage.flow_of(heights, places)
    area = flow.upstream_area("cell")
    np.testing.assert_array_equal(area, brute_force(heights, outlets))
    assert area.flat[places].sum() == heights.size
    basins = flow.basins(idxs=places)
    np.testing.assert_array_equal(np.bincount(basins.ravel())[1:], area.flat[places])


def test_water_ends_at_nodata():
    heights = (np.arange(6) * np.ones((3, 1))).astype(np.float32) + 1
    heights[:, 0] = NODATA
    area = drainage.flow_of(heights).upstream_area("cell")
    assert (area[:, 0] == NODATA).all()
    assert area[:, 1:].min() == 1


def test_coarser_flow_keeps_the_area(tmp_path):
    values = np.where(np.mgrid[:40, :40][1] > 2, PLANE[0, 0] + np.mgrid[:40, :40][0] * 2.0, NODATA)
    dem, grid = layer(tmp_path, values)
    drainage.write_upstream_area(dem, grid, tmp_path / "fine.tif", 1)
    drainage.write_upstream_area(dem, grid, tmp_path / "coarse.tif", 4)
    fine, coarse = values_of(tmp_path / "fine.tif"), values_of(tmp_path / "coarse.tif")
    np.testing.assert_array_equal(fine == NODATA, coarse == NODATA)
    assert fine[fine > 0].min() == coarse[coarse > 0].min() == CELL**2
    assert 0.5 < coarse.max() / fine.max() < 6  # a coarse cell gathers what four columns carry


def test_flow_layers_are_on_disk_while_their_datasets_are_open(tmp_path, monkeypatch):
    """In the first run numba, while it compiles, holds an exception, and with it the frames of all callers."""
    kept = []

    def flow_of(heights, outlets=None, real=drainage.flow_of):
        try:
            raise RuntimeError
        except RuntimeError as error:
            kept.append(error)
        return real(heights, outlets)

    monkeypatch.setattr(drainage, "flow_of", flow_of)
    dem, grid = layer(tmp_path, heights())
    surface.slope_and_aspect(dem, grid, tmp_path / "slope.tif", tmp_path / "aspect.tif", "Horn")
    drainage.flow_layers(tmp_path, grid, coarser=1, channel=40)
    area, slope = values_of(tmp_path / "area.tif"), values_of(tmp_path / "slope.tif")
    assert area.max() > 40 * CELL**2
    np.testing.assert_array_equal(values_of(tmp_path / "streams.tif"), area >= 40 * CELL**2)
    np.testing.assert_allclose(values_of(tmp_path / "SPI.tif"), drainage.stream_power(area, slope, CELL), rtol=1e-6)
    np.testing.assert_allclose(values_of(tmp_path / "TWI.tif"), drainage.wetness(area, slope, CELL), rtol=1e-6)


def test_indices_by_hand():
    area, slope = np.array([9000.0, 900.0]), np.array([45.0, 0.0])
    np.testing.assert_allclose(drainage.stream_power(area, slope, 30), [np.log(11), 0], atol=1e-12)
    np.testing.assert_allclose(drainage.wetness(area, slope, 30), [np.log(300), np.log(3000)])


def test_read_gives_rows_of_a_band(tmp_path):
    dem, _ = layer(tmp_path, PLANE)
    np.testing.assert_allclose(read_rows(gdal.Open(str(dem)), 3, 2), PLANE[3:5], rtol=1e-6)


def test_profile_and_plan_curvature_add_up_and_follow_the_slope():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((20, 30)).cumsum(axis=0).cumsum(axis=1)
    profile, plan = surface.curvatures(z, CELL)
    np.testing.assert_allclose(profile + plan, surface.curvature(z, CELL), rtol=1e-9, atol=1e-9)
    row, col = np.mgrid[:9, :9].astype(float)
    for bowed, straight in ((0, 1), (1, 0)):  # a plane that falls east, bowed along its fall or across it
        x, y = (col - 4) * CELL, (row - 4) * CELL
        bow = -1e-3 * (x if bowed == 0 else y)**2  # convex: second derivative -2e-3 / m
        found = surface.curvatures(-x + bow, CELL)
        assert found[bowed][3, 3] == pytest.approx(0.2)  # 1/100 m
        assert found[straight][3, 3] == pytest.approx(0, abs=1e-9)
    level = surface.curvatures(np.ones((5, 5)), CELL)
    assert not np.any(level)


def test_a_plane_has_no_curvature_beside_missing_cells():
    plane = np.pad(PLANE, 1, constant_values=np.nan)
    plane[4:6, 5:7] = np.nan
    there = ~np.isnan(plane[1:-1, 1:-1])
    for found in (surface.curvature(plane, CELL), *surface.curvatures(plane, CELL)):
        np.testing.assert_allclose(found[there], 0, atol=1e-9)
    alone = np.full((3, 3), np.nan)
    alone[1, 1:] = 5, 7
    assert np.isfinite(surface.curvatures(alone, CELL)).all()


def test_relief_is_highest_less_lowest_around():
    z = np.random.default_rng(1).standard_normal((12, 14))
    z[5, 5] = np.nan
    found = surface.relief(z, 2)
    expected = [[np.nanmax(z[r - 2:r + 3, c - 2:c + 3]) - np.nanmin(z[r - 2:r + 3, c - 2:c + 3]) for c in range(2, 12)]
                for r in range(2, 10)]
    np.testing.assert_allclose(found, expected)


def test_smoothed_is_the_mean_of_the_heights_there_are():
    z = np.random.default_rng(1).standard_normal((6, 7))
    z[2, 3] = np.nan
    found = surface.smoothed(z, 2)
    expected = [[np.nanmean(z[max(0, r - 2):r + 3, max(0, c - 2):c + 3]) for c in range(7)] for r in range(6)]
    np.testing.assert_allclose(found, np.where(np.isnan(z), np.nan, expected))


def test_further_terrain_over_windows(tmp_path, monkeypatch):
    dem, grid = tmp_path / "DEM.tif", Grid(60, 80, PLACE, crs_of(32650).ExportToWkt())
    z = heights()
    layers.write_layer(dem, grid, lambda row, rows: z[row:row + rows])
    names = ("TPI", "TRI", "relief", "profile curvature", "plan curvature")
    surface.write_more(tmp_path, grid, names, 3)
    once = {name: gdal.Open(str(tmp_path / f"{name}.tif")).ReadAsArray() for name in names}
    monkeypatch.setattr(rasters, "WINDOW", 80 * 7)
    surface.write_more(tmp_path, grid, names, 3)
    for name in names:
        np.testing.assert_array_equal(gdal.Open(str(tmp_path / f"{name}.tif")).ReadAsArray(), once[name])
    around = [z[1 + r:59 + r, 1 + c:79 + c] for r in (-1, 0, 1) for c in (-1, 0, 1) if (r, c) != (0, 0)]
    np.testing.assert_allclose(once["TPI"][1:-1, 1:-1], z[1:-1, 1:-1] - np.mean(around, axis=0), atol=1e-3)
    np.testing.assert_allclose(once["TRI"][1:-1, 1:-1], np.sqrt(sum((a - z[1:-1, 1:-1])**2 for a in around)), atol=1e-2)


def test_height_above_drainage_is_measured_down_the_flow(tmp_path):
    row, col = np.mgrid[:30, :41]
    z = (100 + 5.0 * np.abs(col - 20) - 0.5 * row).astype(np.float32)  # a valley that falls along column 20
    dem, grid = tmp_path / "DEM.tif", Grid(30, 41, PLACE, crs_of(32650).ExportToWkt())
    layers.write_layer(dem, grid, lambda first, rows: z[first:first + rows])
    drainage.write_upstream_area(dem, grid, tmp_path / "area.tif", 1, (tmp_path / "HAND.tif", 60))
    hand = gdal.Open(str(tmp_path / "HAND.tif")).ReadAsArray()
    assert not hand[10:, 20].any()
    sides = hand[8:14, 5:36]  # further down, water leaves the area before it meets the stream
    assert (np.abs(sides - 5.0 * np.abs(np.arange(5, 36) - 20)) <= 0.5 * 16).all()
    assert (hand >= 0).all()


def areas_by_flood(z) -> tuple[np.ndarray, np.ndarray]:
    """Of the area of each cell: its number of cells, and the share of its rim that is lower."""
    out, seen = np.zeros((2, *z.shape)), np.zeros(z.shape, bool)
    for start in np.ndindex(z.shape):
        if seen[start]:
            continue
        area, rim, todo = [], [], [start]
        seen[start] = True
        while todo:
            r, c = todo.pop()
            area.append((r, c))
            for near in ((r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)):
                if not (0 <= near[0] < z.shape[0] and 0 <= near[1] < z.shape[1]) or z[near] == NODATA:
                    continue
                if z[near] != z[r, c]:
                    rim.append(z[near] < z[r, c])
                elif not seen[near]:
                    seen[near] = True
                    todo.append(near)
        for cell in area:
            out[:, *cell] = len(area), np.mean(rim) if rim else 0
    return out


def test_flat_water_is_the_large_areas_of_one_height_that_lie_below_their_rim():
    rng = np.random.default_rng(5)
    z = rng.integers(0, 3, (40, 50)).astype(np.float32) + 0.5
    z[3:9, 4:30], z[20:30, 30:45] = 7.25, 0.25
    z[20, 20] = z[25:27, 21:25] = -9999
    whole = np.floor(z)  # level land is common among rounded heights, but not at sea level
    whole[z == -9999] = -9999
    for ground, stepped in ((z, False), (whole, True)):
        area, lower = areas_by_flood(ground)
        for least in (2, 10, 100, 157):
            enough = (ground != -9999) & (area >= np.where((ground == 0) | (not stepped), least, 10 * least))
            flat, wet = drainage.flat_water(ground, least, stepped)
            np.testing.assert_array_equal(flat, enough)
            np.testing.assert_array_equal(wet, enough & (lower <= 1 / 3))
    flat, wet = drainage.flat_water(z, 100, False)
    assert not wet[3:9, 4:30].any()  # a hilltop
    assert wet[20:30, 30:45].all()


@pytest.mark.parametrize("step", [3.048, 2.5])
def test_bands_between_contours_at_the_edge_are_no_water(step):
    row, col = np.mgrid[:150, :200]
    z = np.floor((40 + 0.2 * row + 8 * np.sin(col / 20)) / step) * step  # the lowest bands end at the edge
    bands = np.where((row - 75)**2 + (col - 100)**2 < 70**2, z, NODATA).astype(np.float32)  # or beside nodata
    sea = np.maximum(z - 50, 0).astype(np.float32)
    lake = z + np.random.default_rng(0).uniform(0, 1, z.shape)
    lake[:40, :60] = 33.3  # at the edge of ground that is no bands
    lake = lake.astype(np.float32)
    for ground in (z.astype(np.float32), bands):
        assert dem_oddities.is_terraced(ground)
        assert drainage.flat_water(ground, 100, False, False)[1].any()
        assert not drainage.flat_water(ground, 100, False, True)[1].any()
    assert drainage.flat_water(sea, 100, False, dem_oddities.is_terraced(sea))[1].sum() == (sea == 0).sum() > 1000
    assert not dem_oddities.is_terraced(lake)
    assert drainage.flat_water(lake, 100, False)[1].sum() == 2400


def test_bands_between_contours_are_no_water():
    """A fan that falls by 1 in 100 to the east, in whole metres, and what warping makes of it."""
    fan = np.round(300 - 0.3 * np.arange(200)) * np.ones((150, 1), np.float32)
    between = (fan[:, :-1] + fan[:, 1:]) / 2
    for ground in (fan, between):
        flat, wet = drainage.flat_water(ground, 100, False)
        assert flat.any()
        assert not wet[:, 4:-4].any()  # at the edges of the DEM nobody knows
