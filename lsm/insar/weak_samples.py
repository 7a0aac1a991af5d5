"""Weak landslide labels as samples: their factors, their numbers as text, and what tells them from non-landslides."""

from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from osgeo import gdal
from sklearn.metrics import roc_auc_score

from lsm.inputs import grid_cells
from lsm.inputs.factor.class_words import other_word
from lsm.inputs.factor.definition import Factor
from lsm.inputs.layers import terrain_at, values_at
from lsm.inputs.rasters import TERRAIN, Composite, Grid, cell_of, centres, locate
from lsm.inputs.samples import STORED_ZERO, columns_of, count_rows, grid_chunks, labels_of
from lsm.inputs.tables.text_tables import Table
from lsm.insar import velocities
from lsm.insar.moving_slopes import Motion, PointTerrain, Sieve, find_moving, is_near, thin_points
from lsm.insar.rules import RuleConstants
from lsm.run.paths import shown
from lsm.run.progress import Progress
from lsm.run.settings import InputError


class WeakConstants(RuleConstants, Protocol):
    """The rules, and how many rows of the grid are in memory at once, as augment_inventory.py explains them."""

    GRID_ROWS: int


class RestConstants(Protocol):
    """How non-landslides are drawn, as prepare_region.py explains it."""

    RATIO: float
    STRATEGY: str
    BUFFER: float
    SEED: int


def table_as_text(path: Path, factors: tuple[Factor, ...], ending: tuple[str, ...]) -> pd.DataFrame:
    """The columns of a table that its reader has accepted, under their published names, as text: every digit stays.

    ending  the columns after the factors
    """
    table = Table(path)
    names, places = columns_of(table, factors, ending)
    text = next(table.frames(places, text=True)).set_axis(names, axis=1)
    if "label" in ending:
        text["label"] = labels_of(text["label"]).astype(int).astype(str)
    numbers = [name for name in text if name not in {f.name for f in factors if f.words}]
    text[numbers] = text[numbers].replace(",", ".", regex=True)  # decimal commas: the new table is separated by commas
    return text


def published_points(path: Path, factors: tuple[Factor, ...], positive: str) -> tuple[pd.DataFrame, Motion]:
    """A Ts table as samples (text) with label 1, none dropped, in the sign of this project.

    positive  what the table counts as positive, one of velocities.DIRECTIONS. Raises InputError.
    """
    velocity = [j for j, factor in enumerate(factors) if factor.zero_is_missing]
    if not velocity:
        raise InputError(f"{shown(path)}: expected a factor that holds the velocity (zero_is_missing) in FACTORS of "
                         "study_area.py, found none; give the points as insar_<REGION>.csv")
    if not count_rows(path):
        raise InputError(f"{shown(path)}: expected one row an InSAR point, found none; fill it or remove it")
    values = np.concatenate([v for v, _ in grid_chunks(path, factors, 10**6)])
    table = table_as_text(path, factors, ("X", "Y")).assign(label="1")
    for j in velocity:
        velocities.check_unit(values[:, j], path)
        values[:, j] = velocities.towards_satellite(values[:, j], positive)
        if positive == "away":
            table[factors[j].name] = table[factors[j].name].map(velocities.negated)
    measured = table[["X", "Y"]].assign(velocity=values[:, velocity[0]], cosine=np.nan, slope_velocity=np.nan)
    return table, Motion(Sieve(len(table)), measured, values, np.zeros(0, int))


def judged(c: WeakConstants, points: velocities.InsarPoints, composite: Composite, grid: Path,
           factors: tuple[Factor, ...], landslides: np.ndarray, path: Path) -> Motion:
    """The points after all rules of `find_moving`, with their factors.

    grid  the cells to predict, table or stack; landslides  (landslides, 2), of the inventory
    path  of the points, for messages
    Raises InputError.
    """
    terrain, inside = terrain_at(composite, points.xy)

    def factors_of(here: np.ndarray) -> np.ndarray:
        return factors_at(grid, factors, composite.grid, points.xy[here], points.velocity[here], terrain[:, here],
                          c.GRID_ROWS)

    return find_moving(points, PointTerrain(terrain, inside, composite.grid.crs), landslides, factors_of, c, path)


def at_rest(motion: Motion, landslides: np.ndarray, c: RestConstants, spacing: float, grid: Grid, folder: Path
            ) -> tuple[np.ndarray, list[str]]:
    """Places (n, 2) of points at rest that become non-landslides, RATIO for each weak landslide; and a note.

    With weak landslides alone, a place's label would follow from whether InSAR sees it, and the map would show where
    InSAR has points. So the non-landslides for them come from the same survey (Phillips et al. 2009, Ecological
    Applications 19, on absences of the same bias as the presences).
    landslides  (landslides, 2), of the inventory
    spacing     m, the least distance to landslides, weak ones too, and of each other
    folder      with the layers valid, 1 where every factor is known, and occupied, 1 in landslides and their polygons
    """
    xy = motion.measured[["X", "Y"]].to_numpy()
    weak, rest = xy[motion.sieve.left], xy[motion.rest]
    valid, occupied = (values_at(gdal.Open(str(folder / f"{name}.tif")), *cell_of(grid.geotransform, rest))[:, 0]
                       for name in ("valid", "occupied"))
    rest = rest[(valid == 1) & (occupied == 0)]
    away = max(spacing, c.BUFFER) if c.STRATEGY == "buffer" else spacing
    rest = rest[~is_near(rest, np.vstack([landslides, weak]), away)]
    rest = np.random.default_rng([c.SEED, 7]).permutation(rest)  # then of points near each other the first ones stay
    rest = rest[thin_points(rest, np.zeros(len(rest)), spacing)][:round(c.RATIO * len(weak))]
    return rest, [f"{len(rest):,} InSAR points at rest are non-landslides: RATIO for each weak landslide, as far as "
                  "there are such points"] * bool(len(weak))


def factors_at(path: Path, factors: tuple[Factor, ...], grid: Grid, xy: np.ndarray, velocity: np.ndarray,
               terrain: np.ndarray, rows: int) -> np.ndarray:
    """Factors (points, factors) of points: velocity as measured, terrain (4, points) as in composite.tif, the others
    from the cells to predict, `path` (table or stack, `rows` at a time), nan where it has none in a point's cell."""
    values = np.full((len(xy), len(factors)), np.nan, np.float32)
    bands, others = [name.lower() for name in TERRAIN], []
    for j, factor in enumerate(factors):
        band = next((bands.index(n.lower()) for n in (factor.name, *factor.aliases) if n.lower() in bands), None)
        if factor.zero_is_missing:
            values[:, j] = velocity
        elif band is not None:
            values[:, j] = terrain[band]
        else:
            others.append(j)
    if others:
        row, col = cell_of(grid.geotransform, xy)
        values[:, others] = nearest_rows(path, tuple(factors[j] for j in others), grid, row * grid.cols + col, rows)
    return values


def nearest_rows(path: Path, factors: tuple[Factor, ...], grid: Grid, cell: np.ndarray, rows: int) -> np.ndarray:
    """Factors (points, factors) of the grid's row in each point's cell (points,), a whole number row * cols + col; nan
    where the grid has none there. Of several rows in a cell the row nearest to its centre, of equals the first."""
    wanted, place = np.unique(cell, return_inverse=True)
    values, nearest = np.full((len(wanted), len(factors)), np.nan, np.float32), np.full(len(wanted), np.inf)
    bar = Progress(total=grid_cells.count(path), desc="grid", unit="row", unit_scale=True, delay=2)
    for chunk, xy in grid_cells.chunks(path, factors, rows):
        row, col, on = locate(grid.geotransform, (grid.rows, grid.cols), xy)
        own = np.where(on, row * grid.cols + col, -1)
        of_chunk = np.flatnonzero(np.isin(own, wanted))
        x, y = centres(grid.geotransform, row[of_chunk], col[of_chunk])
        distance = np.hypot(xy[of_chunk, 0] - x, xy[of_chunk, 1] - y)
        order = np.lexsort((distance, own[of_chunk]))
        found, first = np.unique(own[of_chunk][order], return_index=True)
        best, at = order[first], np.searchsorted(wanted, found)
        closer = distance[best] < nearest[at]
        nearest[at[closer]], values[at[closer]] = distance[best[closer]], chunk[of_chunk[best[closer]]]
        bar.update(len(xy))
    bar.close()
    return values[place]


def measured_samples(motion: Motion, factors: tuple[Factor, ...]) -> pd.DataFrame:
    """The points left as samples (text) with label 1."""
    left = motion.measured.iloc[motion.sieve.left]
    columns = {f.name: left["velocity"] if f.zero_is_missing else motion.factors[:, j] for j, f in enumerate(factors)}
    text = {name: [shortest_decimal(v) for v in np.asarray(values)] for name, values in (columns | {
        "X": left["X"], "Y": left["Y"]}).items()}
    for factor in (f for f in factors if f.words):
        of_code = (other_word(factor.words), *factor.words)
        text[factor.name] = [of_code[int(code)] for code in columns[factor.name]]
    return pd.DataFrame(text).assign(label="1")


def shortest_decimal(value) -> str:
    """The shortest decimal that reads back as `value`; zero as published tables store it."""
    return np.format_float_positional(value if value else value.dtype.type(STORED_ZERO), trim="-")


def separations(weak: np.ndarray, absent: np.ndarray, factors: tuple[Factor, ...]) -> list[tuple[str, float]]:
    """Of each factor the AUROC furthest from 0.5 with which it alone tells weak labels (n, factors) from absences.

    A category is taken code by code, a direction by its sine and cosine, a velocity with and without its sign.
    """
    label, out = np.repeat((1, 0), (len(weak), len(absent))), []
    for factor, v in zip(factors, np.concatenate([weak, absent]).T, strict=True):
        views = [v]
        if factor.kind == "categorical":
            views = [v == code for code in np.unique(v)]
        elif factor.kind == "circular":
            views = [np.where(v < 0, 0, turn(np.radians(v))) for turn in (np.sin, np.cos)]
        elif factor.zero_is_missing:
            views = [v, np.abs(v)]
        aurocs = [roc_auc_score(label, view) for view in views]
        out.append((factor.name, max(aurocs, key=lambda auroc: abs(auroc - 0.5))))
    return out
