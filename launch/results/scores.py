"""Scores out of the store: as rows, and each stage's own."""

from collections.abc import Iterator, Mapping

from eval.tables import cells
from eval.tables.rows import Row, profile_of
from launch.plan import Plan, Stage
from launch.store import Store
from launch.store.artifacts import LanguageScores

# Of an optimizer: a training of fewer is a trial, such as a rehearsal. Most of them are the warm-up of the learning
# rate, and that nothing was learnt says nothing about the settings.
_TRIAL_STEPS = 20


def rows(plan: Plan, store: Store) -> list[Row]:
    """Every published score that the experiment asks for, in the plan's order."""
    score_rows: list[Row] = []
    combinations: set[tuple[str, str, int | None]] = set()
    for (recipe, target, _), key in plan.paths.items():
        stage = plan.stages[key]
        if (recipe, target, stage.seed) not in combinations:
            combinations.add((recipe, target, stage.seed))
            score_rows += _stage_rows(plan, store, stage, recipe, target)
    return score_rows


def _stage_rows(plan: Plan, store: Store, stage: Stage, recipe: str, target: str) -> list[Row]:
    primary = plan.targets[target].task.metric
    rests_on_chance = any(at_chance(plan, store, training) for training in trainings_under(plan, stage))
    return [
        Row(
            recipe, target, language, stage.seed, metric, metric == primary, score,
            result.examples, stage.key, result.generation, result.code, rests_on_chance, profile_of(metric),
            result.attempt, result.seconds,
        )
        for language, result in store.language_results(plan, stage).items()
        for metric, score in result.scores.items()
    ]  # fmt: skip


def trainings_under(plan: Plan, stage: Stage) -> Iterator[Stage]:
    """The train stages that an evaluate stage rests on, the last first."""
    while stage.parent is not None:
        stage = plan.stages[stage.parent]
        yield stage


def at_chance(plan: Plan, store: Store, stage: Stage) -> tuple[str, ...]:
    """The heads of a finished training that has diverged: none does better on English dev than a constant answer.

    Empty where one of a mixture's heads does: then the encoder has learned something. Empty too after a trial of fewer
    than 20 steps, whatever its record says.
    """
    if summary := store.known(stage):
        return tuple(summary.at_chance)
    facts = store.train_facts(stage) if stage.kind == "train" else None
    is_trial = facts is not None and facts.steps is not None and facts.steps < _TRIAL_STEPS
    heads = tuple(facts.at_chance) if facts and not is_trial else ()
    every = {part.head_name for part in plan.steps[stage.definition].parts} if heads else set()
    return heads if every <= set(heads) else ()


def score(plan: Plan, store: Store, stage: Stage) -> float | None:
    """A stage's own score: a train's selected English dev score, an evaluate's mean over its languages."""
    if summary := store.known(stage):
        return summary.score
    if stage.kind == "train":
        result = store.train_result(stage)
        return None if result is None else result.dev_score
    return mean_over_languages(plan, stage, store.language_results(plan, stage))


def mean_over_languages(plan: Plan, stage: Stage, results: Mapping[str, LanguageScores]) -> float | None:
    """The score of an evaluate with these results, by language; None without one that counts."""
    scores = {language: result.scores for language, result in results.items()}
    metric = cells.shown_metric(
        plan.by_digest[stage.definition].task.metric, {name for by_metric in scores.values() for name in by_metric}
    )
    values = [scores[language][metric] for language in cells.in_the_mean(list(scores)) if metric in scores[language]]
    return sum(values) / len(values) if values else None
