import json
import os
import subprocess
import sys
from math import floor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from osgeo import gdal, osr
from small_region import write_raster

from lsm.inputs.layers import RasterRows
from lsm.inputs.rasters import Grid, create_raster, read_composite
from lsm.run import pipeline
from lsm.run.artifacts import check, read_csv, read_npz, read_record
from lsm.run.paths import PROJECT, Paths
from lsm.run.settings import InputError, constants
from study_area import FACTORS

sys.path.insert(0, str(PROJECT))
import scene_sampling

ROWS, COLS, NODATA = 40, 50, -9999.0
WEST, NORTH, WIDTH, HEIGHT = -1000.0, 1500.0, 80.0, 75.0  # m: the raster lies across x = 0 and y = 0
HOLES = {0: (4, 4), 1: (4, 30), 2: (30, 4), 3: (30, 40)}  # of each band: the first cell of 3 x 3 on nodata
SETTINGS = ("REGION=made", "K=20", "M=100", "LOOPS=3")


def write_composite(path: Path, bands: np.ndarray, holes: dict) -> None:
    path.parent.mkdir(parents=True)
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), bands.shape[2], bands.shape[1], 4, gdal.GDT_Float32)
    dataset.SetGeoTransform((WEST, WIDTH, 0, NORTH, 0, -HEIGHT))
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(32650)
    dataset.SetProjection(crs.ExportToWkt())
    for i, band in enumerate(bands):
        band = band.copy()
        if i in holes:
            band[holes[i][0] : holes[i][0] + 3, holes[i][1] : holes[i][1] + 3] = NODATA
        dataset.GetRasterBand(i + 1).SetNoDataValue(NODATA)
        dataset.GetRasterBand(i + 1).WriteArray(band)


def sample_table(xy: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    columns = {f.name: rng.integers(1, 4, len(xy)) if f.kind == "categorical" else rng.uniform(1, 90, len(xy)).round(3)
               for f in FACTORS}
    return pd.DataFrame(columns | {"X": xy[:, 0], "Y": xy[:, 1], "label": label})


def labels_of(path: Path) -> np.ndarray:
    dataset = gdal.Open(str(path))
    return dataset.GetRasterBand(1).ReadAsArray()


def at(row: float, col: float) -> tuple[float, float]:
    """X, Y of a place in cells from the raster's upper left corner."""
    return WEST + col * WIDTH, NORTH - row * HEIGHT


SPECIAL = [
    (at(3, 5), 3 * COLS + 5),              # on a corner of four cells: the cell right of and below it
    (at(12.5, 7), 12 * COLS + 7),          # on a border between columns
    (at(21, 8.5), 21 * COLS + 8),          # on a border between rows
    (at(0, 0), 0),                         # the raster's own corner
    (at(20.25, 12.25), 20 * COLS + 12),    # x < 0, y < 0
    (at(10.5, -0.001), None),              # just west of the raster, not in column 0
    (at(-0.001, 10.5), None),              # just north of it
    (at(10.5, COLS), None),                # on its eastern border
    (at(ROWS, 10.5), None),                # on its southern border
    (at(5.5, 5.5), None), (at(5.5, 31.5), None), (at(31.5, 5.5), None), (at(31.5, 41.5), None)]  # nodata, each band


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A region "made" below a root of its own: 200 samples at random, the special ones, then repeats."""
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    rng = np.random.default_rng(3)
    bands = rng.uniform(0, 60, (4, ROWS, COLS)).astype(np.float32)
    bands[0] += 400 * np.hypot(*np.mgrid[-1:1:40j, -1:1:50j])
    paths = Paths("made")
    write_composite(paths.composite, bands, HOLES)
    cell = rng.integers(ROWS * COLS, size=200)
    valid = read_composite(paths.composite).valid
    cell = np.where(valid.ravel()[cell], cell, 1)
    within = rng.uniform(0.1, 0.9, (200, 2))
    xy = np.array([at(k // COLS + r, k % COLS + c) for k, (r, c) in zip(cell, within, strict=True)]
                  + [place for place, _ in SPECIAL])
    label = rng.integers(0, 2, len(xy))
    table = sample_table(xy, label, rng)
    opposite = table.iloc[[7]].assign(label=1 - table.label[7])
    table = pd.concat([table, table.iloc[[0, 1, 2]], opposite], ignore_index=True)
    table.to_csv(paths.samples, index=False)
    return paths, table


def run_stage(*settings):
    c = constants(scene_sampling.Constants, [*SETTINGS, *settings])
    scene_sampling.main(c)
    return c


@pytest.mark.parametrize(("recipe", "said"), [("published", True), ("recommended", False)])
def test_what_stage_3_will_refuse_is_said_already(made, capsys, recipe, said):
    run_stage(f"RECIPE={recipe}")
    lines = [line for line in capsys.readouterr().out.splitlines() if "stage 3 will refuse" in line]
    assert len(lines) == said
    assert not said or lines[0].endswith("since a task of this recipe is a block; use RECIPE=recommended")


def test_outputs(made, capsys):
    paths, table = made
    c = run_stage()
    said = capsys.readouterr().out
    assert "217 rows; left out since they repeat a place: 4; places with both labels, which count as" in said
    assert "left out outside the raster: 4; on its nodata: 4" in said
    for path in (paths.blocks, paths.tasks, paths.blocks_table):
        assert f"wrote metatask_sampling/{path.name}" in said

    raster = read_composite(paths.composite)
    labels = labels_of(paths.blocks)
    np.testing.assert_array_equal(labels >= 0, raster.valid)
    for row, col in HOLES.values():  # nodata in any one band
        assert (labels[row : row + 3, col : col + 3] == -1).all()

    tasks = read_npz(paths.tasks, "scene_sampling.py", c)
    kinds = {"block": "int32", "row": "int32", "factors": "float32", "xy": "float64", "label": "int8",
             "centre_row": "float32", "centre_col": "float32"}
    assert {name: tasks[name].dtype.name for name in kinds} == kinds
    assert tasks["factor_names"].tolist() == [f.name for f in FACTORS]
    assert tasks["factors"].shape == (len(tasks["block"]), len(FACTORS))
    assert tasks["centre_row"].shape == tasks["centre_col"].shape == (labels.max() + 1,)

    order = list(zip(tasks["block"].tolist(), tasks["row"].tolist(), strict=True))
    assert order == sorted(order)
    source = table.iloc[tasks["row"]]
    np.testing.assert_array_equal(tasks["xy"], source[["X", "Y"]])
    np.testing.assert_array_equal(tasks["label"], source["label"])
    np.testing.assert_array_equal(tasks["factors"], source[[f.name for f in FACTORS]].to_numpy(np.float32))
    for block, (x, y) in zip(tasks["block"], tasks["xy"], strict=True):
        assert block == labels[floor((NORTH - y) / HEIGHT), floor((x - WEST) / WIDTH)]
    assert len(np.unique(tasks["xy"], axis=0)) == len(tasks["xy"]) == 200 + 5
    kept = set(tasks["row"].tolist())
    assert {0, 1, 2} <= kept
    assert not {213, 214, 215} & kept
    assert (7 in kept) == (table.label[7] == 1)  # of the place with both labels the landslide stays
    assert (216 in kept) == (table.label[7] == 0)

    blocks = read_csv(paths.blocks_table, "scene_sampling.py", c)
    assert blocks.columns.tolist() == ["block", "cells", "samples", "landslides", "centre_x", "centre_y"]
    assert blocks.cells.sum() == raster.valid.sum()
    assert blocks.samples.tolist() == np.bincount(tasks["block"], minlength=len(blocks)).tolist()
    assert blocks.landslides.sum() == tasks["label"].sum()
    for block, x, y in zip(blocks.block, blocks.centre_x, blocks.centre_y, strict=True):
        row, col = np.argwhere(labels == block).mean(axis=0) + 0.5
        assert (x, y) == pytest.approx(at(row, col), abs=0.01)


def test_block_raster_lies_on_the_grid_of_the_composite(made):
    paths, _ = made
    run_stage()
    ours, theirs = gdal.Open(str(paths.blocks)), gdal.Open(str(paths.composite))
    assert ours.GetGeoTransform() == theirs.GetGeoTransform()
    assert ours.GetSpatialRef().IsSame(theirs.GetSpatialRef())
    assert (ours.RasterXSize, ours.RasterYSize) == (COLS, ROWS)
    band = ours.GetRasterBand(1)
    assert (band.GetNoDataValue(), band.GetDescription(), band.DataType) == (-1, "block", gdal.GDT_Int32)


@pytest.mark.parametrize(("place", "cell"), SPECIAL)
def test_a_point_belongs_to_the_cell_it_lies_in(place, cell, tmp_path):
    labels = np.arange(ROWS * COLS).reshape(ROWS, COLS)
    for row, col in HOLES.values():
        labels[row : row + 3, col : col + 3] = -1
    grid = Grid(ROWS, COLS, (WEST, WIDTH, 0, NORTH, 0, -HEIGHT), "")
    rows = RasterRows(create_raster(tmp_path / "labels.tif", grid, gdal.GDT_Int32, -1))
    rows[0:ROWS] = labels
    block = scene_sampling.block_of(rows, grid, np.array([place]))
    assert block[0] == cell if cell is not None else block[0] < 0


def test_second_run_gives_the_same_bytes_and_overrides_are_recorded(made):
    paths, _ = made
    files = (paths.blocks, paths.tasks, paths.blocks_table)
    run_stage()
    first = [path.read_bytes() for path in files]
    c = run_stage()
    assert [path.read_bytes() for path in files] == first
    for path in files:
        record = check(path, "scene_sampling.py", c)
        assert record["stage"] == "scene_sampling.py"
        assert record["constants"]["K"] == 20
        assert list(record["inputs"]) == ["src_data/made/composite.tif", "src_data/samples_made.csv"]
    run_stage("K=9")
    assert labels_of(paths.blocks).max() < 15
    assert json.loads(Path(str(paths.blocks) + ".json").read_text())["constants"]["K"] == 9


def test_own_units_in_place_of_slic(made, capsys, monkeypatch):
    paths, table = made
    root, place = paths.samples.parents[1], (WEST, WIDTH, 0, NORTH, 0, -HEIGHT)
    units = np.full((ROWS, COLS), 70)
    units[:10, 20:], units[10:, 20:] = 5, -3
    units[:, 45:] = -9999
    write_raster(root / "units.tif", units, place=place, kind=gdal.GDT_Int32)
    c = run_stage("BLOCKS=units.tif")
    said = capsys.readouterr().out
    labels, valid = labels_of(paths.blocks), read_composite(paths.composite).valid
    numbers = np.select([units == -3, units == 5, units == 70], [0, 1, 2], -1)
    np.testing.assert_array_equal(labels, np.where(valid, numbers, -1))
    blocks, tasks = read_csv(paths.blocks_table, "scene_sampling.py", c), read_npz(paths.tasks, "scene_sampling.py", c)
    assert blocks["unit"].tolist() == [-3, 5, 70]
    assert blocks["samples"].sum() == len(tasks["block"])
    inside = sum(numbers[floor((NORTH - y) / HEIGHT), floor((x - WEST) / WIDTH)] >= 0
                 for x, y in table[["X", "Y"]].drop_duplicates().to_numpy()
                 if WEST <= x < WEST + COLS * WIDTH and NORTH - ROWS * HEIGHT < y <= NORTH
                 and valid[floor((NORTH - y) / HEIGHT), floor((x - WEST) / WIDTH)])
    assert len(tasks["block"]) == inside
    assert f"left out outside every unit: {205 - inside}" in said
    assert "3 units are few" in said
    assert list(read_record(paths.blocks, "scene_sampling.py")["inputs"])[-1] == "units.tif"

    def state(*more):  # BLOCKS is not given again: the area keeps its units
        return pipeline.states_of("made", [*SETTINGS, *more])[pipeline.CUT]

    assert state() == state("BLOCKS=units.tif") == "fresh"
    assert state("BLOCKS=") == "stale: BLOCKS = 'units.tif', now ''"
    write_raster(root / "units.tif", units + 1, place=place, kind=gdal.GDT_Int32)
    assert state() == "stale: another units.tif"
    blank = np.where(np.arange(COLS) < 20, 1, 2) * np.ones((ROWS, 1), int)
    for x, y in table[["X", "Y"]].to_numpy():
        blank[floor((NORTH - y) / HEIGHT) % ROWS, floor((x - WEST) / WIDTH) % COLS] = -9999
    write_raster(root / "units.tif", blank, place=place, kind=gdal.GDT_Int32)
    with pytest.raises(InputError, match=r"BLOCKS=units\.tif: expected units where the samples are, found all 213"):
        run_stage("BLOCKS=units.tif")
    paths.blocks.unlink()
    assert pipeline.arguments_of("scene_sampling.py", "made", []) == ["REGION=made", "BLOCKS=units.tif"]
    capsys.readouterr()
    run_stage()
    assert "the blocks before were the units of units.tif; BLOCKS=units.tif takes them again" in capsys.readouterr().out
    assert pipeline.arguments_of("scene_sampling.py", "made", []) == ["REGION=made"]


def test_samples_in_another_crs_are_refused(made):
    paths, table = made
    table.assign(X=table.X + 830_000, Y=table.Y + 820_000).to_csv(paths.samples, index=False)
    with pytest.raises(InputError, match=r"samples_made.csv: columns X, Y: expected points within X -1000 \.\. 3000, "
                                         r"Y -1500 \.\. 1500, found X 8\d{5} .* 213 of 213 outside "
                                         r"and 0 on nodata; are they in the CRS of .*EPSG:32650"):
        run_stage()
    assert not paths.tasks.exists()


def test_as_a_user_runs_it(made):
    paths, _ = made
    command = [sys.executable, str(PROJECT / "scene_sampling.py"), *SETTINGS]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=True)
    assert "cells per block" in done.stdout
    assert "with more than 16 samples" in done.stdout
    assert done.stderr == ""
    assert paths.tasks.is_file()
    refused = subprocess.run([*command, "K=100000"], capture_output=True, text=True, env=os.environ, check=False)
    assert refused.returncode == 2
    assert "K=100000: expected blocks of 2 x 2 cells or more" in refused.stderr
    assert "Traceback" not in refused.stderr


HONG_KONG = Path(os.environ.get("LSM_HK_DATA", PROJECT.parent / "shared" / "hk"))


@pytest.mark.skipif(not (HONG_KONG / "composite.tif").is_file() or not (HONG_KONG / "samples_HK.csv").is_file(),
                    reason="the Hong Kong data are not in the folder that LSM_HK_DATA names")
@pytest.mark.parametrize("m", [500, 150])
def test_hong_kong(tmp_path, monkeypatch, capsys, m):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    paths = Paths("HK")
    paths.composite.parent.mkdir(parents=True)
    paths.composite.symlink_to(HONG_KONG / "composite.tif")
    paths.samples.symlink_to(HONG_KONG / "samples_HK.csv")
    c = constants(scene_sampling.Constants, ["REGION=HK", f"M={m}"])
    scene_sampling.main(c)
    said = capsys.readouterr().out
    assert "repeat a place: 524; places with both labels, which count as landslides: 36" in said
    labels = labels_of(paths.blocks)
    assert (labels >= 0).sum() == 215_241
    assert 200 <= labels.max() + 1 <= 260
    np.testing.assert_array_equal(labels >= 0, read_composite(paths.composite).valid)
    assert len(np.unique(labels[labels >= 0])) == labels.max() + 1
    tasks = read_npz(paths.tasks, "scene_sampling.py", c)
    assert len(tasks["row"]) == 19_898 - 524


@pytest.mark.parametrize(("samples", "cells", "valid", "expected"), [
    (8_000, 1_000_000, 1_000_000, 100), (8_000, 1_000_000, 400_000, 250),  # seeds on nodata are counted on top
    (12_100, 1_000_000, 1_000_000, 151), (120, 1_000_000, 1_000_000, 12), (0, 1_000_000, 500_000, 24),
    (8_000, 300, 300, 75), (120, 40, 8, 10), (120, 1_000, 0, 250)])  # a block has four cells or more
def test_k_follows_from_area_and_samples(samples, cells, valid, expected):
    c = constants(scene_sampling.Constants, ["BLOCK_SAMPLES=80", "FEWEST_BLOCKS=12"])
    assert c.K == 0
    assert scene_sampling.number_of_seeds(samples, cells, valid, c) == expected
    for recipe, k in (("K=37", 37), ("RECIPE=published", 512)):
        c = constants(scene_sampling.Constants, [recipe])
        assert scene_sampling.number_of_seeds(samples, cells, valid, c) == k
