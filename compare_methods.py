"""Stage 5: the same points and the same labels for every method, scored on points that none of them has seen.

published   some blocks are held out; a random half of each is its support, the other half the query
spatial     the same, the halves lying on opposite sides of a line through the block
blocked     whole squares are held out without any support: what a method is worth where nobody has mapped
partitions  the area is cut by k-means of the points' places, and each part is held out in turn, as the spatial
            cross-validation of R's sperrorest and mlr3 does; beside it random folds, unless published scores
            random halves
temporal    learned from the older landslides, scored on the newer ones, where the inventory has dates
k-shot      ours with k samples of a held-out block and some adaptation steps
augmentation  as published, but no method sees a weak landslide: what the weak labels are worth
published-steps  the published recipe under the published protocol, then made honest step by step: a table of its own

Every method learns from the labelled points outside the held-out blocks and from their supports. Encoder, pretraining,
scalers and settings are fitted on these alone, anew for each split. A part of the blocks is for development: choices
were settled there (PROTOCOLS=development). Published, spatial, k-shot and augmentation never hold these out. What an
area is too small for is left out, and named. The tables hold what the last call asked for; its fits are kept, so a call
that asks for more computes the new ones alone.

Reads   metatask_sampling/<REGION>_tasks.npz, <REGION>_blocks.tif   samples by block, the block of every cell
        src_data/grid_samples_<REGION>.csv, or <REGION>/factors.tif cells, for curves over area, and maps
        src_data/<REGION>/composite.tif                             for the grid of the maps
        src_data/<REGION>_samples_origin.csv, or Ts_<REGION>.csv    which landslides InSAR saw
        src_data/<REGION>_samples_dates.csv                         the years of landslides, for temporal
        src_data/samples_<REGION>.csv                               with its repeated places, for published-steps
        constants of stages 1 and 3
Writes  tmp/<REGION>_splits.csv.gz       the role of every sample under every protocol and seed
        tmp/<REGION>_scores.csv.gz       protocol, seed, with_dv, method, point, block, label, origin, score of query
        tmp/<REGION>_metrics.csv         protocol, subset, with_dv, k, steps, method, measure, mean, sd, n
        tmp/<REGION>_block_metrics.csv   the same per held-out block
        tmp/<REGION>_differences.csv     ours minus each rival, with the 95 % interval of a paired bootstrap over blocks
                                         or squares
        tmp/<REGION>_intervals.csv       kappa, AUROC, Brier score of each method, with the intervals of the same draws
        tmp/<REGION>_rates.csv           success- and prediction-rate curves
        tmp/<REGION>_results.md          the tables as Markdown; docs/tables/ holds such tables of four areas
        tmp/<REGION>_method_maps.tif     the grid by every method of MAPPED, a band each, float32, nodata -9999: by the
                                         models that the first seed of published scores, so no method saw its query
        tmp/<REGION>_published_steps.csv, .md   by PROTOCOLS=published-steps: the measures of each step and run
        tmp/<REGION>_comparison/         one file a (protocol, seed, method), and one of its maps: what is there is not
                                         computed again
Run     python compare_methods.py [REGION=HK SEEDS=2 PROTOCOLS=published ...]
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from lsm.comparison import fits, grid_maps, protocols
from lsm.comparison.fit_jobs import Job, keep, run_jobs
from lsm.comparison.methods import FAMILIES
from lsm.comparison.ours import published_steps
from lsm.comparison.ours.networks import Stages, k_shot
from lsm.comparison.points import Points, read_points
from lsm.comparison.splits import QUERY, SUPPORT, TRAIN, Split, repeated_rows, without_twins
from lsm.comparison.tables import pages, score_tables
from lsm.inputs import grid_cells
from lsm.learner.network import use_one_thread
from lsm.learner.transfer.start_file import source_path
from lsm.run.artifacts import check
from lsm.run.code import with_constants_of
from lsm.run.jobs import cluster_of
from lsm.run.paths import Paths, shown
from lsm.run.pipeline import BY_SCRIPT
from lsm.run.settings import InputError, at_least, counted, of_stage, run
from study_area import Area, Spread
from unsupervised_pretraining.rbm import RBM
from unsupervised_pretraining.stack import machines, pretrain


# ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Constants(Spread, Area):
    """What a person may set, here or for one run as NAME=value."""

    # any of these, development (published and spatial on the blocks for development) and published-steps
    PROTOCOLS: str = "published,spatial,blocked,partitions,temporal,k-shot,augmentation"
    METHODS: str = ""                               # families of docs/tables/methods.md, comma-separated; "": all
    SEEDS: int = 5                                  # repeats of published, spatial, temporal, k-shot; published 5
    MIN_SAMPLES: int = 16                           # a block with more samples may be held out; published 16
    HELD_OUT_SHARE: float = 0.25                    # share of these blocks that is held out; published 0.25
    DEVELOPMENT_SHARE: float = 0.4                  # share of these blocks on which choices were settled;
                                                    #   published, spatial, augmentation, k-shot never hold them out
    SQUARES: tuple = ()                             # m, sides of the squares of blocked; (): a tenth and a fifth of the
                                                    #   area, rounded (Hong Kong: 5 and 10 km)
    FOLDS: int = 5                                  # folds of blocked and partitions
    REPEATS: int = 0                                # repeats of partitions; 0: one from 5,000 samples on, else up to 10
    BUFFER: float = 0.0                             # m; under spatial, blocked and partitions no method learns from
                                                    #   samples nearer than this to a scored sample
    NEWER: float = 0.3                              # share of landslides, the newest, that temporal scores; or the
                                                    #   first year that it scores
    WITHOUT: str = "DV"                             # methods are fitted once more without this factor, which defines
                                                    #   the weak labels; "": not
    AREA_CELLS: int = 20_000                        # cells drawn from the grid, for curves over area; which
                                                    #   squares share a fold of blocked depends on them too
    SHOTS: tuple[int, ...] = (0, 1, 3, 5, 8, 16)    # of k-shot: k samples of a held-out block
    TWELFTHS: tuple[int, ...] = (1, 2, 3, 4, 5, 6)  # of k-shot: twelfths of a held-out block's samples, as published; 6
                                                    #   is the whole support
    STEPS: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 20, 50)  # of k-shot: steps of adaptation; published 1 to 5
    # methods that predict the whole grid, under the first seed of published; () none
    MAPPED: tuple[str, ...] = ("ours", "ours, published recipe", "SVM", "MLP", "DBN", "RF", "boosting + XY")
    RESAMPLES: int = 5000                           # draws of the bootstrap over blocks or squares
    WORKERS: int = 0                                # processes; 0: as many as cores
    # the deep belief network (DBN): restricted Boltzmann machines (RBM), fine-tuned together
    DBN_HIDDEN: tuple[int, ...] = (32, 32)  # units of each RBM; published: two of 32
    DBN_RBM_LEARNING_RATE: float = 0.05     # of each RBM; not published
    DBN_RBM_EPOCHS: int = 10                # of each RBM; not published
    DBN_LEARNING_RATE: float = 0.5          # of fine-tuning; published 0.5
    DBN_EPOCHS: int = 200                   # of fine-tuning; published 200
    DBN_BATCH: int = 64                     # samples; not published
    DBN_DROPOUT: float = 0.1                # share of hidden units; published 0.1
    # networks of blocks without meta-learning
    ALONE_STEPS: int = 200                  # gradient steps of "block alone", trained in each block from a random start
    ALONE_LR: float = 0.1                   # its learning rate
    TUNING_STEPS: int = 20                  # gradient steps of "one network, fine-tuned" in each block
    TUNING_LR: float = 0.05                 # its learning rate
# ----------------------------------------------------------------------------------------------------------------

_STAGE = "compare_methods.py"


def constants_of_stages(c: Constants, recipe: str, seed: int) -> list:
    """The constants that stages 1 and 3 would run with."""
    return [of_stage(script, REGION=c.REGION, RECIPE=recipe, SEED=seed) for script in BY_SCRIPT[_STAGE].does]


def pretrained(inputs: np.ndarray, one, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """What stage 1 with the constants `one` would write to savedmodel.npz for inputs (samples, inputs)."""
    weights, *_ = pretrain(inputs, machines(inputs.shape[1], one, rng), tqdm(disable=True))
    return {f"arr_{i}": w for i, w in enumerate(weights)}


def start_fitting(points: Points, roles: dict, inventory: published_steps.PublishedTable | None, c: Constants) -> None:
    """Gives a process what all its jobs need. One thread each, since as many processes run as there are cores."""
    global _POINTS, _ROLES, _INVENTORY, _C
    _POINTS, _ROLES, _INVENTORY, _C = points, roles, inventory, c
    use_one_thread()


def work(job: Job) -> None:
    """Fits one family to one split and writes its methods' scores and, where they are asked for, maps."""
    stages = Stages(partial(constants_of_stages, _C), pretrained, RBM)
    with threadpool_limits(1):
        if job.family == fits.PUBLISHED_STEPS:
            keep(job.path, job.made_of, published_steps.steps_scores(_INVENTORY, stages, job.seed))
            return
        split = split_of(job)
        if job.family == "k-shot":
            scores = {f"{k}|{steps}": s for (k, steps), s in k_shot(split, _C, stages, job.seed).items()}
        else:
            family = FAMILIES[job.family]
            fitted = zip(family.names, family.fit(split, _C, stages, job.seed), strict=True)
            methods = {name: predict for name, predict in fitted if predict}
            asked = np.isin(_ROLES[job.protocol, job.seed], (QUERY, SUPPORT))
            scores = {name: predict(split.rows(asked)) for name, predict in methods.items()}
        if job.maps:
            keep(job.maps, job.made_of, grid_maps.of_grid(Paths(_C.REGION), _C.factors, methods), np.savez_compressed)
    keep(job.path, job.made_of, {name: s.astype(np.float32) for name, s in scores.items()})


def split_of(job: Job) -> Split:
    """What every method of the job is given. Raises InputError where too little is left to learn from."""
    used = [j for j, factor in enumerate(_C.factors) if job.with_dv or factor.name != _C.WITHOUT]
    factors, role, cut = _POINTS.factors[:, used], _ROLES[job.protocol, job.seed], protocols.cut_of(job.protocol)
    if not job.with_dv:
        role = without_twins(role, factors, _POINTS.label >= 0)
        if len(np.unique(taught := _POINTS.label[np.isin(role, (TRAIN, SUPPORT))])) < 2:
            raise InputError(f"WITHOUT={_C.WITHOUT}: {job.protocol} {job.seed}: expected both classes among points "
                             f"whose other factors no scored point has, found {protocols.one_class(taught)}; WITHOUT= "
                             "leaves none out")
    return Split(factors, tuple(_C.factors[j] for j in used), _POINTS.xy, _POINTS.label, _POINTS.block, role,
                 "recommended", _POINTS.blocks, cut, protocols.side_of(job.protocol), _C.FOLDS,
                 _POINTS.year if cut == "years" else None)


def twins(points: Points, c: Constants) -> str:
    """How many samples equal another one in all factors but WITHOUT, in words; "" where there are none."""
    used, rows = [factor.name != c.WITHOUT for factor in c.factors], np.flatnonzero(points.label >= 0)
    same = 0 if all(used) else len(repeated_rows(points.factors[:, used], rows))
    return (f"{counted(same, 'sample')} repeat another in all factors but {c.WITHOUT}: without it none teaches where "
            "its like is scored") * bool(same)


def check_constants(c: Constants) -> None:
    """Raises InputError for constants that mean nothing."""
    fits.asked_protocols(c)
    fits.families(c)
    at_least(c, SEEDS=1, MIN_SAMPLES=1, FOLDS=2, REPEATS=0, BUFFER=0, AREA_CELLS=0, RESAMPLES=1, WORKERS=0, DBN_BATCH=1,
             DBN_EPOCHS=1, DBN_RBM_EPOCHS=1)
    if not all(side > 0 for side in c.SQUARES):
        raise InputError(f"SQUARES={c.SQUARES}: expected sides of squares above 0 m")


def main(c: Constants) -> None:
    """Runs the stage."""
    check_constants(c)
    paths = Paths(c.REGION)
    check(paths.blocks, "scene_sampling.py", c)
    asked = fits.asked_protocols(c)
    points = read_points(paths, c.factors, c)
    roles, cannot = protocols.all_splits(points, c)
    inventory = published_steps.read_published(paths, c.factors) if fits.PUBLISHED_STEPS in asked else None
    inputs = [paths.tasks, paths.blocks, grid_cells.grid_of(paths)]
    optional = [paths.samples_origin, paths.insar_points, paths.samples_dates]
    inputs += [path for path in optional if path.is_file()]
    if start := source_path(of_stage("meta_learner.py", REGION=c.REGION).START_FROM, c.REGION):
        inputs.append(start)
    folder = paths.comparison
    without = protocols.without_random_folds(roles, asked)
    named = [text for kinds, text in cannot
             if set(kinds) & set(asked) and not (without and text.startswith(protocols.RANDOM_FOLDS))]
    if c.WITHOUT not in ("", "DV", *(factor.name for factor in c.factors)):
        named.append(f"without {c.WITHOUT} (WITHOUT): the area has no such factor")
    jobs, more = fits.jobs_of(folder, points, roles, c, inputs, partial(constants_of_stages, c), named)
    if named + more:
        print("cannot be scored: " + "; ".join(named + more))
    for words in filter(None, (protocols.unused_points(points, roles, asked, c), without, twins(points, c))):
        print(words)
    with cluster_of(c) as cluster:
        print(fits.estimate(jobs, points, roles, cluster.workers if cluster else c.WORKERS))
        folder.mkdir(parents=True, exist_ok=True)
        run_jobs(jobs, work, c.WORKERS, start_fitting, (points, roles, inventory, c), cluster)
    recorded = with_constants_of(BY_SCRIPT[_STAGE].does, c)
    made, written = (_STAGE, recorded, [*inputs, paths.splits]), []
    steps, jobs = ([job for job in jobs if (job.family == fits.PUBLISHED_STEPS) == own] for own in (True, False))
    if steps:
        written += published_steps.write_steps(paths, inventory, steps, (_STAGE, recorded, [*inputs, paths.samples]))
    if jobs:  # the files of an earlier comparison are of one run until here
        protocols.write_splits(paths.splits, points, roles, (_STAGE, recorded, inputs))
        written.append(paths.splits)
        units = protocols.units_of(points, roles, c)
        written += score_tables.write_tables(paths, jobs, points, roles, units, c.RESAMPLES, c.SEED,
                                             (*made, optional))
        written += grid_maps.write_method_maps(paths, jobs, c.MAPPED, made)
        print(pages.measures_in_words(paths))
    for path in written:
        print(f"wrote {shown(path)}")


if __name__ == "__main__":
    run(main, Constants)
