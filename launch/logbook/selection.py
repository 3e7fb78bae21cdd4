"""The stage that a person means: by its name, the beginning of its key, its job, or none at all."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from launch import executors
from launch.logbook import parts
from launch.logbook.parts import Part
from launch.plan import Plan, Stage
from launch.status import Observation
from launch.store import Location, Store, Submission, attempts
from launch.text import as_typed, moment, some
from slurm.base import UsageError, UserError

Observe = Callable[[], Observation]
_JOB = re.compile(r"(\d+)(?:_\[?(\d+)\]?)?")
_FIRST: tuple[str, ...] = ("failed", "running", "unknown", "queued", "held", "cancelled", "finished", "new")


@dataclass(frozen=True)
class Selection:
    """A stage, and the element of it that is meant."""

    stage: Stage
    location: Location | None = None  # that was named by its job; None: the one it was last sent in
    remark: str | None = None  # why this stage, where none was named


def select(plan: Plan, all_submissions: Sequence[Submission], text: str | None, observe: Observe) -> Selection:
    """What `text` means; without it the stage that failed last, else the one that ran last.

    all_submissions: of the store, the oldest first. observe: looks where stages stand, which asks Slurm, and which a
    name does without. UsageError where it means nothing here, with the nearest names; UserError where nothing was ever
    sent.
    """
    if text is None:
        return _last(plan, observe())
    job = _JOB.fullmatch(text)
    if job is not None:
        locations = _of_job(all_submissions, job[1], None if job[2] is None else int(job[2]))
        if locations:
            return _of_locations(plan, text, locations, observe)
    if job is not None and (job[2] is not None or not any(key.startswith(text) for key in plan.stages)):
        raise UsageError(
            f"no job {text} in this experiment; `stepstone status {as_typed(plan.experiment.path)} --stages` lists them"
        )
    return Selection(plan.find(text))


def elements_of(submissions: Sequence[Submission], key: str) -> list[Location]:
    """Every element that a stage was sent in, the oldest first."""
    return [location for location in intended_for(submissions, key) if may_run(location)]


def intended_for(submissions: Sequence[Submission], key: str) -> list[Location]:
    """Every element that a stage was to be sent in, whatever became of its array, the oldest first."""
    return [replace(location, stage=key) for location in _intended(submissions) if key in location.keys]


def may_run(location: Location) -> bool:
    """Whether its array was sent, as far as is known."""
    receipt = location.submission.receipt(location.array)
    return receipt is None or receipt.was_sent


def _intended(submissions: Sequence[Submission]) -> list[Location]:
    return [
        Location(submission, number, index)
        for submission in submissions
        for number, array in enumerate(submission.arrays)
        for index in array.elements
    ]


def _of_job(submissions: Sequence[Submission], job: str, index: int | None) -> list[Location]:
    return [at for at in _intended(submissions) if at.job == job and index in (None, at.index)]


def _of_locations(plan: Plan, text: str, locations: list[Location], observe: Observe) -> Selection:
    if len(locations) > 1:
        jobs = some(f"{at.job}_{at.index}" for at in locations)
        raise UsageError(f"job {text} is an array of {len(locations)} elements; name one: {jobs}")
    (location,) = locations
    stages = [plan.stages[key] for key in location.keys if key in plan.stages]
    if not stages:
        raise UsageError(f"job {text} ran stages that {plan.experiment.path.name} does not ask for any more")
    if len(stages) == 1:
        return Selection(stages[0], replace(location, stage=stages[0].key))
    # Of several stages the one that a person asks about: what failed, else what runs.
    states = {stage.key: observe().state(stage).state for stage in stages}
    stage = min(stages, key=lambda stage: _FIRST.index(states[stage.key]))
    return Selection(stage, replace(location, stage=stage.key))


def _last(plan: Plan, observation: Observation) -> Selection:
    failures = [
        (failures_of_stage[-1].time, stage)
        for stage in observation.among(["failed"])
        if (failures_of_stage := observation.failures(stage))
    ]
    if failures:
        when, stage = max(failures, key=lambda failure: failure[0])
        more = len(observation.among(["failed"])) - 1
        more_failed = f"; {more} more failed" if more else ""
        return Selection(stage, remark=f"{stage.name}, which failed last ({moment(when)}{more_failed})")
    candidates = observation.among(["running"]) or _sent_last(plan, observation)
    starts = [(began, stage) for stage in candidates if (began := _began(observation, stage)) is not None]
    if not starts:
        path = as_typed(plan.experiment.path)
        if observation.locations.keys() & plan.stages.keys():
            raise UserError(f"no stage has begun yet; `stepstone status {path}` says what each waits for")
        raise UserError(f"nothing was ever sent; `stepstone submit {path}` sends it")
    began, stage = max(starts, key=lambda start: start[0])
    verb = "runs" if observation.state(stage).state == "running" else "ran last"
    return Selection(stage, remark=f"{stage.name}, which {verb} (since {moment(began)})")


def _sent_last(plan: Plan, observation: Observation) -> list[Stage]:
    """The stages of the newest submission of which anything has begun: to look at all of them would take long."""
    for submission in reversed(observation.submissions):
        stages = [plan.stages[key] for key in submission.keys if key in plan.stages]
        begun_stages = [stage for stage in stages if _began(observation, stage) is not None]
        if begun_stages:
            return begun_stages
    return []


def _began(observation: Observation, stage: Stage) -> float | None:
    """When its last attempt began (Unix time)."""
    every = (
        attempts.attempts_of(observation.store.stage_folder(stage.folder)) if observation.store.exists(stage) else []
    )
    return attempts.starter_of(every[-1]).time if every else None


def starts(
    store: Store,
    all_submissions: Sequence[Submission],
    selection: Selection,
    *,
    attempt: int | None = None,
    every: bool = False,
    errors: bool = False,
) -> list[list[Part]]:
    """What there is to read of a stage, start by start: of its last start, of one attempt, or of every start.

    errors: only files of errors, where they are apart. UserError where the stage was never sent, UsageError for an
    attempt that is not there.
    """
    stage, restart = selection.stage, None
    elements = elements_of(all_submissions, stage.key)
    if not elements:
        raise UserError(f"{stage.name} was never sent; `stepstone submit FILE` sends it")
    if selection.location is not None:
        elements = [selection.location]
    elif attempt is not None:
        location, restart = _of_attempt(store, elements, stage, attempt)
        elements = [location]
    elif not every:
        elements = elements[-1:]
    chosen_starts: list[list[Part]] = []
    for location in elements:
        paths = parts.in_order(executors.of_location(location).logs(location), errors=errors)
        all_parts = [part for path in paths for part in parts.parts_of(path)]
        if restart is not None:
            chosen_starts.append(parts.of_start(all_parts, restart))
        else:
            chosen_starts += parts.by_start(all_parts)[0 if every else -1 :]
    return [start for start in chosen_starts if start]


def _of_attempt(store: Store, elements: Sequence[Location], stage: Stage, number: int) -> tuple[Location, int]:
    """The element that made one attempt at a stage, and at which of its starts."""
    every = {attempt.number: attempt for attempt in attempts.attempts_of(store.stage_folder(stage.folder))}
    if number not in every:
        there = f"it has {some(map(str, every))}" if every else "it has none yet"
        raise UsageError(f"{stage.name} has no attempt {number}; {there}")
    starter = attempts.starter_of(every[number])
    makers = [at for at in elements if executors.of_location(at).element(at).has_begun(starter)]
    if not makers:
        raise UserError(f"{stage.name}: what attempt {number} printed is gone with its submission's folder")
    # Of local ones, which only their time tells apart, the last that was sent before it began.
    return makers[-1], starter.restart
