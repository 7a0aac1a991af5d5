"""Stage 9: the report, one HTML file to open first: a map to click, scores, figures and warnings.

Styles, scripts, pictures and numbers are all inside the file, so it works without a network. The stage computes nothing
that another stage owns. What is missing or of another run is left out, and a line names the stage to run.

Reads   figs/LSM_<REGION>.tif                             the map; without it there is no report
        and, where there,
        metatask_sampling/<REGION>_blocks.tif, .csv, _tasks.npz    blocks and samples
        src_data/samples_<REGION>.csv, <REGION>_samples_origin.csv or Ts_<REGION>.csv, <REGION>/composite.tif
                                                          repeated places, weak labels, relief
        models_of_blocks/<REGION>_models.npz              which blocks keep the intermediate model
        checkpoint_dir/<REGION>_metrics.csv, _split.csv   scores of held-out blocks, and how they were held out
        tmp/<REGION>_non_landslides.csv                   the quick model of prepare_region.py
        tmp/<REGION>_metrics.csv                          scores of every method
        tmp/<REGION>_importance.csv, figs/<REGION>_leading_factor.tif    leading factors
        figs/<REGION>_uncertainty.tif, _applicability.tif, tmp/<REGION>_gis.csv    where to trust the map
        tmp/<REGION>_checks.csv, _augmentation.csv        what the checks and stage 0 found
        figs/<REGION>_*.png                               figures
        and the records of all these files
Writes  figs/report_<REGION>.html
        tmp/<REGION>_breaks.json, where there is none for this BREAKS: breaks between the classes. Later runs use them
        again, so that maps can be compared; remove the file to draw new ones
Run     python report.py [REGION=HK ...]
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from lsm.inputs.crs import crs_name
from lsm.maps import classes, gis
from lsm.maps.cartography import SAMPLES
from lsm.report import facts, findings, map_layers, page, pictures, tables
from lsm.report.sources import Collector
from lsm.run.artifacts import artifact, check
from lsm.run.paths import Paths, shown
from lsm.run.pipeline import LEARN
from lsm.run.settings import InputError, at_least, counted, run
from study_area import MappedArea


# ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Constants(MappedArea):
    """What a person may set, here or for one run as NAME=value."""

    LARGEST: int = 1200       # cells a side of the map on the page; larger rasters are read decimated
    POINTS: int = 20_000      # samples on the map, at most, drawn at random from more
    LEADERS: int = 5          # leading factors that a click names
    THIN: int = 16            # samples; a block with no more is named as thin; published 16, for tasks of meta-training
    LEAKY: float = 0.9        # AUROC above which a factor alone separates the labels
    FIGURE_WIDTH: int = 1500  # pixels of a figure
    FIGURE_QUALITY: int = 82  # of its WebP, up to 100
    # what readers must know first, at the top of the page: (region, text)
    NOTES: tuple[tuple, ...] = (
        ("HK", "The terrain raster and the grid behind this map are stand-ins, interpolated from the published sample "
               "points: this is no map of Hong Kong. Scores on the sample points are real."),)
# ----------------------------------------------------------------------------------------------------------------

_STAGE = "report.py"


def check_constants(c: Constants) -> None:
    """Refuses constants that cannot be used. Raises InputError."""
    classes.check_constants(c)
    at_least(c, LARGEST=16, POINTS=0, LEADERS=1, THIN=0, FIGURE_WIDTH=100)
    if not 1 <= c.FIGURE_QUALITY <= 100:
        raise InputError(f"FIGURE_QUALITY={c.FIGURE_QUALITY}: expected 1 to 100")
    if not all(len(note) == 2 for note in c.NOTES):
        raise InputError(f"NOTES={c.NOTES}: expected pairs of a region and a text")


def layers_of_stages(paths: Paths, got: Collector, frame: map_layers.Frame, alone: bool, c: Constants
                     ) -> tuple[list, dict, float]:
    """Uncertainty, applicability and leading factors as far as they are there: layers, grids of numbers by name, and
    the threshold of applicability, None without it. alone: whether the model has one member."""
    layers, grids, threshold = [], {}, None
    for name, read in (("uncertainty", map_layers.uncertainty), ("applicability", map_layers.applicability)):
        path = paths.gis_raster(name)
        if alone and name == "uncertainty":
            got.left_out.note(name, path, "", "the model has one member, and uncertainty is how far members disagree"
                              + f"; {shown(path)} is of an earlier run: remove it" * path.is_file())
            continue
        if of_map := got.get(name, path, "export_gis.py", partial(read, path, frame, c)):
            layer, grids[name], threshold = of_map
            layers.append(layer)
    lead = got.get("leading factors on the map", paths.leading_factor, "feature_permutation.py",
                   lambda: map_layers.leading(paths.leading_factor, frame, c))
    return layers + [lead] * bool(lead), grids, threshold


def main(c: Constants) -> None:
    """Runs the stage."""
    check_constants(c)
    paths, got = Paths(c.REGION), Collector(c.REGION)
    made = check(paths.map_raster, "predict_LSM.py", c)
    p, known, frame, dataset = map_layers.read(paths.map_raster, c.LARGEST)
    if not known.any():
        raise InputError(f"{shown(paths.map_raster)}: expected cells with a probability, found none; run "
                         "predict_LSM.py again")
    breaks, _ = classes.breaks_of(paths, dataset, _STAGE, c)
    forecast = gis.forecast_of(dataset)
    adapts = forecast != gis.LEFT_OUT

    labels = got.get("blocks on the map", paths.blocks, "scene_sampling.py",
                     lambda: map_layers.raster_of(paths.blocks, "scene_sampling.py", frame, c))
    found = got.sources(paths, c)
    blocks, samples, models, scores, points, others, gains, importance, *_ = found.values()
    shade = got.get("relief", paths.composite, "", lambda: map_layers.shade_picture(paths.composite, frame))
    class_layer, index = map_layers.class_layer(p, known, breaks, c)
    more, grids, threshold = layers_of_stages(paths, got, frame, facts.members_of_model(found["model"]) == 1, c)
    layers = [class_layer, map_layers.probability_layer(
        p, known, "the models of its block" if adapts else "one model for all blocks", c), *more]
    grids = {"probability": map_layers.packed(p, known), "class": map_layers.packed(index, known),
             **({"block": map_layers.packed(*labels[:2])} if labels else {}), **grids}

    provenance = tables.provenance(paths, c)
    for row in provenance["files"]:
        row["verdict"] = got.left_out.with_command(row["verdict"], row["stage"])
    held = tables.held_out(scores, points, adapts) if scores is not None else None
    prepared, split = tables.preparation(paths), found["split"]
    in_classes = np.bincount(index.ravel(), minlength=len(breaks) + 2)[1:]
    uncovered = float((~labels[1])[known].mean()) if labels else 0.0
    warned = findings.all_of(paths, got, found, held, forecast, in_classes, uncovered, c)
    rules = None
    if paths.augmentation.is_file():
        rules = got.get("weak labels", paths.augmentation, "augment_inventory.py",
                        lambda: tables.rules(paths.augmentation, c))
    drawn = pictures.gather(paths, breaks, c, got.left_out)
    left_out = got.left_out.lines()
    got.asked += [paths.strategies, paths.augmentation, paths.checks,
                  *(paths.figure(name, "png") for name in pictures.FIGURES)]
    got.used += [paths.strategies] * bool(prepared["rows"])
    got.used += [paths.figure(figure["name"], "png") for figure in drawn]
    if not adapts and LEARN in provenance["constants"]:
        provenance["constants"][LEARN]["PLACE"] += ", but FORECAST left X and Y out"

    data = {
        "frame": {"rows": frame.rows, "cols": frame.cols, "box": map_layers.box(known),
                  **dict(zip(("west", "east", "south", "north"), frame.extent, strict=True))},
        "grids": grids, "threshold": threshold, "classes": list(c.CLASS_NAMES), "shade": shade,
        "sample_colours": SAMPLES,
        # The first picture is in the page already, for browsers without scripts.
        "layers": [vars(x) | ({"picture": ""} if i == 0 else {}) for i, x in enumerate(layers)],
        "blocks": map_layers.block_popups(blocks, models, scores, importance, c.LEADERS) if blocks is not None else [],
        "samples": map_layers.some_samples(samples, c.POINTS, np.random.default_rng(c.SEED))
        if samples is not None and c.POINTS else None}
    text = page.filled_page(
        region=c.REGION, models_words="from few-shot models, one for each block" if adapts else
        f"from one model for all blocks: a forecast of newer landslides (FORECAST=True: {forecast})",
        note=dict(c.NOTES).get(c.REGION, ""), layers=layers, shade=shade, data=data, findings=warned, rules=rules,
        facts=facts.boxes(int(known.sum()), facts.size_of(dataset), frame, found, held, len(warned)), scores=held,
        crs=crs_name(dataset.GetProjection()), figures=drawn, provenance=provenance,
        prepared=prepared, held_how="" if split is None else "halves" if "support" in set(split["role"]) else "fold",
        map_words=tables.words_of_map(provenance["constants"], len(samples["label"]), adapts) if samples else "",
        comparisons=tables.comparison(others, gains) if others is not None else [],
        comparison_words=f"Means over repeats or folds; differences with intervals: {shown(paths.method_differences)}.",
        left_out=left_out,
        frame_words=f"The raster is decimated: one of {frame.step:.3g} × {frame.step:.3g} cells is shown; "
                    f"{shown(paths.map_raster)} has all of them." if frame.step > 1 else "",
        run=facts.of_run(made, dataset, forecast, breaks, provenance, found, prepared, c))
    used = list(dict.fromkeys((paths.map_raster, *got.used)))
    with artifact(paths.report, _STAGE, c, used, list(dict.fromkeys(got.asked))) as temporary:
        temporary.write_text(text, encoding="utf-8")
    if left_out:
        print("left out:", *left_out, sep="\n  ")
    print(f"{counted(len(warned), 'warning')}, {counted(len(drawn), 'figure')}")
    print(f"wrote {shown(paths.report)} ({paths.report.stat().st_size / 2**20:.1f} MiB)")


if __name__ == "__main__":
    run(main, Constants)
