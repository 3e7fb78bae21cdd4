"""What `plan` prints. Data on stdout; `--json` for programs."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from eval.tables.baseline import with_label
from launch import executors
from launch.draft import Draft, drafting, environment, notes, packing
from launch.draft.elements import Array
from launch.estimate import shapes
from launch.experiment import Experiment, recipes
from launch.plan import Plan, Stage
from launch.show import estimate, race, study
from launch.status import Observation
from launch.text import labelled, some
from training.pretrained import StartModel
from training.spec import DataFile, Split

SCHEMA = 1
_LISTED = 12  # languages, stages: what is more is counted


def plan_json(draft: Draft, observation: Observation, remarks: Sequence[str]) -> dict[str, Any]:
    """The contract of `stepstone plan FILE --json`."""
    plan = draft.plan
    shapes_by_step = shapes.of_plan(plan)
    numbers = {work: number for number, work in enumerate(shapes_by_step)}
    return {
        "schema": SCHEMA,
        "experiment": plan.experiment.name,
        "executor": asdict(plan.experiment.cluster.choice),
        "stages": [
            # Pairs of recipe and target; a train stage's place among the shapes.
            stage_json(stage, observation) | {"users": plan.users[stage.key], "shape": numbers.get(stage.work)}
            for stage in plan.stages.values()
        ],
        "shapes": [shape.record for shape in shapes_by_step.values()],
        "arrays": [_array_json(array) for array in draft.arrays],
        "environment": [notice.line for notice in environment.notices(plan.experiment)],
        "estimate": estimate.record(plan, draft.needed, observation.store),
        **({"race": race.record(observation) | race.cost_record(plan, observation)} if plan.experiment.race else {}),
        **({"study": study.plan_record(plan)} if plan.experiment.study.recipes() else {}),
        "totals": totals(draft, observation),
        "remarks": list(remarks),
    }


def stage_json(stage: Stage, observation: Observation) -> dict[str, Any]:
    return {
        "key": stage.key, "name": stage.name, "kind": stage.kind, "task": stage.task, "seed": stage.seed,
        "parent": stage.parent, "state": observation.state(stage).state,
        **({"model": stage.model} if stage.model else {}),
    }  # fmt: skip


def _array_json(array: Array) -> dict[str, Any]:
    dependency = array.dependency
    lanes = [list(element.lanes) for element in array.elements.values()]
    return {
        "indices": list(array.elements),
        "elements": [list(element.stages) for element in array.elements.values()],
        **({"lanes": lanes} if any(lanes) else {}),
        "dependency": {"type": dependency.type, "stages": list(dependency.stages)} if dependency else None,
    }


def totals(draft: Draft, observation: Observation) -> dict[str, Any]:
    """Numbers of the plan as a whole."""
    stages = draft.plan.stages.values()
    return {
        "stages": len(draft.plan.stages),
        "train": sum(stage.kind == "train" for stage in stages),
        "evaluate": sum(stage.kind == "evaluate" for stage in stages),
        "states": observation.counts(),
        "to_send": len(draft.needed),
        "elements": draft.element_count,
        "arrays": len(draft.arrays),
        "held_back": draft.held_back,
        "no_room": draft.no_room,
        "blocked": len(draft.blocked),
        "trainings_from_scratch": draft.plan.trainings_from_scratch,
    }


def plan_text(draft: Draft, observation: Observation, remarks: Sequence[str], console: Console) -> None:
    """The readable summary. `remarks`: about the data."""
    plan, numbers = draft.plan, totals(draft, observation)
    e = plan.experiment
    kinds = f"{numbers['train']} train, {numbers['evaluate']} evaluate"
    models = f"{len(e.models)} start models x " if len(e.models) > 1 else ""
    grid = f"{models}{len(e.recipes)} recipes x {len(e.targets)} targets x {seeds_of(e)} seeds"
    lines = [
        ("experiment", f"{e.name}: {grid}"),
        ("recipes", some((recipes.show(recipe) for recipe in e.recipes), _LISTED)),
        *(("model", with_label(label, _model(start))) for label, start in plan.starts.items()),
        ("store", str(e.store)),
        # Local workers have the shell's as it is.
        *([("environment", environment.summary(e.cluster))] if executors.of_cluster(e.cluster).has_queue else []),
        *(("data", line) for line in _data_lines(plan)),
        *(("note", line) for line in remarks),
        *(("target", line) for line in _target_lines(plan)),
        *study.plan_lines(plan),
        *notes.lines(plan),
        *packing.lines(draft),
        *shapes.lines(plan),
        ("stages", f"{numbers['stages']}: {kinds}; {states_line(observation)}"),
        ("sharing", _sharing_line(plan)),
        ("to send", f"{numbers['to_send']} stages as {draft.element_count} elements in {len(draft.arrays)} arrays"),
        *((f"array {n}", _array_line(plan, array)) for n, array in enumerate(draft.arrays[:_LISTED])),
    ]
    if len(draft.arrays) > _LISTED:
        lines.append(("", f"… {len(draft.arrays) - _LISTED} more arrays (--json lists all)"))
    if draft.held_back:
        lines.append(("held back", f"{draft.held_back} elements until stages of another executor are done"))
    if draft.breaker:
        lines.append(("held back", draft.breaker))
    elif draft.blocked:
        why = next(iter(draft.blocked.values()))
        lines.append(("not again", f"{len(draft.blocked)} stages ({drafting.names(plan, draft.blocked)}): {why}"))
    lines += race.plan_lines(plan, observation)
    lines += estimate.lines(plan, draft.needed, observation.store)
    _print_lines(lines, console)


def _model(start: StartModel) -> str:
    return start.folder or f"{start.repo}@{start.revision}"


def _sharing_line(plan: Plan) -> str:
    """Of a race both for the least seeds and for the most."""
    e, trainings = plan.experiment, [stage for stage in plan.stages.values() if stage.kind == "train"]
    most, most_alone = str(len(trainings)), str(plan.trainings_from_scratch)
    if e.race is None:
        return f"{most} trainings instead of {most_alone} (every pair from scratch)"
    least = sum(stage.seed not in e.optional_seeds for stage in trainings)
    least_alone = plan.trainings_from_scratch * e.race.min // e.race.max
    return f"{least} to {most} trainings instead of {least_alone} to {most_alone} (every pair from scratch)"


def seeds_of(e: Experiment) -> str:
    """How many seeds a pair has, or may have."""
    return str(len(e.seeds)) if e.race is None else f"{e.race.min} to {e.race.max}"


def _print_lines(lines: list[tuple[str, str]], console: Console) -> None:
    labels = [label for label, _ in lines]
    rows = [
        ("" if label == before else label, text) for before, (label, text) in zip(["", *labels], lines, strict=False)
    ]
    for line in labelled(rows, console.width):
        console.print(line, markup=False, soft_wrap=True)


def _data_lines(plan: Plan) -> list[str]:
    data_by_task = {
        part.task: (part.train, part.dev, part.hold_out) for step in plan.steps.values() for part in step.parts
    }
    lines = []
    for task, (train, dev, hold_out) in data_by_task.items():
        dev_text = f"; dev: {hold_out:.0%} of train held out" if hold_out else f"; dev: {_where(dev)}"
        lines.append(f"{task}: {_where(train)}{dev_text}")
    return lines


def _where(split: Split) -> str:
    names = [part.path if isinstance(part, DataFile) else f"{part.repo} {part.config or ''}".strip() for part in split]
    return " + ".join(name.rpartition("/data/")[2] if name.startswith("/") else name for name in names)


def _target_lines(plan: Plan) -> list[str]:
    lines = []
    for name, target in plan.targets.items():
        language_count = len(target.task.languages)
        languages = list(target.languages)
        if target.missing:
            line = f"{name} {len(languages)} of {language_count} (no file: {some(target.missing, 8)})"
        else:
            line = f"{name} {len(languages)}: {some(languages, _LISTED)}"
        lines.append(f"{line}; trained on {target.task.training_path}")
    return lines


def states_line(observation: Observation) -> str:
    line = ", ".join(f"{count} {state}" for state, count in observation.counts().items() if count) or "none"
    unwanted = observation.unwanted_count
    return f"{line}; {unwanted} more are for seeds that no pair wants now" if unwanted else line


def _array_line(plan: Plan, array: Array) -> str:
    names = [" + ".join(_short(plan, element.stages)) for element in array.elements.values()]
    dependency = array.dependency
    if dependency is None:
        waits = ""
    elif dependency.type == "afterok":
        waits = f" after {plan.stages[dependency.stages[0]].name}"
    else:
        waits = f" each after its own of array {dependency.array}"
    return f"{len(array.elements)} elements{waits}: {some(names)}"


def _short(plan: Plan, stages: tuple[str, ...]) -> list[str]:
    """An element's stages; after a train, its evaluates by their target only."""
    first, *evaluates = (plan.stages[key] for key in stages)
    return [first.name, *(stage.task for stage in evaluates)]
