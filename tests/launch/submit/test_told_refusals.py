"""Where a site's own commands refuse: told in their words as what it is, never as silence."""

from collections.abc import Iterator

import pytest

from launch import submit
from launch.plan import Plan
from launch.status import Observation
from launch.store import Store, provenance
from launch.submit import cancel, follow, throttle
from slurm.base import UserError
from tests.launch import stub_job
from tests.launch.workspace import Workspace
from tests.slurm.scripted import Scheduler

WORDS = "squeue: ERROR: ask the help desk"


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    with Scheduler(stub_job.slow(5)).installed() as ready:
        yield ready


@pytest.fixture
def plan(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")
    return workspace.plan(cluster={"executor": "slurm", "partition": "gpu"}, seeds=["1"])


def _look(plan: Plan) -> Observation:
    return Observation(plan, Store(plan.experiment.store), 0)


def test_of_the_queue(plan: Plan, scheduler: Scheduler) -> None:
    submit.submit(plan)
    scheduler.advance(5)
    scheduler.errors["squeue"] = WORDS
    scheduler.advance(5)
    sent = len(scheduler.arrays)
    state = _look(plan).state(plan.find("mnli-s1"))
    assert state.state == "unknown" and (state.reason or "").startswith("squeue refuses since ")
    assert WORDS in (state.reason or "") and "does not answer" not in (state.reason or "")
    for refused in (
        lambda: submit.submit(plan),
        lambda: cancel.cancel(plan, [], lambda selection: True),
        lambda: throttle.change(_look(plan), 2),
    ):
        scheduler.advance(1)
        with pytest.raises(UserError) as error:
            refused()
        assert WORDS in str(error.value) and "again" not in str(error.value)
    assert len(scheduler.arrays) == sent


def test_who_follows_is_told_after_some_minutes(plan: Plan, scheduler: Scheduler) -> None:
    submit.submit(plan)
    for element in scheduler.live:
        element.held = True
    scheduler.errors["squeue"] = WORDS
    began = scheduler.now
    with pytest.raises(UserError, match=r"ask the help desk.*what was sent goes on"):
        follow.follow(plan, lambda line: None)
    assert 300 < scheduler.now - began < 1000
    # A bad minute is none.
    for element in scheduler.live:
        element.held = False
    scheduler.errors.clear()
    scheduler.advance(1)
    assert _look(plan).refused_since is None
    scheduler.asleep = lambda: scheduler.errors.pop("squeue", None)
    scheduler.errors["squeue"] = WORDS
    assert follow.follow(plan, lambda line: None)


def test_of_accounting(plan: Plan, scheduler: Scheduler) -> None:
    submit.submit(plan)
    scheduler.advance(5)
    scheduler.kill(scheduler.running[0], "OUT_OF_MEMORY", 0, 125)
    scheduler.errors["sacct"] = "sacct: error: slurmdbd: Too wide of a date range in query"
    (state,) = {
        state.reason for stage in plan.stages.values() if (state := _look(plan).state(stage)).state == "unknown"
    }
    assert state is not None and "accounting refuses since " in state and "Too wide of a date range" in state
    scheduler.errors.clear()
    scheduler.advance(100)
    assert not _look(plan).among(["unknown"]) and _look(plan).among(["failed"])


def test_of_scontrol(plan: Plan, scheduler: Scheduler) -> None:
    scheduler.errors["scontrol"] = "scontrol: command not permitted on this node"
    with pytest.raises(UserError, match=r"^scontrol refuses \(scontrol: command not permitted"):
        submit.submit(plan)


def test_a_sites_greetings_around_every_answer_change_nothing(plan: Plan, scheduler: Scheduler) -> None:
    scheduler.banner = (
        "*** Welcome! | Maintenance | 2026-12-01 | a | b | c | d | e | f ***\nLmod: loaded slurm/23.02\n"
        "slurmctld-2 | is | RUNNING\n\n"
    )
    said: list[str] = []
    submit.submit(plan, said.append)
    assert [line for line in said if "Lmod" in line] == ["sbatch says: Lmod: loaded slurm/23.02"]
    scheduler.advance(5)
    throttle.change(_look(plan), 1)
    assert {entry.job for entry in _look(plan).entries or []} == {str(array.id) for array in scheduler.arrays}
    cancelled = cancel.cancel(plan, [], lambda selection: True)
    assert cancelled is not None and not scheduler.live
    submit.submit(plan)
    scheduler.run_all()
    assert len(_look(plan).finished) == len(plan.stages)


def test_what_sbatch_says_though_it_takes_a_job_is_said_once(plan: Plan, scheduler: Scheduler) -> None:
    scheduler.banner = "sbatch: your account has 3 hours left\n"
    said: list[str] = []
    submit.submit(plan, said.append)
    assert len(scheduler.arrays) > 1
    assert said.count("sbatch says: your account has 3 hours left") == 1


def test_a_sites_sbatch_without_parsable(plan: Plan, scheduler: Scheduler) -> None:
    scheduler.unknown_options["sbatch"] = {"--parsable"}
    submit.submit(plan)
    scheduler.run_all()
    assert len(_look(plan).finished) == len(plan.stages)
