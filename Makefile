# Two commands on a bare machine with Python >= 3.11 and make: `make demo` and `make test`.
# Another Python: make demo PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# One test process with one thread on each core, up to four, as each takes 2 GB of memory.
PARALLEL := -n auto --maxprocesses 4 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test test-long lint docs docs-serve docs-links clean debian-packages

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

demo: $(STAMP) ## denoise the bundled slide; picture before / after in demo-output/; napari where there is a display
	$(BIN)/masked-denoiser demo

test: $(STAMP) debian-packages lint ## everything: lint, types, imports, and all tests with the docks under Xvfb
	$(call under_xvfb,env OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL))

test-long: $(STAMP) debian-packages ## the tests that take minutes
	$(call under_xvfb,$(BIN)/python -m pytest -m long)

lint: $(STAMP) ## ruff, mypy and import-linter
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(STAMP) ## build the documentation site into site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-serve: $(STAMP) ## show the documentation site at http://127.0.0.1:8000 while pages are edited
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

docs-links: docs ## follow the links of the site to other hosts, with LinkChecker (needs a network)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check LinkChecker
	$(BIN)/linkchecker --check-extern --no-warnings site/index.html

clean: ## remove the environment, caches and what the demo wrote
	rm -rf $(VENV) build dist site demo-output .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests docs tools benchmarks sample_data -name __pycache__ -type d -prune -exec rm -rf {} +

debian-packages:
	@sh tools/install_debian_packages.sh

# On Linux the docks need an X server; elsewhere the system's own display serves.
define under_xvfb
@if command -v xvfb-run >/dev/null; then set -x; xvfb-run -a $(1); else set -x; $(1); fi
endef

# Once, and again when the dependencies change.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Name another: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo "Making $(VENV) ..."; $(PYTHON) -m venv --clear $(VENV); }
	@echo "Installing napari-masked-denoiser and its dependencies into $(VENV) (the first time takes some minutes) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	@touch $@
