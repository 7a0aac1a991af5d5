import itertools
import sys

import numpy as np
import pytest
import tensorflow as tf

from lsm import maml, network
from lsm.paths import PROJECT

sys.path.insert(0, str(PROJECT))
import predict_LSM

network.use_one_thread()  # before any test runs an operator

SIZES, BLOCKS = [4, 6, 5, 3], 7


def networks_of_blocks(seed: int = 0) -> list[np.ndarray]:
    rng, out = np.random.default_rng(seed), []
    for a, b in itertools.pairwise([*SIZES, 2]):
        out += [rng.normal(0, 1, (BLOCKS, a, b)).astype(np.float32), rng.normal(0, 1, (BLOCKS, b)).astype(np.float32)]
    return out


def cells_to_predict(seed: int, rows: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Blocks in a mixed order, block 4 nowhere, and encoded rows."""
    rng = np.random.default_rng(seed)
    block = rng.choice([0, 1, 2, 3, 5, 6], rows)
    return block, rng.standard_normal((rows, SIZES[0])).astype(np.float32)


# predict --------------------------------------------------------------------------------------------------------

def test_each_row_by_the_network_of_its_block():
    networks, (block, x) = networks_of_blocks(), cells_to_predict(1)
    own = [tf.constant(w[block]) for w in networks]  # (rows, inputs, outputs): one task a row
    expected = tf.nn.softmax(network.logits(own, tf.constant(x[:, None]), []))[:, 0, 1]
    found = predict_LSM.predict(networks, block, x)
    assert found.dtype == np.float32
    assert found.std() > 0.2
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_cell_is_the_same_alone_in_any_chunk_and_order():
    networks, (block, x) = networks_of_blocks(), cells_to_predict(2)
    whole = predict_LSM.predict(networks, block, x)
    alone = [predict_LSM.predict(networks, block[i:i + 1], x[i:i + 1])[0] for i in range(len(x))]
    np.testing.assert_allclose(alone, whole, atol=1e-6)
    for rows in (3, 64, 499):
        chunks = [predict_LSM.predict(networks, block[a:a + rows], x[a:a + rows]) for a in range(0, len(x), rows)]
        np.testing.assert_allclose(np.concatenate(chunks), whole, atol=1e-6)
    order = np.random.default_rng(0).permutation(len(x))
    np.testing.assert_allclose(predict_LSM.predict(networks, block[order], x[order]), whole[order], atol=1e-6)


def test_the_other_cells_do_not_matter():
    networks, (block, x) = networks_of_blocks(), cells_to_predict(3)
    whole, other = predict_LSM.predict(networks, block, x), x.copy()
    other[1::2] = 1e3
    np.testing.assert_allclose(predict_LSM.predict(networks, block, other)[::2], whole[::2], atol=1e-6)


def test_inputs_are_left_alone():
    networks, (block, x) = networks_of_blocks(), cells_to_predict(4)
    copies = [a.copy() for a in (*networks, block, x)]
    predict_LSM.predict(networks, block, x)
    for a, b in zip((*networks, block, x), copies, strict=True):
        np.testing.assert_array_equal(a, b)


# block_of_rows --------------------------------------------------------------------------------------------------

def test_cells_outside_every_block_take_the_nearest():
    labels = np.array([[0, 0, -1, -1], [0, 0, -1, 1], [-1, -1, -1, 1]])
    centres = np.array([[0.5, 0.5], [1.5, 3.0]])
    row, col = np.array([0, 1, 0, 2, -5, 9, 1, 0]), np.array([0, 3, 3, 0, 0, 9, -1, 4])
    block, outside = predict_LSM.block_of_rows(labels, row, col, centres)
    np.testing.assert_array_equal(block, [0, 1, 1, 0, 0, 1, 0, 1])
    np.testing.assert_array_equal(outside, [False, False, True, True, True, True, True, True])
    distance = np.hypot(*(np.stack([row, col], 1)[:, None] - centres).transpose(2, 0, 1))
    np.testing.assert_array_equal(block[outside], distance.argmin(axis=1)[outside])


def test_cells_inside_keep_their_own_block_though_another_is_nearer():
    labels = np.array([[0, 0, 0, 0, 0, 1]])
    block, outside = predict_LSM.block_of_rows(labels, np.zeros(1, int), np.array([4]), np.array([[0, 2.0], [0, 5.0]]))
    assert (block[0], outside[0]) == (0, False)


# supports -------------------------------------------------------------------------------------------------------

BLOCK = np.repeat([0, 1, 3], [17, 16, 40])  # block 2 and 4 have no samples


def test_supports_all():
    rows = predict_LSM.supports(BLOCK, 5, False, 16, np.random.default_rng(0))
    assert [len(r) for r in rows] == [17, 16, 0, 40, 0]
    np.testing.assert_array_equal(np.concatenate(rows), np.arange(73))
    assert all((BLOCK[r] == b).all() for b, r in enumerate(rows))


def test_supports_half():
    rows = predict_LSM.supports(BLOCK, 5, True, 16, np.random.default_rng(0))
    assert [len(r) for r in rows] == [8, 16, 0, 20, 0]
    assert all((BLOCK[r] == b).all() for b, r in enumerate(rows))
    assert all(len(set(r)) == len(r) for r in rows)
    again, other = (predict_LSM.supports(BLOCK, 5, True, 16, np.random.default_rng(s)) for s in (0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(rows, again, strict=True))
    assert set(other[3]) != set(rows[3])
    counts = np.zeros(73)
    rng = np.random.default_rng(2)
    for _ in range(400):
        counts[predict_LSM.supports(BLOCK, 5, True, 16, rng)[3]] += 1
    assert np.abs(counts[33:] - 200).max() < 4.5 * 10  # any sample as likely as another


# models_of_blocks -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("normalise", [False, True])
def test_blocks_without_both_classes_keep_the_pooled_model(normalise):
    rng = np.random.default_rng(5)
    rows = np.split(rng.permutation(60), [20, 20, 30, 40])  # block 1 has no samples
    label = rng.integers(0, 2, 60)
    label[rows[2]], label[rows[3]] = 0, 1
    x = rng.standard_normal((60, SIZES[0])).astype(np.float32)
    weights = [rng.normal(0, 0.7, w.shape).astype(np.float32) for w in network.initial_weights(SIZES, None, rng)]
    state = {"weights": weights, "inner_lr": [np.float32(0.1)]}
    pooled = maml.pooled_network(state, x, normalise)
    networks, states = predict_LSM.models_of_blocks(state, pooled, x, label, rows, 3, 0, normalise, rng)
    np.testing.assert_array_equal(states, [0, 1, 2, 2, 0])
    alone = [maml.adapt_blocks(state, x, label, maml.Tasks.of([rows[b]]), 3, 0, normalise, rng) for b in (0, 4)]
    for i, (w, start) in enumerate(zip(networks, pooled, strict=True)):
        for b in (1, 2, 3):
            np.testing.assert_array_equal(w[b], start)
        for b, own in zip((0, 4), alone, strict=True):
            np.testing.assert_allclose(w[b], own[i][0], atol=1e-4)
    assert np.abs(networks[0][0] - pooled[0]).max() > 1e-3
    assert np.abs(networks[0][0] - networks[0][4]).max() > 1e-3


def test_no_block_adapts_where_none_can():
    rng = np.random.default_rng(6)
    x, label = rng.standard_normal((10, SIZES[0])).astype(np.float32), np.ones(10, int)
    weights = network.initial_weights(SIZES, None, rng)
    state = {"weights": weights, "inner_lr": [np.float32(0.1)]}
    pooled = maml.pooled_network(state, x, False)
    networks, states = predict_LSM.models_of_blocks(state, pooled, x, label, [np.arange(10), np.arange(0)], 3, 0, False,
                                                    rng)
    np.testing.assert_array_equal(states, [2, 1])
    for w, start in zip(networks, pooled, strict=True):
        np.testing.assert_array_equal(w, np.stack([start, start]))
