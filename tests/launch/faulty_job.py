"""What an element does in the launcher's state machine: attempts step by step, which faults may stop anywhere."""

import hashlib
from collections import deque
from collections.abc import Generator
from pathlib import Path
from typing import Any

from launch.store import artifacts, attempts, manifests
from launch.store.attempts import Attempt, FailureNote, Fenced, RunningElsewhere, Starter
from launch.store.manifests import Manifest, StageEntry
from slurm.base.files import make_folder, read_sealed, write_atomic
from slurm.queue import has_ended
from slurm.signals import requeue
from tests.slurm.scripted import Run

FAILED, TRY_AGAIN = 1, 75


class FaultyJob:
    """`Scheduler(FaultyJob())`. Each entry of `bugs` makes the next stage that gets so far fail with that message."""

    def __init__(self) -> None:
        self.bugs: deque[str] = deque()

    def __call__(self, run: Run) -> Generator[None, None, int]:
        manifest = self.manifest(run)
        root, code = Path(manifest.store), 0
        for entry in manifest.elements[run.index]:
            if _is_finished(root, manifest, entry):
                continue
            try:
                attempt = attempts.begin(_folder(root, entry.folder), Starter.this_process(), has_ended)
            except RunningElsewhere:
                code = TRY_AGAIN
                continue
            yield
            if run.signalled:
                attempt.end(FailureNote("time", "stopped by a signal"))
                requeue()
                return TRY_AGAIN
            failure = self._failure(root, entry)
            if failure is not None:
                attempt.end(failure)
                code = FAILED
                if entry.kind == "train":
                    return FAILED
                continue
            try:
                _publish(manifest, entry, attempt)
            except Fenced:
                return TRY_AGAIN
            yield  # killed here, it has published and not noted its end
            attempt.end()
        return code

    def manifest(self, run: Run) -> Manifest:
        """As the node sees it."""
        return manifests.read(Path(run.manifest))

    def _failure(self, root: Path, entry: StageEntry) -> FailureNote | None:
        if entry.parent and _result(root, entry.parent) is None:
            return FailureNote("parent-missing", f"parent-missing: {entry.parent} has no result")
        return FailureNote("code", self.bugs.popleft()) if self.bugs else None


def _folder(root: Path, name: str) -> Path:
    return root / "stages" / name


def _result(root: Path, name: str) -> dict[str, Any] | None:
    return read_sealed(_folder(root, name) / "result.json")


def _generation(manifest: Manifest, root: Path, entry: StageEntry) -> str | None:
    if entry.parent is None:
        return artifacts.generation_of(manifest.start_of(entry).identity)
    parent = _result(root, entry.parent)
    return artifacts.generation_of(parent["encoder_hash"]) if parent else None


def _is_finished(root: Path, manifest: Manifest, entry: StageEntry) -> bool:
    folder = _folder(root, entry.folder)
    if entry.kind == "train":
        return _result(root, entry.folder) is not None
    generation = _generation(manifest, root, entry)
    languages = entry.evaluate_spec().languages
    return generation is not None and all(
        artifacts.read_language(folder, generation, code, split) for code, split in languages.items()
    )


def _publish(manifest: Manifest, entry: StageEntry, attempt: Attempt) -> None:
    made = {"schema": 1, "key": entry.key, "kind": entry.kind, "code": "c", "runtime": entry.runtime}
    made["made_by"] = attempts.starter_of(attempt).record()
    if entry.kind == "train":
        write_atomic(make_folder(attempt.folder / "encoder") / "weights", entry.key.encode())
        digest = hashlib.sha256(entry.key.encode()).hexdigest()
        made |= {
            "attempt": f"attempts/{attempt.folder.name}",
            "files": artifacts.list_files(attempt.folder, ("encoder",)),
        }
        attempt.publish(made | {"encoder_hash": f"sha256:{digest}", "dev_score": 50.0, "at_chance": []})
        return
    generation = _generation(manifest, Path(manifest.store), entry)
    assert generation is not None
    for code, split in entry.evaluate_spec().languages.items():
        record = made | {"language": code, "generation": generation, "scores": {"accuracy": 50.0}, "examples": 1}
        artifacts.publish_language(attempt.stage_folder, generation, code, split, record, f"{code}\n".encode())
