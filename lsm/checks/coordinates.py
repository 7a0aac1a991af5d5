"""Whether the decimals of coordinates tell landslides from non-landslides: then the two were digitised differently."""

import numpy as np
import pandas as pd

from lsm.checks.finding import Finding
from lsm.inputs.rasters import Raster, centres, locate
from lsm.region.absences import quick_score

LIMIT = 0.65   # AUROC above which the decimals are named
SQUARES = 5    # a side of the area: whole squares are predicted from the others
FEWEST = 50    # points of each class, below which chance alone may reach LIMIT
DRAWN = 0.95   # share of a class that lies at centres of cells, from which the class counts as drawn there
OFF = 0.002    # m off a centre, as tables hold X and Y with three decimals


def of_decimals(table: pd.DataFrame, file: str, raster: Raster | None) -> list[Finding]:
    """A finding where X mod 1 and Y mod 1 alone predict the labels of whole squares; table has X, Y (m) and label.

    In order where one class lies at the centres of the cells of raster (None: unknown): prepare_region.py puts there
    what it draws. No finding where one of these columns holds something that its reader refuses.
    """
    if not (table[["X", "Y"]].notna().all(axis=None) and table["label"].isin((0, 1)).all()):
        return []
    auroc = told_by_decimals(table[["X", "Y"]].to_numpy(float), table["label"].to_numpy(int))
    if not auroc > LIMIT:
        return []
    told = (f"the decimals of X and Y alone tell landslides from non-landslides in whole squares at AUROC {auroc:.2f}: "
            "the ")
    for label, name in enumerate(("non-landslides", "landslides")) if raster is not None else ():
        if _at_centres(table.loc[table["label"] == label, ["X", "Y"]].to_numpy(float), raster) > DRAWN:
            return [Finding("coordinates", file, "ok", f"{told}{name} lie at centres of cells, where points are drawn; "
                            "no method of compare_methods.py sees decimals")]
    return [Finding("coordinates", file, "warning", f"{told}two were digitised differently",
                    "a model that is given X and Y may learn this; round X and Y of all points alike, for instance to "
                    "whole metres or to centres of cells")]


def told_by_decimals(xy: np.ndarray, label: np.ndarray) -> float:
    """The `quick_score` of xy mod 1 (points, 2), label (points,); nan where there are too few points to say."""
    if min(np.bincount(label, minlength=2)) < FEWEST:
        return np.nan
    decimals = np.column_stack([xy % 1, np.round(xy % 1, 6) == 0])
    place = (xy - xy.min(axis=0)) / np.maximum(np.ptp(xy, axis=0), 1)
    return quick_score(decimals, label, place, SQUARES, seed=0)


def _at_centres(xy: np.ndarray, raster: Raster) -> float:
    """Share of points xy (n, 2) that lie at the centre of a cell."""
    row, col, _ = locate(raster.geotransform, raster.valid.shape, xy)
    return float((np.abs(xy - np.column_stack(centres(raster.geotransform, row, col))) < OFF).all(axis=1).mean())
