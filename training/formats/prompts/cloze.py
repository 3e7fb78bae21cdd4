"""Prompts for a masked language model: rows in which the answer's place is masked, once for every token of an answer.

Answers of the same number of tokens share a row. The parts of a prompt are tokenised by themselves, as PET does
(Schick & Schütze 2021, arXiv 2001.07676), so that an answer's tokens do not depend on what stands around it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from slurm.base import UserError
from training.formats.base import IGNORED, Piece
from training.formats.batch import token_ids
from training.formats.lengths import SPECIALS
from training.formats.prompts.template import Prompt


@dataclass(frozen=True)
class Asked:
    """What is asked at a row's masks: the answers of `labels`, as many tokens each as there are masks."""

    labels: tuple[int, ...]
    tokens: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Question:
    """A prompt, and the demonstrations before it, answered. `name` is the example's id, for errors."""

    name: str
    prompt: Prompt
    demonstrations: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cloze:
    """`pieces`: a row each, some for every question, with an `Asked` as way back and the mask as target where one is.

    `demonstrations`: how many of each question's were shown, the last ones.
    """

    pieces: tuple[Piece, ...]
    demonstrations: tuple[int, ...]


def encode(questions: Sequence[Question], tokenizer: Any, max_length: int) -> Cloze:
    """Rows of at most `max_length` tokens: of what is too long the first demonstrations go, as for the longest answer,
    and then what is furthest from the masks, from the longer side.

    UserError for an answer without a token, and where masks alone are too long.
    """
    pieces: list[Piece] = []
    counts: list[int] = []
    for number, question in enumerate(questions):
        prompt = question.prompt
        before, after, *of_answers = token_ids(tokenizer, [prompt.before.rstrip(), prompt.after, *prompt.answers])
        of_demonstrations = token_ids(tokenizer, question.demonstrations)
        longest = max(map(len, of_answers))
        if min(map(len, of_answers)) == 0 or longest > max_length - SPECIALS:
            wrong = "is empty" if longest <= max_length - SPECIALS else f"has {longest} tokens, of {max_length} in all"
            raise UserError(f"example {question.name}: an answer {wrong}; no prompt can be made of it.")
        room = max_length - SPECIALS - longest
        demonstrations = _fitting(of_demonstrations, room - len(before) - len(after))
        counts.append(len(demonstrations))
        before, after = _cut([*chain(*demonstrations), *before], after, room)
        for length in dict.fromkeys(map(len, of_answers)):
            labels = tuple(label for label, tokens in enumerate(of_answers) if len(tokens) == length)
            asked_answers = Asked(labels, tuple(tuple(of_answers[label]) for label in labels))
            pieces.append(_piece(number, before, after, asked_answers, tokenizer))
    return Cloze(tuple(pieces), tuple(counts))


def _fitting(demonstrations: Sequence[list[int]], room: int) -> list[list[int]]:
    """The last ones that fit together."""
    fitting: list[list[int]] = []
    for tokens in reversed(demonstrations):
        room -= len(tokens)
        if room < 0:
            break
        fitting.insert(0, tokens)
    return fitting


def _cut(before: list[int], after: list[int], room: int) -> tuple[list[int], list[int]]:
    """The tokens nearest to the masks: the longer side gives until both are equally long."""
    kept_before = min(len(before), max(room - len(after), room - room // 2))
    kept_after = min(len(after), room - kept_before)
    return before[len(before) - kept_before :], after[:kept_after]


def _piece(number: int, before: list[int], after: list[int], asked_answers: Asked, tokenizer: Any) -> Piece:
    masks = [tokenizer.mask_token_id] * len(asked_answers.tokens[0])
    row = (tokenizer.cls_token_id, *before, *masks, *after, tokenizer.sep_token_id)
    first = 1 + len(before)
    target = tuple(token if first <= place < first + len(masks) else IGNORED for place, token in enumerate(row))
    return Piece(number, (row,), target, asked_answers)
