"""Windows: small areas cut from the table of a large one."""

import numpy as np

from lsm.inputs.factor.definition import Factor
from lsm.inputs.samples import Samples
from lsm.learner.tasks import neighbourhoods
from lsm.learner.transfer.windows import APART, together, windows

FACTORS = (Factor("slope", "continuous", "degree"), Factor("aspect", "circular", "degree"),
           Factor("dis2road", "distance", "m"))


def made(seed: int = 0, n: int = 600) -> Samples:
    """Landslides in the whole west, and in half of the east."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, 10_000, (n, 2))
    factors = np.column_stack([rng.normal(20, 3, n) + xy[:, 0] / 1000, rng.uniform(0, 360, n), rng.exponential(90, n)])
    return Samples(factors.astype(np.float32), xy, ((xy[:, 0] < 4000) | (rng.random(n) < 0.5)).astype(np.int8))


def test_a_window_is_an_area_of_its_own():
    found = windows(made(), FACTORS, 40, (50, 120), 0.0, np.random.default_rng(1))
    assert 5 < len(found) < 40  # those of landslides alone are left out
    for part in found:
        assert 50 <= len(part.label) <= 120
        assert 0.1 <= part.label.mean() <= 0.9
        np.testing.assert_allclose(part.x[:, [0, 4]].mean(axis=0), 0, atol=0.05)  # standardised by its own points
        np.testing.assert_allclose(part.xy.mean(axis=0), 0, atol=1e-6)


def test_factors_are_taken_away_whole():
    found = windows(made(), FACTORS, 40, (50, 60), 1.0, np.random.default_rng(1))
    lacking = np.array([[not part.x[:, columns].any() for columns in ([0], [1, 2], [4])] for part in found])
    for part, (_, aspect, _) in zip(found, lacking, strict=True):
        assert part.x[:, 1].any() == part.x[:, 2].any() == (not aspect)
    assert 0.2 < lacking.mean() < 0.8
    assert (lacking.std(axis=0) > 0).all()


def test_no_neighbourhood_reaches_from_one_window_into_another():
    parts = windows(made(), FACTORS, 10, (50, 60), 0.5, np.random.default_rng(1))
    samples = together(parts)
    assert samples.block.tolist() == [i for i, part in enumerate(parts) for _ in part.label]
    for rows in neighbourhoods(samples, np.arange(len(samples.label)), 50, np.random.default_rng(2)):
        assert len(set(samples.block[rows])) == 1
        assert np.ptp(samples.xy[rows], axis=0).max() < APART / 100
