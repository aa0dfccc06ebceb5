# Everything a fresh machine needs: `make demo` and `make test` build the virtual environment themselves.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ADAPTERS ?= .venv-adapters

.DEFAULT_GOAL := help
.PHONY: help demo test test-adapters lint sanitize format bench bench-exactness docs clean

help:
	@echo "make demo             train two losses on the embedded street scenes, write runs/demo/report.html"
	@echo "make test             the whole test suite"
	@echo "make test-adapters    the adapters inside their frameworks, in an environment of their own"
	@echo "make lint             ruff, mypy --strict"
	@echo "make sanitize         the C++ library under address and undefined-behavior sanitizers"
	@echo "make bench            timings of the operator on this machine"
	@echo "make bench-exactness  the operator against the float64 oracle, as a table"
	@echo "make docs             the documentation, into site/"

# The stamp is written last, so an interrupted install is repeated. Installing compiles the kernel.
$(STAMP): pyproject.toml hatch_build.py $(wildcard src/lossmaxpool/ops/backends/native/build.py src/lossmaxpool/ops/backends/native/cpp/*)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: $(STAMP)
	$(BIN)/lossmaxpool demo

test: $(STAMP)
	$(BIN)/python -m pytest --numprocesses=2 --dist=worksteal

# The frameworks want versions of their own: they have an environment beside the other.
$(ADAPTERS)/.installed: pyproject.toml tests/adapters/requirements.txt
	$(PYTHON) -m venv $(ADAPTERS)
	$(ADAPTERS)/bin/python -m pip install --quiet --upgrade pip
	$(ADAPTERS)/bin/python -m pip install --quiet --editable . --requirement tests/adapters/requirements.txt
	@touch $@

test-adapters: $(ADAPTERS)/.installed
	$(ADAPTERS)/bin/python -m pytest tests/adapters

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Needs a C++ compiler and Python, no virtual environment; says so where the former is missing.
sanitize:
	$(PYTHON) src/lossmaxpool/ops/backends/native/build.py tests/ops/native/driver.cpp

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/python -m benchmarks.loss

bench-exactness: $(STAMP)
	$(BIN)/python -m benchmarks.exactness

docs: $(STAMP)
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) $(ADAPTERS) site build dist .pytest_cache .mypy_cache .ruff_cache
