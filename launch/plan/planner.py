"""The plan: every (recipe, target, seed) of an experiment as stages, equal stages merged into one."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from launch.experiment import Experiment, recipes
from launch.experiment.recipes import Recipe, Step
from launch.experiment.yaml_text import Location
from launch.plan import keys
from launch.plan.stages import Plan, Role, Stage, StepDefinition, TargetDefinition
from slurm.base import UsageError
from training.data import locate
from training.pretrained import start as start_model
from training.spec import RUNTIME_NAMES, SETTING_NAMES, Runtime, Settings, TaskData
from training.tasks import Task, catalogue
from training.tasks.task import PRESETS

_NAME_LENGTH = 80


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
                locate.find_training(self._task(name), e.data_root, e.max_train, e.max_eval)
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
            found = locate.find_languages(task, e.data_root, named)
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
                f" (its first test file: {locate.first_test_file(task, e.data_root)})",
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
