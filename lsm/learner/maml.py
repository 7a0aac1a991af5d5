"""Model-agnostic meta-learning over blocks (Finn et al. 2017, arXiv 1703.03400): the inner and the outer loop.

    inner step   w_i <- w_i - inner_lr * dL_support,i / dw_i             of every task i, from the shared weights w
    outer step   (w, inner_lr) <- Adam(d mean_i L_query,i(w_i) / d(w, inner_lr))

Every array has the tasks as first axis: the meta-batches of all members are one program of batched products, not a map
over tasks. A GPU runs this outer loop; lsm/learner/lanes/outer_steps.py has its form for processor cores.

The state of a member is as `members.initial_state` makes it.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from lsm.learner import network
from lsm.learner.network import tf


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
    rates = inner_lr * len(weights) if len(inner_lr) == 1 else inner_lr  # one rate for all, or one a weight
    return [w - lr * g for w, lr, g in zip(weights, rates, gradients, strict=True)], losses


def meta_loss(weights, inner_lr, support, query, inner_steps: int, normalise: bool, first_order: bool
              ) -> tuple[tf.Tensor, tf.Tensor]:
    """Query loss before and after the inner loop, each (members,): the mean over a member's tasks.

    weights, inner_lr  with the members as first axis: networks that are trained apart from each other
    support, query     (x (members * tasks, n, inputs), y (members * tasks, n), mask (members * tasks, n)), the tasks of
                       the first member first; the normalisation statistics of a task come from its support samples, for
                       the query too
    """
    members = weights[0].shape[0]
    tasks = support[0].shape[0] // members
    adapted, rates = ([tf.repeat(p, tasks, axis=0) for p in part] for part in (weights, inner_lr))
    if len(rates) == 1:
        rates = [tf.reshape(rates[0], [-1] + [1] * (len(w.shape) - 1)) for w in weights]
    losses = []
    for step in range(inner_steps + 1):
        if step in (0, inner_steps):
            statistics = statistics_of(adapted, support[0], support[2], normalise)
            of_tasks = tf.reshape(task_losses(adapted, *query, statistics), [members, tasks])
            losses.append(tf.reduce_mean(of_tasks, axis=1))
        if step < inner_steps:
            adapted, _ = inner_step(adapted, rates, *support, normalise, first_order)
    return losses[0], losses[-1]


def stacked(states: list[dict]) -> dict:
    """The states of members as one: every array gets the members as first axis. What was fitted before the first step
    (lsm/learner/additive) stays behind: no step changes it."""
    return {key: [np.stack(arrays) for arrays in zip(*(state[key] for state in states), strict=True)]
            for key in states[0] if key != "fitted"}


def unstacked(state: dict, members: int) -> list[dict]:
    """The states of the members that `stacked` joined."""
    return [{key: [np.asarray(array)[member] for array in arrays] for key, arrays in state.items()}
            for member in range(members)]


@lru_cache  # many trainings in one process share the compiled loop
def outer_loop(inner_steps: int, outer_lr: float, normalise: bool, first_order: bool, xla: bool) -> Callable:
    """A compiled function that runs many outer steps of several members in one call.

    Returns run(state, step, steps, batches, decay) -> (state, pre_loss, post_loss): `steps` outer steps of Adam (Kingma
    and Ba 2015), starting with number `step` (from 0), over batches whose first axis is at least `steps` long. Every
    array of the state has the members as first axis, see `stacked`; a batch holds the tasks of all members, as
    `meta_loss` reads them. The losses (members,) are means over these steps. Weights (not biases, not inner rates)
    shrink by outer_lr * decay of themselves at every step (Loshchilov and Hutter 2019, arXiv 1711.05101). Adam is
    written out here because its state must pass through the compiled loop and lie in checkpoints as plain arrays.
    """
    beta_1, beta_2, epsilon = 0.9, 0.999, 1e-7
    if xla:
        with network.quietly():  # XLA starts
            tf.function(lambda: tf.constant(0.0) + 1, jit_compile=True)()

    @tf.function(jit_compile=xla)
    def run(state, step, steps, batches, decay=0.0):
        kind = state["weights"][0].dtype
        pre_sum = post_sum = tf.zeros(state["weights"][0].shape[0], kind)
        i = tf.constant(0)
        while i < steps:  # not `for i in tf.range(steps)`: that would compile anew for every number of steps
            x_s, y_s, mask_s, x_q, y_q, mask_q = (b[i] for b in batches)
            n = len(state["weights"])
            parameters = state["weights"] + state["inner_lr"]
            with tf.GradientTape() as tape:
                tape.watch(parameters)
                pre, post = meta_loss(parameters[:n], parameters[n:], (x_s, y_s, mask_s), (x_q, y_q, mask_q),
                                      inner_steps, normalise, first_order)
                # Members share no weight, so the gradient of the sum is each member's own gradient.
                loss = tf.reduce_sum(post)
            gradients = tape.gradient(loss, parameters)
            t = tf.cast(step + i + 1, kind)
            rate = outer_lr * tf.sqrt(1 - beta_2 ** t) / (1 - beta_1 ** t)
            m = [beta_1 * a + (1 - beta_1) * g for a, g in zip(state["m"], gradients, strict=True)]
            v = [beta_2 * a + (1 - beta_2) * g * g for a, g in zip(state["v"], gradients, strict=True)]
            kept = [1 - outer_lr * decay if j < n and len(p.shape) == 3 else 1.0 for j, p in enumerate(parameters)]
            moved = [p * k - rate * a / (tf.sqrt(b) + epsilon)
                     for p, k, a, b in zip(parameters, kept, m, v, strict=True)]
            state = {"weights": moved[:n], "inner_lr": moved[n:], "m": m, "v": v}
            pre_sum += pre
            post_sum += post
            i += 1
        count = tf.cast(steps, kind)
        return state, pre_sum / count, post_sum / count

    return run
