"""All stages on own units in place of SLIC's blocks: of very different sizes, some without a sample, cells outside."""

import sqlite3

import numpy as np
import pandas as pd
import pytest
from conftest import AREA, QUICK_EXPLANATION, TRAINING, succeed
from osgeo import gdal
from small_region import write_raster

from lsm.inputs.rasters import read_band, read_composite
from lsm.run import pipeline
from lsm.run.paths import Paths

pytestmark = pytest.mark.slow
OWN = "BLOCKS=units.tif"


def units_of(raster) -> np.ndarray:
    """One unit of half the area, strips of 5 rows, tiny ones of 4 cells, and cells outside every unit."""
    rows, cols = raster.valid.shape
    row, col = np.mgrid[:rows, :cols]
    units = np.where(col < cols // 2, 7, 100 + row // 5)
    tiny = (col >= cols - 40) & (row < rows // 2)
    units[tiny] = (10_000 + row // 2 * 100 + (col - cols + 40) // 2)[tiny]
    units[(col >= cols - 40) & (row >= rows // 2)] = -9999
    return units


def test_every_stage_works_on_them_and_the_report_names_them(copy_of_demo):
    paths = Paths("demo")
    raster = read_composite(paths.composite)
    units = units_of(raster)
    write_raster(copy_of_demo / "units.tif", units, place=raster.geotransform, kind=gdal.GDT_Int32)
    for target in ("map", "gis", "explain", "compare", "gis", "report"):
        quick = {"compare": ("PROTOCOLS=blocked", "METHODS=knn,block_rate,slope", "SEEDS=1", "SQUARES=(1000,)",
                             "FOLDS=3", "AREA_CELLS=2000", "RESAMPLES=50", "WORKERS=1", "MAPPED=()"),
                 "explain": (*QUICK_EXPLANATION, "ONLY=leading_factor")}.get(target, ())
        said = succeed(copy_of_demo, "tools/pipeline.py", target, OWN, *AREA, *TRAINING, *quick)
        assert "make_demo.py" not in said  # the area is as it was
    states = pipeline.states_of("demo", [OWN, *AREA, *TRAINING, *QUICK_EXPLANATION])
    assert {states[script] for script in (pipeline.CUT, pipeline.LEARN, pipeline.MAP, pipeline.EXPLAIN, pipeline.GIS,
                                          pipeline.REPORT)} == {"fresh"}

    labels, table = read_band(paths.blocks), pd.read_csv(paths.blocks_table)
    there = raster.valid & (units != -9999)
    np.testing.assert_array_equal(labels >= 0, there)
    np.testing.assert_array_equal(table["unit"].to_numpy()[labels[there]], units[there])
    assert (table["samples"] == 0).any()
    with np.load(paths.models) as models:
        assert len(models["state"]) == len(table)
        adapted = models["state"] == 0
        assert (models["support"][adapted & (table["samples"] == 0).to_numpy(), 1] > 0).all()
    grid = pd.read_csv(paths.grid)
    assert (read_band(paths.map_raster) != -9999).sum() == len(grid)
    cells = pd.read_csv(paths.map_table)
    assert (cells["flag"] >= 2).sum() == (raster.valid & (units == -9999)).sum() > 0
    with sqlite3.connect(paths.gis_layers) as layers:
        found = layers.execute("SELECT block, unit, cells FROM blocks ORDER BY block").fetchall()
    assert found == list(table[["block", "unit", "cells"]].itertuples(index=False, name=None))
    scored = pd.read_csv(paths.scores).query("label >= 0").drop_duplicates("point")["block"].value_counts()
    assert (scored <= table.set_index("block")["samples"].loc[scored.index]).all()
    report = paths.report.read_text(encoding="utf-8")
    assert "own units: units.tif, sha256 " in report
    assert f"{len(table):,} units have " in report
    uncovered = (raster.valid & ~there).sum() / raster.valid.sum()
    assert f"{uncovered:.0%} of the map&#39;s cells lie outside every unit" in report
