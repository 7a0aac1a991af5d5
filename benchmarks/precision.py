"""The learner in float32, as it runs, against the same learner in float64, on a region that has been through stage 2.

The same tasks, draws and starting weights; meta-training, adaptation of each block and scores as in stage 3 with
REACH=False: a block is predicted by its adapted networks, however far its samples lie. A float32 run of another seed
gives the scale: what a difference of precision means beside a difference of draws.

Reads   metatask_sampling/<REGION>_tasks.npz, unsupervised_pretraining/model_init/encoder.npz and savedmodel.npz
Run     python benchmarks/precision.py [REGION=demo ...]   constants of meta_learner.py
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import meta_learner
from lsm.comparison import splits
from lsm.learner import network
from lsm.learner.encoder import Encoder
from lsm.learner.lanes.adaptation_steps import adaptation_steps
from lsm.learner.lanes.outer_steps import outer_steps
from lsm.learner.members import Training
from lsm.learner.meta_training import batches_of, tasks_of
from lsm.learner.prediction import log_odds, probability
from lsm.learner.support.supports import Supports
from lsm.learner.tasks import EncodedSamples, Tasks, held_out_roles
from lsm.run.artifacts import read_npz
from lsm.run.paths import Paths
from lsm.run.settings import constants


def cast(arrays: list, dtype) -> list:
    """The arrays, floats as `dtype`."""
    return [np.asarray(a, dtype) if np.asarray(a).dtype.kind == "f" else np.asarray(a) for a in arrays]


def roles_of(table: dict, samples: EncodedSamples, c) -> np.ndarray:
    """The role of every sample (samples,) as stage 3 has it: what repeats the factors of another is in no set."""
    role = held_out_roles(samples, c, np.random.default_rng(c.SEED))
    role[splits.repeated_rows(table["factors"], np.flatnonzero(role != "unused"))] = "unused"
    return role


def trained(training: Training, samples: EncodedSamples, known: np.ndarray, c, dtype) -> Training:
    """Meta-training of all members to the end in `dtype`."""
    for k, kind in enumerate(training.kinds):
        tasks = tasks_of(kind, samples, known, c)
        states = [{key: cast(parts, dtype) for key, parts in state.items() if key != "fitted"}
                  for state in training.states[k]]
        for done in range(0, kind.iterations, c.LOG_EVERY):
            training.done, steps = done, min(c.LOG_EVERY, kind.iterations - done)
            for m, state in enumerate(states):
                batches = [batch[:steps] for batch in cast(batches_of(training, k, samples, tasks, c, [m]), dtype)]
                states[m], *_ = outer_steps(state, done, batches, c.INNER_STEPS, c.META_LR, kind.normalise,
                                            c.FIRST_ORDER, kind.decay)
        training.states[k] = states
    return training


def scores(training: Training, samples: EncodedSamples, known: np.ndarray, asked: np.ndarray, dtype) -> np.ndarray:
    """Probability (asked samples,) by the networks adapted to each block, all in `dtype`."""
    supports, out = Supports(samples.xy, samples.block, known), np.full(len(known), np.nan)
    for block in np.unique(samples.block[asked]):
        rows, each = np.flatnonzero(asked & (samples.block == block)), []
        for kind, states in zip(training.kinds, training.states, strict=True):
            near = supports.of(block, samples.xy[rows], kind.borrow)
            task = Tasks.of([near])
            for state in states:
                x = samples.x[:, :len(state["weights"][0])].astype(dtype)
                mask = (task.mask() * samples.weight[task.members]).astype(dtype)
                start = {key: cast(state[key], dtype) for key in ("weights", "inner_lr")}
                weights = [w[0] for w in adaptation_steps(start, x[task.members], samples.label[task.members], mask,
                                                          task.sizes, kind.steps, kind.normalise)]
                each.append(log_odds(weights, x[rows]))
        out[rows] = probability(np.mean(each, axis=0))
    return out[asked]


def main(arguments: list[str]) -> None:
    c = constants(meta_learner.Constants, arguments)
    paths, pretraining = Paths(c.REGION), "unsupervised_pretraining/DAS_pretraining.py"
    encoder = Encoder.from_json(str(read_npz(paths.encoder, pretraining, c)["encoder"]))
    saved = read_npz(paths.saved_model, pretraining, c)
    table = read_npz(paths.tasks, "scene_sampling.py", c)
    samples = EncodedSamples.of_file(table, encoder)
    network.use_one_thread()
    role = roles_of(table, samples, c)
    known, asked = np.isin(role, ("meta-train", "support")), role == "query"
    hidden = tuple(len(saved[f"arr_{i}"]) for i in (1, 3, 5))

    found = {}
    for name, seed, dtype in (("float32", c.SEED, np.float32), ("float64", c.SEED, np.float64),
                              ("float32, another seed", c.SEED + 1, np.float32)):
        of_seed = replace(c, SEED=seed)
        training = Training.start(len(encoder.columns), hidden, saved, of_seed, int(known.sum()),
                                  np.random.default_rng(seed))
        training = trained(training, samples, known, of_seed, dtype)
        found[name] = scores(training, samples, known, asked, dtype)
        print(f"{name:22} AUROC {roc_auc_score(samples.label[asked], found[name]):.5f}", flush=True)
        if name != "float32":
            gap = np.abs(found[name] - found["float32"])
            print(f"float32 against {name}: probabilities of {asked.sum():,} held-out samples differ by "
                  f"{gap.mean():.1e} on average, {np.quantile(gap, 0.99):.1e} at the 99th percentile, {gap.max():.1e} "
                  "at most", flush=True)


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        sys.exit()
    main(sys.argv[1:])
