"""Gathers what `rules` goes by, each piece when it is first asked for: most stages need none of the costly ones."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from launch import executors
from launch.executors import ElementStart, Executor, Look, Unanswered, Whereabouts
from launch.plan import Plan, Stage
from launch.status import breaker, history
from launch.status.history import EndedElement, Failure
from launch.status.rules import StageState
from launch.store import Location, Store, Submission, artifacts, attempts, logs
from launch.store.attempts import Starter
from slurm import causes

# What is said of a stage whose parent stands so.
_OF_PARENT = {"failed": "failed", "held": "held", "cancelled": "cancelled", "new": "did not begin"}


@dataclass(frozen=True)
class Sources:
    """What the evidence about all stages is taken from, and what of it was read already."""

    plan: Plan
    store: Store
    submissions: list[Submission]
    finished: set[str]  # keys of stages with a result, as the first look at the store says
    looks: Mapping[str, Look]  # by the executor's name
    states: Mapping[str, StageState]  # of the stages before, so of parents
    _held_lines: dict[Path, str | None]
    _begun: dict[tuple[Location, int | None], set[str]]  # by element and lane

    def held_line(self, submission: Path) -> str | None:
        """Why the rest of a submission is held."""
        if submission not in self._held_lines:
            self._held_lines[submission] = breaker.held_line(submission)
        return self._held_lines[submission]

    def begun_at(self, location: Location, element: ElementStart) -> set[str]:
        """Keys of the stages that an element began an attempt at, of one in lanes the lane that is asked about;
        whichever file asks for them."""
        at = location, location.lane
        if at not in self._begun:
            folders = self.store.folders_of(location.keys_of_lane)
            self._begun[at] = {
                key
                for key, name in folders.items()
                if history.has_attempt_of(
                    self.store.stage_folder(name), element, self._sent_again(key, location, element)
                )
            }
        return self._begun[at]

    def _sent_again(self, key: str, location: Location, element: ElementStart) -> float:
        """When a stage was next sent, where only its time tells attempts apart (Unix time)."""
        if element.job is not None:
            return math.inf
        later = self.submissions[self.submissions.index(location.submission) + 1 :]
        notes = (s.sending(n) for s in later for n, array in enumerate(s.arrays) if key in array.keys)
        return min((note.time for note in notes if note is not None), default=math.inf)

    @cached_property
    def store_now(self) -> Store:
        """The store read again, after the queue: what left the queue between the two looks may have its result."""
        return Store(self.store.root)


class StageEvidence:
    """`rules.Evidence` of one stage, from disk, queue and accounting."""

    def __init__(self, stage: Stage, location: Location | None, sources: Sources) -> None:
        self._stage = stage
        self._location = location
        self._sources = sources

    # --- without its element

    @property
    def has_result(self) -> bool:
        return self._stage.key in self._sources.finished

    @property
    def was_sent(self) -> bool:
        return self._location is not None

    @property
    def has_result_now(self) -> bool:
        return self._sources.store_now.is_finished(self._sources.plan, self._stage)

    @property
    def parent_reason(self) -> str | None:
        if self._stage.parent is None:
            return None
        words = _OF_PARENT.get(self._sources.states[self._stage.parent].state)
        return f"{self._sources.plan.stages[self._stage.parent].name} {words}" if words else None

    # --- its element

    @property
    def job(self) -> str | None:
        return self._executor.job(self._where) if self._location is not None else None

    @property
    def is_cancelled(self) -> bool:
        return self._where.is_cancelled

    @cached_property
    def whereabouts(self) -> Whereabouts:
        return self._look.whereabouts(self._where)

    @property
    def unanswered(self) -> Unanswered | None:
        return self._look.unanswered(self._where)

    @property
    def held_line(self) -> str | None:
        return self._sources.held_line(self._where.submission.folder)

    @property
    def last_words(self) -> str:
        if self.noted_its_end and artifacts.was_set_aside(self._folder):
            return "its result did not verify, and was set aside"
        return causes.one_line(logs.last_error(self._executor.logs(self._where)) or "")

    # --- its attempts

    @property
    def may_make_encoder_again(self) -> bool:
        if self._stage.kind != "train" or not self.whereabouts.is_at_work:
            return False
        return not self._sources.store.has_encoder(self._stage) and not self._made_result

    @property
    def is_in_attempt(self) -> bool:
        """One that an earlier element left open does not count."""
        every = attempts.attempts_of(self._folder)
        return bool(every) and attempts.end_of(every[-1]) is None and history.began(self._folder, self._element)

    @cached_property
    def noted_its_end(self) -> bool:
        return history.noted_its_end(self._folder, self._element)

    @cached_property
    def failure(self) -> Failure | None:
        return history.last(self._sources.store, self._stage, self.ended_element)

    @property
    def failed_in_element(self) -> bool:
        return self.failure is not None and self.failure.attempt > 0 and self.is_in_element(self.failure)

    @cached_property
    def was_reached(self) -> bool:
        if len(self._where.keys_of_lane) == 1:
            return True
        begun_stages = self._sources.begun_at(self._where, self._element)
        if not begun_stages or self._stage.key in begun_stages:
            return True
        return logs.came_to(self._executor.logs(self._where), self._stage.folder)

    @cached_property
    def ended_element(self) -> EndedElement:
        """The element, where it is over."""
        record = self._look.ended(self._where)
        log = logs.tail(self._executor.logs(self._where), self._stage.folder)
        over = EndedElement(log, None, self._element.job, self._element.sent, None, self.was_reached)
        return over if record is None else replace(over, ended=record, node=record.node or None)

    def is_in_element(self, failure: Failure) -> bool:
        """Whether a failure is of the element, and not from before it was sent."""
        return failure.job == self._element.job and (failure.job is not None or failure.time >= self._element.sent)

    @property
    def _made_result(self) -> bool:
        """Whether a training's result was made by the element, which dropped the encoder since."""
        result = self._sources.store.train_result(self._stage)
        return self._element.has_begun(result.made_by if result else Starter())

    # --- where to ask

    @property
    def _where(self) -> Location:
        assert self._location is not None, "asked about an element of a stage that was never sent"
        return self._location

    @property
    def _executor(self) -> Executor:
        return executors.of_location(self._where)

    @property
    def _look(self) -> Look:
        return self._sources.looks[self._where.submission.executor]

    @cached_property
    def _element(self) -> ElementStart:
        return self._executor.element(self._where)

    @cached_property
    def _folder(self) -> Path:
        return self._sources.store.stage_folder(self._stage.folder)
