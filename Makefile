# Two commands do everything: `make book` and `make test`. `make help` lists the rest.
PYTHON   ?= python3
PROFILE  ?= default
COHORT   ?=
SEGMENTERS ?=
DEVICE   ?=
ORGAN_MAPS ?=
CORES    ?= all
WORKERS  ?= logical
GPUS     ?= 1
VENV     := .venv
BIN      := $(VENV)/bin
UV       := 0.13.9
STAMP    := $(VENV)/.installed
AXE      := tools/pages/node_modules/axe-core/axe.min.js
SHELL    := /bin/bash

# Hundreds of processes import the same packages: they are compiled once, whatever the shell says.
export PYTHONDONTWRITEBYTECODE :=

# settings that were given on the command line go to the graph; the rest is the profile's
CONFIG := $(if $(COHORT),cohort="$(COHORT)") $(if $(SEGMENTERS),segmenters="$(SEGMENTERS)") \
          $(if $(DEVICE),device="$(DEVICE)") $(if $(ORGAN_MAPS),organ_maps="$(ORGAN_MAPS)")
GRAPH  := $(BIN)/python workflow/build.py book --snakefile workflow/Snakefile --cores $(CORES) \
          --configfile workflow/$(PROFILE).yaml $(if $(strip $(CONFIG)),--config $(CONFIG)) \
          --rerun-incomplete --keep-going --retries 1 \
          --resources gpu=$(GPUS) --quiet rules host progress

.PHONY: help env book unlock test lint lab bench lock clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12
	@echo
	@echo "  make book PROFILE=small                                  the whole path in minutes"
	@echo "  make book COHORT=my/manifest.tsv SEGMENTERS=threshold    your own images"
	@echo "  make book COHORT=my/manifest.tsv DEVICE=cuda CORES=4     with a GPU, four jobs at once"
	@echo "  make book ORGAN_MAPS=my/folder                           label maps of people as a further domain"

env: $(STAMP) ## make .venv with the locked packages

$(STAMP): requirements.lock pyproject.toml
	@echo "== environment: $(VENV), packages of requirements.lock"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; this is $$($(PYTHON) --version). Set PYTHON=python3.x."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV)
	@$(BIN)/uv pip sync --quiet --require-hashes --python $(BIN)/python requirements.lock
	@$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python -e .
	@touch $@

book: $(STAMP) ## cohort, inference, chapters, HTML (PROFILE=small|default COHORT= SEGMENTERS= DEVICE= CORES=)
	@$(GRAPH)

unlock: ## remove the lock of a run that is over, where that cannot be seen from here
	@rm -rf .snakemake/locks

test: $(STAMP) lint $(AXE) ## all tests (WORKERS= processes, by default one a core and 8 at most)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --maxprocesses 8 --dist loadfile \
	  --no-loadscope-reorder --durations 20

# The accessibility rules of the page tests; where there is no npm those tests are skipped, and say so.
$(AXE): tools/pages/package-lock.json
	@command -v npm >/dev/null || { echo "== no npm: the accessibility tests will be skipped"; exit 0; }; \
	  npm ci --silent --no-audit --no-fund --prefix tools/pages || echo "== npm failed: the accessibility tests will be skipped"

lint: $(STAMP)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

lab: $(STAMP) ## JupyterLab on the notebooks
	@$(BIN)/jupyter lab notebooks

bench: $(STAMP) ## benchmarks against the peers; the figures go to the performance page
	@for script in scoring bootstrap; do echo "== $$script"; $(BIN)/python benchmarks/$$script.py || exit 1; done

lock: ## write requirements.lock anew from pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --all-extras pyproject.toml -o requirements.lock

clean: ## remove results and pages (not .venv)
	rm -rf results _build
