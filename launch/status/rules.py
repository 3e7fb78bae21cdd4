"""Where a stage stands: numbered rules over evidence; the first that fits decides. Pure: nothing is asked here.

What cannot be known now is `unknown` since a time: never success and never failure. Not covered: whether the evidence
is true, which `evidence` gathers, each piece only once a rule asks for it.
"""

from dataclasses import dataclass, replace
from typing import Literal, Protocol

from launch.executors import Unanswered, Whereabouts
from launch.status.history import Failure
from slurm import reasons
from slurm.causes import Cause

State = Literal["new", "queued", "running", "finished", "failed", "held", "cancelled", "unknown"]
STATES: tuple[State, ...] = ("new", "queued", "running", "finished", "failed", "held", "cancelled", "unknown")
UNDER_WAY: tuple[State, ...] = ("queued", "running", "unknown")


@dataclass(frozen=True)
class StageState:
    """One stage's state, and what a person needs to go on."""

    state: State
    job: str | None = None  # `123_4`, or `local`
    reason: str | None = None  # of failed, held and unknown; of queued where it is no ordinary one
    cause: Cause | None = None  # of failed
    since: float | None = None  # of unknown: Unix time

    @property
    def plain_reason(self) -> str | None:
        """The reason, with Slurm's word for why a job waits explained."""
        word = (self.reason or "").removeprefix("Slurm says ")
        is_explained = word != self.reason and reasons.explain(word) is not None
        return f"{self.reason}: {reasons.words(word)}" if is_explained else self.reason


class Evidence(Protocol):
    """What is known of a stage. All but the first two are about the element that it was last sent in."""

    @property
    def has_result(self) -> bool:
        """Its result is published, as the first look at the store says."""

    @property
    def was_sent(self) -> bool: ...

    @property
    def job(self) -> str | None:
        """As people name the element."""

    @property
    def whereabouts(self) -> Whereabouts: ...

    @property
    def may_make_encoder_again(self) -> bool:
        """A training whose encoder is gone, and whose element is at work and did not drop it."""

    @property
    def has_result_now(self) -> bool:
        """Its result is published, as a look at the store after the one at the queue says."""

    @property
    def is_in_attempt(self) -> bool:
        """The element is in an attempt at this stage now."""

    @property
    def noted_its_end(self) -> bool:
        """The element's attempt at this stage has noted how it ended."""

    @property
    def is_cancelled(self) -> bool:
        """`stepstone cancel` was told to end the element."""

    @property
    def held_line(self) -> str | None:
        """Why the rest of its submission is held."""

    @property
    def parent_reason(self) -> str | None:
        """Why it cannot run, where its parent is the reason."""

    @property
    def failure(self) -> Failure | None:
        """How the stage failed last; None where its last attempt ended well."""

    @property
    def failed_in_element(self) -> bool:
        """That failure was in an attempt which the element began."""

    @property
    def unanswered(self) -> Unanswered | None:
        """What accounting is still to say of the element's end."""

    @property
    def was_reached(self) -> bool:
        """The element came to this stage, or ended before any of its stages."""

    @property
    def last_words(self) -> str:
        """That its result was set aside, or the last error in its logs, one line; empty: none."""


def state_of(evidence: Evidence) -> StageState:
    """Where a stage stands."""
    return replace(_by_rules(evidence), job=evidence.job)


def _by_rules(evidence: Evidence) -> StageState:
    # 1. What was never sent is new, unless its result lies there.
    if not evidence.was_sent:
        return StageState("finished" if evidence.has_result else "new")
    # 2. A published result is the end, unless an encoder that was dropped may be on its way again.
    if evidence.has_result and not evidence.may_make_encoder_again:
        return StageState("finished")
    place = evidence.whereabouts
    # 3. While nobody can say whether its element is queued or over, it is neither success nor failure.
    if place.phase == "hidden":
        return StageState("unknown", reason=place.words, since=place.since)
    # 4. What waits for something that cannot happen any more will never start.
    if place.phase == "stuck":
        return StageState("held", reason=evidence.parent_reason or "what it waits for failed")
    # 5. Its element is queued or runs; of several stages, it is at one. Cancelled ones stay until they are gone.
    if place.phase in ("queued", "running"):
        is_at_it = place.phase == "running" and evidence.is_in_attempt
        reason = "being cancelled" if evidence.is_cancelled else place.words
        return StageState("running" if is_at_it else "queued", reason=reason)
    # From here on its element is over.
    # 6. Its result may have been published between the look at the store and the one at the queue.
    if evidence.has_result or evidence.has_result_now:
        return StageState("finished")
    # 7. What a person ended did not fail.
    if evidence.is_cancelled:
        return StageState("cancelled")
    # 8. The circuit breaker held it. One that was stopped, and then found the rest held, has not noted how it ended.
    if not evidence.noted_its_end and (line := evidence.held_line):
        return StageState("held", reason=line)
    # 9. It did not fail itself, and its parent is why it cannot run.
    if not evidence.failed_in_element and (reason := evidence.parent_reason):
        return StageState("held", reason=reason)
    failure = evidence.failure
    is_proven = failure is not None and failure.cause != "unknown"
    # 10. Without a proof on the disk, accounting has the word, and it has not spoken yet.
    if not is_proven and not evidence.noted_its_end and (question := evidence.unanswered):
        return StageState("unknown", reason=question.words, since=question.since)
    # 11. Its element ended at an earlier stage of its own, which is no failure of this one.
    if not evidence.was_reached:
        return StageState("new", reason="its job ended at another stage")
    # 12. It failed, and it is known how, or at least in which attempt.
    if failure is not None and (is_proven or evidence.failed_in_element):
        return StageState("failed", reason=failure.evidence, cause=failure.cause)
    # 13. It is over without a result, and nobody says why: what is known of the job's end, and its last words.
    how = f"job ended ({place.words})" if place.words else "job gone"
    last_words = evidence.last_words or ("" if place.words else "it left no result")
    return StageState("failed", reason=": ".join(filter(None, (how, last_words))), cause="unknown")
