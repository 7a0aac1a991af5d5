"""Files written whole: to a temporary file beside the target, renamed at the end; and why writing failed.

A library that meets a full disk often raises no OSError, or one without a file's name. `told` turns such errors into
an OSError that has both, so that `settings.run` can say in one line what happened and what helps.
"""

import contextlib
import errno
import glob
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

PROBE = 1 << 20  # bytes: a disk that takes no more than these is full
WORDS = {os.strerror(code): code for code in (errno.ENOSPC, errno.EFBIG, errno.EROFS, errno.EDQUOT, errno.EIO)}


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, this process's own; renamed to it when the block ends well, removed when not.

    For files without a record: figures, notes, results of single jobs. Artifacts use `artifacts.artifact`. Raises
    OSError with the file's name where it cannot be written.
    """
    with temporary_file(path) as temporary:
        with told(path):  # its own, so that what is lost is known before the rename
            yield temporary
        to_disk(temporary)
        temporary.replace(path)


@contextlib.contextmanager
def temporary_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, this process's own, removed at the end; those of killed runs are removed too."""
    path = Path(path)
    temporary = path.with_name(f".partial.{os.getpid()}.{path.name}")
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".partial.*.{glob.escape(path.name)}"):
            if not _alive(left.name.split(".")[2]):
                left.unlink(missing_ok=True)
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def work_folder(path: Path) -> Iterator[Path]:
    """An empty folder for layers on the way, removed at the end. Raises OSError with its name where it is not to be
    written to."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        with told(path):
            yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Gives an error of the block that comes from the disk of `path` its number and the name of `path`.

    Python prints and forgets an error that is raised while an object is freed, such as a dataset of GDAL whose last
    bytes the disk refuses. Here it counts like any other: the file would not be whole.
    """
    lost, before = [], sys.unraisablehook
    sys.unraisablehook = lambda left: (lost.append(left.exc_value) if isinstance(left.exc_value, RuntimeError)
                                       else before(left))
    try:
        yield
        if lost:
            raise lost[0]
    except OSError as error:
        if not error.errno or (error.filename and not Path(error.filename).name.startswith(".partial.")):
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    except RuntimeError as error:  # of GDAL
        code = next((code for words, code in WORDS.items() if words in str(error)), 0) or _refuses(path)
        if not code:
            raise
        raise OSError(code, os.strerror(code), str(path)) from error
    finally:
        sys.unraisablehook = before


def _refuses(path: Path) -> int:
    """The number of the error with which the disk of `path` refuses PROBE bytes now; 0 where it takes them."""
    probe = (path if path.is_dir() else path.parent) / f".partial.{os.getpid()}.probe"
    try:
        with open(probe, "wb") as file:
            file.write(bytes(PROBE))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno or errno.EIO
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    return 0


def to_disk(path: Path) -> None:
    """A rename is safe from a power cut only when the file's bytes are on the disk before it."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _alive(process: str) -> bool:
    """Whether a process of this number runs on this machine."""
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
