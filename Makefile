# One command each: demo, lab and test make .venv and install what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo lab test full bench lint clean

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e ".[lab,test]"
	touch $(STAMP)

demo: $(STAMP)  ## classify and explain two photos, write out/demo.png and out/explained.onnx
	$(BIN)/onnxshap demo --out out

lab: $(STAMP)  ## JupyterLab on the notebooks
	cd notebooks && ../$(BIN)/jupyter lab 01_quickstart.ipynb

test: $(STAMP)  ## every test but those that take minutes
	$(BIN)/python -m pytest -n 2 -m "not full"

full: $(STAMP)  ## every test
	$(BIN)/python -m pytest -n 2

bench: $(STAMP)  ## time against a plain forward run
	$(BIN)/python -m tests.benchmarks.lite0
	$(BIN)/python -m tests.benchmarks.x_gradient

lint: $(STAMP)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) out
