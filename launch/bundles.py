"""Bundles: short independent elements that run back to back in one array index (`cluster: {bundle: 30:00}`).

Each stage keeps its own record, attempt and resume; only the wait in the queue and the start of the job are shared.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from launch.cluster import Cluster
from launch.elements import Element
from launch.policies import Changes
from slurm import limits

_Kind = tuple[str | None, Changes | None]


def seconds(text: str) -> int:
    """Seconds of a duration that the experiment file's check has let through, such as 30:00."""
    found = limits.seconds(text)
    assert found is not None, text
    return found


def limit(cluster: Cluster) -> int | None:
    """How many seconds a bundle may be expected to last, within the jobs' time limit; None: nothing is packed."""
    asked: str | None = cluster.bundle
    if asked is None:
        return None
    return min(seconds(asked), seconds(cluster.time) if cluster.time else 10**9)


def pack(elements: Iterable[Element], cluster: Cluster, seconds_of: Callable[[Element], float]) -> list[Element]:
    """Put elements together that wait for the same stage and need the same resources, up to the bundle's duration.

    Elements that others wait for stay alone: their children would wait for more than they need, and would be cancelled
    where a neighbour fails. So does one that is too long. `seconds_of`: the expected wall-clock time.
    """
    made = list(elements)
    most = limit(cluster)
    if most is None:
        return made
    awaited = {element.parent for element in made}
    packed: list[Element] = []
    open_: dict[_Kind, tuple[int, float]] = {}  # the bundle that is being filled: its place, its seconds so far
    for element in made:
        if not awaited.isdisjoint(element.stages):
            packed.append(element)
            continue
        kind, duration = (element.parent, element.changes), seconds_of(element)
        place, filled = open_.get(kind, (-1, float("inf")))
        if filled + duration <= most:
            packed[place] = replace(packed[place], stages=packed[place].stages + element.stages)
            open_[kind] = (place, filled + duration)
        else:
            open_[kind] = (len(packed), duration)
            packed.append(element)
    return packed
