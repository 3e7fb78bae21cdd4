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
    """What is asked of a row: how likely the answers of `labels` are, each of some tokens, from place `start` on.

    `template`: the number of the one that made the prompt. `content`: 0 for the example itself; else the number, from
    1, of what says nothing in its place.
    """

    template: int
    content: int
    start: int
    labels: tuple[int, ...]
    tokens: tuple[tuple[int, ...], ...]

    @property
    def width(self) -> int:
        """How many masks the row has: tokens of each answer."""
        return len(self.tokens[0])


@dataclass(frozen=True)
class Question:
    """A prompt, and the demonstrations before it, answered. `example`: its place in the list, `name`: its id, for
    errors. `gold`: the label that a model is trained to answer; None: this one is not trained on."""

    example: int
    name: str
    prompt: Prompt
    demonstrations: tuple[str, ...] = ()
    template: int = 0
    content: int = 0
    gold: int | None = None


def encode(questions: Sequence[Question], tokenizer: Any, max_length: int) -> list[Piece]:
    """A piece for every row, with its `Asked` as way back; its target has the gold answer's tokens under the masks.

    Rows have at most `max_length` tokens: of what is too long the first demonstrations go, as for the longest answer,
    and then what is furthest from the masks, from the longer side. UserError for an answer without a token, and where
    masks alone are too long.
    """
    # Most texts are there again and again: answers, demonstrations, what stands behind the answer.
    texts = list(dict.fromkeys(text for question in questions for text in _texts(question)))
    tokens_of = dict(zip(texts, token_ids(tokenizer, texts), strict=True))
    pieces: list[Piece] = []
    for question in questions:
        of_texts = [tokens_of[text] for text in _texts(question)]
        count = len(question.demonstrations)
        of_demonstrations, (before, after, *of_answers) = of_texts[:count], of_texts[count:]
        longest = max(map(len, of_answers))
        if min(map(len, of_answers)) == 0 or longest > max_length - SPECIALS:
            wrong = "is empty" if longest <= max_length - SPECIALS else f"has {longest} tokens, of {max_length} in all"
            raise UserError(f"example {question.name}: an answer {wrong}; no prompt can be made of it.")
        room = max_length - SPECIALS - longest
        demonstrations = _fitting(of_demonstrations, room - len(before) - len(after))
        before, after = _cut([*chain(*demonstrations), *before], after, room)
        for length in dict.fromkeys(map(len, of_answers)):
            answers = {label: tuple(tokens) for label, tokens in enumerate(of_answers) if len(tokens) == length}
            pieces.append(_piece(question, before, after, answers, tokenizer))
    return pieces


def _texts(question: Question) -> tuple[str, ...]:
    prompt = question.prompt
    return *question.demonstrations, prompt.before.rstrip(), prompt.after, *prompt.answers


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


def _piece(
    question: Question, before: list[int], after: list[int], answers: dict[int, tuple[int, ...]], tokenizer: Any
) -> Piece:
    """`answers`: by label, of one length."""
    asked_answers = Asked(question.template, question.content, 1 + len(before), tuple(answers), tuple(answers.values()))
    masks = [tokenizer.mask_token_id] * asked_answers.width
    row = (tokenizer.cls_token_id, *before, *masks, *after, tokenizer.sep_token_id)
    target = [IGNORED] * len(row)
    if question.gold in answers:
        target[asked_answers.start : asked_answers.start + asked_answers.width] = answers[question.gold]
    return Piece(question.example, (row,), tuple(target), asked_answers)
