"""What an experiment has cost: the account of `stepstone usage`, and what sharing trainings saved."""

from collections import Counter
from collections.abc import Set

from eval.report.content import Cost, Costs
from launch.plan import Plan
from launch.status import Observation
from launch.usage import hours
from launch.usage.hours import Hours

_HOUR = 3600.0


def of_plan(plan: Plan, observation: Observation) -> Costs:
    """Reads the attempts at what is not finished; the rest is remembered."""
    account = hours.of(plan, observation)
    paths = _paths(plan, observation.unneeded)
    trainings = {key: count for key, count in paths.items() if plan.stages[key].kind == "train"}
    shared_hours = saved_hours = 0.0
    for key, count in trainings.items():
        summary = observation.store.known(plan.stages[key])
        if count > 1 and summary is not None:
            stage_hours = summary.seconds * account.per_element / _HOUR
            shared_hours += stage_hours
            saved_hours += stage_hours * (count - 1)
    return Costs(
        account.unit,
        _cost("all", account.total),
        tuple(_cost(name, part) for name, part in account.by_recipe.items()),
        tuple(_cost(name, part) for name, part in account.by_kind.items()),
        tuple(account.total.wasted_on.items()),
        len(trainings),
        sum(trainings.values()),
        shared_hours,
        saved_hours or None,
    )


def _paths(plan: Plan, unneeded_keys: Set[str]) -> Counter[str]:
    """By stage: the runs (recipe, target, seed) that need it, without those that a race does without."""
    counts: Counter[str] = Counter()
    for evaluate in plan.paths.values():
        key: str | None = None if evaluate in unneeded_keys else evaluate
        while key is not None:
            counts[key] += 1
            key = plan.stages[key].parent
    return counts


def _cost(name: str, part: Hours) -> Cost:
    return Cost(name, part.useful, part.running, part.idle, part.wasted)
