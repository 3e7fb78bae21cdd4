"""What is done about failures: how often each cause is tried again, and with what changes. The file's `failures:`.

Attempts that got further than those before them cost nothing but time: they do not use up a budget.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from launch.experiment import Failures
from launch.status.history import Failure
from slurm.causes import Cause, Verdict, nodes_named

_MENDED_BY_OTHERS: tuple[Cause, ...] = ("cancelled", "elsewhere")  # no failure of the stage: sent again as it is
_TAKEN: tuple[Cause, ...] = ("time", "preempted", "node")  # ended from outside: Slurm may start the same job again
_LOOK: dict[Cause, str] = {"not-started": "; `stepstone doctor FILE --nodes` looks at what nodes see"}


@dataclass(frozen=True)
class Changes:
    """What is different in the next element of a stage. Elements with equal ones may share an array."""

    mem_factor: float = 1.0
    time_factor: float = 1.0
    token_budget_factor: float = 1.0
    exclude: tuple[str, ...] = ()  # nodes; of a decision: the one that failed last comes last


@dataclass(frozen=True)
class Decision:
    """Whether a failed stage is sent again by itself, why (not), and with what changes."""

    send: bool
    why: str
    changes: Changes = Changes()


def decide(failures: Sequence[Failure], policy: Failures) -> Decision:
    """Of all failures of one stage, the oldest first. One that is not sent again can be sent by `stepstone retry`."""
    if not failures:
        return Decision(True, "not failed before")
    last = failures[-1]
    changes = _changes(failures, policy)
    if last.cause in _MENDED_BY_OTHERS:
        return Decision(True, f"{last.cause}: as before", changes)
    limit, count = policy.of(last.cause).retry, _counted(failures, last.cause)
    if count <= limit:
        return Decision(True, f"{last.cause}: retry {max(count, 1)} of {limit}", changes)
    times = "once" if count == 1 else f"{count} times"
    why = f"failed {times} of {last.cause} (retry: {limit}): {last.evidence}{_LOOK.get(last.cause, '')}"
    return Decision(False, f"{why}; mend it, then: stepstone retry FILE --class {last.cause}", changes)


def used_up(failures: Iterable[Failure], job: str | None, policy: Failures) -> Verdict | None:
    """Why a job that Slurm started again may not go on: what ends it from outside has used up its own budget."""
    of_job = [failure for failure in failures if job is not None and failure.job == job]
    if not of_job or of_job[-1].cause not in _TAKEN:
        return None
    cause = of_job[-1].cause
    limit, count = policy.of(cause).retry, _counted(of_job, cause)
    if count <= limit:
        return None
    times = "once" if count == 1 else f"{count} times"
    return Verdict(cause, f"ended {times} by {cause} without getting further (retry: {limit}); not started again")


def _counted(failures: Sequence[Failure], cause: Cause) -> int:
    return sum(f.cause == cause and not (f.further and cause in _TAKEN) for f in failures)


def _changes(failures: Sequence[Failure], policy: Failures) -> Changes:
    counts = Counter(f.cause for f in failures if not (f.further and f.cause in _TAKEN))
    factors = {"mem": 1.0, "time": 1.0, "token_budget": 1.0}
    for cause, count in counts.items():
        if cause not in _MENDED_BY_OTHERS:
            rule = policy.of(cause)
            times = min(count, max(rule.retry, 1))  # what `retry` forces beyond that has been tried as large
            factors = {name: factor * getattr(rule, name) ** times for name, factor in factors.items()}
    bad_nodes = [
        node
        for f in reversed(failures)
        if f.cause not in _MENDED_BY_OTHERS and policy.of(f.cause).exclude
        for node in nodes_named(f.evidence) or ((f.node,) if f.node else ())
    ]
    nodes = tuple(reversed(dict.fromkeys(bad_nodes)))
    return Changes(factors["mem"], factors["time"], factors["token_budget"], nodes)
