"""What the room exports."""

import subprocess
import sys

import pytest

from hf_rnn_multilabel import evaluation
from hf_rnn_multilabel.evaluation import metrics


@pytest.mark.parametrize("module", [evaluation, metrics])
def test_every_exported_name_is_there(module):
    for name in module.__all__:
        assert getattr(module, name) is not None and name in dir(module)
    with pytest.raises(AttributeError, match="'guessed'"):
        module.guessed  # noqa: B018


def test_importing_the_room_imports_none_of_its_libraries():
    command = (
        "import sys, hf_rnn_multilabel; before = set(sys.modules); import hf_rnn_multilabel.evaluation.metrics; "
        "print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    )
    run = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["hf_rnn_multilabel"]
