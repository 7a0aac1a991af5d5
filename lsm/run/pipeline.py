"""Which stages of a region are fresh, by their records alone: contents (sha256), constants, code, never clocks.

An artifact is fresh when its record describes it, and names this region, recipe, seed, these constants, the inputs that
are there now and the code that would make it now; when no optional file that it had to do without has come or changed;
and when the stages that made its inputs are fresh.
"""

import contextlib
import csv
import os
import shlex
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from lsm.run.artifacts import MAKERS, changes_since, made_by, made_with, other_factors, read_record, record_of, wrote
from lsm.run.code import code_of, come_since, with_constants_of
from lsm.run.paths import OF_SOME, PRODUCTS, Paths, names_of_classes, python, root, shown
from lsm.run.settings import InputError, by_name, check_of_stage, constants, constants_class, defaults, in_short


@dataclass(frozen=True)
class Stage:
    """A stage of the graph.

    script   as it is run
    outputs  (paths) -> the files that every run of the stage writes, each with a record
    after    scripts of the stages whose files it reads
    free     constants that change nothing that it writes
    some     (paths) -> the files that some runs write: those whose record names the stage must be fresh too
    beside   (paths) -> files without a record that lie beside those, and must be there
    does     scripts whose work it does too, by their constants
    """

    script: str
    outputs: Callable[[Paths], list[Path]]
    after: tuple[str, ...] = ()
    free: tuple[str, ...] = ()
    some: Callable[[Paths], list[Path]] = lambda paths: _but(paths, paths.breaks)  # drawn once for many runs
    beside: Callable[[Paths], list[Path]] = lambda paths: []
    does: tuple[str, ...] = ()


def _but(paths: Paths, *others: Path) -> list[Path]:
    return [path for path in paths.all() if path not in others]


DEMO, PREPARE, AUGMENT = MAKERS
PRETRAIN, CUT, LEARN = "unsupervised_pretraining/DAS_pretraining.py", "scene_sampling.py", "meta_learner.py"
MAP, COMPARE, EXPLAIN, GIS = "predict_LSM.py", "compare_methods.py", "feature_permutation.py", "export_gis.py"
REPORT = "report.py"
STAGES = (
    Stage(DEMO, lambda p: [p.composite, p.samples, p.samples_without_insar, p.insar_points, p.grid]),
    Stage(PREPARE, lambda p: [p.composite, p.factors, p.samples_without_insar], free=("OVERWRITE", "CHECK"),
          some=lambda p: [p.strategies]),  # a person may edit inputs, and `_gone` sees those that are missing
    Stage(AUGMENT, lambda p: [p.samples, p.samples_origin], (PREPARE,), ("OVERWRITE", "GRID_ROWS")),
    Stage(PRETRAIN, lambda p: [p.saved_model, p.encoder, p.pretraining_history], (DEMO, PREPARE, AUGMENT)),
    Stage(CUT, lambda p: [p.blocks, p.tasks, p.blocks_table], (DEMO, PREPARE, AUGMENT)),
    Stage(LEARN, lambda p: [p.model, p.split, p.history, p.held_out, p.metrics], (PRETRAIN, CUT), ("SAVE_EVERY",)),
    Stage(MAP, lambda p: [p.models, p.map_raster], (CUT, LEARN), ("GRID_ROWS", "DASK_SCHEDULER")),
    Stage(COMPARE, lambda p: [p.scores, p.method_metrics, p.method_differences, p.intervals, p.results], (CUT,),
          ("WORKERS", "DASK_SCHEDULER"),
          some=lambda p: _but(p, p.published_steps, p.published_steps_page),  # of a protocol that runs alone
          does=(PRETRAIN, LEARN)),
    Stage(EXPLAIN, lambda p: [p.importance, p.importance_territory, p.shap_values, p.leading_factor], (MAP,),
          ("WORKERS", "DASK_SCHEDULER"), beside=lambda p: [names_of_classes(p.leading_factor)]),
    Stage(GIS, lambda p: [p.gis_layers, *(p.gis_raster(name) for name in PRODUCTS if name not in OF_SOME), p.gis_table],
          (MAP,), ("GRID_ROWS",), beside=lambda p: [path for name in PRODUCTS if p.gis_raster(name).is_file()
                                                    for path in p.beside_gis_raster(name)]),
    Stage(REPORT, lambda p: [p.report], (MAP,)),
)
CHECK = "check_region.py"
CHECKS = Stage(CHECK, lambda p: [p.checks], free=("STOP_AT_ERRORS",))
DRAW = "figure.py"
DRAWN = Stage(DRAW, lambda p: [p.figure("lsm_map", "png")], (MAP,), ("ONLY",), some=lambda p: figures_of(p),
              beside=lambda p: [path.with_suffix(suffix) for path in figures_of(p) for suffix in (".pdf", ".csv")])
TARGETS = {"map": MAP, "explain": EXPLAIN, "compare": COMPARE, "gis": GIS, "report": REPORT}  # of make
BY_SCRIPT = {stage.script: stage for stage in STAGES}
OF_FACTORS = (CHECK, PRETRAIN, CUT, LEARN, MAP, COMPARE, EXPLAIN, GIS, DRAW)  # what depends on the list of factors


def of_region(region: str, raw: bool) -> list[Stage]:
    """The stages that make this region's files, in order.

    DEMO makes the demo's inputs. Elsewhere PREPARE takes part where raw layers are given (`raw`), where it made the
    inputs before, even if they are gone now, or where the region has a raw folder and no inputs. AUGMENT takes part
    where there are InSAR points, and neither PREPARE nor a person made the samples.
    """
    paths = Paths(region)
    there = any(path.is_file() for path in (paths.composite, paths.samples, paths.grid, paths.grid_parquet))
    made = [paths.composite] if paths.composite.is_file() else BY_SCRIPT[PREPARE].outputs(paths)
    prepared = raw or any(wrote(path, (PREPARE,)) for path in made) or (
        paths.raw.is_dir() and not there and region != "demo")
    insar = any(path.is_file() for path in paths.insar_sources())
    augmented = insar and not wrote(paths.samples, (PREPARE,)) and (
        not paths.samples.is_file() or wrote(paths.samples, (AUGMENT,)))
    makers = {DEMO: region == "demo", PREPARE: prepared, AUGMENT: augmented and region != "demo"}
    return [stage for stage in STAGES if makers.get(stage.script, True)]


def states_of(region: str, arguments: list[str], raw: bool = False, made: Collection[str] = ()) -> dict[str, str]:
    """Of every stage of a region: "fresh", "missing" or "stale: ...", the reason.

    arguments  NAME=value for the stages that know NAME
    made       scripts that this run has looked at or run already: fresh, whatever another region's run does since
    """
    paths, out = Paths(region), {}
    for stage in of_region(region, raw):
        waiting = [script for script in stage.after if out.get(script, "fresh") != "fresh"]
        out[stage.script] = "fresh" if stage.script in made else _state_of(stage, paths, arguments, waiting)
    return out


def state_of_checks(region: str, arguments: list[str]) -> str:
    """Whether the last checks of a region are of its inputs, of these constants and of this code: as `states_of`."""
    return _state_of(CHECKS, Paths(region), arguments)


def state_of_figures(region: str, arguments: list[str], waiting: Collection[str] = ()) -> str:
    """Whether all figures of a region that were drawn are of the files, constants and code that there are now: as
    `states_of`; waiting: the scripts that must run first."""
    return _state_of(DRAWN, Paths(region), arguments, waiting)


def figures_of(paths: Paths) -> list[Path]:
    """The png of each figure of a region that has a record, there or not."""
    return [path for path in paths.recorded_figures() if record_of(path).get("region") == paths.region]


def checked(region: str, arguments: list[str]) -> bool:
    """Whether the last checks of a region are fresh and found no error."""
    return state_of_checks(region, arguments) == "fresh" and not errors_of_checks(region)


def errors_of_checks(region: str) -> list[str]:
    """A line for each error that the last checks of a region found; there must be a table of them."""
    with Paths(region).checks.open(newline="", encoding="utf-8") as table:
        return [f"{row['file']}: {row['found']}" for row in csv.DictReader(table) if row["level"] == "error"]


def missing_inputs(region: str, raw: bool) -> tuple[list[Path], bool]:
    """The inputs that a region lacks and no stage of it makes, and whether it has others."""
    paths, scripts = Paths(region), [stage.script for stage in of_region(region, raw)]
    if PREPARE in scripts or DEMO in scripts:
        return [], True
    samples = paths.samples_without_insar if AUGMENT in scripts else paths.samples
    needed = ((paths.composite,), (samples,), (paths.grid, paths.grid_parquet, paths.factor_stack))
    missing = [forms[0] for forms in needed if not any(path.is_file() for path in forms)]
    return missing, len(missing) < len(needed)


def made_files(stage: Stage, paths: Paths) -> list[Path]:
    """The files that every run of a stage writes, and the others that it wrote by their records, there or not: some
    areas have a grid as a table, some InSAR points, and so on."""
    always = stage.outputs(paths)
    return always + [path for path in paths.all() if path not in always and made_by(path) == stage.script]


def _state_of(stage: Stage, paths: Paths, arguments: list[str], waiting: Collection[str] = ()) -> str:
    """The state of a stage, as `states_of` gives it; waiting: the scripts that must run first."""
    if not any(path.is_file() for path in stage.outputs(paths)):
        return "missing"
    if waiting:
        return f"stale: {', '.join(waiting)} must run first"
    found = _reasons(stage, paths, arguments)
    return f"stale: {in_short(found)}" if found else "fresh"


def _reasons(stage: Stage, paths: Paths, arguments: list[str]) -> list[str]:
    """Why a stage must run again; [] where it need not. The first artifact that is not fresh gives the reasons."""
    now = constants(constants_class(stage.script), arguments_of(stage.script, paths.region, arguments))
    now = with_constants_of(stage.does, now)
    if stage.script == PREPARE and (gone := _gone(paths)):
        return [f"{shown(gone[0])}: missing"]
    always = stage.outputs(paths)
    for path in [*always, *(p for p in stage.some(paths) if p not in always and made_by(p) == stage.script)]:
        try:
            record = read_record(path, stage.script)
        except InputError as error:
            return [str(error).partition("; ")[0]]
        if record["region"] not in (None, paths.region):
            return [f"its files are of region {record['region']}, since all regions share them"]
        found = ["the code has changed"] * (record.get("code") != code_of(stage.script))
        found += [f"{name} is new" for name in come_since(record)]
        if stage.script in OF_FACTORS and other_factors(record, now):
            found.append("another list of factors")
        found += changes_since(record, now, [root() / name for name in record["inputs"]], set(stage.free))
        if found:
            return found
    return [f"{shown(path)}: missing" for path in stage.beside(paths) if not path.is_file()]


def _gone(paths: Paths) -> list[Path]:
    """Files of src_data that every run of PREPARE makes, or that it made by their records, and that are not there; and
    the grid and the samples where they are there in no form."""
    always = BY_SCRIPT[PREPARE].outputs(paths)
    gone = [path for path in paths.all() if path.is_relative_to(root() / "src_data") and not path.is_file()
            and (path in always or made_by(path) == PREPARE)]
    for forms in ((paths.grid, paths.grid_parquet, paths.factor_stack), (paths.samples, *paths.insar_sources())):
        if not any(path.is_file() for path in forms) and not set(forms) & set(gone):
            gone.append(forms[0])
    return gone


def arguments_of(script: str, region: str, arguments: list[str]) -> list[str]:
    """The arguments that a stage knows, and its region.

    PREPARE ran once with the constants of that area (RAW, a field of classes, ...): they hold until others are given.
    Every maker keeps the SEED that its files were made with, whatever the study's is. Kept are also the file of own
    units that stage 2 cut the area by (BLOCKS= goes back to SLIC), FORECAST=True, and the further factors of the last
    blocks (FURTHER=none leaves them out).
    """
    known = defaults(constants_class(script))
    seed = known.pop("SEED") if script in MAKERS else None
    own = [a for a in arguments if a.partition("=")[0] in known and not a.startswith("REGION=")]
    given, paths = {a.partition("=")[0] for a in own}, Paths(region)
    if script in MAKERS:  # the inputs' draws have a seed of their own, of the run that made them
        made = next((path for path in BY_SCRIPT[script].outputs(paths) if made_by(path) == script), None)
        drawn = record_of(made)["seed"] if made else seed
        own += [f"SEED={drawn}"] * (type(drawn) is int and 0 <= drawn < 1 << 32 and drawn != seed)
    if script == PREPARE:
        own += [f"{name}={_tuples(value)}" for name, value in (made_with(made) if made else {}).items()
                if name in known and name not in given and name not in BY_SCRIPT[PREPARE].free
                and known[name] != _tuples(value)]
    elif script == CUT and "BLOCKS" not in given and (units := made_with(paths.blocks).get("BLOCKS")):
        own.append(f"BLOCKS={units}")
    elif script == LEARN and "FORECAST" not in given and made_with(paths.model).get("FORECAST"):
        own.append("FORECAST=True")
    if "FURTHER" in known and script not in (DEMO, PREPARE) and "FURTHER" not in given:
        further = made_with(paths.blocks).get("FURTHER", known["FURTHER"])
        own += [f"FURTHER={further}"] * (further != known["FURTHER"])
    return [f"REGION={region}", *own]


def command_of(script: str, region: str, arguments: list[str]) -> str:
    """The command that makes a stage's files, as a shell reads it. Where somebody edited one of them it has
    OVERWRITE=True: the stage refuses to replace such a file otherwise."""
    own = arguments_of(script, region, arguments)
    if "OVERWRITE" in BY_SCRIPT[script].free and any(
            path.is_file() and not wrote(path, (script,)) for path in made_files(BY_SCRIPT[script], Paths(region))
            if path.is_relative_to(root() / "src_data")):
        own.append("OVERWRITE=True")
    return shlex.join([python(), script, *own])


def made_so(region: str) -> list[str]:
    """NAME=value of the constants, other than the defaults, that the map and what it is made of were made with."""
    out = {}
    for script in (PRETRAIN, CUT, LEARN, MAP):
        with contextlib.suppress(InputError):  # no record
            record = read_record(BY_SCRIPT[script].outputs(Paths(region))[0], script)
            first, chosen = defaults(constants_class(script)), {"RECIPE": record["recipe"], "SEED": record["seed"]}
            plain = vars(constants(constants_class(script), [f"{name}={value}" for name, value in chosen.items()]))
            out |= {name: value for name, value in chosen.items() if first[name] != value}
            out |= {name: value for name, value in record["constants"].items()
                    if name in plain and name not in BY_SCRIPT[script].free and plain[name] != _tuples(value)}
    return [f"{name}={_tuples(value)}" for name, value in out.items()]


def make_command(targets: str, region: str, arguments: Sequence[str] = ()) -> str:
    """The call of make for a target, or several with blanks between them, as a shell reads it, with the PY that make
    was called with now."""
    own = [a for a in arguments if not a.startswith("REGION=")]
    given = [f"PY={os.environ['PY']}"] if "PY" in os.environ else []
    return shlex.join(["make", *targets.split(), f"REGION={region}", *own, *given])


def _tuples(value):
    """A constant as a person gives it: tuples for the lists of a record."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def read_arguments(arguments: list[str]) -> dict[str, str]:
    """The text of each NAME=value by NAME. Raises InputError for a NAME that no stage knows."""
    return by_name(arguments, {name for script in (*BY_SCRIPT, CHECK, DRAW)
                               for name in defaults(constants_class(script))})


def check_values(region: str, arguments: list[str], raw: bool, runs: bool = True) -> None:
    """Refuses a value of a wrong kind, or one that a stage says it cannot use, before any stage runs. Raises
    InputError. runs: whether stages will run, with what `arguments_of` adds of earlier runs."""
    scripts = [*(stage.script for stage in of_region(region, raw)), CHECK, DRAW]
    known = {name for script in scripts for name in defaults(constants_class(script))}
    for name in (a.partition("=")[0] for a in arguments):
        if name not in known and name in defaults(constants_class(AUGMENT)) and "INSAR_FORM=insar" not in arguments:
            raise InputError(f"{name}: a constant of {AUGMENT}, which region {region} does not use; " + (
                f"edit it there, since {PREPARE} takes its rules, or add INSAR_FORM=insar" if PREPARE in scripts else
                "leave it out"))
    for script in scripts:
        cls = constants_class(script)
        given = [a for a in arguments if a.partition("=")[0] in defaults(cls)]
        check_of_stage(script, constants(cls, arguments_of(script, region, arguments) if runs else given))
