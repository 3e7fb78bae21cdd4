"""A job that ended without a log, or without the Python to run: named for what it is, and not sent again blindly."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from launch import submit
from launch.cli.app import app
from launch.plan import Plan
from launch.submit import outcome, retry
from slurm.base import UserError
from tests.launch.workspace import look_at
from tests.slurm.scripted import Scheduler


def _said(plan: Plan, stage: str) -> str:
    done = CliRunner().invoke(app, ["logs", str(plan.experiment.path), stage])
    assert isinstance(done.exception, UserError)
    return str(done.exception)


def _end_all(scheduler: Scheduler, exit_code: int, signal: int) -> None:
    """As where no node sees the store: before anything of ours has run."""
    scheduler.work = lambda run: 1
    for element in scheduler.live:
        if not element.parents:
            scheduler._start(element)
            scheduler.kill(element, "FAILED", exit_code, signal)


def test_nothing_yet_is_said_only_of_what_may_still_print(plan: Plan, scheduler: Scheduler) -> None:
    submit.submit(plan)
    job = look_at(plan).state(plan.find("mnli-s1")).job
    assert _said(plan, "mnli-s1") == f"mnli-s1 is queued as job {job}, which has printed nothing yet"
    _end_all(scheduler, 0, 53)
    said = _said(plan, "mnli-s1")
    assert said.startswith(f"mnli-s1 is failed, and job {job} left no log: the job's log could not be created (0:53)")
    scheduler.ctld = "down"
    assert "where it stands is not known now: Slurm does not answer" in _said(plan, "mnli-s1")


@pytest.mark.parametrize(("exit_code", "signal"), [(0, 53), (127, 0)])
def test_it_is_not_sent_again_blindly(plan: Plan, scheduler: Scheduler, exit_code: int, signal: int) -> None:
    submit.submit(plan)
    _end_all(scheduler, exit_code, signal)
    scheduler.advance(1)
    state = look_at(plan).state(plan.find("mnli-s1"))
    assert (state.state, state.cause) == ("failed", "not-started")
    sent = len(scheduler.arrays)
    (line,) = [line for line in outcome.lines(submit.submit(plan)) if "not-started" in line]
    assert "stepstone retry FILE --class not-started" in line and len(scheduler.arrays) == sent
    # A person who has mended it says so.
    keys = retry.select(plan, look_at(plan), ["not-started"], ())
    assert plan.find("mnli-s1").key in keys
    submit.submit(plan, force=keys)
    assert len(scheduler.arrays) > sent


def test_a_log_line_is_the_evidence(plan: Plan, scheduler: Scheduler) -> None:
    submit.submit(plan)
    job = look_at(plan).state(plan.find("mnli-s1")).job
    line = "/usr/bin/env: ‘/nowhere/bin/python’: No such file or directory"
    (folder,) = {Path(path).parent for path in plan.experiment.store.glob("submissions/*/logs/0")}
    for array in folder.iterdir():
        (array / f"{job}_0_log.err").write_text(f"{line}\n")
    _end_all(scheduler, 127, 0)
    state = look_at(plan).state(plan.find("mnli-s1"))
    assert (state.cause, state.reason) == ("not-started", line)
