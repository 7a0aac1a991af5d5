"""What of the step of probability at block borders is the models', and what is the terrain's; and whether the map has
straight edges along its axes.

SLIC lays borders where the terrain changes, so a map steps there even where one model predicts both sides. The pairs of
neighbouring cells across borders are therefore also predicted three times: each cell by its own block's networks
("without BLEND"), and both by the networks of either block ("one model on both sides", the mean of the two).

A model that cuts at a place, as trees with X and Y do, steps the same way along a whole row or column. The mean signed
step between two neighbouring rows or columns, times the root of its number of cells, is compared with all others: the
largest distance from their median, in robust standard deviations (1.4826 times the median absolute one). Beside the map
stands one of boosting with X and Y, fitted to the same samples.

Reads   the grid, the tasks, metatask_sampling/<REGION>_blocks.tif, models_of_blocks/<REGION>_models.npz and the map
Run     python benchmarks/seams.py HK kaghan ...    after stage 4 of each region
"""

import sys

import numpy as np
import pandas as pd
from scipy.stats import median_abs_deviation

from lsm.blocks.grid_parts import cells_of
from lsm.comparison.rivals.boosting import boosted
from lsm.inputs import grid_cells
from lsm.inputs.rasters import open_raster, read_band
from lsm.learner.encoder import Encoder
from lsm.learner.prediction import networks_of_arrays, predict
from lsm.run.paths import Paths, shown
from lsm.run.pipeline import make_command
from lsm.run.settings import InputError, check_region

PAIRS = 200_000  # of neighbouring cells inside blocks, and as many across borders, at most
FEWEST = 60      # cells of a row or column beside another, below which its mean step says little


def pairs_of(index: np.ndarray, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows (pairs, 2) of the grid of neighbouring cells, inside blocks and across their borders.

    index  (rows, cols): the row of the grid of each cell, -1 where there is none
    block  (cells,)
    """
    beside = np.column_stack([index[:, :-1].ravel(), index[:, 1:].ravel()])
    below = np.column_stack([index[:-1].ravel(), index[1:].ravel()])
    pairs = np.concatenate([beside, below])
    pairs = pairs[(pairs >= 0).all(axis=1)]
    across = block[pairs[:, 0]] != block[pairs[:, 1]]
    rng = np.random.default_rng(0)
    return tuple(rng.permutation(some)[:PAIRS] for some in (pairs[~across], pairs[across]))


def straight_edge(p: np.ndarray) -> float:
    """How far the step at the straightest edge of a map p (rows, cols), nan where there is none, lies from the steps at
    all other rows and columns, in robust standard deviations."""
    found = []
    for axis in (0, 1):
        step = np.diff(p, axis=axis)
        cells = np.isfinite(step).sum(axis=1 - axis)
        line = (np.nansum(step, axis=1 - axis) / np.sqrt(np.maximum(cells, 1)))[cells >= FEWEST]
        if len(line):
            found.append(np.abs(line - np.median(line)).max() / median_abs_deviation(line, scale="normal"))
    return max(found, default=np.nan)


def seams_of(region: str) -> dict:
    """The mean steps of a region's map, what they are of those inside blocks, and its straightest edge."""
    check_region(region)
    paths = Paths(region)
    for path in (paths.models, paths.tasks, paths.blocks, paths.map_raster, grid_cells.grid_of(paths)):
        if not path.is_file():
            raise InputError(f"{shown(path)}: missing; {make_command('map', region)}")
    with np.load(paths.models, allow_pickle=False) as file:
        models = dict(file)
    encoder, networks = Encoder.from_json(str(models["encoder"])), networks_of_arrays(models)
    labels = open_raster(paths.blocks, "run scene_sampling.py")
    with np.load(paths.tasks, allow_pickle=False) as file:
        centres = np.column_stack([file["centre_row"], file["centre_col"]])
        taught, label = encoder.transform(file["factors"], file["xy"]), file["label"]
    factors, xy = (np.concatenate(parts) for parts in zip(
        *grid_cells.chunks(grid_cells.grid_of(paths), encoder.factors, 500_000), strict=True))
    row, col, block, outside, on_map = cells_of(xy, labels, centres)
    index, there = np.full((labels.RasterYSize, labels.RasterXSize), -1), np.flatnonzero(on_map & ~outside)
    index[row[there], col[there]] = there

    def step_by(pairs: np.ndarray, by: tuple[int, int]) -> float:
        """The mean step over pairs, the two cells each predicted by the block of the first (0) or second (1) one."""
        p, q = (predict(networks, block[pairs[:, of]], encoder.transform(factors[cell], xy[cell]))
                for of, cell in zip(by, pairs.T, strict=True))
        return float(np.abs(p - q).mean(dtype=np.float64))

    inside, across = pairs_of(index, block)
    own, of_trees, trees = read_band(paths.map_raster), np.full(index.shape, np.nan), boosted(taught, label, 0)
    within, border = (float(np.abs(np.diff(own[row[pairs], col[pairs]])).mean(dtype=np.float64))
                      for pairs in (inside, across))
    within_alone, border_alone = step_by(inside, (0, 1)), step_by(across, (0, 1))
    one_model = (step_by(across, (0, 0)) + step_by(across, (1, 1))) / 2
    for some in np.array_split(there, len(there) // 100_000 + 1):
        of_trees[row[some], col[some]] = trees.predict_proba(encoder.transform(factors[some], xy[some]))[:, 1]
    return {"region": region, "inside": within, "across": border, "across / inside": border / within,
            "without BLEND": border_alone / within_alone, "one model on both sides": one_model / within_alone,
            "straight edge": straight_edge(np.where(own >= 0, own, np.nan)),
            "of boosting + XY": straight_edge(of_trees)}


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        sys.exit()
    try:
        print(pd.DataFrame([seams_of(region) for region in sys.argv[1:]]).to_markdown(index=False, floatfmt=".3f"))
    except InputError as error:
        print(f"{sys.argv[0]}: {error}", file=sys.stderr)
        sys.exit(2)
