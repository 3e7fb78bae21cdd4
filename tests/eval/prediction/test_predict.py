"""Prediction: the same whatever the batches, in the examples' order, and one path for dev and for evaluation."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eval.prediction import forward, predict
from slurm.base import UserError
from tests.eval.one_language import evaluate_language
from tests.training import stage_data
from tests.training.stage_runs import dev_scorer
from training import formats
from training.data import load
from training.formats.base import Format
from training.model import heads
from training.model.encoder import StageModel
from training.model.parent import read_parent
from training.pretrained import load_tokenizer
from training.spec import DataFile, Runtime, Settings, TaskData, TrainSpec
from training.tasks import Task, find

pytestmark = pytest.mark.slow
SETTINGS = Settings(max_length=64, max_query_length=16, doc_stride=16)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stage_data.write(tmp_path_factory.mktemp("data"), dev=21)


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> StageModel:
    """Fresh heads of all formats, with larger weights than usual, so that predictions differ between examples."""
    made = {}
    for name in ("mnli", "squad", "panx", "copa"):
        task = find(name)
        made[name] = heads.fresh(task.format, len(task.labels), 32, 0.1, 1, name)
        for parameter in made[name].parameters():
            parameter.data *= 50
    return StageModel(read_parent(tiny_model).encoder(), made).eval()


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return load_tokenizer(tiny_model)


def dev(data: Path, name: str) -> tuple[Task, Format[Any], list[Any]]:
    task = find(name)
    return task, formats.get(task.format), list(load.load_training(stage_data.task_data(data, name))[1])


@pytest.mark.parametrize("name", ["mnli", "squad", "panx", "copa"])
def test_batches_do_not_change_outputs(name: str, data: Path, model: StageModel, tokenizer: Any) -> None:
    task, form, examples = dev(data, name)
    pieces = form.encode(examples, tokenizer, task, SETTINGS)
    outputs = [
        predict.head_outputs(model, task.format, name, pieces, Runtime(eval_token_budget=budget))
        for budget in (1, 200, 4096)
    ]
    for one, four, all_ in zip(*outputs, strict=True):
        np.testing.assert_allclose(one, four, atol=1e-4)
        np.testing.assert_allclose(one, all_, atol=1e-4)
    assert any((a.flatten()[:2] != b.flatten()[:2]).any() for a, b in zip(outputs[0], outputs[0][1:], strict=False))


@pytest.mark.parametrize("name", ["mnli", "squad", "panx", "copa"])
def test_predictions_follow_their_examples(name: str, data: Path, model: StageModel, tokenizer: Any) -> None:
    task, _, examples = dev(data, name)
    told = (tokenizer, SETTINGS, Runtime(eval_token_budget=300))
    forwards = evaluate_language(model, task, name, "en", examples, *told).predictions
    backwards = evaluate_language(model, task, name, "en", examples[::-1], *told).predictions
    assert forwards == backwards[::-1] and len(forwards) == len(examples)


def test_languages_together_are_as_each_alone(data: Path, model: StageModel, tokenizer: Any) -> None:
    task, _, examples = dev(data, "squad")
    told = (SETTINGS, Runtime(eval_token_budget=300))
    group = [
        predict.encoded(task, code, some, tokenizer, SETTINGS)
        for code, some in (("en", examples[:5]), ("de", examples[5:]), ("ar", examples[:1]))
    ]
    together = list(predict.evaluate_languages(model, task, "squad", group, *told))
    for one, found in zip(group, together, strict=True):
        alone = evaluate_language(model, task, "squad", one.language, one.examples, tokenizer, *told)
        assert (alone.scores, alone.predictions) == (found.scores, found.predictions)
        assert found.seconds > 0


def test_what_is_called_between_batches_can_end_the_work(data: Path, model: StageModel, tokenizer: Any) -> None:
    task, form, examples = dev(data, "mnli")
    pieces = form.encode(examples, tokenizer, task, SETTINGS)
    calls = []

    def stop_at_the_third() -> None:
        calls.append(torch.is_inference_mode_enabled())
        if len(calls) == 3:
            raise InterruptedError

    model.train()
    with pytest.raises(InterruptedError):
        predict.head_outputs(model, task.format, "mnli", pieces, Runtime(eval_token_budget=1), stop_at_the_third)
    assert calls == [True] * 3 and model.training and not torch.is_inference_mode_enabled()
    model.eval()


@given(st.lists(st.integers(3, 40), max_size=30), st.integers(1, 100))
def test_batches_keep_the_budget_and_have_everything_once(lengths: list[int], budget: int) -> None:
    found = list(forward.batches(lengths, budget))
    assert sorted(index for batch in found for index in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or sum(lengths[index] for index in batch) <= budget for batch in found)
    flat = [lengths[index] for batch in found for index in batch]
    assert flat == sorted(flat, reverse=True)


def test_a_result_has_scores_and_records(data: Path, model: StageModel, tokenizer: Any) -> None:
    task, form, examples = dev(data, "mnli")
    found = evaluate_language(model, task, "mnli", "en", examples, tokenizer, SETTINGS, Runtime())
    right = sum(row["prediction"] == row["gold"] for row in found.predictions)
    assert found.scores == {"accuracy": pytest.approx(100 * right / len(examples))}
    assert [row["id"] for row in found.predictions] == [example.id for example in examples]
    assert [row["gold"] for row in found.predictions] == [form.gold(example, task) for example in examples]


def test_examples_without_a_gold_answer_are_predicted_but_not_scored(
    data: Path, model: StageModel, tokenizer: Any
) -> None:
    task, _, examples = dev(data, "squad")
    told = ("squad", "en", tokenizer, SETTINGS, Runtime())

    def evaluate(some: list[Any]) -> predict.LanguageResult:
        return evaluate_language(model, task, told[0], told[1], some, *told[2:])

    bare = [replace(example, answers=()) for example in examples]
    whole = evaluate(examples)
    mixed = evaluate([*examples, *bare])
    assert mixed.scores == whole.scores and len(mixed.predictions) == 2 * len(examples)
    nothing = evaluate(bare)
    assert nothing.scores == {} and [row["gold"] for row in nothing.predictions] == [None] * len(examples)
    assert [row["prediction"] for row in nothing.predictions] == [row["prediction"] for row in whole.predictions]


def test_dev_is_the_mean_over_tasks_and_leaves_the_model_in_training(
    data: Path, model: StageModel, tiny_model: Path, tokenizer: Any
) -> None:
    parts = tuple(stage_data.task_data(data, name) for name in ("mnli", "panx"))
    score = dev_scorer(TrainSpec(parts, SETTINGS, 1), Runtime(), tiny_model)
    alone = [dev_scorer(TrainSpec((part,), SETTINGS, 1), Runtime(), tiny_model)(model) for part in parts]
    model.train()
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    assert score(model).score == pytest.approx(sum(one.score for one in alone) / 2)
    assert score(model).at_chance == (*alone[0].at_chance, *alone[1].at_chance)
    assert model.training and torch.equal(before, torch.random.get_rng_state())
    model.eval()


def test_bf16_stays_close(data: Path, tiny_model: Path, tokenizer: Any, model: StageModel) -> None:
    task, form, examples = dev(data, "panx")
    pieces = form.encode(examples, tokenizer, task, SETTINGS)
    fp32 = predict.head_outputs(model, task.format, "panx", pieces, Runtime())
    model.bf16 = True
    bf16 = predict.head_outputs(model, task.format, "panx", pieces, Runtime())
    model.bf16 = False
    assert {output.dtype for output in bf16} == {np.dtype(np.float32)}
    difference = max(float(np.abs(a - b).max()) for a, b in zip(fp32, bf16, strict=True))
    assert 0 < difference < 0.05 * max(float(np.abs(a).max()) for a in fp32)


def test_a_missing_head_or_file_is_one_line(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no head for 'mnli'"):
        read_parent(tiny_model, tmp_path).model(("mnli",), SETTINGS, torch.device("cpu"))
    gone = (DataFile(str(tmp_path / "gone.tsv"), "0" * 64),)
    with pytest.raises(UserError, match=r"gone\.tsv"):
        dev_scorer(TrainSpec((TaskData("mnli", gone, gone),), SETTINGS, 1), Runtime(), tiny_model)
