"""What would fail in the first minute of a job, found before anything is sent: every local data file is read whole."""

from pathlib import Path

from launch.plan import Plan
from training import catalogue, formats, sources, startmodel
from training.spec import DataFile, Split


def check(plan: Plan) -> None:
    """UserError for malformed data (file and line), settings that no example fits, a model that is not XLM-R."""
    if plan.start.folder:
        startmodel.check_folder(Path(plan.start.folder))
    for step in plan.steps.values():
        for part in step.parts:
            task = catalogue.find(part.task)
            formats.get(task.format).check(task, step.settings)
    for target in plan.targets.values():
        formats.get(target.task.format).check(target.task, target.settings)
    _read_data(plan)


def _read_data(plan: Plan) -> None:
    parts = {part.task: part for step in plan.steps.values() for part in step.parts}
    for part in parts.values():
        if _is_local(part.train) and _is_local(part.dev):
            sources.load_training(part)
    for target in plan.targets.values():
        for language, split in target.languages.items():
            if _is_local(split):
                sources.load_language(target.task, language, split, target.max_eval)


def _is_local(split: Split) -> bool:
    return all(isinstance(part, DataFile) for part in split)
