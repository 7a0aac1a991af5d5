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

HERE = Path(__file__).parent


@contextlib.contextmanager
def cluster(folder: Path, workers: int = 2, *options: str) -> Iterator[tuple[str, list[int]]]:
    """The scheduler's file and the workers' process numbers; a free port, no pages, no nannies, so that a worker that
    is killed stays dead. All end with the block."""
    file, started = folder / "scheduler.json", []

    def start(*command: str) -> None:
        with open(folder / "log.txt", "a") as log:
            started.append(subprocess.Popen(
                [sys.executable, "-m", "dask", *command, "--no-dashboard", "--scheduler-file", str(file)], cwd=folder,
                stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT), str(HERE)])}))

    try:
        start("scheduler", "--port", "0", "--host", "127.0.0.1")
        for _ in range(workers):
            start("worker", "--nthreads", "1", "--no-nanny", "--host", "127.0.0.1", "--local-directory", str(folder),
                  *options)
        for _ in range(600):
            if file.exists():
                break
            assert started[0].poll() is None, (folder / "log.txt").read_text()
            time.sleep(0.1)
        yield str(file), [process.pid for process in started[1:]]
    finally:
        for process in started[::-1]:
            process.send_signal(signal.SIGKILL)
            process.wait()
