"""Whole train stages in this process: against a plain torch loop, on every format, and where training cannot go on."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from slurm.base import UserError
from tests.training import stage_data
from tests.training.stage_runs import dev_scorer, run_here, steps
from training import formats, shape
from training.checkpoints.progress import DevScore
from training.data.load import load_training
from training.data.sampling import Mix
from training.distributed import World
from training.engine import train
from training.engine.batches import Order
from training.engine.optimizer import learning_rate
from training.engine.zero import ZeroEngine
from training.model import heads
from training.model.encoder import StageModel, load_head
from training.model.packing import pack
from training.model.parent import read_parent
from training.pretrained import load_tokenizer
from training.spec import Runtime, Settings, TrainSpec
from training.tasks import find
from training.tensors import read_tensors, tensors_hash

pytestmark = pytest.mark.slow
QUICK = Settings(learning_rate=1e-3, epochs=1, global_batch_size=8, max_length=64, max_query_length=16, dropout=0.0)
CPU = Runtime(zero=2, device="cpu", token_budget=100, eval_token_budget=200)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stage_data.write(tmp_path_factory.mktemp("data"))


def spec_of(data: Path, *tasks: str, seed: int = 1, **settings: Any) -> TrainSpec:
    changed = Settings(**{**QUICK.__dict__, **settings})
    return TrainSpec(tuple(stage_data.task_data(data, task) for task in tasks), changed, seed)


def run(spec: TrainSpec, parent: Path, out: Path, runtime: Runtime = CPU, **more: Any) -> dict[str, Any]:
    return run_here(spec, runtime, parent, out, **({"dev_score": lambda model: DevScore(0.0)} | more))


def plain_torch(spec: TrainSpec, parent: Path) -> tuple[list[float], list[float], dict[str, torch.Tensor]]:
    """The same training without DeepSpeed, micro-batches, a compact vocabulary or this engine: losses, gradient norms,
    the encoder."""
    (part,), settings = spec.parts, spec.settings
    task, tokenizer, encoder = find(part.task), load_tokenizer(parent), read_parent(parent).encoder(0.0)
    pieces = formats.get(task.format).encode(load_training(part)[0], tokenizer, task, settings)
    width = encoder.config.hidden_size
    head = heads.fresh(task.format, len(task.labels), width, 0.0, spec.seed, task.name)
    model = StageModel(encoder, {task.name: head}).train()
    weights = [p for p in model.parameters() if p.ndim > 1], [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": weights[0], "weight_decay": settings.weight_decay}, {"params": weights[1], "weight_decay": 0}]
    adam = torch.optim.AdamW(groups, eps=settings.adam_epsilon)
    size = settings.global_batch_size
    order = Order([30], batch=size, epochs=settings.epochs, mix=Mix("proportional"), seed=spec.seed)
    losses, norms = [], []
    for number in range(order.total):
        chosen = order.step(number).examples
        own = [piece for i in chosen for piece in pieces if piece.example == i]
        terms = sum(formats.get(task.format).count(piece) for piece in own)
        logits = model(pack(own, heads.reads(task.format, own)), task.name)
        loss = heads.loss(task.format, logits, own) / terms
        adam.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)))
        for group in adam.param_groups:
            group["lr"] = learning_rate(number, order.total, settings)
        adam.step()
        losses.append(loss.item())
    return losses, norms, dict(encoder.state_dict())


@pytest.mark.parametrize(
    ("zero", "task", "clip"),
    [("none", "mnli", 0.1), (0, "panx", 0.3), (1, "mnli", 0.1), (2, "squad", 0.3), (3, "copa", 0.001)],
)
def test_it_is_what_plain_torch_does(
    zero: Any, task: str, clip: float, data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    spec = spec_of(data, task, max_grad_norm=clip)
    losses, norms, encoder = plain_torch(spec, tiny_model)
    runtime = Runtime(zero=zero, device="cpu", token_budget=100)
    facts = run(spec, tiny_model, tmp_path / "out", runtime)
    logged = steps(tmp_path / "out")
    assert facts["steps"] == len(losses) == len(logged) == 4
    assert max(abs(line["loss"] - loss) for line, loss in zip(logged, losses, strict=True)) < 1e-5
    assert max(abs(line["grad_norm"] - norm) for line, norm in zip(logged, norms, strict=True)) < 1e-4
    assert max(norms) > clip, "nothing was clipped"
    made = read_tensors(tmp_path / "out" / "encoder" / "model.safetensors")
    assert made.keys() == encoder.keys()
    # Adam divides by the root of tiny squares: what differs by rounding can differ by a part of the learning rate.
    assert max(float((made[name] - encoder[name]).abs().max()) for name in made) < 3e-4
    assert facts["encoder_hash"] == read_parent(tmp_path / "out" / "encoder").encoder_hash != facts["parent_hash"]


def test_a_lone_rank_without_zero_is_deepspeeds_bit_for_bit(
    data: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(data, "mnli", "panx", max_grad_norm=0.3, dropout=None)
    runtime = Runtime(zero=0, device="cpu", token_budget=100, matmul="mkl")
    lone = run(spec, tiny_model, tmp_path / "lone", runtime)

    def deepspeed(model: StageModel, settings: Settings, world: World) -> ZeroEngine:
        zero_0 = shape.choose(model.encoder.config.sizes, 1, None, runtime, bf16=False, gpu=False)
        return ZeroEngine(model, settings, zero_0, world)

    monkeypatch.setattr(train, "LoneEngine", deepspeed)
    assert run(spec, tiny_model, tmp_path / "deepspeed", runtime)["encoder_hash"] == lone["encoder_hash"]
    numbers = [[(line["loss"], line["grad_norm"]) for line in steps(tmp_path / name)] for name in ("lone", "deepspeed")]
    assert numbers[0] == numbers[1] and max(norm for _, norm in numbers[0]) > 0.3


def test_it_learns_and_dev_sees_it(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    spec = spec_of(data, "panx", learning_rate=1e-2, epochs=5)
    facts = run(spec, tiny_model, tmp_path / "out", dev_score=dev_scorer(spec, CPU, tiny_model))
    logged = steps(tmp_path / "out")
    assert logged[-1]["loss"] < 0.4 * logged[0]["loss"]
    assert facts["dev_score"] == max(facts["dev_scores"]) > 80
    assert facts["selected_epoch"] == facts["dev_scores"].index(max(facts["dev_scores"]))


def test_a_mixture_trains_all_its_heads(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    spec = spec_of(data, "mnli", "squad", "panx", "copa", dropout=None)
    facts = run(spec, tiny_model, tmp_path / "out", dev_score=dev_scorer(spec, CPU, tiny_model))
    logged = steps(tmp_path / "out")
    assert facts["steps"] == 16 and {line["task"] for line in logged} == {"mnli", "squad", "panx", "copa"}
    for part in spec.parts:
        kind, head = load_head(tmp_path / "out" / "heads", part.task)
        start = heads.fresh(kind.format, len(kind.labels), kind.width, 0.0, spec.seed, part.task)
        assert not torch.equal(head.out.weight, start.out.weight), part.task  # type: ignore[arg-type]


def test_of_equal_epochs_the_earliest_is_handed_on(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    scores = iter([50.0, 70.0, 70.0])
    hashes = []

    def dev_score(model: StageModel) -> DevScore:
        hashes.append(tensors_hash(model.encoder.state_dict()))
        return DevScore(next(scores))

    all_rows = replace(CPU, compact_vocabulary=False)
    facts = run(spec_of(data, "mnli", epochs=3), tiny_model, tmp_path / "out", all_rows, dev_score=dev_score)
    assert facts["selected_epoch"] == 1 and facts["encoder_hash"] == hashes[1] != hashes[2]
    assert facts["dev_scores"] == [50.0, 70.0, 70.0]


def test_the_log_says_what_happened(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    seen = []
    spec = spec_of(data, "mnli", global_batch_size=7)
    facts = run(spec, tiny_model, tmp_path / "out", on_step=lambda *values: seen.append(values))
    logged = steps(tmp_path / "out")
    assert [line["examples"] for line in logged] == [7, 7, 7, 7, 2]
    assert seen == [(line["step"] + 1, 5, line["loss"]) for line in logged]
    assert facts["examples"] == 30 and facts["tokens"] == sum(line["tokens"] for line in logged)
    last = json.loads((tmp_path / "out" / "log.jsonl").read_text().splitlines()[-1])
    assert last == {"epoch": 0, "dev_score": 0.0}


def test_bf16_is_near_fp32_and_hands_on_fp32(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    logs = {}
    for precision in ("fp32", "bf16"):
        facts = run(spec_of(data, "mnli", precision=precision), tiny_model, tmp_path / precision)
        assert facts["precision"] == precision
        logs[precision] = [line["loss"] for line in steps(tmp_path / precision)]
    assert logs["fp32"] != logs["bf16"]
    assert max(abs(a - b) for a, b in zip(logs["fp32"], logs["bf16"], strict=True)) < 0.05
    made = read_tensors(tmp_path / "bf16" / "encoder" / "model.safetensors")
    assert {tensor.dtype for tensor in made.values()} == {torch.float32}
    assert any((tensor.to(torch.bfloat16).float() != tensor).any() for tensor in made.values())


def test_a_diverging_loss_names_step_and_examples(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"step \d+ of task mnli: the (loss|gradient) is not finite at examples "
    ) as error:
        run(spec_of(data, "mnli", learning_rate=1e30, epochs=3, warmup_ratio=0.0), tiny_model, tmp_path / "out")
    assert "\n" not in str(error.value) and "learning_rate" in str(error.value)


def test_too_long_is_refused_before_training(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="max_length 600"):
        run(spec_of(data, "mnli", max_length=600), tiny_model, tmp_path / "out")


def test_the_learning_rate_rises_then_falls_and_is_never_zero() -> None:
    settings = Settings(learning_rate=1.0, warmup_ratio=0.1)
    rates = [learning_rate(step, 100, settings) for step in range(100)]
    top = rates.index(max(rates))
    assert top == 10 and rates[top] == 1.0
    assert rates[: top + 1] == sorted(rates[: top + 1]) and rates[top:] == sorted(rates[top:], reverse=True)
    assert min(rates) > 0 and math.isclose(rates[-1], 1 / 90)
    assert [learning_rate(step, 4, Settings(learning_rate=1.0, warmup_ratio=0.0)) for step in range(4)] == [
        1.0,
        0.75,
        0.5,
        0.25,
    ]
