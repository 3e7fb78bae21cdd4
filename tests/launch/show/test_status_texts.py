"""`stepstone status` in every situation, at 80 and 120 columns: as it is printed, in `golden/` beside this file."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from launch import submit
from launch.cli.app import app
from launch.plan import Plan
from launch.store import Store, attempts, provenance
from launch.store.attempts import FailureNote
from launch.store.manifests import StageEntry
from slurm.base.files import to_json, write_atomic
from tests.launch import golden
from tests.launch.faulty_job import FaultyJob
from tests.launch.workspace import Workspace
from tests.paths import ROOT
from tests.slurm.scripted import Limits, Scheduler

pytestmark = pytest.mark.usefixtures("in_its_folder")

NOON = 4_005_115_200.0  # a Friday, UTC; long after the files of these tests are written: an earlier one is their age
CLUSTER = {"executor": "slurm", "partition": "gpu", "gpus-per-node": "1"}
RECIPES = ["none", "squad", "squad > hellaswag", "hellaswag + qqp"]
GOLDEN = Path(__file__).parent / "golden"
WIDTHS = (80, 120)


@pytest.fixture(autouse=True)
def _same_everywhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    with Scheduler(FaultyJob(), Limits(slots=3), NOON).installed() as made:
        yield made


class Failing(FaultyJob):
    """Each stage begins, and an hour later it has failed, where a test says how, or published its result."""

    def __init__(self, failures: dict[str, FailureNote]) -> None:
        super().__init__()
        self.failures = failures  # by the stage's name

    def _failure(self, root: Path, entry: StageEntry) -> FailureNote | None:
        return self.failures.get(entry.folder.rpartition("-")[0]) or super()._failure(root, entry)


def _plan(workspace: Workspace, **changes: Any) -> Plan:
    return workspace.plan(
        **({"name": "study", "cluster": CLUSTER, "recipes": RECIPES, "targets": ["xnli", "tatoeba"]} | changes)
    )


def test_the_sample_in_the_docs_is_true() -> None:
    page = (ROOT / "docs" / "launching.md").read_text(encoding="utf-8")
    sample = page.partition("    study: 4 recipes")[2].partition("\n\n`--stages`")[0].splitlines()[1:]
    printed = (GOLDEN / "mixed-120.txt").read_text(encoding="utf-8").splitlines()
    assert len(sample) > 10
    for line in sample:
        assert line.removeprefix("    ") in (*printed, "…"), line


def _check(workspace: Workspace, name: str, *options: str) -> None:
    for width in WIDTHS:
        typed = ["status", str(workspace.root / "experiment.yaml"), *options]
        printed = CliRunner().invoke(app, typed, env={"COLUMNS": str(width)}, catch_exceptions=False)
        assert printed.exit_code == 0 and max(map(len, printed.output.splitlines())) <= width
        assert "\x1b" not in printed.output
        golden.check(GOLDEN / f"{name}-{width}.txt", printed.output)


def _beat(plan: Plan, name: str, step: int, total: int, now: float, seconds: float) -> None:
    """A training that has done so many steps, as its heartbeat and its log say."""
    (*_, attempt) = attempts.attempts_of(Store(plan.experiment.store).stage_folder(plan.find(name).folder))
    write_atomic(attempt.folder / "heartbeat.json", to_json({"step": step, "total": total, "time": now}))
    log = f'{{"interval": [{step - 9}, {step}], "seconds": {10 * seconds}}}\n'
    (attempt.folder / "log.jsonl").write_text(log)


def test_all_new(workspace: Workspace, scheduler: Scheduler) -> None:
    _plan(workspace)
    _check(workspace, "new")


def test_queued_with_places(workspace: Workspace, scheduler: Scheduler) -> None:
    """And Slurm says when it means to start the first."""
    scheduler.limits.slots = 0  # others have the nodes
    submit.submit(_plan(workspace))
    scheduler.advance(60)
    for number, element in enumerate(element for element in scheduler.live if element.reason != "Dependency"):
        element.expected = NOON + 3600 * (number + 1)
    _check(workspace, "queued")


def test_running(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = _plan(workspace)
    scheduler.limits.step_seconds = 3600
    submit.submit(plan)
    scheduler.advance(1800)
    for number, element in enumerate(scheduler.running):
        name = next(stage.name for stage in plan.stages.values() if _job(plan, stage.key) == element.id)
        _beat(plan, name, 250 * (number + 1), 1000, scheduler.now - 5, 6.9)
    _check(workspace, "running")


def _job(plan: Plan, key: str) -> str | None:
    from tests.launch.workspace import look_at

    return look_at(plan).state(plan.stages[key]).job


def test_mixed_with_failures(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = _plan(workspace)
    out_of_memory = FailureNote(
        "cuda-oom", "CUDA out of memory. Tried to allocate 2.50 GiB (GPU 0; 79.15 GiB in total)"
    )
    broken = FailureNote("code", "KeyError: 'answers' in /home/maria/project/a/rather/long/path/to/a/file/of/data.json")
    scheduler.work = Failing({"squad-s1": broken, "mnli-s2": out_of_memory, "hellaswag+qqp.mnli-s1": out_of_memory})
    scheduler.limits.step_seconds = 3600
    submit.submit(plan)
    scheduler.advance(4.5 * 3600)
    _check(workspace, "mixed")
    _check(workspace, "mixed-stages", "--stages")
    _check(workspace, "mixed-failed", "--failed")


def test_all_finished(workspace: Workspace, scheduler: Scheduler) -> None:
    scheduler.limits.step_seconds = 3600
    submit.submit(_plan(workspace))
    scheduler.run_all(1e6)
    scheduler.advance(60)
    _check(workspace, "finished")


def test_the_scheduler_is_silent(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = _plan(workspace)
    scheduler.limits.step_seconds = 3600
    submit.submit(plan)
    scheduler.advance(1800)
    _beat(plan, "squad-s1", 250, 1000, scheduler.now - 5, 6.9)
    _check(workspace, "before-silence")
    scheduler.ctld = "down"
    scheduler.advance(600)
    _check(workspace, "silent")


def test_the_scheduler_refuses(workspace: Workspace, scheduler: Scheduler) -> None:
    scheduler.limits.step_seconds = 3600
    submit.submit(_plan(workspace))
    scheduler.advance(60)
    scheduler.errors["squeue"] = "squeue: error: Invalid user: maria"
    scheduler.advance(120)
    _check(workspace, "refused")


def test_held_by_a_person(workspace: Workspace, scheduler: Scheduler) -> None:
    """Slurm's word for why a job waits is explained."""
    scheduler.limits.slots = 0
    submit.submit(_plan(workspace, recipes=["none"], targets=["xnli"]))
    for element in scheduler.live:
        element.held = True
    scheduler.advance(120)
    _check(workspace, "user-held")


def test_accounting_does_not_say_how_a_job_ended(workspace: Workspace, scheduler: Scheduler) -> None:
    scheduler.limits.step_seconds = 3600
    submit.submit(_plan(workspace, recipes=["none", "squad"]))
    scheduler.advance(1800)
    scheduler.dbd_up = False
    scheduler.kill(scheduler.running[0], "OUT_OF_MEMORY", 0, 125)
    scheduler.advance(60)
    _check(workspace, "accounting")
