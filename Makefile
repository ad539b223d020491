PYTHON := .venv/bin/python
FLOOR := .venv-floor/bin/python
BETWEEN := .venv-between/bin/python
PARALLEL := --numprocesses auto --maxprocesses 8 --dist loadfile

# Inputs per target of `make fuzz`, and the seed with which it repeats a run.
FUZZ_EXAMPLES ?= 10000
SEED ?= $(shell date +%s)

.PHONY: demo test test-avx2 test-floor kills fuzz lint

# Trains on the bundled data set anew, prints the metrics beside a linear model's and tags three texts.
demo: .venv/installed
	rm -rf outputs/demo
	.venv/bin/hf-rnn-multilabel train --output_dir outputs/demo --linear_baseline \
		--word_dropout 0.1 --learning_rate 6e-3

# Runs all tests, a file in one of as many processes as there are cores, offline but for the fetch of the conformance
# suite of transformers.
test: .venv/installed
	$(PYTHON) -m pytest $(PARALLEL)

# Runs the tests that depend on the processor's kernels as on one with AVX2 alone, as most in use are.
test-avx2: .venv/installed
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 $(PYTHON) -m pytest $(PARALLEL) \
		tests/inference tests/training/test_stepwise.py \
		tests/model/test_losses.py tests/model/test_masked_lm.py tests/model/test_modeling.py tests/model/test_recurrence.py

# Opens checkpoints of the newest versions with the lowest that pyproject.toml allows and with ones between, without
# the package, and runs the tests of the model with the lowest.
test-floor: .venv/installed .venv-floor/installed
	OTHER_PYTHONS=$(FLOOR):$(BETWEEN) $(PYTHON) -m pytest tests/versions
	$(FLOOR) -m pytest $(PARALLEL) tests/model tests/training/test_trainer.py

# Gives random inputs to what reads users' labels, texts, files, thresholds, configurations, command lines and folders,
# for about an hour. The only allowed outcomes are a right answer and an error of this package that says what to do.
fuzz: .venv/installed
	@echo "FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) SEED=$(SEED)"
	FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) OMP_NUM_THREADS=1 $(PYTHON) -m pytest tests/fuzz --hypothesis-seed=$(SEED)

# Kills each command at random moments and repeats it; for more than half an hour.
kills: .venv/installed
	$(PYTHON) scripts/kill_commands.py

lint: .venv/installed
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

.venv/installed: pyproject.toml
	test -x $(PYTHON) || python3 -m venv .venv
	$(PYTHON) -m pip install --quiet --editable ".[dev]"
	touch $@

# The environment between has its own transformers, and all else of the lowest.
.venv-floor/installed: pyproject.toml tests/versions/floor.txt
	test -x $(FLOOR) || python3 -m venv .venv-floor
	$(FLOOR) -m pip install --quiet --constraint tests/versions/floor.txt --editable ".[test]"
	test -x $(BETWEEN) || python3 -m venv .venv-between
	$(BETWEEN) -m pip install --quiet --no-deps transformers==5.10.4
	$(FLOOR) -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > \
		$$($(BETWEEN) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/lowest.pth
	touch $@
