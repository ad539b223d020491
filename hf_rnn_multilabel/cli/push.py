"""`hf-rnn-multilabel push`: a trained folder to the Hub, in one commit."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..hub.folder import files_to_push, render_card
from ..hub.push import push_to_hub
from .output import print_json, quiet
from .parser import CommandParser


@dataclass
class PushArguments:
    """What to push, and where to."""

    folder: str | None = field(default=None, metadata={"help": "What a training or an export left."})
    repo_id: str | None = field(default=None, metadata={"help": "user/name on the Hub."})
    private: bool = field(default=False, metadata={"help": "Whether a new repository is private."})
    revision: str | None = field(default=None, metadata={"help": "A branch; the default is main."})
    create_pr: bool = field(default=False, metadata={"help": "Open a pull request instead of committing."})
    commit_message: str | None = field(default=None, metadata={"help": "The message of the commit."})
    token: str | None = field(default=None, metadata={"help": "Default: that of `hf auth login`, or HF_TOKEN."})
    dry_run: bool = field(default=False, metadata={"help": "Show the card and the files, and send nothing."})


EXAMPLES = """
hf-rnn-multilabel push --folder my-tagger --repo_id user/my-tagger --dry_run
"""


def make_parser() -> CommandParser:
    """The options of the command."""
    return CommandParser("push", "Push a trained folder to the Hub in one commit.", [PushArguments], examples=EXAMPLES)


def main(argv: Sequence[str]) -> None:
    """Push as the command line says."""
    parser = make_parser()
    given = parser.parse(argv)
    as_json = given.pop("json")
    args = PushArguments(**given)
    if args.folder is None or args.repo_id is None:
        parser.error("--folder and --repo_id are needed: what to push, and where to")
    if args.dry_run:
        show(args, as_json)
        return
    options = {name: value for name, value in given.items() if name not in ("folder", "repo_id", "dry_run")}
    with quiet():
        commit = push_to_hub(args.folder, args.repo_id, **options)
    url = commit.pr_url or commit.commit_url
    if as_json:
        print_json({"revision": commit.oid, "url": url})
    else:
        print(f"Pushed as revision {commit.oid}: {url}")


def show(args: PushArguments, as_json: bool) -> None:
    """Print what a push would send."""
    with quiet():
        files = files_to_push(str(args.folder), args.token)
        card = render_card(str(args.folder), args.repo_id, args.token)
    if as_json:
        print_json({"files": files})
        return
    print(card)
    print("\n".join(files))
    print("A dry run: nothing was sent.")
