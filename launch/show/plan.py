"""What `plan` and `collect` print. Data on stdout; `--json` for programs."""

from typing import Any

from rich.console import Console
from rich.table import Table

from launch.draft import Draft, drafting
from launch.draft.elements import Array
from launch.estimate import shapes
from launch.experiment import recipes
from launch.plan import Plan, Stage
from launch.show import estimate
from launch.status import Observation
from training.spec import DataFile, Split

SCHEMA = 1
_LISTED = 12  # languages, stages: what is more is counted


def _some(names: list[str], most: int = _LISTED) -> str:
    return ", ".join(names[:most]) + (f", … ({len(names)} in all)" if len(names) > most else "")


# --- the plan


def plan_json(made: Draft, seen: Observation) -> dict[str, Any]:
    """The contract of `stepstone plan FILE --json`."""
    plan = made.plan
    found = shapes.of_plan(plan)
    numbers = {digest: number for number, digest in enumerate(found)}
    return {
        "schema": SCHEMA,
        "experiment": plan.experiment.name,
        "stages": [
            # Pairs of recipe and target; a train stage's place among the shapes.
            stage_json(stage, seen) | {"users": plan.users[stage.key], "shape": numbers.get(stage.definition)}
            for stage in plan.stages.values()
        ],
        "shapes": [shape.record for shape in found.values()],
        "arrays": [_array_json(array) for array in made.arrays],
        "estimate": estimate.record(plan, made.needed, seen.store),
        "totals": totals(made, seen),
    }


def stage_json(stage: Stage, seen: Observation) -> dict[str, Any]:
    return {
        "key": stage.key, "name": stage.name, "kind": stage.kind, "task": stage.task, "seed": stage.seed,
        "parent": stage.parent, "state": seen.state(stage).state,
    }  # fmt: skip


def _array_json(array: Array) -> dict[str, Any]:
    wanted = array.dependency
    return {
        "indices": list(array.elements),
        "elements": [list(element.stages) for element in array.elements.values()],
        "dependency": {"type": wanted.type, "stages": list(wanted.stages)} if wanted else None,
    }


def totals(made: Draft, seen: Observation) -> dict[str, Any]:
    """Numbers of the plan as a whole."""
    stages = made.plan.stages.values()
    return {
        "stages": len(made.plan.stages),
        "train": sum(stage.kind == "train" for stage in stages),
        "evaluate": sum(stage.kind == "evaluate" for stage in stages),
        "states": seen.counts(),
        "to_send": len(made.needed),
        "elements": made.element_count,
        "arrays": len(made.arrays),
        "held_back": made.held_back,
        "no_room": made.no_room,
        "blocked": len(made.blocked),
        "trainings_from_scratch": made.plan.trainings_from_scratch,
    }


def plan_text(made: Draft, seen: Observation, console: Console) -> None:
    """The readable summary."""
    plan, numbers = made.plan, totals(made, seen)
    e = plan.experiment
    kinds = f"{numbers['train']} train, {numbers['evaluate']} evaluate"
    grid = f"{len(e.recipes)} recipes x {len(e.targets)} targets x {len(e.seeds)} seeds"
    lines = [
        ("experiment", f"{e.name}: {grid}"),
        ("recipes", _some([recipes.show(recipe) for recipe in e.recipes])),
        ("model", e.model if plan.start.folder else f"{plan.start.repo}@{plan.start.revision}"),
        ("store", str(e.store)),
        *(("data", line) for line in _data_lines(plan)),
        *(("target", line) for line in _target_lines(plan)),
        *shapes.lines(plan),
        ("stages", f"{numbers['stages']}: {kinds}; {states_line(seen)}"),
        ("sharing", f"{numbers['train']} trainings instead of {plan.trainings_from_scratch} (every pair from scratch)"),
        ("to send", f"{numbers['to_send']} stages as {made.element_count} elements in {len(made.arrays)} arrays"),
        *((f"array {n}", _array_line(plan, array)) for n, array in enumerate(made.arrays[:_LISTED])),
    ]
    if len(made.arrays) > _LISTED:
        lines.append(("", f"… {len(made.arrays) - _LISTED} more arrays (--json lists all)"))
    if made.held_back:
        lines.append(("held back", f"{made.held_back} elements until stages of another executor are done"))
    if made.breaker:
        lines.append(("held back", made.breaker))
    elif made.blocked:
        why = next(iter(made.blocked.values()))
        lines.append(("not again", f"{len(made.blocked)} stages ({drafting.names(plan, made.blocked)}): {why}"))
    lines += estimate.lines(plan, made.needed, seen.store)
    _print_lines(lines, console)


def _print_lines(lines: list[tuple[str, str]], console: Console) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    previous = None
    for label, text in lines:
        grid.add_row("" if label == previous else label, text)
        previous = label
    console.print(grid, markup=False)


def _data_lines(plan: Plan) -> list[str]:
    found = {part.task: (part.train, part.dev, part.hold_out) for step in plan.steps.values() for part in step.parts}
    lines = []
    for task, (train, dev, hold_out) in found.items():
        held = f"; dev: {hold_out:.0%} of train held out" if hold_out else f"; dev: {_where(dev)}"
        lines.append(f"{task}: {_where(train)}{held}")
    return lines


def _where(split: Split) -> str:
    names = [part.path if isinstance(part, DataFile) else f"{part.repo} {part.config or ''}".strip() for part in split]
    return " + ".join(name.rpartition("/data/")[2] if name.startswith("/") else name for name in names)


def _target_lines(plan: Plan) -> list[str]:
    lines = []
    for name, target in plan.targets.items():
        known = len(target.task.languages)
        found = list(target.languages)
        if target.missing:
            line = f"{name} {len(found)} of {known} (no file: {_some(list(target.missing), 8)})"
        else:
            line = f"{name} {len(found)}: {_some(found)}"
        lines.append(f"{line}; trained on {target.task.training_path}")
    return lines


def states_line(seen: Observation) -> str:
    return ", ".join(f"{count} {state}" for state, count in seen.counts().items() if count) or "none"


def _array_line(plan: Plan, array: Array) -> str:
    names = [" + ".join(_short(plan, element.stages)) for element in array.elements.values()]
    wanted = array.dependency
    if wanted is None:
        waits = ""
    elif wanted.type == "afterok":
        waits = f" after {plan.stages[wanted.stages[0]].name}"
    else:
        waits = f" each after its own of array {wanted.array}"
    return f"{len(array.elements)} elements{waits}: {_some(names, 4)}"


def _short(plan: Plan, stages: tuple[str, ...]) -> list[str]:
    """An element's stages; after a train, its evaluates by their target only."""
    first, *rest = (plan.stages[key] for key in stages)
    return [first.name, *(stage.task for stage in rest)]
