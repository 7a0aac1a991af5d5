"""The leading factor of the demo's blocks against the planted one, beside what global models say of the same blocks.

Reads the importances of `make explain` and src_data/demo/truth/, which no stage reads. Counted are blocks with an
adapted model, enough samples and all of them in one environment. Right is the factor with the largest planted weight
in that environment. Where that factor hardly varies within a block another one moves the true log-odds more: "true
log-odds, within the block" is the factor whose planted part has the largest mean distance from its mean in the block,
and shows how far the planted answer can be expected at all. Global: one gradient boosting on the same samples, with
and without X, Y, its SHAP values by the tree explainer, path-dependent as is its default and against the same
background as ours, the block's own samples. Bar: 90 % of the blocks with 50 samples or more, ahead of the global ones.

Run     make explain && .venv/bin/python benchmarks/importance.py
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import shap
from scipy.stats import binomtest, rankdata
from sklearn.ensemble import HistGradientBoostingClassifier

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import study_area
from lsm.demo.landslides import factor_of, term_values
from lsm.inputs.rasters import cell_of, read_band, read_composite
from lsm.inputs.samples import grid_chunks
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError

LEAST = (20, 30, 40, 50)  # samples of a block
BACKGROUND = 100          # samples of a block, as in feature_permutation.py
SEED = 1


def true_parts(factors: np.ndarray, number: np.ndarray, planted: pd.DataFrame, names: list[str]) -> np.ndarray:
    """Each factor's planted part of the log-odds (land cells, factors); number: environments of the land cells."""
    table, parts = pd.DataFrame(factors, columns=names), np.zeros(factors.shape)
    for term in planted.columns[3:]:
        weight = planted.set_index("environment")[term].reindex(number).to_numpy()
        parts[:, names.index(factor_of(term))] += weight * term_values(term, table)
    return parts


def main():
    paths, names = Paths("demo"), [factor.name for factor in study_area.FACTORS]
    demo = [paths.truth / "environment.tif", paths.truth / "leading_factor.csv", paths.composite, paths.grid]
    for path in (paths.importance, paths.tasks, *demo):
        if not path.is_file():
            remedy = "make the demo area: python src_data/make_demo.py" if path in demo else "make explain"
            raise InputError(f"{shown(path)}: missing; {remedy}")
    composite, environment = read_composite(paths.composite), read_band(paths.truth / "environment.tif")
    planted = pd.read_csv(paths.truth / "leading_factor.csv")
    table = pd.read_csv(paths.importance)
    tasks = np.load(paths.tasks)
    x, xy, label, block = (tasks[key] for key in ("factors", "xy", "label", "block"))
    number = environment[cell_of(composite.geotransform, xy)]

    factors, places = (np.concatenate(p) for p in zip(*grid_chunks(paths.grid, study_area.FACTORS, 500_000),
                                                      strict=True))
    at = np.full(environment.shape, -1)
    land = cell_of(composite.geotransform, places)
    at[land] = np.arange(len(factors))
    parts = true_parts(factors, environment[land], planted, names)[at[cell_of(composite.geotransform, xy)]]

    # Ranks in place of values: to trees they are the same, and the tree explainer, which compares in single precision
    # where it is given a background, then takes no sample to the wrong side of a split.
    ranks = rankdata(np.hstack([x, xy]), method="dense", axis=0)
    boosting = {}
    for name, values in (("factors", ranks[:, :len(names)]), ("factors, X, Y", ranks)):
        model = HistGradientBoostingClassifier(early_stopping=False, random_state=SEED)
        boosting[name] = model.fit(values, label), values
    overall = {name: shap.TreeExplainer(model).shap_values(values)[:, :len(names)]
               for name, (model, values) in boosting.items()}
    rng, rows = np.random.default_rng(SEED), []
    for b, of in table[table["state"] == 0].groupby("block"):
        own = np.flatnonzero(block == b)
        if len(own) < LEAST[0] or len(set(number[own])) > 1:
            continue
        leader = planted.set_index("environment")["factor"][number[own[0]]]
        found = {"true log-odds, within the block": np.abs(parts[own] - parts[own].mean(axis=0)).mean(axis=0),
                 "ours, SHAP": of["mean_abs_shap"].to_numpy(), "ours, permutation": of["permutation"].to_numpy()}
        for name, (model, values) in boosting.items():
            found[f"global boosting ({name})"] = np.abs(overall[name][own]).mean(axis=0)
            background = values[rng.permutation(own)[:BACKGROUND]]
            explainer = shap.TreeExplainer(model, background, feature_perturbation="interventional")
            within = explainer.shap_values(values[own])[:, :len(names)]
            found[f"global boosting ({name}), within the block"] = np.abs(within).mean(axis=0)
        rows.append({"samples": len(own), "environment": number[own[0]],
                     **{name: names[v.argmax()] == leader for name, v in found.items()}})
    right = pd.DataFrame(rows)

    print(f"{table['block'].nunique()} blocks; share in which the planted factor leads (95 % Wilson interval)")
    columns = [(f"{least} samples or more", right[right["samples"] >= least]) for least in LEAST]
    columns += [(f"{e}: {leader}, {LEAST[1]} or more", right[(right["samples"] >= LEAST[1])
                                                            & (right["environment"] == e)])
                for e, leader in planted[["environment", "factor"]].itertuples(index=False)]
    for title, counted in columns:
        print(f"\n{title}: {len(counted)} blocks")
        if len(counted):
            for name in right.columns[2:]:
                hits = int(counted[name].sum())
                low, high = binomtest(hits, len(counted)).proportion_ci(method="wilson")
                print(f"  {name:48}{hits:5d}{hits / len(counted):8.1%}   {low:.0%} .. {high:.0%}")


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        sys.exit()
    try:
        main()
    except InputError as error:
        print(f"{sys.argv[0]}: {error}", file=sys.stderr)
        sys.exit(2)
