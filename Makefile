# Everything from a clean checkout: `make demo` shows the whole way, `make test` checks it.
# PYTHON chooses the interpreter (3.11 or newer); constraints.txt holds every version that was tested.

PYTHON ?= python3
TORCH ?= $(shell grep -E '^(torch|torchvision)==' constraints.txt)
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
READY := $(VENV)/.ready

.PHONY: demo test lint docs gallery wheelhouse clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	# torch and torchvision first, and by their pinned versions: a bare `torch` may pull gigabytes of CUDA libraries
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

demo: $(READY)
	$(BIN)/nnunet-ms-demo -o demo

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# the site, in build/site: warnings are errors, links are checked, nothing comes from the network
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# the pictures of docs/gallery, drawn again
gallery: $(READY)
	$(BIN)/python docs/gallery/draw.py

# lint, types, the site, the architecture, all other tests and every example; tests/test_whole_way.py is the small
# end-to-end run
#
# Two processes share the test files, each with one thread; a file stays whole, so that what it trains or simulates is
# made once. No test depends on what else the machine does.
test: lint docs
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 \
	$(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

# every wheel that an installation needs, for a machine or a container without the network
wheelhouse: $(READY)
	$(BIN)/pip wheel --quiet --wheel-dir $@ -c constraints.txt $(TORCH) .

clean:
	rm -rf $(VENV) demo build dist wheelhouse .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
