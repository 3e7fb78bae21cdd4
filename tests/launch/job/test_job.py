"""The job's loop over an element's stages: what goes on after a failure, what is dropped, how it leaves."""

import os
import signal
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from launch.job import __main__ as job
from launch.job import element as job_element
from launch.job import results, stage
from launch.job.inputs import Origin, Place
from launch.job.stage import ElementRun
from launch.job.verdicts import StageFailed, error_verdict
from launch.status import history
from launch.store import attempts, manifests
from launch.store.attempts import FailureNote, Starter, begin
from launch.store.manifests import Manifest, StageEntry
from slurm import granted
from slurm.base import UserError
from slurm.granted import Granted
from slurm.resources import Asked
from slurm.signals import StopFlag
from training.pretrained.start import StartModel

CHAIN = [("a", None), ("a-x", "a"), ("b", None), ("b-x", "b"), ("b-y", "b")]


def _entries(stages: list[tuple[str, str | None]] = CHAIN) -> list[StageEntry]:
    return [StageEntry(folder, folder, "train", {}, {}, parent) for folder, parent in stages]


@dataclass
class Element:
    """One that fails where it is told to."""

    failing: dict[str, StageFailed]
    stop: StopFlag = field(default_factory=StopFlag)
    left: bool = True
    done: list[str] = field(default_factory=list)
    world: Any = field(default_factory=lambda: SimpleNamespace(first=True))
    lane: int | None = None

    def run(self, entry: StageEntry) -> None:
        self.done.append(entry.folder)
        if entry.folder in self.failing:
            raise self.failing[entry.folder]

    def drop_encoders(self, folders: list[str]) -> None:
        self.done += [f"drop {folder}" for folder in folders]

    def budget_left(self, entry: StageEntry) -> bool:
        return self.left


def _failure(cause: Any = "code", **more: Any) -> StageFailed:
    return StageFailed("why", cause, ends_element=more.pop("ends", False), **more)


def test_encoders_go_when_their_last_evaluate_is_done() -> None:
    run = Element({})
    assert job_element.run_stages(run, _entries(), ["a", "b"]) == 0
    assert run.done == ["a", "a-x", "drop a", "b", "b-x", "b-y", "drop b"]


def test_what_does_not_need_the_failed_stage_goes_on() -> None:
    run = Element({"a": _failure()})
    assert job_element.run_stages(run, _entries(), ["a", "b"]) == job_element.FAILED
    assert run.done == ["a", "b", "b-x", "b-y", "drop b"]
    run = Element({"b-x": _failure()})
    assert job_element.run_stages(run, _entries(), ["a", "b"]) == job_element.FAILED
    assert run.done == ["a", "a-x", "drop a", "b", "b-x", "b-y"]  # b's encoder is still needed


def test_where_nothing_can_go_on_it_ends() -> None:
    run = Element({"a-x": _failure(ends=True)})
    assert job_element.run_stages(run, _entries(), []) == job_element.FAILED
    assert run.done == ["a", "a-x"]


def test_elsewhere_is_no_failure() -> None:
    assert job_element.run_stages(Element({"a": _failure("elsewhere")}), _entries(), []) == job_element.TRY_AGAIN
    assert (
        job_element.run_stages(Element({"a": _failure("elsewhere"), "b": _failure()}), _entries(), [])
        == job_element.FAILED
    )


@pytest.mark.parametrize(
    ("received", "left", "requeued", "code", "said"),
    [
        (signal.SIGUSR2, True, True, job_element.TRY_AGAIN, "requeued"),
        (signal.SIGUSR2, True, False, job_element.TRY_AGAIN, "stepstone submit FILE"),
        (signal.SIGUSR2, False, True, job_element.FAILED, "error: not queued again"),
        (signal.SIGTERM, True, True, job_element.TRY_AGAIN, ""),
    ],
)
def test_stopped_by_a_signal(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    received: int,
    left: bool,
    requeued: bool,
    code: int,
    said: str,
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(job_element, "requeue", lambda: asked.append(True) or requeued)
    run = Element({"a-x": _failure("time", stopped=True, ends=True)}, left=left)
    run.stop.received = received
    assert job_element.run_stages(run, _entries(), []) == code
    assert run.done == ["a", "a-x"] and said in capsys.readouterr().err
    assert asked == ([True] if received == signal.SIGUSR2 and left else [])


@pytest.mark.parametrize(("left", "code"), [(True, job_element.TRY_AGAIN), (False, job_element.FAILED)])
def test_a_lane_leaves_the_requeue_to_the_job(monkeypatch: pytest.MonkeyPatch, left: bool, code: int) -> None:
    monkeypatch.setattr(job_element, "requeue", lambda: pytest.fail("its neighbours have not saved yet"))
    run = Element({"a-x": _failure("time", stopped=True, ends=True)}, left=left, lane=1)
    run.stop.received = signal.SIGUSR2
    assert job_element.run_stages(run, _entries(), []) == code


# --- one stage under an attempt


def _run(
    root: Path, monkeypatch: pytest.MonkeyPatch, restart: int = 0, rank: int = 0, ranks: int = 1, **manifest: Any
) -> ElementRun:
    """A job's start in a store, without training."""
    for name, value in (("ARRAY_JOB_ID", "7"), ("ARRAY_TASK_ID", "0"), ("RESTART_COUNT", str(restart))):
        monkeypatch.setenv(f"SLURM_{name}", value)
    world: Any = SimpleNamespace(first=not rank, size=ranks, rank=rank, device=SimpleNamespace(type="cpu"))
    path = root / "submissions" / "s" / "manifest-0.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    told = Manifest(str(root), StartModel("hub:model@1"), {0: (ENTRY,)}, {0: ()}, **manifest)
    manifests.write(path, told)
    made = ElementRun(told, path, world, StopFlag())
    monkeypatch.setattr(made.inputs, "is_finished", lambda entry: False)
    return made


ENTRY = StageEntry("k", "squad", "train", {}, {})


def _fail(made: ElementRun, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> StageFailed:
    def raise_it(*_: object) -> None:
        raise error

    monkeypatch.setattr(made, "_train", raise_it)
    with pytest.raises(StageFailed) as caught:
        made.run(ENTRY)
    return caught.value


def _causes(root: Path) -> list[str]:
    return [failure.cause for failure in stage.history.failures_of(root / "stages" / "squad")]


@pytest.mark.parametrize(("made_by", "stays"), [("squad", True), ("mnli", False), (None, False)])
def test_a_model_in_memory_goes_where_the_next_stage_is_not_its_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_by: str | None, stays: bool
) -> None:
    run = _run(tmp_path, monkeypatch)
    run._held = Origin(Place(made_by, "attempts/0001", "g"), SimpleNamespace())  # type: ignore[arg-type]
    monkeypatch.setattr(run, "_begin_unless_finished", lambda entry: None)
    run.run(StageEntry("k", "xnli", "evaluate", {}, {}, "squad"))
    assert (run._held is not None) == stays


def test_a_lane_does_not_try_again_what_failed_in_its_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job was queued again for its neighbours; what was stopped with them goes on."""
    first, second = (_run(tmp_path, monkeypatch, restart) for restart in (0, 1))
    second.lane = 1
    _fail(first, KeyError("answers"), monkeypatch)
    failure = _fail(second, AssertionError("it began"), monkeypatch)
    assert failure.cause == "code" and "failed in this job before" in str(failure) and not failure.ends_element
    assert _causes(tmp_path) == ["code"]
    again = tmp_path / "again"
    first, second = (_run(again, monkeypatch, restart) for restart in (0, 1))
    second.lane = 1
    first.stop.received = signal.SIGUSR2
    _fail(first, stage.train.Stopped(again), monkeypatch)
    _fail(second, KeyError("answers"), monkeypatch)
    assert _causes(again) == ["time", "code"]


def test_an_attempt_notes_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for error, cause in (
        (ValueError("bad label\nof two lines"), "code"),
        (OSError(28, "No space left on device"), "disk"),
        (UserError("task squad: /x: no such file"), "data"),
        (RuntimeError("CUDA error: out of memory"), "cuda-oom"),
        (RuntimeError("CUDA error: device-side assert triggered"), "code"),
        (stage.Fenced(tmp_path), "elsewhere"),
        (stage.train.Stopped(tmp_path), "time"),
    ):
        failure = _fail(_run(tmp_path, monkeypatch), error, monkeypatch)
        assert failure.cause == cause and failure.stopped == (cause == "time")
        assert failure.ends_element == (cause in ("time", "elsewhere") or "device-side" in str(error))
    assert _causes(tmp_path) == ["code", "disk", "data", "cuda-oom", "code", "elsewhere", "time"]
    assert error_verdict(ValueError("a\nb")).evidence == "ValueError: a"


# --- several ranks, one note

SMALLER = UserError("step 3: out of memory with token_budget 4096; submit again: it goes on with 2048")
LOST = RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1234")


def _ranks_fail(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    errors: list[tuple[float, BaseException]],
    signals: tuple[int, ...] = (),
) -> dict[int, str]:
    """Each rank of an attempt fails so many seconds from now; the causes that they end with."""
    attempt = begin(root / "stages" / "squad", Starter("7_0", 0, "n", 1, None), lambda job: None)
    ranks = [_run(root, monkeypatch, rank=n, ranks=len(errors), failures={"equal": "1"}) for n in range(len(errors))]
    for rank, received in zip(ranks, signals, strict=False):
        rank.stop.received = received or None
    found: dict[int, str] = {}

    def fail(number: int) -> None:
        seconds, error = errors[number]
        time.sleep(seconds)
        try:
            with ranks[number]._failures_noted(ENTRY, attempt):
                raise error
        except StageFailed as failure:
            found[number] = failure.cause

    threads = [threading.Thread(target=fail, args=(number,)) for number in range(len(errors))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize("late", [False, True])
def test_what_another_rank_failed_of_is_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool) -> None:
    """Also where the lost connection shows before the rank that was out of memory has said so."""
    after = (0.0, 0.5) if late else (1.0, 0.0)
    found = _ranks_fail(tmp_path, monkeypatch, [(after[0], LOST), (after[1], SMALLER)])
    assert found == {0: "nccl", 1: "cuda-oom"} and _causes(tmp_path) == ["cuda-oom"]


@pytest.mark.parametrize("late", [False, True])
def test_sruns_signal_to_the_other_ranks_is_no_preemption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    after = (0.0, 0.5) if late else (0.1, 0.0)
    stopped = stage.train.Stopped(tmp_path)
    _ranks_fail(tmp_path, monkeypatch, [(after[0], stopped), (after[1], KeyError("x"))], (signal.SIGTERM,))
    assert _causes(tmp_path) == ["code"]
    assert stage.breaker.held_line(tmp_path / "submissions" / "s") is not None


def test_what_follows_does_not_hold_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _ranks_fail(tmp_path, monkeypatch, [(1.0, AssertionError("no answer from rank 1")), (0.0, SMALLER)])
    assert _causes(tmp_path) == ["cuda-oom"]
    assert stage.breaker.held_line(tmp_path / "submissions" / "s") is None


def test_a_lost_connection_alone_and_a_preemption_alone_are_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "_MOMENT", 0.1)
    _ranks_fail(tmp_path, monkeypatch, [(0.0, LOST), (0.0, LOST)])
    stopped = stage.train.Stopped(tmp_path)
    _ranks_fail(tmp_path, monkeypatch, [(0.0, stopped), (0.0, stopped)], (signal.SIGTERM, signal.SIGTERM))
    # A rank that evaluates has saved and left; another waits for it in vain.
    _ranks_fail(tmp_path, monkeypatch, [(0.2, LOST), (0.0, stopped)], (0, signal.SIGUSR2))
    assert _causes(tmp_path) == ["nccl", "preempted", "time"]


def test_a_good_end_stands(tmp_path: Path) -> None:
    attempt = begin(tmp_path, Starter("7_0", 0, "n", 1, None), lambda job: None)
    assert attempt.end(FailureNote("nccl", "first")) and not attempt.end(FailureNote("code", "late"))
    assert stage.attempts.end_of(attempt).failure.message == "first"
    assert attempt.end() and not attempt.end(FailureNote("nccl", "at the barrier"))
    assert stage.attempts.end_of(attempt).failure is None


def test_a_lone_rank_waits_for_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage.time, "sleep", lambda seconds: pytest.fail("it waited"))
    _fail(_run(tmp_path, monkeypatch), LOST, monkeypatch)
    made = _run(tmp_path, monkeypatch)
    made.stop.received = signal.SIGTERM
    _fail(made, stage.train.Stopped(tmp_path), monkeypatch)
    assert _causes(tmp_path) == ["nccl", "preempted"]


def test_a_result_says_on_how_many_cores_it_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results.torch, "get_num_threads", lambda: 3)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "8")  # what was asked for is not what it has
    assert results.cores() == 3


@pytest.mark.parametrize(
    ("asked", "told", "bound", "threads"),
    [
        (2, None, 1, "1"),  # fewer than asked for
        (2, None, 64, "2"),  # not bound: the node's other cores are others'
        (None, None, 64, "4"),  # its part of what the job has there
        (8, "2", 8, "2"),
        (2, "16", 2, "2"),
        (2, "0", 2, "2"),
        (2, "2,1", 2, "2,1"),
    ],
)
def test_threads_follow_the_cores_that_are_there(
    monkeypatch: pytest.MonkeyPatch, asked: int | None, told: str | None, bound: int, threads: str
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(bound)))
    monkeypatch.setattr(granted, "groups", lambda proc, controller: iter(()))
    for name, value in (("SLURM_ARRAY_JOB_ID", "7"), ("SLURM_CPUS_ON_NODE", "8"), ("OMP_NUM_THREADS", told)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    told_job = Manifest("/store", StartModel("hub:model@1"), {}, {}, asked=Asked(tasks=2, cores=asked))
    job._set_threads(told_job)
    assert os.environ["OMP_NUM_THREADS"] == threads
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID")
    monkeypatch.setenv("OMP_NUM_THREADS", "9")  # as a local worker was told
    job._set_threads(told_job)
    assert os.environ["OMP_NUM_THREADS"] == "9"


def test_an_attempt_says_what_its_processes_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    had = Granted(2, 1, 4, 8000, ("2 cores a process asked for, 1 to use; mend it",))
    began = replace(_run(tmp_path, monkeypatch).starter, granted=had)
    stage = tmp_path / "stages" / "squad"
    begin(stage, began, lambda job: None)
    (attempt,) = attempts.attempts_of(stage)
    assert attempts.starter_of(attempt).granted == had
    (record,) = history.records(stage)
    assert record["granted"]["cores"] == 1 and history.lines(stage)[1:] == [
        "  2 processes, 1 core each, 4 GPUs to be seen, 8,000 MB of memory",
        "  warning: 2 cores a process asked for, 1 to use; mend it",
    ]


def test_a_start_says_how_the_one_before_was_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = _run(tmp_path, monkeypatch)
    begin(tmp_path / "stages" / "squad", made.starter, lambda job: None)  # and killed
    log = tmp_path / "submissions" / "s" / "logs" / "0" / "7_0_0_log.err"
    log.parent.mkdir(parents=True)
    log.write_text("--- start 0\n*** JOB 9 ON n CANCELLED AT 2026 DUE TO PREEMPTION ***\n--- start 1\n")
    _fail(_run(tmp_path, monkeypatch, restart=1), stage.train.Stopped(tmp_path), monkeypatch)
    assert _causes(tmp_path) == ["preempted", "time"]
    begin(tmp_path / "stages" / "squad", made.starter, lambda job: None)  # and its node dies
    with log.open("a") as file:
        file.write("--- start 2\nstep 1\n--- start 3\n")
    _fail(_run(tmp_path, monkeypatch, restart=3), ValueError("no"), monkeypatch)
    assert _causes(tmp_path) == ["preempted", "time", "node", "code"]


def test_a_used_up_budget_ends_the_job_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = {"time": {"retry": "1"}}
    stopped = stage.train.Stopped(tmp_path)
    made = _run(tmp_path, monkeypatch, failures=policy)
    _fail(made, stopped, monkeypatch)
    assert made.budget_left(ENTRY)
    made = _run(tmp_path, monkeypatch, restart=1, failures=policy)
    _fail(made, stopped, monkeypatch)
    assert not made.budget_left(ENTRY)
    failure = _fail(_run(tmp_path, monkeypatch, restart=2, failures=policy), AssertionError("it ran"), monkeypatch)
    assert failure.cause == "time" and "not started again" in str(failure) and failure.ends_element
    assert _causes(tmp_path) == ["time"] * 3


def test_equal_failures_hold_the_rest_of_the_submission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = _run(tmp_path, monkeypatch, failures={"equal": "1"})
    _fail(made, ValueError("bad label"), monkeypatch)
    assert stage.breaker.held_line(made.path.parent) is not None
    assert not (set(os.listdir(made.path.parent)) - {"manifest-0.json", "failures", "held.json"})
    monkeypatch.setattr("sys.argv", ["job", str(made.path)])
    monkeypatch.setattr(job.StopFlag, "install", lambda self: None)
    with pytest.raises(SystemExit, match="held: 1 stage failed alike"):
        job.main()


def test_other_packages_are_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = stage.provenance.versions()
    _fail(_run(tmp_path, monkeypatch, packages=sent), ValueError("no"), monkeypatch)
    assert "warning" not in capsys.readouterr().err
    _fail(_run(tmp_path, monkeypatch, packages=sent | {"torch": "0.1"}), ValueError("no"), monkeypatch)
    assert "warning: other packages than at submission: torch" in capsys.readouterr().err
    first, second = stage.attempts.attempts_of(tmp_path / "stages" / "squad")
    assert not stage.attempts.starter_of(first).packages
    assert stage.attempts.starter_of(second).packages[0].endswith("instead of 0.1")


def test_a_stage_that_runs_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(tmp_path / "stages" / "squad", Starter("8_0", 0, "n", 1, None), lambda job: None)
    monkeypatch.setattr(stage, "has_ended", lambda job: False)
    failure = _fail(_run(tmp_path, monkeypatch), AssertionError("it ran"), monkeypatch)
    assert failure.cause == "elsewhere" and not failure.ends_element
