"""What every example of a finished evaluation contributes to its score, read from its predictions once and kept.

`cache/contributions/` holds a file per evaluate stage, generation and metric: a hash, then plain arrays, one for each
language. It is made anew where it is not there or not whole, and of whoever may not write there nothing is kept; a
predictions file that is not the one which its name tells is an error.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import pydantic_core
from numpy.typing import NDArray

from eval.metrics import contributions, layout
from eval.metrics.contributions import Kind
from eval.statistics import resample
from eval.statistics.resample import Sample
from launch.plan import Plan, Stage
from launch.store import Store
from launch.store.artifacts import LanguageScores
from launch.store.store import contributions_folder
from slurm.base import UserError, look
from slurm.base.files import make_folder, write_atomic

_HASH = hashlib.sha256().digest_size  # bytes
_CLOSE = 1e-3  # points: float32's rounding of a sum


@dataclass(frozen=True)
class Language:
    """`parts`: (examples, parts), as `eval.metrics.contributions` says; `ids`: a hash of the examples' ids in order.

    `sentences`: of mined pairs, whose examples contribute nothing but those that it names; `ids` says nothing there.
    """

    kind: Kind
    parts: NDArray[np.float32] | NDArray[np.uint8] | NDArray[np.uint16]
    ids: str
    sentences: NDArray[np.str_] | None = None


def of_stage(plan: Plan, store: Store, stage: Stage, metric: str) -> dict[str, Language]:
    """By language; without those that have no gold, or whose score under this metric no sum over examples gives."""
    results = {code: result for code, result in store.language_results(plan, stage).items() if metric in result.scores}
    if not results:
        return {}
    generation = next(iter(results.values())).generation
    family = plan.by_digest[stage.definition].task.metric_family
    path = contributions_folder(store.root) / f"{stage.key}-{generation}-{metric}.arrays"
    kept_languages = _read(path)
    folder = store.stage_folder(stage.folder) / "languages" / generation
    new_languages = {
        result.predictions: _of_file(folder / result.predictions, family, metric, code, result)
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


def sample_of(runs: Sequence[Language]) -> Sample:
    """One language of several runs, whose `kind` and `ids` are the same."""
    if runs[0].sentences is None:
        return Sample(
            runs[0].kind, np.stack([run.parts for run in runs], axis=2, dtype=np.float32, casting="same_kind")
        )
    of_runs = [run.sentences for run in runs if run.sentences is not None]
    all_sentences = np.unique(np.concatenate(of_runs))
    parts = np.zeros((len(all_sentences), resample.PARTS[runs[0].kind], len(runs)), np.float32)
    for number, (run, sentences) in enumerate(zip(runs, of_runs, strict=True)):
        parts[np.searchsorted(all_sentences, sentences), :, number] = run.parts
    return Sample(runs[0].kind, parts)


def _of_file(path: Path, family: str, metric: str, code: str, result: LanguageScores) -> Language | None:
    content = look.read_bytes(path)
    if hashlib.sha256(content).hexdigest()[:8] != path.name.split(".")[-2]:
        raise UserError(f"{path}: was changed after it was published; remove it, and `stepstone submit` evaluates anew")
    records = _records(content)
    language = _mined(records, metric, result) if layout(family) == "pairs" else _scored(records, family, metric, code)
    if language is None:
        return None
    # Scores of other code by another formula; mined pairs of which the file does not have those that were missed.
    is_the_published_score = abs(resample.scores(sample_of([language]))[0] - result.scores[metric]) < _CLOSE
    return language if is_the_published_score else None


def _records(content: bytes) -> list[dict[str, Any]]:
    lines = content.splitlines()
    try:
        records: list[dict[str, Any]] = pydantic_core.from_json(b"[" + b",".join(lines) + b"]")  # a third of the time
    except ValueError:  # it refuses halves of surrogate pairs, which some texts have
        records = [json.loads(line) for line in lines]
    return records


def _scored(records: Sequence[Mapping[str, Any]], family: str, metric: str, code: str) -> Language | None:
    with_gold = [record for record in records if record.get("gold") is not None]
    if not with_gold:
        return None
    golds, predictions = [record["gold"] for record in with_gold], [record["prediction"] for record in with_gold]
    kind_and_parts = contributions.of_examples(family, metric, golds, predictions, code)
    if kind_and_parts is None:
        return None
    ids = hashlib.sha256("\0".join(record["id"] for record in with_gold).encode()).hexdigest()[:16]
    kind, parts = kind_and_parts
    return Language(kind, _small(parts), ids)


def _mined(records: Sequence[Mapping[str, Any]], metric: str, result: LanguageScores) -> Language | None:
    """Of the pairs that were kept, and those that should have been, which have no score."""
    if metric == "f1_dev" and "precision_dev" not in result.scores:
        return None  # the pairs are test's
    pairs = {tuple(record["id"].split("|", 1)): record for record in records}
    mined_pairs = {pair for pair, record in pairs.items() if record["score"] is not None}
    gold = {pair for pair, record in pairs.items() if record["gold"]}
    if not gold:
        return None
    sentences, kind, parts = contributions.of_pairs(metric, mined_pairs, gold)
    return Language(kind, _small(parts), "", np.array(sentences))


def _small(parts: NDArray[np.float32]) -> NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]:
    """Whole numbers in as few bytes as hold them: those of all runs of a target are in memory at a time."""
    highest = parts.max(initial=0)
    if highest >= 1 << 16 or (parts != np.floor(parts)).any():
        return parts
    return parts.astype(np.uint8) if highest < 1 << 8 else parts.astype(np.uint16)


def _content(languages: Mapping[str, Language | None]) -> bytes:
    """By name of the predictions."""
    arrays: dict[str, NDArray[Any]] = {}
    for predictions, language in languages.items():
        if language is None:
            arrays[f"{predictions}/"] = np.zeros((0, 1), np.float32)
            continue
        arrays[f"{predictions}/{language.kind}/{language.ids}"] = language.parts
        if language.sentences is not None:
            arrays[f"{predictions}/sentences"] = language.sentences
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]  # no predictions are called allow_pickle
    return hashlib.sha256(content.getvalue()).digest() + content.getvalue()


def _read(path: Path) -> dict[str, Language | None]:
    """What is kept; nothing, where there is no such file."""
    try:
        return _kept(look.read_bytes(path))
    except OSError:
        return {}


def _kept(content: bytes) -> dict[str, Language | None]:
    """By name of the predictions, which tells their content; empty where it is not whole."""
    if hashlib.sha256(content[_HASH:]).digest() != content[:_HASH]:
        return {}
    languages: dict[str, Language | None] = {}
    with np.load(io.BytesIO(content[_HASH:]), allow_pickle=False) as arrays:
        sentences = {name.split("/")[0]: arrays[name] for name in arrays.files if name.endswith("/sentences")}
        for name in arrays.files:
            predictions, kind, *ids = name.split("/")
            if kind in get_args(Kind):
                languages[predictions] = Language(cast(Kind, kind), arrays[name], ids[0], sentences.get(predictions))
            elif not kind:
                languages[predictions] = None
    return languages
