"""What is advised, from which numbers, and when nothing is."""

from typing import Any

import pytest

from launch.usage.advice import advise, clock
from launch.usage.measured import ElementUse, KindUse, Measured
from slurm.limits import seconds
from tests.launch.workspace import Workspace

GIB = 1 << 30
HOUR = 3600.0


def _advice(
    workspace: Workspace, cluster: dict[str, str], kinds: tuple[KindUse, ...] = (), **elements: Any
) -> dict[str, str]:
    """Lines to paste, and why."""
    plan = workspace.plan(cluster={"executor": "slurm"} | cluster, seeds=["1"])
    uses = Measured(kinds, elements.pop("unseen", ()), ElementUse(**({"seen": 34, "usual": HOUR} | elements)))
    return {advice.yaml: advice.why for advice in advise(plan, uses)}


def test_time_is_a_quarter_more_than_the_longest(workspace: Workspace) -> None:
    assert _advice(workspace, {"time": "12:00:00"}, longest=110 * 60.0) == {
        'time: "02:30:00"': "12:00:00 asked, 01:50:00 the longest of 34 elements: jobs start sooner"
    }
    assert list(_advice(workspace, {"time": "3-00:00:00"}, longest=30 * HOUR)) == ['time: "1-14:00:00"']
    assert list(_advice(workspace, {"time": "01:00:00"}, longest=5.0)) == ['time: "00:15:00"']


@pytest.mark.parametrize(
    ("cluster", "elements"),
    [
        ({"time": "12:00:00"}, {"longest": 9 * HOUR}),  # it fits
        ({"time": "12:00:00"}, {"longest": HOUR, "unseen": ("train mnli",)}),  # which may take longer
        ({"mem": "64G"}, {"memory": GIB, "unseen": ("evaluate xnli",)}),
        ({"time": "12:00:00"}, {"longest": HOUR, "seen": 2}),  # too few
        ({"time": "12:00:00"}, {"longest": HOUR, "stopped_by": frozenset({"time"})}),  # a limit was too short for one
        ({}, {"longest": HOUR}),  # the file asks for nothing
        ({"mem": "64G"}, {"memory": 60 * GIB}),
        ({"mem": "64G"}, {"memory": 0}),  # nobody measured
        ({"mem": "64G"}, {"memory": GIB, "stopped_by": frozenset({"host-oom"})}),
        ({"mem": "0"}, {"memory": GIB}),  # all that a node has
    ],
)
def test_no_advice(workspace: Workspace, cluster: dict[str, str], elements: dict[str, Any]) -> None:
    assert _advice(workspace, cluster, **elements) == {}


@pytest.mark.parametrize(
    ("cluster", "used", "line"),
    [
        ({"mem": "64G"}, 9.1, "mem: 12G"),
        ({"mem": "64000M"}, 0.35, "mem: 512M"),
        ({"mem-per-cpu": "4G", "cpus-per-task": "4", "ntasks-per-node": "2"}, 9.1, "mem-per-cpu: 1536M"),
        ({"mem-per-gpu": "64G", "gpus-per-node": "4"}, 40.0, "mem-per-gpu: 13G"),
    ],
)
def test_memory_is_said_by_the_files_own_flag(
    workspace: Workspace, cluster: dict[str, str], used: float, line: str
) -> None:
    assert list(_advice(workspace, cluster, memory=int(used * GIB))) == [line]


def _kind(kind: str = "train squad", **more: Any) -> KindUse:
    return KindUse(kind, 10, HOUR, HOUR, **({"sampled": 10} | more))


def test_cores_that_idle(workspace: Workspace) -> None:
    cluster = {"cpus-per-task": "16", "ntasks-per-node": "2"}
    kinds = (_kind(cores=4.2), _kind("evaluate xnli", cores=2.0))
    assert _advice(workspace, cluster, kinds) == {
        "cpus-per-task: 4": "16 asked, 2.1 busy in the mean of the busiest of 20 attempts"
    }
    assert _advice(workspace, cluster, (_kind(cores=30.0),)) == {}
    assert _advice(workspace, cluster, (_kind(cores=4.2, sampled=0),)) == {}
    assert _advice(workspace, cluster, kinds, unseen=("train mnli",)) == {}  # which may need more


@pytest.mark.parametrize(
    ("gpus", "busy", "lines"),
    [
        ("a100:4", 30.0, ['gpus-per-node: "a100:2"']),
        ("4", 19.0, ["gpus-per-node: 1"]),
        ("4", 75.0, []),
        ("1", 5.0, []),  # none less
        ("a100:2,v100:2", 5.0, []),
    ],
)
def test_gpus_that_idle(workspace: Workspace, gpus: str, busy: float, lines: list[str]) -> None:
    kinds = (_kind(busy=busy), _kind("evaluate xnli", busy=99.0))
    assert list(_advice(workspace, {"gpus-per-node": gpus}, kinds, unseen=("evaluate mlqa",))) == lines
    assert _advice(workspace, {"gpus-per-node": gpus}, kinds, unseen=("train mnli",)) == {}


def test_short_elements_go_in_bundles(workspace: Workspace) -> None:
    """And no other time is advised: a bundle takes longer than the elements did."""
    elements = {"usual": 120.0, "before": 40.0, "longest": 240.0}
    assert _advice(workspace, {"time": "02:00:00"}, **elements) == {
        'bundle: "00:30:00"': "half of 34 elements took less than 2m, 40s of it before the first stage: several"
                              " wait and start once"
    }  # fmt: skip
    assert list(_advice(workspace, {"time": "30:00"}, **elements)) == ['bundle: "00:15:00"']
    assert list(_advice(workspace, {"time": "02:00:00", "bundle": "30:00"}, **elements)) == ['time: "00:15:00"']


def test_local_workers_ask_nobody(workspace: Workspace) -> None:
    plan = workspace.plan(cluster={"executor": "local", "mem": "64G"}, seeds=["1"])
    assert advise(plan, Measured((), (), ElementUse(34, HOUR, HOUR, memory=GIB))) == []


@pytest.mark.parametrize("text", ["00:15:00", "12:00:00", "1-14:00:00"])
def test_times_are_read_as_they_are_written(text: str) -> None:
    assert clock(float(seconds(text) or 0)) == text
