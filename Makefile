PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DECLARED := pyproject.toml constraints.txt

.PHONY: demo test lint bench chaos clean

demo: $(VENV)/installed
	$(BIN)/dlx run double_descent --preset quick

test: lint
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile

lint: $(VENV)/installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/installed-for-tests
	$(BIN)/python tests/benchmarks/tables.py

chaos: $(VENV)/installed-for-tests
	$(BIN)/python -m pytest -m chaos -s --timeout=0 tests/chaos

clean:
	rm -rf $(VENV)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "dlx needs Python 3.11 or later and $(PYTHON) is older; name another one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(DECLARED) | $(BIN)/python
	@echo 'Installing into $(VENV); the first time takes a few minutes.'
	@$(BIN)/python -m pip install --quiet --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/installed-for-tests: $(DECLARED) | $(BIN)/python
	@echo 'Installing into $(VENV); the first time takes a few minutes.'
	@$(BIN)/python -m pip install --quiet --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@ $(VENV)/installed
