"""What a format is: it reads examples, encodes them as pieces for the model, and decodes its outputs. No torch."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from training.spec import DataFile, Settings

if TYPE_CHECKING:
    from training.tasks import Task

IGNORED = -100  # a target that no loss term is made of
Floats = NDArray[np.float32]


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
    # Settings that examples and predictions depend on, besides those that matter to all formats: a part of stage keys.
    # A train stage's too, for dev scores select the epoch. `training.spec` says of each which stages take it, and when.
    key_settings: ClassVar[tuple[str, ...]] = ()

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

    @abstractmethod
    def gold(self, example: E, task: "Task") -> Any:
        """What the metric compares the prediction with (a JSON value)."""

    def golds(self, examples: Sequence[E], pieces: Sequence[Piece], task: "Task") -> list[Any]:
        """The gold of every example; None where there is none. `pieces`: as the model saw them."""
        return [self.gold(example, task) if self.labelled(example) else None for example in examples]

    def labelled(self, example: E) -> bool:
        """Whether there is a gold answer at all (some published test sets come without)."""
        return True


def pieces_of(pieces: Iterable[Piece], n_examples: int) -> list[list[int]]:
    """For every example, the indices of its pieces, in order."""
    found: list[list[int]] = [[] for _ in range(n_examples)]
    for index, piece in enumerate(pieces):
        found[piece.example].append(index)
    return found


def with_unique_ids(examples: Iterable[E]) -> list[E]:
    """The same examples; the second of two with one id gets `#1` behind it (TyDiQA's training file repeats ids)."""
    seen: dict[str, int] = {}
    taken: set[str] = set()
    unique: list[E] = []
    for example in examples:
        name = example.id
        while name in taken:
            seen[example.id] = seen.get(example.id, 0) + 1
            name = f"{example.id}#{seen[example.id]}"
        taken.add(name)
        unique.append(example if name == example.id else replace(example, id=name))
    return unique
