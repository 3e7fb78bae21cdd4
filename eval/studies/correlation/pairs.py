"""Each recipe's English dev metric, while its last step was trained, beside what it scores zero-shot on a target."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eval.statistics import correlations
from eval.statistics.correlations import Unit
from eval.studies import transfer as transfers
from eval.studies.records import DevPoint, Measure, Recipe, Results, recipe_tasks
from eval.studies.transfer import Transfer

ALL = "all"
Outcome = Literal["score", "gain", "score and gain"]


@dataclass(frozen=True)
class Paired:
    """A metric and an outcome over the recipes that have both. `units`: of each recipe its seeds that have both."""

    target: str
    languages: str  # `all`, or a group's name
    metric: str
    outcome: Outcome
    recipes: tuple[Recipe, ...]
    units: tuple[Unit, ...]

    @property
    def values(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The metric and the outcome, means over seeds: (recipes,) each."""
        return correlations.means(self.units)


@dataclass(frozen=True)
class DevScore:
    """A metric of a run's last step, mean over those of its tasks that have it."""

    recipe: Recipe
    seed: int
    metric: str
    value: float


def dev_scores(points: Sequence[DevPoint], progress: float = 1.0) -> tuple[DevScore, ...]:
    """At one point of training. Of one whose selected epoch had ended by then, that end: it is what is handed on."""
    latest_points: dict[tuple[Recipe, int, str, str], DevPoint] = {}
    for point in sorted(points, key=lambda point: point.progress):
        is_there = point.progress == progress or point.progress < progress < 1
        if is_there and point.trained and point.task in point.trained[-1]:
            latest_points[point.trained, point.seed, point.metric, point.task] = point
    values: dict[tuple[Recipe, int, str], list[float]] = defaultdict(list)
    for point in latest_points.values():
        values[point.trained, point.seed, point.metric].append(point.value)
    return tuple(DevScore(*key, float(np.mean(of_tasks))) for key, of_tasks in values.items())


def repeated(points: Sequence[DevPoint]) -> dict[str, str]:
    """Metrics that are another under a second name, as micro-averaged F1 of single labels is the accuracy: by name the
    one that has the same value at the end of all their trainings. To test both would count one question twice."""
    by_metric: dict[str, dict[tuple[Recipe, int], float]] = defaultdict(dict)
    for score in dev_scores(points):
        by_metric[score.metric][score.recipe, score.seed] = score.value
    by_count = sorted(by_metric, key=lambda metric: -len(by_metric[metric]))
    names: dict[str, str] = {}
    for at, metric in enumerate(by_count):
        for first_name in by_count[:at]:
            if first_name not in names and _agree(by_metric[metric], by_metric[first_name]):
                names[metric] = first_name
                break
    return names


def of_languages(results: Results, by_group: bool, progress: float = 1.0) -> tuple[Paired, ...]:
    """Every metric, of at least as many recipes as a coefficient needs, with every target's score and gain: over all
    languages or, `by_group`, over each group of them."""
    second_names = repeated(results.dev_points)
    scores = [score for score in dev_scores(results.dev_points, progress) if score.metric not in second_names]
    if not by_group:
        return _of_transfers(transfers.of_targets(results.runs), ALL, scores)
    return tuple(
        pair
        for group in results.language_groups
        for pair in _of_transfers(transfers.of_targets(results.runs, group.members), group.name, scores)
    )


def log_sizes(recipes: Sequence[Recipe], measures: Sequence[Measure]) -> NDArray[np.float64] | None:
    """The logarithm of how many examples a recipe's tasks have together: (recipes,); None where one is not known."""
    sizes = {measure.task: measure.value for measure in measures if measure.name == "examples"}
    if not all(sizes.get(task, 0) > 0 for recipe in recipes for task in recipe_tasks(recipe)):
        return None
    return np.array([np.log(sum(sizes[task] for task in recipe_tasks(recipe))) for recipe in recipes])


def _agree(values: Mapping[tuple[Recipe, int], float], first_values: Mapping[tuple[Recipe, int], float]) -> bool:
    return all(
        run in first_values and isclose(value, first_values[run], rel_tol=1e-9, abs_tol=1e-9)
        for run, value in values.items()
    )


def _of_transfers(of_targets: Sequence[Transfer], languages: str, scores: Sequence[DevScore]) -> tuple[Paired, ...]:
    metrics = tuple(dict.fromkeys(score.metric for score in scores))
    return tuple(
        pair
        for transfer in of_targets
        for metric in metrics
        for pair in _outcomes(transfer, languages, metric, [score for score in scores if score.metric == metric])
        if len(pair.recipes) >= correlations.LEAST
    )


def _outcomes(transfer: Transfer, languages: str, metric: str, scores: Sequence[DevScore]) -> tuple[Paired, ...]:
    """Score and gain, which are one where all recipes have the same seeds: the baseline is the same for all then."""
    by_score = _paired(transfer, languages, metric, "score", scores)
    by_gain = _paired(transfer, languages, metric, "gain", scores)
    if by_gain.recipes == by_score.recipes and by_gain.recipes:
        baseline = by_score.values[1] - by_gain.values[1]
        if np.ptp(baseline) < 1e-9:
            return (Paired(transfer.target, languages, metric, "score and gain", by_gain.recipes, by_gain.units),)
    return by_score, by_gain


def _paired(
    transfer: Transfer, languages: str, metric: str, outcome: Literal["score", "gain"], scores: Sequence[DevScore]
) -> Paired:
    by_recipe: dict[Recipe, list[tuple[float, float]]] = defaultdict(list)
    gains = {recipe: transfer.differences(recipe) for recipe in {score.recipe for score in scores}}
    for score in scores:
        zero_shot = transfer.scores.get((score.recipe, score.seed))
        value = zero_shot if outcome == "score" else gains[score.recipe].get(score.seed)
        if value is not None:
            by_recipe[score.recipe].append((score.value, value))
    units = tuple(Unit(*np.array(of_recipe).T) for of_recipe in by_recipe.values())
    return Paired(transfer.target, languages, metric, outcome, tuple(by_recipe), units)
