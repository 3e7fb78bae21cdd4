"""The compact vocabulary trains exactly what the dense one does; what it leaves out decays in closed form."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.training import stage_data
from tests.training.stage_runs import losses, run_here
from training.checkpoints.progress import DevScore
from training.engine.optimizer import learning_rate
from training.engine.setup import read
from training.engine.train import Stopped
from training.model.parent import read_parent
from training.model.vocabulary import CompactEmbedding, decay_factor, used_ids
from training.pretrained import load_tokenizer
from training.spec import Runtime, Settings, TrainSpec
from training.tensors import read_tensors

WORDS = "embeddings.word_embeddings.weight"
SETTINGS = Settings(
    learning_rate=1e-3, epochs=2, global_batch_size=8, max_length=64, max_query_length=16, weight_decay=0.1
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stage_data.write(tmp_path_factory.mktemp("data"))


def spec_of(data: Path, *tasks: str, **settings: Any) -> TrainSpec:
    return TrainSpec(tuple(stage_data.task_data(data, task) for task in tasks), replace(SETTINGS, **settings), 5)


def run(spec: TrainSpec, parent: Path, out: Path, **runtime: Any) -> dict[str, Any]:
    told = Runtime(**({"device": "cpu", "token_budget": 150} | runtime))
    return run_here(spec, told, parent, out, dev_score=lambda model: DevScore(0.0))


def made(out: Path) -> dict[str, torch.Tensor]:
    return read_tensors(out / "encoder" / "model.safetensors")


def test_rows_are_looked_up_by_their_old_ids() -> None:
    table = torch.nn.Embedding(20, 4, padding_idx=1)
    compact = CompactEmbedding(table, np.array([0, 1, 2, 7, 19]))
    ids = torch.tensor([[7, 0], [19, 2]])
    assert torch.equal(compact(ids), table(ids)) and compact.weight.shape == (5, 4)
    compact(torch.tensor([1, 7])).sum().backward()
    assert compact.weight.grad is not None
    assert compact.weight.grad[:, 0].tolist() == [0, 0, 0, 1, 0], "the padding row has no gradient, as in the table"
    with pytest.raises(IndexError):
        compact(torch.tensor([5]))


def test_used_ids_are_those_that_occur_and_the_specials() -> None:
    assert used_ids([np.array([9, 4, 4]), np.array([], dtype=int)], [0, 1, 19], 20).tolist() == [0, 1, 4, 9, 19]


@pytest.mark.slow
@pytest.mark.parametrize(("zero", "clip"), [(0, 0.0), (0, 0.3), (2, 0.3), ("none", 0.3)])
def test_losses_body_and_seen_rows_are_those_of_dense_training(
    zero: Any, clip: float, data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """Bit by bit, with dropout; the unseen rows are the parent's times Π(1 - lr · wd) in float64."""
    spec = spec_of(data, "mnli", "squad", max_grad_norm=clip)
    facts = run(spec, tiny_model, tmp_path / "compact", zero=zero)
    run(spec, tiny_model, tmp_path / "dense", zero=zero, compact_vocabulary=False)
    assert losses(tmp_path / "compact") == losses(tmp_path / "dense")
    compact, dense = made(tmp_path / "compact"), made(tmp_path / "dense")
    assert all(torch.equal(compact[name], dense[name]) for name in dense if name != WORDS)
    seen = torch.from_numpy(read(spec, read_parent(tiny_model)).used_ids())
    assert len(seen) == facts["vocabulary_rows"]
    assert torch.equal(compact[WORDS][seen], dense[WORDS][seen])
    unseen = torch.ones(len(dense[WORDS]), dtype=torch.bool)
    unseen[seen] = False
    before = load_file(tiny_model / "model.safetensors")[WORDS][unseen]
    total, half = facts["steps"], facts["steps"] // 2
    steps = half if facts["selected_epoch"] == 0 else total
    factor = math.prod(1 - learning_rate(step, total, spec.settings) * 0.1 for step in range(steps))
    assert factor < 1 - 1e-4
    assert torch.equal(compact[WORDS][unseen], (before.double() * factor).float())
    torch.testing.assert_close(compact[WORDS][unseen], dense[WORDS][unseen], rtol=1e-5, atol=1e-8)
    assert read_parent(tmp_path / "compact" / "encoder").encoder().config.vocab_size == len(dense[WORDS])


@pytest.mark.slow
def test_unseen_rows_can_be_left_as_they_are(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    spec = spec_of(data, "mnli", decay_unseen=False, epochs=1)
    run(spec, tiny_model, tmp_path / "out", zero=0)
    unseen = torch.ones(len(made(tmp_path / "out")[WORDS]), dtype=torch.bool)
    unseen[torch.from_numpy(read(spec, read_parent(tiny_model)).used_ids())] = False
    assert torch.equal(
        made(tmp_path / "out")[WORDS][unseen], load_file(tiny_model / "model.safetensors")[WORDS][unseen]
    )


@pytest.mark.slow
def test_under_bf16_the_hand_over_is_fp32_and_decays_the_parents_fp32(
    data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    spec = spec_of(data, "mnli", precision="bf16", epochs=1)
    for name, compact in (("compact", True), ("dense", False)):
        run(spec, tiny_model, tmp_path / name, zero=2, compact_vocabulary=compact)
    assert losses(tmp_path / "compact") == losses(tmp_path / "dense")
    mine, dense = made(tmp_path / "compact"), made(tmp_path / "dense")
    assert all(torch.equal(mine[name], dense[name]) for name in dense if name != WORDS)
    assert any((tensor.to(torch.bfloat16).float() != tensor).any() for tensor in mine.values())


@pytest.mark.slow
def test_masked_language_modelling_keeps_all_rows(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    facts = run(spec_of(data, "mlm", "mnli", epochs=1), tiny_model, tmp_path / "out")
    assert facts["vocabulary_rows"] is None


@pytest.mark.slow
def test_a_resume_keeps_the_vocabulary_that_the_run_began_with(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    spec = spec_of(data, "mnli")
    run(spec, tiny_model, tmp_path / "whole")
    told = Runtime(device="cpu", token_budget=150)
    with pytest.raises(Stopped):
        run_here(spec, told, tiny_model, tmp_path / "out", stop_at=3)
    facts = run(spec, tiny_model, tmp_path / "out", compact_vocabulary=False)
    assert facts["vocabulary_rows"] is not None
    assert losses(tmp_path / "out") == losses(tmp_path / "whole")


@pytest.mark.slow
def test_the_dev_data_is_in_it(data: Path, tiny_model: Path) -> None:
    start = read(spec_of(data, "mnli"), read_parent(tiny_model))
    ids = set(start.used_ids().tolist())
    assert ids >= {token for piece in start.parts[0].dev for row in piece.rows for token in row}
    assert ids >= set(load_tokenizer(tiny_model).all_special_ids)


def test_the_factor_is_a_product_in_float64() -> None:
    assert decay_factor([0.1, 0.2], 0.5) == (1 - 0.05) * (1 - 0.1)
    assert decay_factor([], 0.5) == 1.0
