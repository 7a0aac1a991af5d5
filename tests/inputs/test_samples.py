import numpy as np
import pandas as pd
import pytest

from lsm.inputs.factor.definition import Factor
from lsm.inputs.samples import Samples, count_rows, grid_chunks, read_samples, unique_places
from lsm.run.settings import InputError

FACTORS = (Factor("land use", "categorical", "class", aliases=("landuse",)), Factor("slope", "continuous", "degree"),
           Factor("aspect", "circular", "degree"), Factor("dis2road", "distance", "m", aliases=("D2road",)),
           Factor("DV", "continuous", "mm/yr", aliases=("DV_InSAR",), zero_is_missing=True))
TABLE = pd.DataFrame({"land use": [1, 2, 3], "slope": [10.5, 0.000001, 30], "aspect": [-1, 0.000001, 360],
                      "dis2road": [0.000001, 5, 70], "DV": [-3.5, 0.000001, 2], "X": [800000.25, 1, -2],
                      "Y": [2.5e6, 1, -2], "label": [1, 0, 1]})


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    return tmp_path / "samples_isle.csv"


def write(path, table=TABLE, **options):
    table.to_csv(path, index=False, **options)
    return path


def same(a: Samples, b: Samples) -> None:
    for name in ("factors", "xy", "label"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_values_and_types(path):
    samples = read_samples(write(path), FACTORS)
    assert (samples.factors.dtype, samples.xy.dtype, samples.label.dtype) == (np.float32, np.float64, np.int8)
    np.testing.assert_array_equal(samples.factors, np.array(
        [[1, 10.5, -1, 0, -3.5], [2, 0, 0, 5, 0], [3, 30, 360, 70, 2]], np.float32))  # 0.000001 is a stored zero
    np.testing.assert_array_equal(samples.xy, TABLE[["X", "Y"]])
    np.testing.assert_array_equal(samples.label, [1, 0, 1])


def test_a_small_number_that_is_no_stored_zero_stays(path):
    samples = read_samples(write(path, TABLE.assign(slope=[0.0000011, 0.0, 0.00001])), FACTORS)
    np.testing.assert_array_equal(samples.factors[:, 1], np.array([0.0000011, 0, 0.00001], np.float32))


@pytest.mark.parametrize("names", [
    {"land use": "landuse", "dis2road": "D2road", "DV": "DV_InSAR"}, {"slope": " Slope ", "X": "x", "label": "Label"}])
def test_other_names_of_a_column(path, names):
    expected = read_samples(write(path), FACTORS)
    same(read_samples(write(path, TABLE.rename(columns=names)), FACTORS), expected)


def test_order_of_columns_and_further_ones_do_not_matter(path):
    expected = read_samples(write(path), FACTORS)
    table = TABLE[TABLE.columns[::-1]].assign(note="text, with a comma", number=np.nan)
    same(read_samples(write(path, table), FACTORS), expected)


def test_byte_order_mark(path):
    expected = read_samples(write(path), FACTORS)
    same(read_samples(write(path, encoding="utf-8-sig"), FACTORS), expected)
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")


def test_the_nearest_name_is_suggested(path):
    write(path, TABLE.rename(columns={"aspect": "aspct"}))
    with pytest.raises(InputError) as caught:
        read_samples(path, FACTORS)
    assert str(caught.value) == ("samples_isle.csv: header: expected a column 'aspect'; the nearest is 'aspct'; rename "
                                 "it, or add an alias to FACTORS in study_area.py")


@pytest.mark.parametrize(("column", "value", "expected"), [
    ("slope", "steep", "a number"), ("slope", "", "a number"), ("slope", "inf", "a number"),
    ("land use", "1.5", "a whole-number class code"), ("aspect", "-2", "0 to 360 degrees, or -1 for flat"),
    ("slope", "188", "slopes from 0 to 90 degrees"), ("slope", "-0.5", "slopes from 0 to 90 degrees"),
    ("aspect", "360.5", "0 to 360 degrees, or -1 for flat"), ("dis2road", "-0.5", "distances of 0 m or more"),
    ("X", "east", "a coordinate in metres"), ("label", "2", r"0 or 1 \(1 = landslide\)")])
def test_a_cell_that_cannot_be(path, column, value, expected):
    table = TABLE.astype(str)
    table.loc[1, column] = value
    with pytest.raises(InputError, match=rf"^samples_isle\.csv: line 3, column '{column}': expected {expected}, found "
                                         r".*; correct or remove the row$"):
        read_samples(write(path, table), FACTORS)


def test_the_stored_zero_is_a_zero_after_float32_too(path):
    samples = read_samples(write(path, TABLE.assign(slope=["9.99999997e-07", "1e-06", "9.9999999747524271e-07"])),
                           FACTORS)
    assert samples.factors[:, 1].tolist() == [0, 0, 0]


@pytest.mark.parametrize("labels", [["TRUE", "FALSE", "TRUE"], ["yes", "no", "Yes"], ["1.0", "0.0", "1.0"], [1, -1, 1],
                                    ["landslide", "non-landslide", "Landslide"], ["unstable", " stable ", "slide"],
                                    ["1,0", "0,0", "1,00"], ["VERDADERO", "FALSO", "VERO"],
                                    ["WAHR", "FALSCH", "VRAI"],
                                    ["si\u0301", "na\u0303o", "sí"], ["occurred", "not occurred", "Occurred"]])
def test_labels_in_words(path, labels):
    for separator in ",;":
        table = write(path, TABLE.assign(label=labels), sep=separator)
        assert read_samples(table, FACTORS).label.tolist() == [1, 0, 1]


@pytest.mark.parametrize("more", [{"SLOPE ": 999.0}, {"Land_Use": 1}, {"landuse": 1}])
def test_two_columns_for_one_factor(path, more):
    with pytest.raises(InputError, match=r"header: expected one column for '(slope|land use)', found .* and .*; rem"):
        read_samples(write(path, TABLE.assign(**more)), FACTORS)


@pytest.mark.parametrize("value", ["1e39", "-4e38", "9" * 400, "1e400", "TRUE", "0x10", "1_0", "-32768", "-9999",
                                   "-999"])
def test_numbers_that_float32_does_not_hold_or_that_mark_gaps(path, value):
    table = TABLE.astype(str)
    table.loc[1, "slope"] = value
    with pytest.raises(InputError, match="line 3, column 'slope': expected a number, found"):
        read_samples(write(path, table), FACTORS)


def test_a_gap_of_1e20_is_no_number_of_a_factor_without_limits(path):
    table = TABLE.assign(rain=[1.5, 1e20, 2.5])
    with pytest.raises(InputError, match="line 3, column 'rain': expected numbers, found '1e\\+20'"):
        read_samples(write(path, table), [*FACTORS, Factor("rain", "continuous", "mm")])


def test_codes_that_float32_cannot_tell_apart(path):
    with pytest.raises(InputError, match="line 2, column 'land use': expected a whole-number class code"):
        read_samples(write(path, TABLE.assign(**{"land use": [20000001, 2, 3]})), FACTORS)


def test_longitude_and_latitude_have_a_remedy(path):
    with pytest.raises(InputError, match="found longitude and latitude; transform them to that CRS as X and Y"):
        read_samples(write(path, TABLE.rename(columns={"X": "long", "Y": "lat"})), FACTORS)


@pytest.mark.parametrize(("column", "remedy"), [
    ("slope", r"if percent, write degrees\(atan\(percent / 100\)\) in all tables, or name the column slope_percent"),
    ("DEM", "convert the column to metres, in all tables"),
    ("aspect", "if from -180 to 180, add 360 to those below 0")])
def test_a_whole_column_in_another_unit_has_its_remedy(path, column, remedy):
    table = pd.concat([TABLE] * 10).assign(**{column: 12_000})
    with pytest.raises(InputError, match=rf"line 2, column '{column}': .*\(30 such rows\); {remedy}"):
        read_samples(write(path, table), [*FACTORS, *[Factor("DEM", "continuous", "m")] * (column == "DEM")])


def test_an_ndvi_that_is_none_among_those_from_minus_one_to_one(path):
    table = pd.concat([TABLE] * 40, ignore_index=True).assign(NDVI=0.3)
    factors = [*FACTORS, Factor("NDVI", "continuous", "NDVI x 10,000")]
    read_samples(write(path, table), factors)
    table.loc[5, "NDVI"] = 99.99
    with pytest.raises(InputError, match=r"line 7, column 'NDVI': expected NDVI from -1 to 1, .*found '99\.99'"):
        read_samples(write(path, table), factors)


def test_a_whole_column_that_is_no_label_has_its_remedy(path):
    with pytest.raises(InputError, match=r"column 'label': expected 0 or 1 .*\(30 such rows\); write 1 for landslides"):
        read_samples(write(path, pd.concat([TABLE] * 10).assign(label="x")), FACTORS)


def test_how_many_rows_are_bad_is_said(path):
    with pytest.raises(InputError, match=r"line 2, .*\(3 such rows\)"):
        read_samples(write(path, TABLE.assign(dis2road=-1)), FACTORS)


@pytest.mark.parametrize(("label", "words"), [(0, "found no 1; add landslides"), (1, "found no 0; add non-landslides")])
def test_one_class(path, label, words):
    with pytest.raises(InputError, match=f"column label: expected both 0 and 1, {words}"):
        read_samples(write(path, TABLE.assign(label=label)), FACTORS)


def test_a_factor_has_a_known_kind():
    with pytest.raises(ValueError, match="kind 'wavy' is none of"):
        Factor("x", "wavy", "m")


# places ---------------------------------------------------------------------------------------------------------

def samples_at(xy, label) -> Samples:
    return Samples(np.zeros((len(xy), 1), np.float32), np.array(xy, float), np.array(label, np.int8))


def test_the_first_row_of_a_place_stays():
    keep, dropped, conflicts = unique_places(samples_at([(5, 1), (2, 2), (5, 1), (5, 2), (2, 2), (5, 1)],
                                                        [0, 1, 0, 1, 1, 0]))
    np.testing.assert_array_equal(keep, [0, 1, 3])
    assert (dropped, conflicts) == (3, 0)


def test_a_place_with_both_labels_is_a_landslide():
    keep, dropped, conflicts = unique_places(samples_at([(1, 1), (9, 9), (1, 1), (1, 1), (9, 9)], [0, 1, 1, 1, 0]))
    np.testing.assert_array_equal(keep, [1, 2])  # the first landslide of each place, in the order of the table
    assert (dropped, conflicts) == (3, 2)


@pytest.mark.parametrize("seed", range(5))
def test_places_against_a_loop(seed):
    rng = np.random.default_rng(seed)
    samples = samples_at(rng.integers(0, 6, (60, 2)), rng.integers(0, 2, 60))
    chosen, both = {}, 0
    for i, (place, label) in enumerate(zip(map(tuple, samples.xy), samples.label, strict=True)):
        if place not in chosen or label > samples.label[chosen[place]]:
            chosen[place] = i
    for place in chosen:
        both += len(set(samples.label[(samples.xy == place).all(axis=1)])) == 2
    keep, dropped, conflicts = unique_places(samples)
    np.testing.assert_array_equal(keep, sorted(chosen.values()))
    assert (dropped, conflicts) == (60 - len(chosen), both)


# the grid -------------------------------------------------------------------------------------------------------

@pytest.fixture
def grid(path):
    rng = np.random.default_rng(2)
    table = pd.DataFrame({f.name: rng.integers(0, 4, 103) for f in FACTORS})
    table = table.assign(slope=np.abs(rng.normal(0, 9, 103)).round(3), X=rng.random(103), Y=rng.random(103))
    return write(path, table, encoding="utf-8-sig")


@pytest.mark.parametrize("rows", [1, 7, 102, 103, 1000])
def test_chunks_make_the_whole(grid, rows):
    (factors, xy), = grid_chunks(grid, FACTORS, 10_000)
    chunks = list(grid_chunks(grid, FACTORS, rows))
    assert len(chunks) == -(-103 // rows)
    assert all(len(f) == len(p) <= rows for f, p in chunks)
    np.testing.assert_array_equal(np.concatenate([f for f, _ in chunks]), factors)
    np.testing.assert_array_equal(np.concatenate([p for _, p in chunks]), xy)
    assert (factors.dtype, xy.dtype) == (np.float32, np.float64)
    assert count_rows(grid) == 103


TWO = (Factor("slope", "continuous", "degree"), Factor("DV", "continuous", "mm/yr"))
COMMAS = '"12,345","100,268","7850,7","2494,94"\n'  # alone, thousands
POINTS = "12.5,0.5,785.7,2494.9\n"


@pytest.mark.parametrize(("rows", "found"), [
    ((COMMAS, '"12,5","102,5","785,7","2494,9"\n'), 100.268),   # decimal beside others of its column
    ((COMMAS,), "line 2, column 'slope': expected a number, found '12,345'"),
    ((POINTS, COMMAS), "line [2-9], column 'slope': expected a number, found '12,345'"),
    ((COMMAS.replace('","', '";"'), POINTS.replace(",", ";")), "line 2, column 'slope': expected a number"),
    (("10,-500,0,0\n", "10,-99,0,0\n", "10,7,0,0\n"), 7),       # no gap beside others below 0
    (("10,7,0,0\n", "10,5,0,0\n", "10,-99,0,0\n"), "line 10, column 'DV': expected a number, found '-99'"),
    (("10,900,0,0\n", "10,5,0,0\n", "10,9999,0,0\n"), "line 10, column 'DV': expected a number, found '9999'")])
@pytest.mark.parametrize("chunk", [3, 4, 100])
def test_parts_of_a_table_are_read_by_one_rule(path, rows, found, chunk):
    path.write_text(("slope,DV,X,Y\n" + "".join(row * 4 for row in rows)).replace(
        "slope,DV,X,Y", "slope;DV;X;Y" if '";"' in rows[0] else "slope,DV,X,Y"))
    if isinstance(found, str):
        with pytest.raises(InputError, match=found):
            list(grid_chunks(path, TWO, chunk))
    else:
        assert np.float32(found) in np.concatenate([factors for factors, _ in grid_chunks(path, TWO, chunk)])[:, 1]


@pytest.mark.parametrize("text", [b"a\n1\n2\n", b"a\n1\n2", b"a\r1\r2\r", b"a\r\n1\r\n2"])
def test_rows_are_counted_whatever_ends_a_line(tmp_path, text):
    (tmp_path / "t.csv").write_bytes(text)
    assert count_rows(tmp_path / "t.csv") == 2


@pytest.mark.parametrize("rows", [7, 1000])
def test_lines_are_counted_over_chunks(grid, rows):
    table = pd.read_csv(grid).astype(str)
    table.loc[50, "aspect"] = "north"
    with pytest.raises(InputError, match="line 52, column 'aspect': expected a number, found 'north'"):
        list(grid_chunks(write(grid, table), FACTORS, rows))


@pytest.mark.parametrize(("damage", "found"), [
    (b"1,2,3,4,5,6,7,8,9,10\n", "line 105: expected 7 columns as in the header, found 10"),
    (b"\xff\xfe\n", "line 105: expected 7 columns as in the header, found 1"),
    (b"1,2,3,4,5,6,\0\n", r"expected a text table, found zero bytes"),
    (b'1,2,3,4,5,6,"7\n', "line 105: expected quotes in pairs")], ids=["ragged row", "no UTF-8", "zero", "quote"])
@pytest.mark.parametrize("rows", [7, 1000])
def test_damage_in_a_later_chunk_is_an_input_error(grid, rows, damage, found):
    grid.write_bytes(grid.read_bytes() + damage)
    with pytest.raises(InputError, match=rf"^samples_isle\.csv: {found}"):
        list(grid_chunks(grid, FACTORS, rows))


def test_an_empty_grid(grid):
    with pytest.raises(InputError, match="expected one row a grid cell, found none"):
        list(grid_chunks(write(grid, pd.read_csv(grid)[:0]), FACTORS, 10))


def test_a_missing_table(path):
    with pytest.raises(InputError, match=r"^samples_isle\.csv: missing; put the table there, or run maker\.py"):
        read_samples(path, FACTORS, stage="maker.py")
    with pytest.raises(InputError, match=r"^samples_isle\.csv: missing"):
        list(grid_chunks(path, FACTORS, 10))
    path.with_suffix(".parquet").touch()
    with pytest.raises(InputError, match=r"^samples_isle\.parquet: expected a csv table, found Parquet; ") as told:
        read_samples(path, FACTORS, stage="maker.py")
    assert len(str(told.value)) <= 300
