"""Fits side by side, in processes of their own."""

import pytest

from lsm.comparison.fit_jobs import Job, keep, run_jobs
from lsm.run.settings import InputError


def ready() -> None:
    """What a process does first."""


def fit(job: Job) -> None:
    """In a process: the first fit is refused, the others leave their file."""
    if job.seed == 0:
        raise InputError("DBN: refused")
    keep(job.path, job.made_of, {})


def test_a_fit_that_is_refused_ends_the_comparison_before_the_others_are_done(tmp_path):
    jobs = [Job("published", seed, True, "dbn", tmp_path / f"{seed}.npz", "made") for seed in range(30)]
    with pytest.raises(InputError, match=r"^DBN: refused$"):
        run_jobs(jobs, fit, 1, ready, ())
    assert not jobs[-1].path.exists()
    jobs = jobs[1:3]
    run_jobs(jobs, fit, 1, ready, ())
    assert all(job.path.is_file() for job in jobs)
