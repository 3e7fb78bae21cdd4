"""`stepstone cancel`: pending and running elements, children too; what was cancelled is no failure."""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from launch import submit
from launch.plan import Plan
from launch.status import Observation, breaker
from launch.store import Store, provenance, submissions
from launch.store.submissions import IntendedArray, Intent, Receipt
from launch.submit import cancel as cancelling
from launch.submit import retry
from launch.submit.cancel import Cancellation
from slurm import commands, local
from slurm.base import UsageError, UserError
from slurm.causes import Verdict
from tests.launch import stub_job
from tests.launch.workspace import Workspace
from tests.slurm.scripted import Scheduler

CLUSTER = {"executor": "slurm", "partition": "gpu"}


@pytest.fixture(autouse=True)
def _quick(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    with Scheduler(stub_job.slow(5)).installed() as made:
        yield made


@pytest.fixture
def plan(workspace: Workspace) -> Plan:
    return workspace.plan(cluster=CLUSTER, seeds=["1"])


def look(plan: Plan, max_age: float = 0) -> Observation:
    return Observation(plan, Store(plan.experiment.store), max_age)


def states(plan: Plan, max_age: float = 0) -> dict[str, int]:
    seen = look(plan, max_age)
    return dict(Counter(seen.state(stage).state for stage in plan.stages.values()))


def yes(found: Cancellation) -> bool:
    return True


def test_everything_is_cancelled_and_sent_again(plan: Plan, scheduler: Scheduler) -> None:
    submit.submit(plan)
    scheduler.advance(5)
    running = states(plan)["running"]
    found = cancelling.cancel(plan, [], yes)
    assert found is not None and len(found.stages) == len(plan.stages) and found.running == running
    assert not scheduler.live and states(plan) == {"cancelled": len(plan.stages)}
    nothing = cancelling.cancel(plan, [], yes)
    assert nothing is not None and nothing.stages == []
    submit.submit(plan)
    scheduler.run_all()
    assert states(plan) == {"finished": len(plan.stages)}


def test_one_stage_goes_with_its_children(plan: Plan, scheduler: Scheduler) -> None:
    submit.submit(plan)
    scheduler.advance(5)
    found = cancelling.cancel(plan, ["squad-s1"], yes)
    assert found is not None
    under = {key for key, stage in plan.stages.items() if stage.name.startswith("squad")}
    assert set(found.stages) == under and found.beside == []
    scheduler.run_all()
    seen = look(plan)
    assert {stage.key for stage in plan.stages.values() if seen.state(stage).state == "cancelled"} == under
    assert {seen.state(plan.stages[key]).state for key in plan.stages.keys() - under} == {"finished"}


def test_what_shares_an_element_is_named_before_it_goes_too(plan: Plan, scheduler: Scheduler) -> None:
    submit.submit(plan)
    asked: list[Cancellation] = []
    assert cancelling.cancel(plan, ["mnli-s1--xnli"], lambda found: bool(asked.append(found))) is None
    assert [plan.stages[key].name for key in asked[0].beside] == ["mnli-s1"]
    assert "cancelled" not in states(plan) and scheduler.live


def test_a_cancellation_that_did_not_arrive_is_tried_again(
    plan: Plan, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit.submit(plan)
    real = commands.runner

    def gone_at_scancel(command: Sequence[str], *more: Any) -> Any:
        scheduler.ctld = "down" if command[0] == "scancel" else "up"
        return real(command, *more)

    with monkeypatch.context() as patched:
        patched.setattr(commands, "runner", gone_at_scancel)
        with pytest.raises(UserError):
            cancelling.cancel(plan, [], yes)
    scheduler.bring_up()
    seen = look(plan)
    assert {seen.state(stage).reason for stage in plan.stages.values()} == {"being cancelled"}
    cancelling.cancel(plan, [], yes)
    assert states(plan) == {"cancelled": len(plan.stages)}


def test_others_may_send_while_it_is_asked(plan: Plan, workspace: Workspace, scheduler: Scheduler) -> None:
    """And what they have sent was not agreed to."""
    submit.submit(plan)
    more = workspace.plan(cluster=CLUSTER, seeds=["1", "2"])
    said: list[str] = []

    def agree_later(found: Cancellation) -> bool:
        submit.submit(more)  # the lock is free
        return True

    found = cancelling.cancel(more, [], agree_later, said.append)
    assert found is not None and set(found.stages) == plan.stages.keys()
    seen = look(more)
    assert Counter(seen.state(stage).state for stage in plan.stages.values()) == {"cancelled": len(plan.stages)}
    later = [stage for key, stage in more.stages.items() if key not in plan.stages]
    assert {seen.state(stage).state for stage in later} <= {"queued", "running"}
    assert said[-1].startswith(f"{len(later)} stages that were sent meanwhile go on")


def test_what_has_ended_while_it_was_asked_is_left_alone(plan: Plan, scheduler: Scheduler) -> None:
    submit.submit(plan)

    def agree_later(found: Cancellation) -> bool:
        scheduler.run_all()
        return True

    found = cancelling.cancel(plan, [], agree_later)
    assert found is not None and found.stages == [] and states(plan) == {"finished": len(plan.stages)}


def test_an_element_that_has_grown_while_it_was_asked_is_left_alone(
    plan: Plan, workspace: Workspace, scheduler: Scheduler
) -> None:
    """Sent anew with another stage in it, which nobody agreed to end."""
    few, more = (
        workspace.plan(cluster=CLUSTER, seeds=["1"], recipes=["none"], targets=targets)
        for targets in (["xquad"], ["xquad", "mlqa"])
    )
    submit.submit(few)

    def agree_later(found: Cancellation) -> bool:
        cancelling.cancel(few, [], yes)
        submit.submit(more)
        return True

    found = cancelling.cancel(more, [], agree_later)
    assert found is not None and found.stages == []
    assert scheduler.live and states(more).keys() <= {"queued", "running"}


def test_a_lock_that_is_lost_ends_nothing(plan: Plan, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    submit.submit(plan)
    real = cancelling.select

    def lost_meanwhile(*arguments: Any) -> Cancellation:
        lock = plan.experiment.store / "submissions" / "lock"
        if lock.exists():
            lock.write_text('{"host": "elsewhere", "pid": 1, "start": 1}')
        return real(*arguments)

    monkeypatch.setattr(cancelling, "select", lost_meanwhile)
    with pytest.raises(UserError, match="another submit has taken over"):
        cancelling.cancel(plan, [], yes)
    assert scheduler.live and "cancelled" not in states(plan)


def test_a_finished_result_survives_a_cancellation(plan: Plan, scheduler: Scheduler) -> None:
    submit.submit(plan)
    scheduler.run_all()
    found = cancelling.cancel(plan, [], yes)
    assert found is not None and found.stages == [] and states(plan) == {"finished": len(plan.stages)}


def test_cancel_without_a_terminal_needs_yes(workspace: Workspace) -> None:
    from launch.cli.submit import cancel

    with pytest.raises(UsageError, match="--yes"):
        cancel(workspace.file(), stage=None, yes=False)


def test_the_command_says_what_it_does(plan: Plan, scheduler: Scheduler, capsys: pytest.CaptureFixture[str]) -> None:
    from launch.cli.submit import cancel

    submit.submit(plan)
    capsys.readouterr()
    cancel(plan.experiment.path, stage=["squad-s1"], yes=True)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("to cancel: 0 running and 4 waiting stages: squad-s1, ")
    assert second.startswith("cancelled 4 stages; to send them again: stepstone submit")
    cancel(plan.experiment.path, stage=["squad-s1"], yes=True)
    assert "nothing to cancel" in capsys.readouterr().err


@pytest.mark.slow
def test_local_elements_are_ended(tmp_path: Path) -> None:
    """One that runs is asked to stop, one that waits never starts, and the third goes on."""
    program = "import os, time, pathlib; pathlib.Path(os.environ['WHERE']).touch(); time.sleep(float(os.environ['N']))"
    elements = tuple(
        {"WHERE": str(tmp_path / f"began-{n}"), "N": seconds} for n, seconds in enumerate(["60", "60", "0"])
    )
    run = local.LocalRun((sys.executable, "-c", program), elements, ((), (0,), ()))
    folder = tmp_path / "run"
    folder.mkdir()
    workers = local.start(folder, run, 1, os.environ)
    patience = time.monotonic() + 60
    while not (tmp_path / "began-0").exists() and time.monotonic() < patience:
        time.sleep(0.05)
    local.cancel(folder, [0, 1])
    os.waitpid(workers[0], 0)
    assert local.element_state(folder, 0) == "ended -15"
    assert local.element_state(folder, 1) == "ended 143" and not (tmp_path / "began-1").exists()
    assert local.element_state(folder, 2) == "ended 0"


def test_a_cancelled_local_experiment(workspace: Workspace) -> None:
    """As disk and workers show it, without a job ever starting."""
    plan = workspace.plan(seeds=["1"], recipes=["none"], targets=["tatoeba"])
    submission, identifier = submissions.new_folder(plan.experiment.store)
    (key,) = plan.stages
    array = IntendedArray(f"small-{identifier}.0", {0: [key]})
    intent = Intent(id=identifier, executor="local", experiment="small", arrays=(array,))
    submissions.write_intent(submission, intent)
    submission.write_sending(0)
    submission.write_receipt(0, Receipt(local=True))
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        folder = submission.folder / "local"
        for name in ("claims", "ends"):
            (folder / name).mkdir(parents=True)
        worker = f'{{"pid": {sleeper.pid}, "start": null}}'
        (folder / "workers.json").write_text(f'{{"host": "{os.uname().nodename}", "workers": [{worker}]}}')
        assert states(plan) == {"queued": 1}
        found = cancelling.cancel(plan, [], yes)
        assert found is not None and found.stages == [key]
        assert states(plan) == {"cancelled": 1}
    finally:
        sleeper.kill()
        sleeper.wait()


def test_what_an_edit_took_out_of_the_file_goes_too(plan: Plan, workspace: Workspace, scheduler: Scheduler) -> None:
    submit.submit(plan)
    edited = workspace.plan(cluster=CLUSTER, seeds=["1"], recipes=["none"])
    asked: list[Cancellation] = []
    found = cancelling.cancel(edited, [], lambda found: not asked.append(found))
    assert found is not None and set(found.stages) == edited.stages.keys() and found.outside == asked[0].outside
    gone = [stage.folder for key, stage in plan.stages.items() if key not in edited.stages]
    assert sorted(found.outside) == sorted(gone) and not scheduler.live
    nothing = cancelling.cancel(edited, [], yes)
    assert nothing is not None and nothing.locations == []


def test_stages_of_another_file_are_named_before_they_go(workspace: Workspace, scheduler: Scheduler) -> None:
    """They were sent in the same element, by an experiment that asks for more."""
    languages = {"default": ["en", "de"]}
    more: dict[str, Any] = {"cluster": CLUSTER, "seeds": ["1"], "recipes": ["squad"], "languages": languages}
    submit.submit(workspace.plan(targets=["xquad", "mlqa"], **more))
    other = workspace.plan(name="other", targets=["xquad"], **more)
    found = cancelling.cancel(other, [], yes)
    assert found is not None and not scheduler.live
    assert [folder.rpartition("-")[0] for folder in found.outside] == ["squad.squad-s1--mlqa"]


def test_retried_and_cancelled_it_is_sent_again(workspace: Workspace) -> None:
    """Though its failures before the retry had used up their budget."""
    plan = workspace.plan(cluster=CLUSTER, seeds=["1"], recipes=["squad"], targets=["xnli"])
    with Scheduler(stub_job.failing(("squad-s1",), "the loss is not finite", "not-finite")).installed() as scheduler:
        submit.submit(plan)
        scheduler.run_all()
        assert list(submit.submit(plan).draft.blocked) == [plan.find("squad-s1").key]
        chosen = retry.select(plan, look(plan), [], [])
        submit.submit(plan, only=chosen, force=chosen)
        cancelling.cancel(plan, [], yes)
        assert retry.select(plan, look(plan), [], ["squad-s1"]) == plan.stages.keys()
        scheduler.work = stub_job.work
        assert submit.submit(plan).stages == len(plan.stages)
        scheduler.run_all()
    assert states(plan) == {"finished": len(plan.stages)}


def test_retried_and_then_held_with_its_submission_it_is_sent_again(workspace: Workspace) -> None:
    plan = workspace.plan(cluster=CLUSTER, seeds=["1"], recipes=["squad"], targets=["xnli"])
    with Scheduler(stub_job.failing(("squad-s1",), "the loss is not finite", "not-finite")).installed() as scheduler:
        submit.submit(plan)
        scheduler.run_all()
        chosen = retry.select(plan, look(plan), [], [])
        (submission,) = submit.submit(plan, only=chosen, force=chosen).submissions
        for n in range(3):
            breaker.note(submission.folder, f"other-{n}", Verdict("code", "KeyError: 1"), plan.experiment.failures)
        scheduler.work = lambda run: int(breaker.held_line(run.manifest.parent) is not None) or stub_job.work(run)
        scheduler.run_all()
        assert states(plan) == {"held": len(plan.stages)}
        assert submit.submit(plan).stages == len(plan.stages)
        scheduler.run_all()
    assert states(plan) == {"finished": len(plan.stages)}
