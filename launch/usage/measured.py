"""What stages and elements used: from the notes and samples of their attempts, and from accounting where there is some.

Of a kind of stages with very many of them some thousand are read, spread over all, with all that ran in their elements.
Usual times are of attempts and elements that ended well. For the longest every start counts as far as it came, and what
an element needs in all where it was cut short: what was not done again, in whichever job.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import median

from launch.plan import Plan, Stage
from launch.status import Observation, history, spent
from launch.status.history import AttemptNotes
from launch.store import times, usage
from launch.store.attempts import Starter
from launch.store.usage import Usage
from launch.usage.accounting import Accounts
from launch.usage.hours import kind_of
from slurm.base import UserError

_READ = 1000  # stages of a kind
_Job = tuple[object, ...]  # an element of Slurm with all its starts, or a local process
_BY_STATE = {"TIMEOUT": "time", "OUT_OF_MEMORY": "host-oom"}  # what accounting says of a job that noted no end


@dataclass(frozen=True)
class KindUse:
    """What the attempts at stages of one kind used that ended well. Memory is that of the fullest node."""

    kind: str
    seen: int  # attempts that ended well and were read
    longest: float  # seconds
    usual: float  # seconds, the median
    sampled: int = 0  # of them, those with samples
    memory: int = 0  # bytes; 0: not known
    cores: float | None = None  # that were busy in the mean of an attempt, the most
    busy: float | None = None  # percent that GPUs were, by time
    gpu_memory: int = 0  # bytes on the fullest GPU; 0: not known
    gpu_has: int = 0  # bytes of that one
    data_wait: float | None = None  # share of the steps' time, by time
    io_wait: float | None = None  # seconds of the longest wait for disks


@dataclass(frozen=True)
class ElementUse:
    """What the elements used, each from the start of its process to its end. Memory is a node's."""

    seen: int = 0  # that ended well
    longest: float = 0.0  # seconds; the longest start, however it ended, or all that one needed over several starts
    usual: float = 0.0  # seconds, the median
    before: float = 0.0  # seconds, the median until a first stage began
    memory: int = 0  # bytes, the most that is known; 0: not known
    accounted: int = 0  # elements that accounting tells of, of those that ended well
    cpu_efficiency: float | None = None  # of all together, as seff has it of one
    memory_efficiency: float | None = None  # of the one with the most, the same
    energy: int = 0  # joules of all; 0: nobody measures
    stopped_by: frozenset[str] = frozenset()  # causes of failures


@dataclass(frozen=True)
class Measured:
    """All that was measured of an experiment."""

    kinds: tuple[KindUse, ...]  # in the plan's order; those of which something ended well
    unseen: tuple[str, ...]  # kinds of which nothing has
    elements: ElementUse


@dataclass(frozen=True)
class _Attempt:
    """One attempt, as it counts here."""

    notes: AttemptNotes
    began: float  # when its process did, where it is the job's first; else itself (Unix time)
    before: float  # seconds from then on until it began
    last: float
    usage: Usage | None
    ended_well: bool
    runs: bool


def measure(plan: Plan, observation: Observation, accounts: Accounts) -> Measured:
    """What was used so far."""
    by_kind: dict[str, list[Stage]] = {kind_of(stage): [] for stage in plan.stages.values()}
    for stage in _spread(observation, [stage for stage in plan.stages.values() if observation.store.exists(stage)]):
        by_kind[kind_of(stage)].append(stage)
    kinds: list[KindUse] = []
    every_attempt: list[_Attempt] = []
    causes: set[str] = set()
    needed_seconds: dict[_Job, float] = defaultdict(float)
    for kind, stages in by_kind.items():
        attempts_of_kind: list[_Attempt] = []
        for stage in stages:
            with suppress(UserError):  # notes that cannot be read count for nothing
                attempts_of_stage = list(_attempts(observation, stage))
                attempts_of_kind += attempts_of_stage
                if not all(attempt.ended_well for attempt in attempts_of_stage):
                    causes |= {failure.cause for failure in observation.failures(stage)}
                if attempts_of_stage:
                    job = _job_of(attempts_of_stage[-1].notes.starter)
                    needed_seconds[job] += _needed(observation, stage, attempts_of_stage)
        every_attempt += attempts_of_kind
        if (use := _kind_use(kind, attempts_of_kind)) is not None:
            kinds.append(use)
    seen_kinds = {use.kind for use in kinds}
    unseen = tuple(kind for kind in by_kind if kind not in seen_kinds)
    causes |= {_BY_STATE[job.state] for job in accounts.jobs if job.state in _BY_STATE}
    return Measured(tuple(kinds), unseen, _element_use(every_attempt, needed_seconds, accounts, causes))


def _spread(observation: Observation, stages: Sequence[Stage]) -> Sequence[Stage]:
    """All stages; of more than are read, whole elements: as many as the rarest kind in them allows."""
    counts = Counter(map(kind_of, stages))
    if all(count <= _READ for count in counts.values()):
        return stages
    by_element: dict[object, list[Stage]] = defaultdict(list)
    for stage in stages:
        location = observation.locations.get(stage.key)
        element = (location.submission.folder, *location.place) if location is not None else stage.key
        by_element[element].append(stage)
    passed: Counter[frozenset[str]] = Counter()
    kept_stages: list[Stage] = []
    for stages_of_element in by_element.values():
        kinds = frozenset(map(kind_of, stages_of_element))
        if passed[kinds] % min(-(-counts[kind] // _READ) for kind in kinds) == 0:
            kept_stages += stages_of_element
        passed[kinds] += 1
    return kept_stages


def _needed(observation: Observation, stage: Stage, attempts_of_stage: Sequence[_Attempt]) -> float:
    """Seconds that a stage took, or has so far, without those that were done again."""
    if all(attempt.ended_well for attempt in attempts_of_stage):
        return attempts_of_stage[-1].last - attempts_of_stage[-1].began
    every, runs = [attempt.notes for attempt in attempts_of_stage], attempts_of_stage[-1].runs
    seconds = spent.of_stage(every, observation.failures(stage), may_run=runs)
    return sum(seconds.get(outcome, 0.0) for outcome in (spent.USEFUL, spent.IDLE, spent.RUNNING))


def _job_of(starter: Starter) -> _Job:
    return (starter.job, starter.name) if starter.job else (starter.host, starter.pid, starter.pid_start)


def _attempts(observation: Observation, stage: Stage) -> Iterable[_Attempt]:
    is_running = observation.state(stage).state == "running"
    every = history.notes_of(observation.store.stage_folder(stage.folder))
    for notes in every:
        began = notes.starter.time
        if began is None:
            continue
        stage_times = times.of_attempt(notes.attempt)
        before = stage_times.imports if stage_times else 0.0
        runs = is_running and notes is every[-1] and notes.end is None
        last = time.time() if runs else max(began, notes.last_sign)
        ended_well = notes.end is not None and notes.end.failure is None
        stage_usage = _with_neighbours(usage.of_attempt(notes.attempt), notes.starter)
        yield _Attempt(notes, began - before, before, last, stage_usage, ended_well, runs)


def _with_neighbours(stage_usage: Usage | None, starter: Starter) -> Usage | None:
    """As if those that shared its job used as much: what is asked for is asked for all of them."""
    if stage_usage is None or not starter.neighbours:
        return stage_usage
    lanes = 1 + starter.neighbours
    return replace(stage_usage, cpu=stage_usage.cpu * lanes, memory=stage_usage.memory * lanes)


def _kind_use(kind: str, attempts_of_kind: Sequence[_Attempt]) -> KindUse | None:
    ended_attempts = [attempt for attempt in attempts_of_kind if attempt.ended_well]
    if not ended_attempts:
        return None
    seconds = [attempt.last - attempt.began for attempt in ended_attempts]
    uses = [attempt.usage for attempt in ended_attempts if attempt.usage is not None]
    fullest = max((gpu for use in uses for gpu in use.gpus), key=lambda gpu: gpu.memory, default=None)
    return KindUse(
        kind,
        len(ended_attempts),
        max(seconds),
        median(seconds),
        len(uses),
        max((use.memory for use in uses), default=0),
        max((use.cores for use in uses), default=None),
        _by_time((use.busy, use.seconds) for use in uses),
        fullest.memory if fullest else 0,
        fullest.has if fullest else 0,
        _by_time((use.data_wait, use.seconds) for use in uses),
        max((use.io_wait for use in uses if use.io_wait is not None), default=None),
    )


def _by_time(pairs: Iterable[tuple[float | None, float]]) -> float | None:
    counted_pairs = [(value, seconds) for value, seconds in pairs if value is not None and seconds > 0]
    total = sum(seconds for _, seconds in counted_pairs)
    return sum(value * seconds for value, seconds in counted_pairs) / total if total else None


def _element_use(
    every_attempt: Sequence[_Attempt], needed_seconds: Mapping[_Job, float], accounts: Accounts, causes: set[str]
) -> ElementUse:
    """By who started them: one start of a Slurm element, or one local process."""
    starts: dict[tuple[object, ...], list[_Attempt]] = defaultdict(list)
    for attempt in every_attempt:
        starter = attempt.notes.starter
        starts[starter.job, starter.restart, starter.host, starter.pid, starter.pid_start].append(attempt)
    spans = [(max(a.last for a in start) - min(a.began for a in start), start) for start in starts.values()]
    ended_starts = [(seconds, start) for seconds, start in spans if all(a.ended_well for a in start)]
    taken_seconds = [
        max(seconds, needed_seconds.get(_job_of(start[0].notes.starter), 0.0)) for seconds, start in ended_starts
    ]
    jobs = [job for job in accounts.jobs if job.state == "COMPLETED"]
    memory = [attempt.usage.memory for attempt in every_attempt if attempt.usage is not None]
    core_seconds = sum(job.elapsed * job.cpus for job in jobs)
    shares = [job.memory_efficiency for job in jobs if job.memory_efficiency is not None]
    return ElementUse(
        len(ended_starts),
        max(
            [*(span for span, _ in spans), *needed_seconds.values(), *(float(job.elapsed) for job in accounts.jobs)],
            default=0.0,
        ),
        median(taken_seconds) if taken_seconds else 0.0,
        median(min(start, key=lambda a: a.began).before for _, start in ended_starts) if ended_starts else 0.0,
        max([*memory, *(job.memory // job.nodes for job in accounts.jobs)], default=0),
        len(jobs),
        sum(job.cpu for job in jobs) / core_seconds if core_seconds else None,
        max(shares, default=None),
        sum(job.energy for job in accounts.jobs),
        frozenset(causes),
    )
