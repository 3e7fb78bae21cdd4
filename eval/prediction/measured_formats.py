"""What is measured of a task, by its format: its texts, its labels, and the features that these are told from.

A format that shall have more than its texts measured: a `MeasuredFormat` in the table `_FORMATS`.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

import numpy as np

from eval.measures import texts
from eval.measures.problems import Candidates, Classes, Features, Ints, Problem
from training.formats.base import IGNORED, Piece, pieces_of
from training.tasks import Task

States = Literal["rows", "words", "tokens"]  # a mean of each row's, each word's first subword's, each token's
_MOST_TOKENS = 2**17  # whose states are kept of a span task: half a gigabyte at a width of 1024


@dataclass(frozen=True)
class Sample:
    """Some examples of a task, and the pieces that the model sees of them."""

    task: Task
    examples: Sequence[Any]
    pieces: Sequence[Piece]


class MeasuredFormat(ABC):
    """Here: texts alone, of what has too many labels, or none of its own."""

    states: States | None = None  # of the start model, that labels are told from; None: from none

    @abstractmethod
    def texts(self, example: Any) -> tuple[str, ...]:
        """Each text of an example once."""

    def label_count(self, example: Any) -> int:
        """How many labels an example has."""
        return 1

    def labels(self, sample: Sample) -> Ints | None:
        """Numbers of the task's labels; None: they are places in a text."""
        return None

    def bags(self, sample: Sample) -> list[list[str]] | None:
        """The words that stand for each row of `of_words`."""
        return None

    def of_words(self, sample: Sample, counts: Features) -> Problem:
        """The labels, to be told from counts of words."""
        return self.of_states(sample, sample.pieces, counts)[0]

    def probed_pieces(self, sample: Sample) -> Sequence[Piece]:
        """Those that labels are told of by the start model's states."""
        return sample.pieces

    def of_states(self, sample: Sample, pieces: Sequence[Piece], features: Features) -> tuple[Problem, ...]:
        """The labels, to be told from a row of features for each state of `pieces`."""
        raise NotImplementedError


class Labels(MeasuredFormat):
    """One of the task's labels, by the words of its texts, or by the mean state."""

    states = "rows"

    def texts(self, example: Any) -> tuple[str, ...]:
        return tuple(text for text in (example.first, example.second) if text)

    def labels(self, sample: Sample) -> Ints:
        return np.array([piece.target[0] for piece in sample.pieces])

    def bags(self, sample: Sample) -> list[list[str]]:
        return [texts.bag(self.texts(example)) for example in sample.examples]

    def of_states(self, sample: Sample, pieces: Sequence[Piece], features: Features) -> tuple[Problem, ...]:
        return (Classes(features, self.labels(sample), len(sample.task.labels)),)


class Choice(MeasuredFormat):
    """Which choice is right, by the words of each, or by its mean state beside its context. A label is its place."""

    states = "rows"

    def texts(self, example: Any) -> tuple[str, ...]:
        return tuple(text for text in (example.first, *example.seconds) if text)

    def labels(self, sample: Sample) -> Ints:
        return np.array([piece.target[0] for piece in sample.pieces])

    def bags(self, sample: Sample) -> list[list[str]]:
        return [texts.bag_of_choice(example.first, text) for example in sample.examples for text in example.seconds]

    def of_states(self, sample: Sample, pieces: Sequence[Piece], features: Features) -> tuple[Problem, ...]:
        ends = np.array([0, *accumulate(len(piece.rows) for piece in pieces)])
        return (Candidates(features, ends, ends[:-1] + self.labels(sample)),)


class Tagging(MeasuredFormat):
    """A word's label by the word itself, or by the state of its first subword. Those without a number are left out."""

    states = "words"

    def texts(self, example: Any) -> tuple[str, ...]:
        return (" ".join(example.words),)

    def label_count(self, example: Any) -> int:
        return len(example.words)

    def labels(self, sample: Sample) -> Ints:
        labels = self._all_labels(sample)
        return np.asarray(labels[labels != IGNORED])

    def bags(self, sample: Sample) -> list[list[str]]:
        return [[word] for example in sample.examples for word in example.words]

    def of_states(self, sample: Sample, pieces: Sequence[Piece], features: Features) -> tuple[Problem, ...]:
        has_label = self._all_labels(sample) != IGNORED
        return (Classes(features[has_label], self.labels(sample), len(sample.task.labels)),)

    def _all_labels(self, sample: Sample) -> Ints:
        return np.array([piece.target[place] for piece in sample.pieces for place in piece.way_back])


class Span(MeasuredFormat):
    """Where the answer starts and where it ends, by the tokens' states, in the first window that shows it: of the
    first token and of all others. By words: in which sentence it starts. What has no answer says so by its first token,
    and is left out of the words."""

    states = "tokens"

    def texts(self, example: Any) -> tuple[str, ...]:
        return example.question, example.context

    def bags(self, sample: Sample) -> list[list[str]]:
        return [
            texts.bag_of_choice(example.question, example.context[start:end])
            for example in _answered(sample)
            for start, end in sentences(example.context)
        ]

    def of_words(self, sample: Sample, counts: Features) -> Problem:
        starts = [[start for start, _ in sentences(example.context)] for example in _answered(sample)]
        ends = np.array([0, *accumulate(map(len, starts))])
        places = [_answer_start(example) for example in _answered(sample)]
        right = [np.searchsorted(of_text, place, side="right") for of_text, place in zip(starts, places, strict=True)]
        return Candidates(counts, ends, ends[:-1] + np.maximum(np.array(right, dtype=np.int64) - 1, 0))

    def probed_pieces(self, sample: Sample) -> list[Piece]:
        pieces: list[Piece] = []
        tokens = 0
        for example, indices in zip(sample.examples, pieces_of(sample.pieces, len(sample.examples)), strict=True):
            windows = [sample.pieces[index] for index in indices]
            showing = [window for window in windows if example.unanswerable or any(window.target)]
            if showing:  # else its answer is cut in every window
                tokens += len(showing[0].rows[0])
                if pieces and tokens > _MOST_TOKENS:
                    break
                pieces.append(showing[0])
        return pieces

    def of_states(self, sample: Sample, pieces: Sequence[Piece], features: Features) -> tuple[Problem, ...]:
        ends = np.array([0, *accumulate(len(piece.rows[0]) for piece in pieces)])
        targets = np.array([piece.target for piece in pieces])
        return tuple(Candidates(features, ends, ends[:-1] + targets[:, side]) for side in (0, 1))


class Text(MeasuredFormat):
    """Of a language model every token would be a label among the whole vocabulary."""

    def texts(self, example: Any) -> tuple[str, ...]:
        return (example.text,)


class Questions(MeasuredFormat):
    """A question's answers are the other questions' answers."""

    def texts(self, example: Any) -> tuple[str, ...]:
        return tuple(text for text in (example.question, example.sentence, example.context) if text)


_FORMATS: dict[str, MeasuredFormat] = {
    "sequence": Labels(),
    "choice": Choice(),
    "tagging": Tagging(),
    "span": Span(),
    "mlm": Text(),
    "dual_encoder": Questions(),
}


def get(name: str) -> MeasuredFormat | None:
    """How a format that is trained is measured; None: nobody has said, so that only its examples are counted."""
    return _FORMATS.get(name)


def sentences(text: str) -> list[tuple[int, int]]:
    """Where each sentence starts and ends, by their full stops; a text without any is one."""
    starts = [0, *(match.end() for match in re.finditer(r"[.!?。؟।]+\s+", text) if match.end() < len(text))]
    return list(zip(starts, [*starts[1:], len(text)], strict=True))


def _answered(sample: Sample) -> Iterator[Any]:
    return (example for example in sample.examples if any(answer.text.strip() for answer in example.answers))


def _answer_start(example: Any) -> int:
    return next(answer.start for answer in example.answers if answer.text.strip())  # type: ignore[no-any-return]
