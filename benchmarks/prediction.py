"""Times lsm/learner/prediction.py's predict: rows in any order, each by the networks of its block.

Beside it, in turn: one shared network over all rows in one call (what a map without blocks costs), and one call a row
for some rows. All must agree where they compute the same. Processor time of one core; the bar is 1 million rows a
second, with the members of all kinds.

Run     python benchmarks/prediction.py
"""

import itertools
import os
import sys
import time

import numpy as np

from lsm.learner.prediction import Networks, mean_log_odds, predict, probability

ROWS, BLOCKS, TURNS, SINGLE = 215_241, 240, 15, 2_000  # rows: Hong Kong's grid; SINGLE rows one at a time
HIDDEN = [32, 32, 16]
FORMS = {  # of each kind: members, inputs, a direct path
    "published    14-32-32-16-2": {"blocks": (1, 14, False)},
    "recommended  3 x 23-32-32-16-2 and 3 x 25-32-32-16-2, each with a direct path": {"local": (3, 23, True),
                                                                                      "regional": (3, 25, True)}}


def seconds_of(function) -> float:
    began = time.process_time()
    function()
    return time.process_time() - began


def made_networks(kinds: dict, rng) -> Networks:
    """Random networks of all blocks; kinds as in FORMS."""
    out = {}
    for kind, (members, inputs, direct) in kinds.items():
        out[kind] = []
        for a, b in itertools.pairwise([inputs, *HIDDEN, 2]):
            out[kind] += [rng.normal(0, np.sqrt(2 / a), (members, BLOCKS, a, b)),
                          rng.normal(0, 0.1, (members, BLOCKS, b))]
        out[kind] += [rng.normal(0, 0.1, (members, BLOCKS, inputs, 2))] * direct
        out[kind] = [w.astype(np.float32) for w in out[kind]]
    return out


def compare(name: str, kinds: dict) -> None:
    """Prints rows a second of the three, medians and extremes of the turns."""
    rng = np.random.default_rng(1)
    networks = made_networks(kinds, rng)
    x = rng.standard_normal((ROWS, max(inputs for _, inputs, _ in kinds.values()))).astype(np.float32)
    # a grid table runs along rows of the raster, so its block changes every few cells, back and forth
    block = np.repeat(rng.integers(0, BLOCKS, ROWS // 15 + 1), 15)[:ROWS]

    def of_block(b: int) -> Networks:
        return {kind: [w[:, b] for w in weights] for kind, weights in networks.items()}

    one = of_block(0)

    p = predict(networks, block, x)
    few = rng.choice(ROWS, SINGLE, replace=False)

    def single():
        return np.array([probability(mean_log_odds(of_block(block[i]), x[i:i + 1]))[0] for i in few])

    difference = np.abs(single() - p[few]).max()
    # mean_log_odds adds the curves of a direct path member by member, the map adds their sum
    assert difference < 1e-6, f"a row alone differs by {difference}"
    rates = np.array([(ROWS / seconds_of(lambda: predict(networks, block, x)),
                       ROWS / seconds_of(lambda: mean_log_odds(one, x)), SINGLE / seconds_of(single))
                      for _ in range(TURNS)]) / 1e6
    print(f"\n{name}: {ROWS:,} rows, {BLOCKS} blocks, {TURNS} turns; mean_log_odds of a row alone differs by "
          f"{difference:.0e} at most")
    for label, r in zip(("predict", "one network", "row by row"), rates.T, strict=True):
        print(f"  {label:12}{np.median(r):7.3f} million rows/s ({r.min():.3f} .. {r.max():.3f})")
    for label, other in (("one network", rates[:, 1]), ("row by row", rates[:, 2])):
        ratio = rates[:, 0] / other
        print(f"  predict is {np.median(ratio):.2f} times {label} ({ratio.min():.2f} .. {ratio.max():.2f})")


def main():
    print(f"NumPy {np.__version__}, Python {sys.version.split()[0]}; {os.cpu_count()} cores, load "
          f"{os.getloadavg()[0]:.1f}")
    for name, form in FORMS.items():
        compare(name, form)


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        sys.exit()
    main()
