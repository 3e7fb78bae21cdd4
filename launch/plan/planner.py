"""The plan: every (recipe, target, seed) of an experiment as stages, equal stages merged into one."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

from eval.tables.baseline import with_label
from launch.experiment import Experiment, recipes
from launch.experiment.recipes import Recipe, Step
from launch.plan import keys
from launch.plan.stages import STAGE_AFTER_LABEL, Plan, Role, Stage, StepDefinition, TargetDefinition
from slurm.base import UsageError
from training.data import locate
from training.pretrained import StartModel
from training.pretrained import start as start_model
from training.spec import RUNTIME_NAMES, SETTING_NAMES, Runtime, Settings, Split, TaskData
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
        self.result = Plan(experiment, _starts(experiment), targets)
        self.readable: dict[str | None, str] = {None: ""}
        self.trained: dict[tuple[str, int, str], Stage] = {}  # saves hashing: most steps are shared by pairs

    def plan(self) -> Plan:
        for model, recipe in product(self.result.starts, self.experiment.recipes):
            intermediate = [self._step(step, "intermediate", None) for step in recipe]
            for target, path in self.paths.items():
                steps = intermediate + [self._step(step, "target", target) for step in path]
                pair = (with_label(model, recipes.show(recipe)), target)
                for seed in self.experiment.seeds:
                    self._walk(model, steps, target, pair, seed)
        return self.result

    def _walk(self, model: str, steps: list[StepDefinition], target: str, pair: tuple[str, str], seed: int) -> None:
        parent: Stage | None = None
        for step in steps:
            parent = self._train_stage(model, step, parent, seed)
        evaluate = self._evaluate_stage(model, self.result.targets[target], parent, seed)
        self.result.paths[(*pair, seed)] = evaluate.key
        self.result.trainings_from_scratch += len(steps)

    def _train_stage(self, model: str, step: StepDefinition, parent: Stage | None, seed: int) -> Stage:
        parent_key = parent.key if parent else None
        origin = parent_key or self.result.starts[model].identity
        meaning = (step.digest, seed, origin)
        if meaning not in self.trained:
            key = keys.stage_key(step.digest, seed, origin)
            before = self.readable[parent_key]
            self.readable[key] = f"{before}.{step.task}" if before else step.task
            name = _name(model, f"{self.readable[key]}-s{seed}")
            stage = Stage(key, name, "train", step.task, seed, parent_key, step.digest, model)
            self.trained[meaning] = self.result.stages[key] = stage
        return self.trained[meaning]

    def _evaluate_stage(self, model: str, target: TargetDefinition, parent: Stage | None, path_seed: int) -> Stage:
        """Chance plays no part in it but through its parent, and through demonstrations: without, that of the start
        model is one for all seeds."""
        parent_key = parent.key if parent else None
        drawn_by = path_seed if target.demonstrations else None
        seed = parent.seed if parent else drawn_by
        key = keys.stage_key(target.digest, drawn_by, parent_key or self.result.starts[model].identity)
        if key not in self.result.stages:
            before = (self.readable[parent_key] if parent else "start") + ("" if seed is None else f"-s{seed}")
            name = _name(model, f"{before}--{target.task.name}")
            task = target.task.name
            self.result.stages[key] = Stage(key, name, "evaluate", task, seed, parent_key, target.digest, model)
        return self.result.stages[key]

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
            sources = [
                locate.find_training(self._task(name), e.data_root, e.max_train, e.max_eval)
                for name in task.sources or (task.name,)
            ]
            head = task.name if task.sources else ""
            self.data[task.name] = tuple(replace(data, head=head, skip_bad_rows=e.skip_bad_rows) for data in sources)
        return self.data[task.name]

    def _preset(self, task: Task, role: Role) -> Mapping[str, Any]:
        """The task's settings in the preset that the experiment names for this role."""
        name = self.experiment.presets[role]
        preset = task.preset(name)
        if preset is None:
            names = ", ".join(preset_name for preset_name in PRESETS if task.preset(preset_name) is not None)
            raise self.experiment.document.error(
                ("presets", role), f"task {task.name} has no preset {name}; it has {names}"
            )
        return preset

    def _settings(self, tasks: list[Task], role: Role, target: str | None) -> tuple[Settings, Runtime]:
        """Catalogue < `training` < `tasks.<train task>` < `tasks.<mixture>` < `tasks.<target>`."""
        names = [task.name for task in tasks]
        training = self.experiment.training.given()
        mixture = self._task_overrides(" + ".join(names)) if len(names) > 1 else {}
        # What the mixture's own entry says settles what its tasks disagree on; of presets `training:` does, too.
        values = _agreed([self._preset(task, role) for task in tasks], names, "the catalogue", {*training, *mixture})
        values |= training
        values |= _agreed([self._task_overrides(name) for name in names], names, "`tasks:`", {*mixture})
        values |= mixture
        values |= self._task_overrides(target) if target else {}
        settings, runtime = _split(values)
        if runtime.offload and runtime.zero in ("none", 0):  # each from another section of the file
            message = f"'{' + '.join(names)}' gets offload: true and zero: {runtime.zero}; say one"
            raise self.experiment.document.error(("tasks",), message)
        return settings, runtime

    def _task_overrides(self, name: str) -> Mapping[str, Any]:
        """What `tasks:` says of a task, a mixture (in its canonical spelling) or a target."""
        overrides = self.experiment.tasks.get(name)
        return overrides.given() if overrides else {}

    def _target(self, task: Task, path: Recipe) -> TargetDefinition:
        e = self.experiment
        last = self._task(path[-1][0]) if path else task
        values = {**self._preset(last, "target"), **e.training.given()}
        values |= self._task_overrides(last.name)
        values |= self._task_overrides(task.name)
        settings, runtime = _split(values)
        languages, missing = self._languages(task)
        head = path[-1][0] if path else None
        demonstrations = self._demonstrations(task)
        digest = keys.target_digest(task, settings, e.max_eval, demonstrations)
        return TargetDefinition(task, head, languages, missing, settings, runtime, e.max_eval, digest, demonstrations)

    def _demonstrations(self, task: Task) -> TaskData | None:
        """The English training data whose examples a prompted target shows, if it shows any."""
        if task.prompting is None or not task.prompting.demonstrations:
            return None
        (data,) = self._task_data(self._task(task.prompting.demonstration_task))
        return data

    def _languages(self, task: Task) -> tuple[dict[str, Split], tuple[str, ...]]:
        """The data of a target's languages, and those of them that have none. Of the ones that the file names under the
        target all must have data; `default` is cut down to what there is."""
        e = self.experiment
        named_codes = e.languages.get(task.name)
        try:
            data = locate.find_languages(task, e.data_root, named_codes)
        except UsageError as error:
            raise e.document.error(("languages", task.name), str(error)) from None
        languages, missing = data.found, data.missing
        if named_codes is not None and missing:
            message = f"{task.name}: no data for {', '.join(missing)}; leave it out"
            raise e.document.error(("languages", task.name), message)
        if task.name not in e.languages and e.default_languages is not None:
            languages = {code: split for code, split in languages.items() if code in e.default_languages}
            missing = tuple(code for code in missing if code in e.default_languages)
        if not languages:
            raise e.document.error(
                ("languages",),
                f"none of the languages asked for has data for target '{task.name}'"
                f" (its first test file: {locate.first_test_file(task, e.data_root)})",
            )
        return languages, missing


def _starts(experiment: Experiment) -> dict[str, StartModel]:
    """The start models by label. UsageError where two labels mean the same: their stages would have the same keys."""
    starts = {label: start_model.resolve(model) for label, model in experiment.models.items()}
    label_of: dict[str, str] = {}
    for label, start in starts.items():
        first = label_of.setdefault(start.identity, label)
        if first != label:
            raise experiment.document.error(("models", label), f"models: {first} and {label} are the same; keep one")
    return starts


def _training_path(task: Task) -> Recipe:
    (path,) = recipes.expand(task.training_path or "none")
    return path


def _agreed(
    sections: Iterable[Mapping[str, Any]], names: list[str], where: str, settled_elsewhere: Collection[str]
) -> dict[str, Any]:
    """The settings of a mixture: those on which all of its tasks that set them agree. Of one task: its own."""
    values: dict[str, Any] = {}
    conflicts: dict[str, Any] = {}
    for section in sections:
        for key, value in section.items():
            if values.setdefault(key, value) != value and key not in settled_elsewhere:
                conflicts[key] = value
    if conflicts:
        mixture = " + ".join(names)
        differences = ", ".join(f"{key} ({values[key]} and {value})" for key, value in conflicts.items())
        mend = ", ".join(f"{key}: {value}" for key, value in conflicts.items())
        raise UsageError(
            f"{where}: the tasks of '{mixture}' disagree on {differences}; "
            f'say which: tasks: {{"{mixture}": {{{mend}}}}}'
        )
    return values


def _split(values: Mapping[str, Any]) -> tuple[Settings, Runtime]:
    settings = {name: value for name, value in values.items() if name in SETTING_NAMES}
    runtime = {name: value for name, value in values.items() if name in RUNTIME_NAMES}
    return replace(Settings(), **settings), replace(Runtime(), **runtime)


def _name(model: str, readable: str) -> str:
    """A stage's name: the label of its model, if any, and its folder's readable part, which is at most 80 characters of
    an allow-list."""
    text = readable.replace(" + ", "+")
    half = (_NAME_LENGTH - 1) // 2
    text = text if len(text) <= _NAME_LENGTH else f"{text[:half]}~{text[-half:]}"
    return f"{model}{STAGE_AFTER_LABEL}{text}" if model else text
