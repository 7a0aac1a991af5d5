"""Non-landslides: drawn by one of three strategies, and scored by a quick model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from osgeo import gdal
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from threadpoolctl import threadpool_limits

from lsm.inputs.layers import read_rows
from lsm.inputs.rasters import Grid

STRATEGIES = ("random", "slope", "buffer")


def draw_by_stratum(rng, wanted: dict[int, int], strata, windows: list[tuple[int, int]]
                    ) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of cells drawn without repeats, each cell of a stratum with the same chance, in two passes over
    the windows.

    wanted  number of cells by stratum; of a stratum with fewer cells, all are drawn
    strata  (row, rows) -> stratum of the cells of a window (rows, cols) int, -1: not to be drawn
    """
    keys = sorted(wanted)
    counts = np.array([[(s == key).sum() for key in keys] for s in (strata(*w) for w in windows)])  # (windows, strata)
    taken = {}
    for j, key in enumerate(keys):
        total = int(counts[:, j].sum())
        taken[key] = np.sort(rng.choice(total, min(wanted[key], total), replace=False, shuffle=False))
    start = np.zeros(len(keys), np.int64)
    row, col = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for window, count in zip(windows, counts, strict=True):
        if not count.any():
            continue
        stratum = strata(*window)
        for j, key in enumerate(keys):
            here = taken[key][(taken[key] >= start[j]) & (taken[key] < start[j] + count[j])] - start[j]
            if len(here):
                r, c = np.unravel_index(np.flatnonzero(stratum == key)[here], stratum.shape)
                row.append(r + window[0])
                col.append(c)
        start += count
    return np.concatenate(row), np.concatenate(col)


def strata_of(strategy: str, folder: Path, edges: np.ndarray, buffer: float) -> Callable[[int, int], np.ndarray]:
    """The function (row, rows) -> stratum of each cell of a window, for `draw_by_stratum`. Where a non-landslide may be
    drawn, the stratum is the class of slope for the strategy "slope", else 0; -1 elsewhere."""
    names = ["valid", "occupied"] + {"slope": ["slope"], "buffer": ["away"], "random": []}[strategy]
    datasets = {name: gdal.Open(str(folder / f"{name}.tif")) for name in names}

    def strata(row: int, rows: int) -> np.ndarray:
        layer = {name: read_rows(dataset, row, rows) for name, dataset in datasets.items()}
        free = (layer["valid"] == 1) & (layer["occupied"] == 0)
        if strategy == "buffer":
            free &= layer["away"] >= buffer
        return np.where(free, np.digitize(layer["slope"], edges) if strategy == "slope" else 0, -1)

    return strata


def draw_non_landslides(rng, strategy: str, slope: np.ndarray, folder: Path, grid: Grid, ratio: float, classes: int,
                        buffer: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of non-landslides, none twice and none in an occupied cell.

    strategy  "random": every free cell has the same chance; "slope": in every class of slope `ratio` times as many as
              landslides, with `classes` classes of equally many landslides; "buffer": at random, at least `buffer` m
              from landslides
    slope     (landslides,) degrees
    folder    with the layers valid, occupied, slope, and away, the distance (m) to occupied cells
    """
    classes = min(classes, len(slope)) if strategy == "slope" else 1  # else one stratum, 0
    edges = np.unique(np.quantile(slope, np.linspace(0, 1, classes + 1)[1:-1]))
    each = np.bincount(np.digitize(slope, edges), minlength=1)
    wanted = {i: max(1, round(ratio * n)) for i, n in enumerate(each) if n}
    return draw_by_stratum(rng, wanted, strata_of(strategy, folder, edges, buffer), list(grid.windows()))


def quick_score(x: np.ndarray, label: np.ndarray, place: np.ndarray, squares: int, seed: int) -> float:
    """AUROC of gradient boosting on x (points, columns), in five folds of whole squares, so that neighbours stay
    together; nan where the points are too few for five folds.

    place    (points, 2), from 0 to 1 across the area
    squares  a side of the area
    """
    group = np.floor(place * squares).clip(0, squares - 1) @ [squares, 1]
    if len(np.unique(group)) < 5:
        return np.nan
    folds = list(GroupKFold(5).split(x, label, group))
    if not all(0 < label[training].mean() < 1 for training, _ in folds):
        return np.nan
    model = HistGradientBoostingClassifier(max_iter=60, early_stopping=False, random_state=seed)
    with threadpool_limits(1):  # on so few points threads wait for each other, minutes on a busy machine
        p = cross_val_predict(model, x, label, cv=folds, method="predict_proba")
    return float(roc_auc_score(label, p[:, 1]))
