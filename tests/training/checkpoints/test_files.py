"""Checkpoints: only whole ones count, whenever the writing of one was cut off, and whatever became of the disk."""

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from slurm.base import files
from tests import trace
from training.checkpoints import files as checkpoint_files
from training.checkpoints.files import Writer, best_name, step_name
from training.checkpoints.fragments import KINDS, Fragment
from training.distributed import World

IDENTITY = "0" * 64
ALONE = World(0, 1, 0, torch.device("cpu"))
SIZE = 40


def fragments(value: float, *, world: World = ALONE, parameters_only: bool = False) -> Iterator[Fragment]:
    """A rank's part of one tensor full of `value`."""
    size = SIZE // world.size
    for kind in KINDS[:1] if parameters_only else KINDS:
        yield Fragment(kind, "w", world.rank * size, torch.full((size,), value))


def save(writer: Writer, step: int, best: int | None = None, identity: str = IDENTITY) -> None:
    state = {"step": step, "best": None if best is None else {"epoch": best, "score": 1.0}}
    writer.start(step_name(step), fragments(float(step)), identity, state, {"ids": torch.arange(step)})
    writer.wait()


def save_best(writer: Writer, epoch: int) -> None:
    writer.start(best_name(epoch), fragments(float(epoch), parameters_only=True), IDENTITY, {})
    writer.wait()


def written(out: Path, step: int, best: int | None = None, identity: str = IDENTITY) -> Path:
    """A checkpoint and its best epoch's folder, by a process that writes nothing else."""
    writer = Writer(out, ALONE)
    if best is not None and not checkpoint_files.best_folder(out, best).exists():
        save_best(writer, best)
    save(writer, step, best, identity)
    assert writer.failed is None
    return checkpoint_files.step_folder(out, step)


def found(*outs: Path) -> int | None:
    checkpoint = checkpoint_files.newest(outs, IDENTITY)
    return None if checkpoint is None else int(checkpoint.state["step"])


def names(out: Path) -> list[str]:
    return sorted(path.name for path in (out / checkpoint_files.FOLDER).iterdir())


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
    checkpoint = checkpoint_files.newest([tmp_path / "2"], IDENTITY)
    assert checkpoint is not None
    assert checkpoint.reader().tensor("exp_avg", "w", (SIZE,)).tolist() == [10.0] * SIZE
    assert checkpoint.extra()["ids"].tolist() == list(range(10))
    assert checkpoint_files.opened(checkpoint.folder) == checkpoint


def test_another_stage_or_a_changed_one_does_not_count(tmp_path: Path) -> None:
    written(tmp_path, 5, identity="1" * 64)
    assert found(tmp_path) is None


@pytest.mark.parametrize(
    "damage",
    ["no manifest", "torn manifest", "a flipped byte", "a missing file", "a short file", "another vocabulary"],
)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path, damage: str) -> None:
    written(tmp_path, 5)
    folder = written(tmp_path, 6)
    manifest, tensors = folder / "manifest.json", folder / "rank-00000.safetensors"
    if damage == "no manifest":
        manifest.unlink()
    elif damage == "torn manifest":
        manifest.write_bytes(manifest.read_bytes()[:-20])
    elif damage == "a flipped byte":
        flip_a_byte(tensors)
    elif damage == "a missing file":
        tensors.unlink()
    elif damage == "a short file":
        tensors.write_bytes(tensors.read_bytes()[:-4])
    else:
        flip_a_byte(folder / "vocabulary.safetensors")
    assert found(tmp_path) == 5


def test_without_its_best_epoch_a_checkpoint_does_not_count(tmp_path: Path) -> None:
    written(tmp_path, 5, best=0)
    written(tmp_path, 6, best=1)
    flip_a_byte(checkpoint_files.best_folder(tmp_path, 1) / "rank-00000.safetensors")
    assert found(tmp_path) == 5


def test_two_are_kept_with_the_best_epochs_they_name(tmp_path: Path) -> None:
    for step, best in ((1, 0), (2, 1), (3, 2), (4, 3)):
        written(tmp_path, step, best)
    assert names(tmp_path) == ["best-0002", "best-0003", "step-000003", "step-000004"]
    # A better epoch that no step names yet is kept, also beside one that still is named.
    save_best(Writer(tmp_path, ALONE), 4)
    save_best(Writer(tmp_path, ALONE), 5)
    assert names(tmp_path) == ["best-0002", "best-0003", "best-0005", "step-000003", "step-000004"]


def test_broken_ones_never_push_out_what_was_gone_on_from(tmp_path: Path) -> None:
    for step in (1, 2):
        written(tmp_path, step)
    shutil.copytree(checkpoint_files.step_folder(tmp_path, 2), checkpoint_files.step_folder(tmp_path, 8))
    for step in (9, 10):
        written(tmp_path / "other", step)
        shutil.copytree(
            checkpoint_files.step_folder(tmp_path / "other", step), checkpoint_files.step_folder(tmp_path, step)
        )
        flip_a_byte(checkpoint_files.step_folder(tmp_path, step) / "rank-00000.safetensors")
    save_best(Writer(tmp_path, ALONE), 0)
    assert {"step-000001", "step-000002"} <= set(names(tmp_path))
    written(tmp_path, 3, best=0)
    assert names(tmp_path) == ["best-0000", "step-000002", "step-000003"] and found(tmp_path) == 3


def test_the_end_needs_no_fragments(tmp_path: Path) -> None:
    writer = Writer(tmp_path, ALONE)
    save_best(writer, 0)
    writer.start(step_name(7), [], IDENTITY, {"step": 7, "best": {"epoch": 0, "score": 1.0}})
    writer.wait()
    checkpoint = checkpoint_files.newest([tmp_path], IDENTITY)
    assert checkpoint is not None and checkpoint.state["step"] == 7 and checkpoint.files == ()
    assert checkpoint.best is not None
    assert checkpoint_files.opened(checkpoint.best).reader().tensor("parameters", "w", (SIZE,)).shape == (SIZE,)


@pytest.mark.parametrize("links", [True, False])
def test_the_best_epoch_comes_along(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "old", 3, best=0)
    if not links:
        monkeypatch.setattr(os, "link", _refuse)
    checkpoint = checkpoint_files.newest([tmp_path / "old"], IDENTITY)
    assert checkpoint is not None
    for _ in range(2):  # also where a start before left a part of it
        checkpoint_files.link_best(checkpoint, tmp_path / "new")
    # Written anew, it is another file: the old attempt's stays as it is.
    monkeypatch.undo()
    save_best(Writer(tmp_path / "new", ALONE), 0)
    flip_a_byte(checkpoint_files.best_folder(tmp_path / "new", 0) / "rank-00000.safetensors")
    assert found(tmp_path / "old") == 3
    checkpoint_files.link_best(checkpoint, tmp_path / "new")
    shutil.rmtree(tmp_path / "old")
    best = checkpoint_files.verified(checkpoint_files.best_folder(tmp_path / "new", 0), IDENTITY)
    assert best is not None and best.reader().tensor("parameters", "w", (SIZE,)).tolist() == [0.0] * SIZE


def _refuse(*_: object) -> None:
    raise OSError(errno.EOPNOTSUPP, "no hard links here")


# --- in the background, by several ranks ------------------------------------------------------------------------------


def ranks(out: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> list[Writer]:
    """Writers of several ranks in this process; what they agree on when they are made is given to them."""
    monkeypatch.setattr(checkpoint_files, "from_first", lambda value, world: "the same on all")
    return [Writer(out, World(rank, size, 0, torch.device("cpu"))) for rank in range(size)]


def start(writer: Writer, rank: int, size: int, step: int) -> None:
    world = World(rank, size, 0, torch.device("cpu"))
    writer.start(step_name(step), fragments(float(step), world=world), IDENTITY, {"step": step})


def test_it_counts_when_the_last_rank_has_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writers = ranks(tmp_path, 2, monkeypatch)
    for step in (1, 2):
        if step == 2:  # what an earlier write left there is not taken for this one's
            shutil.copytree(checkpoint_files.step_folder(tmp_path, 1), checkpoint_files.step_folder(tmp_path, 2))
            (checkpoint_files.step_folder(tmp_path, 2) / "manifest.json").unlink()
        start(writers[0], 0, 2, step)
        time.sleep(0.15)
        assert writers[0].busy and found(tmp_path) == (None if step == 1 else 1)
        start(writers[1], 1, 2, step)
        writers[1].wait()
        writers[0].wait()
        assert found(tmp_path) == step and not writers[0].busy
    checkpoint = checkpoint_files.newest([tmp_path], IDENTITY)
    assert checkpoint is not None
    assert checkpoint.reader().tensor("parameters", "w", (SIZE,)).tolist() == [2.0] * SIZE


def test_a_rank_that_does_not_come_can_be_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writers = ranks(tmp_path, 2, monkeypatch)
    start(writers[0], 0, 2, 1)
    writers[0].abandon()
    assert not writers[0].busy and writers[0].failed == "rank 1 did not write its part"
    assert found(tmp_path) is None and names(tmp_path) == []


def full_disk(monkeypatch: pytest.MonkeyPatch, when: Callable[[], bool]) -> None:
    def write(descriptor: int, content: memoryview) -> int:
        if when():
            raise OSError(28, os.strerror(28))
        return real(descriptor, content)

    real = os.write
    monkeypatch.setattr(os, "write", write)


def test_a_full_disk_costs_the_new_checkpoint_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, 5)
    writer = Writer(tmp_path, ALONE)
    full_disk(monkeypatch, lambda: True)
    save(writer, 6)
    assert writer.failed == "No space left on device"
    assert found(tmp_path) == 5 and names(tmp_path) == ["step-000005"]
    monkeypatch.undo()
    save(writer, 6)  # the same again, once there is room
    assert found(tmp_path) == 6


def test_the_first_rank_hears_of_anothers_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writers = ranks(tmp_path, 2, monkeypatch)
    failures = iter([True])
    start(writers[0], 0, 2, 1)
    while not (checkpoint_files.step_folder(tmp_path, 1) / "rank-00000.json").exists():
        time.sleep(0.01)
    full_disk(monkeypatch, lambda: next(failures, False))
    start(writers[1], 1, 2, 1)
    for writer in writers:
        writer.wait()
    assert [writer.failed for writer in writers] == ["rank 1: No space left on device", "No space left on device"]
    assert found(tmp_path) is None


def test_training_goes_on_while_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, values, go_on = Writer(tmp_path, ALONE), torch.ones(SIZE), threading.Event()
    writer.reserve([Fragment("parameters", "w", 0, values)])
    full_disk(monkeypatch, lambda: not go_on.wait(10))
    writer.start(step_name(1), [Fragment("parameters", "w", 0, values)], IDENTITY, {"step": 1})
    values.fill_(2.0)
    assert writer.busy and writer.failed is None
    with pytest.raises(AssertionError):
        writer.start(step_name(2), [], IDENTITY, {})
    go_on.set()
    writer.wait()
    checkpoint = checkpoint_files.newest([tmp_path], IDENTITY)
    assert checkpoint is not None
    assert checkpoint.reader().tensor("parameters", "w", (SIZE,)).tolist() == [1.0] * SIZE


# --- cut off anywhere -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[trace.Event]:
    """What a stage does to its folder: periodic checkpoints, better epochs, pruning; then a second attempt's start."""
    root = tmp_path_factory.mktemp("traced")
    recorded = trace.Trace(root)
    with recorded.recording():
        files.make_folder(root / "1")
        files.sync_folder(root)
        first = Writer(root / "1", ALONE)
        save(first, 1)
        save_best(first, 0)
        save(first, 2, best=0)
        save(first, 3, best=0)
        save_best(first, 1)
        save(first, 4, best=1)
        save(first, 5, best=1)
        checkpoint = checkpoint_files.newest([root / "1"], IDENTITY)
        assert checkpoint is not None
        files.make_folder(root / "2")
        checkpoint_files.link_best(checkpoint, root / "2")
        second = Writer(root / "2", ALONE)
        save(second, 6, best=1)
        save_best(second, 2)
        save(second, 7, best=2)
        save(second, 8, best=2)
        # The end: the same step once more, with nothing but its state.
        second.start(step_name(8), [], IDENTITY, {"step": 8, "best": {"epoch": 2, "score": 1.0}})
        second.wait()
    return recorded.events


def test_the_trace_is_the_whole_story(events: list[trace.Event]) -> None:
    """Without a loss, what is left at the end is what the last steps left: two checkpoints of each attempt."""
    *_, (_, left) = trace.crashes(events, "all")
    assert len(events) > 200
    folders = sorted(name for name, content in left.items() if content is None and name.count("/") == 2)
    assert folders == [
        "1/checkpoints/best-0001",
        "1/checkpoints/step-000004",
        "1/checkpoints/step-000005",
        "2/checkpoints/best-0002",
        "2/checkpoints/step-000007",
        "2/checkpoints/step-000008",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("loss", trace.LOSSES)
def test_cut_off_anywhere_the_newest_whole_one_is_found(
    events: list[trace.Event], loss: trace.Loss, tmp_path: Path
) -> None:
    for number, left in trace.crashes(events, loss):
        done = [event.completes for event in events[:number] if event.completes]
        steps = [None, *sorted({int(name[-6:]) for name in done if "/step-" in name})]
        folder = trace.make(left, tmp_path / str(number))
        # A manifest's name may be lost until its folder is synced: then it is the one before.
        assert found(folder / "1", folder / "2") in (steps[-2:] if loss == "names" else steps[-1:]), number
        shutil.rmtree(folder)
