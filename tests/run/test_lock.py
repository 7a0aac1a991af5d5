import subprocess
import sys

import pytest

from lsm.run.lock import only_run
from lsm.run.paths import PROJECT

HOLD = ("import sys; from lsm.run.lock import only_run\n"
        "with only_run('isle') as holder: print(holder or 'held', flush=True); sys.stdin.read()")


@pytest.fixture
def other(tmp_path, monkeypatch):
    """Another process that holds the region isle of this LSM_ROOT."""
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    monkeypatch.chdir(PROJECT)
    process = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_the_second_run_is_told_who_is_at_work(other):
    with only_run("isle") as holder:
        assert holder == f"process {other.pid}"


def test_other_regions_and_other_roots_are_free(other, tmp_path, monkeypatch):
    with only_run("coast") as holder:
        assert holder == ""
    monkeypatch.setenv("LSM_ROOT", str(tmp_path / "elsewhere"))
    with only_run("isle") as holder:
        assert holder == ""


def test_a_killed_run_holds_nothing(other):
    other.kill()
    other.wait()
    with only_run("isle") as holder:
        assert holder == ""


def test_a_stage_that_finds_another_at_work_writes_nothing(other, tmp_path):
    done = subprocess.run([sys.executable, "scene_sampling.py", "REGION=isle"], text=True, capture_output=True)
    assert done.returncode == 2
    assert done.stderr.count("REGION=isle: expected no other run in") == 1
    assert f"process {other.pid} at work; wait for it, or set LSM_ROOT" in done.stderr
    assert list(tmp_path.iterdir()) == []
