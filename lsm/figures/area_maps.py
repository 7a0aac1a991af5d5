"""Maps: inventory, blocks, susceptibility, each over the terrain."""

import textwrap
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Polygon, Rectangle
from scipy.ndimage import distance_transform_edt

from lsm.figures import styles
from lsm.figures.common import caption, input_table, need, saved
from lsm.inputs import grid_cells
from lsm.inputs.rasters import crs_name, open_raster
from lsm.maps.cartography import as_one_line, class_areas, grid_layers, hill_shade, outlines, read_decimated
from lsm.maps.classes import breaks_of
from lsm.run.artifacts import check, read_csv, read_npz
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError


def inventory(c):
    """Landslides, non-landslides and InSAR points over the deformation that InSAR measured, or the terrain alone."""
    ground = terrain(c)
    points, record = inventory_points(c)
    fig, ax, panel = map_page(ground, c, least=3.9)
    ax.imshow(0.3 + 0.7 * ground.relief, extent=ground.extent)
    measured = deformation(c, fig, ax, panel, ground)
    pixels, handles = len(points) > c.RASTERISE, []
    speeds = LinearSegmentedColormap.from_list("speeds", styles.SPEEDS)
    for kind, size in (("non-landslide", 0.9), ("landslide", 1.8), ("InSAR", 2.4)):
        chosen = points[points["kind"] == kind]
        if len(chosen):
            if kind == "InSAR":
                speed = chosen["velocity"].abs()
                drawn = ax.scatter(chosen["X"], chosen["Y"], s=size, rasterized=pixels, c=speed, cmap=speeds,
                                   norm=Normalize(*np.percentile(speed, (5, 95))), **styles.POINTS[kind])
            else:
                marks(c, ax, kind, chosen["X"], chosen["Y"], size)
            handles.append(key(c, kind, f"{kind} ({len(chosen):,})"))
    panel.legend(handles=handles, loc="upper left", borderaxespad=0, bbox_to_anchor=(0, 1))
    if "InSAR" in set(points["kind"]):
        box = panel.get_position()
        bar_ax = fig.add_axes((box.x0 + 0.03 / styles.WIDTH, box.y1 - 0.95 / fig.get_figheight(), 1.1 / styles.WIDTH,
                               0.1 / fig.get_figheight()))
        bar = fig.colorbar(drawn, cax=bar_ax, orientation="horizontal", extend="both")
        bar.set_label("InSAR speed (mm/yr)", fontsize=7.5)
        bar_ax.tick_params(labelsize=7)
    caption(fig, c, [record], f"{len(points):,} points" + measured)
    return fig, points.round({"X": 2, "Y": 2, "velocity": 3})


def deformation(c, fig, ax, panel, ground) -> str:
    """Draws the velocity of the grid's cells under the points, with its scale, where the grid has one; what the caption
    says of it."""
    paths, velocity = Paths(c.REGION), [factor for factor in c.factors if factor.zero_is_missing][:1]
    source = grid_cells.grid_of(paths)
    if not velocity or not source.is_file():
        return ""
    dataset = open_raster(paths.composite, "put it there")
    (layer,), _ = grid_layers(source, velocity, dataset.GetGeoTransform(), (dataset.RasterYSize, dataset.RasterXSize),
                              ground.shade.shape)
    there = np.isfinite(layer) & (layer != 0)
    if not there.any():
        return ""
    most = np.percentile(np.abs(layer[there]), 90)
    colours = LinearSegmentedColormap.from_list("deformation", styles.DEFORMATION)
    norm = Normalize(-most, most)
    drawn = colours(norm(layer))
    drawn[..., :3] *= (0.8 + 0.2 * ground.shade)[..., None]
    drawn[..., 3] = there
    ax.imshow(drawn, extent=ground.extent)
    box = panel.get_position()
    bar_ax = fig.add_axes((box.x0 + 0.03 / styles.WIDTH, box.y1 - 1.55 / fig.get_figheight(), 1.1 / styles.WIDTH,
                           0.1 / fig.get_figheight()))
    bar = fig.colorbar(matplotlib.cm.ScalarMappable(norm, colours), cax=bar_ax, orientation="horizontal", extend="both")
    bar.set_label(f"ground: {velocity[0].name} ({velocity[0].unit})", fontsize=7.5)
    bar_ax.tick_params(labelsize=7)
    share = there.sum() / np.isfinite(layer).sum()
    return f"; {velocity[0].name} measured on {share:.0%} of the cells drawn, above 0 towards the satellite"


def inventory_points(c):
    """X, Y, kind (landslide, non-landslide, InSAR) and velocity of every point, and the record of their table: by the
    origins that augment_inventory.py wrote, else by the tables given."""
    paths = Paths(c.REGION)
    if paths.samples_origin.is_file():
        origin, _ = saved(paths.samples_origin, "augment_inventory.py", c, ("row", "origin", "velocity"))
        table, record = input_table(paths.samples, "augment_inventory.py", c, ("X", "Y"))
        if len(table) != len(origin):
            raise InputError(f"{shown(paths.samples_origin)}: expected the {len(table):,} rows of "
                             f"{shown(paths.samples)}, found {len(origin):,}; run augment_inventory.py again")
        kinds = {"inventory": "landslide", "absence": "non-landslide", "insar": "InSAR"}
        return table[["X", "Y"]].assign(kind=origin["origin"].map(kinds), velocity=origin["velocity"]), record
    if paths.samples_without_insar.is_file():
        table, record = input_table(paths.samples_without_insar, "src_data/make_demo.py", c, ("X", "Y", "label"))
    else:
        table, record = input_table(paths.samples, "src_data/make_demo.py", c, ("X", "Y", "label"))
    points = table[["X", "Y"]].assign(kind=np.where(table["label"] == 1, "landslide", "non-landslide"), velocity=np.nan)
    if paths.samples_without_insar.is_file() and paths.insar_points.is_file():
        names = [n for f in c.factors if f.zero_is_missing for n in (f.name, *f.aliases)]
        table, _ = input_table(paths.insar_points, "src_data/make_demo.py", c, ("X", "Y"))
        column = next((name for name in (*names, "label") if name in table), None)
        if column is None:
            raise InputError(f"{shown(paths.insar_points)}: header: expected a column of velocities, one of "
                             f"{', '.join(names)}, found {', '.join(table)}; rename it")
        points = pd.concat([points, table[["X", "Y"]].assign(kind="InSAR", velocity=table[column])])
    return points, record


def blocks(c):
    """Outlines of the blocks with their samples; blocks too thin to make a task are shaded."""
    paths = Paths(c.REGION)
    ground = terrain(c)
    record = check(paths.blocks, "scene_sampling.py", c)
    table = need(read_csv(paths.blocks_table, "scene_sampling.py", c), paths.blocks_table,
                 ("block", "cells", "samples", "landslides"))
    tasks = need(read_npz(paths.tasks, "scene_sampling.py", c), paths.tasks, ("xy", "label"))
    block, _, extent, _ = read_decimated(paths.blocks, c.LARGEST, average=False)  # (rows, cols)
    table = table.assign(thin=table["samples"] <= c.THIN)
    fig, ax, panel = map_page(ground, c)
    ax.imshow(0.5 + 0.5 * ground.relief, extent=ground.extent)  # paler, so that thin blocks stand out
    thin = np.isin(block, table.loc[table["thin"], "block"])
    veil = np.zeros((*block.shape, 4))
    veil[thin] = (*to_rgb(styles.INK), 0.45)
    ax.imshow(veil, extent=extent)
    for kind, size in (("non-landslide", 0.9), ("landslide", 1.6)):
        marks(c, ax, kind, *tasks["xy"][tasks["label"] == (kind == "landslide")].T, size)
    ax.plot(*as_one_line(outlines(block, extent)), color="black", linewidth=0.45)
    ax.set(xlim=ground.extent[:2], ylim=ground.extent[2:])
    n = int(tasks["label"].sum())
    panel.legend(handles=[key(c, "landslide", f"landslide ({n:,})"),
                          key(c, "non-landslide", f"non-landslide ({len(tasks['label']) - n:,})"),
                          Line2D([], [], color="black", linewidth=0.6, label=f"block ({len(table):,})"),
                          Patch(facecolor=(*to_rgb(styles.INK), 0.45),
                                label=f"{c.THIN} samples or\nfewer ({table['thin'].sum():,})")],
                 loc="upper left", borderaxespad=0, bbox_to_anchor=(0, 1))
    caption(fig, c, [record], f"{len(table):,} blocks, {len(tasks['label']):,} samples")
    return fig, table


def lsm_map(c):
    """The susceptibility map in five classes, with each class's share of the area."""
    path = Paths(c.REGION).map_raster
    record = check(path, "predict_LSM.py", c)
    breaks, _ = breaks_of(Paths(c.REGION), open_raster(path, "run predict_LSM.py"), "figure.py", c)
    ground = terrain(c)
    table = class_areas(path, breaks, list(c.CLASS_NAMES))
    probability, known, extent, _ = read_decimated(path, c.LARGEST, average=False)
    colours = np.array([to_rgb(colour) for colour in c.CLASS_COLOURS] + [to_rgb(styles.SEA)])  # (classes + 1, 3)
    drawn = colours[np.where(known, np.digitize(probability, breaks), len(breaks) + 1)]  # (rows, cols, 3)
    if ground.shade.shape == known.shape:
        drawn[known] *= (0.6 + 0.4 * ground.shade)[known, None]
    fig, ax, panel = map_page(ground, c)
    ax.imshow(drawn, extent=extent)
    # Without an outline, "very low" printed in grey looks like the sea.
    ax.plot(*as_one_line(outlines(known, extent)), color=styles.INK, linewidth=0.3)
    ax.set(xlim=ground.extent[:2], ylim=ground.extent[2:])
    handles = [Patch(facecolor=colour, edgecolor=styles.INK, linewidth=0.4,
                     label=f"{name}  {low:.3g}–{high:.3g}\n{share:.1%} of area")
               for colour, (name, low, high, share) in zip(
                   c.CLASS_COLOURS, table[["class", "from", "to", "share"]].itertuples(index=False), strict=True)]
    panel.legend(handles=handles[::-1], loc="upper left", borderaxespad=0, bbox_to_anchor=(0, 1),
                 title="landslide\nsusceptibility", alignment="left", title_fontsize=8,
                 handleheight=1.6, handlelength=1.8, labelspacing=0.7)
    reach = record["constants"].get("BLEND")
    caption(fig, c, [record], f"{table['cells'].sum():,} cells, {table['area_km2'].sum():,.1f} km²"
            + (f"; blocks blended over {reach:g} m" if reach else ""))
    return fig, table


def terrain(c):
    """What every map stands on: relief (rows, cols, 3) in colour, shade (rows, cols), 1 on flat ground, the extent of
    both in metres, and the words for CRS and cell size."""
    path = Paths(c.REGION).composite
    if not path.is_file():
        raise InputError(f"{shown(path)}: missing; put it there, or run src_data/make_demo.py for the demo area")
    dem, valid, extent, dataset = read_decimated(path, c.LARGEST, average=True)
    if dataset.GetSpatialRef() is None:
        raise InputError(f"{shown(path)}: CRS: expected a projected one in metres, found none; set it (gdal_edit.py)")
    if not valid.any():
        raise InputError(f"{shown(path)}: expected cells with a height, found all nodata; check the nodata value")
    # Nodata takes the height of the nearest valid cell, so that coasts cast no shade.
    row, col = distance_transform_edt(~valid, return_distances=False, return_indices=True)
    dem = dem[row, col].astype(float)
    shade = hill_shade(dem, (extent[1] - extent[0]) / dem.shape[1], (extent[3] - extent[2]) / dem.shape[0])
    low, high = np.percentile(dem[valid], (1, 99))
    tint = LinearSegmentedColormap.from_list("tint", styles.TINTS)((dem - low) / max(high - low, 1))[..., :3]
    relief = np.where(valid[..., None], tint * shade[..., None], to_rgb(styles.SEA))
    transform = dataset.GetGeoTransform()
    words = (f"{crs_name(dataset.GetProjection())}", f"cells {transform[1]:.4g} × {-transform[5]:.4g} m")
    return SimpleNamespace(relief=relief, shade=shade, extent=extent, words=words)


def map_page(ground, c, across: float = 0, beside: float = 0, least: float = 3.4):
    """A page for one map: figure, map axes in metres, and on its right a panel in inches with north arrow, scale bar,
    CRS and cell size; the panel's top is the legend's.

    across, beside  most inches of the map and inches of the panel; 0: those of the style. least  inches of height
    """
    across, beside = across or styles.MAP, beside or styles.PANEL
    west, east, south, north = ground.extent
    scale = min(across / (east - west), 7.5 / (north - south))  # inches a metre
    wide, tall = scale * (east - west), scale * (north - south)
    high = max(tall, least)
    size = (styles.WIDTH, high + 0.87)  # the topmost tick label stands across the frame
    fig = Figure(figsize=size)
    ax = fig.add_axes((0.5 / size[0], (0.65 + high - tall) / size[1], wide / size[0], tall / size[1]))
    unit, metres = ("km", 1000) if max(east - west, north - south) > 5000 else ("m", 1)
    ax.set(xlim=(west, east), ylim=(south, north), aspect="equal", xlabel=f"easting ({unit})",
           ylabel=f"northing ({unit})")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(matplotlib.ticker.MaxNLocator(5, steps=(1, 2, 5, 10)))
        axis.set_major_formatter(lambda value, _: f"{value / metres:g}")
    for label in ax.get_yticklabels():
        label.set(rotation=90, verticalalignment="center")
    ax.tick_params(labelsize=7)
    panel = fig.add_axes(((0.65 + wide) / size[0], 0.65 / size[1], beside / size[0], high / size[1]))
    panel.set(xlim=(0, beside), ylim=(0, high))
    panel.axis("off")
    orientation(panel, ground, c, scale)
    return fig, ax, panel


def orientation(panel, ground, c, scale: float, left: float = 0.0, longest: float = 1.3) -> None:
    """North arrow, scale bar, CRS and cell size at the foot of axes in inches, from `left` on.

    scale  inches a metre. longest  inches of the bar, at most
    """
    west, east, south, north = ground.extent
    unit, metres = ("km", 1000) if max(east - west, north - south) > 5000 else ("m", 1)
    words = "\n".join(line for text in ground.words for line in textwrap.wrap(text, 24))
    panel.text(left + 0.05, 0, words, fontsize=7, color=styles.INK, verticalalignment="bottom")
    bar = longest / scale  # metres; the largest 1, 2 or 5 times a power of ten that fits
    bar = max(m * 10.0**e for e in range(0, 8) for m in (1, 2, 5) if m * 10**e <= max(bar, 1))
    for half, colour in ((0, "black"), (1, "white")):
        panel.add_patch(Rectangle((left + 0.05 + half * bar * scale / 2, 0.75), bar * scale / 2, 0.06, facecolor=colour,
                                  edgecolor="black", linewidth=0.6))
    for x, value in ((0, 0), (bar, bar / metres)):
        panel.text(left + 0.05 + x * scale, 0.84, f"{value:g}" + (f" {unit}" if x else ""), fontsize=7,
                   horizontalalignment="center")
    for x, colour in ((0.2, "black"), (0.4, "white")):
        panel.add_patch(Polygon(((left + x, 1.1), (left + 0.3, 1.16), (left + 0.3, 1.5)), facecolor=colour,
                                edgecolor="black", linewidth=0.6))
    panel.text(left + 0.3, 1.53, "N", fontsize=8, horizontalalignment="center")


def marks(c, ax, kind: str, x, y, size: float) -> None:
    """Points of one kind, all alike: a line of markers, which a pdf holds once and draws many times; size in points
    squared."""
    style = styles.POINTS[kind]
    ax.plot(x, y, linestyle="", marker=style["marker"], markersize=size**0.5, markerfacecolor=style["facecolors"],
            markeredgecolor=style["edgecolors"], markeredgewidth=style["linewidths"], rasterized=len(x) > c.RASTERISE)


def key(c, kind, label):
    """The legend's mark of a kind of point."""
    style = styles.POINTS[kind]
    face = styles.get("facecolors", styles.SPEEDS[1])
    return Line2D([], [], linestyle="", marker=style["marker"], markersize=4.5, markerfacecolor=face,
                  markeredgecolor=face if style["edgecolors"] == "none" else style["edgecolors"], markeredgewidth=0.6,
                  label=label)
