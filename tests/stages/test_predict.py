import itertools
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from lsm.learner import maml, meta_training, network
from lsm.run.paths import PROJECT

sys.path.insert(0, str(PROJECT))
import predict_LSM

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


# what blocks adapt on -------------------------------------------------------------------------------------------

BLOCK = np.repeat([0, 1, 3], [17, 16, 40])  # block 2 and 4 have no samples


def test_all_samples_are_known():
    assert predict_LSM.known_samples(BLOCK, False, 16, np.random.default_rng(0)).all()


def test_half_of_the_samples_of_large_blocks_are_known():
    known = predict_LSM.known_samples(BLOCK, True, 16, np.random.default_rng(0))
    assert np.bincount(BLOCK, known, 5).tolist() == [8, 16, 0, 20, 0]
    again, other = (predict_LSM.known_samples(BLOCK, True, 16, np.random.default_rng(s)) for s in (0, 1))
    np.testing.assert_array_equal(known, again)
    assert (other != known).any()
    rng = np.random.default_rng(2)
    counts = sum(predict_LSM.known_samples(BLOCK, True, 16, rng).astype(int) for _ in range(400))
    assert np.abs(counts[33:] - 200).max() < 4.5 * 10  # any sample as likely as another


def test_places_are_the_centres_of_the_blocks_cells(monkeypatch):
    labels = np.array([[1, 0, -1], [1, 1, 2]])
    centres, geotransform = np.array([[0, 1], [2 / 3, 1 / 3], [1, 2]]), (100.0, 10.0, 0.0, 50.0, 0.0, -5.0)
    places = predict_LSM.places_of_blocks(labels, centres, geotransform)
    assert [p.tolist() for p in places] == [[[115, 47.5]], [[105, 47.5], [105, 42.5], [115, 42.5]], [[125, 42.5]]]
    monkeypatch.setattr(predict_LSM, "_CELLS", 2)  # every second row and column: blocks 0 and 2 are missed
    places = predict_LSM.places_of_blocks(labels, centres, geotransform)
    assert [p.tolist() for p in places] == [[[115, 47.5]], [[105, 47.5]], [[125, 42.5]]]


# models_of_blocks -----------------------------------------------------------------------------------------------

def made(seed: int = 5, normalise: bool = False):
    """States of two members, their pooled networks, encoded rows and samples of blocks 0, 2, 3 and 4 of five."""
    rng = np.random.default_rng(seed)
    block = np.repeat([0, 2, 3, 4], [20, 10, 10, 20])
    label = rng.integers(0, 2, 60)
    label[block == 2], label[block == 3] = 0, 1
    x = rng.standard_normal((60, SIZES[0])).astype(np.float32)
    states = [{"weights": [rng.normal(0, 0.7, w.shape).astype(np.float32) for w in
                           network.initial_weights(SIZES, None, rng)], "inner_lr": [np.float32(0.1)]} for _ in range(2)]
    c = SimpleNamespace(ADAPT_STEPS=3, ADAPT_BATCH=0, NORMALISE=normalise, BORROW=0)
    centres = np.column_stack([np.arange(5) * 100.0, np.zeros(5)])
    samples = {"label": label, "block": block, "weight": np.ones(60, np.float32),
               "xy": centres[block] + rng.uniform(-20, 20, (60, 2))}
    return states, meta_training.pooled_members(states, x, c), x, samples, [p[None] for p in centres], c, rng


@pytest.mark.parametrize("normalise", [False, True])
def test_blocks_without_both_classes_keep_the_pooled_models(normalise):
    states, pooled, x, samples, places, c, rng = made(normalise=normalise)
    networks, state, support = predict_LSM.models_of_blocks(states, pooled, x, samples, np.ones(60, bool), places, c,
                                                            rng)
    np.testing.assert_array_equal(state, [0, 1, 2, 2, 0])
    assert support.tolist() == [[20, 0], [0, 0], [10, 0], [10, 0], [20, 0]]
    for member, one in enumerate(states):
        alone = [maml.adapt_blocks(one, x, samples["label"].astype(np.int32), maml.Tasks.of(
            [np.flatnonzero(samples["block"] == b)]), 3, 0, normalise, rng) for b in (0, 4)]
        for i, (w, start) in enumerate(zip(networks, pooled, strict=True)):
            for b in (1, 2, 3):
                np.testing.assert_array_equal(w[member, b], start[member])
            for b, own in zip((0, 4), alone, strict=True):
                np.testing.assert_allclose(w[member, b], own[i][0], atol=1e-4)
    assert np.abs(networks[0][0, 0] - pooled[0][0]).max() > 1e-3
    assert np.abs(networks[0][0, 0] - networks[0][0, 4]).max() > 1e-3


def test_a_block_borrows_the_nearest_samples_of_others():
    states, pooled, x, samples, places, c, rng = made()
    c.BORROW = 15
    networks, state, support = predict_LSM.models_of_blocks(states, pooled, x, samples, np.ones(60, bool), places, c,
                                                            rng)
    assert support.tolist() == [[20, 15], [0, 15], [10, 15], [10, 15], [20, 15]]
    distance = np.hypot(*(samples["xy"] - places[2]).T)
    others = np.flatnonzero(samples["block"] != 2)
    rows = np.append(np.flatnonzero(samples["block"] == 2), others[np.argsort(distance[others])[:15]])
    assert state[2] == (0 if 0 < samples["label"][rows].mean() < 1 else 2)
    own = maml.adapt_blocks(states[1], x, samples["label"].astype(np.int32), maml.Tasks.of([rows]), 3, 0, False, rng)
    for w, expected in zip(networks, own, strict=True):
        np.testing.assert_allclose(w[1, 2], expected[0], atol=1e-4)


def test_no_block_adapts_where_none_can():
    states, pooled, x, samples, places, c, rng = made(6)
    samples["label"][:] = 1
    networks, state, _ = predict_LSM.models_of_blocks(states, pooled, x, samples, np.ones(60, bool), places, c, rng)
    np.testing.assert_array_equal(state, [2, 1, 2, 2, 2])
    for w, start in zip(networks, pooled, strict=True):
        for b in range(5):
            np.testing.assert_array_equal(w[:, b], start)
