import numpy as np
import pytest
from osgeo import gdal, ogr
from small_region import COLS, PLACE, ROWS, crs_of, square, write_raster, write_vector

from lsm.inputs.rasters import Grid
from lsm.run.settings import InputError
from lsm.sources.class_codes import _described, codes_by_name, names_of_raster, number_classes, recoded, text_of
from lsm.sources.files import File
from lsm.sources.raster_files import open_raster_file
from lsm.sources.vector_files import open_vector

GRID = Grid(ROWS, COLS, PLACE, crs_of(32650).ExportToWkt())


def classes_of(path, field="", given=None, region="far"):
    notes = []
    vector = open_vector(path, "lithology", GRID, notes)
    codes, name = number_classes(vector, File.of(path, "lithology"), field, given or {}, region, notes)
    return codes, [f.GetField(name) for f in vector.GetLayer(0)], notes


def test_classes_keep_given_codes(tmp_path):
    write_vector(tmp_path / "l.gpkg", [square(0, 0, 5, 5)] * 3, {"rock": ["tuff", "basalt", "marl"]})
    codes, numbers, _ = classes_of(tmp_path / "l.gpkg", given={"tuff": 4, "gneiss": 9})
    assert codes == {"tuff": 4, "basalt": 10, "marl": 11}
    assert numbers == [4, 10, 11]


def test_blanks_do_not_count_and_empty_text_is_no_class(tmp_path):
    write_vector(tmp_path / "l.gpkg", [square(0, 0, 5, 5)] * 4, {"rock": [" tuff", "tuff ", "", "  "]})
    codes, numbers, notes = classes_of(tmp_path / "l.gpkg")
    assert codes == {"tuff": 1}
    assert numbers == [1, 1, 0, 0]
    assert notes == [f"{tmp_path / 'l.gpkg'}: lithology: classes are read from the field rock (LITHOLOGY_FIELD)"]


def test_upper_case_does_not_count_and_words_for_gaps_are_no_class(tmp_path):
    write_vector(tmp_path / "l.gpkg", [square(0, 0, 5, 5)] * 5, {"rock": ["Tuff", "TUFF", "marl", "No data", "<Null>"]})
    codes, numbers, notes = classes_of(tmp_path / "l.gpkg")
    assert codes == {"TUFF": 1, "marl": 2}
    assert numbers == [1, 1, 2, 0, 0]
    assert any(note.endswith("lithology: Tuff and TUFF are taken for one class") for note in notes)


def two_fields(path, unit: list[int], note: list[str]) -> None:
    write_vector(path, [square(0, 0, 5, 5)] * len(unit), {"note": note})
    dataset = gdal.OpenEx(str(path), gdal.OF_UPDATE)
    layer = dataset.GetLayer(0)
    layer.CreateField(ogr.FieldDefn("UNIT", ogr.OFTInteger))
    for value, feature in zip(unit, list(layer), strict=True):
        feature.SetField("UNIT", value)
        layer.SetFeature(feature)


def test_it_asks_where_two_fields_could_be_meant(tmp_path):
    two_fields(tmp_path / "l.gpkg", [10, 20, 30, 40], ["", "checked", "", ""])
    with pytest.raises(InputError, match=r"lithology: expected one field of classes, found note \(1 class: checked\), "
                       r"UNIT \(4 classes: 10, 20, …\); name the field that holds them: LITHOLOGY_FIELD=<field>"):
        classes_of(tmp_path / "l.gpkg")
    assert classes_of(tmp_path / "l.gpkg", "unit")[0] == {"10": 1, "20": 2, "30": 3, "40": 4}
    two_fields(tmp_path / "both.gpkg", [7, 8, 7, 9], ["tuff", "marl", "tuff", "sand"])  # names and their numbers
    codes, _, notes = classes_of(tmp_path / "both.gpkg")
    assert codes == {"marl": 1, "sand": 2, "tuff": 3}
    assert "the field note" in notes[0]


def test_what_fields_hold_fits_the_line():
    texts = {f"a field of number {i}": [f"a class with a long name {j}" for j in range(20)] for i in range(4)}
    said = _described(texts, list(texts), 220)
    assert said.startswith("a field of number 0 (20 classes: a class wit…, …), a field of number 1 (20 ")
    assert len(said) <= 220
    assert _described(texts, list(texts), 60).count("(20 classes)") == 4


def test_codes_and_names_are_matched_never_numbers_alone():
    given = {"alluvium": 1, "granite": 2}
    with pytest.raises(InputError, match=r"b.tif: expected class names as CODES_OF=t has \(alluvium, granite, ...\), "
                                         r"found numbers \(1, 2, ...\); name the classes alike"):
        codes_by_name({1: "1", 2: "2"}, given, "b.tif", "t", own=True)
    with pytest.raises(InputError, match=r"expected class numbers as CODES_OF=t has"):
        codes_by_name({"tuff": "tuff"}, {"1": 1}, "b.tif", "t", own=False)
    assert codes_by_name({1: "granite", 2: "marl"}, given, "b.tif", "t", own=True) == {"granite": 2, "marl": 3}
    assert codes_by_name({3: "3", 1: "1"}, {"1": 1, "2": 2}, "b.tif", "t", own=True) == {"1": 1, "3": 3}


@pytest.mark.parametrize("codes", [[20000001, 20000002], [1, 2**31 - 1], [2**24 + 1]])
def test_codes_beyond_float32_are_numbered_by_name(codes):
    found = codes_by_name({code: str(code) for code in codes}, {}, "l.tif", "", own=True)
    assert found == {str(code): number for number, code in enumerate(codes, start=1)}
    assert codes_by_name({5: "5", 2**24: "x"}, {}, "l.tif", "", own=True) == {"5": 5, "x": 2**24}
    values = np.array(codes, np.float64)
    np.testing.assert_array_equal(recoded(values, {c: i for i, c in enumerate(codes)}), np.arange(len(codes)))


def raster_with(path, form: str, names: tuple = ("sand", " marl ", "sand")):
    write_raster(path, np.tile([1, 2, 3, 7], (ROWS, COLS // 4)), nodata=0, kind=gdal.GDT_Byte)
    dataset = gdal.Open(str(path), gdal.GA_Update)
    if form == "categories":
        dataset.GetRasterBand(1).SetCategoryNames(["", *names])
    elif form == "table":
        table = gdal.RasterAttributeTable()
        table.CreateColumn("Value", gdal.GFT_Integer, gdal.GFU_MinMax)
        table.CreateColumn("Class", gdal.GFT_String, gdal.GFU_Name)
        table.SetRowCount(3)
        for row, (code, name) in enumerate(zip((1, 2, 3), names, strict=True)):
            table.SetValueAsInt(row, 0, code)
            table.SetValueAsString(row, 1, name)
        dataset.GetRasterBand(1).SetDefaultRAT(table)
    dataset = None
    return open_raster_file(str(path), "land use", [])


@pytest.mark.parametrize("form", ["categories", "table"])
def test_a_raster_keeps_the_names_of_its_table(tmp_path, form):
    names, named = names_of_raster(raster_with(tmp_path / "l.tif", form), {1.0, 2.0, 3.0, 7.0})
    assert names == {1: "sand (1)", 2: "marl", 3: "sand (3)", 7: "7"}
    assert named


@pytest.mark.parametrize("form", ["categories", "table"])
def test_a_code_whose_name_says_that_there_is_none_is_no_class(tmp_path, form):
    raster = raster_with(tmp_path / "l.tif", form, ("sand", "N/A", "No Data"))
    assert names_of_raster(raster, {1.0, 2.0, 3.0, 7.0})[0] == {1: "sand", 7: "7"}


@pytest.mark.parametrize(("column", "codes", "found"), [
    ("Wert", [1, 2, 3], {1: "sand", 2: "marl", 3: "peat", 7: "7"}), ("Wert", [7, 3, 2], {1: "1", 2: "peat", 3: "marl",
                                                                                     7: "sand"}),
    ("Anzahl", [900, 800, 900], None), ("", None, {1: "marl", 2: "peat", 3: "3", 7: "7"})])
def test_a_table_in_another_language(tmp_path, column, codes, found):
    raster, table = raster_with(tmp_path / "l.tif", "none"), gdal.RasterAttributeTable()
    table.CreateColumn("Farbe", gdal.GFT_String, gdal.GFU_Generic)
    table.CreateColumn("Bezeichnung", gdal.GFT_String, gdal.GFU_Generic)
    if codes:
        table.CreateColumn(column, gdal.GFT_Integer, gdal.GFU_Generic)
    table.SetRowCount(3)
    for row, name in enumerate(["sand", "marl", "peat"]):
        table.SetValueAsString(row, 0, f"#00ff0{row}")
        table.SetValueAsString(row, 1, name)
        if codes:
            table.SetValueAsInt(row, 2, codes[row])
    raster.band.band.SetDefaultRAT(table)
    if found:
        assert names_of_raster(raster, {1.0, 2.0, 3.0, 7.0})[0] == found
    else:
        with pytest.raises(InputError, match=r"holds the codes of the raster \(1, 2, 3, 7\), found Anzahl; call it"):
            names_of_raster(raster, {1.0, 2.0, 3.0, 7.0})


@pytest.mark.parametrize(("columns", "codes", "name"), [
    ({"ID": [3, 2, 1], "Class": [1, 2, 3], "Name": ["a", "b", "c"]}, {30: "c", 20: "b", 10: "a"}, None),
    ({"ID": [30, 20, 10], "Class": [1, 2, 3], "Name": ["a", "b", "c"]}, {30: "a", 20: "b", 10: "c"}, "ID"),
    ({"OID": [1, 2, 3], "Class": ["10", "20", "30"], "Name": ["a", "b", "c"]}, {10: "a", 20: "b", 30: "c"}, "Class"),
    ({"Value": [10, 20, 30], "Class": ["a", "b", "c"], "Count": [7, 8, 9]}, {10: "a", 20: "b", 30: "c"}, "Value"),
    ({"ID": [30, 20, 10], "Value": [10, 20, 30], "Name": ["a", "b", "c"]}, {10: "a", 20: "b", 30: "c"}, "Value"),
    ({"u": [30, 20, 10], "v": [10, 20, 30], "Name": ["a", "b", "c"]}, {}, None)])
def test_codes_are_the_column_that_holds_the_numbers_of_the_raster(tmp_path, columns, codes, name):
    write_raster(tmp_path / "l.tif", np.tile([10, 20, 30, 30], (ROWS, COLS // 4)), nodata=0, kind=gdal.GDT_Byte)
    dataset, table, notes = gdal.Open(str(tmp_path / "l.tif"), gdal.GA_Update), gdal.RasterAttributeTable(), []
    table.SetRowCount(3)
    for i, (column, values) in enumerate(columns.items()):
        text = isinstance(values[0], str)
        table.CreateColumn(column, gdal.GFT_String if text else gdal.GFT_Integer, gdal.GFU_Generic)
        for row, value in enumerate(values):
            (table.SetValueAsString if text else table.SetValueAsInt)(row, i, value)
    dataset.GetRasterBand(1).SetDefaultRAT(table)
    dataset = None
    raster = open_raster_file(str(tmp_path / "l.tif"), "land use", [])
    if name is None:
        with pytest.raises(InputError, match=r"expected one column that holds the codes of the raster \(10, 20, 30\)"):
            names_of_raster(raster, {10.0, 20.0, 30.0})
    else:
        assert names_of_raster(raster, {10.0, 20.0, 30.0}, "", notes)[0] == codes
        assert any(f"codes of classes are read from the column {name} of" in note for note in notes)


def test_ranges_of_an_attribute_table_name_the_codes_in_them(tmp_path):
    raster, table, notes = raster_with(tmp_path / "l.tif", "none"), gdal.RasterAttributeTable(), []
    table.CreateColumn("from", gdal.GFT_Real, gdal.GFU_Min)
    table.CreateColumn("to", gdal.GFT_Real, gdal.GFU_Max)
    table.CreateColumn("rock", gdal.GFT_String, gdal.GFU_Name)
    for row, (low, high, name) in enumerate([(3, 5, "marl"), (1, 2, "sand"), (8, 9, "peat")]):
        table.SetValueAsDouble(row, 0, low)
        table.SetValueAsDouble(row, 1, high)
        table.SetValueAsString(row, 2, name)
    raster.band.band.SetDefaultRAT(table)
    names, _ = names_of_raster(raster, {1.0, 2.0, 3.0, 7.0}, "", notes)
    assert names == {1: "sand (1)", 2: "sand (2)", 3: "marl", 7: "7"}
    where = f"{tmp_path / 'l.tif'}: land use:"
    assert notes == [f"{where} classes are named by the ranges of numbers (from, to) of its attribute table",
                     f"{where} 1 of 4 codes have no name (7); their numbers are used as names"]


def test_the_names_of_arcgis(tmp_path):
    raster = raster_with(tmp_path / "l.tif", "none")
    assert names_of_raster(raster, {0.0, 1.0, 7.0}) == ({1: "1", 7: "7"}, False)
    (tmp_path / "l.tif.vat.dbf").touch()
    with pytest.raises(InputError, match=r"l\.tif\.vat\.dbf: expected an attribute table, found a damaged file"):
        names_of_raster(raster, {1.0, 7.0})
    (tmp_path / "l.tif.vat.dbf").unlink()
    dataset = gdal.GetDriverByName("ESRI Shapefile").Create(str(tmp_path / "l.tif.vat.dbf"), 0, 0, 0, gdal.GDT_Unknown)
    layer = dataset.CreateLayer("l.tif.vat", None, ogr.wkbNone)
    layer.CreateField(ogr.FieldDefn("VALUE", ogr.OFTInteger))
    layer.CreateField(ogr.FieldDefn("NAME", ogr.OFTString))
    feature = ogr.Feature(layer.GetLayerDefn())
    feature.SetField("VALUE", 7)
    feature.SetField("NAME", "peat")
    layer.CreateFeature(feature)
    del feature, layer, dataset
    assert names_of_raster(raster, {1.0, 7.0}) == ({1: "1", 7: "peat"}, True)


def test_upper_case_does_not_count_beside_codes_of_another_region(tmp_path):
    given = {"Qa": 3, "granite": 7}
    assert codes_by_name({1: "QA", 2: "Granite", 5: "marl"}, given, "b.tif", "t", own=True) == {"QA": 3, "Granite": 7,
                                                                                                "marl": 8}
    assert classes_of_raster(tmp_path / "l.tif", [("Name", ["Qa", "QA", "tuff"])])[0] == {
        1: "Qa (1)", 2: "QA (2)", 3: "tuff"}  # codes tell apart what polygons cannot


def classes_of_raster(path, texts: list, field: str = ""):
    """Names and notes of a raster with codes 1 to 3 and these columns of text in its attribute table."""
    write_raster(path, np.tile([1, 2, 3, 3], (ROWS, COLS // 4)), nodata=0, kind=gdal.GDT_Byte)
    dataset, table = gdal.Open(str(path), gdal.GA_Update), gdal.RasterAttributeTable()
    table.CreateColumn("Value", gdal.GFT_Integer, gdal.GFU_MinMax)
    table.SetRowCount(3)
    for column, (name, values) in enumerate(texts, start=1):
        table.CreateColumn(name, gdal.GFT_String, gdal.GFU_Generic)
        for row, value in enumerate(values):
            table.SetValueAsInt(row, 0, row + 1)
            table.SetValueAsString(row, column, value)
    dataset.GetRasterBand(1).SetDefaultRAT(table)
    dataset, notes = None, []
    raster = open_raster_file(str(path), "land use", [])
    return names_of_raster(raster, {1.0, 2.0, 3.0}, field, notes)[0], notes


def test_the_column_of_names_is_said_or_named(tmp_path):
    texts = [("source", ["a", "a", "b"]), ("CLASS_EN", ["wood", "road", "lake"]), ("CLASS_DE", ["Wald", "Weg", "See"])]
    names, (note,) = classes_of_raster(tmp_path / "l.tif", texts)
    assert names == {1: "wood", 2: "road", 3: "lake"}
    assert note.endswith("land use: names of classes are read from the column CLASS_EN of its attribute table; also "
                         "there: source, CLASS_DE (LAND_USE_FIELD)")
    assert classes_of_raster(tmp_path / "l.tif", texts, "class_de") == ({1: "Wald", 2: "Weg", 3: "See"}, [])
    with pytest.raises(InputError, match=r"attribute table: expected a column 'when', found Value, source, CLASS_EN, "
                                         r"CLASS_DE; name one of these: LAND_USE_FIELD=<column>"):
        classes_of_raster(tmp_path / "l.tif", texts, "when")
    assert classes_of_raster(tmp_path / "l.tif", texts[:1])[1] == []
    write_raster(tmp_path / "no.tif", np.ones((ROWS, COLS)), kind=gdal.GDT_Byte)
    with pytest.raises(InputError, match="expected an attribute table with a column 'name', found no table; leave out"):
        names_of_raster(open_raster_file(str(tmp_path / "no.tif"), "land use", []), {1.0}, "name")


def test_accents_as_one_character_or_two_are_one_text():
    assert text_of("Schistes me\u0301tamorphiques ") == text_of("Schistes m\u00e9tamorphiques")
