"""Format span: answers by characters of the raw context, through windows and back."""

import dataclasses
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval import metrics
from slurm.base import UserError
from tests.training.stage_data import without_answers
from training import formats
from training.formats.base import Piece, pieces_of
from training.formats.rows import RowError
from training.formats.span import Example, most_context, windows
from training.formats.squad_json import Answer, anchored
from training.spec import Settings
from training.tasks import find

SPAN, SQUAD = formats.get("span"), find("squad")
QA = Settings(**SQUAD.target)
ANY_LENGTH = dataclasses.replace(QA, max_answer_length=10_000)


def example(context: str, answer: str, question: str = "Who?", start: int | None = None) -> Example:
    place = context.index(answer) if start is None else start
    answers = (Answer(answer, place),)
    return Example(id="0", language="en", group=context, question=question, context=context, answers=answers)


def gold_outputs(pieces: list[Piece]) -> list[Any]:
    outputs = []
    for piece in pieces:
        output = np.zeros((len(piece.rows[0]), 2), dtype=np.float32)
        output[piece.target[0], 0] = output[piece.target[1], 1] = 10.0
        outputs.append(output)
    return outputs


def there_and_back(examples: list[Example], tokenizer: Any, settings: Settings = ANY_LENGTH) -> list[str]:
    pieces = SPAN.encode(examples, tokenizer, SQUAD, settings)
    return SPAN.decode(examples, pieces, gold_outputs(pieces), SQUAD, settings)


def exact(prediction: str, gold: str) -> bool:
    return metrics.score("squad", [[gold]], [prediction], "en")["exact_match"] == 100.0


def test_unlabelled_answers_encode_and_decode(shared_data: Path, tmp_path: Path, xlmr_tokenizer: Any) -> None:
    path = tmp_path / "ko.json"
    path.write_text(without_answers(shared_data / "tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.ko.dev.json.gz"))
    examples = SPAN.read(path, find("tydiqa"), "ko")[:40]
    pieces = SPAN.encode(examples, xlmr_tokenizer, SQUAD, QA)
    assert {piece.target for piece in pieces} == {(0, 0)}
    assert len(SPAN.decode(examples, pieces, gold_outputs(pieces), SQUAD, QA)) == 40
    assert SPAN.gold(examples[0], SQUAD) == [""]


# --- characters that tokenizers do strange things with ---


@pytest.mark.parametrize(
    ("context", "answer"),
    [
        ("It was Ada Lovelace, of course.", "Ada Lovelace"),
        ("   It was   Ada  Lovelace.", "Ada  Lovelace"),
        ("Wait… and then Rome.", "Rome"),  # one character becomes three
        ("½ of ﬁve ㎏ is ½", "½ of ﬁve ㎏"),
        ("\u200bIt was\u200b Rome\u200b.", "Rome"),
        ("他出生于1946年，北京。", "北京"),
        ("Cost: 5 ， or more", "5"),
        ("e\u0301tude et e\u0301te\u0301", "e\u0301te\u0301"),
        ("👩\u200d👩\u200d👧 live in Oslo 🏔️.", "Oslo"),
    ],
)
def test_an_answer_comes_back_as_it_was_written(context: str, answer: str, xlmr_tokenizer: Any) -> None:
    assert there_and_back([example(context, answer)], xlmr_tokenizer) == [answer]


def test_a_question_and_its_context_are_seen_as_xlmr_wants_it(xlmr_tokenizer: Any, library_tokenizer: Any) -> None:
    e = example("It was Ada Lovelace.", "Ada", question=" Who was it? ")
    (piece,) = SPAN.encode([e], xlmr_tokenizer, SQUAD, QA)
    assert piece.rows == (tuple(library_tokenizer("Who was it?", e.context)["input_ids"]),)
    assert SPAN.count(piece) == 2


def test_a_long_question_is_cut_and_a_long_context_is_not(xlmr_tokenizer: Any) -> None:
    e = example("one two three " * 100 + "Rome", "Rome", question="why " * 100)
    settings = dataclasses.replace(QA, max_length=96, max_query_length=20, doc_stride=30)
    pieces = SPAN.encode([e], xlmr_tokenizer, SQUAD, settings)
    assert len(pieces) > 3
    assert all(len(piece.rows[0]) <= 96 for piece in pieces)
    assert all(piece.way_back.first == 23 for piece in pieces)
    assert [piece.target != (0, 0) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert there_and_back([e], xlmr_tokenizer, settings) == ["Rome"]


def test_settings_without_room_for_a_context_are_refused(xlmr_tokenizer: Any) -> None:
    with pytest.raises(UserError, match="max_length 64 leaves no room for the context beside max_query_length 64"):
        SPAN.encode([], xlmr_tokenizer, SQUAD, dataclasses.replace(QA, max_length=64))


def test_an_empty_context_decodes_to_nothing(xlmr_tokenizer: Any) -> None:
    assert there_and_back([example("", "")], xlmr_tokenizer) == [""]


# --- decoding ---


def decoded(scores: dict[tuple[int, int], float], xlmr_tokenizer: Any, settings: Settings = QA) -> str:
    """The prediction for a context of one-token words; scores by (context token, 0 start or 1 end)."""
    e = example("red green blue white black", "red")
    pieces = SPAN.encode([e], xlmr_tokenizer, SQUAD, settings)
    (piece,) = pieces
    output = np.zeros((len(piece.rows[0]), 2), dtype=np.float32)
    for (token, side), score in scores.items():
        output[piece.way_back.first + token, side] = score
    return str(SPAN.decode([e], pieces, [output], SQUAD, settings)[0])


def test_the_best_pair_of_start_and_end_wins(xlmr_tokenizer: Any) -> None:
    assert decoded({(1, 0): 5, (3, 1): 5}, xlmr_tokenizer) == "green blue white"


def test_an_end_before_the_start_never_wins(xlmr_tokenizer: Any) -> None:
    assert decoded({(3, 0): 9, (1, 1): 5, (4, 1): 1}, xlmr_tokenizer) == "white black"


def test_an_answer_longer_than_allowed_never_wins(xlmr_tokenizer: Any) -> None:
    short = dataclasses.replace(QA, max_answer_length=2)
    assert decoded({(0, 0): 9, (4, 1): 9, (1, 1): 1}, xlmr_tokenizer, short) == "red green"


def test_the_question_is_never_an_answer(xlmr_tokenizer: Any) -> None:
    one = dataclasses.replace(QA, n_best=1)
    assert decoded({(-3, 0): 9, (-3, 1): 9}, xlmr_tokenizer, one) == ""


@given(st.lists(st.tuples(st.floats(-5, 5, width=32), st.floats(-5, 5, width=32)), min_size=4, max_size=25))
def test_decoding_is_the_slow_search(scores: list[tuple[float, float]]) -> None:
    """Against a search in plain Python over all pairs."""
    context = " ".join("abcdefghijklmnopqrstuvwxyz"[n] for n in range(len(scores)))
    spans = np.array([(2 * n, 2 * n + 1) for n in range(len(scores))], dtype=np.int32)
    window = formats.span.Window(2, spans, np.ones(len(scores), dtype=np.bool_))
    output = np.array([(-9.0, -9.0)] * 2 + scores + [(-9.0, -9.0)], dtype=np.float32)
    piece = Piece(0, ((0,) * len(output),), (0, 0), window)
    settings = dataclasses.replace(QA, n_best=len(output), max_answer_length=5)
    (prediction,) = SPAN.decode([example(context, "a")], [piece], [output], SQUAD, settings)
    best = max(
        output[s + 2, 0] + output[e + 2, 1] for s in range(len(scores)) for e in range(s, min(s + 5, len(scores)))
    )
    start, end = context.index(prediction[0]) // 2, context.index(prediction[-1]) // 2
    assert output[start + 2, 0] + output[end + 2, 1] == best
    assert end - start < 5


# --- SQuAD 2.0: there may be no answer ---

V2 = find("squad_v2")


def test_no_answer_is_an_answer_of_squad_2_alone(xlmr_tokenizer: Any) -> None:
    row = {
        "id": "7",
        "question": "Who?",
        "context": "It was Ada.",
        "answers": {"text": [], "answer_start": []},  # as on the Hub
    }
    unanswerable, unlabelled = SPAN.from_row(row, V2, "en"), SPAN.from_row(row, SQUAD, "en")
    assert SPAN.labelled(unanswerable) and SPAN.gold(unanswerable, V2) == []
    assert not SPAN.labelled(unlabelled)
    (piece,) = SPAN.encode([unanswerable], xlmr_tokenizer, V2, QA)
    assert piece.target == (0, 0)  # <s>
    plausible = row | {"is_impossible": True, "answers": [{"text": "Ada", "answer_start": 7}]}
    assert SPAN.gold(SPAN.from_row(plausible, V2, "en"), V2) == []


def _v2_prediction(output: list[tuple[float, float]], tokenizer: Any, threshold: float = 0.0) -> dict[str, Any]:
    """For two words: scores of <s>, of both words, and nothing else."""
    e = example("red green", "red")
    settings = dataclasses.replace(QA, null_threshold=threshold)
    (piece,) = SPAN.encode([e], tokenizer, V2, settings)
    scores = np.full((len(piece.rows[0]), 2), -9.0, dtype=np.float32)
    scores[[0, piece.way_back.first, piece.way_back.first + 1]] = output
    (prediction,) = SPAN.decode([e], [piece], [scores], V2, settings)
    assert json.loads(json.dumps(prediction, allow_nan=False)) == prediction
    return dict(prediction)


@pytest.mark.parametrize(
    ("null", "threshold", "text"),
    [(4.0, 0.0, ""), (3.0, 0.0, "green"), (2.0, 0.0, "green"), (2.0, -1.5, ""), (4.0, 1.0, "green")],
)
def test_no_answer_is_said_where_it_scores_higher_by_more_than_the_threshold(
    null: float, threshold: float, text: str, xlmr_tokenizer: Any
) -> None:
    prediction = _v2_prediction([(null, 0.0), (0.0, 0.0), (1.0, 2.0)], xlmr_tokenizer, threshold)
    assert prediction == {"text": text, "span": "green", "null_odds": null - 3.0}


def test_a_context_without_any_span_has_no_answer(xlmr_tokenizer: Any) -> None:
    e = example("", "")
    pieces = SPAN.encode([e], xlmr_tokenizer, V2, QA)
    (prediction,) = SPAN.decode([e], pieces, gold_outputs(pieces), V2, QA)
    assert (prediction["text"], prediction["span"]) == ("", "") and prediction["null_odds"] > 1e6


Scores = st.lists(st.tuples(st.integers(-20, 20), st.integers(-20, 20)), min_size=7, max_size=7)


@given(st.lists(Scores, min_size=1, max_size=3))
def test_null_odds_are_the_lowest_null_score_of_the_windows_minus_the_best_span(scores: list[Any]) -> None:
    """Against a search in plain Python over windows that each show all six words, the first as their best."""
    context = "a b c d e f"
    spans = np.array([(2 * n, 2 * n + 1) for n in range(6)], dtype=np.int32)
    flags = [np.full(6, number == 0) for number in range(len(scores))]
    pieces = [Piece(0, ((0,) * 7,), (0, 0), formats.span.Window(1, spans, best)) for best in flags]
    outputs = [np.array(window, dtype=np.float32) for window in scores]
    (prediction,) = SPAN.decode([example(context, "a")], pieces, outputs, V2, QA)
    first = scores[0]
    best = max(first[s][0] + first[e][1] for s in range(1, 7) for e in range(s, 7))
    null = min(window[0][0] + window[0][1] for window in scores)
    assert prediction["null_odds"] == null - best
    assert prediction["text"] == ("" if null > best else prediction["span"]) and prediction["span"]


def test_a_token_without_characters_is_no_answer(xlmr_tokenizer: Any) -> None:
    e = example("5 ， or", "5")  # the full-width comma is a lone `▁` and `,`
    (piece,) = SPAN.encode([e], xlmr_tokenizer, SQUAD, QA)
    (lone,) = (n for n, (start, end) in enumerate(piece.way_back.spans) if start == end)
    output = np.zeros((len(piece.rows[0]), 2), dtype=np.float32)
    output[piece.way_back.first + lone] = 9.0
    (prediction,) = SPAN.decode([e], [piece], [output], SQUAD, QA)
    assert prediction


# --- windows ---


@given(st.integers(0, 400), st.integers(1, 100), st.integers(1, 150))
def test_windows_cover_all_tokens_and_begin_a_stride_apart(n_tokens: int, room: int, stride: int) -> None:
    bounds = windows(n_tokens, room, stride)
    assert bounds[0][0] == 0 and bounds[-1][1] == n_tokens
    assert all(end - start <= room for start, end in bounds)
    for (start, end), (next_start, next_end) in pairwise(bounds):
        assert start < next_start <= end < next_end
        assert next_start - start == min(stride, room)


@given(st.integers(1, 300), st.integers(4, 80), st.integers(1, 60))
def test_every_token_has_the_most_context_in_exactly_one_window(n_tokens: int, room: int, stride: int) -> None:
    bounds = windows(n_tokens, room, stride)
    owners: list[list[int]] = [[] for _ in range(n_tokens)]
    for number, ((start, _), best) in enumerate(zip(bounds, most_context(bounds), strict=True)):
        for token in np.flatnonzero(best):
            owners[start + int(token)].append(number)
    for token, (owner,) in enumerate(owners):
        scores = [
            min(token - start, end - 1 - token) + 0.01 * (end - start) if start <= token < end else -1.0
            for start, end in bounds
        ]
        assert scores.index(max(scores)) == owner


def test_pieces_of_an_example_follow_each_other(xlmr_tokenizer: Any) -> None:
    examples = [example("one two three " * 400, "two"), example("Rome", "Rome")]
    pieces = SPAN.encode(examples, xlmr_tokenizer, SQUAD, QA)
    found = pieces_of(pieces, 2)
    assert len(found[0]) > 2 and len(found[1]) == 1
    assert [index for of_one in found for index in of_one] == list(range(len(pieces)))


# --- reading ---


def test_an_old_offset_in_a_stripped_context_is_anchored_again() -> None:
    assert anchored("the Nile, the Nile", "Nile", 16) == Answer("Nile", 14)
    assert anchored("the Nile, the Nile", "Nile", 5) == Answer("Nile", 4)
    with pytest.raises(RowError, match="'Rome' is not in its context"):
        anchored("the Nile", "Rome", 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"q\.json:1: not JSON"),
        ('{"data": [{"paragraphs": [{"qas": []}]}]}', ""),
        ('{"daten": []}', r"q\.json:1: not SQuAD's form"),
    ],
)
def test_what_is_not_squads_form_is_refused(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "q.json"
    path.write_text(content)
    if not message:
        assert SPAN.read(path, SQUAD, "en") == []
        return
    with pytest.raises(UserError, match=message):
        SPAN.read(path, SQUAD, "en")


def test_an_answer_that_is_not_there_is_refused_with_its_line(tmp_path: Path) -> None:
    question = {"id": "q7", "question": "Where?", "answers": [{"text": "Rome", "answer_start": 3}]}
    content = {"data": [{"paragraphs": [{"context": "In Oslo.", "qas": [question]}]}]}
    path = tmp_path / "q.json"
    path.write_text(json.dumps(content, indent=1))
    line = path.read_text()[: path.read_text().index('"q7"')].count("\n") + 1
    with pytest.raises(UserError, match=rf"q\.json:{line}: question q7: the answer 'Rome' is not in its context"):
        SPAN.read(path, SQUAD, "en")
