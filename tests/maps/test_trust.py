import numpy as np
import pytest
from scipy.spatial.distance import cdist

from lsm.inputs.samples import Factor
from lsm.learner.boosting import mixed
from lsm.learner.encoder import Encoder
from lsm.learner.prediction import mean_probability, probability
from lsm.maps import trust


def test_a_factor_counts_once_however_many_columns_it_has():
    factors = (Factor("cover", "categorical", "class"), Factor("slope", "continuous", "degree"),
               Factor("aspect", "circular", "degree"))
    rng = np.random.default_rng(2)
    values = np.column_stack([rng.choice([1, 2, 3], 500, p=[0.98, 0.01, 0.01]), rng.uniform(0, 60, 500),
                              rng.uniform(0, 360, 500)]).astype(np.float32)
    encoder = Encoder.fit(values, factors, "recommended")
    weight = np.array([1.0, 2.0, 0.5])
    scale = trust.scales(encoder, encoder.transform(values), weight)
    variance = (encoder.transform(values) * scale).var(axis=0)
    of = np.array([j for j, _ in encoder.columns])
    np.testing.assert_allclose(np.bincount(of, variance), weight**2, rtol=1e-4)


def test_the_index_of_samples_looks_into_other_folds_alone():
    x, fold = np.random.default_rng(3).normal(size=(60, 4)), np.arange(60) % 3
    distance = cdist(x, x)
    distance[fold[:, None] == fold] = np.inf
    np.testing.assert_allclose(trust.training_index(x, fold), distance.min(axis=1))


def test_the_threshold_leaves_outliers_out():
    index = np.arange(1, 101) / 100
    assert trust.largest_but_outliers(index) == 1.0
    assert trust.largest_but_outliers(np.append(index, [1.5, 9.0])) == 1.5  # the whisker ends at 1.525
    assert trust.largest_but_outliers(np.append(index, [1.55, 9.0])) == 1.0


def networks_of(rng) -> list[np.ndarray]:
    """Three members of four blocks, five inputs."""
    return [rng.normal(size=(3, 4, *shape)).astype(np.float32) for shape in [(5, 6), (6,), (6, 2), (2,)]]


def test_spread_is_the_sd_over_members():
    rng = np.random.default_rng(4)
    networks = networks_of(rng)
    x, block = rng.normal(size=(30, 5)).astype(np.float32), rng.integers(0, 4, 30)
    found = trust.Ensemble(networks, []).spread(block, x, x, x[:, :2])
    for i in range(30):
        each = [probability([w[m, block[i]] for w in networks], x[i:i + 1])[0] for m in range(3)]
        assert found[i] == pytest.approx(np.std(each, ddof=1), abs=1e-6)
        assert mean_probability([w[:, block[i]] for w in networks], x[i:i + 1])[0] == pytest.approx(np.mean(each))
    assert found.max() > 0.1


def test_spread_has_each_member_with_its_boosting():
    rng = np.random.default_rng(5)
    networks, block = networks_of(rng), np.arange(200) % 4
    x, xy = rng.normal(size=(200, 5)).astype(np.float32), rng.uniform(0, 1000, (200, 2))
    models = {f"{kind}{layer}": w for (layer, kind), w in zip([(1, "w"), (1, "b"), (2, "w"), (2, "b")], networks,
                                                              strict=True)}
    models |= {"boosted": np.arange(200) < 180, "state": np.zeros(4, np.int8)}
    label = (x[:, 0] > rng.normal(size=200)).astype(np.int8)
    samples = {"factors": x, "xy": xy, "block": np.sort(block), "label": label, "weight": np.ones(200, np.float32)}
    ensemble = trust.Ensemble.of_map(models, samples, True, 3)
    each = [mixed(np.concatenate([probability([w[m, block[i]] for w in networks], x[i:i + 1]) for i in range(200)]),
                  boosting.probabilities(x, xy, block)) for m, boosting in enumerate(ensemble.boosting)]
    np.testing.assert_allclose(ensemble.spread(block, x, x, xy), np.std(each, axis=0, ddof=1), atol=1e-6)
    assert np.ptp([boosting.probabilities(x, xy, block)[0] for boosting in ensemble.boosting], axis=0).max() > 0.1
    for resampled, boosted in ((False, models["boosted"]), (True, np.zeros(0, bool))):
        assert trust.Ensemble.of_map(models | {"boosted": boosted}, samples, resampled, 3).boosting == []


def test_samples_are_drawn_again_within_their_block():
    block, known = np.repeat([0, 2], [40, 60]), np.arange(100) % 5 > 0
    times = trust.drawn_again(block, known, np.random.default_rng(6))
    assert not times[~known].any()
    assert np.bincount(block, times).tolist() == [32, 0, 48]
    assert times.max() > 1
