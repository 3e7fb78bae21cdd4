"""The throttle: one cap on running elements over all arrays of an experiment, changed while they run."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch import submit
from launch.draft import shares
from launch.plan import Plan
from launch.status import Observation
from launch.store import Store, provenance
from launch.submit import throttle
from slurm.base import UserError
from tests.launch import stub_job
from tests.launch.workspace import Workspace
from tests.slurm.scripted import Limits, Scheduler

CLUSTER = {"executor": "slurm", "partition": "gpu"}


@pytest.fixture(autouse=True)
def _quick(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    with Scheduler(stub_job.work).installed() as made:
        yield made


def grid(workspace: Workspace, **changes: Any) -> Plan:
    return workspace.plan(cluster=CLUSTER | changes.pop("cluster", {}), **changes)


def look(plan: Plan) -> Observation:
    return Observation(plan, Store(plan.experiment.store), max_age=0)


def states(plan: Plan) -> Counter[str]:
    seen = look(plan)
    return Counter(seen.state(stage).state for stage in plan.stages.values())


def test_shares_of_the_throttle() -> None:
    assert shares.shares([10, 30], None) == [None, None]
    assert shares.shares([10, 30], 8) == [2, 6]
    assert shares.shares([1, 1, 1], 2) == [1, 1, 1]  # 0 would mean: no limit
    assert shares.shares([1, 1000], 10) == [1, 9]
    assert shares.shares([2, 3], 100) == [2, 3]


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=20), st.integers(1, 2000))
def test_shares_stay_within_the_cap_where_they_can(counts: list[int], cap: int) -> None:
    found = shares.shares(counts, cap)
    assert all(share is not None and share >= 1 for share in found)
    total = sum(share or 0 for share in found)
    assert total == min(cap, sum(counts)) or (total == len(counts) > cap)


def test_one_cap_over_all_arrays_and_changed_live(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = grid(workspace, seeds=["1", "2", "3", "4"], cluster={"throttle": "4"})
    submit.submit(plan)
    given = [array.throttle or 0 for array in scheduler.arrays]
    assert all(given) and sum(given) <= max(4, len(given))
    lines = throttle.change(look(plan), 1000)
    assert len(lines) == len(given) and "before:" in lines[0]
    assert all((array.throttle or 0) >= len(array.elements) for array in scheduler.arrays)
    assert throttle.change(look(plan), 1000) == ["every array has its share already"]
    assert throttle.change(look(plan), None) and all(not array.throttle for array in scheduler.arrays)


def test_more_arrays_than_the_cap_take_turns(workspace: Workspace) -> None:
    limits = Limits(array_size=3, slots=50)
    with Scheduler(stub_job.slow(3), limits).installed() as scheduler:
        plan = grid(workspace, cluster={"throttle": "2"}, seeds=[str(n) for n in range(6)])
        submit.submit(plan)
        assert len(scheduler.arrays) > 2
        most = 0
        while scheduler.live:
            most = max(most, len(scheduler.running))
            scheduler.advance(10)
        assert most == 2 and states(plan) == {"finished": len(plan.stages)}


def test_the_files_throttle_holds_for_what_is_queued_already(workspace: Workspace, scheduler: Scheduler) -> None:
    submit.submit(grid(workspace, cluster={"throttle": "4"}))
    before = [array.throttle for array in scheduler.arrays]
    submit.submit(grid(workspace, cluster={"throttle": "100"}))
    after = [array.throttle for array in scheduler.arrays]
    assert len(after) == len(before) and after != before
    submit.submit(grid(workspace, cluster={}))
    assert [array.throttle for array in scheduler.arrays] == [None] * len(before)


@given(st.integers(0, 40), st.integers(1, 9))
def test_who_waits_for_whom(count: int, cap: int) -> None:
    """Arrays in as many chains as the cap allows; one that was refused is stepped over."""
    jobs = [None if number % 5 == 4 else str(number) for number in range(count)]
    waits = [shares.turn(number, jobs[:number], cap) for number in range(count)]
    assert all(wanted is None for wanted in waits[:cap])
    for number, wanted in enumerate(waits):
        assert wanted is None or (int(wanted) < number and (number - int(wanted)) % cap == 0)
    assert shares.turn(count, jobs, None) is None


def test_the_throttle_command_says_what_it_does(
    workspace: Workspace, scheduler: Scheduler, capsys: pytest.CaptureFixture[str]
) -> None:
    from launch.cli.submit import throttle as command

    plan = grid(workspace, cluster={"throttle": "4"})
    submit.submit(plan)
    command(plan.experiment.path, 100)
    *changed, last = capsys.readouterr().err.splitlines()
    assert len(changed) == len(scheduler.arrays) and all("elements at a time (before: " in line for line in changed)
    assert last == "the file still says throttle: 4; the next submit goes by the file, so change it there too"
    with pytest.raises(UserError, match="workers: …"):
        command(workspace.file("local.yaml"), 1)
