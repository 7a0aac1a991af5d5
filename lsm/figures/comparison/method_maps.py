"""Susceptibility maps of the methods side by side, in the same classes, and what each class contains."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from osgeo import gdal

from lsm.figures import styles
from lsm.figures.common import Drawn, FigureConstants, axes_at, caption, where
from lsm.figures.comparison.method_panels import STAGE, compared, dark_of
from lsm.figures.map_page import MapTerrain, draw_classes, orientation, patch, terrain
from lsm.inputs.bands import known
from lsm.inputs.rasters import Grid, open_raster
from lsm.maps.classes import breaks_of
from lsm.run.artifacts import check
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError

PROTOCOL, REPEAT = "published", 1   # the run whose fitted methods predicted the maps
MAPS, BARS = 3, 4                   # a row
GAP, HEAD, TALLEST = 0.1, 0.2, 2.6  # inches: between maps, of a title, of a map at most
BAR_HIGH, FOOT = 0.95, 0.42         # inches of a panel of bars, of the caption


def method_maps(c: FigureConstants) -> Drawn:
    """A map a method, all in the same classes. Below, each class's share of the held-out blocks' area and of the
    landslides there that no method learned from, with the frequency ratio."""
    paths = Paths(c.REGION)
    record = check(paths.method_maps, STAGE, c)
    breaks, _ = breaks_of(paths, open_raster(paths.map_raster, "run predict_LSM.py"), "figure.py", c)
    scores, _ = compared(paths.scores, c, ("protocol", "seed", "with_dv", "method", "block", "label", "score"))
    scores = where(scores, protocol=PROTOCOL, seed=REPEAT, with_dv=True)
    dataset = open_raster(paths.method_maps, f"run {STAGE}")
    names = [dataset.GetRasterBand(i).GetDescription() for i in range(1, dataset.RasterCount + 1)]
    if missing := set(names) - set(scores["method"]):
        raise InputError(f"{shown(paths.scores)}: expected scores of {', '.join(sorted(missing))} under {PROTOCOL}, "
                         f"found none; run {STAGE} again")
    table = class_rows(c, dataset, names, breaks, scores)
    ground = terrain(c, c.METHOD_CELLS)
    west, east, south, north = ground.extent
    widest = (styles.WIDTH - 0.1 - (MAPS - 1) * GAP) / MAPS
    scale = min(widest / (east - west), TALLEST / (north - south))  # inches a metre
    wide, high = scale * (east - west), max(scale * (north - south), 1.75)
    rows, bands = len(names) // MAPS + 1, -(-len(names) // BARS)  # the last of the maps' places is the legend's
    below = 0.4 + bands * (BAR_HIGH + 0.42)
    tall = 0.05 + rows * (high + HEAD) + below + FOOT
    fig = Figure(figsize=(styles.WIDTH, tall))
    for i, name in enumerate([*names, None]):
        x = 0.05 + i % MAPS * ((styles.WIDTH - 0.1 - wide) / (MAPS - 1))
        y = tall - 0.05 - (i // MAPS + 1) * (high + HEAD)
        ax = axes_at(fig, x, y, wide, high)
        if name:
            draw_classes(ax, ground, paths.method_maps, i + 1, breaks, c.CLASS_COLOURS, c.METHOD_CELLS, 0.2)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_linewidth(0.4)
            ax.set_title(name, fontsize=8, pad=3, color=dark_of(name))
        else:
            class_legend(ax, ground, table, c.CLASS_COLOURS, scale, (wide, high))
    for i, name in enumerate(names):
        x, y = 0.72 + i % BARS * 1.72, FOOT + below - 0.4 - (i // BARS + 1) * (BAR_HIGH + 0.42) + 0.42
        ax = axes_at(fig, x, y, 1.38, BAR_HIGH)
        draw_bars(ax, c.CLASS_COLOURS, table[table["method"] == name], table, first=i % BARS == 0)
        ax.set_title(name, fontsize=7, pad=2.5, color=dark_of(name))
    fig.legend(handles=[patch(c.CLASS_COLOURS[-2], "share of landslides"),
                        Patch(facecolor="white", hatch="//////", edgecolor=styles.INK, linewidth=0.4,
                              label="share of area; beside the bars the frequency ratio: landslides over area")],
               loc="upper left", ncols=2, fontsize=7,
               bbox_to_anchor=(0.05 / styles.WIDTH, (FOOT + below - 0.02) / tall))
    one = table[table["method"] == names[0]]
    caption(fig, c, record, f"{one['cells'].sum():,} cells; bars: {one['held_out_cells'].sum():,} cells and "
            f"{one['landslides'].sum():,} landslides of the {scores['block'].nunique()} blocks held out under the "
            f"first seed of {PROTOCOL}, landslides by the score of their own point;\nno method saw them; each learned "
            "from the other half of these blocks' points and from all other blocks")
    return fig, table


def class_rows(c: FigureConstants, dataset: gdal.Dataset, names: list[str], breaks: list[float],
               scores: pd.DataFrame) -> pd.DataFrame:
    """A row a method and class: cells of the map, cells of the held-out blocks, query points by their own score.

    dataset  has a band a method, in the order of `names`. Raises InputError.
    """
    held_out, block = np.unique(scores["block"]), open_raster(Paths(c.REGION).blocks, "run scene_sampling.py")
    if (block.RasterXSize, block.RasterYSize) != (dataset.RasterXSize, dataset.RasterYSize):
        raise InputError(f"{shown(Paths(c.REGION).method_maps)}: expected the size of {shown(Paths(c.REGION).blocks)}, "
                         f"found another; run {STAGE} again")
    everywhere, within = counts_of_classes(dataset, block, held_out, breaks)
    _, width, _, _, _, height = dataset.GetGeoTransform()
    edges, tables = (0, *breaks, 1), []
    for i, name in enumerate(names):
        own = scores[scores["method"] == name]
        found = np.digitize(own["score"], breaks)
        landslides, others = (np.bincount(found[own["label"] == v], minlength=len(breaks) + 1) for v in (1, 0))
        table = pd.DataFrame({
            "method": name, "class": c.CLASS_NAMES, "from": edges[:-1], "to": edges[1:], "cells": everywhere[i],
            "area_km2": everywhere[i] * abs(width * height) / 1e6, "share_of_area": share(everywhere[i]),
            "held_out_cells": within[i], "share_of_held_out_area": share(within[i]), "landslides": landslides,
            "share_of_landslides": share(landslides), "non_landslides": others,
            "share_of_non_landslides": share(others)})
        with np.errstate(divide="ignore", invalid="ignore"):
            table["frequency_ratio"] = table["share_of_landslides"] / table["share_of_held_out_area"]
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def share(counts: np.ndarray) -> np.ndarray:
    """Counts (classes,) over their sum; zeros where there are none."""
    return counts / max(1, counts.sum())


def counts_of_classes(dataset: gdal.Dataset, block: gdal.Dataset, held_out: np.ndarray,
                      breaks: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Cells of every class of every band (bands, classes): of the whole raster, and of the held-out blocks.

    block  the raster of block numbers on the same grid. A cell on a break belongs to the class above.
    """
    everywhere, within = np.zeros((2, dataset.RasterCount, len(breaks) + 1), np.int64)
    for row, rows in Grid.of(dataset).windows():
        inside = np.isin(block.ReadAsArray(0, row, block.RasterXSize, rows), held_out)
        for i in range(dataset.RasterCount):
            band = dataset.GetRasterBand(i + 1)
            values = band.ReadAsArray(0, row, dataset.RasterXSize, rows)
            here = known(values, band.GetNoDataValue())
            for out, chosen in ((everywhere, here), (within, here & inside)):
                out[i] += np.bincount(np.digitize(values[chosen], breaks), minlength=len(breaks) + 1)
    return everywhere, within


def class_legend(ax, ground: MapTerrain, table: pd.DataFrame, colours: tuple[str, ...], scale: float,
                 size: tuple) -> None:
    """The legend of the classes, north arrow and scale bar, in the place of one more map; size in inches."""
    ax.set(xlim=(0, size[0]), ylim=(0, size[1]))
    ax.axis("off")
    orientation(ax, ground, scale, size[0] - 1.25, 1.0)
    edges = table[["class", "from", "to"]].drop_duplicates()
    ax.legend(handles=[patch(colour, f"{name}  {low:.3g}–{high:.3g}") for colour, (name, low, high)
                       in zip(colours, edges.itertuples(index=False), strict=True)][::-1],
              loc="upper left", borderaxespad=0, fontsize=7, title="landslide susceptibility",
              alignment="left", title_fontsize=7.5, labelspacing=0.45, handlelength=1.6)


def draw_bars(ax, colours: tuple[str, ...], own: pd.DataFrame, table: pd.DataFrame, first: bool) -> None:
    """Two bars a class, share of landslides and share of area, the highest class on top; beside them their ratio."""
    y, most = np.arange(len(own)), table[["share_of_landslides", "share_of_held_out_area"]].to_numpy().max()
    ax.barh(y + 0.2, own["share_of_landslides"], 0.38, color=colours, edgecolor=styles.INK, linewidth=0.4)
    ax.barh(y - 0.2, own["share_of_held_out_area"], 0.38, color="white", edgecolor=styles.INK, linewidth=0.4,
            hatch="//////")
    longest = own[["share_of_landslides", "share_of_held_out_area"]].max(axis=1)
    for at, end, ratio in zip(y, longest, own["frequency_ratio"], strict=True):
        if np.isfinite(ratio):
            ax.text(end + 0.03 * most, at, f"{ratio:.2f}", fontsize=6, va="center")
    ax.set(xlim=(0, 1.22 * most), ylim=(-0.55, len(own) - 0.45))
    ax.set_yticks(y, own["class"] if first else [""] * len(own), fontsize=6)
    ax.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    ax.tick_params(axis="x", labelsize=6, length=2, pad=1.5)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right"]].set_visible(False)
