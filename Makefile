# Every target works as the first command on a machine with Python 3.11+ and git: the environment is made on demand.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
READY := $(VENV)/.ready

.PHONY: install demo test test-all check bench docs generate

install: $(READY)

# torch first and pinned: with it in place nothing else asks for the (much larger) accelerator build.
$(READY): pyproject.toml constraints.txt
	@echo "preparing $(VENV) (once, a few minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) "$$(grep '^torch==' constraints.txt)"
	@$(PIP) -e ".[torch,hf,transfer,data,plot,models]" pytest hypothesis scipy ruff mypy sphinx furo myst-parser
	@touch $@

demo: $(READY)
	@$(BIN)/python -m tokenloom.app.demo

test: $(READY)
	$(BIN)/python -m pytest

test-all: $(READY)
	$(BIN)/python -m pytest -m "slow or not slow"

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python benchmarks/run.py

docs: $(READY)
	$(BIN)/python -m sphinx -W --keep-going -b doctest docs docs/_build/doctest
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

generate: $(READY)
	$(BIN)/python -m tokenloom.core.catalogue --write
