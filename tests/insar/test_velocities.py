"""InSAR points as people have them: every accepted form gives the same points; what cannot be used is refused."""

import re

import numpy as np
import pandas as pd
import pytest
from osgeo import ogr, osr
from small_region import write_layer

from lsm.insar.velocities import TO_MM, check_unit, column_of, negated, read_insar, towards_satellite
from lsm.region.warp import Grid
from lsm.run.settings import InputError

UTM, NEIGHBOUR = 32650, 32649  # two zones of UTM


def wkt(epsg: int) -> str:
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(epsg)
    return crs.ExportToWkt()


def grid_in(epsg: int) -> Grid:
    """A grid of that CRS with all points on it."""
    return Grid(2000, 2000, (-2e6, 2000.0, 0.0, 5e6, 0.0, -2000.0), wkt(epsg))


def read(path, positive="towards", epsg=UTM, **options):
    return read_insar(path, grid_in(epsg), positive=positive, **options)[0]


TABLE = pd.DataFrame({"x": [300000.25, 300100, 300200], "y": [2.5e6, 2.5e6, 2500100.5], "velocity": [-3.25, 0.5, 12],
                      "coherence": [0.9, 0.5, 1], "heading": [-13, -13, 193], "incidence": [39, 40.5, 0],
                      "velocity_error": [0.25, 0, 1]})


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    return tmp_path / "insar_isle.csv"


def write(path, table=TABLE, **options):
    table.to_csv(path, index=False, **options)
    return path


def refused(path) -> str:
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(path.name)
    return message


# sign -----------------------------------------------------------------------------------------------------------

def test_sign():
    v = np.array([3.0, -2.0])
    np.testing.assert_array_equal(towards_satellite(v, "towards"), v)
    np.testing.assert_array_equal(towards_satellite(v, "away"), -v)


@pytest.mark.parametrize(("number", "expected"), [
    ("6.614940166", "-6.614940166"), ("-0.30", "0.30"), ("+4", "-4"), (" 1e-3 ", "-1e-3"), ("0.000001", "0.000001"),
    ("0", "0"), ("-0.0", "-0.0"), ("1E-6", "1E-6"), ("-0.000001", "0.000001")])
def test_a_number_in_writing_is_negated(number, expected):
    assert negated(number) == expected


# reading --------------------------------------------------------------------------------------------------------

def test_a_table(path):
    points = read(write(path, TABLE.assign(note="text, with a comma")))
    np.testing.assert_array_equal(points.xy, TABLE[["x", "y"]])
    for name, column in (("velocity", "velocity"), ("coherence", "coherence"), ("heading", "heading"),
                         ("incidence", "incidence"), ("error", "velocity_error")):
        np.testing.assert_array_equal(getattr(points, name), TABLE[column])


def test_what_counts_as_positive(path):
    np.testing.assert_array_equal(read(write(path), "away").velocity, -TABLE["velocity"])


def test_optional_columns_may_be_missing(path):
    points = read(write(path, TABLE[["y", "velocity", "x"]], encoding="utf-8-sig"))
    assert points.coherence is points.heading is points.incidence is points.error is None
    np.testing.assert_array_equal(points.xy, TABLE[["x", "y"]])


def test_other_names(path):
    names = {"x": "easting", "y": "Northing", "velocity": " mean_velocity", "coherence": "temporal_coherence",
             "heading": "track_angle", "incidence": "INCIDENCE_ANGLE", "velocity_error": "mean_velocity_std"}
    points = read(write(path, TABLE.rename(columns=names)))
    np.testing.assert_array_equal(points.error, TABLE["velocity_error"])
    np.testing.assert_array_equal(points.velocity, TABLE["velocity"])


def test_the_first_of_several_names_wins():
    assert column_of(["X", "x", "easting"], ("x", "easting")) == "X"
    assert column_of(["easting", " x "], ("x", "easting")) == " x "
    assert column_of(["lon"], ("x", "easting")) is None


def test_a_layer_is_its_table(path):
    layer = write_layer(path.with_suffix(".gpkg"), TABLE.assign(z=1.0))
    from_table, from_layer = read(write(path), "away"), read(layer, "away")
    for name, values in vars(from_table).items():
        np.testing.assert_array_equal(getattr(from_layer, name), values)


def test_a_layer_of_another_crs_is_reprojected(path):
    layer = write_layer(path.with_suffix(".gpkg"), TABLE)
    points = read(layer, epsg=NEIGHBOUR)
    source, target = osr.SpatialReference(), osr.SpatialReference()
    source.ImportFromEPSG(UTM)
    target.ImportFromEPSG(NEIGHBOUR)
    expected = osr.CoordinateTransformation(source, target).TransformPoints(TABLE[["x", "y"]].to_numpy().tolist())
    np.testing.assert_allclose(points.xy, np.array(expected)[:, :2], atol=1e-3)
    assert np.abs(points.xy - TABLE[["x", "y"]]).to_numpy().max() > 1e5


def test_a_layer_without_crs(path):
    message = refused(write_layer(path.with_suffix(".gpkg"), TABLE, epsg=None))
    assert message.startswith("insar_isle.gpkg: InSAR points: CRS: expected one, found none; set it (ogr2ogr -a_srs")


def test_one_layer_of_several_is_named(path):
    layer = write_layer(path.with_suffix(".gpkg"), TABLE, layers=("a", "b"))
    np.testing.assert_array_equal(read(f"{layer}|layername=b").velocity, TABLE["velocity"])


def test_points_that_are_nowhere_in_their_crs(path):
    layer = write_layer(path.with_suffix(".gpkg"), TABLE.assign(y=TABLE["y"] * 1e9), epsg=4326)
    assert "expected features that transform to the CRS of the grid, found: " in refused(layer)


def test_points_off_the_area(path):
    far = TABLE.assign(x=[300000, 3e6, 3e6])
    assert refused(write(path, far)) == (
        "insar_isle.csv: expected points within X -2000000 to 2000000, Y 1000000 to 5000000, found 2 of 3 outside (X "
        "300000 to 3000000, Y 2500000 to 2500100); are they in WGS 84 / UTM zone 50N (EPSG:32650)? If so, crop them to "
        "the area")
    assert len(read(write(path, far.assign(x=[300000, 300000, 3e6]))).velocity) == 3  # one is left to the rules


@pytest.mark.parametrize("unit", TO_MM)
def test_velocities_and_their_errors_in_one_unit(path, unit):
    table = TABLE.assign(velocity=TABLE["velocity"] / TO_MM[unit], velocity_error=TABLE["velocity_error"] / TO_MM[unit])
    points = read(write(path, table), unit=unit)
    np.testing.assert_allclose(points.velocity, TABLE["velocity"])
    np.testing.assert_allclose(points.error, TABLE["velocity_error"])


def test_velocities_of_another_unit(path):
    assert "velocities: expected mm/yr, found half of them above 3.25e+03 mm/yr; give INSAR_UNIT to prepare_region.py" \
        in refused(write(path, TABLE.assign(velocity=[-3250.0, 500, 12000])))
    with pytest.raises(InputError, match=r"i\.csv: velocities: expected mm/yr, found 99 % below 0\.3 mm/yr; give"):
        check_unit(np.full(5, 0.3), path.with_name("i.csv"))


@pytest.mark.parametrize(("separator", "decimal", "encoding"), [
    (";", ",", "latin-1"), (";", ".", "utf-8-sig"), ("\t", ",", "utf-8"), (",", ".", "latin-1")])
def test_tables_as_offices_write_them(path, separator, decimal, encoding):
    path.write_bytes(TABLE.assign(Ort="Höhe").to_csv(sep=separator, decimal=decimal, index=False).encode(encoding))
    points, notes = read_insar(path, grid_in(UTM))
    np.testing.assert_array_equal(points.xy, TABLE[["x", "y"]])
    np.testing.assert_array_equal(points.velocity, TABLE["velocity"])
    assert notes == (["insar_isle.csv is not UTF-8; read as Latin-1"] if encoding == "latin-1" else [])


def test_a_comma_within_a_value_is_a_decimal_one(path):
    velocity = [str(v).replace(".", ",") for v in TABLE["velocity"]]  # pandas quotes them
    np.testing.assert_array_equal(read(write(path, TABLE.assign(velocity=velocity))).velocity, TABLE["velocity"])


def test_longitude_and_latitude(path):
    degrees = TABLE.rename(columns={"x": "lon", "y": "lat"}).assign(lon=117.0, lat=[22.0, 22.5, 23.0])
    points = read(write(path, degrees))
    np.testing.assert_allclose(points.xy[:, 0], 500000, atol=1e-3)  # on the central meridian of the zone
    assert (np.diff(points.xy[:, 1]) > 55000).all()


def test_a_table_of_points_is_read_again(path):
    first = read(write(path))
    again = read(write(path, first.table()))
    for name, values in vars(first).items():
        np.testing.assert_array_equal(getattr(again, name), values)


@pytest.mark.parametrize(("column", "value", "expected"), [
    ("velocity", "fast", "a number"), ("velocity", "3.2.1", "a number"), ("velocity", "", "a number"),
    ("x", "east", "a number"), ("coherence", "1.2", "a coherence from 0 to 1"),
    ("coherence", "-0.1", "a coherence from 0 to 1"), ("coherence", "", "a coherence from 0 to 1"),
    ("incidence", "91", "an incidence from 0 to 90 degrees"), ("incidence", "-1", "an incidence from 0 to 90 degrees"),
    ("heading", "400", "a heading from -360 to 360"), ("velocity_error", "-2", "a velocity error of 0 mm/yr or more")])
def test_a_cell_that_cannot_be(path, column, value, expected):
    table = TABLE.astype(str)
    table.loc[1, column] = value
    words = rf"insar_isle\.csv: point 2, column '{column}': expected {expected}.*, found .*; correct or remove"
    assert re.match(words, refused(write(path, table)))


def test_how_many_are_bad_is_said(path):
    assert "(3 such points)" in refused(write(path, TABLE.assign(coherence=70)))


def test_a_bad_point_of_a_layer(path):
    message = refused(write_layer(path.with_suffix(".gpkg"), TABLE.assign(coherence=[0.5, 0.5, 7])))
    assert message.startswith("insar_isle.gpkg: point 3, column 'coherence': expected a coherence from 0 to 1")


@pytest.mark.parametrize(("column", "words"), [
    ("x", r"expected columns X and Y \(or easting and northing, .*\), found y, velocity, .*; rename"),
    ("y", r"expected columns X and Y .*, found x, velocity, .*; rename"),
    ("velocity", "expected a column named one of velocity, v_los, .*, found x, y, coherence, .*; rename")])
def test_a_missing_column(path, column, words):
    assert re.match(rf"insar_isle\.csv: header: {words}", refused(write(path, TABLE.drop(columns=column))))


def test_metres_a_year_are_suspected(path):
    message = refused(write(path, TABLE.assign(velocity=[-0.003, 0.012, 0.001])))
    assert message == ("insar_isle.csv: velocities: expected mm/yr, found 99 % below 0.0118 mm/yr; give INSAR_UNIT to "
                       "prepare_region.py, or convert them to mm/yr")


@pytest.mark.parametrize(("content", "words"), [
    (b"", "expected a table with one separator, found: No columns to parse"),
    (b"x,y,velocity\n", "expected one row an InSAR point, found none"),
    (b"x,y,velocity\n1,5,2,5,0,3\n", "point 1: expected 3 columns as in the header, found more; decimal commas?"),
    (b"x,y,velocity\n1,2,3\n1,2,3,4,5\n", "found: Error tokenizing data. C error: Expected 3 fields in line 3, saw 5;"),
    (b"x,y,velocity\n1000,2,\xff\n", "point 1, column 'velocity': expected a number, found 'ÿ'"),
    (b'x,y,velocity\n1,2,"3\n1,2,3\n', "found: Error tokenizing data. C error: EOF inside string"),
    (b"x,velocity,y,velocity\n1,2,3,4\n", "header: expected different names, found 'velocity' twice"),
    ("x,y,velocity\n1,2,3\n".encode("utf-16"), "found zero bytes (UTF-16 or binary); save it as CSV in UTF-8")])
def test_no_table(path, content, words):
    path.write_bytes(content)
    assert words in refused(path)


def test_no_layer(path):
    layer = path.with_suffix(".gpkg")
    layer.write_bytes(b"no GeoPackage")
    assert "InSAR points: expected a vector file that GDAL opens, found none" in refused(layer)
    layer.unlink()
    two = write_layer(layer, TABLE, layers=("a", "b"))
    assert "expected one layer, found a, b; name it: insar_isle.gpkg|layername=" in refused(two)
    layer.unlink()
    empty = write_layer(layer, TABLE, kind=ogr.wkbPolygon)
    assert "feature 1: expected a point, found none; turn each into a point" in refused(empty)
