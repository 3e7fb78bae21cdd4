"""What became of a stage's attempts: each failure with its cause, from the attempts' notes and from accounting."""

import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from launch.plan import Stage
from launch.store import Store, attempts
from launch.store.attempts import Attempt
from slurm import causes
from slurm.base.files import make_folder, read_json, read_sealed, seal, write_once
from slurm.causes import CAUSES, Cause, EndedLike, Verdict


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


def last(store: Store, stage: Stage, over: EndedElement) -> Failure | None:
    """How a stage failed last; None where its last attempt ended well."""
    if not store.exists(stage):
        return _before_any(over) if over.reached else None
    folder = store.stage_folder(stage.folder)
    found = failures_of(folder, over)
    made = attempts.attempts_of(folder)
    return found[-1] if found and found[-1].attempt in (0, made[-1].number if made else 0) else None


def failures_of(stage_folder: Path, over: EndedElement | None = None) -> list[Failure]:
    """Every failed attempt of a stage, the oldest first. over: None while an element is at it; then a last attempt that
    noted no end counts as running."""
    made = attempts.attempts_of(stage_folder)
    settled = _settled(stage_folder)
    found = _without_attempt(settled, 0)
    reached = 0
    for attempt, later in zip(made, [*made[1:], None], strict=False):
        starter = attempts.starter_of(attempt)
        # How a job ended, it says of its last start: earlier ones were stopped, and it was queued again.
        is_last = later is None or attempts.starter_of(later).get("job") != starter.get("job")
        own = over if over is not None and is_last and is_of(over, starter) else None
        verdict = _verdict(attempt, later, own, settled, gone=over is not None)
        step = _checkpoint_step(attempt)
        if verdict is not None:
            further = step > reached or _languages_done(attempt) > 0
            found.append(_failure(attempt, starter, verdict, further=further))
        reached = max(reached, step)
        found += _without_attempt(settled, attempt.number)
    if over is not None and over.reached and not began(stage_folder, over):
        failure = _before_any(over)
        if not any(_settled_name(failure) == _settled_name(known) for known in found if not known.attempt):
            found.append(failure)
    return found


def began(stage_folder: Path, over: EndedElement) -> bool:
    """Whether the last attempt at a stage is an element's."""
    made = attempts.attempts_of(stage_folder)
    return bool(made) and is_of(over, attempts.starter_of(made[-1]))


def has_attempt_of(stage_folder: Path, over: EndedElement, until: float) -> bool:
    """Whether any attempt at a stage is an element's, and began before a time (Unix)."""
    starters = (attempts.starter_of(attempt) for attempt in attempts.attempts_of(stage_folder))
    return any(is_of(over, starter) and starter.get("time", 0.0) < until for starter in starters)


def noted_its_end(stage_folder: Path, over: EndedElement) -> bool:
    """Whether that attempt said itself how it ended."""
    return began(stage_folder, over) and attempts.end_of(attempts.attempts_of(stage_folder)[-1]) is not None


def settle(stage_folder: Path, failure: Failure) -> None:
    """Keep what only Slurm and the logs say of a stage's last failure, before it is sent again: both may forget it, and
    the later attempt's job cannot ask. Nothing where the attempt has noted its end itself."""
    made = attempts.attempts_of(stage_folder)
    if any(a.number == failure.attempt and attempts.end_of(a) is not None for a in made):
        return
    after = failure.attempt or (made[-1].number if made else 0)
    folder = make_folder(stage_folder / "failures")
    write_once(folder / f"{after:04d}-{_settled_name(failure)}.json", seal(asdict(failure) | {"after": after}))


def _settled_name(failure: Failure) -> str:
    """Tells the failures apart that happened after the same attempt. A local run is known by when it was sent."""
    return failure.job or ("local" if failure.attempt else f"local-{failure.time * 1000:.0f}")


def records(stage_folder: Path, failures: list[Failure] | None = None) -> list[dict[str, Any]]:
    """What was tried, the oldest first, as JSON records; number 0: a job that ended before it began an attempt.

    `failures`: as `failures_of` finds them, where the caller knows more of the last job's end.
    """
    failures = failures_of(stage_folder) if failures is None else failures
    by_number = {failure.attempt: failure for failure in failures if failure.attempt}
    found = [_record(attempt, by_number.get(attempt.number)) for attempt in attempts.attempts_of(stage_folder)]
    found += [
        {"attempt": 0, "job": failure.job, "node": failure.node, "began": None, "ended": failure.time,
         "cause": failure.cause, "evidence": failure.evidence}
        for failure in failures if not failure.attempt
    ]  # fmt: skip
    return sorted(found, key=lambda record: record["began"] or record["ended"] or 0.0)


def lines(stage_folder: Path, failures: list[Failure] | None = None) -> list[str]:
    """The same for people: number, job, node, when it began and ended, how."""
    return [_line(record) for record in records(stage_folder, failures)]


def before_record(verdict: Verdict, attempt: int) -> dict[str, Any]:
    """What a later start of a killed job notes of the earlier one's end, in its own starter.json."""
    return {"attempt": attempt, "class": verdict.cause, "message": verdict.evidence}


def _settled(stage_folder: Path) -> list[tuple[int, Failure]]:
    """What was settled: after which attempt, and the failure."""
    try:
        names = [name for name in os.listdir(stage_folder / "failures") if not name.startswith(".")]
    except (FileNotFoundError, PermissionError):
        return []
    records = [record for name in names if (record := read_sealed(stage_folder / "failures" / name))]
    found = [(record.pop("after"), Failure(**record)) for record in records]
    return sorted(found, key=lambda settled: (settled[0], settled[1].time))


def _without_attempt(settled: list[tuple[int, Failure]], number: int) -> list[Failure]:
    """Of jobs that ended before they began an attempt, those after a certain one."""
    return [failure for after, failure in settled if after == number and not failure.attempt]


def _verdict(
    attempt: Attempt,
    later: Attempt | None,
    own: EndedElement | None,
    settled: list[tuple[int, Failure]],
    *,
    gone: bool,
) -> Verdict | None:
    """How an attempt failed; None where it did not, or runs. own: its element; gone: no element is at the stage."""
    end, ended = attempts.end_of(attempt), own.ended if own is not None else None
    if end is not None:
        return _of_end(end["failure"], ended) if end["failure"] else None
    for _, failure in settled:
        if failure.attempt == attempt.number:
            return Verdict(failure.cause, failure.evidence)
    if later is not None:
        before = attempts.starter_of(later).get("before") or {}
        if before.get("attempt") == attempt.number:
            return Verdict(_cause(before["class"]), causes.one_line(str(before["message"])))
        return causes.classify(ended, None, "") if ended else Verdict("unknown", "it was killed")
    if own is not None:
        return causes.classify(ended, None, own.log)
    return Verdict("unknown", "it was killed") if gone else None


def _of_end(failure: dict[str, Any], ended: EndedLike | None) -> Verdict:
    """What an attempt said of itself. Who stopped it with a signal, and for what, accounting knows better."""
    cause, message = _cause(failure["class"]), causes.one_line(str(failure["message"]))
    if cause in ("unknown", "time", "preempted"):
        found = causes.classify(ended, message, "")
        return found if found.cause != "unknown" else Verdict(cause, message)
    if cause == "nccl":  # all that the others see of a rank that the kernel or a dying node ended
        found = causes.classify(ended, None, "")
        return found if found.cause in ("host-oom", "node") else Verdict(cause, message)
    return Verdict(cause, message)


def _cause(word: Any) -> Cause:
    return cast(Cause, word) if word in CAUSES else "unknown"


def _failure(attempt: Attempt, starter: dict[str, Any], verdict: Verdict, *, further: bool) -> Failure:
    end = attempts.end_of(attempt)
    when = end["time"] if end else _beat(attempt).get("time", starter.get("time", 0.0))
    return Failure(
        verdict.cause, verdict.evidence, attempt.number, starter.get("job"), float(when), _node(starter), further
    )


def is_of(over: EndedElement, starter: dict[str, Any]) -> bool:
    """Whether an element began an attempt."""
    return starter.get("job") == over.job and (over.job is not None or starter.get("time", 0.0) >= over.sent)


def _before_any(over: EndedElement) -> Failure:
    """Of an element that ended before it began an attempt at the stage. What tells local runs apart is when each was
    sent: it stays the same from look to look."""
    verdict = causes.classify(over.ended, None, over.log)
    when = time.time() if over.job else over.sent
    return Failure(verdict.cause, verdict.evidence, 0, over.job, when, over.node)


def _node(starter: dict[str, Any]) -> str | None:
    """Slurm's name of the node; a local process has none."""
    return (starter.get("node") or starter.get("host")) if starter.get("job") else None


def _checkpoint_step(attempt: Attempt) -> int:
    """The step of the newest checkpoint with a manifest."""
    manifests = (attempt.folder / "checkpoints").glob("step-*/manifest.json")
    steps = [path.parent.name.removeprefix("step-") for path in manifests]
    return max((int(step) for step in steps if step.isdigit()), default=0)


def _languages_done(attempt: Attempt) -> int:
    """Of an evaluate: languages it published, which no later attempt does again."""
    beat = _beat(attempt)
    return int(beat.get("step", 0)) if "language" in beat else 0


def _beat(attempt: Attempt) -> dict[str, Any]:
    try:
        return read_json(attempt.folder / "heartbeat.json") or {}
    except ValueError:
        return {}


def _record(attempt: Attempt, failure: Failure | None) -> dict[str, Any]:
    starter, end = attempts.starter_of(attempt), attempts.end_of(attempt)
    return {
        "attempt": attempt.number, "job": starter.get("job"), "node": _node(starter) or starter.get("host"),
        "began": starter.get("time"), "ended": end["time"] if end else failure.time if failure else None,
        "cause": failure.cause if failure else None, "evidence": failure.evidence if failure else None,
    }  # fmt: skip


def _line(record: dict[str, Any]) -> str:
    if record["attempt"]:
        where = f"job {record['job']} on {record['node']}" if record["job"] else f"local on {record['node']}"
        when = f"{_clock(record['began'])} to {_clock(record['ended'])}"
        what = f"attempt {record['attempt']}: {where}, {when}"
    else:
        what = f"no attempt: job {record['job'] or 'local'} ended {_clock(record['ended'])} before it began one"
    how = f"{record['cause']}: {record['evidence']}" if record["cause"] else "ended well" if record["ended"] else None
    return f"{what}, {how or 'no end noted'}"


def _clock(seconds: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else "?"
