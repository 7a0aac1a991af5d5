"""SHAP values and permutation importance of a block's model: by their definitions, on small models."""

import itertools
from math import factorial

import numpy as np
import pytest
from scipy.special import expit

from lsm.explanation import block_models
from lsm.explanation.block_models import permutation, players_of, shap_values
from lsm.inputs.factor.definition import Factor
from lsm.learner.encoder import Encoder
from lsm.learner.prediction import mean_log_odds, predict, weights_of_members

FACTORS = (Factor("cover", "categorical", "class"), Factor("slope", "continuous", "degree"),
           Factor("aspect", "circular", "degree"), Factor("road", "distance", "m"),
           Factor("velocity", "continuous", "mm/yr", zero_is_missing=True))


def values_of(rows: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.integers(1, 4, rows), rng.uniform(0, 60, rows), rng.uniform(-1, 360, rows).round(),
                            rng.exponential(300, rows), np.where(rng.random(rows) < 0.4, 0, rng.normal(0, 5, rows))]
                           ).astype(np.float32)


def places_of(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, 1]).uniform(0, 3000, (rows, 2)).round(1)


ENCODER = Encoder.fit(values_of(300), FACTORS, "recommended", places_of(300))
PLAYER = players_of(ENCODER)


def encoded(rows: int, seed: int) -> np.ndarray:
    return ENCODER.transform(values_of(rows, seed), places_of(rows, seed))


def networks_of(place: bool, direct: bool, seed: int = 1, hidden: tuple = (8, 6, 5)) -> list[np.ndarray]:
    """Weights (members, ...) of two members that know the place or not, with a direct path or without."""
    rng, out = np.random.default_rng(seed), []
    for a, b in itertools.pairwise([len(PLAYER) - 2 * (not place), *hidden, 2]):
        out += [rng.normal(0, 0.8, (2, a, b)), rng.normal(0, 0.5, (2, b))]
    out += [rng.normal(0, 0.5, (2, len(out[0][0]), 2))] * direct
    return [w.astype(np.float32) for w in out]


@pytest.fixture(scope="module")
def networks() -> dict:
    """Of one block, two members of each kind."""
    return {"local": networks_of(place=False, direct=True), "regional": networks_of(place=True, direct=True, seed=2)}


def exact(log_odds, x: np.ndarray, background: np.ndarray, player: np.ndarray = PLAYER) -> np.ndarray:
    """Shapley values (players,) of one sample by their definition: over all sets of the other players."""
    m = player.max() + 1
    phi = np.zeros(m)
    sets = [set(present) for size in range(m + 1) for present in itertools.combinations(range(m), size)]
    rows = np.repeat(background[None], len(sets), axis=0)
    for of_set, present in zip(rows, sets, strict=True):
        taken = np.isin(player, list(present))
        of_set[:, taken] = x[taken]
    value = log_odds(rows.reshape(-1, len(x))).reshape(len(sets), -1).mean(axis=1, dtype=float)
    for present, without in zip(sets, value, strict=True):
        weight = factorial(len(present)) * factorial(max(m - len(present) - 1, 0)) / factorial(m)
        for j in set(range(m)) - present:
            phi[j] += weight * (value[sets.index(present | {j})] - without)
    return phi


def test_a_factor_is_one_player_and_the_place_is_one():
    assert PLAYER.tolist() == [0] * 4 + [1] + [2] * 3 + [3] + [4] * 2 + [5] * 2


def test_what_is_explained_is_the_map(networks):
    x = encoded(50, 2)
    of_blocks = {kind: [np.stack([w, 0 * w], axis=1) for w in weights] for kind, weights in networks.items()}
    p = predict(of_blocks, np.zeros(50, int), x)
    assert p.std() > 0.05
    np.testing.assert_allclose(expit(mean_log_odds(networks, x)), p, atol=1e-6)


@pytest.mark.parametrize("direct", [False, True])
def test_shap_values_are_the_shapley_values(direct):
    networks = {"local": networks_of(False, direct), "regional": networks_of(True, direct, seed=2)}
    x, background = encoded(4, 3), encoded(12, 4)
    found = shap_values(networks, x, background, PLAYER, 200, np.random.default_rng(0))
    expected = np.array([exact(lambda rows: mean_log_odds(networks, rows), row, background) for row in x])
    assert np.abs(expected).mean(axis=0).min() > 0.1
    # Drawn orders: with 12 for each member a value is up to 0.12 off here, and the error falls with their square root.
    np.testing.assert_allclose(found, expected, atol=2 * 0.12 * np.sqrt(12 / 200))
    np.testing.assert_allclose(mean_log_odds(networks, background).mean() + found.sum(axis=1),
                               mean_log_odds(networks, x), atol=1e-4)


def test_members_that_read_factors_alone_leave_nothing_to_the_place():
    networks = {"blocks": networks_of(place=False, direct=False)}
    x, background = encoded(6, 3), encoded(12, 4)
    found = shap_values(networks, x, background, PLAYER, 3, np.random.default_rng(0))
    assert not found[:, -1].any()
    assert np.abs(found[:, :-1]).min(axis=0).any()
    np.testing.assert_allclose(mean_log_odds(networks, background).mean() + found.sum(axis=1),
                               mean_log_odds(networks, x), atol=1e-4)


def test_values_of_the_block_are_the_mean_over_its_members(networks):
    x, background = encoded(6, 3), encoded(12, 4)
    found = shap_values(networks, x, background, PLAYER, 5, np.random.default_rng(0))
    rng = np.random.default_rng(0)
    each = [shap_values({"one": [w[None] for w in member]}, x, background, PLAYER, 5, rng)
            for member in weights_of_members(networks)]
    assert len(each) == 4
    np.testing.assert_allclose(found, np.mean(each, axis=0))
    assert np.ptp(each, axis=0).max() > 0.5


def test_few_orders_are_exact_without_interactions_of_three():
    """Hidden units that read two players each: their sum has no interaction of three."""
    pairs, networks = ((0, 1), (2, 5), (3, 4), (1, 3)), networks_of(True, True, hidden=(12,))
    for unit in range(12):
        networks[0][:, ~np.isin(PLAYER, pairs[unit % 4]), unit] = 0
    networks = {"regional": networks}
    x, background = encoded(5, 5), encoded(10, 6)
    found = shap_values(networks, x, background, PLAYER, 1, np.random.default_rng(0))
    expected = np.array([exact(lambda rows: mean_log_odds(networks, rows), row, background) for row in x])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(expected).mean(axis=0).min() > 0.1


def test_a_linear_model_needs_no_orders():
    """The hidden layers say nothing: the direct path gives weight times distance from the mean."""
    weights = [w * (i == 8) for i, w in enumerate(networks_of(True, True))]
    x, background = encoded(20, 7), encoded(9, 8)
    found = shap_values({"regional": weights}, x, background, PLAYER, 1, np.random.default_rng(0))
    slope = (weights[8][..., 1] - weights[8][..., 0]).mean(axis=0)
    expected = (x - background.mean(axis=0)) * slope
    for j in range(PLAYER.max() + 1):
        np.testing.assert_allclose(found[:, j], expected[:, j == PLAYER].sum(axis=1), atol=1e-5)


def test_alike_rows_have_nothing_to_explain(networks):
    row = encoded(1, 3)
    found = shap_values(networks, row.repeat(3, axis=0), row.repeat(5, axis=0), PLAYER, 4, np.random.default_rng(0))
    np.testing.assert_allclose(found, 0, atol=1e-4)


def test_parts_of_the_orders_at_once_do_not_matter(networks, monkeypatch):
    x, background = encoded(7, 3), encoded(12, 4)
    whole = shap_values(networks, x, background, PLAYER, 30, np.random.default_rng(0))
    monkeypatch.setattr(block_models, "ROWS_AT_ONCE", 50)
    parts = shap_values(networks, x, background, PLAYER, 30, np.random.default_rng(0))
    np.testing.assert_allclose(parts, whole, atol=1e-5)


def linear(slope: float) -> dict:
    """A network whose log-odds are `slope` times the encoded slope of the terrain."""
    weights = [0 * w for w in networks_of(False, True)]
    weights[8][:, PLAYER[:-2] == 1, 1] = slope
    return {"local": weights}


def test_permutation_is_the_rise_of_the_log_loss():
    rng, x = np.random.default_rng(8), encoded(400, 8)
    margin = 3 * x[:, PLAYER == 1][:, 0].astype(float)
    label = (rng.random(400) < expit(margin)).astype(int)
    mean, sd = permutation(linear(3), x, label, PLAYER, 40, np.random.default_rng(0))
    # Shuffled, every label meets every value: the mean over all pairs.
    signed = np.where(label == 1, -1, 1)
    expected = np.logaddexp(0, signed[:, None] * margin).mean() - np.logaddexp(0, signed * margin).mean()
    assert mean.shape == sd.shape == (5,)
    assert mean[1] == pytest.approx(expected, abs=4 * sd[1] / np.sqrt(40))
    assert sd[1] > 0
    assert not mean[[0, 2, 3, 4]].any()
    assert not sd[[0, 2, 3, 4]].any()


def test_a_factor_is_shuffled_whole_and_places_are_not(networks, monkeypatch):
    x, seen = encoded(60, 9), []

    def spy(given, rows):
        seen.append(rows.reshape(-1, 60, rows.shape[1]))
        return mean_log_odds(given, rows)

    monkeypatch.setattr(block_models, "mean_log_odds", spy)
    permutation(networks, x, np.arange(60) % 2, PLAYER, 4, np.random.default_rng(0))
    assert len(seen) == 6
    for j, shuffled in enumerate(seen[1:]):
        assert len(shuffled) == 4
        for repeat in shuffled:
            np.testing.assert_array_equal(repeat[:, j != PLAYER], x[:, j != PLAYER])
            now, before = (sorted(map(tuple, rows[:, j == PLAYER])) for rows in (repeat, x))
            assert now == before
            assert (repeat != x).any()


def test_permutation_knows_a_block_of_one_class(networks):
    mean, _ = permutation(networks, encoded(30, 9), np.ones(30, int), PLAYER, 5, np.random.default_rng(0))
    assert np.isfinite(mean).all()
    assert mean.any()
