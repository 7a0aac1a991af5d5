"""The tables of the report as text: held-out scores, the comparison, the origin of each file, constants."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pandas as pd

from lsm.comparison.measures import LOWER_IS_BETTER, Scored, bootstrap
from lsm.comparison.tables.pages import standings
from lsm.comparison.tables.score_tables import interval
from lsm.maps.classes import ClassConstants
from lsm.run.artifacts import check, made_by, need, read_csv, read_record
from lsm.run.code import OF_STAGE
from lsm.run.paths import Paths, root, shown
from lsm.run.pipeline import CUT, LEARN, MAP, PREPARE
from lsm.run.settings import InputError, counted

MEASURES = {"auroc": "AUROC", "pr_auc": "PR-AUC", "accuracy": "Accuracy", "kappa": "Kappa", "f1": "F1",
            "brier": "Brier", "ece": "Calibration error"}
UNDEFINED = "–"  # a measure that cannot be computed
FEW = 6  # blocks, of which each is shown: shares of so few mean nothing
FEW_TO_JUDGE = 10, 50  # held-out blocks, and held-out points of the rarer class: scores of fewer are rough
RESAMPLES = 1000       # of the bootstrap
ARTIFACTS = (  # in the order of the stages: property of Paths, command that makes the file
    ("composite", "prepare_region.py"), ("samples_origin", "augment_inventory.py"), ("checks", "check_region.py"),
    ("pretraining_history", "unsupervised_pretraining/DAS_pretraining.py"), ("blocks", "scene_sampling.py"),
    ("tasks", "scene_sampling.py"), ("blocks_table", "scene_sampling.py"), ("model", "meta_learner.py"),
    ("metrics", "meta_learner.py"), ("held_out", "meta_learner.py"), ("models", "predict_LSM.py"),
    ("map_raster", "predict_LSM.py"), ("method_metrics", "compare_methods.py"),
    ("importance", "feature_permutation.py"), ("leading_factor", "feature_permutation.py"),
    ("gis_table", "export_gis.py"))


def measures_of(names) -> list[str]:
    """Headings of measures, with an arrow to the better direction."""
    return [f"{MEASURES[name]} {'↓' if name in LOWER_IS_BETTER else '↑'}" for name in names]


def held_out(table: pd.DataFrame, points: pd.DataFrame | None, adapts: bool) -> dict:
    """Stage 3's scores on all held-out points, before and after adaptation; then each block's, or, of more than FEW
    blocks, the score that a share of them reaches. few: whether these are too few blocks or points to judge by;
    one_class: what all points are, "" where they differ.

    points  the held-out points, for the interval of the AUROC; None: without it
    adapts  whether blocks adapt; if not, scores before and after are the same
    """
    of_all = table["block"].astype(str) == "all"
    before, after = (table[of_all & (table["adapted"] == when)] for when in ("before", "after"))
    blocks = table[~of_all & (table["adapted"] == "after")]
    both = [(before, "all points, before adaptation"), (after, "all points, after adaptation")]
    when = ", after" * adapts
    lines = [(what, row) for scores, what in (both if adapts else [(after, "all points")])
             for _, row in scores.iterrows()]
    if len(blocks) <= FEW:
        lines += [(f"block {row['block']} ({counted(row['samples'], 'point')}){when}", row)
                  for _, row in blocks.iterrows()]
    else:
        values = blocks[list(MEASURES)]
        for share, what in ((0.25, "a quarter"), (0.5, "half"), (0.75, "three quarters")):
            low, high = values.quantile(share), values.quantile(1 - share)
            lines.append((f"{what} of the blocks are as good or better{when}",
                          low.where([name in LOWER_IS_BETTER for name in MEASURES], high)))
    rows = [[what, *(rounded(row[name]) for name in MEASURES)] for what, row in lines]
    total, slid = int(after["samples"].sum()), int(after["landslides"].sum())
    few = len(blocks) < FEW_TO_JUDGE[0] or min(slid, total - slid) < FEW_TO_JUDGE[1]
    one_class = "non-landslides" if not slid else "landslides" if slid == total else ""
    low, high, drawn = interval_of(points) if points is not None and not one_class else (np.nan, np.nan, "")
    return {"head": ["", *measures_of(MEASURES)], "rows": rows, "blocks": len(blocks), "samples": total,
            "landslides": slid, "few": few, "interval": f"{low:.3f} to {high:.3f}" * bool(np.isfinite(low)),
            "drawn": drawn, "chance": bool(low <= 0.5), "auroc": rounded(after["auroc"].mean()),
            "before": rounded(before["auroc"].mean()), "one_class": one_class, "adapts": adapts}


def words_of_map(constants: dict, samples: int, adapts: bool) -> str:
    """What the models of the map know of the held-out points, in a sentence; "" where nothing. constants  by stage, as
    `provenance` has them; samples  how many the region has; adapts  as for `held_out`"""
    learned = samples < int(constants.get(LEARN, {}).get("TRAIN_ON_ALL", 0))
    some = {"all": "", "half": "some of "}.get(constants.get(MAP, {}).get("ADAPT_WITH")) if adapts else None
    said = ["learned from these points"] * learned
    said += [f"adapt on {some}{'them' if learned else 'these points'}"] * (some is not None)
    return f"The models of the map {' and '.join(said)} too." * bool(said)


def interval_of(points: pd.DataFrame) -> tuple[float, float, str]:
    """The 95 % interval of the AUROC after adaptation, nan where there is none, and what is drawn anew for it: blocks,
    since their points are alike, or, of too few blocks, points."""
    blocks = points["block"].nunique() >= FEW_TO_JUDGE[0]
    scored = Scored(points["block"].to_numpy() if blocks else np.arange(len(points)), points["label"].to_numpy(),
                    points["score_after"].to_numpy()[None])
    values = bootstrap([scored], RESAMPLES, np.random.default_rng(0))["auroc"]
    return *interval(values[:, 0]), "blocks" if blocks else "points"


def comparison(table: pd.DataFrame, gains: pd.DataFrame | None) -> list[dict]:
    """A table a protocol: measures of every method on all points with all factors, mean over seeds, best AUROC first;
    and how ours stands among them, of the table of differences."""
    standing = {} if gains is None else standings(gains)
    plain = table[table["k"].isna() & (table["subset"] == "all") & table["with_dv"].astype(bool)]
    out = []
    for protocol, part in plain.groupby("protocol", sort=False):
        mean = part.pivot(index="method", columns="measure", values="mean").reindex(columns=list(MEASURES))
        mean = mean.sort_values("auroc", ascending=False, kind="stable")
        best = {name: rounded(mean[name].min() if name in LOWER_IS_BETTER else mean[name].max()) for name in MEASURES}
        out.append({"protocol": protocol, "standing": standing.get(protocol, ""), "points": int(part["n"].max()),
                    "head": ["Method", *measures_of(MEASURES)],
                    "rows": [[method, *((value, value == best[name] != UNDEFINED)
                                        for name, value in row[list(MEASURES)].map(rounded).items())]
                             for method, row in mean.iterrows()]})
    return out


def rounded(value: float) -> str:
    """Three decimals, or a dash for what is not defined."""
    return UNDEFINED if pd.isna(value) else f"{value:.3f}"


def provenance(paths: Paths, c: ClassConstants) -> dict:
    """What the records of this run say: files, constants by stage, inputs by path, versions by library.

    A file of this run has the verdict ""; for another file the verdict says why it was not used.
    """
    rows, constants, inputs, versions = [], {}, {}, {}
    for attribute, stage in ARTIFACTS:
        path = getattr(paths, attribute)
        of_area = attribute == "composite"
        if not path.is_file() or (of_area and not made_by(path)):  # a person's own has no record
            continue
        try:  # of the area, raw layers may have changed since, or have gone: the tables count
            record = read_record(path, stage) if of_area else check(path, stage, c)
        except InputError as error:
            rows.append({"file": shown(path), "stage": stage, "verdict": str(error)})
            continue
        rows.append({"file": shown(path), "stage": record["stage"], "recipe": record["recipe"], "seed": record["seed"],
                     "sha256": record["sha256"], "verdict": ""})
        own = {name: value for name, value in record["constants"].items() if OF_STAGE not in name}  # of other stages
        constants.setdefault(record["stage"], {}).update(own)
        inputs |= {name: digest for name, digest in record["inputs"].items()
                   if name.startswith("src_data/") or record["stage"] in (CUT, PREPARE)}
        for name, version in record.get("versions", {}).items():
            versions.setdefault(name, set()).add(str(version))
    return {"files": rows,
            "constants": {stage: {name: constant_as_text(value) for name, value in values.items()}
                          for stage, values in constants.items()},
            "inputs": [{"file": name, "sha256": digest, "made_by": made_by(root() / name) or "given"}
                       for name, digest in sorted(inputs.items())],
            "versions": {name: ", ".join(sorted(found)) for name, found in sorted(versions.items())}}


def preparation(paths: Paths) -> dict:
    """How prepare_region.py made the non-landslides: words, and the scores of its quick model on whole squares left out
    (way, non-landslides, AUROC); without words and rows for an area that it did not make."""
    other = {"words": "", "chosen": "–", "rows": []}
    try:
        record = read_record(paths.composite, PREPARE)
    except InputError:
        return other
    if record["stage"] != PREPARE:
        return other
    made, table = record["constants"], pd.DataFrame(columns=["strategy", "non_landslides", "auroc", "chosen"])
    with contextlib.suppress(InputError):  # scores are extra
        of_scores = read_record(paths.strategies, PREPARE)
        if all(of_scores[key] == record[key] for key in ("stage", "seed", "constants", "inputs")):
            table = need(pd.read_csv(paths.strategies), paths.strategies, tuple(table), PREPARE)
    way = next(iter(table.loc[table["chosen"].astype(bool), "strategy"]), made.get("STRATEGY"))
    words = {"given": "places that the inputs say did not slide",
             "random": "cells without landslides, drawn at random (STRATEGY=random)",
             "slope": "cells as steep as the landslides (STRATEGY=slope)",
             "buffer": f"cells {made.get('BUFFER')} m and more from landslides (STRATEGY=buffer)"}.get(way, str(way))
    words += f", seed {record['seed']}" * (way != "given")
    if not len(table):
        words += ", or places that the inputs say did not slide, where there are any"
    return {"words": words, "chosen": rounded(next(iter(table.loc[table["chosen"].astype(bool), "auroc"]), np.nan)),
            "rows": [[row.strategy + " (of this map)" * bool(row.chosen), f"{row.non_landslides:,}", rounded(row.auroc)]
                     for row in table.itertuples()]}


def blocks_words(provenance: dict) -> str:
    """What the blocks are, from the constants and inputs of stage 2: own units and their file, or SLIC."""
    of_stage = provenance["constants"].get(CUT, {})
    if not of_stage.get("BLOCKS"):
        return "superpixels of the terrain (SLIC)"
    file = of_stage["BLOCKS"].partition("|")[0]
    digest = next((row["sha256"][:12] for row in provenance["inputs"] if row["file"].endswith(file)), "")
    return f"own units: {of_stage['BLOCKS']}" + f", sha256 {digest}" * bool(digest)


def constant_as_text(value) -> str:
    """A constant as text."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, bool)) else str(value)


def rules(path: Path, c: ClassConstants) -> list[list[str]]:
    """The table of stage 0: rule, dropped, kept. Raises InputError."""
    table = read_csv(path, "augment_inventory.py", c).fillna("")
    return [[str(value) for value in row] for row in table.itertuples(index=False)]
