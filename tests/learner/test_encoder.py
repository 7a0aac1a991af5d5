import dataclasses

import numpy as np
import pytest

from lsm.inputs.factor.definition import Factor
from lsm.learner.encoder import CLIP, Encoder

FACTORS = (
    Factor("land use", "categorical", "class", aliases=("landuse",)),
    Factor("slope", "continuous", "degree"),
    Factor("aspect", "circular", "degree"),
    Factor("dis2road", "distance", "m"),
    Factor("DV", "continuous", "mm/yr", zero_is_missing=True),
)
VALUES = np.array([
    # land use, slope, aspect, dis2road, DV
    [1, 10, 0, 0, 0],
    [3, 20, 90, np.e - 1, -2],
    [3, 30, 225, np.e**2 - 1, -6],
    [1, 40, -1, np.e**3 - 1, 0],
], np.float32)


@pytest.fixture(params=["published", "recommended"])
def form(request) -> str:
    return request.param


def test_published_form_divides_by_the_maximum():
    encoder = Encoder.fit(VALUES, FACTORS, "published")
    found = encoder.transform(VALUES)
    # no velocity is above zero: the largest magnitude keeps the sign
    maxima = [3, 40, 225, np.e**3 - 1, 6]
    np.testing.assert_allclose(found, VALUES / np.array(maxima), rtol=1e-6)
    assert found.dtype == np.float32
    assert [name for _, name in encoder.columns] == [f.name for f in FACTORS]
    # another table is divided by the same maxima, not by its own
    np.testing.assert_allclose(encoder.transform(VALUES[:2]), found[:2], rtol=0)


def test_published_form_of_a_factor_that_is_zero_throughout():
    encoder = Encoder.fit(np.zeros((3, 1)), (FACTORS[1],), "published")
    np.testing.assert_array_equal(encoder.transform(np.zeros((3, 1))), 0)


def test_recommended_form_by_hand():
    encoder = Encoder.fit(VALUES, FACTORS, "recommended")
    found = encoder.transform(VALUES)
    assert found.dtype == np.float32
    assert encoder.columns == [
        (0, "land use = 1"), (0, "land use = 3"), (0, "land use unseen"), (1, "slope"), (2, "sin aspect"),
        (2, "cos aspect"), (2, "aspect flat"), (3, "log dis2road"), (4, "DV"), (4, "DV not measured")]
    sd, half = np.sqrt(125), np.sqrt(0.5)  # of 10, 20, 30, 40; sine of 45 degrees
    log = np.array([-1.5, -0.5, 0.5, 1.5]) / np.sqrt(1.25)  # of 0, 1, 2, 3
    np.testing.assert_allclose(found, [
        [1, 0, 0, -15 / sd, 0, 1, 0, log[0], 0, 1],
        [0, 1, 0, -5 / sd, 1, 0, 0, log[1], 1, 0],  # measured velocities: mean -4, sd 2
        [0, 1, 0, 5 / sd, -half, -half, 0, log[2], -1, 0],
        [1, 0, 0, 15 / sd, 0, 0, 1, log[3], 0, 1],
    ], atol=1e-6)


def test_unseen_classes_have_a_bucket_and_are_counted():
    encoder = Encoder.fit(VALUES, FACTORS, "recommended")
    other = VALUES.copy()
    other[:2, 0] = 2, 7
    np.testing.assert_array_equal(encoder.transform(other)[:, :3], [[0, 0, 1], [0, 0, 1], [0, 1, 0], [1, 0, 0]])
    assert encoder.unseen(other) == {"land use": 2}
    assert encoder.unseen(VALUES) == {}
    assert Encoder.fit(VALUES, FACTORS, "published").unseen(other) == {"land use": 2}


def test_circular_factors_have_no_seam():
    encoder = Encoder.fit(VALUES, FACTORS, "recommended")
    values = np.repeat(VALUES[:1], 3, axis=0)
    values[:, 2] = 0, 360, 359.9
    found = encoder.transform(values)
    np.testing.assert_allclose(found[1], found[0], atol=1e-6)
    np.testing.assert_allclose(found[2], found[0], atol=2e-3)


def test_absurd_values_are_clipped():
    encoder = Encoder.fit(VALUES, FACTORS, "recommended")
    values = VALUES[1:2].copy()
    values[0, [1, 4]] = 1e9, -1e9
    found = encoder.transform(values)[0]
    assert (found[3], found[8]) == (CLIP, -CLIP)


def test_a_factor_without_spread_or_measurement_stays_finite():
    values = VALUES.copy()
    values[:, 1], values[:, 4] = 5, 0
    encoder = Encoder.fit(values, FACTORS, "recommended")
    found = encoder.transform(values)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[:, [3, 8]], 0)
    values[:, 1] = 7  # elsewhere in the grid: two units, not two standard deviations of nothing
    np.testing.assert_array_equal(encoder.transform(values)[:, 3], 2)
    np.testing.assert_array_equal(found[:, 9], 1)


def test_a_row_alone_is_the_row_in_the_table(form):
    encoder = Encoder.fit(VALUES, FACTORS, form)
    rng = np.random.default_rng(0)
    table = VALUES[rng.integers(0, 4, 50)] * rng.uniform(0.5, 1.5, (50, 5)).astype(np.float32)
    table[:, 0] = rng.integers(1, 5, 50)
    whole = encoder.transform(table)
    for i in range(50):
        np.testing.assert_array_equal(encoder.transform(table[i:i + 1])[0], whole[i])
    order = rng.permutation(50)
    np.testing.assert_array_equal(encoder.transform(table[order]), whole[order])


def test_json_gives_back_the_encoder_exactly(form):
    values = VALUES.copy()
    values[:, 1] *= np.float32(1 / 3)  # no short decimals
    encoder = Encoder.fit(values, FACTORS, form)
    again = Encoder.from_json(encoder.to_json())
    assert again == encoder
    assert again.to_json() == encoder.to_json()
    np.testing.assert_array_equal(again.transform(values), encoder.transform(values))
    assert dataclasses.asdict(again)["factors"][0]["aliases"] == ("landuse",)
    other = Encoder.fit(values * 2, FACTORS, form)
    assert other.to_json() != encoder.to_json()


# place ----------------------------------------------------------------------------------------------------------

XY = np.array([[800_000, 10], [800_100, 30], [800_200, 50], [800_300, 70]], float)


def test_the_place_is_two_columns_after_the_factors(form):
    encoder = Encoder.fit(VALUES, FACTORS, form, XY)
    assert encoder.columns == Encoder.fit(VALUES, FACTORS, form).columns  # of the factors alone
    found = encoder.transform(VALUES, XY)
    assert found.dtype == np.float32
    assert found.shape == (4, len(encoder.columns) + 2)
    np.testing.assert_array_equal(found[:, :-2], encoder.transform(VALUES))
    np.testing.assert_allclose(found[:, -2:], np.repeat([[-3], [-1], [1], [3]], 2, 1) / np.sqrt(5), rtol=1e-6)
    other = encoder.transform(VALUES[:1], np.array([[800_150, 40 - 1e9]]))[0]  # by the samples' mean and sd, clipped
    np.testing.assert_allclose(other[-2:], [0, -CLIP], atol=1e-6)


def test_samples_of_the_same_x_stay_finite(form):
    xy = XY * [0, 1] + [800_000, 0]
    found = Encoder.fit(VALUES, FACTORS, form, xy).transform(VALUES, xy)
    np.testing.assert_array_equal(found[:, -2], 0)
    assert np.isfinite(found).all()


def test_json_gives_back_the_place_exactly(form):
    xy = XY / 3
    encoder = Encoder.fit(VALUES, FACTORS, form, xy)
    again = Encoder.from_json(encoder.to_json())
    assert again == encoder
    assert again.place == encoder.place != ()
    np.testing.assert_array_equal(again.transform(VALUES, xy), encoder.transform(VALUES, xy))
    assert Encoder.fit(VALUES, FACTORS, form, xy + 1).to_json() != encoder.to_json()
    assert Encoder.from_json(Encoder.fit(VALUES, FACTORS, form).to_json()).place == ()


def test_form_must_be_known():
    with pytest.raises(KeyError):
        Encoder.fit(VALUES, FACTORS, "other")
