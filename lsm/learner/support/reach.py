"""How far from its samples an adapted network counts: the reach, measured on the labelled points.

What a block learns from samples holds near them. Far away the adapted network does harm, and the intermediate model is
the better guess. A block's network therefore lies between the two, weight by weight (as in Wortsman et al. 2022, Robust
fine-tuning, CVPR, 7959): the adapted one counts exp(-distance / reach).

The reach is measured where labels are known. Blocks with samples stand for blocks without: each adapts on samples of
other blocks alone, which lie farther away in each turn, and is scored on its own. Their labels took part in
meta-training, so the intermediate model looks a little better here than where nobody has mapped.
"""

from typing import Protocol

import numpy as np
from scipy.spatial import cKDTree

from lsm.learner.adaptation import adapt_blocks, pooled_members
from lsm.learner.members import Training
from lsm.learner.prediction import Networks, log_odds
from lsm.learner.support.level import levelled
from lsm.learner.support.supports import distance_to, network_between
from lsm.learner.tasks import EncodedSamples, Tasks, rows_by_block

BLOCKS = 40   # that stand for blocks without samples, drawn at random
FEWEST = 5    # samples of such a block
WIDEST = 4    # the widest gap between a block and its samples: this part of the longer side of the area
FINENESS = 2  # reaches that are tried for each doubling


class ReachConstants(Protocol):
    """The constants of meta_learner.py that `intermediate_models` reads."""

    SEED: int
    LEVEL_BELOW: float
    REACH: bool


def intermediate_models(training: Training, samples: EncodedSamples, normal: np.ndarray, known: np.ndarray,
                        c: ReachConstants, place: bool = True) -> Networks:
    """The intermediate models of trained members, without the axis of blocks; sets training.reach, in m: measured, inf
    where distance is not to count, 0 where places are not to (`place`): all blocks then keep the intermediate models.

    normal  (samples,) bool: whose statistics a normalisation takes
    known   (samples,) bool: the samples that blocks adapt on; the labels of no others are read
    """
    pooled = pooled_members(training, samples.x[normal])
    if min(share := samples.label[known].mean(), 1 - share) < c.LEVEL_BELOW:
        pooled = levelled(pooled, training, samples, known)
    training.reach = 0.0 if not place else np.inf
    if place and c.REACH:
        training.reach = measured_reach(training, pooled, samples, known, c.SEED)
    return pooled


def measured_reach(training: Training, pooled: Networks, samples: EncodedSamples, known: np.ndarray, seed: int
                   ) -> float:
    """The reach in m that gives the lowest log loss; inf where distance does no harm, or nothing can be measured.

    known  (samples,) bool: the samples to measure on; no other sample is read
    One member of each kind adapts, to save time.
    """
    rng, (_, of_block) = np.random.default_rng([seed, 8]), rows_by_block(samples.block, known)
    chosen = [of_block[i] for i in rng.permutation(len(of_block)) if len(of_block[i]) >= FEWEST][:BLOCKS]
    rows = np.flatnonzero(known)
    spacing = np.median(cKDTree(samples.xy[rows]).query(samples.xy[rows], k=2)[0][:, 1]) if len(rows) > 1 else 0.0
    widest = np.ptp(samples.xy[rows], axis=0).max() / WIDEST if len(rows) else 0.0
    if not chosen or not 0 < spacing < widest:
        return np.inf
    doublings = int(np.log2(widest / spacing)) + 1
    reaches = np.append(spacing * 2.0 ** np.arange(0, doublings + 2, 1 / FINENESS), np.inf)
    others = [rows[samples.block[rows] != samples.block[own[0]]] for own in chosen]
    apart = [cKDTree(samples.xy[own]).query(samples.xy[other])[0]
             for own, other in zip(chosen, others, strict=True)]  # of each other sample from the block
    loss = np.zeros(len(reaches))
    for gap in (0.0, *spacing * 2.0 ** np.arange(2, doublings)):  # nearer ones change no support
        supports = [[other[far[np.argsort(d[far], kind="stable")[:kind.borrow]]]
                     for other, d in zip(others, apart, strict=True) for far in [np.flatnonzero(d >= gap)]]
                    for kind in training.kinds]
        adapts = [b for b in range(len(chosen)) if all(0 < samples.label[s[b]].mean() < 1 if len(s[b]) else False
                                                       for s in supports)]
        if adapts:
            loss += _losses(training, pooled, samples, [chosen[b] for b in adapts],
                            [[s[b] for b in adapts] for s in supports], reaches)
    return float(reaches[loss.argmin()]) if loss.any() else np.inf


def _losses(training: Training, pooled: Networks, samples: EncodedSamples, asked: list, supports: list,
            reaches: np.ndarray) -> np.ndarray:
    """The log loss (reaches,), summed over the asked samples of all blocks by their weights; rows of each block's asked
    samples and, by kind, of each block's support."""
    adapted = [adapt_blocks(states[0], samples, Tasks.of(rows), kind, np.random.default_rng(0))
               for kind, states, rows in zip(training.kinds, training.states, supports, strict=True)]
    loss = np.zeros(len(reaches))
    for b, own in enumerate(asked):
        x, signed = samples.x[own], np.where(samples.label[own] == 1, -1, 1)
        of_kinds = [([w[0] for w in pooled[kind.name]], [w[b] for w in of_blocks],
                     distance_to(samples.xy[rows[b]], samples.xy[own]))
                    for kind, of_blocks, rows in zip(training.kinds, adapted, supports, strict=True)]
        for i, reach in enumerate(reaches):
            z = np.mean([log_odds(network_between(*of_kind, reach), x) for of_kind in of_kinds], axis=0)
            loss[i] += (samples.weight[own] * np.logaddexp(0, signed * z)).sum(dtype=np.float64)
    return loss
