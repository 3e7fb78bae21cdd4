"""What a format is: it reads examples, encodes them as pieces for the model, and decodes its outputs. No torch.

All that is asked about formats elsewhere (what a key takes, what it costs, how it is shown, where its files are) is an
attribute or a method here, with what is right for most; a format says only what is special about it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from training.formats.lengths import CHARACTERS_OF_TOKEN, SPECIALS, FileCounts
from training.spec import DataFile, Settings, Split
from training.tasks import presets
from training.tasks.task import File, Files, Overrides

if TYPE_CHECKING:
    from training.tasks import Task

IGNORED = -100  # a target that no loss term is made of
Floats = NDArray[np.float32]
Probabilities = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Example:
    """One example as people wrote it. `id` is stable and unique in its split; `group`: what hold-out goes by."""

    id: str
    language: str
    group: str


E = TypeVar("E", bound=Example)


@dataclass(frozen=True, eq=False)
class Piece:
    """What the model sees of an example at once, or a part of it (a window, a run of words).

    `example` is the index in the list that was encoded. `rows` are token ids, specials included (one row; choice: one
    per choice). `target`: sequence (label,), span (start, end) positions in the row, tagging one label per token with
    -100 where none is asked for, choice (index,), retrieval, mining, dual_encoder (). `way_back` is what decode needs.
    """

    example: int
    rows: tuple[tuple[int, ...], ...]
    target: tuple[int, ...]
    way_back: Any = None


class Format(ABC, Generic[E]):
    """One kind of task. `outputs`, one fp32 array per piece: sequence [labels]; span [len, 2]; tagging [words, labels];
    choice [choices]; retrieval [hidden]."""

    name: ClassVar[str]
    kind_of_data: ClassVar[str]  # a few words for people: "two texts, one label"
    has_head: ClassVar[bool] = True  # else sentences are compared by their pooled hidden states, and nothing is trained
    is_language_model: ClassVar[bool] = False  # its head scores the whole vocabulary, with the word embeddings
    in_any_language: ClassVar[bool] = False  # training text by language, a file each; every piece is trained for itself
    compares_examples: ClassVar[bool] = False  # a target's examples with each other: languages are not put together
    evaluates_dev: ClassVar[bool] = False  # a target may come with dev data alone
    makes_windows: ClassVar[bool] = False  # a long text is several sequences
    labels_are_classes: ClassVar[bool] = False  # a label means the same in every example; of a choice it is a place
    is_prompted: ClassVar[bool] = False  # a language model's head, trained on the task or not, answers prompts
    generates: ClassVar[bool] = False  # the language model writes the answer
    needs_projection: ClassVar[bool] = False  # texts are compared with images, in the space that AltCLIP has for both
    roles_without_text: ClassVar[tuple[str, ...]] = ()  # of files that the model reads nothing of

    # --- of tasks that users add
    metrics: ClassVar[tuple[str, ...]] = ()  # metric families that can score it, the default first; (): none is added
    target_settings: ClassVar[Overrides] = presets.PAIR_TARGET
    open_labels: ClassVar[bool] = False  # a task that names no labels has those of its training examples
    texts_in_columns: ClassVar[bool] = False  # of a table, so that a task says in which

    # --- settings
    # Settings that examples and predictions depend on, besides those that matter to all formats: a part of stage keys.
    # A train stage's too, for dev scores select the epoch. `training.spec` says of each which stages take it, and when.
    key_settings: ClassVar[tuple[str, ...]] = ()
    encode_settings: ClassVar[tuple[str, ...]] = ("max_length",)  # what `encode` looks at besides the texts

    # --- for estimates
    usual_tokens: ClassVar[int]  # of an example of a data set on the Hub, whose lengths are not known
    prediction_bytes: ClassVar[int] = 100  # of the record of one

    @abstractmethod
    def read(self, path: Path, task: "Task", language: str) -> list[E]:
        """The examples of one local file. UserError with file and line where it is malformed."""

    def read_split(self, files: Sequence[DataFile], task: "Task", language: str) -> list[E]:
        """The examples of a split, file after file."""
        return [example for file in files for example in self.read(Path(file.path), task, language)]

    @abstractmethod
    def from_row(self, row: Mapping[str, Any], task: "Task", language: str, position: int = 0) -> E | None:
        """Row number `position` of a table or a data set on the Hub; None where it has no label or is of another
        language. RowError where it is malformed."""

    def rows(self, examples: Sequence[E]) -> int:
        """How many rows of the data the examples of a split are."""
        return len(examples)

    def first(self, examples: Sequence[E], limit: int | None) -> list[E]:
        """The examples of a trial: the first `limit` (None: all)."""
        return list(examples[:limit])

    def check(self, task: "Task", settings: Settings) -> None:
        """UserError where no example could be encoded with these settings."""

    def label_set(self, examples: Sequence[E]) -> tuple[str, ...]:
        """The labels that occur in the examples, sorted: those of a task with open labels."""
        return ()

    @abstractmethod
    def encode(self, examples: Sequence[E], tokenizer: Any, task: "Task", settings: Settings) -> list[Piece]:
        """The pieces of all examples, in their order."""

    def corrupt(self, piece: Piece, seed: int, tokenizer: Any, settings: Settings) -> Piece:
        """What the model sees of a piece in a training step: the piece itself, where nothing is hidden from it."""
        return piece

    def for_dev(
        self, pieces: Sequence[Piece], examples: Sequence[E], tokenizer: Any, settings: Settings
    ) -> Sequence[Piece]:
        """What the model sees when it is scored, the same every time."""
        return pieces

    def trains_on(self, piece: Piece) -> bool:
        """Whether training takes a piece of an example that it takes."""
        return True

    def count(self, piece: Piece) -> int:
        """How many loss terms the piece has."""
        return sum(label != IGNORED for label in piece.target)

    @abstractmethod
    def decode(
        self,
        examples: Sequence[E],
        pieces: Sequence[Piece],
        outputs: Sequence[Floats],
        task: "Task",
        settings: Settings,
    ) -> list[Any]:
        """One prediction (a JSON value) per example."""

    def confidences(
        self,
        examples: Sequence[E],
        pieces: Sequence[Piece],
        outputs: Sequence[Floats],
        task: "Task",
        settings: Settings,
    ) -> Probabilities | None:
        """The probability that the model gives to what `decode` predicts, (predictions,): one per example, of tags one
        per word. None where there is none, or it says nothing of how often the prediction is right."""
        return None

    @abstractmethod
    def gold(self, example: E, task: "Task") -> Any:
        """What the metric compares the prediction with (a JSON value)."""

    def golds(self, examples: Sequence[E], pieces: Sequence[Piece], task: "Task") -> list[Any]:
        """The gold of every example; None where there is none. `pieces`: as the model saw them."""
        return [self.gold(example, task) if self.labelled(example) else None for example in examples]

    def labelled(self, example: E) -> bool:
        """Whether there is a gold answer at all (some published test sets come without)."""
        return True

    # --- where it differs from others elsewhere

    def roles(self, split: str) -> tuple[tuple[str, ...], ...]:
        """The sets of roles, any of which the files of a split ("train", "dev", "test") may have; (): a plain list."""
        return ((),)

    def wrong_roles(self, files: Files) -> str | None:
        """What is wrong with the roles of a task's files, for people; None: nothing."""
        for split, of_split in (("train", files.train), ("dev", files.dev), ("test", files.test)):
            given_roles = {file.role for file in of_split if file.role}
            if not of_split or self.in_any_language or any(set(roles) == given_roles for roles in self.roles(split)):
                continue
            forms = [f"{{{', '.join(f'{role}: FILE' for role in roles)}}}" for roles in self.roles(split) if roles]
            plain_list = ["[FILE]"] if () in self.roles(split) else []
            return f"{split} takes {' or '.join(plain_list + forms)}"
        return None

    def lacks(self, task: "Task") -> str | None:
        """What a user's task of this format still has to say, for people; None: nothing."""
        return None

    def target_files(
        self, task: "Task", files: Files, language: str, is_there: Callable[[File, str], bool], named_in: Path
    ) -> list[tuple[File, str]]:
        """The files (with their roles) of a target's data in a language, each with the language that its name is of;
        none where there is no data. `is_there`: whether a language's file is; `named_in`: what to mend, for errors."""
        if not any(is_there(file, language) for file in files.test):
            return []
        return [(file, language) for file in files.test]

    def has_test(self, split: Split) -> bool:
        """Whether a target's data are what a benchmark's submission holds predictions of."""
        return True

    def evaluated_lists(self, examples: Sequence[E]) -> list[list[E]]:
        """The lists that evaluation encodes a target's examples in."""
        return [list(examples)]

    def rows_of_example(self, task: "Task") -> int:
        """Sequences that the model reads for one short example."""
        return 1

    def examples_together(self, settings: Settings) -> int:
        """Consecutive examples that no micro-batch may part."""
        return 1

    def constant_answers(self, golds: Sequence[Any], task: "Task") -> list[list[Any]] | None:
        """The predictions of those who always say the same; None where being better than these says nothing."""
        return None

    def by_accident(self, constant: float, examples: int) -> float:
        """The primary metric, in percent, that one who learned nothing may reach where the best constant answer has
        `constant`. Here: tags and spans, of which no more than 1 % is found by accident."""
        return max(constant, 1.0)

    # --- how it is shown

    def reading_note(self, task: "Task", settings: Settings) -> str:
        """What a reader of a target's scores must know of how its texts were read; "" where there is nothing."""
        return ""

    def row_title(self, piece: Piece, row: int, task: "Task") -> str:
        """What a piece's row number `row` is, "" where there is but one kind."""
        return piece.way_back if isinstance(piece.way_back, str) else ""

    def answer_shown(self, example: E, gold: Any, tokenizer: Any) -> list[str]:
        """The gold answer for people: a line, and what may be long in others; nothing where there is nothing to say."""
        text = gold if isinstance(gold, str) else " | ".join(dict.fromkeys(gold or [])) or "(there is none in the text)"
        return [f"the answer: {text}"]

    # --- estimates, before anything is read

    def predicted_share(self, settings: Settings) -> float:
        """Of a language model the share of tokens that scores of the whole vocabulary are worked out for."""
        return 0.0

    def sequences_of_piece(self, task: "Task") -> int:
        """Sequences that a piece counts as (those of a dual encoder's as one)."""
        return 1

    def text_of_file(self, counts: FileCounts, task: "Task") -> tuple[float, float]:
        """(examples, tokens of the text of one) of a file. Here: an example a line."""
        lines = max(1, counts.lines)
        return lines, counts.characters / lines / CHARACTERS_OF_TOKEN

    def tokens_and_length(
        self, examples: float, tokens: float, task: "Task", settings: Settings
    ) -> tuple[float, float]:
        """(tokens that the model reads of so many examples, length of one sequence); `tokens`: of the text of one."""
        length = min(settings.max_length, tokens + SPECIALS)
        return examples * length, length


def highest_probabilities(logits: Floats) -> Probabilities:
    """Of the softmax over the last axis the highest value."""
    scores = logits.astype(np.float64)
    return 1.0 / np.exp(scores - scores.max(axis=-1, keepdims=True)).sum(axis=-1)  # type: ignore[no-any-return]


def pieces_of(pieces: Iterable[Piece], n_examples: int) -> list[list[int]]:
    """For every example, the indices of its pieces, in order."""
    by_example: list[list[int]] = [[] for _ in range(n_examples)]
    for index, piece in enumerate(pieces):
        by_example[piece.example].append(index)
    return by_example


def with_unique_ids(examples: Iterable[E]) -> list[E]:
    """The same examples; the second of two with one id gets `#1` behind it (TyDiQA's training file repeats ids)."""
    repeats: dict[str, int] = {}
    names: set[str] = set()
    unique: list[E] = []
    for example in examples:
        name = example.id
        while name in names:
            repeats[example.id] = repeats.get(example.id, 0) + 1
            name = f"{example.id}#{repeats[example.id]}"
        names.add(name)
        unique.append(example if name == example.id else replace(example, id=name))
    return unique
