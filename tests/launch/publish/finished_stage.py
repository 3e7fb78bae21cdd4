"""A finished experiment without a job: of every training the start model as its encoder, and scores of our own."""

import json
import shutil
from pathlib import Path
from typing import Any

from launch.plan import Plan, Stage
from launch.store import Store, artifacts
from launch.store.artifacts import generation_of
from slurm.base.files import make_folder, seal, write_atomic
from training.pretrained.small import tiny

HASH = "a" * 64
SCORES: dict[str, dict[str, float]] = {
    "xnli": {"accuracy": 71.23456},
    "tatoeba": {"accuracy": 30.0, "accuracy_reverse": 20.0},
}


def finish(plan: Plan, model: Path, *, leave: tuple[str, str] = ("", "")) -> Store:
    """Results of every stage; `leave`: a target's language that is not finished."""
    store = Store(plan.experiment.store)
    for stage in plan.stages.values():
        if stage.kind == "train":
            finish_training(store, stage, model)
        else:
            _evaluate(plan, store, stage, leave)
    return Store(plan.experiment.store)


def finish_training(store: Store, stage: Stage, model: Path, heads: Path | None = None, **more: Any) -> Path:
    """The result of a training; returns its attempt's folder. `heads`: a folder of real ones."""
    attempt = make_folder(store.stage_folder(stage.folder) / "attempts" / "0001")
    shutil.copytree(model, attempt / "encoder")
    if heads:
        shutil.copytree(heads, attempt / "heads")
    make_folder(attempt / "heads")
    for task in [] if heads else stage.task.split(" + "):
        (attempt / "heads" / f"{task}.json").write_text(json.dumps({"task": task, "labels": ["yes", "no"]}))
        (attempt / "heads" / f"{task}.safetensors").write_bytes(b"weights")
    record = {
        "key": stage.key, "dev_score": 55.5, "encoder_hash": HASH, "attempt": "attempts/0001", "steps": 40,
        "files": artifacts.list_files(attempt, ("encoder", "heads")), "code": "c0dec0de", "schema": 1,
        "versions": {"torch": "2.13.0"}, "device_name": "cpu", "precision": "fp32",
    }  # fmt: skip
    write_atomic(store.stage_folder(stage.folder) / "result.json", seal(record | more))
    return attempt


def _evaluate(plan: Plan, store: Store, stage: Stage, leave: tuple[str, str]) -> None:
    generation = generation_of(HASH if stage.parent else plan.start_of(stage).identity)
    for language, split in plan.by_digest[stage.definition].languages.items():
        if (stage.task, language) != leave:
            record = {"scores": SCORES[stage.task], "examples": 8, "generation": generation, "code": "c0dec0de"}
            folder = store.stage_folder(stage.folder)
            artifacts.publish_language(folder, generation, language, split, record, b"{}\n")


def small_start(folder: Path) -> Path:
    """A random model with the real tokenizer."""
    return tiny(folder, layers=1, hidden=4, heads=2, feed_forward=8)
