from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lsm.comparison.rivals import dbn
from lsm.learner.network import use_one_thread
from lsm.run.settings import InputError
from unsupervised_pretraining.rbm import RBM

use_one_thread()  # before any test runs an operator


def settings(**values) -> SimpleNamespace:
    return SimpleNamespace(**{"DBN_HIDDEN": (6, 5), "DBN_RBM_LEARNING_RATE": 0.05, "DBN_RBM_EPOCHS": 3,
                              "DBN_LEARNING_RATE": 0.5, "DBN_EPOCHS": 20, "DBN_BATCH": 20, "DBN_DROPOUT": 0.1} | values)


@pytest.fixture(autouse=True)
def short_calls(monkeypatch):
    monkeypatch.setattr(dbn, "STEPS_A_CALL", 100)


def made_points(n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """x (n, 4) in 0 .. 1, the first two inputs repeated in noise, and y, 1 where both are high or both low: no line
    parts these."""
    rng = np.random.default_rng(0)
    corner = rng.integers(0, 4, n)
    high = np.column_stack([corner // 2, corner % 2] * 2)
    x = np.clip(0.1 + 0.8 * high + rng.normal(0, 0.05, (n, 4)), 0, 1).astype(np.float32)
    return x, (corner // 2 == corner % 2).astype(np.int32)


def test_learns_what_a_line_parts():
    x = np.random.default_rng(0).random((1000, 4)).astype(np.float32)
    y = (x @ [2, -1, 0.5, 0] > 0.7).astype(np.int32)
    weights = dbn.fit(x[:800], y[:800], settings(DBN_HIDDEN=(32, 32), DBN_EPOCHS=300), RBM,
                      np.random.default_rng(1))
    assert [w.shape for w in weights] == [(4, 32), (32,), (32, 32), (32,), (32, 1), (1,)]
    p = dbn.landslide_probability(weights, x[800:])
    assert p.shape == (200,)
    assert p.min() >= 0
    assert p.max() <= 1
    assert roc_auc_score(y[800:], p) > 0.99
    assert ((p >= 0.5) == y[800:]).mean() > 0.95


def test_fewer_points_than_a_batch_teach_too():
    x, y = made_points(60)
    head = dbn.fit(x, y, settings(DBN_BATCH=64, DBN_EPOCHS=100), RBM, np.random.default_rng(1))[-2]
    assert np.all(head != 0)


def test_learns_what_no_line_parts_from_the_start_that_the_machines_give():
    x, y = made_points(1000)
    found = []
    for rate in (0.5, 1e-9):
        c = settings(DBN_HIDDEN=(32, 32), DBN_RBM_EPOCHS=60, DBN_RBM_LEARNING_RATE=rate, DBN_EPOCHS=60)
        p = dbn.landslide_probability(dbn.fit(x, y, c, RBM, np.random.default_rng(1)), x)
        found.append(((p >= 0.5) == y).mean())
    assert found[0] == 1
    assert found[1] < 0.6  # the same descent from the machines' random start


def test_starts_from_machines_stacked_and_a_head_of_zeros(monkeypatch):
    seen = []
    monkeypatch.setattr(dbn, "fine_tuned", lambda weights, *rest: seen.append(weights) or weights)
    x, y = made_points()
    c = settings()
    dbn.fit(x, y, c, RBM, np.random.default_rng(2))
    rng, values, expected = np.random.default_rng(2), x, []
    for units in c.DBN_HIDDEN:
        machine = RBM(values.shape[1], units, c.DBN_RBM_LEARNING_RATE, rng, "bernoulli", 0.01)
        machine.fit(values, c.DBN_RBM_EPOCHS, c.DBN_BATCH)
        values = machine.transform(values)
        expected += [machine.weights.T, machine.hidden_bias]
    for found, w in zip(seen[0], [*expected, np.zeros((5, 1)), np.zeros(1)], strict=True):
        np.testing.assert_array_equal(found, w)
    h = dbn.landslide_probability([*seen[0][:-2], np.eye(5, dtype=np.float32)[:, :1], np.zeros(1, np.float32)], x)
    np.testing.assert_allclose(h, 1 / (1 + np.exp(-values[:, 0])), rtol=1e-5)  # both go up in the same way


def test_labels_play_no_part_before_fine_tuning(monkeypatch):
    monkeypatch.setattr(dbn, "fine_tuned", lambda weights, *rest: weights)
    x, y = made_points()
    one, other = (dbn.fit(x, labels, settings(), RBM, np.random.default_rng(2)) for labels in (y, 1 - y))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def loss(weights: list, x: np.ndarray, y: np.ndarray) -> float:
    p = dbn.landslide_probability(weights, x)
    return -np.mean(np.where(y == 1, np.log(p), np.log(1 - p)))


def test_one_step_goes_down_the_gradient(monkeypatch):
    monkeypatch.setattr(dbn, "STEPS_A_CALL", 1)
    x, y = made_points(20)
    rng = np.random.default_rng(3)
    start = [rng.normal(0, 0.7, shape).astype(np.float32) for shape in ((4, 6), (6,), (6, 5), (5,), (5, 1), (1,))]
    found = dbn.fine_tuned(start, x, y, settings(DBN_EPOCHS=1, DBN_DROPOUT=0.0), np.random.default_rng(4))
    exact = [w.astype(float) for w in start]
    for w, after in zip(exact, found, strict=True):
        for index in np.ndindex(w.shape):
            kept, values = w[index], []
            for d in (1e-5, -1e-5):
                w[index] = kept + d
                values.append(loss(exact, x.astype(float), y))
            w[index] = kept
            assert after[index] == pytest.approx(kept - 0.5 * (values[0] - values[1]) / 2e-5, abs=1e-5)


def test_a_call_takes_no_more_steps_than_are_asked_for(monkeypatch):
    x, y = made_points(20)
    rng = np.random.default_rng(3)
    start = [rng.normal(0, 0.7, shape).astype(np.float32) for shape in ((4, 6), (6,), (6, 5), (5,), (5, 1), (1,))]
    c, found = settings(DBN_EPOCHS=3, DBN_DROPOUT=0.0), []
    for steps in (100, 1):  # three steps in one call, or one a call
        monkeypatch.setattr(dbn, "STEPS_A_CALL", steps)
        found.append(dbn.fine_tuned(start, x, y, c, np.random.default_rng(4)))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_units_drop_out_by_the_seed():
    x, y = made_points()
    found = [dbn.fit(x, y, settings(DBN_DROPOUT=dropout), RBM, np.random.default_rng(seed))
             for dropout, seed in ((0.1, 5), (0.1, 5), (0.0, 5), (0.1, 6))]
    assert all(np.array_equal(a, b) for a, b in zip(found[0], found[1], strict=True))
    assert not np.array_equal(found[0][0], found[2][0])
    assert not np.array_equal(found[0][0], found[3][0])
    assert all(np.isfinite(w).all() for weights in found for w in weights)


@pytest.mark.parametrize(("rate", "value", "where"), [
    ("DBN_LEARNING_RATE", 1e30, "fine-tuning, by step 100"), ("DBN_RBM_LEARNING_RATE", 1e39, "RBM 1")])
def test_weights_that_are_no_numbers_are_one_line(rate, value, where):
    x, y = made_points()
    with pytest.raises(InputError, match=f"^DBN, {where}: expected finite weights, found others; lower {rate}$"):
        dbn.fit(x, y, settings(**{rate: value}), RBM, np.random.default_rng(7))


def test_extreme_inputs_give_finite_probabilities():
    x, y = made_points()
    weights = dbn.fit(x, y, settings(), RBM, np.random.default_rng(7))
    p = dbn.landslide_probability([100 * w for w in weights], np.array([[1e3] * 4, [-1e3] * 4], np.float32))
    assert np.isfinite(p).all()
    assert set(np.round(p, 3)) <= {0, 1}
