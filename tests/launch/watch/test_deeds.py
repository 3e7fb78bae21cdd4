"""Leaving the app while something is under way, and what becomes of its faults."""

import threading
from typing import Any

import pytest
from textual.app import App

from launch import submit
from launch.plan import Plan
from launch.watch import app as watch_app
from launch.watch.app import WatchApp
from launch.watch.asking import Question
from launch.watch.deeds import INTERRUPTED, finish
from slurm import commands
from slurm.base import UserError
from tests.launch import stub_job
from tests.launch.watch.driving import Drive, drive
from tests.launch.workspace import look_at
from tests.slurm.scripted import Scheduler

pytestmark = pytest.mark.slow  # a second each


class Gate:
    """Stops whoever sends an array, until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_reached, self.is_open = threading.Event(), threading.Event()
        answer = commands.runner

        def wait_and_answer(command: Any, *rest: Any) -> commands.Output:
            if command[0] == "sbatch":
                self.is_reached.set()
                assert self.is_open.wait(60)
            return answer(command, *rest)

        monkeypatch.setattr(commands, "runner", wait_and_answer)


def _retried_and_left(scheduler: Scheduler, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> tuple[WatchApp, Gate]:
    """A failed stage is sent again, and `q` pressed before it is."""
    scheduler.work = stub_job.failing(("squad-s1",), "it broke")
    submit.submit(plan)
    scheduler.run_all()
    scheduler.work = stub_job.work
    gate, apps = Gate(monkeypatch), []

    async def steps(at: Drive) -> None:
        apps.append(at.app)
        await at.press("R")
        await at.question()
        await at.press("y")
        await at.until(gate.is_reached.is_set)
        await at.press("q")
        assert at.app._exit

    drive(monkeypatch, plan, steps)
    return apps[0], gate


def test_what_was_agreed_to_is_brought_to_its_end(
    scheduler: Scheduler, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, gate = _retried_and_left(scheduler, plan, monkeypatch)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        gate.is_open.set()

    assert finish(app.deeds, say) == 0
    assert said[0] == "retry: still under way, this waits for its end; ctrl-C leaves it halfway"
    assert any("sent" in line for line in said[1:])
    scheduler.run_all()
    assert look_at(plan).counts()["finished"] == len(plan.stages)


def test_who_does_not_wait_is_told(scheduler: Scheduler, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    app, gate = _retried_and_left(scheduler, plan, monkeypatch)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if len(said) == 1:
            raise KeyboardInterrupt

    assert finish(app.deeds, say) == INTERRUPTED
    assert said[1:] == ["retry: left halfway; `stepstone status FILE` shows what was done"]
    gate.is_open.set()
    app.deeds[0].wait(60)


def test_a_question_is_not_waited_for(scheduler: Scheduler, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    submit.submit(plan)
    scheduler.advance(2)
    apps: list[WatchApp] = []

    async def steps(at: Drive) -> None:
        apps.append(at.app)
        await at.press("C")
        await at.question()
        await at.press("ctrl+c")
        assert at.app._exit and isinstance(at.app.screen, Question)

    drive(monkeypatch, plan, steps)
    said: list[str] = []
    assert finish(apps[0].deeds, said.append) == 0 and not said
    assert not look_at(plan).counts()["cancelled"]


def test_a_defect_of_an_action_is_told(scheduler: Scheduler, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("by zero")

    async def steps(at: Drive) -> None:
        monkeypatch.setattr("launch.watch.acting.cancelling.cancel", fail)
        await at.press("C")
        await at.said("cancel failed: ZeroDivisionError: by zero")

    drive(monkeypatch, plan, steps)


@pytest.mark.parametrize("error", [UserError("the file is gone", exit_code=2), ZeroDivisionError("by zero")])
def test_an_end_by_a_fault_is_no_success(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], error: Exception
) -> None:
    def fail(app: WatchApp) -> None:
        raise error

    monkeypatch.setattr(WatchApp, "run", lambda app: App.run(app, headless=True))
    monkeypatch.setattr(WatchApp, "draw", fail)
    if isinstance(error, UserError):
        with pytest.raises(UserError, match="the file is gone"):  # which the command line tells in one line
            watch_app.run([plan], print)
        assert "Traceback" not in "".join(capfd.readouterr())
    else:
        assert watch_app.run([plan], print) == 1
        assert "by zero" in "".join(capfd.readouterr())
