"""The stack of factors as stages read it: damaged, elsewhere or with values that no factor has, it is refused."""

import numpy as np
import pytest
from osgeo import gdal
from small_region import COLS, NODATA, PLACE, ROWS, crs_of, heights

from lsm.inputs import grid_cells
from lsm.inputs.factor.definition import Factor
from lsm.inputs.rasters import Grid, create_raster, read_composite
from lsm.run.settings import InputError

GRID = Grid(ROWS, COLS, PLACE, crs_of(32650).ExportToWkt())
FACTORS = (Factor("DEM", "continuous", "m"), Factor("slope", "continuous", "degree"),
           Factor("aspect", "circular", "degree"), Factor("TWI", "continuous", "-"),
           Factor("dis2road", "distance", "m"), Factor("soil", "categorical", "class"))


def write(path, change=lambda values: None, grid=GRID, names=tuple(f.name for f in FACTORS), **options):
    values = np.stack([heights(), heights() / 20, heights() % 360, heights() / 30, heights(), heights() // 100])
    change(values)
    dataset = create_raster(path, grid, names=names, **options)
    for i, _ in enumerate(names):
        dataset.GetRasterBand(i + 1).WriteArray(values[i, :grid.rows, :grid.cols])
    dataset.FlushCache()
    return path


def read(path, rows=1000) -> np.ndarray:
    return np.concatenate([factors for factors, _ in grid_cells.chunks(path, FACTORS, rows)])


def test_a_stack_is_read_as_written(tmp_path):
    def hole(values):
        values[3, 5, 6] = NODATA
    assert read(write(tmp_path / "factors.tif", hole)).shape == (ROWS * COLS - 1, 6)


def test_a_stack_may_be_a_virtual_raster_of_other_files(tmp_path):
    made = write(tmp_path / "made.tif")
    for i, factor in enumerate(FACTORS, start=1):
        gdal.Translate(str(tmp_path / f"{factor.name}.tif"), str(made), bandList=[i])
    stack = tmp_path / "factors.tif"
    virtual = gdal.BuildVRT(str(tmp_path / "factors.vrt"), [str(tmp_path / f"{f.name}.tif") for f in FACTORS],
                            separate=True)
    for i, factor in enumerate(FACTORS, start=1):
        virtual.GetRasterBand(i).SetDescription(factor.name)
    virtual.FlushCache()
    del virtual
    (tmp_path / "factors.vrt").rename(stack)
    np.testing.assert_array_equal(read(stack), read(made))
    (tmp_path / "TWI.tif").unlink()
    with pytest.raises(InputError, match=r"factors\.tif: expected a whole raster, found"):
        read(stack)


@pytest.mark.parametrize(("band", "value", "expected"), [
    (0, -32768, "band 1 .DEM.: expected heights from -500 to 9000 m, found -32768 in 1 cell; .*-a_nodata -32768"),
    (1, 95, "band 2 .slope.: expected slopes from 0 to 90 degrees, found 95"),
    (2, 400, "band 3 .aspect.: expected 0 to 360 degrees, or -1 for flat, found 400"),
    (2, -7, "band 3 .aspect.: expected 0 to 360 degrees, or -1 for flat, found -7"),
    (3, -999, "band 4 .TWI.: expected numbers, found -999 in 1 cell; if it marks gaps, declare it"),
    (3, NODATA, "band 4 .TWI.: expected numbers, found -9999"),
    (3, 3e38, "band 4 .TWI.: expected numbers, found 3.00000001e.38"),
    (4, -8888, "band 5 .dis2road.: expected distances of 0 m or more, found -8888"),
    (5, 1.5, "band 6 .soil.: expected .*, found 1.5")])
def test_values_that_a_factor_cannot_have(tmp_path, monkeypatch, band, value, expected):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    def wrong(values):
        values[band, 7, 8] = value
    with pytest.raises(InputError, match=expected):
        read(write(tmp_path / "factors.tif", wrong, nodata=-1e30))


@pytest.mark.parametrize("rows", [COLS, ROWS * COLS])
def test_a_number_marks_a_gap_by_the_whole_band(tmp_path, rows):
    def low(values):
        values[3, :10] -= 1000
        values[3, 20, 5] = -999
    assert -999 in read(write(tmp_path / "factors.tif", low, nodata=-1e30), rows)[:, 3]


def test_damaged_tiles(tmp_path):
    path = write(tmp_path / "factors.tif", options=("TILED=YES", "BLOCKXSIZE=16", "BLOCKYSIZE=16", "COMPRESS=DEFLATE"))
    path.write_bytes(path.read_bytes()[:40_000])
    with pytest.raises(InputError, match=r"factors.tif: expected a (whole raster|raster that GDAL opens), found"):
        read(path)


def test_a_stack_of_codes_beside_samples_in_words_is_refused(tmp_path):
    path = write(tmp_path / "factors.tif")
    soil = Factor("soil", "categorical", "class", words=("clay", "sand"))
    with pytest.raises(InputError, match=r"factors\.tif: soil: expected class codes in the samples too, found words"):
        next(grid_cells.chunks(path, (*FACTORS[:5], soil), 1000))


def test_a_stack_elsewhere_than_composite(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    write(tmp_path / "composite.tif", names=("DEM", "aspect", "curvature", "slope"))
    read(write(tmp_path / "factors.tif"))
    west, *rest = PLACE
    for grid in (Grid(ROWS, COLS, (west + 1e5, *rest), GRID.crs), Grid(ROWS - 1, COLS, PLACE, GRID.crs)):
        with pytest.raises(InputError, match=r"factors.tif: expected the grid of composite.tif \(60 x 80 cells, X"):
            read(write(tmp_path / "factors.tif", grid=grid))


COMPOSITE = {"undeclared heights": (0, -9999, r"band 1 \(DEM\): expected heights from -500 to 9000 m, found -9999"),
             "aspect": (1, -9999, r"band 2 \(aspect\): expected 0 to 360 degrees, or -1 for flat, found -9999"),
             "curvature": (2, -9999, r"band 3 \(curvature\): expected numbers, found -9999"),
             "slope": (3, -5, r"band 4 \(slope\): expected slopes from 0 to 90 degrees, found -5")}


@pytest.mark.parametrize(("band", "value", "expected"), COMPOSITE.values(), ids=COMPOSITE)
def test_a_composite_with_values_that_terrain_cannot_have(tmp_path, monkeypatch, band, value, expected):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    def wrong(values):
        values[:] = heights() / 20
        values[band, 7, 8] = value
    with pytest.raises(InputError, match=expected):
        read_composite(write(tmp_path / "c.tif", wrong, names=("DEM", "aspect", "curvature", "slope"), nodata=-32768))


def test_a_composite_with_scale_and_mask(tmp_path):
    path = write(tmp_path / "c.tif", lambda v: v.__setitem__(slice(None), heights() / 20), nodata=None,
                 names=("DEM", "aspect", "curvature", "slope"))
    dataset = gdal.Open(str(path), gdal.GA_Update)
    dataset.GetRasterBand(1).SetScale(10)
    dataset.CreateMaskBand(gdal.GMF_PER_DATASET)
    there = np.full((ROWS, COLS), 255, np.uint8)
    there[:, :9] = 0
    dataset.GetRasterBand(1).GetMaskBand().WriteArray(there)
    dataset = None
    raster = read_composite(path)
    np.testing.assert_allclose(raster.bands[0], heights() / 2, rtol=1e-6)
    np.testing.assert_array_equal(raster.valid, there > 0)


def test_a_header_of_endless_cells_is_refused_before_reading(tmp_path):
    band = '<VRTRasterBand dataType="Float32" band="{}"><NoDataValue>-9999</NoDataValue></VRTRasterBand>'
    (tmp_path / "c.tif").write_text(
        '<VRTDataset rasterXSize="1000000" rasterYSize="1000000"><SRS>EPSG:32650</SRS><GeoTransform>0,1,0,0,0,-1'
        f'</GeoTransform>{"".join(map(band.format, (1, 2, 3, 4)))}</VRTDataset>')
    with pytest.raises(InputError, match=r"c.tif: expected at most 2,000,000,000 cells, found 1000000 x 1000000; cut"):
        read_composite(tmp_path / "c.tif")
