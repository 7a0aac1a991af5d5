"""The fits of a comparison, side by side; each leaves a file that a later run finds."""

from collections.abc import Callable
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lsm.run.jobs import Cluster, cores, processes
from lsm.run.progress import Progress
from lsm.run.settings import InputError
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


def run_jobs(jobs: list[Job], work: Callable, workers: int, start: Callable, arguments: tuple,
             cluster: Cluster | None = None) -> None:
    """Runs work(job) for those not there yet, in as many processes as `workers`, or as cores where it is 0; each
    process calls start(*arguments) first. Where there is a cluster, its workers do it instead. Raises what work raises;
    those begun meanwhile are done to their end, and no others."""
    todo = [job for job in jobs if not job.done]
    if len(jobs) > len(todo):
        print(f"{len(jobs) - len(todo)} of {len(jobs)} results are there already")
    with Progress(total=len(todo), desc="comparison", unit="fit") as bar:
        if cluster:
            for _ in cluster.each(todo, work, start, arguments, len(todo) + 1):
                bar.update()
            return
        with processes(min(workers or cores(), max(1, len(todo))), start, arguments) as pool:
            try:
                for done in as_completed([pool.submit(work, job) for job in todo]):
                    done.result()
                    bar.update()
            except InputError:
                pool.shutdown(cancel_futures=True)
                raise
