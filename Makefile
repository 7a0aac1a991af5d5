# Meta-LSM: the graph of the pipeline.
#   make run                     set up and map the demo area
#   make run REGION=<name>       map an area whose inputs are in src_data/
#   make hk HK_DATA=<folder>     the same on the Hong Kong tables
#   make explain REGION=<name>   which factor leads, block by block, after the map
#   make compare REGION=<name>   the scores of every method on the same points (Hong Kong: about 50 minutes)
#   make gis REGION=<name>       rasters and layers for a GIS; make check-qgis opens them in QGIS
#   make report REGION=<name>    one HTML file to open first: the map to click, scores, figures, warnings
#   make setup                   only prepare .venv
#   make test                    set up and pass the tests; make test-all: the slow tests too
#   make fuzz                    every reader of tables against 10,000 damaged inputs
#   make benchmarks              time the program against plain forms
# RECIPE=published runs the published settings. FURTHER=all takes the columns too that FACTORS does not name.
# In an active conda environment: make run PY=python
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: run hk compare explain gis check-qgis report test test-all fuzz setup benchmarks FORCE
.DEFAULT_GOAL := run

REGION ?= demo
RECIPE ?=
FURTHER ?=
HK_DATA ?= ../shared/hk
PYTHON_BASE ?= python3
VENV := .venv
PY ?= $(VENV)/bin/python
ROOT := $(or $(LSM_ROOT),.)
TABLES := REGION=$(REGION)$(if $(FURTHER), FURTHER='$(FURTHER)')
ARGS := $(TABLES) $(if $(RECIPE),RECIPE=$(RECIPE))

# ---- set-up: needed for .venv only; with PY=python the conda environment is ready
ifeq ($(PY),$(VENV)/bin/python)
READY := $(VENV)/.ready
endif
setup: $(READY)
$(VENV)/.ready: pyproject.toml tools/setup.sh
	PYTHON_BASE=$(PYTHON_BASE) VENV=$(VENV) bash tools/setup.sh
	touch $@

# ---- inputs: the demo's are made here; another region's must be in src_data/
SRC := $(ROOT)/src_data
COMPOSITE := $(SRC)/$(REGION)/composite.tif
SAMPLES := $(SRC)/samples_$(REGION).csv
GRID := $(SRC)/grid_samples_$(REGION).csv
GRID := $(firstword $(wildcard $(GRID) $(SRC)/$(REGION)/factors.tif) $(GRID))
ifeq ($(REGION),demo)
$(COMPOSITE) $(SAMPLES) $(GRID) &: src_data/make_demo.py | $(READY)
	$(PY) src_data/make_demo.py
else
# Stage 0 runs where there are InSAR points, unless something other than stage 0 wrote the samples table: that is kept.
INSAR := $(wildcard $(addprefix $(SRC)/,Ts_$(REGION).csv $(addprefix insar_$(REGION),.csv .gpkg .tif)))
OWN := $(shell [ ! -e $(SAMPLES) ] || grep -qs '"stage": "augment_inventory.py"' $(SAMPLES).json && echo yes)
ifneq ($(and $(INSAR),$(OWN)),)
$(SAMPLES): augment_inventory.py study_area.py $(SRC)/samples_$(REGION)_noTS.csv $(INSAR) \
            $(if $(filter %/Ts_$(REGION).csv,$(INSAR)),,$(COMPOSITE) $(GRID)) | $(READY)
	$(PY) augment_inventory.py $(TABLES)
endif
endif

# ---- stages: the target of a rule is the file that its stage writes last
SAVED_MODEL := $(ROOT)/unsupervised_pretraining/model_init/history.csv
TASKS := $(ROOT)/metatask_sampling/$(REGION)_blocks.csv
MODEL := $(ROOT)/checkpoint_dir/$(REGION)_model.npz
MAP := $(ROOT)/figs/LSM_$(REGION).tif
IMPORTANCE := $(ROOT)/tmp/$(REGION)_importance.csv

# Files of another region, another recipe or other FURTHER factors are made again. (The files of stage 1 have no region in their names.)
other = $(shell f=$(1).json; [ ! -e $$f ] || { grep -q '"region": "$(REGION)"' $$f && \
          grep -q '"recipe": "$(or $(RECIPE),.*)"' $$f && \
          grep -q '"FURTHER": "$(or $(FURTHER),none)"' $$f; } || echo FORCE)
FORCE:

run: $(MAP)
	$(PY) figure.py $(ARGS)
$(SAVED_MODEL): unsupervised_pretraining/DAS_pretraining.py study_area.py $(SAMPLES) $(call other,$(SAVED_MODEL)) | $(READY)
	$(PY) unsupervised_pretraining/DAS_pretraining.py $(ARGS)
$(TASKS): scene_sampling.py study_area.py $(COMPOSITE) $(SAMPLES) $(call other,$(TASKS)) | $(READY)
	$(PY) scene_sampling.py $(ARGS)
$(MODEL): meta_learner.py $(SAVED_MODEL) $(TASKS) $(call other,$(MODEL))
	$(PY) meta_learner.py $(ARGS)
$(MAP): predict_LSM.py $(MODEL) $(GRID) $(call other,$(MAP))
	$(PY) predict_LSM.py $(ARGS)
explain: $(IMPORTANCE)
$(IMPORTANCE): feature_permutation.py $(MAP) $(call other,$(IMPORTANCE))
	$(PY) feature_permutation.py $(ARGS)

# The layers name leading factors if feature_permutation.py has run.
gis: $(MAP)
	$(PY) export_gis.py $(ARGS)
# Debian: apt-get install --no-install-recommends qgis python3-qgis; QGIS_PYTHON has PyQGIS. Pictures go to tmp/.
QGIS_PYTHON ?= /usr/bin/python3
check-qgis: gis
	QT_QPA_PLATFORM=offscreen $(QGIS_PYTHON) tools/check_qgis.py $(ROOT)/figs $(REGION) $(ROOT)/tmp/$(REGION)_qgis

# The report holds what explain, gis, compare and figure.py have made of this map, and names what is missing.
report: $(MAP)
	$(PY) report.py $(ARGS)

compare: $(TASKS)
	$(PY) compare_methods.py $(TABLES)
	$(PY) figure.py $(ARGS)

# ---- the published study: its tables are copied into src_data/ once, then the same stages run
HK_TABLES := samples_HK.csv samples_HK_noTS.csv Ts_HK.csv
hk: $(READY)
	@[ -f $(HK_DATA)/samples_HK.csv ] || { echo "make hk: $(HK_DATA)/samples_HK.csv is missing: HK_DATA=<folder of the Hong Kong tables>" >&2; exit 2; }
	mkdir -p $(SRC)/HK
	cp -u --preserve=timestamps $(addprefix $(HK_DATA)/,$(HK_TABLES)) $(SRC)/
	cp -u --preserve=timestamps $(HK_DATA)/composite.tif $(SRC)/HK/
	[ $(SRC)/grid_samples_HK.csv -nt $(HK_DATA)/grid_samples_HK.csv.gz ] || \
	    { gunzip -c $(HK_DATA)/grid_samples_HK.csv.gz > $(SRC)/.grid.csv && mv $(SRC)/.grid.csv $(SRC)/grid_samples_HK.csv; }
	$(MAKE) run REGION=HK

test: $(READY)
	bash tools/browser.sh
	$(PY) -m ruff check .
	$(PY) -m pytest $(TESTS)
test-all: TESTS := -m "slow or not slow"
test-all: test

# the readers of tables against 10,000 damaged inputs each
fuzz: $(READY)
	FUZZ=10000 $(PY) -m pytest -n 0 tests/inputs/test_fuzz.py

benchmarks: $(READY)
	for b in slic meta_training adaptation prediction; do $(PY) benchmarks/$$b.py; done
