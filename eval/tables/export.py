"""Predictions in XTREME's submission layout: `<task>/test-<language>.<ext>`, as its scorer reads them.

One line per example in the order of the test file: a label; for tagged words a line per word and an empty one after
each sentence. Question answering is a JSON object from id to answer. Tatoeba: XTREME sorts the English sentences to
hide which belong together; a line is the number (from 0) of the other language's sentence found for the next of them.
BUCC: a line is a pair of ids. Where XTREME-R has no published form (LAReQA, Mewsli-X): JSON from id to ranked ids.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from eval.metrics import layout

Records = Sequence[Mapping[str, Any]]  # of id, prediction, gold
_FOLDERS = {"bucc": "bucc2018"}  # where XTREME calls a task otherwise
_LABELS = {
    "pawsx": {"different": "0", "paraphrase": "1"},
    "xcopa": {"choice1": "0", "choice2": "1"},
}


def file_name(task: str, family: str, language: str) -> str:
    """Where the predictions of a task (with metrics of this family) in a language go, below a submission's folder."""
    suffix = "json" if layout(family) in ("answers", "ranked") else "tsv"
    return f"{_FOLDERS.get(task, task)}/test-{language}.{suffix}"


def content(task: str, family: str, records: Records, english: Mapping[str, str] | None = None) -> str:
    """The file's content. `english`: the English sentences by id, where `needs_english`."""
    match layout(family):
        case "labels":
            names = _LABELS.get(task, {})
            return _lines(names.get(record["prediction"], record["prediction"]) for record in records)
        case "tags":
            return "".join(_lines(record["prediction"]) + "\n" for record in records)
        case "answers":
            return _json({record["id"]: _text(record["prediction"]) for record in records})
        case "ranked":
            return _json({record["id"]: record["prediction"] for record in records})
        case "pairs":
            return _lines(record["id"].replace("|", "\t") for record in records)
        case "places":
            return _lines(_places(records, english or {}))


def needs_english(family: str) -> bool:
    """Whether `content` asks for the English sentences."""
    return layout(family) == "places"


def _places(records: Records, english: Mapping[str, str]) -> list[str]:
    """For each English sentence, in alphabetical order, the place of its prediction."""
    places = {record["id"]: str(place) for place, record in enumerate(records)}
    return [places[r["prediction"][0]] for r in sorted(records, key=lambda record: english[record["id"]].strip())]


def _text(prediction: Any) -> str:
    return str(prediction["text"] if isinstance(prediction, Mapping) else prediction or "")


def _lines(values: Any) -> str:
    return "".join(f"{value}\n" for value in values)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"
