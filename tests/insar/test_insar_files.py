"""Rasters of velocities: every cell with a value is a point; what the raster says of itself counts."""

import re
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from osgeo import gdal, osr
from small_region import CELL, COLS, NORTH, PLACE, ROWS, WEST, crs_of, write_layer

from lsm.inputs.rasters import Grid
from lsm.insar import insar_files
from lsm.insar.velocities import key_of, read_insar
from lsm.run.settings import InputError

GRID = Grid(ROWS, COLS, PLACE, crs_of(32650).ExportToWkt())
DEGREES = (116.999, 0.0005, 0.0, 22.6075, 0.0, -0.0005)  # a grid of 0.0005 degrees over the area


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    return tmp_path / "velocity.tif"


def velocities(rows=ROWS, cols=COLS) -> np.ndarray:
    return (np.random.default_rng(0).normal(0, 5, (rows, cols)) + 0.001).astype(np.float32)


def write(path, values, epsg=32650, place=PLACE, nodata=None, unit="", kind=gdal.GDT_Float32, scale=None, offset=None,
          more=(), mask=None, name=""):
    if mask is not None:
        gdal.SetConfigOption("GDAL_TIFF_INTERNAL_MASK", "YES")
    data = gdal.GetDriverByName("GTiff").Create(str(path), values.shape[1], values.shape[0], 1 + len(more), kind)
    data.SetGeoTransform(place)
    if epsg:
        data.SetSpatialRef(crs_of(epsg))
    band = data.GetRasterBand(1)
    band.WriteArray(values)
    if nodata is not None:
        band.SetNoDataValue(nodata)
    if scale:
        band.SetScale(scale)
        band.SetOffset(offset)
    band.SetUnitType(unit)
    band.SetDescription(name)
    for i, (name, layer) in enumerate(more, start=2):
        data.GetRasterBand(i).WriteArray(layer)
        data.GetRasterBand(i).SetDescription(name)
    if mask is not None:
        data.CreateMaskBand(gdal.GMF_PER_DATASET)
        band.GetMaskBand().WriteArray(mask)
    data.FlushCache()
    del band, data
    gdal.SetConfigOption("GDAL_TIFF_INTERNAL_MASK", None)
    return path


@pytest.mark.parametrize(("driver", "end"), [("netCDF", ".nc"), ("EHdr", ".bil"), ("SAGA", ".sdat")])
def test_a_raster_of_any_format(path, driver, end):
    v, other = velocities(), path.with_suffix(end)
    gdal.Translate(str(other), str(write(path, v)), format=driver)
    np.testing.assert_allclose(read_insar(other, GRID)[0].velocity, v.ravel())


def test_cells_are_points(path):
    v = velocities()
    points, notes = read_insar(write(path, v), GRID)
    np.testing.assert_allclose(points.velocity, v.ravel())
    row, col = np.divmod(np.arange(v.size), COLS)
    np.testing.assert_allclose(points.xy, np.column_stack([WEST + (col + 0.5) * CELL, NORTH - (row + 0.5) * CELL]))
    assert notes == ["velocity.tif: 4,800 of 4,800 cells on and around the grid have a velocity and are the points"]


@pytest.mark.parametrize(("gap", "said"), [
    (np.nan, "4,000 of 4,800 cells on .* points, 800 nodata"), (0.0, "are the points, 800 exactly 0"),
    (1e30, "are the points, 800 too large for values"), (-9999.0, "velocity: -9999 at 800 cells is taken for a gap"),
    (-32768.0, "velocity: -32768 at 800 cells is taken for a gap")])
def test_gaps_are_no_points_and_counted(path, gap, said):
    v = velocities()
    v[:10] = gap
    points, notes = read_insar(write(path, v), GRID)
    np.testing.assert_allclose(points.velocity, v[10:].ravel())
    assert re.search(said, "\n".join(notes))


def test_fast_whole_numbers_stay_and_a_heap_of_zeros_is_said(path):
    v = np.round(velocities() * 10)
    v[:2, :5] = 20 * np.abs(v).max()
    assert len(read_insar(write(path, v, kind=gdal.GDT_Int16), GRID)[0].velocity) == v.size
    v[10:30] = 0
    points, notes = read_insar(write(path, v, kind=gdal.GDT_Int16), GRID)
    assert len(points.velocity) == v.size
    assert any("exactly 0 in 1,6" in note and "is kept as a velocity" in note for note in notes)


def test_declared_nodata_and_masks_are_no_points(path):
    v = velocities()
    v[:10] = 77
    assert len(read_insar(write(path, v, nodata=77), GRID)[0].velocity) == v[10:].size
    mask = np.full(v.shape, 255, np.uint8)
    mask[:20] = 0
    assert len(read_insar(write(path.with_name("m.tif"), v, mask=mask), GRID)[0].velocity) == v[20:].size


@pytest.mark.parametrize(("filler", "kind"), [(99.99, gdal.GDT_Float32), (40, gdal.GDT_Int16), (40, gdal.GDT_Float64)])
def test_a_number_that_a_person_says_marks_gaps(path, filler, kind):
    """The largest number far more often than any other is kept and said; the remedy in the line leaves it out."""
    v = velocities().round(1).clip(-30, 30).astype(np.float64)
    v[:20] = filler
    points, notes = read_insar(write(path, v, kind=kind), GRID)
    kept = [note for note in notes if "is kept; if it marks gaps" in note]
    if kind == gdal.GDT_Float64:
        assert (points.velocity == 40).sum() == v[:20].size
        assert kept[0].endswith('if it marks gaps, declare it (INSAR="velocity.tif|nodata=40")')
    points, notes = read_insar(f"{path}|nodata={filler}", GRID)
    assert points.velocity.max() <= 30
    assert any(f"1,600 {filler:g}" in note for note in notes)
    for other in (-1e9, 99.5):  # numbers that the cells cannot hold mark none
        assert len(read_insar(f"{path}|nodata={other}", GRID)[0].velocity) >= v[20:].size - (v == 0).sum()


def test_scale_and_offset(path):
    v = np.round(velocities() * 10).astype(np.int16)
    points, _ = read_insar(write(path, v, kind=gdal.GDT_Int16, scale=0.1, offset=2.0), GRID)
    np.testing.assert_allclose(points.velocity, v.ravel() * 0.1 + 2)


@pytest.mark.parametrize(("unit", "factor"), [("m/yr", 1000), ("m/year", 1000), ("mm/yr", 1), ("cm/a", 10)])
def test_the_unit_that_a_band_states_counts(path, unit, factor):
    v = velocities() / np.float32(factor)
    for how in ({"unit": unit}, {"name": f"velocity ({unit})"}, {"name": f"vel_los_{unit.replace('/', '_')}"}):
        points, notes = read_insar(write(path, v, **how), GRID)
        np.testing.assert_allclose(points.velocity, v.ravel() * factor, rtol=1e-6)
        assert any("as the file says" in note for note in notes) == (factor != 1)


def test_the_unit_of_a_person(path):
    v = velocities() / 1000
    np.testing.assert_allclose(read_insar(write(path, v), GRID, unit="m/yr")[0].velocity, v.ravel() * 1000, rtol=1e-6)
    with pytest.raises(InputError, match=r"velocities: expected mm/yr, found 99 % below .* give INSAR_UNIT"):
        read_insar(path, GRID)


def test_a_raster_in_degrees(path):
    """As LiCSBAS and MintPy export it: only its cells around the area are read, at their own places."""
    v = np.full((200, 200), np.nan, np.float32)
    v[20:60, 10:60] = velocities(40, 50)
    points, _ = read_insar(write(path, v, epsg=4326, place=DEGREES), GRID)
    row, col = np.nonzero(np.isfinite(v))
    lon, lat = DEGREES[0] + (col + 0.5) * DEGREES[1], DEGREES[3] + (row + 0.5) * DEGREES[5]
    target = crs_of(32650)
    xy = np.array(osr.CoordinateTransformation(crs_of(4326), target).TransformPoints(
        np.column_stack([lon, lat]).tolist()))[:, :2]
    there = {tuple(p) for p in np.round(xy, 3)}
    assert {tuple(p) for p in np.round(points.xy, 3)} <= there
    inside = (np.abs(xy - (WEST + 1200, NORTH - 900)) < (1200, 900)).all(axis=1)
    assert inside.sum() > 500
    found = {tuple(p): v for p, v in zip(np.round(points.xy, 3), points.velocity, strict=True)}
    assert all(found[tuple(p)] == pytest.approx(w) for p, w in zip(np.round(xy, 3)[inside], v[row, col][inside],
                                                                   strict=True))


def test_bands_beside_the_velocity_count_by_their_names(path):
    v, ones = velocities(), np.ones((ROWS, COLS), np.float32)
    more = [("velocity_std", ones * 0.5), ("coherence", ones * 0.9), ("incidence_angle", ones * 39),
            ("track_angle", ones * -11), ("height", ones)]
    points, _ = read_insar(write(path, v, more=more), GRID)
    for name, value in (("error", 0.5), ("coherence", 0.9), ("incidence", 39), ("heading", -11)):
        np.testing.assert_allclose(getattr(points, name), value)


def test_the_band_of_velocities_is_found_by_its_name(path):
    v, ones = velocities(), np.ones((ROWS, COLS), np.float32)
    np.testing.assert_array_equal(read_insar(write(path, v, more=[("", ones)]), GRID)[0].velocity,
                                  read_insar(write(path, v), GRID)[0].velocity)
    path = write(path, ones, more=[("vel", v)])
    np.testing.assert_array_equal(read_insar(path, GRID)[0].velocity, read_insar(f"{path}|band=2", GRID)[0].velocity)


@pytest.mark.parametrize(("options", "words"), [
    ({"epsg": None}, "expected a CRS and a geotransform, found none"),
    ({"epsg": 32651}, "check its CRS"), ({"place": (WEST + 1e6, 30.0, 0, NORTH, 0, -30.0)}, "found 0; check its CRS"),
    ({"unit": "mm"}, "unit: expected one of mm/yr, cm/yr, m/yr, found 'mm'"),
    ({"unit": "0.1 mm/yr"}, "unit: expected one of mm/yr, cm/yr, m/yr, found '0.1 mm/yr'"),
    ({"unit": "mm/yr", "name": "velocity (cm/yr)"}, "found 'mm/yr' and, in a name, cm/yr; correct one"),
    ({"nodata": 5.0, "values": np.full((ROWS, COLS), 5, np.float32)}, "found none; check its CRS and nodata")])
def test_refused(path, options, words):
    values = options.pop("values", velocities())
    with pytest.raises(InputError, match=words):
        read_insar(write(path, values, **options), GRID)


def test_a_raster_that_is_none(path):
    path.write_bytes(b"no raster")
    with pytest.raises(InputError, match="InSAR points: expected a raster that GDAL opens"):
        read_insar(path, GRID)


def test_too_many_cells(path, monkeypatch):
    monkeypatch.setattr(insar_files, "MOST_CELLS", 100)
    with pytest.raises(InputError, match="expected 1 to 100 cells on the DEM"):
        read_insar(write(path, velocities()), GRID)


def write_hdf5(path, sets: dict, place=DEGREES, **more):
    """A file as MintPy writes it, of data sets by name."""
    h5py = pytest.importorskip("h5py")
    if gdal.GetDriverByName("HDF5") is None:
        pytest.skip("this GDAL has no HDF5")
    with h5py.File(path := path.with_suffix(".h5"), "w") as file:
        for name, values in sets.items():
            file[name] = values
        for name, value in {"X_FIRST": place[0], "Y_FIRST": place[3], "X_STEP": place[1], "Y_STEP": place[5],
                            "UNIT": "m/year", "HEADING": -12.5, "INCIDENCE_ANGLE": 39.2, **more}.items():
            file.attrs[name] = str(value)
    return path


def test_an_hdf5_file_without_a_velocity(path):
    for sets in (("displacement",), ("displacement", "height")):
        with pytest.raises(InputError, match=f"a geocoded velocity of MintPy .*, found {', '.join(sets)}; export it"):
            read_insar(write_hdf5(path, dict.fromkeys(sets, velocities())), GRID)


@pytest.mark.parametrize(("more", "said"), [
    ({"UTM_ZONE": "50N"}, "velocity.h5: InSAR points: read in EPSG:32650, as its UTM_ZONE 50N says"),
    ({"UTM_ZONE": "51N", "EPSG": "32650"}, ""), ({"UTM_ZONE": "50"}, "a UTM zone like 33N .*, found '50'; say its CRS"),
    ({"EPSG": "EPSG:32650"}, "found 'EPSG:32650'; say its CRS"), ({}, "found 0; check its CRS, or say it")])
def test_the_crs_of_an_hdf5_file_of_mintpy(path, more, said):
    path = write_hdf5(path, {"velocity": velocities() / 1000}, PLACE, **more)
    if "say" in said.partition(";")[2]:
        with pytest.raises(InputError, match=said + r': INSAR="velocity.h5\|epsg=<code>"'):
            read_insar(path, GRID)
        path = f"{path}|epsg=32650"
    points, notes = read_insar(path, GRID)
    assert len(points.velocity) == ROWS * COLS
    assert [note for note in notes if "read in" in note] == [said] * said.endswith("says")


@pytest.mark.parametrize("sets", [("velocity", "velocityStd"), ("velocity",)])
def test_an_hdf5_file_of_mintpy(path, sets):
    v = velocities(120, 120) / 1000
    path = write_hdf5(path, {name: v if name == "velocity" else np.abs(v) + 0.001 for name in sets})
    points, notes = read_insar(path, GRID)
    assert "velocity.h5: velocities are in m/yr, as the file says" in notes
    assert np.isin(np.round(points.velocity, 3), np.round(v.astype(np.float64) * 1000, 3)).all()
    assert 1000 < len(points.velocity) < 2000
    assert points.heading[0] == -12.5
    assert (points.error is None) == (len(sets) == 1)


def test_memory_for_a_layer_of_points_is_that_of_its_numbers(tmp_path):
    n, rng = 5000, np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(n, 4)), columns=["velocity", "coherence", "heading", "incidence"])
    write_layer(tmp_path / "p.gpkg", table.assign(x=WEST + 1 + rng.random(n), y=NORTH - 1 - rng.random(n)))
    tracemalloc.start()
    found, *_ = insar_files.layer_table(tmp_path / "p.gpkg", GRID, lambda name: True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(found[table.columns], table)
    assert peak < 200 * n  # bytes; lists of Python's numbers took 411 each


def test_memory_for_a_raster_is_that_of_its_numbers(path):
    write(path, velocities(300, 300))
    tracemalloc.start()
    table, *_ = insar_files.raster_table(path, Grid(300, 300, PLACE, GRID.crs), key_of)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(table) == 300**2
    assert peak < 75 * 300**2  # bytes; it was 94, and in another CRS 300
