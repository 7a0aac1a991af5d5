"""Weak labels: the InSAR points that became weak labels, the rules that dropped the others, the worth of the labels."""

import textwrap

from lsm.figures import styles
from lsm.figures.common import Drawn, FigureConstants, caption, colour_bar, saved, where
from lsm.figures.comparison import method_panels as panels
from lsm.figures.comparison.measure_bars import counts, ranked
from lsm.figures.map_page import insar_points, map_page, terrain
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError

STAGE = "augment_inventory.py"
KEPT = "weak label"
PANEL = 2.15  # inches, of the bars beside the map
BAR = 0.285   # inches of a rule: its words above its bar
LINE = 0.14   # inches of a rule that dropped no point
LEARNED = {"augmentation": ("learned without InSAR landslides", "white"), "published": ("learned with them", None)}
TESTED = {"insar": "InSAR landslides", "inventory": "inventory landslides"}


def augmentation(c: FigureConstants) -> Drawn:
    """Weak labels, coloured by speed, and dropped points, coloured by rule; beside the map, how many each rule kept."""
    paths = Paths(c.REGION)
    rules, _ = saved(paths.augmentation, STAGE, c, ("rule", "dropped", "kept"))
    points, record = saved(paths.augmentation_points, STAGE, c, ("X", "Y", "velocity", "slope_velocity", "fate"))
    counted = points["fate"].value_counts()
    differ = [r for r, n in rules[["rule", "dropped"]].itertuples(index=False) if n and counted.get(r, 0) != n]
    if differ:
        raise InputError(f"{shown(paths.augmentation)}: rule {differ[0]!r}: expected as many points as in "
                         f"{shown(paths.augmentation_points)}, found another number; run {STAGE} again")
    ground = terrain(c)
    dropping = [rule for rule in rules["rule"] if counted.get(rule, 0)]
    colour = {rule: styles.RULES[i % len(styles.RULES)] for i, rule in enumerate(dropping)}
    high = 0.2 + BAR * (len(dropping) + 2) + LINE * (len(rules) - 1 - len(dropping))
    fig, ax, panel = map_page(ground, styles.WIDTH - 0.7 - PANEL, PANEL, high + 2.17)
    ax.imshow(0.4 + 0.6 * ground.relief, extent=ground.extent)
    pixels = len(points) > c.RASTERISE
    pale = 0.5 if pixels else 1.0  # so many dropped points would hide the weak labels
    for rule in dropping:
        of_rule = points[points["fate"] == rule]
        ax.scatter(of_rule["X"], of_rule["Y"], s=0.8, marker="o", color=colour[rule], linewidths=0, alpha=pale,
                   rasterized=pixels)
    weak = points[points["fate"] == KEPT]
    along = weak["slope_velocity"].notna().any()
    speed = weak["slope_velocity"].fillna(weak["velocity"]).abs()
    drawn = insar_points(ax, weak["X"], weak["Y"], speed, 2.6, pixels)
    ax.set(xlim=ground.extent[:2], ylim=ground.extent[2:])
    waterfall(panel, rules, colour)
    colour_bar(fig, panel, drawn, 0.12, high + 0.12, 1.5,
               f"speed along the {'slope' if along else 'line of sight'} (mm/yr)")
    caption(fig, c, record, f"{len(points):,} InSAR points, {len(weak):,} weak labels")
    return fig, points.round({"X": 2, "Y": 2})


def waterfall(panel, rules, colour: dict) -> None:
    """A bar a rule, from the panel's top down: the points it kept, grey, and dropped, coloured. Last, the weak labels.
    """
    total, top = rules["kept"].iloc[0], panel.get_ylim()[1]
    long = (PANEL - 0.2) / total  # inch a point
    y = top - 0.05

    def words(text: str, number: int) -> None:
        panel.text(0.1, y, textwrap.shorten(f"{number:,}  {text}", 46, placeholder="…"), fontsize=6.2,
                   va="top")

    words(f"{rules['rule'].iloc[0]}", total)
    panel.barh(y - 0.19, total * long, 0.11, left=0.1, color="#555555")
    y -= BAR
    for rule, dropped, kept in rules[["rule", "dropped", "kept"]].iloc[1:].itertuples(index=False):
        words(f"− {rule}", dropped)
        if dropped:
            panel.barh(y - 0.19, kept * long, 0.11, left=0.1, color="#e6e6e6")
            panel.barh(y - 0.19, dropped * long, 0.11, left=0.1 + kept * long, color=colour[rule])
        y -= BAR if dropped else LINE
    words("weak labels", rules["kept"].iloc[-1])
    panel.barh(y - 0.19, rules["kept"].iloc[-1] * long, 0.11, left=0.1, color=styles.SPEEDS[1], edgecolor="black",
               linewidth=0.5)


def weak_label_worth(c: FigureConstants) -> Drawn:
    """Scores of each method on InSAR and on inventory landslides, after learning without and with InSAR landslides.

    With all factors, and without the factor that defines the InSAR landslides.
    """
    table, record, _ = panels.measured(c, *LEARNED)
    table = where(table, protocol=LEARNED, subset=TESTED, measure=("auroc", "kappa"))
    table = where(table, method=[*where(table, protocol="augmentation")["method"]])
    bands = [with_dv for with_dv in (True, False) if (table["with_dv"] == with_dv).any()]
    methods = ranked(where(table, protocol="published", with_dv=True))
    columns = [(measure, subset) for measure in ("auroc", "kappa") for subset in TESTED]
    fig, axes = panels.rows_of_methods(1.5 * panels.ROW * len(methods), len(columns), len(bands), bottom=0.72, top=0.42)
    for band, with_dv in zip(axes, bands, strict=True):
        for ax, (measure, subset) in zip(band, columns, strict=True):
            wide = where(table, with_dv=with_dv, measure=measure, subset=subset).pivot(
                index="method", columns="protocol", values=["mean", "sd"])
            for i, method in enumerate(methods):
                mean, sd = wide["mean"].loc[method], wide["sd"].loc[method]
                ends = [(mean[protocol], sd[protocol], "o", face) for protocol, (_, face) in LEARNED.items()]
                panels.dumbbell(ax, i, ends, panels.style_of(method)["color"], size=4)
                ax.text(0.99, i - 0.36, panels.signed(mean["published"] - mean["augmentation"]), fontsize=5.8,
                        transform=ax.get_yaxis_transform(), ha="right", va="center")
        panels.name_rows(band, methods)
        without = record["constants"].get("WITHOUT", "one factor")
        panels.name_band(band, "all factors" if with_dv else f"without {without}")
    for (measure, subset), column in zip(columns, axes.T, strict=True):
        low, high = (f(ax.get_xlim()[i] for ax in column) for i, f in enumerate((min, max)))
        for ax in column:
            ax.set_xlim(low, high)
            ax.locator_params(axis="x", nbins=3)
        column[0].set_title(f"{styles.MEASURES[measure]}\n{TESTED[subset]}", fontsize=7, pad=4)
    panels.foot_legend(fig, [panels.hollow(text, face or styles.INK) for text, face in LEARNED.values()], "right")
    caption(fig, c, record, f"numbers: what InSAR landslides add; {panels.means_of(table.seeds, table.protocol)}; "
            f"{counts(table)} points together, each kind of landslide with all non-landslides",
            panels.seeds_of_means(table))
    return fig, table[list(panels.COLUMNS)]
