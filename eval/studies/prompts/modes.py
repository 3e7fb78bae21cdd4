"""Scores of a target by the mode that it was answered in, over the languages that all modes have."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from eval.studies import transfer as transfers
from eval.studies.finding import listed
from eval.studies.records import NONE, SOURCE, PromptedTarget, Recipe, Results, Run, TemplateScores
from eval.studies.transfer import Transfer


@dataclass(frozen=True, order=True)
class Mode:
    """How a target is answered: a head that is trained for it, prompts, or prompts after training on prompted text.
    `demonstrations`: how many answered examples each prompt shows."""

    kind: Literal["fine-tune", "prompt", "both"]
    demonstrations: int = 0

    @property
    def label(self) -> str:
        return f"{self.kind}, {self.demonstrations} shown" if self.demonstrations else self.kind


FINE_TUNE = Mode("fine-tune")


@dataclass(frozen=True)
class Term:
    """A score that is added, or taken away: `sign` 1 or -1."""

    sign: int
    mode: Mode
    recipe: Recipe


@dataclass(frozen=True)
class Templates:
    """What the best and the worst template score, chosen in every language and seed, and their mean: percent."""

    mean: float
    best: float
    worst: float


@dataclass(frozen=True)
class Target:
    """`by_mode`: of every mode that has a score, scores over `languages`; fine-tuning first, then as the results have
    them. `template_scores`: of its prompted modes. `left_out`: what does not count, and why, in words."""

    name: str
    languages: tuple[str, ...]
    by_mode: Mapping[Mode, Transfer]
    template_scores: tuple[TemplateScores, ...]
    left_out: tuple[str, ...]

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """All that some mode has a score of, `none` first."""
        present = dict.fromkeys(recipe for transfer in self.by_mode.values() for recipe, _ in transfer.scores)
        return tuple(sorted(present, key=lambda recipe: recipe != NONE))

    def sums(self, terms: Sequence[Term]) -> dict[int | None, float]:
        """The sum of the terms by seed, of the seeds that all have. What owes nothing to chance stands for every seed;
        where nothing does, the one sum is that of None."""
        seeds: set[int | None] = {seed for term in terms if term.mode in self.by_mode for seed in self._seeds(term)}
        sums: dict[int | None, float] = {}
        for seed in sorted(seeds, key=lambda seed: seed or 0) or [None]:
            scores = [self._score(term, seed) for term in terms]
            if None not in scores:
                sums[seed] = sum(term.sign * (score or 0.0) for term, score in zip(terms, scores, strict=True))
        return sums

    def has_seeds(self, mode: Mode, recipe: Recipe) -> bool:
        """Whether chance plays a part in it."""
        return mode in self.by_mode and bool(self.by_mode[mode].seeds(recipe))

    def mean(self, mode: Mode, recipe: Recipe) -> float | None:
        return self.by_mode[mode].mean(recipe) if mode in self.by_mode else None

    def templates(self, mode: Mode, recipe: Recipe) -> Templates | None:
        """Means over the languages and seeds that count."""
        transfer = self.by_mode[mode]
        records = [
            record
            for record in self.template_scores
            if (record.target, record.recipe) == (transfer.target, recipe) and (recipe, record.seed) in transfer.scores
        ]
        mean = transfer.mean(recipe)
        if not records or mean is None:
            return None
        return Templates(mean, _mean([record.best for record in records]), _mean([record.worst for record in records]))

    @property
    def majority(self) -> float | None:
        """Of always saying the commonest label of a language, mean over languages."""
        return _over_languages({record.language: record.majority for record in self.template_scores})

    @property
    def chance(self) -> float | None:
        """Of guessing among the labels, mean over languages."""
        return _over_languages({record.language: record.chance for record in self.template_scores})

    def _seeds(self, term: Term) -> tuple[int, ...]:
        return self.by_mode[term.mode].seeds(term.recipe)

    def _score(self, term: Term, seed: int | None) -> float | None:
        return self.by_mode[term.mode].score(term.recipe, seed) if term.mode in self.by_mode else None


def of_results(results: Results) -> tuple[Target, ...]:
    """Every target that some mode of prompts has, in the records' order."""
    by_target: dict[str, list[PromptedTarget]] = defaultdict(list)
    for prompted_target in results.prompted_targets:
        by_target[prompted_target.of].append(prompted_target)
    return tuple(_of_target(name, prompted_targets, results) for name, prompted_targets in by_target.items())


def _of_target(name: str, prompted_targets: Sequence[PromptedTarget], results: Results) -> Target:
    modes = {name: FINE_TUNE} | {target.target: Mode(target.kind, target.demonstrations) for target in prompted_targets}
    by_name: dict[str, list[Run]] = {target: [] for target in modes}
    for run in results.runs:
        if run.target in by_name and run.language != SOURCE:
            by_name[run.target].append(run)
    of_names = [{run.language for run in runs} for runs in by_name.values() if runs]
    languages = tuple(sorted(set.intersection(*of_names))) if of_names else ()
    by_mode = {
        modes[transfer.target]: transfer
        for runs in by_name.values()
        for transfer in transfers.of_targets(runs, languages)
        if transfer.scores
    }
    return Target(
        name,
        languages,
        by_mode,
        tuple(r for r in results.template_scores if r.target in by_name and r.language in languages),
        (
            *(line for transfer in by_mode.values() for line in transfer.left_out),
            *_not_in_all_modes(name, sorted(set().union(*of_names) - set(languages))),
            *_without_scores(name, [mode.label for mode in modes.values() if mode not in by_mode]),
        ),
    )


def _not_in_all_modes(name: str, languages: Sequence[str]) -> tuple[str, ...]:
    return (f"{name}: without {listed(list(languages))}, which not every mode has.",) if languages else ()


def _without_scores(name: str, modes: Sequence[str]) -> tuple[str, ...]:
    return (f"{name}: there is no score yet of {' and '.join(modes)}.",) if modes else ()


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _over_languages(by_language: Mapping[str, float]) -> float | None:
    return _mean(list(by_language.values())) if by_language else None
