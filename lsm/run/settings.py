"""Constants of a script: read from its constants block, overridden by NAME=value, resolved for the recipe."""

import ast
import difflib
import runpy
import sys
import time
from types import SimpleNamespace

from lsm.run.paths import PROJECT


class InputError(Exception):
    """Input that cannot be used. The message is one line: file, place, expected, found, what to do."""


RECIPES = ("published", "recommended")  # what RECIPE in study_area.py may be


class ByRecipe:
    """A constant with one value for each recipe: `ByRecipe(published=8, recommended=16)`."""

    def __init__(self, **values):
        self.values = values

    def __repr__(self):
        return " | ".join(f"{value!r} ({recipe})" for recipe, value in self.values.items())


def block(module: dict) -> dict:
    """The constants of a script's globals, in order of appearance: UPPER_CASE names of numbers, text or tuples of such;
    names with a leading underscore are the script's own."""
    def plain(v):
        return isinstance(v, (bool, int, float, str)) or (isinstance(v, tuple) and all(map(plain, v)))

    def is_constant(v):
        return plain(v) or isinstance(v, ByRecipe)

    return {name: v for name, v in module.items() if name.isupper() and name[0] != "_" and is_constant(v)}


def constants(module: dict, arguments: list[str]) -> SimpleNamespace:
    """The constants of a script for one run.

    module     the script's globals()
    arguments  "NAME=value" each; the value is read as a Python literal and must have the constant's type
    Returns a namespace in which ByRecipe constants hold the value of RECIPE. Raises InputError for an unknown
    name, a value of another type or a recipe that does not exist.
    """
    values = block(module)
    for argument in arguments:
        name, equals, text = argument.partition("=")
        if not equals or name not in values:
            near = difflib.get_close_matches(name, values, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"argument {argument!r}: expected NAME=value with NAME one of {', '.join(values)}{hint}")
        values[name] = _parse(name, text, values[name])
    recipe = values.get("RECIPE")
    if "RECIPE" in values and recipe not in RECIPES:
        raise InputError(f"RECIPE={recipe}: expected one of {', '.join(RECIPES)}")
    for name, value in values.items():
        if isinstance(value, ByRecipe):
            values[name] = value.values[recipe]
    return SimpleNamespace(**values)


def of_stage(script: str, **values) -> SimpleNamespace:
    """The constants that `script`, a path from the project's folder, would run with, some set to other values.

    A stage owns its constants; one that must do what another does asks here. Importing a stage does nothing.
    """
    module = runpy.run_path(str(PROJECT / script), run_name="constants")
    return constants(module, [f"{name}={value}" for name, value in values.items()])


def _parse(name: str, text: str, default):
    """`text` as a value of the type of `default` (of any recipe's value, for a ByRecipe)."""
    examples = tuple(default.values.values()) if isinstance(default, ByRecipe) else (default,)
    if isinstance(examples[0], str):
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if not _alike(value, examples[0]):
        raise InputError(f"{name}={text}: expected a value like {examples[0]!r} ({type(examples[0]).__name__})")
    return float(value) if isinstance(examples[0], float) else value


def _alike(value, example) -> bool:
    """Same type, and tuples of the same kind of things, in any number; a whole number may stand for a float in one."""
    if isinstance(example, tuple) and example:
        return type(value) is tuple and all(any(_alike(v, e) for e in example) for v in value)
    return type(value) is type(example) or (type(value), type(example)) == (int, float)


def run(main, module: dict) -> None:
    """Runs a script's main(constants): help on request, one clear line and exit code 2 on unusable input."""
    arguments, start = sys.argv[1:], time.perf_counter()
    if arguments and arguments[0] in ("-h", "--help"):
        print(module["__doc__"].strip(), "\n\nConstants, each can be overridden as NAME=value:")
        for name, value in block(module).items():
            print(f"  {name} = {value!r}")
        return
    try:
        main(constants(module, arguments))
    except InputError as error:
        print(f"{sys.argv[0]}: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"done in {time.perf_counter() - start:.1f} s ({time.process_time():.1f} s of processor time)")
