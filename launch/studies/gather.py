"""An experiment's collected scores and its trainings' dev as the records that studies are drawn from."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

from eval.studies.records import (
    SOURCE,
    Group,
    Measure,
    PromptedTarget,
    Recipe,
    Representation,
    Results,
    Run,
    TemplateScores,
)
from eval.tables import cells, facts
from eval.tables.averages import BENCHMARKS
from eval.tables.rows import Row
from launch.estimate import amounts
from launch.experiment import recipes
from launch.experiment.study import PARALLEL, prompted_parts
from launch.plan import Plan
from launch.results import table
from launch.store import Store
from launch.studies import dev

_BENCHMARKS = {"XTREME": "xtreme", "XTREME-R": "xtreme-r"}  # targets are grouped by: ours, by their names in print
# Metrics of answers to prompts (`eval.metrics.prompts`), and what records call them.
_BESIDE_PROMPTS = {"accuracy_best": "best", "accuracy_worst": "worst", "majority": "majority", "chance": "chance"}


def results(plan: Plan, store: Store, rows: Sequence[Row], of_recipes: Collection[Recipe]) -> Results:
    """All that was collected of some recipes. `rows`: as `launch.merging` collects them; of each target the metric that
    tables show."""
    of_trainings = dev.trainings(plan, store, of_recipes)
    runs = tuple(_runs(plan, rows, of_recipes))
    prompted_targets = tuple(
        PromptedTarget(name, *parts)
        for name, definition in plan.targets.items()
        if definition.task.prompting is not None and (parts := prompted_parts(name)) is not None
    )
    return Results(
        runs=runs,
        dev_points=dev.points(plan, of_trainings),
        measures=_measures(plan, of_trainings),
        language_groups=_language_groups(runs),
        target_groups=_target_groups(runs),
        representations=tuple(_representations(plan, store, of_recipes)),
        prompted_targets=prompted_targets,
        template_scores=tuple(_template_scores(rows, of_recipes, {target.target for target in prompted_targets})),
    )


def _runs(plan: Plan, rows: Sequence[Row], of_recipes: Collection[Recipe]) -> Iterator[Run]:
    by_text = {recipes.show(recipe): recipe for recipe in of_recipes}
    metrics = table.metrics(plan, list(rows))
    counted_languages = {
        target: frozenset(cells.in_the_mean(list(definition.languages))) for target, definition in plan.targets.items()
    }
    for row in rows:
        counts = row.metric == metrics[row.target] and row.language in counted_languages[row.target]
        if counts and row.recipe in by_text:
            yield Run(by_text[row.recipe], row.seed, row.target, row.language, row.score, row.diverged)


def _representations(plan: Plan, store: Store, of_recipes: Collection[Recipe]) -> Iterator[Representation]:
    """Of targets of parallel text, every evaluation once: what seeds share has one."""
    parallel_targets = {name: target for name, target in plan.targets.items() if target.task.format == PARALLEL}
    for target, definition in parallel_targets.items():
        for recipe in of_recipes:
            keys = dict.fromkeys(plan.paths[recipes.show(recipe), target, seed] for seed in plan.experiment.seeds)
            for stage in (plan.stages[key] for key in keys):
                for language, result in store.language_results(plan, stage).items():
                    for measure, value in result.scores.items():
                        curve = result.layers.get(f"{definition.settings.pooling}/{measure}", ())
                        yield Representation(recipe, stage.seed, target, language, measure, value, tuple(curve))


def _template_scores(
    rows: Sequence[Row], of_recipes: Collection[Recipe], targets: Collection[str]
) -> Iterator[TemplateScores]:
    """Of prompted targets, in languages that count there or not."""
    by_text = {recipes.show(recipe): recipe for recipe in of_recipes}
    by_cell: dict[tuple[str, int | None, str, str], dict[str, float]] = defaultdict(dict)
    for row in rows:
        if row.target in targets and row.recipe in by_text:
            by_cell[row.recipe, row.seed, row.target, row.language][row.metric] = row.score
    for (recipe, seed, target, language), scores in by_cell.items():
        if scores.keys() >= _BESIDE_PROMPTS.keys():
            beside = {field: scores[metric] for metric, field in _BESIDE_PROMPTS.items()}
            yield TemplateScores(by_text[recipe], seed, target, language, **beside)


def _measures(plan: Plan, of_trainings: Sequence[dev.StepTraining]) -> tuple[Measure, ...]:
    """With the numbers of training examples, where `prepare` counted them and no training did."""
    measures = dev.measures(of_trainings)
    sized_tasks = {measure.task for measure in measures if measure.name == "examples"}
    counts = amounts.read(plan.experiment.store)
    sizes: dict[str, float] = {}
    for definition in dict.fromkeys(training.stage.definition for training in of_trainings):
        step = plan.steps[definition]
        by_part = [(part.head_name, amounts.of_training(part, step.settings, counts)[0]) for part in step.parts]
        if all(train.source == "token cache" for _, train in by_part):
            heads = {head for head, _ in by_part}
            sizes |= {head: sum(train.examples for name, train in by_part if name == head) for head in heads}
    return (*measures, *(Measure(task, "examples", sizes[task]) for task in sorted(sizes.keys() - sized_tasks)))


def _language_groups(runs: Sequence[Run]) -> tuple[Group, ...]:
    """Families, as `stepstone table --by family` has them; none where all languages are of one."""
    languages = sorted({run.language for run in runs} - {SOURCE})
    families = facts.groups(languages, "family")
    return tuple(Group(name, tuple(codes)) for name, codes in families.items() if len(families) > 1)


def _target_groups(runs: Sequence[Run]) -> tuple[Group, ...]:
    """The benchmarks that targets are of; none where all targets are of both, as they cannot differ then."""
    targets = tuple(dict.fromkeys(run.target for run in runs))
    members = {
        name: tuple(target for target in targets if target in BENCHMARKS[key].targets)
        for name, key in _BENCHMARKS.items()
    }
    if len(set(members.values())) < len(members):
        return ()
    return tuple(Group(name, of_benchmark) for name, of_benchmark in members.items() if of_benchmark)
