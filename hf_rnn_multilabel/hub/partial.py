"""The folder in which a result is made beside its place: `outputs/mine.partial` for `outputs/mine`, by one process."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout


PARTIAL, LOCK = ".partial", "lock"
# What a machine answers that cannot take more bytes.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
# Torch and others say no more than that they failed to write.
WRITER_ERRORS = ("PytorchStreamWriter failed", "inline_container", "iostream error")


@contextmanager
def partial_folder(
    place: Path, *, doing: str = "is writing", setting: str = "output_dir", is_locked: bool = True
) -> Iterator[Path]:
    """Opens the folder beside a place in which what goes there is made; it stays until somebody removes it.

    Args:
        place: Where the result goes: an absolute path.
        doing: What a process does that has the folder already, for the error.
        setting: The setting that names the place, for the errors.
        is_locked: Whether to lock it; of several processes of one run, one does.

    Yields:
        The folder, in which "lock" is for this function alone.

    Raises:
        ValueError: The name of the place is no UTF-8, which the libraries that write weights need.
        FileExistsError: A folder of that name is there that no run has made.
        BlockingIOError: Another process has it.
        OSError: It cannot be made, or what was made in it could not be written.
    """
    if not _is_utf_8(str(place)):
        raise ValueError(
            f"{str(place)!r} is no UTF-8, which what is written there must be; give another `{setting}`, or set "
            "PYTHONUTF8=1 if the locale has another encoding."
        )
    folder = place.with_name(place.name + PARTIAL)
    if folder.is_symlink() or (folder.is_dir() and not _is_ours(folder)) or folder.is_file():
        raise FileExistsError(
            f"{str(folder)!r} is needed to make {place.name!r}, and no run has made it; move it away, or give another "
            f"`{setting}`."
        )
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # At once, by whichever process of a run is the first: it tells the folder from that of a user.
        (folder / LOCK).touch()
        if is_locked:
            # Not every file system of a network has locks.
            with suppress(NotImplementedError):
                lock.acquire(timeout=0)
    except Timeout as error:
        raise BlockingIOError(
            f"Another run {doing} {str(place)!r}; wait for it, or give another `{setting}`."
        ) from error
    except OSError as error:
        raise OSError(f"Cannot write to {str(place)!r} ({error.strerror}); give another `{setting}`.") from error
    try:
        yield folder
    except Exception as error:
        reason = _failed_to_write(error)
        if reason is None:
            raise
        raise OSError(
            f"Could not finish {str(place)!r}: {reason}. Nothing at that place was changed. Make room there, in the "
            "folder of temporary files and in the cache of data sets, then repeat the command."
        ) from error
    finally:
        lock.release()


def _is_ours(folder: Path) -> bool:
    """Whether a folder is empty, or one that a run has marked."""
    return (folder / LOCK).exists() or not any(folder.iterdir())


def _is_utf_8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def replace_folder(new: Path, place: Path, old: Path) -> None:
    """Moves a folder to a place, where it replaces another one whole, or not at all.

    Args:
        new: The folder.
        place: Where it goes.
        old: Where the other one is meanwhile; `restore_folder` brings it back after a kill.

    Raises:
        OSError: It cannot be moved; the other one is at its place.
    """
    if place.exists():
        place.rename(old)
    try:
        new.rename(place)
    except OSError:
        if old.exists():
            old.rename(place)
        raise


def restore_folder(place: Path, old: Path) -> None:
    """Brings back a folder that `replace_folder` was about to replace when it was killed."""
    if old.exists() and not place.exists():
        old.rename(place)


def remove_partial(folder: Path) -> None:
    """Removes the folder beside a place, the lock last: nobody enters it half removed."""
    for path in folder.iterdir() if folder.is_dir() else []:
        if path.name == LOCK:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _failed_to_write(error: BaseException) -> str | None:
    """Why the machine did not take what was written, or None for an error of another kind."""
    cause: BaseException | None = error
    while cause is not None:
        text = " ".join(str(cause).split())
        if isinstance(cause, OSError) and cause.errno in FULL:
            return str(cause.strerror or text)
        # Arrow, safetensors and onnx have errors of their own with the words of the machine in them.
        for code in FULL:
            if os.strerror(code) in text:
                return os.strerror(code)
        if isinstance(cause, RuntimeError) and any(words in text for words in WRITER_ERRORS):
            return f"a file could not be written ({text[:200]})"
        cause = cause.__cause__
    return None
