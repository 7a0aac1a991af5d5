import numpy as np
import pytest
from osgeo import gdal
from small_region import CELL, COLS, NODATA, NORTH, PLACE, ROWS, WEST, crs_of, heights, write_raster

from lsm.inputs.rasters import Grid
from lsm.region import warp
from lsm.run.settings import InputError
from lsm.sources.raster_files import open_raster_file

GRID = Grid(ROWS, COLS, PLACE, crs_of(32650).ExportToWkt())


def values_of(path) -> np.ndarray:
    return gdal.Open(str(path)).ReadAsArray()


def test_a_layer_on_the_grid_is_copied_exactly(tmp_path):
    values = np.random.default_rng(0).random((ROWS, COLS)).astype(np.float32)
    values[3, 4], values[5, 6] = np.nan, NODATA
    write_raster(tmp_path / "in.tif", values)
    warp.to_grid(tmp_path / "in.tif", "NDVI", GRID, tmp_path / "out.tif", [])
    expected = np.where(np.isnan(values), NODATA, values).astype(np.float32)
    np.testing.assert_array_equal(values_of(tmp_path / "out.tif"), expected)


def test_bilinear_is_exact_on_a_plane_and_nearest_keeps_classes(tmp_path):
    row, col = np.mgrid[:ROWS + 8, :COLS + 8]
    place = (WEST - 4.3 * CELL, CELL, 0, NORTH + 4.3 * CELL, 0, -CELL)
    write_raster(tmp_path / "plane.tif", 2.0 * col - 3.0 * row, place=place)
    warp.to_grid(tmp_path / "plane.tif", "NDVI", GRID, tmp_path / "out.tif", [])
    r, c = np.mgrid[:ROWS, :COLS] + 4.3
    np.testing.assert_allclose(values_of(tmp_path / "out.tif"), 2 * c - 3 * r, atol=1e-3)
    write_raster(tmp_path / "classes.tif", 1 + (col // 9 + row // 7) % 5, place=place, kind=gdal.GDT_Byte, nodata=0)
    warp.to_grid(tmp_path / "classes.tif", "land use", GRID, tmp_path / "classes_out.tif", [], categorical=True)
    assert set(np.unique(values_of(tmp_path / "classes_out.tif"))) == {1, 2, 3, 4, 5}


def test_a_heap_of_zeros_does_not_mix_with_its_neighbours(tmp_path):
    values = np.random.default_rng(2).uniform(0.4, 0.9, (ROWS + 8, COLS + 8))
    values[20:40, 30:60] = 0  # a gap, or bare rock: nobody knows
    write_raster(tmp_path / "in.tif", values, nodata=None, place=(WEST - 4.3 * CELL, *PLACE[1:3], NORTH + 4.3 * CELL,
                                                                *PLACE[4:]))
    notes = []
    warp.to_grid(tmp_path / "in.tif", "NDVI", GRID, tmp_path / "out.tif", notes)
    found = values_of(tmp_path / "out.tif")
    assert ((found == 0) | (found > 0.39)).all()
    assert (found == 0).sum() == 20 * 30
    assert any("exactly 0 in 600 of" in note for note in notes)


def test_holes_up_to_a_size_are_filled(tmp_path, monkeypatch):
    """GDAL's own files lie beside the layer, not in the current folder, where an interrupted run would leave them."""
    places, fill = [], gdal.FillNodata
    monkeypatch.setattr(gdal, "FillNodata", lambda *a: places.append(gdal.GetConfigOption("CPL_TMPDIR")) or fill(*a))
    values = (np.mgrid[:ROWS, :COLS][1] * 2.0).astype(np.float32)
    values[10:12, 10:12] = values[30:40, 30:40] = NODATA
    write_raster(tmp_path / "dem.tif", values)
    assert warp.fill_holes(tmp_path / "dem.tif", GRID, 4) == 4
    filled = values_of(tmp_path / "dem.tif")
    np.testing.assert_allclose(filled[10:12, 10:12], [[20, 22], [20, 22]], atol=2)
    assert (filled == NODATA).sum() == 100
    assert warp.fill_holes(tmp_path / "dem.tif", GRID, 4) == 0
    assert (places, gdal.GetConfigOption("CPL_TMPDIR")) == ([str(tmp_path)], None)


def test_the_grid_of_a_dem(tmp_path):
    write_raster(tmp_path / "dem.tif", np.ones((ROWS, COLS)))
    dem = open_raster_file(tmp_path / "dem.tif", "DEM", [])
    grid, own = warp.grid_for(dem, 0, 0.0)
    assert own
    assert (grid.rows, grid.cols, grid.geotransform) == (ROWS, COLS, PLACE)
    coarse, own = warp.grid_for(dem, 0, 60.0)
    assert not own
    assert (coarse.rows, coarse.cols, coarse.cell) == (ROWS // 2, COLS // 2, 60)
    with pytest.raises(InputError, match="CELL=-5"):
        warp.grid_for(dem, 0, -5.0)


@pytest.mark.parametrize(("epsg", "place", "turned"), [(2053, (-29000, 3209000), 180), (5513, (1058000, 744000), -98)])
def test_a_map_whose_y_does_not_run_north_is_refused(tmp_path, epsg, place, turned):
    """Those of South Africa (westing, southing), and of Czechia as defined (southing, westing)."""
    write_raster(tmp_path / "dem.tif", heights(), epsg=epsg, place=(place[0], CELL, 0, place[1], 0, -CELL))
    dem = open_raster_file(str(tmp_path / "dem.tif"), "DEM", [])
    with pytest.raises(InputError, match=f"a CRS whose Y runs north, .* is {turned} degrees off north") as refused:
        warp.grid_for(dem, 0, 0.0)
    code = int(str(refused.value).rpartition("EPSG=")[2])
    assert warp.grid_for(dem, code, 0.0)[0].crs == crs_of(code).ExportToWkt()  # the remedy
