"""An experiment's results as tables to publish: which columns, over which languages, and what a reader must know."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from eval.statistics.sequential import Looks
from eval.tables import averages, cells, entries, facts, references, significance
from eval.tables.averages import BENCHMARKS, Benchmark
from eval.tables.baseline import BASELINE, baseline_words, is_baseline
from eval.tables.cells import Cell, Seed
from eval.tables.facts import Grouping
from eval.tables.rows import Row
from eval.tables.sheet import Column, Sheet
from eval.tables.significance import LEVELS, Comparison
from launch.plan import Plan
from launch.results import table
from launch.results.compared import DRAWS, compared, looks, of_groups
from launch.results.table import Profile
from launch.store import Store
from launch.text import some
from slurm.base import UsageError
from training.tasks import catalogue

_MEAN = "mean"  # the column that all languages of a target have together
_LISTED = 12  # columns of which the caption says what could be shown
Cells = dict[tuple[str, str], Cell]


@dataclass(frozen=True)
class Options:
    """What a person wants to see. `columns`: targets, averages and groups of targets by name; empty: the targets, and
    the averages that fit them. `languages`: a target, or `all`. `draws`: of test sets, for what examples add to
    errors."""

    columns: tuple[str, ...] = ()
    metric: str | None = None
    profile: Profile = "xtreme"
    languages: str | None = None
    by: Grouping | None = None
    intervals: bool = False
    references: tuple[str, ...] = ()
    draws: int = DRAWS


@dataclass(frozen=True)
class _Scores:
    """What all tables of an experiment are made from."""

    plan: Plan
    store: Store
    rows: list[Row]
    metrics: dict[str, str]  # by target
    options: Options

    @property
    def recipes(self) -> list[str]:
        return table.recipe_names(self.plan)


def of_plan(plan: Plan, store: Store, rows: list[Row], options: Options) -> list[Sheet]:
    """The tables: one, or one a target where languages or groups of them were asked for. UsageError for a name that
    means nothing here."""
    published_rows = [references.find(name) for name in options.references]
    by_language = options.languages is not None or options.by is not None
    if published_rows and by_language:
        raise UsageError("--reference: published rows are of whole targets; leave out --languages and --by")
    targets, benchmarks = _columns(plan, options)
    metric_names = _metrics(plan, rows, targets, options)
    scores = _Scores(plan, store, [row for row in rows if row.target in metric_names], metric_names, options)
    if by_language:
        return [_of_languages(scores, target) for target in metric_names]
    return [_of_targets(scores, rows, benchmarks, published_rows)]


def by_groups(
    plan: Plan, store: Store, rows: list[Row], options: Options, groupings: Sequence[Grouping | None]
) -> dict[str, dict[Grouping | None, Sheet]]:
    """By target: what `of_plan` gives of its languages (None) and of groups of them, in less time than one by one."""
    scores = _Scores(plan, store, rows, table.metrics(plan, rows, options.profile), options)
    return {target: _grouped(scores, target, groupings) for target in plan.targets}


def _columns(plan: Plan, options: Options) -> tuple[list[str], list[Benchmark]]:
    """The targets and the averages that are asked for."""
    published_metrics = options.metric is None and options.profile == "xtreme"
    if options.languages is not None:
        if options.columns:
            raise UsageError(f"--languages {options.languages} says which target it is; leave out --columns")
        if options.languages != "all" and options.languages not in plan.targets:
            raise UsageError(
                f"--languages {options.languages}: {catalogue.nearest(options.languages, [*plan.targets, 'all'])}"
            )
        return [name for name in plan.targets if options.languages in ("all", name)], []
    if not options.columns:
        fitting = [benchmark for benchmark in BENCHMARKS.values() if set(benchmark.targets) <= set(plan.targets)]
        return list(plan.targets), fitting if published_metrics and options.by is None else []
    known_names = [*plan.targets, *BENCHMARKS, *averages.group_names()]
    targets: list[str] = []
    benchmarks: list[Benchmark] = []
    for name in options.columns:
        if name in plan.targets:
            targets.append(name)
        elif name not in known_names:
            raise UsageError(f"--columns {name}: {catalogue.nearest(name, known_names)}")
        elif options.by is not None or not published_metrics:
            raise UsageError(
                f"--columns {name}: averages are of the published metrics; leave out --by, --metric, --profile"
            )
        else:
            benchmarks.append(BENCHMARKS[name] if name in BENCHMARKS else averages.of_group(name))
    return list(dict.fromkeys(targets)), benchmarks


def _metrics(plan: Plan, rows: list[Row], targets: Sequence[str], options: Options) -> dict[str, str]:
    """By target: the metric that is shown; of `--metric`, only targets that have it."""
    if options.metric is None:
        shown_metrics = table.metrics(plan, rows, options.profile)
        return {target: shown_metrics[target] for target in targets}
    if options.profile != "xtreme":
        raise UsageError(f"--metric {options.metric}: it says which metric; leave out --profile {options.profile}")
    present = {target: {row.metric for row in rows if row.target == target} for target in targets}
    with_it = {target: options.metric for target in targets if options.metric in present[target]}
    if not with_it:
        known_metrics = sorted(set().union(*present.values()))
        if not known_metrics:
            raise UsageError(f"--metric {options.metric}: nothing is scored yet")
        raise UsageError(f"--metric {options.metric}: {catalogue.nearest(options.metric, known_metrics)}")
    return with_it


def _of_targets(
    scores: _Scores, rows: list[Row], benchmarks: Sequence[Benchmark], published_rows: Sequence[references.Reference]
) -> Sheet:
    plan = scores.plan
    required_languages = table.expected(plan, scores.store, scores.metrics)
    all_cells = cells.of_rows(scores.rows, required_languages, scores.metrics)
    comparisons = compared(plan, scores.store, scores.rows, scores.metrics, scores.options.draws)
    columns = [Column(target, metric, metric) for target, metric in scores.metrics.items()]
    gaps: list[str] = []
    for benchmark in benchmarks:
        average = averages.average(benchmark, rows, scores.recipes, table.seeds(plan, rows))
        of_average = {cell: of_cell for cell, of_cell in average.cells.items() if cell[1] not in scores.metrics}
        all_cells |= of_average
        comparisons |= significance.of_cells(of_average, looks(plan))
        known_names = {column.name for column in columns}
        columns += [
            Column(name, detail, "average") for name, detail in benchmark.columns.items() if name not in known_names
        ]
        gaps += average.missing
    lines = [*gaps, *(f"{reference.label}: {reference.source}" for reference in published_rows)]
    of_all = replace(scores, rows=rows) if benchmarks else scores  # an average is of targets that have no column too
    sheet = _sheet(of_all, plan.experiment.name, columns, all_cells, comparisons, lines)
    return replace(sheet, references=entries.of_references(published_rows, columns))


def _of_languages(scores: _Scores, target: str) -> Sheet:
    """A target's languages, or groups of them, as columns; before them their mean."""
    return _grouped(scores, target, [scores.options.by])[scores.options.by]


def _grouped(scores: _Scores, target: str, groupings: Sequence[Grouping | None]) -> dict[Grouping | None, Sheet]:
    """A table for each grouping (None: every language by itself). Test sets are drawn once for all of them."""
    required_languages = table.expected(scores.plan, scores.store, {target: scores.metrics[target]})
    all_languages = list(dict.fromkeys(code for codes in required_languages.values() for code in codes))
    groups = {
        by: facts.groups(all_languages, by) if by else {code: [code] for code in all_languages} for by in groupings
    }
    members = {f"{by}:{name}": codes for by in groupings for name, codes in groups[by].items()}
    comparisons = of_groups(
        scores.plan, scores.store, scores.rows, target, scores.metrics[target], members | {_MEAN: all_languages},
        scores.options.draws,
    )  # fmt: skip
    return {
        by: _of_groups(
            scores,
            target,
            by,
            groups[by] | {_MEAN: all_languages},
            required_languages,
            {
                (recipe, name.removeprefix(f"{by}:")): comparison
                for (recipe, name), comparison in comparisons.items()
                if name == _MEAN or name.startswith(f"{by}:")
            },
        )
        for by in groupings
    }


def _of_groups(
    scores: _Scores,
    target: str,
    by: Grouping | None,
    groups: Mapping[str, Sequence[str]],
    required_languages: Mapping[tuple[str, str, Seed], Sequence[str]],
    comparisons: Mapping[tuple[str, str], Comparison],
) -> Sheet:
    metric, all_languages = scores.metrics[target], groups[_MEAN]
    columns = [Column(_MEAN, metric, metric)]
    columns += [
        Column(name, _count(codes) if by else metric, metric) for name, codes in groups.items() if name != _MEAN
    ]
    names_of_language: dict[str, list[str]] = defaultdict(list)
    for name, codes in groups.items():
        for code in codes:
            names_of_language[code].append(name)
    rows = [
        row._replace(target=name)
        for row in scores.rows
        if row.target == target and row.metric == metric
        for name in names_of_language.get(row.language, ())
    ]
    required_of_groups: dict[tuple[str, str, Seed], list[str]] = {
        (recipe, name, seed): [code for code in required_codes if code in codes]
        for name, codes in groups.items()
        for (recipe, _, seed), required_codes in required_languages.items()
    }
    all_cells = cells.of_rows(rows, required_of_groups, dict.fromkeys(groups, metric))
    lines = _about_groups(all_languages, groups, by) if by else []
    title = f"{scores.plan.experiment.name}: {target} by {by or 'language'}"
    return _sheet(scores, title, columns, all_cells, comparisons, lines)


def _count(languages: Sequence[str]) -> str:
    return "1 language" if len(languages) == 1 else f"{len(languages)} languages"


def _about_groups(languages: Sequence[str], groups: Mapping[str, Sequence[str]], by: Grouping) -> list[str]:
    members = "; ".join(f"{name}: {', '.join(codes)}" for name, codes in groups.items() if name != _MEAN)
    lacking = facts.unknown(languages)
    unknown = [f"nothing is known here of {', '.join(lacking)}"] if lacking else []
    return [*([members] if members else []), *unknown, facts.SOURCES[by]]


def _sheet(
    scores: _Scores,
    title: str,
    columns: Sequence[Column],
    all_cells: Cells,
    comparisons: Mapping[tuple[str, str], Comparison],
    lines: Sequence[str],
) -> Sheet:
    together = significance.adjusted(comparisons)
    rows = entries.of_cells(all_cells, scores.recipes, columns, together, scores.options.intervals)
    caption = [
        _what_is_shown(scores, all_cells),
        *_how_it_was_tested(together, looks(scores.plan)),
        *_seeds_of_pairs(together, columns, looks(scores.plan)),
        *_what_could_be_shown(together, columns),
        *lines,
        *table.notes(scores.plan, scores.store, scores.rows, scores.metrics),
    ]
    if any(entry.alone for _, of_row in rows for entry in of_row):
        caption.insert(1, "in parentheses: a score, as there is none to compare it with")
    return Sheet(title, tuple(columns), rows, tuple(caption))


def _what_is_shown(scores: _Scores, all_cells: Cells) -> str:
    seeds = table.seeds_words(scores.plan)
    text = "mean over languages, in percent"
    has_baseline = any(map(is_baseline, scores.recipes))
    if has_baseline and not all(map(is_baseline, scores.recipes)):
        baseline = baseline_words(scores.recipes)
        text += f"; {BASELINE}: its score, others: their difference to {baseline}, seed by seed"
    if len(scores.plan.experiment.seeds) == 1:
        return f"{text}; one seed, so without errors and untested"
    if scores.options.intervals:
        of_scores = f"; of {BASELINE}: Student's, over its seeds" if has_baseline else ": Student's"
        return f"{text}; in brackets: 95 % interval, {seeds}{of_scores}"
    return f"{text}; ± standard error over {seeds}"


def _how_it_was_tested(comparisons: Mapping[tuple[str, str], Comparison], of_race: Looks | None) -> list[str]:
    with_p = [comparison for comparison in comparisons.values() if comparison.adjusted_p is not None]
    if not with_p:
        return []
    levels = ", ".join(f"{stars} p < {level}" for level, stars in reversed(LEVELS))
    over_examples = sum(comparison.over_examples for comparison in with_p)
    errors_of = {
        0: "on these test sets as they are",
        len(with_p): "and over test sets drawn anew (Poisson bootstrap)",
    }.get(over_examples, f"and, of {over_examples} of them, over test sets drawn anew (Poisson bootstrap)")
    test = "a t test over seeds, its variance moderated over a column's recipes (Smyth 2004)"
    if of_race is not None:
        test = (
            f"a t test over seeds that holds at every look of a race, after {of_race.first} to {of_race.last} seeds,"
            " as its intervals do (repeated confidence intervals, Jennison & Turnbull 1989)"
        )
    return [
        f"{levels}: two-sided, after Holm over the {len(with_p)} differences of this table that can be tested;"
        f" {test}, {errors_of}"
    ]


def _seeds_of_pairs(
    comparisons: Mapping[tuple[str, str], Comparison], columns: Sequence[Column], of_race: Looks | None
) -> list[str]:
    """How many seeds a race gave: all that a pair has are in its difference."""
    if of_race is None:
        return []
    counts = [
        f"{column.name} ({', '.join(f'{recipe} {comparison.difference.seeds}' for recipe, comparison in of_column)})"
        for column in columns
        if (of_column := [(recipe, c) for (recipe, name), c in comparisons.items() if name == column.name])
    ]
    return [f"seeds of each difference: {some(counts, _LISTED)}"] if counts else []


def _what_could_be_shown(comparisons: Mapping[tuple[str, str], Comparison], columns: Sequence[Column]) -> list[str]:
    """The smallest differences that these seeds would show, over each column's recipes."""
    ranges = []
    for column in columns:
        points = [
            comparison.difference.detectable
            for (_, name), comparison in comparisons.items()
            if name == column.name
            and comparison.adjusted_p is not None
            and comparison.difference.detectable is not None
        ]
        if points:
            low, high = f"{min(points):.1f}", f"{max(points):.1f}"
            ranges.append(f"{column.name} {low}" + (f"–{high}" if high != low else ""))
    if not ranges:
        return []
    return [f"would be seen with power 0.8, alone (before Holm), at these seeds: {some(ranges, _LISTED)} points"]
