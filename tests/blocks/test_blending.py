import json
import sys

import numpy as np
import pandas as pd
import pytest
from osgeo import gdal
from scipy.ndimage import distance_transform_edt

from lsm.blocks.blending import blended, check_reach, neighbour_weights
from lsm.inputs.rasters import read_band, read_composite
from lsm.learner.encoder import Encoder
from lsm.learner.meta_training import Training, pooled_of
from lsm.learner.network import use_one_thread
from lsm.learner.prediction import predict, probability_of_rows, unnamed
from lsm.maps import counts
from lsm.run import settings
from lsm.run.paths import PROJECT, Paths
from lsm.run.settings import InputError

sys.path.insert(0, str(PROJECT))
import predict_LSM

use_one_thread()  # before any test runs an operator
PLACE = (1000.0, 10.0, 0.0, 2000.0, 0.0, -5.0)  # cells 10 m wide and 5 m high


def labels_with_patches(seed: int = 0) -> np.ndarray:
    """Blocks 0 to 6 but 3, each of several parts; some cells lie in none. (24, 32)."""
    label = np.random.default_rng(seed).integers(-1, 7, (6, 8)).repeat(4, axis=0).repeat(4, axis=1)
    return np.where(label == 3, 4, label).astype(np.int32)


def weights_by_hand(labels: np.ndarray, reach: float) -> np.ndarray:
    """(rows, cols, blocks), the cell's own block with 1: the distance to every cell of every block."""
    row, col = np.mgrid[:labels.shape[0], :labels.shape[1]]
    out = np.zeros((*labels.shape, labels.max() + 1))
    for b in np.unique(labels[labels >= 0]):
        its_row, its_col = np.nonzero(labels == b)
        distance = np.hypot(5 * (row[..., None] - its_row), 10 * (col[..., None] - its_col)).min(axis=-1)
        out[..., b] = np.maximum(0, 1 - distance / reach)
    return out * (labels >= 0)[..., None]


# weights --------------------------------------------------------------------------------------------------------

def test_weights_of_a_row_of_cells():
    labels = np.array([[0, 0, 0, 1, 1, -1, 2]], np.int32)
    weights = neighbour_weights(labels, PLACE, 25.0)
    np.testing.assert_allclose(weights.toarray(), [
        [0, 0, 0], [0, .2, 0], [0, .6, 0],  # 30, 20 and 10 m from block 1
        [.6, 0, 0], [.2, 0, .2],            # 20 m from block 0 as from block 2
        [0, 0, 0],                          # outside every block
        [0, .2, 0]], atol=1e-7)
    assert weights.nnz == 6


def test_cells_need_not_be_square():
    labels = np.array([[0, 0], [0, 0], [0, 1]], np.int32)
    down, across = np.array([10, 10, 5, 5, 0]), np.array([10, 0, 10, 0, 10])  # m from cells 0 to 4 to that of block 1
    weights = neighbour_weights(labels, PLACE, 16.0).toarray()
    np.testing.assert_allclose(weights[:5, 1], 1 - np.hypot(down, across) / 16, atol=1e-7)
    np.testing.assert_allclose(weights[5], [1 - 5 / 16, 0], atol=1e-7)
    assert not weights[:5, 0].any()


@pytest.mark.parametrize("reach", [5.5, 21.0, 48.0])
def test_weights_are_those_of_the_distance_to_every_cell(reach):
    labels = labels_with_patches()
    expected = weights_by_hand(labels, reach).reshape(labels.size, -1)
    inside = np.flatnonzero(labels.ravel() >= 0)
    expected[inside, labels.ravel()[inside]] = 0  # its own is not listed
    weights = neighbour_weights(labels, PLACE, reach)
    np.testing.assert_allclose(weights.toarray(), expected, atol=1e-6)
    assert (weights.data > 0).all()
    assert weights.has_sorted_indices


def test_one_block_has_no_neighbours():
    assert neighbour_weights(np.zeros((4, 4), np.int32), PLACE, 9.0).nnz == 0


# blended --------------------------------------------------------------------------------------------------------

def rows_of(labels: np.ndarray, seed: int = 1, rows: int = 900):
    """Cells in a mixed order, some twice, and the probability of each by the model of every block (rows, blocks)."""
    rng = np.random.default_rng(seed)
    cell = rng.integers(0, labels.size, rows)
    own = labels.ravel()[cell]
    return np.where(own >= 0, cell, -1), np.where(own >= 0, own, 0), rng.random((rows, labels.max() + 1))


def test_rows_are_the_mean_over_blocks_by_their_weights():
    labels = labels_with_patches()
    cell, own, p = rows_of(labels)
    weights = neighbour_weights(labels, PLACE, 30.0)
    first = p[np.arange(len(p)), own]
    found = blended(first, cell, weights, lambda block, rows: p[rows, block])
    w = weights_by_hand(labels, 30.0).reshape(labels.size, -1)[cell]
    expected = np.where(cell >= 0, (w * p).sum(axis=1) / np.where(cell >= 0, w.sum(axis=1), 1), first)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert (np.abs(found - first) > 0.1).sum() > 100
    np.testing.assert_array_equal(found[cell < 0], first[cell < 0])


def test_normalised_weights_add_up_to_one():
    labels = labels_with_patches()
    cell, own, _ = rows_of(labels)
    weights = neighbour_weights(labels, PLACE, 30.0)
    shares = [blended((own == b).astype(float), cell, weights, lambda block, rows, b=b: block == b) for b in range(7)]
    np.testing.assert_allclose(np.sum(shares, axis=0), 1, atol=1e-12)
    assert np.min(shares) >= 0


def test_any_order_and_any_part_of_the_rows_give_the_same_numbers():
    labels = labels_with_patches()
    cell, own, p = rows_of(labels)
    weights = neighbour_weights(labels, PLACE, 30.0)

    def blend(some):
        return blended(p[some, own[some]].astype(np.float32), cell[some], weights,
                       lambda block, rows: p[some[rows], block].astype(np.float32))

    every = np.arange(len(p))
    whole = blend(every)
    assert whole.dtype == np.float32
    for size in (1, 7, 500):
        parts = [blend(every[a:a + size]) for a in range(0, len(p), size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    order = np.random.default_rng(0).permutation(len(p))
    np.testing.assert_array_equal(blend(order), whole[order])


# reach ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("reach", [-1.0, -np.inf, np.nan, np.inf, 5.0, 0.1, 200.0])
def test_a_reach_of_no_use_is_refused(reach):
    labels = np.repeat([0, 1], 200).reshape(20, 20)  # 200 cells of 50 m2 a block: 100 m a side
    message = rf"^BLEND={reach:g}: expected 0 .*, more than a cell's side \(5\), .* mean block \(100\); [^\n]*$"
    with pytest.raises(InputError, match=message):
        check_reach(reach, labels, PLACE)
    for usable in (0.0, 5.1, 100.0):
        check_reach(usable, labels, PLACE)


# both kinds of members ------------------------------------------------------------------------------------------

def test_a_row_is_blended_from_the_full_models_of_blocks():
    """Local and regional networks go by the neighbour; without weights the cut is hard."""
    rng, labels = np.random.default_rng(3), labels_with_patches()
    n, blocks = 300, 7
    x = rng.normal(0, 1, (n, 6)).astype(np.float32)  # four of factors, then X and Y
    cell = rng.choice(np.flatnonzero(labels.ravel() >= 0), n)
    block = labels.ravel()[cell].astype(np.int64)
    networks = {kind: [rng.normal(0, 1, (2, blocks, *shape)).astype(np.float32)
                       for shape in ((inputs, 5), (5,), (5, 2), (2,), (inputs, 2))]
                for kind, inputs in (("local", 4), ("regional", 6))}
    for both in (networks, {"local": networks["local"]}):
        hard = probability_of_rows(both, x, block, cell, None)
        np.testing.assert_array_equal(hard, predict(both, block, x))
        found = probability_of_rows(both, x, block, cell, neighbour_weights(labels, PLACE, 30.0))
        w = weights_by_hand(labels, 30.0).reshape(labels.size, -1)[cell]
        each = np.column_stack([predict(both, np.full(n, b), x) for b in range(blocks)])  # (rows, blocks)
        np.testing.assert_allclose(found, (w * each).sum(axis=1) / w.sum(axis=1), atol=1e-6)
        assert np.abs(found - hard).max() > 0.1
        alone = (w > 0).sum(axis=1) == 1
        assert alone.any()
        np.testing.assert_array_equal(found[alone], hard[alone])


# the stage ------------------------------------------------------------------------------------------------------

REACH = 200.0  # m: four cells of the demo area


def predicted(root, blend: float, rows: int = 500_000, fallback: int | None = None, apart: float = 0.0):
    """The map and the table of the demo; block `fallback` keeps the intermediate model. The log-odds of every second
    block are larger by `apart`, which makes seams."""
    paths = Paths("demo")
    with np.load(paths.models) as models, np.load(paths.model) as trained, np.load(paths.tasks) as tasks:
        networks = {kind: [w.copy() for w in weights] for kind, weights in unnamed(models).items()}
        states, encoder = models["state"].copy(), Encoder.from_json(str(models["encoder"]))
        centres = np.column_stack([tasks["centre_row"], tasks["centre_col"]])
        for weights in networks.values():
            weights[7][:, ::2, 1] += apart  # b4
        if fallback is not None:
            states[fallback] = 1
            for kind, pooled in pooled_of(Training.of_file(trained), trained).items():
                for w, intermediate in zip(networks[kind], pooled, strict=True):
                    w[:, fallback] = intermediate
    c = settings.constants(predict_LSM.Constants, [f"BLEND={blend}", f"GRID_ROWS={rows}"])
    table = root / f"table_{blend}_{rows}_{fallback}.csv"
    found, _, _ = predict_LSM.predict_grid(paths, c, networks, states, encoder, read_band(paths.blocks), centres,
                                           read_composite(paths.composite), table)
    return found, pd.read_csv(table)


def to_other_blocks(labels: np.ndarray, side: float) -> np.ndarray:
    """Distance (m) of every cell to the nearest of another block."""
    out = np.zeros(labels.shape)
    for b in range(labels.max() + 1):
        out[labels == b] = distance_transform_edt((labels == b) | (labels < 0), sampling=side)[labels == b]
    return out


def jumps(p: np.ndarray, blocks) -> pd.Series:
    raster = gdal.GetDriverByName("MEM").Create("", p.shape[1], p.shape[0], 1, gdal.GDT_Float32)
    raster.GetRasterBand(1).WriteArray(p)
    raster.GetRasterBand(1).SetNoDataValue(-9999.0)
    return counts.seams(raster, blocks)["mean"]


def test_far_cells_keep_their_bytes_and_seams_shrink(copy_of_demo):
    labels, place = read_band(Paths("demo").blocks), read_composite(Paths("demo").composite).geotransform
    hard, soft = (predicted(copy_of_demo, blend, apart=1.5) for blend in (0.0, REACH))
    land, near = labels >= 0, to_other_blocks(labels, place[1]) < REACH
    assert 0.2 < near[land].mean() < 0.95
    np.testing.assert_array_equal(soft[0][~near], hard[0][~near])  # nodata too
    assert (soft[0] != hard[0])[near & land].mean() > 0.95
    assert ((soft[0] >= 0) & (soft[0] <= 1))[land].all()
    np.testing.assert_array_equal(soft[1].drop(columns="susceptibility"), hard[1].drop(columns="susceptibility"))
    blocks = gdal.Open(str(Paths("demo").blocks))
    before, after = jumps(hard[0], blocks), jumps(soft[0], blocks)
    assert before["across"] > 1.15 * before["inside"]
    assert after["across"] - after["inside"] < 0.7 * (before["across"] - before["inside"])


def test_chunks_of_the_grid_do_not_matter(copy_of_demo):
    whole, parts = (predicted(copy_of_demo, REACH, rows)[0] for rows in (500_000, 777))
    np.testing.assert_allclose(parts, whole, atol=1e-6)


def test_a_block_with_the_intermediate_model_takes_part(copy_of_demo):
    labels = read_band(Paths("demo").blocks)
    b = labels[labels.shape[0] // 2, labels.shape[1] // 2]
    assert b >= 0
    (before, _), (after, table) = predicted(copy_of_demo, REACH), predicted(copy_of_demo, REACH, fallback=b)
    side = read_composite(Paths("demo").composite).geotransform[1]
    distance = distance_transform_edt(labels != b, sampling=side)
    reached = (distance > 0) & (distance < REACH) & (labels >= 0)
    assert (before != after)[reached].mean() > 0.95
    np.testing.assert_array_equal(before[distance >= REACH], after[distance >= REACH])
    assert set(table.flag[table.block == b]) == {1}
    assert set(table.flag[table.block != b]) == {0}


def test_the_stage_blends_and_says_so(copy_of_demo, capsys):
    paths = Paths("demo")
    models, hard = paths.models.read_bytes(), read_band(paths.map_raster)
    predict_LSM.main(settings.constants(predict_LSM.Constants, [f"BLEND={REACH}"]))
    assert paths.models.read_bytes() == models
    soft, labels = read_band(paths.map_raster), read_band(paths.blocks)
    near = to_other_blocks(labels, read_composite(paths.composite).geotransform[1]) < REACH
    np.testing.assert_array_equal(soft[~near], hard[~near])
    counted = f"{(near & (labels >= 0)).sum():,} cells lie within 200 m of other blocks (of "
    assert counted in capsys.readouterr().out
    assert (soft != hard)[near & (labels >= 0)].mean() > 0.95
    for path in (paths.map_raster, paths.map_table):
        assert json.loads(path.with_name(path.name + ".json").read_text())["constants"]["BLEND"] == REACH
