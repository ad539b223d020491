"""Everything that a repository on the Hub needs, in one commit."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import (
    CommitInfo,
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    ModelCard,
    get_token,
    hf_hub_download,
)
from huggingface_hub.errors import (
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors import SafetensorError, safe_open
from transformers.dynamic_module_utils import get_relative_import_files

from ..model.configuration_rnn_multilabel import RnnMultilabelConfig
from .model_card import build_card


if TYPE_CHECKING:
    from transformers import Trainer


TAG = "hf_rnn_multilabel"  # among the tags of every card of ours
CARD, CONFIG, METRICS = "README.md", "config.json", "metrics.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
VOCABULARIES = ("vocab.*", "merges.txt", "*.model")
EXTRAS = ("plots/*.png", "*.onnx", "*.onnx.data", "onnx/*")
# What an earlier push may have left and this one no longer has: the loader would take a whole file before shards.
REPLACED = ("model*.safetensors", INDEX, *EXTRAS)
LARGEST_FILE = 50 * 10**9  # bytes; the Hub takes no more in one file


def push(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    commit_message: str | None = None,
    token: str | None = None,
) -> CommitInfo:
    """Push a trained folder to the Hub, whole and in one commit; all checks come before anything is sent.

    Args:
        folder: what `scripts/train.py` saved, or what a model and its tokenizer saved.
        repo_id: "user/name", or "name" for one's own.
        private: whether a new repository is private; None: the default of the account.
        revision: the branch, made if it is missing; None: main.
        create_pr: whether to open a pull request instead of writing to the branch.
        commit_message: of the commit.
        token: else that of `hf auth login` or HF_TOKEN.

    Returns:
        the commit: its `oid` is the revision to pin, `pr_url` the pull request.

    Raises:
        ValueError, FileNotFoundError: as `collect`; for a repository with another type of model; for a public one
            where a private one is asked for.
        PermissionError: without a token, or with one that may not write there.
        ConnectionError: if the Hub cannot be reached.
        RuntimeError: if the push was broken off; the repository stands at its last commit then.
    """
    additions = collect(folder, repo_id, token=token)
    api = HfApi(token=token, library_name="hf_rnn_multilabel")
    with _errors_in_words(repo_id):
        user = api.whoami()
        role = user.get("auth", {}).get("accessToken", {}).get("role")
        if role == "read":
            raise PermissionError("The token may only read; log in with one that may write (`hf auth login`).")
        if "/" not in repo_id:
            repo_id = f"{user['name']}/{repo_id}"
            additions = collect(folder, repo_id, token=token)  # the card has the whole name
        old_files = _check_repository(api, repo_id, private, revision)
        api.create_repo(repo_id, private=private, exist_ok=True)
        if revision is not None and not revision.startswith("refs/"):
            api.create_branch(repo_id, branch=revision, exist_ok=True)
    new_files = {addition.path_in_repo for addition in additions}
    deletions = [
        CommitOperationDelete(path)
        for path in old_files
        if path not in new_files and any(fnmatch(path, pattern) for pattern in REPLACED)
    ]
    try:
        return api.create_commit(
            repo_id,
            [*additions, *deletions],
            commit_message=commit_message or "Upload a multi-label tagger",
            revision=revision,
            create_pr=create_pr,
        )
    except (HTTPError, OSError, RuntimeError, json.JSONDecodeError) as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code == 403:
            raise _forbidden(repo_id, error) from error
        raise RuntimeError(
            f"The push to {repo_id!r} was broken off ({error!r}). Unless only the Hub's last answer was lost, the "
            "repository stands at its last commit and shows nothing of this push; repeat the same call."
        ) from error


def collect(folder: str | Path, repo_id: str | None = None, token: str | None = None) -> list[CommitOperationAdd]:
    """Check that a folder is a trained tagger that opens anywhere, and gather what a push sends; sends nothing.

    Args:
        folder: what `scripts/train.py` saved, or what a model and its tokenizer saved.
        repo_id: the name under which the card shows how to use the model. An edited card goes as it is; where there
            is none, one is made from the configuration.
        token: a token that must not stand in any file, beside the one that is logged in.

    Returns:
        the files, by path; checkpoints of the training and files of other kinds are left out.

    Raises:
        FileNotFoundError: if configuration, weights, code or tokenizer are missing.
        ValueError: for another type of model, broken weights, a file that is too large or that holds a token.
    """
    folder = Path(folder)
    config, architecture = _read_config(folder)
    names = [*_weights(folder, len(architecture.label_names)), *_code(folder, config)]
    tokenizer = [name for name in (*TOKENIZER, *VOCABULARIES) for name in _matches(folder, name)]
    if not tokenizer:
        raise FileNotFoundError(
            f"No tokenizer in {str(folder)!r}; save it there: `tokenizer.save_pretrained(folder)`."
        )
    names += [CONFIG, *tokenizer, *(name for pattern in (METRICS, *EXTRAS) for name in _matches(folder, pattern))]
    contents: dict[str, Path | bytes] = {name: folder / name for name in names}
    contents[CARD] = _card(folder, architecture, repo_id).encode()
    for name, content in contents.items():
        _check_content(name, content, {get_token(), token})
    return [CommitOperationAdd(name, content) for name, content in sorted(contents.items())]


def keep_card(trainer: "Trainer") -> None:
    """Let a stock Trainer's `push_to_hub` leave this package's card in its output folder, where there is one.

    Without it, the Trainer writes its own draft over any README.md that it finds.

    Args:
        trainer: as its pushes come to write a card, they look for one of ours first.
    """
    write_stock_card = trainer.create_model_card

    def create_model_card(*args: Any, **kwargs: Any) -> None:
        path = Path(str(trainer.args.output_dir)) / CARD
        if not path.is_file() or TAG not in (ModelCard.load(path).data.tags or []):
            write_stock_card(*args, **kwargs)

    trainer.create_model_card = create_model_card  # type: ignore[method-assign]


def _read_config(folder: Path) -> tuple[dict[str, Any], RnnMultilabelConfig]:
    """The configuration as it is saved, and as it is understood."""
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"No {CONFIG} in {str(folder)!r}; give the folder of a trained tagger.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        model_type = config.get("model_type")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{str(path)!r} is no model's configuration ({error}); save the model again.") from error
    if model_type != RnnMultilabelConfig.model_type:
        raise ValueError(
            f"{str(folder)!r} holds a {model_type!r} model, not a {RnnMultilabelConfig.model_type!r} one."
        )
    return config, RnnMultilabelConfig.from_dict(config)


def _weights(folder: Path, num_labels: int) -> list[str]:
    """The names of the weight files, each of which opens."""
    shards = [WEIGHTS]
    if not (folder / WEIGHTS).is_file():
        if not (folder / INDEX).is_file():
            raise FileNotFoundError(f"No {WEIGHTS} in {str(folder)!r}; save the model there: `model.save_pretrained`.")
        shards = sorted(set(json.loads((folder / INDEX).read_text())["weight_map"].values()))
    shapes: dict[str, list[int]] = {}
    try:
        for shard in shards:
            with safe_open(folder / shard, framework="pt") as weights:
                shapes |= {key: weights.get_slice(key).get_shape() for key in weights.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"The weights in {str(folder)!r} are broken ({error}); save them again.") from error
    labels = shapes.get("classifier.bias", [0])[0]
    if labels != num_labels:
        raise ValueError(
            f"The classifier in {str(folder)!r} has {labels} labels and the configuration {num_labels}; save a "
            "trained `RnnMultilabelForSequenceClassification` there."
        )
    return shards if shards == [WEIGHTS] else [INDEX, *shards]


def _code(folder: Path, config: dict[str, Any]) -> list[str]:
    """The names of the Python files that a load without the package executes."""
    pipelines = [pipeline["impl"] for pipeline in config.get("custom_pipelines", {}).values()]
    modules = {name.split(".")[0] for name in [*config.get("auto_map", {}).values(), *pipelines]}
    try:
        files = {path for module in modules for path in _with_imports(folder / f"{module}.py")}
    except OSError as error:
        raise FileNotFoundError(
            f"The code that travels with the model is not whole in {str(folder)!r} ({error}); load the model with "
            "this package and save it again."
        ) from error
    if not files:
        raise FileNotFoundError(
            f"{CONFIG} in {str(folder)!r} names no code; load and save the model with this package."
        )
    return sorted(file.name for file in files)


def _with_imports(module: Path) -> list[Path]:
    return [module, *(Path(name) for name in get_relative_import_files(module))]


def _matches(folder: Path, pattern: str) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.glob(pattern) if path.is_file())


def _card(folder: Path, config: RnnMultilabelConfig, repo_id: str | None) -> str:
    """The folder's card, with the repository's name in it unless somebody has edited it."""
    facts: dict[str, Any] = {"name": folder.resolve().name}
    if (folder / METRICS).is_file():
        try:
            facts = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{str(folder / METRICS)!r} is no JSON ({error}); remove it or train again.") from error
    if (folder / CARD).is_file():
        card = (folder / CARD).read_text(encoding="utf-8")
        if card != str(build_card(config, facts)):
            return card
    return str(build_card(config, facts if repo_id is None else facts | {"name": repo_id}))


def _check_content(name: str, content: Path | bytes, tokens: set[str | None]) -> None:
    size = content.stat().st_size if isinstance(content, Path) else len(content)
    if size > LARGEST_FILE:
        raise ValueError(
            f"{name!r} has {size:,} bytes and the Hub takes at most {LARGEST_FILE:,} in a file; save the model in "
            "several: `model.save_pretrained(folder, max_shard_size='5GB')`."
        )
    if Path(name).suffix in (".json", ".md", ".py", ".txt"):
        text = (content.read_bytes() if isinstance(content, Path) else content).decode(errors="replace")
        if any(token and token in text for token in tokens) or re.search(r"\bhf_[A-Za-z0-9]{30,}\b", text):
            raise ValueError(
                f"{name!r} holds an access token of the Hub; take it out, and revoke it if it was public."
            )


def _check_repository(api: HfApi, repo_id: str, private: bool | None, revision: str | None) -> list[str]:
    """The files that the repository has on the branch, if it exists and may take this model."""
    try:
        info = api.model_info(repo_id)
    except RepositoryNotFoundError:
        return []
    if private and not info.private:
        raise ValueError(
            f"{repo_id!r} is public already, and a private repository is asked for; make it private first: "
            f"`HfApi().update_repo_settings({repo_id!r}, visibility='private')`."
        )
    try:
        branch = api.model_info(repo_id, revision=revision)
    except RevisionNotFoundError:
        branch = info
    try:
        path = hf_hub_download(repo_id, CONFIG, revision=branch.sha, token=api.token)
    except RemoteEntryNotFoundError:
        model_type = None
    else:
        model_type = json.loads(Path(path).read_text(encoding="utf-8")).get("model_type")
    if model_type not in (None, RnnMultilabelConfig.model_type):
        raise ValueError(f"{repo_id!r} holds a {model_type!r} model; push to another repository.")
    return [file.rfilename for file in branch.siblings or []]


@contextmanager
def _errors_in_words(repo_id: str) -> Iterator[None]:
    """The Hub's refusals, before anything was sent."""
    try:
        yield
    except LocalTokenNotFoundError as error:
        raise PermissionError("No token of the Hub: run `hf auth login`, or set HF_TOKEN.") from error
    except OfflineModeIsEnabled as error:
        raise ConnectionError("Offline mode is on; unset HF_HUB_OFFLINE to push.") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status == 401:
            raise PermissionError(f"The Hub does not know the token ({error}); run `hf auth login` again.") from error
        if status == 403:
            raise _forbidden(repo_id, error) from error
        raise ConnectionError(f"The Hub refused ({error}); nothing was sent, try again later.") from error
    except (HTTPError, LocalEntryNotFoundError) as error:
        raise ConnectionError(f"Cannot reach the Hub ({error!r}); nothing was sent, try again later.") from error


def _forbidden(repo_id: str, error: HfHubHTTPError) -> PermissionError:
    return PermissionError(
        f"The token may not write to {repo_id!r} ({error}); push to a name of your own, or ask for the right."
    )
