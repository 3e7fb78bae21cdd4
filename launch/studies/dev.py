"""English dev while the steps of recipes were trained, and what trainings measured of their tasks, as records.

Of the epochs the selected one is handed on: its end stands where it was in the training, and as progress 1; what was
scored after it is left out.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from statistics import mean

from eval.studies.records import DevPoint, Measure, Recipe
from launch.experiment import recipes
from launch.plan import Plan, Stage
from launch.results.scores import at_chance
from launch.store import Store
from launch.store.artifacts import DevMetrics, TrainResult
from training.tasks import catalogue


@dataclass(frozen=True)
class StepTraining:
    """A finished training of a recipe's step. `trained`: the steps up to this one."""

    trained: Recipe
    stage: Stage
    seed: int
    result: TrainResult


def trainings(plan: Plan, store: Store, of_recipes: Collection[Recipe]) -> tuple[StepTraining, ...]:
    """Those of some recipes, shared ones once. Without those that diverged, and all that rests on them."""
    of_stages: dict[str, StepTraining] = {}
    target = plan.experiment.targets[0]
    for recipe in of_recipes:
        for seed in plan.experiment.seeds:
            path = list(plan.chain(plan.paths[recipes.show(recipe), target, seed]))
            stages = [stage for stage in reversed(path) if stage.kind == "train"][: len(recipe)]
            for length, stage in enumerate(stages, start=1):
                result = store.train_result(stage)
                if result is None or at_chance(plan, store, stage):
                    break
                of_stages[stage.key] = StepTraining(recipe[:length], stage, seed, result)
    return tuple(of_stages.values())


def points(plan: Plan, of_trainings: Sequence[StepTraining]) -> tuple[DevPoint, ...]:
    """Of the tasks that each training trains, and of earlier ones under the encoder that it hands on."""
    return tuple(point for training in of_trainings for point in _of_training(plan, training))


def measures(of_trainings: Sequence[StepTraining]) -> tuple[Measure, ...]:
    """What is known of each task, mean over the trainings that measured it: what is drawn differs by their seeds."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for training in of_trainings:
        for of_task in training.result.measures:
            for name, value in of_task.measures.items():
                values[of_task.task, name].append(value)
    return tuple(Measure(task, name, mean(of_trainings)) for (task, name), of_trainings in values.items())


def _of_training(plan: Plan, training: StepTraining) -> Iterator[DevPoint]:
    result, last_tasks = training.result, training.trained[-1]
    handed_on_at = _step_handed_on(result)
    by_step: dict[tuple[int, float], list[DevMetrics]] = defaultdict(list)
    for of_part in result.dev_points:
        if handed_on_at is None or of_part.step <= handed_on_at:
            by_step[of_part.step, of_part.progress].append(of_part)
    for (step, progress), of_parts in by_step.items():
        yield from _of_heads(training, progress, of_parts)
        if step == handed_on_at and progress < 1:
            yield from _of_heads(training, 1.0, of_parts)
    if not result.dev_points:
        yield from _primary_alone(plan, training)
    # The head of a task that is trained again is another one.
    yield from _of_heads(training, 1.0, [part for part in result.earlier_dev if part.head not in last_tasks])


def _step_handed_on(result: TrainResult) -> int | None:
    """After how many optimizer steps the selected epoch ended; epochs are equally long."""
    if result.steps is None or result.selected_epoch is None or not result.dev_scores:
        return None
    return result.steps * (result.selected_epoch + 1) // len(result.dev_scores)


def _of_heads(training: StepTraining, progress: float, of_parts: Sequence[DevMetrics]) -> Iterator[DevPoint]:
    """A recipe's task is a head: of one that is several sources, mean over these."""
    by_head: dict[str, list[DevMetrics]] = defaultdict(list)
    for of_part in of_parts:
        by_head[of_part.head].append(of_part)
    for head, of_head in by_head.items():
        for metric in dict.fromkeys(name for part in of_head for name in part.metrics):
            with_it = [part for part in of_head if metric in part.metrics]
            value = mean(part.metrics[metric] for part in with_it)
            is_primary = all(metric == catalogue.find(part.task).metric for part in with_it)
            yield DevPoint(training.trained, head, training.seed, progress, metric, value, is_primary)


def _primary_alone(plan: Plan, training: StepTraining) -> Iterator[DevPoint]:
    """Of a result from before trainings noted all metrics: the score that selected the epoch, where it is of one
    head."""
    parts = plan.steps[training.stage.definition].parts
    metrics = {catalogue.find(part.task).metric for part in parts}
    if len({part.head_name for part in parts}) == len(metrics) == 1:
        (metric,) = metrics
        (task,) = training.trained[-1]
        yield DevPoint(training.trained, task, training.seed, 1.0, metric, training.result.dev_score, True)
