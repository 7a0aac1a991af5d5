"""What several test modules share: a small demo area carried through all stages once, as a user runs them."""

import fcntl
import os
import shutil
import subprocess
import sys

import pytest
from osgeo import gdal  # noqa: F401  before TensorFlow, whose SQLite lacks the R-tree that GeoPackages need

from lsm.run.paths import PROJECT
from lsm.run.progress import SAID

# pytest runs a worker a core (pyproject.toml; -n 0: none): more threads each would spin for each other's cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
for name in ("PY", "LSM_PYTHON"):  # of make test PY=python: commands that stages name would have it
    os.environ.pop(name, None)

AREA = ("ROWS=120", "COLS=160", "INVENTORY=600", "ABSENCE=660", "INSAR=180")
TRAINING = ("LOCAL_ITERATIONS=60", "REGIONAL_ITERATIONS=40", "LOG_EVERY=20", "SAVE_EVERY=20")
STAGES = (("src_data/make_demo.py", AREA), ("unsupervised_pretraining/DAS_pretraining.py", ()),
          ("scene_sampling.py", ("K=64",)), ("meta_learner.py", TRAINING), ("predict_LSM.py", ()))
# Of stage 6, in this process: each other one takes seconds to import.
QUICK_EXPLANATION = ("EXPLAINED=6", "BACKGROUND=8", "ORDERS=2", "REPEATS=3", "WORKERS=1")
START_UP = ("I0000", "W0000", "E0000", "WARNING:", "To enable the following instructions")  # TensorFlow's own notes


LONGEST = ("test_pipeline", "test_prepare_region", "explained", "test_compare_methods", "test_maml", "test_bad_inputs")


def group(item) -> str:
    """The tests that one worker runs, so that what they share is made once: a file's, or those that use `explained`."""
    name = item.path.stem
    return "explained" if name in ("test_export_gis", "test_feature_permutation", "test_report") else name


def pytest_itemcollected(item):
    item.add_marker(pytest.mark.xdist_group(group(item)))


def pytest_collection_modifyitems(items):
    """The longest groups come first, lest one worker be left alone with one at the end; the second needs no `demo`,
    which the first is making meanwhile."""
    place = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(group(item), len(place)))


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    """Notes that an earlier test has read are said again."""
    monkeypatch.setenv(SAID, "")


def run_stage(root, script: str, *settings: str) -> subprocess.CompletedProcess:
    """A stage as a user runs it, its data below `root`; stderr without TensorFlow's start-up notes."""
    done = subprocess.run([sys.executable, str(PROJECT / script), *settings], cwd=PROJECT, text=True,
                          env={**os.environ, "LSM_ROOT": str(root)}, capture_output=True)
    done.stderr = "".join(line for line in done.stderr.splitlines(keepends=True) if not line.startswith(START_UP))
    return done


def succeed(root, script: str, *settings: str) -> str:
    """Runs a stage that must end well; what it printed."""
    done = run_stage(root, script, *settings)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def contents(root) -> dict[str, bytes]:
    """The bytes of every file below `root`, by relative path."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The root of the demo area after all stages, one for all workers. Tests that change files take `copy_of_demo`."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    root, done = folder / "demo", folder / "demo.done"
    with open(folder / "demo.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            root.mkdir(exist_ok=True)
            for script, settings in STAGES:
                succeed(root, script, *settings)
            done.touch()
    return root


@pytest.fixture(scope="session")
def explained(demo, tmp_path_factory):
    """A copy of the demo area with its importances, and what the stage printed. Not to be changed."""
    root = tmp_path_factory.mktemp("explained") / "root"
    shutil.copytree(demo, root)
    return root, succeed(root, "feature_permutation.py", *QUICK_EXPLANATION)


@pytest.fixture(scope="session")
def exported(explained, tmp_path_factory):
    """A copy of the explained demo area with its exports, and what the export printed. Not to be changed."""
    root = tmp_path_factory.mktemp("exported") / "root"
    shutil.copytree(explained[0], root)
    return root, succeed(root, "export_gis.py")


@pytest.fixture
def copy_of_demo(demo, tmp_path, monkeypatch):
    """A copy of the finished demo area, made the root of this process too."""
    root = tmp_path / "root"
    shutil.copytree(demo, root)
    monkeypatch.setenv("LSM_ROOT", str(root))
    return root
