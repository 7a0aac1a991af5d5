import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from lsm.blocks.borders import Borders
from lsm.blocks.grid_parts import Part
from lsm.learner import network, prediction
from lsm.learner.members import PLACE
from lsm.learner.prediction import (
    GridCounts,
    Networks,
    arrays_of_networks,
    log_odds,
    log_odds_of_block,
    mean_log_odds,
    networks_of_arrays,
    over_tiles,
    predict,
    probability,
    probability_of_tile,
    rows_in_tiles,
    weights_of_members,
)
from lsm.learner.support.supports import MOVED
from lsm.run.settings import InputError

network.use_one_thread()  # before any test runs an operator

INPUTS, WIDTHS, MEMBERS, BLOCKS = 4, [6, 5, 3], {"local": 2, "regional": 9}, 7  # NumPy sums 8 in another order


def networks_of_blocks(seed: int = 0) -> Networks:
    """Local members read the factors; regional ones the place too. Both have a direct path."""
    rng, out = np.random.default_rng(seed), {}
    for kind, members in MEMBERS.items():
        inputs = INPUTS + PLACE * (kind == "regional")
        shapes = [s for a, b in itertools.pairwise([inputs, *WIDTHS, 2]) for s in ((a, b), (b,))] + [(inputs, 2)]
        out[kind] = [rng.normal(0, 1, (members, BLOCKS, *shape)).astype(np.float32) for shape in shapes]
    return out


def cells_to_predict(seed: int, rows: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Blocks in a mixed order, block 4 nowhere, and encoded rows with the place."""
    rng = np.random.default_rng(seed)
    block = rng.choice([0, 1, 2, 3, 5, 6], rows)
    return block, rng.standard_normal((rows, INPUTS + PLACE)).astype(np.float32)


# predict --------------------------------------------------------------------------------------------------------

def test_each_row_by_the_networks_of_its_block():
    """As the TensorFlow network has it: the mean of all members' log-odds, whatever their kind."""
    networks, (block, x) = networks_of_blocks(), cells_to_predict(1)
    each = []
    for kind, weights in networks.items():
        inputs = x[:, None, :len(weights[0][0, 0])]
        assert inputs.shape[-1] == INPUTS + PLACE * (kind == "regional")
        for m in range(MEMBERS[kind]):
            z = network.logits([tf.constant(w[m, block]) for w in weights], tf.constant(inputs), [])[:, 0]
            each.append(np.asarray(z[:, 1] - z[:, 0], np.float64))
    assert np.abs(each[0] - each[1]).max() > 0.1
    found = predict(networks, block, x)
    assert found.dtype == np.float32
    assert found.std() > 0.2
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-np.mean(each, axis=0))), atol=1e-6)


def test_a_cell_is_the_same_alone_in_any_chunk_and_order():
    networks, (block, x) = networks_of_blocks(), cells_to_predict(2)
    whole = predict(networks, block, x)
    alone = [predict(networks, block[i:i + 1], x[i:i + 1])[0] for i in range(len(x))]
    np.testing.assert_array_equal(alone, whole)
    for rows in (3, 64, 499):
        chunks = [predict(networks, block[a:a + rows], x[a:a + rows]) for a in range(0, len(x), rows)]
        np.testing.assert_array_equal(np.concatenate(chunks), whole)
    order = np.random.default_rng(0).permutation(len(x))
    np.testing.assert_array_equal(predict(networks, block[order], x[order]), whole[order])


def test_the_other_cells_do_not_matter():
    networks, (block, x) = networks_of_blocks(), cells_to_predict(3)
    whole, other = predict(networks, block, x), x.copy()
    other[1::2] = 1e3
    np.testing.assert_array_equal(predict(networks, block, other)[::2], whole[::2])


@pytest.mark.parametrize("widths", [[32, 32, 16], [33, 17, 9], [1, 1, 1], [7]])
@pytest.mark.parametrize("inputs", [1, 14, 23])
def test_networks_of_any_widths_whatever_the_number_of_cells(inputs, widths):
    """As NumPy has it in float64; every bit of a cell as among many others, at any place among them."""
    rng = np.random.default_rng(inputs)
    weights = [rng.normal(0, 0.5, shape).astype(np.float32)
               for a, b in itertools.pairwise([inputs, *widths, 2]) for shape in ((a, b), (b,))]
    h = x = rng.standard_normal((2500, inputs + PLACE)).astype(np.float32)
    for w, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        h = np.maximum(h[:, :len(w)].astype(float) @ w + b, 0)
    found = log_odds(weights, x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, h @ (weights[-2] @ [-1, 1]) + weights[-1] @ [-1, 1], rtol=1e-4, atol=1e-4)
    for rows in (1, 2, 3, 6, 31, 127, 128, 129, 1000):
        for first in (0, 37, 2500 - rows):
            np.testing.assert_array_equal(log_odds(weights, x[first:first + rows]), found[first:first + rows])


def test_what_is_no_number_stays_none_and_its_neighbours_are_as_they_were():
    networks, (block, x) = networks_of_blocks(), cells_to_predict(2)
    whole = predict(networks, block, x)
    x[7, 0] = np.nan
    found = predict(networks, block, x)
    assert np.flatnonzero(np.isnan(found)).tolist() == [7]
    np.testing.assert_array_equal(np.delete(found, 7), np.delete(whole, 7))
    weights = [w[0, 0] for w in networks["local"]][:8]  # no direct path, which would say so too
    assert np.flatnonzero(np.isnan(log_odds(weights, x))).tolist() == [7]


def test_inputs_are_left_alone():
    networks, (block, x) = networks_of_blocks(), cells_to_predict(4)
    arrays = [*itertools.chain(*networks.values()), block, x]
    copies = [a.copy() for a in arrays]
    predict(networks, block, x)
    for a, b in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(a, b)


def each_member(networks, block, x):
    """Log-odds (members, rows) by every member of the block of each row, one row at a time."""
    members = list(weights_of_members(networks))
    return np.column_stack([log_odds_of_block(members, b, row[None]) for b, row in zip(block, x, strict=True)])


def test_members_apart_and_their_mean():
    networks, (block, x) = networks_of_blocks(), cells_to_predict(5)
    each = each_member(networks, block, x)
    assert each.shape == (sum(MEMBERS.values()), len(x))
    for b in np.unique(block):
        own = block == b
        for m, weights in enumerate(weights_of_members(networks)):  # kind by kind
            np.testing.assert_array_equal(each[m, own], log_odds([w[b] for w in weights], x[own]))
        of_block = {kind: [w[:, b] for w in weights] for kind, weights in networks.items()}
        np.testing.assert_allclose(mean_log_odds(of_block, x[own]), each[:, own].mean(axis=0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(predict(networks, block, x), probability(each.mean(axis=0)), atol=1e-6)


def test_members_without_place_do_not_read_it():
    networks, (block, x) = networks_of_blocks(), cells_to_predict(6)
    elsewhere = x.copy()
    elsewhere[:, -2:] += 1
    before, after = (each_member(networks, block, rows) for rows in (x, elsewhere))
    np.testing.assert_array_equal(before[:2], after[:2])
    assert (before[2:] != after[2:]).any(axis=1).all()
    without = each_member({"local": networks["local"]}, block, x[:, :INPUTS])
    np.testing.assert_array_equal(without, before[:2])


def test_tiles_are_the_rows_of_one_block_each(monkeypatch):
    monkeypatch.setattr(prediction, "TILE", 16)
    block, _ = cells_to_predict(7)
    tiles = list(rows_in_tiles(block, BLOCKS))
    np.testing.assert_array_equal(np.sort(np.concatenate([rows for _, rows in tiles])), np.arange(len(block)))
    for b, rows in tiles:
        assert (block[rows] == b).all()
        assert (np.diff(rows) > 0).all()
        assert len(rows) <= 16
    assert len(tiles) == sum(-(-own // 16) for own in np.bincount(block))


def test_cutting_a_block_s_rows_changes_no_digit():
    networks, rng = networks_of_blocks(), np.random.default_rng(8)
    x = rng.standard_normal((2 * prediction.TILE + 1001, INPUTS + PLACE)).astype(np.float32)
    tiles = [rows for _, rows in rows_in_tiles(np.zeros(len(x), int), BLOCKS)]
    assert [len(rows) for rows in tiles] == [prediction.TILE, prediction.TILE, 1001]
    for weights in weights_of_members(networks):
        of_block = [w[0] for w in weights]
        np.testing.assert_array_equal(np.concatenate([log_odds(of_block, x[rows]) for rows in tiles]),
                                      log_odds(of_block, x))


@pytest.mark.parametrize("threads", [1, 3])
def test_a_grid_by_threads_is_predicted_as_at_once(monkeypatch, threads):
    """Parts come back in order, and every bit is as without threads; cells at borders have the mean of several blocks.
    """
    monkeypatch.setattr(prediction, "TILE", 16)
    networks, parts = networks_of_blocks(), []
    for seed in range(5):
        block, x = cells_to_predict(seed)
        nothing = np.zeros(len(x), int)
        beside = Borders(np.array([3, 3, 40]), np.array([0, 2, 1]), np.array([.25, .125, .5]))
        parts.append(Part(x[:, :INPUTS], x[:, INPUTS:], nothing, nothing, block, nothing > 0, nothing == 0, None,
                          beside if seed else Borders.none()))

    class Plain:
        transform = staticmethod(lambda factors, xy: np.column_stack([factors, xy]))

    found = list(over_tiles(iter(parts), Plain, BLOCKS, probability_of_tile(networks), threads=threads))
    assert [part for part, _ in found] == parts
    for part, (p,) in found:
        x = Plain.transform(part.factors, part.xy)
        expected = predict(networks, part.block, x)
        if len(part.borders.cell):
            a, b, c = predict(networks, part.borders.block, x[part.borders.cell])
            mixed = [(1 - .375) * expected[3] + .25 * a + .125 * b, (expected[40] + c) / 2]
            np.testing.assert_allclose(p[[3, 40]], mixed, rtol=1e-5)
            expected[[3, 40]] = p[[3, 40]]
        np.testing.assert_array_equal(p, expected)


def test_probability_of_log_odds():
    z = np.array([-1e4, -200, -1, 0, 1, 200, 1e4])
    p = probability(z)
    np.testing.assert_allclose(p[1:6], 1 / (1 + np.exp(-z[1:6])), rtol=1e-12)
    assert p[3] == 0.5
    assert (p[0], p[-1]) == (0, 1)
    p = probability(z.astype(np.float32))
    assert p.dtype == np.float32
    assert (p[0], p[-1]) == (0, 1)


@pytest.mark.parametrize("kinds", [("local", "regional"), ("regional",)])
def test_networks_by_name_and_back(kinds):
    networks = {kind: networks_of_blocks()[kind] for kind in kinds}
    arrays = arrays_of_networks(networks)
    assert list(arrays) == [f"{kind}_{part}" for kind in kinds
                            for part in ("w1", "b1", "w2", "b2", "w3", "b3", "w4", "b4", "w5")]
    back = networks_of_arrays(arrays | {"weight": np.ones(3), "state": np.zeros(3), "support": np.zeros((3, 2))})
    assert list(back) == list(kinds)
    for kind in kinds:
        assert all(a is b for a, b in zip(back[kind], networks[kind], strict=True))


@pytest.mark.parametrize(("on_map", "unseen", "words"), [
    (0, {}, "g.csv: expected cells on c.tif, found all 5 elsewhere; bring both into one CRS"),
    (5, {"soil": 4, "lithology": 5}, "g.csv: lithology: expected classes as in the samples, found others alone in 5")])
def test_a_grid_of_another_area_or_with_other_classes_is_refused(tmp_path, monkeypatch, on_map, unseen, words):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    with pytest.raises(InputError, match=words):
        GridCounts(np.array([3, 2, 0, 0]), on_map, unseen).refuse_other_area(tmp_path / "g.csv", tmp_path / "c.tif")


def test_counts_add_up_and_some_other_classes_are_no_reason_to_refuse(tmp_path):
    counts = GridCounts(np.array([1, 0, 0, 0]), 1, {"soil": 1})
    counts.add(GridCounts(np.array([2, 2, 0, 0]), 4, {"soil": 3, "lithology": 1}))
    assert (counts.flags.tolist(), counts.on_map, counts.unseen) == ([3, 2, 0, 0], 5, {"soil": 4, "lithology": 1})
    assert counts.refuse_other_area(tmp_path / "g.csv", tmp_path / "c.tif") is None


def test_the_flag_of_a_cell():
    states, block, outside = np.array([*MOVED, max(MOVED) + 9]), np.array([0, 0, len(MOVED), len(MOVED)]), [0, 1, 0, 1]
    part = SimpleNamespace(block=block, outside=np.array(outside, bool))
    assert prediction.flag_of(part, states).tolist() == [0, 2, 1, 3]  # 1: kept the intermediate model; 2: outside
