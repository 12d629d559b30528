# make quickstart   set up, then mine, train and evaluate on a real collection (minutes)
# make test         set up, then lint, types, layers and tests
PYTHON ?= python3
MODEL ?= static
OUT ?= quickstart
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: quickstart test lint tests clean
.DELETE_ON_ERROR:

$(READY): pyproject.toml constraints.txt scripts/install.sh
	PYTHON=$(PYTHON) sh scripts/install.sh $(VENV)
	touch $@

quickstart: $(READY)
	PATH="$(CURDIR)/$(BIN):$$PATH" sh scripts/quickstart.sh $(MODEL) $(OUT)

test: lint tests

lint: $(READY)
	$(BIN)/ruff check src tests examples benchmarks
	$(BIN)/ruff format --check src tests examples benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

# One thread per process: two 2-thread torch processes on two cores run several times slower than two of one thread.
tests: $(READY)
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/pytest -n 2 --dist worksteal src tests

clean:
	rm -rf $(VENV) quickstart
