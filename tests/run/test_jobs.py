"""Work side by side: its order, and that processes are started as asked."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lsm.run.jobs import side_by_side
from lsm.run.paths import PROJECT


def start(factor: int) -> None:
    global _FACTOR
    _FACTOR = factor


def work(item: int) -> tuple[int, int]:
    return _FACTOR * item, os.getpid()


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items(workers):
    results, processes = zip(*side_by_side(list(range(7)), work, workers, start, (3,)), strict=True)
    assert list(results) == [0, 3, 6, 9, 12, 15, 18]
    assert (set(processes) == {os.getpid()}) == (workers == 1)


def say_and_wait(folder: str) -> None:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(300)


def nothing() -> None:
    """Starts a process that needs nothing."""


SCRIPT = """
from dataclasses import dataclass

from test_jobs import nothing, say_and_wait

from lsm.run.jobs import side_by_side
from lsm.run.settings import run


@dataclass(frozen=True)
class Constants:
    REGION: str = "demo"
    SEED: int = 1


if __name__ == "__main__":
    run(lambda c: list(side_by_side([{folder!r}] * 2, say_and_wait, 2, nothing, ())), Constants, makes_region=True)
"""


@pytest.mark.parametrize("ended", [signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_the_one_that_started_them(tmp_path, ended):
    """Killed alone it says nothing; Ctrl-C reaches all processes, and one speaks, in one line."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(folder=str(tmp_path)))
    env = os.environ | {"LSM_ROOT": str(tmp_path),
                        "PYTHONPATH": os.pathsep.join([str(PROJECT), str(Path(__file__).parent)])}
    # Ctrl-C is heeded although the tests may run in a shell's background, where it is ignored.
    parent = subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE, text=True, start_new_session=True,
                              preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), env=env)
    try:
        while len(pids := [int(path.name) for path in tmp_path.iterdir() if path.name.isdigit()]) < 2:
            assert parent.poll() is None
            time.sleep(0.05)
        (os.killpg if ended == signal.SIGINT else os.kill)(parent.pid, ended)
        said = parent.communicate(timeout=60)[1]
    finally:
        parent.kill()
    last = time.monotonic() + 30
    while (alive := [pid for pid in pids if Path(f"/proc/{pid}").exists()]) and time.monotonic() < last:
        time.sleep(0.05)
    assert not alive
    if ended == signal.SIGINT:
        assert parent.returncode == -signal.SIGINT
        assert said == f"{script}: stopped; run the same command again: what is finished is not done again\n"
