"""Tables of the GeoPackage's layers: a row a block, a row a sample."""

import numpy as np
import pandas as pd

from lsm.explanation.ranking import EXPLAINED
from lsm.maps.styles_qgis import STATES

LEADERS = 3  # leading factors named for each block


def of_blocks(blocks: pd.DataFrame, cell: float, models: dict, metrics: pd.DataFrame | None,
              importance: pd.DataFrame | None) -> pd.DataFrame:
    """The table of the layer of blocks.

    blocks               the blocks table of stage 2
    cell                 area of a cell, km^2
    models               arrays of models_of_blocks/<REGION>_models.npz
    metrics, importance  tables of stages 3 and 6; without them their columns are empty
    """
    state, support = models["state"], models["support"]
    table = pd.DataFrame({
        "block": blocks["block"], **({"unit": blocks["unit"]} if "unit" in blocks else {}), "cells": blocks["cells"],
        "area_km2": blocks["cells"] * cell, "samples": blocks["samples"], "landslides": blocks["landslides"],
        "adapted_on": support[:, 0], "borrowed": support[:, 1], "state": state.astype(np.int32),
        "fallback": state != 0, "meaning": [STATES[s] for s in state], "heldout_samples": np.nan,
        "heldout_auroc": np.nan})
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


def of_samples(samples: dict, names: list[str]) -> pd.DataFrame:
    """The table of the layer of samples: row in the table of samples, label, block, and the factors `names`.

    samples  arrays of metatask_sampling/<REGION>_tasks.npz
    """
    table = pd.DataFrame({"row": samples["row"], "label": samples["label"].astype(np.int32), "block": samples["block"]})
    return table.join(pd.DataFrame(samples["factors"].astype(np.float64), columns=names))
