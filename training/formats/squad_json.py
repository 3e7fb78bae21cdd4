"""SQuAD's JSON: questions, contexts and answers, from files and from rows of the Hub."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.formats import strict_json
from training.formats.answers import Answer, anchored, judge
from training.formats.report import reporting
from training.formats.rows import RowError, bad_row, malformed, name_of, read_text, text_of, whole_number


@dataclass(frozen=True)
class Question:
    id: str
    question: str
    context: str
    answers: tuple[Answer, ...]


def read_questions(path: Path) -> list[Question]:
    """All questions of a file, in its order."""
    text = read_text(path)
    questions = []
    with reporting() as report:
        for record in _records(parsed(path, text), path):
            try:
                questions.append(question_of(record))
            except RowError as error:
                bad_row(path, line_of(text, record.get("id")), f"question {record.get('id')}: {error}")
    judge(str(path), report)
    return questions


def parsed(path: Path, text: str) -> Any:
    """What a file of JSON says; `text`: its content."""
    try:
        return strict_json.parse(text)
    except strict_json.JsonError as error:
        malformed(path, error.line, str(error))


def question_of(row: Mapping[str, Any]) -> Question:
    """A question from `id`, `question`, `context` and `answers` (a list, or lists of `text` and `answer_start`).

    SQuAD 2.0's `is_impossible` questions have no answers, whatever else is written there.
    """
    try:
        context = text_of(row["context"], "context")
        answers = () if _is_impossible(row) else tuple(_answers(row["answers"], context))
        return Question(name_of(row["id"], "id"), text_of(row["question"], "question"), context, answers)
    except RowError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise RowError(f"{error.__class__.__name__} {error}") from error


def _is_impossible(row: Mapping[str, Any]) -> bool:
    value = row.get("is_impossible")
    if not (value is None or value in (0, 1)) or isinstance(value, float):
        raise RowError(f"is_impossible is {value!r}; it is true or false, without quotes")
    return bool(value)


def _answers(answers: Any, context: str) -> Iterator[Answer]:
    if isinstance(answers, Mapping):
        texts_and_starts = list(zip(answers["text"], answers["answer_start"], strict=True))
    else:
        texts_and_starts = [(answer["text"], answer["answer_start"]) for answer in answers]
    for text, start in texts_and_starts:
        if text == "":  # files without gold answers have it so, at 0 or -1
            yield Answer(text, 0)
            continue
        yield anchored(context, text_of(text, "an answer's text"), whole_number(start, "answer_start"))


def _records(content: Any, path: Path) -> Iterator[dict[str, Any]]:
    try:
        for article in list_in(content, "data"):
            for paragraph in list_in(article, "paragraphs"):
                for question in list_in(paragraph, "qas"):
                    yield {**question, "context": paragraph["context"]}
    except (KeyError, TypeError) as error:
        malformed(path, 1, f"not SQuAD's form data / paragraphs / qas ({error.__class__.__name__} {error})")


def list_in(value: Any, name: str) -> list[Any]:
    """The list of that name. KeyError, TypeError where there is none: of "" in its place nothing would be read."""
    items = value[name]
    if not isinstance(items, list):
        raise TypeError(f"{name} is no list")
    return items


def line_of(text: str, value: Any) -> int:
    """The line of a JSON text in which the string `value` stands; 1 where it is none."""
    spellings = (json.dumps(value), json.dumps(value, ensure_ascii=False))
    place = max(text.find(spelling) for spelling in spellings) if isinstance(value, str) else 0
    return text.count("\n", 0, max(place, 0)) + 1
