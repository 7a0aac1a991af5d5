"""Stage 6: which factor leads, block by block: SHAP values and permutation importance of the model that maps a block.

The model of a block is the mean of its adapted networks in log-odds, as in stage 4. All numbers are in log-odds of
landslide. Log-odds add up over the factors, as SHAP values do; probabilities flatten near 0 and 1, where a block's
model is surest.

A factor is one player: its whole value is exchanged, never a one-hot, sine or flag column alone. Orders of the players
are drawn at random, as by the permutation explainer of the shap library. In the same time it came closer to the exact
values than the kernel explainer, which the paper used and which by default keeps only ten factors. Here every row of
the background has an order of its own, which came still closer. Regional members also know X and Y. These are no
factors: their part is counted apart, and they lead no block.

Permutation importance is the rise of the log loss over a block's samples when the values of one factor are shuffled
among these samples. Unlike a fall of the AUROC, it is defined in a block of one class, and it still differs between
factors where a model ranks all its samples correctly. The model was fitted to these same samples: both measures tell
what the model uses, not how good it is.

Reads   models_of_blocks/<REGION>_models.npz         the adapted models, their state and the encoder
        metatask_sampling/<REGION>_tasks.npz         samples by block
        metatask_sampling/<REGION>_blocks.tif, .csv  the block of every cell; cells of every block
        src_data/<REGION>/composite.tif              the grid of the raster
Writes  tmp/<REGION>_importance.csv             block, factor, mean_abs_shap (log-odds), sign (1: larger values raise
                                                the susceptibility, -1: they lower it, 0: neither, empty: the factor has
                                                no order or one value), permutation (rise of the log loss), sd (over
                                                repeats), rank by mean_abs_shap, explained (samples), state of the block
                                                (as in models_of_blocks/<REGION>_models.npz; a block without samples has
                                                nothing to explain)
        tmp/<REGION>_importance_territory.csv   factor, rank, and over the blocks that have a model of their own or the
                                                model of a forecast: mean_abs_shap and permutation weighted by area,
                                                blocks led, their share of the area, shares of blocks with sign 1 and -1
        tmp/<REGION>_shap.npz                   for every explained sample: block, row (in tasks.npz), factors, shap
                                                (samples, factors), place (part of X and Y together), log_odds; for
                                                every block: base (log-odds), agreement of both measures (rank
                                                correlation), state; factor_names
        figs/<REGION>_leading_factor.tif        1 + number of the leading factor, byte, with names and colours; 0
                                                elsewhere and in blocks of no or one class of samples
Run     python feature_permutation.py [EXPLAINED=50 ...]
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from threadpoolctl import threadpool_limits

from lsm.explanation import ranking
from lsm.explanation.block_models import permutation, players_of, shap_values
from lsm.inputs.rasters import WINDOW, Grid, open_raster
from lsm.learner.encoder import Encoder
from lsm.learner.prediction import mean_log_odds, networks_of_arrays
from lsm.maps import gis
from lsm.run.artifacts import check, map_npz, mapped, read_csv, read_npz, write_csv, write_npz
from lsm.run.jobs import cluster_of, side_by_side
from lsm.run.paths import Paths, shown
from lsm.run.progress import Progress
from lsm.run.settings import InputError, at_least, counted, run
from study_area import Spread, StudyArea


# ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Constants(Spread, StudyArea):
    """What a person may set, here or for one run as NAME=value."""

    BACKGROUND: int = 100           # samples whose values replace an absent factor, at most; published 100
    BACKGROUND_FROM: str = "block"  # "block": compares a place with its block; "region": with the region, where a
                                    #   block's model also sees places unlike those it adapted to; not published
    EXPLAINED: int = 100            # samples explained in a block, at most; not published
    ORDERS: int = 50                # orders of the factors for each member, at least, each taken forwards and
                                    #   backwards; published 100, for KernelSHAP
    REPEATS: int = 10               # shuffles of each factor for the permutation importance; not published
    TOLERANCE: float = 1e-4         # largest gap between SHAP values and log-odds, as a share of 1 + |log-odds|
    DIRECTION: float = 0.3          # least rank correlation of values and SHAP values for which a factor has a sign
    WORKERS: int = 0                # processes; 0: as many as cores
    # of the factors on the map, in their order: the eight colours of Okabe and Ito, then eight more
    COLOURS: tuple[str, ...] = (
        "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#000000",
        "#8c8c8c", "#8c564b", "#c7dbf5", "#6a3d9a", "#b2b200", "#b2001d", "#7fc97f", "#ffb3b3")
# ----------------------------------------------------------------------------------------------------------------

_STAGE = "feature_permutation.py"


def explain_block(block: int) -> tuple:
    """Explains one block with what start_explaining has given to the process.

    Returns the table of the block, a row a factor; rows (explained,) of the explained samples in tasks.npz; their SHAP
    values (explained, factors), the part of X and Y together (explained,), their log-odds (explained,); and the base.
    """
    networks, samples, encoder, c = _HELD
    networks = {kind: [w[:, block] for w in weights] for kind, weights in networks.items()}
    rng = np.random.default_rng([c.SEED, block])
    own = np.arange(*np.searchsorted(samples["block"], [block, block + 1]))
    chosen = np.sort(rng.permutation(own)[:c.EXPLAINED])
    stand_in = rng.permutation(own if c.BACKGROUND_FROM == "block" else len(samples["block"]))[:c.BACKGROUND]
    player = players_of(encoder)
    x, background, every = (encoder.transform(samples["factors"][rows], samples["xy"][rows])
                            for rows in (chosen, stand_in, own))
    # On so little data threads wait for each other longer than they work.
    with threadpool_limits(1):
        values = shap_values(networks, x, background, player, c.ORDERS, rng)
        found, base = mean_log_odds(networks, x), float(mean_log_odds(networks, background).mean())
        mean, sd = permutation(networks, every, samples["label"][own], player, c.REPEATS, rng)
    ranking.check_sums(values, base, found, c.TOLERANCE, block, Paths(c.REGION).models)
    values, place = values[:, :-1], values[:, -1]
    size = np.abs(values).mean(axis=0)
    table = pd.DataFrame({
        "factor": [factor.name for factor in encoder.factors], "mean_abs_shap": size,
        "sign": [ranking.sign(samples["factors"][chosen, j], values[:, j], factor, c.DIRECTION)
                 for j, factor in enumerate(encoder.factors)],
        "permutation": mean, "sd": sd,
        # one sample is its own background: no factor has a share, and none leads
        "rank": 1 + np.argsort(np.argsort(-size, kind="stable")) if size.any() else np.nan})
    return table.assign(block=block, explained=len(chosen)), chosen, values, place, found, base


def start_explaining(path: Path, samples: dict, c: Constants) -> None:
    """Gives a process what explain_block needs for every block; path: of the models."""
    global _HELD
    models = mapped(path)
    _HELD = networks_of_arrays(models), samples, Encoder.from_json(str(models["encoder"])), c


def check_constants(c: Constants) -> None:
    """Refuses constants that cannot be used. Raises InputError."""
    if c.BACKGROUND_FROM not in ("block", "region"):
        raise InputError(f"BACKGROUND_FROM={c.BACKGROUND_FROM}: expected block or region")
    at_least(c, BACKGROUND=1, EXPLAINED=1, ORDERS=1, REPEATS=1)


def main(c: Constants) -> None:
    """Runs the stage."""
    check_constants(c)
    paths = Paths(c.REGION)
    models = map_npz(paths.models, "predict_LSM.py", c)
    samples = read_npz(paths.tasks, "scene_sampling.py", c)
    cells = read_csv(paths.blocks_table, "scene_sampling.py", c)["cells"].to_numpy()
    check(paths.blocks, "scene_sampling.py", c)
    labels = open_raster(paths.blocks, "run scene_sampling.py again")
    grid, band = Grid.of(labels), labels.GetRasterBand(1)
    encoder, state = Encoder.from_json(str(models["encoder"])), models["state"]
    names = [factor.name for factor in encoder.factors]
    if not np.isin(state, ranking.EXPLAINED).any():
        raise InputError(f"{shown(paths.models)}: expected adapted models, found none; see what predict_LSM.py says")

    tables, parts = [], []
    base, agreement = np.full(len(state), np.nan), np.full(len(state), np.nan)
    own = np.bincount(samples["block"], minlength=len(state)) > 0  # a block may have adapted on borrowed samples alone
    sampled, bare = np.flatnonzero(own), np.flatnonzero(~own)
    with cluster_of(c) as cluster:
        results = side_by_side(sampled.tolist(), explain_block, c.WORKERS, start_explaining,
                               (paths.models, samples, c), cluster)
        bar = Progress(results, "explaining", len(sampled), unit="block")
        for block, (table, *found, base[block]) in zip(sampled, bar, strict=True):
            if np.ptp(table["mean_abs_shap"]) and np.ptp(table["permutation"]):
                agreement[block] = spearmanr(table["mean_abs_shap"], table["permutation"]).statistic
            tables.append(table)
            parts.append(found)
    tables += [pd.DataFrame({"factor": names}).assign(block=b, explained=0) for b in bare]
    table = pd.concat(tables).sort_values("block", kind="stable", ignore_index=True)
    table = table.assign(state=lambda t: state[t["block"]]).astype({"rank": "Int64", "sign": "Int64"})
    table = table[["block", "factor", "mean_abs_shap", "sign", "permutation", "sd", "rank", "explained", "state"]]
    over_territory = ranking.territory(table, cells)
    leads = table[(table["rank"] == 1) & table["state"].isin(ranking.EXPLAINED)]
    leader = np.zeros(len(state) + 1, np.uint8)  # the last entry stands for block -1, no block
    leader[leads["block"]] = 1 + leads["factor"].map(names.index)

    row, shap, place, log_odds = (np.concatenate(part) for part in zip(*parts, strict=True))
    made = (_STAGE, c, [paths.models, paths.tasks, paths.blocks, paths.blocks_table])
    numbers = {"block": samples["block"][row], "row": row}
    values = {"factors": samples["factors"][row], "shap": shap, "place": place, "log_odds": log_odds}
    write_npz(paths.shap_values, {name: v.astype(np.int32) for name, v in numbers.items()}
              | {name: v.astype(np.float32) for name, v in values.items()}
              | {"base": base, "agreement": agreement, "state": state, "factor_names": np.array(names)}, *made)
    colours = [c.COLOURS[i % len(c.COLOURS)] for i in range(len(names))]
    windows = ((top, left, leader[band.ReadAsArray(left, top, cols, rows)])
               for top, left, rows, cols in grid.tiles(WINDOW))
    gis.write_classes(paths.leading_factor, windows, grid, "leading factor", ["none explained", *names], colours, made)
    write_csv(paths.importance_territory, over_territory, *made)
    write_csv(paths.importance, table, *made)
    print(f"explained: {counted(len(row), 'sample')} of {len(sampled)} of {counted(len(state), 'block')}; without "
          f"samples: {len(bare)}; without a model of their own: {(~np.isin(state, ranking.EXPLAINED)).sum()}")
    print(ranking.ranking_as_text(over_territory, agreement, state))
    if place.any():
        print(f"X and Y together, beside the factors: mean |SHAP| {np.abs(place).mean():.3f}")
    for path in (paths.importance, paths.importance_territory, paths.shap_values, paths.leading_factor):
        print(f"wrote {shown(path)}")


if __name__ == "__main__":
    run(main, Constants)
