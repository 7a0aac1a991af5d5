import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from lsm.comparison import measures
from lsm.comparison.measures import (
    LOWER_IS_BETTER,
    MEASURES,
    SURELY,
    THRESHOLD,
    Scored,
    all_measures,
    bootstrap,
    calibration_error,
    rate_curve,
    reliability_bins,
    weighted,
)

LABEL = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
SCORE = np.array([0.9, 0.8, 0.5, 0.4, 0.6, 0.5, 0.3, 0.2, 0.1, 0.7])  # 0.5 counts as landslide


def test_equals_hand_computed_measures():
    # 3 true and 3 false positives, 1 false and 3 true negatives; chance agreement .4 * .6 + .6 * .4 = .48;
    # of the 24 pairs of a landslide and another, 18 are in order and one is tied; landslides are met at precisions
    # 1, 1, 3 of 6 (two tie at .5) and 4 of 7; in the bin of .5 probability and share agree, the other bins are off by
    # .1, .2, .6, .6, .3, .2, .1 and .7
    surprise = -np.log([0.9, 0.8, 0.5, 0.4, 0.4, 0.5, 0.7, 0.8, 0.9, 0.3]).sum() / 10
    expected = {"accuracy": 0.6, "balanced_accuracy": 0.625, "precision": 0.5, "recall": 0.75, "f1": 0.6,
                "kappa": 0.12 / 0.52, "mcc": 6 / 24, "auroc": 18.5 / 24, "pr_auc": (2 + 0.5 + 4 / 7) / 4,
                "brier": 0.19, "ece": 0.28, "log_loss": surprise}
    found = all_measures(LABEL, SCORE)
    assert tuple(found) == MEASURES
    assert found == pytest.approx(expected, abs=1e-12)


def test_better_scores_are_better_in_every_measure():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 500)
    worse, better = (all_measures(label, np.clip(label + rng.normal(0, sd, 500), 0, 1)) for sd in (0.8, 0.3))
    for name in MEASURES:
        assert (better[name] < worse[name]) == (name in LOWER_IS_BETTER), name


def test_flipped_labels_give_the_complement_of_auroc():
    rng = np.random.default_rng(0)
    label, score = rng.integers(0, 2, 200), rng.random(200).round(1)  # with ties
    assert all_measures(1 - label, score)["auroc"] == pytest.approx(1 - all_measures(label, score)["auroc"], abs=1e-12)


@pytest.mark.parametrize("only", [0, 1])
def test_one_class_has_no_auroc_nor_kappa(only):
    label = np.full(5, only)
    agreeing = all_measures(label, np.full(5, 0.9 * only))
    assert agreeing["accuracy"] == 1
    assert {name for name, v in agreeing.items() if math.isnan(v)} == {"balanced_accuracy", "kappa", "mcc", "auroc",
                                                                       "pr_auc"}
    assert agreeing["brier"] == pytest.approx(0.01 * only)  # of 0.9 for landslides, of 0 for others
    assert agreeing["ece"] == pytest.approx(0.1 * only)
    assert agreeing["log_loss"] == pytest.approx(-np.log(0.9) if only else 0, abs=1e-5)
    mixed = all_measures(label, np.array([0.1, 0.9, 0.9, 0.1, 0.1]))
    assert math.isnan(mixed["auroc"])
    assert mixed["kappa"] == pytest.approx(0)  # no better than chance
    assert mixed["accuracy"] == pytest.approx(0.4 if only else 0.6)


def test_no_predicted_landslide_has_precision_0():
    found = all_measures(LABEL, np.full(10, 0.1))
    assert (found["precision"], found["recall"], found["f1"]) == (0, 0, 0)
    assert found["kappa"] == pytest.approx(0)
    assert found["auroc"] == pytest.approx(0.5)


def test_kinds_of_input_give_the_same():
    as_lists = all_measures(LABEL.tolist(), SCORE.tolist())
    assert all_measures(LABEL.astype(np.int32), SCORE.astype(np.float32)) == pytest.approx(as_lists)
    assert all_measures(LABEL.astype(float), SCORE) == pytest.approx(as_lists)


def test_a_wrong_never_costs_a_finite_log_loss():
    found = all_measures(np.array([1, 0]), np.array([0.0, 0.0]))["log_loss"]
    assert found == pytest.approx(-np.log(SURELY) / 2, rel=1e-4)


# calibration ----------------------------------------------------------------------------------------------------

def test_reliability_equals_hand_computed():
    label, score = np.array([0, 1, 1, 1, 0, 1]), np.array([0.0, 0.2, 0.25, 0.5, 0.75, 1.0])
    n, mean, share = reliability_bins(label, score, bins=4)  # a limit belongs to the bin above it, 1 to the last
    np.testing.assert_array_equal(n, [2, 1, 1, 2])
    np.testing.assert_allclose(mean, [0.1, 0.25, 0.5, 0.875])
    np.testing.assert_allclose(share, [0.5, 1, 1, 0.5])
    assert calibration_error(label, score, bins=4) == pytest.approx((2 * 0.4 + 0.75 + 0.5 + 2 * 0.375) / 6)


def test_reliability_of_empty_bins():
    n, mean, share = reliability_bins([1, 0], [0.95, 0.95])
    np.testing.assert_array_equal(n, [0] * 9 + [2])
    assert np.isnan(mean[:9]).all()
    assert np.isnan(share[:9]).all()
    assert calibration_error(np.array([1, 0]), np.array([0.95, 0.95])) == pytest.approx(0.45)


def test_calibration_error_finds_what_is_calibrated():
    rng = np.random.default_rng(0)
    score = rng.random(100_000)
    label = (rng.random(100_000) < score).astype(int)
    assert calibration_error(label, score) < 0.01
    assert calibration_error(label, score**2) == pytest.approx(1 / 2 - 1 / 3, abs=0.01)  # E[s] - E[s^2]


# rate curves ----------------------------------------------------------------------------------------------------

def test_rate_curve_equals_hand_computed():
    area = np.array([0.5, 0.9, 0.1, 0.5])
    landslides = np.array([0.9, 0.5, 0.5, 0.1])
    # a quarter of the area holds 1 of 4; the next two quarters tie, and hold 2 between them; the last holds 1
    found = rate_curve(landslides, area, np.array([0, 0.125, 0.25, 0.5, 0.75, 0.875, 1]))
    np.testing.assert_allclose(found, [0, 0.125, 0.25, 0.5, 0.75, 0.875, 1])
    found = rate_curve(np.array([0.95, 0.7, 0.5, 0.02]), area, np.array([0.25, 0.5, 0.75, 1]))
    # .7 comes before the tied half, of which a half is in at .5; .02 lies below every cell, yet in the area
    np.testing.assert_allclose(found, [0.25, 0.5, 0.75, 1])


def test_rate_curve_of_equal_scores_is_the_diagonal_and_of_a_perfect_one_steep():
    shares = np.linspace(0, 1, 11)
    np.testing.assert_allclose(rate_curve(np.full(3, 0.4), np.full(8, 0.4), shares), shares, atol=1e-12)
    area = np.arange(100) / 100
    steep = rate_curve(np.array([0.99, 0.99]), area, np.array([0, 0.01, 0.5, 1]))
    np.testing.assert_allclose(steep, [0, 1, 1, 1])


def test_rate_curve_rises_to_1_and_hangs_on_ranks_alone():
    rng = np.random.default_rng(1)
    area, landslides = rng.random(500).round(2), rng.random(60) ** 0.3
    shares = np.linspace(0, 1, 101)
    curve = rate_curve(landslides, area, shares)
    assert (np.diff(curve) >= 0).all()
    assert (curve[0], curve[-1]) == (0, 1)
    np.testing.assert_allclose(rate_curve(landslides**2, area**2, shares), curve)


# weights and bootstrap ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("digits", [1, 9])
def test_weighted_equals_scikit_learn(digits):
    rng = np.random.default_rng(2)
    label, score = rng.integers(0, 2, 150), rng.random(150).round(digits)  # with ties, and without
    weight = rng.integers(0, 4, (20, 150)).astype(np.float32)
    found = weighted(label, score, weight)
    for i, w in enumerate(weight):
        said = score >= THRESHOLD
        expected = {"kappa": sklearn_metrics.cohen_kappa_score(label, said, sample_weight=w),
                    "auroc": sklearn_metrics.roc_auc_score(label, score, sample_weight=w),
                    "brier": sklearn_metrics.brier_score_loss(label, score, sample_weight=w),
                    "accuracy": sklearn_metrics.accuracy_score(label, said, sample_weight=w)}
        assert {name: v[i] for name, v in found.items()} == pytest.approx(expected, abs=1e-6)


def test_weighted_of_one_class():
    found = weighted(np.ones(3), np.array([0.9, 0.8, 0.7]), np.ones((1, 3)))
    assert np.isnan(found["auroc"]).all()
    assert np.isnan(found["kappa"]).all()
    assert found["accuracy"] == 1
    assert found["brier"] == pytest.approx((0.01 + 0.04 + 0.09) / 3)
    alarm = weighted(np.zeros(3), np.array([0.9, 0.2, 0.3]), np.ones((1, 3)))  # also where a method is wrong
    assert np.isnan(alarm["kappa"]).all()


def made_seeds(methods: int = 3, seeds: int = 2, seed: int = 0) -> list[Scored]:
    """Query points of some of ten blocks a seed, the last method the best."""
    rng, out = np.random.default_rng(seed), []
    for _ in range(seeds):
        block = np.sort(rng.choice(rng.permutation(10)[:6], 150)) * 7
        label = rng.integers(0, 2, 150)
        noise = rng.normal(0, np.linspace(0.9, 0.4, methods)[:, None], (methods, 150))
        out.append(Scored(block, label, np.clip(label + noise, 0, 1)))
    return out


def test_bootstrap_without_resamples_is_the_mean_of_the_measures():
    seeds = made_seeds()
    found = bootstrap(seeds, 0, np.random.default_rng(0))
    for name, values in found.items():
        expected = [np.mean([all_measures(s.label, s.scores[m])[name] for s in seeds]) for m in range(3)]
        np.testing.assert_allclose(values, [expected], rtol=1e-5, err_msg=name)


def test_folds_may_count_as_their_points():
    """A fold of few points decides as little as its points would in one large fold."""
    few, many = made_seeds(seeds=2)
    few = Scored(few.unit[:9], few.label[:9], few.scores[:, :9])
    found = bootstrap([few, many], 0, np.random.default_rng(0), by_points=True)
    for name, values in found.items():
        expected = [np.average([all_measures(s.label, s.scores[m])[name] for s in (few, many)], weights=[9, 150])
                    for m in range(3)]
        np.testing.assert_allclose(values, [expected], rtol=1e-5, err_msg=name)
    joined = Scored(*(np.concatenate([getattr(few, key), getattr(many, key)], axis=-1)
                      for key in ("unit", "label", "scores")))
    draws = [bootstrap(seeds, 40, np.random.default_rng(5), by_points=True)["brier"]
             for seeds in ([few, many], [joined])]
    np.testing.assert_allclose(*draws, rtol=1e-6)  # the mean over all points does not depend on folds


def test_bootstrap_draws_whole_blocks_the_same_for_every_method_and_seed():
    seeds = made_seeds()
    found = bootstrap(seeds, 15, np.random.default_rng(4))
    blocks = np.unique(np.concatenate([s.unit for s in seeds]))
    times = np.random.default_rng(4).multinomial(len(blocks), np.full(len(blocks), 1 / len(blocks)), size=15)
    for i, drawn in enumerate(times):
        repeated = [np.concatenate([np.tile(np.flatnonzero(s.unit == b), n)
                                    for b, n in zip(blocks, drawn, strict=True)]) for s in seeds]
        for m in range(3):
            each = [all_measures(s.label[rows], s.scores[m][rows]) for s, rows in zip(seeds, repeated, strict=True)]
            expected = {name: np.mean([e[name] for e in each]) for name in found}
            assert {name: v[i, m] for name, v in found.items()} == pytest.approx(expected, abs=1e-5)


def test_the_bootstrap_keeps_few_draws_of_many_points_in_memory(monkeypatch):
    """And draws the same ones: the memory bounds how many are looked at together, no more."""
    seeds, sizes, real = made_seeds(), [], measures.weighted
    monkeypatch.setattr(measures, "PAIRS", 0)
    expected = bootstrap(seeds, 50, np.random.default_rng(3))
    monkeypatch.setattr(measures, "weighted", lambda label, p, weight, *rest: sizes.append(weight.size) or real(
        label, p, weight, *rest))
    most = 7 * max(len(s.label) for s in seeds)
    monkeypatch.setattr(measures, "DRAWN", most)
    found = bootstrap(seeds, 50, np.random.default_rng(3))
    assert max(sizes) <= most
    assert sum(sizes) == 50 * sum(s.scores.size for s in seeds)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5)
    monkeypatch.setattr(measures, "DRAWN", 1)  # less than one draw: one at a time
    np.testing.assert_allclose(bootstrap(seeds, 5, np.random.default_rng(3))["auroc"], expected["auroc"][:5], rtol=1e-6)


@pytest.mark.parametrize("digits", [1, 9])
def test_pairs_of_units_give_what_points_give(monkeypatch, digits):
    """Units that are drawn often, once and never, scores with ties and without, and a seed of one class."""
    seeds = [Scored(s.unit, s.label, s.scores.round(digits)) for s in made_seeds()]
    seeds.append(Scored(np.full(3, 7), np.ones(3, int), np.array([[0.2, 0.7, 0.9]] * 3)))
    by_units = bootstrap(seeds, 100, np.random.default_rng(8))
    monkeypatch.setattr(measures, "PAIRS", 0)
    for name, values in bootstrap(seeds, 100, np.random.default_rng(8)).items():
        np.testing.assert_allclose(by_units[name], values, atol=1e-6, err_msg=name)


def test_bootstrap_of_identical_methods_differs_by_exactly_0():
    seeds = [Scored(s.unit, s.label, s.scores[[0, 2, 0]]) for s in made_seeds()]
    for values in bootstrap(seeds, 200, np.random.default_rng(0)).values():
        assert (values[:, 0] == values[:, 2]).all()
        assert (values[:, 0] != values[:, 1]).any()
        assert values.std(axis=0).min() > 0


def test_bootstrap_over_equal_seeds_is_that_of_one():
    one = made_seeds(seeds=1)
    drawn, twice = (bootstrap(seeds, 100, np.random.default_rng(3)) for seeds in (one, one * 2))
    for name in drawn:
        np.testing.assert_allclose(twice[name], drawn[name], rtol=1e-12)


def test_a_seed_without_a_drawn_unit_does_not_count_in_that_draw():
    label, score = np.array([0, 1]), np.array([[0.2, 0.9]])
    seeds = [Scored(np.zeros(2, int), label, score), Scored(np.ones(2, int), label, score - [[0.1, 0.3]])]
    found = bootstrap(seeds, 64, np.random.default_rng(0))
    times = np.random.default_rng(0).multinomial(2, [0.5, 0.5], size=64)
    brier = np.array([0.025, 0.085])  # (.2^2 + .1^2) / 2 and (.1^2 + .4^2) / 2
    expected = [brier[drawn > 0].mean() for drawn in times]
    np.testing.assert_allclose(found["brier"][:, 0], expected, atol=1e-7)
    assert {tuple(drawn > 0) for drawn in times} == {(True, True), (True, False), (False, True)}
    one_class = Scored(np.full(2, 2), np.ones(2, int), score)  # a fold without an AUROC
    with_it = bootstrap([*seeds, one_class], 0, np.random.default_rng(0))
    assert with_it["auroc"][0, 0] == 1
    assert np.isfinite(with_it["kappa"]).all()


def test_bootstrap_interval_is_wider_where_blocks_agree_within_themselves():
    rng = np.random.default_rng(5)
    block, label = np.repeat(np.arange(20), 50), rng.integers(0, 2, 1000)
    right = [rng.random(1000) < 0.8, np.repeat(rng.random(20) < 0.8, 50)]  # by the point, by the block
    widths = []
    for r in right:
        drawn = bootstrap([Scored(block, label, np.where(r, label, 1 - label)[None].astype(float))], 500,
                          np.random.default_rng(6))["accuracy"]
        widths.append(drawn.std())
    assert widths[0] == pytest.approx(np.sqrt(0.16 / 1000), rel=0.5)
    assert widths[1] == pytest.approx(np.sqrt(right[1].mean() * (1 - right[1].mean()) / 20), rel=0.2)


def test_where_nothing_slid_and_nothing_was_predicted_the_landslide_measures_are_0():
    found = all_measures(np.zeros(4, int), np.array([0.1, 0.2, 0.3, 0.4]))
    assert [found[name] for name in ("precision", "recall", "f1")] == [0, 0, 0]


def test_all_measures_are_those_of_scikit_learn():
    """Few points, with ties, of one class now and then, and probabilities of exactly 0, .5 and 1."""
    rng, m, nan = np.random.default_rng(5), sklearn_metrics, float("nan")
    for case in range(60):
        n = rng.integers(1, 12)
        label, p = rng.integers(0, 2, n), rng.choice([0, 0.2, 0.5, 1], n) if case % 3 else rng.random(n)
        said, both = (p >= 0.5).astype(int), len(np.unique(label)) == 2
        expected = {
            "accuracy": m.accuracy_score(label, said),
            "balanced_accuracy": m.balanced_accuracy_score(label, said) if both else nan,
            "precision": m.precision_score(label, said, zero_division=0),
            "recall": m.recall_score(label, said, zero_division=0), "f1": m.f1_score(label, said, zero_division=0),
            "kappa": m.cohen_kappa_score(label, said) if len({*label, *said}) == 2 else nan,
            "mcc": m.matthews_corrcoef(label, said) if both else nan,
            "auroc": m.roc_auc_score(label, p) if both else nan,
            "pr_auc": m.average_precision_score(label, p) if both else nan,
            "brier": m.brier_score_loss(label, p, pos_label=1),
            "log_loss": m.log_loss(label, np.clip(p, SURELY, 1 - SURELY), labels=[0, 1])}
        found = all_measures(label, p)
        assert set(found) == {*expected, "ece"}
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, abs=1e-9, nan_ok=True), (name, label, p)
