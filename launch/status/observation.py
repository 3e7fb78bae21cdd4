"""Where every stage stands: a function of the stage's folder, then Slurm's queue, then accounting, in this order."""

import os
from collections import Counter
from collections.abc import Collection, Set
from functools import cached_property

from launch.executors import EXECUTORS, Scope
from launch.plan import Plan, Stage
from launch.status import finished, history, racing
from launch.status.evidence import Sources, StageEvidence
from launch.status.history import Failure
from launch.status.rules import STATES, UNDER_WAY, StageState, State, state_of
from launch.store import Location, Store, attempts, submissions
from slurm.queue import QueueEntry

MAX_AGE = 60.0  # seconds: how old an answer of Slurm's may be, unless something is about to be sent or ended
_FINISHED, _NEW = StageState("finished"), StageState("new")


class Observation:
    """One look at an experiment: disk, one squeue, and one sacct for what vanished. Make a new one per command.

    `max_age`: seconds that the answers of Slurm may be old; 0 asks now. `verify`: every result is read again.
    """

    def __init__(self, plan: Plan, store: Store, max_age: float = MAX_AGE, *, verify: bool = False) -> None:
        self.plan = plan
        self.store = store
        self.submissions = submissions.read_all(store.root)
        self.locations = submissions.locate(self.submissions)
        self.finished = finished.finished(plan, store, verify=verify)
        file_says = plan.experiment.cluster.chosen_executor
        self._looks = {
            name: executor.look(self._scope(is_chosen=name == file_says), max_age)
            for name, executor in EXECUTORS.items()
        }
        self._failures: dict[str, list[Failure]] = {}
        self._states: dict[str, StageState] = {}
        self._sources = Sources(plan, store, self.submissions, self.finished, self._looks, self._states, {}, {})
        for key, stage in plan.stages.items():  # parents first: a child is held where its parent failed
            if key not in self.locations:  # as most are in a large experiment: rule 1, without a look at anything
                self._states[key] = _FINISHED if key in self.finished else _NEW
            else:
                self._states[key] = state_of(self._evidence(stage))
                if self._states[key].state == "finished":
                    self.finished.add(key)  # published since the first look
        self.racing = racing.of(plan, self)
        for key, why in self.racing.unneeded.items():
            if self._states[key].state == "new":
                self._states[key] = StageState("new", reason=why)

    @property
    def entries(self) -> list[QueueEntry] | None:
        """What the queue holds; None where Slurm does not answer."""
        queues = [look.entries for look in self._looks.values()]
        return None if None in queues else [entry for queue in queues for entry in queue or ()]

    @property
    def refused_since(self) -> float | None:
        """Since when Slurm refuses to say what the queue holds (Unix time); None: it does not refuse."""
        times = (look.refused_since for look in self._looks.values())
        return min((time for time in times if time is not None), default=None)

    def state(self, stage: Stage) -> StageState:
        return self._states[stage.key]

    @property
    def unneeded(self) -> Set[str]:
        """Keys of unfinished stages whose seed no pair wants now (`seeds: {min, max, until}`): they are not sent."""
        return self.racing.unneeded.keys()

    @property
    def total(self) -> int:
        """How many stages there are, without new ones that no pair of a race wants now."""
        return sum(self.counts().values())

    @property
    def is_complete(self) -> bool:
        """Whether every stage is finished, or of a race every one that is wanted."""
        return len(self.finished) + len(self.unneeded) == len(self.plan.stages)

    def is_finished(self, stage: Stage) -> bool:
        return stage.key in self.finished

    def is_sent(self, stage: Stage) -> bool:
        """Queued, running or possibly so: not to be sent again."""
        return self._states[stage.key].state in UNDER_WAY

    def has_encoder(self, stage: Stage) -> bool:
        return self.store.has_encoder(stage)

    def among(self, states: Collection[State]) -> list[Stage]:
        """The stages in some states, in the plan's order."""
        return [self.plan.stages[key] for key, state in self._states.items() if state.state in states]

    def counts(self) -> dict[State, int]:
        """How many stages are in each state; of new ones those that are wanted."""
        counts = Counter(state.state for state in self._states.values())
        counts["new"] -= self.unwanted_count
        return {state: counts[state] for state in STATES}

    @cached_property
    def unwanted_count(self) -> int:
        """How many new stages no pair of a race wants now."""
        return sum(self._states[key].state == "new" for key in self.unneeded)

    def is_at_work(self, location: Location) -> bool:
        """Whether an element is seen to be queued or to run."""
        return self._looks[location.submission.executor].whereabouts(location).is_at_work

    def failures(self, stage: Stage) -> list[Failure]:
        """Every failed attempt at a stage, the oldest first."""
        if stage.key not in self._failures:
            # That an element was cancelled, or never started since its parent failed, is no failure of the stage.
            failed_there = self.state(stage).state == "failed" and stage.key in self.locations
            over = self._evidence(stage).ended_element if failed_there else None
            self._failures[stage.key] = history.failures_of(self.store.stage_folder(stage.folder), over)
        return self._failures[stage.key]

    def failed_there(self, stage: Stage) -> bool:
        """Whether its last failure was in the element that a stage was last sent in, and not before that was sent."""
        failures = self.failures(stage)
        return bool(failures) and self._evidence(stage).is_in_element(failures[-1])

    def stuck(self) -> list[Location]:
        """Elements of ours in the queue that wait for what cannot happen any more."""
        queued = (at for at in dict.fromkeys(self._open().values()) if EXECUTORS[at.submission.executor].has_queue)
        return [at for at in queued if self._looks[at.submission.executor].whereabouts(at).phase == "stuck"]

    def _evidence(self, stage: Stage) -> StageEvidence:
        return StageEvidence(stage, self.locations.get(stage.key), self._sources)

    def _scope(self, *, is_chosen: bool) -> Scope:
        return Scope(self.submissions, self._open(), self._attempts, self._is_ours, is_chosen)

    def _open(self) -> dict[str, Location]:
        """Locations of stages that are not finished."""
        keys = self.plan.stages.keys() - self.finished
        return {key: self.locations[key] for key in keys if key in self.locations}

    def _attempts(self, key: str) -> int:
        return len(attempts.attempts_of(self.store.stage_folder(self.plan.stages[key].folder)))

    @cached_property
    def _is_ours(self) -> bool:
        """Whether this user sent the jobs: of others' Slurm may show nothing, which would look as if they were over."""
        try:
            return self.store.root.stat().st_uid == os.geteuid()
        except FileNotFoundError:
            return True
