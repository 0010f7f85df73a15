# SPDX-License-Identifier: MPL-2.0
# Each target sets up what it needs in its own virtual environment, once.

PYTHON ?= python3
OUTPUT ?= demo_output
PYTEST_ARGS ?=
BENCH ?= ray_transform objective batch scaling solvers
BENCH_ARGS ?=
STUDIES ?= mnist_tomography mri_radial method_comparison out_of_distribution \
	initialization flexibility csgm_mnist unmatched_adjoint
STUDY_ARGS ?=
# An index with another build of torch, e.g. https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=

VENV := .venv
BIN := $(VENV)/bin
# deepinv, a peer, brings packages that nothing else here needs.
BENCH_VENV := .venv-bench
PIP = $(@D)/bin/python -m pip install --disable-pip-version-check --quiet \
	--constraint constraints.txt
TORCH := $(shell sed -n 's/^torch==/&/p' constraints.txt)
SOURCES := setup.py pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test lint docs bench studies clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

demo: $(VENV)/demo.stamp ## reconstruct digits from 3, 5, 10 and 30 projections
	$(BIN)/odl-genreg demo --output $(OUTPUT)

test: $(VENV)/test.stamp ## run the fast tests (slow ones: PYTEST_ARGS="-m slow")
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/lint.stamp ## check style, format and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

docs: $(VENV)/docs.stamp ## build the documentation in docs/_build/html
	$(BIN)/sphinx-build -W --keep-going -q docs docs/_build/html

bench: $(BENCH_VENV)/bench.stamp ## measure speed (some: BENCH="batch scaling"; short: BENCH_ARGS=--quick)
	@for name in $(BENCH); do \
		$(BENCH_VENV)/bin/python benchmarks/bench_$$name.py $(BENCH_ARGS) || exit 1; \
	done

studies: $(VENV)/studies.stamp ## run all studies, small (some: STUDIES="mri_radial"; full size: STUDY_ARGS=--full)
	@for name in $(STUDIES); do \
		$(BIN)/python examples/studies/$$name.py $(STUDY_ARGS) || exit 1; \
	done

clean: ## remove the virtual environments and all that was built
	rm -rf $(VENV) $(BENCH_VENV) build dist *.egg-info $(OUTPUT)
	rm -rf benchmarks/results docs/_build docs/generated runs
	rm -rf .pytest_cache .ruff_cache
	find odl_genreg tests examples benchmarks -name __pycache__ -prune -exec rm -rf {} + || true

$(VENV)/python.stamp $(BENCH_VENV)/python.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "PYTHON must be Python 3.11 or newer, got $$($(PYTHON) --version 2>&1);" \
			"name another one: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(@D)
	@touch $@

# torch comes first and alone: its index may differ, and the rest then finds it there.
$(VENV)/torch.stamp $(BENCH_VENV)/torch.stamp: \
%/torch.stamp: %/python.stamp constraints.txt
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	@touch $@

$(VENV)/demo.stamp $(VENV)/test.stamp $(VENV)/docs.stamp $(VENV)/studies.stamp: \
$(VENV)/%.stamp: $(VENV)/torch.stamp $(SOURCES)
	$(PIP) --editable ".[$*]"
	@touch $@

$(BENCH_VENV)/bench.stamp: $(BENCH_VENV)/torch.stamp $(SOURCES)
	$(PIP) --editable ".[bench]"
	@touch $@

$(VENV)/lint.stamp: $(VENV)/python.stamp constraints.txt
	$(PIP) ruff codespell
	@touch $@
