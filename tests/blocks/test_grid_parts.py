"""The grid in parts, from a stack and from a table of the same cells in any order."""

import gc

import numpy as np
import pandas as pd
import pytest
from osgeo import gdal
from small_region import COLS, NODATA, PLACE, ROWS, crs_of, heights

from lsm.blocks import grid_parts
from lsm.inputs import rasters
from lsm.inputs.factor.definition import Factor
from lsm.inputs.rasters import Grid, create_raster

GRID = Grid(ROWS, COLS, PLACE, crs_of(32650).ExportToWkt())
FACTORS = (Factor("DEM", "continuous", "m"), Factor("slope", "continuous", "degree"))
CENTRES = np.array([[30, 19.5], [30, 59.5]])


@pytest.fixture
def region(tmp_path, monkeypatch):
    """A stack, a table of its cells in a mixed order and 3 cells elsewhere, and the block raster: west 0, east 1, and a
    corner outside every block."""
    monkeypatch.setattr(rasters, "TILE", 16)
    monkeypatch.setattr(rasters, "WINDOW", 20 * COLS)
    values = np.stack([heights(), heights() / 20])
    values[1, 5:9, 40:50] = NODATA
    stack = create_raster(tmp_path / "factors.tif", GRID, names=("DEM", "slope"))
    stack.WriteArray(values)
    stack.FlushCache()
    labels = np.tile(np.repeat(np.int32([0, 1]), COLS // 2), (ROWS, 1))
    labels[:3, :4] = -1
    blocks = create_raster(tmp_path / "blocks.tif", GRID, gdal.GDT_Int32, -1)
    blocks.WriteArray(labels)
    row, col = np.nonzero(values[1] != NODATA)
    x, y = rasters.centres(PLACE, row, col)
    table = pd.DataFrame({"DEM": values[0, row, col], "slope": values[1, row, col], "X": x, "Y": y})
    away = table.head(3).assign(X=PLACE[0] - 500)
    pd.concat([table, away]).sample(frac=1, random_state=1).to_csv(tmp_path / "grid.csv", index=False)
    return tmp_path, blocks, values, labels


@pytest.mark.parametrize(("name", "cells"), [("factors.tif", 16 * 16), ("factors.tif", 40 * COLS), ("factors.tif", 7),
                                             ("factors.tif", 10**6), ("grid.csv", 700)])
def test_every_cell_comes_once_with_its_block(region, name, cells):
    folder, blocks, values, labels = region
    seen = create_raster(folder / "seen.tif", GRID)
    seen.GetRasterBand(1).Fill(NODATA)
    n = 0
    for part in grid_parts.parts_of(folder / name, FACTORS, cells, blocks, CENTRES, blend=True):
        n += len(part.block)
        beside = ~part.outside & np.isin(part.col, (COLS // 2 - 1, COLS // 2))  # the border is straight
        np.testing.assert_array_equal(part.borders.cell, np.flatnonzero(beside))
        np.testing.assert_array_equal(part.borders.block, 1 - part.block[beside])
        np.testing.assert_allclose(part.borders.share, 1 / 3)
        there = part.on_map
        np.testing.assert_allclose(part.factors[there], values[:, part.row[there], part.col[there]].T, rtol=1e-6)
        np.testing.assert_array_equal(part.xy[there].T, rasters.centres(PLACE, part.row[there], part.col[there]))
        np.testing.assert_array_equal(part.outside[there], labels[part.row[there], part.col[there]] < 0)
        np.testing.assert_array_equal(part.outside[~there], True)
        np.testing.assert_array_equal(part.block, part.col >= COLS // 2)
        part.write(seen, part.factors[:, 0])
    assert n == (values[1] != NODATA).sum() + 3 * (name == "grid.csv")
    np.testing.assert_allclose(seen.ReadAsArray(), np.where(values[1] == NODATA, NODATA, values[0]), rtol=1e-6)


def labelled(labels: list) -> gdal.Dataset:
    """Block numbers as a raster whose cell (row, col) lies around x = col + 0.5, y = -row - 0.5."""
    dataset = gdal.GetDriverByName("MEM").Create("", len(labels[0]), len(labels), 1, gdal.GDT_Int32)
    dataset.SetGeoTransform((0, 1, 0, 0, 0, -1))
    dataset.WriteArray(np.int32(labels))
    return dataset


def test_cells_outside_every_block_take_the_nearest():
    labels = labelled([[0, 0, -1, -1], [0, 0, -1, 1], [-1, -1, -1, 1]])
    centres = np.array([[0.5, 0.5], [1.5, 3.0]])
    row, col = np.array([0, 1, 0, 2, -5, 9, 1, 0]), np.array([0, 3, 3, 0, 0, 9, -1, 4])
    *place, block, outside, on_map = grid_parts.cells_of(np.column_stack([col + 0.5, -row - 0.5]), labels, centres)
    np.testing.assert_array_equal(place, [row, col])
    np.testing.assert_array_equal(block, [0, 1, 1, 0, 0, 1, 0, 1])
    np.testing.assert_array_equal(outside, [False, False, True, True, True, True, True, True])
    np.testing.assert_array_equal(on_map, [True] * 4 + [False] * 4)
    distance = np.hypot(*(np.stack([row, col], 1)[:, None] - centres).transpose(2, 0, 1))
    np.testing.assert_array_equal(block[outside], distance.argmin(axis=1)[outside])


def test_cells_inside_keep_their_own_block_though_another_is_nearer():
    labels, centres = labelled([[0, 0, 0, 0, 0, 1]]), np.array([[0, 2.0], [0, 5.0]])
    _, _, block, outside, _ = grid_parts.cells_of(np.array([[4.5, -0.5]]), labels, centres)
    assert (block[0], outside[0]) == (0, False)


@pytest.mark.parametrize(("options", "every"), [
    (("TILED=YES", "BLOCKXSIZE=16", "BLOCKYSIZE=16"), 1),  # windows end where tiles end
    (("TILED=YES", "BLOCKXSIZE=32", "BLOCKYSIZE=32"), 6),  # every second row of windows does
    (("BLOCKYSIZE=4",), 3)], ids=["tiles", "large tiles", "strips"])
def test_what_no_later_window_needs_is_forgotten(region, options, every):
    """every: how many windows, of three in a row, are read until GDAL's cache is emptied"""
    folder, blocks, values, _ = region
    stack = create_raster(folder / "other.tif", GRID, options=options, names=("DEM", "slope"))
    stack.WriteArray(values)
    stack.FlushCache()
    del stack
    in_memory = gdal.GetDriverByName("MEM").CreateCopy("", blocks)  # fills no cache: the stack is seen alone
    blocks.FlushCache()
    gc.collect()
    of_others = gdal.GetCacheUsed()  # rasters that other tests of this process have open

    def held_at_every_part(labels):
        for i, part in enumerate(grid_parts.parts_of(folder / "other.tif", FACTORS, 32 * 16, labels, CENTRES)):
            assert part.window[1] == (0, 32, 64)[i % 3]
            yield gdal.GetCacheUsed() - of_others

    of_stack = list(held_at_every_part(in_memory))
    assert len(of_stack) == 12
    for i, used in enumerate(of_stack, start=1):
        assert (used == 0) == (i % every == 0 or i == 12)
    of_both = list(held_at_every_part(blocks))
    assert of_both[-1] == 0
    assert max(of_both) > max(of_stack)
