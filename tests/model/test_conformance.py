"""The model and configuration test-suite of transformers itself, run on every cell."""

import importlib
import unittest

import pytest
import torch
from fetch_conformance_suite import CACHE, fetch_conformance_suite
from transformers.models.auto import modeling_auto
from transformers.testing_utils import torch_device

from hf_rnn_multilabel import (
    RnnMultilabelConfig,
    RnnMultilabelForMaskedLM,
    RnnMultilabelForSequenceClassification,
    RnnMultilabelModel,
)


MIN_PASSED = 60


class ModelTester:
    """What the suite asks for: a small configuration and inputs for it."""

    is_training = True
    batch_size, seq_length, vocab_size = 13, 7, 99
    hidden_size, num_hidden_layers, num_labels = 16, 2, 3  # two directions of 8 features

    def __init__(self, cell_type: str):
        self.cell_type = cell_type

    def get_config(self) -> RnnMultilabelConfig:
        return RnnMultilabelConfig(
            cell_type=self.cell_type,
            vocab_size=self.vocab_size,
            embedding_size=self.hidden_size,
            hidden_size=self.hidden_size // 2,
            num_hidden_layers=self.num_hidden_layers,
            num_labels=self.num_labels,
            pooling=["last", "max", "attention", "label_attention"],
        )

    def prepare_config_and_inputs_for_common(self):
        input_ids = torch.randint(1, self.vocab_size, (self.batch_size, self.seq_length), device=torch_device)
        lengths = torch.arange(1, self.batch_size + 1, device=torch_device)
        attention_mask = (torch.arange(self.seq_length, device=torch_device) < lengths[:, None]).long()
        return self.get_config(), {"input_ids": input_ids, "attention_mask": attention_mask}


def conformance_test_case(package: str, cell_type: str) -> type[unittest.TestCase]:
    suite = importlib.import_module(f"{package}.test_modeling_common")
    configurations = importlib.import_module(f"{package}.test_configuration_common")

    class ConformanceTest(suite.ModelTesterMixin, unittest.TestCase):
        all_model_classes = (RnnMultilabelModel, RnnMultilabelForMaskedLM, RnnMultilabelForSequenceClassification)
        has_attentions = False  # the pooling's attention is no (batch, heads, time, time)
        test_can_init_all_missing_weights_before_2023 = True

        def setUp(self):
            self.model_tester = ModelTester(cell_type)
            self.config_tester = configurations.ConfigTester(
                self,
                config_class=RnnMultilabelConfig,
                common_properties=["hidden_size", "num_hidden_layers"],
                cell_type=cell_type,
                hidden_size=16,
            )

        def test_config(self):
            self.config_tester.run_common_tests()

        def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
            inputs = super()._prepare_for_class(inputs_dict, model_class, return_labels)
            if return_labels and model_class is RnnMultilabelForSequenceClassification:
                shape = self.model_tester.batch_size, self.model_tester.num_labels
                inputs["labels"] = torch.eye(*shape, device=torch_device)
            if return_labels and model_class is RnnMultilabelForMaskedLM:
                inputs["labels"] = inputs["input_ids"].clone()
            return inputs

    return ConformanceTest


@pytest.fixture(scope="module")
def package() -> str:
    try:
        return fetch_conformance_suite()
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnknownMarkWarning")
@pytest.mark.parametrize("cell_type", ["rnn", "gru", "lstm"])
def test_the_model_suite_of_transformers_passes(package, cell_type, monkeypatch, capsys):
    monkeypatch.syspath_prepend(CACHE)
    # The suite gives labels to no model of this table, and expects a head's loss of all others.
    monkeypatch.setitem(modeling_auto.MODEL_MAPPING_NAMES, "rnn_multilabel", "RnnMultilabelModel")
    test_case = conformance_test_case(package, cell_type)
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(test_case).run(result)

    failed, skipped = names(result.failures + result.errors), names(result.skipped)
    passed = result.testsRun - len(failed | skipped)
    with capsys.disabled():
        print(f"\n{cell_type}: {passed} passed, {len(skipped)} skipped, {len(failed)} failed")
    assert not failed, "\n\n".join(trace for _, trace in result.failures + result.errors)
    assert passed >= MIN_PASSED


def names(outcomes: list[tuple[unittest.TestCase, str]]) -> set[str]:
    """A test counts once, however many of its sub-tests are among the outcomes."""
    return {getattr(test, "test_case", test).id() for test, _ in outcomes}
