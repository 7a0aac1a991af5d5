"""Stage 4: adapts the intermediate model to every block, and predicts every cell.

A cell's susceptibility depends only on the cell's own factors and place, on its block's model, and at a border on the
models of the blocks beside it: any order and any part of the grid give the same number. The grid goes from disk to disk
part by part, on all cores; memory does not grow with it.

Reads   checkpoint_dir/<REGION>_model.npz          the intermediate models and their encoder
        metatask_sampling/<REGION>_tasks.npz       samples by block
        metatask_sampling/<REGION>_blocks.tif      the block of every cell
        src_data/grid_samples_<REGION>.csv         factors, X, Y of every cell to predict; or, where there is none,
        src_data/<REGION>/factors.tif              a band a factor
Writes  models_of_blocks/<REGION>_models.npz       local_w1, local_b1, ..., regional_w1, ... of all blocks (members,
                                                   blocks, inputs, outputs), any normalisation folded in; state of
                                                   each block (lsm/learner/support/supports.py); how many samples it
                                                   adapted on (own, borrowed); adapted_share of each: 0 intermediate
                                                   model, 1 fully adapted; the encoder
        figs/LSM_<REGION>.tif                      landslide probability, float32, nodata -9999; made with FORECAST, it
                                                   says so in its metadata
        tmp/LSM_<REGION>.csv                       X, Y, susceptibility, block, flag: 0 adapted block, 1 the block
                                                   keeps the intermediate model, 2 the cell lies outside every block
                                                   and takes the nearest block, 3 both. Not written for factors.tif,
                                                   which may have too many cells for a table
Run     python predict_LSM.py [ADAPT_WITH=half ...]
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from osgeo import gdal

from lsm.blocks.grid_parts import Part, part_of, parts_of
from lsm.inputs import grid_cells
from lsm.inputs.bands import NODATA
from lsm.inputs.rasters import WINDOW, Grid, open_raster, write_windows
from lsm.learner.adaptation import models_of_blocks
from lsm.learner.encoder import Encoder
from lsm.learner.members import Training, pooled_of
from lsm.learner.prediction import (
    GridCounts,
    arrays_of_networks,
    flag_of,
    networks_of_arrays,
    over_tiles,
    probability_of_tile,
    release_memory,
)
from lsm.learner.support.supports import FORECAST, places_of_blocks
from lsm.learner.tasks import EncodedSamples, rows_by_block
from lsm.maps import gis, layer_tables
from lsm.run.artifacts import MAKERS, artifact, check, discard, made_by, made_with, need, read_npz, write_npz, wrote
from lsm.run.jobs import Cluster, cluster_of
from lsm.run.paths import Paths, root, shown
from lsm.run.progress import Progress
from lsm.run.settings import ByRecipe, InputError, at_least, run
from lsm.run.writing import work_folder, write_table
from study_area import Spread, StudyArea


# ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Constants(Spread, StudyArea):
    """What a person may set, here or for one run as NAME=value."""

    # of a block's samples; "half": blocks with more than MIN_SAMPLES adapt on a random half, as published;
    # "all": no test set is kept back
    ADAPT_WITH: str = ByRecipe(published="half", recommended="all")
    MIN_SAMPLES: int = 16     # blocks with no more always adapt on all their samples; published 16
    # True: a cell takes the mean of the models of the blocks that it and the eight cells around it lie in, by how many
    # of these cells each has; False: its own block's model
    BLEND: bool = ByRecipe(published=False, recommended=True)
    GRID_ROWS: int = 500_000  # cells of a part of the grid; three parts are in memory at once. No probability depends
                              #   on it; below 65,536 the file of a stack's map has other bytes for the same values
# ----------------------------------------------------------------------------------------------------------------

_STAGE = "predict_LSM.py"


def known_samples(block: np.ndarray, half: bool, min_samples: int, rng) -> np.ndarray:
    """The samples that blocks adapt on, (samples,) bool; block (samples,) ascending."""
    known = np.ones(len(block), bool)
    for _, rows in zip(*rows_by_block(block, known), strict=True):
        if half and len(rows) > min_samples:
            known[rng.permutation(rows)[len(rows) // 2:]] = False
    return known


def predict_grid(source: Path, parts: Iterator[Part], networks, states, encoder, counts: GridCounts,
                 whole_map: gdal.Dataset | None, table: Path | None) -> Iterator[tuple[int, int, np.ndarray]]:
    """Predicts the grid part by part; counts, and gives the map's windows as `write_windows` takes them.

    whole_map, table  of a table of cells, which come in any order: the raster that gathers them, and the csv file to
                      write them to
    """
    bar = bar_of(source)
    for part, (p,) in over_tiles(parts, encoder, len(states), probability_of_tile(networks)):
        if table:
            part.write(whole_map, p)
            rows = pd.DataFrame({"X": part.xy[:, 0], "Y": part.xy[:, 1], "susceptibility": p, "block": part.block,
                                 "flag": flag_of(part, states)})
            write_table(rows, table, mode="a", header=not counts.flags.any())
        else:
            yield part.on_window(p)
        counts.add(GridCounts.of(part, states, encoder))
        release_memory(networks)
        bar.update(len(p))
    bar.close()
    for row, col, rows, cols in Grid.of(whole_map).tiles(WINDOW) if table else ():
        yield row, col, whole_map.GetRasterBand(1).ReadAsArray(col, row, cols, rows)


def bar_of(source: Path) -> Progress:
    """The bar of a grid."""
    return Progress(total=grid_cells.count(source), desc="grid", unit="cell", unit_scale=True, delay=1)


def start_mapping(source: Path, factors: tuple, blocks: Path, files: dict[str, Path], *held) -> None:
    """Gives a worker of a cluster what map_window needs for every window; files: of the networks, by name."""
    global _HELD
    networks = networks_of_arrays({name: np.load(file, mmap_mode="r") for name, file in files.items()})
    _HELD = grid_cells.Stack.of(source, factors), open_raster(blocks, "run scene_sampling.py again"), networks, *held


def map_window(window: tuple[int, int, int, int]) -> tuple[tuple[int, int, np.ndarray], GridCounts]:
    """One window of the map, and what is counted on it."""
    stack, block_raster, networks, centres, states, encoder, blend = _HELD
    part = part_of(stack, window, block_raster, centres, blend)
    (_, (p,)), = over_tiles([part], encoder, len(states), probability_of_tile(networks), threads=1)
    release_memory(networks)
    return part.on_window(p), GridCounts.of(part, states, encoder)


def predict_on(cluster: Cluster, windows: Iterator, given: tuple, counts: GridCounts
               ) -> Iterator[tuple[int, int, np.ndarray]]:
    """As `predict_grid`, a stack by the workers of a cluster, which read it themselves; given: of start_mapping."""
    bar = bar_of(given[0])
    for window, found in cluster.each(windows, map_window, start_mapping, given):
        counts.add(found)
        bar.update(found.flags.sum())
        yield window
    bar.close()


def main(c: Constants) -> None:
    """Runs the stage."""
    with cluster_of(c) as cluster, work_folder(root() / "tmp" / f".{c.REGION}_map") as work:
        map_region(c, cluster, work)


def check_constants(c: Constants) -> None:
    """Raises InputError for values that mean nothing."""
    if c.ADAPT_WITH not in ("half", "all"):
        raise InputError(f"ADAPT_WITH={c.ADAPT_WITH}: expected half or all")
    at_least(c, GRID_ROWS=1)


def map_region(c: Constants, cluster: Cluster | None, work: Path) -> None:
    """Adapts and maps, on a cluster where there is one; work: an empty folder."""
    paths = Paths(c.REGION)
    check_constants(c)
    source = grid_cells.grid_of(paths)
    if (by := made_by(source)) and not wrote(source, MAKERS):
        print(f"{shown(source)} is not as {by} wrote it: it was changed since, or a copy of it broke off")
    # A grid that cannot be read is refused now, not after adapting.
    next(grid_cells.chunks(source, c.factors, c.GRID_ROWS), None)
    model = need(read_npz(paths.model, "meta_learner.py", c), paths.model, ("encoder",), "meta_learner.py")
    samples = read_npz(paths.tasks, "scene_sampling.py", c)
    check(paths.blocks, "scene_sampling.py", c)
    block_raster = open_raster(paths.blocks, "run scene_sampling.py again")
    encoder = Encoder.from_json(str(model["encoder"]))
    fitted, there = ([factor.name for factor in factors] for factors in (encoder.factors, c.factors))
    if fitted != there:
        raise InputError(f"{shown(paths.model)}: expected the factors of the tables ({', '.join(there)}), found "
                         f"{', '.join(fitted)}; run stages 1 to 3 again")

    training = Training.of_file(model)
    pooled = pooled_of(training, model)
    centres = np.column_stack([samples["centre_row"], samples["centre_col"]])
    rng = np.random.default_rng(c.SEED)
    known = known_samples(samples["block"], c.ADAPT_WITH == "half", c.MIN_SAMPLES, rng)
    places = places_of_blocks(block_raster, centres)
    encoded = EncodedSamples.of_file(samples, encoder)
    networks, states, support, share = models_of_blocks(training, pooled, encoded, known, places, rng, cluster=cluster,
                                                        folder=work, threads=0)
    files = {name: Path(array.filename) for name, array in arrays_of_networks(networks).items()}
    forecast = gis.forecast(bool(training.reach)) if made_with(paths.model).get("FORECAST") else {}
    if not training.reach:
        states, support = np.full_like(states, FORECAST), np.zeros_like(support)
    print(*layer_tables.how_adapted(states, support, share, training.reach), sep="\n")

    made, of_table = (_STAGE, c, [paths.models, paths.blocks, source]), source.suffix != ".tif"
    counts, whole_map, table = GridCounts(np.zeros(4, np.int64), 0, {}), None, None
    with contextlib.ExitStack() as stack:
        map_file = stack.enter_context(artifact(paths.map_raster, *made))
        if of_table:
            table = stack.enter_context(artifact(paths.map_table, *made))
            whole_map = gis.create_like(work / "map.tif", block_raster, gdal.GDT_Float32, NODATA)
        if cluster and not of_table:
            windows = predict_on(cluster, Grid.of(block_raster).tiles(c.GRID_ROWS), (
                source, c.factors, paths.blocks, files, centres, states, encoder, c.BLEND), counts)
        else:
            parts = parts_of(source, c.factors, c.GRID_ROWS, block_raster, centres, c.BLEND)
            windows = predict_grid(source, parts, networks, states, encoder, counts, whole_map, table)
        write_windows(map_file, windows, Grid.of(block_raster), "landslide probability", metadata=forecast)
        counts.refuse_other_area(source, paths.composite)
        # After the grid: a row of it that cannot be used leaves every file as it was.
        write_npz(paths.models, files | {
            "state": states.astype(np.int8), "support": support.astype(np.int32), "encoder": model["encoder"],
            "adapted_share": share.astype(np.float32)}, _STAGE, c, [paths.model, paths.tasks, paths.blocks])

    if not of_table and made_by(paths.map_table) == _STAGE:
        discard(paths.map_table)
        print(f"{shown(paths.map_table)}: of an earlier run, whose grid was a table; removed")
    n = counts.flags
    print(f"{n.sum():,} cells predicted: {n[0]:,} by adapted blocks, {n[1]:,} by the intermediate model, "
          f"{n[2:].sum():,} outside every block by the nearest one")
    for name, n in counts.unseen.items():
        print(f"cells of a class of {name} that no sample has: {n:,}")
    for path in (paths.models, paths.map_raster, *[paths.map_table] * of_table):
        print(f"wrote {shown(path)}")


if __name__ == "__main__":
    run(main, Constants)
