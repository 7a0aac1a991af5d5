# Meta-LSM: the graph of the pipeline. `make run` for the demo area, `make test`, `make hk HK_DATA=<folder>`,
# `make run REGION=<name>` for an area whose inputs are in src_data/. Without root: see the README's conda line.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: run hk setup test lint benchmarks FORCE

# PYTHON_BASE makes the environment; PY runs the stages (an active conda environment: make run PY=python).
PYTHON_BASE ?= python3
VENV := .venv
PY ?= $(VENV)/bin/python
ifeq ($(PY),$(VENV)/bin/python)
READY := $(VENV)/.ready
endif

setup: $(READY)

$(VENV)/.ready: pyproject.toml tools/setup.sh
	PYTHON_BASE=$(PYTHON_BASE) VENV=$(VENV) bash tools/setup.sh
	touch $@
