# The verbs. `make demo` and `make test` set everything up first.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
SECONDS ?= 600

.PHONY: setup viewer check test test-long fuzz docs demo lock texts screenshots

setup: $(VENV)/carina-set-up

$(VENV)/carina-set-up: requirements/dev.txt requirements/build.txt requirements/assets.txt pyproject.toml scripts/setup.sh scripts/fetch_assets.py scripts/build_viewer.py
	PYTHON=$(PYTHON) bash scripts/setup.sh

# OHIF, as a package of its own: set-up builds it where npm is there, and this tells why when it could not.
viewer: setup
	$(BIN)/python scripts/build_viewer.py

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check src/carina tests scripts benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

# A process for each core. The browser has an event loop of its own, so its tests run by themselves.
test: setup check
	$(BIN)/pytest -m "not slow" --ignore=tests/e2e --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)
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

# Bring the catalogues of src/carina/interfaces/locale in step with the texts of the code.
texts: setup
	$(BIN)/python scripts/collect_texts.py

demo: setup
	$(BIN)/carina demo $(ARGS)

# Pictures of every page into docs/screens, from a demonstration; ARGS='--folder FOLDER' takes one that runs.
screenshots: setup
	$(BIN)/python scripts/screenshots.py $(ARGS)

lock:
	bash scripts/lock.sh
