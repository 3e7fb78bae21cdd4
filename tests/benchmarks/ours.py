"""Our side: a stage by the real engine, and evaluation by the code that evaluates stages."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from eval.prediction import predict
from tests.benchmarks.cases import Case, Data
from tests.benchmarks.windows import Measured, Windows, timed
from training.checkpoints.progress import DevScore
from training.engine.setup import read
from training.engine.train import train as train_stage
from training.model import heads
from training.model.encoder import StageModel
from training.model.parent import read_parent
from training.spec import Runtime, TrainSpec


class _Enough(Exception):
    """Out of the training loop, without the hand-over."""


def train(case: Case, data: Data, model: Path, out: Path, zero: Any, windows: Windows) -> None:
    """Train until `windows` says that it is enough. Steps are counted by log.jsonl, as users see them."""
    spec = TrainSpec((data.train_data,), case.settings, seed=1)
    runtime = Runtime(zero=zero, device="cpu", matmul="mkl")  # the worker switches between the libraries

    def on_step(done: int, total: int, loss: float) -> None:
        assert done < total, "the training data is used up: measure fewer steps"
        line = last_step(out / "log.jsonl")
        if not windows.step_done(line["tokens"], line["examples"]):
            raise _Enough

    start = read(spec, read_parent(model))
    if not windows.begin():
        return
    with suppress(_Enough):
        train_stage(start, runtime, out, dev_score=lambda _: DevScore(0.0), should_stop=lambda: False, on_step=on_step)


def last_step(log: Path) -> dict[str, Any]:
    """The log's newest line about a step."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()[-3:]]
    return next(line for line in reversed(lines) if "step" in line)


def evaluator(case: Case, data: Data, model: Path) -> Callable[[], Measured]:
    """Evaluates the test pieces to outputs as arrays, by a model that is loaded once."""
    encoder = read_parent(model).encoder()
    head, width = data.train.head, encoder.config.hidden_size
    fresh = heads.fresh(head.format, len(head.labels), width, 0.0, 1, head.name)
    loaded = StageModel(encoder, {head.name: fresh}).eval()
    runtime = Runtime(device="cpu")
    tokens = sum(len(row) for piece in data.test for row in piece.rows)

    def work() -> object:
        with torch.inference_mode():
            return predict.head_outputs(loaded, data.target.format, head.name, data.test, runtime)

    return lambda: timed(work, tokens, len(data.test))
