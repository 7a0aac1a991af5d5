"""How much each factor counts: SHAP values and permutation importance, over the territory and in chosen blocks."""

from textwrap import shorten

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.stats import gaussian_kde, rankdata

from lsm.explanation.ranking import EXPLAINED, NOTE, SIGNED
from lsm.figures import styles
from lsm.figures.common import Drawn, FigureConstants, arrays, axes_at, caption, saved, where
from lsm.figures.comparison.block_kinds import block_statistics, end_of
from lsm.inputs.factor.definition import Factor, words_of_classes
from lsm.run.paths import Paths
from lsm.run.settings import InputError, counted

STAGE = "feature_permutation.py"
ROW, TOP, BETWEEN, BOTTOM = 0.17, 0.54, 0.38, 0.92  # inches: a factor, above a panel, below it, below the last panel
CLASS = 0.6                        # height of a class, as a share of a factor's row
NAMES, BARS, GAP = 1.0, 1.95, 0.45   # inches: names of factors, bars, between bars and violins
CLASSES = 5                        # a factor with more classes has one violin for all of them
MOST = 3                           # blocks drawn where none is named
NAME, LETTER, MARGIN = 22, 0.045, 0.25  # letters of a class's name; inches of a letter, and right of the axes
GREY = "#8a8a8a"                   # values without order, or not measured
GOLDEN = (np.sqrt(5) - 1) / 2      # its multiples, modulo 1, fill 0 to 1 evenly (Weyl's sequence)
COLUMNS = ("block", "factor", "mean_abs_shap", "sign", "permutation", "sd", "rank", "explained", "state")
ARRAYS = ("block", "row", "factors", "shap", "state", "factor_names")


def shap_territory(c: FigureConstants) -> Drawn:
    """The whole territory: mean |SHAP| and permutation importance as bars, SHAP values of samples as violins.

    The samples are of all explained blocks; the colour of each tells its value of the factor.
    """
    paths = Paths(c.REGION)
    ranking, record = saved(paths.importance_territory, STAGE, c, ("factor", "rank", "mean_abs_shap", "permutation",
                                                                   "blocks_led", "raises", "lowers"))
    values = arrays(paths.shap_values, STAGE, c, ARRAYS)
    explained = np.isin(values["state"], EXPLAINED)  # (blocks,)
    samples = np.flatnonzero(explained[values["block"]])
    drawn = np.sort(np.random.default_rng(c.SEED).permutation(samples)[:c.SWARM])
    words = [f"leads {n:,}" if n else "" for n in ranking["blocks_led"]]
    panels = [("Territory", ranking.assign(sd=np.nan), words, drawn)]
    fig, points = violin_page(values, panels, c.factors, words_of_classes(paths.factors, c.factors))
    made = record["constants"]
    blocks = len(np.unique(values["block"][samples]))  # a block without samples has nothing to explain
    caption(fig, c, record, f"{counted(len(samples), 'sample')} of {counted(blocks, 'block')} "
            f"explained, {len(drawn):,} drawn; {made.get('EXPLAINED')} a block at most, background "
            f"{made.get('BACKGROUND')} of the {made.get('BACKGROUND_FROM')};\nbars: mean |SHAP| weighted by area; "
            "leads: number of blocks that the factor leads")
    return fig, pd.concat([ranking.assign(part="bar"), *points])


def shap_blocks(c: FigureConstants) -> Drawn:
    """The same for single blocks: SHAP_BLOCKS, or three well explained blocks with different leading factors."""
    paths = Paths(c.REGION)
    table, record = saved(paths.importance, STAGE, c, COLUMNS)
    blocks, _ = saved(paths.blocks_table, "scene_sampling.py", c, ("block", "samples", "landslides"))
    blocks = blocks.set_index("block")
    tasks = arrays(paths.tasks, "scene_sampling.py", c, ("block", "factors", "factor_names"))
    chosen = chosen_blocks(table, blocks["samples"], c.SHAP_BLOCKS)
    values = arrays(paths.shap_values, STAGE, c, ARRAYS)
    words = block_words(tasks, c)
    panels = []
    for block in chosen:
        lines = where(table, block=block).sort_values("rank").iloc[:c.SHAP_ROWS]
        drawn = np.flatnonzero(values["block"] == block)
        arrows = [{1: "↑", -1: "↓"}.get(sign, "") for sign in lines["sign"]]
        title = (f"Block {block}" + (f": {words[block]}" if block in words else "")
                 + f" · {counted(blocks.loc[block, 'samples'], 'sample')}, "
                 f"{counted(blocks.loc[block, 'landslides'], 'landslide')}, "
                 f"{len(drawn)} explained")
        panels.append((title, lines, arrows, drawn))
    fig, points = violin_page(values, panels, c.factors, words_of_classes(paths.factors, c.factors))
    made = record["constants"]
    more = table["factor"].nunique() - max(len(lines) for _, lines, *_ in panels)
    caption(fig, c, record, f"{made.get('EXPLAINED')} samples a block explained at most, background "
            f"{made.get('BACKGROUND')} of the {made.get('BACKGROUND_FROM')}"
            + (f"; {more} weaker factors of each block are in the csv" if more else "")
            + ";\nbars: mean |SHAP|; ↑ larger values raise the log-odds, ↓ lower them; "
            "line: sd over shuffles" + NOTE * any(set(SIGNED) & set(lines["factor"]) for _, lines, *_ in panels))
    return fig, pd.concat([*(where(table, block=block).assign(part="bar") for block in chosen), *points])


def chosen_blocks(table: pd.DataFrame, samples: pd.Series, wanted: tuple) -> list[int]:
    """The blocks to draw: those `wanted`, or MOST blocks with different leading factors.

    Without wanted blocks, of each leading factor the block with the most explained samples; among equals the block with
    the most `samples` (by block). Raises InputError for a wanted block without a model.
    """
    leads = table[(table["rank"] == 1) & table["state"].isin(EXPLAINED)]
    for block in wanted:
        if block not in set(leads["block"]):
            raise InputError(f"SHAP_BLOCKS={tuple(wanted)}: expected numbers of explained blocks, found "
                             f"{block!r}; leading_factor has them in its csv")
    if wanted:
        return list(wanted)
    leads = leads.assign(samples=leads["block"].map(samples))
    leads = leads.sort_values(["explained", "samples", "block"], ascending=[False, False, True])
    return list(leads.drop_duplicates("factor")["block"].iloc[:MOST])


def block_words(tasks: dict, c: FigureConstants) -> dict[int, str]:
    """In words, the two mean factors in which a block differs most from the others, for blocks with more than THIN
    samples."""
    numbers, statistics = block_statistics(tasks, c.factors, c.THIN)
    out = {}
    for block, row in zip(numbers, statistics.to_numpy(), strict=True):
        far = np.argsort(-np.abs(row), kind="stable")[:2]
        out[int(block)] = ", ".join(end_of(statistics.columns[j], row[j] > 0) for j in far)
    return out


def rows_of(values: dict, factors: tuple[Factor, ...], names: list[str]) -> np.ndarray:
    """The height of each factor's row, in ROW: higher where classes or missing values have violins of their own."""
    parts = [violins_of(values, factors, name) for name in names]
    return np.array([max(1, CLASS * len(codes)) + CLASS * bool(missing.any()) for missing, codes in parts])


def violins_of(values: dict, factors: tuple[Factor, ...], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Which explained samples have no measured value of a factor (samples,) bool, and the factor's classes.

    There are no classes where the factor has an order, or more than CLASSES of them.
    """
    value = values["factors"][:, list(values["factor_names"]).index(name)]
    factor = next((f for f in factors if f.name == name), None)
    codes = np.unique(value) if factor and factor.kind == "categorical" else np.empty(0)
    return (value == 0) & bool(factor and factor.zero_is_missing), codes if len(codes) <= CLASSES else codes[:0]


def violin_page(values: dict, panels: list[tuple], factors: tuple[Factor, ...], names: dict[str, dict[int, str]]
                ) -> tuple[Figure, list[pd.DataFrame]]:
    """A page of panels, one below the other, and the points drawn in each.

    panels  title, lines, words and drawn of each, as `panel` takes them
    names   of classes, by factor and code
    """
    heights = [rows_of(values, factors, [*lines["factor"]]) for _, lines, *_ in panels]
    y = sum(TOP + ROW * high.sum() for high in heights) + BETWEEN * (len(heights) - 1) + BOTTOM
    fig = Figure(figsize=(styles.WIDTH, y))
    points, left = [], NAMES + BARS + GAP
    for (title, lines, words, drawn), high in zip(panels, heights, strict=True):
        tall = ROW * high.sum()
        y -= TOP + tall
        bar, violin = axes_at(fig, NAMES, y, BARS, tall), axes_at(fig, left, y, styles.WIDTH - left - 0.3, tall)
        y -= BETWEEN
        points.append(panel(bar, violin, lines, high, words, values, drawn, factors, names))
        bar.annotate(title, (0, 1), xytext=(-72 * NAMES + 6, 28), xycoords="axes fraction", fontsize=7.5,
                     textcoords="offset points", fontweight="bold", annotation_clip=False)
    drawn = [name for _, lines, *_ in panels for name in lines["factor"] if len(violins_of(values, factors, name)[1])]
    colour_legend(fig, factors, "; beside it: the name of the class" if any(name in names for name in drawn) else
                  "; beside it: the code of the class" if drawn else "")
    return fig, points


def panel(bar, violin, lines: pd.DataFrame, high: np.ndarray, words: list[str], values: dict, drawn: np.ndarray,
          factors: tuple[Factor, ...], names: dict[str, dict[int, str]]) -> pd.DataFrame:
    """Draws bars and violins of the factors in `lines`, the first on top. Returns the points drawn.

    lines   factor, mean_abs_shap, permutation, sd (nan: none)
    high    heights of their rows (factors,); words: text at the end of each row
    values  the arrays of the SHAP values; drawn: their rows to draw
    """
    y = np.cumsum(high) - high / 2
    bar.barh(y, lines["mean_abs_shap"], height=0.62, color="#9ecae1", edgecolor=styles.AFTER["color"], linewidth=0.5)
    bar.set_xlabel("mean |SHAP| (log-odds)")
    other = bar.twiny()
    other.errorbar(lines["permutation"], y, xerr=None if lines["sd"].isna().all() else lines["sd"], linestyle="",
                   marker="D", markersize=3, markerfacecolor="white", markeredgecolor="black", markeredgewidth=0.7,
                   ecolor="black", elinewidth=0.6, clip_on=False, zorder=3)
    ends = [lines["permutation"] + sign * lines["sd"].fillna(0) for sign in (-1, 1)]
    least = max(0, -ends[0].min())
    most = max(ends[1].max(), least / 2, 1e-6)
    for ax, largest in ((other, most), (bar, lines["mean_abs_shap"].max())):  # both axes share their 0
        ax.set_xlim(-1.1 * least / most * largest, 1.4 * largest)
    bar.axvline(0, color=styles.INK, linewidth=0.6)
    other.set_xlabel("◇ permutation (rise of log loss)")
    bar.set_yticks(y, lines["factor"], fontsize=7)
    for at, word in zip(y, words, strict=True):
        bar.text(1, at, word, transform=bar.get_yaxis_transform(), fontsize=6, color=styles.INK,
                 ha="right", va="center")
    violin.axvline(0, color=styles.INK, linewidth=0.6)
    points = [swarm(violin, name, at, values, drawn, factors, names.get(name, {}))
              for name, at in zip(lines["factor"], y, strict=True)]
    make_room(violin)
    violin.set_xlabel("SHAP value (log-odds of landslide)")
    violin.set_yticks(y, [""] * len(y))
    for ax in (bar, violin):  # lines between the rows of factors: some have several violins
        ax.hlines(np.cumsum(high)[:-1], 0, 1, transform=ax.get_yaxis_transform(), color="#d9d9d9", linewidth=0.4,
                  zorder=0)
    for ax in (bar, violin, other):
        ax.set_ylim(high.sum(), 0)
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.tick_params(axis="y", length=0, pad=5)
        ax.tick_params(axis="x", labelsize=6, pad=2, length=2)
        ax.xaxis.label.set_size(6.5)
        ax.xaxis.labelpad = 2
        ax.locator_params(axis="x", nbins=6)
    bar.set_xticks([tick for tick in bar.get_xticks() if 0 <= tick <= bar.get_xlim()[1]])
    violin.grid(axis="x")
    violin.set_axisbelow(True)
    return pd.concat(points, ignore_index=True)


def swarm(ax, name: str, at: float, values: dict, drawn: np.ndarray, factors: tuple[Factor, ...], names: dict[int, str]
          ) -> pd.DataFrame:
    """Draws one factor's SHAP values around `at`, a violin a class where it has few classes; names: of its classes by
    code. Returns them."""
    j = list(values["factor_names"]).index(name)
    value, effect = values["factors"][drawn, j], values["shap"][drawn, j].astype(float)
    factor = next((f for f in factors if f.name == name), None)
    size, (missing, codes) = float(np.clip(1400 / len(drawn), 1.2, 7)), violins_of(values, factors, name)
    for k, code in enumerate(codes):
        one, middle = effect[value == code], at + CLASS * (k + 0.5 - len(codes) / 2)
        ax.scatter(one, middle + draw_violin(one, 0.45 * CLASS, ax, middle), s=0.7 * size, color=GREY, linewidths=0,
                   rasterized=True, zorder=3)
        beside(ax, one, middle, shorten(names.get(int(code), f"{code:g}"), NAME, placeholder="…"))
    if not len(codes):
        apart, missing, place = CLASS * missing.any() / 2, missing[drawn], np.empty(len(value))
        for chosen, middle, room in ((~missing, at - apart, 0.45), (missing, at + 0.5, 0.45 * CLASS)):
            place[chosen] = middle + draw_violin(effect[chosen], room, ax, middle)
        colour = np.full(len(value), GREY, object)
        if not factor or factor.kind in ("continuous", "distance"):
            rank = (rankdata(value[~missing]) - 1) / max(1, (~missing).sum() - 1)
            colour = np.zeros((len(value), 4))
            colour[~missing] = LinearSegmentedColormap.from_list("values", styles.RAMP)(rank)
        if apart:
            beside(ax, effect[missing], at + 0.5, "none")
        ax.scatter(effect[missing], place[missing], s=size, facecolors="none", edgecolors=GREY, linewidths=0.35,
                   rasterized=True, zorder=3)
        ax.scatter(effect[~missing], place[~missing], s=size, color=list(colour[~missing]), linewidths=0,
                   rasterized=True, zorder=3)
    return pd.DataFrame({"part": "point", "factor": name, "block": values["block"][drawn],
                         "sample": values["row"][drawn], "value": value, "shap": effect})


def draw_violin(effect: np.ndarray, room: float, ax, at: float) -> np.ndarray:
    """Draws the violin of SHAP values (points,) around `at`, up to `room` high on either side.

    Returns how far from the middle each point lies (points,): spread evenly over the violin's height at its value.
    """
    if len(effect) < 3 or np.ptp(effect) < 1e-9:
        return np.zeros(len(effect))
    x = np.linspace(effect.min(), effect.max(), 200)
    density = gaussian_kde(effect)(x)
    height = room * density / density.max()
    ax.fill_between(x, at - height, at + height, color="#e6e6e6", linewidth=0, zorder=1)
    return (2 * (GOLDEN * np.arange(len(effect)) % 1) - 1) * np.interp(effect, x, height)


def beside(ax, effect: np.ndarray, at: float, text: str) -> None:
    """Writes the name of the violin at `at` on the right of its SHAP values (points,) and of 0, if it has any."""
    if len(effect):
        ax.annotate(text, (max(0, effect.max()), at), xytext=(3, 0), textcoords="offset points", fontsize=5.5,
                    va="center", color=styles.INK)


def make_room(ax) -> None:
    """Widens the axes to the right, so that what stands beside violins ends on the page."""
    wide, (low, high) = ax.get_position().width * ax.figure.get_figwidth(), ax.get_xlim()
    for text in ax.texts:
        end = max(0.5 * wide, wide + MARGIN - LETTER * len(text.get_text()))  # inches: where it may begin at the latest
        high = max(high, low + (text.xy[0] - low) * wide / end)
    ax.set_xlim(low, high)


def colour_legend(fig, factors: tuple[Factor, ...], beside_classes: str) -> None:
    """The legend of the points' colours, at the foot of the page; beside_classes: what stands beside their violins."""
    tall, left = fig.get_figheight(), 1.45
    ax = axes_at(fig, left, 0.47, 0.9, 0.08)
    ramp = LinearSegmentedColormap.from_list("values", styles.RAMP)
    ax.imshow(np.linspace(0, 1, 256)[None], cmap=ramp, aspect="auto")
    ax.set_axis_off()
    for x, text, side in ((-8, "value of the factor: low", "right"), (264, "high", "left")):
        ax.text(x, 0, text, fontsize=6, ha=side, va="center")
    handles = [Line2D([], [], linestyle="", marker="o", markersize=3, color=GREY,
                      label="class or direction, which has no low or high" + beside_classes)]
    if any(f.zero_is_missing for f in factors):
        handles.append(Line2D([], [], linestyle="", marker="o", markersize=3, markerfacecolor="none",
                              markeredgewidth=0.5, color=GREY, label="not measured (none)"))
    fig.legend(handles=handles, loc="center left", bbox_to_anchor=((left + 1.2) / styles.WIDTH, 0.51 / tall), ncols=2,
               fontsize=6, borderaxespad=0, handletextpad=0, columnspacing=0.6)
