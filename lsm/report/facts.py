"""A run in short: the boxes at the top of the report, and its table of the run."""

import numpy as np
from osgeo import gdal

from lsm.inputs.crs import crs_name
from lsm.learner.members import read_kinds
from lsm.learner.support.supports import MOVED
from lsm.maps import layer_tables
from lsm.report import tables
from lsm.report.map_layers import Frame
from lsm.report.sources import ReportConstants
from lsm.run.settings import counted


def size_of(dataset) -> str:
    """Rows, columns and cells of a raster, in words."""
    _, width, _, _, _, height = dataset.GetGeoTransform()
    return f"{dataset.RasterYSize:,} rows × {dataset.RasterXSize:,} columns of {width:.4g} × {-height:.4g} m"


def boxes(cells: int, size: str, frame: Frame, found: dict, held: dict | None, warnings: int) -> list[tuple]:
    """What a reader sees first: (name, number, explanation) each.

    cells  mapped; size  of the map in words; found  by the names of `sources.SOURCES`; held  as `tables.held_out` gives
    it
    """
    blocks, share = found["blocks_table"], _adapted(found["models"])
    out = [("Cells mapped", f"{cells:,}", "shown, of a decimated raster" if frame.step > 1 else size)]
    if blocks is not None:
        total, slid = int(blocks["samples"].sum()), int(blocks["landslides"].sum())
        out += [("Samples", f"{total:,}", counted(slid, "landslide")), ("Blocks", f"{len(blocks):,}",
                 f"{'own units, ' * ('unit' in blocks)}median {blocks['samples'].median():g} samples")]
    if len(share):
        without = f"; held-out AUROC {held['before']} without it" if held and not held["one_class"] else ""
        out.append(("Adaptation", f"{np.median(share):.2f}", f"median share of blocks; 1: fully adapted{without}"))
    if held:
        out.append(("Held-out AUROC", held["auroc"], f"95 % interval {held['interval']}; " * bool(held["interval"])
                    + f"{counted(held['blocks'], 'block')}, {counted(held['samples'], 'point')}"
                    + (f", all {held['one_class']}" if held["one_class"] else ": few" * held["few"])))
    return [*out, ("Warnings", f"{warnings}", "see below")]


def members_of_model(model: dict | None) -> int:
    """How many members the model has, 0 where it is not known."""
    return 0 if model is None else sum(kind.members for kind in read_kinds(model["kinds"]))


def of_run(made: dict, dataset: gdal.Dataset, forecast: str, breaks: list[float], provenance: dict, found: dict,
           prepared: dict, c: ReportConstants) -> list[tuple]:
    """The table of the run: (name, words) each.

    made  the map's record; dataset  the map; forecast  its FORECAST in words, "" for none; prepared  how the
    non-landslides were made, as `tables.preparation` gives it
    """
    model, share = found["model"], _adapted(found["models"])
    members = [] if model is None else [("Members", "; ".join(
        f"{kind}{', without X and Y' * (not kind.place)}" for kind in read_kinds(model["kinds"])))]
    adaptation = [] if not len(share) else [
        ("Share of adaptation", f"{layer_tables.share_in_words(share)} of {len(share):,} adapted blocks (0: "
         "intermediate model, 1: fully adapted); a click on the map tells each block's")]
    return [("Region", c.REGION), ("Recipe", made["recipe"]), ("Seed", made["seed"]), ("Grid", size_of(dataset)),
            ("Factors", ", ".join(f"{f.name} ({f.kind}, {f.unit})" for f in c.factors)),
            *[("Non-landslides", prepared["words"])] * bool(prepared["words"]),
            *[("FORECAST", f"True: {forecast}")] * bool(forecast), ("Blocks", tables.blocks_words(provenance)),
            *members, *adaptation, ("Coordinates", crs_name(dataset.GetProjection())),
            ("Classes", f"{c.BREAKS} breaks: {', '.join(f'{b:.3g}' for b in breaks)}"),
            ("Versions", ", ".join(f"{k} {v}" for k, v in provenance["versions"].items()))]


def _adapted(models: dict | None) -> np.ndarray:
    """The share of adaptation of each block that adapts, (blocks,); empty without models."""
    return np.empty(0) if models is None else models["adapted_share"][np.isin(models["state"], MOVED)]
