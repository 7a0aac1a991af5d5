# Meta-LSM: the graph of the pipeline.
#   make                         this list
#   make run                     set up and map the demo area
#   make run REGION=<name>       map an area whose inputs are in src_data/; RAW=<folder>: from raw layers
#                                BLOCKS=<file>: own units (slope units, catchments) in place of SLIC's blocks
#   make hk HK_DATA=<folder>     the same on the Hong Kong tables
#   make map REGION=<name>       the map alone, without figures and report
#   make figures REGION=<name>   the map, and all figures if one of them is out of date
#   make explain REGION=<name>   which factor leads, block by block, after the map
#   make compare REGION=<name>   the scores of every method on the same points (README.md: how long it takes)
#   make gis REGION=<name>       rasters and layers for a GIS; make check-qgis opens them in QGIS
#   make status REGION=<name>    the files of every stage: up to date, or why not; last, the command to run
#   make report REGION=<name>    one HTML file to open first: the map to click, scores, figures, warnings
#   make start_model HK_DATA=<folder>  the model that small inventories start from, anew (it comes with the project)
#   make setup                   only prepare .venv; LOCKED=1: the very versions that the tests passed with
#   make test                    set up and pass the tests; make test-all: the slow tests too
#   make coverage                the tests, and which lines and branches of the program they run
#   make fuzz                    every reader of tables, rasters and vectors against 10,000 damaged inputs
#   make benchmarks              time the program against plain forms
#   RECIPE=published runs the published settings. FURTHER=all takes the columns of numbers too that FACTORS does not name.
#   In an active conda environment: make run PY=python
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
VENV := .venv
TARGETS := help run status map hk figures compare explain gis check-qgis report start_model test test-all coverage fuzz setup benchmarks
.PHONY: $(TARGETS)
.DEFAULT_GOAL := help
# "make run K 256" would find that K is no target only after a run of minutes
$(foreach word,$(filter-out $(TARGETS) $(VENV)/%,$(MAKECMDGOALS)),$(error $(word): expected one of $(TARGETS); \
    a constant is given as NAME=value, as in make run REGION=alps))

HK_DATA ?= ../shared/hk
PYTHON_BASE ?= python3
PY ?= $(VENV)/bin/python
# Every NAME=value of the command line goes to the stages that know NAME; a name that none knows is refused.
# Each is taken as it was typed and quoted for the shell: a value may hold blanks, quotes, $, | and brackets.
OWN := PY PYTHON_BASE VENV LOCKED HK_DATA QGIS_PYTHON TESTS LSM_ROOT
GIVEN := $(filter-out $(OWN),$(foreach v,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(v)))),$(v))))
quoted = $(foreach v,$(1),'$(v)=$(subst ','\'',$(value $(v)))')
ARGS := $(call quoted,$(GIVEN))
# a Python may have another copy of the project installed
export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))
# commands that it prints have this Python
PIPELINE = LSM_PYTHON="$(PY)" $(PY) tools/pipeline.py

help:
	@sed -n 's/^#   //p' Makefile

# ---- set-up: needed for .venv only; with PY=python the conda environment is ready
ifeq ($(PY),$(VENV)/bin/python)
READY := $(VENV)/.ready$(if $(LOCKED),-locked)
endif
setup: $(READY)
$(VENV)/.ready $(VENV)/.ready-locked: pyproject.toml tools/setup.sh $(if $(LOCKED),tools/locked.txt)
	@PYTHON_BASE=$(PYTHON_BASE) VENV=$(VENV) LOCKED=$(LOCKED) bash tools/setup.sh
	@touch $@ $(VENV)/.ready

# ---- the pipeline: tools/pipeline.py decides by records (contents, constants, code) which stages must run
run status map figures explain compare gis report: $(READY)
	@$(PIPELINE) $@ $(ARGS)
# Debian: apt-get install --no-install-recommends qgis python3-qgis; QGIS_PYTHON has PyQGIS. Pictures go to tmp/.
QGIS_PYTHON ?= /usr/bin/python3
REGION ?= demo
ROOT := $(or $(LSM_ROOT),.)
check-qgis: gis
	QT_QPA_PLATFORM=offscreen $(QGIS_PYTHON) tools/check_qgis.py "$(ROOT)/figs" $(REGION) "$(ROOT)/tmp/$(REGION)_qgis"

# ---- the published study: its tables are copied into src_data/, then the same stages run. Contents decide, not clocks.
SRC = $(ROOT)/src_data
HK_TABLES := samples_HK.csv samples_HK_noTS.csv Ts_HK.csv
hk: $(READY)
	@for file in $(HK_TABLES) composite.tif grid_samples_HK.csv.gz; do \
	    [ -f "$(HK_DATA)/$$file" ] || { echo "make hk: $(HK_DATA)/$$file is missing: HK_DATA=<folder of the Hong Kong tables>" >&2; exit 2; }; done
	@mkdir -p "$(SRC)/HK"
	@trap 'rm -f "$(SRC)/.part"' EXIT; \
	take() { "$${@:2}" | cmp -s - "$$1" && return; [ ! -e "$$1" ] || echo "make hk: $$1 is another one than in HK_DATA; replaced"; \
	    "$${@:2}" > "$(SRC)/.part" && mv "$(SRC)/.part" "$$1"; }; \
	for table in $(HK_TABLES); do take "$(SRC)/$$table" cat "$(HK_DATA)/$$table"; done; \
	take "$(SRC)/HK/composite.tif" cat "$(HK_DATA)/composite.tif"; \
	take "$(SRC)/grid_samples_HK.csv" gunzip -c "$(HK_DATA)/grid_samples_HK.csv.gz"
	@$(PIPELINE) run REGION=HK $(call quoted,$(filter-out REGION,$(GIVEN)))

# the small model that comes with the project: meta-trained on Hong Kong and on synthetic areas
start_model: $(READY)
	$(PY) tools/start_model.py HK_DATA="$(HK_DATA)" $(ARGS)

test: $(READY)
	bash tools/browser.sh
	$(PY) -m ruff check .
	$(PY) tools/compile.py  # once, and not in every process of the tests
	$(PY) -m pytest $(TESTS)
test-all: TESTS := -m "slow or not slow"
test-all: test

coverage: $(READY)
	$(PY) -m pytest --cov --cov-report=term:skip-covered $(TESTS)

# every reader against 10,000 damaged inputs
fuzz: $(READY)
	FUZZ=10000 $(PY) -m pytest -n 0 tests/inputs/test_fuzz.py tests/sources/test_damaged_files.py

benchmarks: $(READY)
	for b in slic meta_training adaptation prediction; do $(PY) benchmarks/$$b.py; done
