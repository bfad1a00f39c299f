# Everything from a fresh clone with Python 3.11 to 3.13 and make. `make` alone lists the targets.
# The environment (.venv) makes itself when it is missing or older than its lock; nothing is written outside this folder.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.PHONY: help demo up test test-all lint bench lock env reset clean

PY := .venv/bin/python
UV := .uv/bin/uv
UV_VERSION := 0.13.8
INSTALLED := .venv/.installed
# Two processes, a file each at a time; a live Airflow takes both cores, so its tests come after them, one by one.
UNIT_TESTS := OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile tests/unit tests/dags

export UV_CACHE_DIR := $(CURDIR)/.uv/cache
export UV_PYTHON_DOWNLOADS := never
export UV_NO_CONFIG := 1
# Telemetry of every library off, in every process that starts here.
export DO_NOT_TRACK := 1
export GX_ANALYTICS_ENABLED := false
export MLFLOW_DISABLE_TELEMETRY := true
export SCARF_ANALYTICS := false
# A virtual environment of the caller's, or a shell that forbids bytecode, must not reach in here: without bytecode
# every process of Airflow takes twice as long to start.
unexport VIRTUAL_ENV
unexport PYTHONDONTWRITEBYTECODE
unexport PYTHONPATH
unexport PYTHONHOME

help: ## list the targets
	@echo "Ratchet: make TARGET"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## the whole loop on the 2013 flights, through a live Airflow; ASK=1 waits for your click to approve
	@$(PY) -m local_stack.demo $(if $(filter-out 0 no false,$(ASK)),--ask)

up: $(INSTALLED) ## Airflow and MLflow on the state in var/, until Ctrl-C
	@exec $(PY) -m local_stack.up

test: lint ## lint, then unit, DAG and end-to-end tests (15 minutes at most on 2 cores)
	$(UNIT_TESTS) -m "not matrix"
	$(PY) -m pytest -m "not matrix" tests/e2e

test-all: lint ## the same and the tests marked `matrix` (40 minutes at most); what CI runs
	$(UNIT_TESTS)
	$(PY) -m pytest tests/e2e

lint: $(INSTALLED) ## ruff (with its Airflow rules) and import-linter (who may import whom)
	.venv/bin/ruff check .
	.venv/bin/lint-imports

bench: $(INSTALLED) ## what a training, an ingestion and ten years of drops cost, into benchmarks/RESULTS.md
	@$(PY) -m benchmarks

lock: $(UV) ## write both lock files again from pyproject.toml (newest versions that it allows: LOCK=--upgrade)
	$(UV) pip compile $(LOCK) --quiet --universal --generate-hashes --no-header --python-version 3.11 \
		pyproject.toml --output-file requirements.lock
	$(UV) pip compile $(LOCK) --quiet --universal --generate-hashes --no-header --python-version 3.11 \
		pyproject.toml --extra dev --constraint requirements.lock --output-file requirements-dev.lock

env: $(INSTALLED) ## make the environment and nothing else

reset: ## delete all run-time state (var/)
	@if [ -e var/stack.lock ] && command -v flock >/dev/null && ! flock --nonblock var/stack.lock true; then \
		echo "A stack is running on var/. End it first: Ctrl-C where it was started." >&2; exit 1; fi
	rm -rf var

clean: ## delete the environment and every cache; var/ stays
	rm -rf .venv .uv .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the environment ---------------------------------------------------------------------------------------------

$(INSTALLED): requirements-dev.lock pyproject.toml | $(UV)
	@echo "Making the environment in .venv (1.3 GB; once)"
	@[ -x $(PY) ] || $(UV) venv --quiet --python .uv/bin/python .venv
	@$(UV) pip install --quiet --python $(PY) --compile-bytecode --require-hashes -r requirements-dev.lock
	@$(UV) pip install --quiet --python $(PY) --no-deps --no-build-isolation --editable .
	@touch $@

# uv itself, from PyPI into .uv. The interpreter found here is the one .venv is made with.
$(UV):
	@for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
		if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
			found="$$python"; break; fi; done; \
	if [ -z "$${found:-}" ]; then \
		echo "Ratchet needs Python 3.11, 3.12 or 3.13; $(or $(PYTHON),python3) here is: $$($(or $(PYTHON),python3) --version 2>&1 || true)" >&2; \
		echo "Install one of them, or name it: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; fi; \
	"$$found" -m venv .uv || { \
		echo "$$found can't make virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; \
		rm -rf .uv; exit 1; }; \
	.uv/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir uv==$(UV_VERSION)
