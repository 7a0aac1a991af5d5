"""Tables of samples and of the grid: what they keep of the layers."""

import numpy as np

from lsm.region.sample_tables import as_table, published_form


def test_a_factor_that_a_person_adds_keeps_its_digits():
    values = np.array([[12.345678, 2.4986516e-06], [-0.0, 5.1e-05]], np.float32)
    table = as_table(["slope", "conductivity"], values, np.array([[1.23456, 2.0], [3.0, 4.0]]))
    assert table["slope"].tolist() == [12.3457, 0.0]
    np.testing.assert_array_equal(table["conductivity"].to_numpy(np.float32), values[:, 1])
    assert table["X"].tolist() == [1.235, 3.0]


def test_the_published_form_renames_published_factors_alone():
    table = as_table(["dis2road", "dis2well", "DV"], np.array([[1.0, 2.0, -3.0]]), np.array([[5.0, 6.0]]))
    assert list(published_form(table)) == ["D2road", "dis2well", "DV_InSAR", "X", "Y", "label"]
