"""`notify: {mail: …}`: one last job of seconds whose end Slurm writes a mail of, neither lost nor doubled."""

from collections.abc import Iterator
from typing import Any

import pytest

from launch import submit
from launch.draft import decide, request
from launch.plan import Plan
from launch.store import provenance, submissions
from launch.submit import cancel, follow
from slurm import arrays, control
from slurm.arrays import Refused, SendUnclear
from slurm.base import UserError
from tests.launch import stub_job
from tests.launch.submit import killed
from tests.launch.workspace import Workspace, look_at
from tests.slurm.scripted import Array, Scheduler

CLUSTER = {"executor": "slurm", "partition": "gpu", "mem": "8G", "gpus-per-node": "1"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    with Scheduler(_work).installed() as ready:
        yield ready


def _work(run: Any) -> Any:
    return 0 if "mail-type" in run.element.array.flags else stub_job.work(run)


def _plan(workspace: Workspace, **changes: Any) -> Plan:
    return workspace.plan(**({"cluster": CLUSTER, "seeds": ["1"], "notify": {"mail": "true"}} | changes))


def _mails(scheduler: Scheduler) -> list[Array]:
    return [array for array in scheduler.arrays if "mail-type" in array.flags]


def _waiting(scheduler: Scheduler) -> list[Array]:
    return [array for array in _mails(scheduler) if any(element.ended is None for element in array.elements)]


def _written(scheduler: Scheduler) -> int:
    """How many mails Slurm wrote: of all that is over, by being cancelled too, unless it was told otherwise."""
    over = [array for array in _mails(scheduler) if all(element.ended is not None for element in array.elements)]
    return sum(array.flags["mail-type"] != "NONE" for array in over)


def _others(scheduler: Scheduler) -> list[Array]:
    return [array for array in scheduler.arrays if "mail-type" not in array.flags]


def test_a_last_job_waits_for_all_and_asks_for_next_to_nothing(workspace: Workspace, scheduler: Scheduler) -> None:
    lines: list[str] = []
    submit.submit(_plan(workspace, notify={"mail": "me@example.org", "partition": "gpu"}), lines.append)
    (mail,) = _mails(scheduler)
    assert mail.flags["dependency"] == f"afterany:{':'.join(str(array.id) for array in _others(scheduler))}"
    assert (mail.flags["mail-type"], mail.flags["mail-user"], mail.flags["time"]) == ("END,FAIL", "me@example.org", "1")
    assert not {"mem", "gpus-per-node"} & mail.flags.keys() and len(mail.elements) == 1
    assert f"mail: job {mail.id}, when the last of these has ended" in lines


def test_it_is_sent_again_only_with_something_new(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = _plan(workspace)
    submit.submit(plan)
    submit.submit(plan)
    assert len(_mails(scheduler)) == 1
    more = _plan(workspace, seeds=["1", "2"])
    submit.submit(more)
    assert len(_mails(scheduler)) == 2
    (mail,) = _waiting(scheduler)  # the earlier one has gone
    assert mail.flags["dependency"].count(":") == len(_others(scheduler))
    scheduler.run_all()
    assert all(element.ended is not None for element in mail.elements)
    assert _written(scheduler) == 1
    submit.submit(more)
    assert len(_mails(scheduler)) == 2 and look_at(more).counts()["finished"] == len(more.stages)


@pytest.mark.slow
def test_it_is_no_part_of_the_experiment_elsewhere(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = _plan(workspace, cluster=CLUSTER | {"throttle": "1"})
    submit.submit(plan)
    assert _mails(scheduler)[0].throttle is None
    submit.submit(plan)  # spreads the throttle over the arrays that are open
    assert _mails(scheduler)[0].throttle is None
    keys = set(plan.stages)
    without = workspace.plan(cluster=CLUSTER, seeds=["1"])
    assert keys == set(without.stages)
    observation = look_at(plan)
    scripts = request.scripts(decide(without, observation, 100))
    assert scripts == []


def test_script_shows_it(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = _plan(workspace)
    draft = decide(plan, look_at(plan), 100)
    *_, last = request.scripts(draft)
    assert "#SBATCH --mail-type=END,FAIL" in last and "afterany:JOBID_OF_ARRAY_0" in last
    assert len(request.scripts(draft)) == len(draft.arrays) + 1


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_killed_submitter_neither_loses_nor_doubles_it(
    workspace: Workspace, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Killed when sbatch is called for it, before or after Slurm took it: the next submit settles that."""
    plan = _plan(workspace)
    killed.while_sending(plan, moment, lambda asked: "mail-type" in asked.flags, monkeypatch)
    submit.submit(plan)
    assert len(_mails(scheduler)) == 1
    submit.submit(plan)
    assert len(_mails(scheduler)) == 1
    receipts = [s.receipt(0) for s in submissions.read_all(plan.experiment.store) if s.is_last_job]
    assert sum(receipt is not None and receipt.was_sent for receipt in receipts) == 1


@pytest.mark.slow
def test_an_unclear_answer_is_left_to_the_next(
    workspace: Workspace, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, send = _plan(workspace), arrays.send
    lines: list[str] = []

    def unclear(asked: Any, *rest: Any) -> str:
        job = send(asked, *rest)
        if "mail-type" in asked.flags:
            raise SendUnclear("sbatch failed")
        return job

    monkeypatch.setattr(arrays, "send", unclear)
    assert submit.submit(plan, lines.append).elements
    assert any(line.startswith("mail: sbatch failed; the next submit finds out") for line in lines)
    monkeypatch.setattr(arrays, "send", send)
    submit.submit(plan)
    assert len(_mails(scheduler)) == 1


def test_a_refusal_is_said_and_no_error_of_what_was_sent(workspace: Workspace, scheduler: Scheduler) -> None:
    lines: list[str] = []
    plan = _plan(workspace, notify={"mail": "true", "partition": "nowhere"})
    assert submit.submit(plan, lines.append).elements
    (line,) = [line for line in lines if line.startswith("mail: ")]
    assert "was not sent" in line and "see `notify: {partition: …}` in experiment.yaml" in line


def test_it_is_cancelled_with_the_rest_and_not_with_a_part(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = _plan(workspace)
    submit.submit(plan)
    cancel.cancel(plan, ["squad-s1"], lambda proposal: True)
    assert len(_waiting(scheduler)) == 1
    cancel.cancel(plan, [], lambda proposal: True)
    assert _waiting(scheduler) == [] and _written(scheduler) == 0
    submit.submit(plan)
    assert len(_waiting(scheduler)) == 1


@pytest.mark.slow
def test_who_waits_has_it_replaced_and_not_repeated(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = _plan(workspace)
    submit.submit(plan)
    scheduler.run_all()
    assert follow.follow(plan, lambda line: None)
    assert len(_mails(scheduler)) == 1


def test_without_the_wish_there_is_none(workspace: Workspace, scheduler: Scheduler) -> None:
    submit.submit(_plan(workspace, notify=None))
    assert _mails(scheduler) == []


def test_local_workers_send_none(workspace: Workspace) -> None:
    from launch.draft import notes

    plan = _plan(workspace, cluster={"executor": "local"})
    assert any("mail" in line for label, line in notes.lines(plan) if label == "notify")


def _refuse(monkeypatch: pytest.MonkeyPatch, is_refused: Any) -> Any:
    """What gives sbatch back, which refuses these from now on."""
    send = arrays.send

    def refusing(asked: Any, *rest: Any) -> str:
        if is_refused(asked):
            raise Refused("sbatch: error: no")
        return send(asked, *rest)

    monkeypatch.setattr(arrays, "send", refusing)
    return lambda: monkeypatch.setattr(arrays, "send", send)


def test_what_was_sent_before_a_refusal_has_its_mail(
    workspace: Workspace, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    _refuse(monkeypatch, lambda asked: "mail-type" not in asked.flags and scheduler.arrays)
    with pytest.raises(Refused, match=r"1 of \d arrays were sent"):
        submit.submit(_plan(workspace))
    (mail,) = _mails(scheduler)
    (sent,) = _others(scheduler)
    assert mail.flags["dependency"] == f"afterany:{sent.id}"


def test_where_nothing_was_sent_before_a_refusal_there_is_none(
    workspace: Workspace, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    _refuse(monkeypatch, lambda asked: True)
    with pytest.raises(Refused, match="nothing was sent"):
        submit.submit(_plan(workspace))
    assert not [submission for submission in submissions.read_all(workspace.root / "store") if submission.is_last_job]


def test_one_that_was_refused_is_not_owed_when_all_is_over(
    workspace: Workspace, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = _plan(workspace)
    take_again = _refuse(monkeypatch, lambda asked: "mail-type" in asked.flags)
    submit.submit(plan)
    take_again()
    scheduler.run_all()
    submit.submit(plan)
    assert _mails(scheduler) == []


def test_one_that_could_not_be_cancelled_is_tried_again(
    workspace: Workspace, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, lines = _plan(workspace), list[str]()
    submit.submit(plan)
    cancelling = control.cancel

    def failing(ids: Any) -> None:
        raise UserError("scancel: timed out")

    monkeypatch.setattr(control, "cancel", failing)
    more = _plan(workspace, seeds=["1", "2"])
    submit.submit(more, lines.append)
    assert "mail: an earlier one's job is still there: scancel: timed out" in lines and len(_waiting(scheduler)) == 2
    monkeypatch.setattr(control, "cancel", cancelling)
    submit.submit(more)
    assert len(_waiting(scheduler)) == 1


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), UserError("store: full")])
def test_a_store_that_takes_no_more_is_said_and_no_error_of_what_was_sent(
    workspace: Workspace, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    lines, new_folder = list[str](), submissions.new_folder

    def full_after_arrays(root: Any) -> Any:
        if scheduler.arrays:
            raise error
        return new_folder(root)

    monkeypatch.setattr(submissions, "new_folder", full_after_arrays)
    assert submit.submit(_plan(workspace), lines.append).elements
    (line,) = [line for line in lines if line.startswith("mail: ")]
    assert line.endswith("; the next submit sees to it") and _mails(scheduler) == []
