from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from test_reach import KIND, area, untrained

from lsm.learner.members import Training
from lsm.learner.prediction import mean_log_odds, probability
from lsm.learner.support.level import levelled
from lsm.learner.support.reach import intermediate_models
from lsm.learner.tasks import EncodedSamples


def rare(share: float) -> tuple[EncodedSamples, np.ndarray]:
    """Points of which about this share are landslides; seven in ten are known."""
    samples = area(0)
    rng = np.random.default_rng(5)
    label = (samples.x[:, 0] + 0.3 * rng.normal(size=len(samples.label)) > np.quantile(samples.x[:, 0], 1 - share))
    weight = rng.uniform(0.5, 1, len(label)).astype(np.float32)
    return replace(samples, label=label.astype(np.int32), weight=weight), rng.random(len(label)) < 0.7


@pytest.mark.parametrize("share", [0.03, 0.5, 0.9])
@pytest.mark.parametrize("direct", [False, True])
def test_the_mean_probability_is_the_share_of_landslides_and_no_rank_changes(share, direct):
    samples, known = rare(share)
    training, pooled = untrained(samples)
    if not direct:
        pooled = {name: weights[:-1] for name, weights in pooled.items()}
    before = mean_log_odds(pooled, samples.x)
    after = mean_log_odds(levelled(pooled, training, samples, known), samples.x)
    weight = samples.weight[known]
    assert np.average(probability(after)[known], weights=weight) == pytest.approx(
        np.average(samples.label[known], weights=weight), abs=1e-5)
    np.testing.assert_allclose(after - before, (after - before)[0], atol=1e-5)
    assert abs((after - before)[0]) > 0.01


def test_only_known_samples_are_read():
    samples, known = rare(0.2)
    training, pooled = untrained(samples)
    other = replace(samples, label=np.where(known, samples.label, 1 - samples.label),
                    x=np.where(known[:, None], samples.x, 99).astype(np.float32))
    for a, b in zip(*(levelled(pooled, training, s, known)[KIND.name] for s in (samples, other)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_fitted_models_are_left_alone():
    samples, known = rare(0.2)
    training, pooled = untrained(samples)
    fitted = Training(training.kinds, [[state | {"fitted": state["weights"]} for state in training.states[0]]], 0,
                      training.history)
    assert levelled(pooled, fitted, samples, known)[KIND.name] is pooled[KIND.name]


@pytest.mark.parametrize(("share", "moved"), [(0.05, True), (0.45, False), (0.97, True)])
def test_only_where_a_class_is_rare(share, moved):
    samples, known = rare(share)
    training, pooled = untrained(samples)
    c = SimpleNamespace(SEED=1, LEVEL_BELOW=0.25, REACH=False)
    every = np.ones(len(known), bool)
    found = intermediate_models(training, samples, every, known, c)[KIND.name]
    assert any((a != b).any() for a, b in zip(found, pooled[KIND.name], strict=True)) == moved
    assert training.reach == np.inf
    intermediate_models(training, samples, every, known, c, place=False)
    assert training.reach == 0
