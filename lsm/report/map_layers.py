"""The map of the report: pictures of rasters, and the numbers that answer a click, both small enough to embed."""

import base64
import io
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageColor

from lsm.explanation.ranking import EXPLAINED, effect
from lsm.maps import styles_qgis
from lsm.maps.cartography import dimmed, named_classes, read_decimated, shaded
from lsm.maps.classes import ClassConstants
from lsm.report.sources import ReportConstants
from lsm.report.tables import rounded
from lsm.run.artifacts import check
from lsm.run.paths import shown
from lsm.run.settings import InputError

STEPS = 65_534  # between the smallest and the largest number of a raster; 65535 stands for none
MORE = 2**32 - 2  # of whole numbers that need more steps, such as numbers of many blocks; 2**32 - 1 stands for none
GREYS = 40      # steps of the hill shading


@dataclass(frozen=True)
class Layer:
    """A picture on the map: key, name, picture (data URI), legend ([colour, label] for each line), what it means."""

    key: str
    name: str
    picture: str
    legend: list
    about: str


@dataclass(frozen=True)
class Frame:
    """The cells of all pictures and numbers: rows, cols, extent (west, east, south, north) in metres.

    step  one of step x step cells of the raster is read; 1: the raster is not decimated
    """

    rows: int
    cols: int
    extent: tuple[float, float, float, float]
    step: float


def read(path: Path, largest: int, frame: Frame | None = None) -> tuple:
    """A raster's first band (rows, cols), where it is known (rows, cols), its frame and the dataset.

    Cells are never averaged. frame  what the frame must be. Raises InputError.
    """
    values, known, extent, dataset = read_decimated(path, largest, average=False)
    found = Frame(*values.shape, extent, max(1, dataset.RasterXSize / largest, dataset.RasterYSize / largest))
    if frame and found != frame:
        raise InputError(f"{shown(path)}: expected the grid of the map, {frame}, found {found}; make it again")
    return values, known, found, dataset


def box(known: np.ndarray) -> list[int]:
    """First row, last row + 1, first column, last column + 1 of the known cells (rows, cols)."""
    row, col = (np.flatnonzero(known.any(axis=axis)) for axis in (1, 0))
    return [int(row[0]), int(row[-1]) + 1, int(col[0]), int(col[-1]) + 1]


def packed(values: np.ndarray, known: np.ndarray) -> dict:
    """Numbers (rows, cols) for the page: low + scale * uint16, 65535 where not known, deflated, in base64. Whole ones
    come back exactly, in uint32 where they need more."""
    low = float(values[known].min()) if known.any() else 0.0
    span, whole = float(values[known].max()) - low if known.any() else 0.0, values.dtype.kind in "iu"
    most, bits = (MORE, 32) if whole and span > STEPS else (STEPS, 16)
    scale = 1.0 if whole and span <= most else span / most or 1.0
    steps = np.full(values.shape, most + 1, f"<u{bits // 8}")
    steps[known] = np.round((values[known].astype(np.float64) - low) / scale)
    return {"low": low, "scale": scale, "bits": bits, "data": deflated(steps)}


def deflated(values: np.ndarray) -> str:
    """The bytes of an array, deflated (zlib), in base64."""
    return base64.b64encode(zlib.compress(values.tobytes(), 9)).decode("ascii")


def picture(index: np.ndarray, colours: list[str]) -> str:
    """A PNG as data URI; index (rows, cols): 0 shows nothing, i the colour number i from 1."""
    image = Image.fromarray(index.astype(np.uint8), "P")
    image.putpalette([part for colour in ("#ffffff", *colours) for part in ImageColor.getrgb(colour)])
    out = io.BytesIO()
    image.save(out, "PNG", transparency=0, optimize=True)
    return uri("png", out.getvalue())


def uri(kind: str, content: bytes) -> str:
    """Bytes of a picture as data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def ramp(colours: tuple[str, ...], count: int) -> list[str]:
    """`count` colours that run evenly through `colours`."""
    stops = np.array([ImageColor.getrgb(colour) for colour in colours], float)
    at = np.linspace(0, len(stops) - 1, count)
    mixed = np.stack([np.interp(at, np.arange(len(stops)), band) for band in stops.T], axis=1)
    return ["#{:02x}{:02x}{:02x}".format(*np.round(rgb).astype(int)) for rgb in mixed]


def class_layer(p: np.ndarray, known: np.ndarray, breaks: list[float], c: ClassConstants) -> tuple[Layer, np.ndarray]:
    """The layer of classes, and the class (rows, cols) of every cell from 1, 0 where there is none. The highest class
    comes first in the legend, as in the figures."""
    index = np.where(known, 1 + np.digitize(p, breaks), 0).astype(np.uint8)
    edges, total = [0, *breaks, 1], max(int(known.sum()), 1)
    shares = np.bincount(index.ravel(), minlength=len(breaks) + 2)[1:] / total
    legend = [[colour, f"{name}, {edges[i]:.3g} to {edges[i + 1]:.3g} ({100 * shares[i]:.1f} % of cells)"]
              for i, (name, colour) in enumerate(zip(c.CLASS_NAMES, c.CLASS_COLOURS, strict=True))]
    return Layer("class", "Class", picture(index, list(c.CLASS_COLOURS)), legend[::-1],
                 "Landslide probability in classes. A cell on a break belongs to the class above."), index


def probability_layer(p: np.ndarray, known: np.ndarray, whose: str, c: ClassConstants) -> Layer:
    """The layer of probabilities, running from 0 to 1; whose: by which models, in words."""
    colours = ramp(c.CLASS_COLOURS, 250)
    index = np.where(known, 1 + np.clip(np.floor(p * 250), 0, 249), 0)
    legend = [[colours[round(v * 249)], f"{v:g}"] for v in (1, 0.75, 0.5, 0.25, 0)]
    return Layer("probability", "Probability", picture(index, colours), legend,
                 f"Landslide probability from the cell's own factors, by {whose}.")


def stepped(key: str, name: str, values: np.ndarray, known: np.ndarray, steps: list, about: str) -> Layer:
    """A layer of numbers in steps: (upper limit, colour, label) each, the last limit inf."""
    limits, colours, labels = zip(*steps, strict=True)
    index = np.where(known, 1 + np.digitize(values, limits, right=True), 0)
    return Layer(key, name, picture(index, list(colours)), [list(x) for x in zip(colours, labels, strict=True)], about)


def raster_of(path: Path, stage: str, frame: Frame, c: ReportConstants) -> tuple:
    """What `read` returns for a raster of this run, which must have the map's frame, and its record. Raises InputError.
    """
    record = check(path, stage, c)
    return *read(path, c.LARGEST, frame), record


def uncertainty(path: Path, frame: Frame, c: ReportConstants) -> tuple[Layer, dict, None]:
    """The layer of uncertainty, in the steps and colours of its record, its numbers for the page, and no threshold."""
    values, known, _, _, record = raster_of(path, "export_gis.py", frame, c)
    steps, colours = record["constants"].get("SPREADS"), record["constants"].get("SPREAD_COLOURS")
    if not steps or not colours:
        raise InputError(f"{shown(path)}: expected SPREADS in its record, found none; run export_gis.py again")
    layer = stepped("uncertainty", "Uncertainty", values, known, styles_qgis.steps_of_uncertainty(steps, colours),
                    "Standard deviation of probability over the few networks of the model. Large: they disagree. "
                    "Small: they agree, which does not mean that they are right.")
    return layer, packed(values, known), None


def applicability(path: Path, frame: Frame, c: ReportConstants) -> tuple[Layer, dict, float]:
    """The layer of applicability, in the colours of its record, its numbers for the page, and its threshold."""
    values, known, _, dataset, record = raster_of(path, "export_gis.py", frame, c)
    made, threshold = record["constants"], dataset.GetRasterBand(1).GetMetadataItem("THRESHOLD")
    if threshold is None or not {"INSIDE_COLOURS", "OUTSIDE_COLOURS"} <= set(made):
        raise InputError(f"{shown(path)}: expected a THRESHOLD and its colours, found none; run export_gis.py again")
    t = float(threshold)
    steps = styles_qgis.steps_of_applicability(t, made["INSIDE_COLOURS"], made["OUTSIDE_COLOURS"])
    layer = stepped("applicability", "Applicability", values, known, steps,
                    "How much a cell's factors differ from the factors of the nearest sample. Outside the area of "
                    "applicability no sample is like the cell, and the map guesses.")
    return layer, packed(values, known), t


def leading(path: Path, frame: Frame, c: ReportConstants) -> Layer:
    """The layer of leading factors, in the names and colours of its raster. Raises InputError."""
    values, known, _, dataset, _ = raster_of(path, "feature_permutation.py", frame, c)
    names, colours = named_classes(dataset, path)
    if known.any() and values[known].max() >= len(names):
        raise InputError(f"{shown(path)}: expected a name for each value, found {values[known].max()} without one; run "
                         "feature_permutation.py again")
    index = np.where(known, values, 0)
    count = np.bincount(index.ravel(), minlength=len(names))
    order = sorted(range(1, len(names)), key=lambda i: -count[i])
    share = 100 * count / max(count[1:].sum(), 1)
    legend = [[colours[i - 1], f"{names[i]} ({share[i]:.1f} % of cells)"] for i in order if count[i]]
    return Layer("leading", "Leading factor", picture(index, colours), legend,
                 "The factor with the largest mean |SHAP| in the cell's block.")


def shade_picture(path: Path, frame: Frame) -> str:
    """Hill shading on the cells of `frame`, white on flat ground, as data URI. Raises InputError."""
    _, shade, valid, extent, _ = shaded(path, max(frame.rows, frame.cols))
    if shade.shape != (frame.rows, frame.cols) or extent != frame.extent:
        raise InputError(f"{shown(path)}: expected heights on the grid of the map, found others; make it again")
    greys = [f"#{round(255 * grey):02x}" + 2 * f"{round(255 * grey):02x}" for grey in dimmed(np.linspace(0, 1, GREYS))]
    return picture(np.where(valid, 1 + np.round(shade * (GREYS - 1)), 0), greys)


def block_popups(blocks: pd.DataFrame, models: dict | None, scores: pd.DataFrame | None,
                 importance: pd.DataFrame | None, leaders: int) -> list[dict]:
    """What a click says about each block, with at most `leaders` leading factors."""
    out = [{"samples": int(row.samples), "landslides": int(row.landslides)} for row in blocks.itertuples()]
    if "unit" in blocks:
        for block, unit in zip(out, blocks["unit"], strict=True):
            block["unit"] = str(unit)
    if models is not None:
        of_models = zip(out, models["state"], models["support"], models["adapted_share"], strict=True)
        for block, state, (own, borrowed), share in of_models:
            block |= {"state": int(state), "own": int(own), "borrowed": int(borrowed), "share": f"{share:.2f}"}
    if scores is not None:
        after = scores[(scores["adapted"] == "after") & (scores["block"].astype(str) != "all")]
        for row in after.itertuples():
            out[int(row.block)] |= {"auroc": rounded(row.auroc), "scored": int(row.samples)}
    if importance is not None:
        explained = importance[importance["state"].isin(EXPLAINED) & importance["rank"].notna()]
        for b, part in explained.groupby("block"):
            total = part["mean_abs_shap"].sum() or 1.0
            out[int(b)]["leaders"] = [
                [str(row.factor), "" if pd.isna(row.sign) else effect(row.factor, row.sign),
                 round(row.mean_abs_shap / total, 4)]
                for row in part.sort_values("rank").head(leaders).itertuples()]
    return out


def some_samples(samples: dict, most: int, rng: np.random.Generator) -> str:
    """X, Y and label of at most `most` samples, deflated; landslides come last, so that they are drawn on top."""
    rows = np.sort(rng.permutation(len(samples["label"]))[:most])
    rows = rows[np.argsort(samples["label"][rows], kind="stable")]
    return deflated(np.column_stack([samples["xy"][rows].round(1), samples["label"][rows]]).astype("<f8"))
