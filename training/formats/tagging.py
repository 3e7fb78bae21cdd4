"""One label per word: at its first subword. Long sentences are split, never cut, so that every word gets a label.

With open labels a tag is whatever the data says. One that training never saw has no number: it makes no loss term,
and stays the gold tag that no prediction equals.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from slurm.base import UserError
from training.formats.base import IGNORED, Floats, Format, Piece, Probabilities, highest_probabilities, pieces_of
from training.formats.base import Example as BaseExample
from training.formats.batch import token_ids
from training.formats.lengths import TOKENS_OF_WORD, FileCounts
from training.formats.rows import RowError, name_of, text_of
from training.formats.tagged_text import read_sentences, tag_name
from training.spec import Settings
from training.tasks import Task, presets


@dataclass(frozen=True, kw_only=True)
class Example(BaseExample):
    words: tuple[str, ...]
    tags: tuple[str, ...]


class Tagging(Format[Example]):
    name = "tagging"
    kind_of_data = "a label for every word"
    metrics = ("words", "ner", "pos")
    target_settings = presets.TAGGING_TARGET
    open_labels = True
    labels_are_classes = True
    usual_tokens = 35
    prediction_bytes = 400

    def read(self, path: Path, task: Task, language: str) -> list[Example]:
        return [_example(name, language, words, tags) for name, words, tags in read_sentences(path, task)]

    def from_row(self, row: Mapping[str, Any], task: Task, language: str, position: int = 0) -> Example | None:
        tags = next((row[name] for name in task.columns.label if name in row), None)
        words = row.get("tokens")
        if not _is_list(words) or not _is_list(tags) or len(tags) != len(words):
            raise RowError(f"`tokens` and `{task.columns.label[0]}` are not lists of one length")
        if not words:
            return None
        texts = [text_of(word, "a word in tokens") for word in words]
        names = [name_of(tag, f"a tag in {task.columns.label[0]}") for tag in tags]
        return _example(str(position), language, texts, [tag_name(name, task) for name in names])

    def label_set(self, examples: Sequence[Example]) -> tuple[str, ...]:
        return tuple(sorted({tag for example in examples for tag in example.tags}))

    def encode(self, examples: Sequence[Example], tokenizer: Any, task: Task, settings: Settings) -> list[Piece]:
        """`way_back`: the positions of the words' first tokens."""
        room = settings.max_length - 2
        if room < 1:
            raise UserError(f"task {task.name}: max_length {settings.max_length} leaves no room: use 16 or more.")
        subwords = _subwords(examples, tokenizer, room)
        numbers = {label: number for number, label in enumerate(task.labels)}
        specials = tokenizer.cls_token_id, tokenizer.sep_token_id
        pieces = []
        for index, example in enumerate(examples):
            words = [subwords[word] for word in example.words]
            for start, end in split(list(map(len, words)), room):
                tags = [_number(tag, numbers, task) for tag in example.tags[start:end]] or [IGNORED] * (end - start)
                pieces.append(_piece(index, words[start:end], tags, specials))
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

    def confidences(
        self,
        examples: Sequence[Example],
        pieces: Sequence[Piece],
        outputs: Sequence[Floats],
        task: Task,
        settings: Settings,
    ) -> Probabilities:
        return highest_probabilities(np.concatenate(outputs))

    def gold(self, example: Example, task: Task) -> list[str]:
        return list(example.tags)

    def labelled(self, example: Example) -> bool:
        return bool(example.tags)

    def constant_answers(self, golds: Sequence[Any], task: Task) -> list[list[Any]] | None:
        """O, and the most frequent tag; not every tag there is (CCG has hundreds)."""
        if task.metric_family == "ner" and not any(tag != "O" for gold in golds for tag in gold):
            return None  # O is all that is asked for
        counts = Counter(chain(*golds))
        tags = {"O", *(tag for tag, _ in counts.most_common(1))} & counts.keys()
        return [[[tag] * len(gold) for gold in golds] for tag in tags]

    def answer_shown(self, example: Example, gold: Any, tokenizer: Any) -> list[str]:
        pairs = zip(example.words, gold, strict=True)
        return ["the answer:", " ".join(f"{word}/{tag}" for word, tag in pairs)]

    def text_of_file(self, counts: FileCounts, task: Task) -> tuple[float, float]:
        """A word a line, unless the task has a separator."""
        if task.columns.separator:
            return super().text_of_file(counts, task)
        sentences = max(1, counts.paragraphs)
        return sentences, TOKENS_OF_WORD * counts.lines / sentences


def _is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _number(tag: str, numbers: Mapping[str, int], task: Task) -> int:
    return numbers.get(tag, IGNORED) if task.open_labels else numbers[tag]


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
    unknown = (tokenizer.unk_token_id,)
    return {
        word: tuple(tokens) if 0 < len(tokens) <= room else unknown
        for word, tokens in zip(words, token_ids(tokenizer, words), strict=True)
    }


def _piece(index: int, words: list[tuple[int, ...]], tags: list[int], specials: tuple[int, int]) -> Piece:
    row, target, first = [specials[0]], [IGNORED], []
    for tokens, tag in zip(words, tags, strict=True):
        first.append(len(row))
        row += tokens
        target += [tag] + [IGNORED] * (len(tokens) - 1)
    return Piece(index, ((*row, specials[1]),), (*target, IGNORED), tuple(first))


def _piece_tags(piece: Piece, output: Floats, task: Task) -> list[str]:
    best = np.argmax(output, axis=-1)
    return [task.labels[int(label)] for label in best]


def _example(name: str, language: str, words: list[str], tags: list[str]) -> Example:
    return Example(id=name, language=language, group=" ".join(words), words=tuple(words), tags=tuple(tags))
