"""Whether a result is what its job published, by content: who reads scores for a table asks here, once per file.

A language's record and a training's `result.json` carry a checksum over all their bytes; predictions are held against
the SHA-256 in their record, those of earlier versions against the eight digits of it in their name and their size.
"""

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from launch.store import artifacts, records
from launch.store.artifacts import LanguageScores, TrainResult
from slurm.base import UserError, look
from slurm.base.files import unseal

T = TypeVar("T")
_TRAIN_RESULT, _LANGUAGE = TypeAdapter(TrainResult), TypeAdapter(LanguageScores)


@dataclass(frozen=True)
class Flaw:
    """Why a result does not count. `is_damaged`: it is to be set aside; else it is as good as ever where another
    version, or another user, reads it."""

    why: str
    is_damaged: bool = True


def training(path: Path, key: str) -> TrainResult | Flaw:
    """What a train stage's `result.json` says."""
    result = _record(path, _TRAIN_RESULT)
    if isinstance(result, Flaw) or result.key in ("", key):
        return result
    return Flaw(f"is of another stage ({result.key})")


def language(path: Path, key: str, code: str) -> LanguageScores | Flaw:
    """What an evaluate stage's record of one language says, its predictions hashed too."""
    result = _record(path, _LANGUAGE)
    if isinstance(result, Flaw):
        return result
    if result.key not in ("", key):
        return Flaw(f"is of another stage ({result.key})")
    if result.language not in ("", code):
        return Flaw(f"is of another language ({result.language})")
    if result.generation not in ("", path.parent.name):
        return Flaw(f"is of another encoder ({result.generation})")
    return _of_predictions(path.parent, result) or result


def _record(path: Path, kind: TypeAdapter[T]) -> T | Flaw:
    content = _sealed(path)
    if isinstance(content, Flaw):
        return content
    try:
        return records.convert(path, content, kind)
    except UserError as error:
        return Flaw(str(error).removeprefix(f"{path}: "), is_damaged=False)


def _sealed(path: Path) -> dict[str, object] | Flaw:
    """Read twice before it counts as damaged: what a network's client held of it may have been old."""
    try:
        record = unseal(look.read_bytes(path))
        if record is None:
            look.refresh(path.parent)
            record = unseal(look.read_bytes(path))
    except PermissionError:
        return Flaw("may not be read by you", is_damaged=False)
    except (FileNotFoundError, NotADirectoryError):
        return Flaw("is gone", is_damaged=False)  # another collector, or its job, has just put it aside
    return Flaw("its checksum is not that of its content") if record is None else record


def _of_predictions(folder: Path, result: LanguageScores) -> Flaw | None:
    name = result.predictions
    if Path(name).name != name:
        return Flaw(f"names predictions that lie elsewhere ({name})")
    path = folder / name
    try:
        size, digest = _hashed(path)
        if not _fits(size, digest, result):
            look.refresh(folder)
            size, digest = _hashed(path)
    except PermissionError:
        return Flaw(f"its predictions ({name}) may not be read by you", is_damaged=False)
    except FileNotFoundError:
        return Flaw(f"its predictions ({name}) are gone")
    if size != result.predictions_size:
        return Flaw(f"its predictions ({name}) have {size} bytes instead of {result.predictions_size}")
    if not _fits(size, digest, result):
        return Flaw(f"its predictions ({name}) were changed after they were published")
    return None


def _hashed(path: Path) -> tuple[int, str]:
    def of_content() -> tuple[int, str]:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return file.tell(), digest

    return look.surely(path, of_content)


def _fits(size: int, digest: str, result: LanguageScores) -> bool:
    if size != result.predictions_size:
        return False
    if result.predictions_sha256 is not None:
        return digest == result.predictions_sha256
    return digest[:8] == result.predictions.split(".")[-2]


def put_language_aside(path: Path, key: str, code: str) -> Path | None:
    """Set a damaged record aside; where it lies now. None: nothing was, for what is there now verifies, or is gone."""
    return artifacts.put_aside(path, partial(_is_whole_language, key=key, code=code))


def _is_whole_language(path: Path, key: str, code: str) -> bool:
    return isinstance(language(path, key, code), LanguageScores)


def put_training_aside(path: Path, key: str) -> Path | None:
    """The same of a train stage's `result.json`."""
    return artifacts.put_aside(path, lambda aside: isinstance(training(aside, key), TrainResult))
