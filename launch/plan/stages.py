"""The nouns of a plan: stages, the definitions that they share, and the paths that lead through them."""

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from heapq import nlargest
from typing import Literal, NamedTuple

from eval.tables.baseline import split, with_label
from launch.experiment import Experiment, recipes
from slurm.base import UsageError
from training.pretrained import StartModel
from training.spec import Device, EvaluateSpec, Runtime, Settings, Split, TaskData, TrainSpec
from training.tasks import Task, catalogue

Role = Literal["intermediate", "target"]
_COMPARED = 300  # names, letter by letter
STAGE_AFTER_LABEL = "/"  # in a stage's name, where start models have labels: `large/squad-s1`


@dataclass(frozen=True)
class StepDefinition:
    """Training on one step, but for seed and parent."""

    task: str  # as shown: "squad", "hellaswag + squad"
    parts: tuple[TaskData, ...]
    settings: Settings
    runtime: Runtime
    digest: str


@dataclass(frozen=True)
class TargetDefinition:
    """Evaluating one target, but for the encoder."""

    task: Task
    head: str | None
    languages: dict[str, Split]
    missing: tuple[str, ...]  # of the benchmark's languages: no file
    settings: Settings
    runtime: Runtime
    max_eval: int | None
    digest: str
    demonstrations: TaskData | None = None  # of a prompted one: where the examples are from that prompts show


class Stage(NamedTuple):  # of 100,000, dataclasses take more than twice as long
    """One unit of work. `name` is readable and, without the start model's label but with the key, names the stage's
    folder."""

    key: str
    name: str
    kind: Literal["train", "evaluate"]
    task: str
    seed: int | None  # None: chance plays no part
    parent: str | None  # key of the train stage whose encoder it takes; None: the start model
    definition: str  # digest of its step or target
    model: str = ""  # label of the start model that its path begins with; "" of `model:`

    @property
    def work(self) -> tuple[str, str]:
        """What takes equally long and much whatever the seed and the stage before: from which model, and what."""
        return self.model, self.definition

    @property
    def folder(self) -> str:
        """Without the label: experiments that give a model other labels, or none, share its stages."""
        return f"{self.name.rpartition(STAGE_AFTER_LABEL)[2]}-{self.key}"


@dataclass
class Plan:
    """The stages of an experiment, parents before children."""

    experiment: Experiment
    starts: dict[str, StartModel]  # by label; "" of `model:`
    targets: dict[str, TargetDefinition]
    steps: dict[str, StepDefinition] = field(default_factory=dict)  # by digest
    stages: dict[str, Stage] = field(default_factory=dict)  # by key
    # (recipe, target, seed) -> evaluate stage. Recipes are named as `recipe_names` has them.
    paths: dict[tuple[str, str, int], str] = field(default_factory=dict)
    trainings_from_scratch: int = 0  # had every (recipe, target, seed) trained its whole path for itself

    @cached_property
    def recipe_names(self) -> tuple[str, ...]:
        """The recipes of all start models in the file's order, model by model; with labels as `large: squad > mnli`."""
        return tuple(name for model in self.starts for name in self.recipes_of(model))

    def recipes_of(self, model: str) -> tuple[str, ...]:
        """The names of the recipes from one start model, by its label."""
        return tuple(with_label(model, recipes.show(recipe)) for recipe in self.experiment.recipes)

    def of_model(self, model: str) -> "Plan":
        """That of one start model, by its label, as if a file with this `model:` asked for it: nothing in it has a
        label."""
        stages = {
            key: stage._replace(name=stage.name.rpartition(STAGE_AFTER_LABEL)[2], model="")
            for key, stage in self.stages.items()
            if stage.model == model
        }
        paths = {
            (split(name)[1], target, seed): key for (name, target, seed), key in self.paths.items() if key in stages
        }
        return replace(
            self,
            experiment=replace(self.experiment, models={"": self.experiment.models[model]}),
            starts={"": self.starts[model]},
            stages=stages,
            paths=paths,
            trainings_from_scratch=self.trainings_from_scratch // len(self.starts),
        )

    def start_of(self, stage: Stage) -> StartModel:
        """The model that a stage's path begins with."""
        return self.starts[stage.model]

    @cached_property
    def children(self) -> dict[str, list[str]]:
        """By train stage: the stages that take its encoder."""
        children: dict[str, list[str]] = {key: [] for key in self.stages}
        for stage in self.stages.values():
            if stage.parent:
                children[stage.parent].append(stage.key)
        return children

    def chain(self, key: str | None) -> Iterator[Stage]:
        """A stage, and what it rests on, the last first."""
        while key is not None:
            yield self.stages[key]
            key = self.stages[key].parent

    @cached_property
    def recipe_steps(self) -> frozenset[str]:
        """The keys of trainings that are steps of recipes; all others are targets' own."""
        lengths = {recipes.show(recipe): len(recipe) for recipe in self.experiment.recipes}
        keys: set[str] = set()
        for (recipe, _, _), evaluate in self.paths.items():
            _, *trainings = self.chain(evaluate)
            keys.update(stage.key for stage in trainings[len(trainings) - lengths[split(recipe)[1]] :])
        return frozenset(keys)

    def earlier(self, stage: Stage) -> list[tuple[Stage, tuple[str, ...]]]:
        """What a recipe's step may make forget: the trainings under it, the last first, each with those of its heads
        that neither a later one nor the step itself trains anew. Empty where the experiment does not ask for it."""
        if not self.experiment.scores_earlier_dev or stage.key not in self.recipe_steps:
            return []
        newer_heads = set(self._heads(stage))
        earlier = []
        for training in self.chain(stage.parent):
            heads = tuple(head for head in self._heads(training) if head not in newer_heads)
            newer_heads.update(heads)
            if heads:
                earlier.append((training, heads))
        return earlier

    def measures(self, stage: Stage) -> bool:
        """Whether a stage measures its tasks' data: it trains a recipe's step from the start model, and the experiment
        asks for it."""
        return self.experiment.measures_tasks and stage.parent is None and stage.key in self.recipe_steps

    def _heads(self, training: Stage) -> tuple[str, ...]:
        return tuple(dict.fromkeys(part.head_name for part in self.steps[training.definition].parts))

    @cached_property
    def users(self) -> dict[str, list[tuple[str, str]]]:
        """By stage: the (recipe, target) pairs that need it."""
        users: dict[str, list[tuple[str, str]]] = {key: [] for key in self.stages}
        for (recipe, target, _), evaluate in self.paths.items():
            key: str | None = evaluate
            while key is not None:
                if not users[key] or users[key][-1] != (recipe, target):
                    users[key].append((recipe, target))
                key = self.stages[key].parent
        return users

    @cached_property
    def by_digest(self) -> dict[str, TargetDefinition]:
        """The targets' definitions by digest."""
        return {definition.digest: definition for definition in self.targets.values()}

    def train_spec(self, stage: Stage) -> TrainSpec:
        """What a train stage is told."""
        assert stage.kind == "train" and stage.seed is not None, stage
        step = self.steps[stage.definition]
        return TrainSpec(parts=step.parts, settings=step.settings, seed=stage.seed)

    def evaluate_spec(self, stage: Stage) -> EvaluateSpec:
        """What an evaluate stage is told."""
        assert stage.kind == "evaluate", stage
        target = self.by_digest[stage.definition]
        return EvaluateSpec(
            target.task.name,
            target.head,
            target.languages,
            target.settings,
            target.max_eval,
            self.experiment.skip_bad_rows,
            target.demonstrations,
            stage.seed if target.demonstrations else None,
        )

    def runtime(self, stage: Stage) -> Runtime:
        """How a stage runs."""
        definition = self.steps[stage.definition] if stage.kind == "train" else self.by_digest[stage.definition]
        return definition.runtime

    def devices(self) -> set[Device]:
        """What its stages are told to compute on."""
        runtimes = [step.runtime for step in self.steps.values()] + [target.runtime for target in self.targets.values()]
        return {runtime.device for runtime in runtimes}

    def added_tasks(self) -> list[Task]:
        """The users' tasks among the plan's: jobs are told what they were when the plan was made."""
        parts = [part for step in self.steps.values() for part in step.parts]
        parts += [target.demonstrations for target in self.targets.values() if target.demonstrations]
        names = dict.fromkeys([*(name for part in parts for name in (part.task, part.head_name)), *self.targets])
        return [task for task in map(catalogue.find, names) if task.added]

    def word(self, stage: Stage) -> str:
        """A stage as a person types it in a shell: its name, or its key where several have the name."""
        return shlex.quote(stage.name if self._name_counts[stage.name] == 1 else stage.key)

    @cached_property
    def _name_counts(self) -> Counter[str]:
        return Counter(stage.name for stage in self.stages.values())

    def find(self, text: str) -> Stage:
        """The stage that a person means by its name, its folder's name or the beginning of its key."""
        matches = [stage for stage in self.stages.values() if text in (stage.name, stage.folder)]
        if not matches and len(text) >= 4:
            matches = [stage for stage in self.stages.values() if stage.key.startswith(text)]
        if len(matches) > 1:
            keys = ", ".join(stage.key for stage in matches)
            raise UsageError(f"'{text}' means {len(matches)} stages; give the key of one: {keys}")
        if matches:
            return matches[0]
        names = nearest(text, (stage.name for stage in self.stages.values()))
        hint = f"; did you mean {' or '.join(names)}?" if names else "; `stepstone status FILE --stages` lists them"
        raise UsageError(f"no stage '{text}' in this experiment{hint}")


def nearest(text: str, names: Iterable[str], count: int = 3) -> list[str]:
    """The names of stages that a mistyped one may mean, the likeliest first: with it in them, else similar ones."""
    all_names = list(dict.fromkeys(names))
    containing = sorted((name for name in all_names if text and text in name), key=len)
    if containing:
        return containing[:count]
    # Of 100,000 names, difflib would compare each for minutes: it gets those that share most pairs of letters.
    pairs = {text[place : place + 2] for place in range(len(text) - 1)}
    similar = nlargest(
        _COMPARED, all_names, key=lambda name: (sum(pair in name for pair in pairs), -abs(len(name) - len(text)))
    )
    return get_close_matches(text, similar, n=count, cutoff=0.6)
