"""Out of memory: smaller micro-batches, the same steps. torch's error is scripted: a real one may end the machine."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from slurm.base import UserError
from tests.training import stage_data
from tests.training.stage_runs import losses, run_here
from training.checkpoints.progress import DevScore
from training.engine.train import Stopped
from training.model.encoder import StageModel
from training.model.packing import Packed
from training.spec import Runtime, Settings, TrainSpec

pytestmark = pytest.mark.slow
SETTINGS = Settings(learning_rate=1e-3, epochs=1, global_batch_size=8, max_length=64, dropout=0.0)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> TrainSpec:
    data = stage_data.write(tmp_path_factory.mktemp("data"))
    return TrainSpec((stage_data.task_data(data, "mnli"),), SETTINGS, 1)


def run(spec: TrainSpec, parent: Path, out: Path, *, zero: Any = 0, budget: int = 400, **more: Any) -> dict[str, Any]:
    told = Runtime(zero=zero, device="cpu", token_budget=budget)
    return run_here(spec, told, parent, out, **({"dev_score": lambda model: DevScore(0.0)} | more))


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forward pass of more than 60 tokens does not fit."""
    forward = StageModel.forward

    def limited(self: StageModel, packed: Packed, head: str | None = None, layer: int | None = None) -> torch.Tensor:
        if packed.layout.tokens > 60:
            raise torch.OutOfMemoryError("scripted")
        return forward(self, packed, head, layer)

    monkeypatch.setattr(StageModel, "forward", limited)


@pytest.mark.parametrize("zero", ["none", 0])
def test_it_goes_on_with_smaller_micro_batches_and_the_same_steps(
    zero: Any, spec: TrainSpec, tiny_model: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    whole = run(spec, tiny_model, tmp_path / "whole", zero=zero)
    assert whole["out_of_memory"] == [] and whole["token_budget"] == 400
    request.getfixturevalue("small_memory")
    facts = run(spec, tiny_model, tmp_path / "small", zero=zero)
    assert facts["token_budget"] <= 100 and facts["out_of_memory"][0] == {"step": 0, "token_budget": 200}
    assert losses(tmp_path / "small") == pytest.approx(losses(tmp_path / "whole"), abs=1e-5)
    lines = [json.loads(line) for line in (tmp_path / "small" / "log.jsonl").read_text().splitlines()]
    assert next(line["token_budget"] for line in lines if "out_of_memory" in line) == 200


def test_gradients_of_the_broken_step_are_forgotten(
    spec: TrainSpec, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(spec, tiny_model, tmp_path / "whole", budget=100)
    forward, calls = StageModel.forward, 0

    def fails_once(self: StageModel, packed: Packed, *more: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise torch.OutOfMemoryError("scripted")
        return forward(self, packed, *more)

    monkeypatch.setattr(StageModel, "forward", fails_once)
    facts = run(spec, tiny_model, tmp_path / "small", budget=100)
    assert len(facts["out_of_memory"]) == 1
    assert losses(tmp_path / "small") == pytest.approx(losses(tmp_path / "whole"), abs=1e-5)


def test_a_resume_knows_what_did_not_fit(spec: TrainSpec, tiny_model: Path, tmp_path: Path, small_memory: None) -> None:
    with pytest.raises(Stopped):
        run(spec, tiny_model, tmp_path / "out", stop_at=2)
    before = (tmp_path / "out" / "log.jsonl").read_text().count("out_of_memory")
    facts = run(spec, tiny_model, tmp_path / "out")
    assert (tmp_path / "out" / "log.jsonl").read_text().count("out_of_memory") == before
    assert facts["out_of_memory"]


def test_one_sequence_that_does_not_fit_is_one_line(
    spec: TrainSpec, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(self: StageModel, packed: Packed, *more: Any) -> torch.Tensor:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(StageModel, "forward", never)
    with pytest.raises(UserError, match="one sequence at a time; ask for more memory or set a smaller max_length"):
        run(spec, tiny_model, tmp_path / "out")


def test_under_zero_the_next_attempt_goes_on_with_less(
    spec: TrainSpec, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(self: StageModel, packed: Packed, *more: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("scripted")

    with monkeypatch.context() as scripted:
        scripted.setattr(StageModel, "forward", never)
        with pytest.raises(UserError, match="token_budget 400; submit again: it goes on with 200"):
            run(spec, tiny_model, tmp_path / "first", zero=2)
    facts = run(spec, tiny_model, tmp_path / "second", zero=2, resume_from=[tmp_path / "first"])
    assert facts["token_budget"] == 200
