"""Prefixes and continuations for a causal language model: tokenised as lm-evaluation-harness tokenises them."""

from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm.base import UserError
from tests.causal_models import SENTENCES, tokenizer_of_bytes, tokenizer_of_pieces
from training.formats.prompts import causal
from training.formats.prompts.cloze import Question
from training.formats.prompts.template import Prompt

TOKENIZERS = {"bytes": cache(tokenizer_of_bytes), "pieces": cache(tokenizer_of_pieces)}
TEXTS = st.lists(
    st.sampled_from(" \n.,?") | st.sampled_from([word for text in SENTENCES for word in text.split()]), max_size=6
).map("".join)


def harness(tokenizer: Any, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """lm-evaluation-harness 0.4.13: `loglikelihood` and `_encode_pair` of lm_eval/api/model.py, put together."""
    if not context.strip():  # theirs has no context of white space alone
        first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        tokens = tokenizer.encode(context + continuation, add_special_tokens=False)
        return [first], tokens[1:] if tokens[:1] == [first] else tokens
    spaces = len(context) - len(context.rstrip())
    if spaces > 0:
        continuation, context = context[-spaces:] + continuation, context[:-spaces]
    prefix = tokenizer.encode(context)
    return prefix, tokenizer.encode(context + continuation)[len(prefix) :]


@pytest.mark.slow
@pytest.mark.parametrize("kind", TOKENIZERS)
@given(TEXTS, st.lists(TEXTS.filter(str.strip), min_size=1, max_size=3), st.sampled_from(["", ".", " again"]))
def test_as_the_harness_encodes_pairs(kind: str, before: str, answers: list[str], after: str) -> None:
    tokenizer = TOKENIZERS[kind]()
    pairs = [harness(tokenizer, before, answer + after) for answer in answers]
    question = Question(0, "7", Prompt(before, tuple(answers), after))
    if not all(tokens for _, tokens in pairs):
        with pytest.raises(UserError, match="example 7: an answer has no token of its own"):
            causal.encode([question], tokenizer, 1000)
        return
    rows = causal.encode([question], tokenizer, 1000)
    assert [(list(rows.prefixes[0]), list(tokens)) for tokens in rows.continuations[0]] == pairs


def test_spaces_are_the_answers_and_a_tokenizers_specials_stand_first() -> None:
    question = Question(0, "1", Prompt("The glass fell. Answer: ", ("Yes", "No"), "."))
    rows = causal.encode([question], tokenizer_of_bytes(), 100)
    tokenizer = tokenizer_of_bytes()
    assert tokenizer.decode(rows.prefixes[0]) == "The glass fell. Answer:"
    assert [tokenizer.decode(tokens) for tokens in rows.continuations[0]] == [" Yes.", " No."]
    assert causal.encode([question], tokenizer_of_pieces(), 100).prefixes[0][0] == 2


def test_a_whole_text_follows_what_stands_for_none() -> None:
    question = Question(0, "1", Prompt("The glass fell, right? ", ("Yes", "No"), ", it broke."))
    for tokenizer, first in ((tokenizer_of_bytes(), 0), (tokenizer_of_pieces(), 0)):
        rows = causal.encode([question], tokenizer, 100, whole_after=" ")
        assert rows.prefixes == ((first,),)
        assert tokenizer.decode(rows.continuations[0][1]).strip() == "The glass fell, right? No, it broke."


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_the_first_demonstrations_go_where_there_is_no_room(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]()
    demonstrations = tuple(f"The table fell, right? {answer}." for answer in ("Yes", "No", "Yes", "Also"))
    question = Question(0, "1", Prompt("The glass fell, right? ", ("Yes", "No, nobody saw it"), "."), demonstrations)

    def length(count: int, answer: str) -> int:
        return len(tokenizer.encode("\n\n".join([*demonstrations[4 - count :], f"The glass fell, right? {answer}."])))

    for count in range(5):
        window = length(count, "No, nobody saw it") - 1  # the last token is not read
        rows = causal.encode([question, Question(0, "2", question.prompt)], tokenizer, window)
        assert rows.demonstrations == (count, 0)
        assert len(rows.prefixes[0]) + len(rows.continuations[0][0]) == length(count, "Yes")
        if count:
            assert causal.encode([question], tokenizer, window - 1).demonstrations == (count - 1,)


def test_contexts_leave_room_for_what_is_generated() -> None:
    tokenizer = tokenizer_of_bytes()
    demonstration, prompt = "Question: who? Answer: nobody", Prompt("Question: who saw it? Answer: ", ("nobody",), "")
    question = Question(0, "1", prompt, (demonstration,))
    whole = tokenizer.encode(f"{demonstration}\n\nQuestion: who saw it? Answer:")
    rows = causal.contexts([question], tokenizer, len(whole) + 5, max_tokens=5)
    assert (list(rows.prefixes[0]), rows.demonstrations, rows.continuations) == (whole, (1,), ((),))
    rows = causal.contexts([question], tokenizer, len(whole) + 5, max_tokens=6)
    assert (list(rows.prefixes[0]), rows.demonstrations) == (tokenizer.encode("Question: who saw it? Answer:"), (0,))


def test_a_generated_answer_is_its_first_line() -> None:
    tokenizer = tokenizer_of_bytes()
    tokens = tokenizer.encode(" nobody\n\nQuestion: who")
    assert causal.answer_text(tokens, tokenizer) == "nobody" and causal.is_over(tokens, tokenizer)
    assert not causal.is_over(tokenizer.encode(" nobody"), tokenizer)
    assert causal.answer_text([], tokenizer) == ""


def test_what_no_prompt_can_be_made_of() -> None:
    tokenizer = tokenizer_of_bytes()
    question = Question(0, "9", Prompt("The ", ("glass fell off the table",), ""))
    with pytest.raises(UserError, match="example 9: an answer has 15 tokens, of 5 in all"):
        causal.encode([question], tokenizer, 5)
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="neither a BOS nor an EOS token"):
        causal.encode([question], tokenizer, 50, whole_after="")
