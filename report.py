"""Stage 9: the report, one file that a person opens first: the map to ask, its scores, figures and warnings.

Nothing is fetched when it is open: styles, scripts, pictures and numbers are inside, and a click is answered from
them. It computes nothing that a stage owns; what is missing or of another run is left out, a line each that names the
stage to run.

Reads   figs/LSM_<REGION>.tif                             the map; without it there is no report
        and, each where there,
        metatask_sampling/<REGION>_blocks.tif, .csv, _tasks.npz    blocks and samples
        src_data/samples_<REGION>.csv, <REGION>_samples_origin.csv or Ts_<REGION>.csv, <REGION>/composite.tif
                                                          repeated places, weak labels, relief
        models_of_blocks/<REGION>_models.npz              which blocks keep the intermediate model
        checkpoint_dir/<REGION>_metrics.csv               scores of held-out blocks
        tmp/<REGION>_metrics.csv                          scores of every method
        tmp/<REGION>_importance.csv, figs/<REGION>_leading_factor.tif    leading factors
        figs/<REGION>_uncertainty.tif, _applicability.tif, tmp/<REGION>_gis.csv    where to trust the map
        tmp/<REGION>_checks.csv, _augmentation.csv        what the checks and stage 0 found
        figs/<REGION>_*.png                               figures
        and the records of all of these
Writes  figs/report_<REGION>.html
        tmp/<REGION>_breaks.json, where there is none for this BREAKS: breaks between the classes, kept so that maps
        can be compared; remove the file to draw new ones
Run     python report.py [REGION=HK ...]
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lsm.inputs.rasters import crs_name
from lsm.inputs.samples import read_samples
from lsm.maps import classes
from lsm.report import findings, map_layers, page, pictures, tables
from lsm.run.artifacts import check, read_csv, read_npz, whole, write_record
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError, run
from study_area import MappedArea


# ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Constants(MappedArea):
    """What a person may set, here or for one run as NAME=value."""

    LARGEST: int = 1200       # cells a side of what the map shows and answers from; larger rasters are read decimated
    POINTS: int = 20_000      # samples on the map, at most; more are drawn from
    LEADERS: int = 5          # leading factors a click names
    THIN: int = 16            # samples; a block with no more makes no task of meta-training, as published
    LEAKY: float = 0.9        # AUROC above which a factor alone tells the labels
    FIGURE_WIDTH: int = 1500  # pixels of a figure
    FIGURE_QUALITY: int = 82  # of its WebP, up to 100
    #  what readers must be told before they look: (region, text)
    NOTES: tuple[tuple, ...] = (
        ("HK", "The terrain raster and the grid behind this map are stand-ins, interpolated from the published sample "
               "points: this is no map of Hong Kong. Scores on the sample points are real."),)
# ----------------------------------------------------------------------------------------------------------------

_STAGE = "report.py"


class Collector:
    """Reads what there is; keeps which files were used, and a line for whatever is missing or of another run."""

    def __init__(self):
        self.used, self.left_out = [], []

    def get(self, what: str, read, path):
        """What read() gives of the file `path`, or None and a line where it cannot be used."""
        try:
            value = read()
        except InputError as error:
            self.left_out.append(f"{what}: {error}")
            return None
        self.used.append(path)
        return value


def checked(c) -> None:
    """Refuses constants that cannot be used. Raises InputError."""
    classes.checked(c)
    for name, least in (("LARGEST", 16), ("POINTS", 0), ("LEADERS", 1), ("THIN", 0), ("FIGURE_WIDTH", 100)):
        if getattr(c, name) < least:
            raise InputError(f"{name}={getattr(c, name)}: expected {least} or more")
    if not 1 <= c.FIGURE_QUALITY <= 100:
        raise InputError(f"FIGURE_QUALITY={c.FIGURE_QUALITY}: expected 1 to 100")
    if not all(len(note) == 2 for note in c.NOTES):
        raise InputError(f"NOTES={c.NOTES}: expected pairs of a region and a text")


def table_of(path, stage: str, columns: tuple[str, ...], c) -> pd.DataFrame:
    """A table of this run that has `columns`. Raises InputError."""
    table = read_csv(path, stage, c)
    if missing := set(columns) - set(table):
        raise InputError(f"{shown(path)}: header: expected {', '.join(columns)}, found no {', '.join(sorted(missing))};"
                         f" run {stage} again")
    return table


def raster_of(path, stage: str, frame, c) -> tuple:
    """A raster of this run on the frame of the map, and its record."""
    record = check(path, stage, c)
    return map_layers.read(path, c.LARGEST, frame), record


def uncertainty(path, frame, c) -> tuple:
    """The layer of uncertainty, in the steps and colours of its record, and its numbers for the page."""
    (values, known, _, _), record = raster_of(path, "export_gis.py", frame, c)
    steps, colours = record["constants"].get("SPREADS"), record["constants"].get("SPREAD_COLOURS")
    if not steps or not colours:
        raise InputError(f"{shown(path)}: expected SPREADS in its record, found none; run export_gis.py again")
    labels = [f"up to {v:g}" for v in steps] + [f"above {steps[-1]:g}"]
    layer = map_layers.stepped("uncertainty", "Uncertainty", values, known, steps, colours, labels,
                           "Standard deviation of probability over the few members of the model: where they disagree. "
                           "Small says that they agree, not that they are right.")
    return layer, map_layers.packed(values, known)


def applicability(path, frame, c) -> tuple:
    """The layer of applicability, in the colours of its record, its numbers for the page, and its threshold."""
    (values, known, _, dataset), record = raster_of(path, "export_gis.py", frame, c)
    made, threshold = record["constants"], dataset.GetRasterBand(1).GetMetadataItem("THRESHOLD")
    threshold = threshold or dataset.GetMetadataItem("THRESHOLD")
    if threshold is None or not {"INSIDE_COLOURS", "OUTSIDE_COLOURS"} <= set(made):
        raise InputError(f"{shown(path)}: expected a THRESHOLD and its colours, found none; run export_gis.py again")
    t = float(threshold)
    labels = [*(f"inside, up to {v:.2g}" for v in (t / 4, t / 2, t)), f"outside, up to {2 * t:.2g}", "outside, above"]
    layer = map_layers.stepped("applicability", "Applicability", values, known, (t / 4, t / 2, t, 2 * t),
                           (*made["INSIDE_COLOURS"], *made["OUTSIDE_COLOURS"]), labels,
                           "How unlike the samples a cell's factors are. Outside, the map guesses about settings that "
                           "no sample shows.")
    return layer, map_layers.packed(values, known), t


def leading(path, frame, c) -> map_layers.Layer:
    """The layer of leading factors."""
    (values, known, _, dataset), _ = raster_of(path, "feature_permutation.py", frame, c)
    return map_layers.leading_layer(values, known, dataset.GetRasterBand(1), path)


def of_blocks(blocks: pd.DataFrame, models, scores, importance, leaders: int) -> list[dict]:
    """What a click says of each block; models, scores and importance may be None."""
    out = [{"samples": int(row.samples), "landslides": int(row.landslides)} for row in blocks.itertuples()]
    for b, block in enumerate(out):
        if models is not None:
            block |= {"state": int(models["state"][b]), "own": int(models["support"][b, 0]),
                      "borrowed": int(models["support"][b, 1])}
    if scores is not None:
        after = scores[(scores["adapted"] == "after") & (scores["block"].astype(str) != "all")]
        for row in after.itertuples():
            out[int(row.block)] |= {"auroc": tables.number(row.auroc), "scored": int(row.samples)}
    if importance is not None:
        for b, part in importance[importance["state"] == 0].groupby("block"):
            total = part["mean_abs_shap"].sum() or 1.0
            out[int(b)]["leaders"] = [
                [str(row.factor), None if pd.isna(row.sign) else int(row.sign), round(row.mean_abs_shap / total, 4)]
                for row in part.sort_values("rank").head(leaders).itertuples()]
    return out


def some_samples(samples: dict, most: int, rng: np.random.Generator) -> str:
    """X, Y, label of samples for the page, at most `most` of them; landslides last, so that they lie on top."""
    rows = np.sort(rng.permutation(len(samples["label"]))[:most])
    rows = rows[np.argsort(samples["label"][rows], kind="stable")]
    return map_layers.deflated(np.column_stack([samples["xy"][rows].round(1), samples["label"][rows]]).astype("<f8"))


def warnings_of(paths: Paths, got: Collector, samples, blocks, models, gis, c) -> list:
    """All findings: on the inputs, the blocks, the models and the map."""
    out, factors = [], c.factors
    if samples is not None:
        origin = got.get("leaky factors", lambda: findings.origins(paths, samples, c), paths.tasks)
        if origin is not None:
            out += findings.leaky(samples, origin, factors, c.LEAKY, shown(paths.tasks))
    table = got.get("repeated places", lambda: read_samples(paths.samples, factors), paths.samples)
    if table is not None:
        out += findings.repeated(table, shown(paths.samples))
    if blocks is not None:
        out += findings.thin(blocks, c.THIN, shown(paths.blocks_table))
        if models is not None:
            out += findings.fallen_back(models["state"], blocks["cells"].to_numpy(), shown(paths.models))
    if gis is not None:
        out += findings.outside(dict(zip(gis["measure"], gis["value"], strict=True)), shown(paths.gis_table))
    if paths.checks.is_file():
        columns = ("topic", "file", "level", "found", "remedy")
        checks = got.get("checks of the inputs", lambda: table_of(paths.checks, "check_region.py", columns, c),
                         paths.checks)
        out += findings.of_checks(checks) if checks is not None else []
    else:
        got.left_out.append(f"checks of the inputs: {shown(paths.checks)}: missing; run check_region.py "
                            f"REGION={c.REGION}")
    return sorted(out, key=lambda finding: finding.level != "error")


def main(c) -> None:
    """Runs the stage; c holds the constants."""
    checked(c)
    paths, got, rng = Paths(c.REGION), Collector(), np.random.default_rng(c.SEED)
    made = check(paths.map_raster, "predict_LSM.py", c)
    p, known, frame, dataset = map_layers.read(paths.map_raster, c.LARGEST)
    if not known.any():
        raise InputError(f"{shown(paths.map_raster)}: expected cells with a probability, found none; run "
                         "predict_LSM.py again")
    breaks, _ = classes.breaks_of(paths, dataset, _STAGE, c)

    def of(attribute, what, stage, read):
        return got.get(what, lambda: read(getattr(paths, attribute), stage, c), getattr(paths, attribute))

    sampling, adapting, explaining = "scene_sampling.py", "predict_LSM.py", "feature_permutation.py"
    labels = got.get("blocks on the map", lambda: raster_of(paths.blocks, sampling, frame, c), paths.blocks)
    blocks = of("blocks_table", "blocks", sampling, lambda *a: table_of(
        a[0], a[1], ("block", "cells", "samples", "landslides"), c))
    samples = of("tasks", "samples", sampling, read_npz)
    models = of("models", "models of blocks", adapting, read_npz)
    scores = of("metrics", "held-out scores", "meta_learner.py", lambda *a: table_of(
        a[0], a[1], ("block", "adapted", "samples", "landslides", *tables.MEASURES), c))
    others = of("method_metrics", "other methods", "compare_methods.py", lambda *a: table_of(
        a[0], a[1], ("protocol", "subset", "with_dv", "k", "method", "measure", "mean", "n"), c))
    importance = of("importance", "leading factors of a place", explaining, lambda *a: table_of(
        a[0], a[1], ("block", "factor", "mean_abs_shap", "sign", "rank", "state"), c))
    gis = of("gis_table", "applicability in numbers", "export_gis.py", lambda *a: table_of(
        a[0], a[1], ("product", "measure", "value"), c))
    shade = got.get("relief", lambda: map_layers.shade_picture(paths.composite, frame), paths.composite)

    class_layer, index = map_layers.class_layer(p, known, breaks, c)
    shown_layers = [class_layer, map_layers.probability_layer(p, known, c)]
    values = {"probability": map_layers.packed(p, known), "class": map_layers.packed(index, known)}
    if labels is not None:
        (block, inside, _, _), _ = labels
        values["block"] = map_layers.packed(block, inside)
    threshold = None
    for name, read in (("uncertainty", uncertainty), ("applicability", applicability)):
        path = paths.gis_raster(name)
        found = got.get(name, lambda path=path, read=read: read(path, frame, c), path)
        if found:
            shown_layers.append(found[0])
            values[name] = found[1]
            threshold = found[2] if len(found) > 2 else threshold
    lead = got.get("leading factors on the map", lambda: leading(paths.leading_factor, frame, c), paths.leading_factor)
    shown_layers += [lead] if lead else []

    warned = warnings_of(paths, got, samples, blocks, models, gis, c)
    rules = None
    if paths.augmentation.is_file():
        rules = of("augmentation", "weak labels", "augment_inventory.py", lambda *a: check(*a) and tables.rules(a[0]))
    drawn, without = pictures.gather(paths, c)
    got.left_out += [f"figures {', '.join(names)}: {reason}" for reason, names in without.items()]

    provenance = tables.provenance(paths, c)
    held = tables.held_out(scores) if scores is not None else None
    crs = crs_name(dataset.GetProjection())
    _, width, _, _, _, height = dataset.GetGeoTransform()
    size = f"{dataset.RasterYSize:,} rows × {dataset.RasterXSize:,} columns of {width:.4g} × {-height:.4g} m"
    facts = [("Cells mapped", f"{known.sum():,}", "shown, of a decimated raster" if frame.step > 1 else size)]
    if blocks is not None:
        total, slid = int(blocks["samples"].sum()), int(blocks["landslides"].sum())
        facts += [("Samples", f"{total:,}", f"{slid:,} landslides"), ("Blocks", f"{len(blocks):,}",
                  f"median {blocks['samples'].median():g} samples")]
    if held:
        facts.append(("Held-out AUROC", held["auroc"], f"{held['blocks']} blocks, {held['samples']:,} points"))
    facts.append(("Warnings", f"{len(warned)}", "see below"))
    data = {
        "frame": {"rows": frame.rows, "cols": frame.cols, "box": map_layers.box(known),
                  **dict(zip(("west", "east", "south", "north"), frame.extent, strict=True))},
        "grids": values, "threshold": threshold, "classes": list(c.CLASS_NAMES), "shade": shade,
        # The first picture is in the page already, for browsers without scripts.
        "layers": [vars(x) | ({"picture": ""} if i == 0 else {}) for i, x in enumerate(shown_layers)],
        "blocks": of_blocks(blocks, models, scores, importance, c.LEADERS) if blocks is not None else [],
        "samples": some_samples(samples, c.POINTS, rng) if samples is not None and c.POINTS else None}
    text = page.fill(
        region=c.REGION, note=dict(c.NOTES).get(c.REGION, ""), facts=facts, layers=shown_layers, shade=shade, data=data,
        findings=warned, rules=rules, scores=held, crs=crs, figures=drawn, provenance=provenance,
        comparisons=tables.comparison(others) if others is not None else [],
        comparison_words=f"Means over seeds; {shown(paths.method_differences)} has differences with intervals.",
        left_out=got.left_out,
        frame_words=f"The raster is decimated: of {frame.step:.3g} × {frame.step:.3g} cells one is shown and asked; "
                    f"{shown(paths.map_raster)} has them all." if frame.step > 1 else "",
        run=[("Region", c.REGION), ("Recipe", made["recipe"]), ("Seed", made["seed"]), ("Grid", size),
             ("Coordinates", crs), ("Classes", f"{c.BREAKS} breaks: {', '.join(f'{b:.3g}' for b in breaks)}"),
             ("Versions", ", ".join(f"{k} {v}" for k, v in provenance["versions"].items()))])
    with whole(paths.report) as temporary:
        temporary.write_text(text, encoding="utf-8")
    write_record(paths.report, _STAGE, c, list(dict.fromkeys((paths.map_raster, *got.used))))
    for line in got.left_out:
        print(f"left out: {line}")
    print(f"{len(warned)} warnings, {len(drawn)} figures")
    print(f"wrote {shown(paths.report)} ({paths.report.stat().st_size / 2**20:.1f} MiB)")


if __name__ == "__main__":
    run(main, Constants)
