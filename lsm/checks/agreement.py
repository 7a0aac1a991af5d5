"""Whether samples hold what the grid holds at the same places: other units or codes make the map meaningless, and no
score of the samples shows it."""

from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from lsm.checks.finding import Finding, graded, relation, with_verb
from lsm.inputs import grid_cells
from lsm.inputs.factor.definition import Factor
from lsm.inputs.rasters import Raster, locate

FEWEST = 30   # samples with a cell of the grid, below which chance may tell
NEAR = 0.25   # of the interquartile range: a median difference as large as samples of finer layers show
ALIKE = 0.5   # least share of samples that hold the class of their cell
SOME = 10     # samples of a class, from which on most of them tell what the grid calls it
UNLIKE, LIKE = 0.3, 0.7  # rank correlation below which the two have little to do with each other, and above which
#                          they are one thing, perhaps in two units
SAME_UNIT = 0.8, 1.25    # ratio of samples to grid (median): the least and the most in one unit
AGAINST = -0.2  # rank correlation of velocities of samples and grid below which one has the other sign in part
EQUAL = 0.9   # share of samples equal to the grid in most factors: then they were read from it, and all should be
LACKING = 0.05  # share of samples without a row of the grid that goes unsaid


def values_of_cells(path: Path, factors: tuple[Factor, ...], raster: Raster, xy: np.ndarray, rows: int
                    ) -> tuple[np.ndarray, np.ndarray]:
    """The grid's factors (places, factors) in the cells of composite.tif that places xy (places, 2) lie in, nan where
    the grid has none; and how many rows of the grid lie in each cell (rows, cols), 255 at most. Reads the whole grid,
    `rows` rows at a time. Raises InputError as its reader does."""
    shape = raster.valid.shape
    row, col, there = locate(raster.geotransform, shape, np.nan_to_num(xy, nan=-1e12).clip(-1e12, 1e12))
    cells, of_place = np.unique(np.where(there, row * shape[1] + col, -1), return_inverse=True)
    found, seen = np.full((len(cells), len(factors)), np.nan), np.zeros(shape[0] * shape[1], np.uint8)
    for values, places in grid_cells.chunks(path, factors, rows):
        row, col, there = locate(raster.geotransform, shape, places)
        cell = np.where(there, row * shape[1] + col, -2)
        here, n = np.unique(cell[there], return_counts=True)
        seen[here] = np.minimum(seen[here] + n, 255)
        at = np.searchsorted(cells, cell).clip(max=len(cells) - 1)
        same = cells[at] == cell
        found[at[same]] = values[same]
    return found[of_place.ravel()], seen.reshape(shape)


def of_rows(seen: np.ndarray, raster: Raster, file: str) -> list[Finding]:
    """Whether the grid has one row in each cell with terrain; seen (rows, cols) as `values_of_cells` gives it."""
    twice, empty = int((seen > 1).sum()), float((seen[raster.valid] == 0).mean())
    return [graded("duplicates", file, "warning" if twice else "ok", f"{with_verb(twice, 'cell', 'hold')} several rows",
                   "keep one row a cell: the map shows one of them"),
            graded("nodata", file, "warning" if empty > LACKING else "ok",
                   f"{empty:.1%} of the cells with terrain have no row", "the map is empty there; add these cells")]


def of_agreement(of_samples: np.ndarray, of_grid: np.ndarray, factors: tuple[Factor, ...], file: str) -> list[Finding]:
    """What was compared, and findings on factors whose samples and grid differ; of_samples, of_grid (samples,
    factors), nan where unknown; file  the table of the samples."""
    there, pairs = np.isfinite(of_grid).any(axis=1), {}
    for factor, a, b in zip(factors, of_samples.T, of_grid.T, strict=True):
        both = np.isfinite(a) & np.isfinite(b)
        if factor.zero_is_missing:
            both &= (a != 0) & (b != 0)
        elif factor.kind == "circular":
            both &= (a >= 0) & (b >= 0)
        pairs[factor] = a[both], b[both]
    compared = {factor: pair for factor, pair in pairs.items() if len(pair[0]) >= FEWEST}
    findings = []
    if there.mean() < 1 - LACKING:
        findings.append(Finding(
            "alignment", file, "warning", f"{int(there.sum()):,} of {len(there):,} samples lie in a cell of the grid"
            + ": samples and grid were not compared" * (not compared),
            "bring both into one CRS, on the cells of composite.tif; a grid of the whole area has a row for each"))
    elif not compared:
        findings.append(Finding("alignment", file, "warning", f"{len(there):,} samples are too few to compare with the "
                                f"grid, {FEWEST} are needed", "look at units and codes of both at a few places"))
    if not compared:
        return findings
    left = [factor for factor in factors if factor not in compared]
    if left:
        needed = any(not factor.zero_is_missing for factor in left)
        findings.append(graded("alignment", file, "warning" if needed else "ok",
                               f"{', '.join(f.name for f in left)}: fewer than {FEWEST} samples have a value in both "
                               "samples and grid; not compared", "look at both at a few places"))
    equal = {factor: _equal(factor, *pair) for factor, pair in compared.items()}
    read_from_it = np.mean([share >= EQUAL for share in equal.values()]) > 0.5
    odd = [finding for factor, pair in compared.items()
           for finding in _of_factor(factor, *pair, read_from_it, file)
           or _of_unequal(factor, equal[factor], read_from_it, file)]
    ranks = {factor.name: spearmanr(*pair).statistic for factor, pair in compared.items()
             if factor.kind in ("continuous", "distance") and np.ptp(pair[0]) and np.ptp(pair[1])}
    least = f"; lowest rank correlation {min(ranks.values()):.2f} ({min(ranks, key=ranks.get)})" if ranks else ""
    return [*findings, *odd, Finding(
        "alignment", file, "ok", f"{len(next(iter(compared.values()))[0]):,} samples compared with the grid at their "
        f"places in {len(compared)} factors; {len(odd)} differ{least}")]


def _apart(factor: Factor, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How far samples a and the grid b (samples,) lie apart."""
    return np.abs(a - b) if factor.kind != "circular" else np.abs((a - b + 180) % 360 - 180)


def _equal(factor: Factor, a: np.ndarray, b: np.ndarray) -> float:
    """The share of samples a that are equal to the grid b (samples,), but for the rounding of tables."""
    return float((_apart(factor, a, b) <= 1e-5 * np.abs(b) + min(1e-4, 1e-3 * np.std(b))).mean())


def _of_unequal(factor: Factor, equal: float, read_from_it: bool, file: str) -> list[Finding]:
    """The finding on a factor that differs where most others are equal: a column of something else, or in part."""
    if not read_from_it or equal >= EQUAL or factor.zero_is_missing:  # a point's own velocity is not its cell's
        return []
    return [Finding("alignment", file, "warning", f"{factor.name}: {1 - equal:.0%} of the samples differ from the grid "
                    "at their places, where most factors are equal", "take both from one layer; look for rows that "
                    "were sorted, shifted or filled")]


def _of_classes(factor: Factor, a: np.ndarray, b: np.ndarray, file: str) -> list[Finding]:
    """The finding on classes, of samples a (samples,) and the grid b (samples,), [] where the two agree."""
    alike, other, sure = float((a == b).mean()), [], False
    for code in np.unique(a):
        codes, n = np.unique(b[a == code], return_counts=True)
        if n.sum() >= SOME and codes[n.argmax()] != code and n.max() > ALIKE * n.sum():
            other.append(f"{_class(factor, code)} is {_class(factor, codes[n.argmax()])} there")
            sure |= n.sum() >= FEWEST and n.max() > EQUAL * n.sum()
    if alike >= ALIKE and not other:
        return []
    found = f"{factor.name}: {1 - alike:.0%} of the samples hold another class than the grid at their places"
    named = f" ({', '.join(other[:3])}{', ...' * (len(other) > 3)})" * bool(other)
    return [Finding("units", file, "error" if alike < ALIKE or sure else "warning", found + named,
                    f"{'write' if factor.words else 'number'} the classes alike in samples and grid")]


def _class(factor: Factor, code: float) -> str:
    """A class as the tables write it: its word, or its code."""
    if not factor.words:
        return f"{code:g}"
    return repr(factor.words[int(code) - 1]) if code else "a word of the grid alone"


def _of_factor(factor: Factor, a: np.ndarray, b: np.ndarray, read_from_it: bool, file: str) -> list[Finding]:
    """The finding on one factor, of samples a (samples,) and the grid b (samples,), [] where the two agree;
    read_from_it: whether most factors are equal."""
    if factor.kind == "categorical":
        return _of_classes(factor, a, b, file)
    apart = _apart(factor, a, b)
    width = 180.0 if factor.kind == "circular" else float(np.subtract(*np.quantile(b, (0.75, 0.25))))
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return []
    ranks = spearmanr(a, b).statistic
    if factor.zero_is_missing and -LIKE <= ranks < AGAINST:
        return [Finding("units", file, "error", f"{factor.name}: samples and grid run against each other (rank "
                        f"correlation {ranks:.2f})", "some samples have the other sign; take both from one source")]
    if factor.kind != "circular" and ranks < -LIKE:
        return [Finding("units", file, "error", f"{factor.name} falls in the samples where it rises in the grid "
                        f"at their places (rank correlation {ranks:.2f})", "write both with one sign")]
    ratio = float(np.median(a[b != 0] / b[b != 0]))
    other_unit = factor.kind != "circular" and ranks > LIKE and not SAME_UNIT[0] < ratio < SAME_UNIT[1]
    if np.median(apart) <= NEAR * width and not (other_unit and factor.zero_is_missing):  # most points hardly move
        return []
    scale, shift = relation(a, b)
    if factor.kind != "circular" and ranks > LIKE and scale is None:
        return [Finding("units", file, "error", f"{factor.name} of the samples differs by {shift:+.4g} from the grid "
                        "at their places (median)", "an offset, or heights above another level: take both from one "
                        "layer")]
    if other_unit:
        return [Finding("units", file, "error", f"{factor.name} of the samples is {ratio:.3g} times as large as in "
                        "the grid at their places (median)", "write both in one unit")]
    if factor.kind == "circular" or ranks < UNLIKE:
        sure = bool(read_from_it) and not factor.zero_is_missing  # a point's own velocity is not its cell's
        return [Finding("alignment", file, "error" if sure else "warning", f"{factor.name} of the samples has little "
                        f"to do with the grid at their places (median difference {np.median(apart):.3g}"
                        + "; most factors are equal there)" * sure + ")" * (not sure),
                        "take both from one layer, in one CRS and unit; leave out columns that number rows or repeat "
                        "labels")]
    return []
