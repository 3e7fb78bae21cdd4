"""XQuAD-R's JSON (LAReQA): XQuAD with `sentence_breaks`, the [start, end] of every sentence of a paragraph."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from training.formats.answers import judge
from training.formats.dual_example import Example
from training.formats.report import reporting
from training.formats.rows import RowError, malformed, read_text, text_of, whole_number
from training.formats.squad_json import Question, line_of, list_in, parsed, question_of
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
    with reporting() as report:
        try:
            paragraphs = [
                _paragraph(f"{a}.{p}", record, path, text)
                for a, article in enumerate(list_in(parsed(path, text), "data"))
                for p, record in enumerate(list_in(article, "paragraphs"))
            ]
        except (KeyError, TypeError, ValueError) as error:
            malformed(
                path,
                1,
                "not XQuAD-R's form data / paragraphs / context, qas, sentence_breaks"
                f" ({type(error).__name__} {error})",
            )
    judge(str(path), report)
    return paragraphs


def _paragraph(place: str, record: Mapping[str, Any], path: Path, text: str) -> Paragraph:
    context = text_of(record["context"], "context")
    breaks = tuple(
        (whole_number(start, "a sentence's start"), whole_number(end, "a sentence's end"))
        for start, end in record["sentence_breaks"]
    )
    if (
        not breaks
        or any(not 0 <= start < end <= len(context) for start, end in breaks)
        or any(end > start for (_, end), (start, _) in pairwise(breaks))
    ):
        malformed(path, line_of(text, context), f"paragraph {place}: sentence_breaks do not fit the context")
    questions = []
    for row in list_in(record, "qas"):
        try:
            question = question_of({**row, "context": context})
            _sentence_of(question, breaks)
        except RowError as error:
            malformed(path, line_of(text, row.get("id")), f"question {row.get('id')}: {error}")
        questions.append(question)
    return Paragraph(place, context, breaks, tuple(questions))


def _sentence_of(question: Question, breaks: Spans) -> int:
    """The number of the sentence in which the question's first answer begins. RowError where there is none."""
    if not question.answers:
        raise RowError("no answer")
    answer = question.answers[0]
    number = bisect_right(breaks, answer.start, key=lambda span: span[0]) - 1
    if number < 0 or answer.start >= breaks[number][1]:
        raise RowError(f"the answer {answer.text!r} at {answer.start} is in no sentence of sentence_breaks")
    return number


def _answers(pools: Mapping[str, Sequence[Paragraph]]) -> dict[str, list[str]]:
    """By question the ids of the sentences in which its answer begins, in all languages of the pool."""
    right_sentences: dict[str, list[str]] = {}
    for code, pool in pools.items():
        for paragraph in pool:
            for question in paragraph.questions:
                number = _sentence_of(question, paragraph.breaks)
                right_sentences.setdefault(question.id, []).append(f"{code}:{paragraph.place}.{number}")
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
