"""Following an experiment until nothing of it is queued or running, and sending what there was no room for.

Results are seen on the disk, which costs Slurm nothing. Slurm is asked once a minute, together with all the user's
other commands, for what ends without a result.
"""

import re
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from launch import draft, executors, submit
from launch.draft.budget import BudgetExceededError
from launch.plan import Plan, Stage
from launch.standing import so_far
from launch.standing.so_far import Standing
from launch.status import Observation, State
from launch.store import Location, Store
from launch.submit import outcome
from launch.submit.beside import Collector
from launch.submit.notify import Notifier
from launch.text import clock
from slurm import snapshot
from slurm.arrays import SendUnclear
from slurm.base import UsageError, UserError
from slurm.base.errors import Patience

_FIRST_SECONDS, _LAST_SECONDS, _GROWTH = 2.0, 15.0, 1.15  # between two looks at the disk
_LAST_SECONDS_HERE = 2.0  # the same where the disk says all, since there is no queue
_SEND_SECONDS = 60.0  # between two tries to send what there was no room for
_REPORT_SECONDS = 60.0  # between two reports of how far what runs is
_REFUSED_SECONDS = 300.0  # for which squeue may refuse: a site's own may have a bad minute
_WITH_PARENT = ("cancelled", "parent-missing")  # what Slurm and a job do to a stage whose parent failed
_PASSES = re.compile(r"\bagain\b|another submit")  # errors that tell a person to try again: that is done here
Report = Callable[[str], None]


def follow(plan: Plan, report: Report, draw: Callable[[Standing], None] | None = None) -> bool:
    """Report changes until nothing is queued or running, or can be sent; whether every stage is finished.

    draw: is told how far it is at every look, with the time that is left; None: `report` is, with the time of day,
    where a stage has come to another state, and else once a minute.

    What there was no room for goes out as soon as there is, and what the cluster took from its node once more; nothing
    any more once something of the experiment is cancelled. Trouble of the file system is reported, and waited for.
    """
    collector = Collector(plan, "submit --wait", report)
    follower = _Follower(plan, report, draw, Notifier(plan, report), collector)
    pause, patience = _FIRST_SECONDS, Patience(report)
    longest = _LAST_SECONDS if executors.of_cluster(plan.experiment.cluster).has_queue else _LAST_SECONDS_HERE
    try:
        while True:
            began = time.monotonic()
            with patience.look():
                is_finished = follower.look()
                if is_finished is not None:
                    return is_finished
            time.sleep(max(pause, time.monotonic() - began))  # a look at a large experiment takes seconds
            pause = min(pause * _GROWTH, longest)
    finally:
        collector.stop()


@dataclass
class _Follower:
    """What was seen and said last."""

    plan: Plan
    report: Report
    draw: Callable[[Standing], None] | None
    notifier: Notifier
    collector: Collector
    line: str = ""  # that was reported last
    counts: Mapping[State, int] | None = None  # by state, in it
    last_look: float = 0.0  # at how far what runs is (monotonic)
    last_try: float = field(default_factory=time.time)  # `submit` has just been there
    lines_before: set[str] = field(default_factory=set)
    cancelled_count: int | None = None  # when this began
    raced_seeds: int = 0  # that pairs have, or are about to have, where they are raced
    is_spent: bool = False  # the budget of a race, and nothing runs that may have some of it left

    def look(self) -> bool | None:
        """Report what is new, and send what may go; once nothing is left to wait for, whether all is finished."""
        store = Store(self.plan.experiment.store)
        observation = Observation(self.plan, store)
        cancelled_count = _cancelled(self.plan, observation)
        self.cancelled_count = cancelled_count if self.cancelled_count is None else self.cancelled_count
        self.notifier.look_for_held(observation)
        self.collector.look(len(observation.finished))
        if self.draw is not None:
            self.draw(so_far.standing(self.plan, store, observation))
        elif self._is_due(observation.counts()):
            self._tell(so_far.standing(self.plan, store, observation))
        if observation.refused_since is not None and time.time() - observation.refused_since > _REFUSED_SECONDS:
            raise snapshot.unanswered("what was sent goes on")
        may_send = cancelled_count == self.cancelled_count and not self.is_spent
        unsent = _to_send(self.plan, observation) if may_send else set()
        is_time = time.time() - self.last_try >= _SEND_SECONDS or self._races_on(observation)
        if unsent and observation.entries is not None and is_time:
            self.last_try = time.time()
            self._send(unsent, observation)
        elif not unsent and not any(observation.is_sent(stage) for stage in self.plan.stages.values()):
            self.collector.end(len(observation.finished))
            self.notifier.over(observation)
            return observation.is_complete
        return None

    def _send(self, unsent: set[str], observation: Observation) -> None:
        try:
            self.lines_before = _send(self.plan, unsent, self.report, self.lines_before)
        except BudgetExceededError as error:
            if self.plan.experiment.race is None:
                raise
            # What runs may take less than is reserved for it. A race ends so once nothing does, as by its last seed.
            self.is_spent = not any(observation.is_sent(stage) for stage in self.plan.stages.values())
            if self.is_spent:
                self.report(str(error))

    def _races_on(self, observation: Observation) -> bool:
        """Whether a pair wants a seed that none did at the last look: no need to wait for room with that."""
        seeds_before, self.raced_seeds = (
            self.raced_seeds,
            sum(len(pair.wanted) for pair in observation.racing.pairs.values()),
        )
        return self.raced_seeds > seeds_before > 0

    def _is_due(self, counts: Mapping[State, int]) -> bool:
        """Whether a stage is in another state than at the last report; else once a minute."""
        return counts != self.counts or time.monotonic() - self.last_look >= _REPORT_SECONDS

    def _tell(self, standing: Standing) -> None:
        line = standing.line()
        if line != self.line or standing.counts != self.counts:
            self.report(f"{clock(time.time())} {line}")
        self.line, self.counts, self.last_look = line, standing.counts, time.monotonic()


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
