"""The points of the comparison: samples of stage 2 once each, and cells drawn from the grid."""

import itertools
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from osgeo import gdal
from small_region import COLS, PLACE, ROWS, crs_of

from lsm.comparison import points
from lsm.inputs import layers, rasters
from lsm.inputs.factor.definition import Factor
from lsm.inputs.rasters import TERRAIN, Grid, centres, create_raster
from lsm.run.artifacts import write_npz
from lsm.run.paths import Paths

GRID = Grid(ROWS, COLS, PLACE, crs_of(32650).ExportToWkt())
FACTORS = (Factor("DEM", "continuous", "m"), Factor("slope", "continuous", "degree"))
# The first ONE_CLASS samples have slope 0 and are no landslides, the last ones have 9 and are; 90 + i repeats 70 + i.
SAMPLES, ONE_CLASS, REPEATED = 150, 60, 3


@pytest.fixture
def region(tmp_path, monkeypatch):
    """Paths of a region with blocks 0 (west) and 1 (east), rows 0 and 1 outside both; its block numbers; its tasks."""
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    paths, c = Paths("isle"), settings()
    for path in (paths.composite, paths.blocks):
        path.parent.mkdir(parents=True)
    create_raster(paths.composite, GRID, names=TERRAIN).WriteArray(np.zeros((4, ROWS, COLS), np.float32))
    labels = np.tile(np.repeat(np.int32([0, 1]), COLS // 2), (ROWS, 1))
    labels[:2] = -1
    create_raster(paths.blocks, GRID, gdal.GDT_Int32, -1).WriteArray(labels)
    row, col = np.mgrid[:ROWS, :COLS].reshape(2, -1)
    x, y = centres(PLACE, row, col)
    pd.DataFrame({"X": x, "Y": y, "DEM": np.arange(len(x)), "slope": 1.0}).to_csv(paths.grid, index=False)
    cell = 300 + 7 * np.arange(SAMPLES)
    slope = np.repeat([0, 5, 9], [ONE_CLASS, SAMPLES - 2 * ONE_CLASS, ONE_CLASS])
    factors = np.column_stack([cell, slope]).astype(np.float32)
    factors[90:90 + REPEATED] = factors[70:70 + REPEATED]
    tasks = {"block": labels.ravel()[cell], "row": np.arange(SAMPLES)[::-1].astype(np.int32), "factors": factors,
             "xy": np.column_stack([x[cell], y[cell]]), "label": (np.arange(SAMPLES) >= 75).astype(np.int8),
             "centre_row": np.float32([30, 30, 30]), "centre_col": np.float32([19.5, 59.5, 500])}
    write_npz(paths.tasks, tasks, "scene_sampling.py", c, [])
    return paths, labels, tasks


def settings(**values) -> SimpleNamespace:
    return SimpleNamespace(**{"REGION": "isle", "SEED": 1, "AREA_CELLS": 200} | values)


def test_samples_come_once_then_cells(region, capsys):
    paths, _, tasks = region
    found = points.read_points(paths, FACTORS, settings())
    kept = np.setdiff1d(np.arange(SAMPLES), 90 + np.arange(REPEATED))
    samples = slice(len(kept))
    np.testing.assert_array_equal(found.sample[samples], tasks["row"][kept])
    for name in ("factors", "xy", "label", "block"):
        np.testing.assert_array_equal(getattr(found, name)[samples], tasks[name][kept])
    assert set(found.origin[samples]) == {"inventory", "absence"}
    assert ((found.origin[samples] == "inventory") == (tasks["label"][kept] == 1)).all()
    np.testing.assert_array_equal(found.telling[samples], tasks["factors"][kept, 1] != 5)
    cells = slice(len(kept), None)
    for name, value in (("sample", -1), ("label", -1), ("origin", "cell"), ("telling", False)):
        assert set(getattr(found, name)[cells]) == {value}
    assert np.isnan(found.year).all()
    assert found.blocks == 3  # one of them without any point
    assert len({len(getattr(found, name)) for name in ("sample", "factors", "xy", "label", "block", "year")}) == 1
    said = capsys.readouterr().out
    assert "147 samples, each at a place of its own (stage 2 dropped repeated places); 3 more" in said
    assert "75 absence, 72 inventory" in said
    assert "117 samples hold a number that one class alone has (slope = 0, slope = 9)" in said


def test_no_number_need_tell(region):
    paths, _, tasks = region
    tasks["factors"][:, 1] = np.arange(SAMPLES)
    write_npz(paths.tasks, tasks, "scene_sampling.py", settings(), [])
    assert not points.read_points(paths, FACTORS, settings()).telling.any()


def test_cells_are_drawn_evenly_and_lie_in_their_blocks(region, monkeypatch):
    paths, labels, _ = region
    factors, xy, block = points.cells_of_area(paths, FACTORS, settings())
    number = factors[:, 0].astype(int)  # of the cell: its place in the table
    np.testing.assert_array_equal(labels.ravel()[number], block)
    np.testing.assert_allclose(xy.T, centres(PLACE, *np.divmod(number, COLS)))
    assert len(np.unique(number)) == len(number)
    assert 150 < len(number) <= 200  # the drawn cells outside every block are left out
    assert number.min() < ROWS * COLS * 0.1
    assert number.max() > ROWS * COLS * 0.9
    monkeypatch.setattr(points, "CHUNK", 333)
    np.testing.assert_array_equal(points.cells_of_area(paths, FACTORS, settings())[0], factors)
    assert set(points.cells_of_area(paths, FACTORS, settings(SEED=2))[0][:, 0]) != set(factors[:, 0])
    every = points.cells_of_area(paths, FACTORS, settings(AREA_CELLS=10**6))[0]
    np.testing.assert_array_equal(np.sort(every[:, 0]), np.flatnonzero(labels.ravel() >= 0))


def test_drawing_cells_needs_no_memory_for_the_others(region, monkeypatch):
    paths, *_ = region
    monkeypatch.setattr(points.grid_cells, "count", lambda _: 10**7)
    number, nowhere = np.arange(10_000), np.zeros(10_000, bool)
    part = SimpleNamespace(factors=number, xy=number, block=number), (), nowhere
    monkeypatch.setattr(points, "grid_rows", lambda *_: itertools.repeat(part, 1000))
    tracemalloc.start()
    drawn, *_ = points.cells_of_area(paths, FACTORS, settings(AREA_CELLS=20_000))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(drawn) == 20_000
    assert most < 20_000_000  # bytes, of 80 million for a number of each cell
    assert abs(drawn.mean() - 5000) < 100  # in a part: evenly


def test_cells_outside_every_block_have_the_nearest(region, monkeypatch):
    paths, labels, _ = region
    monkeypatch.setattr(rasters, "WINDOW", 16 * COLS)
    monkeypatch.setattr(layers, "TILE", 16)
    read, read_rows = [], layers.read_rows
    monkeypatch.setattr(layers, "read_rows", lambda *window: read.append(window[2]) or read_rows(*window))
    (rows, (row, col), outside), = points.grid_rows(paths, FACTORS)
    np.testing.assert_array_equal([row, col], np.mgrid[:ROWS, :COLS].reshape(2, -1))  # in the order of the grid
    np.testing.assert_array_equal(outside, labels[row, col] < 0)
    np.testing.assert_array_equal(rows.block, col >= COLS // 2)
    assert max(read) == 16  # rows of the blocks in memory at once
