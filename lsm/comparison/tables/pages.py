"""The tables of the comparison as Markdown and as text."""

import re

import numpy as np
import pandas as pd
from tabulate import tabulate

from lsm.comparison import measures
from lsm.comparison.protocols import number_of
from lsm.run.paths import Paths
from lsm.run.settings import counted

OURS = "ours"
SUBSETS = {"all": ("inventory", "insar", "absence"), "inventory": ("inventory", "absence"),
           "insar": ("insar", "absence")}
PLAIN = "without telling numbers"  # where some points hold a number that one class alone has
QUARTERS = ("nearest quarter", "second quarter", "third quarter", "farthest quarter")
LISTED = ("accuracy", "precision", "recall", "f1", "kappa", "mcc", "auroc", "pr_auc", "brier", "ece", "log_loss",
          "top_tenth")
BEHIND = 4  # methods ahead of ours that are named
FIRST = ("auroc", "brier", "kappa")  # of the table that comes first


def results(paths: Paths, made_by: str) -> str:
    """The tables of docs/tables/ as Markdown: every protocol, subsets, differences, k-shot. made_by: the command."""
    table = pd.read_csv(paths.method_metrics, dtype={"k": str})
    gains, own = pd.read_csv(paths.method_differences), pd.read_csv(paths.intervals)
    out = [f"Made by `{made_by}`. Mean, with the standard deviation over repeats or folds in brackets.",
           "### AUROC / Brier score / kappa of each method, all factors\n\n95 % intervals of a bootstrap over blocks "
           "or squares, drawn alike for all methods.\n\n" + by_area(dict(list(own[own.with_dv.astype(bool)].groupby(
               "protocol", sort=False)))),
           "### Ours and the strongest rival of each protocol (by kappa)\n\n" + _markdown(_strongest(table))]
    for (protocol, with_dv), part in table[table.protocol != "k-shot"].groupby(["protocol", "with_dv"], sort=False):
        of_all = part[part.subset == "all"]
        seeds, n = of_all.seeds.max(), of_all[of_all.measure == "kappa"].n.max()
        out.append(f"### {protocol}, {'all factors' if with_dv else 'without the left-out factor'}\n\n"
                   f"{counted(seeds, number_of(protocol))}, {n:,} scored points in all.\n\n"
                   + _methods_by_measures(of_all))
        gain = gains[(gains.protocol == protocol) & (gains.with_dv == with_dv)]
        if len(gain):
            cells = gain.assign(text=[f"{d:+.4f} [{low:+.4f}, {high:+.4f}]" for d, low, high in
                                      zip(gain.difference, gain.low, gain.high, strict=True)])
            wide = _wide(cells, "rival", "measure", "text")[["kappa", "auroc", "brier"]]
            out.append("Ours less each other method, 95 % interval of a paired bootstrap over blocks or squares "
                       "(Brier: below 0 is better):\n\n" + _markdown(wide))
        for name in ("kappa", "auroc"):
            wide = _wide(part[part.measure == name], "method", "subset")
            wide = wide[[subset for subset in (*SUBSETS, PLAIN, *QUARTERS) if subset in wide]]
            out.append(f"{name} by subset of the scored points (quarters by distance to the nearest labelled "
                       "point):\n\n" + _markdown(wide))
    shots = table[(table.protocol == "k-shot") & (table.subset == "all") & (table.measure == "accuracy")]
    if len(shots):
        out.append("### k-shot\n\nAccuracy of ours with k samples of a held-out block (or a share "
                   "of it), by adaptation steps.\n\n" + _markdown(_wide(shots.astype({"steps": int}), "k", "steps")))
    return "\n\n".join(out) + "\n"


def _wide(table: pd.DataFrame, index: str, columns: str, values: str = "mean") -> pd.DataFrame:
    """A row for each value of the column `index`, in the order of the table."""
    return table.pivot(index=index, columns=columns, values=values).reindex(dict.fromkeys(table[index]))


def by_area(tables: dict[str, pd.DataFrame]) -> str:
    """One table as Markdown: a row a method, a column for each table of intervals, by its name; in a cell the measures
    of FIRST, each with its interval."""
    columns = {}
    for name, table in tables.items():
        wide = table.set_index(["method", "measure"])
        columns[name] = {method: " / ".join(_with_interval(wide.loc[(method, m)]) for m in FIRST)
                         for method in dict.fromkeys(table.method)}
    return _markdown(pd.DataFrame(columns).fillna(""))


def _with_interval(row: pd.Series) -> str:
    value, low, high = (f"{row[name]:.3f}".replace("0.", ".") for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _strongest(table: pd.DataFrame) -> pd.DataFrame:
    """Ours beside the rival of highest kappa: a row for each protocol and set of factors."""
    rows = []
    for (protocol, with_dv), part in table[(table.subset == "all") & (table.protocol != "k-shot")].groupby(
            ["protocol", "with_dv"], sort=False):
        wide = part.pivot(index="method", columns="measure", values="mean")
        rivals = wide[[not name.startswith(OURS) for name in wide.index]]
        if OURS in wide.index and len(rivals):
            best = rivals.kappa.idxmax()
            rows.append({"protocol": protocol, "factors": "all" if with_dv else "one left out"}
                        | {f"ours: {m}": wide.loc[OURS, m] for m in ("kappa", "auroc", "brier")}
                        | {"strongest rival": best}
                        | {f"its {m}": wide.loc[best, m] for m in ("kappa", "auroc", "brier")})
    return pd.DataFrame(rows).set_index("protocol") if rows else pd.DataFrame()


def _mean_and_sd(part: pd.DataFrame, wanted: tuple[str, ...]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Methods by the wanted measures, as far as they are there: as text, "mean (sd)", and the means."""
    mean, sd = (_wide(part, "method", "measure", values) for values in ("mean", "sd"))
    mean = mean[[m for m in wanted if m in mean]]
    return mean.map("{:.3f}".format) + sd[mean.columns].map(lambda v: "" if np.isnan(v) else f" ({v:.3f})"), mean


def _methods_by_measures(part: pd.DataFrame) -> str:
    """Methods by LISTED measures as Markdown, the best of each column bold."""
    text, mean = _mean_and_sd(part, LISTED)
    for m in text:
        best = mean[m].idxmin() if m in measures.LOWER_IS_BETTER else mean[m].idxmax()
        text.loc[best, m] = f"**{text.loc[best, m]}**"
    return _markdown(text)


def _markdown(table: pd.DataFrame) -> str:
    text = tabulate(table, headers="keys", tablefmt="pipe", floatfmt=".3f")
    return re.sub(r"[ ]{2,}|-{4,}", lambda run: run[0][:3].strip() or " ", text)  # no padding: hundreds of lines


def standings(gains: pd.DataFrame) -> dict[str, str]:
    """By protocol, in words: how many rivals ours is ahead of, level with and behind, with all factors.

    gains  the table of differences that `score_tables.write_tables` writes. Ahead or behind: the 95 % interval of the
           difference excludes 0
    """
    out, rivals = {}, gains.with_dv.astype(bool) & ~gains.rival.str.startswith(OURS)
    for protocol, part in gains[rivals].dropna(subset=["low", "high"]).groupby("protocol", sort=False):
        words = []
        for measure, name in (("auroc", "AUROC"), ("brier", "Brier score")):
            rows = part[part.measure == measure]
            if not len(rows):
                continue
            better, worse = (rows.high, rows.low) if measure in measures.LOWER_IS_BETTER else (-rows.low, -rows.high)
            behind = rows.rival[worse > 0]
            counts = {"ahead of": (better < 0).sum(), "level with": ((better >= 0) & (worse <= 0)).sum(),
                      "behind": len(behind)}
            words.append(f"{name}: " + ", ".join(f"{how} {n}" for how, n in counts.items() if n)
                         + f" ({'; '.join(behind[:BEHIND])}{'; ...' * (len(behind) > BEHIND)})" * (len(behind) > 0))
        others = counted(part.rival.nunique(), "other method")
        if words:
            out[protocol] = f"ours against {others}, by 95 % intervals of the differences. {'. '.join(words)}"
    return out


def measures_in_words(paths: Paths) -> str:
    """The measures that matter most as text, for all factors and all points: a table for each protocol, and how ours
    stands among the methods."""
    table = pd.read_csv(paths.method_metrics, dtype={"k": str})
    standing = standings(pd.read_csv(paths.method_differences))
    table = table[(table.subset == "all") & table.with_dv & (table.protocol != "k-shot")]
    wanted = ("accuracy", "kappa", "auroc", "brier", "ece", "top_tenth")
    tables = []
    for protocol, part in table.groupby("protocol", sort=False):
        heading = f"{protocol}: mean (sd) of {counted(part.seeds.max(), number_of(protocol))}"
        tables.append("\n".join(filter(None, (heading, _mean_and_sd(part, wanted)[0].to_string(),
                                              standing.get(protocol)))))
    key = ("\ntop_tenth: share of the scored landslides in the tenth of the area ranked highest; brier, ece: smaller "
           "is better")
    return "\n\n".join(tables) + key * bool(tables)
