"""From what is missing to job arrays: which stages run, what one array index runs, how arrays wait for each other."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from launch.plan import Plan, Stage


@dataclass(frozen=True)
class Element:
    """What one array index runs, in order: an inner train alone, a leaf train and its evaluates, or evaluates."""

    stages: tuple[str, ...]
    parent: str | None  # the train stage that must finish first; None: nothing to wait for


@dataclass(frozen=True)
class Sent:
    """Where a stage that is queued or running already stands: a job array and an index in it."""

    job: str
    index: int


@dataclass(frozen=True)
class Dependency:
    """`afterok`: all elements wait for one parent element. `aftercorr`: element k waits for element k of an array.

    The other array is one of this submission (`array`, by position) or one already sent (`job`).
    """

    type: Literal["afterok", "aftercorr"]
    stages: tuple[str, ...]  # the train stages waited for
    array: int | None = None
    job: str | None = None
    index: int | None = None  # afterok: the parent's index


@dataclass(frozen=True)
class Array:
    """Elements with equal resources, sent by one sbatch: by array index, which need not be consecutive."""

    elements: dict[int, Element]
    dependency: Dependency | None = None


def stages_to_run(plan: Plan, is_finished: Callable[[Stage], bool], is_sent: Callable[[Stage], bool],
                  has_encoder: Callable[[Stage], bool]) -> set[str]:  # fmt: skip
    """Keys of the stages to send: the missing ones, and finished trains whose encoder is gone but needed again."""
    needed: set[str] = set()
    for stage in reversed(plan.stages.values()):
        if is_sent(stage):
            continue
        if not is_finished(stage) or (
            stage.kind == "train" and not has_encoder(stage) and any(key in needed for key in plan.children[stage.key])
        ):
            needed.add(stage.key)
    return needed


def make_elements(plan: Plan, needed: set[str], is_sent: Callable[[Stage], bool]) -> list[Element]:
    """Cut the stages to run into elements, parents before children."""
    elements: list[Element] = []
    bundles: dict[str | None, list[str]] = defaultdict(list)  # evaluates by the encoder they share
    leaves: dict[str, int] = {}  # leaf train -> its element
    for stage in plan.stages.values():
        if stage.key not in needed:
            continue
        parent = stage.parent if stage.parent in needed or _is_waited_for(plan, stage, is_sent) else None
        if stage.kind == "evaluate":
            bundles[stage.parent].append(stage.key)
        else:
            if not any(plan.stages[key].kind == "train" for key in plan.children[stage.key] if key in needed):
                leaves[stage.key] = len(elements)
            elements.append(Element((stage.key,), parent))
    for train, evaluates in bundles.items():
        if train in leaves:
            position = leaves[train]
            elements[position] = Element(elements[position].stages + tuple(evaluates), elements[position].parent)
        else:
            waits = train is not None and (train in needed or is_sent(plan.stages[train]))
            elements.append(Element(tuple(evaluates), train if waits else None))
    return elements


def _is_waited_for(plan: Plan, stage: Stage, is_sent: Callable[[Stage], bool]) -> bool:
    return stage.parent is not None and is_sent(plan.stages[stage.parent])


def arrange(elements: Iterable[Element], sent: Mapping[str, Sent], max_array_size: int) -> list[Array]:
    """Group elements into as few arrays as their dependencies and `MaxArraySize` (the largest index + 1) allow.

    Children of one parent element wait with `afterok` on it. Children of many parents of one array can share arrays
    that wait with `aftercorr`: element k for element k. Whichever way needs fewer arrays is taken; elements already
    sent are waited for one by one, since a finished part of an old array may be forgotten by then.
    """
    arrays: list[Array] = []
    place: dict[str, tuple[int, int]] = {}  # train stage -> (array, index)
    made = list(elements)
    awaited = {element.parent for element in made}
    # Slurm starts the lowest indices first: what others wait for goes there.
    waiting = sorted(made, key=lambda element: awaited.isdisjoint(element.stages))
    while waiting:
        ready = [e for e in waiting if e.parent is None or e.parent in place or e.parent in sent]
        assert ready, "an element waits for a stage that nobody runs"
        waiting = [e for e in waiting if not (e.parent is None or e.parent in place or e.parent in sent)]
        for array in _wave(ready, place, sent, max_array_size):
            for index, element in array.elements.items():
                place |= {key: (len(arrays), index) for key in element.stages}
            arrays.append(array)
    return arrays


def _wave(ready: list[Element], place: dict[str, tuple[int, int]], sent: Mapping[str, Sent], size: int) -> list[Array]:
    """The arrays of elements whose parents all have a place."""
    free = [element for element in ready if element.parent is None]
    arrays = [Array(dict(enumerate(chunk))) for chunk in _chunks(free, size)]
    families: dict[int | None, dict[str, list[Element]]] = defaultdict(lambda: defaultdict(list))
    for element in ready:
        if element.parent is not None:
            array = place[element.parent][0] if element.parent in place else None
            families[array][element.parent].append(element)
    for array, by_parent in families.items():
        each = sum(-(-len(children) // size) for children in by_parent.values())
        together = max(len(children) for children in by_parent.values())
        if array is not None and together < each:
            arrays += _aftercorr(array, by_parent, place)
        else:
            arrays += _afterok(by_parent, place, sent, size)
    return arrays


def _afterok(
    by_parent: dict[str, list[Element]], place: dict[str, tuple[int, int]], sent: Mapping[str, Sent], size: int
) -> list[Array]:
    arrays = []
    for parent, children in by_parent.items():
        if parent in place:
            dependency = Dependency("afterok", (parent,), array=place[parent][0], index=place[parent][1])
        else:
            dependency = Dependency("afterok", (parent,), job=sent[parent].job, index=sent[parent].index)
        arrays += [Array(dict(enumerate(chunk)), dependency) for chunk in _chunks(children, size)]
    return arrays


def _aftercorr(array: int, by_parent: dict[str, list[Element]], place: dict[str, tuple[int, int]]) -> list[Array]:
    arrays = []
    for turn in range(max(len(children) for children in by_parent.values())):
        row = {place[parent][1]: children[turn] for parent, children in by_parent.items() if turn < len(children)}
        parents = tuple(element.parent for element in row.values() if element.parent)
        arrays.append(Array(dict(sorted(row.items())), Dependency("aftercorr", parents, array=array)))
    return arrays


def _chunks(elements: list[Element], size: int) -> list[list[Element]]:
    return [elements[start : start + size] for start in range(0, len(elements), size)]
