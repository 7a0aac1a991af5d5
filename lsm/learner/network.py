"""The base network: linear, batch normalisation (where the recipe has it), ReLU, three times; then two logits.

Weights are a list [w1, b1, w2, b2, w3, b3, w4, b4], w (inputs, outputs) and b (outputs,). Where the recipe has a direct
path, w5 follows: it leads from the inputs to the logits, so that the hidden layers add to a linear model or to a sum of
curves (lsm/learner/additive). With a leading axis of tasks, w (tasks, inputs, outputs), the same functions run one
network a task as one batched product.
Column 1 of the logits is landslide, everywhere.
"""

import contextlib
import itertools
import os
import re
import tempfile
from collections.abc import Iterator
from functools import cache

from lsm.learner.additive.direct_path import KNOTS, bending, nearest_to_zero
from lsm.learner.lanes.passes import EPSILON

NOTE = re.compile(rb"WARNING: All log messages before absl|[IWE]\d{4} \d\d:\d\d:")  # as TensorFlow's libraries begin


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Holds back the notes that TensorFlow's libraries write to the terminal when they start; other lines come after
    the block. TF_CPP_MIN_LOG_LEVEL=0 shows them: the libraries that a GPU lacks are among them."""
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        yield
        return
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)  # they do not write through Python
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            held.seek(0)
            for line in held:
                if not NOTE.match(line):
                    os.write(2, line)


# TensorFlow loads Keras when it is imported, which takes as long as all the rest of it; this spares it, and who needs
# Keras imports it.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
with quietly():
    import tensorflow as tf  # other modules take tf from here

tf.get_logger().setLevel("ERROR")  # it warns of a new graph for other shapes; members and inputs have few of them


def use_one_thread() -> None:
    """Runs TensorFlow's operators on the thread that calls them, each on one thread. Call before the first operator.

    On networks this small a second thread for an operator costs more than it brings, and with one thread sums always
    run in the same order. With a pool of one thread in place of the caller's, calls from several threads would wait for
    each other.
    """
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(-1)
    with quietly():
        tf.config.list_logical_devices()


@cache
def on_gpu() -> bool:
    """Whether TensorFlow sees a GPU."""
    return bool(tf.config.list_logical_devices("GPU"))


def masked_moments(z: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance over the samples of each task: z (tasks, n, units), mask (tasks, n) -> (tasks, 1, units).

    Not tf.nn.moments: it stops the gradient of the mean inside the variance. First derivatives are right without it,
    but second derivatives, which MAML needs, are wrong.
    """
    share = (mask / tf.reduce_sum(mask, axis=1, keepdims=True))[..., None]  # (tasks, n, 1)
    mean = tf.reduce_sum(share * z, axis=1, keepdims=True)
    d = z - mean
    return mean, tf.reduce_sum(share * d * d, axis=1, keepdims=True)


def logits(weights: list, x: tf.Tensor, statistics: list) -> tf.Tensor:
    """Logits (tasks, n, 2) of x (tasks, n, inputs); statistics as `batch_statistics` gives them, [] for none.

    The bias is added after the normalisation; before it, subtracting the mean would remove the bias again.
    """
    h, layers = x, len(weights) // 2 - 1
    for layer in range(layers):
        h = h @ weights[2 * layer]
        if statistics:
            mean, variance = statistics[layer]
            h = (h - mean) * tf.math.rsqrt(variance + EPSILON)
        h = tf.nn.relu(h + weights[2 * layer + 1][:, None])
    z = h @ weights[2 * layers] + weights[2 * layers + 1][:, None]
    # an odd number of arrays: the last is the direct path
    return z + parts_of_curves(x, weights[-1].shape[-2]) @ weights[-1] if len(weights) % 2 else z


def parts_of_curves(x: tf.Tensor, rows: int) -> tf.Tensor:
    """What the rows of w5 are multiplied with, (tasks, n, rows), of x (tasks, n, inputs); see direct_path.py."""
    bends = x[..., :bending(x.shape[-1], rows)]
    return tf.concat([x] + [tf.clip_by_value(bends, a, b) - nearest_to_zero(a, b)
                            for a, b in itertools.pairwise(KNOTS)], axis=-1)


def batch_statistics(weights: list, x: tf.Tensor, mask: tf.Tensor) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Mean and variance (tasks, 1, units) of every hidden layer over the masked samples of x (tasks, n, inputs)."""
    statistics, h = [], x
    for layer in range(len(weights) // 2 - 1):
        z = h @ weights[2 * layer]
        mean, variance = masked_moments(z, mask)
        statistics.append((mean, variance))
        h = tf.nn.relu((z - mean) * tf.math.rsqrt(variance + EPSILON) + weights[2 * layer + 1][:, None])
    return statistics
