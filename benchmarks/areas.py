"""One table of areas by methods, out of what compare_methods.py left in several places.

Reads   <root>/tmp/<REGION>_intervals.csv of every region of every root that has one
Writes  nothing; prints Markdown: a row a method, a column an area, in a cell AUROC / Brier score / kappa, each with its
        95 % interval; then ours minus the best of the others
Run     python benchmarks/areas.py <root> [<root> ...] [PROTOCOL=partitions]
"""

import sys
from pathlib import Path

import pandas as pd

from lsm.comparison.tables.pages import OURS, by_area

ENDING = "_intervals.csv"


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
    protocol = next((a.removeprefix("PROTOCOL=") for a in arguments if a.startswith("PROTOCOL=")), "partitions")
    roots = [Path(a) for a in arguments if not a.startswith("PROTOCOL=")]
    areas = read_areas(roots, protocol)
    if not areas:
        sys.exit(f"{protocol}: expected tmp/<REGION>{ENDING} with this protocol below {', '.join(map(str, roots))}, "
                 "found none; run compare_methods.py there")
    print(f"AUROC / Brier score / kappa under {protocol}, with 95 % intervals\n\n{by_area(areas)}\n\n{lead(areas)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
