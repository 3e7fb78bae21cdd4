"""A file system that takes seconds for every call: nobody takes who is slow for dead. Times are a thirtieth of real
ones."""

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from launch.store import attempts, lock, provenance, submissions
from launch.store.attempts import Fenced, Heartbeat, RunningElsewhere, Starter
from launch.submit import submit
from slurm.base import look
from slurm.base.files import make_folder, read_sealed
from tests.at_once import at_once
from tests.filesystem.network import COMPUTE, LOGIN, Network, mounted
from tests.filesystem.panel import Fault, Settings
from tests.launch.workspace import make

pytestmark = pytest.mark.slow

SCALE = 30.0
SBATCH = """#!/bin/bash
exec 9>>{sent}.lock; flock 9; id=$(($(wc -l < {sent}) + 1)); script="${{@: -1}}"
name=$(sed -n "s/^#SBATCH --job-name=//p" "$script"); list=$(sed -n "s/^#SBATCH --array=//p" "$script")
echo "$id|[$list]|PENDING|gpu|2026-01-01T00:00:00|None|lab|normal|$name" >> {sent}; echo $id
"""


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with mounted(Settings(seconds=60), memory=True) as network:
        yield network


@pytest.fixture(autouse=True)
def quick(network: Network, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module, name in (
        (attempts, "STALE_SECONDS"), (attempts, "_BEAT_SECONDS"), (lock, "_LOCK_SECONDS"), (lock, "_BEAT_SECONDS"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, getattr(module, name) / SCALE)
    yield
    for mount in network.mounts:
        network.fault(mount)


def test_a_heart_that_beats_slowly_is_not_taken_for_dead(network: Network) -> None:
    ours, theirs = network.compute / "stage", network.login / "stage"
    attempt = attempts.begin(ours, Starter(job="1_1"), lambda job: None)
    network.fault(COMPUTE, Fault(seconds=5 / SCALE, times=-1))
    fired, until = network.fired(COMPUTE), time.monotonic() + 2 * attempts.STALE_SECONDS
    with Heartbeat(attempt):
        while time.monotonic() < until or network.fired(COMPUTE) < fired + 20:
            with pytest.raises(RunningElsewhere):
                attempts.begin(theirs, Starter(job="2_1"), lambda job: None)
            time.sleep(0.2)
    network.fault(COMPUTE)
    time.sleep(1.2 * attempts.STALE_SECONDS)  # and now it is dead
    later = attempts.begin(theirs, Starter(job="2_1"), lambda job: None)
    later.publish({"by": "later"})
    with pytest.raises(Fenced):
        attempt.publish({"by": "the dead"})
    assert read_sealed(ours / "result.json") == {"by": "later"}


def test_a_slow_submit_keeps_its_lock_and_what_it_intends(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two login nodes, and commands on PATH that remember what was sent."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(provenance, "freeze", lambda root: make_folder(root / "code" / "c0de"))
    monkeypatch.setattr(lock, "_LOCK_SECONDS", 3.0)
    monkeypatch.setattr(lock, "_BEAT_SECONDS", 0.2)
    sent = _commands(tmp_path, monkeypatch)
    options = {"executor": "slurm", "partition": "gpu", "time": "01:00:00", "mem": "8G"}
    plan = make(network.login).plan(cluster=options, seeds=["1", "2"])
    there = replace(plan, experiment=replace(plan.experiment, store=network.compute / "store"))

    def submits(number: int) -> int:
        monkeypatch.setattr(socket, "gethostname", lambda: f"login{number}")
        if number == 0:
            return submit(plan).elements
        path = there.experiment.store / "submissions" / "lock"
        while not look.exists(path):
            time.sleep(0.05)
        return submit(there).elements

    network.fault(LOGIN, Fault(seconds=0.01, times=-1))
    answers = at_once(2, submits)
    assert answers[0] > 0 and answers[1] == 0
    assert len(submissions.read_all(plan.experiment.store)) == 1
    assert len(sent.read_text().splitlines()) == len(submissions.read_all(plan.experiment.store)[0].arrays)


def _commands(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    sent = folder / "sent"
    sent.touch()
    (folder / "bin").mkdir()
    others = {
        "squeue": f"cat {sent}\n", "scontrol": 'echo "MaxArraySize            = 1001"\n', "sacct": "exit 0\n",
        "sinfo": "exit 0\n", "scancel": "exit 1\n",
    }  # fmt: skip
    for name, text in {"sbatch": SBATCH.format(sent=sent), **others}.items():
        (folder / "bin" / name).write_text(text if name == "sbatch" else f"#!/bin/bash\n{text}")
        (folder / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    return sent
