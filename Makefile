# Every verb works as the first command on a fresh machine: it makes .venv when there is none.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CORE := $(VENV)/.installed-core

# Where Python is told to keep no compiled modules, every process would compile torch anew, for five seconds.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test docs lint format type bench tables

help:  ## list the verbs
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

# One attempt per change of what it depends on; an interrupted set-up leaves no stamp and is taken up again.
$(STAMP): pyproject.toml constraints.txt tools/setup.sh
	@sh tools/setup.sh
	@touch $(CORE) $@

# What the package itself needs, in half of the time.
$(CORE): pyproject.toml constraints.txt tools/setup.sh
	@sh tools/setup.sh .
	@touch $@

setup: $(STAMP)  ## create .venv and install everything, system libraries included where allowed

# Eight plans a decision instead of 32, for two cores.
demo: $(CORE)  ## an episode that the imagination plans, filmed beside what was imagined; writes demo.mp4
	$(BIN)/sfvgen-plan eval --task drawer-close-v3 --episodes 1 --video demo.mp4 agent.candidates=8

# Two processes, each with half of the tests; who is done first takes some of the other's.
test: $(STAMP)  ## the default tests (see tests/conftest.py for the slow ones)
	@$(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST_ARGS)

docs: $(STAMP)  ## the pages of docs/ as a site, in build/site
	$(BIN)/python -m sphinx -q -W --keep-going docs build/site
	@echo built: build/site/index.html

lint: $(STAMP)  ## ruff: rules and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

type: $(STAMP)  ## mypy
	sh tools/types.sh

bench: $(STAMP)  ## speed on this machine, into benchmarks/rows/speed.csv
	$(BIN)/python -m sfvgen_plan.benchmarks.speed

tables: $(STAMP)  ## the tables of README and docs from the stored rows
	$(BIN)/python -m sfvgen_plan.benchmarks.report.readme
