"""What a submission would send: the difference between what is asked for and what is finished, queued or running."""

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from launch import executors
from launch.draft import elements, flags
from launch.draft import elements as draft_elements
from launch.draft.elements import Array, Dependency, Element, Placed
from launch.estimate import cost
from launch.experiment import Failures
from launch.plan import Plan
from launch.status import Observation, breaker
from launch.status import policy as retry_policy
from launch.status.history import Failure
from launch.status.policy import Changes
from launch.text import some
from slurm.limits import Limits


@dataclass(frozen=True)
class Bounds:
    """What the cluster takes at the moment."""

    elements: int | None = None  # how many more it takes from this user; None: no limit is known
    which: str = ""  # the limit that says so
    limits: Limits | None = None  # as the cluster said them; None: it was not asked


_UNBOUNDED = Bounds()


@dataclass(frozen=True)
class Draft:
    """What a submission would send, before it has an id: shown by `plan`, sent by `submit`."""

    plan: Plan
    needed: set[str]  # stages of these arrays
    arrays: list[Array]
    held_back: int  # elements that wait for a stage which another executor is at: sent by a later `submit`
    no_room: int = 0  # elements beyond what the cluster takes now: the same
    bounds: Bounds = _UNBOUNDED
    blocked: Mapping[str, str] = field(default_factory=dict)  # failed stages that are not sent again, and why
    breaker: str | None = None  # why nothing new is sent: too many stages failed alike

    @property
    def element_count(self) -> int:
        return sum(len(array.elements) for array in self.arrays)


def decide(
    plan: Plan,
    seen: Observation,
    max_array_size: int,
    bounds: Bounds = _UNBOUNDED,
    only: Collection[str] | None = None,
    force: Collection[str] = (),
) -> Draft:
    """The difference between what an experiment asks for and what is finished, queued or running.

    only: nothing but these stages (by key) and the trainings whose encoder they need again. force: stages that are
    sent whatever the policy says of their failures.
    """
    missing = elements.stages_to_run(plan, seen.is_finished, seen.is_sent, seen.has_encoder)
    if only is not None:
        missing &= _with_encoders(plan, seen, only)
    policy = plan.experiment.failures
    held_line = breaker.held(_last_failures(plan, seen), policy)
    judged, changes = _judge(plan, seen, missing, policy, force)
    blocked = dict(judged)
    most_nodes = flags.most_excluded(plan.experiment.cluster, bounds.limits)
    if held_line:
        blocked = {key: blocked.get(key, held_line) for key in missing if key not in force}
        held_line = held_line if blocked else None
    needed = _possible(plan, seen, missing - blocked.keys())
    made = elements.make_elements(plan, needed, seen.is_sent, lambda stages: _together(stages, changes, most_nodes))
    sent = _sent(plan, seen)
    reachable = _reachable(made, sent.keys())
    packed = _packed(plan, reachable)
    everything = elements.arrange(packed, sent, max_array_size)
    kept = everything if bounds.elements is None else within(everything, bounds.elements)
    count = sum(len(array.elements) for array in kept)
    return Draft(
        plan,
        {key for array in kept for element in array.elements.values() for key in element.stages},
        kept,
        len(made) - len(reachable),
        len(packed) - count,
        bounds,
        {k: why for k, why in blocked.items() if k in judged or seen.state(plan.stages[k]).state == "failed"},
        held_line,
    )


def _with_encoders(plan: Plan, seen: Observation, only: Collection[str]) -> set[str]:
    """Some stages, and the finished trainings above them: those may have to make their encoder again."""
    found = set(only)
    for key in only:
        parent = plan.stages[key].parent
        while parent is not None and seen.is_finished(plan.stages[parent]):
            found.add(parent)
            parent = plan.stages[parent].parent
    return found


def _last_failures(plan: Plan, seen: Observation) -> dict[str, Failure]:
    """The last failure of every stage that is failed now."""
    failed = [stage for stage in plan.stages.values() if seen.state(stage).state == "failed"]
    return {stage.key: found[-1] for stage in failed if (found := seen.failures(stage))}


def _judge(
    plan: Plan, seen: Observation, missing: set[str], policy: Failures, force: Collection[str]
) -> tuple[dict[str, str], dict[str, Changes]]:
    """Of stages that failed before: why not to send them again, or with what changes."""
    blocked: dict[str, str] = {}
    changes: dict[str, Changes] = {}
    for key, stage in plan.stages.items():
        if key not in missing or key not in seen.locations:
            continue
        decision = retry_policy.decide(seen.failures(stage), policy)
        if decision.changes != Changes():
            changes[key] = decision.changes
        # What was sent after its last failure, and then cancelled, held or not reached, was meant to run.
        for_itself = seen.state(stage).state in ("failed", "held") and seen.failed_there(stage)
        if not decision.send and key not in force and for_itself:
            blocked[key] = decision.why
    return blocked, changes


def _together(stages: tuple[str, ...], changes: Mapping[str, Changes], most_nodes: int) -> Changes | None:
    """The changes of an element: what the neediest of its stages needs; of the nodes at most so many, the last ones."""
    found = [changes[key] for key in stages if key in changes]
    if not found:
        return None
    made = Changes(
        max(change.mem_factor for change in found),
        max(change.time_factor for change in found),
        min(change.token_budget_factor for change in found),
        _last_nodes([change.exclude for change in found], most_nodes),
    )
    return made if made != Changes() else None


def _last_nodes(lists: list[tuple[str, ...]], most: int) -> tuple[str, ...]:
    """Some nodes of several lists, from the end of each; in order, so that equal ones look alike."""
    turns = itertools.zip_longest(*(reversed(nodes) for nodes in lists))
    return tuple(sorted(list(dict.fromkeys(node for turn in turns for node in turn if node))[:most]))


def _possible(plan: Plan, seen: Observation, wanted: set[str]) -> set[str]:
    """Without what stands under a stage that is neither finished nor on its way."""
    kept: set[str] = set()
    serves: dict[str | None, bool] = {None: True}  # by parent
    for key in plan.stages:
        parent = plan.stages[key].parent
        if key not in wanted:
            continue
        if parent is not None and parent not in serves:
            stage = plan.stages[parent]
            # Of one that is unknown nobody can say that it will end.
            on_its_way = parent in kept or seen.state(stage).state in ("queued", "running")
            serves[parent] = on_its_way or (seen.is_finished(stage) and seen.has_encoder(stage))
        if serves[parent]:
            kept.add(key)
    return kept


def _sent(plan: Plan, seen: Observation) -> dict[str, Placed]:
    """The stages that are in a queue whose jobs a dependency can name."""
    if not executors.of_cluster(plan.experiment.cluster).has_queue:
        return {}
    return {
        key: Placed(location.job, location.index)
        for key, location in seen.locations.items()
        if key in plan.stages and location.job and seen.is_sent(plan.stages[key])
    }


def _reachable(made: list[Element], sent: Collection[str]) -> list[Element]:
    """The elements whose parents this submission runs, or an executor that a dependency can name."""
    running = {*sent, *(key for element in made for key in element.stages)}
    while True:
        kept = [e for e in made if e.parent is None or e.parent in running]
        if len(kept) == len(made):
            return kept
        made, running = kept, {*sent, *(key for element in kept for key in element.stages)}


def _packed(plan: Plan, made: list[Element]) -> list[Element]:
    cluster = plan.experiment.cluster
    if not cluster.bundle:
        return made
    return draft_elements.pack(made, cluster, cost.Estimates(plan).element_seconds)


def within(everything: list[Array], room: int) -> list[Array]:
    """As many elements as there is room for, none without the one that it waits for; parents come first as they are."""
    kept: list[Array] = []
    place: dict[int, int] = {}  # position before -> position among those kept
    for number, array in enumerate(everything):
        free = {i: e for i, e in array.elements.items() if _parent_is_kept(array.dependency, i, place, kept)}
        chosen = dict(list(free.items())[:room])
        if not chosen:
            continue
        room -= len(chosen)
        place[number] = len(kept)
        kept.append(replace(array, elements=chosen, dependency=_moved(array.dependency, chosen, place)))
    return kept


def _parent_is_kept(wanted: Dependency | None, index: int, place: Mapping[int, int], kept: list[Array]) -> bool:
    if wanted is None or wanted.array is None:
        return True
    if wanted.array not in place:
        return False
    parent = index if wanted.type == "aftercorr" else wanted.index
    return parent in kept[place[wanted.array]].elements


def _moved(wanted: Dependency | None, chosen: Mapping[int, Element], place: Mapping[int, int]) -> Dependency | None:
    if wanted is None or wanted.array is None:
        return wanted
    stages = tuple(dict.fromkeys(element.parent for element in chosen.values() if element.parent))
    return replace(wanted, array=place[wanted.array], stages=stages)


def names(plan: Plan, keys: Collection[str], most: int = 4) -> str:
    """Some stages' names, for a line."""
    return some((stage.name for stage in plan.stages.values() if stage.key in keys), most)
