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
    observation: Observation,
    max_array_size: int,
    bounds: Bounds = _UNBOUNDED,
    only: Collection[str] | None = None,
    force: Collection[str] = (),
) -> Draft:
    """The difference between what an experiment asks for and what is finished, queued or running.

    only: nothing but these stages (by key) and the trainings whose encoder they need again. force: stages that are
    sent whatever the policy says of their failures.
    """
    unneeded_keys = observation.unneeded - set(force)
    missing = elements.stages_to_run(
        plan,
        lambda stage: observation.is_finished(stage) or stage.key in unneeded_keys,
        observation.is_sent,
        observation.has_encoder,
    )
    if only is not None:
        missing &= _with_encoders(plan, observation, only)
    # What failed before, and so may not go, or goes with other resources.
    policy = plan.experiment.failures
    reasons, changes = _judge(plan, observation, missing, policy, force)
    breaker_line = breaker.held(_last_failures(plan, observation), policy)
    blocked_reasons = dict(reasons)
    if breaker_line:
        blocked_reasons = {key: reasons.get(key, breaker_line) for key in missing if key not in force}
    # Of the rest, what has a chance; cut into elements, whose parents a dependency can name.
    possible = _possible(plan, observation, missing - blocked_reasons.keys())
    most_nodes = flags.most_excluded(plan.experiment.cluster, bounds.limits)
    all_elements = elements.make_elements(
        plan, possible, observation.is_sent, lambda stages: _together(stages, changes, most_nodes)
    )
    places = _places(plan, observation)
    reachable = _reachable(all_elements, places.keys())
    # Put together, in arrays, and as many of those as there is room for.
    bundles = _together_in_one_index(plan, reachable)
    all_arrays = elements.arrange(bundles, places, max_array_size)
    arrays = all_arrays if bounds.elements is None else within(all_arrays, bounds.elements)
    failed_keys = {stage.key for stage in observation.among(["failed"])}
    return Draft(
        plan=plan,
        needed={key for array in arrays for element in array.elements.values() for key in element.stages},
        arrays=arrays,
        held_back=len(all_elements) - len(reachable),
        no_room=len(bundles) - sum(len(array.elements) for array in arrays),
        bounds=bounds,
        blocked={key: why for key, why in blocked_reasons.items() if key in reasons or key in failed_keys},
        breaker=breaker_line if blocked_reasons else None,
    )


def _with_encoders(plan: Plan, observation: Observation, only: Collection[str]) -> set[str]:
    """Some stages, and the finished trainings above them: those may have to make their encoder again."""
    keys = set(only)
    for key in only:
        parent = plan.stages[key].parent
        while parent is not None and observation.is_finished(plan.stages[parent]):
            keys.add(parent)
            parent = plan.stages[parent].parent
    return keys


def _last_failures(plan: Plan, observation: Observation) -> dict[str, Failure]:
    """The last failure of every stage that is failed now."""
    failures = {stage.key: observation.failures(stage) for stage in observation.among(["failed"])}
    return {key: every[-1] for key, every in failures.items() if every}


def _judge(
    plan: Plan, observation: Observation, missing: set[str], policy: Failures, force: Collection[str]
) -> tuple[dict[str, str], dict[str, Changes]]:
    """Of stages that failed before: why not to send them again, or with what changes."""
    blocked_reasons: dict[str, str] = {}
    changes: dict[str, Changes] = {}
    for key, stage in plan.stages.items():
        if key not in missing or key not in observation.locations:
            continue
        decision = retry_policy.decide(observation.failures(stage), policy)
        if decision.changes != Changes():
            changes[key] = decision.changes
        # What was sent after its last failure, and then cancelled, held or not reached, was meant to run.
        for_itself = observation.state(stage).state in ("failed", "held") and observation.failed_there(stage)
        if not decision.send and key not in force and for_itself:
            blocked_reasons[key] = decision.why
    return blocked_reasons, changes


def _together(stages: tuple[str, ...], changes: Mapping[str, Changes], most_nodes: int) -> Changes | None:
    """The changes of an element: what the neediest of its stages needs; of the nodes at most so many, the last ones."""
    of_stages = [changes[key] for key in stages if key in changes]
    if not of_stages:
        return None
    together = Changes(
        mem_factor=max(change.mem_factor for change in of_stages),
        time_factor=max(change.time_factor for change in of_stages),
        token_budget_factor=min(change.token_budget_factor for change in of_stages),
        exclude=_last_nodes([change.exclude for change in of_stages], most_nodes),
    )
    return together if together != Changes() else None


def _last_nodes(lists: list[tuple[str, ...]], count: int) -> tuple[str, ...]:
    """Some nodes of several lists, from the end of each; in order, so that equal ones look alike."""
    turns = itertools.zip_longest(*(reversed(nodes) for nodes in lists))
    return tuple(sorted(list(dict.fromkeys(node for turn in turns for node in turn if node))[:count]))


def _possible(plan: Plan, observation: Observation, keys: set[str]) -> set[str]:
    """Without what stands under a stage that is neither finished nor on its way."""
    possible: set[str] = set()
    serves: dict[str | None, bool] = {None: True}  # by parent
    for key in plan.stages:
        parent = plan.stages[key].parent
        if key not in keys:
            continue
        if parent is not None and parent not in serves:
            stage = plan.stages[parent]
            # Of one that is unknown nobody can say that it will end.
            on_its_way = parent in possible or observation.state(stage).state in ("queued", "running")
            serves[parent] = on_its_way or (observation.is_finished(stage) and observation.has_encoder(stage))
        if serves[parent]:
            possible.add(key)
    return possible


def _places(plan: Plan, observation: Observation) -> dict[str, Placed]:
    """The stages that are in a queue whose jobs a dependency can name."""
    if not executors.of_cluster(plan.experiment.cluster).has_queue:
        return {}
    return {
        key: Placed(location.job, location.index)
        for key, location in observation.locations.items()
        if key in plan.stages and location.job and observation.is_sent(plan.stages[key])
    }


def _reachable(all_elements: list[Element], queue: Collection[str]) -> list[Element]:
    """The elements whose parents this submission runs, or are in a queue whose jobs a dependency can name."""
    reachable = all_elements
    while True:
        running = {*queue, *(key for element in reachable for key in element.stages)}
        fewer = [element for element in reachable if element.parent is None or element.parent in running]
        if len(fewer) == len(reachable):
            return fewer
        reachable = fewer


def _together_in_one_index(plan: Plan, reachable: list[Element]) -> list[Element]:
    """One after the other where the file has `bundle`, then side by side where it has `pack`."""
    cluster = plan.experiment.cluster
    if cluster.bundle:
        reachable = draft_elements.bundle(reachable, cluster, cost.Estimates(plan).element_seconds)
    return draft_elements.side_by_side(reachable, cluster.lanes) if cluster.lanes > 1 else reachable


def within(all_arrays: list[Array], room: int) -> list[Array]:
    """As many elements as there is room for, none without the one that it waits for; parents come first as they are."""
    arrays: list[Array] = []
    place: dict[int, int] = {}  # position before -> position among those that fit
    for number, array in enumerate(all_arrays):
        free = {i: e for i, e in array.elements.items() if _parent_fits(array.dependency, i, place, arrays)}
        elements_that_fit = dict(list(free.items())[:room])
        if not elements_that_fit:
            continue
        room -= len(elements_that_fit)
        place[number] = len(arrays)
        dependency = _moved(array.dependency, elements_that_fit, place)
        arrays.append(replace(array, elements=elements_that_fit, dependency=dependency))
    return arrays


def _parent_fits(dependency: Dependency | None, index: int, place: Mapping[int, int], arrays: list[Array]) -> bool:
    if dependency is None or dependency.array is None:
        return True
    if dependency.array not in place:
        return False
    parent = index if dependency.type == "aftercorr" else dependency.index
    return parent in arrays[place[dependency.array]].elements


def _moved(
    dependency: Dependency | None, elements_that_fit: Mapping[int, Element], place: Mapping[int, int]
) -> Dependency | None:
    if dependency is None or dependency.array is None:
        return dependency
    stages = tuple(dict.fromkeys(element.parent for element in elements_that_fit.values() if element.parent))
    return replace(dependency, array=place[dependency.array], stages=stages)


def names(plan: Plan, keys: Collection[str], count: int = 4) -> str:
    """Some stages' names, for a line."""
    return some((stage.name for stage in plan.stages.values() if stage.key in keys), count)
