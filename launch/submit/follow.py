"""Following an experiment until nothing of it is queued or running, and sending what there was no room for.

Results are seen on the disk, which costs Slurm nothing. Slurm is asked once a minute, together with all the user's
other commands, for what ends without a result.
"""

import re
import sys
import time
from collections.abc import Callable, Collection

from launch import draft, executors, submit
from launch.plan import Plan, Stage
from launch.status import Observation
from launch.store import Location, Store
from launch.submit import outcome
from launch.submit.standing import Standing, Watch
from slurm.arrays import SendUnclear
from slurm.base import UsageError, UserError

_FIRST_SECONDS, _LAST_SECONDS, _GROWTH = 2.0, 15.0, 1.15  # between two looks at the disk
_LAST_SECONDS_HERE = 2.0  # the same where the disk says all, since there is no queue
_SEND_SECONDS = 60.0  # between two tries to send what there was no room for
_WITH_PARENT = ("cancelled", "parent-missing")  # what Slurm and a job do to a stage whose parent failed
_PASSES = re.compile(r"\bagain\b|another submit")  # errors that tell a person to try again: that is done here
Report = Callable[[str], None]


def follow(plan: Plan, report: Report, draw: Callable[[Standing], None] | None = None) -> bool:
    """Report changes until nothing is queued or running, or can be sent; whether every stage is finished.

    draw: is told how far it is at every look, with the time that is left; None: `report` is, where that has changed.

    What there was no room for goes out as soon as there is, and what the cluster took from its node once more; nothing
    any more once something of the experiment is cancelled.
    """
    pause, before, watch = _FIRST_SECONDS, "", Watch(plan)
    longest = _LAST_SECONDS if executors.of_cluster(plan.experiment.cluster).has_queue else _LAST_SECONDS_HERE
    last_try, lines_before = time.time(), set[str]()  # `submit` has just been there
    cancelled_count: int | None = None  # when this began
    while True:
        began, store = time.monotonic(), Store(plan.experiment.store)
        observation = Observation(plan, store)
        cancelled_count = _cancelled(plan, observation) if cancelled_count is None else cancelled_count
        standing = watch.standing(store, observation, with_time=draw is not None)
        if draw is not None:
            draw(standing)
        elif standing.line() != before:
            report(standing.line())
        before = standing.line()
        unsent = _to_send(plan, observation) if _cancelled(plan, observation) == cancelled_count else set()
        if unsent and observation.entries is not None and time.time() - last_try >= _SEND_SECONDS:
            last_try = time.time()
            lines_before = _send(plan, unsent, report, lines_before)
        elif not unsent and not any(observation.is_sent(stage) for stage in plan.stages.values()):
            return len(observation.finished) == len(plan.stages)
        time.sleep(max(pause, time.monotonic() - began))  # a look at a large experiment takes seconds
        pause = min(pause * _GROWTH, longest)


def _to_send(plan: Plan, observation: Observation) -> set[str]:
    """Stages that there was no room for, those that the cluster took from their nodes, those that were cancelled or
    held with a parent which comes back, and those held by failures that are mended; as far as they may go."""
    comes_back = executors.of_cluster(plan.experiment.cluster).comes_back
    keys: set[str] = set()
    for stage in plan.stages.values():  # parents first
        state, cause = observation.state(stage).state, observation.state(stage).cause
        free = state == "held" and (
            stage.parent is None or stage.parent in observation.finished
        )  # by equal failures once
        by_itself = state == "new" or free or (state == "failed" and cause in comes_back)
        with_parent = state == "held" or (state == "failed" and cause in _WITH_PARENT)
        if by_itself or (with_parent and _parent_comes_back(plan, observation, stage, keys)):
            keys.add(stage.key)
    return draft.decide(plan, observation, sys.maxsize, only=keys).needed if keys else set()


def _parent_comes_back(plan: Plan, observation: Observation, stage: Stage, keys: Collection[str]) -> bool:
    return stage.parent is not None and (stage.parent in keys or observation.is_sent(plan.stages[stage.parent]))


def _cancelled(plan: Plan, observation: Observation) -> int:
    """How many elements with stages of this plan `stepstone cancel` was told to end, whoever had sent them."""
    locations = (
        Location(submission, *place) for submission in observation.submissions for place in submission.cancelled
    )
    return sum(not plan.stages.keys().isdisjoint(location.keys) for location in locations)


def _send(plan: Plan, keys: set[str], report: Report, before: Collection[str]) -> set[str]:
    """What a try to send had to say; it is reported unless the try before said the same. Only what will be no
    different the next time is an error here."""
    lines: set[str] = set()

    def tell(line: str) -> None:
        if line not in lines and line not in before:
            report(line)
        lines.add(line)

    try:
        for line in outcome.lines(submit.submit(plan, tell, only=keys)):
            tell(line)
    except UserError as error:
        if isinstance(error, UsageError) or not (isinstance(error, SendUnclear) or _PASSES.search(str(error))):
            raise
        tell(str(error))
    return lines
