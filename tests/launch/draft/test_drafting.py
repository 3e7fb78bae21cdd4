"""What a submission would send, cut to what the cluster takes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from launch.draft.drafting import _last_nodes, _together, within
from launch.status.policy import Changes
from tests.launch.draft.test_elements import World, worlds


@settings(max_examples=40)
@given(worlds(), st.integers(1, 5), st.integers(0, 40))
def test_what_there_is_room_for_waits_for_nothing_that_is_left_out(world: World, size: int, room: int) -> None:
    everything = world.arrays(size)
    kept = within(everything, room)
    before = [element for array in everything for element in array.elements.values()]
    after = [element for array in kept for element in array.elements.values()]
    assert len(after) == min(room, len(before)) and set(after) <= set(before)
    for number, array in enumerate(kept):
        assert array.elements and all(0 <= index < size for index in array.elements)
        wanted = array.dependency
        for index, element in array.elements.items():
            if wanted is None or wanted.array is None:
                assert wanted is not None or element.parent is None
                continue
            assert wanted.array < number
            parent = kept[wanted.array].elements[index if wanted.type == "aftercorr" else wanted.index or 0]
            assert element.parent in parent.stages and element.parent in wanted.stages
    if room >= len(before):
        assert [array.elements for array in kept] == [array.elements for array in everything]


def test_of_the_nodes_that_failed_the_last_ones_are_left_out() -> None:
    assert _last_nodes([("a", "b", "c")], 2) == ("b", "c")
    assert _last_nodes([("a", "b"), ("b", "c", "d")], 2) == ("b", "d")  # of each stage
    assert _last_nodes([("b", "a")], 9) == ("a", "b") and _last_nodes([("a",), ()], 0) == ()


def test_nodes_left_out_are_bounded_and_then_nothing_is_different() -> None:
    changes = {"x": Changes(exclude=("n1",)), "y": Changes(mem_factor=2.0, exclude=("n2",))}
    assert _together(("x", "y"), changes, 1) == Changes(2.0, exclude=("n1",))
    assert _together(("x",), changes, 0) is None and _together(("other",), changes, 1) is None
