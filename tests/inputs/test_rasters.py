import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from osgeo import gdal, osr

from lsm.inputs import crs, rasters
from lsm.inputs.bands import bulk, gaps_of, heaped, marks_gap, refuse_impossible
from lsm.inputs.crs import crs_name
from lsm.inputs.rasters import (
    TERRAIN,
    Grid,
    Raster,
    cell_of,
    centres,
    known,
    read_band,
    read_composite,
    write_band,
    write_bands,
    write_windows,
)
from lsm.run.artifacts import check
from lsm.run.settings import InputError

PLACE = (-1000.0, 80.0, 0.0, 1500.0, 0.0, -75.0)
C = SimpleNamespace(REGION="isle", RECIPE=None, SEED=1)


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    return tmp_path / "composite.tif"


def wkt(epsg: int) -> str:
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(epsg)
    return crs.ExportToWkt()


def write(path, bands: np.ndarray, nodata=(-9999.0,) * 4, kind=gdal.GDT_Float32, place=PLACE):
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), bands.shape[2], bands.shape[1], len(bands), kind,
                                                   ["PROFILE=GeoTIFF"])
    dataset.SetGeoTransform(place)
    dataset.SetProjection(wkt(32650))
    for i, band in enumerate(bands):
        dataset.GetRasterBand(i + 1).SetNoDataValue(nodata[i])
        dataset.GetRasterBand(i + 1).WriteArray(band)
    return path


@pytest.fixture
def bands():
    return np.random.default_rng(0).uniform(0, 90, (4, 6, 5)).astype(np.float32)


def test_composite(path, bands):
    raster = read_composite(write(path, bands))
    np.testing.assert_array_equal(raster.bands, bands)
    assert raster.bands.dtype == np.float32
    assert raster.valid.all()
    assert raster.geotransform == PLACE
    assert osr.SpatialReference(wkt=raster.crs).IsSame(osr.SpatialReference(wkt=wkt(32650)))
    assert crs_name(raster.crs) == "WGS 84 / UTM zone 50N (EPSG:32650)"


@pytest.mark.parametrize("band", range(4))
@pytest.mark.parametrize("hole", [-9999.0, np.nan, np.inf])
def test_nodata_in_any_one_band(path, bands, band, hole):
    bands[band, 2, 3] = hole
    expected = np.ones((6, 5), bool)
    expected[2, 3] = False
    np.testing.assert_array_equal(read_composite(write(path, bands)).valid, expected)


def test_nodata_that_is_nan(path, bands):
    bands[1, 0, 0] = np.nan
    assert read_composite(write(path, bands, nodata=(np.nan,) * 4)).valid.sum() == 29


def test_nodata_that_float32_rounds(path, bands):
    bands[1, 0, 0] = np.float32(-3.4028234663852886e38)
    assert read_composite(write(path, bands, nodata=(-3.4028234663852886e38,) * 4)).valid.sum() == 29


def test_whole_number_and_double_bands(path, bands):
    for kind, values in ((gdal.GDT_Int16, bands.astype(np.int16)), (gdal.GDT_Float64, bands.astype(np.float64))):
        values[3, 5, 4] = -9999
        raster = read_composite(write(path, values, kind=kind))
        assert raster.bands.dtype == np.float32
        np.testing.assert_array_equal(raster.bands[0], values[0].astype(np.float32))
        assert raster.valid.sum() == 29


@pytest.mark.parametrize("count", [1, 3, 5])
def test_another_number_of_bands(path, bands, count):
    with pytest.raises(InputError, match=f"expected {len(TERRAIN)} bands, found {count}; write it with 4 float bands"):
        read_composite(write(path, np.resize(bands, (count, 6, 5)), nodata=(-9999.0,) * 5))


@pytest.mark.parametrize("place", [(0, 80, 1, 0, 0, -75), (0, 80, 0, 0, 1, -75), (0, 80, 0, 0, 0, 75),
                                   (0, -80, 0, 0, 0, -75)])
def test_not_north_up(path, bands, place):
    with pytest.raises(InputError, match="geotransform: expected north up, found"):
        read_composite(write(path, bands, place=place))


def test_cells_floor(path):
    xy = np.array([(-1000, 1500), (-920.01, 1425.01), (-920, 1425), (-1000.01, 1500.01), (-1, 1), (0, 0),
                   (-1080, 1575)])
    row, col = cell_of(PLACE, xy)
    np.testing.assert_array_equal(row, [0, 0, 1, -1, 19, 20, -1])
    np.testing.assert_array_equal(col, [0, 0, 1, -1, 12, 12, -1])
    assert row.dtype == col.dtype == np.int64


def test_cells_of_centres():
    row, col = (a.ravel() for a in np.mgrid[-3:40, -3:50])
    x, y = centres(PLACE, row, col)
    found = cell_of(PLACE, np.column_stack([x, y]))
    np.testing.assert_array_equal(found[0], row)
    np.testing.assert_array_equal(found[1], col)
    assert (x[0], y[0]) == (-1000 - 2.5 * 80, 1500 + 2.5 * 75)


@pytest.mark.parametrize(("cells", "largest"), [(10**6, 70 * 90), (40 * 90, 32 * 90), (20 * 90, 16 * 90),
                                                (1000, 16 * 48), (300, 16 * 16), (200, 2 * 90), (7, 90)])
def test_tiles_cover_a_grid_once(monkeypatch, cells, largest):
    monkeypatch.setattr(rasters, "TILE", 16)
    seen, sizes = np.zeros((70, 90), int), []
    for row, col, rows, cols in Grid(70, 90, PLACE, "").tiles(cells):
        seen[row:row + rows, col:col + cols] += 1
        sizes.append(rows * cols)
        assert cells < 16 * 16 or (row % 16, col % 16) == (0, 0)
    assert (seen.min(), seen.max(), max(sizes)) == (1, 1, largest)


def test_windows_make_the_raster_that_is_written_at_once(path):
    band = np.random.default_rng(1).random((600, 700)).astype(np.float32)
    like = Grid(*band.shape, PLACE, wkt(2326))
    once, parts, one = (path.with_name(f"{name}.tif") for name in ("once", "parts", "one"))
    write_band(once, band, like, -9999, "p", "maker.py", C, [])
    write_windows(parts, ((r, c, band[r:r + rows, c:c + cols]) for r, c, rows, cols in like.tiles(1 << 17)), like, "p")
    write_windows(one, [(0, 0, band)], like, "p")
    np.testing.assert_array_equal(read_band(parts), band)
    assert gdal.Info(str(parts)).replace("parts.tif", "") == gdal.Info(str(once)).replace("once.tif", "")
    assert one.read_bytes() == once.read_bytes()


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_write_band_round_trip(path, bands, dtype):
    like = Raster(bands, np.ones((6, 5), bool), PLACE, wkt(2326))
    band = (bands[0] * 1000).astype(dtype)
    band[0, 0] = -9999
    path = path.with_name("band.tif")
    write_band(path, band, like, -9999, "what it is", "maker.py", C, [])
    np.testing.assert_array_equal(read_band(path), band)
    assert read_band(path).dtype == dtype
    dataset = gdal.Open(str(path))
    assert dataset.GetGeoTransform() == PLACE
    assert osr.SpatialReference(wkt=dataset.GetProjection()).IsSame(osr.SpatialReference(wkt=wkt(2326)))
    assert (dataset.RasterCount, dataset.GetRasterBand(1).GetNoDataValue()) == (1, -9999)
    assert dataset.GetRasterBand(1).GetDescription() == "what it is"
    assert check(path, "maker.py", C)["stage"] == "maker.py"
    assert sorted(p.name for p in path.parent.iterdir()) == ["band.tif", "band.tif.json"]
    first = path.read_bytes()
    write_band(path, band, like, -9999, "what it is", "maker.py", C, [])
    assert path.read_bytes() == first


def test_write_bands_takes_one_band_at_a_time_and_as_many_as_names(path, bands):
    like, path = Grid(6, 5, PLACE, wkt(32650)), path.with_name("bands.tif")
    write_bands(path, iter(bands[:2]), like, -9999, ["one", "two"], "maker.py", C, [])
    dataset = gdal.Open(str(path))
    np.testing.assert_array_equal(dataset.ReadAsArray(), bands[:2])
    assert [dataset.GetRasterBand(i).GetDescription() for i in (1, 2)] == ["one", "two"]
    assert Grid.of(dataset) == Grid(6, 5, PLACE, dataset.GetProjection())
    for count in (1, 3):
        with pytest.raises(ValueError, match="zip"):
            write_bands(path, iter(bands[:count]), like, -9999, ["one", "two"], "maker.py", C, [])
    np.testing.assert_array_equal(gdal.Open(str(path)).ReadAsArray(), bands[:2])  # still the whole one


@pytest.mark.parametrize(("nodata", "expected"), [(-9999, [True, False]), (None, [True, True]), (np.nan, [True, True])])
def test_known_values(nodata, expected):
    assert known(np.array([1, -9999, np.nan, np.inf], np.float32), nodata).tolist() == [*expected, False, False]


def test_missing_and_no_raster(path):
    with pytest.raises(InputError, match=r"^composite\.tif: missing; put it there"):
        read_composite(path)
    path.write_text("no raster")
    with pytest.raises(InputError, match=r"^composite\.tif: expected a raster that GDAL opens, found none; write"):
        read_composite(path)


@pytest.mark.parametrize(("values", "gap"), [([-148.0, -20.0, 5.0], False), ([-9999.0, -20.0, 5.0], True),
                                             ([-5.0, -5.0, 5.0], True)])
def test_only_numbers_that_may_mark_gaps_are_called_so(values, gap):
    with pytest.raises(InputError, match="expected 0 to 360 degrees") as caught:
        refuse_impossible(np.array(values), "aspect", "circular", "a.tif", "-a_nodata <number>")
    assert ("if it marks gaps" in str(caught.value)) == gap


@pytest.mark.parametrize(("odd", "n", "gaps", "kept"), [
    (1000, 12, True, False), (-255, 12, True, False), (-999.9, 12, True, False), (9999, 1, True, False),
    (1000, 6, False, True), (60, 12, False, True), (255.5, 12, False, True), (60, 6, False, False),
    (5, 12, False, False)])
def test_one_number_far_from_all_others_marks_gaps(odd, n, gaps, kept):
    values = np.r_[np.sin(np.arange(200)) * 8, np.full(n, odd)]
    found, notes = gaps_of(values, "a.csv", vary=True)
    np.testing.assert_array_equal(found, np.r_[np.zeros(200, bool), np.full(n, gaps)])
    assert any("taken for a gap" in note for note in notes) == gaps
    assert any("is kept; if it marks gaps" in note for note in notes) == kept


def test_a_velocity_of_0_far_too_often_is_said():
    found, notes = gaps_of(np.r_[np.zeros(50), np.sin(1 + np.arange(200)) * 8], "a.csv", vary=True)
    assert not found.any()
    assert notes == ["a.csv: 0 at 50 points is far more frequent than any other value and is kept; if it marks gaps, "
                     "remove these points"]


@pytest.mark.parametrize("fast", [-120.0 - np.arange(9), np.full(9, -120.0)])
def test_fast_points_are_no_gaps(fast):
    slow = np.round(np.sin(np.arange(200)) * 8, 1)  # rounded: equal numbers are common
    assert not gaps_of(np.r_[slow, fast], "a.csv", vary=True)[0].any()
    for two in ([-13.0] * 9 + [193.0] * 9, [347.0] * 9, [0.0] * 99 + [150.0]):
        assert not gaps_of(np.array(two), "a.csv")[0].any()


@pytest.mark.parametrize(("gap", "others", "marks"), [
    (-999, 8, True), (9999, 900, True), (-9999, 1e6, True), (-999, 400, False), (-99, 2, False), (1234, 2, False)])
def test_numbers_that_mark_gaps_in_tables(gap, others, marks):
    rain = np.r_[np.linspace(300, 1200, 99), gap]
    np.testing.assert_array_equal(marks_gap(rain), np.r_[np.zeros(99, bool), gap in (-999, -9999, 9999)])
    assert marks_gap(np.r_[rain, gap])[-1] == (gap != 1234)
    values = np.r_[np.linspace(-others, others, 99), gap]
    np.testing.assert_array_equal(marks_gap(values), np.r_[np.zeros(99, bool), marks])


@pytest.mark.parametrize("kind", ["int", "float"])
def test_a_heap_of_zeros_is_noticed_among_whole_numbers_too(kind):
    values = np.random.default_rng(1).normal(500, 1500, 20_000)
    values = values.round() if kind == "int" else values
    assert not heaped(values)
    values[:1000] = 0
    assert heaped(values)


def test_neither_many_gaps_nor_many_odd_numbers_move_the_bulk():
    rng = np.random.default_rng(0)
    some = np.round(rng.uniform(0.1, 0.8, 8000), 2)
    assert bulk(some) == pytest.approx(0.45, abs=0.03)
    assert bulk(np.append(some, rng.uniform(5000, 20_000, 240))) < 0.8  # 240 numbers beside 71
    assert bulk(np.append(some, np.full(20_000, 10_000.0))) < 0.8
    assert bulk(np.array([0.0, np.nan])) == 0


def test_points_are_moved_part_by_part(monkeypatch):
    xy = np.random.default_rng(0).uniform((110, 30), (111, 31), (20_001, 2))
    at_once = crs.moved(xy, crs.crs_of(4326), crs.crs_of(32649))
    monkeypatch.setattr(crs, "PART", 1000)
    tracemalloc.start()
    moved = crs.moved(xy, crs.crs_of(4326), crs.crs_of(32649))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(moved, at_once)
    assert peak < 60 * len(xy)  # bytes; lists of all points took 272 each
    assert crs.moved(xy[:0], crs.crs_of(4326), crs.crs_of(32649)).shape == (0, 2)
