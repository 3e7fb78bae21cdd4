"""Whole stages: one that was stopped goes on as if nothing had been (killed ones: test_kill.py)."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.training import stage_runs
from training.checkpoints import files
from training.engine.train import Stopped
from training.spec import Runtime, TrainSpec


def runtime(zero: Any, **more: float) -> Runtime:
    return Runtime(zero=zero, device="cpu", token_budget=100, **more)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("zero", [3])
def test_stopped_and_resumed_is_never_stopped(spec: TrainSpec, zero: int, model: Path, tmp_path: Path) -> None:
    whole = stage_runs.run_here(spec, runtime(zero), model, tmp_path / "whole")
    # The second stop is in the second epoch: the first epoch's scores, and the best one's weights, must come along.
    for attempt, (stop, at) in enumerate([(2, 2), (6, 8)]):
        earlier = [tmp_path / f"{number}" for number in range(attempt)]
        with pytest.raises(Stopped) as stopped:
            stage_runs.run_here(spec, runtime(zero), model, tmp_path / f"{attempt}", stop, resume_from=earlier)
        assert stopped.value.folder == files.step_folder(tmp_path / f"{attempt}", at)
    shutil.rmtree(tmp_path / "0")
    resumed = stage_runs.run_here(spec, runtime(zero), model, tmp_path / "2", resume_from=[tmp_path / "1"])
    assert stage_runs.losses(tmp_path / "2").keys() == set(range(8, 12))
    for key in ("encoder_hash", "dev_scores", "selected_epoch", "steps", "examples", "tokens"):
        assert resumed[key] == whole[key], key
    expected = stage_runs.losses(tmp_path / "whole")
    for attempt in (1, 2):
        for step, loss in stage_runs.losses(tmp_path / f"{attempt}").items():
            assert loss == expected[step], (attempt, step)
