"""Weak landslides as samples: the numbers of a Ts table, whatever their form."""

from dataclasses import replace

import numpy as np
import pytest

from lsm.inputs.factor.definition import Factor
from lsm.insar.weak_samples import measured_samples, published_points

FACTORS = (Factor("slope", "continuous", "degree"), Factor("DV", "continuous", "mm/yr", zero_is_missing=True))


@pytest.mark.parametrize(("positive", "velocities"), [("away", ["-8.24", "3.205"]), ("towards", ["8.24", "-3.205"])])
def test_decimal_commas_in_quotes_become_points(tmp_path, monkeypatch, positive, velocities):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    path = tmp_path / "Ts_isle.csv"
    path.write_text('slope,DV,X,Y\n"10,5","8,24","785503,7",1\n"20,25","-3,205","785504,7",2\n')
    table, motion = published_points(path, FACTORS, positive)
    assert table["DV"].tolist() == velocities
    assert table["slope"].tolist() == ["10.5", "20.25"]
    assert table["X"].astype(float).tolist() == [785503.7, 785504.7]
    np.testing.assert_allclose(motion.factors[:, 1], np.float32(velocities))


def test_classes_in_words_stay_words(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    factors = (*FACTORS, Factor("lithology", "categorical", "class", words=("tuff", "granite, red", "Other")))
    path = tmp_path / "Ts_isle.csv"
    path.write_text('slope,DV,lithology,X,Y\n10,-8,"granite, red",1,1\n20,-5,marl,2,1\n')
    table, motion = published_points(path, factors, "away")
    assert table["lithology"].tolist() == ["granite, red", "marl"]
    assert motion.factors[:, 2].tolist() == [2, 0]
    measured = replace(motion, measured=motion.measured.astype(float))
    assert measured_samples(measured, factors)["lithology"].tolist() == ["granite, red", "other?"]
