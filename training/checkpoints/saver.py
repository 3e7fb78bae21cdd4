"""When a stage in training is saved, and what of it. Collective, unless it says otherwise."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slurm.base import UserError
from training import distributed
from training.checkpoints.files import Writer, best_name, step_folder, step_name
from training.checkpoints.fragments import KINDS, StateKind
from training.checkpoints.optimizer_state import ZeroState
from training.checkpoints.progress import Progress
from training.distributed import World


class Saver:
    """Writes a stage's checkpoints. `minutes`: between two periodic ones."""

    def __init__(self, out: Path, world: World, identity: str, minutes: float) -> None:
        self._out, self._world, self._identity, self._seconds = out, world, identity, minutes * 60
        self._writer = Writer(out, world)
        self._saved_at = time.monotonic()
        self._needed = False  # whether training cannot do without the last write

    def begin(self, state: ZeroState, ids: NDArray[np.int64] | None) -> None:
        """What is saved from now on: the engine's state, and the ids of the compact vocabulary."""
        self._state, self._ids = state, ids
        self._writer.reserve(state.fragments())

    def is_due(self) -> bool:
        """Whether rank 0 wants a periodic checkpoint now. Not collective: the ranks agree on it afterwards."""
        if not self._world.first or self._writer.busy:
            return False
        return time.monotonic() - self._saved_at >= self._seconds

    @property
    def failed(self) -> bool:
        """Whether this rank's last write failed. Not collective."""
        return self._writer.failed is not None

    def take_failure(self) -> str | None:
        """Why a rank's last write failed, said once; collective. UserError where training cannot do without it."""
        if self._needed:
            self._finish()
        reason = self._writer.failed
        self._writer.forget_failure()
        return reason

    def save(self, progress: Progress) -> float:
        """A checkpoint of this moment, written in the background. Returns the seconds that training stood still."""
        started_at = time.monotonic()
        self._write(step_name(progress.step), KINDS, progress)
        self._saved_at = time.monotonic()
        return self._saved_at - started_at

    def save_now(self, progress: Progress) -> Path:
        """The same, whole when this returns. UserError where it cannot be written."""
        self.save(progress)
        self._finish()
        return step_folder(self._out, progress.step)

    def save_best(self, progress: Progress, epoch: int) -> None:
        """The parameters of the best epoch so far, in the background. UserError, at the latest with the next write,
        where they cannot be written."""
        self._write(best_name(epoch), ("parameters",), progress)
        self._needed = True

    def save_end(self, progress: Progress) -> None:
        """Nothing is left to train: the progress alone, so that a kill from here on costs the hand-over only. UserError
        where it cannot be written."""
        self._write(step_name(progress.step), (), progress)
        self._finish()

    def close(self) -> None:
        """Not collective."""
        self._writer.abandon()

    def _write(self, name: str, kinds: Sequence[StateKind], progress: Progress) -> None:
        """Begin a write, when the one before has ended on all ranks."""
        if self._needed:
            self._finish()  # what names it must not be whole before it is
        self._writer.wait()
        distributed.wait_for_all(self._world)
        self._needed = False
        fragments = self._state.fragments(*kinds) if kinds else ()
        extra = {"ids": torch.from_numpy(self._ids)} if kinds and self._ids is not None else {}
        self._writer.start(name, fragments, self._identity, asdict(progress), extra)

    def _finish(self) -> None:
        """Until the write is whole on all ranks."""
        self._writer.wait()
        failure: Any = distributed.from_first(self._writer.failed, self._world)
        if failure:
            raise UserError(
                f"{self._out}: a checkpoint could not be written ({failure}); free some space, then submit again."
            )
