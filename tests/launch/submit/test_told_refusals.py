"""Where a site's own commands refuse: told in their words as what it is, never as silence."""

import pytest

from launch import submit
from launch.plan import Plan
from launch.submit import cancel, follow, throttle
from slurm.base import UserError
from tests.launch.workspace import look_at
from tests.slurm.scripted import Scheduler

WORDS = "squeue: ERROR: ask the help desk"


def test_of_the_queue(plan: Plan, scheduler: Scheduler) -> None:
    submit.submit(plan)
    scheduler.advance(5)
    scheduler.errors["squeue"] = WORDS
    scheduler.advance(5)
    sent = len(scheduler.arrays)
    state = look_at(plan).state(plan.find("mnli-s1"))
    assert state.state == "unknown" and (state.reason or "").startswith("squeue refuses since ")
    assert WORDS in (state.reason or "") and "does not answer" not in (state.reason or "")
    for refused in (
        lambda: submit.submit(plan),
        lambda: cancel.cancel(plan, [], lambda selection: True),
        lambda: throttle.change(look_at(plan), 2),
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
    assert look_at(plan).refused_since is None
    scheduler.asleep = lambda: scheduler.errors.pop("squeue", None)
    scheduler.errors["squeue"] = WORDS
    assert follow.follow(plan, lambda line: None)


def test_of_accounting(plan: Plan, scheduler: Scheduler) -> None:
    submit.submit(plan)
    scheduler.advance(5)
    scheduler.kill(scheduler.running[0], "OUT_OF_MEMORY", 0, 125)
    scheduler.errors["sacct"] = "sacct: error: slurmdbd: Too wide of a date range in query"
    (state,) = {
        state.reason for stage in plan.stages.values() if (state := look_at(plan).state(stage)).state == "unknown"
    }
    assert state is not None and "accounting refuses since " in state and "Too wide of a date range" in state
    scheduler.errors.clear()
    scheduler.advance(100)
    assert not look_at(plan).among(["unknown"]) and look_at(plan).among(["failed"])


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
    throttle.change(look_at(plan), 1)
    assert {entry.job for entry in look_at(plan).entries or []} == {str(array.id) for array in scheduler.arrays}
    cancelled = cancel.cancel(plan, [], lambda selection: True)
    assert cancelled is not None and not scheduler.live
    submit.submit(plan)
    scheduler.run_all()
    assert len(look_at(plan).finished) == len(plan.stages)


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
    assert len(look_at(plan).finished) == len(plan.stages)
