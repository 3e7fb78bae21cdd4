"""Arrays that nobody vouches for: sbatch that outlives its submitter, and arrays that come when they were given up."""

import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launch import submit
from launch.plan import Plan
from launch.status import Observation
from launch.store import Store, provenance
from launch.submit import orphans, outcome
from slurm.arrays import SBATCH_TIMEOUT
from slurm.base import UserError
from tests.launch import stub_job
from tests.launch.workspace import Workspace
from tests.slurm.scripted import Scheduler


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    with Scheduler(stub_job.work).installed() as made:
        yield made


@pytest.fixture
def plan(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")
    return workspace.plan(cluster={"executor": "slurm", "partition": "gpu"}, seeds=["1"])


class Killed(BaseException):
    """The submitter is gone."""


@pytest.fixture
def script(plan: Plan, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of the first array, whose submitter was killed while sbatch was at work."""
    from slurm import commands

    real = commands.runner

    def killed(command: Any, *more: Any) -> Any:
        if command[0] == "sbatch":
            raise Killed
        return real(command, *more)

    with monkeypatch.context() as patched:
        patched.setattr(commands, "runner", killed)
        with pytest.raises(Killed):
            submit.submit(plan)
    (path,) = plan.experiment.store.glob("submissions/*/logs/0/script.sh")
    return path


@pytest.fixture
def sbatch(script: Path, tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Still at it, as a process of its own."""
    program = tmp_path / "sbatch"
    os.mkfifo(tmp_path / "nothing")
    program.write_text(f"#!/bin/bash\nread -r -t 120 <> {tmp_path}/nothing\n")  # no `sleep`, which would outlive it
    program.chmod(0o755)
    process = subprocess.Popen([str(program), "--parsable", str(script)], start_new_session=True)
    while orphans._sbatch(script) is None:
        assert process.poll() is None
    yield process
    process.kill()
    process.wait()


def _passing(scheduler: Scheduler, seconds: float, happens: Callable[[], None]) -> None:
    """Something happens once so much time has passed."""
    due = scheduler.now + seconds

    def asleep() -> None:
        if scheduler.now >= due:
            scheduler.asleep = lambda: None
            happens()

    scheduler.asleep = asleep


def _live_names(scheduler: Scheduler) -> Counter[str]:
    return Counter(array.name for array in scheduler.arrays if any(element.live for element in array.elements))


def test_an_sbatch_that_outlives_its_submitter_is_waited_for(
    plan: Plan,
    scheduler: Scheduler,
    script: Path,
    sbatch: "subprocess.Popen[bytes]",
) -> None:
    """slurmctld has no room for 100 s, then takes the array, and sbatch ends."""

    def taken_in() -> None:
        scheduler.accept(script.read_text(encoding="utf-8"))
        sbatch.kill()
        sbatch.wait()

    _passing(scheduler, 100, taken_in)
    said: list[str] = []
    done = submit.submit(plan, said.append)
    assert any("adopted" in line for line in outcome.lines(done)) and "up to 240 s" in said[0]
    assert set(_live_names(scheduler).values()) == {1}


def test_after_an_sbatch_that_ended_its_message_may_still_arrive(
    plan: Plan,
    scheduler: Scheduler,
    script: Path,
    sbatch: "subprocess.Popen[bytes]",
) -> None:
    def over() -> None:
        sbatch.kill()
        sbatch.wait()

    begun = scheduler.now
    _passing(scheduler, 100, over)
    assert any("never sent" in line for line in outcome.lines(submit.submit(plan)))
    assert 155 <= scheduler.now - begun <= 175
    assert set(_live_names(scheduler).values()) == {1}


def test_an_sbatch_that_never_ends_is_for_a_person_to_end(
    plan: Plan, scheduler: Scheduler, sbatch: "subprocess.Popen[bytes]"
) -> None:
    with pytest.raises(UserError, match=rf"\(kill {sbatch.pid}\), then type the command again"):
        submit.submit(plan)
    assert not scheduler.arrays


@pytest.mark.parametrize(
    ("note", "least", "most"),
    [
        ({}, 55, 70),  # no sbatch here any more
        ({"left": True}, 25, 35),
        ({"host": "elsewhere"}, SBATCH_TIMEOUT + 25, SBATCH_TIMEOUT + 35),
        ({"host": "elsewhere", "left": True}, 25, 35),
    ],
)
def test_how_long_is_waited(
    plan: Plan, scheduler: Scheduler, script: Path, note: dict[str, Any], least: float, most: float
) -> None:
    """Half a minute after the submitter died."""
    path = script.parents[2] / "sending-0.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | note))
    scheduler.advance(30)
    begun, asked = scheduler.now, scheduler.calls["sacct"]
    assert any("never sent" in line for line in outcome.lines(submit.submit(plan)))
    assert least <= scheduler.now - begun <= most
    assert scheduler.calls["sacct"] - asked <= 4  # accounting is asked first and last


def test_long_after_a_submitter_died_nobody_waits(plan: Plan, scheduler: Scheduler, script: Path) -> None:
    scheduler.advance(86400)
    begun = scheduler.now
    submit.submit(plan)
    assert scheduler.now - begun <= 5


@pytest.mark.parametrize("refusal", ["Unspecified error", "AssocMaxSubmitJobLimit"])
def test_an_array_that_came_though_sbatch_refused_it_does_not_stay_beside_its_replacement(
    plan: Plan, scheduler: Scheduler, refusal: str
) -> None:
    scheduler.work = stub_job.slow(100)
    scheduler.refusal = refusal
    scheduler.send_faults += ["refused"] * 4
    try:
        submit.submit(plan)
    except UserError:
        assert "Max" not in refusal
    path = min(plan.experiment.store.glob("submissions/*/logs/0/script.sh"))
    scheduler.send_faults.clear()
    late = scheduler.accept(path.read_text())
    done = submit.submit(plan)
    assert any("came late" in line for line in outcome.lines(done))
    assert not any(element.live for element in late.elements)
    scheduler.work = stub_job.work
    scheduler.run_all()
    submit.submit(plan)
    scheduler.run_all()
    seen = Observation(plan, Store(plan.experiment.store), max_age=0)
    assert len(seen.finished) == len(plan.stages)
