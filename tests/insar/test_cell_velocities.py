"""DV of a cell: tracks are kept apart, and opposite signs never cancel."""

import tracemalloc

import numpy as np
import pytest
from osgeo import gdal
from small_region import CELL, COLS, NORTH, PLACE, ROWS, WEST, crs_of, write_raster

from lsm.inputs import rasters
from lsm.inputs.crs import moved
from lsm.inputs.layers import write_layer
from lsm.inputs.rasters import Grid, centres
from lsm.insar.cell_velocities import write_velocity_layer
from lsm.insar.moving_slopes import slope_cosine
from lsm.insar.velocities import InsarPoints, read_insar
from lsm.run.settings import of_stage

GRID = Grid(ROWS, COLS, PLACE, crs_of(32650).ExportToWkt())
ASCENDING, DESCENDING = -11.0, 191.0


@pytest.fixture
def velocities(tmp_path):
    """(cells, velocities, headings, slope, aspect, grid) -> DV (rows, cols)."""
    def of(cells, velocity, heading=None, slope=30.0, aspect=90.0, grid=GRID):
        for name, value in (("slope", slope), ("aspect", aspect)):
            write_raster(tmp_path / f"{name}.tif", np.full((ROWS, COLS), value, np.float32))
        row, col = np.array(cells).T
        xy = np.column_stack(centres(grid.geotransform, row, col))
        angles = {} if heading is None else {"heading": np.array(heading, float), "incidence": np.full(len(row), 39.0)}
        write_velocity_layer([InsarPoints(xy, np.array(velocity, float), **angles)], grid, tmp_path,
                             of_stage("augment_inventory.py"))
        return gdal.Open(str(tmp_path / "DV.tif")).ReadAsArray()
    return of


def test_points_of_a_cell_are_averaged(velocities):
    dv = velocities([(2, 1), (0, 3), (2, 1)], [1.0, 5.0, 4.0])
    assert (dv[2, 1], dv[0, 3]) == (2.5, 5)
    assert np.count_nonzero(dv) == 2


def test_a_coarser_raster_gives_its_velocity_to_all_cells_within_its_own(tmp_path):
    for name, value in (("slope", 30.0), ("aspect", 90.0)):
        write_raster(tmp_path / f"{name}.tif", np.full((ROWS, COLS), value, np.float32))
    v = np.arange(1.0, 1 + ROWS // 3 * (COLS // 4)).reshape(ROWS // 3, COLS // 4)
    row, col = np.indices(v.shape).reshape(2, -1)
    xy = np.column_stack([WEST + (col + 0.5) * 4 * CELL, NORTH - (row + 0.5) * 3 * CELL])
    there = v.ravel() != v[7, 9]  # a gap stays one
    points = InsarPoints(xy[there], v.ravel()[there],
                         raster=((WEST, 4 * CELL, 0, NORTH, 0, -3 * CELL), GRID.crs))
    write_velocity_layer([points], GRID, tmp_path, of_stage("augment_inventory.py"))
    expected = np.where(v == v[7, 9], 0, v).repeat(3, axis=0).repeat(4, axis=1)
    np.testing.assert_array_equal(gdal.Open(str(tmp_path / "DV.tif")).ReadAsArray(), expected)


@pytest.mark.parametrize("side", [31, 100])
def test_cells_of_a_turned_raster_are_those_in_its_cells(tmp_path, side):
    """In the CRS of European services, 3.5 degrees off the grid's north; GDAL's nearest neighbour is the reference."""
    grid = Grid(60, 60, (300_000, 30, 0, 5_200_000, 0, -30), crs_of(32633).ExportToWkt())
    for name, value in (("slope", 30.0), ("aspect", 90.0)):
        write_layer(tmp_path / f"{name}.tif", grid, lambda row, rows, value=value: np.full((rows, 60), value))
    x, y = moved(np.array([[300_900, 5_199_100]]), grid.crs, crs_of(3035))[0]
    place = (x - 20 * side, side, 0, y + 20 * side, 0, -side)
    v = np.random.default_rng(1).uniform(1, 9, (40, 40)).round(2)
    v[np.random.default_rng(2).random(v.shape) < 0.2] = np.nan
    raster = gdal.GetDriverByName("MEM").Create("", 40, 40, 1, gdal.GDT_Float64)
    raster.SetGeoTransform(place)
    raster.SetSpatialRef(crs_of(3035))
    raster.GetRasterBand(1).WriteArray(v)
    given = tmp_path / "insar.tif"
    gdal.GetDriverByName("GTiff").CreateCopy(str(given), raster)
    points, _ = read_insar(str(given), grid)
    write_velocity_layer([points], grid, tmp_path, of_stage("augment_inventory.py"))
    expected = gdal.Warp("", raster, format="MEM", dstSRS=grid.crs, outputBounds=grid.bounds, width=60, height=60,
                         resampleAlg="near", errorThreshold=0, dstNodata=0).ReadAsArray()
    found = gdal.Open(str(tmp_path / "DV.tif")).ReadAsArray()
    np.testing.assert_allclose(found, np.nan_to_num(expected), rtol=1e-6)


def test_memory_for_a_coarse_raster_is_that_of_a_window(tmp_path, monkeypatch):
    monkeypatch.setattr(rasters, "WINDOW", 10_000)
    grid = Grid(400, 400, PLACE, crs_of(32650).ExportToWkt())
    for name in ("slope", "aspect"):
        write_layer(tmp_path / f"{name}.tif", grid, lambda row, rows: np.full((rows, 400), 30.0))
    row, col = np.indices((20, 20)).reshape(2, -1)
    xy = np.column_stack([WEST + (col + 0.5) * 20 * CELL, NORTH - (row + 0.5) * 20 * CELL])
    points = InsarPoints(xy, 1.0 + col, raster=((WEST, 20 * CELL, 0, NORTH, 0, -20 * CELL), grid.crs))
    tracemalloc.start()
    write_velocity_layer([points], grid, tmp_path, of_stage("augment_inventory.py"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 * 400**2  # bytes; all cells at once took 213 each
    assert (gdal.Open(str(tmp_path / "DV.tif")).ReadAsArray() == 1 + np.arange(400) // 20).all()


def test_a_measured_zero_is_no_gap(velocities):
    assert velocities([(2, 1)], [0.0])[2, 1] == np.float32(0.001)


def test_opposite_signs_never_cancel(velocities):
    assert velocities([(2, 1)] * 3, [-8, -6, 8])[2, 1] == -7
    assert velocities([(2, 1)] * 2, [8, -8])[2, 1] == -8  # of equal ones the way from the satellite


@pytest.mark.parametrize(("aspect", "chosen"), [(90.0, "descending"), (270.0, "ascending")])
def test_of_two_tracks_the_faster_motion_along_the_slope_counts(velocities, aspect, chosen):
    """A slope away from the radar shows much of its motion to it; a slope towards it shows little: there the small
    cosine makes the same velocity the faster motion."""
    dv = velocities([(5, 5)] * 4, [-8, -8, 8, 8], [ASCENDING, ASCENDING, DESCENDING, DESCENDING], aspect=aspect)
    cosine = {name: abs(slope_cosine(*(np.array([v]) for v in (30.0, aspect, heading, 39.0)))[0])
              for name, heading in (("ascending", ASCENDING), ("descending", DESCENDING))}
    faster = min(cosine, key=lambda name: max(cosine[name], 0.3))
    assert faster == chosen
    assert dv[5, 5] == {"ascending": -8, "descending": 8}[chosen]


def test_where_the_map_is_turned_aspects_count_from_true_north(velocities):
    """In EPSG:3035 in Portugal, 13 degrees off north, another track shows a slope's motion better."""
    turned = Grid(ROWS, COLS, (2734000, CELL, 0, 2074000, 0, -CELL), crs_of(3035).ExportToWkt())
    both = [(5, 5)] * 2, [-8, 8], [ASCENDING, DESCENDING]
    assert [velocities(*both, aspect=aspect)[5, 5] for aspect in (174.0, 186.0)] == [8, -8]
    assert [velocities(*both, aspect=aspect, grid=turned)[5, 5] for aspect in (186.0, 198.0)] == [8, -8]


def test_one_track_in_each_cell_is_as_before(velocities):
    dv = velocities([(5, 5), (5, 5), (6, 6)], [-8, -4, 3], [ASCENDING, ASCENDING, DESCENDING])
    assert (dv[5, 5], dv[6, 6]) == (-6, 3)
