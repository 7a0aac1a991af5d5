import itertools
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from threadpoolctl import threadpool_info, threadpool_limits
from tqdm import tqdm

import study_area
from lsm.learner.encoder import Encoder
from lsm.learner.network import use_one_thread
from lsm.run.artifacts import check, read_csv, read_npz
from lsm.run.paths import PROJECT, Paths
from lsm.run.settings import InputError, constants, run
from unsupervised_pretraining import DAS_pretraining as stage
from unsupervised_pretraining.denoising_autoencoder import DenoisingAutoencoder
from unsupervised_pretraining.rbm import RBM
from unsupervised_pretraining.stack import machines, pretrain

SCRIPT = "unsupervised_pretraining/DAS_pretraining.py"
HK_DATA = Path(os.environ.get("LSM_HK_DATA", PROJECT.parent / "shared" / "hk"))
use_one_thread()  # before any test runs an operator; main() asks for the same


# RBM ------------------------------------------------------------------------------------------------------------

def tiny(units: str, visible: int = 3, hidden: int = 2, seed: int = 5) -> RBM:
    """A machine in float64 with biases and weights far from zero."""
    rng = np.random.default_rng(seed)
    rbm = RBM(visible, hidden, 0.1, rng, units)
    rbm.weights = rng.normal(0, 0.8, (hidden, visible))
    rbm.hidden_bias, rbm.visible_bias = rng.normal(0, 0.5, hidden), rng.normal(0, 0.5, visible)
    return rbm


def binary_states(n: int) -> np.ndarray:
    return np.array(list(itertools.product((0.0, 1.0), repeat=n)))


def energy(rbm: RBM, v: np.ndarray, h: np.ndarray) -> float:
    return -(rbm.visible_bias @ v + rbm.hidden_bias @ h + h @ rbm.weights @ v)


def free_energy(rbm: RBM, v: np.ndarray) -> np.ndarray:
    """F(v) (samples,): -log sum_h exp(-E(v, h)) of binary units, min_h E(v, h) of rectified ones."""
    x = v @ rbm.weights.T + rbm.hidden_bias
    if rbm.units == "relu":
        return 0.5 * ((v - rbm.visible_bias) ** 2).sum(axis=1) - 0.5 * (np.maximum(x, 0) ** 2).sum(axis=1)
    return -v @ rbm.visible_bias - np.logaddexp(0, x).sum(axis=1)


def enumerated_cd1(rbm: RBM, v0: np.ndarray) -> list[np.ndarray]:
    """E[CD-1 direction] for one v0, from the joint energies of all hidden and visible states alone."""
    hidden, visible = binary_states(len(rbm.hidden_bias)), binary_states(len(v0))
    boltzmann = np.array([[np.exp(-energy(rbm, v, h)) for h in hidden] for v in visible])  # (visible, hidden) states
    hidden_given = boltzmann / boltzmann.sum(axis=1, keepdims=True)
    visible_given = boltzmann / boltzmann.sum(axis=0, keepdims=True)
    i0 = int(np.flatnonzero((visible == v0).all(axis=1))[0])
    expected_h = hidden_given @ hidden
    weights = np.outer(expected_h[i0], v0)
    hidden_bias, visible_bias = expected_h[i0].copy(), v0.copy()
    for j in range(len(hidden)):
        for i in range(len(visible)):
            chance = hidden_given[i0, j] * visible_given[i, j]
            weights -= chance * np.outer(expected_h[i], visible[i])
            hidden_bias -= chance * expected_h[i]
            visible_bias -= chance * visible[i]
    return [weights, hidden_bias, visible_bias]


@pytest.mark.parametrize("v0", [(1, 0, 1), (0, 0, 0), (0, 1, 1)])
def test_binary_cd1_equals_enumeration(v0):
    rbm, v0 = tiny("bernoulli"), np.array(v0, float)
    draws = 400_000
    found = rbm.cd1(np.tile(v0, (draws, 1)))
    # A statistic of one draw lies within 0..1, so its mean has a standard error below 0.5 / sqrt(draws) = 0.0008.
    for a, b in zip(found, enumerated_cd1(rbm, v0), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=5 * 0.5 / np.sqrt(draws))


def test_binary_free_energy_equals_enumeration():
    rbm = tiny("bernoulli")
    visible, hidden = binary_states(3), binary_states(2)
    expected = [-np.log(sum(np.exp(-energy(rbm, v, h)) for h in hidden)) for v in visible]
    np.testing.assert_allclose(free_energy(rbm, visible), expected, rtol=1e-12)


def test_rectified_states_have_the_lowest_energy():
    rbm, rng = tiny("relu", 4, 3), np.random.default_rng(0)

    def rectified_energy(v, h):
        return 0.5 * ((v - rbm.visible_bias) ** 2).sum() + 0.5 * (h**2).sum() - h @ (rbm.hidden_bias + rbm.weights @ v)

    v = rng.normal(size=4)
    h = rbm.transform(v[None])[0]
    assert (h >= 0).all()
    assert free_energy(rbm, v[None])[0] == pytest.approx(rectified_energy(v, h), rel=1e-12)
    best_v = rbm.reconstruct(h[None])[0]
    for _ in range(200):
        step = 0.3 * rng.normal(size=3)
        assert rectified_energy(v, np.maximum(h + step, 0)) >= rectified_energy(v, h) - 1e-12
        assert rectified_energy(best_v + 0.3 * rng.normal(size=4), h) >= rectified_energy(best_v, h) - 1e-12


@pytest.mark.parametrize("units", ["relu", "bernoulli"])
def test_cd1_is_the_difference_of_free_energy_gradients(units):
    rbm, rng = tiny(units, 4, 3), np.random.default_rng(1)
    v0 = rng.normal(size=(6, 4)) if units == "relu" else (rng.random((6, 4)) < 0.5).astype(float)
    if units == "bernoulli":  # hold the drawn states: what cd1 draws, drawn once more from the same start
        rbm.rng = np.random.default_rng(7)
    v1 = rbm._state(rbm.reconstruct(rbm._state(rbm.transform(v0))))
    rbm.rng = np.random.default_rng(7)
    found = rbm.cd1(v0)

    def objective():
        return (free_energy(rbm, v1) - free_energy(rbm, v0)).mean()

    for name, direction in zip(("weights", "hidden_bias", "visible_bias"), found, strict=True):
        array = getattr(rbm, name)
        for index in np.ndindex(array.shape):
            kept, d = array[index], 1e-6
            array[index] = kept + d
            above = objective()
            array[index] = kept - d
            below = objective()
            array[index] = kept
            assert direction[index] == pytest.approx((above - below) / (2 * d), abs=1e-7), (name, index)


def test_one_epoch_takes_every_sample_once():
    values = np.random.default_rng(2).normal(size=(10, 3)).astype(np.float32)
    rbm, other = (RBM(3, 2, 0.05, np.random.default_rng(4)) for _ in range(2))
    rbm.fit(values, epochs=1, batch=4)  # batches of 4, 4 and 2
    order = other.rng.permutation(10)
    for rows in (order[:4], order[4:8], order[8:]):
        step = other.cd1(values[rows])
        for name, direction in zip(("weights", "hidden_bias", "visible_bias"), step, strict=True):
            setattr(other, name, getattr(other, name) + 0.05 * direction)
    np.testing.assert_allclose(rbm.weights, other.weights, rtol=1e-5)
    np.testing.assert_allclose(rbm.hidden_bias, other.hidden_bias, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(rbm.visible_bias, other.visible_bias, rtol=1e-5, atol=1e-7)
    assert {a.dtype for a in (rbm.weights, rbm.hidden_bias, rbm.visible_bias)} == {np.dtype(np.float32)}


def test_binary_machine_learns_two_patterns():
    rng = np.random.default_rng(3)
    patterns = np.array([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]], np.float32)
    rbm = RBM(6, 4, 0.1, rng, "bernoulli")
    before = rbm.reconstruction_error(patterns)
    errors = rbm.fit(patterns[rng.integers(2, size=500)], epochs=20, batch=10)
    assert before > 0.2
    assert errors[-1] < 0.02
    far = patterns.copy()
    far[:, 0] = 1 - far[:, 0]
    assert (free_energy(rbm, patterns) < free_energy(rbm, far)).all()


def test_unknown_units_are_refused():
    with pytest.raises(ValueError, match="expected one of"):
        RBM(2, 2, 0.1, np.random.default_rng(0), "gaussian")


# denoising autoencoder ------------------------------------------------------------------------------------------

def small_autoencoder(noise: float = 0.0) -> DenoisingAutoencoder:
    model = DenoisingAutoencoder(5, 3, 1e-3, noise, np.random.default_rng(8))
    rng = np.random.default_rng(9)
    for variable in model.variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    return model


def numpy_loss(weights: list[np.ndarray], noisy: np.ndarray, clean: np.ndarray) -> float:
    w1, b1, w2, b2 = weights
    output = np.log1p(np.exp(noisy @ w1 + b1)) @ w2 + b2
    return 0.5 * ((output - clean) ** 2).sum() / len(clean)


def numpy_gradients(weights: list[np.ndarray], noisy: np.ndarray, clean: np.ndarray) -> list[np.ndarray]:
    """By central differences, in float64."""
    gradients = []
    for array in weights:
        gradient = np.empty_like(array)
        for index in np.ndindex(array.shape):
            kept, values = array[index], []
            for d in (1e-5, -1e-5):
                array[index] = kept + d
                values.append(numpy_loss(weights, noisy, clean))
            array[index] = kept
            gradient[index] = (values[0] - values[1]) / 2e-5
        gradients.append(gradient)
    return gradients


def test_loss_and_gradient_equal_the_formula():
    model, rng = small_autoencoder(), np.random.default_rng(0)
    clean = rng.normal(size=(7, 5)).astype(np.float32)
    noisy = clean + 0.1 * rng.normal(size=(7, 5)).astype(np.float32)
    weights = [v.numpy().astype(float) for v in model.variables]
    with tf.GradientTape() as tape:
        loss = model.loss(tf.constant(noisy), tf.constant(clean))
    assert float(loss) == pytest.approx(numpy_loss(weights, noisy, clean), rel=1e-5)
    expected_gradients = numpy_gradients(weights, noisy, clean)
    for found, expected in zip(tape.gradient(loss, model.variables), expected_gradients, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_an_epoch_equals_adam_written_out():
    """Order, noise, a last batch that is smaller, and Adam's steps (Kingma and Ba 2015), in float64 NumPy."""
    model = small_autoencoder(noise=0.2)
    values = np.random.default_rng(1).normal(size=(10, 5)).astype(np.float32)
    weights = [v.numpy().astype(float) for v in model.variables]
    rng = np.random.default_rng()
    rng.bit_generator.state = model.rng.bit_generator.state
    model.fit_epoch(values, batch=4)

    clean = values[rng.permutation(10)]
    noisy = clean + np.float32(0.2) * rng.standard_normal(clean.shape, np.float32)
    first, second = ([np.zeros_like(w) for w in weights] for _ in range(2))
    for t, rows in enumerate((slice(0, 4), slice(4, 8), slice(8, 10)), start=1):
        for i, g in enumerate(numpy_gradients(weights, noisy[rows].astype(float), clean[rows].astype(float))):
            first[i] = 0.9 * first[i] + 0.1 * g
            second[i] = 0.999 * second[i] + 0.001 * g**2
            step = 1e-3 * (first[i] / (1 - 0.9**t)) / (np.sqrt(second[i] / (1 - 0.999**t)) + 1e-7)
            weights[i] = weights[i] - step
    for variable, expected in zip(model.variables, weights, strict=True):
        np.testing.assert_allclose(variable.numpy(), expected, rtol=0, atol=2e-5)
    output = np.log1p(np.exp(values @ weights[0] + weights[1])) @ weights[2] + weights[3]
    assert model.reconstruction_error(values) == pytest.approx(((output - values) ** 2).mean(), rel=1e-3)
    np.testing.assert_allclose(model.transform(values), np.log1p(np.exp(values @ weights[0] + weights[1])), atol=1e-4)
    np.testing.assert_allclose(model.weights, weights[0].T, atol=2e-5)


# the stack ------------------------------------------------------------------------------------------------------

def stack_settings(**values) -> SimpleNamespace:
    return SimpleNamespace(**{"HIDDEN": (7, 6, 4), "RBM_LEARNING_RATE": 0.01, "RBM_INITIAL_SD": 0.1, "RBM_EPOCHS": 2,
                              "RBM_BATCH": 10, "DAE_LEARNING_RATE": 1e-3, "DAE_NOISE": 0.1, "DAE_EPOCHS": 3,
                              "DAE_BATCH": 20} | values)


def test_layers_of_the_stack():
    layers = machines(5, stack_settings(), np.random.default_rng(0))
    assert [type(model) for model, *_ in layers] == [RBM, RBM, DenoisingAutoencoder]
    assert [(epochs, batch) for _, epochs, batch in layers] == [(2, 10), (2, 10), (3, 20)]
    assert [model.weights.shape for model, *_ in layers] == [(7, 5), (6, 7), (4, 6)]
    assert {(model.units, model.learning_rate) for model, *_ in layers[:2]} == {("relu", 0.01)}


def test_each_layer_learns_from_the_one_below():
    values = np.random.default_rng(1).normal(size=(60, 5)).astype(np.float32)
    with tqdm(disable=True) as bar:
        weights, history, silent = pretrain(values, machines(5, stack_settings(), np.random.default_rng(2)), bar)
    assert [w.shape for w in weights] == [(7, 5), (7,), (6, 7), (6,), (4, 6), (4,)]
    assert history[["layer", "epoch"]].to_numpy().tolist() == [[layer, epoch] for layer, epochs in
                                                               ((1, 2), (2, 2), (3, 3)) for epoch in range(epochs + 1)]
    below = values
    for i, (model, epochs, batch) in enumerate(machines(5, stack_settings(), np.random.default_rng(2))):
        errors = [model.reconstruction_error(below), *(model.fit_epoch(below, batch) for _ in range(epochs))]
        np.testing.assert_allclose(history.error[history.layer == i + 1], errors, rtol=1e-5)
        np.testing.assert_allclose(weights[2 * i], model.weights, rtol=1e-5)
        np.testing.assert_allclose(weights[2 * i + 1], model.hidden_bias, rtol=1e-5, atol=1e-7)
        below = model.transform(below)
        assert silent[i] == (below == 0).all(axis=0).sum()


@pytest.fixture
def two_threads():
    """Numerical libraries that would run on two threads."""
    with threadpool_limits(2):
        yield


def threads_now(library: str) -> set[int]:
    return {found["num_threads"] for found in threadpool_info() if found["user_api"] == library}


def test_the_same_bytes_with_any_number_of_threads(monkeypatch, two_threads):
    """Which kinds of processor round by the number of threads is left to chance, so how many there are is looked at."""
    values, found, seen = np.random.default_rng(1).random((3001, 13)).astype(np.float32), [], []
    plain = RBM.fit_epoch
    monkeypatch.setattr(RBM, "fit_epoch", lambda *given: seen.append(threads_now("blas")) or plain(*given))
    assert threads_now("blas") == {2}
    for threads in (1, 2):
        with threadpool_limits(threads), tqdm(disable=True) as bar:
            weights, history, _ = pretrain(values, machines(13, stack_settings(), np.random.default_rng(2)), bar)
        found.append((*(w.tobytes() for w in weights), history.to_numpy().tobytes()))
    assert found[0] == found[1]
    assert seen == [{1}] * 8  # two machines, two epochs, twice


def test_silent_units_are_counted_and_divergence_is_told():
    values = np.random.default_rng(1).normal(size=(60, 5)).astype(np.float32)
    layers = machines(5, stack_settings(RBM_EPOCHS=0), np.random.default_rng(2))
    layers[0][0].hidden_bias[[1, 4]] = -100
    with tqdm(disable=True) as bar:
        assert pretrain(values, layers, bar)[2][0] == 2
    with tqdm(disable=True) as bar, pytest.raises(InputError, match=r"^layer 1, epoch \d: .*lower RBM_LEARNING_RATE"):
        pretrain(values, machines(5, stack_settings(RBM_LEARNING_RATE=1e6, RBM_EPOCHS=9), np.random.default_rng(2)),
                 bar)


def test_inputs_that_are_no_numbers_are_not_taken_for_divergence():
    values = np.ones((60, 5), np.float32)
    values[7, 2] = np.nan
    with tqdm(disable=True) as bar, pytest.raises(InputError, match=r"^layer 1, before training: .*look for extreme"):
        pretrain(values, machines(5, stack_settings(), np.random.default_rng(2)), bar)


# the stage ------------------------------------------------------------------------------------------------------

def made_table(rows: int = 600, seed: int = 0) -> pd.DataFrame:
    """Factors with something to learn, 20 places that stand twice, five of them with both labels."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(rows, 3))
    columns = {}
    for factor in study_area.FACTORS:
        v = hidden @ rng.normal(size=3) + 0.3 * rng.normal(size=rows)
        if factor.kind == "categorical":
            v = 2 + np.clip(np.round(v / 2), -1, 1)
        elif factor.kind == "circular":
            v = np.where(rng.random(rows) < 0.1, -1, (90 * v) % 360)
        elif factor.kind == "distance":
            v = 200 * np.exp(v / 3)
        elif factor.zero_is_missing:
            v = np.where(rng.random(rows) < 0.4, 0.000001, v)
        elif factor.name == "slope":
            v = np.clip(30 + 8 * v, 0, 90)
        columns[factor.name] = v
    columns |= {"X": rng.uniform(0, 1e4, rows), "Y": rng.uniform(0, 1e4, rows), "label": rng.integers(2, size=rows)}
    table = pd.DataFrame(columns)
    table.loc[rows - 20:, ["X", "Y"]] = table.loc[:19, ["X", "Y"]].to_numpy()
    table.loc[rows - 5:, "label"] = 1 - table.loc[15:19, "label"].to_numpy()
    return table


def put(root: Path, table: pd.DataFrame) -> Path:
    (root / "src_data").mkdir(parents=True, exist_ok=True)
    table.to_csv(root / "src_data" / "samples_made.csv", index=False)
    return root


def run_here(monkeypatch, root: Path, *arguments: str) -> Paths:
    """The stage's own main loop, in this process: TensorFlow takes seconds to import."""
    monkeypatch.setenv("LSM_ROOT", str(root))
    monkeypatch.setattr(sys, "argv", [SCRIPT, "REGION=made", *arguments])
    run(stage.main, stage.Constants)
    return Paths("made")


def outputs(paths: Paths) -> list[bytes]:
    return [p.read_bytes() for p in (paths.saved_model, paths.encoder, paths.pretraining_history)]


def falls(history: pd.DataFrame) -> bool:
    return all((np.diff(error) < 0).all() for _, error in history.groupby("layer").error)


@pytest.mark.slow
def test_as_a_user_runs_it_twice(tmp_path, monkeypatch):
    found = []
    for name in ("one", "two"):
        root = put(tmp_path / name, made_table())
        done = subprocess.run([sys.executable, SCRIPT, "REGION=made", "RECIPE=published"], cwd=PROJECT, check=False,
                              capture_output=True, text=True, env={**os.environ, "LSM_ROOT": str(root)})
        assert done.returncode == 0, done.stderr
        assert "600 rows; left out since they repeat a place: 20" in done.stdout
        assert "wrote unsupervised_pretraining/model_init/savedmodel.npz" in done.stdout
        monkeypatch.setenv("LSM_ROOT", str(root))
        found.append(outputs(Paths("made")))
    assert found[0] == found[1]


def test_published_recipe(tmp_path, monkeypatch):
    paths = run_here(monkeypatch, put(tmp_path, made_table()), "RECIPE=published")
    c = constants(stage.Constants, ["REGION=made", "RECIPE=published"])
    arrays = read_npz(paths.saved_model, SCRIPT, c)
    assert {name: a.shape for name, a in arrays.items()} == {
        "arr_0": (32, 14), "arr_1": (32,), "arr_2": (32, 32), "arr_3": (32,), "arr_4": (16, 32), "arr_5": (16,)}
    assert all(a.dtype == np.float32 and np.isfinite(a).all() for a in arrays.values())
    history = read_csv(paths.pretraining_history, SCRIPT, c)
    assert [tuple(r) for r in history[["layer", "epoch"]].to_numpy()] == [
        (layer, epoch) for layer, epochs in ((1, 10), (2, 10), (3, 20)) for epoch in range(epochs + 1)]
    assert falls(history)
    table = made_table().iloc[:580]
    factors = table[[f.name for f in study_area.FACTORS]].replace(0.000001, 0).to_numpy(np.float32)
    encoder = Encoder.from_json(str(read_npz(paths.encoder, SCRIPT, c)["encoder"]))
    xy = np.column_stack([table.X, table.Y])
    assert encoder == Encoder.fit(factors, study_area.FACTORS, "published", xy)
    x = encoder.transform(factors)
    first = np.maximum(x @ arrays["arr_0"].T + arrays["arr_1"], 0)
    assert (first > 0).any(axis=0).sum() > 16
    record = check(paths.saved_model, SCRIPT, c)
    assert (record["stage"], record["region"], record["recipe"]) == (SCRIPT, "made", "published")
    assert list(record["inputs"]) == ["src_data/samples_made.csv"]


def test_labels_play_no_part_and_the_seed_does(tmp_path, monkeypatch):
    table = made_table()
    turned = table.assign(label=1 - table.label)
    mixed = table.assign(label=np.random.default_rng(1).permutation(table.label))
    short = ("RBM_EPOCHS=2", "DAE_EPOCHS=2")
    found = [outputs(run_here(monkeypatch, put(tmp_path / str(i), t), *short))
             for i, t in enumerate((table, turned, mixed))]
    assert found[0] == found[1] == found[2]
    other = outputs(run_here(monkeypatch, put(tmp_path / "seed", table), *short, "SEED=2"))
    assert other[0] != found[0][0]
    assert other[1] == found[0][1]


def test_recommended_recipe_and_other_sizes(tmp_path, monkeypatch):
    paths = run_here(monkeypatch, put(tmp_path, made_table()), "RECIPE=recommended", "HIDDEN=(20, 12, 6)")
    c = constants(stage.Constants, ["REGION=made", "RECIPE=recommended"])
    arrays = read_npz(paths.saved_model, SCRIPT, c)
    width = len(Encoder.from_json(str(read_npz(paths.encoder, SCRIPT, c)["encoder"])).columns)
    assert width > 14
    assert [a.shape for a in arrays.values()] == [(20, width), (20,), (12, 20), (12,), (6, 12), (6,)]
    assert falls(read_csv(paths.pretraining_history, SCRIPT, c))


def test_extreme_inputs_stay_finite(tmp_path, monkeypatch):
    """Outliers that the recommended encoder clips at 6 standard deviations, and a factor that never changes."""
    table = made_table()
    table.loc[:30, ["SPI", "TWI"]] = 1e6
    table["curvature"] = 3.0
    for recipe in ("published", "recommended"):
        paths = run_here(monkeypatch, put(tmp_path / recipe, table), f"RECIPE={recipe}")
        with np.load(paths.saved_model) as arrays:
            assert all(np.isfinite(a).all() for a in arrays.values())
        error = pd.read_csv(paths.pretraining_history).groupby("layer").error
        assert (error.last() < error.first()).all()


SLOPE = "column 'slope': expected a number"


@pytest.mark.parametrize(("spoil", "arguments", "message"), [
    (None, (), "src_data/samples_made.csv: missing"),
    (lambda t: t.drop(columns="slope"), (), "expected a column 'slope'"),
    (lambda t: t.assign(slope=t.slope.where(t.index != 7)), (), "line 9, " + SLOPE),
    (lambda t: t.assign(slope=t.slope.astype(object).where(t.index != 7, "steep")), (), "line 9, " + SLOPE),
    (lambda t: t.assign(label=t.label.where(t.index != 3, 2)), (), "line 5, column 'label': expected 0 or 1"),
    (lambda t: t.assign(label=1), (), "expected both 0 and 1, found no 0"),
    (lambda t: t, ("RECIPE=paper",), "expected one of published, recommended"),
    (lambda t: t, ("HIDDEN=(32, 16)",), "expected three numbers of units"),
    (lambda t: t, ("DAE_BATCH=0",), "DAE_BATCH=0: expected 1 or more"),
    (lambda t: t, ("RBM_LEARNING_RATE=1e3",), "lower RBM_LEARNING_RATE"),
])
def test_unusable_input_is_one_line_and_leaves_no_file(tmp_path, monkeypatch, capsys, spoil, arguments, message):
    if spoil:
        put(tmp_path, spoil(made_table()))
    with pytest.raises(SystemExit) as stopped:
        run_here(monkeypatch, tmp_path, *arguments)
    assert stopped.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 1
    assert message in lines[0]
    assert not (tmp_path / "unsupervised_pretraining").exists()


@pytest.mark.parametrize("recipe", ["published", "recommended"])
def test_hong_kong(tmp_path, monkeypatch, capsys, recipe):
    source = HK_DATA / "samples_HK.csv"
    if not source.is_file():
        pytest.skip(f"the Hong Kong tables are not here: no {source}; set LSM_HK_DATA to their folder")
    (tmp_path / "src_data").mkdir()
    (tmp_path / "src_data" / "samples_made.csv").symlink_to(source)
    paths = run_here(monkeypatch, tmp_path, f"RECIPE={recipe}")
    assert "19,898 rows; left out since they repeat a place: 524" in capsys.readouterr().out
    history = pd.read_csv(paths.pretraining_history)
    assert falls(history)
    with np.load(paths.saved_model) as arrays:
        assert all(np.isfinite(a).all() for a in arrays.values())
        assert arrays["arr_0"].shape == (32, 14 if recipe == "published" else 23)
