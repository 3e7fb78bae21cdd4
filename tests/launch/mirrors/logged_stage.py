"""Attempts with a log.jsonl as the engine writes it, and finished stages, without a job."""

import json
from pathlib import Path
from typing import Any

from launch.plan import Plan, Stage
from launch.store import Store, artifacts, attempts
from launch.store.artifacts import generation_of
from launch.store.attempts import Attempt, Starter
from slurm.base.files import seal, write_atomic

HASH = "b" * 64
SCORES: dict[str, dict[str, float]] = {
    "xnli": {"accuracy": 71.2345678901},
    "tatoeba": {"accuracy": 30.0, "accuracy_reverse": 20.0},
}


def step(number: int, *, of_attempt: int = 1, epoch: int = 0) -> dict[str, Any]:
    """A line of log.jsonl; the loss tells the attempt."""
    return {
        "step": number, "epoch": epoch, "task": "squad", "loss": 1 / (number + 3) + of_attempt, "learning_rate": 1e-5,
        "grad_norm": 0.1 * number, "examples": 16, "tokens": 300 + number, "seconds": 0.25,
    }  # fmt: skip


def interval(first: int, last: int) -> dict[str, Any]:
    return {
        "interval": [first, last], "seconds": 3.1, "tokens_per_second": 2190.2, "samples_per_second": 9.5,
        "mfu": None, "padding": 0.0, "data_wait": 0.002, "optimizer": 0.1, "stall": 0.0,
    }  # fmt: skip


def lines(records: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


LOG: list[dict[str, Any]] = [
    {"matmul": "mkl", "why": "asked for", "relative_error": 1e-7},
    *(step(number) for number in range(4)),
    interval(0, 3),
    {"epoch": 0, "dev_score": 33.3},
    *(step(number, epoch=1) for number in range(4, 7)),
    interval(4, 6),
    {"epoch": 1, "dev_score": 44.4},
    {"times": {"train": 3.0}},
]


def begin(store: Store, stage: Stage, content: bytes) -> Attempt:
    """One more attempt at a stage, that has logged so much."""
    attempt = attempts.begin(store.stage_folder(stage.folder), Starter.this_process(), lambda job: True)
    (attempt.folder / "log.jsonl").write_bytes(content)
    attempt.end()  # so that a later one may begin
    return attempt


def finish(store: Store, stage: Stage, attempt: Attempt, encoder_hash: str = HASH) -> None:
    record = {
        "key": stage.key,
        "dev_score": 44.4,
        "encoder_hash": encoder_hash,
        "attempt": f"attempts/{attempt.folder.name}",
    }
    write_atomic(store.stage_folder(stage.folder) / "result.json", seal(record | {"files": {}, "schema": 1}))


def evaluate(plan: Plan, store: Store, stage: Stage, *languages: str, encoder_hash: str = HASH) -> None:
    """Publish scores of some languages; of none named: of all."""
    generation = generation_of(encoder_hash if stage.parent else plan.start_of(stage).identity)
    splits = plan.by_digest[stage.definition].languages
    for language in languages or splits:
        record = {"scores": SCORES[stage.task], "examples": 8, "generation": generation, "code": "c0de"}
        folder = store.stage_folder(stage.folder)
        artifacts.publish_language(folder, generation, language, splits[language], record, b"{}\n")


def finish_all(plan: Plan) -> Store:
    """Every stage of an experiment, each training with the same log."""
    store = Store(plan.experiment.store)
    for stage in plan.stages.values():
        if stage.kind == "train":
            finish(store, stage, begin(store, stage, lines(LOG)))
        else:
            evaluate(plan, store, stage)
    return Store(plan.experiment.store)


def fake_library(folder: Path, package: str, code: str) -> Path:
    """A package of this name that does something else; returns the folder for PYTHONPATH."""
    (folder / package).mkdir(parents=True)
    (folder / package / "__init__.py").write_text(code)
    return folder
