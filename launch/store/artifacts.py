"""What stages leave: trained encoders and languages' scores, as they are published, verified, put aside and removed.

A leaf training's encoder goes once its element's evaluates are finished, as quotas are small (`keep:`). A later
submission may have come to need it: a target that was added while the element waited. Then it stays, and `stepstone gc`
takes it when nobody needs it any more; so it does in doubt, for to train again costs more than room.
"""

import hashlib
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import TypeAdapter

from launch.plan import keys
from launch.store import manifests, records
from launch.store.attempts import Starter
from launch.store.manifests import StageEntry
from slurm.base import look
from slurm.base.files import (
    make_folder,
    move,
    read_sealed,
    remove,
    remove_folder,
    seal,
    sha256_file,
    write_atomic,
    write_once,
)
from training.spec import Precision, Split

GENERATION_LENGTH = 16
QUARANTINED = ".quarantined"  # ends the name of a record that did not verify


def generation_of(identity: str) -> str:
    """The folder name of a generation: of an encoder's hash, or of the start model's identity."""
    return identity.rpartition(":")[2].rpartition("@")[2][:GENERATION_LENGTH]


@dataclass(frozen=True)
class FileFacts:
    """Of one file of a hand-over."""

    size: int
    sha256: str


@dataclass(frozen=True)
class DevMetrics:
    """A task's English dev under all of its metrics, by the head that was trained on it. `step`: optimizer steps of
    this training until then; `progress`: of all of its steps, the share at which it was due. Scores in percent, losses
    in nats."""

    task: str
    head: str
    step: int
    progress: float
    metrics: dict[str, float]


@dataclass(frozen=True)
class TaskMeasures:
    """What is known of a task's training data, by the names of `eval.studies.complexity`."""

    task: str
    measures: dict[str, float]


@dataclass(frozen=True)
class TrainResult:
    """What is read of a train stage's result.json. It says more, for people: `launch.job.results` writes it."""

    encoder_hash: str
    dev_score: float  # English, of the selected epoch, in percent
    key: str = ""  # of the stage
    attempt: str = ""  # the folder of the attempt that made it, below the stage's
    files: dict[str, FileFacts] = field(default_factory=dict)  # of the hand-over, by their names below the attempt's
    at_chance: tuple[str, ...] = ()  # heads that did no better than a constant answer
    steps: int | None = None  # optimizer steps
    made_by: Starter = field(default_factory=Starter)
    code: str | None = None  # hash of the code that made it
    seconds: float = 0.0  # of training
    tokens: int = 0  # that were read, in all epochs
    world_size: int = 1
    device: str = ""  # "cpu", "cuda"
    device_name: str | None = None
    cores: int | None = None  # of a rank
    precision: Precision = "fp32"
    dev_scores: tuple[float, ...] = ()  # by epoch
    selected_epoch: int | None = None  # from 0
    dev_points: tuple[DevMetrics, ...] = ()  # of the stage's own tasks, in the order of steps, ends of epochs included
    earlier_dev: tuple[DevMetrics, ...] = ()  # of tasks of the steps before it, under the encoder that is handed on
    measures: tuple[TaskMeasures, ...] = ()  # of tasks that it trains from the start model
    versions: dict[str, str] = field(default_factory=dict)  # of the packages that made it
    schema: Literal[1] = 1


@dataclass(frozen=True)
class LanguageScores:
    """What is read of an evaluate stage's result in one language."""

    scores: dict[str, float]  # by metric, in percent
    predictions: str  # name of their file beside it
    predictions_size: int
    predictions_sha256: str | None = None  # None: of an earlier version; its first eight digits are in the name
    key: str = ""  # of the stage
    language: str = ""
    attempt: str | None = None  # as in TrainResult; None: of an earlier version
    examples: int = 0
    generation: str = ""  # of the encoder
    layers: dict[str, list[float]] = field(default_factory=dict)  # by curve, as eval.prediction.predict has them
    code: str = ""
    seconds: float | None = None  # of evaluating this language, tokenising included
    versions: dict[str, str] = field(default_factory=dict)  # of the packages that made it
    device_name: str = ""
    schema: Literal[1] = 1


_TRAIN_RESULT, _LANGUAGE = TypeAdapter(TrainResult), TypeAdapter(LanguageScores)


def read_train_result(stage_folder: Path) -> TrainResult | None:
    """A train stage's result; None where it is missing or does not verify. UserError for another version's."""
    path = stage_folder / "result.json"
    record = read_sealed(path)
    return None if record is None else records.convert(path, record, _TRAIN_RESULT)


def encoder_is_whole(stage_folder: Path, result: TrainResult) -> bool:
    """Whether every file of a train stage's hand-over is there, with its size."""
    return all(_size(stage_folder / result.attempt / name) == facts.size for name, facts in result.files.items())


def encoder_verifies(stage_folder: Path, result: TrainResult, hashes: Mapping[str, str] = MappingProxyType({})) -> bool:
    """The same, by content. `hashes`: of files that have been read by now, by their names below the attempt's."""
    folder = stage_folder / result.attempt
    try:
        return encoder_is_whole(stage_folder, result) and all(
            (hashes.get(name) or sha256_file(folder / name)) == facts.sha256 for name, facts in result.files.items()
        )
    except FileNotFoundError:  # another job has just put it aside
        return False


def put_encoder_aside(stage_folder: Path, result: TrainResult) -> Path:
    """Quarantine an encoder that does not verify: then it counts as missing."""
    encoder = stage_folder / result.attempt / "encoder"
    aside = encoder.with_suffix(f".{uuid.uuid4().hex[:8]}{QUARANTINED}")
    with suppress(FileNotFoundError):  # another put it aside
        move(encoder, aside)
    return aside


def list_files(folder: Path, parts: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of every file in some subfolders, for a result's record."""
    paths_below = (path for part in parts for path in (folder / part).rglob("*") if not path.name.startswith(".nfs"))
    paths = sorted(path for path in paths_below if path.is_file())
    return {str(path.relative_to(folder)): {"size": path.stat().st_size, "sha256": sha256_file(path)} for path in paths}


def _size(path: Path) -> int | None:
    return look.size(path)


def language_file(stage_folder: Path, generation: str, language: str, split: Split) -> Path:
    return stage_folder / "languages" / generation / f"{language}-{keys.language_identity(split)}.json"


def read_language(stage_folder: Path, generation: str, language: str, split: Split) -> LanguageScores | None:
    """One language's result; None where it is missing or does not verify, or its predictions are gone."""
    return _read_language(language_file(stage_folder, generation, language, split))


def read_languages(stage_folder: Path, generation: str, languages: Mapping[str, Split]) -> dict[str, LanguageScores]:
    """The same of several, by language: one listing, and of what is not there no file is asked for."""
    paths = {code: language_file(stage_folder, generation, code, split) for code, split in languages.items()}
    try:
        names = set(look.names(stage_folder / "languages" / generation))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    there = {code: path for code, path in paths.items() if path.name in names}
    return {code: result for code, path in there.items() if (result := _read_language(path))}


def _read_language(path: Path) -> LanguageScores | None:
    record = read_sealed(path)
    if record is None:
        return None
    result = records.convert(path, record, _LANGUAGE)
    return result if _size(path.parent / result.predictions) == result.predictions_size else None


def publish_language(
    stage_folder: Path, generation: str, language: str, split: Split, record: dict[str, Any], predictions: bytes
) -> bool:
    """Publish one language's predictions and result; the first one wins. Whether it was ours.

    A record that does not verify is put aside under the name `*.quarantined` and replaced.
    """
    path = language_file(stage_folder, generation, language, split)
    make_folder(path.parent)
    if look.exists(path) and read_language(stage_folder, generation, language, split) is None:
        put_aside(path, lambda aside: _read_language(aside) is not None)
    # Named by content, so that an attempt that comes second cannot replace what the first one's result describes.
    digest = hashlib.sha256(predictions).hexdigest()
    name = f"{path.stem}.{digest[:8]}.jsonl"
    write_atomic(path.parent / name, predictions)
    content = record | {
        "predictions": name,
        "predictions_size": len(predictions),
        "predictions_sha256": digest,
    }
    return write_once(path, seal(content))


def put_aside(path: Path, verifies: Callable[[Path], bool]) -> Path | None:
    """Quarantine a record that did not verify; where it lies now, None: nowhere, as another was here first.

    Another may have replaced it since: what verifies goes back.
    """
    aside = path.with_suffix(f".{uuid.uuid4().hex[:8]}{QUARANTINED}")
    try:
        move(path, aside)
    except FileNotFoundError:
        return None  # another put it aside
    if not verifies(aside):
        return aside
    write_once(path, look.read_bytes(aside))  # unless a third was here in between: one result stays, as ever
    remove(aside)
    return None


def was_set_aside(stage_folder: Path) -> bool:
    """Whether a result of a stage once was, whatever came in its place."""
    patterns = (f"result.*{QUARANTINED}", f"languages/*/*{QUARANTINED}")
    return any(True for pattern in patterns for _ in stage_folder.glob(pattern))


DROPPED = ".dropped-"  # begins the name of what is being removed; gc takes it a day later, where that was interrupted
_LEFT_OVER = 3600.0  # seconds: a lock that was not touched for so long is of a submitter that was killed


def drop(root: Path, submission: Path, folder: str) -> bool:
    """Remove the encoder of a finished train stage, for a job of `submission`. False: it stays.

    It is put out of sight first, and only then looked who needs it: a submitter that still saw it has the lock now, or
    its submission is there already, and one that looks later plans without it.
    """
    result = read_train_result(root / "stages" / folder)
    if result is None:
        return True
    encoder = root / "stages" / folder / result.attempt / "encoder"
    hidden_encoder = encoder.with_name(f"{DROPPED}{uuid.uuid4().hex}")
    try:
        move(encoder, hidden_encoder)
    except FileNotFoundError:
        return True
    if _may_be_awaited(root / "submissions", submission.name, folder, result):
        move(hidden_encoder, encoder)
        return False
    remove_folder(hidden_encoder)
    return True


def _may_be_awaited(submissions: Path, earlier: str, folder: str, result: TrainResult) -> bool:
    try:
        if _is_held(submissions / "lock"):
            return True  # somebody submits at this moment, and nothing tells yet what
        generation = generation_of(result.encoder_hash)
        stages = submissions.parent / "stages"
        return any(not _is_finished(stages, child, generation) for child in _children(submissions, earlier, folder))
    except Exception:  # whatever cannot be read
        return True


def _is_held(lock: Path) -> bool:
    try:
        return time.time() - look.status(lock).st_mtime < _LEFT_OVER
    except FileNotFoundError:
        return False


def _children(submissions: Path, earlier: str, folder: str) -> Iterator[StageEntry]:
    """The stages under one, as submissions later than `earlier` tell them to their jobs."""
    for name in look.names(submissions):
        if name <= earlier or name.startswith((".", "lock")):
            continue
        for path in sorted((submissions / name).glob("manifest-*.json")):
            if folder.encode() in look.read_bytes(path):  # else there is no need to take megabytes apart
                yield from (entry for entry in manifests.read(path).entries() if entry.parent == folder)


def _is_finished(stages: Path, entry: StageEntry, generation: str) -> bool:
    if entry.kind == "train":
        return read_train_result(stages / entry.folder) is not None
    languages = entry.evaluate_spec().languages
    return all(read_language(stages / entry.folder, generation, code, split) for code, split in languages.items())
