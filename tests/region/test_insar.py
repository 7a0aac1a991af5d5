import itertools
import re

import numpy as np
import pandas as pd
import pytest
from osgeo import gdal, ogr, osr

from lsm.region.insar import (
    WEAK,
    Sieve,
    column_of,
    is_near,
    negated,
    read_points,
    slope_cosine,
    slope_velocity,
    thin,
    towards_satellite,
)
from lsm.run.settings import InputError

UTM, NEIGHBOUR = 32650, 32649  # two zones of UTM


def wkt(epsg: int) -> str:
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(epsg)
    return crs.ExportToWkt()


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


def write_layer(path, table=TABLE, epsg=UTM, kind=ogr.wkbPoint, layers=("points",)):
    """The table as a GeoPackage: x, y as geometry in `epsg`, the other columns as fields."""
    dataset = gdal.GetDriverByName("GPKG").Create(str(path), 0, 0, 0, gdal.GDT_Unknown)
    crs = osr.SpatialReference() if epsg else None
    if epsg:
        crs.ImportFromEPSG(epsg)
    for name in layers:
        layer = dataset.CreateLayer(name, crs, kind)
        fields = [c for c in table.columns if c not in ("x", "y")]
        for field in fields:
            layer.CreateField(ogr.FieldDefn(field, ogr.OFTReal))
        for row in table.to_dict("records"):
            feature = ogr.Feature(layer.GetLayerDefn())
            for field in fields:
                feature.SetField(field, float(row[field]))
            if kind == ogr.wkbPoint:
                feature.SetGeometry(ogr.CreateGeometryFromWkt(f"POINT ({row['x']} {row['y']})"))
            layer.CreateFeature(feature)
        del layer
    dataset.FlushCache()
    return path


def refused(path, crs=None) -> str:
    with pytest.raises(InputError) as caught:
        read_points(path, "towards", crs or wkt(UTM))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(path.name)
    return message


# geometry -------------------------------------------------------------------------------------------------------

SIN, COS = (lambda d: np.sin(np.radians(d))), (lambda d: np.cos(np.radians(d)))


@pytest.mark.parametrize(("slope", "aspect", "heading", "incidence", "expected"), [
    # Flying north and looking right, the satellite stands in the west.
    (30, 90, 0, 40, -SIN(70)),              # down to the east: away and down, the slope and 40 degrees add up
    (30, 270, 0, 40, SIN(10)),              # down to the west: towards it, but for the descent
    (40, 270, 0, 40, 0),                    # at right angles to the line of sight: nothing is seen
    (25, 90, 180, 25, 0),
    (30, 0, 0, 40, -SIN(30) * COS(40)),     # down along the flight: only the descent is seen
    (30, 180, 0, 40, -SIN(30) * COS(40)),
    (0, 270, 0, 40, SIN(40)),               # level, to the satellite's side
    (90, 90, 0, 40, -COS(40)),              # straight down
    (30, 123, 77, 0, -SIN(30)),             # seen from above: the descent, whatever the directions
    (30, 90, 180, 40, SIN(10)),             # flying south it stands in the east
    (30, 0, 90, 40, SIN(10))])              # flying east, in the north
def test_cosine_by_hand(slope, aspect, heading, incidence, expected):
    assert slope_cosine(slope, aspect, heading, incidence) == pytest.approx(expected, abs=1e-12)


def test_cosine_against_vectors():
    rng = np.random.default_rng(1)
    slope, aspect = rng.uniform(0.1, 89, 500), rng.uniform(0, 360, 500)
    heading, incidence = rng.uniform(-180, 360, 500), rng.uniform(0, 80, 500)
    found = {look: slope_cosine(slope, aspect, heading, incidence, look) for look in ("right", "left")}
    up = np.array([0.0, 0, 1])
    for k in range(500):
        # The ground is the plane z = gradient . (e, n); the way down is minus the gradient, followed on the plane.
        gradient = -np.tan(np.radians(slope[k])) * np.array([SIN(aspect[k]), COS(aspect[k])])
        down = np.array([*-gradient, -(gradient @ gradient)])
        flight = np.array([SIN(heading[k]), COS(heading[k]), 0])
        for look, side in (("right", np.cross(flight, up)), ("left", np.cross(up, flight))):
            sight = SIN(incidence[k]) * side - COS(incidence[k]) * up  # from the satellite to the ground
            expected = down @ -sight / np.linalg.norm(down)
            assert found[look][k] == pytest.approx(expected, abs=1e-12)


def test_a_satellite_sees_the_velocity_that_it_was_given():
    rng = np.random.default_rng(2)
    cosine, velocity = rng.uniform(-1, 1, 400), rng.normal(0, 9, 400)
    back = slope_velocity(velocity * cosine, cosine, 0.3)
    seen = np.abs(cosine) >= 0.3
    np.testing.assert_allclose(back[seen], velocity[seen])
    np.testing.assert_allclose(back[~seen], (velocity * np.abs(cosine) / 0.3)[~seen])  # never more than it was
    assert (np.abs(back) <= np.abs(velocity) + 1e-12).all()


def test_floor_of_the_cosine():
    cosine = np.array([0.5, 0.3, 0.1, 1e-9, -1e-9, -0.2, -0.9])
    np.testing.assert_allclose(slope_velocity(np.full(7, 3.0), cosine, 0.3), [6, 10, 10, 10, -10, -10, -10 / 3])


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


# spacing --------------------------------------------------------------------------------------------------------

def thinned_by_loop(xy, strength, spacing) -> set:
    kept = []
    for i in sorted(range(len(xy)), key=lambda i: (-strength[i], i)):
        if all(np.hypot(*(xy[i] - xy[j])) >= spacing for j in kept):
            kept.append(i)
    return set(kept)


@pytest.mark.parametrize("seed", range(6))
def test_thinning_against_a_loop(seed):
    rng = np.random.default_rng(seed)
    xy, strength = rng.uniform(0, 900, (200, 2)), rng.integers(0, 30, 200).astype(float)
    keep = thin(xy, strength, 80.0)
    assert set(np.flatnonzero(keep)) == thinned_by_loop(xy, strength, 80.0)
    kept = xy[keep]
    assert min(np.hypot(*(a - b)) for a, b in itertools.combinations(kept, 2)) >= 80
    for i in np.flatnonzero(~keep):  # whoever was dropped has one at least as strong nearby
        near = np.hypot(*(kept - xy[i]).T) < 80
        assert strength[keep][near].max() >= strength[i]


def test_thinning_keeps_what_is_just_far_enough():
    xy = np.array([(x, y) for x in range(0, 400, 80) for y in range(0, 400, 80)], float)
    assert thin(xy, np.ones(25), 80.0).all()
    assert thin(xy, np.ones(25), 80.001).sum() < 25
    assert thin(xy, np.ones(25), 0.0).all()


def test_of_points_at_one_place_the_strongest_stays():
    np.testing.assert_array_equal(thin(np.zeros((4, 2)), np.array([1.0, 5, 5, 2]), 80), [False, True, False, False])


def test_nearness():
    rng = np.random.default_rng(4)
    xy, others = rng.uniform(0, 1000, (150, 2)), rng.uniform(0, 1000, (60, 2))
    distance = np.hypot(*(xy[:, None] - others).transpose(2, 0, 1)).min(axis=1)
    np.testing.assert_array_equal(is_near(xy, others, 70.0), distance < 70)
    assert not is_near(np.array([[80.0, 0]]), np.zeros((1, 2)), 80.0).any()
    assert not is_near(xy, np.empty((0, 2)), 1e9).any()
    assert is_near(np.empty((0, 2)), xy, 80.0).shape == (0,)


def test_the_sieve():
    sieve = Sieve(4)
    sieve.drop("a", np.array([True, False, False, False]))
    sieve.drop("b", np.array([True, False, True, False]))
    sieve.drop("c", np.zeros(4, bool))
    assert list(sieve.fate) == ["a", WEAK, "b", WEAK]
    assert list(sieve.left) == [1, 3]
    assert sieve.table().to_numpy().tolist() == [["InSAR points", 0, 4], ["a", 1, 3], ["b", 1, 2], ["c", 0, 2]]


# reading --------------------------------------------------------------------------------------------------------

def test_a_table(path):
    points = read_points(write(path, TABLE.assign(note="text, with a comma")), "towards", wkt(UTM))
    np.testing.assert_array_equal(points.xy, TABLE[["x", "y"]])
    for name, column in (("velocity", "velocity"), ("coherence", "coherence"), ("heading", "heading"),
                         ("incidence", "incidence"), ("error", "velocity_error")):
        np.testing.assert_array_equal(getattr(points, name), TABLE[column])


def test_what_counts_as_positive(path):
    np.testing.assert_array_equal(read_points(write(path), "away", wkt(UTM)).velocity, -TABLE["velocity"])


def test_optional_columns_may_be_missing(path):
    points = read_points(write(path, TABLE[["y", "velocity", "x"]], encoding="utf-8-sig"), "towards", wkt(UTM))
    assert points.coherence is points.heading is points.incidence is points.error is None
    np.testing.assert_array_equal(points.xy, TABLE[["x", "y"]])


def test_other_names(path):
    names = {"x": "easting", "y": "Northing", "velocity": " mean_velocity", "coherence": "temporal_coherence",
             "heading": "track_angle", "incidence": "INCIDENCE_ANGLE", "velocity_error": "mean_velocity_std"}
    points = read_points(write(path, TABLE.rename(columns=names)), "towards", wkt(UTM))
    np.testing.assert_array_equal(points.error, TABLE["velocity_error"])
    np.testing.assert_array_equal(points.velocity, TABLE["velocity"])


def test_the_first_of_several_names_wins():
    assert column_of(["X", "x", "easting"], ("x", "easting")) == "X"
    assert column_of(["easting", " x "], ("x", "easting")) == " x "
    assert column_of(["lon"], ("x", "easting")) is None


def test_a_layer_is_its_table(path):
    layer = write_layer(path.with_suffix(".gpkg"), TABLE.assign(z=1.0))
    from_table, from_layer = read_points(write(path), "away", wkt(UTM)), read_points(layer, "away", wkt(UTM))
    for name, values in vars(from_table).items():
        np.testing.assert_array_equal(getattr(from_layer, name), values)


def test_a_layer_of_another_crs_is_reprojected(path):
    layer = write_layer(path.with_suffix(".gpkg"))
    points = read_points(layer, "towards", wkt(NEIGHBOUR))
    source, target = osr.SpatialReference(), osr.SpatialReference()
    source.ImportFromEPSG(UTM)
    target.ImportFromEPSG(NEIGHBOUR)
    expected = osr.CoordinateTransformation(source, target).TransformPoints(TABLE[["x", "y"]].to_numpy().tolist())
    np.testing.assert_allclose(points.xy, np.array(expected)[:, :2], atol=1e-3)
    assert np.abs(points.xy - TABLE[["x", "y"]]).to_numpy().max() > 1e5


def test_a_layer_without_crs_is_taken_for_the_area_s(path):
    points = read_points(write_layer(path.with_suffix(".gpkg"), epsg=None), "towards", wkt(NEIGHBOUR))
    np.testing.assert_array_equal(points.xy, TABLE[["x", "y"]])


def test_points_that_are_nowhere_in_their_crs(path):
    layer = write_layer(path.with_suffix(".gpkg"), TABLE.assign(y=TABLE["y"] * 1e9), epsg=4326)
    assert "expected points that transform to the CRS of composite.tif, found: " in refused(layer)


@pytest.mark.parametrize(("column", "value", "expected"), [
    ("velocity", "fast", "a number"), ("velocity", "3,2", "a number"), ("velocity", "", "a number"),
    ("x", "east", "a number"), ("coherence", "1.2", "a coherence from 0 to 1"),
    ("coherence", "-0.1", "a coherence from 0 to 1"), ("coherence", "", "a coherence from 0 to 1"),
    ("incidence", "91", "an incidence from 0 to 90 degrees"), ("incidence", "-1", "an incidence from 0 to 90 degrees"),
    ("heading", "400", "a heading from -360 to 360"), ("velocity_error", "-2", "a velocity error of 0 mm/yr or more")])
def test_a_cell_that_cannot_be(path, column, value, expected):
    table = TABLE.astype(str)
    table.loc[1, column] = value
    words = rf"insar_isle\.csv: line 3, column '{column}': expected {expected}.*, found .*; correct or remove it$"
    assert re.match(words, refused(write(path, table)))


def test_how_many_are_bad_is_said(path):
    assert "(3 such points)" in refused(write(path, TABLE.assign(coherence=70)))


def test_a_bad_point_of_a_layer(path):
    message = refused(write_layer(path.with_suffix(".gpkg"), TABLE.assign(coherence=[0.5, 0.5, 7])))
    assert message.startswith("insar_isle.gpkg: point 3, column 'coherence': expected a coherence from 0 to 1")


@pytest.mark.parametrize("column", ["x", "y", "velocity"])
def test_a_missing_column(path, column):
    message = refused(write(path, TABLE.drop(columns=column)))
    assert re.match(rf"insar_isle\.csv: header: expected a column named one of {column}, ", message)


def test_metres_a_year_are_suspected(path):
    message = refused(write(path, TABLE.assign(velocity=[-0.003, 0.012, 0.001])))
    assert message == ("insar_isle.csv: velocities: expected mm/yr, found none above 0.012; if they are in m/yr, "
                       "multiply them by 1000")


@pytest.mark.parametrize(("content", "words"), [
    (b"", "expected a comma-separated UTF-8 table"), (b"x,y,velocity\n", "expected one row an InSAR point, found none"),
    (b"x,y,velocity\n1,5,2,5,0,3\n", "line 2: expected a value a column, found more; if its decimals are commas"),
    (b"x,y,velocity\n1,2,3\n1,2,3,4,5\n", "expected a comma-separated UTF-8 table"),
    (b"x,y,velocity\n1,2,\xff\n", "expected a comma-separated UTF-8 table")])
def test_no_table(path, content, words):
    path.write_bytes(content)
    assert words in refused(path)


def test_no_layer(path):
    layer = path.with_suffix(".gpkg")
    layer.write_bytes(b"no GeoPackage")
    assert "expected a GeoPackage, found none" in refused(layer)
    layer.unlink()
    assert "expected one layer, found 2" in refused(write_layer(layer, layers=("a", "b")))
    layer.unlink()
    assert "expected a layer of points, found Polygon" in refused(write_layer(layer, kind=ogr.wkbPolygon))
