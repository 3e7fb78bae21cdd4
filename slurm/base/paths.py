"""Paths as people name them: absolute, with their links left in.

A compute node may see a home or a scratch folder behind the same name and yet elsewhere: what a link leads to here need
not be there. So whatever travels to a job is the name, never what this machine makes of it.
"""

import os
from collections.abc import Iterator
from pathlib import Path


def absolute(path: Path, beside: Path | None = None) -> Path:
    """A path without `.` and, as far as they say no more than the names do, `..`. `beside`: what a relative one is
    relative to; None: the current folder, as the shell names it. Nothing need be there."""
    full_path = Path(beside or current_folder(), path)
    if ".." not in full_path.parts:
        return full_path
    plain = Path(os.path.normpath(full_path))
    # `link/..` is the folder above what the link leads to, not the one that holds the link.
    return plain if os.path.realpath(plain) == os.path.realpath(full_path) else full_path


def current_folder() -> Path:
    """The current folder by the name under which the shell went there ($PWD): the system itself knows only where the
    links on the way have led."""
    here, shells_name = Path.cwd(), os.environ.get("PWD", "")
    is_usable = Path(shells_name).is_absolute() and is_same(Path(shells_name), here)
    return Path(shells_name) if is_usable else here


def named(path: Path) -> Path:
    """A path that a program has resolved, as Python's venv does with its own, by the user's names again: where it lies
    behind a link on the way to the home or to the current folder, through that link."""
    for link in _links():
        target = os.path.realpath(link)
        if path.is_relative_to(target):
            through = link / path.relative_to(target)
            if is_same(through, path):
                return through
    return path


def is_same(first: Path, second: Path) -> bool:
    """Whether two names mean one file or folder that is there."""
    try:
        return os.path.samefile(first, second)
    except (OSError, ValueError):
        return False


def _links() -> Iterator[Path]:
    """The links that the names of the home and the current folder go through, the innermost first."""
    for name in (os.environ.get("HOME", ""), str(current_folder())):
        path = Path(name)
        yield from (part for part in (path, *path.parents) if path.is_absolute() and part.is_symlink())
