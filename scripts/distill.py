"""`hf-rnn-multilabel distill` from a clone: the same options."""

import sys

from hf_rnn_multilabel.cli.main import main


if __name__ == "__main__":
    sys.exit(main(["distill", *sys.argv[1:]]))
