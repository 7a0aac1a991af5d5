from dataclasses import replace

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

from lsm.comparison import rivals
from lsm.comparison.splits import QUERY, SUPPORT, UNUSED
from lsm.learner import boosting

METHODS = {"svm": rivals.svm, "mlp": rivals.mlp, "random_forest": rivals.random_forest, "boosting": rivals.boosting(),
           "boosting xy": rivals.boosting("xy"), "boosting block": rivals.boosting("block"),
           "boosting block xy": rivals.boosting("block", "xy"), "of block": rivals.random_forest_of_block,
           "neighbours": rivals.nearest_neighbours, "block rate": rivals.block_rate, "slope": rivals.slope_alone}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Few trees and epochs: what is tested here does not hang on their number."""
    for module, name, value in ((rivals, "TREES", 8), (rivals, "EPOCHS", 4), (boosting, "TREES", 8)):
        monkeypatch.setattr(module, name, value)
    with threadpool_limits(1):  # as the comparison runs them
        yield


def scored(method, split, seed: int = 1) -> np.ndarray:
    return method(split, np.random.default_rng(seed))(split.rows(split.asked))


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
    original = rivals.SVC
    monkeypatch.setattr(rivals, "SVC", lambda **settings: made.append(settings) or original(**settings))
    split = made_split(form="published")
    scored(rivals.svm, split)
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
    decision, p = machine.decision_function(x[split.asked]), scored(rivals.svm, split)
    assert spearmanr(decision, p).statistic > 0.999


def test_mlp_has_the_published_settings(monkeypatch):
    made = []
    original = rivals.MLPClassifier
    monkeypatch.setattr(rivals, "MLPClassifier",
                        lambda *a, **settings: made.append((a, settings)) or original(*a, **settings))
    scored(rivals.mlp, made_split(form="published"))
    (layers,), settings = made[0]
    assert layers == (32, 32, 16)
    assert (settings["alpha"], settings["batch_size"]) == (0.01, 32)
    assert (original().solver, original().activation) == ("adam", "relu")


@pytest.mark.parametrize(("parts", "more"), [((), lambda s: []), (("xy",), lambda s: [s.xy]),
                                             (("block", "xy"), lambda s: [s.scale.transform(s.factors, s.block),
                                                                          s.xy])])
def test_boosting_has_the_inputs_of_its_name(parts, more):
    split = made_split()
    x = np.column_stack([split.factors, *more(split)])
    state = int(np.random.default_rng(1).integers(1 << 31))
    model = HistGradientBoostingClassifier(max_iter=8, random_state=state).fit(x[split.labelled],
                                                                              split.label[split.labelled])
    np.testing.assert_array_equal(scored(rivals.boosting(*parts), split), model.predict_proba(x[split.asked])[:, 1])


def test_random_forest_of_a_block_learns_from_the_block_alone():
    split = made_split()
    p = scored(rivals.random_forest_of_block, split)
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
    p = scored(rivals.block_rate, split)
    everywhere = split.label[split.labelled].mean()
    for b in (MIXED, NO_LANDSLIDE, ONLY_LANDSLIDES, THIN, BARE):
        own = split.label[(split.block == b) & split.labelled]
        np.testing.assert_allclose(p[query_of(split, b)], (own.sum() + everywhere) / (len(own) + 1))


def test_nearest_neighbours_use_places_alone():
    split = made_split()
    p = scored(rivals.nearest_neighbours, split)
    strange = replace(split, factors=np.zeros_like(split.factors))
    np.testing.assert_array_equal(scored(rivals.nearest_neighbours, strange), p)
    mirrored = np.where(split.asked & ~split.labelled, 1, 0)[:, None] * [5000, 0]
    assert (scored(rivals.nearest_neighbours, replace(split, xy=split.xy + mirrored)) != p).any()
    # an asked point that is labelled is its own nearest neighbour
    support = (split.role == SUPPORT)[split.asked]
    np.testing.assert_array_equal(p[support], split.label[split.role == SUPPORT])


def test_slope_alone_uses_slope_alone():
    split = made_split()
    strange = split.factors.copy()
    strange[:, 1:] = 0
    p = scored(rivals.slope_alone, split)
    np.testing.assert_array_equal(scored(rivals.slope_alone, replace(split, factors=strange)), p)
    slope = split.factors[:, :1]
    scaler = StandardScaler().fit(slope[split.labelled])
    model = LogisticRegression().fit(scaler.transform(slope[split.labelled]), split.label[split.labelled])
    np.testing.assert_allclose(p, model.predict_proba(scaler.transform(slope[split.asked]))[:, 1], rtol=1e-6)
    assert (np.diff(p[np.argsort(slope[split.asked, 0])]) >= 0).all()
