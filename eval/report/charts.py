"""The plots of a report as Vega-Lite specifications, made with altair.

Colours are CSS variables, which the page sets for light, dark and paper: an SVG takes them as they are, so no plot is
drawn anew for another theme. Every plot has a table beside it, in `sections`. What a plot shows of several targets or
trainings is chosen in a list below it, which is an ordinary HTML control.
"""

from collections.abc import Sequence

from eval.report import study_charts
from eval.report.chart import DOWN, MUTED, ROW, SERIES, STRONG, TEXT, UP, Chart, Row, chosen, finished, named_rows
from eval.report.content import Content, Costs, TargetGrids, TransferPoint
from eval.report.words import told
from eval.tables.baseline import BASELINE, baseline_words, is_baseline

_GROUPS = {"family": "family", "script": "script", "size": "pretraining text"}


def of_content(content: Content) -> dict[str, Chart]:
    """All plots that there is something for, by name."""
    plots = (
        _intervals(content),
        _groups(content.targets),
        _curves(content),
        _transfer(content.transfer),
        _costs(content.costs),
    )
    of_studies = (plot for study in content.studies for plot in study_charts.of_study(study))
    return {plot.name: plot for plot in (*plots, *of_studies) if plot is not None}


def _intervals(content: Content) -> Chart | None:
    """Differences to the baseline with their intervals, of one target at a time."""
    import altair

    names = {of_target.target for of_target in content.targets}
    rows: list[Row] = [
        {
            "target": column.name, "recipe": recipe, "value": entry.value, "told": told(entry, examples),
            "low": entry.interval[0] if entry.interval else entry.value,
            "high": entry.interval[1] if entry.interval else entry.value,
        }
        for recipe, entries in content.matrix.sheet.rows
        for column, examples, entry in zip(
            content.matrix.sheet.columns, content.matrix.examples, entries, strict=True
        )
        if column.name in names and entry.kind == "difference" and entry.value is not None and not entry.alone
    ]  # fmt: skip
    if not rows:
        return None
    targets = list(dict.fromkeys(row["target"] for row in rows))
    order = [recipe for recipe in content.recipes if not is_baseline(recipe)]
    target = chosen("target", "target", targets)
    y = altair.Y("recipe:N", sort=order, title=None, axis=altair.Axis(labelLimit=160))
    baseline = baseline_words(content.recipes)
    title = f"difference to {baseline}, points"
    base = named_rows().transform_filter(altair.datum.target == target)
    tooltip = [altair.Tooltip("recipe:N"), altair.Tooltip("told:N", title="difference")]
    chart = altair.layer(
        base.mark_rule(color=MUTED, strokeDash=[3, 3]).encode(x=altair.datum(0)),
        base.mark_rule(strokeWidth=2, color=TEXT).encode(
            x=altair.X("low:Q", title=title), x2="high:Q", y=y, tooltip=tooltip
        ),
        base.mark_point(filled=True, size=90, opacity=1).encode(
            x="value:Q",
            y=y,
            tooltip=tooltip,
            color=altair.condition("datum.value < 0", altair.value(DOWN), altair.value(UP)),
            shape=altair.condition("datum.low > 0 || datum.high < 0", altair.value("circle"), altair.value("diamond")),
        ),
    ).add_params(target)
    return Chart(
        "intervals",
        f"Differences to {baseline} with 95 % intervals",
        "A point is a recipe's difference; its line the 95 % interval, not corrected for how many there are."
        " A circle: the interval is without 0; a diamond: it has 0 in it, or there is none.",
        finished(chart.properties(width="container", height=ROW * max(2, len(order))), rows),
    )


def _groups(targets: Sequence[TargetGrids]) -> Chart | None:
    """Differences by family, script or amount of pretraining text, of one target at a time."""
    import altair

    rows: list[Row] = [
        {
            "target": of_target.target, "by": _GROUPS[by], "group": column.name, "recipe": recipe,
            "value": entry.value, "text": entry.number + entry.mark, "told": told(entry, grid.examples[at]),
            "place": at,
        }
        for of_target in targets
        for by, grid in of_target.groups.items()
        for recipe, entries in grid.sheet.rows
        for at, (column, entry) in enumerate(zip(grid.sheet.columns, entries, strict=True))
        if at and entry.kind == "difference" and entry.value is not None and not entry.alone
    ]  # fmt: skip
    if not rows:
        return None
    target = chosen("target", "target", list(dict.fromkeys(row["target"] for row in rows)))
    by = chosen("by", "by", [words for words in _GROUPS.values() if any(row["by"] == words for row in rows)])
    recipes = list(dict.fromkeys(row["recipe"] for row in rows))
    largest = max(abs(row["value"]) for row in rows) or 1.0
    base = named_rows().transform_filter(altair.datum.target == target).transform_filter(altair.datum.by == by)
    base = base.transform_calculate(size="abs(datum.value)").encode(
        y=altair.Y("recipe:N", sort=recipes, title=None, axis=altair.Axis(labelLimit=160)),
        x=altair.X(
            "group:N",
            sort=altair.EncodingSortField("place"),
            title=None,
            axis=altair.Axis(labelAngle=-35, labelLimit=120),
        ),
        tooltip=["recipe:N", "group:N", altair.Tooltip("told:N", title="difference")],
    )
    boxes = base.mark_rect(stroke="var(--page)", strokeWidth=2).encode(
        color=altair.condition("datum.value < 0", altair.value(DOWN), altair.value(UP)),
        opacity=altair.Opacity("size:Q", scale=altair.Scale(domain=[0, largest], range=[0.04, STRONG]), legend=None),
    )
    chart = altair.layer(boxes, base.mark_text(color=TEXT).encode(text="text:N")).add_params(target, by)
    return Chart(
        "groups",
        "Transfer by family, script and pretraining text",
        "Colour and number: the recipe's difference to none, in points, as the mean over a group's languages.",
        finished(chart.properties(width="container", height=ROW * max(2, len(recipes))), rows),
    )


def _curves(content: Content) -> Chart | None:
    """Loss or dev score over steps, of one training at a time; a line is a seed."""
    import altair

    rows: list[Row] = []
    for curve in content.curves:
        about = {"training": curve.training, "seed": f"{curve.seed}{' (diverged)' * curve.diverged}"}
        if curve.loss:
            rows.append(about | {"what": "loss", "step": curve.steps, "value": curve.loss})
        if curve.dev:
            steps, dev = zip(*curve.dev, strict=True)
            rows.append(about | {"what": "English dev score", "step": steps, "value": [round(s, 2) for s in dev]})
    if not rows:
        return None
    training = chosen("training", "training", list(dict.fromkeys(row["training"] for row in rows)))
    quantity = chosen("quantity", "shows", list(dict.fromkeys(row["what"] for row in rows)))
    chart = (
        named_rows()
        .transform_filter(altair.datum.training == training)
        .transform_filter(altair.datum.what == quantity)
        .transform_flatten(["step", "value"])
        .mark_line(point=altair.OverlayMarkDef(size=14), strokeWidth=1.5)
        .encode(
            x=altair.X("step:Q", title="optimizer step"),
            y=altair.Y("value:Q", title=None, scale=altair.Scale(zero=False)),
            color=altair.Color("seed:N", scale=altair.Scale(range=SERIES)),
            strokeDash=altair.StrokeDash("seed:N"),
            tooltip=["training:N", "seed:N", "step:Q", altair.Tooltip("value:Q", title="value")],
        )
        .add_params(training, quantity)
    )
    return Chart(
        "curves",
        "Training curves",
        "A line is a seed. A point of the loss is the mean over the steps since the one before; of the dev score,"
        " the end of an epoch.",
        finished(chart.properties(height=260), rows),
    )


def _transfer(points: Sequence[TransferPoint]) -> Chart | None:
    """English dev against what other languages score, of one target at a time."""
    import altair

    if not points:
        return None
    rows: list[Row] = [
        {
            "target": point.target, "recipe": point.recipe, "seed": str(point.seed), "dev": round(point.dev, 2),
            "transfer": round(point.transfer, 2),
            "kind": "diverged" if point.diverged else BASELINE if is_baseline(point.recipe) else "a recipe",
        }
        for point in points
    ]  # fmt: skip
    target = chosen("target", "target", list(dict.fromkeys(row["target"] for row in rows)))
    kinds = ["a recipe", BASELINE, "diverged"]
    chart = (
        named_rows()
        .transform_filter(altair.datum.target == target)
        .mark_point(filled=True, size=70, opacity=0.85)
        .encode(
            x=altair.X(
                "dev:Q", title="English dev of the target's training", scale=altair.Scale(zero=False, nice=True)
            ),
            y=altair.Y("transfer:Q", title="mean over other languages", scale=altair.Scale(zero=False, nice=True)),
            color=altair.Color("kind:N", sort=kinds, title=None, scale=altair.Scale(domain=kinds, range=SERIES[:3])),
            shape=altair.Shape(
                "kind:N", sort=kinds, title=None, scale=altair.Scale(domain=kinds, range=["circle", "square", "cross"])
            ),
            tooltip=["recipe:N", "seed:N", "dev:Q", "transfer:Q"],
        )
        .add_params(target)
    )
    return Chart(
        "transfer",
        "English dev against transfer",
        "A point is one run: how its training on the target did on English dev, and what its test scores are on average"
        " in the other languages.",
        finished(chart.properties(height=320), rows),
    )


def _costs(costs: Costs) -> Chart | None:
    """Hours by recipe and by what became of them."""
    import altair

    kinds = ["useful", "running", "starting and saving", "wasted"]
    rows = [
        {"recipe": cost.name, "kind": kind, "order": number, "hours": value}
        for cost in costs.by_recipe
        for number, (kind, value) in enumerate(
            zip(kinds, (cost.useful, cost.running, cost.idle, cost.wasted), strict=True)
        )
        if value > 0
    ]
    if not rows:
        return None
    chart = (
        named_rows()
        .mark_bar(stroke="var(--page)")
        .encode(
            y=altair.Y(
                "recipe:N", sort=[cost.name for cost in costs.by_recipe], title=None, axis=altair.Axis(labelLimit=160)
            ),
            x=altair.X("hours:Q", title=costs.unit),
            color=altair.Color(
                "kind:N",
                sort=kinds,
                title=None,
                scale=altair.Scale(domain=kinds, range=[SERIES[n] for n in (0, 2, 4, 1)]),
                legend=altair.Legend(columns=2),
            ),
            order=altair.Order("order:Q"),
            tooltip=["recipe:N", altair.Tooltip("kind:N", title="what"), altair.Tooltip("hours:Q", format=".3~s")],
        )
    )
    return Chart(
        "costs",
        f"{costs.unit} by recipe",
        "A bar is a recipe: what several recipes need counts in equal parts for each.",
        finished(chart.properties(height=ROW * max(2, len(costs.by_recipe))), rows),
    )
