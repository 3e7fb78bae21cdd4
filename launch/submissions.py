"""Submissions: what was sent, known from disk. An intent before, a receipt per array after; adoption in between.

submissions/<time>-<id>/  intent.json  manifest-<n>.json  receipt-<n>.json  logs/<n>/  local/
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from slurm import local, processes, queue
from slurm.errors import UserError
from slurm.files import make_folder, read_json, to_json, write_atomic, write_once

_LOCK_SECONDS = 900  # another host's lock that was not touched for so long is left over


@dataclass(frozen=True)
class Location:
    """Where a stage was last sent."""

    submission: "Submission"
    array: int
    index: int

    @property
    def job(self) -> str | None:
        """The array's job id; None before its receipt and for local workers."""
        receipt = self.submission.receipt(self.array)
        return receipt.get("job") if receipt else None


@dataclass(frozen=True)
class Submission:
    """One act of sending."""

    folder: Path

    @cached_property
    def intent(self) -> dict[str, Any]:
        """What was to be sent; empty where the submitter died before it said so: then nothing was."""
        found: dict[str, Any] = read_json(self.folder / "intent.json") or {}
        return found

    @property
    def arrays(self) -> list[dict[str, Any]]:
        return list(self.intent.get("arrays", []))

    def receipt(self, array: int) -> dict[str, Any] | None:
        """What became of an array: {"job": id}, {"refused": words}, {"lost": true}; None: not known yet."""
        found: dict[str, Any] | None = read_json(self.folder / f"receipt-{array}.json")
        return found

    def write_receipt(self, array: int, receipt: dict[str, Any]) -> None:
        write_once(self.folder / f"receipt-{array}.json", to_json(receipt | {"time": time.time()}))

    def manifest(self, array: int) -> Path:
        return self.folder / f"manifest-{array}.json"

    def logs(self, array: int) -> Path:
        return self.folder / "logs" / str(array)

    @property
    def is_local(self) -> bool:
        return self.intent.get("executor") == "local"

    def local_element(self, array: int, index: int) -> int:
        """The number of an element in the local run, which has no arrays."""
        before = sum(len(entry["elements"]) for entry in self.arrays[:array])
        return before + sorted(int(i) for i in self.arrays[array]["elements"]).index(index)

    def local_state(self, array: int, index: int) -> str:
        return local.element_state(self.folder / "local", self.local_element(array, index))


def read_all(root: Path) -> list[Submission]:
    """Every submission in a store, the oldest first."""
    try:
        names = sorted(name for name in os.listdir(root / "submissions") if not name.startswith((".", "lock")))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [Submission(root / "submissions" / name) for name in names]


def locate(submissions: list[Submission]) -> dict[str, Location]:
    """By stage key: where it was last sent. Arrays that were refused or lost do not count."""
    found: dict[str, Location] = {}
    for submission in submissions:
        for number, array in enumerate(submission.arrays):
            receipt = submission.receipt(number)
            if receipt is not None and ("refused" in receipt or "lost" in receipt):
                continue
            for index, keys in array["elements"].items():
                found |= {key: Location(submission, number, int(index)) for key in keys}
    return found


def adopt(submissions: list[Submission], entries: list[queue.QueueEntry] | None) -> list[str]:
    """Settle arrays whose submitter died between intent and receipt: find them by name, or note that they never left.

    Call it under `lock`, so that no submitter is at work. Returns a line for each array that was settled.
    """
    lines = []
    for submission in submissions:
        for number, array in enumerate(submission.arrays):
            if submission.receipt(number) is not None:
                continue
            if submission.is_local:
                started = (submission.folder / "local" / "workers.json").exists()
                submission.write_receipt(number, {"local": True} if started else {"lost": True})
                continue
            lines.append(_adopt_array(submission, number, array["name"], entries))
    return lines


def _adopt_array(submission: Submission, number: int, name: str, entries: list[queue.QueueEntry] | None) -> str:
    if entries is None:
        raise UserError(
            "Slurm does not answer, and an earlier submission is unsettled; try again later, nothing was sent"
        )
    jobs = {entry.job for entry in entries if entry.name == name}
    jobs |= set(queue.named_in_accounting(name, submission.intent["since"]) or [])
    if not jobs:
        submission.write_receipt(number, {"lost": True})
        return f"array {name} was never sent"
    job = min(jobs, key=int)
    submission.write_receipt(number, {"job": job, "adopted": True})
    return f"array {name} was sent as job {job}: adopted"


@contextmanager
def lock(root: Path) -> Iterator[Path]:
    """One submitter at a time per store. UserError naming the other one where it lives."""
    folder = make_folder(root / "submissions")
    path = folder / "lock"
    me = {"host": socket.gethostname(), "pid": os.getpid(), "start": processes.start_time(os.getpid())}
    if not write_once(path, to_json(me)):
        _break_stale(path)
        if not write_once(path, to_json(me)):
            other = read_json(path) or {}
            raise UserError(
                f"another submit is at work (process {other.get('pid')} on {other.get('host')}); "
                f"wait for it, then type the command again. If it is gone: rm {path}"
            )
    try:
        yield path
    finally:
        if read_json(path) == me:  # else another host found it stale and holds it now
            path.unlink(missing_ok=True)


def _break_stale(path: Path) -> None:
    other = read_json(path)
    if other is None:
        return
    if other["host"] == socket.gethostname():
        stale = not processes.is_alive(other["pid"], other["start"])
    else:
        stale = time.time() - path.stat().st_mtime > _LOCK_SECONDS
    if stale:
        # Linked first, under a name of its own: of several that find it stale, one may remove it, and none can remove
        # the lock that another has made in between.
        claim = path.with_name(f"lock.stale-{other['host']}-{other['pid']}-{other['start']}")
        try:
            os.link(path, claim)
        except (FileExistsError, FileNotFoundError):
            return
        if read_json(claim) == other:
            path.unlink(missing_ok=True)
        claim.unlink()


def new_folder(root: Path) -> tuple[Submission, str]:
    """Make an empty submission and its id of eight hex digits, which travels in its jobs' names."""
    identifier = os.urandom(4).hex()
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S.%f")  # names sort by time, also when clocks go back an hour
    folder = make_folder(root / "submissions" / f"{stamp}-{identifier}")
    return Submission(folder), identifier


def write_intent(submission: Submission, intent: dict[str, Any]) -> None:
    """Say durably what is about to be sent."""
    write_atomic(submission.folder / "intent.json", to_json(intent))
    submission.__dict__.pop("intent", None)
