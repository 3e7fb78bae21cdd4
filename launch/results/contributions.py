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
    kept_languages = _read(path)
    folder = store.stage_folder(stage.folder) / "languages" / generation
    new_languages = {
        result.predictions: _of_file(folder / result.predictions, family, metric, code)
        for code, result in results.items()
        if result.predictions not in kept_languages
    }
    languages = kept_languages | new_languages  # also those that another experiment in this store asks for
    if new_languages:
        with suppress(OSError, UserError):  # a store that is only read
            make_folder(path.parent)
            write_atomic(path, _content(languages))
    by_code = {code: languages[result.predictions] for code, result in results.items()}
    return {code: language for code, language in by_code.items() if language is not None}


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


def _content(languages: Mapping[str, Language | None]) -> bytes:
    """By name of the predictions."""
    arrays = {
        f"{predictions}/{'' if language is None else f'{language.kind}/{language.ids}'}": (
            np.zeros((0, 1), np.float32) if language is None else language.parts
        )
        for predictions, language in languages.items()
    }
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]  # no predictions are called allow_pickle
    return hashlib.sha256(content.getvalue()).digest() + content.getvalue()


def _read(path: Path) -> dict[str, Language | None]:
    """By name of the predictions, which tells their content; empty where nothing is kept, or it is not whole."""
    try:
        content = look.read_bytes(path)
    except OSError:
        return {}
    if hashlib.sha256(content[_HASH:]).digest() != content[:_HASH]:
        return {}
    languages: dict[str, Language | None] = {}
    with np.load(io.BytesIO(content[_HASH:]), allow_pickle=False) as arrays:
        for name in arrays.files:
            predictions, kind, *ids = name.split("/")
            languages[predictions] = Language(kind, arrays[name], ids[0]) if ids else None
    return languages
