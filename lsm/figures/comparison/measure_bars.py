"""Measures by method: bars, differences from ours, published against spatial halves, distance, subsets."""

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from lsm.blocks.round_numbers import round_numbers
from lsm.comparison.measures import LOWER_IS_BETTER
from lsm.comparison.tables.pages import QUARTERS, SUBSETS
from lsm.figures import styles
from lsm.figures.common import Drawn, FigureConstants, NothingToDraw, caption, saved, where
from lsm.figures.comparison import method_panels as panels
from lsm.figures.comparison.method_panels import ROW, means_of, protocols_of, style_of
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError

APART = 0.14  # between two protocols in `distance`, of the way from a quarter to the next
CUTS = ("published", "spatial")


def bars(c: FigureConstants, protocol: str) -> Drawn:
    """Measures of every method under one protocol, as bars with the standard deviation over repeats or folds."""
    table, record, protocols = panels.measured(c, protocol)
    table = where(table, protocol=protocols, subset="all", with_dv=True)
    measures = [m for m in styles.MEASURES if m in set(table["measure"])]
    methods = {p: ranked(where(table, protocol=p)) for p in protocols}
    fig, axes = panels.rows_of_methods(ROW * max(map(len, methods.values())), len(measures), len(protocols), top=0.52)
    for band, p in zip(axes, protocols, strict=True):
        for ax, measure in zip(band, measures, strict=True):
            one = where(table, protocol=p, measure=measure).set_index("method").reindex(methods[p])
            y, end = np.arange(len(one)), (one["mean"] + one["sd"].fillna(0)).max()
            ax.barh(y, one["mean"], height=0.72, color=[style_of(m)["color"] for m in one.index], zorder=2)
            ax.errorbar(one["mean"], y, xerr=one["sd"], fmt="none", ecolor="black", elinewidth=0.7,
                        capsize=1.2, capthick=0.7, zorder=3)
            for i, value in zip(y, one["mean"], strict=True):
                if np.isfinite(value):  # in a column after the longest whisker and its cap
                    ax.annotate(f"{value:.3f}".replace("0.", "."), (end, i), xytext=(4, 0),
                                textcoords="offset points", fontsize=5.8, va="center")
            ax.set_xlim(0, 1.6 * end)
            ax.set_xticks([0, *round_numbers(end / 10, end)[-1:]])
        panels.name_rows(band, methods[p])
        panels.name_band(band, p)
    for ax, measure in zip(axes[0], measures, strict=True):
        ax.set_title(heading(measure), fontsize=7, pad=4)
    caption(fig, c, record, f"{means_of(table.seeds, table.protocol)}, {counts(where(table, measure='auroc'))} "
            "points together; best AUROC first; ↓: less is better", panels.seeds_of_means(table))
    return fig, table[["protocol", "method", "measure", "mean", "sd", "n", "seeds"]]


def heading(measure: str) -> str:
    """The name of a measure, with an arrow where less is better."""
    return styles.MEASURES[measure] + (" ↓" if measure in LOWER_IS_BETTER else "")


def ranked(table: pd.DataFrame) -> list[str]:
    """Methods by AUROC, best first; methods without it last."""
    values = where(table, measure="auroc").groupby("method", sort=False)["mean"].mean()
    rest = [m for m in pd.unique(table["method"]) if m not in values.index]
    return [*values.sort_values(ascending=False, kind="stable").index, *rest]


def counts(table: pd.DataFrame) -> str:
    """The number of points of all repeats or folds together, in words."""
    return panels.span(int(table["n"].min()), int(table["n"].max()))


def differences(c: FigureConstants) -> Drawn:
    """Ours minus each rival with a 95 % interval, a column a measure, a mark a protocol. On the right ours is better.
    """
    path = Paths(c.REGION).method_differences
    names = ("protocol", "with_dv", "rival", "measure", "difference", "low", "high")
    table, record = saved(path, f"{panels.STAGE} with all METHODS", c, names)
    protocols = protocols_of(table, path)
    table = where(table, protocol=protocols, with_dv=True)
    measures = [m for m in ("kappa", "auroc", "brier") if m in set(table["measure"])]
    first = where(table, protocol=protocols[0], measure=measures[0])
    rivals = list(first.sort_values("difference", kind="stable")["rival"])
    rivals += [r for r in pd.unique(table["rival"]) if r not in rivals]
    fig, axes = panels.rows_of_methods((0.1 + 0.075 * len(protocols)) * len(rivals), len(measures), 1, bottom=0.95,
                                       gap=0.34)  # so that the last number of one axis does not touch the next axis's
    for ax, measure in zip(axes[0], measures, strict=True):
        ax.axvline(0, color="black", linewidth=0.7)
        for i in range(1, len(rivals), 2):
            ax.axhspan(i - 0.5, i + 0.5, color="#f4f4f4", zorder=-2)
        for j, protocol in enumerate(protocols):
            one = where(table, protocol=protocol, measure=measure).set_index("rival").reindex(rivals)
            offset = 0.72 * ((j + 0.5) / len(protocols) - 0.5)
            for i, (rival, row) in enumerate(one.iterrows()):
                colour, sure = style_of(rival)["color"], row["low"] > 0 or row["high"] < 0
                ax.plot((row["low"], row["high"]), (i + offset, i + offset), color=colour, linewidth=1)
                ax.plot(row["difference"], i + offset, marker=panels.protocol_mark(j), markersize=3.4, color=colour,
                        markerfacecolor=colour if sure else "white", markeredgewidth=0.8)
        of_measure = where(table, measure=measure)
        root_axis(ax, of_measure[["low", "difference"]].min().min(), of_measure[["high", "difference"]].max().max())
        if measure in LOWER_IS_BETTER:
            ax.invert_xaxis()
        ax.set_title(styles.MEASURES[measure], fontsize=7.5, pad=4)
        ax.set_xlabel("ours minus rival\n← rival better · ours better →", fontsize=6.5)
    panels.name_rows(axes[0], rivals)
    marks = [Line2D([], [], linestyle="", color=styles.INK, marker=panels.protocol_mark(j), markersize=4, label=name)
             for j, name in enumerate(protocols)]
    fig.legend(handles=marks, loc="lower left", bbox_to_anchor=(0.005, 0.36 / fig.get_figheight()), fontsize=6.5,
               borderaxespad=0, labelspacing=0.2, handletextpad=0.2, ncols=1 + (len(marks) > 3))
    caption(fig, c, record, "95 % intervals of a paired bootstrap over blocks or squares; filled: the interval "
            "excludes zero; axes in square roots",
            panels.seeds_of(pd.Series(record["constants"].get("SEEDS", 1), index=protocols)))
    return fig, table[["protocol", "rival", "measure", "difference", "low", "high"]]


def root_axis(ax, low: float, high: float) -> None:
    """Scales an axis by signed square roots, so that small differences are visible beside large differences."""
    ax.set_xscale("function", functions=(lambda v: np.sign(v) * np.sqrt(np.abs(v)), lambda v: np.sign(v) * v**2))
    low, high = min(low, 0), max(high, 0)
    reach = max(-low, high)
    ax.set_xlim(1.15 * low - 0.004 * reach, 1.15 * high + 0.004 * reach)
    apart, ends = 0.17 * (np.sqrt(high) + np.sqrt(-low)), []
    for v in round_numbers(reach / 100, reach)[::-1]:
        if np.sqrt(v) >= apart and (not ends or np.sqrt(ends[-1]) - np.sqrt(v) >= apart):
            ends.append(v)
    ticks = [0, *(v for v in ends if v <= 1.15 * high), *(-v for v in ends if v <= -1.15 * low)]
    ax.set_xticks(ticks, [f"{v:g}".replace("0.", ".").replace("-", "−") for v in ticks])
    ax.minorticks_off()


def gap(c: FigureConstants) -> Drawn:
    """What every method loses with spatial instead of random halves of a block."""
    table, record, _ = panels.measured(c, *CUTS)
    table = where(table, protocol=CUTS, subset="all", with_dv=True)
    measures = [m for m in ("kappa", "auroc", "brier") if m in set(table["measure"])]
    methods = ranked(where(table, protocol="spatial"))
    fig, axes = panels.rows_of_methods(ROW * len(methods), len(measures), 1, bottom=0.72)
    rows = []
    for ax, measure in zip(axes[0], measures, strict=True):
        wide = where(table, measure=measure).pivot(index="method", columns="protocol", values=["mean", "sd"])
        low, high = wide["mean"].min().min(), wide["mean"].max().max()
        for i, method in enumerate(methods):
            colour, mean, sd = style_of(method)["color"], wide["mean"].loc[method], wide["sd"].loc[method]
            panels.dumbbell(ax, i, [(mean["published"], sd["published"], "o", "white"),
                                    (mean["spatial"], sd["spatial"], "s", colour)], colour)
            change = mean["published"] - mean["spatial"]
            ax.text(high + 0.14 * (high - low), i, panels.signed(change), fontsize=5.8, va="center")
            rows.append({"method": method, "measure": measure, "published": mean["published"],
                         "spatial": mean["spatial"], "gap": change, "published_sd": sd["published"],
                         "spatial_sd": sd["spatial"]})
        ax.set_xlim(low - 0.08 * (high - low), high + 0.42 * (high - low))
        ax.set_title(heading(measure), fontsize=7.5, pad=4)
        ax.locator_params(axis="x", nbins=5)
        ax.set_xticks([t for t in ax.get_xticks() if abs(t - (low + high) / 2) <= 0.55 * (high - low)])
    panels.name_rows(axes[0], methods)
    panels.foot_legend(fig, [panels.hollow("published: random halves", "white"),
                             panels.hollow("spatial: halves on both sides of a line", styles.INK, "s")], "right")
    caption(fig, c, record, f"numbers: published minus spatial; {means_of(table.seeds, CUTS)}; ↓: less is better",
            panels.seeds_of_means(table))
    return fig, pd.DataFrame(rows)


def distance(c: FigureConstants) -> Drawn:
    """AUROC by the distance from a query point to the nearest labelled point, a panel a method."""
    table, record, protocols = panels.measured(c)
    table = where(table, protocol=protocols, subset=QUARTERS, with_dv=True, measure="auroc")
    if not len(table):
        raise InputError(f"{shown(Paths(c.REGION).method_metrics)}: column 'subset': expected quarters of distance, "
                         f"found none; run {panels.STAGE} again")
    methods = panels.ordered_methods(table["method"].unique())
    fig, axes = panels.panel_each(methods, 1.3, 0.87, left=0.07, bottom=0.85, gap=0.28)
    tall = fig.get_figheight()
    mean = table.pivot_table(index=["protocol", "subset"], columns="method", values="mean").max(axis=1)
    for ax, method in zip(axes, methods, strict=True):
        for j, protocol in enumerate(protocols):
            x = np.arange(4) + APART * (j - (len(protocols) - 1) / 2)  # else whiskers lie on each other
            ax.plot(x, [mean.get((protocol, q), np.nan) for q in QUARTERS], color=styles.PALE, linewidth=1.6,
                    zorder=1)
            one = where(table, method=method, protocol=protocol).set_index("subset").reindex(QUARTERS)
            ends = np.minimum([one["sd"], one["sd"]], [one["mean"], 1 - one["mean"]])  # within 0 and 1
            ax.errorbar(x, one["mean"], yerr=ends, linewidth=0.8, elinewidth=0.5, markersize=3,
                        color=style_of(method)["color"], markeredgewidth=0.7, zorder=3, marker=panels.protocol_mark(j),
                        markerfacecolor="white" if j % 2 else None)
        ax.set_xticks(range(4), ("1", "2", "3", "4"))
    low = (table["mean"] - table["sd"].fillna(0)).min()
    axes[0].set_ylim(np.floor(20 * low) / 20, 1.02)
    handles = [Line2D([], [], color=styles.INK, linewidth=0.8, marker=panels.protocol_mark(j), markersize=3.5,
                      markerfacecolor="white" if j % 2 else None, label=protocol)
               for j, protocol in enumerate(protocols)]
    handles.append(Line2D([], [], color=styles.PALE, linewidth=1.6, label="best method of each"))
    fig.legend(handles=handles, loc="lower right", bbox_to_anchor=(0.99, 0.2 / tall), ncols=5, fontsize=6.5,
               borderaxespad=0)
    fig.supxlabel("quarter of the query points by distance to the nearest labelled point, 1 nearest", fontsize=7.5,
                  y=0.47 / tall)
    fig.supylabel("AUROC", fontsize=7.5, x=0.005)
    caption(fig, c, record, f"{means_of(table.seeds, table.protocol)}; {counts(table)} points in each quarter "
            "together; whiskers end at 1 at the latest", panels.seeds_of_means(table))
    return fig, table[["protocol", "method", "subset", "mean", "sd", "n", "seeds"]]


def subsets(c: FigureConstants) -> Drawn:
    """AUROC on all points, with inventory landslides only, with InSAR landslides only; with and without velocity (DV).

    The velocity defines the weak labels.
    """
    table, record, protocols = panels.measured(c)
    protocols = [p for p in protocols if p in CUTS] or protocols[:2]
    table = where(table, protocol=protocols, subset=SUBSETS, measure="auroc")
    if not (table["subset"] == "insar").any():
        raise NothingToDraw("no InSAR landslides among the scored points")
    methods = {p: ranked(where(table, protocol=p, subset="all", with_dv=True)) for p in protocols}
    fig, axes = panels.rows_of_methods(ROW * max(map(len, methods.values())), len(SUBSETS), len(protocols), bottom=0.72)
    for band, protocol in zip(axes, protocols, strict=True):
        for ax, subset in zip(band, SUBSETS, strict=True):
            one = where(table, protocol=protocol, subset=subset)
            for i, method in enumerate(methods[protocol]):
                colour, row = style_of(method)["color"], where(one, method=method).set_index("with_dv")
                ends = [(row.loc[with_dv, "mean"], row.loc[with_dv, "sd"], "o", face)
                        for with_dv, face in ((False, "white"), (True, colour)) if with_dv in row.index]
                panels.dumbbell(ax, i, ends, colour, line=1.2)
            n = one["n"].max()
            ax.set_title({"all": "all", "inventory": "inventory landslides", "insar": "InSAR landslides"}[subset]
                         + f", n = {n:,.0f}", fontsize=7, pad=4)
            ax.locator_params(axis="x", nbins=5)
        limits = [v for ax in band for v in ax.get_xlim()]
        for ax in band:
            ax.set_xlim(min(limits), max(limits))
        panels.name_rows(band, methods[protocol])
        panels.name_band(band, protocol)
    for ax in axes[-1]:
        ax.set_xlabel("AUROC", fontsize=7)
    panels.foot_legend(fig, [panels.hollow("with DV", styles.INK)]
                       + [panels.hollow("without DV", "white")] * (not table["with_dv"].all()), "left")
    caption(fig, c, record, f"{means_of(table.seeds, table.protocol)}, n points together",
            panels.seeds_of_means(table))
    return fig, table[["protocol", "subset", "with_dv", "method", "mean", "sd", "n", "seeds"]]
