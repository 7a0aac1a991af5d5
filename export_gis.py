"""Stage 8: the map for a GIS: cloud-optimised rasters with QGIS styles, and blocks and samples as layers.

Two rasters beside the probability say where to trust it.

Uncertainty is the standard deviation of landslide probability over the members of the model, of both kinds. There are
six members in the recommended recipe, so it is a rough figure; there is one in the published recipe, so there is no
raster.

Applicability is the dissimilarity index of Meyer and Pebesma (2021, Methods in Ecology and Evolution 12, 1620): the
distance from a cell's factors to the factors of the nearest sample, over the mean distance between samples. Factors are
standardised and weighted by importance. The threshold is the largest index of samples against samples of other folds,
outliers left out; folds are whole blocks. A cell above the threshold is outside the area of applicability. The index
compares factors, not places.

Reads   figs/LSM_<REGION>.tif                          the map
        models_of_blocks/<REGION>_models.npz           networks, encoder, state of each block
        metatask_sampling/<REGION>_tasks.npz           samples by block
        metatask_sampling/<REGION>_blocks.tif, .csv    the block of every cell; cells and samples of every block
        src_data/grid_samples_<REGION>.csv or <REGION>/factors.tif, factors.json    cells' factors, classes' names
        and, where there,
        figs/<REGION>_leading_factor.tif, tmp/<REGION>_importance.csv    leading factors
        tmp/<REGION>_importance_territory.csv          weights of the factors; without it all weigh the same
        checkpoint_dir/<REGION>_metrics.csv            AUROC of held-out blocks
        tmp/<REGION>_breaks.json                       breaks of an earlier run with the same BREAKS, which are used
                                                       again, so that maps can be compared; remove it to draw new ones
Writes  figs/<REGION>_probability.tif, _class.tif, _leading.tif, _applicability.tif, _uncertainty.tif    cloud-optimised
                                                       GeoTIFFs, each with a QGIS style, <same name>.qml
        figs/<REGION>_blocks.gpkg                      layers blocks and samples, with their styles
        tmp/<REGION>_breaks.json                       method, breaks
        tmp/<REGION>_gis.csv                           product, measure, value: classes, seams between blocks,
                                                       applicability, uncertainty
Run     python export_gis.py [BREAKS=natural ...]
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from osgeo import gdal

from lsm.blocks.grid_parts import parts_of
from lsm.inputs import bands, grid_cells, vectors
from lsm.inputs.rasters import known_strips, open_raster
from lsm.learner.encoder import Encoder
from lsm.learner.prediction import networks_of_arrays
from lsm.learner.support.supports import MOVED, PARTLY
from lsm.maps import classes, counts, gis, layer_tables, styles_qgis, trust
from lsm.maps.cartography import named_classes
from lsm.report.sources import Collector
from lsm.run.artifacts import check, made_with, map_npz, read_csv, read_npz, write_csv
from lsm.run.paths import OF_SOME, Paths, shown
from lsm.run.settings import InputError, at_least, run
from lsm.run.writing import work_folder
from study_area import MappedArea


# ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Constants(MappedArea):
    """What a person may set, here or for one run as NAME=value."""

    FOLDS: int = 10                                # folds of whole blocks, for the threshold of applicability
    PAIRED: int = 4_000                            # samples whose mutual distances are averaged, at most
    GRID_ROWS: int = 100_000                       # cells of a part of the grid; three parts are in memory at once
    SPREADS: tuple[float, ...] = (0.05, 0.1, 0.2)  # standard deviations of probability, between two colours each
    SPREAD_COLOURS: tuple[str, ...] = ("#f2f0f7", "#cbc9e2", "#8d87c0", "#54278f")  # of uncertainty, low to high
    # of applicability: up to a quarter, half and all of the threshold
    INSIDE_COLOURS: tuple[str, ...] = ("#eff3ff", "#bdd7e7", "#6baed6")
    OUTSIDE_COLOURS: tuple[str, ...] = ("#fdae61", "#b2470b")  # up to twice the threshold, and above
# ----------------------------------------------------------------------------------------------------------------

_STAGE = "export_gis.py"


def check_constants(c: Constants) -> None:
    """Refuses constants that cannot be used. Raises InputError."""
    classes.check_constants(c)
    at_least(c, FOLDS=2, PAIRED=2, GRID_ROWS=1)
    if not c.SPREADS or sorted(set(c.SPREADS)) != list(c.SPREADS) or len(c.SPREADS) + 1 != len(c.SPREAD_COLOURS):
        raise InputError(f"SPREADS={c.SPREADS}: expected ascending numbers, one fewer than SPREAD_COLOURS")


def export(c: Constants, product: str, raster: gdal.Dataset, text: str, style: str, *files: list, **options) -> None:
    """Writes a cloud-optimised raster and its style; files  inputs, then optional ones; options  of `gis.write_cog`."""
    path = Paths(c.REGION).gis_raster(product)
    gis.write_cog(path, raster, text, (_STAGE, c, *files), **options)
    styles_qgis.write_style(path, style)


@dataclass(frozen=True)
class Counted:
    """Counted over the rasters: cells (classes,); the share of cells outside the area of applicability; the mean of
    uncertainty and the shares of cells above SPREADS, nan and () where the model has one member."""

    cells: np.ndarray
    outside: float
    spread: float = np.nan
    shares: tuple[float, ...] = ()


def write_rasters(c: Constants, found: gdal.Dataset, labels: gdal.Dataset, models: dict, samples: dict,
                  encoder: Encoder, applicable: trust.Applicability, breaks: list[float], used: list[Path]) -> Counted:
    """Writes probability, classes, applicability and, of several members, uncertainty.

    found, labels  the map and its blocks; used  which files the weights of applicability are from
    """
    paths, threshold, members = Paths(c.REGION), applicable.threshold, member_count(models)
    source, blend = grid_cells.grid_of(paths), made_with(paths.map_raster).get("BLEND", False)
    forecast = {"FORECAST": gis.forecast_of(found)} if gis.forecast_of(found) else {}
    with work_folder(paths.gis_work) as work:
        applicability = gis.create_like(work / "applicability.tif", found, gdal.GDT_Float32, bands.NODATA)
        uncertainty = gis.create_like(work / "sd.tif", found, gdal.GDT_Float32, bands.NODATA) if members > 1 else None
        networks, centres = networks_of_arrays(models), np.column_stack([samples["centre_row"], samples["centre_col"]])
        parts = parts_of(source, c.factors, c.GRID_ROWS, labels, centres, blend)
        trust.fill_rasters(parts, grid_cells.count(source), encoder, networks, applicable, uncertainty, applicability)
        classed = gis.create_like(work / "class.tif", found, gdal.GDT_Byte, 0)
        cells = counts.classify(found, classed, breaks)
        outside = counts.above(applicability, (threshold,))[1][0]
        export(c, "probability", found, "landslide probability", styles_qgis.probability_style(c.CLASS_COLOURS),
               [paths.map_raster], metadata=forecast)
        export(c, "class", classed, "landslide susceptibility class",
               styles_qgis.class_style(c.CLASS_NAMES, c.CLASS_COLOURS, breaks),
               [paths.map_raster, paths.breaks], names=["", *c.CLASS_NAMES], colours=list(c.CLASS_COLOURS),
               metadata=forecast | {"BREAKS": ", ".join(f"{b:.9g}" for b in breaks), "METHOD": c.BREAKS})
        steps = styles_qgis.steps_of_applicability(threshold, c.INSIDE_COLOURS, c.OUTSIDE_COLOURS)
        export(c, "applicability", applicability, f"dissimilarity to the samples, applicable up to {threshold:.3g}",
               styles_qgis.of_ramp(steps, smooth=False), [paths.models, paths.tasks, source, *used],
               [paths.importance_territory], metadata={"THRESHOLD": f"{threshold:.9g}"})
        if members < 2:
            return Counted(cells, outside)
        spread, shares = counts.above(uncertainty, c.SPREADS)
        steps = styles_qgis.steps_of_uncertainty(c.SPREADS, c.SPREAD_COLOURS)
        export(c, "uncertainty", uncertainty, f"standard deviation of probability over {members} members",
               styles_qgis.of_ramp(steps, smooth=False), [paths.map_raster, paths.models, paths.tasks, paths.blocks,
                                                          source], metadata={"MEMBERS": str(members)})
        return Counted(cells, outside, spread, tuple(shares))


def write_leaders(c: Constants) -> None:
    """Writes the raster of leading factors again, cloud-optimised, with a style of the factors that lead a block."""
    path = Paths(c.REGION).leading_factor
    dataset = open_raster(path, "run feature_permutation.py again")
    names, colours = named_classes(dataset, path)
    there = np.unique(np.concatenate([np.unique(values) for values in known_strips(dataset)]))
    style = styles_qgis.of_palette([(v, colours[v - 1], names[v]) for v in there])
    export(c, "leading", dataset, "leading factor", style, [path], names=names, colours=colours)


def member_count(models: dict) -> int:
    """How many members the model of a block has."""
    return sum(len(weights[0]) for weights in networks_of_arrays(models).values())


def table_of(c: Constants, counted: Counted, jumps: pd.DataFrame, applicable: trust.Applicability, members: int,
             cell: float) -> pd.DataFrame:
    """What the rasters say in numbers: product, measure, value. jumps  as `counts.seams` gives them; cell  km2."""
    rows = [("class", f"{name}, km2", n * cell) for name, n in zip(c.CLASS_NAMES, counted.cells, strict=True)]
    rows += [("seams", f"{measure}, {where}", jumps.loc[where, measure]) for where in jumps.index for measure in jumps]
    rows += [("applicability", "mean distance of samples", applicable.mean),
             ("applicability", "threshold", applicable.threshold),
             ("applicability", "share of cells outside", counted.outside), ("uncertainty", "members", members)]
    if members > 1:
        rows += [("uncertainty", "mean", counted.spread)]
        rows += [("uncertainty", f"share of cells above {s:g}", v)
                 for s, v in zip(c.SPREADS, counted.shares, strict=True)]
    return pd.DataFrame(rows, columns=["product", "measure", "value"])


def say(c: Constants, counted: Counted, jumps: pd.DataFrame, threshold: float, members: int, state: np.ndarray,
        kept: bool, alike: bool) -> None:
    """Prints what the rasters say. kept: the breaks are of an earlier run; alike: all factors weigh the same."""
    cells = counted.cells
    print(f"classes, {c.BREAKS} breaks{', kept from earlier figures and layers' if kept else ''}: "
          + ", ".join(f"{name} {n / max(cells.sum(), 1):.1%}" for name, n in zip(c.CLASS_NAMES, cells, strict=True)))
    print(f"difference of probability between neighbouring cells: mean {jumps.loc['across', 'mean']:.3f} across "
          f"borders of blocks, {jumps.loc['inside', 'mean']:.3f} inside blocks; median "
          f"{jumps.loc['across', 'median']:.3f} and {jumps.loc['inside', 'median']:.3f}")
    print(f"{counted.outside:.1%} of cells outside the area of applicability (dissimilarity above {threshold:.3g}"
          + ", all factors weighing the same" * alike + ")")
    print(f"deviation of {members} members' probabilities, less than the map's error: mean {counted.spread:.3f}, above "
          + ", ".join(f"{s:g} in {v:.1%}" for s, v in zip(c.SPREADS, counted.shares, strict=True)) + " of cells"
          if members > 1 else "no raster of uncertainty: the model has one member only; see LOCAL_MEMBERS and "
          "REGIONAL_MEMBERS of meta_learner.py")
    unmoved, partly = (~np.isin(state, MOVED)).sum(), (state == PARTLY).sum()
    print(f"{unmoved} of {len(state)} blocks keep the intermediate model" + f", {partly} in part" * bool(partly))


def main(c: Constants) -> None:
    """Runs the stage."""
    check_constants(c)
    paths = Paths(c.REGION)
    models = map_npz(paths.models, "predict_LSM.py", c)
    samples = read_npz(paths.tasks, "scene_sampling.py", c)
    blocks = read_csv(paths.blocks_table, "scene_sampling.py", c)
    check(paths.blocks, "scene_sampling.py", c)
    check(paths.map_raster, "predict_LSM.py", c)
    source = grid_cells.grid_of(paths)
    grid_cells.count(source)  # refuses a missing grid now, before the work
    got, explains, learns = Collector(c.REGION, "gis"), "feature_permutation.py", "meta_learner.py"
    importance, ranking, metrics = (
        got.get(what, path, stage, partial(read_csv, path, stage, c)) for what, path, stage in (
            ("leading factors of blocks", paths.importance, explains),
            ("weights of the applicability", paths.importance_territory, explains),
            ("held-out AUROC of blocks", paths.metrics, learns)))
    leading = got.get("raster of leading factors", paths.leading_factor, explains,
                      partial(check, paths.leading_factor, explains, c))
    if lines := got.left_out.lines():
        print("left out:", *lines, sep="\n  ")

    encoder, state, members = Encoder.from_json(str(models["encoder"])), models["state"], member_count(models)
    names = [factor.name for factor in encoder.factors]
    weight = np.ones(len(names)) if ranking is None else (
        ranking.set_index("factor")["mean_abs_shap"].reindex(names).fillna(0).to_numpy())
    found, labels = open_raster(paths.map_raster, "run predict_LSM.py"), open_raster(paths.blocks, "make it again")
    cell = abs(found.GetGeoTransform()[1] * found.GetGeoTransform()[5]) / 1e6  # km^2
    applicable = trust.applicability_of(encoder, samples, weight, len(state), c.FOLDS, c.PAIRED, c.SEED, paths.tasks)
    breaks, kept = classes.breaks_of(paths, found, _STAGE, c)
    outlines = gis.block_polygons(paths.blocks, len(state))

    used = [paths.importance_territory] * (ranking is not None)
    counted = write_rasters(c, found, labels, models, samples, encoder, applicable, breaks, used)
    if leading:
        write_leaders(c)
    vectors.write_layers(paths.gis_layers, found.GetSpatialRef(), {
        "blocks": (outlines, layer_tables.block_table(blocks, cell, models, metrics, importance),
                   styles_qgis.block_style()),
        "samples": (vectors.points(samples["xy"]), layer_tables.sample_table(samples, encoder.factors, paths.factors),
                    styles_qgis.sample_style()),
    }, (_STAGE, c, [paths.models, paths.tasks, paths.blocks, paths.blocks_table,
                    *[paths.metrics] * (metrics is not None), *[paths.importance] * (importance is not None),
                    *[paths.factors] * paths.factors.is_file()]))
    jumps = counts.seams(found, labels)
    rest = [path for path, there in ((paths.importance, importance), (paths.leading_factor, leading),
                                     (paths.metrics, metrics)) if there is not None]
    write_csv(paths.gis_table, table_of(c, counted, jumps, applicable, members, cell), _STAGE, c,
              [paths.map_raster, paths.blocks, paths.models, paths.tasks, source, *used, *rest],
              [paths.importance_territory, paths.importance, paths.leading_factor, paths.metrics])

    say(c, counted, jumps, applicable.threshold, members, state, kept, ranking is None)
    written = ["probability", "class", "applicability"] + ["uncertainty"] * (members > 1) + ["leading"] * bool(leading)
    for product in (name for name in OF_SOME if name not in written):
        gis.remove_product(paths, product, _STAGE)
    for path in (*[paths.breaks] * (not kept), *map(paths.gis_raster, written), paths.gis_layers, paths.gis_table):
        print(f"wrote {shown(path)}")


if __name__ == "__main__":
    run(main, Constants)
