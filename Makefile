# Everything a person types here. `make help` lists it.
PYTHON ?= python3
BIN := .venv/bin
# Processes that `make test` runs tests in: two of them mostly wait for Slurm.
TESTERS := $(shell expr 2 + $$(nproc))

.PHONY: help demo test quick lint bench bench-alignment bench-collect bench-gpu bench-launch bench-pack bench-plan bench-start bench-statistics bench-tokenise bench-watch profile full-size coverage racing soak chaos network docs studies study-simulations every-task clean

help:  ## this list
	@grep -hE '^[a-z.-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

.venv: .venv/ready  ## the environment alone

# `ready` comes last: an interrupted build is not taken for an environment.
.venv/ready: setup.cfg constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Stepstone needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch .venv/ready

demo: .venv/ready  ## the main job on a small real model, without Slurm (2.2 minutes on 2 cores)
	$(BIN)/stepstone demo demo

test: .venv/ready  ## the whole suite, on a real Slurm where this machine can host one
	$(BIN)/python -m pytest --numprocesses $(TESTERS) --dist loadfile --no-loadscope-reorder

# With bytecode kept: without it a third of a run is compiling the same files.
quick: .venv/ready  ## the part of the suite that one runs before every commit (a minute)
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -m 'not slow and not slurm' --numprocesses auto --dist worksteal

lint: .venv/ready  ## lint, format, types, the order of the rooms, names that say nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.names

bench: .venv/ready  ## training and evaluation against Hugging Face Trainer + DeepSpeed, on the CPU (15 minutes)
	$(BIN)/python -m tests.benchmarks.train

bench-alignment: .venv/ready  ## 14 languages x 3,071 sentences x all layers of the small model (4) compared: time, memory (minutes)
	$(BIN)/python -m tests.benchmarks.alignment

bench-collect: .venv/ready  ## `collect` of 100,000 results beside the obvious pandas loop: time and memory (minutes)
	$(BIN)/python -m tests.benchmarks.collect

bench-gpu: .venv/ready  ## XLM-R Large against the same peer on one GPU
	$(BIN)/python -m tests.benchmarks.gpu

profile: .venv/ready  ## where a training step's time goes, with the roofline: the small model on a CPU, XLM-R Large on a GPU
	$(BIN)/python -m tests.benchmarks.profile

full-size: .venv/ready  ## XLM-R Large takes steps on the CPU under ZeRO: peak memory (24 GB, some minutes)
	$(BIN)/python -m tests.benchmarks.full_size

bench-plan: .venv/ready  ## time and memory of planning 100,000 stages
	$(BIN)/python -m tests.benchmarks.plan

bench-launch: .venv/ready  ## sending and collecting beside submitit, on the dev cluster; status at 100,000 stages
	$(BIN)/python -m tests.benchmarks.launch

bench-pack: .venv/ready  ## a sweep of small trainings on the dev cluster: a job each, bundles, packs (minutes)
	$(BIN)/python -m tests.benchmarks.pack

bench-start: .venv/ready  ## what an element takes beside its steps, local and on the dev cluster, in bare imports
	$(BIN)/python -m tests.benchmarks.start

bench-statistics: .venv/ready  ## tables with errors of a paper's grid: 14 recipes, 9 targets, 5 seeds, 10,000 draws (minutes)
	$(BIN)/python -m tests.benchmarks.statistics

bench-tokenise: .venv/ready  ## encoding against the tokenizers library's own batch speed
	$(BIN)/python -m tests.benchmarks.tokenise

coverage: .venv/ready  ## how often 95 % intervals hold the truth, and how often tests find what is not there (minutes)
	$(BIN)/python -m tests.benchmarks.coverage

racing: .venv/ready  ## what `seeds: {min, max, until}` finds wrongly, and what it saves, by simulation (minutes)
	$(BIN)/python -m tests.benchmarks.racing

study-simulations: .venv/ready  ## how often studies show what is not there, and what is (minutes)
	$(BIN)/python -m tests.benchmarks.studies

bench-watch: .venv/ready  ## calls of the scheduler per hour with five watchers; start and redraw at 100,000 stages
	$(BIN)/python -m tests.benchmarks.watch

soak: .venv/ready  ## a stage killed at every single write, under every ZeRO stage (an hour)
	$(BIN)/python -m tests.training.soak

chaos: .venv/ready  ## 1,000 short stages on the dev cluster, undisturbed and while jobs and daemons are killed at random (10 minutes)
	$(BIN)/python -m tests.launch.chaos 1000

network: .venv/ready  ## all that is tried on a network's file system: the fault matrix, 1,000 random sequences (hours)
	NETWORK_FULL=1 NETWORK_EXAMPLES=1000 $(BIN)/python -m pytest tests/filesystem

docs: .venv/ready  ## the generated pages and the picture of docs/ anew
	$(BIN)/stepstone tasks --markdown > docs/tasks.md
	$(BIN)/python -m launch.show.file_reference > docs/experiment-file.md
	$(BIN)/python docs/pictures/make.py

every-task: .venv/ready  ## every intermediate task x every target once, small (hours; data: see examples/small.sh)
	examples/small.sh
	$(BIN)/stepstone submit examples/every-task.yaml --wait
	$(BIN)/stepstone collect examples/every-task.yaml

studies: .venv/ready  ## the five studies, small (an hour; data: see examples/small.sh)
	examples/studies.sh

clean:  ## remove what was built (not the stores)
	rm -rf .venv *.egg-info build
