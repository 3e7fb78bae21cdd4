"""What every example of a finished evaluation contributes to its score, read from its predictions once and kept.

`cache/contributions/` holds a file per evaluate stage, generation and metric: a hash, then plain arrays, one for each
language. It is made anew where it is not there or not whole, and of whoever may not write there nothing is kept; a
predictions file that is not the one which its name tells is an error.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval.metrics import contributions
from launch.plan import Plan, Stage
from launch.store import Store
from launch.store.artifacts import LanguageScores
from slurm.base import UserError, look
from slurm.base.files import make_folder, write_atomic

_HASH = hashlib.sha256().digest_size  # bytes


@dataclass(frozen=True)
class Language:
    """`parts`: (examples, 1 or 3), as `eval.metrics.contributions` says; `ids`: a hash of the examples' ids in
    order."""

    kind: contributions.Kind
    parts: NDArray[np.float32] | NDArray[np.uint8] | NDArray[np.uint16]
    ids: str


def of_stage(plan: Plan, store: Store, stage: Stage, metric: str) -> dict[str, Language]:
    """By language; without those that have no gold, or whose score under this metric no sum over examples gives."""
    results = {code: result for code, result in store.language_results(plan, stage).items() if metric in result.scores}
    if not results:
        return {}
    generation = next(iter(results.values())).generation
    family = plan.by_digest[stage.definition].task.metric_family
    path = store.root / "cache" / "contributions" / f"{stage.key}-{generation}-{metric}.arrays"
    languages = _read(path, results)
    if languages is None:
        folder = store.stage_folder(stage.folder) / "languages" / generation
        languages = {
            code: _of_file(folder / result.predictions, family, metric, code) for code, result in results.items()
        }
        with suppress(OSError, UserError):  # a store that is only read
            make_folder(path.parent)
            write_atomic(path, _content(languages, results))
    return {code: language for code, language in languages.items() if language is not None}


def _of_file(path: Path, family: str, metric: str, code: str) -> Language | None:
    content = look.read_bytes(path)
    if hashlib.sha256(content).hexdigest()[:8] != path.name.split(".")[-2]:
        raise UserError(f"{path}: was changed after it was published; remove it, and `stepstone submit` evaluates anew")
    records = [json.loads(line) for line in content.splitlines()]
    with_gold = [record for record in records if record["gold"] is not None]
    if not with_gold or any("prediction" not in record for record in with_gold):  # mined pairs are none
        return None
    golds, predictions = [record["gold"] for record in with_gold], [record["prediction"] for record in with_gold]
    kind_and_parts = contributions.of_examples(family, metric, golds, predictions, code)
    if kind_and_parts is None:
        return None
    ids = hashlib.sha256("\0".join(record["id"] for record in with_gold).encode()).hexdigest()[:16]
    kind, parts = kind_and_parts
    return Language(kind, _small(parts) if kind == "f1" else parts, ids)


def _small(counts: NDArray[np.float32]) -> NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]:
    """Counts in as few bytes as hold them: those of all runs of a target are in memory at a time."""
    highest = counts.max(initial=0)
    if highest < 1 << 8:
        return counts.astype(np.uint8)
    return counts.astype(np.uint16) if highest < 1 << 16 else counts


def _content(languages: Mapping[str, Language | None], results: Mapping[str, LanguageScores]) -> bytes:
    arrays = {
        f"{code}/{results[code].predictions}/{'' if language is None else f'{language.kind}/{language.ids}'}": (
            np.zeros((0, 1), np.float32) if language is None else language.parts
        )
        for code, language in languages.items()
    }
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]  # no language is called allow_pickle
    return hashlib.sha256(content.getvalue()).digest() + content.getvalue()


def _read(path: Path, results: Mapping[str, LanguageScores]) -> dict[str, Language | None] | None:
    """None: it is not there, not whole, or of other predictions."""
    try:
        content = look.read_bytes(path)
    except OSError:
        return None
    if hashlib.sha256(content[_HASH:]).digest() != content[:_HASH]:
        return None
    languages: dict[str, Language | None] = {}
    with np.load(io.BytesIO(content[_HASH:]), allow_pickle=False) as arrays:
        for name in arrays.files:
            code, predictions, kind, *ids = name.split("/")
            if code not in results or results[code].predictions != predictions:
                return None
            languages[code] = Language(kind, arrays[name], ids[0]) if ids else None
    return languages if languages.keys() == results.keys() else None
