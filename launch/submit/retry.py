"""Which stages `stepstone retry` sends again: the failed ones of some causes, and what waited for them."""

from collections.abc import Collection, Iterator

from launch.plan import Plan, Stage
from launch.status import Observation
from slurm.base import UsageError
from slurm.causes import CAUSES

_OPEN = ("new", "failed", "held", "cancelled")  # states of what is neither finished nor on its way


def select(plan: Plan, seen: Observation, classes: Collection[str], stages: Collection[str]) -> set[str]:
    """Keys of the holes: failed stages of these causes and among these stages (empty: all), and what waited for them.

    What the circuit breaker holds goes with the cause `code`; `oom` means both kinds. UsageError for a cause or a stage
    that does not exist.
    """
    causes = _causes(classes)
    named = {plan.find(name).key for name in stages}
    chosen = {
        key
        for key, stage in plan.stages.items()
        if (not named or key in named) and _is_hole(plan, seen, stage, causes, by_name=key in named, of_any=not classes)
    }
    for key in [*chosen]:
        chosen |= set(_open_ancestors(plan, seen, plan.stages[key]))
    for key, stage in plan.stages.items():  # parents first
        if stage.parent in chosen and seen.state(stage).state in _OPEN:
            chosen.add(key)
    return chosen


def _is_hole(
    plan: Plan, seen: Observation, stage: Stage, causes: Collection[str], *, by_name: bool, of_any: bool
) -> bool:
    state = seen.state(stage)
    if state.state == "failed":
        return (state.cause or "unknown") in causes
    if state.state == "held":
        parent = plan.stages[stage.parent] if stage.parent else None
        by_parent = parent is not None and seen.state(parent).state in _OPEN
        return by_name or (not by_parent and "code" in causes)  # else it comes with its parent
    if state.state == "new":  # sent, and its job did not come to it
        return stage.key in seen.locations and (by_name or of_any)
    return by_name and state.state == "cancelled"


def _open_ancestors(plan: Plan, seen: Observation, stage: Stage) -> Iterator[str]:
    """What must be sent too for a stage to have a chance."""
    while stage.parent is not None and seen.state(plan.stages[stage.parent]).state in _OPEN:
        stage = plan.stages[stage.parent]
        yield stage.key


def _causes(classes: Collection[str]) -> set[str]:
    wrong = sorted(set(classes) - {*CAUSES, "oom"})
    if wrong:
        raise UsageError(f"--class {wrong[0]}: unknown; it takes oom, {', '.join(CAUSES)}")
    both = {"host-oom", "cuda-oom"} if "oom" in classes else set()
    return (set(classes) | both) or set(CAUSES)
