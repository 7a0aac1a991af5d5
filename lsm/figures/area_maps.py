"""Maps of the whole area over the terrain: inventory, blocks, susceptibility, leading factors."""

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from lsm.explanation.ranking import EXPLAINED
from lsm.figures import styles
from lsm.figures.common import Drawn, FigureConstants, NothingToDraw, arrays, caption, colour_bar, input_table, saved
from lsm.figures.importance import COLUMNS, chosen_blocks
from lsm.figures.importance import STAGE as EXPLAINING
from lsm.figures.map_page import MapTerrain, draw_classes, map_page, map_with_legend, marks, patch, point_key, terrain
from lsm.inputs import grid_cells
from lsm.inputs.rasters import open_raster
from lsm.insar.velocities import towards_satellite
from lsm.maps.cartography import as_one_line, dimmed, grid_layers, named_classes, outlines, read_decimated
from lsm.maps.classes import breaks_of, dominant_class
from lsm.maps.counts import class_areas
from lsm.maps.gis import forecast_of
from lsm.run.artifacts import check
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError, counted, of_stage

DENSE = 12_000  # points of a map from which on their marks are smallest
SIZES = {"non-landslide": 0.9, "landslide": 1.8, "InSAR": 1.8}  # of the inventory's marks there, in points squared


def inventory(c: FigureConstants) -> Drawn:
    """Landslides, non-landslides and InSAR points over the terrain."""
    ground = terrain(c)
    points, record = inventory_points(c)
    larger, of_kind = enlarged(len(points)), dict(list(points.groupby("kind")))
    sizes = {kind: size for kind, size in SIZES.items() if kind in of_kind}
    fig, ax = map_with_legend(ground, [
        point_key(kind, f"{styles.NAMES[kind].replace(' (', chr(10) + '(')}: {len(of_kind[kind]):,}")
        for kind in sizes])
    ax.imshow(0.5 + 0.5 * ground.relief, extent=ground.extent)  # paler, so that points stand out
    for kind, size in sizes.items():
        marks(ax, kind, of_kind[kind]["X"], of_kind[kind]["Y"], larger * size, c.RASTERISE)
    places = len(points[["X", "Y"]].drop_duplicates())
    words = f" at {counted(places, 'place')}: rows that repeat a place are drawn, but learned from once"
    caption(fig, c, record, counted(len(points), "row") + words if places < len(points) else
            counted(len(points), "sample"))
    return fig, points.round({"X": 2, "Y": 2, "velocity": 3})


def deformation(c: FigureConstants) -> Drawn:
    """The velocity that InSAR measured, of the grid's cells and of the InSAR points, on one scale."""
    ground = terrain(c)
    points, record = inventory_points(c)
    points = points[points["velocity"].notna()]
    velocity, layer = cells_velocity(c, ground)
    there = np.isfinite(layer) & (layer != 0)
    if not there.any() and not len(points):
        raise NothingToDraw(f"region {c.REGION}: expected velocities of InSAR in the grid or of points, found none")
    fig, ax, panel = map_page(ground, least=3.6)
    bare, under = np.isfinite(layer) & ~there, 0.5 + 0.5 * ground.relief
    if there.any():  # grey, since the terrain's tints look like a velocity of 0
        under[bare] = to_rgb(styles.PALE) * dimmed(ground.shade)[bare, None]
    ax.imshow(under, extent=ground.extent)
    colours = LinearSegmentedColormap.from_list("deformation", styles.DEFORMATION)
    most = np.percentile(np.abs([*layer[there], *points["velocity"]]), 95)
    norm, size = Normalize(-most, most), 0.7 if there.any() else 2.4  # small, so that cells show between points
    drawn = colours(norm(layer))
    drawn[..., 3] = there
    ax.imshow(drawn, extent=ground.extent)
    ax.scatter(points["X"], points["Y"], s=size * enlarged(len(points)) ** 0.5, c=points["velocity"], cmap=colours,
               norm=norm, rasterized=len(points) > c.RASTERISE, marker="s", edgecolors="black", linewidths=0.15)
    ax.set(xlim=ground.extent[:2], ylim=ground.extent[2:])
    colour_bar(fig, panel, ScalarMappable(norm, colours), 0.03, 0.35, 1.3,
               "velocity (mm/yr),\nabove 0 towards the satellite")
    handles = [patch(styles.DEFORMATION[1], f"cell ({velocity})")] * bool(there.any())
    handles += [Line2D([], [], linestyle="", marker="s", markersize=4.5, markerfacecolor=styles.DEFORMATION[1],
                       markeredgecolor="black", markeredgewidth=0.6, label=f"weak landslide: {len(points):,}")
                ] * bool(len(points))
    handles += [patch(styles.PALE, "cell not measured")] * bool(there.any() and bare.any())
    panel.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, 1 - 1.0 / panel.get_ylim()[1]), borderaxespad=0)
    share = there.sum() / max(np.isfinite(layer).sum(), 1)
    words = f"; {velocity} measured on {share:.0%} of the cells drawn" if there.any() else ""
    caption(fig, c, record, counted(len(points), "weak landslide") + words)
    return fig, points.round({"X": 2, "Y": 2, "velocity": 3})


def enlarged(points: int) -> float:
    """How many times as large as in a dense map the marks of so many points are: few would hardly be seen."""
    return float(np.clip(DENSE / max(points, 1), 1, 8))


def cells_velocity(c: FigureConstants, ground: MapTerrain) -> tuple[str, np.ndarray]:
    """Name of the factor that InSAR measured, and its values in the cells drawn (rows, cols); NaN where it has none."""
    paths, velocity = Paths(c.REGION), next((factor for factor in c.factors if factor.zero_is_missing), None)
    source = grid_cells.grid_of(paths)
    if not velocity or not source.is_file():
        return "", np.full(ground.shade.shape, np.nan)
    dataset = open_raster(paths.composite, "put it there")
    layers, *_ = grid_layers(source, [velocity], dataset.GetGeoTransform(), (dataset.RasterYSize, dataset.RasterXSize),
                             ground.shade.shape)
    return velocity.name, layers[0]


def inventory_points(c: FigureConstants) -> tuple[pd.DataFrame, dict]:
    """X, Y, kind (landslide, non-landslide, InSAR) and velocity of every point, and the record of their table.

    They come from the origins that augment_inventory.py wrote; where there are none, from the tables of inventory and
    InSAR points. Raises InputError.
    """
    paths = Paths(c.REGION)
    if paths.samples_origin.is_file():
        origin, _ = saved(paths.samples_origin, "augment_inventory.py", c, ("row", "origin", "velocity"))
        table, record = input_table(paths.samples, "augment_inventory.py", c, ("X", "Y"))
        if len(table) != len(origin):
            raise InputError(f"{shown(paths.samples_origin)}: expected the {len(table):,} rows of "
                             f"{shown(paths.samples)}, found {len(origin):,}; run augment_inventory.py again")
        return table[["X", "Y"]].assign(kind=origin["origin"].map(styles.KINDS), velocity=origin["velocity"]), record
    given = paths.samples_without_insar if paths.samples_without_insar.is_file() else paths.samples
    table, record = input_table(given, "src_data/make_demo.py", c, ("X", "Y", "label"))
    points = table[["X", "Y"]].assign(kind=np.where(table["label"] == 1, "landslide", "non-landslide"), velocity=np.nan)
    if paths.samples_without_insar.is_file() and paths.insar_points.is_file():
        names = [n for f in c.factors if f.zero_is_missing for n in (f.name, *f.aliases)]
        table, _ = input_table(paths.insar_points, "src_data/make_demo.py", c, ("X", "Y"))
        column = next((name for name in (*names, "label") if name in table), None)
        if column is None:
            raise InputError(f"{shown(paths.insar_points)}: header: expected a column of velocities, one of "
                             f"{', '.join(names)}, found {', '.join(table)}; rename it")
        positive = of_stage("augment_inventory.py", REGION=c.REGION).TS_POSITIVE
        velocity = towards_satellite(table[column], positive)  # the sign of DV
        points = pd.concat([points, table[["X", "Y"]].assign(kind="InSAR", velocity=velocity)])
    return points, record


def blocks(c: FigureConstants) -> Drawn:
    """Outlines of the blocks, and the samples. Blocks with too few samples for a task are shaded."""
    paths = Paths(c.REGION)
    ground = terrain(c)
    record = check(paths.blocks, "scene_sampling.py", c)
    table, _ = saved(paths.blocks_table, "scene_sampling.py", c, ("block", "cells", "samples", "landslides"))
    tasks = arrays(paths.tasks, "scene_sampling.py", c, ("xy", "label"))
    block, _, extent, _ = read_decimated(paths.blocks, c.LARGEST, average=False)  # (rows, cols)
    table = table.assign(thin=table["samples"] <= c.THIN)
    shaded, veil = (*to_rgb(styles.THIN), 0.4), np.zeros((*block.shape, 4))
    n, thin = int(tasks["label"].sum()), int(table["thin"].sum())
    handles = [point_key("non-landslide", f"non-landslide: {len(tasks['label']) - n:,}"),
               point_key("landslide", f"landslide: {n:,}"),
               Line2D([], [], color="black", linewidth=0.6, label=f"block: {len(table):,}")]
    handles += [Patch(facecolor=shaded, label=f"{c.THIN} samples or\nfewer: {thin:,}")] * (thin > 0)
    fig, ax = map_with_legend(ground, handles)
    ax.imshow(0.5 + 0.5 * ground.relief, extent=ground.extent)  # paler, so that thin blocks stand out
    veil[np.isin(block, table.loc[table["thin"], "block"])] = shaded
    ax.imshow(veil, extent=extent)
    larger = enlarged(len(tasks["label"]))
    for kind, size in (("non-landslide", 0.9), ("landslide", 1.6)):
        marks(ax, kind, *tasks["xy"][tasks["label"] == (kind == "landslide")].T, larger * size, c.RASTERISE)
    ax.plot(*as_one_line(outlines(block, extent)), color="black", linewidth=0.45)
    ax.set(xlim=ground.extent[:2], ylim=ground.extent[2:])
    weak = "; weak landslides (InSAR) among the landslides" * paths.insar_points.is_file()
    caption(fig, c, record, f"{counted(len(table), 'block')}, {counted(len(tasks['label']), 'sample')}: places, each "
            f"counted once{weak}")
    return fig, table


def lsm_map(c: FigureConstants) -> Drawn:
    """The susceptibility map in classes, with each class's share of the area."""
    path = Paths(c.REGION).map_raster
    record = check(path, "predict_LSM.py", c)
    found = open_raster(path, "run predict_LSM.py")
    breaks, _ = breaks_of(Paths(c.REGION), found, "figure.py", c)
    forecast = f"; FORECAST=True: {forecast_of(found)}" if forecast_of(found) else ""
    ground = terrain(c)
    table = class_areas(path, breaks, list(c.CLASS_NAMES))
    columns = (table[name] for name in ("class", "from", "to", "share"))
    handles = [patch(colour, f"{name}  {low:.3g}–{high:.3g}\n{share:.1%} of area")
               for colour, name, low, high, share in zip(c.CLASS_COLOURS, *columns, strict=True)]
    fig, ax = map_with_legend(ground, handles[::-1], title="landslide\nsusceptibility", alignment="left",
                              title_fontsize=8, handleheight=1.6, handlelength=1.8, labelspacing=0.7)
    draw_classes(ax, ground, path, 1, breaks, c.CLASS_COLOURS, c.LARGEST, 0.3)
    same = dominant_class(table["cells"].to_numpy(), c)
    same = f"; {same}: BREAKS=quantile shows differences" if same and c.BREAKS == "fixed" else ""
    caption(fig, c, record, f"{table['cells'].sum():,} cells, {table['area_km2'].sum():,.1f} km²{forecast}{same}")
    return fig, table


def leading_factor(c: FigureConstants) -> Drawn:
    """The leading factor of every block, by colour and number, over the terrain; blocks of shap_blocks are framed."""
    paths = Paths(c.REGION)
    table, record = saved(paths.importance, EXPLAINING, c, COLUMNS)
    check(paths.leading_factor, EXPLAINING, c)
    blocks, _ = saved(paths.blocks_table, "scene_sampling.py", c, ("block", "cells", "samples", "centre_x", "centre_y"))
    check(paths.blocks, "scene_sampling.py", c)
    ground = terrain(c)
    leads = table[(table["rank"] == 1) & table["state"].isin(EXPLAINED)].merge(blocks, on="block")
    leads = leads.assign(share_of_shap=leads["mean_abs_shap"] / leads["block"].map(
        table.groupby("block")["mean_abs_shap"].sum()))
    order = leads.groupby("factor")["cells"].sum().sort_values(ascending=False, kind="stable")
    number = {name: i for i, name in enumerate(order.index, start=1)}

    leader, known, extent, dataset = read_decimated(paths.leading_factor, c.LARGEST, average=False)
    names, of_factors = named_classes(dataset, paths.leading_factor)
    if not set(order.index) <= set(names):
        raise InputError(f"{shown(paths.leading_factor)}: expected the factors of {shown(paths.importance)} as names, "
                         f"found {', '.join(names[1:])}; run {EXPLAINING} again")
    colours = np.array([to_rgb(colour) for colour in ("white", *of_factors)])  # factors may be pale blue, as SEA
    block, land, _, _ = read_decimated(paths.blocks, c.LARGEST, average=False)
    drawn = colours[np.where(known, leader, 0)]  # (rows, cols, 3)
    drawn[land & ~known] = to_rgb(styles.PALE)
    if ground.shade.shape == known.shape:
        drawn[known] *= dimmed(ground.shade)[known, None]
    count = leads["factor"].value_counts()
    handles = [patch(colours[names.index(name)],
                     f"{number[name]}  {name}  {f'{share:.0%}' if share >= 0.005 else '< 1%'}, {count[name]}")
               for name, share in (order / order.sum()).items()]
    if (land & ~known).any():
        handles.append(patch(styles.PALE, "none explained"))
    handles.append(Line2D([], [], color="black", linewidth=1.4, label="shown one by one in the\nfigure shap_blocks"))
    fig, ax = map_with_legend(ground, handles, alignment="left", title="leading factor\n(share of area, blocks)",
                              title_fontsize=7.5, fontsize=6.5, handleheight=1, handlelength=1.5, labelspacing=0.45)
    ax.imshow(drawn, extent=extent)
    lines = [(block, "white", 0.5, 2), (land, styles.INK, 0.3, 2)]
    for b in chosen_blocks(table, blocks.set_index("block")["samples"], c.SHAP_BLOCKS):
        lines += [(block == b, "white", 2.4, 3), (block == b, "black", 1.2, 3)]
    for areas, colour, width, order_drawn in lines:
        ax.add_collection(LineCollection(outlines(areas, extent), colors=colour, linewidths=width, zorder=order_drawn))
    for x, y, factor in cells_of_centres(leads, block, extent)[["x", "y", "factor"]].itertuples(index=False):
        ax.text(x, y, number[factor], fontsize=5, ha="center", va="center", zorder=4,
                path_effects=[withStroke(linewidth=1.1, foreground="white")])
    ax.set(xlim=ground.extent[:2], ylim=ground.extent[2:])
    caption(fig, c, record, f"factor with the largest mean |SHAP| in each of {len(leads):,} explained blocks; "
            f"it has {leads['share_of_shap'].median():.0%} of the block's sum (median)")
    return fig, leads[["block", "factor", "sign", "mean_abs_shap", "share_of_shap", "explained", "samples", "cells",
                       "centre_x", "centre_y"]].assign(number=leads["factor"].map(number))


def cells_of_centres(blocks: pd.DataFrame, number: np.ndarray, extent: tuple) -> pd.DataFrame:
    """The rows of `blocks`, with x and y (m) of the block's cell nearest to its centre: the centre itself may lie in
    the sea between two parts of the block. number (rows, cols): the block of each cell drawn."""
    row, col = np.nonzero(np.isin(number, blocks["block"]))
    west, east, south, north = extent
    cells = pd.DataFrame({"block": number[row, col], "x": west + (col + 0.5) * (east - west) / number.shape[1],
                          "y": north - (row + 0.5) * (north - south) / number.shape[0]}).merge(blocks, on="block")
    far = np.hypot(cells["x"] - cells["centre_x"], cells["y"] - cells["centre_y"])
    return cells.loc[far.groupby(cells["block"]).idxmin()]
