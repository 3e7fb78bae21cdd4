"""Train stages of the tasks that are not one labelled set under one head: MLM, ANLI+, dual encoders, mixtures."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training import stage_data
from tests.training.stage_runs import dev_scorer, run_here, steps
from training.model.encoder import load_head
from training.model.parent import read_parent
from training.spec import Runtime, Settings, TaskData, TrainSpec
from training.tensors import read_tensors, write_tensors

pytestmark = pytest.mark.slow
QUICK = {"learning_rate": 1e-3, "epochs": 2, "global_batch_size": 8, "max_length": 64, "max_query_length": 16}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stage_data.write(tmp_path_factory.mktemp("data"))


def parts_of(data: Path, *tasks: str, head: str = "") -> tuple[TaskData, ...]:
    from dataclasses import replace

    return tuple(replace(stage_data.task_data(data, task), head=head) for task in tasks)


def run(
    parts: tuple[TaskData, ...], parent: Path, out: Path, runtime: dict[str, Any] | None = None, **settings: Any
) -> dict[str, Any]:
    spec = TrainSpec(parts, Settings(**(QUICK | settings)), 1)
    told = Runtime(**({"device": "cpu", "token_budget": 256} | (runtime or {})))
    return run_here(spec, told, parent, out, dev_score=dev_scorer(spec, told, parent))


def losses(out: Path) -> list[float]:
    return [line["loss"] for line in steps(out)]


def test_masked_language_modelling_learns_on_any_zero_stage(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    told = {"mask_probability": 0.3, "dropout": 0.0, "epochs": 3}
    for zero in (0, 3):
        facts = run(parts_of(data, "mlm"), tiny_model, tmp_path / str(zero), {"zero": zero}, **told)
        assert facts["dev_scores"][-1] > facts["dev_scores"][0] - 1e-9
    first, last = losses(tmp_path / "0")[:3], losses(tmp_path / "0")[-3:]
    assert sum(last) < sum(first)
    assert losses(tmp_path / "0") == pytest.approx(losses(tmp_path / "3"), rel=1e-4)
    kind, _ = load_head(tmp_path / "0" / "heads", "mlm")
    assert kind.outputs == read_parent(tiny_model).encoder().config.vocab_size
    assert not any("embeddings" in name for name in read_tensors(tmp_path / "0" / "heads" / "mlm.safetensors"))


def test_a_start_models_own_lm_head_is_gone_on_with_also_after_another_step(
    data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    parent = tmp_path / "parent"
    shutil.copytree(tiny_model, parent)
    width, vocabulary = 32, read_parent(tiny_model).encoder().config.vocab_size
    own = {
        "lm_head.dense.weight": torch.eye(width),
        "lm_head.dense.bias": torch.zeros(width),
        "lm_head.layer_norm.weight": torch.full((width,), 2.0),
        "lm_head.layer_norm.bias": torch.zeros(width),
        "lm_head.bias": torch.zeros(vocabulary),
    }
    tensors = {f"roberta.{name}": tensor for name, tensor in read_tensors(parent / "model.safetensors").items()}
    write_tensors(parent / "model.safetensors", tensors | own)
    run(parts_of(data, "mlm"), parent, tmp_path / "out", learning_rate=1e-9, epochs=1)
    run(parts_of(data, "mnli"), parent, tmp_path / "mnli", learning_rate=1e-9, epochs=1)
    run(parts_of(data, "mlm"), tmp_path / "mnli" / "encoder", tmp_path / "later", learning_rate=1e-9, epochs=1)
    for stage in ("out", "later"):
        head = read_tensors(tmp_path / stage / "heads" / "mlm.safetensors")
        torch.testing.assert_close(head["dense.weight"], torch.eye(width))
        torch.testing.assert_close(head["layer_norm.weight"], torch.full((width,), 2.0))


def test_an_altclips_projection_is_handed_on_from_step_to_step(data: Path, altclip_model: Path, tmp_path: Path) -> None:
    own = read_parent(altclip_model)
    run(parts_of(data, "mnli"), altclip_model, tmp_path / "first", epochs=1)
    run(parts_of(data, "mnli"), tmp_path / "first" / "encoder", tmp_path / "second", epochs=1)
    last = read_parent(tmp_path / "second" / "encoder")
    assert last.encoder_hash != own.encoder_hash and last.projection.keys() == own.projection.keys()
    assert all(torch.equal(tensor, own.projection[name]) for name, tensor in last.projection.items())


def test_anli_plus_trains_one_head_on_three_sources(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    facts = run(parts_of(data, "snli", "mnli", "anli", head="anli_plus"), tiny_model, tmp_path / "out")
    assert {line["task"] for line in steps(tmp_path / "out")} == {"snli", "mnli", "anli"}
    assert [path.name for path in (tmp_path / "out" / "heads").glob("*.safetensors")] == ["anli_plus.safetensors"]
    assert facts["steps"] == 2 * (2 + 4 + 4)


def test_a_mixture_with_mlm_gives_every_head_its_gradients(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    for zero in (0, 2):
        run(
            parts_of(data, "mlm", "mnli"), tiny_model, tmp_path / str(zero), {"zero": zero},
            sampling="uniform", dropout=0.0,
        )  # fmt: skip
    assert {line["task"] for line in steps(tmp_path / "0")} == {"mlm", "mnli"}
    assert losses(tmp_path / "0") == pytest.approx(losses(tmp_path / "2"), rel=1e-4)


def test_contrasts_do_not_depend_on_the_micro_batch(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    for budget in (8, 4096):
        told = {"token_budget": budget}
        facts = run(parts_of(data, "squad_retrieval"), tiny_model, tmp_path / str(budget), told, dropout=0.0)
        assert 0 < facts["dev_score"] <= 100
    assert losses(tmp_path / "8") == pytest.approx(losses(tmp_path / "4096"), rel=1e-4)
