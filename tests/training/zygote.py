"""Runs train stages in forks of one process that has its imports done, and kills them where it is told to.

    python -m tests.training.zygote   reads runs from its input, a JSON object a line, and answers each with a line

A fork starts in milliseconds; torch, transformers and deepspeed take seconds to import. It starts no thread of its own.
"""

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.paths import ROOT
from training.spec import Runtime, TrainSpec, runtime, to_record, train_spec

_CHANGES = ("write", "fsync", "replace", "rename", "link", "unlink", "mkdir", "rmdir")
_QUIET = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "DS_ACCELERATOR": "cpu"}


class Zygote:
    """The process; use as a context."""

    def __enter__(self) -> "Zygote":
        command = [sys.executable, "-m", "tests.training.zygote"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | _QUIET, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)

    def run(
        self,
        spec: TrainSpec,
        how: Runtime,
        parent: Path,
        out: Path,
        resume_from: Sequence[Path] = (),
        kill_at: int | None = None,
    ) -> dict[str, Any] | None:
        """The facts of a run, with "changes": how many there were to its folder; None where change `kill_at` came."""
        told = {
            "spec": to_record(spec),
            "runtime": to_record(how),
            "parent": str(parent),
            "out": str(out),
            "resume_from": [str(folder) for folder in resume_from],
            "kill_at": kill_at,
        }
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps(told), file=self._process.stdin, flush=True)
        status = int(self._process.stdout.readline())
        if status == -signal.SIGKILL and kill_at is not None:
            return None
        assert status == 0, f"{out}: ended with {status}"
        facts: dict[str, Any] = json.loads(out.with_suffix(".json").read_bytes())
        return facts


# --- in the process ---------------------------------------------------------------------------------------------------


def _wait_for_threads() -> None:
    """A library's import may have used a pool, whose threads end some moments after it; a fork would lack them."""
    patience = time.monotonic() + 60
    while threading.active_count() > 1:
        assert time.monotonic() < patience, threading.enumerate()
        gc.collect()
        time.sleep(0.05)


def _serve() -> None:
    import deepspeed.ops
    import deepspeed.runtime.zero.muon.muon_optimizer  # noqa: F401  with it comes torch's compiler: 3 s, in every fork
    import torch

    assert deepspeed.ops.__compatible_ops__  # asks a compiler
    torch.set_num_threads(1)
    answers = os.dup(1)
    os.dup2(2, 1)  # what others print is no answer
    warm = ""
    for line in sys.stdin:
        told = json.loads(line)
        if told["parent"] != warm:
            warm = told["parent"]
            _warm(Path(warm), told["runtime"]["matmul"])
        _wait_for_threads()
        child = os.fork()
        if child == 0:
            _run(told)
        _, status = os.waitpid(child, 0)
        os.write(answers, f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _warm(parent: Path, matmul: Any) -> None:
    """Do once what is the same in every run and takes most of its time: lazy imports, tokenizer, probe of products."""
    from training.engine import matmul as matmul_library
    from training.engine import setup, train  # noqa: F401  also that no edit comes between the first run and the last
    from training.model.parent import read_parent
    from training.pretrained.tokenizer import Tokenizer

    # The runs that follow are forks: they have it already.
    model = read_parent(parent)
    assert Tokenizer(parent).facts and model.tensors
    matmul_library.choose_matmul(matmul, "training", model.config.sizes)


def _run(told: dict[str, Any]) -> None:
    """One run, in a fork; does not return."""
    import traceback

    from training.distributed import init
    from training.engine.setup import read
    from training.engine.train import train
    from training.model.parent import read_parent

    try:
        out = Path(told["out"])
        changes = _count_changes(out, told["kill_at"])
        init("cpu")
        facts = train(
            read(train_spec(told["spec"]), read_parent(Path(told["parent"]))),
            runtime(told["runtime"]),
            out,
            dev_score=dev_score,
            should_stop=lambda: False,
            resume_from=[Path(folder) for folder in told["resume_from"]],
        ).facts
        out.with_suffix(".json").write_text(json.dumps(facts | {"changes": len(changes)}))
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def dev_score(model: Any) -> Any:
    """A score that depends on the weights, also as a task's metric; nothing is at chance."""
    from training.checkpoints.progress import DevScore, TaskMetrics

    score = float(sum(parameter.detach().double().sum() for parameter in model.heads.parameters()))
    return DevScore(score, metrics=(TaskMetrics("mnli", "mnli", {"accuracy": score}),))


def _count_changes(folder: Path, kill_at: int | None) -> list[str]:
    """Count changes to `folder` and die by SIGKILL in place of number `kill_at`. Of a write, the first half is done."""
    ours: set[int] = set()
    changes: list[str] = []
    lock = threading.RLock()
    real_open, real_write, real_close = os.open, os.write, os.close

    def opened(path: Any, flags: int, *more: Any, **named: Any) -> int:
        descriptor = real_open(path, flags, *more, **named)
        if not isinstance(path, int) and os.fspath(path).startswith(str(folder)):
            ours.add(descriptor)
        return descriptor

    def closed(descriptor: int) -> None:
        ours.discard(descriptor)
        real_close(descriptor)

    def counted(name: str) -> Any:
        real = getattr(os, name)

        def call(first: Any, *args: Any, **more: Any) -> Any:
            inside = first in ours if isinstance(first, int) else os.fspath(first).startswith(str(folder))
            with lock:
                if inside:
                    changes.append(name)
                if inside and len(changes) == kill_at:
                    if name == "write":
                        real_write(first, args[0][: len(args[0]) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
            return real(first, *args, **more)

        return call

    for name in _CHANGES:
        setattr(os, name, counted(name))
    os.open, os.close = opened, closed  # type: ignore[assignment]
    return changes


if __name__ == "__main__":
    _serve()
