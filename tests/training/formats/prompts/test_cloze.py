"""Cloze rows: masks for every answer, demonstrations before, and never too long."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm.base import UserError
from training.formats.base import IGNORED
from training.formats.prompts.cloze import Question, _cut, _fitting, encode
from training.formats.prompts.template import Prompt

PROMPT = Prompt("The kite flies . Question: Is it red ? Answer: ", ("yes", "no", "perhaps the red one"), " .")


def tokens(tokenizer: Any, *texts: str) -> list[int]:
    return [token for text in texts for token in tokenizer(text, add_special_tokens=False).input_ids]


def test_a_row_for_every_length_of_answer(xlmr_tokenizer: Any, library_tokenizer: Any) -> None:
    demonstrations = ("The sun is up . Question: Is it dark ? Answer: no .",)
    pieces = encode([Question(n, "a", PROMPT, demonstrations, gold=gold) for n, gold in enumerate((0, 2))],
                    xlmr_tokenizer, 128)  # fmt: skip
    assert [piece.example for piece in pieces] == [0, 0, 1, 1]
    for piece, labels, gold in zip(pieces, [(0, 1), (2,)] * 2, [0, None, None, 2], strict=True):
        answers = [tokens(library_tokenizer, PROMPT.answers[label]) for label in labels]
        masks = [library_tokenizer.mask_token_id] * len(answers[0])
        before = tokens(library_tokenizer, *demonstrations, PROMPT.before.rstrip())
        assert piece.rows == ((0, *before, *masks, *tokens(library_tokenizer, PROMPT.after), 2),)
        assert piece.way_back.labels == labels and [*map(list, piece.way_back.tokens)] == answers
        start = piece.way_back.start
        assert [*piece.rows[0][start : start + piece.way_back.width]] == masks and start == 1 + len(before)
        targets = {place: target for place, target in enumerate(piece.target) if target != IGNORED}
        expected = {} if gold is None else dict(enumerate(answers[labels.index(gold)], start))
        assert targets == expected and len(piece.target) == len(piece.rows[0])


@pytest.mark.parametrize("max_length", [8, 14, 24, 40, 64, 200])
def test_too_long_loses_the_first_demonstrations_and_then_the_far_ends(xlmr_tokenizer: Any, max_length: int) -> None:
    demonstrations = tuple(f"Number {number} is here : yes ." for number in range(4))

    def rows_after(count: int, most: int) -> list[tuple[int, ...]]:
        question = Question(0, "a", PROMPT, demonstrations[4 - count :])
        return [piece.rows[0] for piece in encode([question], xlmr_tokenizer, most)]

    rows, rows_by_count = rows_after(4, max_length), [rows_after(count, 1000) for count in range(5)]
    fitting = [count for count, whole_rows in enumerate(rows_by_count) if max(map(len, whole_rows)) <= max_length]
    for row, whole_row in zip(rows, rows_by_count[max(fitting, default=0)], strict=True):
        assert len(row) <= max_length and (row[0], row[-1]) == (0, 2)
        inside, whole_inside = row[1:-1], whole_row[1:-1]
        starts = range(len(whole_inside) - len(inside) + 1)
        assert any(whole_inside[start:][: len(inside)] == inside for start in starts)  # far ends alone are gone
        assert not fitting or row == whole_row


@given(st.lists(st.integers(1, 9), max_size=8), st.integers(-5, 40))
def test_the_last_demonstrations_that_fit_stay(lengths: list[int], room: int) -> None:
    demonstrations = [[number] * length for number, length in enumerate(lengths)]
    fitting = _fitting(demonstrations, room)
    assert fitting == demonstrations[len(demonstrations) - len(fitting) :]
    assert sum(map(len, fitting)) <= max(room, 0)
    if len(fitting) < len(demonstrations):
        assert sum(map(len, fitting)) + len(demonstrations[-1 - len(fitting)]) > room


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 40))
def test_the_longer_side_gives(before: int, after: int, room: int) -> None:
    """As by taking a token of the longer side again and again."""
    left, right = before, after
    while left + right > room:
        left, right = (left - 1, right) if left > right or (left == right and room % 2 == 0) else (left, right - 1)
    near, far = _cut(list(range(before)), list(range(after)), room)
    assert near == list(range(before))[before - len(near) :] and far == list(range(after))[: len(far)]
    assert len(near) + len(far) == min(room, before + after)
    assert abs(len(near) - left) <= 1 and abs(len(far) - right) <= 1


def test_answers_that_cannot_be_asked_are_one_line(xlmr_tokenizer: Any) -> None:
    with pytest.raises(UserError, match=r"^example 7: an answer is empty; no prompt can be made of it\.$"):
        encode([Question(0, "7", Prompt("a", ("", "b"), ""))], xlmr_tokenizer, 64)
    with pytest.raises(UserError, match=r"^example 7: an answer has \d+ tokens, of 10 in all"):
        encode([Question(0, "7", Prompt("a", ("word " * 30, "b"), ""))], xlmr_tokenizer, 10)
