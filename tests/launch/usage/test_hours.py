"""Where hours went: by outcome, by recipe, by kind; and that they are those of the budget."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from launch.draft import budget
from launch.plan import Plan, Stage
from launch.status import history, spent
from launch.store import Store, times
from launch.store.times import StageTimes
from launch.usage import hours
from launch.usage.hours import Account
from slurm.base.files import seal
from tests.launch.usage.attempt_notes import BEGAN, write_attempt
from tests.launch.workspace import Workspace, look_at


def _spent(folder: Path) -> dict[str, float]:
    """In minutes."""
    seconds = spent.of_stage(history.notes_of(folder), history.failures_of(folder), may_run=False)
    return {outcome: round(value / 60, 3) for outcome, value in seconds.items()}


def test_what_is_held_before_and_between_the_training_is_idle(tmp_path: Path) -> None:
    stage_times = StageTimes(queue=9000.0, imports=120.0, load=60.0, tokenise=60.0, train=360.0, dev=60.0, save=30.0,
                             other=30.0)  # fmt: skip
    write_attempt(tmp_path, 1, minutes=10, stage_times=stage_times)
    assert _spent(tmp_path) == {"useful": 7.0, "starting": 2.0, "idle": 3.0}  # the queue is nobody's


def test_a_job_that_elements_share_is_held_by_each_in_part(tmp_path: Path) -> None:
    stage_times = StageTimes(imports=120.0, load=120.0, train=480.0)
    write_attempt(tmp_path, 1, minutes=10, stage_times=stage_times, starter={"neighbours": 3})
    assert _spent(tmp_path) == {"useful": 2.0, "starting": 0.5, "idle": 0.5}


@pytest.mark.parametrize(("cause", "outcome"), [("preempted", "again/preempted"), ("code", "failed/code"),
                                                ("time", "again/time"), ("cuda-oom", "failed/cuda-oom")])  # fmt: skip
def test_only_what_lies_beyond_the_last_checkpoint_is_lost(tmp_path: Path, cause: str, outcome: str) -> None:
    """Forty steps in forty minutes, of which the next attempt goes on from the thirtieth."""
    write_attempt(tmp_path, 1, minutes=40, cause=cause, steps=(0, 40))
    write_attempt(tmp_path, 2, minutes=70, steps=(30, 100))
    assert _spent(tmp_path) == {"useful": 100.0, outcome: 10.0}


def test_a_later_attempt_that_begins_anew_loses_all_before_it(tmp_path: Path) -> None:
    write_attempt(tmp_path, 1, minutes=40, cause="node", steps=(0, 40))
    write_attempt(tmp_path, 2, minutes=20, cause="preempted", steps=(30, 50))
    write_attempt(tmp_path, 3, minutes=100, steps=(0, 100))
    assert _spent(tmp_path) == {"useful": 100.0, "again/node": 40.0, "again/preempted": 20.0}


def test_what_the_newest_checkpoint_has_is_not_lost_yet(tmp_path: Path) -> None:
    attempt = write_attempt(tmp_path, 1, minutes=40, cause="disk", steps=(0, 40))
    (attempt.folder / "checkpoints" / "step-000025").mkdir(parents=True)
    (attempt.folder / "checkpoints" / "step-000025" / "manifest.json").write_text("{}")
    assert _spent(tmp_path) == {"useful": 25.0, "failed/disk": 15.0}


def test_languages_that_were_published_are_not_lost(tmp_path: Path) -> None:
    write_attempt(tmp_path, 1, minutes=40, cause="preempted", beat={"step": 3, "total": 15, "language": "de"})
    write_attempt(tmp_path, 2, minutes=20, beat={"step": 12, "total": 12, "language": "zh"})
    assert _spent(tmp_path) == {"useful": 50.0, "again/preempted": 10.0}


def test_an_attempt_that_runs_and_one_that_was_killed(tmp_path: Path) -> None:
    write_attempt(tmp_path, 1, minutes=30, cause=None)
    notes = history.notes_of(tmp_path)
    assert spent.of_stage(notes, []) == {"running": 1800.0}
    assert spent.of_stage(notes, [], may_run=False) == {"failed/unknown": 1800.0}


@pytest.mark.parametrize("preface", [0, 300, 8190])
def test_a_shortened_log_says_the_same_hours(tmp_path: Path, preface: int) -> None:
    """Also where its first step stands at the end of what is read of it, or beyond."""
    stage_times = StageTimes(imports=60.0, load=60.0, train=2000.0)
    first = write_attempt(tmp_path, 1, minutes=40, cause="preempted", steps=(0, 4000), stage_times=stage_times)
    write_attempt(tmp_path, 2, minutes=70, steps=(3000, 4000))
    log = first.folder / "log.jsonl"
    log.write_text(json.dumps({"words": "x" * preface}) + "\n" + log.read_text())
    size, before = log.stat().st_size, _spent(tmp_path)
    for _ in range(2):
        times.shorten(first)
        assert _spent(tmp_path) == before and log.stat().st_size < 20_000 < size
    assert all(json.loads(line) for line in log.read_text().splitlines())


# --- of an experiment


def _train(plan: Plan, name: str) -> tuple[Stage, Path]:
    stage = plan.find(name)
    return stage, Store(plan.experiment.store).stage_folder(stage.folder)


def _finish(plan: Plan, name: str, **more: Any) -> None:
    """Publish a training's result, an hour long."""
    stage, folder = _train(plan, name)
    write_attempt(folder, 1, minutes=60)
    record = {"schema": 1, "key": stage.key, "attempt": "attempts/0001", "encoder_hash": f"sha256:{stage.key}",
              "dev_score": 50.0, "files": {}} | more  # fmt: skip
    (folder / "result.json").write_bytes(seal(record))
    os.utime(folder, (BEGAN, BEGAN))  # long ago: it is remembered at the first look


@pytest.fixture
def plan(workspace: Workspace) -> Plan:
    """Eight GPUs an element; `squad` is shared by two recipes."""
    cluster = {"executor": "slurm", "gpus-per-node": "4", "nodes": "2"}
    return workspace.plan(cluster=cluster, seeds=["1"], recipes=["none", "squad", "squad > hellaswag"])


def _account(plan: Plan) -> Account:
    observation = look_at(plan)
    account = hours.of(plan, observation)
    assert account.total.total == pytest.approx(budget.of(plan, observation).used)
    for part in (account.by_recipe, account.by_kind):
        assert sum(amount.total for amount in part.values()) == pytest.approx(account.total.total)
    return account


def test_a_shared_stage_counts_in_equal_parts_for_its_recipes(plan: Plan) -> None:
    assert _account(plan).total == hours.Hours()
    _finish(plan, "squad-s1")
    for again in range(2):  # read, then remembered
        assert (Store(plan.experiment.store).root / "index").exists() == bool(again)
        account = _account(plan)
        assert (account.unit, account.per_element) == ("GPU-hours", 8), again
        assert account.total == hours.Hours(useful=8.0)
        assert {name: amount.useful for name, amount in account.by_recipe.items()} == {
            "none": 0.0, "squad": 4.0, "squad > hellaswag": 4.0,
        }  # fmt: skip
        assert account.by_kind["train squad"].useful == 8.0 and account.by_kind["train mnli"].total == 0.0


def test_a_training_that_diverged_came_to_nothing(plan: Plan) -> None:
    _finish(plan, "squad-s1", at_chance=["squad"])
    account = _account(plan)
    assert account.total == hours.Hours(diverged=8.0)
    assert account.total.wasted == 8.0 and account.total.wasted_on == {"diverged": 8.0}


def test_what_failed_counts_though_its_stage_is_not_finished(plan: Plan) -> None:
    _, folder = _train(plan, "squad-s1")
    write_attempt(folder, 1, minutes=30, cause="code")
    write_attempt(folder, 2, minutes=15, cause="preempted")
    total = _account(plan).total
    assert (total.failed, total.again) == ({"code": 4.0}, {"preempted": 2.0})
    assert list(total.wasted_on) == ["code", "preempted, done again"]


def test_without_gpus_cores_are_counted(workspace: Workspace) -> None:
    cluster = {"executor": "slurm", "cpus-per-task": "4", "ntasks-per-node": "2"}
    plan = workspace.plan(cluster=cluster, seeds=["1"])
    _finish(plan, "squad-s1")
    account = hours.of(plan, look_at(plan))
    assert (account.unit, account.total.useful) == ("core-hours", 8.0)


def test_a_finished_stage_whose_last_attempt_was_killed_is_remembered(plan: Plan) -> None:
    """Its encoder was to be made again; nobody has heard of that for a day."""
    _finish(plan, "squad-s1")
    stage, folder = _train(plan, "squad-s1")
    write_attempt(folder, 2, minutes=30, cause=None)
    os.utime(folder, (BEGAN, BEGAN))
    assert _account(plan).total.failed == {"unknown": 4.0}
    observation = look_at(plan)
    assert stage.key in observation.store.index and hours.of(plan, observation).total.useful == 8.0


def test_notes_that_cannot_be_read_count_for_nothing(plan: Plan) -> None:
    """And keep nobody from seeing where the experiment stands."""
    _finish(plan, "squad-s1")
    stage, folder = _train(plan, "squad-s1")
    attempt = write_attempt(folder, 2, minutes=30)
    (attempt.folder / "end.json").write_text("{}")
    os.utime(folder, (BEGAN, BEGAN))
    observation = look_at(plan)
    assert observation.state(stage).state == "finished" and hours.of(plan, observation).total == hours.Hours()
