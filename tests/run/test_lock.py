import ast
import errno
import fcntl
import os
import subprocess
import sys

import pytest

from lsm.run import pipeline
from lsm.run.paths import PROJECT
from lsm.run.writing import HELD, STAGE_1, _locked, only_run, stage_1_files

HOLD = ("import sys; from lsm.run.writing import only_run\n"
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


def test_another_region_waits_for_the_files_of_stage_1(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    take = ("from lsm.run.writing import stage_1_files\n"
            "with stage_1_files(): print('held', flush=True)")
    with stage_1_files():
        done = subprocess.run([sys.executable, "-c", take], cwd=PROJECT, text=True, capture_output=True)
        assert done.stdout == "held\n"  # of a process that the holder starts
        foreign = {name: value for name, value in os.environ.items() if name != HELD}
        other = subprocess.Popen([sys.executable, "-c", take], cwd=PROJECT, text=True, env=foreign,
                                 stdout=subprocess.PIPE)
        assert other.stdout.readline() == (f"waiting for process {os.getpid()}, which works with "
                                           "unsupervised_pretraining/model_init/\n")
        assert other.poll() is None
    assert other.communicate()[0] == "held\n"


def test_a_stage_holds_the_files_of_stage_1_when_what_started_it_was_killed(tmp_path, monkeypatch):
    """As `kill -9` of tools/pipeline.py alone leaves it."""
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    stage = tmp_path / "stage"  # says that it is there, and runs until its input ends
    stage.write_text("#!/bin/sh\necho runs\nexec cat\n")
    stage.chmod(0o755)
    start = (f"import sys; sys.path.insert(0, 'tools'); import pipeline; sys.executable = {str(stage)!r}\n"
             "with pipeline.stage_1_files(): pipeline.run('scene_sampling.py', 'isle', [])")
    make = subprocess.Popen([sys.executable, "-c", start], cwd=PROJECT, text=True, stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE)
    assert make.stdout.readline().startswith("-- python scene_sampling.py")
    assert make.stdout.readline() == "runs\n"
    make.kill()
    make.wait()
    file, holder = _locked(STAGE_1)
    file.close()
    assert holder == f"process {make.pid}"
    make.stdin.close()
    assert make.stdout.read() == ""  # until the stage has ended
    with stage_1_files():
        pass


def test_no_file_stays_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path / "new"))

    def fails() -> None:
        with only_run("isle"), stage_1_files():
            assert len(list((tmp_path / "new" / "tmp").glob(".*.lock"))) == 2
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert list(tmp_path.iterdir()) == []


def test_folders_that_were_there_stay(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    (tmp_path / "tmp").mkdir()
    with only_run("isle") as holder:
        assert holder == ""
    assert list(tmp_path.rglob("*")) == [tmp_path / "tmp"]


def test_runs_with_other_temporary_folders_see_each_other(other, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "other"))
    with only_run("isle") as holder:
        assert holder == f"process {other.pid}"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EROFS])
def test_where_the_folder_takes_no_lock_it_lies_in_the_temporary_one_and_a_line_says_so(number, tmp_path, monkeypatch,
                                                                                        capsys):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path / "isle"))
    temporary, real = tmp_path / "temporary", fcntl.flock
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))

    def flock(file, how):
        if file.name.startswith(str(tmp_path / "isle")):
            raise OSError(number, os.strerror(number))
        return real(file, how)

    monkeypatch.setattr("fcntl.flock", flock)
    with only_run("isle") as first, stage_1_files(), only_run("isle") as second:
        assert (first, second) == ("", f"process {os.getpid()}")
        assert len(list(temporary.glob(".*.lock"))) == 2
    assert list(temporary.iterdir()) == []
    line, = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{tmp_path / 'isle' / 'tmp'}: no lock can be held there ({os.strerror(number)}); "
                           f"it is held in {temporary}")


def test_a_disk_that_refuses_the_lock_otherwise_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    (tmp_path / "tmp").write_text("a file")
    with pytest.raises(FileExistsError), only_run("isle"):
        pass


def test_many_that_wait_at_once_hold_the_files_one_after_the_other(tmp_path):
    """Each adds a line when it has them and one when it gives them back; no two may mix, though files come and go."""
    turn = ("import time; from lsm.run.writing import stage_1_files\n"
            "for _ in range(20):\n"
            "    with stage_1_files(), open('turns', 'a') as file:\n"
            "        file.write('in '); file.flush(); time.sleep(1e-3); file.write('out '); file.flush()")
    others = dict(os.environ, LSM_ROOT=str(tmp_path), TMPDIR=str(tmp_path), PYTHONPATH=str(PROJECT))
    runs = [subprocess.Popen([sys.executable, "-c", turn], cwd=tmp_path, env=others, stdout=subprocess.DEVNULL)
            for _ in range(4)]
    assert [run.wait() for run in runs] == [0] * 4
    assert (tmp_path / "turns").read_text() == "in out " * 80


@pytest.mark.parametrize("script", [pipeline.PRETRAIN, pipeline.LEARN])
def test_a_stage_holds_the_files_of_stage_1_while_it_runs(script):
    main, = (node for node in ast.parse((PROJECT / script).read_text()).body
             if isinstance(node, ast.FunctionDef) and node.name == "main")
    assert [ast.unparse(decorator) for decorator in main.decorator_list] == ["stage_1_files()"]


def test_a_stage_that_finds_another_at_work_writes_nothing(other, tmp_path):
    done = subprocess.run([sys.executable, "scene_sampling.py", "REGION=isle"], text=True, capture_output=True)
    assert done.returncode == 2
    assert done.stderr.count("REGION=isle: expected no other run of this region in") == 1
    assert f"process {other.pid} at work; wait for it, or set LSM_ROOT" in done.stderr
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".lock"]  # of the other
