"""Following an experiment: errors that pass are told once and waited out, refusals end it."""

import errno
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from launch import submit
from launch.experiment import failures
from launch.plan import Plan
from launch.standing import so_far
from launch.status import Observation, breaker
from launch.store import Store, attempts, lock, provenance
from launch.store.attempts import FailureNote, Starter
from launch.submit import cancel, follow, outcome, retry
from slurm.base import UserError
from slurm.causes import Verdict
from slurm.queue import has_ended
from tests.launch import stub_job
from tests.launch.faulty_job import FaultyJob
from tests.launch.workspace import Workspace
from tests.slurm.scripted import Limits, Run, Scheduler


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    """There is room for three elements: the rest goes out while one waits."""
    with Scheduler(stub_job.slow(20), Limits(submit=3)).installed() as made:
        yield made


@pytest.fixture
def plan(workspace: Workspace, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")
    monkeypatch.setattr(lock, "PATIENCE", 30.0)
    made = workspace.plan(cluster={"executor": "slurm", "partition": "gpu"}, seeds=["1"])
    assert submit.submit(made).held
    return made


def _follow(plan: Plan, scheduler: Scheduler, goes_on: Callable[[float], None]) -> list[str]:
    """What is reported until all is finished. `goes_on` is told the seconds since the beginning, at each pause."""
    begun, said = scheduler.now, list[str]()
    scheduler.asleep = lambda: goes_on(scheduler.now - begun)
    assert follow.follow(plan, said.append)
    return said


def test_a_slurmctld_that_is_away_for_some_minutes_ends_nothing(
    plan: Plan, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it goes between the look at the queue and the try to send. How far what runs is, is read for a line
    that is due."""
    looks, readings, read = list[float](), list[so_far.Standing](), so_far.standing

    def standing(*arguments: Any) -> so_far.Standing:
        readings.append(read(*arguments))
        return readings[-1]

    monkeypatch.setattr(so_far, "standing", standing)

    def away(seconds: float) -> None:
        looks.append(seconds)
        scheduler.ctld = "down" if 60 < seconds < 400 else "up"

    real = submit.submit

    def after_the_look(*arguments: object, **more: object) -> object:
        before, scheduler.ctld = scheduler.ctld, "down"
        try:
            return real(*arguments, **more)  # type: ignore[arg-type]
        finally:
            scheduler.ctld = before

    with monkeypatch.context() as patched:
        patched.setattr(submit, "submit", after_the_look)
        tries: list[str] = []
        for _ in range(3):
            follow._send(plan, set(), tries.append, tries)
        assert len(tries) == 1 and "Slurm does not answer" in tries[0]
    said = _follow(plan, scheduler, away)
    assert max(Counter(said).values()) == 1
    progress_lines = [line for line in said if "stages finished" in line]
    assert 1 < len(progress_lines) <= len(readings) < len(looks)
    assert all(re.match(r"\d\d:\d\d \d+ of \d+ stages finished", line) for line in progress_lines)


@pytest.mark.slow
def test_a_submit_that_cannot_be_told_from_a_dead_one_is_waited_for(
    plan: Plan, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another login node, for ten minutes."""
    lock = plan.experiment.store / "submissions" / "lock"

    def locked(seconds: float) -> None:
        if 30 < seconds < 600:
            lock.write_text(json.dumps({"host": "elsewhere", "pid": 1, "start": 1}))
            os.utime(lock, (scheduler.now, scheduler.now))
        elif lock.exists() and "elsewhere" in lock.read_text():
            lock.unlink()

    said = _follow(plan, scheduler, locked)
    (line,) = [line for line in said if "another submit is at work" in line]
    assert "process 1 on elsewhere" in line
    (line,) = [line for line in said if line.startswith("waiting for another submit")]


def test_a_refusal_ends_it(plan: Plan, scheduler: Scheduler) -> None:
    scheduler.refusal = "Requested time limit is invalid (missing or exceeds some limit)"
    scheduler.send_faults += ["refused"] * 9
    with pytest.raises(UserError, match="exceeds some limit"):
        follow.follow(plan, lambda line: None)


def test_children_come_back_with_their_parent(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent's node fails, and Slurm cancels what waits for it."""
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")
    cluster = {"executor": "slurm", "partition": "gpu"}
    plan = workspace.plan(cluster=cluster, seeds=["1"], recipes=["squad"], targets=["xnli"])
    with Scheduler(FaultyJob(), Limits(preempt="CANCEL")).installed() as scheduler:
        submit.submit(plan)
        scheduler.advance(1)
        scheduler.kill(scheduler.running[0], "NODE_FAIL")
        said: list[str] = []
        assert follow.follow(plan, said.append), said


def test_what_is_cancelled_elsewhere_is_not_sent(
    workspace: Workspace, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what there was no room for, and whose parents are not cancelled."""
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")
    plan = workspace.plan(cluster={"executor": "slurm", "partition": "gpu"}, seeds=["1", "2"])
    submit.submit(plan)
    begun = scheduler.now

    def asleep() -> None:
        if scheduler.now - begun > 30:
            scheduler.asleep = lambda: None  # once: nothing may come after it
            cancel.cancel(plan, [], lambda found: True)

    scheduler.asleep = asleep
    said: list[str] = []
    assert not follow.follow(plan, said.append)
    assert not scheduler.live and len(list((plan.experiment.store / "submissions").glob("2*"))) == 1, said


def test_what_is_cancelled_of_stages_that_another_file_sent_is_not_sent(
    workspace: Workspace, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")
    cluster = {"executor": "slurm", "partition": "gpu"}
    submit.submit(workspace.plan(cluster=cluster, seeds=["1"], recipes=["squad"], targets=["xnli"]))
    other = workspace.plan(name="other", cluster=cluster, seeds=["1"], recipes=["squad", "qqp"], targets=["xnli"])
    scheduler.limits.submit = 2
    assert submit.submit(other).held
    begun = scheduler.now

    def asleep() -> None:
        if scheduler.now - begun > 30:
            scheduler.asleep = lambda: None
            cancel.cancel(other, [], lambda found: True)

    scheduler.asleep = asleep
    assert not follow.follow(other, lambda line: None)
    assert not scheduler.live and len(list((other.experiment.store / "submissions").glob("2*"))) == 1


def test_what_equal_failures_held_goes_once_they_are_mended(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `retry`: what was still in the queue of the held submission ends there, and is sent anew."""
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")
    cluster = {"executor": "slurm", "partition": "gpu"}
    plan = workspace.plan(cluster=cluster, seeds=[str(n) for n in range(6)], recipes=["squad"], targets=["xnli"])
    bug = ["KeyError: 'x'"]

    def work(run: Run) -> Generator[None, None, int]:
        manifest = json.loads(run.manifest.read_bytes())
        if breaker.held_line(run.manifest.parent):
            return 1
        yield
        if not bug:
            return stub_job.work(run)
        folder = manifest["elements"][str(run.index)][0]["folder"]
        attempt = attempts.begin(Path(manifest["store"]) / "stages" / folder, Starter.this_process(), has_ended)
        attempt.end(FailureNote("code", bug[0]))
        breaker.note(run.manifest.parent, folder, Verdict("code", bug[0]), failures.from_record(manifest["failures"]))
        if breaker.held_line(run.manifest.parent):
            scheduler.limits.slots = 0  # others have the nodes for a while
        return 1

    with Scheduler(work, Limits(slots=1)).installed() as scheduler:
        (submission,) = submit.submit(plan).submissions
        while not breaker.held_line(submission.folder):
            scheduler.advance(1)
        bug.clear()
        scheduler.limits.slots = 1
        seen = Observation(plan, Store(plan.experiment.store), max_age=0)
        chosen = retry.select(plan, seen, [], [])
        assert 0 < len(chosen) < len(plan.stages)
        lines = outcome.lines(submit.submit(plan, only=chosen, force=chosen))
        assert not any("retry" in line for line in lines), lines
        said: list[str] = []
        assert follow.follow(plan, said.append), said


def test_a_file_system_that_has_trouble_is_waited_for(
    plan: Plan, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said once, and no longer than ten minutes."""
    real, trouble = follow.Observation, [0.0, 400.0]
    begun = scheduler.now

    def observation(*arguments: Any, **more: Any) -> Any:
        if trouble[0] <= scheduler.now - begun < trouble[1]:
            raise OSError(errno.EIO, "Input/output error", "/store/submissions")
        return real(*arguments, **more)

    monkeypatch.setattr(follow, "Observation", observation)
    said = _follow(plan, scheduler, lambda seconds: None)
    assert sum(line.startswith("/store/submissions: Input/output error; ") for line in said) == 1
    trouble[:] = [0.0, float("inf")]
    with pytest.raises(OSError, match="Input/output"):
        follow.follow(plan, lambda line: None)
