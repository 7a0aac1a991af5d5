"""SHAP values and permutation importance of a block's model: by their definitions, on small models."""

import itertools
from math import factorial

import numpy as np
import pytest
from scipy.special import expit

from lsm.explanation.block_models import BlockModel, permutation, permuted_orders
from lsm.explanation.boosted_trees import BoostedTrees
from lsm.inputs.samples import Factor
from lsm.learner.boosting import Boosting, mixed
from lsm.learner.encoder import Encoder
from lsm.learner.prediction import mean_probability

FACTORS = (Factor("cover", "categorical", "class"), Factor("slope", "continuous", "degree"),
           Factor("aspect", "circular", "degree"), Factor("road", "distance", "m"),
           Factor("velocity", "continuous", "mm/yr", zero_is_missing=True))
BLOCKS = 3


def values_of(rows: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.integers(1, 4, rows), rng.uniform(0, 60, rows), rng.uniform(-1, 360, rows).round(),
                            rng.exponential(300, rows), np.where(rng.random(rows) < 0.4, 0, rng.normal(0, 5, rows))]
                           ).astype(np.float32)


def places_of(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, 1]).uniform(0, 3000, (rows, 2)).round(1)


@pytest.fixture(scope="module")
def weights() -> list[np.ndarray]:
    """Networks of one block on FACTORS, two members."""
    rng, out = np.random.default_rng(1), []
    for a, b in itertools.pairwise([len(Encoder.fit(values_of(300), FACTORS, "recommended").columns), 8, 6, 5, 2]):
        w, bias = rng.normal(0, 0.8, (a, b)), rng.normal(0, 0.5, b)
        out += [np.stack([w, 1.2 * w]).astype(np.float32), np.stack([bias, bias]).astype(np.float32)]
    return out


@pytest.fixture(scope="module")
def boosting() -> Boosting:
    """Fitted to 600 samples of three blocks where slope counts within the block, cover and X as they are."""
    x, xy, block = values_of(600), places_of(600), np.arange(600) % BLOCKS
    x[:, 1] += 15 * block
    log_odds = 0.15 * (x[:, 1] - 15 * block - 30) + 2 * (x[:, 0] == 2) + (xy[:, 0] > 2000)
    label = (np.random.default_rng(2).random(600) < expit(log_odds)).astype(int)
    return Boosting(x, xy, block, label, np.ones(600, bool), BLOCKS, 1)


def model_of(weights, boosting=None, block: int = 1) -> BlockModel:
    encoder = Encoder.fit(values_of(300), FACTORS, "recommended")
    return BlockModel(block, weights, encoder, boosting, BoostedTrees(boosting) if boosting else None)


def exact(log_odds, x: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Shapley values of one sample by their definition: over all sets of the other factors."""
    m, phi = len(x), np.zeros(len(x))
    sets = [set(present) for size in range(m + 1) for present in itertools.combinations(range(m), size)]
    rows = np.repeat(background[None], len(sets), axis=0)
    for of_set, present in zip(rows, sets, strict=True):
        of_set[:, list(present)] = x[list(present)]
    value = log_odds(rows.reshape(-1, m)).reshape(len(sets), -1).mean(axis=1)
    for present, without in zip(sets, value, strict=True):
        weight = factorial(len(present)) * factorial(max(m - len(present) - 1, 0)) / factorial(m)
        for j in set(range(m)) - present:
            phi[j] += weight * (value[sets.index(present | {j})] - without)
    return phi


def test_log_odds_are_those_of_the_map(weights, boosting):
    x, xy, encoder = values_of(50, 2), places_of(50, 2), Encoder.fit(values_of(300), FACTORS, "recommended")
    networks = mean_probability(weights, encoder.transform(x))
    assert networks.std() > 0.05
    np.testing.assert_allclose(expit(model_of(weights).log_odds(x, xy)), networks, atol=1e-6)
    for block in range(BLOCKS):
        trees = boosting.probabilities(x, xy, np.full(50, block))
        assert min(p.std() for p in trees) > 0.05
        sure = np.any([(p < 1e-4) | (p > 1 - 1e-4) for p in (networks, *trees)], axis=0)  # which the map takes as less
        assert not sure.all()
        np.testing.assert_allclose(expit(model_of(weights, boosting, block).log_odds(x, xy))[~sure],
                                   mixed(networks, trees)[~sure], atol=1e-6)


def test_the_trees_give_the_shapley_values_of_the_boosting(boosting):
    trees = BoostedTrees(boosting)
    x, background = (np.column_stack([values_of(n, seed), places_of(n, seed)]) for n, seed in ((4, 3), (9, 4)))
    for block in (0, 2):
        def log_odds(rows, block=block):
            return np.mean(boosting.log_odds(rows[:, :5].astype(np.float32), rows[:, 5:], np.full(len(rows), block)),
                           axis=0)

        found = trees.shap_values(block, x, background)
        assert np.abs(found).max() > 1
        np.testing.assert_allclose(found, [exact(log_odds, row, background) for row in x], atol=1e-5)
        np.testing.assert_allclose(log_odds(background).mean() + found.sum(axis=1), log_odds(x), atol=1e-5)


def test_alike_rows_have_nothing_to_explain(boosting):
    row = np.column_stack([values_of(1), places_of(1)])
    assert not BoostedTrees(boosting).shap_values(0, np.repeat(row, 3, axis=0), np.repeat(row, 5, axis=0)).any()


def test_shap_values_of_the_networks_are_the_shapley_values(weights):
    model, x, background = model_of(weights), values_of(4, 3), values_of(12, 4)
    found = model.shap_values(x, places_of(4), background, places_of(12), 200, 0)
    assert not found[:, 5:].any()  # X, Y
    expected = np.array([exact(model.of_networks, row, background) for row in x])
    assert np.abs(expected).mean() > 0.5
    # Drawn orders: one order is up to 0.8 off here, and the error falls with their square root.
    np.testing.assert_allclose(found[:, :5], expected, atol=4 * 0.8 / np.sqrt(200))
    np.testing.assert_allclose(model.of_networks(background).mean() + found.sum(axis=1), model.of_networks(x),
                               atol=1e-4)


def test_shap_values_of_the_map_are_half_and_half(weights, boosting):
    both, x, background = model_of(weights, boosting), values_of(6, 3), values_of(12, 4)
    xy, background_xy = places_of(6, 3), places_of(12, 4)
    found = both.shap_values(x, xy, background, background_xy, 3, 0)
    networks = model_of(weights).shap_values(x, xy, background, background_xy, 3, 0)
    trees = BoostedTrees(boosting).shap_values(1, np.column_stack([x, xy]),
                                               np.column_stack([background, background_xy]))
    np.testing.assert_allclose(found, (networks + trees) / 2)
    np.testing.assert_allclose(both.log_odds(background, background_xy).mean() + found.sum(axis=1),
                               both.log_odds(x, xy), atol=1e-4)


def drawn(log_odds, x: np.ndarray, background: np.ndarray) -> np.ndarray:
    """SHAP values (samples, factors) by one order of the factors."""
    def exchanged(row):
        return lambda own: log_odds(np.where(own[:, None], row, background).reshape(-1, len(row))).reshape(
            len(own), -1).mean(axis=1)

    return np.array([permuted_orders(exchanged(row), x.shape[1], 1, i) for i, row in enumerate(x)])


def test_few_orders_are_exact_without_interactions_of_three():
    def log_odds(v):
        return v[:, 0] * v[:, 1] - 2 * v[:, 2] + v[:, 3] * v[:, 4]

    x, background = values_of(5, 5) / 100, values_of(10, 6) / 100
    found = drawn(log_odds, x, background)
    np.testing.assert_allclose(found, [exact(log_odds, row, background) for row in x], atol=1e-5)


def test_a_factor_that_raises_the_log_odds_has_positive_values_above_the_mean():
    def log_odds(v):
        return 0.2 * v[:, 1]

    x = values_of(20, 7)
    found = drawn(log_odds, x, x)
    np.testing.assert_allclose(found[:, 1], 0.2 * (x[:, 1] - x[:, 1].mean()), atol=1e-5)
    assert not found[:, [0, 2, 3, 4]].any()


def test_permutation_is_the_rise_of_the_log_loss():
    rng, x = np.random.default_rng(8), values_of(400, 8)
    label = (rng.random(400) < expit(0.3 * (x[:, 1] - 30))).astype(int)

    def log_odds(v, xy):
        return 0.3 * (v[:, 1] - 30) + 0 * xy[:, 0]

    mean, sd = permutation(log_odds, x, places_of(400), label, 40, np.random.default_rng(0))
    # Shuffled, every label meets every value: the mean over all pairs.
    margin = 0.3 * (x[:, 1].astype(float) - 30)
    signed = np.where(label == 1, -1, 1)
    expected = np.logaddexp(0, signed[:, None] * margin).mean() - np.logaddexp(0, signed * margin).mean()
    assert mean[1] == pytest.approx(expected, abs=4 * sd[1] / np.sqrt(40))
    assert sd[1] > 0
    assert not mean[[0, 2, 3, 4]].any()
    assert not sd[[0, 2, 3, 4]].any()


def test_places_are_not_shuffled():
    x, xy = values_of(60, 9), places_of(60, 9)

    def log_odds(v, at):
        assert np.array_equal(at.reshape(-1, 60, 2), np.broadcast_to(xy, (len(at) // 60, 60, 2)))
        return v[:, 1] * 0.1

    permutation(log_odds, x, xy, np.arange(60) % 2, 4, np.random.default_rng(0))


def test_permutation_knows_a_block_of_one_class(weights, boosting):
    mean, _ = permutation(model_of(weights, boosting).log_odds, values_of(30, 9), places_of(30), np.ones(30, int), 5,
                          np.random.default_rng(0))
    assert np.isfinite(mean).all()
    assert mean.any()
