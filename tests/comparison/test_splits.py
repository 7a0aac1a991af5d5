from dataclasses import replace

import numpy as np
import pytest
from small_split import BARE, MIXED, made_split, parted_by_a_line

from lsm.comparison import splits
from lsm.comparison.rivals import boosting
from lsm.comparison.splits import QUERY, SUPPORT, TRAIN, UNUSED
from lsm.learner.encoder import Encoder


def made_blocks(seed: int = 0, blocks: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Blocks of 5 to 60 samples in no order, and the samples' places: block (samples,), xy (samples, 2)."""
    rng = np.random.default_rng(seed)
    block = rng.permutation(np.repeat(10 * np.arange(blocks), rng.integers(5, 60, blocks)))
    return block, rng.uniform(0, 1000, (len(block), 2))


def held_out(block, role) -> list:
    return sorted(set(block[role == QUERY]))


# what is drawn --------------------------------------------------------------------------------------------------

def test_repeats_are_the_later_ones_of_equal_rows():
    factors = np.array([[1, 2], [3, 4], [1, 2], [1, 2.5], [3, 4], [1, 2]], np.float32)
    np.testing.assert_array_equal(splits.repeated_rows(factors, np.arange(6)), [2, 4, 5])
    np.testing.assert_array_equal(splits.repeated_rows(factors, np.array([5, 2, 3])), [2])  # "earlier" is by `rows`
    assert len(splits.repeated_rows(factors, np.array([0, 1, 3]))) == 0


def test_repeats_leave_every_row_once():
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 3, (300, 4)).astype(np.float32)
    kept = np.setdiff1d(np.arange(300), splits.repeated_rows(factors, np.arange(300)))
    assert len(np.unique(factors[kept], axis=0)) == len(kept) == len(np.unique(factors, axis=0)) < 300


def test_nothing_teaches_that_has_the_factors_of_a_query_sample():
    factors = np.array([[1, 0], [2, 0], [1, 0], [2, 0], [3, 0], [3, 0], [4, 0], [4, 0], [5, 0]], np.float32)
    role = np.array([QUERY, TRAIN, TRAIN, SUPPORT, SUPPORT, QUERY, QUERY, QUERY, TRAIN], np.int8)
    sample = np.array([1, 1, 1, 1, 1, 0, 1, 1, 1], bool)  # the sixth is a cell, that of the fifth
    expected = [QUERY, TRAIN, UNUSED, SUPPORT, SUPPORT, QUERY, QUERY, QUERY, TRAIN]
    np.testing.assert_array_equal(splits.without_twins(role, factors, sample), expected)
    alone = factors + [[0, i] for i in range(9)]
    np.testing.assert_array_equal(splits.without_twins(role, alone, sample), role)


def test_eligible_blocks_have_more_than_the_minimum():
    np.testing.assert_array_equal(splits.eligible_blocks(np.repeat([7, 3, 5], [17, 16, 18]), 16), [5, 7])


@pytest.mark.parametrize("cut", ["random", "line"])
@pytest.mark.parametrize("seed", range(3))
def test_few_shot_roles(cut, seed):
    block, xy = made_blocks(seed)
    eligible = splits.eligible_blocks(block, 16)
    candidates = eligible[::2]
    role = splits.few_shot_roles(block, xy, 16, candidates, 5, cut, np.random.default_rng(seed))
    drawn = held_out(block, role)
    assert len(drawn) == 5
    assert set(drawn) <= set(candidates)
    np.testing.assert_array_equal(role == TRAIN, np.isin(block, eligible) & ~np.isin(block, drawn))
    np.testing.assert_array_equal(role == UNUSED, ~np.isin(block, eligible))
    for b in drawn:
        support, query = (block == b) & (role == SUPPORT), (block == b) & (role == QUERY)
        assert (support | query).sum() == (block == b).sum()
        assert query.sum() - support.sum() in (0, 1)
        # random halves interleave: no line parts them (chance of one that does: below 2^-8 a block)
        assert parted_by_a_line(xy[support], xy[query]) == (cut == "line")


def test_both_cuts_hold_out_the_same_blocks():
    block, xy = made_blocks()
    eligible = splits.eligible_blocks(block, 16)
    drawn = [[held_out(block, splits.few_shot_roles(block, xy, 16, eligible, 6, cut, np.random.default_rng(seed)))
              for cut in ("random", "line")] for seed in range(5)]
    assert all(a == b for a, b in drawn)
    assert len({tuple(a) for a, _ in drawn}) > 1


def test_every_block_is_held_out_as_often():
    block, xy = made_blocks(blocks=8)
    eligible = splits.eligible_blocks(block, 0)
    rng, counts = np.random.default_rng(0), dict.fromkeys(eligible, 0)
    for _ in range(400):
        for b in held_out(block, splits.few_shot_roles(block, xy, 0, eligible, 2, "random", rng)):
            counts[b] += 1
    assert np.abs(np.array(list(counts.values())) - 100).max() < 4 * np.sqrt(400 * 0.25 * 0.75)


def test_a_line_turns():
    xy = np.random.default_rng(1).normal(size=(200, 2))
    rng = np.random.default_rng(2)
    towards = []
    for _ in range(900):
        order = splits.along_a_line(xy, rng)
        towards.append((xy[order[100:]].mean(axis=0) - xy[order[:100]].mean(axis=0)) @ [1, 1j])
    assert np.abs(np.histogram(np.angle(towards), 4, (-np.pi, np.pi))[0] - 225).max() < 4 * np.sqrt(900 * 3 / 16)


# squares --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("size", [500, 1000])
def test_whole_squares_in_balanced_folds(size):
    rng = np.random.default_rng(3)
    xy = np.concatenate([rng.uniform(-4000, 4000, (3000, 2)), rng.normal(800, 600, (3000, 2))])  # dense in places
    counted = rng.random(6000) < 0.5
    fold = splits.squares(xy, counted, size, 5, np.random.default_rng(0))
    folds_of, counts = {}, {}
    for place, f, n in zip(map(tuple, np.floor(xy / size)), fold, counted, strict=True):
        folds_of.setdefault(place, set()).add(f)
        counts[place] = counts.get(place, 0) + n
    assert all(len(f) == 1 for f in folds_of.values())
    sizes = np.bincount(fold, counted, 5)
    assert sizes.max() - sizes.min() <= max(counts.values())  # what going to the emptiest fold promises
    assert sizes.max() < 1.3 * sizes.min()
    assert set(fold) == set(range(5))
    assert (splits.squares(xy, counted, size, 5, np.random.default_rng(1)) != fold).any()


def test_squares_far_from_the_origin_and_on_their_edges():
    xy = np.array([[800000.0, 2500000.0], [800999.9, 2500999.9], [801000.0, 2500000.0], [799999.9, 2500000.0]])
    fold = splits.squares(xy, np.ones(4, bool), 1000, 3, np.random.default_rng(0))
    assert fold[0] == fold[1]
    assert len(set(fold)) == 3  # three squares, three folds


# what methods see -----------------------------------------------------------------------------------------------

def test_labelled_and_asked_part_the_points():
    split = made_split()
    known = (split.role == TRAIN) | (split.role == SUPPORT)
    np.testing.assert_array_equal(split.labelled, known)
    np.testing.assert_array_equal(split.asked, (split.role == QUERY) | (split.role == SUPPORT))
    np.testing.assert_array_equal(split.labelled | split.asked, split.role != UNUSED)
    assert (split.label[split.labelled] >= 0).all()


@pytest.mark.parametrize("form", ["published", "recommended"])
def test_the_encoder_is_fitted_on_labelled_points(form):
    split = made_split(form=form)
    assert split.encoder == Encoder.fit(split.factors[split.labelled], split.described, form, split.xy[split.labelled])
    np.testing.assert_array_equal(split.x, split.encoder.transform(split.factors))
    strange = split.factors.copy()
    strange[~split.labelled] = 1e6
    other = replace(split, factors=strange, xy=np.where(split.labelled[:, None], split.xy, 1e6))
    assert other.encoder == split.encoder
    np.testing.assert_array_equal(other.x[split.labelled], split.x[split.labelled])
    assert replace(split, role=np.where(split.role == TRAIN, UNUSED, split.role)).encoder != split.encoder


def within_block(split):
    blocks = max(split.blocks, split.block.max() + 1)
    return boosting.within_block(split.factors, split.block, split.labelled, blocks)(split.factors, split.block)


def test_within_block_equals_hand_computed():
    factors = np.array([[1, 5], [3, 5], [9, 6], [4, 1], [6, 3], [7, 7]], np.float32)
    split = splits.Split(factors, (), np.zeros((6, 2)), np.array([0, 1, -1, 1, 0, 0]), np.array([0, 0, 0, 1, 1, 2]),
                         np.array([SUPPORT, SUPPORT, QUERY, TRAIN, TRAIN, QUERY]), "recommended")
    # block 0: mean 2, sd 1; and 5, constant, so that differences stay as they are. Block 1: 5, 1; 2, 1.
    # Block 2 has no labelled point, so takes all four: mean 3.5, sd sqrt(3.25); 3.5, sqrt(2.75)
    expected = [[-1, 0], [1, 0], [7, 1], [-1, -1], [1, 1], [3.5 / np.sqrt(3.25), 3.5 / np.sqrt(2.75)]]
    np.testing.assert_allclose(within_block(split), expected, rtol=1e-6)


def test_within_block_uses_labelled_points_alone():
    split = made_split()
    strange = split.factors.copy()
    strange[~split.labelled] = -99
    other = replace(split, factors=strange, xy=np.where(split.labelled[:, None], split.xy, 1e6))
    np.testing.assert_array_equal(within_block(other)[split.labelled], within_block(split)[split.labelled])
    own = (split.block == MIXED) & split.labelled
    np.testing.assert_allclose(within_block(split)[own].mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(within_block(split)[own].std(axis=0), 1, atol=1e-4)
    bare, known = split.factors[split.block == BARE], split.factors[split.labelled]
    np.testing.assert_allclose(within_block(split)[split.block == BARE],
                               (bare - known.mean(axis=0)) / known.std(axis=0), rtol=1e-4, atol=1e-5)
