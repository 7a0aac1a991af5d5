"""Stage 4: adapts the intermediate model to every block, all blocks in one batched program, and predicts every cell.

A cell's susceptibility is its block's adapted model applied to the cell's own factors, and hangs on no other cell: any
order and any chunk of the grid give the same number. With BLEND the models of the blocks near by are applied to these
factors too, and averaged by distance (lsm/blocks/blending.py).

Reads   checkpoint_dir/<REGION>_model.npz          the intermediate models and their encoder
        metatask_sampling/<REGION>_tasks.npz       samples by block
        metatask_sampling/<REGION>_blocks.tif      the block of every cell
        src_data/grid_samples_<REGION>.csv         factors, X, Y of every cell to predict; or, where there is none,
        src_data/<REGION>/factors.tif              a band a factor
        src_data/<REGION>/composite.tif            for the grid of the map
Writes  models_of_blocks/<REGION>_models.npz       w1, b1, ..., w4, b4 of all blocks (members, blocks, inputs,
                                                   outputs), any normalisation folded in; state of each block (0
                                                   adapted, 1 nothing to adapt on, 2 one class only); how many samples
                                                   it adapted on (own, borrowed); the encoder; boosted (samples,),
                                                   which samples boosting was fitted to, empty without boosting
        figs/LSM_<REGION>.tif                      landslide probability, float32, nodata -9999
        tmp/LSM_<REGION>.csv                       X, Y, susceptibility, block, flag: 0 adapted block, 1 the block
                                                   keeps the intermediate model, 2 the cell lies outside every block
                                                   and has the nearest one's model, 3 both (not from factors.tif, which
                                                   stands for more cells than a table is good for); block and flag are
                                                   those of the cell's own block, blended or not
Run     python predict_LSM.py [ADAPT_WITH=half BLEND=300 ...]
"""

import contextlib
from dataclasses import dataclass
from math import ceil, sqrt
from types import SimpleNamespace

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from lsm.blocks.blending import blended, check_reach, neighbour_weights
from lsm.blocks.slic import block_of_cells
from lsm.inputs import grid_cells
from lsm.inputs.rasters import NODATA, locate, read_band, read_composite, write_band
from lsm.inputs.rasters import centres as cell_centres
from lsm.learner.boosting import Boosting, mixed
from lsm.learner.encoder import Encoder
from lsm.learner.meta_training import Supports, adapt_members, mean_probability, rows_by_block, unflat
from lsm.learner.network import use_one_thread
from lsm.run.artifacts import check, read_npz, whole, write_npz, write_record
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
    BLEND: float = 0.0        # m: within that distance of other blocks their models count too, less with distance; 0:
                              #   each block ends at its border, as published
    GRID_ROWS: int = 500_000  # rows of the grid table in memory at once
# ----------------------------------------------------------------------------------------------------------------

_STAGE = "predict_LSM.py"
_CELLS = 2_000_000           # of a raster that are looked at for the samples nearest to each block
_ADAPTED, _NO_SAMPLES, _ONE_CLASS = 0, 1, 2


def known_samples(block: np.ndarray, half: bool, min_samples: int, rng) -> np.ndarray:
    """(samples,) bool: those that blocks adapt on; block (samples,) ascending."""
    known = np.ones(len(block), bool)
    for _, rows in zip(*rows_by_block(block, known), strict=True):
        if half and len(rows) > min_samples:
            known[rng.permutation(rows)[len(rows) // 2:]] = False
    return known


def places_of_blocks(labels: np.ndarray, centres: np.ndarray, geotransform: tuple) -> list[np.ndarray]:
    """Centres of each block's cells, (cells, 2) in map coordinates; labels (rows, cols), centres (blocks, 2) row, col.

    Of large rasters every second cell, every third and so on, so that about _CELLS are looked at; a block that this
    misses has its centre alone.
    """
    step = ceil(sqrt(labels.size / _CELLS))
    row, col = np.nonzero(labels[::step, ::step] >= 0)
    row, col = row * step, col * step
    block = labels[row, col]
    order = np.argsort(block, kind="stable")
    xy = np.column_stack(cell_centres(geotransform, row[order], col[order]))
    alone = np.column_stack(cell_centres(geotransform, *centres.T))[:, None]  # (blocks, 1, 2)
    places = np.split(xy, np.searchsorted(block[order], np.arange(1, len(centres))))
    return [p if len(p) else a for p, a in zip(places, alone, strict=True)]


def models_of_blocks(states, pooled, x, samples, known, places, c, rng) -> tuple[list, np.ndarray, np.ndarray]:
    """The networks of all blocks, the state of each, and the numbers of samples it adapted on (own, borrowed).

    A block without both classes among its own and the borrowed samples keeps the intermediate models `pooled`. c holds
    the constants of meta_learner.py.
    """
    label = samples["label"].astype(np.int32)
    supports = Supports(samples["xy"], samples["block"], label, known)
    rows = [supports.of(b, p, c.BORROW) for b, p in enumerate(places)]
    own = np.bincount(samples["block"][known], minlength=len(places))
    state = np.array([_NO_SAMPLES if not len(r) else _ADAPTED if supports.mixed(r) else _ONE_CLASS for r in rows])
    adapting = np.flatnonzero(state == _ADAPTED)
    networks = [np.repeat(w[:, None], len(rows), axis=1) for w in pooled]  # (members, blocks, ...)
    if len(adapting):
        adapted = adapt_members(states, x, label, [rows[i] for i in adapting], c, rng, samples["weight"])
        for network, w in zip(networks, adapted, strict=True):
            network[:, adapting] = w
    return networks, state, np.column_stack([own, [len(r) for r in rows] - own])


def predict(networks: list, block: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Landslide probability (rows,) of encoded rows x (rows, inputs), each by the networks of its block (rows,).

    networks  weights with (members, blocks) as first axes; the members' probabilities are averaged
    Sorted by block, every network runs once over its slice: one matrix product a layer and block, on one BLAS thread,
    since on slices this small the threads wait for each other longer than they work.
    """
    blocks = networks[0].shape[1]
    order = np.argsort(block.astype(np.min_scalar_type(blocks)), kind="stable")  # small whole numbers: a radix sort
    x, p = x[order], np.empty(len(x), np.float32)
    ends = np.bincount(block, minlength=blocks).cumsum()
    with threadpool_limits(1, "blas"):
        for b in np.flatnonzero(np.diff(ends, prepend=0)):
            rows = slice(ends[b - 1] if b else 0, ends[b])
            p[rows] = mean_probability([w[:, b] for w in networks], x[rows])
    out = np.empty_like(p)
    out[order] = p
    return out


def probability_of_rows(networks: list, boosting, x, factors, xy, block, cell, weights) -> np.ndarray:
    """Landslide probability (rows,) of rows of the grid, each by the models of its block (rows,).

    x        the encoded factors; boosting the global models that the networks are averaged with, or None
    weights  of neighbouring blocks, or None: a hard cut; cell the place in them, see `lsm.blocks.blending.blended`
    """
    anywhere = boosting.anywhere(factors, xy) if boosting else None

    def by(block, rows=np.s_[:]):
        p = predict(networks, block, x[rows])
        if boosting:
            p = mixed(p, [anywhere[rows], boosting.within(factors[rows], xy[rows], block)]).astype(np.float32)
        return p

    return by(block) if weights is None else blended(by(block), cell, weights, by)


def predict_grid(paths: Paths, c, networks, states, boosting, encoder, labels, centres, raster, temporary):
    """Predicts the grid chunk by chunk; returns the map and what was counted.

    boosting   the global models that the networks are averaged with, or None
    temporary  the csv file to write the cells to, or None
    """
    susceptibility = np.full(labels.shape, NODATA, np.float32)
    weights = neighbour_weights(labels, raster.geotransform, c.BLEND) if c.BLEND else None
    if c.BLEND:
        others = np.diff(weights.indptr)  # (cells,) blocks
        print(f"{(others > 0).sum():,} cells of blocks lie within {c.BLEND:g} m of others, of {others.max()} at most: "
              "blended with them")
    counts, unseen = np.zeros(4, np.int64), {}
    source = grid_cells.grid_of(paths)
    bar = tqdm(total=grid_cells.count(source), desc="grid", unit="cell", unit_scale=True, disable=None, delay=1)
    for i, (factors, xy) in enumerate(grid_cells.chunks(source, c.factors, c.GRID_ROWS)):
        row, col, on_map = locate(raster.geotransform, labels.shape, xy)
        block, outside = block_of_cells(labels, row, col, centres)
        p = probability_of_rows(networks, boosting, encoder.transform(factors), factors, xy, block,
                                np.where(outside, -1, row * labels.shape[1] + col), weights)
        flag = (states[block] != _ADAPTED) + 2 * outside
        counts += np.bincount(flag, minlength=4)
        for name, n in encoder.unseen(factors).items():
            unseen[name] = unseen.get(name, 0) + n
        susceptibility[row[on_map], col[on_map]] = p[on_map]
        if temporary:
            table = pd.DataFrame({"X": xy[:, 0], "Y": xy[:, 1], "susceptibility": p, "block": block, "flag": flag})
            table.to_csv(temporary, mode="a", header=i == 0, index=False, float_format="%.9g")
        bar.update(len(xy))
    bar.close()
    return susceptibility, counts, unseen


def main(c) -> None:
    """Runs the stage; c holds the constants."""
    paths = Paths(c.REGION)
    if c.ADAPT_WITH not in ("half", "all"):
        raise InputError(f"ADAPT_WITH={c.ADAPT_WITH}: expected half or all")
    if c.GRID_ROWS < 1:
        raise InputError(f"GRID_ROWS={c.GRID_ROWS}: expected 1 or more")
    source = grid_cells.grid_of(paths)
    # A grid that cannot be read is refused now, not after adapting.
    next(grid_cells.chunks(source, c.factors, c.GRID_ROWS), None)
    trained = check(paths.model, "meta_learner.py", c)["constants"]
    model = read_npz(paths.model, "meta_learner.py", c)
    samples = read_npz(paths.tasks, "scene_sampling.py", c)
    cut, sampled = (check(p, "scene_sampling.py", c)["constants"] for p in (paths.blocks, paths.tasks))
    if cut != sampled:
        raise InputError(f"{shown(paths.blocks)}: expected the constants of {shown(paths.tasks)}, {sampled}, "
                         f"found {cut}; run scene_sampling.py and meta_learner.py again")
    raster, labels = read_composite(paths.composite), read_band(paths.blocks)
    check_reach(c.BLEND, labels, raster.geotransform)
    encoder = Encoder.from_json(str(model["encoder"]))
    use_one_thread()

    states = unflat(model)
    pooled = [model[f"pooled_{i}"] for i in range(len(states[0]["weights"]))]
    centres = np.column_stack([samples["centre_row"], samples["centre_col"]])
    rng = np.random.default_rng(c.SEED)
    known = known_samples(samples["block"], c.ADAPT_WITH == "half", c.MIN_SAMPLES, rng)
    places = places_of_blocks(labels, centres, raster.geotransform)
    networks, states, support = models_of_blocks(states, pooled, encoder.transform(samples["factors"]), samples, known,
                                                 places, SimpleNamespace(**trained), rng)
    boosting = None
    if trained["BOOSTING"]:
        boosting = Boosting(*(samples[name] for name in ("factors", "xy", "block", "label")), known, len(centres),
                            c.SEED, samples["weight"])
    print(f"{len(states)} blocks: {(states == _ADAPTED).sum()} adapted ({(support[:, 0] == 0).sum()} of them on "
          f"samples of others alone), {(states == _NO_SAMPLES).sum()} without samples and "
          f"{(states == _ONE_CLASS).sum()} with one class only keep the intermediate model")

    made = (_STAGE, c, [paths.model, paths.tasks, paths.blocks])
    with whole(paths.map_table) if source == paths.grid else contextlib.nullcontext() as temporary:
        susceptibility, counts, unseen = predict_grid(paths, c, networks, states, boosting, encoder, labels, centres,
                                                      raster, temporary)
    names = [f"{kind}{layer}" for layer in range(1, len(networks) // 2 + 1) for kind in "wb"]
    write_npz(paths.models, dict(zip(names, networks, strict=True)) | {
        "state": states.astype(np.int8), "support": support.astype(np.int32), "encoder": model["encoder"],
        "boosted": known if boosting else known[:0]}, *made)
    made = (_STAGE, c, [paths.models, paths.blocks, source])
    if source == paths.grid:
        write_record(paths.map_table, *made)
    write_band(paths.map_raster, susceptibility, raster, NODATA, "landslide probability", *made)

    print(f"{counts.sum():,} cells predicted: {counts[0]:,} by adapted blocks, {counts[1]:,} by the intermediate "
          f"model, {counts[2:].sum():,} outside every block by the nearest one")
    for name, n in unseen.items():
        print(f"{n:,} cells hold a class of {name} that no sample has")
    for path in (paths.models, paths.map_raster, *[paths.map_table] * (source == paths.grid)):
        print(f"wrote {shown(path)}")


if __name__ == "__main__":
    run(main, Constants)
