"""What every figure shares: inputs checked, light axes, the line under a figure, the three files."""

import pandas as pd

from lsm.run.artifacts import check, record_path, whole
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError


def input_table(path, stage, c, names):
    """A table of src_data with columns `names`, and its record where a stage made it ({} where it was given)."""
    record = check(path, stage, c) if record_path(path).is_file() else {}
    if not path.is_file():
        raise InputError(f"{shown(path)}: missing; put it there, or run {stage} first")
    return need(pd.read_csv(path, encoding="utf-8-sig"), path, names), record


def saved(path, stage, c, names, **options):
    """The table of a stage, with columns `names`, and its record. options are pandas.read_csv's. Raises InputError."""
    record = check(path, stage, c)
    try:
        table = pd.read_csv(path, **options)
    except pd.errors.EmptyDataError:
        table = pd.DataFrame()
    if not len(table):
        raise InputError(f"{shown(path)}: expected rows, found none; run {stage} again")
    return need(table, path, names), record


def need(table, path, names):
    """`table` after checking that it holds `names`."""
    missing = [name for name in names if name not in table]
    if missing:
        raise InputError(f"{shown(path)}: header: expected {', '.join(names)}, found no "
                         f"{', '.join(missing)}; make it again")
    return table


def tidy(ax):
    """Light grid lines, no box."""
    ax.grid(color="#dddddd", linewidth=0.5)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=7)


def caption(fig, c, records, numbers):
    """The line under a figure: region, recipe and seed of the run that made its numbers, and how many there are."""
    made = next((record for record in records if record), {})
    words = [made.get("region") or c.REGION]
    words += [f"recipe {made['recipe']}"] if made.get("recipe") else []
    words += [f"seed {made['seed']}"] if made.get("seed") is not None else []
    text = " · ".join([*words, numbers])
    if len(text) > 17 * fig.get_figwidth():  # characters an inch at this size
        text = "\n".join([" · ".join(words), numbers])
    fig.text(0.08 / fig.get_figwidth(), 0.08 / fig.get_figheight(), text, fontsize=6.5, linespacing=1.3,
             color="#555555", verticalalignment="bottom")


def save(c, name, fig, table):
    """Writes a figure as png and pdf, without dates, and its numbers as csv. Returns the files."""
    files = [Paths(c.REGION).figure(name, suffix) for suffix in ("png", "pdf", "csv")]
    for path, metadata in ((files[0], {"Software": None}), (files[1], {"CreationDate": None, "Producer": None})):
        with whole(path) as temporary:
            fig.savefig(temporary, format=path.suffix[1:], dpi=c.DPI, metadata=metadata)
    with whole(files[2]) as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g")
    return files
