"""Spatial and random cross-validation beside the published numbers (Lovelace, Nowosad and Muenchow, Geocomputation with
R, chapter 12): does the protocol `partitions` do what sperrorest and mlr3 do?

Reads   <LSM_AREAS>/lsl_published.csv, 350 points of southern Ecuador with the five predictors of the published models
        (spDataLarge, CC0); LSM_AREAS, an environment variable, is ../shared/areas beside the project by default
Ours is one block here, since the points come without a raster.
Run     python benchmarks/published_partitions.py [folder, repeats, default 100]
"""

import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import compare_methods
from lsm.comparison.methods import FAMILIES
from lsm.comparison.ours.networks import Stages
from lsm.comparison.rivals import baselines, tuned
from lsm.comparison.splits import QUERY, TRAIN, Split, partition
from lsm.inputs.factor.definition import Factor
from lsm.run.paths import PROJECT

AREAS = Path(os.environ.get("LSM_AREAS", PROJECT.parent / "shared" / "areas"))
PREDICTORS = ("slope", "cplan", "cprof", "elev", "log10_carea")
PUBLISHED = {("logistic regression", "spatial"): 0.7726, ("logistic regression", "random"): 0.8097,
             ("SVM", "spatial"): 0.7389, ("SVM", "random"): 0.7986}  # their SVM is tuned
FOLDS = 5


def ours(split: Split, rng: np.random.Generator):
    """Ours at its defaults, as compare_methods.py fits it."""
    c = compare_methods.Constants()
    stages = Stages(partial(compare_methods.constants_of_stages, c), compare_methods.pretrained, compare_methods.RBM)
    return FAMILIES["ours"].fit(split, c, stages, int(rng.integers(1 << 31)))[0]


METHODS = {"logistic regression": tuned.logistic(), "SVM": baselines.svm, "RF": baselines.random_forest, "ours": ours}


def read_split(path: Path) -> Split:
    """All points of the table as a split whose roles are still to be set."""
    table = pd.read_csv(path)
    n = len(table)
    return Split(table[list(PREDICTORS)].to_numpy(np.float32),
                 tuple(Factor(name, "continuous", "-") for name in PREDICTORS), table[["x", "y"]].to_numpy(float),
                 table["lslpts"].astype(int).to_numpy(np.int32), np.zeros(n, int), np.full(n, TRAIN), "recommended")


def auroc(split: Split, method, cut: str, repeats: int) -> list[float]:
    """AUROC of every fold of every repeat; cut "spatial" or "random"."""
    out = []
    for repeat in range(repeats):
        rng = np.random.default_rng([repeat, cut == "random"])
        n = len(split.label)
        fold = partition(split.xy, FOLDS, rng) if cut == "spatial" else rng.permutation(n) % FOLDS
        for k in range(FOLDS):
            asked = fold == k
            own = Split(split.factors, split.described, split.xy, split.label, split.block,
                        np.where(asked, QUERY, TRAIN), split.form)
            if 0 < split.label[asked].mean() < 1:
                p = method(own, np.random.default_rng(repeat))(own.rows(asked))
                out.append(roc_auc_score(split.label[asked], p))
    return out


def main(folder: str = "", repeats: str = "100") -> None:
    """Prints a row for each method and cut."""
    path = Path(folder or AREAS) / "lsl_published.csv"
    if not path.is_file():
        sys.exit(f"{path}: missing; name its folder here or in LSM_AREAS")
    split = read_split(path)
    print(f"{len(split.label)} points; mean AUROC over {FOLDS} folds x {repeats} repeats, a tenth of them for all but "
          "logistic regression")
    print(f"{'':22}{'cut':10}{'published':>10}{'here':>8}{'sd':>7}{'folds':>7}")
    for name, method in METHODS.items():
        for cut in ("spatial", "random"):
            own = int(repeats) if name == "logistic regression" else max(1, int(repeats) // 10)
            found = auroc(split, method, cut, own)
            print(f"{name:22}{cut:10}{PUBLISHED.get((name, cut), np.nan):10.4f}{np.mean(found):8.4f}"
                  f"{np.std(found):7.3f}{len(found):7d}")


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        sys.exit()
    main(*sys.argv[1:])
