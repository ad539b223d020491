"""A checkpoint of this environment is itself in any other: opened, tagged with, fine-tuned, saved and pushed there.

The other environments are those of the interpreters in the variable OTHER_PYTHONS, separated as in PATH. Each is run
without the package. `make test-floor` names the one with the lowest versions, and one between.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hub_server import Blob, Commit, HubServer, Repo
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer

from hf_rnn_multilabel import RnnMultilabelForMaskedLM
from hf_rnn_multilabel.data import train_tokenizer


TEXTS = ["a folding lamp for the desk", "a wooden desk", "", "the lamp, folding: a desk of wood for the lamp " * 4]
LABELS = ["lighting", "office", "wood"]
REPO_ID = "someone/tagger"
CARD = b"---\nlibrary_name: transformers\npipeline_tag: text-classification\ntags:\n- multi-label\n---\n# A tagger\n"
OTHERS = [os.path.abspath(path) for path in os.environ.get("OTHER_PYTHONS", "").split(os.pathsep) if path]
SUPPORT = Path(__file__).parents[1] / "support"
LONGEST = 600  # seconds of an environment


@pytest.fixture(scope="module")
def saved(tmp_path_factory, build_tagger) -> Path:
    """A tagger per cell type with every part that there is, and a masked language model, saved with the package."""
    root = tmp_path_factory.mktemp("versions")
    tokenizer = train_tokenizer(TEXTS * 2)
    settings = {"id2label": dict(enumerate(LABELS)), "thresholds": {"lighting": 0.4, "wood": 0.6}}
    taggers = {
        cell_type: build_tagger(cell_type=cell_type, vocab_size=len(tokenizer), **settings)
        for cell_type in ("rnn", "gru", "lstm")
    }
    for cell_type, tagger in taggers.items():
        tagger.save_pretrained(root / "saved" / cell_type)
        tokenizer.save_pretrained(root / "saved" / cell_type)
    masked_lm = RnnMultilabelForMaskedLM(taggers["gru"].config)
    torch.nn.init.normal_(masked_lm.decoder.bias)
    masked_lm.save_pretrained(root / "masked_lm")
    tokenizer.save_pretrained(root / "masked_lm")
    (root / "texts.json").write_text(json.dumps(TEXTS), encoding="utf-8")
    return root


class Observed(dict):
    """What an environment observed, the folder in which it saved, and the Hub to which it pushed."""

    folder: Path
    pushed: dict[str, dict[str, bytes]]


def observe(python: str, saved: Path, root: Path) -> Observed:
    folder = root / "files"
    folder.mkdir(parents=True)
    for path in saved.iterdir():
        (folder / path.name).symlink_to(path)
    files = {path.name: path.read_bytes() for path in (saved / "saved" / "gru").iterdir()} | {"README.md": CARD}
    with HubServer() as hub:
        repo = Repo("model", REPO_ID, private=True)
        repo.add("main", Commit({name: Blob(data) for name, data in files.items()}))
        hub.repos["model", REPO_ID] = repo
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("HF_", "PYTHON", "VIRTUAL_ENV"))
        }
        environment |= {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(root / "home"),
            "HF_TOKEN": hub.add_token("someone"),
            "HF_HUB_DISABLE_XET": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(SUPPORT),
        }
        script = Path(__file__).with_name("without_the_package.py")
        done = subprocess.run(
            [python, script, folder, REPO_ID],
            cwd=root,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            timeout=LONGEST,
        )
        assert done.returncode == 0, done.stderr[-5000:]
        observed = Observed(json.loads(done.stdout.splitlines()[-1]))
        observed.pushed = {name: repo.files() for (_, name), repo in hub.repos.items()}
    observed.folder = folder
    print(observed["versions"])
    return observed


@pytest.fixture(scope="module")
def newest(saved, tmp_path_factory) -> Observed:
    """What this environment's interpreter observes, without the package."""
    return observe(sys.executable, saved, tmp_path_factory.mktemp("newest"))


@pytest.fixture(scope="module", params=[sys.executable, *OTHERS], ids=["newest", *OTHERS])
def other(request, saved, newest, tmp_path_factory) -> Observed:
    if request.param == sys.executable:
        return newest
    return observe(request.param, saved, tmp_path_factory.mktemp("other"))


def assert_equal(actual, expected, where: str = "") -> None:
    """Numbers within 1e-6, everything else exactly."""
    if isinstance(expected, dict):
        assert list(actual) == list(expected), where
        for key, value in expected.items():
            assert_equal(actual[key], value, f"{where}.{key}")
    elif isinstance(expected, list):
        assert len(actual) == len(expected), where
        for index, value in enumerate(expected):
            assert_equal(actual[index], value, f"{where}[{index}]")
    elif isinstance(expected, float):
        assert actual == pytest.approx(expected, abs=1e-6, rel=1e-6), where
    else:
        assert actual == expected, where


@torch.no_grad()
def numbers_here(folder: Path, auto_class: type = AutoModelForSequenceClassification) -> list:
    """What the package gives for a folder, in this environment."""
    inputs = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    return auto_class.from_pretrained(folder).eval()(**inputs)[0].tolist()


def test_the_other_process_cannot_import_the_package(other):
    assert other["package_is_absent"]


def test_a_checkpoint_opened_elsewhere_gives_the_logits_of_the_package(other, saved):
    for name, opened in other["opened"].items():
        assert_equal(opened["logits"], numbers_here(saved / "saved" / name), name)
    assert_equal(other["hidden_states"], numbers_here(saved / "saved" / "gru", AutoModel))
    assert_equal(other["token_logits"], numbers_here(saved / "masked_lm", AutoModelForMaskedLM))


def test_tags_and_scores_of_both_pipelines_are_those_of_the_newest(other, newest):
    assert_equal(other["opened"], newest["opened"])


def test_the_answers_to_a_stream_are_those_to_a_list(other):
    for opened in other["opened"].values():
        assert_equal(opened["streamed"], opened["tags"])


def test_a_checkpoint_saved_again_elsewhere_tags_as_before(other):
    assert_equal(other["saved_again"], other["opened"])


def test_fine_tuning_elsewhere_takes_the_steps_of_the_newest(other, newest):
    assert_equal(other["fine_tuned"], newest["fine_tuned"])
    for name, opened in other["opened"].items():
        assert opened["logits"] != other["fine_tuned"][name]["logits"]


def test_what_was_saved_elsewhere_opens_here_with_the_same_logits(other):
    for name in other["opened"]:
        assert_equal(numbers_here(other.folder / "again" / name), other["saved_again"][name]["logits"], name)
        assert_equal(numbers_here(other.folder / "fine_tuned" / name), other["fine_tuned"][name]["logits"], name)
    assert_equal(numbers_here(other.folder / "base", AutoModel), other["hidden_states"])
    assert_equal(numbers_here(other.folder / "masked_lm_again", AutoModelForMaskedLM), other["token_logits"])


def test_a_repository_pulled_elsewhere_tags_as_the_folder(other):
    assert_equal(other["hub"]["pulled"], other["opened"]["gru"])


def test_what_was_pushed_elsewhere_is_whole_and_tags_as_before(other, saved, tmp_path):
    assert_equal(other["hub"]["pushed"], other["opened"]["gru"])
    assert_equal(other["hub"]["trained"], other["fine_tuned"]["gru"])
    needed = {path.name for path in (saved / "saved" / "gru").iterdir()}
    for repo_id, numbers in ((REPO_ID + "-again", "pushed"), (REPO_ID + "-trained", "trained")):
        files = other.pushed[repo_id]
        assert needed <= set(files)
        folder = tmp_path / numbers
        folder.mkdir()
        for name in needed:
            (folder / name).write_bytes(files[name])
        assert_equal(numbers_here(folder), other["hub"][numbers]["logits"], repo_id)
