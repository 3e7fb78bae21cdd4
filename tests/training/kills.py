"""A stage that is killed and gone on with must hand on the very bytes of one that nobody disturbed."""

import shutil
from pathlib import Path
from typing import Any

from slurm.base.files import sha256_file
from tests.training import stage_data
from tests.training.zygote import Zygote
from training.pretrained.small import tiny
from training.spec import Runtime, Settings, TrainSpec, Zero

_SAME = ("encoder_hash", "dev_scores", "dev_points", "selected_epoch", "steps", "examples", "tokens")


class Kills:
    """One small stage, its undisturbed run, and runs of it that are killed."""

    def __init__(self, folder: Path, zygote: Zygote, zero: Zero) -> None:
        self._folder, self._zygote = folder, zygote
        data = stage_data.write(folder / "data", train=20)
        settings = Settings(learning_rate=1e-3, epochs=2, global_batch_size=8, max_length=64, max_query_length=16)
        parts = tuple(stage_data.task_data(data, task) for task in ("mnli", "squad"))
        self._spec = TrainSpec(parts, settings, seed=5)
        # A checkpoint after every step, unless one is still being written.
        self._runtime = Runtime(
            zero=zero, device="cpu", matmul="mkl", token_budget=100, checkpoint_minutes=0.0, dev_points=2
        )
        self._model = tiny(folder / "model", layers=2, hidden=8, heads=2, feed_forward=16)
        self._whole = self._run("whole")
        assert self._whole is not None

    @property
    def changes(self) -> int:
        """How many changes the undisturbed run made to its folder: about as many as one that is killed would make."""
        assert self._whole is not None
        return int(self._whole["changes"])

    def check(self, point: int) -> bool:
        """Kill a run at a change, go on in another folder, and compare. Whether that change came at all."""
        killed = self._run("killed", kill_at=point) is None
        resumed = self._run("resumed", resume_from=[self._folder / "killed"])
        assert resumed is not None and self._whole is not None
        for name in _SAME:
            assert resumed[name] == self._whole[name], (point, name, resumed[name], self._whole[name])
        assert _files(self._folder / "resumed") == _files(self._folder / "whole"), point
        for name in ("killed", "resumed"):
            shutil.rmtree(self._folder / name, ignore_errors=True)
        return killed

    def _run(self, name: str, **more: Any) -> dict[str, Any] | None:
        return self._zygote.run(self._spec, self._runtime, self._model, self._folder / name, **more)


def _files(out: Path) -> dict[str, str]:
    """Hashes of what is handed on."""
    paths = [path for part in ("encoder", "heads") for path in (out / part).rglob("*") if path.is_file()]
    assert len(paths) > 4, paths
    return {str(path.relative_to(out)): sha256_file(path) for path in paths}
