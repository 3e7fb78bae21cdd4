"""The benchmarks' averages, by name. Of all of a benchmark or not at all: else a line says what is missing.

`xtreme` (Hu et al. 2020, arXiv 2003.11080): the mean over nine tasks of the mean over a task's languages, English
included; for question answering the mean of exact match and F1. `xtreme-r` (Ruder et al. 2021, arXiv 2104.07412): the
same over its ten tasks with their additional languages; `xtreme-r-f1`: with F1 alone, as most published rows have it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean

from eval.tables.cells import STAND_INS, Cell, Seed, compare
from eval.tables.rows import Row
from slurm.base import UsageError
from training.tasks import catalogue

_QA = ("xquad", "mlqa", "tydiqa")
_LISTED = 8  # languages; what is more is counted
SeedScores = dict[Seed, dict[str, dict[str, float]]]  # by seed, language, metric


@dataclass(frozen=True)
class Benchmark:
    """`groups`: the targets by kind. `extended`: those of which the catalogue's extra languages count too."""

    name: str
    groups: Mapping[str, tuple[str, ...]]
    extended: tuple[str, ...] = ()
    qa_metrics: tuple[str, ...] = ("exact_match", "f1")

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(target for group in self.groups.values() for target in group)

    @property
    def columns(self) -> dict[str, str]:
        """The average and the groups, with how many tasks each has."""
        groups = {name: f"{len(targets)} tasks" for name, targets in self.groups.items()}
        return {self.name: f"{len(self.targets)} tasks"} | groups

    def languages(self, target: str) -> tuple[str, ...]:
        task = catalogue.TASKS[target]
        return task.languages + (task.extra_languages if target in self.extended else ())

    def metrics(self, target: str) -> tuple[str, ...]:
        """Those whose mean is a language's score."""
        return self.qa_metrics if target in _QA else (catalogue.TASKS[target].metric,)


_XTREME_R = {
    "classification": ("xnli", "xcopa"),
    "tagging": ("udpos", "panx"),
    "qa": _QA,
    "retrieval": ("mewslix", "lareqa", "tatoeba"),
}
_EXTENDED = ("panx", "udpos", "tatoeba", "xquad")
BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark(
            "xtreme",
            {
                "classification": ("xnli", "pawsx"),
                "tagging": ("udpos", "panx"),
                "qa": _QA,
                "retrieval": ("bucc", "tatoeba"),
            },
        ),
        Benchmark("xtreme-r", _XTREME_R, _EXTENDED),
        Benchmark("xtreme-r-f1", _XTREME_R, _EXTENDED, ("f1",)),
    )
}


@dataclass(frozen=True)
class Average:
    """`cells` by (recipe, column), of the recipes that have all of the benchmark; `missing`: what the others lack."""

    benchmark: Benchmark
    recipes: tuple[str, ...]
    cells: dict[tuple[str, str], Cell]
    missing: tuple[str, ...]


def find(name: str) -> Benchmark:
    """The benchmark of this name; UsageError where there is none."""
    if name not in BENCHMARKS:
        raise UsageError(f"average {name}: {catalogue.nearest(name, tuple(BENCHMARKS))}")
    return BENCHMARKS[name]


def of_group(name: str) -> Benchmark:
    """A group of targets as if it were a benchmark: `qa` as XTREME has it, `xtreme-r:qa` with XTREME-R's languages."""
    text, _, group = name.rpartition(":")
    benchmark = BENCHMARKS[text or "xtreme"]
    return replace(benchmark, name=name, groups={name: benchmark.groups[group]})


def group_names() -> list[str]:
    """Those that `of_group` knows."""
    return [
        group if name == "xtreme" else f"{name}:{group}"
        for name, benchmark in BENCHMARKS.items()
        for group in benchmark.groups
    ]


def average(benchmark: Benchmark, rows: Sequence[Row], recipes: Sequence[str], seeds: Sequence[int]) -> Average:
    """A benchmark's average for every recipe that has a score for each of its targets, languages and `seeds`.

    A seed that diverged on one of the targets has diverged.
    """
    scores: dict[tuple[str, str], SeedScores] = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
    bad_seeds: dict[tuple[str, str], set[Seed]] = defaultdict(set)
    for row in rows:
        scores[row.recipe, row.target][row.seed][row.language][row.metric] = row.score
        if row.diverged:
            bad_seeds[row.recipe, row.target].add(row.seed)
    complete, gaps = [], defaultdict(list)
    for recipe in recipes:
        of_recipe = {target: scores.get((recipe, target), {}) for target in benchmark.targets}
        text = "; ".join(filter(None, (_gap(benchmark, *item, seeds) for item in of_recipe.items())))
        if text:
            gaps[text].append(recipe)
        else:
            complete.append(recipe)
    means, diverged_seeds = {}, {}
    for recipe in complete:
        for column, targets in ({benchmark.name: benchmark.targets} | dict(benchmark.groups)).items():
            means[recipe, column] = _by_seed(benchmark, {t: scores[recipe, t] for t in targets}, seeds)
            diverged_seeds[recipe, column] = set().union(*(bad_seeds[recipe, target] for target in targets))
    cells = compare(means, dict.fromkeys(means, 0), diverged_seeds)
    lines = tuple(_line(benchmark, text, without, len(recipes)) for text, without in gaps.items())
    return Average(benchmark, tuple(complete), cells, lines)


def _gap(benchmark: Benchmark, target: str, scores: SeedScores, seeds: Sequence[int]) -> str:
    """What a recipe lacks of a target; "" where it has all."""
    if target not in catalogue.TASKS or not scores:
        return target
    codes = benchmark.languages(target)
    lacking = [
        code
        for code in codes
        if not all(set(benchmark.metrics(target)) <= set(_of_seed(scores, s).get(code, {})) for s in seeds)
    ]
    if not lacking:
        return ""
    names = ", ".join(_why(code, scores) for code in lacking[:_LISTED])
    more = f", … ({len(lacking)} in all)" if len(lacking) > _LISTED else ""
    return f"{target}: {len(codes) - len(lacking)} of {len(codes)} languages (without {names}{more})"


def _why(language: str, scores: SeedScores) -> str:
    """The language, and what it was scored as instead: `zh: only f1_dev`."""
    metrics = {name for by_language in scores.values() for name in by_language.get(language, {})}
    instead = sorted(name for name in metrics if name.endswith(STAND_INS))
    return f"{language}: only {' and '.join(instead)}" if instead else language


def _of_seed(scores: SeedScores, seed: int) -> dict[str, dict[str, float]]:
    return scores[seed] if seed in scores else scores.get(None, {})


def _by_seed(benchmark: Benchmark, scores: Mapping[str, SeedScores], seeds: Sequence[int]) -> dict[Seed, float]:
    """The mean over targets of the mean over languages; one score alone where chance played no part in any."""
    if all(set(of_target) == {None} for of_target in scores.values()):
        return {None: mean(_target_mean(benchmark, target, of[None]) for target, of in scores.items())}
    return {
        seed: mean(_target_mean(benchmark, target, _of_seed(of, seed)) for target, of in scores.items())
        for seed in seeds
    }


def _target_mean(benchmark: Benchmark, target: str, scores: Mapping[str, Mapping[str, float]]) -> float:
    names = benchmark.metrics(target)
    return mean(mean(scores[code][name] for name in names) for code in benchmark.languages(target))


def _line(benchmark: Benchmark, missing: str, recipes: Sequence[str], of: int) -> str:
    whose = "" if len(recipes) == of else f" for {', '.join(recipes)}"
    return f"no average {benchmark.name}{whose}; missing: {missing}"
