"""Predictions in XTREME's and XTREME-R's submission layout: `<task>/test-<language>.<ext>`, as their scorer reads them.

Facts from google-research/xtreme: evaluate.py@838c13b (read_label, read_tag, read_squad, read_xcopa, get_suffix),
utils_preprocess.py@0918248 (tatoeba_preprocess), third_party/utils_mewslix.py@66367fa (evaluate) and the submission in
mock_test_data/predictions. One line per example in the order of the test file: a label; for tagged words a line per
word and an empty one after each sentence; XCOPA: an object with the number of the choice. Question answering: a JSON
object from id to answer; Mewsli-X: from id to ranked entities. Tatoeba: XTREME sorts the English sentences to hide
which belong together; a line is the number (from 0) of the other language's sentence found for the next of them.
BUCC: a line is a pair of ids. LAReQA's predictions are read by no published scorer: JSON from id to ranked ids.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from eval.metrics import layout

Records = Sequence[Mapping[str, Any]]  # of id, prediction, gold
_FOLDERS = {"bucc": "bucc2018"}  # where XTREME calls a task otherwise
_LABELS = {"pawsx": {"different": "0", "paraphrase": "1"}}
_CHOICES = {"xcopa": ("choice1", "choice2")}  # what is read as JSON lines, and the labels by their numbers


def file_name(task: str, family: str, language: str) -> str:
    """Where the predictions of a task (with metrics of this family) in a language go, below a submission's folder."""
    json_suffix = "json" if layout(family) in ("answers", "ranked") else "tsv"
    return f"{_FOLDERS.get(task, task)}/test-{language}.{'jsonl' if task in _CHOICES else json_suffix}"


def content(task: str, family: str, records: Records, english: Mapping[str, str] | None = None) -> str:
    """The file's content. `english`: the English sentences by id, where `needs_english`."""
    match layout(family):
        case "labels" if task in _CHOICES:
            numbers = [_CHOICES[task].index(record["prediction"]) for record in records]
            return _lines(json.dumps({"label": number}) for number in numbers)
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
            return _lines(record["id"].replace("|", "\t") for record in records if record["score"] is not None)
        case "places":
            return _lines(_places(records, english or {}))


def count(family: str, records: Records) -> int | None:
    """How many examples the predictions are of; None where they do not say (mined pairs)."""
    return None if layout(family) == "pairs" else len(records)


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
    """In ASCII: the scorer opens files in whatever encoding its machine has."""
    return json.dumps(value, indent=1) + "\n"
