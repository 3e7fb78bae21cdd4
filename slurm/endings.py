"""How elements that left the queue ended: asked of accounting once for all commands, kept in the user's cache.

`accounting/ended.json` there (sealed) holds the records of elements that are over, and when what has no record was
asked for; `asking.json` names the process that asks. A record stays until its element is in the queue again or began
once more. Of what has none, accounting is asked again after a minute, and less often later: for a minute from when it
was sent or left the queue the record counts as on its way, unless the cluster keeps no accounts.
"""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import astuple, dataclass, field
from operator import attrgetter
from pathlib import Path

from slurm import accounting, usercache
from slurm.accounting import Ended, NoAccounting
from slurm.base import UserError
from slurm.base.files import make_folder, seal, unseal
from slurm.commands import Refusal
from slurm.queue import QueueEntry

MAX_AGE = 60.0  # seconds
_WAIT = 20.0  # for another command's answer, seconds
_POLL = 0.1
_LATE = 600.0  # how long accounting may call an element running that has left the queue, seconds
_FAIR = 60.0  # how long accounting may take for its record of an element that was sent, or left the queue, seconds
_CATCHES_UP = 120.0  # slurmctld hands in what it kept while slurmdbd was silent, seconds
_GIVEN_UP = 86400.0  # who has been silent for a day is not waited for
_VANISHED = 600.0  # how long an element is asked for that another command may want to know of, seconds
_WHOLE = 20  # elements of an array; of more, all of it is asked for
_KEPT = 20_000  # records, the newest
_KEPT_SECONDS = 30 * 86400.0


@dataclass(frozen=True)
class ElementId:
    """One element of an array. Slurm uses its ids again; names are not used twice."""

    job: str
    index: int
    name: str


@dataclass(frozen=True)
class Course:
    """What is known of an element before accounting is asked."""

    starts: int = 0  # how often it was seen to begin
    sent: float = 0.0  # Unix time; 0: long ago


@dataclass(frozen=True)
class Endings:
    """What is known of some elements. Those in none of the three have no record. Times in seconds since 1970."""

    records: dict[ElementId, Ended]
    silent: dict[ElementId, float]  # accounting does not answer, since
    late: dict[ElementId, float]  # the record is on its way, as it seems, since
    refusal: str | None = None  # sacct's words, where it is silent because it will not tell


@dataclass(frozen=True)
class _KeptEnding:
    ended: Ended
    starts: int | None  # how often it had begun then; None: whoever asked did not know
    taken: float


@dataclass(frozen=True)
class _NoRecord:
    """An element that accounting has no last record of."""

    starts: int | None
    first: float  # when that was first said
    last: float
    running: bool  # it is said to run
    seen: float = 0.0  # when it was last known to be sent, or to leave the queue


@dataclass
class _Memory:
    """The file's content."""

    records: dict[ElementId, _KeptEnding] = field(default_factory=dict)
    missing: dict[ElementId, _NoRecord] = field(default_factory=dict)
    vanished: dict[ElementId, float] = field(default_factory=dict)  # from the queue, and nobody asked yet
    silent_since: float | None = None
    tried: float = 0.0  # when it was last silent
    back: float = 0.0  # when it answered again
    keeps_none: bool = False  # the cluster has no accounting
    refusal: str | None = None  # its words, where that is why

    def record(self, element: ElementId, starts: int) -> Ended | None:
        """Of the last start that the caller knows of."""
        record = self.records.get(element)
        return record.ended if record and (record.starts is None or record.starts >= starts) else None

    def without(self, element: ElementId, starts: int) -> _NoRecord | None:
        missing = self.missing.get(element)
        return missing if missing and (missing.starts is None or missing.starts >= starts) else None

    def is_late(self, missing: _NoRecord, now: float) -> bool:
        catches_up = missing.first >= self.back and 0 <= now - self.back < _CATCHES_UP
        # Another login node, whose clock may be ahead, sent it.
        just_seen = not self.keeps_none and abs(now - missing.seen) < _FAIR
        return catches_up or just_seen or (missing.running and 0 <= now - missing.first < _LATE)

    def to_ask(self, element: ElementId, starts: int, max_age: float) -> bool:
        if self.record(element, starts):
            return False
        now, missing = time.time(), self.without(element, starts)
        last = max(missing.last if missing else 0.0, self.tried if self.silent_since is not None else 0.0)
        patience = max_age
        is_late = missing is not None and self.is_late(missing, now)
        if missing and not is_late and self.is_late(missing, last):
            return True  # that it has none is said by an answer from after its fair time alone
        if missing and max_age and not is_late:
            patience = max(max_age, (missing.last - missing.first) / 2)
        return not 0 <= now - last < patience

    def endings(self, elements: Mapping[ElementId, Course]) -> Endings:
        now = time.time()
        endings = Endings({}, {}, {}, self.refusal)
        silent_since = self.silent_since
        if silent_since is not None and now - silent_since > _GIVEN_UP:
            silent_since = None
        for element, course in elements.items():
            record, missing = self.record(element, course.starts), self.without(element, course.starts)
            if record:
                endings.records[element] = record
            elif silent_since is not None and not (missing and not self.is_late(missing, missing.last)):
                endings.silent[element] = silent_since
            elif missing and self.is_late(missing, now):
                endings.late[element] = missing.first
        return endings


def look(elements: Mapping[ElementId, Course], max_age: float = MAX_AGE) -> Endings:
    """How elements ended that are not in the queue (any more). A record from before an element's last start is none.

    Never fails. One sacct at most, which other commands share; `max_age`: how old, in seconds, may be that accounting
    had no record or did not answer; 0: ask now.
    """
    folder = _folder()
    patience = time.monotonic() + _WAIT
    while _open(memory := _read(folder), elements, max_age):
        with usercache.asking(folder) as ours:
            if ours or max_age <= 0:
                return _ask(folder, elements, max_age).endings(elements)
        if time.monotonic() > patience:
            memory.silent_since = memory.silent_since or time.time()
            return memory.endings(elements)
        time.sleep(_POLL)
    _own(folder, memory, elements)
    return memory.endings(elements)


def moved(before: Iterable[QueueEntry], after: Iterable[QueueEntry]) -> None:
    """Note what two looks at the queue, one after the other, say: what is in it has not ended; what left it may soon
    be asked for, by whichever command."""
    folder = _folder()
    then, now = _elements(before), _elements(after)
    memory = _read(folder)
    remembered_elements = memory.records.keys() | memory.missing.keys() | memory.vanished.keys()
    if not then - now and not remembered_elements & now:
        return
    for element in remembered_elements & now:
        for notes in (memory.records, memory.missing, memory.vanished):
            notes.pop(element, None)
    memory.vanished |= dict.fromkeys(then - now, time.time())
    _write(folder, memory)


def _elements(entries: Iterable[QueueEntry]) -> set[ElementId]:
    return {ElementId(entry.job, entry.index, entry.name) for entry in entries if entry.index is not None}


def _open(memory: _Memory, elements: Mapping[ElementId, Course], max_age: float) -> dict[ElementId, Course | None]:
    return {element: course for element, course in elements.items() if memory.to_ask(element, course.starts, max_age)}


def _ask(folder: Path | None, elements: Mapping[ElementId, Course], max_age: float) -> _Memory:
    """Ask for what is open, and in the same breath for what others may want to know, as far as one command holds it."""
    memory = _read(folder)
    questions = _open(memory, elements, max_age)
    if not questions:
        return memory  # another one had asked
    now, ids = time.time(), set(ids_for_sacct(questions))
    for element, when in memory.vanished.items():
        if element not in questions and 0 <= now - when < _VANISHED and len(ids) < accounting.ASKED_AT_ONCE:
            ids.add(f"{element.job}_{element.index}")
            questions[element] = None
    answer = _asked(ids)
    memory = _read(folder)  # with what was noted meanwhile
    _learn(memory, questions, answer, now)
    _write(folder, memory)
    return memory


def ids_for_sacct(elements: Collection[ElementId]) -> list[str]:
    """What sacct is given: arrays of which much is wanted whole, since a command line is short."""
    counts = Counter(element.job for element in elements)
    return list(dict.fromkeys(e.job if counts[e.job] > _WHOLE else f"{e.job}_{e.index}" for e in elements))


@dataclass(frozen=True)
class _Answer:
    """What accounting says of some elements."""

    records: dict[tuple[str, int], Ended] | None  # None: it does not answer
    refusal: str | None = None  # its words, where that is why
    keeps_none: bool = False


def _asked(ids: set[str]) -> _Answer:
    try:
        return _Answer(accounting.ended(ids))
    except Refusal as words:
        return _Answer(None, str(words))
    except NoAccounting:
        return _Answer({}, keeps_none=True)


def _learn(memory: _Memory, questions: Mapping[ElementId, Course | None], answer: _Answer, now: float) -> None:
    """Keep what accounting said."""
    memory.refusal = answer.refusal
    if answer.records is None:
        memory.silent_since, memory.tried = memory.silent_since or now, time.time()
        return
    memory.keeps_none = answer.keeps_none
    if memory.silent_since is not None:
        memory.silent_since, memory.back = None, now
    for element, course in questions.items():
        left_at = memory.vanished.pop(element, 0.0)
        starts = None if course is None else course.starts
        ending = answer.records.get((element.job, element.index))
        same_name = ending is not None and ending.name == element.name
        if ending is not None and same_name and ending.phase == "ended":
            memory.missing.pop(element, None)
            # That one ended well, its own folder says; whoever finds nothing there asks for it.
            if starts is not None or ending.state != "COMPLETED":
                memory.records[element] = _KeptEnding(ending, starts, now)
        else:
            before = memory.without(element, starts or 0)
            running = ending is not None and same_name and ending.phase == "running"
            last_seen = max(left_at, course.sent if course else 0.0, before.seen if before else 0.0)
            memory.missing[element] = _NoRecord(starts, before.first if before else now, now, running, last_seen)


def _own(folder: Path | None, memory: _Memory, elements: Mapping[ElementId, Course]) -> None:
    """Note how often an element had begun, where its record was fetched by a command that did not know."""
    without_starts = [e for e in elements if (record := memory.records.get(e)) is not None and record.starts is None]
    for element in without_starts:
        record = memory.records[element]
        memory.records[element] = _KeptEnding(record.ended, elements[element].starts, record.taken)
    if without_starts:
        _write(folder, memory)


def _folder() -> Path | None:
    base = usercache.folder()
    try:
        return make_folder(base / "accounting") if base else None
    except UserError:
        return None


def _read(folder: Path | None) -> _Memory:
    try:
        content = unseal(usercache.kept(folder, "ended.json") or b"")
        if content is None or content["schema"] != 2:
            return _Memory()
        return _Memory(
            {ElementId(ending.job, ending.index, ending.name): _KeptEnding(ending, starts, taken_at)
             for *row, starts, taken_at in content["records"] if (ending := Ended(*row))},
            {ElementId(*row[:3]): _NoRecord(*row[3:]) for row in content["missing"]},
            {ElementId(*row): when for *row, when in content["vanished"]},
            content["silent_since"], content["tried"], content["back"],
            content.get("keeps_none", False), content.get("refusal"),
        )  # fmt: skip
    except (OSError, KeyError, TypeError, ValueError):
        return _Memory()  # written by another version


def _write(folder: Path | None, memory: _Memory) -> None:
    now = time.time()
    records = sorted(memory.records.values(), key=attrgetter("taken"))[-_KEPT:]
    missing = sorted(memory.missing.items(), key=lambda item: item[1].last)[-_KEPT:]
    left_the_queue = sorted(memory.vanished.items(), key=lambda item: item[1])[-_KEPT:]
    content = {
        "schema": 2,
        "records": [[*astuple(r.ended), r.starts, r.taken] for r in records if now - r.taken < _KEPT_SECONDS],
        "missing": [[*astuple(element), *astuple(m)] for element, m in missing if now - m.last < _KEPT_SECONDS],
        "vanished": [[*astuple(element), when] for element, when in left_the_queue if now - when < _VANISHED],
        "silent_since": memory.silent_since, "tried": memory.tried, "back": memory.back,
        "keeps_none": memory.keeps_none, "refusal": memory.refusal,
    }  # fmt: skip
    usercache.keep(folder, "ended.json", seal(content))
