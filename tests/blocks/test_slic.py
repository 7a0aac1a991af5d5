import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from lsm.blocks import slic
from lsm.inputs.rasters import TERRAIN
from lsm.run.paths import PROJECT
from lsm.run.settings import InputError

sys.path.append(str(PROJECT / "benchmarks"))
import reference_slic

WEIGHTS = (0.3, 0.1, 0.2, 0.4)
NODATA = -9999.0


def terrain(seed: int, rows: int, cols: int, holes: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Rough hills with flat ground, aspects around north and patches of nodata, every cell of it in one band only."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :cols]
    dem = 300 * np.sin(x / 7 + rng.random()) * np.cos(y / 5 + rng.random()) + 20 * rng.random((rows, cols))
    aspect = (40 * rng.standard_normal((rows, cols))) % 360
    aspect[dem < -150] = -1
    bands = np.stack([dem, aspect, rng.standard_normal((rows, cols)), 30 * rng.random((rows, cols))]).astype(np.float32)
    patches = np.kron(rng.random((rows // 4 + 1, cols // 4 + 1)) < holes, np.ones((4, 4), bool))[:rows, :cols]
    band = rng.integers(len(TERRAIN), size=(rows, cols))
    bands[band[patches], y[patches], x[patches]] = NODATA
    return bands, ~patches


@pytest.mark.parametrize(("seed", "rows", "cols", "clusters", "compactness"), [
    (0, 31, 44, 20, 500), (1, 40, 27, 33, 150), (2, 24, 24, 9, 20), (3, 50, 21, 5, 1), (4, 17, 30, 100, 100)])
def test_equals_the_reference(seed, rows, cols, clusters, compactness):
    bands, valid = terrain(seed, rows, cols)
    labels, centres = slic.slic(bands, valid, WEIGHTS, compactness, clusters, 4)
    expected, places = reference_slic.slic(bands, valid, WEIGHTS, compactness, clusters, 4)
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(centres, np.array(places, np.float32))


@pytest.mark.parametrize("strip", [1, 200, 1000])
@pytest.mark.parametrize(("seed", "rows", "cols", "clusters", "compactness"), [
    (5, 61, 44, 20, 500), (6, 40, 67, 150, 100), (7, 33, 90, 2, 20)])
def test_strips_make_the_blocks_of_the_whole_raster(monkeypatch, strip, seed, rows, cols, clusters, compactness):
    bands, valid = terrain(seed, rows, cols)
    labels, centres = slic.slic(bands, valid, WEIGHTS, compactness, clusters, 3)
    monkeypatch.setattr(slic, "STRIP", strip)
    found, most = np.empty(valid.shape, np.int32), []

    def read(row, n):
        most.append(n)
        return bands[:, row:row + n], valid[row:row + n]

    places = slic.slic_in_strips(read, found, WEIGHTS, compactness, clusters, 3)
    np.testing.assert_array_equal(found, labels)
    np.testing.assert_array_equal(places, centres)
    assert max(most) <= max(strip // cols, 2 * slic.SEED_REACH + 3)


@pytest.mark.parametrize("seed", range(12))
def test_every_valid_cell_has_exactly_one_block(seed):
    rng = np.random.default_rng(seed)
    rows, cols = rng.integers(20, 90, size=2)
    bands, valid = terrain(seed, rows, cols, holes=rng.uniform(0, 0.9))
    labels, centres = slic.slic(bands, valid, WEIGHTS, rng.choice([1, 50, 500]), int(rng.integers(4, 60)), 3)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels >= 0, valid)
    np.testing.assert_array_equal(np.unique(labels[valid]), np.arange(len(centres)))  # ids without a gap
    for block, centre in enumerate(centres):
        np.testing.assert_allclose(centre, np.argwhere(labels == block).mean(axis=0), rtol=1e-6)


def test_an_island_that_no_window_reaches_joins_the_nearest_block():
    bands = np.ones((4, 60, 60), np.float32)
    valid = np.zeros((60, 60), bool)
    valid[:30, :30] = True
    valid[58:, 58:] = True  # step 10: seeds end at row 55, windows of clusters at row 34
    labels, _ = slic.slic(bands, valid, WEIGHTS, 500, 36, 5)
    np.testing.assert_array_equal(labels >= 0, valid)
    island = np.unique(labels[58:, 58:])
    assert island.tolist() == [labels[29, 29]]
    expected, _ = reference_slic.slic(bands, valid, WEIGHTS, 500, 36, 5)
    np.testing.assert_array_equal(labels, expected)


def test_uniform_terrain_gives_squares():
    labels, centres = slic.slic(np.ones((4, 40, 60), np.float32), np.ones((40, 60), bool), WEIGHTS, 500, 24, 5)
    assert len(centres) == 24
    assert set(np.bincount(labels.ravel())) <= {81, 90, 99, 100, 110, 121}  # sides of 9 to 11 cells


def test_aspects_359_and_1_are_near():
    """Two slopes that face north from either side, beside one that faces south: the border follows the facing."""
    bands = np.zeros((4, 20, 40), np.float32)
    bands[1] = np.where(np.arange(40) % 2, 359, 1)
    bands[1, :, 23:] = 180
    labels, _ = slic.slic(bands, np.ones((20, 40), bool), (0, 1, 0, 0), 1, 2, 5)
    north, south = np.unique(labels[:, :23]), np.unique(labels[:, 23:])
    assert (north.tolist(), south.tolist()) == ([0], [1])
    cells = slic.Terrain.of(bands, np.ones((20, 40), bool), (0, 1, 0, 0), 1)
    assert cells.distance2((0, 0), (0, 1)) == 4
    assert cells.distance2((0, 0), (0, 30)) == 179**2


def test_flat_ground_has_no_aspect_distance():
    bands = np.zeros((4, 20, 20), np.float32)
    bands[1, :, ::2] = -1
    bands[1, :, 1::2] = 200
    cells = slic.Terrain.of(bands, np.ones((20, 20), bool), WEIGHTS, 500)
    assert cells.distance2((0, 0), (0, 1)) == 0
    flat = np.full((20, 20), -1, np.float32)
    labels, _ = slic.slic(bands, flat < 0, WEIGHTS, 1e-3, 4, 3)
    bands[1] = -1
    expected, _ = slic.slic(bands, flat < 0, WEIGHTS, 1e-3, 4, 3)
    np.testing.assert_array_equal(labels, expected)


def test_opposite_aspects_have_no_mean_aspect():
    labels = np.zeros((2, 2), np.int32)
    bands = np.zeros((4, 2, 2), np.float32)
    for aspects, expected in (((90, 270), -1), ((350, 20), 5), ((-1, 40), 40), ((-1, -1), -1)):
        bands[1] = aspects
        cells = slic.Terrain.of(bands, labels == 0, WEIGHTS, 500)
        sums = np.zeros((1, 8))
        slic._add_cells(sums, labels.astype(np.int32), cells.features, cells.facing(), 0)
        means, number = slic._means(sums, np.zeros((1, 6), np.float32))
        assert means[0, -1] == pytest.approx(expected, abs=1e-4)
        assert number == [4]


def test_distances_are_reset_in_each_loop():
    bands, valid = terrain(7, 40, 40, holes=0)
    for loops in (1, 2, 6):
        labels, _ = slic.slic(bands, valid, WEIGHTS, 30, 16, loops)
        expected, _ = reference_slic.slic(bands, valid, WEIGHTS, 30, 16, loops)
        np.testing.assert_array_equal(labels, expected)


def test_same_input_same_labels_and_input_unchanged():
    bands, valid = terrain(5, 60, 50)
    before = bands.copy()
    first, centres = slic.slic(bands, valid, WEIGHTS, 100, 30, 5)
    second, again = slic.slic(bands, valid, WEIGHTS, 100, 30, 5)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(centres, again)
    np.testing.assert_array_equal(bands, before)


@pytest.mark.filterwarnings("error")
def test_values_of_invalid_cells_do_not_matter():
    bands, valid = terrain(6, 40, 40)
    expected, _ = slic.slic(bands, valid, WEIGHTS, 100, 16, 3)
    for value in (np.nan, np.inf, -3.4e38, 0):
        bands[:, ~valid] = value
        labels, _ = slic.slic(bands, valid, WEIGHTS, 100, 16, 3)
        np.testing.assert_array_equal(labels, expected)


def test_nearest_block_is_the_nearest_and_of_equals_the_lowest():
    centres = np.array([[9, 9], [0, 2], [0, 0], [2, 0], [2, 2]], np.float32)
    assert slic.nearest_block(np.array([1, -5, 40]), np.array([1, 0.9, 40]), centres).tolist() == [1, 2, 0]
    assert slic.nearest_block(np.array([3]), np.array([4]), centres[:1]).tolist() == [0]
    rng = np.random.default_rng(0)
    cells, centres = rng.uniform(-20, 120, (500, 2)), rng.uniform(0, 100, (40, 2)).astype(np.float32)
    expected = ((cells[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(slic.nearest_block(*cells.T, centres), expected)


@pytest.mark.parametrize("shape", [(5, 200), (200, 5)])
def test_a_raster_narrower_than_half_a_block_is_cut_too(shape):
    bands, valid = np.random.default_rng(1).uniform(0, 50, (4, *shape)).astype(np.float32), np.ones(shape, bool)
    labels, places = slic.slic(bands, valid, WEIGHTS, 500, 6, 3)
    assert len(places) == len(range(6, 200, 12))
    expected, _ = reference_slic.slic(bands, valid, WEIGHTS, 500, 6, 3)
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize(("change", "message"), [
    ({"clusters": 101}, "K=101: expected blocks of 2 x 2 cells or more, found 400 cells in all; set K to 100 or less"),
    ({"clusters": 0}, "K=0"),
    ({"valid": np.eye(20, dtype=bool)[::-1]}, "expected seeds on valid cells, found none of those 10 cells apart")])
def test_nonsense_is_refused(change, message):
    arguments = {"bands": np.ones((4, 20, 20), np.float32), "valid": np.ones((20, 20), bool), "weights": WEIGHTS,
                 "compactness": 500, "clusters": 4, "loops": 2}
    with pytest.raises(InputError, match=message):
        slic.slic(**(arguments | change))


def test_progress_sees_every_loop():
    seen = []
    slic.slic(np.ones((4, 20, 20), np.float32), np.ones((20, 20), bool), WEIGHTS, 500, 4, 3,
                lambda loops: (seen.append(i) or i for i in loops))
    assert seen == [0, 1, 2]


def test_works_where_no_compiled_code_can_be_kept(tmp_path):
    """__pycache__ and the home folder are files here, so that nothing can be written below them."""
    shutil.copytree(PROJECT / "lsm", tmp_path / "lsm", ignore=shutil.ignore_patterns("__pycache__"))
    for room in ("blocks", "region"):
        (tmp_path / "lsm" / room / "__pycache__").touch()
    code = ("import numpy as np; from lsm.blocks import slic; from lsm.region import drainage; print(slic.__file__); "
            "bands = np.ones((4, 20, 20), 'f4'); "
            "print(slic.slic(bands, bands[0] > 0, (1, 1, 1, 1), 500, 4, 2)[0].tolist())")
    kept = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    done = subprocess.run([sys.executable, "-B", "-c", code], cwd=tmp_path, text=True, capture_output=True,
                          env={**kept, "HOME": os.devnull})
    assert done.returncode == 0, done.stderr
    expected, _ = slic.slic(np.ones((4, 20, 20), np.float32), np.ones((20, 20), bool), (1, 1, 1, 1), 500, 4, 2)
    assert done.stdout.splitlines() == [str(tmp_path / "lsm" / "blocks" / "slic.py"), str(expected.tolist())]
