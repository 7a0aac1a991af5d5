"""Windows: small areas cut from the tables of large ones, to meta-train a model that other areas can start from.

A window is treated as an area of its own. It has the points nearest to a random place; its factors are standardised by
these points alone; and some of its factors are taken away, since another area may lack any. Windows lie far apart, so
every neighbourhood is within one.
"""

import numpy as np
from scipy.spatial import cKDTree

from lsm.inputs.factor.definition import Factor
from lsm.inputs.samples import Samples
from lsm.learner.encoder import Encoder
from lsm.learner.tasks import EncodedSamples

APART = 1e7        # m from one window to the next
LEAST_SHARE = 0.1  # of the rarer class in a window


def windows(samples: Samples, factors: tuple[Factor, ...], count: int, points: tuple[int, int], missing: float,
            rng: np.random.Generator) -> list[EncodedSamples]:
    """`count` windows of an area, without windows that have hardly any point of one class.

    samples  factors (samples, factors) described by `factors`, without categories
    points   the fewest and the most of a window; its number is drawn evenly on a scale of logarithms
    missing  the largest share of factors that a window may lack
    """
    tree, found = cKDTree(samples.xy), []
    for _ in range(count):
        n = round(np.exp(rng.uniform(*np.log(points))))
        rows = tree.query(samples.xy[rng.integers(len(samples.xy))], k=min(n, len(samples.xy)))[1]
        lacking = rng.random(len(factors)) < missing * rng.random()
        if min(share := samples.label[rows].mean(), 1 - share) < LEAST_SHARE:
            continue
        encoder = Encoder.fit(samples.factors[rows], factors, "recommended", samples.xy[rows])
        x = encoder.transform(samples.factors[rows])
        x[:, [i for i, (j, _) in enumerate(encoder.columns) if lacking[j]]] = 0
        found.append(EncodedSamples(x, samples.label[rows].astype(np.int32), samples.xy[rows] - encoder.place[:2],
                                    np.zeros(len(rows), np.int64), np.ones(len(rows), np.float32)))
    return found


def together(parts: list[EncodedSamples]) -> EncodedSamples:
    """All windows as one set of samples, each APART from the window before; block: the number of the window."""
    return EncodedSamples(
        np.concatenate([part.x for part in parts]), np.concatenate([part.label for part in parts]),
        np.concatenate([part.xy + np.array([APART * i, 0]) for i, part in enumerate(parts)]),
        np.repeat(np.arange(len(parts)), [len(part.label) for part in parts]),
        np.concatenate([part.weight for part in parts]))
