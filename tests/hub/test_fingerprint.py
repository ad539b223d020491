"""One run is told from another, and what differs is said."""

from hf_rnn_multilabel.hub.fingerprint import differences, digest, digest_files


def test_a_digest_tells_where_a_part_ends():
    assert digest([b"ab", b"c"]) != digest([b"a", b"bc"]) != digest([b"abc"])
    assert digest([]) == digest(iter([]))


def test_files_are_known_by_their_contents_and_names(tmp_path):
    for name, text in {"a": "1", "b": "1", "c": "2"}.items():
        (tmp_path / name).write_text(text)
    a, b, c = (digest_files([tmp_path / name]) for name in "abc")
    assert len({a, b, c}) == 3
    assert digest_files([tmp_path / "a"], with_names=False) == digest_files([tmp_path / "b"], with_names=False)


def test_what_differs_is_named_with_both_values():
    earlier = {"texts": {"train": "1a"}, "settings": {"seed": 1, "path": "x" * 90 + "a"}}
    now = {"texts": {"train": "1a"}, "settings": {"seed": 2, "path": "x" * 90 + "b", "new": None}}
    path, seed = differences(earlier, now)
    assert seed == "settings.seed was 1, is 2"
    assert path.startswith("settings.path was ") and 'xa", is' in path and path.endswith('xb"') and len(path) < 160
    assert differences(now, now) == []


def test_fault_14_of_a_long_list_is_said_what_came_and_went():
    names = [f"label {i}" for i in range(30)]
    assert differences({"names": names}, {"names": [*names[1:], "new", "newer"]}) == [
        'names lost 1, ["label 0"] and gained 2, ["new", "newer"]'
    ]
    assert differences({"names": names}, {"names": names[::-1]}) == ["names has another order"]
    assert differences({"names": ["a"]}, {"names": ["b"]}) == ['names was ["a"], is ["b"]']
