"""Packs: elements side by side in an array index, each stage once, what others wait for alone; memory before that."""

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launch import submit
from launch.draft import Draft, decide, elements, packing
from launch.draft.elements import Dependency, Element, Placed, arrange
from launch.draft.manifests import manifest
from launch.plan import Plan
from launch.status import Observation
from launch.status.policy import Changes
from launch.store import Store, manifests, submissions
from slurm.base import UsageError
from tests.launch import stub_job
from tests.launch.draft.test_bundles import _check_order, forests
from tests.launch.workspace import Workspace
from tests.slurm.scripted import Scheduler

SWEEP = {"recipes": ["none"], "targets": ["xquad"], "seeds": ["1", "2", "3"]}
MORE = Changes(mem_factor=2.0)


def _plan(workspace: Workspace, cluster: dict[str, str], **changes: object) -> Plan:
    return workspace.plan(cluster={"executor": "slurm", "partition": "gpu"} | cluster, **{**SWEEP, **changes})


def _draft(plan: Plan) -> Draft:
    return decide(plan, Observation(plan, Store(plan.experiment.store)), 1001)


@pytest.fixture
def quiet_scheduler(plan: Plan) -> Iterator[Scheduler]:
    with Scheduler(stub_job.work).installed() as ready:
        yield ready


@settings(max_examples=80, deadline=None)
@given(forests(), st.integers(2, 5), st.integers(1, 12))
def test_packs_keep_what_elements_promise(
    forest: tuple[list[Element], dict[str, float], dict[str, Placed]], count: int, size: int
) -> None:
    before, _, sent = forest
    packs = elements.side_by_side(before, count)
    assert Counter(key for pack in packs for key in pack.stages) == Counter(key for e in before for key in e.stages)
    by_first = {element.stages[0]: element for element in before}
    waited_for = {element.parent for element in before}
    for pack in packs:
        assert len(pack.lanes) in (0, *range(2, count + 1))
        assert not pack.lanes or (sum(pack.lanes) == len(pack.stages) and waited_for.isdisjoint(pack.stages))
        members = [by_first[key] for key in pack.stages if key in by_first]
        assert {(member.parent, member.changes) for member in members} == {(pack.parent, pack.changes)}
        assert tuple(len(member.stages) for member in members) == (pack.lanes or (len(pack.stages),))
    _check_order(packs, arrange(packs, sent, size), sent)


def test_children_of_several_parents_wait_each_for_its_own() -> None:
    before = [Element(("a",), None), Element(("b",), None)]
    before += [Element((f"{parent}{n}",), parent) for parent in "ab" for n in range(4)]
    first, second, third = arrange(elements.side_by_side(before, 2), {}, 100)
    assert [element.stages for element in first.elements.values()] == [("a",), ("b",)]
    assert [element.stages for element in second.elements.values()] == [("a0", "a1"), ("a2", "a3")]
    assert second.dependency == Dependency("afterok", ("a",), array=0, index=0)
    assert third.dependency == Dependency("afterok", ("b",), array=0, index=1)


def test_what_failed_for_want_of_memory_is_packed_apart() -> None:
    before = [Element(("a",), None), Element(("b",), None, MORE), Element(("c",), None)]
    assert [pack.stages for pack in elements.side_by_side(before, 3)] == [("a", "c"), ("b",)]


def test_a_sweep_is_sent_in_packs(workspace: Workspace) -> None:
    """The script asks for what the file asks for: the processes are started in the job."""
    plan = _plan(workspace, {"pack": "2", "cpus-per-task": "4"})
    (array,) = _draft(plan).arrays
    assert [len(element.lanes) for element in array.elements.values()] == [2, 0]
    told = manifest(plan, Store(plan.experiment.store), array)
    assert {index: sizes for index, sizes in told.lanes.items()} == {0: (2, 2)}
    lanes = [told.of_lane(0, lane, 2) for lane in range(2)]
    assert [entry.key for lane in lanes for entry in lane.elements[0]] == list(array.elements[0].stages)
    assert lanes[1].asked is not None and (lanes[1].asked.cores, told.asked and told.asked.cores) == (2, 4)


def test_lanes_outlive_the_disk(workspace: Workspace, quiet_scheduler: Scheduler) -> None:
    plan = _plan(workspace, {"pack": "2"})
    submit.submit(plan)
    (submission,) = submissions.read_all(plan.experiment.store)
    assert manifests.read(submission.manifest(0)).lanes == {0: (2, 2)}
    locations = submissions.locate([submission])
    by_name = {plan.stages[key].name: location for key, location in locations.items()}
    lanes = {name: (at.index, at.lane) for name, at in by_name.items()}
    assert lanes == {
        "squad-s1": (0, 0), "squad-s1--xquad": (0, 0), "squad-s2": (0, 1), "squad-s2--xquad": (0, 1),
        "squad-s3": (1, None), "squad-s3--xquad": (1, None),
    }  # fmt: skip
    assert [plan.stages[key].name for key in by_name["squad-s2--xquad"].keys_of_lane] == ["squad-s2", "squad-s2--xquad"]
    assert by_name["squad-s1"] == by_name["squad-s2"]  # one element of the queue: cancelled, held and counted as one


def test_more_than_fits_is_refused_with_the_most_that_does(workspace: Workspace, quiet_scheduler: Scheduler) -> None:
    plan = _plan(workspace, {"pack": "4", "mem": "3500M"}, seeds=["1", "2", "3", "4"])
    with pytest.raises(UsageError) as caught:
        submit.submit(plan)
    assert "cluster: pack: 4: 4 x " in str(caught.value) and "\n" not in str(caught.value)
    assert "pack: 3 fits, or ask for more (mem)" in str(caught.value)
    assert quiet_scheduler.calls["sbatch"] == 0 and submissions.read_all(plan.experiment.store) == []
    ((label, line),) = packing.lines(_draft(plan))
    assert label == "pack" and "TOO MUCH" in line
    packing.check(_draft(_plan(workspace, {"pack": "3", "mem": "3500M"})))


def test_a_gpu_that_the_file_names_is_not_filled_twice(workspace: Workspace) -> None:
    """XLM-R Large with Adam wants some 9 GB: one fits on a T4, four on an A100 of 40 GB."""
    large = {"model": "FacebookAI/xlm-roberta-large", "seeds": [str(seed) for seed in range(1, 6)]}
    draft = _draft(_plan(workspace, {"pack": "2", "gpus-per-node": "t4:1"}, **large))
    with pytest.raises(UsageError, match=r"of GPU memory foreseen .* pack: 1 fits, or ask for a larger GPU"):
        packing.check(draft)
    packing.check(_draft(_plan(workspace, {"pack": "4", "gpus-per-node": "a100:1"}, **large)))
    packing.check(_draft(_plan(workspace, {"pack": "4", "gpus-per-node": "1"}, **large)))  # of which nothing is known


@pytest.mark.parametrize("cluster", [{"gpus-per-node": "2"}, {"ntasks-per-node": "2"}, {"nodes": "2"}])
def test_elements_of_several_processes_are_not_packed(workspace: Workspace, cluster: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"cluster: pack: 2: an element asks for 2 (GPUs|processes); .*remove pack"):
        _plan(workspace, {"pack": "2"} | cluster)


def test_local_workers_have_workers_for_that(workspace: Workspace) -> None:
    plan = workspace.plan(cluster={"executor": "local", "pack": "2", "workers": "2"}, **SWEEP)
    assert not any(element.lanes for array in _draft(plan).arrays for element in array.elements.values())
