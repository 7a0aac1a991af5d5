"""The tree keeps its rules: dependencies, imports, constants blocks, names."""

import ast
import importlib
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from dataclasses import fields
from typing import get_origin

import pytest
import yaml

from lsm.run.paths import PROJECT, Paths
from lsm.run.settings import ByRecipe, defaults

NOT_STAGES = {"study_area"}  # modules at the root that are no stage
STAGES = sorted([*(path for path in PROJECT.glob("*.py") if path.stem not in NOT_STAGES),
                 *(PROJECT / "src_data").glob("*.py"), PROJECT / "unsupervised_pretraining" / "DAS_pretraining.py"])
OF_STAGE_1 = {f"unsupervised_pretraining.{name}" for name in ("rbm", "denoising_autoencoder", "stack")}
OF_STAGE_1 |= {"unsupervised_pretraining"}  # what stages 1 and 5 share
LIBRARY = sorted((PROJECT / "lsm").rglob("*.py"))
CODE = [*STAGES, *LIBRARY, PROJECT / "study_area.py", *(PROJECT / "unsupervised_pretraining").glob("[!D]*.py")]
ROOMS = ["run", "inputs", "sources", "region", "insar", "checks", "demo", "blocks", "learner", "comparison",
         "explanation", "maps", "figures", "report"]  # in the order of the data
TESTS, BENCHMARKS = (sorted((PROJECT / name).rglob("*.py")) for name in ("tests", "benchmarks"))
DOCUMENTS = [*sorted(PROJECT.glob("*.md")), *sorted((PROJECT / "docs").rglob("*.md"))]
DISTRIBUTION = {"osgeo": "gdal", "osgeo_utils": "gdal", "sklearn": "scikit-learn", "skimage": "scikit-image",
                "yaml": "pyyaml", "PIL": "pillow", "xstatic": "xstatic-leaflet"}
OF_EVERY_STAGE = {"main", "Constants", "check_constants"}  # the last also of constants that stages share
RULE = re.compile(r"# -{100,}")


def ident(path) -> str:
    return str(path.relative_to(PROJECT))


def imports(path) -> set[str]:
    """Every module a file imports, in full: `from lsm import maml` counts as lsm and lsm.learner.maml."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{ident(path)}: a relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def bounds(requirements: list[str]) -> dict[str, str]:
    """Version bounds by distribution, without extras."""
    return {re.match(r"[A-Za-z0-9_-]+", r)[0].lower(): re.sub(r"^[A-Za-z0-9_-]+(\[.*\])?", "", r) for r in requirements}


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]


# dependencies ---------------------------------------------------------------------------------------------------

def test_environment_repeats_the_bounds_of_pyproject(project):
    listed = yaml.safe_load((PROJECT / "environment.yml").read_text())["dependencies"]
    from_pip, = (entry["pip"] for entry in listed if isinstance(entry, dict))
    assert from_pip[-1] == "-e .[test,benchmark]"
    conda = [entry for entry in listed if isinstance(entry, str)]
    named = bounds([*conda, *from_pip[:-1]])
    assert len(named) == len(conda) + len(from_pip) - 1  # none stands twice
    assert named.pop("pip") == ""
    python = named.pop("python")
    assert python.startswith("=")
    minimum = project["requires-python"].removeprefix(">=").split(".")
    assert [int(n) for n in python.lstrip("=").split(".")] >= [int(n) for n in minimum]
    needed = bounds(project["dependencies"])
    assert named == {name: needed.get(name) for name in named}
    assert {"tensorflow", "numpy", "pandas", "scikit-learn", "gdal", "tqdm", "matplotlib"} <= set(named)


def test_every_dependency_has_both_bounds(project):
    groups = project["optional-dependencies"]
    for name, bound in bounds([r for group in (project["dependencies"], *groups.values()) for r in group]).items():
        assert re.fullmatch(r">=[\d.]+,<[\d.]+", bound), name


def test_the_locked_versions_keep_the_bounds(project):
    lines = (PROJECT / "tools" / "locked.txt").read_text().splitlines()
    locked = dict(line.split("==") for line in lines if not line.startswith("#"))
    groups = project["optional-dependencies"]
    wanted = bounds([*project["dependencies"], *groups["test"], *groups["benchmark"]])
    assert wanted.pop("gdal")  # of the system
    assert set(wanted) <= set(locked)
    for name, bound in wanted.items():
        least, below = ([int(n) for n in part.lstrip("<>=").split(".")] for part in bound.split(","))
        assert least <= [int(n) for n in re.findall(r"\d+", locked[name])] < below, name
    table = (PROJECT / "docs" / "licences.md").read_text().partition("|---|---|")[2]
    named = [name for row in table.strip().splitlines() for name in row.strip("| ").rpartition(" | ")[2].split(", ")]
    assert sorted(named) == sorted([*locked, "gdal"])


@pytest.mark.parametrize(("files", "extras"), [(CODE, ()), (TESTS, ("test",)), (BENCHMARKS, ("benchmark", "test"))],
                         ids=["code", "tests", "benchmarks"])
def test_every_third_party_import_is_a_dependency(project, files, extras):
    groups = project["optional-dependencies"]
    allowed = set(bounds([*project["dependencies"], *(r for extra in extras for r in groups[extra])]))
    own = {path.stem for path in [*CODE, *TESTS, *BENCHMARKS]} | {"lsm", "unsupervised_pretraining", "tools"}
    for path in files:
        tops = {name.split(".")[0] for name in imports(path)} - set(sys.stdlib_module_names) - own
        assert {DISTRIBUTION.get(name, name) for name in tops} <= allowed, ident(path)


def test_every_dependency_is_imported(project):
    tops = {name.split(".")[0] for path in CODE for name in imports(path)}
    assert set(bounds(project["dependencies"])) <= {DISTRIBUTION.get(name, name) for name in tops}


# imports --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("path", LIBRARY, ids=ident)
def test_the_library_imports_no_stage(path):
    stages = {stage.stem for stage in STAGES}
    assert {name.split(".")[0] for name in imports(path)} & {*stages, "unsupervised_pretraining", "src_data",
                                                             "study_area"} == set()


@pytest.mark.parametrize("path", [path for path in LIBRARY if path.parent != PROJECT / "lsm"], ids=ident)
def test_a_room_uses_only_rooms_above_it(path):
    """The rooms follow the data: what reads a raster cannot know what draws a map."""
    own = ROOMS.index(path.relative_to(PROJECT / "lsm").parts[0])
    used = {name.split(".")[1] for name in imports(path) if name.startswith("lsm.")}
    assert used <= set(ROOMS[:own + 1]), f"{ident(path)} uses rooms below its own"


def test_rooms_are_small_and_no_two_modules_share_a_name():
    modules = [path for path in LIBRARY if path.name != "__init__.py"]
    assert sorted({path.relative_to(PROJECT / "lsm").parts[0] for path in modules}) == sorted(ROOMS)
    shared = [name for name, n in Counter(path.stem for path in modules).items() if n > 1]
    assert shared == []
    crowded = {folder: n for folder, n in Counter(path.parent for path in modules).items() if n > 8}
    assert crowded == {}


def test_no_two_public_functions_or_classes_share_a_name():
    homes = defaultdict(list)
    for path in CODE:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(ident(path))
    assert {name: found for name, found in homes.items() if len(found) > 1 and name not in OF_EVERY_STAGE} == {}


@pytest.mark.parametrize("path", CODE, ids=ident)
def test_a_file_fits_one_read(path):
    assert len(path.read_text().splitlines()) <= (250 if path in STAGES else 300)


@pytest.mark.parametrize("path", STAGES, ids=ident)
def test_no_stage_imports_another(path):
    found = imports(path)
    stages = {stage.stem for stage in STAGES}
    assert {name for name in found if name.split(".")[0] in {*stages, "src_data"}} == set()
    of_stage_1 = {name for name in found if name.startswith("unsupervised_pretraining")}
    if path.stem in ("DAS_pretraining", "compare_methods"):
        assert {".".join(name.split(".")[:2]) for name in of_stage_1} <= OF_STAGE_1
    else:
        assert of_stage_1 == set()


@pytest.mark.parametrize("path", CODE, ids=ident)
def test_only_the_figures_draw(path):
    drawing = {name for name in imports(path) if name.split(".")[0] in ("matplotlib", "seaborn", "pylab")}
    assert not drawing or path == PROJECT / "figure.py" or (PROJECT / "lsm" / "figures") in path.parents


@pytest.mark.parametrize("path", [*CODE, *TESTS, *BENCHMARKS], ids=ident)
def test_no_tensorflow_1(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            assert not (node.attr == "compat" and ast.unparse(node.value) in ("tf", "tensorflow"))
    assert not any(name.startswith(("tensorflow.compat", "tf_slim")) for name in imports(path))


# stages ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("path", STAGES, ids=ident)
def test_a_stage_has_one_constants_block(path):
    text = path.read_text()
    rules = [number for number, line in enumerate(text.splitlines(), start=1) if RULE.fullmatch(line)]
    assert len(rules) == 2
    first, last = rules
    block, = (node for node in ast.parse(text).body if isinstance(node, ast.ClassDef) and node.name == "Constants")
    assert first < block.lineno < block.end_lineno < last
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign):
            names = [n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name)]
            assert all(name.startswith("_") or not name.isupper() for name in names), (
                f"line {node.lineno}: {names} look like constants of the run; a leading underscore says they are none")
    known = defaults(load(path).Constants)
    assert all(name.isupper() for name in known)
    assert {"REGION", "SEED"} <= set(known)


def test_every_constant_has_the_type_it_says():
    for path in STAGES:
        for field in fields(load(path).Constants):
            kind = get_origin(field.type) or field.type
            values = field.default.values.values() if isinstance(field.default, ByRecipe) else (field.default,)
            assert all(type(value) is kind for value in values), f"{ident(path)}: {field.name}"


def load(path):
    folder = path.parent
    if folder == PROJECT / "unsupervised_pretraining":
        return importlib.import_module(f"{folder.name}.{path.stem}")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return importlib.import_module(path.stem)


@pytest.mark.parametrize("path", STAGES, ids=ident)
def test_a_stage_says_what_it_reads_and_writes(path):
    tree = ast.parse(path.read_text())
    doc = ast.get_docstring(tree)
    for word in ("Reads", "Writes", "Run"):
        assert re.search(rf"^{word} ", doc, re.MULTILINE), word
    assert f"python {ident(path)}" in doc
    assert ast.unparse(tree.body[-1]).startswith("if __name__ == '__main__':")
    assert "run(main, Constants" in ast.unparse(tree.body[-1])


def test_importing_a_stage_does_nothing(tmp_path):
    names = [ident(path)[:-3].replace("/", ".") for path in STAGES]
    code = f"import importlib, sys\nfor name in {names}: importlib.import_module(name.removeprefix('src_data.'))"
    path = os.pathsep.join([str(PROJECT), str(PROJECT / "src_data")])
    done = subprocess.run([sys.executable, "-B", "-c", code, "NOT=AN_ARGUMENT"], cwd=tmp_path, text=True,
                          capture_output=True, env={**os.environ, "LSM_ROOT": str(tmp_path), "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_every_benchmark_finds_what_it_imports(tmp_path):
    stages = [path.stem for path in STAGES]
    code = ("import importlib, sys\nbefore = sys.path[:]\n"
            f"for name in {[path.stem for path in BENCHMARKS]}:\n"
            f"    sys.path[:] = [{str(PROJECT / 'benchmarks')!r}, *before]\n"  # as when it is run
            f"    for stage in {stages}: sys.modules.pop(stage, None)\n"
            "    importlib.import_module(name)")
    done = subprocess.run([sys.executable, "-B", "-c", code], cwd=tmp_path, text=True, capture_output=True,
                          env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"})
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="workers are off (-n 0)")
def test_a_file_is_one_worker_s(request):
    assert request.node.nodeid.endswith("@test_layout")


# names ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", [
    "README.md", "LICENSE", "Makefile", "environment.yml", "pyproject.toml", "study_area.py", "src_data/make_demo.py",
    "unsupervised_pretraining/DAS_pretraining.py", "unsupervised_pretraining/rbm.py",
    "unsupervised_pretraining/denoising_autoencoder.py", "scene_sampling.py", "meta_learner.py", "predict_LSM.py",
    "feature_permutation.py", "figure.py",
    "export_gis.py", "report.py", "CITATION.cff", "CHANGELOG.md", "CONTRIBUTING.md"])
def test_files_keep_their_names(name):
    assert (PROJECT / name).is_file()


@pytest.mark.parametrize("name", ["src_data", "unsupervised_pretraining/model_init", "metatask_sampling",
                                  "checkpoint_dir", "models_of_blocks", "figs", "tmp", "lsm", "tests"])
def test_folders_keep_their_names(name):
    assert (PROJECT / name).is_dir()


def test_data_keeps_its_names(monkeypatch, tmp_path):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    paths = Paths("HK")
    assert {name: str(getattr(paths, name).relative_to(tmp_path)) for name, value in vars(Paths).items()
            if isinstance(value, property)} == {
        "samples": "src_data/samples_HK.csv", "samples_without_insar": "src_data/samples_HK_noTS.csv",
        "insar_points": "src_data/Ts_HK.csv", "grid": "src_data/grid_samples_HK.csv",
        "grid_parquet": "src_data/grid_samples_HK.parquet",
        "composite": "src_data/HK/composite.tif", "truth": "src_data/HK/truth", "raw": "src_data/HK/raw",
        "factors": "src_data/HK/factors.json", "factor_stack": "src_data/HK/factors.tif",
        "checks": "tmp/HK_checks.csv", "correlation": "tmp/HK_correlation.csv",
        "strategies": "tmp/HK_non_landslides.csv",
        "insar_table": "src_data/insar_HK.csv", "insar_layer": "src_data/insar_HK.gpkg",
        "insar_raster": "src_data/insar_HK.tif",
        "samples_origin": "src_data/HK_samples_origin.csv", "augmentation": "tmp/HK_augmentation.csv",
        "augmentation_points": "tmp/HK_augmentation_points.csv",
        "saved_model": "unsupervised_pretraining/model_init/savedmodel.npz",
        "encoder": "unsupervised_pretraining/model_init/encoder.npz",
        "pretraining_history": "unsupervised_pretraining/model_init/HK_history.csv",
        "blocks": "metatask_sampling/HK_blocks.tif", "tasks": "metatask_sampling/HK_tasks.npz",
        "blocks_table": "metatask_sampling/HK_blocks.csv", "split": "checkpoint_dir/HK_split.csv",
        "history": "checkpoint_dir/HK_history.csv", "model": "checkpoint_dir/HK_model.npz",
        "held_out": "checkpoint_dir/HK_heldout.csv", "metrics": "checkpoint_dir/HK_metrics.csv",
        "models": "models_of_blocks/HK_models.npz", "map_raster": "figs/LSM_HK.tif", "map_table": "tmp/LSM_HK.csv",
        "splits": "tmp/HK_splits.csv.gz", "scores": "tmp/HK_scores.csv.gz", "method_metrics": "tmp/HK_metrics.csv",
        "block_metrics": "tmp/HK_block_metrics.csv", "method_differences": "tmp/HK_differences.csv",
        "rates": "tmp/HK_rates.csv", "results": "tmp/HK_results.md", "comparison": "tmp/HK_comparison",
        "intervals": "tmp/HK_intervals.csv", "samples_dates": "src_data/HK_samples_dates.csv",
        "published_steps": "tmp/HK_published_steps.csv", "published_steps_page": "tmp/HK_published_steps.md",
        "method_maps": "tmp/HK_method_maps.tif",
        "importance": "tmp/HK_importance.csv", "importance_territory": "tmp/HK_importance_territory.csv",
        "shap_values": "tmp/HK_shap.npz", "leading_factor": "figs/HK_leading_factor.tif",
        "breaks": "tmp/HK_breaks.json", "gis_table": "tmp/HK_gis.csv", "gis_work": "tmp/HK_gis",
        "gis_layers": "figs/HK_blocks.gpkg", "report": "figs/report_HK.html"}
    assert paths.checkpoint(1000) == tmp_path / "checkpoint_dir" / "HK_checkpoint_001000.npz"
    assert paths.gis_raster("class") == tmp_path / "figs" / "HK_class.tif"
    assert paths.figure("roc", "pdf") == tmp_path / "figs" / "HK_roc.pdf"


@pytest.mark.parametrize("path", DOCUMENTS, ids=ident)
def test_a_document_names_only_files_that_are_there(path):
    text = path.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    relative = [link.partition("#")[0] for link in links if not re.match(r"[a-z]+:|#", link)]
    assert [link for link in relative if not (path.parent / link).exists()] == []
    scripts = set(re.findall(r"[\w./-]*\w\.py\b", text))
    assert sorted(name for name in scripts if not (PROJECT / name).is_file()) == []


def test_ruff_is_content():
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "--no-cache", "."], cwd=PROJECT, text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
