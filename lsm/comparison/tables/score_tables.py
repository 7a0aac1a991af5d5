"""Tables of the comparison: from the scores of every method on every split to measures, differences and curves."""

import shlex

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from lsm.comparison import measures, splits
from lsm.comparison.fit_jobs import Job
from lsm.comparison.points import Points
from lsm.comparison.protocols import holds_out_blocks
from lsm.comparison.tables.pages import OURS, PLAIN, QUARTERS, SUBSETS, results
from lsm.run.artifacts import artifact, write_csv
from lsm.run.paths import Paths
from lsm.run.progress import Progress

SHARES = np.linspace(0, 1, 101)  # of the area, of the rate curves
TOP = 0.1                        # share of the area whose landslides are counted as a measure
KEYS = ("protocol", "seed", "with_dv", "method", "k", "steps")
COLUMNS = {  # of each table; some protocols have no rows in some tables
    "scores": (*KEYS, "point", "block", "unit", "label", "origin", "score"),
    "seeds": (*KEYS, "subset", "measure", "value", "n"),
    "blocks": (*KEYS, "block", "n", "landslides", "kappa", "auroc", "brier", "accuracy"),
    "rates": (*KEYS, "kind", "area", "landslides"),
    "differences": ("protocol", "with_dv", "rival", "measure", "difference", "low", "high"),
    "intervals": ("protocol", "with_dv", "method", "measure", "value", "low", "high", "units")}


def collect(jobs: list[Job]) -> dict[tuple, dict[str, np.ndarray]]:
    """{(protocol, seed, with_dv): {method: scores of the asked points}} of finished jobs; "k-shot" is a protocol of its
    own."""
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


def measure(results: dict, points: Points, roles: dict, units: dict | None = None) -> dict[str, pd.DataFrame]:
    """The tables of COLUMNS without differences and intervals; results as `collect` returns them, roles as
    `protocols.all_splits` does.

    units  {protocol: (points,)} what the bootstrap draws; None: blocks
    scores has a row for each query point and method, seeds for each seed, subset and measure.
    """
    scores, seeds, blocks, rates = [], [], [], []
    for (protocol, seed, with_dv), methods in Progress(results.items(), desc="measures", unit="split"):
        key = {"protocol": protocol, "seed": seed, "with_dv": with_dv}
        role = roles["published" if protocol == "k-shot" else protocol, seed]
        scored = (splits.QUERY,) if protocol == "k-shot" else (splits.QUERY, splits.SUPPORT)
        asked = np.flatnonzero(np.isin(role, scored))
        cell = points.label[asked] < 0
        query, support = (role[asked] == splits.QUERY) & ~cell, role[asked] == splits.SUPPORT
        at = asked[query]
        label, block, origin = points.label[at], points.block[at], points.origin[at]
        unit = units[protocol][at] if units and protocol in units else block
        labelled = np.isin(role, (splits.TRAIN, splits.SUPPORT))
        quarter = distance_quarters(points.xy, labelled, at)
        subsets = {name: np.isin(origin, kept) for name, kept in SUBSETS.items()}
        if points.telling[at].any():
            subsets[PLAIN] = ~points.telling[at]
        if protocol != "k-shot":
            subsets |= {name: quarter == i for i, name in enumerate(QUARTERS)}
        for method, values in methods.items():
            row = key | _method(protocol, method)
            p = values[query]
            for subset, chosen in subsets.items():
                if 0 < label[chosen].mean() < 1:
                    found = measures.all_measures(label[chosen], p[chosen])
                    seeds += [row | {"subset": subset, "measure": m, "value": v, "n": int(chosen.sum())}
                              for m, v in found.items()]
            if protocol != "k-shot":
                scores.append(pd.DataFrame(row | {"point": points.sample[at], "block": block, "unit": unit,
                                                  "label": label, "origin": origin, "score": p.astype(np.float32)}))
                if cell.any():
                    rates += _rates(row, values, cell, {"success": support & (points.label[asked] == 1),
                                                        "prediction": query & (points.label[asked] == 1)}, seeds)
            if holds_out_blocks(protocol):
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


def resampled(scores: pd.DataFrame, resamples: int, rng: np.random.Generator, by_points: bool = False
              ) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables differences (ours minus every other method) and intervals (every method), with 95 % intervals, by the
    same draws of units (`measures.bootstrap`, also for by_points)."""
    gains, own = [], []
    for (protocol, with_dv), part in scores.groupby(["protocol", "with_dv"], sort=False):
        key, by_seed = {"protocol": protocol, "with_dv": with_dv}, [one for _, one in part.groupby("seed")]
        names = [m for m in dict.fromkeys(part.method) if all((one.method == m).any() for one in by_seed)]
        seeds = []
        for one in by_seed:
            of_method = [one[one.method == name] for name in names]
            seeds.append(measures.Scored(of_method[0].unit.to_numpy(), of_method[0].label.to_numpy(),
                                         np.stack([rows.score.to_numpy(float) for rows in of_method])))
        drawn, plain = (measures.bootstrap(seeds, n, rng, by_points) for n in (resamples, 0))
        units = len(np.unique(part.unit))
        for name, values in drawn.items():
            for j, method in enumerate(names):
                low, high = interval(values[:, j])
                own.append(key | {"method": method, "measure": name, "value": plain[name][0, j], "low": low,
                                  "high": high, "units": units})
                if OURS in names and method != OURS:
                    i = names.index(OURS)
                    low, high = interval(values[:, i] - values[:, j])
                    gains.append(key | {"rival": method, "measure": name, "low": low, "high": high,
                                        "difference": plain[name][0, i] - plain[name][0, j]})
    return (pd.DataFrame(gains, columns=COLUMNS["differences"]), pd.DataFrame(own, columns=COLUMNS["intervals"]))


def interval(values: np.ndarray) -> np.ndarray:
    """The middle 95 % of values (n,), nan aside; nan where all are."""
    return np.nanpercentile(values, [2.5, 97.5]) if np.isfinite(values).any() else np.full(2, np.nan)


def comparison_command(stage: str, c) -> str:
    """The call of the stage that asks for the same protocols, methods, seeds and repeats, as a shell reads it."""
    asked = {name: getattr(c, name, "") for name in ("REGION", "PROTOCOLS", "METHODS", "SEEDS", "REPEATS")}
    return shlex.join(["python", stage, *(f"{name}={value}" for name, value in asked.items() if value)])


def write_tables(paths: Paths, jobs: list[Job], points: Points, roles: dict, units: dict, resamples: int, seed: int,
                 made: tuple) -> list:
    """Computes and writes every table; returns the files.

    units      as of `measure`
    resamples  of the bootstrap; made: stage, constants, inputs and optional files, for the records
    """
    tables = measure(collect(jobs), points, roles, units)
    gains, own = resampled(tables["scores"], resamples, np.random.default_rng([seed, 4]))
    out = [(paths.scores, tables["scores"]), (paths.method_metrics, over_seeds(tables["seeds"])),
           (paths.block_metrics, tables["blocks"]), (paths.rates, tables["rates"]), (paths.method_differences, gains),
           (paths.intervals, own)]
    for path, table in out:
        write_csv(path, table, *made)
    with artifact(paths.results, *made) as temporary:
        temporary.write_text(results(paths, comparison_command(*made[:2])))
    return [*(path for path, _ in out), paths.results]
