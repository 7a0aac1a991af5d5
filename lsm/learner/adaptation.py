"""Adaptation: from the meta-trained states to the networks of all blocks, by lanes/adaptation_steps.py.

A block adapts on its own samples and on the nearest samples of other blocks, if they hold both classes. Otherwise it
keeps the intermediate model. The farther its samples lie, the less it moves away from it (support/reach.py).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from lsm.learner.lanes.adaptation_steps import adaptation_steps
from lsm.learner.lanes.passes import EPSILON
from lsm.learner.lanes.products import LANES
from lsm.learner.members import Kind, Training
from lsm.learner.prediction import Networks, predict, release_memory
from lsm.learner.support.supports import (
    ADAPTED,
    MOVED,
    NO_SAMPLES,
    ONE_CLASS,
    PARTLY,
    Supports,
    distance_to,
    network_between,
    places_of_samples,
    share_of_adapted,
)
from lsm.learner.tasks import EncodedSamples, Tasks
from lsm.run.jobs import Cluster, cores
from lsm.run.settings import InputError

ROWS_AT_ONCE = 8_000  # padded support rows of one group; a group has LANES tasks at least, however many rows these have
BLOCKS_AT_ONCE, PADDED = 10_000, 4_000_000  # blocks, and padded support rows, that are in memory at once


def adapt_group(given: tuple) -> list[np.ndarray]:
    """The folded networks of a group of tasks, (tasks, ...) float32: `adaptation_steps` of given."""
    return adaptation_steps(*given)


def no_start() -> None:
    """What a cluster's worker does before `adapt_group`."""


def adapt_blocks(start: dict, samples: EncodedSamples, tasks: Tasks, kind: Kind, rng: np.random.Generator,
                 cluster: Cluster | None = None, threads: int = 1) -> list[np.ndarray]:
    """The folded networks of all tasks after kind.steps inner steps.

    start    a member's meta-trained state: its weights and inner rates
    tasks    the support of each block; every task needs a sample
    threads  groups that adapt side by side; 0: as many as cores. The numbers do not depend on it
    A step takes kind.batch samples of a task, drawn anew for each step, or half of the task where it has no more than
    two batches; with a batch of 0 it takes the whole support. Tasks are grouped by size, as many LANES at once as fit
    ROWS_AT_ONCE padded rows. The result of a task does not depend on the other tasks of its group, to the last bit.
    Returns a list of arrays with the tasks as first axis, float32.
    Raises InputError where steps on batches diverge; on the whole support the best step is kept.
    """
    x, label = samples.x[:, :len(start["weights"][0])], samples.label.astype(np.int32)
    seeds = rng.integers(1 << 63, size=len(tasks.sizes))
    out = [np.empty((len(tasks.sizes), *np.shape(w)), np.float32) for w in start["weights"]]
    groups, by_size = [], np.argsort(tasks.sizes, kind="stable")[::-1]
    while len(by_size):
        groups.append(by_size[:LANES * max(1, ROWS_AT_ONCE // tasks.sizes[by_size[0]] // LANES)])
        by_size = by_size[len(groups[-1]):]

    def of_group(group: np.ndarray) -> tuple:
        longest = tasks.sizes[group[0]]
        part = Tasks(tasks.members[group, :longest], tasks.sizes[group])
        mask = part.mask() * samples.weight[part.members].astype(np.float32)
        steps = kind.steps
        if kind.batch:
            steps = np.stack([_batches(s, n, longest, kind.steps, kind.batch)
                              for s, n in zip(seeds[group], part.sizes, strict=True)], axis=1) * mask
        if not (mask.sum(axis=1) > 0).all() or (kind.batch and not (steps.sum(axis=2) > 0).all()):
            raise InputError("adaptation: expected samples that weigh more than 0 in each block and batch, found none")
        return start, x[part.members], label[part.members], mask, part.sizes, steps, kind.normalise

    given = map(of_group, groups)
    adapted = (cluster.each(given, adapt_group, no_start, ()) if cluster else
               _side_by_side(adapt_group, given, threads or cores()))
    for group, networks in zip(groups, adapted, strict=True):
        for target, w in zip(out, networks, strict=True):
            target[group] = w
    lost = sum(~np.isfinite(w).all(axis=tuple(range(1, w.ndim))) for w in out)
    if lost.any():
        raise InputError(f"adaptation: expected finite weights, found {np.count_nonzero(lost)} blocks that diverged; "
                         "lower INNER_LR or adapt on the whole support (ADAPT_BATCH=0)")
    return out


def _side_by_side(work: Callable, items: Iterable, threads: int) -> Iterator:
    """work(item) of every item, in their order, on so many threads; few items and results are in memory at a time."""
    begun = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            begun.append(pool.submit(work, item))
            if len(begun) > threads:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()


def _batches(seed: int, size: int, longest: int, steps: int, batch: int) -> np.ndarray:
    """(steps, longest) masks of random batches of one task's `size` samples."""
    count = batch if size > 2 * batch else max(1, size // 2)
    masks = np.zeros((steps, longest), np.float32)
    order = np.random.default_rng(seed).random((steps, size)).argsort(axis=1)[:, :count]
    np.put_along_axis(masks, order, 1, axis=1)
    return masks


def pooled_members(training: Training, x: np.ndarray) -> Networks:
    """The folded intermediate models, `Networks` without the axis of blocks: a block far from all samples keeps them.

    Where the direct path was fitted, these are the networks as fitted. The outer loop makes a network good after it has
    adapted, not before, and from few points it takes more from the fit than it brings (docs/trials.md).
    x  (samples, inputs): its rows give the statistics of a normalisation
    """
    with threadpool_limits(1):  # the last digit must not depend on the threads of a product
        return {kind.name: [np.stack(weights) for weights in zip(
            *(_fold_in(state.get("fitted", state["weights"]), x, kind.normalise) for state in states), strict=True)]
            for kind, states in zip(training.kinds, training.states, strict=True)}


def _fold_in(weights: list[np.ndarray], x: np.ndarray, normalise: bool) -> list[np.ndarray]:
    """The weights of a network (network.py) with its normalisation over the rows of x folded in: the scale in w, the
    shift in b. Without `normalise` a copy."""
    out = [np.array(w) for w in weights]
    h = x[:, :len(weights[0])]
    for i in range(0, len(weights) // 2 * 2 - 2 if normalise else 0, 2):
        z = h @ weights[i]
        scale = (1 / np.sqrt(z.var(axis=0, dtype=np.float64) + EPSILON)).astype(z.dtype)
        out[i] *= scale
        out[i + 1] -= z.mean(axis=0, dtype=np.float64).astype(z.dtype) * scale
        h = np.maximum(h @ out[i] + out[i + 1], 0)
    return out


# --------------------------------------------------------------------------------------------- the models of all blocks
def models_of_blocks(training: Training, pooled: Networks, samples: EncodedSamples, known: np.ndarray, places: list,
                     rng: np.random.Generator, one_class: bool = False, cluster: Cluster | None = None,
                     folder: Path | None = None, threads: int = 1
                     ) -> tuple[Networks, np.ndarray, np.ndarray, np.ndarray]:
    """The networks of all blocks; the state (blocks,) of each, PARTLY where some kinds of members adapt; the numbers
    (blocks, 2) of its own and of borrowed samples that it adapted on, of the kind that borrows most; and how far
    (blocks,) its networks lie from the intermediate model (0) to the adapted one (1), the mean of all members.

    pooled     the intermediate models of `pooled_members`: a block that does not adapt keeps them
    known      (samples,) bool: those to adapt on; the other labels are not read
    places     of each block, (n, 2), where it is to be predicted: it borrows the samples nearest to these; None for a
               block that need not adapt
    one_class  whether a block adapts too when its support holds one class only
    cluster    whose workers adapt; None: this process does
    folder     to keep the networks in, in a .npy file an array, rather than in memory
    threads    as of `adapt_blocks`
    """
    supports, nothing = Supports(samples.xy, samples.block, known), np.empty(0, np.int64)
    networks, each, support = {}, [], np.zeros((len(places), 2), np.int64)
    share, members = np.zeros(len(places)), sum(len(states) for states in training.states)
    for kind, starts in zip(training.kinds, training.states, strict=True):
        rows = [nothing if p is None else supports.of(b, p, kind.borrow) for b, p in enumerate(places)]
        state = np.array([NO_SAMPLES if not len(r) else
                          ADAPTED if one_class or 0 < samples.label[r].mean() < 1 else ONE_CLASS for r in rows])
        networks[kind.name] = [_for_each_block(w, len(rows), folder and folder / f"{kind.name}_{i}.npy")
                               for i, w in enumerate(pooled[kind.name])]
        for some in _of_like_size(rows, np.flatnonzero(state == ADAPTED)):
            tasks = Tasks.of([rows[b] for b in some])
            distances = [distance_to(samples.xy[rows[b]], places[b]) for b in some]
            share[some] += [len(starts) / members * share_of_adapted(d, training.reach) for d in distances]
            for member, start in enumerate(starts):
                adapted = adapt_blocks(start, samples, tasks, kind, rng, cluster, threads)
                for i, b in enumerate(some):
                    between = network_between([w[member] for w in pooled[kind.name]], [w[i] for w in adapted],
                                              distances[i], training.reach)
                    for network_of_blocks, w in zip(networks[kind.name], between, strict=True):
                        network_of_blocks[member, b] = w
                release_memory(networks)
        each.append(state)
        own = np.array([(samples.block[r] == b).sum() for b, r in enumerate(rows)])
        counts = np.column_stack([own, [len(r) for r in rows] - own])
        support = np.maximum(support, np.where(state[:, None] == ADAPTED, counts, 0))
    adapts = np.array(each) == ADAPTED  # (kinds, blocks)
    state = np.select([adapts.all(axis=0), adapts.any(axis=0), (np.array(each) == NO_SAMPLES).all(axis=0)],
                      [ADAPTED, PARTLY, NO_SAMPLES], ONE_CLASS)
    return networks, state, support, share


def _for_each_block(weights: np.ndarray, blocks: int, file: Path | None) -> np.ndarray:
    """The weights (members, ...) once for each block (members, blocks, ...), in memory or in a .npy file."""
    shape = len(weights), blocks, *weights.shape[1:]
    out = np.lib.format.open_memmap(file, "w+", weights.dtype, shape) if file else np.empty(shape, weights.dtype)
    for first in range(0, blocks, BLOCKS_AT_ONCE):
        out[:, first:first + BLOCKS_AT_ONCE] = weights[:, None]
        release_memory({"written": [out]})
    return out


def _of_like_size(rows: list[np.ndarray], blocks: np.ndarray) -> Iterator[np.ndarray]:
    """The blocks, some at a time: as many of the smallest left as BLOCKS_AT_ONCE and PADDED allow; rows of all."""
    sizes = np.array([len(rows[b]) for b in blocks], np.int64)
    order = np.argsort(sizes, kind="stable")
    while len(order):
        count = np.arange(1, len(order) + 1)
        n = max(1, int(((count <= BLOCKS_AT_ONCE) & (count * sizes[order] <= PADDED)).sum()))
        yield np.sort(blocks[order[:n]])
        order = order[n:]


def adapted_scores(training: Training, pooled: Networks, samples: EncodedSamples, known: np.ndarray, asked: np.ndarray,
                   rng: np.random.Generator, one_class: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Landslide probability (samples,) of the asked samples, nan elsewhere, each by the adapted networks of its block;
    and the blocks with asked samples that keep the intermediate models.

    asked  (samples,) bool: the samples to score; their labels are not read. Other arguments as of `models_of_blocks`.
    """
    places = places_of_samples(samples, asked)
    networks, state, *_ = models_of_blocks(training, pooled, samples, known, places, rng, one_class)
    out = np.full(len(asked), np.nan)
    out[asked] = predict(networks, samples.block[asked], samples.x[asked])
    return out, np.array([b for b, p in enumerate(places) if p is not None and state[b] not in MOVED], int)
