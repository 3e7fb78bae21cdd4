"""What is asked of an executor, and the records in which it answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from launch.store import Location, Submission
from slurm.accounting import Ended
from slurm.queue import QueueEntry

Phase = Literal["hidden", "queued", "stuck", "running", "over"]


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
class Element:
    """By what an element's own attempts are known."""

    job: str | None  # `123_4`; None: a local process, which only its time tells apart
    sent: float = 0.0  # Unix time

    def has_begun(self, starter: Mapping[str, Any]) -> bool:
        """Whether it began the attempt that this starter.json is of."""
        return starter.get("job") == self.job and (self.job is not None or starter.get("time", 0.0) >= self.sent)


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

    def whereabouts(self, location: Location) -> Whereabouts: ...

    def ended(self, location: Location) -> Ended | None:
        """What accounting says of an element that is over."""

    def unanswered(self, location: Location) -> Unanswered | None:
        """What accounting is still to say; None where nothing more is to come."""


class Executor(Protocol):
    """One way to run elements. Without state: what is seen at one time is a `Look`."""

    def look(self, scope: Scope, max_age: float) -> Look:
        """Where its elements are; answers may be `max_age` seconds old, 0: ask now."""

    def job(self, location: Location) -> str | None:
        """What people call an element: `123_4`, or `local`; None while that is not known."""

    def element(self, location: Location) -> Element: ...

    def logs(self, location: Location) -> list[Path]:
        """Files in which an element's tasks have printed something."""
