"""What a report must not hide: runs without their scores, and trainings that diverged."""

from collections.abc import Iterator

from eval.report.content import Divergence, Missing
from launch.plan import Plan, Stage
from launch.results import scores
from launch.status import Observation
from launch.status.rules import State
from launch.store import Store

_TELLING: tuple[State, ...] = ("failed", "cancelled", "unknown", "running")  # of a path, in this order


def missing(plan: Plan, store: Store, observation: Observation) -> tuple[Missing, ...]:
    """Every (recipe, target, seed) whose evaluate is not finished."""
    runs: dict[tuple[str, str, int | None], Stage] = {}
    for (recipe, target, _), key in plan.paths.items():
        if not observation.is_finished(plan.stages[key]) and key not in observation.unneeded:
            runs[recipe, target, plan.stages[key].seed] = plan.stages[key]
    return tuple(_missing(plan, store, observation, run, stage) for run, stage in runs.items())


def _missing(
    plan: Plan, store: Store, observation: Observation, run: tuple[str, str, int | None], stage: Stage
) -> Missing:
    path = [stage, *scores.trainings_under(plan, stage)]
    open_stages = [step for step in reversed(path) if not observation.is_finished(step)]
    telling = _telling(open_stages, observation)
    state = observation.state(telling)
    there = store.language_results(plan, stage)
    languages = tuple(code for code in plan.by_digest[stage.definition].languages if code not in there)
    reason = ": ".join(filter(None, (state.cause, state.reason)))
    return Missing(*run, stage.key, state.state, reason, languages)


def _telling(open_stages: list[Stage], observation: Observation) -> Stage:
    """The stage that says why a run is not finished."""
    for state in _TELLING:
        for stage in open_stages:
            if observation.state(stage).state == state:
                return stage
    return open_stages[0]


def diverged(plan: Plan, store: Store) -> tuple[Divergence, ...]:
    """Every finished training at chance, in the plan's order."""
    return tuple(_diverged(plan, store))


def _diverged(plan: Plan, store: Store) -> Iterator[Divergence]:
    runs: dict[str, set[tuple[str, str, int | None]]] = {}
    for (recipe, target, _), key in plan.paths.items():
        for training in scores.trainings_under(plan, plan.stages[key]):
            runs.setdefault(training.key, set()).add((recipe, target, plan.stages[key].seed))
    for stage in plan.stages.values():
        if stage.kind == "train" and (heads := scores.at_chance(plan, store, stage)):
            result = store.train_result(stage)
            yield Divergence(
                stage.name, stage.key, heads, result.dev_score if result else None, len(runs.get(stage.key, ()))
            )
