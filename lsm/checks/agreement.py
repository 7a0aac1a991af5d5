"""Whether samples hold what the grid holds at the same places: other units or codes make the map meaningless, and no
score of the samples shows it."""

from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from lsm.checks.finding import Finding
from lsm.inputs import grid_cells
from lsm.inputs.rasters import Raster, locate
from lsm.inputs.samples import Factor

FEWEST = 30   # samples with a cell of the grid, below which chance may tell
NEAR = 0.25   # of the interquartile range: a median difference as large as samples of finer layers show
ALIKE = 0.5   # least share of samples that hold the class of their cell
UNLIKE, LIKE = 0.3, 0.7  # rank correlation below which the two have little to do with each other, and above which
#                          they are one thing, perhaps in two units
SAME_UNIT = 0.8, 1.25    # ratio of samples to grid (median): the least and the most in one unit


def values_of_cells(path: Path, factors: tuple[Factor, ...], raster: Raster, xy: np.ndarray, rows: int) -> np.ndarray:
    """The grid's factors (places, factors) in the cells of composite.tif that places xy (places, 2) lie in, nan where
    the grid has none; reads the whole grid, `rows` rows at a time. Raises InputError as its reader does."""
    shape = raster.valid.shape
    row, col, there = locate(raster.geotransform, shape, np.nan_to_num(xy, nan=-1e12).clip(-1e12, 1e12))
    cells, of_place = np.unique(np.where(there, row * shape[1] + col, -1), return_inverse=True)
    found = np.full((len(cells), len(factors)), np.nan)
    for values, places in grid_cells.chunks(path, factors, rows):
        row, col, there = locate(raster.geotransform, shape, places)
        cell = np.where(there, row * shape[1] + col, -2)
        at = np.searchsorted(cells, cell).clip(max=len(cells) - 1)
        same = cells[at] == cell
        found[at[same]] = values[same]
    return found[of_place.ravel()]


def of_agreement(of_samples: np.ndarray, of_grid: np.ndarray, factors: tuple[Factor, ...], file: str) -> list[Finding]:
    """Findings on factors whose samples and grid differ; of_samples, of_grid (samples, factors), nan where unknown;
    file  that of the samples."""
    findings = []
    for factor, a, b in zip(factors, of_samples.T, of_grid.T, strict=True):
        both = np.isfinite(a) & np.isfinite(b)
        if factor.zero_is_missing:
            both &= (a != 0) & (b != 0)
        elif factor.kind == "circular":
            both &= (a >= 0) & (b >= 0)
        if both.sum() >= FEWEST:
            findings += _of_factor(factor, a[both], b[both], file)
    return findings or [Finding("alignment", file, "ok", "samples hold what the grid holds at their places")]


def _of_factor(factor: Factor, a: np.ndarray, b: np.ndarray, file: str) -> list[Finding]:
    """The finding on one factor, of samples a (samples,) and the grid b (samples,), [] where the two agree."""
    if factor.kind == "categorical":
        alike = float((a == b).mean())
        found = f"{factor.name}: {1 - alike:.0%} of the samples hold another class than the grid at their places"
        return [Finding("units", file, "error", found, "number the classes alike in samples and grid")] * (
            alike < ALIKE)
    apart = np.abs(a - b) if factor.kind != "circular" else np.abs((a - b + 180) % 360 - 180)
    width = 180.0 if factor.kind == "circular" else float(np.subtract(*np.quantile(b, (0.75, 0.25))))
    if np.median(apart) <= NEAR * width or np.ptp(a) == 0 or np.ptp(b) == 0:
        return []
    ranks = spearmanr(a, b).statistic
    ratio = float(np.median(a[b != 0] / b[b != 0]))
    if factor.kind != "circular" and ranks > LIKE and not SAME_UNIT[0] < ratio < SAME_UNIT[1]:
        return [Finding("units", file, "error", f"{factor.name} of the samples is {ratio:.3g} times that of the grid "
                        "at their places (median)", "write both in one unit")]
    if factor.kind == "circular" or ranks < UNLIKE:
        return [Finding("alignment", file, "warning", f"{factor.name} of the samples has little to do with the grid at "
                        f"their places (median difference {np.median(apart):.3g})",
                        "take both from one layer, in one CRS and unit")]
    return []
