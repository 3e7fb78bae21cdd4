"""The sections of a report, in the order in which they are read. What plots show, tables beside them have as well."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eval.report import answer, elements, heat, studies
from eval.report.chart import Chart
from eval.report.content import Content, Costs, Missing, Raced, TargetGrids
from eval.report.words import count, cut, escape, hours, score, some
from eval.tables.baseline import BASELINE, baseline_words
from eval.tables.facts import SOURCES

_MOST_GROUPS = 8


@dataclass(frozen=True)
class Section:
    """`name` is its address in the page."""

    name: str
    title: str
    html: str


@dataclass(frozen=True)
class Page:
    """What the sections are made from. `plots`: HTML by a chart's name; "" where there is none."""

    content: Content
    charts: dict[str, Chart]

    def plot(self, name: str) -> str:
        chart = self.charts.get(name)
        if chart is None:
            return '<p class="dim">Nothing to plot yet.</p>'
        title = escape(chart.title)
        return (
            f'<figure><div class="plot" data-spec="plot-{name}" data-name="{title}" role="group" aria-label="{title}">'
            f"</div><figcaption>{title}. {escape(chart.description)} The numbers are in the tables beside it."
            "</figcaption></figure>"
        )


def all_of(page: Page) -> list[Section]:
    """Every section."""
    return [
        Section("answer", "The answer so far" if page.content.is_partial else "The answer", _answer(page)),
        Section("matrix", "Recipes by targets", _matrix(page)),
        Section("languages", "Languages", _languages(page)),
        Section("groups", "Family, script, pretraining text", _groups(page)),
        *(Section(study.address, study.title, studies.html(study, page.plot)) for study in page.content.studies),
        Section("transfer", "English dev against transfer", _transfer(page)),
        Section("curves", "Training curves", _curves(page)),
        Section("cost", "Cost", _cost(page)),
        *([Section("race", "Race", _race(page.content.raced))] if page.content.raced else []),
        Section("missing", "Missing", _missing(page)),
        Section("diverged", "Diverged", _diverged(page)),
        Section("provenance", "Provenance", _provenance(page)),
        Section("environment", "Environment", _environment(page)),
    ]


def _answer(page: Page) -> str:
    content = page.content
    lines = "\n".join(
        f"<li><b>{escape(name)}</b> ({escape(of_target.metric)}): {escape(answer.of_target(content, name))}</li>"
        for of_target in content.targets
        for name in (of_target.target,)
    )
    partial = ' class="partial" role="status"' if content.is_partial else ""
    return (
        f"<p>{escape(answer.asked(content))}</p>\n<p{partial}>{escape(answer.progress(content))}</p>\n"
        f'<p class="answer">{escape(answer.in_one_sentence(content))}</p>\n<ul>\n{lines}\n</ul>\n'
        '<p class="dim">Sure: p &lt; 0.05 after Holm over all differences of the matrix. Intervals are 95 %, of one'
        " difference each; that of the highest of many is too favourable, since chance helped to choose it.</p>"
    )


def _matrix(page: Page) -> str:
    content = page.content
    scale = heat.strongest([content.matrix])
    places = {of_target.target: number for number, of_target in enumerate(content.targets)}

    def link(row: int, column: int) -> str | None:
        target = places.get(content.matrix.columns[column])
        return None if target is None else _anchor(target, row)

    return (
        _key(scale)
        + heat.by_recipe(content.matrix, _grid_caption(content, "target"), scale, link)
        + '<p class="dim">Hover over a number, or move to it with the Tab key, for its interval, seeds and n; follow it'
        f" to its languages.</p>\n{elements.notes(content.matrix.sheet.caption)}\n{page.plot('intervals')}"
    )


def _grid_caption(content: Content, columns: str) -> str:
    baseline = baseline_words(content.recipes)
    to_it = "it" if baseline == BASELINE else baseline
    return f"{BASELINE}: scores in percent; other recipes: differences to {to_it} in points, by {columns}"


def _key(scale: float) -> str:
    return (
        f'<p class="key"><span>&minus;{scale:.1f} worse than {BASELINE}</span><i aria-hidden="true"></i>'
        f"<span>+{scale:.1f} better</span></p>\n"
    )


def _anchor(target: int, recipe: int) -> str:
    return f"t{target}-r{recipe}"


def _languages(page: Page) -> str:
    grids = [of_target.languages for of_target in page.content.targets]
    scale = heat.strongest(grids)
    tables = [
        _of_target(page.content, number, of_target, scale) for number, of_target in enumerate(page.content.targets)
    ]
    return _key(scale) + "\n".join(tables)


def _of_target(content: Content, number: int, of_target: TargetGrids, scale: float) -> str:
    caption = f"{of_target.target}, {of_target.metric}; {_grid_caption(content, 'language')}"
    table = heat.by_column(of_target.languages, caption, scale, "language", lambda recipe: _anchor(number, recipe))
    languages = count(len(of_target.languages.columns) - 1, "language")
    state = " open" if number == 0 else ""
    return (
        f'<details id="t{number}"{state}><summary>{escape(of_target.target)}: {languages}</summary>\n{table}\n'
        f"{elements.notes(of_target.languages.sheet.caption)}</details>"
    )


def _groups(page: Page) -> str:
    grids = [grid for of_target in page.content.targets for grid in of_target.groups.values()]
    scale = heat.strongest(grids)
    tables = [
        heat.by_column(grid, f"{of_target.target} by {by}", scale, str(by), _without_anchor(f"g{number}-{by}"))
        for number, of_target in enumerate(page.content.targets)
        for by, grid in of_target.groups.items()
    ]
    groupings = dict.fromkeys(by for of_target in page.content.targets for by in of_target.groups)
    sources = "".join(f"<li>{escape(SOURCES[by])}</li>" for by in groupings)
    return (
        page.plot("groups")
        + elements.folded("The same as tables", "\n".join(tables))
        + f'<ul class="dim">{sources}</ul>'
    )


def _without_anchor(prefix: str) -> Callable[[int], str]:
    return lambda recipe: f"{prefix}-{recipe}"


def _transfer(page: Page) -> str:
    rows = [
        (point.target, point.recipe, point.seed, score(point.dev), score(point.transfer), score(point.english),
         "diverged" if point.diverged else "")
        for point in page.content.transfer
    ]  # fmt: skip
    heads = ("target", "recipe", "seed", "English dev", "other languages", "English test", "")
    remark = (
        '<p class="dim">Only of targets whose models were all trained on the target itself last: other dev scores are'
        " of other tasks.</p>\n"
    )
    return (
        page.plot("transfer")
        + remark
        + elements.folded("Every run", elements.table("Runs", heads, rows, numbers=(3, 4, 5)))
    )


def _curves(page: Page) -> str:
    rows = [
        (
            curve.training, curve.seed, curve.stage, curve.steps[-1] if curve.steps else "-",
            f"{curve.loss[0]:.3g}" if curve.loss else "-", f"{curve.loss[-1]:.3g}" if curve.loss else "-",
            score(max((value for _, value in curve.dev), default=None)),
            "-" if curve.selected_epoch is None else curve.selected_epoch + 1,
            "diverged" if curve.diverged else "",
        )
        for curve in page.content.curves
    ]  # fmt: skip
    heads = ("training", "seed", "stage key", "steps", "first loss", "last loss", "best dev", "epoch", "")
    table = elements.table(
        "Trainings: loss where its curve begins and ends, best English dev score", heads, rows, (3, 4, 5, 6)
    )
    return page.plot("curves") + elements.folded("Every training", table)


def _cost(page: Page) -> str:
    costs = page.content.costs
    rows = [
        (cost.name, *(hours(value) for value in (cost.total, cost.useful, cost.running, cost.idle, cost.wasted)))
        for cost in (*costs.by_recipe, *costs.by_kind, costs.total)
    ]
    heads = ("recipe or kind of stage", "total", "useful", "running", "starting and saving", "wasted")
    table = elements.table(f"{costs.unit} by recipe, then by kind of stage", heads, rows, numbers=range(1, 6))
    items = "".join(f"<li>{escape(line)}</li>" for line in _cost_lines(costs))
    return f"<ul>{items}</ul>\n{page.plot('costs')}{elements.folded('The same as a table', table)}"


def _cost_lines(costs: Costs) -> list[str]:
    lines = [
        f"{hours(costs.total.total)} {costs.unit} in all, {hours(costs.total.useful)} of them useful,"
        f" {hours(costs.total.wasted)} wasted",
        f"{count(costs.trainings, 'training')} instead of {costs.from_scratch:,} (every run from scratch);"
        f" {hours(costs.shared)} {costs.unit} were spent on what several runs share",
    ]
    if costs.saved is not None:
        lines.append(f"to train for each run alone what they share would have taken {hours(costs.saved)} more")
    wastes = [f"{name} {hours(value)}" for name, value in costs.wasted_on]
    return lines + ([f"wasted on: {some(wastes)}"] if wastes else [])


def _race(raced: Raced) -> str:
    rows = [
        (pair.target, pair.recipe, pair.words, some([str(seed) for seed in pair.seeds]) or "-",
         some([str(seed) for seed in pair.void_seeds]) or "-")
        for pair in raced.pairs
    ]  # fmt: skip
    heads = ("target", "recipe", "difference to none", "seeds", "failed or diverged")
    rule = f"In points, [{raced.level:g} % intervals over all looks]; equal is within ±{raced.until:g}."
    return (
        f"<p>Seeds go to a pair until its difference is decided, or hardly would be. {rule}</p>\n"
        f"{elements.table('How each pair stands', heads, rows)}"
    )


def _missing(page: Page) -> str:
    return f"{_runs_without_scores(page.content)}{_not_counted(page.content)}"


def _not_counted(content: Content) -> str:
    if not content.not_counted:
        return ""
    rows = [(result.name, result.stage, result.why) for result in content.not_counted]
    return (
        f"\n<p>{count(len(rows), 'result')} that are there and do not count. What is damaged is set aside by"
        f" <code>stepstone collect {escape(content.file)}</code>, which tells where each lies; then"
        f" <code>{escape(content.command)}</code> makes it anew.</p>"
        f"\n{elements.table('Results that do not count', ('result', 'stage key', 'why'), rows)}"
    )


def _runs_without_scores(content: Content) -> str:
    if not content.missing:
        return "<p>Nothing: every run has the scores of all its languages.</p>"
    groups: dict[tuple[str, str, str, str], list[Missing]] = defaultdict(list)
    for run in content.missing:
        groups[run.target, run.recipe, run.state, run.reason].append(run)
    rows = [
        (target, recipe, some([str(run.seed) for run in runs if run.seed is not None]) or "-", state, cut(reason),
         some(list(dict.fromkeys(code for run in runs for code in run.languages))))
        for (target, recipe, state, reason), runs in groups.items()
    ]  # fmt: skip
    heads = ("target", "recipe", "seeds", "state", "why", "languages without a score")
    return (
        f"<p>{count(len(content.missing), 'run')} of {_runs(content):,} without all scores. Where they stand:"
        f" <code>stepstone status {escape(content.file)}</code>; to send what is missing:"
        f" <code>{escape(content.command)}</code>.</p>\n{elements.table('Runs without all scores', heads, rows)}"
    )


def _runs(content: Content) -> int:
    scored_runs = {(row.recipe, row.target, row.seed) for row in content.provenance}
    return len(scored_runs | {(run.recipe, run.target, run.seed) for run in content.missing})


def _diverged(page: Page) -> str:
    content = page.content
    if not content.diverged:
        return "<p>No training: each did better on English dev than a constant answer.</p>"
    rows = [
        (training.name, training.stage, some(training.heads), score(training.dev_score), training.runs,
         f"stepstone logs {content.file} {training.stage}")
        for training in content.diverged
    ]  # fmt: skip
    heads = ("training", "stage key", "heads", "English dev", "runs on it", "look")
    return (
        "<p>These trainings did no better on English dev than a constant answer. What rests on them is left out of all"
        " means and differences, and marked †.</p>\n"
        + elements.table("Diverged trainings", heads, rows, numbers=(3, 4))
    )


def _provenance(page: Page) -> str:
    content = page.content
    rows = [
        (row.target, row.recipe, "-" if row.seed is None else row.seed, f"{row.name}-{row.stage}",
         " ".join(row.trainings) or "the start model", row.generation, " ".join(row.code), row.languages, row.examples)
        for row in content.provenance
    ]  # fmt: skip
    heads = ("target", "recipe", "seed", "evaluate stage", "trainings' keys", "encoder", "code", "languages", "n")
    sources = [
        (source.task, source.use, source.language, source.identity, source.examples or "-") for source in content.data
    ]
    data_heads = ("task", "use", "language", "commit on the Hub, or the file's SHA-256", "n")
    return (
        "<p>A stage's key is a hash of all that its numbers depend on: tasks, data by content, settings, seed, what it"
        " starts from. So one with the same key, in whatever store, is the same measurement. All of them again:"
        f" <code>{escape(content.command)}</code>, with another <code>store:</code> in the file.</p>\n"
        + elements.folded(
            f"Scores of {count(len(rows), 'run')}",
            elements.table("Where scores come from", heads, rows, numbers=(7, 8)),
        )
        + elements.folded(
            f"Data: {count(len(sources), 'list')} of examples",
            elements.table("Data", data_heads, sources, numbers=(4,)),
        )
    )


def _environment(page: Page) -> str:
    environment = page.content.environment
    rows = [
        ("start model", environment.model),
        ("seeds", some([str(seed) for seed in page.content.seeds], 20)),
        ("code", _counted(environment.code)),
        ("devices", _counted(environment.devices)),
        ("precision", _counted(environment.precisions)),
        *((package, _counted(versions)) for package, versions in environment.versions),
    ]
    settings = elements.table(
        "Settings of trainings: what differs from the defaults", ("step", "settings"), environment.settings
    )
    return (
        elements.table(
            "What made the results; in parentheses, where there are several, how many results", ("what", ""), rows
        )
        + elements.folded(f"Settings of {count(len(environment.settings), 'step')}", settings)
        + (elements.notes(page.content.notes) if page.content.notes else "")
    )


def _counted(values: Sequence[tuple[str, int]]) -> str:
    if len(values) == 1:
        return values[0][0]
    return some([f"{value} ({number:,})" for value, number in values], _MOST_GROUPS) or "-"
