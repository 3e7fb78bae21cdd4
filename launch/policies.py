"""What is done about failures: how often each cause is tried again, and with what changes. The file's `failures:`.

Attempts that got further than those before them cost nothing but time: they do not use up a budget.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, model_validator

from launch.attempts import Failure
from launch.fields import Number, Section, Whole, YesNo
from slurm.causes import Cause, Verdict, alike, nodes_named

_MENDED_BY_OTHERS: tuple[Cause, ...] = ("cancelled", "elsewhere")  # no failure of the stage: sent again as it is
_TAKEN: tuple[Cause, ...] = ("time", "preempted", "node")  # ended from outside: Slurm may start the same job again
# As the file would say it; a cause that the file names changes only what it names.
_DEFAULTS: dict[str, dict[str, str]] = {
    "host-oom": {"retry": "2", "mem": "1.5"},
    "cuda-oom": {"retry": "2", "token-budget": "0.5"},
    "time": {"retry": "3", "time": "1.5"},
    "preempted": {"retry": "100"},
    "node": {"retry": "3", "exclude": "true"},
    "nccl": {"retry": "2", "exclude": "true"},
    "disk": {"retry": "3"},  # the next `submit` is typed once there is room
    "not-finite": {"retry": "0"},
    "data": {"retry": "3"},  # the same: once the file is mended
    "code": {"retry": "1"},
    "parent-missing": {"retry": "10"},
    "unknown": {"retry": "2"},
}


class Rule(Section):
    """What is done about one cause."""

    retry: Annotated[int, Whole(0, 10_000)] = 0  # times that a stage is sent again for it
    mem: Annotated[float, Number(1, 16)] = 1.0  # each time: memory times this, within the partition's limit
    time: Annotated[float, Number(1, 16)] = 1.0  # each time: the time limit times this, within the partition's
    token_budget: Annotated[float, Number(0.01, 1)] = Field(1.0, alias="token-budget")  # each time: tokens per pass
    exclude: Annotated[bool, YesNo()] = False  # the node it happened on


class Failures(Section):
    """The `failures:` section: a rule per cause, and when equal failures stop the rest."""

    host_oom: Rule = Field(Rule(), alias="host-oom")
    cuda_oom: Rule = Field(Rule(), alias="cuda-oom")
    time: Rule = Rule()
    preempted: Rule = Rule()
    node: Rule = Rule()
    nccl: Rule = Rule()
    disk: Rule = Rule()
    not_finite: Rule = Field(Rule(), alias="not-finite")
    data: Rule = Rule()
    code: Rule = Rule()
    parent_missing: Rule = Field(Rule(), alias="parent-missing")
    unknown: Rule = Rule()
    equal: Annotated[int, Whole(1, 10_000)] = 3  # stages that fail alike by their code: the rest is held

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        rules = {cause: default | _mapping(content.get(cause)) for cause, default in _DEFAULTS.items()
                 if isinstance(content.get(cause, {}), dict)}  # fmt: skip
        return content | rules

    def of(self, cause: Cause) -> Rule:
        """The rule for a cause that has one."""
        rule: Rule = getattr(self, cause.replace("-", "_"))
        return rule

    def record(self) -> dict[str, Any]:
        """For the manifest: as the file would say it."""
        dumped = self.model_dump(by_alias=True)
        return {name: _texts(value) if isinstance(value, dict) else str(value) for name, value in dumped.items()}


def _mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _texts(rule: dict[str, Any]) -> dict[str, str]:
    return {name: str(value).lower() for name, value in rule.items()}


def from_record(record: dict[str, Any]) -> Failures:
    """What `Failures.record` gave."""
    return Failures.model_validate(record)


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
    allowed, made = policy.of(last.cause).retry, _counted(failures, last.cause)
    if made <= allowed:
        return Decision(True, f"{last.cause}: retry {max(made, 1)} of {allowed}", changes)
    times = "once" if made == 1 else f"{made} times"
    why = f"failed {times} of {last.cause} (retry: {allowed}): {last.evidence}"
    return Decision(False, f"{why}; mend it, then: stepstone retry FILE --class {last.cause}", changes)


def used_up(failures: Iterable[Failure], job: str | None, policy: Failures) -> Verdict | None:
    """Why a job that Slurm started again may not go on: what ends it from outside has used up its own budget."""
    own = [failure for failure in failures if job is not None and failure.job == job]
    if not own or own[-1].cause not in _TAKEN:
        return None
    cause = own[-1].cause
    allowed, made = policy.of(cause).retry, _counted(own, cause)
    if made <= allowed:
        return None
    times = "once" if made == 1 else f"{made} times"
    return Verdict(cause, f"ended {times} by {cause} without getting further (retry: {allowed}); not started again")


def held(last: Mapping[str, Failure], policy: Failures) -> str | None:
    """The circuit breaker: the line that says why the rest is held, where enough stages failed alike by their code.

    `last` has the last failure of every stage that is failed now, by stage key.
    """
    alikes: dict[str, set[str]] = defaultdict(set)
    shown: dict[str, str] = {}
    for key, failure in last.items():
        if failure.cause == "code":
            # Of an element that ended before any attempt, all stages have the same failure.
            alikes[alike(failure.evidence)].add(key if failure.attempt else failure.job or key)
            shown.setdefault(alike(failure.evidence), failure.evidence)
    worst = max(alikes, key=lambda text: len(alikes[text]), default=None)
    if worst is None or len(alikes[worst]) < policy.equal:
        return None
    return held_words(len(alikes[worst]), shown[worst])


def held_words(count: int, evidence: str) -> str:
    """What a held stage says."""
    stages = "1 stage" if count == 1 else f"{count} stages"
    return f"held: {stages} failed alike: {evidence}; mend it, then: stepstone retry FILE --class code"


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
    excluded = [
        node
        for f in reversed(failures)
        if f.cause not in _MENDED_BY_OTHERS and policy.of(f.cause).exclude
        for node in nodes_named(f.evidence) or ((f.node,) if f.node else ())
    ]
    nodes = tuple(reversed(dict.fromkeys(excluded)))
    return Changes(factors["mem"], factors["time"], factors["token_budget"], nodes)
