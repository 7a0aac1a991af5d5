"""What every map shares: the terrain under it, its page, its furniture (north arrow, scale bar), points and classes."""

import textwrap
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.collections import PathCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Polygon, Rectangle

from lsm.blocks.round_numbers import round_numbers
from lsm.figures import styles
from lsm.figures.common import FigureConstants, axes_at
from lsm.inputs.crs import crs_name, refuse_unmetric
from lsm.maps.cartography import as_one_line, dimmed, outlines, read_decimated, shaded
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError

WIDE = 1.8          # times as wide as high; such a map has its legend below
FURNITURE = 1.75    # inches of height that north arrow, scale bar and words take above each other
FLAT = (1.95, 0.95)  # inches of width and height that they take where the arrow stands beside the bar


@dataclass(frozen=True)
class MapTerrain:
    """The terrain below every map.

    relief  the terrain in colour (rows, cols, 3); shade (rows, cols), 1 on flat ground
    extent  of both: west, east, south, north in metres
    words   CRS, cell size and what else readers must know
    """

    relief: np.ndarray
    shade: np.ndarray
    extent: tuple[float, float, float, float]
    words: tuple[str, ...]


def terrain(c: FigureConstants, largest: int | None = None) -> MapTerrain:
    """The terrain raster with at most `largest` cells a side; None: LARGEST. Raises InputError."""
    path = Paths(c.REGION).composite
    if not path.is_file():
        raise InputError(f"{shown(path)}: missing; put it there, or run src_data/make_demo.py for the demo area")
    dem, shade, valid, extent, dataset = shaded(path, largest or c.LARGEST)
    refuse_unmetric(dataset.GetSpatialRef(), path)
    low, high = np.percentile(dem[valid], (1, 99))
    tint = LinearSegmentedColormap.from_list("tint", styles.TINTS)((dem - low) / max(high - low, 1))[..., :3]
    relief = np.where(valid[..., None], tint * shade[..., None], to_rgb(styles.SEA))
    transform = dataset.GetGeoTransform()
    words = (crs_name(dataset.GetProjection()), f"cells {transform[1]:.4g} × {-transform[5]:.4g} m",
             *(text for region, text in c.MAP_NOTES if region == c.REGION))
    return MapTerrain(relief, shade, extent, words)


def map_page(ground: MapTerrain, across: float = styles.MAP, beside: float = styles.PANEL, least: float = 3.4,
             below: float = 0.0) -> tuple:
    """A page for one map: figure, axes of the map in metres, axes of the panel beside or below it in inches.

    The panel has north arrow, scale bar, CRS and cell size at its foot, or, below the map, on its right; the rest is
    free.
    across  inches of the map, at most; beside: inches of the panel; least: inches of height, at least
    below   inches of height of a panel below the map; 0: the panel is beside it
    """
    west, east, south, north = ground.extent
    scale = min(across / (east - west), 7.5 / (north - south))  # inches a metre
    wide, tall = scale * (east - west), scale * (north - south)
    high = tall if below else max(tall, least)
    foot = 0.42 + below + 0.5 if below else 0.65  # of the map's axis lies between map and panel
    fig = Figure(figsize=(styles.WIDTH, high + foot + 0.22))  # the topmost tick label is wider than the frame is high
    ax = axes_at(fig, 0.5, foot + high - tall, wide, tall)
    name_axes(ax, ground.extent)
    panel = axes_at(fig, 0.5, 0.42, wide, below) if below else axes_at(fig, 0.65 + wide, 0.65, beside, high)
    panel.set(xlim=(0, wide if below else beside), ylim=(0, below or high))
    panel.axis("off")
    if below:
        flat_orientation(panel, ground, scale, wide - FLAT[0], below)
    else:
        orientation(panel, ground, scale)
    return fig, ax, panel


def map_with_legend(ground: MapTerrain, handles: list, **options) -> tuple:
    """A page for one map with a legend, which has the room that it needs: figure, axes of the map in metres.

    The legend is beside the map. Of a map much wider than high it is below: beside, it would leave the page half empty.
    options  of Matplotlib's legend
    """
    west, east, south, north = ground.extent
    options = {"loc": "upper left", "borderaxespad": 0} | options
    if east - west < WIDE * (north - south):
        fig, ax, panel = map_page(ground, least=legend_size(handles, options)[1] + FURNITURE)
    else:
        across = styles.WIDTH - 0.65
        options["ncols"] = next((n for n in range(len(handles), 1, -1)
                                 if legend_size(handles, options | {"ncols": n})[0] < across - FLAT[0]), 1)
        fig, ax, panel = map_page(ground, across, below=max(FLAT[1], legend_size(handles, options)[1]))
    panel.legend(handles=handles, **options)
    return fig, ax


def legend_size(handles: list, options: dict) -> tuple[float, float]:
    """Width and height of a legend in inches, found by drawing it on a page that is thrown away."""
    page = Figure(figsize=(styles.WIDTH, styles.WIDTH))
    legend = page.legend(handles=handles, **options)
    page.draw_without_rendering()
    box = legend.get_window_extent()
    return box.width / page.dpi, box.height / page.dpi


def name_axes(ax, extent: tuple[float, float, float, float]) -> None:
    """Sets the axes of a map to its extent, with ticks in kilometres, or in metres where the map is small."""
    west, east, south, north = extent
    unit, metres = ("km", 1000) if in_kilometres(extent) else ("m", 1)
    ax.set(xlim=(west, east), ylim=(south, north), aspect="equal", xlabel=f"easting ({unit})",
           ylabel=f"northing ({unit})")
    prune = "lower" if unit == "m" else None  # long numbers would meet in the corner
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(matplotlib.ticker.MaxNLocator(5, steps=(1, 2, 5, 10), prune=prune))
        axis.set_major_formatter(lambda value, _: f"{value / metres:.10g}")  # a northing has seven digits
    for label in ax.get_yticklabels():
        label.set(rotation=90, va="center")
    ax.tick_params(labelsize=7)


def orientation(panel, ground: MapTerrain, scale: float, left: float = 0.0, longest: float = 1.3) -> None:
    """North arrow, scale bar, CRS and cell size at the foot of axes in inches, from `left` on.

    scale  inches a metre; longest: inches of the bar, at most
    """
    panel.text(left + 0.05, 0, map_words(ground), fontsize=7, color=styles.INK, va="bottom")
    scale_bar(panel, left + 0.05, 0.75, scale, longest, kilometres=in_kilometres(ground.extent))
    north_arrow(panel, left + 0.3, 1.1, 0.4)


def flat_orientation(panel, ground: MapTerrain, scale: float, left: float, top: float) -> None:
    """The same as `orientation`, from `top` down, with the arrow beside the bar: FLAT inches in all."""
    north_arrow(panel, left + 0.15, top - 0.55, 0.4)
    scale_bar(panel, left + 0.5, top - 0.22, scale, 1.3, kilometres=in_kilometres(ground.extent))
    panel.text(left + 0.5, top - 0.3, map_words(ground), fontsize=7, color=styles.INK, va="top")


def map_words(ground: MapTerrain) -> str:
    """What a map says of itself, in short lines."""
    return "\n".join(line for text in ground.words for line in textwrap.wrap(text, 24))


def in_kilometres(extent: tuple[float, float, float, float]) -> bool:
    """Whether lengths on the map are in kilometres, not in metres."""
    west, east, south, north = extent
    return max(east - west, north - south) > 5000


def scale_bar(ax, x: float, y: float, scale: float, longest: float, kilometres: bool) -> None:
    """A scale bar of a round length, its left end at (x, y), on axes in inches; scale, longest as in `orientation`."""
    bar = round_numbers(1, max(longest / scale, 1))[-1]  # metres
    for half, colour in ((0, "black"), (1, "white")):
        ax.add_patch(Rectangle((x + half * bar * scale / 2, y), bar * scale / 2, 0.06, facecolor=colour,
                               edgecolor="black", linewidth=0.6))
    for at, text in ((0, "0"), (bar, f"{bar / 1000:g} km" if kilometres else f"{bar:g} m")):
        ax.text(x + at * scale, y + 0.09, text, fontsize=7, ha="center")


def north_arrow(ax, x: float, y: float, high: float) -> None:
    """A north arrow of `high` inches, its foot in the middle at (x, y), on axes in inches."""
    for side, colour in ((-1, "black"), (1, "white")):
        ax.add_patch(Polygon(((x + 0.25 * high * side, y), (x, y + 0.15 * high), (x, y + high)), facecolor=colour,
                             edgecolor="black", linewidth=0.6))
    ax.text(x, y + high + 0.03, "N", fontsize=8, ha="center")


def draw_classes(ax, ground: MapTerrain, path: Path, band: int, breaks: list[float], colours: tuple[str, ...],
                 largest: int, line: float) -> None:
    """Draws a band of probabilities in classes over the shaded terrain, with an outline of `line` points."""
    probability, known, extent, _ = read_decimated(path, largest, average=False, band=band)
    tones = np.array([to_rgb(colour) for colour in (*colours, styles.SEA)])  # (classes + 1, 3)
    drawn = tones[np.where(known, np.digitize(probability, breaks), len(breaks) + 1)]  # (rows, cols, 3)
    if ground.shade.shape == known.shape:
        drawn[known] *= dimmed(ground.shade)[known, None]
    ax.imshow(drawn, extent=extent)
    # Printed in grey, the lowest class and the sea look the same without an outline.
    ax.plot(*as_one_line(outlines(known, extent)), color=styles.INK, linewidth=line)
    ax.set(xlim=ground.extent[:2], ylim=ground.extent[2:])


def patch(colour, label: str) -> Patch:
    """A coloured box of a legend."""
    return Patch(facecolor=colour, edgecolor=styles.INK, linewidth=0.4, label=label)


def marks(ax, kind: str, x, y, size: float, rasterise: int) -> None:
    """Points of one kind, `size` in points squared. As a line of markers: a pdf holds the marker once.

    rasterise  more points than this are pixels in the pdf
    """
    style = styles.POINTS[kind]
    ax.plot(x, y, linestyle="", marker=style["marker"], markersize=size**0.5, markerfacecolor=style["facecolors"],
            markeredgecolor=style["edgecolors"], markeredgewidth=style["linewidths"], rasterized=len(x) > rasterise)


def insar_points(ax, x, y, speed, size: float, pixels: bool) -> PathCollection:
    """InSAR points in the colours of their speed, as `colour_bar` takes them; pixels: whether the pdf holds pixels."""
    return ax.scatter(x, y, s=size, c=speed, cmap=LinearSegmentedColormap.from_list("speeds", styles.SPEEDS),
                      norm=Normalize(*np.percentile(speed, (5, 95))), rasterized=pixels, marker="s", edgecolors="black",
                      linewidths=0.2)


def point_key(kind: str, label: str) -> Line2D:
    """The legend's mark for a kind of point."""
    style = styles.POINTS[kind]
    face, edge = style["facecolors"], style["edgecolors"]
    return Line2D([], [], linestyle="", marker=style["marker"], markersize=4.5, markerfacecolor=face,
                  markeredgecolor=face if edge == "none" else edge, markeredgewidth=0.6, label=label)
