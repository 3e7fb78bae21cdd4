"""A pair of texts and one label: `<s> first </s></s> second </s>`."""

import math
from collections.abc import Mapping
from collections.abc import Sequence as Items
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.formats.base import IGNORED, Floats, Format, Piece, Probabilities, highest_probabilities, pieces_of
from training.formats.base import Example as BaseExample
from training.formats.batch import token_ids
from training.formats.report import current
from training.formats.rows import RowError, bad_row, check_values, read_rows, render, row_id, row_label
from training.spec import Settings
from training.tasks import Task

_MANY = 500  # examples: from there on, who guesses is told from who knows


@dataclass(frozen=True, kw_only=True)
class Example(BaseExample):
    first: str
    second: str
    label: str


class Sequence(Format[Example]):
    name = "sequence"
    kind_of_data = "two texts, one label"
    metrics = ("accuracy",)
    labels_are_classes = True
    texts_in_columns = True
    usual_tokens = 50
    prediction_bytes = 120

    def read(self, path: Path, task: Task, language: str) -> list[Example]:
        return read_table(self, path, task, language)

    def from_row(self, row: Mapping[str, Any], task: Task, language: str, position: int = 0) -> Example | None:
        label = row_label(row, task)
        if label is None:
            return None
        check_values(row, task)
        first, second = render(row, task.columns.first), render(row, task.columns.second)
        return Example(
            id=row_id(row, task, position),
            language=language,
            group=first,
            first=first,
            second=second,
            label=label,
        )

    def encode(self, examples: Items[Example], tokenizer: Any, task: Task, settings: Settings) -> list[Piece]:
        rows = encode_pairs(tokenizer, [e.first for e in examples], [e.second for e in examples], settings.max_length)
        return [
            Piece(index, (row,), label_target(example.label, task))
            for index, (example, row) in enumerate(zip(examples, rows, strict=True))
        ]

    def decode(
        self,
        examples: Items[Example],
        pieces: Items[Piece],
        outputs: Items[Floats],
        task: Task,
        settings: Settings,
    ) -> list[str]:
        return best_labels(len(examples), pieces, outputs, task)

    def confidences(
        self,
        examples: Items[Example],
        pieces: Items[Piece],
        outputs: Items[Floats],
        task: Task,
        settings: Settings,
    ) -> Probabilities | None:
        return highest_probabilities(np.stack(outputs))

    def gold(self, example: Example, task: Task) -> str:
        return example.label

    def labelled(self, example: Example) -> bool:
        return bool(example.label)

    def lacks(self, task: Task) -> str | None:
        return lacks_labels_or_texts(task)

    def constant_answers(self, golds: Items[Any], task: Task) -> list[list[Any]]:
        return [[label] * len(golds) for label in dict.fromkeys(golds)]

    def by_accident(self, constant: float, examples: int) -> float:
        return lucky_accuracy(constant, examples)


def lacks_labels_or_texts(task: Task) -> str | None:
    """See `Format.lacks`."""
    if not task.labels:
        return f"format {task.format} needs `labels: [NAME, ...]`"
    if not (task.columns.first and task.columns.second):
        return 'give `columns: {first: "{field}", second: "{field}"}`, where its two texts are'
    return None


def lucky_accuracy(constant: float, examples: int) -> float:
    """Two standard deviations above the best constant answer, where examples are many: the best of several epochs of
    guessing is a little better now and then."""
    return constant + (2 * math.sqrt(constant * (100.0 - constant) / examples) if examples >= _MANY else 0.0)


def read_table(form: Any, path: Path, task: Task, language: str) -> list[Any]:
    """The labelled rows of a table, by the format's `from_row`; an error names the line."""
    examples = []
    for position, line, row in read_rows(path, task.columns.header):
        try:
            examples.append(form.from_row(row, task, language, position))
        except RowError as error:
            bad_row(path, line, str(error))
    labelled_examples = [example for example in examples if example is not None]
    current().left_out += len(examples) - len(labelled_examples)
    return labelled_examples


def encode_pairs(tokenizer: Any, first: list[str], second: list[str], max_length: int) -> list[tuple[int, ...]]:
    """`<s> first </s></s> second </s>`, the longer text cut first where both are too long."""
    if not first:
        return []
    return [tuple(row) for row in token_ids(tokenizer, first, second, max_length)]


def label_target(label: str, task: Task) -> tuple[int]:
    """A piece's target: the label's number, or that there is none."""
    return (task.labels.index(label) if label else IGNORED,)


def best_labels(n_examples: int, pieces: Items[Piece], outputs: Items[Floats], task: Task) -> list[str]:
    """The label with the highest score per example; of equal ones the first."""
    return [task.labels[int(np.argmax(outputs[index]))] for (index,) in pieces_of(pieces, n_examples)]
