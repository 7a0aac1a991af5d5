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
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from sklearn.preprocessing import MinMaxScaler
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from lsm.comparison import grid_maps, rival_networks, rivals, score_tables, splits
from lsm.comparison.points import all_splits, read_points, write_splits
from lsm.inputs import grid_cells
from lsm.learner import maml
from lsm.learner.meta_training import adapted_scores, meta_train, pooled_members, rows_by_block, start_states
from lsm.learner.network import use_one_thread
from lsm.run.artifacts import check, sha256
from lsm.run.jobs import Job, keep, run_jobs
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError, of_stage, run
from study_area import Area
from unsupervised_pretraining import dbn
from unsupervised_pretraining.stack import machines, pretrain


# ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Constants(Area):
    """What a person may set, here or for one run as NAME=value."""

    # any of these, and development (published and spatial on the blocks for development)
    PROTOCOLS: str = "published,spatial,blocked,k-shot,augmentation"
    METHODS: str = ""                               # families to run, see _FAMILIES, comma-separated; "" all
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
    MAPPED: tuple[str, ...] = ("ours", "ours, networks", "ours, published recipe", "SVM", "MLP", "DBN", "RF",
                               "boosting + XY")
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


def stages(c, recipe: str, seed: int) -> list[SimpleNamespace]:
    """The constants that stages 1 and 3 would run with."""
    return [of_stage(script, REGION=c.REGION, RECIPE=recipe, SEED=seed)
            for script in ("unsupervised_pretraining/DAS_pretraining.py", "meta_learner.py")]


def trained(split, one, three, seed):
    """The members' states after meta-training, and their networks as they are, not adapted.

    one, three  the constants of stages 1 and 3
    """
    rng, x, start = np.random.default_rng(seed), split.x, None
    if three.BASE_MODEL == "DAS":
        weights, *_ = pretrain(x[split.labelled], machines(x.shape[1], one, rng), tqdm(disable=True))
        start = {f"arr_{i}": w for i, w in enumerate(weights)}
    states = start_states(x.shape[1], one.HIDDEN, start, three, rng)
    _, rows = rows_by_block(split.block, split.role == splits.TRAIN)
    rows = [r for r in rows if len(r) > three.MIN_SAMPLES]
    if three.SUPPORT_TASKS:
        rows += [r for r in rows_by_block(split.block, split.role == splits.SUPPORT)[1] if len(r) > 1]
    tasks = maml.Tasks.of(rows)
    if len(tasks.sizes) < three.META_BATCH:
        raise InputError(f"META_BATCH={three.META_BATCH} of meta_learner.py: expected as many blocks for meta-training "
                         f"or more, found {len(tasks.sizes)}; lower it, or raise K of scene_sampling.py")
    states, _ = meta_train(states, 0, np.empty((0, 4)), x, split.label, split.xy, tasks, three)
    return states, pooled_members(states, x[split.role == splits.TRAIN], three)


def ours(recipe: str) -> Callable:
    """Meta-learned, then adapted to each block on its own labelled points; and the same not adapted."""
    def method(split, c, seed):
        split = replace(split, form=recipe)
        one, three = stages(c, recipe, seed)
        states, pooled = trained(split, one, three, seed)
        return (rival_networks.on_own_points(states, pooled, split, three), rival_networks.not_adapted(pooled, split))

    return method


def block_alone(split, c, seed):
    """The same network, every block from a random start."""
    one, _ = stages(c, "recommended", seed)
    return (rival_networks.block_alone(split, one.HIDDEN, c.ALONE_STEPS, c.ALONE_LR, seed),)


def fine_tuned(split, c, seed):
    """One network for all blocks, as it is and fine-tuned to each."""
    one, _ = stages(c, "recommended", seed)
    return rival_networks.fine_tuned(split, one.HIDDEN, c.TUNING_STEPS, c.TUNING_LR, seed)


def deep_belief_network(split, c, seed):
    """Two RBMs and a head, fine-tuned."""
    scaler = MinMaxScaler(clip=True).fit(split.x[split.labelled])

    def scaled(rows) -> np.ndarray:
        return scaler.transform(split.encoded(rows)).astype(np.float32)

    weights = dbn.fit(scaled(split)[split.labelled], split.label[split.labelled], c, np.random.default_rng(seed))
    return (lambda rows: dbn.probability(weights, scaled(rows)),)


def rival(method: Callable, form: str = "published") -> Callable:
    """A method of lsm/comparison/rivals.py."""
    return lambda split, c, seed: (method(replace(split, form=form), np.random.default_rng(seed)),)


def k_shot(split, c, seed):
    """Ours with k samples of each held-out block (in a random order, drawn once) and some adaptation steps.

    {(k, steps): scores of the query}. k is a number of samples, or a text like "3/12" for a share of the block. One
    class among the k adapts too. The held-out blocks take no part in meta-training and borrow nothing.
    """
    one, three = stages(c, "recommended", seed)
    three = replace(three, SUPPORT_TASKS=False, BORROW=0)
    states, pooled = trained(split, one, three, seed)
    order = np.random.default_rng([seed, 2]).permutation(len(split.role))
    place = np.empty(len(order), np.int64)  # of every support sample among those of its block, in a random order
    for rows in rows_by_block(split.block[order], split.role[order] == splits.SUPPORT)[1]:
        place[order[rows]] = np.arange(len(rows))
    size = np.bincount(split.block, np.isin(split.role, (splits.SUPPORT, splits.QUERY)) & (split.label >= 0))
    query, out = split.role == splits.QUERY, {}
    shots = [(k, np.full(len(size), k)) for k in c.SHOTS] + [(f"{n}/12", np.round(size * n / 12)) for n in c.TWELFTHS]
    for k, most in shots:
        known = (split.role == splits.SUPPORT) & (place < most[split.block])
        for steps in c.STEPS:
            scores, _ = adapted_scores(states, pooled, split.x, split.label, split.xy, split.block, known, query,
                                       replace(three, ADAPT_STEPS=steps), True)
            out[k, steps] = scores[query]
    return out


_BOTH = ("published", "spatial", "blocked")
_ALL = (*_BOTH, "augmentation")
_XY, _BLOCK_XY = "boosting + XY", "boosting + within block + XY"
# family: its methods as the tables name them, what fits them to (split, constants, seed) and returns what predicts rows
# by each, protocols; without a support some are not defined
_FAMILIES = {
    "networks": (("ours, networks", "ours, networks, not adapted"), ours("recommended"), _ALL),
    "published_recipe": (("ours, published recipe", "ours, published recipe, not adapted"), ours("published"), _BOTH),
    "svm": (("SVM",), rival(rivals.svm), _BOTH),
    "mlp": (("MLP",), rival(rivals.mlp), _BOTH),
    "dbn": (("DBN",), deep_belief_network, _BOTH),
    "rf": (("RF",), rival(rivals.random_forest), _ALL),
    "boosting": (("boosting",), rival(rivals.boosting()), _BOTH),
    "boosting_xy": ((_XY,), rival(rivals.boosting("xy")), _ALL),
    "boosting_block": (("boosting + within block",), rival(rivals.boosting("block")), _BOTH[:2]),
    "boosting_block_xy": ((_BLOCK_XY,), rival(rivals.boosting("block", "xy")), _ALL),
    "rf_block": (("RF per block",), rival(rivals.random_forest_of_block), _BOTH[:2]),
    "block_alone": (("block alone",), block_alone, _BOTH[:2]),
    "fine_tuned": (("one network", "one network, fine-tuned"), fine_tuned, _BOTH[:2]),
    "knn": (("nearest neighbours in XY",), rival(rivals.nearest_neighbours), _BOTH),
    "block_rate": (("block landslide rate",), rival(rivals.block_rate), _BOTH[:2]),
    "slope": (("slope alone",), rival(rivals.slope_alone), _BOTH),
}


def jobs_of(folder: Path, roles: dict, c, inputs: list[Path]) -> list[Job]:
    """Every job the constants ask for, those of one method together."""
    asked = [name.strip() for name in c.PROTOCOLS.split(",")]
    known = ("published", "spatial", "blocked", "k-shot", "augmentation", "development")
    methods = (score_tables.OURS, *(name for names, *_ in _FAMILIES.values() for name in names))
    for name, wanted, all_names in (("PROTOCOLS", asked, known), ("METHODS", families(c), tuple(_FAMILIES)),
                                    ("MAPPED", c.MAPPED, methods)):
        if unknown := set(wanted) - set(all_names):
            raise InputError(f"{name}: expected any of {', '.join(all_names)}, found {', '.join(sorted(unknown))}")
    factor_left_out = [True, False] if any(f.name == c.WITHOUT for f in c.factors) else [True]
    parts = [(protocol, seed, with_dv, family) for family in families(c) for with_dv in factor_left_out
             for protocol, seed in roles if (kind := re.split("[ _]", protocol)[0]) in asked
             and ("published" if kind == "development" else kind) in _FAMILIES[family][2]]
    if "k-shot" in asked:
        parts += [(protocol, seed, True, "k-shot") for protocol, seed in roles if protocol == "published"]
    if not parts:
        raise InputError("PROTOCOLS, METHODS and SEEDS: expected fits to do, found that together they ask for none")
    mapped = [family for family, (names, *_) in _FAMILIES.items() if set(names) & set(grid_maps.parts_of(c.MAPPED))]
    free = {"PROTOCOLS", "METHODS", "SEEDS", "MAPPED", "RESAMPLES", "WORKERS"}
    base = {k: v for k, v in vars(c).items() if k not in free} | {shown(p): sha256(p) for p in inputs}
    out = []
    for protocol, seed, with_dv, family in parts:
        learner = [vars(s) for recipe in ("published", "recommended") for s in stages(c, recipe, seed)]
        text = json.dumps([base, protocol, seed, with_dv, family, learner], default=list)
        name = f"{protocol}-{seed}-{'with' if with_dv else 'without'}-{family}".replace(" ", "_")
        maps = (protocol, seed, with_dv) == ("published", 1, True) and family in mapped
        out.append(Job(protocol, seed, with_dv, family, folder / f"{name}.npz",
                       hashlib.sha256(text.encode()).hexdigest(), folder / f"{name}-map.npz" if maps else None))
    return out


def families(c) -> list[str]:
    """The methods to run; slope alone only where WITHOUT leaves such a factor."""
    asked = [name.strip() for name in c.METHODS.split(",")] if c.METHODS else list(_FAMILIES)
    names = {factor.name for factor in c.factors} - {c.WITHOUT}
    return [name for name in asked if name != "slope" or "slope" in names]


def start_worker(points, roles, c) -> None:
    """What every process holds; one thread each, since as many processes run as there are cores."""
    global _POINTS, _ROLES, _C
    _POINTS, _ROLES, _C = points, roles, c
    use_one_thread()


def work(job: Job) -> None:
    """Fits one family to one split and writes its methods' scores and, where they are asked for, maps."""
    points, described = _POINTS, _C.factors
    used = [j for j, factor in enumerate(described) if job.with_dv or factor.name != _C.WITHOUT]
    split = splits.Split(points.factors[:, used], tuple(described[j] for j in used), points.xy, points.label,
                         points.block, _ROLES[job.protocol, job.seed], "recommended", points.blocks)
    with threadpool_limits(1):
        if job.family == "k-shot":
            scores = {f"{k}|{steps}": s for (k, steps), s in k_shot(split, _C, job.seed).items()}
        else:
            names, method, _ = _FAMILIES[job.family]
            methods = dict(zip(names, method(split, _C, job.seed), strict=True))
            scores = {name: predict(split.rows(split.asked)) for name, predict in methods.items()}
        if job.maps:
            keep(job.maps, job.made_of, grid_maps.of_grid(Paths(_C.REGION), described, methods),
                 np.savez_compressed)
    keep(job.path, job.made_of, {name: s.astype(np.float32) for name, s in scores.items()})


def main(c) -> None:
    """Runs the stage; c holds the constants."""
    paths = Paths(c.REGION)
    check(paths.blocks, "scene_sampling.py", SimpleNamespace(REGION=c.REGION))
    points = read_points(paths, c.factors, c)
    roles = all_splits(points, c)
    inputs = [paths.tasks, paths.blocks, grid_cells.grid_of(paths)]
    folder = paths.comparison
    folder.mkdir(parents=True, exist_ok=True)
    jobs = jobs_of(folder, roles, c, inputs)
    write_splits(paths.splits, points, roles, (_STAGE, c, inputs))
    run_jobs(jobs, work, c.WORKERS, start_worker, (points, roles, c))
    made = (_STAGE, c, [*inputs, paths.splits])
    written = score_tables.write_tables(paths, jobs, points, roles, c, made)
    written += grid_maps.write(paths, jobs, c.MAPPED, made)
    print(score_tables.summary(paths))
    for path in [paths.splits, *written]:
        print(f"wrote {shown(path)}")


if __name__ == "__main__":
    run(main, Constants)
