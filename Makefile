PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-slow test-faults lint loops docs clean

# Search, train and evaluate on the bundled digits.
demo: $(VENV)/ready
	$(BIN)/edarts find digits

# mypy and the compilation of the loops take half a minute each: one core for each of them.
test: $(VENV)/ready
	$(MAKE) --no-print-directory -j2 lint loops
	$(BIN)/pytest

test-slow: $(VENV)/ready
	$(BIN)/pytest -m slow --timeout 3000

# Hours: kills, mutated files, full disks, and a search whose processes are killed all the time. It
# goes on where it was stopped, and prints a table.
test-faults: $(VENV)/ready
	PYTHONPATH=tests $(BIN)/python -m faults.measure results/faults
	PYTHONPATH=tests $(BIN)/python -m faults.soak results/faults

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

# Compiled once, and kept beside the sources: else every process of the tests would compile them.
# What they compute in the process that compiles them is kept for a test.
loops: $(VENV)/ready
	$(BIN)/python tests/nn/first_run.py $(VENV)/first_run.txt

# The documentation site, into build/site; a broken link or an undocumented page stops it.
docs: $(VENV)/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Torch first and alone: the exact version from constraints.txt, so that no resolver picks another.
$(VENV)/ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt torch==$$(sed -n 's/^torch==//p' constraints.txt)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
