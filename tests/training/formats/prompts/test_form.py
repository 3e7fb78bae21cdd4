"""Tasks in mode prompt: what is asked of an example, in which rows, and what the answers' likelihoods decide."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from training import formats
from training.formats.base import IGNORED, Piece
from training.formats.prompts.form import Prompted
from training.formats.prompts.templates import named
from training.spec import Settings
from training.tasks import Task, find
from training.tasks.task import Prompting

HOW = Settings(max_length=128)


def prompted(name: str, **prompting: Any) -> Task:
    form = {"sequence": "prompted_pair", "choice": "prompted_choice"}[find(name).format]
    asked_by = Prompting(**{"template_task": name, "templates": ("question", "right")} | prompting)
    return replace(find(name), format=form, metric_family="prompts", prompting=asked_by)


def form_of(task: Task) -> Prompted:
    form = formats.get(task.format)
    assert isinstance(form, Prompted)
    return form


def pairs(task: Task, count: int = 4, language: str = "en") -> list[Any]:
    rows = [
        {"premise": f"Kite {n} flies.", "hypothesis": f"Boat {n} sinks.", "label": task.labels[n % 3]}
        for n in range(count)
    ]
    return [form_of(task).from_row(row, task, language, place) for place, row in enumerate(rows)]


def choices(task: Task) -> list[Any]:
    rows = [
        {"premise": f"The sun {n} rose.", "question": "effect", "choice1": "It was light.",
         "choice2": "All the small birds began to sing again.", "label": n % 2, "idx": n}
        for n in range(2)
    ]  # fmt: skip
    return [form_of(task).from_row(row, task, "en", place) for place, row in enumerate(rows)]


def likely(pieces: list[Piece], label_of: Any, content_label: int | None = None, other: float = -3.0) -> list[Any]:
    """Outputs by which `label_of(piece)` is the likeliest; of what says nothing `content_label`."""
    outputs = []
    for piece in pieces:
        of_piece = piece.way_back
        best = label_of(piece) if of_piece.content == 0 else content_label
        of_tokens = [[-1.0 if label == best else other] * of_piece.width for label in of_piece.labels]
        outputs.append(np.array(of_tokens, np.float32).reshape(-1))
    return outputs


def test_every_template_asks_and_predicts_for_itself(xlmr_tokenizer: Any) -> None:
    task = prompted("xnli")
    examples = pairs(task)
    pieces = form_of(task).encode(examples, xlmr_tokenizer, task, HOW)
    asked_for = {(piece.example, piece.way_back.template, label) for piece in pieces for label in piece.way_back.labels}
    assert asked_for == {(n, template, label) for n in range(4) for template in (0, 1) for label in (0, 1, 2)}

    def label_of(piece: Piece) -> int:
        return (piece.example + piece.way_back.template) % 3

    predictions = form_of(task).decode(examples, pieces, likely(pieces, label_of), task, HOW)
    assert predictions == [[task.labels[n % 3], task.labels[(n + 1) % 3]] for n in range(4)]


def test_training_takes_the_right_answer_in_the_first_template(xlmr_tokenizer: Any, library_tokenizer: Any) -> None:
    task = prompted("xcopa", templates=("connector", "choices"))
    examples = choices(task)
    form = form_of(task)
    pieces = form.encode(examples, xlmr_tokenizer, task, HOW)
    trained_pieces = [piece for piece in pieces if form.trains_on(piece)]
    assert [piece.example for piece in trained_pieces] == [0, 1]
    for piece, answer in zip(
        trained_pieces, ["it was light.", "all the small birds began to sing again."], strict=True
    ):
        target_tokens = [target for target in piece.target if target != IGNORED]
        assert target_tokens == library_tokenizer(answer, add_special_tokens=False).input_ids
        assert piece.way_back.template == 0 and form.count(piece) == len(target_tokens)


def test_demonstrations_come_before_in_the_same_template_and_language(
    xlmr_tokenizer: Any, library_tokenizer: Any
) -> None:
    task = prompted("xnli", language="target")
    examples = pairs(task, language="de")
    shown_before = tuple(pairs(task)[:2])
    pieces = form_of(task).encode_after(examples, [shown_before] * 4, xlmr_tokenizer, task, HOW)
    for piece in pieces:
        template = named("xnli", task.prompting.templates[piece.way_back.template])  # type: ignore[union-attr]
        texts = [template.prompt(pair, "de").answered(place) for place, pair in enumerate(shown_before)]
        tokens = [token for ids in library_tokenizer(texts, add_special_tokens=False).input_ids for token in ids]
        assert list(piece.rows[0][1 : 1 + len(tokens)]) == tokens


@pytest.mark.parametrize(("calibration", "inputs"), [("pmi", 1), ("contextual", 2)])
def test_what_says_nothing_is_asked_once_where_it_is_the_same(
    calibration: str, inputs: int, xlmr_tokenizer: Any
) -> None:
    task = prompted("xnli", calibration=calibration)
    examples = pairs(task)
    form = form_of(task)
    pieces = form.encode(examples, xlmr_tokenizer, task, HOW)
    contents = {(piece.example, piece.way_back.content) for piece in pieces if piece.way_back.content}
    assert contents == {(0, content) for content in range(1, inputs + 1)}
    # The likelihoods that all examples have are those of what says nothing, too: then every label is as likely.
    even = form.decode(examples, pieces, likely(pieces, lambda piece: 2, content_label=2), task, HOW)
    assert even == [[task.labels[0]] * 2] * 4
    plain = form.decode(examples, pieces, likely(pieces, lambda piece: 1, content_label=2), task, HOW)
    assert plain == [[task.labels[1]] * 2] * 4
    # Where every example has demonstrations of its own, each has its own of these.
    own_pieces = form.encode_after(examples, [(example,) for example in examples], xlmr_tokenizer, task, HOW)
    assert {piece.example for piece in own_pieces if piece.way_back.content} == set(range(4))


def test_choices_say_nothing_each_for_itself(xlmr_tokenizer: Any) -> None:
    task = prompted("xcopa", templates=("connector",), calibration="pmi")
    pieces = form_of(task).encode(choices(task), xlmr_tokenizer, task, HOW)
    assert {piece.example for piece in pieces if piece.way_back.content} == {0, 1}


def test_the_sum_is_against_long_answers(xlmr_tokenizer: Any) -> None:
    mean, total = (prompted("xcopa", templates=("connector",), answer_score=how) for how in ("mean", "sum"))
    examples = choices(mean)
    pieces = form_of(mean).encode(examples, xlmr_tokenizer, mean, HOW)
    outputs = likely(pieces, lambda piece: 1, other=-1.2)  # tokens of the long answer are likelier
    short, long = sorted(piece.way_back.width for piece in pieces if piece.example == 0)
    assert long > 1.2 * short
    assert form_of(mean).decode(examples, pieces, outputs, mean, HOW) == [["choice2"]] * 2
    assert form_of(total).decode(examples, pieces, outputs, total, HOW) == [["choice1"]] * 2
