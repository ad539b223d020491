"""`hf-rnn-multilabel thresholds`: a tagger and other labelled texts in, the tagger with thresholds of theirs out."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..evaluation import ThresholdMethod
from ..inference.evaluation import tune_tagger
from ..inference.loading import load_checkpoint
from .evaluate import LabelledFile
from .output import print_json, quiet
from .parser import CommandParser


@dataclass
class ThresholdArguments:
    """Which tagger, and where the new one goes."""

    model: str | None = field(default=None, metadata={"help": "A trained folder, or a name on the Hub."})
    output_dir: str | None = field(default=None, metadata={"help": "A new folder: the tagger with the thresholds."})
    threshold_method: ThresholdMethod = field(
        default="shrinkage", metadata={"help": "shrinkage, per_label, global_micro or global_macro."}
    )
    revision: str | None = field(default=None, metadata={"help": "Commit, branch or tag of a model on the Hub."})


EXAMPLES = """
hf-rnn-multilabel thresholds --model my-tagger --input last-month.csv --label_column tags --label_separator ";" \\
    --output_dir my-tagger-2
"""


def make_parser() -> CommandParser:
    """The options of the command."""
    kinds = [ThresholdArguments, LabelledFile]
    return CommandParser("thresholds", "Tune a tagger's thresholds on a labelled file.", kinds, examples=EXAMPLES)


def main(argv: Sequence[str]) -> None:
    """Tune as the command line says."""
    parser = make_parser()
    given = parser.parse(argv)
    as_json = given.pop("json")
    own = {name: given.pop(name) for name in ("model", "output_dir", "threshold_method", "revision") if name in given}
    args, file = ThresholdArguments(**own), LabelledFile(**given)
    if args.model is None or file.input is None or args.output_dir is None:
        parser.error(
            "--model, --input and --output_dir are needed: a tagger, a labelled file, and where the new one goes"
        )
    with quiet():
        config = load_checkpoint(args.model, revision=args.revision)[0].config
        earlier = dict(zip(config.label_names, config.label_thresholds, strict=True))
        rows = file.read(config.label_names)
        thresholds = tune_tagger(args.model, rows, args.output_dir, args.threshold_method, revision=args.revision)
    if as_json:
        tuned = {"folder": args.output_dir, "thresholds": thresholds, "earlier": earlier}
        print_json(tuned | {"warnings": rows.warnings})
        return
    print(f"{'label':30}{'earlier':>9}{'now':>9}")
    for label, threshold in thresholds.items():
        print(f"{label[:29]:30}{earlier[label]:9.3f}{threshold:9.3f}")
    print(f"\nTuned on {len(rows.texts):,} texts. Saved in {args.output_dir}.")
