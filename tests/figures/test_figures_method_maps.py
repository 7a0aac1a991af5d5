"""The figure of the methods' maps on made rasters and scores: what is drawn, counted and refused."""

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from osgeo import gdal
from small_region import crs_of

import figure
from lsm.figures.comparison import method_maps
from lsm.inputs import rasters
from lsm.maps.cartography import read_decimated
from lsm.run import artifacts
from lsm.run.paths import Paths
from lsm.run.settings import InputError, constants

CONSTANTS = SimpleNamespace(REGION="small", RECIPE="recommended", SEED=1)
ROWS, COLS, CELL, NODATA = 40, 60, 50.0, np.float32(-9999)
NAMES = ["ours", "SVM", "RF", "boosting + XY"]
EDGES = (0, 0.2, 0.4, 0.6, 0.8, 1.01)
HELD_OUT = (2, 5, 11)
STAGE = "compare_methods.py"


@pytest.fixture
def paths(tmp_path, monkeypatch):
    """A slope with a corner of sea, 24 blocks (three are held out), four maps and the scores of 90 points."""
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    paths, rng = Paths("small"), np.random.default_rng(0)
    row, col = np.mgrid[:ROWS, :COLS]
    valid = row + col > 8
    place = (800_000.0, CELL, 0, 840_000.0, 0, -CELL)
    like = rasters.Raster(np.zeros((1, ROWS, COLS)), valid, place, crs_of(2326).ExportToWkt())

    def write(path, band, stage, nodata=-9999.0):
        rasters.write_band(path, np.where(valid, band, band.dtype.type(nodata)), like, nodata, "band", stage, CONSTANTS,
                          [])

    write(paths.composite, (3.0 * col + row).astype(np.float32), "maker")
    artifacts.record_path(paths.composite).unlink()
    write(paths.blocks, (row // 10 * 6 + col // 10).astype(np.int32), "scene_sampling.py", -1)
    write(paths.map_raster, rng.random(valid.shape).astype(np.float32), "predict_LSM.py")
    bands = [np.where(valid, rng.random(valid.shape), NODATA).astype(np.float32) for _ in NAMES]
    bands[1][20, 25] = 0.8  # on a break: the class above
    rasters.write_bands(paths.method_maps, bands, like, -9999.0, NAMES, STAGE, SimpleNamespace(REGION="small", SEED=1),
                       [])
    scores = [pd.DataFrame({"protocol": protocol, "seed": seed, "with_dv": dv, "method": name, "k": "", "steps": "",
                            "point": np.arange(90), "block": np.repeat(HELD_OUT, 30), "label": np.arange(90) % 3 == 0,
                            "origin": "inventory", "score": rng.random(90).astype(np.float32)})
              for protocol, seed, dv in (("published", 1, True), ("published", 1, False), ("published", 2, True),
                                         ("spatial", 1, True)) for name in [*NAMES, "MLP"]]
    artifacts.write_csv(paths.scores, pd.concat(scores).astype({"label": int}), STAGE,
                        SimpleNamespace(REGION="small", SEED=1), [])
    return paths


def draw(*arguments: str) -> None:
    figure.main(constants(figure.Constants, ["REGION=small", "DPI=50", "ONLY=method_maps", *arguments]))


def test_classes_equal_a_count_by_hand(paths):
    draw()
    table = pd.read_csv(paths.figure("method_maps", "csv"))
    assert list(dict.fromkeys(table["method"])) == NAMES
    dataset, block = gdal.Open(str(paths.method_maps)), gdal.Open(str(paths.blocks)).ReadAsArray()
    scores = pd.read_csv(paths.scores).query("protocol == 'published' and seed == 1 and with_dv")
    for i, name in enumerate(NAMES):
        values = dataset.GetRasterBand(i + 1).ReadAsArray()
        assert dataset.GetRasterBand(i + 1).GetDescription() == name
        own, found = scores[scores["method"] == name], table[table["method"] == name].reset_index()
        for j, (low, high) in enumerate(itertools.pairwise(EDGES)):
            of_class = (values >= np.float32(low)) & (values < high)
            within = of_class & np.isin(block, HELD_OUT)
            points = own[(own["score"] >= np.float32(low)) & (own["score"] < high)]
            row = found.loc[j]
            assert row["cells"] == of_class.sum()
            assert row["held_out_cells"] == within.sum()
            assert row["landslides"] == points["label"].sum()
            assert row["non_landslides"] == (points["label"] == 0).sum()
            assert row["area_km2"] == pytest.approx(of_class.sum() * CELL**2 / 1e6)
            area = within.sum() / (np.isin(block, HELD_OUT) & (values != NODATA)).sum()
            assert row["frequency_ratio"] == pytest.approx(row["landslides"] / 30 / area, rel=1e-6)
        assert found[["share_of_area", "share_of_held_out_area", "share_of_landslides",
                      "share_of_non_landslides"]].sum().to_numpy() == pytest.approx(np.ones(4))


def test_the_same_bytes_again(paths):
    draw()
    files = [paths.figure("method_maps", suffix) for suffix in ("png", "pdf", "csv")]
    first = [path.read_bytes() for path in files]
    draw()
    assert [path.read_bytes() for path in files] == first
    assert json.loads(paths.breaks.read_text())["breaks"] == [0.2, 0.4, 0.6, 0.8]


def test_a_band_is_read_decimated(paths):
    bands = gdal.Open(str(paths.method_maps)).ReadAsArray()
    for i in (1, 3):
        values, there, _, _ = read_decimated(paths.method_maps, COLS, average=False, band=i)
        np.testing.assert_array_equal(values, bands[i - 1])
        np.testing.assert_array_equal(there, bands[i - 1] != NODATA)


def test_what_is_missing_is_named_with_its_stage(paths):
    scores = pd.read_csv(paths.scores)
    artifacts.write_csv(paths.scores, scores[scores["method"] != "RF"], STAGE, SimpleNamespace(REGION="small", SEED=1),
                        [])
    with pytest.raises(InputError, match=r"scores.csv.gz: expected scores of RF under published, found none; run comp"):
        draw()
    paths.map_raster.unlink()
    with pytest.raises(InputError, match=r"LSM_small.tif: missing; .*run predict_LSM.py"):
        draw("BREAKS=quantile")
    paths.method_maps.unlink()
    with pytest.raises(InputError, match=r"method_maps\.tif: missing; run compare_methods\.py first"):
        draw()


def test_no_area_has_no_ratio():
    assert method_maps.share(np.zeros(5, int)).tolist() == [0] * 5
