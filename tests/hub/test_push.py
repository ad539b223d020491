"""The push, there and back: the real clients, in processes of their own, before a local server."""

import itertools
import json
import re
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_folder import CODE, LABELS, MODEL, TEXTS, make_folder
from hub_process import ROOT, Client, RemoteError
from hub_server import HubServer
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast


NEW = itertools.count(1)


@pytest.fixture(scope="module")
def hub():
    with HubServer() as server:
        server.add_token("someone")
        yield server


@pytest.fixture(autouse=True)
def without_faults(hub):
    hub.faults.clear()


@pytest.fixture(scope="module")
def start(hub, tmp_path_factory):
    """Start a client with a clean cache."""
    clients = []

    def start(*options: str, **environment: str) -> Client:
        clients.append(Client(hub, tmp_path_factory.mktemp("home") / "home", environment, *options))
        return clients[-1]

    yield start
    for client in clients:
        client.process.kill()
        client.process.communicate()


@pytest.fixture(scope="module")
def author(start) -> Client:
    """Has the package."""
    return start()


@pytest.fixture(scope="module")
def reader(start) -> Client:
    """Cannot import the package."""
    return start("--without_the_package")


@pytest.fixture(scope="module")
def unreachable(start):
    """Clients before a closed port and in offline mode."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    return {"no network": start(HF_ENDPOINT=f"http://127.0.0.1:{port}"), "offline": start(HF_HUB_OFFLINE="1")}


@pytest.fixture(scope="module", autouse=True)
def processes(author, reader, unreachable):
    """Started first and together: they import while others work."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What a training saves, and beside it what the Trainer may leave there."""
    folder = make_folder(tmp_path_factory.mktemp("trained") / "tagger")
    torch.save({}, folder / "training_args.bin")
    (folder / "checkpoint-3").mkdir()
    torch.save({}, folder / "checkpoint-3" / "optimizer.pt")
    return folder


@pytest.fixture
def retrained(folder, tmp_path) -> Path:
    """The folder with weights that no Hub has seen."""
    return with_new_weights(folder, tmp_path / "retrained")


def with_new_weights(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    weights = load_file(target / "model.safetensors")
    weights["classifier.bias"] += 0.01 * next(NEW)
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return target


def logits_of(folder: Path) -> list[list[float]]:
    inputs = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        return AutoModelForSequenceClassification.from_pretrained(folder).eval()(**inputs).logits.tolist()


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def first(hub, author, folder) -> str:
    """The revision of the first push."""
    revision = author("push", folder=folder, repo_id="someone/tagger", private=True)["oid"]
    assert hub.repos["model", "someone/tagger"].refs == {"main": revision}
    return revision


@pytest.fixture(scope="module")
def pulled(reader, first) -> dict:
    already = len(reader.printed())
    result = reader("pull", name="someone/tagger", texts=TEXTS)
    return result | {"printed": reader.printed()[already:]}


@pytest.fixture(scope="module")
def second(author, folder, pulled, tmp_path_factory) -> tuple[Path, str]:
    """A folder with other weights, and the revision of its push to the same repository."""
    changed = with_new_weights(folder, tmp_path_factory.mktemp("second") / "tagger")
    return changed, author("push", folder=changed, repo_id="someone/tagger")["oid"]


def test_a_push_is_one_commit_with_exactly_the_files_of_a_tagger(hub, folder, first):
    repo = hub.repos["model", "someone/tagger"]
    commits = [commit.oid for commit in repo.history(first)]
    assert (commits[0], len(commits)) == (first, 2)  # the Hub's own first commit beside it
    extras = {"plots/one.png", "README.md", "metrics.json", ".gitattributes"}
    assert repo.files(first).keys() == MODEL | CODE | extras
    local = files_of(folder)
    changed = {name for name, data in repo.files(first).items() if local.get(name) != data}
    assert changed == {"README.md", ".gitattributes"}


def test_a_push_holds_no_pickle(hub, folder, first):
    assert {".bin", ".pt"} <= {Path(name).suffix for name in files_of(folder)}
    suffixes = {Path(name).suffix for name in hub.repos["model", "someone/tagger"].files(first)}
    assert not suffixes & {".bin", ".pt", ".pth", ".pkl", ".ckpt"}


def test_the_card_names_the_repository_and_its_code_runs_as_it_stands(hub, reader, first):
    assert 'model="someone/tagger"' in hub.repos["model", "someone/tagger"].files(first)["README.md"].decode()
    reader("run_code_of_card", repo_id="someone/tagger")


def test_pain_01_pulled_logits_are_bit_equal_without_the_package(pulled, folder):
    assert pulled["package_is_absent"]
    assert pulled["module"].startswith("transformers_modules.someone.tagger")
    assert pulled["logits"] == logits_of(folder)


def test_pain_04_the_repository_opens_with_every_auto_class(pulled):
    names = ["RnnMultilabelConfig", "RnnMultilabelModel", "RnnMultilabelForSequenceClassification"]
    assert pulled["classes"] == [*names, PreTrainedTokenizerFast.__name__]


def test_pain_05_the_stock_pipeline_takes_the_repository_without_an_error_line(pulled):
    assert [len(scores) for scores in pulled["stock_scores"]] == [3, 3, 3]
    assert "not supported" not in pulled["printed"]


def test_pain_12_the_stock_scores_are_the_sigmoid_of_the_logits(pulled):
    for scores, expected in zip(pulled["stock_scores"], pulled["scores"], strict=True):
        by_name = {score["label"]: score["score"] for score in scores}
        assert [by_name[name] for name in LABELS] == pytest.approx(expected, abs=1e-6)


def test_the_task_is_inferred_and_the_thresholds_travel(pulled, folder):
    thresholds = json.loads((folder / "config.json").read_text(encoding="utf-8"))["thresholds"]
    expected = [
        {name for name, score in zip(LABELS, scores, strict=True) if score >= thresholds[name]}
        for scores in pulled["scores"]
    ]
    assert pulled["inferred_task"] == "multi-label-tagging"
    assert [{tag["label"] for tag in tags} for tags in pulled["tags"]] == expected
    assert any(expected)
    assert pulled["inferred_tags"] == pulled["tags"]


def test_a_second_push_is_what_a_load_then_gives_and_a_pinned_revision_stays(reader, first, second, folder):
    changed, revision = second
    assert revision != first
    assert reader("pull", name="someone/tagger", texts=TEXTS)["logits"] == logits_of(changed)
    assert reader("pull", name="someone/tagger", texts=TEXTS, revision=first)["logits"] == logits_of(folder)
    assert logits_of(folder) != logits_of(changed)


def test_pain_03_a_model_fine_tuned_without_the_package_and_pushed_keeps_its_code(start, hub, reader, first, tmp_path):
    tuned = reader("fine_tune", name="someone/tagger", texts=TEXTS, output=tmp_path / "tuned", push_to="someone/tuned")
    assert hub.repos["model", "someone/tuned"].files(tuned).keys() >= CODE | MODEL
    third = start("--without_the_package")("pull", name="someone/tuned", texts=TEXTS)
    assert third["module"].startswith("transformers_modules.someone.tuned")
    assert third["logits"] == logits_of(tmp_path / "tuned")
    assert third["inferred_tags"] == third["tags"]
    assert any(third["tags"])


def test_a_branch_is_made_and_main_stays(hub, author, retrained, second):
    repo = hub.repos["model", "someone/tagger"]
    main = repo.refs["main"]
    revision = author("push", folder=retrained, repo_id="someone/tagger", revision="dev")["oid"]
    assert (repo.refs["dev"], repo.refs["main"]) == (revision, main)
    assert repo.files("dev")["model.safetensors"] == (retrained / "model.safetensors").read_bytes()


def test_a_pull_request_leaves_main_and_tells_where_it_is(hub, author, retrained, second):
    repo = hub.repos["model", "someone/tagger"]
    main = repo.refs["main"]
    commit = author("push", folder=retrained, repo_id="someone/tagger", create_pr=True)
    assert (repo.refs["main"], repo.refs["refs/pr/1"]) == (main, commit["oid"])
    assert commit["pr_url"] == f"{hub.url}/someone/tagger/discussions/1"
    (retrained / "README.md").write_text("---\ntags: [hf_rnn_multilabel]\n---\nAn edited card.\n", encoding="utf-8")
    more = author("push", folder=retrained, repo_id="someone/tagger", revision="refs/pr/1")
    assert (repo.refs["refs/pr/1"], repo.refs["main"]) == (more["oid"], main)
    assert "An edited card." in repo.files("refs/pr/1")["README.md"].decode()


def test_somebody_else_may_open_a_pull_request_on_a_public_repository(hub, author, retrained, folder):
    author("push", folder=folder, repo_id="someone/open")
    token = hub.add_token("somebody_else")
    commit = author("push", {"HF_TOKEN": token}, folder=retrained, repo_id="someone/open", create_pr=True)
    assert hub.repos["model", "someone/open"].refs["refs/pr/1"] == commit["oid"]


def test_a_push_takes_away_what_an_earlier_one_left_and_no_other_file(hub, author, reader, retrained, tmp_path):
    (retrained / "onnx").mkdir()
    (retrained / "onnx" / "model.onnx").write_bytes(b"a graph")
    author("push", folder=retrained, repo_id="someone/exported")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.md").write_text("Do not touch.")
    reader("upload_folder", folder=tmp_path / "mine", repo_id="someone/exported", repo_type="model")
    repo = hub.repos["model", "someone/exported"]
    assert repo.files().keys() >= {"onnx/model.onnx", "notes.md"}
    shutil.rmtree(retrained / "onnx")
    author("push", folder=retrained, repo_id="someone/exported")
    assert repo.files().keys() == MODEL | CODE | {
        "plots/one.png",
        "README.md",
        "metrics.json",
        ".gitattributes",
        "notes.md",
    }


def test_a_repository_is_public_or_private_as_asked_and_a_bare_name_is_ones_own(hub, author, folder, first):
    author("push", folder=folder, repo_id="mine", commit_message="The tagger of the lamps")
    assert not hub.repos["model", "someone/mine"].private
    assert hub.repos["model", "someone/tagger"].private
    assert hub.repos["model", "someone/mine"].history()[0].title == "The tagger of the lamps"
    assert 'model="someone/mine"' in hub.repos["model", "someone/mine"].files()["README.md"].decode()


def test_the_stock_push_of_model_and_tokenizer_is_enough_to_tag(hub, author, reader, folder):
    author("push_model_and_tokenizer", folder=folder, repo_id="someone/stock")
    assert hub.repos["model", "someone/stock"].files().keys() >= CODE | MODEL
    assert reader("pull", name="someone/stock", texts=TEXTS)["logits"] == logits_of(folder)


def test_pain_13_the_metric_loads_from_a_space(reader):
    metric = ROOT / "hf_rnn_multilabel" / "evaluation" / "metrics" / "multilabel"
    reader("upload_folder", folder=metric, repo_id="someone/multilabel", repo_type="space")
    rows = {"predictions": [[1, 0], [0, 1]], "references": [[1, 0], [1, 1]]}
    assert reader("compute_metric", name="someone/multilabel", **rows)["f1_micro"] == pytest.approx(0.8)


@pytest.fixture(scope="module")
def standing(hub, author, folder):
    """A repository with one push, and what stands in it."""
    author("push", folder=folder, repo_id="someone/standing")
    return hub.repos["model", "someone/standing"]


def refs_of(hub: HubServer) -> dict:
    return {name: dict(repo.refs) for name, repo in hub.repos.items()}


def assert_refused(hub: HubServer, words: str, client: Client, *arguments: Any, **more: Any) -> str:
    """The call fails in these words, and no repository has changed."""
    before = refs_of(hub)
    with pytest.raises(RemoteError, match=f"(?s)^{words}") as caught:
        client("push", *arguments, **more)
    assert refs_of(hub) == before
    return str(caught.value)


WEIGHTS, COMMIT = "PUT /storage/", "POST /api/models/someone/standing/commit/"
# None of these does the client try again, with pauses.
BREAKS = {
    "the weights": (WEIGHTS, {"status": 401}, "RuntimeError"),
    "the commit": (COMMIT, {"status": 500}, "HfHubHTTPError"),
    "the connection": (COMMIT, {"drop": True}, "[A-Za-z]+Error"),
}


@pytest.mark.parametrize("fault", BREAKS)
def test_a_push_that_breaks_off_shows_nothing_and_succeeds_when_repeated(hub, author, standing, retrained, fault):
    pattern, behaviour, name = BREAKS[fault]
    hub.fail(pattern, **behaviour)
    words = f"{name}: .*someone/standing: The push was broken off.*repeat the same call"
    assert_refused(hub, words, author, folder=retrained, repo_id="someone/standing")
    hub.faults.clear()
    commits = len(standing.history())
    revision = author("push", folder=retrained, repo_id="someone/standing")["oid"]
    assert (standing.refs["main"], len(standing.history())) == (revision, commits + 1)
    assert standing.files()["model.safetensors"] == (retrained / "model.safetensors").read_bytes()


BEFORE = {
    "the right to write": ("POST /api/repos/create", 403, "may not write there"),
    "the making": ("POST /api/repos/create", 500, "Nothing was sent"),
    "the repository": ("GET /api/models/someone/standing", 500, "Nothing was sent"),
}


@pytest.mark.parametrize("fault", BEFORE)
def test_a_push_that_cannot_begin_sends_nothing_and_keeps_the_error_of_the_hub(
    hub, author, standing, retrained, fault
):
    pattern, status, words = BEFORE[fault]
    objects = set(hub.objects)
    hub.fail(pattern, status=status)
    if status == 403:
        hub.fail("GET /api/models/someone/standing", status=status)
    words = rf"HfHubHTTPError: .*{words}"
    assert_refused(hub, words, author, folder=retrained, repo_id="someone/standing")
    assert hub.objects.keys() == objects


def test_without_a_token_nothing_is_sent_and_the_remedy_is_named(hub, author, folder):
    refused = {"folder": folder, "repo_id": "someone/untold"}
    assert_refused(hub, "HfHubHTTPError: .*Nothing was sent.*hf auth login", author, {"HF_TOKEN": None}, **refused)


def test_an_unknown_token_is_refused_and_not_repeated(hub, author, folder):
    refused = {"folder": folder, "repo_id": "someone/untold", "token": "hf_gone"}
    error = assert_refused(hub, "[A-Za-z]+Error: .*401.*Nothing was sent.*hf auth login", author, **refused)
    assert "hf_gone" not in error


@pytest.mark.parametrize(
    ("name", "role", "repo_id"),
    [
        ("someone", "read", "someone/untold"),
        ("someone", "read", "someone/standing"),
        ("somebody_else", "write", "someone/untold"),
        ("somebody_else", "write", "someone/standing"),
    ],
)
def test_a_token_without_the_right_to_write_there_is_refused(hub, author, standing, retrained, name, role, repo_id):
    objects = set(hub.objects)
    token = hub.add_token(name, role)
    words = f"HfHubHTTPError: .*403.*{repo_id}: .*may not write there"
    assert_refused(hub, words, author, {"HF_TOKEN": token}, folder=retrained, repo_id=repo_id)
    assert hub.objects.keys() == objects


@pytest.mark.parametrize(
    ("case", "words"),
    [("no network", "ConnectError: .*Nothing was sent"), ("offline", "OfflineModeIsEnabled: .*HF_HUB_OFFLINE")],
)
def test_a_hub_that_cannot_be_reached_is_said_in_words(hub, unreachable, folder, case, words):
    assert_refused(hub, words, unreachable[case], folder=folder, repo_id="someone/untold")


def test_a_repository_of_another_model_type_is_left_alone(hub, author, reader, folder, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}), encoding="utf-8")
    reader("upload_folder", folder=tmp_path, repo_id="someone/bert", repo_type="model")
    assert_refused(hub, "ValueError: .*'someone/bert'.*'bert'", author, folder=folder, repo_id="someone/bert")


def test_a_private_push_never_goes_to_a_public_repository(hub, author, standing, retrained):
    refused = {"folder": retrained, "repo_id": "someone/standing", "private": True}
    assert_refused(hub, "ValueError: .*'someone/standing' is public", author, **refused)


def test_a_card_that_the_hub_does_not_take_is_said_in_words(hub, author, standing, retrained):
    (retrained / "README.md").write_text("---\ntags: [one, two\n---\nA card.\n", encoding="utf-8")
    words = "ValueError: .*metadata in README.md"
    assert_refused(hub, words, author, folder=retrained, repo_id="someone/standing")


def test_a_folder_that_is_no_trained_tagger_is_refused_before_the_hub_is_asked(hub, author, retrained):
    (retrained / "model.safetensors").unlink()
    already = len(hub.log)
    words = "FileNotFoundError: .*model.safetensors"
    assert_refused(hub, words, author, folder=retrained, repo_id="someone/untold")
    assert hub.log[already:] == []


@pytest.mark.parametrize("name", ["README.md", "config.json", "modeling_rnn_multilabel.py"])
def test_a_file_that_holds_the_token_is_refused_and_the_token_not_repeated(hub, author, retrained, name):
    token = next(iter(hub.users))
    path = retrained / name
    text = path.read_text(encoding="utf-8")
    note = text.replace('"thresholds"', f'"note": "{token}", "thresholds"')
    path.write_text(note if name.endswith("json") else f"{text}\n# {token}\n", encoding="utf-8")
    words = rf"ValueError: .*{re.escape(name)}.*token"
    assert_refused(hub, words, author, folder=retrained, repo_id="someone/untold")
