"""Submitting to a scripted scheduler: nothing lost, nothing sent twice, whatever the limits and whoever dies when."""

import os
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launch import draft as drafts
from launch import submit
from launch.draft import notes, request
from launch.merging import collect
from launch.plan import Plan
from launch.preflight import checks
from launch.results import table
from launch.status import Observation
from launch.store import Store, provenance, submissions
from launch.submit import follow, outcome, submitter
from slurm.arrays import SendUnclear
from slurm.base import UsageError, UserError
from tests.at_once import at_once
from tests.launch import stub_job
from tests.launch.workspace import Workspace
from tests.slurm.scripted import Limits, Scheduler

CLUSTER = {"executor": "slurm", "partition": "gpu", "time": "01:00:00", "mem": "8G"}


@pytest.fixture(autouse=True)
def _quick(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred files that are not looked at need not be written every time."""
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    with Scheduler(stub_job.work).installed() as made:
        yield made


def grid(workspace: Workspace, **changes: Any) -> Plan:
    return workspace.plan(cluster=CLUSTER | changes.pop("cluster", {}), **changes)


def look(plan: Plan) -> Observation:
    return Observation(plan, Store(plan.experiment.store), max_age=0)


def states(plan: Plan) -> Counter[str]:
    seen = look(plan)
    return Counter(seen.state(stage).state for stage in plan.stages.values())


def live_twice(plan: Plan, scheduler: Scheduler) -> list[str]:
    """Stages that more than one element in the queue is about."""
    arrays = {array.name: array for s in submissions.read_all(plan.experiment.store) for array in s.arrays}
    counts = Counter(
        key for e in scheduler.live if e.array.name in arrays for key in arrays[e.array.name].elements[e.index]
    )
    return [key for key, count in counts.items() if count > 1]


# --- where it may run


def test_what_only_slurm_has_is_not_sent_where_sbatch_is_not_found(
    workspace: Workspace, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(workspace.root))
    plan = workspace.plan(cluster={"workers": 2, "partition": "gpu", "time": "01:00:00", "mem": "8G"})
    with pytest.raises(UserError) as caught:
        submit.submit(plan)
    message = str(caught.value)
    assert message.startswith(f"{plan.experiment.path}:") and "\n" not in message
    assert "only Slurm has partition, time, mem, and sbatch is not on PATH here" in message
    assert message.endswith("or set `cluster: {executor: local}`") and not (workspace.root / "store").exists()
    assert notes.lines(plan) == [
        ("executor", "slurm, since the file leaves it open: only Slurm has partition, time, mem")
    ]
    sbatch = workspace.root / "sbatch"
    sbatch.write_text("#!/bin/sh\n")
    sbatch.chmod(0o755)
    assert submit.submit(plan).elements and states(plan)["queued"]
    sbatch.unlink()
    with pytest.raises(UserError, match=r"yaml:\d+: small was sent to Slurm before, and sbatch is not on PATH here;"):
        submit.submit(workspace.plan(cluster={"workers": 2}))
    submitter.check_executor(workspace.plan(name="other", cluster={"workers": 2}))


def test_what_is_asked_for_and_not_used_is_said(workspace: Workspace, scheduler: Scheduler) -> None:
    gpus = {"sbatch": {"gres": "gpu:4"}}
    assert notes.lines(grid(workspace, cluster=gpus)) == []
    for_one = "4 GPUs a node for one process: 3 without work; leave out ntasks-per-node for a process on each"
    assert notes.lines(grid(workspace, cluster=gpus | {"ntasks-per-node": "1"})) == [("resources", for_one)]
    unused = "4 GPUs a node are asked for, and `device: cpu` uses none"
    assert notes.lines(grid(workspace, cluster=gpus, training={"device": "cpu"})) == [("resources", unused)]
    elsewhere = "local, as the file says: partition, time, mem mean nothing to local workers"
    assert notes.lines(grid(workspace, cluster={"executor": "local"})) == [("executor", elsewhere)]
    crowded = grid(workspace, cluster={"gpus-per-node": "2", "ntasks-per-node": "4"})
    with pytest.raises(UsageError, match=r":\d+: cluster: 4 processes a node and 2 GPUs: a process has"):
        checks.check_settings(crowded)


# --- the ordinary way


def test_everything_is_sent_once_and_finishes(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = grid(workspace)
    done = submit.submit(plan)
    assert done.stages == len(plan.stages) and done.held == 0 and not live_twice(plan, scheduler)
    assert outcome.lines(done) == [
        f"sent {done.stages} stages as {done.elements} elements: {done.submissions[0].folder}"
    ]
    assert states(plan).keys() <= {"queued", "running"}
    again = submit.submit(plan)
    assert outcome.lines(again) == ["nothing to send: every stage is finished, queued or running"]
    scheduler.run_all()
    assert states(plan) == {"finished": len(plan.stages)}
    assert submit.submit(plan).submission is None


def test_a_satisfied_dependency_is_dropped(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = grid(workspace)
    submit.submit(plan)
    scheduler.run_all()
    child = plan.find("squad.mnli-s1--xnli")
    for path in Store(plan.experiment.store).stage_folder(child.folder).glob("languages/*/*.json"):
        path.unlink()
    before = len(scheduler.arrays)
    assert submit.submit(plan).stages == 1
    (array,) = scheduler.arrays[before:]
    assert "dependency" not in array.flags
    scheduler.run_all()
    assert states(plan) == {"finished": len(plan.stages)}


def test_a_later_stage_waits_for_what_is_already_queued(workspace: Workspace, scheduler: Scheduler) -> None:
    submit.submit(grid(workspace, targets=["xnli"]))
    before = len(scheduler.arrays)
    plan = grid(workspace, targets=["xnli", "tatoeba"])
    submit.submit(plan)
    waiting = [array.flags["dependency"] for array in scheduler.arrays[before:] if "dependency" in array.flags]
    assert len(waiting) == 2 and all(text.startswith("afterok:") for text in waiting)
    scheduler.run_all()
    assert states(plan) == {"finished": len(plan.stages)}


def test_the_first_line_of_a_job_closes_its_files(workspace: Workspace, scheduler: Scheduler) -> None:
    submit.submit(grid(workspace))
    setup = scheduler.arrays[0].script.partition("# setup")[2]
    assert "umask 077" in setup


# --- what fails


def test_nothing_is_sent_under_a_failed_parent(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = grid(workspace, seeds=["1"])
    scheduler.work = stub_job.failing(("squad-s1",), "the loss is not finite", "not-finite")
    submit.submit(plan)
    scheduler.run_all()
    seen = look(plan)
    failed, child = seen.state(plan.find("squad-s1")), seen.state(plan.find("squad.mnli-s1"))
    assert failed.state == "failed" and failed.cause == "not-finite" and "not finite" in (failed.reason or "")
    assert child.state == "held" and child.reason == "squad-s1 failed"
    done = submit.submit(plan)  # the policy sends such a stage never again by itself
    assert done.submission is None and not scheduler.live
    assert "1 stages are not sent again (squad-s1)" in outcome.lines(done)[0]
    scheduler.work = stub_job.work
    wanted = {plan.find("squad-s1").key, plan.find("squad.mnli-s1").key}
    assert submit.submit(plan, only=wanted, force=wanted).stages == 2
    scheduler.run_all()
    assert submit.submit(plan).stages == 2  # the evaluates that were held
    scheduler.run_all()
    assert states(plan) == {"finished": len(plan.stages)}


@pytest.mark.parametrize("file_says", ["slurm", "local"])
def test_elements_that_would_wait_for_ever_are_cleaned_up(
    workspace: Workspace, scheduler: Scheduler, file_says: str
) -> None:
    """Sites may keep elements whose dependency cannot be met any more."""
    plan = grid(workspace, seeds=["1"])
    scheduler.work = stub_job.failing(("squad-s1",))
    submit.submit(plan)
    for array in scheduler.arrays:
        array.flags.pop("kill-on-invalid-dep", None)
    scheduler.run_all()
    stuck = [element.id for element in scheduler.live]
    assert stuck
    child = look(plan).state(plan.find("squad.mnli-s1"))
    assert (child.state, child.reason) == ("held", "squad-s1 failed")
    if file_says == "local":  # by now: what Slurm has is Slurm's to end
        cluster = plan.experiment.cluster.model_copy(update={"executor": "local"})
        submit.submit(replace(plan, experiment=replace(plan.experiment, cluster=cluster)), only=())
        assert not {element.id for element in scheduler.live} & set(stuck)
        return
    scheduler.work = stub_job.work
    done = submit.submit(plan)
    assert any("were cancelled: they would never have started" in line for line in outcome.lines(done))
    assert not {element.id for element in scheduler.live} & set(stuck)
    scheduler.run_all()
    assert states(plan) == {"finished": len(plan.stages)}


def test_more_memory_after_too_little(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = grid(workspace, seeds=["1"])
    scheduler.work = stub_job.failing(("mnli-s1",), "killed: out of memory", "host-oom")
    submit.submit(plan)
    scheduler.run_all()
    before = len(scheduler.arrays)
    scheduler.work = stub_job.work
    submit.submit(plan)
    (array,) = scheduler.arrays[before:]
    assert array.flags["mem"] == "12288M"


# --- limits


def test_what_does_not_fit_goes_out_later_parents_first(workspace: Workspace) -> None:
    with Scheduler(stub_job.work, Limits(submit=3)).installed() as scheduler:
        plan = grid(workspace)
        scheduler.add_others(1)
        done = submit.submit(plan)
        assert done.elements == 2 and done.held > 0
        assert "held back by MaxSubmitJobs" in outcome.lines(done)[-1]
        for _ in range(20):
            scheduler.run_all()
            if not submit.submit(plan).held and not scheduler.live[1:]:
                break
            assert len(scheduler.live) <= 3 and not live_twice(plan, scheduler)
        scheduler.run_all()
        assert states(plan) == {"finished": len(plan.stages)}


def test_a_limit_that_slurm_does_not_tell_is_found_by_halving(workspace: Workspace) -> None:
    with Scheduler(stub_job.work, Limits(submit=2)).installed() as scheduler:
        scheduler.missing = {"sacctmgr"}
        plan = grid(workspace)
        done = submit.submit(plan)
        assert 1 <= done.elements <= 2 and done.held > 0 and not live_twice(plan, scheduler)
        for _ in range(20):
            scheduler.run_all()
            submit.submit(plan)
        assert states(plan) == {"finished": len(plan.stages)}


def test_following_sends_what_was_held_back(workspace: Workspace) -> None:
    with Scheduler(stub_job.work, Limits(submit=2)).installed():
        plan = grid(workspace)
        said: list[str] = []
        submit.submit(plan, said.append)
        assert follow.follow(plan, said.append)
        assert states(plan) == {"finished": len(plan.stages)}


def test_small_arrays_have_dependencies_that_hold(workspace: Workspace) -> None:
    with Scheduler(stub_job.work, Limits(array_size=2)).installed() as scheduler:
        plan = grid(workspace, seeds=["1", "2", "3"], recipes=["none", "squad", "hellaswag"])
        submit.submit(plan)
        assert all(e.index is not None and e.index < 2 for e in scheduler.elements)
        scheduler.run_all()
        assert states(plan) == {"finished": len(plan.stages)}


# --- the submitter dies, or sbatch leaves it open


@pytest.mark.parametrize("fault", ["silent-accepted", "socket-accepted", "silent-lost", "socket-lost"])
def test_an_unclear_answer_is_settled_by_the_next_command(
    workspace: Workspace, scheduler: Scheduler, fault: Any
) -> None:
    plan = grid(workspace)
    scheduler.send_faults.append(fault)
    with pytest.raises(SendUnclear, match="type the command again"):
        submit.submit(plan)
    assert "unknown" in states(plan)
    before, said = scheduler.now, []
    done = submit.submit(plan, said.append)
    if fault.endswith("accepted"):
        assert any("adopted" in line for line in outcome.lines(done))
    else:
        assert any("never sent" in line for line in outcome.lines(done))
        assert scheduler.now - before >= 50 and "looking for" in said[0]
    assert not live_twice(plan, scheduler)
    scheduler.run_all()
    submit.submit(plan)
    scheduler.run_all()
    assert states(plan) == {"finished": len(plan.stages)}


def test_a_stopped_slurmctld_takes_the_array_later(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = grid(workspace)
    scheduler.send_faults.append("silent-lost")
    with pytest.raises(SendUnclear):
        submit.submit(plan)
    scheduler.ctld = "stopped"
    with pytest.raises(UserError, match="does not answer"):
        submit.submit(plan)
    assert states(plan)["unknown"] and not states(plan).keys() & {"failed", "finished", "held"}
    scheduler.bring_up()
    submit.submit(plan)
    scheduler.run_all()
    assert states(plan) == {"finished": len(plan.stages)}


def test_an_array_that_ended_meanwhile_is_adopted_by_what_it_wrote(workspace: Workspace, scheduler: Scheduler) -> None:
    """Forgotten by slurmctld, and there is no accounting."""
    plan = grid(workspace)
    scheduler.has_accounting = False
    scheduler.send_faults.append("silent-accepted")
    with pytest.raises(SendUnclear):
        submit.submit(plan)
    scheduler.run_all()
    scheduler.advance(1000)
    scheduler.purge()
    done = submit.submit(plan)
    assert any("adopted" in line for line in outcome.lines(done))
    scheduler.run_all()
    assert states(plan) == {"finished": len(plan.stages)}


def test_of_two_arrays_with_one_name_the_later_is_cancelled(workspace: Workspace, scheduler: Scheduler) -> None:
    """A wrapper around sbatch that tries again after a time-out, though the first try had arrived."""
    plan = grid(workspace)
    scheduler.send_faults.append("silent-accepted")
    with pytest.raises(SendUnclear):
        submit.submit(plan)
    scheduler.accept(scheduler.arrays[0].script)
    done = submit.submit(plan)
    assert any("sent 2 times" in line for line in outcome.lines(done))
    assert not live_twice(plan, scheduler)


def test_an_array_that_comes_when_it_was_given_up_is_cancelled(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = grid(workspace)
    scheduler.send_faults.append("silent-lost")
    with pytest.raises(SendUnclear):
        submit.submit(plan)
    (path,) = plan.experiment.store.glob("submissions/*/logs/0/script.sh")
    submit.submit(plan)
    late = scheduler.accept(path.read_text())
    done = submit.submit(plan)
    assert any("came late" in line for line in outcome.lines(done))
    assert not [element for element in late.elements if element.live] and not live_twice(plan, scheduler)


class Killed(BaseException):
    """The submitter is gone."""


@pytest.mark.slow
@pytest.mark.parametrize("call", ["replace", "link", "mkdir"])
def test_killed_at_any_write_the_next_command_sends_the_rest(
    workspace: Workspace, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = getattr(os, call)
    number = 0
    while True:
        number += 1
        left = number

        def dying(*arguments: Any, **more: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                raise Killed
            return real(*arguments, **more)

        plan = workspace.plan(cluster=CLUSTER, store=f"./store-{number}", seeds=["1"])
        with Scheduler(stub_job.work).installed() as scheduler:
            with monkeypatch.context() as patched:
                patched.setattr(os, call, dying)
                with suppress(Killed):
                    submit.submit(plan)
            done = left > 0
            (plan.experiment.store / "submissions" / "lock").unlink(missing_ok=True)  # its holder is dead
            submit.submit(plan)
            assert not live_twice(plan, scheduler)
            scheduler.run_all()
            assert states(plan) == {"finished": len(plan.stages)}, number
        if done:
            return


@pytest.mark.slow
def test_sixteen_at_once_send_one_set_of_arrays(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real processes, and commands on PATH that remember what was sent."""
    folder = workspace.root / "bin"
    folder.mkdir()
    state = workspace.root / "sent"
    state.touch()
    commands = {
        "sbatch": f'exec 9>>{state}.lock; flock 9; id=$(($(wc -l < {state}) + 1)); script="${{@: -1}}"\n'
        f'name=$(sed -n "s/^#SBATCH --job-name=//p" "$script"); list=$(sed -n "s/^#SBATCH --array=//p" "$script")\n'
        f'echo "$id|[$list]|PENDING|gpu|2026-01-01T00:00:00|None|lab|normal|$name" >> {state}; echo $id\n',
        "squeue": f"cat {state}\n",
        "scontrol": 'echo "MaxArraySize            = 1001"\n',
        "sacct": "exit 0\n",
        "sinfo": "exit 0\n",
        "scancel": "exit 1\n",
    }
    for name, text in commands.items():
        (folder / name).write_text("#!/bin/bash\n" + text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    plan = grid(workspace)
    expected = len(drafts.decide(plan, look(plan), 1001).arrays)
    answers = at_once(16, lambda _: submit.submit(plan).elements)
    assert sorted(answers)[:-1] == [0] * 15 and max(answers) > 0
    lines = state.read_text().splitlines()
    assert len(lines) == expected and len({line.rpartition("|")[2] for line in lines}) == expected
    assert len(submissions.read_all(plan.experiment.store)) == 1


# --- who may read, and what is not written


def test_everything_is_private_and_without_secrets(
    workspace: Workspace, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the code is frozen too
    monkeypatch.setenv("XDG_CACHE_HOME", str(workspace.root / "cache"))
    secrets = {f"OUR_{word}": f"hidden-{word}" for word in ("TOKEN", "API_KEY", "SECRET", "PASSWORD")}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    before = os.umask(0)
    try:
        with Scheduler(stub_job.work).installed() as own:
            plan = grid(workspace)
            submit.submit(plan)
            own.run_all()
            states(plan)
    finally:
        os.umask(before)
    found = 0
    for folder, _, names in os.walk(plan.experiment.store):
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700, folder
        for name in names:
            path = Path(folder, name)
            is_frozen = path.is_relative_to(plan.experiment.store / "code")  # code that jobs run is read-only
            assert stat.S_IMODE(path.stat().st_mode) == (0o400 if is_frozen else 0o600), path
            content = path.read_text(encoding="utf-8", errors="replace")
            assert not any(value in content for value in secrets.values()), path
            found += 1
    assert found > 100


def test_control_characters_are_refused_before_anything_is_written(workspace: Workspace, scheduler: Scheduler) -> None:
    root = workspace.root / "a\nb"
    root.mkdir()
    plan = workspace.plan(cluster=CLUSTER, store=str(workspace.root / "store"))
    object.__setattr__(plan.experiment, "store", root / "store")
    with pytest.raises(UsageError, match="line breaks and control characters") as caught:
        submit.submit(plan)
    assert "\n" not in str(caught.value)
    object.__setattr__(plan.experiment, "store", workspace.root / "100%A" / "store")
    with pytest.raises(UsageError, match="Slurm replaces"):
        submit.submit(plan)
    assert not list(root.iterdir()) and not (workspace.root / "100%A").exists() and not scheduler.calls


def test_results_by_different_code_are_marked(
    workspace: Workspace, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the training is by other code than all that was evaluated with it."""
    plan = grid(workspace, targets=["xnli"])
    monkeypatch.setattr(stub_job, "CODE", "earlier")
    submit.submit(plan)
    scheduler.run_all()
    assert _mixed(plan) == []
    for path in plan.experiment.store.glob("stages/*--xnli-*/languages/*/*.json"):
        path.unlink()
    monkeypatch.setattr(stub_job, "CODE", "later")
    submit.submit(plan)
    scheduler.run_all()
    assert _mixed(plan) == ["these results were made by 2 versions of the code"]


def _mixed(plan: Plan) -> list[str]:
    store = Store(plan.experiment.store)
    rows = collect(plan, store, write=False).rows
    lines = table.notes(plan, store, rows, table.metrics(plan, rows))
    return [line for line in lines if "versions of the code" in line]


def test_the_shown_script_is_the_sent_one(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = grid(workspace)
    shown = request.scripts(drafts.decide(plan, look(plan), 1001))
    submit.submit(plan)
    (path,) = plan.experiment.store.glob("submissions/*/logs/0/script.sh")
    submission = path.parents[2].name
    sent = path.read_text().replace(submission, "SUBMISSION").replace(submission.rpartition("-")[2], "SUBMISSION")
    assert sent == shown[0].replace("/code/CODE", "/code/c0de")
    assert sys.executable in sent
