"""One table of areas by methods, out of what compare_methods.py left in several places.

Reads   <root>/tmp/<REGION>_intervals.csv of every region of every root that has one; with EAST=<REGION>, of this region
        <REGION>_scores.csv.gz and <REGION>_splits.csv.gz too: then it is scored on its half east of the median X alone,
        where choices were settled on the other half
Writes  nothing; prints Markdown: a row a method, a column an area, in a cell AUROC / Brier score / kappa, each with its
        95 % interval; then ours minus the best of the others, and of the half, ours minus every other method
Run     python benchmarks/areas.py <root> [<root> ...] [PROTOCOL=partitions EAST=kaghan]
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from lsm.comparison.tables.pages import OURS, by_area
from lsm.comparison.tables.score_tables import resampled

ENDING = "_intervals.csv"
DRAWS = 5000  # of the bootstrap of a half


def read_areas(roots: list[Path], protocol: str) -> dict[str, pd.DataFrame]:
    """The intervals of each area under one protocol, all factors, by region; regions without it are left out.

    protocol  its name, or its first word: "blocked" stands for the largest squares. Raises ValueError where two roots
              have the same region.
    """
    out = {}
    for path in (path for root in roots for path in sorted((root / "tmp").glob(f"*{ENDING}"))):
        table = pd.read_csv(path)
        names = [name for name in pd.unique(table["protocol"]) if f"{name} ".startswith(f"{protocol} ")]
        if not names:
            continue
        region = path.name.removesuffix(ENDING)
        if region in out:
            raise ValueError(f"{path}: expected each region in one root, found {region} in two")
        out[region] = table[(table["protocol"] == names[-1]) & table["with_dv"].astype(bool)]
    return out


def east_of(folder: Path, region: str, protocol: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Differences from ours and intervals (score_tables.resampled) of one protocol, all factors, on the samples of the
    region whose X is not below the median of all samples. Folds were cut in the whole region, so that some hold few of
    these samples: each fold counts as many times as it has some of them."""
    places = pd.read_csv(folder / f"{region}_splits.csv.gz", usecols=["sample", "x"])
    east = places.loc[places.x >= places.x.median(), "sample"]
    scores = pd.read_csv(folder / f"{region}_scores.csv.gz")
    kept = scores.with_dv.astype(bool) & (scores.protocol == protocol) & scores.point.isin(east)
    return resampled(scores[kept], DRAWS, np.random.default_rng(0), by_points=True)


def leads_of(differences: pd.DataFrame) -> str:
    """Ours minus every other method as Markdown, with intervals."""
    cells = differences.assign(text=[f"{d:+.4f} [{low:+.4f}, {high:+.4f}]" for d, low, high in zip(
        differences.difference, differences.low, differences.high, strict=True)])
    wide = cells.pivot(index="rival", columns="measure", values="text").reindex(dict.fromkeys(cells.rival))
    return wide[["auroc", "brier", "kappa"]].to_markdown()


def lead(areas: dict[str, pd.DataFrame]) -> str:
    """Of each area, which method has the best AUROC and where ours stands."""
    lines = []
    for region, table in areas.items():
        auroc = table[table["measure"] == "auroc"].set_index("method")
        rivals = auroc[[not name.startswith(OURS) for name in auroc.index]]
        if len(rivals):
            best = rivals["value"].idxmax()
            own = f", ours {auroc.loc[OURS, 'value']:.3f}" if OURS in auroc.index else ", ours not scored"
            lines.append(f"- {region}: best other method {best}, AUROC {rivals.loc[best, 'value']:.3f}{own}; "
                         f"{int(auroc['units'].iloc[0])} blocks or squares drawn")
    return "\n".join(lines)


def main(*arguments: str) -> None:
    """Prints the table."""
    given = dict(a.split("=", 1) for a in arguments if a.startswith(("PROTOCOL=", "EAST=")))
    protocol, half = given.get("PROTOCOL", "partitions"), given.get("EAST", "")
    roots = [Path(a) for a in arguments if not a.startswith(("PROTOCOL=", "EAST="))]
    areas = read_areas(roots, protocol)
    if not areas:
        sys.exit(f"{protocol}: expected tmp/<REGION>{ENDING} with this protocol below {', '.join(map(str, roots))}, "
                 "found none; run compare_methods.py there")
    ours = ""
    if half in areas:
        folder = next(root / "tmp" for root in roots if (root / "tmp" / f"{half}{ENDING}").is_file())
        differences, areas[half] = east_of(folder, half, areas[half]["protocol"].iloc[0])
        ours = f"\n\nOurs minus each other method, {half}, east of its median X:\n\n{leads_of(differences)}"
    print(f"AUROC / Brier score / kappa under {protocol}, 95 % intervals\n\n{by_area(areas)}\n\n{lead(areas)}{ours}")


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        sys.exit()
    main(*sys.argv[1:])
