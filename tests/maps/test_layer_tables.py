import numpy as np

from lsm.inputs.factor.definition import Factor, write_factors
from lsm.maps import layer_tables


def test_samples_show_the_names_of_classes_and_codes_without_a_name(tmp_path):
    """Names of the tables' words, and of factors.json; a factor without any stays a number."""
    factors = (Factor("soil", "categorical", "class", words=("clay", "sand")), Factor("label", "categorical", "class"),
               Factor("zone", "categorical", "class"), Factor("slope", "continuous", "degree"))
    write_factors(tmp_path / "factors.json", factors, {"label": {"granite": 3, "tuff": 7}})
    samples = {"row": np.arange(3), "label": np.array([1, 0, 1], np.int8), "block": np.zeros(3, np.int32),
               "factors": np.array([[1, 3, 5, 20.5], [2, 7, 5, 0], [2, 8, 6, 1]], np.float32)}
    table = layer_tables.sample_table(samples, factors, tmp_path / "factors.json")
    assert table["soil"].tolist() == ["clay", "sand", "sand"]
    assert table["factor label"].tolist() == ["granite", "tuff", "8"]
    assert table["label"].tolist() == [1, 0, 1]
    assert table["zone"].tolist() == [5, 5, 6]
    assert table["slope"].tolist() == [20.5, 0, 1]
    for name in ("fid", "Geom", "Row"):
        named = [Factor(name, "continuous", "m") if f.name == "slope" else f for f in factors]
        assert f"factor {name}" in layer_tables.sample_table(samples, named, tmp_path / "none.json")
    without = layer_tables.sample_table(samples, factors, tmp_path / "none.json")
    assert without["soil"].tolist() == ["clay", "sand", "sand"]
    assert without["factor label"].tolist() == [3, 7, 8]
