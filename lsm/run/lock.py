"""One run at a time in a region, and with the files of stage 1, which all regions share: two stages that write the same
files at once leave a mixture of both."""

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from lsm.run.paths import root

HELD = "LSM_STAGE_1_HELD"  # the environment variable that says that this process, or one that started it, holds them


@contextlib.contextmanager
def only_run(region: str) -> Iterator[str]:
    """Holds the region of this LSM_ROOT while the block runs. Yields "", or who holds it, and then nothing is held.

    The lock is the system's own (flock on a file in its temporary folder): it ends with the process, however that ends.
    """
    file, holder = _locked(_file_of(region))
    with file:
        try:
            yield holder
        finally:
            if not holder:
                _give_back(file)


@contextlib.contextmanager
def stage_1_files() -> Iterator[None]:
    """Holds the files of stage 1 of this LSM_ROOT while the block runs, in stages that it starts too; first waits until
    nobody else does, and says for whom. They bear no region in their names: another region's run replaces them."""
    if HELD in os.environ:
        yield
        return
    path = _file_of("/stage 1")  # no region's name has a slash
    file, holder = _locked(path)
    if holder:
        print(f"waiting for {holder}, which works with unsupervised_pretraining/model_init/", flush=True)
    while holder:
        fcntl.flock(file, fcntl.LOCK_EX)  # waits
        file.close()
        file, holder = _locked(path)  # the one before has removed its file, and another may have made a new one
    with file:
        os.environ[HELD] = "yes"
        try:
            yield
        finally:
            del os.environ[HELD]
            _give_back(file)


def _file_of(what: str) -> Path:
    name = hashlib.sha256(f"{root()}\n{what}".encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"meta-lsm-{os.getuid()}-{name}.lock"


def _locked(path: Path) -> tuple[IO, str]:
    """The open file of a lock, and "" if this process holds it now, or else who does."""
    while True:
        file = path.open("a+", encoding="utf-8")  # whoever asked closes it
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            return file, file.read().strip() or "another process"
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                file.truncate(0)
                file.write(f"process {os.getpid()}")
                file.flush()
                return file, ""
        file.close()  # who held it removed the file between open and flock


def _give_back(file: IO) -> None:
    """Removes the file of a lock while this process still holds it, so that none is left behind."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(file.name)
