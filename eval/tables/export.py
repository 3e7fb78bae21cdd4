"""Predictions in XTREME's submission layout: `<task>/test-<language>.<ext>`, as its scorer reads them.

One line per example in the order of the test file: a label; for tagged words a line per word and an empty one after
each sentence. Question answering is a JSON object from id to answer. Tatoeba: XTREME sorts the English sentences to
hide which belong together; a line is the number (from 0) of the other language's sentence found for the next of them.
BUCC: a line is a pair of ids. Where XTREME-R has no published form (LAReQA, Mewsli-X): JSON from id to ranked ids.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Records = Sequence[Mapping[str, Any]]  # of id, prediction, gold
_FOLDERS = {"bucc": "bucc2018"}  # where XTREME calls a task otherwise
_LABELS = {
    "pawsx": {"different": "0", "paraphrase": "1"},
    "xcopa": {"choice1": "0", "choice2": "1"},
}


def file_name(task: str, family: str, language: str) -> str:
    """Where the predictions of a task (with metrics of this family) in a language go, below a submission's folder."""
    suffix = "json" if family in ("squad", "squad_v2", "mlqa", "map20", "mrr20") else "tsv"
    return f"{_FOLDERS.get(task, task)}/test-{language}.{suffix}"


def content(task: str, family: str, records: Records, english: Mapping[str, str] | None = None) -> str:
    """The file's content. `english`, for retrieval: the English sentences by id."""
    if family == "retrieval":
        return _lines(_found(records, english or {}))
    if family == "accuracy":
        names = _LABELS.get(task, {})
        return _lines(names.get(record["prediction"], record["prediction"]) for record in records)
    return _WRITERS[family](records)


def _found(records: Records, english: Mapping[str, str]) -> list[str]:
    """For each English sentence, in alphabetical order, the place of what was found for it."""
    places = {record["id"]: str(place) for place, record in enumerate(records)}
    return [places[r["prediction"][0]] for r in sorted(records, key=lambda record: english[record["id"]].strip())]


def _tags(records: Records) -> str:
    return "".join(_lines(record["prediction"]) + "\n" for record in records)


def _answers(records: Records) -> str:
    return _json({record["id"]: _text(record["prediction"]) for record in records})


def _text(prediction: Any) -> str:
    return str(prediction["text"] if isinstance(prediction, Mapping) else prediction or "")


def _ranked(records: Records) -> str:
    return _json({record["id"]: record["prediction"] for record in records})


def _pairs(records: Records) -> str:
    return _lines(record["id"].replace("|", "\t") for record in records)


def _lines(values: Any) -> str:
    return "".join(f"{value}\n" for value in values)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


_WRITERS: dict[str, Callable[[Records], str]] = {
    "ner": _tags,
    "pos": _tags,
    "words": _tags,
    "squad": _answers,
    "squad_v2": _answers,
    "mlqa": _answers,
    "map20": _ranked,
    "mrr20": _ranked,
    "mining": _pairs,
}
