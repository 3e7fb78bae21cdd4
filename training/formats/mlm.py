"""Continued pretraining: plain text, line by line, with some of its tokens hidden anew whenever the model sees it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.formats.base import IGNORED, Floats, Format, Piece, pieces_of
from training.formats.base import Example as BaseExample
from training.formats.batch import token_ids
from training.formats.lengths import SPECIALS
from training.formats.rows import read_lines, render, row_id
from training.seeds import random_words, sub_seed
from training.spec import DataFile, Settings
from training.tasks import Task

_DEV = 0  # dev hides the same tokens every time, whatever the stage's seed
_TO_MASK, _TO_RANDOM = 0.8, 0.1  # of the hidden tokens; the rest stay as they are


@dataclass(frozen=True, kw_only=True)
class Example(BaseExample):
    text: str


class MaskedLanguageModel(Format[Example]):
    """Tokens hidden as by BERT and RoBERTa (Devlin et al. 2019, arXiv 1810.04805; Liu et al. 2019, 1907.11692)."""

    name = "mlm"
    kind_of_data = "plain text, some of its tokens are hidden"
    is_language_model = True
    in_any_language = True
    metrics = ("words",)
    usual_tokens = 256
    prediction_bytes = 0
    key_settings = ("mask_probability", "language_exponent")

    def read(self, path: Path, task: Task, language: str) -> list[Example]:
        """A line that is not empty is an example."""
        lines = enumerate(read_lines(path))
        return [_example(f"{language}:{number}", language, line.strip()) for number, line in lines if line.strip()]

    def read_split(self, files: Sequence[DataFile], task: Task, language: str) -> list[Example]:
        """A file's role is its language."""
        return [example for file in files for example in self.read(Path(file.path), task, file.role or language)]

    def from_row(self, row: Mapping[str, Any], task: Task, language: str, position: int = 0) -> Example | None:
        text = render(row, task.columns.first)
        return _example(row_id(row, task, position), language, text) if text else None

    def first(self, examples: Sequence[Example], limit: int | None) -> list[Example]:
        """The first of each language: else a trial would be of the first language alone."""
        if limit is None:
            return list(examples)
        counts: Counter[str] = Counter()
        trial = []
        for example in examples:
            counts[example.language] += 1
            if counts[example.language] <= limit:
                trial.append(example)
        return trial

    def encode(self, examples: Sequence[Example], tokenizer: Any, task: Task, settings: Settings) -> list[Piece]:
        """Long lines in several pieces; nothing is hidden yet."""
        room = settings.max_length - 2
        bos, eos = tokenizer.cls_token_id, tokenizer.sep_token_id
        return [
            Piece(index, ((bos, *ids[start : start + room], eos),), ())
            for index, ids in enumerate(token_ids(tokenizer, [example.text for example in examples]))
            for start in range(0, len(ids), room)
        ]

    def corrupt(self, piece: Piece, seed: int, tokenizer: Any, settings: Settings) -> Piece:
        """Hide tokens, at least one: each with the mask probability; 80 % of them become <mask>, 10 % any token."""
        row = np.array(piece.rows[0], dtype=np.int64)
        draws = _uniform(seed, 3 * len(row)).reshape(3, len(row))
        inside = np.arange(len(row)) % (len(row) - 1) > 0  # neither <s> nor </s>
        hidden = inside & (draws[0] < settings.mask_probability)
        hidden[1 + np.argmin(draws[0][1:-1])] = True
        target = np.where(hidden, row, IGNORED)
        plain = _plain_tokens(tokenizer)
        row[hidden & (draws[1] < _TO_MASK)] = tokenizer.mask_token_id
        random = hidden & (draws[1] >= _TO_MASK) & (draws[1] < _TO_MASK + _TO_RANDOM)
        row[random] = plain[(draws[2][random] * len(plain)).astype(np.int64)]
        return replace(piece, rows=(tuple(row.tolist()),), target=tuple(target.tolist()))

    def for_dev(
        self, pieces: Sequence[Piece], examples: Sequence[Example], tokenizer: Any, settings: Settings
    ) -> list[Piece]:
        seeds = (sub_seed(_DEV, "dev", examples[piece.example].id, number) for number, piece in enumerate(pieces))
        return [self.corrupt(piece, seed, tokenizer, settings) for piece, seed in zip(pieces, seeds, strict=True)]

    def decode(
        self,
        examples: Sequence[Example],
        pieces: Sequence[Piece],
        outputs: Sequence[Floats],
        task: Task,
        settings: Settings,
    ) -> list[list[int]]:
        """The tokens predicted at the hidden places, in their order."""
        by_example = pieces_of(pieces, len(examples))
        return [[int(token) for index in indices for token in outputs[index][:, 0]] for indices in by_example]

    def gold(self, example: Example, task: Task) -> Any:
        raise AssertionError("what is right depends on what is hidden: use golds")

    def golds(self, examples: Sequence[Example], pieces: Sequence[Piece], task: Task) -> list[Any]:
        """The hidden tokens; None for an example without any."""
        targets = [[pieces[index].target for index in indices] for indices in pieces_of(pieces, len(examples))]
        return [[token for target in rows for token in target if token != IGNORED] or None for rows in targets]

    def answer_shown(self, example: Example, gold: Any, tokenizer: Any) -> list[str]:
        return ["the answer:", " ".join(tokenizer.convert_ids_to_tokens(gold))]

    def predicted_share(self, settings: Settings) -> float:
        return settings.mask_probability

    def tokens_and_length(self, examples: float, tokens: float, task: Task, settings: Settings) -> tuple[float, float]:
        """Long lines go on in further sequences."""
        return examples * (tokens + SPECIALS), min(settings.max_length, tokens + SPECIALS)


def _example(name: str, language: str, text: str) -> Example:
    return Example(id=name, language=language, group=text, text=text)


def _uniform(seed: int, count: int) -> NDArray[np.float64]:
    """In [0, 1), from raw words: these stay the same between versions of numpy."""
    return (random_words(seed, count) >> np.uint64(11)).astype(np.float64) / 2.0**53


@lru_cache(maxsize=4)
def _plain_tokens(tokenizer: Any) -> NDArray[np.int64]:
    """Every token but the special ones."""
    return np.setdiff1d(np.arange(len(tokenizer)), tokenizer.all_special_ids)
