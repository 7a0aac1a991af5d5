"""All stages on a small demo area, as a user runs them: what they leave behind, and that they can be stopped."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from conftest import AREA, STAGES, TRAINING, contents, succeed
from osgeo import gdal
from sklearn.metrics import roc_auc_score

import meta_learner
import predict_LSM
import scene_sampling
from lsm.inputs.rasters import cell_of
from lsm.learner.adaptation import adapted_scores, pooled_members
from lsm.learner.encoder import Encoder
from lsm.learner.members import Training
from lsm.learner.network import use_one_thread
from lsm.learner.prediction import mean_log_odds, probability
from lsm.learner.tasks import EncodedSamples
from lsm.run import settings
from lsm.run.artifacts import write_npz
from lsm.run.paths import PROJECT, Paths
from unsupervised_pretraining import DAS_pretraining

use_one_thread()  # before any test runs an operator; the stages ask for the same
MAKER, PRETRAINING, SAMPLING, LEARNER, PREDICTION = (script for script, _ in STAGES)
MODULES = {PRETRAINING: DAS_pretraining, SAMPLING: scene_sampling, LEARNER: meta_learner, PREDICTION: predict_LSM}
SAMPLES, GRID, COMPOSITE = "src_data/samples_demo.csv", "src_data/grid_samples_demo.csv", "src_data/demo/composite.tif"
FIRST = "unsupervised_pretraining/model_init/"
BLOCKS, TASKS = "metatask_sampling/demo_blocks.tif", "metatask_sampling/demo_tasks.npz"
MODEL, MODELS, MAP = "checkpoint_dir/demo_model.npz", "models_of_blocks/demo_models.npz", "figs/LSM_demo.tif"
TABLE = "tmp/LSM_demo.csv"
RAW = ("catchments.gpkg", "dem.tif", "faults.gpkg", "insar.csv", "inventory.gpkg", "land_use.tif", "lithology.gpkg",
       "ndvi.tif", "rivers.gpkg", "roads.gpkg", "stable.csv")
INPUTS = {  # of every artifact: the stage that makes it, and the files it is made from
    **dict.fromkeys((SAMPLES, "src_data/samples_demo_noTS.csv", "src_data/Ts_demo.csv", GRID, COMPOSITE,
                     *(f"src_data/demo/raw/{name}" for name in RAW),
                     *(f"src_data/demo/truth/{name}" for name in ("probability.tif", "environment.tif",
                                                                  "leading_factor.csv"))), (MAKER, [])),
    **dict.fromkeys((FIRST + "savedmodel.npz", FIRST + "encoder.npz", FIRST + "demo_history.csv"),
                    (PRETRAINING, [SAMPLES])),
    **dict.fromkeys((BLOCKS, TASKS, "metatask_sampling/demo_blocks.csv"), (SAMPLING, [COMPOSITE, SAMPLES])),
    **dict.fromkeys([f"checkpoint_dir/demo_{name}" for name in (
        "split.csv", "history.csv", "heldout.csv", "metrics.csv", "model.npz", "checkpoint_000020.npz",
        "checkpoint_000040.npz", "checkpoint_000060.npz")],
        (LEARNER, [TASKS, FIRST + "encoder.npz", FIRST + "savedmodel.npz"])),
    MODELS: (PREDICTION, [MODEL, TASKS, BLOCKS]),
    **dict.fromkeys((MAP, TABLE), (PREDICTION, [MODELS, BLOCKS, GRID])),
}
CHECKPOINT_RECORD = "checkpoint_dir/demo_checkpoint_{:06d}.npz.json"


def here(script: str, *arguments: str) -> None:
    """Runs a stage in this process, which spares loading TensorFlow once more."""
    module = MODULES[script]
    module.main(settings.constants(module.Constants, list(arguments)))


@pytest.fixture(scope="module")
def published(demo, tmp_path_factory):
    """The demo area under the published recipe."""
    root = tmp_path_factory.mktemp("published")
    shutil.copytree(demo / "src_data", root / "src_data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LSM_ROOT", str(root))
        for script, arguments in STAGES[1:]:
            here(script, *arguments, "RECIPE=published")
    return root


@pytest.fixture(params=["recommended", "published"])
def area(request):
    """Root and recipe of a finished area."""
    return request.getfixturevalue("demo" if request.param == "recommended" else "published"), request.param


def read_raster(path) -> tuple[np.ndarray, gdal.Dataset]:
    dataset = gdal.Open(str(path))
    return dataset.ReadAsArray(), dataset


def same(left: dict, right: dict, but: tuple = ()) -> None:
    """Two areas hold the same files with the same bytes."""
    assert sorted(left) == sorted(right)
    assert [name for name in left if left[name] != right[name] and name not in but] == []


def without_dot_files(files: dict) -> dict:
    """Files a kill left half-written lie beside their target under a name that starts with a dot."""
    return {name: data for name, data in files.items() if not name.rsplit("/", 1)[-1].startswith(".")}


# what the stages leave behind ------------------------------------------------------------------------------------

def test_every_artifact_is_there_and_nothing_else(area):
    root, _ = area
    assert sorted(contents(root)) == sorted([*INPUTS, *(f"{name}.json" for name in INPUTS)])


def test_records_say_what_made_each_artifact(area):
    root, recipe = area
    digest = {name: hashlib.sha256(data).hexdigest() for name, data in contents(root).items()}
    for name, (stage, inputs) in INPUTS.items():
        record = json.loads((root / f"{name}.json").read_text())
        assert record["stage"] == stage
        assert record["region"] == "demo"
        assert record["seed"] == 1
        assert record["sha256"] == digest[name]
        assert record["inputs"] == {path: digest[path] for path in inputs}, name
        assert set(record["versions"]) >= {"python", "numpy", "tensorflow", "gdal"}
        if stage != MAKER:
            assert record["recipe"] == recipe
            given = [*dict(STAGES)[stage], f"RECIPE={recipe}"]
            expected = vars(settings.constants(MODULES[stage].Constants, given))
            shared = {"REGION", "RECIPE", "SEED"}
            assert record["constants"] == json.loads(
                json.dumps({k: v for k, v in expected.items() if k not in shared})), name
    record = json.loads((root / f"{COMPOSITE}.json").read_text())["constants"]
    assert [f"{key}={record[key]}" for key in ("ROWS", "COLS", "INVENTORY", "ABSENCE", "INSAR")] == list(AREA)


def test_rasters_lie_where_the_composite_lies(area):
    root, _ = area
    bands, composite = read_raster(root / COMPOSITE)
    land = (bands != -9999).all(axis=0)
    for name, nodata in ((BLOCKS, -1), (MAP, -9999)):
        values, dataset = read_raster(root / name)
        assert dataset.GetGeoTransform() == composite.GetGeoTransform()
        assert dataset.GetSpatialRef().IsSame(composite.GetSpatialRef())
        assert dataset.RasterCount == 1
        assert dataset.GetRasterBand(1).GetNoDataValue() == nodata
        np.testing.assert_array_equal(values != nodata, land)  # every land cell has a value, and no other one


def test_map_table_has_one_row_a_grid_row(area):
    root, _ = area
    grid, table = pd.read_csv(root / GRID, encoding="utf-8-sig"), pd.read_csv(root / TABLE)
    assert table.columns.tolist() == ["X", "Y", "susceptibility", "block", "flag"]
    np.testing.assert_array_equal(table[["X", "Y"]], grid[["X", "Y"]])
    assert table.susceptibility.between(0, 1).all()
    assert table.susceptibility.nunique() > len(table) / 2
    values, dataset = read_raster(root / MAP)
    row, col = cell_of(dataset.GetGeoTransform(), grid[["X", "Y"]].to_numpy())
    np.testing.assert_array_equal(table.susceptibility.to_numpy(np.float32), values[row, col])
    np.testing.assert_array_equal(table.block, read_raster(root / BLOCKS)[0][row, col])
    with np.load(root / MODELS) as models:
        state = models["state"]
    np.testing.assert_array_equal(table.flag, (state[table.block] != 0).astype(int))


def test_no_sample_is_on_both_sides(area):
    """Under the published recipe samples of thin blocks are unused; under the other one they teach."""
    root, recipe = area
    split = pd.read_csv(root / "checkpoint_dir/demo_split.csv")
    samples = pd.read_csv(root / SAMPLES, encoding="utf-8-sig")
    assert split.row.is_unique
    place = samples.loc[split.row, ["X", "Y"]].apply(tuple, axis=1).to_numpy()
    assert split.role.groupby(place).nunique().max() == 1
    sizes = split.groupby("block").size()
    in_tasks = (split.block.map(sizes) > 16).to_numpy() | (recipe == "recommended")
    factors = samples.drop(columns=["X", "Y", "label"]).astype(np.float32).replace(np.float32(1e-6), 0)
    repeated = np.zeros(len(split), bool)
    repeated[in_tasks] = factors.loc[split.row[in_tasks]].duplicated().to_numpy()
    np.testing.assert_array_equal(split.role == "unused", ~in_tasks | repeated)  # no row is known by its twin
    roles = split[~repeated].groupby("block").role.agg(lambda r: tuple(sorted(set(r))))
    thin = "unused" if recipe == "published" else "meta-train"
    assert set(roles) == {("meta-train",), ("query", "support"), (thin,)}
    assert set(roles[sizes <= 16]) == {(thin,)}
    assert set(roles[sizes > 16]) == {("meta-train",), ("query", "support")}
    tasks = (sizes > 16).sum()
    assert (roles[sizes > 16] == ("meta-train",)).sum() == round(0.75 * tasks) >= 16
    held_out = split[split.role.isin(["support", "query"])].groupby("block").role.value_counts().unstack()
    dropped = split[repeated].groupby("block").size().reindex(held_out.index, fill_value=0)
    assert ((held_out["query"] - held_out["support"] - 0.5).abs() <= 0.5 + dropped).all()


def test_held_out_scores_are_of_the_query_samples(area):
    root, _ = area
    split, held_out = (pd.read_csv(root / f"checkpoint_dir/demo_{name}.csv") for name in ("split", "heldout"))
    samples = pd.read_csv(root / SAMPLES, encoding="utf-8-sig")
    query = split[split.role == "query"]
    np.testing.assert_array_equal(held_out[["sample", "block"]], query[["row", "block"]])
    np.testing.assert_array_equal(held_out[["x", "y", "label"]], samples.loc[held_out["sample"], ["X", "Y", "label"]])
    for name in ("score_before", "score_after"):
        assert held_out[name].between(0, 1).all()


def test_metrics_follow_from_the_held_out_scores(area):
    root, _ = area
    held_out = pd.read_csv(root / "checkpoint_dir/demo_heldout.csv")
    metrics = pd.read_csv(root / "checkpoint_dir/demo_metrics.csv", dtype={"block": str})
    expected = []
    for name in ("all", *sorted(held_out.block.unique())):
        part = held_out if name == "all" else held_out[held_out.block == name]
        for adapted in ("before", "after"):
            score, y = part[f"score_{adapted}"], part.label == 1
            p = score >= 0.5
            tp, fp, fn, tn = (p & y).sum(), (p & ~y).sum(), (~p & y).sum(), (~p & ~y).sum()
            n = len(part)
            chance = ((tp + fp) * (tp + fn) + (tn + fn) * (tn + fp)) / n**2
            expected.append((
                str(name), adapted, n, y.sum(), (tp + tn) / n, tp / (tp + fp) if tp + fp else 0,
                tp / (tp + fn) if tp + fn else 0, 2 * tp / (2 * tp + fp + fn) if 2 * tp + fp + fn else 0,
                ((tp + tn) / n - chance) / (1 - chance) if chance < 1 else np.nan,
                roc_auc_score(y, score) if 0 < y.mean() < 1 else np.nan))
    expected = pd.DataFrame(expected, columns=["block", "adapted", "samples", "landslides", "accuracy", "precision",
                                               "recall", "f1", "kappa", "auroc"])
    pd.testing.assert_frame_equal(metrics[expected.columns], expected, check_dtype=False, rtol=0, atol=1e-8)


def test_history_has_one_row_an_interval_and_kind(area):
    root, recipe = area
    history = pd.read_csv(root / "checkpoint_dir/demo_history.csv")
    assert list(history) == ["iteration", "kind", "pre_loss", "post_loss", "inner_lr"]
    every = {"published": 20, "recommended": 1}[recipe]  # of few points LOG_EVERY / ROWS_OF_FEW
    steps = {kind: [*range(every, end + 1, every)] for kind, end in (
        {"blocks": 60} if recipe == "published" else {"local": 60, "regional": 40}).items()}
    assert {kind: part.iteration.tolist() for kind, part in history.groupby("kind")} == steps
    assert np.isfinite(history.drop(columns="kind")).all(axis=None)
    assert (history.groupby("kind").post_loss.mean() < np.log(2)).all()  # that of a network that knows nothing
    if recipe == "published":  # the other one starts from a fit, and 60 steps are few
        assert history.post_loss.iloc[-1] < history.post_loss.iloc[0]


def arrays(path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def same_members(one: dict, other: dict) -> bool:
    names = [name for name in one if re.search("_(weights|inner_lr)_[0-9]+$", name)]
    assert len(names) >= 9
    return all(np.array_equal(one[name], other[name]) for name in names)


def test_held_out_scores_are_of_models_that_never_saw_the_query(area):
    """The report's models are those of the last checkpoint. Below TRAIN_ON_ALL samples the map has models of its own,
    which learned from all samples."""
    root, recipe = area
    model, last = arrays(root / MODEL), arrays(root / "checkpoint_dir/demo_checkpoint_000060.npz")
    assert same_members(model, last) == (recipe == "published")
    training, table = Training.of_file(model), arrays(root / TASKS)
    training.fill(last)
    samples = EncodedSamples.of_file(table, Encoder.from_json(str(model["encoder"])))
    role = pd.read_csv(root / "checkpoint_dir/demo_split.csv").role.to_numpy()
    pooled = pooled_members(training, samples.x[role == "meta-train"])
    known, query = np.isin(role, ("meta-train", "support")), role == "query"
    after, _ = adapted_scores(training, pooled, samples, known, query, np.random.default_rng([1, 1]))
    held_out = pd.read_csv(root / "checkpoint_dir/demo_heldout.csv")
    np.testing.assert_allclose(held_out.score_after, after[query], atol=1e-6)
    np.testing.assert_allclose(held_out.score_before, probability(mean_log_odds(pooled, samples.x[query])), atol=1e-6)


def test_the_report_does_not_depend_on_the_labels_of_its_query(demo, copy_of_demo):
    role = pd.read_csv(demo / "checkpoint_dir/demo_split.csv").role.to_numpy()
    shutil.rmtree(copy_of_demo / "checkpoint_dir")
    table = arrays(copy_of_demo / TASKS)
    table["label"] = np.where(role == "query", 1 - table["label"], table["label"])
    constants = settings.constants(scene_sampling.Constants, list(dict(STAGES)[SAMPLING]))
    write_npz(copy_of_demo / TASKS, table, SAMPLING, constants, [copy_of_demo / COMPOSITE, copy_of_demo / SAMPLES])
    here(LEARNER, *TRAINING)
    before, after = (arrays(root / "checkpoint_dir/demo_checkpoint_000060.npz") for root in (demo, copy_of_demo))
    assert list(before) == list(after)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    before, after = (pd.read_csv(root / "checkpoint_dir/demo_heldout.csv") for root in (demo, copy_of_demo))
    assert (before.label == 1 - after.label).all()
    pd.testing.assert_frame_equal(before.drop(columns="label"), after.drop(columns="label"))
    assert not same_members(arrays(demo / MODEL), arrays(copy_of_demo / MODEL))  # the map learns from them


def test_the_map_s_models_are_the_report_s_where_there_are_enough_samples(demo, copy_of_demo):
    shutil.rmtree(copy_of_demo / "models_of_blocks")
    here(LEARNER, *TRAINING, "TRAIN_ON_ALL=0")  # goes on from the last checkpoint
    assert same_members(arrays(copy_of_demo / MODEL), arrays(demo / "checkpoint_dir/demo_checkpoint_000060.npz"))
    for name in ("heldout", "metrics", "split", "history"):
        path = f"checkpoint_dir/demo_{name}.csv"
        assert (copy_of_demo / path).read_bytes() == (demo / path).read_bytes()


def test_recipes_differ(demo, published):
    assert (demo / MAP).read_bytes() != (published / MAP).read_bytes()
    assert (demo / BLOCKS).read_bytes() == (published / BLOCKS).read_bytes()  # no setting of stage 2 depends on it


@pytest.mark.slow
def test_swapped_labels_turn_the_map_round(demo, copy_of_demo):
    """Landslide is the same column in meta-training, adaptation and prediction."""
    samples = pd.read_csv(demo / SAMPLES, encoding="utf-8-sig").drop_duplicates(["X", "Y"])
    samples.assign(label=1 - samples.label).to_csv(copy_of_demo / SAMPLES, index=False)
    for script, arguments in STAGES[1:]:
        here(script, *arguments)
    found = []
    for root in (demo, copy_of_demo):
        values, dataset = read_raster(root / MAP)
        row, col = cell_of(dataset.GetGeoTransform(), samples[["X", "Y"]].to_numpy())
        found.append(roc_auc_score(samples.label, values[row, col]))
    assert found[0] > 0.75
    assert found[1] == pytest.approx(1 - found[0], abs=0.05)


# same seed, same bytes; stop and go on --------------------------------------------------------------------------

def kill_after_first_checkpoint(root, *arguments) -> None:
    """Starts meta-training and ends it by SIGKILL as soon as a first checkpoint with its record is there."""
    process = subprocess.Popen([sys.executable, LEARNER, *arguments], cwd=PROJECT, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, env={**os.environ, "LSM_ROOT": str(root)})
    try:
        end = time.monotonic() + 120
        while not (root / CHECKPOINT_RECORD.format(20)).is_file():
            assert process.poll() is None, "ended before its first checkpoint"
            assert time.monotonic() < end, "no checkpoint"
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL


def test_a_killed_run_goes_on_to_the_same_bytes(demo, copy_of_demo, capsys):
    for directory in ("checkpoint_dir", "models_of_blocks", "figs", "tmp"):
        shutil.rmtree(copy_of_demo / directory)
    # Many more steps than wanted, so that the kill comes in mid-training however fast the machine is.
    kill_after_first_checkpoint(copy_of_demo, *TRAINING, "LOCAL_ITERATIONS=100000", "REGIONAL_ITERATIONS=100000")
    assert not (copy_of_demo / MODEL).exists()
    here(LEARNER, *TRAINING)
    assert "going on from checkpoint_dir/demo_checkpoint_0000" in capsys.readouterr().out
    here(PREDICTION, "GRID_ROWS=1777")  # no number depends on the parts that the grid is read in; its records have this
    found, expected = without_dot_files(contents(copy_of_demo)), contents(demo)
    found |= {name: data.replace(b'"GRID_ROWS": 1777', b'"GRID_ROWS": 500000') for name, data in found.items()
              if name.endswith(".json")}
    last = "checkpoint_dir/demo_checkpoint_000060"  # the killed run may have come further
    found = {name: data for name, data in found.items() if "_checkpoint_" not in name or name.split(".")[0] <= last}
    # The records of the killed run's checkpoints hold the numbers of iterations it was started with.
    same(found, expected, but=tuple(CHECKPOINT_RECORD.format(step) for step in (20, 40, 60)))


def test_a_checkpoint_that_a_killed_run_was_to_replace_is_passed_over(copy_of_demo, capsys):
    """Killed between the record of its checkpoint and the checkpoint itself: a file of another run lies there."""
    last = copy_of_demo / "checkpoint_dir/demo_checkpoint_000060.npz"
    record = json.loads((copy_of_demo / CHECKPOINT_RECORD.format(60)).read_text())
    record |= {"sha256": "0" * 64, "replaces": hashlib.sha256(last.read_bytes()).hexdigest()}
    (copy_of_demo / CHECKPOINT_RECORD.format(60)).write_text(json.dumps(record))
    training, c = Training.of_file(arrays(copy_of_demo / MODEL)), settings.constants(
        meta_learner.Constants, list(TRAINING))
    inputs = [copy_of_demo / name for name in INPUTS[MODEL][1]]
    meta_learner.go_on(training, Paths("demo"), c, inputs)
    assert capsys.readouterr().out == "going on from checkpoint_dir/demo_checkpoint_000040.npz\n"
    assert training.done == 40


def test_checkpoints_of_other_code_are_passed_over(copy_of_demo, capsys):
    """Other code may hold out other samples: going on would score what the checkpoint has learned from."""
    for step in (20, 40, 60):
        record = json.loads((copy_of_demo / CHECKPOINT_RECORD.format(step)).read_text())
        (copy_of_demo / CHECKPOINT_RECORD.format(step)).write_text(json.dumps(record | {"code": "0" * 64}))
    training, c = Training.of_file(arrays(copy_of_demo / MODEL)), settings.constants(
        meta_learner.Constants, list(TRAINING))
    meta_learner.go_on(training, Paths("demo"), c, [copy_of_demo / name for name in INPUTS[MODEL][1]])
    assert capsys.readouterr().out == ("checkpoint_dir/demo_checkpoint_000060.npz is of another run (other code): "
                                       "training starts afresh\n")
    assert training.done == 0


@pytest.mark.slow
def test_another_run_gives_the_same_bytes(demo, tmp_path):
    for stages in (STAGES, STAGES[3:]):  # from nothing, and over what is there
        for script, arguments in stages:
            succeed(tmp_path, script, *arguments)
        same(contents(tmp_path), contents(demo))
