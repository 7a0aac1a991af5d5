import numpy as np
import pandas as pd
import pytest

from lsm.run.settings import InputError
from lsm.sources import date_fields


@pytest.mark.parametrize(("value", "year"), [
    ("2014", 2014), (2014, 2014), (2014.0, 2014), ("16.07.1998", 1998), ("2008/05/12 00:00:00", 2008),
    ("20100727", 2010), (None, np.nan), ("", np.nan), ("unknown", np.nan), ("120145", np.nan),
    ("2010-2014", np.nan), ("2010-05-01 to 2010-05-03", 2010), ("2008-05-12 1930", 2008), ("12.05.2008 1930", 2008),
    ("1930 12.05.2008", 2008), ("12 May 2008 1930", 2008), ("May 12th, 2008 2015", 2008), ("20080512 1930", 2008),
    ("2008-05-12/2010-03-01", np.nan), ("200805121930", 2008), ("2008 12 31", 2008),
    ("２００８年５月", 2008), ("２００８０５１２", 2008)])
def test_years_in_dates_as_people_write_them(value, year):
    np.testing.assert_equal(date_fields.year_of(value), year)


@pytest.mark.parametrize("value", [
    "before 1973", "pre-2008", "pre2008", "< 2008", "<2008", ">=2008", "after 2008", "Post-2008", "since 12.05.2008",
    "prior to May 2008", "before the 2008 earthquake", "after 2008-05-12", "2008 or earlier", "2008-05-12 or later",
    "2008+", "1990s", "1990's", "by the end of 2008", "vor 2008", "avant 2008", "después de 2008", "до 2008",
    "2008年以前", "2008<", "2008 (before)", "2008-05-12, later", "12.05.2008 >", "prior 2008", "antes 2008",
    "2005-2008", "after 2005, before 2008"])
def test_bounds_and_spans_name_no_year(value):
    years, notes = date_fields.years_of(pd.Series(["2003", value, value, "unknown"], name="date"), "i.csv", 2026)
    np.testing.assert_equal(years, [2003, np.nan, np.nan, np.nan])
    assert notes == [f"i.csv: field 'date': 2 dates like {value:.20}: no single year, taken for unknown"]
    assert date_fields.date_field(fields(["date"], ("2003", value)), "", "i")[0] == "date"


@pytest.mark.parametrize("value", [
    "2008, after heavy rain", "after heavy rain in July 2008", "after typhoon Sinlaku 2008", "2008-05-12+02:00",
    "2008?", "2008-05-12T06:28:01+08:00", "early 2008", "ca. 2008", "2008-05-01 until 2008-06-02", "bypass 2008",
    "2008 s. map", "2008 <unknown month>", "2008 (before the dam)", "2008-05-12 (post-seismic)",
    "after 2008-05-01, before 2008-06-01"])
def test_words_beside_a_year_that_bound_nothing(value):
    assert date_fields.year_of(value) == 2008


@pytest.mark.parametrize("filler", ["1900", 1900, 1900.0, "1900-00-00", "1800", "1900/0/0 00:00:00"])
def test_a_repeated_1900_far_before_all_others_is_a_filler(filler):
    column = pd.Series([filler] * 3 + [2003, "2010-05-01"] * 20, name="year", dtype=object)
    years, notes = date_fields.years_of(column, "i.csv", 2026)
    np.testing.assert_equal(years, [np.nan] * 3 + [2003, 2010] * 20)
    shown = str(filler).removesuffix(".0")
    assert notes == [f"i.csv: field 'year': 3 dates like {shown} of 43; no other is before 1950, so taken for unknown"]
    for kept in (column[1:], pd.Series([*column, 1921], name="year"), pd.concat([column] + [column[3:]] * 9)):
        years, notes = date_fields.years_of(kept, "i.csv", 2026)
        assert np.isfinite(years).all()
        assert notes == []


@pytest.mark.parametrize(("value", "year"), [
    ("20140716", 2014), (20140716.0, 2014), ("19051998", 1998), ("13052008", 2008), ("05192008", 2008),
    ("01011970", np.nan), ("19000101", np.nan), ("99999999", np.nan), ("20100501-20100503", 2010),
    ("20100501-20140503", np.nan)])
def test_eight_digits_are_a_date_in_any_order(value, year):
    np.testing.assert_equal(date_fields.year_of(value), year)


def test_placeholders_with_names_of_months_are_unknown():
    column = pd.Series(["01-Jan-1970", "Jan 1, 1900", "11-Jan-1970", "Jan 10, 1900"], name="date")
    years, notes = date_fields.years_of(column, "i.csv", 2026)
    np.testing.assert_equal(years, [np.nan, np.nan, 1970, 1900])
    assert notes == ["i.csv: field 'date': 2 dates like 01-Jan-1970: taken for unknown"]


def fields(names: list[str], values=("2003", "2010-05-01")) -> pd.DataFrame:
    return pd.DataFrame({name: list(values) for name in names})


def test_the_field_of_dates():
    assert date_fields.date_field(fields(["name", "Date", "Year_obs"]), "", "i") == (
        "Date", ["i: years are read from the field 'Date', not of 'Year_obs' (DATE_FIELD)"])
    assert date_fields.date_field(fields(["Year"]), "", "i")[1] == ["i: years are read from the field 'Year' "
                                                                      "(DATE_FIELD)"]
    assert date_fields.date_field(fields(["name", "OCCURRED"]), "occurred", "i") == ("OCCURRED", [])
    assert date_fields.date_field(fields(["name"]), "", "i") == (None, [])
    with pytest.raises(InputError, match=r"expected the field 'when' \(DATE_FIELD\), found name; name one of these$"):
        date_fields.date_field(fields(["name"]), "when", "i")
    with pytest.raises(InputError, match=r"\(DATE_FIELD\), found no field; leave DATE_FIELD out$"):
        date_fields.date_field(fields([]), "when", "i")


@pytest.mark.parametrize("name", ["Data", "ANO", "año", "an\u0303o", "Année", "annee", "Jahr", "Datum", "Fecha", "年",
                                  "发生年份", "日期", "Дата", "Event_Date", "slide year", "Data frana",
                                  "fecha de ocurrencia", "LandslideDate", "DateOcc", "DATEOCC", "Date_of_event",
                                  "DATEOFEVEN", "date_of_ev", "LandslideD", "EventDateTime", "slideyear"])
def test_fields_of_dates_in_other_languages(name):
    assert date_fields.date_field(fields(["note", name]), "", "i")[0] == name


@pytest.mark.parametrize("name", ["birth_year", "built year", "acquisition date", "publication_date", "Baujahr year",
                                  "download date", "date visit"])
def test_a_date_of_something_else_is_said_and_not_read(name):
    field, (note,) = date_fields.date_field(fields(["note", name]), "", "i")
    assert field is None
    assert note == f"i: no date is read from {name!r}; if it is the date of the landslides: DATE_FIELD={name}"
    assert date_fields.date_field(fields(["data"], ("poor", "good")), "", "i") == (None, [])
    assert date_fields.date_field(fields(["survey_year"]), "", "i") == (None, [])
    for other in ("update", "UpdatedDate", "birthdate", "landslidei"):
        assert date_fields.date_field(fields([other]), "", "i") == (None, []), other


def test_empty_fields_are_no_dates():
    assert date_fields.date_field(fields(["timestamp", "begin"], (None, "")), "", "i") == (None, [])


def test_a_field_of_dates_without_years_is_said():
    field, (note,) = date_fields.date_field(fields(["LandslideDate"], ("12/5/08", "3/7/11")), "", "i")
    assert field is None
    assert note.startswith("i: field 'LandslideDate': fewer than half of its values hold one year of four digits, like")


@pytest.mark.parametrize("value", ["1900-01-01", "01.01.1900 00:00", "1/1/1970", "1970-01-01T00:00:00", "30.12.1899",
                                   "18991230", "2999", "0", "-9999", "9999-12-31", "2190-05-01", "2060"])
def test_placeholders_and_years_to_come_are_unknown(value):
    years, notes = date_fields.years_of(pd.Series(["2003", value, "1900", "1970-01-02"], name="date"), "i", 2026)
    np.testing.assert_array_equal(years, [2003, np.nan, 1900, 1970])
    assert all(value[:10] in note and "taken for unknown" in note for note in notes)


@pytest.mark.parametrize(("names", "field"), [
    (["Event Date"], "Event Date"), (["DATE_"], "DATE_"), (["Date of occurrence", "date_edited"], "Date of occurrence"),
    (["Datum"], "Datum"), (["created_date", "image year"], None), (["date A", "date B"], None)])
def test_fields_of_dates_by_a_word_in_their_names(names, field):
    assert date_fields.date_field(fields(names), "", "i")[0] == field


def test_dates_without_a_year_of_four_digits_are_counted_beside_others():
    column = pd.Series(["2008-05-12", "05/12/08", "'08", "", "12-MAY-08"], name="date")
    years, notes = date_fields.years_of(column, "i.csv", 2026)
    np.testing.assert_equal(years, [2008, np.nan, np.nan, np.nan, np.nan])
    assert notes == ["i.csv: field 'date': 3 dates like 05/12/08: no year of four digits, taken for unknown"]
