"""Says which artifacts of a region are fresh, and runs the stages that must run to make what is asked for.

Reads   the records beside the artifacts of a region (<file>.json), the constants and code of all stages
Writes  nothing itself; with a target it runs stages, which do
Run     python tools/pipeline.py [TARGET] [NAME=value ...]        (the Makefile calls it)
        TARGET   status (the default), or what to make: map, gis, report, figures; explain and compare, with all
                 figures; run is the map, all figures and the report
        NAME     REGION, or any constant of a stage, which every stage that knows it gets; RAW=<folder> prepares the
                 region from raw layers first
"""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

try:
    from lsm.learner.transfer.start_file import source_path
    from lsm.report.left_out import FOLLOWS, chosen_of
    from lsm.run import pipeline
    from lsm.run.artifacts import MAKERS, made_by, wrote
    from lsm.run.paths import PROJECT, Paths, python, root, shown
    from lsm.run.settings import (
        InputError,
        check_region,
        constants,
        constants_class,
        counted,
        defaults,
        in_short,
        of_stage,
    )
    from lsm.run.writing import stage_1_files
    from study_area import factors
except ModuleNotFoundError as error:
    print(f"{sys.argv[0]}: expected the package {error.name}, found none for {sys.executable}; run make setup, or "
          "activate the conda environment of environment.yml and add PY=python", file=sys.stderr)
    sys.exit(2)


def wanted(target: str, region: str, raw: bool) -> list[str]:
    """The scripts that must be fresh for a target, in order."""
    stages = pipeline.of_region(region, raw)
    needed = {pipeline.TARGETS[target]}
    for stage in reversed(stages):
        if stage.script in needed:
            needed.update(stage.after)
    return [stage.script for stage in stages if stage.script in needed]


def make(target: str, region: str, arguments: list[str], raw: bool) -> bool:
    """Runs the stages of a target that are not fresh, and before stage 1 the checks of inputs, unless these inputs were
    checked; the demo's need none. A stage that fails, or an error that the checks find, ends everything with
    its exit code. Returns whether a stage ran."""
    made, ran = [], False
    if pipeline.PREPARE in wanted(target, region, raw):  # what it writes tells which stages follow
        if pipeline.states_of(region, arguments, raw)[pipeline.PREPARE] != "fresh":
            ran = run(pipeline.PREPARE, region, arguments)
        made.append(pipeline.PREPARE)
    with contextlib.ExitStack() as held:
        for script in (script for script in wanted(target, region, raw) if script not in made):
            if script == pipeline.PRETRAIN:
                check_forecast(region, arguments)
                if region != "demo" and not pipeline.checked(region, arguments):
                    run(pipeline.CHECK, region, arguments)
                held.enter_context(stage_1_files())  # no other region's stage 1 may come between it and stage 3
            if script == pipeline.REPORT or pipeline.states_of(region, arguments, raw, made)[script] != "fresh":
                ran = run(script, region, arguments)
            made.append(script)
            if script == pipeline.LEARN:
                held.close()
    return ran


def check_forecast(region: str, arguments: list[str]) -> None:
    """Refuses FORECAST=True before stage 1 where the landslides have no dates. Raises InputError."""
    c = constants(constants_class(pipeline.LEARN), pipeline.arguments_of(pipeline.LEARN, region, arguments))
    if c.FORECAST:
        from lsm.learner.support.dates import check_dates  # scikit-learn and its forests, which few runs need here

        check_dates(Paths(region), c)


def run(script: str, region: str, arguments: list[str]) -> bool:
    """Runs one stage as a person would, and returns True; with the open file of `stage_1_files`, should this process be
    killed alone. On Ctrl-C the stage says that it is stopped."""
    if script not in (pipeline.DEMO, pipeline.PREPARE):  # the notes on factors are said here, and not by each stage
        c = constants(constants_class(script), pipeline.arguments_of(script, region, arguments))
        factors(region, c.FURTHER)
    command = [script, *pipeline.arguments_of(script, region, arguments)]
    print(f"-- {shlex.join([python(), *command])}", flush=True)
    before = signal.getsignal(signal.SIGINT)
    if before != signal.SIG_IGN:  # else it is ignored below too, as in a shell's background
        signal.signal(signal.SIGINT, lambda *_: None)
    code = subprocess.run([sys.executable, *command], cwd=PROJECT, close_fds=False).returncode
    signal.signal(signal.SIGINT, before)
    if code < 0 and -code != signal.SIGINT:  # of which the stage has told
        memory = "; perhaps for want of memory" * (-code in (signal.SIGKILL, signal.SIGABRT))
        print(f"{script} was ended by signal {-code} ({signal.strsignal(-code)}{memory}): run the same command again, "
              "it goes on", file=sys.stderr)
    if code:
        sys.exit(code if code > 0 else 128 - code)  # of a signal, as shells have it
    return True


def for_the_map_alone(names: Iterable[str]) -> list[str]:
    """Those of the constants that a comparison takes from the scripts of stages 1 and 3, whatever the command says."""
    stages = [defaults(constants_class(script)) for script in pipeline.BY_SCRIPT[pipeline.COMPARE].does]
    own = defaults(constants_class(pipeline.COMPARE))
    return [name for name in names if name not in own and any(name in stage for stage in stages) and name != "RECIPE"]


def status(region: str, arguments: list[str], raw: bool) -> None:
    """Prints the state of every stage and of the figures, with files and commands: what the map needs, then what is
    optional; last, the command that makes what the map needs."""
    paths, states, needed = Paths(region), pipeline.states_of(region, arguments, raw), wanted("map", region, raw)
    to_do = [script for script in needed if states[script] != "fresh"]
    chosen = chosen_of(region, arguments)
    if states[pipeline.COMPARE].startswith("stale") and chosen:
        then = pipeline.states_of(region, [*arguments, *chosen], raw)[pipeline.COMPARE]
        states[pipeline.COMPARE] = f"fresh: as chosen ({' '.join(chosen)})" if then == "fresh" else then

    def say(name: str, state: str, files: list[Path], command: str) -> None:
        state, _, why = state.partition(": ")
        plain = {"fresh": "up to date", "missing": "not made", "stale": "out of date"}.get(state, state)
        print(f"  {name}: {plain}" + f": {why}" * bool(why))
        for path in files:
            words = "" if path.is_file() else "  (missing)"
            words += "  (samples without InSAR points)" * (path == paths.samples_without_insar)
            by = MAKERS if path.is_relative_to(root() / "src_data") else (made_by(path),)
            words += "  (edited since)" * (path.is_file() and by != ("",) and not wrote(path, by))
            print(f"      {shown(path)}{words}")
        if plain != "up to date":
            print(f"      {command}")

    def made(stage: pipeline.Stage) -> list[Path]:
        return [path for path in pipeline.made_files(stage, paths) if path.is_file() or made_by(path)]

    def command(targets: str) -> str:
        more = chosen if targets == "compare" else []
        return pipeline.make_command(targets, region, [*arguments, *more])

    lacking, has_others = pipeline.missing_inputs(region, raw)
    if lacking:
        print(f"inputs of region {region}")
        print(*(f"      {shown(path)}  (missing)" for path in lacking), sep="\n")
    print(f"needed for the map of region {region}")
    for script in needed:
        say(script, states[script], pipeline.made_files(pipeline.BY_SCRIPT[script], paths),
            pipeline.command_of(script, region, arguments))
    print("optional")
    check = [python(), pipeline.CHECK, *pipeline.arguments_of(pipeline.CHECK, region, arguments)]
    of_checks = pipeline.state_of_checks(region, arguments)
    errors = pipeline.errors_of_checks(region) if of_checks == "fresh" else []
    say("checks of the inputs", f"{counted(len(errors), 'error')}: {in_short(errors)}" if errors else of_checks,
        made(pipeline.CHECKS), shlex.join(check))
    for target, script in pipeline.TARGETS.items():
        if script not in needed:
            say(target, states[script], made(pipeline.BY_SCRIPT[script]), command(target))
    of_figures = pipeline.state_of_figures(region, arguments, to_do[-1:])
    say("figures", of_figures, pipeline.figures_of(paths), command("figures"))
    print()
    if not to_do:
        optional = {target: states[script] for target, script in pipeline.TARGETS.items() if script not in needed}
        stale = [target for target, state in {"figures": of_figures, **optional}.items() if state.startswith("stale")]
        apart = ["compare"] * bool(chosen and "compare" in stale)  # what was chosen for it is for no other stage
        together = " ".join(target for target in stale if target not in apart)
        again = " && ".join(map(command, [*apart, *[together] * bool(together)]))
        print(f"the map is up to date: {shown(paths.map_raster)}" + f"; out of date: {', '.join(stale)}; to make "
              f"{'them' if len(stale) > 1 else 'it'}: {again}" * bool(stale))
        return
    if any("must run first" in states[script] for script in to_do):
        print("A stage that waits for another stage runs only if that stage writes different files.")
    own = pipeline.made_so(region)
    others = [a for a in arguments if a.partition("=")[0] not in {name.partition("=")[0] for name in own}]
    as_made = pipeline.states_of(region, [*others, *own], raw)
    if own and all(as_made[script] == "fresh" for script in needed):
        print(f"The map that is there was made with {shlex.join(own)}: add this to each make of the region to keep it.")
    print(how_to_make_the_map(region, arguments, to_do, lacking if has_others else [], not has_others, bool(errors)))


def how_to_make_the_map(region: str, arguments: list[str], to_do: list[str], lacking: list[Path], nothing: bool,
                        errors: bool) -> str:
    """The line that ends with the command for the map. to_do: scripts that must run; lacking: inputs to put there;
    nothing: whether all inputs are missing; errors: whether the checks found some."""
    if nothing:
        target, given = ("hk", "HK_DATA=<folder>") if region == "HK" else ("run", "RAW=<folder>")
        return (f"to make the inputs and the map: {pipeline.make_command(target, region, arguments)} {given}"
                + "; docs/new_region.md says what the folder holds" * (target == "run"))
    edited = any("OVERWRITE=True" in pipeline.command_of(script, region, arguments) for script in to_do)
    more = ["OVERWRITE=True"] * (edited and "OVERWRITE=True" not in arguments)
    first = ""
    if lacking:
        first = f", first put {' and '.join(map(shown, lacking))} there, then"
    elif errors and "STOP_AT_ERRORS=False" not in arguments:
        first = (", first correct what the checks found (or, if the inputs are right as they are, add "
                 "STOP_AT_ERRORS=False), then")
    return ("to make the map" + ", and replace inputs that somebody edited" * edited + first
            + f": {pipeline.make_command('run', region, arguments + more)}")


def main(arguments: list[str]) -> None:
    """Reads the target and the arguments, then says or makes."""
    target = "status"
    if arguments and "=" not in arguments[0]:
        target, *arguments = arguments
    if target not in ("status", "run", "figures", *pipeline.TARGETS):
        raise InputError(f"argument {target!r}: expected one of status, run, figures, {', '.join(pipeline.TARGETS)}")
    given = pipeline.read_arguments(arguments)
    region = given.get("REGION", of_stage(pipeline.CUT).REGION)
    if not region:
        raise InputError("REGION=: expected the name of a region, found none")
    if "RAW" in given and region == "demo":
        raise InputError(f"RAW={given['RAW']}: expected REGION=<name> for these layers, found region demo, which has "
                         "inputs of its own; add REGION=<name>")
    if "RAW" not in given and region != "demo":
        check_region(region)
    pipeline.check_values(region, arguments, "RAW" in given, runs=target != "status")
    source_path(given.get("START_FROM", ""), region)
    if target == "status":
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # make status | head
    if "LSM_ROOT" in os.environ:
        print(f"files are below {root()}; commands need LSM_ROOT={shlex.quote(os.environ['LSM_ROOT'])} before them",
              flush=True)
    if target == "status":
        status(region, arguments, "RAW" in given)
        return
    if target == "compare" and (beyond := for_the_map_alone(given)):
        print(f"{', '.join(beyond)}: the map alone is made so; a comparison takes the constants of "
              f"{' and '.join(pipeline.BY_SCRIPT[pipeline.COMPARE].does)} from these scripts: edit them there")
    if target == "run":
        os.environ[FOLLOWS] = "yes"  # report.py names what is left out; figure.py need not
    ran = make("map" if target in ("run", "figures") else target, region, arguments, "RAW" in given)
    if target in ("run", "figures", "compare", "explain") and (
            given.get("ONLY") or pipeline.state_of_figures(region, arguments) != "fresh"):
        ran = run(pipeline.DRAW, region, arguments)
    if target == "run" and (ran or pipeline.states_of(region, arguments, "RAW" in given)[pipeline.REPORT] != "fresh"):
        ran = run(pipeline.REPORT, region, arguments)
    if not ran:
        print(f"{target} of region {region}: up to date")


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__.strip())
        sys.exit()
    try:
        main(sys.argv[1:])
    except InputError as error:
        print(f"{sys.argv[0]}: {error}", file=sys.stderr)
        sys.exit(2)
