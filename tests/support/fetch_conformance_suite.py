"""Fetches the model test-suite of the installed transformers, which its wheel lacks, into the cache of the repository.

python tests/fetch_conformance_suite.py
"""

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import transformers


CACHE = Path(__file__).resolve().parents[2] / ".cache" / "conformance"
# What the suite imports and the source distribution lacks: exports and generation are not tested here.
STUBS = {
    "exporters/test_export.py": "class ExportTesterMixin:\n    pass\n",
    "generation/test_utils.py": "class GenerationTesterMixin:\n    pass\n",
    "utils/test_configuration_utils.py": "config_common_kwargs = {}\n",
}


def fetch_conformance_suite() -> str:
    """
    Returns:
        the suite as the name of a package in `CACHE`; it is downloaded only once a version.

    Raises:
        RuntimeError: if the source distribution cannot be downloaded, with the reason.
    """
    name = "transformers_" + transformers.__version__.replace(".", "_")
    if not (CACHE / name).exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            _unpack(_download(Path(folder)), Path(folder) / name)
            (Path(folder) / name).rename(CACHE / name)
    return name


def _download(folder: Path) -> Path:
    requirement = f"transformers=={transformers.__version__}"
    options = ["--quiet", "--retries=1", "--timeout=20", "--no-deps", "--no-binary=transformers", f"--dest={folder}"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, requirement], capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(f"The source of {requirement} could not be downloaded: {done.stderr.strip()[-500:]}")
    return next(folder.glob("transformers-*.tar.gz"))


def _unpack(archive: Path, package: Path) -> None:
    with tarfile.open(archive) as tar:
        for member in tar:
            path = Path(member.name)
            if path.parts[1:2] == ("tests",) and len(path.parts) == 3 and path.suffix == ".py":
                _write(package / path.name, tar.extractfile(member).read().decode())
    for path, text in STUBS.items():
        _write(package / path, text)
        _write(package / path.split("/")[0] / "__init__.py", "")
    _write(package / "__init__.py", "")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    print(CACHE / fetch_conformance_suite())
