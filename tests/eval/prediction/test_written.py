"""Answers that a causal model writes: as transformers' own greedy generation has them, scored as spans are."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from eval import metrics
from eval.prediction import written
from slurm.base import UserError
from tests.causal_folders import write_causal
from training import formats
from training.formats.answers import Answer
from training.formats.span import Example
from training.model.parent import read_parent
from training.pretrained.tokenizer import Tokenizer
from training.spec import Runtime, Settings
from training.tasks import find
from training.tasks.task import Prompting

pytestmark = pytest.mark.slow
HOW = Settings(max_length=200, max_answer_length=6)
TASK = replace(find("xquad"), format="prompted_span", prompting=Prompting("xquad", ("context",), language="target"))
EXAMPLES = [
    Example(
        id=str(n), language="de", group="", question=f"Where does Anna {n} live?",
        context="Anna lives in Paris. " * (1 + n * 3), answers=(Answer("Paris", 14),),
    )
    for n in range(4)
]  # fmt: skip


def test_as_transformers_generates(tmp_path: Path) -> None:
    parent = read_parent(write_causal(tmp_path / "model"))
    tokenizer, model = Tokenizer(parent.folder), parent.language_model(HOW, torch.device("cpu"))
    pieces = formats.get("prompted_span").encode(EXAMPLES, tokenizer, TASK, HOW)
    assert all(len(piece.rows[0]) <= HOW.max_length - HOW.max_answer_length for piece in pieces)
    assert "Kontext: Anna lives in Paris." in tokenizer.decode(pieces[0].rows[0])
    assert all(tokenizer.decode(piece.rows[0]).endswith("Antwort:") for piece in pieces)
    passes: list[None] = []
    result = written.evaluate_language(
        model, TASK, "de", EXAMPLES, tokenizer, HOW, Runtime(eval_token_budget=500), lambda: passes.append(None)
    )
    assert len(passes) > 1  # between forward passes a job may be asked to stop
    expected = []
    for piece in pieces:
        row = torch.tensor(piece.rows)
        theirs = model.encoder.language_model.generate(
            row, attention_mask=torch.ones_like(row), max_new_tokens=6, do_sample=False, pad_token_id=0
        )
        expected.append(tokenizer.decode(theirs[0, row.shape[1] :], skip_special_tokens=True).split("\n")[0].strip())
    predictions = [row["prediction"] for row in result.predictions]
    assert predictions == expected and any(expected)
    assert result.scores == metrics.score("squad", [["Paris"]] * 4, predictions, "de")


def test_a_masked_model_writes_nothing(tiny_model: Path) -> None:
    with pytest.raises(UserError, match=r"task xquad: its answers are written, which takes a causal language model"):
        formats.get("prompted_span").encode(EXAMPLES, Tokenizer(tiny_model), TASK, HOW)
