"""What blending does to seams and to scores: the map of stage 4 with the borders of blocks cut and blended.

Reads what stages 2 and 3 of a finished run left, writes nothing. Seams are jumps of probability between cells side by
side, as export_gis.py counts them. Each kind of member is shown alone too. The map of the intermediate models, which
knows no blocks, and the planted truth, where there is one, show how much of the jump across borders is terrain. Scores
are of the half of every block's samples that models did not adapt on. Meta-training has seen some of them, so only
differences between rows mean something. In the demo area the map of all samples is compared with the true probability,
in cells without a sample.

Run     python benchmarks/blending.py [region, default demo] [reach in m ..., default 0 100 300]
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from osgeo import gdal
from scipy.stats import spearmanr

import study_area

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import predict_LSM
from lsm.blocks.blending import check_reach, neighbour_weights
from lsm.blocks.slic import block_of_cells
from lsm.comparison import measures
from lsm.inputs import grid_cells
from lsm.inputs.rasters import cell_of, read_band, read_composite
from lsm.learner.adaptation import models_of_blocks, places_of_blocks
from lsm.learner.encoder import Encoder
from lsm.learner.meta_training import Training, pooled_of
from lsm.learner.network import use_one_thread
from lsm.learner.prediction import mean_log_odds, probability, probability_of_rows
from lsm.learner.tasks import EncodedSamples
from lsm.maps import counts
from lsm.run import settings
from lsm.run.artifacts import read_npz
from lsm.run.paths import Paths


class Models:
    """The models of all blocks and the places of cells, as stage 4 has them."""

    def __init__(self, paths: Paths, half: bool):
        c = settings.constants(predict_LSM.Constants, [f"REGION={paths.region}"])
        model, samples = read_npz(paths.model, "meta_learner.py", c), read_npz(paths.tasks, "scene_sampling.py", c)
        self.labels, self.place = read_band(paths.blocks), read_composite(paths.composite).geotransform
        self.encoder = Encoder.from_json(str(model["encoder"]))
        self.centres = np.column_stack([samples["centre_row"], samples["centre_col"]])
        rng = np.random.default_rng(c.SEED)
        self.known = predict_LSM.known_samples(samples["block"], half, c.MIN_SAMPLES, rng)
        training = Training.of_file(model)
        self.pooled = pooled_of(training, model)
        places = places_of_blocks(self.labels, self.centres, self.place)
        encoded = EncodedSamples.of_file(samples, self.encoder)
        self.networks, _, _ = models_of_blocks(training, self.pooled, encoded, self.known, places, rng)
        self.samples = samples

    def __call__(self, factors, xy, reach: float, kinds: list[str] | None = None):
        """Probability (rows,) of rows by these kinds of members (None: all), how many other blocks lie within reach of
        each, and the cell of each."""
        check_reach(reach, self.labels, self.place)
        row, col = cell_of(self.place, xy)
        block, outside = block_of_cells(self.labels, row, col, self.centres)
        cell = np.where(outside, -1, row * self.labels.shape[1] + col)
        weights = neighbour_weights(self.labels, self.place, reach) if reach else None
        networks = {kind: self.networks[kind] for kind in kinds or self.networks}
        p = probability_of_rows(networks, self.encoder.transform(factors, xy), block, cell, weights)
        return p, np.diff(weights.indptr)[cell] if reach else np.zeros(len(p), int), (row, col)

    def without_blocks(self, factors, xy) -> np.ndarray:
        """Probability (rows,) by the intermediate models, the same everywhere."""
        return probability(mean_log_odds(self.pooled, self.encoder.transform(factors, xy)))


def seams(shape: tuple[int, int], cell: tuple, p: np.ndarray, blocks: gdal.Dataset) -> dict[str, float]:
    """Means and medians of the jumps of p (rows,), at cells (row, col)."""
    raster = gdal.GetDriverByName("MEM").Create("", shape[1], shape[0], 1, gdal.GDT_Float32)
    values = np.full(shape, -1, np.float32)
    values[cell] = p
    raster.GetRasterBand(1).WriteArray(values)
    raster.GetRasterBand(1).SetNoDataValue(-1)
    jump = counts.seams(raster, blocks)
    return {f"{where}, {measure}": jump.loc[where, measure] for where in jump.index for measure in ("mean", "median")}


def main():
    region, reaches = sys.argv[1] if len(sys.argv) > 1 else "demo", list(map(float, sys.argv[2:])) or [0, 100, 300]
    paths, described = Paths(region), study_area.factors(region)
    use_one_thread()
    blocks = gdal.Open(str(paths.blocks))
    factors, xy = (np.concatenate(parts) for parts in
                   zip(*grid_cells.chunks(grid_cells.grid_of(paths), described, 500_000), strict=True))
    models, rows = Models(paths, half=False), []
    truth = read_band(paths.truth / "probability.tif") if paths.truth.is_dir() else None
    maps = [("", None, reach) for reach in reaches]
    maps += [(f"{kind}, ", [kind], 0.0) for kind in models.networks if len(models.networks) > 1]
    for name, kinds, reach in maps:
        start = time.process_time()
        p, others, cell = models(factors, xy, reach, kinds)
        row = {"BLEND": f"{name}{reach:g} m", "cells": (others > 0).mean(), "processor s": time.process_time() - start}
        row |= seams(models.labels.shape, cell, p, blocks)
        if truth is not None:
            unseen = np.ones(truth.shape, bool)
            unseen[cell_of(models.place, models.samples["xy"])] = False
            unseen = unseen[cell]
            row |= {"rank correlation": spearmanr(p[unseen], truth[cell][unseen]).statistic,
                    "error": np.abs(p - truth[cell])[unseen].mean()}
        rows.append(row)
    rows.append({"BLEND": "no blocks"} | seams(models.labels.shape, cell, models.without_blocks(factors, xy), blocks))
    if truth is not None:
        rows.append({"BLEND": "truth"} | seams(models.labels.shape, cell, truth[cell], blocks))
    print(pd.DataFrame(rows).set_index("BLEND").round(4).to_string(na_rep=""))

    models, rows = Models(paths, half=True), []
    query = ~models.known
    factors, xy, label = (models.samples[name][query] for name in ("factors", "xy", "label"))
    near = models(factors, xy, max(reaches))[1] > 0
    for reach in reaches:
        p = models(factors, xy, reach)[0]
        for name, some in (("all", near | True), (f"within {max(reaches):g} m of other blocks", near)):
            scores = measures.scores(label[some], p[some])
            rows.append({"BLEND": f"{reach:g} m", "samples": name, "n": some.sum()}
                        | {measure: scores[measure] for measure in ("kappa", "auroc", "brier")})
    print(pd.DataFrame(rows).sort_values("samples", kind="stable").round(4).to_string(index=False))


if __name__ == "__main__":
    main()
