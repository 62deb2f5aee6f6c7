# One command each: they make .venv and install what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
UI_STAMP := $(VENV)/.installed-ui

.PHONY: demo lab test ui js notebooks full bench lint clean

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

full: $(STAMP) ui js  ## every test
	$(BIN)/python -m pytest -n 2 --ignore=tests/ui

bench: $(STAMP)  ## time against a plain forward run
	$(BIN)/python -m tests.benchmarks.lite0
	$(BIN)/python -m tests.benchmarks.x_gradient

lint: $(STAMP)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) out
