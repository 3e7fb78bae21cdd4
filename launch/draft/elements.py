"""From what is missing to job arrays: which stages run, what one array index runs, how arrays wait for each other.

Before they are arranged, `bundle` may put short independent elements together, which then run back to back in one array
index (`cluster: {bundle: 30:00}`): each stage keeps its own record, attempt and resume; only the wait in the queue and
the start of the job are shared. After that `side_by_side` may have several such share an array index at the same time
(`cluster: {pack: 4}`), each in a lane: a process of its own.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from launch.experiment import Cluster
from launch.plan import Plan, Stage
from launch.status.policy import Changes
from slurm import limits


@dataclass(frozen=True)
class Element:
    """What one array index runs, in order: an inner train alone, a leaf train and its evaluates, or evaluates; a bundle
    is several such, one after the other."""

    stages: tuple[str, ...]
    parent: str | None  # the train stage that must finish first; None: nothing to wait for
    changes: Changes | None = None  # what is different from the file's resources; an array has one kind only
    lanes: tuple[int, ...] = ()  # how many of the stages, in order, each process runs; empty: one runs all of them


@dataclass(frozen=True)
class Placed:
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
    keys: set[str] = set()
    for stage in reversed(plan.stages.values()):
        if is_sent(stage):
            continue
        if not is_finished(stage) or (
            stage.kind == "train" and not has_encoder(stage) and any(key in keys for key in plan.children[stage.key])
        ):
            keys.add(stage.key)
    return keys


def make_elements(
    plan: Plan,
    keys: set[str],
    is_sent: Callable[[Stage], bool],
    changes_of: Callable[[tuple[str, ...]], Changes | None] = lambda stages: None,
) -> list[Element]:
    """Cut the stages to run into elements, parents before children. Evaluates of one encoder run back to back.

    `changes_of`: what is different in the resources of an element with these stages.
    """
    elements: list[Element] = []
    bundles: dict[str | None, list[str]] = defaultdict(list)  # evaluates by the encoder they share
    leaves: dict[str, int] = {}  # leaf train -> its element
    for stage in plan.stages.values():
        if stage.key not in keys:
            continue
        parent = stage.parent if stage.parent in keys or _is_waited_for(plan, stage, is_sent) else None
        if stage.kind == "evaluate":
            bundles[stage.parent].append(stage.key)
        else:
            if not any(plan.stages[key].kind == "train" for key in plan.children[stage.key] if key in keys):
                leaves[stage.key] = len(elements)
            elements.append(Element((stage.key,), parent))
    for train, evaluates in bundles.items():
        if train in leaves:
            position = leaves[train]
            elements[position] = Element(elements[position].stages + tuple(evaluates), elements[position].parent)
        else:
            waits = train is not None and (train in keys or is_sent(plan.stages[train]))
            elements.append(Element(tuple(evaluates), train if waits else None))
    return [replace(element, changes=changes_of(element.stages)) for element in elements]


def _is_waited_for(plan: Plan, stage: Stage, is_sent: Callable[[Stage], bool]) -> bool:
    return stage.parent is not None and is_sent(plan.stages[stage.parent])


def arrange(elements: Iterable[Element], places: Mapping[str, Placed], max_array_size: int) -> list[Array]:
    """Group elements into as few arrays as their dependencies, their changes and `MaxArraySize` (the largest index + 1)
    allow.

    Children of one parent element wait with `afterok` on it. Children of many parents of one array can share arrays
    that wait with `aftercorr`: element k for element k. Whichever way needs fewer arrays is taken; elements already
    sent are waited for one by one, since a finished part of an old array may be forgotten by then.
    """
    arrays: list[Array] = []
    place: dict[str, _Place] = {key: _Place(None, at.job, at.index) for key, at in places.items()}
    all_elements = list(elements)
    parents = {element.parent for element in all_elements}
    # Slurm starts the lowest indices first: what others wait for goes there.
    waiting = sorted(all_elements, key=lambda element: parents.isdisjoint(element.stages))
    while waiting:
        ready = [element for element in waiting if element.parent is None or element.parent in place]
        assert ready, "an element waits for a stage that nobody runs"
        waiting = [element for element in waiting if not (element.parent is None or element.parent in place)]
        for array in _wave(ready, place, max_array_size):
            for index, element in array.elements.items():
                place |= {key: _Place(len(arrays), None, index) for key in element.stages}
            arrays.append(array)
    return arrays


@dataclass(frozen=True)
class _Place:
    """The element that runs a stage: in an array of this submission, or in a job already sent."""

    array: int | None
    job: str | None
    index: int


_Families = dict[_Place, list[Element]]  # elements by the element that they wait for


def _wave(ready: list[Element], place: Mapping[str, _Place], size: int) -> list[Array]:
    """The arrays of elements whose parents all have a place."""
    free: dict[Changes | None, list[Element]] = defaultdict(list)
    families: dict[tuple[int | None, Changes | None], _Families] = defaultdict(lambda: defaultdict(list))
    for element in ready:
        if element.parent is None:
            free[element.changes].append(element)
        else:
            at = place[element.parent]
            families[at.array, element.changes][at].append(element)
    arrays = [Array(dict(enumerate(chunk))) for alike in free.values() for chunk in _chunks(alike, size)]
    for (array, _), by_place in families.items():
        arrays_with_afterok = sum(-(-len(children) // size) for children in by_place.values())
        together = max(len(children) for children in by_place.values())
        arrays += (
            _aftercorr(by_place, array)
            if array is not None and together < arrays_with_afterok
            else _afterok(by_place, size)
        )
    return arrays


def _afterok(by_place: _Families, size: int) -> list[Array]:
    arrays = []
    for at, children in by_place.items():
        for chunk in _chunks(children, size):
            dependency = Dependency("afterok", _parents(chunk), at.array, at.job, at.index)
            arrays.append(Array(dict(enumerate(chunk)), dependency))
    return arrays


def _aftercorr(by_place: _Families, array: int) -> list[Array]:
    arrays = []
    for turn in range(max(len(children) for children in by_place.values())):
        row = {at.index: children[turn] for at, children in by_place.items() if turn < len(children)}
        arrays.append(Array(dict(sorted(row.items())), Dependency("aftercorr", _parents(row.values()), array=array)))
    return arrays


def _parents(elements: Iterable[Element]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(element.parent for element in elements if element.parent))


def _chunks(elements: list[Element], size: int) -> list[list[Element]]:
    return [elements[start : start + size] for start in range(0, len(elements), size)]


_Kind = tuple[str | None, Changes | None]


def seconds(text: str) -> int:
    """Seconds of a duration that the experiment file's check has let through, such as 30:00."""
    duration = limits.seconds(text)
    assert duration is not None, text
    return duration


def limit(cluster: Cluster) -> int | None:
    """How many seconds a bundle may be expected to last, within the jobs' time limit; None: nothing is packed."""
    longest: str | None = cluster.bundle
    if longest is None:
        return None
    return min(seconds(longest), seconds(cluster.time) if cluster.time else 10**9)


def bundle(
    elements: Iterable[Element], cluster: Cluster, seconds_of: Callable[[Iterable[str]], float]
) -> list[Element]:
    """Put elements together that wait for the same stage and need the same resources, up to the bundle's duration.

    Elements that others wait for stay alone: their children would wait for more than they need, and would be cancelled
    where a neighbour fails. So does one that is too long. `seconds_of`: the expected
    wall-clock time of an element with these stages.
    """
    all_elements = list(elements)
    longest = limit(cluster)
    if longest is None:
        return all_elements
    parents = {element.parent for element in all_elements}
    bundles: list[Element] = []
    open_: dict[_Kind, tuple[int, float]] = {}  # the bundle that is being filled: its place, its seconds so far
    for element in all_elements:
        if not parents.isdisjoint(element.stages):
            bundles.append(element)
            continue
        kind, duration = (element.parent, element.changes), seconds_of(element.stages)
        place, seconds_so_far = open_.get(kind, (-1, float("inf")))
        if seconds_so_far + duration <= longest:
            bundles[place] = replace(bundles[place], stages=bundles[place].stages + element.stages)
            open_[kind] = (place, seconds_so_far + duration)
        else:
            open_[kind] = (len(bundles), duration)
            bundles.append(element)
    return bundles


def side_by_side(elements: Iterable[Element], count: int) -> list[Element]:
    """Put elements that wait for the same stage and need the same resources in lanes of one array index, up to `count`.

    As in a bundle, what others wait for stays alone.
    """
    all_elements = list(elements)
    parents = {element.parent for element in all_elements}
    packs: dict[_Kind | tuple[str, ...], list[list[Element]]] = {}
    for element in all_elements:
        is_waited_for = not parents.isdisjoint(element.stages)
        chunks = packs.setdefault(element.stages if is_waited_for else (element.parent, element.changes), [[]])
        if len(chunks[-1]) == count:
            chunks.append([])
        chunks[-1].append(element)
    return [_in_lanes(chunk) for chunks in packs.values() for chunk in chunks]


def _in_lanes(elements: list[Element]) -> Element:
    if len(elements) == 1:
        return elements[0]
    stages = tuple(key for element in elements for key in element.stages)
    return replace(elements[0], stages=stages, lanes=tuple(len(element.stages) for element in elements))
