"""Rows of any types become one table, or an error that names the column; of temporary files nothing stays."""

import os
import signal
import subprocess
import sys
import textwrap
from unittest import mock

import datasets
import pytest

from hf_rnn_multilabel.data import tables
from hf_rnn_multilabel.data.sources import load_rows


@pytest.mark.parametrize("labels", [[None, None], [[None, None]], {"a": [None, None]}])
def test_a_list_of_nothing_but_none_is_a_column_like_others(labels):
    rows = [{"text": "a", "labels": labels}]
    assert load_rows(rows)["train"].to_list() == rows


@pytest.mark.parametrize("name", ["\0", "a\0b", "\ud800", 3], ids=ascii)
def test_fault_12_a_name_that_no_column_can_have_is_refused(name):
    with pytest.raises(ValueError, match="name of a column") as error:
        load_rows([{"text": "a", name: 0}])
    assert repr(name) in str(error.value)


CODE = """
    import os, signal, sys
    from hf_rnn_multilabel.data import tables
    tables.MAX_MEMORY = 1
    builder = tables.TableBuilder("rows")
    builder.add_rows([{"text": "a private text"}])
    assert builder.finish().num_rows == 1
    (folder,) = os.listdir(os.environ["HF_DATASETS_CACHE"])
    print(folder, flush=True)
    {end}
"""


@pytest.mark.parametrize("is_killed", [False, True], ids=["ended", "killed"])
def test_fault_43_no_copy_of_the_texts_outlives_the_next_run(tmp_path, is_killed):
    end = "os.kill(os.getpid(), signal.SIGKILL)" if is_killed else "pass"
    command = [sys.executable, "-c", textwrap.dedent(CODE).replace("{end}", end)]
    done = subprocess.run(command, env=os.environ | {"HF_DATASETS_CACHE": str(tmp_path)}, stdout=subprocess.PIPE)
    assert done.returncode == (-signal.SIGKILL if is_killed else 0) and done.stdout
    assert len(os.listdir(tmp_path)) == is_killed
    with mock.patch.object(datasets.config, "HF_DATASETS_CACHE", str(tmp_path)):
        folders = [tables.temporary_folder(), tables.temporary_folder()]
    # That of the process that was killed is not there any more, and those of one that runs are.
    assert sorted(os.listdir(tmp_path)) == sorted(map(os.path.basename, folders))


def test_fault_43_a_small_file_leaves_no_copy(tmp_path):
    with mock.patch.object(datasets.config, "HF_DATASETS_CACHE", str(tmp_path)):
        builder = tables.TableBuilder("rows")
        builder.add_rows([{"text": "a private text"}])
        assert builder.finish().num_rows == 1
    assert os.listdir(tmp_path) == []
