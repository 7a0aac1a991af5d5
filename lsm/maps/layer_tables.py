"""What is told of blocks and samples: the tables of the GeoPackage's layers, and how far the blocks adapted."""

from pathlib import Path

import numpy as np
import pandas as pd

from lsm.explanation.ranking import EXPLAINED
from lsm.inputs.factor.definition import Factor, words_of_classes
from lsm.learner.support.supports import MOVED, NO_SAMPLES, ONE_CLASS, PARTLY
from lsm.maps.styles_qgis import STATES
from lsm.run.settings import counted

LEADERS = 3   # leading factors named for each block
LITTLE = 0.5  # share of adaptation below which a map is more the intermediate model's than its blocks'


def how_adapted(state: np.ndarray, support: np.ndarray, share: np.ndarray, reach: float) -> list[str]:
    """Lines on how many blocks adapted, and how far; arguments as `models_of_blocks` returns them, reach in m."""
    if not reach:
        return [f"{counted(len(state), 'block')}: all keep the intermediate model (FORECAST of meta_learner.py)"]
    kept = [f"not adapted, since {why}: {n}"
            for which, why in ((NO_SAMPLES, "no samples are near"), (ONE_CLASS, "their samples are of one class"))
            if (n := (state == which).sum())]
    adapted, partly = np.isin(state, MOVED), (state == PARTLY).sum()
    alone = (adapted & (support[:, 0] == 0)).sum()
    in_part = [f"{partly} of the adapted in part, since some members find no samples near, or samples of one class"]
    lines = ["; ".join([f"{counted(len(state), 'block')}: {adapted.sum()} adapted, {alone} of them on samples of other "
                        "blocks alone", *in_part * bool(partly), *kept])]
    if reach < np.inf and adapted.any():
        lines.append(f"how far they adapt, from 0 (they keep the intermediate model) to 1 (fully): "
                     f"{share_in_words(share[adapted])}; with the distance d of a block's cells from the samples it "
                     f"falls as exp(-d / {reach:,.0f} m)")
        if np.median(share[adapted]) < LITTLE:
            lines.append("so the map is more that of the one intermediate model than of its blocks")
    return lines


def share_in_words(share: np.ndarray) -> str:
    """Shares of adaptation (blocks,) of adapted blocks in words."""
    low, median, high = np.quantile(share, (0, 0.5, 1))
    return f"median {median:.2f}, lowest {low:.2f}, highest {high:.2f}"


def block_table(blocks: pd.DataFrame, cell: float, models: dict, metrics: pd.DataFrame | None,
                importance: pd.DataFrame | None) -> pd.DataFrame:
    """The table of the layer of blocks.

    blocks               the blocks table of stage 2
    cell                 area of a cell, km^2
    models               arrays of models_of_blocks/<REGION>_models.npz
    metrics, importance  tables of stages 3 and 6; without them their columns are empty
    """
    state, support, share = models["state"], models["support"], models["adapted_share"]
    table = pd.DataFrame({
        "block": blocks["block"], **({"unit": blocks["unit"]} if "unit" in blocks else {}), "cells": blocks["cells"],
        "area_km2": blocks["cells"] * cell, "samples": blocks["samples"], "landslides": blocks["landslides"],
        "adapted_on": support[:, 0], "borrowed": support[:, 1], "adapted_share": share.astype(float),
        "state": state.astype(np.int32), "fallback": ~np.isin(state, MOVED), "meaning": [STATES[s] for s in state],
        "heldout_samples": np.nan, "heldout_auroc": np.nan})
    if metrics is not None:
        after = metrics[(metrics["adapted"] == "after") & (metrics["block"] != "all")].astype({"block": int})
        after = after.set_index("block")
        table["heldout_samples"] = table["block"].map(after["samples"])
        table["heldout_auroc"] = table["block"].map(after["auroc"])
    table["heldout_samples"] = table["heldout_samples"].astype("Int64")
    for rank in range(1, LEADERS + 1):
        leads = pd.Series(dtype=object)
        if importance is not None:
            leads = importance[(importance["rank"] == rank) & importance["state"].isin(EXPLAINED)]
            leads = leads.set_index("block")["factor"]
        table[f"leading_{rank}"] = table["block"].map(leads).astype("str").where(table["block"].isin(leads.index))
    return table.assign(model_row=table["block"])


OF_GEOPACKAGE = ("fid", "geom")


def sample_table(samples: dict, factors: tuple[Factor, ...], listed: Path) -> pd.DataFrame:
    """The table of the layer of samples: row in the table of samples, label, block, and the factors. A factor with the
    name of one of these three, or of a column that every GeoPackage has, gets "factor" before its name. Of a
    factor whose classes have names it holds the names, and the code of a class without one, as text.

    samples  arrays of metatask_sampling/<REGION>_tasks.npz
    listed   the region's list of factors, where there is one: it names classes, as tables in words do
    """
    table = pd.DataFrame({"row": samples["row"], "label": samples["label"].astype(np.int32), "block": samples["block"]})
    taken = {*table, *OF_GEOPACKAGE}  # upper case does not count there
    names = [f"factor {factor.name}" if factor.name.lower() in taken else factor.name for factor in factors]
    values = pd.DataFrame(samples["factors"].astype(np.float64), columns=names)
    classes = words_of_classes(listed, factors)
    for name, factor in zip(names, factors, strict=True):
        if words := classes.get(factor.name):
            values[name] = [words.get(code, f"{code:g}") for code in values[name]]
    return table.join(values)
