"""Files written whole, and by one run at a time; and why writing failed.

A file is written to a temporary one beside the target, which is renamed at the end. A library that meets a full disk
often raises no OSError, or one without a file's name. `told` turns such errors into an OSError that has both, so that
`settings.run` can say in one line what happened and what helps. Two runs in a region, or with the files of stage 1,
which all regions share, would leave a mixture of both: the second one is refused, or waits.
"""

import contextlib
import errno
import fcntl
import glob
import hashlib
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO

import pandas as pd

from lsm.run.paths import root

EIGHT_DIGITS = 10_000_000  # m
PROBE = 1 << 20  # bytes: a disk that takes no more than these is full
WORDS = {os.strerror(code): code for code in (errno.ENOSPC, errno.EFBIG, errno.EROFS, errno.EDQUOT, errno.EIO)}
NO_LOCKS = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # of a folder
STAGE_1 = "/stage 1"  # no region's name has a slash
HELD = "LSM_STAGE_1_HELD"  # the environment variable that says that this process, or one that started it, holds them


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, this process's own; renamed to it when the block ends well, removed when not.

    For files without a record: figures, notes, results of single jobs. Artifacts use `artifacts.artifact`. Raises
    OSError with the file's name where it cannot be written.
    """
    with temporary_file(path) as temporary:
        with told(path):  # here too, to raise before the rename: temporary_file raises after it
            yield temporary
        to_disk(temporary)
        temporary.replace(path)


@contextlib.contextmanager
def temporary_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, this process's own, removed at the end; what killed runs left is removed too."""
    path = Path(path)
    temporary = path.with_name(f".partial.{os.getpid()}.{path.name}")
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        here = f".partial.*.{glob.escape(path.name)}"
        for left in [*path.parent.glob(here), *path.parent.glob(f"{here}-*")]:  # SQLite's journal, of a GeoPackage
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


def write_table(table: pd.DataFrame, out, **options) -> None:
    """Writes a table as csv to `out`, a path or an open file, floats to 9 digits, which keeps float32 exact; options
    of `DataFrame.to_csv`. X and Y of EIGHT_DIGITS before the point, as where a CRS puts its zone before the easting,
    are written to mm: 9 digits would be 0.1 m."""
    places = table[table.columns.intersection(["X", "Y"])].select_dtypes("float")
    far = places.columns[places.abs().max() >= EIGHT_DIGITS]
    table = table.assign(**{name: table[name].map("{:.12g}".format, na_action="ignore") for name in far})
    table.to_csv(out, index=False, float_format="%.9g", **options)


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


# one run at a time ----------------------------------------------------------------------------------------------

@contextlib.contextmanager
def only_run(region: str) -> Iterator[str]:
    """Holds the region of this LSM_ROOT while the block runs. Yields "", or who holds it, and then nothing is held.

    The lock is the system's own (flock on a file in tmp/): it ends with the process, however that ends.
    """
    new = [folder for folder in (root() / "tmp", root()) if not folder.exists()]
    file, holder = _locked(region)
    with file:
        try:
            yield holder
        finally:
            if not holder:
                _give_back(file)
            for folder in new:  # a stage that was refused leaves nothing behind
                with contextlib.suppress(OSError):
                    folder.rmdir()


@contextlib.contextmanager
def stage_1_files() -> Iterator[None]:
    """Holds the files of stage 1 of this LSM_ROOT while the block runs, in stages that it starts too; first waits until
    nobody else does, and says for whom. They bear no region in their names: another region's run replaces them.

    A stage that it starts with close_fds=False holds them to its own end, also where this process is killed before.
    """
    if HELD in os.environ:
        yield
        return
    file, holder = _locked(STAGE_1)
    if holder:
        print(f"waiting for {holder}, which works with unsupervised_pretraining/model_init/", flush=True)
    while holder:
        fcntl.flock(file, fcntl.LOCK_EX)  # waits
        file.close()
        file, holder = _locked(STAGE_1)  # the run before has removed its file, and another run may have made a new file
    with file:
        os.environ[HELD] = "yes"
        os.set_inheritable(file.fileno(), True)
        try:
            yield
        finally:
            del os.environ[HELD]
            _give_back(file)


def _locked(what: str) -> tuple[IO, str]:
    """The open file of the lock on a region or STAGE_1, and "" if this process holds it now, or else who does.

    It lies in tmp/, beside the files that it guards. Where that folder takes no lock, it lies in the system's temporary
    folder, and a line says so.
    """
    folder = root() / "tmp"
    try:
        return _locked_in(folder, what)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        _say_elsewhere(folder, os.strerror(error.errno), tempfile.gettempdir())
        return _locked_in(Path(tempfile.gettempdir()), f"{os.getuid()} {root()} {what}")


@lru_cache
def _say_elsewhere(folder: Path, why: str, instead: str) -> None:
    """Says, once a run, that a lock lies elsewhere."""
    print(f"{folder}: no lock can be held there ({why}); it is held in {instead}, where only runs with the same TMPDIR "
          "see it: start no other run with these files", flush=True)


def _locked_in(folder: Path, what: str) -> tuple[IO, str]:
    path = folder / f".{hashlib.sha256(what.encode()).hexdigest()[:16]}.lock"
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("a+", encoding="utf-8")  # whoever asked closes it
        except FileNotFoundError:  # another run, which had made the folder, has just removed it
            continue
        with contextlib.suppress(OSError):
            os.chmod(path, 0o666)  # another user of this folder must be able to ask too
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            return file, file.read().strip() or "another process"
        except OSError:
            file.close()
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                with contextlib.suppress(OSError):  # of a full disk: the lock holds without a name too
                    os.ftruncate(file.fileno(), 0)
                    os.write(file.fileno(), f"process {os.getpid()}".encode())
                return file, ""
        file.close()  # who held it removed the file between open and flock


def _give_back(file: IO) -> None:
    """Removes the file of a lock while this process still holds it, so that none is left behind."""
    with contextlib.suppress(OSError):
        os.unlink(file.name)


def close_files_of(error: BaseException | None) -> None:
    """Closes the files of the frames that an error passed through, without a word: what GDAL could not write it cannot
    close either, and Python would print that after the message."""
    before, sys.unraisablehook = sys.unraisablehook, lambda _: None
    while error:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    sys.unraisablehook = before
