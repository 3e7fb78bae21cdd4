"""One rank of a train stage as a process of its own: `python -m tests.training.stage_process JSON`."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from training import distributed
from training.checkpoints.progress import DevScore
from training.engine.setup import read
from training.engine.train import Stopped, train
from training.formats.base import Piece
from training.model.encoder import StageModel
from training.model.packing import pack
from training.model.parent import read_parent
from training.spec import runtime, train_spec


def main(told: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    out = Path(told["out"])
    distributed.init("cpu", out.with_suffix(".rendezvous"))
    done = 0

    def on_step(step: int, total: int, loss: float) -> None:
        nonlocal done
        done = step
        if step == told.get("kill_at"):
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        facts = train(
            read(train_spec(told["spec"]), read_parent(Path(told["parent"]))),
            runtime(told["runtime"]),
            out,
            dev_score=dev_score,
            # Only the last rank is asked to stop: all must.
            should_stop=lambda: done + 1 == told.get("stop_at") and told_last(),
            resume_from=[Path(folder) for folder in told.get("resume_from", [])],
            on_step=on_step,
        ).facts
    except Stopped as stopped:
        facts = {"stopped": str(stopped.folder)}
    if told_first():
        out.with_suffix(".json").write_text(json.dumps(facts))
    distributed.finish()
    distributed.leave(0)


def told_first() -> bool:
    world = distributed.current()
    return world is not None and world.first


def told_last() -> bool:
    world = distributed.current()
    return world is not None and world.rank == world.size - 1


def dev_score(model: StageModel) -> DevScore:
    """A score that depends on the weights and is another on every rank but for a broadcast."""
    model.eval()
    head = model.head_names[0]
    with torch.no_grad():
        logits = model(pack([Piece(0, ((0, 2),), ())], [1]), head)
    world = distributed.current()
    assert world is not None
    return DevScore(float(logits.flatten()[0]) + world.rank)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
