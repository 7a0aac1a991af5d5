from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from osgeo import gdal, ogr
from osgeo_utils.samples.validate_cloud_optimized_geotiff import validate
from small_region import PLACE, crs_of

from lsm.inputs import layers, rasters
from lsm.maps import gis, styles_qgis
from lsm.run.artifacts import read_record
from lsm.run.settings import InputError

MADE = ("export_gis.py", SimpleNamespace(REGION="demo", SEED=1), [])


def raster(path, values: np.ndarray, nodata: float = -9999.0) -> gdal.Dataset:
    kind = gdal.GDT_Float32 if values.dtype.kind == "f" else gdal.GDT_Int32 if nodata < 0 else gdal.GDT_Byte
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), values.shape[1], values.shape[0], 1, kind)
    dataset.SetGeoTransform(PLACE)
    dataset.SetSpatialRef(crs_of(32650))
    dataset.GetRasterBand(1).SetNoDataValue(nodata)
    dataset.GetRasterBand(1).WriteArray(values)
    dataset.FlushCache()
    return dataset


@pytest.fixture
def numbers(tmp_path) -> tuple[gdal.Dataset, np.ndarray]:
    """A raster that needs overviews, a quarter of it nodata."""
    values = np.random.default_rng(1).random((700, 900)).astype(np.float32)
    values[:350, :450] = -9999
    return raster(tmp_path / "numbers.tif", values), values


# rasters ---------------------------------------------------------------------------------------------------------

def test_write_classes_keeps_names_and_colours(tmp_path):
    classes, path = np.arange(30, dtype=np.uint8).reshape(6, 5) % 3, tmp_path / "classes.tif"
    windows = [(0, 0, classes[:4]), (4, 0, classes[4:])]
    gis.write_classes(path, windows, rasters.Grid(6, 5, PLACE, crs_of(32650).ExportToWkt()), "rock",
                      ["none", "tuff", "marl"], ["#102030", "#ffffff"], MADE)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["classes.tif", "classes.tif.aux.xml", "classes.tif.json"]
    dataset = gdal.Open(str(path))
    band = dataset.GetRasterBand(1)
    np.testing.assert_array_equal(band.ReadAsArray(), classes)
    assert (band.GetNoDataValue(), band.GetDescription()) == (0, "rock")
    band.GetMetadata()
    assert band.GetCategoryNames() == ["none", "tuff", "marl"]
    assert [band.GetColorTable().GetColorEntry(i) for i in (1, 2)] == [(16, 32, 48, 255), (255, 255, 255, 255)]


def test_cells_are_set_and_read_back(numbers, tmp_path, monkeypatch):
    monkeypatch.setattr(rasters, "WINDOW", 300 * 900)  # three windows
    dataset = gis.create_like(tmp_path / "new.tif", numbers[0], gdal.GDT_Float32, -1.0)
    row, col = np.array([5, 3, 699]), np.array([0, 899, 7])
    layers.put(dataset, row, col, np.array([1, 2, 3], np.float32))
    assert layers.take(dataset, row, col).tolist() == [1, 2, 3]
    values = dataset.ReadAsArray()
    assert (values == -1).sum() == values.size - 3
    assert values[3, 899] == 2


def test_a_raster_of_numbers_passes_the_validator_of_gdal(numbers, tmp_path):
    source, values = numbers
    path, before = tmp_path / "out" / "cog.tif", sorted(tmp_path.iterdir())
    gis.write_cog(path, source, "a number", MADE, metadata={"THRESHOLD": "0.5"})
    assert sorted(p for p in tmp_path.iterdir() if p.name != "out") == before
    warnings, errors, _ = validate(str(path), full_check=True)
    assert (warnings, errors) == ([], [])
    dataset = gdal.Open(str(path))
    band = dataset.GetRasterBand(1)
    np.testing.assert_array_equal(band.ReadAsArray(), values)
    assert (band.GetDescription(), band.GetNoDataValue()) == ("a number", -9999)
    assert band.GetMetadataItem("THRESHOLD") == "0.5"
    assert dataset.GetSpatialRef().IsSame(crs_of(32650))
    assert dataset.GetGeoTransform() == PLACE
    known = values[values >= 0].astype(float)
    assert band.GetStatistics(False, False) == pytest.approx([known.min(), known.max(), known.mean(), known.std()])
    assert band.GetOverviewCount() == 1
    over = band.GetOverview(0).ReadAsArray()
    assert over[-1, -1] == pytest.approx(values[-2:, -2:].mean(), abs=1e-6)
    assert over[0, 0] == -9999
    assert read_record(path, "export_gis.py")["stage"] == "export_gis.py"
    assert {p.name for p in path.parent.iterdir()} == {"cog.tif", "cog.tif.json"}


def test_a_raster_of_classes_has_names_colours_and_whole_overviews(tmp_path):
    values = np.repeat(np.repeat(np.random.default_rng(1).integers(0, 4, (80, 90)), 10, 0), 10, 1).astype(np.uint8)
    path = tmp_path / "out" / "cog.tif"
    gis.write_cog(path, raster(tmp_path / "in.tif", values, 0), "class", MADE, ["", "a", "b", "c"],
                  ["#ff0000", "#00ff00", "#0000ff"])
    assert validate(str(path), full_check=True)[:2] == ([], [])
    dataset = gdal.Open(str(path))
    band = dataset.GetRasterBand(1)
    assert band.DataType == gdal.GDT_Byte
    band.GetMetadata()
    assert band.GetCategoryNames() == ["", "a", "b", "c"]
    assert band.GetColorTable().GetColorEntry(2) == (0, 255, 0, 255)
    np.testing.assert_array_equal(band.GetOverview(0).ReadAsArray(), values[::2, ::2])
    assert {p.name for p in path.parent.iterdir()} == {"cog.tif", "cog.tif.aux.xml", "cog.tif.json"}


def test_a_raster_without_a_value_is_written(tmp_path):
    path = tmp_path / "cog.tif"
    gis.write_cog(path, raster(tmp_path / "in.tif", np.full((20, 30), -9999, np.float32)), "nothing", MADE)
    assert validate(str(path))[1] == []


def test_the_same_raster_gives_the_same_bytes(numbers, tmp_path):
    for name in ("a.tif", "b.tif"):
        gis.write_cog(tmp_path / name, numbers[0], "a number", MADE)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


# styles ----------------------------------------------------------------------------------------------------------

def test_styles_say_values_colours_and_labels(tmp_path):
    palette = ElementTree.fromstring(styles_qgis.of_palette([(1, "#ff0000", "low < 1 & more"), (2, "#00ff00", "high")]))
    assert [e.attrib for e in palette.iter("paletteEntry")] == [
        {"value": "1", "color": "#ff0000", "alpha": "255", "label": "low < 1 & more"},
        {"value": "2", "color": "#00ff00", "alpha": "255", "label": "high"}]
    ramp = ElementTree.fromstring(styles_qgis.of_ramp([(0.5, "#000000", "a"), (np.inf, "#ffffff", "b")], smooth=False))
    assert ramp.find(".//colorrampshader").get("colorRampType") == "DISCRETE"
    assert [e.get("value") for e in ramp.iter("item")] == ["0.5", "inf"]
    smooth = ElementTree.fromstring(styles_qgis.of_ramp([(0, "#000000", "a"), (2, "#ffffff", "b")], smooth=True))
    assert smooth.find(".//rasterrenderer").get("classificationMax") == "2"
    styles_qgis.write_style(tmp_path / "map.tif", styles_qgis.of_palette([(1, "#ff0000", "µ")]))
    assert "µ" in (tmp_path / "map.qml").read_text(encoding="utf-8")


# outlines --------------------------------------------------------------------------------------------------------

def test_polygons_cover_the_cells_of_their_blocks(tmp_path):
    labels = np.full((30, 40), -1, np.int32)
    labels[2:10, 3:20], labels[15:20, 30:40], labels[25:28, 30:40] = 0, 2, 2
    labels[4, 4] = -1  # a hole
    raster(tmp_path / "blocks.tif", labels, -1)
    polygons = gis.block_polygons(tmp_path / "blocks.tif", 3)
    cell = PLACE[1] ** 2
    assert [p.GetArea() / cell for p in polygons] == pytest.approx([8 * 17 - 1, 0, 80])
    assert polygons[2].GetGeometryCount() == 2
    assert all(p.GetGeometryType() == ogr.wkbMultiPolygon and p.IsValid() for p in polygons)
    with pytest.raises(InputError, match="expected blocks 0 to 1, found 2"):
        gis.block_polygons(tmp_path / "blocks.tif", 2)
