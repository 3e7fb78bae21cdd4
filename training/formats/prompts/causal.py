"""Prompts for a causal language model: a prefix of tokens, and every answer as its continuation.

Tokens as lm-evaluation-harness 0.4.13 makes them (lm_eval/api/model.py, `_encode_pair` and `loglikelihood`), so that
numbers compare: prefix and continuation are tokenised together, white space between them is the continuation's, and
where there is no text before an answer BOS stands for it (EOS where the model has no BOS). A tokenizer puts before a
text what it puts before every text (XGLM `</s>`, Llama BOS, BLOOM and Qwen nothing).

Not covered: a text that itself begins with `<s>` or the like.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slurm.base import UserError
from training.formats.base import IGNORED, Piece
from training.formats.batch import token_ids
from training.formats.prompts.cloze import Asked, Question

SEPARATOR = "\n\n"  # between demonstrations, and before the question
_END = "\n"  # of a generated answer


@dataclass(frozen=True)
class Causal:
    """Of every question a prefix, and its answers' tokens, label by label; none is empty.

    `demonstrations`: how many of each question's were shown, the last ones.
    """

    prefixes: tuple[tuple[int, ...], ...]
    continuations: tuple[tuple[tuple[int, ...], ...], ...]
    demonstrations: tuple[int, ...]


def encode(
    questions: Sequence[Question],
    tokenizer: Any,
    window: int,
    *,
    separator: str = SEPARATOR,
    whole_after: str | None = None,
) -> Causal:
    """Rows for a model that reads `window` tokens: of what is longer the first demonstrations go, as for the longest
    answer. A question that is too long without any stays so: the model reads its end (`eval.prediction.causal`).

    whole_after: score the whole of each label's text, not the answer alone, as lm-evaluation-harness does for XNLI
    (" ") and PAWS-X (""); this stands before it and before each demonstration. None: what is before answers is given.
    UserError for an answer without a token or with more than the window, and for a tokenizer with neither BOS nor EOS.
    """

    def encoded(counts: Mapping[int, int]) -> list[_Row]:
        texts = []
        for number, count in counts.items():
            context, prompt = (
                _demonstrations(questions[number], count, whole_after or "", separator),
                questions[number].prompt,
            )
            if whole_after is None:
                texts.append((context + prompt.before, [answer + prompt.after for answer in prompt.answers]))
            else:
                wholes = [prompt.answered(label) for label in range(len(prompt.answers))]
                texts.append((context, [whole_after + whole for whole in wholes]))
        return _rows(texts, tokenizer)

    rows, counts = _fitting(questions, encoded, window + 1)  # the last token is only ever predicted
    for question, row in zip(questions, rows, strict=True):
        lengths = [len(tokens) for tokens in row.continuations]
        if min(lengths) == 0 or max(lengths) > window:
            wrong = "has no token of its own" if min(lengths) == 0 else f"has {max(lengths)} tokens, of {window} in all"
            raise UserError(f"example {question.name}: an answer {wrong}; no prompt can be made of it.")
    return Causal(tuple(row.prefix for row in rows), tuple(row.continuations for row in rows), counts)


def pieces(questions: Sequence[Question], tokenizer: Any, max_length: int) -> list[Piece]:
    """A piece for every answer: the prompt and it, of what is longer than `max_length` the end; with an `Asked` of this
    label as way back, and the tokens of the gold answer as target. UserError: see `encode`."""
    encoded_questions = encode(questions, tokenizer, max_length - 1)
    answers: list[Piece] = []
    for question, prefix, continuations in zip(
        questions, encoded_questions.prefixes, encoded_questions.continuations, strict=True
    ):
        for label, tokens in enumerate(continuations):
            row = (*prefix, *tokens)[-max_length:]
            start = len(row) - len(tokens)
            is_gold = label == question.gold
            target = (*[IGNORED] * start, *(tokens if is_gold else [IGNORED] * len(tokens)))
            asked_answer = Asked(question.template, question.content, start, (label,), (tokens,))
            answers.append(Piece(question.example, (row,), target, asked_answer))
    return answers


def contexts(
    questions: Sequence[Question], tokenizer: Any, window: int, max_tokens: int, *, separator: str = SEPARATOR
) -> Causal:
    """The same where an answer of at most `max_tokens` is generated: there are no continuations, and a prefix has as
    many tokens less. White space at its end goes: it is the answer's."""

    def encoded(counts: Mapping[int, int]) -> list[_Row]:
        texts = [
            _demonstrations(questions[number], count, "", separator) + questions[number].prompt.before
            for number, count in counts.items()
        ]
        return _rows([(text, []) for text in texts], tokenizer)

    rows, counts = _fitting(questions, encoded, window - max_tokens)
    return Causal(tuple(row.prefix for row in rows), ((),) * len(rows), counts)


def is_over(tokens: Sequence[int], tokenizer: Any) -> bool:
    """Whether an answer that is generated has reached the end of its line."""
    return _END in tokenizer.decode(tokens, skip_special_tokens=True)


def answer_text(tokens: Sequence[int], tokenizer: Any) -> str:
    """A generated answer: its first line, without white space around it."""
    text: str = tokenizer.decode(tokens, skip_special_tokens=True)
    return text.split(_END)[0].strip()


@dataclass(frozen=True)
class _Row:
    prefix: tuple[int, ...]
    continuations: tuple[tuple[int, ...], ...]

    @property
    def longest(self) -> int:
        return len(self.prefix) + max(map(len, self.continuations), default=0)


def _demonstrations(question: Question, count: int, before: str, separator: str) -> str:
    """The last `count` demonstrations, each between these two."""
    texts = question.demonstrations[len(question.demonstrations) - count :]
    return "".join(f"{before}{text}{separator}" for text in texts)


def _fitting(
    questions: Sequence[Question], encoded: Callable[[Mapping[int, int]], list[_Row]], room: int
) -> tuple[list[_Row], tuple[int, ...]]:
    """The rows of all questions with as many demonstrations as `room` tokens have room for, and how many these are.

    encoded: rows of some questions (by number), each with so many of its demonstrations.
    """
    counts = {number: len(question.demonstrations) for number, question in enumerate(questions)}
    rows: dict[int, _Row] = {}
    waiting = counts
    while waiting:
        rows |= dict(zip(waiting, encoded(waiting), strict=True))
        waiting = {number: count - 1 for number, count in waiting.items() if count and rows[number].longest > room}
        counts |= waiting
    return [rows[number] for number in counts], tuple(counts.values())


def _rows(texts: Sequence[tuple[str, Sequence[str]]], tokenizer: Any) -> list[_Row]:
    """Tokens of contexts, and of the continuations of each."""
    contexts = [context.rstrip() for context, _ in texts]
    prefixes = iter(token_ids(tokenizer, [context for context in contexts if context], specials=True))
    wholes = iter(
        token_ids(tokenizer, [text + of for text, parts in texts if text.strip() for of in parts], specials=True)
    )
    # Of no context the continuations stand alone, with the white space that is theirs.
    alone = iter(token_ids(tokenizer, [text + of for text, parts in texts if not text.strip() for of in parts]))
    rows = []
    for context, (_, continuations) in zip(contexts, texts, strict=True):
        if context:
            prefix = tuple(next(prefixes))
            tokens = [tuple(next(wholes)[len(prefix) :]) for _ in continuations]
        else:
            prefix = (_first(tokenizer),)
            tokens = [tuple(next(alone)) for _ in continuations]
            tokens = [row[1:] if row[:1] == prefix else row for row in tokens]
        rows.append(_Row(prefix, tuple(tokens)))
    return rows


def _first(tokenizer: Any) -> int:
    """What a row begins with where there is no text: BOS, or EOS. UserError where the tokenizer has neither."""
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    raise UserError("this model's tokenizer has neither a BOS nor an EOS token; no prompt can begin with an answer.")
