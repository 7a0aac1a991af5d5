"""The Makefile, with a command that stands for Python."""

import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lsm.run.paths import PROJECT

TABLES = ("samples_HK.csv", "samples_HK_noTS.csv", "Ts_HK.csv", "composite.tif", "grid_samples_HK.csv")


def make(*arguments: str, cwd: Path = PROJECT, **environment: str) -> subprocess.CompletedProcess:
    """A call of make, outside of the one that may run these tests."""
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(["make", *arguments], cwd=cwd, text=True, capture_output=True, env=alone | environment)


@pytest.fixture
def folder(tmp_path):
    """What HK_DATA holds, in small."""
    folder = tmp_path / "the data"
    folder.mkdir()
    for name in TABLES:
        data = f"{name} as published\n".encode()
        if name.startswith("grid"):
            (folder / f"{name}.gz").write_bytes(gzip.compress(data))
        else:
            (folder / name).write_bytes(data)
    return folder


def test_a_project_and_a_root_in_folders_with_blanks(tmp_path):
    """One stage and `make status` in a copy of the project, with files of another folder."""
    project, root = tmp_path / "my project", tmp_path / "my files"
    shutil.copytree(PROJECT, project, ignore=lambda folder, names: {"__pycache__"} & set(names) | (
        set(names) - {*(name for name in names if name.endswith(".py")), "Makefile", "lsm", "tools", "src_data",
                      "unsupervised_pretraining"} if folder == str(PROJECT) else set()))
    environment = {**os.environ, "LSM_ROOT": str(root), "PYTHONPATH": str(project)}
    size = ("ROWS=60", "COLS=80", "INVENTORY=300", "ABSENCE=330", "INSAR=80")
    subprocess.run([sys.executable, "src_data/make_demo.py", *size], cwd=project, env=environment, check=True,
                   capture_output=True)
    done = make("status", f"PY={sys.executable}", *size, cwd=project, LSM_ROOT=str(root), PYTHONPATH="")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"commands need LSM_ROOT='{root}' before them" in done.stdout
    assert "  src_data/make_demo.py: up to date\n      src_data/demo/composite.tif\n" in done.stdout
    assert "  scene_sampling.py: not made\n" in done.stdout


def taken(root) -> dict[str, str]:
    return {path.name: path.read_text() for path in (root / "src_data").rglob("*") if path.is_file()}


def test_hk_takes_tables_by_their_contents_and_not_by_clocks(tmp_path, folder):
    root = tmp_path / "a root"
    asked = ("hk", "PY=true", f"HK_DATA={folder}")
    done = make(*asked, LSM_ROOT=str(root))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert taken(root) == {name: f"{name} as published\n" for name in TABLES}
    times = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert make(*asked, LSM_ROOT=str(root)).stdout == ""
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == times  # nothing is copied twice
    (folder / "Ts_HK.csv").write_text("other points\n")
    (folder / "grid_samples_HK.csv.gz").write_bytes(gzip.compress(b"another grid\n"))
    for name in ("Ts_HK.csv", "grid_samples_HK.csv.gz"):
        os.utime(folder / name, (1, 1))  # older than what was taken
    said = make(*asked, LSM_ROOT=str(root)).stdout.splitlines()
    assert said == [f"make hk: {root}/src_data/{name} is another one than in HK_DATA; replaced"
                    for name in ("Ts_HK.csv", "grid_samples_HK.csv")]
    assert taken(root)["Ts_HK.csv"] == "other points\n"
    assert taken(root)["grid_samples_HK.csv"] == "another grid\n"


@pytest.mark.parametrize(("lost", "said"), [
    (True, "make hk: {}/grid_samples_HK.csv.gz is missing: HK_DATA=<folder of the Hong Kong tables>"),
    (False, "not in gzip format")])
def test_hk_leaves_what_is_there_where_a_table_cannot_be_taken(tmp_path, folder, lost, said):
    asked = ("hk", "PY=true", f"HK_DATA={folder}")
    assert make(*asked, LSM_ROOT=str(tmp_path)).returncode == 0
    before, grid = taken(tmp_path), folder / "grid_samples_HK.csv.gz"
    grid.write_bytes(b"broken")
    if lost:
        grid.unlink()
    done = make(*asked, LSM_ROOT=str(tmp_path))
    assert done.returncode == 2
    assert said.format(folder) in done.stderr
    assert taken(tmp_path) == before
