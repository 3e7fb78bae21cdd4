"""Keeping elements in the queue: `hold` keeps those that wait from starting, `release` lets them go, `requeue` stops
those that run, which go on from their checkpoints when it is their turn. Nothing is
written: Slurm knows it, and says so.

Only our own elements, by the ids of their receipts and where the queue has them under their own names.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from launch import executors
from launch.executors import Verb
from launch.plan import Plan
from launch.status import Observation
from launch.store import Location, Store
from launch.text import some
from slurm import snapshot
from slurm.base import UserError
from slurm.queue import QueueEntry

# What only an administrator may release, Slurm refuses to others: it calls every hold so that root has set.
_HELD = (
    "JobHeldUser", "JobHeldAdmin", "JobHoldMaxRequeue", "job_requeued_in_held_state", "launch_failed_requeued_held",
)  # fmt: skip
_UNDONE = "nothing was changed"
# What a person is told where nothing fits, and where it was done.
NOTHING: dict[Verb, str] = {
    "hold": "none of these stages waits in Slurm's queue",
    "release": "none of these stages is held in Slurm's queue",
    "requeue": "none of these stages runs",
}
DONE: dict[Verb, str] = {"hold": "held", "release": "released", "requeue": "queued again"}


@dataclass(frozen=True)
class Keeping:
    """What would be held, released or queued again."""

    verb: Verb
    stages: list[str]  # keys, in the plan's order
    locations: list[Location]  # the elements that hold them
    beside: list[str]  # keys of other unfinished stages in those elements, of whatever experiment

    @property
    def jobs(self) -> list[str]:
        """As Slurm names the elements: `12_3`."""
        return [f"{location.job}_{location.index}" for location in self.locations]

    def of_others(self, plan: Plan) -> str | None:
        """That some elements were sent by other experiments, which share stages with this one; None: all are its
        own."""
        counts = Counter(location.submission.intent.experiment for location in self.locations)
        del counts[plan.experiment.name]
        if not counts:
            return None
        names = some(f"{name} ({count})" for name, count in sorted(counts.items()))
        return f"{counts.total()} of these elements were sent by other experiments, which wait for them too: {names}"


def select(plan: Plan, observation: Observation, verb: Verb, names: Sequence[str] = ()) -> Keeping:
    """The elements of an experiment, or of these stages (by name or key), that this can be done to.

    UserError where Slurm does not answer or is not what runs them, UsageError where a name means no stage.
    """
    if not executors.of_cluster(plan.experiment.cluster).has_queue:
        raise UserError(f"{verb}: it is for Slurm; local workers have no queue to keep an element in")
    if observation.entries is None:
        raise snapshot.unanswered(_UNDONE)
    entries = {(entry.job, entry.index): entry for entry in observation.entries}
    keys = ({plan.find(name).key for name in names} or plan.stages.keys()) & observation.locations.keys()
    locations = {key: observation.locations[key] for key in plan.stages if key in keys}
    stages = [
        key
        for key, location in locations.items()
        if key not in observation.finished and _fits(verb, location, entries.get((location.job or "", location.index)))
    ]
    chosen_locations = list(dict.fromkeys(locations[key] for key in stages))
    inside = dict.fromkeys(key for location in chosen_locations for key in location.keys)
    named_or_over = {*stages, *observation.finished}
    return Keeping(verb, stages, chosen_locations, [key for key in inside if key not in named_or_over])


def _fits(verb: Verb, location: Location, entry: QueueEntry | None) -> bool:
    if entry is None or entry.name != location.name:  # ids are used again, names are not
        return False
    if verb == "requeue":
        return entry.phase == "running"
    return entry.pending and (entry.reason in _HELD) == (verb == "release")


def change(plan: Plan, verb: Verb, names: Sequence[str], agree: Callable[[Keeping], bool]) -> Keeping | None:
    """Do it to what `select` says, where `agree` says so; None: it did not. What was agreed to and has moved on while
    it was asked stays as it is.

    UserError where Slurm does not do it.
    """
    proposal = select(plan, _look(plan), verb, names)
    if not proposal.locations:
        return proposal
    if not agree(proposal):
        return None
    agreement = _within(select(plan, _look(plan), verb, names), set(proposal.locations))
    for executor, locations in executors.by_executor(agreement.locations):
        executor.change(verb, locations)
    return agreement


def _look(plan: Plan) -> Observation:
    return Observation(plan, Store(plan.experiment.store), max_age=0)


def _within(keeping: Keeping, agreed_locations: Collection[Location]) -> Keeping:
    locations = [location for location in keeping.locations if location in agreed_locations]
    keys = {key for location in locations for key in location.keys}
    return replace(
        keeping,
        stages=[key for key in keeping.stages if key in keys],
        locations=locations,
        beside=[key for key in keeping.beside if key in keys],
    )
