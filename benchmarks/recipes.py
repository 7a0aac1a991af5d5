"""Held-out measures and processor seconds of both recipes on the Hong Kong tables, a few seeds each.

Runs the stages as a user does (python <stage> REGION=HK RECIPE=... SEED=...) in a folder of its own, from the tables in
the folder named by LSM_HK_DATA (default ../shared/hk beside the project). The seed draws the split of the blocks too,
so the spread is that of splits and starts together.

Run     python benchmarks/recipes.py [seeds, default 3]
"""

import gzip
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

PROJECT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("LSM_HK_DATA", PROJECT.parent / "shared" / "hk"))
STAGES = ("unsupervised_pretraining/DAS_pretraining.py", "scene_sampling.py", "meta_learner.py", "predict_LSM.py",
          "figure.py")
MEASURES = ["accuracy", "precision", "recall", "f1", "kappa", "auroc"]


def install(root: Path):
    (root / "src_data" / "HK").mkdir(parents=True)
    for name in ("samples_HK.csv", "samples_HK_noTS.csv", "Ts_HK.csv"):
        shutil.copy(DATA / name, root / "src_data")
    shutil.copy(DATA / "composite.tif", root / "src_data" / "HK")
    grid = root / "src_data" / "grid_samples_HK.csv"
    with gzip.open(DATA / "grid_samples_HK.csv.gz") as packed, open(grid, "wb") as file:
        shutil.copyfileobj(packed, file)


def seconds(stage: str, recipe: str, seed: int, root: Path) -> tuple[float, float]:
    """Wall and processor seconds of one stage."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, stage, "REGION=HK", f"RECIPE={recipe}", f"SEED={seed}"], cwd=PROJECT, check=True,
                   env=os.environ | {"LSM_ROOT": str(root)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    seeds = range(1, 1 + int(sys.argv[1]) if len(sys.argv) > 1 else 4)
    rows, times = [], []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        install(root)
        for recipe in ("published", "recommended"):
            for seed in seeds:
                for stage in STAGES:
                    wall, processor = seconds(stage, recipe, seed, root)
                    times.append({"recipe": recipe, "stage": stage, "wall": wall, "processor": processor})
                table = pd.read_csv(root / "checkpoint_dir" / "HK_metrics.csv")
                for adapted in ("before", "after"):
                    row = table[(table.block == "all") & (table.adapted == adapted)].iloc[0]
                    measures = row[MEASURES].astype(float).to_dict()
                    rows.append({"recipe": recipe, "adapted": adapted, "seed": seed} | measures)
                print(pd.DataFrame(rows[-1:]).to_string(index=False, header=False), flush=True)
    print(f"held-out blocks, seeds {seeds.start} to {seeds.stop - 1}: mean, then sd")
    groups = pd.DataFrame(rows).groupby(["recipe", "adapted"])[MEASURES]
    print(groups.mean().round(4).to_string(), groups.std().round(4).to_string(), sep="\n")
    print(f"seconds a stage ({os.cpu_count()} cores), mean")
    mean = pd.DataFrame(times).groupby(["recipe", "stage"], sort=False)[["wall", "processor"]].mean()
    print(mean.round(1).to_string())
    print(mean.groupby("recipe").sum().round(1).to_string())


if __name__ == "__main__":
    main()
