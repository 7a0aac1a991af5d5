"""InSAR points as people have them: every accepted form gives the same points; what cannot be used is refused."""

import re
import zipfile

import numpy as np
import pandas as pd
import pytest
from osgeo import ogr, osr
from small_region import write_layer, write_raster

from lsm.insar.moving_slopes import slope_cosine
from lsm.insar.velocities import TO_MM, check_unit, key_of, negated, read_insar, towards_satellite
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
                      "coherence": [0.9, 0.5, 1], "heading": [-13, -13, 193], "incidence": [39, 40.5, 33],
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


def test_names_with_and_without_units():
    names = {"VEL": "velocity", "mean_velocity": "velocity", "v [mm/yr]": "velocity",
             "LOS velocity (cm/year)": "velocity", "velocity_mm_yr": "velocity",
             "V_STDEV": "error", "velocityStd": "error", "mean_velocity_std": "error",
             "mean_veloc": "velocity", "temporal_c": "coherence",  # ten characters of a Shapefile
             "track_angle": "heading", "Incidence": "incidence", "coh": "coherence", "height": None, "20190101": None}
    assert {name: key_of(name) for name in names} == names


def test_the_first_of_several_names_wins(path):
    table = TABLE.assign(vel=99.0)
    points, notes = read_insar(write(path, table), grid_in(UTM))
    np.testing.assert_array_equal(points.velocity, TABLE["velocity"])
    assert any("column 'velocity' is the velocity; vel not read" in note for note in notes)


@pytest.mark.parametrize(("value", "words"), [(-999, "1 of 4 points have no value"), (1e5, "found 100000 at 1 point;")])
def test_numbers_that_are_no_velocities(path, value, words):
    table = pd.concat([TABLE] * 2, ignore_index=True)[:4].assign(velocity=[value, -3, 4, 5])
    if value < 0:
        assert any(words in note for note in read_insar(write(path, table), grid_in(UTM))[1])
    else:
        with pytest.raises(InputError, match=words):
            read_insar(write(path, table), grid_in(UTM))


def test_a_column_of_passes_is_said(path):
    table = TABLE.drop(columns=[n for n in TABLE if n in ("heading", "incidence")]).assign(orbit="ASC")
    notes = read_insar(write(path, table), grid_in(UTM))[1]
    assert any("column 'orbit' is not read; to keep" in note for note in notes)


@pytest.mark.parametrize(("name", "factor"), [("velocity (mm/yr)", 1), ("vel_cm_yr", 10), ("VEL [m/year]", 1000)])
def test_the_unit_that_a_column_states_counts(path, name, factor):
    table = TABLE.assign(velocity=TABLE["velocity"] / factor, velocity_error=TABLE["velocity_error"] / factor)
    points, notes = read_insar(write(path, table.rename(columns={"velocity": name})), grid_in(UTM))
    np.testing.assert_allclose(points.velocity, TABLE["velocity"])
    np.testing.assert_allclose(points.error, TABLE["velocity_error"])
    assert any("as the file says" in note for note in notes) == (factor != 1)


@pytest.mark.parametrize("error", ["velocity_std", "V_STDEV", "std", "vel_sigma", "mean_velocity_std", "velocityStd"])
@pytest.mark.parametrize("unit", TO_MM)
def test_errors_by_their_usual_names_have_the_unit_of_the_velocity(path, error, unit):
    table = TABLE.assign(velocity=TABLE["velocity"] / TO_MM[unit], velocity_error=TABLE["velocity_error"] / TO_MM[unit])
    table = table.rename(columns={"velocity_error": error})
    np.testing.assert_allclose(read(write(path, table), unit=unit).error, TABLE["velocity_error"])


def test_fields_named_like_coordinates_never_count(path):
    shifted = TABLE.rename(columns={"x": "X_", "y": "Y_"}).assign(x=TABLE["x"], y=TABLE["y"])
    layer = path.with_suffix(".gpkg")
    dataset = ogr.GetDriverByName("GPKG").CreateDataSource(str(layer))
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(UTM)
    points = dataset.CreateLayer("points", crs, ogr.wkbPoint)
    for field in ("x", "y", "easting", "longitude", "velocity"):
        points.CreateField(ogr.FieldDefn(field, ogr.OFTReal))
    for row in shifted.to_dict("records"):
        feature = ogr.Feature(points.GetLayerDefn())
        for field in ("x", "y", "easting", "longitude"):
            feature.SetField(field, 7.0)
        feature.SetField("velocity", row["velocity"])
        feature.SetGeometry(ogr.CreateGeometryFromWkt(f"POINT ({row['x']} {row['y']})"))
        points.CreateFeature(feature)
    del feature, points, dataset
    np.testing.assert_array_equal(read(layer).xy, TABLE[["x", "y"]])


def egms(xy: np.ndarray) -> pd.DataFrame:
    """Points at xy (points, 2) of EPSG:3035 as the European Ground Motion Service writes them, with many dates."""
    dates = {f"20190{i:03d}": 0.1 for i in range(300)}
    return pd.DataFrame({"pid": "a", "mp_type": 1, "latitude": 1.0, "longitude": 2.0, "easting": xy[:, 0],
                         "northing": xy[:, 1], "height": 300, "rmse": 1.2, "temporal_coherence": 0.9,
                         "incidence_angle": 39.1, "track_angle": 349.2, "mean_velocity": [-3.25, 0.5, 12],
                         "mean_velocity_std": 0.25} | dates)


@pytest.mark.parametrize("epsg", [0, 32632, 3035])
def test_egms_tables_have_their_own_crs(path, epsg):
    write(path, egms(np.array([[4245063.0, 2448917], [4245066, 2448409], [4244069, 2449346]])))
    grid = Grid(600, 600, (490000.0, 30.0, 0.0, 5010000.0, 0.0, -30.0), wkt(32632))
    points, notes = read_insar(path, grid, epsg)
    source, target = (osr.SpatialReference() for _ in range(2))
    source.ImportFromEPSG(3035)
    target.ImportFromEPSG(32632)
    y, x, _ = osr.CoordinateTransformation(source, target).TransformPoint(2448917, 4245063)[:3]
    x, y = (x, y) if x < y else (y, x)
    np.testing.assert_allclose(points.xy[0], (x, y), atol=0.01)
    assert points.heading.tolist() == [349.2] * 3
    assert points.error.tolist() == [0.25] * 3
    assert any("EPSG:3035" in note for note in notes) == (epsg != 3035)


@pytest.mark.parametrize(("epsg", "x", "y"), [(3035, 4245000, 2448900), (3857, 1005870, 5645000),
                                             (32631, 973000, 5007000)])
def test_a_crs_that_puts_points_on_the_area_is_named(path, epsg, x, y):
    grid = Grid(1200, 1200, (490000.0, 30.0, 0.0, 5015000.0, 0.0, -30.0), wkt(32632))
    table = TABLE.assign(x=[x, x + 5, x + 9], y=[y, y + 5, y])
    with pytest.raises(InputError, match=rf"; in EPSG:{epsg} they lie on it: if it is right, \|epsg={epsg} behind"):
        read_insar(write(path, table), grid)
    right = read_insar(write(path, table), grid, epsg)[0].xy
    for name, columns in ((f"{path}|epsg={epsg}", {}), (path, {"epsg": epsg})):  # the remedies
        write(path, table.assign(**columns))
        np.testing.assert_array_equal(read_insar(name, grid)[0].xy, right)


@pytest.mark.parametrize(("letter", "direction"), [("U", (0, 0, 1)), ("E", (1, 0, 0)), ("", None)])
def test_egms_level_3_is_vertical_or_eastward_motion(path, letter, direction):
    """A grid of 100 m in EPSG:3035, without look angles; the file's name says along what the velocity is."""
    x, y = np.meshgrid(4244050 + 100.0 * np.arange(4), 2448450 + 100.0 * np.arange(3))
    velocity = np.linspace(-9, 9, x.size) + 0.1
    table = pd.DataFrame({"pid": "a", "easting": x.ravel(), "northing": y.ravel(), "height": 300.0, "rmse": 1.2,
                          "mean_velocity": velocity, "mean_velocity_std": 0.3, "acceleration": 0.0, "20190101": 0.1})
    path = path.with_name(f"EGMS_L3_E42N24_100km_{letter}_2018_2022_1.csv" if letter else "insar.csv")
    grid = Grid(600, 600, (490000.0, 30.0, 0.0, 5010000.0, 0.0, -30.0), wkt(32632))
    points, notes = read_insar(write(path, table), grid)
    np.testing.assert_allclose(np.hypot(*(points.xy[1] - points.xy[0])), 100, atol=0.5)  # scales differ
    np.testing.assert_allclose(points.velocity, velocity)
    assert points.error.tolist() == [0.3] * 12
    if direction is None:
        assert points.heading is points.incidence is None
        assert any("may be of level 3" in note for note in notes)
        return
    assert any("of level 3 by its name" in note for note in notes)
    slope, aspect = np.radians(30), np.radians(70)  # d of slope_cosine, the way down
    down = np.array([np.cos(slope) * np.sin(aspect), np.cos(slope) * np.cos(aspect), -np.sin(slope)])
    cosine = slope_cosine(30.0, 70.0, points.heading, points.incidence)
    np.testing.assert_allclose(cosine, down @ direction, atol=1e-12)
    again, _ = read_insar(write(path.with_name("again.csv"), points.table()), grid)  # as stage 0 reads them
    assert again.incidence.tolist() == points.incidence.tolist()


def test_level_3_is_read_in_the_archive_that_it_is_delivered_in(path):
    x, y = np.meshgrid(4244050 + 100.0 * np.arange(4), 2448450 + 100.0 * np.arange(3))
    table = pd.DataFrame({"pid": "a", "easting": x.ravel(), "northing": y.ravel(), "height": 300.0, "rmse": 1.2,
                          "mean_velocity": np.linspace(-9, 9, 12), "mean_velocity_std": 0.3})
    grid = Grid(600, 600, (490000.0, 30.0, 0.0, 5010000.0, 0.0, -30.0), wkt(32632))
    tile = path.with_name("EGMS_L3_E42N24_100km_U_2018_2022_1.csv")
    write(tile, table)
    write_raster(tile.with_suffix(".tiff"), table["mean_velocity"].to_numpy().reshape(3, 4)[::-1], epsg=3035,
                 place=(4244000.0, 100.0, 0.0, 2448700.0, 0.0, -100.0))
    tile.with_suffix(".xml").write_text("<a/>")
    archive = tile.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for file in sorted(path.parent.glob("EGMS*.*[!p]")):
            out.write(file, f"tile/{file.name}")
    with pytest.raises(InputError, match=r'found tile/EGMS_.*1.csv, .*1.tiff; name it: INSAR="EGMS_.*zip.file=<name>"'):
        read_insar(archive, grid)
    plain, _ = read_insar(tile, grid)
    points, notes = read_insar(f"{archive}|file={tile.name}", grid)
    assert any("of level 3 by its name" in note for note in notes)
    for key in ("xy", "velocity", "error", "heading", "incidence"):
        np.testing.assert_array_equal(getattr(points, key), getattr(plain, key))
    cells, _ = read_insar(f"{archive}|file={tile.stem}.tiff", grid)
    assert (cells.incidence == 0).all()
    np.testing.assert_allclose(cells.xy[np.lexsort(cells.xy.T)], plain.xy[np.lexsort(plain.xy.T)], atol=0.01)
    np.testing.assert_allclose(np.sort(cells.velocity), plain.velocity, rtol=1e-6)
    data = archive.read_bytes()
    archive.write_bytes(data[:200] + b"x" * 40 + data[240:])
    with pytest.raises(InputError, match=r"zip: InSAR points: expected a whole table, found: .*; copy it again"):
        read_insar(f"{archive}|file={tile.name}", grid)


def test_a_crs_for_each_file(path):
    source, target = (osr.SpatialReference() for _ in range(2))
    source.ImportFromEPSG(UTM)
    target.ImportFromEPSG(NEIGHBOUR)
    transformation = osr.CoordinateTransformation(source, target)
    there = np.array(transformation.TransformPoints(TABLE[["x", "y"]].to_numpy().tolist()))
    write(path, TABLE.assign(x=there[:, 0], y=there[:, 1]))
    np.testing.assert_allclose(read(f"{path}|epsg={NEIGHBOUR}").xy, TABLE[["x", "y"]], atol=1e-3)
    with pytest.raises(InputError, match=r"insar_isle\.csv: InSAR points: \|epsg=x: expected a whole number"):
        read(f"{path}|epsg=x")


def test_radians_are_converted_and_said(path):
    table = TABLE.assign(incidence=np.radians([39, 40.5, 33]), heading=np.radians([-13, -13, 193]))
    points, notes = read_insar(write(path, table), grid_in(UTM))
    np.testing.assert_allclose(points.incidence, [39, 40.5, 33])
    np.testing.assert_allclose(points.heading, TABLE["heading"])
    assert "insar_isle.csv: column 'incidence' is in radians; read as degrees" in notes


def test_degrees_beside_radians_stay(path):
    points, _ = read_insar(write(path, TABLE.assign(incidence=0.68)), grid_in(UTM))
    np.testing.assert_allclose(points.heading, TABLE["heading"])
    np.testing.assert_allclose(points.incidence, np.degrees(0.68))


@pytest.mark.parametrize("incidence", [5.0, 80.0, 0.05])
def test_an_incidence_that_no_radar_has(path, incidence):
    assert "expected the angle off the vertical, 15 to 60 degrees for radars" in refused(
        write(path, TABLE.assign(incidence=incidence)))


@pytest.mark.parametrize("columns", [("heading",), ("heading", "incidence")])
def test_headings_in_radians_are_refused(path, columns):
    table = TABLE.assign(heading=np.radians([-13, -13, 193]))[["x", "y", "velocity", *columns]]
    assert "'heading': expected degrees clockwise from north, about -13 and 193, found -0.227 to 3.37; if radians" in (
        refused(write(path, table)))
    table["heading"] *= 57.2958  # the remedy
    np.testing.assert_allclose(read_insar(write(path, table), grid_in(UTM))[0].heading, [-13, -13, 193], atol=1e-4)


@pytest.mark.parametrize(("name", "factor"), [
    ("velocity_mm_per_year", 1), ("vitesse_mm_an", 1), ("Velocidad (cm/año)", 10), ("VEL [m/anno]", 1000)])
def test_names_and_units_of_other_languages(path, name, factor):
    table = TABLE.rename(columns={"velocity": name}).assign(**{name: TABLE["velocity"] / factor})
    np.testing.assert_allclose(read_insar(write(path, table), grid_in(UTM))[0].velocity, TABLE["velocity"])


@pytest.mark.parametrize("name", ["velocity (in/yr)", "velocity (mm/day)", "velocity_m"])
def test_a_unit_that_is_not_known_is_no_reason_to_rename_the_column(path, name):
    message = refused(write(path, TABLE.rename(columns={"velocity": name})))
    assert "call the right one velocity with its unit, like 'velocity (mm/yr)' (mm/yr, cm/yr, m/yr" in message


def test_a_column_in_percent(path):
    message = refused(write(path, TABLE.assign(coherence=[80, 90, 85])))
    assert message.endswith("(3 such points); convert the column (percent: divide by 100), or drop it")


MANY = pd.concat([TABLE] * 10, ignore_index=True)


@pytest.mark.parametrize(("column", "value", "why"), [
    ("x", "", "have no coordinates"), ("velocity", "", "have no value of velocity"),
    ("velocity", "-9999", "have no value of velocity"), ("coherence", "", "have no value of coherence"),
    ("velocity", "n/a", "have no value of velocity"), ("y", "nan", "have no coordinates")])
def test_single_points_without_place_or_value_are_dropped_and_counted(path, column, value, why):
    table = MANY.astype(str)
    table.loc[4, column] = value
    points, notes = read_insar(write(path, table), grid_in(UTM))
    assert len(points.xy) == len(MANY) - 1
    assert notes[-1] == f"insar_isle.csv: InSAR points: 1 of 30 points {why} and are dropped"
    table.loc[:14, column] = value
    assert f"found 15 of 30 that {why}; export it again, or remove these rows" in refused(write(path, table))


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
    assert message.startswith("insar_isle.gpkg: InSAR points: CRS: expected one, found none; set it: INSAR=")


def test_one_layer_of_several_is_named(path):
    layer = write_layer(path.with_suffix(".gpkg"), TABLE, layers=("a", "b"))
    np.testing.assert_array_equal(read(f"{layer}|layername=b").velocity, TABLE["velocity"])


def test_points_that_are_nowhere_in_their_crs(path):
    layer = write_layer(path.with_suffix(".gpkg"), TABLE.assign(y=TABLE["y"] * 1e9), epsg=4326)
    assert "its CRS is WGS 84, found coordinates that look like metres (X 300000, " in refused(layer)


def test_points_off_the_area(path):
    far = TABLE.assign(x=[300000, 9e6, 9e6])
    assert refused(write(path, far)) == (
        "insar_isle.csv: expected points within X -2000000 to 2000000, Y 1000000 to 5000000, found 2 of 3 outside (X "
        "300000 to 9000000, Y 2500000 to 2500100); crop them to the area, or, if not in WGS 84 / UTM zone 50N "
        "(EPSG:32650), say their CRS: |epsg=<code> behind the file, or a column epsg")
    assert len(read(write(path, far.assign(x=[300000, 300000, 9e6]))).velocity) == 3  # one is left to the rules


@pytest.mark.parametrize("unit", TO_MM)
def test_velocities_and_their_errors_in_one_unit(path, unit):
    table = TABLE.assign(velocity=TABLE["velocity"] / TO_MM[unit], velocity_error=TABLE["velocity_error"] / TO_MM[unit])
    points = read(write(path, table), unit=unit)
    np.testing.assert_allclose(points.velocity, TABLE["velocity"])
    np.testing.assert_allclose(points.error, TABLE["velocity_error"])


def test_velocities_of_another_unit(path):
    assert "velocities: expected mm/yr, found half of them above 3.25e+03 mm/yr; give INSAR_UNIT, or convert" \
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
    said = ["insar_isle.csv: lines that are not UTF-8 are read as Windows-1252"]
    assert notes == (said if encoding == "latin-1" else [])


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
    ("velocity", "fast", "a number"), ("velocity", "3.2.1", "a number"),
    ("x", "east", "a number"), ("coherence", "1.2", "a coherence from 0 to 1"),
    ("coherence", "-0.1", "a coherence from 0 to 1"),
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
    ("velocity", "expected a column named one of velocity, v_los, .*, found .*coherence, heading, .*; call the right")])
def test_a_missing_column(path, column, words):
    assert re.match(rf"insar_isle\.csv: header: {words}", refused(write(path, TABLE.drop(columns=column))))


def test_metres_a_year_are_suspected(path):
    message = refused(write(path, TABLE.assign(velocity=[-0.003, 0.012, 0.001])))
    assert message == ("insar_isle.csv: velocities: expected mm/yr, found 99 % below 0.0118 mm/yr; give INSAR_UNIT, "
                       "or convert them to mm/yr; if they are so slow, name the unit: column 'velocity (mm/yr)', or "
                       "the band's")


@pytest.mark.parametrize(("content", "words"), [
    (b"", "expected a file with content, found 0 bytes"),
    (b"x,y,velocity\n", "expected points, found a header only"),
    (b"x,y,velocity\n1,5,2,5,0,3\n", "line 2: expected 3 columns as in the header, found 6; decimal commas?"),
    (b"x,y,velocity\n1,2,3\n1,2,3,4,5\n", "line 3: expected 3 columns as in the header, found 5"),
    (b"x,y,velocity\n1000,2,\xff\n", "point 1, column 'velocity': expected a number, found 'ÿ'"),
    (b'x,y,velocity\n1,2,"3\n1,2,3\n', "line 2: expected quotes in pairs around a value"),
    (b"x,velocity,y,velocity\n1,2,3,4\n", "header: expected different names, found 'velocity' twice"),
    (b"x,velocity,y,VELOCITY \n1,2,3,4\n", "header: expected different names, found 'velocity' twice"),
    (b"x,velocity,y,X\n1,2,3,4\n", "header: expected different names, found 'x' twice"),
    ("x,y,velocity\n1,2,3\n".encode("utf-16-le"), "found zero bytes (UTF-16 or binary); save it as CSV in UTF-8")])
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
    assert "expected points with place and value, found 3 of 3 that have no geometry" in refused(empty)


def test_a_few_outliers_hide_no_unit(path):
    slow = np.r_[np.linspace(-0.01, 0.01, 95), np.full(5, 255.0)]  # m/yr
    with pytest.raises(InputError, match=r"velocities: expected mm/yr, found 99 % below 0.01 mm/yr; give INSAR_UNIT"):
        check_unit(slow, path)
    check_unit(np.r_[np.linspace(-2, 2, 95), np.full(5, 255.0)], path)
    check_unit(np.r_[np.zeros(60), np.linspace(-2, 2, 40)], path)


def test_a_unit_that_the_file_names_allows_slow_points(path):
    table = TABLE.assign(velocity=[0.1, -0.2, 0.05])
    assert "if they are so slow, name the unit: column 'velocity (mm/yr)'" in refused(write(path, table))
    points, notes = read_insar(write(path, table.rename(columns={"velocity": "velocity (mm/yr)"})), grid_in(UTM))
    np.testing.assert_allclose(points.velocity, [0.1, -0.2, 0.05])
    assert any("99 % of the velocities are below 0.198 mm/yr, in mm/yr as the file says" in note for note in notes)
    again, _ = read_insar(write(path, points.table()), grid_in(UTM))  # what prepare_region.py writes for stage 0
    np.testing.assert_allclose(again.velocity, points.velocity)


def test_an_incidence_of_0_is_a_gap_and_said(path):
    table = pd.concat([TABLE] * 4, ignore_index=True)
    table.loc[3, "incidence"] = 0
    points, notes = read_insar(write(path, table), grid_in(UTM))
    assert len(points.velocity) == 11
    assert any("'incidence': exactly 0 at 1 point, where no radar looks" in note for note in notes)
    table.loc[[1, 3], ["heading", "incidence"]] = (0, table["incidence"][0])
    points, notes = read_insar(write(path, table), grid_in(UTM))
    assert len(points.velocity) == 10
    assert any("'heading': exactly 0 at 2 points, as no satellite flies" in note for note in notes)


def test_a_number_taken_for_a_gap_is_named(path):
    table = pd.concat([TABLE] * 4, ignore_index=True)
    table.loc[5, "velocity"] = -9999
    _, notes = read_insar(write(path, table), grid_in(UTM))
    assert any("column 'velocity': -9999 at 1 point is taken for a gap" in note for note in notes)
