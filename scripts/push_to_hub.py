"""Push a trained folder to the Hub: show the card and the list of files, then send them in one commit.

    python scripts/push_to_hub.py --folder outputs/mine --repo_id user/my-tagger --dry_run
    python scripts/push_to_hub.py --folder outputs/mine --repo_id user/my-tagger --private

The token is that of `hf auth login`, or HF_TOKEN.
"""

from dataclasses import dataclass, field
from pathlib import Path

from transformers import HfArgumentParser

from hf_rnn_multilabel.hub.folder import files_to_push, render_card
from hf_rnn_multilabel.hub.push import push_to_hub


@dataclass
class PushArguments:
    folder: str = field(metadata={"help": "What `scripts/train.py` saved."})
    repo_id: str = field(metadata={"help": "user/name, or name for your own."})
    private: bool | None = field(default=None, metadata={"help": "Whether a new repository is private."})
    revision: str | None = field(default=None, metadata={"help": "The branch, made if it is missing; else main."})
    create_pr: bool = field(default=False, metadata={"help": "Open a pull request instead of writing to the branch."})
    commit_message: str | None = field(default=None, metadata={"help": "Of the commit."})
    dry_run: bool = field(default=False, metadata={"help": "Show everything and send nothing."})


def main() -> None:
    (args,) = HfArgumentParser(PushArguments).parse_args_into_dataclasses()  # type: ignore[arg-type]
    names = files_to_push(args.folder)
    print(render_card(args.folder, args.repo_id))
    print(f"The card and {len(names)} files for {args.repo_id}:")
    for name in names:
        print(f"{Path(args.folder, name).stat().st_size:>15,}  {name}")
    sent = {*names, "README.md"}
    left_out = sorted(path.name for path in Path(args.folder).iterdir() if path.is_file() and path.name not in sent)
    if left_out:
        print(f"Left out: {', '.join(left_out)}.")
    if args.dry_run:
        print("A dry run: nothing was sent.")
        return
    commit = push_to_hub(
        args.folder,
        args.repo_id,
        private=args.private,
        revision=args.revision,
        create_pr=args.create_pr,
        commit_message=args.commit_message,
    )
    print(f"Pushed as revision {commit.oid}: {commit.pr_url or commit.commit_url}")


if __name__ == "__main__":
    main()
