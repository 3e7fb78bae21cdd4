"""Gold answers and tags of all real files, through encode and decode and back."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval import metrics
from training.formats.base import IGNORED, Piece
from training.formats.span import Example, Span
from training.formats.tagging import Tagging
from training.spec import Settings
from training.tasks import Task, find

pytestmark = pytest.mark.slow
SPAN, TAGGING = Span(), Tagging()
QA = Settings(**find("squad").target)  # max_length 384, doc_stride 128, answers of at most 30 tokens

# --- answers to questions ---

# Per kind of file: the least share of questions whose gold answer comes back. `_why_not` says why the others' cannot:
# no span of at most 30 tokens says it. The folder grows, so nothing counts its files; the documentation has the counts.
QUESTIONS = {
    "squad_v1/*.gz": ("squad", 0.99),
    "squad_v2/*.gz": ("squad_v2", 0.99),
    "xquad/*.gz": ("xquad", 0.99),
    "lareqa/xquad-r/*.gz": ("xquad", 0.99),
    "mlqa/MLQA_V1/dev/*.gz": ("mlqa", 0.96),
    "tydiqa/*-train/*.gz": ("tydiqa", 0.95),
    "tydiqa/*-dev/*.gz": ("tydiqa", 0.93),
}


@pytest.mark.parametrize("pattern", QUESTIONS)
def test_gold_answers_come_back_but_those_that_no_span_of_tokens_can_say(
    pattern: str, shared_data: Path, xlmr_tokenizer: Any, library_tokenizer: Any
) -> None:
    name, least = QUESTIONS[pattern]
    task = find(name)
    outcomes: Counter[str] = Counter()
    for path in sorted(shared_data.glob(pattern)):
        examples = SPAN.read(path, task, "en")
        pieces = SPAN.encode(examples, xlmr_tokenizer, task, QA)
        predictions = SPAN.decode(examples, pieces, [_gold_span(piece) for piece in pieces], task, QA)
        for example, prediction in zip(examples, predictions, strict=True):
            text = prediction["text"] if name == "squad_v2" else prediction
            outcomes[_outcome(example, text, library_tokenizer)] += 1
    print(pattern, dict(outcomes))  # `pytest -s` shows what the documentation says
    assert outcomes["no gold"] == 0 and outcomes["exact"] >= least * outcomes.total() > 0


def _gold_span(piece: Piece) -> Any:
    output = np.zeros((len(piece.rows[0]), 2), dtype=np.float32)
    output[piece.target[0], 0] = output[piece.target[1], 1] = 10.0
    return output


def _outcome(example: Example, prediction: str, tokenizer: Any) -> str:
    if not SPAN.labelled(example):
        return "no gold"
    gold = "" if example.unanswerable else example.answers[0].text
    if metrics.score("squad", [[gold]], [prediction], "en")["exact_match"] == 100.0:
        return "exact"
    return _why_not(example, tokenizer)


def _why_not(example: Example, tokenizer: Any) -> str:
    start, text = example.answers[0].start, example.answers[0].text
    end = start + len(text)
    encoded = tokenizer(example.context, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    offsets = encoded["offset_mapping"]
    if sum(a < end and b > start for a, b in offsets) > QA.max_answer_length:
        return "longer than 30 tokens"
    if any(a < start < b or a < end < b for a, b in offsets):
        return "edge inside a token"  # `31.4` of `31.40%`, `Japan` of `Japanese`, words without spaces between
    assert text.endswith("\u200b"), (example.id, text)  # a character that the tokenizer drops
    return "invisible end"


# --- tags of words ---


LENGTHS = (256, 32)  # with 32, long sentences are split


@pytest.mark.parametrize("name", ["panx", "udpos"])
def test_gold_tags_come_back(name: str, shared_data: Path, xlmr_tokenizer: Any) -> None:
    files = sorted((shared_data / name).glob("*.gz"))
    assert files
    for path in files:
        examples = TAGGING.read(path, find(name), "en")
        for length in LENGTHS:
            tags = _tags_there_and_back(examples, xlmr_tokenizer, find(name), length)
            assert tags == [list(example.tags) for example in examples], (path, length)


def test_gold_categories_come_back(shared_data: Path, xlmr_tokenizer: Any) -> None:
    for path in sorted((shared_data / "ccg").glob("*.gz")):
        examples = TAGGING.read(path, find("ccg"), "en")
        for length in LENGTHS:
            tags = _tags_there_and_back(examples, xlmr_tokenizer, _ccg(TAGGING.label_set(examples)), length)
            assert tags == [list(example.tags) for example in examples], (path, length)


def test_categories_that_training_never_saw_are_gold_that_nothing_equals(
    shared_data: Path, xlmr_tokenizer: Any
) -> None:
    train, test = (
        TAGGING.read(shared_data / "ccg" / f"questions_{part}.stagged.gz", find("ccg"), "en")
        for part in ("train", "test")
    )
    task = _ccg(TAGGING.label_set(train))
    assert len(task.labels) == 144
    predictions = _tags_there_and_back(test, xlmr_tokenizer, task, 256)
    wrong = {
        gold
        for example, tags in zip(test, predictions, strict=True)
        for gold, tag in zip(example.tags, tags, strict=True)
        if gold != tag
    }
    assert wrong == set(TAGGING.label_set(test)) - set(task.labels) and wrong


def _ccg(labels: tuple[str, ...]) -> Task:
    return replace(find("ccg"), labels=labels)


def _tags_there_and_back(examples: list[Any], tokenizer: Any, task: Task, length: int) -> list[list[str]]:
    settings = Settings(max_length=length)
    pieces = TAGGING.encode(examples, tokenizer, task, settings)
    assert max(len(piece.rows[0]) for piece in pieces) <= length
    outputs = [_gold_tags(piece, len(task.labels)) for piece in pieces]
    return TAGGING.decode(examples, pieces, outputs, task, settings)


def _gold_tags(piece: Piece, n_labels: int) -> Any:
    """What a model that knows the answers would say; elsewhere nonsense."""
    wanted = [label if (label := piece.target[place]) != IGNORED else 3 for place in piece.way_back]
    output = np.zeros((len(wanted), n_labels), dtype=np.float32)
    output[np.arange(len(wanted)), wanted] = 1.0
    return output
