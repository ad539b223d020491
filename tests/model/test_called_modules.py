"""Whatever works through the forward of a module reaches every box of the model: hooks, adapters, quantisation."""

import copy

import pytest
import torch
from accelerate import cpu_offload
from torch import nn
from torch.nn.utils import parametrizations, prune

from hf_rnn_multilabel.model.heads import LabelAttention
from hf_rnn_multilabel.model.recurrence import RnnMultilabelDirection


@pytest.fixture
def inputs(batch):
    return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}


def test_fault_20_every_module_with_parameters_of_its_own_is_called(build_tagger, inputs):
    model, called = build_tagger(), set()
    for name, module in model.named_modules():
        module.register_forward_hook(lambda *_, name=name: called.add(name))
    model(**inputs)
    owners = {name for name, module in model.named_modules() if list(module.parameters(recurse=False))}
    assert owners - called == set()
    boxes = ["rnn", "rnn.inputs", "rnn.layers.0", "pooling", "label_attention", "label_correlation", "wide"]
    assert set(boxes) <= called


class LowRankAdapter(nn.Module):
    """What an adapter puts in the place of a linear layer (Hu et al. 2022)."""

    def __init__(self, base: nn.Linear):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Linear(base.in_features, 2, bias=False)
        self.up = nn.Linear(2, base.out_features, bias=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.base(inputs) + self.up(self.down(inputs))


def replace_linear(model: nn.Module, make) -> list[str]:
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    for name in names:
        model.set_submodule(name, make(model.get_submodule(name)))
    return names


def test_fault_20_an_adapter_of_each_linear_layer_changes_the_logits_and_learns(build_tagger, batch):
    model = build_tagger()
    names = replace_linear(model, LowRankAdapter)
    assert {"classifier", "label_attention.query", "label_attention.classifier"} < set(names)
    model(**batch).loss.backward()
    for name in names:
        adapter = model.get_submodule(name)
        assert adapter.up.weight.grad.any() and adapter.down.weight.grad.any(), name


def test_fault_20_a_replaced_classifier_is_the_one_that_counts(build_tagger, inputs):
    model = build_tagger(pooling=["max", "mean"], label_correlation_size=0, num_bigram_buckets=None)
    model.classifier = nn.Sequential(nn.Linear(20, 4), nn.ReLU(), nn.Linear(4, 3))
    nn.init.zeros_(model.classifier[2].weight)
    nn.init.constant_(model.classifier[2].bias, 7.0)
    assert (model(**inputs).logits == 7).all()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("pooling", ["label_attention", ["attention", "max", "label_attention"]], ids=str)
def test_fault_20_linear_layers_are_quantised(build_tagger, inputs, pooling):
    model = build_tagger(pooling=pooling)
    logits = model(**inputs).logits
    quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    assert not any(type(module) is nn.Linear for module in quantised.modules())
    found = quantised(**inputs).logits
    torch.testing.assert_close(found, logits, atol=0.1, rtol=0)
    assert not torch.equal(found, logits)


def test_fault_20_pruned_and_normalised_weights_are_those_that_count(build_tagger, inputs):
    model = build_tagger()
    logits = model(**inputs).logits
    normalised = copy.deepcopy(model)
    for module in (normalised.classifier, normalised.label_attention.classifier):
        parametrizations.weight_norm(module)
    torch.testing.assert_close(normalised(**inputs).logits, logits, atol=1e-6, rtol=0)
    for module in (model.classifier, model.label_attention.classifier):
        prune.l1_unstructured(module, "weight", amount=0.5)
        assert (model(**inputs).logits - logits).abs().max() > 1e-3
        logits = model(**inputs).logits


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_fault_20_weights_may_lie_elsewhere_until_they_are_needed(build_tagger, inputs, cell_type):
    model = build_tagger(cell_type=cell_type)
    logits = model(**inputs).logits
    cpu_offload(model, execution_device=torch.device("cpu"))
    assert model.classifier.weight.is_meta
    assert torch.equal(model(**inputs).logits, logits)


def test_the_kinds_of_modules_that_own_parameters_directly_are_few(build_tagger):
    """What is not a layer of torch is what tools that look for types of modules do not see."""
    owners = {type(module) for module in build_tagger().modules() if list(module.parameters(recurse=False))}
    assert {owner.__name__ for owner in owners if not owner.__module__.startswith("torch.")} == {
        RnnMultilabelDirection.__name__,
        "WideHead",
    }
    assert not list(LabelAttention(4, 2).parameters(recurse=False))
