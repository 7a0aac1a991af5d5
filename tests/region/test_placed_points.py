"""Points of tables: every common form gives the same places; what was guessed is said."""

import gzip
import shutil
import tarfile
import warnings
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
from osgeo import ogr
from small_region import CELL, COLS, NORTH, PLACE, ROWS, WEST, crs_of

from lsm.inputs.rasters import Grid
from lsm.region.points.placed_points import points_of, share_on
from lsm.region.warp import transform
from lsm.run.settings import InputError
from lsm.sources.files import File

SHEETS_READ = [kind for kind in ("XLSX", "ODS") if ogr.GetDriverByName(kind)]  # GDAL may come without them
GRID = Grid(ROWS, COLS, PLACE, crs_of(32650).ExportToWkt())
X, Y = WEST + 45.5, NORTH - 100.25


@pytest.fixture
def read(tmp_path, monkeypatch):
    """(text, epsg) -> the table of points and notes."""
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))

    def of(text: str | bytes, epsg: int = 0, suffix: str = ""):
        (tmp_path / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        return points_of(f"{tmp_path / 't.csv'}{suffix}", "inventory", GRID, epsg)
    return of


@pytest.mark.parametrize("text", [
    f"X,Y,v\n{X},{Y},-3\n", f"x;y;v\n{X};{Y};-3\n".replace(".", ","), f"X\tY\tv\n{X}\t{Y}\t-3\n",
    f'"X","Y","v"\n"{X}","{Y}","-3"\n', f"\ufeffX,Y,v\r\n{X},{Y},-3\r\n\r\n", f"sep=;\nX;Y;v\n{X};{Y};-3\n",
    f"# exported 2021-03-04\nX,Y,v\n{X},{Y},-3\n", f"POINT_X,POINT_Y,v\n{X},{Y},-3\n",
    f"X|Y|v\n{X}|{Y}|-3\n", f"X,Y,v,,,\n{X},{Y},-3,,,\n",
    f"X;Y;v\n{X};{Y};-3;;\n", f"X (m),Y (m),v\n{X},{Y},-3\n", f"UTM_E,UTM_N,v\n{X},{Y},-3\n",
    f"xcoord,ycoord,v\n{X},{Y},-3\n",
    f"Rechtswert;Hochwert;v\n{X};{Y};-3\n",
    f"Easting,Northing,v\n{X},{Y},-3\n", f"v,east,north\n-3,{X},{Y}\n", f"# X Y v\n#X,Y,v\n{X},{Y},-3\n"])
def test_tables_as_people_export_them(read, text):
    table, notes = read(text)
    assert table[["X", "Y", "v"]].to_numpy().tolist() == [[X, Y, -3]]
    assert notes == []


@pytest.mark.parametrize("header", ["decimalLongitude\tdecimalLatitude\tcoordinatePrecision",
                                    "decimal_longitude\tdecimal_latitude\tgbifID"])
def test_degrees_as_gbif_names_them(read, header):
    table, _ = read(f"{header}\n117.002919\t22.603764\t0.001\n")
    assert share_on(table[["X", "Y"]].to_numpy(), GRID) == 1
    assert len(table.columns) == 3


def test_degrees_in_the_wrong_order_are_named_in_it(read):
    with pytest.raises(InputError, match=r"degrees .117.003, 22.6038.; name them longitude and latitude, or give"):
        read("X,Y\n117.002919,22.603764\n")
    with pytest.raises(InputError, match="name them latitude and longitude, in this order, or give POINTS_EPSG"):
        read("X,Y\n22.603764,117.002919\n")
    with pytest.raises(InputError, match=r"found 22.6038 to 22.6038 and 117.003 to 117.003; longitude and latitude "
                                         r"seem to be swapped .22.604 to 22.604 is the latitude.: exchange the names"):
        read("lon,lat\n22.603764,117.002919\n")
    for remedy in ("latitude,longitude", "lat,lon"):
        table, _ = read(f"{remedy}\n22.603764,117.002919\n")
        assert share_on(table[["X", "Y"]].to_numpy(), GRID) == 1
    with pytest.raises(InputError, match="; swap X and Y if they are swapped, else correct POINTS_EPSG"):
        read("lon,lat\n22.603764,118.9\n")


@pytest.mark.parametrize("form", ["gz", "zip", "tar", "tar.gz", "tgz"])
def test_packed_tables(tmp_path, monkeypatch, form):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    (tmp_path / "t.csv").write_text(f"X,Y\n{X},{Y}\n")
    path = tmp_path / f"t.csv.{form}"
    if form == "gz":
        path.write_bytes(gzip.compress((tmp_path / "t.csv").read_bytes()))
    else:
        made = shutil.make_archive(str(tmp_path / "made"), {"zip": "zip", "tar": "tar"}.get(form, "gztar"), tmp_path,
                                   "t.csv")
        shutil.move(made, path)
    assert File.of(path, "inventory").is_table
    assert points_of(path, "inventory", GRID, 0)[0].to_numpy().tolist() == [[X, Y]]
    if form == "tgz":
        with tarfile.open(path, "w:gz") as archive:
            archive.add(tmp_path / "t.csv", "./data/t.csv")
        assert points_of(path, "inventory", GRID, 0)[0].to_numpy().tolist() == [[X, Y]]
    if form in ("gz", "zip"):
        path.write_bytes(path.read_bytes()[:30])
        with pytest.raises(InputError, match="inventory: expected "):
            points_of(path, "inventory", GRID, 0)


def test_shapes_as_text(read):
    with pytest.raises(InputError, match=r"found id, geometry; save the layer as GeoPackage: shapes in a column"):
        read(f"id,geometry\n1,POINT ({X} {Y})\n")


def test_latin_1_is_read_and_said(read):
    table, notes = read(f"Ort,X,Y\nHöhe,{X},{Y}\n".encode("latin-1"))
    assert table["Ort"].tolist() == ["Höhe"]
    assert notes == ["t.csv: lines that are not UTF-8 are read as Windows-1252"]


def test_names_in_another_encoding_are_no_reason_to_rename_them(read):
    with pytest.raises(InputError, match=r"expected columns X and Y .*; its text is not UTF-8: save it as CSV"):
        read(f"编号,经度,纬度\n1,{X},{Y}\n".encode("gbk"))
    assert read("编号,经度,纬度\n1,117.0004,22.6069\n")[0]["X"][0] == pytest.approx(WEST + 41, abs=5)


def test_a_table_with_many_columns(read):
    """Without a warning of pandas that the table is fragmented."""
    names = ",".join(f"c{i}" for i in range(200))
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.PerformanceWarning)
        table, _ = read(f"{names},X,Y\n" + f"{'1,' * 200}{X},{Y}\n" * 3)
    assert table.shape == (3, 202)


def test_text_stays_text(read):
    assert read(f"X,Y,name\n{X},{Y},3\n{X},{Y},b\n")[0]["name"].tolist() == ["3", "b"]


@pytest.mark.parametrize("names", ["Longitude,Latitude", "lon,lat", "long,lat"])
def test_longitude_and_latitude_are_transformed(read, names):
    table, _ = read(f"{names}\n117.005,22.605\n")
    assert table["X"][0] == pytest.approx(500514, abs=2)
    assert table["Y"][0] == pytest.approx(2499900, abs=300)


def test_a_crs_that_puts_the_points_elsewhere_gives_way_and_it_is_said(read):
    table, notes = read(f"X,Y\n{X},{Y}\n", epsg=3035)
    assert table.to_numpy().tolist() == [[X, Y]]
    assert notes == ["t.csv: read in WGS 84 / UTM zone 50N (EPSG:32650), where its points lie on the DEM"]


@pytest.mark.parametrize(("header", "value", "epsg", "others"), [
    ("zone", "51N", 0, "EPSG:32651"), ("utm_zone", "17S", 0, "EPSG:32617 or EPSG:32717"), ("epsg", "32651", 0, ""),
    ("crs", "EPSG:4326", 0, ""), ("epsg", "32651", 32650, "")])
def test_a_crs_of_a_column_that_puts_the_points_elsewhere_gives_way_and_it_is_said(read, header, value, epsg, others):
    table, notes = read(f"X,Y,{header}\n{X},{Y},{value}\n", epsg)
    assert table[["X", "Y"]].to_numpy().tolist() == [[X, Y]]
    others = others or f"EPSG:{value.removeprefix('EPSG:')}"
    crs = "EPSG:32650" if epsg else "WGS 84 / UTM zone 50N (EPSG:32650)"
    assert notes == [f"t.csv: read in {crs}, where its points lie on the DEM, not in {others} as its columns say"]


def test_a_crs_in_the_name_of_the_file_counts(read):
    table, notes = read("X,Y\n117.005,22.605\n", suffix="|epsg=4326")
    assert table["X"][0] == pytest.approx(500514, abs=2)
    assert notes == []


def test_single_points_without_coordinates_are_dropped_and_counted(read):
    rows = [f"{X + i},{Y},a" for i in range(10)]
    table, notes = read("\n".join(["X,Y,name", *rows, ",,b", f"{X},,c"]))
    assert len(table) == 10
    assert notes == ["t.csv: inventory: 2 of 12 points have no coordinates and are dropped"]
    with pytest.raises(InputError, match="found 6 of 11 that have no coordinates; export it again, or remove these"):
        read("\n".join(["X,Y,name", *rows[:5], *[",,b"] * 6]))


@pytest.mark.parametrize("gap", ["-999,-999", "-9999,-9999", "999,999", "117.003,-99", "-9999,"])
@pytest.mark.parametrize(("names", "epsg"), [("lon,lat", 0), ("X,Y", 4326), ("x,y,lon,lat", 0)])
def test_numbers_that_stand_for_no_longitude_and_latitude_are_dropped_and_counted(read, gap, names, epsg):
    more = "3,4," if names.count(",") == 3 else ""
    rows = [f"{more}{117.0029 + i * 1e-4},22.6038" for i in range(10)]
    table, notes = read("\n".join([names, *rows, more + gap, more + gap]), epsg)
    assert share_on(table[["X", "Y"]].to_numpy(), GRID) == 1
    assert len(table) == 10
    why = "" if gap.endswith(",") else f" (or none on the earth, like {gap.replace(',', ', ')})"
    assert notes[-1] == f"t.csv: inventory: 2 of 12 points have no coordinates{why} and are dropped"
    with pytest.raises(InputError, match=r"found 4 of 9 that have no coordinates.*; export it again, or remove these"):
        read("\n".join([names, *rows[:5], *[more + gap] * 4]), epsg)


def test_latitudes_beyond_90_of_swapped_columns_stand_for_no_gap(tmp_path):
    grid = Grid(200, 200, (300000.0, 30.0, 0, 3e6, 0, -30.0), crs_of(32646).ExportToWkt())  # 91 degrees east and more
    lon, lat = transform(np.array([[303000, 2997000]]), grid.crs, Grid(1, 1, PLACE, crs_of(4326).ExportToWkt()), "")[0]
    (tmp_path / "t.csv").write_text("lon,lat\n" + f"{lat},{lon}\n" + f"{lat},89\n" * 3)
    with pytest.raises(InputError, match="longitude and latitude seem to be swapped"):
        points_of(tmp_path / "t.csv", "inventory", grid, 0)


@pytest.mark.parametrize(("text", "words"), [
    ("X,Y,x\n1,2,3\n", "expected different names, found 'X' twice"),
    ("X,Y,epsg,EPSG\n1,2,3,4\n", "expected different names, found 'epsg' twice"),
    ("X,Y,srid\n1,2,99999\n", "t.csv: column srid=99999: expected the EPSG code of a CRS, found none of that number"),
    ("X,Y\n1,2.8e20\n", "point 1, column 'Y': expected a number, found '2.8e"),
    ("X,Y\n1,east\n", "point 1, column 'Y': expected a number, found 'east'"),
    ("a,b\n1,2\n", r"expected columns X and Y \(or easting"), ("X,Y\n117,22.6\n", "found what looks like degrees"),
    ("lon,lat\n22.6,1170\n", "expected coordinates of EPSG:4326"), ("X,Y\n", "expected points, found a header only"),
    ("X,Y\n1,5,2,5\n", "line 2: expected 2 columns as in the header, found 4; decimal commas"),
    ("X,Y\n7,1,5\n", "line 2: expected 2 columns as in the header, found 3; name every column in the header"),
    ("X (km),Y (km)\n1,2\n", r"found X \(km\), Y \(km\); write kilometres as metres and rename"),
    ("Landslides of 2020\n1,2\n", "found Landslides of 2020; separate columns by commas"),
    ('X,Y\n"500,045","2,499,900"\n', "expected a number, found '500,045'; write the column as plain numbers")])
def test_refused(read, text, words):
    with pytest.raises(InputError, match=words):
        read(text)


@pytest.mark.parametrize("names", ["lat_dd,lon_dd", "Latitude (°),Longitude (°)", "Latitud,Longitud"])
def test_names_of_degrees(read, names):
    lon, lat = 117.0004, 22.6069  # on the grid
    table, _ = read(f"{names}\n{lat},{lon}\n")
    assert abs(table["X"][0] - WEST) < 100


def test_places_are_exact(read):
    rng = np.random.default_rng(1)
    xy = np.column_stack([WEST + rng.random(500) * COLS * CELL, NORTH - rng.random(500) * ROWS * CELL])
    table, _ = read("X,Y\n" + "".join(f"{x!r},{y!r}\n" for x, y in xy.tolist()))
    np.testing.assert_allclose(table.to_numpy(), xy, rtol=1e-15)


@pytest.mark.parametrize(("header", "rows", "words"), [
    ("Zone,Easting,Northing", ["49N,500100,2499000", "50N,500100,2499000"],
     "column 'Zone': expected points of one UTM zone, found 49N, 50N; transform them"),
    ("X (km),Y (km)", ["500.1,2499"], r"found X \(km\), Y \(km\); write kilometres as metres and rename them")])
def test_zones_and_kilometres_are_refused(tmp_path, header, rows, words):
    (tmp_path / "t.csv").write_text("\n".join([header, *rows]) + "\n")
    with pytest.raises(InputError, match=words):
        points_of(tmp_path / "t.csv", "inventory", GRID, 0)


@pytest.mark.parametrize(("header", "value", "code"), [
    ("utm_zone", "51N", 32651), ("Zone", "51 R", 32651), ("epsg", "32651", 32651), ("CRS", "EPSG:32651", 32651),
    ("zone", "50N", 0), ("zone", "51", 0), ("crs", "local", 0), ("zone", "49S", 32649)])
def test_a_column_may_say_the_zone_or_the_code(read, header, value, code):
    there = transform(np.array([[X, Y]]), GRID.crs, Grid(1, 1, PLACE, crs_of(code or 32650).ExportToWkt()), "")[0]
    table, notes = read(f"X,Y,{header}\n{there[0]},{there[1]},{value}\n")
    np.testing.assert_allclose(table[["X", "Y"]].to_numpy(), [[X, Y]], atol=1e-3)
    assert notes == ([f"t.csv: read in EPSG:{code}, as its columns say"] if code else [])


@pytest.mark.parametrize(("header", "value", "code"), [
    ("epsg", "32651", 32651), ("utm_zone", "51S", 32651), ("zone", "50N", 32650), ("crs", "EPSG:3857", 3857),
    ("", "", 0)])
def test_a_crs_of_a_column_is_stated_also_of_points_that_reach_beyond_the_grid(read, header, value, code):
    xy = np.array([[X, Y], [X - 30000, Y], [X, Y + 30000]])  # a third of them lies on it
    there = transform(xy, GRID.crs, Grid(1, 1, PLACE, crs_of(code or 32650).ExportToWkt()), "")
    table, notes = read(f"X,Y,{header}\n" + "".join(f"{x},{y},{value}\n" for x, y in there))
    np.testing.assert_allclose(table[["X", "Y"]].to_numpy(), xy, atol=1e-2)
    assert table.attrs["placed"] == bool(header)
    assert notes == [f"t.csv: read in EPSG:{code}, as its columns say"] * (code not in (0, 32650))


@pytest.mark.parametrize(("own", "code", "words"), [
    (23032, 25832, "found none: ETRS89 / UTM zone 32N .* and ED50 / UTM zone 32N .*, the DEM's, both put"),
    (32650, 32649, "")])
def test_a_table_without_a_crs_beside_a_dem_that_was_warped(tmp_path, own, code, words):
    warped = Grid(400, 400, PLACE, crs_of(code).ExportToWkt(), crs_of(own).ExportToWkt())
    place = np.array([[X + 5000, Y - 5000]])
    x, y = place[0] if words else transform(place, warped.crs, Grid(1, 1, PLACE, warped.warped_from), "")[0]
    (tmp_path / "t.csv").write_text(f"X,Y\n{x},{y}\n")
    if words:
        with pytest.raises(InputError, match=words + r".* m apart; say which: \|epsg=<code>"):
            points_of(tmp_path / "t.csv", "inventory", warped, 0)
    else:
        table, notes = points_of(tmp_path / "t.csv", "inventory", warped, 0)
        np.testing.assert_allclose(table[["X", "Y"]].to_numpy(), place, atol=1e-3)
        assert "names no CRS, taken for WGS 84 / UTM zone 50N" in notes[0]


@pytest.mark.parametrize("zones", [("50N", "50 n"), ("1", "2"), ("A", "B")])
def test_other_zones_are_no_matter(tmp_path, zones):
    (tmp_path / "t.csv").write_text("Zone,X,Y\n" + "".join(f"{zone},500100,2499000\n" for zone in zones))
    assert len(points_of(tmp_path / "t.csv", "inventory", GRID, 0)[0]) == 2


def test_of_two_pairs_of_coordinates_the_one_on_the_grid_counts(read):
    xy = read("X,Y\n500300,2499700\n500900,2499100\n")[0][["X", "Y"]].to_numpy()
    degrees = [(117.002919, 22.603764), (117.008759, 22.598343)]  # the same places
    rows = [f"{i},{i + 1},{lon},{lat}" for i, (lon, lat) in enumerate(degrees)]
    found, notes = read("\n".join(["x,y,lon,lat", *rows]))
    np.testing.assert_allclose(found[["X", "Y"]], xy, atol=60)
    assert any("coordinates are lon, lat, not x, y" in note for note in notes)
    rows = [f"{lon},{lat},{x},{y}" for (lon, lat), (x, y) in zip(degrees, xy, strict=True)]
    found, notes = read("\n".join(["lon,lat,easting,northing", *rows]))
    np.testing.assert_array_equal(found[["X", "Y"]], xy)
    assert any("coordinates are easting, northing, not lon, lat" in note for note in notes)
    rows = [f"{x},{lat},{y},{lon}" for (lon, lat), (x, y) in zip(degrees, xy + 900, strict=True)]
    _, notes = read("\n".join(["x,lat,y,lon", *rows]))
    assert any("x, y, not lon, lat, 1,3" in note and "m away (median)" in note for note in notes)


def test_of_two_pairs_of_coordinates_a_rounded_one_does_not_count(read):
    rows = [f"117,22.6,{500300 + 10 * i},{2499700 - 10 * i}" for i in range(20)]
    found, notes = read("\n".join(["lon,lat,UTM_E,UTM_N", *rows]))
    assert found["X"].tolist() == [500300 + 10 * i for i in range(20)]
    assert any("coordinates are UTM_E, UTM_N, not lon, lat" in note for note in notes)


def test_of_two_pairs_of_coordinates_a_column_of_zones_places_the_metres(read):
    rows = [f"{500300 + 10 * i},{2499700 - 10 * i},50N,117,22.6" for i in range(20)]
    found, notes = read("\n".join(["UTM_E,UTM_N,zone,lon,lat", *rows]))
    assert len(np.unique(found["X"])) == 20
    assert any("coordinates are UTM_E, UTM_N, not lon, lat" in note for note in notes)


def workbook(path, sheets: dict[str, list[tuple]]):
    """Writes a spreadsheet: rows of X, Y, v and a date by sheet."""
    path.unlink(missing_ok=True)
    book = ogr.GetDriverByName(path.suffix[1:].upper()).CreateDataSource(str(path))
    for sheet, rows in sheets.items():
        layer = book.CreateLayer(sheet)
        for name, kind in (("X", ogr.OFTReal), ("Y", ogr.OFTReal), ("v", ogr.OFTInteger), ("date", ogr.OFTDate)):
            layer.CreateField(ogr.FieldDefn(name, kind))
        for row in rows:
            feature = ogr.Feature(layer.GetLayerDefn())
            for i, value in enumerate(row):
                feature.SetField(i, value)
            layer.CreateFeature(feature)
    del book


@pytest.mark.parametrize("kind", SHEETS_READ)
def test_a_spreadsheet_is_a_table(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    path, point = tmp_path / f"t.{kind.lower()}", (X + 0.123, Y, -3, "2008/05/12")
    workbook(path, {"slides": [point], "notes": []})
    table, _ = points_of(path, "inventory", GRID, 0)
    assert table.to_numpy().tolist() == [[-3, "2008/05/12", X + 0.123, Y]]
    workbook(path, {"slides": [point], "older": [(X, Y + 50, 4, "1999/01/31")]})
    with pytest.raises(InputError, match=rf"^t.{kind.lower()}: expected one sheet with rows, found slides, older; name "
                                         rf"one \(t.{kind.lower()}\|layername=<sheet>\), or save it as CSV$"):
        points_of(path, "inventory", GRID, 0)
    assert points_of(f"{path}|layername=older", "inventory", GRID, 0)[0]["v"].tolist() == [4]
    with pytest.raises(InputError, match="expected a sheet 'x', found slides, older; name one"):
        points_of(f"{path}|layername=x", "inventory", GRID, 0)
    workbook(path, {"s": [(X, Y, 4)]})
    with ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.write(path, path.name)
    assert points_of(tmp_path / "t.zip", "inventory", GRID, 0)[0]["v"].tolist() == [4]
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=f"^t.{kind.lower()}: inventory: expected a whole table, found: "):
        points_of(path, "inventory", GRID, 0)


@pytest.mark.parametrize("kind", SHEETS_READ)
def test_a_sheet_of_texts_has_its_header_in_its_first_row(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    book = ogr.GetDriverByName(kind).CreateDataSource(str(tmp_path / f"t.{kind.lower()}"))
    layer = book.CreateLayer("s")
    for name in ("2019", "X", "Y"):
        layer.CreateField(ogr.FieldDefn(name, ogr.OFTString))
    feature = ogr.Feature(layer.GetLayerDefn())
    for i, value in enumerate(("a", f"{X}".replace(".", ","), f"{Y}".replace(".", ","))):
        feature.SetField(i, value)
    layer.CreateFeature(feature)
    del feature, layer, book
    table, _ = points_of(tmp_path / f"t.{kind.lower()}", "inventory", GRID, 0)
    assert table[["X", "Y"]].to_numpy().tolist() == [[X, Y]]


def test_a_text_table_by_the_name_of_a_spreadsheet(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    (tmp_path / "t.xls").write_text(f"X\tY\n{X}\t{Y}\n")
    assert points_of(tmp_path / "t.xls", "inventory", GRID, 0)[0].to_numpy().tolist() == [[X, Y]]
