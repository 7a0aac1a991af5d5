from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from lsm.comparison import measures
from lsm.comparison.splits import QUERY, SUPPORT, TRAIN, UNUSED
from lsm.comparison.tables import pages, score_tables
from lsm.comparison.tables.score_tables import OURS, QUARTERS

BLOCKS, EACH, CELLS = 6, 40, 30


def made_points(seed: int = 0) -> SimpleNamespace:
    """Samples of six blocks, then cells."""
    rng, n = np.random.default_rng(seed), BLOCKS * EACH
    label = rng.integers(0, 2, n)
    origin = np.where(label == 0, "absence", np.where(rng.random(n) < 0.3, "insar", "inventory"))
    block = np.repeat(np.arange(BLOCKS), EACH)
    return SimpleNamespace(
        sample=np.append(1000 + np.arange(n), np.full(CELLS, -1)), xy=rng.uniform(0, 1000, (n + CELLS, 2)),
        label=np.append(label, np.full(CELLS, -1)), origin=np.append(origin, np.full(CELLS, "cell")),
        block=np.append(block, np.repeat(np.arange(BLOCKS), CELLS // BLOCKS)), telling=np.zeros(n + CELLS, bool))


def made_role(points, seed: int, support: bool = True) -> np.ndarray:
    """The last two blocks held out, half of each its support where one is asked for; one block in no set."""
    role = np.full(len(points.label), TRAIN, np.int8)
    held_out = points.block >= 4
    halves = np.random.default_rng(seed).random(len(role)) < 0.5 * support
    role[held_out] = np.where(halves[held_out], SUPPORT, QUERY)
    role[points.block == 0] = UNUSED
    role[points.label < 0] = np.where(held_out[points.label < 0], QUERY, UNUSED)
    return role


def made_results(points, roles: dict, methods: tuple = (OURS, "a rival", "a twin")) -> dict:
    """Scores of the asked points: ours leans on the labels, the rival less so, the twin is the rival's."""
    out = {}
    for (protocol, seed), role in roles.items():
        asked = (role == QUERY) | (role == SUPPORT)
        rng = np.random.default_rng([seed, len(protocol)])
        lean = {OURS: 0.5, "a rival": 0.25}
        scores = {name: np.clip(rng.random(asked.sum()) * 0.6 + by * np.maximum(points.label[asked], 0), 0, 1)
                  for name, by in lean.items()}
        scores["a twin"] = scores["a rival"]
        out[protocol, seed, True] = {name: scores[name] for name in methods}
    return out


@pytest.fixture(scope="module")
def measured():
    points = made_points()
    roles = {("published", s): made_role(points, s) for s in (1, 2)}
    roles |= {("blocked 5 km", s): made_role(points, s, support=False) for s in (1, 2)}
    results = made_results(points, roles)
    return points, roles, results, score_tables.measure(results, points, roles)


# collecting -----------------------------------------------------------------------------------------------------

def put_job(folder: Path, protocol: str, seed: int, family: str, **scores) -> SimpleNamespace:
    path = folder / f"{protocol}-{seed}-{family}.npz"
    np.savez(path, made_of=np.array("x"), **{name: np.array(s, np.float32) for name, s in scores.items()})
    return SimpleNamespace(protocol=protocol, seed=seed, with_dv=True, family=family, path=path)


def test_collect_puts_k_shot_apart(tmp_path):
    jobs = [put_job(tmp_path, "published", 1, "ours", **{OURS: [0.75, 0.5], "not adapted": [0.5, 0.5]}),
            put_job(tmp_path, "published", 1, "boosting_xy", **{"boosting + XY": [0.25, 0.9]}),
            put_job(tmp_path, "published", 1, "k-shot", **{"0|5": [0.125], "3/12|20": [1]}),
            put_job(tmp_path, "spatial", 1, "boosting_xy", **{"boosting + XY": [0.25, 1]})]
    found = score_tables.collect(jobs)
    assert set(found) == {("published", 1, True), ("k-shot", 1, True), ("spatial", 1, True)}
    assert list(found["published", 1, True]) == [OURS, "not adapted", "boosting + XY"]
    np.testing.assert_array_equal(found["published", 1, True][OURS], [0.75, 0.5])  # alone, mixed with nothing
    np.testing.assert_allclose(found["published", 1, True]["boosting + XY"], [0.25, 0.9], rtol=1e-6)
    assert list(found["k-shot", 1, True]) == ["0|5", "3/12|20"]
    assert list(found["spatial", 1, True]) == ["boosting + XY"]


# measures -------------------------------------------------------------------------------------------------------

def test_distance_quarters_equal_hand_computed():
    xy = np.array([[0, 0], [0, 1], [0, 3], [0, 9], [0, 27], [100, 0], [100, 2]])
    labelled = np.array([True, False, False, False, False, True, False])
    found = score_tables.distance_quarters(xy, labelled, np.array([4, 1, 3, 2]))  # 27, 1, 9 and 3 m away
    np.testing.assert_array_equal(found, [3, 0, 2, 1])
    assert score_tables.distance_quarters(xy, labelled, np.array([6, 1, 2, 4]))[0] == 1  # 2 m from the other labelled


def test_scores_are_those_of_query_samples_alone(measured):
    points, roles, results, tables = measured
    for name, table in tables.items():
        assert tuple(table) == score_tables.COLUMNS[name]
    table = tables["scores"]
    for (protocol, seed), role in roles.items():
        at = np.flatnonzero((role == QUERY) & (points.label >= 0))
        for method, values in results[protocol, seed, True].items():
            part = table[(table.protocol == protocol) & (table.seed == seed) & (table.method == method)]
            np.testing.assert_array_equal(part.point, points.sample[at])
            np.testing.assert_array_equal(part.label, points.label[at])
            np.testing.assert_array_equal(part.block, points.block[at])
            np.testing.assert_array_equal(part.origin, points.origin[at])
            everywhere = np.full(len(role), np.nan)
            everywhere[(role == QUERY) | (role == SUPPORT)] = values
            np.testing.assert_allclose(part.score, everywhere[at], rtol=1e-6)
    assert set(table.label) == {0, 1}


@pytest.mark.parametrize(("subset", "landslides"), [("all", ("inventory", "insar")), ("inventory", ("inventory",)),
                                                    ("insar", ("insar",))])
def test_measures_of_subsets(measured, subset, landslides):
    *_, tables = measured
    scores, seeds = tables["scores"], tables["seeds"]
    for (protocol, seed, method), part in scores.groupby(["protocol", "seed", "method"]):
        kept = part[part.origin.isin((*landslides, "absence"))]
        found = seeds[(seeds.protocol == protocol) & (seeds.seed == seed) & (seeds.method == method)
                      & (seeds.subset == subset) & (seeds.measure != "top_tenth")]
        expected = measures.all_measures(kept.label.to_numpy(), kept.score.to_numpy())
        assert dict(zip(found.measure, found.value, strict=True)) == pytest.approx(expected, abs=1e-5)
        assert set(found.n) == {len(kept)}


def test_quarters_share_the_query_points_by_distance(measured):
    points, roles, results, tables = measured
    seeds = tables["seeds"]
    one = seeds[(seeds.protocol == "published") & (seeds.seed == 1) & (seeds.method == OURS)
                & (seeds.measure == "auroc")].set_index("subset")
    assert one.n[list(QUARTERS)].sum() == one.n["all"]
    assert one.n[list(QUARTERS)].max() - one.n[list(QUARTERS)].min() <= 1
    role = roles["published", 1]
    known, at = (role == TRAIN) | (role == SUPPORT), np.flatnonzero((role == QUERY) & (points.label >= 0))
    distance = np.array([np.hypot(*(points.xy[known] - p).T).min() for p in points.xy[at]])
    near = np.argsort(distance)[:one.n["nearest quarter"]]
    values = results["published", 1, True][OURS][np.isin(np.flatnonzero((role == QUERY) | (role == SUPPORT)), at)]
    assert one.value["nearest quarter"] == pytest.approx(roc_auc_score(points.label[at[near]], values[near]))


def test_blocks_of_few_shot_protocols(measured):
    *_, tables = measured
    blocks, scores = tables["blocks"], tables["scores"]
    assert set(blocks.protocol) == {"published"}
    assert set(blocks.block) == {4, 5}
    row = blocks[(blocks.seed == 2) & (blocks.method == "a rival") & (blocks.block == 5)].iloc[0]
    part = scores[(scores.protocol == "published") & (scores.seed == 2) & (scores.method == "a rival")
                  & (scores.block == 5)]
    assert (row.n, row.landslides) == (len(part), part.label.sum())
    assert row.kappa == pytest.approx(cohen_kappa_score(part.label, part.score >= 0.5), abs=1e-6)
    assert row.auroc == pytest.approx(roc_auc_score(part.label, part.score))


def test_rates_over_the_cells(measured):
    points, roles, results, tables = measured
    rates = tables["rates"]
    kinds = rates.groupby("protocol").kind.unique().map(set)
    assert kinds["published"] == {"success", "prediction"}
    assert kinds["blocked 5 km"] == {"prediction"}  # no support to succeed on
    role = roles["published", 1]
    asked = np.flatnonzero((role == QUERY) | (role == SUPPORT))
    values, label = results["published", 1, True][OURS], points.label[asked]
    for kind, chosen in (("success", role[asked] == SUPPORT), ("prediction", role[asked] == QUERY)):
        part = rates[(rates.protocol == "published") & (rates.seed == 1) & (rates.method == OURS)
                     & (rates.kind == kind)]
        expected = measures.rate_curve(values[chosen & (label == 1)], values[label < 0], part.area.to_numpy())
        np.testing.assert_allclose(part.landslides, expected)
    top = tables["seeds"].query("measure == 'top_tenth' and protocol == 'published' and seed == 1 and method == @OURS")
    assert top.value.to_list() == pytest.approx(part.landslides[np.isclose(part.area, 0.1)].to_list())


def test_points_that_tell_their_class_are_left_out_once_more():
    points = made_points()
    points.telling = (points.label == 0) & (np.arange(len(points.label)) % 3 == 0)
    roles = {("published", 1): made_role(points, 1)}
    tables = score_tables.measure(made_results(points, roles), points, roles)
    scores = tables["scores"][tables["scores"].method == OURS]
    kept = scores[~points.telling[scores.point - 1000]]
    found = tables["seeds"].query("subset == @pages.PLAIN and method == @OURS and measure == 'auroc'")
    assert 0 < len(kept) < len(scores)
    assert found.value.to_list() == pytest.approx([roc_auc_score(kept.label, kept.score)], abs=1e-6)


def test_k_shot_has_its_own_rows():
    points = made_points()
    roles = {("published", 1): made_role(points, 1)}
    query = roles["published", 1] == QUERY
    values = np.random.default_rng(0).random(query.sum())
    tables = score_tables.measure({("k-shot", 1, True): {"3|20": values, "2/12|0": values}}, points, roles)
    assert len(tables["scores"]) == 0
    assert len(tables["rates"]) == 0
    found = tables["seeds"].query("subset == 'all' and measure == 'auroc'")
    assert found[["k", "steps", "method"]].to_numpy().tolist() == [["3", 20, OURS], ["2/12", 0, OURS]]
    sample = points.label[query] >= 0
    assert found.value.to_list() == pytest.approx([roc_auc_score(points.label[query][sample], values[sample])] * 2)
    assert set(tables["seeds"].subset) == {"all", "inventory", "insar"}


@pytest.mark.parametrize("only", [0, 1])
def test_held_out_points_of_one_class_have_no_rows(only):
    points = made_points()
    points.label[(points.block >= 4) & (points.label >= 0)] = only
    roles = {("published", 1): made_role(points, 1)}
    tables = score_tables.measure(made_results(points, roles), points, roles)
    assert set(tables["seeds"]["measure"]) <= {"top_tenth"}
    assert len(tables["scores"]) > 0
    assert tables["blocks"].auroc.isna().all()


def test_the_bootstrap_draws_the_units_of_a_protocol_else_blocks():
    points = made_points()
    roles = {(protocol, 1): made_role(points, 1, support=False) for protocol in ("published", "blocked 5 km")}
    squares = 100 + np.arange(len(points.label)) % 7
    scores = score_tables.measure(made_results(points, roles), points, roles, {"blocked 5 km": squares})["scores"]
    for protocol, unit in (("published", points.block), ("blocked 5 km", squares)):
        found = scores[scores.protocol == protocol]
        np.testing.assert_array_equal(found.unit, unit[found.point - 1000])
    _, own = score_tables.resampled(scores, 20, np.random.default_rng(0))
    assert own.groupby("protocol").units.unique().str[0].to_dict() == {"published": 2, "blocked 5 km": 7}


def test_the_interval_of_values_of_which_none_is_a_number():
    np.testing.assert_array_equal(score_tables.interval(np.full(9, np.nan)), [np.nan, np.nan])
    np.testing.assert_allclose(score_tables.interval(np.append(np.arange(101.0), np.nan)), [2.5, 97.5])


# over seeds -----------------------------------------------------------------------------------------------------

def test_over_seeds_equals_hand_computed():
    row = {"protocol": "published", "subset": "all", "with_dv": True, "k": "", "steps": "", "method": "a"}
    table = pd.DataFrame([row | {"seed": s, "measure": m, "value": v, "n": n} for s, m, v, n in (
        (1, "kappa", 0.5, 10), (2, "kappa", 0.7, 12), (1, "auroc", 0.9, 10), (2, "auroc", np.nan, 12))])
    found = score_tables.over_seeds(table).set_index("measure")
    assert list(score_tables.over_seeds(table)) == [*row, "measure", "mean", "sd", "n", "seeds"]
    assert found.loc["kappa", ["mean", "sd", "n", "seeds"]].to_list() == pytest.approx([0.6, np.sqrt(0.02), 22, 2])
    assert found.loc["auroc", "mean"] == 0.9


def test_differences_from_ours(measured):
    *_, tables = measured
    found, own = score_tables.resampled(tables["scores"], 200, np.random.default_rng(0))
    assert tuple(own) == score_tables.COLUMNS["intervals"]
    assert set(own.method) == {OURS, "a rival", "a twin"}
    assert (own.low <= own.value).all()
    assert (own.value <= own.high).all()
    assert list(found) == ["protocol", "with_dv", "rival", "measure", "difference", "low", "high"]
    assert set(found.rival) == {"a rival", "a twin"}
    mean = score_tables.over_seeds(tables["seeds"]).query("subset == 'all'")
    mean = mean.set_index(["protocol", "measure", "method"])
    for row in found.itertuples():
        expected = (mean["mean"][row.protocol, row.measure, OURS] - mean["mean"][row.protocol, row.measure, row.rival])
        assert row.difference == pytest.approx(expected, abs=1e-5)
        assert row.low <= row.high
    wide = found.pivot(index=["protocol", "measure"], columns="rival", values=["difference", "low", "high"])
    for column in ("difference", "low", "high"):
        np.testing.assert_array_equal(wide[column]["a rival"], wide[column]["a twin"])


def test_a_twin_of_ours_differs_by_exactly_0(measured):
    *_, tables = measured
    scores = tables["scores"]
    twin = scores[scores.method == OURS].assign(method="a copy")
    found, _ = score_tables.resampled(pd.concat([scores, twin]), 100, np.random.default_rng(0))
    copy = found[found.rival == "a copy"]
    assert len(copy) == 8
    assert (copy[["difference", "low", "high"]] == 0).all(axis=None)
    assert (found[found.rival == "a rival"].difference != 0).all()


def test_no_differences_without_ours(measured):
    *_, tables = measured
    rivals = tables["scores"].query("method != @OURS")
    gains, own = score_tables.resampled(rivals, 10, np.random.default_rng(0))
    assert len(gains) == 0
    assert set(own.method) == {"a rival", "a twin"}


# a run of k-shot alone, or of blocked alone, has tables without rows ---------------------------------------------

@pytest.mark.parametrize("kept", ["published", "blocked 5 km", "k-shot"])
def test_tables_of_one_protocol(tmp_path, monkeypatch, kept):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    points = made_points()
    role = made_role(points, 1, support=kept != "blocked 5 km")
    roles = {("published" if kept == "k-shot" else kept, 1): role}
    asked = role == QUERY if kept == "k-shot" else (role == QUERY) | (role == SUPPORT)
    values = np.random.default_rng(0).random(asked.sum())
    names = dict(zip((OURS, "ours, not adapted", "SVM"), (values, values**2, values), strict=True))
    names = {"3|20": values} if kept == "k-shot" else names
    (protocol,) = [p for p, _ in roles]
    job = put_job(tmp_path, protocol, 1, "k-shot" if kept == "k-shot" else "ours", **names)
    paths = comparison_paths(tmp_path)
    c = SimpleNamespace(SEED=1, REGION="demo")
    written = score_tables.write_tables(paths, [job], points, roles, {}, 20, 1, ("compare_methods.py", c, []))
    assert all(p.is_file() for p in written)
    assert set(vars(paths).values()) - {"demo"} == set(written)
    table = pd.read_csv(paths.method_metrics, dtype={"k": str})
    assert set(table.protocol) == {kept}
    for path in set(written) - {paths.results}:
        assert len(path.read_text().splitlines()[0].split(",")) > 4, f"{path.name} without a header"
    said = pages.measures_in_words(paths)
    how_often = "1 fold" if kept == "blocked 5 km" else "1 repeat"
    assert said.startswith(f"{kept}: mean (sd) of {how_often}\n") if kept != "k-shot" else said == ""
    assert ("\ntop_tenth: share of the scored landslides in the tenth of the area" in said) == (kept != "k-shot")
    assert "nan" not in said


def comparison_paths(root: Path) -> SimpleNamespace:
    return SimpleNamespace(region="demo", **{name: root / f"{name}.csv" for name in (
        "scores", "method_metrics", "block_metrics", "rates", "method_differences", "intervals", "results")})


def test_how_ours_stands_among_the_methods():
    rows = [("squares", True, "SVM", "auroc", .01, .03), ("squares", True, "RF", "auroc", -.03, -.01),
            ("squares", True, "MLP", "auroc", -.01, .02), ("squares", True, "SVM", "brier", -.03, -.01),
            ("squares", True, "RF", "brier", -.02, 0.), ("squares", True, "MLP", "brier", .001, .002),
            ("squares", True, "ours, not adapted", "auroc", .1, .2), ("squares", True, "SVM", "kappa", -.2, -.1),
            ("squares", False, "SVM", "auroc", -.2, -.1), ("line", True, "SVM", "auroc", np.nan, np.nan)]
    gains = pd.DataFrame(rows, columns=["protocol", "with_dv", "rival", "measure", "low", "high"])
    assert pages.standings(gains) == {
        "squares": "ours against 3 other methods, by 95 % intervals of the differences. AUROC: ahead of 1, "
                   "level with 1, behind 1 (RF). Brier score: ahead of 1, level with 1, behind 1 (MLP)"}
    many = pd.DataFrame([("line", True, f"method {i}", m, -.2, -.1) for i in range(6) for m in ("auroc", "brier")],
                        columns=gains.columns)
    assert pages.standings(many) == {
        "line": "ours against 6 other methods, by 95 % intervals of the differences. AUROC: behind 6 (method 0; "
                "method 1; method 2; method 3; ...). Brier score: ahead of 6"}
