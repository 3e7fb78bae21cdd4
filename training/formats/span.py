"""Questions whose answer is a span of a context: `<s> question </s></s> window of the context </s>`.

Answers are found and cut out by character offsets in the context as it is written. What the offsets of XLM-R's fast
tokenizers do there: a lone `▁` carries those of the next character, tokens of one NFKC-expanded character share its
offsets, some are empty, some begin with the space before, some end before the accent of a decomposed letter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import combining

import numpy as np
from numpy.typing import NDArray

from slurm.base import UserError
from training.formats.answers import Answer
from training.formats.base import Example as BaseExample
from training.formats.base import Floats, Format, Piece, Probabilities, pieces_of
from training.formats.batch import token_ids, tokens_and_offsets
from training.formats.lengths import SPECIALS, FileCounts, questions_with_contexts
from training.formats.squad_json import Question, question_of, read_questions
from training.spec import Settings
from training.tasks import Task, presets

Ints = NDArray[np.int32]
_NO_ANSWER = (0, 0)  # the position of <s>: what a window is trained on that the answer is not in
_SURELY_NONE = 1e9  # the null odds where a context has no span at all; JSON knows no infinity


@dataclass(frozen=True, kw_only=True)
class Example(BaseExample):
    question: str
    context: str
    answers: tuple[Answer, ...]
    unanswerable: bool = False  # SQuAD 2.0: that it has no answer is the answer


@dataclass(frozen=True, eq=False)
class Window:
    """Where a window's tokens come from: `first` is its first context token's position in the row; `spans` [tokens, 2]
    characters of the context; `best` [tokens]: whether this window shows the token with the most context around it."""

    first: int
    spans: Ints
    best: NDArray[np.bool_]


class Span(Format[Example]):
    name = "span"
    kind_of_data = "a question whose answer stands in a text"
    makes_windows = True
    metrics = ("squad", "squad_v2", "mlqa")
    target_settings = presets.QA_TARGET
    usual_tokens = 190
    prediction_bytes = 300
    encode_settings = ("max_length", "doc_stride", "max_query_length")
    key_settings = ("doc_stride", "max_query_length", "n_best", "max_answer_length", "null_threshold")

    def read(self, path: Path, task: Task, language: str) -> list[Example]:
        return [_example(question, task, language) for question in read_questions(path)]

    def from_row(self, row: Mapping[str, Any], task: Task, language: str, position: int = 0) -> Example | None:
        if task.hub.by_id and not str(row.get("id")).startswith(task.hub.names[language] + "-"):
            return None
        return _example(question_of(row), task, language)

    def check(self, task: Task, settings: Settings) -> None:
        if settings.max_length - settings.max_query_length < 8:
            raise UserError(
                f"task {task.name}: max_length {settings.max_length} leaves no room for the context beside"
                f" max_query_length {settings.max_query_length}: make it larger by 8 or more."
            )

    def encode(self, examples: Sequence[Example], tokenizer: Any, task: Task, settings: Settings) -> list[Piece]:
        self.check(task, settings)
        if not examples:
            return []
        contexts = _tokenise(tokenizer, list(dict.fromkeys(example.context for example in examples)))
        questions = token_ids(tokenizer, [example.question.strip() for example in examples])
        specials = tokenizer.cls_token_id, tokenizer.sep_token_id
        pieces = []
        for index, (example, question) in enumerate(zip(examples, questions, strict=True)):
            pieces += _pieces(index, example, question, contexts[example.context], specials, settings)
        return pieces

    def count(self, piece: Piece) -> int:
        """Start and end."""
        return 2

    def decode(
        self,
        examples: Sequence[Example],
        pieces: Sequence[Piece],
        outputs: Sequence[Floats],
        task: Task,
        settings: Settings,
    ) -> list[Any]:
        """The best span over all windows, as in SQuAD's published scripts: starts and ends from the `n_best` of each
        window, at most `max_answer_length` tokens, starting where the window shows the most context. "" if none.

        SQuAD 2.0: {text, span, null_odds}, where `span` is that, `null_odds` how much better "no answer" scores, and
        `text` is "" where that is more than the threshold.
        """
        predictions: list[Any] = []
        for example, of_example in zip(examples, pieces_of(pieces, len(examples)), strict=True):
            _, (score, start, end) = _best_of_windows(of_example, pieces, outputs, settings)
            span = "" if score == -np.inf else example.context[start:end].strip()
            if _may_be_unanswerable(task):
                null_score = min(float(outputs[i][0, 0] + outputs[i][0, 1]) for i in of_example)
                predictions.append(_or_no_answer(span, score, null_score, settings))
            else:
                predictions.append(span)
        return predictions

    def confidences(
        self,
        examples: Sequence[Example],
        pieces: Sequence[Piece],
        outputs: Sequence[Floats],
        task: Task,
        settings: Settings,
    ) -> Probabilities | None:
        """The probability of the span's start times that of its end, each by the softmax over the window that it was
        chosen from. None with SQuAD 2.0, where a threshold on scores decides whether there is an answer."""
        if _may_be_unanswerable(task):
            return None
        probabilities = []
        for of_example in pieces_of(pieces, len(examples)):
            window, (score, _, _) = _best_of_windows(of_example, pieces, outputs, settings)
            normaliser = np.logaddexp.reduce(outputs[window].astype(np.float64), axis=0).sum()
            probabilities.append(np.exp(score - normaliser))
        return np.array(probabilities)

    def gold(self, example: Example, task: Task) -> list[str]:
        return [answer.text for answer in example.answers]

    def labelled(self, example: Example) -> bool:
        return example.unanswerable or any(answer.text for answer in example.answers)

    def constant_answers(self, golds: Sequence[Any], task: Task) -> list[list[Any]]:
        return [[{"text": "", "span": "", "null_odds": 0.0}] * len(golds)] if _may_be_unanswerable(task) else []

    def text_of_file(self, counts: FileCounts, task: Task) -> tuple[float, float]:
        return questions_with_contexts(counts)

    def tokens_and_length(self, examples: float, tokens: float, task: Task, settings: Settings) -> tuple[float, float]:
        longest = settings.max_length
        if tokens + SPECIALS <= longest:
            return super().tokens_and_length(examples, tokens, task, settings)
        of_example = 1 + (tokens + SPECIALS - longest) / settings.doc_stride  # windows
        return examples * of_example * longest, longest


def _example(question: Question, task: Task, language: str) -> Example:
    return Example(
        id=question.id,
        language=language,
        group=question.context,
        question=question.question,
        context=question.context,
        answers=question.answers,
        unanswerable=_may_be_unanswerable(task) and not question.answers,
    )


def _may_be_unanswerable(task: Task) -> bool:
    return task.metric_family == "squad_v2"


def _or_no_answer(span: str, score: float, null_score: float, settings: Settings) -> dict[str, Any]:
    odds = null_score - score if span else _SURELY_NONE
    return {"text": "" if odds > settings.null_threshold else span, "span": span, "null_odds": odds}


def windows(n_tokens: int, room: int, stride: int) -> list[tuple[int, int]]:
    """(start, end) of windows of at most `room` tokens that cover all and begin `stride` tokens apart, as in
    the scripts of SQuAD and XTREME (their `doc_stride`); no further apart than they are long: no token is left out."""
    step = max(min(stride, room), 1)
    starts = [0]
    while starts[-1] + room < n_tokens:
        starts.append(starts[-1] + step)
    return [(start, min(start + room, n_tokens)) for start in starts]


def most_context(bounds: Sequence[tuple[int, int]]) -> list[NDArray[np.bool_]]:
    """For every window, which of its tokens have the most context there: the smaller of left and right, plus a
    hundredth of the window's length (SQuAD's max-context rule); of equal windows the first."""
    n_tokens = bounds[-1][1]
    if len(bounds) == 1:
        return [np.ones(n_tokens, dtype=np.bool_)]
    best = np.full(n_tokens, -np.inf)
    owner = np.zeros(n_tokens, dtype=np.int64)
    for number, (start, end) in enumerate(bounds):
        inside = np.arange(end - start)
        score = np.minimum(inside, inside[::-1]) + 0.01 * (end - start)
        better = score > best[start:end]
        best[start:end][better] = score[better]
        owner[start:end][better] = number
    return [owner[start:end] == number for number, (start, end) in enumerate(bounds)]


def trimmed(context: str, offsets: Sequence[tuple[int, int]], lone: Sequence[bool]) -> Ints:
    """Offsets [tokens, 2] without the white space at their ends, with the accents that were composed into their last
    letter; a lone `▁` has no characters of its own (start = end)."""
    if not offsets:
        return np.zeros((0, 2), dtype=np.int32)
    starts, ends = np.array(offsets, dtype=np.int32).T
    limits = np.append(starts[1:], len(context))
    leftmost, rightmost, accents = _jumps(context)
    starts = np.minimum(leftmost[starts], ends)
    ends = np.maximum(rightmost[ends], starts)
    longer = np.maximum(ends, np.minimum(accents[ends], limits))
    ends = np.where(starts < ends, longer, ends)
    return np.stack([starts, np.where(lone, starts, ends)], axis=1).astype(np.int32)


def _jumps(context: str) -> tuple[Ints, Ints, Ints]:
    """For each place between characters: the next one without white space behind it, the last one without white space
    before it, the next one without an accent behind it."""
    characters = np.frombuffer(context.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    different = set(context)
    white = _any_of(characters, [c for c in different if c.isspace()])
    accents = _any_of(characters, [c for c in different if combining(c)])
    return _next(white), len(context) - _next(white[::-1])[::-1], _next(accents)


def _any_of(characters: NDArray[np.uint32], alphabet: Sequence[str]) -> NDArray[np.bool_]:
    is_in_alphabet = np.zeros(len(characters), dtype=np.bool_)
    for character in alphabet:
        is_in_alphabet |= characters == ord(character)
    return is_in_alphabet


def _next(gaps: NDArray[np.bool_]) -> Ints:
    """For each place the first one from there on whose character is no gap; the last place is the end."""
    places = np.arange(len(gaps) + 1, dtype=np.int32)
    places[:-1][gaps] = len(gaps)
    return np.minimum.accumulate(places[::-1])[::-1]


def answer_tokens(spans: Ints, start: int, end: int) -> tuple[int, int] | None:
    """The first and the last token of which a character lies in [start, end); None where there is none."""
    touching = np.flatnonzero((spans[:, 0] < end) & (spans[:, 1] > start) & (spans[:, 1] > spans[:, 0]))
    return (int(touching[0]), int(touching[-1])) if len(touching) else None


def _tokenise(tokenizer: Any, contexts: list[str]) -> dict[str, tuple[list[int], Ints]]:
    """Every context's tokens and their spans of characters."""
    space = tokenizer.convert_tokens_to_ids("▁")
    return {
        context: (ids, trimmed(context, offsets, [token == space for token in ids]))
        for context, (ids, offsets) in zip(contexts, tokens_and_offsets(tokenizer, contexts), strict=True)
    }


def _pieces(
    index: int,
    example: Example,
    question: list[int],
    context: tuple[list[int], Ints],
    specials: tuple[int, int],
    settings: Settings,
) -> list[Piece]:
    tokens, spans = context
    start_id, sep = specials
    head = (start_id, *question[: settings.max_query_length], sep, sep)
    bounds = windows(len(tokens), settings.max_length - len(head) - 1, settings.doc_stride)
    answer = _answer(example, spans)
    return [
        Piece(
            index,
            ((*head, *tokens[start:end], sep),),
            _target(answer, start, end, len(head)),
            Window(len(head), spans[start:end], best),
        )
        for (start, end), best in zip(bounds, most_context(bounds), strict=True)
    ]


def _answer(example: Example, spans: Ints) -> tuple[int, int] | None:
    """The tokens of the first answer that is not empty (some published files have none)."""
    answer = next((answer for answer in example.answers if answer.text.strip()), None)
    if answer is None:
        return None
    return answer_tokens(spans, answer.start, answer.start + len(answer.text))


def _target(answer: tuple[int, int] | None, start: int, end: int, first: int) -> tuple[int, int]:
    if answer is None or answer[0] < start or answer[1] >= end:
        return _NO_ANSWER
    return answer[0] - start + first, answer[1] - start + first


def _best_of_windows(
    windows_of_example: Sequence[int], pieces: Sequence[Piece], outputs: Sequence[Floats], settings: Settings
) -> tuple[int, tuple[float, int, int]]:
    """The index of the window with the best span, of equal ones the first, and that span as `_best_span` has it."""
    spans = [(index, _best_span(pieces[index].way_back, outputs[index], settings)) for index in windows_of_example]
    return max(spans, key=lambda span: span[1][0])


def _best_span(window: Window, output: Floats, settings: Settings) -> tuple[float, int, int]:
    """(score, first character, end) of the window's best span; score -inf where it has none."""
    starts = np.argsort(-output[:, 0], kind="stable")[: settings.n_best] - window.first
    ends = np.argsort(-output[:, 1], kind="stable")[: settings.n_best] - window.first
    starts, ends = _tokens_of(starts, window, window.best), _tokens_of(ends, window, None)
    length = ends[None, :] - starts[:, None] + 1
    is_span = (length >= 1) & (length <= settings.max_answer_length)
    is_span &= window.spans[ends, 1][None, :] > window.spans[starts, 0][:, None]  # a lone `▁` is no answer
    if not is_span.any():
        return -np.inf, 0, 0
    start_scores, end_scores = output[starts + window.first, 0], output[ends + window.first, 1]
    scores = np.where(is_span, start_scores[:, None] + end_scores[None, :], -np.inf)
    row, column = np.unravel_index(int(np.argmax(scores)), scores.shape)
    characters = int(window.spans[starts[row], 0]), int(window.spans[ends[column], 1])
    return float(scores[row, column]), *characters


def _tokens_of(positions: NDArray[Any], window: Window, selectable: NDArray[np.bool_] | None) -> NDArray[Any]:
    """Those positions that are tokens of the context (and allowed), in their order."""
    inside = positions[(positions >= 0) & (positions < len(window.spans))]
    return inside if selectable is None else inside[selectable[inside]]
