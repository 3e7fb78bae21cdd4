"""Where a stage's time went: what its job notes is what a person reads."""

import json
from pathlib import Path

import pytest

from launch.job.clock import Clock
from launch.store import attempts, times
from launch.store.attempts import Attempt, FailureNote, Starter
from launch.store.manifests import StageEntry
from launch.store.submissions import Submission
from launch.store.times import StageTimes
from slurm.base.files import make_folder, to_json, write_atomic
from training.stopwatch import phase

ENTRY = StageEntry("k", "squad.mnli--xnli", "evaluate", {}, {}, parent="squad.mnli")


def _attempt(root: Path, name: str = "squad.mnli--xnli") -> Attempt:
    return attempts.begin(root / "stages" / name, Starter.this_process(), lambda job: None)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    attempt = _attempt(tmp_path)
    log = attempt.folder / "log.jsonl"
    assert times.of_attempt(attempt) is None  # it has just begun
    log.write_text('{"step": 1}\n{"epoch": 0, "dev_score": 1.0}\n')
    assert times.of_attempt(attempt) is None  # of an earlier version
    written = StageTimes(2.5, 1.25, train=60.0, languages={"en": 0.5, "sw": 1.5})
    times.note(attempt, written)
    assert times.of_attempt(attempt) == written
    assert written.line() == "time: queue 2.5 s, train 60 s, imports 1.2 s; languages: sw 1.5 s, en 0.5 s"
    log.write_bytes(log.read_bytes()[:-9])
    assert times.of_attempt(attempt) is None  # torn


def test_a_job_notes_its_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first has the queue and the imports; one that fails is noted too."""
    submission = Submission(make_folder(tmp_path / "submissions" / "s"))
    clock = Clock(submission.manifest(0))
    first = _attempt(tmp_path)
    began = attempts.starter_of(first).time
    assert began is not None
    write_atomic(submission.folder / "sending-0.json", to_json({"time": began - 100}))
    parent = _attempt(tmp_path, "squad.mnli")
    write_atomic(parent.folder / "end.json", to_json({"failure": None, "time": began - 30}))
    monkeypatch.setattr("launch.job.clock.seconds_since_start", lambda: 20.0)
    with clock.stage(ENTRY, first, notes=True), phase("evaluate"):
        clock.language("en", 0.5)
    noted = times.of_attempt(first)
    assert noted is not None and noted.languages == {"en": 0.5} and noted.imports == 20
    assert noted.queue == pytest.approx(10, abs=0.01)  # from when its parent had ended until its process began
    first.end(FailureNote("code", "no"))
    second = _attempt(tmp_path)
    with pytest.raises(KeyError), clock.stage(ENTRY, second, notes=True):
        raise KeyError
    noted = times.of_attempt(second)
    assert noted is not None and (noted.queue, noted.imports, noted.languages) == (None, 0.0, {})
    second.end()
    with clock.stage(ENTRY, third := _attempt(tmp_path), notes=False):
        pass
    assert times.of_attempt(third) is None  # another rank's


def test_log_lines_are_json(tmp_path: Path) -> None:
    attempt = _attempt(tmp_path)
    times.note(attempt, StageTimes())
    record = json.loads((attempt.folder / "log.jsonl").read_text())
    assert record["times"]["queue"] is None and set(record) == {"times"}
