"""Kills every stage by SIGKILL, before each of its renames and at random moments, and runs it again: does it heal?

A small area is carried through all stages for two seeds. Then each stage runs many times on what the stages before it
left, where there is nothing of it yet or files of the other seed lie, and is killed with all its processes:

    at a rename     just before the first, the second, ... time that one of its processes calls os.replace
    at a moment     drawn between its start (when it has locked the region) and its usual end

After each kill no stage may be fresh (`make status`) unless its files are those of a whole run, and the stage, run
again, must end well and leave the bytes of a run that was never killed, and no temporary file. Records may differ in
`replaces` alone: it tells which file lay there before.

Reads   nothing
Writes  below FOLDER (default: a temporary folder, removed at the end), as LSM_ROOT does
Run     python tools/kill.py [NAME=value ...]
        ONLY     parts of the names of the stages to kill, commas between them; "": all
        RENAMES  at most so many renames a stage and start, drawn at random; 0: no limit
        MOMENTS  random moments a stage
        SEED     of the draws
        FOLDER   the scratch folder; kept, with what the stages left, which later calls of the same code take up
Exit    0 where everything healed, 1 where not
"""

import hashlib
import json
import os
import random
import runpy
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lsm.run import pipeline
from lsm.run.code import code_of
from lsm.run.paths import PROJECT, Paths

REGION, OTHER = "small", "SEED=2"  # OTHER: of the run whose files lie in the way
LONGEST = 1800                     # s, of a run that ends at all
# What a stage of the area runs with: as little work as leaves every file there.
STAGES = (
    ("src_data/make_demo.py", "REGION=demo ROWS=60 COLS=80 INVENTORY=300 ABSENCE=330 INSAR=80"),
    ("prepare_region.py", "RAW=src_data/demo/raw INSAR_FORM=insar"),
    ("augment_inventory.py", ""),
    ("check_region.py", ""),
    ("unsupervised_pretraining/DAS_pretraining.py", "RBM_EPOCHS=2 DAE_EPOCHS=2"),
    ("scene_sampling.py", "K=24"),
    ("meta_learner.py", "LOCAL_ITERATIONS=40 REGIONAL_ITERATIONS=20 LOCAL_MEMBERS=2 REGIONAL_MEMBERS=1 LOG_EVERY=10 "
                        "SAVE_EVERY=10 INNER_STEPS=1 FIRST_ORDER=True TRAIN_ON_ALL=0"),
    ("predict_LSM.py", ""),
    ("compare_methods.py", "SEEDS=1 METHODS=slope,logistic PROTOCOLS=partitions FOLDS=2 REPEATS=1 RESAMPLES=20 "
                           "WORKERS=1 AREA_CELLS=500 MAPPED=()"),
    ("feature_permutation.py", "EXPLAINED=4 BACKGROUND=4 ORDERS=1 REPEATS=1"),
    ("export_gis.py", ""),
    ("figure.py", "DPI=40 TSNE_STEPS=250 EMBEDDED=100"),
    ("report.py", ""))
SEEDED = {script for script, _ in STAGES[4:]}  # the inputs are the same for both seeds
# Taken up by every process of a stage: writes a byte to KILL_LOG when it locks the region and before each rename, and
# kills all processes of the stage before rename number KILL_AT.
HOOK = '''
import fcntl, os, signal
flock, replace = fcntl.flock, os.replace

def note():
    log = os.open(os.environ["KILL_LOG"], os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    os.write(log, b".")
    size = os.fstat(log).st_size
    os.close(log)
    return size

def locked(*given):
    flock(*given)
    note()

def replaced(*given, **options):
    if note() == 1 + int(os.environ["KILL_AT"]):
        os.killpg(os.getpgrp(), signal.SIGKILL)
    replace(*given, **options)

fcntl.flock, os.replace = locked, replaced
'''


@dataclass
class Stage:
    """A stage to kill, and snapshots of the root before and after it."""

    script: str
    arguments: list[str]
    before: Path
    after: Path

    @property
    def region(self) -> str:
        """The region whose files it writes."""
        return self.arguments[0].removeprefix("REGION=")


class Killer:
    """Runs stages below `folder`/root and ends them."""

    def __init__(self, folder: Path):
        self.root, self.log, self.said, hooks = (folder / name for name in ("root", "log", "said", "hooks"))
        hooks.mkdir(parents=True, exist_ok=True)
        (hooks / "sitecustomize.py").write_text(HOOK)  # for the processes that a stage starts
        path = os.pathsep.join([str(hooks), str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])])
        os.environ |= {"PYTHONPATH": path, "LSM_ROOT": str(self.root), "KILL_LOG": str(self.log),
                       "OMP_NUM_THREADS": "1"}

    def run(self, script: str, arguments: list[str], at: int = 0, after: float = -1.0) -> tuple[int, str, int, float]:
        """Runs a script; exit code (-9: killed), what it printed, its renames, and its seconds from the lock on.

        at     the rename before which it is killed, from 1; 0: none
        after  seconds from the lock on after which it is killed; -1: never
        """
        self.log.unlink(missing_ok=True)
        child = os.fork()  # has imported the libraries already, which take longer than the stages
        if not child:
            self._become(script, arguments, at)
        ended, start, end = 0, time.monotonic(), time.monotonic() + LONGEST
        while not ended:
            time.sleep(0.001)
            now = time.monotonic()
            if not self.log.exists():
                start = now
            elif now > end or (after >= 0 and now > start + after):
                os.killpg(child, signal.SIGKILL)
                end, after = now + LONGEST, -1.0
            ended, status = os.waitpid(child, os.WNOHANG)
        return (os.waitstatus_to_exitcode(status), self.said.read_text(errors="replace"),
                self.log.stat().st_size - 1 if self.log.exists() else 0, time.monotonic() - start)

    def _become(self, script: str, arguments: list[str], at: int) -> None:
        """Turns this process, a fresh fork, into a run of `script`, as its command would; does not return."""
        code = 1
        try:
            os.setsid()
            out = os.open(self.said, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
            os.dup2(out, 1)
            os.dup2(out, 2)
            os.environ["KILL_AT"] = str(at or 10**9)
            exec(HOOK, {})
            sys.argv = [script, *arguments]
            runpy.run_path(str(PROJECT / script), run_name="__main__")
            code = 0
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)

    def restore(self, *snapshots: Path) -> None:
        """Makes the root what the snapshots hold, later ones over earlier ones."""
        shutil.rmtree(self.root, ignore_errors=True)
        for snapshot in snapshots:
            shutil.copytree(snapshot, self.root, dirs_exist_ok=True, copy_function=shutil.copyfile)


def files(root: Path) -> dict[str, bytes]:
    """Every file below `root` by relative path: its bytes, of a record without `replaces`."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            if path.suffix == ".json" and b'"replaces"' in data:
                data = json.dumps(json.loads(data) | {"replaces": None}).encode()
            found[str(path.relative_to(root))] = data
    return found


def reference(killer: Killer, stages: tuple, folder: Path, *other: str) -> list[Stage]:
    """Runs `stages`, (script, arguments) each, in order, from nothing; snapshots of the root lie below `folder`, those
    of an earlier call too, named by the code and the arguments that made them."""
    out, before, made, part = [], folder / "0", code_of("study_area.py"), folder / "part"
    before.mkdir(parents=True, exist_ok=True)
    for script, text in stages:
        arguments = [*([] if "REGION=" in text else [f"REGION={REGION}"]), *text.split(),
                     *(other if script in SEEDED else ())]
        made = hashlib.sha256(" ".join([made, code_of(script), *arguments]).encode()).hexdigest()
        after, said = folder / made[:16], "as an earlier call left it"
        if not after.is_dir():
            killer.restore(before)
            _, renames, seconds = whole_run(killer, script, arguments)
            said = f"{renames} renames, {seconds:.1f} s"
            shutil.rmtree(part, ignore_errors=True)
            shutil.copytree(killer.root, part, copy_function=shutil.copyfile)
            part.rename(after)
        out.append(Stage(script, arguments, before, after))
        print(f"{' '.join([script, *other])}: {said}", flush=True)
        before = after
    return out


def whole_run(killer: Killer, script: str, arguments: list[str]) -> tuple[dict[str, bytes], int, float]:
    """Runs a script that must end well: the files then, its renames, its seconds."""
    code, said, renames, seconds = killer.run(script, arguments)
    if code:
        sys.exit(f"{script} {' '.join(arguments)}: exit code {code}\n{said}")
    return files(killer.root), renames, seconds


def faults_of(killer: Killer, stage: Stage, start: list[Path], expected: dict[str, bytes], fresh: Callable, at: int,
              after: float) -> list[str] | None:
    """Kills a stage once and runs it again: what is wrong then, in words; None where it ended before it was killed.

    start     the snapshots that it starts from
    expected  the files after a run from there that nobody stopped
    fresh()   what `make status` takes for fresh though it is not
    """
    killer.restore(*start)
    if killer.run(stage.script, stage.arguments, at, after)[0] != -signal.SIGKILL:
        return None
    faults = [f"fresh after the kill, though it is not: {script}" for script in fresh()]
    code, said, *_ = killer.run(stage.script, stage.arguments)
    if code == -signal.SIGKILL:
        return [*faults, f"the second run did not end within {LONGEST} s"]
    if code or "Traceback" in said:
        return [*faults, f"exit code {code}: {said.strip().splitlines()[-1] if said.strip() else ''}"]
    found = files(killer.root)
    return faults + [f"{name}: {'missing' if name not in found else 'left' if name not in expected else 'differs'}"
                     for name in sorted(expected.keys() | found.keys()) if found.get(name) != expected.get(name)]


def falsely_fresh(root: Path, stages: list[Stage], region: str) -> list[str]:
    """The stages that are fresh by their records and whose files differ from the last snapshot."""
    arguments = [a for stage in stages if stage.region == region for a in stage.arguments[1:]]
    states, paths, whole = pipeline.states_of(region, arguments), Paths(region), files(stages[-1].after)
    outputs = {stage.script: stage.outputs(paths) for stage in pipeline.STAGES}
    return [script for script, state in states.items() if state == "fresh" and any(
        path.read_bytes() != whole.get(str(path.relative_to(root))) for path in outputs[script])]


def kill_often(killer: Killer, stage: Stage, stages: list[Stage], others: list[Stage], renames: int, moments: int,
               rng: random.Random) -> tuple[int, int]:
    """Kills a stage before at most `renames` of its renames for each start (0: no limit) and at `moments`, half of them
    from nothing, half over the other seed's files; prints what does not heal. Returns the numbers of kills and of kills
    that healed."""
    kills, healed = 0, 0
    for over in range(1 + bool(others)):
        start = [*[others[-1].after] * over, stage.before]
        killer.restore(*start)
        expected, there, seconds = whole_run(killer, stage.script, stage.arguments)
        # Of the two renames of an artifact, its record's and its own, both; of the artifacts every other one.
        points = [(at, -1.0) for at in range(1, there + 1) if not others or (at - 1) // 2 % 2 == over]
        points = rng.sample(points, min(renames or there, len(points)))
        points += [(0, rng.uniform(0, seconds)) for _ in range(moments // (1 + bool(others)))]
        for at, after in points:
            faults = faults_of(killer, stage, start, expected,
                               lambda: falsely_fresh(killer.root, stages, stage.region), at, after)
            kills += faults is not None
            healed += faults == []
            for fault in faults or []:
                print(f"{stage.script}, {f'rename {at}' if at else f'{after:.2f} s'}, "
                      f"{'over the other seed' if over else 'from nothing'}: {fault}", flush=True)
    return kills, healed


def main(arguments: list[str]) -> int:
    """Reads the arguments, runs the area for both seeds, kills; the number of faults."""
    given = {"ONLY": "", "RENAMES": "0", "MOMENTS": "8", "SEED": "1", "FOLDER": ""}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals or name not in given:
            sys.exit(f"argument {argument!r}: expected NAME=value with NAME one of {', '.join(given)}\n\n{__doc__}")
        given[name] = value
    folder = Path(given["FOLDER"] or tempfile.mkdtemp(prefix="kill-"))
    try:
        killer = Killer(folder)
        asked = [script for script, _ in STAGES if any(part in script for part in given["ONLY"].split(","))]
        last = max((i for i, (script, _) in enumerate(STAGES, start=1) if script in asked), default=0)
        for script, _ in STAGES[:last]:  # imports what the stages import, once
            runpy.run_path(str(PROJECT / script), run_name="imported")
        others = reference(killer, STAGES[:last], folder / "other", OTHER)
        stages = reference(killer, STAGES[:last], folder / "whole")
        rng, lines, failed = random.Random(int(given["SEED"])), [], 0
        for stage in stages:
            if stage.script in asked:
                kills, healed = kill_often(killer, stage, stages, others, int(given["RENAMES"]),
                                           int(given["MOMENTS"]), rng)
                failed += kills - healed
                lines.append(f"{stage.script:45}{kills:6} kills, {healed:4} healed")
                print(lines[-1], flush=True)
    finally:
        if not given["FOLDER"]:
            shutil.rmtree(folder, ignore_errors=True)
    print("all stages:", *lines, f"{failed} kills did not heal", sep="\n")
    return failed


if __name__ == "__main__":
    sys.exit(print(__doc__) if {"-h", "--help"} & set(sys.argv) else bool(main(sys.argv[1:])))
