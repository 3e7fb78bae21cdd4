"""What formats share that have no head: sentences or images in several files, compared with each other by
`eval.prediction`. Evaluated only, nothing is trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from training.formats.base import Example, Floats, Format, Piece
from training.spec import Settings
from training.tasks import Task

E = TypeVar("E", bound=Example)


class Compared(Format[E]):
    """A format whose examples are compared with each other."""

    has_head = False
    compares_examples = True

    def read(self, path: Path, task: Task, language: str) -> list[E]:
        raise AssertionError(f"a split of {self.name} is several files: use read_split")

    def decode(
        self,
        examples: Sequence[E],
        pieces: Sequence[Piece],
        outputs: Sequence[Floats],
        task: Task,
        settings: Settings,
    ) -> list[Any]:
        raise AssertionError(f"eval.prediction compares examples of {self.name} with each other")
