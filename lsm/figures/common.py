"""What every figure shares: its constants, checked inputs, light axes, the line under a figure, the three files."""

from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lsm.figures import styles
from lsm.inputs.factor.definition import Factor
from lsm.inputs.samples import named_rows
from lsm.maps.classes import ClassConstants
from lsm.run.artifacts import artifact, check, need, read_csv, read_npz, record_path
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError
from lsm.run.writing import whole, write_table

SUFFIXES = ("png", "pdf", "csv")  # of the files of a figure
# What figures read, by property of Paths. If one of these changes, all are drawn again: that costs seconds, and a list
# for each figure might lack a file without a sign.
READ = ("composite", "samples", "samples_without_insar", "insar_points", "samples_origin", "factors", "grid",
        "factor_stack", "blocks", "tasks", "blocks_table", "pretraining_history", "history", "model", "split",
        "held_out", "metrics", "map_raster", "augmentation", "augmentation_points", "correlation", "checks",
        "strategies", "scores", "rates", "method_metrics", "method_differences", "block_metrics", "method_maps",
        "importance", "importance_territory", "shap_values", "leading_factor")
STAGE = "figure.py"
Drawn = tuple[Figure, pd.DataFrame]  # what a figure's function returns: the figure, and the rows it shows


class FigureConstants(ClassConstants, Protocol):
    """The constants of the figures, as figure.py explains them."""

    DPI: int
    THIN: int
    LARGEST: int
    RASTERISE: int
    TOP: int
    KINDS: int
    SHOT_STEPS: int
    SHAP_BLOCKS: tuple
    SHAP_ROWS: int
    SWARM: int
    METHOD_CELLS: int
    FACTOR_CELLS: int
    EMBEDDED: int
    NEIGHBOURS: int
    PERPLEXITY: float
    TSNE_STEPS: int
    MAP_NOTES: tuple
    factors: tuple[Factor, ...]


class NothingToDraw(InputError):
    """The area has nothing that the figure shows; figure.py removes what an earlier run drew."""


class NotCompared(InputError):
    """The last comparison had no protocol that the figure shows."""


def input_table(path: Path, stage: str, c: FigureConstants, names: tuple[str, ...]) -> tuple[pd.DataFrame, dict]:
    """A table of src_data with columns `names`, and its record; {} where a person put the table there. Raises
    InputError."""
    record = check(path, stage, c) if record_path(path).is_file() else {}
    if not path.is_file():
        raise InputError(f"{shown(path)}: missing; put it there, or run {stage} first")
    return need(named_rows(path), path, names, stage), record


def saved(path: Path, stage: str, c: FigureConstants, names: tuple[str, ...], **options) -> tuple[pd.DataFrame, dict]:
    """The table of a stage, with columns `names`, and its record. options are pandas.read_csv's. Raises InputError."""
    table = read_csv(path, stage, c, names, **options)
    if not len(table):
        raise InputError(f"{shown(path)}: expected rows, found none; run {stage} again")
    return table, check(path, stage, c)


def arrays(path: Path, stage: str, c: FigureConstants, names: tuple[str, ...]) -> dict:
    """The arrays of a stage, `names` among them. Raises InputError."""
    return need(read_npz(path, stage, c), path, names, stage)


def where(table: pd.DataFrame, **wanted) -> pd.DataFrame:
    """The rows whose columns hold what is wanted, by the name of the column: a value, or several to choose from."""
    kept = np.ones(len(table), bool)
    for name, values in wanted.items():
        kept &= table[name].isin(values if isinstance(values, (tuple, list, dict)) else [values]).to_numpy()
    return table[kept]


def tidy(ax) -> None:
    """Light grid lines, no box."""
    ax.grid()
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=7)


def colour_bar(fig, panel, drawn, right: float, down: float, long: float, label: str) -> None:
    """The scale of `drawn`, `long` inches, from `right` and `down` inches off the panel's upper left corner."""
    wide, tall = fig.get_size_inches()
    box = panel.get_position()
    ax = fig.add_axes((box.x0 + right / wide, box.y1 - down / tall, long / wide, 0.1 / tall))
    fig.colorbar(drawn, cax=ax, orientation="horizontal", extend="both").set_label(label, fontsize=7)
    ax.tick_params(labelsize=7)


def axes_at(fig: Figure, left: float, bottom: float, wide: float, high: float) -> Axes:
    """New axes at a place of the page; all in inches."""
    width, height = fig.get_size_inches()
    return fig.add_axes((left / width, bottom / height, wide / width, high / height))


def caption(fig, c: FigureConstants, record: dict, numbers: str, seeds: int = 1) -> None:
    """The line under a figure: region, recipe and seed in the record of its numbers, and `numbers` in words.

    seeds  of repeats that the numbers are from: compare_methods.py counts them from 1 on
    """
    words = [record.get("region") or c.REGION]
    words += [f"recipe {record['recipe']}"] if record.get("recipe") else []
    words += [seeds_in_words(record["seed"], seeds)] if record.get("seed") is not None else []
    text = " · ".join([*words, numbers])
    if len(text) > 17 * fig.get_figwidth():  # characters an inch at this size
        text = " · ".join(words) + "\n" + numbers
    fig.text(0.08 / fig.get_figwidth(), 0.08 / fig.get_figheight(), text, fontsize=6.5, linespacing=1.3,
             color="#555555", va="bottom")


def seeds_in_words(seed: int, repeats: int) -> str:
    """The seed of a run, or the seeds of its repeats; these count from 1 on, whatever the run's own seed."""
    if repeats == 1:
        return f"seed {seed}"
    return f"seeds 1 {'and' if repeats == 2 else 'to'} {repeats}" + f" of SEED={seed}" * (seed != 1)


def save(c: FigureConstants, name: str, fig, table: pd.DataFrame) -> None:
    """Writes a figure as png and pdf, without dates, its numbers as csv, and the record of the png."""
    paths = Paths(c.REGION)
    png, pdf, csv = (paths.figure(name, suffix) for suffix in SUFFIXES)
    with whole(csv) as temporary:
        write_table(table, temporary)
    with whole(pdf) as temporary:
        fig.savefig(temporary, format="pdf", dpi=c.DPI, metadata={"CreationDate": None, "Producer": None})
    read = [getattr(paths, name) for name in READ] + [paths.breaks] * (name in styles.IN_CLASSES)
    with artifact(png, STAGE, c, [path for path in read if path.is_file()], read) as temporary:
        fig.savefig(temporary, format="png", dpi=c.DPI, metadata={"Software": None})
