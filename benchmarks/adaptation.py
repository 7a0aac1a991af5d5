"""Times adapt_blocks of lsm/learner/adaptation.py, all blocks in one call, against one block at a time.

Three forms in one process, in turn: all blocks in one call; the same function called once a block; and a plain loop
(benchmarks/reference_maml.py) that adapts one block at a time, operator by operator, as one would first write it. All
must predict the same. Blocks are as Hong Kong's: 250 of 4 to 516 samples, the median 66. Bar: 50 times.

Run     python benchmarks/adaptation.py
"""

import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
import reference_maml

from lsm.learner.adaptation import adapt_blocks
from lsm.learner.members import Kind, initial_state, initial_weights
from lsm.learner.network import tf, use_one_thread
from lsm.learner.prediction import log_odds, probability
from lsm.learner.tasks import EncodedSamples, Tasks

BLOCKS, TURNS = 250, 5
FORMS = {  # sizes, normalisation, an inner rate a weight, a direct path, steps
    "published             14-32-32-16-2, batch normalisation, 5 steps": ([14, 32, 32, 16], True, False, False, 5),
    "recommended local     23-32-32-16-2 and a direct path, batch normalisation, a rate a weight, 20 steps":
        ([23, 32, 32, 16], True, True, True, 20),
    "recommended regional  25-32-32-16-2 and a direct path, a rate a weight, 20 steps":
        ([25, 32, 32, 16], False, True, True, 20),
}


def block_sizes(rng) -> np.ndarray:
    """Ragged sizes with Hong Kong's least, median and largest."""
    sizes = np.sort(np.clip(np.exp(rng.normal(np.log(66), 0.9, BLOCKS)), 4, 516).astype(int))
    sizes[[0, BLOCKS // 2 - 1, BLOCKS // 2, -1]] = 4, 66, 66, 516
    return rng.permutation(sizes)


def timed(function) -> tuple[float, object]:
    began = time.perf_counter()
    result = function()
    return time.perf_counter() - began, result


def compare(name: str, widths: list, normalise: bool, per_weight: bool, direct: bool, steps: int) -> None:
    """Checks that the forms agree and prints their seconds and ratios turn by turn."""
    rng = np.random.default_rng(1)
    sizes = block_sizes(rng)
    x = rng.standard_normal((sizes.sum(), widths[0])).astype(np.float32)
    y = rng.integers(0, 2, len(x)).astype(np.int32)
    rows = np.split(np.arange(len(x)), np.cumsum(sizes)[:-1])
    state = initial_state(initial_weights(widths, None, rng, direct), 0.05, per_weight)
    samples = EncodedSamples(x, y, np.zeros((len(x), 2)), np.repeat(np.arange(BLOCKS), sizes),
                             np.ones(len(x), np.float32))
    kind = Kind("benchmark", members=1, neighbourhood=0, support=0, query=0, iterations=0, normalise=normalise,
                place=False, direct=direct, borrow=0, steps=steps, batch=0, decay=0.0)
    tasks, single = Tasks.of(rows), [Tasks.of([r]) for r in rows]

    def together():
        return adapt_blocks(state, samples, tasks, kind, np.random.default_rng(0))

    def one_by_one():
        return [adapt_blocks(state, samples, one, kind, np.random.default_rng(0)) for one in single]

    def plain():
        out = []
        for r in rows:
            weights = reference_maml.adapt([tf.constant(w) for w in state["weights"]], state["inner_lr"], x[r], y[r],
                                           steps, normalise)
            out.append((weights, reference_maml.moments(weights, x[r]) if normalise else None))
        return out

    first, all_blocks = timed(together)
    alone, reference = one_by_one(), plain()
    difference = 0.0
    for i in range(BLOCKS):
        p = probability(log_odds([w[i] for w in all_blocks], x[:500]))
        weights, statistics = reference[i]
        for other in (probability(log_odds([w[0] for w in alone[i]], x[:500])),
                      tf.nn.softmax(reference_maml.forward(weights, tf.constant(x[:500]), statistics))[:, 1].numpy()):
            difference = max(difference, np.abs(p - other).max())
    assert difference < 1e-2, f"probabilities differ by {difference}"

    seconds = np.array([[timed(f)[0] for f in (together, one_by_one, plain)] for _ in range(TURNS)])
    print(f"\n{name}: {BLOCKS} blocks, {sizes.sum()} samples, {sizes.min()} to {sizes.max()}, median "
          f"{np.median(sizes):.0f}; {TURNS} turns; probabilities agree to {difference:.0e}")
    for label, s in zip(("all in one", "one by one", "plain loop"), seconds.T, strict=True):
        ratio = s / seconds[:, 0]
        print(f"  {label:12}{np.median(s):8.3f} s ({s.min():.3f} .. {s.max():.3f}) = {np.median(ratio):.1f} times "
              f"({ratio.min():.1f} .. {ratio.max():.1f})")
    print(f"  first call of all in one, with loading or compiling: {first:.1f} s")


def main():
    use_one_thread()
    print(f"TensorFlow {tf.__version__}, NumPy {np.__version__}, Python {sys.version.split()[0]}; {os.cpu_count()} "
          f"cores, load {os.getloadavg()[0]:.1f}; TensorFlow on one thread")
    for name, form in FORMS.items():
        compare(name, *form)


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        sys.exit()
    main()
