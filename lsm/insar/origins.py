"""Where a sample comes from: the inventory, InSAR (a weak landslide), or the draw of non-landslides (an absence)."""

from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from lsm.inputs.rasters import open_raster
from lsm.inputs.samples import place_of
from lsm.inputs.tables.text_tables import Table, find_columns, frame_of
from lsm.run.artifacts import read_csv
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError

INVENTORY, INSAR, ABSENCE = "inventory", "insar", "absence"
STAGE = "augment_inventory.py"


class OriginConstants(Protocol):
    """The constants that `lsm.run.artifacts.check` reads."""

    REGION: str


def origins(paths: Paths, samples: dict, c: OriginConstants) -> tuple[np.ndarray, list[str]]:
    """The origin (samples,) of samples of stage 2, and notes.

    From the table of origins that stage 0 wrote. Where there is none, the landslides nearest to the InSAR points of
    Ts_<REGION>.csv, within a cell, are INSAR.
    samples  row, label (samples,) and xy (samples, 2). Raises InputError.
    """
    if paths.samples_origin.is_file():
        table = table_of_origins(paths, c)
        row = samples["row"]
        if len(table) <= row.max() or ((table["origin"].to_numpy()[row] == ABSENCE) != (samples["label"] == 0)).any():
            raise not_its_rows(paths)
        return table["origin"].to_numpy("<U9")[row], []
    out = np.where(samples["label"] == 1, INVENTORY, ABSENCE).astype("<U9")
    if not paths.insar_points.is_file():
        return out, [f"no InSAR points ({shown(paths.insar_points)}): every landslide counts as inventory"]
    seen = places_of(paths.insar_points)
    transform = open_raster(paths.composite, "put the terrain raster there").GetGeoTransform()
    landslides, cell = np.flatnonzero(samples["label"] == 1), max(transform[1], -transform[5])
    at, unmatched = nearest_to_seen(seen, samples["xy"], landslides, cell)
    out[at] = INSAR
    return out, [f"{unmatched} of {len(seen)} rows of {shown(paths.insar_points)} have no landslide within a cell and "
                 "are not used"] * (unmatched > 0)


def table_of_origins(paths: Paths, c: OriginConstants) -> pd.DataFrame:
    """The table of stage 0: row, origin, weight, a row for each row of the samples table. Raises InputError."""
    table = read_csv(paths.samples_origin, STAGE, c, ("origin", "weight"))
    weight = pd.to_numeric(table["weight"], errors="coerce")
    wrong = ~((weight >= np.finfo(np.float32).tiny) & (weight <= 1))  # the losses have them as float32
    if wrong.any():
        raise InputError(f"{shown(paths.samples_origin)}: column 'weight': expected more than 0 and 1 at most, found "
                         f"{table['weight'][wrong].iloc[0]}; run {STAGE} again")
    if not table["origin"].isin((INVENTORY, INSAR, ABSENCE)).all():
        raise InputError(f"{shown(paths.samples_origin)}: expected inventory, insar or absence for each sample; run "
                         f"{STAGE} again")
    return table.assign(weight=weight)


def weights(paths: Paths, label: np.ndarray, c: OriginConstants) -> np.ndarray:
    """The weight of every row of the samples table in the losses (rows,) float32, 1 without a table of origins; label
    (rows,). Raises InputError."""
    if not paths.samples_origin.is_file():
        return np.ones(len(label), np.float32)
    table = table_of_origins(paths, c)
    if len(table) != len(label) or ((table["origin"] == ABSENCE) != (label == 0)).any():
        raise not_its_rows(paths, len(label))
    return table["weight"].to_numpy(np.float32)


def not_its_rows(paths: Paths, rows: int = 0) -> InputError:
    """The refusal of a table of origins that is of another samples table."""
    return InputError(f"{shown(paths.samples_origin)}: expected a row for each of the {f'{rows} ' if rows else ''}rows "
                      f"of {shown(paths.samples)}, absence where its label is 0, found rows of another table; remove "
                      f"it, or run {STAGE} again")


def places_of(path: Path) -> np.ndarray:
    """X, Y (points, 2) of a table of InSAR points. Raises InputError."""
    table = Table(path)
    if missing := [name for name in ("X", "Y") if not find_columns(table.header, (name,))]:
        raise InputError(f"{shown(path)}: header: expected X, Y, found no {', '.join(missing)}; rename the columns of "
                         "the coordinates")
    xy = frame_of(table, [place_of(table, name) for name in ("X", "Y")])
    if not all(kind in "iuf" for kind in xy.dtypes.map(lambda dtype: dtype.kind)) or not np.isfinite(xy).all(axis=None):
        raise InputError(f"{shown(path)}: columns X, Y: expected numbers in every row, found others; correct the table")
    return xy.to_numpy(float)


def nearest_to_seen(seen: np.ndarray, xy: np.ndarray, rows: np.ndarray, within: float) -> tuple[np.ndarray, int]:
    """Which of the `rows` of xy (samples, 2) are nearest to a place seen (points, 2), at most `within` m away; and how
    many places have none."""
    if not len(rows) or not len(seen):
        return np.zeros(0, int), len(seen)
    distance, at = cKDTree(xy[rows]).query(seen)
    return np.unique(rows[at[distance <= within]]), int((distance > within).sum())
