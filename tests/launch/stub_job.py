"""What an element does in tests with the scripted scheduler: real attempts and results, without any training."""

import json
import os
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

from launch.store import artifacts, attempts, manifests
from launch.store.attempts import FailureNote, Starter
from launch.store.manifests import StageEntry
from slurm.base.files import read_sealed
from slurm.queue import has_ended
from tests.slurm.scripted import Run

_SCORES = {"accuracy": 50.0}
CODE = "c0de"


def work(run: Run) -> int:
    """Every stage of the element at once; 1 where a parent has no result."""
    manifest = manifests.read(Path(run.manifest))
    for entry in manifest.elements[run.index]:
        if not do(Path(manifest.store), entry):
            return 1
    return 0


def slow(steps: int) -> Callable[[Run], Generator[None, None, int]]:
    """The same after so many steps of the scheduler, in an attempt from the beginning on."""

    def run_slowly(run: Run) -> Generator[None, None, int]:
        manifest = manifests.read(Path(run.manifest))
        entries = manifest.elements[run.index]
        attempts.begin(_folder(Path(manifest.store), entries[0]), Starter.this_process(), has_ended)
        for _ in range(steps):
            yield
        return work(run)

    return run_slowly


def failing(names: tuple[str, ...], message: str = "it broke", cause: str = "code") -> Callable[[Run], int]:
    """`work`, but for stages whose folder begins with one of these names: they note a failure."""

    def run_or_fail(run: Run) -> int:
        manifest = manifests.read(Path(run.manifest))
        for entry in manifest.elements[run.index]:
            folder = _folder(Path(manifest.store), entry)
            if entry.folder.rpartition("-")[0] in names:
                attempt = attempts.begin(folder, Starter.this_process(), has_ended)
                attempt.end(FailureNote(cause, message))
                return 1
            if not do(Path(manifest.store), entry):
                return 1
        return 0

    return run_or_fail


def scoring(accuracy: Callable[[StageEntry], float]) -> Callable[[Run], int]:
    """`work`, with evaluate stages that score as they are told to, in percent and every language."""

    def run_with_scores(run: Run) -> int:
        manifest = manifests.read(Path(run.manifest))
        for entry in manifest.elements[run.index]:
            if not do(Path(manifest.store), entry, {"accuracy": accuracy(entry)}):
                return 1
        return 0

    return run_with_scores


def do(root: Path, entry: StageEntry, scores: Mapping[str, float] = _SCORES) -> bool:
    """Publish one stage's result, unless it is there; whether its parent had one."""
    folder = _folder(root, entry)
    parent = read_sealed(root / "stages" / entry.parent / "result.json") if entry.parent else {}
    if parent is None:
        return False
    attempt = attempts.begin(folder, Starter.this_process(), has_ended)
    if entry.kind == "train":
        _train(attempt, entry)
    else:
        generation = artifacts.generation_of(parent["encoder_hash"] if parent else _start_of(root))
        for language, split in entry.evaluate_spec().languages.items():
            record = {
                "key": entry.key, "language": language, "generation": generation, "scores": scores, "examples": 1,
                "code": CODE, "seconds": 1.0,
            }  # fmt: skip
            artifacts.publish_language(folder, generation, language, split, record, b"")
    attempt.end()
    return True


def _train(attempt: attempts.Attempt, entry: StageEntry) -> None:
    (attempt.folder / "encoder").mkdir(mode=0o700)
    record = {
        "key": entry.key, "kind": "train", "attempt": f"attempts/{attempt.folder.name}", "files": {},
        "encoder_hash": "sha256:" + entry.key.ljust(64, "0"), "dev_score": 50.0, "code": CODE, "seconds": 1.0,
    }  # fmt: skip
    attempt.publish(record)


def _folder(root: Path, entry: StageEntry) -> Path:
    return root / "stages" / str(entry.folder)


def _start_of(root: Path) -> str:
    """The start model's identity, as the newest manifest names it."""
    manifests = sorted((root / "submissions").glob("*/manifest-*.json"), key=os.path.getmtime)
    return str(json.loads(manifests[-1].read_bytes())["start"]["identity"])
