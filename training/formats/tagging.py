"""One label per word: at its first subword. Long sentences are split, never cut, so that every word gets a label."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slurm.errors import UserError
from training.formats.base import IGNORED, Floats, Format, Piece, pieces_of
from training.formats.base import Example as BaseExample
from training.formats.rows import RowError, malformed, read_lines
from training.spec import Settings
from training.task import Task


@dataclass(frozen=True, kw_only=True)
class Example(BaseExample):
    words: tuple[str, ...]
    tags: tuple[str, ...]


class Tagging(Format[Example]):
    name = "tagging"

    def read(self, path: Path, task: Task, language: str) -> list[Example]:
        sentences = _sentences(path, task)
        return [_example(str(n), language, words, tags) for n, (words, tags) in enumerate(sentences)]

    def from_row(self, row: Mapping[str, Any], task: Task, language: str, position: int = 0) -> Example | None:
        tags = next((row[name] for name in task.columns.label if name in row), None)
        words = row.get("tokens")
        if tags is None or words is None or len(tags) != len(words):
            raise RowError(f"`tokens` and `{task.columns.label[0]}` are not lists of one length")
        for tag in tags:
            if str(tag) not in task.label_map:
                raise RowError(f"tag {tag!r} is none of {', '.join(task.label_map)}")
        if not words:
            return None
        return _example(str(position), language, list(words), [task.label_map[str(tag)] for tag in tags])

    def encode(self, examples: Sequence[Example], tokenizer: Any, task: Task, settings: Settings) -> list[Piece]:
        """`way_back` is how many words the piece has."""
        room = settings.max_length - 2
        if room < 1:
            raise UserError(f"task {task.name}: max_length {settings.max_length} leaves no room: use 16 or more.")
        subwords = _subwords(examples, tokenizer, room)
        numbers = {label: number for number, label in enumerate(task.labels)}
        pieces = []
        for index, example in enumerate(examples):
            words = [subwords[word] for word in example.words]
            for start, end in split(list(map(len, words)), room):
                tags = [numbers[tag] for tag in example.tags[start:end]]
                pieces.append(_piece(index, words[start:end], tags, tokenizer))
        return pieces

    def decode(
        self,
        examples: Sequence[Example],
        pieces: Sequence[Piece],
        outputs: Sequence[Floats],
        task: Task,
        settings: Settings,
    ) -> list[list[str]]:
        predictions = []
        for example, of_example in zip(examples, pieces_of(pieces, len(examples)), strict=True):
            tags = [tag for i in of_example for tag in _piece_tags(pieces[i], outputs[i], task)]
            assert len(tags) == len(example.words), example.id
            predictions.append(tags)
        return predictions

    def gold(self, example: Example, task: Task) -> list[str]:
        return list(example.tags)


def split(lengths: Sequence[int], room: int) -> Iterator[tuple[int, int]]:
    """Runs (start, end) of consecutive words, each as long as fits in `room` tokens; no word is longer than that."""
    start = used = 0
    for index, length in enumerate(lengths):
        if used + length > room:
            yield start, index
            start, used = index, 0
        used += length
    if start < len(lengths):
        yield start, len(lengths)


def _subwords(examples: Sequence[Example], tokenizer: Any, room: int) -> dict[str, tuple[int, ...]]:
    """Every word's tokens; <unk> for a word that has none, or more than a piece can hold."""
    words = list(dict.fromkeys(word for example in examples for word in example.words))
    if not words:
        return {}
    encoded = tokenizer(words, add_special_tokens=False, return_attention_mask=False, verbose=False)
    unknown = (tokenizer.unk_token_id,)
    return {
        word: tuple(tokens) if 0 < len(tokens) <= room else unknown
        for word, tokens in zip(words, encoded["input_ids"], strict=True)
    }


def _piece(index: int, words: list[tuple[int, ...]], tags: list[int], tokenizer: Any) -> Piece:
    row, target = [tokenizer.cls_token_id], [IGNORED]
    for tokens, tag in zip(words, tags, strict=True):
        row += tokens
        target += [tag] + [IGNORED] * (len(tokens) - 1)
    return Piece(index, ((*row, tokenizer.sep_token_id),), (*target, IGNORED), len(words))


def _piece_tags(piece: Piece, output: Floats, task: Task) -> list[str]:
    first = np.asarray(piece.target) != IGNORED
    best = np.argmax(output[: len(piece.target)][first], axis=-1)
    assert len(best) == piece.way_back, piece.example
    return [task.labels[int(label)] for label in best]


def _example(name: str, language: str, words: list[str], tags: list[str]) -> Example:
    return Example(id=name, language=language, group=" ".join(words), words=tuple(words), tags=tuple(tags))


def _sentences(path: Path, task: Task) -> Iterator[tuple[list[str], list[str]]]:
    """Word, tab, tag; an empty line ends a sentence."""
    words: list[str] = []
    tags: list[str] = []
    for number, line in enumerate([*read_lines(path), ""], start=1):
        if not line.strip():
            if words:
                yield words, tags
            words, tags = [], []
            continue
        word, tab, tag = line.partition("\t")
        if not tab or not word or tag not in task.label_map:
            malformed(path, number, f"{line!r} is not a word, a tab and a tag ({' '.join(task.labels)})")
        words.append(word)
        tags.append(task.label_map[tag])
