"""Scores out of the store: each stage's own, and whether its training diverged."""

from collections.abc import Iterator, Mapping

from eval.tables import cells
from launch.plan import Plan, Stage
from launch.store import Store
from launch.store.artifacts import LanguageScores

# Of an optimizer: a training of fewer is a trial, such as a rehearsal. Most of them are the warm-up of the learning
# rate, and that nothing was learnt says nothing about the settings.
_TRIAL_STEPS = 20


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
