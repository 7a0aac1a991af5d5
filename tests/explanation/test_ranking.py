import numpy as np
import pandas as pd
import pytest

from lsm.explanation import ranking
from lsm.inputs.factor.definition import Factor
from lsm.run.paths import Paths
from lsm.run.settings import InputError

COVER, SLOPE, ASPECT = (Factor("cover", "categorical", "class"), Factor("slope", "continuous", "degree"),
                        Factor("aspect", "circular", "degree"))
VELOCITY = Factor("velocity", "continuous", "mm/yr", zero_is_missing=True)


@pytest.mark.parametrize("gap", [0.01, np.nan])
def test_values_that_do_not_add_up_are_refused(gap):
    values, log_odds = np.array([[1.0, 2.0], [0.5, -0.5]]), np.array([3.5, 0.5])
    models = Paths("demo").models
    ranking.check_sums(values, 0.5, log_odds, 1e-6, 7, models)
    with pytest.raises(InputError, match=r"demo_models\.npz: block 7: expected SHAP values that add up"):
        ranking.check_sums(values + np.array([[0, 0], [gap, 0]]), 0.5, log_odds, 1e-4, 7, models)


def test_sign():
    rng, v = np.random.default_rng(10), np.linspace(-3, 3, 60)
    assert ranking.sign(v, v**3, SLOPE, 0.3) == 1
    assert ranking.sign(v, -v, SLOPE, 0.3) == -1
    assert ranking.sign(v, v**2, SLOPE, 0.3) == 0
    assert np.isnan(ranking.sign(np.ones(60), v, SLOPE, 0.3))
    assert np.isnan(ranking.sign(v, np.zeros(60), SLOPE, 0.3))
    for factor in (COVER, ASPECT):
        assert np.isnan(ranking.sign(v, v, factor, 0.3))
    # Not measured is no velocity of 0: those samples have no say.
    gaps = np.where(rng.random(60) < 0.5, 0, v)
    assert ranking.sign(gaps, np.where(gaps == 0, -50, v), VELOCITY, 0.3) == 1
    assert np.isnan(ranking.sign(np.zeros(60), v, VELOCITY, 0.3))


def test_less_of_a_velocity_is_the_other_direction_and_not_slower():
    assert [ranking.effect("DV", sign) for sign in (1.0, -1, 0, np.nan)] == [
        "motion towards the satellite raises it", "motion away from the satellite raises it", "", ""]
    assert ranking.effect("slope", -1) == "larger values lower it"


def test_territory_weighs_blocks_by_area_and_leaves_out_those_without_a_model():
    table = pd.DataFrame({
        "block": [0, 0, 1, 1, 2, 2], "factor": ["a", "b"] * 3, "mean_abs_shap": [1.0, 2.0, 3.0, 1.0, 90.0, 99.0],
        "permutation": [0.1, 0.2, 0.3, 0.1, 9.0, 9.0], "rank": [2, 1, 1, 2, 2, 1], "sign": [1, None, -1, None, 1, None],
        "state": [0, 0, 0, 0, 2, 2]})
    table["sign"] = table["sign"].astype("Int64")
    bare = pd.DataFrame({"block": 3, "factor": ["a", "b"], "state": 0})  # adapted on borrowed samples alone
    table = pd.concat([table, bare])
    table["sign"] = table["sign"].astype("Int64")
    found = ranking.territory(table, np.array([30, 10, 1000, 500])).set_index("factor")
    assert list(found.index) == ["b", "a"]
    assert list(found["rank"]) == [1, 2]
    assert found.loc["a", "mean_abs_shap"] == pytest.approx((30 * 1 + 10 * 3) / 40)
    assert found.loc["b", "permutation"] == pytest.approx((30 * 0.2 + 10 * 0.1) / 40)
    assert list(found["blocks_led"]) == [1, 1]
    assert found.loc["b", "area_led"] == pytest.approx(0.75)
    assert list(found.loc["a", ["raises", "lowers"]]) == [0.5, 0.5]
    assert found.loc["b", ["raises", "lowers"]].isna().all()
