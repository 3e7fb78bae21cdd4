"""What would fail in the first minute of a job, found before anything is sent: every local data file is read whole."""

from pathlib import Path

from launch.plan import Plan
from launch.preflight import counts
from launch.text import as_typed
from slurm.base import UserError
from training import formats
from training.data import hub, load
from training.formats.report import Report, reporting
from training.pretrained import start as start_model
from training.spec import DataFile, HubPart, Split, TaskData
from training.tasks import catalogue


def check(plan: Plan) -> list[str]:
    """What is to be said about data that are all right: what was mended, and other numbers of rows than published.

    UserError for malformed data (file and line), a test that is not whole, settings that no example fits, a model that
    is not XLM-R."""
    check_settings(plan)
    with reporting() as report:
        _read_data(plan, report)
    return remarks(plan, report)


def remarks(plan: Plan, report: Report) -> list[str]:
    """What is to be said once the data were read."""
    return list(dict.fromkeys([*report.remarks, *counts.lines(plan, report.rows)]))


def check_settings(plan: Plan) -> None:
    """`check` without the data."""
    for start in plan.starts.values():
        if start.folder:
            start_model.check_folder(Path(start.folder))
            check_start(plan, Path(start.folder))
    _check_gpus(plan)
    for step in plan.steps.values():
        for part in step.parts:
            task = catalogue.find(part.task)
            formats.get(task.format).check(task, step.settings)
    for target in plan.targets.values():
        formats.get(target.task.format).check(target.task, target.settings)


def check_start(plan: Plan, folder: Path) -> None:
    """UserError unless the start model in `folder` can do what the plan's tasks need: compare texts with images, or
    have heads of their own, which no causal language model is given."""
    if start_model.is_causal(folder):
        tasks = [catalogue.find(part.task) for step in plan.steps.values() for part in step.parts]
        for task in [*tasks, *(target.task for target in plan.targets.values())]:
            if not formats.get(task.format).is_prompted:
                raise UserError(
                    f"task {task.name}: {folder} is a causal language model, which is trained and asked in prompts"
                    f" only: give `catalogue:` an entry `{{like: {task.name}, mode: prompt}}` and name that, or choose"
                    " an XLM-R as `model:`."
                )
    else:
        for target in plan.targets.values():
            if formats.get(target.task.format).generates:
                raise UserError(
                    f"target {target.task.name}: its answers are written, which takes a causal language model, and"
                    f" {folder} is an encoder; choose another `model:`, or mode finetune."
                )
    for target in plan.targets.values():
        if formats.get(target.task.format).needs_projection and not start_model.has_projection(folder):
            raise start_model.lacks_projection(folder, target.task.name)


def _check_gpus(plan: Plan) -> None:
    """A process has a GPU of its own."""
    request = plan.experiment.cluster.asked
    if 0 < request.gpus < request.tasks and plan.devices() != {"cpu"}:
        raise plan.experiment.document.error(
            ("cluster", "ntasks-per-node"),
            f"cluster: {request.tasks} processes a node and {request.gpus} GPUs: a process has a GPU of its own;"
            " leave out ntasks-per-node, or ask for as many GPUs",
        )


def check_fetched(plan: Plan) -> None:
    """UserError unless all that jobs would fetch from the Hub is here: compute nodes often have no network."""
    for start in plan.starts.values():
        if start.repo and start.revision:
            try:
                folder = start_model.start_model_folder(start.repo, start.revision, local_only=True)
            except UserError:
                raise _not_fetched(plan, f"model {start.repo}@{start.revision[:12]} is") from None
            check_start(plan, folder)
    missing = [part for part in hub_parts(plan) if not hub.is_cached(part)]
    if missing:
        first = hub.name_of(missing[0])
        raise _not_fetched(plan, f"{first} and {len(missing) - 1} more are" if missing[1:] else f"{first} is")


def _not_fetched(plan: Plan, subject: str) -> UserError:
    return UserError(
        f"{subject} not in this machine's Hugging Face cache, and jobs run offline: run"
        f" `stepstone prepare {as_typed(plan.experiment.path)}` first (with the same HF_HOME)"
    )


def hub_parts(plan: Plan) -> list[HubPart]:
    """The splits of data sets on the Hub that the plan's stages read, once each."""
    splits = [split for part in _training_parts(plan) for split in (part.train, part.dev)]
    splits += [split for target in plan.targets.values() for split in target.languages.values()]
    return list(dict.fromkeys(part for split in splits for part in split if isinstance(part, HubPart)))


def _training_parts(plan: Plan) -> list[TaskData]:
    """What is trained on, and what prompts show."""
    shown_parts = [target.demonstrations for target in plan.targets.values() if target.demonstrations]
    return [part for step in plan.steps.values() for part in step.parts] + shown_parts


def _read_data(plan: Plan, report: Report) -> None:
    for part in {part.task: part for part in _training_parts(plan)}.values():
        if _is_local(part.train) and _is_local(part.dev):
            load.load_training(part)
    for target in plan.targets.values():
        for language, split in target.languages.items():
            if _is_local(split):
                load.load_language(
                    target.task, language, split, target.max_eval, skip_bad_rows=plan.experiment.skip_bad_rows
                )
                counts.check_language(plan, target, language, report.rows)


def _is_local(split: Split) -> bool:
    return all(isinstance(part, DataFile) for part in split)
