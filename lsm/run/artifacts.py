"""Files that stages hand to each other: written whole, with a record of what made them, checked when read.

Beside every artifact lies its record, `<name>.json`: stage, region, recipe, seed, constants,
sha256 of the artifact and of every input, versions. A reader that finds another region, recipe or sha256 names
the stage to run again.
"""

import contextlib
import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from lsm.run.paths import root, shown
from lsm.run.settings import InputError

LIBRARIES = ("gdal", "numpy", "pandas", "scikit-learn", "scipy", "tensorflow")


@contextlib.contextmanager
def whole(path: Path):
    """A temporary path beside `path`; renamed to it when the block ends well, removed when it does not.

    The record of an older `path` goes first: whoever is killed in between leaves an artifact without a record, never
    one with another's. What a killed run left is overwritten by the next.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".partial.{path.name}")
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        record_path(path).unlink(missing_ok=True)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record_path(path: Path) -> Path:
    """The record of an artifact, beside it: <name>.json, since HK_blocks.tif and HK_blocks.csv share a stem."""
    path = Path(path)
    return path.with_name(path.name + ".json")


def write_record(path: Path, stage: str, constants, inputs: list[Path]) -> None:
    """Writes the record of the artifact `path`.

    stage      the script that made it, as it is run: "scene_sampling.py"
    constants  the namespace of `settings.constants`; REGION, RECIPE and SEED are lifted out of it
    inputs     the files it was made from
    """
    values = dict(vars(constants))
    record = {
        "stage": stage,
        "region": values.pop("REGION", None),
        "recipe": values.pop("RECIPE", None),
        "seed": values.pop("SEED", None),
        "constants": values,
        "sha256": sha256(path),
        "inputs": {shown(p): sha256(p) for p in inputs},
        "versions": {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
    }
    with whole(record_path(path)) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n")


def made_by(path: Path) -> str:
    """The stage that a file's record names; "" without a record."""
    try:
        stage = json.loads(record_path(path).read_text(encoding="utf-8")).get("stage", "")
    except (OSError, ValueError, AttributeError, RecursionError):
        return ""
    return stage if isinstance(stage, str) else ""


def read_record(path: Path, stage: str) -> dict:
    """The record of the artifact `path` after checking that both exist and belong together.

    stage  the command that makes the artifact, for the message. Raises InputError.
    """
    for file in (path, record_path(path)):
        if not file.is_file():
            raise InputError(f"{shown(file)}: missing; run {stage} first")
    try:
        record = json.loads(record_path(path).read_text(encoding="utf-8"))
        made, *_ = (record[key] for key in ("sha256", "region", "recipe", "seed", "constants", "inputs"))
        right = all(isinstance(record[key], dict) for key in ("constants", "inputs"))
    except (ValueError, KeyError, TypeError, RecursionError):
        right = False
    if not right:
        raise InputError(f"{shown(record_path(path))}: not a record of an artifact; run {stage} again")
    if made != sha256(path):
        raise InputError(f"{shown(path)}: is not the file its record describes; run {stage} again")
    return record


def check(path: Path, stage: str, constants) -> dict:
    """Checks that an artifact is this run's: same REGION and RECIPE, and made from inputs that have not changed.

    Returns its record. Raises InputError naming the stage to run again.
    """
    record = read_record(path, stage)
    fitted = record["recipe"] is not None  # what the makers write is the same for all FURTHER
    for name, found in (("REGION", record["region"]), ("RECIPE", record["recipe"]),
                        ("FURTHER", record["constants"].get("FURTHER") if fitted else None)):
        expected = getattr(constants, name, None)
        if found is not None and expected is not None and found != expected:
            raise InputError(f"{shown(path)}: expected {name.lower()} {expected}, found {found}; run {stage} "
                             f"{name}={expected} again")
    for name, digest in record["inputs"].items():
        source = root() / name
        if source.is_file() and sha256(source) != digest and not _of_another_region(source, record["region"]):
            raise InputError(f"{shown(path)}: was made from another {name} than is there now; run {stage} again")
    return record


def differences(record: dict, constants, inputs: list[Path], ignore: set[str]) -> list[str]:
    """In words, how the run that wrote `record` differs from one with these constants and inputs; [] where it does
    not. Constants named in `ignore` may differ."""
    now = json.loads(json.dumps(vars(constants)))
    then = record["constants"] | {"REGION": record["region"], "RECIPE": record["recipe"], "SEED": record["seed"]}
    found = [f"{name} = {then.get(name)!r}, now {now[name]!r}"
             for name in now if name not in ignore and then.get(name) != now[name]]
    return found + [f"another {shown(p)}" for p in inputs if record["inputs"].get(shown(p)) != sha256(p)]


def _of_another_region(path: Path, region: str) -> bool:
    """savedmodel.npz bears no region in its name: once another region's stands there, it says nothing about ours."""
    return record_path(path).is_file() and json.loads(record_path(path).read_text()).get("region") != region


def write_npz(path: Path, arrays: dict, stage: str, constants, inputs: list[Path]) -> None:
    """Writes arrays and their record; the same arrays give the same bytes."""
    with whole(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)
    write_record(path, stage, constants, inputs)


def write_csv(path: Path, table: pd.DataFrame, stage: str, constants, inputs: list[Path]) -> None:
    """Writes a table (floats to 9 digits, which keeps float32 exact), compressed where the name ends in .gz, and its
    record; the same table gives the same bytes."""
    compression = {"method": "gzip", "mtime": 0} if path.suffix == ".gz" else None  # gzip would write the clock's time
    with whole(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g", compression=compression)
    write_record(path, stage, constants, inputs)


def read_npz(path: Path, stage: str, constants) -> dict:
    """The arrays of an artifact that passes `check`."""
    check(path, stage, constants)
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def read_csv(path: Path, stage: str, constants, columns: tuple[str, ...] = ()) -> pd.DataFrame:
    """The table of an artifact that passes `check`. Raises InputError where it lacks one of `columns`."""
    check(path, stage, constants)
    try:
        table = pd.read_csv(path)
    except ValueError as error:  # of the parser, or of the encoding
        raise InputError(f"{shown(path)}: expected a table, found: {str(error).splitlines()[0]}; run {stage} again"
                         ) from None
    missing = [name for name in columns if name not in table]
    if missing:
        raise InputError(f"{shown(path)}: header: expected a column {missing[0]!r}, found {', '.join(table)}; run "
                         f"{stage} again")
    return table
