"""What a result depends on: digests of files and of the code that a script runs, itself and all modules it imports;
constants of other stages. And numba's compiling."""

import ast
import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

from lsm.run.paths import PROJECT, root
from lsm.run.settings import of_stage

FREE = ("REGION", "RECIPE", "SEED", "FURTHER", "SAVE_EVERY")  # constants that `with_constants_of` leaves out
OF_STAGE = " OF "  # between a constant and its stage, in the names of `with_constants_of`
OWN = ("lsm", "unsupervised_pretraining")  # packages of this project; study_area holds constants, which records have


def sha256(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    state = os.stat(path)
    return _sha256(str(path), state.st_mtime_ns, state.st_size, state.st_ino)


@lru_cache(10_000)
def _sha256(path: str, *state: int) -> str:
    """As `sha256`; one run reads an unchanged file once, however many artifacts were made from it."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def state_of(path: Path) -> str | None:
    """The sha256 of a file; of the names, without suffixes, in a folder; None where there is neither."""
    if path.is_dir():
        names = sorted({p.name.partition(".")[0] for p in path.iterdir()} - {""})  # "": hidden files
        return hashlib.sha256("\n".join(names).encode()).hexdigest()
    return sha256(path) if path.is_file() else None


def come_since(record: dict) -> list[str]:
    """The optional files, by name, that a run had to do without by its record, and that came or changed since."""
    return [name for name, state in record.get("without", {}).items() if state_of(root() / name) not in (None, state)]


def with_constants_of(scripts: Sequence[str], c):
    """The constants `c` of a stage for its record and, beside them, those of the stages that it does the work of, by
    both recipes, as "ADAPT_STEPS OF META_LEARNER.PY, RECOMMENDED"; `c` itself where there are no such stages."""
    more = {f"{name}{OF_STAGE}{script.upper()}, {recipe.upper()}": value
            for script in scripts for recipe in ("recommended", "published")
            for name, value in vars(of_stage(script, REGION=c.REGION, RECIPE=recipe)).items() if name not in FREE}
    return SimpleNamespace(**vars(c), factors=c.factors, **more) if more else c


def compiled(function: Callable) -> Callable:
    """The function compiled by numba; the compiled code is kept for the next run where its folder can be written.

    Kept code that cannot be read, as after a power cut, is compiled anew. On a full disk nothing is kept.
    """
    from numba import njit  # here: most stages compile nothing
    from numba.core.caching import FunctionCache

    class Kept(FunctionCache):
        """As numba keeps compiled code by cache=True, which stops with a traceback in both cases."""

        def load_overload(self, *of):
            try:
                return super().load_overload(*of)
            except Exception:  # a damaged pickle raises any
                with contextlib.suppress(OSError):
                    self.flush()
                return None

        def save_overload(self, *of):
            with contextlib.suppress(OSError):
                super().save_overload(*of)

    out = njit(nogil=True)(function)
    with contextlib.suppress(RuntimeError):  # neither __pycache__ nor the user's own cache folder can be written
        out._cache = Kept(function)
    return out


@lru_cache
def code_of(script: str) -> str:
    """The digest (hexadecimal) of the code of `script`, a path from the project's folder; "" where there is none.

    Comments, docstrings and the layout of lines do not count.
    """
    todo, seen = [PROJECT / script], {}
    while todo:
        path = todo.pop()
        if path in seen or not path.is_file():
            continue
        tree = ast.parse(path.read_bytes())
        todo += _imported(tree)
        seen[path] = ast.dump(_without_docstrings(tree))
    if not seen:
        return ""
    digest = hashlib.sha256()
    for path in sorted(seen):
        digest.update(f"{os.path.relpath(path, PROJECT)}\n{seen[path]}\n".encode())
    return digest.hexdigest()


def _imported(tree: ast.AST) -> list[Path]:
    """Files of this project that a module's imports may mean; not all exist: `from a import b` may be a name in a."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [PROJECT / f"{name.replace('.', '/')}.py" for name in names if name.split(".")[0] in OWN]


def _without_docstrings(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return tree
