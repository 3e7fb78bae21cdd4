"""Invented results whose truth is known: with planted effects, or none; for tests and benchmarks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from eval.studies.records import NONE, DevPoint, Measure, Recipe, Results, Run

LANGUAGES = ("de", "sw")


def orders(tasks: Sequence[str]) -> list[Recipe]:
    return [tuple((task,) for task in order) for order in permutations(tasks)]


@dataclass(frozen=True)
class OrderWorld:
    """`luck`: standard deviation, in points, of each training, which all recipes that grow from it have; of training
    and evaluating the target; and of a seed's orders all together. `effect`: what a recipe scores more."""

    effect: Callable[[Recipe], float] = lambda recipe: 0.0
    tasks: tuple[str, ...] = ("a", "b", "c")
    targets: tuple[str, ...] = ("xnli",)
    seeds: int = 5
    luck: float = 1.0
    target_luck: float = 1.0
    seed_luck: float = 2.0


def order_runs(world: OrderWorld, seed: int, recipes: Sequence[Recipe] | None = None) -> list[Run]:
    """Every order of the tasks, on every target in two languages and English, where nothing transfers."""
    random = np.random.default_rng(seed)
    runs = []
    for run_seed in range(1, world.seeds + 1):
        of_training: dict[Recipe, float] = {}
        for recipe in recipes or orders(world.tasks):
            for end in range(1, len(recipe) + 1):
                of_training.setdefault(recipe[:end], random.normal(0, world.luck))
        for target in world.targets:
            of_seed = random.normal(70, world.seed_luck)
            for recipe in recipes or orders(world.tasks):
                trained = sum(of_training[recipe[:end]] for end in range(1, len(recipe) + 1))
                score = of_seed + trained + world.effect(recipe) + random.normal(0, world.target_luck)
                runs += [Run(recipe, run_seed, target, language, score + at)
                         for at, language in enumerate((*LANGUAGES, "en"))]  # fmt: skip
    return runs


@dataclass(frozen=True)
class TaskWorld:
    """`slope`: points of gain for each standard deviation of a task's quality, which its dev metric shows; `confound`:
    how much of quality is the training size. `noise`: of a task's gain, whatever its quality; `luck`: of a seed's run,
    in dev and gain alike."""

    slope: float = 0.0
    tasks: int = 9
    seeds: int = 3
    targets: tuple[str, ...] = ("xnli",)
    noise: float = 1.0
    luck: float = 0.3
    confound: float = 0.0
    by_size: float = 0.0
    metrics: tuple[str, ...] = ("accuracy",)


def task_results(world: TaskWorld, seed: int) -> Results:
    """One recipe a task, and `none`; dev points half-way and at the end; training sizes and other measures."""
    random = np.random.default_rng(seed)
    sizes = random.normal(size=world.tasks)
    quality = world.confound * sizes + np.sqrt(1 - world.confound**2) * random.normal(size=world.tasks)
    other_measure = random.normal(size=world.tasks)
    runs, points, measures = [], [], []
    for target in world.targets:
        own = random.normal(0, world.noise, world.tasks)
        for run_seed in range(1, world.seeds + 1):
            baseline = 60 + random.normal(0, world.luck)
            runs += [Run(NONE, run_seed, target, language, baseline) for language in LANGUAGES]
            for task in range(world.tasks):
                gain = world.slope * quality[task] + world.by_size * sizes[task] + own[task]
                score = baseline + gain + random.normal(0, world.luck)
                runs += [Run(((f"task{task}",),), run_seed, target, language, score) for language in LANGUAGES]
    for task in range(world.tasks):
        name = f"task{task}"
        measures += [Measure(name, "examples", float(np.exp(10 + 2 * sizes[task]))),
                     Measure(name, "code_length", float(quality[task])),
                     Measure(name, "label_entropy", float(other_measure[task]))]  # fmt: skip
        for run_seed in range(1, world.seeds + 1):
            for at, metric in enumerate(world.metrics):
                scale = quality[task] if at == 0 else random.normal()
                value = 80 + 5 * scale + random.normal(0, world.luck)
                points += [DevPoint(((name,),), name, run_seed, progress, metric, float(value), at == 0)
                           for progress in (0.5, 1.0)]  # fmt: skip
    return Results(tuple(runs), tuple(points), tuple(measures))
