"""Which factor leads, in pictures: SHAP values over the territory and in chosen blocks, the leading factor as a map."""

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from scipy.stats import gaussian_kde, rankdata

from lsm.figures import styles
from lsm.figures.area_maps import map_page, terrain
from lsm.figures.common import caption, need, saved
from lsm.figures.comparison.block_kinds import block_statistics, end_of
from lsm.maps.cartography import outlines, read_decimated
from lsm.run.artifacts import check, read_csv, read_npz
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError

STAGE = "feature_permutation.py"
ADAPTED = 0                        # state of a block, as predict_LSM.py writes it
ROW, TOP, BETWEEN, BOTTOM = 0.17, 0.54, 0.38, 0.92  # inch: a factor, above a panel, below it, below the last
CLASS = 0.6                        # of a factor's row, for each of its classes
NAMES, BARS, GAP = 1.0, 1.95, 0.45   # inch: the factors' names, the bars, between bars and violins
CLASSES = 5                        # of a factor without order; more of them share one violin
GREY = "#8a8a8a"                   # values without order, or not measured
GOLDEN = (np.sqrt(5) - 1) / 2      # steps of this fill an interval evenly (Weyl's sequence)
COLUMNS = ("block", "factor", "mean_abs_shap", "sign", "permutation", "sd", "rank", "explained", "state")


def shap_territory(c):
    """Bars of mean |SHAP| over the territory with permutation importance, and violins of the SHAP values of samples
    of all adapted blocks, points in the colour of their factor's value."""
    paths = Paths(c.REGION)
    ranking, record = saved(paths.importance_territory, STAGE, c, ("factor", "rank", "mean_abs_shap", "permutation",
                                                                   "blocks_led", "raises", "lowers"))
    values = shap_of(c)
    adapted = np.flatnonzero(values["state"][values["block"]] == ADAPTED)
    drawn = np.sort(np.random.default_rng(c.SEED).permutation(adapted)[:c.SWARM])
    heights = [rows_of(c, values, [*ranking["factor"]])]
    fig, bars, violins = page(c, heights)
    words = [f"leads {n:,}" if n else "" for n in ranking["blocks_led"]]
    points = panel(c, bars[0], violins[0], ranking.assign(sd=np.nan), heights[0], words, values, drawn)
    title(bars[0], "Territory")
    key(c, fig)
    made = record["constants"]
    caption(fig, c, [record], f"{len(adapted):,} samples of {(values['state'] == ADAPTED).sum():,} adapted blocks "
            f"explained, {len(drawn):,} drawn; {made.get('EXPLAINED')} a block at most, background "
            f"{made.get('BACKGROUND')} of the {made.get('BACKGROUND_FROM')};\nbars: mean |SHAP| weighted by area; "
            "leads: in so many blocks")
    return fig, pd.concat([ranking.assign(part="bar"), points])


def shap_blocks(c):
    """The same of single blocks: those of SHAP_BLOCKS, or the three with most explained samples that different factors
    lead."""
    paths = Paths(c.REGION)
    table, record = saved(paths.importance, STAGE, c, COLUMNS)
    blocks = need(read_csv(paths.blocks_table, "scene_sampling.py", c), paths.blocks_table,
                  ("block", "samples", "landslides")).set_index("block")
    tasks = need(read_npz(paths.tasks, "scene_sampling.py", c), paths.tasks, ("block", "factors", "factor_names"))
    chosen = chosen_blocks(table, blocks["samples"], c.SHAP_BLOCKS)
    values = shap_of(c)
    words = block_words(tasks, c)
    lines = {b: table[table["block"] == b].sort_values("rank").iloc[:c.SHAP_ROWS] for b in chosen}
    heights = [rows_of(c, values, [*of["factor"]]) for of in lines.values()]
    fig, bars, violins = page(c, heights)
    points = []
    for (block, of), high, bar, violin in zip(lines.items(), heights, bars, violins, strict=True):
        drawn = np.flatnonzero(values["block"] == block)
        arrows = [{1: "↑", -1: "↓"}.get(sign, "") for sign in of["sign"]]
        points.append(panel(c, bar, violin, of, high, arrows, values, drawn))
        title(bar, f"Block {block}" + (f": {words[block]}" if block in words else "")
              + f" · {blocks.loc[block, 'samples']} samples, {blocks.loc[block, 'landslides']} landslides, "
              f"{len(drawn)} explained")
    key(c, fig)
    made = record["constants"]
    more = table["factor"].nunique() - max(map(len, lines.values()))
    caption(fig, c, [record], f"{made.get('EXPLAINED')} samples a block explained at most, background "
            f"{made.get('BACKGROUND')} of the {made.get('BACKGROUND_FROM')}"
            + (f"; {more} lesser factors a block are in the csv" if more else "")
            + ";\nbars: mean |SHAP|; ↑ larger values raise the log-odds of landslide, ↓ lower them; "
            "line: sd over shuffles")
    return fig, pd.concat([*(table[table["block"] == b].assign(part="bar") for b in chosen), *points])


def leading_factor(c):
    """The leading factor of every block in its colour over the terrain, numbered too; blocks of shap_blocks framed."""
    paths = Paths(c.REGION)
    table, record = saved(paths.importance, STAGE, c, COLUMNS)
    check(paths.leading_factor, STAGE, c)
    blocks = need(read_csv(paths.blocks_table, "scene_sampling.py", c), paths.blocks_table,
                  ("block", "cells", "samples", "centre_x", "centre_y"))
    check(paths.blocks, "scene_sampling.py", c)
    ground = terrain(c)
    leads = table[(table["rank"] == 1) & (table["state"] == ADAPTED)].merge(blocks, on="block")
    leads = leads.assign(share_of_shap=leads["mean_abs_shap"] / leads["block"].map(
        table.groupby("block")["mean_abs_shap"].sum()))
    order = leads.groupby("factor")["cells"].sum().sort_values(ascending=False, kind="stable")
    number = {name: i for i, name in enumerate(order.index, start=1)}

    leader, known, extent, dataset = read_decimated(paths.leading_factor, c.LARGEST, average=False)
    palette = dataset.GetRasterBand(1).GetColorTable()
    names = dataset.GetRasterBand(1).GetCategoryNames()
    if palette is None or not names or not set(order.index) <= set(names):
        raise InputError(f"{shown(paths.leading_factor)}: expected a colour table and names of the factors in "
                         f"{shown(paths.importance)}, found others; run {STAGE} again")
    of_factors = [np.array(palette.GetColorEntry(i)[:3]) / 255 for i in range(1, len(names))]
    colours = np.array([to_rgb(styles.SEA), *of_factors])
    block, land, _, _ = read_decimated(paths.blocks, c.LARGEST, average=False)
    drawn = colours[np.where(known, leader, 0)]  # (rows, cols, 3)
    drawn[land & ~known] = to_rgb("white")
    if ground.shade.shape == known.shape:
        drawn[known] *= (0.75 + 0.25 * ground.shade)[known, None]
    fig, ax, side = map_page(ground, c, least=2.2 + 0.17 * len(order))
    ax.imshow(drawn, extent=extent)
    ax.add_collection(LineCollection(outlines(block, extent), colors="white", linewidths=0.5))
    ax.add_collection(LineCollection(outlines(land, extent), colors=styles.INK, linewidths=0.3))
    for b in chosen_blocks(table, blocks.set_index("block")["samples"], c.SHAP_BLOCKS):
        ax.add_collection(LineCollection(outlines(block == b, extent), colors="white", linewidths=2.4, zorder=3))
        ax.add_collection(LineCollection(outlines(block == b, extent), colors="black", linewidths=1.2, zorder=3))
    for row in leads.itertuples():
        ax.text(row.centre_x, row.centre_y, number[row.factor], fontsize=5, horizontalalignment="center", zorder=4,
                verticalalignment="center", path_effects=[withStroke(linewidth=1.1, foreground="white")])
    ax.set(xlim=ground.extent[:2], ylim=ground.extent[2:])
    count = leads["factor"].value_counts()
    handles = [Patch(facecolor=colours[names.index(name)], edgecolor=styles.INK, linewidth=0.4,
                     label=f"{number[name]}  {name}  {share:.0%}, {count[name]}")
               for name, share in (order / order.sum()).items()]
    if (land & ~known).any():
        handles.append(Patch(facecolor="white", edgecolor=styles.INK, linewidth=0.4, label="no adapted model"))
    handles.append(Line2D([], [], color="black", linewidth=1.4, label="in shap_blocks"))
    side.legend(handles=handles, loc="upper left", borderaxespad=0, bbox_to_anchor=(0, 1), alignment="left",
                title="leading factor\n(share of area, blocks)", title_fontsize=7.5, fontsize=6.5, handleheight=1,
                handlelength=1.5, labelspacing=0.45)
    caption(fig, c, [record], f"largest mean |SHAP| in each of {len(leads):,} adapted blocks; it holds "
            f"{leads['share_of_shap'].median():.0%} of the block's sum (median)")
    return fig, leads[["block", "factor", "sign", "mean_abs_shap", "share_of_shap", "explained", "samples", "cells",
                       "centre_x", "centre_y"]].assign(number=leads["factor"].map(number))


def shap_of(c) -> dict:
    """The arrays of <REGION>_shap.npz."""
    path = Paths(c.REGION).shap_values
    return need(read_npz(path, STAGE, c), path, ("block", "row", "factors", "shap", "state", "factor_names"))


def chosen_blocks(table: pd.DataFrame, samples: pd.Series, wanted: tuple, most: int = 3) -> list[int]:
    """The blocks to draw: those `wanted` or, without any, of each leading factor the block with most explained samples,
    with most `samples` (by block) among equals, and `most` of these. Raises InputError for a block without a model."""
    leads = table[(table["rank"] == 1) & (table["state"] == ADAPTED)]
    for block in wanted:
        if block not in set(leads["block"]):
            raise InputError(f"SHAP_BLOCKS={tuple(wanted)}: expected numbers of blocks with an adapted model, found "
                             f"{block!r}; leading_factor has them in its csv")
    if wanted:
        return list(wanted)
    leads = leads.assign(samples=leads["block"].map(samples))
    leads = leads.sort_values(["explained", "samples", "block"], ascending=[False, False, True])
    return list(leads.drop_duplicates("factor")["block"].iloc[:most])


def block_words(tasks: dict, c) -> dict[int, str]:
    """What sets each block with more than THIN samples apart from the others, in two words of its mean factors."""
    numbers, statistics = block_statistics(tasks, c.factors, c.THIN)
    out = {}
    for block, row in zip(numbers, statistics.to_numpy(), strict=True):
        far = np.argsort(-np.abs(row), kind="stable")[:2]
        out[int(block)] = ", ".join(end_of(statistics.columns[j], row[j] > 0) for j in far)
    return out


def rows_of(c, values: dict, names: list[str]) -> np.ndarray:
    """How high the row of each factor is, in ROW: more where it shows its classes, or what was not measured, apart."""
    return np.array([max(1, CLASS * len(classes_of(c, values, name))) + CLASS * bool(missing_of(c, values, name).any())
                     for name in names])


def missing_of(c, values: dict, name: str) -> np.ndarray:
    """(samples,) bool: explained samples where a factor was not measured."""
    value = values["factors"][:, list(values["factor_names"]).index(name)]
    return (value == 0) & any(f.name == name and f.zero_is_missing for f in c.factors)


def classes_of(c, values: dict, name: str) -> np.ndarray:
    """The classes of a factor that has no more than CLASSES of them, over all explained samples; else none."""
    if not any(f.name == name and f.kind == "categorical" for f in c.factors):
        return np.empty(0)
    found = np.unique(values["factors"][:, list(values["factor_names"]).index(name)])
    return found if len(found) <= CLASSES else found[:0]


def page(c, heights: list[np.ndarray]) -> tuple:
    """A page of panels one below the other, of factors so high: figure, axes of bars, axes of violins."""
    tall = sum(TOP + ROW * high.sum() for high in heights) + BETWEEN * (len(heights) - 1) + BOTTOM
    fig = Figure(figsize=(styles.WIDTH, tall))
    bars, violins, y = [], [], tall
    left = NAMES + BARS + GAP
    for high in heights:
        y -= TOP + ROW * high.sum()
        bars.append(fig.add_axes((NAMES / styles.WIDTH, y / tall, BARS / styles.WIDTH, ROW * high.sum() / tall)))
        violins.append(fig.add_axes((left / styles.WIDTH, y / tall, 1 - (left + 0.3) / styles.WIDTH,
                                     ROW * high.sum() / tall)))
        y -= BETWEEN
    return fig, bars, violins


def title(ax, text: str) -> None:
    """What a panel is of, above its names."""
    ax.annotate(text, (0, 1), xytext=(-72 * NAMES + 6, 28), xycoords="axes fraction", textcoords="offset points",
                fontsize=7.5, fontweight="bold", annotation_clip=False)


def panel(c, bar, violin, lines: pd.DataFrame, high: np.ndarray, words: list[str], values: dict,
          drawn: np.ndarray) -> pd.DataFrame:
    """Draws bars and violins of the factors in `lines`, the first on top, and returns the points drawn.

    lines   factor, mean_abs_shap, permutation, sd (nan: none)
    high    heights of their rows (factors,); words, what stands at the end of each
    values  the arrays of the SHAP values; drawn, the rows of them to draw
    """
    y = np.cumsum(high) - high / 2
    bar.barh(y, lines["mean_abs_shap"], height=0.62, color="#9ecae1", edgecolor=styles.AFTER["color"], linewidth=0.5)
    bar.set_xlabel("mean |SHAP| (log-odds)")
    other = bar.twiny()
    other.errorbar(lines["permutation"], y, xerr=None if lines["sd"].isna().all() else lines["sd"], linestyle="",
                   marker="D", markersize=3, markerfacecolor="white", markeredgecolor="black", markeredgewidth=0.7,
                   ecolor="black", elinewidth=0.6)
    most = max((lines["permutation"] + lines["sd"].fillna(0)).max(), 1e-6)
    least = (lines["permutation"] - lines["sd"].fillna(0)).min()
    below = min(0.25, 1.3 * max(0, -least) / most)  # so that both axes share their 0
    other.set_xlim(-below * most, 1.4 * most)
    bar.set_xlim(-below * lines["mean_abs_shap"].max(), 1.4 * lines["mean_abs_shap"].max())
    bar.axvline(0, color=styles.INK, linewidth=0.6)
    other.set_xlabel("◇ permutation (rise of log loss)")
    bar.set_yticks(y, lines["factor"], fontsize=7)
    for at, word in zip(y, words, strict=True):
        bar.text(1, at, word, transform=bar.get_yaxis_transform(), fontsize=6, color=styles.INK,
                 horizontalalignment="right", verticalalignment="center")
    violin.axvline(0, color=styles.INK, linewidth=0.6)
    points = [swarm(c, violin, name, at, values, drawn) for name, at in zip(lines["factor"], y, strict=True)]
    violin.set_xlabel("SHAP value (log-odds of landslide)")
    violin.set_yticks(y, [""] * len(y))
    for ax in (bar, violin, other):
        ax.set_ylim(high.sum(), 0)
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.tick_params(axis="y", length=0)
        ax.tick_params(axis="x", labelsize=6, pad=2, length=2)
        ax.xaxis.label.set_size(6.5)
        ax.xaxis.labelpad = 2
        ax.locator_params(axis="x", nbins=6)
    violin.grid(axis="x", color="#dddddd", linewidth=0.5)
    violin.set_axisbelow(True)
    return pd.concat(points, ignore_index=True)


def swarm(c, ax, name: str, at: float, values: dict, drawn: np.ndarray) -> pd.DataFrame:
    """Draws one factor's SHAP values around `at`, a violin a class where it has few classes, and returns them."""
    j = list(values["factor_names"]).index(name)
    value, effect = values["factors"][drawn, j], values["shap"][drawn, j].astype(float)
    factor = next((f for f in c.factors if f.name == name), None)
    size, codes = float(np.clip(1400 / len(drawn), 1.2, 7)), classes_of(c, values, name)
    for k, code in enumerate(codes):
        one, middle = effect[value == code], at + CLASS * (k + 0.5 - len(codes) / 2)
        ax.scatter(one, middle + spread(one, 0.45 * CLASS, ax, middle), s=0.7 * size, color=GREY, linewidths=0,
                   rasterized=True, zorder=3)
        beside(ax, c, middle, f"{code:g}")
    if not len(codes):
        missing, place = missing_of(c, values, name), np.empty(len(value))
        apart, missing = CLASS * missing.any() / 2, missing[drawn]
        for chosen, middle, room in ((~missing, at - apart, 0.45), (missing, at + 0.5, 0.45 * CLASS)):
            place[chosen] = middle + spread(effect[chosen], room, ax, middle)
        colour = np.full(len(value), GREY, object)
        if not factor or factor.kind in ("continuous", "distance"):
            rank = (rankdata(value[~missing]) - 1) / max(1, (~missing).sum() - 1)
            colour = np.zeros((len(value), 4))
            colour[~missing] = LinearSegmentedColormap.from_list("values", styles.RAMP)(rank)
        if apart:
            beside(ax, c, at + 0.5, "none")
        ax.scatter(effect[missing], place[missing], s=size, facecolors="none", edgecolors=GREY, linewidths=0.35,
                   rasterized=True, zorder=3)
        ax.scatter(effect[~missing], place[~missing], s=size, color=list(colour[~missing]), linewidths=0,
                   rasterized=True, zorder=3)
    return pd.DataFrame({"part": "point", "factor": name, "block": values["block"][drawn],
                         "sample": values["row"][drawn], "value": value, "shap": effect})


def spread(effect: np.ndarray, room: float, ax, at: float) -> np.ndarray:
    """Draws the violin of SHAP values (points,) around `at`, `room` high to either side, and returns how far (points,)
    from its middle each point lies: evenly over the violin's height there."""
    if len(effect) < 3 or np.ptp(effect) < 1e-9:
        return np.zeros(len(effect))
    x = np.linspace(effect.min(), effect.max(), 200)
    density = gaussian_kde(effect)(x)
    height = room * density / density.max()
    ax.fill_between(x, at - height, at + height, color="#e6e6e6", linewidth=0, zorder=1)
    return (2 * (GOLDEN * np.arange(len(effect)) % 1) - 1) * np.interp(effect, x, height)


def beside(ax, c, at: float, text: str) -> None:
    """What a violin at `at` is of, at the right of its axes."""
    ax.annotate(text, (1, at), xycoords=("axes fraction", "data"), xytext=(2, 0), textcoords="offset points",
                fontsize=5.5, verticalalignment="center", color=styles.INK)


def key(c, fig) -> None:
    """What the points' colours mean, at the foot of the page."""
    tall, left = fig.get_figheight(), styles.WIDTH - 4.0
    ax = fig.add_axes((left / styles.WIDTH, 0.47 / tall, 0.9 / styles.WIDTH, 0.08 / tall))
    ramp = LinearSegmentedColormap.from_list("values", styles.RAMP)
    ax.imshow(np.linspace(0, 1, 256)[None], cmap=ramp, aspect="auto")
    ax.set_axis_off()
    for x, text, side in ((-8, "value of the factor: low", "right"), (264, "high", "left")):
        ax.text(x, 0, text, fontsize=6, horizontalalignment=side, verticalalignment="center")
    handles = [Line2D([], [], linestyle="", marker="o", markersize=3, color=GREY, 
                      label="no order (classes at the right)")]
    if any(f.zero_is_missing for f in c.factors):
        handles.append(Line2D([], [], linestyle="", marker="o", markersize=3, markerfacecolor="none",
                              markeredgewidth=0.5, color=GREY, label="not measured (none)"))
    fig.legend(handles=handles, loc="center left", bbox_to_anchor=((left + 1.2) / styles.WIDTH, 0.51 / tall), ncols=2,
               fontsize=6, borderaxespad=0, handletextpad=0, columnspacing=0.6)
