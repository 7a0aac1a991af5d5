#!/usr/bin/env bash
# Prepares $VENV: GDAL from the system's packages, Python bindings of the same version, then everything else in
# pyproject.toml; LOCKED=1: in the versions of tools/locked.txt. numpy comes before gdal: bindings built without numpy
# have no osgeo.gdal_array.
set -euo pipefail
PYTHON_BASE=${PYTHON_BASE:-python3}
VENV=${VENV:-.venv}
LOCK=${LOCKED:+--constraint tools/locked.txt}
command -v flock >/dev/null && exec 9<pyproject.toml && flock 9  # a second set-up waits for the first
OUTPUT=$(mktemp)
trap 'rm -f "$OUTPUT"' EXIT

# step <what is done> <command ...>: one line; what the command prints is shown only if it fails
step() {
    echo "setup: $1"
    "${@:2}" >"$OUTPUT" 2>&1 || { local code=$?; cat "$OUTPUT" >&2; echo "setup: stopped where it ${1%%:*}" >&2; exit "$code"; }
}

if ! command -v gdal-config >/dev/null || ! command -v g++ >/dev/null || ! "$PYTHON_BASE" -c "import ensurepip, sysconfig, os; os.stat(sysconfig.get_path('include') + '/Python.h')" 2>/dev/null; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "setup: gdal-config, g++ or python3-venv is missing and this is not root on Debian: use 'conda env create -f environment.yml' (README)" >&2
        exit 2
    fi
    step "reads the system's list of packages: seconds" apt-get update -qq
    step "installs GDAL, a compiler and Python's headers from the system's packages: a few minutes" \
        env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends libgdal-dev g++ python3-venv python3-dev
fi

bound() { sed -n "s/^ *\"\($1[^\"]*\)\",*$/\1/p" pyproject.toml | head -n 1; }
CLEAR=; [ -x "$VENV/bin/pip" ] && ! "$VENV/bin/pip" --version >/dev/null 2>&1 && CLEAR=--clear  # a stopped one is damaged
step "makes an empty Python environment in $VENV: seconds" "$PYTHON_BASE" -m venv $CLEAR "$VENV"
step "updates pip: seconds" "$VENV/bin/pip" install --upgrade pip
step "installs numpy and what builds packages: seconds" \
    "$VENV/bin/pip" install $LOCK "setuptools>=77" wheel "$(bound numpy)"
step "builds GDAL's Python bindings: about half a minute" \
    "$VENV/bin/pip" install --no-build-isolation --no-cache-dir "gdal==$(gdal-config --version)"
step "installs all other packages, TensorFlow among them: a minute, several on a slow network" \
    "$VENV/bin/pip" install $LOCK --editable ".[test,benchmark]"
"$VENV/bin/python" -W ignore -c 'from osgeo import gdal_array' || {
    echo "setup: osgeo.gdal_array does not import: remove $VENV, check that 'gdal-config --version' is the version of libgdal-dev, and run make setup again" >&2
    exit 2
}
step "compiles the loops of meta-training and adaptation: half a minute" env PYTHONPATH=. "$VENV/bin/python" tools/compile.py
echo "setup: $VENV is ready"
