"""XQuAD-R's JSON (LAReQA): XQuAD with `sentence_breaks`, the [start, end] of every sentence of a paragraph."""

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.formats.dual_example import Example
from training.formats.rows import RowError, malformed, read_text
from training.formats.squad_json import Question, question_of
from training.spec import DataFile

Spans = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Paragraph:
    """`place`: article.paragraph, both from 0, the same in all languages."""

    place: str
    context: str
    breaks: Spans
    questions: tuple[Question, ...]


def read(files: Sequence[DataFile], language: str) -> list[Example]:
    """The questions of the file of role "questions", and the sentences of all files of a role "pool:xx".

    A sentence is right for a question where it holds the answer to the question of the same id in its language.
    """
    pools = {
        file.role.removeprefix("pool:"): read_paragraphs(Path(file.path))
        for file in files
        if file.role.startswith("pool:")
    }
    (paragraphs,) = (read_paragraphs(Path(file.path)) for file in files if file.role == "questions")
    right = _answers(pools)
    questions = [
        Example(
            id=question.id,
            language=language,
            group=paragraph.place,
            question=question.question.strip(),
            right=tuple(right.get(question.id, ())),
        )
        for paragraph in paragraphs
        for question in paragraph.questions
    ]
    return [*questions, *(example for code, pool in pools.items() for example in _candidates(pool, code))]


def read_paragraphs(path: Path) -> list[Paragraph]:
    """A file's paragraphs, in its order. UserError where it is not XQuAD-R's form."""
    text = read_text(path)
    try:
        articles = json.loads(text)["data"]
        return [
            _paragraph(f"{a}.{p}", record, path, text)
            for a, article in enumerate(articles)
            for p, record in enumerate(article["paragraphs"])
        ]
    except json.JSONDecodeError as error:
        malformed(path, error.lineno, f"not JSON ({error})")
    except (KeyError, TypeError, ValueError) as error:
        malformed(
            path,
            1,
            f"not XQuAD-R's form data / paragraphs / context, qas, sentence_breaks ({type(error).__name__} {error})",
        )


def _paragraph(place: str, record: Mapping[str, Any], path: Path, text: str) -> Paragraph:
    context = str(record["context"])
    breaks = tuple((int(start), int(end)) for start, end in record["sentence_breaks"])
    if (
        not breaks
        or any(not 0 <= start < end <= len(context) for start, end in breaks)
        or list(breaks) != sorted(breaks)
    ):
        malformed(path, _line(text, context), f"paragraph {place}: sentence_breaks do not fit the context")
    questions = []
    for row in record["qas"]:
        try:
            question = question_of({**row, "context": context})
        except RowError as error:
            malformed(path, _line(text, str(row.get("id"))), f"question {row.get('id')}: {error}")
        if not question.answers:
            malformed(path, _line(text, question.id), f"question {question.id}: no answer")
        questions.append(question)
    return Paragraph(place, context, breaks, tuple(questions))


def _line(text: str, value: str) -> int:
    """The line that the JSON string `value` stands in."""
    return (
        text.count("\n", 0, max(text.find(json.dumps(value)), text.find(json.dumps(value, ensure_ascii=False)), 0)) + 1
    )


def _answers(pools: Mapping[str, Sequence[Paragraph]]) -> dict[str, list[str]]:
    """By question the ids of the sentences in which its answer begins, in all languages of the pool."""
    right_sentences: dict[str, list[str]] = {}
    for code, pool in pools.items():
        for paragraph in pool:
            for question in paragraph.questions:
                number = bisect_right(paragraph.breaks, question.answers[0].start, key=lambda span: span[0]) - 1
                right_sentences.setdefault(question.id, []).append(f"{code}:{paragraph.place}.{max(number, 0)}")
    return right_sentences


def _candidates(pool: Sequence[Paragraph], code: str) -> list[Example]:
    return [
        Example(
            id=(name := f"{code}:{paragraph.place}.{number}"),
            language=code,
            group=paragraph.place,
            sentence=paragraph.context[start:end],
            context=paragraph.context,
            candidate=name,
        )
        for paragraph in pool
        for number, (start, end) in enumerate(paragraph.breaks)
    ]
