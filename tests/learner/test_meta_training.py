import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from small_split import made_split

from lsm.comparison.ours.networks import samples_of
from lsm.comparison.splits import TRAIN
from lsm.learner import meta_training
from lsm.learner.adaptation import pooled_members
from lsm.learner.encoder import Encoder
from lsm.learner.members import Training, pooled_of
from lsm.learner.meta_training import batches_of, meta_train, not_finite, tasks_of
from lsm.learner.network import use_one_thread
from lsm.learner.tasks import rows_by_block
from lsm.run.settings import InputError

use_one_thread()  # before any test runs an operator
HIDDEN = (8, 8, 4)


def settings(**values) -> SimpleNamespace:
    return SimpleNamespace(**{
        "LOCAL_MEMBERS": 2, "LOCAL_NEIGHBOURHOOD": 40, "LOCAL_ITERATIONS": 40, "LOCAL_BORROW": 10,
        "REGIONAL_MEMBERS": 2, "REGIONAL_NEIGHBOURHOOD": 120, "REGIONAL_ITERATIONS": 30, "REGIONAL_SUPPORT": 12,
        "REGIONAL_BORROW": 30, "PLACE": True, "PLACE_FROM": 0, "NORMALISE": True, "NORMALISE_FROM": 0, "DECAY": 0.0,
        "DIRECT": True, "CURVES_BELOW": 0, "ADAPT_STEPS": 3, "ADAPT_BATCH": 0, "MIN_SAMPLES": 16,
        "INNER_LR": 0.1, "RATE_PER_WEIGHT": True, "INNER_STEPS": 2, "META_LR": 1e-2, "FIRST_ORDER": True,
        "LOG_EVERY": 10, "SAVE_EVERY": 20, "META_BATCH": 4, "SUPPORT": 8, "QUERY": 8, "LINE_SHARE": 0.5, "SEED": 3}
        | values)


def blocks(**values) -> SimpleNamespace:
    """The constants of a kind whose tasks are blocks, as the published recipe has it."""
    return settings(**{"LOCAL_NEIGHBOURHOOD": 0, "REGIONAL_MEMBERS": 0, "NORMALISE": False, "DIRECT": False} | values)


def started(split, c, saved=None, seed=None) -> Training:
    known = split.role == TRAIN
    return Training.start(split.x.shape[1], HIDDEN, saved, c, int(known.sum()),
                          np.random.default_rng(c.SEED if seed is None else seed))


def trained(split, c, training=None, save=None, samples=None, threads=0) -> Training:
    training, samples = training or started(split, c), samples or samples_of(split)
    return meta_train(training, samples, split.role == TRAIN, c, save, threads)


def copied(training: Training) -> Training:
    """As a file brings it back: by the names of its arrays."""
    out = Training(training.kinds, [], training.done, training.history.copy())
    out.fill({name: array.copy() for name, array in training.arrays().items()})
    return out


def equal(one: Training, other: Training) -> bool:
    one, other = one.arrays(), other.arrays()
    return list(one) == list(other) and all(np.array_equal(one[name], other[name]) for name in one)


# members --------------------------------------------------------------------------------------------------------

def test_members_start_apart_and_share_what_was_pretrained():
    split, c = made_split(), settings(LOCAL_MEMBERS=3)
    training = started(split, c)
    assert [len(states) for states in training.states] == [3, 2]
    assert len({s["weights"][0].tobytes() for states in training.states for s in states}) == 5
    n = split.x.shape[1]
    saved = {f"arr_{i}": np.full(shape, i + 0.5, np.float32)
             for i, shape in enumerate(((8, n), (8,), (8, 8), (8,), (4, 8), (4,)))}
    local, regional = started(split, c, saved).states
    for state in (*local, *regional):
        np.testing.assert_array_equal(state["weights"][0][:n], saved["arr_0"].T)
        np.testing.assert_array_equal(state["weights"][2], saved["arr_2"].T)
        assert not state["weights"][8].any()  # the direct path
    assert {(s["weights"][0].shape, s["weights"][8].shape) for s in local} == {((n, 8), (n, 2))}
    assert {(s["weights"][0].shape, s["weights"][8].shape) for s in regional} == {
        ((n + 2, 8), (n + 2, 2))}
    assert len({s["weights"][6].tobytes() for s in (*local, *regional)}) == 5
    assert all(float(np.mean(rate)) == pytest.approx(0.1) for s in local for rate in s["inner_lr"])
    without = started(split, settings(PLACE=False, DIRECT=False))
    assert {(len(s["weights"]), s["weights"][0].shape) for states in without.states for s in states} == {(8, (n, 8))}


@pytest.mark.parametrize("per_weight", [True, False])
def test_states_by_name_and_back(per_weight):
    training = started(made_split(), settings(RATE_PER_WEIGHT=per_weight))
    assert equal(copied(training), training)
    rates = 9 if per_weight else 1
    assert sum(name.startswith("regional_inner_lr_") for name in training.arrays()) == rates
    for one, other in zip(training.states, copied(training).states, strict=True):
        for a, b in zip(one, other, strict=True):
            assert {key: len(parts) for key, parts in a.items()} == {key: len(parts) for key, parts in b.items()}


@pytest.mark.parametrize("members", [1, 2])
def test_a_model_file_gives_back_kinds_weights_and_pooled_models(members):
    training = started(made_split(), settings(LOCAL_MEMBERS=members))
    training.reach = 1234.5
    pooled = {kind.name: [w + 1 for w in states[0]["weights"]]
              for kind, states in zip(training.kinds, training.states, strict=True)}
    model = training.for_file(pooled, Encoder("recommended", (), ()))
    assert not any("_m_" in name or "_v_" in name for name in model)  # moments of Adam
    again = Training.of_file(model)
    assert (again.kinds, again.reach) == (training.kinds, 1234.5)
    assert [len(states) for states in again.states] == [members, 2]
    arrays = training.arrays()
    assert list(again.arrays()) == [name for name in arrays if "_m_" not in name and "_v_" not in name]
    assert all(np.array_equal(w, arrays[name]) for name, w in again.arrays().items())
    found = pooled_of(again, model)
    assert list(found) == ["local", "regional"]
    for kind, weights in pooled.items():
        assert all(np.array_equal(a, b) for a, b in zip(found[kind], weights, strict=True))


# tasks ----------------------------------------------------------------------------------------------------------

def test_tasks_of_blocks_are_those_with_more_than_the_minimum():
    split = made_split()
    samples, known = samples_of(split), split.role == TRAIN
    known[np.flatnonzero(split.block == 4)[16:]] = False  # 16 samples
    known[np.flatnonzero(split.block == 5)[17:]] = False  # 17
    kind, = started(split, blocks()).kinds
    tasks = tasks_of(kind, samples, known, blocks())
    found = [set(rows[:n]) for rows, n in zip(tasks.members, tasks.sizes, strict=True)]
    expected = [set(rows) for b, rows in zip(*rows_by_block(split.block, known), strict=True) if b != 4]
    assert found == expected
    assert 17 in tasks.sizes


@pytest.mark.parametrize("k", [0, 1])
def test_every_labelled_point_teaches(k):
    """Each is in a neighbourhood, however thin its block is."""
    split = made_split()
    samples, known = samples_of(split), split.role == TRAIN
    known[np.flatnonzero(split.block == 4)[2:]] = False  # a block with two samples
    kind = started(split, settings()).kinds[k]
    tasks = tasks_of(kind, samples, known, settings())
    assert set(tasks.sizes) == {kind.neighbourhood}
    assert set(tasks.members.ravel()) == set(np.flatnonzero(known))
    assert len(tasks.sizes) <= known.sum()


def test_a_point_of_a_thin_block_changes_every_member():
    split, c = made_split(), settings()
    i = np.flatnonzero((split.block == 4) & (split.role == TRAIN))[0]
    samples, known = samples_of(split), split.role == TRAIN
    known[(split.block == 4) & (np.arange(len(known)) != i)] = False
    x = samples.x.copy()
    x[i, 0] += 1
    one, other = (meta_train(started(split, c), s, known, c) for s in (samples, replace(samples, x=x)))
    for a, b in zip(one.states, other.states, strict=True):
        for m, n in zip(a, b, strict=True):
            assert not np.array_equal(m["weights"][0], n["weights"][0])


@pytest.mark.parametrize("c", [settings(), blocks()])
def test_nothing_to_learn_from_is_told(c):
    split = made_split()
    samples = samples_of(split)
    samples.label[:] = 1
    known = (split.role == TRAIN) & (split.block == 0) & (np.cumsum(split.block == 0) <= 16)
    with pytest.raises(InputError, match=r"^16 samples to learn from: expected tasks of both classes for "
                                         rf"{'local' if c.LOCAL_NEIGHBOURHOOD else 'blocks'} members, found none; add"):
        meta_train(started(split, c), samples, known, c)


# training -------------------------------------------------------------------------------------------------------

def test_training_lowers_the_loss_of_every_kind():
    split, c = made_split(), settings(LOG_EVERY=40)
    training = started(split, c)
    training.kinds = [replace(kind, iterations=n) for kind, n in zip(training.kinds, (150, 80), strict=True)]
    trained(split, c, training)
    for k, steps in enumerate(([40, 80, 120, 150], [40, 80])):
        history = training.history[training.history[:, 1] == k]
        assert history[:, 0].tolist() == steps
        assert history[-1, 3] < history[0, 3]
        assert (history[:, 4] > 0).all()
        assert len({np.asarray(s["weights"][0]).tobytes() for s in training.states[k]}) == 2
    assert (training.done, training.steps.tolist()) == (150, [150, 80])
    begun = started(split, c)
    for states, before in zip(training.states, begun.states, strict=True):
        for state, at_first in zip(states, before, strict=True):
            assert all(not np.array_equal(a, b) for a, b in zip(state["weights"], at_first["weights"], strict=True))


def test_rows_of_history_change_no_model(monkeypatch):
    split, c = made_split(), settings(LOCAL_ITERATIONS=25, CURVES_BELOW=10_000)
    fine = trained(split, c)
    monkeypatch.setattr(meta_training, "ROWS_OF_FEW", 1)
    coarse = trained(split, c)
    assert coarse.history[:, 0].tolist() == [10, 10, 20, 20, 25, 30]
    assert equal(fine, coarse)
    local = fine.history[fine.history[:, 1] == 0]
    np.testing.assert_allclose(coarse.history[0, 2:4], local[:10, 2:4].mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(coarse.history[0, 4], local[9, 4])


def test_few_points_start_from_curves():
    split, c = made_split(), settings(CURVES_BELOW=10_000, LOCAL_ITERATIONS=2, REGIONAL_ITERATIONS=2,
                                         NORMALISE=False)
    training = trained(split, c)
    n = split.x.shape[1]
    for kind, states in zip(training.kinds, training.states, strict=True):
        assert kind.bends
        for state in states:
            assert len(state["weights"][8]) > n + 2 * kind.place
            assert np.abs(state["weights"][8]).max() > 0.1  # two steps from zero come to .02
        # what is fitted is kept far from all samples
        for i, found in enumerate(pooled_members(training, samples_of(split).x)[kind.name]):
            np.testing.assert_array_equal(found, [state["fitted"][i] for state in states])
            assert not np.array_equal(found, [state["weights"][i] for state in states])
    model = training.for_file({}, Encoder("recommended", (), ()))
    assert not any("fitted" in name for name in model)
    assert not any(kind.bends for kind in started(split, settings()).kinds)


def test_training_on_blocks_that_differ_learns_to_adapt():
    split, c = made_split(), blocks(LOCAL_ITERATIONS=150, LOG_EVERY=50)
    training = trained(split, c)
    assert training.history[:, 0].tolist() == [50, 100, 150]
    assert training.history[-1, 3] < training.history[0, 3]
    assert training.history[-1, 3] < training.history[-1, 2]  # adaptation helps
    assert (training.history[:, 4] > 0).all()
    assert len({np.asarray(s["weights"][0]).tobytes() for s in training.states[0]}) == 2
    assert not equal(training, started(split, c))


@pytest.mark.parametrize(("iterations", "curves"), [((40, 30), 0), ((25, 30), 0), ((40, 15), 10_000)])
def test_training_that_goes_on_equals_training_at_once(iterations, curves):
    """Also where kinds end at different steps, between two checkpoints, and between two calls; and where curves were
    fitted before."""
    c, split, saved = settings(LOCAL_ITERATIONS=iterations[0], REGIONAL_ITERATIONS=iterations[1],
                               CURVES_BELOW=curves), made_split(), {}
    training = trained(split, c, save=lambda training: saved.update({training.done: copied(training)}))
    assert list(saved) == [20, max(iterations)]
    assert saved[20].steps.tolist() == [min(20, n) for n in iterations]
    again = trained(split, c, saved[20])
    assert equal(again, training)
    np.testing.assert_array_equal(again.history, training.history)
    assert equal(saved[max(iterations)], training)
    other = settings(LOCAL_ITERATIONS=iterations[0], REGIONAL_ITERATIONS=iterations[1], CURVES_BELOW=curves, SEED=4)
    assert not equal(trained(split, other, started(split, c)), training)


def test_steps_that_no_interval_divides():
    split, steps = made_split(), []
    training = trained(split, settings(LOCAL_ITERATIONS=25, REGIONAL_MEMBERS=0),
                       save=lambda training: steps.append((training.done, *training.steps)))
    assert training.history[:, 0].tolist() == [10, 20, 25]
    assert steps == [(20, 20), (25, 25)]


def test_a_kind_that_ended_is_left_alone():
    split, seen = made_split(), []
    training = trained(split, settings(LOCAL_ITERATIONS=15),
                       save=lambda training: seen.append((training.steps.tolist(), copied(training))))
    assert [steps for steps, _ in seen] == [[15, 20], [15, 30]]
    early, late = (training.arrays() for _, training in seen)
    assert all(np.array_equal(early[name], late[name]) == name.startswith("local_") for name in early)
    steps = [training.history[training.history[:, 1] == k, 0].tolist() for k in (0, 1)]
    assert steps == [[10, 15], [10, 20, 30]]


def test_members_and_kinds_do_not_depend_on_each_other():
    split = made_split()
    every = trained(split, settings())
    one = started(split, settings(LOCAL_MEMBERS=1))
    one.states[0] = started(split, settings()).states[0][:1]
    one.states[1] = started(split, settings()).states[1]
    one = trained(split, settings(LOCAL_MEMBERS=1), one)
    for key in ("weights", "inner_lr", "m", "v"):
        for a, b in zip(one.states[0][0][key], every.states[0][0][key], strict=True):
            np.testing.assert_array_equal(a, b)
    alone = started(split, settings(REGIONAL_MEMBERS=0))
    alone.states[0] = started(split, settings()).states[0]
    alone = trained(split, settings(REGIONAL_MEMBERS=0), alone)
    local = {name: w for name, w in every.arrays().items() if name.startswith("local_")}
    assert list(alone.arrays()) == list(local)
    assert all(np.array_equal(w, local[name]) for name, w in alone.arrays().items())


def test_threads_give_the_same_bytes():
    split, c = made_split(), settings(LOCAL_ITERATIONS=30)
    one, two = (trained(split, c, threads=threads) for threads in (1, 2))
    assert equal(one, two)
    np.testing.assert_array_equal(one.history, two.history)


def test_a_gpu_trains_the_same_networks(monkeypatch):
    split, c = made_split(), settings(LOCAL_ITERATIONS=4, REGIONAL_MEMBERS=0, LOG_EVERY=2)
    cores = trained(split, c)
    monkeypatch.setattr(meta_training, "on_gpu", lambda: True)  # its program, run here by TensorFlow on a core
    gpu = trained(split, c)
    for a, b in zip(cores.states[0], gpu.states[0], strict=True):
        for key in a:
            for p, q in zip(a[key], b[key], strict=True):
                np.testing.assert_allclose(p, q, atol=1e-4)
    np.testing.assert_allclose(cores.history, gpu.history, atol=1e-4)


@pytest.mark.parametrize("c", [settings(), blocks()])
def test_only_points_to_learn_from_are_read(c):
    split = made_split()
    outside = split.role != TRAIN
    samples = samples_of(split)
    other = replace(samples, label=np.where(outside, 1 - split.label, split.label).astype(np.int32),
                    x=np.where(outside[:, None], 9, samples.x).astype(np.float32),
                    xy=np.where(outside[:, None], 0, split.xy), weight=np.where(outside, 5, 1).astype(np.float32))
    assert equal(trained(split, c, samples=other), trained(split, c))


def test_local_members_do_not_read_the_place_and_regional_ones_do():
    split, c = made_split(), settings(LOCAL_ITERATIONS=10, REGIONAL_ITERATIONS=10)
    samples = samples_of(split)
    x = samples.x.copy()
    x[:, -2:] = np.random.default_rng(0).permutation(x[:, -2:])
    (local, regional), (local_2, regional_2) = (trained(split, c, samples=s).states
                                                for s in (samples, replace(samples, x=x)))
    np.testing.assert_array_equal(local[0]["weights"][0], local_2[0]["weights"][0])
    assert not np.array_equal(regional[0]["weights"][0], regional_2[0]["weights"][0])


def test_points_count_by_their_weight():
    split, c = made_split(), settings()
    samples, training, known = samples_of(split), started(split, c), split.role == TRAIN
    weight = np.random.default_rng(0).uniform(0.2, 0.9, len(split.label)).astype(np.float32)
    tasks = tasks_of(training.kinds[0], samples, known, c)
    one, other = (batches_of(training, 0, s, tasks, c, [0]) for s in (samples, replace(samples, weight=weight)))
    for part in (0, 3):  # support and query: x, label, mask
        of_row = {x.tobytes(): w for x, w in zip(samples.x[:, :one[part].shape[-1]], weight, strict=True)}
        expected = [of_row[x.tobytes()] for x in one[part].reshape(-1, one[part].shape[-1])]
        np.testing.assert_allclose(other[part + 2].ravel(), one[part + 2].ravel() * expected, rtol=1e-6)
        for i in (part, part + 1):
            np.testing.assert_array_equal(other[i], one[i])


def test_progress_is_shown_where_models_are_saved_alone(monkeypatch):
    split, c, shown = made_split(), settings(LOCAL_ITERATIONS=10, REGIONAL_MEMBERS=0), []
    bar = meta_training.Progress
    monkeypatch.setattr(meta_training, "Progress", lambda **how: shown.append(how["disable"]) or bar(**how))
    trained(split, c)
    trained(split, c, save=lambda training: None)
    assert shown == [True, False]


def test_progress_names_the_kind_of_member_that_its_losses_are_of(monkeypatch):
    said = []
    monkeypatch.setattr(meta_training.Progress, "set_postfix_str", lambda bar, text, **_: said.append(text))
    trained(made_split(), settings(LOCAL_ITERATIONS=20, REGIONAL_ITERATIONS=10), save=lambda training: None)
    kinds = [re.fullmatch(r"query loss of (\w+) members \d\.\d{3} -> \d\.\d{3}", text)[1] for text in said]
    assert kinds == ["regional", "local"]  # of the second kind alone once the first is done


def test_a_meta_batch_takes_the_tasks_there_are(monkeypatch):
    split, c, asked = made_split(), blocks(META_BATCH=100, LOCAL_ITERATIONS=10), []
    drawn = meta_training.draw
    monkeypatch.setattr(meta_training, "draw", lambda tasks, rng, steps, meta_batch, *rest: (
        asked.append((meta_batch, len(tasks.sizes))), drawn(tasks, rng, steps, meta_batch, *rest))[1])
    assert np.isfinite(trained(split, c).history).all()
    assert set(asked) == {(19, 19)}


@pytest.mark.parametrize(("decay", "lower"), [(0, "META_LR or INNER_LR"), (500, "META_LR, INNER_LR or DECAY")])
def test_divergence_is_told_with_its_step(decay, lower):
    """The steps before it are well: training that ends there is finite, and one more step is refused."""
    split, c = made_split(), blocks(META_LR=1e30, LOCAL_ITERATIONS=100, DECAY=decay)
    message = (r"^outer step (\d+), blocks member [12]: expected finite numbers, found a query loss (before|after) the "
               rf"inner loop of \S+; lower {lower}$")
    with pytest.raises(InputError, match=message) as caught:
        trained(split, c)
    step = int(re.match(message, str(caught.value))[1])
    assert 1 <= step <= c.LOG_EVERY
    if step > 1:
        c.LOCAL_ITERATIONS = step - 1
        assert all(np.isfinite(array).all() for array in trained(split, c).arrays().values())
    c.LOCAL_ITERATIONS = step
    with pytest.raises(InputError, match=rf"^outer step {step}, "):
        trained(split, c)


@pytest.mark.parametrize("key", ["weights", "inner_lr", "m", "v"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_every_part_of_a_state_is_looked_at(key, value):
    state = {name: [np.ones(2, np.float32), np.ones(3, np.float32)] for name in ("weights", "inner_lr", "m", "v")}
    assert not_finite(state, 0.5, 0.5) == ""
    assert not_finite(state, value, 0.5) == f"a query loss before the inner loop of {value}"
    assert not_finite(state, 0.5, value) == f"a query loss after the inner loop of {value}"
    state[key][1][2] = value
    assert not_finite(state, 0.5, 0.5).endswith("that are none")


def test_inputs_that_are_no_numbers_are_told():
    split, c = made_split(), settings()
    samples = samples_of(split)
    x = samples.x.copy()
    row = np.flatnonzero(split.role == TRAIN)[5]
    x[row, 1] = np.nan
    with pytest.raises(InputError, match=rf"^network inputs: expected finite numbers, found others in row {row} "):
        trained(split, c, samples=replace(samples, x=x))
