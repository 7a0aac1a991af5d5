import numpy as np
import pytest
from scipy.spatial.distance import cdist

from lsm.inputs.factor.definition import Factor
from lsm.learner.encoder import Encoder
from lsm.learner.prediction import log_odds_of_block, predict, probability, weights_of_members
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


def test_the_index_reads_factors_and_no_places():
    factors = (Factor("slope", "continuous", "degree"), Factor("road", "distance", "m"))
    rng = np.random.default_rng(5)
    values, xy = rng.uniform(0, 60, (80, 2)).astype(np.float32), rng.uniform(0, 1000, (80, 2))
    encoder = Encoder.fit(values, factors, "recommended", xy)
    found = trust.Applicability.of(encoder, values, np.arange(80) % 4, np.ones(2), 80, rng)
    other = rng.uniform(0, 60, (30, 2)).astype(np.float32)
    index = found.index(encoder.transform(other))
    samples, cells = (encoder.transform(v) * found.scale for v in (values, other))
    np.testing.assert_allclose(index, cdist(cells, samples).min(axis=1) / found.mean, rtol=1e-5)
    np.testing.assert_array_equal(found.index(encoder.transform(other, rng.uniform(0, 9000, (30, 2)))), index)


def test_spread_is_the_sd_over_the_members_of_all_kinds():
    rng, blocks = np.random.default_rng(4), 4
    networks = {kind: [rng.normal(size=(members, blocks, *shape)).astype(np.float32)
                       for shape in [(inputs, 6), (6,), (6, 2), (2,), (inputs, 2)]]
                for kind, members, inputs in (("local", 3, 5), ("regional", 2, 7))}
    x, block = rng.normal(size=(30, 7)).astype(np.float32), rng.integers(0, blocks, 30)
    members = list(weights_of_members(networks))
    found = np.concatenate([trust.spread_of_members(log_odds_of_block(members, b, row[None]))
                            for b, row in zip(block, x, strict=True)])
    for i in range(30):
        each = []
        for kind, members, inputs in (("local", 3, 5), ("regional", 2, 7)):
            for m in range(members):
                w1, b1, w2, b2, w5 = (w[m, block[i]].astype(float) for w in networks[kind])
                z = np.maximum(x[i, :inputs] @ w1 + b1, 0) @ w2 + b2 + x[i, :inputs] @ w5
                each.append(z[1] - z[0])
        assert found[i] == pytest.approx(np.std(probability(np.array(each)), ddof=1), abs=1e-5)
        assert predict(networks, block, x)[i] == pytest.approx(probability(np.mean(each)), abs=1e-5)
    assert found.max() > 0.1


def test_no_spread_depends_on_the_other_cells():
    each = np.random.default_rng(6).normal(size=(9, 40)).astype(np.float32)  # NumPy sums 8 or more in another order
    alone = [trust.spread_of_members(z[:, None])[0] for z in each.T]
    np.testing.assert_array_equal(alone, trust.spread_of_members(each))
