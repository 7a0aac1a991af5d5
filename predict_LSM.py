"""Stage 4: adapts the intermediate model to every block, all blocks in one batched program, and predicts every cell.

A cell's susceptibility depends only on the cell's own factors and place and on its block's model: any order and any
chunk of the grid give the same number. With BLEND the models of the blocks near by are applied to these factors too,
and averaged by distance (lsm/blocks/blending.py).

Reads   checkpoint_dir/<REGION>_model.npz          the intermediate models and their encoder
        metatask_sampling/<REGION>_tasks.npz       samples by block
        metatask_sampling/<REGION>_blocks.tif      the block of every cell
        src_data/grid_samples_<REGION>.csv         factors, X, Y of every cell to predict; or, where there is none,
        src_data/<REGION>/factors.tif              a band a factor
        src_data/<REGION>/composite.tif            for the grid of the map
Writes  models_of_blocks/<REGION>_models.npz       local_w1, local_b1, ..., regional_w1, ... of all blocks (members,
                                                   blocks, inputs, outputs), any normalisation folded in; state of
                                                   each block (0 adapted, 1 nothing to adapt on, 2 one class only);
                                                   how many samples it adapted on (own, borrowed); the encoder
        figs/LSM_<REGION>.tif                      landslide probability, float32, nodata -9999
        tmp/LSM_<REGION>.csv                       X, Y, susceptibility, block, flag: 0 adapted block, 1 the block
                                                   keeps the intermediate model, 2 the cell lies outside every block
                                                   and takes the nearest block, 3 both. Block and flag tell of the
                                                   cell's own block, blended or not. Not written for factors.tif, which
                                                   may have too many cells for a table
Run     python predict_LSM.py [ADAPT_WITH=half BLEND=300 ...]
"""

import contextlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm import tqdm

from lsm.blocks.blending import check_reach, neighbour_weights
from lsm.blocks.slic import block_of_cells
from lsm.inputs import grid_cells
from lsm.inputs.rasters import NODATA, locate, read_band, read_composite, write_band
from lsm.learner.adaptation import ADAPTED, NO_SAMPLES, ONE_CLASS, models_of_blocks, places_of_blocks
from lsm.learner.encoder import Encoder
from lsm.learner.meta_training import Training, pooled_of
from lsm.learner.network import use_one_thread
from lsm.learner.prediction import named, probability_of_rows
from lsm.learner.tasks import EncodedSamples, rows_by_block
from lsm.run.artifacts import artifact, check, read_npz, write_npz
from lsm.run.paths import Paths, shown
from lsm.run.settings import ByRecipe, InputError, run
from study_area import StudyArea


# ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Constants(StudyArea):
    """What a person may set, here or for one run as NAME=value."""

    # of a block's samples; "half": blocks with more than MIN_SAMPLES adapt on a random half, as published;
    # "all": no test set is kept back
    ADAPT_WITH: str = ByRecipe(published="half", recommended="all")
    MIN_SAMPLES: int = 16     # blocks with no more always adapt on all their samples; published 16
    BLEND: float = 0.0        # m: within this distance of other blocks their models count too, less with distance; 0:
                              #   each block ends at its border, as published
    GRID_ROWS: int = 500_000  # rows of the grid table in memory at once
# ----------------------------------------------------------------------------------------------------------------

_STAGE = "predict_LSM.py"


def known_samples(block: np.ndarray, half: bool, min_samples: int, rng) -> np.ndarray:
    """The samples that blocks adapt on, (samples,) bool; block (samples,) ascending."""
    known = np.ones(len(block), bool)
    for _, rows in zip(*rows_by_block(block, known), strict=True):
        if half and len(rows) > min_samples:
            known[rng.permutation(rows)[len(rows) // 2:]] = False
    return known


def predict_grid(paths: Paths, c: Constants, networks, states, encoder, labels, centres, raster, temporary):
    """Predicts the grid chunk by chunk; returns the map, the numbers of cells by flag, and of unseen classes by factor.

    temporary  the csv file to write the cells to, or None
    """
    susceptibility = np.full(labels.shape, NODATA, np.float32)
    weights = neighbour_weights(labels, raster.geotransform, c.BLEND) if c.BLEND else None
    if c.BLEND:
        others = np.diff(weights.indptr)  # (cells,) blocks
        print(f"{(others > 0).sum():,} cells lie within {c.BLEND:g} m of other blocks (of {others.max()} at most) and "
              "are blended with them")
    counts, unseen = np.zeros(4, np.int64), {}
    source = grid_cells.grid_of(paths)
    bar = tqdm(total=grid_cells.count(source), desc="grid", unit="cell", unit_scale=True, disable=None, delay=1)
    for i, (factors, xy) in enumerate(grid_cells.chunks(source, c.factors, c.GRID_ROWS)):
        row, col, on_map = locate(raster.geotransform, labels.shape, xy)
        block, outside = block_of_cells(labels, row, col, centres)
        p = probability_of_rows(networks, encoder.transform(factors, xy), block,
                                np.where(outside, -1, row * labels.shape[1] + col), weights)
        flag = (states[block] != ADAPTED) + 2 * outside
        counts += np.bincount(flag, minlength=4)
        for name, n in encoder.unseen(factors).items():
            unseen[name] = unseen.get(name, 0) + n
        susceptibility[row[on_map], col[on_map]] = p[on_map]
        if temporary:
            table = pd.DataFrame({"X": xy[:, 0], "Y": xy[:, 1], "susceptibility": p, "block": block, "flag": flag})
            table.to_csv(temporary, mode="a", header=i == 0, index=False, float_format="%.9g")
        bar.update(len(xy))
    bar.close()
    if not (susceptibility != NODATA).any():
        raise InputError(f"{shown(source)}: expected cells on {shown(paths.composite)}, found all {counts.sum():,} "
                         "elsewhere; bring both into one CRS")
    return susceptibility, counts, unseen


def main(c: Constants) -> None:
    """Runs the stage."""
    paths = Paths(c.REGION)
    if c.ADAPT_WITH not in ("half", "all"):
        raise InputError(f"ADAPT_WITH={c.ADAPT_WITH}: expected half or all")
    if c.GRID_ROWS < 1:
        raise InputError(f"GRID_ROWS={c.GRID_ROWS}: expected 1 or more")
    source = grid_cells.grid_of(paths)
    # A grid that cannot be read is refused now, not after adapting.
    next(grid_cells.chunks(source, c.factors, c.GRID_ROWS), None)
    model = read_npz(paths.model, "meta_learner.py", c)
    samples = read_npz(paths.tasks, "scene_sampling.py", c)
    cut, sampled = (check(p, "scene_sampling.py", c)["constants"] for p in (paths.blocks, paths.tasks))
    if cut != sampled:
        expected, found = ({k: v for k, v in one.items() if other.get(k) != v} for one, other in
                           ((sampled, cut), (cut, sampled)))
        raise InputError(f"{shown(paths.blocks)}: expected the constants of {shown(paths.tasks)}, {expected}, "
                         f"found {found}; run scene_sampling.py and meta_learner.py again")
    raster, labels = read_composite(paths.composite), read_band(paths.blocks)
    check_reach(c.BLEND, labels, raster.geotransform)
    encoder = Encoder.from_json(str(model["encoder"]))
    fitted, there = ([factor.name for factor in factors] for factors in (encoder.factors, c.factors))
    if fitted != there:
        raise InputError(f"{shown(paths.model)}: expected the factors of the tables ({', '.join(there)}), found "
                         f"{', '.join(fitted)}; run stages 1 to 3 again")
    use_one_thread()

    training = Training.of_file(model)
    pooled = pooled_of(training, model)
    centres = np.column_stack([samples["centre_row"], samples["centre_col"]])
    rng = np.random.default_rng(c.SEED)
    known = known_samples(samples["block"], c.ADAPT_WITH == "half", c.MIN_SAMPLES, rng)
    places = places_of_blocks(labels, centres, raster.geotransform)
    encoded = EncodedSamples.of_file(samples, encoder)
    networks, states, support = models_of_blocks(training, pooled, encoded, known, places, rng)
    print(f"{len(states)} blocks: {(states == ADAPTED).sum()} adapted ({(support[:, 0] == 0).sum()} of them on "
          f"samples of others alone), {(states == NO_SAMPLES).sum()} without samples and "
          f"{(states == ONE_CLASS).sum()} with one class only keep the intermediate model")

    made = (_STAGE, c, [paths.models, paths.blocks, source])
    with artifact(paths.map_table, *made) if source == paths.grid else contextlib.nullcontext() as temporary:
        susceptibility, counts, unseen = predict_grid(paths, c, networks, states, encoder, labels, centres, raster,
                                                      temporary)
        # After the grid: a row of it that cannot be used leaves every file as it was.
        write_npz(paths.models, named(networks) | {
            "state": states.astype(np.int8), "support": support.astype(np.int32), "encoder": model["encoder"]},
            _STAGE, c, [paths.model, paths.tasks, paths.blocks])
    write_band(paths.map_raster, susceptibility, raster, NODATA, "landslide probability", *made)

    print(f"{counts.sum():,} cells predicted: {counts[0]:,} by adapted blocks, {counts[1]:,} by the intermediate "
          f"model, {counts[2:].sum():,} outside every block by the nearest one")
    for name, n in unseen.items():
        print(f"{n:,} cells hold a class of {name} that no sample has")
    for path in (paths.models, paths.map_raster, *[paths.map_table] * (source == paths.grid)):
        print(f"wrote {shown(path)}")


if __name__ == "__main__":
    run(main, Constants)
