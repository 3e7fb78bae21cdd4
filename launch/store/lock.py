"""TODO."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slurm.base import UserError, processes
from slurm.base.files import make_folder, read_json, to_json, write_once

_LOCK_SECONDS = 900  # another host's lock that was not touched for so long is left over
_CLAIM_SECONDS = 60  # the same of a claim to remove such a lock
PATIENCE = 300.0  # seconds that a command waits for another that sends or cancels
_LOOK_SECONDS = 0.5  # between two looks at a lock that is waited for


@contextmanager
def lock(root: Path, patience: float = 0.0, report: Callable[[str], None] = lambda line: None) -> Iterator[Path]:
    """One submitter at a time per store. Waits up to `patience` seconds for another; then UserError naming it."""
    path = make_folder(root / "submissions") / "lock"
    _take(path, _me(), patience, report)
    try:
        yield path
    finally:
        if read_json(path) == _me():  # else another host found it stale and holds it now
            path.unlink(missing_ok=True)


def keep(lock: Path) -> None:
    """Say that its holder lives. UserError where another host took it over, as this process stood still for long."""
    if read_json(lock) != _me():
        raise UserError("another submit has taken over, since this one stood still for long; nothing more was sent")
    os.utime(lock)


def _me() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "start": processes.start_time(os.getpid())}


def _take(path: Path, me: dict[str, Any], patience: float, report: Callable[[str], None]) -> None:
    waited = 0.0
    while not write_once(path, to_json(me)):
        _break_stale(path)
        if write_once(path, to_json(me)):
            return
        other = read_json(path)
        if other is None:
            _check_readable(path)
            continue  # it has just been given back
        who = f"process {other['pid']} on {other['host']}"
        if waited >= patience:
            raise UserError(
                f"another submit is at work ({who}); wait for it, then type the command again. If it is gone: rm {path}"
            )
        if not waited:
            report(f"waiting for another submit ({who}), up to {patience:.0f} s")
        time.sleep(_LOOK_SECONDS)
        waited += _LOOK_SECONDS


def _check_readable(path: Path) -> None:
    try:
        path.open().close()
    except FileNotFoundError:
        return
    except PermissionError:
        words = "another user's submit is at work, or was: ask the file's owner to remove it if it is gone"
        raise UserError(f"{path}: {words}") from None


def _break_stale(path: Path) -> None:
    """Remove a lock whose holder is dead."""
    other = read_json(path)
    if other is None or not _is_stale(path, other):
        return
    # Linked first, under a name of its own: of several that find it stale, one may remove it, and none can remove
    # the lock that another has made in between.
    claim = path.with_name(f"lock.stale-{other['host']}-{other['pid']}-{other['start']}")
    try:
        os.link(path, claim)
    except FileNotFoundError:
        return
    except FileExistsError:
        _remove_left_over(claim)
        return
    if read_json(claim) == other:
        path.unlink(missing_ok=True)
    claim.unlink(missing_ok=True)


def _is_stale(path: Path, holder: dict[str, Any]) -> bool:
    if holder["host"] == socket.gethostname():
        return not processes.is_alive(holder["pid"], holder["start"])
    try:
        return time.time() - path.stat().st_mtime > _LOCK_SECONDS
    except FileNotFoundError:
        return False


def _remove_left_over(claim: Path) -> None:
    """Who removes a stale lock needs moments for it: a claim that stays is of one who was killed just then."""
    try:
        if time.time() - claim.stat().st_ctime > _CLAIM_SECONDS:
            claim.unlink()
    except FileNotFoundError:
        return
