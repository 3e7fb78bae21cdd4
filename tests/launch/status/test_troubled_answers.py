"""Answers of Slurm's with the kinds of trouble that public recordings show, met by a whole experiment."""

import pytest

from launch import submit
from launch.plan import Plan
from tests.launch.workspace import look_at
from tests.slurm.scripted import Element, Scheduler


def _at_work_on(stage: str, plan: Plan, scheduler: Scheduler) -> Element:
    job = look_at(plan).state(plan.find(stage)).job
    return next(element for element in scheduler.running if element.id == job)


def _finishes(plan: Plan, scheduler: Scheduler) -> bool:
    for _ in range(3):
        submit.submit(plan)
        scheduler.run_all()
        scheduler.advance(200)
    return len(look_at(plan).finished) == len(plan.stages)


def test_states_that_a_narrow_column_cut(plan: Plan, scheduler: Scheduler) -> None:
    scheduler.cuts_states = True
    submit.submit(plan)
    scheduler.advance(5)
    element = _at_work_on("mnli-s1", plan, scheduler)
    scheduler.steps[element.id] = ("OUT_OF_MEMORY", "0:125")
    scheduler.kill(element, "OUT_OF_MEMORY", 0, 125)
    scheduler.advance(100)
    state = look_at(plan).state(plan.find("mnli-s1"))
    assert (state.state, state.cause) == ("failed", "host-oom")
    assert _finishes(plan, scheduler)


def test_a_step_that_ended_otherwise_than_its_job(plan: Plan, scheduler: Scheduler) -> None:
    """srun could not make the log, and the batch script ended well: seen on 22.05."""
    submit.submit(plan)
    (element, *_) = [element for element in scheduler.live if not element.parents]
    job = element.id
    scheduler._start(element)
    scheduler.steps[job] = ("CANCELLED", "0:53")
    scheduler.kill(element, "COMPLETED", 0, 0)
    failed = [stage for stage in plan.stages.values() if look_at(plan).state(stage).job == job]
    states = [look_at(plan).state(stage) for stage in failed]
    assert states and {(state.state, state.cause) for state in states if state.state == "failed"} == {
        ("failed", "not-started")
    }


def test_ids_that_another_user_has_now(plan: Plan, scheduler: Scheduler) -> None:
    submit.submit(plan)
    scheduler.advance(5)
    for element in list(scheduler.running):
        scheduler.kill(element, "NODE_FAIL", 1, 0)
    scheduler.advance(1000)
    for element in scheduler.live:
        scheduler.end(element, "CANCELLED")
    scheduler.arrays.clear()
    scheduler.purge_accounting()
    scheduler.reuse_ids()
    foreign = scheduler.add_others(3, user="other")
    foreign.flags["job-name"] = "theirs"
    assert not look_at(plan).among(["running", "queued", "unknown"])
    assert _finishes(plan, scheduler) and all(element.live for element in foreign.elements)


@pytest.mark.parametrize(
    "name", ["caf\ufffd \ufffd", "a|b|c|d|e|f|g|h|i|j", "line\u2028two", "form\x0cfeed\x85", "日本語"]
)
def test_names_of_other_jobs_of_ours(plan: Plan, scheduler: Scheduler, name: str) -> None:
    """Held arrays that this user sent otherwise, with names that no file of ours would have."""
    foreign = scheduler.add_others(4)
    foreign.flags["job-name"] = name
    submit.submit(plan)
    entries = look_at(plan).entries or []
    assert {entry.name for entry in entries if entry.job == str(foreign.id)} == {name}
    scheduler.truncates_ids = True
    assert _finishes(plan, scheduler)
    assert all(element.live and element.held for element in foreign.elements)
