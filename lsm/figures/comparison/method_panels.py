"""What figures of the comparison share: checked tables, a style for each method, pages with a row a method."""

import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lsm.comparison.protocols import number_of
from lsm.figures import styles
from lsm.figures.common import FigureConstants, NotCompared, tidy
from lsm.run.artifacts import check, read_csv
from lsm.run.paths import Paths, shown

STAGE = "compare_methods.py"
COLUMNS = ("protocol", "subset", "with_dv", "method", "measure", "mean", "sd", "n", "seeds")  # of the measures
ROW = 0.165   # inches of a method, where methods are rows
ACROSS = 5    # small panels in a row
LONGEST = 36  # letters of a name in a row; a longer one takes two lines
COMPARING = ("published", "spatial", "blocked", "partitions", "random folds", "temporal")  # protocols of all methods


def compared(path: Path, c: FigureConstants, names: tuple[str, ...]) -> tuple[pd.DataFrame, dict]:
    """A table of the comparison with columns `names`, and its record; k stays text ("3/12").

    Raises InputError; NotCompared for a table without rows: the protocols of the last comparison had none for it.
    """
    table = read_csv(path, STAGE, c, names, dtype={"k": str})
    if not len(table):
        raise NotCompared(f"{shown(path)}: expected rows, found none: no protocol of the last comparison has them; run "
                          f"{STAGE} with others")
    return table, check(path, STAGE, c)


def measured(c: FigureConstants, *starts: str) -> tuple[pd.DataFrame, dict, list[str]]:
    """The table of measures of every method, its record, and its protocols as `protocols_of` gives them for each of
    `starts`."""
    path = Paths(c.REGION).method_metrics
    table, record = compared(path, c, COLUMNS)
    return table, record, [name for start in starts or ("",) for name in protocols_of(table, path, start)]


def protocols_of(table: pd.DataFrame, path, start: str = "") -> list[str]:
    """The protocols of a table, in its order, whose names begin with `start`; without `start`, all in COMPARING.

    COMPARING leaves out k-shot and augmentation, which answer other questions, and the blocks for development, on which
    settings were chosen. Raises NotCompared where the table has no such protocol.
    """
    names = [str(p) for p in pd.unique(table["protocol"])]
    found = [p for p in names if p.startswith(start or COMPARING)]
    if not found:
        raise NotCompared(f"{shown(path)}: column 'protocol': expected {start or ', '.join(COMPARING)}, "
                          f"found {', '.join(names) or 'no row'}; run {STAGE} with it among PROTOCOLS")
    return found


def style_of(method: str) -> dict:
    """Colour, line and mark of a method, as Matplotlib names them."""
    return dict(zip(("color", "linestyle", "marker"), styles.METHODS.get(method, styles.OTHER), strict=True))


def dark_of(method: str) -> tuple[float, float, float]:
    """The method's colour, dark enough for text on white."""
    colour = to_rgb(style_of(method)["color"])
    brightness = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]
    return tuple(v * min(1, 0.45 / max(brightness, 1e-9)) for v in colour)


def ordered_methods(methods) -> list[str]:
    """Methods in the order of styles.METHODS, unknown methods last."""
    known = list(styles.METHODS)
    return sorted(methods, key=lambda m: (known.index(m) if m in known else len(known), m))


def in_colour(score: pd.Series, top: int) -> list[str]:
    """The `top` methods to draw in colour, best first: ours and the best of the others. The rest is drawn pale.

    score  by method, larger is better
    """
    best = list(score.sort_values(ascending=False, kind="stable").index)
    own = [m for m in best if m in ("ours", "ours, published recipe")]
    chosen = {*own, *[m for m in best if m not in own][:max(0, top - len(own))]}
    return [m for m in best if m in chosen]


def rows_of_methods(height: float, columns: int, bands: int, gap: float = 0.12, bottom: float = 0.45,
                    top: float = 0.3, between: float = 0.45) -> tuple:
    """A page of panels with methods as rows: `bands` rows of panels, each `height` inches, names on the left.

    Returns the figure and its axes (bands, columns).
    """
    left, tall = 1.85, top + bands * height + (bands - 1) * between + bottom
    fig = Figure(figsize=(styles.WIDTH, tall))
    axes = fig.subplots(bands, columns, squeeze=False, sharey="row")
    wide = (styles.WIDTH - left - 0.1 - (columns - 1) * gap) / columns
    fig.subplots_adjust(left=left / styles.WIDTH, right=1 - 0.1 / styles.WIDTH, top=1 - top / tall,
                        bottom=bottom / tall, wspace=gap / wide, hspace=between / height)
    return fig, axes


def name_rows(axes, methods: list[str]) -> None:
    """Writes the methods' names as rows of a band of axes, each in its colour, the first on top."""
    axes[0].set_yticks(range(len(methods)), [textwrap.fill(method, LONGEST) for method in methods], fontsize=6.5)
    axes[0].set_ylim(len(methods) - 0.4, -0.6)
    for label, method in zip(axes[0].get_yticklabels(), methods, strict=True):
        label.set(color=dark_of(method), linespacing=0.9)
        if "\n" in label.get_text():  # in the height of one row
            label.set_fontsize(5.2)
    for ax in axes:
        ax.grid(axis="x")
        ax.set_axisbelow(True)
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.tick_params(axis="x", labelsize=6.5)
        ax.tick_params(axis="y", length=0)


def hollow(label: str, face: str, mark: str = "o") -> Line2D:
    """A legend's dark mark, filled with `face`."""
    return Line2D([], [], linestyle="", marker=mark, markersize=4, color=styles.INK, markerfacecolor=face, label=label)


def foot_legend(fig, handles: list, side: str) -> None:
    """A legend of two columns above the caption, in the lower left or lower right ("left", "right") of a page."""
    fig.legend(handles=handles, loc=f"lower {side}", bbox_to_anchor=(0.01 if side == "left" else 0.99,
               0.2 / fig.get_figheight()), ncols=2, fontsize=6.5, borderaxespad=0)


def name_band(axes, protocol: str) -> None:
    """Writes a protocol above the names of a band of axes."""
    axes[0].annotate(protocol, (0, 1), xytext=(-130, 5), textcoords="offset points", xycoords="axes fraction",
                     fontweight="bold", fontsize=8)


def panel_each(methods: list[str], high: float, more: float, left: float, bottom: float, gap: float) -> tuple:
    """A page with a small panel for each method, ACROSS in a row at most, on the same axes: the figure and the axes.

    high, more, bottom  inches: of a panel with its gap; of the page besides; below the lowest panel
    left, gap           as subplots_adjust takes left and hspace
    """
    used, down = len(methods), -(-len(methods) // ACROSS)
    across = -(-used // down)  # few methods, or few in the last row, leave no empty panels where that can be
    tall = down * high + more
    fig = Figure(figsize=(styles.WIDTH, tall))
    axes = fig.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
    fig.subplots_adjust(left=left, right=0.99, top=1 - 0.27 / tall, bottom=bottom / tall, wspace=0.1, hspace=gap)
    for ax, method in zip(axes, methods, strict=False):
        ax.set_title("\n".join(textwrap.wrap(method, 26)), fontsize=6.2, color=dark_of(method), pad=2.5,
                     linespacing=1)
        tidy(ax)
    for ax in axes[used:]:
        ax.axis("off")
    for ax in axes[max(0, used - across):used]:  # the lowest of each column
        ax.tick_params(labelbottom=True)
    return fig, axes[:used]


def dumbbell(ax, place: float, ends: list[tuple], colour: str, size: float = 3.8, line: float = 1.6) -> None:
    """Draws a row of values (value, sd, mark, face) with whiskers, joined by a line."""
    ax.plot([value for value, *_ in ends], [place] * len(ends), color=colour, linewidth=line, solid_capstyle="butt")
    for value, sd, mark, face in ends:
        ax.errorbar(value, place, xerr=sd, color=colour, elinewidth=0.5, marker=mark, markersize=size,
                    markerfacecolor=face, markeredgewidth=0.9)


def protocol_mark(number: int) -> str:
    """The mark of a protocol, by its number in the order of the tables."""
    return styles.PROTOCOL_MARKS[number % len(styles.PROTOCOL_MARKS)]


def span(low: int, high: int) -> str:
    """A number of points, or the least and the largest number."""
    return f"{high:,}" if low == high else f"{low:,}–{high:,}"


def repeats_in_words(numbers, protocols) -> str:
    """How often protocols were scored, in words: "1 repeat", "5 folds", "3 to 5 repeats or folds".

    numbers  one number or a column; protocols  their names, once or often
    """
    low, high = int(np.min(numbers)), int(np.max(numbers))
    words = " or ".join(sorted({number_of(name) + "s" * (high != 1) for name in protocols}, reverse=True))
    return f"{low} to {high} {words}" if low < high else f"{high:,} {words}"


def means_of(numbers, protocols) -> str:
    """What marks and whiskers show, in words; arguments as of `repeats_in_words`. One repeat has no standard
    deviation."""
    return f"mean{' and sd' * bool(np.max(numbers) > 1)} of {repeats_in_words(numbers, protocols)}"


def seeds_of(numbers: pd.Series) -> int:
    """How many seeds a figure shows, for its caption: the most of those protocols whose splits are repeats. Folds are
    parts of one draw.

    numbers  of splits, by the protocol's name
    """
    return max([1, *(int(n) for name, n in numbers.items() if number_of(name) == "repeat")])


def seeds_of_means(table: pd.DataFrame) -> int:
    """The same from a table of means over splits, with columns protocol and seeds."""
    return seeds_of(table.groupby("protocol")["seeds"].max())


def signed(change: float) -> str:
    """A difference of measures with its sign: "+.012"; ".000" has none."""
    text = f"{change:+.3f}"
    return text.replace("0.", ".").replace("-", "−") if float(text) else ".000"
