"""The points of the comparison: labelled samples, and cells of the grid."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lsm.blocks.grid_parts import cells_of
from lsm.checks.one_sided import one_sided
from lsm.comparison import splits
from lsm.inputs import grid_cells
from lsm.inputs.factor.definition import Factor
from lsm.inputs.rasters import open_raster
from lsm.insar.origins import origins
from lsm.learner.support import dates
from lsm.run.artifacts import read_npz
from lsm.run.paths import Paths

CHUNK = 100_000  # rows of the grid in memory at once


@dataclass(frozen=True)
class Points:
    """Samples, then cells of the grid (label -1, origin "cell"). The first axis of every array is the points.

    blocks   how many there are, also those without any point
    year     of a landslide, nan where it is not known, and of every other point
    telling  (points,) bool: which hold a number that one class alone has (checks/one_sided.py)
    """

    sample: np.ndarray
    factors: np.ndarray
    xy: np.ndarray
    label: np.ndarray
    block: np.ndarray
    origin: np.ndarray
    blocks: int
    year: np.ndarray
    telling: np.ndarray


class PointConstants(Protocol):
    """The constants of compare_methods.py that `read_points` reads."""

    REGION: str
    SEED: int
    AREA_CELLS: int


def read_points(paths: Paths, described: tuple[Factor, ...], c: PointConstants) -> Points:
    """The samples of stage 2, each place and each row of factors once, and cells drawn from the grid.

    Raises InputError.
    """
    samples = read_npz(paths.tasks, "scene_sampling.py", c)
    every = np.arange(len(samples["label"]))
    same = splits.repeated_rows(samples["factors"], every)
    kept = np.setdiff1d(every, same)
    print(f"{len(kept):,} samples, each at a place of its own (stage 2 dropped repeated places); {len(same)} more "
          "repeat the factors of another and are left out")
    origin, note = origins(paths, samples, c)
    print(*note, sep="\n", end="\n" * bool(note))
    part = {name: samples[name][kept] for name in ("row", "factors", "xy", "label", "block")}
    origin = origin[kept]
    counts = dict(zip(*np.unique(origin, return_counts=True), strict=True))
    print(", ".join(f"{n:,} {name}" for name, n in counts.items()))
    told = one_sided(part["factors"], part["label"], described)
    telling = np.any(list(told.values()), axis=0) if told else np.zeros(len(kept), bool)
    if told:
        named = ", ".join(f"{described[j].name} = {number:g}" for j, number in told)
        print(f"{telling.sum():,} samples hold a number that one class alone has ({named}): they are easy")
    cell_factors, cell_xy, cell_block = cells_of_area(paths, described, c)
    n = len(cell_xy)
    return Points(np.append(part["row"], np.full(n, -1)), np.concatenate([part["factors"], cell_factors]),
                  np.concatenate([part["xy"], cell_xy]), np.append(part["label"].astype(np.int32), np.full(n, -1)),
                  np.append(part["block"], cell_block), np.append(origin, np.full(n, "cell")),
                  len(samples["centre_row"]), np.append(dates.years(paths, part, c), np.full(n, np.nan)),
                  np.append(telling, np.zeros(n, bool)))


def cells_of_area(paths: Paths, described: tuple[Factor, ...], c: PointConstants
                  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Factors, xy and block of c.AREA_CELLS random cells of the grid; cells outside every block are left out."""
    rng, count = np.random.default_rng([c.SEED, 3]), grid_cells.count(grid_cells.grid_of(paths))
    # Without a shuffle numpy holds at most 20 numbers for each that it draws, however many cells there are
    wanted = np.sort(rng.choice(count, min(c.AREA_CELLS, count), replace=False, shuffle=False))
    parts, first = [], 0
    for rows, _, outside in grid_rows(paths, described):
        here = wanted[(wanted >= first) & (wanted < first + len(outside))] - first
        here = here[~outside[here]]
        parts.append((rows.factors[here], rows.xy[here], rows.block[here]))
        first += len(outside)
    return tuple(np.concatenate(values) for values in zip(*parts, strict=True))


def grid_rows(paths: Paths, described: tuple[Factor, ...]) -> Iterator[tuple[splits.PredictedRows, tuple, np.ndarray]]:
    """Every cell of the grid in its block, CHUNK at a time: rows to predict, their (row, col) on the raster of blocks,
    which is read by windows, and (rows,) bool which of them lie outside every block and have the nearest block instead.
    """
    labels = open_raster(paths.blocks, "run scene_sampling.py again")
    with np.load(paths.tasks, allow_pickle=False) as tasks:
        centres = np.column_stack([tasks["centre_row"], tasks["centre_col"]])
    for factors, xy in grid_cells.chunks(grid_cells.grid_of(paths), described, CHUNK):
        row, col, block, outside, _ = cells_of(xy, labels, centres)
        yield splits.PredictedRows(factors, xy, block), (row, col), outside
