"""Held-out scores of our networks with and without BLEND of predict_LSM.py: do means of the models of adjoining blocks
score otherwise than each point's own block's model, whose scores compare_methods.py prints?

Reads   what compare_methods.py reads, after stage 2
Run     python benchmarks/borders.py <region> [protocol ...]    none: spatial 1 and all folds of the first squares
"""

import sys
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
from sklearn.metrics import brier_score_loss, roc_auc_score

from lsm.blocks.borders import Borders, around_cells
from lsm.comparison import protocols
from lsm.comparison.ours import networks
from lsm.comparison.points import read_points
from lsm.comparison.splits import QUERY
from lsm.inputs.rasters import locate, open_raster
from lsm.run.paths import PROJECT, Paths
from lsm.run.settings import InputError, check_region, constants

sys.path.insert(0, str(PROJECT))
import compare_methods


def scores_of(region: str, asked: list[str]) -> pd.DataFrame:
    """Every split's scores both ways, and for how many of its points they differ."""
    check_region(region)
    paths, c = Paths(region), constants(compare_methods.Constants, [f"REGION={region}"])
    points = read_points(paths, c.factors, c)
    roles, _ = protocols.all_splits(points, c)
    squares = next((name for name, _ in roles if name.startswith("blocked")), None)
    compare_methods.start_fitting(points, roles, None, c)
    stages = networks.Stages(partial(compare_methods.constants_of_stages, c), compare_methods.pretrained,
                             compare_methods.RBM)
    if unknown := set(asked) - {name for name, _ in roles}:
        raise InputError(f"{', '.join(unknown)}: expected some of {', '.join(dict.fromkeys(n for n, _ in roles))}")
    labels, found = open_raster(paths.blocks, "run scene_sampling.py"), []
    for protocol, seed in roles:
        if protocol not in (asked or [squares]) and (asked or (protocol, seed) != ("spatial", 1)):
            continue
        split = compare_methods.split_of(SimpleNamespace(protocol=protocol, seed=seed, with_dv=True))
        predict = networks.ours("recommended")(split, c, stages, seed)[0]
        query = (split.role == QUERY) & (split.label >= 0)
        rows, label = split.rows(query), split.label[query]
        row, col, _ = locate(labels.GetGeoTransform(), (labels.RasterYSize, labels.RasterXSize), rows.xy)
        borders = Borders.of(rows.block, around_cells(labels, row, col))
        own = predict(rows)
        blended = own.copy()
        borders.blend(blended[None], predict(replace(rows, factors=rows.factors[borders.cell], xy=rows.xy[borders.cell],
                                                     block=borders.block))[None])
        found.append({"protocol": protocol, "seed or fold": seed, "points": len(label),
                      "beside a border": len(np.unique(borders.cell)) / len(label),
                      "AUROC": roc_auc_score(label, own), "with BLEND": roc_auc_score(label, blended),
                      "Brier": brier_score_loss(label, own), "Brier with BLEND": brier_score_loss(label, blended)})
        print(pd.DataFrame(found[-1:]).to_string(index=False, float_format="%.4f"), flush=True)
    return pd.DataFrame(found)


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv) or len(sys.argv) < 2:
        print(__doc__)
        sys.exit()
    try:
        print(scores_of(sys.argv[1], sys.argv[2:]).to_markdown(index=False, floatfmt=".4f"))
    except InputError as error:
        print(f"{sys.argv[0]}: {error}", file=sys.stderr)
        sys.exit(2)
