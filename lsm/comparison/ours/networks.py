"""Networks of blocks: ours, the published recipe, few samples, and networks that differ from ours in where they start.

A fitted method is a function (splits.PredictedRows) -> landslide probabilities (rows,). lsm imports no stage: what the
methods need of stages 1 and 3 comes in as `Stages`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol

import numpy as np
from scipy.special import expit, logit
from sklearn.neural_network import MLPClassifier

from lsm.comparison.rivals import baselines, dbn
from lsm.comparison.splits import QUERY, SUPPORT, TRAIN, UNUSED, Split
from lsm.learner.adaptation import adapted_scores, models_of_blocks, pooled_members
from lsm.learner.members import HISTORY, Kind, Training, initial_state, initial_weights
from lsm.learner.meta_training import meta_train
from lsm.learner.prediction import Networks, mean_log_odds, predict, probability
from lsm.learner.support.dates import place_tells
from lsm.learner.support.reach import intermediate_models
from lsm.learner.support.supports import places_of_samples
from lsm.learner.tasks import EncodedSamples, rows_by_block
from lsm.learner.transfer.source_model import StartConstants, begun, source_for


class PretrainingConstants(Protocol):
    """The constant of stage 1 that is read here; `Stages.pretrained` reads the others."""

    HIDDEN: tuple[int, ...]


class LearnerConstants(StartConstants, Protocol):
    """The constants of stage 3: of meta-training, and these."""

    BASE_MODEL: str
    LEVEL_BELOW: float
    REACH: bool


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
    return EncodedSamples(split.encoder.transform(split.factors, split.xy), split.label, split.xy, split.block,
                          np.ones(len(split.label), np.float32))


def trained(split: Split, one: PretrainingConstants, three: LearnerConstants, pretrained: Callable, seed: int,
            known: np.ndarray) -> tuple[Training, Networks]:
    """The members after meta-training, and the intermediate models, not adapted. Where the newest landslides are asked,
    as with FORECAST of meta_learner.py.

    one, three  the constants of stages 1 and 3
    known       (points,) bool: the points to learn from
    """
    rng, samples = np.random.default_rng(seed), samples_of(split)
    start = pretrained(split.x[split.seen], one, rng) if three.BASE_MODEL == "DAS" else None
    place = split.year is None or place_tells(samples, known, split.year, seed)
    three = replace(three, PLACE=three.PLACE and place)
    source = source_for(three, split.encoder, int(known.sum()))
    training = begun(source, split.encoder, one.HIDDEN, start, three, int(known.sum()), rng)
    meta_train(training, samples, known, three, threads=1)
    return training, intermediate_models(training, samples, known, known, three, place)


def on_own_points(training: Training, pooled: Networks, split: Split, seed: int, one_class: bool = False) -> Callable:
    """(rows) -> Networks of all blocks, and the encoded rows: each block adapted on its own labelled points and, where
    the kind of member borrows, on its neighbours'; one_class: on points of one class too."""
    held_out = np.bincount(split.block, split.asked, split.block_count) > 0

    def adapted(asked: np.ndarray) -> Networks:
        samples = samples_of(split)
        places = places_of_samples(samples, asked, split.block_count)
        return models_of_blocks(training, pooled, samples, split.labelled, places, np.random.default_rng([seed, 1]),
                                one_class)[0]

    scored = adapted(split.asked)

    @cache
    def everywhere() -> Networks:  # the held-out blocks as scored: what a map asks for changes no score
        others = adapted(~held_out[split.block])
        for kind, weights in others.items():
            for w, of_scored in zip(weights, scored[kind], strict=True):
                w[:, held_out] = of_scored[:, held_out]
        return others

    return lambda rows: scored if held_out[rows.block].all() else everywhere()


def by_networks(networks_for: Callable, split: Split, kind: str = "") -> Callable:
    """A fitted method: each block predicted by its networks, or by the networks of one kind of member alone."""
    def predicted(rows) -> np.ndarray:
        networks = networks_for(rows)
        chosen = {kind: networks[kind]} if kind else networks
        return predict(chosen, rows.block, split.encoder.transform(rows.factors, rows.xy))

    return predicted


def ours(recipe: str) -> Callable:
    """Meta-learned, then adapted to each block on its own labelled points; each kind of member alone (None
    where there is one kind; the published recipe never has two); and the intermediate models, not adapted."""
    alone = ("local", "regional") if recipe == "recommended" else ()

    def fit(split: Split, c: MethodConstants, stages: Stages, seed: int) -> tuple[Callable | None, ...]:
        split = replace(split, form=recipe)
        one, three = stages.constants(recipe, seed)
        # where a task is a block, as published, the points of held-out blocks teach only the adaptation
        known = split.labelled if three.LOCAL_NEIGHBOURHOOD else split.role == TRAIN
        training, pooled = trained(split, one, three, stages.pretrained, seed, known)
        networks_for = on_own_points(training, pooled, split, seed)
        return (by_networks(networks_for, split),
                *(by_networks(networks_for, split, kind) if len(training.kinds) > 1 else None for kind in alone),
                lambda rows: probability(mean_log_odds(pooled, split.encoder.transform(rows.factors, rows.xy))))

    return fit


def from_one_network(weights: list[np.ndarray], rate: float, split: Split, steps: int, alone: bool = False) -> Callable:
    """Each block predicted by a network that starts from these weights and descends the gradient for `steps` steps.

    alone  whether these weights know nothing: then a block with points of one class learns this class, and a block
           without points has the share of landslides of all, as for `baselines.random_forest_of_block`
    """
    kind = Kind("alone", 1, 0, 0, 0, 0, False, False, False, 0, steps, 0, 0.0)
    training = Training([kind], [[initial_state(weights, rate, False)]], 0, np.empty((0, len(HISTORY))))
    pooled = pooled_members(training, split.x[split.labelled])
    if alone:
        *_, last, bias = pooled["alone"]
        last[:], bias[:] = 0, [0, logit(split.label[split.labelled].mean())]
    return by_networks(on_own_points(training, pooled, split, 0, one_class=alone), split)


def block_alone(split: Split, c: MethodConstants, stages: Stages, seed: int) -> tuple[Callable]:
    """The same network, trained in every block from a random start on the block's own labelled points alone."""
    one, _ = stages.constants("recommended", seed)
    weights = initial_weights([split.x.shape[1], *one.HIDDEN], None, np.random.default_rng(seed))
    return (from_one_network(weights, c.ALONE_LR, split, c.ALONE_STEPS, alone=True),)


def one_network(split: Split, c: MethodConstants, stages: Stages, seed: int) -> tuple[Callable, Callable]:
    """One network for all blocks, fitted to all labelled points; and the same fine-tuned to each block."""
    one, _ = stages.constants("recommended", seed)
    network = MLPClassifier(one.HIDDEN, batch_size=128, max_iter=baselines.EPOCHS, random_state=seed)
    everywhere = baselines.fitted_network(network, split.encoded, split)
    weights = [a for pair in zip(network.coefs_, network.intercepts_, strict=True) for a in pair]
    weights[-2:] = [np.stack([-w / 2, w / 2], axis=-1).reshape(*w.shape[:-1], 2) for w in weights[-2:]]  # two logits
    weights = [w.astype(np.float32) for w in weights]
    return everywhere, from_one_network(weights, c.TUNING_LR, split, c.TUNING_STEPS)


def plain_networks(split: Split, c: MethodConstants, stages: Stages, seed: int) -> tuple[Callable]:
    """What meta-learning is measured against: as many networks of the same widths as make our map, of the factors and
    of X and Y, each fitted to all labelled points; the mean of their log-odds."""
    one, three = stages.constants("recommended", seed)
    networks = [MLPClassifier(one.HIDDEN, alpha=0.01, batch_size=128, max_iter=baselines.EPOCHS,
                              random_state=seed * 100 + m) for m in range(three.LOCAL_MEMBERS + three.REGIONAL_MEMBERS)]
    each = [baselines.fitted_network(network, lambda rows: split.encoder.transform(rows.factors, rows.xy), split)
            for network in networks]

    def predicted(rows) -> np.ndarray:
        return expit(logit(np.clip([predict(rows) for predict in each], 1e-6, 1 - 1e-6)).mean(axis=0))

    return (predicted,)


def k_shot(split: Split, c: MethodConstants, stages: Stages, seed: int) -> dict[tuple, np.ndarray]:
    """Ours with k samples of each held-out block (in a random order, drawn once) and some adaptation steps.

    Returns {(k, steps): scores of the query}. k is a number of samples, or a text like "3/12" for a share of the block.
    A block adapts too where its k samples hold one class. Held-out blocks take no part in meta-training and borrow
    nothing. Encoder and pretraining see no sample of a held-out block either: the support has more than k, and another
    encoder for each k would need other networks.
    """
    one, three = stages.constants("recommended", seed)
    outside = replace(split, role=np.where(split.role == TRAIN, TRAIN, UNUSED))
    training, pooled = trained(outside, one, three, stages.pretrained, seed, outside.labelled)
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
            kinds = [replace(kind, steps=steps, borrow=0) for kind in training.kinds]
            scores, _ = adapted_scores(replace(training, kinds=kinds), pooled, samples, known, query,
                                       np.random.default_rng([seed, 1]), one_class=True)
            out[k, steps] = scores[query]
    return out
