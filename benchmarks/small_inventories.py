"""How ours and its rivals do on small inventories: a few landslides of a part of a large region, and as many
non-landslides, drawn at random, each as a region of its own.

Reads   src_data/samples_<REGION>_noTS.csv, grid_samples_<REGION>.csv, <REGION>/composite.tif    of LSM_ROOT
Writes  <root>/src_data/ and what stages 2 and 5 write of each new region, <REGION>_<part>_<landslides>; prints a table
        of methods by regions, AUROC / Brier score with 95 % intervals
Run     python benchmarks/small_inventories.py <root> HK:all:150 HK:west:300 ...
"""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

from lsm.run.paths import PROJECT, Paths

PARTS = {"west": ("X", 0, 1 / 3), "east": ("X", 2 / 3, 1), "south": ("Y", 0, 1 / 3), "north": ("Y", 2 / 3, 1),
         "all": ("X", 0, 1)}  # coordinate, and between which of its quantiles
METHODS = "ours,logistic_tuned,additive,rf,rf_xy,boosting_xy,boosting_tuned_xy"


def drawn(samples: pd.DataFrame, part: str, each: int) -> pd.DataFrame:
    """So many rows of each label in a part of the region, at places of their own."""
    coordinate, *ends = PARTS[part]
    samples = samples.drop_duplicates(["X", "Y"])
    samples = samples[samples[coordinate].between(*samples[coordinate].quantile(ends))]
    return samples.groupby("label").sample(each, random_state=1).sort_index()


def make(region: str, part: str, each: int, root: Path) -> str:
    """Writes the tables of the new region, with links to the grid and the composite of `region`; returns its name."""
    there, name = Paths(region), f"{region}_{part}_{each}"
    table = drawn(pd.read_csv(there.samples_without_insar, encoding="utf-8-sig"), part, each)
    source = root / "src_data"
    (source / name).mkdir(parents=True, exist_ok=True)
    for path, link in ((there.grid, f"grid_samples_{name}.csv"), (there.composite, f"{name}/composite.tif")):
        (source / link).unlink(missing_ok=True)
        (source / link).symlink_to(path.resolve())
    table.to_csv(source / f"samples_{name}.csv", index=False)
    return name


def judged(name: str, root: Path) -> pd.Series:
    """AUROC / Brier score of each method in partitions, by stage 5."""
    for stage, *settings in (("scene_sampling.py",), ("compare_methods.py", "PROTOCOLS=partitions", "REPEATS=2",
                                                      f"METHODS={METHODS}", "WITHOUT=", "MAPPED=()")):
        subprocess.run([sys.executable, stage, f"REGION={name}", *settings], cwd=PROJECT, check=True,
                       stdout=subprocess.DEVNULL, env=os.environ | {"LSM_ROOT": str(root)})
    table = pd.read_csv(root / f"tmp/{name}_intervals.csv").query("protocol == 'partitions'")
    table["text"] = [f"{v:.3f} [{low:.3f}, {high:.3f}]"
                     for v, low, high in zip(table.value, table.low, table.high, strict=True)]
    wide = table.pivot(index="method", columns="measure", values="text").reindex(dict.fromkeys(table.method))
    return (wide.auroc + " / " + wide.brier).rename(name)


def main(root: Path, areas: list[str]) -> None:
    """Prints the table."""
    names = [make(region, part, int(each), root) for region, part, each in (area.split(":") for area in areas)]
    print(pd.concat([judged(name, root) for name in names], axis=1).to_markdown())


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        sys.exit()
    main(Path(sys.argv[1]).resolve(), sys.argv[2:])
