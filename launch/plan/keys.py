"""Stage keys: hashes of what a stage means. Nothing here may see a path, a partition, a GPU count or a language.

A key is made in two parts, so that a plan of 100,000 stages hashes each definition once: the digest of its step or
target, then that digest with the seed and the parent's key.
"""

import hashlib
from dataclasses import asdict
from typing import Any

from slurm.base.files import to_json
from training import formats
from training.spec import SETTINGS, DataFile, Settings, Split, StageKind, TaskData
from training.tasks import Task, find

VERSION = 2  # of the key itself: raised when the same stage must be made again
_LENGTH = 16  # hex digits: 64 bits
_OF_DEFINITION = ("format", "labels", "label_map", "unlabelled", "open_labels", "metric_family", "metric", "sources")


def _digest(value: Any) -> str:
    return hashlib.sha256(to_json(value)).hexdigest()


def data_identity(split: Split) -> list[str]:
    """What a split's data is, wherever it lies."""
    return [_part_identity(part) for part in split]


def _part_identity(part: Any) -> str:
    if isinstance(part, DataFile):
        return f"{part.role}:{part.sha256}"
    return f"hub:{part.repo}@{part.revision}:{part.config}:{part.split}"


def language_identity(split: Split) -> str:
    """Eight hex digits that name one language's data in its results."""
    return _digest(data_identity(split))[:8]


def step_digest(parts: tuple[TaskData, ...], settings: Settings) -> str:
    """What training on one step means, but for seed and parent."""
    tasks = [find(part.task) for part in parts]
    data = [_part_content(part, task) for part, task in zip(parts, tasks, strict=True)]
    return _digest({"key": VERSION, "kind": "train", "parts": data, "settings": step_settings(parts, settings)})


def step_settings(parts: tuple[TaskData, ...], settings: Settings) -> dict[str, Any]:
    """The settings that are part of the key of training on a step."""
    tasks = [find(part.task) for part in parts]
    return _settings_content("train", settings, tasks, mixture=len({part.head_name for part in parts}) > 1)


def _part_content(part: TaskData, task: Task) -> dict[str, Any]:
    return {
        "task": part.task,
        **_task_content(task),
        "head": {"task": part.head_name, **_task_content(find(part.head_name))} if part.head else None,
        "train": data_identity(part.train),
        "dev": data_identity(part.dev),
        "hold_out": part.hold_out,
        "max_train": part.max_train,
        "max_eval": part.max_eval,
    }


def _task_content(task: Task) -> dict[str, Any]:
    """A built-in task is what its name and version say; a user's is what of its definition makes examples and scores:
    neither its files' names nor its languages."""
    definition = {name: getattr(task, name) for name in _OF_DEFINITION} | {"columns": asdict(task.columns)}
    if task.prompting is not None:
        definition["prompting"] = asdict(task.prompting)
    return {"version": task.version, "definition": definition if task.added else None}


def target_digest(
    target: Task, settings: Settings, max_eval: int | None, demonstrations: TaskData | None = None
) -> str:
    """What evaluating a target means, but for the encoder, the languages and what its demonstrations are drawn by.
    Skipping malformed rows is no part of it, nor of a train's: where there are any, a stage has no result without it.
    """
    content = {"task": target.name, **_task_content(target), "max_eval": max_eval}
    if demonstrations is not None:
        content["demonstrations"] = _part_content(demonstrations, find(demonstrations.task))
    return _digest(
        {"key": VERSION, "kind": "evaluate", **content, "settings": _settings_content("evaluate", settings, [target])}
    )


def _settings_content(
    kind: StageKind, settings: Settings, tasks: list[Task], *, mixture: bool = False
) -> dict[str, Any]:
    """The settings that are part of a stage's key, as training.spec declares it of each."""
    of_formats = {name for task in tasks for name in formats.get(task.format).key_settings}
    content: dict[str, Any] = {}
    replaced_names: set[str] = set()
    for setting in SETTINGS:
        value, in_key = getattr(settings, setting.name), setting.in_key
        if (
            in_key is not None
            and kind in in_key.kinds
            and (not in_key.by_format or setting.name in of_formats)
            and (not in_key.mixture or mixture)
            and (in_key.where is None or getattr(settings, in_key.where[0]) == in_key.where[1])
            and (not in_key.changed or value != setting.default)
        ):
            content[setting.name] = value
            replaced_names.add(in_key.instead_of)
    return {name: value for name, value in content.items() if name not in replaced_names}


def stage_key(definition: str, seed: int | None, parent: str) -> str:
    """The key of a stage: its definition's digest, its seed, and its parent's key or the start model's identity."""
    return hashlib.sha256(f"{definition}|{seed}|{parent}".encode()).hexdigest()[:_LENGTH]
