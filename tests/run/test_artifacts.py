import hashlib
import json
import os
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lsm.run import artifacts
from lsm.run.artifacts import (
    check,
    differences,
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
        "stage": STAGE, "region": "isle", "recipe": "published", "seed": 4,
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
    ({"RECIPE": "recommended"}, "expected recipe recommended, found published; run maker.py RECIPE=recommended again")])
def test_of_another_region_or_recipe(made, other, expected):
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
    with pytest.raises(InputError, match=r"expected further all, found none; run maker\.py FURTHER=all again$"):
        check(made, STAGE, but(FURTHER="all"))


def test_other_constants_are_the_stages_own_matter(made):
    assert check(made, STAGE, but(SEED=5, K=3))["constants"]["K"] == C.K


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
    assert differences(record, C, [source], set()) == []
    assert differences(record, but(K=65, SEED=5), [source], {"K"}) == ["SEED = 4, now 5"]
    assert differences(record, but(NEW=1), [source], set()) == ["NEW = None, now 1"]
    source.write_text("a\n2\n")
    assert differences(record, but(WEIGHTS=(0.3, 0.7)), [source], set()) == ["another src_data/in.csv"]


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


def test_npz_holds_no_objects(root):
    path = root / "x.npz"
    np.savez(path, a=np.array([{}], dtype=object))
    artifacts.write_record(path, STAGE, C, [])
    with pytest.raises(ValueError, match="allow_pickle"):
        read_npz(path, STAGE, C)
