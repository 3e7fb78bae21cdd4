"""When an experiment will be done: an interval, and what it rests on."""

from collections.abc import Mapping
from dataclasses import dataclass

from launch import executors
from launch.plan import Plan, Stage
from launch.standing.durations import NO_TIME, Durations, Span
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
    at_once: int | None  # jobs at a time; None: as many as there is room for


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
    stages = _left(plan, observation)
    if not stages:
        return None
    durations = Durations(plan, store, overview.progress)
    elements = _elements(plan, stages)
    at_work = {key for key in overview.progress if key in stages}
    at_work |= {key for key, stage in stages.items() if observation.state(stage).state == "running"}
    foretold = {
        n: max(0.0, starts[job] - overview.taken)
        for n, element in enumerate(elements)
        if starts and (job := observation.state(element.stages[0]).job or "") in starts
        if not any(stage.key in at_work for stage in element.stages)
    }
    running_count = sum(any(stage.key in at_work for stage in element.stages) for element in elements)
    throttle = executors.of_cluster(plan.experiment.cluster).at_once(plan.experiment.cluster)
    spans = [_span(element, durations, at_work) for element in elements]
    soon = [_job(element, at_work, span.low, 0.0) for element, span in zip(elements, spans, strict=True)]
    late = [
        _job(element, at_work, span.high, foretold.get(n, 0.0))
        for n, (element, span) in enumerate(zip(elements, spans, strict=True))
    ]
    # Without a throttle nobody knows how much room there will be: at least what there is now.
    seen_at_once = throttle or running_count or (1 if foretold else None)
    all_run = running_count == len(elements)
    return WhenDone(
        earliest=overview.taken + seconds_to_the_end(soon, throttle),
        latest=overview.taken + seconds_to_the_end(late, seen_at_once) if seen_at_once or all_run else None,
        basis=_basis(stages, durations, overview, len(foretold), throttle),
        left_out=len(plan.stages) - len(observation.finished) - len(stages),
        unsent=sum(observation.state(stage).state == "new" for stage in stages.values()),
    )


def _left(plan: Plan, observation: Observation) -> dict[str, Stage]:
    """What is not finished and can go on, by key."""
    stages: dict[str, Stage] = {}
    for key, stage in plan.stages.items():  # parents first
        if key in observation.finished or observation.state(stage).state in _ENDED_BADLY:
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


def _span(element: _Element, durations: Durations, at_work: set[str]) -> Span:
    runs = any(stage.key in at_work for stage in element.stages)
    span = NO_TIME if runs else durations.start
    for stage in element.stages:
        span += durations.left(stage) if stage.key in at_work else durations.of_stage(stage)
    return span


def _job(element: _Element, at_work: set[str], seconds: float, not_before: float) -> Job:
    return Job(seconds, element.after, not_before, any(stage.key in at_work for stage in element.stages))


def _basis(
    stages: Mapping[str, Stage], durations: Durations, overview: Overview, by_slurm: int, at_once: int | None
) -> Basis:
    by_speed = {key for key, at in overview.progress.items() if key in stages and at.seconds_left is not None}
    by_like = sum(durations.is_known(stage) for key, stage in stages.items() if key not in by_speed)
    return Basis(
        by_speed=len(by_speed),
        by_like=by_like,
        by_estimate=len(stages) - len(by_speed) - by_like,
        by_slurm=by_slurm,
        finished=durations.finished,
        at_once=at_once,
    )
