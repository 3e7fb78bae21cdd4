"""SQuAD's JSON: questions, contexts and answers, from files and from rows of the Hub."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.formats.rows import RowError, bad_row, malformed, read_text


@dataclass(frozen=True)
class Answer:
    """`start`: the character in the context that `text` begins at."""

    text: str
    start: int


@dataclass(frozen=True)
class Question:
    id: str
    question: str
    context: str
    answers: tuple[Answer, ...]


def read_questions(path: Path) -> list[Question]:
    """All questions of a file, in its order."""
    text = read_text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        malformed(path, getattr(error, "lineno", 1), f"not JSON ({error})")
    questions = []
    for record in _records(content, path):
        try:
            questions.append(question_of(record))
        except RowError as error:
            bad_row(path, _line(record, text), f"question {record.get('id')}: {error}")
    return questions


def question_of(row: Mapping[str, Any]) -> Question:
    """A question from `id`, `question`, `context` and `answers` (a list, or lists of `text` and `answer_start`).

    SQuAD 2.0's `is_impossible` questions have no answers, whatever else is written there.
    """
    try:
        context = str(row["context"])
        texts_and_starts = [] if row.get("is_impossible") else _answers(row["answers"])
        answers = tuple(anchored(context, text, start) for text, start in texts_and_starts)
        return Question(str(row["id"]), str(row["question"]), context, answers)
    except RowError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise RowError(f"{error.__class__.__name__} {error}") from error


def anchored(context: str, text: str, start: int) -> Answer:
    """The answer where it really is: some copies of the data stripped the context and kept the old offsets.
    RowError where the text is not in the context at all."""
    if context[start : start + len(text)] == text and start >= 0:
        return Answer(text, start)
    places = _places(context, text)
    if not places:
        raise RowError(f"the answer {text!r} is not in its context")
    return Answer(text, min(places, key=lambda place: abs(place - start)))


def _places(context: str, text: str) -> list[int]:
    places, place = [], context.find(text)
    while place >= 0:
        places.append(place)
        place = context.find(text, place + 1)
    return places


def _answers(answers: Any) -> list[tuple[str, int]]:
    if isinstance(answers, Mapping):
        return list(zip(answers["text"], answers["answer_start"], strict=True))
    return [(answer["text"], answer["answer_start"]) for answer in answers]


def _records(content: Any, path: Path) -> Iterator[dict[str, Any]]:
    try:
        for article in content["data"]:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    yield {**question, "context": paragraph["context"]}
    except (KeyError, TypeError) as error:
        malformed(path, 1, f"not SQuAD's form data / paragraphs / qas ({error.__class__.__name__} {error})")


def _line(record: Mapping[str, Any], text: str) -> int:
    """The line of the question's id."""
    place = text.find(json.dumps(str(record.get("id"))))
    return text.count("\n", 0, max(place, 0)) + 1
