"""The history of a stage's attempts: causes from notes, from later starts, from accounting and from logs."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from launch.experiment import Failures
from launch.status import history
from launch.status.history import EndedElement, Failure
from launch.status.policy import decide
from launch.store import attempts, logs
from launch.store.attempts import Attempt, BeforeNote, FailureNote, Starter, begin
from slurm.base.files import write_atomic


@dataclass(frozen=True)
class Record:
    """What accounting says of an element."""

    state: str
    job: str = "7"
    index: int = 0
    exit_code: int = 1
    signal: int = 0


def _start(folder: Path, job: str | None = "7_0", **notes: Any) -> Attempt:
    return begin(folder, Starter(job, 0, "login", 1, None, "name", "node1", **notes), lambda job: True)


def _over(record: Record | None = None, log: str = "", job: str = "7_0") -> EndedElement:
    return EndedElement(log, record, f"{record.job}_{record.index}" if record else job)


def _causes(folder: Path, over: EndedElement | None = None) -> list[str]:
    return [failure.cause for failure in history.failures_of(folder, over)]


def _checkpoint(attempt: Attempt, step: int) -> None:
    folder = attempt.folder / "checkpoints" / f"step-{step:06d}"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")


def test_no_attempts_no_failures(tmp_path: Path) -> None:
    assert history.failures_of(tmp_path) == history.lines(tmp_path) == history.records(tmp_path) == []


def test_what_an_attempt_said_of_itself(tmp_path: Path) -> None:
    _start(tmp_path).end(FailureNote("cuda-oom", "CUDA out of memory"))
    _start(tmp_path).end()
    (failure,) = history.failures_of(tmp_path, _over(Record("FAILED")))
    assert (failure.cause, failure.evidence, failure.attempt) == ("cuda-oom", "CUDA out of memory", 1)
    assert (failure.job, failure.node) == ("7_0", "node1")


def test_a_last_attempt_without_an_end_runs_unless_its_element_is_over(tmp_path: Path) -> None:
    _start(tmp_path)
    assert _causes(tmp_path) == []
    assert _causes(tmp_path, _over()) == ["unknown"]
    assert _causes(tmp_path, _over(log="srun: error: node1: task 0: Killed")) == ["host-oom"]
    assert _causes(tmp_path, _over(Record("NODE_FAIL"))) == ["node"]


def test_what_a_later_start_learnt_of_the_one_before(tmp_path: Path) -> None:
    _start(tmp_path)
    _start(tmp_path, before=BeforeNote("preempted", "DUE TO PREEMPTION", 1))
    assert _causes(tmp_path) == ["preempted"]
    _start(tmp_path, "8_0")  # another job knows nothing of it
    assert _causes(tmp_path) == ["preempted", "unknown"]
    assert _causes(tmp_path, _over(Record("TIMEOUT", job="8"))) == ["preempted", "unknown", "time"]


def test_accounting_says_who_stopped_it(tmp_path: Path) -> None:
    _start(tmp_path).end(FailureNote("preempted", "stopped by a signal from Slurm or a person"))
    assert _causes(tmp_path) == ["preempted"]
    assert _causes(tmp_path, _over(Record("CANCELLED by 1001"))) == ["cancelled"]
    assert _causes(tmp_path, _over(Record("FAILED", exit_code=75))) == ["preempted"]


@pytest.mark.parametrize("state", ["OUT_OF_MEMORY", "CANCELLED by 1001"])
def test_how_a_requeued_job_ended_is_not_said_of_its_earlier_starts(tmp_path: Path, state: str) -> None:
    for step in (100, 200):
        attempt = _start(tmp_path)
        _checkpoint(attempt, step)
        attempt.end(FailureNote("time", "stopped by the signal before the time limit"))
    _start(tmp_path)
    *earlier, last = _causes(tmp_path, _over(Record(state)))
    assert earlier == ["time", "time"] and last in ("host-oom", "cancelled")


@pytest.mark.parametrize(("state", "cause"), [("OUT_OF_MEMORY", "host-oom"), ("NODE_FAIL", "node"), ("FAILED", "nccl")])
def test_ranks_that_lost_one_another_do_not_know_why(tmp_path: Path, state: str, cause: str) -> None:
    _start(tmp_path).end(FailureNote("nccl", "Connection closed by peer"))
    assert _causes(tmp_path, _over(Record(state))) == [cause]


def test_the_node_of_a_job_that_began_no_attempt_is_accountings(tmp_path: Path) -> None:
    over = EndedElement("", Record("NODE_FAIL"), "7_0", node="node3")
    (failure,) = history.failures_of(tmp_path, over)
    assert (failure.attempt, failure.node) == (0, "node3")
    assert decide([failure], Failures()).changes.exclude == ("node3",)


def test_an_element_that_ended_before_an_attempt(tmp_path: Path) -> None:
    log = "Traceback (most recent call last):\nImportError: no torch\n"
    (failure,) = history.failures_of(tmp_path, _over(Record("FAILED"), log))
    assert (failure.cause, failure.attempt, failure.job) == ("code", 0, "7_0")
    _start(tmp_path, "6_0").end(FailureNote("data", "gone"))
    assert _causes(tmp_path, _over(Record("FAILED"), log)) == ["data", "code"]
    assert [f.cause for f in history.failures_of(tmp_path / "none", _over(log="error: no GPU here"))] == ["unknown"]


def test_what_only_slurm_said_is_settled_before_the_stage_is_sent_again(tmp_path: Path) -> None:
    """Memory grows with each failure only where the later attempt does not wipe out what is known of the earlier."""
    early = history.failures_of(tmp_path, _over(Record("NODE_FAIL", job="6")))
    history.settle(tmp_path, early[-1])
    for _ in range(2):
        history.settle(tmp_path, early[-1])  # twice is once
        assert history.failures_of(tmp_path, _over(Record("NODE_FAIL", job="6")))[:1] == early
    for job in ("7", "8", "9"):
        _start(tmp_path, f"{job}_0")
        found = history.failures_of(tmp_path, _over(Record("OUT_OF_MEMORY", job=job)))
        history.settle(tmp_path, found[-1])
    assert _causes(tmp_path) == ["node", "host-oom", "host-oom", "host-oom"]
    _start(tmp_path, "9_0").end(FailureNote("disk", "full"))
    history.settle(tmp_path, history.failures_of(tmp_path)[-1])
    assert _causes(tmp_path) == ["node", "host-oom", "host-oom", "host-oom", "disk"]
    assert len(list((tmp_path / "failures").iterdir())) == 4
    assert decide(history.failures_of(tmp_path), Failures()).changes.mem_factor == 2.25


def test_a_job_that_began_no_attempt_is_told_from_the_attempts_before_it(tmp_path: Path) -> None:
    """Where accounting says nothing too."""
    _start(tmp_path, "6_0").end(FailureNote("data", "gone"))
    assert _causes(tmp_path, _over(job="6_0")) == ["data"]
    for job in ("7_0", "8_0"):
        found = history.failures_of(tmp_path, _over(job=job))
        history.settle(tmp_path, found[-1])
    assert _causes(tmp_path, _over(job="8_0")) == _causes(tmp_path) == ["data", "unknown", "unknown"]


def test_what_was_settled_is_in_the_order_of_its_time(tmp_path: Path) -> None:
    for job, when in (("98_0", 1.0), ("99_0", 2.0), ("100_0", 3.0)):
        history.settle(tmp_path, Failure("node", "why", 0, job, when))
    assert [failure.job for failure in history.failures_of(tmp_path)] == ["98_0", "99_0", "100_0"]


def test_local_runs_that_began_no_attempt_count_each(tmp_path: Path) -> None:
    """And each once, however often it is looked at."""
    for sent in (10.0, 20.0, 30.0):
        over = EndedElement("error: no GPU here", sent=sent)
        for _ in range(2):
            found = history.failures_of(tmp_path, over)
            assert len(found) == sent / 10
            history.settle(tmp_path, found[-1])
    assert len(history.failures_of(tmp_path)) == 3 == len(list((tmp_path / "failures").iterdir()))
    assert not decide(history.failures_of(tmp_path), Failures()).send
    _start(tmp_path, None)
    later = EndedElement("MemoryError", sent=time.time() - 5)
    assert _causes(tmp_path, later) == ["unknown"] * 3 + ["host-oom"]
    assert _causes(tmp_path, EndedElement("MemoryError", sent=time.time() + 5))[-2:] == ["unknown", "host-oom"]


def test_further_is_a_newer_checkpoint_or_a_language_more(tmp_path: Path) -> None:
    for step in (100, 100, 0, 150):
        attempt = _start(tmp_path)
        if step:
            _checkpoint(attempt, step)
        attempt.end(FailureNote("time", "stopped by the signal before the time limit"))
    (attempt.folder / "checkpoints" / "step-000900").mkdir()  # without a manifest: it does not count
    write_atomic(_start(tmp_path).folder / "heartbeat.json", json.dumps({"step": 2, "language": "de", "time": 5.0}))
    found = history.failures_of(tmp_path, _over())
    assert [failure.further for failure in found] == [True, False, False, True, True]
    assert found[-1].time == 5.0


def test_lines_and_records_for_people_and_programs(tmp_path: Path) -> None:
    _start(tmp_path).end(FailureNote("disk", "No space left"))
    _start(tmp_path, None).end()
    _start(tmp_path)
    first, second, third = history.lines(tmp_path)
    assert first.startswith("attempt 1: job 7_0 on node1, ") and first.endswith(", disk: No space left")
    assert "local on login" in second and second.endswith("ended well") and third.endswith("no end noted")
    records = history.records(tmp_path)
    assert [record["cause"] for record in records] == ["disk", None, None]
    assert records[0]["ended"] >= records[0]["began"] and records[2]["ended"] is None
    assert json.dumps(records)


def test_a_starter_knows_its_jobs_name_and_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_NAME", "grid-0011aabb.2")
    monkeypatch.setenv("SLURMD_NODENAME", "node7")
    starter = Starter.this_process()
    assert (starter.name, starter.node) == ("grid-0011aabb.2", "node7")
    assert starter.host == os.uname().nodename


def test_a_note_stays_with_the_attempt(tmp_path: Path) -> None:
    attempt = _start(tmp_path, packages=("torch 2 instead of 1",))
    assert attempts.starter_of(attempt).packages == ("torch 2 instead of 1",)


# --- logs of several starts


def _last_start(paths: list[Path]) -> str:
    return "\n".join(logs._starts(path)[-1] for path in paths)


def test_only_the_last_start_of_a_requeued_job_counts(tmp_path: Path) -> None:
    path = tmp_path / "7_0_0_log.err"
    path.write_text("batch\n--- start 0\nValueError: old\nJOB 7 DUE TO PREEMPTION\n--- start 1\nnew\n")
    other = tmp_path / "7_0_1_log.err"
    other.write_text("--- start 0\nold too\n--- start 1\n")
    assert _last_start([path, other]).split() == ["new"]
    assert "DUE TO PREEMPTION" in logs.start_before([path, other]) and "new" not in logs.start_before([path])
    assert logs.start_before([tmp_path / "none"]) == _last_start([tmp_path / "none"]) == ""


def test_of_a_bundles_log_only_the_stages_own_part_counts() -> None:
    text = "begin\n--- stage a-1\nCUDA out of memory\n--- stage b-2\noom_kill event\n"
    assert logs._of_stage(text, "a-1") == "CUDA out of memory"
    assert logs._of_stage(text, "b-2") == "oom_kill event\n"
    assert logs._of_stage(text, "c-3") == text  # the element ended before it came to that


def test_a_long_log_is_read_from_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"--- start 0\n" + b"x" * 100_000 + b"\nthe end \xff\n")
    assert _last_start([path]).rstrip().endswith("the end �") and len(_last_start([path])) < 30_000


def test_a_job_finds_its_own_logs(tmp_path: Path) -> None:
    folder = tmp_path / "logs" / "3"
    folder.mkdir(parents=True)
    (folder / "7_0_0_log.out").write_text("")
    (folder / "7_01_0_log.out").write_text("")
    assert logs.of_job(tmp_path / "manifest-3.json", "7_0") == [folder / "7_0_0_log.out"]


def test_marks_go_to_both_logs(capfd: pytest.CaptureFixture[str]) -> None:
    logs.mark_start(2)
    assert capfd.readouterr() == ("--- start 2\n", "--- start 2\n")
