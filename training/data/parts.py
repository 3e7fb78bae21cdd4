"""The training data of a stage: each of its tasks read and encoded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from slurm.base import UserError
from training import formats
from training.data import load
from training.data.sampling import LanguageGroups
from training.data.tokens import encode, token_values
from training.formats.base import Example, Format, Piece, pieces_of
from training.seeds import sub_seed
from training.spec import Settings, TaskData
from training.stopwatch import phase
from training.tasks import Task, find


@dataclass(frozen=True)
class Part:
    """One task's encoded training examples: `ids[i]` is example i's, which has a loss term, and `own[i]` says which of
    the pieces (they may lie on disk) are its own.

    `dev`: the pieces of English dev, of `dev_examples`. `head`: the task whose head it trains. `languages`: of a
    multilingual part, its examples by language.
    """

    task: Task
    head: Task
    form: Format[Any]
    ids: tuple[str, ...]
    pieces: Sequence[Piece]
    own: tuple[tuple[int, ...], ...]
    dev: Sequence[Piece]
    dev_examples: Sequence[Example]
    languages: LanguageGroups | None = None

    def of(self, examples: Sequence[int], seed: int, tokenizer: Any, settings: Settings) -> list[list[Piece]]:
        """The pieces of some examples, each example's as the model sees them in the step with this seed."""
        return [
            [
                self.form.corrupt(self.pieces[index], sub_seed(seed, "hide", place, number), tokenizer, settings)
                for number, index in enumerate(self.own[example])
            ]
            for place, example in enumerate(examples)
        ]

    def token_values(self) -> Iterator[NDArray[Any]]:
        """All tokens of train and dev."""
        yield from token_values(self.pieces)
        yield from token_values(self.dev)

    def terms(self, pieces: Sequence[Sequence[Piece]]) -> int:
        """The number of loss terms of some examples' pieces."""
        return sum(self.form.count(piece) for of_example in pieces for piece in of_example)


@phase("tokenise")
def load_part(data: TaskData, tokenizer: Any, settings: Settings) -> Part:
    """Read and encode a task's training examples. UserError where nothing is left to train on."""
    examples, dev_examples = load.load_training(data)
    task = with_labels(find(data.task), examples)
    form = formats.get(task.format)
    pieces = encode(form, examples, tokenizer, task, settings)
    head = with_labels(find(data.head_name), examples)
    dev = encode(form, dev_examples, tokenizer, task, settings)
    if form.in_any_language:
        return _text_part(task, head, examples, pieces, dev, dev_examples, settings)
    by_example = pieces_of(pieces, len(examples))
    useful = [number for number, indices in enumerate(by_example) if any(form.count(pieces[i]) for i in indices)]
    if not useful:
        raise UserError(f"task {task.name}: no labelled training example; look at its files and at max_train.")
    ids = tuple(examples[index].id for index in useful)
    pieces_by_example = tuple(tuple(i for i in by_example[index] if form.trains_on(pieces[i])) for index in useful)
    return Part(task, head, form, ids, pieces, pieces_by_example, dev, dev_examples)


def _text_part(
    task: Task,
    head: Task,
    examples: Sequence[Example],
    pieces: Sequence[Piece],
    dev: Sequence[Piece],
    dev_examples: Sequence[Example],
    settings: Settings,
) -> Part:
    """Every piece for itself: a line may be a whole book."""
    if not pieces:
        raise UserError(f"task {task.name}: no text to train on; look at its files and at max_train.")
    of = [examples[piece.example] for piece in pieces]
    ids = tuple(f"{example.id}:{number}" for number, example in enumerate(of))
    by_example = tuple((number,) for number in range(len(pieces)))
    languages = _languages(of, settings)
    return Part(task, head, formats.get(task.format), ids, pieces, by_example, dev, dev_examples, languages)


def with_labels(task: Task, examples: Sequence[Example]) -> Task:
    """The task with the labels of its training examples, where it has none of its own."""
    return replace(task, labels=formats.get(task.format).label_set(examples)) if task.open_labels else task


def _languages(examples: Sequence[Example], settings: Settings) -> LanguageGroups:
    members: dict[str, list[int]] = {}
    for index, example in enumerate(examples):
        members.setdefault(example.language, []).append(index)
    return LanguageGroups(tuple(tuple(members[code]) for code in sorted(members)), settings.language_exponent)
