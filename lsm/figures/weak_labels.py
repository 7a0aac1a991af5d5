"""Stage 0 in one picture: which InSAR points became weak labels, and which rule dropped each of the others."""

import textwrap

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, Normalize

from lsm.figures.common import caption, saved
from lsm.figures.maps import map_page, terrain
from lsm.paths import Paths, shown
from lsm.settings import InputError

STAGE = "augment_inventory.py"
KEPT = "weak label"
PANEL = 2.15  # inch, of the bars beside the map
BAR = 0.33    # inch a rule, its words above its bar
LINE = 0.16   # inch of a rule that dropped none


def augmentation(c):
    """Weak labels as squares in the colour of their speed, dropped points in that of their rule, and beside the map
    how many points each rule left."""
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
    colour = {rule: c.RULES[i % len(c.RULES)] for i, rule in enumerate(dropping)}
    high = 0.2 + BAR * (len(dropping) + 2) + LINE * (len(rules) - 1 - len(dropping))
    fig, ax, panel = map_page(ground, c, c.WIDTH - 0.7 - PANEL, PANEL, high + 2.25)
    ax.imshow(0.4 + 0.6 * ground.relief, extent=ground.extent)
    pixels = len(points) > c.RASTERISE
    for rule in dropping:
        of_rule = points[points["fate"] == rule]
        ax.scatter(of_rule["X"], of_rule["Y"], s=0.8, marker="o", color=colour[rule], linewidths=0, rasterized=pixels)
    weak = points[points["fate"] == KEPT]
    along = weak["slope_velocity"].notna().any()
    speed = weak["slope_velocity"].fillna(weak["velocity"]).abs()
    speeds = LinearSegmentedColormap.from_list("speeds", c.SPEEDS)
    drawn = ax.scatter(weak["X"], weak["Y"], s=2.6, c=speed, cmap=speeds, rasterized=pixels,
                       norm=Normalize(*np.percentile(speed, (5, 95))), **c.POINTS["InSAR"])
    ax.set(xlim=ground.extent[:2], ylim=ground.extent[2:])
    waterfall(panel, c, rules, colour)
    where = panel.get_position()
    bar_ax = fig.add_axes((where.x0 + 0.12 / c.WIDTH, where.y1 - (high + 0.12) / fig.get_figheight(),
                           1.5 / c.WIDTH, 0.1 / fig.get_figheight()))
    bar = fig.colorbar(drawn, cax=bar_ax, orientation="horizontal", extend="both")
    bar.set_label("speed along the slope (mm/yr)" if along else "speed along the line of sight (mm/yr)", fontsize=7)
    bar_ax.tick_params(labelsize=7)
    caption(fig, c, [record], f"{len(points):,} InSAR points, {len(weak):,} weak labels")
    return fig, points.round({"X": 2, "Y": 2})


def waterfall(panel, c, rules, colour: dict) -> None:
    """A bar a rule from the points it left to those it found, in inches from the panel's top; weak labels at the end.
    """
    total, top = rules["kept"].iloc[0], panel.get_ylim()[1]
    long = (PANEL - 0.2) / total  # inch a point
    y = top - 0.05

    def words(text: str, number: int) -> None:
        panel.text(0.1, y, textwrap.shorten(f"{number:,}  {text}", 46, placeholder="…"), fontsize=6.2,
                   verticalalignment="top")

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
    panel.barh(y - 0.19, rules["kept"].iloc[-1] * long, 0.11, left=0.1, color=c.SPEEDS[1], edgecolor="black",
               linewidth=0.5)
