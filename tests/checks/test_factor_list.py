"""Which factors an area has: known names, what is left out, what is offered, what is taken."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from osgeo import gdal

import study_area
from lsm.checks.factor_list import factors_of
from lsm.inputs.samples import grid_chunks, read_samples
from lsm.run.paths import PROJECT
from lsm.run.settings import InputError
from study_area import COMMON_NAMES, FACTORS

FOREIGN = {"land use": "LULC", "lithology": "Geology_code", "DEM": "Altitude [m]", "slope": "Slope (°)",
           "dis2road": "Dist. to road_m", "curvature": "Curvature", "aspect": "ASPECT", "TWI": "twi",
           "dis2drainage": "Distance to rivers",
           "dis2faults": "Distance from the fault", "SPI": "Stream Power Index", "NDVI": "ndvi"}


def table(rows=20) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    out = pd.DataFrame({name: rng.integers(1, 5, rows) for name in FOREIGN.values()})
    return out.assign(rain=rng.random(rows), Soil=rng.integers(1, 4, rows), note="a", OBJECTID=range(rows), x=1.0,
                      y=2.0, label=np.arange(rows) % 2)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """(samples, grid) -> the paths of both tables."""
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))

    def of(samples=None, grid=None):
        (tmp_path / "src_data").mkdir(exist_ok=True)
        paths = [tmp_path / "src_data/samples_a.csv", tmp_path / "src_data/grid_samples_a.csv"]
        for path, content in zip(paths, (samples, grid), strict=True):
            (table() if content is None else content).to_csv(path, index=False)
        return paths
    return of


def test_foreign_names_are_known_and_values_are_read(files):
    paths = files()
    factors, notes = factors_of(FACTORS, COMMON_NAMES, paths)
    assert [f.name for f in factors] == [f.name for f in FACTORS if f.name not in ("dis2catchment", "DV")]
    names = "src_data/samples_a.csv, src_data/grid_samples_a.csv"
    assert notes == [f"left out, since no column of {names} holds them: dis2catchment, DV",
                     "taken for factors by their names: 'LULC' is land use, 'Geology_code' is lithology, 'Altitude [m]'"
                     " is DEM, 'Slope (°)' is slope, 'Stream Power Index' is SPI, 'Dist. to road_m' is dis2road, "
                     "'Distance to rivers' is dis2drainage, 'Distance from the fault' is dis2faults",
                     f"columns of {names} that may be further factors: rain, Soil (FURTHER=all takes them, "
                     "FURTHER=rain one, rain:categorical as class codes)"]
    expected = table()[[FOREIGN[f.name] for f in factors]].to_numpy(np.float32)
    np.testing.assert_array_equal(read_samples(paths[0], factors).factors, expected)
    np.testing.assert_array_equal(next(grid_chunks(paths[1], factors, 99))[0], expected)


def test_published_names_give_the_published_factors(files):
    own = table().rename(columns={v: k for k, v in FOREIGN.items()}).assign(dis2catchment=1, DV=1)
    factors, _ = factors_of(FACTORS, COMMON_NAMES, files(own, own))
    assert factors == FACTORS


@pytest.mark.parametrize(("further", "taken"), [
    ("none", []), ("", []), ("all", [("rain", "continuous"), ("Soil", "continuous")]),
    ("RAIN", [("rain", "continuous")]),
    ("soil:categorical, rain", [("Soil", "categorical"), ("rain", "continuous")])])
def test_further_factors(files, further, taken):
    factors, notes = factors_of(FACTORS, COMMON_NAMES, files(), further)
    assert [(f.name, f.kind) for f in factors[12:]] == taken
    assert ("may be further" in notes[-1]) == (len(taken) < 2)


@pytest.mark.parametrize(("further", "words"), [
    ("ran", r"\(rain, Soil\), found 'ran'; did you mean rain\?"), ("rain:x", "of kind x; kinds"),
    ("lithology", "found 'lithology'")])
def test_further_factors_that_there_are_not(files, further, words):
    with pytest.raises(InputError, match=f"^FURTHER={further}: expected none, all, or columns that .*{words}"):
        factors_of(FACTORS, COMMON_NAMES, files(), further)


@pytest.mark.parametrize("further", ["remark", "OBJECTID", "thick"])
def test_columns_of_neither_numbers_nor_classes_are_no_factors(files, further):
    """Remarks, the numbers of rows, and 1,234 beside decimal points, which may be 1234."""
    own = table(60).assign(remark=[f"row {i}" for i in range(60)], OBJECTID=np.arange(60), thick=["1,234"] * 60)
    with pytest.raises(InputError, match=f"^FURTHER={further}: column '{further}': expected numbers with decimal poi"):
        factors_of(FACTORS, COMMON_NAMES, files(own, own), further)


@pytest.mark.parametrize("further", ["rain,rain", "rain, Soil, RAIN", "rain:categorical,rain"])
def test_a_further_factor_twice_is_refused(files, further):
    with pytest.raises(InputError, match=f"^FURTHER={further}: expected each column once, found '(rain|RAIN)' again"):
        factors_of(FACTORS, COMMON_NAMES, files(), further)


def test_only_columns_of_both_tables_are_offered(files):
    _, notes = factors_of(FACTORS, COMMON_NAMES, files(grid=table().drop(columns="rain").assign(Soil="clay")))
    assert not any("further factors" in note for note in notes)
    words = table().assign(Soil=np.where(table()["rain"] > 0.5, "clay", "sand"))
    _, notes = factors_of(FACTORS, COMMON_NAMES, files(words, words))
    assert notes[-2] == ("columns of words that may be further factors: Soil (FURTHER=Soil takes one, its words as "
                        "classes)")


def test_what_numbers_rows_is_no_factor_and_what_is_taken_is_said(files):
    numbered = table().drop(columns="Soil").assign(place=np.arange(len(table())) + 7, pointid=3)
    factors, notes = factors_of(FACTORS, COMMON_NAMES, files(numbered, numbered), "all")
    assert factors[-1].name == "rain"
    assert notes[-1] == "further factors: rain (continuous)"


@pytest.mark.parametrize("further", ["soil", "Soil:categorical"])
def test_a_further_column_of_words_is_one_of_classes(files, further):
    words = table().assign(Soil=np.where(table()["rain"] > 0.5, "sand", "Clay"))
    paths = files(words, words.assign(Soil=["CLAY ", "gravel", "1"] + ["sand"] * 17))
    factors, notes = factors_of(FACTORS, COMMON_NAMES, paths, further)
    assert (factors[-1].kind, factors[-1].words) == ("categorical", ("Clay", "sand"))
    assert notes[-2] == "Soil: its classes are the words in src_data/samples_a.csv (Clay; sand); any other word " \
                        "counts as one more class"
    of_samples = read_samples(paths[0], factors).factors[:, -1]
    assert of_samples.tolist() == [2 if wet else 1 for wet in table()["rain"] > 0.5]
    assert next(grid_chunks(paths[1], factors, 99))[0][:4, -1].tolist() == [1, 0, 0, 2]
    with pytest.raises(InputError, match=r"^FURTHER=Soil:distance: column 'Soil': expected numbers, found words"):
        factors_of(FACTORS, COMMON_NAMES, paths, "Soil:distance")


def test_classes_in_words_are_those_of_the_samples_and_numbers_beside_them_are_refused(files):
    own = table().assign(Geology_code=["granite, red", "Tuff"] * 10)
    paths = files(own, own.assign(Geology_code=3))
    factors, _ = factors_of(FACTORS, COMMON_NAMES, paths)
    assert read_samples(paths[0], factors).factors[:2, 1].tolist() == [1, 2]
    with pytest.raises(InputError, match=r"line 2, column 'Geology_code': expected a class in words, like 'granite, "
                                         r"red', found '3' \(20 such rows\); write the classes alike"):
        next(grid_chunks(paths[1], factors, 99))
    gap = files(own.assign(Geology_code=["granite, red", None] * 10))
    with pytest.raises(InputError, match="line 3, column 'Geology_code': expected a class in words"):
        read_samples(gap[0], factors)


def test_words_that_look_like_numbers_or_truth_are_words(files):
    own = table().assign(Geology_code=["01", "1"] * 2 + ["3E2", "300"] * 2 + ["till", "loess"] * 6, LULC="TRUE")
    own.loc[::2, "LULC"] = "FALSE"
    paths = files(own, own.iloc[:8])
    factors, _ = factors_of(FACTORS, COMMON_NAMES, paths)
    of_samples, of_grid = read_samples(paths[0], factors).factors, next(grid_chunks(paths[1], factors, 99))[0]
    assert factors[1].words == ("01", "1", "300", "3E2", "loess", "till")
    assert of_samples[:8, 1].tolist() == [1, 2, 1, 2, 4, 3, 4, 3]
    np.testing.assert_array_equal(of_grid[:, :2], of_samples[:8, :2])
    assert factors[0].words == ("FALSE", "TRUE")
    paths = files(own.assign(forest=own["LULC"]), own.assign(forest="TRUE"))
    further, _ = factors_of(FACTORS, COMMON_NAMES, paths, "forest")
    assert further[-1].words == ("FALSE", "TRUE")


def test_codes_with_letters_beside_numbers_are_words_and_accents_are_one_sign_or_two(files):
    own = table().assign(Geology_code=["1", "2.0"] * 8 + ["Q1", "Gr\u00e8s", "IV", "3"])
    paths = files(own, own.assign(Geology_code=["1.0", "2"] * 8 + ["q1", "Gre\u0300s", "IV", "3"]))
    factors, _ = factors_of(FACTORS, COMMON_NAMES, paths)
    of_samples, of_grid = read_samples(paths[0], factors).factors, next(grid_chunks(paths[1], factors, 99))[0]
    assert len(set(of_samples[:, 1])) == 6
    np.testing.assert_array_equal(of_grid[:, 1], of_samples[:, 1])


@pytest.mark.parametrize("other", ["3", "till"])
def test_words_for_no_data_are_no_class(files, other):
    """Beside codes and beside words."""
    paths = files(table().assign(Geology_code=["NoData", "No data"] + [other] * 18))
    factors, _ = factors_of(FACTORS, COMMON_NAMES, paths)
    with pytest.raises(InputError, match=r"line 2, column 'Geology_code': expected a .*class.*, found 'NoData'"):
        read_samples(paths[0], factors)


def test_an_empty_class_is_not_called_nan(files):
    paths = files(table().assign(Geology_code=["None", "till"] + ["loess"] * 18))
    factors, _ = factors_of(FACTORS, COMMON_NAMES, paths)
    with pytest.raises(InputError, match=r"line 2, .* found nothing, or a word that stands for it like NA and None"):
        read_samples(paths[0], factors)


def test_a_wrong_number_among_codes_is_no_class(files):
    one = pd.concat([table()] * 10, ignore_index=True).assign(Geology_code=["3", "x"] + ["4"] * 198)
    paths = files(one)
    factors, _ = factors_of(FACTORS, COMMON_NAMES, paths)
    with pytest.raises(InputError, match="line 3, column 'Geology_code': expected a whole-number class code, found"):
        read_samples(paths[0], factors)


def test_a_factor_of_one_table_stays_for_its_reader_to_refuse(files):
    paths = files(samples=table().assign(DV=1.0))
    factors, _ = factors_of(FACTORS, COMMON_NAMES, paths)
    assert factors[-1].name == "DV"
    with pytest.raises(InputError, match=r"grid_samples_a\.csv: header: expected a column 'DV'"):
        next(grid_chunks(paths[1], factors, 9))


def test_own_names_win_over_common_ones(files):
    both = table().assign(lithology=3)
    factors, _ = factors_of(FACTORS, COMMON_NAMES, files(both, both))
    assert read_samples(files(both, both)[0], factors).factors[0, 1] == 3


def test_two_common_names_for_one_factor(files):
    with pytest.raises(InputError, match="one column for 'lithology', found 'Geology_code' and 'rock type'; rename"):
        factors_of(FACTORS, COMMON_NAMES, files(table().assign(**{"rock type": 1})))


def test_a_stack_has_the_names_of_its_bands(files, tmp_path):
    path = tmp_path / "factors.tif"
    stack = gdal.GetDriverByName("GTiff").Create(str(path), 3, 3, 3, gdal.GDT_Float32)
    for i, name in enumerate(("slope", "Altitude", "rain"), start=1):
        stack.GetRasterBand(i).SetDescription(name)
    stack.FlushCache()
    factors, _ = factors_of(FACTORS, COMMON_NAMES, [files()[0], path], "all")
    assert [f.name for f in factors][-1] == "rain"


def test_every_stage_gets_the_same_list_and_says_once_what_is_left_out(files, capsys):
    files()
    first = study_area.Area("a").factors
    assert "left out, since no column" in capsys.readouterr().out
    assert study_area.StudyArea("a").factors == first == study_area.factors("a")
    assert capsys.readouterr().out == ""
    assert len(study_area.StudyArea("a", FURTHER="all").factors) == len(first) + 2
    files(table().drop(columns="twi"), table().drop(columns="twi"))
    assert "TWI" not in [f.name for f in study_area.factors("a")]


def test_a_stage_that_make_runs_does_not_repeat_what_was_said(files, tmp_path):
    """Run alone it says its notes; run by a process that has said them, only those that are new."""
    files()
    code, before = "import study_area; study_area.factors('a')", dict(os.environ)

    def said() -> str:
        return subprocess.run([sys.executable, "-c", code], cwd=PROJECT, text=True, capture_output=True, check=True,
                              env={**os.environ, "LSM_ROOT": str(tmp_path)}).stdout

    assert said().startswith("left out, since no column")
    assert dict(os.environ) == before
    study_area.factors("a")
    assert said() == ""
    files(table().drop(columns="twi"), table().drop(columns="twi"))
    assert said().startswith("left out, since no column")


def test_common_names_stand_for_one_factor_each():
    names = [name for f in FACTORS for name in (f.name, *f.aliases, *COMMON_NAMES.get(f.name, ()))]
    assert set(COMMON_NAMES) <= {f.name for f in FACTORS}
    shared = {name for name in names if sum(name in COMMON_NAMES.get(f.name, ()) for f in FACTORS) > 1}
    assert shared == set()


def test_one_table_alone_leaves_nothing_out(files):
    factors, notes = factors_of(FACTORS, COMMON_NAMES, files()[:1])
    assert [f.name for f in factors] == [f.name for f in FACTORS]
    assert [note.partition(":")[0] for note in notes] == ["taken for factors by their names"]


def test_names_with_commas_and_colons(files):
    own = table().rename(columns={"rain": "rain, mm", "Soil": "soil: type, class"})
    paths = files(own, own)
    rain = ("rain, mm", "continuous")
    for further, taken in (("rain, mm", [rain]), ("all", [rain, ("soil: type, class", "continuous")]),
                           ("soil: type, class:categorical,rain, mm", [("soil: type, class", "categorical"), rain])):
        factors, _ = factors_of(FACTORS, COMMON_NAMES, paths, further)
        assert [(f.name, f.kind) for f in factors[-len(taken):]] == taken
    with pytest.raises(InputError, match="found 'snow'"):
        factors_of(FACTORS, COMMON_NAMES, paths, "rain, mm,snow")


@pytest.mark.parametrize("name", ["Distance to roads (km)", "dis2road_km", "distance to road [ft]"])
def test_a_column_in_another_unit_is_named(files, name):
    own = table().rename(columns={"Dist. to road_m": name})
    factors, notes = factors_of(FACTORS, COMMON_NAMES, files(own, own))
    assert "dis2road" not in [f.name for f in factors]
    assert f"column {name!r} is not dis2road, whose unit is m: convert it, and call it dis2road" in notes


def test_slopes_in_percent_have_a_way(files):
    percent = table().assign(**{"Slope (°)": 150.0})
    paths = files(percent, percent)
    with pytest.raises(InputError, match="or name the column slope_percent there and add FURTHER=slope_percent"):
        read_samples(paths[0], factors_of(FACTORS, COMMON_NAMES, paths)[0])
    renamed = percent.rename(columns={"Slope (°)": "slope_percent"})
    paths = files(renamed, renamed)
    factors, _ = factors_of(FACTORS, COMMON_NAMES, paths, "slope_percent")
    assert "slope" not in [f.name for f in factors]
    assert (read_samples(paths[0], factors).factors[:, [f.name for f in factors].index("slope_percent")] == 150).all()


def test_a_row_that_is_damaged_is_left_to_its_reader(files):
    paths = files()
    lines = paths[0].read_text().splitlines()
    paths[0].write_text("\n".join([*lines[:4], lines[4] + ",7", *lines[5:]]) + "\n")
    factors, _ = factors_of(FACTORS, COMMON_NAMES, paths)
    assert len(factors) == len(FOREIGN)
    with pytest.raises(InputError, match="line 5: expected"):
        factors_of(FACTORS, COMMON_NAMES, paths, "all")
