"""How much fits: the user's other jobs count from the first submission on, each against the limits that it is under."""

import grp
import os
import stat
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from launch.estimate import cost
from launch.plan import Plan
from launch.store import provenance, sharing, submissions
from launch.submit import follow, outcome, submitter
from slurm.base import UserError
from tests.launch import stub_job
from tests.launch.submit.test_submitter import grid, states
from tests.launch.workspace import Workspace
from tests.slurm.scripted import Limits, Scheduler
from tests.slurm.scripted_words import UNREACHABLE


@pytest.fixture(autouse=True)
def frozen(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """How often code was frozen."""
    calls: list[Path] = []
    monkeypatch.setattr(provenance, "freeze", lambda root: calls.append(root) or root / "code" / "c0de")
    return calls


def _folders(plan: Plan) -> int:
    return len(submissions.read_all(plan.experiment.store))


def test_the_first_submission_counts_the_users_other_jobs(workspace: Workspace) -> None:
    with Scheduler(stub_job.work, Limits(submit=20)).installed() as scheduler:
        plan = grid(workspace)
        scheduler.add_others(18)
        done = submitter.submit(plan)
        assert done.elements == 2 and done.held > 0
        assert done.limit == "MaxSubmitJobs of account root (20, and 18 of yours are in the queue)"
        assert scheduler.calls["sbatch"] == 1 and _folders(plan) == 1


def test_without_room_nothing_is_prepared_or_sent(workspace: Workspace, frozen: list[Path]) -> None:
    with Scheduler(stub_job.work, Limits(submit=20)).installed() as scheduler:
        plan = grid(workspace)
        others = scheduler.add_others(20)
        for _ in range(3):
            done = submitter.submit(plan)
            assert done.elements == 0 and done.held > 0 and done.submission is None
        end = scheduler.now + 600
        untouched = []

        def pass_time(seconds: float) -> None:
            scheduler.advance(seconds)
            if scheduler.now < end:
                untouched.append(not frozen and not _folders(plan) and not scheduler.calls["sbatch"])
                return
            for element in others.elements:
                if element.live:
                    scheduler.cancel(element, None)

        with mock.patch.object(time, "sleep", pass_time):
            assert follow.follow(plan, lambda line: None)
        assert len(untouched) > 30 and all(untouched)
        assert states(plan) == {"finished": len(plan.stages)}


@pytest.mark.parametrize(
    ("limits", "others", "sent"),
    [
        ({"submit": 6, "accounts": ("root", "other")}, {"account": "other"}, 6),
        ({"submit": 6, "accounts": ("root", "other")}, {"qos": "long"}, 0),  # an account counts them all
        ({"qos_submit": {"normal": 6}}, {"qos": "long"}, 6),
        ({"qos_submit": {"normal": 6}}, {}, 0),
        ({"qos_submit": {"normal": 6}, "submit": 3}, {"qos": "long"}, 6),  # instead of the account's
        ({"qos_submit": {"small": 6, "normal": 1}, "partition_qos": {"gpu": "small"}}, {"partition": "debug"}, 6),
        ({"qos_submit": {"small": 6, "normal": 1}, "partition_qos": {"gpu": "small"}}, {"partition": "gpu"}, 0),
    ],
)
def test_jobs_count_against_the_limits_that_they_are_under(
    workspace: Workspace, limits: dict[str, Any], others: dict[str, str], sent: int
) -> None:
    """The double refuses one job too many; none too few is sent."""
    with Scheduler(stub_job.work, Limits(qos=("normal", "long", "small"), **limits)).installed() as scheduler:
        scheduler.add_others(50, **others)
        done = submitter.submit(grid(workspace, seeds=["1", "2", "3"]))
        assert (done.elements, done.held > 0) == (sent, True)
        assert scheduler.calls["sbatch"] == len(scheduler.arrays) - 1


def test_what_is_cancelled_first_makes_room(workspace: Workspace) -> None:
    """Elements that would wait for ever, where a site keeps them."""
    with Scheduler(stub_job.failing(("squad-s1",))).installed() as scheduler:
        plan = grid(workspace, seeds=["1"])
        submitter.submit(plan)
        for array in scheduler.arrays:
            array.flags.pop("kill-on-invalid-dep")
        scheduler.run_all()
        scheduler.limits.submit = len(scheduler.live) + 1  # those, and their training again
        done = submitter.submit(plan)
        assert done.elements == scheduler.limits.submit == len(scheduler.live) > 2 and not done.held


def test_where_the_queue_is_not_told_nothing_is_sent(workspace: Workspace) -> None:
    with Scheduler(stub_job.work).installed() as scheduler:
        scheduler.missing = {"squeue"}
        with pytest.raises(UserError, match=r"squeue refuses \(there is no squeue on this machine\).*nothing was sent"):
            submitter.submit(grid(workspace))
        scheduler.missing = set()
        scheduler.advance(1)
        scheduler.errors["squeue"] = f"slurm_load_jobs error: {UNREACHABLE}"
        submitted = submitter.submit(grid(workspace))
        assert submitted.elements == 0 and scheduler.calls["sbatch"] == 0
        assert "held back by Slurm, which does not answer at the moment" in outcome.lines(submitted)[-1]


def test_code_is_frozen_once_however_often_less_is_tried(workspace: Workspace, frozen: list[Path]) -> None:
    with Scheduler(stub_job.work, Limits(submit=2)).installed() as scheduler:
        scheduler.missing = {"sacctmgr"}
        submitter.submit(grid(workspace))
        assert scheduler.calls["sbatch"] > 2 and len(frozen) == 1


def test_rates_are_taken_from_the_store_that_was_read(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    stores: list[Any] = []
    real = submitter.Observation

    def observe(*asked: Any, **more: Any) -> Any:
        seen = real(*asked, **more)
        stores.append(seen.store)
        return seen

    monkeypatch.setattr(submitter, "Observation", observe)
    monkeypatch.setattr(cost, "calibrate", lambda plan, store: stores.append(store))
    with Scheduler(stub_job.work).installed():
        submitter.submit(grid(workspace))
    assert stores[0] is stores[1]


# --- who may read what is sent


def _modes(folder: Path) -> set[tuple[str, int]]:
    found = set()
    for place, _, names in os.walk(folder):
        found.add(("folder", stat.S_IMODE(os.stat(place).st_mode)))
        found |= {("file", stat.S_IMODE(os.stat(os.path.join(place, name)).st_mode)) for name in names}
    return found


def test_a_group_may_read_all_of_a_submission(workspace: Workspace) -> None:
    group = grp.getgrgid(os.getegid()).gr_name
    shared, closed = {("folder", 0o2750), ("file", 0o640)}, {("folder", 0o700), ("file", 0o600)}
    with Scheduler(stub_job.work).installed() as scheduler:
        plan = grid(workspace, cluster={"share-group": group})
        (submission,) = submitter.submit(plan).submissions
        assert _modes(submission.folder) == shared and set(scheduler.umasks) == {0o027}
        submission.record_cancelled([(0, 0)])
        sharing.let_in_again(submission.folder)
        assert _modes(submission.folder) == shared
        plan = grid(workspace, store="./another")
        (submission,) = submitter.submit(plan).submissions
        sharing.let_in_again(submission.folder)
        assert _modes(submission.folder) == closed and scheduler.umasks[-1] == 0o077
    sharing.let_in_again(submission.folder / "gone")


def test_a_refused_submission_can_be_read_too(workspace: Workspace) -> None:
    group = grp.getgrgid(os.getegid()).gr_name
    with Scheduler(stub_job.work).installed() as scheduler:
        plan = grid(workspace, cluster={"share-group": group})
        scheduler.send_faults.append("silent-lost")
        with pytest.raises(submitter.UserError):
            submitter.submit(plan)
        (submission,) = submissions.read_all(plan.experiment.store)
        assert _modes(submission.folder) == {("folder", 0o2750), ("file", 0o640)}


# --- what nobody can tell yet


def test_a_stage_that_accounting_is_silent_about_holds_up_no_other(workspace: Workspace) -> None:
    with Scheduler(stub_job.slow(1000)).installed() as scheduler:
        plan = grid(workspace, seeds=["1"], recipes=["none"], targets=["tatoeba"])
        submitter.submit(plan)
        scheduler.advance(50)
        scheduler.dbd_up = False
        (element,) = scheduler.running
        scheduler.kill(element, "OUT_OF_MEMORY", 0, 125)
        more = grid(workspace, seeds=["1"], recipes=["none"], targets=["tatoeba", "xnli"])
        done = submitter.submit(more)
        assert done.stages == len(more.stages) - 1
        assert outcome.lines(done)[-1].startswith("1 stages are not sent again yet (start--tatoeba): ")
        assert not any("nothing to send" in line for line in outcome.lines(submitter.submit(more)))
        scheduler.dbd_up = True
        scheduler.advance(120)
        assert submitter.submit(more).stages == 1
        assert scheduler.arrays[-1].flags["mem"] == "12288M"
