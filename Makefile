# What a person types. Everything is installed into .venv, everything the servers keep is in .dbstorage.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
MAKEFLAGS += --no-print-directory
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Tests start Python hundreds of times: what it compiles is kept, also where the variable says otherwise (in many images).
unexport PYTHONDONTWRITEBYTECODE

# The first that is Python 3.11 or later; looked for only when .venv is made.
PYTHON = $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

# The tests mostly wait for servers and workers: six processes keep two cores busy. tests/scheduling.py deals them out.
PARALLEL := --numprocesses 6

# Which lines no test runs in its own process; a worker is another one. sys.monitoring costs next to nothing.
COVERAGE := --cov --cov-report=term
COVERAGE_CORE = $(shell $(BIN)/python -c 'import sys; print("sysmon" if sys.version_info >= (3, 12) else "ctrace")')

.DEFAULT_GOAL := help
.PHONY: help run test types every-test test-core test-servers test-lowest chaos mutants format bench bench-quick bench-full lock sbom

help:  ## Print this.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: $(INSTALLED)  ## Start the whole service; Ctrl-C stops it.
	@exec $(BIN)/dbstorage up

test: $(INSTALLED)  ## Check format, style and types, then run every test.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(MAKE) --jobs types every-test

# One process, and for half a minute where it was never run: beside the tests it costs no time.
types: $(INSTALLED)
	$(BIN)/mypy

every-test: $(INSTALLED)
	COVERAGE_CORE=$(COVERAGE_CORE) $(BIN)/python -m pytest $(PARALLEL) --durations=10 $(COVERAGE)

# Where a version matters most. Of servers: SQL, migrations, scripts, streams. Of Python and packages: JSON and Celery's less public
# parts, too.
ON_SERVERS := tests/database tests/history tests/storage tests/batch tests/reader/test_group.py tests/reader/test_lease.py tests/service/test_commands.py
CORE := tests/wire tests/commands tests/worker $(ON_SERVERS)
# What depends on a version shows in a few examples; `make test` looks for what takes many.
FEW := --hypothesis-profile=few

# Of other servers than those of the wheels: POSTGRES is the directory of its programs, REDIS the program itself.
SERVERS = $(if $(POSTGRES),--postgres=$(POSTGRES)) $(if $(REDIS),--redis=$(REDIS))

LOWEST := python3.11
test-lowest: | $(BIN)/pip  ## Run the core tests with the lowest versions that pyproject.toml allows (needs uv).
	uv pip compile --quiet --resolution lowest-direct --python-version 3.11 --extra embedded --group development \
		--output-file .venv/lowest.txt pyproject.toml
	uv venv --quiet --clear --python $(LOWEST) .venv/lowest
	uv pip sync --quiet --python .venv/lowest .venv/lowest.txt
	uv pip install --quiet --python .venv/lowest --no-deps --no-build-isolation --editable .
	.venv/lowest/bin/python -m pytest $(PARALLEL) $(FEW) $(SERVERS) $(CORE)

test-core: $(INSTALLED)  ## Run the core tests, for instance with another Python: make test-core VENV=.venv/3.12 PYTHON=python3.12
	$(BIN)/python -m pytest $(PARALLEL) $(FEW) $(SERVERS) $(CORE)

test-servers: $(INSTALLED)  ## Run what leans on servers with others: make test-servers POSTGRES=/usr/lib/postgresql/17/bin REDIS=/usr/bin/redis-server
	$(BIN)/python -m pytest $(PARALLEL) $(FEW) $(SERVERS) $(ON_SERVERS)

chaos: $(INSTALLED)  ## Kill, stop and cut at full length; `make test` does it in a short form.
	CHAOS=full $(BIN)/python -m pytest tests/chaos tests/service/test_against_model.py tests/reader

mutants: .venv/mutants/installed  ## Change the pure rooms in every way and tell which changes no test notices.
	nice .venv/mutants/bin/mutmut run --max-children 1
	.venv/mutants/bin/mutmut results

.venv/mutants/installed: requirements.lock pyproject.toml | $(BIN)/pip
	$(BIN)/python -m venv --clear .venv/mutants
	.venv/mutants/bin/pip install --quiet --no-deps --require-hashes --requirement requirements.lock
	.venv/mutants/bin/pip install --quiet --no-deps --no-build-isolation --editable .
	.venv/mutants/bin/pip install --quiet --upgrade pip
	.venv/mutants/bin/pip install --quiet --group mutants
	@touch $@

format: $(INSTALLED)  ## Mend format and style where that can be done by itself.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(INSTALLED)  ## Measure everything, in about half an hour; results go to bench/results.
	$(BIN)/python -m bench all

bench-full: $(INSTALLED)  ## The same, longer and with more sizes of a batch; takes an hour or two.
	$(BIN)/python -m bench all --full

bench-quick: $(INSTALLED)  ## Compare the service with a bare loop, in less than a minute.
	$(BIN)/python -m bench quick $(QUICK)

COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --quiet \
	--custom-compile-command "make lock"

lock:  ## Take the newest versions that pyproject.toml allows (needs uv).
	$(COMPILE) --extra embedded --group bench --group development --upgrade --output-file requirements.lock pyproject.toml
	$(COMPILE) --constraint requirements.lock --output-file requirements-run.lock pyproject.toml

sbom: .venv/sbom/installed  ## Write sbom.cdx.json: what the image consists of, in the words of CycloneDX.
	.venv/sbom/bin/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application --output-reproducible \
		--output-format JSON --output-file sbom.cdx.json requirements-run.lock

.venv/sbom/installed: pyproject.toml | $(BIN)/pip
	$(BIN)/python -m venv --clear .venv/sbom
	.venv/sbom/bin/pip install --quiet --upgrade pip
	.venv/sbom/bin/pip install --quiet --group sbom
	@touch $@

# Python reads the path of this directory in the locale's encoding: one beyond ASCII would end each command under LC_ALL=C.
RELATIVE := import os, pathlib, sysconfig; site = pathlib.Path(sysconfig.get_path("purelib")); \
	[path.write_text(os.path.relpath(".", site)) for path in site.glob("*dbstorage.pth")]

$(INSTALLED): requirements.lock pyproject.toml | $(BIN)/pip
	@echo "Installing into $(VENV) (about half a minute) ..."
	@$(BIN)/pip install --quiet --no-deps --require-hashes --requirement requirements.lock
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@LC_ALL=C.UTF-8 $(BIN)/python -c '$(RELATIVE)'
	@touch $@

$(BIN)/pip:
	@[ -n "$(PYTHON)" ] || { echo "DBStorage needs Python 3.11 or later, and no python3 here is: install one."; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)
