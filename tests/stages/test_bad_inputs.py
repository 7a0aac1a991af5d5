"""Inputs that cannot be used: one line that names file, expected, found and what to do; exit code 2; nothing written.

Most run in this process: `main` must raise InputError, which the runner turns into the line (the last tests run that
way, as a user does).
"""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import TRAINING, contents, run_stage
from osgeo import gdal, osr

import export_gis
import feature_permutation
import meta_learner
import predict_LSM
import scene_sampling
from lsm.learner.members import HISTORY, Training, kinds_of_members
from lsm.learner.network import use_one_thread
from lsm.run.artifacts import record_path, write_csv
from lsm.run.code import sha256
from lsm.run.paths import Paths
from lsm.run.settings import InputError, constants
from unsupervised_pretraining import DAS_pretraining

use_one_thread()  # before any test runs an operator; the stages ask for the same
PATHS = Paths("demo")
NODATA = -9999.0


def attempt(stage, *arguments) -> None:
    given = [*(TRAINING if stage is meta_learner else ("K=64",) if stage is scene_sampling else ()), *arguments]
    stage.main(constants(stage.Constants, given))


def refused(root, stage, *arguments: str) -> str:
    """The message of a stage that must refuse to work and leave everything as it was."""
    before = contents(root)
    with pytest.raises(InputError) as caught:
        attempt(stage, *arguments)
    assert contents(root) == before
    message = str(caught.value)
    assert "\n" not in message
    assert str(root) not in message  # files as people type them
    return message


def says(message: str, *parts: str) -> None:
    for part in parts:
        assert re.search(part, message), f"expected {part!r} in: {message}"


def edit(path, change) -> None:
    """Applies `change` to a table as text: what it says is what is read."""
    table = pd.read_csv(path, encoding="utf-8-sig", dtype=str)
    change(table).to_csv(path, index=False)


def set_cell(column: str, value: str, row: int = 6):
    def change(table):
        table.loc[row, column] = value
        return table
    return change


# missing files --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("stage", "name"), [
    (DAS_pretraining, "samples"), (scene_sampling, "samples"), (scene_sampling, "composite"),
    (predict_LSM, "grid")])
def test_missing_input(copy_of_demo, stage, name):
    path = getattr(PATHS, name)
    path.unlink()
    says(refused(copy_of_demo, stage), rf"^src_data/{path.relative_to(copy_of_demo / 'src_data')}: missing; put ")


@pytest.mark.parametrize(("stage", "name", "maker"), [
    (meta_learner, "tasks", "scene_sampling.py"),
    (meta_learner, "saved_model", "unsupervised_pretraining/DAS_pretraining.py"),
    (meta_learner, "encoder", "unsupervised_pretraining/DAS_pretraining.py"),
    (predict_LSM, "model", "meta_learner.py"),
    (predict_LSM, "tasks", "scene_sampling.py"),
    (predict_LSM, "blocks", "scene_sampling.py")])
@pytest.mark.parametrize("what", ["artifact", "record"])
def test_missing_artifact_or_record(copy_of_demo, stage, name, maker, what):
    path = getattr(PATHS, name)
    gone = path if what == "artifact" else record_path(path)
    gone.unlink()
    says(refused(copy_of_demo, stage), rf"^{gone.relative_to(copy_of_demo)}: missing; run {maker} first$")


# the composite --------------------------------------------------------------------------------------------------

def rewrite_composite(bands: int = 4, epsg: int | None = 32650, nodata: float | None = NODATA, turn: float = 0.0,
                      empty: bool = False) -> None:
    dataset = gdal.Open(str(PATHS.composite))
    values, place = dataset.ReadAsArray(), list(dataset.GetGeoTransform())
    del dataset
    place[2] = turn
    if empty:
        values[2] = NODATA  # in one band, which is enough
    made = gdal.GetDriverByName("GTiff").Create(str(PATHS.composite), values.shape[2], values.shape[1], bands,
                                                gdal.GDT_Float32)
    made.SetGeoTransform(place)
    if epsg:
        crs = osr.SpatialReference()
        crs.ImportFromEPSG(epsg)
        made.SetSpatialRef(crs)
    for i in range(bands):
        band = made.GetRasterBand(i + 1)
        if nodata is not None:
            band.SetNoDataValue(nodata)
        band.WriteArray(values[i])
    made.FlushCache()


@pytest.mark.parametrize(("change", "parts"), [
    ({"bands": 3}, ("expected 4 bands, found 3", "DEM, aspect, curvature, slope")),
    ({"epsg": None}, ("CRS: expected a projected one in metres, found none", "gdal_edit")),
    ({"epsg": 4326}, ("CRS: expected a projected one in metres, found WGS 84 in degree", "QGIS: Warp")),
    ({"epsg": 2263}, ("CRS: expected a projected one in metres, found .* in US survey foot", "QGIS: Warp")),
    ({"nodata": None}, ("band 1", "nodata: expected a declared value, found none", "gdal_edit")),
    ({"empty": True}, ("expected cells with a value in every band, found all nodata", "check")),
    ({"turn": 5.0}, ("geotransform: expected north up, found", "QGIS: Warp")),
])
def test_composite(copy_of_demo, change, parts):
    rewrite_composite(**change)
    says(refused(copy_of_demo, scene_sampling), "^src_data/demo/composite.tif: ", *parts)


def test_composite_that_is_no_raster(copy_of_demo):
    PATHS.composite.write_text("not a raster\n")
    says(refused(copy_of_demo, scene_sampling), "^src_data/demo/composite.tif: expected a raster.*, found none; write")


# tables ---------------------------------------------------------------------------------------------------------

TABLES = [(DAS_pretraining, "samples"), (scene_sampling, "samples"), (predict_LSM, "grid")]


@pytest.mark.parametrize(("stage", "name"), TABLES)
@pytest.mark.parametrize(("change", "parts"), [
    (lambda t: t.rename(columns={"slope": "slop"}),
     ("header: expected a column 'slope'", "nearest is 'slop'", "rename")),
    (lambda t: t.drop(columns="X"), ("header: expected a column 'X'", "found land use, lithology, .*", "rename")),
    (set_cell("slope", "steep"), ("line 8, column 'slope'", "expected a number, found .*steep", "correct")),
    (set_cell("NDVI", ""), ("line 8, column 'NDVI'", "expected a number, found nothing", "correct")),
    (set_cell("DEM", "inf"), ("line 8, column 'DEM'", "expected a number, found .*inf", "correct")),
    (set_cell("land use", "1.5"), ("line 8, column 'land use'", "whole-number class code, found .*1.5", "correct")),
    (set_cell("dis2road", "-3"), ("line 8, column 'dis2road'", "0 m or more, found .*-3", "correct")),
    (set_cell("aspect", "400"), ("line 8, column 'aspect'", "0 to 360 degrees, or -1", "found .*400", "correct")),
    (set_cell("Y", "north"), ("line 8, column 'Y'", "expected a coordinate in metres, found .*north", "correct")),
], ids=["renamed", "missing", "text", "nan", "inf", "class", "distance", "aspect", "coordinate"])
def test_table(copy_of_demo, stage, name, change, parts):
    path = getattr(PATHS, name)
    edit(path, change)
    says(refused(copy_of_demo, stage), f"^src_data/{path.name}: ", *parts)


@pytest.mark.parametrize("stage", [DAS_pretraining, scene_sampling])
@pytest.mark.parametrize(("change", "parts"), [
    (set_cell("label", "2"), ("line 8, column 'label': expected 0 or 1", "found .*2", "correct")),
    (set_cell("label", ""), ("line 8, column 'label': expected 0 or 1", "found nothing", "correct")),
    (lambda t: t[t.label == "1"], ("column label: expected both 0 and 1, found no 0; add non-landslides",)),
    (lambda t: t[t.label == "0"], ("column label: expected both 0 and 1, found no 1; add landslides",)),
    (lambda t: t.rename(columns={"label": "class"}), ("header: expected a column 'label'", "rename")),
    (lambda t: t[:0], ("expected",)),
], ids=["two", "nan", "landslides only", "none", "no label", "empty"])
def test_labels(copy_of_demo, stage, change, parts):
    edit(PATHS.samples, change)
    says(refused(copy_of_demo, stage), "^src_data/samples_demo.csv: ", *parts)


@pytest.mark.parametrize("damage", [
    lambda path: path.write_text(""),
    lambda path: path.write_text(path.read_text(encoding="utf-8-sig") + "1,2,3," * 10 + "\n"),
    lambda path: path.write_bytes(path.read_bytes() + b"\xff\xfe\n"),
], ids=["empty file", "ragged row", "no UTF-8"])
@pytest.mark.parametrize(("stage", "name"), TABLES)
def test_no_table(copy_of_demo, stage, name, damage):
    path = getattr(PATHS, name)
    damage(path)
    says(refused(copy_of_demo, stage), f"^src_data/{path.name}: (line [0-9]+: )?expected .*, found.*")


@pytest.mark.parametrize("chunk", ["1000", "500000"])
def test_a_bad_row_late_in_the_grid(copy_of_demo, chunk):
    """Chunks before it are predicted by then; nothing of them stays."""
    edit(PATHS.grid, set_cell("slope", "steep", row=4321))
    message = refused(copy_of_demo, predict_LSM, f"GRID_ROWS={chunk}")
    says(message, "^src_data/grid_samples_demo.csv: line 4323, column 'slope': expected a number, found 'steep'")


def test_empty_grid(copy_of_demo):
    edit(PATHS.grid, lambda t: t[:0])
    says(refused(copy_of_demo, predict_LSM),
         "^src_data/grid_samples_demo.csv: expected one row a grid cell, found none; write")


def test_samples_in_another_crs(copy_of_demo):
    edit(PATHS.samples, lambda t: t.assign(X=(t.X.astype(float) + 1e6).astype(str)))
    says(refused(copy_of_demo, scene_sampling), "^src_data/samples_demo.csv: columns X, Y: expected points within X ",
         r"found X 17\d{5} ", "outside", "in the CRS of src_data/demo/composite.tif, WGS 84 / UTM zone 50N")


# artifacts ------------------------------------------------------------------------------------------------------

def test_too_few_tasks(copy_of_demo):
    """Of the published recipe, where a task is a block."""
    attempt(DAS_pretraining, "RECIPE=published", "RBM_EPOCHS=1", "DAE_EPOCHS=1")
    attempt(scene_sampling, "RECIPE=published")
    says(refused(copy_of_demo, meta_learner, "RECIPE=published", "META_BATCH=100"),
         r"^43 blocks with more than 16 samples: expected 100 to learn from \(META_BATCH\) and others to hold out, "
         "found 32 and 11, .*; use RECIPE=recommended$")
    attempt(scene_sampling, "RECIPE=published", "K=12")
    says(refused(copy_of_demo, meta_learner, "RECIPE=published"), "expected 16 to learn from", "RECIPE=recommended$")


def test_too_few_samples(copy_of_demo):
    edit(PATHS.samples, lambda t: pd.concat([t[t.label == "1"][:19], t[t.label == "0"][:100]]))
    attempt(DAS_pretraining, "RBM_EPOCHS=1", "DAE_EPOCHS=1")
    attempt(scene_sampling)
    says(refused(copy_of_demo, meta_learner), "^metatask_sampling/demo_tasks.npz: expected 20 landslides and 20 "
         r"non-landslides or more, found 19 and \d+; scores mean something from about 100 of each on$")


@pytest.fixture
def isle(copy_of_demo):
    """A second region with the inputs of the first, up to stage 2; stage 1's files are its own now."""
    paths = Paths("isle")
    paths.composite.parent.mkdir()
    shutil.copy(PATHS.composite, paths.composite)
    for name in ("samples", "grid"):
        shutil.copy(getattr(PATHS, name), getattr(paths, name))
    attempt(scene_sampling, "REGION=isle")
    attempt(DAS_pretraining, "REGION=isle", "RBM_EPOCHS=1", "DAE_EPOCHS=1")
    return paths


def rename(source, target) -> None:
    shutil.copy(source, target)
    shutil.copy(record_path(source), record_path(target))


def test_files_of_another_region_under_this_ones_name(copy_of_demo, isle):
    rename(PATHS.checkpoint(20), isle.checkpoint(20))
    says(refused(copy_of_demo, meta_learner, "REGION=isle"),
         "^checkpoint_dir/isle_checkpoint_000020.npz: expected region isle, found demo; remove")
    rename(PATHS.model, isle.model)
    says(refused(copy_of_demo, predict_LSM, "REGION=isle"),
         "^checkpoint_dir/isle_model.npz: expected region isle, found demo; run meta_learner.py REGION=isle again$")
    rename(PATHS.tasks, isle.tasks)
    says(refused(copy_of_demo, meta_learner, "REGION=isle"),
         "^metatask_sampling/isle_tasks.npz: expected region isle, found demo; run scene_sampling.py REGION=isle "
         "again$")


def test_stage_1_ran_for_another_region(copy_of_demo, isle):
    says(refused(copy_of_demo, meta_learner),
         "^unsupervised_pretraining/model_init/encoder.npz: expected region demo, found isle; "
         "run unsupervised_pretraining/DAS_pretraining.py REGION=demo again$")


def test_stage_1_ran_again(copy_of_demo, capsys):
    attempt(DAS_pretraining, "RBM_EPOCHS=1", "DAE_EPOCHS=1", "HIDDEN=(8, 8, 4)")
    says(refused(copy_of_demo, predict_LSM), "^checkpoint_dir/demo_model.npz: was made from another "
         "unsupervised_pretraining/model_init/savedmodel.npz than is there now; run meta_learner.py again$")
    # A checkpoint of other inputs is left alone, and said so.
    capsys.readouterr()
    assert found_by_go_on().done == 0
    said = capsys.readouterr().out
    assert "checkpoint_dir/demo_checkpoint_000060.npz is of another run" in said
    assert "another unsupervised_pretraining/model_init/savedmodel.npz" in said
    assert said.count("\n") == 1


def found_by_go_on(*arguments: str) -> Training:
    """What training of the demo area would go on from; it has not read anything where `done` is 0."""
    c = constants(meta_learner.Constants, [*TRAINING, *arguments])
    training = Training(kinds_of_members(c, 1500), [], 0, np.empty((0, len(HISTORY))))
    meta_learner.go_on(training, PATHS, c, [PATHS.tasks, PATHS.encoder, PATHS.saved_model])
    assert bool(training.states) == (training.done > 0)
    return training


@pytest.mark.parametrize(("local", "regional", "step"), [
    (60, 40, 60), (60, 20, 20), (40, 40, 40), (20, 40, 20), (100, 40, 60), (60, 100, 40), (100, 100, 40),
    (30, 30, 20), (10, 10, 0)])
def test_a_checkpoint_is_gone_on_from_where_every_kind_is_on_its_way(copy_of_demo, local, regional, step):
    """The demo's regional members ended after 40 of 60 steps: step 60 is none for a run that takes them farther."""
    training = found_by_go_on(f"LOCAL_ITERATIONS={local}", f"REGIONAL_ITERATIONS={regional}")
    assert training.done == step
    assert set(training.history[:, 0]) == set(range(1, step + 1))  # of few points, a row for LOG_EVERY / 20 steps


def test_a_checkpoint_between_two_calls_is_of_no_use_to_a_longer_run(copy_of_demo):
    """Training at once would not have stopped there, and would have drawn other tasks."""
    attempt(meta_learner, "LOCAL_ITERATIONS=70", "REGIONAL_ITERATIONS=40", "TRAIN_ON_ALL=0")
    assert PATHS.checkpoint(70).is_file()
    assert found_by_go_on("LOCAL_ITERATIONS=70").done == 70
    assert found_by_go_on("LOCAL_ITERATIONS=100").done == 60


def test_another_encoder(copy_of_demo):
    edit(PATHS.samples, lambda t: t[5:])
    attempt(DAS_pretraining, "RBM_EPOCHS=1", "DAE_EPOCHS=1")
    says(refused(copy_of_demo, meta_learner), "^metatask_sampling/demo_tasks.npz: was made from another "
         "src_data/samples_demo.csv than is there now; run scene_sampling.py again$")
    attempt(scene_sampling)
    says(refused(copy_of_demo, predict_LSM), "^checkpoint_dir/demo_model.npz: was made from another ",
         "than is there now; run meta_learner.py again$")


@pytest.mark.parametrize(("stage", "other"), [(meta_learner, "unsupervised_pretraining/DAS_pretraining.py|scene_sam"),
                                              (predict_LSM, "meta_learner.py")])
def test_another_recipe(copy_of_demo, stage, other):
    says(refused(copy_of_demo, stage, "RECIPE=published"), "expected recipe published, found recommended; run ",
         f"({other}).* RECIPE=published again")


def test_stage_2_ran_again(copy_of_demo):
    before = {path: path.read_bytes() for p in (PATHS.tasks, PATHS.blocks_table) for path in (p, record_path(p))}
    attempt(scene_sampling, "K=32")
    says(refused(copy_of_demo, predict_LSM), "^checkpoint_dir/demo_model.npz: was made from another "
         "metatask_sampling/demo_tasks.npz than is there now; run meta_learner.py again$")
    for path, data in before.items():  # now the block raster alone is the other one
        path.write_bytes(data)
    says(refused(copy_of_demo, predict_LSM), "^metatask_sampling/demo_tasks.npz and metatask_sampling/demo_blocks.tif "
         r"are of two runs of scene_sampling.py \(K = 64, now 32\); run scene_sampling.py again$")


@pytest.mark.parametrize("stage", [export_gis, feature_permutation])
def test_a_table_of_blocks_that_a_killed_run_left(copy_of_demo, stage):
    """Its own record is right, but scene_sampling.py ran with another K, and was killed before it wrote this table."""
    record, table = json.loads(record_path(PATHS.blocks_table).read_text()), pd.read_csv(PATHS.blocks_table)
    write_csv(PATHS.blocks_table, table[:5], "scene_sampling.py", constants(scene_sampling.Constants, ["K=24"]),
              [copy_of_demo / name for name in record["inputs"]])
    says(refused(copy_of_demo, stage), "^metatask_sampling/demo_tasks.npz and metatask_sampling/demo_blocks.csv are of "
         r"two runs of scene_sampling.py \(K = 64, now 24\); run scene_sampling.py again$")


@pytest.mark.parametrize(("stage", "name", "maker"), [
    (meta_learner, "tasks", "scene_sampling.py"),
    (meta_learner, "saved_model", "unsupervised_pretraining/DAS_pretraining.py"),
    (predict_LSM, "model", "meta_learner.py"), (predict_LSM, "blocks", "scene_sampling.py")])
def test_truncated_artifact(copy_of_demo, stage, name, maker):
    path = getattr(PATHS, name)
    path.write_bytes(path.read_bytes()[:-100])
    says(refused(copy_of_demo, stage),
         f"^{path.relative_to(copy_of_demo)}: is not the file its record describes; run {maker} again$")


def test_truncated_checkpoint(copy_of_demo):
    path = PATHS.checkpoint(60)
    path.write_bytes(path.read_bytes()[:-100])
    says(refused(copy_of_demo, meta_learner), "^checkpoint_dir/demo_checkpoint_000060.npz: is not the file its record "
         "describes; run meta_learner.py, after removing it, again$")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"sha256": null}'])
def test_record_that_is_none(copy_of_demo, text):
    record_path(PATHS.tasks).write_text(text)
    says(refused(copy_of_demo, meta_learner), "^metatask_sampling/demo_tasks.npz", "run scene_sampling.py again$")


def test_record_without_what_readers_need(copy_of_demo):
    path = record_path(PATHS.tasks)
    path.write_text(json.dumps({"sha256": sha256(PATHS.tasks)}))
    says(refused(copy_of_demo, meta_learner), "^metatask_sampling/demo_tasks.npz.json: not a record of an artifact; "
         "run scene_sampling.py again$")


# arguments ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("stage", [DAS_pretraining, scene_sampling, meta_learner, predict_LSM])
@pytest.mark.parametrize(("argument", "parts"), [
    ("RECIPE=secret", ("RECIPE=secret: expected .*published.*recommended",)),
    ("SEDE=3", ("argument 'SEDE=3': expected NAME=value", "did you mean SEED=3")),
    ("SEED", ("argument 'SEED': expected NAME=value",)),
    ("--SEED=3", ("argument '--SEED=3': expected NAME=value", "did you mean SEED=3")),
    ("SEED=one", (r"SEED=one: expected a value like 1 \(int\)",)),
    ("SEED=1.5", (r"SEED=1.5: expected a value like 1 \(int\)",)),
])
def test_argument(copy_of_demo, stage, argument, parts):
    says(refused(copy_of_demo, stage, argument), *parts)


@pytest.mark.parametrize(("stage", "argument"), [
    (DAS_pretraining, "HIDDEN=(32, 32)"), (DAS_pretraining, "RBM_BATCH=0"), (DAS_pretraining, "DAE_EPOCHS=0"),
    (scene_sampling, "K=-1"), (scene_sampling, "M=0"), (scene_sampling, "LOOPS=0"), (scene_sampling, "WEIGHTS=(1.0,)"),
    (meta_learner, "BASE_MODEL=CNN"), (meta_learner, "META_BATCH=0"), (meta_learner, "LOG_EVERY=0"),
    (meta_learner, "LOG_EVERY=5001"),
    (meta_learner, "SAVE_EVERY=0"), (meta_learner, "SUPPORT=0"), (meta_learner, "QUERY=0"),
    (meta_learner, "INNER_STEPS=0"), (meta_learner, "LOCAL_ITERATIONS=0"), (meta_learner, "REGIONAL_ITERATIONS=0"),
    (meta_learner, "META_TRAIN_SHARE=1.5"), (meta_learner, "ADAPT_STEPS=-1"), (meta_learner, "LOCAL_MEMBERS=0"),
    (meta_learner, "REGIONAL_MEMBERS=-1"), (meta_learner, "LOCAL_NEIGHBOURHOOD=-1"), (meta_learner, "LINE_SHARE=1.5"),
    (meta_learner, "REGIONAL_NEIGHBOURHOOD=1"), (meta_learner, "REGIONAL_SUPPORT=0"), (meta_learner, "FOLDS=1"),
    (meta_learner, "START_BELOW=-1"),
    (meta_learner, "LOCAL_BORROW=-1"), (meta_learner, "REGIONAL_BORROW=-1"), (meta_learner, "TRAIN_ON_ALL=-1"),
    (predict_LSM, "ADAPT_WITH=none"), (predict_LSM, "GRID_ROWS=0")])
def test_value_out_of_range(copy_of_demo, stage, argument):
    shutil.rmtree(copy_of_demo / "checkpoint_dir") if stage is meta_learner else None
    name, _, value = argument.partition("=")
    says(refused(copy_of_demo, stage, argument), rf"{name}={re.escape(value)}", "expected")


# as a user runs it ----------------------------------------------------------------------------------------------

def test_user_sees_one_line(copy_of_demo):
    edit(PATHS.samples, lambda t: t.rename(columns={"slope": "slop"}))
    PATHS.grid.unlink()
    before = contents(copy_of_demo)
    for script, start in (("scene_sampling.py", "src_data/samples_demo.csv: header: expected a column 'slope'; "),
                          ("src_data/make_demo.py", "argument 'ROW=5': expected NAME=value with ")):
        done = run_stage(copy_of_demo, script, *(["ROW=5"] if "make" in script else []))
        assert done.returncode == 2
        assert re.fullmatch(rf"\S*{script}: {re.escape(start)}[^\n]*\n", done.stderr), done.stderr
        assert done.stdout == ""
    assert contents(copy_of_demo) == before


def test_user_sees_one_line_from_a_tensorflow_stage(copy_of_demo):
    PATHS.tasks.unlink()
    before = contents(copy_of_demo)
    done = run_stage(copy_of_demo, "meta_learner.py")
    assert done.returncode == 2
    assert re.fullmatch(r"\S*meta_learner.py: metatask_sampling/demo_tasks.npz: missing; [^\n]*\n", done.stderr)
    assert contents(copy_of_demo) == before
