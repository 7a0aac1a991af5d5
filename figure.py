"""Stage 7: every figure, from the numbers the stages saved. It computes nothing that a stage owns.

Reads   src_data/<REGION>/composite.tif (terrain under the maps) and, each for one figure,
        inventory      src_data/samples_<REGION>_noTS.csv and Ts_<REGION>.csv, or samples_<REGION>.csv
        blocks         metatask_sampling/<REGION>_blocks.tif, _blocks.csv, _tasks.npz
        pretraining    unsupervised_pretraining/model_init/history.csv
        meta_training  checkpoint_dir/<REGION>_history.csv
        adaptation     checkpoint_dir/<REGION>_metrics.csv
        roc            checkpoint_dir/<REGION>_heldout.csv
        lsm_map        figs/LSM_<REGION>.tif
Writes  figs/<REGION>_<figure>.png and .pdf, and .csv with the numbers drawn. A figure whose input is missing or of
        another run is skipped with one line that names the stage to run.
Run     python figure.py   or one figure alone: python figure.py ONLY=lsm_map
"""

import textwrap
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Polygon, Rectangle
from scipy.ndimage import distance_transform_edt
from sklearn.metrics import roc_auc_score, roc_curve
from tqdm import tqdm

import study_area
from lsm.artifacts import check, read_csv, read_npz, record_path, whole
from lsm.cartography import class_areas, hill_shade, outlines, read_decimated
from lsm.paths import Paths, shown
from lsm.raster import crs_name
from lsm.settings import InputError, run
from study_area import RECIPE, REGION, SEED  # noqa: F401  constants too, the same in every stage

# ----------------------------------------------------------------------------------------------------------------
ONLY = ""                            # the one figure to draw; "" draws all whose inputs are there
DPI = 300                            # of the png, and of what the pdf holds as pixels
CLASS_BREAKS = (0.2, 0.4, 0.6, 0.8)  # probabilities between the five classes; the paper names five classes, no breaks
THIN = 16                            # samples; a block with more makes a task, as published; one with no more is shaded
LARGEST = 2000                       # cells a side; larger rasters are read decimated
RASTERISE = 20_000                   # points; more of them are pixels in the pdf

# One style for all figures: sizes in inches (the page is 190 mm wide), lightness orders the classes, shapes differ.
WIDTH, COLUMN, MAP, PANEL = 7.48, 3.54, 5.2, 1.55
STYLE = {"font.family": "DejaVu Sans", "font.size": 8, "axes.titlesize": 8, "axes.linewidth": 0.6,
         "xtick.major.width": 0.6, "ytick.major.width": 0.6, "legend.frameon": False, "legend.fontsize": 7.5,
         "lines.linewidth": 1.2, "pdf.fonttype": 42, "image.interpolation": "none"}
CLASSES = {"very low": "#ffffd4", "low": "#fed976", "moderate": "#fd8d3c", "high": "#d0301f", "very high": "#6b0010"}
POINTS = {"non-landslide": {"marker": "o", "facecolors": "none", "edgecolors": "#5a5a5a", "linewidths": 0.25},
          "landslide": {"marker": "^", "facecolors": "#c51b1b", "edgecolors": "none", "linewidths": 0},
          "InSAR": {"marker": "s", "edgecolors": "black", "linewidths": 0.2}}
BEFORE = {"color": "#7f7f7f", "linestyle": "--"}
AFTER = {"color": "#08519c", "linestyle": "-"}
TINTS = ("#e3ebdf", "#f0ead8", "#e6dccb", "#f7f5f2")  # terrain, low to high
SPEEDS = ("#9ecae1", "#2171b5", "#08306b")            # InSAR speed, low to high
SEA, INK = "#eef3f7", "#333333"
# ----------------------------------------------------------------------------------------------------------------


def inventory(c):
    """Landslides, non-landslides and InSAR points over the terrain."""
    paths = Paths(c.REGION)
    ground = terrain(c)
    if paths.samples_without_insar.is_file():
        table, record = input_table(paths.samples_without_insar, "src_data/make_demo.py", c, ("X", "Y", "label"))
    else:
        table, record = input_table(paths.samples, "src_data/make_demo.py", c, ("X", "Y", "label"))
    points = table[["X", "Y"]].assign(kind=np.where(table["label"] == 1, "landslide", "non-landslide"), velocity=np.nan)
    if paths.samples_without_insar.is_file() and paths.insar_points.is_file():
        names = [n for f in study_area.factors(c.REGION) if f.zero_is_missing for n in (f.name, *f.aliases)]
        table, _ = input_table(paths.insar_points, "src_data/make_demo.py", c, ("X", "Y"))
        column = next((name for name in (*names, "label") if name in table), None)
        if column is None:
            raise InputError(f"{shown(paths.insar_points)}: header: expected a column of velocities, one of "
                             f"{', '.join(names)}, found {', '.join(table)}; rename it")
        points = pd.concat([points, table[["X", "Y"]].assign(kind="InSAR", velocity=table[column])])
    fig, ax, panel = map_page(ground)
    ax.imshow(0.3 + 0.7 * ground.relief, extent=ground.extent)
    pixels, handles = len(points) > c.RASTERISE, []
    speeds = LinearSegmentedColormap.from_list("speeds", SPEEDS)
    for kind, size in (("non-landslide", 0.9), ("landslide", 1.8), ("InSAR", 2.4)):
        chosen = points[points["kind"] == kind]
        if len(chosen):
            options = dict(POINTS[kind])
            if kind == "InSAR":
                speed = chosen["velocity"].abs()
                options |= {"c": speed, "cmap": speeds, "norm": Normalize(*np.percentile(speed, (5, 95)))}
            drawn = ax.scatter(chosen["X"], chosen["Y"], s=size, rasterized=pixels, **options)
            handles.append(key(kind, f"{kind} ({len(chosen):,})"))
    panel.legend(handles=handles, loc="upper left", borderaxespad=0, bbox_to_anchor=(0, 1))
    if "InSAR" in set(points["kind"]):
        box = panel.get_position()
        bar_ax = fig.add_axes((box.x0 + 0.03 / WIDTH, box.y1 - 0.95 / fig.get_figheight(), 1.1 / WIDTH,
                               0.1 / fig.get_figheight()))
        bar = fig.colorbar(drawn, cax=bar_ax, orientation="horizontal", extend="both")
        bar.set_label("InSAR speed (mm/yr)", fontsize=7.5)
        bar_ax.tick_params(labelsize=7)
    caption(fig, c, [record], f"{len(points):,} points")
    return fig, points.round({"X": 2, "Y": 2, "velocity": 3})


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
    fig, ax, panel = map_page(ground)
    ax.imshow(0.5 + 0.5 * ground.relief, extent=ground.extent)  # paler, so that thin blocks stand out
    thin = np.isin(block, table.loc[table["thin"], "block"])
    veil = np.zeros((*block.shape, 4))
    veil[thin] = (*to_rgb(INK), 0.45)
    ax.imshow(veil, extent=extent)
    for kind, size in (("non-landslide", 0.9), ("landslide", 1.6)):
        x, y = tasks["xy"][tasks["label"] == (kind == "landslide")].T
        ax.scatter(x, y, s=size, rasterized=len(tasks["xy"]) > c.RASTERISE, **POINTS[kind])
    ax.add_collection(LineCollection(outlines(block, extent), colors="black", linewidths=0.45))
    ax.set(xlim=ground.extent[:2], ylim=ground.extent[2:])
    n = int(tasks["label"].sum())
    panel.legend(handles=[key("landslide", f"landslide ({n:,})"),
                          key("non-landslide", f"non-landslide ({len(tasks['label']) - n:,})"),
                          Line2D([], [], color="black", linewidth=0.6, label=f"block ({len(table):,})"),
                          Patch(facecolor=(*to_rgb(INK), 0.45),
                                label=f"{c.THIN} samples or\nfewer ({table['thin'].sum():,})")],
                 loc="upper left", borderaxespad=0, bbox_to_anchor=(0, 1))
    caption(fig, c, [record], f"{len(table):,} blocks, {len(tasks['label']):,} samples")
    return fig, table


def pretraining(c):
    """Reconstruction error of every pretrained layer, epoch by epoch."""
    path, stage = Paths(c.REGION).pretraining_history, "unsupervised_pretraining/DAS_pretraining.py"
    table = need(read_csv(path, stage, c), path, ("layer", "epoch", "error"))
    layers = list(dict.fromkeys(table["layer"]))
    fig = Figure(figsize=(WIDTH, 2.4))
    axes = fig.subplots(1, len(layers), squeeze=False)[0]
    for ax, layer in zip(axes, layers, strict=True):
        rows = table[table["layer"] == layer]
        ax.plot(rows["epoch"], rows["error"], marker="o", markersize=3, **AFTER)
        ax.set(title=layer if isinstance(layer, str) else f"layer {layer}", xlabel="epoch", ylim=(0, None))
        ax.xaxis.get_major_locator().set_params(integer=True)
        tidy(ax)
    axes[0].set_ylabel("reconstruction error")
    fig.subplots_adjust(left=0.085, right=0.985, top=0.89, bottom=0.28, wspace=0.28)
    caption(fig, c, [check(path, stage, c)], f"{len(layers)} layers; each axis starts at 0")
    return fig, table[["layer", "epoch", "error"]]


def meta_training(c):
    """Query loss before and after the inner steps, and the learned inner rate, against iteration."""
    path = Paths(c.REGION).history
    table = need(read_csv(path, "meta_learner.py", c), path, ("iteration", "pre_loss", "post_loss", "inner_lr"))
    fig = Figure(figsize=(COLUMN, 3.5))
    ax, below = fig.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 1), "hspace": 0.12})
    marker = "o" if len(table) < 30 else None
    for column, label, style in (("pre_loss", "before adaptation", BEFORE), ("post_loss", "after adaptation", AFTER)):
        ax.plot(table["iteration"], table[column], label=label, marker=marker, markersize=3, **style)
    ax.set(ylabel="query loss", ylim=(0, None))
    ax.legend(loc="best", borderaxespad=0.2)
    below.plot(table["iteration"], table["inner_lr"], color=INK, marker=marker, markersize=3)
    below.set(xlabel="iteration", ylabel="inner rate", ylim=(min(0, table["inner_lr"].min()), None))
    for each in (ax, below):
        tidy(each)
    fig.align_ylabels()
    fig.subplots_adjust(left=0.17, right=0.96, top=0.985, bottom=0.215)
    caption(fig, c, [check(path, "meta_learner.py", c)], f"{int(table['iteration'].max()):,} iterations")
    return fig, table[["iteration", "pre_loss", "post_loss", "inner_lr"]]


def adaptation(c):
    """Accuracy of every held-out block before against after adaptation."""
    path = Paths(c.REGION).metrics
    table = need(read_csv(path, "meta_learner.py", c), path, ("block", "adapted", "samples", "accuracy"))
    table["block"] = table["block"].astype(str)
    wide = table.pivot(index=["block", "samples"], columns="adapted", values="accuracy")
    wide = need(wide.reset_index(), path, ("before", "after")).rename_axis(columns=None)
    wide = wide[["block", "samples", "before", "after"]]
    each, overall = wide[wide["block"].str.isdigit()], wide[wide["block"] == "all"]
    each = each.sort_values(["samples", "block"], ascending=[False, True])
    if not len(each):
        raise InputError(f"{shown(path)}: column 'block': expected numbers of held-out blocks, found none; run "
                         "meta_learner.py again")

    def area(n):
        return 5 + 65 * n / each["samples"].max()

    fig = Figure(figsize=(COLUMN, 3.75))
    ax = fig.subplots()
    low = np.floor(10 * (each[["before", "after"]].min().min() - 0.02)) / 10
    ax.plot((low, 1), (low, 1), color=INK, linewidth=0.7, linestyle=":")
    ax.scatter(each["before"], each["after"], s=area(each["samples"]), facecolors=(*to_rgb(AFTER["color"]), 0.35),
               edgecolors=AFTER["color"], linewidths=0.6, clip_on=False, zorder=3)
    ax.scatter(overall["before"], overall["after"], s=60, marker="D", facecolors="#fec44f", edgecolors="black",
               linewidths=0.9, clip_on=False, zorder=4)
    ax.set(xlim=(low, 1), ylim=(low, 1), xlabel="accuracy before adaptation", ylabel="accuracy after adaptation",
           aspect="equal")
    tidy(ax)
    # Sizes in the legend: small, middling and large blocks, rounded to one digit.
    sizes = sorted({int(float(f"{n:.0e}")) for n in np.percentile(each["samples"], (0, 75, 100))})
    handles = [Line2D([], [], linestyle="", marker="o", markersize=np.sqrt(area(n)), markeredgewidth=0.6,
                      markerfacecolor=(*to_rgb(AFTER["color"]), 0.35), markeredgecolor=AFTER["color"],
                      label=f"block, {n:,} samples") for n in sizes]
    handles += [Line2D([], [], linestyle="", marker="D", markersize=np.sqrt(60), markerfacecolor="#fec44f",
                       markeredgecolor="black", markeredgewidth=0.9, label="all samples"),
                Line2D([], [], color=INK, linewidth=0.7, linestyle=":", label="no change")]
    ax.legend(handles=handles, loc="lower right")
    fig.subplots_adjust(left=0.155, right=0.955, top=0.985, bottom=0.2)
    gain = each["after"] - each["before"]
    caption(fig, c, [check(path, "meta_learner.py", c)],
            f"{len(each):,} held-out blocks: {(gain > 0).sum()} gain, {(gain == 0).sum()} stay equal, "
            f"{(gain < 0).sum()} lose")
    return fig, pd.concat([overall, each])


def roc(c):
    """ROC of the held-out points before and after adaptation."""
    path = Paths(c.REGION).held_out
    table = need(read_csv(path, "meta_learner.py", c), path, ("label", "score_before", "score_after"))
    if table["label"].nunique() != 2:
        raise InputError(f"{shown(path)}: column 'label': expected both 0 and 1, found one class; run meta_learner.py "
                         "with more held-out blocks")
    fig = Figure(figsize=(COLUMN, 3.75))
    ax = fig.subplots()
    ax.plot((0, 1), (0, 1), color=INK, linewidth=0.7, linestyle=":", label="chance (0.500)")
    curves = []
    for when, style in (("before", BEFORE), ("after", AFTER)):
        false, true, _ = roc_curve(table["label"], table[f"score_{when}"])
        area = roc_auc_score(table["label"], table[f"score_{when}"])
        ax.plot(false, true, label=f"{when} adaptation ({area:.3f})", clip_on=False, zorder=3, **style)
        curves.append(pd.DataFrame({"adapted": when, "false_positive_rate": false, "true_positive_rate": true}))
    ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
    tidy(ax)
    handles, labels = ax.get_legend_handles_labels()
    ax.legend(handles[::-1], labels[::-1], loc="lower right", title="AUROC", title_fontsize=7.5, alignment="left")
    fig.subplots_adjust(left=0.155, right=0.955, top=0.985, bottom=0.2)
    caption(fig, c, [check(path, "meta_learner.py", c)],
            f"{len(table):,} held-out points, {int(table['label'].sum()):,} landslides")
    return fig, pd.concat(curves).round(6)


def lsm_map(c):
    """The susceptibility map in five classes, with each class's share of the area."""
    path = Paths(c.REGION).map_raster
    if len(c.CLASS_BREAKS) != len(CLASSES) - 1 or list(c.CLASS_BREAKS) != sorted(set(c.CLASS_BREAKS)):
        raise InputError(f"CLASS_BREAKS={c.CLASS_BREAKS}: expected {len(CLASSES) - 1} rising probabilities")
    record = check(path, "predict_LSM.py", c)
    ground = terrain(c)
    table = class_areas(path, c.CLASS_BREAKS, list(CLASSES))
    probability, known, extent, _ = read_decimated(path, c.LARGEST, average=False)
    colours = np.array([to_rgb(colour) for colour in CLASSES.values()] + [to_rgb(SEA)])  # (classes + 1, 3)
    drawn = colours[np.where(known, np.digitize(probability, c.CLASS_BREAKS), len(CLASSES))]  # (rows, cols, 3)
    if ground.shade.shape == known.shape:
        drawn[known] *= (0.6 + 0.4 * ground.shade)[known, None]
    fig, ax, panel = map_page(ground)
    ax.imshow(drawn, extent=extent)
    edge = outlines(known, extent)  # in grey, "very low" and the sea are alike
    ax.add_collection(LineCollection(edge, colors=INK, linewidths=0.3, rasterized=len(edge) > c.RASTERISE))
    ax.set(xlim=ground.extent[:2], ylim=ground.extent[2:])
    handles = [Patch(facecolor=CLASSES[name], edgecolor=INK, linewidth=0.4,
                     label=f"{name}  {low:g}–{high:g}\n{share:.1%} of area")
               for name, low, high, share in table[["class", "from", "to", "share"]].itertuples(index=False)]
    panel.legend(handles=handles[::-1], loc="upper left", borderaxespad=0, bbox_to_anchor=(0, 1),
                 title="landslide\nsusceptibility", alignment="left", title_fontsize=8,
                 handleheight=1.6, handlelength=1.8, labelspacing=0.7)
    caption(fig, c, [record], f"{table['cells'].sum():,} cells, {table['area_km2'].sum():,.1f} km²")
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
    tint = LinearSegmentedColormap.from_list("tint", TINTS)((dem - low) / max(high - low, 1))[..., :3]
    relief = np.where(valid[..., None], tint * shade[..., None], to_rgb(SEA))
    transform = dataset.GetGeoTransform()
    words = (f"{crs_name(dataset.GetProjection())}", f"cells {transform[1]:.4g} × {-transform[5]:.4g} m")
    return SimpleNamespace(relief=relief, shade=shade, extent=extent, words=words)


def map_page(ground):
    """A page for one map: figure, map axes in metres, and on its right a panel in inches with north arrow, scale bar,
    CRS and cell size; the panel's top is the legend's."""
    west, east, south, north = ground.extent
    scale = min(MAP / (east - west), 7.5 / (north - south))  # inches a metre
    wide, tall = scale * (east - west), scale * (north - south)
    high = max(tall, 3.4)
    size = (WIDTH, high + 0.87)  # the topmost tick label stands across the frame
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
    panel = fig.add_axes(((0.65 + wide) / size[0], 0.65 / size[1], PANEL / size[0], high / size[1]))
    panel.set(xlim=(0, PANEL), ylim=(0, high))
    panel.axis("off")
    words = "\n".join(line for text in ground.words for line in textwrap.wrap(text, 24))
    panel.text(0.05, 0, words, fontsize=7, color=INK, verticalalignment="bottom")
    bar = 1.3 / scale  # metres; the largest 1, 2 or 5 times a power of ten that fits
    bar = max(m * 10.0**e for e in range(0, 8) for m in (1, 2, 5) if m * 10**e <= max(bar, 1))
    for half, colour in ((0, "black"), (1, "white")):
        panel.add_patch(Rectangle((0.05 + half * bar * scale / 2, 0.75), bar * scale / 2, 0.06, facecolor=colour,
                                  edgecolor="black", linewidth=0.6))
    for x, value in ((0, 0), (bar, bar / metres)):
        panel.text(0.05 + x * scale, 0.84, f"{value:g}" + (f" {unit}" if x else ""), fontsize=7,
                   horizontalalignment="center")
    panel.add_patch(Polygon(((0.2, 1.1), (0.3, 1.16), (0.3, 1.5)), facecolor="black", edgecolor="black", linewidth=0.6))
    panel.add_patch(Polygon(((0.4, 1.1), (0.3, 1.16), (0.3, 1.5)), facecolor="white", edgecolor="black", linewidth=0.6))
    panel.text(0.3, 1.53, "N", fontsize=8, horizontalalignment="center")
    return fig, ax, panel


def input_table(path, stage, c, names):
    """A table of src_data with columns `names`, and its record where a stage made it ({} where it was given)."""
    record = check(path, stage, c) if record_path(path).is_file() else {}
    if not path.is_file():
        raise InputError(f"{shown(path)}: missing; put it there, or run {stage} first")
    return need(pd.read_csv(path, encoding="utf-8-sig"), path, names), record


def need(table, path, names):
    """`table` after checking that it holds `names`."""
    missing = [name for name in names if name not in table]
    if missing:
        raise InputError(f"{shown(path)}: header: expected {', '.join(names)}, found no "
                         f"{', '.join(missing)}; make it again")
    return table


def key(kind, label):
    """The legend's mark of a kind of point."""
    style = POINTS[kind]
    face = style.get("facecolors", SPEEDS[1])
    return Line2D([], [], linestyle="", marker=style["marker"], markersize=4.5, markerfacecolor=face,
                  markeredgecolor=face if style["edgecolors"] == "none" else style["edgecolors"], markeredgewidth=0.6,
                  label=label)


def tidy(ax):
    """Light grid lines, no box."""
    ax.grid(color="#dddddd", linewidth=0.5)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=7)


def caption(fig, c, records, numbers):
    """The line under a figure: region, recipe and seed of the run that made its numbers, and how many there are."""
    made = next((record for record in records if record), {})
    words = [made.get("region") or c.REGION]
    words += [f"recipe {made['recipe']}"] if made.get("recipe") else []
    words += [f"seed {made['seed']}"] if made.get("seed") is not None else []
    text = " · ".join([*words, numbers])
    if len(text) > 17 * fig.get_figwidth():  # characters an inch at this size
        text = "\n".join([" · ".join(words), numbers])
    fig.text(0.08 / fig.get_figwidth(), 0.08 / fig.get_figheight(), text, fontsize=6.5, linespacing=1.3,
             color="#555555", verticalalignment="bottom")


def save(c, name, fig, table):
    """Writes a figure as png and pdf, without dates, and its numbers as csv. Returns the files."""
    files = [Paths(c.REGION).figure(name, suffix) for suffix in ("png", "pdf", "csv")]
    for path, metadata in ((files[0], {"Software": None}), (files[1], {"CreationDate": None, "Producer": None})):
        with whole(path) as temporary:
            fig.savefig(temporary, format=path.suffix[1:], dpi=c.DPI, metadata=metadata)
    with whole(files[2]) as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g")
    return files


def main(c):
    """Draws the figures, skips those whose inputs are not there, and lists what was written."""
    drawn = (inventory, blocks, pretraining, meta_training, adaptation, roc, lsm_map)
    drawers = {draw.__name__: draw for draw in drawn}
    if c.ONLY and c.ONLY not in drawers:
        raise InputError(f"ONLY={c.ONLY}: expected one of {', '.join(drawers)}")
    files, areas = [], None
    with matplotlib.rc_context(STYLE):
        for name in tqdm([c.ONLY] if c.ONLY else list(drawers), desc="figures", disable=None):
            try:
                fig, table = drawers[name](c)
            except InputError as error:
                if c.ONLY:
                    raise
                tqdm.write(f"skipped {name}: {error}")
                continue
            files += save(c, name, fig, table)
            areas = table if name == "lsm_map" else areas
    if areas is not None:
        print(areas.to_string(index=False, float_format="{:.4g}".format))
    for path in files:
        print(shown(path))


if __name__ == "__main__":
    run(main, globals())
