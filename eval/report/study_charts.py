"""Plots of studies: of each kind of figure one, in which a list chooses which figure of that kind it shows."""

from collections.abc import Iterator

from eval.report.chart import DOWN, MUTED, ROW, SERIES, STRONG, TEXT, UP, Chart, Row, chosen, finished, named_rows
from eval.report.content import AskedStudy
from eval.studies.finding import Estimates, Matrix, Scatter

_MOST_ROWS = 3000  # of a plot's data: a page has other parts too
_LEVEL = 3  # characters of a column's name that need not be slanted, as of a layer's number


def of_study(study: AskedStudy) -> Iterator[Chart]:
    """Those that there is something for."""
    name, finding = study.address, study.finding
    estimates = [figure for figure in finding.figures if isinstance(figure, Estimates)]
    matrices = [figure for figure in finding.figures if isinstance(figure, Matrix)]
    scatters = [figure for figure in finding.figures if isinstance(figure, Scatter)]
    for chart in (_estimates(name, estimates), _matrices(name, matrices), _scatters(name, scatters)):
        if chart is not None:
            yield chart


def _estimates(name: str, figures: list[Estimates]) -> Chart | None:
    """A row an estimate, with its interval, beside a line at 0."""
    import altair

    rows: list[Row] = [
        {
            "figure": figure.title, "label": estimate.label, "place": place, "value": _short(estimate.value),
            "low": _short((estimate.interval or (estimate.value,))[0]),
            "high": _short((estimate.interval or (estimate.value,))[-1]),
            "marked": estimate.marked,
        }
        for figure in figures
        for place, estimate in enumerate(figure.estimates)
    ]  # fmt: skip
    if not rows:
        return None
    shown_figure = chosen("figure", "shows", list(dict.fromkeys(row["figure"] for row in rows)))
    height = ROW * max(len(figure.estimates) for figure in figures)
    base = named_rows().transform_filter(altair.datum.figure == shown_figure)
    y = altair.Y("label:N", sort=altair.EncodingSortField("place"), title=None, axis=altair.Axis(labelLimit=220))
    tooltip = ["label:N", "value:Q", "low:Q", "high:Q"]
    chart = altair.layer(
        base.mark_rule(color=MUTED, strokeDash=[3, 3]).encode(x=altair.datum(0)),
        base.mark_rule(strokeWidth=2, color=TEXT).encode(
            x=altair.X("low:Q", title=f"{figures[0].unit}, 95 % interval"), x2="high:Q", y=y, tooltip=tooltip
        ),
        base.mark_point(filled=True, size=90, opacity=1).encode(
            x="value:Q", y=y, tooltip=tooltip,
            color=altair.condition("datum.value < 0", altair.value(DOWN), altair.value(UP)),
            shape=altair.condition("datum.marked", altair.value("circle"), altair.value("diamond")),
        ),
    ).add_params(shown_figure)  # fmt: skip
    return Chart(
        f"{name}-estimates",
        "Effects with 95 % intervals",
        "A circle: p < 0.05 after Holm over all rows of its table; a diamond: not.",
        finished(chart.properties(width="container", height=height), rows[:_MOST_ROWS]),
    )


def _matrices(name: str, figures: list[Matrix]) -> Chart | None:
    """Cells of rows by columns, coloured by their value."""
    import altair

    rows: list[Row] = [
        {
            "figure": figure.title, "row": row, "column": column, "value": _short(value),
            "text": _in_cell(figure, row, column, value),
            "share": min(1.0, abs(value) / largest),
        }
        for figure in figures
        for largest in (max((abs(v) for values in figure.values for v in values if v is not None), default=0) or 1.0,)
        for row, values in zip(figure.rows, figure.values, strict=True)
        for column, value in zip(figure.columns, values, strict=True)
        if value is not None
    ]  # fmt: skip
    if not rows:
        return None
    shown_figure = chosen("figure", "shows", list(dict.fromkeys(row["figure"] for row in rows)))
    base = named_rows().transform_filter(altair.datum.figure == shown_figure)
    row_names = list(dict.fromkeys(row for figure in figures for row in figure.rows))
    column_names = list(dict.fromkeys(column for figure in figures for column in figure.columns))
    angle = -35 if max(map(len, column_names)) > _LEVEL else 0
    base = base.encode(
        y=altair.Y("row:N", sort=row_names, title=None, axis=altair.Axis(labelLimit=160)),
        x=altair.X("column:N", sort=column_names, title=None, axis=altair.Axis(labelAngle=angle, labelLimit=160)),
        tooltip=["row:N", "column:N", "value:Q"],
    )
    boxes = base.mark_rect(stroke="var(--page)", strokeWidth=2).encode(
        color=altair.condition("datum.value < 0", altair.value(DOWN), altair.value(UP)),
        opacity=altair.Opacity("share:Q", scale=altair.Scale(domain=[0, 1], range=[0.04, STRONG]), legend=None),
    )
    chart = altair.layer(boxes, base.mark_text(color=TEXT).encode(text="text:N")).add_params(shown_figure)
    height = ROW * max(2, *(len(figure.rows) for figure in figures))
    return Chart(
        f"{name}-matrix",
        "Rows by columns",
        "Colour and number: the value, in points, percent or as a coefficient. *: p < 0.05 after Holm.",
        finished(chart.properties(width="container", height=height), rows[:_MOST_ROWS]),
    )


def _in_cell(figure: Matrix, row: str, column: str, value: float) -> str:
    digits = {"percent": f"{value:.1f}", "points": f"{value:+.1f}", "coefficient": f"{value:+.2f}"}[figure.unit]
    return digits + "*" * ((row, column) in figure.marked)


def _scatters(name: str, figures: list[Scatter]) -> Chart | None:
    """A point a unit, and the line that was fitted. What stands on the axes is in the list's words."""
    import altair

    rows: list[Row] = []
    for figure in figures:
        words = f"{figure.title}: {figure.x} (across), {figure.y} (up)"
        if len(rows) + len(figure.points) > _MOST_ROWS or not figure.points:
            continue
        for point in figure.points:
            fitted = _short(figure.line[0] + figure.line[1] * point.x) if figure.line else None
            rows.append({"figure": words, "label": point.name, "x": _short(point.x),
                         "y": _short(point.y), "fitted": fitted})  # fmt: skip
    if not rows:
        return None
    shown_figure = chosen("figure", "shows", list(dict.fromkeys(row["figure"] for row in rows)))
    base = named_rows().transform_filter(altair.datum.figure == shown_figure)
    x = altair.X("x:Q", title=None, scale=altair.Scale(zero=False, nice=True))
    labels = list(dict.fromkeys(row["label"] for row in rows))
    lines = base.transform_filter("isValid(datum.fitted)").mark_line(color=MUTED, strokeWidth=1.5)
    points = base.mark_point(filled=True, size=80, opacity=0.9).encode(
        x=x,
        y=altair.Y("y:Q", title=None, scale=altair.Scale(zero=False, nice=True)),
        color=altair.Color("label:N", sort=labels, title=None, scale=altair.Scale(domain=labels, range=SERIES),
                           legend=altair.Legend(columns=2)),
        shape=altair.Shape("label:N", sort=labels, title=None, scale=altair.Scale(domain=labels)),
        tooltip=["label:N", "x:Q", "y:Q"],
    )  # fmt: skip
    chart = altair.layer(lines.encode(x=x, y="fitted:Q"), points).add_params(shown_figure)
    return Chart(
        f"{name}-scatter",
        "Unit by unit",
        "A point is a task or a recipe, mean over its seeds; the line, where there is one, is the straight one fitted.",
        finished(chart.properties(width="container", height=320), rows),
    )


def _short(value: float) -> float:
    """As many digits as a picture can show."""
    return float(f"{value:.5g}")
