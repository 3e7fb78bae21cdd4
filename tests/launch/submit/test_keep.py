"""`stepstone hold`, `release` and `requeue`: our own elements, by their ids, and none but those that were agreed to."""

import pytest
from typer.testing import CliRunner

from launch import submit
from launch.cli.app import app
from launch.executors import Verb
from launch.plan import Plan
from launch.status import Observation
from launch.submit import keep
from launch.submit.keep import Keeping
from slurm.base import UsageError, UserError
from tests.launch.workspace import Workspace, look_at
from tests.slurm.scripted import Scheduler


def yes(keeping: Keeping) -> bool:
    return True


def _reasons(observation: Observation) -> set[str]:
    return {entry.reason for entry in observation.entries or []}


def _change(plan: Plan, verb: Verb, *names: str) -> Keeping:
    keeping = keep.change(plan, verb, names, yes)
    assert keeping is not None
    return keeping


def test_what_waits_is_held_until_it_is_released(scheduler: Scheduler, plan: Plan) -> None:
    submit.submit(plan)
    others = scheduler.add_others(1)
    others.elements[0].held = False
    keeping = _change(plan, "hold")
    assert len(keeping.stages) == len(plan.stages) and not keeping.beside
    assert not others.elements[0].held  # another job of the same user
    others.elements[0].held = True
    scheduler.run_all()
    observation = look_at(plan)
    assert not observation.finished and _reasons(observation) == {"JobHeldUser"}
    assert not _change(plan, "hold", next(iter(plan.stages.values())).name).locations  # is held already
    assert len(_change(plan, "release").stages) == len(plan.stages)
    scheduler.run_all()
    assert len(look_at(plan).finished) == len(plan.stages)


def test_one_stage_alone(scheduler: Scheduler, plan: Plan) -> None:
    submit.submit(plan)
    stage = next(stage for stage in plan.stages.values() if stage.kind == "train")
    kept = _change(plan, "hold", stage.key[:8])
    assert len(kept.locations) == 1 and stage.key in kept.stages
    held = [element.id for element in scheduler.elements if element.held]
    assert held == kept.jobs


def test_what_runs_is_queued_again(scheduler: Scheduler, plan: Plan) -> None:
    submit.submit(plan)
    assert not keep.select(plan, look_at(plan), "requeue").locations
    scheduler.advance(2)
    requeued = _change(plan, "requeue")
    assert requeued.locations and all(
        element.restarts == 1 for element in scheduler.elements if element.id in requeued.jobs
    )
    scheduler.run_all()
    assert len(look_at(plan).finished) == len(plan.stages)


def test_nothing_without_agreement(scheduler: Scheduler, plan: Plan) -> None:
    submit.submit(plan)
    assert keep.change(plan, "hold", (), lambda keeping: False) is None
    assert not any(element.held for element in scheduler.elements)


def test_what_moved_on_while_it_was_asked_stays(scheduler: Scheduler, plan: Plan) -> None:
    submit.submit(plan)

    def start_meanwhile(keeping: Keeping) -> bool:
        scheduler.advance(2)
        return True

    kept = keep.change(plan, "hold", (), start_meanwhile)
    running = {element.id for element in scheduler.running}
    assert kept is not None and running and not running & set(kept.jobs)
    assert not any(element.held for element in scheduler.running)


def test_another_job_under_the_same_id_is_not_touched(scheduler: Scheduler, plan: Plan) -> None:
    submit.submit(plan)
    for array in scheduler.arrays:
        array.flags["job-name"] = "anothers"
    assert not keep.select(plan, look_at(plan), "hold").locations


def test_silence_and_local_workers_are_errors(scheduler: Scheduler, plan: Plan, workspace: Workspace) -> None:
    submit.submit(plan)
    scheduler.ctld = "down"
    with pytest.raises(UserError, match=r"Slurm does not answer.*nothing was changed"):
        _change(plan, "hold")
    scheduler.ctld = "up"
    with pytest.raises(UsageError, match="no stage 'nonesuch'"):
        _change(plan, "hold", "nonesuch")
    local = workspace.plan()
    with pytest.raises(UserError, match="requeue: it is for Slurm"):
        _change(local, "requeue")


def test_the_commands(scheduler: Scheduler, plan: Plan) -> None:
    file = str(plan.experiment.path)
    submit.submit(plan)
    runner = CliRunner()
    refused = runner.invoke(app, ["hold", file])
    assert isinstance(refused.exception, UsageError) and "add --yes to hold" in str(refused.exception)
    held = runner.invoke(app, ["hold", file, "--yes"])
    assert held.exit_code == 0 and f"; to let them go: stepstone release {file}" in held.stderr
    assert f"held {len(scheduler.elements)} elements with {len(plan.stages)} stages" in held.stderr
    scheduler.advance(1)
    assert "nothing to hold: none of these stages waits" in runner.invoke(app, ["hold", file, "--yes"]).stderr
    assert "nothing to requeue: none of these stages runs" in runner.invoke(app, ["requeue", file, "--yes"]).stderr
    assert "released" in runner.invoke(app, ["release", file, "--yes"]).stderr


def test_elements_that_another_experiment_sent_are_named(
    scheduler: Scheduler, plan: Plan, workspace: Workspace
) -> None:
    submit.submit(plan)
    assert keep.select(plan, look_at(plan), "hold").of_others(plan) is None
    other = workspace.plan(name="other", cluster={"executor": "slurm", "partition": "gpu"}, seeds=["1"])
    keeping = keep.select(other, look_at(other), "hold")
    line = f"{len(keeping.locations)} of these elements were sent by other experiments, which wait for them too: small"
    assert keeping.locations and line in (keeping.of_others(other) or "")
    asked = CliRunner().invoke(app, ["hold", str(other.experiment.path), "--yes"])
    assert f"{line} ({len(keeping.locations)})" in asked.stderr
