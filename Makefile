# make demo: everything set up in .venv, then the main job on the embedded sample.
# make test: everything set up in .venv, then linters, types and tests.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo test slow wheel clean

setup: $(VENV)/.ready

# torch first: with it installed nothing asks the index for a build with CUDA packages.
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/python -m pipeline demo demo

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

slow: setup
	$(BIN)/python -m pytest -m slow

wheel: setup
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) build dist demo *.egg-info
