"""Times the outer loop of one member, as meta_learner.py runs it on a core (lsm/learner/lanes/outer_steps.py), against
tf.map_fn over the tasks with Keras's Adam, and against the batched form of GPUs (lsm/learner/maml.py) on the same core.

All run in one process, in turn, several turns, on one thread, drawing batches included; first ours and the plain form
must give the same losses and gradients from the same batches. The plain form (benchmarks/reference_maml.py) is one
tf.function call an outer step; ours makes CALL of them in one call. Compiling, or tracing, is timed apart. Bar: 15
times at the published size.

Run     python benchmarks/meta_training.py [seconds of each timing, 3]
"""

import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
import reference_maml

from lsm.learner.lanes.outer_steps import outer_steps
from lsm.learner.maml import outer_loop, stacked
from lsm.learner.members import initial_state, initial_weights
from lsm.learner.network import tf, use_one_thread
from lsm.learner.tasks import Tasks, draw

TASKS, META_BATCH, INNER_STEPS, OUTER_LR = 180, 16, 5, 1e-3
CALL, FEW, TURNS, CHECKED = 100, 10, 5, 20  # outer steps a call of ours, of the plain form; turns; steps compared
FORMS = {  # sizes, support = query, samples of a task (0: as many as blocks have), normalisation, an inner rate a
    #        weight, a direct path
    "published             14-32-32-16-2, 8+8, batch normalisation": ([14, 32, 32, 16], 8, 0, True, False, False),
    "recommended local     23-32-32-16-2 and a direct path, 16+16, batch normalisation, a rate a weight":
        ([23, 32, 32, 16], 16, 80, True, True, True),
    "recommended regional  25-32-32-16-2 and a direct path, 32+32, a rate a weight":
        ([25, 32, 32, 16], 32, 400, False, True, True),
}


def made_tasks(inputs: int, size: int, rng) -> tuple:
    """Samples of tasks whose labels each follow a rule of their own; `size` samples each, or, where it is 0, 33 to 516,
    the median about 70."""
    sizes = np.clip(np.exp(rng.normal(np.log(70), 0.8, TASKS)), 33, 516).astype(int)
    sizes = np.full(TASKS, size) if size else sizes
    block = np.repeat(np.arange(TASKS), sizes)
    x = rng.standard_normal((len(block), inputs)).astype(np.float32)
    rule = rng.standard_normal((TASKS, inputs)) + rng.standard_normal(inputs)
    y = ((x * rule[block]).sum(axis=1) > 0).astype(np.int32)
    return x, y, Tasks.of(np.split(np.arange(len(x)), np.cumsum(sizes)[:-1]))


def compare(name: str, sizes: list, shots: int, size: int, normalise: bool, per_weight: bool, direct: bool,
            seconds: float) -> None:
    """Checks that ours and the plain form agree, then prints outer steps a second of all forms and their ratios turn by
    turn."""
    rng = np.random.default_rng(1)
    x, y, tasks = made_tasks(sizes[0], size, rng)
    start = initial_state(initial_weights(sizes, None, rng, direct), 0.01, per_weight)

    def drawn(steps, seed):
        rows_s, mask_s, rows_q, mask_q = draw(tasks, np.random.default_rng(seed), steps, META_BATCH, shots, shots)
        return [x[rows_s], y[rows_s], mask_s, x[rows_q], y[rows_q], mask_q]

    def of_step(batches, i):
        return tuple(tf.constant(batches[j][i]) for j in (0, 1, 3, 4))  # every task is large enough: no mask

    def ours(state, done, batches):
        return outer_steps(state, done, batches, INNER_STEPS, OUTER_LR, normalise, False, 0.0)

    def first_call(function):
        began = time.perf_counter()
        function()
        return time.perf_counter() - began

    batched = outer_loop(INNER_STEPS, OUTER_LR, normalise, False, True)
    step, variables = reference_maml.trainer(start["weights"], start["inner_lr"], OUTER_LR, INNER_STEPS, normalise)
    batches, kept = drawn(CALL, 0), [v.numpy() for v in variables]
    ours_first = first_call(lambda: ours(start, 0, [b[:1] for b in batches]))
    with tf.GradientTape() as tape:
        values = [tf.constant(v) for v in kept]
        tape.watch(values)
        n = len(start["weights"])
        _, post = reference_maml.meta_loss(values[:n], values[n:], of_step(batches, 0), INNER_STEPS, normalise)
    expected = tape.gradient(post, values)
    found = [m / 0.1 for m in ours(start, 0, [b[:1] for b in batches])[0]["m"]]  # Adam's first m
    largest = max(float(tf.reduce_max(abs(e))) for e in expected)
    gradient = max(float(tf.reduce_max(abs(e - f))) for e, f in zip(expected, found, strict=True)) / largest

    theirs_first = first_call(lambda: step(of_step(batches, 0))[0].numpy())
    theirs = [float(step(of_step(batches, i))[1]) for i in range(1, CHECKED)]
    state, losses = start, []
    for i in range(CHECKED):
        state, _, post = ours(state, i, [b[i:i + 1] for b in batches])
        losses.append(float(post))
    loss = np.abs(np.array(losses[1:]) - theirs).max()
    assert gradient < 1e-4, f"gradients differ by {gradient}"
    assert loss < 1e-3, f"losses differ by {loss}"

    latest = {"ours": state, "batched": stacked([start])}

    def of_ours(done):
        latest["ours"], *_ = ours(latest["ours"], done, drawn(CALL, done))
        return CALL

    def of_batched(done):
        latest["batched"], _, post = batched(latest["batched"], tf.constant(done), tf.constant(CALL), drawn(CALL, done))
        post.numpy()
        return CALL

    def of_plain(done):
        batches = drawn(CALL, done)
        for i in range(FEW):
            post = step(of_step(batches, i))[1]
        post.numpy()
        return FEW

    of_batched(0)  # compiles
    calls = {"ours": of_ours, "batched, as a GPU runs it": of_batched, "tf.map_fn": of_plain}
    rates = {label: np.empty(TURNS) for label in calls}
    for turn in range(TURNS):
        for label, call in calls.items():
            done, began = 0, time.perf_counter()
            while (spent := time.perf_counter() - began) < seconds:
                done += call(done)
            rates[label][turn] = done / spent
    print(f"\n{name}: {META_BATCH} tasks, {INNER_STEPS} inner steps, second order; {TURNS} turns of {seconds:g} s")
    print(f"  agree: gradients to {gradient:.0e} of the largest, query losses of {CHECKED} outer steps to {loss:.0e}")
    for label, r in rates.items():
        ratio = rates["ours"] / r
        print(f"  {label:28}{np.median(r):8.1f} outer steps/s ({r.min():.1f} .. {r.max():.1f})"
              + f"   ours is {np.median(ratio):.1f} times as fast ({ratio.min():.1f} .. {ratio.max():.1f})"
              * (label != "ours"))
    print(f"  first call: ours {ours_first:.1f} s, tf.map_fn {theirs_first:.1f} s")


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    use_one_thread()
    print(f"TensorFlow {tf.__version__}, NumPy {np.__version__}, Python {sys.version.split()[0]}; {os.cpu_count()} "
          f"cores, load {os.getloadavg()[0]:.1f}; TensorFlow on one thread")
    for name, form in FORMS.items():
        compare(name, *form, seconds)


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        sys.exit()
    main()
