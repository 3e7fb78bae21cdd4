"""English dev at several points of an epoch: when, each once whatever came in between, no trace in the weights."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm.base.files import read_sealed, seal, write_atomic
from tests.training import stage_runs
from tests.training.stage_process import dev_score
from training.checkpoints import files
from training.checkpoints.progress import DevScore, TaskMetrics
from training.engine.dev import DevSchedule
from training.engine.train import Stopped
from training.model.encoder import StageModel
from training.spec import Runtime, TrainSpec

POINTS = [(2, 0.125), (3, 0.25), (5, 0.375), (6, 0.5), (8, 0.625), (9, 0.75), (11, 0.875), (12, 1.0)]


@given(st.integers(1, 20), st.integers(1, 50), st.integers(1, 4))
def test_points_are_even_and_end_each_epoch(per_epoch: int, steps_per_epoch: int, epochs: int) -> None:
    schedule = DevSchedule(per_epoch, steps_per_epoch, epochs)
    points = {step: schedule.progress_at(step) for step in range(epochs * steps_per_epoch + 1)}
    due = {step: progress for step, progress in points.items() if progress is not None}
    assert len(due) == epochs * min(per_epoch, steps_per_epoch) and 0 not in due
    for epoch in range(1, epochs + 1):
        assert due[epoch * steps_per_epoch] == epoch / epochs
    for step, progress in due.items():  # the first step by which it is due
        share = step / (epochs * steps_per_epoch)
        assert progress <= share + 1e-12 < progress + 1 / (epochs * steps_per_epoch) + 2e-12
    assert all(earlier < later for earlier, later in pairwise(due.values()))


class Interrupted(Exception):
    """In place of a kill."""


def scored(model: StageModel) -> DevScore:
    """A score of the weights, and a metric of each of two tasks."""
    score = dev_score(model)
    return replace(score, metrics=tuple(TaskMetrics(task, task, {"f1": score.score}) for task in ("mnli", "squad")))


@pytest.mark.slow
@pytest.mark.parametrize("zero", [0, 2])
def test_more_points_and_a_kill_change_no_weight(spec: TrainSpec, zero: Any, model: Path, tmp_path: Path) -> None:
    runtime = Runtime(zero=zero, device="cpu", token_budget=100, matmul="mkl", checkpoint_minutes=0.0)
    often = replace(runtime, dev_points=4)

    def kill(step: int, total: int, loss: float) -> None:
        if step == 9:
            raise Interrupted

    ends = stage_runs.run_here(spec, runtime, model, tmp_path / "ends", dev_score=scored)
    assert [(point["step"], point["progress"]) for point in ends["dev_points"]] == [(6, 0.5)] * 2 + [(12, 1.0)] * 2
    with pytest.raises(Stopped):  # where a point is due: at once, and scored by the next start
        stage_runs.run_here(spec, often, model, tmp_path / "0", stop_at=3, dev_score=scored)
    resume_from = [tmp_path / "0"]
    with pytest.raises(Interrupted):
        stage_runs.run_here(spec, often, model, tmp_path / "1", dev_score=scored, resume_from=resume_from, on_step=kill)
    resume_from.append(tmp_path / "1")
    resumed = stage_runs.run_here(spec, often, model, tmp_path / "2", dev_score=scored, resume_from=resume_from)
    for key in ("encoder_hash", "dev_scores", "selected_epoch", "dev_score", "steps"):
        assert resumed[key] == ends[key], key
    by_task = {
        task: [(point["step"], point["progress"]) for point in resumed["dev_points"] if point["task"] == task]
        for task in ("mnli", "squad")
    }
    assert by_task == {"mnli": POINTS, "squad": POINTS}
    at_ends = [point for point in resumed["dev_points"] if point["step"] in (6, 12)]
    assert at_ends == ends["dev_points"] and [point["metrics"]["f1"] for point in at_ends[::2]] == ends["dev_scores"]


@pytest.mark.slow
def test_a_checkpoint_of_before_has_no_points_and_is_gone_on_from(spec: TrainSpec, model: Path, tmp_path: Path) -> None:
    runtime = Runtime(zero=0, device="cpu", token_budget=100, matmul="mkl", dev_points=2)
    with pytest.raises(Stopped) as stopped:
        stage_runs.run_here(spec, runtime, model, tmp_path / "0", stop_at=8, dev_score=scored)
    manifest = stopped.value.folder / "manifest.json"
    record = read_sealed(manifest)
    assert record is not None and len(record["state"].pop("points")) == 4
    write_atomic(manifest, seal(record))
    checkpoint = files.opened(stopped.value.folder)
    assert "points" not in checkpoint.state
    rest = stage_runs.run_here(spec, runtime, model, tmp_path / "1", dev_score=scored, resume_from=[tmp_path / "0"])
    assert [point["step"] for point in rest["dev_points"]] == [9, 9, 12, 12] and len(rest["dev_scores"]) == 2
