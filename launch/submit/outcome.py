"""What one `submit` came to, and the words in which a person is told."""

from dataclasses import dataclass

from launch.draft import Draft, drafting, flags, request
from launch.store import Submission


@dataclass(frozen=True)
class Submitted:
    """What `submit` did."""

    draft: Draft  # what was left to send when it was last looked at; where all of it went out, that
    adopted: tuple[str, ...]  # a line per array of an interrupted submission, and per thing that was cleaned up
    submissions: tuple[Submission, ...] = ()  # with something sent
    stages: int = 0  # sent
    elements: int = 0  # sent
    held: int = 0  # elements that go out when there is room
    limit: str = ""  # what there is no room by
    unknown: str = ""  # a line about stages of which nobody can tell yet whether they failed

    @property
    def submission(self) -> Submission | None:
        """The first one; None: nothing was sent."""
        return self.submissions[0] if self.submissions else None


def lines(outcome: Submitted) -> list[str]:
    """What a person is told at the end."""
    draft = outcome.draft
    sentences = list(outcome.adopted)
    if outcome.submission is not None:
        counts = f"{outcome.stages} stages as {outcome.elements} elements"
        sentences.append(f"sent {counts}: {outcome.submission.folder}")
    elif not outcome.held and not outcome.unknown and not draft.blocked and not draft.breaker:
        sentences.append("nothing to send: every stage is finished, queued or running")
    if outcome.held:
        sentences.append(
            f"{outcome.held} elements are held back by {outcome.limit}; type the command again when there is room"
        )
    if outcome.unknown:
        sentences.append(outcome.unknown)
    if draft.held_back:
        sentences.append(
            f"{draft.held_back} elements wait for stages that run elsewhere: submit again when those are done"
        )
    if draft.breaker:
        sentences.append(draft.breaker)
    elif draft.blocked:
        first = next(iter(draft.blocked.values()))
        names = drafting.names(draft.plan, draft.blocked)
        sentences.append(f"{len(draft.blocked)} stages are not sent again ({names}): {first}")
    changes = {change for array in draft.arrays if (change := request.changes_of(array))}
    cluster = draft.plan.experiment.cluster
    return sentences + sorted({line for change in changes for line in flags.unchanged(cluster, change)})
