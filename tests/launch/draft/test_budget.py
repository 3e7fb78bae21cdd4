"""The budget of GPU-hours: used, reserved, left; `submit` does not go beyond it."""

import json
from pathlib import Path

import pytest

from launch import submit
from launch.draft import budget
from launch.estimate import cost
from launch.plan import Plan
from launch.status import Observation
from launch.store import Store, provenance
from slurm.base import UserError
from tests.launch import stub_job
from tests.launch.workspace import Workspace
from tests.slurm.scripted import Scheduler


@pytest.fixture
def plan(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")
    cluster = {"executor": "slurm", "partition": "gpu", "gpus-per-node": "2", "nodes": "3"}
    return workspace.plan(cluster=cluster, seeds=["1"])


def found(plan: Plan) -> budget.Budget:
    return budget.of(plan, Observation(plan, Store(plan.experiment.store), max_age=0))


def test_a_submission_beyond_the_budget_is_refused(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    with Scheduler(stub_job.work).installed() as scheduler:
        monkeypatch.setattr(budget, "_total", lambda plan: 1e-9)
        with pytest.raises(UserError, match=r"GPU-hours.*gpu-hours: …") as caught:
            submit.submit(plan)
        assert "\n" not in str(caught.value) and not scheduler.live
        monkeypatch.setattr(budget, "_total", lambda plan: 1e9)
        submit.submit(plan)
        before = found(plan)
        assert before.reserved > 0 and before.used == 0 and before.left == pytest.approx(1e9 - before.reserved)
        scheduler.run_all()
        assert found(plan).reserved == 0


def test_a_race_sends_whole_seeds_as_far_as_the_budget_goes(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first two pairs' seeds, with none's and all that they rest on; the line says who waits."""
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")
    cluster = {"executor": "slurm", "partition": "gpu", "gpus-per-node": "1"}
    recipes, race = ["none", "squad", "qqp", "hellaswag"], {"min": "2", "max": "4", "until": "0.5"}
    plan = workspace.plan(cluster=cluster, recipes=recipes, targets=["xnli"], seeds=race)
    estimates = cost.Estimates(plan)
    paths = [(recipe, "xnli", seed) for recipe in recipes[:3] for seed in (1, 2)]
    affordable_keys = {stage.key for path in paths for stage in plan.chain(plan.paths[path])}
    hours = sum(estimates.of_stage(plan.stages[key]).gpu_seconds for key in affordable_keys) / 3600
    lines: list[str] = []
    with Scheduler(stub_job.work).installed():
        monkeypatch.setattr(budget, "_total", lambda plan: 1.01 * hours)
        outcome = submit.submit(plan, lines.append)
        assert outcome.draft.needed == affordable_keys and outcome.stages == len(affordable_keys)
        assert [line for line in lines if line.startswith("budget: 1 of 3 pairs wait") and "hellaswag / xnli;" in line]
        with pytest.raises(budget.BudgetExceededError, match="nothing more was sent"):
            submit.submit(plan)


def test_every_attempt_is_counted(plan: Plan) -> None:
    """Six GPUs: ten minutes of an attempt that ended, twenty of one that was killed."""
    stage = next(iter(plan.stages.values()))
    folder = Store(plan.experiment.store).stage_folder(stage.folder) / "attempts"
    for number, last in (("0001", "end"), ("0002", "heartbeat")):
        (folder / number).mkdir(parents=True)
        _write(folder / number / "starter.json", {"time": 1000.0})
        _write(folder / number / f"{last}.json", {"failure": None, "time": 1000.0 + 600 * int(number)})
    made = found(plan)
    assert made.used == pytest.approx(6 * 1800 / 3600) and made.reserved == 0 and made.left is None
    assert made.line() == "3.0 GPU-hours used, 0.0 reserved"


def test_what_is_reserved_counts_gpus_as_what_is_used_does(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One rank that holds two GPUs: for as many seconds as are estimated, both."""
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")
    plan = workspace.plan(
        cluster={"executor": "slurm", "partition": "gpu", "sbatch": {"gres": "gpu:2"}}, recipes=["none"], seeds=["1"]
    )
    estimates = cost.Estimates(plan)
    hours = 2 * sum(estimates.stage_seconds(stage) for stage in plan.stages.values()) / 3600
    with Scheduler(stub_job.work).installed():
        monkeypatch.setattr(budget, "_total", lambda plan: 0.9 * hours)
        with pytest.raises(UserError, match="GPU-hours"):
            submit.submit(plan)
        monkeypatch.setattr(budget, "_total", lambda plan: 1.1 * hours)
        submit.submit(plan)
        assert found(plan).reserved == pytest.approx(hours)


def _write(path: Path, record: dict[str, object]) -> None:
    path.write_text(json.dumps(record), encoding="utf-8")
