"""Stage keys: hashes of what a stage means. Nothing here may see a path, a partition, a GPU count or a language.

A key is made in two parts, so that a plan of 100,000 stages hashes each definition once: the digest of its step or
target, then that digest with the seed and the parent's key.
"""

import hashlib
from typing import Any

from slurm.files import to_json
from training.catalogue import Task
from training.spec import DataFile, Settings, Split, TaskData

VERSION = 1  # of the key itself: raised when the same stage must be made again
_LENGTH = 16  # hex digits: 64 bits

_TRAIN = (
    "learning_rate", "epochs", "global_batch_size", "max_length", "weight_decay", "warmup_ratio",
    "adam_epsilon", "max_grad_norm", "dropout", "precision",
)  # fmt: skip
_SPAN_INPUT = ("doc_stride", "max_query_length")
_SPAN_OUTPUT = ("n_best", "max_answer_length")


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


def step_digest(tasks: list[Task], parts: tuple[TaskData, ...], settings: Settings) -> str:
    """What training on one step means, but for seed and parent."""
    names = set(_TRAIN)
    if any(task.format == "span" for task in tasks):
        names |= {*_SPAN_INPUT, *_SPAN_OUTPUT}  # decoding too: the English dev score selects the epoch
    if len(parts) > 1:
        names.add("sampling")
    data = [
        {
            "task": part.task,
            "version": task.version,
            "train": data_identity(part.train),
            "dev": data_identity(part.dev),
            "hold_out": part.hold_out,
            "max_train": part.max_train,
            "max_eval": part.max_eval,
        }
        for task, part in zip(tasks, parts, strict=True)
    ]
    return _digest({"key": VERSION, "kind": "train", "parts": data, "settings": _chosen(settings, names)})


def target_digest(target: Task, settings: Settings, max_eval: int | None) -> str:
    """What evaluating a target means, but for the encoder and the languages."""
    names = {"max_length", "precision"}
    if target.format == "span":
        names |= {*_SPAN_INPUT, *_SPAN_OUTPUT}
    if target.format == "retrieval":
        names.add("layer")
    content = {"task": target.name, "version": target.version, "max_eval": max_eval}
    return _digest({"key": VERSION, "kind": "evaluate", **content, "settings": _chosen(settings, names)})


def stage_key(definition: str, seed: int | None, parent: str) -> str:
    """The key of a stage: its definition's digest, its seed, and its parent's key or the start model's identity."""
    return hashlib.sha256(f"{definition}|{seed}|{parent}".encode()).hexdigest()[:_LENGTH]


def _chosen(settings: Settings, names: set[str]) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in sorted(names)}
