"""Networks of blocks: ours, the published recipe, few samples, and networks that differ from ours in where they start.

A fitted method is a function (rows of splits.Rows) -> landslide probabilities (rows,). lsm imports no stage: what the
methods need of stages 1 and 3 comes in as `Stages`.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from lsm.comparison.rivals import baselines, dbn
from lsm.comparison.splits import QUERY, SUPPORT, TRAIN, UNUSED, Split
from lsm.learner.adaptation import Adaptation, adapted_scores, models_of_blocks, places_of_samples, pooled_members
from lsm.learner.maml import initial_state
from lsm.learner.meta_training import TrainingConstants, meta_train, start_states
from lsm.learner.network import initial_weights
from lsm.learner.prediction import mean_probability, predict
from lsm.learner.tasks import EncodedSamples, Tasks, rows_by_block
from lsm.run.settings import InputError


class PretrainingConstants(Protocol):
    """The constant of stage 1 that is read here; `Stages.pretrained` reads the others."""

    HIDDEN: tuple[int, ...]


class LearnerConstants(TrainingConstants, Protocol):
    """The constants of stage 3: of meta-training, of `Adaptation`, and these."""

    BASE_MODEL: str
    MIN_SAMPLES: int
    SUPPORT_TASKS: bool


class MethodConstants(dbn.DBNConstants, Protocol):
    """The constants of compare_methods.py that its methods read."""

    ALONE_STEPS: int
    ALONE_LR: float
    TUNING_STEPS: int
    TUNING_LR: float
    SHOTS: tuple[int, ...]
    TWELFTHS: tuple[int, ...]
    STEPS: tuple[int, ...]


@dataclass(frozen=True)
class Stages:
    """What methods need of the stages.

    constants   (recipe, seed) -> the constants that stages 1 and 3 would run with
    pretrained  (inputs (samples, inputs), constants of stage 1, rng) -> the arrays of savedmodel.npz
    rbm         the restricted Boltzmann machine of stage 1, a class
    """

    constants: Callable[[str, int], tuple[PretrainingConstants, LearnerConstants]]
    pretrained: Callable[[np.ndarray, PretrainingConstants, np.random.Generator], dict[str, np.ndarray]]
    rbm: Callable


# ------------------------------------------------------------------------------------ networks that adapt to each block
def samples_of(split: Split) -> EncodedSamples:
    """The points of a split as the networks see them, all of the same weight."""
    return EncodedSamples(split.x, split.label, split.xy, split.block, np.ones(len(split.label), np.float32))


def tasks_of(block: np.ndarray, role: np.ndarray, min_samples: int, supports: bool) -> list[np.ndarray]:
    """The rows of every task of meta-training: blocks with more than `min_samples` points that teach and, with
    `supports`, the supports of held-out blocks. block, role (points,)."""
    rows = [r for r in rows_by_block(block, role == TRAIN)[1] if len(r) > min_samples]
    if supports:
        rows += [r for r in rows_by_block(block, role == SUPPORT)[1] if len(r) > 1]
    return rows


def trained(split: Split, one: PretrainingConstants, three: LearnerConstants, pretrained: Callable, seed: int
            ) -> tuple[list[dict], list[np.ndarray]]:
    """The members' states after meta-training, and the intermediate models, not adapted.

    one, three  the constants of stages 1 and 3
    """
    rng, x = np.random.default_rng(seed), split.x
    start = pretrained(x[split.seen], one, rng) if three.BASE_MODEL == "DAS" else None
    states = start_states(x.shape[1], one.HIDDEN, start, three, rng)
    rows = tasks_of(split.block, split.role, three.MIN_SAMPLES, three.SUPPORT_TASKS)
    if len(rows) < three.META_BATCH:
        raise InputError(f"META_BATCH={three.META_BATCH} of meta_learner.py: expected as many blocks for meta-training "
                         f"or more, found {len(rows)}; lower it")
    states, _ = meta_train(states, 0, np.empty((0, 4)), samples_of(split), Tasks.of(rows), three)
    return states, pooled_members(states, x[split.role == TRAIN], three.NORMALISE)


def on_own_points(states: list[dict], pooled: list[np.ndarray], split: Split, how: Adaptation, seed: int) -> Callable:
    """Each block predicted by networks adapted on its own labelled points and, with how.BORROW, on its neighbours'."""
    blocks = max(split.blocks, int(split.block.max()) + 1)
    held_out = np.bincount(split.block, split.asked, blocks) > 0

    def adapted(asked: np.ndarray) -> list[np.ndarray]:
        samples = samples_of(split)
        return models_of_blocks(states, pooled, samples, split.labelled, places_of_samples(samples, asked, blocks), how,
                                np.random.default_rng([seed, 1]))[0]

    scored = adapted(split.asked)

    @cache
    def everywhere() -> list[np.ndarray]:  # the held-out blocks as scored: what a map asks for changes no score
        others = adapted(~held_out[split.block])
        for w, of_scored in zip(others, scored, strict=True):
            w[:, held_out] = of_scored[:, held_out]
        return others

    return lambda rows: predict(scored if held_out[rows.block].all() else everywhere(), rows.block, split.encoded(rows))


def ours(recipe: str) -> Callable:
    """Meta-learned, then adapted to each block on its own labelled points; and the same not adapted."""
    def fit(split: Split, c: MethodConstants, stages: Stages, seed: int) -> tuple[Callable, Callable]:
        split = replace(split, form=recipe)
        one, three = stages.constants(recipe, seed)
        states, pooled = trained(split, one, three, stages.pretrained, seed)
        return (on_own_points(states, pooled, split, Adaptation.of(vars(three)), three.SEED),
                lambda rows: mean_probability(pooled, split.encoded(rows)))

    return fit


def from_one_network(weights: list[np.ndarray], rate: float, split: Split, steps: int) -> Callable:
    """Each block predicted by a network that starts from these weights and descends the gradient for `steps` steps."""
    states = [initial_state(weights, rate, False)]
    pooled = pooled_members(states, split.x[split.labelled], False)
    return on_own_points(states, pooled, split, Adaptation(steps, 0, 0, False), 0)


def block_alone(split: Split, c: MethodConstants, stages: Stages, seed: int) -> tuple[Callable]:
    """The same network, trained in every block from a random start on the block's own labelled points."""
    one, _ = stages.constants("recommended", seed)
    weights = initial_weights([split.x.shape[1], *one.HIDDEN], None, np.random.default_rng(seed))
    return (from_one_network(weights, c.ALONE_LR, split, c.ALONE_STEPS),)


def fine_tuned(split: Split, c: MethodConstants, stages: Stages, seed: int) -> tuple[Callable, Callable]:
    """One network for all blocks, fitted to all labelled points; and the same fine-tuned to each block."""
    one, _ = stages.constants("recommended", seed)
    network = MLPClassifier(one.HIDDEN, batch_size=128, max_iter=baselines.EPOCHS, random_state=seed)
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):  # a fixed number of epochs is meant
        everywhere = baselines.fitted(network, split.encoded, split)
    weights = [a for pair in zip(network.coefs_, network.intercepts_, strict=True) for a in pair]
    weights[-2:] = [np.stack([-w / 2, w / 2], axis=-1).reshape(*w.shape[:-1], 2) for w in weights[-2:]]  # two logits
    weights = [w.astype(np.float32) for w in weights]
    return everywhere, from_one_network(weights, c.TUNING_LR, split, c.TUNING_STEPS)


def k_shot(split: Split, c: MethodConstants, stages: Stages, seed: int) -> dict[tuple, np.ndarray]:
    """Ours with k samples of each held-out block (in a random order, drawn once) and some adaptation steps.

    Returns {(k, steps): scores of the query}. k is a number of samples, or a text like "3/12" for a share of the block.
    A block adapts too where its k samples hold one class. Held-out blocks take no part in meta-training and borrow
    nothing. Encoder and pretraining see no sample of a held-out block either: the support has more than k, and another
    encoder for each k would need other networks.
    """
    one, three = stages.constants("recommended", seed)
    three = replace(three, SUPPORT_TASKS=False, BORROW=0)
    outside = replace(split, role=np.where(split.role == TRAIN, TRAIN, UNUSED))
    states, pooled = trained(outside, one, three, stages.pretrained, seed)
    samples = samples_of(outside)
    order = np.random.default_rng([seed, 2]).permutation(len(split.role))
    place = np.empty(len(order), np.int64)  # of every support sample among the support of its block
    for rows in rows_by_block(split.block[order], split.role[order] == SUPPORT)[1]:
        place[order[rows]] = np.arange(len(rows))
    size = np.bincount(split.block, np.isin(split.role, (SUPPORT, QUERY)) & (split.label >= 0))
    query, out = split.role == QUERY, {}
    shots = [(k, np.full(len(size), k)) for k in c.SHOTS] + [(f"{n}/12", np.round(size * n / 12)) for n in c.TWELFTHS]
    for k, most in shots:
        known = (split.role == SUPPORT) & (place < most[split.block])
        for steps in c.STEPS:
            how = replace(Adaptation.of(vars(three)), ADAPT_STEPS=steps)
            scores, _ = adapted_scores(states, pooled, samples, known, query, how,
                                       np.random.default_rng([three.SEED, 1]), one_class=True)
            out[k, steps] = scores[query]
    return out
