"""Work that runs side by side, a process a core: in order, or as fits that each leave a file a later run finds."""

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lsm.run.writing import whole


@dataclass(frozen=True)
class Job:
    """One method on one split, where its scores lie and, where it predicts the grid too, its maps; made_of says what
    both depend on."""

    protocol: str
    seed: int
    with_dv: bool
    family: str
    path: Path
    made_of: str
    maps: Path | None = None

    @property
    def done(self) -> bool:
        """Whether all its files are there, made of the same inputs and constants."""
        return all(_made_of(path) == self.made_of for path in (self.path, self.maps) if path)


def _made_of(path: Path) -> str:
    if not path.is_file():
        return ""
    with np.load(path, allow_pickle=False) as file:
        return str(file["made_of"])


def keep(path: Path, made_of: str, arrays: dict[str, np.ndarray], save: Callable = np.savez) -> None:
    """Writes the arrays of a job; save is np.savez or np.savez_compressed."""
    with whole(path) as temporary, open(temporary, "wb") as file:
        save(file, made_of=np.array(made_of), **arrays)


@contextlib.contextmanager
def one_thread_each():
    """Processes started meanwhile run their numerical libraries on one thread."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before


def side_by_side(items: list, work: Callable, workers: int, start: Callable, arguments: tuple) -> Iterator:
    """work(item) of every item, in their order, in as many processes as `workers`, or as cores where it is 0; each
    process calls start(*arguments) first. Of one worker in this process."""
    workers = min(workers or os.cpu_count(), max(1, len(items)))
    if workers == 1:
        start(*arguments)
        yield from map(work, items)
        return
    with one_thread_each(), ProcessPoolExecutor(workers, get_context("spawn"), start, arguments) as pool:
        yield from pool.map(work, items)


def run_jobs(jobs: list[Job], work: Callable, workers: int, start: Callable, arguments: tuple) -> None:
    """Runs work(job) for those not there yet, in as many processes as `workers`, or as cores where it is 0; each
    process calls start(*arguments) first."""
    todo = [job for job in jobs if not job.done]
    if len(jobs) > len(todo):
        print(f"{len(jobs) - len(todo)} of {len(jobs)} results are there already")
    workers = min(workers or os.cpu_count(), max(1, len(todo)))
    with (one_thread_each(), ProcessPoolExecutor(workers, get_context("spawn"), start, arguments) as pool,
          tqdm(total=len(todo), desc="comparison", unit="fit", disable=None, smoothing=0.02) as bar):
        for done in as_completed([pool.submit(work, job) for job in todo]):
            done.result()
            bar.update()
