import os
from unittest import mock

import pytest

from hf_rnn_multilabel.hub.atomic import write_text


def test_fault_15_the_file_is_utf_8_whatever_the_locale_says(tmp_path):
    with mock.patch("locale.getencoding", lambda: "ascii", create=True):
        write_text(tmp_path / "a.json", "über 快乐\nline\n")
    assert (tmp_path / "a.json").read_bytes() == "über 快乐\nline\n".encode()


def test_half_a_surrogate_pair_becomes_a_question_mark(tmp_path):
    write_text(tmp_path / "a.txt", "a\ud83db")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "a?b"


@pytest.mark.parametrize("function", ["os.fsync", "os.replace"])
def test_fault_36_a_full_disk_leaves_the_old_file_and_no_other(tmp_path, function):
    write_text(tmp_path / "a.json", "old")
    with mock.patch(function, side_effect=OSError(28, "No space left on device")), pytest.raises(OSError, match="28"):
        write_text(tmp_path / "a.json", "new")
    assert os.listdir(tmp_path) == ["a.json"]
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == "old"
