import itertools
import json

import numpy as np
import pytest
from osgeo import gdal
from small_region import NODATA, write_raster

import study_area
from lsm.inputs import rasters
from lsm.maps import classes
from lsm.run.paths import Paths
from lsm.run.settings import InputError, constants


def test_breaks_by_every_method():
    sample = np.sort(np.random.default_rng(0).random(1000))
    assert classes.class_breaks("fixed", (0.2, 0.4), 3, sample) == [0.2, 0.4]
    quantile = classes.class_breaks("quantile", (), 5, sample)
    assert np.bincount(np.digitize(sample, quantile)).tolist() == [200] * 5
    equal = classes.class_breaks("equal", (), 4, np.array([1.0, 2.0, 9.0]))
    assert equal == [3.0, 5.0, 7.0]


def test_natural_breaks_have_the_least_squares_within_classes():
    sample = np.sort(np.random.default_rng(2).random(14) ** 2)
    found = classes.class_breaks("natural", (), 3, sample)

    def within(cuts):
        return sum(((part - part.mean()) ** 2).sum() for part in np.split(sample, cuts))

    best = min(itertools.combinations(range(1, 14), 2), key=within)
    assert tuple(np.searchsorted(sample, found)) == best
    assert np.bincount(np.digitize(sample, found)).tolist() == [best[0], best[1] - best[0], 14 - best[1]]


@pytest.mark.parametrize("method", ["quantile", "equal", "natural"])
@pytest.mark.parametrize("sample", [np.empty(0), np.full(50, 0.3)])
def test_values_that_give_no_classes_are_refused(method, sample):
    with pytest.raises(InputError, match=f"BREAKS={method}: expected 4 different breaks"):
        classes.class_breaks(method, (), 5, sample)


def test_a_sample_is_of_known_values_and_keeps_the_extremes(tmp_path, monkeypatch):
    values = np.random.default_rng(1).random((700, 900)).astype(np.float32)
    values[:350, :450] = NODATA
    write_raster(tmp_path / "map.tif", values)
    dataset = gdal.Open(str(tmp_path / "map.tif"))
    monkeypatch.setattr(rasters, "WINDOW", 100 * 900)
    known = np.sort(values[values >= 0]).astype(float)
    np.testing.assert_array_equal(classes.sample_of(dataset, values.size, np.random.default_rng(0)), known)
    drawn = classes.sample_of(dataset, 2000, np.random.default_rng(0))
    assert (drawn[0], drawn[-1]) == (known[0], known[-1])
    assert np.isin(drawn, known).all()
    assert np.quantile(drawn, 0.5) == pytest.approx(np.quantile(known, 0.5), abs=0.05)
    np.testing.assert_array_equal(drawn, classes.sample_of(dataset, 2000, np.random.default_rng(0)))


def test_quantiles_do_not_count_the_extremes_of_strips(tmp_path, monkeypatch):
    """Of strips of a row, these would be two of three values."""
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    values = np.random.default_rng(1).random((700, 40)).astype(np.float32) ** 3
    paths = Paths("isle")
    paths.map_raster.parent.mkdir()
    write_raster(paths.map_raster, values)
    monkeypatch.setattr(rasters, "WINDOW", 40)
    c = constants(study_area.MappedArea, ["REGION=isle", "BREAKS=quantile", "BREAKS_FROM=700"])
    found, _ = classes.breaks_of(paths, gdal.Open(str(paths.map_raster)), "figure.py", c)
    shares = np.bincount(np.digitize(values.ravel(), found)) / values.size
    np.testing.assert_allclose(shares, 0.2, atol=0.05)


# kept ------------------------------------------------------------------------------------------------------------

def test_breaks_stay_those_of_the_first_map_until_the_method_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    paths, maps = Paths("own"), []
    for power in (1, 3):
        write_raster(tmp_path / f"{power}.tif", np.random.default_rng(1).random((60, 80)).astype(np.float32) ** power)
        maps.append(gdal.Open(str(tmp_path / f"{power}.tif")))
    paths.map_raster.parent.mkdir()
    paths.map_raster.touch()

    def breaks(dataset, *settings):
        c = constants(study_area.MappedArea, ["REGION=own", *settings])
        return classes.breaks_of(paths, dataset, "figure.py", c)

    first, kept = breaks(maps[0], "BREAKS=quantile")
    assert not kept
    assert json.loads(paths.breaks.read_text()) == {"method": "quantile", "breaks": first}
    assert breaks(maps[1], "BREAKS=quantile") == (first, True)
    assert breaks(maps[1], "BREAKS=fixed") == ([0.2, 0.4, 0.6, 0.8], False)
    cubed, _ = breaks(maps[1], "BREAKS=quantile")
    np.testing.assert_allclose(cubed, np.power(first, 3), rtol=1e-6)
    assert breaks(maps[1], "BREAKS=fixed", "CLASS_BREAKS=(0.1,0.2,0.3,0.4)") == ([0.1, 0.2, 0.3, 0.4], False)


@pytest.mark.parametrize(("setting", "message"), [
    ('CLASS_COLOURS=("red","#fff","#12345g","#000000","#ffffff")', "expected colours like #d7191c, found 'red'"),
    ("BREAKS=jenks", "BREAKS=jenks: expected one of fixed"), ("BREAKS_FROM=9", "expected 100 or more"),
    ("CLASS_NAMES=('low','high')", "expected a colour for each of 2 classes"),
    ("CLASS_BREAKS=(0.4,0.2,0.6,0.8)", "expected 4 rising probabilities"),
    ("CLASS_BREAKS=(20,40,60,80)", "probabilities between 0 and 1")])
def test_constants_that_give_no_classes_are_refused(setting, message):
    with pytest.raises(InputError, match=message):
        classes.check_constants(constants(study_area.MappedArea, [setting]))


def test_a_map_of_one_class_is_named():
    c = constants(study_area.MappedArea, [])
    found = classes.dominant_class(np.array([4, 96, 0, 0, 0]), c)
    assert found == f"96.0% of the cells are in one class, {c.CLASS_NAMES[1]}"
    assert not classes.dominant_class(np.array([6, 94, 0, 0, 0]), c)
    assert not classes.dominant_class(np.zeros(5, int), c)
