"""Invented results whose truth is known: with planted effects, or none; for tests and benchmarks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations

import numpy as np

from eval.studies.records import (
    NONE,
    DevPoint,
    Measure,
    PromptedTarget,
    Recipe,
    Representation,
    Results,
    Run,
    TemplateScores,
)

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


@dataclass(frozen=True)
class AlignmentWorld:
    """`effects`: points of retrieval that a recipe adds in a domain; `transfer`: points of gain on xnli for each point
    of what a recipe adds, mean over domains; `luck`: of a training, in every domain alike, and of a cell alone."""

    effects: Mapping[tuple[str, str], float] = field(default_factory=dict)
    recipes: int = 5
    domains: tuple[str, ...] = ("medical", "legal")
    seeds: int = 3
    luck: float = 1.0
    transfer: float = 0.0


def alignment_results(world: AlignmentWorld, seed: int) -> Results:
    """Recipes `task0` and so on, and `none`, which owes nothing to chance on parallel text; 3 layers, of which the
    middle one is scored; accuracy and CKA."""
    random = np.random.default_rng(seed)
    records, runs = [], []

    def measured(recipe: Recipe, run_seed: int | None, domain: str, change: float) -> None:
        for at, language in enumerate(LANGUAGES):
            for measure, level in (("accuracy", 60.0), ("cka_debiased", 40.0)):
                value = level + 5 * at + change
                curve = (level, value, value + change)
                records.append(Representation(recipe, run_seed, domain, language, measure, value, curve))

    for domain in world.domains:
        measured(NONE, None, domain, 0.0)
    for run_seed in range(1, world.seeds + 1):
        runs += [Run(NONE, run_seed, "xnli", language, 60.0) for language in LANGUAGES]
        for number in range(world.recipes):
            name, of_training = f"task{number}", random.normal(0, world.luck)
            planted = [world.effects.get((name, domain), 0.0) for domain in world.domains]
            for domain, effect in zip(world.domains, planted, strict=True):
                measured(((name,),), run_seed, domain, effect + of_training + random.normal(0, world.luck))
            score = 60 + world.transfer * float(np.mean(planted)) + random.normal(0, world.luck)
            runs += [Run(((name,),), run_seed, "xnli", language, score) for language in LANGUAGES]
    return Results(tuple(runs), representations=tuple(records))


@dataclass(frozen=True)
class PromptWorld:
    """`by_recipe`: points that `task0` adds in every mode; `by_prompts`: that training on prompted text adds to a
    trained head, and each demonstration to prompts; `beyond`: what `task0` and prompted text add together beyond
    both. `prompted`: what prompts score without either. `luck`: standard deviation of the intermediate training, which
    modes share, and of each mode's. `rough`: its law has two peaks, as where some trainings fail."""

    by_recipe: float = 0.0
    by_prompts: float = 0.0
    beyond: float = 0.0
    prompted: float = 40.0
    recipes: int = 2
    targets: tuple[str, ...] = ("xnli",)
    seeds: int = 3
    luck: float = 1.0
    rough: bool = False


def prompt_results(world: PromptWorld, seed: int) -> Results:
    """Three labels, fine-tuned, prompted with none and 4 demonstrations, and both; what `none` answers to prompts
    without demonstrations owes nothing to chance. The best template is 3 points above the mean, the worst 3 below."""
    random = np.random.default_rng(seed)
    runs, template_scores = [], []
    modes = {"": 0, "_prompt": 0, "_prompt_4": 4, "_both": 0}  # by the end of the target's name: demonstrations

    def chance() -> float:
        return world.luck * float(random.normal(random.choice([-1, 1]), 0.1) if world.rough else random.normal())

    def scored(recipe: Recipe, run_seed: int | None, target: str, score: float) -> None:
        for at, language in enumerate(LANGUAGES):
            runs.append(Run(recipe, run_seed, target, language, score + at))
            if "_" in target:
                template_scores.append(TemplateScores(
                    recipe, run_seed, target, language, score + at + 3, score + at - 3, 34.0 + at, 100 / 3,
                ))  # fmt: skip

    all_recipes: list[Recipe] = [NONE, *(((f"task{number}",),) for number in range(world.recipes))]
    for target in world.targets:
        scored(NONE, None, f"{target}_prompt", world.prompted)
        for run_seed in range(1, world.seeds + 1):
            of_seed = chance()
            for recipe in all_recipes:
                of_training = chance() if recipe else 0.0
                has_task0 = recipe == (("task0",),)
                for ending, demonstrations in modes.items():
                    if not recipe and ending == "_prompt":
                        continue
                    is_trained = not ending.startswith("_prompt")
                    level = 70.0 if is_trained else world.prompted
                    by_prompts = world.by_prompts * (demonstrations or ending == "_both")
                    together = world.beyond * (has_task0 and ending == "_both")
                    of_mode = of_training + chance() + (of_seed if is_trained else 0.0)
                    score = level + world.by_recipe * has_task0 + by_prompts + together + of_mode
                    scored(recipe, run_seed, target + ending, score)
    prompted_targets = [
        PromptedTarget(target + ending, target, "both" if ending == "_both" else "prompt", demonstrations)
        for target in world.targets
        for ending, demonstrations in modes.items()
        if ending
    ]
    return Results(tuple(runs), prompted_targets=tuple(prompted_targets), template_scores=tuple(template_scores))
