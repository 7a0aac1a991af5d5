from dataclasses import replace

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from lsm.learner import members, network
from lsm.learner.additive import additive_start
from lsm.learner.additive.additive_start import SHARES, fitted_curves, start_paths, trust_in_shares
from lsm.learner.additive.direct_path import BENDS, curves, rows_of_path
from lsm.learner.members import Kind, initial_state
from lsm.learner.prediction import log_odds
from lsm.learner.tasks import EncodedSamples
from lsm.run.settings import InputError

network.use_one_thread()  # before any test runs an operator

KIND = Kind("local", 2, 0, 0, 0, 0, False, False, True, 40, 20, 0, 0.0, True)


def area(n: int = 600, seed: int = 0) -> EncodedSamples:
    """Landslides between two heights (input 0) and, a little more often, on one of three rocks (inputs 2 to 4, as
    classes); input 1 means nothing; 5 and 6 are the place."""
    rng = np.random.default_rng(seed)
    rock = rng.integers(0, 3, n)
    height, noise, place = rng.normal(size=n), rng.normal(size=n), rng.normal(size=(n, 2))
    z = 3 * (np.abs(height) < 0.8) - 1.5 + 1.0 * (rock == 1)
    label = (rng.random(n) < 1 / (1 + np.exp(-z))).astype(np.int32)
    x = np.column_stack([height, noise, *(rock == k for k in range(3)), place]).astype(np.float32)
    return EncodedSamples(x, label, place * 1000, np.zeros(n, int), np.ones(n, np.float32))


def fit(samples: EncodedSamples, offset: float = 0.0, place: int = 2) -> tuple[np.ndarray, float]:
    n = samples.x.shape[1]
    return fitted_curves(samples.x, rows_of_path(n, n - place), place, samples.label, samples.weight,
                         np.full(len(samples.x), offset))


def states(place: bool = False, direct: bool = True) -> list[dict]:
    inputs = 5 + 2 * place
    return [initial_state(members.initial_weights([inputs, 8, 8, 4], None, np.random.default_rng(m), direct, 5),
                          0.1, True) for m in range(2)]


def test_a_curve_finds_landslides_between_two_heights():
    path, bias = fit(area())
    n = 7
    heights = np.zeros((3, n), np.float32)
    heights[:, 0] = -2, 0, 2
    low, middle, high = curves(heights, path)[:, 0]
    assert middle - low > 1.5
    assert middle - high > 1.5
    test = area(seed=1)
    z = curves(test.x, path).sum(axis=1) + bias
    loss = np.logaddexp(0, np.where(test.label == 1, -z, z)).mean()
    assert loss < 0.60  # .520 with the true log-odds, .668 with straight lines


def trusted(samples: EncodedSamples) -> list[float]:
    n = samples.x.shape[1]
    return trust_in_shares(samples.x, samples.xy, rows_of_path(n, n - 2), 2, samples.label, samples.weight,
                           np.zeros(len(samples.x))).tolist()


def test_points_that_tell_the_same_count_less():
    """Twenty valleys of thirty points each. In the second area height, rock and label are a valley's own: thirty points
    tell no more than one."""
    rng = np.random.default_rng(3)
    valley = np.repeat(np.arange(20), 30)
    xy = rng.normal(size=(20, 2))[valley] * 1e4 + rng.normal(size=(600, 2))
    alone = area()
    alone = replace(alone, xy=xy)
    found = trusted(alone)
    assert sum(found) == pytest.approx(1)
    assert sum(found[:2]) > 0.9
    few = area(20, seed=5)
    alike = replace(alone, x=few.x[valley] + np.float32(0.01) * rng.normal(size=(600, 7)).astype(np.float32),
                    label=few.label[valley])
    assert sum(trusted(alike)[-2:]) > 0.9


def test_a_share_of_few_points_is_not_tried():
    assert trusted(area(120))[2:] == [0, 0, 0]


def test_too_few_places_for_folds_all_count():
    samples = area(30)
    one, *others = trusted(replace(samples, xy=np.repeat([[0.0, 0.0], [9.0, 9.0]], 15, axis=0)))
    assert one == 1
    assert not any(others)
    assert len(others) == len(SHARES) - 1


def test_what_means_nothing_stays_flat_and_classes_and_places_do_not_bend():
    path, _ = fit(area(3000))
    bends = path[7:].reshape(BENDS, 5)
    assert np.abs(bends[:, 0]).max() > 1
    assert np.abs(path[1]) < 0.15
    assert np.abs(bends[:, 1]).max() < 0.25
    assert not bends[:, 2:].any()
    assert not path[5:7].any()  # the place
    assert path[3] - path[2] == pytest.approx(1.0, abs=0.3)  # the rock that slides


def test_weights_count_points():
    """A point of weight 2 counts as two points."""
    samples = area(200)
    twice = np.concatenate([np.arange(200), np.arange(50)])
    heavy = replace(samples, weight=np.where(np.arange(200) < 50, 2, 1).astype(np.float32))
    many = replace(samples, x=samples.x[twice], label=samples.label[twice], weight=np.ones(250, np.float32))
    np.testing.assert_allclose(fit(heavy)[0], fit(many)[0], atol=2e-3)


def test_what_is_known_already_is_not_fitted_again():
    """With the log-odds of the fit as offset there is next to nothing left; a constant offset moves the bias alone."""
    samples = area()
    path, bias = fit(samples)
    n = samples.x.shape[1]
    offset = curves(samples.x, path).sum(axis=1) + bias
    again, _ = fitted_curves(samples.x, len(path), 2, samples.label, samples.weight, offset)
    assert np.abs(again).max() < 0.35 < np.abs(path).max()
    moved, other = fit(samples, 1.0)
    np.testing.assert_allclose(moved, path, atol=5e-3)
    assert other == pytest.approx(bias - 1, abs=5e-3)
    assert len(path) == rows_of_path(n, n - 2)


@pytest.mark.parametrize("place", [False, True])
def test_members_start_from_the_fitted_curves(place, monkeypatch):
    """The mean of the fits by all shares, each as often as it is trusted."""
    monkeypatch.setattr(additive_start, "trust_in_shares", lambda *_: np.array([0.75, 0, 0.25, 0, 0]))
    samples, members = area(), states(place)
    kind = replace(KIND, place=place)
    before = np.mean([log_odds(s["weights"], samples.x) for s in members], axis=0)
    share = start_paths([kind], [members], samples, np.ones(len(samples.label), bool), np.random.default_rng(0))
    assert share == 0.75 * SHARES[0] + 0.25 * SHARES[2]
    after = np.mean([log_odds(s["weights"], samples.x) for s in members], axis=0)
    n = 5 + 2 * place
    fits = [fitted_curves(samples.x[:, :n], rows_of_path(n, 5), 2 * place, samples.label, samples.weight, before, share)
            for share in SHARES]
    added = [curves(samples.x[:, :n], path).sum(axis=1) + bias for path, bias in fits]
    np.testing.assert_allclose(after, before + 0.75 * added[0] + 0.25 * added[2], atol=1e-4)
    assert all(w.dtype == np.float32 for s in members for w in s["weights"])


def test_only_known_samples_are_read_and_networks_without_a_direct_path_stay():
    samples = area()
    known = np.arange(len(samples.label)) % 3 > 0
    other = replace(samples, label=np.where(known, samples.label, 1 - samples.label),
                    x=np.where(known[:, None], samples.x, 99).astype(np.float32))
    found = []
    for each in (samples, other):
        members = states()
        start_paths([KIND], [members], each, known, np.random.default_rng(0))
        found.append(members[0]["weights"][-1])
    np.testing.assert_array_equal(*found)
    members, before = states(direct=False), states(direct=False)
    start_paths([replace(KIND, direct=False, bends=False)], [members], samples, known, np.random.default_rng(0))
    assert all(np.array_equal(a, b) for s, t in zip(members, before, strict=True)
               for a, b in zip(s["weights"], t["weights"], strict=True))


def test_the_same_bytes_with_any_number_of_threads():
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(fit(area(3000))[0].tobytes())
    assert found[0] == found[1]


@pytest.mark.parametrize("weight", [np.nan, np.inf])
def test_a_fit_that_ends_with_no_numbers_is_one_line(weight):
    samples = area()
    with pytest.raises(InputError, match=r"^the fit of curves, before the first outer step: expected finite weights, "):
        fit(replace(samples, weight=np.full_like(samples.weight, weight)))


def test_members_that_start_with_no_numbers_are_one_line():
    members = states()
    members[1]["weights"][-2] = np.float32([-3e38, 3e38])  # of both classes, farther apart than float32 reaches
    with pytest.raises(InputError, match=r"^local members, before the first outer step: .* \(START_FROM\), or from"):
        start_paths([KIND], [members], area(), np.ones(600, bool), np.random.default_rng(0))


def test_inputs_that_tell_nothing_give_a_bias_alone():
    samples = area()
    path, bias = fit(replace(samples, x=np.ones_like(samples.x)))
    assert not path.any()
    assert bias == pytest.approx(np.log(samples.label.mean() / (1 - samples.label.mean())), abs=1e-3)
