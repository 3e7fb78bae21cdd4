"""Pairs of sentences, English and another language: which belong together? Evaluated only, nothing is trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurm.base import UserError
from training.formats.base import Example as BaseExample
from training.formats.base import Piece
from training.formats.batch import token_ids
from training.formats.compared import Compared
from training.formats.rows import ends_with_newline, malformed, read_lines, render, row_id
from training.spec import DataFile, Settings
from training.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Example(BaseExample):
    english: str
    other: str


class Retrieval(Compared[Example]):
    """Two pieces per example, the English sentence and then the other one; `way_back` says which."""

    name = "retrieval"
    kind_of_data = "which sentences are each other's translations, of as many"
    usual_tokens = 30
    key_settings = ("layer", "pooling")

    def roles(self, split: str) -> tuple[tuple[str, ...], ...]:
        return (("other", "english"),) if split == "test" else ((),)

    def read_split(self, files: Sequence[DataFile], task: Task, language: str) -> list[Example]:
        by_role = {file.role: file for file in files}
        assert set(by_role) == {"english", "other"}, files
        english, foreign = read_lines_of_both(Path(by_role["english"].path), Path(by_role["other"].path))
        return [example_of(str(n), language, *pair) for n, pair in enumerate(zip(english, foreign, strict=True))]

    def from_row(self, row: Mapping[str, Any], task: Task, language: str, position: int = 0) -> Example | None:
        english, foreign = render(row, task.columns.first), render(row, task.columns.second)
        return example_of(row_id(row, task, position), language, english, foreign)

    def encode(self, examples: Sequence[Example], tokenizer: Any, task: Task, settings: Settings) -> list[Piece]:
        if not examples:
            return []
        texts = [text for example in examples for text in (example.english, example.other)]
        return [
            Piece(index // 2, (tuple(row),), (), ("english", "other")[index % 2])
            for index, row in enumerate(token_ids(tokenizer, texts, max_length=settings.max_length))
        ]

    def gold(self, example: Example, task: Task) -> str:
        return example.id

    def answer_shown(self, example: Example, gold: Any, tokenizer: Any) -> list[str]:
        return []


def read_lines_of_both(english: Path, foreign: Path) -> tuple[list[str], list[str]]:
    """The lines of two files, as many in both, which can be each other's translations. UserError else."""
    sides = read_lines(english), read_lines(foreign)
    _check_parallel((english, foreign), sides)
    return sides


def _check_parallel(paths: tuple[Path, ...], sides: tuple[list[str], ...]) -> None:
    """UserError unless the sides can be each other's translation, line by line: where one lost something, all that
    comes after it would belong to the wrong sentence."""
    (english_path, foreign_path), (english, foreign) = paths, sides
    for number, lines in enumerate(zip(english, foreign, strict=False), start=1):
        if bool(lines[0].strip()) != bool(lines[1].strip()):
            path, its_other = paths if lines[1].strip() else paths[::-1]
            malformed(path, number, f"an empty line, but line {number} of {its_other} is none")
    if len(english) != len(foreign):
        raise UserError(
            f"{foreign_path}:{len(foreign)}: {len(foreign)} lines, but {english_path} has"
            f" {len(english)}; line by line they must be each other's translation."
        )
    ends = [ends_with_newline(path) for path in paths]
    if ends[0] != ends[1]:
        path, its_other = paths if ends[1] else paths[::-1]
        malformed(
            path,
            len(english),
            f"ends within a line, and {its_other} does not: its end is lost; fetch it again, or, if the line is whole,"
            " end it with a newline",
        )


def example_of(name: str, language: str, english: str, foreign: str) -> Example:
    return Example(id=name, language=language, group=english, english=english, other=foreign)
