"""What figures of the comparison share: checked tables, a style for each method, pages with a row a method."""

import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lsm.figures import styles
from lsm.figures.common import FigureConstants, saved
from lsm.run.paths import shown
from lsm.run.settings import InputError

STAGE = "compare_methods.py"
COMPARING = ("published", "spatial", "blocked", "partitions", "random folds", "temporal")  # protocols of all methods


def compared(path: Path, c: FigureConstants, names: tuple[str, ...]) -> tuple[pd.DataFrame, dict]:
    """A table of the comparison with columns `names`, and its record; k stays text ("3/12"). Raises InputError."""
    return saved(path, STAGE, c, names, dtype={"k": str})


def protocols_of(table: pd.DataFrame, path, start: str = "") -> list[str]:
    """The protocols of a table that begin with `start`, or without `start` those that compare methods, in its order.

    k-shot and augmentation answer other questions, and the development blocks were used to choose settings. Raises
    InputError where there is none.
    """
    names = [str(p) for p in pd.unique(table["protocol"])]
    found = [p for p in names if p.startswith(start or COMPARING)]
    if not found:
        raise InputError(f"{shown(path)}: column 'protocol': expected {start or ', '.join(COMPARING)}, "
                         f"found {', '.join(names) or 'no row'}; run {STAGE} with it among PROTOCOLS")
    return found


def line_of(method: str) -> dict:
    """Colour and line of a method."""
    colour, line, _ = styles.METHODS.get(method, styles.OTHER)
    return {"color": colour, "linestyle": line}


def mark_of(method: str) -> dict:
    """Colour and mark of a method, for points."""
    colour, _, mark = styles.METHODS.get(method, styles.OTHER)
    return {"color": colour, "marker": mark}


def dark_of(method: str):
    """The method's colour, dark enough for text on white."""
    colour = to_rgb(styles.METHODS.get(method, styles.OTHER)[0])
    brightness = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]
    return tuple(v * min(1, 0.45 / max(brightness, 1e-9)) for v in colour)


def in_order(methods) -> list[str]:
    """Methods in the order of styles.METHODS, unknown methods last."""
    known = list(styles.METHODS)
    return sorted(methods, key=lambda m: (known.index(m) if m in known else len(known), m))


def in_colour(score: pd.Series, top: int) -> list[str]:
    """The `top` methods to draw in colour, best first: ours, and the best others; the remaining methods are drawn pale.

    score  by method, larger is better
    """
    best = list(score.sort_values(ascending=False, kind="stable").index)
    own = [m for m in best if m in ("ours", "ours, published recipe")]
    chosen = {*own, *[m for m in best if m not in own][:max(0, top - len(own))]}
    return [m for m in best if m in chosen]


def rows_of_methods(height: float, columns: int, bands: int, left: float = 1.85, gap: float = 0.12,
                    bottom: float = 0.45, top: float = 0.3, between: float = 0.45) -> tuple:
    """A page of panels with methods as rows: `bands` rows of panels, each `height` inches, names on the left.

    Returns the figure and its axes (bands, columns).
    """
    tall = top + bands * height + (bands - 1) * between + bottom
    fig = Figure(figsize=(styles.WIDTH, tall))
    axes = fig.subplots(bands, columns, squeeze=False, sharey="row")
    wide = (styles.WIDTH - left - 0.1 - (columns - 1) * gap) / columns
    fig.subplots_adjust(left=left / styles.WIDTH, right=1 - 0.1 / styles.WIDTH, top=1 - top / tall,
                        bottom=bottom / tall, wspace=gap / wide, hspace=between / height)
    return fig, axes


def name_rows(axes, methods: list[str]) -> None:
    """Writes the methods' names as rows of a band of axes, each in its colour, the first on top."""
    axes[0].set_yticks(range(len(methods)), methods, fontsize=6.5)
    axes[0].set_ylim(len(methods) - 0.4, -0.6)
    for label, method in zip(axes[0].get_yticklabels(), methods, strict=True):
        label.set_color(dark_of(method))
    for ax in axes:
        ax.grid(axis="x", color="#dddddd", linewidth=0.5)
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


def title_of(ax, method: str) -> None:
    """Writes the method above its own small panel, in its colour, on two lines where the name is long."""
    ax.set_title("\n".join(textwrap.wrap(method, 24)), fontsize=6.2, color=dark_of(method), pad=2.5, linespacing=1)


def hide_rest(axes, used: int, across: int) -> None:
    """Hides the panels after the first `used` of a grid `across` wide; the last panel of a column gets tick labels."""
    for ax in axes[used:]:
        ax.axis("off")
    for ax in axes[max(0, used - across):used]:
        ax.tick_params(labelbottom=True)


def repeats(numbers) -> str:
    """How many repeats, in words: "1 repeat", "5 repeats", "1 to 5 repeats". numbers  one number or a column."""
    low, high = int(np.min(numbers)), int(np.max(numbers))
    return f"{low} to {high} repeats" if low < high else f"{high} repeat" + ("s" if high != 1 else "")


def signed(change: float) -> str:
    """A difference of measures with its sign: "+.012"; ".000" has none."""
    text = f"{change:+.3f}"
    return text.replace("0.", ".").replace("-", "−") if float(text) else ".000"
