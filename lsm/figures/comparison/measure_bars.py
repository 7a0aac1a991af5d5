"""Measures by method: bars, differences from ours, published against spatial halves, distance, subsets."""

import itertools

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lsm.comparison.measures import LOWER_IS_BETTER
from lsm.figures import styles
from lsm.figures.common import FigureConstants, caption, round_numbers, saved, tidy
from lsm.figures.comparison.method_panels import (
    STAGE,
    compared,
    foot_legend,
    hide_rest,
    hollow,
    in_order,
    mark_of,
    name_band,
    name_rows,
    protocols_of,
    repeats,
    rows_of_methods,
    signed,
    title_of,
)
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError

COLUMNS = ("protocol", "subset", "with_dv", "method", "measure", "mean", "sd", "n", "seeds")
ROW = 0.165           # inch a method
QUARTERS = ("nearest quarter", "second quarter", "third quarter", "farthest quarter")
SUBSETS = ("all", "inventory", "insar")
CUTS = ("published", "spatial")


def bars(c: FigureConstants, protocol: str):
    """Measures of every method under one protocol, as bars with the standard deviation over the repeats."""
    path = Paths(c.REGION).method_metrics
    table, record = compared(path, c, COLUMNS)
    protocols = protocols_of(table, path, protocol)
    table = table[table["protocol"].isin(protocols) & (table["subset"] == "all") & table["with_dv"]]
    measures = [m for m in styles.MEASURES if m in set(table["measure"])]
    methods = {p: ranked(table[table["protocol"] == p]) for p in protocols}
    fig, axes = rows_of_methods(ROW * max(map(len, methods.values())), len(measures), len(protocols), top=0.42)
    for band, p in zip(axes, protocols, strict=True):
        for ax, measure in zip(band, measures, strict=True):
            one = table[(table["protocol"] == p) & (table["measure"] == measure)].set_index("method").reindex(
                methods[p])
            y, end = np.arange(len(one)), (one["mean"] + one["sd"].fillna(0)).max()
            ax.barh(y, one["mean"], height=0.72, color=[mark_of(m)["color"] for m in one.index], zorder=2)
            ax.errorbar(one["mean"], y, xerr=one["sd"].fillna(0), fmt="none", ecolor="black", elinewidth=0.7,
                        capsize=1.2, capthick=0.7, zorder=3)
            for i, value in zip(y, one["mean"], strict=True):
                if np.isfinite(value):
                    ax.text(1.06 * end, i, f"{value:.3f}".replace("0.", "."), fontsize=5.8, va="center")
            ax.set_xlim(0, 1.48 * end)
            ax.set_xticks([0, *round_numbers(end / 10, end)[-1:]])
        name_rows(band, methods[p])
        name_band(band, p)
    for ax, measure in zip(axes[0], measures, strict=True):
        ax.set_title(styles.MEASURES[measure] + (" ↓" if measure in LOWER_IS_BETTER else ""), fontsize=7, pad=4)
    caption(fig, c, [record], f"mean and sd of {repeats(table.seeds)}, {counts(table[table['measure'] == 'auroc'])} "
            "points together; best AUROC first; ↓: less is better")
    return fig, table[["protocol", "method", "measure", "mean", "sd", "n", "seeds"]]


def ranked(table: pd.DataFrame, measure: str = "auroc") -> list[str]:
    """Methods by a measure, best first; methods without the measure last."""
    values = table[table["measure"] == measure].groupby("method", sort=False)["mean"].mean()
    rest = [m for m in pd.unique(table["method"]) if m not in values.index]
    return [*values.sort_values(ascending=measure in LOWER_IS_BETTER, kind="stable").index, *rest]


def counts(table: pd.DataFrame) -> str:
    """The number of points of all repeats together, in words."""
    low, high = int(table["n"].min()), int(table["n"].max())
    return f"{high:,}" if low == high else f"{low:,}–{high:,}"


def differences(c: FigureConstants):
    """Ours minus every rival with a 95 % interval, a column a measure, a mark a protocol. On the right ours is better.
    """
    path = Paths(c.REGION).method_differences
    names = ("protocol", "with_dv", "rival", "measure", "difference", "low", "high")
    table, record = saved(path, f"{STAGE} with all METHODS", c, names)
    protocols = protocols_of(table, path)
    table = table[table["protocol"].isin(protocols) & table["with_dv"]]
    measures = [m for m in ("kappa", "auroc", "brier") if m in set(table["measure"])]
    first = table[(table["protocol"] == protocols[0]) & (table["measure"] == measures[0])]
    rivals = list(first.sort_values("difference", kind="stable")["rival"])
    rivals += [r for r in pd.unique(table["rival"]) if r not in rivals]
    fig, axes = rows_of_methods((0.1 + 0.075 * len(protocols)) * len(rivals), len(measures), 1, bottom=0.95)
    for ax, measure in zip(axes[0], measures, strict=True):
        ax.axvline(0, color="black", linewidth=0.7)
        for i in range(1, len(rivals), 2):
            ax.axhspan(i - 0.5, i + 0.5, color="#f4f4f4", zorder=-2)
        for j, protocol in enumerate(protocols):
            one = table[(table["protocol"] == protocol) & (table["measure"] == measure)].set_index("rival")
            one = one.reindex(rivals)
            offset = 0.72 * ((j + 0.5) / len(protocols) - 0.5)
            for i, (rival, row) in enumerate(one.iterrows()):
                colour, sure = mark_of(rival)["color"], row["low"] > 0 or row["high"] < 0
                ax.plot((row["low"], row["high"]), (i + offset, i + offset), color=colour, linewidth=1)
                ax.plot(row["difference"], i + offset, marker=styles.PROTOCOL_MARKS[j % len(styles.PROTOCOL_MARKS)],
                        markersize=3.4, color=colour, markerfacecolor=colour if sure else "white",
                        markeredgewidth=0.8)
        of_measure = table[table["measure"] == measure]
        root_axis(ax, of_measure[["low", "difference"]].min().min(), of_measure[["high", "difference"]].max().max())
        if measure in LOWER_IS_BETTER:
            ax.invert_xaxis()
        ax.set_title(styles.MEASURES[measure], fontsize=7.5, pad=4)
        ax.set_xlabel("ours minus rival\n← rival better · ours better →", fontsize=6.5)
    name_rows(axes[0], rivals)
    marks_of_protocols(fig, protocols)
    caption(fig, c, [record], "95 % intervals of a paired bootstrap over blocks; filled: the interval excludes zero; "
            "axes in square roots")
    return fig, table[["protocol", "rival", "measure", "difference", "low", "high"]]


def root_axis(ax, low: float, high: float) -> None:
    """Scales an axis by signed square roots, so that small differences are visible beside large differences."""
    ax.set_xscale("function", functions=(lambda v: np.sign(v) * np.sqrt(np.abs(v)), lambda v: np.sign(v) * v**2))
    low, high = min(low, 0), max(high, 0)
    reach = max(-low, high)
    ax.set_xlim(1.15 * low - 0.004 * reach, 1.15 * high + 0.004 * reach)
    apart, ends = 0.17 * np.sqrt(reach), []
    for v in round_numbers(reach / 100, reach)[::-1]:
        if np.sqrt(v) >= apart and (not ends or np.sqrt(ends[-1]) - np.sqrt(v) >= apart):
            ends.append(v)
    ticks = [0, *(v for v in ends if v <= 1.15 * high), *(-v for v in ends if v <= -1.15 * low)]
    ax.set_xticks(ticks, [f"{v:g}".replace("0.", ".").replace("-", "−") for v in ticks])
    ax.minorticks_off()


def marks_of_protocols(fig, protocols: list[str]) -> None:
    """The legend of protocols, below the names of the methods."""
    marks = itertools.cycle(styles.PROTOCOL_MARKS)
    handles = [Line2D([], [], linestyle="", color=styles.INK, marker=mark, markersize=4, label=name)
               for mark, name in zip(marks, protocols, strict=False)]
    fig.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.005, 0.36 / fig.get_figheight()), fontsize=6.5,
               borderaxespad=0, labelspacing=0.2, handletextpad=0.2, ncols=1 + (len(handles) > 3))


def gap(c: FigureConstants):
    """What every method loses with spatial instead of random halves of a block."""
    path = Paths(c.REGION).method_metrics
    table, record = compared(path, c, COLUMNS)
    for cut in CUTS:
        protocols_of(table, path, cut)
    table = table[table["protocol"].isin(CUTS) & (table["subset"] == "all") & table["with_dv"]]
    measures = [m for m in ("kappa", "auroc", "brier") if m in set(table["measure"])]
    methods = ranked(table[table["protocol"] == "spatial"])
    fig, axes = rows_of_methods(ROW * len(methods), len(measures), 1, bottom=0.72)
    rows = []
    for ax, measure in zip(axes[0], measures, strict=True):
        mean, sd = (table[table["measure"] == measure].pivot(index="method", columns="protocol", values=v).reindex(
            methods) for v in ("mean", "sd"))
        low, high = mean.min().min(), mean.max().max()
        for i, method in enumerate(methods):
            colour = mark_of(method)["color"]
            ax.plot(mean.loc[method, list(CUTS)], (i, i), color=colour, linewidth=1.6, solid_capstyle="butt")
            for cut, mark, face in (("published", "o", "white"), ("spatial", "s", colour)):
                ax.errorbar(mean.loc[method, cut], i, xerr=np.nan_to_num(sd.loc[method, cut]), color=colour,
                            elinewidth=0.5, marker=mark, markersize=3.8, markerfacecolor=face, markeredgewidth=0.9)
            change = mean.loc[method, "published"] - mean.loc[method, "spatial"]
            ax.text(high + 0.14 * (high - low), i, signed(change), fontsize=5.8, va="center")
            rows.append({"method": method, "measure": measure, "published": mean.loc[method, "published"],
                         "spatial": mean.loc[method, "spatial"], "gap": change,
                         "published_sd": sd.loc[method, "published"], "spatial_sd": sd.loc[method, "spatial"]})
        ax.set_xlim(low - 0.08 * (high - low), high + 0.42 * (high - low))
        ax.set_title(styles.MEASURES[measure] + (" ↓" if measure in LOWER_IS_BETTER else ""), fontsize=7.5, pad=4)
        ax.locator_params(axis="x", nbins=5)
        ax.set_xticks([t for t in ax.get_xticks() if abs(t - (low + high) / 2) <= 0.55 * (high - low)])
    name_rows(axes[0], methods)
    foot_legend(fig, [hollow("published: random halves", "white"),
                      hollow("spatial: halves on both sides of a line", styles.INK, "s")], "right")
    caption(fig, c, [record], f"numbers: published minus spatial; whiskers: sd of {repeats(table.seeds)}; ↓: less is "
            "better")
    return fig, pd.DataFrame(rows)


def distance(c: FigureConstants):
    """AUROC by the distance from a query point to the nearest labelled point, a panel a method."""
    path = Paths(c.REGION).method_metrics
    table, record = compared(path, c, COLUMNS)
    protocols = protocols_of(table, path)
    table = table[table["protocol"].isin(protocols) & table["subset"].isin(QUARTERS) & table["with_dv"]
                  & (table["measure"] == "auroc")]
    if not len(table):
        raise InputError(f"{shown(path)}: column 'subset': expected quarters of distance, found none; run "
                         "compare_methods.py again")
    methods, across = in_order(table["method"].unique()), 5
    down = -(-len(methods) // across)
    tall = down * 1.3 + 0.87
    fig = Figure(figsize=(styles.WIDTH, tall))
    axes = fig.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
    fig.subplots_adjust(left=0.07, right=0.99, top=1 - 0.27 / tall, bottom=0.85 / tall, wspace=0.1, hspace=0.28)
    mean = table.pivot_table(index=["protocol", "subset"], columns="method", values="mean").max(axis=1)
    for ax, method in zip(axes, methods, strict=False):
        for j, protocol in enumerate(protocols):
            ax.plot(range(4), [mean.get((protocol, q), np.nan) for q in QUARTERS], color=styles.PALE, linewidth=1.6,
                    zorder=1)
            one = table[(table["method"] == method) & (table["protocol"] == protocol)].set_index("subset").reindex(
                QUARTERS)
            ax.errorbar(range(4), one["mean"], yerr=one["sd"].fillna(0), linewidth=0.8, elinewidth=0.5, markersize=3,
                        color=mark_of(method)["color"], markeredgewidth=0.7, zorder=3,
                        marker=styles.PROTOCOL_MARKS[j % len(styles.PROTOCOL_MARKS)],
                        markerfacecolor="white" if j % 2 else None)
        title_of(ax, method)
        ax.set_xticks(range(4), ("1", "2", "3", "4"))
        tidy(ax)
    hide_rest(axes, len(methods), across)
    low = (table["mean"] - table["sd"].fillna(0)).min()
    axes[0].set_ylim(np.floor(20 * low) / 20, 1.02)
    marks = itertools.cycle(styles.PROTOCOL_MARKS)
    handles = [Line2D([], [], color=styles.INK, linewidth=0.8, marker=mark, markersize=3.5,
                      markerfacecolor="white" if j % 2 else None, label=protocol)
               for j, (mark, protocol) in enumerate(zip(marks, protocols, strict=False))]
    handles.append(Line2D([], [], color=styles.PALE, linewidth=1.6, label="best method of each"))
    fig.legend(handles=handles, loc="lower right", bbox_to_anchor=(0.99, 0.2 / tall), ncols=5, fontsize=6.5,
               borderaxespad=0)
    fig.supxlabel("quarter of the query points by distance to the nearest labelled point, 1 nearest", fontsize=7.5,
                  y=0.47 / tall)
    fig.supylabel("AUROC", fontsize=7.5, x=0.005)
    caption(fig, c, [record], f"mean and sd of {repeats(table.seeds)}; {counts(table)} points in each quarter of "
            "all repeats")
    return fig, table[["protocol", "method", "subset", "mean", "sd", "n", "seeds"]]


def subsets(c: FigureConstants):
    """AUROC on all points, with inventory landslides only, with InSAR landslides only; with and without velocity (DV).

    The velocity defines the weak labels.
    """
    path = Paths(c.REGION).method_metrics
    table, record = compared(path, c, COLUMNS)
    protocols = [p for p in protocols_of(table, path) if p in CUTS] or protocols_of(table, path)[:2]
    table = table[table["protocol"].isin(protocols) & table["subset"].isin(SUBSETS) & (table["measure"] == "auroc")]
    methods = {p: ranked(table[(table["protocol"] == p) & (table["subset"] == "all") & table["with_dv"]])
               for p in protocols}
    fig, axes = rows_of_methods(ROW * max(map(len, methods.values())), len(SUBSETS), len(protocols), bottom=0.72)
    for band, protocol in zip(axes, protocols, strict=True):
        for ax, subset in zip(band, SUBSETS, strict=True):
            one = table[(table["protocol"] == protocol) & (table["subset"] == subset)]
            for i, method in enumerate(methods[protocol]):
                row = one[one["method"] == method].set_index("with_dv")
                ax.plot(row["mean"], [i] * len(row), color=mark_of(method)["color"], linewidth=1.2)
                for with_dv, face in ((False, "white"), (True, mark_of(method)["color"])):
                    if with_dv in row.index:
                        ax.errorbar(row.loc[with_dv, "mean"], i, xerr=np.nan_to_num(row.loc[with_dv, "sd"]),
                                    marker="o", markersize=3.8, elinewidth=0.5, markerfacecolor=face,
                                    markeredgewidth=0.9, color=mark_of(method)["color"])
            n = one["n"].max()
            ax.set_title({"all": "all", "inventory": "inventory landslides", "insar": "InSAR landslides"}[subset]
                         + f", n = {n:,.0f}", fontsize=7, pad=4)
            ax.locator_params(axis="x", nbins=5)
        limits = [v for ax in band for v in ax.get_xlim()]
        for ax in band:
            ax.set_xlim(min(limits), max(limits))
        name_rows(band, methods[protocol])
        name_band(band, protocol)
    for ax in axes[-1]:
        ax.set_xlabel("AUROC", fontsize=7)
    foot_legend(fig, [hollow("with DV", styles.INK), hollow("without DV", "white")], "left")
    caption(fig, c, [record], f"mean and sd of {repeats(table.seeds)}, n points together")
    return fig, table[["protocol", "subset", "with_dv", "method", "mean", "sd", "n", "seeds"]]
