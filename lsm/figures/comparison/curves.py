"""Curves of the comparison: ROC, precision-recall, reliability, success and prediction rate over area."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from lsm.comparison import measures
from lsm.figures import styles
from lsm.figures.common import Drawn, FigureConstants, caption, tidy, where
from lsm.figures.comparison import method_panels as panels
from lsm.figures.comparison.method_panels import (
    STAGE,
    in_colour,
    ordered_methods,
    protocols_of,
    repeats_in_words,
    style_of,
)
from lsm.run.artifacts import check, need
from lsm.run.paths import Paths
from lsm.run.settings import counted

GRID = np.unique(np.concatenate([np.linspace(0, 0.1, 101), np.linspace(0.1, 1, 181)]))  # finer where curves bend
FEW = 5     # repeats or folds that are drawn as lines of their own; more lines would hide each other
BANDED, BAND = "ours", (0.1, 0.9)  # of more, one band shows the spread, between these quantiles: bands of all methods
                                   # would lie on each other
MARK = 4.8  # points, of marks on lines, for readers who do not see the colours


def method_roc(c: FigureConstants) -> Drawn:
    """ROC of every method under every protocol: the mean over repeats or folds, and its spread."""
    return scored_curves(c, roc_on_grid, "AUROC", ("false positive rate", "true positive rate"), "lower right")


def method_precision_recall(c: FigureConstants) -> Drawn:
    """Precision against recall of every method under every protocol: the mean over repeats or folds, and its spread."""
    return scored_curves(c, precision_on_grid, "PR-AUC", ("recall", "precision"), "lower left")


def scored_curves(c: FigureConstants, curve, measure: str, words: tuple[str, str], corner: str) -> Drawn:
    """A panel a protocol, with the curves of all methods.

    curve    curve(label, score) gives y on GRID and the area under the curve
    measure  the name of this area; words: labels of both axes; corner: place of the legend
    """
    path = Paths(c.REGION).scores
    table, record = scored(path, c)
    protocols, drawn, means = protocols_of(table, path), [], []
    groups = where(table, protocol=protocols).groupby(["protocol", "method", "seed"], observed=True, sort=False)
    for (protocol, method, seed), part in groups:
        y, area = curve(part["label"].to_numpy(), part["score"].to_numpy())
        drawn.append(pd.DataFrame({"protocol": protocol, "method": method, "repeat": str(seed), "x": GRID, "y": y}))
        means.append({"protocol": protocol, "method": method, "area": area})
    drawn, means = pd.concat(drawn, ignore_index=True), pd.DataFrame(means)
    fig, axes = panels_of(len(protocols))
    for ax, protocol in zip(axes, protocols, strict=False):
        area = where(means, protocol=protocol).groupby("method", sort=False)["area"].agg(["mean", "std"])
        chosen, lines = in_colour(area["mean"], c.TOP), where(drawn, protocol=protocol)
        lines_of_repeats(ax, lines, chosen)
        labels = [(m, f"{m}  {mean:.3f}" + (f" ± {sd:.3f}" if np.isfinite(sd) else ""))
                  for m, mean, sd in area.loc[chosen].itertuples()]
        method_legend(ax, labels, len(area) - len(chosen), measure, corner)
        ax.set(xlim=(0, 1), ylim=(0, 1), xlabel=words[0], ylabel=words[1], aspect="equal")
        n = where(table, protocol=protocol).groupby(["method", "seed"], observed=True).size()
        often = repeats_in_words(lines["repeat"].nunique(), [protocol])
        ax.set_title(f"{protocol}: {often}, {panels.span(n.min(), n.max())} points each", loc="left")
        tidy(ax)
    caption(fig, c, record, f"{words_of_lines(drawn)}; numbers: mean ± sd",
            panels.seeds_of(drawn.groupby("protocol")["repeat"].nunique()))
    mean = drawn.groupby(["protocol", "method", "x"], sort=False)["y"].mean().reset_index().assign(repeat="mean")
    return fig, pd.concat([mean[drawn.columns], drawn]).round(6)


def scored(path: Path, c: FigureConstants) -> tuple[pd.DataFrame, dict]:
    """The scores of query points with all factors (protocol, seed, method, label, score), and the table's record."""
    record = check(path, STAGE, c)
    return _scored(path, record["sha256"]), record


@lru_cache(maxsize=1)  # several figures read these millions of rows
def _scored(path, digest: str) -> pd.DataFrame:
    names = ["protocol", "seed", "with_dv", "method", "label", "score"]
    need(pd.read_csv(path, nrows=0), path, names, STAGE)
    table = pd.read_csv(path, usecols=names, dtype={"protocol": "category", "method": "category", "label": np.int8,
                                                    "score": np.float32})
    return table[table["with_dv"]].drop(columns="with_dv")


def roc_on_grid(label: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, float]:
    """True positive rate at false positive rates GRID, and AUROC."""
    false, true, _ = roc_curve(label, score)
    return np.interp(GRID, false, true), roc_auc_score(label, score)


def precision_on_grid(label: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, float]:
    """Precision where recall first reaches GRID, and PR-AUC (average precision)."""
    precision, recall, _ = precision_recall_curve(label, score)  # recall falls from 1; at its end 0, a made-up point
    at = np.searchsorted(recall[:-1][::-1], GRID)
    return precision[:-1][::-1][at], average_precision_score(label, score)


def panels_of(n: int, foot: float = 0.68) -> tuple:
    """A page of n panels, two a row; one alone stands in the middle. foot: inches of caption and labels."""
    rows, height = (n + 1) // 2, 3.1  # inches
    tall = rows * height + (rows - 1) * 0.68 + foot + 0.22
    fig = Figure(figsize=(styles.WIDTH, tall))
    axes = fig.subplots(rows, min(2, n), squeeze=False).ravel()
    fig.subplots_adjust(left=0.07, right=0.985, top=1 - 0.22 / tall, bottom=foot / tall, wspace=0.17,
                        hspace=0.68 / height)
    for ax in axes[n:]:
        ax.axis("off")
    return fig, axes[:n]


def marked(method: str) -> dict:
    """Colour, line and mark of a method for lines with marks: a white edge apart from the line, or, of marks that are
    lines themselves, their own colour on the line."""
    style = style_of(method)
    if MarkerStyle(style["marker"]).is_filled():
        return style | {"markersize": MARK, "markeredgecolor": "white", "markeredgewidth": 0.4}
    return style | {"markersize": 1.5 * MARK, "markeredgecolor": panels.dark_of(method), "markeredgewidth": 1.3}


def lines_of_repeats(ax, table: pd.DataFrame, chosen: list[str]) -> None:
    """Draws means over the repeats of every method, and each repeat as a thin line, or, of more than FEW, a band
    for the method BANDED alone.

    table   method, repeat, x, y
    chosen  methods in their style, the best on top; the others are pale
    """
    for method in [m for m in ordered_methods(pd.unique(table["method"])) if m not in chosen] + chosen[::-1]:
        wide = table[table["method"] == method].pivot(index="x", columns="repeat", values="y")
        if method in chosen:
            colour = style_of(method)["color"]
            if wide.shape[1] > FEW and method == BANDED:
                ax.fill_between(wide.index, *wide.quantile(BAND, axis=1).to_numpy(), color=colour, alpha=0.15,
                                linewidth=0)
            elif 1 < wide.shape[1] <= FEW:
                ax.plot(wide.index, wide, color=colour, linewidth=0.35, alpha=0.35)
            ax.plot(wide.index, wide.mean(axis=1), linewidth=1.3, zorder=3, **marked(method),
                    markevery=(0.05 + 0.02 * chosen.index(method), 0.2))
        else:
            ax.plot(wide.index, wide.mean(axis=1), linewidth=0.8, color=styles.PALE, zorder=1)


def words_of_lines(table: pd.DataFrame) -> str:
    """What `lines_of_repeats` draws of panels, in words for the caption. table: protocol, method, repeat."""
    repeats = table.groupby(["protocol", "method"], observed=True)["repeat"].nunique()
    words = ["lines: mean"]
    words += ["thin lines: each repeat or fold"] * bool(((repeats > 1) & (repeats <= FEW)).any())
    banded = repeats[repeats.index.get_level_values("method") == BANDED]
    words += [f"band: {BANDED}, from 10 to 90 % of its repeats or folds"] * bool((banded > FEW).any())
    return "; ".join(words)


def method_legend(ax, labels: list[tuple[str, str]], others: int, title: str, corner: str) -> None:
    """Legend of the methods with their numbers, best first, in the colours of their lines, and how many are pale."""
    handles = [Line2D([], [], label=text, linewidth=1.3, **marked(method)) for method, text in labels]
    if others:
        handles.append(Line2D([], [], color=styles.PALE, linewidth=0.8, label=counted(others, "other")))
    drawn = ax.legend(handles=handles, loc=corner, fontsize=6, title=title, title_fontsize=6.5, alignment="left",
                      handlelength=2.4, labelspacing=0.25, borderaxespad=0.3, frameon=True, framealpha=0.9,
                      edgecolor=styles.PALE, fancybox=False)
    drawn.get_frame().set_linewidth(0.5)  # else lines seem to end where the box covers them
    for text, (method, _) in zip(drawn.get_texts(), labels, strict=False):
        text.set_color(panels.dark_of(method))


def method_rates(c: FigureConstants) -> Drawn:
    """Success- and prediction-rate curves: the share of landslides on the most susceptible share of the area."""
    path = Paths(c.REGION).rates
    table, record = panels.compared(path, c, ("protocol", "seed", "with_dv", "method", "kind", "area", "landslides"))
    table = table[table["with_dv"]]
    protocols = protocols_of(table, path)
    pairs = [(p, k) for p in protocols for k in ("success", "prediction") if len(where(table, protocol=p, kind=k))]
    fig, axes = panels_of(len(pairs), foot=0.82)  # the caption has a line more
    for ax, (protocol, kind) in zip(axes, pairs, strict=True):
        part = where(table, protocol=protocol, kind=kind).rename(
            columns={"area": "x", "landslides": "y", "seed": "repeat"})
        top = part.groupby(["method", "repeat"], sort=False)[["x", "y"]].apply(lambda g: np.interp(0.1, g["x"], g["y"]))
        top = top.groupby("method", sort=False).mean()
        chosen = in_colour(top, c.TOP)
        lines_of_repeats(ax, part, chosen)
        ax.plot((0, 1), (0, 1), color="#b0b0b0", linewidth=0.7)
        ax.axvline(0.1, color=styles.INK, linewidth=0.6, linestyle=(0, (2, 2)))
        method_legend(ax, [(m, f"{m}  {top[m]:.2f}") for m in chosen], len(top) - len(chosen),
                      "share on the top 10 % (dashed)", "lower right")
        ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="share of the area, most susceptible first",
               ylabel="share of landslides")
        ax.set_title(f"{protocol}: {kind} rate, {repeats_in_words(part['repeat'].nunique(), [protocol])}", loc="left")
        tidy(ax)
    words = {"success": "success: landslides that a method learned from",
             "prediction": "prediction: landslides that it did not learn from"}
    table = where(table, protocol=protocols)
    lines = words_of_lines(table.rename(columns={"seed": "repeat"}))
    caption(fig, c, record, "; ".join([*(words[k] for k in words if k in {k for _, k in pairs}), "grey line: chance"])
            + "\n" + lines, panels.seeds_of(table.groupby("protocol")["seed"].nunique()))
    return fig, table[["protocol", "kind", "method", "seed", "area", "landslides"]]


def reliability(c: FigureConstants, protocol: str) -> Drawn:
    """Observed share of landslides against predicted probability, a panel a method, with the points of every bin."""
    path = Paths(c.REGION).scores
    table, record = scored(path, c)
    protocols = protocols_of(table, path, protocol)[:2]
    rows, error = [], {}
    groups = where(table, protocol=protocols).groupby(["protocol", "method"], observed=True, sort=False)
    for (name, method), part in groups:
        n, mean, share = measures.reliability_bins(part["label"].to_numpy(), part["score"].to_numpy(float))
        error[name, method] = np.mean([measures.calibration_error(one["label"].to_numpy(), one["score"].to_numpy(float))
                                       for _, one in part.groupby("seed")])
        rows.append(pd.DataFrame({"protocol": name, "method": method, "bin": np.arange(len(n)), "points": n,
                                  "predicted": mean, "observed": share}))
    drawn = pd.concat(rows, ignore_index=True)
    methods = ordered_methods(drawn["method"].unique())
    fig, axes = panels.panel_each(methods, 1.5, 0.82, left=0.065, bottom=0.72, gap=0.25)
    for ax, method in zip(axes, methods, strict=True):
        ax.plot((0, 1), (0, 1), color=styles.INK, linewidth=0.6, linestyle=":")
        words, most = [], ""
        for i, name in enumerate(protocols):
            one = where(drawn, method=method, protocol=name)
            if not len(one):
                continue
            x, share = (one["bin"] + 0.5) / measures.BINS, one["points"] / one["points"].sum()
            if i == 0:
                ax.bar(x, 0.4 * share / share.max(), width=0.08, color=styles.PALE, zorder=0)
                most = f"largest bar {one['points'].max():,}"
            ax.plot(one["predicted"], one["observed"], linewidth=0.9, markersize=3.2, clip_on=False, zorder=3,
                    markerfacecolor="white" if i else None, **style_of(method) | {"linestyle": "--" if i else "-"})
            words.append(f"{error[name, method]:.3f}")
        ax.text(0.03, 0.97, f"error {', '.join(words)}\n{most}", fontsize=6, transform=ax.transAxes, va="top")
        ax.set(xlim=(0, 1), ylim=(0, 1))
        ax.set_xticks((0, 0.5, 1), ("0", ".5", "1"))
        ax.set_yticks((0, 0.5, 1), ("0", ".5", "1"))
    fig.supxlabel("predicted probability, mean of each tenth", fontsize=7.5, y=0.36 / fig.get_figheight())
    fig.supylabel("observed share of landslides", fontsize=7.5, x=0.005)
    which = f"{protocols[0]} (solid, bars) and {protocols[1]} (dashed)" if len(protocols) == 2 else protocols[0]
    first = where(table, protocol=protocols[0])
    n = first.groupby("method", observed=True).size().max()
    often = repeats_in_words(first["seed"].nunique(), protocols[:1])
    caption(fig, c, record, f"{which}, {n:,} points of {often}; bars: points in each tenth; error: expected "
            "calibration error", panels.seeds_of(where(table, protocol=protocols).groupby(
                "protocol", observed=True)["seed"].nunique()))
    return fig, drawn
