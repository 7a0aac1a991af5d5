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
        src_data/grid_samples_<REGION>.csv, or <REGION>/factors.tif cells, for the curves over area
        src_data/<REGION>_samples_origin.csv, or Ts_<REGION>.csv    which landslides InSAR saw
        constants of stages 1 and 3
Writes  tmp/<REGION>_splits.csv.gz       the role of every sample under every protocol and seed
        tmp/<REGION>_scores.csv.gz       protocol, seed, with_dv, method, point, block, label, origin, score of query
        tmp/<REGION>_metrics.csv         protocol, subset, with_dv, k, steps, method, measure, mean, sd, n
        tmp/<REGION>_block_metrics.csv   the same per held-out block
        tmp/<REGION>_differences.csv     ours minus each rival, with the 95 % interval of a paired bootstrap over blocks
        tmp/<REGION>_rates.csv           success- and prediction-rate curves
        tmp/<REGION>_results.md          the tables as Markdown; docs/results.md holds those of Hong Kong
        tmp/<REGION>_comparison/         one file a (protocol, seed, method): what is there is not computed again
Run     python compare_methods.py [REGION=HK SEEDS=2 PROTOCOLS=published ...]
"""

import contextlib
import hashlib
import json
import os
import re
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import MinMaxScaler
from threadpoolctl import threadpool_limits
from tqdm import tqdm

import study_area
from lsm import comparison, grid, maml, rivals, splits
from lsm.artifacts import check, read_csv, read_npz, sha256, whole, write_csv
from lsm.meta_training import adapted_scores, mean_probability, meta_train, pooled_members, rows_by_block, start_states
from lsm.network import initial_weights, use_one_thread
from lsm.paths import Paths, shown
from lsm.raster import cells, read_band, read_composite
from lsm.settings import InputError, of_stage, run
from study_area import REGION, SEED  # noqa: F401  constants too, the same in every stage
from unsupervised_pretraining import dbn
from unsupervised_pretraining.stack import machines, pretrain

# ----------------------------------------------------------------------------------------------------------------
PROTOCOLS = "published,spatial,blocked,k-shot,augmentation"  # any of these, and development (published and spatial
#                              on the blocks for development)
METHODS = ""                 # families to run, see _FAMILIES, comma-separated; "" all
SEEDS = 5                    # repeats of published, spatial and k-shot; published 5
HELD_OUT_SHARE = 0.25        # of the blocks with more than MIN_SAMPLES samples; published 0.25
MIN_SAMPLES = 16             # published 16
DEVELOPMENT_SHARE = 0.4      # of these blocks, on which choices were settled; never held out otherwise
SQUARES = (5000, 10000)      # m, sides of the squares of blocked
FOLDS = 5                    # of blocked
WITHOUT = "DV"               # the factor also left out; the one that defines the weak labels. "" leaves none out
AREA_CELLS = 20_000          # cells drawn from the grid, for curves over area
SHOTS = (0, 1, 3, 5, 8, 16)  # k samples of a held-out block
TWELFTHS = (1, 2, 3, 4, 5, 6)        # and twelfths of a held-out block, as published; 6 is the whole support
STEPS = (0, 1, 2, 3, 4, 5, 20, 50)   # of adaptation; published 1 to 5
RESAMPLES = 1000             # of the bootstrap over blocks
WORKERS = 0                  # processes; 0: as many as cores
# baselines
DBN_HIDDEN = (32, 32)        # published: two RBMs of 32
DBN_RBM_LEARNING_RATE = 0.05  # not published
DBN_RBM_EPOCHS = 10          # not published
DBN_LEARNING_RATE = 0.5      # of fine-tuning; published 0.5
DBN_EPOCHS = 200             # published 200
DBN_BATCH = 64               # not published
DBN_DROPOUT = 0.1            # published 0.1
ALONE_STEPS, ALONE_LR = 200, 0.1     # of gradient descent, where a block is trained from scratch
TUNING_STEPS, TUNING_LR = 20, 0.05   # where one global network is fine-tuned a block
# ----------------------------------------------------------------------------------------------------------------

_STAGE = "compare_methods.py"


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


def stages(c, recipe, seed):
    """The constants that stages 1 and 3 would run with."""
    return [of_stage(script, REGION=c.REGION, RECIPE=recipe, SEED=seed)
            for script in ("unsupervised_pretraining/DAS_pretraining.py", "meta_learner.py")]


def ours(recipe):
    """Meta-learned, then adapted to each block on its own labelled points; and the same not adapted."""
    def method(split, c, seed):
        split = replace(split, form=recipe)
        one, three = stages(c, recipe, seed)
        states, pooled = trained(split, one, three, seed)
        adapted = on_own_points(states, pooled, split, three)
        name = "networks" if recipe == "recommended" else "published recipe"
        return {f"ours, {name}": adapted,
                f"ours, {name}, not adapted": mean_probability(pooled, split.x[split.asked])}

    return method


def on_own_points(states, pooled, split, c):
    """Scores of the asked points, each block adapted on its own labelled points and, where c says so, its neighbours'.
    """
    scores, _ = adapted_scores(states, pooled, split.x, split.label, split.xy, split.block, split.labelled,
                               split.asked, c)
    return scores[split.asked]


def from_one_network(state, split, steps):
    """Scores of blocks that adapt from one state by plain gradient descent, for `steps` steps."""
    c = SimpleNamespace(ADAPT_STEPS=steps, ADAPT_BATCH=0, NORMALISE=False, BORROW=0, SEED=0)
    return on_own_points([state], pooled_members([state], split.x[split.labelled], c), split, c)


def block_alone(split, c, seed):
    """The same network, every block trained from a random start on its own labelled points."""
    one, _ = stages(c, "recommended", seed)
    weights = initial_weights([split.x.shape[1], *one.HIDDEN], None, np.random.default_rng(seed))
    return {"block alone": from_one_network(maml.initial_state(weights, c.ALONE_LR, False), split, c.ALONE_STEPS)}


def fine_tuned(split, c, seed):
    """One network for all blocks, fitted to all labelled points; and the same fine-tuned to each block."""
    one, _ = stages(c, "recommended", seed)
    network = MLPClassifier(one.HIDDEN, batch_size=128, max_iter=rivals.EPOCHS, random_state=seed)
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):  # a fixed number of epochs is meant
        network.fit(split.x[split.labelled], split.label[split.labelled])
    weights = [a for pair in zip(network.coefs_, network.intercepts_, strict=True) for a in pair]
    weights[-2:] = [np.stack([-w / 2, w / 2], axis=-1).reshape(*w.shape[:-1], 2) for w in weights[-2:]]  # two logits
    weights = [w.astype(np.float32) for w in weights]
    return {"one network": network.predict_proba(split.x[split.asked])[:, 1],
            "one network, fine-tuned": from_one_network(maml.initial_state(weights, c.TUNING_LR, False), split,
                                                        c.TUNING_STEPS)}


def deep_belief_network(split, c, seed):
    """Two RBMs and a head, fine-tuned."""
    x = MinMaxScaler(clip=True).fit(split.x[split.labelled]).transform(split.x).astype(np.float32)
    weights = dbn.fit(x[split.labelled], split.label[split.labelled], c, np.random.default_rng(seed))
    return {"DBN": dbn.probability(weights, x[split.asked])}


def rival(name, method, form="published"):
    """A method of lsm/rivals.py, under its name in the tables."""
    return lambda split, c, seed: {name: method(replace(split, form=form), np.random.default_rng(seed))}


def k_shot(split, c, seed):
    """Ours with k samples of each held-out block (in a random order, drawn once) and some adaptation steps.

    {(k, steps): scores of the query}. k is a number of samples, or a text like "3/12" for a share of the block. One
    class among the k adapts too. The held-out blocks take no part in meta-training and borrow nothing.
    """
    one, three = stages(c, "recommended", seed)
    three.SUPPORT_TASKS, three.BORROW = False, 0
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
            three.ADAPT_STEPS = steps
            scores, _ = adapted_scores(states, pooled, split.x, split.label, split.xy, split.block, known, query, three,
                                       True)
            out[k, steps] = scores[query]
    return out


_BOTH = ("published", "spatial", "blocked")
_ALL = (*_BOTH, "augmentation")
_FAMILIES = {  # name: method, protocols; without a support some methods are not defined
    "networks": (ours("recommended"), _ALL),
    "published_recipe": (ours("published"), _BOTH),
    "svm": (rival("SVM", rivals.svm), _BOTH),
    "mlp": (rival("MLP", rivals.mlp), _BOTH),
    "dbn": (deep_belief_network, _BOTH),
    "rf": (rival("RF", rivals.random_forest), _ALL),
    "boosting": (rival("boosting", rivals.boosting()), _BOTH),
    "boosting_xy": (rival("boosting + XY", rivals.boosting("xy")), _ALL),
    "boosting_block": (rival("boosting + within block", rivals.boosting("block")), _BOTH[:2]),
    "boosting_block_xy": (rival("boosting + within block + XY", rivals.boosting("block", "xy")), _ALL),
    "rf_block": (rival("RF per block", rivals.random_forest_of_block), _BOTH[:2]),
    "block_alone": (block_alone, _BOTH[:2]),
    "fine_tuned": (fine_tuned, _BOTH[:2]),
    "knn": (rival("nearest neighbours in XY", rivals.nearest_neighbours), _BOTH),
    "block_rate": (rival("block landslide rate", rivals.block_rate), _BOTH[:2]),
    "slope": (rival("slope alone", rivals.slope_alone), _BOTH),
}


# ------------------------------------------------------------------------------------------------------ points, splits
@dataclass(frozen=True)
class Points:
    """Samples, then cells of the grid (label -1, origin "cell"), with the points as first axis."""

    sample: np.ndarray
    factors: np.ndarray
    xy: np.ndarray
    label: np.ndarray
    block: np.ndarray
    origin: np.ndarray


def read_points(paths, c) -> Points:
    """The samples of stage 2, each place and each factor row once, and cells drawn from the grid."""
    samples = read_npz(paths.tasks, "scene_sampling.py", SimpleNamespace(REGION=c.REGION))
    every = np.arange(len(samples["label"]))
    same = splits.repeats(samples["factors"], every)
    kept = np.setdiff1d(every, same)
    print(f"{len(kept):,} samples, each at a place of its own (stage 2 dropped repeated places); {len(same)} more "
          "repeat the factors of another and are left out")
    part = {name: samples[name][kept] for name in ("row", "factors", "xy", "label", "block")}
    origin = origins(paths, part)
    counts = dict(zip(*np.unique(origin, return_counts=True), strict=True))
    print(", ".join(f"{n:,} {name}" for name, n in counts.items()))
    cell_factors, cell_xy, cell_block = draw_cells(paths, c)
    n = len(cell_xy)
    return Points(np.append(part["row"], np.full(n, -1)), np.concatenate([part["factors"], cell_factors]),
                  np.concatenate([part["xy"], cell_xy]), np.append(part["label"].astype(np.int32), np.full(n, -1)),
                  np.append(part["block"], cell_block), np.append(origin, np.full(n, "cell")))


def origins(paths, samples) -> np.ndarray:
    """inventory, insar or absence for every sample, by the table of origins or else by the table of InSAR points."""
    out = np.where(samples["label"] == 1, "inventory", "absence").astype("<U9")
    if paths.samples_origin.is_file():
        return read_csv(paths.samples_origin, "augment_inventory.py", SimpleNamespace(REGION=None))["origin"].to_numpy(
            "<U9")[samples["row"]]
    if paths.insar_points.is_file():
        seen = pd.read_csv(paths.insar_points, encoding="utf-8-sig")[["X", "Y"]].to_numpy(float)
        place = {tuple(p) for p in seen}
        out[[tuple(p) in place and y == 1 for p, y in zip(samples["xy"], samples["label"], strict=True)]] = "insar"
    else:
        print(f"{shown(paths.insar_points)} is missing: every landslide counts as inventory")
    return out


def draw_cells(paths, c):
    """About c.AREA_CELLS cells of the grid, at random: factors, xy, block; those outside every block left out."""
    rng, source = np.random.default_rng([c.SEED, 3]), grid.grid_of(paths)
    wanted = np.sort(rng.permutation(grid.count(source))[:c.AREA_CELLS])
    labels, raster = read_band(paths.blocks), read_composite(paths.composite)
    factors, xy, first = [], [], 0
    for values, places in grid.chunks(source, study_area.factors(c.REGION), 500_000):
        here = wanted[(wanted >= first) & (wanted < first + len(values))] - first
        factors, xy, first = [*factors, values[here]], [*xy, places[here]], first + len(values)
    factors, xy = np.concatenate(factors), np.concatenate(xy)
    row, col = cells(raster.geotransform, xy)
    inside = (row >= 0) & (row < labels.shape[0]) & (col >= 0) & (col < labels.shape[1])
    block = np.where(inside, labels[np.where(inside, row, 0), np.where(inside, col, 0)], -1)
    return factors[block >= 0], xy[block >= 0], block[block >= 0]


def all_splits(points: Points, c) -> dict[tuple[str, int], np.ndarray]:
    """The role of every point under each (protocol, seed); a cell is query where its block or square is held out."""
    sample = points.label >= 0
    block, xy = points.block[sample], points.xy[sample]
    eligible = splits.eligible_blocks(block, c.MIN_SAMPLES)
    shuffled = np.random.default_rng([c.SEED, 0]).permutation(eligible)
    development = shuffled[:round(c.DEVELOPMENT_SHARE * len(eligible))]
    held_out = round(c.HELD_OUT_SHARE * len(eligible))
    pools = {"": np.setdiff1d(eligible, development), "development_": development}
    if min(map(len, pools.values())) < held_out or not held_out:
        raise InputError(f"HELD_OUT_SHARE={c.HELD_OUT_SHARE} of {len(eligible)} blocks: expected 1 or more, and no "
                         f"more than the {len(development)} of DEVELOPMENT_SHARE and the others; change either")
    out = {}
    for prefix, pool in pools.items():
        for name, cut in (("published", "random"), ("spatial", "line")):
            for seed in range(1, c.SEEDS + 1):  # the same blocks under both cuts
                role = splits.few_shot(block, xy, c.MIN_SAMPLES, np.sort(pool), held_out, cut,
                                       np.random.default_rng([c.SEED, 1, seed]))
                held = np.unique(block[role == splits.QUERY])
                cell_role = np.where(np.isin(points.block[~sample], held), splits.QUERY, splits.UNUSED)
                out[prefix + name, seed] = np.append(role, cell_role).astype(np.int8)
    for seed in range(1, c.SEEDS + 1):
        role = out["published", seed]
        taught = np.isin(role, (splits.TRAIN, splits.SUPPORT))
        out["augmentation", seed] = np.where(taught & (points.origin == "insar"), splits.UNUSED, role).astype(np.int8)
    for size in c.SQUARES:
        fold = splits.squares(points.xy, sample, size, c.FOLDS, np.random.default_rng([c.SEED, 2, size]))
        for k in range(c.FOLDS):
            outside = np.where(sample, splits.TRAIN, splits.UNUSED)
            out[f"blocked {size / 1000:g} km", k + 1] = np.where(fold == k, splits.QUERY, outside).astype(np.int8)
    return out


def write_splits(path, points: Points, roles: dict, made) -> None:
    """The table of roles: a column a protocol and seed."""
    sample = points.label >= 0
    table = pd.DataFrame({"sample": points.sample, "block": points.block, "x": points.xy[:, 0], "y": points.xy[:, 1],
                          "label": points.label, "origin": points.origin}
                         | {f"{name} {seed}": np.array(splits.ROLES)[role] for (name, seed), role in roles.items()})
    write_csv(path, table[sample], *made)


# --------------------------------------------------------------------------------------------------------------- jobs
@dataclass(frozen=True)
class Job:
    """One method on one split, and where its scores lie."""

    protocol: str
    seed: int
    with_dv: bool
    family: str
    path: Path
    made_of: str


def jobs_of(folder: Path, roles: dict, c, inputs: list[Path]) -> list[Job]:
    """Every job the constants ask for, those of one method together."""
    asked = [name.strip() for name in c.PROTOCOLS.split(",")]
    known = ("published", "spatial", "blocked", "k-shot", "augmentation", "development")
    for name, wanted, all_names in (("PROTOCOLS", asked, known), ("METHODS", families(c), tuple(_FAMILIES))):
        if unknown := set(wanted) - set(all_names):
            raise InputError(f"{name}: expected any of {', '.join(all_names)}, found {', '.join(sorted(unknown))}")
    factor_left_out = [True, False] if any(f.name == c.WITHOUT for f in study_area.factors(c.REGION)) else [True]
    parts = [(protocol, seed, with_dv, family) for family in families(c) for with_dv in factor_left_out
             for protocol, seed in roles if (kind := re.split("[ _]", protocol)[0]) in asked
             and ("published" if kind == "development" else kind) in _FAMILIES[family][1]]
    if "k-shot" in asked:
        parts += [(protocol, seed, True, "k-shot") for protocol, seed in roles if protocol == "published"]
    if not parts:
        raise InputError("PROTOCOLS, METHODS and SEEDS: expected fits to do, found that together they ask for none")
    free = {"PROTOCOLS", "METHODS", "SEEDS", "RESAMPLES", "WORKERS"}
    base = {k: v for k, v in vars(c).items() if k not in free} | {shown(p): sha256(p) for p in inputs}
    out = []
    for protocol, seed, with_dv, family in parts:
        learner = [vars(s) for recipe in ("published", "recommended") for s in stages(c, recipe, seed)]
        text = json.dumps([base, protocol, seed, with_dv, family, learner], default=list)
        name = f"{protocol}-{seed}-{'with' if with_dv else 'without'}-{family}.npz".replace(" ", "_")
        out.append(Job(protocol, seed, with_dv, family, folder / name, hashlib.sha256(text.encode()).hexdigest()))
    return out


def families(c) -> list[str]:
    """The methods to run; slope alone only where WITHOUT leaves such a factor."""
    asked = [name.strip() for name in c.METHODS.split(",")] if c.METHODS else list(_FAMILIES)
    names = {factor.name for factor in study_area.factors(c.REGION)} - {c.WITHOUT}
    return [name for name in asked if name != "slope" or "slope" in names]


def finished(job: Job) -> bool:
    """Whether the job's scores are there, made of the same inputs and constants."""
    if not job.path.is_file():
        return False
    with np.load(job.path, allow_pickle=False) as file:
        return str(file["made_of"]) == job.made_of


def start_worker(points, roles, c) -> None:
    """What every process holds; one thread each, since as many processes run as there are cores."""
    global _POINTS, _ROLES, _C
    _POINTS, _ROLES, _C = points, roles, c
    use_one_thread()


def work(job: Job) -> None:
    """Runs one method on one split and writes its scores."""
    points, role = _POINTS, _ROLES[job.protocol, job.seed]
    described = study_area.factors(_C.REGION)
    used = [j for j, factor in enumerate(described) if job.with_dv or factor.name != _C.WITHOUT]
    split = splits.Split(points.factors[:, used], tuple(described[j] for j in used), points.xy, points.label,
                         points.block, role, "recommended")
    method = k_shot if job.family == "k-shot" else _FAMILIES[job.family][0]
    with threadpool_limits(1):
        scores = method(split, _C, job.seed)
    arrays = {name if isinstance(name, str) else f"{name[0]}|{name[1]}": s.astype(np.float32)
              for name, s in scores.items()}
    with whole(job.path) as temporary, open(temporary, "wb") as file:
        np.savez(file, made_of=np.array(job.made_of), **arrays)


@contextlib.contextmanager
def one_thread_each():
    """Processes started meanwhile run their numerical libraries on one thread."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before


def run_jobs(jobs: list[Job], points, roles, c) -> None:
    """Runs what is not there yet, as many at a time as there are cores."""
    todo = [job for job in jobs if not finished(job)]
    if len(jobs) > len(todo):
        print(f"{len(jobs) - len(todo)} of {len(jobs)} results are there already")
    workers = min(c.WORKERS or os.cpu_count(), max(1, len(todo)))
    with (one_thread_each(),
          ProcessPoolExecutor(workers, get_context("spawn"), start_worker, (points, roles, c)) as pool,
          tqdm(total=len(todo), desc="comparison", unit="fit", disable=None, smoothing=0.02) as bar):
        for done in as_completed([pool.submit(work, job) for job in todo]):
            done.result()
            bar.update()


def main(c) -> None:
    """Runs the stage; c holds the constants."""
    paths = Paths(c.REGION)
    check(paths.blocks, "scene_sampling.py", SimpleNamespace(REGION=c.REGION))
    points = read_points(paths, c)
    roles = all_splits(points, c)
    inputs = [paths.tasks, paths.blocks, grid.grid_of(paths)]
    folder = paths.comparison
    folder.mkdir(parents=True, exist_ok=True)
    jobs = jobs_of(folder, roles, c, inputs)
    write_splits(paths.splits, points, roles, (_STAGE, c, inputs))
    run_jobs(jobs, points, roles, c)
    written = comparison.write_tables(paths, jobs, points, roles, c, (_STAGE, c, [*inputs, paths.splits]))
    print(comparison.summary(paths))
    for path in [paths.splits, *written]:
        print(f"wrote {shown(path)}")


if __name__ == "__main__":
    run(main, globals())
