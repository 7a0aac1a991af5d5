"""The factors: a small map of each, and what a network learns from them, drawn in two dimensions."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap, PowerNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, Isomap
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from lsm.blocks.round_numbers import round_numbers
from lsm.figures import styles
from lsm.figures.common import Drawn, FigureConstants, arrays, axes_at, caption, saved
from lsm.figures.map_page import north_arrow, point_key, scale_bar, terrain
from lsm.inputs import grid_cells
from lsm.inputs.factor.definition import words_of_classes
from lsm.insar.origins import origins
from lsm.learner.encoder import Encoder
from lsm.learner.members import read_kinds
from lsm.maps.cartography import as_one_line, classes_of, grid_layers, outlines, read_decimated
from lsm.run.artifacts import check, record_path
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError

STAGE, LEARNER = "prepare_region.py", "meta_learner.py"
ASPECTS = ("N", "E", "S", "W", "flat")
UNITS = {"degree": "°", "-": "", "class": ""}
NO_CLASS = "no class"  # code 0 of a factor whose classes have names
ACROSS = 4       # maps a row
AROUND_0 = ("curvature", "profile curvature", "plan curvature", "TPI")  # hollows below 0, ridges above it
KEY, LETTER, LINE = 0.17, 0.05, 0.125  # inches that a key of a legend, a letter beside it and a line take at 6 points
ROUND = (1, 2, 2.5, 5, 10)  # steps of ticks
MOST_KEYS = len(styles.CLASS_TONES)  # of a legend: the classes with the largest shares


def factor_maps(c: FigureConstants) -> Drawn:
    """A small map of every factor, from the cells of the grid."""
    paths = Paths(c.REGION)
    ground = terrain(c)
    _, land, extent, dataset = read_decimated(paths.composite, c.FACTOR_CELLS, average=False)
    source = grid_cells.grid_of(paths)
    made = check(source, STAGE, c) if record_path(source).is_file() else {}
    values, n, counts = grid_layers(source, c.factors, dataset.GetGeoTransform(),
                                    (dataset.RasterYSize, dataset.RasterXSize), land.shape)
    classes = words_of_classes(paths.factors, c.factors)
    across, down = ACROSS, -(-len(c.factors) // ACROSS)
    wide = (styles.WIDTH - 0.1 - 0.12 * (across - 1)) / across
    high = min(wide * (extent[3] - extent[2]) / (extent[1] - extent[0]), 2.4)
    legends = [classes_of_factor(cells, f, classes.get(f.name, {})) for f, cells in zip(c.factors, counts, strict=True)]
    unnamed = [f.kind == "categorical" and not any(map(is_name, words.values()))
               for f, (words, _) in zip(c.factors, legends, strict=True)]
    unseen = sum(int((~np.isin(list(cells), classes_of(layer, f))).sum())
                 for f, cells, layer in zip(c.factors, counts, values, strict=True))
    lines = [-(-sum(1 + label.count("\n") for label in labels) // columns)
             for labels, columns in (legend_of(legend_order(words, tones)[1], wide) for words, tones in legends)]
    steps = [high + 0.56 + LINE * max(0, max(lines[r * across:(r + 1) * across]) - 2) for r in range(down)]
    tall = sum(steps) + 0.62
    fig = Figure(figsize=(styles.WIDTH, tall))
    coast, rows = as_one_line(outlines(land, extent)), []
    for i, (factor, layer) in enumerate(zip(c.factors, values, strict=True)):
        x, y = 0.05 + i % across * (wide + 0.12), tall - 0.22 - sum(steps[:i // across]) - high
        ax = axes_at(fig, x, y, wide, high)
        foot = (x, y - 0.14, wide)
        ax.set_title(title_of(factor, unnamed[i]), fontsize=7.5, pad=2.5)
        back = np.where(land[..., None], to_rgb("white"), to_rgb(styles.SEA))
        ax.imshow(back, extent=extent)
        if factor.kind in ("categorical", "circular"):
            rows += draw_codes(fig, ax, foot, extent, classes_of(layer, factor), counts[i], legends[i], factor)
        else:
            rows.append(draw_ramp(fig, ax, foot, extent, layer, factor))
        ax.plot(*coast, color=styles.INK, linewidth=0.2)
        ax.set(xlim=extent[:2], ylim=extent[2:], xticks=[], yticks=[])
        ax.spines[:].set_linewidth(0.4)
    feet = axes_at(fig, styles.WIDTH - 1.9, 0.28, 1.8, 0.24)
    feet.set(xlim=(0, 1.8), ylim=(0, 0.24))
    feet.axis("off")
    scale = min(wide / (extent[1] - extent[0]), 2.4 / (extent[3] - extent[2]))  # inches a metre
    scale_bar(feet, 0.2, 0.02, scale, 0.8, kilometres=scale <= 0.8 / 1000)
    north_arrow(feet, 1.6, 0, 0.16)
    caption(fig, c, made, f"{n:,} cells, drawn on {land.shape[1]} × {land.shape[0]}; arrows: beyond the 2nd or 98th "
            "percentile\ndistances: colours by square root"
            + "; codes: classes without names in the inputs" * any(unnamed)
            + f"; classes too small to be drawn: {unseen}" * (unseen > 0) + "\n" + ", ".join(ground.words))
    return fig, pd.DataFrame(rows)


def title_of(factor, unnamed: bool) -> str:
    """Name and unit of a factor. Numbers in parts of 10,000 are the factor times 10,000: as a unit, "× 10⁻⁴", that may
    be read either way. unnamed: whether it has classes without names."""
    if factor.unit == "1e-4":
        return f"{factor.name} × 10,000"
    unit = "codes" if unnamed else UNITS.get(factor.unit, factor.unit)
    return factor.name + (f" ({unit})" if unit else "")


def draw_ramp(fig, ax, foot: tuple, extent: tuple, layer: np.ndarray, factor) -> dict:
    """Draws a numeric factor, dark where it is high or, of a velocity and AROUND_0, far from 0, with its scale. Returns
    its row of the csv.

    foot  left, bottom and width in inches of the place for the scale
    """
    missing = (layer == 0) & factor.zero_is_missing
    known = layer[np.isfinite(layer) & ~missing]
    low, high = np.percentile(known, (2, 98)) if len(known) else (0, 1)
    most, two_sided = max(abs(low), abs(high)), factor.zero_is_missing or factor.name in AROUND_0
    first, last = (-most, most) if two_sided else (low, high)
    ramp = LinearSegmentedColormap.from_list("ramp", styles.DEFORMATION if two_sided else styles.RAMP)
    drawn = ax.imshow(np.where(missing, np.nan, layer), extent=extent, cmap=ramp, norm=PowerNorm(
        0.5 if factor.kind == "distance" else 1, first, last if last > first else first + 1))
    x, y, wide = foot
    tall = fig.get_figheight()
    bar = axes_at(fig, x + 0.15, y, wide - 0.3, 0.07)
    beyond = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[
        bool((known < first).any()), bool((known > last).any())]
    fig.colorbar(drawn, cax=bar, orientation="horizontal", extend=beyond).outline.set_linewidth(0.4)
    bar.tick_params(labelsize=6, length=1.5, pad=1.5)
    if factor.kind == "distance":
        bar.set_xticks(ticks := root_ticks(drawn.norm.vmin, drawn.norm.vmax), [f"{tick:g}" for tick in ticks])
    else:
        bar.xaxis.set_major_locator(MaxNLocator(4, steps=ROUND))
    if missing.any():
        veil = np.zeros((*missing.shape, 4))
        veil[missing] = (*to_rgb(styles.PALE), 1)
        ax.imshow(veil, extent=extent)
        fig.text((x + wide / 2) / styles.WIDTH, (y - 0.29) / tall, fontsize=6, ha="center",
                 s=f"grey: not measured ({missing.sum() / np.isfinite(layer).sum():.0%} of cells)")
    row = {"factor": factor.name, "unit": factor.unit, "class": "", "cells": np.isfinite(layer).sum(),
           "share": len(known) / max(1, np.isfinite(layer).sum())}
    return row | ({"low": low, "high": high, "mean": known.mean(dtype=float)} if len(known) else {})


def root_ticks(first: float, last: float) -> list[float]:
    """Round numbers between `first` and `last` for ticks along a bar whose colours go by the square root: from the
    largest down, as many as have room for their digits, and 0 where the bar begins there."""
    def place(value: float) -> float:
        return ((value - first) / (last - first)) ** 0.5

    apart, found = max(0.19, 0.048 * len(f"{last:.0f}")), []  # of the bar's length
    for value in round_numbers(max(first, (last - first) / 1000), last)[::-1]:
        beside_zero = first == 0 and place(value) < apart
        if not beside_zero and (not found or place(found[-1]) - place(value) >= apart):
            found.append(value)
    if len(found) < 2:  # of a narrow range that begins far from 0
        return [v for v in MaxNLocator(4, steps=ROUND).tick_values(first, last) if first <= v <= last]
    return [0.0] * (first == 0) + found[::-1]


def classes_of_factor(cells: dict[float, int], factor, names: dict) -> tuple[dict, dict]:
    """The word and the tone of each class of a factor; cells: how many cells of the grid each has, as `grid_layers`
    counts them. Directions have four quarters and flat ground; of a numeric factor nothing is returned."""
    if factor.kind == "circular":
        return {v: ASPECTS[int(v)] for v in cells}, dict(enumerate(styles.ASPECT_TONES))
    largest = sorted(sorted(cells, key=cells.get, reverse=True)[:MOST_KEYS])
    tones = dict.fromkeys(cells, styles.PALE) | dict(zip(largest, styles.CLASS_TONES, strict=False))
    return {v: names.get(v, NO_CLASS if names and v == 0 else f"{v:g}") for v in cells}, tones


def is_name(word: str) -> bool:
    """Whether the word of a class is a name, not its code alone."""
    return not word.lstrip("-").replace(".", "", 1).isdigit()


def legend_order(words: dict, tones: dict) -> tuple[list[str], list[str]]:
    """The tones and the words of the classes in the order of the legend: the largest classes, which have tones of their
    own, then the others."""
    order = sorted(words, key=lambda value: tones[value] == styles.PALE)
    return [tones[value] for value in order], [words[value] for value in order]


def legend_of(words: list[str], wide: float) -> tuple[list[str], int]:
    """The labels of a legend, MOST_KEYS at most and a last one: the only class that is left, or how many are left. And
    its columns within `wide` inches. Names too long for one column are broken into lines."""
    labels = words if len(words) <= MOST_KEYS + 1 else [*words[:MOST_KEYS], f"{len(words) - MOST_KEYS} more"]
    columns = max(1, min(5, int(wide / (KEY + LETTER * max(map(len, labels), default=1)))))
    if len(labels) == columns + 1 and sum(KEY + LETTER * len(label) for label in labels) <= wide:
        columns += 1  # one line, of columns that differ in width
    if columns == 1:
        labels = [textwrap.fill(label, int((wide - KEY) / LETTER)) for label in labels]
    return labels, columns


def draw_codes(fig, ax, foot: tuple, extent: tuple, code: np.ndarray, cells: dict, legend: tuple, factor
               ) -> list[dict]:
    """Draws a factor of classes, or a direction; returns a row of the csv a class.

    code    the class of each cell that is drawn (rows, cols), nan without one
    cells   how many cells of the grid each class has; legend  as `classes_of_factor` gives it
    """
    words, tones = legend
    drawn, rows, n = np.zeros((*code.shape, 4)), [], sum(cells.values())
    for value, word in words.items():
        drawn[code == value] = (*to_rgb(tones[value]), 1)
        rows.append({"factor": factor.name, "unit": factor.unit, "class": word, "cells": n,
                     "share": cells[value] / n})
    ax.imshow(drawn, extent=extent)
    x, y, wide = foot
    colours, names = legend_order(words, tones)
    labels, columns = legend_of(names, wide)
    handles = [Patch(facecolor=colour, edgecolor=styles.INK, linewidth=0.3, label=label)
               for colour, label in zip(colours, labels, strict=False)]
    fig.legend(handles=handles, loc="upper center", ncols=columns, fontsize=6, borderaxespad=0, columnspacing=0.7,
               bbox_to_anchor=((x + wide / 2) / styles.WIDTH, (y + 0.1) / fig.get_figheight()), handlelength=1,
               handletextpad=0.3)
    return rows


def learned_factors(c: FigureConstants) -> Drawn:
    """Held-out samples in two dimensions, placed in three ways: by a network's inputs and by its last hidden layer.

    The network is the first member of the first kind: a local member, which reads factors alone, where there is one.
    Each panel says how often neighbours have the same label.
    """
    paths = Paths(c.REGION)
    model = arrays(paths.model, LEARNER, c, ("encoder", "kinds"))
    kind_of_member = read_kinds(model["kinds"])[0]
    weights = [w[0] for name, w in model.items() if name.startswith(f"{kind_of_member.name}_pooled_")]
    split, record = saved(paths.split, LEARNER, c, ("row", "role"))
    tasks = arrays(paths.tasks, "scene_sampling.py", c, ("row", "factors", "label", "xy"))
    apart = np.flatnonzero(np.isin(tasks["row"], split.loc[split["role"] == "query", "row"]))
    if len(apart) <= c.NEIGHBOURS:
        raise InputError(f"{shown(paths.split)}: role: expected more than {c.NEIGHBOURS} query samples, found "
                         f"{len(apart)}; run {LEARNER} again")
    drawn = np.sort(np.random.default_rng(c.SEED).permutation(apart)[:c.EMBEDDED])
    origin, _ = origins(paths, {name: tasks[name] for name in ("row", "label", "xy")}, c)
    kind = pd.Series(origin[drawn]).map(styles.KINDS)
    raw = Encoder.from_json(str(model["encoder"])).transform(tasks["factors"][drawn], tasks["xy"][drawn])
    raw = raw[:, :len(weights[0])]
    spaces = {"raw: the network's inputs": raw, "learned: last hidden layer": hidden(weights, raw)}
    fig = Figure(figsize=(styles.WIDTH, 5.7))
    axes = fig.subplots(2, 3)
    fig.subplots_adjust(left=0.045, right=0.995, top=0.955, bottom=0.13, wspace=0.04, hspace=0.14)
    label, tables = tasks["label"][drawn], []
    for band, (name, x) in zip(axes, spaces.items(), strict=True):
        band[0].set_ylabel(f"{name} ({x.shape[1]} numbers)\nneighbours alike: {alike(x, label, c.NEIGHBOURS):.0%}",
                           fontsize=7.5)
        for ax, (way, place) in zip(band, embeddings(x, c).items(), strict=True):
            for of in ("non-landslide", "landslide", "InSAR"):
                chosen = kind == of
                ax.scatter(*place[chosen].T, s=3.5, rasterized=True, **styles.POINTS[of])
            ax.set_title(f"{way}: {alike(place, label, c.NEIGHBOURS):.0%} alike", fontsize=7.5, pad=3)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_color(styles.PALE)
            tables.append(pd.DataFrame({"space": name, "way": way, "sample": drawn, "x": place[:, 0], "y": place[:, 1],
                                        "kind": kind, "label": label}))
    counts = kind.value_counts()
    shown_kinds = [k for k in ("landslide", "InSAR", "non-landslide") if k in counts]
    keys = [point_key(k, f"{styles.NAMES[k]}: {counts[k]:,}") for k in shown_kinds]
    fig.legend(handles=keys, loc="lower right", ncols=3, bbox_to_anchor=(0.995, 0.085), borderaxespad=0)
    most = label.mean()
    caption(fig, c, record, f"{len(drawn):,} held-out samples, with labels that no network has "
            f"seen; member 1 of {kind_of_member.members} ({kind_of_member.name}), not adapted;\nalike: same "
            f"label among the {c.NEIGHBOURS} nearest, by chance {most**2 + (1 - most)**2:.0%}; perplexity "
            f"{c.PERPLEXITY:g}")
    return fig, pd.concat(tables).round({"x": 5, "y": 5})


def hidden(weights: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """The last hidden layer (n, units) of a folded network, from its inputs x (n, inputs), without the direct path."""
    layers = len(weights) // 2 - 1
    for w, b in zip(weights[:2 * layers:2], weights[1:2 * layers:2], strict=True):
        x = np.maximum(x @ w + b, 0)
    return x


def embeddings(x: np.ndarray, c: FigureConstants) -> dict[str, np.ndarray]:
    """x (n, numbers) placed in two dimensions (n, 2), by name of the way. One thread and a fixed start: each run gives
    the same result."""
    ways = {"PCA": PCA(2, svd_solver="full"),
            "t-SNE": TSNE(2, perplexity=min(c.PERPLEXITY, (len(x) - 1) / 3), init="pca", random_state=c.SEED, n_jobs=1,
                          max_iter=c.TSNE_STEPS, angle=0.8),
            "Isomap": Isomap(n_neighbors=c.NEIGHBOURS, n_components=2, eigen_solver="dense")}
    with threadpool_limits(1):
        return {name: way.fit_transform(x.astype(np.float64)) for name, way in ways.items()}


def alike(x: np.ndarray, label: np.ndarray, neighbours: int) -> float:
    """The mean share of a point's nearest `neighbours` that have its label; x (n, numbers), label (n,)."""
    near = NearestNeighbors(n_neighbors=neighbours).fit(x).kneighbors(return_distance=False)
    return float((label[near] == label[:, None]).mean())
