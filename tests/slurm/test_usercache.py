"""What commands were told, where the user's cache takes it and where it does not: a full disk, a quota, no folder."""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slurm import endings, snapshot, starts, usercache
from slurm.commands import Output
from slurm.endings import Course, ElementId
from tests.slurm.answers import Answers, install

QUEUED = "12|0|PENDING|gpu|2026-11-21T14:30:05|Priority|lab|normal|job\n"
STARTS = "12|0|2026-11-21T14:30:05|job\n"
ENDED = "11_0|FAILED|1:0|2026-11-21T14:00:00|node1|old\n"


@pytest.fixture(params=["no folder", "full", "in the way"])
def answers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Answers:
    """Slurm's, where nothing can be put into the user's cache."""
    cache = None if request.param == "no folder" else tmp_path
    answers = install(monkeypatch, cache, **{"squeue": QUEUED, "squeue --start": STARTS, "sacct": ENDED})
    if request.param == "full":

        def refuse(path: Path, content: bytes) -> None:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), str(path))

        monkeypatch.setattr(usercache, "write_atomic", refuse)
    elif request.param == "in the way":
        folder = usercache.folder()
        assert folder is not None
        for name in ("queue.json", "ways.json", "starts/starts.json", "accounting/ended.json"):
            (folder / name).mkdir(parents=True)
    return answers


def _of_queue() -> object:
    return snapshot.look().entries


def _of_starts() -> object:
    return starts.look()


def _of_ends() -> object:
    return endings.look({ElementId("11", 0, "old"): Course(1)}).records


def _of_what_never_began() -> object:
    """Accounting has no record of it, and is asked for one again and again."""
    return endings.look({ElementId("10", 0, "lost"): Course(1)}) == endings.Endings({}, {}, {})


@pytest.mark.parametrize(
    ("look", "budget"), [(_of_queue, 12), (_of_starts, 3), (_of_ends, 1), (_of_what_never_began, 12)]
)
def test_a_process_that_lives_long_asks_no_more_often_without_it(
    answers: Answers, monkeypatch: pytest.MonkeyPatch, look: Callable[[], object], budget: int
) -> None:
    began = time.time()
    for seconds in range(0, 600, 5):
        monkeypatch.setattr(time, "time", lambda now=began + seconds: now)
        assert look()
    assert len(answers.asked) <= budget


def test_what_was_changed_from_here_is_asked_for_all_the_same(answers: Answers) -> None:
    assert snapshot.look().entries
    snapshot.changed()
    answers.by_start["squeue"] = ""
    assert snapshot.look().entries == []


def test_the_way_that_was_taken_is_remembered(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = Output(1, "", "squeue: unrecognized option '--noheader'\n")
    answers.by_start["squeue --noheader"] = refusal
    assert snapshot.look().entries
    asked, now = len(answers.asked), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 61)
    assert snapshot.look().entries and len(answers.asked) == asked + 1


def test_what_another_process_could_write_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path)
    folder, written = usercache.folder(), usercache.write_atomic
    assert usercache.kept(folder, "queue.json") is None

    def refuse(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    usercache.keep(folder, "queue.json", b"first")
    monkeypatch.setattr(usercache, "write_atomic", refuse)
    usercache.keep(folder, "queue.json", b"ours")
    assert folder is not None and (folder / "queue.json").read_bytes() == b"first"
    assert usercache.kept(folder, "queue.json") == b"ours"
    written(folder / "queue.json", b"another's")
    assert usercache.kept(folder, "queue.json") == b"another's"
    monkeypatch.setattr(usercache, "write_atomic", written)
    usercache.keep(folder, "queue.json", b"last")
    assert (folder / "queue.json").read_bytes() == usercache.kept(folder, "queue.json") == b"last"
