"""What became of a stage's attempts: each failure with its cause, from the attempts' notes and from accounting."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from launch.executors import ElementStart
from launch.plan import Stage
from launch.store import Store, attempts, times, usage
from launch.store.attempts import Attempt, Beat, EndNote, Starter
from launch.store.times import StageTimes
from launch.store.usage import Usage
from launch.text import moment
from slurm import causes, rlimits
from slurm.base import look
from slurm.base.files import make_folder, read_sealed, seal, write_once
from slurm.causes import CAUSES, Cause, EndedLike, Verdict
from slurm.granted import Granted


@dataclass(frozen=True)
class Failure:
    """How one attempt ended, unless well."""

    cause: Cause
    evidence: str  # one line
    attempt: int  # 0: its job ended before an attempt began
    job: str | None  # `123_4`; None: a local process, or not known
    time: float  # epoch seconds, as near as is known
    node: str | None = None
    further: bool = False  # it got further than the attempts before it


@dataclass(frozen=True)
class EndedElement:
    """The element that last ran a stage, where it is over."""

    log: str  # the end of it
    ended: EndedLike | None = None  # as accounting says; None: not known
    job: str | None = None  # `123_4`; None: a local process
    sent: float = 0.0  # Unix time
    node: str | None = None  # that it ran on, as accounting says
    reached: bool = True  # the stage; False: it ended at an earlier stage of its own, which is no failure of this one

    @property
    def element(self) -> ElementStart:
        return ElementStart(self.job, self.sent)


@dataclass(frozen=True)
class AttemptNotes:
    """What one attempt left on the disk, read once; of most attempts the rarer notes are never asked for."""

    attempt: Attempt
    starter: Starter
    end: EndNote | None  # None: it runs, or was killed

    @classmethod
    def read(cls, attempt: Attempt) -> "AttemptNotes":
        return cls(attempt, attempts.starter_of(attempt), attempts.end_of(attempt))

    @property
    def number(self) -> int:
        return self.attempt.number

    @cached_property
    def beat(self) -> Beat:
        """The last one."""
        return attempts.beat_of(self.attempt)

    @cached_property
    def step(self) -> int:
        """Of its newest checkpoint with a manifest; 0: none."""
        return _checkpoint_step(self.attempt)

    @property
    def job(self) -> str | None:
        return self.starter.job

    @property
    def node(self) -> str | None:
        """Slurm's name of the node; a local process has none."""
        return (self.starter.node or self.starter.host) if self.job else None

    @property
    def last_sign(self) -> float:
        """When it was last heard of (Unix time)."""
        return self.end.time if self.end else self.beat.time or self.starter.time or 0.0

    @property
    def seconds(self) -> float:
        """From its beginning to its last sign of life."""
        return max(0.0, self.last_sign - self.starter.time) if self.starter.time is not None else 0.0

    @property
    def languages(self) -> int:
        """Of an evaluate: how many it published, which no later attempt does again."""
        return self.beat.step if self.beat.language is not None else 0


@dataclass(frozen=True)
class TriedOnce:
    """One attempt, or a job that ended before it began one (number 0), as people and programs are told."""

    attempt: int
    job: str | None
    node: str | None
    began: float | None  # Unix time
    ended: float | None
    cause: Cause | None
    evidence: str | None
    times: StageTimes | None = None  # where its time went, as it noted
    usage: Usage | None = None  # what it used
    granted: Granted | None = None  # what its processes had


def last(store: Store, stage: Stage, over: EndedElement) -> Failure | None:
    """How a stage failed last; None where its last attempt ended well."""
    if not store.exists(stage):
        return _before_any(over) if over.reached else None
    folder = store.stage_folder(stage.folder)
    failures = failures_of(folder, over)
    numbers = [attempt.number for attempt in attempts.attempts_of(folder)]
    return failures[-1] if failures and failures[-1].attempt in (0, *numbers[-1:]) else None


def failures_of(
    stage_folder: Path, over: EndedElement | None = None, every: Sequence[AttemptNotes] | None = None
) -> list[Failure]:
    """Every failed attempt of a stage, the oldest first. over: None while an element is at it; then a last attempt that
    noted no end counts as running. every: what `notes_of` gives, where the caller has it."""
    every = notes_of(stage_folder) if every is None else every
    settled_failures = _settled(stage_folder)
    failures = _without_attempt(settled_failures, 0)
    furthest = 0  # step of a checkpoint
    for notes, later in zip(every, [*every[1:], None], strict=False):
        # How a job ended, it says of its last start: earlier ones were stopped, and it was queued again.
        is_last_start = later is None or later.job != notes.job
        element_is_over = over is not None and is_last_start and over.element.has_begun(notes.starter)
        case = _Case(
            notes, later, over if element_is_over else None, settled_failures, nobody_is_at_it=over is not None
        )
        verdict = case.verdict()
        if verdict is not None:
            further = notes.step > furthest or notes.languages > 0
            failures.append(
                Failure(verdict.cause, verdict.evidence, notes.number, notes.job, notes.last_sign, notes.node, further)
            )
        furthest = max(furthest, notes.step) if later is not None else furthest
        failures += _without_attempt(settled_failures, notes.number)
    if over is not None and over.reached and not (every and over.element.has_begun(every[-1].starter)):
        failure = _before_any(over)
        if _settled_name(failure) not in {_settled_name(before) for before in failures if not before.attempt}:
            failures.append(failure)
    return failures


def began(stage_folder: Path, element: ElementStart) -> bool:
    """Whether the last attempt at a stage is an element's."""
    every = attempts.attempts_of(stage_folder)
    return bool(every) and element.has_begun(attempts.starter_of(every[-1]))


def has_attempt_of(stage_folder: Path, element: ElementStart, until: float) -> bool:
    """Whether any attempt at a stage is an element's, and began before a time (Unix)."""
    starters = (attempts.starter_of(attempt) for attempt in attempts.attempts_of(stage_folder))
    return any(element.has_begun(starter) and (starter.time or 0.0) < until for starter in starters)


def noted_its_end(stage_folder: Path, element: ElementStart) -> bool:
    """Whether that attempt said itself how it ended."""
    return began(stage_folder, element) and attempts.end_of(attempts.attempts_of(stage_folder)[-1]) is not None


def settle(stage_folder: Path, failure: Failure) -> None:
    """Keep what only Slurm and the logs say of a stage's last failure, before it is sent again: both may forget it, and
    the later attempt's job cannot ask. Nothing where the attempt has noted its end itself."""
    every = attempts.attempts_of(stage_folder)
    if any(a.number == failure.attempt and attempts.end_of(a) is not None for a in every):
        return
    after = failure.attempt or (every[-1].number if every else 0)
    folder = make_folder(stage_folder / "failures")
    write_once(folder / f"{after:04d}-{_settled_name(failure)}.json", seal(asdict(failure) | {"after": after}))


def _settled_name(failure: Failure) -> str:
    """Tells the failures apart that happened after the same attempt. A local run is known by when it was sent."""
    return failure.job or ("local" if failure.attempt else f"local-{failure.time * 1000:.0f}")


def tries(stage_folder: Path, failures: list[Failure] | None = None) -> list[TriedOnce]:
    """What was tried, the oldest first.

    `failures`: as `failures_of` says them, where the caller knows more of the last job's end.
    """
    failures = failures_of(stage_folder) if failures is None else failures
    by_number = {failure.attempt: failure for failure in failures if failure.attempt}
    of_attempts = [_tried(notes, by_number.get(notes.number)) for notes in notes_of(stage_folder)]
    without = [
        TriedOnce(0, failure.job, failure.node, None, failure.time, failure.cause, failure.evidence)
        for failure in failures if not failure.attempt
    ]  # fmt: skip
    return sorted([*of_attempts, *without], key=lambda one_try: one_try.began or one_try.ended or 0.0)


def records(stage_folder: Path, failures: list[Failure] | None = None) -> list[dict[str, Any]]:
    """`tries` as JSON records; without `times`, `usage` and `granted` where nobody noted them."""
    records_of_tries = [asdict(one_try) for one_try in tries(stage_folder, failures)]
    return [
        {name: value for name, value in record.items() if name not in ("times", "usage", "granted") or value}
        for record in records_of_tries
    ]


def lines(stage_folder: Path, failures: list[Failure] | None = None) -> list[str]:
    """The same for people: number, job, node, when it began and ended, how; where its time went, what it
    used and had."""
    told_lines: list[str] = []
    for one_try in tries(stage_folder, failures):
        told_lines.append(_line(one_try))
        if one_try.times is not None:
            told_lines.append(f"  {one_try.times.line()}")
        if one_try.usage is not None:
            told_lines.append(f"  {one_try.usage.line()}")
        if one_try.granted is not None:
            told_lines.append(f"  {one_try.granted.line()}")
            told_lines += [f"  warning: {line}" for line in one_try.granted.short_of]
    return told_lines


# --- how an attempt failed


@dataclass(frozen=True)
class _Case:
    """One attempt, and all who may say how it failed."""

    notes: AttemptNotes
    later: AttemptNotes | None  # the attempt after it
    over: EndedElement | None  # its own element, where that is over and this was its last start
    settled: list[tuple[int, Failure]]
    nobody_is_at_it: bool

    def verdict(self) -> Verdict | None:
        """How it failed, by the first who knows; None where it did not fail, or runs."""
        if self.notes.end is not None and self.notes.end.failure is None:
            return None
        witnesses = (self._itself, self._settled, self._later_start, self._slurm_and_its_log, self._nobody)
        return next((verdict for witness in witnesses if (verdict := witness()) is not None), None)

    def _itself(self) -> Verdict | None:
        """Its own last words; but who stopped it with a signal, and for what, accounting knows better."""
        failure = self.notes.end.failure if self.notes.end else None
        if failure is None:
            return None
        cause, message = _cause(failure.cause), causes.one_line(failure.message)
        if cause in ("unknown", "time", "preempted"):
            said_by_slurm = causes.classify(self._ended, message, "")
            return said_by_slurm if said_by_slurm.cause != "unknown" else Verdict(cause, message)
        if cause == "nccl":  # all that the others see of a rank that the kernel or a dying node ended
            said_by_slurm = causes.classify(self._ended, None, "")
            return said_by_slurm if said_by_slurm.cause in ("host-oom", "node") else Verdict(cause, message)
        return Verdict(cause, message)

    def _settled(self) -> Verdict | None:
        """What was kept of it before the stage was sent again."""
        failures = (failure for _, failure in self.settled if failure.attempt == self.notes.number)
        return next((Verdict(failure.cause, failure.evidence) for failure in failures), None)

    def _later_start(self) -> Verdict | None:
        """What the next start of the same job learnt of it."""
        before = self.later.starter.before if self.later else None
        if before is None or before.attempt != self.notes.number:
            return None
        return Verdict(_cause(before.cause), causes.one_line(before.message))

    def _slurm_and_its_log(self) -> Verdict | None:
        """What accounting says, and of a last attempt its log: of earlier ones the log may be another's."""
        if self.over is None or (self.later is not None and not self._ended):
            return None
        verdict = causes.classify(self._ended, None, self.over.log if self.later is None else "")
        return rlimits.blamed(verdict, self.notes.starter.limits)

    def _nobody(self) -> Verdict | None:
        """It is over, and nobody knows why."""
        return Verdict("unknown", "it was killed") if self.later is not None or self.nobody_is_at_it else None

    @property
    def _ended(self) -> EndedLike | None:
        return self.over.ended if self.over is not None else None


def _cause(word: str) -> Cause:
    return word if word in CAUSES else "unknown"


def _before_any(over: EndedElement) -> Failure:
    """Of an element that ended before it began an attempt at the stage. What tells local runs apart is when each was
    sent: it stays the same from look to look."""
    verdict = rlimits.blamed(causes.classify(over.ended, None, over.log), rlimits.in_log(over.log))
    when = time.time() if over.job else over.sent
    return Failure(verdict.cause, verdict.evidence, 0, over.job, when, over.node)


# --- what lies on the disk


def notes_of(stage_folder: Path) -> list[AttemptNotes]:
    """What every attempt at a stage left, the oldest first."""
    return [AttemptNotes.read(attempt) for attempt in attempts.attempts_of(stage_folder)]


def _settled(stage_folder: Path) -> list[tuple[int, Failure]]:
    """What was settled: after which attempt, and the failure."""
    try:
        names = [name for name in look.names(stage_folder / "failures") if not name.startswith(".")]
    except (FileNotFoundError, PermissionError):
        return []
    records = [record for name in names if (record := read_sealed(stage_folder / "failures" / name))]
    failures = [(record.pop("after"), Failure(**record)) for record in records]
    return sorted(failures, key=lambda pair: (pair[0], pair[1].time))


def _without_attempt(settled_failures: list[tuple[int, Failure]], number: int) -> list[Failure]:
    """Of jobs that ended before they began an attempt, those after a certain one."""
    return [failure for after, failure in settled_failures if after == number and not failure.attempt]


def _checkpoint_step(attempt: Attempt) -> int:
    """The step of the newest checkpoint with a manifest."""
    manifests = (attempt.folder / "checkpoints").glob("step-*/manifest.json")
    steps = [path.parent.name.removeprefix("step-") for path in manifests]
    return max((int(step) for step in steps if step.isdigit()), default=0)


# --- as it is told


def _tried(notes: AttemptNotes, failure: Failure | None) -> TriedOnce:
    end = notes.end.time if notes.end else failure.time if failure else None
    node, when = notes.node or notes.starter.host, notes.starter.time
    cause, evidence = (failure.cause, failure.evidence) if failure else (None, None)
    stage_times, stage_usage = times.of_attempt(notes.attempt), usage.of_attempt(notes.attempt)
    process = notes.starter.granted
    return TriedOnce(notes.number, notes.job, node, when, end, cause, evidence, stage_times, stage_usage, process)


def _line(one_try: TriedOnce) -> str:
    if one_try.attempt:
        where = f"job {one_try.job} on {one_try.node}" if one_try.job else f"local on {one_try.node}"
        sentence = f"attempt {one_try.attempt}: {where}, {moment(one_try.began)} to {moment(one_try.ended)}"
    else:
        sentence = f"no attempt: job {one_try.job or 'local'} ended {moment(one_try.ended)} before it began one"
    how = f"{one_try.cause}: {one_try.evidence}" if one_try.cause else "ended well" if one_try.ended else None
    return f"{sentence}, {how or 'no end noted'}"
