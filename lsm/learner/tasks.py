"""Tasks: the samples of each neighbourhood or block, and the random support and query samples of a meta-batch."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.spatial import cKDTree
from threadpoolctl import threadpool_limits

from lsm.blocks.block_numbers import too_few_tasks
from lsm.learner.encoder import Encoder
from lsm.run.settings import InputError

TASKS = 2_000  # neighbourhoods for meta-training
OTHERS = "another SEED, or META_TRAIN_SHARE=0.5"  # holds out other blocks where the held-out ones have one class


@dataclass(frozen=True)
class EncodedSamples:
    """Samples as the networks see them. The first axis of every array is the samples.

    x       (samples, inputs) float32, the encoded factors, then X and Y; a network without these reads the others
    label   (samples,) int32, 1 landslide, 0 non-landslide
    xy      (samples, 2) float64, m
    block   (samples,) the terrain block of each sample
    weight  (samples,) float32, of each sample in every loss
    """

    x: np.ndarray
    label: np.ndarray
    xy: np.ndarray
    block: np.ndarray
    weight: np.ndarray

    @classmethod
    def of_file(cls, arrays: dict, encoder: Encoder) -> "EncodedSamples":
        """From the arrays of metatask_sampling/<REGION>_tasks.npz. Raises InputError where the encoder has other
        factors."""
        names, known = [str(name) for name in arrays["factor_names"]], [factor.name for factor in encoder.factors]
        if names != known:
            raise InputError(f"factors: expected {', '.join(known)} as in the encoder, found {', '.join(names)} in "
                             "the tasks; run DAS_pretraining.py, scene_sampling.py and meta_learner.py again")
        return cls(encoder.transform(arrays["factors"], arrays["xy"]), arrays["label"].astype(np.int32), arrays["xy"],
                   arrays["block"], arrays["weight"])


def rows_by_block(block: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The blocks that have chosen samples, and the rows of the chosen samples of each. block, chosen (samples,)."""
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(block[rows], kind="stable")]
    blocks, start = np.unique(block[rows], return_index=True)
    return blocks, np.split(rows, start[1:]) if len(blocks) else []


def neighbourhoods(samples: EncodedSamples, rows: np.ndarray, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """The `size` samples nearest to a random sample, itself included, for many such samples: one array of rows a task.

    rows  (n,) of the samples to learn from; no other sample is read
    Block borders do not matter, so every sample teaches, however thin its block is. A neighbourhood of one class
    teaches nothing and is left out. There are as many tasks as samples, at most TASKS, or more where each sample would
    otherwise lie in fewer than two tasks.
    """
    count = min(len(rows), max(TASKS, 2 * len(rows) // max(size, 1)))
    centres = np.sort(rng.permutation(rows)[:count])
    size = min(max(size, 2), len(rows))
    _, near = cKDTree(samples.xy[rows]).query(samples.xy[centres], k=size)
    found = rows[near.reshape(len(centres), size)]  # (tasks, size)
    share = samples.label[found].mean(axis=1)
    return list(found[(share > 0) & (share < 1)])


class HoldingOut(Protocol):
    """The constants of meta_learner.py that say which samples its report holds out."""

    SEED: int
    MIN_SAMPLES: int
    META_TRAIN_SHARE: float
    META_BATCH: int
    FOLDS: int
    LOCAL_NEIGHBOURHOOD: int


def held_out_roles(samples: EncodedSamples, c: HoldingOut, rng: np.random.Generator) -> np.ndarray:
    """The role of every sample (samples,): meta-train, support, query or unused. Raises InputError.

    A share of the blocks with more than MIN_SAMPLES samples is held out, half of each block's samples its support.
    The blocks held out have both classes, which an AUROC needs, and so have the others, if there are such blocks.
    Where these blocks hold less than half of the samples, or are too few, one of FOLDS folds of places is held out.
    """
    blocks, counts = np.unique(samples.block, return_counts=True)
    thick = counts > c.MIN_SAMPLES
    eligible = rng.permutation(blocks[thick])
    taught = round(c.META_TRAIN_SHARE * len(eligible))
    drawn = (np.roll(eligible, -turn)[taught:] for turn in range(len(eligible)))
    held_out = next((some for some in drawn if both_classes(samples, some)), eligible[taught:])
    neighbours_teach = c.LOCAL_NEIGHBOURHOOD > 0
    if lacking := too_few_tasks(len(eligible), c):
        raise InputError(lacking)
    role = np.full(len(samples.block), "meta-train", dtype="<U10")
    if neighbours_teach and (len(held_out) < 2 or 2 * counts[thick].sum() < counts.sum()):
        from sklearn.cluster import KMeans  # here: it takes half a second, and stage 4 does without

        with threadpool_limits(1):  # the same sums in the same order, whatever the number of threads
            fold = KMeans(c.FOLDS, n_init=10, random_state=c.SEED).fit_predict(samples.xy)
        whole = [k for k in range(c.FOLDS)
                 if all(len(np.unique(samples.label[part])) == 2 for part in (fold == k, fold != k))]
        if not whole:
            raise InputError(f"{len(fold)} samples: expected a fold of {c.FOLDS} (FOLDS) with both classes to score, "
                             f"and both outside it to learn from, found none{_gathered(samples, fold)}")
        role[fold == whole[int(rng.integers(len(whole)))]] = "query"
        return role
    if not neighbours_teach:
        role[~np.isin(samples.block, eligible)] = "unused"
    own = dict(zip(*rows_by_block(samples.block, np.isin(samples.block, held_out)), strict=True))
    for block in np.sort(held_out):
        rows = rng.permutation(own[block])
        role[rows[:len(rows) // 2]] = "support"
        role[rows[len(rows) // 2:]] = "query"
    return role


def _gathered(samples: EncodedSamples, fold: np.ndarray) -> str:
    """Which class lies in one fold (samples,) of places alone, and what to do."""
    for label, name, remedy in ((1, "landslides", "map landslides elsewhere too, or keep to there (MASK with "
                                 "MASK_KEEPS=True)"),
                                (0, "non-landslides", "add non-landslides elsewhere")):
        own = samples.label == label
        if len(np.unique(fold[own])) == 1:
            (west, south), (east, north) = samples.xy[own].min(axis=0), samples.xy[own].max(axis=0)
            return f": all {name} lie within X {west:.0f} to {east:.0f}, Y {south:.0f} to {north:.0f}; {remedy}"
    return "; add non-landslides near the landslides"


def both_classes(samples: EncodedSamples, held_out: np.ndarray) -> bool:
    """Whether the samples of the blocks `held_out` have both classes, and the samples of the other blocks too."""
    chosen = np.isin(samples.block, held_out)
    return all(len(np.unique(samples.label[part])) == 2 for part in (chosen, ~chosen))


@dataclass(frozen=True)
class Tasks:
    """Samples by task: members (tasks, longest) int64, rows of the sample arrays, padded with the task's first row;
    sizes (tasks,)."""

    members: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, rows_of_tasks: list[np.ndarray]) -> "Tasks":
        """From one array of sample rows a task; a task may be empty."""
        sizes = np.array([len(rows) for rows in rows_of_tasks], np.int64)
        members = np.zeros((len(sizes), max(1, sizes.max(initial=0))), np.int64)
        for i, rows in enumerate(rows_of_tasks):
            if len(rows):
                members[i] = rows[0]  # padding: no sample of another task counts in any way
                members[i, :len(rows)] = rows
        return cls(members, sizes)

    def mask(self) -> np.ndarray:
        """(tasks, longest) float32: 1 where a member is, 0 where padding is."""
        return (np.arange(self.members.shape[1]) < self.sizes[:, None]).astype(np.float32)


def draw(tasks: Tasks, rng: np.random.Generator, steps: int, meta_batch: int, support: int, query: int,
         xy: np.ndarray | None = None, line_share: float = 0.0) -> tuple[np.ndarray, ...]:
    """Random tasks and, in each, disjoint random support and query samples, for `steps` outer steps.

    A task with fewer than support + query samples gives at most half of them to the support. In a share `line_share`
    of the tasks, support and query lie on opposite sides of a line in a random direction through the task's median
    place; only then is xy (samples, 2) needed.
    Returns sample rows and masks: (support_rows, support_mask, query_rows, query_mask), each (steps, meta_batch,
    support or query).
    """
    chosen = rng.random((steps, len(tasks.sizes))).argpartition(meta_batch - 1, axis=1)[:, :meta_batch].ravel()
    sizes, wanted = tasks.sizes[chosen], support + query
    longest = max(tasks.members.shape[1], wanted)
    keys = rng.random((len(chosen), longest), dtype=np.float32)
    keys[np.arange(longest) >= sizes[:, None]] = 2  # padding never comes before a member
    order = _lowest(keys, wanted)
    n_support = np.minimum(support, sizes // 2)
    n_query = np.minimum(query, sizes - n_support)
    if line_share:
        cut = np.flatnonzero(rng.random(len(chosen)) < line_share)
        n_query[cut] = np.minimum(n_query[cut], sizes[cut] - sizes[cut] // 2)  # no more than the far half holds
        order[cut] = _across_a_line(xy[tasks.members[chosen[cut]]], sizes[cut], n_support[cut], keys[cut], support,
                                    query, rng)
    position = n_support[:, None] + np.arange(query)
    out = []
    for places, count in ((order[:, :support], n_support),
                          (np.take_along_axis(order, position, 1), n_query)):
        mask = np.arange(places.shape[1]) < count[:, None]
        rows = tasks.members[chosen[:, None], np.where(mask, places, 0)]
        out += [rows.reshape(steps, meta_batch, -1), mask.astype(np.float32).reshape(steps, meta_batch, -1)]
    return tuple(out)


def _across_a_line(xy, sizes, n_support, keys, support: int, query: int, rng) -> np.ndarray:
    """Columns of members (tasks, support + query): n_support random ones of the near half, then ones of the far half.

    xy (tasks, longest, 2); keys (tasks, longest or more) are random, and above 1 for padding.
    """
    angle = rng.uniform(0, 2 * np.pi, len(sizes))
    along = np.full(keys.shape, np.inf)
    along[:, :xy.shape[1]] = xy[..., 0] * np.cos(angle)[:, None] + xy[..., 1] * np.sin(angle)[:, None]
    along[np.arange(keys.shape[1]) >= sizes[:, None]] = np.inf
    middle = np.take_along_axis(np.sort(along, axis=1), (sizes // 2)[:, None], 1)
    near = along < middle
    both = np.concatenate([_lowest(np.where(near, keys, 2), support), _lowest(np.where(near, 2, keys), query)], axis=1)
    j, n_support = np.arange(support + query), n_support[:, None]
    return np.take_along_axis(both, np.where(j < n_support, j, np.minimum(support + j - n_support, j[-1])), 1)


def _lowest(keys: np.ndarray, count: int) -> np.ndarray:
    """Columns of the `count` lowest keys of each row, in the order of the keys."""
    found = keys.argpartition(count - 1, axis=1)[:, :count]
    # argpartition leaves them in an order that depends on the order of the file; sorted by key the order is random
    return np.take_along_axis(found, np.take_along_axis(keys, found, 1).argsort(axis=1), 1)
