"""The training data of a stage: each of its tasks read and encoded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from slurm.errors import UserError
from training import formats, sources
from training.catalogue import Task, find
from training.formats.base import Format, Piece, pieces_of
from training.spec import Settings, TaskData


@dataclass(frozen=True)
class Part:
    """One task's encoded training examples: `pieces[i]` and `ids[i]` are example i's, which has a loss term."""

    task: Task
    form: Format[Any]
    ids: tuple[str, ...]
    pieces: tuple[tuple[Piece, ...], ...]

    def of(self, examples: Sequence[int]) -> list[Piece]:
        """All pieces of some examples."""
        return [piece for index in examples for piece in self.pieces[index]]

    def terms(self, examples: Sequence[int]) -> int:
        """The number of loss terms of some examples."""
        return sum(self.form.count(piece) for piece in self.of(examples))


def load_part(data: TaskData, tokenizer: Any, settings: Settings) -> Part:
    """Read and encode a task's training examples. UserError where nothing is left to train on."""
    task = find(data.task)
    form = formats.get(task.format)
    examples, _ = sources.load_training(data)
    pieces = form.encode(examples, tokenizer, task, settings)
    by_example = [tuple(pieces[index] for index in of) for of in pieces_of(pieces, len(examples))]
    useful = [index for index, own in enumerate(by_example) if any(form.count(piece) for piece in own)]
    if not useful:
        raise UserError(f"task {task.name}: no labelled training example; look at its files and at max_train.")
    return Part(
        task,
        form,
        tuple(examples[index].id for index in useful),
        tuple(by_example[index] for index in useful),
    )
