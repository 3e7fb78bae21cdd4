"""What XTREME's scorer makes of a submission, in few lines of our own: an independent reader of exported files.

Facts from google-research/xtreme@838c13b, evaluate.py: the file's name per task, how each kind of file is read, that a
label file has as many lines as the predictions, and the scores. Those of taggings and of MLQA are compared in
`tests/eval/metrics/test_metrics.py`.
"""

import json
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SUFFIXES = {"xcopa": "jsonl", "xquad": "json", "mlqa": "json", "tydiqa": "json", "mewslix": "json"}
TAGGED = ("panx", "udpos")
NAMES = {"bucc": "bucc2018"}
NUMBERS = {"different": "0", "paraphrase": "1", "choice1": 0, "choice2": 1}  # PAWS-X's in text, XCOPA's in JSON
Labels = Any  # as the scorer's own file of the task has them, read


def read(submission: Path, task: str, language: str) -> Labels:
    """A submission's predictions: lines; sentences of tags; XCOPA's numbers; or what the JSON object holds."""
    suffix = SUFFIXES.get(task, "tsv")
    with (submission / NAMES.get(task, task) / f"test-{language}.{suffix}").open() as file:
        if suffix == "json":
            content = json.load(file)
            return content.get("data", content)
        if suffix == "jsonl":
            return [json.loads(line)["label"] for line in file]
        lines = [line.strip() for line in file]
    if task not in TAGGED:
        return lines
    sentences: list[list[str]] = [[]]
    for line in lines:
        if line:
            sentences[-1].append(line)
        else:
            sentences.append([])
    return sentences if sentences[-1] else sentences[:-1]


def labels(task: str, records: Sequence[Mapping[str, Any]], english: Sequence[str] = ()) -> Labels:
    """The scorer's own labels, from the gold of our records; Tatoeba's `english` in the order of the records."""
    if task == "tatoeba":
        order = sorted(range(len(english)), key=lambda place: english[place].strip())
        return [str(place) for place in order]
    if task in ("xquad", "mlqa", "tydiqa"):
        return {record["id"]: record["gold"] for record in records}
    if task == "mewslix":
        return {record["id"]: [record["gold"]] for record in records}
    golds = [record["gold"] for record in records]
    return golds if task in TAGGED else [NUMBERS.get(gold, gold) for gold in golds]


def score(task: str, predictions: Labels, gold: Labels) -> dict[str, float]:
    """The published scores in percent; not of taggings, nor of MLQA, whose words depend on the language."""
    assert task not in (*TAGGED, "mlqa"), task
    if task in ("xquad", "tydiqa"):
        return _answers(predictions, gold)
    if task == "mewslix":
        return {
            "mrr@20": _percent(sum(_rank(predictions.get(name, [])[:20], right) for name, right in gold.items()), gold)
        }
    if task == "bucc":
        return _pairs({tuple(line.split("\t")) for line in predictions}, {tuple(line.split("\t")) for line in gold})
    assert len(predictions) == len(gold), (task, len(predictions), len(gold))
    return {"accuracy": _percent(sum(a == b for a, b in zip(predictions, gold, strict=True)), gold)}


def _percent(total: float, of: Any) -> float:
    return 100 * total / len(of)


def _rank(ranking: Sequence[str], right: Sequence[str]) -> float:
    return next((1 / rank for rank, name in enumerate(ranking, start=1) if name == right[0].strip()), 0.0)


def _pairs(found: set[Any], gold: set[Any]) -> dict[str, float]:
    both = len(found & gold)
    precision, recall = (both / len(found), both / len(gold)) if both else (0.0, 0.0)
    f1 = 2 * precision * recall / (precision + recall) if both else 0.0
    return {"f1": 100 * f1, "precision": 100 * precision, "recall": 100 * recall}


def _answers(predictions: Mapping[str, str], gold: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """SQuAD 1.1's: a question without a prediction counts as wrong."""
    f1 = exact = 0.0
    for name, answers in gold.items():
        if name in predictions:
            found = _words(predictions[name])
            exact += max(found == _words(answer) for answer in answers)
            f1 += max(_overlap(found, _words(answer)) for answer in answers)
    return {"f1": _percent(f1, gold), "exact_match": _percent(exact, gold)}


def _words(text: str) -> list[str]:
    kept = "".join(character for character in text.lower() if character not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", kept).split()


def _overlap(found: list[str], right: list[str]) -> float:
    same = (Counter(found) & Counter(right)).total()
    return 2 * same / (len(found) + len(right)) if same else 0.0
