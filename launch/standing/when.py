"""When an experiment will be done: an interval, and what it rests on."""

from collections.abc import Mapping
from dataclasses import dataclass

from launch import executors
from launch.plan import Plan, Stage
from launch.standing.durations import NO_TIME, Durations, Span
from launch.standing.progress import MOST_READ, Progress
from launch.standing.records import Overview
from launch.standing.schedule import Job, seconds_to_the_end
from launch.status import Observation, State
from launch.store import Store

_ENDED_BADLY: tuple[State, ...] = ("failed", "held", "cancelled")  # which do not go on by themselves
_AT_WORK: tuple[State, ...] = ("running", "unknown")


@dataclass(frozen=True)
class Basis:
    """How many of the stages that are left are told by what."""

    by_speed: int  # measured steps/s: those that run
    by_like: int  # by what stages of the same step or target took, or take
    by_estimate: int
    by_slurm: int  # jobs whose start Slurm foretells
    finished: int  # stages whose time corrects the estimate
    at_once: int | None  # jobs at a time at most: as the file says, or run now; None: as many as there is room for
    at_least: int | None  # as many as run now; where none does, as many as may; None: nobody knows


@dataclass(frozen=True)
class WhenDone:
    """Unix times. `latest` None: nobody knows how long what waits will wait. `left_out`: stages that failed, are held
    or were cancelled, and what needs them: they do not go on by themselves. `unsent`: new ones, as if sent now."""

    earliest: float
    latest: float | None
    basis: Basis
    left_out: int
    unsent: int


@dataclass(frozen=True)
class _Element:
    """What one array index still has to run: a training and, where no other training needs its encoder, its evaluates;
    or evaluates of one encoder."""

    stages: list[Stage]
    after: int | None


def when_done(
    plan: Plan,
    store: Store,
    observation: Observation,
    overview: Overview,
    starts: Mapping[str, float] | None = None,
) -> WhenDone | None:
    """None where nothing is left that goes on. `starts`: when Slurm foretells that jobs (`123_4`) start (Unix time)."""
    return by_progress(plan, store, observation, overview.progress, overview.taken, starts)


def by_progress(
    plan: Plan,
    store: Store,
    observation: Observation,
    progress: Mapping[str, Progress],
    now: float,
    starts: Mapping[str, float] | None = None,
) -> WhenDone | None:
    """The same for who has no overview. `progress`: of what runs, by stage key; `now`: Unix time."""
    stages = _left(plan, observation)
    if not stages:
        return None
    run = [key for key, stage in stages.items() if observation.state(stage).state == "running"]
    durations = Durations(plan, store, progress, unread=set(run[MOST_READ:]) - progress.keys())
    at_work = {*run, *(key for key in progress if key in stages)}
    elements = _elements(plan, stages)
    running = _running(elements, observation, at_work)
    foretold = {
        number: max(0.0, starts[job] - now)
        for number, element in enumerate(elements)
        if starts and (job := observation.state(element.stages[0]).job or "") in starts and not running[number]
    }
    spans = [_span(element, durations, at_work, runs=runs) for element, runs in zip(elements, running, strict=True)]
    soon = [Job(spans[n].low, element.after, 0.0, running[n]) for n, element in enumerate(elements)]
    late = [Job(spans[n].high, element.after, foretold.get(n, 0.0), running[n]) for n, element in enumerate(elements)]
    throttle = executors.of_cluster(plan.experiment.cluster).at_once(plan.experiment.cluster)
    # How much room there will be nobody knows: at least what there is now, which `stepstone throttle` may have made
    # more than the file says.
    running_jobs = max(sum(running), _running_jobs(plan, observation))
    at_least = running_jobs or throttle or (1 if foretold else None)
    at_once = max(throttle, running_jobs) if throttle else None
    return WhenDone(
        earliest=now + seconds_to_the_end(soon, at_once),
        latest=now + seconds_to_the_end(late, at_least) if at_least else None,
        basis=_basis(stages, durations, progress, len(foretold), (at_once, at_least)),
        left_out=max(0, len(plan.stages) - len(observation.unneeded) - len(observation.finished) - len(stages)),
        unsent=sum(observation.state(stage).state == "new" for stage in stages.values()),
    )


def _left(plan: Plan, observation: Observation) -> dict[str, Stage]:
    """What is not finished and can go on, by key."""
    stages: dict[str, Stage] = {}
    unneeded_keys = {key for key in observation.unneeded if not observation.is_sent(plan.stages[key])}
    for key, stage in plan.stages.items():  # parents first
        if key in observation.finished or key in unneeded_keys or observation.state(stage).state in _ENDED_BADLY:
            continue
        if stage.parent is None or stage.parent in stages or stage.parent in observation.finished:
            stages[key] = stage
    return stages


def _elements(plan: Plan, stages: Mapping[str, Stage]) -> list[_Element]:
    """As they are cut for arrays, but that short ones are not bundled."""
    elements: list[_Element] = []
    place: dict[str, int] = {}  # of a stage, and of the evaluates under one
    for key, stage in stages.items():
        parent = stage.parent if stage.parent in stages else None
        if stage.kind == "train":
            place[key] = len(elements)
            elements.append(_Element([stage], place[parent] if parent else None))
        elif parent and not any(plan.stages[child].kind == "train" for child in plan.children[parent]):
            elements[place[parent]].stages.append(stage)
        else:
            bundle = f"evaluates of {stage.parent}"
            if bundle not in place:
                place[bundle] = len(elements)
                elements.append(_Element([], place[parent] if parent else None))
            elements[place[bundle]].stages.append(stage)
    return elements


def _jobs(observation: Observation) -> set[str]:
    """What runs of the user's jobs, of whichever experiment."""
    return {f"{entry.job}_{entry.index}" for entry in observation.entries or () if entry.phase == "running"}


def _running_jobs(plan: Plan, observation: Observation) -> int:
    """How many of them are this experiment's: also those that are about to end, all their stages finished."""
    jobs = _jobs(observation)
    return len(jobs & {observation.state(stage).job for stage in plan.stages.values()}) if jobs else 0


def _running(elements: list[_Element], observation: Observation, at_work: set[str]) -> list[bool]:
    """Of each element whether it runs: also between two of its stages."""
    jobs = _jobs(observation)
    return [
        any(stage.key in at_work or observation.state(stage).job in jobs for stage in element.stages)
        for element in elements
    ]


def _span(element: _Element, durations: Durations, at_work: set[str], *, runs: bool) -> Span:
    span = NO_TIME if runs else durations.start
    for stage in element.stages:
        span += durations.left(stage) if stage.key in at_work else durations.of_stage(stage)
    return span


def _basis(
    stages: Mapping[str, Stage],
    durations: Durations,
    progress: Mapping[str, Progress],
    by_slurm: int,
    room: tuple[int | None, int | None],
) -> Basis:
    by_speed = {key for key, at in progress.items() if key in stages and at.seconds_left is not None}
    by_like = sum(durations.is_known(stage) for key, stage in stages.items() if key not in by_speed)
    return Basis(
        by_speed=len(by_speed),
        by_like=by_like,
        by_estimate=len(stages) - len(by_speed) - by_like,
        by_slurm=by_slurm,
        finished=durations.finished,
        at_once=room[0],
        at_least=room[1],
    )
