# Five verbs. `make demo` and `make test` set everything up first.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
SECONDS ?= 600

.PHONY: setup check test test-long fuzz docs demo lock

setup: $(VENV)/carina-set-up

$(VENV)/carina-set-up: requirements/dev.txt requirements/build.txt requirements/assets.txt pyproject.toml scripts/setup.sh scripts/fetch_assets.py
	PYTHON=$(PYTHON) bash scripts/setup.sh

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check src/carina tests scripts benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

# The browser has an event loop of its own, so its tests run by themselves.
test: setup check
	$(BIN)/pytest -m "not slow" --ignore=tests/e2e $(ARGS)
	$(BIN)/pytest tests/e2e $(ARGS)

test-long: setup
	$(BIN)/pytest -m slow -s $(ARGS)

# Each target for so many seconds, one after another; what fails is left in the folder `findings`.
fuzz: setup
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/fuzz.txt
	mkdir -p findings
	nice -n 19 $(BIN)/python -m tests.fuzz --seconds $(SECONDS) --findings findings $(ARGS)

docs: setup
	$(BIN)/python scripts/make_reference.py

demo: setup
	$(BIN)/carina demo $(ARGS)

lock:
	bash scripts/lock.sh
