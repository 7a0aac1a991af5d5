"""The demo's map against the planted truth, beside one global gradient boosting model on the same samples.

Reads the map of `make run`, or of a region made from the demo's raw form (demo_raw) on the same cells,
and src_data/demo/truth/, which no stage reads. AUROC is that of labels drawn once for every
land cell from the true probability; "true probability" is what the best possible map would reach. The area is seen
with all samples used for training, as a map is made, so cells that hold a sample are left out of the scores.

Run     python benchmarks/demo_truth.py [region, default demo]
"""

import sys

import numpy as np
from scipy.stats import spearmanr
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

import study_area
from lsm.inputs import grid_cells
from lsm.inputs.rasters import cell_of, read_band, read_composite
from lsm.inputs.samples import read_samples, unique_places
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError, check_region

DRAWS = 5  # of labels from the truth


def main(region: str):
    planted = Paths("demo").truth / "probability.tif"
    if not planted.is_file():
        raise InputError(f"{shown(planted)}: missing; make the demo area: python src_data/make_demo.py")
    check_region(region)
    paths, known = Paths(region), study_area.factors(region)
    composite = read_composite(paths.composite)
    truth, ours = read_band(planted), read_band(paths.map_raster)
    if truth.shape != ours.shape:
        raise InputError(f"{shown(paths.map_raster)}: expected the demo's {truth.shape[0]} x {truth.shape[1]} cells, "
                         f"found {ours.shape[0]} x {ours.shape[1]}; give the demo, or a region made of its raw form")
    factors, xy = (np.concatenate(parts) for parts in zip(*grid_cells.chunks(grid_cells.grid_of(paths), known, 500_000),
                                                            strict=True))
    samples = read_samples(paths.samples, known)
    keep = unique_places(samples)[0]
    sampled = np.zeros(truth.shape, bool)
    sampled[cell_of(composite.geotransform, samples.xy)] = True
    cell = cell_of(composite.geotransform, xy)
    unseen = ~sampled[cell]
    maps = {"true probability": truth[cell], "Meta-LSM, a model a block": ours[cell]}
    for name, columns in (("gradient boosting, factors", False), ("gradient boosting, factors and X, Y", True)):
        def table(f, p, columns=columns):
            return np.hstack([f, p]) if columns else f
        model = HistGradientBoostingClassifier(early_stopping=False, random_state=0)
        model.fit(table(samples.factors[keep], samples.xy[keep]), samples.label[keep])
        maps[name] = model.predict_proba(table(factors, xy))[:, 1]
    p = truth[cell][unseen]
    labels = [np.random.default_rng(i).random(len(p)) < p for i in range(DRAWS)]
    print(f"{unseen.sum():,} cells without a sample; {DRAWS} draws of labels")
    print(f"{'':36}{'AUROC':>8}{'sd':>8}{'rank correlation':>18}{'mean |error|':>14}")
    for name, values in maps.items():
        auroc = [roc_auc_score(label, values[unseen]) for label in labels]
        print(f"{name:36}{np.mean(auroc):8.4f}{np.std(auroc):8.4f}{spearmanr(values[unseen], p).statistic:18.4f}"
              f"{np.abs(values[unseen] - p).mean():14.4f}")


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        sys.exit()
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else "demo")
    except InputError as error:
        print(f"{sys.argv[0]}: {error}", file=sys.stderr)
        sys.exit(2)
