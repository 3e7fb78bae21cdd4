"""The records that `status` and the live view draw: seeds folded into cells, shared trainings, places, progress."""

from collections.abc import Iterator
from typing import Any

import pytest

from launch import submit
from launch.plan import Plan
from launch.results import scores
from launch.standing import Overview, take
from launch.standing.records import stages_of
from launch.status import Observation
from launch.store import Store, attempts, provenance
from slurm.base.files import to_json, write_atomic
from tests.launch import stub_job
from tests.launch.workspace import Workspace
from tests.slurm.scripted import Limits, Scheduler

CLUSTER = {"executor": "slurm", "partition": "gpu", "gpus-per-node": "1"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    with Scheduler(stub_job.slow(5), Limits(slots=2)).installed() as made:
        yield made


def look(plan: Plan) -> Overview:
    store = Store(plan.experiment.store)
    return take(plan, store, Observation(plan, store, 0))


def states(overview: Overview) -> dict[tuple[str, str], dict[str, int]]:
    return {at: dict(cell.counts) for at, cell in overview.cells.items()}


def test_all_new(workspace: Workspace) -> None:
    overview = look(workspace.plan())
    assert (overview.recipes, overview.targets) == (("none", "squad"), ("xnli", "tatoeba"))
    assert states(overview) == {
        ("none", "xnli"): {"new": 2},
        ("none", "tatoeba"): {"new": 1},  # chance plays no part: one stage for all seeds
        ("squad", "xnli"): {"new": 2},
        ("squad", "tatoeba"): {"new": 2},
    }
    (training,) = overview.shared
    assert (training.name, training.counts) == ("squad", {"new": 2})
    assert training.users == (("squad", "xnli"), ("squad", "tatoeba"))
    assert overview.silence is None and overview.total == sum(overview.counts.values())


def test_what_runs_waits_and_is_queued(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = workspace.plan(cluster=CLUSTER)
    submit.submit(plan)
    scheduler.advance(1)
    overview = look(plan)
    assert len(scheduler.running) == 2
    cells = overview.cells.values()
    running = {seed.at for fold in (*cells, *overview.shared) for seed in fold.among("running")}
    assert running == {stage.key for stage in Observation(plan, Store(plan.experiment.store)).among(["running"])}
    waiting = [seed for cell in cells for seed in cell.among("waiting")]
    assert waiting and all(plan.stages[seed.at].name.startswith("squad-s") for seed in waiting)
    assert all(seed.place is None for seed in waiting)
    queued = [seed.place for fold in (*cells, *overview.shared) for seed in fold.among("queued")]
    assert sorted(set(queued)) == list(range(1, 1 + len(set(queued)))) and queued


def test_all_finished_with_scores(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = workspace.plan(cluster=CLUSTER)
    submit.submit(plan)
    scheduler.run_all()
    overview = look(plan)
    for cell in overview.cells.values():
        assert cell.state == "finished" and cell.score == 50 and cell.deviation in (0, None) and not cell.diverged
    assert overview.shared[0].score == 50
    assert len(stages_of(plan, overview.cells["squad", "xnli"])) == 6


def test_a_failure_is_told_where_it_happened(workspace: Workspace, scheduler: Scheduler) -> None:
    """Of a shared training, in its own line: what waits for it is held."""
    scheduler.work = stub_job.failing(("squad-s1", "mnli-s2"), "KeyError: 'answers'")
    plan = workspace.plan(cluster=CLUSTER)
    submit.submit(plan)
    scheduler.run_all()
    overview = look(plan)
    (failed,) = overview.shared[0].among("failed")
    assert failed.seed == 1 and failed.cause == "code" and "KeyError" in (failed.reason or "")
    none_on_xnli = overview.cells["none", "xnli"]
    assert none_on_xnli.state == "failed" and none_on_xnli.causes == {"code": 1}
    assert plan.stages[none_on_xnli.among("failed")[0].at].name == "mnli-s2"
    (held,) = overview.cells["squad", "xnli"].among("held")
    assert held.seed == 1 and held.reason == "squad-s1 failed"


def test_a_seed_that_diverged_is_left_out(workspace: Workspace, scheduler: Scheduler, monkeypatch: Any) -> None:
    plan = workspace.plan(cluster=CLUSTER, recipes=["none"], targets=["xnli"])
    submit.submit(plan)
    scheduler.run_all()
    monkeypatch.setattr(scores, "at_chance", lambda plan, store, stage: ("mnli",) if stage.seed == 1 else ())
    monkeypatch.setattr(scores, "score", lambda plan, store, stage: 30.0 if stage.seed == 1 else 60.0)
    store = Store(plan.experiment.store)
    observation = Observation(plan, store, 0)
    store.index = {}  # what is remembered was told before
    (cell,) = take(plan, store, observation).cells.values()
    assert (cell.diverged, cell.score, cell.deviation) == (1, 60.0, None)


def test_how_far_what_runs_is(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = workspace.plan(cluster=CLUSTER, recipes=["none"], targets=["xnli"])
    submit.submit(plan)
    scheduler.advance(1)
    folder = Store(plan.experiment.store).stage_folder(plan.find("mnli-s1").folder)
    attempt = attempts.attempts_of(folder)[-1]
    write_atomic(attempt.folder / "heartbeat.json", to_json({"step": 30, "total": 120, "time": scheduler.now}))
    log = '{"step": 1, "seconds": 9.0}\n{"interval": [1, 20], "seconds": 40.0}\n{"step": 30, "se'
    (attempt.folder / "log.jsonl").write_text(log)
    (cell,) = look(plan).cells.values()
    first = cell.seeds[0].progress
    assert first is not None and (first.share, first.step_seconds, first.seconds_left) == (0.25, 2.0, 180.0)
    (attempt.folder / "log.jsonl").write_text(
        "".join(f'{{"step": {n}, "seconds": {9 if n == 0 else 3}}}\n' for n in range(9))
    )
    (cell,) = look(plan).cells.values()
    assert cell.seeds[0].progress is not None and cell.seeds[0].progress.step_seconds == 3


def test_slurm_is_silent(workspace: Workspace, scheduler: Scheduler) -> None:
    """What was heard of last is shown, from files alone, and since when Slurm says nothing."""
    plan = workspace.plan(cluster=CLUSTER, recipes=["none"], targets=["xnli"])
    submit.submit(plan)
    scheduler.advance(1)
    since = scheduler.now
    folder = Store(plan.experiment.store).stage_folder(plan.find("mnli-s1").folder)
    beat = to_json({"step": 30, "total": 120, "time": since})
    write_atomic(attempts.attempts_of(folder)[-1].folder / "heartbeat.json", beat)
    look(plan)
    scheduler.ctld = "down"
    scheduler.advance(1)
    overview = look(plan)
    assert overview.silence is not None and overview.silence.since == since
    assert overview.silence.words.startswith("Slurm does not answer since")
    (cell,) = overview.cells.values()
    assert cell.state == "unknown" and cell.share == 0.25


def test_nothing_is_read_of_what_is_finished(workspace: Workspace, scheduler: Scheduler, monkeypatch: Any) -> None:
    plan = workspace.plan(cluster=CLUSTER)
    submit.submit(plan)
    scheduler.run_all()
    scheduler.advance(60)
    store = Store(plan.experiment.store)
    observation = Observation(plan, store)
    assert len(store.index) == len(plan.stages)

    def fail(*arguments: Any) -> None:
        raise AssertionError("a stage was read")

    monkeypatch.setattr(Store, "train_result", fail)
    monkeypatch.setattr(Store, "language_results", fail)
    monkeypatch.setattr(attempts, "attempts_of", fail)
    assert take(plan, store, observation).cells["squad", "xnli"].score == 50
