"""The plan: every (recipe, target, seed) of an experiment as stages, equal stages merged into one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

from launch import keys, recipes, start_model
from launch.experiment import Experiment
from launch.recipes import Recipe, Step
from launch.start_model import StartModel
from launch.yaml_text import Location
from slurm.base import UsageError
from training import catalogue, sources
from training.catalogue import Task
from training.spec import RUNTIME_NAMES, SETTING_NAMES, EvaluateSpec, Runtime, Settings, Split, TaskData, TrainSpec
from training.task import PRESETS

Role = Literal["intermediate", "target"]
_NAME_LENGTH = 80


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


class Stage(NamedTuple):  # of 100,000, dataclasses take more than twice as long
    """One unit of work. `name` is readable and, with the key, names the stage's folder."""

    key: str
    name: str
    kind: Literal["train", "evaluate"]
    task: str
    seed: int | None  # None: chance plays no part
    parent: str | None  # key of the train stage whose encoder it takes; None: the start model
    definition: str  # digest of its step or target

    @property
    def folder(self) -> str:
        return f"{self.name}-{self.key}"


@dataclass
class Plan:
    """The stages of an experiment, parents before children."""

    experiment: Experiment
    start: StartModel
    targets: dict[str, TargetDefinition]
    steps: dict[str, StepDefinition] = field(default_factory=dict)  # by digest
    stages: dict[str, Stage] = field(default_factory=dict)  # by key
    paths: dict[tuple[str, str, int], str] = field(default_factory=dict)  # (recipe, target, seed) -> evaluate stage
    trainings_from_scratch: int = 0  # had every (recipe, target, seed) trained its whole path for itself

    @cached_property
    def children(self) -> dict[str, list[str]]:
        """By train stage: the stages that take its encoder."""
        children: dict[str, list[str]] = {key: [] for key in self.stages}
        for stage in self.stages.values():
            if stage.parent:
                children[stage.parent].append(stage.key)
        return children

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
        )

    def runtime(self, stage: Stage) -> Runtime:
        """How a stage runs."""
        table: dict[str, Any] = self.steps if stage.kind == "train" else self.by_digest
        runtime: Runtime = table[stage.definition].runtime
        return runtime

    def added_tasks(self) -> list[Task]:
        """The users' tasks among the plan's: jobs are told what they were when the plan was made."""
        parts = [part for step in self.steps.values() for part in step.parts]
        names = dict.fromkeys([*(n for part in parts for n in (part.task, part.head_name)), *self.targets])
        return [task for task in map(catalogue.find, names) if task.added]

    def find(self, text: str) -> Stage:
        """The stage that a person means by its name, its folder's name or the beginning of its key."""
        found = [s for s in self.stages.values() if text in (s.name, s.folder)]
        found = found or [s for s in self.stages.values() if len(text) >= 4 and s.key.startswith(text)]
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError(
                f"'{text}' means {len(found)} stages; give the key of one: {', '.join(s.key for s in found)}"
            )
        raise UsageError(f"no stage '{text}' in this experiment; `stepstone status FILE` lists them")


def make(experiment: Experiment) -> Plan:
    """Plan an experiment: find its data, define its steps and targets, enumerate and merge its stages."""
    return _Planner(experiment).plan()


class _Planner:
    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.data: dict[str, tuple[TaskData, ...]] = {}
        self.definitions: dict[tuple[Step, Role, str | None], StepDefinition] = {}
        paths = {name: _training_path(self._task(name)) for name in experiment.targets}
        targets = {name: self._target(self._task(name), paths[name]) for name in experiment.targets}
        self.paths = paths
        self.result = Plan(experiment, start_model.resolve(experiment.model), targets)
        self.readable: dict[str | None, str] = {None: ""}
        self.trained: dict[tuple[str, int, str | None], Stage] = {}  # saves hashing: most steps are shared by pairs

    def plan(self) -> Plan:
        for recipe in self.experiment.recipes:
            intermediate = [self._step(step, "intermediate", None) for step in recipe]
            for target, path in self.paths.items():
                steps = intermediate + [self._step(step, "target", target) for step in path]
                pair = (recipes.show(recipe), target)
                for seed in self.experiment.seeds:
                    self._walk(steps, target, pair, seed)
        return self.result

    def _walk(self, steps: list[StepDefinition], target: str, pair: tuple[str, str], seed: int) -> None:
        parent: Stage | None = None
        for step in steps:
            parent = self._train_stage(step, parent, seed)
        evaluate = self._evaluate_stage(self.result.targets[target], parent)
        self.result.paths[(*pair, seed)] = evaluate.key
        self.result.trainings_from_scratch += len(steps)

    def _train_stage(self, step: StepDefinition, parent: Stage | None, seed: int) -> Stage:
        at = (step.digest, seed, parent.key if parent else None)
        known = self.trained.get(at)
        if known:
            return known
        key = keys.stage_key(step.digest, seed, parent.key if parent else self.result.start.identity)
        before = self.readable[at[2]]
        self.readable[key] = f"{before}.{step.task}" if before else step.task
        name = _name(f"{self.readable[key]}-s{seed}")
        self.trained[at] = self._add(Stage(key, name, "train", step.task, seed, at[2], step.digest))
        return self.trained[at]

    def _evaluate_stage(self, target: TargetDefinition, parent: Stage | None) -> Stage:
        key = keys.stage_key(target.digest, None, parent.key if parent else self.result.start.identity)
        known = self.result.stages.get(key)
        if known:
            return known
        seed = parent.seed if parent else None
        before = f"{self.readable[parent.key]}-s{seed}" if parent else "start"
        name = _name(f"{before}--{target.task.name}")
        return self._add(
            Stage(key, name, "evaluate", target.task.name, seed, parent.key if parent else None, target.digest)
        )

    def _add(self, stage: Stage) -> Stage:
        self.result.stages[stage.key] = stage
        return stage

    def _step(self, step: Step, role: Role, target: str | None) -> StepDefinition:
        """The definition of a step; a recipe's step is the same whatever target hangs on it."""
        if (step, role, target) not in self.definitions:
            tasks = [self._task(name) for name in step]
            settings, runtime = self._settings(tasks, role, target)
            parts = tuple(part for task in tasks for part in self._task_data(task))
            digest = keys.step_digest(parts, settings)
            definition = StepDefinition(recipes.show_step(step), parts, settings, runtime, digest)
            self.definitions[step, role, target] = definition
            self.result.steps.setdefault(digest, definition)
        return self.definitions[step, role, target]

    def _task(self, name: str) -> Task:
        """The catalogue's task, with the commit of its Hub data set that the experiment gives, if any."""
        task = catalogue.find(name)
        revision = self.experiment.revisions.get(task.hub.repo, task.hub.revision)
        return replace(task, hub=replace(task.hub, revision=revision))

    def _task_data(self, task: Task) -> tuple[TaskData, ...]:
        """The task's data; of one that is several sources under one head, each source's."""
        if task.name not in self.data:
            e = self.experiment
            made = [
                sources.find_training(self._task(name), e.data_root, e.max_train, e.max_eval)
                for name in task.sources or (task.name,)
            ]
            head = task.name if task.sources else ""
            self.data[task.name] = tuple(replace(one, head=head, skip_bad_rows=e.skip_bad_rows) for one in made)
        return self.data[task.name]

    def _preset(self, task: Task, role: Role) -> Mapping[str, Any]:
        """The task's settings in the preset that the experiment names for this role."""
        name = self.experiment.presets[role]
        found = task.preset(name)
        if found is None:
            having = ", ".join(known for known in PRESETS if task.preset(known) is not None)
            raise self._wrong(("presets", role), f"task {task.name} has no preset {name}; it has {having}")
        return found

    def _settings(self, tasks: list[Task], role: Role, target: str | None) -> tuple[Settings, Runtime]:
        """Catalogue < `training` < `tasks.<train task>` < `tasks.<mixture>` < `tasks.<target>`."""
        given: dict[str, Any] = {}
        if len(tasks) == 1:
            given |= self._preset(tasks[0], role)
        e = self.experiment
        names = [task.name for task in tasks]
        mixture = e.tasks.get(" + ".join(names))
        if len(tasks) > 1:
            settled = {**e.training, **(mixture or {})}
            given |= _agreed([self._preset(task, role) for task in tasks], names, "the catalogue", settled)
        given |= e.training
        given |= _agreed([e.tasks.get(name, {}) for name in names], names, "`tasks:`", mixture)
        if len(names) > 1:
            given |= e.tasks.get(" + ".join(names), {})
        given |= e.tasks.get(target, {}) if target else {}
        settings, runtime = _split(given)
        if runtime.offload and runtime.zero in ("none", 0):  # each from another section of the file
            raise self._wrong(("tasks",), f"'{' + '.join(names)}' gets offload: true and zero: {runtime.zero}; say one")
        return settings, runtime

    def _wrong(self, location: Location, message: str) -> UsageError:
        return UsageError(f"{self.experiment.document.where(location)}: {message}")

    def _target(self, task: Task, path: Recipe) -> TargetDefinition:
        e = self.experiment
        last = self._task(path[-1][0]) if path else task
        given = (
            dict(self._preset(last, "target")) | e.training | e.tasks.get(last.name, {}) | e.tasks.get(task.name, {})
        )
        settings, runtime = _split(given)
        named = e.languages.get(task.name) if task.name in e.languages else None
        try:
            found = sources.find_languages(task, e.data_root, named)
        except UsageError as error:
            raise self._wrong(("languages", task.name), str(error)) from None
        languages, missing = found.found, found.missing
        if named is not None and missing:
            raise self._wrong(("languages", task.name), f"{task.name}: no data for {', '.join(missing)}; leave it out")
        if task.name not in e.languages and e.default_languages is not None:
            languages = {code: split for code, split in languages.items() if code in e.default_languages}
            missing = tuple(code for code in missing if code in e.default_languages)
        if not languages:
            raise self._wrong(
                ("languages",),
                f"none of the languages asked for has data for target '{task.name}'"
                f" (its first test file: {sources.first_test_file(task, e.data_root)})",
            )
        head = path[-1][0] if path else None
        digest = keys.target_digest(task, settings, e.max_eval)
        return TargetDefinition(task, head, languages, missing, settings, runtime, e.max_eval, digest)


def _training_path(task: Task) -> Recipe:
    (path,) = recipes.expand(task.training_path or "none")
    return path


def _agreed(
    overrides: Iterable[Mapping[str, Any]], names: list[str], where: str, settled: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The settings of a mixture: those on which all of its tasks that set them agree."""
    result: dict[str, Any] = {}
    disagreed: dict[str, Any] = {}
    for given in overrides:
        for key, value in given.items():
            if result.setdefault(key, value) != value and key not in (settled or {}):
                disagreed[key] = value
    if disagreed:
        mixture = " + ".join(names)
        differences = ", ".join(f"{key} ({result[key]} and {value})" for key, value in disagreed.items())
        mend = ", ".join(f"{key}: {value}" for key, value in disagreed.items())
        raise UsageError(
            f"{where}: the tasks of '{mixture}' disagree on {differences}; "
            f'say which: tasks: {{"{mixture}": {{{mend}}}}}'
        )
    return result


def _split(given: dict[str, Any]) -> tuple[Settings, Runtime]:
    settings = {name: value for name, value in given.items() if name in SETTING_NAMES}
    runtime = {name: value for name, value in given.items() if name in RUNTIME_NAMES}
    return replace(Settings(), **settings), replace(Runtime(), **runtime)


def _name(readable: str) -> str:
    """A folder's readable part: at most 80 characters of an allow-list."""
    text = readable.replace(" + ", "+")
    half = (_NAME_LENGTH - 1) // 2
    return text if len(text) <= _NAME_LENGTH else f"{text[:half]}~{text[-half:]}"
