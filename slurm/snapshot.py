"""One look at the queue for all commands that a user has open: asked at most once a minute, kept in the user's cache.

The file `queue.json` there holds the last answer (sealed); `asking.json` names the process that asks; `changed.json`
says when something was sent or cancelled from here, which makes older answers useless. How what left the queue ended:
endings.py.
"""

import json
import time
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path

from slurm import endings, queue, usercache
from slurm.base import UserError
from slurm.base.files import seal, to_json, unseal
from slurm.commands import Refusal
from slurm.queue import QueueEntry
from slurm.usercache import calls

__all__ = ["TRY_EACH", "Snapshot", "calls", "changed", "look", "unanswered"]

TRY_EACH = "`stepstone doctor FILE` tries each of Slurm's commands"
MAX_AGE = 60.0  # seconds
_SILENCE_AGE = 15.0  # how long "Slurm does not answer" is believed, seconds from the end of the wait for an answer
_WAIT = 20.0  # for another command's answer, seconds
_POLL = 0.1
_LATER_FIELDS = ("refusal", "refused_since", "given_up")  # which an older version did not write


@dataclass(frozen=True)
class Snapshot:
    """The user's queue as it was at `taken`. Times in seconds since 1970.

    `stale_since` None: Slurm has answered. Else Slurm was last heard then (or first missed, where it never was), and
    `entries` are None, or old ones that tell what was: then nothing may be concluded from what is not in them.
    `refusal`: squeue's own words, where it does answer, and will not tell; `refused_since`: without a break.
    `given_up`: when no answer was waited for any longer, up to a minute after `taken`.
    """

    entries: list[QueueEntry] | None
    taken: float  # when Slurm was asked
    stale_since: float | None = None
    refusal: str | None = None
    refused_since: float | None = None
    given_up: float | None = None


def look(max_age: float = MAX_AGE) -> Snapshot:
    """The user's queue, at most `max_age` seconds old and not older than what was last changed; 0: ask now.

    Never fails: without a usable cache this process keeps the answer, and where there is none, `stale_since` says so.
    """
    folder = usercache.folder()
    snapshot = _read(folder)
    if snapshot and _is_fresh(snapshot, folder, max_age):
        return snapshot
    if max_age <= 0:
        return _ask_and_keep(folder)
    return _one_asks(folder, max_age)


def unanswered(undone: str) -> UserError:
    """For whoever needs the queue and has none: that Slurm is silent, or the words with which squeue refuses. `undone`:
    such as `nothing was sent`."""
    refusal = look().refusal
    if refusal is None:
        return UserError(f"Slurm does not answer, so what is queued is unknown; try again later, {undone}")
    return UserError(f"squeue refuses ({refusal}), so what is queued is unknown; {undone}. {TRY_EACH}")


def changed() -> None:
    """Note that the queue is not what it was: earlier looks do not count any more. Called after sending, cancelling."""
    usercache.keep(usercache.folder(), "changed.json", to_json(time.time()))


def _one_asks(folder: Path | None, max_age: float) -> Snapshot:
    """Ask, or wait for the answer of a command that does."""
    patience = time.monotonic() + _WAIT
    while True:
        with usercache.asking(folder) as ours:
            snapshot = _read(folder)
            if snapshot and _is_fresh(snapshot, folder, max_age):
                return snapshot  # another one had asked
            if ours:
                return _ask_and_keep(folder)
        if time.monotonic() > patience:
            return _old(snapshot)
        time.sleep(_POLL)


def _old(snapshot: Snapshot | None) -> Snapshot:
    """What is left where whoever asks does not come to an end."""
    if snapshot is None:
        return Snapshot(None, time.time(), time.time())
    return replace(snapshot, stale_since=snapshot.stale_since or snapshot.taken)


def _is_fresh(snapshot: Snapshot, folder: Path | None, max_age: float) -> bool:
    now = time.time()
    known_at, age_limit = snapshot.taken, max_age
    if snapshot.stale_since is not None:
        known_at, age_limit = snapshot.given_up or snapshot.taken, min(max_age, _SILENCE_AGE)
    if not now - age_limit < known_at <= now:  # later than now: another host's clock is ahead, so nothing is known
        return False
    try:
        content = usercache.kept(folder, "changed.json")
        changed_at = None if content is None else json.loads(content)
    except (OSError, ValueError):
        return False
    return changed_at is None or (isinstance(changed_at, float) and snapshot.taken > changed_at)


def _ask_and_keep(folder: Path | None) -> Snapshot:
    before = _read(folder)
    snapshot = _ask(before)
    if snapshot.entries is not None:
        endings.moved((before and before.entries) or [], snapshot.entries)
    newer = _read(folder)
    if newer is None or not snapshot.taken < newer.taken <= time.time():
        usercache.keep(folder, "queue.json", seal(_record(snapshot)))
    return snapshot


def _ask(before: Snapshot | None) -> Snapshot:
    asked_at = time.time()
    refusal: str | None = None
    try:
        entries = queue.squeue()
    except Refusal as words:
        entries, refusal = None, str(words)
    if entries is not None:
        return Snapshot(entries, asked_at)
    since = asked_at if before is None else before.stale_since or before.taken
    # A silence before a refusal is no part of it.
    refused_since = (before and before.refused_since) or asked_at if refusal is not None else None
    return Snapshot(None, asked_at, since, refusal, refused_since, time.time())


def _record(snapshot: Snapshot) -> dict[str, object]:
    rows = None if snapshot.entries is None else [astuple(entry) for entry in snapshot.entries]
    return asdict(replace(snapshot, entries=None)) | {"schema": 1, "entries": rows}


def _read(folder: Path | None) -> Snapshot | None:
    try:
        record = unseal(usercache.kept(folder, "queue.json") or b"")
        if record is None or record["schema"] != 1:
            return None
        rows = record["entries"]
        entries = None if rows is None else [QueueEntry(*row) for row in rows]
        return Snapshot(entries, record["taken"], record["stale_since"], *map(record.get, _LATER_FIELDS))
    except (OSError, KeyError, TypeError):
        return None  # written by another version
