import numpy as np

from lsm.region.absences import draw_by_stratum, quick_score

STRATA = np.random.default_rng(0).integers(-1, 3, (40, 30))
WINDOWS = [(0, 15), (15, 15), (30, 10)]


def strata(row: int, rows: int) -> np.ndarray:
    return STRATA[row:row + rows]


def test_as_many_as_wanted_of_each_stratum_none_twice():
    row, col = draw_by_stratum(np.random.default_rng(1), {0: 20, 2: 50}, strata, WINDOWS)
    assert len(set(zip(row.tolist(), col.tolist(), strict=True))) == 70
    np.testing.assert_array_equal(np.bincount(STRATA[row, col], minlength=3), [20, 0, 50])


def test_a_small_stratum_gives_all_it_has():
    row, col = draw_by_stratum(np.random.default_rng(1), {1: 10**6}, strata, WINDOWS)
    np.testing.assert_array_equal(np.sort(row * 30 + col), np.flatnonzero(STRATA == 1))
    assert len(draw_by_stratum(np.random.default_rng(1), {7: 5}, strata, WINDOWS)[0]) == 0


def test_windows_do_not_change_the_draw():
    one = draw_by_stratum(np.random.default_rng(1), {0: 60}, strata, [(0, 40)])
    many = draw_by_stratum(np.random.default_rng(1), {0: 60}, strata, WINDOWS)
    np.testing.assert_array_equal(one, many)


def test_every_cell_is_as_likely():
    rng, counts, draws = np.random.default_rng(2), np.zeros(STRATA.shape), 2000
    for _ in range(draws):
        counts[draw_by_stratum(rng, {0: 30}, strata, WINDOWS)] += 1
    free = STRATA == 0
    assert (counts[~free] == 0).all()
    p = 30 / free.sum()
    assert np.abs(counts[free] / draws - p).max() < 5 * np.sqrt(p * (1 - p) / draws)


def test_quick_score_knows_a_good_factor_from_noise():
    rng = np.random.default_rng(3)
    place = rng.random((400, 2))
    label = rng.integers(0, 2, 400)
    told, noise = label + 0.3 * rng.standard_normal(400), rng.standard_normal(400)
    assert quick_score(told[:, None], label, place, 10, 1) > 0.95
    assert abs(quick_score(noise[:, None], label, place, 10, 1) - 0.5) < 0.1
    assert np.isnan(quick_score(noise[:3, None], label[:3], place[:3], 10, 1))
