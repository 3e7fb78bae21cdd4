"""Fixtures of the tests of `launch`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from launch.plan import Plan
from launch.store import provenance
from tests.launch import stub_job
from tests.launch.workspace import Workspace, make
from tests.slurm.scripted import Scheduler


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A fresh small experiment; what is remembered of file hashes stays in it too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return make(tmp_path)


@pytest.fixture
def in_its_folder(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are typed where the experiment file lies, as they name it: `experiment.yaml`."""
    monkeypatch.chdir(workspace.root)


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    """A scripted Slurm whose elements take 5 seconds."""
    with Scheduler(stub_job.slow(5)).installed() as ready:
        yield ready


@pytest.fixture
def plan(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The small experiment with one seed on Slurm; no code is frozen."""
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")
    return workspace.plan(cluster={"executor": "slurm", "partition": "gpu"}, seeds=["1"])
