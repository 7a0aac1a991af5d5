"""MAML task by task, the plain way, as the reference of the benchmarks and tests: tf.map_fn over the tasks of a
meta-batch with Keras's Adam, and a loop over blocks that adapts one at a time. It takes TensorFlow from lsm/, which
holds back its start-up notes, and no other code."""

from lsm.learner.network import tf

EPSILON = 1e-3


def forward(weights: list, x: tf.Tensor, statistics: list | None) -> tf.Tensor:
    """Logits (n, 2) of x (n, inputs); statistics: of the hidden layers, None without normalisation.

    An odd number of arrays: the last one leads from the inputs to the logits. It has a row for each input and, for each
    of six pairs of neighbouring knots from -3 to 3, one more for each input that bends.
    """
    layers, direct = len(weights) // 2 - 1, 0.0
    if len(weights) % 2:
        inputs, bends = x.shape[1], (len(weights[-1]) - x.shape[1]) // 6
        direct = x @ weights[-1][:inputs]
        for i, knot in enumerate((-3, -2, -1, 0, 1, 2)):  # how far x is between this knot and the next, seen from 0
            within = tf.minimum(tf.maximum(x[:, :bends] - knot, 0), 1) - (1 if knot < 0 else 0)
            direct += within @ weights[-1][inputs + i * bends:inputs + (i + 1) * bends]
    for layer in range(layers):
        x = x @ weights[2 * layer]
        if statistics is not None:
            mean, variance = statistics[layer]
            x = (x - mean) / tf.sqrt(variance + EPSILON)
        x = tf.nn.relu(x + weights[2 * layer + 1])
    return x @ weights[2 * layers] + weights[2 * layers + 1] + direct


def moments(weights: list, x: tf.Tensor) -> list:
    """Mean and variance of every hidden layer over the rows of x (n, inputs)."""
    out = []
    for layer in range(len(weights) // 2 - 1):
        z = x @ weights[2 * layer]
        mean = tf.reduce_mean(z, axis=0)
        variance = tf.reduce_mean((z - mean) ** 2, axis=0)
        out.append((mean, variance))
        x = tf.nn.relu((z - mean) / tf.sqrt(variance + EPSILON) + weights[2 * layer + 1])
    return out


def loss_of(weights: list, x, y, statistics) -> tf.Tensor:
    """Mean cross-entropy of one task."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, forward(weights, x, statistics)))


def adapt(weights: list, inner_lr: list, x, y, steps: int, normalise: bool) -> list:
    """The weights of one task after `steps` gradient steps on its support x (n, inputs), y (n,)."""
    for _ in range(steps):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            loss = loss_of(weights, x, y, moments(weights, x) if normalise else None)
        gradients = tape.gradient(loss, weights)
        rates = inner_lr * len(weights) if len(inner_lr) == 1 else inner_lr
        weights = [w - lr * g for w, lr, g in zip(weights, rates, gradients, strict=True)]
    return weights


def meta_loss(weights: list, inner_lr: list, batch: tuple, steps: int, normalise: bool) -> tuple:
    """Query loss before and after adaptation, averaged over the tasks of a batch: (x_s, y_s, x_q, y_q)."""
    def one_task(task):
        x_s, y_s, x_q, y_q = task
        adapted = adapt(weights, inner_lr, x_s, y_s, steps, normalise)
        return tuple(loss_of(w, x_q, y_q, moments(w, x_s) if normalise else None) for w in (weights, adapted))

    pre, post = tf.map_fn(one_task, batch, fn_output_signature=(tf.float32, tf.float32))
    return tf.reduce_mean(pre), tf.reduce_mean(post)


def trainer(weights: list, inner_lr: list, outer_lr: float, steps: int, normalise: bool):
    """One outer step as a compiled function of a batch, and the variables it moves: weights, then inner rates."""
    from keras.optimizers import Adam  # after lsm/, which says how TensorFlow loads

    variables = [tf.Variable(w) for w in [*weights, *inner_lr]]
    n = len(weights)
    adam = Adam(outer_lr)
    adam.build(variables)

    @tf.function
    def step(batch):
        with tf.GradientTape() as tape:
            values = [tf.convert_to_tensor(v) for v in variables]
            pre, post = meta_loss(values[:n], values[n:], batch, steps, normalise)
        adam.apply_gradients(zip(tape.gradient(post, variables), variables, strict=True))
        return pre, post

    return step, variables
