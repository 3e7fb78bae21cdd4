"""Cloze prompts through the packed encoder: as transformers' own masked language model answers them, row by row."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eval.prediction import cloze
from eval.prompts import scoring
from slurm.base import UserError
from training import formats
from training.formats.prompts.cloze import Question, encode
from training.formats.prompts.demonstrations import balanced
from training.formats.prompts.templates import of_task
from training.model.encoder import StageModel
from training.model.parent import Parent, read_parent
from training.pretrained import load_tokenizer
from training.spec import Runtime, Settings
from training.tasks import find

pytestmark = pytest.mark.slow
CPU = torch.device("cpu")
SETTINGS, RUNTIME = Settings(max_length=64), Runtime(eval_token_budget=400)


@pytest.fixture(scope="module")
def parent(tiny_model: Path) -> Parent:
    """Weights so large that examples differ."""
    plain = read_parent(tiny_model)
    width, vocabulary = plain.config.hidden_size, plain.config.vocab_size
    torch.manual_seed(1)
    lm_head = {
        "dense.weight": torch.randn(width, width),
        "dense.bias": torch.randn(width),
        "layer_norm.weight": 5 * torch.randn(width),
        "layer_norm.bias": torch.randn(width),
        "bias": torch.randn(vocabulary),
    }
    return replace(plain, lm_head=lm_head)


@pytest.fixture(scope="module")
def model(parent: Parent) -> StageModel:
    return cloze.model_with_lm_head(parent, SETTINGS, CPU)


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return load_tokenizer(tiny_model)


def examples(name: str, count: int) -> list[Any]:
    task = find(name)
    words = ("the sun", "a small red house", "two rivers and seven trees", "wind", "she waits by the door")
    rows = []
    for number in range(count):
        first, second = words[number % 5], words[number * 2 % 5]
        texts = {"premise": f"{first} {second}.", "hypothesis": f"{second}.", "question": "cause"}
        choices = {"choice1": f"{first}.", "choice2": f"{second} again."}
        label = task.labels[number % len(task.labels)]
        rows.append(texts | choices | {"label": label, "idx": number})
    form = formats.get(task.format)
    return [form.from_row(row, task, "en", number) for number, row in enumerate(rows)]


def transformers_model(parent: Parent) -> Any:
    from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM

    config = XLMRobertaConfig(**vars(parent.config))
    config.tie_word_embeddings = True
    theirs = XLMRobertaForMaskedLM(config).eval()
    theirs.lm_head.layer_norm.eps = 1e-5  # XLM-R's own; the small models' config says 1e-12
    theirs.roberta.load_state_dict(parent.encoder().state_dict(), strict=False)
    for name, tensor in parent.lm_head.items():
        theirs.lm_head.get_parameter(name).data.copy_(tensor)
    theirs.tie_weights()
    return theirs


@pytest.mark.parametrize(("name", "template"), [("xnli", 0), ("xnli", 2), ("xcopa", 0), ("xcopa", 1)])
def test_as_transformers_row_by_row(
    name: str, template: int, parent: Parent, model: StageModel, tokenizer: Any
) -> None:
    """Multi-token answers, demonstrations and several budgets: the same log-probabilities, hence predictions."""
    task, chosen = find(name), of_task(name)[template]
    of_task_examples = examples(name, 9)
    prompts = [chosen.prompt(example, "de") for example in of_task_examples]
    golds = [task.labels.index(example.label) for example in of_task_examples]
    places = balanced([example.label for example in of_task_examples], task.labels, 2, seed=3)
    before = tuple(prompts[place].answered(golds[place]) for place in places)
    theirs = transformers_model(parent)
    questions = [
        Question(example.id, prompt, before) for example, prompt in zip(of_task_examples, prompts, strict=True)
    ]
    expected = np.zeros((9, len(task.labels)))
    with torch.no_grad():
        for piece in encode(questions, tokenizer, SETTINGS.max_length).pieces:
            row = torch.tensor(piece.rows)
            at_masks = theirs(row).logits.log_softmax(-1)[0][row[0] == tokenizer.mask_token_id]
            for label, tokens in zip(piece.way_back.labels, piece.way_back.tokens, strict=True):
                own = at_masks[range(len(tokens)), list(tokens)]
                expected[piece.example, label] = float(own.mean())
    for budget in (1, 400, 10_000):
        runtime = Runtime(eval_token_budget=budget)
        answers = cloze.log_probabilities(model, questions, tokenizer, SETTINGS, runtime)
        np.testing.assert_allclose(scoring.averaged(answers), expected, atol=2e-3)
    result = cloze.evaluate_language(
        model, task, chosen, "en", of_task_examples, tokenizer, SETTINGS, RUNTIME,
        wording="de", demonstrations=[before] * 9,
    )  # fmt: skip
    predicted = [task.labels[place] for place in expected.argmax(axis=1)]
    assert [row["prediction"] for row in result.predictions] == predicted
    right = sum(example.label == label for example, label in zip(of_task_examples, predicted, strict=True))
    assert result.scores == {"accuracy": pytest.approx(100 * right / 9)}
    assert [row["id"] for row in result.predictions] == [example.id for example in of_task_examples]


def test_calibration_takes_a_bias_out(parent: Parent, tokenizer: Any) -> None:
    """A head that is fond of one answer predicts it always; by PMI, what it predicted before. With several inputs that
    say nothing it is not exactly the same, for the bias weighs them anew."""
    task, template = find("xnli"), of_task("xnli")[1]
    some = examples("xnli", 9)
    fond_of = tokenizer("no", add_special_tokens=False).input_ids
    bias = parent.lm_head["bias"].clone()
    bias[fond_of] += 30.0
    biased = replace(parent, lm_head=dict(parent.lm_head) | {"bias": bias})

    def predictions(of_parent: Parent, how: Any) -> list[str]:
        model = cloze.model_with_lm_head(of_parent, SETTINGS, CPU)
        told = (model, task, template, "en", some, tokenizer, SETTINGS, RUNTIME)
        return [row["prediction"] for row in cloze.evaluate_language(*told, calibration=how).predictions]

    assert set(predictions(biased, "none")) == {"contradiction"}
    assert predictions(biased, "pmi") == predictions(parent, "pmi")
    assert len(set(predictions(biased, "contextual"))) > 1


def test_without_a_head_it_is_one_line(tiny_model: Path) -> None:
    with pytest.raises(UserError, match=r"has no masked language model's head .* train `mlm` first\.$"):
        cloze.model_with_lm_head(read_parent(tiny_model), SETTINGS, CPU)
