"""Profiles of the fuzzed tests: a fixed one for CI, a random one for `make fuzz`; and what they counted."""

import datasets
import fuzzing
import pytest
from hypothesis import HealthCheck, Phase, settings
from transformers import pipeline
from transformers.utils import logging

from hf_rnn_multilabel.data import train_tokenizer


SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
PHASES = [Phase.explicit, Phase.generate, Phase.target, Phase.shrink]
COMMON = {"deadline": None, "database": None, "phases": PHASES, "suppress_health_check": SLOW}
settings.register_profile("ci", derandomize=True, **COMMON)
settings.register_profile("fuzz", derandomize=False, print_blob=True, **COMMON)

LABELS = ["lighting", "office", "wood", "garden"]
TEXTS = ["a folding lamp for the desk", "a wooden desk", "a lamp, in the garden!", "desk lamps of wood: 0 1 2"]


def described(name: str, failed: bool) -> str:
    return (
        f"{name:75} {fuzzing.inputs[name]:7,} inputs, {fuzzing.refusals[name]:7,} errors in words, "
        f"{fuzzing.seconds[name]:7.1f} s, {'FINDINGS' if failed else 'no findings'}"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    name = item.originalname
    if fuzzing.IS_LONG and report.when == "call" and name in fuzzing.inputs:
        # A long run is looked at before it ends.
        terminal = item.config.pluginmanager.get_plugin("terminalreporter")
        terminal.write_line(f"\n{described(name, report.failed)}")
        if report.failed:
            terminal.write_line(report.longreprtext)
    return report


def pytest_terminal_summary(terminalreporter):
    if not fuzzing.inputs:
        return
    terminalreporter.section("fuzzed inputs")
    failed = [report.nodeid for report in terminalreporter.stats.get("failed", ())]
    for name in fuzzing.inputs:
        terminalreporter.write_line(described(name, any(each.endswith(f"::{name}") for each in failed)))


@pytest.fixture(scope="session", autouse=True)
def no_progress_bars():
    datasets.disable_progress_bars()
    logging.disable_progress_bar()
    yield
    logging.enable_progress_bar()
    datasets.enable_progress_bars()


@pytest.fixture(scope="session")
def tokenizer():
    return train_tokenizer(TEXTS * 3, model_max_length=12)


@pytest.fixture(scope="session")
def model(build_tagger, tokenizer):
    labels = dict(enumerate(LABELS))
    thresholds = {"lighting": 0.3, "office": 0.5, "wood": 0.62, "garden": 0.45}
    return build_tagger(vocab_size=len(tokenizer), id2label=labels, thresholds=thresholds)


@pytest.fixture(scope="session")
def tagger(model, tokenizer):
    return pipeline("multi-label-tagging", model=model, tokenizer=tokenizer)
