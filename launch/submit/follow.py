"""Following an experiment until nothing of it is queued or running, and sending what there was no room for.

Results are seen on the disk, which costs Slurm nothing. Slurm is asked once a minute, together with all the user's
other commands, for what ends without a result.
"""

import re
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path

from launch import draft, executors, submit
from launch.plan import Plan, Stage
from launch.status import Observation
from launch.store import Location, Store, attempts
from launch.submit import outcome
from slurm.arrays import SendUnclear
from slurm.base import UsageError, UserError
from slurm.base.files import read_json

_FIRST_SECONDS, _LAST_SECONDS, _GROWTH = 2.0, 15.0, 1.15  # between two looks at the disk
_SEND_SECONDS = 60.0  # between two tries to send what there was no room for
_WITH_PARENT = ("cancelled", "parent-missing")  # what Slurm and a job do to a stage whose parent failed
_PASSES = re.compile(r"\bagain\b|another submit")  # errors that tell a person to try again: that is done here
_SHOWN = ("running", "queued", "failed", "held", "cancelled", "unknown")
Report = Callable[[str], None]


def follow(plan: Plan, report: Report) -> bool:
    """Report changes until nothing is queued or running, or can be sent; whether every stage is finished.

    What there was no room for goes out as soon as there is, and what the cluster took from its node once more; nothing
    any more once something of the experiment is cancelled.
    """
    pause, before = _FIRST_SECONDS, ""
    tried, said = time.time(), set[str]()  # `submit` has just been there
    cancelled: int | None = None  # when this began
    while True:
        store = Store(plan.experiment.store)
        seen = Observation(plan, store)
        cancelled = _cancelled(plan, seen) if cancelled is None else cancelled
        line = _line(plan, store, seen)
        if line != before:
            report(line)
        before = line
        left = _to_send(plan, seen) if _cancelled(plan, seen) == cancelled else set()
        if left and seen.entries is not None and time.time() - tried >= _SEND_SECONDS:
            tried = time.time()
            said = _send(plan, left, report, said)
        elif not left and not any(seen.is_sent(stage) for stage in plan.stages.values()):
            return len(seen.finished) == len(plan.stages)
        time.sleep(pause)
        pause = min(pause * _GROWTH, _LAST_SECONDS)


def _to_send(plan: Plan, seen: Observation) -> set[str]:
    """Stages that there was no room for, those that the cluster took from their nodes, those that were cancelled or
    held with a parent which comes back, and those held by failures that are mended; as far as they may go."""
    comes_back = executors.of_cluster(plan.experiment.cluster).comes_back
    wanted: set[str] = set()
    for stage in plan.stages.values():  # parents first
        state, cause = seen.state(stage).state, seen.state(stage).cause
        free = state == "held" and (stage.parent is None or stage.parent in seen.finished)  # by equal failures once
        itself = state == "new" or free or (state == "failed" and cause in comes_back)
        with_parent = state == "held" or (state == "failed" and cause in _WITH_PARENT)
        if itself or (with_parent and _parent_comes_back(plan, seen, stage, wanted)):
            wanted.add(stage.key)
    return draft.decide(plan, seen, sys.maxsize, only=wanted).needed if wanted else set()


def _parent_comes_back(plan: Plan, seen: Observation, stage: Stage, wanted: Collection[str]) -> bool:
    return stage.parent is not None and (stage.parent in wanted or seen.is_sent(plan.stages[stage.parent]))


def _cancelled(plan: Plan, seen: Observation) -> int:
    """How many elements with stages of this plan `stepstone cancel` was told to end, whoever had sent them."""
    ended = (Location(one, *place) for one in seen.submissions for place in one.cancelled)
    return sum(not plan.stages.keys().isdisjoint(location.keys) for location in ended)


def _send(plan: Plan, keys: set[str], report: Report, before: Collection[str]) -> set[str]:
    """What a try to send had to say; it is reported unless the try before said the same. Only what will be no
    different the next time is an error here."""
    said: set[str] = set()

    def tell(line: str) -> None:
        if line not in said and line not in before:
            report(line)
        said.add(line)

    try:
        for line in outcome.lines(submit.submit(plan, tell, only=keys)):
            tell(line)
    except UserError as error:
        if isinstance(error, UsageError) or not (isinstance(error, SendUnclear) or _PASSES.search(str(error))):
            raise
        tell(str(error))
    return said


def _line(plan: Plan, store: Store, seen: Observation) -> str:
    counts = seen.counts()
    shown = f"{counts['finished']} of {len(plan.stages)} stages finished"
    shown += "".join(f", {count} {state}" for state, count in counts.items() if count and state in _SHOWN)
    running = [s for s in plan.stages.values() if seen.state(s).state == "running"]
    return shown + "".join(f"; {_progress(store, stage)}" for stage in running[:2])


def _progress(store: Store, stage: Stage) -> str:
    made = attempts.attempts_of(store.stage_folder(stage.folder))
    beat = read_json(Path(made[-1].folder) / "heartbeat.json") if made else None
    return f"{stage.name} {beat['step']}/{beat['total']}" if beat and beat.get("total") else stage.name
