"""Stage 6: which factor leads, block by block: SHAP values and permutation importance of the model that maps a block.

That model is the block's adapted networks and, with them, its half of the boosting, as stage 4 averages them. All
speaks of log-odds of landslide, never of its opposite: log-odds add up over the factors, as SHAP values do, while
probabilities flatten near 0 and 1, where a block's model is surest, and take every factor's part with them. A factor
is one player: whole factor values are exchanged before the encoder, so no one-hot, sine or flag column is exchanged
alone. The trees of the boosting are explained by the shap library's tree explainer, exactly; the networks by its
permutation explainer, which at the same time a sample came nearer to the exact values than its kernel explainer, which
the paper used and which by default keeps only ten factors. X and Y, of which the trees make use, are no factors: their
part is counted apart and leads no block. Permutation importance is the rise of the log loss over a block's samples
when one factor's values are shuffled among them: defined in a block of one class too, and not at its ceiling where a
model sorts its samples without a fault, as AUROC is. These samples are those the model was fitted to: both measures
tell what the model uses, not how well it does.

Reads   models_of_blocks/<REGION>_models.npz         the adapted models, their state and the encoder
        metatask_sampling/<REGION>_tasks.npz         samples by block
        metatask_sampling/<REGION>_blocks.tif, .csv  the block of every cell; cells of every block
        src_data/<REGION>/composite.tif              for the grid of the raster
Writes  tmp/<REGION>_importance.csv             block, factor, mean_abs_shap (log-odds), sign (1: larger values raise
                                                the susceptibility, -1: lower it, 0: neither, empty: no order or one
                                                value only), permutation (rise of the log loss), sd (over repeats),
                                                rank by mean_abs_shap, explained (samples), state of the block (0
                                                adapted; 1 no samples, nothing to explain; 2 one class only: what is
                                                explained is the intermediate model)
        tmp/<REGION>_importance_territory.csv   factor, rank, and of the adapted blocks: mean_abs_shap and permutation,
                                                weighted by area; blocks led, their share of the area, shares of blocks
                                                with sign 1 and -1
        tmp/<REGION>_shap.npz                   of every explained sample: block, row (of tasks.npz), factors, shap
                                                (samples, factors), place (of X and Y together), log_odds; of every
                                                block: base (log-odds), agreement of both measures (rank correlation),
                                                state; factor_names
        figs/<REGION>_leading_factor.tif        1 + number of the leading factor, byte, named and coloured; 0 elsewhere
                                                and in blocks without an adapted model
Run     python feature_permutation.py [EXPLAINED=50 ...]
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from lsm.explanation.block_models import BlockModel, permutation
from lsm.explanation.boosted_trees import Forest
from lsm.inputs.rasters import read_band, read_composite, write_classes
from lsm.inputs.samples import Factor
from lsm.learner.boosting import Boosting
from lsm.learner.encoder import Encoder
from lsm.run.artifacts import check, read_csv, read_npz, write_csv, write_npz
from lsm.run.jobs import side_by_side
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError, run
from study_area import StudyArea


# ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Constants(StudyArea):
    """What a person may set, here or for one run as NAME=value."""

    MODEL: str = "map"              # "map": what maps a block; "networks": its networks alone, all that the paper has
    BACKGROUND: int = 100           # samples whose values stand in for an absent factor, at most; published 100
    BACKGROUND_FROM: str = "block"  # "block": what sets a place apart from its block; "region": from the region, where
                                    #   a block's model also answers for places unlike any it adapted to; not published
    EXPLAINED: int = 100            # samples explained in a block, at most; not published
    ORDERS: int = 5                 # orders of the factors, each run forwards and backwards: 145 model values a sample
                                    #   and background row; published 100, of KernelSHAP
    REPEATS: int = 10               # shuffles of each factor for the permutation importance; not published
    TOLERANCE: float = 1e-4         # SHAP values and base must add up to the log-odds to this share of 1 + |log-odds|
    DIRECTION: float = 0.3          # rank correlation of a factor's values with its SHAP values from which it has a
                                    #   sign
    WORKERS: int = 0                # processes; 0: as many as cores
    #  of the factors, in their order, then again: the eight of Okabe and Ito, and eight more
    COLOURS: tuple[str, ...] = (
        "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#000000",
        "#8c8c8c", "#8c564b", "#c7dbf5", "#6a3d9a", "#b2b200", "#b2001d", "#7fc97f", "#ffb3b3")
# ----------------------------------------------------------------------------------------------------------------

_STAGE = "feature_permutation.py"
_ADAPTED, _NO_SAMPLES = 0, 1  # as predict_LSM.py writes them


def check_sums(values: np.ndarray, base: float, log_odds: np.ndarray, tolerance: float, block: int, models) -> None:
    """Refuses SHAP values (samples, factors) that do not add up to what they explain. Raises InputError."""
    gap = np.abs(base + values.sum(axis=1) - log_odds) / (1 + np.abs(log_odds))
    if not gap.max() <= tolerance:  # nan is refused too
        raise InputError(f"{shown(models)}: block {block}: expected SHAP values that add up to the log-odds within "
                         f"{tolerance:g} of them, found {gap.max():.2g}; are the weights finite? run predict_LSM.py "
                         "again, or raise TOLERANCE")


def sign(value: np.ndarray, shap_value: np.ndarray, factor: Factor, least: float) -> float:
    """1 where larger values of a factor (samples,) go with larger SHAP values, -1 the other way, 0 where neither
    clearly, nan for a factor without order or with one value."""
    if factor.zero_is_missing:
        value, shap_value = value[value != 0], shap_value[value != 0]
    if factor.kind in ("categorical", "circular") or not len(value) or not np.ptp(value) or not np.ptp(shap_value):
        return np.nan
    correlation = spearmanr(value, shap_value).statistic
    return float(np.sign(correlation)) if abs(correlation) >= least else 0.0


def explain_block(block: int) -> tuple:
    """One block, of what start_worker holds: its table, one row a factor; which of its samples (rows of the tasks) are
    explained, their SHAP values (explained, factors), those of X and Y together (explained,), their log-odds
    (explained,), and the base."""
    models, samples, encoder, boosting, forest, c = _HELD
    layers = sum(name[0] == "w" and name[1:].isdigit() for name in models)
    weights = [models[f"{kind}{i}"][:, block] for i in range(1, layers + 1) for kind in "wb"]  # (members, ...)
    model = BlockModel(block, weights, encoder, boosting, forest)
    rng = np.random.default_rng([c.SEED, block])
    own = np.arange(*np.searchsorted(samples["block"], [block, block + 1]))
    chosen = np.sort(rng.permutation(own)[:c.EXPLAINED])
    stand_in = rng.permutation(own if c.BACKGROUND_FROM == "block" else len(samples["block"]))[:c.BACKGROUND]
    x, xy = samples["factors"], samples["xy"]
    # On slices this small threads wait for each other longer than they work.
    with threadpool_limits(1):
        values = model.shap_values(x[chosen], xy[chosen], x[stand_in], xy[stand_in], c.ORDERS, int(rng.integers(2**31)))
        found, base = model.log_odds(x[chosen], xy[chosen]), float(model.log_odds(x[stand_in], xy[stand_in]).mean())
        mean, sd = permutation(model.log_odds, x[own], xy[own], samples["label"][own], c.REPEATS, rng)
    check_sums(values, base, found, c.TOLERANCE, block, Paths(c.REGION).models)
    values, place = values[:, :-2], values[:, -2:].sum(axis=1)
    size = np.abs(values).mean(axis=0)
    table = pd.DataFrame({
        "factor": [factor.name for factor in encoder.factors], "mean_abs_shap": size,
        "sign": [sign(x[chosen, j], values[:, j], factor, c.DIRECTION) for j, factor in enumerate(encoder.factors)],
        "permutation": mean, "sd": sd, "rank": 1 + np.argsort(np.argsort(-size, kind="stable"))})
    return table.assign(block=block, explained=len(chosen)), chosen, values, place, found, base


def start_worker(models: dict, samples: dict, boosting: Boosting | None, c) -> None:
    """What every process holds."""
    global _HELD
    forest = Forest(boosting) if boosting else None
    _HELD = models, samples, Encoder.from_json(str(models["encoder"])), boosting, forest, c


def territory(table: pd.DataFrame, cells: np.ndarray) -> pd.DataFrame:
    """The ranking of the factors over the adapted blocks, the leader first; table as it is written, cells (blocks,)."""
    table = table[table["state"] == _ADAPTED].assign(area=lambda t: cells[t["block"]])
    rows = []
    for factor, of in table.groupby("factor", sort=False):
        led, known = of["rank"] == 1, of["sign"].dropna().astype(float)
        rows.append({"factor": factor, "mean_abs_shap": np.average(of["mean_abs_shap"], weights=of["area"]),
                     "permutation": np.average(of["permutation"], weights=of["area"]), "blocks_led": led.sum(),
                     "area_led": of["area"][led].sum() / of["area"].sum(),
                     "raises": (known == 1).mean(), "lowers": (known == -1).mean()})
    ranking = pd.DataFrame(rows).sort_values("mean_abs_shap", ascending=False, kind="stable", ignore_index=True)
    ranking.insert(1, "rank", ranking.index + 1)
    return ranking


def report(ranking: pd.DataFrame, agreement: np.ndarray, state: np.ndarray) -> str:
    """The territory's ranking and the agreement of both measures, for the terminal. agreement, state (blocks,)."""
    def share(v):
        return f"{'-':>9}" if np.isnan(v) else f"{v:9.1%}"

    adapted = state == _ADAPTED
    lines = [f"{'':16}{'mean |SHAP|':>12}{'permutation':>13}{'leads':>14}{'of area':>9}{'raises':>9}{'lowers':>9}"]
    lines += [f"{r.rank:2d} {r.factor:13}{r.mean_abs_shap:12.3f}{r.permutation:13.4f}{r.blocks_led:7d} blocks"
              f"{r.area_led:9.1%}{share(r.raises)}{share(r.lowers)}" for r in ranking.itertuples()]
    low, middle, high = np.nanquantile(agreement[adapted], (0.25, 0.5, 0.75))
    return "\n".join([*lines, f"mean |SHAP| in log-odds, permutation in log loss, both weighted by area over "
                      f"{adapted.sum()} adapted blocks; raises, lowers: share of blocks where larger values do",
                      f"rank correlation of both in a block: median {middle:.2f}, half of the blocks {low:.2f} .. "
                      f"{high:.2f}"])


def checked(c) -> None:
    """Refuses constants that cannot be used. Raises InputError."""
    for name, known in (("BACKGROUND_FROM", ("block", "region")), ("MODEL", ("map", "networks"))):
        if getattr(c, name) not in known:
            raise InputError(f"{name}={getattr(c, name)}: expected {' or '.join(known)}")
    for name in ("BACKGROUND", "EXPLAINED", "ORDERS", "REPEATS"):
        if getattr(c, name) < 1:
            raise InputError(f"{name}={getattr(c, name)}: expected 1 or more")


def main(c) -> None:
    """Runs the stage; c holds the constants."""
    checked(c)
    paths = Paths(c.REGION)
    models = read_npz(paths.models, "predict_LSM.py", c)
    samples = read_npz(paths.tasks, "scene_sampling.py", c)
    cells = read_csv(paths.blocks_table, "scene_sampling.py", c)["cells"].to_numpy()
    check(paths.blocks, "scene_sampling.py", c)
    composite, labels = read_composite(paths.composite), read_band(paths.blocks)
    encoder, state = Encoder.from_json(str(models["encoder"])), models["state"]
    names = [factor.name for factor in encoder.factors]
    if not (state == _ADAPTED).any():
        raise InputError(f"{shown(paths.models)}: expected adapted models, found none; see what predict_LSM.py says")

    boosting = None
    if c.MODEL == "map" and (boosting := Boosting.of_map(models, samples, c.SEED)) is None:
        print("the map has no boosting: what is explained are the networks alone")
    tables, explained = [], {key: [] for key in ("row", "shap", "place", "log_odds")}
    base, agreement = np.full(len(state), np.nan), np.full(len(state), np.nan)
    sampled = np.flatnonzero(state != _NO_SAMPLES)
    results = side_by_side(sampled.tolist(), explain_block, c.WORKERS, start_worker, (models, samples, boosting, c))
    for block, (table, *found, base[block]) in zip(sampled, tqdm(results, "blocks", len(sampled), unit="block",
                                                                 disable=None), strict=True):
        if np.ptp(table["mean_abs_shap"]) and np.ptp(table["permutation"]):
            agreement[block] = spearmanr(table["mean_abs_shap"], table["permutation"]).statistic
        tables.append(table)
        for parts, values in zip(explained.values(), found, strict=True):
            parts.append(values)
    tables += [pd.DataFrame({"factor": names}).assign(block=b, explained=0) for b in np.flatnonzero(
        state == _NO_SAMPLES)]
    table = pd.concat(tables).sort_values("block", kind="stable", ignore_index=True)
    table = table.assign(state=lambda t: state[t["block"]]).astype({"rank": "Int64", "sign": "Int64"})
    table = table[["block", "factor", "mean_abs_shap", "sign", "permutation", "sd", "rank", "explained", "state"]]
    ranking = territory(table, cells)
    leads = table[(table["rank"] == 1) & (table["state"] == _ADAPTED)]
    leader = np.zeros(len(state) + 1, np.uint8)  # the last entry is what block -1 becomes
    leader[leads["block"]] = 1 + leads["factor"].map(names.index)

    arrays = {key: np.concatenate(parts) for key, parts in explained.items()}
    arrays |= {"block": samples["block"][arrays["row"]], "factors": samples["factors"][arrays["row"]]}
    kinds = {"block": np.int32, "row": np.int32, "factors": np.float32, "shap": np.float32, "place": np.float32,
             "log_odds": np.float32}
    made = (_STAGE, c, [paths.models, paths.tasks, paths.blocks, paths.blocks_table])
    write_npz(paths.shap_values, {key: arrays[key].astype(kind) for key, kind in kinds.items()} | {
        "base": base, "agreement": agreement, "state": state, "factor_names": np.array(names)}, *made)
    colours = [c.COLOURS[i % len(c.COLOURS)] for i in range(len(names))]
    write_classes(paths.leading_factor, leader[labels], composite, "leading factor", ["no adapted model", *names],
                  colours, *made)
    write_csv(paths.importance_territory, ranking, *made)
    write_csv(paths.importance, table, *made)
    print(f"{len(arrays['row'])} samples of {(state != _NO_SAMPLES).sum()} blocks explained, "
          f"{(state != _ADAPTED).sum()} of {len(state)} blocks without an adapted model")
    print(report(ranking, agreement, state))
    if boosting:
        print(f"X and Y together, beside the factors: mean |SHAP| {np.abs(arrays['place']).mean():.3f}")
    for path in (paths.importance, paths.importance_territory, paths.shap_values, paths.leading_factor):
        print(f"wrote {shown(path)}")


if __name__ == "__main__":
    run(main, Constants)
