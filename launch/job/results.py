"""What a stage leaves: a training's result with its hand-over, and each language's scores with its predictions."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from eval.prediction.predict import LanguageResult
from launch.store import artifacts, attempts, provenance
from launch.store.attempts import Attempt
from launch.store.manifests import StageEntry
from slurm.base import UserError
from training.distributed import World
from training.model.encoder import FilesWritten
from training.spec import Split

_SCHEMA = 1


def publish_training(
    entry: StageEntry,
    attempt: Attempt,
    world: World,
    facts: dict[str, Any],
    files: FilesWritten,
    earlier: Iterable[Path],
) -> str:
    """Make a training's result the stage's, then remove all checkpoints, also those of earlier attempts.

    facts: what the engine says of the training. files: what it wrote, hashed as it was written. Returns the attempt's
    folder, as the result names it. Fenced where a later attempt has begun.
    """
    name = f"attempts/{attempt.folder.name}"
    _check_sizes(attempt, files)
    attempt.publish(_origin(entry, attempt, world) | {"attempt": name, "files": files} | facts)
    for folder in (attempt.folder, *earlier):
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    attempt.end()
    print(f"{entry.folder}: finished, dev {facts['dev_score']:.1f}", flush=True)
    return name


def _check_sizes(attempt: Attempt, files: FilesWritten) -> None:
    """Whether the file system has what was written to it; who reads it compares its hashes."""
    for name, facts in files.items():
        path = attempt.folder / name
        if path.stat().st_size != facts["size"]:
            raise UserError(f"{path}: has not the {facts['size']} bytes that were written; look at its file system")


def publish_language(
    entry: StageEntry,
    attempt: Attempt,
    world: World,
    generation: str,
    language: str,
    split: Split,
    result: LanguageResult,
) -> None:
    """Publish one language of an evaluate, unless it has a result already: the first one stays."""
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in result.predictions)
    record = _origin(entry, attempt, world) | {
        "attempt": f"attempts/{attempt.folder.name}",
        "language": language,
        "generation": generation,
        "scores": result.scores,
        "examples": len(result.predictions),
        "seconds": round(result.seconds, 3),
    }
    if result.layers:
        record["layers"] = dict(result.layers)
    artifacts.publish_language(attempt.stage_folder, generation, language, split, record, lines.encode())
    print(f"{entry.folder}: {language} {result.scores}", flush=True)


def _origin(entry: StageEntry, attempt: Attempt, world: World) -> dict[str, Any]:
    """What every result says of where it comes from."""
    return {
        "schema": _SCHEMA,
        "key": entry.key,
        "kind": entry.kind,
        "made_by": attempts.starter_of(attempt).record(),
        "code": provenance.code_root().name,  # in a job: the frozen code's hash
        "runtime": entry.runtime,
        "versions": provenance.versions(),
        "device_name": torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else "cpu",
        "cores": cores(),
    }


def cores() -> int:
    """That this rank computes on, by which rates are told apart: its threads are no more than it has."""
    return torch.get_num_threads()
