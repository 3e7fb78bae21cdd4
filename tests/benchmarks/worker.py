"""One side of the benchmark, for one task, as a process: `python -m tests.benchmarks.worker JSON`.

It takes one JSON line on standard input per thing to do and answers each with one on standard output:
{"do": "train", "steps": n, "math": …}, and then {"do": "evaluate", "math": …}, until it is killed.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import torch

from tests.benchmarks import peer
from tests.benchmarks.cases import CASES, Case, load
from tests.benchmarks.windows import Measured, Windows
from training.model.products import apply
from training.pretrained import load_tokenizer


def main(told: dict[str, Any]) -> None:
    """`told`: side (see `SIDES`), model (a folder), task, out (a folder to write in), threads."""
    torch.set_num_threads(told["threads"])
    answers = _own_standard_output()
    line = Line(answers)
    SIDES[told["side"]](CASES[told["task"]], Path(told["model"]), Path(told["out"]), line)


class Line:
    """What the process is told and answers."""

    def __init__(self, answers: TextIO) -> None:
        self._answers = answers
        self.windows = Windows(self._steps, self.tell)

    def tell(self, measured: Measured) -> None:
        self._answers.write(json.dumps(asdict(measured)) + "\n")
        self._answers.flush()

    def _steps(self) -> int:
        told = self._next()
        self._then = told
        return int(told["steps"]) if told["do"] == "train" else 0

    def evaluations(self, evaluate: Callable[[], Measured]) -> None:
        """After training, as often as it is asked for."""
        while True:
            assert self._then["do"] == "evaluate", self._then
            self.tell(evaluate())
            self._then = self._next()

    def _next(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(sys.stdin.readline())
        if "math" in told:
            apply(told["math"])
        return told


# 32 questions of 384 tokens, or 32 times four endings, would take 15 GB: the run scripts' default of 8 at a time.
_MICRO_BATCH = {"choice": 8, "span": 8}


def _run_peer(way: peer.Way, case: Case, model: Path, out: Path, line: Line) -> None:
    import transformers

    tokenizer = load_tokenizer(model)
    data = load(case, tokenizer)
    form = data.train.task.format
    train = [peer.features(form, piece.rows, piece.target) for piece in data.train.pieces]
    test = [peer.features(form, piece.rows, piece.target) for piece in data.test]
    outputs = {} if form in ("choice", "span") else {"num_labels": len(data.train.head.labels)}
    loaded = getattr(transformers, peer.MODELS[form]).from_pretrained(model, **outputs)
    batch = case.settings.global_batch_size
    job = peer.Job(form, loaded, tokenizer, train, test, case.pad_to, batch, _MICRO_BATCH.get(form))
    trainer = peer.build(job, way, line.windows, out)
    trainer.train()
    line.evaluations(lambda: peer.evaluate(trainer, test))


def _run_ours(zero: Any, case: Case, model: Path, out: Path, line: Line) -> None:
    from tests.benchmarks import ours

    data = load(case, load_tokenizer(model))
    ours.train(case, data, model, out, zero, line.windows)
    line.evaluations(ours.evaluator(case, data, model))


SIDES: dict[str, Callable[[Case, Path, Path, Line], None]] = {
    "peer default": lambda *rest: _run_peer(peer.DEFAULT, *rest),
    "peer best": lambda *rest: _run_peer(peer.BEST, *rest),
    "ours zero 2": lambda *rest: _run_ours(2, *rest),
    "ours zero auto": lambda *rest: _run_ours("auto", *rest),
    "ours no zero": lambda *rest: _run_ours("none", *rest),
}


def _own_standard_output() -> TextIO:
    """The real one for answers alone: what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
