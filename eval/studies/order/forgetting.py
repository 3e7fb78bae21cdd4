"""Forgetting: of an earlier task the best English dev score so far less that at the end (Chaudhry et al. 2018,
arXiv 1801.10112, definition 3), under the head that the task had then."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from eval.studies.means import Mean, mean
from eval.studies.records import DevPoint, Recipe, Step


@dataclass(frozen=True)
class Forgetting:
    """Of one run, in points. `steps`: how many were trained since the task was last."""

    recipe: Recipe
    task: str
    seed: int
    steps: int
    value: float

    @property
    def last(self) -> Step:
        return self.recipe[-1]


@dataclass(frozen=True)
class Scored:
    """What is there of a list of recipes. `missing`: (recipe, task, seed) without a dev score at the end or before."""

    values: tuple[Forgetting, ...]
    missing: tuple[tuple[Recipe, str, int], ...]


def of_recipes(recipes: Sequence[Recipe], points: Sequence[DevPoint]) -> Scored:
    """Of each recipe's tasks that its last step does not train, in each seed that any dev point has of the recipe."""
    scores = {(p.trained, p.task, p.seed): p.value for p in points if p.primary and p.progress == 1}
    seeds = {prefix: {seed for t, _, seed in scores if t == prefix} for prefix, _, _ in scores}
    values: list[Forgetting] = []
    missing: list[tuple[Recipe, str, int]] = []
    for recipe in recipes:
        earlier_tasks = dict.fromkeys(task for step in recipe[:-1] for task in step if task not in recipe[-1])
        for task in earlier_tasks:
            trained_at = [at for at, step in enumerate(recipe) if task in step]
            for seed in sorted(seeds.get(recipe, ())):
                before = [scores.get((recipe[:end], task, seed)) for end in range(trained_at[0] + 1, len(recipe))]
                known_scores = [score for score in before if score is not None]
                now = scores.get((recipe, task, seed))
                if now is None or len(known_scores) < len(before):
                    missing.append((recipe, task, seed))
                else:
                    values.append(
                        Forgetting(recipe, task, seed, len(recipe) - 1 - trained_at[-1], max(known_scores) - now)
                    )
    return Scored(tuple(values), tuple(missing))


def by(values: Sequence[Forgetting], group: Callable[[Forgetting], Hashable]) -> list[tuple[Forgetting, Mean]]:
    """The mean of each group, first over a seed's recipes, which share trainings, then over seeds; with one of its
    values, which tells the group."""
    members: dict[Hashable, list[Forgetting]] = defaultdict(list)
    for value in values:
        members[group(value)].append(value)
    means = []
    for of_group in members.values():
        by_seed: dict[int, list[float]] = defaultdict(list)
        for value in of_group:
            by_seed[value.seed].append(value.value)
        of_seeds = mean([sum(of_seed) / len(of_seed) for of_seed in by_seed.values()])
        assert of_seeds is not None
        means.append((of_group[0], of_seeds))
    return means
