# Every target works again and again, from any folder, and offline after the first time.
#   make demo      a real workflow from start to end
#   make help      all targets
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
# The oldest Python that is enough and the newest that was tried; PYTHON=/path/to/python chooses another.
PYTHONS := python3.11 python3.12 python3.13 python3.14 python3 python
PYTHON ?=
PYTEST_ARGS ?=
CALLBOARD_ARGS ?=
BENCH_ARGS ?=
CHAOS_ARGS ?=

RUNTIME_STAMP := $(VENV)/.stamp-runtime
DEV_STAMP := $(VENV)/.stamp-dev
BENCH_STAMPS := $(patsubst bench/peers/%/requirements.txt,bench/.venvs/%/.stamp,$(wildcard bench/peers/*/requirements.txt)) \
	bench/.venvs/profiler/.stamp
BROWSER_STAMP := tests/browser/node_modules/.package-lock.json
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check

# A stamp holds the folder it was made in. With one from another place (the folder was moved or copied), or
# without a Python that starts (the system's was replaced), the environment is made anew.
IS_STALE := $(shell if [ -f $(RUNTIME_STAMP) ]; then \
	[ "$$(cat $(RUNTIME_STAMP))" = "$(CURDIR)" ] && $(BIN)/python -c '' >/dev/null 2>&1 || echo yes; fi)

.PHONY: help setup setup-dev demo serve up-local down-local test test-full chaos bench bench-setup lint types contracts docs-check check format clean FORCE

help: ## Show this list
	@echo "Callboard. First: make demo"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' Makefile | expand -t 20

setup: $(RUNTIME_STAMP) ## Make .venv with what Callboard needs to run
	@echo "$(VENV) is ready."

setup-dev: $(DEV_STAMP) ## Make .venv with what its tests need, too
	@echo "$(VENV) is ready for development."

demo: $(RUNTIME_STAMP) ## Run a real workflow from start to end and show what happens
	@$(BIN)/callboard demo $(CALLBOARD_ARGS)

serve: $(RUNTIME_STAMP) ## Start the API with a worker inside
	@$(BIN)/callboard serve $(CALLBOARD_ARGS)

up-local: $(DEV_STAMP) ## Start what compose.yaml starts, on this machine without containers
	@$(BIN)/python scripts/local_stack.py up

down-local: ## Stop what up-local started
	@$(BIN)/python scripts/local_stack.py down

test: check ## Run every check, then the tests (PYTEST_ARGS="-k name" for some)
	@$(BIN)/python -m pytest -n auto --dist worksteal $(PYTEST_ARGS)

test-full: $(DEV_STAMP) ## Run the tests that take a browser (chromium) and Mermaid (npm), too
	@if command -v npm >/dev/null 2>&1; then $(MAKE) $(BROWSER_STAMP); fi
	@$(BIN)/python -m pytest -m full $(PYTEST_ARGS)

chaos: $(DEV_STAMP) ## Kill, freeze, crash and cut everything into docs/chaos-report.md (CHAOS_ARGS="--only kill-workers")
	@$(BIN)/python -m tests.chaos $(if $(CHAOS_ARGS),$(CHAOS_ARGS),--report docs/chaos-report.md)

bench-setup: $(BENCH_STAMPS) ## Make the environments of the peers that the bench measures, and of its profiler
	@echo "bench/.venvs is ready."

bench: $(DEV_STAMP) bench-setup ## Measure Callboard beside its peers into bench/results.md (BENCH_ARGS="--quick --rounds 1")
	@$(BIN)/python -m bench.suite $(BENCH_ARGS)

check: lint types contracts docs-check ## Run every check but the tests

lint: $(DEV_STAMP) ## Check style and form
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(DEV_STAMP) ## Check types
	@$(BIN)/mypy

contracts: $(DEV_STAMP) ## Check who imports whom
	@$(BIN)/lint-imports

docs-check: $(DEV_STAMP) ## Check that the documents made from the code are up to date
	@$(BIN)/python scripts/settings_docs.py --check
	@$(BIN)/python scripts/format_docs.py --check

format: $(DEV_STAMP) ## Bring the code into form, and write the documents that are made from it
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/python scripts/settings_docs.py
	@$(BIN)/python scripts/format_docs.py

clean: ## Remove the environment and every cache; local data in .callboard stays
	rm -rf $(VENV) bench/.venvs .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# The stamps are what makes the second run instant and offline: pip is asked only when a lock has changed.
# An environment that broke off half-way has no stamp and is finished by the next run.
$(RUNTIME_STAMP): requirements.lock pyproject.toml $(if $(IS_STALE),FORCE)
	@python=""; \
	for candidate in $(if $(PYTHON),"$(PYTHON)",$(PYTHONS)); do \
	  if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    python="$$candidate"; break; \
	  fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "Callboard needs Python 3.11 or newer with venv. Found: $$(python3 --version 2>&1 || echo none)." >&2; \
	  echo "Install one (on Debian and Ubuntu: apt install python3 python3-venv), or name one: make PYTHON=/path/to/python3" >&2; \
	  exit 1; \
	fi; \
	if [ -n "$(IS_STALE)" ] || ! $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	  echo "Making $(VENV) with $$("$$python" --version) ..."; \
	  "$$python" -m venv --clear $(VENV) || exit 1; \
	fi
	@echo "Installing what requirements.lock names (the first time this takes a minute) ..."
	@$(PIP_INSTALL) --require-hashes -r requirements.lock
	@$(PIP_INSTALL) --no-deps --editable .
	@echo "$(CURDIR)" > $@

FORCE:

$(DEV_STAMP): requirements-dev.lock $(RUNTIME_STAMP)
	@echo "Installing what requirements-dev.lock names ..."
	@$(PIP_INSTALL) --no-deps --require-hashes -r requirements-dev.lock  # the lock is whole; arq alone says redis<6
	@touch $@

# Each peer has an environment of its own: their requirements exclude each other.
bench/.venvs/%/.stamp: bench/peers/%/requirements.txt $(RUNTIME_STAMP)
	@echo "Making bench/.venvs/$* ..."
	@$(BIN)/python -m venv --clear bench/.venvs/$*
	@bench/.venvs/$*/bin/python -m pip install -qq --disable-pip-version-check -r $<
	@touch $@

bench/.venvs/profiler/.stamp: bench/profiler/requirements.txt $(RUNTIME_STAMP)
	@$(BIN)/python -m venv --clear bench/.venvs/profiler
	@bench/.venvs/profiler/bin/python -m pip install -qq --disable-pip-version-check -r $<
	@touch $@

# npm writes this file last; without npm, or offline, the tests that need it say so.
$(BROWSER_STAMP): tests/browser/package-lock.json
	@echo "Installing what tests/browser/package-lock.json names ..."
	@cd tests/browser && npm ci --silent && touch node_modules/.package-lock.json
