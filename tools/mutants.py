"""Mutation testing: does any test notice when one operator, constant, condition or call of a module is changed?

Places are drawn at random from all places of the module. Not among them: docstrings, annotations, messages, and
`strict=`, which only looks at what always holds. Each mutant lies in a copy of the project; the given tests run on it
until the first fails. A mutant that no test notices survives: a test is missing, or the change changes nothing. A run
that takes ten times as long as without a mutant, and 20 s, counts as noticed.

Reads   the project
Writes  a temporary folder, removed at the end
Run     python tools/mutants.py MODULE TESTS ... [NAME=value ...]
        MODULE   lsm/learner/maml.py
        TESTS    files of tests, as pytest takes them
        COUNT    mutants
        SEED     of the draw
        LINES    97-140: only places on these lines of the module; "": on all
        EXPR     only tests that pytest -k selects by it; "": all
"""

import ast
import importlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
OPERATORS = {ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"),
             ast.FloorDiv: ("//", "*"), ast.Mod: ("%", "*"), ast.Pow: ("**", "*"), ast.BitAnd: ("&", "|"),
             ast.BitOr: ("|", "&"), ast.BitXor: ("^", "&"), ast.LShift: ("<<", ">>"), ast.RShift: (">>", "<<"),
             ast.MatMult: ("@", "*"), ast.And: ("and", "or"), ast.Or: ("or", "and"),
             ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"),
             ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.In: ("in", "not in"), ast.NotIn: ("not in", "in"),
             ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is")}
LIBRARIES = ("numba", "osgeo.gdal", "pandas", "pytest", "scipy.optimize", "sklearn.cluster", "tensorflow")


@dataclass(frozen=True, order=True)
class Place:
    """Bytes start .. end of a module's source and what stands there in the mutant."""

    start: int
    end: int
    new: bytes


def places(source: bytes) -> list[Place]:
    """Every place of a module that can be changed, in order."""
    first = [0]
    for line in source.splitlines(keepends=True):
        first.append(first[-1] + len(line))

    def span(node: ast.AST) -> tuple[int, int]:
        return (first[node.lineno - 1] + node.col_offset, first[node.end_lineno - 1] + node.end_col_offset)

    def text(node: ast.AST) -> bytes:
        return source[slice(*span(node))]

    def between(before: ast.AST, after: ast.AST, operator: ast.AST) -> Place:
        (_, start), (end, _) = span(before), span(after)
        old, new = (part.encode() for part in OPERATORS[type(operator)])
        return Place(start, end, source[start:end].replace(old, new, 1))

    tree, found = ast.parse(source), set()
    imported = {(alias.asname or alias.name).partition(".")[0] for node in ast.walk(tree)
                if isinstance(node, (ast.Import, ast.ImportFrom)) for alias in node.names}
    for node in _walk(tree):
        match node:
            case ast.BinOp(left=left, right=right, op=op):
                found.add(between(left, right, op))
            case ast.BoolOp(values=[one, other, *_], op=op):
                found.add(between(one, other, op))
            case ast.Compare(left=left, comparators=[right, *_], ops=[op, *_]):
                found.add(between(left, right, op))
            case ast.UnaryOp(op=ast.Not() | ast.Invert() | ast.USub(), operand=operand):
                found.add(Place(*span(node), b"(" + text(operand) + b")"))
            case ast.Constant(value=bool() | int() | float() as value):
                new = not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else 2 * value + 1
                found.add(Place(*span(node), repr(new).encode()))
            case ast.Call(func=ast.Attribute(value=of), args=[_], keywords=[]) if not (
                    isinstance(of, ast.Name) and of.id in imported):
                found.add(Place(*span(node), text(of)))  # of.method(argument) -> of
            case ast.Call(args=[argument], keywords=[]) if not isinstance(argument, (ast.GeneratorExp, ast.Starred)):
                found.add(Place(*span(node), b"(" + text(argument) + b")"))  # function(argument) -> argument
            case ast.Call(args=args, keywords=[*others, last]) if last.arg not in (None, "strict") and args + others:
                found.add(Place(max(span(one)[1] for one in args + others), span(last)[1], b""))
        if isinstance(node, (ast.If, ast.IfExp, ast.While)):
            found.add(Place(*span(node.test), b"(not (" + text(node.test) + b"))"))
    return sorted(found)


def _walk(node: ast.AST):
    """The nodes below a node, without nodes that no test could or should notice."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns") or isinstance(node, (ast.Raise, ast.JoinedStr)):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not (isinstance(child, ast.keyword) and child.arg == "strict"):
                yield child
                yield from _walk(child)


def tested(folder: Path, tests: list[str], longest: float) -> bool:
    """Whether the tests pass on the project in `folder`, within `longest` seconds."""
    child = os.fork()  # has imported the libraries already, which may take longer than the tests
    if not child:
        code = 1
        try:
            os.setsid()
            os.chdir(folder)
            os.environ["PYTHONPATH"] = sys.path[0] = str(folder)
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
            code = int(importlib.import_module("pytest").main(["-n", "0", "-x", "-p", "no:cacheprovider", *tests]))
        finally:
            os._exit(code)
    end = time.monotonic() + longest
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status == 0
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return False
        time.sleep(0.05)


def main(arguments: list[str]) -> None:
    """Reads the arguments, draws the places, runs the tests on each mutant; prints each and the counts."""
    given = {"COUNT": "20", "SEED": "1", "LINES": "", "EXPR": ""}
    given |= dict(argument.split("=", 1) for argument in arguments if argument.partition("=")[0] in given)
    module, *tests = [a for a in arguments if a.partition("=")[0] not in given] or [""]
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return
    if not tests or not (PROJECT / module).is_file():
        sys.exit(__doc__)
    for name in LIBRARIES:
        importlib.import_module(name)
    source = (PROJECT / module).read_bytes()
    first, _, last = (given["LINES"] or f"1-{source.count(10)}").partition("-")
    of_lines = [place for place in places(source)
                if int(first) <= source.count(b"\n", 0, place.start) + 1 <= int(last or first)]
    drawn = sorted(random.Random(int(given["SEED"])).sample(of_lines, min(int(given["COUNT"]), len(of_lines))))
    folder = Path(tempfile.mkdtemp(prefix="mutants-"))
    survived = 0
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, check=True).stdout
        for name in listed.decode().split("\0")[:-1]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT / name, folder / name)
        tests += ["-k", given["EXPR"]] if given["EXPR"] else []
        start = time.monotonic()
        if not tested(folder, tests, float("inf")):
            sys.exit(f"{' '.join(tests)}: the tests fail without a mutant")
        longest = 20 + 10 * (time.monotonic() - start)
        for place in drawn:
            (folder / module).write_bytes(source[:place.start] + place.new + source[place.end:])
            killed = not tested(folder, tests, longest)
            survived += not killed
            print(f"{'killed  ' if killed else 'SURVIVED'} {module}:{source.count(10, 0, place.start) + 1}: "
                  f"{source[place.start:place.end].decode()!r} -> {place.new.decode()!r}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{module}: {len(drawn)} of {len(of_lines)} places, {len(drawn) - survived} killed, {survived} survived")


if __name__ == "__main__":
    main(sys.argv[1:])
