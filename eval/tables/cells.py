"""The cells of the results table: the mean over languages, error bars over seeds, the difference to `none`.

Seeds that diverged are left out of all of these; where a cell has no others, their mean is shown, with a mark.
Not covered: how sure a difference is; `eval.statistics` says that.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev

from eval.tables.baseline import baseline_of, is_baseline
from eval.tables.rows import Row

DIVERGED = "†"
# What a metric is called where it is not quite itself: tuned and scored on the same set; never tuned.
STAND_INS = ("_dev", "_untuned")
Seed = int | None  # None: chance played no part


@dataclass(frozen=True)
class Cell:
    """One recipe on one target, in percent.

    `deviation` is the sample standard deviation over seeds, None for fewer than two; `difference` the mean over seeds
    of the score minus the baseline's with the same seed (where chance plays no part in one of the two, its only score),
    with its own deviation. `missing`: (language, seed) pairs without a score; such a cell has no mean.
    `diverged`: seeds that are left out of all of these; where that is `seeds`, all there are, `score` is their mean.
    """

    score: float | None
    deviation: float | None
    seeds: int
    difference: float | None
    difference_deviation: float | None
    missing: int
    diverged: int = 0
    values: tuple[float, ...] = ()  # the score of each seed that did not diverge
    differences: tuple[float, ...] = ()  # of each pair of seeds

    @property
    def error(self) -> float | None:
        """The standard error of `score` over seeds."""
        return None if self.deviation is None else self.deviation / sqrt(len(self.values))

    @property
    def difference_error(self) -> float | None:
        """The same of `difference`."""
        deviation = self.difference_deviation
        return None if deviation is None else deviation / sqrt(len(self.differences))

    def show(self) -> str:
        """`32.0 ±2.8`; `32.0 ±2.8 †1`: without one seed that diverged; `32.0 †`: no seed did not."""
        if self.score is None:
            return f"{self.missing} missing" if self.missing else "no gold"
        left_out = self.diverged if self.diverged < self.seeds else ""
        return (
            f"{self.score:.1f}"
            + (f" ±{self.deviation:.1f}" if self.deviation is not None else "")
            + (f" {DIVERGED}{left_out}" if self.diverged else "")
        )

    def show_difference(self) -> str:
        if self.difference is None:
            return ""
        deviation_text = f" ±{self.difference_deviation:.1f}" if self.difference_deviation is not None else ""
        return f"{self.difference:+.1f}{deviation_text}"


def shown_metric(metric: str, present: Collection[str]) -> str:
    """The metric that a target's column shows: its own if there is any score of it, else what stands in for it."""
    return next((name for name in (metric, *(metric + suffix for suffix in STAND_INS)) if name in present), metric)


def stands_in(scores: Collection[str], metric: str) -> bool:
    """Whether a language was scored, but could only be under another name than the one that is shown."""
    return metric not in scores and any(name.endswith(STAND_INS) for name in scores)


def in_the_mean(languages: Sequence[str]) -> list[str]:
    """The languages that a mean is taken over: without pairs such as `de-en` (MLQA), where there are others."""
    return [code for code in languages if "-" not in code] or list(languages)


@dataclass(frozen=True)
class SeedMeans:
    """The means over languages, by (recipe, target) and seed: of those that have a score in all of the required
    ones."""

    means: Mapping[tuple[str, str], dict[Seed, float]]
    missing: Mapping[tuple[str, str], int]  # (language, seed) pairs without a score
    diverged: Mapping[tuple[str, str], Set[Seed]]

    def sound(self, cell: tuple[str, str]) -> dict[Seed, float]:
        """Without the seeds that diverged."""
        seeds, diverged_seeds = self.means.get(cell, {}), self.diverged.get(cell, ())
        return {seed: score for seed, score in seeds.items() if seed not in diverged_seeds}


def of_rows(
    rows: Sequence[Row],
    required_languages: Mapping[tuple[str, str, Seed], Sequence[str]],
    metrics: Mapping[str, str],
) -> dict[tuple[str, str], Cell]:
    """By (recipe, target). `required_languages`: those that each (recipe, target, seed) must have to count; none where
    the data has no gold answers, and then the cell says so. `metrics`: each target's metric."""
    seed_means = by_seed(rows, required_languages, metrics)
    return compare(seed_means.means, seed_means.missing, seed_means.diverged)


def by_seed(
    rows: Sequence[Row],
    required_languages: Mapping[tuple[str, str, Seed], Sequence[str]],
    metrics: Mapping[str, str],
) -> SeedMeans:
    """What the cells are made of; the arguments are those of `of_rows`."""
    scores: dict[tuple[str, str, Seed], dict[str, float]] = defaultdict(dict)
    diverged_seeds: dict[tuple[str, str], set[Seed]] = defaultdict(set)
    for row in rows:
        if row.metric == metrics[row.target]:
            scores[row.recipe, row.target, row.seed][row.language] = row.score
        if row.diverged:
            diverged_seeds[row.recipe, row.target].add(row.seed)
    means: dict[tuple[str, str], dict[Seed, float]] = defaultdict(dict)
    missing: dict[tuple[str, str], int] = defaultdict(int)
    for (recipe, target, seed), languages in required_languages.items():
        by_language = scores[recipe, target, seed]
        missing[recipe, target] += sum(language not in by_language for language in languages)
        if languages and all(language in by_language for language in languages):
            means[recipe, target][seed] = mean(by_language[language] for language in languages)
    return SeedMeans(means, missing, diverged_seeds)


def compare(
    means: Mapping[tuple[str, str], dict[Seed, float]],
    missing: Mapping[tuple[str, str], int],
    diverged_seeds: Mapping[tuple[str, str], Set[Seed]],
) -> dict[tuple[str, str], Cell]:
    """The cells of `missing`'s (recipe, column) from their scores by seed, and which of these seeds diverged."""
    sound = {
        cell: {seed: score for seed, score in seeds.items() if seed not in diverged_seeds.get(cell, ())}
        for cell, seeds in means.items()
    }
    return {
        (recipe, column): _cell(
            means.get((recipe, column), {}),
            sound.get((recipe, column), {}),
            {} if is_baseline(recipe) else sound.get((baseline_of(recipe), column), {}),
            count,
        )
        for (recipe, column), count in missing.items()
    }


def _cell(seeds: dict[Seed, float], sound: dict[Seed, float], baseline: dict[Seed, float], missing: int) -> Cell:
    diverged_count = len(seeds) - len(sound)
    if not seeds or missing:
        return Cell(None, None, len(seeds), None, None, missing, diverged_count)
    if not sound:
        return Cell(mean(seeds.values()), None, len(seeds), None, None, 0, diverged_count)
    values, pairs = list(sound.values()), _paired(sound, baseline)
    difference = mean(pairs) if pairs else None
    return Cell(
        mean(values),
        _deviation(values),
        len(seeds),
        difference,
        _deviation(pairs),
        0,
        diverged_count,
        tuple(values),
        tuple(pairs),
    )


def _paired(seeds: dict[Seed, float], baseline: dict[Seed, float]) -> list[float]:
    """Score minus baseline, seed by seed; a baseline without seeds (or a score) stands for all."""
    if None in baseline or None in seeds:
        alone = baseline.get(None)
        if alone is not None:
            return [score - alone for score in seeds.values()]
        return [seeds[None] - score for score in baseline.values()]
    return [score - baseline[seed] for seed, score in seeds.items() if seed in baseline]


def _deviation(values: Sequence[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None


def notes(rows: Sequence[Row], metrics: Mapping[str, str]) -> list[str]:
    """What a reader of the table must know of its means, target by target."""
    lines = []
    metrics_by_target: dict[str, dict[str, set[str]]] = {}
    for target, language, name in {(row.target, row.language, row.metric): None for row in rows}:
        metrics_by_target.setdefault(target, {}).setdefault(language, set()).add(name)
    for target, metric in metrics.items():
        metrics_by_language = metrics_by_target.get(target, {})
        other_metrics = [
            f"{code} ({', '.join(sorted(names))})"
            for code, names in metrics_by_language.items()
            if stands_in(names, metric)
        ]
        pairs = [code for code in metrics_by_language if code not in in_the_mean(list(metrics_by_language))]
        if metric.endswith(STAND_INS[0]):
            lines.append(f"{target}: {metric}: the threshold was tuned on the examples that are scored")
        elif metric.endswith(STAND_INS[1]):
            lines.append(f"{target}: {metric}: no dev data, so there is no threshold")
        if other_metrics:
            lines.append(f"{target}: not in the mean: {', '.join(other_metrics)}")
        if pairs:
            lines.append(f"{target}: not in the mean: pairs of languages ({len(pairs)}); results.parquet has them")
    return lines
