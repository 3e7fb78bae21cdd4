"""Runs train stages, here or as real processes, one per rank, and reads what they wrote."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from eval.prediction import dev
from tests.training.ranks import finish, start_ranks
from tests.training.stage_process import dev_score
from training.checkpoints.progress import DevScore
from training.data.parts import load_part
from training.engine.setup import read
from training.engine.train import train
from training.model.encoder import StageModel
from training.model.parent import read_parent
from training.pretrained.small import tiny
from training.pretrained.tokenizer import Tokenizer
from training.spec import Runtime, TrainSpec, to_record


def mini_model(out: Path) -> Path:
    """The least that has XLM-R's tokenizer: hidden size 8, so that checkpoints are small."""
    return tiny(out, layers=2, hidden=8, heads=2, feed_forward=16)


def run_here(
    spec: TrainSpec, runtime: Runtime, parent: Path, out: Path, stop_at: int = 0, **more: Any
) -> dict[str, Any]:
    """A stage in this process, asked to stop in step `stop_at`; on one thread, as the processes have."""
    asked = iter(range(1, 1000))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    callables: dict[str, Any] = {"dev_score": dev_score, "should_stop": lambda: next(asked) == stop_at} | more
    try:
        return train(read(spec, read_parent(parent)), runtime, out, **callables).facts
    finally:
        torch.set_num_threads(threads)


def dev_scorer(spec: TrainSpec, runtime: Runtime, parent: Path) -> Callable[[StageModel], DevScore]:
    """What a job scores its model with."""
    tokenizer = Tokenizer(parent)
    parts = [load_part(data, tokenizer, spec.settings) for data in spec.parts]
    return dev.dev_scorer(parts, tokenizer, spec.settings, runtime)


def start(
    spec: TrainSpec, runtime: Runtime, parent: Path, out: Path, world: int = 1, **more: Any
) -> list[subprocess.Popen[str]]:
    """The ranks' processes. `more`: see `told`."""
    return start_ranks("tests.training.stage_process", told(spec, runtime, parent, out, **more), world)


def told(spec: TrainSpec, runtime: Runtime, parent: Path, out: Path, **more: Any) -> str:
    """What a rank's process is told. `more`: stop_at, kill_at (a step), resume_from (folders)."""
    stage = {"spec": to_record(spec), "runtime": to_record(runtime), "parent": str(parent), "out": str(out)}
    return json.dumps(stage | more)


def run(spec: TrainSpec, runtime: Runtime, parent: Path, out: Path, world: int = 1, **more: Any) -> dict[str, Any]:
    """Start, wait, and give what rank 0 said."""
    finish(start(spec, runtime, parent, out, world, **more))
    facts: dict[str, Any] = json.loads(out.with_suffix(".json").read_text())
    return facts


def steps(out: Path) -> list[dict[str, Any]]:
    """The log's lines about steps."""
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if "step" in line]


def losses(out: Path) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in steps(out)}
