# firstlight: `make demo` and `make test` do everything on a fresh machine.
#
# PYTHON       the interpreter to build the environment with (3.11 or newer)
# WHEEL_PLATFORM  the platform tag of `make wheel`; the build fails if the kernels need a newer system
# TORCH_INDEX  a package index to take PyTorch from, for instance its CPU builds (see README)

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TORCH_INDEX ?=
WHEEL_PLATFORM ?= manylinux_2_28_x86_64

.PHONY: help demo app tensorboard serve test test-slow setup lint format figures docs site wheel bundle web-runtime clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/.ready  ## train, test and explain on the embedded data, a minute or two
	$(BIN)/firstlight demo

app: $(VENV)/.ready  ## the live demo of the newest run in a browser; another one: make app RUN=logs/demo/version_0
	$(BIN)/firstlight app $(RUN) --open

tensorboard: $(VENV)/.ready  ## the curves of all runs in logs/
	$(BIN)/tensorboard --logdir logs

serve: docs  ## build the documentation site and serve it on http://127.0.0.1:8000
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory site 8000

test: $(VENV)/.ready lint  ## linters, types, floors, doctests and the fast tests, which take some minutes
	$(BIN)/pytest -n 2 --dist worksteal

test-slow: $(VENV)/.ready  ## the tests that take minutes
	$(BIN)/pytest -m slow -n 2 --dist worksteal

setup: $(VENV)/.ready  ## make the virtual environment with all that the tests need

$(VENV)/.ready: pyproject.toml constraints.txt
	@echo "installing into $(VENV): this takes minutes, most of them without output"
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps --index-url $(TORCH_INDEX) torch)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

lint: $(VENV)/.ready  ## ruff, mypy, and import-linter, which checks which package may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.ready  ## put the code in its standard form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

figures: $(VENV)/.ready  ## draw the figures in docs/ again from a demo run
	$(BIN)/python docs/figures.py

docs: $(VENV)/.ready  ## build the documentation site in site/, without warnings
	rm -rf build/docs
	$(BIN)/python docs/generate.py build/docs
	$(BIN)/zensical build --clean --strict

site: $(VENV)/.ready  ## the documentation site with the browser demo and a sample report, as GitHub Pages publishes it
	rm -rf build/docs build/sample
	$(BIN)/python docs/generate.py build/docs --published
	$(BIN)/zensical build --clean --strict
	$(BIN)/firstlight export bundled --to web site/demo
	$(BIN)/firstlight demo --logs_dir build/sample
	$(BIN)/firstlight report --logs_dir build/sample --out site/report.html

wheel: $(VENV)/.ready  ## build a wheel in dist/ with compiled kernels for CPUs with AVX2, AVX-512, AVX512-BF16 and AMX
	rm -rf build/lib build/bdist*
	FIRSTLIGHT_PREBUILT=1 FIRSTLIGHT_PLATFORM=$(WHEEL_PLATFORM) $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

bundle: $(VENV)/.ready  ## build the model that the package brings: make bundle RUN=logs/page24/version_0 DATA=data
	$(BIN)/firstlight export $(RUN) --to bundle --license mit $(if $(DATA),--data_dir $(DATA)) $(if $(CALIBRATE_ON),--calibrate_on $(CALIBRATE_ON))

web-runtime: $(VENV)/.ready  ## fetch ONNX Runtime Web with npm, which the browser demo runs
	$(BIN)/python -m firstlight.export.web.refresh_runtime

clean:  ## remove the environment and everything that tools left behind
	rm -rf $(VENV) build dist site .cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
