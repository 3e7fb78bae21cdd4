"""A leaf's encoder goes when its evaluates are done, unless a later submission may need it."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from launch import submit
from launch.plan import Plan, Stage
from launch.store import Submission, artifacts, provenance, submissions
from launch.store import lock as store_lock
from slurm.base.files import make_folder, write_atomic
from tests.launch import stub_job
from tests.launch.faulty_job import FaultyJob
from tests.launch.status.test_finished import finish
from tests.launch.workspace import Workspace
from tests.slurm.scripted import Run, Scheduler

GRID: dict[str, Any] = {"recipes": ["none"], "seeds": ["1"], "cluster": {"executor": "slurm", "partition": "gpu"}}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def plan(workspace: Workspace) -> Plan:
    return workspace.plan(targets=["xquad"], **GRID)


@pytest.fixture
def more(workspace: Workspace, plan: Plan) -> Plan:
    """The same experiment with one target more."""
    return workspace.plan(targets=["xquad", "mlqa"], **GRID)


def _leaf(plan: Plan) -> Stage:
    (leaf,) = (stage for stage in plan.stages.values() if stage.kind == "train")
    return leaf


def _encoder(plan: Plan) -> Path:
    return plan.experiment.store / "stages" / _leaf(plan).folder / "attempts" / "0001" / "encoder"


def _drop(plan: Plan, sent: Submission) -> bool:
    """As the job of the submission does; whether the encoder is still there, which is the same."""
    kept = not artifacts.drop(plan.experiment.store, sent.folder, _leaf(plan).folder)
    assert _encoder(plan).exists() == kept and not list(_encoder(plan).parent.glob(".*"))
    return not kept


def _sent(plan: Plan) -> Submission:
    done = submit.submit(plan).submission
    assert done is not None
    return done


def test_a_target_added_while_the_leaf_waits_keeps_its_encoder(plan: Plan, more: Plan) -> None:
    with Scheduler(stub_job.slow(50)).installed() as scheduler:
        first = _sent(plan)
        scheduler.advance(3)
        second = _sent(more)
        dependency = second.arrays[0].dependency
        assert dependency is not None and dependency["type"] == "afterok"
        for key in plan.stages:
            finish(plan, plan.stages[key])
        assert not _drop(plan, first)
        for key in more.stages.keys() - plan.stages.keys():
            finish(more, more.stages[key])
        assert _drop(plan, first)


def test_what_waits_for_the_leaf_gets_its_result(plan: Plan, more: Plan) -> None:
    """From end to end: elements drop as jobs do, and the target added later is finished by its first attempt."""
    starts: list[int] = []

    def work(run: Run) -> Any:
        manifest = json.loads(run.manifest.read_bytes())
        code = yield from FaultyJob()(run)
        for folder in manifest["drop"][str(run.index)]:
            artifacts.drop(Path(manifest["store"]), run.manifest.parent, folder)
        return code

    def slowly(run: Run) -> Any:
        starts.append(run.element.array.id)
        for _ in range(5):
            yield
        parents = {entry["parent"] for entry in json.loads(run.manifest.read_bytes())["elements"][str(run.index)]}
        if _leaf(more).folder in parents and run.element.array.id > 1:
            assert _encoder(more).exists()
        return (yield from work(run))

    with Scheduler(slowly).installed() as scheduler:
        submit.submit(plan)
        scheduler.advance(3)
        submit.submit(more)
        scheduler.run_all()
        assert len(starts) == 2 and not submit.submit(more).submissions


def test_without_anybody_later_it_goes(plan: Plan, workspace: Workspace) -> None:
    with Scheduler().installed():
        first = _sent(plan)
        _sent(workspace.plan(recipes=["squad"], targets=["xnli"], seeds=["2"], cluster=GRID["cluster"]))
        for stage in plan.stages.values():
            finish(plan, stage)
        assert _drop(plan, first)
        assert artifacts.drop(plan.experiment.store, first.folder, _leaf(plan).folder)  # twice does no harm
        assert artifacts.drop(plan.experiment.store, first.folder, "never-made-k")


def test_in_doubt_it_stays(plan: Plan) -> None:
    with Scheduler().installed():
        first = _sent(plan)
    for stage in plan.stages.values():
        finish(plan, stage)
    with store_lock.lock(plan.experiment.store) as lock:  # somebody has drafted, and not yet written what
        assert not _drop(plan, first)
        os.utime(lock.path, (time.time() - 4000,) * 2)  # it was killed long ago
        later, _ = submissions.new_folder(plan.experiment.store)
        write_atomic(later.manifest(0), f'{{"elements": "{_leaf(plan).folder}"'.encode())
        assert not _drop(plan, first)
        later.manifest(0).unlink()
        make_folder(later.folder / "logs")
        assert _drop(plan, first)
