import tracemalloc

import numpy as np
import pytest
from osgeo import gdal
from small_region import CELL, COLS, NODATA, NORTH, PLACE, ROWS, WEST, crs_of, write_raster

from lsm.inputs import layers, rasters
from lsm.inputs.rasters import Grid

GRID = Grid(ROWS, COLS, PLACE, crs_of(32650).ExportToWkt())


def test_windows_cover_the_grid_once(monkeypatch):
    monkeypatch.setattr(rasters, "WINDOW", COLS * 7)
    rows = np.concatenate([np.arange(row, row + n) for row, n in GRID.windows()])
    np.testing.assert_array_equal(rows, np.arange(ROWS))
    assert max(n for _, n in GRID.windows()) == 7
    assert GRID.bounds == (WEST, NORTH - ROWS * CELL, WEST + COLS * CELL, NORTH)


def test_a_layer_is_written_and_changed_window_by_window(tmp_path, monkeypatch):
    monkeypatch.setattr(rasters, "WINDOW", COLS * 7)
    values = np.random.default_rng(0).random((ROWS, COLS))
    values[3, 4] = np.nan
    path = tmp_path / "layer.tif"
    written = layers.write_layer(path, GRID, lambda row, rows: values[row:row + rows])
    expected = np.where(np.isnan(values), NODATA, values).astype(np.float32)
    np.testing.assert_array_equal(gdal.Open(str(path)).ReadAsArray(), expected)  # while `written` is still open
    assert written.GetRasterBand(1).GetNoDataValue() == NODATA
    layers.change_layer(path, GRID, lambda row, v: v + np.arange(row, row + len(v))[:, None])
    changed = (expected.astype(np.float64) + np.arange(ROWS)[:, None]).astype(np.float32)
    np.testing.assert_allclose(gdal.Open(str(path)).ReadAsArray(), changed, rtol=1e-6)
    marks = layers.write_layer(tmp_path / "marks.tif", GRID, lambda row, rows: values[row:row + rows] > 0.5,
                               gdal.GDT_Byte, None)
    np.testing.assert_array_equal(marks.ReadAsArray(), values > 0.5)


def test_values_at_cells(tmp_path, monkeypatch):
    values = np.arange(ROWS * COLS, dtype=np.float32).reshape(ROWS, COLS)
    write_raster(tmp_path / "v.tif", values)
    row, col = np.array([59, 0, 20, 20]), np.array([79, 0, 7, 8])
    dataset = gdal.Open(str(tmp_path / "v.tif"))
    np.testing.assert_array_equal(layers.values_at(dataset, row, col)[:, 0], values[row, col])
    monkeypatch.setattr(rasters, "WINDOW", 1)
    np.testing.assert_array_equal(layers.values_at(dataset, row, col)[:, 0], values[row, col])


def test_terrain_at_points_reads_only_windows_that_hold_them(tmp_path, monkeypatch):
    monkeypatch.setattr(rasters, "WINDOW", COLS * 7)
    dataset = rasters.create_raster(tmp_path / "composite.tif", GRID, names=rasters.TERRAIN)
    bands = np.random.default_rng(0).uniform(0, 80, (4, ROWS, COLS)).astype(np.float32)
    bands[2, 20, 7] = NODATA
    dataset.WriteArray(bands)
    layers.flush(dataset)
    composite, read, seen = rasters.Composite.of(tmp_path / "composite.tif"), rasters.Composite.read, []
    monkeypatch.setattr(rasters.Composite, "read", lambda self, row, rows: seen.append(row) or read(self, row, rows))
    row, col = np.array([59, 0, 20, 20]), np.array([79, 0, 7, 8])
    xy = np.column_stack(rasters.centres(PLACE, row, col))
    xy = np.vstack([xy, [[WEST - 1, NORTH - 1]]])
    terrain, inside = layers.terrain_at(composite, xy)
    expected = np.full((4, 5), np.nan, np.float32)
    expected[:, [0, 1, 3]] = bands[:, row[[0, 1, 3]], col[[0, 1, 3]]]
    np.testing.assert_array_equal(terrain, expected)
    assert inside.tolist() == [True, True, True, True, False]
    assert seen == [0, 14, 56]


@pytest.mark.parametrize("options", [(), ("TILED=YES", "BLOCKXSIZE=16", "BLOCKYSIZE=16", "COMPRESS=DEFLATE")])
def test_a_thinned_raster_keeps_none_of_its_windows(tmp_path, monkeypatch, options):
    values = np.arange(1_000_000, dtype=np.float32).reshape(1000, 1000)
    written = rasters.create_raster(tmp_path / "v.tif", Grid(1000, 1000, PLACE, GRID.crs), options=options)
    written.WriteArray(values)
    layers.flush(written)
    dataset = gdal.Open(str(tmp_path / "v.tif"))
    monkeypatch.setattr(rasters, "WINDOW", 30_000)
    monkeypatch.setattr(layers, "TILE", 16)
    of_others, held, read_rows = gdal.GetCacheUsed(), [], layers.read_rows

    def watched(*window):
        held.append(gdal.GetCacheUsed() - of_others)
        return read_rows(*window)

    monkeypatch.setattr(layers, "read_rows", watched)
    tracemalloc.start()
    found, step = layers.thinned(dataset, 10_100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert step == 10
    np.testing.assert_array_equal(found, values[::10, ::10])
    assert peak < values.nbytes / 10
    assert held == [0] * 63  # windows of 16 rows


def test_a_stack_has_a_band_a_layer_and_nodata_where_the_mask_has_it(tmp_path):
    rng, both = np.random.default_rng(0), {}
    for name in ("DEM", "slope"):
        values = rng.random((ROWS, COLS)).astype(np.float32)
        values[rng.integers(ROWS), rng.integers(COLS)] = NODATA
        write_raster(tmp_path / f"{name}.tif", values)
        both[name] = values
    layers.stack_layers({name: tmp_path / f"{name}.tif" for name in both}, {"DEM": "m", "slope": "degree"}, GRID,
                        tmp_path / "DEM.tif", tmp_path / "stack.tif")
    stack = gdal.Open(str(tmp_path / "stack.tif"))
    np.testing.assert_array_equal(stack.ReadAsArray(),
                                  [np.where(both["DEM"] == NODATA, np.float32(NODATA), v) for v in both.values()])
    bands = [stack.GetRasterBand(i) for i in (1, 2)]
    assert [(b.GetDescription(), b.GetUnitType(), b.GetNoDataValue()) for b in bands] == [
        ("DEM", "m", NODATA), ("slope", "degree", NODATA)]
