"""Causal language models in training: against a plain torch loop, on more ranks, stopped, killed, and handed over."""

import signal
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from slurm.base import UserError
from slurm.base.files import sha256_file
from tests.causal_folders import write_causal
from tests.training import continuations, stage_data, stage_runs
from tests.training.ranks import start_ranks
from training import formats
from training.checkpoints.progress import DevScore
from training.data.load import load_training
from training.data.sampling import Mix
from training.engine.batches import Order
from training.engine.optimizer import learning_rate
from training.engine.train import Stopped
from training.model import heads
from training.model.encoder import load_head
from training.model.parent import read_parent
from training.pretrained import check_folder, load_tokenizer
from training.spec import Runtime, Settings, TrainSpec
from training.tasks import catalogue, find

pytestmark = pytest.mark.slow
SETTINGS = Settings(learning_rate=3e-3, epochs=2, global_batch_size=8, max_length=200, weight_decay=0.1)


@pytest.fixture(scope="module", autouse=True)
def _known_task() -> Any:
    continuations.register()
    yield
    del formats._FORMATS[continuations.Continuations.name], heads._HEADS[continuations.Continuations.name]
    del catalogue._REGISTERED[continuations.TASK]


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> TrainSpec:
    data = stage_data.task_data(stage_data.write(tmp_path_factory.mktemp("data"), train=20), "mnli")
    return TrainSpec((replace(data, task=continuations.TASK),), SETTINGS, 5)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family, written once."""
    return cache(lambda family: write_causal(tmp_path_factory.mktemp("models") / family, family))


def runtime(zero: Any, **more: float) -> Runtime:
    return Runtime(zero=zero, device="cpu", token_budget=150, matmul="mkl", **more)  # type: ignore[arg-type]


def run(spec: TrainSpec, how: Runtime, parent: Path, out: Path, stop_at: int = 0, **more: Any) -> dict[str, Any]:
    return stage_runs.run_here(spec, how, parent, out, stop_at, dev_score=lambda model: DevScore(0.0), **more)


def plain_torch(spec: TrainSpec, folder: Path) -> tuple[list[float], Any]:
    """The same training of transformers' model, row by row: losses, and the model."""
    from transformers import AutoModelForCausalLM

    model, tokenizer, settings = AutoModelForCausalLM.from_pretrained(folder), load_tokenizer(folder), spec.settings
    (part,) = spec.parts
    form, task = formats.get("continuations"), find(part.task)
    pieces = form.encode(load_training(part)[0], tokenizer, task, settings)
    weights = [p for p in model.parameters() if p.ndim > 1], [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": weights[0], "weight_decay": settings.weight_decay}, {"params": weights[1], "weight_decay": 0}]
    adam = torch.optim.AdamW(groups, eps=settings.adam_epsilon)
    order = Order([20], batch=8, epochs=settings.epochs, mix=Mix("proportional"), seed=spec.seed)
    losses = []
    for number in range(order.total):
        own = [pieces[example] for example in order.step(number).examples]
        terms = sum(form.count(piece) for piece in own)
        adam.zero_grad()
        total = 0.0
        for piece in own:
            row, labels = torch.tensor(piece.rows), torch.tensor([piece.target])
            loss = model(input_ids=row, labels=labels).loss * form.count(piece) / terms
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
        for group in adam.param_groups:
            group["lr"] = learning_rate(number, order.total, settings)
        adam.step()
        losses.append(total)
    return losses, model


@pytest.mark.parametrize(
    ("zero", "family"), [("none", "bloom"), (0, "xglm"), (2, "xglm"), (2, "qwen2"), (3, "xglm"), (3, "qwen2")]
)
def test_it_is_what_plain_torch_does_and_loads_anywhere(
    zero: Any, family: str, spec: TrainSpec, models: Callable[[str], Path], tmp_path: Path
) -> None:
    """transformers' own loss of the answers' tokens; and the model handed over has the logits of the one trained."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = models(family)
    spec = replace(spec, settings=replace(spec.settings, dropout=0.0, epochs=1))
    losses, theirs = plain_torch(spec, model)
    facts = run(spec, runtime(zero), model, tmp_path / "out")
    logged = [line["loss"] for line in stage_runs.steps(tmp_path / "out")]
    assert facts["steps"] == len(losses) == 3 and facts["vocabulary_rows"] is None
    assert max(abs(mine - loss) for mine, loss in zip(logged, losses, strict=True)) < 1e-4
    check_folder(tmp_path / "out" / "encoder")
    handed_over = AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "encoder").eval()
    trained = read_parent(tmp_path / "out" / "encoder", tmp_path / "out" / "heads")
    assert trained.encoder_hash == facts["encoder_hash"] != facts["parent_hash"] == read_parent(model).encoder_hash
    row = torch.tensor([[5, 6, 7, 8, 9]])
    with torch.no_grad():
        logits = handed_over(row).logits
        torch.testing.assert_close(logits, theirs.eval()(row).logits, rtol=1e-3, atol=1e-3)
        assert torch.equal(logits, trained.encoder().language_model(row).logits)  # type: ignore[union-attr]
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out" / "encoder")
    assert tokenizer("Anna")["input_ids"] == load_tokenizer(model)("Anna")["input_ids"]
    _, head = load_head(tmp_path / "out" / "heads", continuations.TASK)
    assert isinstance(head, heads.NextWordHead)


@pytest.mark.parametrize("family", ["xglm", "bloom"])
def test_it_learns(family: str, spec: TrainSpec, models: Callable[[str], Path], tmp_path: Path) -> None:
    spec = replace(spec, settings=replace(spec.settings, learning_rate=1e-2, epochs=15))
    run(spec, runtime(0), models(family), tmp_path / "out")
    logged = [line["loss"] for line in stage_runs.steps(tmp_path / "out")]
    assert sum(logged[-3:]) < 0.6 * sum(logged[:3])


@pytest.mark.parametrize(("zero", "family"), [(0, "xglm"), (0, "bloom"), (0, "qwen2"), (2, "bloom")])
def test_stopped_and_resumed_is_never_stopped(
    zero: Any, family: str, spec: TrainSpec, models: Callable[[str], Path], tmp_path: Path
) -> None:
    """Dropout is drawn by place, transformers' own too."""
    model = models(family)
    whole = run(spec, runtime(zero), model, tmp_path / "whole")
    with pytest.raises(Stopped):
        run(spec, runtime(zero), model, tmp_path / "part", 4)
    resumed = run(spec, runtime(zero), model, tmp_path / "rest", resume_from=[tmp_path / "part"])
    assert resumed["encoder_hash"] == whole["encoder_hash"]
    losses = stage_runs.losses(tmp_path / "whole")
    assert stage_runs.losses(tmp_path / "part") | stage_runs.losses(tmp_path / "rest") == losses
    without_dropout = replace(spec, settings=replace(spec.settings, dropout=0.0))
    plain = run(without_dropout, runtime(zero), model, tmp_path / "plain")
    assert plain["encoder_hash"] != whole["encoder_hash"], "nothing was dropped"


def processes(spec: TrainSpec, how: Runtime, parent: Path, out: Path, world: int = 1, **more: Any) -> list[int]:
    """The ranks' exit codes."""
    told = stage_runs.told(spec, how, parent, out, **more)
    return [process.wait(timeout=300) for process in start_ranks("tests.training.continuations", told, world)]


def test_killed_and_resumed_is_never_killed(spec: TrainSpec, models: Callable[[str], Path], tmp_path: Path) -> None:
    how, xglm = runtime(0, checkpoint_minutes=0.0), models("xglm")
    assert processes(spec, how, xglm, tmp_path / "whole") == [0]
    assert processes(spec, how, xglm, tmp_path / "killed", kill_at=5) == [-signal.SIGKILL]
    assert processes(spec, how, xglm, tmp_path / "rest", resume_from=[str(tmp_path / "killed")]) == [0]
    assert 0 < len(stage_runs.steps(tmp_path / "rest")) < 6
    for name in ("encoder/model.safetensors", "encoder/config.json", f"heads/{continuations.TASK}.json"):
        assert sha256_file(tmp_path / "rest" / name) == sha256_file(tmp_path / "whole" / name)


def test_two_ranks_have_the_losses_of_one(spec: TrainSpec, models: Callable[[str], Path], tmp_path: Path) -> None:
    """Without dropout, which is drawn by micro-batches: of these two ranks make others."""
    xglm, spec = models("xglm"), replace(spec, settings=replace(spec.settings, dropout=0.0))
    run(spec, runtime(0), xglm, tmp_path / "one")
    expected = stage_runs.losses(tmp_path / "one")
    for zero in (2, 3):
        assert processes(spec, runtime(zero), xglm, tmp_path / f"{zero}", world=2) == [0, 0]
        losses = stage_runs.losses(tmp_path / f"{zero}")
        assert max(abs(losses[step] - expected[step]) for step in expected) < 1e-4


def test_a_task_that_is_no_prompt_is_refused(spec: TrainSpec, models: Callable[[str], Path], tmp_path: Path) -> None:
    pair = replace(spec, parts=(replace(spec.parts[0], task="mnli"),))
    with pytest.raises(UserError, match=r"task mnli: .* is a causal language model, which is trained on prompts only"):
        run(pair, runtime(0), models("xglm"), tmp_path / "out")
