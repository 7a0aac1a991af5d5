"""Compiles the loops of meta-training and of adaptation, which numba keeps, so that the first run of stages 3 and 4
need not wait for them.

Run     python tools/compile.py     half a minute the first time, and after a change of lsm/learner/lanes/
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lsm.learner.lanes.adaptation_steps import adaptation_steps
from lsm.learner.lanes.outer_steps import outer_steps
from lsm.learner.members import initial_state, initial_weights


def main() -> None:
    """Takes one outer step of a small network, and no step of adaptation, on zeros."""
    state = initial_state(initial_weights([4, 4], None, np.random.default_rng(0)), 0.1, False)
    x, label, mask = np.zeros((1, 1, 4, 4), np.float32), np.zeros((1, 1, 4), np.int32), np.ones((1, 1, 4), np.float32)
    outer_steps(state, 0, [x, label, mask] * 2, 1, 1e-3, True, False, 0.0)
    adaptation_steps(state, x[0], label[0], mask[0], np.array([4]), 0, True)


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        sys.exit()
    main()
