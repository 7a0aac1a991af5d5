"""`make status` and what make decides by: records, after each kind of change."""

import itertools
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from matplotlib.figure import Figure

from lsm.checks.inspection import write_checks
from lsm.figures.common import save
from lsm.inputs.factor.definition import write_factors
from lsm.maps.gis import remove_product
from lsm.run import pipeline
from lsm.run.artifacts import artifact, record_path
from lsm.run.code import with_constants_of
from lsm.run.paths import OF_SOME, PRODUCTS, PROJECT, Paths
from lsm.run.settings import InputError, constants, constants_class, of_stage

K = "K=64"  # as conftest makes the demo
TRAINING = ("LOG_EVERY=20", "SAVE_EVERY=20")


@pytest.fixture
def finished(copy_of_demo):
    """The demo after stages 1 to 4, with the arguments that made it."""
    made = json.loads(record_path(Paths("demo").model).read_text())["constants"]
    area = json.loads(record_path(Paths("demo").composite).read_text())["constants"]
    arguments = [K, *(f"{name}={value}" for name, value in made.items() if "ITERATIONS" in name), *TRAINING]
    arguments += [f"{name}={area[name]}" for name in ("ROWS", "COLS", "INVENTORY", "ABSENCE", "INSAR")]
    return copy_of_demo, arguments


def compared(**given) -> SimpleNamespace:
    """What a comparison writes into its records for these constants."""
    return with_constants_of(pipeline.BY_SCRIPT[pipeline.COMPARE].does, of_stage(pipeline.COMPARE, **given))


def states(arguments) -> dict[str, str]:
    return {script: state for script, state in pipeline.states_of("demo", arguments).items()
            if script in (pipeline.DEMO, pipeline.PRETRAIN, pipeline.CUT, pipeline.LEARN, pipeline.MAP)}


def test_layers_in_the_raw_folder_of_an_area_without_inputs_are_prepared(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    for region in ("isle", "demo"):
        Paths(region).raw.mkdir(parents=True)
        assert (pipeline.PREPARE in pipeline.states_of(region, [])) == (region == "isle")
    Paths("isle").samples.touch()  # tables of a person stay as they are
    assert pipeline.PREPARE not in pipeline.states_of("isle", [])


def test_after_a_run_all_is_fresh_and_clocks_do_not_count(finished):
    root, arguments = finished
    assert set(states(arguments).values()) == {"fresh"}
    for path in root.rglob("*.csv"):
        path.touch()
    assert set(states(arguments).values()) == {"fresh"}


def test_an_edited_input_makes_what_depends_on_it_stale(finished):
    _, arguments = finished
    with open(Paths("demo").samples, "a") as file:
        file.write("\n")
    found = states(arguments)
    assert found[pipeline.DEMO] == "stale: src_data/samples_demo.csv: is not the file its record describes"
    assert all(found[script].startswith("stale") for script in (pipeline.PRETRAIN, pipeline.CUT, pipeline.MAP))


def test_a_changed_constant_is_named(finished):
    _, arguments = finished
    found = states([*arguments, "M=400"])
    assert found[pipeline.CUT] == "stale: M = 500, now 400"
    assert found[pipeline.PRETRAIN] == "fresh"
    assert found[pipeline.LEARN] == "stale: scene_sampling.py must run first"


@pytest.mark.parametrize("argument", ["SEED=2", "RECIPE=published"])
def test_another_seed_or_recipe(finished, argument):
    name, value = argument.split("=")
    state = states([*finished[1], argument])[pipeline.PRETRAIN]
    assert state.startswith("stale: ")
    assert f"{name} = " in state
    assert f"now {int(value) if value.isdigit() else value!r}" in state


def test_a_lost_artifact_and_a_lost_record(finished):
    _, arguments = finished
    Paths("demo").tasks.unlink()
    assert states(arguments)[pipeline.CUT] == "stale: metatask_sampling/demo_tasks.npz: missing"
    record_path(Paths("demo").blocks).unlink()
    assert states(arguments)[pipeline.CUT].startswith("stale: metatask_sampling/demo_blocks.tif.json: missing")


@pytest.mark.parametrize(("change", "state", "mark"), [
    ("remove", "missing", "missing"), ("edit", "is not the file its record describes", "edited since")])
@pytest.mark.parametrize(("script", "name"), [
    (pipeline.MAP, "map_table"), (pipeline.CHECK, "correlation"), (pipeline.AUGMENT, "augmentation"),
    (pipeline.AUGMENT, "augmentation_points"), (pipeline.PREPARE, "strategies"),
    *((pipeline.COMPARE, name) for name in ("splits", "block_metrics", "method_differences", "rates", "method_maps"))])
def test_every_file_that_a_stage_wrote_is_seen(tmp_path, monkeypatch, script, name, change, state, mark, capsys):
    """Also one that only some runs write; its record tells that the last one did."""
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    paths, stage = Paths("isle"), pipeline.BY_SCRIPT.get(script, pipeline.CHECKS)
    path, c = getattr(paths, name), with_constants_of(stage.does, of_stage(script, REGION="isle"))
    factors = of_stage(pipeline.CHECK, REGION="isle").factors
    for file in (*stage.outputs(paths), path, *[paths.insar_points] * (script == pipeline.AUGMENT)):
        file.parent.mkdir(parents=True, exist_ok=True)
        with artifact(file, script, c, []) as temporary:
            temporary.write_text("as written")
            if file == paths.factors:
                write_factors(temporary, factors, {})
    monkeypatch.setattr(pipeline, "_gone", lambda paths: [])
    assert pipeline._reasons(stage, paths, []) == []
    path.unlink()
    if change == "edit":
        path.write_text("edited")
    assert pipeline._reasons(stage, paths, []) == [f"{path.relative_to(tmp_path)}: {state}"]
    assert f"      {path.relative_to(tmp_path)}  ({mark})\n" in said_of("isle", capsys)


def test_the_steps_of_the_published_recipe_are_shown_but_make_no_comparison_stale(finished, capsys):
    """They are of a protocol that no other comparison runs."""
    paths = Paths("demo")
    for path in pipeline.BY_SCRIPT[pipeline.COMPARE].outputs(paths):
        with artifact(path, pipeline.COMPARE, compared(), [paths.samples]) as temporary:
            temporary.write_text("compared")
    for path in (paths.published_steps, paths.published_steps_page):
        with artifact(path, pipeline.COMPARE, compared(PROTOCOLS="published-steps"), []) as temporary:
            temporary.write_text("step by step")
    paths.published_steps.unlink()
    assert pipeline.states_of("demo", finished[1])[pipeline.COMPARE] == "fresh"
    said = said_of("demo", capsys, *finished[1])
    assert "      tmp/demo_published_steps.csv  (missing)\n      tmp/demo_published_steps.md\n" in said


def test_a_stage_that_was_killed_is_stale_until_it_has_run_again(finished, monkeypatch):
    """Before each rename of its three files and their records, in a run with another constant."""
    (_, arguments), paths, replace_ = finished, Paths("demo"), Path.replace
    other = ["K=32" if argument == K else argument for argument in arguments]
    before = {path: path.read_bytes() for p in pipeline.BY_SCRIPT[pipeline.CUT].outputs(paths)
              for path in (p, record_path(p))}
    inputs, found = [finished[0] / name for name in json.loads(before[record_path(paths.tasks)])["inputs"]], []
    for last in range(6):
        left = [None] * last

        def killed(self, target, left=left):
            if not left:
                raise KeyboardInterrupt
            left.pop()
            return replace_(self, target)

        for path, data in before.items():
            path.write_bytes(data)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", killed)
            with pytest.raises(KeyboardInterrupt):
                run_of_stage_2(paths, inputs)
        now = states(other)
        found.append(now[pipeline.CUT])
        assert states(arguments)[pipeline.CUT].startswith("stale: ") == (last > 0)
        assert now[pipeline.LEARN] == "stale: scene_sampling.py must run first"
    stopped = "stale: metatask_sampling/demo_{}: of an earlier run, since scene_sampling.py was stopped before its end"
    assert found == ["stale: K = 64, now 32", stopped.format("blocks.tif"), "stale: K = 64, now 32",
                     stopped.format("tasks.npz"), "stale: K = 64, now 32", stopped.format("blocks.csv")]
    run_of_stage_2(paths, inputs)
    assert states(other)[pipeline.CUT] == "fresh"


def run_of_stage_2(paths: Paths, inputs: list[Path]) -> None:
    """Files as scene_sampling.py K=32 leaves them, in its order."""
    for path in pipeline.BY_SCRIPT[pipeline.CUT].outputs(paths):
        with artifact(path, pipeline.CUT, of_stage(pipeline.CUT, K=32), inputs) as temporary:
            temporary.write_text("32 blocks")


def export_layers(paths: Paths, optional=()) -> None:
    """Files as export_gis.py leaves them, of the map that is there."""
    c = of_stage(pipeline.GIS)
    for path in (paths.gis_layers, *map(paths.gis_raster, PRODUCTS), paths.gis_table):
        with artifact(path, pipeline.GIS, c, [paths.map_raster], optional) as temporary:
            temporary.write_text("exported")
    for product in PRODUCTS:
        for path in paths.beside_gis_raster(product):
            path.write_text("beside it")


@pytest.mark.parametrize(("file", "state"), [
    *((f"demo_{product}.tif", f"figs/demo_{product}.tif: missing") for product in PRODUCTS),
    *((f"demo_{product}.qml", f"figs/demo_{product}.qml: missing") for product in PRODUCTS),
    ("demo_class.tif.aux.xml", "figs/demo_class.tif.aux.xml: missing"),
    ("demo_leading.tif.aux.xml", "figs/demo_leading.tif.aux.xml: missing")])
def test_every_file_for_a_gis_must_be_there(finished, file, state):
    export_layers(Paths("demo"))
    assert pipeline.states_of("demo", finished[1])[pipeline.GIS] == "fresh"
    (finished[0] / "figs" / file).unlink()
    assert pipeline.states_of("demo", finished[1])[pipeline.GIS] == f"stale: {state}"


@pytest.mark.parametrize("product", PRODUCTS)
def test_every_raster_for_a_gis_must_be_as_it_was_written_and_of_this_map(finished, product):
    paths = Paths("demo")
    export_layers(paths)
    record = record_path(paths.gis_raster(product))
    record.write_text(json.dumps(json.loads(record.read_text()) | {"seed": 7}))
    assert pipeline.states_of("demo", finished[1])[pipeline.GIS] == "stale: SEED = 7, now 1"
    paths.gis_raster(product).write_text("edited")
    assert pipeline.states_of("demo", finished[1])[pipeline.GIS] == (
        f"stale: figs/demo_{product}.tif: is not the file its record describes")


def test_a_raster_that_the_last_run_did_not_write_is_not_missed(finished):
    paths = Paths("demo")
    export_layers(paths)
    for product in OF_SOME:
        remove_product(paths, product, pipeline.GIS)
        assert not list((finished[0] / "figs").glob(f"demo_{product}.*"))
    assert pipeline.states_of("demo", finished[1])[pipeline.GIS] == "fresh"


def test_an_optional_input_that_comes_or_changes_makes_stale(finished):
    _, arguments = finished
    paths = Paths("demo")

    def export():
        export_layers(paths, [paths.importance])

    export()
    assert pipeline.states_of("demo", arguments)[pipeline.GIS] == "fresh"
    paths.importance.write_text("explained")
    assert pipeline.states_of("demo", arguments)[pipeline.GIS] == "stale: tmp/demo_importance.csv is new"
    export()  # which could not use it
    assert pipeline.states_of("demo", arguments)[pipeline.GIS] == "fresh"
    paths.importance.write_text("explained again")
    assert pipeline.states_of("demo", arguments)[pipeline.GIS] == "stale: tmp/demo_importance.csv is new"
    paths.importance.unlink()
    assert pipeline.states_of("demo", arguments)[pipeline.GIS] == "fresh"


def test_the_origins_of_samples_make_blocks_stale(finished):
    Paths("demo").samples_origin.write_text("row,origin,weight,velocity\n")
    assert states(finished[1])[pipeline.CUT] == "stale: src_data/demo_samples_origin.csv is new"


@pytest.mark.parametrize("change", [{"zero_is_missing": False}, {"aliases": ("velocity",)}])
def test_a_factor_that_is_read_in_another_way_makes_stale(finished, change):
    *others, velocity = constants(constants_class(pipeline.CUT), ["REGION=demo"]).factors
    write_factors(Paths("demo").factors, (*others, velocity), {})
    assert set(states(finished[1]).values()) == {"fresh"}
    write_factors(Paths("demo").factors, (*others, replace(velocity, **change)), {})
    assert states(finished[1])[pipeline.CUT] == "stale: another list of factors"


def test_changed_code(finished, monkeypatch):
    real = pipeline.code_of
    monkeypatch.setattr(pipeline, "code_of", lambda script: "another" if script == pipeline.MAP else real(script))
    found = states(finished[1])
    assert found[pipeline.MAP] == "stale: the code has changed"


def test_what_a_run_has_made_stays_fresh_whatever_another_region_does_since(finished):
    record = record_path(Paths("demo").saved_model)
    record.write_text(json.dumps(json.loads(record.read_text()) | {"region": "isle"}))
    found = pipeline.states_of("demo", finished[1], made=(pipeline.PRETRAIN, pipeline.CUT, pipeline.LEARN))
    assert found[pipeline.MAP] == "fresh"


def test_raw_layers_do_not_take_the_constants_of_the_demo(finished):
    assert pipeline.arguments_of(pipeline.PREPARE, "demo", ["RAW=layers"]) == ["REGION=demo", "RAW=layers"]


@pytest.mark.parametrize(("argument", "said"), [
    ("FORECAST=yes", "FORECAST=yes: expected True or False; did you mean FORECAST=True?"),
    ("RECIPE=paper", "RECIPE=paper: expected one of published, recommended"),
    ("START_FROM=projct", "did you mean START_FROM=project?"),
    ("RAW=layers", "expected REGION=<name> for these layers, found region demo"),
    ("BLOCKS=units.gpkg", "BLOCKS=units.gpkg: missing; looked for"),
    ("FORECAST=True", "expected landslides of two years or more, found 0")])
def test_what_cannot_be_used_is_refused_before_any_stage(finished, argument, said):
    main = runpy.run_path(str(PROJECT / "tools" / "pipeline.py"))["main"]
    before = {path: path.stat().st_mtime_ns for path in finished[0].rglob("*")}
    with pytest.raises(InputError, match=re.escape(said)):
        main(["map", *finished[1], argument])
    assert {path: path.stat().st_mtime_ns for path in finished[0].rglob("*")} == before


def test_make_hands_values_on_as_they_were_typed(finished):
    typed = ["SQUARES=(1000,)", "WITHOUT=it's $x, $$ or \\ | a b"]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # not within make test
    done = subprocess.run(["make", "status", f"PY={sys.executable}", *typed], cwd=PROJECT, text=True,
                          capture_output=True, env=alone)
    assert done.returncode == 0, done.stderr
    last = shlex.split(done.stdout.splitlines()[-1].partition("to make the map: ")[2])
    assert set(typed) < set(last)
    assert f"      {sys.executable} check_region.py REGION=demo" in done.stdout  # the Python that make uses


@pytest.mark.parametrize(("end", "code", "said"), [
    ("kill -9 $$", 137, "signal 9 (Killed; perhaps for want of memory)"),
    ("kill -6 $$", 134, "signal 6 (Aborted; perhaps for want of memory)"),
    ("kill -15 $$", 143, "signal 15 (Terminated)"), ("kill -2 $$", 130, ""), ("exit 2", 2, "")])
def test_a_stage_that_a_signal_ends_is_one_line(tmp_path, monkeypatch, capfd, end, code, said):
    """But for Ctrl-C, of which the stage itself tells."""
    (tmp_path / "python").write_text(f"#!/bin/bash\n{end}\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(PROJECT / "tools" / "pipeline.py"))["run"](pipeline.DEMO, "demo", [])
    assert ended.value.code == code
    line = f"{pipeline.DEMO} was ended by {said}: run the same command again, it goes on\n"
    assert capfd.readouterr().err == line * bool(said)


def test_names_that_no_stage_knows():
    with pytest.raises(InputError, match=r"argument 'ITERATION=3': .*did you mean"):
        pipeline.read_arguments(["ITERATION=3"])


def test_status_prints_states_files_and_commands(finished):
    root, arguments = finished
    shutil.rmtree(root / "models_of_blocks")
    done = subprocess.run([sys.executable, "tools/pipeline.py", "status", "REGION=demo", "SQUARES=(1000,)",
                           "WITHOUT=land use", *arguments], cwd=PROJECT, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert "meta_learner.py: up to date\n" in done.stdout
    assert "predict_LSM.py: out of date: models_of_blocks/demo_models.npz: missing\n" in done.stdout
    assert "    python predict_LSM.py REGION=demo\n" in done.stdout
    assert "      tmp/LSM_demo.csv\n" in done.stdout  # which grids without a table lack
    needed, optional = done.stdout.split("optional\n")
    given = " ".join(["REGION=demo", "'SQUARES=(1000,)'", "'WITHOUT=land use'", *arguments])
    assert "compare_methods.py" not in needed
    assert f"  compare: not made\n      make compare {given}\n" in optional
    assert f"  figures: not made\n      make figures {given}\n" in optional
    assert optional.endswith(f"\nto make the map: make run {given}\n")


def test_status_of_a_fresh_map_ends_with_it(finished, capsys, monkeypatch):
    monkeypatch.setenv("PY", "python")
    status = runpy.run_path(str(PROJECT / "tools" / "pipeline.py"))["status"]
    status("demo", finished[1], False)
    said = capsys.readouterr().out
    assert said.endswith("\n\nthe map is up to date: figs/LSM_demo.tif\n")
    assert "      make gis REGION=demo " in said
    assert " PY=python\n" in said


@pytest.mark.parametrize("given", [(), ("K=32",)])
def test_status_says_how_to_keep_a_map_that_was_made_with_other_constants(finished, capsys, given):
    status = runpy.run_path(str(PROJECT / "tools" / "pipeline.py"))["status"]
    area = [a for a in finished[1] if a.startswith(("ROWS", "COLS", "INVENTORY", "ABSENCE", "INSAR"))]
    status("demo", [*area, *given], False)
    *_, keep, make = capsys.readouterr().out.splitlines()
    own = re.fullmatch("The map that is there was made with (.*): add this to each make of the region to keep it.",
                       keep)
    assert set(shlex.split(own[1])) >= {K, *(a for a in finished[1] if "ITERATIONS" in a)}
    assert make.startswith("to make the map: make run REGION=demo")
    with open(Paths("demo").samples, "a") as file:
        file.write("\n")
    status("demo", [*area, *given], False)  # no constants make it up to date
    assert "was made with" not in capsys.readouterr().out.splitlines()[-2]


def test_status_of_a_fresh_map_ends_with_what_is_older_than_it(finished, capsys, monkeypatch):
    monkeypatch.delenv("PY", raising=False)
    states = dict.fromkeys(pipeline.BY_SCRIPT, "fresh") | {pipeline.GIS: "stale: x", pipeline.REPORT: "stale: y",
                                                           pipeline.EXPLAIN: "missing"}
    monkeypatch.setattr(pipeline, "states_of", lambda *_: states)
    runpy.run_path(str(PROJECT / "tools" / "pipeline.py"))["status"]("demo", ["SEED=2"], False)
    assert capsys.readouterr().out.endswith("\nthe map is up to date: figs/LSM_demo.tif; out of date: gis, report; "
                                            "to make them: make gis report REGION=demo SEED=2\n")


def test_status_says_when_the_checks_are_out_of_date(finished, capsys):
    paths, status = Paths("demo"), runpy.run_path(str(PROJECT / "tools" / "pipeline.py"))["status"]

    def said() -> str:
        status("demo", finished[1], False)
        return re.search(r"  checks of the inputs: (.*?)\n  explain", capsys.readouterr().out, re.DOTALL)[1]

    assert said() == "not made\n      python check_region.py REGION=demo"
    with artifact(paths.checks, pipeline.CHECK, of_stage(pipeline.CHECK, STOP_AT_ERRORS=False), [paths.samples],
                  [paths.factor_stack]) as temporary:
        temporary.write_text("topic,file,level,found,remedy\n")
    assert said() == "up to date\n      tmp/demo_checks.csv"
    assert pipeline.checked("demo", finished[1])
    paths.factor_stack.write_text("new")
    with open(paths.samples, "a") as file:
        file.write("\n")
    assert said() == ("out of date: src_data/demo/factors.tif is new; another src_data/samples_demo.csv\n"
                      "      tmp/demo_checks.csv\n      python check_region.py REGION=demo")
    assert not pipeline.checked("demo", finished[1])


def test_a_comparison_that_somebody_chose_is_up_to_date_as_chosen(finished, capsys):
    paths, tool = Paths("demo"), runpy.run_path(str(PROJECT / "tools" / "pipeline.py"))
    c = compared(PROTOCOLS="partitions", METHODS="ours,logistic")
    for path in pipeline.BY_SCRIPT[pipeline.COMPARE].outputs(paths):
        with artifact(path, pipeline.COMPARE, c, [paths.samples]) as temporary:
            temporary.write_text("compared")

    def said() -> list[str]:
        tool["status"]("demo", finished[1], False)
        return [line for line in capsys.readouterr().out.splitlines() if "compare: " in line or "the map is" in line]

    assert said() == ["  compare: up to date: as chosen (PROTOCOLS=partitions METHODS=ours,logistic)",
                      "the map is up to date: figs/LSM_demo.tif"]
    with open(paths.samples, "a") as file:
        file.write("\n")
    assert said()[0].startswith("  compare: out of date")


def test_a_comparison_is_stale_once_a_constant_of_the_stages_it_repeats_is_another(finished, capsys):
    """It trains ours itself, as stages 1 and 3 would; the map may have come from another number since."""
    paths, c = Paths("demo"), compared()
    vars(c)["ADAPT_STEPS OF META_LEARNER.PY, RECOMMENDED"] += 1
    for path in pipeline.BY_SCRIPT[pipeline.COMPARE].outputs(paths):
        with artifact(path, pipeline.COMPARE, c, [paths.samples]) as temporary:
            temporary.write_text("compared")
    now = of_stage(pipeline.LEARN).ADAPT_STEPS
    assert pipeline.states_of("demo", finished[1])[pipeline.COMPARE] == (
        f"stale: ADAPT_STEPS OF META_LEARNER.PY, RECOMMENDED = {now + 1}, now {now}")
    tool = runpy.run_path(str(PROJECT / "tools" / "pipeline.py"))
    assert tool["for_the_map_alone"](["ADAPT_STEPS", "SEEDS", "REGION", "K", "HIDDEN"]) == ["ADAPT_STEPS", "HIDDEN"]


def test_the_command_for_a_lost_file_of_a_chosen_comparison_makes_no_bigger_one(finished, capsys, monkeypatch):
    paths, chosen = Paths("demo"), "PROTOCOLS=partitions METHODS=ours,logistic REPEATS=1"
    monkeypatch.delenv("PY", raising=False)
    c = compared(**dict(pair.split("=") for pair in chosen.split()) | {"REPEATS": 1})
    for path in (paths.scores, paths.method_metrics, paths.results, paths.method_differences):
        with artifact(path, pipeline.COMPARE, c, [paths.samples]) as temporary:
            temporary.write_text("compared")
    export_layers(paths)
    paths.gis_table.unlink()
    paths.method_differences.unlink()
    said, given = said_of("demo", capsys, *finished[1]), shlex.join(["REGION=demo", *finished[1]])
    assert "  compare: out of date: tmp/demo_differences.csv: missing\n" in said
    assert f"      make compare {given} {chosen}\n" in said
    assert said.endswith(f"to make them: make compare {given} {chosen} && make gis {given}\n")  # which has REPEATS too


def test_figures_are_fresh_by_their_records_and_drawn_again_else(finished, capsys, monkeypatch):
    paths, tool = Paths("demo"), runpy.run_path(str(PROJECT / "tools" / "pipeline.py"))
    monkeypatch.delenv("PY", raising=False)
    ran, c = [], of_stage(pipeline.DRAW)
    monkeypatch.setitem(tool["main"].__globals__, "run", lambda script, *_: ran.append(script))

    def state() -> str:
        tool["status"]("demo", finished[1], False)
        return re.search(r"  figures: (.*?)\n\n", capsys.readouterr().out, re.DOTALL)[1]

    def draw(name: str) -> None:
        figure = Figure()
        save(c, name, figure, pd.DataFrame({"name": [name]}))

    given = shlex.join(["REGION=demo", *finished[1]])
    assert state() == f"not made\n      make figures {given}"
    for name in ("lsm_map", "roc"):
        draw(name)
    paths.figure("lsm_map", "png").with_name("demo_more_roc.png.json").write_text("{}")  # of region demo_more
    assert state() == "up to date\n      figs/demo_lsm_map.png\n      figs/demo_roc.png"
    tool["main"](["figures", *finished[1]])
    assert ran == []
    tool["main"](["figures", "ONLY=roc", *finished[1]])
    assert ran == [pipeline.DRAW]
    assert pipeline.state_of_figures("demo", ["DPI=80"]) == "stale: DPI = 300, now 80"
    assert pipeline.state_of_figures("demo", [], [pipeline.MAP]) == "stale: predict_LSM.py must run first"
    for path, why in ((paths.figure("roc", "csv"), "figs/demo_roc.csv: missing"),
                      (paths.figure("roc", "png"), "figs/demo_roc.png: missing")):
        path.unlink()
        assert state() == (f"out of date: {why}\n      figs/demo_lsm_map.png\n      figs/demo_roc.png"
                           + "  (missing)" * (path.suffix == ".png") + f"\n      make figures {given}")
        draw("roc")
    paths.scores.write_text("compared")
    assert state().startswith("out of date: tmp/demo_scores.csv.gz is new\n")
    tool["main"](["figures", *finished[1]])
    assert ran == [pipeline.DRAW] * 2


def test_a_run_with_nothing_to_do_writes_no_report(finished, monkeypatch, capsys):
    paths, tool = Paths("demo"), runpy.run_path(str(PROJECT / "tools" / "pipeline.py"))
    monkeypatch.delenv("PY", raising=False)
    monkeypatch.setenv(tool["FOLLOWS"], "")  # which the run sets
    ran = []
    monkeypatch.setitem(tool["main"].__globals__, "run", lambda script, *_: ran.append(script) or True)
    save(of_stage(pipeline.DRAW), "lsm_map", Figure(), pd.DataFrame({"name": ["lsm_map"]}))
    with artifact(paths.report, pipeline.REPORT, of_stage(pipeline.REPORT), [paths.map_raster]) as page:
        page.write_text("page")
    tool["main"](["run", *finished[1]])
    assert ran == []
    assert capsys.readouterr().out.endswith("run of region demo: up to date\n")
    tool["main"](["run", "BREAKS=equal", *finished[1]])  # of figures and report alike
    assert ran == [pipeline.DRAW, pipeline.REPORT]
    tool["main"](["run", "LEADERS=3", *finished[1]])  # of the report alone
    assert ran[2:] == [pipeline.REPORT]
    tool["main"](["report", *finished[1]])  # asked for, it is always written
    assert ran[3:] == [pipeline.REPORT]


def test_a_factor_that_is_read_in_another_way_makes_the_checks_stale(finished):
    paths, factors = Paths("demo"), constants(constants_class(pipeline.CHECK), ["REGION=demo"]).factors
    with artifact(paths.checks, pipeline.CHECK, of_stage(pipeline.CHECK), [paths.samples]) as temporary:
        temporary.write_text("topic,file,level,found,remedy\n")
    assert pipeline.state_of_checks("demo", finished[1]) == "fresh"
    write_factors(paths.factors, (*factors[:-1], replace(factors[-1], zero_is_missing=False)), {})
    assert pipeline.state_of_checks("demo", finished[1]) == "stale: another list of factors"


def test_an_environment_without_packages_is_one_line():
    done = subprocess.run([sys.executable, "-S", PROJECT / "tools" / "pipeline.py", "status"], text=True,
                          capture_output=True)
    assert done.returncode == 2
    assert re.fullmatch(r".*: expected the package \w+, found none for .*; run make setup, or .*\n", done.stderr)


def test_status_into_a_pipe_that_is_closed_ends_without_a_word(tmp_path):
    with subprocess.Popen([sys.executable, "tools/pipeline.py", "status"], cwd=PROJECT, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, env={**os.environ, "LSM_ROOT": str(tmp_path)}) as process:
        process.stdout.close()  # as head does
        assert process.stderr.read() == ""


def test_stage_1_files_of_another_region_are_named(finished):
    record = record_path(Paths("demo").saved_model)
    record.write_text(json.dumps(json.loads(record.read_text()) | {"region": "isle"}))
    found = states(finished[1])
    assert found[pipeline.PRETRAIN] == "stale: its files are of region isle, since all regions share them"
    assert found[pipeline.LEARN] == f"stale: {pipeline.PRETRAIN} must run first"


@pytest.mark.parametrize(("edited", "replaces"), [("samples_without_insar", True), ("samples", True),
                                                  ("strategies", False)])  # which prepare_region.py writes again anyway
def test_the_command_replaces_what_somebody_edited(tmp_path, monkeypatch, edited, replaces):
    """prepare_region.py refuses to, without OVERWRITE=True; which is for that run alone."""
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    paths, c = Paths("isle"), SimpleNamespace(REGION="isle", SEED=1, RAW="raw data", OVERWRITE=True)
    for path in (paths.composite, paths.factors, paths.samples_without_insar, paths.samples, paths.strategies):
        path.parent.mkdir(parents=True, exist_ok=True)
        with artifact(path, pipeline.PREPARE, c, []) as temporary:
            temporary.write_text("as written")
    plain = "python prepare_region.py REGION=isle 'RAW=raw data'"
    assert pipeline.command_of(pipeline.PREPARE, "isle", []) == plain
    getattr(paths, edited).write_text("edited")
    assert pipeline.command_of(pipeline.PREPARE, "isle", []) == plain + " OVERWRITE=True" * replaces


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """Files of prepare_region.py with their records, their content a word; the grid is a stack."""
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    paths, c = Paths("isle"), SimpleNamespace(**vars(of_stage(pipeline.PREPARE, REGION="isle", RAW="raw data",
                                                              GRID_FORM="stack")))
    for path in (paths.composite, paths.factors, paths.samples_without_insar, paths.samples, paths.factor_stack,
                 paths.insar_points):
        path.parent.mkdir(parents=True, exist_ok=True)
        with artifact(path, pipeline.PREPARE, c, []) as temporary:
            temporary.write_text("as written")
    return paths


def test_what_an_area_was_prepared_with_is_remembered_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    more = (("rain", "rain.tif", "continuous", "mm"), ("soil", "soil.tif", "categorical", "class"))
    paths, c = Paths("isle"), of_stage(pipeline.PREPARE, REGION="isle", FACTORS_MORE=more, TERRAIN_MORE=("TPI",))
    paths.composite.parent.mkdir(parents=True)
    with artifact(paths.composite, pipeline.PREPARE, c, []) as temporary:
        temporary.write_text("as written")
    arguments = pipeline.arguments_of(pipeline.PREPARE, "isle", [])
    again = constants(constants_class(pipeline.PREPARE), arguments)
    assert (more, ("TPI",)) == (again.FACTORS_MORE, again.TERRAIN_MORE)
    assert pipeline.arguments_of(pipeline.PREPARE, "isle", arguments) == arguments


@pytest.mark.parametrize("given", [[], ["SEED=1"], ["SEED=3"]])
def test_inputs_keep_the_seed_that_they_were_made_with(tmp_path, monkeypatch, given):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    paths, c = Paths("isle"), of_stage(pipeline.PREPARE, REGION="isle", RAW="raw data", SEED=2)
    for path in pipeline.BY_SCRIPT[pipeline.PREPARE].outputs(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        with artifact(path, pipeline.PREPARE, c, []) as temporary:
            write_factors(temporary, c.factors, {})
    assert pipeline.arguments_of(pipeline.PREPARE, "isle", given) == ["REGION=isle", "SEED=2", "RAW=raw data"]
    assert "missing" in pipeline.states_of("isle", given)[pipeline.PREPARE]  # the grid, and not "SEED = 2, now 1"


def test_further_factors_are_remembered_until_they_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    paths = Paths("isle")
    paths.blocks.parent.mkdir(parents=True)
    made = SimpleNamespace(REGION="isle", BLOCKS="", FURTHER="rain,soil")
    with artifact(paths.blocks, pipeline.CUT, made, []) as temporary:
        temporary.write_text("as written")
    for script in (pipeline.CHECK, pipeline.AUGMENT, pipeline.PRETRAIN, pipeline.LEARN, pipeline.MAP, pipeline.REPORT,
                   "figure.py"):
        assert pipeline.arguments_of(script, "isle", []) == ["REGION=isle", "FURTHER=rain,soil"]
        assert pipeline.arguments_of(script, "isle", ["FURTHER=none"]) == ["REGION=isle", "FURTHER=none"]
    assert pipeline.arguments_of(pipeline.PREPARE, "isle", []) == ["REGION=isle"]


@pytest.mark.parametrize(("lost", "record_too"), [
    *itertools.product(("composite", "factors", "factor_stack", "samples_without_insar"), (False, True)),
    ("samples", False), ("insar_points", False)])  # without records nothing tells that they were there
def test_what_a_prepared_area_has_lost_is_prepared_again(prepared, lost, record_too):
    path = getattr(prepared, lost)
    path.unlink()
    if record_too:
        record_path(path).unlink()
    states = pipeline.states_of("isle", [])
    named = prepared.grid if record_too and lost == "factor_stack" else path
    assert states[pipeline.PREPARE] == f"stale: src_data/{named.relative_to(prepared.composite.parents[1])}: missing"
    assert pipeline.AUGMENT not in states
    assert pipeline.command_of(pipeline.PREPARE, "isle", []) == (
        "python prepare_region.py REGION=isle 'RAW=raw data' GRID_FORM=stack")


def test_an_area_that_lost_its_folder_is_prepared_again(prepared):
    shutil.rmtree(prepared.composite.parent)
    assert pipeline.states_of("isle", [])[pipeline.PREPARE] == "stale: src_data/isle/composite.tif: missing"
    assert "'RAW=raw data'" in pipeline.command_of(pipeline.PREPARE, "isle", [])


def said_of(region: str, capsys, *arguments: str) -> str:
    runpy.run_path(str(PROJECT / "tools" / "pipeline.py"))["status"](region, list(arguments), False)
    return capsys.readouterr().out


def test_status_marks_an_input_that_somebody_edited(prepared, capsys):
    assert "(edited since)" not in said_of("isle", capsys)
    prepared.samples.write_text("edited")
    marked = [line.strip() for line in said_of("isle", capsys).splitlines() if "(edited since)" in line]
    assert marked == ["src_data/samples_isle.csv  (edited since)"]


def test_status_of_an_area_without_inputs_names_them_and_how_to_make_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    monkeypatch.setenv("PY", "python")
    paths, c = Paths("isle"), of_stage(pipeline.CHECK, REGION="isle")
    with pytest.raises(InputError, match="and so are all inputs of region isle"):
        write_checks(c, stop=True)
    said = said_of("isle", capsys, "K=64")
    for path in (paths.composite, paths.samples, paths.grid):
        assert f"      {path.relative_to(tmp_path)}  (missing)\n" in said.partition("needed for the map")[0]
    assert "  checks of the inputs: 3 errors: src_data/isle/composite.tif: missing; src_data/samples_isle.csv" in said
    assert "\n      python check_region.py REGION=isle\n" in said
    assert said.splitlines()[-1].startswith("to make the inputs and the map: make run REGION=isle K=64 PY=python "
                                            "RAW=<folder>; docs/new_region.md")
    assert said_of("HK", capsys).splitlines()[-1].endswith(": make hk REGION=HK PY=python HK_DATA=<folder>")

    paths.samples.parent.mkdir()
    paths.samples.write_text("X,Y,label\n")
    assert said_of("isle", capsys).splitlines()[-1] == (
        "to make the map, first put src_data/isle/composite.tif and src_data/grid_samples_isle.csv there, then: make "
        "run REGION=isle PY=python")
    for path in (paths.composite, paths.factor_stack):
        path.parent.mkdir(exist_ok=True)
        path.write_text("no raster")
    with pytest.raises(InputError, match="expected no error"):
        write_checks(c, stop=True)
    last = said_of("isle", capsys).splitlines()[-1]
    assert last.startswith("to make the map, first correct what the checks found (or")
    assert "first" not in said_of("isle", capsys, "STOP_AT_ERRORS=False").splitlines()[-1]


def test_status_shows_an_area_whose_own_units_are_gone_and_a_run_refuses_them(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    with artifact(Paths("isle").blocks, pipeline.CUT, SimpleNamespace(REGION="isle", BLOCKS="gone.gpkg"),
                  []) as temporary:
        temporary.write_text("blocks")
    pipeline.check_values("isle", ["K=64"], raw=False, runs=False)
    with pytest.raises(InputError, match=r"^BLOCKS=gone.gpkg: missing"):
        pipeline.check_values("isle", ["K=64"], raw=False)
    pipeline.check_values("isle", ["K=64", "BLOCKS="], raw=False)
