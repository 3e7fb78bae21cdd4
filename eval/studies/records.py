"""What studies are drawn from, as frozen records: a row for everything that was measured. Scores are in percent."""

from dataclasses import dataclass
from typing import Literal

Step = tuple[str, ...]  # tasks, trained jointly
Recipe = tuple[Step, ...]  # as in the experiment file; () is `none`
NONE: Recipe = ()
SOURCE = "en"  # what is trained on, so that it is no transfer


@dataclass(frozen=True)
class Run:
    """What a recipe scored on a target in a language. `seed`: None where chance played no part. `diverged`: a training
    on its path did no better on English dev than a constant answer."""

    recipe: Recipe
    seed: int | None
    target: str
    language: str
    score: float
    diverged: bool = False


@dataclass(frozen=True)
class DevPoint:
    """A task's English dev while a step was trained. `trained`: the steps up to the one that was being trained;
    `progress`: how much of that one was done, 0 to 1; `task`: whose dev and head, of this step or an earlier one.
    `primary`: the metric that the task is compared by. Percent, but for a loss (nats) and what else a metric has."""

    trained: Recipe
    task: str
    seed: int
    progress: float
    metric: str
    value: float
    primary: bool = False


@dataclass(frozen=True)
class Measure:
    """A number known of a task, such as its training `examples`; `eval.studies.complexity` lists those it knows."""

    task: str
    name: str
    value: float


@dataclass(frozen=True)
class Representation:
    """A measure of alignment (`eval.alignment`) of a recipe's encoder on parallel text. `domain`: the target; `value`:
    at the layer and pooling that scores are of; `curve`: at every layer from 0, under that pooling."""

    recipe: Recipe
    seed: int | None
    domain: str
    language: str
    measure: str
    value: float
    curve: tuple[float, ...]


@dataclass(frozen=True)
class PromptedTarget:
    """A target whose examples are those of another, `of`, in prompts. `kind`: `prompt`, of a model that was trained on
    nothing of that target; `both`, of one that was trained on its prompted English text. `demonstrations`: how many
    answered examples each prompt shows. Its run's score is the accuracy, mean over templates."""

    target: str
    of: str
    kind: Literal["prompt", "both"]
    demonstrations: int = 0


@dataclass(frozen=True)
class TemplateScores:
    """What a recipe scored on a prompted target in a language by the best template and the worst one, and what any
    answer is held against: always the commonest label, and a guess."""

    recipe: Recipe
    seed: int | None
    target: str
    language: str
    best: float
    worst: float
    majority: float
    chance: float


@dataclass(frozen=True)
class Group:
    """Some languages, or some targets, under one name."""

    name: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class Results:
    """All that was collected of one experiment; what is not there is empty."""

    runs: tuple[Run, ...] = ()
    dev_points: tuple[DevPoint, ...] = ()
    measures: tuple[Measure, ...] = ()
    language_groups: tuple[Group, ...] = ()
    target_groups: tuple[Group, ...] = ()
    representations: tuple[Representation, ...] = ()
    prompted_targets: tuple[PromptedTarget, ...] = ()
    template_scores: tuple[TemplateScores, ...] = ()


def recipe_tasks(recipe: Recipe) -> tuple[str, ...]:
    """Each task once."""
    return tuple(dict.fromkeys(task for step in recipe for task in step))


def show(recipe: Recipe) -> str:
    """As `launch.experiment.recipes` writes it: `squad > hellaswag + mnli`."""
    return " > ".join(" + ".join(step) for step in recipe) or "none"
