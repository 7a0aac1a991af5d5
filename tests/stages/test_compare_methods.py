import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import contents, run_stage, succeed
from osgeo import gdal
from small_split import MIXED, NO_LANDSLIDE, ONLY_LANDSLIDES, THIN, made_split, parted_by_a_line

import compare_methods as stage
import study_area
from lsm.comparison import fits, grid_maps, methods, splits
from lsm.comparison.fit_jobs import Job
from lsm.comparison.ours import networks
from lsm.comparison.points import read_points
from lsm.comparison.protocols import all_splits
from lsm.comparison.rivals import baselines, boosting, dbn
from lsm.comparison.splits import QUERY, ROLES, SUPPORT, TRAIN, UNUSED
from lsm.inputs.rasters import cell_of, read_composite
from lsm.learner.meta_training import tasks_of
from lsm.learner.network import use_one_thread
from lsm.run import jobs
from lsm.run.artifacts import artifact
from lsm.run.paths import PROJECT, Paths
from lsm.run.settings import InputError, constants, of_stage, run
from unsupervised_pretraining.rbm import RBM

use_one_thread()  # before any test runs an operator
TINY = {"RBM_EPOCHS": 1, "DAE_EPOCHS": 1, "LOCAL_ITERATIONS": 20, "REGIONAL_ITERATIONS": 20, "LOG_EVERY": 20,
        "INNER_STEPS": 1, "FIRST_ORDER": True, "META_BATCH": 4, "ADAPT_STEPS": 3, "LOCAL_MEMBERS": 2,
        "LOCAL_BORROW": 10, "REGIONAL_BORROW": 20, "START_FROM": ""}
SHORT = ("SEEDS=2", "SQUARES=(1000,)", "FOLDS=3", "AREA_CELLS=2000", "RESAMPLES=50", "METHODS=knn,block_rate,slope",
         "PROTOCOLS=published,spatial,blocked", "WORKERS=1", "MAPPED=('slope alone', 'nearest neighbours in XY')")
OUTPUTS = ("splits", "scores", "method_metrics", "block_metrics", "method_differences", "intervals", "rates")


@pytest.fixture
def tiny(monkeypatch):
    """Few steps, trees and epochs, of the other stages' constants too."""
    def short(script, **values):
        c = of_stage(script, **values)
        return replace(c, **{name: v for name, v in TINY.items() if hasattr(c, name)})

    monkeypatch.setattr(stage, "of_stage", short)
    for module, name, value in ((baselines, "TREES", 8), (baselines, "EPOCHS", 4), (boosting, "TREES", 8)):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(dbn, "STEPS_A_CALL", 50)


@pytest.fixture
def here(monkeypatch):
    """Jobs run in a thread of this process instead of in processes of their own."""
    monkeypatch.setattr(jobs, "ProcessPoolExecutor", lambda workers, context, start, arguments: ThreadPoolExecutor(
        1, initializer=start, initargs=arguments))
    monkeypatch.setattr(jobs, "_start_below", lambda start, arguments: start(*arguments))


def settings(*arguments: str) -> SimpleNamespace:
    return constants(stage.Constants, ["REGION=demo", "DBN_RBM_EPOCHS=1", "DBN_EPOCHS=4", "DBN_BATCH=20", *arguments])


def run_here(monkeypatch, root, *arguments: str) -> Paths:
    monkeypatch.setenv("LSM_ROOT", str(root))
    monkeypatch.setattr(sys, "argv", ["compare_methods.py", *arguments])
    run(stage.main, stage.Constants)
    return Paths("demo")


# methods --------------------------------------------------------------------------------------------------------

def stages(c) -> networks.Stages:
    return networks.Stages(partial(stage.constants_of_stages, c), stage.pretrained, RBM)


def of_family(family: str, split, seed: int = 1) -> dict[str, np.ndarray]:
    c = settings("SHOTS=(0,3)", "TWELFTHS=(2,6)", "STEPS=(0,3)")
    if family == "k-shot":
        return networks.k_shot(split, c, stages(c), seed)
    names, fit = methods.FAMILIES[family].names, methods.FAMILIES[family].fit
    return {name: predict(split.rows(split.asked)) for name, predict in
            zip(names, fit(split, c, stages(c), seed), strict=True) if predict}


NETWORKS = ("ours", "published_recipe", "block_alone", "fine_tuned", "dbn")  # test_rivals.py has the others


@pytest.mark.parametrize("family", [*NETWORKS, "k-shot"])
def test_scores_of_the_asked_points_by_what_a_method_may_know(tiny, family):
    split = made_split()
    found = of_family(family, split)
    points = split.role == QUERY if family == "k-shot" else split.asked
    for name, p in found.items():
        assert p.shape == (points.sum(),), name
        assert np.isfinite(p).all(), name
        assert p.min() >= 0, name
        assert p.max() <= 1, name

    rng = np.random.default_rng(9)  # labels of query points and cells are not read
    cell = split.label < 0
    label = np.where(split.labelled | cell, split.label, rng.integers(0, 2, len(cell)))
    if family != "k-shot":  # there, a label tells samples from cells, which make no part of a block's size
        label = np.where(split.labelled, split.label, rng.integers(-5, 99, len(cell)))
    assert (label != split.label).any()
    again = of_family(family, replace(split, label=label))
    assert list(again) == list(found)
    for name, p in found.items():
        np.testing.assert_array_equal(again[name], p, err_msg=str(name))


@pytest.mark.parametrize("family", ["ours", "block_alone", "dbn"])
def test_a_score_does_not_depend_on_the_other_query_points(tiny, monkeypatch, family):
    for name in ("LOCAL_BORROW", "REGIONAL_BORROW", "REACH"):  # what a block borrows, and how far off that is, depends
        monkeypatch.setitem(TINY, name, 0)                     # on the places that are asked
    split = made_split()
    rng = np.random.default_rng(8)
    hidden = (split.role == QUERY) & (rng.random(len(split.role)) < 0.5)
    hidden[np.unique(np.where(split.role == QUERY, split.block, -1), return_index=True)[1]] = False  # one a block stays
    fewer = replace(split, role=np.where(hidden, UNUSED, split.role),
                    factors=np.where(hidden[:, None], rng.permutation(split.factors), split.factors))
    fewer_scores = of_family(family, fewer)
    for name, p in of_family(family, split).items():
        np.testing.assert_allclose(fewer_scores[name], p[~hidden[split.asked]], atol=1e-5, err_msg=name)


def test_newer_landslides_and_their_years_teach_ours_nothing(tiny):
    split, rng = made_split(), np.random.default_rng(7)
    n, slid = len(split.label), split.label == 1
    year = np.where(slid, rng.choice([2001, 2008, 2010], n), np.nan)
    asked = (year == 2010) | (split.label < 0) | ((split.label == 0) & (rng.random(n) < 0.3))
    split = replace(split, role=np.where(asked, QUERY, TRAIN).astype(np.int8), year=year, cut="years")
    found = of_family("ours", split)
    other = replace(split, label=np.where(asked, rng.integers(-5, 99, n), split.label),
                    year=np.where(asked, rng.integers(1900, 2100, n), year))
    for name, p in of_family("ours", other).items():
        np.testing.assert_array_equal(p, found[name], err_msg=name)


@pytest.fixture
def no_support_teaches(monkeypatch):
    """Encoder, pretraining and meta-training see only blocks that are not held out, as for k-shot."""
    monkeypatch.setattr(splits.Split, "seen", property(lambda split: split.role == splits.TRAIN))
    monkeypatch.setattr(networks, "trained", lambda split, one, three, pretrained, seed, known, train=networks.trained:
                        train(split, one, three, pretrained, seed, split.role == splits.TRAIN))


def test_k_shot_between_no_sample_and_the_whole_support(tiny, no_support_teaches, monkeypatch):
    for name in ("LOCAL_BORROW", "REGIONAL_BORROW", "REACH"):  # as in k-shot, which measures the reach on fewer points
        monkeypatch.setitem(TINY, name, 0)
    monkeypatch.setitem(TINY, "NORMALISE", False)  # else k samples normalise the network, whatever the steps
    monkeypatch.setitem(TINY, "CURVES_BELOW", 0)  # else unadapted blocks keep the fit, and adaptation starts elsewhere
    split = made_split()
    found, ours = of_family("k-shot", split), of_family("ours", split)
    assert list(found) == [(k, steps) for k in (0, 3, "2/12", "6/12") for steps in (0, 3)]
    query = (split.role == QUERY)[split.asked]
    unadapted = ours["ours, not adapted"][query]
    np.testing.assert_array_equal(found[0, 0], found[0, 3])
    np.testing.assert_allclose(found[0, 0], unadapted, atol=1e-6)
    for k in (3, "2/12", "6/12"):
        np.testing.assert_allclose(found[k, 0], unadapted, atol=1e-6)
        assert (found[k, 3] != unadapted).any()
    # 6/12 is the whole support, so where that has both classes ours is met again
    block = split.block[split.role == QUERY]
    mixed = ~np.isin(block, (NO_LANDSLIDE, ONLY_LANDSLIDES, THIN))
    np.testing.assert_allclose(found["6/12", 3][mixed], ours["ours"][query][mixed], atol=1e-6)
    assert (found["6/12", 3][block == NO_LANDSLIDE] != unadapted[block == NO_LANDSLIDE]).any()  # one class adapts too


def test_the_encoder_of_k_shot_sees_no_held_out_sample(tiny, monkeypatch):
    split, fitted = made_split(), []
    fit = splits.Encoder.fit
    monkeypatch.setattr(splits.Encoder, "fit", lambda values, *rest: fitted.append(values) or fit(values, *rest))
    c = settings("SHOTS=(1,)", "TWELFTHS=()", "STEPS=(0,)")
    networks.k_shot(split, c, stages(c), 1)
    assert len(fitted) == 1
    np.testing.assert_array_equal(fitted[0], split.factors[split.role == splits.TRAIN])


def test_k_shot_takes_k_support_samples_of_each_held_out_block(tiny, monkeypatch):
    split, seen = made_split(), []

    def spy(training, pooled, samples, known, asked, rng, one_class):
        assert [(kind.borrow, kind.steps) for kind in training.kinds] == [(0, 5), (0, 5)]
        seen.append(known)
        return np.zeros(len(known)), []

    monkeypatch.setattr(networks, "adapted_scores", spy)
    c = settings("SHOTS=(0,1,3,16)", "TWELFTHS=(1,3,6)", "STEPS=(5,)")
    networks.k_shot(split, c, stages(c), 1)
    support = split.role == SUPPORT
    assert not seen[0].any()
    for known in seen:
        assert not (known & ~support).any()
    for less, more in itertools.pairwise(seen[:4]):
        assert not (less & ~more).any()  # the more hold the fewer
    of_block = split.block == MIXED
    size = (of_block & (split.label >= 0)).sum()
    assert [int((known & of_block).sum()) for known in seen] == [
        0, 1, 3, 16, round(size / 12), round(size / 4), (support & of_block).sum()]
    assert [int((known & (split.block == THIN)).sum()) for known in seen] == [0, 1, 2, 2, 2, 2, 2]


def test_ours_is_the_mean_of_both_kinds_of_members(tiny):
    found = of_family("ours", made_split())
    assert list(found) == ["ours", "ours, local members", "ours, regional members", "ours, not adapted"]

    def log_odds(name: str) -> np.ndarray:
        return np.log(found[name].astype(float)) - np.log1p(-found[name].astype(float))

    members = of_stage("meta_learner.py").REGIONAL_MEMBERS
    mean = (TINY["LOCAL_MEMBERS"] * log_odds("ours, local members") + members * log_odds("ours, regional members")
            ) / (TINY["LOCAL_MEMBERS"] + members)
    np.testing.assert_allclose(log_odds("ours"), mean, atol=1e-4)
    assert np.abs(found["ours, local members"] - found["ours, regional members"]).max() > 0.01
    assert np.abs(found["ours"] - found["ours, not adapted"]).max() > 0.01


@pytest.mark.parametrize(("values", "alone"), [
    ({"REGIONAL_MEMBERS": 0}, []), ({"PLACE": False}, ["ours, local members", "ours, regional members"])])
def test_ours_with_one_kind_of_member_or_without_the_place(tiny, monkeypatch, values, alone):
    for name, value in values.items():
        monkeypatch.setitem(TINY, name, value)
    found = of_family("ours", made_split())
    assert list(found) == ["ours", *alone, "ours, not adapted"]
    assert all(np.isfinite(p).all() for p in found.values())


def test_ours_starts_from_the_model_of_the_project_where_points_are_few(tiny, monkeypatch):
    split = made_split()
    nothing = of_family("ours", split)["ours, not adapted"]
    monkeypatch.setitem(TINY, "START_FROM", "project")
    elsewhere = of_family("ours", split)["ours, not adapted"]
    assert np.abs(nothing - elsewhere).max() > 0.01
    monkeypatch.setitem(TINY, "START_BELOW", int(split.labelled.sum()))
    np.testing.assert_array_equal(of_family("ours", split)["ours, not adapted"], nothing)


def test_points_that_differ_in_the_factor_left_out_do_not_teach_each_other(monkeypatch, tmp_path):
    made, dv = made_split(), [factor.name == "DV" for factor in made_split().described]
    twins = np.flatnonzero(made.role == QUERY)[:9], np.flatnonzero(made.role == SUPPORT)[:9]
    made.factors[twins[1]] = made.factors[twins[0]]
    made.factors[np.ix_(twins[1], dv)] += 1
    points = SimpleNamespace(**{name: getattr(made, name) for name in ("factors", "xy", "label", "block")}, blocks=24,
                             year=None)
    points.label[twins[0]] = 1  # no cells
    c = SimpleNamespace(REGION="demo", factors=made.described, WITHOUT="DV", FOLDS=5)
    monkeypatch.setattr(stage, "use_one_thread", lambda: None)
    stage.start_fitting(points, {("published", 1): made.role}, None, c)
    np.testing.assert_array_equal(stage.split_of(SimpleNamespace(protocol="published", seed=1, with_dv=True)).role,
                                  made.role)
    without = stage.split_of(SimpleNamespace(protocol="published", seed=1, with_dv=False))
    np.testing.assert_array_equal(np.flatnonzero(without.role != made.role), twins[1])
    assert set(without.role[twins[1]]) == {UNUSED}
    stage.work(Job("published", 1, False, "knn", tmp_path / "knn.npz", ""))
    with np.load(tmp_path / "knn.npz") as kept:
        assert len(kept["nearest neighbours in XY"]) == made.asked.sum()  # the same points as with the factor
    assert stage.twins(points, c).startswith("9 samples repeat another in all factors but DV: ")
    assert stage.twins(points, SimpleNamespace(factors=made.described, WITHOUT="")) == ""
    points.factors[:, ~np.array(dv)] = 7
    with pytest.raises(InputError, match=r"^WITHOUT=DV: published 1: expected both classes .* point has, found n"):
        stage.split_of(SimpleNamespace(protocol="published", seed=1, with_dv=False))


@pytest.mark.parametrize(("family", "supports"), [("ours", True), ("published_recipe", False), ("k-shot", False)])
def test_tasks_of_meta_training_hold_no_query_point(tiny, monkeypatch, family, supports):
    split, seen = made_split(), []
    monkeypatch.setattr(networks, "meta_train", lambda training, samples, known, c, threads: seen.extend(
        (kind, tasks_of(kind, samples, known, c)) for kind in training.kinds))
    of_family(family, split)
    expected = split.labelled if supports else split.role == splits.TRAIN
    assert [kind.name for kind, _ in seen] == (["blocks"] if family == "published_recipe" else ["local", "regional"])
    for kind, tasks in seen:
        rows = np.concatenate([m[:n] for m, n in zip(tasks.members, tasks.sizes, strict=True)])
        assert set(rows) == set(np.flatnonzero(expected))
        if kind.name == "blocks":
            assert len(rows) == len(set(rows))
            for members, size in zip(tasks.members, tasks.sizes, strict=True):
                assert len(set(split.block[members[:size]])) == 1


def test_one_network_is_the_same_before_and_without_fine_tuning(tiny):
    split, c = made_split(), settings("TUNING_STEPS=0")
    one, tuned = (predict(split.rows(split.asked)) for predict in networks.one_network(split, c, stages(c), 1))
    np.testing.assert_allclose(tuned, one, atol=1e-5)


# the stage ------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def compared(demo, tmp_path_factory):
    """The demo area's root after a comparison as a user runs it, and what that printed."""
    root = tmp_path_factory.mktemp("compared")
    for folder in ("src_data", "metatask_sampling"):
        (root / folder).symlink_to(demo / folder)
    return root, succeed(root, "compare_methods.py", *SHORT)


@pytest.fixture
def paths(compared, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(compared[0]))
    return Paths("demo")


def roles(paths) -> pd.DataFrame:
    return pd.read_csv(paths.splits)


def test_files_have_the_promised_columns(compared, paths):
    columns = {"scores": "protocol,seed,with_dv,method,k,steps,point,block,unit,label,origin,score",
               "method_metrics": "protocol,subset,with_dv,k,steps,method,measure,mean,sd,n,seeds",
               "block_metrics": "protocol,seed,with_dv,method,k,steps,block,n,landslides,kappa,auroc,brier,accuracy",
               "method_differences": "protocol,with_dv,rival,measure,difference,low,high",
               "intervals": "protocol,with_dv,method,measure,value,low,high,units",
               "rates": "protocol,seed,with_dv,method,k,steps,kind,area,landslides"}
    for name, expected in columns.items():
        table = pd.read_csv(getattr(paths, name))
        assert ",".join(table) == expected
        assert len(table) > 0 or name == "method_differences"  # there is none of ours here
    for name in OUTPUTS:
        path = getattr(paths, name)
        record = json.loads(path.with_name(path.name + ".json").read_text())
        assert (record["stage"], record["region"]) == ("compare_methods.py", "demo")
        assert f"wrote tmp/{path.name}" in compared[1]


def test_what_is_compared(paths):
    table = pd.read_csv(paths.method_metrics)
    names = {"nearest neighbours in XY", "block landslide rate", "slope alone"}
    assert set(table.method) == names
    assert set(table.protocol) == {"published", "spatial", "blocked 1 km"}
    assert "block landslide rate" not in set(table[table.protocol == "blocked 1 km"].method)
    assert set(table.with_dv) == {True, False}
    assert table.groupby("protocol").seeds.max().to_dict() == {"published": 2, "spatial": 2, "blocked 1 km": 3}
    slope = table[(table.method == "slope alone") & (table.measure == "auroc")].set_index(["protocol", "subset", "n"])
    without = slope[~slope.with_dv]["mean"]  # of the protocols that leave a factor out
    assert set(without.index.get_level_values("protocol")) == {"published", "spatial"}
    assert (slope[slope.with_dv]["mean"].loc[without.index] == without).all()  # whether DV is there or not
    finite = table[~table.measure.isin(["auroc", "pr_auc", "kappa", "mcc"])]
    assert np.isfinite(finite["mean"]).all()


def test_no_sample_place_or_factor_row_crosses_a_split(paths, compared, demo):
    table = roles(paths)
    with np.load(paths.tasks) as tasks:
        factors = {r: f.tobytes() for r, f in zip(tasks["row"], tasks["factors"], strict=True)}
    assert table["sample"].is_unique
    assert not table.duplicated(["x", "y"]).any()
    assert len({factors[r] for r in table["sample"]}) == len(table)
    assert f"{len(table):,} samples" in compared[1]
    columns = list(table)[6:]
    assert {f"{prefix}{name} {seed}" for prefix in ("", "development_") for name in ("published", "spatial")
            for seed in (1, 2)} | {f"blocked 1 km {k}" for k in (1, 2, 3)} <= set(columns)
    assert set(table[columns].to_numpy().ravel()) == set(ROLES)
    for column in columns:
        assert {"train", "query"} <= set(table[column])


def test_held_out_blocks(paths):
    table = roles(paths)
    few_shot = [c for c in list(table)[6:] if re.match("(development_)?(published|spatial) ", c)]
    assert len(few_shot) == 8
    sizes = table.groupby("block").size()
    eligible, held_out = set(sizes[sizes > 16].index), {}
    for column in few_shot:
        in_sets = table[table[column] != "unused"]
        assert set(in_sets.block) == eligible
        held_out[column] = set(table.block[table[column] == "query"])
        assert held_out[column] == set(table.block[table[column] == "support"])
        assert not held_out[column] & set(table.block[table[column] == "train"])
        assert len(held_out[column]) == round(0.25 * len(eligible))
        for _, own in in_sets[in_sets.block.isin(held_out[column])].groupby("block"):
            support, query = (own.loc[own[column] == role, ["x", "y"]].to_numpy() for role in ("support", "query"))
            assert len(query) - len(support) in (0, 1)
            assert "spatial" not in column or parted_by_a_line((support - support[0]) / 1e3, (query - support[0]) / 1e3)
    for column in few_shot:
        assert held_out[column] == held_out[column.replace("spatial", "published")]
    of_development = set().union(*(held_out[c] for c in few_shot if c.startswith("development")))
    quoted = set().union(*(held_out[c] for c in few_shot if not c.startswith("development")))
    assert not of_development & quoted
    assert held_out["published 1"] != held_out["published 2"]


def test_partitions_hold_out_every_place_once(paths):
    table = roles(paths)
    for name in ("partitions", "random folds"):
        folds = table[[c for c in table if c.startswith(f"{name} ")]]
        assert folds.shape[1] % 3 == 0  # of three folds, repeated
        for first in range(0, folds.shape[1], 3):
            one = folds.iloc[:, first:first + 3]
            assert ((one == "query").sum(axis=1) == 1).all()
            assert set(one.to_numpy().ravel()) == {"train", "query"}


def test_blocked_holds_out_every_square_once_without_support(paths):
    table = roles(paths)
    folds = table[[f"blocked 1 km {k}" for k in (1, 2, 3)]]
    assert set(folds.to_numpy().ravel()) == {"train", "query"}
    assert ((folds == "query").sum(axis=1) == 1).all()
    fold = (folds == "query").to_numpy().argmax(axis=1)
    square = pd.Series(list(zip(table.x // 1000, table.y // 1000, strict=True)))
    assert (pd.Series(fold).groupby(square).nunique() == 1).all()
    counts = np.bincount(fold)
    assert counts.max() - counts.min() <= square.value_counts().max()


def test_scores_are_of_the_split_s_query_points(paths):
    table, scores = roles(paths), pd.read_csv(paths.scores)
    for (protocol, seed), part in scores.groupby(["protocol", "seed"]):
        expected = table.loc[table[f"{protocol} {seed}"] == "query", ["sample", "block", "label"]].to_numpy()
        for _, own in part.groupby(["method", "with_dv"]):
            np.testing.assert_array_equal(own[["point", "block", "label"]].to_numpy(), expected)
    assert scores.score.between(0, 1).all()
    assert set(scores.origin) == {"inventory", "insar", "absence"}
    seen = pd.read_csv(paths.insar_points, encoding="utf-8-sig")
    at = table.merge(seen[["X", "Y"]], left_on=["x", "y"], right_on=["X", "Y"])
    assert set(table.loc[table.origin == "insar", "sample"]) == set(at.loc[at.label == 1, "sample"])


def test_a_second_run_computes_nothing_and_gives_the_same_bytes(compared, paths, monkeypatch, capsys):
    root, _ = compared
    before = contents(root / "tmp")
    monkeypatch.setattr(stage, "work", lambda job: pytest.fail("computed again"))
    time.sleep(1.1)  # a clock in a file would show
    run_here(monkeypatch, root, *SHORT)
    total = len([path for path in paths.comparison.iterdir() if "-map" not in path.name])
    assert f"{total} of {total} results are there already" in capsys.readouterr().out
    after = contents(root / "tmp")
    assert [name for name in after if after[name] != before.get(name)] == []


@pytest.mark.slow
def test_a_run_killed_half_way_goes_on(compared, demo, tmp_path, here, monkeypatch):
    root = tmp_path
    for folder in ("src_data", "metatask_sampling"):
        (root / folder).symlink_to(demo / folder)
    command = [sys.executable, str(PROJECT / "compare_methods.py"), *SHORT]
    folder = root / "tmp" / "demo_comparison"
    with subprocess.Popen(command, env={**os.environ, "LSM_ROOT": str(root)}, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, start_new_session=True) as running:
        while running.poll() is None and not list(folder.glob("[!.]*.npz")):
            time.sleep(0.01)
        os.killpg(running.pid, signal.SIGKILL)
    there = {path.name for path in folder.glob("[!.]*.npz")}
    assert there
    assert not (root / "tmp" / "demo_scores.csv.gz").exists()
    (folder / ".partial.rest.npz").write_bytes(b"half")
    worked = []
    monkeypatch.setattr(stage, "work", lambda job, work=stage.work: worked.append(job.path.name) or work(job))
    run_here(monkeypatch, root, *SHORT)
    assert not set(worked) & there
    whole = {path.name: path.read_bytes() for path in (compared[0] / "tmp" / "demo_comparison").iterdir()}
    assert {path.name: path.read_bytes() for path in folder.glob("[!.]*")} == whole
    for name in ("scores", "method_metrics", "rates", "splits"):
        path = getattr(Paths("demo"), name)
        assert path.read_bytes() == (compared[0] / "tmp" / path.name).read_bytes(), name


def mapped(paths) -> dict[str, np.ndarray]:
    """The bands of the raster of maps by name, nan where nodata."""
    dataset = gdal.Open(str(paths.method_maps))
    out = {}
    for i in range(1, dataset.RasterCount + 1):
        band = dataset.GetRasterBand(i)
        assert band.GetNoDataValue() == -9999
        assert band.DataType == gdal.GDT_Float32
        values = band.ReadAsArray()
        out[band.GetDescription()] = np.where(values == -9999, np.nan, values)
    return out


def of_cells(paths, family: str, c) -> tuple[dict, tuple]:
    """The drawn cells that the first seed of published scores: their scores by method, and their place on the raster.
    """
    points = read_points(paths, study_area.factors("demo"), c)
    role = all_splits(points, c)[0]["published", 1]
    asked = np.isin(role, (QUERY, SUPPORT))
    cell = points.label[asked] < 0
    place = cell_of(read_composite(paths.composite).geotransform, points.xy[asked][cell])
    with np.load(paths.comparison / f"published-1-with-{family}.npz") as file:
        return {name: file[name][cell] for name in file.files if name != "made_of"}, place


def test_maps_are_of_the_models_whose_scores_are_quoted(compared, paths):
    found, composite = mapped(paths), gdal.Open(str(paths.composite))
    assert list(found) == ["slope alone", "nearest neighbours in XY"]
    assert gdal.Open(str(paths.method_maps)).GetGeoTransform() == composite.GetGeoTransform()
    grid = pd.read_csv(paths.grid)
    row, col = cell_of(composite.GetGeoTransform(), grid[["X", "Y"]].to_numpy())
    for name, family in (("slope alone", "slope"), ("nearest neighbours in XY", "knn")):
        assert np.isfinite(found[name]).sum() == len(grid)
        assert np.isfinite(found[name][row, col]).all()
        scores, place = of_cells(paths, family, settings(*SHORT))
        assert len(scores[name]) > 100
        np.testing.assert_allclose(found[name][place], scores[name], atol=1e-6)
    steeper = np.argsort(grid["slope"].to_numpy())  # everywhere, not on the held-out blocks alone
    assert np.corrcoef(np.arange(len(grid)), found["slope alone"][row, col][steeper])[0, 1] ** 2 > 0.8
    record = json.loads(paths.method_maps.with_name(paths.method_maps.name + ".json").read_text())
    assert record["stage"] == "compare_methods.py"
    assert "tmp/demo_splits.csv.gz" in record["inputs"]
    assert "wrote tmp/demo_method_maps.tif" in compared[1]


@pytest.mark.parametrize(("maker", "removed"), [("compare_methods.py", True), ("", False)])
def test_maps_of_an_earlier_comparison_are_removed_where_this_one_has_none(tmp_path, monkeypatch, maker, removed):
    """Beside scores of other methods they would be of another run; a file that no comparison made stays."""
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    path, made = Paths("isle").method_maps, ("compare_methods.py", SimpleNamespace(REGION="isle"), [])
    path.parent.mkdir()
    path.write_text("maps")
    if maker:
        with artifact(path, *made) as temporary:
            temporary.write_text("maps")
    assert grid_maps.write_method_maps(Paths("isle"), [], (), made) == []
    assert (list(path.parent.iterdir()) == []) == removed


@pytest.mark.slow
def test_a_lost_map_is_made_again_and_alone(compared, tmp_path, here, monkeypatch):
    shutil.copytree(compared[0], tmp_path / "root", symlinks=True)
    monkeypatch.setenv("LSM_ROOT", str(tmp_path / "root"))
    paths = Paths("demo")
    before = contents(tmp_path / "root" / "tmp")
    (paths.comparison / "published-1-with-slope-map.npz").unlink()
    paths.method_maps.unlink()
    worked = []
    monkeypatch.setattr(stage, "work", lambda job, work=stage.work: worked.append(job.path.name) or work(job))
    run_here(monkeypatch, tmp_path / "root", *SHORT)
    assert worked == ["published-1-with-slope.npz"]
    assert contents(tmp_path / "root" / "tmp") == before


def test_other_constants_compute_again_and_free_ones_do_not(paths, monkeypatch):
    c = constants(stage.Constants, ["REGION=demo", *SHORT])
    inputs = [paths.tasks, paths.blocks, paths.grid, paths.insar_points]
    points = read_points(paths, c.factors, c)
    published = {key: role for key, role in all_splits(points, c)[0].items() if key[0] in ("published", "spatial")}

    def asked(c) -> list:
        return fits.jobs_of(paths.comparison, points, published, c, inputs, partial(stage.constants_of_stages, c))[0]

    jobs = asked(c)
    assert len(jobs) == 2 * 2 * 3 * 2  # protocols, seeds, methods, with and without DV
    assert all(job.done for job in jobs)
    for name, value, kept in (("RESAMPLES", 7, True), ("WORKERS", 3, True), ("MAPPED", (), True),
                              ("ALONE_LR", 0.2, False), ("HELD_OUT_SHARE", 0.2, False), ("SEED", 2, False)):
        other = replace(c, **{name: value})
        assert all(job.done for job in asked(other)) == kept, name
    described = replace(c.factors[0], unit="another")
    with monkeypatch.context() as patch:
        patch.setattr(stage.Constants, "factors", (described, *c.factors[1:]))
        assert not any(job.done for job in asked(c))
    with monkeypatch.context() as patch:
        patch.setattr(fits, "version", lambda name: "0.0")
        assert not any(job.done for job in asked(c))
    with monkeypatch.context() as patch:
        patch.setattr(fits, "code_of", lambda script: "other code")
        assert not any(job.done for job in asked(c))
    assert all(job.done for job in asked(c))
    moved = published["published", 1]
    published["published", 1] = np.roll(moved, 1)  # another split, of the same name
    assert {(job.protocol, job.seed) for job in asked(c) if not job.done} == {("published", 1)}
    published["published", 1], points = moved, replace(points, xy=points.xy + 1)
    assert not any(job.done for job in asked(c))


@pytest.mark.slow
def test_ours_and_k_shot_in_one_run(demo, tmp_path, tiny, here, no_support_teaches, monkeypatch, capsys):
    for folder in ("src_data", "metatask_sampling"):
        (tmp_path / folder).symlink_to(demo / folder)
    paths = run_here(monkeypatch, tmp_path, "SEEDS=1", "PROTOCOLS=published,k-shot", "METHODS=ours,boosting_xy",
                     "WITHOUT=", "AREA_CELLS=500", "RESAMPLES=50", "SQUARES=(1000,)", "FOLDS=2", "SHOTS=(0,3)",
                     "TWELFTHS=(6,)", "STEPS=(0,3)", "MAPPED=('ours', 'SVM', 'boosting + XY')")
    table = pd.read_csv(paths.method_metrics, dtype={"k": str})
    every = table[(table.subset == "all") & (table.measure == "auroc")].set_index(["protocol", "method"])["mean"]
    assert set(every["published"].index) == {"ours", "ours, local members", "ours, regional members",
                                             "ours, not adapted", "boosting + XY"}
    shots = table[(table.protocol == "k-shot") & (table.subset == "all")].set_index(["k", "steps", "measure"])["mean"]
    assert {(k, steps) for k, steps, _ in shots.index} == {(k, s) for k in ("0", "3", "6/12") for s in (0, 3)}
    assert shots["0", 0, "auroc"] == shots["0", 3, "auroc"]
    assert shots["0", 0, "auroc"] == pytest.approx(every["published", "ours, not adapted"], abs=1e-3)
    gains = pd.read_csv(paths.method_differences)
    assert set(gains.rival) == set(every["published"].index) - {"ours"}
    maps = mapped(paths)
    assert list(maps) == ["ours", "boosting + XY"]
    for name, family in (("ours", "ours"), ("boosting + XY", "boosting_xy")):
        values, place = of_cells(paths, family, settings("SEEDS=1", "AREA_CELLS=500", "SQUARES=(1000,)", "FOLDS=2"))
        np.testing.assert_allclose(maps[name][place], values[name], atol=1e-5)
    assert np.isfinite(maps["ours"]).sum() == np.isfinite(maps["boosting + XY"]).sum() > 1000
    blocks = gdal.Open(str(paths.blocks)).ReadAsArray()
    with np.load(paths.comparison / "published-1-with-ours-map.npz") as file:
        changed = np.abs(file["ours"] - file["ours, not adapted"])
    assert pd.Series(changed[blocks >= 0]).groupby(blocks[blocks >= 0]).max().gt(1e-3).mean() > 0.9  # blocks adapt
    said = capsys.readouterr().out
    assert "no map of SVM: METHODS or PROTOCOLS leave them out" in said
    assert re.search(r"^published: mean \(sd\) of 1 repeat$", said, re.M)
    assert re.search(r"^ours +0\.\d{3} +0\.\d{3}", said, re.M)  # of one repeat there is no standard deviation


@pytest.mark.parametrize(("argument", "message"), [
    ("PROTOCOLS=published,spatal", ", found spatal"),
    ("PROTOCOLS=", "PROTOCOLS: expected any of "),
    ("METHODS=svm,forest", "found forest"),
    ("MAPPED=('ours', 'forest')", "MAPPED: expected methods of docs/tables/methods.md, found forest"),
    ("HELD_OUT_SHARE=0.6", "HELD_OUT_SHARE=0.6 of "),
    ("HELD_OUT_SHARE=0.0", "HELD_OUT_SHARE=0.0 of "),
    ("DEVELOPMENT_SHARE=0.0", "DEVELOPMENT_SHARE"),
    ("SEEDS=two", "SEEDS=two: expected a value like 5 (int)"),
    ("METHOD=svm", "did you mean METHODS=svm?"),
    ("REGION=nowhere", "REGION=nowhere: expected inputs in "),
])
def test_unusable_constants_are_one_line(demo, tmp_path, monkeypatch, capsys, argument, message):
    for folder in ("src_data", "metatask_sampling"):
        (tmp_path / folder).symlink_to(demo / folder)
    with pytest.raises(SystemExit) as stopped:
        run_here(monkeypatch, tmp_path, "AREA_CELLS=100", argument)
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert not list(tmp_path.glob("tmp/*.csv*"))
    assert not list(tmp_path.glob("tmp/**/*.npz"))


def test_a_refusal_as_a_user_meets_it(demo):
    done = run_stage(demo, "compare_methods.py", "METHODS=forest", "AREA_CELLS=100")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [f"{PROJECT / 'compare_methods.py'}: METHODS: expected families of "
                                        "docs/tables/methods.md, found forest"]
