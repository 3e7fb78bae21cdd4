"""Several choices, one right: every choice is a row `<s> first </s></s> second </s>` with one score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from training.formats.base import Example as BaseExample
from training.formats.base import Floats, Format, Piece, Probabilities, highest_probabilities
from training.formats.lengths import SPECIALS
from training.formats.rows import RowError, check_values, field, name_of, render, row_id, row_label, text_of
from training.formats.sequence import (
    best_labels,
    encode_pairs,
    label_target,
    lacks_labels_or_texts,
    lucky_accuracy,
    read_table,
)
from training.spec import Settings
from training.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Example(BaseExample):
    first: str
    seconds: tuple[str, ...]
    label: str


class Choice(Format[Example]):
    name = "choice"
    kind_of_data = "a text and several choices, one is right"
    metrics = ("accuracy",)
    texts_in_columns = True
    usual_tokens = 320
    prediction_bytes = 120

    def read(self, path: Path, task: Task, language: str) -> list[Example]:
        return read_table(self, path, task, language)

    def from_row(self, row: Mapping[str, Any], task: Task, language: str, position: int = 0) -> Example | None:
        label = row_label(row, task)
        if label is None:
            return None
        check_values(row, task)
        choices = _choices(row, task)
        if len(choices) != len(task.labels):
            raise RowError(f"{len(choices)} choices instead of {len(task.labels)}")
        first = render(row, task.columns.first)
        return Example(
            id=row_id(row, task, position),
            language=language,
            group=first,
            first=first,
            seconds=tuple(render(row, task.columns.second, choice=choice) for choice in choices),
            label=label,
        )

    def encode(self, examples: Sequence[Example], tokenizer: Any, task: Task, settings: Settings) -> list[Piece]:
        first = [example.first for example in examples for _ in example.seconds]
        second = [text for example in examples for text in example.seconds]
        rows = encode_pairs(tokenizer, first, second, settings.max_length)
        n = len(task.labels)
        return [
            Piece(index, tuple(rows[n * index : n * (index + 1)]), label_target(example.label, task))
            for index, example in enumerate(examples)
        ]

    def decode(
        self,
        examples: Sequence[Example],
        pieces: Sequence[Piece],
        outputs: Sequence[Floats],
        task: Task,
        settings: Settings,
    ) -> list[str]:
        return best_labels(len(examples), pieces, outputs, task)

    def confidences(
        self,
        examples: Sequence[Example],
        pieces: Sequence[Piece],
        outputs: Sequence[Floats],
        task: Task,
        settings: Settings,
    ) -> Probabilities:
        return highest_probabilities(np.stack(outputs))

    def gold(self, example: Example, task: Task) -> str:
        return example.label

    def labelled(self, example: Example) -> bool:
        return bool(example.label)

    def lacks(self, task: Task) -> str | None:
        if not task.columns.choices and not lacks_labels_or_texts(task):
            return "give `columns: {choices: [FIELD, ...]}`, the fields of its choices"
        return lacks_labels_or_texts(task)

    def rows_of_example(self, task: Task) -> int:
        return len(task.labels)

    def constant_answers(self, golds: Sequence[Any], task: Task) -> list[list[Any]]:
        return [[label] * len(golds) for label in dict.fromkeys(golds)]

    def by_accident(self, constant: float, examples: int) -> float:
        return lucky_accuracy(constant, examples)

    def row_title(self, piece: Piece, row: int, task: Task) -> str:
        return task.labels[row]

    def sequences_of_piece(self, task: Task) -> int:
        return len(task.labels)

    def tokens_and_length(self, examples: float, tokens: float, task: Task, settings: Settings) -> tuple[float, float]:
        """Every choice repeats the beginning."""
        length = min(settings.max_length, tokens / 2 + SPECIALS)
        return examples * len(task.labels) * length, length


def _choices(row: Mapping[str, Any], task: Task) -> list[str]:
    """The choices' texts, in the order of the task's labels."""
    for names in task.columns.choices:
        try:
            values = [field(row, name) for name in names]
        except KeyError:
            continue
        if len(names) == 1:
            return _of_list(values[0], names[0], task)
        return [text_of(value, name) for name, value in zip(names, values, strict=True)]
    raise RowError(f"no field {' or '.join(names[0] for names in task.columns.choices)}")


def _of_list(value: Any, name: str, task: Task) -> list[str]:
    """A list of texts, which go by their place; of {label, text}, or {label: [...], text: [...]}, which go by their
    labels: in a file that somebody shuffled these say which choice is right."""
    if isinstance(value, Mapping):
        labels, texts = value.get("label"), value.get("text")
        if not _is_list(labels) or not _is_list(texts) or len(labels) != len(texts):
            raise RowError(f"{name}: `label` and `text` are not lists of one length")
        return _by_label(labels, texts, name, task)
    if not _is_list(value):
        raise RowError(f"{name}: the choices are no list")
    if any(isinstance(item, Mapping) for item in value):
        if not all(isinstance(item, Mapping) and {"label", "text"} <= item.keys() for item in value):
            raise RowError(f"{name}: not every choice has a label and a text")
        return _by_label([item["label"] for item in value], [item["text"] for item in value], name, task)
    return [text_of(item, f"choice {number} of {name}") for number, item in enumerate(value, start=1)]


def _by_label(labels: Sequence[Any], texts: Sequence[Any], name: str, task: Task) -> list[str]:
    text_by_label: dict[str, str] = {}
    for code, text in zip(labels, texts, strict=True):
        label = task.label_map.get(name_of(code, f"a choice's label in {name}"))
        if label is None or label in text_by_label:
            why = "twice" if label else f"none of {', '.join(task.labels)}"
            raise RowError(f"{name}: the choice's label {code!r} is {'there ' if label else ''}{why}")
        text_by_label[label] = text_of(text, f"the text of choice {code} in {name}")
    missing = [label for label in task.labels if label not in text_by_label]
    if missing:
        raise RowError(f"{len(labels)} choices instead of {len(task.labels)}: {name} has none with label {missing[0]}")
    return [text_by_label[label] for label in task.labels]


def _is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str)
