import contextlib
import gzip
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lsm.inputs.factor.definition import Factor
from lsm.run import artifacts
from lsm.run.artifacts import (
    changes_since,
    check,
    map_npz,
    read_csv,
    read_npz,
    read_record,
    record_path,
    whole,
    write_csv,
    write_npz,
)
from lsm.run.settings import InputError

C = SimpleNamespace(REGION="isle", RECIPE="published", SEED=4, K=64, WEIGHTS=(0.3, 0.7))
STAGE = "maker.py"


def but(**values) -> SimpleNamespace:
    return SimpleNamespace(**{**vars(C), **values})


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def source(root):
    path = root / "src_data" / "in.csv"
    path.parent.mkdir()
    path.write_text("a\n1\n")
    return path


@pytest.fixture
def made(root, source):
    path = root / "out" / "isle_thing.npz"
    write_npz(path, {"a": np.arange(3)}, STAGE, C, [source])
    return path


# whole ----------------------------------------------------------------------------------------------------------

def test_whole_renames_when_all_is_well(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    with whole(path) as temporary:
        assert temporary.parent == path.parent  # a rename stays on one file system
        assert temporary.name.startswith(".")
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["file.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_whole_leaves_nothing_on_an_error(tmp_path, error):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def interrupted():
        with whole(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


# records --------------------------------------------------------------------------------------------------------

def test_record(made, source):
    assert record_path(made).name == "isle_thing.npz.json"
    record = json.loads(record_path(made).read_text())
    versions = record.pop("versions")
    assert set(versions) == {"python", *artifacts.LIBRARIES}
    assert record == {
        "stage": STAGE, "region": "isle", "recipe": "published", "seed": 4, "factors": None, "replaces": None,
        "code": "",  # of a stage that does not exist
        "constants": {"K": 64, "WEIGHTS": [0.3, 0.7]}, "sha256": hashlib.sha256(made.read_bytes()).hexdigest(),
        "inputs": {"src_data/in.csv": hashlib.sha256(source.read_bytes()).hexdigest()}}
    assert read_record(made, STAGE) == check(made, STAGE, C)


@pytest.mark.parametrize("which", ["artifact", "record"])
def test_one_of_the_two_is_missing(made, which):
    gone = made if which == "artifact" else record_path(made)
    gone.unlink()
    with pytest.raises(InputError, match=rf"^out/{gone.name}: missing; run maker.py first$"):
        check(made, STAGE, C)


@pytest.mark.parametrize(("other", "expected"), [
    ({"REGION": "HK"}, "expected region HK, found isle; run maker.py REGION=HK again"),
    ({"RECIPE": "recommended"}, "expected recipe recommended, found published; run maker.py REGION=isle "
                                "RECIPE=recommended again"),
    ({"SEED": 5}, "expected seed 5, found 4; run maker.py REGION=isle SEED=5 again")])
def test_of_another_region_recipe_or_seed(made, other, expected):
    with pytest.raises(InputError) as caught:
        check(made, STAGE, but(**other))
    assert str(caught.value) == f"out/isle_thing.npz: {expected}"


@pytest.mark.parametrize(("recipe", "stops"), [("published", True), (None, False)])
def test_of_other_further_factors(made, recipe, stops):
    """The tables of the makers have no recipe: they are the same for all FURTHER."""
    record = json.loads(record_path(made).read_text())
    record["recipe"], record["constants"]["FURTHER"] = recipe, "none"
    record_path(made).write_text(json.dumps(record))
    if not stops:
        assert check(made, STAGE, but(FURTHER="all"))["recipe"] is None
        return
    said = "expected further all, found none; run maker.py REGION=isle FURTHER=all again$"
    with pytest.raises(InputError, match=said):
        check(made, STAGE, but(FURTHER="all"))


def test_other_constants_are_the_stages_own_matter(made):
    assert check(made, STAGE, but(K=3))["constants"]["K"] == C.K


def test_of_another_list_of_factors(root):
    path, slope, dem = root / "x.csv", Factor("slope", "continuous", "degree"), Factor("DEM", "continuous", "m", ("z",))
    write_csv(path, pd.DataFrame({"a": [1]}), STAGE, but(factors=(slope, dem)), [])
    record = check(path, STAGE, but(factors=(slope, dem)))
    assert record["factors"] == ["slope (continuous, degree; slope)", "DEM (continuous, m; DEM or z)"]
    for other in ((dem, slope), (slope,), (slope, Factor("DEM", "distance", "m", ("z",)))):
        with pytest.raises(InputError, match=r"^x\.csv: expected the factors .*; run maker.py again$"):
            check(path, STAGE, but(factors=other))


def test_how_lists_of_factors_differ_is_said(root):
    path, slope, dem = root / "x.csv", Factor("slope", "continuous", "degree"), Factor("DEM", "continuous", "m")
    write_csv(path, pd.DataFrame({"a": [1]}), STAGE, but(factors=(slope, dem)), [])
    for other, words in (((dem, slope), "the factors of the tables, found them in another order"),
                         ((slope,), "the factors of the tables, found DEM (continuous, m; DEM) too"),
                         ((slope, dem, replace(dem, name="z")), "the factors z (continuous, m; z) too, found none of")):
        with pytest.raises(InputError) as caught:
            check(path, STAGE, but(factors=other))
        assert f"x.csv: expected {words}" in str(caught.value)


def test_factors_read_in_another_way_are_others(root):
    """A column under another name is another column, and a 0 that means "not measured" is no 0."""
    path, slope, dem = root / "x.csv", Factor("slope", "continuous", "degree"), Factor("DEM", "continuous", "m")
    write_csv(path, pd.DataFrame({"a": [1]}), STAGE, but(factors=(slope, dem)), [])
    for other, words in ((replace(slope, aliases=("tilt",)), "slope or tilt"),
                         (replace(slope, zero_is_missing=True), "slope; 0 is missing")):
        with pytest.raises(InputError) as caught:
            check(path, STAGE, but(factors=(other, dem)))
        assert str(caught.value) == (f"x.csv: expected the factors slope (continuous, degree; {words}), found slope "
                                     "(continuous, degree; slope); run maker.py again")


def test_records_of_before_the_columns_were_noted_are_read(root):
    path, dem = root / "x.csv", Factor("DEM", "continuous", "m", ("z",), True)
    write_csv(path, pd.DataFrame({"a": [1]}), STAGE, but(factors=(dem,)), [])
    record = json.loads(record_path(path).read_text())
    record_path(path).write_text(json.dumps(record | {"factors": ["DEM (continuous, m)"]}))
    assert check(path, STAGE, but(factors=(dem,)))["factors"] == ["DEM (continuous, m)"]
    with pytest.raises(InputError, match="expected the factors DEM"):
        check(path, STAGE, but(factors=(replace(dem, unit="ft"),)))


def test_makers_of_inputs_have_a_seed_of_their_own(root):
    path = root / "src_data" / "samples_isle.csv"
    write_csv(path, pd.DataFrame({"a": [1]}), STAGE, C, [])
    assert check(path, STAGE, but(SEED=5))["seed"] == 4
    with pytest.raises(InputError, match="expected region HK"):
        check(path, STAGE, but(REGION="HK"))


def test_a_run_stopped_before_the_last_rename_is_told_from_a_change(made, monkeypatch):
    """The record is new, the artifact still the old one: the moment between the two renames."""
    old, replace = made.read_bytes(), Path.replace

    def killed_at_the_artifact(self, target):
        if not str(target).endswith(".json"):
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", killed_at_the_artifact)
    with pytest.raises(KeyboardInterrupt):
        write_npz(made, {"a": np.arange(4)}, STAGE, C, [])
    monkeypatch.undo()
    monkeypatch.setenv("LSM_ROOT", str(made.parents[1]))
    assert made.read_bytes() == old
    assert artifacts.stopped(made)
    assert artifacts.wrote(made, (STAGE,))
    with pytest.raises(InputError, match=r"of an earlier run, since maker[.]py was stopped before its end"):
        check(made, STAGE, C)
    write_npz(made, {"a": np.arange(4)}, STAGE, C, [])
    assert check(made, STAGE, C)["replaces"] == hashlib.sha256(old).hexdigest()
    write_npz(made, {"a": np.arange(4)}, STAGE, C, [])  # the same bytes again
    assert check(made, STAGE, C)["replaces"] == hashlib.sha256(old).hexdigest()  # the record is the same too
    assert not artifacts.stopped(made)
    made.write_bytes(b"edited")
    assert not artifacts.stopped(made)
    assert not artifacts.wrote(made, (STAGE,))


@pytest.mark.parametrize("text", [
    "", "{", "[]", "null", "3", '{"sha256": 1}', "[" * 100_000,
    '{"stage": 1, "sha256": "x", "region": 1, "recipe": 1, "seed": 1, "constants": [], "inputs": {}}'])
def test_a_broken_record_is_one_line(made, text):
    record_path(made).write_text(text)
    with pytest.raises(InputError, match=r"^out/isle_thing\.npz\.json: not a record of an artifact; run maker"):
        check(made, STAGE, C)
    assert not artifacts.wrote(made, (STAGE,))


def test_temporary_files_of_dead_processes_are_removed_and_of_living_ones_kept(root):
    (root / "out").mkdir()
    dead, living = (root / "out" / f".partial.{process}.x.csv" for process in (2**22 + 1, 1))
    journals = [path.with_name(f"{path.name}-journal") for path in (dead, living)]  # as SQLite's of a GeoPackage
    for path in (dead, living, *journals):
        path.touch()
    write_csv(root / "out" / "x.csv", pd.DataFrame({"a": [1]}), STAGE, C, [])
    assert [path.exists() for path in (dead, living, *journals)] == [False, True, False, True]


def test_a_compressed_table_says_nothing_of_the_clock_or_the_process(root):
    path, table = root / "out" / "x.csv.gz", pd.DataFrame({"a": [1, 2], "b": [0.5, 1 / 3]})
    write_csv(path, table, STAGE, C, [])
    bytes_ = path.read_bytes()
    assert bytes_[:8] == b"\x1f\x8b\x08" + bytes(5)  # no flags, so no file name; time 0
    assert gzip.decompress(bytes_).decode() == "a,b\n1,0.5\n2,0.333333333\n"


def test_what_an_artifact_had_to_do_without(root, source):
    there, absent, folder = root / "there.csv", root / "absent.csv", root / "raw"
    there.write_text("of another run")
    folder.mkdir()
    (folder / "dem.tif").touch()
    write_csv(root / "t.csv", pd.DataFrame({"a": [1]}), STAGE, C, [source, folder], [source, there, absent])
    record = read_record(root / "t.csv", STAGE)
    assert record["without"] == {"there.csv": hashlib.sha256(b"of another run").hexdigest(), "absent.csv": None}
    assert changes_since(record, C, [source, folder], set()) == []
    (folder / "dem.tif.aux.xml").touch()  # what GDAL leaves beside a raster is no new layer
    assert changes_since(record, C, [source, folder], set()) == []
    (folder / "roads.gpkg").touch()
    assert changes_since(record, C, [source, folder], set()) == ["other files in raw"]


def test_what_was_made_without_a_file_that_came_since_is_refused(root, source):
    absent = root / "absent.csv"
    write_csv(root / "t.csv", pd.DataFrame({"a": [1]}), STAGE, C, [source], [absent])
    assert check(root / "t.csv", STAGE, C)["without"] == {"absent.csv": None}
    absent.write_text("there now")
    with pytest.raises(InputError, match=rf"t\.csv: was made without the absent\.csv that .* now; run {STAGE} again"):
        check(root / "t.csv", STAGE, C)


def test_changed_artifact(made):
    made.write_bytes(made.read_bytes() + b" ")
    for read in (check, read_npz, read_csv):
        with pytest.raises(InputError, match=r"^out/isle_thing\.npz: is not the file its record describes; run"):
            read(made, STAGE, C)


def test_changed_input(made, source):
    source.write_text("a\n2\n")
    with pytest.raises(InputError, match=r"was made from another src_data/in\.csv than is there now; run maker\.py ag"):
        check(made, STAGE, C)
    source.unlink()  # an artifact can be used where its inputs are not
    check(made, STAGE, C)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}"])
def test_record_that_is_none(made, text):
    record_path(made).write_text(text)
    with pytest.raises(InputError, match=r"^out/isle_thing\.npz\.json: not a record of an artifact; run maker\.py"):
        check(made, STAGE, C)


def test_differences(made, source):
    record = read_record(made, STAGE)
    assert changes_since(record, C, [source], set()) == []
    assert changes_since(record, but(K=65, SEED=5), [source], {"K"}) == ["SEED = 4, now 5"]
    assert changes_since(record, but(NEW=1), [source], set()) == ["NEW = None, now 1"]
    source.write_text("a\n2\n")
    assert changes_since(record, but(WEIGHTS=(0.3, 0.7)), [source], set()) == ["another src_data/in.csv"]
    assert changes_since(record, but(K=65, SEED=5), [source], set()) == [
        "SEED = 4, now 5", "another src_data/in.csv", "K = 64, now 65"]


@pytest.fixture
def two(root, source):
    """Two artifacts of one stage, and one of a later stage that was made from the first."""
    paths = [root / "out" / f"isle_{name}.csv" for name in ("first", "second", "later")]
    table = pd.DataFrame({"a": [1]})
    for path in paths[:2]:
        write_csv(path, table, STAGE, C, [source])
    write_csv(paths[2], table, "later.py", C, [paths[0]])
    return paths


def write_again(path: Path, **values) -> None:
    write_csv(path, pd.DataFrame({"a": [1, 2]}), STAGE, but(**values), [])


@pytest.mark.parametrize("first", [0, 2], ids=["itself", "by what was made from it"])
def test_files_of_two_runs_of_a_stage_are_refused(two, first):
    """A run with other constants was killed between its two files: the record of each is right."""
    write_again(two[1], K=24, WEIGHTS=[0.5])
    check(two[first], STAGE, C)
    with pytest.raises(InputError) as caught:
        check(two[1], STAGE, C)
    assert str(caught.value) == ("out/isle_first.csv and out/isle_second.csv are of two runs of maker.py (K = 64, now "
                                 "24; WEIGHTS = [0.3, 0.7], now [0.5]); run maker.py again")
    write_again(two[0], K=24, WEIGHTS=[0.5])
    check(two[1], STAGE, C)


def test_files_of_one_stage_made_from_other_inputs_are_of_two_runs(two, source):
    check(two[0], STAGE, C)
    record = json.loads(record_path(two[1]).read_text())
    source.unlink()  # which tells no longer which of them is right
    record_path(two[1]).write_text(json.dumps(record | {"inputs": {"src_data/in.csv": "0"}}))
    with pytest.raises(InputError, match=r"are of two runs of maker\.py \(another src_data/in\.csv\); run maker"):
        check(two[1], STAGE, C)


def test_a_file_whose_stage_was_stopped_is_of_another_run_than_the_next_file(two, monkeypatch):
    """The record of the first is new, the file is still the old one, which the later stage was made from."""
    replace = Path.replace
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda self, to: replace(self, to) if to.suffix == ".json" else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_again(two[0], K=24)
    write_again(two[1], K=24)
    check(two[2], "later.py", C)
    with pytest.raises(InputError, match=r"are of two runs of maker\.py \(it was stopped\); run maker\.py again"):
        check(two[1], STAGE, C)


def test_files_of_other_stages_roots_and_makers_may_have_other_constants(two, tmp_path_factory, monkeypatch):
    def found(path, stage):
        return check(path, stage, C)["constants"]["K"]

    assert found(two[0], STAGE) == 64
    write_csv(two[1], pd.DataFrame({"a": [1]}), "another.py", but(K=24), [])
    assert found(two[1], "another.py") == 24
    for k in (64, 24):
        path = two[0].with_name(f"isle_{k}.csv")
        write_csv(path, pd.DataFrame({"a": [1]}), "augment_inventory.py", but(K=k), [])
        assert found(path, "augment_inventory.py") == k
    monkeypatch.setenv("LSM_ROOT", str(tmp_path_factory.mktemp("other")))
    write_again(Path(os.environ["LSM_ROOT"]) / "isle_first.csv", K=24)
    assert found(Path(os.environ["LSM_ROOT"]) / "isle_first.csv", STAGE) == 24


@pytest.mark.parametrize(("values", "refused"), [
    ({"stage": ["x"]}, False), ({"region": {}}, False), ({"inputs": {"/": "x"}}, False),
    ({"constants": {"REGION": 1, "K": 64, "WEIGHTS": [0.3, 0.7]}}, False), ({"inputs": {"src_data/in.csv": []}}, True)])
def test_a_foreign_record_beside_another_is_no_traceback(two, source, values, refused):
    source.unlink()
    record = json.loads(record_path(two[1]).read_text())
    record_path(two[1]).write_text(json.dumps(record | values))
    no_region = SimpleNamespace(SEED=4)
    for path, raises in ((two[0], False), (two[1], refused), (two[0], False)):
        with pytest.raises(InputError, match="are of two runs of") if raises else contextlib.nullcontext():
            check(path, STAGE, no_region)


# bytes ----------------------------------------------------------------------------------------------------------

def test_same_arrays_same_bytes(root, monkeypatch):
    arrays = {"b": np.arange(12, dtype=np.float32).reshape(3, 4), "a": np.array("text"), "c": np.array(True)}
    first, second = root / "1" / "x.npz", root / "2" / "x.npz"
    write_npz(first, arrays, STAGE, C, [])
    with monkeypatch.context() as patch:
        patch.setattr("time.time", lambda: 2e9)  # the clock leaves no mark
        write_npz(second, arrays, STAGE, C, [])
    assert first.read_bytes() == second.read_bytes()
    assert record_path(first).read_bytes() == record_path(second).read_bytes()
    found = read_npz(first, STAGE, C)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_csv_keeps_float32_exact(root):
    values = np.random.default_rng(0).random(1000, np.float32)
    path = root / "x.csv"
    write_csv(path, pd.DataFrame({"v": values, "n": np.arange(1000)}), STAGE, C, [])
    table = read_csv(path, STAGE, C)
    np.testing.assert_array_equal(table.v.to_numpy(np.float32), values)
    np.testing.assert_array_equal(table.n, np.arange(1000))
    assert b"\r" not in path.read_bytes()


def test_arrays_are_written_as_numpy_does_from_memory_or_from_a_file_and_read_in_place(root):
    arrays = {"words": np.array(["a", "bc"]), "one": np.array("text"), "none": np.empty((0, 3)),
              "many": np.random.default_rng(0).random((40, 3, 2), np.float32), "odd": np.ones(3, np.int8),
              "by_columns": np.asfortranarray(np.arange(6.0).reshape(2, 3))}
    np.save(root / "many.npy", arrays["many"])
    np.savez(root / "numpy.npz", **arrays)
    for name, some in (("memory", arrays), ("file", arrays | {"many": root / "many.npy"})):
        path = root / f"{name}.npz"
        write_npz(path, some, STAGE, C, [])
        assert path.read_bytes() == (root / "numpy.npz").read_bytes()
    found = map_npz(path, STAGE, C)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    assert isinstance(found["many"], np.memmap)
    assert str(found["one"]) == "text"


def test_npz_holds_no_objects(root):
    path = root / "x.npz"
    with artifacts.artifact(path, STAGE, C, []) as temporary, open(temporary, "wb") as file:
        np.savez(file, a=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_npz(path, STAGE, C)


def test_the_seed_of_inputs_is_their_own_wherever_their_tables_lie(root):
    for stage, folder in (("prepare_region.py", "src_data"), ("augment_inventory.py", "tmp"), (STAGE, "tmp")):
        path = root / folder / "isle_table.csv"
        write_csv(path, pd.DataFrame({"a": [1]}), stage, C, [])
        if stage == STAGE:
            with pytest.raises(InputError, match="expected seed 5, found 4"):
                read_csv(path, stage, but(SEED=5))
        else:
            assert len(read_csv(path, stage, but(SEED=5, RECIPE="recommended"))) == 1
