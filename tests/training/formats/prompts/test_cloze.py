"""Cloze rows: masks for every answer, demonstrations before, and never too long."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm.base import UserError
from training.formats.base import IGNORED
from training.formats.prompts.cloze import Question, _cut, encode
from training.formats.prompts.template import Prompt

PROMPT = Prompt("The kite flies . Question: Is it red ? Answer: ", ("yes", "no", "perhaps the red one"), " .")


def tokens(tokenizer: Any, *texts: str) -> list[int]:
    return [token for text in texts for token in tokenizer(text, add_special_tokens=False).input_ids]


def test_a_row_for_every_length_of_answer(xlmr_tokenizer: Any, library_tokenizer: Any) -> None:
    demonstrations = ("The sun is up . Question: Is it dark ? Answer: no .",)
    cloze = encode([Question("a", PROMPT, demonstrations)] * 2, xlmr_tokenizer, 128)
    assert cloze.demonstrations == (1, 1) and [piece.example for piece in cloze.pieces] == [0, 0, 1, 1]
    for piece, labels in zip(cloze.pieces, [(0, 1), (2,)] * 2, strict=True):
        answers = [tokens(library_tokenizer, PROMPT.answers[label]) for label in labels]
        masks = [library_tokenizer.mask_token_id] * len(answers[0])
        before = tokens(library_tokenizer, *demonstrations, PROMPT.before.rstrip())
        assert piece.rows == ((0, *before, *masks, *tokens(library_tokenizer, PROMPT.after), 2),)
        assert piece.way_back.labels == labels and [*map(list, piece.way_back.tokens)] == answers
        asked = [place for place, target in enumerate(piece.target) if target != IGNORED]
        assert [piece.rows[0][place] for place in asked] == masks and len(piece.target) == len(piece.rows[0])


@pytest.mark.parametrize("max_length", [8, 14, 24, 40, 64, 200])
def test_too_long_loses_the_first_demonstrations_and_then_the_far_ends(xlmr_tokenizer: Any, max_length: int) -> None:
    demonstrations = tuple(f"Number {number} is here : yes ." for number in range(4))
    cloze = encode([Question("a", PROMPT, demonstrations)], xlmr_tokenizer, max_length)
    whole = encode([Question("a", PROMPT, demonstrations)], xlmr_tokenizer, 1000)
    (shown,) = cloze.demonstrations
    of_last = encode([Question("a", PROMPT, demonstrations[4 - shown :])], xlmr_tokenizer, 1000)
    for row, last_row in zip((piece.rows[0] for piece in cloze.pieces), of_last.pieces, strict=True):
        assert len(row) <= max_length and (row[0], row[-1]) == (0, 2)
        inside, last_inside = row[1:-1], last_row.rows[0][1:-1]
        starts = range(len(last_inside) - len(inside) + 1)
        assert any(last_inside[start:][: len(inside)] == inside for start in starts)  # far ends alone are gone
    if shown < 4:
        assert max(len(piece.rows[0]) for piece in whole.pieces) > max_length


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
        encode([Question("7", Prompt("a", ("", "b"), ""))], xlmr_tokenizer, 64)
    with pytest.raises(UserError, match=r"^example 7: an answer has \d+ tokens, of 10 in all"):
        encode([Question("7", Prompt("a", ("word " * 30, "b"), ""))], xlmr_tokenizer, 10)
