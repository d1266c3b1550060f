# Likelier: `make` lists the targets. Every target makes the environment it needs.

SHELL := /bin/bash
.DEFAULT_GOAL := help

BIN := .venv/bin
STAMP := .venv/.installed
# The newest of these that runs, is 3.11 or later, and can make environments (pyenv leaves shims that do not run).
FITS := import sys, venv, ensurepip; raise SystemExit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3; do \
	"$$name" -c '$(FITS)' >/dev/null 2>&1 && echo "$$name" && break; done)

# More threads than cores slow small work down many times over, and results must not depend on the machine.
export OMP_NUM_THREADS ?= 2
export OPENBLAS_NUM_THREADS ?= 2

SERVE ?= 1

.PHONY: help demo test test-all lint format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' Makefile

.venv: $(STAMP) ## the environment, with the tested versions of constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { test -n "$(PYTHON)" || { \
		echo "No Python 3.11 or later that can make environments was found." >&2; \
		echo "Install one (Debian, Ubuntu: apt-get install python3-venv), or name it: make PYTHON=/path/to/python3.12 .venv" >&2; \
		exit 1; }; "$(PYTHON)" -m venv --clear .venv; }
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]' --constraint constraints.txt
	@touch $@

demo: $(STAMP) ## a simulated shop from raw events to scores and a running service (SERVE=0: files only)
	$(BIN)/likelier demo $(if $(filter 0,$(SERVE)),--no-serve)

test: lint ## lint, then the tests that take seconds
	@# Two at a time, file by file: what a file's tests share is made once.
	$(BIN)/python -m pytest -m "not slow" --numprocesses 2 --dist loadfile

test-all: test ## test, then the tests that take minutes (on Spark, too, where Java 17 is)
	$(BIN)/python -m pip install --quiet --editable '.[dev,spark]' --constraint constraints.txt
	$(BIN)/python -m pytest -m slow

lint: $(STAMP) ## style, types and spelling, changing nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

format: $(STAMP) ## rewrite the sources in the house style
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

clean: ## remove the environment and what checks and builds leave behind (never a store)
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
