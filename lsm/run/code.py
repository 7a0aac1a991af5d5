"""The code of this project: the digest of what a script runs, itself and all modules it imports; numba's compiling."""

import ast
import hashlib
from collections.abc import Callable
from functools import lru_cache
from os.path import relpath
from pathlib import Path

from lsm.run.paths import PROJECT

OWN = ("lsm", "unsupervised_pretraining")  # packages of this project; study_area holds constants, which records have


def compiled(function: Callable) -> Callable:
    """The function compiled by numba; the compiled code is kept for the next run where its folder can be written."""
    from numba import njit  # here: most stages compile nothing

    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # neither __pycache__ nor the user's own cache folder can be written
        return njit(nogil=True)(function)


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
        digest.update(f"{relpath(path, PROJECT)}\n{seen[path]}\n".encode())
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
