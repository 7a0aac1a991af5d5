"""What people hand to prepare_region.py: what cannot be used gets one line, exit code 2 and leaves nothing behind; what
can be read in only one way is read so."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
import small_region as area
from conftest import contents, run_stage
from osgeo import gdal, ogr
from small_region import COLS, EPSG, NODATA, NORTH, PLACE, ROWS, WEST, square, write_points, write_raster, write_vector

import prepare_region
from lsm.run.paths import Paths
from lsm.run.settings import InputError

PATHS = Paths("own")


@pytest.fixture
def raw(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    area.write_area(PATHS.raw)
    return PATHS.raw


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """The tables of the area as it should be: samples without InSAR, grid."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LSM_ROOT", str(tmp_path_factory.mktemp("clean")))
        area.write_area(PATHS.raw)
        area.prepare(prepare_region)
        return pd.read_csv(PATHS.samples_without_insar), pd.read_csv(PATHS.grid)


def refused(tmp_path, *settings: str) -> str:
    before = contents(tmp_path)
    with pytest.raises(InputError) as caught:
        area.prepare(prepare_region, *settings)
    assert contents(tmp_path) == before
    message = str(caught.value)
    assert "\n" not in message
    assert str(tmp_path) not in message
    return message


def replace_inventory(raw, name: str) -> object:
    (raw / "inventory.csv").unlink()
    return raw / name


# refused --------------------------------------------------------------------------------------------------------

def degrees(raw):
    place = (117.0, 3e-4, 0, 22.6, 0, -3e-4)
    write_raster(raw / "dem.tif", area.heights(), epsg=4326, place=place)


def shapefile_without_crs(raw):
    write_vector(replace_inventory(raw, "inventory.shp"), [f"POINT ({WEST + 500} {NORTH - 500})"], epsg=None,
                 driver="ESRI Shapefile", shape_type=ogr.wkbPoint)


def no_features(raw):
    path = replace_inventory(raw, "inventory.gpkg")
    dataset = gdal.GetDriverByName("GPKG").Create(str(path), 0, 0, 0, gdal.GDT_Unknown)
    dataset.CreateLayer("slides", area.crs_of(EPSG), ogr.wkbPoint)


def insar(raw, velocity, header="X,Y,velocity"):
    xy = area.landslides()
    lines = [header, *(f"{x},{y},{v}" for (x, y), v in zip(xy, velocity, strict=True))]
    (raw / "insar.csv").write_text("\n".join(lines))


def half_a_dem(raw):
    write_raster(raw / "dem.tif", np.kron(area.heights(), np.ones((10, 10))), place=(WEST, 3, 0, NORTH, 0, -3))
    (raw / "dem.tif").write_bytes((raw / "dem.tif").read_bytes()[:500_000])


def quote_left_open(raw):
    lines = ["X,Y,name", *(f"{x},{y},a" for x, y in np.tile(area.landslides(), (100, 1)))]
    lines[3] = lines[3].replace(",a", ',"a')
    (raw / "inventory.csv").write_text("\n".join(lines))


BROKEN = {
    "DEM in degrees": (degrees, (),
                       r"dem.tif: DEM: CRS: .*projected one in metres, found WGS 84 in degree; .*EPSG=32650$"),
    "DEM without CRS": (lambda raw: write_raster(raw / "dem.tif", area.heights(), epsg=None), (),
                        "dem.tif: DEM: CRS: expected one, found none; set it: .*epsg=<code>"),
    "DEM without place": (lambda raw: write_raster(raw / "dem.tif", area.heights(), place=None), (),
                          "dem.tif: DEM: expected a geotransform, found none; georeference"),
    "DEM of 0 bytes": (lambda raw: (raw / "dem.tif").write_bytes(b""), (), "dem.tif: DEM: .*found 0 bytes; copy"),
    "DEM that is none": (lambda raw: (raw / "dem.tif").write_text("heights"), (),
                         "dem.tif: DEM: .*GDAL opens, found none"),
    "DEM of three bands": (lambda raw: write_raster(raw / "dem.tif", area.heights(), bands=3), (),
                           r"dem.tif: DEM: expected one band, found 3; pick one: .*dem.tif\|band="),
    "DEM all nodata": (lambda raw: write_raster(raw / "dem.tif", np.full((ROWS, COLS), NODATA)), (),
                       "dem.tif: DEM: expected values, found nodata alone; check its nodata"),
    "half a DEM": (half_a_dem, (), "dem.tif: DEM: expected a whole raster, found: src_data/own/raw/dem.tif.*; copy"),
    "gaps that the DEM does not declare": (
        lambda raw: write_raster(raw / "dem.tif", with_hole(area.heights(), 6, -32768), nodata=None), (),
        "dem.tif: DEM: expected heights from -500 to 9000 m, found -32768; .*dem.tif.nodata=-32768"),
    "heights in centimetres": (lambda raw: write_raster(raw / "dem.tif", 100 * area.heights()), (),
                               "dem.tif: DEM: expected heights from -500 to 9000 m, found 3899.*another unit"),
    "DEM of complex numbers": (lambda raw: write_raster(raw / "dem.tif", area.heights(), kind=gdal.GDT_CFloat32), (),
                               "dem.tif: DEM: expected real numbers, found complex ones; export"),
    "DEM of a few cells": (lambda raw: write_raster(raw / "dem.tif", np.ones((2, 2))), (),
                           "dem.tif: DEM: expected a grid of 3 x 3 to .* cells, found 2 x 2 of 30 m; take"),
    "cells of a millimetre": (lambda raw: None, ("CELL=0.001",), "found 1800000 x 2400000 of 0.001 m; take another C"),
    "an EPSG in degrees": (lambda raw: None, ("EPSG=4326",),
                           "^EPSG=4326: expected a projected CRS in metres, found WGS 84 in degree; .*EPSG=32650$"),
    "no DEM": (lambda raw: (raw / "dem.tif").unlink(), (),
               r"raw: expected dem\.\*, found .*inventory.*; give the file a name like this, or DEM=<file>"),
    "unknown EPSG": (lambda raw: None, ("EPSG=999999",), "^EPSG=999999: expected the EPSG code of a CRS, found none"),
    "header only": (lambda raw: (raw / "inventory.csv").write_text("X,Y\n"), (),
                    "inventory.csv: inventory: expected points, found a header only"),
    "inventory of 0 bytes": (lambda raw: (raw / "inventory.csv").write_bytes(b""), (),
                             "inventory.csv: .*found 0 bytes"),
    "inventory outside": (lambda raw: write_points(raw / "inventory.csv", area.landslides() + 1e5), (),
                          r"inventory: expected points on the DEM \(X 500000 to 502400.* 120 of 120 outside .*; check"),
    "X and Y swapped": (lambda raw: write_points(raw / "inventory.csv", area.landslides()[:, ::-1]), (),
                        "inventory: .*; X and Y seem to be swapped"),
    "X and Y in degrees": (lambda raw: write_points(raw / "inventory.csv", np.full((9, 2), (117.01, 22.59))), (),
                           "inventory.csv: columns X, Y: expected metres .*found what looks like degrees .117.01, "),
    "longitude for latitude": (
        lambda raw: write_points(raw / "inventory.csv", np.full((9, 2), (22.6, 117.01)), "lon,lat"), (),
        "inventory.csv: columns lon, lat: expected coordinates of EPSG:4326, found 22.6 .*117.01; longitude "
        "and latitude seem to be swapped"),
    "another POINTS_EPSG": (lambda raw: write_points(raw / "inventory.csv", area.landslides() + 1e6),
                            ("POINTS_EPSG=4326",),
                            "inventory.csv: columns X, Y: expected coordinates of EPSG:4326, found 1.*POINTS_EPSG"),
    "a column twice": (lambda raw: write_points(raw / "inventory.csv", area.landslides(), "X,X"), (),
                       "inventory.csv: header: expected different names, found 'X' twice; rename"),
    "a quote left open": (quote_left_open, (), "inventory.csv: line 4: expected quotes in pairs .*; correct the row"),
    "a coordinate without end": (lambda raw: (raw / "inventory.csv").write_text("X,Y\n500100,inf\n"), (),
                                 "inventory.csv: point 1, column 'Y': expected a number, found 'inf'; write the"),
    "no coordinates": (lambda raw: write_points(raw / "inventory.csv", area.landslides(), "a,b"), (),
                       "inventory.csv: header: expected columns X and Y .*found a, b; rename"),
    "a coordinate that is no number": (lambda raw: (raw / "inventory.csv").write_text("X,Y\n500100,here\n"), (),
                                       "inventory.csv: point 1, column 'Y': expected a number, found 'here'; write"),
    "decimal commas between commas": (lambda raw: (raw / "inventory.csv").write_text("X,Y\n500100,5,2499000,5\n"), (),
                                      "inventory.csv: line 2: expected 2 columns .*found 4; decimal commas"),
    "zero bytes": (lambda raw: (raw / "inventory.csv").write_bytes(b"X,Y\n500100\0,2499000\n"), (),
                   "inventory.csv: .*UTF-16 or binary.*; save it as CSV in UTF-8"),
    "layer without features": (no_features, (), "inventory.gpkg: inventory: expected features, found none; export"),
    "GeoPackage without CRS": (lambda raw: write_vector(replace_inventory(raw, "inventory.gpkg"), [square(5, 5, 3, 3)],
                                                        epsg=None), (),
                               "inventory.gpkg: inventory: CRS: expected one, found none; set it"),
    "shapefile without CRS": (shapefile_without_crs, (), "inventory.shp: inventory: CRS: .*found none; .*prj"),
    "inventory of lines": (lambda raw: write_vector(replace_inventory(raw, "inventory.gpkg"),
                                                    [f"LINESTRING ({WEST} {NORTH}, {WEST + 99} {NORTH - 99})"]), (),
                           "inventory.gpkg: inventory: expected points or polygons, found 1 features that are neither"),
    "two layers": (lambda raw: write_vector(replace_inventory(raw, "inventory.gpkg"), [square(5, 5, 3, 3)],
                                            layers=("old", "new")), (),
                   r"inventory: expected one layer, found old, new; name it: inventory.gpkg\|layername="),
    "two inventories": (lambda raw: shutil.copy(raw / "inventory.csv", raw / "inventory.shp"), (),
                        "expected one file for INVENTORY, found inventory.csv, inventory.shp; name one: INVENTORY="),
    "stable places are the landslides": (lambda raw: shutil.copy(raw / "inventory.csv", raw / "stable.csv"), (),
                                         "stable.csv: stable places: expected places apart from landslides, found"),
    "no stable place": (lambda raw: (raw / "stable.csv").write_text("X,Y\n"), (),
                        "stable.csv: stable places: expected points, found a header only"),
    "NDVI as grey values": (lambda raw: write_raster(raw / "ndvi.tif", np.full((ROWS, COLS), 200)), (),
                            "ndvi.tif: NDVI: expected values from -1 to 1 .*found 99 % up to 200; set NDVI_SCALE"),
    "NDVI elsewhere": (lambda raw: write_raster(raw / "ndvi.tif", np.ones((ROWS, COLS)),
                                                place=(WEST + 1e5, 30, 0, NORTH, 0, -30)), (),
                       "ndvi.tif: NDVI: expected .* on the grid .*found none"),
    "NDVI on a corner": (lambda raw: write_raster(raw / "ndvi.tif", np.full((20, 20), 0.5)), (),
                         "^NDVI: expected every factor on 50% of the DEM's cells, found it on 8.3%.*; take a layer"),
    "roads elsewhere": (lambda raw: write_vector(raw / "roads.gpkg", ["LINESTRING (0 0, 9 9)"]), (),
                        r"roads.gpkg: dis2road: expected features on the grid .*, found none there; check"),
    "classes that are a measure": (lambda raw: write_raster(raw / "land_use.tif", area.heights()), (),
                                   r"land_use.tif: land use: expected at most 100 whole-number .*, found 1\d+\.\d+"),
    "classes elsewhere": (lambda raw: write_vector(raw / "lithology.gpkg", ["POLYGON ((0 0, 9 0, 9 9, 0 0))"],
                                                   {"rock": ["tuff"]}), (),
                          "lithology.gpkg: lithology: expected classes on the DEM .*, found none there; check"),
    "classes of lines": (lambda raw: write_vector(raw / "lithology.gpkg", ["LINESTRING (5e5 25e5, 502e3 2499e3)"],
                                                  {"rock": ["tuff"]}), (),
                         "lithology.gpkg: lithology: expected polygons, found lines or points; export"),
    "one catchment": (lambda raw: write_vector(raw / "catchments.gpkg", [square(0, 0, ROWS, COLS)]), (),
                      "catchments.gpkg: dis2catchment: expected borders between polygons .*, found none there"),
    "no streams": (lambda raw: None, ("CHANNEL=1000000",), "^CHANNEL=1000000: dis2drainage: expected streams, found"),
    "codes of no region": (lambda raw: None, ("CODES_OF=far",), "^CODES_OF=far: src_data/far/factors.json: missing"),
    "no field of classes": (lambda raw: write_vector(raw / "lithology.gpkg", [square(0, 0, ROWS, COLS)],
                                                     {"rock": ["tuff"], "age": ["old"]}), (),
                            r"expected one field of classes, found rock \(1 class: tuff\), age \(1 class: old\); name"),
    "another field of classes": (lambda raw: None, ("LITHOLOGY_FIELD=roc",),
                                 "lithology: expected a field 'roc', found rock; .*LITHOLOGY_FIELD="),
    "InSAR in m/yr": (lambda raw: insar(raw, np.linspace(-0.02, 0.02, 120)), (),
                      "insar.csv: velocities: expected mm/yr, found 99 % below .*; give INSAR_UNIT"),
    "InSAR that races": (lambda raw: insar(raw, np.linspace(-20, 20, 120)), ("INSAR_UNIT=m/yr",),
                         "insar.csv: velocities: expected m/yr, found half of them above .* mm/yr; give INSAR"),
    "InSAR without end": (lambda raw: insar(raw, [5.0] * 119 + ["inf"]), (),
                          "insar.csv: point 120, column 'velocity': expected a number, found 'inf'"),
    "InSAR of polygons": (lambda raw: write_vector(raw / "insar.gpkg", [square(5, 5, 3, 3)], {"velocity": ["3"]}), (),
                          "insar.gpkg: InSAR points: feature 1: expected a point, found polygon; turn"),
    "InSAR without velocity": (lambda raw: insar(raw, np.ones(120), "X,Y,speed"), (),
                               "insar.csv: header: expected a column named one of velocity, .*, found X, Y, speed;"),
    "half a geometry of InSAR": (lambda raw: insar(raw, [f"{v},39" for v in range(120)], "X,Y,velocity,incidence"), (),
                                 "insar.csv: header: expected columns heading and incidence .*, found no heading; add"),
    "a region that is a path": (lambda raw: None, ("REGION=../own",), "^REGION=../own: expected letters, digits"),
    "a share above 1": (lambda raw: None, ("COVER=50.0",), "^COVER=50.0: expected a share"),
    "a strategy that is none": (lambda raw: None, ("STRATEGY=best",), "^STRATEGY=best: expected one of random, slope"),
    "no cell beyond the buffer": (lambda raw: None, ("STRATEGY=buffer", "BUFFER=9000."),
                                  "expected free cells .*BUFFER"),
}


@pytest.mark.parametrize(("change", "settings", "expected"), BROKEN.values(), ids=BROKEN)
def test_refused(tmp_path, raw, change, settings, expected):
    change(raw)
    message = refused(tmp_path, *settings)
    assert re.search(expected, message), message


def test_tables_of_others_stay(tmp_path, raw):
    PATHS.samples.write_text("by hand\n")
    assert re.search("^src_data/samples_own.csv: .*; choose another REGION, or replace it with OVER", refused(tmp_path))
    area.prepare(prepare_region, "OVERWRITE=True")
    area.prepare(prepare_region)  # its own it replaces
    assert len(pd.read_csv(PATHS.samples)) == 240


def test_exit_code_and_one_line(tmp_path, raw):
    (raw / "dem.tif").write_bytes(b"")
    done = run_stage(tmp_path, "prepare_region.py", "REGION=own")
    assert done.returncode == 2
    assert re.fullmatch(r".*prepare_region.py: src_data/own/raw/dem.tif: DEM: .*\n", done.stderr)


# read as meant --------------------------------------------------------------------------------------------------

def grid_of_changed(*settings) -> pd.DataFrame:
    area.prepare(prepare_region, *settings)
    return pd.read_csv(PATHS.grid)


def with_hole(values, size: int, nodata: float) -> np.ndarray:
    values = values.copy()
    values[30:30 + size, 40:40 + size] = nodata
    return values


def test_nan_is_nodata_like_any(raw, clean):
    write_raster(raw / "dem.tif", with_hole(area.heights(), 6, np.nan), nodata=None)
    with_nan = grid_of_changed()
    write_raster(raw / "dem.tif", with_hole(area.heights(), 6, np.nan), nodata=NODATA)  # nan beside a declared one
    both = grid_of_changed()
    write_raster(raw / "dem.tif", with_hole(area.heights(), 6, -32768), nodata=-32768)
    pd.testing.assert_frame_equal(with_nan, grid_of_changed())
    pd.testing.assert_frame_equal(with_nan, both)
    assert len(with_nan) == len(clean[1]) - 36


def test_whole_number_heights(raw):
    write_raster(raw / "dem.tif", area.heights().round(), kind=gdal.GDT_Int16, nodata=-32768)
    np.testing.assert_array_equal(grid_of_changed()["DEM"], area.heights().round().ravel())


def test_small_holes_are_filled_and_large_ones_stay(raw, clean, capsys):
    write_raster(raw / "dem.tif", with_hole(area.heights(), 2, NODATA))
    filled = grid_of_changed()
    assert "4 cells in holes of at most 10 cells filled" in capsys.readouterr().out
    assert len(filled) == len(clean[1])
    assert (filled["DEM"] - clean[1]["DEM"]).abs().max() < 5
    assert len(grid_of_changed("HOLES=3")) == len(clean[1]) - 4


def test_a_turned_dem_is_warped_north_up(raw):
    turn = np.radians(20)
    place = (WEST, 30 * np.cos(turn), 30 * np.sin(turn), NORTH, 30 * np.sin(turn), -30 * np.cos(turn))
    write_raster(raw / "dem.tif", area.heights(), place=place)
    xy = np.array([(WEST + c * place[1] + r * place[2], NORTH + c * place[4] + r * place[5])
                   for r, c in ((10.5, 20.5), (30.5, 40.5), (50.5, 60.5))])
    write_points(raw / "inventory.csv", xy)
    for name in ("ndvi.tif", "lithology.gpkg", "roads.gpkg"):
        (raw / name).unlink()
    area.prepare(prepare_region)
    found = pd.read_csv(PATHS.samples).query("label == 1").sort_values("Y", ascending=False)
    expected = [area.heights()[r, c] for r, c in ((10, 20), (30, 40), (50, 60))]
    np.testing.assert_allclose(found["DEM"].sort_values(), np.sort(expected), atol=4)


def test_degrees_with_a_crs_to_warp_to(raw):
    degrees(raw)
    for name in ("ndvi.tif", "lithology.gpkg", "roads.gpkg"):
        (raw / name).unlink()
    (raw / "inventory.csv").write_text("lon,lat\n117.00495,22.59505\n117.01005,22.58995\n")  # centres of cells
    area.prepare(prepare_region, "EPSG=32650")
    found = pd.read_csv(PATHS.samples).query("label == 1").sort_values("X")
    expected = [area.heights()[16, 16], area.heights()[33, 33]]
    np.testing.assert_allclose(found["DEM"], expected, atol=4)


@pytest.mark.parametrize("change", ["shifted", "other CRS"])
def test_a_layer_on_another_grid_is_resampled(raw, clean, change):
    if change == "shifted":
        row, col = np.mgrid[:ROWS + 2, :COLS + 2] - 0.6
        place = (WEST - 1.1 * 30, 30, 0, NORTH + 1.1 * 30, 0, -30)  # centres at rows and columns - 0.6 - 0.5 + 0.5
        values = np.linspace(-0.1, 0.8, ROWS * COLS)
        step = values[1] - values[0]
        write_raster(raw / "ndvi.tif", values[0] + ((row - 0.5) * COLS + (col - 0.5)) * step, place=place)
    else:
        gdal.Warp(str(raw / "other.tif"), str(raw / "ndvi.tif"), dstSRS="EPSG:4326", dstNodata=NODATA)
        (raw / "other.tif").replace(raw / "ndvi.tif")
    both = clean[1].merge(grid_of_changed("COVER=0.4"), on=["X", "Y"])
    assert len(both) > 0.9 * len(clean[1])
    inner = both.query("X > 500100 and X < 502300")  # rows jump from end to start at the sides
    assert (inner["NDVI_x"] - inner["NDVI_y"]).abs().median() < 100
    np.testing.assert_array_equal(inner["DEM_x"], inner["DEM_y"])


def test_csv_as_offices_write_it(raw, clean):
    xy = area.landslides()
    rows = [f"Rutschung Nr. {i} Höhe;{x:.2f};{y:.2f}".replace(".", ",") for i, (x, y) in enumerate(xy)]
    (raw / "inventory.csv").write_bytes("\r\n".join(["Name;X;Y", *rows]).encode("latin-1"))
    area.prepare(prepare_region)
    pd.testing.assert_frame_equal(pd.read_csv(PATHS.samples_without_insar), clean[0])


def test_empty_lines_in_a_csv_are_none(raw, clean):
    text = (raw / "inventory.csv").read_text()
    (raw / "inventory.csv").write_text("\n\n" + text.replace("\n", "\n\n"))
    area.prepare(prepare_region)
    pd.testing.assert_frame_equal(pd.read_csv(PATHS.samples_without_insar), clean[0])


def test_insar_points_may_be_a_layer_in_another_crs(raw):
    insar(raw, np.linspace(-20, 20, 120))
    in_table = grid_of_changed()
    shapes = [f"POINT Z ({x} {y} 9)" for x, y in area.landslides()]
    write_vector(raw / "metres.gpkg", shapes, {"V_LOS": [str(v) for v in np.linspace(-20, 20, 120)]})
    gdal.VectorTranslate(str(raw / "insar.gpkg"), str(raw / "metres.gpkg"), dstSRS="EPSG:4326", reproject=True)
    (raw / "insar.csv").unlink()
    pd.testing.assert_frame_equal(in_table, grid_of_changed())
    assert (in_table["DV"] != 0).sum() == 120


def test_insar_points_as_offices_write_them(raw):
    insar(raw, np.linspace(-20, 20, 120))
    plain = grid_of_changed()
    text = (raw / "insar.csv").read_text().replace(",", ";").replace(".", ",").replace("velocity", "velocity;Ort")
    (raw / "insar.csv").write_bytes("\n".join(f"{line};Höhe" if i else line for i, line in enumerate(
        text.splitlines())).encode("latin-1"))
    pd.testing.assert_frame_equal(plain, grid_of_changed())


def test_a_dem_of_a_catchment_among_insar_points_of_a_rectangle(raw):
    heights = area.heights()
    heights[:, 30:] = NODATA
    write_raster(raw / "dem.tif", heights)
    slides = area.landslides()
    write_points(raw / "inventory.csv", slides[slides[:, 0] < WEST + 800])
    insar(raw, np.linspace(-20, 20, 120))
    assert (grid_of_changed()["DV"] != 0).sum() < 60  # the points beyond the catchment are left out


@pytest.mark.parametrize("form", ["multipart", "3-D", "shapefile in degrees"])
def test_points_in_other_forms(raw, clean, form):
    xy = area.landslides()
    if form == "multipart":
        shapes = [f"MULTIPOINT ({', '.join(f'{x:.2f} {y:.2f}' for x, y in xy)})"]
    else:
        shapes = [f"POINT Z ({x:.2f} {y:.2f} 77)" for x, y in xy]
    if form == "shapefile in degrees":
        write_vector(raw / "metres.gpkg", [s.replace(" Z", "").replace(" 77", "") for s in shapes])
        gdal.VectorTranslate(str(replace_inventory(raw, "inventory.shp")), str(raw / "metres.gpkg"),
                             format="ESRI Shapefile", dstSRS="EPSG:4326", reproject=True)
    else:
        write_vector(replace_inventory(raw, "inventory.gpkg"), shapes)
    area.prepare(prepare_region)
    found = pd.read_csv(PATHS.samples_without_insar)
    np.testing.assert_allclose(found[["X", "Y"]], clean[0][["X", "Y"]], atol=0.02)
    pd.testing.assert_frame_equal(found.drop(columns=["X", "Y"]), clean[0].drop(columns=["X", "Y"]))


@pytest.mark.parametrize("form", ["plain", "multipart", "3-D", "bow tie"])
def test_polygons_in_other_forms_give_their_highest_cells(raw, form):
    a, b = (10, 10), (40, 60)
    shapes = [square(*a, 4, 6), square(*b, 4, 6)]
    if form == "multipart":
        shapes = [f"MULTIPOLYGON ({', '.join(s.removeprefix('POLYGON ') for s in shapes)})"]
    elif form == "3-D":
        shapes = [re.sub(r"(\d+\.\d) (\d+\.\d)", r"\1 \2 5", s).replace("POLYGON", "POLYGON Z") for s in shapes]
    elif form == "bow tie":  # two triangles that meet in a point
        w, n = WEST + 300, NORTH - 300
        shapes = [f"POLYGON (({w} {n}, {w + 180} {n - 180}, {w + 180} {n}, {w} {n - 180}, {w} {n}))", shapes[1]]
    write_vector(replace_inventory(raw, "inventory.gpkg"), shapes)
    area.prepare(prepare_region)
    found = pd.read_csv(PATHS.samples).query("label == 1")
    if form == "bow tie":
        assert len(found) in (2, 3)
    else:
        z = area.heights()
        expected = [z[r:r + 4, c:c + 6].max() for r, c in (a, b)]
        np.testing.assert_allclose(np.sort(found["DEM"]), np.sort(expected), atol=1e-4)


def test_place_is_that_of_the_dem(clean):
    x, y = clean[1][["X", "Y"]].to_numpy().T
    assert (x.min(), y.max()) == (PLACE[0] + 15, PLACE[3] - 15)
    assert len(clean[1]) == ROWS * COLS
