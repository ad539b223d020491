"""Runs commands in a process of its own where none of the package's extras is installed.

    python base_install.py '[["tag", "--help"], ...]'

Prints, as JSON, one exit code, output and error output per command.
"""

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib.machinery import PathFinder


# What the extras install, and what comes with it.
EXTRAS = {
    *("accelerate", "datasets", "evaluate", "iterstrat", "matplotlib", "multiprocess", "pandas", "pyarrow", "scipy"),
    *("sklearn", "xxhash", "dill", "optuna", "onnx", "onnxruntime", "onnxscript", "polars"),
}


class WithoutExtras(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in EXTRAS else super().find_spec(name, path, target)


sys.meta_path = [WithoutExtras if finder is PathFinder else finder for finder in sys.meta_path]

from hf_rnn_multilabel.cli.main import main  # noqa: E402


def run(argv: list[str]) -> list:
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = main(argv)
        except SystemExit as stop:
            code = stop.code
    for stream in (out, err):
        stream.flush()
    return [code, *(stream.buffer.getvalue().decode() for stream in (out, err))]


if __name__ == "__main__":
    print(json.dumps([run(argv) for argv in json.loads(sys.argv[1])]))
