# The README's two commands are `make demo` and `make test`. Each makes what it needs.

ifeq ($(OS),Windows_NT)
PYTHON ?= py -3
BIN := .venv/Scripts
else
PYTHON ?= python3
BIN := .venv/bin
endif
PY := $(BIN)/python

.DEFAULT_GOAL := help
.PHONY: help demo test lint types arrows measure measure-fleet soak fuzz mutate docs clean

help: ## what there is
	@echo "make demo     a real conversation on a real model (no LM Studio needed)"
	@echo "make test     lint, types, import arrows, tests (5 minutes at most)"
	@echo "make measure  our speed beside our peers', in one run (about 10 minutes)"
	@echo "make measure-fleet  what a choice among hosts costs, and what a slow one does (half a minute)"
	@echo "make soak     failures and cancellations for a minute and more, and nothing may be left"
	@echo "make fuzz     whatever a server may send: the fuzz tests of make test, for about 10 minutes"
	@echo "make mutate   small faults put into the code, and whether the tests notice (Linux, macOS)"
	@echo "make docs     builds docs/api.md from the docstrings, docs/cli.md from the commands"
	@echo "make clean    removes .venv and what was built"

# A stamp stands for an installed group of packages; it is made again when pyproject.toml changes.
$(PY):
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'NeuroRoute needs Python 3.11 or later; this is ' + sys.version.split()[0] + '. Name another: make PYTHON=python3.12 ...')"
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --upgrade "pip>=25.1"

.venv/.demo: $(PY) pyproject.toml
	$(PY) -m pip install --quiet --progress-bar off --editable ".[cli,embedded,prometheus]" fastapi httpx
	@$(PY) -c "import pathlib; pathlib.Path('$@').touch()"

.venv/.dev: $(PY) pyproject.toml
	$(PY) -m pip install --quiet --progress-bar off --editable ".[all]" --group dev
	@$(PY) -c "import pathlib; pathlib.Path('$@').touch(); pathlib.Path('.venv/.demo').touch()"

.venv/.measure: .venv/.dev
	$(PY) -m pip install --quiet --progress-bar off --group measure
	@$(PY) -c "import pathlib; pathlib.Path('$@').touch()"

.venv/.mutate: .venv/.dev
	$(PY) -m pip install --quiet --progress-bar off --group mutate
	@$(PY) -c "import pathlib; pathlib.Path('$@').touch()"

demo: .venv/.demo
	$(PY) -m neuroroute demo
	$(PY) -m neuroroute engine -- $(PY) examples

test: lint types arrows
	$(PY) -m pytest -n 2 --dist loadgroup

lint: .venv/.dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: .venv/.dev
	$(PY) -m mypy
	$(PY) -m pyright

arrows: .venv/.dev
	$(BIN)/lint-imports

measure: .venv/.measure
	$(PY) benchmarks/run.py

measure-fleet: .venv/.measure
	$(PY) benchmarks/choosing.py --plot docs/fleet.svg

soak: .venv/.dev
	$(PY) benchmarks/soak.py

fuzz: .venv/.dev
	$(PY) -m pytest tests/wire/test_fuzz.py --hypothesis-profile=fuzz

# make mutate FILES=wire/sse.py for one of them
mutate: .venv/.mutate
	$(PY) benchmarks/mutate.py $(FILES)

docs: .venv/.dev
	$(PY) docs/build_api.py
	$(PY) docs/build_cli.py

clean:
	$(PYTHON) -c "import shutil; [shutil.rmtree(p, ignore_errors=True) for p in ('.venv', 'dist', 'build', '.mypy_cache', '.ruff_cache', '.pytest_cache', '.hypothesis')]"
