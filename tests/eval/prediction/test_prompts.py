"""Prompts through the packed encoder: as transformers' own masked language model answers them, row by row."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eval.prediction import predict
from eval.prediction.demonstrations import Demonstrations
from eval.prediction.stage import EvaluateStage
from slurm.base import UserError
from training import formats
from training.data.locate import sha256_of_content
from training.formats.prompts.form import Prompted
from training.model.parent import LANGUAGE_MODEL, Parent, read_parent
from training.pretrained.tokenizer import Tokenizer
from training.spec import DataFile, EvaluateSpec, Runtime, Settings, TaskData
from training.tasks import Task, catalogue, find
from training.tasks.task import Prompting

pytestmark = pytest.mark.slow
CPU = torch.device("cpu")
HOW = Settings(max_length=64)
TASKS = {
    "xnli": ("question", "quoted"),
    "xcopa": ("connector", "choices"),
}


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


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return Tokenizer(tiny_model)


@pytest.fixture(autouse=True)
def nothing_stays_registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(catalogue, "_REGISTERED", {})
    yield


def prompted(name: str, **prompting: Any) -> Task:
    form = {"sequence": "prompted_pair", "choice": "prompted_choice"}[find(name).format]
    asked_by = Prompting(**{"template_task": name, "templates": TASKS[name]} | prompting)
    task = replace(find(name), name="mine", format=form, metric_family="prompts", prompting=asked_by)
    catalogue.register(task)
    return find("mine")


def form_of(task: Task) -> Prompted:
    form = formats.get(task.format)
    assert isinstance(form, Prompted)
    return form


def examples(task: Task, count: int) -> list[Any]:
    words = ("the sun", "a small red house", "two rivers and seven trees", "wind", "she waits by the door")
    rows = []
    for number in range(count):
        first, second = words[number % 5], words[number * 2 % 5]
        texts = {"premise": f"{first} {second}.", "hypothesis": f"{second}.", "question": "cause"}
        choices = {"choice1": f"{first}.", "choice2": f"{second} again."}
        label = task.labels[number % len(task.labels)]
        rows.append(texts | choices | {"label": label, "idx": number})
    return [form_of(task).from_row(row, task, "en", number) for number, row in enumerate(rows)]


@pytest.mark.parametrize("name", TASKS)
def test_as_transformers_row_by_row(name: str, parent: Parent, transformers_model: Any, tokenizer: Any) -> None:
    """Multi-token answers, demonstrations and several budgets: the same log-probabilities, hence predictions."""
    task = prompted(name, language="target")
    some = examples(task, 6)
    pieces = form_of(task).encode_after(some, [tuple(some[:2])] * 6, tokenizer, task, HOW)
    expected = []
    with torch.no_grad():
        for piece in pieces:
            row = torch.tensor(piece.rows)
            at_masks = transformers_model(row).logits.log_softmax(-1)[0][row[0] == tokenizer.mask_token_id]
            expected.append(np.concatenate([at_masks[range(len(a)), list(a)].numpy() for a in piece.way_back.tokens]))
    model = parent.language_model(HOW, CPU)
    for budget in (100, 10_000):
        outputs = predict.head_outputs(model, task.format, LANGUAGE_MODEL, pieces, Runtime(eval_token_budget=budget))
        for of_piece, expected_of_piece in zip(outputs, expected, strict=True):
            np.testing.assert_allclose(of_piece, expected_of_piece, atol=2e-3)
    of_language = predict.encoded_as("en", some, pieces)
    (result,) = predict.evaluate_languages(model, task, LANGUAGE_MODEL, [of_language], HOW, Runtime())
    predictions = form_of(task).decode(some, pieces, expected, task, HOW)
    assert [row["prediction"] for row in result.predictions] == predictions
    right = [example.label == label for example, labels in zip(some, predictions, strict=True) for label in labels]
    assert result.scores["accuracy"] == pytest.approx(100 * np.mean(right))


def test_calibration_takes_a_bias_out(parent: Parent, tokenizer: Any) -> None:
    """A head that is fond of one answer predicts it always; by PMI, what it predicted before. With several inputs that
    say nothing it is not exactly the same, for the bias weighs them anew."""
    fond_of = tokenizer.encode("no", add_special_tokens=False)
    bias = parent.lm_head["bias"].clone()
    bias[fond_of] += 30.0
    biased = replace(parent, lm_head=dict(parent.lm_head) | {"bias": bias})

    def predictions(of_parent: Parent, calibration: str) -> list[list[str]]:
        task = prompted("xnli", templates=("question-yes",), calibration=calibration)
        of_language = predict.encoded(task, "en", examples(task, 9), tokenizer, HOW)
        model = of_parent.language_model(HOW, CPU)
        (result,) = predict.evaluate_languages(model, task, LANGUAGE_MODEL, [of_language], HOW, Runtime())
        return [row["prediction"] for row in result.predictions]

    assert predictions(biased, "none") == [["contradiction"]] * 9
    assert predictions(biased, "pmi") == predictions(parent, "pmi")
    assert len({label for (label,) in predictions(biased, "contextual")}) > 1


def test_without_a_head_it_is_one_line(tiny_model: Path) -> None:
    with pytest.raises(UserError, match=r"has no masked language model's head .* train `mlm` first\.$"):
        read_parent(tiny_model).language_model(HOW, CPU)


# --- demonstrations, from files


@pytest.fixture
def training_data(tmp_path: Path) -> TaskData:
    lines = [f"Text {n} of {n * 7} words.\tIt is {n}.\t{label}\n" for n in range(5)
             for label in ("entailment", "neutral", "contradiction")]  # fmt: skip
    path = tmp_path / "train.tsv"
    path.write_text("".join(lines))
    split = (DataFile(str(path), sha256_of_content(path)),)
    return TaskData("mnli", split, split)


def spec(training_data: TaskData, tmp_path: Path, seed: int) -> EvaluateSpec:
    path = tmp_path / "test.tsv"
    path.write_text("".join(f"Satz {n} hat Worte.\tEs ist {n}.\tneutral\n" for n in range(6)))
    languages = {"de": (DataFile(str(path), sha256_of_content(path)),)}
    return EvaluateSpec("mine", None, languages, HOW, demonstrations=training_data, seed=seed)


def test_balanced_ones_are_the_same_before_all_examples_and_others_with_another_seed(
    parent: Parent, tokenizer: Any, training_data: TaskData, tmp_path: Path
) -> None:
    task = prompted("xnli", demonstrations=3, demonstration_task="mnli")
    model = parent.language_model(HOW, CPU)
    some = examples(task, 4)

    def before(seed: int) -> list[tuple[Any, ...]]:
        return Demonstrations(model, task, tokenizer, spec(training_data, tmp_path, seed), Runtime())._shown(some)

    assert len(set(before(1))) == 1
    assert sorted(example.label for example in before(1)[0]) == sorted(task.labels)
    assert before(1) == before(1) != before(2)


def test_the_nearest_is_the_example_itself_where_it_is_there(
    parent: Parent, tokenizer: Any, training_data: TaskData, tmp_path: Path
) -> None:
    task = prompted("xnli", demonstrations=2, demonstration_task="mnli", demonstration_choice="nearest")
    demonstrations = Demonstrations(
        parent.language_model(HOW, CPU), task, tokenizer, spec(training_data, tmp_path, 1), Runtime()
    )
    candidates = demonstrations._candidates
    assert len(candidates) == 15
    shown = demonstrations._shown(candidates)
    assert all(texts[-1].first == example.first for texts, example in zip(shown, candidates, strict=True))


def test_a_stage_evaluates_with_them(parent: Parent, training_data: TaskData, tmp_path: Path) -> None:
    prompted("xnli", demonstrations=3, demonstration_task="mnli")
    stage = EvaluateStage(spec(training_data, tmp_path, 1), Runtime(), parent, CPU)
    ((code, result),) = stage.languages(["de"])
    assert code == "de" and len(result.predictions) == 6
    assert all(len(row["prediction"]) == 2 for row in result.predictions)
    assert result.scores["majority"] == 100.0 and result.scores["chance"] == 100.0
