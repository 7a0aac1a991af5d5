"""Which files of a folder are taken for which input."""

from types import SimpleNamespace

import numpy as np
import pytest
from osgeo import gdal, ogr
from small_region import NORTH, WEST, heights, obeyed, write_raster, write_vector

import prepare_region
from lsm.inputs.rasters import Grid
from lsm.region.region_files import INPUTS, find_inputs, refuse_to_replace, unused_files, without_layer
from lsm.run.paths import Paths
from lsm.run.settings import InputError, constants
from lsm.sources.files import File, below_root
from lsm.sources.raster_files import open_raster_file
from lsm.sources.vector_files import open_vector

NOTHING = SimpleNamespace(**dict.fromkeys(INPUTS, ""))


@pytest.mark.parametrize(("name", "driver"), [("inventory.tab", "MapInfo File"), ("inventory.json", "GeoJSON"),
                                              ("Inventory.shp", "ESRI Shapefile")])
def test_files_of_one_data_set_are_one_input(tmp_path, name, driver):
    (tmp_path / "dem").mkdir()
    write_raster(tmp_path / "dem/tile.tif", np.ones((3, 3)))
    gdal.BuildVRT(str(tmp_path / "dem.vrt"), [str(tmp_path / "dem/tile.tif")]).FlushCache()
    write_vector(tmp_path / name, ["POINT (117 22)"], {"name": ["a"]}, epsg=4326, driver=driver,
                 shape_type=ogr.wkbPoint)
    found, _ = find_inputs(tmp_path, NOTHING)
    assert found == {"DEM": str(tmp_path / "dem.vrt"), "INVENTORY": str(tmp_path / name)}
    assert unused_files(tmp_path, list(found.values())) == []


def test_a_folder_is_an_input_where_no_file_is(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    write_raster(tmp_path / "a.tif", heights())
    grid = Grid.of(gdal.Open(str(tmp_path / "a.tif")))
    for name in ("dem", "roads"):
        (tmp_path / name).mkdir()
    (tmp_path / "a.tif").rename(tmp_path / "dem" / "a.tif")
    write_vector(tmp_path / "roads" / "osm.shp", [f"LINESTRING ({WEST} {NORTH}, {WEST + 90} {NORTH})"],
                 driver="ESRI Shapefile", layers=("osm",), shape_type=ogr.wkbLineString)
    (tmp_path / "inventory.dbf").write_bytes((tmp_path / "roads" / "osm.dbf").read_bytes())
    found, _ = find_inputs(tmp_path, NOTHING)
    assert open_vector(found["ROADS"], "dis2road", grid).GetLayer(0).GetFeatureCount() == 1
    with pytest.raises(InputError, match=r"dem: DEM: .*, found a folder; join its tiles: .*; or name") as said:
        open_raster_file(found["DEM"], "DEM", [])
    with pytest.raises(InputError, match=r"inventory.dbf: inventory: expected a layer of shapes, found a table"):
        open_vector(found["INVENTORY"], "inventory", grid)
    obeyed(str(said.value).partition("tiles: ")[2].partition("; or")[0], tmp_path)
    assert find_inputs(tmp_path, NOTHING)[0]["DEM"] == str(tmp_path / "dem.vrt")


def test_two_files_for_one_input(tmp_path):
    for name in ("dem.tif", "inventory.csv", "inventory.gpkg"):
        (tmp_path / name).write_text("a")
    with pytest.raises(InputError, match=r"expected one file for INVENTORY, found inventory.csv, inventory.gpkg; name"):
        find_inputs(tmp_path, NOTHING)


def test_a_file_is_looked_for_in_raw_and_in_the_root_and_both_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    (tmp_path / "raw").mkdir()
    for name in ("raw/dem.tif", "raw/inventory.csv", "raw/ways.gpkg", "other.gpkg"):
        (tmp_path / name).write_text("x")
    named = {"ROADS": "ways.gpkg|layername=a", "RIVERS": "other.gpkg"}
    found, _ = find_inputs(tmp_path / "raw", SimpleNamespace(**vars(NOTHING) | named))
    assert (found["ROADS"], found["RIVERS"]) == (f"{tmp_path}/raw/ways.gpkg|layername=a", f"{tmp_path}/other.gpkg")
    with pytest.raises(InputError, match=f"ROADS=no.shp: missing; looked for {tmp_path}/raw/no.shp and {tmp_path}/n"):
        find_inputs(tmp_path / "raw", SimpleNamespace(**vars(NOTHING) | {"ROADS": "no.shp"}))


def test_what_lies_in_the_current_folder_alone_is_not_taken_but_its_full_path_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path / "study"))
    for name in ("raw", "study", "here/layers"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    for constant, name in (("RAW", "layers"), ("BLOCKS", "units.gpkg|field=cat")):
        where = name.partition("|")[0]
        with pytest.raises(InputError, match=f"{where}; put it there, or give the full path$"):
            below_root(constant, "no" + name)
        (tmp_path / "here/units.gpkg").touch()
        with pytest.raises(InputError, match=f"looked for {tmp_path}/study/{where}; give the full path: {tmp_path}/h"):
            below_root(constant, name)
        assert str(below_root(constant, f"{tmp_path}/here/{name}")) == f"{tmp_path}/here/{name}"  # the remedy
    with pytest.raises(InputError, match=f"looked for {tmp_path}/none; put it there, or name another$"):
        below_root("RAW", f"{tmp_path}/none")
    with pytest.raises(InputError, match=f"study/units.gpkg; give the full path: {tmp_path}/here/units.gpkg$"):
        find_inputs(tmp_path / "raw", SimpleNamespace(**vars(NOTHING) | {"ROADS": "units.gpkg"}))


def test_a_layer_behind_a_path_is_named_apart_from_it(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    (tmp_path / "layers").mkdir()
    with pytest.raises(InputError, match=r'RAW=layers\|roads: expected a folder alone, found \|roads behind it; name a '
                                         r'layer behind its file: ROADS="<file>\|layername=roads"'):
        below_root("RAW", "layers|roads")
    with pytest.raises(InputError, match=rf"BLOCKS=no.gpkg\|units: missing; looked for {tmp_path}/no.gpkg; put it "
                                         r"there, or give the full path .and a layer as \|layername=units."):
        below_root("BLOCKS", "no.gpkg|units")
    (tmp_path / "area.gpkg").write_text("x")
    for name in ("area.gpkg", "area.gpkg|roads"):
        with pytest.raises(InputError, match=f"expected a folder, found a file: {tmp_path}/area.gpkg; give the fol"):
            below_root("RAW", name)
    with pytest.raises(InputError, match=r"found \|roads; a layer is \|layername=roads$"):
        File.of(tmp_path / "area.gpkg|roads", "dis2road")
    with pytest.raises(InputError, match=r"found \|layer; correct it$"):
        File.of(tmp_path / "area.gpkg|layer=roads", "dis2road")


def test_constants_of_a_layer_that_is_not_there_are_said():
    c = constants(prepare_region.Constants, ["REGION=own", "LITHOLOGY_FIELD=rock", "INSAR_UNIT=cm/yr"])
    assert without_layer(c, {"DEM", "LITHOLOGY", "INSAR"}) == []
    assert without_layer(c, {"DEM"}) == [
        "LITHOLOGY_FIELD=rock is not used: there is no lithology.*; put it into RAW, or give LITHOLOGY=<file>",
        "INSAR_UNIT=cm/yr is not used: there is no insar.*; put it into RAW, or give INSAR=<file>"]
    keeps = constants(prepare_region.Constants, ["REGION=own", "MASK_KEEPS=True"])
    assert without_layer(keeps, {"DEM", "MASK"}) == []
    with pytest.raises(InputError, match=r"MASK_KEEPS=True: expected a mask, found none; put mask.\* into RAW"):
        without_layer(keeps, {"DEM"})


@pytest.mark.parametrize("name", ["src_data/grid_samples_x.csv", "src_data/x/factors.json"])
def test_a_folder_in_the_place_of_an_output_is_refused_first(tmp_path, monkeypatch, name):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    refuse_to_replace(Paths("x"), overwrite=True)
    (tmp_path / name).mkdir(parents=True)
    with pytest.raises(InputError, match=f"{name}: expected a file or nothing, found a folder; move it away"):
        refuse_to_replace(Paths("x"), overwrite=True)


def raw_with(folder, *names):
    for name in ("dem.tif", "inventory.csv", *names):
        (folder / name).write_text("x")
    return folder


@pytest.mark.parametrize(("names", "taken"), [
    (("insar_asc.csv", "insar_desc.csv"), ("insar_asc.csv", "insar_desc.csv")),
    (("Descending-InSAR.csv", "InSAR.ascending.gpkg"), ("InSAR.ascending.gpkg", "Descending-InSAR.csv")),
    (("insar_desc_2018.csv",), ("insar_desc_2018.csv",)),
    (("insar_A.txt", "insar_D.csv"), ("insar_A.txt", "insar_D.csv")),
    (("insar_asc.csv", "insar_asc.pdf", "insar_desc_plot.png"), ("insar_asc.csv",)),
    (("insar.pdf", "insar_desc.csv"), ("insar_desc.csv",)),
    (("insar_asc.json", "insar_desc.csv"), ("insar_asc.json", "insar_desc.csv")),
    (("insar.csv", "insar_old.csv"), ("insar.csv",)), (("insar_1.csv", "insar_2.csv"), ())])
def test_insar_files_by_their_tracks(tmp_path, names, taken):
    folder = raw_with(tmp_path, *names)
    found, insar = find_inputs(folder, NOTHING)
    assert insar == [str(folder / name) for name in taken]
    assert "INSAR" not in found
    said = "".join(unused_files(folder, [*found.values(), *insar]))
    assert all((name in said) == (name not in taken) for name in names)


def test_a_track_in_a_folder_beside_one_in_a_file(tmp_path):
    folder = raw_with(tmp_path, "insar_desc.csv")
    (folder / "insar_asc").mkdir()
    assert find_inputs(folder, NOTHING)[1] == [str(folder / name) for name in ("insar_asc", "insar_desc.csv")]


@pytest.mark.parametrize("names", [("insar_asc.csv", "insar_asc_2.csv"), ("insar.csv", "insar_desc.csv")])
def test_insar_files_that_may_mean_the_same(tmp_path, names):
    folder = raw_with(tmp_path, *names)
    with pytest.raises(InputError, match=f"expected one file for INSAR and track, found {', '.join(names)}; name those "
                                         "to take: INSAR=<file>,<file>"):
        find_inputs(folder, NOTHING)
    assert find_inputs(folder, SimpleNamespace(**vars(NOTHING) | {"INSAR": ",".join(names)}))[1] == [
        str(folder / name) for name in names]


def test_insar_files_by_name(tmp_path):
    folder = raw_with(tmp_path, "a.csv", "b.csv", "a,b.csv")

    def named(text):
        return find_inputs(folder, SimpleNamespace(**vars(NOTHING) | {"INSAR": text}))[1]

    assert named("a.csv|epsg=3035, b.csv|heading=-13") == [f"{folder}/a.csv|epsg=3035", f"{folder}/b.csv|heading=-13"]
    assert named("a,b.csv") == [f"{folder}/a,b.csv"]  # a comma in a name
    assert named("none") == []
    for text, words in (("a.csv,c.csv", "INSAR=c.csv: missing"), (",", "INSAR=,: missing"),
                        ("a.csv,a.csv", "expected different files, found a.csv twice")):
        with pytest.raises(InputError, match=words):
            named(text)
