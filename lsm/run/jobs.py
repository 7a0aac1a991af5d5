"""Work that runs side by side, and comes back in order.

A process a core does it here. Where DASK_SCHEDULER names a scheduler, the workers of that Dask cluster do it, with the
same code, the same libraries and the same folder of data: they give the same bytes.
"""

import contextlib
import importlib
import json
import logging
import os
import platform
import signal
import sys
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from importlib.metadata import version
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Protocol

from lsm.run.artifacts import LIBRARIES
from lsm.run.code import code_of
from lsm.run.paths import PROJECT, root
from lsm.run.settings import InputError
from lsm.run.writing import work_folder

REACH = 10     # seconds in which a scheduler must answer
PATIENCE = 60  # seconds in which a cluster must have a worker, at the start and after its last one died


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()  # only Linux tells


@contextlib.contextmanager
def processes(number: int, start: Callable, arguments: tuple) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes of one thread, each of which calls start(*arguments) first."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        with ProcessPoolExecutor(number, get_context("spawn"), _start_below, (start, arguments)) as pool:
            yield pool
    finally:
        del os.environ["OMP_NUM_THREADS"]
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before


def _start_below(start: Callable, arguments: tuple) -> None:
    """start(*arguments), in a process that ends when its parent process has ended, killed for instance; Ctrl-C ends
    both, and the parent says so."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # as in a shell's background
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def watch() -> None:
        parent_process().join()
        os._exit(1)

    Thread(target=watch, daemon=True).start()
    start(*arguments)


def side_by_side(items: list, work: Callable, workers: int, start: Callable, arguments: tuple,
                 cluster: "Cluster | None" = None) -> Iterator:
    """work(item) of every item, in their order, in as many processes as `workers`, or as cores where it is 0; each
    process calls start(*arguments) first. With one worker: in this process. Where there is a cluster, its workers do it
    instead."""
    if cluster:
        yield from cluster.each(items, work, start, arguments)
        return
    workers = min(workers or cores(), max(1, len(items)))
    if workers == 1:
        start(*arguments)
        yield from map(work, items)
        return
    with processes(workers, start, arguments) as pool:
        yield from pool.map(work, items)


# a cluster --------------------------------------------------------------------------------------------------------

class Cluster:
    """The workers of a Dask scheduler; `cluster_of` connects to them.

    name      as people gave it, for messages
    expected  what `_found` must give on every worker; beside it "at", the path of the probe, and "script", the stage
    """

    def __init__(self, client, name: str, folder: Path, expected: dict[str, str]):
        self.client, self.name, self.folder, self.expected, self.calls = client, name, folder, expected, 0

    @property
    def workers(self) -> int:
        """How many there are now."""
        return len(self.client.nthreads())

    def each(self, items: Iterable, work: Callable, start: Callable, arguments: tuple, ahead: int = 0) -> Iterator:
        """work(item) of every item, in their order; each worker calls start(*arguments) first.

        work, start  functions of a module
        ahead        items that are given to the cluster before the first result is used; 0: two a worker
        A worker that dies is no loss: another one does its items again. Raises what work raises, and InputError where
        an item ends one worker after another, where the scheduler is lost or where no worker is left.
        """
        from distributed.protocol.pickle import dumps

        self.calls += 1
        setup = self.folder / f"{self.calls}.pickle"
        setup.write_bytes(dumps((_module_of(work), _module_of(start), dumps(arguments), self.expected, str(root()))))
        waiting = deque()
        with self._told():
            for item in items:
                waiting.append(self.client.submit(_on_worker, str(setup), self.client.id, item, pure=False))
                while len(waiting) >= (ahead or 2 * max(1, self.workers)):
                    yield self._result(waiting.popleft())
            while waiting:
                yield self._result(waiting.popleft())
        setup.unlink()

    def _result(self, future):
        while True:
            try:
                return future.result(PATIENCE)
            except TimeoutError:
                if future.done():
                    raise
                if not self.workers:
                    raise InputError(f"DASK_SCHEDULER={self.name}: expected workers, found that the last one is gone; "
                                     "start others (dask worker), and run this again") from None

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """One line for what happens to a cluster."""
        from distributed import KilledWorker
        from distributed.comm import CommClosedError

        try:
            yield
        except KilledWorker:
            raise InputError(f"DASK_SCHEDULER={self.name}: a part of this run ended one worker after another, most "
                             "likely for want of memory; start fewer workers a machine, and run this again") from None
        except (CancelledError, CommClosedError):
            raise InputError(f"DASK_SCHEDULER={self.name}: the scheduler is gone; start it and its workers, and run "
                             "this again") from None


class ClusterConstants(Protocol):
    """The constants of a stage that can work on a cluster."""

    REGION: str
    DASK_SCHEDULER: str


@contextlib.contextmanager
def cluster_of(c: ClusterConstants) -> Iterator[Cluster | None]:
    """The cluster that c.DASK_SCHEDULER names while the block runs; None where it is "".

    Raises InputError where no scheduler answers, where it has no workers, or where one of
    them has several threads, other libraries or code, or does not see LSM_ROOT.
    """
    if not c.DASK_SCHEDULER:
        yield None
        return
    from distributed import Client

    for library in ("distributed", "distributed.client", "asyncio"):  # what they would tell is told in one line
        logging.getLogger(library).setLevel(logging.CRITICAL)
    name = f"DASK_SCHEDULER={c.DASK_SCHEDULER}"
    script = str(Path(sys.modules[type(c).__module__].__file__).resolve().relative_to(PROJECT))
    try:
        client = Client(_address(c.DASK_SCHEDULER), timeout=REACH, set_as_default=False)
    except (OSError, ValueError):  # no answer; no address
        raise InputError(f"{name}: expected a Dask scheduler, found none that answers; start it (dask scheduler), or "
                         "leave DASK_SCHEDULER empty to run here") from None
    with client, work_folder(root() / "tmp" / f".{c.REGION}_cluster") as folder:
        probe = folder / "probe"
        probe.write_text(client.id)
        expected = _found(probe, script)
        try:
            client.wait_for_workers(1, PATIENCE)
        except TimeoutError:
            raise InputError(f"{name}: expected workers, found none; start some (dask worker, with --nthreads "
                             "1)") from None
        for worker, threads in client.nthreads().items():
            if threads > 1:
                raise InputError(f"{name}: worker {worker}: expected one thread, found {threads}; start it with "
                                 "--nthreads 1, and more workers instead")
        packages = client.get_versions()["scheduler"]["packages"]
        _refuse_other(packages, {w: expected[w] for w in ("dask", "distributed")}, f"{name}: its scheduler")
        for worker, found in client.run(_found, probe, script, on_error="return").items():
            _refuse_other(found, expected, f"{name}: worker {worker}")
        yield Cluster(client, c.DASK_SCHEDULER, folder, {"at": str(probe), "script": script} | expected)


def _address(scheduler: str) -> str:
    """The address of a scheduler, out of its file where `scheduler` is a path."""
    if "://" in scheduler:
        return scheduler
    try:
        return str(json.loads(Path(scheduler).read_text(encoding="utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"DASK_SCHEDULER={scheduler}: expected an address like tcp://host:8786, or the file that dask "
                         "scheduler --scheduler-file wrote, found neither") from None


def _module_of(function: Callable) -> tuple[str, str]:
    """The module and the name by which a worker finds a function; a stage that runs is a module there."""
    module = function.__module__
    return Path(sys.modules[module].__file__).stem if module == "__main__" else module, function.__name__


def _found(probe: Path, script: str) -> dict[str, str]:
    """What must be the same for all workers: what the probe in LSM_ROOT holds, the code of the stage, the libraries."""
    libraries = ("dask", "distributed", "numba", *LIBRARIES)
    return {"probe": probe.read_text() if probe.is_file() else "", "code": code_of(script) + code_of("study_area.py"),
            "python": platform.python_version()} | {library: version(library) for library in libraries}


def _refuse_other(found, expected: dict[str, str], where: str) -> None:
    """Raises InputError where `found`, of a worker, or the error that came instead, is not what is expected."""
    if isinstance(found, Exception):
        raise InputError(f"{where}: expected that it can import this project, found {type(found).__name__}: {found}; "
                         "start it in the environment of this run, with PYTHONPATH set to the project's folder")
    for what, value in expected.items():
        if (other := found[what]) == value:
            continue
        if what == "probe":
            raise InputError(f"{where}: expected that it sees {root()}, found that it does not; keep LSM_ROOT in a "
                             "folder that all machines share under one name")
        if what == "code":
            raise InputError(f"{where}: expected the code of this project, found other code; start it again, with "
                             "PYTHONPATH set to this project's folder")
        raise InputError(f"{where}: expected {what} {value}, found {other}; install the same versions for all (make "
                         "setup LOCKED=1)")


def _on_worker(setup: str, run: str, item):
    """In a worker: does one item as the file `setup` of `Cluster.each` says."""
    return _work_of(setup, run)(item)


@lru_cache(1)
def _work_of(setup: str, run: str) -> Callable:
    """In a worker: its function, once it is ready for it. A worker may have joined after the others were looked at.

    run  another one has other files of the same names
    """
    from distributed.protocol.pickle import loads

    (module, work), (of_start, start), packed, expected, data = loads(Path(setup).read_bytes())
    os.environ["LSM_ROOT"] = data
    probe, script = Path(expected.pop("at")), expected.pop("script")
    _refuse_other(_found(probe, script), expected, "a worker that came later")
    sys.path.insert(0, str((PROJECT / script).parent))
    getattr(importlib.import_module(of_start), start)(*loads(packed))
    return getattr(importlib.import_module(module), work)
