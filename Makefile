# Needs python3 (3.11 or newer, with venv) and make; the rest is installed into .venv/.
#   make run ARGS="--config study=korean_dialogsum"    hands anything on to snakemake

PYTHON ?= python3
PIP = .venv/bin/python -m pip --disable-pip-version-check --no-input
SNAKEMAKE = .venv/bin/python -m snakemake
ARGS ?=

.PHONY: help run test test-all lint settings picture audit clean-env

help:
	@echo "make run       install what is pinned in envs/, run the default study, write its report.html"
	@echo "make test      install, run the tests (minutes)"
	@echo "make test-all  the long tests too"
	@echo "make lint      snakemake --lint, snakefmt, ruff, mypy"
	@echo "make settings  write workflow/schemas/ and the tables of config/README.md after a changed key"
	@echo "make picture   draw the library's packages in CONTRIBUTING.md after a changed import"
	@echo "make audit     known security holes in the pinned packages, where their list can be had"
	@echo "make run ARGS='--config study=NAME'   any other argument of snakemake goes into ARGS"

run: .venv/installed
	$(SNAKEMAKE) --cores all --resources gpu=1 $(ARGS)

test: .venv/installed-dev
	.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" $(ARGS)

test-all: .venv/installed-dev
	.venv/bin/python -m pytest $(ARGS)

lint: .venv/installed-dev
	$(SNAKEMAKE) --lint
	.venv/bin/python -m snakefmt --check Snakefile workflow/rules
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy

settings: .venv/installed
	PYTHONPATH=workflow/scripts .venv/bin/python -m yoyak.config

picture: .venv/bin/python
	.venv/bin/python docs/make_house.py

# pip-audit lives apart: it is no part of what is pinned, and must not be judged by its own age.
audit: .venv/bin/python
	@test -x .venv/audit/bin/pip-audit || { $(PYTHON) -m venv .venv/audit && \
	  .venv/audit/bin/python -m pip --disable-pip-version-check --no-input install -q pip-audit; } || \
	  { echo "NOT AUDITED: pip-audit cannot be installed here"; exit 0; }; \
	  test ! -x .venv/audit/bin/pip-audit || .venv/audit/bin/python envs/audit.py

clean-env:
	rm -rf .venv

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Yoyak needs Python 3.11 or newer; name one with: make run PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: envs/requirements.lock pyproject.toml | .venv/bin/python
	$(PIP) install -r envs/requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

.venv/installed-dev: envs/requirements-dev.lock .venv/installed
	$(PIP) install -r envs/requirements.lock -r envs/requirements-dev.lock
	@touch $@
