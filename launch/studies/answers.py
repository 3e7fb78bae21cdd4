"""What a study finds in an experiment's results so far, and what it still lacks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from eval.studies import STUDIES
from eval.studies.finding import Finding
from eval.studies.records import Recipe, Results
from eval.studies.study import Study
from eval.tables.baseline import split
from eval.tables.rows import Gap, Row
from launch.experiment import recipes
from launch.experiment import study as study_section
from launch.merging import Collected
from launch.plan import Plan
from launch.store import Store
from launch.studies import gather
from launch.text import as_typed, some
from slurm.base import UsageError
from training.tasks import catalogue


@dataclass(frozen=True)
class Answer:
    """From one start model, `model` by its label, if any. `lacking`: lines that say what is not there yet, and what to
    type; empty where all is."""

    study: Study
    finding: Finding
    lacking: tuple[str, ...]
    model: str = ""


def find(name: str) -> Study:
    """The study of this name. UsageError where there is none."""
    for study in STUDIES:
        if study.name == name:
            return study
    names = tuple(study.name for study in STUDIES)
    raise UsageError(f"study {name}: there is none; {catalogue.nearest(name, names)}")


def answers(plan: Plan, store: Store, collection: Collected) -> tuple[Answer, ...]:
    """Of every study that the file asks for, from each of its start models."""
    studies = [find(name) for name, _ in plan.experiment.study.asked()]
    return tuple(answer for study in studies for answer in of_study(plan, store, collection, study))


def of_study(plan: Plan, store: Store, collection: Collected, study: Study) -> tuple[Answer, ...]:
    """From each start model of the file, as if it alone were there."""
    return tuple(_of_model(plan, store, collection, study, model) for model in plan.starts)


def _of_model(plan: Plan, store: Store, collection: Collected, study: Study, model: str) -> Answer:
    """Of the recipes that the file names for the study; where it has no such section, of all. Parallel text that the
    study of alignment asks for is no target of the others, nor are the modes of that of prompts."""
    plan = plan.of_model(model)
    targets_apart = plan.experiment.study.targets_apart(study.name)
    rows = [
        row._replace(recipe=split(row.recipe)[1])
        for row in collection.rows
        if split(row.recipe)[0] == model and row.target not in targets_apart
    ]
    gaps = [
        replace(gap, recipe=split(gap.recipe)[1])
        for gap in collection.missing
        if split(gap.recipe)[0] == model and gap.target not in targets_apart
    ]
    section = dict(plan.experiment.study.asked()).get(study.name)
    of_recipes = plan.experiment.recipes if section is None else section.recipes()
    results = gather.results(plan, store, rows, of_recipes)
    finding = study.find(results)
    lacking = [*_scores(plan, rows, gaps, of_recipes), *_records(results, study)]
    if section is None and not finding.tables and (keys := study_section.example(study.name)):
        lacking.append(
            f"{as_typed(plan.experiment.path)} does not name what it is drawn from:"
            f" `study: {{{study.name}: {keys}}}` in it does"
        )
    return Answer(study, finding, tuple(lacking), model)


def _scores(plan: Plan, rows: Sequence[Row], gaps: Sequence[Gap], of_recipes: Sequence[Recipe]) -> Iterator[str]:
    names = {recipes.show(recipe) for recipe in of_recipes}
    there = len({(row.stage, row.recipe, row.language) for row in rows if row.recipe in names})
    missing = sum(gap.recipe in names and gap.state != "no gold" for gap in gaps)
    if missing:
        file = as_typed(plan.experiment.path)
        yield (
            f"{missing:,} of {there + missing:,} scores that it is drawn from are missing:"
            f" `stepstone status {file}` says why, `stepstone submit {file}` sends what is to be sent"
        )


def _records(results: Results, study: Study) -> Iterator[str]:
    """Of kinds of records of which there is none at all, or of older trainings only a part. Of what diverged there is
    none, which the finding says."""
    has_trained = any(run.recipe and not run.diverged for run in results.runs)
    if "dev_points" in study.needs and has_trained and not results.dev_points:
        yield "no training of a recipe is finished that has English dev scores"
    primary_alone = {point.trained for point in results.dev_points} - {
        point.trained for point in results.dev_points if not point.primary
    }
    if "dev_points" in study.needs and primary_alone:
        names = some(map(recipes.show, sorted(primary_alone)))
        yield (
            f"all dev metrics but the one that selected the epoch, of {names}: trained before there were others; what"
            " is finished is not scored again"
        )
    if "measures" in study.needs and has_trained and {measure.name for measure in results.measures} <= {"examples"}:
        yield (
            f"no training measured its task: they do where `study: {{{study.name}: …}}` stands in the file when they"
            " run; what was trained before is not measured again"
        )
