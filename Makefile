# One command each: they make .venv and install what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
UI_STAMP := $(VENV)/.installed-ui
BENCH := .venv-bench
BENCH_STAMP := $(BENCH)/.installed

.PHONY: demo lab test ui js notebooks real-models full bench operators lint clean

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e ".[lab,test]"
	touch $(STAMP)

$(UI_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet -e ".[test-ui]"
	touch $(UI_STAMP)

demo: $(STAMP)  ## classify and explain two photos, write out/demo.png and out/explained.onnx
	$(BIN)/onnxshap demo --out out

lab: $(STAMP)  ## JupyterLab on the notebooks
	cd notebooks && ../$(BIN)/jupyter lab 01_quickstart.ipynb

test: $(STAMP)  ## every test but those that take minutes or a browser
	$(BIN)/python -m pytest -n 2 -m "not full" --ignore=tests/ui

ui: $(UI_STAMP)  ## the widgets in JupyterLab in Chromium; ONNXSHAP_SHOTS=folder keeps the pictures
	$(BIN)/python -m pytest tests/ui

js:  ## the widgets' JavaScript in node, which nothing else needs
	@if command -v node > /dev/null; then node --test widgets/tests_js/*.test.mjs; \
	else echo "js: skipped, no node"; test -z "$$CI"; fi

notebooks: $(STAMP)  ## run the notebooks' cells; also part of test
	$(BIN)/python -m pytest tests/test_notebooks.py

real-models: $(STAMP)  ## gather trained models out of packages, for the tests of full
	$(BIN)/python -m tests.helpers.real_models

full: $(STAMP) ui js  ## every test, and many random nodes
	-$(BIN)/python -m tests.helpers.real_models # tests skip what cannot be had, and say why
	HYPOTHESIS_PROFILE=full $(BIN)/python -m pytest -n 2 --ignore=tests/ui

# Peers are heavy: an environment of their own. Where TensorFlow cannot be had, its rows say so.
$(BENCH_STAMP): pyproject.toml
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --upgrade pip
	$(BENCH)/bin/python -m pip install --quiet -e ".[bench]"
	$(BENCH)/bin/python -m pip install --quiet --no-deps torchvision==0.28.0
	-$(BENCH)/bin/python -m pip install --quiet -e ".[bench-tf]"
	touch $(BENCH_STAMP)

bench: $(BENCH_STAMP)  ## time against shap, captum and a plain forward run: tests/benchmarks/RESULTS.md
	$(BENCH)/bin/python -m tests.benchmarks.stock
	$(BENCH)/bin/python -m tests.benchmarks.run
	$(BENCH)/bin/python -m tests.benchmarks.report

operators: $(STAMP)  ## write OPERATORS.md anew from the registries
	$(BIN)/python -m onnxshap.scoreboard.operators > OPERATORS.md

lint: $(STAMP)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(BENCH) out
