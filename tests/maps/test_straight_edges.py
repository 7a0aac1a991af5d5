import sys

import numpy as np

from lsm.run.paths import PROJECT

sys.path.append(str(PROJECT / "benchmarks"))
import seams


def test_a_straight_edge_stands_out_and_what_is_not_straight_does_not():
    rng = np.random.default_rng(0)
    plain = 0.5 + 0.1 * rng.standard_normal((200, 300))
    plain[:, :20] = np.nan  # off the map
    stepped, slanted = plain.copy(), plain.copy()
    stepped[150:] += 0.1  # between two rows; seen along 280 cells
    slanted[np.add.outer(np.arange(200), np.arange(300)) > 250] += 0.1
    found = [seams.straight_edge(p) for p in (plain, stepped, stepped.T, slanted)]
    assert found[0] < 5
    assert found[1] > 8
    assert found[2] == found[1]
    assert found[3] < 5
    assert np.isnan(seams.straight_edge(plain[:50, :50]))
