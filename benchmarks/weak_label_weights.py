"""What the weight of weak labels does to held-out scores: stage 0 with each WEIGHT, then stages 1 to 3, a few seeds.

Runs the stages as a user does, in a folder of its own, on the region's inputs in src_data/: samples without InSAR, a Ts
table and composite.tif. A seed draws one split for all weights, so differences are within the same held-out points.
Landslides of the inventory and InSAR landslides are scored apart, each with all held-out non-landslides. The scores
are those of stage 3.

Run     python benchmarks/weak_label_weights.py [region, default HK] [seeds, default 3]
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from lsm.comparison import measures
from lsm.run.paths import PROJECT, Paths

WEIGHTS = (0.001, 0.25, 0.5, 1.0)  # 0.001 is the least that stage 0 takes: as good as no weak label
ORIGINS = {"all": ("inventory", "insar", "absence"), "inventory": ("inventory", "absence"),
           "InSAR": ("insar", "absence")}
MEASURES = ["kappa", "auroc", "brier"]


def run(stage: str, root: Path, *settings: str) -> None:
    subprocess.run([sys.executable, stage, *settings], cwd=PROJECT, check=True, stdout=subprocess.DEVNULL,
                   env=os.environ | {"LSM_ROOT": str(root)}, stderr=subprocess.DEVNULL)


def scores(root: Path, region: str) -> list[dict]:
    """Measures of stage 3's held-out points by the origin of the landslides."""
    held_out = pd.read_csv(root / f"checkpoint_dir/{region}_heldout.csv")
    origin = pd.read_csv(root / f"src_data/{region}_samples_origin.csv")["origin"].to_numpy()[held_out["sample"]]
    rows = []
    for name, origins in ORIGINS.items():
        part = held_out[pd.Series(origin).isin(origins)]
        rows.append({"points": name, "n": len(part)} | measures.all_measures(part["label"], part["score_after"]))
    return rows


def main():
    region = sys.argv[1] if len(sys.argv) > 1 else "HK"
    seeds, paths, rows = range(1, 1 + int(sys.argv[2]) if len(sys.argv) > 2 else 4), Paths(region), []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "src_data" / region).mkdir(parents=True)
        for path in (paths.samples_without_insar, paths.insar_points):
            shutil.copy(path, root / "src_data")
        shutil.copy(paths.composite, root / "src_data" / region)
        for seed in seeds:
            for weight in WEIGHTS:
                settings = f"REGION={region}", f"SEED={seed}"
                run("augment_inventory.py", root, *settings, f"WEIGHT={weight}")
                if weight == WEIGHTS[0]:  # it reads no label, and factors do not change
                    run("unsupervised_pretraining/DAS_pretraining.py", root, *settings)
                run("scene_sampling.py", root, *settings)
                run("meta_learner.py", root, *settings)
                rows += [{"weight": weight, "seed": seed} | row for row in scores(root, region)]
                print(pd.DataFrame(rows[-3:])[["seed", "weight", "points", "n", *MEASURES]]
                      .to_string(index=False, header=False, float_format="%.4f"), flush=True)
    table = pd.DataFrame(rows)
    groups = table.groupby(["points", "weight"], sort=False)[MEASURES]
    whole = table[table["weight"] == 1].set_index(["points", "seed"])[MEASURES]
    less = table.set_index(["points", "seed", "weight"])[MEASURES].sub(whole).groupby(["points", "weight"], sort=False)
    print(f"{region}, seeds {seeds.start} to {seeds.stop - 1}: mean, then sd, then mean and sd of the difference to "
          "weight 1 on the same split")
    for part in (groups.mean(), groups.std(), less.mean(), less.std()):
        print(part.round(4).to_string())


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        sys.exit()
    main()
