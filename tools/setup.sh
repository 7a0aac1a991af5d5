#!/usr/bin/env bash
# Prepares $VENV: GDAL from the system's packages, Python bindings of the same version, then everything else in
# pyproject.toml; LOCKED=1: in the versions of tools/locked.txt. numpy comes before gdal: bindings built without numpy
# have no osgeo.gdal_array.
set -euo pipefail
PYTHON_BASE=${PYTHON_BASE:-python3}
VENV=${VENV:-.venv}
LOCK=${LOCKED:+--constraint tools/locked.txt}

if ! command -v gdal-config >/dev/null || ! command -v g++ >/dev/null || ! "$PYTHON_BASE" -c "import ensurepip, sysconfig, os; os.stat(sysconfig.get_path('include') + '/Python.h')" 2>/dev/null; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "setup: gdal-config, g++ or python3-venv is missing and this is not root on Debian: use 'conda env create -f environment.yml' (README)" >&2
        exit 2
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        libgdal-dev g++ python3-venv python3-dev >/dev/null
fi

bound() { sed -n "s/^ *\"\($1[^\"]*\)\",*$/\1/p" pyproject.toml | head -n 1; }
"$PYTHON_BASE" -m venv "$VENV"
"$VENV/bin/pip" install --quiet --upgrade pip
"$VENV/bin/pip" install --quiet $LOCK "setuptools>=77" wheel "$(bound numpy)"
"$VENV/bin/pip" install --quiet --no-build-isolation --no-cache-dir "gdal==$(gdal-config --version)"
"$VENV/bin/pip" install -qq $LOCK --editable ".[test,benchmark]"
"$VENV/bin/python" -W ignore -c 'from osgeo import gdal_array' || {
    echo "setup: osgeo.gdal_array does not import: remove $VENV, check that 'gdal-config --version' is the version of libgdal-dev, and run make setup again" >&2
    exit 2
}
