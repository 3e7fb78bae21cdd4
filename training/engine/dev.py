"""When English dev is scored while a stage trains, and what is noted of it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from training import distributed
from training.checkpoints.progress import DevScore, Progress
from training.distributed import World
from training.engine.log import TrainingLog
from training.model.encoder import StageModel
from training.stopwatch import phase


@dataclass(frozen=True)
class DevSchedule:
    """`per_epoch` points in each epoch, evenly, the last at its end: each after the first step by which it is due."""

    per_epoch: int
    steps_per_epoch: int
    epochs: int

    def progress_at(self, step: int) -> float | None:
        """After `step` steps: the share of the whole training at which a point was due; None: none is.

        Where an epoch has fewer steps than points, those that are due together are one, the latest.
        """
        due = self._due_by(step)
        return due / (self.per_epoch * self.epochs) if step and due > self._due_by(step - 1) else None

    def _due_by(self, step: int) -> int:
        return step * self.per_epoch // self.steps_per_epoch


class DevScoring:
    """What a stage's dev has said, in its `progress`, which checkpoints keep: so no point is missing or there twice
    after a resume. Every rank has one and calls it alike."""

    def __init__(self, schedule: DevSchedule, progress: Progress, record: TrainingLog, world: World) -> None:
        self._schedule, self._progress, self._record, self._world = schedule, progress, record, world

    @property
    def epoch_is_unscored(self) -> bool:
        """Whether an epoch has just ended; a run that was stopped there goes on with its score."""
        return len(self._progress.scores) < self._progress.step // self._schedule.steps_per_epoch

    @property
    def is_due(self) -> bool:
        """Whether a point is due now, an epoch's end or within one."""
        step, points = self._progress.step, self._progress.points
        if step % self._schedule.steps_per_epoch == 0:
            return self.epoch_is_unscored
        return self._schedule.progress_at(step) is not None and not (points and points[-1]["step"] == step)

    def score(self, model: StageModel, dev_score: Callable[[StageModel], DevScore]) -> dict[str, Any]:
        """Rank 0's DevScore of the model as it is now, as a record; its metrics become points."""
        step = self._progress.step
        self._record.interval(step - 1)
        was_training = model.training
        with phase("dev"):
            dev_result: dict[str, Any] = distributed.from_first(asdict(dev_score(model)), self._world)
        model.train(was_training)
        for task_metrics in dev_result["metrics"]:
            point = {"step": step, "progress": self._schedule.progress_at(step), **task_metrics}
            self._progress.points.append(point)
            self._record.line(dev_point=step, **{name: value for name, value in point.items() if name != "step"})
        self._record.pause()
        return dev_result
