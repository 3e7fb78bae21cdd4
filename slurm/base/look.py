"""Reading what other machines write. A network file system's client may believe for a minute that a file is not there,
or hold one that was replaced since (ESTALE): so nothing counts as absent before its folder was opened, which makes the
client ask the server, and what is stale is opened again.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import TypeVar

T = TypeVar("T")

_PAUSES = (0.0, 0.05, 0.2, 1.0)  # seconds before one more try at what is stale
_SILLY = ".nfs"  # begins the name of what was removed while it was open


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Says in an error of an open file, which tells no name, whose it is."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def again(action: Callable[[], T]) -> T:
    """What `action` gives; while that is ESTALE, a few times more."""
    for pause in _PAUSES:
        try:
            return action()
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
        sleep(pause)
    return action()


def refresh(folder: Path) -> bool:
    """Have what is known of the names in a folder asked anew, by opening it; whether there is such a folder."""
    try:
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
        return True
    except FileNotFoundError:
        if folder.parent == folder or not refresh(folder.parent):
            return False
    except OSError:
        return False
    try:
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
        return True
    except OSError:
        return False


def surely(path: Path, action: Callable[[], T]) -> T:
    """What `action` gives of `path`; FileNotFoundError only where its folder, opened, does not have it either."""
    try:
        return _tried(path, action)
    except FileNotFoundError:
        if not refresh(path.parent):
            raise
    return _tried(path, action)


def _tried(path: Path, action: Callable[[], T]) -> T:
    try:
        return action()  # as nearly always: one look at a large store reads a million files
    except OSError as error:
        if error.errno != errno.ESTALE:
            error.filename = error.filename or str(path)
            raise
    with named(path):
        return again(action)


def read_bytes(path: Path) -> bytes:
    """A file's content."""
    return surely(path, path.read_bytes)


def status(path: Path) -> os.stat_result:
    """A file's size and times as they are now: it is opened for that."""
    return surely(path, lambda: _opened_status(path))


def _opened_status(path: Path) -> os.stat_result:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def size(path: Path) -> int | None:
    """Of a file that is never changed once it is there; None where there is none, or none that can be read."""
    try:
        return surely(path, lambda: os.stat(path).st_size)
    except OSError:
        return None


def exists(path: Path) -> bool:
    """Whether there is a file or folder."""
    try:
        surely(path, lambda: os.stat(path))
        return True
    except (FileNotFoundError, NotADirectoryError):
        return False


def names(folder: Path) -> list[str]:
    """What is in a folder, sorted; without what a client keeps of removed files."""
    return sorted(name for name in surely(folder, lambda: os.listdir(folder)) if not name.startswith(_SILLY))
