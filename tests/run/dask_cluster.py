"""A real Dask cluster on this machine, as people start one: a scheduler and workers, each a process of its own."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from lsm.run.paths import PROJECT
from lsm.run.settings import InputError

HERE = Path(__file__).parent


@contextlib.contextmanager
def cluster(folder: Path, workers: int = 2) -> Iterator[str]:
    """The scheduler's file; a free port, no pages, no nannies, so that a worker that is killed stays dead. All end with
    the block."""
    file, started = folder / "scheduler.json", []

    def start(*command: str) -> None:
        with open(folder / "log.txt", "a") as log:
            started.append(subprocess.Popen(
                [sys.executable, "-m", "dask", *command, "--no-dashboard", "--scheduler-file", str(file)], cwd=folder,
                stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT), str(HERE)])}))

    try:
        start("scheduler", "--port", "0", "--host", "127.0.0.1")
        for _ in range(workers):
            start("worker", "--nthreads", "1", "--no-nanny", "--host", "127.0.0.1",
                  "--local-directory", str(folder))
        for _ in range(600):
            if file.exists():
                break
            assert started[0].poll() is None, (folder / "log.txt").read_text()
            time.sleep(0.1)
        yield str(file)
    finally:
        for process in started[::-1]:
            process.kill()
            process.wait()


# what the workers run: they import this module -------------------------------------------------------------------

def start(factor: int) -> None:
    global _FACTOR
    _FACTOR = factor


def work(item: int) -> tuple[int, int, str]:
    if item < 0:
        raise InputError(f"item {item}: expected 0 or more")
    return _FACTOR * item, os.getpid(), os.environ["LSM_ROOT"]


def die(item: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def map_and_die_once(window):
    """As predict_LSM.map_window; the first worker that comes to the third row of windows is killed by it."""
    import predict_LSM

    marker = Path(os.environ["LSM_ROOT"]) / "killed"
    if window[0] >= 32:
        try:
            marker.touch(exist_ok=False)
        except FileExistsError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    return predict_LSM.map_window(window)
