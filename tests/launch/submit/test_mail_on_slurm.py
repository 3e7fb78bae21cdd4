"""`notify: {mail: true}` on a real Slurm: one mail, after the table of all is made, and none of what was cancelled."""

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launch import plan as planning
from launch import submit
from launch.draft import request
from launch.plan import Plan
from launch.store import collects, provenance
from launch.submit import cancel
from slurm import devcluster as cluster
from tests.conftest import DevCluster
from tests.launch.workspace import look_at, make
from tests.paths import ROOT

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

CLUSTER = {"executor": "slurm", "partition": "cpu", "cpus-per-task": "1", "mem": "64M", "time": "30"}


@pytest.fixture
def plan(devcluster: DevCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    for name, value in cluster.environment(devcluster.folder).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(provenance, "freeze", lambda root: ROOT)
    real = request.request

    def with_stub(*arguments: Any) -> Any:
        asked = real(*arguments)
        return replace(
            asked,
            command=tuple("tests.launch.real_stub" if part == "launch.job" else part for part in asked.command),
            environment=asked.environment | {"PYTHONPATH": str(ROOT)},
        )

    monkeypatch.setattr(request, "request", with_stub)
    (tmp_path / "stub.json").write_text(json.dumps({"seconds": 0.2}))
    name = f"mailed{time.time_ns()}"
    return make(tmp_path).plan(
        name=name, cluster=CLUSTER, seeds=["1"], notify={"mail": "true"}, collect={"report": "false"}
    )


def _mails(devcluster: DevCluster, plan: Plan) -> list[str]:
    log = devcluster.folder / "log" / "mail.log"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return [line for line in lines if plan.experiment.name in line]


def _wait(condition: Callable[[], bool]) -> None:
    patience = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < patience, "waited in vain"
        time.sleep(0.5)


def _queue() -> str:
    return subprocess.run(["squeue", "-h", "-o", "%j"], capture_output=True, text=True, check=True).stdout


def test_one_mail_after_the_last_and_none_of_what_was_cancelled(devcluster: DevCluster, plan: Plan) -> None:
    submit.submit(plan)
    submit.submit(plan)
    _wait(lambda: _mails(devcluster, plan) != [])
    assert look_at(plan).counts()["finished"] == len(plan.stages)  # all of it was over before
    _wait(lambda: plan.experiment.name not in _queue())
    (mail,) = _mails(devcluster, plan)
    assert "-s Slurm" in mail and "Ended" in mail
    results = collects.results_folder(plan.experiment.store, plan.experiment.name)
    assert (results / "table.md").exists()  # made by the same job

    (plan.experiment.store.parent / "stub.json").write_text(json.dumps({"seconds": 60}))
    more = planning.make(replace(plan.experiment, seeds=(1, 2)))
    submit.submit(more)
    cancel.cancel(more, [], lambda proposal: True)
    _wait(lambda: plan.experiment.name not in _queue())
    time.sleep(2)  # a mail would have come
    assert len(_mails(devcluster, plan)) == 1
