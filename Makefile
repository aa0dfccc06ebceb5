# Everything a fresh machine needs: `make demo` and `make test` build the virtual environment themselves.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ADAPTERS ?= .venv-adapters
OLDEST ?= .venv-triton

.DEFAULT_GOAL := help
.PHONY: help demo test test-adapters test-triton lint sanitize format bench bench-exactness docs clean

help:
	@echo "make demo             compare three methods on the embedded street scenes, write runs/demo/report.html"
	@echo "make test             the whole test suite"
	@echo "make test-adapters    docs/frameworks.md and the adapters inside their frameworks"
	@echo "make test-triton      the GPU kernels compiled by the oldest Triton that is supported"
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

# The frameworks lie over the main environment, which has torch: pip installs what is missing there, or
# wanted in another version, which is then found first. Another torch is refused.
FRAMEWORKS := tests/adapters/requirements.txt tests/adapters/requirements-alone.txt
PIP_OVER = $(ADAPTERS)/bin/python -m pip install --quiet --no-compile --constraint $(ADAPTERS)/torch.txt
$(ADAPTERS)/.installed: $(STAMP) $(FRAMEWORKS)
	$(BIN)/python -m venv --clear --without-pip $(ADAPTERS)
	$(BIN)/python -c 'import site; print("import site; site.addsitedir(%a)" % site.getsitepackages()[0])' > \
	  "$$($(ADAPTERS)/bin/python -c 'import site; print(site.getsitepackages()[0])')/main.pth"
	$(BIN)/python -m pip list --format=freeze | grep -E '^torch(vision)?==' > $(ADAPTERS)/torch.txt
	$(PIP_OVER) --requirement tests/adapters/requirements.txt
	$(PIP_OVER) --no-deps --requirement tests/adapters/requirements-alone.txt
	@touch $@

# One thread a process: the networks are tiny. A method whose loss is MONAI's is tested here as well.
test-adapters: $(ADAPTERS)/.installed
	OMP_NUM_THREADS=1 $(ADAPTERS)/bin/python -m pytest --numprocesses=2 --dist=loadfile \
	  -k "adapters or monai" tests/adapters tests/training/test_methods.py

# The Triton of torch 2.8, over the main environment in the same way.
$(OLDEST)/.installed: $(STAMP)
	$(BIN)/python -m venv --clear --without-pip $(OLDEST)
	$(BIN)/python -c 'import site; print("import site; site.addsitedir(%a)" % site.getsitepackages()[0])' > \
	  "$$($(OLDEST)/bin/python -c 'import site; print(site.getsitepackages()[0])')/main.pth"
	$(OLDEST)/bin/python -m pip install --quiet --no-compile --no-deps 'triton==3.4.*'
	@touch $@

test-triton: $(OLDEST)/.installed
	$(OLDEST)/bin/python -m pytest tests/ops/triton/test_compiling.py

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
	rm -rf $(VENV) $(ADAPTERS) $(OLDEST) site build dist .pytest_cache .mypy_cache .ruff_cache
