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

from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm import tqdm

from lsm.blocks.slic import slic
from lsm.blocks.units import doubts, read_units, units_before
from lsm.inputs.crs import crs_name
from lsm.inputs.rasters import Raster, centres, locate, read_composite, write_band
from lsm.inputs.samples import read_samples, unique_places
from lsm.insar.origins import weights
from lsm.run.artifacts import write_csv, write_npz
from lsm.run.paths import Paths, root, shown
from lsm.run.settings import ByRecipe, InputError, run
from lsm.run.writing import work_folder
from lsm.sources.files import library_notes, read_files
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


def number_of_seeds(samples: int, valid: np.ndarray, c: Constants) -> int:
    """K: the constant or, where it is 0, what gives a block about BLOCK_SAMPLES samples.

    valid (rows, cols): seeds on cells that are not valid make no block, so they are counted on top
    """
    if c.K:
        return c.K
    blocks = max(c.FEWEST_BLOCKS, round(samples / c.BLOCK_SAMPLES))
    return min(round(blocks * valid.size / max(valid.sum(), 1)), valid.size // 4)


def blocks_of(labels: np.ndarray, geotransform: tuple[float, ...], xy: np.ndarray) -> np.ndarray:
    """The block (samples,) of the cell each point lies in: -1 on nodata, -2 outside the raster."""
    row, col, inside = locate(geotransform, labels.shape, xy)
    block = np.full(len(xy), -2, np.int32)
    block[inside] = labels[row[inside], col[inside]]
    return block


def own_units(c: Constants, raster: Raster) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The units of the file BLOCKS, as `read_units` gives them; says what was guessed."""
    notes = []
    with work_folder(root() / "tmp" / f".{c.REGION}_units") as folder, library_notes(notes):
        labels, places, names = read_units(str(root() / c.BLOCKS), raster, folder, notes)
    print(f"own units of {c.BLOCKS}: {len(names):,}", *notes, sep="\n")
    return labels, places, names


def check_extent(block: np.ndarray, xy: np.ndarray, raster: Raster, path, composite) -> None:
    """Refuses samples of which more than half lie on no valid cell. Raises InputError."""
    if (block < 0).sum() * 2 <= len(block):
        return
    corner_x, corner_y = centres(raster.geotransform, *(np.array([-0.5, n - 0.5]) for n in raster.valid.shape))
    expected, found = (f"X {x.min():.0f} .. {x.max():.0f}, Y {y.min():.0f} .. {y.max():.0f}"
                       for x, y in ((corner_x, corner_y), xy.T))
    raise InputError(
        f"{shown(path)}: columns X, Y: expected points within {expected}, found {found}, {(block == -2).sum()} of "
        f"{len(block)} outside and {(block == -1).sum()} on nodata; are they in the CRS of {shown(composite)}, "
        f"{crs_name(raster.crs)}?")


def table_of_blocks(labels: np.ndarray, block: np.ndarray, label: np.ndarray, places: np.ndarray,
                    geotransform: tuple[float, ...]) -> pd.DataFrame:
    """A row for each block. block, label (samples,) of the samples; places (blocks, 2): mean row and column."""
    x, y = centres(geotransform, *places.astype(np.float64).T)
    count = len(places)
    return pd.DataFrame({
        "block": np.arange(count),
        "cells": np.bincount(labels[labels >= 0], minlength=count),
        "samples": np.bincount(block, minlength=count),
        "landslides": np.bincount(block[label == 1], minlength=count),
        "centre_x": x, "centre_y": y})


def summary(table: pd.DataFrame, task_samples: int) -> str:
    """The blocks in numbers, for the terminal."""
    shares = (0, 0.25, 0.5, 0.75, 1)
    lines = [f"{'':20}{'min':>8}{'25 %':>8}{'median':>8}{'75 %':>8}{'max':>8}{'all':>10}"]
    for name in ("cells", "samples"):
        quantiles = "".join(f"{q:8.0f}" for q in table[name].quantile(shares))
        lines.append(f"{name + ' per block':20}{quantiles}{table[name].sum():10d}")
    one_class = (table.samples > 0) & ((table.landslides == 0) | (table.landslides == table.samples))
    counts = ((len(table), "blocks"), ((table.samples == 0).sum(), "without samples"),
              (one_class.sum(), "with one class only"),
              ((table.samples > task_samples).sum(), f"with more than {task_samples} samples"))
    return "\n".join(lines + [f"{n:6d} {what}" for n, what in counts])


def main(c: Constants) -> None:
    """Runs the stage."""
    paths = Paths(c.REGION)
    raster = read_composite(paths.composite)
    samples = read_samples(paths.samples, c.factors)
    weight = weights(paths, samples.label, c)
    row, dropped, conflicts = unique_places(samples)
    print(f"{len(samples.label)} samples; {dropped} rows dropped that repeat a place, {conflicts} places with both "
          "labels kept as landslides")

    on_ground = blocks_of(raster.valid.astype(np.int8) - 1, raster.geotransform, samples.xy[row])
    check_extent(on_ground, samples.xy[row], raster, paths.samples, paths.composite)
    print(f"{(on_ground == -2).sum()} samples dropped outside the raster, {(on_ground == -1).sum()} on its nodata")
    if c.BLOCKS:
        labels, places, names = own_units(c, raster)
    else:
        print(*units_before(paths), sep="\n", end="\n" * len(units_before(paths)))
        seeds = number_of_seeds(len(row), raster.valid, c)
        print(f"K = {seeds}" + ("" if c.K else f", for about {c.BLOCK_SAMPLES} samples a block"))
        labels, places = slic(raster.bands, raster.valid, c.WEIGHTS, c.M, seeds, c.LOOPS,
                              lambda loops: tqdm(loops, desc="SLIC", unit="loop", delay=2))
    block = blocks_of(labels, raster.geotransform, samples.xy[row])
    if outside := int(((block < 0) & (on_ground == 0)).sum()):
        print(f"{outside} samples dropped outside every unit")
    if not (block >= 0).any():
        raise InputError(f"BLOCKS={c.BLOCKS}: expected units where the samples are, found all {len(block)} samples "
                         "outside every unit; check the CRS and extent of the file")
    row, block = row[block >= 0], block[block >= 0]
    order = np.lexsort((row, block))
    row, block = row[order], block[order]

    table = table_of_blocks(labels, block, samples.label[row], places, raster.geotransform)
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
    if c.BLOCKS:
        table["unit"] = names
        more += read_files([str(root() / c.BLOCKS)])
        print(*doubts(table), sep="\n", end="\n" * bool(doubts(table)))
    made_from = ("scene_sampling.py", c, [paths.composite, paths.samples, *more])
    write_band(paths.blocks, labels, raster, -1, "block", *made_from)
    write_npz(paths.tasks, tasks, *made_from)
    write_csv(paths.blocks_table, table, *made_from)
    print(summary(table, c.TASK_SAMPLES))
    for path in (paths.blocks, paths.tasks, paths.blocks_table):
        print(f"wrote {shown(path)}")


if __name__ == "__main__":
    run(main, Constants)
