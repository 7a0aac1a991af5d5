"""Stage 8: what a GIS opens without a question: cloud-optimised rasters and their styles, blocks and samples as layers.

Beside the probability stand two rasters that say where to trust it. Uncertainty is the standard deviation of landslide
probability over a few members (3 as recommended, none to compare as published, so a rough figure): each has networks of
its own start and course and, as in the map, a boosting beside them, fitted again to samples drawn with replacement
within each block. Applicability is the dissimilarity index of Meyer and Pebesma (2021, Methods in Ecology and Evolution
12, 1620): the distance from a cell's factors to the nearest sample's, over the mean distance between samples; factors
are standardised and weighted by importance. Up to the threshold, the largest index of samples against other folds,
outliers aside, a cell is inside the area of applicability. Folds are whole blocks. It speaks of factors, not of place.

Reads   figs/LSM_<REGION>.tif                          the map
        models_of_blocks/<REGION>_models.npz           the networks, the state of each block and the encoder
        metatask_sampling/<REGION>_tasks.npz           samples by block
        metatask_sampling/<REGION>_blocks.tif, .csv    the block of every cell; cells and samples of every block
        src_data/grid_samples_<REGION>.csv or <REGION>/factors.tif    the factors of every cell
        and, where there,
        figs/<REGION>_leading_factor.tif, tmp/<REGION>_importance.csv, _importance_territory.csv    leading factors,
                                                       and the weights of factors (all alike without them)
        checkpoint_dir/<REGION>_metrics.csv            AUROC of held-out blocks
        tmp/<REGION>_breaks.json                       breaks of an earlier run with the same BREAKS: kept, so that maps
                                                       can be compared; remove the file to draw new ones
Writes  figs/<REGION>_probability.tif, _class.tif, _leading.tif, _applicability.tif, _uncertainty.tif    cloud-optimised
                                                       GeoTIFFs, each with a QGIS style, <same name>.qml
        figs/<REGION>_blocks.gpkg                      layers blocks and samples with their styles
        tmp/<REGION>_breaks.json                       method, breaks
        tmp/<REGION>_gis.csv                           product, measure, value: classes, seams between blocks,
                                                       uncertainty, applicability
Run     python export_gis.py [BREAKS=natural ...]
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from osgeo import gdal
from tqdm import tqdm

from lsm.blocks.slic import nearest_block
from lsm.inputs import grid_cells
from lsm.inputs.rasters import NODATA, known, known_strips, locate, open_raster, strips
from lsm.learner.encoder import Encoder
from lsm.maps import classes, gis
from lsm.maps.trust import Applicability, Ensemble
from lsm.region.region_files import work_folder
from lsm.run.artifacts import check, read_csv, read_npz, write_csv
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError, run
from study_area import MappedArea


# ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Constants(MappedArea):
    """What a person may set, here or for one run as NAME=value."""

    FOLDS: int = 10                                # of whole blocks, for the threshold of applicability; not published
    RESAMPLED: bool = True                         # for the uncertainty each member has a boosting fitted to samples
                                                   #   drawn anew in each block; False: the members' networks alone,
                                                   #   quicker
    PAIRED: int = 4_000                            # samples whose mutual distances are averaged, at most
    GRID_ROWS: int = 100_000                       # rows of the grid in memory at once
    SPREADS: tuple[float, ...] = (0.05, 0.1, 0.2)  # probability, between the colours of the uncertainty
    SPREAD_COLOURS: tuple[str, ...] = ("#f2f0f7", "#cbc9e2", "#8d87c0", "#54278f")
    # up to a quarter, half and all of the threshold
    INSIDE_COLOURS: tuple[str, ...] = ("#eff3ff", "#bdd7e7", "#6baed6")
    OUTSIDE_COLOURS: tuple[str, ...] = ("#fdae61", "#b2470b")  # up to twice the threshold, and above
# ----------------------------------------------------------------------------------------------------------------

_STAGE = "export_gis.py"
_STATES = ("adapted model", "no samples: intermediate model", "one class only: intermediate model")
_LEADERS = 3  # factors a block is listed with
_BINS = 10_000  # of jumps between 0 and 1


def write_classes(source: gdal.Dataset, target: gdal.Dataset, breaks: list[float]) -> np.ndarray:
    """Fills `target` with classes 1, 2, ... of probabilities; returns the cells of each."""
    band, counts = source.GetRasterBand(1), np.zeros(len(breaks) + 1, np.int64)
    for row, rows in strips(source):
        p = band.ReadAsArray(0, row, source.RasterXSize, rows)
        value = np.where(known(p, band), 1 + np.digitize(p, breaks), 0)
        counts += np.bincount(value.ravel(), minlength=len(counts) + 1)[1:]
        target.GetRasterBand(1).WriteArray(value.astype(np.uint8), 0, row)
    return counts


def seams(source: gdal.Dataset, blocks: gdal.Dataset) -> pd.DataFrame:
    """Jumps of probability between cells side by side, inside blocks and across their borders: pairs, mean, median
    and 90th percentile (to 1 / _BINS). Strip by strip, each with the first row of the next."""
    band, total, histogram = source.GetRasterBand(1), np.zeros(2), np.zeros((2, _BINS), np.int64)
    for row, rows in strips(source):
        window = (0, row, source.RasterXSize, min(rows + 1, source.RasterYSize - row))
        p, block = band.ReadAsArray(*window), blocks.GetRasterBand(1).ReadAsArray(*window)
        there = known(p, band) & (block >= 0)
        right = (np.s_[:rows, :-1], np.s_[:rows, 1:])  # the strip's own rows alone
        down = (np.s_[:-1], np.s_[1:])
        for a, b in (right, down):
            pair = there[a] & there[b]
            jump, across = np.abs(p[a] - p[b])[pair].astype(float), (block[a] != block[b])[pair]
            total += np.bincount(across, jump, 2)
            place = np.minimum((jump * _BINS).astype(int), _BINS - 1)
            histogram += np.bincount(across * _BINS + place, minlength=2 * _BINS).reshape(2, _BINS)
    pairs = histogram.sum(axis=1)
    table = pd.DataFrame({"pairs": pairs, "mean": total / np.maximum(pairs, 1)}, index=["inside", "across"])
    for name, share in (("median", 0.5), ("p90", 0.9)):
        table[name] = [(np.searchsorted(h.cumsum(), share * n) + 0.5) / _BINS for h, n in
                       zip(histogram, pairs, strict=True)]
    return table.where(table["pairs"] > 0)


def fill(source, factors, labels: gdal.Dataset, centres, encoder, ensemble: Ensemble, applicable: Applicability, rows,
         uncertainty: gdal.Dataset | None, applicability: gdal.Dataset) -> None:
    """Fills the rasters of both, chunk by chunk of the grid.

    labels  the block raster; cells outside every block take the nearest one, as in the map, by centres (blocks, 2)
    """
    bar = tqdm(total=grid_cells.count(source), desc="grid", unit="cell", unit_scale=True, disable=None, delay=1)
    for values, xy in grid_cells.chunks(source, factors, rows):
        row, col, on_map = locate(labels.GetGeoTransform(), (labels.RasterYSize, labels.RasterXSize), xy)
        row, col, values, at = row[on_map], col[on_map], values[on_map], xy[on_map]
        if len(row):
            x = encoder.transform(values)
            gis.put(applicability, row, col, applicable.index(x))
        if len(row) and uncertainty:
            block = gis.take(labels, row, col)
            outside = block < 0
            if outside.any():
                block[outside] = nearest_block(row[outside], col[outside], centres)
            gis.put(uncertainty, row, col, ensemble.spread(block, x, values, at))
        bar.update(len(xy))
    bar.close()


def table_of_blocks(blocks: pd.DataFrame, cell: float, models: dict, metrics, importance) -> pd.DataFrame:
    """What the layer of blocks says of each; metrics and importance are tables of stages 3 and 6, or None.

    cell  area of a cell, km^2
    """
    state, support = models["state"], models["support"]
    table = pd.DataFrame({
        "block": blocks["block"], "cells": blocks["cells"], "area_km2": blocks["cells"] * cell,
        "samples": blocks["samples"], "landslides": blocks["landslides"],
        "adapted_on": support[:, 0], "borrowed": support[:, 1], "state": state.astype(np.int32),
        "fallback": state != 0, "meaning": [_STATES[s] for s in state], "heldout_samples": np.nan,
        "heldout_auroc": np.nan})
    table["heldout_samples"] = table["heldout_samples"].astype("Int64")
    if metrics is not None:
        after = metrics[(metrics["adapted"] == "after") & (metrics["block"] != "all")].astype({"block": int})
        after = after.set_index("block")
        table["heldout_samples"] = table["block"].map(after["samples"]).astype("Int64")
        table["heldout_auroc"] = table["block"].map(after["auroc"])
    for rank in range(1, _LEADERS + 1):
        leads = pd.Series(dtype=object)
        if importance is not None:
            leads = importance[(importance["rank"] == rank) & (importance["state"] == 0)].set_index("block")["factor"]
        table[f"leading_{rank}"] = table["block"].map(leads).astype("str").where(table["block"].isin(leads.index))
    return table.assign(model_row=table["block"])


def table_of_samples(samples: dict, names: list[str]) -> pd.DataFrame:
    """What the layer of samples says of each: its row in the table of samples, label, block, factors."""
    table = pd.DataFrame({"row": samples["row"], "label": samples["label"].astype(np.int32), "block": samples["block"]})
    return table.join(pd.DataFrame(samples["factors"].astype(np.float64), columns=names))


def optional(read, left_out: str):
    """What read() gives, or None and one line where the input is missing or another run's."""
    try:
        return read()
    except InputError as error:
        print(f"{left_out}: {error}")
        return None


def checked(c) -> None:
    """Refuses constants that cannot be used. Raises InputError."""
    classes.checked(c)
    for name, least in (("FOLDS", 2), ("PAIRED", 2), ("GRID_ROWS", 1)):
        if getattr(c, name) < least:
            raise InputError(f"{name}={getattr(c, name)}: expected {least} or more")


def above(dataset: gdal.Dataset, limits: tuple[float, ...]) -> tuple[float, list[float]]:
    """The mean of a raster, and the share of its cells above each limit."""
    total, cell_count, counts = 0.0, 0, np.zeros(len(limits), np.int64)
    for values in known_strips(dataset):
        total, cell_count = total + values.sum(dtype=np.float64), cell_count + len(values)
        counts += [(values > limit).sum() for limit in limits]
    return total / max(cell_count, 1), list(counts / max(cell_count, 1))


def applicability_of(encoder: Encoder, samples: dict, weight: np.ndarray, blocks: int, c) -> Applicability:
    """The index and its threshold, of samples in folds of whole blocks. Raises InputError."""
    rng = np.random.default_rng(c.SEED)
    fold = (rng.permutation(blocks) % c.FOLDS)[samples["block"]]
    tasks = shown(Paths(c.REGION).tasks)
    if len(np.unique(fold)) < 2:
        raise InputError(f"{tasks}: expected samples in two folds of blocks or more, found them in one; raise FOLDS, "
                         "or cut more blocks (K of scene_sampling.py)")
    found = Applicability.of(encoder, samples["factors"], fold, weight, c.PAIRED, rng)
    if not found.mean:
        raise InputError(f"{tasks}: expected samples that differ in their factors, found none; check the table of "
                         "samples")
    return found


def probability_style(c) -> str:
    """Colours of the classes, running from 0 to 1."""
    at = np.linspace(0, 1, len(c.CLASS_COLOURS))
    return gis.ramp_style([(v, colour, f"{v:g}") for v, colour in zip(at, c.CLASS_COLOURS, strict=True)], smooth=True)


def class_style(breaks: list[float], c) -> str:
    """The classes with the probabilities they stand for."""
    edges = [0.0, *breaks, 1.0]
    return gis.palette_style([(i + 1, c.CLASS_COLOURS[i], f"{name} ({edges[i]:.3g} to {edges[i + 1]:.3g})")
                              for i, name in enumerate(c.CLASS_NAMES)])


def uncertainty_style(c) -> str:
    """Steps of the standard deviation."""
    lows = (0, *c.SPREADS)
    labels = [f"{low:g} to {high:g}" for low, high in zip(lows, c.SPREADS, strict=False)] + [f"above {lows[-1]:g}"]
    return gis.ramp_style(list(zip((*c.SPREADS, np.inf), c.SPREAD_COLOURS, labels, strict=True)), smooth=False)


def applicability_style(threshold: float, c) -> str:
    """Blues inside the area of applicability, oranges outside."""
    steps = (threshold / 4, threshold / 2, threshold, 2 * threshold, np.inf)
    labels = [f"inside, up to {v:.2g}" for v in steps[:3]] + [f"outside, up to {steps[3]:.2g}", "outside, above"]
    return gis.ramp_style(list(zip(steps, (*c.INSIDE_COLOURS, *c.OUTSIDE_COLOURS), labels, strict=True)), smooth=False)


def layer_styles() -> tuple[str, str]:
    """Blocks as outlines, hatched where they keep the intermediate model; samples by label."""
    outline = {"outline_color": "50,50,50,255", "outline_width": "0.2", "outline_style": "solid"}
    fills = [("0,0,0,255", "no"), ("213,94,0,255", "b_diagonal"), ("0,114,178,255", "f_diagonal")]
    blocks = gis.category_style("fill", "state", [
        (i, _STATES[i], ("SimpleFill", outline | {"color": colour, "style": style}))
        for i, (colour, style) in enumerate(fills)])
    # Black and white show on every colour of the map.
    circle = {"name": "circle", "color": "255,255,255,255", "outline_color": "90,90,90,255", "size": "1.1"}
    triangle = {"name": "triangle", "color": "0,0,0,255", "outline_color": "255,255,255,255", "size": "1.7"}
    return blocks, gis.category_style("marker", "label", [
        (1, "landslide", ("SimpleMarker", triangle | {"outline_width": "0.1"})),
        (0, "non-landslide", ("SimpleMarker", circle | {"outline_width": "0.1"}))])


def write_leaders(paths: Paths, made: tuple) -> None:
    """Writes the raster of leading factors again, cloud-optimised and with a style of the factors that lead."""
    dataset = open_raster(paths.leading_factor, "run feature_permutation.py again")
    band = dataset.GetRasterBand(1)
    band.GetMetadata()  # else GDAL does not look into the file beside the raster, where the names are
    names, palette = band.GetCategoryNames(), band.GetColorTable()
    colours = ["#{:02x}{:02x}{:02x}".format(*palette.GetColorEntry(i)[:3]) for i in range(1, len(names))]
    there = np.unique(np.concatenate([np.unique(values) for values in known_strips(dataset)]))
    gis.write_cog(paths.gis_raster("leading"), dataset, "leading factor", made, names, colours)
    gis.write_style(paths.gis_raster("leading"), gis.palette_style([(v, colours[v - 1], names[v]) for v in there]))


def main(c) -> None:
    """Runs the stage; c holds the constants."""
    checked(c)
    paths = Paths(c.REGION)
    models = read_npz(paths.models, "predict_LSM.py", c)
    samples = read_npz(paths.tasks, "scene_sampling.py", c)
    blocks = read_csv(paths.blocks_table, "scene_sampling.py", c)
    check(paths.blocks, "scene_sampling.py", c)
    check(paths.map_raster, "predict_LSM.py", c)
    source = grid_cells.grid_of(paths)
    grid_cells.count(source)  # says now that there is no grid
    explains = "feature_permutation.py"
    importance = optional(lambda: read_csv(paths.importance, explains, c), "blocks without leading factors")
    ranking = optional(lambda: read_csv(paths.importance_territory, explains, c), "applicability, all factors alike")
    leading = optional(lambda: check(paths.leading_factor, explains, c), "no raster of leading factors")
    metrics = optional(lambda: read_csv(paths.metrics, "meta_learner.py", c), "blocks without held-out AUROC")

    encoder, state = Encoder.from_json(str(models["encoder"])), models["state"]
    names = [factor.name for factor in encoder.factors]
    weight = np.ones(len(names))
    if ranking is not None:
        weight = ranking.set_index("factor")["mean_abs_shap"].reindex(names).fillna(0).to_numpy()
    members = len(models["w1"])
    found, labels = open_raster(paths.map_raster, "run predict_LSM.py"), open_raster(paths.blocks, "make it again")
    cell = abs(found.GetGeoTransform()[1] * found.GetGeoTransform()[5]) / 1e6
    applicable = applicability_of(encoder, samples, weight, len(state), c)
    threshold = applicable.threshold
    ensemble = Ensemble.of_map(models, samples, c.RESAMPLED, c.SEED)
    of_what = "members" if ensemble.boosting or not len(models["boosted"]) else "members' networks"
    used = [paths.importance_territory] * (ranking is not None)
    breaks, kept = classes.breaks_of(paths, found, _STAGE, c)
    outlines = gis.block_polygons(paths.blocks, len(state))

    with work_folder(paths.gis_work) as work:
        applicability = gis.create(work / "applicability.tif", found, gdal.GDT_Float32, NODATA)
        uncertainty = gis.create(work / "uncertainty.tif", found, gdal.GDT_Float32, NODATA) if members > 1 else None
        fill(source, c.factors, labels,
             np.column_stack([samples["centre_row"], samples["centre_col"]]), encoder, ensemble, applicable,
             c.GRID_ROWS, uncertainty, applicability)
        classed = gis.create(work / "class.tif", found, gdal.GDT_Byte, 0)
        counts = write_classes(found, classed, breaks)
        outside = above(applicability, (threshold,))[1][0]

        def write(product, raster, text, style, inputs, **options):
            gis.write_cog(paths.gis_raster(product), raster, text, (_STAGE, c, inputs), **options)
            gis.write_style(paths.gis_raster(product), style)
            written.append(paths.gis_raster(product))

        written = [] if kept else [paths.breaks]
        write("probability", found, "landslide probability", probability_style(c), [paths.map_raster])
        write("class", classed, "landslide susceptibility class", class_style(breaks, c),
              [paths.map_raster, paths.breaks], names=["", *c.CLASS_NAMES], colours=list(c.CLASS_COLOURS),
              metadata={"BREAKS": ", ".join(f"{b:.9g}" for b in breaks), "METHOD": c.BREAKS})
        write("applicability", applicability, f"dissimilarity to the samples, applicable up to {threshold:.3g}",
              applicability_style(threshold, c), [paths.models, paths.tasks, source, *used],
              metadata={"THRESHOLD": f"{threshold:.9g}"})
        if uncertainty:
            average, shares = above(uncertainty, c.SPREADS)
            write("uncertainty", uncertainty, f"standard deviation of probability over {members} {of_what}",
                  uncertainty_style(c), [paths.models, paths.tasks, paths.blocks, source],
                  metadata={"MEMBERS": str(members)})
    if leading:
        write_leaders(paths, (_STAGE, c, [paths.leading_factor]))
        written.append(paths.gis_raster("leading"))
    block_style, sample_style = layer_styles()
    gis.write_layers(paths.gis_layers, found.GetSpatialRef(), {
        "blocks": (outlines, table_of_blocks(blocks, cell, models, metrics, importance), block_style),
        "samples": (gis.points(samples["xy"]), table_of_samples(samples, names), sample_style),
    }, (_STAGE, c, [paths.models, paths.tasks, paths.blocks, paths.blocks_table,
                    *[paths.metrics] * (metrics is not None), *[paths.importance] * (importance is not None)]))

    jumps = seams(found, labels)
    rows = [("class", f"{name}, km2", n * cell) for name, n in zip(c.CLASS_NAMES, counts, strict=True)]
    rows += [("seams", f"{measure}, {where}", jumps.loc[where, measure]) for where in jumps.index for measure in jumps]
    rows += [("applicability", "mean distance of samples", applicable.mean), ("applicability", "threshold", threshold),
             ("applicability", "share of cells outside", outside), ("uncertainty", "members", members)]
    if uncertainty:
        rows += [("uncertainty", "mean", average)]
        rows += [("uncertainty", f"share of cells above {s:g}", v) for s, v in zip(c.SPREADS, shares, strict=True)]
    write_csv(paths.gis_table, pd.DataFrame(rows, columns=["product", "measure", "value"]), _STAGE, c,
              [paths.map_raster, paths.blocks, paths.models, paths.tasks, source, *used])

    print(f"classes, {c.BREAKS} breaks{' of an earlier run' if kept else ''}: "
          + ", ".join(f"{name} {n / max(counts.sum(), 1):.1%}" for name, n in zip(c.CLASS_NAMES, counts, strict=True)))
    print(f"jump of probability between neighbouring cells: {jumps.loc['across', 'mean']:.3f} across borders of "
          f"blocks, {jumps.loc['inside', 'mean']:.3f} inside (medians {jumps.loc['across', 'median']:.3f}, "
          f"{jumps.loc['inside', 'median']:.3f})")
    print(f"{outside:.1%} of cells outside the area of applicability (dissimilarity above {threshold:.3g})")
    print(f"standard deviation of probability over {members} {of_what}, few of them: mean {average:.3f}, above "
          + ", ".join(f"{s:g} in {v:.1%}" for s, v in zip(c.SPREADS, shares, strict=True)) + " of cells"
          if uncertainty else "no raster of uncertainty: one member only; see MEMBERS of meta_learner.py")
    print(f"{(state != 0).sum()} of {len(state)} blocks keep the intermediate model")
    for path in (paths.gis_raster("leading"), paths.gis_raster("uncertainty")):
        if path.is_file() and path not in written:
            print(f"{shown(path)}: of an earlier run, not of this map; remove it")
    for path in (*written, paths.gis_layers, paths.gis_table):
        print(f"wrote {shown(path)}")


if __name__ == "__main__":
    run(main, Constants)
