import numpy as np
import pandas as pd

from lsm.checks.one_sided import of_one_sided, one_sided
from lsm.inputs.factor.definition import Factor

FACTORS = (Factor("slope", "continuous", "degrees"), Factor("SPI", "continuous", ""), Factor("rock", "categorical", ""))


def made(n: int = 4000) -> tuple[pd.DataFrame, np.ndarray]:
    """Factors that say nothing of the label; rock 7 holds landslides only, as a rock may."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, n)
    return pd.DataFrame({"slope": rng.normal(size=n), "SPI": rng.integers(0, 5, n).astype(float),
                         "rock": np.where(label == 1, 7.0, rng.integers(1, 4, n))}), label


def test_a_number_of_one_class_alone_is_named():
    values, label = made()
    assert one_sided(values.to_numpy(), label, FACTORS) == {}
    filled = (label == 0) & (np.arange(4000) % 7 == 0)
    values.loc[filled, "SPI"] = -5.0
    (column, number), = found = one_sided(values.to_numpy(), label, FACTORS)
    assert (column, number) == (1, -5.0)
    np.testing.assert_array_equal(found[1, -5.0], filled)
    finding, = of_one_sided(values, pd.Series(label), FACTORS, "samples.csv")
    assert finding.level == "warning"
    assert finding.found == f"SPI is -5 in {filled.sum():,} rows, none of them landslides"
    finding, = of_one_sided(values, pd.Series(1 - label), FACTORS, "samples.csv")
    assert finding.found.endswith("all of them landslides")


def test_few_rows_or_one_landslide_among_them_say_nothing():
    values, label = made()
    few = np.flatnonzero(label == 0)[:39]  # fewer than one in a hundred
    values.loc[few, "SPI"] = -5.0
    assert one_sided(values.to_numpy(), label, FACTORS) == {}
    mixed = np.append(np.flatnonzero(label == 0)[:500], np.flatnonzero(label == 1)[0])
    values.loc[mixed, "SPI"] = -5.0
    assert one_sided(values.to_numpy(), label, FACTORS) == {}
    assert one_sided(np.full((4000, 3), 2.0), np.ones(4000, int), FACTORS) == {}


def test_rows_that_their_reader_refuses_do_not_count():
    values, label = made()
    values.loc[(label == 0) & (np.arange(4000) % 7 == 0), "SPI"] = -5.0
    values.loc[:9, "slope"] = np.nan
    assert len(of_one_sided(values, pd.Series(label, dtype=float), FACTORS, "samples.csv")) == 1
    assert of_one_sided(values, pd.Series([np.nan] * 4000), FACTORS, "samples.csv") == []
