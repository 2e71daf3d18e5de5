# Two commands for a newcomer: `make demo` and `make test`. Each creates .venv first if it is missing.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
FORMATS ?= frozen-graph gguf jax onnx tflite tfjs torch

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST := -m pytest -n $(WORKERS) --dist worksteal
# Not of the groups that have commands of their own.
ORDINARY := not kills and not heavy and not sweep and not bridge and not remote and not pages
# Keeps TensorFlow's C++ code from printing a banner. demo/run.py and tests/conftest.py set it, too.
export TF_CPP_MIN_LOG_LEVEL ?= 3

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test slow quick kills sweep heavy formats bridge remote pages docs lint format stubs schema layers bench compare fuzz beside oldest audit clean

help: ## list these commands
	@echo "make demo    restore a trained digits classifier into a TF1 session, Keras and a model to fine-tune"
	@echo "make test    run the test suite (ARGS='-k npz' selects tests, WORKERS=$(WORKERS) processes)"
	@echo "make slow    run the slow tests: killed trainings, clusters, the pages of the docs, in 15 minutes"
	@echo "make kills   kill saves and trainings hundreds of times, in about 15 minutes (KILLS=50 for fewer)"
	@echo "make sweep   restore every kind of layer from every format, in about ten minutes"
	@echo "make formats run the tests of plugins/initreg-*, beside torch, onnx and so on (FORMATS='torch onnx')"
	@echo "make bridge  run the tests that compare models of torch, JAX and ONNX with those of Keras, by outputs"
	@echo "make remote  run the tests with a server of S3 on loopback, in a minute"
	@echo "make docs    build the documentation as a site, build/docs/site/index.html, in half a minute"
	@echo "make pages   use the pages that initreg writes in a headless Chromium, in half a minute"
	@echo "make heavy   restore every architecture of keras.applications, in about an hour"
	@echo "make quick   run the tests that need no TensorFlow, in about a minute (VENV=.venv-3.13 PYTHON=python3.13)"
	@echo "make lint    run ruff, mypy and the check of import directions"
	@echo "make format  let ruff fix and format the code"
	@echo "make layers  write docs/layers.md, the table of Keras's layers, from tests/targets/layers"
	@echo "make stubs   write initreg/__init__.pyi from the public names in initreg/__init__.py"
	@echo "make schema  write initreg/rules/schema.json, the JSON Schema of rule files"
	@echo "make bench   run the benchmarks and write docs/benchmarks.md, on Linux"
	@echo "             (QUICK=1 runs fewer and only prints, SUBJECTS=saving runs one section;"
	@echo "             SUBJECTS=pytorch needs torch, which 'make bridge' installs)"
	@echo "make compare BASE=main~10"
	@echo "             compare this checkout with another commit, in ten minutes (MINUTES=2 for less)"
	@echo "make fuzz    try mutated weight files, on Linux"
	@echo "             (SECONDS=20 for each kind, or INPUTS=1000 for each kind; SEEDS='npz h5' selects kinds)"
	@echo "make beside  run the tests of the installed Keras with initreg beside each load, for an hour"
	@echo "             (TESTS='saving models' selects folders or files below keras/src)"
	@echo "make oldest  run the tests with the oldest supported versions of the dependencies, in $(VENV)-oldest"
	@echo "make audit   check the installed packages for known vulnerabilities, with pip-audit"
	@echo "make clean   remove the virtual environments and everything else that these commands created"
	@echo "The first command takes a few minutes: it creates $(VENV) with $(PYTHON) (Python 3.11 or newer)."

demo: $(VENV)/.installed-demo
	@$(BIN)/python demo/run.py

test: $(VENV)/.installed-test
	@$(BIN)/python $(PYTEST) -m 'not slow and $(ORDINARY)' $(ARGS)

# Trainings that are killed and go on, clusters of processes, the pages of the docs, fuzzing.
slow: $(VENV)/.installed-test
	@$(BIN)/python $(PYTEST) -m 'slow and $(ORDINARY)' $(ARGS)

# Each kind of save is killed KILLS times and each trainer an eighth as often; make slow does it a
# few times.
KILLS ?= 200
kills: $(VENV)/.installed-test
	@INITREG_KILLS=$(KILLS) $(BIN)/python $(PYTEST) -m kills $(ARGS)

# make slow restores every second kind of layer in one format, by turns.
sweep: $(VENV)/.installed-test
	@$(BIN)/python $(PYTEST) -m sweep $(ARGS)

# All architectures of keras.applications, written by each version of Keras and restored into both,
# and a model of 6 GB in shards (INITREG_SHARDS_GB=12 takes 12 GB of memory, and of the disk).
heavy: $(VENV)/.installed-test
	@$(BIN)/python $(PYTEST) -m heavy $(ARGS)

# tests/real is left out because it downloads weights, and most of it needs TensorFlow.
# In an environment of its own: nobody who works on initreg itself needs torch and JAX.
formats: $(VENV)-formats/.installed
	@for each in $(FORMATS); do \
	  echo "==> plugins/initreg-$$each"; \
	  (cd plugins/initreg-$$each && ../../$(VENV)-formats/bin/python -m pytest $(ARGS)) || exit 1; \
	done

# In an environment of its own, which has torch, JAX and ONNX beside TensorFlow.
bridge: $(VENV)-bridge/.installed
	@$(VENV)-bridge/bin/python $(PYTEST) -m bridge tests/frameworks $(ARGS)

# In an environment of its own: the library of S3 and its server bring fifty packages.
remote: $(VENV)-remote/.installed
	@$(VENV)-remote/bin/python $(PYTEST) -m remote tests/remote $(ARGS)

pages: $(VENV)/.installed-quick
	@$(BIN)/python -c 'import sys; sys.path.insert(0, "tests/pages"); import chromium; sys.exit(not chromium.program())' || { \
	  echo "There is no Chromium. On Debian: apt install chromium. Or set INITREG_CHROMIUM to the path of one." >&2; exit 1; }
	@$(BIN)/python $(PYTEST) -m pages tests/pages $(ARGS)

quick: $(VENV)/.installed-quick
	@$(BIN)/python $(PYTEST) --no-framework -m 'not slow and $(ORDINARY)' --ignore=tests/real --ignore=tests/frameworks --ignore=tests/remote $(ARGS)

# In an environment of its own: a program in Rust and a dozen packages, of which the tests need none.
docs: $(VENV)-docs/.installed
	@$(VENV)-docs/bin/python tools/site/build_site.py

lint: $(VENV)/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/stubs.py --check
	$(BIN)/python tools/schema.py --check

format: $(VENV)/.installed-lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

layers: $(VENV)/.installed-test
	$(BIN)/python tests/targets/layers/page.py > docs/layers.md.new && mv docs/layers.md.new docs/layers.md

stubs: $(VENV)/.installed-lint
	$(BIN)/python tools/stubs.py

schema: $(VENV)/.installed-lint
	$(BIN)/python tools/schema.py

bench: $(VENV)/.installed-bench
	@$(BIN)/python tests/benchmarks/run.py $(if $(QUICK),--quick) $(SUBJECTS)

BASE ?= main
compare: $(VENV)/.installed-test
	@$(BIN)/python tests/benchmarks/comparing.py $(BASE) $(MINUTES)

fuzz: $(VENV)/.installed-test
	@$(BIN)/python tests/fuzz/run.py --keep $(if $(SECONDS),--seconds $(SECONDS)) $(if $(INPUTS),--inputs $(INPUTS)) $(SEEDS)

# The wheels of tf_keras lack its tests: tests/beside/beside.py --keras tf_keras --sources DIR.
beside: $(VENV)/.installed-test
	@$(BIN)/python tests/beside/beside.py $(TESTS)

# Folders are left out rather than listed, so that a new folder of tests is run.
oldest: $(VENV)-oldest/.installed
	@$(VENV)-oldest/bin/python $(PYTEST) -m 'not slow and not kills and not heavy and not sweep and not newest and not pages' -o filterwarnings=default \
	  $(foreach each,beside frameworks remote cli docs faults fuzz plan plugin real rules storage trainers targets/layers targets/optimizers,--ignore=tests/$(each)) $(ARGS)

audit: $(VENV)/.installed-test
	@$(PIP) install --quiet --upgrade pip-audit
	@$(BIN)/pip-audit --path $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

clean:
	rm -rf $(VENV) $(VENV)-oldest $(VENV)-formats $(VENV)-bridge $(VENV)-remote $(VENV)-docs .venv-3.[0-9]* .cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the environment ---------------------------------------------------------------------------
# Each dependency group has a stamp file. A group is installed again when pyproject.toml is newer
# than its stamp.

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "'$(PYTHON)' was not found. Install Python 3.11 or newer, or name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "initreg needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) -V 2>&1)." >&2; \
	  echo "Name another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "==> Creating the virtual environment $(VENV) with $$($(PYTHON) -V 2>&1) (a few seconds)"
	@# Debian ships ensurepip in python3-venv. Without it, the system's pip installs pip here.
	@if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
	  $(PYTHON) -m venv $(VENV); \
	else \
	  $(PYTHON) -m venv --without-pip $(VENV) && \
	  $(PYTHON) -m pip --python $(VENV)/bin/python install --ignore-installed pip; \
	fi || { rm -rf $(VENV); \
	  echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "==> Updating pip (dependency groups need 25.1)"
	@$(PIP) install --upgrade 'pip>=25.1' || { rm -rf $(VENV); exit 1; }

$(VENV)/.installed-demo: pyproject.toml | $(VENV)/bin/python
	@echo "==> Installing initreg, TensorFlow and scikit-learn: about 600 MB, one to five minutes, only once"
	@$(PIP) install --editable '.[tensorflow]' --group demo
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/bin/python
	@echo "==> Installing initreg and what its tests need: about 600 MB, one to five minutes, only once"
	@$(PIP) install --editable '.[tensorflow]' --group test
	@touch $@

$(VENV)/.installed-quick: pyproject.toml | $(VENV)/bin/python
	@echo "==> Installing initreg and what its quick tests need: under a minute, only once"
	@$(PIP) install --quiet --editable . --group quick
	@touch $@

$(VENV)/.installed-bench: pyproject.toml | $(VENV)/bin/python
	@echo "==> Installing initreg, what its tests need and matplotlib: one to five minutes, only once"
	@$(PIP) install --editable '.[tensorflow]' --group bench
	@touch $@

# Warnings are not errors in 'make oldest', because old libraries emit other warnings.
$(VENV)-oldest/.installed: pyproject.toml tests/oldest.py | $(VENV)/bin/python
	@echo "==> Installing the oldest supported versions: two minutes, only once"
	@$(MAKE) --no-print-directory VENV=$(VENV)-oldest $(VENV)-oldest/bin/python
	@$(VENV)-oldest/bin/python tests/oldest.py > $(VENV)-oldest/constraints.txt
	@$(VENV)-oldest/bin/python -m pip --disable-pip-version-check install --quiet \
	  --constraint $(VENV)-oldest/constraints.txt --editable '.[tensorflow,rich]' --group test
	@touch $@

# tensorflowjs comes alone: its tests import one module of it, and the rest needs TensorFlow.
$(VENV)-formats/.installed: pyproject.toml $(wildcard plugins/initreg-*/pyproject.toml) | $(VENV)/bin/python
	@echo "==> Installing torch, JAX, TensorFlow and more for the tests of plugins/initreg-*: about 1 GB, only once"
	@$(MAKE) --no-print-directory VENV=$(VENV)-formats $(VENV)-formats/bin/python
	@$(VENV)-formats/bin/python -m pip --disable-pip-version-check install --quiet \
	  --editable . $(patsubst %/pyproject.toml,--editable %,$(wildcard plugins/initreg-*/pyproject.toml)) \
	  --group formats
	@$(VENV)-formats/bin/python -m pip --disable-pip-version-check install --quiet --no-deps tensorflowjs==4.22.0
	@touch $@

# mergekit comes alone: its methods are compared with, and most of what it needs is for its commands.
$(VENV)-bridge/.installed: pyproject.toml $(wildcard plugins/initreg-*/pyproject.toml) | $(VENV)/bin/python
	@echo "==> Installing torch, JAX, ONNX and TensorFlow for the tests of tests/frameworks: about 1 GB, only once"
	@$(MAKE) --no-print-directory VENV=$(VENV)-bridge $(VENV)-bridge/bin/python
	@$(VENV)-bridge/bin/python -m pip --disable-pip-version-check install --quiet \
	  --editable '.[tensorflow]' $(patsubst %/pyproject.toml,--editable %,$(wildcard plugins/initreg-*/pyproject.toml)) \
	  --group bridge
	@$(VENV)-bridge/bin/python -m pip --disable-pip-version-check install --quiet --no-deps mergekit==0.1.5
	@touch $@

$(VENV)-remote/.installed: pyproject.toml | $(VENV)/bin/python
	@echo "==> Installing a server of S3 and its library: a minute, only once"
	@$(MAKE) --no-print-directory VENV=$(VENV)-remote $(VENV)-remote/bin/python
	@$(VENV)-remote/bin/python -m pip --disable-pip-version-check install --quiet \
	  --editable '.[remote]' --group remote
	@touch $@

# Without initreg, whose docstrings are read and never run.
$(VENV)-docs/.installed: pyproject.toml | $(VENV)/bin/python
	@echo "==> Installing what builds the site: half a minute, only once"
	@$(MAKE) --no-print-directory VENV=$(VENV)-docs $(VENV)-docs/bin/python
	@$(VENV)-docs/bin/python -m pip --disable-pip-version-check install --quiet --group docs
	@touch $@

$(VENV)/.installed-lint: pyproject.toml | $(VENV)/bin/python
	@echo "==> Installing initreg, ruff, mypy and import-linter: under a minute, only once"
	@$(PIP) install --editable . --group lint
	@touch $@
