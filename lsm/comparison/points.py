"""The points of the comparison: labelled samples and cells of the grid, and their roles by protocol and seed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from lsm.blocks.slic import block_of_cells
from lsm.comparison import splits
from lsm.inputs import grid_cells
from lsm.inputs.rasters import cell_of, read_band, read_composite
from lsm.inputs.samples import Factor, columns_of
from lsm.inputs.text_tables import Table, numbers
from lsm.run.artifacts import read_csv, read_npz, write_csv
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError

CHUNK = 100_000  # rows of the grid in memory at once


@dataclass(frozen=True)
class Points:
    """Samples, then cells of the grid (label -1, origin "cell"). The first axis of every array is the points.

    blocks  how many there are, also those without any point
    """

    sample: np.ndarray
    factors: np.ndarray
    xy: np.ndarray
    label: np.ndarray
    block: np.ndarray
    origin: np.ndarray
    blocks: int


class PointConstants(Protocol):
    """The constants of compare_methods.py that `read_points` reads."""

    REGION: str
    SEED: int
    AREA_CELLS: int


class SplitConstants(Protocol):
    """The constants of compare_methods.py that `all_splits` reads."""

    SEED: int
    SEEDS: int
    MIN_SAMPLES: int
    HELD_OUT_SHARE: float
    DEVELOPMENT_SHARE: float
    SQUARES: tuple[int, ...]
    FOLDS: int


def read_points(paths: Paths, described: tuple[Factor, ...], c: PointConstants) -> Points:
    """The samples of stage 2, each place and each row of factors once, and cells drawn from the grid.

    Raises InputError.
    """
    samples = read_npz(paths.tasks, "scene_sampling.py", c)
    every = np.arange(len(samples["label"]))
    same = splits.repeats(samples["factors"], every)
    kept = np.setdiff1d(every, same)
    print(f"{len(kept):,} samples, each at a place of its own (stage 2 dropped repeated places); {len(same)} more "
          "repeat the factors of another and are left out")
    part = {name: samples[name][kept] for name in ("row", "factors", "xy", "label", "block")}
    origin = origins(paths, part, c)
    counts = dict(zip(*np.unique(origin, return_counts=True), strict=True))
    print(", ".join(f"{n:,} {name}" for name, n in counts.items()))
    cell_factors, cell_xy, cell_block = draw_cells(paths, described, c)
    n = len(cell_xy)
    return Points(np.append(part["row"], np.full(n, -1)), np.concatenate([part["factors"], cell_factors]),
                  np.concatenate([part["xy"], cell_xy]), np.append(part["label"].astype(np.int32), np.full(n, -1)),
                  np.append(part["block"], cell_block), np.append(origin, np.full(n, "cell")),
                  len(samples["centre_row"]))


def origins(paths: Paths, samples: dict, c: PointConstants) -> np.ndarray:
    """inventory, insar or absence for every sample (samples,), by the table of origins, or by the table of InSAR points
    where there is no table of origins."""
    out = np.where(samples["label"] == 1, "inventory", "absence").astype("<U9")
    if paths.samples_origin.is_file():
        table = read_csv(paths.samples_origin, "augment_inventory.py", c, ("origin",))
        right = table["origin"].isin(("inventory", "insar", "absence")).all()
        if not right or len(table) <= samples["row"].max(initial=-1):
            raise InputError(f"{shown(paths.samples_origin)}: expected inventory, insar or absence for each sample; "
                             "run augment_inventory.py again")
        return table["origin"].to_numpy("<U9")[samples["row"]]
    if paths.insar_points.is_file():
        table = Table(paths.insar_points)
        seen = numbers(next(table.frames(columns_of(table, (), ("X", "Y"))[1])), table.separator).to_numpy()
        place = {tuple(p) for p in seen}
        out[[tuple(p) in place and y == 1 for p, y in zip(samples["xy"], samples["label"], strict=True)]] = "insar"
    else:
        print(f"{shown(paths.insar_points)} is missing: every landslide counts as inventory")
    return out


def draw_cells(paths: Paths, described: tuple[Factor, ...], c: PointConstants
               ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Factors, xy and block of c.AREA_CELLS random cells of the grid; cells outside every block are left out."""
    rng = np.random.default_rng([c.SEED, 3])
    wanted = np.sort(rng.permutation(grid_cells.count(grid_cells.grid_of(paths)))[:c.AREA_CELLS])
    parts, first = [], 0
    for rows, _, outside in grid_rows(paths, described):
        here = wanted[(wanted >= first) & (wanted < first + len(outside))] - first
        here = here[~outside[here]]
        parts.append((rows.factors[here], rows.xy[here], rows.block[here]))
        first += len(outside)
    return tuple(np.concatenate(values) for values in zip(*parts, strict=True))


def grid_rows(paths: Paths, described: tuple[Factor, ...]) -> Iterator[tuple[splits.Rows, tuple, np.ndarray]]:
    """Every cell of the grid in its block, CHUNK at a time: rows to predict, their (row, col) on the raster of blocks,
    and (rows,) bool which of them lie outside every block and have the nearest block instead."""
    labels, transform = read_band(paths.blocks), read_composite(paths.composite).geotransform
    with np.load(paths.tasks, allow_pickle=False) as tasks:
        centres = np.column_stack([tasks["centre_row"], tasks["centre_col"]])
    for factors, xy in grid_cells.chunks(grid_cells.grid_of(paths), described, CHUNK):
        row, col = cell_of(transform, xy)
        block, outside = block_of_cells(labels, row, col, centres)
        yield splits.Rows(factors, xy, block), (row, col), outside


def all_splits(points: Points, c: SplitConstants) -> dict[tuple[str, int], np.ndarray]:
    """The role (points,) int8 of every point under each (protocol, seed). A cell is query where its block or square is
    held out. Raises InputError."""
    sample = points.label >= 0
    block, xy = points.block[sample], points.xy[sample]
    eligible = splits.eligible_blocks(block, c.MIN_SAMPLES)
    shuffled = np.random.default_rng([c.SEED, 0]).permutation(eligible)
    development = shuffled[:round(c.DEVELOPMENT_SHARE * len(eligible))]
    held_out = round(c.HELD_OUT_SHARE * len(eligible))
    pools = {"": np.setdiff1d(eligible, development), "development_": development}
    if min(map(len, pools.values())) < held_out or not held_out:
        raise InputError(f"HELD_OUT_SHARE={c.HELD_OUT_SHARE} of {len(eligible)} blocks: expected 1 or more, and no "
                         f"more than the {len(development)} of DEVELOPMENT_SHARE and the others; change either")
    out = {}
    for prefix, pool in pools.items():
        for name, cut in (("published", "random"), ("spatial", "line")):
            for seed in range(1, c.SEEDS + 1):  # the same blocks under both cuts
                role = splits.few_shot(block, xy, c.MIN_SAMPLES, np.sort(pool), held_out, cut,
                                       np.random.default_rng([c.SEED, 1, seed]))
                held = np.unique(block[role == splits.QUERY])
                cell_role = np.where(np.isin(points.block[~sample], held), splits.QUERY, splits.UNUSED)
                out[prefix + name, seed] = np.append(role, cell_role).astype(np.int8)
    for seed in range(1, c.SEEDS + 1):
        role = out["published", seed]
        taught = np.isin(role, (splits.TRAIN, splits.SUPPORT))
        out["augmentation", seed] = np.where(taught & (points.origin == "insar"), splits.UNUSED, role).astype(np.int8)
    for size in c.SQUARES:
        fold = splits.squares(points.xy, sample, size, c.FOLDS, np.random.default_rng([c.SEED, 2, size]))
        for k in range(c.FOLDS):
            outside = np.where(sample, splits.TRAIN, splits.UNUSED)
            out[f"blocked {size / 1000:g} km", k + 1] = np.where(fold == k, splits.QUERY, outside).astype(np.int8)
    return out


def write_splits(path: Path, points: Points, roles: dict, made: tuple) -> None:
    """Writes the table of roles, a column for each protocol and seed; made: stage, constants, inputs."""
    sample = points.label >= 0
    table = pd.DataFrame({"sample": points.sample, "block": points.block, "x": points.xy[:, 0], "y": points.xy[:, 1],
                          "label": points.label, "origin": points.origin}
                         | {f"{name} {seed}": np.array(splits.ROLES)[role] for (name, seed), role in roles.items()})
    write_csv(path, table[sample], *made)
