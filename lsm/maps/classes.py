"""The classes of a susceptibility map. Breaks between them are drawn once a region and kept, so that maps compare."""

import json
import re
from types import SimpleNamespace
from typing import Protocol

import jenkspy
import numpy as np
from osgeo import gdal

from lsm.inputs.rasters import known_strips
from lsm.run.artifacts import artifact, read_record, stopped
from lsm.run.paths import Paths
from lsm.run.settings import InputError, constants_class, defaults

NEARLY_ALL = 0.95  # of the cells in one class: such a map shows no differences
METHODS = ("fixed", "quantile", "equal", "natural")


class ClassConstants(Protocol):
    """The constants of the classes, as study_area.py explains them."""

    REGION: str
    SEED: int
    BREAKS: str
    CLASS_BREAKS: tuple[float, ...]
    CLASS_NAMES: tuple[str, ...]
    CLASS_COLOURS: tuple[str, ...]
    BREAKS_FROM: int


def check_constants(c: ClassConstants) -> None:
    """Refuses constants of the classes that cannot be used. Raises InputError."""
    if c.BREAKS not in METHODS:
        raise InputError(f"BREAKS={c.BREAKS}: expected one of {', '.join(METHODS)}")
    if len(c.CLASS_NAMES) < 2 or len(c.CLASS_COLOURS) != len(c.CLASS_NAMES):
        raise InputError(f"CLASS_COLOURS={c.CLASS_COLOURS}: expected a colour for each of {len(c.CLASS_NAMES)} classes")
    for colour in c.CLASS_COLOURS:
        if not re.fullmatch("#[0-9a-fA-F]{6}", colour):
            raise InputError(f"CLASS_COLOURS: expected colours like #d7191c, found {colour!r}; write it so")
    rising = list(c.CLASS_BREAKS) == sorted(set(c.CLASS_BREAKS)) and all(0 < b < 1 for b in c.CLASS_BREAKS)
    if len(c.CLASS_BREAKS) != len(c.CLASS_NAMES) - 1 or not rising:
        raise InputError(f"CLASS_BREAKS={c.CLASS_BREAKS}: expected {len(c.CLASS_NAMES) - 1} rising probabilities "
                         "between 0 and 1")
    if c.BREAKS_FROM < 100:
        raise InputError(f"BREAKS_FROM={c.BREAKS_FROM}: expected 100 or more")


def chosen(c: ClassConstants) -> list[str]:
    """NAME=value of the constants of the classes that are not what study_area.py has."""
    first = defaults(constants_class("figure.py"))
    return [f"{name}={getattr(c, name)}" for name in ClassConstants.__annotations__
            if name not in ("REGION", "SEED") and getattr(c, name) != first[name]]


def breaks_of(paths: Paths, dataset: gdal.Dataset, stage: str, c: ClassConstants) -> tuple[list[float], bool]:
    """The breaks between the classes of a region's maps, and whether they come from an earlier run.

    Breaks in tmp/<REGION>_breaks.json that were drawn with the same BREAKS are used again, also for another map.
    Otherwise `stage` draws them from `dataset`, the map of probabilities, and writes them there. Raises InputError.
    """
    check_constants(c)
    if paths.breaks.is_file() and not stopped(paths.breaks):
        read_record(paths.breaks, f"{stage} after removing it")
        kept = json.loads(paths.breaks.read_text())
        if (kept["method"] == c.BREAKS and len(kept["breaks"]) == len(c.CLASS_NAMES) - 1
                and (c.BREAKS != "fixed" or kept["breaks"] == list(c.CLASS_BREAKS))):
            return kept["breaks"], True
    sample = np.empty(0)
    if c.BREAKS != "fixed":
        sample = sample_of(dataset, c.BREAKS_FROM, np.random.default_rng(c.SEED), extremes=c.BREAKS != "quantile")
    breaks = class_breaks(c.BREAKS, c.CLASS_BREAKS, len(c.CLASS_NAMES), sample)
    made_by = SimpleNamespace(**{name: getattr(c, name) for name in ClassConstants.__annotations__})
    with artifact(paths.breaks, stage, made_by, [paths.map_raster]) as temporary:
        temporary.write_text(json.dumps({"method": c.BREAKS, "breaks": breaks}, indent=1) + "\n")
    return breaks, False


def dominant_class(cells: np.ndarray, c: ClassConstants) -> str:
    """Says which class holds nearly all cells, where one does, or ""; cells: (classes,) their number."""
    share = cells / max(cells.sum(), 1)
    if share.max() < NEARLY_ALL:
        return ""
    return f"{share.max():.1%} of the cells are in one class, {c.CLASS_NAMES[share.argmax()]}"


def sample_of(dataset: gdal.Dataset, size: int, rng: np.random.Generator, extremes: bool = True) -> np.ndarray:
    """Values of the first band, float64, rising: all of them, or `size` drawn with replacement where there are more.

    extremes  whether the drawn values come with the least and the largest value of each strip; quantiles would move
    """
    counts = [len(values) for values in known_strips(dataset)]
    total = sum(counts)
    asked = np.arange(total) if total <= size else np.sort(rng.integers(0, total, size))
    first, parts = 0, [np.empty(0)]
    for values, count in zip(known_strips(dataset), counts, strict=True):
        parts.append(values[asked[np.searchsorted(asked, first):np.searchsorted(asked, first + count)] - first])
        if total > size and count and extremes:
            parts.append(np.array([values.min(), values.max()]))
        first += count
    return np.sort(np.concatenate(parts).astype(np.float64))


def class_breaks(method: str, fixed: tuple[float, ...], classes: int, sample: np.ndarray) -> list[float]:
    """The classes - 1 breaks between classes; a value on a break belongs to the class above.

    method  "fixed": as given; "quantile": equally many values in each class; "equal": classes of equal width;
            "natural": least squared differences within classes (Fisher 1958; Jenks 1977)
    sample  (values,) rising. Raises InputError where it holds too few different values.
    """
    if method == "fixed":
        return list(fixed)
    if method == "quantile":
        breaks = np.quantile(sample, np.arange(1, classes) / classes) if len(sample) else []
    elif method == "equal":
        breaks = np.linspace(sample[0], sample[-1], classes + 1)[1:-1] if len(sample) else []
    elif len(np.unique(sample)) >= classes:
        last = np.asarray(jenkspy.jenks_breaks(sample, n_classes=classes)[1:-1])  # largest value of each class
        breaks = (last + sample[np.searchsorted(sample, last, "right")]) / 2
    else:
        breaks = []
    if len(breaks) != classes - 1 or len(np.unique(breaks)) < classes - 1:
        raise InputError(f"BREAKS={method}: expected {classes - 1} different breaks from the map's values, found "
                         f"{[round(float(b), 6) for b in breaks]}; set BREAKS=fixed")
    return [float(b) for b in breaks]
