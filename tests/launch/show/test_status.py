"""What `status` tells a person, at 80 columns, and a program."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from launch import submit
from launch.cli.app import app
from launch.draft import budget
from launch.show import totals
from launch.status import Observation, rules
from launch.store import Store, attempts, provenance, times
from launch.store.times import StageTimes
from slurm.base import UsageError
from tests.launch import stub_job
from tests.launch.faulty_job import FaultyJob
from tests.launch.workspace import Workspace
from tests.slurm.scripted import Scheduler

pytestmark = pytest.mark.usefixtures("in_its_folder")

CLUSTER = {"executor": "slurm", "partition": "gpu", "gpus-per-node": "1"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    with Scheduler(stub_job.failing(("squad-s1",), "KeyError: 'answers'")).installed() as made:
        yield made


def type_(*command: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in command], catch_exceptions=False)


def test_why_a_stage_failed_and_what_to_type(workspace: Workspace, scheduler: Scheduler) -> None:
    file = workspace.file(cluster=CLUSTER)
    assert type_("submit", file).exit_code == 0
    scheduler.run_all()
    scheduler.advance(60)  # until a new look at the queue is taken
    printed = type_("status", file).output
    assert "failed: squad-s1: code: KeyError: 'answers'" in printed
    assert max(map(len, printed.splitlines())) <= 80
    why, again = printed.splitlines()[-2:]
    assert (why, again) == (
        "why: stepstone logs experiment.yaml squad-s1 --why",
        "again: stepstone retry experiment.yaml",
    )


def test_every_attempt_of_a_stage(workspace: Workspace, scheduler: Scheduler) -> None:
    file = workspace.file(cluster=CLUSTER, failures={"code": {"retry": "1"}})
    for _ in range(2):
        type_("submit", file)
        scheduler.run_all()
    scheduler.advance(60)
    printed = type_("status", file, "--stage", "squad-s1").output
    lines = [line.strip() for line in printed.splitlines() if "attempt " in line]
    assert [line.split(":")[0] for line in lines] == ["attempt 1", "attempt 2"]
    assert all(line.endswith("code: KeyError: 'answers'") for line in lines) and "squad-s2" not in printed
    record = json.loads(type_("status", file, "--json").output)
    (stage,) = (stage for stage in record["stages"] if stage["name"] == "squad-s1")
    assert [made["attempt"] for made in stage["history"]] == [1, 2] and stage["cause"] == "code"
    assert {made["cause"] for made in stage["history"]} == {"code"}


def test_where_the_time_of_a_stage_went(workspace: Workspace, scheduler: Scheduler) -> None:
    file = workspace.file(cluster=CLUSTER)
    type_("submit", file)
    scheduler.run_all()
    (folder,) = (workspace.plan(cluster=CLUSTER).experiment.store / "stages").glob("squad-s2-[0-9a-f]*")
    assert "time:" not in type_("status", file, "--stage", "squad-s2").output
    times.note(attempts.attempts_of(folder)[0], StageTimes(queue=70.0, imports=5.0, train=300.0))
    assert "    time: queue 70 s, train 5 min, imports 5.0 s\n" in type_("status", file, "--stage", "squad-s2").output
    record = json.loads(type_("status", file, "--json").output)
    noted = {stage["name"]: stage["history"][0].get("times") for stage in record["stages"] if stage["history"]}
    assert noted["squad-s2"]["train"] == 300 and noted["squad-s1"] is None


def test_a_job_that_ended_before_an_attempt_is_told_too(workspace: Workspace, scheduler: Scheduler) -> None:
    scheduler.work = lambda run: 3
    file = workspace.file(cluster=CLUSTER, recipes=["none"], targets=["xnli"], seeds=["1"])
    type_("submit", file)
    scheduler.run_all()
    scheduler.advance(60)
    printed = type_("status", file, "--stage", "mnli-s1--xnli").output
    assert "no attempt" in printed
    assert "no attempt: job " in type_("status", file, "--stage", "mnli-s1").output


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--stages"], ["squad-s1", "squad-s2", "mnli-s1--xnli", "squad.mnli-s1"]),
        (["--failed"], ["squad-s1"]),
        (["--running"], []),
        (["--recipe", "squad", "--target", "xnli", "--failed"], ["squad-s1"]),
        (["--recipe", "none", "--failed"], []),
        (["--target", "tatoeba", "--recipe", "none"], ["start--tatoeba"]),
    ],
    ids=" ".join,
)
def test_the_stages_that_were_asked_for(
    workspace: Workspace, scheduler: Scheduler, options: list[str], expected: list[str]
) -> None:
    """A row each, those that need a person first, and no more than fit."""
    file = workspace.file(cluster=CLUSTER)
    type_("submit", file)
    scheduler.run_all()
    printed = type_("status", file, *options).output
    stages = [line.split()[1] for line in printed.splitlines()[:-1] if line.split()[0] in rules.STATES]
    assert set(expected) <= set(stages) and (options == ["--stages"] or stages == expected)
    assert stages[:1] == expected[:1] and printed.splitlines()[-1].startswith(f"{len(stages)} of ")


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("--recipe", "squat", "--recipe squat: no such recipe here; did you mean 'squad'?"),
        ("--target", "xnl", "--target xnl: no such target here; did you mean 'xnli'?"),
    ],
)
def test_what_is_not_in_the_experiment_is_refused(workspace: Workspace, option: str, value: str, error: str) -> None:
    with pytest.raises(UsageError) as caught:
        type_("status", workspace.file(), option, value)
    assert error in str(caught.value)


def test_a_program_gets_cells_and_when_it_is_done(workspace: Workspace, scheduler: Scheduler) -> None:
    file = workspace.file(cluster=CLUSTER)
    type_("submit", file)
    record = json.loads(type_("status", file, "--json").output)
    assert record["schema"] == 1 and record["when_done"]["basis"]["by_estimate"] == len(record["stages"])
    (cell,) = (cell for cell in record["cells"] if (cell["recipe"], cell["target"]) == ("squad", "xnli"))
    assert cell["counts"] == {"waiting": 2} and [seed["seed"] for seed in cell["seeds"]] == [1, 2]
    assert record["shared"][0]["name"] == "squad" and record["shared"][0]["users"] == [
        ["squad", "xnli"],
        ["squad", "tatoeba"],
    ]
    scheduler.run_all()
    assert json.loads(type_("status", file, "--json").output)["when_done"] is None


@pytest.mark.parametrize("width", [30, 60, 80])
def test_a_command_to_type_is_never_broken_within_a_word(width: int) -> None:
    step = totals.NextStep("why", ("stepstone", "logs", "a-file-with-a-name.yaml", "squad.hellaswag-s1"))
    lines = step.lines(width)
    words = " ".join(lines).replace(" \\", "").removeprefix("why:").split()
    assert tuple(words) == step.command
    assert all(len(line) <= max(width, 4 + len("a-file-with-a-name.yaml \\")) for line in lines)
    assert all(line.endswith(" \\") for line in lines[1:-1])


def test_the_hours_of_finished_stages_are_remembered(
    workspace: Workspace, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = workspace.plan(cluster=CLUSTER, recipes=["none"], targets=["tatoeba"])
    scheduler.work = FaultyJob()
    submit.submit(plan)
    scheduler.run_all()
    scheduler.advance(60)

    def used() -> float:
        return budget.of(plan, Observation(plan, Store(plan.experiment.store))).used

    before = used()
    assert before > 0

    def fail(*arguments: Any) -> None:
        raise AssertionError("an attempt was read")

    monkeypatch.setattr(budget.attempts, "attempts_of", fail)  # type: ignore[attr-defined]
    assert used() == pytest.approx(before)


def test_json_lists_the_stages_that_fit(workspace: Workspace, scheduler: Scheduler) -> None:
    file = workspace.file(cluster=CLUSTER, seeds=["1"])
    type_("submit", file)
    scheduler.run_all()
    scheduler.advance(60)

    def names(*options: str) -> set[str]:
        record = json.loads(type_("status", file, "--json", *options).output)
        assert sum(record["totals"]["states"].values()) == len(every)
        return {stage["name"] for stage in record["stages"]}

    every = workspace.plan(cluster=CLUSTER, seeds=["1"]).stages
    assert names() == {stage.name for stage in every.values()}
    assert names("--failed") == {"squad-s1"} == names("--stage", "squad-s1", "--failed")
    assert names("--stage", "mnli-s1", "--failed") == names("--running") == set()
    assert names("--recipe", "squad", "--target", "tatoeba") == {"squad-s1", "squad-s1--tatoeba"}
    assert "none of these stages fits" in type_("status", file, "--stage", "mnli-s1", "--failed").output
