"""Files that stages hand to each other: written whole, with a record of what made them, checked when read.

Beside every artifact lies its record, `<name>.json`: stage, region, recipe, seed, factors, constants, sha256 of the
artifact and of every input, optional files that the stage had to do without, versions. A reader that finds another
region, recipe, seed, list of factors or sha256, or files of two runs of a stage, names the stage to run again.

The record is written first and names two digests: of the artifact it describes, and of the file that this artifact
replaces. With the first the file is whole; with the second, or no file, the run was stopped; with others it was edited.
"""

import contextlib
import gzip
import json
import os
import platform
import shutil
import struct
import zipfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from lsm.run.code import code_of, come_since, sha256, state_of
from lsm.run.paths import Paths, root, shown
from lsm.run.settings import InputError, in_short
from lsm.run.writing import temporary_file, to_disk, told, whole, write_table

LIBRARIES = ("gdal", "numpy", "pandas", "scikit-learn", "scipy", "tensorflow")
MAKERS = ("src_data/make_demo.py", "prepare_region.py", "augment_inventory.py")  # of inputs
_USED: dict[tuple, dict[Path, None]] = {}  # files that this process read, and what they were made from, by _stage_of


@contextlib.contextmanager
def artifact(path: Path, stage: str, constants, inputs: list[Path], optional: Sequence[Path] = ()):
    """A temporary path beside `path`; when the block ends well, the record is written and the file renamed to `path`.

    stage      the script that makes it, as it is run: "scene_sampling.py"
    constants  the stage's constants; REGION, RECIPE and SEED are lifted out of them, and the region's factors noted
    inputs     the files it is made from; a folder among them counts by the names of its files
    optional   files that the stage takes too where it can; the record has those that it did without, for `pipeline`
    """
    with temporary_file(path) as temporary:
        with told(path):
            yield temporary
        to_disk(temporary)
        record = _record(temporary, stage, constants, inputs, [p for p in optional if p not in inputs])
        old = sha256(path) if path.is_file() else None  # the same file again leaves its record as it was
        record["replaces"] = record_of(path).get("replaces") if old == record["sha256"] else old
        with whole(record_path(path)) as temporary_record:
            temporary_record.write_text(json.dumps(record, indent=1) + "\n")
        temporary.replace(path)


def record_path(path: Path) -> Path:
    """The record of an artifact, beside it: <name>.json, since HK_blocks.tif and HK_blocks.csv share a stem."""
    return path.with_name(f"{path.name}.json")


def discard(path: Path) -> None:
    """Removes an artifact, where there is one, and its record."""
    for file in (path, record_path(path)):
        file.unlink(missing_ok=True)


def _record(path: Path, stage: str, constants, inputs: list[Path], without: list[Path]) -> dict:
    """What the record of an artifact says of its file, which lies at `path` for now."""
    values = {name: value for name, value in vars(constants).items() if name.isupper()}
    return {
        "stage": stage,
        "region": values.pop("REGION", None),
        "recipe": values.pop("RECIPE", None),
        "seed": values.pop("SEED", None),
        "factors": factor_list(constants),
        "constants": values,
        "sha256": sha256(path),
        "code": code_of(stage),
        "inputs": {shown(p): state_of(p) for p in inputs},
        "versions": {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
    } | ({"without": {shown(p): state_of(p) for p in without}} if without else {})


def factor_list(constants) -> list[str] | None:
    """The region's factors as records name them, in order, with the columns that hold them and classes in words: "DV
    (continuous, mm/yr; DV or DV_InSAR; 0 is missing)"; None for constants without any."""
    if (factors := getattr(constants, "factors", None)) is None:
        return None
    return [f"{f.name} ({'; '.join((f'{f.kind}, {f.unit}', ' or '.join((f.name, *f.aliases)), *f.words))}"
            + "; 0 is missing" * f.zero_is_missing + ")" for f in factors]


def other_factors(record: dict, constants) -> str:
    """How the factors of a record differ from those of these constants, in words; "" where they do not, or where
    there is no list. Older records name kind and unit only: then these alone are compared."""
    now, then = factor_list(constants), record.get("factors")
    if None in (now, then) or then in (now, [f"{text.partition('; ')[0]})" for text in now]):
        return ""
    more, less = (", ".join(one for one in some if one not in other) for some, other in ((now, then), (then, now)))
    if more:
        return f"expected the factors {more}{' too' * (not less)}, found {less or 'none of them'}"
    return f"expected the factors of the tables, found {f'{less} too' if less else 'them in another order'}"


def made_by(path: Path) -> str:
    """The stage that a file's record names; "" without a record."""
    return str(record_of(path).get("stage", ""))


def made_with(path: Path) -> dict:
    """The constants that a file's record names; {} without a record."""
    return record_of(path).get("constants", {})


def read_record(path: Path, stage: str) -> dict:
    """The record of the artifact `path` after checking that both exist and belong together.

    stage  the command that makes the artifact, for the message. Raises InputError.
    """
    for file in (path, record_path(path)):
        if not file.is_file():
            raise InputError(f"{shown(file)}: missing; run {stage} first")
    record, found = _parsed(record_path(path), stage), sha256(path)
    if found == record["sha256"]:
        return record
    if found == record.get("replaces"):
        raise InputError(f"{shown(path)}: of an earlier run, since {record['stage']} was stopped before its end; run "
                         f"{stage} again")
    raise InputError(f"{shown(path)}: is not the file its record describes; run {stage} again")


def _parsed(path: Path, stage: str) -> dict:
    """The record in the file `path`. Raises InputError where it holds none."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not (isinstance(record["constants"], dict) and isinstance(record["inputs"], dict)
                and isinstance(record.get("factors"), list | None)
                and all(key in record for key in ("stage", "sha256", "region", "recipe", "seed"))):
            raise ValueError(path)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{shown(path)}: not a record of an artifact; run {stage} again") from None
    return record


def record_of(path: Path) -> dict:
    """The record beside a file, whatever became of the file; {} where there is none."""
    with contextlib.suppress(InputError):
        return _parsed(record_path(path), "")
    return {}


def stopped(path: Path) -> bool:
    """Whether a run was about to replace the file at `path` when it was stopped."""
    return path.is_file() and sha256(path) == record_of(path).get("replaces")


def wrote(path: Path, stages: tuple[str, ...]) -> bool:
    """Whether one of `stages` wrote the file at `path`, or was stopped before it could, and nobody changed it since."""
    record = record_of(path)
    return record.get("stage") in stages and state_of(path) in (None, record["sha256"], record.get("replaces"))


def check(path: Path, stage: str, constants) -> dict:
    """Checks an artifact: same REGION, RECIPE, SEED, FURTHER and factors, the inputs that are there now, files of one
    run.

    constants  of the reading stage; what they lack is not compared. Of an input (src_data, MAKERS) only REGION is
    Returns its record. Raises InputError naming the stage to run again.
    """
    record = read_record(path, stage)
    if path.is_relative_to(root() / "src_data") or record["stage"] in MAKERS:  # inputs know no recipe and seed
        constants = SimpleNamespace(REGION=constants.REGION)
    for name, found in (("REGION", record["region"]), ("RECIPE", record["recipe"]), ("SEED", record["seed"]),
                        ("FURTHER", record["recipe"] and record["constants"].get("FURTHER"))):
        expected = getattr(constants, name, None)
        if None not in (found, expected) and found != expected:
            asked = " ".join(dict.fromkeys((f"REGION={constants.REGION}", f"{name}={expected}")))
            raise InputError(f"{shown(path)}: expected {name.lower()} {expected}, found {found}; run {stage} {asked} "
                             "again")
    differ = [words] if (words := other_factors(record, constants)) else []
    differ += [f"was made from another {name} than is there now" for name, digest in record["inputs"].items()
               if (source := root() / name).is_file() and sha256(source) != digest
               and not _of_another_region(source, record["region"])]
    differ += [f"was made without the {name} that is there now" for name in come_since(record)]
    if differ:
        raise InputError(f"{shown(path)}: {differ[0]}; run {stage} again")
    _check_of_one_run(path, record, stage)
    return record


def _check_of_one_run(path: Path, record: dict, stage: str) -> None:
    """Refuses an artifact where a file that this process used before is of another run of the same stage; then notes it
    and its inputs as used. Files of MAKERS are not compared: inputs of several runs may lie side by side."""
    now = SimpleNamespace(**record["constants"] | {n.upper(): record[n] for n in ("region", "recipe", "seed")})
    others = () if record["stage"] in MAKERS else _USED.get(_stage_of(record), ())
    for other in others:
        if theirs := record_of(other):
            found = changes_since(theirs, now, [], set()) + ["it was stopped"] * stopped(other)
            found += [f"another {name}" for name, state in record["inputs"].items()
                      if theirs["inputs"].get(name, state) != state]
            if found:
                raise InputError(f"{shown(other)} and {shown(path)} are of two runs of {record['stage']} "
                                 f"({in_short(found)}); run {stage} again")
    for used in (path, *(root() / name for name in record["inputs"])):
        if used.is_file() and used != Paths(record["region"]).breaks:  # drawn once for many runs
            _USED.setdefault(_stage_of(record_of(used)), {})[used] = None


def _stage_of(record: dict) -> tuple[str, ...]:
    return str(root()), str(record.get("stage")), str(record.get("region"))


def changes_since(record: dict, constants, inputs: list[Path], ignore: set[str]) -> list[str]:
    """How the run that wrote `record` differs, in words, from a run with these constants (except those in `ignore`) and
    inputs: region, recipe and seed, then inputs, then other constants."""
    now = json.loads(json.dumps({name: value for name, value in vars(constants).items() if name.isupper()}))
    then = record["constants"] | {"REGION": record["region"], "RECIPE": record["recipe"], "SEED": record["seed"]}
    changed = {name: f"{name} = {then.get(name)!r}, now {now[name]!r}"
               for name in now if name not in ignore and then.get(name) != now[name]}
    first = [changed.pop(name) for name in ("REGION", "RECIPE", "SEED") if name in changed]
    return [*first, *(f"other files in {shown(p)}" if p.is_dir() else f"another {shown(p)}" if p.is_file() else
                      f"{shown(p)} is gone" for p in inputs if record["inputs"].get(shown(p)) != state_of(p)),
            *changed.values()]


def _of_another_region(path: Path, region: str) -> bool:
    """savedmodel.npz bears no region in its name: once another region's stands there, it says nothing about ours."""
    return record_of(path).get("region", region) != region


def write_npz(path: Path, arrays: dict, stage: str, constants, inputs: list[Path], optional: Sequence[Path] = ()
              ) -> None:
    """Writes arrays and their record; the same arrays give the same bytes, as np.savez does. An array too large for
    memory is given as the .npy file that holds it."""
    with artifact(path, stage, constants, inputs, optional) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as out:
                if isinstance(array, Path):
                    with open(array, "rb") as file:
                        shutil.copyfileobj(file, out, 1 << 20)
                else:
                    np.lib.format.write_array(out, np.asarray(array), allow_pickle=False)


def write_csv(path: Path, table: pd.DataFrame, stage: str, constants, inputs: list[Path],
              optional: Sequence[Path] = ()) -> None:
    """Writes a table as `write_table` does, gzip where the name ends in .gz, and its record; same table, same bytes."""
    with artifact(path, stage, constants, inputs, optional) as temporary, open(temporary, "wb") as file, (
            gzip.GzipFile("", "wb", fileobj=file, mtime=0) if path.suffix == ".gz" else file) as out:
        write_table(table, out)  # in the archive no time and no name of the temporary file


def read_npz(path: Path, stage: str, constants) -> dict:
    """The arrays of an artifact that passes `check`."""
    check(path, stage, constants)
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def map_npz(path: Path, stage: str, constants) -> dict[str, np.ndarray]:
    """As `read_npz`, the arrays left on the disk, see `mapped`."""
    check(path, stage, constants)
    return mapped(path)


def mapped(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file of `write_npz` that passed `check`, left on the disk, not compressed: read where used."""
    out = {}
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        for member in archive.infolist():
            file.seek(member.header_offset + 26)  # where a member says how long its name and its further fields are
            file.seek(sum(struct.unpack("<HH", file.read(4))), os.SEEK_CUR)
            np.lib.format.read_magic(file)
            shape, by_columns, kind = np.lib.format.read_array_header_1_0(file)
            there, order = np.prod(shape, dtype=int) > 0, "F" if by_columns else "C"
            out[member.filename.removesuffix(".npy")] = (
                np.memmap(path, kind, "r", file.tell(), shape, order) if there else np.empty(shape, kind))
    return out


def read_csv(path: Path, stage: str, constants, columns: tuple[str, ...] = (), **options) -> pd.DataFrame:
    """The table, with `columns`, of an artifact that passes `check`; options: of pandas.read_csv. Raises InputError."""
    check(path, stage, constants)
    try:
        table = pd.read_csv(path, **options)
    except ValueError as error:  # of the parser, or of the encoding
        raise InputError(f"{shown(path)}: expected a table, found: {str(error).splitlines()[0]}; run {stage} again"
                         ) from None
    return need(table, path, columns, stage)


def need(table, path: Path, names: tuple[str, ...], stage: str):
    """`table` (or arrays by name), after a check that it has `names`. Raises InputError."""
    if missing := [name for name in names if name not in table]:
        raise InputError(f"{shown(path)}: header: expected {', '.join(names)}, found no {', '.join(missing)}; run "
                         f"{stage} again")
    return table
