"""What the script does."""

import errno
import os
import re
import runpy
import subprocess
import sys
import textwrap
from concurrent.futures import BrokenExecutor
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path

import numpy as np
import pytest

from lsm.run import settings
from lsm.run.paths import PROJECT
from lsm.run.settings import (
    ByRecipe,
    InputError,
    by_name,
    check_of_stage,
    check_region,
    constants,
    constants_class,
    counted,
    defaults,
    in_short,
    of_stage,
    run,
)


@dataclass(frozen=True)
class Place:
    """Of all scripts."""

    REGION: str = "demo"


@dataclass(frozen=True)
class Script(Place):
    """What a person may set."""

    # of training
    RECIPE: str = "published"
    SEED: int = 1  # of every draw,
                   #   and of none else
    RATE: float = 0.5
    WEIGHTS: tuple[float, ...] = (0.3, 0.7)
    LAYERS: tuple[str, ...] = ()
    NESTED: tuple = ((("slope", 1.0),), (("DEM", 2.0),))
    FIRST_ORDER: bool = False
    BATCH: int = ByRecipe(published=8, recommended=16)

    @property
    def derived(self):
        return 2 * self.SEED


def test_the_defaults_are_the_constants_and_nothing_else():
    assert list(defaults(Script)) == ["REGION", "RECIPE", "SEED", "RATE", "WEIGHTS", "LAYERS", "NESTED",
                                      "FIRST_ORDER", "BATCH"]


@pytest.mark.parametrize(("recipe", "batch"), [("published", 8), ("recommended", 16)])
def test_by_recipe(recipe, batch):
    values = vars(constants(Script, [f"RECIPE={recipe}"]))
    assert values["RECIPE"] == recipe
    assert values["BATCH"] == batch
    assert isinstance(Script.BATCH, ByRecipe)  # the script's own value is left alone
    assert Script.RECIPE == "published"


def test_an_override_beats_the_recipe_in_any_order():
    assert constants(Script, ["BATCH=4", "RECIPE=recommended"]).BATCH == 4
    assert constants(Script, ["RECIPE=recommended", "BATCH=4"]).BATCH == 4


@pytest.mark.parametrize(("argument", "value"), [
    ("SEED=7", 7), ("RATE=0.25", 0.25), ("RATE=1e-3", 1e-3), ("RATE=2", 2.0),
    ("FIRST_ORDER=True", True), ("WEIGHTS=(0.1, 0.2, 0.7)", (0.1, 0.2, 0.7)), ("WEIGHTS=(1, 0)", (1, 0)),
    ("REGION=HK", "HK"), ("REGION=3", "3"),
    ("REGION=a=b", "a=b")])
def test_overrides_keep_the_type(argument, value):
    name = argument.partition("=")[0]
    found = getattr(constants(Script, [argument]), name)
    assert found == value
    assert type(found) is type(value)


def test_the_last_override_counts():
    assert constants(Script, ["SEED=2", "SEED=3"]).SEED == 3


@pytest.mark.parametrize("argument", ["SEED=1.0", "SEED=True", "SEED=one", "SEED=", "RATE=True", "RATE=fast",
                                      "BATCH=8.0", "WEIGHTS=[0.3, 0.7]", "WEIGHTS=0.3"])
def test_values_of_another_type(argument):
    name, _, text = argument.partition("=")
    with pytest.raises(InputError) as caught:
        constants(Script, [argument])
    example = {"SEED": "1 (int)", "RATE": "0.5 (float)", "BATCH": "8 (int)", "WEIGHTS": "(0.3, 0.7) (tuple)"}[name]
    assert str(caught.value) == f"{name}={text}: expected a value like {example}"


@pytest.mark.parametrize("argument", ["RATE=1e400", "RATE=-1e16", "BATCH=3000000000", "WEIGHTS=(1e400, 1)",
                                      "RATE=" + "9" * 400])
def test_numbers_that_no_stage_can_count_with(argument):
    with pytest.raises(InputError, match=r"=.*expected -[\d,]+ to [\d,]+; correct it"):
        constants(Script, [argument])


@pytest.mark.parametrize(("script", "argument", "words"), [
    ("meta_learner.py", "LOCAL_ITERATIONS=0", "expected 1 or more"), ("meta_learner.py", "BASE_MODEL=mlp", "DAS or M"),
    ("predict_LSM.py", "ADAPT_WITH=some", "expected half or all"),
    ("unsupervised_pretraining/DAS_pretraining.py", "HIDDEN=(0, 2, 3)", "three numbers of units"),
    ("scene_sampling.py", "WEIGHTS=(0, 0, 0, 0)", "weights of DEM, .* not all 0"),
    ("scene_sampling.py", "BLOCKS=no.gpkg", "^BLOCKS=no.gpkg: missing; looked for"),
    ("scene_sampling.py", f"BLOCKS={__file__}", "units: expected a vector file that GDAL opens, found none"),
    ("scene_sampling.py", "M=0", "1 or more"), ("scene_sampling.py", "K=-1", "0 or more"),
    ("check_region.py", "SAMPLE_ROWS=0", "1 or more"),
    ("augment_inventory.py", "INSAR_UNIT=km/yr", "expected one of mm/yr"),
    ("prepare_region.py", "STRATEGY=any", "expected one of random"), ("report.py", "FIGURE_QUALITY=0", "1 to 100"),
    ("figure.py", "KINDS=0", "1 or more"), ("figure.py", "LARGEST=0", "16 or more"),
    ("compare_methods.py", "FOLDS=0", "2 or more"), ("compare_methods.py", "SQUARES=(0,)", "squares above 0 m"),
    ("report.py", "LARGEST=3", "16 or more"), ("report.py", "NOTES=(('demo',),)", "pairs of a region and a text"),
    ("report.py", "BREAKS=best", "expected one of"),
    ("feature_permutation.py", "BACKGROUND_FROM=some", "block or region"), ("export_gis.py", "BREAKS=x", "fixed")])
def test_values_that_a_stage_refuses_are_known_before_it_runs(script, argument, words):
    check_of_stage(script, constants(constants_class(script), []))
    with pytest.raises(InputError, match=words):
        check_of_stage(script, constants(constants_class(script), [argument]))


def test_what_a_stage_runs_with_by_default_needs_no_check(monkeypatch):
    """Its check may import rooms that take a second."""
    stage, checked = "meta_learner.py", []
    monkeypatch.setattr(settings, "_check_of", lambda script: checked.append)
    for recipe in settings.RECIPES:
        check_of_stage(stage, constants(constants_class(stage), ["REGION=HK", f"RECIPE={recipe}"]))
    assert checked == []
    other = constants(constants_class(stage), ["REGION=HK", "LOCAL_ITERATIONS=7"])
    check_of_stage(stage, other)
    assert checked == [other]


@pytest.mark.parametrize(("text", "meant"), [("1", "True"), ("false", "False"), ("yes", "True"), ("off", "False"),
                                             ("perhaps", "")])
def test_other_words_for_true_and_false(text, meant):
    with pytest.raises(InputError) as caught:
        constants(Script, [f"FIRST_ORDER={text}"])
    assert str(caught.value) == (f"FIRST_ORDER={text}: expected True or False"
                                 + f"; did you mean FIRST_ORDER={meant}?" * bool(meant))


def test_a_script_without_recipes_says_so():
    with pytest.raises(InputError, match=r"^argument 'RECIPE=published': .*has no RECIPE; leave it out$"):
        by_name(["RECIPE=published"], ("REPEATS", "REGION"))


@pytest.mark.parametrize(("text", "value"), [
    ("TPI", ("TPI",)), ("TPI, profile curvature,", ("TPI", "profile curvature")), ("('TPI', 'HAND')", ("TPI", "HAND")),
    ("()", ()), ("#fff,#d0301f", ("#fff", "#d0301f")), ("1,2", ("1", "2"))])
def test_a_tuple_of_texts_may_be_given_as_words(text, value):
    assert value == constants(Script, [f"LAYERS={text}"]).LAYERS


@pytest.mark.parametrize("argument", ["LAYERS=('TPI'", "LAYERS=['TPI']", "LAYERS='TPI'", "NESTED=slope",
                                      "WEIGHTS=slope"])
def test_words_are_no_other_tuple(argument):
    with pytest.raises(InputError, match=r".*expected a value like"):
        constants(Script, [argument])


def test_names_of_terrain_may_be_given_as_words():
    assert of_stage("prepare_region.py", TERRAIN_MORE="TPI,HAND").TERRAIN_MORE == ("TPI", "HAND")


@pytest.mark.parametrize("argument", ["WEIGHTS=('a', 'b')", "WEIGHTS=(0.3, None)", "WEIGHTS=((1,), 0.3)"])
def test_tuples_of_another_type(argument):
    with pytest.raises(InputError, match=r"WEIGHTS=.*expected a value like"):
        constants(Script, [argument])


@pytest.mark.parametrize(("arguments", "meant"), [
    ("SEDE=3", "SEED=3"), ("seed=3", "SEED=3"), ("SEED", "SEED=<value>"), ("SEED 3", "SEED=3"), ("--SEED=3", "SEED=3"),
    ("SEED==3", "SEED=3"), ("--seed 3", "SEED=3"), ("seed = 3", "SEED=3"), ("seed: 3", "SEED=3"),
    ("REGIN=x", "REGION=x"),
    ("SEED REGION=x", "SEED=<value>"), ("RATE=1 first_order=True", "FIRST_ORDER=True"),
    ("XYZ=3", ""), ("derived=3", ""), ("_MINE=3", ""), ("=3", "")])
def test_what_was_meant(arguments, meant):
    with pytest.raises(InputError) as caught:
        constants(Script, arguments.split())
    message = str(caught.value)
    assert re.match(r"argument '.*': expected NAME=value with the name of a constant; ", message)
    assert message.endswith(f"; did you mean {meant}?" if meant else "; --help of each script lists its constants")


def test_what_was_meant_is_quoted_for_the_shell():
    with pytest.raises(InputError, match=r"did you mean 'REGION=two words'\?$"):
        constants(Script, ["region=two words"])
    with pytest.raises(InputError, match=r"^argument '': expected NAME=value"):
        constants(Script, [""])


@dataclass(frozen=True)
class WithoutRecipes:
    """None of its constants depends on the recipe."""

    RECIPE: str = "published"


def test_unknown_recipe():
    with pytest.raises(InputError, match=r"^RECIPE=paper: expected one of published, recommended$"):
        constants(Script, ["RECIPE=paper"])
    with pytest.raises(InputError, match=r"^RECIPE=paper: expected one of published, recommended$"):
        constants(WithoutRecipes, ["RECIPE=paper"])


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_names_every_constant(option, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["script.py", option])
    run(lambda c: pytest.fail("help runs nothing"), Script)
    said = capsys.readouterr().out
    assert said.startswith("What the script does.")
    of_script = Path(__file__).read_text().partition('"""What a person may set."""\n\n')[2].partition("\n    @")[0]
    assert "#   and of none else" in of_script  # comments come along
    assert said.endswith(f'overridden as NAME=value:\n\nREGION: str = "demo"\n\n{textwrap.dedent(of_script)}')


def test_a_region_without_inputs_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    check_region("demo")  # no region has any: a stage says what it lacks
    (tmp_path / "src_data/isle/raw").mkdir(parents=True)
    (tmp_path / "src_data/samples_coast_noTS.csv").touch()
    check_region("isle")
    check_region("coast")
    with pytest.raises(InputError, match=r"REGION=demo: expected .*, found inputs of coast, isle; python src_d"):
        check_region("demo")
    with pytest.raises(InputError, match=r"mean REGION=coast\? If not, python prepare_region.py REGION=Coast"):
        check_region("Coast")
    said = (f"REGION=nosuch: expected inputs in {tmp_path}/src_data, found inputs of coast, isle; "
            "python prepare_region.py REGION=nosuch RAW=<folder> makes them (docs/new_region.md)\n")
    for command in (["scene_sampling.py"], ["tools/pipeline.py", "status"]):
        done = subprocess.run([sys.executable, *command, "REGION=nosuch"], cwd=PROJECT, text=True, capture_output=True)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{command[0]}: {said}")
    assert [path.name for path in tmp_path.iterdir()] == ["src_data"]


def test_run_gives_main_its_constants(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["script.py", "SEED=5"])
    seen = []
    run(seen.append, Script, makes_region=True)
    assert seen[0].SEED == 5
    assert capsys.readouterr().out.startswith("done in ")


def test_a_script_of_another_copy_of_the_project_is_refused(tmp_path, monkeypatch, capsys):
    """A script in a folder of its own finds the lsm/ that its Python has installed, not the one two folders up."""
    (tmp_path / "lsm" / "run").mkdir(parents=True)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "src_data" / "script.py")])
    with pytest.raises(SystemExit) as stopped:
        run(lambda c: None, Script, makes_region=True)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.endswith(f"begin the command with PYTHONPATH={tmp_path}\n")


def test_run_turns_unusable_input_into_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["script.py"])

    def main(c):
        raise InputError("src_data/x.csv: missing")

    with pytest.raises(SystemExit) as caught:
        run(main, Script, makes_region=True)
    assert caught.value.code == 2
    assert capsys.readouterr() == ("", "script.py: src_data/x.csv: missing\n")


def test_run_lets_faults_of_the_program_through(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["script.py"])
    with pytest.raises(ZeroDivisionError):
        run(lambda c: 1 / 0, Script, makes_region=True)


def test_many_differences_are_cut_short_and_counted():
    assert in_short(["K = 64, now 65", "other code"]) == "K = 64, now 65; other code"
    many = [f"CONSTANT_{i} = {i}, now {i + 1}" for i in range(40)]
    said = in_short(many)
    assert said.startswith("CONSTANT_0 = 0, now 1; CONSTANT_1 = 1, now 2; ")
    assert len(said) < 220
    assert said.count(" = ") + int(said.rpartition("; and ")[2].removesuffix(" more")) == 40
    long = in_short([f"METHODS = {'x' * 900}", *many])
    assert long.startswith("METHODS = xx")
    assert long.endswith("; and 40 more")
    assert len(long) < 320


@pytest.mark.parametrize("script", ["meta_learner.py", "unsupervised_pretraining/DAS_pretraining.py"])
@pytest.mark.parametrize("recipe", ["published", "recommended"])
def test_constants_of_another_stage_are_those_it_runs_with(script, recipe, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # found from anywhere
    found = of_stage(script, REGION="HK", RECIPE=recipe, SEED=7)
    module = runpy.run_path(str(PROJECT / script))
    assert vars(found) == vars(constants(module["Constants"], ["REGION=HK", f"RECIPE={recipe}", "SEED=7"]))
    assert {"REGION": "HK", "RECIPE": recipe, "SEED": 7}.items() <= vars(found).items()
    assert not any(isinstance(v, ByRecipe) for v in vars(found).values())
    assert vars(of_stage(script)) == vars(constants(module["Constants"], []))
    assert not list(tmp_path.iterdir())


def test_constants_of_another_stage_come_anew_and_are_checked():
    one = of_stage("meta_learner.py", LOCAL_ITERATIONS=7)
    two = of_stage("meta_learner.py")
    with pytest.raises(FrozenInstanceError):
        one.META_BATCH = -1
    assert one.LOCAL_ITERATIONS == 7
    assert two.LOCAL_ITERATIONS != 7
    with pytest.raises(InputError, match="did you mean LOCAL_ITERATIONS"):
        of_stage("meta_learner.py", LOCAL_ITERATION=7)
    with pytest.raises(InputError, match="RECIPE=paper"):
        of_stage("meta_learner.py", RECIPE="paper")


@pytest.mark.parametrize(("text", "shown"), [("a\nb", "a\\nb"), ("a\tb\x00c", "a\\tb\\x00c"), ("\x1b[31m", "\\x1b[31m"),
                                             ("Brücke 5 m², 滑坡", "Brücke 5 m², 滑坡"), ("\u2028x", "\\u2028x")])
def test_errors_are_one_line_of_what_can_be_printed(text, shown):
    assert str(InputError(text)) == shown


def test_long_errors_keep_their_beginning_and_their_end():
    message = str(InputError("src_data/x.csv: line 3: found " + "9" * 5000 + "; remove the row"))
    assert len(message) == 300
    assert message.startswith("src_data/x.csv: line 3: found 999")
    assert message.endswith("999; remove the row")


@pytest.mark.parametrize(("number", "words"), [
    (errno.ENOSPC, "No space left on device; free space on this disk"),
    (errno.EACCES, "Permission denied; allow this user"), (errno.EROFS, "Read-only file system; set LSM_ROOT"),
    (errno.EISDIR, "Is a directory; a file is expected"),
    (errno.ENAMETOOLONG, "File name too long; choose a shorter REGION"),
    (errno.EIO, "Input/output error; check the disk")])
def test_what_the_system_refuses_is_one_line(number, words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["script.py"])

    def main(c):
        raise OSError(number, os.strerror(number), "/elsewhere/x.csv")

    with pytest.raises(SystemExit) as caught:
        run(main, Script, makes_region=True)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"script.py: /elsewhere/x.csv: {words}")
    assert said.count("\n") == 1


@pytest.mark.parametrize(("error", "said"), [
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device; free space on this disk"),
    (BrokenPipeError(errno.EPIPE, "Broken pipe"), "Broken pipe; the program that reads these lines (head?) has ended"),
    (FileNotFoundError("No usable temporary directory found"), "No usable temporary directory found; check the disk"),
    (BrokenExecutor("A process died"), "a process of this run was killed, most likely for want of memory; set WORK")])
def test_failures_without_a_file_are_one_line(error, said, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["script.py"])

    def main(c):
        raise error

    with pytest.raises(SystemExit) as caught:
        run(main, Script, makes_region=True)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(f"script.py: {said}")


def test_the_last_line_into_a_pipe_that_nobody_reads(monkeypatch, capsys):
    def write(text):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(sys, "argv", ["script.py"])
    monkeypatch.setattr(sys.stdout, "write", write)
    with pytest.raises(SystemExit) as caught:
        run(lambda c: None, Script, makes_region=True)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("script.py: Broken pipe; the program that reads these lines")


def test_too_little_memory_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["script.py"])

    def main(c):
        raise MemoryError

    with pytest.raises(SystemExit):
        run(main, Script, makes_region=True)
    assert capsys.readouterr().err.startswith("script.py: not enough memory; ")


def test_one_thing_is_not_said_as_many():
    numbers = (0, np.int64(1), 2, np.int64(2000))
    assert [counted(n, "block") for n in numbers] == ["0 blocks", "1 block", "2 blocks", "2,000 blocks"]
