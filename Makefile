PYTHON := .venv/bin/python

.PHONY: demo test lint

# Trains on the bundled data set, prints the metrics beside a linear model's and tags three texts.
demo: .venv/installed
	$(PYTHON) scripts/train.py --output_dir outputs/demo --linear_baseline \
		--word_dropout 0.1 --learning_rate 6e-3

# Runs all tests, offline but for the fetch of the conformance suite of transformers.
test: .venv/installed
	$(PYTHON) -m pytest

lint: .venv/installed
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

.venv/installed: pyproject.toml
	test -x $(PYTHON) || python3 -m venv .venv
	$(PYTHON) -m pip install --quiet --editable ".[dev]"
	touch $@
