# make demo      a relay, an agent, streams that outlive it, letters for who is away, on this machine (ONCE=1: show and end)
# make install   the development environment in .venv, with .venv/bin/relay
# make test      everything that a change must pass
# make quick     the fast tests alone
# make lint      style, types, import rules, and what should not be in the source
# make security  known vulnerabilities of what is installed (needs the network)
# make soak      slow and hostile clients beside normal ones, and what it costs these (a minute)
# make bench     what relayed calls and events cost, beside nginx (needs wrk, nginx, openssl; under six minutes)
# make drills    crashes, power losses and other faults by the thousand, and what became of each letter (minutes)
# make mutants   small changes to the code of who may do what, and how many of them the tests notice (tens of minutes)
# make clean     remove what was made
#
# PYTHON=...     the interpreter to make .venv with (3.11 or newer; the first fitting one otherwise)
# PYTEST_ARGS=.. further arguments for pytest
# DRILL_ARGS=..  further arguments for tests/drills/run.py: --kills N, --losses N, --seed N, --replay KIND:SEED:LIVES
# BENCH_ARGS=..  further arguments for benchmarks/run.py: --json, --only streams, --save FILE
#
# All paths are relative, so that a directory with a space in its name is no matter.

SHELL := /bin/sh
BIN := .venv/bin
PYTEST_ARGS ?=
BENCH_ARGS ?=
DRILL_ARGS ?=
AUDIT_ARGS ?=
SOAK_ARGS ?=
DEMO_PORT ?= 8080
PYTHON ?=
export PYTHON

.PHONY: help install demo test quick lint security soak bench drills mutants clean
.DEFAULT_GOAL := help

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

install:
	@scripts/bootstrap.sh dev

demo:
	@scripts/bootstrap.sh demo
	@exec $(BIN)/python scripts/demo.py --port $(DEMO_PORT) $(if $(filter-out 0,$(ONCE)),--once)

test: lint
	$(BIN)/python -m pytest -n 4 --dist worksteal $(PYTEST_ARGS)

quick: install
	$(BIN)/python -m pytest -q tests/unit tests/contracts $(PYTEST_ARGS)

lint: install
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports
	$(BIN)/python -m bandit -q -c pyproject.toml -r src scripts
	$(BIN)/python scripts/find_secrets.py

security: install
	@$(BIN)/python scripts/audit_packages.py $(AUDIT_ARGS)

mutants: install
	@scripts/mutants.sh $(MUTANT_ARGS)

soak: install
	@$(BIN)/python benchmarks/hostile_soak.py $(SOAK_ARGS)

bench: install
	@$(BIN)/python benchmarks/run.py $(BENCH_ARGS)

drills: install
	@$(BIN)/python tests/drills/run.py $(DRILL_ARGS)

clean:
	rm -rf .venv .demo .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist mutants
	find src tests examples scripts -name __pycache__ -type d -prune -exec rm -rf {} +
