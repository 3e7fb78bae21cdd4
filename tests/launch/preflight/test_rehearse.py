"""A rehearsal: what it covers, what it leaves, and a whole one with real training."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from launch import experiment, merging
from launch import plan as planning
from launch.demo import data
from launch.plan import Plan
from launch.preflight import checks, rehearse
from launch.results import table
from launch.status import policy
from launch.status.history import Failure
from launch.store import Store, provenance
from launch.submit import follow, submitter
from slurm.base import UserError
from slurm.causes import Cause
from tests.launch import stub_job
from tests.launch.test_local_executor import run
from tests.launch.workspace import Workspace
from tests.slurm.scripted import Scheduler

GRID: dict[str, Any] = {
    "recipes": ["none", "squad", "hellaswag", "squad > hellaswag", "hellaswag > squad"],
    "targets": ["xnli", "tatoeba", "panx"],
    "seeds": ["3", "1", "2"],
    "training": {"epochs": "5", "global_batch_size": "4"},
    "tasks": {"squad": {"epochs": "7", "max_length": "96"}},
}


def test_every_step_and_target_is_there_once(workspace: Workspace) -> None:
    whole = workspace.plan(**GRID)
    made = rehearse.make(whole, local=True)
    assert {(stage.kind, stage.task) for stage in made.stages.values()} == {
        (stage.kind, stage.task) for stage in whole.stages.values()
    }
    assert {stage.seed for stage in made.stages.values()} <= {3, None}
    assert len(made.stages) < len(whole.stages) / 4
    for stage in made.stages.values():
        assert stage.parent is None or stage.parent in made.stages
    assert len(made.steps) == len({s.definition for s in made.stages.values() if s.kind == "train"})
    assert {key for key in made.paths.values()} <= made.stages.keys() == made.users.keys()


def test_it_is_short_and_apart_from_the_results(workspace: Workspace) -> None:
    whole = workspace.plan(**GRID)
    small = rehearse.smaller(whole, local=True)
    assert small.store == whole.experiment.store / "rehearsal" / "small" and small.name == "small-rehearsal"
    assert (small.max_train, small.max_eval) == (8, 16)
    steps = planning.make(small).steps.values()
    assert {step.settings.epochs for step in steps} == {1}
    assert {step.settings.max_length for step in steps if step.task == "squad"} == {96}  # what memory goes by
    assert {step.settings.global_batch_size for step in steps} == {4}


def test_a_trial_stays_as_small_as_it_is(workspace: Workspace) -> None:
    small = rehearse.smaller(workspace.plan(data={"root": "./data", "max_train": "3", "max_eval": "2"}), local=True)
    assert (small.max_train, small.max_eval) == (3, 2)


@pytest.mark.parametrize(("asked", "expected"), [(None, "30:00"), ("12:00:00", "30:00"), ("10", "10")])
def test_jobs_are_short_so_that_they_start_soon(workspace: Workspace, asked: str | None, expected: str) -> None:
    cluster = {"executor": "slurm"} | ({"time": asked} if asked else {})
    assert rehearse.smaller(workspace.plan(cluster=cluster), local=False).cluster.time == expected


def test_without_a_gpu_here_none_is_asked_for(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = {"executor": "slurm", "gpus-per-node": "2", "sbatch": {"gres": "gpu:a100:2", "comment": "x"}}
    whole = workspace.plan(cluster=flags)
    monkeypatch.setattr(rehearse, "_gpu_is_here", lambda: False)
    cluster = rehearse.smaller(whole, local=True).cluster
    assert cluster.chosen_executor == "local" and not cluster.gpus_asked_for
    assert cluster.sbatch == {"comment": "x"} and cluster.tasks_per_node == 1
    monkeypatch.setattr(rehearse, "_gpu_is_here", lambda: True)
    assert rehearse.smaller(whole, local=True).cluster.gpus_asked_for
    assert rehearse.smaller(whole, local=False).cluster.chosen_executor == "slurm"


def test_what_each_stage_stands_for(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing_runs(plan: Plan, report: Callable[[str], None]) -> None:
        left = plan.experiment.store / "stages" / "left-over"
        left.mkdir(parents=True)

    drawers: list[object] = []
    monkeypatch.setattr(submitter, "submit", nothing_runs)
    monkeypatch.setattr(follow, "follow", lambda plan, report, draw: drawers.append(draw))
    asked = experiment.load(workspace.file(**GRID))
    lines: list[str] = []
    drawn: list[object] = []
    for _ in range(2):  # the second one clears what the first one left
        done = rehearse.rehearse(asked, local=True, report=lines.append, draw=drawn.append)
    assert drawers == [drawn.append] * 2
    whole = planning.make(asked)
    assert sum(outcome.stands_for for outcome in done.outcomes) == len(whole.stages)
    assert not done.went_well and {outcome.failure for outcome in done.outcomes} == {"new"}
    assert f"{len(done.plan.stages)} stages stand for {len(whole.stages)}" in lines
    assert "(for 15 stages): failed: new" in done.outcomes[0].line


@pytest.mark.parametrize(("cause", "sent"), [("node", False), ("code", False), ("time", False), ("preempted", True)])
def test_nothing_that_fails_is_tried_again(cause: Cause, sent: bool) -> None:
    failure = Failure(cause, "what it said", 1, "1_0", 0.0)
    assert policy.decide([failure], rehearse.no_retries()).send == sent


def test_a_rehearsal_under_way_is_not_removed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by the same file, nor after an edit, nor by another experiment of the store; and once it is over it is."""
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")
    on_slurm = {"executor": "slurm", "partition": "gpu"}
    whole, edited = (workspace.plan(cluster=on_slurm, targets=targets) for targets in (["xnli"], ["panx"]))
    other = planning.make(replace(whole.experiment, name="other"))
    mine, later, others = (rehearse.make(plan, local=False) for plan in (whole, edited, other))
    said: list[str] = []
    with Scheduler(stub_job.slow(5)).installed() as scheduler:
        submitter.submit(mine)
        submitter.submit(others)
        for _ in ("queued", "running"):
            for plan in (mine, later):
                rehearse._clear(plan, said.append)
                assert plan.experiment.store.exists() and "going on" in said.pop()
            scheduler.advance(5)
        scheduler.ctld = "down"
        with pytest.raises(UserError, match="Slurm does not answer"):
            rehearse._clear(mine, said.append)
        scheduler.bring_up()
        scheduler.run_all()
        rehearse._clear(later, said.append)
        assert not mine.experiment.store.exists() and others.experiment.store.exists() and not said


def test_it_leaves_its_store_to_what_still_runs_there(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the file sent before an edit goes on; what went well and is over leaves nothing."""
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")
    monkeypatch.setattr(checks, "check", lambda plan: None)
    monkeypatch.setattr(merging, "collect", lambda plan, store: SimpleNamespace(rows=["a row"]))
    for name in ("summary", "write"):
        monkeypatch.setattr(table, name, lambda *_: None)
    on_slurm = {"executor": "slurm", "partition": "gpu"}
    grid: dict[str, Any] = {"cluster": on_slurm, "recipes": ["none"], "seeds": ["1"]}
    before = rehearse.make(workspace.plan(targets=["xnli"], **grid), local=False)
    asked = workspace.plan(targets=["tatoeba"], **grid).experiment
    with Scheduler(stub_job.slow(300)).installed() as scheduler:
        submitter.submit(before)
        scheduler.advance(5)
        scheduler.work = stub_job.work
        assert rehearse.rehearse(asked, local=False, report=lambda line: None).went_well
        assert scheduler.live and before.experiment.store.exists()
        scheduler.run_all()
        assert rehearse.rehearse(asked, local=False, report=lambda line: None).went_well
        assert not before.experiment.store.exists()


EXPERIMENT = """\
name: grid
store: ./store
model: {model}
recipes: [none, squad]
targets: [xnli, tatoeba]
seeds: [1, 2, 3]
languages: {{default: [en, de]}}
data: {{root: ./data}}
training: {{global_batch_size: 4, token_budget: 256, max_length: 80, device: cpu}}
cluster: {{executor: slurm, partition: night, time: 12:00:00, gpus-per-node: 1}}
"""


@pytest.mark.slow
def test_a_whole_rehearsal(tmp_path: Path, tiny_model: Path) -> None:
    data.write(tmp_path / "data")
    file = tmp_path / "experiment.yaml"
    file.write_text(EXPERIMENT.format(model=tiny_model))
    done = run(tmp_path, "rehearse", "experiment.yaml", "--local", "--keep")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[0] == "train mnli (for 6 stages): ok"
    assert "no GPU here" in done.stderr and "all went well" in done.stderr
    made = list((tmp_path / "store" / "rehearsal" / "grid").glob("stages/*/result.json"))
    assert made and all(json.loads(path.read_text())["steps"] == 2 for path in made)
    assert not (tmp_path / "store" / "stages").exists()
    whole = planning.make(experiment.load(file))
    assert not any(Store(whole.experiment.store).exists(stage) for stage in whole.stages.values())


@pytest.mark.slow
def test_what_would_fail_at_night_fails_now(tmp_path: Path, tiny_model: Path) -> None:
    data.write(tmp_path / "data")
    asked = EXPERIMENT.format(model=tiny_model).replace("[none, squad]", "[none]").replace("xnli, tatoeba", "tatoeba")
    (tmp_path / "experiment.yaml").write_text(asked + "tasks: {tatoeba: {layer: 40}}\n")
    done = run(tmp_path, "rehearse", "experiment.yaml", "--local")
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.startswith("evaluate tatoeba (for 1 stage): failed: layer 40") and "  log: " in done.stdout
    assert "1 of 1 failed; mend it" in done.stderr
    assert (tmp_path / "store" / "rehearsal" / "grid").exists()
