"""What the map of the report shows: pictures of rasters, and the numbers that answer a click, both small."""

import base64
import io
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import distance_transform_edt

from lsm.maps.cartography import hill_shade, read_decimated
from lsm.run.paths import shown
from lsm.run.settings import InputError

STEPS = 65_534  # of a number of the click between its smallest and largest; 65535 stands for none
GREYS = 40      # of the hill shading, in which 1 is white


@dataclass(frozen=True)
class Layer:
    """A picture on the map: its key and name, a data URI, [colour, label] a line of its legend, what it means."""

    key: str
    name: str
    picture: str
    legend: list = field(default_factory=list)
    about: str = ""


@dataclass(frozen=True)
class Frame:
    """The cells that pictures and numbers have: rows, cols, and their extent (west, east, south, north) in metres;
    step: cells of the raster a side of one of these, 1 where it is not decimated."""

    rows: int
    cols: int
    extent: tuple[float, float, float, float]
    step: float


def read(path: Path, largest: int, frame: Frame | None = None) -> tuple:
    """A raster's first band (rows, cols), where it is known, its frame and the dataset; never an average of cells.

    frame  the one it must have. Raises InputError.
    """
    values, known, extent, dataset = read_decimated(path, largest, average=False)
    dataset.GetRasterBand(1).GetMetadata()  # else GDAL does not look into the file beside it, where names are
    found = Frame(*values.shape, extent, max(1, dataset.RasterXSize / largest, dataset.RasterYSize / largest))
    if frame and found != frame:
        raise InputError(f"{shown(path)}: expected the grid of the map, {frame}, found {found}; make it again")
    return values, known, found, dataset


def box(known: np.ndarray) -> list[int]:
    """First row, last row + 1, first column, last column + 1 of what is known (rows, cols)."""
    row, col = (np.flatnonzero(known.any(axis=axis)) for axis in (1, 0))
    return [int(row[0]), int(row[-1]) + 1, int(col[0]), int(col[-1]) + 1]


def packed(values: np.ndarray, known: np.ndarray) -> dict:
    """Numbers (rows, cols) for the page: low + scale * uint16, 65535 where not known, deflated, in base64."""
    low = float(values[known].min()) if known.any() else 0.0
    span = float(values[known].max()) - low if known.any() else 0.0
    scale = 1.0 if values.dtype.kind in "iu" and span <= STEPS else span / STEPS or 1.0
    steps = np.full(values.shape, STEPS + 1, "<u2")
    steps[known] = np.round((values[known].astype(np.float64) - low) / scale)
    return {"low": low, "scale": scale, "data": deflated(steps)}


def deflated(values: np.ndarray) -> str:
    """The bytes of an array, deflated (zlib), in base64."""
    return base64.b64encode(zlib.compress(values.tobytes(), 9)).decode("ascii")


def picture(index: np.ndarray, colours: list[str]) -> str:
    """A PNG as data URI; index (rows, cols): 0 shows nothing, i the colour number i from 1."""
    image = Image.fromarray(index.astype(np.uint8), "P")
    rgb = [int(colour[i:i + 2], 16) for colour in ("#ffffff", *colours) for i in (1, 3, 5)]
    image.putpalette(rgb)
    out = io.BytesIO()
    image.save(out, "PNG", transparency=0, optimize=True)
    return uri("png", out.getvalue())


def uri(kind: str, content: bytes) -> str:
    """Bytes of a picture as data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def ramp(colours: tuple[str, ...], count: int) -> list[str]:
    """`count` colours that run through those given."""
    stops = np.array([[int(c[i:i + 2], 16) for i in (1, 3, 5)] for c in colours], float)
    at = np.linspace(0, len(stops) - 1, count)
    mixed = np.stack([np.interp(at, np.arange(len(stops)), band) for band in stops.T], axis=1)
    return ["#{:02x}{:02x}{:02x}".format(*np.round(rgb).astype(int)) for rgb in mixed]


def class_layer(p: np.ndarray, known: np.ndarray, breaks: list[float], c) -> tuple[Layer, np.ndarray]:
    """The layer of classes, and the class (rows, cols) of every cell from 1, 0 where there is none."""
    index = np.where(known, 1 + np.digitize(p, breaks), 0).astype(np.uint8)
    edges, total = [0, *breaks, 1], max(int(known.sum()), 1)
    shares = np.bincount(index.ravel(), minlength=len(breaks) + 2)[1:] / total
    legend = [[colour, f"{name}, {edges[i]:.3g} to {edges[i + 1]:.3g} ({100 * shares[i]:.1f} % of cells)"]
              for i, (name, colour) in enumerate(zip(c.CLASS_NAMES, c.CLASS_COLOURS, strict=True))]
    return Layer("class", "Class", picture(index, list(c.CLASS_COLOURS)), legend,
                 "Landslide probability in classes. A cell on a break belongs to the class above."), index


def probability_layer(p: np.ndarray, known: np.ndarray, c) -> Layer:
    """The layer of probabilities, running from 0 to 1."""
    colours = ramp(c.CLASS_COLOURS, 250)
    index = np.where(known, 1 + np.clip(np.floor(p * 250), 0, 249), 0)
    legend = [[colours[round(v * 249)], f"{v:g}"] for v in (0, 0.25, 0.5, 0.75, 1)]
    return Layer("probability", "Probability", picture(index, colours), legend,
                 "What the block's models make of the cell's own factors.")


def stepped(key: str, name: str, values, known, limits, colours, labels, about: str) -> Layer:
    """A layer of numbers in steps: a colour up to each of `limits`, one more above the last."""
    index = np.where(known, 1 + np.digitize(values, limits, right=True), 0)
    return Layer(key, name, picture(index, list(colours)), [list(x) for x in zip(colours, labels, strict=True)], about)


def leading_layer(values: np.ndarray, known: np.ndarray, band, path: Path) -> Layer:
    """The layer of leading factors, in the colours and names of its raster's `band`. Raises InputError."""
    names, palette = band.GetCategoryNames(), band.GetColorTable()
    if not names or palette is None or (known.any() and values[known].max() >= len(names)):
        raise InputError(f"{shown(path)}: expected names and colours of factors, found none; run "
                         "feature_permutation.py again")
    colours = ["#{:02x}{:02x}{:02x}".format(*palette.GetColorEntry(i)[:3]) for i in range(1, len(names))]
    index = np.where(known, values, 0)
    count = np.bincount(index.ravel(), minlength=len(names))
    order = sorted(range(1, len(names)), key=lambda i: -count[i])
    share = 100 * count / max(count[1:].sum(), 1)
    legend = [[colours[i - 1], f"{names[i]} ({share[i]:.1f} % of cells)"] for i in order if count[i]]
    return Layer("leading", "Leading factor", picture(index, colours), legend,
                 "The factor with the largest mean |SHAP| in the cell's block.")


def shade_picture(path: Path, frame: Frame) -> str:
    """Hill shading of heights on the cells of `frame`, white on flat ground, as data URI. Raises InputError."""
    heights, valid, extent, _ = read_decimated(path, max(frame.rows, frame.cols), average=True)
    if heights.shape != (frame.rows, frame.cols) or extent != frame.extent or not valid.any():
        raise InputError(f"{shown(path)}: expected heights on the grid of the map, found others; make it again")
    # Nodata takes the height of the nearest valid cell, so that coasts cast no shade.
    row, col = distance_transform_edt(~valid, return_distances=False, return_indices=True)
    west, east, south, north = extent
    shade = hill_shade(heights[row, col].astype(float), (east - west) / frame.cols, (north - south) / frame.rows)
    index = np.where(valid, 1 + np.round(shade * (GREYS - 1)), 0)
    return picture(index, ramp(("#808080", "#ffffff"), GREYS))
