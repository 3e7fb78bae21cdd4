"""What sbatch refuses: which arrays go out all the same, what a person is told, and what earlier failures changed."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from launch import submit
from launch.draft import decide, request
from launch.store import provenance
from launch.submit import sender
from slurm.arrays import Refused
from slurm.base import UsageError
from tests.launch import stub_job
from tests.launch.submit.test_submitter import grid, live_twice, states
from tests.launch.workspace import Workspace, look_at
from tests.slurm.scripted import Limits, Scheduler

POLICY = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"


@pytest.fixture(autouse=True)
def _quick(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    """Small arrays: several of them wait for nothing."""
    with Scheduler(stub_job.work, Limits(array_size=2)).installed() as made:
        yield made


def _refused(plan: Any) -> str:
    with pytest.raises(Refused) as caught:
        submit.submit(plan)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_refusal_by_policy_names_the_setting(workspace: Workspace, scheduler: Scheduler) -> None:
    seeds = ["1", "2", "3", "4"]
    plan = grid(workspace, seeds=seeds, cluster={"time": "2-00:00:00"})
    message = _refused(plan)
    assert "exceeds some limit" in message and message.count("`cluster: {time: …}`") == 1
    assert message.endswith("; nothing was sent") and states(plan) == {"new": len(plan.stages)}
    assert scheduler.calls["sbatch"] == 2  # of equal arrays no more are tried
    plan = grid(workspace, seeds=seeds)
    submit.submit(plan)
    scheduler.run_all()
    assert states(plan) == {"finished": len(plan.stages)}


def test_what_the_shell_asks_and_sbatch_would_not_take_stops_who_sends(
    workspace: Workspace, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBATCH_ACCOUNT", "a b")
    plan = grid(workspace, seeds=["1"])
    assert states(plan) == {"new": len(plan.stages)}  # looking is for everybody
    line = "^SBATCH_ACCOUNT: .*; unset it, or write cluster: {account: …}$"
    with pytest.raises(UsageError, match=line):
        submit.submit(plan)
    draft = decide(plan, look_at(plan), 1001)
    with pytest.raises(UsageError, match=line):
        request.scripts(draft)
    assert not scheduler.arrays and not list(plan.experiment.store.glob("submissions/*"))
    monkeypatch.delenv("SBATCH_ACCOUNT")
    plan = grid(workspace, seeds=["1"])
    submit.submit(plan)
    assert scheduler.arrays


def test_what_does_not_wait_for_a_refused_array_goes_out(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = grid(workspace, seeds=["1", "2", "3", "4"])
    scheduler.send_faults.append("refused")
    message = _refused(plan)
    sent, all_ = len(scheduler.arrays), scheduler.calls["sbatch"]
    assert message.startswith(f"sbatch refused: Batch job submission failed: Unspecified error ({sent} of ")
    assert sent == all_ - 1 and sent > 2 and any("dependency" in array.flags for array in scheduler.arrays)
    submit.submit(plan)
    assert not live_twice(plan, scheduler)
    scheduler.run_all()
    assert states(plan) == {"finished": len(plan.stages)}


def test_a_refusal_of_what_a_failure_changed_says_so(workspace: Workspace) -> None:
    """More time than the site takes, though the partition has no limit."""
    with Scheduler(stub_job.work).installed() as scheduler:
        plan = grid(workspace, seeds=["1"])
        scheduler.work = stub_job.failing(("mnli-s1",), "killed", "host-oom")
        submit.submit(plan)
        scheduler.run_all()
        scheduler.send_faults.append("refused")
        scheduler.refusal = "Memory specification can not be satisfied"
        message = _refused(plan)
        why = "--mem=12288M was asked for because of earlier failures: see `failures:` in experiment.yaml"
        assert f"{scheduler.refusal}; {why}; see `cluster: {{mem: …}}`" in message


@pytest.mark.parametrize(("nodes", "left_out"), [(2, [{"node2"}, {"node1"}]), (1, [set(), set()])])
def test_failures_of_every_node_leave_some_to_run_on(
    workspace: Workspace, nodes: int, left_out: list[set[str]]
) -> None:
    with Scheduler(stub_job.work, Limits(nodes=nodes)).installed() as scheduler:
        plan = grid(workspace, seeds=["1"], recipes=["none"], targets=["tatoeba"])
        scheduler.work = stub_job.failing(("start--tatoeba",), "CUDA error: uncorrectable ECC error", "node")
        submit.submit(plan)
        for expected in left_out:
            scheduler.run_all()
            submit.submit(plan)
            flag = scheduler.arrays[-1].flags.get("exclude", "")
            assert {name for name in flag.split(",") if name} == expected
        scheduler.work = stub_job.work
        scheduler.run_all()
        assert states(plan) == {"finished": len(plan.stages)}


@pytest.mark.parametrize(
    ("words", "setting"),
    [
        (f"QOSMaxGRESPerJob; Batch job submission failed: {POLICY}", "gpus-per-node"),
        (f"QOSMaxMemoryPerJob; Batch job submission failed: {POLICY}", "mem"),
        (f"QOSMaxMemoryPerUser; Batch job submission failed: {POLICY}", "mem"),
        (f"QOSMaxCpuPerUserLimit; Batch job submission failed: {POLICY}", "cpus-per-task"),
        (f"AssocMaxNodePerJobLimit; Batch job submission failed: {POLICY}", "nodes"),
        (f"QOSMaxWallDurationPerJobLimit; Batch job submission failed: {POLICY}", "time"),
        (f"QOSNotAllowed; Batch job submission failed: {POLICY}", "qos"),
        (f"Batch job submission failed: {POLICY}", None),  # it may be anything
        ("Requested time limit is invalid (missing or exceeds some limit)", "time"),
        ("Invalid account or account/partition combination specified", "account"),
        ("Memory specification can not be satisfied; Requested node configuration is not available", "mem"),
        ("Requested node configuration is not available", "mem, gpus-per-node or constraint"),
        ("Invalid node name specified", "nodelist or exclude"),
        ("Requested partition configuration not available now", "partition"),
        ("Access/permission denied", None),
    ],
)
def test_the_setting_that_sbatchs_words_are_about(words: str, setting: str | None) -> None:
    plan: Any = SimpleNamespace(experiment=SimpleNamespace(path=Path("x.yaml")))
    expected = f"; see `cluster: {{{setting}: …}}` in x.yaml" if setting else ""
    assert sender._setting(words, plan) == expected


def test_a_dependency_that_is_gone_is_looked_at_again() -> None:
    plan: Any = SimpleNamespace(experiment=SimpleNamespace(path=Path("x.yaml")))
    assert sender._setting("Batch job submission failed: Job dependency problem", plan) == "; type the command again"
