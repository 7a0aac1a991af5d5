"""What a raster file says of its values is applied, and what it does not say is noticed."""

import re

import numpy as np
import pytest
from osgeo import gdal, osr
from small_region import COLS, NODATA, PLACE, ROWS, WEST, crs_of, heights, obeyed, write_raster, write_vector

from lsm.inputs.rasters import Grid
from lsm.run.paths import edit
from lsm.run.settings import InputError
from lsm.sources.files import library_notes, read_files
from lsm.sources.plain_rasters import write_plain
from lsm.sources.raster_files import is_raster, open_raster_file

GRID = Grid(ROWS, COLS, PLACE, crs_of(32650).ExportToWkt())


def change(path, **what) -> None:
    """Sets scale, offset, unit or CRS of a raster's band."""
    dataset = gdal.Open(str(path), gdal.GA_Update)
    band = dataset.GetRasterBand(1)
    for name, value in what.items():
        if name == "crs":
            crs = osr.SpatialReference()
            crs.SetFromUserInput(value)
            dataset.SetProjection(crs.ExportToWkt())
        else:
            getattr(band, {"scale": "SetScale", "offset": "SetOffset", "unit": "SetUnitType"}[name])(value)
    dataset.FlushCache()


def plain_of(path, what="NDVI", unit=None, categorical=False, grid=None) -> tuple[np.ndarray, list[str]]:
    notes = []
    raster = open_raster_file(str(path), what, notes, unit)
    found = write_plain(raster, path.with_suffix(".plain.tif"), notes, grid, categorical).ReadAsArray()
    return found, notes


@pytest.mark.parametrize(("scale", "offset"), [(0.1, 0.0), (0.5, -20.0), (1.0, 100.0)])
def test_scale_and_offset_are_applied(tmp_path, scale, offset):
    stored = ((heights().astype(float) - offset) / scale).round()
    stored[3, 4] = NODATA
    write_raster(tmp_path / "in.tif", stored, kind=gdal.GDT_Int16)
    change(tmp_path / "in.tif", scale=scale, offset=offset)
    found, notes = plain_of(tmp_path / "in.tif")
    expected = np.where(stored == NODATA, NODATA, stored * scale + offset)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert notes == [f"{tmp_path / 'in.tif'}: NDVI: scale {scale:g} and offset {offset:g} of its band are applied"]


@pytest.mark.parametrize(("unit", "metres"), [("US survey foot", 1200 / 3937), ("ft", 0.3048), ("feet", 0.3048),
                                              ("metre", 1), ("m", 1), ("centimeters", 0.01), ("sfoot", 0.3048),
                                              ("Meters above EGM96", 1), ("m a.s.l.", 1), ("mètres", 1),
                                              ("ftUS", 0.3048006)])
def test_the_unit_of_the_band(tmp_path, unit, metres):
    if unit == "sfoot":
        unit, metres = "US_survey_foot", 1200 / 3937
    write_raster(tmp_path / "dem.tif", heights())
    change(tmp_path / "dem.tif", unit=unit)
    found, notes = plain_of(tmp_path / "dem.tif", "DEM", "")
    np.testing.assert_allclose(found, heights().astype(float) * metres, rtol=1e-6)
    assert any("turned into metres" in note for note in notes) == (metres != 1)


def test_the_unit_of_the_vertical_crs_and_of_the_constant(tmp_path):
    write_raster(tmp_path / "dem.tif", heights())
    change(tmp_path / "dem.tif", crs="EPSG:26910+6360")  # NAVD88 height (ftUS)
    np.testing.assert_allclose(plain_of(tmp_path / "dem.tif", "DEM", "")[0], heights() * 1200 / 3937, rtol=1e-6)
    np.testing.assert_allclose(plain_of(tmp_path / "dem.tif", "DEM", "m")[0], heights())


def test_a_crs_in_feet_asks_for_the_unit_of_heights(tmp_path):
    write_raster(tmp_path / "dem.tif", heights(), epsg=2227)
    with pytest.raises(InputError, match=r"expected the unit of heights, found none and a CRS in US survey foot .*; "
                                         "say it: DEM_UNIT=<one of m, "):
        plain_of(tmp_path / "dem.tif", "DEM", "")
    np.testing.assert_allclose(plain_of(tmp_path / "dem.tif", "DEM", "ft")[0], heights() * 0.3048, rtol=1e-6)


def test_units_that_cannot_be_used(tmp_path):
    write_raster(tmp_path / "dem.tif", heights())
    for unit in ("fathom", "0.1 m", "1/10 m", "tenths of metres", "m*10", "m (scaled by 10)", "10 cm", "US survey mile",
                 "yard", "km²", "m or ft", "m/s"):
        change(tmp_path / "dem.tif", unit=unit)
        said = rf"unit of the band: expected one of m, .*found '{re.escape(unit)}'; convert the values .*DEM_UNIT"
        with pytest.raises(InputError, match=said):
            plain_of(tmp_path / "dem.tif", "DEM", "")
    change(tmp_path / "dem.tif", unit="m", crs="EPSG:26910+6360")
    with pytest.raises(InputError, match=r"expected one unit of heights, found 1 m by its band and 0.3048006 m by"):
        plain_of(tmp_path / "dem.tif", "DEM", "")
    change(tmp_path / "dem.tif", unit="", crs="EPSG:32650+5706")  # a depth
    with pytest.raises(InputError, match="expected heights, found depths by its vertical CRS"):
        plain_of(tmp_path / "dem.tif", "DEM", "")


@pytest.mark.parametrize("code", ["EPSG:32650+5773", "EPSG:4979"])
def test_a_crs_with_heights_is_a_horizontal_one(tmp_path, code):
    write_raster(tmp_path / "dem.tif", heights(), place=(117, 3e-4, 0, 22.6, 0, -3e-4) if "4979" in code else PLACE)
    change(tmp_path / "dem.tif", crs=code)
    raster = open_raster_file(str(tmp_path / "dem.tif"), "DEM", [], "")
    assert not raster.crs.IsCompound()
    assert raster.crs.GetAxesCount() == 2
    np.testing.assert_array_equal(plain_of(tmp_path / "dem.tif", "DEM", "")[0], heights())


@pytest.mark.parametrize("form", ["mask", "mask file", "alpha"])
def test_mask_and_alpha_bands_are_gaps(tmp_path, form):
    there = np.ones((ROWS, COLS), np.uint8) * 255
    there[:20] = 0
    values = np.where(there, heights(), 0).astype(np.float32)
    if form == "alpha":
        write_raster(tmp_path / "in.tif", values, nodata=None, bands=2)
        dataset = gdal.Open(str(tmp_path / "in.tif"), gdal.GA_Update)
        dataset.GetRasterBand(2).SetColorInterpretation(gdal.GCI_AlphaBand)
        dataset.GetRasterBand(2).WriteArray(there)
    else:
        write_raster(tmp_path / "in.tif", values, nodata=None)
        gdal.SetConfigOption("GDAL_TIFF_INTERNAL_MASK", "YES" if form == "mask" else "NO")
        dataset = gdal.Open(str(tmp_path / "in.tif"), gdal.GA_Update)
        dataset.CreateMaskBand(gdal.GMF_PER_DATASET)
        dataset.GetRasterBand(1).GetMaskBand().WriteArray(there)
        gdal.SetConfigOption("GDAL_TIFF_INTERNAL_MASK", None)
    dataset = None
    found, notes = plain_of(tmp_path / "in.tif")
    np.testing.assert_array_equal(found, np.where(there, values, NODATA))
    assert "mask or alpha band marks gaps" in notes[0]


@pytest.mark.parametrize("nodata", [np.nan, 0.5, 1e9])
def test_a_nodata_that_whole_numbers_cannot_hold_marks_nothing(tmp_path, nodata):
    write_raster(tmp_path / "in.tif", heights().round(), nodata=nodata, kind=gdal.GDT_Int16)
    np.testing.assert_array_equal(plain_of(tmp_path / "in.tif")[0], heights().round())


@pytest.mark.parametrize("mark", [-9999, -99999, -8888, -32768, -999, -3000, -3.4e38, 1e30])
def test_gaps_that_are_not_declared(tmp_path, mark):
    values = np.linspace(-0.1, 0.9, ROWS * COLS).reshape(ROWS, COLS).astype(np.float32)
    values[5:9, 5:9] = mark
    write_raster(tmp_path / "in.tif", values, nodata=None)
    found, notes = plain_of(tmp_path / "in.tif")
    np.testing.assert_array_equal(found, np.where(values == np.float32(mark), np.float32(NODATA), values))
    assert len(notes) == 1
    assert "16" in notes[0]
    assert "taken for gaps that the file does not declare" in notes[0]


def test_values_like_marks_among_others_stay(tmp_path):
    values = np.linspace(-12_000, 40_000, ROWS * COLS).reshape(ROWS, COLS).round()
    values[0, :3] = (-9999, -999, 32767)
    write_raster(tmp_path / "in.tif", values, nodata=None)
    found, notes = plain_of(tmp_path / "in.tif")
    np.testing.assert_array_equal(found, np.where(values == -9999, values, values))
    assert notes == []


def test_a_dem_must_declare_its_gaps(tmp_path):
    values = heights()
    values[:3] = -99
    write_raster(tmp_path / "dem.tif", values, nodata=None)
    with pytest.raises(InputError, match=r"dem.tif: DEM: expected heights near its others .*found -99 in 240 cells"):
        plain_of(tmp_path / "dem.tif", "DEM", "")


@pytest.mark.parametrize("clipped", [heights().astype(int) % 256, np.minimum(heights(), 255)])
def test_heights_beyond_8_bits(tmp_path, clipped):
    write_raster(tmp_path / "dem.tif", clipped, nodata=None, kind=gdal.GDT_Byte)
    with pytest.raises(InputError, match=r"DEM: expected heights, found numbers of 8 bits that reach 255, .*float32"):
        plain_of(tmp_path / "dem.tif", "DEM", "")
    write_raster(tmp_path / "dem.tif", heights() / 2, nodata=255, kind=gdal.GDT_Byte)
    assert plain_of(tmp_path / "dem.tif", "DEM", "")[0].max() == 195


def test_only_the_part_around_the_grid_is_read(tmp_path):
    row, col = np.mgrid[:400, :500]
    write_raster(tmp_path / "in.tif", row * 1000 + col, place=(WEST - 3000, 30, 0, PLACE[3] + 3000, 0, -30))
    found, _ = plain_of(tmp_path / "in.tif", grid=GRID)
    assert found.size < 2 * ROWS * COLS
    assert {100_100, 159_179} <= set(found.ravel())
    write_raster(tmp_path / "far.tif", row, place=(WEST + 1e6, 30, 0, PLACE[3], 0, -30))
    with pytest.raises(InputError, match=r"expected values on the grid .*, found none; check its CRS"):
        plain_of(tmp_path / "far.tif", grid=GRID)


def test_a_raster_too_large_to_read_is_refused_by_its_header(tmp_path):
    (tmp_path / "in.vrt").write_text(
        '<VRTDataset rasterXSize="1000000" rasterYSize="1000000"><SRS>EPSG:32650</SRS><GeoTransform>0,1,0,0,0,-1'
        '</GeoTransform><VRTRasterBand dataType="Float32" band="1"/></VRTDataset>')
    with pytest.raises(InputError, match=r"expected at most 2,000,000,000 cells .*, found 1000000 x 1000000"):
        plain_of(tmp_path / "in.vrt")


def test_bands_and_crs_behind_the_name(tmp_path):
    write_raster(tmp_path / "in.tif", heights(), bands=3, epsg=None)
    with pytest.raises(InputError, match=r'expected one band, found 3; pick one: NDVI=".*in.tif\|band=<number>"'):
        plain_of(tmp_path / "in.tif")
    with pytest.raises(InputError, match=r'CRS: expected one, found none; set it: NDVI=".*\|epsg=<code>"'):
        open_raster_file(f"{tmp_path / 'in.tif'}|band=2", "NDVI", [])
    with pytest.raises(InputError, match=r"\|epsg=99999999999: expected a whole number"):
        open_raster_file(f"{tmp_path / 'in.tif'}|band=2|epsg=99999999999", "NDVI", [])
    raster = open_raster_file(f"{tmp_path / 'in.tif'}|band=2|epsg=32650", "NDVI", [])
    assert (raster.band.number, raster.crs.GetAuthorityCode(None)) == (2, "32650")


def test_a_band_that_a_raster_of_one_band_lacks(tmp_path):
    write_raster(tmp_path / "in.tif", heights())
    with pytest.raises(InputError, match=r'expected one band, found 1; pick one: NDVI=".*in.tif\|band=<number>"'):
        open_raster_file(f"{tmp_path / 'in.tif'}|band=2", "NDVI", [])


def test_a_damaged_file_whose_message_is_no_text(tmp_path):
    (tmp_path / "in.vrt").write_bytes(b"<VRTDataset rasterXSize='\xe9'><\xff\xe9")
    with pytest.raises(InputError, match="expected a raster that GDAL opens, found none"):
        open_raster_file(str(tmp_path / "in.vrt"), "DEM", [])


def test_whatever_gdal_opens_is_a_raster(tmp_path):
    write_raster(tmp_path / "in.tif", heights())
    for name, form in (("in.img", "HFA"), ("in.vrt", "VRT"), ("in.asc", "AAIGrid")):
        gdal.Translate(str(tmp_path / name), str(tmp_path / "in.tif"), format=form)
        assert is_raster(str(tmp_path / name), "land use")
        np.testing.assert_allclose(plain_of(tmp_path / name)[0], heights(), rtol=1e-5)
    (tmp_path / "no.img").write_text("words")
    assert not is_raster(str(tmp_path / "no.img"), "land use")


def test_whether_a_table_of_points_is_a_raster_is_asked_without_a_word(tmp_path, capfd):
    (tmp_path / "units.csv").write_text("X,Y,unit\n500000,5200000,1\n500500,5203000,2\n500100,5201000,3\n")
    is_raster(str(tmp_path / "units.csv"), "units")
    assert capfd.readouterr() == ("", "")


def test_an_area_on_both_sides_of_greenwich_in_longitudes_from_0_to_360(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    values, crs = np.tile(np.arange(720) / 2, (360, 1)), crs_of(32630).ExportToWkt()
    write_raster(tmp_path / "era.tif", values, epsg=4326, place=(0, 0.5, 0, 90, 0, -0.5))
    grid = Grid(20, 40, (450_000.0, 5_000.0, 0, 5_500_000.0, 0, -5_000.0), crs)  # 3.7 W to 0.9 W
    east = Grid(20, 40, (600_000.0, 5_000.0, 0, 5_500_000.0, 0, -5_000.0), crs)  # to 1.2 E
    write_plain(open_raster_file(str(tmp_path / "era.tif"), "rain", []), tmp_path / "p.tif", [], grid)
    with pytest.raises(InputError, match="longitudes: the area lies at both ends of it") as caught:
        write_plain(open_raster_file(str(tmp_path / "era.tif"), "rain", []), tmp_path / "p.tif", [], east)
    obeyed(str(caught.value).partition("turn it: ")[2], tmp_path)
    plain = write_plain(open_raster_file(str(tmp_path / "era_180.tif"), "rain", []), tmp_path / "p.tif", [], east)
    west, step = plain.GetGeoTransform()[:2]
    expected = (west + step * np.arange(plain.RasterXSize)) % 360
    np.testing.assert_allclose(plain.ReadAsArray()[0], expected, atol=1e-3)


@pytest.mark.parametrize("west", [243.0, 0.0])
def test_longitudes_from_0_to_360(tmp_path, west):
    cols = 400 if west else 3600
    step = 0.001 if west else 0.1
    lon = west + step * (np.arange(cols) + 0.5)
    write_raster(tmp_path / "a.tif", np.tile(lon, (20, 1)), epsg=4326, place=(west, step, 0, 34.01, 0, -0.001))
    grid = Grid(10, 10, (500000.0, 100.0, 0, 3762500.0, 0, -100.0), crs_of(32611).ExportToWkt())  # 117 W, 34 N
    plain = write_plain(open_raster_file(str(tmp_path / "a.tif"), "rain", []), tmp_path / "p.tif", [], grid)
    x, step = plain.GetGeoTransform()[:2]
    assert -118 < x < -116.9
    np.testing.assert_allclose(plain.ReadAsArray()[0], x + step * (np.arange(plain.RasterXSize) + 0.5) + 360, rtol=1e-6)


def test_a_virtual_raster_has_the_parts_of_its_sources(tmp_path):
    write_raster(tmp_path / "tile.tif", np.ones((3, 3)))
    gdal.BuildVRT(str(tmp_path / "dem.vrt"), [str(tmp_path / "tile.tif")]).FlushCache()
    assert [p.name for p in read_files([str(tmp_path / "dem.vrt")])] == ["dem.vrt", "tile.tif"]


def test_virtual_rasters_of_virtual_rasters_have_the_innermost_parts(tmp_path):
    (tmp_path / "tiles").mkdir()
    write_raster(tmp_path / "tiles" / "a.tif", np.ones((3, 3)))
    gdal.BuildVRT(str(tmp_path / "tiles" / "inner.vrt"), [str(tmp_path / "tiles" / "a.tif")]).FlushCache()
    gdal.BuildVRT(str(tmp_path / "dem.vrt"), [str(tmp_path / "tiles" / "inner.vrt")]).FlushCache()
    assert [p.name for p in read_files([str(tmp_path / "dem.vrt")])] == ["dem.vrt", "inner.vrt", "a.tif"]
    inner = tmp_path / "tiles" / "inner.vrt"  # of the outer one: GDAL cannot read such a raster
    inner.write_text(inner.read_text().replace(">a.tif<", ">../dem.vrt<"))
    assert [p.name for p in read_files([str(tmp_path / "dem.vrt")])] == ["dem.vrt", "inner.vrt"]


def test_rasters_that_must_be_exported_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_raster(tmp_path / "plain.tif", np.ones((3, 3)), epsg=None, place=None, bands=2)
    corners = [gdal.GCP(WEST + 90 * i, 2.5e6 - 90 * j, 0, 3 * i, 3 * j) for i in (0, 1) for j in (0, 1)]
    gdal.Translate(str(tmp_path / "gcp.tif"), str(tmp_path / "plain.tif"), GCPs=corners, outputSRS="EPSG:32650",
                   bandList=[1])
    gdal.Translate(str(tmp_path / "two.nc"), str(tmp_path / "plain.tif"), format="netCDF")
    for name, words in (("gcp.tif", "found ground control points; warp it"),
                        ("two.nc", "found 2 data sets; export the right one: python")):
        with pytest.raises(InputError, match=words) as said:
            open_raster_file(name, "DEM", [])
    obeyed(str(said.value).partition("right one: ")[2], tmp_path)
    assert gdal.Open("new.tif").RasterCount == 1


def test_remedies_for_a_dem_work_as_written(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    values = heights()
    values[:3] = -9999
    rows = "\n".join(" ".join(f"{v:.2f}" for v in row) for row in values)
    header = f"ncols {COLS}\nnrows {ROWS}\nxllcorner {PLACE[0]}\nyllcorner {PLACE[3] - ROWS * 30}\ncellsize 30\n"
    (tmp_path / "dem.asc").write_text(header + rows)
    (tmp_path / "dem.prj").write_text(crs_of(32650).ExportToWkt())
    with pytest.raises(InputError, match=r'declare it \(DEM=".*dem.asc\|nodata=-9999"\), if it is of another unit'):
        plain_of(tmp_path / "dem.asc", "DEM", "")
    assert (plain_of(tmp_path / "dem.asc|nodata=-9999", "DEM", "")[0] == -9999).sum() == 3 * COLS
    write_raster(tmp_path / "dem.tif", np.where(values < 0, -1200, values))
    with pytest.raises(InputError, match=r"found -1200; if it marks gaps, .*=<unit>, if of the sea floor, cut it off"):
        plain_of(tmp_path / "dem.tif", "DEM", "")


def test_a_scale_that_turns_heights_over_is_named_and_its_remedy_works(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    write_raster(tmp_path / "dem.tif", heights() + 600)
    change(tmp_path / "dem.tif", scale=-1.0)
    with pytest.raises(InputError, match=r"found -\d+\.\d+ by the scale -1 of its band; if .*, set it: ") as at:
        plain_of(tmp_path / "dem.tif", "DEM", "")
    obeyed(str(at.value).rpartition("set it: ")[2], tmp_path)
    np.testing.assert_allclose(plain_of(tmp_path / "dem.tif", "DEM", "")[0], heights() + 600)


def test_a_picture_is_no_choice_of_bands(tmp_path):
    write_raster(tmp_path / "in.tif", heights() / 3, nodata=None, bands=3, kind=gdal.GDT_Byte)  # colours to GDAL
    with pytest.raises(InputError, match=r"found 3 \(red, green, blue\?\); of a picture take the data it was"):
        plain_of(tmp_path / "in.tif")


@pytest.mark.parametrize("filler", [99.99, 999, -999.9])
@pytest.mark.parametrize("kind", [gdal.GDT_Float32, gdal.GDT_Float64])
def test_a_repeated_number_of_nines_is_said_and_its_remedy_works(tmp_path, monkeypatch, filler, kind):
    """99.99 among rainfalls lies apart from none; 999 and -999.9 do."""
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    values = np.random.default_rng(0).uniform(40, 600, (ROWS, COLS))
    values[5:7, :40] = filler
    write_raster(tmp_path / "rain.tif", values, nodata=None, kind=kind)
    found, (note,) = plain_of(tmp_path / "rain.tif", "mean rain")
    np.testing.assert_allclose(found, values, rtol=1e-6)
    option = f"|nodata={filler}"
    assert note.startswith(f"rain.tif: mean rain: {filler} in 1.7% of the cells ")
    assert note.endswith('is kept; if it marks gaps, declare it (in FACTORS_MORE ("mean rain", '
                         f'"rain.tif{option}", ...))')
    found, notes = plain_of(tmp_path / f"rain.tif{option}", "mean rain")
    np.testing.assert_array_equal(found == NODATA, values == filler)
    assert notes == []
    obeyed(edit(tmp_path / "rain.tif", f"-a_nodata {filler}"), tmp_path)  # in the file
    np.testing.assert_array_equal(plain_of(tmp_path / "rain.tif", "mean rain")[0] == NODATA, values == filler)


def test_a_number_behind_nodata_marks_gaps_beside_the_declared_one(tmp_path):
    values = heights()
    values[0], values[1] = -1, -2
    write_raster(tmp_path / "rain.tif", values, nodata=-1)
    found, _ = plain_of(tmp_path / "rain.tif|nodata=-2", "rain")
    np.testing.assert_array_equal(found == NODATA, np.arange(ROWS)[:, None] * np.ones(COLS) < 2)


def test_a_number_is_asked_for_behind_nodata(tmp_path):
    write_raster(tmp_path / "rain.tif", heights())
    with pytest.raises(InputError, match=r"rain: \|nodata=none: expected a number; correct it"):
        plain_of(tmp_path / "rain.tif|nodata=none", "rain")


def test_many_zeros_apart_from_all_other_values_are_said(tmp_path):
    values = heights() / 1000
    values[:20] = 0
    write_raster(tmp_path / "in.tif", values)
    assert "in.tif: NDVI: exactly 0 in 1,600 of 4,800 cells is kept as a value; if it marks" in plain_of(
        tmp_path / "in.tif")[1][-1]
    for kind in (gdal.GDT_Float32, gdal.GDT_Int16):  # among others too, and in whole numbers
        honest = np.random.default_rng(1).permutation(4800).reshape(ROWS, COLS) - 2000.0
        write_raster(tmp_path / "in.tif", honest, kind=kind)
        assert not any("exactly 0" in note for note in plain_of(tmp_path / "in.tif")[1])
        honest[:20] = 0
        write_raster(tmp_path / "in.tif", honest, kind=kind)
        assert any("exactly 0 in 1,6" in note for note in plain_of(tmp_path / "in.tif")[1])


def test_arithmetic_leaves_classes_whole(tmp_path):
    codes = np.tile([1, 2, 3, 7], (ROWS, COLS // 4)) + np.float32(1e-6)
    write_raster(tmp_path / "in.tif", codes)
    raster = open_raster_file(str(tmp_path / "in.tif"), "land use", [])
    assert set(np.unique(write_plain(raster, tmp_path / "p.tif", [], None, True).ReadAsArray())) == {1, 2, 3, 7}


def test_a_number_apart_from_all_others_is_said_and_kept(tmp_path):
    values = np.linspace(0.1, 0.8, ROWS * COLS).reshape(ROWS, COLS)
    values[:2] = 254
    write_raster(tmp_path / "rain.tif", values, nodata=None)
    found, notes = plain_of(tmp_path / "rain.tif", "rain")
    np.testing.assert_allclose(found, values, rtol=1e-6)
    assert any("254 in 3.3% of the cells lies apart from all other values and is kept; if it marks gaps, declare it "
               f'(in FACTORS_MORE ("rain", "{tmp_path / "rain.tif"}|nodata=254", ...))' in note for note in notes)
    found, notes = plain_of(tmp_path / "rain.tif|nodata=254", "rain")
    assert (found[:2] == NODATA).all()
    assert notes == []
    values[:2] = -0.25  # nearer to the others than they are wide
    write_raster(tmp_path / "rain.tif", values, nodata=None)
    assert any("-0.25 in 3.3% of the cells alone is below 0 and is kept" in note
               for note in plain_of(tmp_path / "rain.tif", "rain")[1])
    write_raster(tmp_path / "rain.tif", np.linspace(1, 8, ROWS * COLS).reshape(ROWS, COLS).round(), nodata=None)
    assert plain_of(tmp_path / "rain.tif", "rain")[1] == []


def test_a_file_with_a_raster_and_a_layer_is_asked_about(tmp_path):
    path = tmp_path / "inventory.gpkg"
    write_raster(tmp_path / "r.tif", heights().astype(int) % 200, nodata=None, kind=gdal.GDT_Byte)
    gdal.Translate(str(path), str(tmp_path / "r.tif"), format="GPKG", creationOptions=["RASTER_TABLE=picture"])
    assert is_raster(str(path), "inventory")
    write_vector(tmp_path / "p.gpkg", [f"POINT ({WEST + 45} {PLACE[3] - 45})"], layers=("slides",))
    gdal.VectorTranslate(str(path), str(tmp_path / "p.gpkg"), accessMode="update")
    with pytest.raises(InputError, match=r"inventory: expected one raster or layer, found a raster and slides; say "
                                         r'which: INVENTORY=".*\|layername=slides" or \|band=1'):
        is_raster(str(path), "inventory")
    assert is_raster(f"{path}|band=1", "inventory")
    assert not is_raster(f"{path}|layername=slides", "inventory")


@pytest.mark.parametrize(("name", "metres"), [
    ("distance to roads (km)", 1000), ("distance_km", 1000), ("dem_ft", 0.3048), ("dem [feet]", 0.3048),
    ("dem_10_km", 1), ("dem_m", 1), ("alos_30m", 1)])
def test_a_unit_in_the_name_counts_where_the_file_states_none(tmp_path, name, metres):
    write_raster(tmp_path / f"{name}.tif", heights())
    np.testing.assert_allclose(plain_of(tmp_path / f"{name}.tif", "road", "")[0], heights().astype(float) * metres,
                               rtol=1e-6)
    write_raster(tmp_path / "a.tif", heights())
    dataset = gdal.Open(str(tmp_path / "a.tif"), gdal.GA_Update)
    dataset.GetRasterBand(1).SetDescription(name)
    dataset = None
    found, notes = plain_of(tmp_path / "a.tif", "road", "")
    np.testing.assert_allclose(found, heights().astype(float) * metres, rtol=1e-6)
    assert any("turned into metres" in note for note in notes) == (metres != 1)
    change(tmp_path / "a.tif", unit="m")
    np.testing.assert_allclose(plain_of(tmp_path / "a.tif", "road", "")[0], heights(), rtol=1e-6)


@pytest.mark.parametrize(("name", "what", "remedy"), [
    ("srtm_mm", "DEM", "MM|mm, which may be a country; say which it is: DEM_UNIT=<unit>"),
    ("dem_dm", "DEM", "dm, which"), ("roads_KM", "to road", "KM, which may .*set it: python -m .*gdal_edit -units m")])
def test_what_may_be_a_country_is_no_unit(tmp_path, monkeypatch, name, what, remedy):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    write_raster(tmp_path / f"{name}.tif", heights())
    with pytest.raises(InputError, match=rf"found none but the end of its name, {remedy}") as said:
        plain_of(tmp_path / f"{name}.tif", what, "")
    if what == "DEM":
        np.testing.assert_array_equal(plain_of(tmp_path / f"{name}.tif", what, "m")[0], heights())
        change(tmp_path / f"{name}.tif", unit="m")
    else:
        obeyed(str(said.value).partition("set it: ")[2], tmp_path)
    np.testing.assert_array_equal(plain_of(tmp_path / f"{name}.tif", what, "")[0], heights())


def test_one_of_several_bands_by_its_name(tmp_path):
    write_raster(tmp_path / "in.tif", heights(), bands=3)
    with pytest.raises(InputError, match="NDVI: expected one band, found 3"):
        open_raster_file(str(tmp_path / "in.tif"), "NDVI", [])
    dataset = gdal.Open(str(tmp_path / "in.tif"), gdal.GA_Update)
    dataset.GetRasterBand(2).SetDescription("ndvi")
    dataset = None
    raster = open_raster_file(str(tmp_path / "in.tif"), "NDVI", notes := [])
    assert (raster.band.number, notes) == (2, [f"{tmp_path / 'in.tif'}: NDVI: band 2 of 3 has this name and is read"])
    assert open_raster_file(f"{tmp_path / 'in.tif'}|band=1", "NDVI", []).band.number == 1


def test_words_for_no_unit_and_codes_that_may_mark_gaps(tmp_path):
    write_raster(tmp_path / "dem.tif", heights())
    change(tmp_path / "dem.tif", unit="unspecified")
    np.testing.assert_array_equal(plain_of(tmp_path / "dem.tif", "DEM", "")[0], heights())
    codes = np.where(heights() > 300, -1, 3)
    write_raster(tmp_path / "land.tif", codes, nodata=None, kind=gdal.GDT_Int16)
    found, notes = plain_of(tmp_path / "land.tif", "land use", categorical=True)
    np.testing.assert_array_equal(found, codes)
    assert notes == [f"{tmp_path / 'land.tif'}: land use: code -1 is kept as a class; if it marks gaps, declare it "
                     f'(LAND_USE="{tmp_path / "land.tif"}|nodata=-1")']


def test_the_largest_number_of_8_bits_is_said_where_it_is_too_frequent(tmp_path):
    values = np.tile(np.arange(100, 240), ROWS * COLS)[:ROWS * COLS].reshape(ROWS, COLS)
    values[:6] = 255
    write_raster(tmp_path / "n.tif", values, nodata=None, kind=gdal.GDT_Byte)
    change(tmp_path / "n.tif", scale=0.004, offset=-0.08)
    notes = plain_of(tmp_path / "n.tif")[1]
    assert any("0.94 in 10.0% of the cells is the largest that the file can hold and is kept; if it marks gaps, "
               f'declare it (NDVI="{tmp_path / "n.tif"}|nodata=255")' in note for note in notes)
    assert (plain_of(tmp_path / "n.tif|nodata=255")[0][:6] == NODATA).all()
    write_raster(tmp_path / "n.tif", np.tile(np.arange(256), ROWS * COLS)[:ROWS * COLS].reshape(ROWS, COLS),
                 nodata=None, kind=gdal.GDT_Byte)
    assert plain_of(tmp_path / "n.tif")[1] == []


def test_heights_that_may_be_gaps_or_depths_are_said(tmp_path):
    values = heights().astype(float)
    write_raster(tmp_path / "dem.tif", -values)
    assert any("all heights lie below 0" in note for note in plain_of(tmp_path / "dem.tif", "DEM", "")[1])
    values[:, 40] = 0  # a stripe
    write_raster(tmp_path / "dem.tif", values)
    assert any("DEM: 0 in 1.2% of the cells lies apart from all other values and is kept as a height" in note
               for note in plain_of(tmp_path / "dem.tif", "DEM", "")[1])
    write_raster(tmp_path / "dem.tif", np.where(values == 0, 0, values - 159))  # a shore
    assert not any("apart" in note for note in plain_of(tmp_path / "dem.tif", "DEM", "")[1])


def test_lines_so_far_are_printed_where_an_input_is_refused(capsys):
    with pytest.raises(InputError), library_notes(["a.tif: NDVI: -3000 in 9 cells"]):
        raise InputError("refused")
    assert capsys.readouterr().out == "a.tif: NDVI: -3000 in 9 cells\n"
