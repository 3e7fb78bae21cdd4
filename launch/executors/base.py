"""What is asked of an executor, and the records in which it answers."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from launch.experiment import Cluster
from launch.store import Location, Submission
from launch.store.attempts import Starter
from slurm.accounting import Ended
from slurm.causes import Cause
from slurm.limits import Limits
from slurm.queue import QueueEntry

Queued = Set[tuple[str, int | None]]  # what a queue holds: names of arrays and indices
Phase = Literal["hidden", "queued", "stuck", "running", "over"]
Verb = Literal["hold", "release", "requeue"]  # what can be done to an element in a queue, and undone


@dataclass(frozen=True)
class Whereabouts:
    """Where an element is.

    hidden: nobody can say. stuck: in the queue, for what cannot happen any more.
    """

    phase: Phase
    words: str | None = None  # hidden: why; queued: for what, where that is not ordinary; over: how, where it is known
    since: float | None = None  # of hidden: Unix time

    @property
    def is_at_work(self) -> bool:
        """Whether it is seen to be in the queue or to run."""
        return self.phase in ("queued", "stuck", "running")


@dataclass(frozen=True)
class Unanswered:
    """What is still to be said of how an element ended."""

    words: str
    since: float  # Unix time


@dataclass(frozen=True)
class ElementStart:
    """One start of an element: by what its own attempts are known."""

    job: str | None  # `123_4`; None: a local process, which only its time tells apart
    sent: float = 0.0  # Unix time

    def has_begun(self, starter: Starter) -> bool:
        """Whether it began the attempt that this is the starter of."""
        return starter.job == self.job and (self.job is not None or (starter.time or 0.0) >= self.sent)


@dataclass(frozen=True)
class Scope:
    """What a look is about."""

    submissions: Sequence[Submission]  # all in the store, the oldest first
    locations: Mapping[str, Location]  # by stage key, of the stages that are not finished
    attempts: Callable[[str], int]  # how many a stage has, by its key
    is_ours: bool  # this user sent them: of others' an executor may show nothing, which would look as if all were over
    is_chosen: bool  # the experiment's file names this executor


class Look(Protocol):
    """One look at all elements of one executor: what was read stays as read."""

    @property
    def entries(self) -> list[QueueEntry] | None:
        """What its queue holds; None where it does not answer."""

    @property
    def refused_since(self) -> float | None:
        """Since when it answers that it will not tell (Unix time); None: it tells, or it is silent."""

    def whereabouts(self, location: Location) -> Whereabouts: ...

    def ended(self, location: Location) -> Ended | None:
        """What accounting says of an element that is over."""

    def unanswered(self, location: Location) -> Unanswered | None:
        """What accounting is still to say; None where nothing more is to come."""


class Executor(Protocol):
    """One way to run elements. Without state: what is seen at one time is a `Look`.

    Not here: how a draft is handed over, which `submit.sender` knows for each, since drafts are made above this room.
    """

    has_queue: bool  # whose jobs others can be told to wait for, and whose throttle can be changed while they run
    comes_back: tuple[Cause, ...]  # failures that are the machines', not the stage's: sent again while one waits

    # --- where its elements are

    def look(self, scope: Scope, max_age: float) -> Look:
        """Where its elements are; answers may be `max_age` seconds old, 0: ask now."""

    def needs_queue(self, submission: Submission) -> bool:
        """Whether only Slurm's queue can tell what of a submission may be at work."""

    def may_be_at_work(self, location: Location, queue: Queued) -> bool:
        """Whether an element may be queued or run, whichever experiment sent it. queued: what the queue holds now."""

    def was_handed_over(self, submission: Submission) -> bool | None:
        """Whether a submission without receipts reached it, as the disk says; None: the queue has to be asked."""

    def job(self, location: Location) -> str | None:
        """What people call an element: `123_4`, or `local`; None while that is not known."""

    def element(self, location: Location) -> ElementStart: ...

    def logs(self, location: Location) -> list[Path]:
        """Files in which an element's tasks have printed something; of a stage's lane, where one is asked about."""

    # --- ending them

    def cancel(self, locations: Sequence[Location]) -> None:
        """End elements, which may be of several submissions. UserError where it cannot be done."""

    # --- keeping them

    def change(self, verb: Verb, locations: Sequence[Location]) -> None:
        """Keep elements that wait from starting, let them go again, or stop those that run and queue them again.
        UserError where it cannot be done."""

    # --- what it takes

    def check_store(self, store: Path) -> None:
        """UsageError for the path of a store that it would understand otherwise than it is meant."""

    def array_size(self) -> int:
        """The largest index of an array, plus one. UserError where it does not answer."""

    def limits(self, cluster: Cluster) -> Limits | None:
        """What it takes from this user; None: all there is. UserError where it cannot run what the file asks for."""

    def cores_per_rank(self, cluster: Cluster) -> int:
        """CPU cores of one process of a stage."""

    def at_once(self, cluster: Cluster) -> int | None:
        """Elements that may run at the same time; None: as many as there is room for."""
