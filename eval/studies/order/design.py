"""Which recipes are orders of the same tasks, which stand beside them, and what is compared between orders."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Literal

from eval.studies.records import Recipe, show

Kind = Literal["position", "pair"]


@dataclass(frozen=True)
class Design:
    """`orders`: permutations of `tasks`, one task a step; `controls`: other recipes of these tasks, and `none`."""

    tasks: tuple[str, ...]
    orders: tuple[Recipe, ...]
    controls: tuple[Recipe, ...]


@dataclass(frozen=True)
class Contrast:
    """Orders that are `one_side` against orders that are on the other."""

    label: str
    kind: Kind
    one_side: frozenset[Recipe]
    other_side: frozenset[Recipe]


def of_recipes(recipes: Sequence[Recipe]) -> Design | None:
    """The largest set of tasks of which there are at least two orders; None: there is none."""
    by_tasks: dict[frozenset[str], list[Recipe]] = defaultdict(list)
    for recipe in recipes:
        tasks = [task for step in recipe for task in step]
        if len(recipe) > 1 and len(set(tasks)) == len(tasks) == len(recipe):
            by_tasks[frozenset(tasks)].append(recipe)
    designs = [(len(orders), len(tasks), sorted(tasks)) for tasks, orders in by_tasks.items() if len(orders) > 1]
    if not designs:
        return None
    _, _, names = max(designs)
    orders = tuple(sorted(by_tasks[frozenset(names)]))
    controls = [recipe for recipe in recipes if recipe not in orders and {t for s in recipe for t in s} <= set(names)]
    return Design(
        tuple(names), orders, tuple(sorted(controls, key=lambda recipe: (-sum(map(len, recipe)), show(recipe))))
    )


def contrasts(design: Design) -> tuple[Contrast, ...]:
    """Each pair of neighbours one way against the other, and each task at each place against elsewhere; of those that
    compare the same orders the first alone."""
    places = len(design.tasks)
    candidates = [
        _contrast(f"{earlier} just before {later}", "pair", design, _follows(earlier, later), _follows(later, earlier))
        for earlier, later in combinations(design.tasks, 2)
    ] + [
        _contrast(f"{task} {_place(place, places)}", "position", design, _stands(task, place), _elsewhere(task, place))
        for task in design.tasks
        for place in range(places)
    ]
    distinct = {frozenset((contrast.one_side, contrast.other_side)): contrast for contrast in reversed(candidates)}
    return tuple(reversed([contrast for contrast in distinct.values() if contrast.one_side and contrast.other_side]))


def follows(recipe: Recipe, earlier: str, later: str) -> bool:
    """Whether one task is trained right before the other."""
    return ((earlier,), (later,)) in pairwise(recipe)


def _contrast(
    label: str, kind: Kind, design: Design, one_side: Callable[[Recipe], bool], other_side: Callable[[Recipe], bool]
) -> Contrast:
    return Contrast(
        label, kind, frozenset(filter(one_side, design.orders)), frozenset(filter(other_side, design.orders))
    )


def _follows(earlier: str, later: str) -> Callable[[Recipe], bool]:
    return lambda recipe: follows(recipe, earlier, later)


def _stands(task: str, place: int) -> Callable[[Recipe], bool]:
    return lambda recipe: recipe[place] == (task,)


def _elsewhere(task: str, place: int) -> Callable[[Recipe], bool]:
    return lambda recipe: recipe[place] != (task,)


def _place(place: int, places: int) -> str:
    return "first" if place == 0 else "last" if place == places - 1 else f"in place {place + 1}"
