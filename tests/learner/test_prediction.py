import itertools

import numpy as np
import tensorflow as tf

from lsm.learner import network
from lsm.learner.prediction import mean_probability, named, predict, probability, probability_of_members, unnamed

network.use_one_thread()  # before any test runs an operator

SIZES, MEMBERS, BLOCKS = [4, 6, 5, 3], 2, 7


def networks_of_blocks(seed: int = 0) -> list[np.ndarray]:
    rng, out = np.random.default_rng(seed), []
    for a, b in itertools.pairwise([*SIZES, 2]):
        out += [rng.normal(0, 1, (MEMBERS, BLOCKS, *shape)).astype(np.float32) for shape in ((a, b), (b,))]
    return out


def cells_to_predict(seed: int, rows: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Blocks in a mixed order, block 4 nowhere, and encoded rows."""
    rng = np.random.default_rng(seed)
    block = rng.choice([0, 1, 2, 3, 5, 6], rows)
    return block, rng.standard_normal((rows, SIZES[0])).astype(np.float32)


# predict --------------------------------------------------------------------------------------------------------

def test_each_row_by_the_networks_of_its_block():
    networks, (block, x) = networks_of_blocks(), cells_to_predict(1)
    own = [[tf.constant(w[m, block]) for w in networks] for m in range(MEMBERS)]  # (rows, inputs, outputs)
    each = [tf.nn.softmax(network.logits(w, tf.constant(x[:, None]), []))[:, 0, 1] for w in own]
    assert np.abs(each[0] - each[1]).max() > 0.1
    expected = np.mean(each, axis=0)
    found = predict(networks, block, x)
    assert found.dtype == np.float32
    assert found.std() > 0.2
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_cell_is_the_same_alone_in_any_chunk_and_order():
    networks, (block, x) = networks_of_blocks(), cells_to_predict(2)
    whole = predict(networks, block, x)
    alone = [predict(networks, block[i:i + 1], x[i:i + 1])[0] for i in range(len(x))]
    np.testing.assert_allclose(alone, whole, atol=1e-6)
    for rows in (3, 64, 499):
        chunks = [predict(networks, block[a:a + rows], x[a:a + rows]) for a in range(0, len(x), rows)]
        np.testing.assert_allclose(np.concatenate(chunks), whole, atol=1e-6)
    order = np.random.default_rng(0).permutation(len(x))
    np.testing.assert_allclose(predict(networks, block[order], x[order]), whole[order], atol=1e-6)


def test_the_other_cells_do_not_matter():
    networks, (block, x) = networks_of_blocks(), cells_to_predict(3)
    whole, other = predict(networks, block, x), x.copy()
    other[1::2] = 1e3
    np.testing.assert_allclose(predict(networks, block, other)[::2], whole[::2], atol=1e-6)


def test_inputs_are_left_alone():
    networks, (block, x) = networks_of_blocks(), cells_to_predict(4)
    copies = [a.copy() for a in (*networks, block, x)]
    predict(networks, block, x)
    for a, b in zip((*networks, block, x), copies, strict=True):
        np.testing.assert_array_equal(a, b)


def test_members_apart_and_their_mean():
    networks, (block, x) = networks_of_blocks(), cells_to_predict(5)
    each = probability_of_members(networks, block, x)
    assert each.shape == (MEMBERS, len(x))
    for b in np.unique(block):
        own = block == b
        for m in range(MEMBERS):
            np.testing.assert_allclose(each[m, own], probability([w[m, b] for w in networks], x[own]), atol=1e-6)
        np.testing.assert_allclose(mean_probability([w[:, b] for w in networks], x[own]), each[:, own].mean(axis=0),
                                   atol=1e-6)
    np.testing.assert_allclose(predict(networks, block, x), each.mean(axis=0), atol=1e-6)


def test_networks_by_name_and_back():
    networks = networks_of_blocks()
    arrays = named(networks)
    assert list(arrays) == ["w1", "b1", "w2", "b2", "w3", "b3", "w4", "b4"]
    back = unnamed(dict(reversed(arrays.items())) | {"weight": np.ones(3), "state": np.zeros(3)})
    assert all(a is b for a, b in zip(back, networks, strict=True))
