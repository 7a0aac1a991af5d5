"""Fast adaptation: accuracy of held-out blocks by the number of labelled samples and of adaptation steps."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lsm.figures import styles
from lsm.figures.common import Drawn, FigureConstants, caption, tidy, where
from lsm.figures.comparison.block_kinds import candle
from lsm.figures.comparison.method_panels import (
    compared,
    means_of,
    protocols_of,
    repeats_in_words,
    seeds_of,
    seeds_of_means,
)
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError, counted

MARKS = ("o", "s", "^", "v", "D", "P", "X", "*")


def few_shot(c: FigureConstants) -> Drawn:
    """Accuracy against the number of samples that a block adapts on, and against their share of the block; a line a
    number of steps."""
    path = Paths(c.REGION).method_metrics
    table, record = shots(path, c, ("subset", "measure", "mean", "sd", "seeds", "n"))
    table = where(table, subset="all", measure="accuracy")
    fig = Figure(figsize=(styles.WIDTH, 3.5))
    axes = fig.subplots(1, 2, sharey=True)
    fig.subplots_adjust(left=0.075, right=0.86, top=0.93, bottom=0.2, wspace=0.06)
    steps = sorted(table["steps"].unique())
    colours = LinearSegmentedColormap.from_list("steps", ("#9ecae1", "#4292c6", "#08519c", "#041f45"))
    for ax, (title, ks) in zip(axes, sorts_of_k(table), strict=True):
        for i, step in enumerate(steps):
            one = where(table, steps=step).set_index("k").reindex(ks)
            style = styles.BEFORE if step == 0 else {"color": colours((i - 1) / max(1, len(steps) - 2))}
            x = np.arange(len(ks)) + 0.035 * (i - len(steps) / 2)  # beside each other, so that whiskers show
            ax.errorbar(x, one["mean"], yerr=one["sd"], marker=MARKS[i % len(MARKS)], markersize=3.2,
                        linewidth=1, elinewidth=0.5, label=steps_in_words(step), **style)
        ax.set_xticks(range(len(ks)), ks)
        ax.set(xlabel="labelled samples of the block" if "/" not in ks[0] else "share of the block's samples")
        ax.set_title(title, loc="left")
        tidy(ax)
    axes[0].set_ylabel("accuracy on the query")
    handles, labels = axes[1].get_legend_handles_labels()
    axes[1].legend(handles[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(1.02, 1), borderaxespad=0)
    caption(fig, c, record, f"{table['method'].iloc[0]}; {means_of(table.seeds, table.protocol)}, "
            f"{int(table['n'].max()):,} query points together", seeds_of_means(table))
    return fig, table[["k", "steps", "mean", "sd", "n", "seeds"]]


def shots(path: Path, c: FigureConstants, names: tuple[str, ...]) -> tuple[pd.DataFrame, dict]:
    """The k-shot rows of a table, with steps as whole numbers, and its record. Raises NotCompared where there are none.
    """
    table, record = compared(path, c, ("protocol", "k", "steps", "method", *names))
    table = where(table, protocol=protocols_of(table, path, "k-shot"))
    return table.assign(steps=table["steps"].astype(int)), record


def sorts_of_k(table: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """Two lists of k with a title, both rising: counts of samples, and shares of a block."""
    ks = pd.unique(table["k"])
    return [("k samples", sorted((k for k in ks if "/" not in k), key=int)),
            ("the published sweep", sorted((k for k in ks if "/" in k), key=lambda k: int(k.split("/")[0])))]


def steps_in_words(step: int) -> str:
    """The legend's words for a number of steps."""
    return counted(step, "step") if step else "not adapted"


def few_shot_blocks(c: FigureConstants) -> Drawn:
    """Accuracy of blocks before and after adaptation: candles by the number of samples, and a point a block for the
    largest number."""
    path = Paths(c.REGION).block_metrics
    table, record = shots(path, c, ("seed", "block", "n", "accuracy"))
    steps = sorted(set(table["steps"]) - {0})
    if c.SHOT_STEPS not in steps or 0 not in set(table["steps"]):
        raise InputError(f"SHOT_STEPS={c.SHOT_STEPS}: expected one of {', '.join(map(str, steps))} of {shown(path)}, "
                         "beside 0")
    table = where(table, steps=(0, c.SHOT_STEPS))
    fig = Figure(figsize=(styles.WIDTH, 3.65))
    axes = fig.subplots(1, 3, gridspec_kw={"width_ratios": (1, 1, 1.35)})
    fig.subplots_adjust(left=0.07, right=0.985, top=0.93, bottom=0.27, wspace=0.25)
    low, rows = np.floor(10 * table["accuracy"].min()) / 10, []
    for ax, (title, ks) in zip(axes, sorts_of_k(table), strict=False):
        for i, k in enumerate(ks):
            for step, offset, style in ((0, -0.19, styles.BEFORE), (c.SHOT_STEPS, 0.19, styles.AFTER)):
                values = where(table, k=k, steps=step)["accuracy"]
                rows.append({"k": k, "steps": step} | candle(ax, i + offset, values, style["color"], True, 0.32))
        ax.set_xticks(range(len(ks)), ks)
        ax.set(ylim=(low, 1.01), xlabel="labelled samples" if "/" not in ks[0] else "share of the block")
        ax.set_title(title, loc="left")
        tidy(ax)
    axes[0].set_ylabel("accuracy of a block")
    handles = [Patch(facecolor=(*to_rgb(style["color"]), 0.45), edgecolor=style["color"], label=steps_in_words(step))
               for step, style in ((0, styles.BEFORE), (c.SHOT_STEPS, styles.AFTER))]
    fig.legend(handles=handles, loc="lower right", bbox_to_anchor=(0.985, 0.1), ncols=2, borderaxespad=0)
    (_, counts), (_, shares) = sorts_of_k(table)
    most = (shares or counts)[-1]
    wide = where(table, k=most).pivot(index=["seed", "block", "n"], columns="steps", values="accuracy")
    wide = wide.reset_index().rename(columns={0: "before", c.SHOT_STEPS: "after"})
    ax, least = axes[2], np.floor(10 * wide[["before", "after"]].min().min()) / 10
    ax.plot((least, 1), (least, 1), color=styles.INK, linewidth=0.7, linestyle=":")
    ax.scatter(wide["before"], wide["after"], s=4 + 40 * wide["n"] / wide["n"].max(), linewidths=0.6, zorder=3,
               facecolors=(*to_rgb(styles.AFTER["color"]), 0.3), edgecolors=styles.AFTER["color"], clip_on=False)
    ax.set(xlim=(least, 1), ylim=(least, 1), aspect="equal", xlabel="not adapted", ylabel=f"{c.SHOT_STEPS} steps")
    ax.set_title(f"{most} of the block's samples", loc="left")
    tidy(ax)
    gain = wide["after"] - wide["before"]
    caption(fig, c, record, f"line: mean, box: sd, whisker: least and most; {len(wide)} blocks of "
            f"{repeats_in_words(wide['seed'].nunique(), table.protocol)}, area: query points; {(gain > 0).sum()} gain, "
            f"{(gain == 0).sum()} stay equal, {(gain < 0).sum()} lose",
            seeds_of(table.groupby("protocol")["seed"].nunique()))
    candles = pd.DataFrame(rows).assign(part="candle")
    points = wide.assign(part="point", k=most, steps=c.SHOT_STEPS)
    return fig, pd.concat([candles, points[["part", "k", "steps", "seed", "block", "n", "before", "after"]]])
