import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.cluster import KMeans
from small_split import parted_by_a_line
from threadpoolctl import threadpool_info, threadpool_limits

from lsm.inputs.factor.definition import Factor
from lsm.learner.encoder import Encoder
from lsm.learner.tasks import EncodedSamples, Tasks, draw, held_out_roles, neighbourhoods, rows_by_block
from lsm.run.paths import PROJECT
from lsm.run.settings import InputError

sys.path.append(str(PROJECT / "benchmarks"))
import precision


def test_tasks_of_other_factors_than_the_encoder():
    values = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)
    encoder = Encoder.fit(values, tuple(Factor(n, "continuous", "-") for n in ("slope", "rain")), form="recommended",
                          xy=values)
    arrays = {"factors": values, "label": np.array([0, 1]), "xy": values, "block": np.array([0, 0]),
              "weight": np.ones(2, np.float32)}
    assert len(EncodedSamples.of_file(arrays | {"factor_names": np.array(["slope", "rain"])}, encoder).x) == 2
    with pytest.raises(InputError, match="expected slope, rain as in the encoder, found rain, slope"):
        EncodedSamples.of_file(arrays | {"factor_names": np.array(["rain", "slope"])}, encoder)


def test_rows_by_block():
    blocks, rows = rows_by_block(np.array([7, 3, 7, 5, 3, 7]), np.array([True, True, False, False, True, True]))
    np.testing.assert_array_equal(blocks, [3, 7])
    assert [r.tolist() for r in rows] == [[1, 4], [0, 5]]


def test_tasks_are_padded_with_their_own_samples():
    tasks = Tasks.of([np.array([5, 3, 8]), np.array([], int), np.array([2])])
    assert tasks.members.tolist() == [[5, 3, 8], [0, 0, 0], [2, 2, 2]]
    assert tasks.mask().tolist() == [[1, 1, 1], [0, 0, 0], [1, 0, 0]]


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
    s, _, q, _ = draw(Tasks.of([np.arange(200)]), np.random.default_rng(4), 900, 1, 100, 100, xy, 1.0)
    towards = (xy[q[:, 0]].mean(axis=1) - xy[s[:, 0]].mean(axis=1)) @ [1, 1j]
    quarters = np.histogram(np.angle(towards), 4, (-np.pi, np.pi))[0]
    assert np.abs(quarters - 225).max() < 4 * np.sqrt(900 * 0.25 * 0.75)


# neighbourhoods ---------------------------------------------------------------------------------------------------

def made_samples(n: int = 300, seed: int = 0, blocks: int = 10, side: float = 1000.0) -> EncodedSamples:
    """Samples at random places, a third of them landslides; blocks are stripes from west to east."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, side, (n, 2))
    return EncodedSamples(rng.standard_normal((n, 4)).astype(np.float32), (rng.random(n) < 0.3).astype(np.int32), xy,
                          (xy[:, 0] * blocks / side).astype(int), np.ones(n, np.float32))


@pytest.mark.parametrize("size", [2, 9, 80, 300, 5000])
def test_a_neighbourhood_is_the_nearest_points(size):
    samples = made_samples()
    rows = np.flatnonzero(np.random.default_rng(1).random(300) < 0.8)
    found = neighbourhoods(samples, rows, size, np.random.default_rng(2))
    size = min(size, len(rows))
    expected = set()
    for i in rows:  # all of them are centres: there are fewer than TASKS
        nearest = rows[np.argsort(np.hypot(*(samples.xy[rows] - samples.xy[i]).T), kind="stable")[:size]]
        assert nearest[0] == i
        if len(set(samples.label[nearest])) == 2:
            expected.add((i, frozenset(nearest.tolist())))
    assert {len(set(task.tolist())) for task in found} == {size}
    assert len(found) == len(expected)
    assert {(task[0], frozenset(task.tolist())) for task in found} == expected
    assert 0 < len(found) <= len(rows)
    assert (len(found) < len(rows)) == (size < 80)  # the small ones of one class are left out


def test_neighbourhoods_read_only_the_rows_to_learn_from():
    samples, rng = made_samples(), np.random.default_rng(3)
    known = rng.random(300) < 0.6
    other = EncodedSamples(np.where(known[:, None], samples.x, 9), np.where(known, samples.label, 1 - samples.label),
                           np.where(known[:, None], samples.xy, 0), np.where(known, samples.block, 99),
                           np.where(known, samples.weight, 0))
    one, again = (neighbourhoods(s, np.flatnonzero(known), 25, np.random.default_rng(4)) for s in (samples, other))
    np.testing.assert_array_equal(one, again)
    assert known[np.concatenate(one)].all()


def test_block_borders_do_not_matter_to_neighbourhoods():
    samples = made_samples()
    one = neighbourhoods(samples, np.arange(300), 25, np.random.default_rng(5))
    shuffled = replace(samples, block=np.random.default_rng(6).permutation(samples.block))
    np.testing.assert_array_equal(neighbourhoods(shuffled, np.arange(300), 25, np.random.default_rng(5)), one)
    assert np.mean([len(set(samples.block[task])) > 1 for task in one]) > 0.9


def test_the_same_seed_gives_the_same_neighbourhoods(monkeypatch):
    monkeypatch.setattr("lsm.learner.tasks.TASKS", 50)  # fewer than samples: centres are drawn
    samples = made_samples()
    one, same, other = (neighbourhoods(samples, np.arange(300), 60, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert len(one) == 50
    assert {task[0] for task in one} != {task[0] for task in other}
    few = neighbourhoods(samples, np.arange(300), 3, np.random.default_rng(1))
    assert 50 < len(few) <= 200  # each sample in two tasks on average, less those of one class


def test_every_sample_of_a_mixed_field_is_in_a_neighbourhood():
    samples = made_samples()
    for size in (20, 75):
        assert set(np.concatenate(neighbourhoods(samples, np.arange(300), size, np.random.default_rng(0)))) == {
            *range(300)}


# held_out_roles ---------------------------------------------------------------------------------------------------

def holding_out(**values) -> SimpleNamespace:
    return SimpleNamespace(**{"SEED": 1, "MIN_SAMPLES": 16, "META_TRAIN_SHARE": 0.75, "META_BATCH": 16, "FOLDS": 5,
                              "LOCAL_NEIGHBOURHOOD": 80} | values)


def roles_of(samples: EncodedSamples, seed: int = 1, **values) -> np.ndarray:
    return held_out_roles(samples, holding_out(SEED=seed, **values), np.random.default_rng(seed))


def test_blocks_are_held_out_where_they_are_thick():
    samples = made_samples(600, blocks=20)
    samples.block[samples.block == 3] = 4
    thin = np.flatnonzero(samples.block == 7)[:-10]  # block 7 keeps 10 samples
    samples.block[thin] = 8
    blocks, counts = np.unique(samples.block, return_counts=True)
    role = roles_of(samples)
    assert set(role) == {"meta-train", "support", "query"}  # thin blocks teach too
    held_out = np.unique(samples.block[role != "meta-train"])
    eligible = blocks[counts > 16]
    assert len(held_out) == len(eligible) - round(0.75 * len(eligible))
    assert set(held_out) <= set(eligible)
    for b in held_out:
        of_block = role[samples.block == b]
        assert set(of_block) == {"support", "query"}
        assert (of_block == "query").sum() - (of_block == "support").sum() in (0, 1)
    np.testing.assert_array_equal(role, roles_of(samples))
    assert (role != roles_of(samples, seed=2)).any()
    published = roles_of(samples, LOCAL_NEIGHBOURHOOD=0, META_BATCH=4)
    np.testing.assert_array_equal(np.unique(samples.block[published == "unused"]), blocks[counts <= 16])
    used = published != "unused"
    np.testing.assert_array_equal(published[used], role[used])


def test_the_benchmark_of_precision_scores_no_twin_of_a_known_sample():
    samples = made_samples(600, blocks=20)
    factors = np.repeat(np.arange(300), 2)[:, None].astype(np.float32)  # each row twice
    role = precision.roles_of({"factors": factors}, samples, holding_out())
    assert (role == "unused").sum() == 300
    assert len(np.unique(factors[role != "unused"])) == 300
    np.testing.assert_array_equal(role[::2], roles_of(samples)[::2])  # the first of each


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_whole_fold_is_held_out_where_blocks_are_thin(seed):
    samples = made_samples(200, blocks=40)  # five a block
    role = roles_of(samples, seed)
    assert set(role) == {"meta-train", "query"}
    query = role == "query"
    assert 0.05 < query.mean() < 0.5
    assert len(set(samples.label[query])) == 2
    # a fold of k-means: its samples are nearer to its own centre than to the centre of the others
    own = samples.xy[query].mean(axis=0)
    from_centre = np.hypot(*(samples.xy - own).T)
    assert np.median(from_centre[query]) < 0.5 * np.median(from_centre[~query])
    assert len(set(samples.block[query])) > 5  # blocks do not matter


def test_the_fold_held_out_is_the_same_with_any_number_of_threads(monkeypatch):
    """Which rounding moves a sample to another fold is left to chance, so how many threads there are is looked at."""
    samples, found, seen = made_samples(4000, blocks=900), [], []

    class Told(KMeans):
        def fit_predict(self, *given):
            seen.append({library["num_threads"] for library in threadpool_info()})
            return super().fit_predict(*given)

    monkeypatch.setattr("sklearn.cluster.KMeans", Told)
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(roles_of(samples))
    np.testing.assert_array_equal(*found)
    assert seen == [{1}] * 2


def test_the_fold_held_out_has_both_classes():
    samples = made_samples(200, blocks=40)
    samples.label[:] = (samples.xy < 350).all(axis=1)  # landslides in one corner alone, in more than one fold
    for seed in range(1, 7):
        role = roles_of(samples, seed, FOLDS=9)
        assert len(set(samples.label[role == "query"])) == 2
        assert len(set(samples.label[role != "query"])) == 2  # there is something to learn from


def test_what_to_do_where_no_fold_has_both_classes():
    samples, found = made_samples(200, blocks=40), "to score, and both outside it to learn from, found none"
    samples.label[:] = samples.xy[:, 0] < 500
    samples.xy[:, 0] += np.where(samples.label, 0, 1e5)  # two clusters far apart, each of one class
    with pytest.raises(InputError, match=rf"^200 samples: expected a fold of 2 \(FOLDS\) .*{found}: all landslides lie "
                                         r"within X \d+ to 500, Y .*; map landslides elsewhere too, or keep to"):
        roles_of(samples, FOLDS=2)
    there = samples.xy[:, 0] < 1e4
    few = made_samples(there.sum(), blocks=10)  # what MASK leaves: landslides and, among them, new non-landslides
    few.xy[:] = samples.xy[there]
    few.label[::2] = 0
    assert "query" in roles_of(few, FOLDS=2)  # the remedy
    with pytest.raises(InputError, match=f"{found}; add non-landslides near the landslides"):
        roles_of(samples, FOLDS=8)
    samples.label[np.flatnonzero(samples.label == 0)[0]] = 1  # one fold has both classes, the other one nothing but 1
    with pytest.raises(InputError, match=f"{found}: all non-landslides lie .*; add non-landslides elsewhere"):
        roles_of(samples, FOLDS=2)


@pytest.mark.parametrize("neighbourhood", [0, 80])
def test_blocks_that_are_held_out_have_both_classes_where_they_can(neighbourhood):
    samples = made_samples(600, blocks=20)
    for landslides in ((3, 7), (3,)):  # blocks of landslides alone; one cannot be held out and learned from
        samples.label[:] = np.isin(samples.block, landslides)
        for seed in range(1, 7):
            role = roles_of(samples, seed, LOCAL_NEIGHBOURHOOD=neighbourhood, META_BATCH=4)
            assert (role != "meta-train").sum() == np.isin(samples.block, samples.block[role == "query"]).sum()
            if len(landslides) == 2:
                assert len(set(samples.label[role == "query"])) == len(set(samples.label[role == "meta-train"])) == 2


@pytest.mark.parametrize(("blocks", "share", "trained", "others"), [(18, 0.75, 14, 4), (16, 0.99, 16, 0)])
def test_published_refuses_too_few_blocks_and_its_remedy_works(blocks, share, trained, others):
    samples = made_samples(50 * blocks, blocks=blocks)
    with pytest.raises(InputError, match=rf"^{blocks} blocks with more than 16 samples: expected 16 to learn from "
                                         rf"\(META_BATCH\) and others to hold out, found {trained} and {others}, .*; "
                                         r"use RECIPE=recommended$") as refused:
        roles_of(samples, LOCAL_NEIGHBOURHOOD=0, META_TRAIN_SHARE=share)
    assert len(str(refused.value)) < 300
    role = roles_of(samples, META_TRAIN_SHARE=share)
    assert {"meta-train", "query"} <= set(role)
