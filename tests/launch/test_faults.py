"""The launcher on a real Slurm while things go wrong: nothing lost, nothing run twice, nothing to clean by hand.

The elements are stubs that write real attempts and results (no training), on a cluster of these tests' own, whose
daemons and nodes they end. docs/faults.md lists what is tried, here and with the scripted scheduler.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from launch.draft import request as array_request
from launch.plan import Plan
from launch.status import Observation
from launch.store import Store
from launch.store.attempts import attempts_of
from launch.submit import cancel, outcome, submit
from slurm.base import UserError
from slurm.base.files import write_atomic
from slurm.devcluster import cluster
from tests.conftest import own_devcluster
from tests.launch.workspace import Workspace, make
from tests.paths import ROOT

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

NODES = ("node1", "node2")


@dataclass
class Lab:
    """An experiment, its cluster, and the results as they were first seen."""

    cluster: Path
    workspace: Workspace
    plan: Plan

    @property
    def store(self) -> Path:
        return self.plan.experiment.store

    def pace(self, seconds: float, deaf: bool = False) -> None:
        """How long each of an element's two steps lasts from now on."""
        write_atomic(self.store.parent / "stub.json", json.dumps({"seconds": seconds, "deaf": deaf}))

    def look(self) -> Observation:
        return Observation(self.plan, Store(self.store), max_age=0)

    def states(self) -> set[str]:
        return {self.look().state(stage).state for stage in self.plan.stages.values()}

    def running(self) -> list[str]:
        """Elements that are in an attempt."""
        seen = self.look()
        return sorted({str(s.job) for st in self.plan.stages.values() if (s := seen.state(st)).state == "running"})

    def in_queue(self) -> list[str]:
        """Names of the elements that Slurm has, also of finished stages: `look` asks it only about what is open."""
        names = slurm("squeue", "-h", "-r", "-o", "%j").split()
        return [name for name in names if name.startswith(f"{self.plan.experiment.name}-")]

    def results(self) -> dict[Path, bytes]:
        files = [*self.store.glob("stages/*/result.json"), *self.store.glob("stages/*/languages/*/*.json")]
        return {path: path.read_bytes() for path in files}

    def attempts(self) -> dict[str, int]:
        return {s.name: len(attempts_of(self.store / "stages" / s.folder)) for s in self.plan.stages.values()}

    def finish(self, seconds: float = 400) -> None:
        """Type `submit` now and then until all is finished; what is finished must not change meanwhile."""
        kept: dict[Path, bytes] = {}
        patience = time.monotonic() + seconds
        while True:
            with suppress(UserError):
                submit(self.plan)
            seen = self.look()
            now = self.results()
            assert all(now.get(path) == content for path, content in kept.items()), "a finished result changed"
            kept |= now
            if len(seen.finished) == len(self.plan.stages):
                break
            assert time.monotonic() < patience, {s.name: seen.state(s) for s in self.plan.stages.values()}
            time.sleep(2)
        _wait(lambda: not self.in_queue(), 60)
        for stage in self.plan.stages.values():
            results = list((self.store / "stages" / stage.folder).glob("result.json"))
            assert len(results) == (stage.kind == "train"), stage.name


def _wait(condition: Callable[[], object], seconds: float = 200) -> None:
    patience = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < patience, "it did not come to pass"
        time.sleep(0.3)


def slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A cluster for these tests alone: MaxArraySize 11, two nodes of four CPUs."""
    with own_devcluster("faults") as folder:
        cluster.up(cluster.Options(folder, 2, 4, 8000, gpus_per_node=0, max_array_size=11))
        yield folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the experiment lies."""
    return tmp_path


@pytest.fixture
def make_lab(
    folder: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Lab]]:
    for name, value in cluster.environment(folder).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(array_request, "request", _with_stub(array_request.request))
    made = make(place)

    def lab(seeds: int = 3, seconds: float = 0.2, **told: Any) -> Lab:
        options = {"executor": "slurm", "partition": "cpu", "cpus-per-task": "1", "mem": "64M", "time": "30"} | told
        plan = made.plan(recipes=["none"], targets=["xnli"], seeds=[str(n) for n in range(seeds)], cluster=options)
        found = Lab(folder, made, plan)
        found.pace(seconds)
        return found

    yield lab
    cluster.start_daemon(folder, "slurmdbd")
    cluster.start_daemon(folder, "slurmctld")
    for node in NODES:
        cluster.start_node(folder, node)
    subprocess.run(["scancel", "--me"], check=False)
    _wait(lambda: cluster.status(folder).healthy and not slurm("squeue", "-h"))  # they would count at the next's limits


def _with_stub(real: Any) -> Any:
    """The array request with the stub for `launch.job`; the tests are not among the frozen code."""

    def request(*arguments: Any) -> Any:
        asked = real(*arguments)
        command = tuple("tests.launch.real_stub" if part == "launch.job" else part for part in asked.command)
        path = f"{asked.environment['PYTHONPATH']}:{ROOT}"
        return replace(asked, command=command, environment=asked.environment | {"PYTHONPATH": path})

    return request


def test_forty_elements_where_an_array_holds_eleven(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(seeds=40, seconds=0)
    done = submit(lab.plan)
    assert done.elements == 40 and len(done.draft.arrays) == 4
    assert max(index for array in done.draft.arrays for index in array.elements) <= 10
    lab.finish()
    assert set(lab.attempts().values()) == {1}


def test_a_submit_limit_holds_back_what_goes_out_later(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(seeds=9)
    slurm("sacctmgr", "-i", "modify", "user", "root", "set", "MaxSubmitJobs=4")
    try:
        _wait(lambda: "4" in slurm("sacctmgr", "-nP", "show", "assoc", "user=root", "format=maxsubmit").split())
        done = submit(lab.plan)
        assert done.elements == 4 and done.held == 5
        assert "held back" in " ".join(outcome.lines(done)) and "4" in done.limit
        lab.finish()
    finally:
        slurm("sacctmgr", "-i", "modify", "user", "root", "set", "MaxSubmitJobs=-1")
    assert set(lab.attempts().values()) == {1}


def test_slurmctld_is_restarted_and_a_submit_meets_it_down(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(seeds=6, seconds=1)
    submit(lab.plan)
    _wait(lab.running)
    cluster.stop_daemon(lab.cluster, "slurmctld")
    with pytest.raises(UserError, match="Slurm does not answer"):
        submit(lab.plan)
    assert "failed" not in lab.states()
    cluster.start_daemon(lab.cluster, "slurmctld")
    lab.finish()
    assert set(lab.attempts().values()) == {1}


def test_slurmctld_does_not_answer_though_it_takes_the_job(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(seeds=2)
    pid = cluster.status(lab.cluster).daemons["slurmctld"]
    assert pid is not None
    stopped = _stop_at_sbatch(pid)
    try:
        with pytest.raises(UserError, match="it may have sent"):
            submit(lab.plan)
    finally:
        stopped()
    lab.finish()
    assert set(lab.attempts().values()) == {1}


def _stop_at_sbatch(pid: int) -> Callable[[], None]:
    """Stop slurmctld when sbatch is called; what is returned lets it go on."""
    from slurm import commands

    real = commands.runner

    def run(command: Any, *more: Any) -> Any:
        if "sbatch" in command:
            os.kill(pid, signal.SIGSTOP)
        return real(command, *more)

    commands.runner = run

    def go_on() -> None:
        commands.runner = real
        os.kill(pid, signal.SIGCONT)

    return go_on


def test_accounting_is_down(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(seeds=4, seconds=1)
    submit(lab.plan)
    cluster.stop_daemon(lab.cluster, "slurmdbd")
    _wait(lab.running)
    assert "failed" not in lab.states()
    _wait(lambda: lab.states() == {"finished"}, 90)
    cluster.start_daemon(lab.cluster, "slurmdbd")
    lab.finish()
    assert set(lab.attempts().values()) == {1}


def test_accounting_that_is_late_is_waited_for(make_lab: Callable[..., Lab], folder: Path) -> None:
    """Jobs that end within a second, on a cluster whose slurmdbd commits every quarter of a minute."""
    cluster.stop_daemon(folder, "slurmdbd")
    settings = folder / "etc" / "slurmdbd.conf"
    as_usual = settings.read_text()
    settings.write_text(as_usual + "CommitDelay=15\n")
    try:
        cluster.start_daemon(folder, "slurmdbd")
        lab = make_lab(seeds=2, setup=["exit 9"])
        submit(lab.plan)
        seen: list[tuple[str, str]] = []
        patience = time.monotonic() + 120
        while "failed" not in lab.states():
            observation = lab.look()
            seen += [(s.state, s.reason or "") for s in map(observation.state, lab.plan.stages.values())]
            assert time.monotonic() < patience, seen
            time.sleep(0.5)
        assert any(state == "unknown" and "accounting is late" in reason for state, reason in seen), seen
        endings = {state.reason for state in map(lab.look().state, lab.plan.stages.values()) if state.state == "failed"}
        assert endings and all("9:0" in (reason or "") for reason in endings), endings
    finally:
        cluster.stop_daemon(folder, "slurmdbd")
        settings.write_text(as_usual)


def test_a_node_loses_its_power(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(seeds=2, seconds=8, nodelist="node2")
    submit(lab.plan)
    _wait(lab.running)
    cluster.power_off(lab.cluster, "node2")
    time.sleep(2)
    cluster.start_node(lab.cluster, "node2")
    lab.pace(0)
    lab.finish()
    assert max(lab.attempts().values()) == 2


def test_a_slurmd_is_killed_and_its_job_lives_on(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(seeds=2, seconds=3, nodelist="node1")
    submit(lab.plan)
    _wait(lab.running)
    cluster.stop_daemon(lab.cluster, "slurmd.node1", kill=True)
    time.sleep(1)
    cluster.start_node(lab.cluster, "node1")
    lab.finish()
    assert set(lab.attempts().values()) == {1}


@pytest.mark.parametrize("grace", [0, 5])
def test_preempted_with_and_without_grace(make_lab: Callable[..., Lab], grace: int) -> None:
    slurm("scontrol", "update", "PartitionName=preempt", f"GraceTime={grace}")
    lab = make_lab(seeds=1, seconds=6, partition="preempt", nodelist="node1", **{"cpus-per-task": "4"})
    submit(lab.plan)
    _wait(lab.running)
    slurm("sbatch", "--partition=gpu", "--nodelist=node1", "--cpus-per-task=4", "--mem=64M", "--output=/dev/null",
          "--wrap", "sleep 1")  # fmt: skip
    _wait(lambda: not lab.running())
    lab.pace(0)
    lab.finish()
    assert max(lab.attempts().values()) == 2


def test_requeued_by_hand(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(seeds=1, seconds=6)
    submit(lab.plan)
    _wait(lab.running)
    slurm("scontrol", "requeue", lab.running()[0])
    _wait(lambda: not lab.running())
    lab.pace(0)
    lab.finish()
    assert max(lab.attempts().values()) == 2


def test_a_drained_node_is_waited_for(make_lab: Callable[..., Lab]) -> None:
    slurm("scontrol", "update", "NodeName=node2", "State=DRAIN", "Reason=test")
    try:
        lab = make_lab(seeds=2, nodelist="node2")
        submit(lab.plan)
        time.sleep(2)
        assert lab.states() == {"queued"} and "nothing to send" in " ".join(outcome.lines(submit(lab.plan)))
    finally:
        slurm("scontrol", "update", "NodeName=node2", "State=RESUME")
    lab.finish()
    assert set(lab.attempts().values()) == {1}


@pytest.mark.parametrize(("flag", "value"), [("partition", "nosuch"), ("account", "nosuch"), ("qos", "nosuch")])
def test_refused_by_policy_nothing_is_left(make_lab: Callable[..., Lab], flag: str, value: str) -> None:
    lab = make_lab(seeds=1, **{flag: value})
    with pytest.raises(UserError, match=r"nosuch|sbatch refused"):
        submit(lab.plan)
    assert lab.states() == {"new"} and slurm("squeue", "-h") == ""


def test_cancelled_while_some_run_and_some_wait(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(seeds=5, seconds=20, throttle="2")
    submit(lab.plan)
    _wait(lambda: len(lab.running()) == 2)
    found = cancel.cancel(lab.plan, [], lambda _: True, lambda _: None)
    assert found is not None and len(found.stages) == len(lab.plan.stages)
    _wait(lambda: slurm("squeue", "-h") == "")
    assert lab.states() == {"cancelled"}
    lab.pace(0)
    lab.finish()
    assert max(lab.attempts().values()) == 2


def test_the_time_limit(make_lab: Callable[..., Lab]) -> None:
    """Slurm's least limit is a minute, so this one takes two: deaf to the signal before the limit, it is killed."""
    lab = make_lab(seeds=1, time="1")
    lab.pace(0, deaf=True)
    submit(lab.plan)
    (train,) = (stage for stage in lab.plan.stages.values() if stage.kind == "train")
    _wait(lambda: lab.look().state(train).state == "failed", 150)
    assert lab.look().state(train).cause == "time"
    lab.pace(0)
    lab.finish()
    assert lab.attempts()[train.name] == 2


def test_two_submitters_at_once_send_one_set(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(seeds=8, seconds=1)
    both = [_submitter(lab) for _ in range(4)]
    assert [process.wait(120) for process in both] == [0] * 4
    lab.finish()
    assert set(lab.attempts().values()) == {1}
    assert len(list((lab.store / "submissions").glob("2*"))) == 1


def test_the_submitter_is_killed_at_every_write(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(seeds=2, seconds=0.5)
    for number in range(0, 60, 6):  # each a process: the scripted scheduler tries every one
        _submitter(lab, die_at=number).wait(120)
        assert len(lab.in_queue()) <= 2, lab.in_queue()
    lab.finish()
    assert set(lab.attempts().values()) == {1}


def _submitter(lab: Lab, die_at: int | None = None) -> "subprocess.Popen[bytes]":
    """`submit` with the stub as a process of its own, which kills itself before its n-th write."""
    told = json.dumps({"file": str(lab.plan.experiment.path), "die_at": die_at})
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-m", "tests.launch.submitter", told], cwd=ROOT, env=environment)
