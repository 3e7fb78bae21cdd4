"""Evaluate stages: languages that share a head together, each published alone, whatever one of them does."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from eval.prediction import stage as stages
from eval.prediction.stage import EvaluateStage
from slurm.base import UserError
from training.data import locate
from training.model import encoder, heads
from training.model.parent import read_parent
from training.spec import DataFile, EvaluateSpec, Runtime, Settings
from training.tasks import find

pytestmark = pytest.mark.slow
CPU, HOW = torch.device("cpu"), Settings(max_length=64)
CODES = ("de", "fr", "zh", "hi")
PANX = find("panx")


@pytest.fixture(scope="module")
def head_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heads")
    head = heads.fresh("tagging", len(PANX.labels), 32, 0.0, 1, "panx")
    head.out.weight.data *= 50  # type: ignore[operator, union-attr]  # predictions that differ
    encoder.save_head(head.state_dict(), encoder.HeadKind("panx", "tagging", PANX.labels, 32, len(PANX.labels)), folder)
    return folder


@pytest.fixture(scope="module")
def spec(shared_data: Path) -> EvaluateSpec:
    splits = locate.find_languages(PANX, shared_data, CODES).found
    return EvaluateSpec("panx", "panx", splits, HOW, max_eval=20)


def made(spec: EvaluateSpec, tiny_model: Path, head_folder: Path, budget: int = 500) -> EvaluateStage:
    return EvaluateStage(spec, Runtime(eval_token_budget=budget), read_parent(tiny_model, head_folder), CPU)


def test_groups_do_not_change_results(
    spec: EvaluateSpec, tiny_model: Path, head_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = list(made(spec, tiny_model, head_folder).languages(CODES))
    assert [code for code, _ in together] == list(CODES)
    monkeypatch.setattr(stages, "_BATCHES", 0)
    alone = list(made(spec, tiny_model, head_folder).languages(CODES))
    for (_, joined), (_, own) in zip(together, alone, strict=True):
        assert (joined.scores, joined.predictions) == (own.scores, own.predictions)
        assert len(joined.predictions) == 20 and joined.seconds > 0
    assert len({tag for _, found in together for row in found.predictions for tag in row["prediction"]}) > 1


def test_a_language_that_does_not_load_is_named_and_the_others_are_there(
    spec: EvaluateSpec, tiny_model: Path, head_folder: Path, tmp_path: Path
) -> None:
    gone = spec.languages | {"fr": (DataFile(str(tmp_path / "gone.tsv"), "0" * 64),)}
    found: dict[str, Any] = {}
    with pytest.raises(UserError, match=r"^language fr: .*gone\.tsv"):
        for code, result in made(replace(spec, languages=gone), tiny_model, head_folder).languages(CODES):
            found[code] = result
    assert list(found) == ["de", "zh", "hi"]


def test_it_can_be_stopped_between_batches_but_not_while_results_wait(
    spec: EvaluateSpec, tiny_model: Path, head_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "_BATCHES", 1)
    stage, calls, found = made(spec, tiny_model, head_folder), [0], []

    def stop() -> None:
        calls[0] += 1
        if len(found) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        for code, _ in stage.languages(CODES, stop):
            found.append(code)
    assert found == ["de", "fr"] and calls[0] >= 5


def test_a_layer_that_the_model_lacks_is_told_at_once(shared_data: Path, tiny_model: Path) -> None:
    splits = locate.find_languages(find("tatoeba"), shared_data, ["de"]).found
    with pytest.raises(UserError, match="layer 9: this model has layers 0"):
        made(EvaluateSpec("tatoeba", None, splits, Settings(layer=9)), tiny_model, tiny_model)
