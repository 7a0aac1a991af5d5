from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from lsm.learner import network
from lsm.learner.adaptation import models_of_blocks, pooled_members
from lsm.learner.members import HISTORY, Kind, Training, initial_state, initial_weights
from lsm.learner.support import reach
from lsm.learner.support.reach import measured_reach
from lsm.learner.support.supports import distance_to, network_between
from lsm.learner.tasks import EncodedSamples

network.use_one_thread()  # before any test runs an operator

SIDE, BLOCK = 10_000.0, 1_000.0  # m
KIND = Kind("local", 1, 0, 0, 0, 0, False, False, True, 40, 20, 0, 0.0)


def area(period: float, seed: int = 0, n: int = 1500) -> EncodedSamples:
    """Points of one factor. Whether high values slide changes from west to east and back within `period` m."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, SIDE, (n, 2))
    x = rng.normal(size=(n, 3)).astype(np.float32)
    sign = np.where(np.sin(2 * np.pi * xy[:, 0] / period) > 0, 1, -1) if period else 1
    label = (sign * x[:, 0] + 0.3 * rng.normal(size=n) > 0).astype(np.int32)
    block = (xy // BLOCK).astype(int) @ [int(SIDE / BLOCK), 1]
    return EncodedSamples(x, label, xy, block, np.ones(n, np.float32))


def untrained(samples: EncodedSamples) -> tuple[Training, dict]:
    """One member of random weights that knows nothing, and its intermediate model."""
    weights = initial_weights([3, 8, 8, 4], None, np.random.default_rng(1), True)
    training = Training([KIND], [[initial_state(weights, 0.5, False)]], 0, np.empty((0, len(HISTORY))))
    return training, pooled_members(training, samples.x)


def test_the_reach_follows_how_far_what_is_learned_holds():
    """Where causes change from place to place, samples from afar do harm; where they are the same, none does."""
    reaches = {}
    for period in (3_000, 5_000, 0):
        samples = area(period)
        reaches[period] = measured_reach(*untrained(samples), samples, np.ones(len(samples.label), bool), 1)
    assert 100 < reaches[3_000] < 1_500  # the causes turn round within half a period
    assert reaches[3_000] < reaches[5_000] < 2_500
    assert reaches[0] == np.inf


@pytest.mark.parametrize(("on", "place", "expected"), [(True, True, 7), (False, True, np.inf), (True, False, 0)])
def test_the_reach_is_measured_where_distance_and_places_count(on, place, expected, monkeypatch):
    monkeypatch.setattr(reach, "measured_reach", lambda *given: given[-1])  # the seed
    samples = area(0)
    training, _ = untrained(samples)
    every = np.ones(len(samples.label), bool)
    reach.intermediate_models(training, samples, every, every, SimpleNamespace(SEED=7, LEVEL_BELOW=0, REACH=on), place)
    assert training.reach == expected


def test_the_reach_reads_known_samples_only():
    samples = area(3_000)
    known = np.random.default_rng(3).random(len(samples.label)) < 0.7
    other = replace(samples, label=np.where(known, samples.label, 1 - samples.label),
                    x=np.where(known[:, None], samples.x, 99).astype(np.float32))
    training, pooled = untrained(samples)
    assert measured_reach(training, pooled, samples, known, 1) == measured_reach(training, pooled, other, known, 1)


def test_a_sample_counts_by_its_weight_in_the_loss_of_the_reach():
    samples = area(3_000, n=300)
    own, support, reaches = np.arange(40), np.arange(40, 120), np.array([500.0, np.inf])
    lighter = replace(samples, weight=np.where(np.arange(300) < 40, 0.25, 1).astype(np.float32))
    plain, light = (reach._losses(*untrained(samples), s, [own], [[support]], reaches) for s in (samples, lighter))
    np.testing.assert_allclose(light, 0.25 * plain, rtol=1e-6)


@pytest.mark.parametrize("rows", [0, 1, 4])
def test_too_few_samples_measure_nothing(rows):
    samples = area(3_000)
    known = np.arange(len(samples.label)) < rows
    assert measured_reach(*untrained(samples), samples, known, 1) == np.inf


def test_one_block_alone_measures_nothing():
    """No other block can teach it, so no reach is better than another."""
    samples = replace(area(3_000), block=np.zeros(1500, int))
    assert measured_reach(*untrained(samples), samples, np.ones(1500, bool), 1) == np.inf


def test_a_network_lies_between_the_intermediate_model_and_the_adapted_one():
    pooled, adapted = [np.float32([0, 2])], [np.float32([4, -2])]
    assert network_between(pooled, adapted, 0, 500)[0].tolist() == [4, -2]
    assert network_between(pooled, adapted, 1e9, np.inf)[0].tolist() == [4, -2]
    assert network_between(pooled, adapted, 0, 0)[0].tolist() == [0, 2]
    assert network_between(pooled, adapted, 1e9, 500)[0].tolist() == [0, 2]
    half = network_between(pooled, adapted, 500 * np.log(2), 500)[0]
    np.testing.assert_allclose(half, [2, 0], atol=1e-6)
    assert half.dtype == np.float32


def test_the_distance_of_a_block_is_the_median_of_its_places():
    assert distance_to(np.array([[0.0, 0], [100, 0]]), np.array([[1.0, 0], [104, 0], [100, 30]])) == 4
    many = np.column_stack([np.arange(10_000) % 100, np.zeros(10_000)])
    assert distance_to(np.array([[0.0, 0]]), many) == pytest.approx(50, abs=10)


def test_blocks_far_from_samples_keep_nearly_the_intermediate_model():
    samples = area(3_000)
    known = samples.xy[:, 0] < 5_000
    training, pooled = untrained(samples)
    near, far = 12, 92  # columns 1 and 9 of blocks
    places = [samples.xy[samples.block == b] if b in (near, far) else None for b in range(100)]

    def models(reach: float) -> tuple[list[np.ndarray], np.ndarray]:
        networks, *_, share = models_of_blocks(replace(training, reach=reach), pooled, samples, known, places,
                                               np.random.default_rng(0))
        return networks["local"], share

    (full, all_of_it), (short, share) = models(np.inf), models(300.0)
    np.testing.assert_array_equal(np.flatnonzero(all_of_it), [near, far])
    np.testing.assert_allclose(all_of_it[[near, far]], 1)
    assert share[near] == 1  # its own samples lie at its places
    assert share[far] == pytest.approx(np.exp(-distance_to(samples.xy[known], places[far]) / 300), rel=1e-6)
    for start, a, b in zip(pooled["local"], full, short, strict=True):
        np.testing.assert_array_equal(a[0, near], b[0, near])
        np.testing.assert_allclose(b[0, far], start[0], atol=1e-5)
    assert any(np.abs(a[0, far] - start[0]).max() > 0.01 for start, a in zip(pooled["local"], full, strict=True))
