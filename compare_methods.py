"""Stage 5: the same points and the same labels for every method, scored on points that none of them has seen.

published  some blocks are held out; a random half of each is its support, the other half the query
spatial    the same, the halves lying on opposite sides of a line through the block
blocked    whole squares are held out without any support: what a method is worth where nobody has mapped
k-shot     ours with k samples of a held-out block and some adaptation steps
augmentation  as published, but no method sees the label of an InSAR point: what the weak labels are worth

Every method learns from the labelled points outside the held-out blocks and from their supports. Encoder, pretraining,
scalers and thresholds are fitted on these alone, anew for each split. A part of the blocks is for development: choices
were settled there (PROTOCOLS=development), and they are never held out otherwise, except by the squares of blocked.

Reads   metatask_sampling/<REGION>_tasks.npz, <REGION>_blocks.tif   samples by block, the block of every cell
        src_data/grid_samples_<REGION>.csv, or <REGION>/factors.tif cells, for curves over area, and maps
        src_data/<REGION>/composite.tif                             for the grid of the maps
        src_data/<REGION>_samples_origin.csv, or Ts_<REGION>.csv    which landslides InSAR saw
        constants of stages 1 and 3
Writes  tmp/<REGION>_splits.csv.gz       the role of every sample under every protocol and seed
        tmp/<REGION>_scores.csv.gz       protocol, seed, with_dv, method, point, block, label, origin, score of query
        tmp/<REGION>_metrics.csv         protocol, subset, with_dv, k, steps, method, measure, mean, sd, n
        tmp/<REGION>_block_metrics.csv   the same per held-out block
        tmp/<REGION>_differences.csv     ours minus each rival, with the 95 % interval of a paired bootstrap over blocks
        tmp/<REGION>_rates.csv           success- and prediction-rate curves
        tmp/<REGION>_results.md          the tables as Markdown; docs/results.md holds those of Hong Kong
        tmp/<REGION>_method_maps.tif     the grid by every method of MAPPED, a band each, float32, nodata -9999: by the
                                         models that the first seed of published scores, so no method saw its query
        tmp/<REGION>_comparison/         one file a (protocol, seed, method), and one of its maps: what is there is not
                                         computed again
Run     python compare_methods.py [REGION=HK SEEDS=2 PROTOCOLS=published ...]
"""

import hashlib
import json
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from lsm.comparison import grid_maps, score_tables
from lsm.comparison.methods import FAMILIES, Stages, k_shot
from lsm.comparison.points import Points, all_splits, read_points, write_splits
from lsm.comparison.splits import Split
from lsm.inputs import grid_cells
from lsm.learner.network import use_one_thread
from lsm.run.artifacts import check, sha256
from lsm.run.jobs import Job, keep, run_jobs
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError, of_stage, run
from study_area import Area
from unsupervised_pretraining.rbm import RBM
from unsupervised_pretraining.stack import machines, pretrain


# ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Constants(Area):
    """What a person may set, here or for one run as NAME=value."""

    # any of these, and development (published and spatial on the blocks for development)
    PROTOCOLS: str = "published,spatial,blocked,k-shot,augmentation"
    METHODS: str = ""                               # families of lsm/comparison/methods.py, comma-separated; "": all
    SEEDS: int = 5                                  # repeats of published, spatial and k-shot; published 5
    HELD_OUT_SHARE: float = 0.25                    # of the blocks with more than MIN_SAMPLES samples; published 0.25
    MIN_SAMPLES: int = 16                           # published 16
    DEVELOPMENT_SHARE: float = 0.4                  # of these blocks, on which choices were settled; never held out
                                                    #   otherwise
    SQUARES: tuple[int, ...] = (5000, 10000)        # m, sides of the squares of blocked
    FOLDS: int = 5                                  # of blocked
    WITHOUT: str = "DV"                             # the factor also left out; the one that defines the weak labels. ""
                                                    #   leaves none out
    AREA_CELLS: int = 20_000                        # cells drawn from the grid, for curves over area
    SHOTS: tuple[int, ...] = (0, 1, 3, 5, 8, 16)    # k samples of a held-out block
    TWELFTHS: tuple[int, ...] = (1, 2, 3, 4, 5, 6)  # and twelfths of a held-out block, as published; 6 is the whole
                                                    #   support
    STEPS: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 20, 50)  # of adaptation; published 1 to 5
    # methods that predict the whole grid, under the first seed of published; () none
    MAPPED: tuple[str, ...] = ("ours", "ours, published recipe", "SVM", "MLP", "DBN", "RF", "boosting + XY")
    RESAMPLES: int = 1000                           # of the bootstrap over blocks
    WORKERS: int = 0                                # processes; 0: as many as cores
    # baselines
    DBN_HIDDEN: tuple[int, ...] = (32, 32)  # published: two RBMs of 32
    DBN_RBM_LEARNING_RATE: float = 0.05     # not published
    DBN_RBM_EPOCHS: int = 10                # not published
    DBN_LEARNING_RATE: float = 0.5          # of fine-tuning; published 0.5
    DBN_EPOCHS: int = 200                   # published 200
    DBN_BATCH: int = 64                     # not published
    DBN_DROPOUT: float = 0.1                # published 0.1
    ALONE_STEPS: int = 200                  # of gradient descent, where a block is trained from scratch
    ALONE_LR: float = 0.1
    TUNING_STEPS: int = 20                  # where one global network is fine-tuned a block
    TUNING_LR: float = 0.05
# ----------------------------------------------------------------------------------------------------------------

_STAGE = "compare_methods.py"


def constants_of_stages(c: Constants, recipe: str, seed: int) -> list:
    """The constants that stages 1 and 3 would run with."""
    return [of_stage(script, REGION=c.REGION, RECIPE=recipe, SEED=seed)
            for script in ("unsupervised_pretraining/DAS_pretraining.py", "meta_learner.py")]


def pretrained(inputs: np.ndarray, one, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """What stage 1 with the constants `one` would write to savedmodel.npz for inputs (samples, inputs)."""
    weights, *_ = pretrain(inputs, machines(inputs.shape[1], one, rng), tqdm(disable=True))
    return {f"arr_{i}": w for i, w in enumerate(weights)}


def jobs_of(folder: Path, roles: dict, c: Constants, inputs: list[Path]) -> list[Job]:
    """Every job the constants ask for, the jobs of one family next to each other."""
    asked = [name.strip() for name in c.PROTOCOLS.split(",")]
    known = ("published", "spatial", "blocked", "k-shot", "augmentation", "development")
    methods = tuple(name for family in FAMILIES.values() for name in family.names)
    for name, wanted, all_names in (("PROTOCOLS", asked, known), ("METHODS", families(c), tuple(FAMILIES)),
                                    ("MAPPED", c.MAPPED, methods)):
        if unknown := set(wanted) - set(all_names):
            raise InputError(f"{name}: expected any of {', '.join(all_names)}, found {', '.join(sorted(unknown))}")
    factor_left_out = [True, False] if any(f.name == c.WITHOUT for f in c.factors) else [True]
    parts = [(protocol, seed, with_dv, family) for family in families(c) for with_dv in factor_left_out
             for protocol, seed in roles if (kind := re.split("[ _]", protocol)[0]) in asked
             and ("published" if kind == "development" else kind) in FAMILIES[family].protocols]
    if "k-shot" in asked:
        parts += [(protocol, seed, True, "k-shot") for protocol, seed in roles if protocol == "published"]
    if not parts:
        raise InputError("PROTOCOLS, METHODS and SEEDS: expected fits to do, found that together they ask for none")
    mapped = [name for name, family in FAMILIES.items() if set(family.names) & set(c.MAPPED)]
    free = {"PROTOCOLS", "METHODS", "SEEDS", "MAPPED", "RESAMPLES", "WORKERS"}
    base = {k: v for k, v in vars(c).items() if k not in free} | {shown(p): sha256(p) for p in inputs}
    out = []
    for protocol, seed, with_dv, family in parts:
        learner = [vars(s) for recipe in ("published", "recommended") for s in constants_of_stages(c, recipe, seed)]
        text = json.dumps([base, protocol, seed, with_dv, family, learner], default=list)
        name = f"{protocol}-{seed}-{'with' if with_dv else 'without'}-{family}".replace(" ", "_")
        maps = (protocol, seed, with_dv) == ("published", 1, True) and family in mapped
        out.append(Job(protocol, seed, with_dv, family, folder / f"{name}.npz",
                       hashlib.sha256(text.encode()).hexdigest(), folder / f"{name}-map.npz" if maps else None))
    return out


def families(c: Constants) -> list[str]:
    """The families of methods to run; slope alone only where WITHOUT does not leave the slope out."""
    asked = [name.strip() for name in c.METHODS.split(",")] if c.METHODS else list(FAMILIES)
    names = {factor.name for factor in c.factors} - {c.WITHOUT}
    return [name for name in asked if name != "slope" or "slope" in names]


def start_worker(points: Points, roles: dict, c: Constants) -> None:
    """Gives a process what all its jobs need. One thread each, since as many processes run as there are cores."""
    global _POINTS, _ROLES, _C
    _POINTS, _ROLES, _C = points, roles, c
    use_one_thread()


def work(job: Job) -> None:
    """Fits one family to one split and writes its methods' scores and, where they are asked for, maps."""
    points, described = _POINTS, _C.factors
    used = [j for j, factor in enumerate(described) if job.with_dv or factor.name != _C.WITHOUT]
    split = Split(points.factors[:, used], tuple(described[j] for j in used), points.xy, points.label,
                  points.block, _ROLES[job.protocol, job.seed], "recommended", points.blocks)
    stages = Stages(partial(constants_of_stages, _C), pretrained, RBM)
    with threadpool_limits(1):
        if job.family == "k-shot":
            scores = {f"{k}|{steps}": s for (k, steps), s in k_shot(split, _C, stages, job.seed).items()}
        else:
            family = FAMILIES[job.family]
            methods = dict(zip(family.names, family.fit(split, _C, stages, job.seed), strict=True))
            scores = {name: predict(split.rows(split.asked)) for name, predict in methods.items()}
        if job.maps:
            keep(job.maps, job.made_of, grid_maps.of_grid(Paths(_C.REGION), described, methods),
                 np.savez_compressed)
    keep(job.path, job.made_of, {name: s.astype(np.float32) for name, s in scores.items()})


def main(c: Constants) -> None:
    """Runs the stage."""
    paths = Paths(c.REGION)
    check(paths.blocks, "scene_sampling.py", c)
    points = read_points(paths, c.factors, c)
    roles = all_splits(points, c)
    inputs = [paths.tasks, paths.blocks, grid_cells.grid_of(paths)]
    folder = paths.comparison
    folder.mkdir(parents=True, exist_ok=True)
    jobs = jobs_of(folder, roles, c, inputs)
    write_splits(paths.splits, points, roles, (_STAGE, c, inputs))
    run_jobs(jobs, work, c.WORKERS, start_worker, (points, roles, c))
    made = (_STAGE, c, [*inputs, paths.splits])
    written = score_tables.write_tables(paths, jobs, points, roles, c.RESAMPLES, c.SEED, made)
    written += grid_maps.write(paths, jobs, c.MAPPED, made)
    print(score_tables.summary(paths))
    for path in [paths.splits, *written]:
        print(f"wrote {shown(path)}")


if __name__ == "__main__":
    run(main, Constants)
