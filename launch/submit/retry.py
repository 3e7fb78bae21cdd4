"""Which stages `stepstone retry` sends again: the failed ones of some causes, and what waited for them."""

from collections.abc import Collection, Iterator, Set

from launch.plan import Plan, Stage
from launch.status import Observation, breaker
from slurm.base import UsageError
from slurm.causes import CAUSES

_OPEN = ("new", "failed", "held", "cancelled")  # states of what is neither finished nor on its way


def select(plan: Plan, observation: Observation, classes: Collection[str], stages: Collection[str]) -> set[str]:
    """Keys of the holes: failed stages of these causes and among these stages (empty: all), and what waited for them.

    What the circuit breaker holds goes with the causes that it counts; `oom` means both kinds. UsageError for a cause
    or a stage that does not exist.
    """
    causes = _causes(classes)
    keys_by_name = {plan.find(name).key for name in stages}
    holes = {
        key
        for key, stage in plan.stages.items()
        if (not keys_by_name or key in keys_by_name)
        and _is_hole(plan, observation, stage, causes, by_name=key in keys_by_name, of_any=not classes)
    }
    for key in [*holes]:
        holes |= set(_open_ancestors(plan, observation, plan.stages[key]))
    for key, stage in plan.stages.items():  # parents first
        if stage.parent in holes and observation.state(stage).state in _OPEN:
            holes.add(key)
    return holes


def _is_hole(
    plan: Plan, observation: Observation, stage: Stage, causes: Set[str], *, by_name: bool, of_any: bool
) -> bool:
    state = observation.state(stage)
    if state.state == "failed":
        return (state.cause or "unknown") in causes
    if state.state == "held":
        parent = plan.stages[stage.parent] if stage.parent else None
        by_parent = parent is not None and observation.state(parent).state in _OPEN
        return by_name or (not by_parent and not causes.isdisjoint(breaker.COUNTED))  # else it comes with its parent
    if state.state == "new":  # sent, and its job did not come to it
        return stage.key in observation.locations and (by_name or of_any)
    return by_name and state.state == "cancelled"


def _open_ancestors(plan: Plan, observation: Observation, stage: Stage) -> Iterator[str]:
    """What must be sent too for a stage to have a chance."""
    while stage.parent is not None and observation.state(plan.stages[stage.parent]).state in _OPEN:
        stage = plan.stages[stage.parent]
        yield stage.key


def _causes(classes: Collection[str]) -> set[str]:
    wrong = sorted(set(classes) - {*CAUSES, "oom"})
    if wrong:
        raise UsageError(f"--class {wrong[0]}: unknown; it takes oom, {', '.join(CAUSES)}")
    memory_causes = {"host-oom", "cuda-oom"} if "oom" in classes else set()
    return (set(classes) | memory_causes) or set(CAUSES)
