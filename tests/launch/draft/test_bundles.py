"""Bundles: every stage once, parents before children, no longer than asked for."""

from collections import Counter
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from launch.draft import elements
from launch.draft.elements import Array, Dependency, Element, Placed, arrange
from launch.experiment import Cluster
from launch.status.policy import Changes

MORE = Changes(mem_factor=2.0)


def _cluster(bundle: str | None, time: str | None = None) -> Cluster:
    return Cluster(time=time).model_copy(update={"bundle": bundle})


def test_a_bundle_is_no_longer_than_its_job() -> None:
    assert elements.limit(Cluster()) is None
    assert elements.limit(_cluster("30:00")) == 1800
    assert elements.limit(_cluster("2:00:00", "1:00:00")) == 3600


@st.composite
def forests(draw: st.DrawFn) -> tuple[list[Element], dict[str, float], dict[str, Placed]]:
    """Elements with a train each (parents first), some waiting for one that is sent, and their durations."""
    sent = {f"sent{n}": Placed(f"9{n}", n) for n in range(draw(st.integers(0, 2)))}
    made: list[Element] = []
    for number in range(draw(st.integers(1, 25))):
        parent = draw(st.none() | st.sampled_from([*sent, *(e.stages[0] for e in made)])) if made or sent else None
        evaluates = tuple(f"k{number}e{n}" for n in range(draw(st.integers(0, 2))))
        made.append(Element((f"k{number}", *evaluates), parent, draw(st.sampled_from([None, None, None, MORE]))))
    return made, {element.stages[0]: draw(st.integers(1, 900)) for element in made}, sent


@settings(max_examples=80, deadline=None)
@given(forests(), st.sampled_from([None, "5:00", "20:00"]), st.integers(1, 12))
def test_bundles_keep_what_elements_promise(
    forest: tuple[list[Element], dict[str, float], dict[str, Placed]], asked: str | None, size: int
) -> None:
    made, lasting, sent = forest
    packed = elements.bundle(made, _cluster(asked), lambda stages: lasting[next(iter(stages))])
    stages = Counter(key for element in packed for key in element.stages)
    assert stages == Counter(key for element in made for key in element.stages)
    before = {element.stages[0]: element for element in made}
    for element in packed:
        members = [before[key] for key in element.stages if key in before]
        assert element.stages == tuple(key for member in members for key in member.stages)  # in order, each whole
        assert {(member.parent, member.changes) for member in members} == {(element.parent, element.changes)}
        if asked is None or len(members) > 1:
            assert len(members) == 1 or sum(lasting[m.stages[0]] for m in members) <= elements.seconds(asked or "")
    _check_order(packed, arrange(packed, sent, size), sent)


def _check_order(packed: list[Element], arrays: list[Array], sent: dict[str, Placed]) -> None:
    """Each element once, and behind the element that runs its parent."""
    assert Counter(e for array in arrays for e in array.elements.values()) == Counter(packed)
    for position, array in enumerate(arrays):
        assert len({element.changes for element in array.elements.values()}) == 1
        for index, element in array.elements.items():
            waits = array.dependency
            if element.parent is None:
                assert waits is None
            elif element.parent in sent:
                assert waits is not None and waits.type == "afterok" and element.parent in waits.stages
                assert (waits.job, waits.index) == (sent[element.parent].job, sent[element.parent].index)
            else:
                assert waits is not None and waits.array is not None and waits.array < position
                at = index if waits.type == "aftercorr" else waits.index
                assert at is not None and element.parent in arrays[waits.array].elements[at].stages


def test_what_others_wait_for_stays_alone() -> None:
    """A neighbour that fails would end the element badly, and Slurm would cancel the children of both."""
    made = [Element(("a",), None), Element(("b",), None), Element(("a1",), "a"), Element(("b1",), "b")]
    made += [Element(("c", "cx"), None), Element(("d",), None)]
    packed = elements.bundle(made, _cluster("10"), lambda element: 100)
    assert [element.stages for element in packed] == [("a",), ("b",), ("a1",), ("b1",), ("c", "cx", "d")]
    first, second = arrange(packed, {}, 100)
    assert [element.stages[0] for element in first.elements.values()] == ["a", "b", "c"]
    assert second.dependency == Dependency("aftercorr", ("a", "b"), array=0)


def test_bundles_fill_up_in_order() -> None:
    made = [Element((f"k{n}",), None) for n in range(10)]
    packed = elements.bundle(made, _cluster("5"), lambda element: 100)
    assert [len(element.stages) for element in packed] == [3, 3, 3, 1]
    assert all(first.stages[-1] < second.stages[0] for first, second in pairwise(packed))
