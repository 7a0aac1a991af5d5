"""Vector files of any form: what they say is honoured, what cannot be used is left out and counted, or refused."""

import shutil
import zipfile

import numpy as np
import pytest
from osgeo import gdal, ogr
from small_region import CELL, COLS, NORTH, PLACE, ROWS, WEST, crs_of, square, write_raster, write_vector

from lsm.inputs.rasters import Grid
from lsm.inputs.vectors import burn, is_areal
from lsm.run.settings import InputError
from lsm.sources.files import File
from lsm.sources.vector_files import only_areas, open_vector

GRID = Grid(ROWS, COLS, PLACE, crs_of(32650).ExportToWkt())
X, Y = WEST + 10 * CELL, NORTH - 10 * CELL


def shapes_of(dataset) -> list[ogr.Geometry]:
    return [feature.GetGeometryRef().Clone() for feature in dataset.GetLayer(0)]


def test_empty_features_are_left_out_and_counted(tmp_path):
    write_vector(tmp_path / "c.gpkg", ["POLYGON EMPTY", square(0, 0, ROWS, 40), square(0, 40, ROWS, 40), "POINT EMPTY"])
    notes = []
    vector = open_vector(tmp_path / "c.gpkg", "dis2catchment", GRID, notes)
    assert len(shapes_of(vector)) == 2
    assert is_areal(vector)
    assert notes == [f"{tmp_path / 'c.gpkg'}: dis2catchment: left out: 2 features without a geometry"]
    assert open_vector(tmp_path / "c.gpkg", "dis2catchment", GRID).GetLayer(0).GetFeatureCount() == 4
    write_vector(tmp_path / "none.gpkg", ["POLYGON EMPTY"])
    with pytest.raises(InputError, match="expected features with a geometry, found 1 without"):
        open_vector(tmp_path / "none.gpkg", "roads", GRID, [])


@pytest.mark.parametrize(("driver", "end"), [("GPKG", "gpkg"), ("ESRI Shapefile", "shp")])
def test_a_surface_of_triangles_is_one_outline(tmp_path, capfd, driver, end):
    a, b, c, d = (f"{X + dx} {Y - dy} 5" for dx, dy in ((0, 0), (300, 0), (300, 300), (0, 300)))
    path, wall = tmp_path / f"tin.{end}", f"(({a}, {b}, {a.removesuffix('5')}9, {a}))"
    write_vector(path, [f"TIN Z ((({a}, {b}, {c}, {a})), (({a}, {c}, {d}, {a})), {wall})"], {"name": ["slide"]},
                 driver=driver, shape_type=ogr.wkbUnknown if driver == "GPKG" else ogr.wkbTINZ)
    capfd.readouterr()
    shape, = shapes_of(open_vector(path, "inventory", GRID))
    assert (shape.GetGeometryName(), shape.Area()) == ("POLYGON", 300**2)
    assert capfd.readouterr().err == ""


RING = f"({X} {Y}, {X + 300} {Y}, {X + 300} {Y - 300}, {X} {Y - 300}, {X} {Y})"
RING_Z = RING.replace(",", " 5,").replace(")", " 5)")
CIRCLE = f"CIRCULARSTRING ({X} {Y - 150}, {X + 150} {Y}, {X + 300} {Y - 150}, {X + 150} {Y - 300}, {X} {Y - 150})"
SURFACES = {
    "curve polygon": (f"CURVEPOLYGON ({CIRCLE})", np.pi * 150**2),
    "compound ring": (f"CURVEPOLYGON (COMPOUNDCURVE (CIRCULARSTRING ({X} {Y}, {X + 150} {Y + 150}, {X + 300} {Y}), "
                      f"({X + 300} {Y}, {X + 300} {Y - 300}, {X} {Y - 300}, {X} {Y})))", 300**2 + np.pi * 150**2 / 2),
    "multi-surface": (f"MULTISURFACE (({RING}), CURVEPOLYGON ({CIRCLE}))", None),
    "polyhedral surface": (f"POLYHEDRALSURFACE Z (({RING_Z}))", 300**2),
    "TIN": (f"TIN Z ((({X} {Y} 0, {X + 300} {Y} 0, {X} {Y - 300} 0, {X} {Y} 0)), "
            f"(({X + 300} {Y} 0, {X + 300} {Y - 300} 0, {X} {Y - 300} 0, {X + 300} {Y} 0)))", 300**2),
    "collection": (f"GEOMETRYCOLLECTION (POLYGON ({RING}))", 300**2),
    "a pin and an outline": (f"GEOMETRYCOLLECTION (POINT (0 0), POLYGON ({RING}))", 300**2)}


@pytest.mark.parametrize(("wkt", "area"), SURFACES.values(), ids=SURFACES)
def test_every_surface_is_a_polygon(tmp_path, wkt, area):
    write_vector(tmp_path / "s.gpkg", [wkt])
    vector = open_vector(tmp_path / "s.gpkg", "inventory", GRID, [])
    shapes = shapes_of(vector)
    assert {ogr.GT_Flatten(s.GetGeometryType()) for s in shapes} <= {ogr.wkbPolygon, ogr.wkbMultiPolygon}
    assert burn(vector, GRID, tmp_path / "b.tif").ReadAsArray().sum() >= 70
    if area:
        assert sum(s.GetArea() for s in shapes) == pytest.approx(area, rel=0.001)


def test_curves_are_stroked(tmp_path):
    write_vector(tmp_path / "r.gpkg", [f"COMPOUNDCURVE (({X} {Y}, {X + 100} {Y}), CIRCULARSTRING ({X + 100} {Y}, "
                                       f"{X + 150} {Y + 50}, {X + 200} {Y}))"])
    line, = shapes_of(open_vector(tmp_path / "r.gpkg", "roads", GRID, []))
    assert line.GetGeometryName() == "LINESTRING"
    assert line.Length() == pytest.approx(100 + 50 * np.pi, rel=0.001)


def latin_shapefile(folder) -> None:
    """A Shapefile whose texts are Windows-1252 without a .cpg file and without a code page in its header."""
    write_vector(folder / "l.shp", [square(0, 0, 9, 9), square(9, 9, 9, 9)], {"roche": ["gres", "eboulis"]},
                 driver="ESRI Shapefile", shape_type=ogr.wkbPolygon)
    (folder / "l.cpg").unlink(missing_ok=True)
    table = (folder / "l.dbf").read_bytes().replace(b"gres", b"gr\xe8s").replace(b"eboulis", b"\xe9bou\x96is")
    (folder / "l.dbf").write_bytes(table[:29] + b"\0" + table[30:])


def test_windows_1252_without_cpg(tmp_path):
    latin_shapefile(tmp_path)
    notes = []
    vector = open_vector(tmp_path / "l.shp", "lithology", GRID, notes)
    assert [f.GetField("roche") for f in vector.GetLayer(0)] == ["grès", "ébou–is"]
    assert "read as Windows-1252" in notes[0]


def test_tables_without_geometry_are_no_layers(tmp_path):
    write_vector(tmp_path / "i.gpkg", [square(5, 5, 3, 3)])
    dataset = gdal.OpenEx(str(tmp_path / "i.gpkg"), gdal.OF_UPDATE)
    dataset.CreateLayer("layer_styles", None, ogr.wkbNone)
    dataset = None
    assert len(shapes_of(open_vector(tmp_path / "i.gpkg", "inventory", GRID, []))) == 1


def test_the_layer_of_several(tmp_path):
    write_vector(tmp_path / "roads.gpkg", [square(5, 5, 3, 3)], layers=("Roads", "paths"))
    notes = []
    open_vector(tmp_path / "roads.gpkg", "dis2road", GRID, notes)
    assert "layer Roads of Roads, paths is read" in notes[0]
    write_vector(tmp_path / "r.gpkg", [square(5, 5, 3, 3)], layers=("a", "b"))
    with pytest.raises(InputError, match=r"expected one layer, found a, b; name it: r.gpkg\|layername="):
        open_vector(tmp_path / "r.gpkg", "dis2road", GRID)
    assert len(shapes_of(open_vector(f"{tmp_path / 'r.gpkg'}|layername=b", "dis2road", GRID, []))) == 1


def test_geojson_in_metres(tmp_path):
    (tmp_path / "i.geojson").write_text(f'{{"type": "Feature", "properties": {{}}, "geometry": {{"type": "Point", '
                                        f'"coordinates": [{X}, {Y}]}}}}')
    with pytest.raises(InputError, match=r"GeoJSON is in degrees of WGS 84, found coordinates .*"
                                         r'i.geojson\|epsg=<code>", or export it in degrees'):
        open_vector(tmp_path / "i.geojson", "inventory", GRID)
    point, = shapes_of(open_vector(f"{tmp_path / 'i.geojson'}|epsg=32650", "inventory", GRID, []))
    assert (point.GetX(), point.GetY()) == (X, Y)


def test_a_crs_behind_the_name(tmp_path):
    write_vector(tmp_path / "i.shp", [f"POINT ({X} {Y})"], epsg=None, driver="ESRI Shapefile", shape_type=ogr.wkbPoint)
    with pytest.raises(InputError, match=r'CRS: expected one, found none; set it: ROADS=".*\|epsg=<code>"'):
        open_vector(tmp_path / "i.shp", "dis2road", GRID)
    point, = shapes_of(open_vector(f"{tmp_path / 'i.shp'}|epsg=32650", "dis2road", GRID, []))
    assert (point.GetX(), point.GetY()) == (X, Y)
    with pytest.raises(InputError, match=r"\|epsg=utm: expected a whole number"):
        open_vector(f"{tmp_path / 'i.shp'}|epsg=utm", "dis2road", GRID)
    with pytest.raises(InputError, match=r"expected \|<option>=<value> of layername, .*found \|crs"):
        open_vector(f"{tmp_path / 'i.shp'}|crs=1", "dis2road", GRID)


def test_what_lies_beside_the_data_in_an_archive(tmp_path):
    write_vector(tmp_path / "r.gpkg", ["LINESTRING (0 0, 1 1)"])
    with zipfile.ZipFile(tmp_path / "r.zip", "w") as archive:
        archive.write(tmp_path / "r.gpkg", "data/r.gpkg")
        archive.writestr("readme.txt", "by ...")
        archive.writestr("preview.PNG", "...")
    assert File.of(tmp_path / "r.zip", "dis2road").member == "data/r.gpkg"
    with zipfile.ZipFile(tmp_path / "both.zip", "w") as archive:
        archive.write(tmp_path / "r.zip", "r.zip")
    with pytest.raises(InputError, match=r"dis2road: expected data in the archive, found another archive, r.zip; unp"):
        assert not File.of(tmp_path / "both.zip", "dis2road").opened
    with zipfile.ZipFile(tmp_path / "texts.zip", "w") as archive:
        archive.writestr("points.txt", "X,Y")
    assert File.of(tmp_path / "texts.zip", "inventory").member == "points.txt"


def test_files_in_archives(tmp_path):
    write_vector(tmp_path / "roads.shp", [f"LINESTRING ({X} {Y}, {X + 90} {Y})"], driver="ESRI Shapefile",
                 shape_type=ogr.wkbLineString)
    write_vector(tmp_path / "b.geojson", ["POINT (117 22)"], driver="GeoJSON", epsg=4326)
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as archive:
        for path in tmp_path.glob("roads.*"):
            archive.write(path, f"data/{path.name}")
    assert len(shapes_of(open_vector(tmp_path / "one.zip", "dis2road", GRID, []))) == 1
    with zipfile.ZipFile(tmp_path / "one.zip", "a") as archive:
        archive.write(tmp_path / "b.geojson", "b.geojson")
    with pytest.raises(InputError, match=r"expected one file in the archive, found .*b.geojson.*; name it: ROADS="):
        open_vector(tmp_path / "one.zip", "dis2road", GRID)
    assert len(shapes_of(open_vector(f"{tmp_path / 'one.zip'}|file=roads.shp", "dis2road", GRID, []))) == 1
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    gdal.VectorTranslate(str(tmp_path / "t.gpkg"), str(tmp_path / "t.csv"))
    with pytest.raises(InputError, match=r"t.gpkg: dis2road: expected a layer of shapes, found a table without; sa"):
        open_vector(tmp_path / "t.gpkg", "dis2road", GRID)
    gdal.VectorTranslate(str(tmp_path / "r.gdb"), str(tmp_path / "roads.shp"), format="OpenFileGDB")
    shutil.make_archive(str(tmp_path / "base"), "zip", tmp_path, "r.gdb")
    assert len(shapes_of(open_vector(tmp_path / "base.zip", "dis2road", GRID, []))) == 1


def test_a_damaged_prj_is_none(tmp_path):
    write_vector(tmp_path / "a.shp", ["POINT (500045 2499900)"], {"n": ["a"]}, driver="ESRI Shapefile",
                 shape_type=ogr.wkbPoint)
    (tmp_path / "a.prj").write_text('PROJCS["WGS_1984_UTM_Zo')
    with pytest.raises(InputError, match="CRS: expected one, found none; set it"):
        open_vector(str(tmp_path / "a.shp"), "inventory", GRID)
    assert open_vector(f"{tmp_path / 'a.shp'}|epsg=32650", "inventory", GRID).GetLayer(0).GetFeatureCount() == 1


def test_latitude_before_longitude(tmp_path):
    write_vector(tmp_path / "a.geojson", ["POINT (22.6 117.001)"], driver="GeoJSON", epsg=4326)
    with pytest.raises(InputError, match="found latitude before longitude"):
        open_vector(str(tmp_path / "a.geojson"), "inventory", GRID)


def test_a_raster_in_the_place_of_a_vector(tmp_path):
    write_raster(tmp_path / "roads.tif", np.ones((3, 3)))
    with pytest.raises(InputError, match="found a raster; export the lines or areas"):
        open_vector(str(tmp_path / "roads.tif"), "dis2road", GRID)


def test_lines_among_polygons_are_left_out_and_counted(tmp_path):
    line = f"LINESTRING ({WEST} {NORTH}, {WEST + 90} {NORTH - 90})"
    write_vector(tmp_path / "p.gpkg", [square(0, 0, 5, 5), line])
    read, notes = open_vector(tmp_path / "p.gpkg", "lithology", GRID), []
    only_areas(read, "p.gpkg", notes)
    assert read.GetLayer(0).GetFeatureCount() == 1
    assert notes == ["p.gpkg: left out: 1 feature without an area"]
    write_vector(tmp_path / "l.gpkg", [line])
    with pytest.raises(InputError, match="expected polygons, found lines or points; export the areas"):
        only_areas(open_vector(tmp_path / "l.gpkg", "lithology", GRID), "l.gpkg", [])


def test_shapes_that_cannot_be_read_get_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a long path would shorten the message
    (tmp_path / "i.csv").write_text("id,geom\n1,POINT(500100 2499000)\n2,SRID=4326;POINT(117 22)\n")
    with pytest.raises(InputError, match=r"feature \d: expected one that GDAL reads, found .*; write shapes as WKT "
                                         r"without 'SRID=<code>;' before them, and INVENTORY=.*epsg=<code>"):
        open_vector("i.csv|epsg=32650", "inventory", GRID, [])


def test_a_layer_of_openstreetmap(tmp_path):
    (tmp_path / "roads.osm").write_text(
        "<osm version='0.6'><node id='1' lat='22.606' lon='117.003'/><node id='2' lat='22.592' lon='117.003'/>"
        "<way id='5'><nd ref='1'/><nd ref='2'/><tag k='highway' v='primary'/></way></osm>")
    with pytest.raises(InputError, match=r"expected one layer, found points, lines, .*\|layername=<layer>"):
        open_vector(tmp_path / "roads.osm", "dis2road", GRID, [])
    line, = shapes_of(open_vector(f"{tmp_path / 'roads.osm'}|layername=lines", "dis2road", GRID, []))
    assert line.Length() == pytest.approx(1550, rel=0.01)
