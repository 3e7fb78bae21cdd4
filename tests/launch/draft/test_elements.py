"""Elements and arrays: every stage that is needed exactly once, and every element waits for what it needs."""

from collections import Counter
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from launch.draft.elements import Array, Dependency, Element, Placed, arrange, make_elements, stages_to_run
from launch.plan import Plan, Stage
from launch.status.policy import Changes
from training.pretrained import StartModel


def _graph(stages: list[Stage]) -> Plan:
    """A plan that is its graph only: nothing here looks at the experiment."""
    made = Plan(None, {"": StartModel("folder:0")}, {})  # type: ignore[arg-type]
    made.stages = {stage.key: stage for stage in stages}
    return made


def _train(key: str, parent: str | None = None) -> Stage:
    return Stage(key, key, "train", "squad", 1, parent, "d")


def _evaluate(key: str, parent: str | None = None) -> Stage:
    return Stage(key, key, "evaluate", "xnli", 1, parent, "d")


@dataclass(frozen=True)
class World:
    """A plan and where its stages stand."""

    plan: Plan
    finished: set[str]
    sent: dict[str, Placed]
    encoders: set[str]  # of finished trains: still there

    def needed(self) -> set[str]:
        return stages_to_run(
            self.plan,
            lambda stage: stage.key in self.finished,
            lambda stage: stage.key in self.sent,
            lambda stage: stage.key in self.encoders,
        )

    def elements(self) -> list[Element]:
        return make_elements(self.plan, self.needed(), lambda stage: stage.key in self.sent)

    def arrays(self, size: int) -> list[Array]:
        return arrange(self.elements(), self.sent, size)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Random forests of train and evaluate stages, some finished, some sent."""
    stages: list[Stage] = []
    trains: list[str] = []
    finished: set[str] = set()
    sent: dict[str, Placed] = {}
    for number in range(draw(st.integers(1, 30))):
        parent = draw(st.none() | st.sampled_from(trains)) if trains else None
        key = f"k{number}"
        train = draw(st.booleans())
        stages.append(_train(key, parent) if train else _evaluate(key, parent))
        state = draw(st.sampled_from(["new", "new", "finished", "sent"]))
        if state == "finished" and (parent is None or parent in finished):
            finished.add(key)
        elif state == "sent" and (parent is None or parent in finished or parent in sent):
            sent[key] = Placed(f"10{draw(st.integers(0, 3))}", number)
        if train:
            trains.append(key)
    encoders = {key for key in finished if draw(st.integers(0, 3))}
    return World(_graph(stages), finished, sent, encoders)


@settings(max_examples=40, deadline=None)
@given(worlds())
def test_what_is_needed(world: World) -> None:
    needed = world.needed()
    for key, stage in world.plan.stages.items():
        if key in world.sent:
            assert key not in needed
        elif key not in world.finished:
            assert key in needed  # nothing is lost
        else:
            children = any(child in needed for child in world.plan.children[key])
            again = stage.kind == "train" and key not in world.encoders and children
            assert (key in needed) == again  # a finished stage only for the sake of a child


@settings(max_examples=40, deadline=None)
@given(worlds())
def test_every_needed_stage_is_in_exactly_one_element(world: World) -> None:
    count = Counter(key for element in world.elements() for key in element.stages)
    assert set(count) == world.needed()
    assert set(count.values()) <= {1}


@settings(max_examples=40, deadline=None)
@given(worlds())
def test_elements_have_one_train_at_most_which_comes_first(world: World) -> None:
    needed = world.needed()
    for element in world.elements():
        stages = [world.plan.stages[key] for key in element.stages]
        assert stages and all(stage.kind == "evaluate" for stage in stages[1:])
        first = stages[0]
        parents = {stage.parent for stage in stages if stage.kind == "evaluate"}
        if first.kind == "evaluate":
            assert parents == {first.parent}
        else:
            assert parents <= {first.key}
            waiting = [world.plan.stages[key] for key in world.plan.children[first.key] if key in needed]
            if any(stage.kind == "train" for stage in waiting):
                assert element.stages == (first.key,)  # others wait for it: it runs alone
            else:
                assert set(element.stages[1:]) == {stage.key for stage in waiting}


@settings(max_examples=60, deadline=None)
@given(worlds(), st.integers(1, 12))
def test_arrays_hold_every_element_once_and_fit(world: World, size: int) -> None:
    arrays = world.arrays(size)
    placed = [element for array in arrays for element in array.elements.values()]
    assert Counter(placed) == Counter(world.elements())
    for array in arrays:
        assert array.elements and list(array.elements) == sorted(array.elements)
        assert min(array.elements) >= 0 and max(array.elements) < size


@settings(max_examples=60, deadline=None)
@given(worlds(), st.integers(1, 12))
def test_every_element_waits_for_the_element_of_its_parent(world: World, size: int) -> None:
    arrays = world.arrays(size)
    needed = world.needed()
    for position, array in enumerate(arrays):
        for index, element in array.elements.items():
            waits = _parent_to_wait_for(world, needed, element)
            if waits is None:
                assert array.dependency is None and element.parent is None
                continue
            dependency = array.dependency
            assert dependency is not None and waits in dependency.stages and element.parent == waits
            _check_place(dependency, arrays[:position], world.sent, waits, index)


def _parent_to_wait_for(world: World, needed: set[str], element: Element) -> str | None:
    """By definition: the train that the element's first stage takes its encoder from, if that is still to come."""
    parent = world.plan.stages[element.stages[0]].parent
    return parent if parent in needed or parent in world.sent else None


def _check_place(
    dependency: Dependency, earlier: list[Array], sent: dict[str, Placed], parent: str, index: int
) -> None:
    if dependency.array is None:
        assert dependency.type == "afterok" and dependency.stages == (parent,)
        assert (dependency.job, dependency.index) == (sent[parent].job, sent[parent].index)
        return
    assert dependency.array < len(earlier)  # an array that was sent before
    elements = earlier[dependency.array].elements
    if dependency.type == "aftercorr":
        assert parent in elements[index].stages
    else:
        assert dependency.index is not None and parent in elements[dependency.index].stages
        assert dependency.stages == (parent,)


@settings(max_examples=40, deadline=None)
@given(worlds(), st.sets(st.integers(0, 30)), st.integers(1, 12))
def test_elements_with_other_resources_have_arrays_of_their_own(world: World, more: set[int], size: int) -> None:
    """What failed for its memory goes out again with more of it, and drags no others along."""
    larger = {f"k{number}" for number in more}
    changed = Changes(mem_factor=2.0)
    made = make_elements(
        world.plan,
        world.needed(),
        lambda stage: stage.key in world.sent,
        lambda stages: None if larger.isdisjoint(stages) else changed,
    )
    arrays = arrange(made, world.sent, size)
    assert Counter(e for array in arrays for e in array.elements.values()) == Counter(made)
    for array in arrays:
        kinds = {element.changes for element in array.elements.values()}
        assert len(kinds) == 1
        for element in array.elements.values():
            assert (element.changes == changed) == (not larger.isdisjoint(element.stages))
    for position, array in enumerate(arrays):
        for index, element in array.elements.items():
            waits = _parent_to_wait_for(world, world.needed(), element)
            if waits is not None:
                assert array.dependency is not None
                _check_place(array.dependency, arrays[:position], world.sent, waits, index)


def test_children_of_many_parents_share_arrays_with_holes() -> None:
    """Three inner trains, of which the second has one child and the others two: the last array is `0,2`."""
    trains = [_train("a"), _train("b"), _train("c")]
    leaves = [
        _train(f"{parent}{n}", parent) for parent, count in zip("abc", (2, 1, 2), strict=True) for n in range(count)
    ]
    evaluates = [_evaluate(f"{leaf.key}x", leaf.key) for leaf in leaves]
    first, *rest = World(_graph(trains + leaves + evaluates), set(), {}, set()).arrays(1001)
    assert [first.elements[n].stages for n in range(3)] == [("a",), ("b",), ("c",)]
    assert [list(array.elements) for array in rest] == [[0, 1, 2], [0, 2]]
    assert [array.dependency for array in rest] == [
        Dependency("aftercorr", ("a", "b", "c"), array=0),
        Dependency("aftercorr", ("a", "c"), array=0),
    ]
    assert [array.elements[2].stages for array in rest] == [("c0", "c0x"), ("c1", "c1x")]


def test_what_others_wait_for_has_the_lowest_indices() -> None:
    """Slurm starts those first."""
    stages = [_train("a"), _evaluate("ax", "a"), _train("b"), _train("c", "b"), _evaluate("x")]
    first, second = World(_graph(stages), set(), {}, set()).arrays(1001)
    assert [element.stages for element in first.elements.values()] == [("b",), ("a", "ax"), ("x",)]
    assert second.elements[0].stages == ("c",)


def test_children_of_one_parent_share_one_array() -> None:
    children = [_train(f"a{n}", "a") for n in range(4)]
    world = World(_graph([_train("a"), *children]), set(), {}, set())
    first, second = world.arrays(1001)
    assert list(first.elements) == [0] and list(second.elements) == [0, 1, 2, 3]
    assert second.dependency == Dependency("afterok", ("a",), array=0, index=0)
    assert [list(array.elements) for array in world.arrays(3)] == [[0], [0, 1, 2], [0]]


def test_a_bundle_of_an_inner_encoder_waits_for_it() -> None:
    stages = [_train("a"), _train("b", "a"), _evaluate("ax", "a"), _evaluate("ay", "a")]
    elements = World(_graph(stages), set(), {}, set()).elements()
    assert elements == [Element(("a",), None), Element(("b",), "a"), Element(("ax", "ay"), "a")]


def test_a_lost_encoder_is_trained_again_only_for_a_child() -> None:
    stages = [_train("a"), _evaluate("ax", "a")]
    assert World(_graph(stages), {"a", "ax"}, {}, set()).needed() == set()
    assert World(_graph(stages), {"a"}, {}, {"a"}).elements() == [Element(("ax",), None)]
    assert World(_graph(stages), {"a"}, {}, set()).elements() == [Element(("a", "ax"), None)]
