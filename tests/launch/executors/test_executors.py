"""What differs between Slurm and local workers is asked of an executor."""

import os
from pathlib import Path

import pytest

from launch import executors
from launch.executors import EXECUTORS, by_executor
from launch.experiment import Cluster
from launch.store import Location, Submission
from slurm import granted
from slurm.base.files import make_folder, to_json, write_atomic


def _submission(folder: Path, executor: str) -> Submission:
    arrays = [{"name": "x-0.0", "elements": {"0": ["k"]}, "dependency": None, "throttle": None, "changes": None}]
    record = {
        "schema": 1,
        "id": "0",
        "experiment": "x",
        "executor": executor,
        "since": "",
        "code": "c",
        "arrays": arrays,
    }
    write_atomic(make_folder(folder) / "intent.json", to_json(record))
    return Submission(folder)


def test_what_has_no_queue_is_ended_first(tmp_path: Path) -> None:
    """Slurm may not answer: workers here are ended all the same."""
    slurm, local = (Location(_submission(tmp_path / name, name), 0, 0) for name in ("slurm", "local"))
    groups = by_executor([slurm, local, slurm])
    assert groups == [(EXECUTORS["local"], [local]), (EXECUTORS["slurm"], [slurm, slurm])]


def test_local_workers_share_what_a_containers_quota_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    monkeypatch.setattr(granted, "groups", lambda proc, controller: [Path(controller)])
    monkeypatch.setattr(granted, "_quota", lambda folder: 8.5)
    cluster = Cluster.model_validate({"executor": "local", "workers": "2", "ntasks-per-node": "2"})
    assert executors.of_cluster(cluster).cores_per_rank(cluster) == 2
