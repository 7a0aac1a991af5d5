"""tools/setup.sh with programs that stand for pip, GDAL and the compiler: what a person sees."""

import os
import subprocess

import pytest

from lsm.run.paths import PROJECT

PIP = """#!/bin/sh
echo "$*" >> "{log}"
echo "WARNING: noise about $*" >&2
case "$*" in *{broken}*) echo "ERROR: no such version" >&2; exit 1;; esac
"""
BASE = """#!/bin/sh
[ "$1" = -c ] && exit 0
mkdir -p "$3/bin" && cp "{pip}" "$3/bin/pip" && printf '#!/bin/sh\\n' > "$3/bin/python" && chmod +x "$3"/bin/*
"""


@pytest.mark.parametrize("locked", ["", "1"])
@pytest.mark.parametrize("broken", ["", "gdal=="])
def test_a_line_a_step_and_all_of_pip_where_it_fails(tmp_path, broken, locked):
    programs = {"pip": PIP.format(broken=broken or "nothing", log=tmp_path / "log"),
                "base": BASE.format(pip=tmp_path / "pip"), "gdal-config": "#!/bin/sh\necho 3.6.2\n",
                "g++": "#!/bin/sh\n"}
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["bash", "tools/setup.sh"], cwd=PROJECT, text=True, capture_output=True,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHON_BASE": str(tmp_path / "base"),
                          "VENV": str(tmp_path / "venv"), "LOCKED": locked})
    lines = done.stdout.splitlines()
    assert all(line.startswith("setup: ") for line in lines)
    if broken:
        assert done.returncode == 1
        assert done.stderr.splitlines()[1:] == ["ERROR: no such version", "setup: stopped where it builds GDAL's "
                                                "Python bindings"]
        assert "gdal==3.6.2" in done.stderr.splitlines()[0]
    else:
        assert (done.returncode, done.stderr, len(lines)) == (0, "", 7)
        calls = [line for line in (tmp_path / "log").read_text().splitlines() if " numpy" in line or ".[test" in line]
        assert [line.startswith("install --constraint tools/locked.txt ") for line in calls] == [bool(locked)] * 2
