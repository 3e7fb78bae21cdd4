"""The scripted scheduler itself: what it starts, ends, refuses and forgets, as real Slurm was seen to."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from slurm.commands import Missing, Output, Silent, run
from tests.slurm.scripted import Limits, Run, Scheduler
from tests.slurm.scripted_words import seconds_of

QUEUE = ["squeue", "--noheader", "--array", "--format", "%F|%K|%T|%r|%j"]
ENDED = ["sacct", "--noheader", "--parsable2", "--allocations", "--format", "JobID,State,ExitCode"]


def _script(folder: Path, array: str = "0-2", **flags: str) -> str:
    lines = [f"#SBATCH --array={array}", "#SBATCH --requeue", "#SBATCH --job-name=e"]
    lines += [f"#SBATCH --{name.replace('_', '-')}={value}" for name, value in flags.items()]
    path = folder / f"script-{len(os.listdir(folder))}.sh"
    path.write_text("\n".join(["#!/bin/bash", *lines, "srun python -m job /store/manifest-0.json", ""]))
    return str(path)


def _send(folder: Path, array: str = "0-2", **flags: str) -> Output:
    return run(["sbatch", _script(folder, array, **flags)])


def _slow(run: Run) -> Generator[None, None, int]:
    """Two steps, or one more start where the time limit comes first."""
    for _ in range(2):
        yield
        if run.signalled:
            return 75
    return 0


def test_elements_run_and_end(tmp_path: Path) -> None:
    seen: list[tuple[str, int, str | None]] = []

    def work(run: Run) -> int:
        seen.append((str(run.manifest), run.index, os.environ.get("SLURM_ARRAY_JOB_ID")))
        return run.index % 2

    with Scheduler(work).installed() as scheduler:
        assert _send(tmp_path) == Output(0, "Submitted batch job 1\n", "")
        assert run(QUEUE).out.splitlines() == ["1|0|PENDING|None|e", "1|1|PENDING|None|e", "1|2|PENDING|None|e"]
        scheduler.run_all()
        assert run(QUEUE).out == ""
        assert run(ENDED).out.splitlines() == ["1_0|COMPLETED|0:0", "1_1|FAILED|1:0", "1_2|COMPLETED|0:0"]
    assert seen == [("/store/manifest-0.json", n, "1") for n in range(3)]
    assert "SLURM_ARRAY_JOB_ID" not in os.environ


def test_pending_elements_are_folded_and_truncated(tmp_path: Path) -> None:
    with Scheduler().installed() as scheduler:
        _send(tmp_path, "0,2,4,6%2")
        assert run(["squeue", "--noheader", "--format", "%i"]).out == "1_[0,2,4,6%2]\n"
        scheduler.truncates_ids = True
        assert run(["squeue", "--noheader", "--format", "%i"]).out == "1_[0,2,...%2]\n"


def test_the_throttle_holds_and_can_be_changed(tmp_path: Path) -> None:
    with Scheduler(_slow).installed() as scheduler:
        _send(tmp_path, "0-3%1")
        scheduler.advance(1)
        assert len(scheduler.running) == 1
        assert run(["scontrol", "update", "JobId=1", "ArrayTaskThrottle=3"]).code == 0
        scheduler.advance(1)
        assert len(scheduler.running) == 3
        scheduler.run_all()
        _send(tmp_path, "0-1%1")
        scheduler.advance(35)  # the first is over
        job = scheduler.arrays[-1]
        said = run(["scontrol", "update", f"JobId={job.id}", "ArrayTaskThrottle=4"])
        assert said == Output(1, "", f"{job.id}_0: Job has already finished\n{job.id}_1: No error\n")
        assert job.throttle == 4


def test_what_has_ended_can_be_queued_again(tmp_path: Path) -> None:
    with Scheduler().installed() as scheduler:
        _send(tmp_path, "0")
        scheduler.run_all()
        assert run(["scontrol", "requeue", "1_0"]).code == 0
        assert [element.state for element in scheduler.live] == ["PENDING"]
        scheduler.run_all()
        assert [record.restarts for record in scheduler.records] == [0, 1] and not scheduler.live


def test_dependencies(tmp_path: Path) -> None:
    """afterok of one element, aftercorr index by index; what can never be is said, or cancelled where asked."""
    with Scheduler(lambda run: int(run.index == 1 and run.element.array.id == 1)).installed() as scheduler:
        _send(tmp_path, "0-1")
        _send(tmp_path, "0-1", dependency="aftercorr:1")
        _send(tmp_path, "0", dependency="afterok:1_1", kill_on_invalid_dep="yes")
        _send(tmp_path, "0", dependency="afterok:999")
        scheduler.run_all()
        children = [a for a in scheduler.arrays if a.id != 1]
        assert [e.state for e in children[0].elements] == ["COMPLETED", "PENDING"]
        assert children[0].elements[1].reason == "DependencyNeverSatisfied"
        assert children[1].elements[0].state == "CANCELLED"
        assert children[2].elements[0].state == "COMPLETED"  # Slurm drops what it does not know


def test_the_time_limit_warns_first(tmp_path: Path) -> None:
    with Scheduler(_slow).installed() as scheduler:
        _send(tmp_path, "0", time="0:15", signal="USR2@10")
        scheduler.run_all()
        (record,) = scheduler.records
        assert (record.state, record.exit_code) == ("FAILED", 75)
        scheduler.limits.step_seconds = 1000
        _send(tmp_path, "0", time="1:00")
        scheduler.run_all()
        assert scheduler.records[-1].state == "TIMEOUT"


@pytest.mark.parametrize("preempt", ["REQUEUE", "CANCEL"])
def test_preemption_and_node_failure(tmp_path: Path, preempt: str) -> None:
    with Scheduler(_slow, Limits(preempt=preempt)).installed() as scheduler:  # type: ignore[arg-type]
        _send(tmp_path, "0-1")
        scheduler.advance(1)
        first, second = scheduler.running
        scheduler.preempt(first)
        scheduler.fail_node(second)
        scheduler.advance(1)
        assert second.reason == "BeginTime" and first.live == (preempt == "REQUEUE")
        scheduler.run_all()
        assert second.state == "COMPLETED" and second.restarts == 1
        assert first.state == ("COMPLETED" if preempt == "REQUEUE" else "PREEMPTED")
        states = [line.split("|")[1] for line in run([*ENDED, "--duplicates"]).out.splitlines()]
        assert {"PREEMPTED", "NODE_FAIL", "COMPLETED"} == set(states)


def test_an_element_may_requeue_itself(tmp_path: Path) -> None:
    def work(run_: Run) -> int:
        if run_.attempt:
            return 0
        return 75 if run(["scontrol", "requeue", run_.element.id]).code == 0 else 1

    with Scheduler(work).installed() as scheduler:
        _send(tmp_path, "0")
        scheduler.run_all()
        assert [r.state for r in scheduler.records] == ["REQUEUED", "COMPLETED"]


def test_cancelling(tmp_path: Path) -> None:
    """Pending ones vanish without a record, running ones say by whom; what is over is complained of."""
    with Scheduler(_slow, Limits(slots=1)).installed() as scheduler:
        _send(tmp_path, "0-3")
        scheduler.advance(1)
        assert run(["scancel", "1_[0,2-3]"]).code == 0
        scheduler.run_all()
        assert run(ENDED).out.splitlines() == [f"1_0|CANCELLED by {os.getuid()}|0:15", "1_1|COMPLETED|0:0"]
        assert "already completing or completed" in run(["scancel", "1_0"]).err
        assert run(["scancel", "77"]) == Output(0, "", "")


def test_a_stopped_slurmctld_carries_out_later_what_it_was_sent(tmp_path: Path) -> None:
    with Scheduler().installed() as scheduler:
        scheduler.ctld = "stopped"
        with pytest.raises(Silent):
            _send(tmp_path)
        with pytest.raises(Silent):
            run(QUEUE)
        scheduler.bring_up()
        assert len(run(QUEUE).out.splitlines()) == 3
        scheduler.ctld = "down"
        assert run(QUEUE).code == 1 and "Unable to contact slurm controller" in _send(tmp_path).err
        scheduler.dbd_up = False
        assert "Connection refused" in run(ENDED).err
        scheduler.missing = {"sacct"}
        with pytest.raises(Missing):
            run(ENDED)


def test_what_an_unclear_sbatch_did(tmp_path: Path) -> None:
    with Scheduler().installed() as scheduler:
        scheduler.send_faults += ["silent-accepted", "silent-lost", "socket-accepted", "socket-lost", "refused"]
        for _ in range(2):
            with pytest.raises(Silent):
                _send(tmp_path)
        assert "Socket timed out" in _send(tmp_path).err and "Socket timed out" in _send(tmp_path).err
        assert "Unspecified error" in _send(tmp_path).err
        assert len(scheduler.arrays) == 2


def test_limits_refuse(tmp_path: Path) -> None:
    with Scheduler(limits=Limits(array_size=5, submit=6, partitions={"debug": 60.0})).installed() as scheduler:
        assert "Invalid job array specification" in _send(tmp_path, "0-5").err
        assert "invalid partition" in _send(tmp_path, partition="gpu").err
        assert "time limit is invalid" in _send(tmp_path, time="2:00").err
        assert "account" in _send(tmp_path, account="nobody").err
        scheduler.add_others(4)
        assert "AssocMaxSubmitJobLimit" in _send(tmp_path).err
        scheduler.limits.submit, scheduler.limits.jobs = None, 6
        assert "Resource temporarily unavailable" in _send(tmp_path).err


def test_limits_of_a_qos_and_nodes_that_are_left_out(tmp_path: Path) -> None:
    """As 22.05: the partition's QOS before the job's before the association; each counts the jobs that it is of."""
    limits = Limits(submit=1, qos=("normal", "long"), qos_submit={"long": 2, "small": 3}, nodes=2)
    limits.partition_qos = {"gpu": "small"}
    with Scheduler(limits=limits).installed() as scheduler:
        assert "AssocMaxSubmitJobLimit" in _send(tmp_path, "0-1").err and _send(tmp_path, "0").code == 0
        assert _send(tmp_path, "0-1", qos="long").code == 0
        assert "QOSMaxSubmitJobPerUserLimit" in _send(tmp_path, "0", qos="long").err
        assert "QOSMaxSubmitJobPerUserLimit" in _send(tmp_path, "0-3", partition="gpu").err
        assert _send(tmp_path, "0-2", partition="gpu,debug", qos="long").code == 0
        shown = run(["squeue", "--noheader", "--format", "%F %P %a %q"]).out
        assert shown == "1 debug root normal\n2 debug root long\n4 gpu,debug root long\n"
        limits.submit, limits.qos_submit = None, {}
        assert "Requested node configuration is not available" in _send(tmp_path, "0", exclude="node1,node2").err
        _send(tmp_path, "0-3", exclude="node1")
        scheduler.advance(1)
        assert {element.node for element in scheduler.arrays[-1].elements} == {"node2"}


def test_a_slurmdbd_of_several_clusters() -> None:
    with Scheduler(limits=Limits(submit=5)).installed() as scheduler:
        query = ["sacctmgr", "-n", "-P", "show", "user", scheduler.user, "withassoc", "format=Cluster,MaxSubmitJobs"]
        assert run(query).out == "another|1\nscripted|5\n"
        assert run([*query, "cluster=scripted"]).out == "scripted|5\n"


def test_forgetting_and_reused_ids(tmp_path: Path) -> None:
    with Scheduler().installed() as scheduler:
        _send(tmp_path, "0")
        scheduler.run_all()
        assert run(["squeue", "--noheader", "--jobs", "1", "--format", "%T"]) == Output(0, "", "")
        scheduler.advance(400)
        scheduler.purge()
        assert "Invalid job id" in run(["squeue", "--noheader", "--jobs", "1", "--format", "%T"]).err
        assert run(ENDED).out == "1_0|COMPLETED|0:0\n"
        scheduler.reuse_ids()
        _send(tmp_path, "0")
        assert run(ENDED).out.splitlines()[-1] == "1_0|PENDING|0:0"  # the last record of an id
        scheduler.purge_accounting()
        assert run([*ENDED, "--duplicates"]).out == "1_0|PENDING|0:0\n"


@pytest.mark.parametrize(
    "command",
    [["squeue", "--json"], ["squeue", "--noheader", "--format", "%Z"], ["sacct", "--noheader", "-P", "-o", "Nonsense"],
     ["srun", "true"], ["scontrol", "shutdown"], ["scancel", "--me"], ["sacctmgr", "-nP", "delete", "user"]],
)  # fmt: skip
def test_what_it_does_not_know_fails_the_test(command: list[str]) -> None:
    with Scheduler().installed(), pytest.raises(AssertionError):
        run(command)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30", 1800), ("1:30", 90), ("1:00:00", 3600), ("2-0", 172800), ("1-1:30", 91800)]
)
def test_time_limits(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds
