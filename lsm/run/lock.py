"""One run at a time in a region: two stages that write the same files at once leave a mixture of both."""

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lsm.run.paths import root


@contextlib.contextmanager
def only_run(region: str) -> Iterator[str]:
    """Holds the region of this LSM_ROOT while the block runs. Yields "", or who holds it, and then nothing is held.

    The lock is the system's own (flock on a file in its temporary folder): it ends with the process, however that ends.
    """
    name = hashlib.sha256(f"{root()}\n{region}".encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"meta-lsm-{os.getuid()}-{name}.lock"
    with open(path, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            yield file.read().strip() or "another process"
            return
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield ""
