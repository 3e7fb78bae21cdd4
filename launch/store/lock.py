"""One command at a time sends from a store, or cancels in it: a file that says who, made by one link.

Where its holder died on this host, it is taken from it at once; of another host's, when it was not touched for long:
a thread of its holder touches it, however long what is done under it takes where the file system is slow.
Where the file system has no hard links it is a symbolic link, which says all this too: what it leads to may be lost.
"""

import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from launch.store import records
from slurm.base import UserError, look, processes
from slurm.base.files import author_of, make_folder, remove, to_json, write_once

_LOCK_SECONDS = 900  # another host's lock that was not touched for so long is left over
_BEAT_SECONDS = 60.0  # between two touches by a holder that lives
_CLAIM_SECONDS = 60  # the same of a claim to remove such a lock
_NOT_GIVEN_BACK: set[Path] = set()  # locks that this process could not remove
PATIENCE = 300.0  # seconds that a command waits for another that sends or cancels
_NOBODY_SECONDS = 120.0  # the least that a lock which cannot be read is waited for
_MOMENT = 0.02  # seconds until a lock that was given back is tried for again
_LOOK_SECONDS = 0.5  # between two looks at a lock that is waited for


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock: what its file says."""

    host: str
    pid: int
    start: int | None  # of the process, since ids are used again

    @classmethod
    def this_process(cls) -> "Holder":
        return cls(socket.gethostname(), os.getpid(), processes.start_time(os.getpid()))

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def mark(self) -> str:
        """The same in a file's name."""
        return f"{self.host}-{self.pid}-{self.start}"


_HOLDER = TypeAdapter(Holder)
_MARK = re.compile(r"(.+)-([0-9]+)-([0-9]+|None)")


@dataclass(frozen=True)
class Lock:
    """A lock that this process holds, or did: another host may take it over from one that stands still."""

    path: Path

    def is_ours(self) -> bool:
        return _holder(self.path) == Holder.this_process()

    def keep(self) -> None:
        """Say that its holder lives. UserError where another host took it over, as this process stood still for
        long."""
        if not self.is_ours():
            raise UserError("another submit has taken over, since this one stood still for long; nothing more was sent")
        self._touch()

    def keep_until(self, ended: threading.Event) -> None:
        """Say so now and then."""
        while not ended.wait(_BEAT_SECONDS):
            with suppress(OSError, UserError):  # `keep` says what is wrong
                if self.is_ours():
                    self._touch()

    def _touch(self) -> None:
        with look.named(self.path):
            os.utime(self.path, follow_symlinks=False)
            with suppress(FileNotFoundError):
                os.utime(self.path)  # earlier versions look at what a symbolic link leads to


@contextmanager
def lock(root: Path, patience: float = 0.0, report: Callable[[str], None] = lambda line: None) -> Iterator[Lock]:
    """One submitter at a time per store. Waits up to `patience` seconds for another; then UserError naming it."""
    held_lock = Lock(make_folder(root / "submissions") / "lock")
    if held_lock.path not in _NOT_GIVEN_BACK or not held_lock.is_ours():
        try:
            _take(held_lock.path, Holder.this_process(), patience, report)
        except OSError:  # it may be there all the same
            _give_back(held_lock)
            raise
    ended = threading.Event()
    keeper = threading.Thread(target=held_lock.keep_until, args=(ended,), daemon=True)
    try:
        with suppress(RuntimeError):  # of a limit of processes: who is quick needs no keeper, and `keep` touches it too
            keeper.start()
        yield held_lock
    finally:
        ended.set()
        if keeper.is_alive():
            keeper.join()
        _give_back(held_lock)


def _give_back(held_lock: Lock) -> None:
    """Where the file system refuses that, the next command finds its holder dead, or to be itself."""
    _NOT_GIVEN_BACK.add(held_lock.path)
    with suppress(OSError):
        if held_lock.is_ours():  # else another host found it stale and holds it now
            remove(held_lock.path)
        _NOT_GIVEN_BACK.discard(held_lock.path)


def _take(path: Path, me: Holder, patience: float, report: Callable[[str], None]) -> None:
    seconds_waited = 0.0
    while not write_once(path, to_json(asdict(me)), me.mark):
        _break_stale(path)
        if write_once(path, to_json(asdict(me)), me.mark):
            return
        holder = _holder(path)
        if holder is None:
            _check_readable(path)
            look.refresh(path.parent)
            if seconds_waited >= max(patience, _NOBODY_SECONDS):
                where = f"{path}: leads to a file that is gone, and" if path.is_symlink() else f"{path}:"
                raise UserError(f"{where} says of no submit that it is at work; if there is none: rm {path}")
            time.sleep(_MOMENT)  # it has just been given back, which may not be seen here yet
            seconds_waited += _MOMENT
            continue
        if seconds_waited >= patience:
            raise UserError(
                f"another submit is at work ({holder}); wait for it, then type the command again."
                f" If it is gone: rm {path}"
            )
        if not seconds_waited:
            report(f"waiting for another submit ({holder}), up to {patience:.0f} s")
        time.sleep(_LOOK_SECONDS)
        seconds_waited += _LOOK_SECONDS


def _holder(path: Path) -> Holder | None:
    """Who holds a lock; None where nobody does, or it says of nobody."""
    holder = records.read(path, _HOLDER)
    if holder is not None:
        return holder
    mark = _MARK.fullmatch(author_of(path) or "")
    return mark and Holder(mark[1], int(mark[2]), None if mark[3] == "None" else int(mark[3]))


def _check_readable(path: Path) -> None:
    try:
        path.open(encoding="utf-8").close()
    except FileNotFoundError:
        return
    except PermissionError:
        words = "another user's submit is at work, or was: ask the file's owner to remove it if it is gone"
        raise UserError(f"{path}: {words}") from None


def _break_stale(path: Path) -> None:
    """Remove a lock whose holder is dead."""
    holder = _holder(path)
    if holder is None or not _is_stale(path, holder):
        return
    # Claimed first, under a name of that lock's own: of several that find it stale, one may remove it, and looks once
    # more while nobody else may. So none can remove the lock that another has made in between.
    claim = path.with_name(f"lock.stale-{holder.mark}")
    if not write_once(claim, to_json(asdict(Holder.this_process()))):
        _remove_left_over(claim)
        return
    try:
        if _holder(path) == holder:
            remove(path)
    finally:
        remove(claim)


def _is_stale(path: Path, holder: Holder) -> bool:
    if holder.host == socket.gethostname():
        return not processes.is_alive(holder.pid, holder.start)
    try:
        return time.time() - _last(path, lambda status: status.st_mtime) > _LOCK_SECONDS
    except FileNotFoundError:
        return False


def _remove_left_over(claim: Path) -> None:
    """Who removes a stale lock needs moments for it: a claim that stays is of one who was killed just then."""
    try:
        if time.time() - _last(claim, lambda status: status.st_ctime) > _CLAIM_SECONDS:
            remove(claim)
    except FileNotFoundError:
        return


def _last(path: Path, time_of: Callable[[os.stat_result], float]) -> float:
    """The later time of what is at `path` and, where that is a symbolic link, of what it leads to (which may be gone).
    FileNotFoundError where there is nothing."""
    try:
        last = time_of(look.status(path))
    except FileNotFoundError:
        last = 0.0
    return max(last, time_of(os.lstat(path)))
