"""The push of a trained tagger: everything that its repository on the Hub needs, in one commit."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import filter_repo_objects
from transformers.utils import CONFIG_NAME, SAFE_WEIGHTS_INDEX_NAME

from ..model.configuration_rnn_multilabel import RnnMultilabelConfig
from .folder import EXTRAS, files_to_push, render_card
from .model_card import CARD_NAME


# What an earlier push may have left and this one no longer has: the loader would take a whole file before shards.
REPLACED = ["model*.safetensors", SAFE_WEIGHTS_INDEX_NAME, *EXTRAS]

# By status of the Hub's answer.
REMEDIES = {
    401: " Log in by `hf auth login`, or set HF_TOKEN.",
    403: " The token may not write there: push to a name of your own, or ask for the right.",
}


def push_to_hub(
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
        folder: What a training saved, or what a model and its tokenizer saved.
        repo_id: "user/name", or "name" for one's own.
        private: Whether a new repository is private; None is the default of the account.
        revision: The branch, made if it is missing; None is main.
        create_pr: Whether to open a pull request instead of writing to the branch.
        commit_message: Of the commit.
        token: By default that of `hf auth login` or HF_TOKEN.

    Returns:
        The commit: its `oid` is the revision to pin, `pr_url` the pull request.

    Raises:
        FileNotFoundError: As `files_to_push`.
        ValueError: As `files_to_push`; for a repository with another type of model; for a public repository where a
            private one is asked for.
        huggingface_hub.errors.HfHubHTTPError: For every refusal of the Hub; the message says whether anything was
            sent and what to do.
        huggingface_hub.errors.HTTPError: If the Hub cannot be reached.
        huggingface_hub.errors.LocalTokenNotFoundError: Without a token.
    """
    folder = Path(folder)
    names = files_to_push(folder, token)
    render_card(folder, repo_id, token)
    api = HfApi(token=token, library_name="hf_rnn_multilabel")
    with _explained(repo_id, "Nothing was sent; try again later."):
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        present = _check_repository(api, repo_id, private, revision)
        if revision is not None and not revision.startswith("refs/"):
            api.create_branch(repo_id, branch=revision, exist_ok=True)
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationAdd(CARD_NAME, render_card(folder, repo_id, token).encode()),
        *(CommitOperationAdd(name, folder / name) for name in names),
        *(
            CommitOperationDelete(name)
            for name in filter_repo_objects(present, allow_patterns=REPLACED)
            if name not in names
        ),
    ]
    with _explained(
        repo_id,
        "The push was broken off. Unless only the Hub's last answer was lost, the repository is as it was before; "
        "repeat the same call.",
    ):
        # Not `upload_folder`, which may make several commits of one upload (since huggingface_hub 2).
        return api.create_commit(
            repo_id,
            operations,
            commit_message=commit_message or "Upload a multi-label tagger",
            revision=revision,
            create_pr=create_pr,
        )


def _check_repository(api: HfApi, repo_id: str, private: bool | None, revision: str | None) -> list[str]:
    """The files that the repository has on the branch; an error if it may not take this model."""
    info = api.model_info(repo_id)
    if private and not info.private:
        raise ValueError(
            f"{repo_id!r} is public already, and a private repository is asked for; make it private first: "
            f"`HfApi().update_repo_settings({repo_id!r}, visibility='private')`."
        )
    try:
        branch = api.model_info(repo_id, revision=revision)
    except RevisionNotFoundError:
        branch = info
    present = [file.rfilename for file in branch.siblings or []]
    if CONFIG_NAME in present:
        path = hf_hub_download(repo_id, CONFIG_NAME, revision=branch.sha, token=api.token)
        model_type = json.loads(Path(path).read_text(encoding="utf-8")).get("model_type")
        if model_type != RnnMultilabelConfig.model_type:
            raise ValueError(f"{repo_id!r} holds a {model_type!r} model; push to another repository.")
    return present


@contextmanager
def _explained(repo_id: str, words: str) -> Iterator[None]:
    """Add to an error of the Hub or the network what it means for this push; it stays the same error."""
    try:
        yield
    except (HTTPError, LocalEntryNotFoundError, RuntimeError) as error:
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
        # As `HfHubHTTPError.append_to_message` does; Python 3.10 has no notes.
        error.args = (f"{error}\n\n{repo_id}: {words}{REMEDIES.get(status or 0, '')}", *error.args[1:])
        raise
