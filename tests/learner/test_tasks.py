import numpy as np
import pytest
from small_split import parted_by_a_line

from lsm.inputs.samples import Factor
from lsm.learner.encoder import Encoder
from lsm.learner.tasks import EncodedSamples, Tasks, draw, rows_by_block
from lsm.run.settings import InputError


def test_tasks_of_other_factors_than_the_encoder():
    values = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)
    encoder = Encoder.fit(values, tuple(Factor(n, "continuous", "-") for n in ("slope", "rain")), form="recommended")
    arrays = {"factors": values, "label": np.array([0, 1]), "xy": values, "block": np.array([0, 0]),
              "weight": np.ones(2, np.float32)}
    assert len(EncodedSamples.of_file(arrays | {"factor_names": np.array(["slope", "rain"])}, encoder).x) == 2
    with pytest.raises(InputError, match=r"expected those of the encoder \(slope, rain\), found rain, slope in"):
        EncodedSamples.of_file(arrays | {"factor_names": np.array(["rain", "slope"])}, encoder)


def test_rows_by_block():
    blocks, rows = rows_by_block(np.array([7, 3, 7, 5, 3, 7]), np.array([True, True, False, False, True, True]))
    np.testing.assert_array_equal(blocks, [3, 7])
    assert [r.tolist() for r in rows] == [[1, 4], [0, 5]]


def test_draw_gives_disjoint_samples_of_the_task():
    rng = np.random.default_rng(0)
    sizes = [17, 40, 24, 100, 33, 18]
    rows = np.split(rng.permutation(1000)[:sum(sizes)], np.cumsum(sizes)[:-1])
    owner = np.full(1000, -1)
    for i, own in enumerate(rows):
        owner[own] = i
    tasks = Tasks.of(rows)
    np.testing.assert_array_equal(tasks.mask().sum(axis=1), sizes)
    s_rows, s_mask, q_rows, q_mask = draw(tasks, rng, 300, 4, 16, 16)
    assert s_rows.shape == s_mask.shape == q_rows.shape == q_mask.shape == (300, 4, 16)
    for step in range(300):
        owners = []
        for task in range(4):
            s, q = s_rows[step, task][s_mask[step, task] == 1], q_rows[step, task][q_mask[step, task] == 1]
            both = [*s, *q]
            assert len(set(both)) == len(both)
            (own,) = set(owner[both])
            owners.append(own)
            size = sizes[own]
            assert len(s) == min(16, size // 2)
            assert len(q) == min(16, size - len(s))
            assert owner[s_rows[step, task]].tolist() == [own] * 16  # padding too holds rows of the task
            assert owner[q_rows[step, task]].tolist() == [own] * 16
        assert -1 not in owners
        assert len(set(owners)) == 4  # no task twice in a meta-batch


@pytest.mark.parametrize(("size", "expected"), [(17, (8, 9)), (32, (16, 16)), (31, (15, 16)), (500, (16, 16)),
                                                (2, (1, 1)), (16, (8, 8))])
def test_draw_from_small_tasks_halves_them(size, expected):
    tasks = Tasks.of([np.arange(size) + 5])
    s_rows, s_mask, q_rows, q_mask = draw(tasks, np.random.default_rng(0), 50, 1, 16, 16)
    assert set(s_mask.sum(axis=2).ravel()) == {expected[0]}
    assert set(q_mask.sum(axis=2).ravel()) == {expected[1]}
    if size <= 32:  # every sample is used
        for s, sm, q, qm in zip(s_rows[:, 0], s_mask[:, 0], q_rows[:, 0], q_mask[:, 0], strict=True):
            assert sorted([*s[sm == 1], *q[qm == 1]]) == list(range(5, 5 + size))


@pytest.mark.parametrize("size", [40, 24, 17])
def test_draw_is_unbiased_in_the_order_of_the_file(size):
    draws = 4000
    s_rows, s_mask, q_rows, q_mask = draw(Tasks.of([np.arange(size)]), np.random.default_rng(2), draws, 1, 8,
                                               8)
    for rows, mask in ((s_rows, s_mask), (q_rows, q_mask)):
        assert mask.all()
        counts = np.bincount(rows.ravel(), minlength=size)
        share = 8 / size
        deviation = (counts - draws * share) / np.sqrt(draws * share * (1 - share))
        assert np.abs(deviation).max() < 4
        # each place of the draw, too: the mean row is the middle of the file
        middle = rows.reshape(draws, 8).mean(axis=0)
        assert np.abs(middle - (size - 1) / 2).max() < 4.5 * size / np.sqrt(12 * draws)


def test_draw_takes_tasks_evenly_and_is_deterministic():
    tasks = Tasks.of([np.arange(i, i + 20) for i in range(0, 200, 20)])
    first = draw(tasks, np.random.default_rng(3), 2000, 4, 8, 8)
    again = draw(tasks, np.random.default_rng(3), 2000, 4, 8, 8)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    counts = np.bincount((first[0][:, :, 0] // 20).ravel(), minlength=10)
    assert np.abs(counts - 800).max() < 4 * np.sqrt(2000 * 0.4 * 0.6)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_draw_parts_a_share_of_the_tasks_by_a_line(share):
    rng = np.random.default_rng(0)
    xy = rng.uniform(-1, 1, (600, 2))
    tasks = Tasks.of(np.split(rng.permutation(600), [40, 57, 157, 190, 250, 400]))
    owner = np.empty(600, np.int64)
    for i, (members, size) in enumerate(zip(tasks.members, tasks.sizes, strict=True)):
        owner[members[:size]] = i
    drawn = draw(tasks, rng, 40, 4, 16, 16, xy, share)
    parted = []
    for s, sm, q, qm in zip(*(a.reshape(160, 16) for a in drawn), strict=True):
        s, q = s[sm == 1], q[qm == 1]
        (own,) = set(owner[[*s, *q]])
        assert len({*s, *q}) == len(s) + len(q)
        assert len(s) == min(16, tasks.sizes[own] // 2)
        assert len(q) == min(16, tasks.sizes[own] - len(s))
        parted.append(parted_by_a_line(xy[s], xy[q]))
    assert abs(np.mean(parted) - share) < 4 * np.sqrt(share * (1 - share) / 160) + 1e-9


@pytest.mark.parametrize(("support", "query"), [(8, 32), (3, 100), (32, 8)])
def test_draw_across_a_line_takes_no_more_than_a_half_holds(support, query):
    xy = np.random.default_rng(0).random((400, 2))
    tasks = Tasks.of([np.arange(100, 140), np.arange(200, 300), np.arange(300, 305)])
    drawn = draw(tasks, np.random.default_rng(1), 20, 3, support, query, xy, 1.0)
    for s, sm, q, qm in zip(*(a.reshape(60, -1) for a in drawn), strict=True):
        s, q = s[sm == 1], q[qm == 1]
        size = {1: 40, 2: 100, 3: 5}[s[0] // 100]
        assert (set(s // 100), set(q // 100)) == ({s[0] // 100},) * 2  # no row of another task
        assert (len(set(s)), len(set(q))) == (min(support, size // 2), min(query, size - size // 2))
        assert parted_by_a_line(xy[s], xy[q])


def test_draw_turns_the_line_and_either_half_is_the_support():
    xy = np.random.default_rng(3).normal(size=(200, 2))
    s, _, q, _ = draw(Tasks.of([np.arange(200)]), np.random.default_rng(4), 400, 1, 100, 100, xy, 1.0)
    towards = (xy[q[:, 0]].mean(axis=1) - xy[s[:, 0]].mean(axis=1)) @ [1, 1j]
    quarters = np.histogram(np.angle(towards), 4, (-np.pi, np.pi))[0]
    assert np.abs(quarters - 100).max() < 4 * np.sqrt(400 * 0.25 * 0.75)
