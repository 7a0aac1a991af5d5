"""What the SHAP values of all blocks say: the sign of each factor, the ranking over the territory, a table as text."""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from lsm.inputs.factor.definition import Factor
from lsm.learner.support.supports import FORECAST, MOVED
from lsm.run.paths import shown
from lsm.run.settings import InputError, counted

EXPLAINED = (*MOVED, FORECAST)  # states of a block whose model is explained: adapted; kept on purpose

# factors with a direction, what their sign says: larger values raise the susceptibility, or lower it
SIGNED = {"DV": ("motion towards the satellite raises it", "motion away from the satellite raises it")}
NOTE = "; DV: + is towards the satellite"


def check_sums(values: np.ndarray, base: float, log_odds: np.ndarray, tolerance: float, block: int,
               models: Path) -> None:
    """Refuses SHAP values (samples, players) that with `base` do not add up to the log-odds (samples,) of the model.

    tolerance  the largest gap, as a share of 1 + |log-odds|. Raises InputError that names the file `models`.
    """
    gap = np.abs(base + values.sum(axis=1) - log_odds) / (1 + np.abs(log_odds))
    if not gap.max() <= tolerance:  # refuses nan too
        raise InputError(f"{shown(models)}: block {block}: expected SHAP values that add up to the log-odds within "
                         f"{tolerance:g} of them, found {gap.max():.2g}; are the weights finite? run predict_LSM.py "
                         "again, or raise TOLERANCE")


def sign(value: np.ndarray, shap_value: np.ndarray, factor: Factor, least: float) -> float:
    """Whether larger values (samples,) of a factor go with larger SHAP values (samples,): 1 yes, -1 the other way.

    least  rank correlation from which there is a sign; 0 below it. nan for a factor without order or with one value.
    """
    if factor.zero_is_missing:
        value, shap_value = value[value != 0], shap_value[value != 0]
    if factor.kind in ("categorical", "circular") or not len(value) or not np.ptp(value) or not np.ptp(shap_value):
        return np.nan
    correlation = spearmanr(value, shap_value).statistic
    return float(np.sign(correlation)) if abs(correlation) >= least else 0.0


def effect(factor: str, sign: float) -> str:
    """What raises the susceptibility, in words, by the `sign` of a factor; "" where there is none. A velocity has two
    directions: smaller is not slower."""
    raises, lowers = SIGNED.get(factor, ("larger values raise it", "larger values lower it"))
    return {1: raises, -1: lowers}.get(sign, "")


def territory(table: pd.DataFrame, cells: np.ndarray) -> pd.DataFrame:
    """The ranking of the factors over the explained blocks, the first factor on top.

    table  block, factor, mean_abs_shap, permutation, rank, sign, state; cells of each block (blocks,)
    """
    table = table[table["state"].isin(EXPLAINED) & table["rank"].notna()].assign(area=lambda t: cells[t["block"]])
    rows = []
    for factor, of in table.groupby("factor", sort=False):
        led, signs = of["rank"] == 1, of["sign"].dropna().astype(float)
        rows.append({"factor": factor, "mean_abs_shap": np.average(of["mean_abs_shap"], weights=of["area"]),
                     "permutation": np.average(of["permutation"], weights=of["area"]), "blocks_led": led.sum(),
                     "area_led": of["area"][led].sum() / of["area"].sum(),
                     "raises": (signs == 1).mean(), "lowers": (signs == -1).mean()})
    ranking = pd.DataFrame(rows).sort_values("mean_abs_shap", ascending=False, kind="stable", ignore_index=True)
    ranking.insert(1, "rank", ranking.index + 1)
    return ranking


def ranking_as_text(ranking: pd.DataFrame, agreement: np.ndarray, state: np.ndarray) -> str:
    """The ranking of `territory` for the terminal, and how well both measures agree. agreement, state (blocks,)."""
    def share(v):
        return f"{'-':>9}" if np.isnan(v) else f"{v:9.1%}"

    explained = np.isin(state, EXPLAINED)
    lines = [f"{'':16}{'mean |SHAP|':>12}{'permutation':>13}{'leads':>14}{'of area':>9}{'raises':>9}{'lowers':>9}"]
    lines += [f"{r.rank:2d} {r.factor:13}{r.mean_abs_shap:12.3f}{r.permutation:13.4f}"
              f"{counted(r.blocks_led, 'block'):>14}{r.area_led:9.1%}{share(r.raises)}{share(r.lowers)}"
              for r in ranking.itertuples()]
    low, middle, high = np.nanquantile(agreement[explained], (0.25, 0.5, 0.75))
    return "\n".join([*lines, "mean |SHAP| in log-odds, permutation in log loss, both weighted by area over "
                      "the explained blocks; raises, lowers: share of blocks where larger values do so"
                      + NOTE * bool(set(SIGNED) & set(ranking["factor"])),
                      f"rank correlation of |SHAP| and permutation in a block: median {middle:.2f}, half of the blocks "
                      f"{low:.2f} .. {high:.2f}"])
