"""Stage 2: cuts the study area into terrain blocks and gives every sample to the block of its cell: a block is a task.

Blocks come from SLIC on DEM, aspect, curvature and slope (lsm/blocks/slic.py), so that each holds one kind of terrain;
or from a file of own units, BLOCKS (lsm/blocks/units.py): slope units, catchments or any other partition. A place that
stands in the samples table twice is used once: it must not be both in the support and in the query of a task.

Reads   src_data/<REGION>/composite.tif          DEM (m), aspect (degrees, -1 = flat), curvature, slope (degrees)
        src_data/samples_<REGION>.csv            factors, X, Y, label
        src_data/<REGION>_samples_origin.csv     the weight of every sample, where there is one
        BLOCKS                                   polygons or a raster of whole numbers, where it is set
Writes  metatask_sampling/<REGION>_blocks.tif    the block of every cell, -1 outside every block
        metatask_sampling/<REGION>_tasks.npz     samples by block: block, row (of the table's data, from 0), factors,
                                                 xy, label, weight; of the blocks centre_row, centre_col; factor_names
        metatask_sampling/<REGION>_blocks.csv    block, cells, samples, landslides, centre_x, centre_y (m);
                                                 and unit, the own number or name, where BLOCKS is set
Run     python scene_sampling.py [K=256 M=150 ...]
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from osgeo import gdal

from lsm.blocks.block_numbers import blocks_in_words, too_few_tasks
from lsm.blocks.slic import slic_in_strips
from lsm.blocks.units import check_units, doubts, read_units, units_before
from lsm.inputs.bands import NODATA
from lsm.inputs.crs import crs_name
from lsm.inputs.layers import RasterRows, take
from lsm.inputs.rasters import TERRAIN, WINDOW, Composite, Grid, centres, create_raster, locate, write_windows
from lsm.inputs.samples import read_samples, unique_places
from lsm.insar.origins import weights
from lsm.run.artifacts import artifact, write_csv, write_npz
from lsm.run.paths import Paths, root, shown
from lsm.run.progress import Progress
from lsm.run.settings import ByRecipe, InputError, at_least, of_stage, run
from lsm.run.writing import work_folder
from lsm.sources.files import below_root, library_notes, read_files
from study_area import StudyArea


# ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Constants(StudyArea):
    """What a person may set, here or for one run as NAME=value."""

    BLOCKS: str = ""  # file of own units in place of SLIC, any format of vectors or rasters; "": SLIC, as published
    # seeds the whole raster would get, nodata included; 0: so many that a block has about BLOCK_SAMPLES samples
    K: int = ByRecipe(published=512, recommended=0)
    BLOCK_SAMPLES: int = 80  # of a block on average, for K=0, but never fewer than FEWEST_BLOCKS blocks; not published
    FEWEST_BLOCKS: int = 12
    M: int = 500            # compactness: terrain distance that counts as much as S cells; published 500, nearly
                            #   squares; 100 to 250 follows elevation, 50 and less falls apart along aspect
    LOOPS: int = 5          # of assigning cells to clusters and computing the clusters' means; published 5
    WEIGHTS: tuple[float, ...] = (0.3, 0.1, 0.2, 0.4)  # of DEM (m), aspect (degrees), curvature, slope (degrees) in
                                                       #   Dc^2; published
    TASK_SAMPLES: int = 16  # blocks with more samples are counted: they are tasks for meta-training; published 16
# ----------------------------------------------------------------------------------------------------------------


def check_constants(c: Constants) -> None:
    """Raises InputError for constants that make no blocks."""
    at_least(c, K=0, BLOCK_SAMPLES=1, FEWEST_BLOCKS=1, M=1, LOOPS=1, TASK_SAMPLES=0)
    if len(c.WEIGHTS) != len(TERRAIN) or min(c.WEIGHTS) < 0 or not any(c.WEIGHTS):
        raise InputError(f"WEIGHTS={c.WEIGHTS}: expected weights of {', '.join(TERRAIN)}, 0 or more and not all 0")
    if c.BLOCKS:
        check_units(str(below_root("BLOCKS", c.BLOCKS)))


def number_of_seeds(samples: int, cells: int, valid: int, c: Constants) -> int:
    """K: the constant or, where it is 0, what gives a block about BLOCK_SAMPLES samples.

    cells, valid  of the raster: seeds on cells that are not valid make no block, so they are counted on top
    """
    if c.K:
        return c.K
    blocks = max(c.FEWEST_BLOCKS, round(samples / c.BLOCK_SAMPLES))
    return min(round(blocks * cells / max(valid, 1)), cells // 4)


def ground_of(composite: Composite, xy: np.ndarray, terrain: gdal.Dataset) -> tuple[np.ndarray, int]:
    """Where each point lies (points,): 0 on ground, -1 on nodata, -2 outside the raster; and how many cells are ground.

    Goes over the whole raster, so that values that no terrain has are refused before any work, and copies it into
    `terrain`, for `read_terrain`. Raises InputError.
    """
    grid, valid = composite.grid, 0
    row, col, inside = locate(grid.geotransform, (grid.rows, grid.cols), xy)
    found = np.full(len(xy), -2, np.int32)
    for first, rows in grid.windows():
        bands, ground = composite.read(first, rows)
        bands[:, ~ground] = NODATA
        terrain.WriteArray(bands, 0, first)
        here = inside & (row >= first) & (row < first + rows)
        found[here] = ground[row[here] - first, col[here]].astype(np.int32) - 1
        valid += int(ground.sum())
    composite.refuse_empty(valid)
    return found, valid


def read_terrain(terrain: gdal.Dataset, row: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """As `Composite.read`, of the copy: it is read many times, and decompressing takes longer than all else."""
    bands = terrain.ReadAsArray(0, row, terrain.RasterXSize, rows)
    return bands, bands[0] != NODATA


def block_of(labels: RasterRows, grid: Grid, xy: np.ndarray) -> np.ndarray:
    """The block (points,) int32 of the cell that each point lies in: -1 outside every block, -2 outside the raster."""
    row, col, inside = locate(grid.geotransform, labels.shape, xy)
    block = np.full(len(xy), -2, np.int32)
    block[inside] = take(labels.dataset, row[inside], col[inside])
    return block


def cut(c: Constants, terrain: gdal.Dataset, labels: RasterRows, samples: int, valid: int, folder: Path) -> tuple:
    """Fills the labels; the blocks' mean rows and columns (blocks, 2), and the names of own units or None.

    samples, valid  how many samples and cells of ground there are; folder  for layers on the way
    """
    read, grid = partial(read_terrain, terrain), Grid.of(terrain)
    if c.BLOCKS:
        notes = []
        with library_notes(notes):
            places, names = read_units(str(below_root("BLOCKS", c.BLOCKS)), grid, lambda row, rows: read(row, rows)[1],
                                       labels, folder, notes)
        print(f"own units of {c.BLOCKS}: {len(names):,}", *notes, sep="\n")
        return places, names
    for note in units_before(Paths(c.REGION)):
        print(note)
    seeds = number_of_seeds(samples, grid.rows * grid.cols, valid, c)
    by_samples = round(samples / c.BLOCK_SAMPLES)
    why = (f", for {by_samples:,} blocks of about {c.BLOCK_SAMPLES} samples" if by_samples > c.FEWEST_BLOCKS else
           f", for {c.FEWEST_BLOCKS} blocks, the fewest (FEWEST_BLOCKS)")
    print(f"K = {seeds} seeds of blocks" + ("" if c.K else f"{why}; a seed on nodata makes no block"))
    return slic_in_strips(read, labels, c.WEIGHTS, c.M, seeds, c.LOOPS,
                          lambda loops: Progress(loops, desc="SLIC", unit="loop", delay=2)), None


def check_extent(block: np.ndarray, xy: np.ndarray, composite: Composite, path: Path) -> None:
    """Refuses samples of which more than half lie on no valid cell. Raises InputError."""
    if (block < 0).sum() * 2 <= len(block):
        return
    grid = composite.grid
    corner_x, corner_y = centres(grid.geotransform, *(np.array([-0.5, n - 0.5]) for n in (grid.rows, grid.cols)))
    expected, found = (f"X {x.min():.0f} .. {x.max():.0f}, Y {y.min():.0f} .. {y.max():.0f}"
                       for x, y in ((corner_x, corner_y), xy.T))
    raise InputError(
        f"{shown(path)}: columns X, Y: expected points within {expected}, found {found}, {(block == -2).sum()} of "
        f"{len(block)} outside and {(block == -1).sum()} on nodata; are they in the CRS of "
        f"{shown(composite.path)}, {crs_name(grid.crs)}?")


def table_of_blocks(cells: np.ndarray, block: np.ndarray, label: np.ndarray, places: np.ndarray,
                    geotransform: tuple[float, ...]) -> pd.DataFrame:
    """A row for each block: cells (blocks,). block, label (samples,) of the samples; places (blocks, 2): mean row and
    column."""
    x, y = centres(geotransform, *places.astype(np.float64).T)
    count = len(places)
    return pd.DataFrame({
        "block": np.arange(count),
        "cells": cells,
        "samples": np.bincount(block, minlength=count),
        "landslides": np.bincount(block[label == 1], minlength=count),
        "centre_x": x, "centre_y": y})


def windows_of(labels: RasterRows, grid: Grid, cells: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """The labels in windows as `write_windows` takes them; counts each block's cells (blocks,) on the way."""
    for row, col, rows, cols in grid.tiles(WINDOW):
        window = labels.dataset.GetRasterBand(1).ReadAsArray(col, row, cols, rows)
        cells += np.bincount(window[window >= 0], minlength=len(cells))
        yield row, col, window


def main(c: Constants) -> None:
    """Runs the stage."""
    check_constants(c)
    with work_folder(root() / "tmp" / f".{c.REGION}_blocks") as folder:
        sample(c, folder)


def sample(c: Constants, folder: Path) -> None:
    """Cuts blocks and gives them their samples; folder: an empty one, for layers on the way."""
    paths = Paths(c.REGION)
    composite = Composite.of(paths.composite)
    grid = composite.grid
    samples = read_samples(paths.samples, c.factors)
    weight = weights(paths, samples.label, c)
    row, dropped, conflicts = unique_places(samples)
    print(f"{len(samples.label):,} rows; left out since they repeat a place: {dropped:,}; places with both labels, "
          f"which count as landslides: {conflicts:,}")
    terrain = create_raster(folder / "terrain.tif", grid, options=("INTERLEAVE=BAND",), names=TERRAIN)
    on_ground, valid = ground_of(composite, samples.xy[row], terrain)
    check_extent(on_ground, samples.xy[row], composite, paths.samples)
    print(f"left out outside the raster: {(on_ground == -2).sum():,}; on its nodata: {(on_ground == -1).sum():,}")
    labels = RasterRows(create_raster(folder / "labels.tif", grid, gdal.GDT_Int32, -1))
    places, names = cut(c, terrain, labels, len(row), valid, folder)
    block = block_of(labels, grid, samples.xy[row])
    if outside := int(((block < 0) & (on_ground == 0)).sum()):
        print(f"left out outside every unit: {outside:,}")
    if not (block >= 0).any():
        raise InputError(f"BLOCKS={c.BLOCKS}: expected units where the samples are, found all {len(block)} samples "
                         "outside every unit; check the CRS and extent of the file")
    row, block = row[block >= 0], block[block >= 0]
    order = np.lexsort((row, block))
    row, block = row[order], block[order]

    tasks = {
        "block": block,                                      # (samples,) int32, ascending
        "row": row.astype(np.int32),                         # (samples,)
        "factors": samples.factors[row],                     # (samples, factors) float32
        "xy": samples.xy[row],                               # (samples, 2) float64, m
        "label": samples.label[row],                         # (samples,) int8
        "weight": weight[row],                               # (samples,) float32, of the sample in every loss
        "centre_row": places[:, 0], "centre_col": places[:, 1],  # (blocks,) float32
        "factor_names": np.array([factor.name for factor in c.factors]),
    }
    more = [paths.samples_origin] * paths.samples_origin.is_file()
    more += read_files([str(root() / c.BLOCKS)]) if c.BLOCKS else []
    made_from = ("scene_sampling.py", c, [paths.composite, paths.samples, *more], [paths.samples_origin])
    cells = np.zeros(len(places), np.int64)
    with artifact(paths.blocks, *made_from) as temporary:
        write_windows(temporary, windows_of(labels, grid, cells), grid, "block", -1, gdal.GDT_Int32)
    table = table_of_blocks(cells, block, samples.label[row], places, grid.geotransform)
    if c.BLOCKS:
        table["unit"] = names
        print(*doubts(table), sep="\n", end="\n" * bool(doubts(table)))
    write_npz(paths.tasks, tasks, *made_from)
    write_csv(paths.blocks_table, table, *made_from)
    print(blocks_in_words(table, c.TASK_SAMPLES))
    three = of_stage("meta_learner.py", REGION=c.REGION, RECIPE=c.RECIPE)
    if lacking := too_few_tasks(int((table.samples > three.MIN_SAMPLES).sum()), three):
        print(f"stage 3 will refuse these blocks, by its default constants: {lacking}")
    print(*(f"wrote {shown(path)}" for path in (paths.blocks, paths.tasks, paths.blocks_table)), sep="\n")


if __name__ == "__main__":
    run(main, Constants)
