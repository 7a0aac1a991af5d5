"""Model-agnostic meta-learning over blocks (Finn et al. 2017, arXiv 1703.03400), explicitly batched.

Every array carries the axis of tasks, so that a meta-batch is one program of batched products instead of a map over
tasks. The state is a dict of lists of float32 arrays: "weights" (see network.py), "inner_lr" (one scalar, or one
array a weight array: Meta-SGD, Li et al. 2017, arXiv 1707.09835), and Adam's "m" and "v" for both.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import tensorflow as tf

from lsm.learner import network
from lsm.run.settings import InputError

ROWS_AT_ONCE = 4_000  # padded support rows that adapt in one call: bounds memory whatever the number of blocks, and
#                     keeps small blocks from being padded to the largest (six times faster than all 250 in one call)


# ------------------------------------------------------------------------------------------------------ inner loop
def task_losses(weights: list, x, y, mask, statistics: list) -> tf.Tensor:
    """Mean cross-entropy of each task (tasks,): x (tasks, n, inputs), y (tasks, n) int32, mask (tasks, n) float."""
    z = network.logits(weights, x, statistics)  # (tasks, n, 2)
    # Softmax cross-entropy of two classes by their margin: log(1 + exp(z_other - z_true)). Same number, less work.
    losses = tf.nn.softplus(tf.cast(1 - 2 * y, z.dtype) * (z[..., 1] - z[..., 0]))
    return tf.reduce_sum(mask * losses, axis=1) / tf.reduce_sum(mask, axis=1)


def statistics_of(weights: list, x, mask, normalise: bool) -> list:
    """Normalisation statistics over the masked samples; [] for a network without normalisation."""
    return network.batch_statistics(weights, x, mask) if normalise else []


def inner_step(weights: list, inner_lr: list, x, y, mask, normalise: bool, first_order: bool) -> tuple[list, tf.Tensor]:
    """One gradient step of every task on its masked support samples: w - inner_lr * dL/dw.

    Returns the weights after the step and the loss of each task before it (tasks,).
    """
    with tf.GradientTape() as tape:
        tape.watch(weights)
        losses = task_losses(weights, x, y, mask, statistics_of(weights, x, mask, normalise))
        # Tasks share no weight, so the gradient of the sum is each task's own gradient.
        loss = tf.reduce_sum(losses)
    gradients = tape.gradient(loss, weights)
    if first_order:
        gradients = [tf.stop_gradient(g) for g in gradients]
    rates = _per_weight(inner_lr, weights)
    return [w - lr * g for w, lr, g in zip(weights, rates, gradients, strict=True)], losses


def meta_loss(weights, inner_lr, support, query, inner_steps: int, normalise: bool, first_order: bool):
    """Query loss before and after the inner loop, each averaged over the tasks.

    weights         without the axis of tasks
    support, query  (x (tasks, n, inputs), y (tasks, n), mask (tasks, n)); a task's normalisation statistics are
                    those of its support samples, for the query too
    """
    tasks = support[0].shape[0]
    adapted = [tf.tile(w[None], [tasks] + [1] * len(w.shape)) for w in weights]
    losses = []
    for step in range(inner_steps + 1):
        if step in (0, inner_steps):
            statistics = statistics_of(adapted, support[0], support[2], normalise)
            losses.append(tf.reduce_mean(task_losses(adapted, *query, statistics)))
        if step < inner_steps:
            adapted, _ = inner_step(adapted, inner_lr, *support, normalise, first_order)
    return losses[0], losses[-1]


def _per_weight(inner_lr: list, weights: list) -> list:
    return inner_lr * len(weights) if len(inner_lr) == 1 else inner_lr


# ------------------------------------------------------------------------------------------------------ outer loop
def initial_state(weights: list[np.ndarray], inner_lr: float, per_weight: bool) -> dict:
    """The state before the first outer step."""
    rates = [np.full(w.shape, inner_lr, np.float32) for w in weights] if per_weight else [np.float32(inner_lr)]
    zeros = [np.zeros_like(p) for p in weights + rates]
    return {"weights": weights, "inner_lr": rates, "m": zeros, "v": zeros}


@lru_cache  # many trainings in one process share the compiled loop
def outer_loop(inner_steps: int, outer_lr: float, normalise: bool, first_order: bool, xla: bool = True):
    """A compiled function that runs many outer steps in one call.

    Returns run(state, step, steps, batches) -> (state, pre_loss, post_loss): `steps` outer steps of Adam (Kingma and
    Ba 2015), the first of them number `step` (from 0), over batches whose first axis is at least `steps` long. The
    losses are means over these steps. Adam is written out here because its state must ride through the compiled loop
    and lie in checkpoints as plain arrays.
    """
    beta_1, beta_2, epsilon = 0.9, 0.999, 1e-7

    @tf.function(jit_compile=xla)
    def run(state, step, steps, batches):
        pre_sum = post_sum = tf.constant(0.0)
        i = tf.constant(0)
        while i < steps:  # not `for i in tf.range(steps)`: that would compile anew for every number of steps
            x_s, y_s, mask_s, x_q, y_q, mask_q = (b[i] for b in batches)
            n = len(state["weights"])
            parameters = state["weights"] + state["inner_lr"]
            with tf.GradientTape() as tape:
                tape.watch(parameters)
                pre, post = meta_loss(parameters[:n], parameters[n:], (x_s, y_s, mask_s), (x_q, y_q, mask_q),
                                      inner_steps, normalise, first_order)
            gradients = tape.gradient(post, parameters)
            t = tf.cast(step + i + 1, tf.float32)
            rate = outer_lr * tf.sqrt(1 - beta_2 ** t) / (1 - beta_1 ** t)
            m = [beta_1 * a + (1 - beta_1) * g for a, g in zip(state["m"], gradients, strict=True)]
            v = [beta_2 * a + (1 - beta_2) * g * g for a, g in zip(state["v"], gradients, strict=True)]
            moved = [p - rate * a / (tf.sqrt(b) + epsilon) for p, a, b in zip(parameters, m, v, strict=True)]
            state = {"weights": moved[:n], "inner_lr": moved[n:], "m": m, "v": v}
            pre_sum += pre
            post_sum += post
            i += 1
        count = tf.cast(steps, tf.float32)
        return state, pre_sum / count, post_sum / count

    return run


# -------------------------------------------------------------------------------------------------- drawing tasks
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

    A task with fewer than support + query samples gives at most half of them to the support. Of line_share of the
    tasks, support and query lie on opposite sides of a line in a random direction through the task's median place;
    xy (samples, 2) is asked for only then.
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
    """Places of members (tasks, support + query): n_support random ones of the near half, then ones of the far half.

    xy (tasks, longest, 2), keys (tasks, longest or more) random, those of padding above 1.
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
    # argpartition leaves its winners in an order that leans on the file's; sorting by key makes it random
    return np.take_along_axis(found, np.take_along_axis(keys, found, 1).argsort(axis=1), 1)


# ------------------------------------------------------------------------------------------------ adapting blocks
@lru_cache
def _program(adapt, weights: tuple, rates: tuple, normalise: bool):
    """`adapt` for networks and inner rates of these shapes, as one graph for any number of tasks and samples.

    tf.function would make other graphs for some sizes, which round otherwise in the last digit; and which of them are
    there would hang on all that the process has adapted before.
    """
    def of(*shape, dtype=tf.float32):
        return tf.TensorSpec(shape, dtype)

    steps = of(None, None, None) if adapt is _adapt_on_batches else of(dtype=tf.int32)
    return tf.function(lambda *given: adapt(*given, normalise), input_signature=[
        [of(*shape) for shape in weights], [of(*shape) for shape in rates], of(None, None, weights[0][0]),
        of(None, None, dtype=tf.int32), of(None, None), steps])


def _adapt_on_batches(weights, inner_lr, x, y, mask, step_masks, normalise):
    """The inner loop of all tasks; step_masks (steps, tasks, n) chooses the samples of each step. The last stays."""
    now = _for_each_task(weights, x)
    for step in tf.range(tf.shape(step_masks)[0]):
        now, _ = inner_step(now, inner_lr, x, y, step_masks[step], normalise, True)
    return now, statistics_of(now, x, mask, normalise)


def _adapt_on_support(weights, inner_lr, x, y, mask, steps, normalise):
    """The inner loop of all tasks, every step on the whole support.

    A task ends with the weights, of all its steps, that fit its support best: rates learned for a few steps can
    overshoot in a block unlike the others, and a step that diverged is not kept.
    """
    now = _for_each_task(weights, x)
    best, lowest = now, tf.fill([tf.shape(x)[0]], np.float32(np.inf))
    for _ in tf.range(steps):
        after, loss = inner_step(now, inner_lr, x, y, mask, normalise, True)
        best, lowest = _better(best, lowest, now, loss)
        now = after
    best, _ = _better(best, lowest, now, task_losses(now, x, y, mask, statistics_of(now, x, mask, normalise)))
    return best, statistics_of(best, x, mask, normalise)


def _for_each_task(weights: list, x) -> list:
    return [tf.tile(w[None], tf.concat([[tf.shape(x)[0]], tf.ones(len(w.shape), tf.int32)], 0)) for w in weights]


def _better(best: list, lowest, weights: list, loss) -> tuple[list, tf.Tensor]:
    """`best` with the weights of those tasks replaced whose loss is lower than ever (false for nan)."""
    lower = loss < lowest  # (tasks,)
    kept = [tf.where(tf.reshape(lower, [-1] + [1] * (len(w.shape) - 1)), w, b)
            for w, b in zip(weights, best, strict=True)]
    return kept, tf.where(lower, loss, lowest)


def adapt_blocks(state: dict, x: np.ndarray, y: np.ndarray, tasks: Tasks, steps: int, batch: int, normalise: bool,
                 rng: np.random.Generator, weight: np.ndarray | None = None) -> list[np.ndarray]:
    """The folded networks of all tasks after `steps` inner steps, as one batched program.

    x (samples, inputs), y (samples,): all samples, of which tasks names each block's support; every task needs one.
    batch   samples of each step, drawn anew for each, half of the block where it has no more than two batches;
            0 = the whole support at every step
    weight  (samples,) of each sample in the loss; None: all alike
    Tasks go through in the order of their size, so many at once as fit ROWS_AT_ONCE padded rows. A task's result does
    not hang on the tasks it shares a call with. Returns a list of arrays with the tasks as first axis, float32.
    Raises InputError where steps on batches diverge; on the whole support the last good step is kept.
    """
    seeds = rng.integers(1 << 63, size=len(tasks.sizes))
    out = [np.empty((len(tasks.sizes), *np.shape(w)), np.float32) for w in state["weights"]]
    start_state = [[tf.constant(w, tf.float32) for w in state[key]] for key in ("weights", "inner_lr")]
    shapes = (tuple(tuple(w.shape) for w in part) for part in start_state)
    adapt = _program(_adapt_on_batches if batch else _adapt_on_support, *shapes, normalise)
    by_size, start = np.argsort(tasks.sizes, kind="stable")[::-1], 0
    while start < len(by_size):
        longest = tasks.sizes[by_size[start]]
        group = by_size[start:start + max(1, ROWS_AT_ONCE // longest)]
        start += len(group)
        part = Tasks(tasks.members[group, :longest], tasks.sizes[group])
        mask = part.mask()
        if weight is not None:
            mask = mask * weight[part.members].astype(np.float32)
        support = x[part.members], y[part.members].astype(np.int32), mask
        if batch:
            step_masks = np.stack([_batches(s, n, longest, steps, batch)
                                   for s, n in zip(seeds[group], part.sizes, strict=True)], axis=1) * mask
            adapted, statistics = adapt(*start_state, *support, step_masks)
        else:
            adapted, statistics = adapt(*start_state, *support, tf.constant(steps))
        for target, w in zip(out, network.folded(adapted, statistics), strict=True):
            target[group] = w
    lost = sum(~np.isfinite(w).all(axis=tuple(range(1, w.ndim))) for w in out)
    if lost.any():
        raise InputError(f"adaptation: expected finite weights, found {np.count_nonzero(lost)} blocks that diverged; "
                         "lower INNER_LR or adapt on the whole support (ADAPT_BATCH=0)")
    return out


def _batches(seed: int, size: int, longest: int, steps: int, batch: int) -> np.ndarray:
    """(steps, longest) masks of random batches of one task's `size` samples."""
    count = batch if size > 2 * batch else max(1, size // 2)
    masks = np.zeros((steps, longest), np.float32)
    order = np.random.default_rng(seed).random((steps, size)).argsort(axis=1)[:, :count]
    np.put_along_axis(masks, order, 1, axis=1)
    return masks


def pooled_network(state: dict, x: np.ndarray, normalise: bool) -> list[np.ndarray]:
    """The intermediate model, folded with the statistics of all rows of x (samples, inputs); no axis of tasks."""
    weights = [tf.constant(w)[None] for w in state["weights"]]
    statistics = statistics_of(weights, tf.constant(x)[None], tf.ones((1, len(x))), normalise)
    return [w[0] for w in network.folded(weights, statistics)]
