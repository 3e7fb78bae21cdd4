"""Who may read a store: its user alone (0700, 0600), or one group too (`cluster: {share-group: NAME}`), never to write.

Groups get what was made once it is there: the code that makes files closes them, whatever the umask is.
"""

import grp
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from slurm.base import UserError

_FOLDER, _FILE, _READ_ONLY_FILE = 0o2750, 0o640, 0o440  # what is made in such a folder later belongs to the group too


def check(group: str | None) -> None:
    """UserError unless the group exists and this user is in it."""
    if group is not None:
        _number(group)


def let_in(group: str | None, root: Path, parts: Iterable[Path]) -> None:
    """Let a group (None: nobody) read files and folders of a store: each part with all that is in it.

    The folders between the store and a part can be entered then. Links are left alone. UserError where the group cannot
    be given.
    """
    if group is None:
        return
    number = _number(group)
    for part in parts:
        between = [folder for folder in (part, *part.parents) if folder == root or root in folder.parents]
        for folder in between[1:]:
            _give(folder.resolve() if folder == root else folder, number)  # the store itself may be named by a link
        _give_all(part, number)


def let_in_again(folder: Path) -> None:
    """Give what came into a shared submission since to the folder's group too. Call it after writing there.

    Nothing where no group was let in. Never fails: what was sent is sent.
    """
    with suppress(OSError, UserError):
        status = folder.stat()
        if status.st_mode & 0o050 == 0o050:
            _give_all(folder, status.st_gid)


def _number(group: str) -> int:
    try:
        number = grp.getgrnam(group).gr_gid
    except KeyError:
        raise UserError(f"cluster: {{share-group: {group}}}: there is no such group here; `id` lists yours") from None
    if number not in {os.getegid(), *os.getgroups()} and os.geteuid() != 0:
        raise UserError(f"cluster: {{share-group: {group}}}: you are not in that group; `id` lists yours")
    return number


def _give_all(part: Path, group: int) -> None:
    if not part.is_dir():
        _give(part, group)
    for place, _, names in os.walk(part):
        _give(Path(place), group)
        for name in names:
            _give(Path(place, name), group)


def _give(path: Path, group: int) -> None:
    """Once it is the group's, it is opened for reading. What goes away meanwhile, or is another's, is left alone."""
    try:
        status = path.lstat()
        if not (path.is_dir() or path.is_file()) or path.is_symlink() or status.st_uid != os.geteuid():
            return
        if status.st_gid != group:
            os.chown(path, -1, group, follow_symlinks=False)
        mode = _FOLDER if path.is_dir() else _FILE if status.st_mode & 0o200 else _READ_ONLY_FILE
        if status.st_mode & 0o7777 != mode:
            os.chmod(path, mode)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"{path}: cannot be given to the group: {error.strerror}; leave out share-group") from error
