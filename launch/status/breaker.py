"""The circuit breaker: once enough stages failed alike by their code, what starts later of a submission ends at once.

submissions/<time>-<id>/  failures/<stage>.json  held.json
"""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from launch.experiment import Failures
from launch.status.history import Failure
from slurm.base import look
from slurm.base.files import make_folder, read_sealed, seal, write_once
from slurm.causes import Cause, Verdict, alike

# What meets every stage alike: sent blindly, all would fail. Where jobs do not start, only whoever sends can see it.
COUNTED: tuple[Cause, ...] = ("code", "not-started")


def held(last: Mapping[str, Failure], policy: Failures) -> str | None:
    """The circuit breaker: the line that says why the rest is held, where enough stages failed alike by their code.

    `last` has the last failure of every stage that is failed now, by stage key.
    """
    alikes: dict[str, set[str]] = defaultdict(set)
    firsts: dict[str, Failure] = {}
    for key, failure in last.items():
        if failure.cause in COUNTED:
            # Of an element that ended before any attempt, all stages have the same failure.
            alikes[alike(failure.evidence)].add(key if failure.attempt else failure.job or key)
            firsts.setdefault(alike(failure.evidence), failure)
    worst = max(alikes, key=lambda text: len(alikes[text]), default=None)
    if worst is None or len(alikes[worst]) < policy.equal:
        return None
    return held_words(len(alikes[worst]), firsts[worst].evidence, firsts[worst].cause)


def held_words(count: int, evidence: str, cause: Cause = "code") -> str:
    """What a held stage says."""
    stages = "1 stage" if count == 1 else f"{count} stages"
    return f"held: {stages} failed alike: {evidence}; mend it, then: stepstone retry FILE --class {cause}"


def note(submission: Path, stage: str, verdict: Verdict, policy: Failures) -> None:
    """Count a stage's failure; with the last one that the policy allows, hold the rest. Of other causes, nothing."""
    if verdict.cause != "code":
        return
    folder = make_folder(submission / "failures")
    write_once(folder / f"{stage}.json", seal({"stage": stage, "evidence": verdict.evidence}))
    # Counted after one's own is there: of several at once, the last to write sees all.
    records = [read_sealed(folder / name) for name in look.names(folder) if not name.startswith(".")]
    equal = sum(record is not None and alike(record["evidence"]) == alike(verdict.evidence) for record in records)
    if equal >= policy.equal:
        write_once(
            submission / "held.json", seal({"line": held_words(equal, verdict.evidence), "evidence": verdict.evidence})
        )


def held_line(submission: Path) -> str | None:
    """Why the rest of a submission is held; None where it is not."""
    record = read_sealed(submission / "held.json")
    return str(record["line"]) if record else None
