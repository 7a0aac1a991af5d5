"""Tables of the comparison: from the scores of every method on every split to measures, differences and curves."""

import re

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from tabulate import tabulate
from tqdm import tqdm

from lsm.comparison import measures, splits
from lsm.comparison.points import Points
from lsm.run.artifacts import artifact, write_csv
from lsm.run.jobs import Job
from lsm.run.paths import Paths

OURS = "ours"
SUBSETS = {"all": ("inventory", "insar", "absence"), "inventory": ("inventory", "absence"),
           "insar": ("insar", "absence")}
QUARTERS = ("nearest quarter", "second quarter", "third quarter", "farthest quarter")
LISTED = ("accuracy", "precision", "recall", "f1", "kappa", "mcc", "auroc", "pr_auc", "brier", "ece", "log_loss",
          "top_tenth")
SHARES = np.linspace(0, 1, 101)  # of the area, of the rate curves
TOP = 0.1                        # share of the area whose landslides are counted as a measure
KEYS = ("protocol", "seed", "with_dv", "method", "k", "steps")
COLUMNS = {  # of each table; some protocols have no rows in some tables
    "scores": (*KEYS, "point", "block", "label", "origin", "score"),
    "seeds": (*KEYS, "subset", "measure", "value", "n"),
    "blocks": (*KEYS, "block", "n", "landslides", "kappa", "auroc", "brier", "accuracy"),
    "rates": (*KEYS, "kind", "area", "landslides"),
    "differences": ("protocol", "with_dv", "rival", "measure", "difference", "low", "high")}


def collect(jobs: list[Job]) -> dict[tuple, dict[str, np.ndarray]]:
    """{(protocol, seed, with_dv): {method: scores of the asked points}} of finished jobs, "k-shot" as a protocol of its
    own. Ours is added where all its parts are there."""
    out = {}
    for job in jobs:
        protocol = "k-shot" if job.family == "k-shot" else job.protocol
        with np.load(job.path, allow_pickle=False) as file:
            scores = {name: file[name].astype(float) for name in file.files if name != "made_of"}
        out.setdefault((protocol, job.seed, job.with_dv), {}).update(scores)
    return out


def distance_quarters(xy: np.ndarray, labelled: np.ndarray, query: np.ndarray) -> np.ndarray:
    """The quarter (query points,), 0 nearest, of every query point by its distance to the nearest labelled point."""
    distance, _ = cKDTree(xy[labelled]).query(xy[query])
    return np.searchsorted(np.quantile(distance, [0.25, 0.5, 0.75]), distance)


def measure(results: dict, points: Points, roles: dict) -> dict[str, pd.DataFrame]:
    """The tables of COLUMNS without the differences; results as of `collect`, roles as of `points.all_splits`.

    scores has a row for each query point and method, seeds for each seed, subset and measure.
    """
    scores, seeds, blocks, rates = [], [], [], []
    for (protocol, seed, with_dv), methods in tqdm(results.items(), desc="measures", unit="split", disable=None):
        key = {"protocol": protocol, "seed": seed, "with_dv": with_dv}
        role = roles["published" if protocol == "k-shot" else protocol, seed]
        scored = (splits.QUERY,) if protocol == "k-shot" else (splits.QUERY, splits.SUPPORT)
        asked = np.flatnonzero(np.isin(role, scored))
        cell = points.label[asked] < 0
        query, support = (role[asked] == splits.QUERY) & ~cell, role[asked] == splits.SUPPORT
        at = asked[query]
        label, block, origin = points.label[at], points.block[at], points.origin[at]
        labelled = np.isin(role, (splits.TRAIN, splits.SUPPORT))
        quarter = distance_quarters(points.xy, labelled, at)
        subsets = {name: np.isin(origin, kept) for name, kept in SUBSETS.items()}
        if protocol != "k-shot":
            subsets |= {name: quarter == i for i, name in enumerate(QUARTERS)}
        for method, values in methods.items():
            row = key | _method(protocol, method)
            p = values[query]
            for subset, chosen in subsets.items():
                if 0 < label[chosen].mean() < 1:
                    found = measures.scores(label[chosen], p[chosen])
                    seeds += [row | {"subset": subset, "measure": m, "value": v, "n": int(chosen.sum())}
                              for m, v in found.items()]
            if protocol != "k-shot":
                scores.append(pd.DataFrame(row | {"point": points.sample[at], "block": block, "label": label,
                                                  "origin": origin, "score": p.astype(np.float32)}))
                if cell.any():
                    rates += _rates(row, values, cell, {"success": support & (points.label[asked] == 1),
                                                        "prediction": query & (points.label[asked] == 1)}, seeds)
            if not protocol.startswith("blocked"):
                for b in np.unique(block):
                    own = block == b
                    found = measures.weighted(label[own], p[own], np.ones((1, own.sum())))
                    blocks.append(row | {"block": b, "n": int(own.sum()), "landslides": int(label[own].sum())}
                                  | {m: float(v[0]) for m, v in found.items()})
    rows = {"seeds": seeds, "blocks": blocks, "rates": rates}
    return ({"scores": pd.concat(scores) if scores else pd.DataFrame(columns=COLUMNS["scores"])}
            | {name: pd.DataFrame(part, columns=COLUMNS[name]) for name, part in rows.items()})


def _method(protocol: str, method: str) -> dict:
    """The columns method, k and steps; methods of k-shot are named "k|steps"."""
    if protocol != "k-shot":
        return {"method": method, "k": "", "steps": ""}
    k, steps = method.split("|")
    return {"method": OURS, "k": k, "steps": int(steps)}


def _rates(row: dict, values, cell, landslides: dict, seeds: list) -> list[dict]:
    """Rows of the rate curves of one method on one split. Adds to `seeds` the share of landslides on the most
    susceptible tenth of the area."""
    out = []
    for kind, chosen in landslides.items():
        if chosen.any():
            curve = measures.rate_curve(values[chosen], values[cell], SHARES)
            out += [row | {"kind": kind, "area": a, "landslides": v} for a, v in zip(SHARES, curve, strict=True)]
            if kind == "prediction":
                top = float(np.interp(TOP, SHARES, curve))
                seeds.append(row | {"subset": "all", "measure": "top_tenth", "value": top, "n": int(chosen.sum())})
    return out


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over the seeds (or folds); n is the sum of their numbers of points."""
    keys = ["protocol", "subset", "with_dv", "k", "steps", "method", "measure"]
    groups = table.groupby(keys, sort=False)
    return groups.agg(mean=("value", "mean"), sd=("value", "std"), n=("n", "sum"),
                      seeds=("seed", "nunique")).reset_index()


def differences(scores: pd.DataFrame, resamples: int, rng: np.random.Generator) -> pd.DataFrame:
    """Ours minus every other method: the difference and its 95 % interval, by resampling blocks
    (`measures.bootstrap`)."""
    rows = []
    for (protocol, with_dv), part in scores.groupby(["protocol", "with_dv"], sort=False):
        names = list(dict.fromkeys(part.method))
        if OURS not in names:
            continue
        seeds = []
        for _, one in part.groupby("seed"):
            first = one[one.method == OURS]
            seeds.append(measures.Scored(first.block.to_numpy(), first.label.to_numpy(), np.stack(
                [one.score[one.method == name].to_numpy(float) for name in names])))
        drawn = measures.bootstrap(seeds, resamples, rng)
        plain = measures.bootstrap(seeds, 0, rng)
        for name, values in drawn.items():
            for j, rival in enumerate(names):
                if rival != OURS:
                    gain, ours = values[:, 0] - values[:, j], plain[name]
                    low, high = np.nanpercentile(gain, [2.5, 97.5])
                    rows.append({"protocol": protocol, "with_dv": with_dv, "rival": rival, "measure": name,
                                 "difference": ours[0, 0] - ours[0, j], "low": low, "high": high})
    return pd.DataFrame(rows, columns=COLUMNS["differences"])


def write_tables(paths: Paths, jobs: list[Job], points: Points, roles: dict, resamples: int, seed: int, made: tuple
                 ) -> list:
    """Computes and writes every table; returns the files.

    resamples  of the bootstrap; made: stage, constants and inputs, for the records
    """
    tables = measure(collect(jobs), points, roles)
    gains = differences(tables["scores"], resamples, np.random.default_rng([seed, 4]))
    out = [(paths.scores, tables["scores"]), (paths.method_metrics, over_seeds(tables["seeds"])),
           (paths.block_metrics, tables["blocks"]), (paths.rates, tables["rates"]), (paths.method_differences, gains)]
    for path, table in out:
        write_csv(path, table, *made)
    with artifact(paths.results, *made) as temporary:
        temporary.write_text(results(paths, f"python {made[0]} REGION={paths.region}"))
    return [*(path for path, _ in out), paths.results]


def results(paths: Paths, made_by: str) -> str:
    """The tables of docs/results.md as Markdown: every protocol, subsets, differences, k-shot. made_by: the command."""
    table = pd.read_csv(paths.method_metrics, dtype={"k": str})
    gains = pd.read_csv(paths.method_differences)
    out = [f"Made by `{made_by}`. Mean, with the standard deviation over repeats in brackets.",
           "### Ours and the strongest rival of each protocol (by kappa)\n\n" + _markdown(_strongest(table))]
    for (protocol, with_dv), part in table[table.protocol != "k-shot"].groupby(["protocol", "with_dv"], sort=False):
        of_all = part[part.subset == "all"]
        seeds, n = of_all.seeds.max(), of_all[of_all.measure == "kappa"].n.max()
        out.append(f"### {protocol}, {'all factors' if with_dv else 'without the left-out factor'}\n\n"
                   f"{seeds} repeats, {n:,} scored points in all.\n\n" + _methods_by_measures(of_all))
        own = gains[(gains.protocol == protocol) & (gains.with_dv == with_dv)]
        if len(own):
            cells = own.assign(text=[f"{d:+.4f} [{low:+.4f}, {high:+.4f}]" for d, low, high in
                                     zip(own.difference, own.low, own.high, strict=True)])
            wide = cells.pivot(index="rival", columns="measure", values="text")
            wide = wide.reindex(dict.fromkeys(own.rival))[["kappa", "auroc", "brier"]]
            out.append("Ours less each other method, 95 % interval of a paired bootstrap over blocks (Brier: below 0 "
                       "is better):\n\n" + _markdown(wide))
        for name in ("kappa", "auroc"):
            wide = part[part.measure == name].pivot(index="method", columns="subset", values="mean")
            wide = wide.reindex(dict.fromkeys(part.method))[[s for s in (*SUBSETS, *QUARTERS) if s in wide]]
            out.append(f"{name} by subset of the scored points (quarters by distance to the nearest labelled "
                       "point):\n\n" + _markdown(wide))
    shots = table[(table.protocol == "k-shot") & (table.subset == "all") & (table.measure == "accuracy")]
    if len(shots):
        wide = shots.pivot(index="k", columns="steps", values="mean").reindex(dict.fromkeys(shots.k))
        out.append("### k-shot\n\nAccuracy of the networks alone with k samples of a held-out block (or a share "
                   "of it), by adaptation steps.\n\n" + _markdown(wide))
    return "\n\n".join(out) + "\n"


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
    """Methods by those of the wanted measures that are there: as text, "mean (sd)", and the means."""
    order = list(dict.fromkeys(part.method))
    mean, sd = (part.pivot(index="method", columns="measure", values=v).reindex(order) for v in ("mean", "sd"))
    mean = mean[[m for m in wanted if m in mean]]
    return mean.map("{:.3f}".format) + " (" + sd[mean.columns].map("{:.3f}".format) + ")", mean


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


def summary(paths: Paths) -> str:
    """The measures that matter most as text, for all factors and all points: a table for each protocol."""
    table = pd.read_csv(paths.method_metrics, dtype={"k": str})
    table = table[(table.subset == "all") & table.with_dv & (table.protocol != "k-shot")]
    wanted = ("accuracy", "kappa", "auroc", "brier", "ece", "top_tenth")
    return "\n\n".join(f"{protocol}: mean (sd) of {part.seeds.max()} repeats\n"
                       f"{_mean_and_sd(part, wanted)[0].to_string()}"
                       for protocol, part in table.groupby("protocol", sort=False))
