# Everything a person types here. `make help` lists it.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test quick lint clean

help:  ## this list
	@grep -hE '^[a-z.]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

.venv: setup.cfg constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Stepstone needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch .venv

demo: .venv  ## the main job on a small real model, without Slurm (about 10 minutes)
	$(BIN)/stepstone demo demo

test: .venv  ## the whole suite, on a real Slurm where this machine can host one
	$(BIN)/python -m pytest

quick: .venv  ## the part of the suite that takes less than a minute
	$(BIN)/python -m pytest -m 'not slow and not slurm'

lint: .venv  ## lint, format, types and the import rule
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:  ## remove what was built (not the stores)
	rm -rf .venv *.egg-info build
