"""What prepare_region.py found: correlated factors with its checks, and scores of ways to draw non-landslides."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lsm.checks.finding import counts_in_words
from lsm.checks.table_checks import CORRELATION, VIF
from lsm.figures import styles
from lsm.figures.common import Drawn, FigureConstants, axes_at, caption, saved, tidy
from lsm.run.paths import Paths
from lsm.run.settings import counted

STAGE = "prepare_region.py"
LEVELS = {"error": ("X", "#b2182b"), "warning": ("^", "#e08214"), "ok": ("o", "#7f7f7f")}
LINES = 34  # of text beside the matrix


def correlation(c: FigureConstants) -> Drawn:
    """Correlations of the factors and their variance inflation; beside them, what the checks found."""
    paths = Paths(c.REGION)
    table, record = saved(paths.correlation, "check_region.py", c, ("factor", "VIF"))
    findings, _ = saved(paths.checks, "check_region.py", c, ("topic", "file", "level", "found"))
    names = list(table["factor"])
    r, vif, n = table[names].to_numpy(float), table["VIF"].to_numpy(float), len(names)
    fig, left, right = Figure(figsize=(styles.WIDTH, 5.3)), 0.95, 4.55
    ax = axes_at(fig, left, 0.35, right - left, 4)
    shades = LinearSegmentedColormap.from_list("r", ("#b35806", "#fdb863", "#ffffff", "#b2abd2", "#542788"))
    ax.imshow(np.where(np.eye(n, dtype=bool), np.nan, r), cmap=shades, vmin=-1, vmax=1, aspect="auto",
              extent=(-0.5, n - 0.5, n - 0.5, -0.5))
    for (i, j), value in np.ndenumerate(np.column_stack([r, vif])):
        if i == j:
            continue
        if j < n:
            text = f"{value:.2f}".replace("-0.00", "0.00").replace("0.", ".").replace("-", "−")
            strong, size, colour = abs(value) > CORRELATION, 5.8, "white" if abs(value) > 0.75 else "black"
        else:
            text, strong, size, colour = f"{value:.1f}" if value < 1000 else "> 999", value > VIF, 6, "black"
        ax.text(j, i, text, fontsize=size, fontweight="bold" if strong else None, color=colour, ha="center",
                va="center")
        if strong:
            ax.add_patch(Rectangle((j - 0.46, i - 0.46), 0.92, 0.92, fill=False, edgecolor="black", linewidth=1.1))
    ax.axvline(n - 0.5, color=styles.INK, linewidth=0.8)
    ax.set(xlim=(-0.5, n + 0.5), ylim=(n - 0.5, -0.5))
    ax.set_xticks(range(n + 1), [*names, "VIF"], rotation=60, ha="left", rotation_mode="anchor", fontsize=6.5)
    ax.set_yticks(range(n), names, fontsize=6.5)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    list_of(fig, findings, right + 0.2)
    caption(fig, c, record, f"{n} numeric factors; framed: |r| > {CORRELATION:g}, variance inflation (VIF) > {VIF:g}")
    both = [table.assign(part="correlation"), findings.assign(part="finding")]
    return fig, pd.concat(both)[["part", *table.columns, *findings.columns]]


def list_of(fig, findings: pd.DataFrame, left: float) -> None:
    """Writes the findings as lines of text, from `left` inches on."""
    ax = axes_at(fig, left, 0.35, styles.WIDTH - left - 0.05, fig.get_figheight() - 0.5)
    ax.axis("off")
    ax.set(xlim=(0, 1), ylim=(LINES + 1.5, 0))
    ax.text(0, 0.6, counts_in_words(findings), fontsize=7, fontweight="bold")
    for i, (level, text) in enumerate(lines_of(findings)):
        if level:
            mark, colour = LEVELS[level]
            ax.plot(0.02, i + 1.8, marker=mark, markersize=3.6, color=colour, clip_on=False)
        ax.text(0.06, i + 1.8, text, fontsize=6, va="center")


def lines_of(findings: pd.DataFrame) -> list[tuple[str, str]]:
    """The findings as at most LINES lines, each with its level; "" where a finding goes on from the line above.

    First errors, then warnings, each in full; a line counts findings that do not fit. Last, how many findings of each
    topic are in order.
    """
    fine = findings[findings["level"] == "ok"]["topic"].value_counts()
    last = [("ok", f"{topic}: {n} in order") for topic, n in fine.items()][:LINES // 2]
    blocks = []
    for level in ("error", "warning"):
        for f in findings[findings["level"] == level].itertuples():
            text = textwrap.wrap(f"{f.topic}, {str(f.file).split('/')[-1]}: {f.found}", 50)
            blocks.append([(level, text[0]), *(("", t) for t in text[1:])])
    room, lines = LINES - len(last), []
    for i, block in enumerate(blocks):
        if len(lines) + len(block) > room - (i < len(blocks) - 1):
            lines.append(("", f"and {len(blocks) - i} more"))
            break
        lines += block
    return lines + last


def non_landslides(c: FigureConstants) -> Drawn:
    """The score of a quick model for each way of drawing non-landslides; the chosen way is marked."""
    path = Paths(c.REGION).strategies
    table, record = saved(path, STAGE, c, ("strategy", "landslides", "non_landslides", "auroc", "chosen"))
    fig = Figure(figsize=(styles.COLUMN, 1.0 + 0.36 * len(table)))
    ax = fig.subplots()
    tall = fig.get_figheight()
    fig.subplots_adjust(left=0.17, right=0.97, top=1 - 0.1 / tall, bottom=0.87 / tall)
    y = np.arange(len(table))
    ax.barh(y, table["auroc"].fillna(0), height=0.62, edgecolor=styles.AFTER["color"], linewidth=0.8,
            color=[1 - 0.25 * (1 - np.array(to_rgb(styles.AFTER["color"]))) if chosen else "white"
                   for chosen in table["chosen"]])
    for i, row in enumerate(table.itertuples()):
        value = f"{row.auroc:.3f}" if np.isfinite(row.auroc) else "no score: too few squares"
        ax.text(0.02, i, f"{value}, {counted(row.non_landslides, 'point')}" + " (chosen)" * bool(row.chosen),
                fontsize=6.5, va="center")
    ax.axvline(0.5, color="black", linewidth=0.8, linestyle=":")
    ax.set_yticks(y, table["strategy"])
    ax.set(xlim=(0, 1), ylim=(len(table) - 0.45, -0.55), xlabel="AUROC, whole squares left out")
    tidy(ax)
    ax.tick_params(axis="y", length=0)
    caption(fig, c, record, f"{int(table['landslides'].max()):,} landslides; dotted: chance;\na higher "
            "score does not mean better points, each way has its own")
    return fig, table
