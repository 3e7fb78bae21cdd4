"""Prompts answered by causal models: with shared keys and values as by whole rows, whatever the family."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from eval.prediction import predict
from eval.prediction.forward import by_length
from tests.causal_folders import write_causal
from training import formats
from training.formats.prompts.form import Prompted
from training.model import heads
from training.model.parent import LANGUAGE_MODEL, Parent, read_parent
from training.pretrained.tokenizer import Tokenizer
from training.spec import Runtime, Settings
from training.tasks import Task, find
from training.tasks.task import Prompting

pytestmark = pytest.mark.slow
HOW = Settings(max_length=160)
FORM = formats.get("prompted_pair")
assert isinstance(FORM, Prompted)


@pytest.fixture(scope="module", params=["xglm", "bloom", "qwen2"])
def parent(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parent]:
    yield read_parent(write_causal(tmp_path_factory.mktemp(request.param), request.param))


def prompted(**prompting: Any) -> Task:
    asked_by = Prompting("xnli", ("question", "right"), **prompting)
    return replace(find("xnli"), format="prompted_pair", metric_family="prompts", prompting=asked_by)


def pairs(task: Task, count: int) -> list[Any]:
    rows = [
        {"premise": f"Anna lives in {n} Paris." * (1 + n % 2), "hypothesis": f"Ben {n}.", "label": task.labels[n % 3]}
        for n in range(count)
    ]
    return [FORM.from_row(row, task, "en", place) for place, row in enumerate(rows)]


def test_shared_beginnings_change_nothing(parent: Parent) -> None:
    task = prompted(calibration="pmi")
    examples = pairs(task, 5)
    tokenizer = Tokenizer(parent.folder)
    pieces = FORM.encode_after(examples, [tuple(examples[:2])] * 5, tokenizer, task, HOW)
    assert {label for piece in pieces for label in piece.way_back.labels} == {0, 1, 2}
    model = parent.language_model(HOW, torch.device("cpu"))
    whole_rows = by_length(
        model, task.format, pieces, 700,
        lambda batch: model(batch, LANGUAGE_MODEL), lambda logits, batch: heads.unbatch(task.format, logits, batch),
    )  # fmt: skip
    for budget in (200, 10_000):
        runtime = Runtime(eval_token_budget=budget)
        outputs = predict.head_outputs(model, task.format, LANGUAGE_MODEL, pieces, runtime)
        for of_piece, of_whole_row in zip(outputs, whole_rows, strict=True):
            np.testing.assert_allclose(of_piece, of_whole_row, atol=2e-4)
    language = predict.encoded_as("en", examples, pieces)
    (result,) = predict.evaluate_languages(model, task, LANGUAGE_MODEL, [language], HOW, Runtime())
    assert [row["prediction"] for row in result.predictions] == FORM.decode(examples, pieces, whole_rows, task, HOW)


def test_training_takes_the_gold_answer_behind_its_prompt(parent: Parent) -> None:
    task = prompted()
    examples = pairs(task, 3)
    tokenizer = Tokenizer(parent.folder)
    pieces = FORM.encode(examples, tokenizer, task, HOW)
    trained_pieces = [piece for piece in pieces if FORM.trains_on(piece)]
    assert [piece.example for piece in trained_pieces] == [0, 1, 2]
    for piece, word in zip(trained_pieces, (" right .", " maybe .", " wrong ."), strict=True):
        start = piece.way_back.start
        assert tokenizer.decode(piece.rows[0][start:]) == word and piece.target[start:] == piece.rows[0][start:]
        assert FORM.count(piece) == len(piece.rows[0]) - start
