"""tools/kill.py finds what does not heal, and nothing else."""

import subprocess
import sys

import pytest

from lsm.run.paths import PROJECT

STAGE = """
import os, sys, time
from dataclasses import dataclass
import pandas as pd
from lsm.run.artifacts import write_csv
from lsm.run.paths import root
from lsm.run.settings import run


@dataclass(frozen=True)
class Constants:
    REGION: str = "isle"
    SEED: int = 1


def main(c):
    for name in ("first", "second"):
        write_csv(root() / "out" / f"{name}.csv", pd.DataFrame({"a": range(c.SEED, 100)}), "stage.py", c, [])
    {more}


run(main, Constants)
"""
# Runs tools/kill.py on the stage above: from nothing, and over what a run with another seed has left.
DRIVER = """
import random, sys
from pathlib import Path
import pandas, lsm.run.artifacts, lsm.run.settings
from tools import kill
folder, script = map(Path, sys.argv[1:])
kill.SEEDED.add(str(script))
killer, stages = kill.Killer(folder), ((str(script), "REGION=isle"),)
others, whole = (kill.reference(killer, stages, folder / name, *seed) for name, seed in (("o", ["SEED=2"]), ("w", [])))
print(kill.kill_often(killer, whole[0], whole, others, 0, 2, random.Random(1)))
"""


def kills(tmp_path, more: str) -> list[str]:
    """What the tool prints on the stage with `more` at its end."""
    (tmp_path / "stage.py").write_text(STAGE.replace("{more}", more))
    done = subprocess.run([sys.executable, "-c", DRIVER, tmp_path / "work", tmp_path / "stage.py"], cwd=PROJECT,
                          text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[2:]


def test_artifacts_heal(tmp_path):
    *faults, counts = kills(tmp_path, "time.sleep(0.2)")
    assert faults == []
    assert counts == "(6, 6)"  # four renames, shared by two starts, and a moment of each start


LAST = "(root() / 'b').touch(); os.replace(root() / 'b', root() / 'c')"


@pytest.mark.parametrize(("more", "fault"), [
    ("(root() / 'log.txt').open('a').write('x'); " + LAST, "log.txt: differs"),
    ("assert not (root() / 'b').exists(); " + LAST, "exit code 1: AssertionError")], ids=["differs", "stops"])
def test_what_does_not_heal_is_found(tmp_path, more, fault):
    *found, counts = kills(tmp_path, more)  # on a busy machine a kill at a random moment may find it, too
    assert f"{tmp_path}/stage.py, rename 5, from nothing: {fault}" in found
    assert all(line.endswith(fault) for line in found)
    assert counts in ("(5, 4)", "(6, 5)", "(7, 6)")  # the moments of so short a stage may come after its end


@pytest.mark.slow
def test_a_stage_of_the_pipeline_heals(tmp_path):
    done = subprocess.run([sys.executable, PROJECT / "tools" / "kill.py", "ONLY=make_demo", "RENAMES=3", "MOMENTS=4",
                           f"FOLDER={tmp_path / 'kill'}"], text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 kills did not heal" in done.stdout
