# Two commands for a newcomer: `make demo` and `make test`. Both make .venv first, once.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# TensorFlow's C++ side prints a banner otherwise; demo/run.py and tests/conftest.py say the same.
export TF_CPP_MIN_LOG_LEVEL ?= 3

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint format stubs bench fuzz oldest audit clean

help: ## list these commands
	@echo "make demo    restore a trained digits classifier into a TF1 session, Keras and a fine-tuning model"
	@echo "make test    run the whole test suite (WORKERS=$(WORKERS) processes; ARGS='-k npz' chooses tests)"
	@echo "make lint    ruff, mypy and the direction of imports"
	@echo "make format  let ruff format the code"
	@echo "make stubs   write initreg/__init__.pyi from the public names in initreg/__init__.py"
	@echo "make bench   measure it, and write docs/benchmarks.md (QUICK=1: less, and only print; SUBJECTS=saving: that section alone)"
	@echo "make fuzz    try mutated weight files (SECONDS=20: of each kind; INPUTS=1000: so many instead; SEEDS='npz h5': of these)"
	@echo "make oldest  run the tests of kernel, formats and targets with the oldest versions that are allowed, in $(VENV)-oldest"
	@echo "make audit   ask pip-audit whether what is installed has known vulnerabilities"
	@echo "make clean   remove $(VENV) and everything else that these commands made"
	@echo "The first of them takes a few minutes: it makes $(VENV) with $(PYTHON) (Python 3.11 or newer)."

demo: $(VENV)/.installed-demo
	@$(BIN)/python demo/run.py

test: $(VENV)/.installed-test
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

lint: $(VENV)/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/stubs.py --check

format: $(VENV)/.installed-lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

stubs: $(VENV)/.installed-lint
	$(BIN)/python tools/stubs.py

bench: $(VENV)/.installed-bench
	@$(BIN)/python tests/benchmarks/run.py $(if $(QUICK),--quick) $(SUBJECTS)

fuzz: $(VENV)/.installed-test
	@$(BIN)/python tests/fuzz/run.py --keep $(if $(SECONDS),--seconds $(SECONDS)) $(if $(INPUTS),--inputs $(INPUTS)) $(SEEDS)

oldest: $(VENV)-oldest/.installed
	@$(VENV)-oldest/bin/python -m pytest -n $(WORKERS) --dist worksteal -m 'not slow and not newest' \
	  -o filterwarnings=default $(ARGS) $(addprefix --ignore=tests/,trainers real faults fuzz) tests

audit: $(VENV)/.installed-test
	@$(PIP) install --quiet --upgrade pip-audit
	@$(BIN)/pip-audit --path $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

clean:
	rm -rf $(VENV) $(VENV)-oldest .cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the environment ---------------------------------------------------------------------------
# A stamp per dependency group: it is newer than pyproject.toml, or the group is installed again.

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "No '$(PYTHON)' here: install Python 3.11 or newer, or name it: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "initreg needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) -V 2>&1)." >&2; \
	  echo "Name another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "==> Making the virtual environment $(VENV) with $$($(PYTHON) -V 2>&1) (some seconds)"
	@# Debian keeps ensurepip in python3-venv; without it the pip that is there installs another.
	@if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
	  $(PYTHON) -m venv $(VENV); \
	else \
	  $(PYTHON) -m venv --without-pip $(VENV) && \
	  $(PYTHON) -m pip --python $(VENV)/bin/python install --ignore-installed pip; \
	fi || { rm -rf $(VENV); \
	  echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "==> Bringing pip up to date (dependency groups need 25.1)"
	@$(PIP) install --upgrade 'pip>=25.1' || { rm -rf $(VENV); exit 1; }

$(VENV)/.installed-demo: pyproject.toml | $(VENV)/bin/python
	@echo "==> Installing initreg, TensorFlow and scikit-learn: about 600 MB, one to five minutes, once"
	@$(PIP) install --editable '.[tensorflow]' --group demo
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/bin/python
	@echo "==> Installing initreg and what its tests need: about 600 MB, one to five minutes, once"
	@$(PIP) install --editable '.[tensorflow]' --group test
	@touch $@

$(VENV)/.installed-bench: pyproject.toml | $(VENV)/bin/python
	@echo "==> Installing initreg, what its tests need and matplotlib: one to five minutes, once"
	@$(PIP) install --editable '.[tensorflow]' --group bench
	@touch $@

# Warnings are no errors there: libraries of another year give others.
$(VENV)-oldest/.installed: pyproject.toml tests/oldest.py | $(VENV)/bin/python
	@echo "==> Installing the oldest versions that are allowed: two minutes, once"
	@$(MAKE) --no-print-directory VENV=$(VENV)-oldest $(VENV)-oldest/bin/python
	@$(VENV)-oldest/bin/python tests/oldest.py > $(VENV)-oldest/constraints.txt
	@$(VENV)-oldest/bin/python -m pip --disable-pip-version-check install --quiet \
	  --constraint $(VENV)-oldest/constraints.txt --editable '.[tensorflow,rich]' --group test
	@touch $@

$(VENV)/.installed-lint: pyproject.toml | $(VENV)/bin/python
	@echo "==> Installing initreg, ruff, mypy and import-linter: under a minute, once"
	@$(PIP) install --editable . --group lint
	@touch $@
