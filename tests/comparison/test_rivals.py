from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from small_split import BARE, MIXED, NO_LANDSLIDE, ONLY_LANDSLIDES, THIN, made_split
from threadpoolctl import threadpool_limits

from lsm.comparison.rivals import baselines, boosting, tuned
from lsm.comparison.splits import QUERY, SUPPORT, UNUSED
from lsm.learner.support.dates import NEWER

METHODS = {"svm": baselines.svm, "mlp": baselines.mlp, "random_forest": baselines.random_forest,
           "boosting": baselines.boosting(), "boosting xy": baselines.boosting("xy"),
           "boosting block": baselines.boosting("block"), "boosting block xy": baselines.boosting("block", "xy"),
           "of block": baselines.random_forest_of_block, "neighbours": baselines.nearest_neighbours,
           "block rate": baselines.block_rate, "slope": baselines.slope_alone, "logistic": tuned.logistic(),
           "logistic xy": tuned.logistic("xy"),
           "forest": lambda *given: tuned.tuned_forest("xy")(*given)[0],
           "tuned forest": lambda *given: tuned.tuned_forest("block", "xy")(*given)[1],
           "penalised": tuned.penalised(), "additive": tuned.penalised(splines=True),
           "tuned boosting": lambda *given: tuned.tuned_boosting("block", "xy", members=2)(*given)[0],
           "mean of boosting": lambda *given: tuned.tuned_boosting("xy", members=2)(*given)[1]}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Few trees and epochs: what is tested here does not depend on their number."""
    for module, name, value in ((baselines, "TREES", 8), (baselines, "EPOCHS", 4), (boosting, "TREES", 8),
                                (tuned, "TREES", 8), (tuned, "TRIED", 4), (tuned, "NUMBERS", (2, 8))):
        monkeypatch.setattr(module, name, value)
    with threadpool_limits(1):  # as the comparison runs them
        yield


def scored(method, split, seed: int = 1) -> np.ndarray:
    return method(split, np.random.default_rng(seed))(split.rows(split.asked))


def factors_of(split):
    """As `features_by` of the validation: the factors alone."""
    return partial(baselines.features_of, (), split)


def query_of(split, block: int) -> np.ndarray:
    """Of the asked points, those that are query of a block."""
    return ((split.block == block) & (split.role == QUERY))[split.asked]


# what holds for all ---------------------------------------------------------------------------------------------

@every_method
def test_probabilities_of_the_asked_points(method):
    split = made_split(form="published")
    p = scored(method, split)
    assert p.shape == (split.asked.sum(),)
    assert np.isfinite(p).all()
    assert p.min() >= 0
    assert p.max() <= 1
    assert len(np.unique(p)) > 3
    np.testing.assert_array_equal(scored(method, split), p)
    support = (split.role == SUPPORT)[split.asked]
    assert roc_auc_score(split.label[split.role == SUPPORT], p[support]) > 0.55  # in the points' order, then


@every_method
def test_labels_of_query_points_and_cells_are_not_read(method):
    split = made_split(form="published")
    label = np.where(split.labelled, split.label, np.random.default_rng(9).integers(-5, 99, len(split.label)))
    assert (label[~split.labelled] != split.label[~split.labelled]).any()
    np.testing.assert_array_equal(scored(method, replace(split, label=label)), scored(method, split))


@every_method
def test_a_point_s_score_does_not_hang_on_the_other_query_points(method):
    split = made_split(form="published")
    rng = np.random.default_rng(8)
    hidden = (split.role == QUERY) & (rng.random(len(split.role)) < 0.5)
    first = np.unique(np.where(split.role == QUERY, split.block, -1), return_index=True)[1]
    hidden[first] = False  # every block keeps one
    strange = np.where(hidden[:, None], rng.permutation(split.factors), split.factors)
    fewer = replace(split, role=np.where(hidden, UNUSED, split.role), factors=strange,
                    xy=np.where(hidden[:, None], 0, split.xy))
    np.testing.assert_allclose(scored(method, fewer), scored(method, split)[~hidden[split.asked]], atol=1e-6)


@every_method
def test_labelled_points_are_read(method):
    split = made_split(form="published")
    turned = np.where(split.labelled, 1 - split.label, split.label)
    assert np.abs(scored(method, replace(split, label=turned)) - scored(method, split)).max() > 0.05


# each -----------------------------------------------------------------------------------------------------------

def test_svm_has_the_published_settings(monkeypatch):
    made = []
    original = baselines.SVC
    monkeypatch.setattr(baselines, "SVC", lambda **settings: made.append(settings) or original(**settings))
    split = made_split(form="published")
    scored(baselines.svm, split)
    assert made[0]["C"] == 1
    assert made[0]["gamma"] == pytest.approx(1 / (2 * split.x[split.labelled].var()))
    assert "kernel" not in made[0]
    assert original().kernel == "rbf"


def test_svm_keeps_the_order_of_its_decision_values_where_one_half_of_the_area_contradicts_the_other():
    split = made_split(form="published")
    north = split.block >= split.block.max() / 2
    steep = split.factors[:, 0] > 22
    split = replace(split, label=np.where(split.label < 0, -1, (steep != north).astype(int)))
    x, known = split.x, split.labelled
    machine = SVC(C=1, gamma=1 / (2 * x[known].var())).fit(x[known], split.label[known])
    decision, p = machine.decision_function(x[split.asked]), scored(baselines.svm, split)
    assert spearmanr(decision, p).statistic > 0.999


def test_mlp_has_the_published_settings(monkeypatch):
    made = []
    original = baselines.MLPClassifier
    monkeypatch.setattr(baselines, "MLPClassifier",
                        lambda *a, **settings: made.append((a, settings)) or original(*a, **settings))
    scored(baselines.mlp, made_split(form="published"))
    (layers,), settings = made[0]
    assert layers == (32, 32, 16)
    assert (settings["alpha"], settings["batch_size"]) == (0.01, 32)
    assert (original().solver, original().activation) == ("adam", "relu")


def within_block(split):
    scaled = boosting.within_block(split.factors, split.block, split.labelled, split.block.max() + 1)
    return scaled(split.factors, split.block)


@pytest.mark.parametrize(("parts", "more"), [((), lambda s: []), (("xy",), lambda s: [s.xy]),
                                             (("block", "xy"), lambda s: [within_block(s), s.xy])])
def test_boosting_has_the_inputs_of_its_name(parts, more):
    split = made_split()
    x = np.column_stack([split.factors, *more(split)])
    state = int(np.random.default_rng(1).integers(1 << 31))
    model = HistGradientBoostingClassifier(max_iter=8, random_state=state).fit(x[split.labelled],
                                                                              split.label[split.labelled])
    np.testing.assert_array_equal(scored(baselines.boosting(*parts), split), model.predict_proba(x[split.asked])[:, 1])


def test_every_tree_is_grown_above_10_000_rows():
    """By itself scikit-learn holds 10 % back above 10,000 rows and stops where they no longer gain."""
    rng = np.random.default_rng(0)
    x, y = rng.random((12_000, 2)), rng.integers(0, 2, 12_000)  # nothing to learn: it would stop at once
    model = boosting.boosted(x, y, 1, trees=30)
    assert model.n_iter_ == 30
    assert not model.do_early_stopping_
    assert boosting.boosted(x, y, 1, rate=0.5, trees=3).learning_rate == 0.5


def test_logistic_regression_is_glm_on_raw_factors_and_classes():
    split = made_split()
    p, known = scored(tuned.logistic(), split), split.labelled
    classes = split.factors[:, [2]] == np.unique(split.factors[known][:, 2])[1:]  # R's contrasts: all but the first
    x = np.column_stack([np.delete(split.factors, 2, axis=1), classes]).astype(float)
    x = (x - x[known].mean(axis=0)) / x[known].std(axis=0)
    x = np.column_stack([np.ones(len(x)), x])
    beta, y = np.zeros(x.shape[1]), split.label[known]
    for _ in range(30):  # iteratively reweighted least squares, as glm
        mean = 1 / (1 + np.exp(-x[known] @ beta))
        beta += np.linalg.solve((x[known].T * (mean * (1 - mean))) @ x[known], x[known].T @ (y - mean))
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-x[split.asked] @ beta)), atol=2e-3)


def test_settings_are_chosen_on_places_apart_inside_the_labelled_points():
    split = made_split()
    folds = list(tuned.validation(split, partial(baselines.features_of, ("xy",), split), np.random.default_rng(1)))
    assert len(folds) == split.folds
    places, means = [], []
    for x, y, asked, truth in folds:
        assert len(x) + len(asked) == split.labelled.sum()
        assert (len(y), len(truth)) == (len(x), len(asked))
        assert not {tuple(p) for p in x[:, -2:]} & {tuple(p) for p in asked[:, -2:]}
        places.append(asked[:, -2:])
        means.append(asked[:, -2:].mean(axis=0))
    for k, own in enumerate(places):  # k-means: each place is nearest to the mean of its own fold
        assert (np.hypot(*(own[:, None] - means).transpose(2, 0, 1)).argmin(axis=1) == k).all()


def test_the_validation_cuts_as_the_query_was_cut():
    split = made_split()
    rows = np.flatnonzero(split.labelled)
    rng = np.random.default_rng(2)
    at_random = tuned.folds_like_the_query(replace(split, cut="random"), rng)
    assert set(at_random) == set(range(tuned.FOLDS))
    assert np.ptp(np.bincount(at_random)) <= 1
    halves = tuned.folds_like_the_query(replace(split, cut="line"), rng)
    for block in np.unique(split.block[rows]):
        own = split.block[rows] == block
        near, far = (split.xy[rows][own & (halves == k)] for k in (0, 1))
        assert 0 <= len(far) - len(near) <= 1
        if len(near) > 1:  # some direction tells the halves apart
            angles = np.linspace(0, np.pi, 720)
            along = np.column_stack([np.cos(angles), np.sin(angles)])
            low, high = near @ along.T, far @ along.T
            assert ((low.max(axis=0) <= high.min(axis=0)) | (high.max(axis=0) <= low.min(axis=0))).any()


def test_places_and_squares_are_validated_in_folds_as_many_and_as_large_as_the_query():
    """Validated in larger pieces, a rival would be tuned for places farther away than those that are scored."""
    split, rng = made_split(), np.random.default_rng(2)
    places = split.xy[split.labelled]
    side = np.ptp(places, axis=0).max() / 6
    fold = tuned.folds_like_the_query(replace(split, cut="squares", side=side, folds=4), rng)
    assert set(fold) == set(range(4))
    square = np.unique(np.floor(places / side), axis=0, return_inverse=True)[1].ravel()
    assert all(len(set(fold[square == s])) == 1 for s in range(square.max() + 1))
    assert len(set(square[fold == 0])) > 1
    parts = tuned.folds_like_the_query(replace(split, cut="places", folds=5), rng)
    assert set(parts) == set(range(5))
    one = replace(split, cut="squares", side=1e9, folds=4)
    assert not list(tuned.validation(one, lambda known: lambda s: s.xy, rng))  # nothing is left to learn from


def test_the_newest_landslides_validate_where_the_newest_are_asked():
    split = made_split()
    year = np.where(split.label == 1, np.random.default_rng(3).integers(2000, 2010, len(split.label)), np.nan)
    rows = np.flatnonzero(split.labelled)
    fold = tuned.folds_like_the_query(replace(split, cut="years", year=year), np.random.default_rng(2))
    landslide = split.label[rows] == 1
    first = year[rows][landslide & (fold == 0)].min()
    assert (year[rows][landslide & (fold == -1)] < first).all()
    assert (fold[landslide] == 0).mean() == pytest.approx(NEWER, abs=0.1)
    assert (fold[~landslide] == 0).mean() == pytest.approx((fold[landslide] == 0).mean(), abs=0.1)
    (x, y, asked, truth), = tuned.validation(replace(split, cut="years", year=year), lambda known: lambda s: s.xy,
                                             np.random.default_rng(2))
    assert (len(y), len(truth)) == ((fold == -1).sum(), (fold == 0).sum())
    assert len(x) + len(asked) == len(rows)


def test_the_penalty_and_the_splines_do_what_they_say():
    split = made_split()
    bent = replace(split, label=(np.abs(split.x[:, 0]) > 0.7).astype(np.int32))  # no line in x tells these apart
    truth = bent.label[bent.asked]
    assert roc_auc_score(truth, scored(tuned.penalised(), bent)) < 0.7
    assert roc_auc_score(truth, scored(tuned.penalised(splines=True), bent)) > 0.9


def test_the_better_setting_is_taken():
    split = made_split()
    truth = {tuple(f): y for f, y in zip(split.factors, split.label, strict=True)}

    def tried(x, y, asked):
        label = np.array([truth[tuple(f)] for f in asked.astype(np.float32)])
        return {"blind": np.full(len(asked), 0.5), "good": 0.2 + 0.6 * label, "wrong": 0.8 - 0.6 * label}.get

    by, rng = factors_of(split), np.random.default_rng(0)
    assert tuned.best([["blind", "good", "wrong"]], split, by, tried, rng) == "good"
    assert tuned.best([["blind", "wrong"], ["wrong", "blind"], ["good"]], split, by, tried, rng) == "good"
    one_class = replace(split, label=np.where(split.label == 0, 1, split.label))
    paths = ["a", "b", "c"], ["d", "e", "f"], ["g", "h", "i"]
    assert tuned.best(paths, one_class, factors_of(one_class), tried, np.random.default_rng(0)) == "e"


def test_a_path_is_searched_until_the_loss_rises():
    split, asked_for = made_split(), []

    def tried(x, y, asked):
        def predict(setting):
            asked_for.append(setting)
            return np.full(len(asked), abs(setting - split.label[split.labelled].mean()))  # worse the farther from 0
        return predict

    assert tuned.best([[0, 0.2, 0.3], [0.1, 0.4]], split, factors_of(split), tried, np.random.default_rng(0)) == 0
    assert 0.3 not in asked_for
    assert {0, 0.1, 0.2, 0.4} == set(asked_for)  # the first that rises ends a path; the others are searched


def test_trees_that_are_added_are_the_trees_of_one_fit():
    rng = np.random.default_rng(0)
    x, more = rng.normal(size=(300, 4)), {"rate": 0.03, "max_features": 0.5, "l2_regularization": 1.0}
    y = (x[:, 0] + rng.normal(size=300) > 0).astype(int)
    grown = boosting.unfitted(1, warm_start=True, **more)
    for number in (5, 20, 60):
        grown = boosting.fit_on_one_thread(grown.set_params(max_iter=number), x, y)
        at_once = boosting.boosted(x, y, 1, trees=number, **more)
        np.testing.assert_array_equal(grown.predict_proba(x), at_once.predict_proba(x))


def test_tuned_trees_take_the_setting_the_validation_names(monkeypatch):
    split, made = made_split(), []
    monkeypatch.setattr(tuned, "best", lambda paths, *rest: paths[1][0])
    original = tuned.RandomForestClassifier
    monkeypatch.setattr(tuned, "RandomForestClassifier", lambda *a, **s: made.append((a, s)) or original(*a, **s))
    scored(lambda *given: tuned.tuned_forest()(*given)[1], split)
    assert made[-1][0] == (8,)
    assert made[-1][1]["min_samples_leaf"] == tuned.LEAVES[1]
    boosted = []
    monkeypatch.setattr(tuned, "best", lambda paths, *rest: paths[-1][-2])
    original_boosted = boosting.boosted
    monkeypatch.setattr(tuned.trees, "boosted", lambda *a, **s: boosted.append(s) or original_boosted(*a, **s))
    scored(lambda *given: tuned.tuned_boosting()(*given)[0], split)
    assert (boosted[-1]["rate"], boosted[-1]["trees"]) == (tuned.RATES[-1], tuned.NUMBERS[-2])


def test_random_forest_of_a_block_learns_from_the_block_alone():
    split = made_split()
    p = scored(baselines.random_forest_of_block, split)
    own = (split.block == MIXED) & split.labelled
    state = int(np.random.default_rng(1).integers(1 << 31))  # of the first block asked for
    model = RandomForestClassifier(8, random_state=state).fit(split.factors[own], split.label[own])
    query = (split.block == MIXED) & (split.role == QUERY)
    np.testing.assert_array_equal(p[query_of(split, MIXED)], model.predict_proba(split.factors[query])[:, 1])
    assert (p[query_of(split, NO_LANDSLIDE)] == 0).all()
    assert (p[query_of(split, ONLY_LANDSLIDES)] == 1).all()
    assert (p[query_of(split, THIN)] == 1).all()
    assert (p[query_of(split, BARE)] == split.label[split.labelled].mean()).all()


def test_block_rate_equals_hand_computed():
    split = made_split()
    p = scored(baselines.block_rate, split)
    everywhere = split.label[split.labelled].mean()
    for b in (MIXED, NO_LANDSLIDE, ONLY_LANDSLIDES, THIN, BARE):
        own = split.label[(split.block == b) & split.labelled]
        np.testing.assert_allclose(p[query_of(split, b)], (own.sum() + everywhere) / (len(own) + 1))


def test_nearest_neighbours_use_places_alone():
    split = made_split()
    p = scored(baselines.nearest_neighbours, split)
    strange = replace(split, factors=np.zeros_like(split.factors))
    np.testing.assert_array_equal(scored(baselines.nearest_neighbours, strange), p)
    mirrored = np.where(split.asked & ~split.labelled, 1, 0)[:, None] * [5000, 0]
    assert (scored(baselines.nearest_neighbours, replace(split, xy=split.xy + mirrored)) != p).any()
    # an asked point that is labelled is its own nearest neighbour
    support = (split.role == SUPPORT)[split.asked]
    np.testing.assert_array_equal(p[support], split.label[split.role == SUPPORT])


def test_slope_alone_uses_slope_alone():
    split = made_split()
    strange = split.factors.copy()
    strange[:, 1:] = 0
    p = scored(baselines.slope_alone, split)
    np.testing.assert_array_equal(scored(baselines.slope_alone, replace(split, factors=strange)), p)
    slope = split.factors[:, :1]
    scaler = StandardScaler().fit(slope[split.labelled])
    model = LogisticRegression().fit(scaler.transform(slope[split.labelled]), split.label[split.labelled])
    np.testing.assert_allclose(p, model.predict_proba(scaler.transform(slope[split.asked]))[:, 1], rtol=1e-6)
    assert (np.diff(p[np.argsort(slope[split.asked, 0])]) >= 0).all()


def test_factors_within_a_block_are_those_less_the_mean_of_its_known_samples_by_their_deviation():
    factors, block = np.array([[1.0, 5], [3, 5], [7, 5], [90, 5]]), np.array([0, 0, 2, 0])
    known = np.array([True, True, True, False])
    relative = boosting.within_block(factors, block, known, 3)
    np.testing.assert_allclose(relative(factors, block), [[-1, 0], [1, 0], [0, 0], [88, 0]])
    mean, sd = np.mean([1, 3, 7]), np.std([1, 3, 7])  # of all known samples, for a block without any
    np.testing.assert_allclose(relative(np.array([[9.0, 6]]), np.array([1])), [[(9 - mean) / sd, 1]])
