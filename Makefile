# The two that matter: `make demo` and `make test`. Both set up .venv by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SECONDS_EACH ?= 60
TARGETS ?=
JOBS ?= 1
CRASHES ?= fuzz/crashes

.PHONY: demo test check plugins bench measure soak fuzz clean

# One stamp for each set of packages, so that `make demo` does not wait for what only the tests need.
$(VENV)/.host: pyproject.toml
	@echo "Setting up $(VENV) (once) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.host
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

$(VENV)/.check: $(VENV)/.test
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[check]'
	@touch $@

demo: $(VENV)/.host
	@$(BIN)/innkeeper run docs/demo/set-the-scene.json --input-file chat=docs/demo/chat.en.json
	@echo
	@$(BIN)/python docs/demo/live.py
	@echo
	@echo "Next: $(BIN)/innkeeper run docs/demo/flows/evening.json, $(BIN)/innkeeper work --help, README.md"

test: $(VENV)/.test
	@$(BIN)/python -m pytest

check: $(VENV)/.check
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@PATH="$(BIN):$$PATH" $(BIN)/lint-imports

# Speed beside the Extism SDK and wasmtime-py, two to three minutes. One row: .venv/bin/innkeeper bench --only warm
bench: $(VENV)/.host
	@$(BIN)/innkeeper bench

# Prints what else docs/performance.md promises: the lag of a timer beside hostile guests, memory of waiting guests, what
# stays of guests that ended, a call from shell to shell. About eight minutes.
measure: $(VENV)/.test
	@$(BIN)/python -m tests.measure

# The whole of the counts that `make test` shortens; prints what it did. About fifteen minutes.
soak: $(VENV)/.test
	@$(BIN)/python -m pytest -m soak -s

# For each target so many seconds: make fuzz SECONDS_EACH=600 TARGETS="abi wasi" JOBS=2. What is found is kept in
# CRASHES. More kinds of modules are made where Binaryen is installed (Debian: binaryen).
fuzz: $(VENV)/.test
	@$(BIN)/python -m fuzz $(SECONDS_EACH) $(TARGETS) --jobs $(JOBS) --crashes $(CRASHES)

# Rebuilds plugins/ from pdk-samples/ with packages of PyPI and npm, and the list of their digests; needs node and npm.
plugins: $(VENV)/.host
	@$(BIN)/python pdk-samples/build.py
	@$(BIN)/python pdk-samples/digests.py

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
