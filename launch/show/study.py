"""What `plan` says of the studies that a file asks for: the recipes of each, their steps, and what they cannot show."""

from collections.abc import Iterator, Mapping
from typing import Any

from eval.tables.baseline import with_label
from launch.estimate import amounts
from launch.experiment import recipes
from launch.experiment.recipes import Recipe
from launch.experiment.study import AlignmentStudy, OrderStudy, PromptStudy, TasksOfStudy
from launch.plan import Plan
from launch.text import some

_LISTED = 6  # recipes that differ in steps
_LEVEL = 0.05


def plan_lines(plan: Plan) -> list[tuple[str, str]]:
    """A label and a line for each thing to know."""
    lines: list[str] = []
    for name, study in plan.experiment.study.asked():
        lines.append(f"{name} of {some(study.tasks, 8)}: {_recipes_in_words(study)}")
        if isinstance(study, OrderStudy):
            lines += _of_steps(study, steps_of_recipes(plan, study))
            lines += _of_seeds(len(study.tasks), len(plan.experiment.seeds))
        elif isinstance(study, AlignmentStudy):
            lines += _of_domains(study, len(plan.experiment.seeds))
        elif isinstance(study, PromptStudy):
            lines += _of_modes(study, len(plan.experiment.seeds))
        else:
            lines += _of_units(name, len(study.tasks))
    return [("study", line) for line in lines]


def plan_record(plan: Plan) -> dict[str, Any]:
    """The same for programs: by study the recipes that it needs, and optimizer steps of each, all trainings together
    (those of the targets not)."""
    return {
        name: {
            "tasks": list(study.tasks),
            "recipes": [
                {"recipe": recipes.show(recipe), "steps": steps}
                for recipe, steps in steps_of_recipes(plan, study).items()
            ],
        }
        for name, study in plan.experiment.study.asked()
    }


def steps_of_recipes(plan: Plan, study: TasksOfStudy) -> dict[Recipe, int]:
    """Optimizer steps of a study's recipes, as `prepare` counted examples, else by the files' sizes."""
    counts, seed, target = amounts.read(plan.experiment.store), plan.experiment.seeds[0], plan.experiment.targets[0]
    model = next(iter(plan.starts))  # steps are the same from each
    of_step: dict[str, int] = {}
    of_recipes: dict[Recipe, int] = {}
    for recipe in study.recipes():
        path = list(plan.chain(plan.paths[with_label(model, recipes.show(recipe)), target, seed]))
        trainings = [stage for stage in reversed(path) if stage.kind == "train"][: len(recipe)]
        for digest in {stage.definition for stage in trainings} - of_step.keys():
            step = plan.steps[digest]
            of_step[digest] = amounts.steps(step.parts, step.settings, counts)
        of_recipes[recipe] = sum(of_step[stage.definition] for stage in trainings)
    return of_recipes


def _recipes_in_words(study: TasksOfStudy) -> str:
    if isinstance(study, OrderStudy):
        return _orders_in_words(study)
    if any(sum(map(len, recipe)) > 1 for recipe in study.recipes()):
        return some(map(recipes.show, study.recipes()), _LISTED)
    return "none, and the task" if len(study.tasks) == 1 else f"none, and each of {len(study.tasks)} tasks alone"


def _orders_in_words(study: OrderStudy) -> str:
    count = len(recipes.expand(f"orders({', '.join(study.tasks)})"))
    if not study.controls:
        return f"none and {count} orders, without controls"
    repeat = recipes.show(((study.tasks[0],),) * len(study.tasks))
    joint = recipes.show((tuple(sorted(study.tasks)),))
    return f"none, {count} orders; controls: each task alone, each repeated ({repeat}), jointly ({joint})"


def _of_steps(study: OrderStudy, steps: Mapping[Recipe, int]) -> Iterator[str]:
    """Of as many steps as an order has the controls should have."""
    as_long = {recipe: count for recipe, count in steps.items() if sum(map(len, recipe)) == len(study.tasks)}
    of_order = next(count for recipe, count in as_long.items() if len(set(recipe)) == len(study.tasks))
    unequal = {recipe: count for recipe, count in as_long.items() if count != of_order}
    if not unequal:
        yield f"every order{' and control of that length' * study.controls}: {of_order:,} optimizer steps"
        return
    differing = some((f"{recipes.show(recipe)} {count:,}" for recipe, count in unequal.items()), _LISTED)
    yield (
        f"every order: {of_order:,} optimizer steps; {differing}: not equal, so that these controls also differ in how"
        " long was trained. Equal: a `max_train` that all tasks reach, and the same epochs and batch size"
    )


def _of_seeds(tasks: int, seeds: int) -> Iterator[str]:
    """Permutation is of whole branches within seeds, of two tasks of which order is better: `eval.studies.order`."""
    if seeds < 2:
        yield "one seed: whether order matters cannot be tested; give two or more"
    elif tasks == 2 and (least := 2 * 2.0**-seeds) > _LEVEL:
        yield f"{seeds} seeds of 2 tasks: no p can be below {least:.2g}, whatever comes out; give six seeds or more"
    elif (least := float(tasks) ** -seeds) > _LEVEL:
        yield (
            f"{seeds} seeds of {tasks} tasks: no p of what is trained first can be below {least:.2g}, whatever comes"
            " out; give more seeds"
        )


def _of_domains(study: AlignmentStudy, seeds: int) -> Iterator[str]:
    """What is tested is over seeds."""
    yield f"on parallel text: {some(study.added_targets(), _LISTED)}"
    if seeds < 2:
        yield "one seed: no change of alignment can be tested; give two or more, better three"


def _of_modes(study: PromptStudy, seeds: int) -> Iterator[str]:
    """What is tested is over seeds: Student's, and beside it by the signs of as many values."""
    yield f"on targets in each mode: {some(study.added_targets(), 2 * _LISTED)}"
    if seeds < 2:
        yield "one seed: whether intermediate training and prompts add up cannot be tested; give three or more"
    elif (least := 2 * 2.0**-seeds) > _LEVEL:
        yield (
            f"{seeds} seeds: what is shown rests on their luck being like a normal one; without that, by exchanged"
            f" signs, no p can be below {least:.2g}; of six seeds or more it can"
        )


def _of_units(name: str, tasks: int) -> Iterator[str]:
    """A unit is a task: few of them show little."""
    from eval.statistics import correlations  # with them comes scipy, which a plan without a study does not need
    from eval.studies.complexity import regressions

    least = {"correlation": correlations.LEAST, "complexity": regressions.LEAST}.get(name)
    if least is None:
        return
    if tasks < least:
        yield f"of {tasks} tasks {name} says nothing: name {least} or more"
        return
    smallest_coefficient = correlations.smallest(tasks, _LEVEL)
    if smallest_coefficient is None:
        yield f"of {tasks} tasks no correlation can reach p < {_LEVEL}, not even a perfect one; name five or more"
    else:
        yield (
            f"of {tasks} tasks only a rank correlation of ±{smallest_coefficient:.2f} or more has p < {_LEVEL} alone,"
            " before Holm: weaker ones can be there, unseen"
        )
