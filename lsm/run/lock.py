"""One run at a time in a region, and with the files of stage 1, which all regions share: two stages that write the same
files at once leave a mixture of both."""

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lsm.run.paths import root

HELD = "LSM_STAGE_1_HELD"  # the environment variable that says that this process, or one that started it, holds them


@contextlib.contextmanager
def only_run(region: str) -> Iterator[str]:
    """Holds the region of this LSM_ROOT while the block runs. Yields "", or who holds it, and then nothing is held.

    The lock is the system's own (flock on a file in its temporary folder): it ends with the process, however that ends.
    """
    with open(_file_of(region), "a+", encoding="utf-8") as file:
        holder = _hold(file)
        yield holder


@contextlib.contextmanager
def stage_1_files() -> Iterator[None]:
    """Holds the files of stage 1 of this LSM_ROOT while the block runs, in stages that it starts too; first waits until
    nobody else does, and says for whom. They bear no region in their names: another region's run replaces them."""
    if HELD in os.environ:
        yield
        return
    with open(_file_of("/stage 1"), "a+", encoding="utf-8") as file:  # no region's name has a slash
        if holder := _hold(file):
            print(f"waiting for {holder}, which works with unsupervised_pretraining/model_init/", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
            _hold(file)
        os.environ[HELD] = "yes"
        try:
            yield
        finally:
            del os.environ[HELD]


def _file_of(what: str) -> Path:
    name = hashlib.sha256(f"{root()}\n{what}".encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"meta-lsm-{os.getuid()}-{name}.lock"


def _hold(file) -> str:
    """Locks an open file and writes this process into it; "", or who has locked it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        return file.read().strip() or "another process"
    file.truncate(0)
    file.write(f"process {os.getpid()}")
    file.flush()
    return ""
