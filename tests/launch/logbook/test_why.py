"""`stepstone logs --why`: cause, the line that proves it in its surroundings, what was tried, what to type next."""

import pytest
from typer.testing import CliRunner

from launch import submit
from launch.cli.app import app
from launch.plan import Plan
from tests.launch import stub_job
from tests.launch.logbook.printing import location_of, log_of, start
from tests.launch.workspace import Workspace
from tests.slurm.scripted import Scheduler

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("in_its_folder")]

TRACEBACK = """\
Traceback (most recent call last):
  File "train.py", line 3, in step
    loss.backward()
RuntimeError: shape mismatch in the head
"""
KILLED = "slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch. Some of the step tasks have been OOM Killed."


def _why(plan: Plan, *arguments: str) -> str:
    answer = CliRunner().invoke(app, ["logs", str(plan.experiment.path), *arguments, "--why"])
    assert answer.exit_code == 0, answer.output
    return answer.stdout


def test_a_traceback_with_what_came_before_it(workspace: Workspace, plan: Plan, scheduler: Scheduler) -> None:
    on_slurm = {"executor": "slurm", "partition": "gpu"}
    plan = workspace.plan(cluster=on_slurm, seeds=["1"], failures={"code": {"retry": "0"}})
    scheduler.work = stub_job.failing(("mnli-s1",), "RuntimeError: shape mismatch in the head")
    submit.submit(plan)
    start(plan, "mnli-s1", "".join(f"step {n}\n" for n in range(20)))
    start(plan, "mnli-s1", "a warning\n" * 40 + TRACEBACK + "error: code: RuntimeError\n", suffix="err")
    scheduler.run_all()
    said = _why(plan)
    job = f"{location_of(plan, 'mnli-s1').job}_{location_of(plan, 'mnli-s1').index}"
    assert said.startswith(f"mnli-s1 is failed (code) in job {job}\n\nevidence\n  RuntimeError: shape mismatch")
    assert f"in {log_of(plan, 'mnli-s1', 'err')}, line 46:" in said
    assert "\n  > 46  RuntimeError: shape mismatch in the head\n    47  error: code: RuntimeError\n" in said
    assert "    43  Traceback (most recent call last):\n" in said and "    42  a warning\n" in said
    assert "step 19" not in said
    assert f"attempt 1: job {job} on" in said
    assert "it is not sent again by itself: failed once of code (retry: 0)\n" in said
    assert "  once that is mended: stepstone retry experiment.yaml --stage mnli-s1\n" in said


def test_what_the_policy_changed_is_said(workspace: Workspace, plan: Plan, scheduler: Scheduler) -> None:
    big = workspace.plan(cluster={"executor": "slurm", "partition": "gpu", "mem": "8G"}, seeds=["1"])
    scheduler.work = stub_job.failing(("mnli-s1",), KILLED, "host-oom")
    submit.submit(big)
    start(big, "mnli-s1", f"{KILLED}\n", suffix="err")
    scheduler.run_all()
    first = _why(big, "mnli-s1")
    assert "the next submit sends it again by itself: host-oom: retry 1 of" in first and "times the memory" in first
    assert "to send it again: stepstone submit experiment.yaml\n" in first
    submit.submit(big)
    scheduler.run_all()
    said = _why(big, "mnli-s1")
    location = location_of(big, "mnli-s1")
    assert f"job {location.job}_{location.index} was sent with" in said and "times the memory" in said
    assert said.count("attempt ") == 2


def test_what_no_log_has_comes_with_its_end(plan: Plan, scheduler: Scheduler) -> None:
    submit.submit(plan)
    scheduler.advance(1)
    element = next(e for e in scheduler.running if (str(e.array.id), e.index) == _place(plan, "mnli-s1"))
    start(plan, "mnli-s1", "step 1\nstep 2\n")
    scheduler.kill(element, "TIMEOUT")
    said = _why(plan, "mnli-s1")
    assert "mnli-s1 is failed (time)" in said and "Slurm says TIMEOUT" in said
    assert "not in its log, which ends so: " in said and "step 2\n" in said


def _place(plan: Plan, name: str) -> tuple[str | None, int]:
    return location_of(plan, name).job, location_of(plan, name).index


def test_what_waits_for_a_failed_stage_is_told_of_that(plan: Plan, scheduler: Scheduler) -> None:
    scheduler.work = stub_job.failing(("squad-s1",))
    submit.submit(plan)
    scheduler.run_all()
    said = _why(plan, "squad.mnli-s1--xnli")
    assert said.startswith(
        "squad.mnli-s1--xnli waits for squad.mnli-s1, which it starts from\n"
        "squad.mnli-s1 waits for squad-s1, which it starts from\nsquad-s1 is failed (code)"
    )


@pytest.mark.parametrize(
    ("steps", "state", "to_type"),
    [(None, "new", "submit"), (0, "queued", "--follow"), (1, "running", "--follow"), (10_000, "finished", "collect")],
)
def test_what_did_not_fail_has_a_next_step_too(
    plan: Plan, scheduler: Scheduler, steps: int | None, state: str, to_type: str
) -> None:
    if steps is not None:
        submit.submit(plan)
        scheduler.run_all() if steps > 100 else scheduler.advance(steps) if steps else None
    said = _why(plan, "mnli-s1")
    assert said.startswith(f"mnli-s1 is {state}") and to_type in said.splitlines()[-1] + said.splitlines()[-2]


def test_why_a_job_waits_in_plain_words(plan: Plan, scheduler: Scheduler) -> None:
    submit.submit(plan)
    for element in scheduler.live:
        element.held = True
    scheduler.advance(1)
    assert "Slurm says JobHeldUser: " in _why(plan, "mnli-s1")
