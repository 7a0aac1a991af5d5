"""Tasks: the samples of each block, and the random support and query samples of a meta-batch."""

from dataclasses import dataclass

import numpy as np

from lsm.learner.encoder import Encoder
from lsm.run.settings import InputError


@dataclass(frozen=True)
class EncodedSamples:
    """Samples as the networks see them. The first axis of every array is the samples.

    x       (samples, inputs) float32, the encoded factors
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
            raise InputError(f"factors: expected those of the encoder ({', '.join(known)}), found {', '.join(names)} "
                             "in the tasks; run DAS_pretraining.py, scene_sampling.py and meta_learner.py again")
        return cls(encoder.transform(arrays["factors"]), arrays["label"].astype(np.int32), arrays["xy"],
                   arrays["block"], arrays["weight"])


def rows_by_block(block: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The blocks that have chosen samples, and the rows of the chosen samples of each. block, chosen (samples,)."""
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(block[rows], kind="stable")]
    blocks, start = np.unique(block[rows], return_index=True)
    return blocks, np.split(rows, start[1:])


@dataclass(frozen=True)
class Tasks:
    """Samples by task: members (tasks, longest) int64, rows of the sample arrays, padded; sizes (tasks,)."""

    members: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, rows_of_tasks: list[np.ndarray]) -> "Tasks":
        """From one array of sample rows a task; a task may be empty."""
        sizes = np.array([len(rows) for rows in rows_of_tasks], np.int64)
        members = np.zeros((len(sizes), max(1, sizes.max(initial=0))), np.int64)
        for i, rows in enumerate(rows_of_tasks):
            members[i, :len(rows)] = rows
        return cls(members, sizes)

    def mask(self) -> np.ndarray:
        """(tasks, longest) float32: 1 where a member is, 0 where padding is."""
        return (np.arange(self.members.shape[1]) < self.sizes[:, None]).astype(np.float32)


def draw(tasks: Tasks, rng: np.random.Generator, steps: int, meta_batch: int, support: int, query: int,
         xy: np.ndarray | None = None, line_share: float = 0.0):
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
                          (np.take_along_axis(order, np.minimum(position, wanted - 1), 1), n_query)):
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
