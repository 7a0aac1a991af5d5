"""Constants of a script: a dataclass in its constants block, overridden by NAME=value, resolved for the recipe."""

import ast
import difflib
import errno
import inspect
import os
import re
import shlex
import signal
import sys
import textwrap
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, fields
from functools import lru_cache
from time import perf_counter
from typing import TypeVar

from lsm.run.paths import PROJECT, other_project, python, regions, root, shown
from lsm.run.writing import close_files_of, only_run

LONGEST = 300  # characters of an error message
SHORT = 200    # characters of the differences between two runs in a message
MOST = 1e15               # of a number that a person gives, and of a whole one: libraries count in 32 bits
MOST_WHOLE = 2**31 - 1


class InputError(Exception):
    """Input that cannot be used. The message is one line: file, place, expected, found, what to do."""

    def __init__(self, message: str):
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """`text` with its control characters escaped (an input may hold any) and its middle left out where it is long:
    the beginning names the file, the end the remedy."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST // 2]} ... {text[-LONGEST // 2 + 5:]}"


def in_short(found: list[str]) -> str:
    """The first of these differences, one or as many as SHORT characters hold, and how many more there are."""
    some = next(n for n in range(len(found), 0, -1) if n == 1 or len("; ".join(found[:n])) <= SHORT)
    return one_line("; ".join(found[:some])) + f"; and {len(found) - some} more" * (some < len(found))


def counted(n: int, what: str) -> str:
    """A number and what it counts, as people say it: "1 block", "2,000 blocks"."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


RECIPES = ("published", "recommended")  # what RECIPE in study_area.py may be
Constants = TypeVar("Constants")        # the dataclass of a stage


class ByRecipe:
    """A constant with one value for each recipe: `ByRecipe(published=8, recommended=16)`."""

    def __init__(self, **values):
        self.values = values

    def __repr__(self):
        return " | ".join(f"{value!r} ({recipe})" for recipe, value in self.values.items())


def defaults(cls: type) -> dict:
    """The constants of a stage by name, as its constants block has them."""
    return {field.name: field.default for field in fields(cls)}


def constants(cls: type[Constants], arguments: list[str]) -> Constants:
    """The constants of a stage for one run.

    cls        the stage's dataclass of constants
    arguments  "NAME=value" each; the value is a Python literal of the default's type, or, of texts, words with commas
    Returns an instance; ByRecipe constants have the value of RECIPE. Raises InputError for what is none of these.
    """
    values = defaults(cls)
    kinds = {field.name: field.type for field in fields(cls)}
    values |= {name: _parse(name, text, values[name], kinds[name]) for name, text in by_name(arguments, values).items()}
    recipe = values.get("RECIPE")
    if "RECIPE" in values and recipe not in RECIPES:
        raise InputError(f"RECIPE={recipe}: expected one of {', '.join(RECIPES)}")
    if values.get("REGION") == "":
        raise InputError("REGION=: expected the name of a region, found none")
    if not 0 <= values.get("SEED", 0) < 2**32:
        raise InputError(f"SEED={values['SEED']}: expected 0 or more, and less than {2**32}")
    return cls(**{name: value.values[recipe] if isinstance(value, ByRecipe) else value
                  for name, value in values.items()})


def by_name(arguments: list[str], known: Iterable[str]) -> dict[str, str]:
    """The text of each NAME=value by NAME; the last counts. Raises InputError for a name that is not in `known`, or
    another form, with the constant that was most likely meant."""
    for i, argument in enumerate(arguments):
        name, equals, text = argument.partition("=")
        if name == "RECIPE" and name not in known:
            raise InputError(f"argument {argument!r}: expected a constant of this script, which has no RECIPE; leave "
                             "it out")
        if not equals or name not in known or text.startswith("="):
            raise InputError(f"argument {argument!r}: expected NAME=value with the name of a constant"
                             + _meant(arguments[i:], known))
    return dict(argument.split("=", 1) for argument in arguments)


def _meant(arguments: list[str], known: Iterable[str]) -> str:
    """What the first of `arguments` was most likely meant to be: k=256, --K=256, --k 256, K == 256 mean K=256."""
    name, text = re.fullmatch(r"-*(\w*)[\s=:]*(.*)", arguments[0], re.DOTALL).groups()
    following = (word.lstrip("=") for word in arguments[1:3])
    text = text or next((word for word in following if word and "=" not in word), "")
    near = nearest_name(name, known)
    if not near:
        return "; --help of each script lists its constants"
    return f"; did you mean {shlex.quote(f'{near}={text}') if text else f'{near}=<value>'}?"


def nearest_name(name: str, known: Iterable[str]) -> str:
    """The name in `known` with the nearest spelling, whatever its case; "" where none is near."""
    spelt = {one.upper(): one for one in known}
    return next((spelt[near] for near in difflib.get_close_matches(name.upper(), spelt, n=1)), "")


def explained(cls: type) -> str:
    """The constants of a stage with their comments, as the blocks of study_area.py and of the stage have them."""
    text = ""
    for block in reversed(cls.__mro__[:-1]):
        _, _, body = inspect.getsource(block).split('"""', 2)
        text += textwrap.dedent(body.partition("\n    @")[0]).strip("\n") + "\n\n"
    return text.strip("\n")


def of_stage(script: str, **values):
    """The constants that `script`, a path from the project's folder, would run with, some set to other values.

    A stage owns its constants; another stage that must do the same asks here.
    """
    return constants(constants_class(script), [f"{name}={value}" for name, value in values.items()])


@lru_cache
def constants_class(script: str) -> type:
    """The dataclass of constants of `script`, a path from the project's folder.

    Only its constants block is run, with what study_area.py has: a stage's imports take seconds.
    """
    path = PROJECT / script
    block = [node for node in ast.parse(path.read_bytes()).body if (isinstance(node, ast.ClassDef)
             and node.name == "Constants") or (isinstance(node, ast.ImportFrom) and node.module == "study_area")]
    names = {"dataclass": dataclass, "ByRecipe": ByRecipe, "__name__": "constants"}
    exec(compile(ast.Module(block, []), str(path), "exec"), names)
    return names["Constants"]


def check_of_stage(script: str, c) -> None:
    """Raises InputError for constants c that `script` itself would refuse: then a run of many stages can refuse them
    before the first. What a stage runs with by default is not looked at."""
    default = constants(type(c), [f"{name}={getattr(c, name)}" for name in ("REGION", "RECIPE") if hasattr(c, name)])
    if c != default and (check := _check_of(script)):
        check(c)


@lru_cache
def _check_of(script: str) -> Callable | None:
    """The function of a stage that checks its constants, with the imports that it uses: all of them take seconds."""
    body, called = ast.parse((PROJECT / script).read_bytes()).body, ("check_constants", "checked")
    check = next((node for node in body if isinstance(node, ast.FunctionDef) and node.name in called), None)
    if check is None:
        return None
    check.args.args[0].annotation = None  # the dataclass is not imported
    used, names = {node.id for node in ast.walk(check) if isinstance(node, ast.Name)}, {}
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            node.names = [alias for alias in node.names if (alias.asname or alias.name) in used]
    needed = [node for node in body if node is check or getattr(node, "names", [])]
    exec(compile(ast.Module(needed, []), str(PROJECT / script), "exec"), names)
    return names[check.name]


def at_least(c, **least: float) -> None:
    """Raises InputError for a constant of c that is less than the value given here for its name."""
    for name, value in least.items():
        if getattr(c, name) < value:
            raise InputError(f"{name}={getattr(c, name)}: expected {value} or more")


_YES_OR_NO = {**dict.fromkeys(("yes", "y", "true", "1", "on"), True),
              **dict.fromkeys(("no", "n", "false", "0", "off", "none", ""), False)}


def _parse(name: str, text: str, default, kind: type):
    """`text` as a value of the type of `default` (of any recipe's value, for a ByRecipe)."""
    examples = tuple(default.values.values()) if isinstance(default, ByRecipe) else (default,)
    if isinstance(examples[0], str):
        return text
    if kind == tuple[str, ...] and text.strip(", ") and not set(text) & set("[](){}'\""):  # words, no Python
        return tuple(word.strip() for word in text.split(",") if word.strip())
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):  # the last two of brackets within brackets
        value = text
    if isinstance(examples[0], bool) and not isinstance(value, bool):
        word = _YES_OR_NO.get(text.lower())
        raise InputError(f"{name}={text}: expected True or False"
                         + f"; did you mean {name}={word}?" * (word is not None))
    if not _same_type(value, examples[0]):
        raise InputError(f"{name}={text}: expected a value like {examples[0]!r} ({type(examples[0]).__name__})")
    most = MOST_WHOLE if isinstance(examples[0], int) and name != "SEED" else MOST
    if not all(abs(number) <= most for number in _numbers(value)):  # nan compares with nothing
        raise InputError(f"{name}={text}: expected {-most:,.0f} to {most:,.0f}; correct it")
    return float(value) if isinstance(examples[0], float) else value


def _same_type(value, example) -> bool:
    """Same type, and tuples of the same kind of things, in any number; a whole number may stand for a float in one."""
    if isinstance(example, tuple) and example:
        return type(value) is tuple and all(any(_same_type(v, e) for e in example) for v in value)
    return type(value) is type(example) or (type(value), type(example)) == (int, float)


def _numbers(value) -> list:
    """The numbers in a constant, also those within tuples."""
    if isinstance(value, tuple):
        return [number for part in value for number in _numbers(part)]
    return [value] if isinstance(value, int | float) else []


_REMEDIES = {
    errno.ENOSPC: "free space on this disk, or set LSM_ROOT to a folder on another one",
    errno.EDQUOT: "free space, or set LSM_ROOT to a folder on another disk: this user's share of this one is used up",
    errno.EFBIG: "files may not grow so large here (ulimit -f, or the file system): raise that, or set LSM_ROOT to "
                 "a folder on another disk",
    **dict.fromkeys((errno.EACCES, errno.EPERM), "allow this user to read and write it, or set LSM_ROOT to another "
                                                 "folder"),
    errno.EPIPE: "the program that reads these lines (head?) has ended; run this again without it",
    errno.EROFS: "set LSM_ROOT to a folder that can be written",
    errno.EISDIR: "a file is expected in this place; move the folder away",
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "a folder is expected in this place; move the file away"),
    errno.ENAMETOOLONG: "choose a shorter REGION or folder"}
_OTHER = "check the disk and the folder, then run this again"
_NO_MEMORY = "not enough memory; close other programs, or lower the constants that limit it (--help lists them)"


def _stop(message: str) -> None:
    """Ends the program as for every input that cannot be used: one line, exit code 2."""
    print(f"{sys.argv[0]}: {message}", file=sys.stderr)
    sys.exit(2)


def check_region(region: str) -> None:
    """Refuses a region of which there are no inputs where other regions have some. Raises InputError.

    Where no region has any the folder may hold results alone, and a stage says itself what it lacks.
    """
    there = regions()
    if not there or region in there:
        return
    how = {"demo": f"{python()} src_data/make_demo.py makes them", "HK": "make hk HK_DATA=<folder> copies them"}.get(
        region, f"{python()} prepare_region.py REGION={region} RAW=<folder> makes them (docs/new_region.md)")
    near = nearest_name(region, there)
    raise InputError(f"REGION={region}: expected inputs in {root() / 'src_data'}, found inputs of {', '.join(there)}; "
                     + f"did you mean REGION={near}? If not, " * bool(near) + how)


def run(main: Callable[[Constants], None], cls: type[Constants], makes_region: bool = False) -> None:
    """Runs a stage's main(constants): help on request, one clear line and exit code 2 on unusable input.

    makes_region  whether the stage makes the inputs of a region, which must be there for any other stage
    """
    arguments, start = sys.argv[1:], perf_counter()
    if {"-h", "--help"} & set(arguments):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # --help | head
        print(f"{sys.modules[cls.__module__].__doc__.strip()}\n\nConstants, each can be overridden as NAME=value:\n")
        print(explained(cls))
        return
    try:
        if other := other_project(sys.argv[0]):
            raise InputError(f"{sys.argv[0]}: expected the lsm/ of its own project, found {PROJECT}/lsm, installed "
                             f"for this Python; begin the command with PYTHONPATH={shlex.quote(str(other))}")
        c = constants(cls, arguments)
        with only_run(c.REGION) as holder:
            if holder:
                raise InputError(f"REGION={c.REGION}: expected no other run of this region in {root()}, found {holder} "
                                 "at work; wait for it, or set LSM_ROOT to another folder")
            if not makes_region:
                check_region(c.REGION)
            main(c)
        print(f"done in {perf_counter() - start:.1f} s ({sum(os.times()[:4]):.1f} s of processor time)", flush=True)
    except InputError as error:
        _stop(str(error))
    except OSError as error:
        close_files_of(error)
        where = f"{shown(error.filename)}: " if error.filename else ""
        _stop(one_line(f"{where}{error.strerror or error}; {_REMEDIES.get(error.errno, _OTHER)}"))
    except MemoryError:
        _stop(_NO_MEMORY)
    except BrokenExecutor:
        _stop("a process of this run was killed, most likely for want of memory; set WORKERS=1, or close other "
              "programs, and run this again")
