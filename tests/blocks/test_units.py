"""Own units as blocks: polygons and rasters of any form give the cells that they cover, or are refused in one line."""

import zipfile

import numpy as np
import pandas as pd
import pytest
from osgeo import gdal
from small_region import CELL, COLS, NORTH, PLACE, ROWS, WEST, crs_of, square, write_raster, write_vector

from lsm.blocks.units import doubts, read_units
from lsm.inputs.rasters import Grid
from lsm.run.settings import InputError

VALID = np.ones((ROWS, COLS), bool)
VALID[:5, :5] = False
GRID = Grid(ROWS, COLS, PLACE, crs_of(32650).ExportToWkt())
# Five units of very different sizes, by name: row, column, rows, columns of their squares; the last column is outside.
SQUARES = {"30": [(0, 0, 30, 40)], "4": [(0, 40, 30, 39)], "-7": [(30, 0, 30, 70)],
           "100": [(30, 70, 2, 9), (50, 70, 10, 9)], "12": [(32, 70, 18, 9)]}
NAMES = ["-7", "4", "12", "30", "100"]  # by value


def expected() -> np.ndarray:
    labels = np.full((ROWS, COLS), -1)
    for unit, squares in SQUARES.items():
        for row, col, rows, cols in squares:
            labels[row:row + rows, col:col + cols] = NAMES.index(unit)
    return np.where(VALID, labels, -1)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    (tmp_path / "work").mkdir()
    return tmp_path


def read(name) -> tuple:
    notes = []
    folder = next(p for p in (name.parent, *name.parents) if (p / "work").is_dir())
    labels = np.empty((ROWS, COLS), np.int32)
    places, names = read_units(str(name), GRID, lambda row, rows: VALID[row:row + rows], labels, folder / "work", notes)
    return labels, places, names, " ".join(notes)


def refused(name) -> str:
    with pytest.raises(InputError) as caught:
        read(name)
    assert len(str(caught.value)) <= 300
    return str(caught.value)


def polygons(path, parts=True, **options):
    """The units of SQUARES in the field "cat": of several parts, or one feature a part."""
    shapes, cats = [], []
    for unit, squares in SQUARES.items():
        bodies = [square(*one).removeprefix("POLYGON ") for one in squares]
        each = [f"MULTIPOLYGON ({', '.join(bodies)})"] if parts else [f"POLYGON {body}" for body in bodies]
        shapes += each
        cats += [unit] * len(each)
    write_vector(path, shapes, {"cat": cats}, **options)
    return path


def codes() -> np.ndarray:
    labels = expected()
    return np.where(labels < 0, -9999, np.array([int(n) for n in NAMES])[labels])


@pytest.mark.parametrize("form", ["gpkg", "shp", "zip", "joined", "integers", "floats", "finer"])
def test_every_form_gives_the_same_units(folder, form):
    name = path = folder / f"units.{'shp' if form == 'zip' else form if form in ('gpkg', 'shp') else 'gpkg'}"
    raster = folder / "units.tif"
    if form in ("gpkg", "shp", "zip"):
        polygons(path, driver="GPKG" if form == "gpkg" else "ESRI Shapefile")
    if form == "zip":
        name = folder / "units.zip"
        with zipfile.ZipFile(name, "w") as archive:
            for part in folder.glob("units.*"):
                if part != name:
                    archive.write(part, part.name)
    if form == "joined":
        polygons(path, parts=False)
        name = path.with_name("units.gpkg|field=cat")
    if form in ("integers", "floats"):
        write_raster(raster, codes(), nodata=-9999, kind=gdal.GDT_Int32 if form == "integers" else gdal.GDT_Float32)
    if form == "finer":  # cells of 10 m, of which the nearest counts
        write_raster(raster, codes().repeat(3, 0).repeat(3, 1), nodata=-9999, kind=gdal.GDT_Int32,
                     place=(WEST, CELL / 3, 0.0, NORTH, 0.0, -CELL / 3))
    labels, places, names, said = read(raster if raster.exists() else name)
    np.testing.assert_array_equal(labels, expected())
    assert names == NAMES
    for unit, place in enumerate(places):
        np.testing.assert_allclose(place, np.argwhere(expected() == unit).mean(axis=0), rtol=1e-5)
    assert f"60 of {VALID.sum():,} cells lie outside every unit" in said


def test_other_coordinates(folder):
    warped = folder / "degrees.geojson"
    gdal.VectorTranslate(str(warped), str(polygons(folder / "units.gpkg")), options=["-t_srs", "EPSG:4326"])
    labels, _, names, _ = read(warped)
    assert names == NAMES
    assert (labels == expected()).mean() > 0.999


def test_polygons_without_a_field_are_numbered_as_they_come(folder):
    write_vector(folder / "u.gpkg", [square(0, 40, ROWS, 40), square(0, 0, ROWS, 40)])
    labels, _, names, said = read(folder / "u.gpkg")
    assert names == ["1", "2"]
    assert (labels[10, 60], labels[10, 10]) == (0, 1)
    assert "named by its place in the file" in said


def test_pieces_of_one_unit_are_named(folder):
    *_, names, said = read(polygons(folder / "u.gpkg", parts=False))
    assert len(names) == 6
    assert 'BLOCKS="u.gpkg|field=cat"' in said


def test_text_is_sorted_by_alphabet_and_polygons_without_a_name_are_outside(folder):
    write_vector(folder / "u.gpkg", [square(0, 40, ROWS, 20), square(0, 0, ROWS, 40), square(0, 60, ROWS, 20)],
                 {"valley": ["Swat", "Kaghan", ""]})
    labels, _, names, said = read(folder / "u.gpkg|field=valley")
    assert names == ["Kaghan", "Swat"]
    assert (labels[10, 70], labels[10, 50], labels[10, 10]) == (-1, 1, 0)
    assert "1 polygons without valley lie outside every unit" in said


def test_small_overlaps_belong_to_the_first_unit_and_large_ones_are_refused(folder):
    write_vector(folder / "u.gpkg", [square(0, 40, ROWS, 40), square(0, 0, 30, 41)], {"id": ["1", "2"]})
    labels, _, _, said = read(folder / "u.gpkg|field=id")
    assert "30 cells (0.83%) lie in two units, like 1 and 2" in said
    assert (labels[:30, 40] == 0).all()
    write_vector(folder / "v.gpkg", [square(0, 40, ROWS, 40), square(0, 0, ROWS, 50)], {"id": ["1", "2"]})
    assert "found 600 cells (12.5%) in two, like 1 and 2; cut them" in refused(folder / "v.gpkg")


def test_units_without_a_cell_are_left_out(folder):
    x, y = WEST + 200.1, NORTH - 1000.1
    sliver = f"POLYGON (({x} {y}, {x + 1} {y}, {x} {y - 1}, {x} {y}))"
    write_vector(folder / "u.gpkg", [square(0, 0, 5, 5), sliver, square(0, 40, ROWS, 40), square(6, 0, ROWS - 6, 40)],
                 {"id": list("abcd")})
    _, _, names, said = read(folder / "u.gpkg|field=id")
    assert names == ["c", "d"]
    assert "2 units have no cell of the terrain" in said


@pytest.mark.parametrize("nodata", [None, -1])
def test_zero_is_outside_where_no_nodata_is_declared(folder, nodata):
    values = np.arange(ROWS * COLS).reshape(ROWS, COLS) // 800
    write_raster(folder / "u.tif", values, nodata=nodata, kind=gdal.GDT_Int16)
    labels, _, names, said = read(folder / "u.tif")
    assert names == [str(v) for v in range(nodata is None, 6)]
    assert ("declares no nodata; its 800 cells of 0 lie outside every unit" in said) == (nodata is None)
    assert ("0 is a unit of 800 cells, as its gaps are marked otherwise" in said) == (nodata is not None)
    assert (labels[9, 10] < 0) == (nodata is None)
    remedy = said.partition('BLOCKS="u.tif')[2].partition('"')[0]  # what the line names turns it round
    other, _, _, said = read(folder / f"u.tif{remedy}")
    assert (other[9, 10] < 0) == (nodata is not None)
    assert ("cells of 0" in said, "0 is a unit" in said) == (False, nodata is None)


def test_what_is_no_partition_is_refused(folder):
    cells = np.arange(ROWS * COLS).reshape(ROWS, COLS)
    for name, values, kind in (("cells", cells, gdal.GDT_Int32), ("one", cells * 0 + 3, gdal.GDT_Int32),
                               ("parts", cells / 7, gdal.GDT_Float32)):
        write_raster(folder / f"{name}.tif", values, kind=kind)
    assert "expected at most 1,200 units, one for 4 cells" in refused(folder / "cells.tif")
    assert "expected two units or more, found one (3)" in refused(folder / "one.tif")
    assert "expected whole numbers, one a unit, found 0.14285715" in refused(folder / "parts.tif")
    write_vector(folder / "small.gpkg", [square(10 + i, 10, 1, 1) for i in range(9)])
    assert "expected units of 4 cells or more on average, found 9 units in 9 cells" in refused(folder / "small.gpkg")
    write_vector(folder / "lines.gpkg", [f"LINESTRING ({WEST} {NORTH}, {WEST + 900} {NORTH - 900})"])
    assert "expected polygons, found lines or points" in refused(folder / "lines.gpkg")
    write_vector(folder / "far.gpkg", [square(900, 900, 5, 5), square(900, 905, 5, 5)])
    assert "expected features on the grid" in refused(folder / "far.gpkg")
    write_raster(folder / "far.tif", cells // 100, place=(WEST + 1e5, CELL, 0.0, NORTH, 0.0, -CELL))
    assert "expected values on the grid" in refused(folder / "far.tif")
    write_vector(folder / "corner.gpkg", [square(0, 0, 5, 3), square(0, 3, 5, 2)])
    assert "expected units on the terrain" in refused(folder / "corner.gpkg")
    assert "nix.gpkg: units: missing" in refused(folder / "nix.gpkg")
    assert "expected a field 'nix', found cat" in refused(polygons(folder / "u.gpkg").with_name("u.gpkg|field=nix"))


def test_so_few_or_so_many_units_that_adapting_hardly_means_anything():
    def of(cells, samples):
        return doubts(pd.DataFrame({"cells": cells, "samples": samples}))

    assert of([10] * 20, [80] * 20) == []
    assert [text.partition(":")[0] for text in of([90, 5, 5], [400, 20, 20])] == [
        "3 units are few", "one unit holds 90% of the cells"]
    assert "500 units have 1.2 samples on average, 400 have none" in of([10] * 500, [6] * 100 + [0] * 400)[0]
