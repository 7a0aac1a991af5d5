"""How far each stage is from its bound: its wall and processor time, what of it is start-up, and what its products
alone would take as products of large matrices.

Stages 1 to 4 and 6 to 9 run once on a region that was mapped before, meta-training from its start, each as a process
of its own. Start-up is the processor time of `--help`: imports. The bound counts the multiply-adds that the method
needs (pretraining, meta-training with second derivatives, prediction, SHAP values) and divides them by the speed of one
core in single precision on matrices of 2048 x 2048. Cutting blocks, drawing and writing have no such bound.

Multiply-adds of a network are those of its weights, W in all. A gradient takes 3 W a row: the product and its two
derivatives. The gradient through an inner step takes twice as many again. SHAP values need the layers after the first:
twice for each exchange of a factor.

Reads   all files of a mapped region
Writes  <LSM_ROOT>/tmp/<REGION>_stages.csv
Run     python benchmarks/stages.py [REGION, default demo]   after make run, make explain and make gis
"""

import itertools
import os
import resource
import subprocess
import sys
import time

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from lsm.inputs import grid_cells
from lsm.learner.encoder import Encoder
from lsm.learner.members import read_kinds
from lsm.run import settings
from lsm.run.paths import PROJECT, Paths

STAGES = ("unsupervised_pretraining/DAS_pretraining.py", "scene_sampling.py", "meta_learner.py", "predict_LSM.py",
          "feature_permutation.py", "figure.py", "export_gis.py", "report.py")
SIDE = 2048


def seconds_of(*arguments: str) -> tuple[float, float]:
    """Processor seconds of a stage and the processes that it starts, and its wall seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=PROJECT, check=True, stdout=subprocess.DEVNULL,
                   env=os.environ | {"PYTHONPATH": str(PROJECT)})
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - start
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, wall


def speed() -> float:
    """Multiply-adds a second of one core in products of large matrices: the median of five."""
    a, b = np.random.default_rng(0).standard_normal((2, SIDE, SIDE), np.float32)
    times = []
    with threadpool_limits(1):
        for _ in range(6):
            start = time.perf_counter()
            a @ b
            times.append(time.perf_counter() - start)
    return SIDE ** 3 / float(np.median(times[1:]))  # the first one wakes the library


def weights_of(inputs: int, hidden: tuple[int, ...], direct: bool) -> list[int]:
    """The weights of each layer; at last, where there is one, those of the direct path."""
    sizes = (inputs, *hidden, 2)
    return [a * b for a, b in itertools.pairwise(sizes)] + [2 * inputs] * direct


def needed(paths: Paths) -> dict[str, float]:
    """The multiply-adds that a stage cannot do without, by its script."""
    pretrain, meta, explain = (settings.of_stage(script, REGION=paths.region) for script in (
        STAGES[0], "meta_learner.py", "feature_permutation.py"))
    with np.load(paths.model) as model, np.load(paths.tasks) as tasks, np.load(paths.models) as models:
        kinds, encoder = read_kinds(model["kinds"]), Encoder.from_json(str(model["encoder"]))
        of_block, adapted = np.bincount(tasks["block"], minlength=len(models["state"])), len(models["state"])
    inputs, samples = len(encoder.columns), of_block.sum()
    first, second, third = itertools.pairwise((inputs, *pretrain.HIDDEN))
    rbm = 5 * pretrain.RBM_EPOCHS * (np.prod(first) + np.prod(second))   # there, back and there again; two gradients
    autoencoder = pretrain.DAE_EPOCHS * 2 * 3 * np.prod(third)           # encoder and decoder
    found = {STAGES[0]: samples * (rbm + autoencoder), "meta_learner.py": 0.0, "predict_LSM.py": 0.0,
             "feature_permutation.py": 0.0}
    cells = sum(len(xy) for _, xy in grid_cells.chunks(grid_cells.grid_of(paths), encoder.factors, 500_000))
    factors = len(encoder.factors)
    for kind in kinds:
        layers = weights_of(inputs + 2 * kind.place, pretrain.HIDDEN, kind.direct)
        task = 3 * sum(layers) * (3 * meta.INNER_STEPS * kind.support + kind.query)
        found["meta_learner.py"] += kind.members * kind.iterations * meta.META_BATCH * task
        steps = 3 * sum(layers) * kind.steps * (samples + adapted * kind.borrow)
        found["predict_LSM.py"] += kind.members * (cells * sum(layers) + steps)
        exchanged, shuffled = sum(layers[1:len(layers) - kind.direct]), sum(layers) * explain.REPEATS * factors
        there = of_block[of_block > 0]
        rows = np.minimum(there, explain.BACKGROUND)
        pairs = 2 * np.minimum(there, explain.EXPLAINED) * -(-explain.ORDERS // rows) * rows
        exchanges = pairs * (factors + kind.place - 1) * exchanged
        found["feature_permutation.py"] += kind.members * float((exchanges + there * shuffled).sum())
    return found


def main(region: str) -> None:
    """Runs the stages and prints the table."""
    settings.check_region(region)
    paths, one_core = Paths(region), speed()
    bound, rows = needed(paths), []
    for script in STAGES:
        start_up, _ = seconds_of(script, "--help")
        for checkpoint in paths.checkpoints():  # else meta-training would go on where it ended
            checkpoint.unlink()
        spent, wall = seconds_of(script, f"REGION={region}")
        least = bound[script] / one_core if script in bound else np.nan
        rows.append({"stage": script, "wall s": wall, "processor s": spent, "start-up s": start_up, "bound s": least,
                     "times the bound": (spent - start_up) / least})
        print(pd.DataFrame(rows[-1:]).to_string(index=False, header=len(rows) == 1, float_format="%.2f"), flush=True)
    print(f"one core: {one_core / 1e9:.0f} billion multiply-adds a second in products of {SIDE} x {SIDE}")
    pd.DataFrame(rows).to_csv(paths.checks.with_name(f"{region}_stages.csv"), index=False)


if __name__ == "__main__":
    main(*sys.argv[1:2] or ["demo"])
